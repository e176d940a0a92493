"""Grids: cells, areas, distances and comparison of labelled grids."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xdownscale.core.axis import (
    EARTH_RADIUS_KM,
    FLOAT32_DEGREES,
    NO_BOUNDS,
    SAME_CELL,
    SAME_DEGREES,
    Array,
    Axis,
    Bounds,
    areas_between,
    cell_areas,
    cell_bounds,
    check_coverage,
    has_width,
    latitude_axis,
    longitude_axis,
    outside,
    spacing,
    wrap_longitude,
)
from xdownscale.core.cells import Cells, cells_of
from xdownscale.core.coords import Axes, find_axes
from xdownscale.core.errors import GridError, check_option
from xdownscale.core.projection import with_positions
from xdownscale.core.quantities import as_plain

__all__ = [
    "Array",
    "Axis",
    "Bounds",
    "EARTH_RADIUS_KM",
    "Grid",
    "GridT",
    "NO_BOUNDS",
    "SAME_CELL",
    "SAME_DEGREES",
    "area",
    "cell_areas",
    "cell_bounds",
    "cell_centres",
    "cell_weights",
    "centres",
    "check_coverage",
    "describe_grid",
    "distances",
    "find_cells",
    "fingerprint",
    "given_bounds",
    "grid_axes",
    "grid_template",
    "has_grid",
    "has_width",
    "latitude_axis",
    "longitude_axis",
    "match_cells",
    "on_grid",
    "outside",
    "require_rectilinear",
    "same_grid",
    "spacing",
    "uncovered",
    "with_bounds",
    "with_positions",
    "without_bounds",
    "wrap_longitude",
]

_EDGES = (("_south_edge", "_north_edge"), ("_west_edge", "_east_edge"))  # see `with_bounds`

Grid = xr.DataArray | xr.Dataset
GridT = TypeVar("GridT", xr.DataArray, xr.Dataset)


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
        return with_positions(grid, what)
    if not isinstance(grid, xr.Dataset):
        raise GridError(
            f"{what} is a {type(grid).__name__}; give a DataArray or Dataset with latitude and "
            "longitude."
        )
    grid = with_positions(grid, what)
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
            "here. Bring it to such a grid with xdownscale.regrid."
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
    lat, lon = centres(grid, what, rectilinear=True)
    lat_bounds, lon_bounds = given_bounds(grid)
    return latitude_axis(lat, what, lat_bounds), longitude_axis(lon, what, lon_bounds)


def given_bounds(grid: Grid) -> Bounds:
    """Return the cell bounds that a Dataset bears, as CF has them.

    Parameters
    ----------
    grid : DataArray or Dataset
        A DataArray bears none, unless it is one from `with_bounds`.

    Returns
    -------
    (array or None, array or None)
        ``(n, 2)`` edges of the latitudes and of the longitudes, in their order; None where
        there are none, or latitude and longitude are two-dimensional.

    Examples
    --------
    >>> lat = ("lat", [2.0, 6.0], {"bounds": "lat_bnds"})
    >>> ds = xr.Dataset(
    ...     {"lat_bnds": (("lat", "bnds"), [[0.0, 3.0], [3.0, 9.0]])},
    ...     coords={"lat": lat, "lon": [0.0]},
    ... )
    >>> given_bounds(ds)[0]
    array([[0., 3.],
           [3., 9.]])
    """
    grid = as_plain(grid)
    if not isinstance(grid, xr.DataArray):
        axes = find_axes(grid_template(grid))
        return _bounds_of(grid, axes.latitude), _bounds_of(grid, axes.longitude)
    latitude, longitude = (
        np.stack([grid[name].values for name in names], axis=-1)
        if all(name in grid.coords and grid[name].ndim == 1 for name in names)
        else None
        for names in _EDGES
    )
    return latitude, longitude


def with_bounds(da: xr.DataArray, ds: xr.Dataset) -> xr.DataArray:
    """Return a variable of a Dataset with the bounds of its cells, which xarray leaves behind.

    The edges are four coordinates along latitude and longitude, so that they follow selections;
    `without_bounds` takes them off what is returned to callers.

    Parameters
    ----------
    da : DataArray
        With latitude and longitude.
    ds : Dataset
        That it is from.

    Returns
    -------
    DataArray
        As it was where there are no bounds, or latitude and longitude are two-dimensional.

    Examples
    --------
    >>> ds = xr.Dataset(
    ...     {"lat_bnds": (("lat", "bnds"), [[0.0, 3.0], [3.0, 9.0]])},
    ...     coords={"lat": ("lat", [2.0, 6.0], {"bounds": "lat_bnds"}), "lon": [0.0, 1.0]},
    ... )
    >>> field = with_bounds(ds.lat * ds.lon, ds)
    >>> given_bounds(field.isel(lat=[1]))[0]
    array([[3., 9.]])
    >>> list(without_bounds(field).coords)
    ['lat', 'lon']
    """
    axes = find_axes(da)
    coords: dict[str, Any] = {}
    for names, axis in zip(_EDGES, (axes.latitude, axes.longitude), strict=True):
        bounds = _bounds_of(ds, axis)
        if bounds is not None:
            coords |= {name: (ds[axis].dims[0], bounds[:, k]) for k, name in enumerate(names)}
    return da.assign_coords(coords)


def without_bounds(found: GridT) -> GridT:
    """Return a result without the edges of `with_bounds`.

    Parameters
    ----------
    found : DataArray or Dataset

    Returns
    -------
    DataArray or Dataset
    """
    return found.drop_vars([name for names in _EDGES for name in names], errors="ignore")


def _bounds_of(grid: xr.Dataset, name: str) -> Array | None:
    if name not in grid.variables:  # positions that were computed
        return None
    centres = grid[name]
    bounds = centres.attrs.get("bounds", centres.encoding.get("bounds"))
    if bounds not in grid.variables:
        return None
    found = grid[bounds]
    if centres.ndim != 1 or found.ndim != 2 or found.dims[0] != centres.dims[0]:
        return None
    values = np.asarray(found.values, dtype=np.float64)
    return values if values.shape[1] == 2 and np.isfinite(values).all() else None


def area(grid: Grid, unit: str = "km2") -> xr.DataArray:
    """Return the cell areas of a labelled grid.

    Parameters
    ----------
    grid : DataArray or Dataset
        Gives the grid; bounds that a Dataset bears (CF ``bounds``) are the cells' edges.
    unit : {"km2", "sr"}
        As in `cell_areas`.

    Returns
    -------
    DataArray
        ``area`` over y and x, in the order of `grid`.

    Raises
    ------
    GridError
        If an axis has fewer than two points and no bounds, or cells are folded or have no
        position.

    Notes
    -----
    Cells between parallels and meridians have exact areas. Those of a projected grid are polygons
    on the sphere with many corners; those of a curvilinear grid are quadrilaterals of great
    circles between corners that CF bounds give, else midway between four centres.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((2, 2)), coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]})
    >>> area(da).sum().round().item()
    49453.0
    """
    check_option("unit of area", unit, ("km2", "sr"))
    attrs = {"units": unit, "long_name": "cell area", "standard_name": "cell_area"}
    da = grid_template(grid)
    if not find_axes(da).rectilinear:
        cells = cells_of(grid)
        named = on_grid(da, in_order_of(cells.areas(unit), cells.dims, da), "area", attrs)
        return _as_given(named, grid)
    latitude, longitude = grid_axes(grid)
    for axis in (latitude, longitude):
        if not has_width(axis):
            cell_bounds(axis.values)
    values = areas_between(latitude.cells, longitude.cells, unit)
    values = values[np.ix_(latitude.inverse, longitude.inverse)]
    return on_grid(da, values, "area", attrs)


def in_order_of(values: Array, dims: tuple[str, str], da: xr.DataArray) -> Array:
    """Return values over `dims` in the order that `on_grid` wants them.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [5.0, 6.0]})
    >>> in_order_of(np.ones((2, 1)), ("lon", "lat"), da).shape
    (1, 2)
    """
    axes = find_axes(da)
    return values if dims == (axes.y, axes.x) else values.T


def _as_given(found: xr.DataArray, grid: Grid) -> xr.DataArray:
    """Drop positions that were computed for a grid which does not bear them."""
    return found.drop_vars([name for name in found.coords if name not in grid.coords])


def cell_weights(da: xr.DataArray) -> xr.DataArray:
    """Return how much each cell counts in a mean over a region.

    Parameters
    ----------
    da : DataArray
        On any grid.

    Returns
    -------
    DataArray
        (y, x): areas in km2, or cosines of latitude where the edges of cells are not known: on
        curvilinear grids without a projection, and on grids of one row or column without bounds.
        0 where a curvilinear grid has no coordinates (NEMO leaves out processors on land).

    Examples
    --------
    >>> da = xr.DataArray(np.ones((2, 1)), coords={"lat": [0.0, 60.0], "lon": [0.0]})
    >>> cell_weights(da).values.round(2).ravel()
    array([1. , 0.5])
    """
    da = with_positions(da)
    axes = find_axes(da)
    if not axes.rectilinear:
        with contextlib.suppress(GridError):
            if cells_of(da).kind == "projected":
                return area(da).rename("weight")
    elif all(has_width(axis) for axis in grid_axes(da)):
        return without_bounds(area(da))
    latitude = da[axes.latitude]
    cosine = latitude.copy(data=np.cos(np.deg2rad(latitude.values.astype(float))))
    weights = cosine.fillna(0) * xr.ones_like(da[axes.longitude], dtype=float)
    return weights.rename("weight").transpose(axes.y, axes.x)


def on_grid(
    da: xr.DataArray,
    values: Array,
    name: str | None = None,
    attrs: Mapping[str, str] | None = None,
) -> xr.DataArray:
    """Label values by the latitude and longitude of a record, without its other coordinates.

    Parameters
    ----------
    da : DataArray
        Anything on the grid.
    values : array, shape (y, x)
        In its order.
    name, attrs : optional
        Of the result.

    Returns
    -------
    DataArray

    Examples
    --------
    >>> da = xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [5.0, 6.0]})
    >>> on_grid(da, np.array([[True, False]])).lon.values
    array([5., 6.])
    """
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
    template = grid_template(fine, "The fine grid")
    flat = (find_axes(grid_template(coarse, "The coarse grid")), find_axes(template))
    if not all(axes.rectilinear for axes in flat):
        there = cells_of(coarse, "The coarse grid")
        cells = cells_of(fine, "The fine grid")
        place = there.place(*(np.ravel(v) for v in cells.positions))
        beyond = there.outside(place).reshape(cells.shape)
        return _as_given(
            on_grid(template, in_order_of(beyond, cells.dims, template), "uncovered"), fine
        )
    latitude, longitude = grid_axes(coarse, "The coarse grid")
    lat, lon = centres(fine, "The fine grid", rectilinear=True)
    rows = outside(latitude, lat, cyclic=False)
    columns = outside(longitude, lon, cyclic=True)
    return on_grid(grid_template(fine), rows[:, None] | columns[None, :], "uncovered")


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
        whatever the order and the longitude convention of `grid`; degrees. Of a projected grid its
        own coordinates by their names, in their units. Of a curvilinear one ``first`` and ``last``
        are the least and the greatest degrees, and ``spacing`` the angle between neighbours.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((2, 1)), coords={"lat": [1.0, 0.0], "lon": [5.0]})
    >>> fingerprint(da)["latitude"]
    {'first': 0.0, 'last': 1.0, 'size': 2, 'spacing': 1.0}
    """
    if not find_axes(grid_template(grid)).rectilinear:
        return _plane_fingerprint(cells_of(grid))
    latitude, longitude = grid_axes(grid)
    turned = wrap_longitude(longitude.values[0], -180.0) - longitude.values[0] + longitude.values
    if longitude.periodic:  # any cut is as good as another: begin at Greenwich
        turned = np.sort(wrap_longitude(longitude.values, -SAME_DEGREES))
    described = {"latitude": latitude.values, "longitude": turned}
    return {
        name: _described(values, values.size, spacing(values)) for name, values in described.items()
    }


