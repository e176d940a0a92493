"""Gaussian random fields with a variogram, anywhere in space: sums of random waves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from xdownscale.core.variogram_models import matern_reach
from xdownscale.models.diffusion import noise
from xdownscale.models.statistical.predictors import Array
from xdownscale.models.statistical.variogram import Variogram

WAVES = 512
_POINTS = 4096  # whose waves are computed at once
_STEP = 0.01  # of the table of wave numbers of the spherical model
_LONGEST = 400.0  # its end
_FREQUENCIES = 7_001  # keys of the random numbers: no channel of the noise
_AMPLITUDES = 7_002
_NUGGET = 7_003


@dataclass(frozen=True)
class WaveField:
    """Gaussian random field at some points, with the covariance of a variogram.

    A field is ``sqrt(psill / n) sum a_j cos(w_j x) + b_j sin(w_j x)`` over n wave vectors that
    follow the spectral density of the model in space (Shinozuka 1971); amplitudes are normal.
    Realizations have waves of their own, so that their covariance is that of the model exactly;
    the time steps of a realization share waves, and their amplitudes are an autoregression.

    Attributes
    ----------
    points : ndarray (p, 3)
        Where they are, km: the same place has the same value in any set of points.
    variogram : Variogram
    rho : float
        Correlation of one time step with the next.
    """

    points: Array
    variogram: Variogram
    rho: float = 0.0

    def sample(
        self,
        seed: int,
        realization: int,
        keys: Sequence[int],
        *,
        step: int = 0,
        mix: Sequence[float] = (1.0,),
    ) -> Array:
        """Return fields (n, p) without nugget for some times, each computed by itself.

        Parameters
        ----------
        seed, realization : int
            Of the random numbers.
        keys : sequence of int
            Times in seconds.
        step : int
            Seconds from one time step to the next; 0: times are independent.
        mix : sequence of float
            Shares of independent amplitudes, whose squares sum to 1: fields with common shares
            are correlated.
        """
        vectors = self._vectors(seed, realization)
        amplitudes = [self._amplitudes(seed, realization, int(key), step, mix) for key in keys]
        out = np.empty((len(keys), len(self.points)))
        for start in range(0, len(self.points), _POINTS):
            part = slice(start, start + _POINTS)
            angle = self.points[part] @ vectors.T
            waves = np.hstack([np.cos(angle), np.sin(angle)])
            for row, amplitude in enumerate(amplitudes):
                out[row, part] = waves @ amplitude
        return out * math.sqrt(self.variogram.psill / WAVES)

    def _vectors(self, seed: int, realization: int) -> Array:
        """Return wave vectors (n, 3), radians per km; their lengths fill the spectrum evenly."""
        own = noise.derive(seed, _FREQUENCIES)
        numbers = noise.field(own, realization, 0, 0, (WAVES, 4)).astype(np.float64)
        direction = numbers[:, :3] / np.sqrt(np.square(numbers[:, :3]).sum(1, keepdims=True))
        share = (np.arange(WAVES) + np.clip(special.ndtr(numbers[:, 3]), 1e-6, 1 - 1e-6)) / WAVES
        return np.asarray(direction * wave_numbers(self.variogram, share)[:, None])

    def _amplitudes(
        self, seed: int, realization: int, key: int, step: int, mix: Sequence[float]
    ) -> Array:
        shape = (2, WAVES)
        return self._mixed(_AMPLITUDES, shape, seed, realization, key, step, mix).ravel()

    def _mixed(
        self,
        kind: int,
        shape: tuple[int, int],
        seed: int,
        realization: int,
        key: int,
        step: int,
        mix: Sequence[float],
    ) -> Array:
        """Return a mixture of independent white noises."""
        rho = self.rho if step > 0 else 0.0
        out = np.zeros(shape)
        for channel, share in enumerate(mix):
            if share:
                own = noise.derive(seed, kind, channel)
                white = noise.correlated_field(own, realization, key, shape, rho=rho, step=step)
                out += share * white.astype(np.float64)
        return out

    def nugget(
        self,
        shape: tuple[int, int],
        seed: int,
        realization: int,
        key: int,
        *,
        step: int = 0,
        mix: Sequence[float] = (1.0,),
        kind: int = 0,
    ) -> Array:
        """Return what is not correlated in space, on a grid (y, x); `kind` is of the points."""
        white = self._mixed(_NUGGET + kind, shape, seed, realization, key, step, mix)
        return np.asarray(math.sqrt(self.variogram.nugget) * white)


def wave_numbers(variogram: Variogram, share: Array) -> Array:
    """Return the wave numbers below which a share of the variance lies, radians per km.

    Parameters
    ----------
    variogram : Variogram
    share : ndarray
        Between 0 and 1.

    Notes
    -----
    In three dimensions: a Matern field of smoothness v has squared wave numbers, in inverse length
    scales, of chi2(3) / chi2(2 v); a gaussian one chi2(3). A spherical covariance is the overlap of
    two balls, whose density is ``((sin x - x cos x) / x^2)^2`` with x half the range times the wave
    number.

    Examples
    --------
    >>> field = Variogram(model="gaussian", effective_range=math.sqrt(6), psill=1.0)
    >>> wave_numbers(field, np.array([0.5])).round(3)  # median of a chi distribution
    array([1.538])
    """
    reach = variogram.effective_range
    if variogram.model == "gaussian":
        return np.asarray(np.sqrt(6 * stats.chi2.ppf(share, 3)) / reach)
    if variogram.model == "spherical":
        return _spherical(share) * 2 / reach
    smoothness = 0.5 if variogram.model == "exponential" else variogram.smoothness
    scales = 3.0 if variogram.model == "exponential" else matern_reach(float(smoothness))
    square = 3 / (2 * smoothness) * stats.f.ppf(share, 3, 2 * smoothness)
    return np.asarray(np.sqrt(square) * scales / reach)


@lru_cache(maxsize=1)
def _ball() -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return wave numbers of the spherical model, the variance below them, and all of it."""
    x = np.arange(_STEP, _LONGEST, _STEP)
    density = ((np.sin(x) - x * np.cos(x)) / x**2) ** 2
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2) * _STEP])
    return x, below, float(below[-1] + 1 / (2 * _LONGEST))  # cos^2 is 1/2 beyond, on average


def _spherical(share: Array) -> Array:
    x, below, whole = _ball()
    beyond = np.maximum(whole * (1 - share), 1e-12)
    return np.where(share * whole <= below[-1], np.interp(share * whole, below, x), 0.5 / beyond)
