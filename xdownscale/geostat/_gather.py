"""Only the cells that are needed, out of arrays in any chunks. Arrays in, arrays out."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.cells import Array
from xdownscale.labels import require_array


def on_disk_as_dask(da: xr.DataArray) -> xr.DataArray:
    """Return an array that lies unread on disk as a dask array, any other as it is.

    Parameters
    ----------
    da : DataArray
        Anything.

    Returns
    -------
    DataArray
        In the chunks of the file where it has some.

    Examples
    --------
    >>> da = xr.DataArray([1.0, 2.0])
    >>> on_disk_as_dask(da) is da
    True
    """
    require_array(da)
    if da.chunks is not None or da.variable._in_memory:
        return da
    stored = da.encoding.get("preferred_chunks", {})
    return da.chunk({dim: stored.get(dim, "auto") for dim in da.dims})


def gather(array: Any, rows: Array, columns: Array) -> tuple[Any, Array, Array]:
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
    >>> few, rows, columns = gather(field, np.array([0, 2]), np.array([3, 1]))
    >>> few.compute()[..., rows, columns]
    array([[3., 9.]])
    """
    if not hasattr(array, "dask") or array.numblocks[-2:] == (1, 1):
        return array, rows, columns
    import dask.array

    parts, places = [], []
    for (top, bottom), (left, right) in product(*map(_spans, array.chunks[-2:])):
        here = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        if here.any():
            block = array[..., top:bottom, left:right]
            parts.append(_pick(block, rows[here] - top, columns[here] - left))
            places.append(np.flatnonzero(here))
    order = np.argsort(np.concatenate(places))
    together: Any = dask.array.concatenate(parts, axis=-1)  # type: ignore[no-untyped-call]
    together = together.rechunk({together.ndim - 1: -1})
    return together, np.zeros(rows.size, dtype=int), order


def _spans(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    ends = np.cumsum(sizes)
    return list(zip((ends - sizes).tolist(), ends.tolist(), strict=True))


def _pick(block: Any, rows: Array, columns: Array) -> Any:
    """Cells of a dask array with one chunk in the last two axes, (..., 1, n)."""
    chunks = (*block.chunks[:-2], (1,), (rows.size,))
    return block.map_blocks(
        lambda values: values[..., rows, columns][..., None, :],
        chunks=chunks,
        dtype=block.dtype,
        meta=block._meta,
    )