def _described(values: Array, size: int, step: float) -> dict[str, float]:
    return {
        "first": round(float(values[0]), 6),
        "last": round(float(values[-1]), 6),
        "size": size,
        "spacing": round(step, 6),
    }


def _plane_fingerprint(cells: Cells) -> dict[str, dict[str, float]]:
    if cells.kind != "curvilinear":
        return {
            name: _described(axis.values, axis.values.size, spacing(axis.values))
            for name, axis in zip(cells.names, cells.axes, strict=True)
        }
    found = {}
    for k, (name, values) in enumerate(
        zip(("latitude", "longitude"), cells.positions, strict=True)
    ):
        # a jump at the dateline is no reach round the globe
        ends = np.sort(values, axis=None) if k == 0 else _span(values)
        found[name] = _described(ends, cells.shape[k], cells.steps[k])
    return found


def _span(longitude: Array) -> Array:
    """Return the first and the last longitude of a curvilinear grid, without a jump."""
    middle = np.degrees(np.angle(np.exp(1j * np.radians(longitude)).sum()))
    turned = wrap_longitude(longitude, middle - 180.0)
    return np.array([turned.min(), turned.max()])


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
        kind = f"{name}s" if name in ("latitude", "longitude") else f"values of {name}"
        parts.append(f"{axis['size']} {kind} from {axis['first']:g} to {axis['last']:g}{step}")
    return ", ".join(parts)


