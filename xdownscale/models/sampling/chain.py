"""Generate fields patch by patch or in one piece, by a diffusion chain or in one evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.core.errors import ModelMismatchError, check_option
from xdownscale.models.device import resolve_device
from xdownscale.models.diffusion import noise
from xdownscale.models.diffusion.samplers import ddim, ddpm
from xdownscale.models.diffusion.schedules import squared_cosine
from xdownscale.models.networks.batch_invariance import batches_of
from xdownscale.models.networks.channels import patch_inputs
from xdownscale.models.networks.unet import Networks
from xdownscale.models.sampling.patches import Indices, blend_patches, cut_patches
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.patches.layout import PatchLayout

Floats = NDArray[np.float32]


class ChainSampler:
    """Generates fields by a diffusion chain on the field itself, one variable.

    Parameters
    ----------
    networks : Networks
        In evaluation mode.
    regression : bool
        They were trained without noise: one evaluation gives the field, and there is no chain.
    """

    def __init__(self, networks: Networks, regression: bool = False) -> None:
        self.networks = networks
        self.regression = regression

    def sample(self, request: SampleRequest) -> Floats:
        """Generate fields; they depend on seed, realization, time and conditions alone.

        Parameters
        ----------
        request : SampleRequest
            Conditions and options.

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
        given = request.conditions
        sampling = _Sampling(
            self.networks.to(place).eval(),
            replace(request, device=place),
            self._stacked(given),
            self.regression,
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


class _Sampling:
    """One call of `ChainSampler.sample`: all realizations of all time steps are one batch.

    Parameters
    ----------
    networks : Networks
        On their device, in evaluation mode.
    request : SampleRequest
        Conditions and options; its device is the networks'.
    stacked : ndarray (n, known + fine lags, y, x)
        Channels of every time step.
    regression : bool
        Evaluate the networks once, without noise.
    """

    def __init__(
        self, networks: Networks, request: SampleRequest, stacked: Floats, regression: bool
    ) -> None:
        self.regression = regression
        given = request.conditions
        fields = list(range(len(given.keys)))
        members = given.members
        if members is None:
            members = np.repeat(request.realizations, len(fields))
            fields = fields * len(request.realizations)
        self.networks = networks
        self.request = request
        self.sampling = request.config.sampling
        self.schedule = squared_cosine(request.config.diffusion.train_steps)
        self.stacked = stacked[fields]
        self.calendar = given.calendar[fields]
        self.keys = np.stack([members, given.keys[fields]], axis=1)
        self.shape = (stacked.shape[-2], stacked.shape[-1])

    def by_patches(self) -> Floats:
        """Generate patch by patch."""
        s = self.sampling
        layout = PatchLayout(self.shape, s.size, s.stride, s.halo, s.taper)
        fields = blend_patches(
            lambda numbers: self._patches(layout, numbers),
            layout,
            len(self.stacked),
            s.batch_size,
            torch.float64,
        )
        out = np.empty((len(self.stacked), *self.shape), dtype=np.float32)
        for number, field in enumerate(fields):
            out[number] = field[0].numpy()
        return out

    def _patches(self, layout: PatchLayout, numbers: Indices) -> Tensor:
        """Generate the patches (m, 1, size, size) of some numbers."""
        fields, patches = np.divmod(numbers, layout.n_patches)

        def white(step: int) -> Tensor:
            if self.sampling.noise == "shared":
                return self._cut_noise(layout, numbers, step)
            shape = (layout.size, layout.size)
            own = [
                noise.field(self.request.seed, int(realization), int(key), step, shape, int(patch))
                for (realization, key), patch in zip(self.keys[fields], patches, strict=True)
            ]
            return torch.from_numpy(np.stack(own))[:, None]

        inputs = cut_patches(torch.from_numpy(self.stacked), layout, numbers)
        return self._run(inputs, self.calendar[fields], white)

    def _cut_noise(self, layout: PatchLayout, numbers: Indices, step: int) -> Tensor:
        """Cut patches out of the noise fields of the whole domain."""
        present = np.unique(numbers // layout.n_patches)  # consecutive fields
        images = np.stack([self._image_noise(field, step) for field in present])
        local = numbers - present[0] * layout.n_patches
        return cut_patches(torch.from_numpy(images)[:, None], layout, local).contiguous()

    def whole(self) -> Floats:
        """Generate images in one piece, padded to what halving needs."""
        s = self.sampling
        ny, nx = self.shape
        unit = 2 ** (len(self.networks.denoiser.encoder.blocks) - 1)
        pad = ((0, -ny % unit), (0, -nx % unit))
        most = max(1, s.batch_size * s.size**2 // (ny * nx))
        out = np.empty((len(self.stacked), ny, nx), dtype=np.float32)
        for block in batches_of(len(out), most):
            inputs = np.pad(self.stacked[block], ((0, 0), (0, 0), *pad), "edge")

            def white(step: int, block: Indices = block) -> Tensor:
                # Noise beyond the edge is noise too: some of the field's own, wrapped around.
                images = np.stack([self._image_noise(field, step) for field in block])
                return torch.from_numpy(np.pad(images, ((0, 0), *pad), "wrap"))[:, None]

            generated = self._run(torch.from_numpy(inputs), self.calendar[block], white)
            out[block] = generated[:, 0, :ny, :nx].numpy()
        return out

    def _image_noise(self, field: int, step: int) -> Floats:
        """Return the part of the domain's noise field that lies under the image."""
        realization, key = (int(number) for number in self.keys[field])
        whole = noise.field(self.request.seed, realization, key, step, self.request.domain)
        y, x = self.request.corner
        ny, nx = self.shape
        return whole[y : y + ny, x : x + nx]

    def _run(self, inputs: Tensor, calendar: Floats, white: Callable[[int], Tensor]) -> Tensor:
        """Run the sampler on inputs (n, channels, h, w) with noise ``white(step)`` (n, 1, h, w)."""
        device = self.request.device
        lags = self.request.config.data.lags
        channels = inputs.to(device).contiguous(memory_format=torch.channels_last)
        known, fine_lags = torch.split(channels, [channels.shape[1] - lags, lags], 1)
        when = torch.from_numpy(np.ascontiguousarray(calendar, dtype=np.float32)).to(device)
        conditioned = self.networks.condition(known, when, fine_lags)
        if self.regression:
            return self.networks.regression(conditioned).cpu()

        def denoiser(x: Tensor, step: int) -> Tensor:
            steps = torch.full((len(x),), step, device=x.device)
            clean: Tensor = self.networks.denoiser(x, steps, conditioned)
            return clean

        def noise_of(step: int) -> Tensor:
            return white(step).to(device)

        s = self.sampling
        start = noise_of(0)
        if s.sampler == "ddim":
            generated = ddim(denoiser, start, self.schedule, s.steps)
        else:
            generated = ddpm(denoiser, start, self.schedule, s.steps, lambda i: noise_of(i + 1))
        return generated.cpu()
