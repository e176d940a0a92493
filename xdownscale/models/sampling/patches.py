"""Run a diffusion chain on fine fields, patch by patch or in one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.config import SamplingConfig
from xdownscale.core.errors import ModelMismatchError, check_option
from xdownscale.models.device import resolve_device
from xdownscale.models.diffusion import noise
from xdownscale.models.diffusion.samplers import ddim, ddpm
from xdownscale.models.diffusion.schedules import Schedule, squared_cosine
from xdownscale.models.networks.channels import patch_inputs
from xdownscale.models.networks.unet import Conditioned, Networks
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.patches.arrays import Stitcher, extract_array
from xdownscale.patches.layout import PatchLayout

Floats = NDArray[np.float32]


class ChainSampler:
    """Generates fields by a diffusion chain on the field itself, one variable.

    Parameters
    ----------
    networks : Networks
        In evaluation mode.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    def sample(self, request: SampleRequest) -> Floats:
        """Generate fields; they depend on seed, realization, time and conditions alone.

        Parameters
        ----------
        request : SampleRequest
            What is known, and how.

        Returns
        -------
        ndarray of float32 (realization, n, 1, y, x)
            Scaled units.

        Raises
        ------
        OptionError
            For an unknown device or stitching.
        GridError
            If a patch is larger than the image, or stride and halo leave gaps.
        ModelMismatchError
            If the conditions have other channels than the networks.
        """
        check_option("stitching", request.stitching, ("patches", "whole"))
        place = resolve_device(request.device)
        config = request.config
        given = request.conditions
        fields = list(range(len(given.keys)))
        members = given.members
        if members is None:
            count = len(request.realizations)
            members = np.repeat(request.realizations, len(fields))
            fields = fields * count
        stacked = self._stacked(given)[fields]
        sampling = _Sampling(
            networks=self.networks.to(place).eval(),
            sampling=config.sampling,
            schedule=squared_cosine(config.diffusion.train_steps),
            stacked=stacked,
            calendar=given.calendar[fields],
            lags=config.data.lags,
            keys=np.stack([members, given.keys[fields]], axis=1),
            seed=request.seed,
            device=place,
            corner=request.corner,
            domain=request.domain,
        )
        with torch.inference_mode():
            whole = request.stitching == "whole"
            out = sampling.whole() if whole else sampling.by_patches()
        return out.reshape(-1, len(given.keys), 1, *out.shape[1:])

    def _stacked(self, given: Conditions) -> Floats:
        """Stack the channels of every time step (n, known + fine lags, y, x)."""
        static = np.broadcast_to(given.static, (len(given.keys), *given.static.shape))
        # Known channels: the time step itself and those before it, static fields, calendar.
        found = given.window.shape[1] + static.shape[1] + given.calendar.shape[1]
        lags = given.window.shape[1] - 1
        fine = given.fine_lags.shape[1]
        if found != self.networks.known or fine != lags:
            raise ModelMismatchError(
                f"The conditions have {found} channels and {fine} fine lags; these "
                f"networks take {self.networks.known} channels and {lags} lags. Give the lags, "
                "static fields and calendar that they were trained with."
            )
        known, fine_lags = patch_inputs(given.window, given.fine_lags, static)
        return np.concatenate([known, fine_lags], axis=1).astype(np.float32, copy=False)


