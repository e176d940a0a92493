"""Semivariance by distance class, day by day, and its mean over days. Arrays only, no labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from xdownscale.cells import Array
from xdownscale.errors import DataError
from xdownscale.gaps import finite
from xdownscale.geostat._pairs import Pairs

ESTIMATORS = ("matheron", "cressie", "dowd", "genton")
MIN_CELLS = 100


def daily_curves(
    field: Any, *, rows: Array, columns: Array, pairs: Pairs, estimator: str
) -> tuple[Array, Array, Array]:
    """Return semivariance, pair counts and valid cells of every day.

    Parameters
    ----------
    field : ndarray, shape (..., y, x)
        Values; a pair with a NaN is left out of its day.
    rows, columns : ndarray of int, shape (n,)
        Where `pairs.cells` lie in the last two axes.
    pairs : Pairs
        The same for every day.
    estimator : {"matheron", "cressie", "dowd", "genton"}
        As in scikit-gstat.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        ``(..., bins)``, ``(..., bins)`` and ``(...)``. Days with fewer than 100 valid cells among
        those in the pairs have NaN semivariance.

    Examples
    --------
    >>> pairs = Pairs(*map(np.array, ([0, 1, 2], [0, 1], [1, 2], [2], [1.0])))
    >>> places = {"rows": np.zeros(3, int), "columns": np.arange(3)}
    >>> count = daily_curves(np.ones((1, 3)), **places, pairs=pairs, estimator="matheron")[1]
    >>> count
    array([2.])
    """
    lead, bins = field.shape[:-2], pairs.counts.size
    gamma, count, valid = np.empty((*lead, bins)), np.empty((*lead, bins)), np.empty(lead)
    flat = np.ravel_multi_index((rows, columns), field.shape[-2:])
    for day in np.ndindex(lead):  # one at a time: then everything stays in the cache
        image = field[day]
        whole = image.flags.c_contiguous
        values = np.take(image, flat) if whole else image[rows, columns]
        values = finite(values.astype(np.float64))
        gamma[day], count[day], valid[day] = _curve(values, pairs, estimator)
    return gamma, count, valid


def _curve(values: Array, pairs: Pairs, estimator: str) -> tuple[Array, Array, int]:
    """Curve of one day; `values` are those of `pairs.cells`."""
    gaps = np.take(values, pairs.first) - np.take(values, pairs.second)
    filled = np.flatnonzero(pairs.counts)
    starts = np.concatenate([[0], np.cumsum(pairs.counts[filled])[:-1]])
    missing = np.isnan(gaps)
    count, gamma = pairs.counts.astype(float), np.full(pairs.counts.size, np.nan)
    if missing.any():
        count[filled] -= np.add.reduceat(missing, starts, dtype=np.int64)
    valid = int(np.count_nonzero(~np.isnan(values)))
    if valid >= min(MIN_CELLS, values.size):
        with np.errstate(invalid="ignore", divide="ignore"):  # classes without a pair give NaN
            gamma[filled] = _KERNELS[estimator](gaps, missing, starts, count[filled])
    return gamma, count, valid


def _matheron(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """Sum of x^2 / (2 N) (Matheron 1962)."""
    matheron: Array = _sums(gaps**2, missing, starts) / (2 * count)
    return matheron


def _cressie(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """(mean of sqrt x)^4 / (2 (0.457 + 0.494 / N + 0.045 / N^2)) (Cressie and Hawkins 1980)."""
    fourth = (_sums(np.sqrt(np.abs(gaps)), missing, starts) / count) ** 4
    cressie: Array = fourth / (2 * (0.457 + 0.494 / count + 0.045 / count**2))
    return cressie


def _dowd(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """2.198 (median of x)^2 / 2 (Dowd 1984)."""
    classes = _classes(np.abs(gaps), missing, starts)
    middle = np.array([np.median(x) if x.size else np.nan for x in classes])
    dowd: Array = 2.198 * middle**2 / 2
    return dowd


def _genton(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """(2.219 quantile of |x_i - x_j|)^2 / 2 (Genton 1998), x with their signs."""
    from skgstat.estimators import genton  # late: a second of CPU

    return np.array([genton(x) for x in _classes(gaps, missing, starts)], dtype=float)


_KERNELS = {"matheron": _matheron, "cressie": _cressie, "dowd": _dowd, "genton": _genton}


def _classes(x: Array, missing: Array, starts: Array) -> Iterator[Array]:
    """Yield what is there of each distance class."""
    parts = zip(np.split(x, starts[1:]), np.split(missing, starts[1:]), strict=True)
    return (part[~gone] for part, gone in parts)


def _sums(x: Array, missing: Array, starts: Array) -> Array:
    x[missing] = 0.0
    sums: Array = np.add.reduceat(x, starts)
    return sums


def check_cells(gamma: Array, valid: Array, *, sampled: int) -> Array:
    """Return the curves as they are, or say that no day has enough valid cells.

    Parameters
    ----------
    gamma : ndarray, shape (..., day, bins)
        Semivariance.
    valid : ndarray, shape (..., day)
        Valid cells of each day.
    sampled : int
        Cells that are in a pair.

    Returns
    -------
    ndarray
        `gamma`.

    Raises
    ------
    DataError
        If every day has fewer than 100.

    Examples
    --------
    >>> check_cells(np.ones((1, 2)), np.array([200]), sampled=300).shape
    (1, 2)
    """
    needed = min(MIN_CELLS, sampled)
    if valid.size and valid.max() < needed:
        raise DataError(
            f"At most {int(valid.max())} of the {sampled} cells that were drawn are valid on any "
            f"day; a semivariogram needs {needed}. Give a field with fewer gaps, or more pairs."
        )
    return gamma


def mean_curve(
    gamma: Array, count: Array, *, draws: int, seed: int
) -> tuple[Array, Array, Array, Array]:
    """Average daily curves, with a bootstrap band.

    Blocks of about ``days^(1/3)`` consecutive days are drawn with replacement (circular block
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


def block_length(days: int) -> int:
    """Return the number of consecutive days that are drawn together.

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
    """How often each day is in each sample, shape (draw, day)."""
    length = block_length(days)
    starts = np.random.default_rng(seed).integers(days, size=(draws, -(-days // length)))
    drawn = (starts[..., None] + np.arange(length)).reshape(draws, -1)[:, :days] % days
    places = (drawn + days * np.arange(draws)[:, None]).ravel()
    return np.bincount(places, minlength=draws * days).reshape(draws, days).astype(float)
