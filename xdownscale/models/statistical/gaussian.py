"""Members from a point estimate and correlated Gaussian noise with the residual's spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from xdownscale.models.diffusion import noise, spectra
from xdownscale.models.statistical.ensembles import lower_bounds
from xdownscale.models.statistical.predictors import (
    Array,
    Floats,
    State,
    check_days,
    entry,
    floats,
    observed,
)

NEEDED = 12
SMOOTHING = 2.0  # standard deviation of the smoothing of local variances, in pixels
_PAD = 0.25  # share of the domain by which noise is wider, as it wraps around
_LONGEST = 0.98  # correlation with the next time step


@dataclass(frozen=True)
class Gaussian:
    """Correlated Gaussian noise like the out-of-fold residuals of a point estimate.

    Each target's noise has the residual's isotropic spectrum, its smoothed map of local standard
    deviations and its correlation from one time step to the next; the noises of several targets
    are correlated as their residuals are.

    Attributes
    ----------
    frequency : ndarray (k,)
        Cycles per pixel.
    power : ndarray (target, k)
        Power of the residual over its local standard deviation.
    spread : ndarray (target, y, x)
        Smoothed map of the residual's standard deviation.
    mixing : ndarray (target, target)
        Lower triangular: independent noises are multiplied by it.
    rho : float
        Correlation of the noise with that of the next time step.
    bounds : ndarray (target,)
        Members are raised to these, such as no rain; -inf for none.
    """

    frequency: Floats
    power: Floats
    spread: Floats
    mixing: Floats
    rho: float
    bounds: Floats

    @classmethod
    def fit(cls, predictions: Array, fine: Array, following: Array | None = None) -> Gaussian:
        """Measure spectrum, local variance and correlations of the residual.

        Parameters
        ----------
        predictions : ndarray (n, target, y, x)
            Out of fold, of n time steps in chronological order; no NaN.
        fine : ndarray (n, target, y, x)
            Fine fields; NaN where missing.
        following : ndarray of bool (n - 1,), optional
            Whether the next row is the next time step; by default all are.

        Raises
        ------
        DataError
            If there are fewer than 12 time steps.
        """
        check_days(len(fine), NEEDED, "Gaussian noise like the residual")
        residual = np.asarray(fine - predictions, np.float64)
        ever = observed(residual)
        spread = np.stack([_local_spread(part) for part in residual.swapaxes(0, 1)])
        scaled = residual / np.where(spread > 0, spread, np.inf)
        parts = [spectra.measure(scaled[:, k], ever[k]) for k in range(len(ever))]
        return cls(
            frequency=floats(parts[0].frequency),
            power=floats([part.power for part in parts]),
            spread=floats(spread),
            mixing=floats(_mixing(scaled)),
            rho=_next_correlation(scaled, following),
            bounds=lower_bounds(fine),
        )

    def member(
        self,
        mean: Array,
        seed: int,
        realization: int,
        key: int,
        *,
        step: int = 0,
        corner: tuple[int, int] = (0, 0),
        domain: tuple[int, int] | None = None,
    ) -> Floats:
        """Return a member (target, y, x) of a time step.

        Parameters
        ----------
        mean : ndarray (target, y, x)
            Point estimate.
        seed, realization, key : int
            Of the noise: `key` is the time in seconds.
        step : int
            Seconds from one time step to the next; 0: noise has no memory.
        corner, domain : tuple of int
            Where the field lies in a larger image, and its size: all regions share one noise.
        """
        ny, nx = self.spread.shape[-2:]
        wide = domain or (ny, nx)
        part = (slice(corner[0], corner[0] + ny), slice(corner[1], corner[1] + nx))
        fields = [
            self._noise(k, wide, seed, realization, key, step)[part]
            for k in range(len(self.spread))
        ]
        mixed = np.tensordot(self.mixing, np.stack(fields), 1)
        out = np.maximum(mean + self.spread * mixed, self.bounds[:, None, None])
        return np.asarray(out, np.float32)

    def _noise(
        self, target: int, domain: tuple[int, int], seed: int, realization: int, key: int, step: int
    ) -> Floats:
        """Return noise of variance 1 with the spectrum of a target, of the whole domain."""
        padded = tuple(side + max(8, round(_PAD * side)) for side in domain)
        white = noise.correlated_field(
            seed,
            realization,
            key,
            (padded[0], padded[1]),
            rho=self.rho if step > 0 else 0.0,
            step=step,
            channel=target,
        )
        spectrum = spectra.Spectrum(self.frequency, self.power[target])
        impulse = np.zeros(white.shape, np.float32)
        impulse[0, 0] = 1
        size = float(np.sqrt(np.square(spectra.coloured(impulse, spectrum, 0.0)).sum()))
        return spectra.coloured(white, spectrum, 0.0)[: domain[0], : domain[1]] / max(size, 1e-12)

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {
            "frequency": self.frequency,
            "power": self.power,
            "spread": self.spread,
            "mixing": self.mixing,
            "rho": np.array([self.rho], np.float32),
            "bounds": self.bounds,
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Floats], targets: int, shape: tuple[int, int]
    ) -> Gaussian:
        """Read what `to_state` returned, for fields of so many targets, rows and columns."""
        frequency = entry(state, "frequency", (None,))
        return cls(
            frequency=frequency,
            power=entry(state, "power", (targets, frequency.size)),
            spread=entry(state, "spread", (targets, *shape)),
            mixing=entry(state, "mixing", (targets, targets)),
            rho=float(entry(state, "rho", (1,))[0]),
            bounds=entry(state, "bounds", (targets,)),
        )


def _local_spread(residual: Array) -> Array:
    """Return the smoothed map of the standard deviation about 0; 0 where nothing is known."""
    known = np.isfinite(residual)
    count = known.sum(0)
    total = np.where(known, np.square(np.where(known, residual, 0)), 0).sum(0)
    above = ndimage.gaussian_filter(total.astype(float), SMOOTHING, mode="nearest")
    below = ndimage.gaussian_filter(count.astype(float), SMOOTHING, mode="nearest")
    smooth = np.where(below > 0, above / np.where(below > 0, below, 1), 0)
    return np.where(known.any(0), np.sqrt(smooth), 0.0)


def _mixing(scaled: Array) -> Array:
    """Return the Cholesky factor of the correlation of the targets' scaled residuals."""
    targets = scaled.shape[1]
    flat = scaled.swapaxes(0, 1).reshape(targets, -1)
    size = np.sqrt(np.nanmean(np.square(flat), axis=1))
    out = np.eye(targets)
    for one in range(targets):
        for other in range(one):
            both = np.nan_to_num(np.nanmean(flat[one] * flat[other]))
            scale = size[one] * size[other]
            out[one, other] = out[other, one] = both / scale if scale > 0 else 0
    out = 0.999 * out + 0.001 * np.eye(targets)  # positive definite, also for equal targets
    factor = np.linalg.cholesky(out)
    return np.asarray(factor * size[:, None])


def _next_correlation(scaled: Array, following: Array | None) -> float:
    """Return the correlation of the residual with that of the next time step, from 0 to 0.98."""
    pairs = np.ones(len(scaled) - 1, bool) if following is None else following
    here = np.nan_to_num(scaled[:-1][pairs])
    after = np.nan_to_num(scaled[1:][pairs])
    below = float(np.square(here).sum() * np.square(after).sum()) ** 0.5
    found = float((here * after).sum()) / below if below > 0 else 0.0
    return float(np.clip(found, 0, _LONGEST))
