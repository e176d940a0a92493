"""Members from a point estimate and correlated Gaussian noise with the residual's spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from xdownscale.core.blas import one_thread
from xdownscale.models.diffusion import noise, spectra
from xdownscale.models.statistical.ensembles import Judge, lower_bounds
from xdownscale.models.statistical.marginal import (
    Censored,
    Marginal,
    marginal_state,
    read_marginal,
)
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
_MEMBERS = 2  # of a time step, by which the distribution of members is found
_CELLS = 2048  # by which it is found
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
    marginal : Marginal or None
        Maps members of censored targets; None where none is.
    """

    frequency: Floats
    power: Floats
    spread: Floats
    mixing: Floats
    rho: float
    bounds: Floats
    marginal: Marginal | None = None

    @classmethod
    @one_thread("fine")
    def fit(
        cls,
        predictions: Array,
        fine: Array,
        following: Array | None = None,
        *,
        known: Array | None = None,
        censored: Censored = (),
    ) -> Gaussian:
        """Measure spectrum, local variance and correlations of the residual.

        Parameters
        ----------
        predictions : ndarray (n, target, y, x)
            Out of fold, of n time steps in chronological order; no NaN.
        fine : ndarray (n, target, y, x)
            Fine fields; NaN where missing.
        following : ndarray of bool (n - 1,), optional
            Whether the next row is the next time step; by default all are.
        known, censored
            As for `Dressing.fit`.

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
        truth = fine if known is None else known
        found = cls(
            frequency=floats(parts[0].frequency),
            power=floats([part.power for part in parts]),
            spread=floats(spread),
            mixing=floats(_mixing(scaled)),
            rho=_next_correlation(scaled, following),
            bounds=lower_bounds(truth),
        )
        return replace(found, marginal=found._marginal(predictions, truth, censored))

    def _marginal(self, predictions: Array, known: Array, censored: Censored) -> Marginal | None:
        """Map noise on out-of-fold predictions to the distribution of the known values."""
        if not any(censored):
            return None
        judge = Judge.of(known, self.bounds, _CELLS)
        members = [
            [
                self._noisy(predictions[day], 0, number, int(day)).ravel()[judge.cells]
                for day in judge.days
            ]
            for number in range(_MEMBERS)
        ]
        return Marginal.fit(np.array(members), judge.truth[judge.days], judge.target, censored)

    def mean(self, mean: Array) -> Floats:
        """Return a point estimate; for censored targets the mean of all members (target, y, x)."""
        if self.marginal is None:
            return floats(mean)
        size = np.sqrt(np.square(self.mixing).sum(1))[:, None, None]
        return self.marginal.expected(mean, size * self.spread)

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
        noisy = self._noisy(mean, seed, realization, key, step, corner, domain)
        if self.marginal is not None:
            noisy = self.marginal.apply(noisy)
        return np.asarray(np.maximum(noisy, self.bounds[:, None, None]), np.float32)

    def _noisy(
        self,
        mean: Array,
        seed: int,
        realization: int,
        key: int,
        step: int = 0,
        corner: tuple[int, int] = (0, 0),
        domain: tuple[int, int] | None = None,
    ) -> Array:
        """Return a point estimate plus noise, as `member` without map and bounds."""
        ny, nx = self.spread.shape[-2:]
        wide = domain or (ny, nx)
        part = (slice(corner[0], corner[0] + ny), slice(corner[1], corner[1] + nx))
        fields = [
            self._noise(k, wide, seed, realization, key, step)[part]
            for k in range(len(self.spread))
        ]
        mixed = np.tensordot(self.mixing, np.stack(fields), 1)
        return np.asarray(mean + self.spread * mixed)

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
            **marginal_state(self.marginal),
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
            bounds=entry(state, "bounds", (targets,), unbounded=True),
            marginal=read_marginal(state, targets),
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
