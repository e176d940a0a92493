"""Read records that do not fit in memory: in blocks of time steps, or one by one.

The values of a time step never depend on how the record is cut into chunks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.coords import find_time

Array = npt.NDArray[Any]
STEPS = 64  # most time steps that are read at once
BLOCK = 1 << 27  # bytes that they may have together
_KEPT = 1 << 26  # bytes of the largest chunk that a reader caches
_CHUNKS = 2  # that it caches: windows of time steps lie in two at most
_CHUNK = 1 << 24  # bytes in a chunk of a file that has none


def is_lazy(array: Any) -> bool:
    """Tell whether an array is read when it is looked at.

    Examples
    --------
    >>> is_lazy(np.zeros(3))
    False
    """
    return hasattr(array, "dask")


def at_once(array: Any, most: int = STEPS) -> int:
    """Return how many time steps of an array are read at once: at least one.

    Examples
    --------
    >>> at_once(np.zeros((100, 4, 4))), at_once(np.broadcast_to(0.0, (100, 2000, 2000)))
    (64, 4)
    """
    size = int(np.prod(array.shape[1:])) * np.dtype(array.dtype).itemsize
    return int(max(1, min(most, BLOCK // max(size, 1))))


def blocks(array: Any, most: int = STEPS) -> Iterator[tuple[slice, Array]]:
    """Iterate over blocks of time steps: their rows, and their values in memory.

    Parameters
    ----------
    array : array (n, ...)
        Numpy or dask. Of a dask array whole chunks are read, so that each is read once.
    most : int
        Most time steps in a block of a numpy array.

    Yields
    ------
    (slice, ndarray)

    Examples
    --------
    >>> [rows for rows, _ in blocks(np.zeros((3, 1)), most=2)]
    [slice(0, 2, None), slice(2, 3, None)]
    """
    size = at_once(array, most)
    start = 0
    lengths = array.chunks[0] if is_lazy(array) else (array.shape[0],)
    ends = np.cumsum(lengths)
    while start < array.shape[0]:
        whole = ends[(ends > start) & (ends <= start + size)]
        stop = int(whole[-1]) if whole.size else min(start + size, array.shape[0])
        yield slice(start, stop), np.asarray(array[start:stop])
        start = stop


class Reader:
    """Read time steps of a record by their rows; of a lazy one the last chunks are cached.

    Time steps that are read one after another cost one read of each chunk, and not one for each of
    them. Threads may share a reader.

    Parameters
    ----------
    array : array (n, ...)
        Numpy or dask.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape = tuple(array.shape)
        self.dtype = array.dtype
        self._lock = threading.Lock()
        self._kept = OrderedDict[int, Array]()
        lengths = array.chunks[0] if is_lazy(array) else ()
        self._edges = np.cumsum([0, *lengths])
        step = int(np.prod(self.shape[1:])) * np.dtype(self.dtype).itemsize
        # a chunk that is too large for the cache is not read for one time step
        self._whole = bool(lengths) and max(lengths) * step <= _KEPT

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
        return Reader, (self._array,)  # locks cannot be pickled

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
    """Return a record whose values are still on disc as chunks of time steps (dask).

    Records that xarray opened without chunks would otherwise be read as a whole.

    Parameters
    ----------
    record : DataArray or Dataset
        One in memory, or with chunks, stays as it is.

    Returns
    -------
    DataArray or Dataset
        An array without time keeps the chunks of its file.

    Examples
    --------
    >>> da = xr.DataArray([1.0, 2.0])
    >>> chunked(da) is da
    True
    """
    if isinstance(record, xr.Dataset):
        return record.assign({name: chunked(da) for name, da in record.data_vars.items()})
    if not isinstance(record, xr.DataArray) or record.chunks or record.variable._in_memory:
        return record
    if hasattr(record.variable._data, "__array_function__"):  # in memory, as pint has it
        return record
    chunks = record.encoding.get("preferred_chunks", {})
    time = find_time(record)
    if time is None:
        return record.chunk({dim: chunks.get(dim, "auto") for dim in record.dims})
    size = record.dtype.itemsize * record.size // max(record.sizes[time], 1)
    stored = int(chunks.get(time, 1))
    steps = max(stored, _CHUNK // max(size, 1) // stored * stored, 1)
    return record.chunk({dim: steps if dim == time else -1 for dim in record.dims})


_BLOCK = 1 << 22


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
    """Make a large record in memory lazy, so that results of it never fill the memory.

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


def select_cells(array: Any, rows: Array, columns: Array) -> tuple[Any, Array, Array]:
    """Bring the grid of a dask array into one chunk, and only the cells that are needed.

    Parameters
    ----------
    array : array, shape (..., y, x)
        numpy or dask.
    rows, columns : ndarray of int, shape (n,)
        Cells that are needed.

    Returns
    -------
    (array, ndarray, ndarray)
        An array with one chunk in the last two axes, and where the cells are in these: the array
        as it was where its grid lies in one chunk already, else ``(..., 1, n)``.

    Examples
    --------
    >>> import dask.array
    >>> field = dask.array.from_array(np.arange(12.0).reshape(1, 3, 4), chunks=2)
    >>> few, rows, columns = select_cells(field, np.array([0, 2]), np.array([3, 1]))
    >>> few.compute()[..., rows, columns]
    array([[3., 9.]])
    """
    if not hasattr(array, "dask") or array.numblocks[-2:] == (1, 1):
        return array, rows, columns
    import dask.array

    parts = []
    places = []
    for (top, bottom), (left, right) in product(*map(_spans, array.chunks[-2:])):
        here = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        if here.any():
            block = array[..., top:bottom, left:right]
            parts.append(_pick(block, rows[here] - top, columns[here] - left))
            places.append(np.flatnonzero(here))
    order = np.argsort(np.concatenate(places))
    together: Any = dask.array.concatenate(parts, axis=-1)
    together = together.rechunk({together.ndim - 1: -1})
    return together, np.zeros(rows.size, dtype=int), order


def _spans(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    ends = np.cumsum(sizes)
    return list(zip((ends - sizes).tolist(), ends.tolist(), strict=True))


def _pick(block: Any, rows: Array, columns: Array) -> Any:
    """Return cells of a dask array with one chunk in the last two axes, (..., 1, n)."""
    chunks = (*block.chunks[:-2], (1,), (rows.size,))
    return block.map_blocks(
        lambda values: values[..., rows, columns][..., None, :],
        chunks=chunks,
        dtype=block.dtype,
        meta=block._meta,
    )
