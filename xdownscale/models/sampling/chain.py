"""Generate fields by a diffusion chain on the field itself, patch by patch or in one piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from xdownscale.models.diffusion import noise
from xdownscale.models.diffusion.samplers import ddim, ddpm
from xdownscale.models.diffusion.schedules import squared_cosine
from xdownscale.models.sampling.patch_sampler import Floats, Noise, PatchSampler, PatchSampling
from xdownscale.models.sampling.patches import Indices, cut_patches
from xdownscale.models.sampling.request import SampleRequest
from xdownscale.patches.layout import PatchLayout


class _Sampling(PatchSampling):
    """One call of `ChainSampler.sample`."""

    def __init__(self, networks: Any, request: SampleRequest, stacked: Floats) -> None:
        super().__init__(networks, request, stacked)
        self.schedule = squared_cosine(request.config.diffusion.train_steps)

    @property
    def unit(self) -> int:
        """Number of pixels that the sides of an image in one piece must be a multiple of."""
        return int(2 ** (len(self.networks.denoiser.encoder.blocks) - 1))

    def patch_noise(self, layout: PatchLayout, numbers: Indices, step: int) -> Tensor:
        """Cut patches out of the noise fields of the whole domain, or let each have its own."""
        fields, patches = np.divmod(numbers, layout.n_patches)
        if self.sampling.noise == "shared":
            present = np.unique(fields)  # consecutive
            images = np.stack([self._field(field, step) for field in present])
            local = numbers - present[0] * layout.n_patches
            return cut_patches(torch.from_numpy(images)[:, None], layout, local).contiguous()
        shape = (layout.size, layout.size)
        own = [
            noise.field(self.request.seed, int(realization), int(key), step, shape, int(patch))
            for (realization, key), patch in zip(self.keys[fields], patches, strict=True)
        ]
        return torch.from_numpy(np.stack(own))[:, None]

    def image_noise(self, block: Indices, size: tuple[int, int], step: int) -> Tensor:
        """Return the noise fields; beyond the edge is some of the field's own, wrapped around."""
        images = np.stack([self._field(field, step) for field in block])
        pad = [(0, wide - n) for wide, n in zip(size, self.shape, strict=True)]
        return torch.from_numpy(np.pad(images, ((0, 0), *pad), "wrap"))[:, None]

    def _field(self, field: int, step: int) -> Floats:
        """Return the part of the domain's noise field that lies under the image."""
        realization, key = (int(number) for number in self.keys[field])
        whole = noise.field(self.request.seed, realization, key, step, self.request.domain)
        y, x = self.request.corner
        ny, nx = self.shape
        return whole[y : y + ny, x : x + nx]

    def generate(self, known: Tensor, fine_lags: Tensor, calendar: Tensor, white: Noise) -> Tensor:
        """Run the sampler from noise."""
        conditioned = self.networks.condition(known, calendar, fine_lags)

        def denoiser(x: Tensor, step: int) -> Tensor:
            steps = torch.full((len(x),), step, device=x.device)
            clean: Tensor = self.networks.denoiser(x, steps, conditioned)
            return clean

        s = self.sampling
        start = white(0)
        if s.sampler == "ddim":
            return ddim(denoiser, start, self.schedule, s.steps)
        return ddpm(denoiser, start, self.schedule, s.steps, lambda i: white(i + 1))


class _Regression(_Sampling):
    """One call of `ChainSampler.sample` for networks that were trained without noise."""

    def generate(self, known: Tensor, fine_lags: Tensor, calendar: Tensor, white: Noise) -> Tensor:
        """Evaluate the networks once, without noise."""
        conditioned = self.networks.condition(known, calendar, fine_lags)
        field: Tensor = self.networks.regression(conditioned)
        return field


class ChainSampler(PatchSampler):
    """Generates fields by a diffusion chain on the field itself, one variable.

    Parameters
    ----------
    networks : Networks
        In evaluation mode.
    regression : bool
        They were trained without noise: one evaluation gives the field, and there is no chain.
    """

    def __init__(self, networks: Any, regression: bool = False) -> None:
        super().__init__(networks)
        self.sampling = _Regression if regression else _Sampling