@dataclass(frozen=True, kw_only=True)
class _Sampling:
    """One call of `ChainSampler.sample`."""

    networks: Networks
    sampling: SamplingConfig
    schedule: Schedule
    stacked: Floats  # (B, known + fine lags, y, x)
    calendar: Floats  # (B, c)
    lags: int
    keys: NDArray[np.int64]
    seed: int
    device: str
    corner: tuple[int, int]
    domain: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        return self.stacked.shape[-2], self.stacked.shape[-1]

    def by_patches(self) -> Floats:
        """Draw patch by patch; a batch may hold patches of several fields."""
        s = self.sampling
        layout = PatchLayout(self.shape, s.size, s.stride, s.halo, s.taper)
        out = np.empty((len(self.stacked), *self.shape), dtype=np.float32)
        stitchers: dict[int, Stitcher] = {}
        total = len(self.stacked) * layout.n_patches
        for start in range(0, total, s.batch_size):
            items = np.arange(start, min(start + s.batch_size, total))
            fields, patches = np.divmod(items, layout.n_patches)
            drawn = self._patches(layout, fields, patches)
            for b in np.unique(fields):
                mine = fields == b
                stitcher = stitchers.setdefault(b, Stitcher(layout, (), np.float32))
                stitcher.add(patches[mine], drawn[mine])
                if patches[mine][-1] == layout.n_patches - 1:
                    out[b] = stitchers.pop(b).result()
        return out

    def whole(self) -> Floats:
        """Draw images in one piece, padded to what halving needs."""
        s, (ny, nx) = self.sampling, self.shape
        unit = 2 ** (len(self.networks.denoiser.encoder.blocks) - 1)
        pad = ((0, -ny % unit), (0, -nx % unit))
        count = max(1, s.batch_size * s.size**2 // (ny * nx))
        parts = []
        for start in range(0, len(self.stacked), count):
            chosen = np.arange(start, min(start + count, len(self.stacked)))
            inputs = np.pad(self.stacked[chosen], ((0, 0), (0, 0), *pad), "edge")

            def white(step: int, chosen: NDArray[np.intp] = chosen) -> Floats:
                # Noise beyond the edge is noise too: some of the field's own, wrapped around.
                images = np.stack([self._image_noise(b, step) for b in chosen])
                return np.pad(images, ((0, 0), *pad), "wrap")

            parts.append(self._run(inputs, self.calendar[chosen], white, count)[:, :ny, :nx])
        return np.concatenate(parts)

    def _image_noise(self, b: int, step: int) -> Floats:
        realization, day = (int(key) for key in self.keys[b])
        field = noise.field(self.seed, realization, day, step, self.domain)
        (y, x), (ny, nx) = self.corner, self.shape
        return field[y : y + ny, x : x + nx]

    def _patches(
        self, layout: PatchLayout, fields: NDArray[np.int64], patches: NDArray[np.int64]
    ) -> Floats:
        """Draw some patches (n, size, size) of some fields, both given for each."""
        present = np.unique(fields)

        def cut(image: Callable[[int], Floats]) -> Floats:
            parts = [extract_array(image(b), layout, patches[fields == b]) for b in present]
            return np.concatenate([np.moveaxis(part, -3, 0) for part in parts])

        def white(step: int) -> Floats:
            if self.sampling.noise == "shared":
                return cut(lambda b: self._image_noise(b, step))
            size = (layout.size, layout.size)
            own = [(*map(int, self.keys[b]), int(p)) for b, p in zip(fields, patches, strict=True)]
            return np.stack([noise.field(self.seed, r, d, step, size, p) for r, d, p in own])

        inputs = cut(lambda b: self.stacked[b])
        return self._run(inputs, self.calendar[fields], white, self.sampling.batch_size)

    def _run(
        self, inputs: Floats, calendar: Floats, white: Callable[[int], Floats], most: int
    ) -> Floats:
        """Run the sampler over n <= `most` inputs (n, channels, h, w), with noise white(step)."""
        alone = len(inputs) == 1 < most
        if alone:  # see `models.networks.batch_invariance`
            inputs = np.repeat(inputs, 2, axis=0)
            calendar = np.repeat(calendar, 2, axis=0)
            one = white

            def white(step: int) -> Floats:
                return np.repeat(one(step), 2, axis=0)

        conditioned = self._condition(inputs, calendar)

        def denoiser(x: Tensor, step: int) -> Tensor:
            steps = torch.full((len(x),), step, device=x.device)
            clean: Tensor = self.networks.denoiser(x, steps, conditioned)
            return clean

        def tensor(step: int) -> Tensor:
            return torch.from_numpy(white(step))[:, None].to(self.device)

        s, start = self.sampling, tensor(0)
        if s.sampler == "ddim":
            drawn = ddim(denoiser, start, self.schedule, s.steps)
        else:
            drawn = ddpm(denoiser, start, self.schedule, s.steps, lambda i: tensor(i + 1))
        result: Floats = drawn[: len(drawn) - alone, 0].cpu().numpy()
        return result

    def _condition(self, inputs: Floats, calendar: Floats) -> Conditioned:
        channels = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32)).to(self.device)
        channels = channels.contiguous(memory_format=torch.channels_last)
        known, fine_lags = torch.split(channels, [channels.shape[1] - self.lags, self.lags], 1)
        when = torch.from_numpy(np.ascontiguousarray(calendar, dtype=np.float32)).to(self.device)
        return self.networks.condition(known, when, fine_lags)
