"""Fields drawn whole: the mean of the regressions plus a residual from shared noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xdownscale.config import DownscalerConfig, SamplingConfig
from xdownscale.models import noise
from xdownscale.models.device import resolve_device
from xdownscale.models.fields.network import FieldNet, FieldNetworks, Inputs, coarse_features
from xdownscale.models.fields.stages import generated, preconditioning, with_mean
from xdownscale.models.sampling import dpmpp_2m, heun, karras_sigmas
from xdownscale.models.spectra import Spectrum, coloured

Floats = NDArray[np.float32]
_MARGIN = 64  # pixels of noise around the domain, so that opposite edges are not neighbours


class Residual(NamedTuple):
    """What was measured of the residual: fine field minus regression, scaled units.

    Attributes
    ----------
    scale : float
        Standard deviation on days that the regression did not see.
    rho : float
        Correlation from one day to the next.
    temperature : float
        What drawn residuals are multiplied by, so that their spread fits on validation days.
    spectrum : Spectrum
        Of the residual divided by its scale.
    """

    scale: float
    rho: float
    temperature: float
    spectrum: Spectrum

    def to_state(self) -> dict[str, Floats]:
        """Return arrays under the names ``residual. ...``."""
        parts = {
            "scale": self.scale,
            "rho": self.rho,
            "temperature": self.temperature,
            "frequency": self.spectrum.frequency,
            "power": self.spectrum.power,
        }
        return {f"residual.{k}": np.asarray(v, np.float32).reshape(-1) for k, v in parts.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats]) -> Residual:
        """Read what `to_state` returned."""
        spectrum = Spectrum(
            np.asarray(state["residual.frequency"], np.float64),
            np.asarray(state["residual.power"], np.float64),
        )
        numbers = (float(state[f"residual.{k}"][0]) for k in ("scale", "rho", "temperature"))
        return cls(*numbers, spectrum)


@dataclass(frozen=True, kw_only=True)
class FieldConditions:
    """What is known of n days, in scaled units and without NaN.

    Attributes
    ----------
    known : ndarray (n, k, y, x)
        Driver window, the day itself first, and static fields.
    calendar : ndarray (n, c)
        Numbers of the day.
    coarse : ndarray (n, lags, yc, xc)
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
    """

    config: DownscalerConfig
    realizations: tuple[int, ...]
    seed: int
    step: int
    device: str
    corner: tuple[int, int]
    domain: tuple[int, int]


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
    ndarray of float32 (realization, n, y, x)
        Scaled units.
    """
    place = replace(request, device=resolve_device(request.device))
    with torch.inference_mode():
        return _Draw(networks, residual, conditions, place).fields()


class _Draw:
    """One call of `draw_fields`."""

    def __init__(
        self,
        networks: FieldNetworks,
        residual: Residual | None,
        conditions: FieldConditions,
        request: FieldRequest,
    ) -> None:
        self.networks, self.residual = networks, residual
        self.conditions, self.request = conditions, request
        self.shape = conditions.known.shape[-2:]
        nets = [*networks.regressions, networks.drawer]
        unit = next(net.unit for net in nets if isinstance(net, FieldNet))
        ny, nx = self.shape
        self.pad = (0, -nx % unit, 0, -ny % unit)

    @cached_property
    def inputs(self) -> Inputs:
        """Conditions as tensors, padded to what halving needs."""
        known = functional.pad(self._tensor(self.conditions.known), self.pad, mode="replicate")
        place = self._tensor(np.moveaxis(self.conditions.place, -1, 0))[None]
        place = functional.pad(place, self.pad, mode="replicate").movedim(1, -1)
        return Inputs(
            known.contiguous(memory_format=torch.channels_last),
            self._tensor(self.conditions.calendar),
            self._tensor(self.conditions.coarse),
            place.expand(len(known), -1, -1, -1),
        )

    @cached_property
    def features(self) -> Tensor | None:
        """The encoder's features of every day, or None without an encoder."""
        encoder = self.networks.encoder
        return None if encoder is None else coarse_features(encoder, self.inputs.coarse)

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the regressions, (n, 1, y, x)."""
        inputs = self.inputs
        calm = torch.zeros(len(inputs.known), device=inputs.known.device)
        parts = [
            net(net.digest(inputs, self.features), inputs.calendar, None, calm)
            for net in self.networks.regressions
        ]
        return inputs.known[:, :1] + torch.stack(parts).mean(0)

    def fields(self) -> Floats:
        """Return fields (realization, n, y, x)."""
        if self.request.config.method == "unet" or self._sampling.sampler == "mean":
            return self._crop(self.mean)[None]
        draw = self._residual if self.request.config.method == "residual" else self._generated
        digested = self._digested()
        return np.stack([self._crop(draw(digested, r)) for r in self.request.realizations])

    @property
    def _sampling(self) -> SamplingConfig:
        return self.request.config.sampling

    def _digested(self) -> Tensor:
        net = self._drawer()
        known = with_mean(self.inputs, self.mean) if self.networks.regressions else self.inputs
        return net.digest(known, self.features)

    def _drawer(self) -> FieldNet:
        net = self.networks.drawer
        assert net is not None
        return net

    def _residual(self, digested: Tensor, realization: int) -> Tensor:
        """Draw one residual for every day and add it to the mean."""
        residual, sampling = self._measured(), self.request.config.sampling
        diffusion = self.request.config.diffusion
        net, calendar = self._drawer(), self.inputs.calendar

        def denoiser(x: Tensor, sigma: float) -> Tensor:
            level = torch.full((len(x),), sigma, device=x.device)
            keep, out, into = preconditioning(level[:, None, None, None])
            return keep * x + out * net(digested, calendar, into * x, level)

        sigmas = karras_sigmas(sampling.steps, diffusion.sigma_min, diffusion.sigma_max)
        start = self._noise(
            realization, lambda white: coloured(white, residual.spectrum, diffusion.sigma_max)
        )
        solve = heun if sampling.sampler == "heun" else dpmpp_2m
        drawn = solve(denoiser, start, sigmas)
        return self.mean + residual.temperature * residual.scale * drawn

    def _generated(self, digested: Tensor, realization: int) -> Tensor:
        """Draw one realization of every day with a single evaluation."""
        white = self._noise(realization, lambda field: field)
        return generated(self._drawer(), digested, self.inputs, white)

    def _noise(self, realization: int, shape: Callable[[Floats], Floats]) -> Tensor:
        """Noise of every day (n, 1, y, x), cut from fields of the whole domain."""
        request, (y, x), (ny, nx) = self.request, self.request.corner, self.shape
        wide = (request.domain[0] + _MARGIN, request.domain[1] + _MARGIN)
        rho = self.residual.rho if self.residual is not None else 0.0
        fields = np.stack(
            [
                noise.latent(request.seed, realization, int(key), wide, rho=rho, step=request.step)
                for key in self.conditions.keys
            ]
        )
        cut = shape(fields)[:, y : y + ny, x : x + nx]
        # Noise beyond the edge is noise too: some of the field's own, wrapped around.
        padded = np.pad(cut, ((0, 0), (0, self.pad[3]), (0, self.pad[1])), "wrap")
        return self._tensor(padded[:, None])

    def _measured(self) -> Residual:
        assert self.residual is not None
        return self.residual

    def _crop(self, fields: Tensor) -> Floats:
        ny, nx = self.shape
        out: Floats = fields[:, 0, :ny, :nx].float().cpu().numpy()
        return out

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.request.device)
