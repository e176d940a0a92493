"""Base of the samplers on patches: channels, patches in batches, or an image in one piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.core.errors import ModelMismatchError, check_option
from xdownscale.models.device import resolve_device
from xdownscale.models.networks.batch_invariance import batches_of
from xdownscale.models.networks.channels import patch_inputs
from xdownscale.models.sampling.patches import Indices, blend_patches, cut_patches
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.patches.layout import PatchLayout

Floats = NDArray[np.float32]
Noise = Callable[[int], Tensor]  # step -> noise of the pieces of a batch


class PatchSampler:
    """Generates fields of one variable, patch by patch or in one piece.

    Parameters
    ----------
    networks : PatchNetworks
        In evaluation mode.

    Attributes
    ----------
    sampling : type
        What a call of `sample` is.
    """

    sampling: type[PatchSampling]

    def __init__(self, networks: Any) -> None:
        self.networks = networks

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
        sampling = self.sampling(
            self.networks.to(place).eval(), replace(request, device=place), self._stacked(given)
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


class PatchSampling(ABC):
    """One call of `PatchSampler.sample`: all realizations of all time steps are one batch.

    Parameters
    ----------
    networks : PatchNetworks
        On their device, in evaluation mode.
    request : SampleRequest
        Conditions and options; its device is the networks'.
    stacked : ndarray (n, known + fine lags, y, x)
        Channels of every time step.
    """

    def __init__(self, networks: Any, request: SampleRequest, stacked: Floats) -> None:
        given = request.conditions
        fields = list(range(len(given.keys)))
        members = given.members
        if members is None:
            members = np.repeat(request.realizations, len(fields))
            fields = fields * len(request.realizations)
        self.networks = networks
        self.request = request
        self.sampling = request.config.sampling
        self.stacked = stacked[fields]
        self.calendar = given.calendar[fields]
        self.keys = np.stack([members, given.keys[fields]], axis=1)
        self.shape = (stacked.shape[-2], stacked.shape[-1])

    @property
    @abstractmethod
    def unit(self) -> int:
        """Number of pixels that the sides of an image in one piece must be a multiple of."""

    @abstractmethod
    def patch_noise(self, layout: PatchLayout, numbers: Indices, step: int) -> Tensor:
        """Return the noise of the patches of some numbers."""

    @abstractmethod
    def image_noise(self, block: Indices, size: tuple[int, int], step: int) -> Tensor:
        """Return the noise of whole images, which are padded to `size` pixels."""

    @abstractmethod
    def generate(self, known: Tensor, fine_lags: Tensor, calendar: Tensor, white: Noise) -> Tensor:
        """Generate fields (n, 1, h, w) from channels (n, c, h, w) and noise ``white(step)``."""

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
        inputs = cut_patches(torch.from_numpy(self.stacked), layout, numbers)
        fields = numbers // layout.n_patches
        return self._run(
            inputs, self.calendar[fields], lambda step: self.patch_noise(layout, numbers, step)
        )

    def whole(self) -> Floats:
        """Generate images in one piece, padded to what halving needs."""
        s = self.sampling
        ny, nx = self.shape
        pad = ((0, -ny % self.unit), (0, -nx % self.unit))
        size = (ny + pad[0][1], nx + pad[1][1])
        most = max(1, s.batch_size * s.size**2 // (ny * nx))
        out = np.empty((len(self.stacked), ny, nx), dtype=np.float32)
        for block in batches_of(len(out), most):
            inputs = np.pad(self.stacked[block], ((0, 0), (0, 0), *pad), "edge")

            def white(step: int, block: Indices = block) -> Tensor:
                return self.image_noise(block, size, step)

            generated = self._run(torch.from_numpy(inputs), self.calendar[block], white)
            out[block] = generated[:, 0, :ny, :nx].numpy()
        return out

    def _run(self, inputs: Tensor, calendar: Floats, white: Noise) -> Tensor:
        """Generate from inputs (n, channels, h, w), on the device of the networks."""
        device = self.request.device
        lags = self.request.config.data.lags
        channels = inputs.to(device).contiguous(memory_format=torch.channels_last)
        known, fine_lags = torch.split(channels, [channels.shape[1] - lags, lags], 1)
        when = torch.from_numpy(np.ascontiguousarray(calendar, dtype=np.float32)).to(device)
        return self.generate(known, fine_lags, when, lambda step: white(step).to(device)).cpu()
