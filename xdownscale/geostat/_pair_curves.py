"""Semivariances of explicit pairs of cells, by distance class. Arrays only, no labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from xdownscale.core.errors import DataError
from xdownscale.core.grids import Array
from xdownscale.core.missing import finite
from xdownscale.geostat._pair_sampling import Pairs

ESTIMATORS = ("matheron", "cressie", "dowd", "genton", "madogram")
MIN_CELLS = 100


def daily_curves(
    field: Any,
    other: Any = None,
    *,
    rows: Array,
    columns: Array,
    pairs: Pairs,
    estimator: str,
    groups: int = 0,
) -> tuple[Array, ...]:
    """Return semivariance, pair counts and number of valid cells of every time step.

    Parameters
    ----------
    field : ndarray, shape (..., y, x)
        Values; a pair with a NaN is left out of its day.
    other : ndarray, shape (..., y, x), optional
        A second field: the cross-semivariance with it is returned (`estimator` ``"matheron"``).
    rows, columns : ndarray of int, shape (n,)
        Where `pairs.cells` lie in the last two axes.
    pairs : Pairs
        The same for every day.
    estimator : {"matheron", "cressie", "dowd", "genton", "madogram"}
        As in scikit-gstat.
    groups : int
        The pairs of each class are cut into so many groups, each a sample of its own; 0 for none.

    Returns
    -------
    (ndarray, ndarray, ndarray) or (ndarray, ndarray, ndarray, ndarray)
        ``(..., bins)``, ``(..., bins)`` and ``(...)``. Days with fewer than 100 valid cells among
        those in the pairs have NaN semivariance. With `groups` the semivariances of the groups,
        ``(..., groups, bins)``, come last.

    Examples
    --------
    >>> pairs = Pairs(*map(np.array, ([0, 1, 2], [0, 1], [1, 2], [2], [1.0])))
    >>> places = {"rows": np.zeros(3, int), "columns": np.arange(3)}
    >>> count = daily_curves(np.ones((1, 3)), **places, pairs=pairs, estimator="matheron")[1]
    >>> count
    array([2.])
    """
    lead = field.shape[:-2]
    bins = pairs.counts.size
    gamma = np.empty((*lead, bins))
    count = np.empty((*lead, bins))
    valid = np.empty(lead)
    parts = np.empty((*lead, groups, bins))
    classes = _Classes(pairs.counts)
    finer = _grouped(pairs.counts, groups) if groups else None
    flat = np.ravel_multi_index((rows, columns), field.shape[-2:])
    for day in np.ndindex(lead):  # one at a time: then everything stays in the cache
        values = _cells(field[day], flat, rows, columns)
        second = None if other is None else _cells(other[day], flat, rows, columns)
        gaps = _gaps(values, second, pairs)
        present = ~np.isnan(values) if second is None else ~np.isnan(values + second)
        valid[day] = np.count_nonzero(present)
        enough = bool(valid[day] >= min(MIN_CELLS, values.size))
        gamma[day], count[day] = classes.curve(gaps, estimator, enough)
        if finer:
            parts[day] = finer.curve(gaps, estimator, enough)[0].reshape(bins, groups).T
    return (gamma, count, valid, parts) if groups else (gamma, count, valid)


def _cells(image: Any, flat: Array, rows: Array, columns: Array) -> Array:
    """Return the values of cells as float64, with NaN for what is not finite."""
    whole = image.flags.c_contiguous
    values = np.take(image, flat) if whole else image[rows, columns]
    return np.asarray(finite(values.astype(np.float64)))


def _gaps(values: Array, second: Array | None, pairs: Pairs) -> tuple[Array, Array | None]:
    """Return the differences of the pairs, in both fields."""

    def differences(x: Array) -> Array:
        return np.asarray(np.take(x, pairs.first) - np.take(x, pairs.second))

    return differences(values), None if second is None else differences(second)


class _Classes:
    """Classes of consecutive pairs."""

    def __init__(self, counts: Array) -> None:
        self._counts = counts
        self._filled = np.flatnonzero(counts)
        self._starts = np.concatenate([[0], np.cumsum(counts[self._filled])[:-1]])

    def curve(
        self, gaps: tuple[Array, Array | None], estimator: str, enough: bool
    ) -> tuple[Array, Array]:
        """Return semivariance, NaN where there are not enough cells, and the number of pairs."""
        x, second = gaps
        missing = np.isnan(x) if second is None else np.isnan(x + second)
        count = self._counts.astype(float)
        gamma = np.full(count.size, np.nan)
        if missing.any():
            count[self._filled] -= np.add.reduceat(missing, self._starts, dtype=np.int64)
        if enough:
            there = (missing, self._starts, count[self._filled])
            with np.errstate(invalid="ignore", divide="ignore"):  # classes without a pair give NaN
                if second is None:
                    gamma[self._filled] = _KERNELS[estimator](x, *there)
                else:
                    gamma[self._filled] = _sums(x * second, *there[:2]) / (2 * there[2])
        return gamma, count


def _grouped(counts: Array, groups: int) -> _Classes:
    """Return the groups of all classes: pairs are sampled in random order."""
    share = np.arange(groups)
    return _Classes(((counts[:, None] + share) // groups).ravel())


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


def _madogram(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """Sum of |x| / (2 N): the madogram."""
    madogram: Array = _sums(np.abs(gaps), missing, starts) / (2 * count)
    return madogram


_KERNELS = {
    "matheron": _matheron,
    "cressie": _cressie,
    "dowd": _dowd,
    "genton": _genton,
    "madogram": _madogram,
}


def _classes(x: Array, missing: Array, starts: Array) -> Iterator[Array]:
    """Yield what is there of each distance class."""
    parts = zip(np.split(x, starts[1:]), np.split(missing, starts[1:]), strict=True)
    return (part[~gone] for part, gone in parts)


def _sums(x: Array, missing: Array, starts: Array) -> Array:
    x[missing] = 0.0
    sums: Array = np.add.reduceat(x, starts)
    return sums


def check_cells(gamma: Array, valid: Array, *, sampled: int) -> Array:
    """Return the curves; raise `DataError` if no time step has enough valid cells.

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
            f"At most {int(valid.max())} of the {sampled} cells that are in pairs are valid on any "
            f"day; a semivariogram needs {needed}. Give a field with fewer gaps, or more pairs."
        )
    return gamma
