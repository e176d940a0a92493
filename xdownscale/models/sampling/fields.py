"""Generate fields by field U-Nets: whole, in tiles, or in patches; one sampler for each method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xdownscale.config import DownscalerConfig
from xdownscale.models.device import autocast, resolve_device
from xdownscale.models.diffusion.preconditioning import preconditioning
from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.samplers import SigmaDenoiser, dpmpp_2m, heun, karras_sigmas
from xdownscale.models.diffusion.temporal_noise import corrected_shares
from xdownscale.models.networks.batch_invariance import batches_of, one_by_one
from xdownscale.models.networks.channels import field_inputs, lagged
from xdownscale.models.networks.field_unet import (
    FieldNet,
    FieldNetworks,
    Inputs,
    coarse_features,
    lattice,
    receptive_field,
)
from xdownscale.models.sampling.initial_noise import InitialNoise
from xdownscale.models.sampling.memory import (
    SHARE,
    auto_tile,
    available_memory,
    check_sampling,
    held_bytes,
)
from xdownscale.models.sampling.patches import Indices, blend_patches, cut_patches, fuse_patches
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.models.sampling.tiling import evaluate_tiles
from xdownscale.models.statistical.marginal import Marginal
from xdownscale.patches.layout import PatchLayout

Floats = NDArray[np.float32]
Correlation = NDArray[np.float64]
Guess = Callable[[Conditions], Floats]
_BLOCK = {"cpu": 1 << 15, "cuda": 1 << 22, "mps": 1 << 20}  # pixels that are evaluated at once


class FieldSampler:
    """Samples the conditional mean, which is the same for all realizations.

    Parameters
    ----------
    networks : FieldNetworks
        On their device, in evaluation mode.
    residual : ResidualStatistics or None
        Statistics of the residual, for samplers that generate one.
    first_guess : callable or None
        Returns the first guess and the climate (n, g, y, x) of some conditions that lack them.
    marginal : Marginal or None
        Maps generated values of censored targets.
    """

    cell = 1  # pixels on a side of a cell of the grid that fields are generated on
    scales = False  # whether the network takes its noise at three scales
    generates = False  # whether there is anything but a mean

    def __init__(
        self,
        networks: FieldNetworks,
        residual: ResidualStatistics | None = None,
        first_guess: Guess | None = None,
    ) -> None:
        self.networks = networks
        self.residual = residual
        self.first_guess = first_guess
        self.marginal: Marginal | None = None

    def sample(self, request: SampleRequest) -> Floats:
        """Generate fields; they depend on seed, realization, time and conditions alone.

        Parameters
        ----------
        request : SampleRequest
            Conditions and options.

        Returns
        -------
        ndarray of float32 (realization, n, t, y, x)
            Scaled units.

        Raises
        ------
        OptionError
            If a tile is smaller than twice the network's reach, a patch is no multiple of its
            stride, or the device has no bf16.
        GridError
            If patches do not cover the image.
        """
        request = replace(request, device=resolve_device(request.device))
        stitching = request.stitching if self.generates_in(request.config) else "whole"
        check_sampling(request.config, stitching)
        with torch.inference_mode(), autocast(request.config.sampling.precision, request.device):
            fields = _Sampling(self, request).fields()
        if self.marginal is None or not self.generates_in(request.config):
            return fields
        return self.marginal.apply(fields)

    def generates_in(self, config: DownscalerConfig) -> bool:
        """Tell whether more than the conditional mean is asked for."""
        return self.generates and config.sampling.sampler != "mean"

    def generate(
        self, evaluate: SigmaDenoiser, noise: Tensor, drivers: Tensor, config: DownscalerConfig
    ) -> Tensor:
        """Generate fields (n, t, y, x) from noise.

        Parameters
        ----------
        evaluate : callable
            Evaluates the network at a noisy field and its noise level.
        noise : Tensor
            Initial noise.
        drivers : Tensor (n, t, y, x)
            The targets' own drivers.
        config : DownscalerConfig
            Options.
        """
        raise AssertionError("a sampler of the mean generates nothing")

    def decode(self, generated: Tensor, tile: int | None) -> Tensor:
        """Return fields of pixels from generated ones, in tiles of so many pixels on a side."""
        return generated

    def finish(self, generated: Tensor, mean: Tensor | None) -> Tensor:
        """Return fields in scaled units from generated ones."""
        return generated

    @property
    def start(self) -> ResidualStatistics | None:
        """Statistics of what is generated, of which the initial noise has the spectrum."""
        return self.residual

    def channels(self, targets: int) -> int:
        """Return how many fields are generated for so many targets."""
        return targets


class OneStepSampler(FieldSampler):
    """Samples a realization in one evaluation: the drivers plus a correction made from noise."""

    scales = True
    generates = True

    def generate(
        self, evaluate: SigmaDenoiser, noise: Tensor, drivers: Tensor, config: DownscalerConfig
    ) -> Tensor:
        """Evaluate the network once."""
        return drivers + evaluate(noise, 0.0)


class ResidualSampler(FieldSampler):
    """Samples a residual by diffusion (Karras et al. 2022) and adds the conditional mean."""

    generates = True

    def generate(
        self, evaluate: SigmaDenoiser, noise: Tensor, drivers: Tensor, config: DownscalerConfig
    ) -> Tensor:
        """Solve the probability-flow ODE from noise to a scaled residual."""
        diffusion = config.diffusion

        def denoiser(x: Tensor, sigma: float) -> Tensor:
            keep, out, into = preconditioning(torch.tensor(sigma, device=x.device))
            return keep * x + out * evaluate(into * x, sigma)

        sigmas = karras_sigmas(config.sampling.steps, diffusion.sigma_min, diffusion.sigma_max)
        solve = heun if config.sampling.sampler == "heun" else dpmpp_2m
        return solve(denoiser, noise, sigmas)

    def finish(self, generated: Tensor, mean: Tensor | None) -> Tensor:
        """Calibrate the residual and add the mean."""
        assert self.residual is not None
        assert mean is not None
        return mean + self.residual.calibrated(generated)

    def correct_memory(self, true: Correlation, generated: Correlation) -> None:
        """Correct the noise so that residuals have the true autocorrelation (t, lags)."""
        assert self.residual is not None
        shares = corrected_shares(self.residual.shares, true, generated)
        self.residual = self.residual._replace(shares=shares)

    def statistics(self) -> dict[str, Floats]:
        """Return what is measured of the residual, as a state keeps it."""
        assert self.residual is not None
        return self.residual.to_state()


class _Sampling:
    """One call of `FieldSampler.sample`: conditions are prepared once for each time step."""

    def __init__(self, sampler: FieldSampler, request: SampleRequest) -> None:
        network = request.config.network
        self.sampler = sampler
        self.request = request
        self.networks = sampler.networks
        self.sampling = request.config.sampling
        self.conditions = request.conditions
        self.outputs = len(request.conditions.own)
        ny, nx = request.conditions.window.shape[-2:]
        self.shape = (int(ny), int(nx))
        unit = lattice(network)
        self.pad = (-ny % unit, -nx % unit)  # rows and columns that halving needs
        self.wide = (ny + self.pad[0], nx + self.pad[1])
        self.reach = receptive_field(network)
        self.inputs = self._padded()
        # what is corrected: the first guess, or the targets' own drivers
        self.drivers = self.inputs.known[:, : self.outputs]

    def _padded(self) -> Inputs:
        """Return the conditions as tensors, padded."""
        given = self.conditions
        edges = (0, self.pad[1], 0, self.pad[0])
        static = np.broadcast_to(given.static, (len(given.keys), *given.static.shape))
        channels = field_inputs(given.window, given.fine_lags, static, given.own)
        guess = given.guess
        if guess is None and self.sampler.first_guess is not None:
            guess = self.sampler.first_guess(given)
        if guess is not None:
            channels = np.concatenate([guess, channels], axis=-3)
        known = functional.pad(self._tensor(channels), edges, mode="replicate")
        place = self._tensor(np.moveaxis(given.place, -1, 0))[None]
        place = functional.pad(place, edges, mode="replicate").movedim(1, -1)
        return Inputs(
            known.contiguous(memory_format=torch.channels_last),
            self._tensor(given.calendar),
            self._tensor(lagged(given.coarse)),
            place.expand(len(known), -1, -1, -1),
        )

    @cached_property
    def features(self) -> Tensor | None:
        """The encoder's features of every time step, or None without an encoder."""
        encoder = self.networks.encoder
        if encoder is None:
            return None
        return one_by_one(lambda coarse: coarse_features(encoder, coarse), self.inputs.coarse)

    @cached_property
    def tile(self) -> int | None:
        """Side of the tiles, None where images are evaluated in one piece."""
        if self.sampling.tile != "auto":
            return None if self.sampling.tile is None else int(self.sampling.tile)
        free = available_memory(self.request.device)
        return auto_tile(self.wide, held_bytes(self.request.config), self.reach, free)

    @cached_property
    def most(self) -> int:
        """Pixels that are evaluated at once."""
        device = self.request.device
        most = _BLOCK[device]
        if device != "cuda":
            return most
        return min(most, int(SHARE * available_memory(device) / held_bytes(self.request.config)))

    @cached_property
    def layout(self) -> PatchLayout:
        """Patches of the padded image."""
        s = self.sampling
        return PatchLayout(self.wide, s.size, s.stride, s.halo, s.taper)

    @cached_property
    def initial_noise(self) -> InitialNoise:
        """The noise to generate from."""
        request = self.request
        cell = self.sampler.cell
        shape = _cells(self.shape, cell)
        return InitialNoise(
            measured=self.sampler.start,
            seed=request.seed,
            keys=self.conditions.keys,
            step=request.step,
            channels=self.sampler.channels(self.outputs),
            corner=(request.corner[0] // cell, request.corner[1] // cell),
            domain=_cells(request.domain, cell),
            shape=shape,
            pad=(self.wide[0] // cell - shape[0], self.wide[1] // cell - shape[1]),
            sigma_max=request.config.diffusion.sigma_max,
            scales=self.sampler.scales,
        )

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the regressions (n, t, y, x)."""
        total = torch.zeros_like(self.drivers)
        for net in self.networks.regressors:
            gathered = net.gather(self.inputs, self.features)
            for steps in self._blocks(len(gathered)):
                part = self._evaluate(net, gathered[steps], steps, None, 0.0)
                total[steps] += part
        return self.drivers + total / len(self.networks.regressions)

    @cached_property
    def gathered(self) -> Tensor:
        """Known channels of the generating network at every time step."""
        known = self.inputs
        if self.networks.regressors:
            known = known._replace(known=torch.cat([known.known, self.mean], 1))
        return self.networks.generator.gather(known, self.features)

    @cached_property
    def digested(self) -> Tensor | None:
        """Features that do not depend on the noise; None where the network works in pieces."""
        if self.tile is not None or self.request.stitching != "whole":
            return None
        net = self.networks.generator
        calendar = self.inputs.calendar
        parts = {
            int(b[0]): net.digest(self.gathered[b], calendar[b])
            for b in self._blocks(len(calendar))
        }
        return torch.cat([part[: len(calendar) - first] for first, part in parts.items()])

    def fields(self) -> Floats:
        """Return fields (realization, n, t, y, x)."""
        if not self.sampler.generates_in(self.request.config):
            return self._crop(self.mean)[None]
        if self.request.stitching == "patches":
            return self._by_patches()
        count = len(self.conditions.keys)
        numbers = self.conditions.members
        if numbers is None:
            numbers = np.repeat(self.request.realizations, count)
        out = np.empty((len(numbers), self.outputs, *self.shape), np.float32)
        blocks = list(self._blocks(len(out)))
        named = [list(zip(numbers[b].tolist(), (b % count).tolist(), strict=True)) for b in blocks]
        starts = self.initial_noise.batches(named, ahead=self.request.device != "cpu")
        for block, start in zip(blocks, starts, strict=True):
            out[block] = self._crop(self._generated(self._tensor(start), block % count))
        return out.reshape(-1, count, *out.shape[1:])

    def _generated(self, start: Tensor, steps: Indices) -> Tensor:
        """Generate fields of some time steps, each from its own noise."""
        gathered = self.gathered[steps]

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            return self._evaluate(self.networks.generator, gathered, steps, noisy, sigma)

        config = self.request.config
        generated = self.sampler.generate(evaluate, start, self.drivers[steps], config)
        decoded = self.sampler.decode(generated, self.tile)
        return self.sampler.finish(decoded, self._mean_of(steps))

    def _mean_of(self, steps: Any) -> Tensor | None:
        return self.mean[steps] if self.networks.regressors else None

    def _evaluate(
        self, net: FieldNet, gathered: Tensor, steps: Indices, noisy: Tensor | None, sigma: float
    ) -> Tensor:
        """Evaluate a network on images of some time steps: whole, in tiles or in fused patches."""
        calendar = self.inputs.calendar[steps]
        if self.request.stitching == "multidiffusion" and noisy is not None:
            return self._fused(net, gathered, calendar, noisy, sigma)
        if self.tile is not None:
            inputs = [gathered] if noisy is None else [gathered, noisy]
            return evaluate_tiles(
                lambda known, x=None: _apply(net, known, calendar, x, sigma),
                inputs,
                self.tile // net.cell,
                self.reach // net.cell,
                net.unit,
            )
        if noisy is None or self.digested is None:
            return _apply(net, gathered, calendar, noisy, sigma)
        level = torch.full((len(noisy),), sigma, device=noisy.device)
        out: Tensor = net(self.digested[steps], calendar, noisy, level)
        return out

    def _fused(
        self, net: FieldNet, gathered: Tensor, calendar: Tensor, noisy: Tensor, sigma: float
    ) -> Tensor:
        """Evaluate a network on patches that are averaged where they overlap."""

        def function(known: Tensor, x: Tensor, numbers: Indices) -> Tensor:
            return _apply(net, known, calendar[numbers // self.layout.n_patches], x, sigma)

        return fuse_patches(function, [gathered, noisy], self.layout, self.sampling.batch_size)

    def _by_patches(self) -> Floats:
        """Generate every patch by itself and blend them."""
        steps = np.arange(len(self.conditions.keys))
        members = self.conditions.members
        if members is None:
            runs = [np.full(steps.size, number) for number in self.request.realizations]
        else:
            runs = [members]
        parts = []
        for numbers in runs:
            blended = blend_patches(
                self._patch_generator(numbers), self.layout, steps.size, self.sampling.batch_size
            )
            fields = torch.stack(list(blended))
            parts.append(self._crop(self.sampler.finish(fields, self._mean_of(slice(None)))))
        return np.stack(parts)

    def _patch_generator(self, realizations: NDArray[np.int64]) -> Callable[[Indices], Tensor]:
        """Return what generates patches of all time steps, each step of its own realization."""
        layout = self.layout
        shared = None
        if self.sampling.noise == "shared":
            steps = np.arange(len(realizations))
            shared = self._tensor(self.initial_noise.fields(realizations.tolist(), steps))

        def generate(patches: Indices) -> Tensor:
            if shared is not None:
                start = cut_patches(shared, layout, patches)
            else:
                step, patch = np.divmod(patches, layout.n_patches)
                own = self.initial_noise.own(realizations[step], step, patch, layout.size)
                start = self._tensor(own)
            return self._generated_patches(start, patches)

        return generate

    def _generated_patches(self, start: Tensor, patches: Indices) -> Tensor:
        net = self.networks.generator
        known = cut_patches(self.gathered, self.layout, patches)
        calendar = self.inputs.calendar[patches // self.layout.n_patches]
        digested = net.digest(known, calendar)

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            level = torch.full((len(noisy),), sigma, device=noisy.device)
            out: Tensor = net(digested, calendar, noisy, level)
            return out

        drivers = cut_patches(self.drivers, self.layout, patches)
        return self.sampler.generate(evaluate, start, drivers, self.request.config)

    def _blocks(self, count: int) -> Iterator[Indices]:
        """Yield indices of some fields at a time, as many as suit the device."""
        return batches_of(count, max(1, self.most // (self.wide[0] * self.wide[1])))

    def _crop(self, fields: Tensor) -> Floats:
        ny, nx = self.shape
        out: Floats = fields[..., :ny, :nx].float().cpu().numpy()
        return out

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.request.device)


def _cells(shape: tuple[int, int], cell: int) -> tuple[int, int]:
    """Return the cells of some pixels on a side that cover an image."""
    return -(-shape[0] // cell), -(-shape[1] // cell)


def _apply(
    net: FieldNet, gathered: Tensor, calendar: Tensor, noisy: Tensor | None, sigma: float
) -> Tensor:
    """Evaluate a network, the part without noise included."""
    level = torch.full((len(gathered),), sigma, device=gathered.device)
    out: Tensor = net(net.digest(gathered, calendar), calendar, noisy, level)
    return out
