"""Mean of daily curves, with a band from resampled days and from the sampling of pairs."""

from __future__ import annotations

import numpy as np

from xdownscale.core.grids import Array

_NORMAL = 1.959964  # 97.5 % quantile of the normal distribution


def mean_curve(
    gamma: Array, count: Array, *, draws: int, seed: int
) -> tuple[Array, Array, Array, Array]:
    """Average daily curves, with a bootstrap band.

    Blocks of about ``days^(1/3)`` consecutive days are sampled with replacement (circular block
    bootstrap), since days that follow each other are alike.

    Parameters
    ----------
    gamma, count : ndarray, shape (..., day, bins)
        Semivariance and pair counts; days without a semivariance are left out.
    draws : int
        Bootstrap samples; 0 gives a NaN band.
    seed : int
        Of the bootstrap.

    Returns
    -------
    (ndarray, ndarray, ndarray, ndarray)
        Mean semivariance, mean pair count, 2.5 % and 97.5 % quantile, each ``(..., bins)``.

    References
    ----------
    Politis and Romano (1992), A circular block-resampling procedure for stationary data.

    Examples
    --------
    >>> mean_curve(np.array([[1.0], [3.0]]), np.ones((2, 1)), draws=0, seed=0)[0]
    array([2.])
    """
    days = gamma.shape[-2]
    good = ~np.isnan(gamma)
    used = good.any(axis=-1, keepdims=True)
    filled = np.where(good, gamma, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # classes without a pair give NaN
        mean = filled.sum(axis=-2) / good.sum(axis=-2)
        pairs = (count * used).sum(axis=-2) / used.sum(axis=-2)
        if draws == 0 or days < 2:
            return mean, pairs, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
        weights = _block_weights(days, draws, seed)
        means = (weights @ filled) / (weights @ good)  # (..., draw, bins)
        lower, upper = np.quantile(means, [0.025, 0.975], axis=-2)
    return mean, pairs, lower, upper


def with_sampling_error(
    mean: Array, lower: Array, upper: Array, groups: Array
) -> tuple[Array, Array]:
    """Widen a band by the sampling error of the pairs.

    Each group of pairs is a random sample of its own: the standard error of their mean is the
    standard deviation of the groups' mean curves over the square root of their number. It is
    independent of the days, so half widths add in squares.

    Parameters
    ----------
    mean, lower, upper : ndarray, shape (..., bins)
        Mean semivariance and its band over the days.
    groups : ndarray, shape (..., day, group, bins)
        Semivariance of every day from each group of pairs.

    Returns
    -------
    (ndarray, ndarray)
        Lower and upper bound, each ``(..., bins)``.

    Examples
    --------
    >>> groups = np.array([[[1.0], [3.0]]])
    >>> mean = np.array([2.0])
    >>> [bound.round(2) for bound in with_sampling_error(mean, mean, mean, groups)]
    [array([0.04]), array([3.96])]
    """
    good = ~np.isnan(groups)
    filled = np.where(good, groups, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # classes without a pair give NaN
        means = filled.sum(axis=-3) / good.sum(axis=-3)  # (..., group, bins)
        known = ~np.isnan(means)
        number = known.sum(axis=-2)
        middle = np.where(known, means, 0.0).sum(axis=-2) / number
        squares = np.where(known, means - middle[..., None, :], 0.0) ** 2
        spread = np.sqrt(squares.sum(axis=-2) / (number - 1) / number)
    half = _NORMAL * np.nan_to_num(spread)
    return mean - np.hypot(mean - lower, half), mean + np.hypot(upper - mean, half)


def block_length(days: int) -> int:
    """Return the block length of the bootstrap, in days.

    Parameters
    ----------
    days : int
        Length of the series.

    Returns
    -------
    int

    Examples
    --------
    >>> block_length(730)
    10
    """
    return int(np.ceil(np.cbrt(days) - 1e-9))


def _block_weights(days: int, draws: int, seed: int) -> Array:
    """Count each day in each bootstrap sample, shape (sample, day)."""
    length = block_length(days)
    starts = np.random.default_rng(seed).integers(days, size=(draws, -(-days // length)))
    resampled = (starts[..., None] + np.arange(length)).reshape(draws, -1)[:, :days] % days
    places = (resampled + days * np.arange(draws)[:, None]).ravel()
    return np.bincount(places, minlength=draws * days).reshape(draws, days).astype(float)
