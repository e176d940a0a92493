"""Turn records into network inputs: scaled, gaps filled, regridded, read on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from xdownscale.config import DataConfig
from xdownscale.core.blocks import Reader, at_once
from xdownscale.core.cells import Cells, cells_of
from xdownscale.core.coords import to_array
from xdownscale.core.errors import GridError
from xdownscale.core.grids import cell_centres, centres, wrap_longitude
from xdownscale.core.normalization import Scaling
from xdownscale.core.record import Record
from xdownscale.preprocessing.imputation import fill_gaps
from xdownscale.preprocessing.quantile_mapping import QuantileMap
from xdownscale.regridding import between

Array = npt.NDArray[Any]


def place_on(coarse: xr.DataArray, fine: xr.DataArray) -> npt.NDArray[np.float32]:
    """Return where fine cells lie on a coarse grid, counted from -1 to 1 between its edges.

    Parameters
    ----------
    coarse, fine : DataArray
        ``(y, x)`` grids, latitude and longitude ascending.

    Returns
    -------
    (y, x, 2) float32 array
        Place along the coarse grid's x and y, in this order; of a projected one in its own
        coordinates. On a curvilinear coarse grid: the nearest cell's.

    Examples
    --------
    >>> def grid(degrees):
    ...     coords = {"lat": degrees, "lon": degrees}
    ...     return xr.DataArray(np.zeros((len(degrees),) * 2), coords=coords)
    >>> place_on(grid([0.0, 1.0]), grid([0.0, 0.5]))[0, :, 0]
    array([-0.5,  0. ], dtype=float32)
    """
    latitude, longitude = cell_centres(fine)
    lat, lon = centres(coarse)
    for what, degrees in (("fine", latitude + longitude), ("coarse", lat.sum() + lon.sum())):
        if not np.isfinite(degrees).all():
            raise GridError(
                f"The {what} grid has cells without latitude or longitude, so it is not known "
                "where they lie. Cut them off, or fill the coordinates; their values may be NaN."
            )
    if lat.ndim == 1:
        middle = (lon[0] + lon[-1]) / 2
        around = wrap_longitude(longitude, middle - 180)
        pairs = ((around, lon), (latitude, lat))
        index = [np.interp(values, ends, np.arange(ends.size)) for values, ends in pairs]
    elif (cells := cells_of(coarse)).kind == "projected":
        index = _in_plane(cells, latitude, longitude)
    else:
        tree = cKDTree(_points(*cell_centres(coarse)).reshape(-1, 3))
        nearest = tree.query(_points(latitude, longitude).reshape(-1, 3))[1]
        rows, columns = np.unravel_index(nearest, coarse.shape)
        index = [columns.reshape(fine.shape), rows.reshape(fine.shape)]
    sizes = coarse.shape[::-1]
    placed = [(2 * i + 1) / n - 1 for i, n in zip(index, sizes, strict=True)]
    return np.stack(placed, axis=-1).astype(np.float32)


def _in_plane(cells: Cells, latitude: Array, longitude: Array) -> list[Array]:
    """Return the fractional column and row in a projected grid, held at its outermost centres."""
    place = cells.place(np.ravel(latitude), np.ravel(longitude))
    found = []
    for axis, values in zip(cells.axes, place[:2], strict=True):
        number = np.empty(axis.values.size)
        number[axis.inverse] = np.arange(axis.inverse.size)
        found.append(np.interp(values, axis.values, number).reshape(latitude.shape))
    return found[::-1]


def _points(latitude: Array, longitude: Array) -> Array:
    """Return points on the unit sphere, ``(..., 3)``."""
    lat = np.deg2rad(np.asarray(latitude, float))
    lon = np.deg2rad(np.asarray(longitude, float))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


class Fields:
    """Fields read on demand: ``fields[index]`` gives ``(n, y, x)`` float32, ``(y, x)`` for one.

    Parameters
    ----------
    read : callable
        Index array -> ``(n, y, x)``.
    shape : sequence of int
        ``(time, y, x)``.
    """

    dtype = np.dtype("float32")

    def __init__(self, read: Callable[[Array], Array], shape: Sequence[int]) -> None:
        self._read = read
        self.shape = tuple(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Array:
        wanted = np.arange(len(self))[index]
        block = self._read(np.atleast_1d(wanted))
        return block if np.ndim(wanted) else block[0]

    def through(self, rows: npt.NDArray[np.int64]) -> Fields:
        """Return fields that are read from other rows: number i from ``rows[i]``."""
        return Fields(lambda index: self[rows[index]], (rows.size, *self.shape[1:]))

    def in_memory(self, limit: float) -> Fields | Array:
        """Return all fields as one array if they take less than `limit` MB, else self."""
        if np.prod(self.shape) * self.dtype.itemsize / 1e6 > limit:
            return self
        out = np.empty(self.shape, self.dtype)
        size = at_once(self)
        for start in range(0, len(self), size):
            index = np.arange(start, min(start + size, len(self)))
            out[index] = self._read(index)
        return out


def stack(parts: Sequence[Fields]) -> Fields:
    """Return several variables as one: ``(n, variable, y, x)``.

    Parameters
    ----------
    parts : sequence of Fields
        Of one shape.

    Returns
    -------
    Fields

    Examples
    --------
    >>> fields = Fields(lambda index: np.zeros((len(index), 2, 3)), (5, 2, 3))
    >>> stack([fields, fields])[1:3].shape
    (2, 2, 2, 3)
    """
    shape = (parts[0].shape[0], len(parts), *parts[0].shape[1:])
    return Fields(lambda index: np.stack([part[index] for part in parts], axis=1), shape)


def variable(fields: Fields | Array, number: int) -> Fields | Array | None:
    """Return one variable of what `stack` made, where it is in memory; else None.

    Examples
    --------
    >>> variable(np.zeros((4, 2, 3, 3)), 1).shape
    (4, 3, 3)
    """
    return fields[:, number] if isinstance(fields, np.ndarray) else None


def scaled_coarse(coarse: Record, scaling: Scaling) -> Fields:
    """Return the coarse record on its own grid, gaps filled and scaled, read on demand.

    Parameters
    ----------
    coarse : Record
        Coarse record.
    scaling : Scaling
        Fitted on the fine training fields, so that both records have one scale.

    Returns
    -------
    Fields
        ``(n, y, x)``; a time step without any value is 0.
    """
    array = Reader(coarse.array)

    def read(index: Array) -> Array:
        block = fill_gaps(np.asarray(array[index], dtype=np.float32))
        return np.asarray(np.nan_to_num(scaling.forward(block)), np.float32)

    return Fields(read, array.shape)


def chained(first: Fields, second: Fields) -> Fields:
    """Return the fields of two records as one sequence, the first record's first.

    Examples
    --------
    >>> fields = Fields(lambda index: index[:, None, None] * np.ones((1, 1)), (3, 1, 1))
    >>> chained(fields, fields)[[2, 3, 5]].ravel().tolist()
    [2.0, 0.0, 2.0]
    """
    count = len(first)

    def read(index: Array) -> Array:
        early = index < count
        parts = [(early, first, index[early]), (~early, second, index[~early] - count)]
        out = np.empty((index.size, *first.shape[1:]), Fields.dtype)
        for chosen, fields, rows in parts:
            if rows.size:
                out[chosen] = fields[rows]
        return out

    return Fields(read, (count + len(second), *first.shape[1:]))


def mapped(fields: Fields, quantiles: QuantileMap, months: npt.NDArray[np.int64]) -> Fields:
    """Return a record mapped to the climate of another, read on demand.

    Parameters
    ----------
    fields : Fields
        ``(n, y, x)``, scaled.
    quantiles : QuantileMap
        In scaled units.
    months : (n,) int array
        Month of each time step.
    """
    return Fields(
        lambda index: np.asarray(quantiles.apply(fields[index], months[index]), np.float32),
        fields.shape,
    )


def driver(
    coarse: Record,
    grid: xr.DataArray,
    scaling: Scaling,
    data: DataConfig,
    fields: Fields | Array | None = None,
) -> Fields:
    """Return the coarse record interpolated to the fine grid, in scaled units, read on demand.

    Interpolation happens in the transformed space, so that a positive variable stays positive.

    Parameters
    ----------
    coarse : Record
        Coarse record.
    grid : DataArray
        Fine grid, ``(y, x)``.
    scaling : Scaling
        Fitted on the fine training fields.
    data : DataConfig
        Regridding options.
    fields : Fields or ndarray, optional
        What stands for the record on its own grid; default `scaled_coarse`.

    Returns
    -------
    Fields
        ``(n, y, x)``.
    """
    fields = scaled_coarse(coarse, scaling) if fields is None else fields
    # weights are found once, in the caller's thread: ESMF knows one thread alone
    regridder = between(coarse.da, grid, data.regrid, data.extrapolate, data.engine)
    there = coarse.labels.flips()
    back = (slice(None), *to_array(grid).labels.flips())

    def read(index: Array) -> Array:
        unique, inverse = np.unique(index, return_inverse=True)
        brought = regridder.apply(fields[unique][there])[back]
        return np.asarray(brought, dtype=np.float32)[inverse]

    return Fields(read, (fields.shape[0], *grid.shape))


def scaled_fine(fine: Record, scaling: Scaling, window: tuple[slice, slice]) -> Fields:
    """Return the fine record in scaled units, cropped to `window`, read on demand.

    Parameters
    ----------
    fine : Record
        Fine record.
    scaling : Scaling
        Fitted on its training fields.
    window : tuple of slice
        Rows and columns of the group's part of the grid.

    Returns
    -------
    Fields
        ``(n, y, x)``; NaN stays NaN.
    """
    array = Reader(fine.array[(slice(None), *window)])

    def read(index: Array) -> Array:
        block = np.asarray(array[index], dtype=np.float32)
        return np.asarray(scaling.forward(block), dtype=np.float32)

    return Fields(read, array.shape)
