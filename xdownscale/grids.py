"""Grids: areas, coverage, distances, and whether two grids are the same.

Thin labelled functions over `cells`, which holds the arithmetic on plain axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xdownscale.cells import (
    SAME_CELL,
    SAME_DEGREES,
    Array,
    Axis,
    cell_areas,
    cell_bounds,
    latitude_axis,
    longitude_axis,
    outside,
    spacing,
    wrap_longitude,
)
from xdownscale.errors import GridError
from xdownscale.labels import Axes, find_axes

Grid = xr.DataArray | xr.Dataset


def distances(lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> Array:
    """Return geodesic distances on the WGS84 ellipsoid.

    Parameters
    ----------
    lat1, lon1, lat2, lon2 : array
        Degrees; broadcast against each other.

    Returns
    -------
    ndarray
        Kilometres, in the broadcast shape.

    References
    ----------
    Karney (2011), doi:10.1007/s00190-012-0578-z.

    Examples
    --------
    >>> distances(0.0, [179.5], 0.0, [-179.5]).round(2)
    array([111.32])
    """
    from pyproj import Geod  # late: half as heavy as xarray

    points = [np.asarray(v, dtype=np.float64) for v in (lon1, lat1, lon2, lat2)]
    spread = [np.ascontiguousarray(v) for v in np.broadcast_arrays(*points)]
    metres = Geod(ellps="WGS84").inv(spread[0], spread[1], spread[2], spread[3])[2]
    return np.asarray(metres) / 1000.0


def grid_template(grid: Grid, what: str = "The grid") -> xr.DataArray:
    """Return one array that bears the grid of `grid`.

    Parameters
    ----------
    grid : DataArray or Dataset
        A Dataset gives its first variable with latitude and longitude, or its coordinates where
        it has no variable.
    what : str
        What it is, for the message.

    Returns
    -------
    DataArray

    Raises
    ------
    GridError
        If there is no latitude or longitude, or the variables lie on different grids.

    Examples
    --------
    >>> grid_template(xr.Dataset(coords={"lat": [0.0, 1.0], "lon": [5.0, 6.0]})).dims
    ('lat', 'lon')
    """
    if isinstance(grid, xr.DataArray):
        return grid
    if not isinstance(grid, xr.Dataset):
        raise GridError(
            f"{what} is a {type(grid).__name__}; give a DataArray or Dataset with latitude and "
            "longitude."
        )
    found = [da for da in grid.data_vars.values() if has_grid(da)]
    if not found:
        sizes = {str(d): n for d, n in grid.sizes.items()}
        empty = np.broadcast_to(np.nan, tuple(sizes.values()))  # no memory, whatever the shape
        bare = xr.DataArray(empty, dims=tuple(sizes), coords=grid.coords)
        find_axes(bare)
        return bare
    horizontal = {find_axes(da).latitude: da.name for da in found}
    if len(horizontal) > 1:
        raise GridError(
            f"{what} is a Dataset with variables on different grids: "
            f"{list(horizontal.values())}. Give one of its variables, or xarray.Dataset.coords "
            "of one grid."
        )
    return found[0]


def has_grid(da: xr.DataArray) -> bool:
    """Tell whether an array has latitude and longitude.

    Parameters
    ----------
    da : DataArray
        The array to look at.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_grid(xr.DataArray([1.0, 2.0], dims="time"))
    False
    """
    try:
        find_axes(da)
    except GridError:
        return False
    return True


def require_rectilinear(da: xr.DataArray, what: str = "The grid") -> Axes:
    """Return the axes of an array, or say that its grid is two-dimensional.

    Parameters
    ----------
    da : DataArray
        The array to look at.
    what : str
        What the array is, for the message.

    Returns
    -------
    Axes

    Raises
    ------
    GridError
        If latitude and longitude are two-dimensional, or not found.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> require_rectilinear(da).x
    'lon'
    """
    axes = find_axes(da)
    if da.coords[axes.latitude].ndim != 1:
        raise GridError(
            f"{what} has two-dimensional latitude {axes.latitude!r} with dimensions "
            f"{da.coords[axes.latitude].dims}; one-dimensional latitude and longitude are needed "
            "here. Bring it to such a grid with xdownscale.regrid(..., engine='xesmf')."
        )
    return axes


def grid_axes(grid: Grid, what: str = "The grid") -> tuple[Axis, Axis]:
    """Return the latitude and the longitude axis of a labelled array, put in order.

    Parameters
    ----------
    grid : DataArray or Dataset
        Any latitude order, longitude convention and dimension names.
    what : str
        What it is, for the message.

    Returns
    -------
    (Axis, Axis)
        Latitude, longitude.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((2, 1)), coords={"lat": [1.0, 0.0], "lon": [5.0]})
    >>> grid_axes(da)[0].values
    array([0., 1.])
    """
    da = grid_template(grid, what)
    axes = require_rectilinear(da, what)
    latitude, longitude = da.coords[axes.latitude].values, da.coords[axes.longitude].values
    return latitude_axis(latitude, what), longitude_axis(longitude, what)


def area(grid: Grid, unit: str = "km2") -> xr.DataArray:
    """Return the cell areas of a labelled grid.

    Parameters
    ----------
    grid : DataArray or Dataset
        Gives the grid.
    unit : {"km2", "sr"}
        As in `cell_areas`.

    Returns
    -------
    DataArray
        ``area`` over latitude and longitude, in the order of `grid`.

    Raises
    ------
    GridError
        If an axis has fewer than two points, or the grid is two-dimensional.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((2, 2)), coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]})
    >>> area(da).sum().round().item()
    49453.0
    """
    da = grid_template(grid)
    latitude, longitude = grid_axes(da)
    for axis in (latitude, longitude):
        if axis.values.size < 2:
            cell_bounds(axis.values)
    values = cell_areas(latitude.edges, longitude.edges, unit)
    values = values[np.ix_(latitude.inverse, longitude.inverse)]
    attrs = {"units": unit, "long_name": "cell area", "standard_name": "cell_area"}
    return _on_grid(da, values, "area", attrs)


def cell_weights(da: xr.DataArray) -> xr.DataArray:
    """Return how much each cell counts in a mean over a region.

    Parameters
    ----------
    da : DataArray
        On any grid.

    Returns
    -------
    DataArray
        (y, x): areas in km2, or cosines of latitude where cells have no edges: on curvilinear
        grids and such of one row or column.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((2, 1)), coords={"lat": [0.0, 60.0], "lon": [0.0]})
    >>> cell_weights(da).values.round(2).ravel()
    array([1. , 0.5])
    """
    axes = find_axes(da)
    if axes.rectilinear and min(da.sizes[axes.y], da.sizes[axes.x]) > 1:
        return area(da)
    latitude = da[axes.latitude]
    cosine = latitude.copy(data=np.cos(np.deg2rad(latitude.values.astype(float))))
    weights = cosine * xr.ones_like(da[axes.longitude], dtype=float)
    return weights.rename("weight").transpose(axes.y, axes.x)


def _on_grid(da: xr.DataArray, values: Array, name: str, attrs: dict[str, str]) -> xr.DataArray:
    axes = find_axes(da)
    names = [axes.y, axes.x, axes.latitude, axes.longitude]
    coords = {n: da.coords[n] for n in dict.fromkeys(names) if n in da.coords}
    return xr.DataArray(values, coords=coords, dims=(axes.y, axes.x), name=name, attrs=attrs)


def uncovered(coarse: Grid, fine: Grid) -> xr.DataArray:
    """Tell which fine cell centres lie outside the coarse grid and its half-cell margin.

    Parameters
    ----------
    coarse, fine : DataArray or Dataset
        Only their grids are used.

    Returns
    -------
    DataArray of bool
        ``uncovered`` over the latitude and longitude of `fine`.

    Examples
    --------
    >>> coarse = xr.DataArray(np.ones((2, 2)), coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]})
    >>> fine = xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [1.4, 1.6]})
    >>> uncovered(coarse, fine).values
    array([[False,  True]])
    """
    latitude, longitude = grid_axes(coarse, "The coarse grid")
    da = grid_template(fine, "The fine grid")
    axes = require_rectilinear(da, "The fine grid")
    rows = outside(latitude, da.coords[axes.latitude].values, cyclic=False)
    columns = outside(longitude, da.coords[axes.longitude].values, cyclic=True)
    return _on_grid(da, rows[:, None] | columns[None, :], "uncovered", {})


def fingerprint(grid: Grid) -> dict[str, dict[str, float]]:
    """Describe a grid in a few numbers.

    Parameters
    ----------
    grid : DataArray or Dataset
        The grid.

    Returns
    -------
    dict
        ``{"latitude": {"first", "last", "size", "spacing"}, "longitude": {...}}``, ascending,
        whatever the order and the longitude convention of `grid`; degrees.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((2, 1)), coords={"lat": [1.0, 0.0], "lon": [5.0]})
    >>> fingerprint(da)["latitude"]
    {'first': 0.0, 'last': 1.0, 'size': 2, 'spacing': 1.0}
    """
    latitude, longitude = grid_axes(grid)
    turned = wrap_longitude(longitude.values[0], -180.0) - longitude.values[0] + longitude.values
    if longitude.periodic:  # any cut is as good as another: begin at Greenwich
        turned = np.sort(wrap_longitude(longitude.values, -SAME_DEGREES))
    described = {"latitude": latitude.values, "longitude": turned}
    return {
        name: {
            "first": round(float(values[0]), 6),
            "last": round(float(values[-1]), 6),
            "size": values.size,
            "spacing": round(spacing(values), 6),
        }
        for name, values in described.items()
    }


def describe_grid(grid: Grid) -> str:
    """Describe a grid in one line, for messages.

    Parameters
    ----------
    grid : DataArray or Dataset
        The grid.

    Returns
    -------
    str

    Examples
    --------
    >>> describe_grid(xr.DataArray(np.ones((1, 2)), coords={"lat": [1.0], "lon": [5.0, 6.0]}))
    '1 latitudes from 1 to 1, 2 longitudes from 5 to 6 by 1'
    """
    parts = []
    for name, axis in fingerprint(grid).items():
        step = f" by {axis['spacing']:g}" if axis["size"] > 1 else ""
        parts.append(f"{axis['size']} {name}s from {axis['first']:g} to {axis['last']:g}{step}")
    return ", ".join(parts)


def same_grid(a: Grid, b: Grid) -> bool:
    """Tell whether two grids have the same cells.

    Parameters
    ----------
    a, b : DataArray or Dataset
        Any latitude order, longitude convention and dimension names.

    Returns
    -------
    bool
        True where the centres agree to a thousandth of a cell (float32 coordinates do).

    Examples
    --------
    >>> a = xr.DataArray(np.ones((2, 1)), coords={"lat": [0.0, 1.0], "lon": [-5.0]})
    >>> b = xr.DataArray(np.ones((1, 2)), coords={"longitude": [355.0], "latitude": [1.0, 0.0]})
    >>> same_grid(a, b)
    True
    """
    (lat_a, lon_a), (lat_b, lon_b) = grid_axes(a), grid_axes(b)
    if lat_a.values.size != lat_b.values.size or lon_a.values.size != lon_b.values.size:
        return False
    start = float(lon_a.values[0] - _width(lon_a) / 2)
    one, other = (np.sort(wrap_longitude(lon.values, start)) for lon in (lon_a, lon_b))
    near_lat = np.abs(lat_a.values - lat_b.values) <= SAME_CELL * _width(lat_a)
    near_lon = np.abs(one - other) <= SAME_CELL * _width(lon_a)
    return bool(near_lat.all() and near_lon.all())


def _width(axis: Axis) -> float:
    return spacing(axis.values) if axis.values.size > 1 else 1.0
