"""Fields drawn from what is known of their days and from shared noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xdownscale.config import SamplingConfig
from xdownscale.models.device import autocast, resolve_device
from xdownscale.models.diffusion.preconditioning import preconditioning
from xdownscale.models.diffusion.residual import Residual
from xdownscale.models.diffusion.samplers import SigmaDenoiser, dpmpp_2m, heun, karras_sigmas
from xdownscale.models.networks.batch_invariance import in_company, one_by_one
from xdownscale.models.networks.field_unet import (
    FieldNet,
    FieldNetworks,
    Inputs,
    coarse_features,
    receptive_field,
)
from xdownscale.models.sampling import tiling
from xdownscale.models.sampling.initial_noise import Starts
from xdownscale.models.sampling.memory import check_sampling, held_bytes
from xdownscale.models.sampling.request import FieldConditions, FieldRequest
from xdownscale.patches.layout import PatchLayout

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
_BLOCK = {"cpu": 1 << 15, "cuda": 1 << 22, "mps": 1 << 20}  # pixels that are drawn at once


def draw_fields(
    networks: FieldNetworks,
    residual: Residual | None,
    conditions: FieldConditions,
    request: FieldRequest,
) -> Floats:
    """Draw fields; what is drawn depends on seed, realization, day and conditions alone.

    Parameters
    ----------
    networks : FieldNetworks
        On the device of the request, in evaluation mode.
    residual : Residual or None
        What was measured of the residual; None for a method without one.
    conditions : FieldConditions
        What is known of n days.
    request : FieldRequest
        How.

    Returns
    -------
    ndarray of float32 (realization, n, t, y, x)
        Scaled units.

    Raises
    ------
    OptionError
        If a tile is smaller than twice the network's reach, a patch is no multiple of its stride,
        or the device has no bf16.
    GridError
        If patches do not cover the image.
    """
    request = replace(request, device=resolve_device(request.device))
    check_sampling(request.config, request.stitching)
    with torch.inference_mode(), autocast(request.config.sampling.precision, request.device):
        return _Draw(networks, residual, conditions, request).fields()


@dataclass(frozen=True)
class _Draw:
    """One call of `draw_fields`: what is known is prepared once for each day."""

    networks: FieldNetworks
    measured: Residual | None
    conditions: FieldConditions
    request: FieldRequest

    @property
    def sampling(self) -> SamplingConfig:
        return self.request.config.sampling

    @property
    def method(self) -> str:
        return "unet" if self.sampling.sampler == "mean" else self.request.config.method

    @property
    def residual(self) -> Residual:
        assert self.measured is not None
        return self.measured

    @cached_property
    def nets(self) -> list[FieldNet]:
        drawer = self.networks.drawer
        return [*self.networks.regressors, *([drawer] if drawer is not None else [])]

    @cached_property
    def shape(self) -> tuple[int, int]:
        ny, nx = self.conditions.known.shape[-2:]
        return int(ny), int(nx)

    @cached_property
    def pad(self) -> tuple[int, int]:
        """Rows and columns that halving needs beyond the image."""
        unit = self.nets[0].unit
        return -self.shape[0] % unit, -self.shape[1] % unit

    @cached_property
    def wide(self) -> tuple[int, int]:
        """Shape of the padded image."""
        return self.shape[0] + self.pad[0], self.shape[1] + self.pad[1]

    @cached_property
    def inputs(self) -> Inputs:
        """Conditions as tensors, padded."""
        given, edges = self.conditions, (0, self.pad[1], 0, self.pad[0])
        known = functional.pad(self._tensor(given.known), edges, mode="replicate")
        place = self._tensor(np.moveaxis(given.place, -1, 0))[None]
        place = functional.pad(place, edges, mode="replicate").movedim(1, -1)
        return Inputs(
            known.contiguous(memory_format=torch.channels_last),
            self._tensor(given.calendar),
            self._tensor(given.coarse),
            place.expand(len(known), -1, -1, -1),
        )

    @cached_property
    def features(self) -> Tensor | None:
        """The encoder's features of every day, or None without an encoder."""
        encoder = self.networks.encoder
        if encoder is None:
            return None
        return one_by_one(lambda coarse: coarse_features(encoder, coarse), self.inputs.coarse)

    @cached_property
    def tile(self) -> int | None:
        """Side of the tiles, None where images are evaluated in one piece."""
        if self.sampling.tile != "auto":
            return None if self.sampling.tile is None else int(self.sampling.tile)
        free = tiling.available_memory(self.request.device)
        return tiling.auto_tile(self.wide, held_bytes(self.request.config), self.reach, free)

    @cached_property
    def most(self) -> int:
        """Pixels that are drawn at once."""
        most, device = _BLOCK[self.request.device], self.request.device
        if device != "cuda":
            return most
        return min(
            most,
            int(tiling.SHARE * tiling.available_memory(device) / held_bytes(self.request.config)),
        )

    @cached_property
    def reach(self) -> int:
        return receptive_field(self.request.config.network)

    @cached_property
    def layout(self) -> PatchLayout:
        """Patches of the padded image."""
        s = self.sampling
        return PatchLayout(self.wide, s.size, s.stride, s.halo, s.taper)

    @cached_property
    def starts(self) -> Starts:
        """The noise to draw from."""
        request = self.request
        return Starts(
            measured=self.measured,
            seed=request.seed,
            keys=self.conditions.keys,
            step=request.step,
            channels=self.nets[0].outputs,
            corner=request.corner,
            domain=request.domain,
            shape=self.shape,
            pad=self.pad,
            sigma_max=request.config.diffusion.sigma_max,
            scales=self.method == "crps",
        )

    @cached_property
    def drivers(self) -> Tensor:
        """The targets' own drivers of every day (n, t, y, x)."""
        return self.inputs.known[:, : self.nets[0].outputs]

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the regressions (n, t, y, x), day by day where memory asks for it."""
        total = torch.zeros_like(self.drivers)
        for net in self.networks.regressors:
            gathered = net.gather(self.inputs, self.features)
            for days in self._blocks(len(gathered)):
                part = self._evaluate(net, gathered[days], days, None, 0.0)
                total[days] += part
        return self.drivers + total / len(self.networks.regressions)

    @cached_property
    def gathered(self) -> Tensor:
        """All that the network that draws knows of every day."""
        known = self.inputs
        if self.networks.regressors:
            known = known._replace(known=torch.cat([known.known, self.mean], 1))
        return self.networks.drawing.gather(known, self.features)

    @cached_property
    def digested(self) -> Tensor | None:
        """What the network makes of it, once for all steps; None where it works in pieces."""
        if self.tile is not None or self.request.stitching != "whole":
            return None
        net, calendar = self.networks.drawing, self.inputs.calendar
        parts = {
            int(b[0]): net.digest(self.gathered[b], calendar[b])
            for b in self._blocks(len(calendar))
        }
        return torch.cat([part[: len(calendar) - first] for first, part in parts.items()])

    def fields(self) -> Floats:
        """Return fields (realization, n, t, y, x)."""
        if self.method == "unet":
            return self._crop(self.mean)[None]
        if self.request.stitching == "patches":
            return self._by_patches()
        given, days = self.conditions.members, len(self.conditions.keys)
        listed = np.array(self.request.realizations) if given is None else given
        numbers = np.repeat(listed, days) if given is None else listed
        out = np.empty((len(numbers), self.nets[0].outputs, *self.shape), np.float32)
        for block in self._blocks(len(out)):
            day = block % days
            start = self._tensor(self.starts.fields(numbers[block].tolist(), day))
            out[block] = self._crop(self._drawn(start, day))
        return out.reshape(-1, days, *out.shape[1:])

    def _drawn(self, start: Tensor, day: Indices) -> Tensor:
        """Draw fields of some days, each from its own start."""
        gathered = self.gathered[day]

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            return self._evaluate(self.networks.drawing, gathered, day, noisy, sigma)

        if self.method == "crps":
            return self.drivers[day] + evaluate(start, 0.0)
        return self.mean[day] + self.residual.finished(self._solved(evaluate, start))

    def _solved(self, evaluate: SigmaDenoiser, start: Tensor) -> Tensor:
        """Draw scaled residuals with a network that knows its days."""
        diffusion = self.request.config.diffusion

        def denoiser(x: Tensor, sigma: float) -> Tensor:
            keep, out, into = preconditioning(torch.tensor(sigma, device=x.device))
            return keep * x + out * evaluate(into * x, sigma)

        sigmas = karras_sigmas(self.sampling.steps, diffusion.sigma_min, diffusion.sigma_max)
        solve = heun if self.sampling.sampler == "heun" else dpmpp_2m
        return solve(denoiser, start, sigmas)

    def _evaluate(
        self, net: FieldNet, gathered: Tensor, day: Indices, noisy: Tensor | None, sigma: float
    ) -> Tensor:
        """Evaluate a network on images of some days: whole, in tiles or in fused patches."""
        calendar = self.inputs.calendar[day]
        if self.request.stitching == "multidiffusion" and noisy is not None:
            return self._fused(net, gathered, calendar, noisy, sigma)
        if self.tile is not None:
            inputs = [gathered] if noisy is None else [gathered, noisy]
            return tiling.evaluate(
                lambda known, x=None: _apply(net, known, calendar, x, sigma),
                inputs,
                self.tile,
                self.reach,
                net.unit,
            )
        if noisy is None or self.digested is None:
            return _apply(net, gathered, calendar, noisy, sigma)
        level = torch.full((len(noisy),), sigma, device=noisy.device)
        out: Tensor = net(self.digested[day], calendar, noisy, level)
        return out

    def _fused(
        self, net: FieldNet, gathered: Tensor, calendar: Tensor, noisy: Tensor, sigma: float
    ) -> Tensor:
        def function(known: Tensor, x: Tensor, numbers: Indices) -> Tensor:
            return _apply(net, known, calendar[numbers // self.layout.n_patches], x, sigma)

        def together(known: Tensor, x: Tensor, numbers: Indices) -> Tensor:
            where = torch.from_numpy(numbers)
            return in_company(lambda k, y, n: function(k, y, n.numpy()), known, x, where)

        return tiling.fused(together, [gathered, noisy], self.layout, self.sampling.batch_size)

    def _by_patches(self) -> Floats:
        """Draw every patch by itself and add them up."""
        days = self.conditions.keys
        parts = []
        for number in self.request.realizations:
            canvas = tiling.Canvas(self.layout, len(days), self.nets[0].outputs, self.gathered)
            for start, patches in self._patch_starts(number):
                drawn, once = self._drawn_patches(start, patches), np.unique(patches)
                canvas.add(drawn[: once.size], once)
            drawn = canvas.result()
            if self.method == "residual":
                drawn = self.mean + self.residual.finished(drawn)
            parts.append(self._crop(drawn))
        return np.stack(parts)

    def _patch_starts(self, realization: int) -> Iterator[tuple[Tensor, Indices]]:
        """Yield what patches of all days start from, and their numbers."""
        days, layout, shared = len(self.conditions.keys), self.layout, None
        if self.sampling.noise == "shared":
            shared = self._tensor(self.starts.fields([realization] * days, np.arange(days)))
        for numbers in tiling.batches(layout, days, self.sampling.batch_size):
            patches = np.repeat(numbers, 2) if numbers.size == 1 else numbers  # see `_blocks`
            if shared is not None:
                yield tiling.cut(shared, layout, patches), patches
            else:
                day, patch = np.divmod(patches, layout.n_patches)
                yield self._tensor(self.starts.own(realization, day, patch, layout.size)), patches

    def _drawn_patches(self, start: Tensor, patches: Indices) -> Tensor:
        net = self.networks.drawing
        known = tiling.cut(self.gathered, self.layout, patches)
        calendar = self.inputs.calendar[patches // self.layout.n_patches]
        digested = net.digest(known, calendar)

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            level = torch.full((len(noisy),), sigma, device=noisy.device)
            out: Tensor = net(digested, calendar, noisy, level)
            return out

        if self.method == "crps":
            drivers = tiling.cut(self.drivers, self.layout, patches)
            return drivers + evaluate(start, 0.0)
        return self._solved(evaluate, start)

    def _blocks(self, count: int) -> Iterator[Indices]:
        """Yield some fields at a time, as many as suit the device; one that is left over twice.

        Kernels for one image round differently from those for several, see `models.company`.
        """
        size = max(1, self.most // (self.wide[0] * self.wide[1]))
        for start in range(0, count, size):
            block = np.arange(start, min(start + size, count))
            yield np.repeat(block, 2) if block.size == 1 < size else block

    def _crop(self, fields: Tensor) -> Floats:
        ny, nx = self.shape
        out: Floats = fields[..., :ny, :nx].float().cpu().numpy()
        return out

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.request.device)


def _apply(
    net: FieldNet, gathered: Tensor, calendar: Tensor, noisy: Tensor | None, sigma: float
) -> Tensor:
    """Digest and evaluate in one go."""
    level = torch.full((len(gathered),), sigma, device=gathered.device)
    out: Tensor = net(net.digest(gathered, calendar), calendar, noisy, level)
    return out
