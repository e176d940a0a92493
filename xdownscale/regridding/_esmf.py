"""Regrid with ESMF through xesmf, for curvilinear grids too; xesmf is imported at the call."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import GridError, OptionError, XDownscaleWarning
from xdownscale.core.grids import (
    NO_BOUNDS,
    SAME_CELL,
    Array,
    Axis,
    Bounds,
    centres,
    check_coverage,
    latitude_axis,
    longitude_axis,
)
from xdownscale.core.optional import require
from xdownscale.regridding._separable import float_type

LAST = ("__y", "__x")  # temporary names of the target's two axes
METHODS = {
    "bicubic": "patch",
    "bilinear": "bilinear",
    "nearest": "nearest_s2d",
    "conservative": "conservative_normed",
}
_NEAR_POLE = 89.999  # an extra row on the pole itself would have cells without an area


def regrid_esmf(
    da: xr.DataArray,
    grid: xr.DataArray,
    method: str,
    extrapolate: str | None,
    min_valid: float,
    bounds: tuple[Bounds, Bounds] = (NO_BOUNDS, NO_BOUNDS),
) -> xr.Variable:
    """Regrid a field with ESMF.

    Parameters
    ----------
    da, grid : DataArray
        Source, and an array on the target grid; latitude and longitude of one or two dimensions.
    method, extrapolate, min_valid
        As in `xdownscale.regrid`.
    bounds : (Bounds, Bounds)
        Edges of the cells of the source and of the target, where they are known.

    Returns
    -------
    Variable
        Dimensions of `da`, with the target's two axes last, named `LAST`.

    Raises
    ------
    MissingPackageError
        If xesmf cannot be imported.
    OptionError
        If extrapolation of a conservative mean is asked for.
    GridError
        If the target reaches outside a one-dimensional source, an axis has one point, or a
        conservative mean is asked for on a two-dimensional grid.
    """
    xesmf = require("xesmf", "engine='xesmf'")
    _check_method(da, grid, method, extrapolate)
    if extrapolate is None and _is_flat(da) and _is_flat(grid):
        check_coverage(*_axes(da), *centres(grid))
    values, cells, periodic = _source(da, method, bounds[0])
    options: dict[str, Any] = {"periodic": periodic, "unmapped_to_nan": True}
    if extrapolate == "nearest" and method != "nearest":
        options["extrap_method"] = "nearest_s2d"
    regridder = xesmf.Regridder(cells, _target(grid, method, bounds[1]), METHODS[method], **options)
    moved = regridder(values.data, skipna=True, na_thres=1 - min_valid)
    return xr.Variable((*values.dims[:-2], *LAST), moved.astype(values.dtype))


def _source(da: xr.DataArray, method: str, bounds: Bounds) -> tuple[xr.Variable, xr.Dataset, bool]:
    """Return values ``(..., y, x)``, their grid as ESMF wants it, and whether it is periodic."""
    axes = find_axes(da)
    values = da.variable.transpose(..., axes.y, axes.x).astype(float_type(da.dtype))
    if values.chunks is not None:
        values = values.chunk({axes.y: -1, axes.x: -1})
    if not _is_flat(da):
        return values, _curvilinear(da), False
    latitude, longitude = _axes(da, bounds)
    if method == "conservative":
        _check_joined("source", (latitude, longitude))
        rows = latitude.first
        columns = longitude.first
        cells = _with_edges(latitude.values, longitude.values, latitude.edges, longitude.edges)
    else:
        rows, lat = _extended(latitude, _NEAR_POLE)
        columns, lon = _extended(longitude, np.inf)
        cells = xr.Dataset(coords={"lat": ("lat", lat), "lon": ("lon", lon)})
    return values.isel({axes.y: rows, axes.x: columns}), cells, longitude.periodic


def _extended(axis: Axis, limit: float) -> tuple[Array, Array]:
    """Repeat the outermost cells one step further out, so that the half-cell margin has values."""
    index = axis.first
    values = axis.values
    if axis.periodic:
        return index, values
    outer = np.clip(2 * values[[0, -1]] - values[[1, -2]], -limit, limit)
    if outer[0] < values[0]:
        index = np.append(index[0], index)
        values = np.append(outer[0], values)
    if outer[1] > values[-1]:
        index = np.append(index, index[-1])
        values = np.append(values, outer[1])
    return index, values


def _target(grid: xr.DataArray, method: str, bounds: Bounds) -> xr.Dataset:
    """Return the target grid as ESMF wants it, in its own order."""
    if not _is_flat(grid):
        return _curvilinear(grid)
    lat, lon = centres(grid)
    if method != "conservative":
        return xr.Dataset(coords={"lat": ("lat", lat), "lon": ("lon", lon)})
    latitude, longitude = _axes(grid, bounds)
    _check_joined("target", (latitude, longitude))
    edges = [
        axis.edges if axis.inverse[0] < axis.inverse[-1] else axis.edges[::-1]
        for axis in (latitude, longitude)
    ]
    degrees = [axis.values[axis.inverse] for axis in (latitude, longitude)]
    return _with_edges(*degrees, *edges)


def _with_edges(lat: Array, lon: Array, lat_b: Array, lon_b: Array) -> xr.Dataset:
    coords = {"lat": lat, "lon": lon, "lat_b": lat_b, "lon_b": lon_b}
    return xr.Dataset(coords={name: (name, values) for name, values in coords.items()})


def _curvilinear(da: xr.DataArray) -> xr.Dataset:
    axes = find_axes(da)
    lat = da.coords[axes.latitude].transpose(axes.y, axes.x).values
    lon = da.coords[axes.longitude].transpose(axes.y, axes.x).values
    return xr.Dataset(coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)})


def _check_method(
    da: xr.DataArray, grid: xr.DataArray, method: str, extrapolate: str | None
) -> None:
    """Raise for what ESMF cannot do, and warn where it substitutes another method."""
    for what, array in (("source", da), ("target", grid)):
        if _is_flat(array):
            _check_sizes(what, array, method)
        elif method == "conservative":
            raise GridError(
                f"method='conservative' needs the corners of cells, and the {what} grid with its "
                "two-dimensional latitude gives centres only. Use 'bilinear' or 'nearest'."
            )
    if method == "conservative" and extrapolate is not None:
        raise OptionError(
            "engine='xesmf' cannot extrapolate a conservative mean (extrapolate='nearest'). "
            "Use extrapolate=None, another method, or engine='separable'."
        )
    if method == "bicubic":
        warnings.warn(
            "ESMF has no bicubic interpolation: its 'patch' recovery is used, which is about as "
            "accurate as 'bilinear'. engine='separable' has a bicubic for one-dimensional grids.",
            XDownscaleWarning,
            stacklevel=4,
        )


def _check_sizes(what: str, da: xr.DataArray, method: str) -> None:
    sizes = [axis.values.size for axis in _axes(da)]
    if min(sizes) < 2 and (what == "source" or method == "conservative"):
        raise GridError(
            f"engine='xesmf' needs two latitudes and two longitudes or more in the {what} grid "
            f"here; it has {sizes[0]} and {sizes[1]}. Use engine='separable'."
        )


def _is_flat(da: xr.DataArray) -> bool:
    """Tell whether latitude and longitude are one-dimensional."""
    return bool(da.coords[find_axes(da).latitude].ndim == 1)


def _check_joined(what: str, axes: tuple[Axis, Axis]) -> None:
    """Refuse cells with gaps between them, whose edges are no line that ESMF could be given."""
    for axis in axes:
        apart = np.abs(axis.cells[1:, 0] - axis.cells[:-1, 1])
        if apart.max(initial=0.0) > SAME_CELL * np.diff(axis.cells, axis=1).max():
            raise GridError(
                f"The bounds of the {what} grid leave gaps between its cells, or overlap, which "
                "engine='xesmf' cannot take. Use engine='separable'."
            )


def _axes(da: xr.DataArray, bounds: Bounds = NO_BOUNDS) -> tuple[Axis, Axis]:
    latitude, longitude = centres(da)
    what = f"The grid of {da.name or 'the array'}"
    return latitude_axis(latitude, what, bounds[0]), longitude_axis(longitude, what, bounds[1])
