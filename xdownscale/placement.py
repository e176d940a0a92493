"""Where the cells of a fine grid lie on a coarse one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from xdownscale.cells import wrap_longitude
from xdownscale.constraints import Cells
from xdownscale.grids import area, require_rectilinear, uncovered
from xdownscale.labels import find_axes

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
        Place along the coarse grid's x and y, in this order. On a curvilinear coarse grid: the
        nearest cell's.

    Examples
    --------
    >>> def grid(degrees):
    ...     coords = {"lat": degrees, "lon": degrees}
    ...     return xr.DataArray(np.zeros((len(degrees),) * 2), coords=coords)
    >>> place_on(grid([0.0, 1.0]), grid([0.0, 0.5]))[0, :, 0]
    array([-0.5,  0. ], dtype=float32)
    """
    axes = find_axes(coarse)
    latitude, longitude = _degrees(fine)
    if axes.rectilinear:
        lat, lon = (np.asarray(coarse[n].values, float) for n in (axes.latitude, axes.longitude))
        middle = (lon[0] + lon[-1]) / 2
        around = wrap_longitude(longitude, middle - 180)
        index = [_index(around, lon), _index(latitude, lat)]
    else:
        tree = cKDTree(_points(*_degrees(coarse)).reshape(-1, 3))
        nearest = tree.query(_points(latitude, longitude).reshape(-1, 3))[1]
        rows, columns = np.unravel_index(nearest, coarse.shape)
        index = [columns.reshape(fine.shape), rows.reshape(fine.shape)]
    sizes = coarse.shape[::-1]
    placed = [(2 * i + 1) / n - 1 for i, n in zip(index, sizes, strict=True)]
    return np.stack(placed, axis=-1).astype(np.float32)


def cells_on(coarse: xr.DataArray, fine: xr.DataArray) -> Cells:
    """Return which coarse cell each fine cell lies in, by its centre.

    Parameters
    ----------
    coarse, fine : DataArray
        ``(y, x)`` grids, latitude and longitude ascending and one-dimensional.

    Returns
    -------
    Cells
        Areas in km2.

    Raises
    ------
    GridError
        If a grid is curvilinear.

    Examples
    --------
    >>> def grid(degrees):
    ...     coords = {"lat": degrees, "lon": degrees}
    ...     return xr.DataArray(np.zeros((len(degrees),) * 2), coords=coords)
    >>> cells_on(grid([0.0, 2.0]), grid([0.0, 0.5, 1.5, 5.0])).number
    array([[ 0,  0,  1, -1],
           [ 0,  0,  1, -1],
           [ 2,  2,  3, -1],
           [-1, -1, -1, -1]])
    """
    require_rectilinear(coarse, "The coarse grid")
    axes = require_rectilinear(fine, "The fine grid")
    ny, nx = coarse.shape
    columns, rows = np.moveaxis((place_on(coarse, fine) + 1) / 2 * (nx, ny) - 0.5, -1, 0)
    number = np.rint(rows).astype(np.intp) * nx + np.rint(columns).astype(np.intp)
    outside = uncovered(coarse, fine).transpose(axes.y, axes.x).values
    areas = [area(grid).transpose(*grid.dims).values for grid in (fine, coarse)]
    return Cells(np.where(outside, -1, number), areas[0], areas[1].ravel())


def _index(values: Array, centres: Array) -> Array:
    """Fractional index of values between ascending centres, ends included."""
    out: Array = np.interp(values, centres, np.arange(centres.size))
    return out


def _degrees(grid: xr.DataArray) -> tuple[Array, Array]:
    """Latitude and longitude of every cell, ``(y, x)`` each."""
    axes = find_axes(grid)
    fields = (grid[name].broadcast_like(grid) for name in (axes.latitude, axes.longitude))
    latitude, longitude = (field.transpose(axes.y, axes.x).values for field in fields)
    return np.asarray(latitude, float), np.asarray(longitude, float)


def _points(latitude: Array, longitude: Array) -> Array:
    lat, lon = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
