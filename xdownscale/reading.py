"""Days of records that need not fit in memory: read in blocks, or one by one. Arrays only.

What is read of a day never depends on how the record is cut into chunks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.labels import require_time

Array = npt.NDArray[Any]
DAYS = 64  # most days that are read at once
BLOCK = 1 << 27  # bytes that they may have together
_KEPT = 1 << 26  # bytes of the largest chunk that a reader remembers
_CHUNKS = 2  # that it remembers: windows of days lie in two at most
_CHUNK = 1 << 24  # bytes in a chunk of a file that has none


def is_lazy(array: Any) -> bool:
    """Tell whether an array is read when it is looked at.

    Examples
    --------
    >>> is_lazy(np.zeros(3))
    False
    """
    return hasattr(array, "dask")


def at_once(array: Any, most: int = DAYS) -> int:
    """Return how many days (of an array or of its like) are read at once: at least one.

    Examples
    --------
    >>> at_once(np.zeros((100, 4, 4))), at_once(np.broadcast_to(0.0, (100, 2000, 2000)))
    (64, 4)
    """
    day = int(np.prod(array.shape[1:])) * np.dtype(array.dtype).itemsize
    return int(max(1, min(most, BLOCK // max(day, 1))))


def blocks(array: Any, most: int = DAYS) -> Iterator[tuple[slice, Array]]:
    """Walk through the days of a record: their rows, and their values in memory.

    Parameters
    ----------
    array : array (n, ...)
        Numpy or dask. Of a dask array whole chunks are read, so that each is read once.
    most : int
        Most days in a block of a numpy array.

    Yields
    ------
    (slice, ndarray)

    Examples
    --------
    >>> [rows for rows, _ in blocks(np.zeros((3, 1)), most=2)]
    [slice(0, 2, None), slice(2, 3, None)]
    """
    size, start = at_once(array, most), 0
    lengths = array.chunks[0] if is_lazy(array) else (array.shape[0],)
    ends = np.cumsum(lengths)
    while start < array.shape[0]:
        whole = ends[(ends > start) & (ends <= start + size)]
        stop = int(whole[-1]) if whole.size else min(start + size, array.shape[0])
        yield slice(start, stop), np.asarray(array[start:stop])
        start = stop


class Reader:
    """Days of a record by their rows; of a lazy one the last chunks are remembered.

    Whoever asks for one day after another reads each chunk once, and not once for each of its days.
    Several threads may ask.

    Parameters
    ----------
    array : array (n, ...)
        Numpy or dask.
    """

    def __init__(self, array: Any) -> None:
        self._array, self.shape, self.dtype = array, tuple(array.shape), array.dtype
        self._lock, self._kept = threading.Lock(), OrderedDict[int, Array]()
        lengths = array.chunks[0] if is_lazy(array) else ()
        self._edges = np.cumsum([0, *lengths])
        self._day = int(np.prod(self.shape[1:])) * np.dtype(self.dtype).itemsize
        # a chunk that is too large to be remembered is not read for the sake of a day
        self._whole = bool(lengths) and max(lengths) * self._day <= _KEPT

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Array:
        if not self._whole:
            return np.asarray(self._array[rows])
        number = np.searchsorted(self._edges, rows, side="right") - 1
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for chunk in np.unique(number):
            mine = number == chunk
            out[mine] = self._chunk(int(chunk))[rows[mine] - self._edges[chunk]]
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self._array,)  # locks do not travel

    def _chunk(self, number: int) -> Array:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        found = np.asarray(self._array[self._edges[number] : self._edges[number + 1]])
        with self._lock:
            self._kept[number] = found
            while len(self._kept) > _CHUNKS:
                self._kept.popitem(last=False)
        return found


def chunked(record: Any) -> Any:
    """Return a record whose values are still on disc as chunks of days (dask).

    Records that xarray opened without chunks would otherwise be read as a whole.

    Parameters
    ----------
    record : DataArray or Dataset
        What is in memory, or has chunks, stays as it is.

    Returns
    -------
    DataArray or Dataset
    """
    if isinstance(record, xr.Dataset):
        return record.assign({name: chunked(da) for name, da in record.data_vars.items()})
    if not isinstance(record, xr.DataArray) or record.chunks or record.variable._in_memory:
        return record
    time = require_time(record, "The record")
    day = record.dtype.itemsize * record.size // max(record.sizes[time], 1)
    stored = record.encoding.get("preferred_chunks", {}).get(time, 1)
    days = max(int(stored), _CHUNK // max(day, 1) // int(stored) * int(stored), 1)
    return record.chunk({dim: days if dim == time else -1 for dim in record.dims})