def same_grid(a: Grid, b: Grid) -> bool:
    """Tell whether two grids have the same cells.

    This is the only comparison of cells: fit, predict, scores, baselines, diagnostics and reports
    use it, or `match_cells` behind it.

    Parameters
    ----------
    a, b : DataArray or Dataset
        Any latitude order, longitude convention and dimension names; one- or two-dimensional
        latitude and longitude.

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
    return match_cells(a, b) is not None


def match_cells(a: Grid, b: Grid) -> tuple[Array, Array] | None:
    """Return where the cells of one grid are in another one that has the same cells.

    Parameters
    ----------
    a, b : DataArray or Dataset
        As for `same_grid`.

    Returns
    -------
    (ndarray of int, ndarray of int) or None
        Row and column of `b` for each row and column of `a`; None where the cells differ.
        Latitudes and longitudes of one dimension may stand in any order, and start anywhere on
        the globe; those of two dimensions may be reversed.

    Examples
    --------
    >>> a = xr.DataArray(np.ones((1, 4)), coords={"lat": [0.0], "lon": [0.0, 90.0, 180.0, 270.0]})
    >>> b = xr.DataArray(np.ones((1, 4)), coords={"lat": [0.0], "lon": [-180.0, -90.0, 0.0, 90.0]})
    >>> match_cells(a, b)[1]
    array([2, 3, 0, 1])
    """
    one = centres(a)
    other = centres(b)
    if one[0].ndim == 2 or other[0].ndim == 2:
        return _match_planes(one, other)
    rows = _find(one[0], other[0], cyclic=False)
    columns = _find(one[1], other[1], cyclic=True)
    # and back: a meridian may stand twice in one of them
    back = (_find(other[0], one[0], cyclic=False), _find(other[1], one[1], cyclic=True))
    if any((index < 0).any() for index in (rows, columns, *back)):
        return None
    return rows, columns


def find_cells(a: Grid, b: Grid) -> tuple[Array, Array]:
    """Return where the rows and columns of one grid are in another, -1 where they are not.

    Parameters
    ----------
    a, b : DataArray or Dataset
        In any order and convention.

    Returns
    -------
    (ndarray of int, ndarray of int)
        As of `match_cells`. Where a grid is two-dimensional, -1 for the rows and columns that
        have no cell of the other, and for all where the cells of one row lie in several.

    Examples
    --------
    >>> a = xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [-1.0, 0.0]})
    >>> b = xr.DataArray(np.ones((1, 3)), coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> find_cells(a, b)[1]
    array([-1,  0])
    """
    lat, lon = centres(a)
    lat_other, lon_other = centres(b)
    if lat.ndim == 2 or lat_other.ndim == 2:
        return _find_in_plane(cells_of(a), cells_of(b))
    return _find(lat, lat_other, cyclic=False), _find(lon, lon_other, cyclic=True)


def centres(
    grid: Grid, what: str = "The grid", *, rectilinear: bool = False
) -> tuple[Array, Array]:
    """Return latitude and longitude of the cells, ``(y,)`` and ``(x,)``, or both ``(y, x)``.

    Parameters
    ----------
    grid : DataArray or Dataset
        The grid.
    what : str
        What it is, for the message.
    rectilinear : bool
        Refuse two-dimensional latitude and longitude, as `require_rectilinear` does.

    Examples
    --------
    >>> centres(xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [5.0, 6.0]}))[1]
    array([5., 6.])
    """
    da = grid_template(grid, what)
    axes = require_rectilinear(da, what) if rectilinear else find_axes(da)
    names = (axes.latitude, axes.longitude)
    found = [np.asarray(da.coords[name].values, dtype=np.float64) for name in names]
    return found[0], found[1]


def cell_centres(grid: xr.DataArray) -> tuple[Array, Array]:
    """Return latitude and longitude of every cell, ``(y, x)`` each.

    Parameters
    ----------
    grid : DataArray
        ``(y, x)``.

    Examples
    --------
    >>> cell_centres(xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [5.0, 6.0]}))[0]
    array([[0., 0.]])
    """
    axes = find_axes(grid)
    fields = (grid[name].broadcast_like(grid) for name in (axes.latitude, axes.longitude))
    latitude, longitude = (field.transpose(axes.y, axes.x).values for field in fields)
    return latitude, longitude


def _typical_step(values: Array, *, cyclic: bool) -> float:
    """Return the median distance of neighbouring values, in any order; 1 for a single one."""
    ordered = np.sort(wrap_longitude(values, 0.0) if cyclic else values)
    steps = np.diff(ordered)
    if cyclic and ordered.size == 2:  # two meridians: the shorter way round
        steps = np.minimum(steps, 360.0 - steps)
    steps = steps[steps > SAME_DEGREES]
    return float(np.median(steps)) if steps.size else 1.0


def _tolerance(width: float) -> float:
    """Return a thousandth of a cell, or the rounding of float32 where cells are that small."""
    return max(SAME_CELL * width, min(FLOAT32_DEGREES, width / 10))


def _find(wanted: Array, there: Array, *, cyclic: bool) -> Array:
    """Return the index of the same centre in `there` for each value, -1 where there is none."""
    slack = _tolerance(min(_typical_step(values, cyclic=cyclic) for values in (wanted, there)))
    if cyclic:
        wanted = wrap_longitude(wanted, 0.0)
        there = wrap_longitude(there, 0.0)
    order = np.argsort(there, kind="stable")
    ordered = there[order]
    after = np.searchsorted(ordered, wanted)
    best = np.full(wanted.shape, -1, dtype=np.intp)
    nearest = np.full(wanted.shape, np.inf)
    for place in (after - 1, after):
        here = place % ordered.size if cyclic else np.clip(place, 0, ordered.size - 1)
        apart = np.abs(ordered[here] - wanted)
        apart = np.minimum(apart, 360.0 - apart) if cyclic else apart
        closer = apart < nearest
        best[closer] = order[here[closer]]
        nearest[closer] = apart[closer]
    best[~(nearest <= slack)] = -1
    return best


def _find_in_plane(one: Cells, other: Cells) -> tuple[Array, Array]:
    """Return the rows and columns of a grid in one that is two-dimensional, or is so itself."""
    width = np.nanmin([*one.steps, *other.steps, 360.0])
    slack = np.radians(_tolerance(float(width)))
    chord, nearest = other.tree.query(one.centres.reshape(-1, 3))
    same = (chord <= slack).reshape(one.shape)
    place = np.stack(np.divmod(nearest.reshape(one.shape), other.shape[1]))
    found = []
    for k in (0, 1):
        # the largest of the matched cells of a row; all of them must be in it
        index = np.where(same, place[k], -1).max(axis=1 - k, initial=-1)
        found.append(index.astype(np.intp))
    rows, columns = found
    agree = (place[0] == rows[:, None]) & (place[1] == columns[None, :])
    if not (agree | ~same).all():
        return np.full(one.shape[0], -1), np.full(one.shape[1], -1)
    return rows, columns


def _match_planes(
    one: tuple[Array, Array], other: tuple[Array, Array]
) -> tuple[Array, Array] | None:
    """Match cells where a grid is two-dimensional; rows and columns may be reversed."""
    lat, lon = _plane(one)
    lat_other, lon_other = _plane(other)
    if lat.shape != lat_other.shape or lon.shape != lon_other.shape or lat.shape != lon.shape:
        return None
    slack = _tolerance(_cell_of_plane(lat, lon))
    shrink = np.cos(np.radians(lat))
    rows = np.arange(lat.shape[0])
    columns = np.arange(lat.shape[1])
    for along_y, along_x in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        turned = (slice(None, None, along_y), slice(None, None, along_x))
        north = np.abs(lat_other[turned] - lat)
        east = np.abs(wrap_longitude(lon_other[turned] - lon)) * shrink
        missing = np.isnan(lat + lon) & np.isnan(lat_other[turned] + lon_other[turned])
        if (missing | ((north <= slack) & (east <= slack))).all():
            return rows[::along_y], columns[::along_x]
    return None


def _plane(axes: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return latitude and longitude as ``(y, x)``."""
    lat, lon = axes
    if lat.ndim == 1 and lon.ndim == 1:
        lat, lon = np.meshgrid(lat, lon, indexing="ij")
    return lat, lon


def _cell_of_plane(lat: Array, lon: Array) -> float:
    """Return the degrees along the shorter side of a typical cell."""
    sides = []
    for axis in (0, 1):
        if lat.shape[axis] > 1:
            north = np.diff(lat, axis=axis)
            east = wrap_longitude(np.diff(lon, axis=axis))
            middle = np.take(lat, range(lat.shape[axis] - 1), axis=axis)
            sides.append(np.nanmedian(np.hypot(north, east * np.cos(np.radians(middle)))))
    return float(min(sides, default=1.0))
