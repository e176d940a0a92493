"""Exact quantiles of arrays of any size, from histograms of leading bits refined in passes.

A float's bits, turned so that they sort like numbers, are read 16 at a time. The first pass counts
values by their leading 16 bits; each further pass counts the next 16 bits of those values alone
that share the bits found so far with a wanted rank. Two passes make float32 exact and four float64,
whatever the chunks, and no pass holds more than its counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.blocks import day_slices
from xdownscale.core.errors import DataError

Array = NDArray[Any]
DIGIT = 16
_SIZE = 1 << DIGIT
_PIECE = 1 << 22  # values whose weights of up to 2^30 float64 sums without rounding


def keys(values: Array) -> Array:
    """Return unsigned integers that sort like the floats; NaN must be gone."""
    bits = 8 * values.dtype.itemsize
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    raw = np.ascontiguousarray(values + values.dtype.type(0)).view(unsigned)  # + 0: no -0.0
    sign = unsigned.type(1 << (bits - 1))
    return np.where(raw & sign, ~raw, raw | sign)


def floats(found: Array, dtype: np.dtype[Any]) -> Array:
    """Undo `keys`."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    found = found.astype(unsigned)
    sign = unsigned.type(1 << (8 * dtype.itemsize - 1))
    return np.where(found & sign, found ^ sign, ~found).view(dtype)


def count_digits(values: Array, known: int, heads: Array, weights: Array | None = None) -> Array:
    """Count the next digit of the values behind each head.

    Parameters
    ----------
    values : array of float, shape (n,)
        Without NaN.
    known : int
        Number of leading bits that are known.
    heads : array of uint64, shape (p,)
        These bits, ascending and unique; one 0 where none is known.
    weights : array of int, shape (n,), optional
        How often each value counts, up to 2^30 times; once by default.

    Returns
    -------
    ndarray of int, shape (p, 65536)
    """
    left = 8 * values.dtype.itemsize - known  # bits behind the head
    number = keys(values).astype(np.uint64)
    place = np.zeros(number.size, np.intp)
    if known:
        head = number >> np.uint64(left)
        place = np.minimum(np.searchsorted(heads, head), heads.size - 1)
        hit = heads[place] == head
        number = number[hit]
        place = place[hit]
        weights = None if weights is None else weights[hit]
    digit = (number >> np.uint64(left - DIGIT)) & np.uint64(_SIZE - 1)
    flat = place * _SIZE + digit.astype(np.intp)
    return _sums(flat, weights, heads.size * _SIZE).reshape(heads.size, _SIZE)


def _sums(places: Array, weights: Array | None, size: int) -> Array:
    """Count what stands at each place, each value as often as its whole-numbered weight."""
    if weights is None:
        return np.bincount(places, minlength=size)
    total = np.zeros(size, np.int64)
    for start in range(0, places.size, _PIECE):
        part = slice(start, start + _PIECE)
        total += np.bincount(places[part], weights[part], size).astype(np.int64)
    return total


def narrow(counts: Array, ranks: Array, heads: Array) -> tuple[Array, Array]:
    """Find the next digit of each wanted rank.

    Parameters
    ----------
    counts : array of int, shape (p, 65536)
        From `count_digits`, one row for each of the unique `heads`.
    ranks : array of int, shape (r,)
        Ranks, from 0, among the values that share the head.
    heads : array of uint64, shape (r,)
        Digits found so far.

    Returns
    -------
    ranks, heads : ndarray
        Both for one more digit.
    """
    row = np.searchsorted(np.unique(heads), heads)
    running = np.cumsum(counts, axis=1)
    digits = np.array(
        [
            np.searchsorted(running[k], rank, side="right")
            for k, rank in zip(row, ranks, strict=True)
        ]
    )
    before = np.where(digits > 0, running[row, digits - 1], 0)
    return ranks - before, (heads << np.uint64(DIGIT)) | digits.astype(np.uint64)


def record_quantiles(da: xr.DataArray, quantiles: Any) -> Any:
    """Return quantiles of all finite values of a record, reading it twice, chunk by chunk.

    Parameters
    ----------
    da : DataArray
        Any dims; the first is cut into blocks.
    quantiles : array
        Between 0 and 1.

    Returns
    -------
    ndarray
        Linear between order statistics, as `numpy.quantile`, of the values as float32.

    Raises
    ------
    DataError
        If no value is finite.
    """
    dim = str(da.dims[0])
    counts = QuantileCounts(quantiles)
    for read in (counts.first, counts.second):
        for part in day_slices([da], dim):
            read(da.isel({dim: part}).values)
    return counts.result()


class QuantileCounts:
    """Quantiles of values that come in blocks: give all blocks to `first`, then to `second`.

    Parameters
    ----------
    quantiles : sequence of float
        Between 0 and 1.

    Examples
    --------
    >>> counts = QuantileCounts([0.5])
    >>> for block in ([3.0, -1.0], [2.0, np.nan]):
    ...     counts.first(np.array(block))
    >>> for block in ([3.0, -1.0], [2.0, np.nan]):
    ...     counts.second(np.array(block))
    >>> counts.result()
    array([2.])
    """

    def __init__(self, quantiles: Any) -> None:
        self._quantiles = np.asarray(quantiles, dtype=float)
        self._first = np.zeros((1, _SIZE), dtype=np.int64)
        self._second: Array | None = None
        self._ranks: Array = np.zeros(0, np.int64)
        self._heads: Array = np.zeros(0, np.uint64)

    def first(self, block: Any) -> None:
        """Count the leading digits of the values of a block."""
        self._first += count_digits(_finite(block), 0, _NO_HEAD)

    def second(self, block: Any) -> None:
        """Count the digits behind those that an order statistic begins with."""
        if self._second is None:
            ranks = self._wanted()
            heads = np.zeros(ranks.size, np.uint64)
            self._ranks, self._heads = narrow(self._first, ranks, heads)
            self._second = np.zeros((np.unique(self._heads).size, _SIZE), np.int64)
        self._second += count_digits(_finite(block), DIGIT, np.unique(self._heads))

    def result(self) -> Any:
        """Return the quantiles, linear between order statistics."""
        if self._second is None:
            self.second(np.zeros(0))
        assert self._second is not None
        _, found = narrow(self._second, self._ranks, self._heads)
        low, high = floats(found, np.dtype(np.float32)).astype(float).reshape(2, -1)
        place = self._quantiles * (self._first.sum() - 1)
        return low + (high - low) * (place - np.floor(place))

    def _wanted(self) -> Array:
        """Return the ranks below each quantile, then those above."""
        last = int(self._first.sum()) - 1
        if last < 0:
            raise DataError(
                "There is no finite value to take quantiles of; check the mask, the region and "
                "the days."
            )
        below = np.floor(self._quantiles * last).astype(np.int64)
        return np.concatenate([below, np.minimum(below + 1, last)])


_NO_HEAD = np.zeros(1, np.uint64)


def _finite(block: Any) -> Array:
    """Return the finite values of a block, as float32; raise `DataError` where it is too small."""
    given = np.asarray(block).ravel()
    given = given[np.isfinite(given)]
    most = float(np.finfo(np.float32).max)
    size = float(max(given.max(initial=0), -float(given.min(initial=0))))
    if size > most:
        raise DataError(
            f"There are values up to {size:g}, and quantiles are of values up to {most:.3g} "
            "(float32). Convert the record to a larger unit, or mask what is no value."
        )
    return np.asarray(given, np.float32)
