"""Records that do not fit in memory: their days block by block, and their exact quantiles.

A float32 has 2^32 values in an order that its bits can be given. Counting the upper 16 bits finds
the bin of each order statistic, counting the lower 16 within those bins finds the value: two
passes over the record, no memory that grows with it, no approximation beyond float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.errors import DataError

_BLOCK = 1 << 22
_HALF = 1 << 16


def day_slices(arrays: Iterable[xr.DataArray], dim: str, block: int = _BLOCK) -> Iterator[slice]:
    """Cut a dimension into slices of about `block` values that end where lazy chunks end.

    Parameters
    ----------
    arrays : iterable of DataArray
        All with the dimension; the one with the longest chunks decides.
    dim : str
        Dimension to cut.
    block : int
        Values, of all arrays together.

    Yields
    ------
    slice
    """
    listed = list(arrays)
    length = listed[0].sizes[dim]
    step = max(1, block * length // max(1, sum(da.size for da in listed)))
    chunks = [da.chunksizes[dim] for da in listed if dim in da.chunksizes]
    cuts = np.cumsum(min(chunks, key=len)) if chunks else np.arange(step, length + step, step)
    ends = np.minimum(cuts, length).tolist()
    start = 0
    for end, following in zip(ends, [*ends[1:], None], strict=True):
        if following is None or following - start > step:
            yield slice(start, end)
            start = end


def by_days(da: xr.DataArray, dim: str | None) -> xr.DataArray:
    """Make a large record in memory lazy, so that what is made of it is never there as a whole.

    Parameters
    ----------
    da : DataArray
    dim : str or None
        Dimension to cut; None leaves the array as it is.

    Returns
    -------
    DataArray
    """
    if da.chunks is not None or dim is None or da.size <= _BLOCK:
        return da
    return da.chunk({dim: max(1, _BLOCK * da.sizes[dim] // max(1, da.size))})


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
    dim, counts = str(da.dims[0]), QuantileCounts(quantiles)
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
        self._upper = np.zeros(_HALF, dtype=np.int64)
        self._lower: dict[int, Any] = {}

    def first(self, block: Any) -> None:
        """Count the upper halves of the bits of a block."""
        self._upper += np.bincount(_keys(block) >> 16, minlength=_HALF)

    def second(self, block: Any) -> None:
        """Count the lower halves where an order statistic lies."""
        if not self._lower:
            self._lower = {int(b): np.zeros(_HALF, np.int64) for b in self._bins(self._ranks())}
        keys = _keys(block)
        upper = keys >> 16
        for b in self._lower:
            self._lower[b] += np.bincount(keys[upper == b] & (_HALF - 1), minlength=_HALF)

    def result(self) -> Any:
        """Return the quantiles, linear between order statistics."""
        ranks = self._ranks()
        values = np.array(
            [self._value(b, r) for b, r in zip(self._bins(ranks), ranks, strict=True)]
        )
        low, high = values.reshape(2, -1)
        place = self._quantiles * (self._upper.sum() - 1)
        return low + (high - low) * (place - np.floor(place))

    def _ranks(self) -> Any:
        """Ranks below each quantile, then those above."""
        last = int(self._upper.sum()) - 1
        if last < 0:
            raise DataError(
                "There is no finite value to take quantiles of; check the mask, the region and "
                "the days."
            )
        below = np.floor(self._quantiles * last).astype(np.int64)
        return np.concatenate([below, np.minimum(below + 1, last)])

    def _bins(self, ranks: Any) -> Any:
        return np.searchsorted(np.cumsum(self._upper), ranks, side="right")

    def _value(self, upper: int, rank: int) -> float:
        within = rank - int(self._upper[:upper].sum())
        low = int(np.searchsorted(np.cumsum(self._lower[int(upper)]), within, side="right"))
        key = (int(upper) << 16) | low
        bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
        return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])


def _keys(block: Any) -> Any:
    """Finite values as integers in the order of the values."""
    values = np.asarray(block, dtype=np.float32).ravel()
    bits = values[np.isfinite(values)].view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.int64)
