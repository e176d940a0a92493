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

from xdownscale.config import DownscalerConfig, SamplingConfig
from xdownscale.models import noise, tiles
from xdownscale.models.device import autocast, resolve_device
from xdownscale.models.fields.network import (
    FieldNet,
    FieldNetworks,
    Inputs,
    coarse_features,
    receptive_field,
)
from xdownscale.models.fields.residual import Residual
from xdownscale.models.fields.stages import noise_inputs, preconditioning
from xdownscale.models.sampling import SigmaDenoiser, dpmpp_2m, heun, karras_sigmas
from xdownscale.models.spectra import Spectrum, coloured
from xdownscale.patches.layout import PatchLayout

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
_MARGIN = 64  # pixels of noise around the domain, so that opposite edges are not neighbours
_BLOCK = {"cpu": 1 << 15, "cuda": 1 << 22, "mps": 1 << 20}  # pixels that are drawn at once
_HELD = 40.0  # bytes that an evaluation holds for each pixel and channel of the first level


@dataclass(frozen=True, kw_only=True)
class FieldConditions:
    """What is known of n days, in scaled units and without NaN.

    Attributes
    ----------
    known : ndarray (n, k, y, x)
        Driver window, the targets' own drivers of the day itself first, and static fields.
    calendar : ndarray (n, c)
        Numbers of the day.
    coarse : ndarray (n, lags x drivers, yc, xc)
        Coarse record of the days before, on its own grid.
    place : ndarray (y, x, 2)
        Where fine pixels lie on the coarse grid.
    keys : ndarray of int (n,)
        Time of the days, in seconds: keys of the noise.
    """

    known: Floats
    calendar: Floats
    coarse: Floats
    place: Floats
    keys: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FieldRequest:
    """How fields are drawn.

    Attributes
    ----------
    config : DownscalerConfig
        Its section `sampling` counts.
    realizations : tuple of int
        Numbers of the realizations.
    seed : int
        Of the noise.
    step : int
        Seconds from one day to the next.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    corner, domain : tuple of int
        Where the fields lie in a larger image, and its size.
    stitching : str
        ``"whole"``; ``"patches"``, each drawn by itself; or ``"multidiffusion"``, patches that are
        made to agree at every step.
    """

    config: DownscalerConfig
    realizations: tuple[int, ...]
    seed: int
    step: int
    device: str
    corner: tuple[int, int]
    domain: tuple[int, int]
    stitching: str = "whole"


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
        If a tile is smaller than twice the network's reach, or the device has no bf16.
    """
    request = replace(request, device=resolve_device(request.device))
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
        return None if encoder is None else coarse_features(encoder, self.inputs.coarse)

    @cached_property
    def tile(self) -> int | None:
        """Side of the tiles, None where images are evaluated in one piece."""
        asked = self.sampling.tile
        if asked == "auto":
            if self.request.device != "cpu":
                return None
            held = _HELD * self.request.config.network.channels[0]
            held /= self.request.config.network.unshuffle**2
            return tiles.auto_tile(self.wide, held, self.reach)
        if asked is not None:
            tiles.check_tile(int(asked), self.reach)
        return None if asked is None else int(asked)

    @cached_property
    def reach(self) -> int:
        return max(receptive_field(net) for net in self.nets)

    @cached_property
    def layout(self) -> PatchLayout:
        """Patches of the padded image."""
        s = self.sampling
        return PatchLayout(self.wide, s.size, s.stride, s.halo, s.taper)

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
        parts = [net.digest(self.gathered[b], calendar[b]) for b in self._blocks(len(calendar))]
        return torch.cat(parts)

    def fields(self) -> Floats:
        """Return fields (realization, n, t, y, x)."""
        if self.method == "unet":
            return self._crop(self.mean)[None]
        if self.request.stitching == "patches":
            return self._by_patches()
        days, numbers = len(self.conditions.keys), self.request.realizations
        out = np.empty((len(numbers) * days, self.nets[0].outputs, *self.shape), np.float32)
        for block in self._blocks(len(out)):
            rows, day = np.divmod(block, days)
            start = self._start([numbers[r] for r in rows], day)
            out[block] = self._crop(self._drawn(start, day))
        return out.reshape(len(numbers), days, *out.shape[1:])

    def _drawn(self, start: Tensor, day: Indices) -> Tensor:
        """Draw fields of some days, each from its own start."""
        gathered = self.gathered[day]

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            return self._evaluate(self.networks.drawing, gathered, day, noisy, sigma)

        if self.method == "crps":
            return self.drivers[day] + evaluate(noise_inputs(start), 0.0)
        return self._finished(self._solved(evaluate, start), self.mean[day])

    def _solved(self, evaluate: SigmaDenoiser, start: Tensor) -> Tensor:
        """Draw scaled residuals with a network that knows its days."""
        diffusion = self.request.config.diffusion

        def denoiser(x: Tensor, sigma: float) -> Tensor:
            keep, out, into = preconditioning(torch.tensor(sigma, device=x.device))
            return keep * x + out * evaluate(into * x, sigma)

        sigmas = karras_sigmas(self.sampling.steps, diffusion.sigma_min, diffusion.sigma_max)
        solve = heun if self.sampling.sampler == "heun" else dpmpp_2m
        return solve(denoiser, start, sigmas)

    def _finished(self, drawn: Tensor, mean: Tensor) -> Tensor:
        size = self.residual.temperature * self.residual.scale
        return mean + self._tensor(size).view(1, -1, 1, 1) * drawn

    def _evaluate(
        self, net: FieldNet, gathered: Tensor, day: Indices, noisy: Tensor | None, sigma: float
    ) -> Tensor:
        """Evaluate a network on images of some days: whole, in tiles or in fused patches."""
        calendar = self.inputs.calendar[day]
        if self.request.stitching == "multidiffusion" and noisy is not None:
            return self._fused(net, gathered, calendar, noisy, sigma)
        if self.tile is not None:
            inputs = [gathered] if noisy is None else [gathered, noisy]
            return tiles.evaluate(
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

        return tiles.fused(function, [gathered, noisy], self.layout, self.sampling.batch_size)

    def _by_patches(self) -> Floats:
        """Draw every patch by itself and add them up."""
        days = np.arange(len(self.conditions.keys))
        parts = []
        for number in self.request.realizations:
            starts = None
            if self.sampling.noise == "shared":
                starts = self._start([number] * len(days), days)
            canvas = tiles.Canvas(self.layout, len(days), self.nets[0].outputs, self.gathered)
            for patches in tiles.batches(self.layout, len(days), self.sampling.batch_size):
                start = (
                    self._own_starts(number, patches)
                    if starts is None
                    else tiles.cut(starts, self.layout, patches)
                )
                canvas.add(self._drawn_patches(start, patches), patches)
            parts.append(self._crop(canvas.result()))
        return np.stack(parts)

    def _drawn_patches(self, start: Tensor, patches: Indices) -> Tensor:
        net = self.networks.drawing
        known = tiles.cut(self.gathered, self.layout, patches)
        calendar = self.inputs.calendar[patches // self.layout.n_patches]
        digested = net.digest(known, calendar)

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            level = torch.full((len(noisy),), sigma, device=noisy.device)
            out: Tensor = net(digested, calendar, noisy, level)
            return out

        if self.method == "crps":
            drivers = tiles.cut(self.drivers, self.layout, patches)
            return drivers + evaluate(noise_inputs(start), 0.0)
        mean = tiles.cut(self.mean, self.layout, patches)
        return self._finished(self._solved(evaluate, start), mean)

    def _start(self, realizations: list[int], days: Indices) -> Tensor:
        """Noise that the samplers start from (m, t, y, x), cut from fields of the whole domain."""
        pairs = zip(realizations, days, strict=True)
        return self._tensor(np.stack([self._noise(r, int(day)) for r, day in pairs]))

    def _noise(self, realization: int, day: int) -> Floats:
        """Noise of one day (t, y, x)."""
        request, (y, x) = self.request, self.request.corner
        wide = (request.domain[0] + _MARGIN, request.domain[1] + _MARGIN)
        key, (ny, nx) = int(self.conditions.keys[day]), self.shape
        fields = []
        for channel in range(self.nets[0].outputs):
            rho = float(self.residual.rho[channel]) if self.measured is not None else 0.0
            white = noise.latent(
                request.seed, realization, key, wide, rho=rho, step=request.step, channel=channel
            )
            fields.append(self._coloured(white, channel)[y : y + ny, x : x + nx])
        # Noise beyond the edge is noise too: some of the field's own, wrapped around.
        return np.pad(np.stack(fields), ((0, 0), (0, self.pad[0]), (0, self.pad[1])), "wrap")

    def _own_starts(self, realization: int, patches: Indices) -> Tensor:
        """Noise of each patch for itself: what independent patches start from."""
        day, patch = np.divmod(patches, self.layout.n_patches)
        size = (self.layout.size, self.layout.size)
        channels = range(self.nets[0].outputs)
        starts = [
            [
                self._coloured(noise.field(self.request.seed, realization, key, c, size, p), c)
                for c in channels
            ]
            for key, p in zip(self.conditions.keys[day].tolist(), patch.tolist(), strict=True)
        ]
        return self._tensor(np.array(starts))

    def _coloured(self, white: Floats, channel: int) -> Floats:
        if self.measured is None:
            return white
        spectrum: Spectrum = self.measured.spectra[channel]
        return coloured(white, spectrum, self.request.config.diffusion.sigma_max)

    def _blocks(self, count: int) -> Iterator[Indices]:
        """Yield some fields at a time: as many as suit the device."""
        size = max(1, _BLOCK[self.request.device] // (self.wide[0] * self.wide[1]))
        for start in range(0, count, size):
            yield np.arange(start, min(start + size, count))

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
