"""Censored values: records with many zeros, such as rain, as a Gaussian that is cut from below.

A dry value says only that a latent one lies below a threshold (Tobin 1958). Latent values are
replaced by what is expected of them, given the point estimate and the standard deviation of its
error, and the point estimate is fitted to them again: the EM algorithm. They are smooth in space
and involve no random numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from xdownscale.models.statistical.predictors import Array, Floats, floats

PASSES = 4  # of the EM algorithm
_POOLED = 10.0  # time steps that the domain's variance counts as, in that of a cell
_SMALLEST = 1e-6  # standard deviation: no cell is known better


def hazard(a: Array) -> Array:
    """Return ``phi(a) / Phi(a)`` of the standard normal distribution, without underflow.

    Examples
    --------
    >>> hazard(np.array([0.0, -40.0])).round(3)
    array([ 0.798, 40.025])
    """
    wide = np.asarray(a, np.float64)
    return np.asarray(np.exp(-0.5 * wide**2 - special.log_ndtr(wide)) / np.sqrt(2 * np.pi))


def mean_below(mean: Array, sd: Array, threshold: float) -> Array:
    """Return what is expected of a Gaussian value that lies below a threshold.

    ``E[z | z < threshold] = mean - sd phi(a) / Phi(a)`` with ``a = (threshold - mean) / sd``.

    Parameters
    ----------
    mean, sd : ndarray
        Of the Gaussian; they broadcast.
    threshold : float
        In the same units.
    """
    return np.asarray(mean - sd * hazard((threshold - mean) / sd))


def square_below(mean: Array, sd: Array, threshold: float) -> Array:
    """Return ``E[(z - mean)^2 | z < threshold] = sd^2 (1 - a phi(a) / Phi(a))``."""
    a = (threshold - mean) / sd
    return np.asarray(np.square(sd) * (1 - a * hazard(a)))


def censored_mean(mean: Array, sd: Array, threshold: float, least: float) -> Array:
    """Return the mean of a Gaussian value whose part below a threshold stands for `least`.

    ``Phi(a) least + (1 - Phi(a)) mean + sd phi(a)``.

    Parameters
    ----------
    mean, sd : ndarray
        Of the Gaussian; they broadcast.
    threshold, least : float
        In the same units.

    Examples
    --------
    >>> censored_mean(np.array([0.0, 50.0]), np.array([1.0]), 0.0, 0.0).round(3)
    array([ 0.399, 50.   ])
    """
    a = (threshold - mean) / sd
    dry = special.ndtr(a)
    density = np.exp(-0.5 * np.square(a)) / np.sqrt(2 * np.pi)
    return np.asarray(dry * least + (1 - dry) * mean + sd * density)


def fill_censored(fine: Array, mean: Array, sd: Array, threshold: float) -> Floats:
    """Replace values at or below a threshold by what is expected of their latent values.

    Parameters
    ----------
    fine : ndarray (..., y, x)
        NaN where missing, and stays so.
    mean : ndarray (..., y, x)
        Point estimate of the latent values.
    sd : ndarray (y, x)
        Standard deviation of its error.
    threshold : float
        In the same units.
    """
    return floats(np.where(fine <= threshold, mean_below(mean, sd, threshold), fine))


def error_spread(fine: Array, mean: Array, sd: Array, threshold: float) -> Floats:
    """Return the standard deviation of the error of each cell: a step of the EM algorithm.

    That of a cell is drawn to the domain's as by ten more time steps.

    Parameters
    ----------
    fine, mean : ndarray (n, y, x)
        Values, NaN where missing, and the point estimate of the latent ones.
    sd : ndarray (y, x)
        Of the step before.
    threshold : float
        In the same units.
    """
    dry = fine <= threshold
    square = np.where(dry, square_below(mean, sd, threshold), np.square(fine - mean))
    known = np.isfinite(fine)
    count = known.sum(0)
    total = np.where(known, square, 0).sum(0, dtype=np.float64)
    pooled = total.sum() / max(int(count.sum()), 1)
    variance = (total + _POOLED * pooled) / (count + _POOLED)
    return floats(np.maximum(np.sqrt(variance), _SMALLEST))


def fit_latent(
    predict: Callable[[Array], Array],
    fine: Array,
    first: Array,
    threshold: float,
    passes: int = PASSES,
) -> tuple[Floats, Floats]:
    """Fit latent values to censored ones by the EM algorithm.

    Parameters
    ----------
    predict : callable
        ``predict(latent)`` returns the point estimate, out of fold, that was fitted to them.
    fine : ndarray (n, y, x)
        NaN where missing.
    first : ndarray (n, y, x)
        Point estimate to start from, such as that of the values as they are.
    threshold : float
        Values at or below it are censored.
    passes : int
        Of the algorithm.

    Returns
    -------
    latent : ndarray of float32 (n, y, x)
        The values, those that are censored replaced by what is expected of them.
    sd : ndarray of float32 (y, x)
        Standard deviation of the error of the point estimate.

    References
    ----------
    Tobin (1958), doi:10.2307/1907382; Dempster, Laird and Rubin (1977), section 4.2.
    """
    mean = first
    wide = np.full(fine.shape[1:], max(float(np.nanstd(fine - mean)), _SMALLEST), np.float32)
    sd = error_spread(fine, mean, wide, threshold)
    for _ in range(passes):
        mean = predict(fill_censored(fine, mean, sd, threshold))
        sd = error_spread(fine, mean, sd, threshold)
    return fill_censored(fine, mean, sd, threshold), sd
