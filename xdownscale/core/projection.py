"""Map projections of grids: found by CF grid mappings and CRS attributes, through pyproj."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import DataError, GridError
from xdownscale.core.quantities import as_plain
from xdownscale.core.units import units_of

Array = npt.NDArray[Any]
GridT = TypeVar("GridT", xr.DataArray, xr.Dataset)

_STANDARD = {
    "y": ("projection_y_coordinate", "grid_latitude"),
    "x": ("projection_x_coordinate", "grid_longitude"),
}
_NAMES = {
    "y": re.compile(r"^(y|yc|rlat|northings?|y_coordinate|projection_y_coordinate)$", re.I),
    "x": re.compile(r"^(x|xc|rlon|eastings?|x_coordinate|projection_x_coordinate)$", re.I),
}
_UNITS = (  # of a coordinate: what it measures, and how many metres or degrees it is
    ("length", 1.0, ("m", "metre", "metres", "meter", "meters")),
    ("length", 1000.0, ("km", "kilometre", "kilometres", "kilometer", "kilometers")),
    ("angle", 1.0, ("degree", "degrees", "deg", "degrees_north", "degrees_east")),
)
_TEXTS = ("crs_wkt", "spatial_ref", "proj:code", "proj:wkt2", "proj:projjson", "crs", "proj4")
_AGREE = 0.1  # share of a cell by which stored positions may differ from those of the projection
_SMALLEST = 1e-4  # degrees that stored positions may be off in any case


class _Mapping(NamedTuple):
    """Where a coordinate reference system was found, and what stands there."""

    label: str
    content: Mapping[str, Any] | str
    variable: str | None


@dataclass(frozen=True)
class Projection:
    """A coordinate reference system in which a grid is rectilinear.

    Attributes
    ----------
    crs : pyproj.CRS
        Projected, or geographic with a rotated pole.
    label : str
        Where it was found, for messages.
    variable : str or None
        Name of the grid mapping variable, None where an attribute gave it.
    y, x : str
        Names of the one-dimensional coordinates.
    scale : float
        Units of `crs` in one unit of the coordinates, 1000 for km where `crs` is in metres.
    rotated : bool
        True where the coordinates are degrees of a rotated pole.
    """

    crs: Any
    label: str
    variable: str | None
    y: str
    x: str
    scale: float
    rotated: bool

    @property
    def kilometres(self) -> float:
        """Kilometres in one unit of the coordinates, where they are lengths."""
        return self.scale * float(self.crs.axis_info[0].unit_conversion_factor or 1.0) / 1000

    def positions(self, y: Array, x: Array) -> tuple[Array, Array]:
        """Return latitude and longitude (WGS84 degrees) of coordinates, NaN where there are none.

        Parameters
        ----------
        y, x : array
            Coordinates in their own units, broadcast against each other.

        Returns
        -------
        (ndarray, ndarray)
        """
        longitude, latitude = self._move(x * self.scale, y * self.scale, "INVERSE")
        return latitude, longitude

    def plane(self, latitude: Array, longitude: Array) -> tuple[Array, Array]:
        """Return the coordinates of positions, in their own units; NaN where there are none.

        Parameters
        ----------
        latitude, longitude : array
            Degrees, broadcast against each other.

        Returns
        -------
        (ndarray, ndarray)
            y, x.
        """
        x, y = self._move(longitude, latitude, "FORWARD")
        return y / self.scale, x / self.scale

    def _move(self, x: Array, y: Array, direction: str) -> tuple[Array, Array]:
        points = (np.asarray(v, dtype=np.float64) for v in (x, y))
        spread = np.broadcast_arrays(*points)
        shape = spread[0].shape
        moved = _transformer(self.crs).transform(*(v.ravel() for v in spread), direction=direction)
        found = [np.reshape(v, shape) for v in moved]
        bad = ~(np.isfinite(found[0]) & np.isfinite(found[1]))
        one, other = (np.where(bad, np.nan, v) for v in found)
        return one, other


def find_projection(grid: xr.DataArray | xr.Dataset, what: str = "The grid") -> Projection | None:
    """Return the projection in which a grid is rectilinear.

    Parameters
    ----------
    grid : DataArray or Dataset
        With one-dimensional ``y`` and ``x`` (or ``rlat`` and ``rlon``) and a coordinate reference
        system: a CF ``grid_mapping`` variable, a scalar coordinate such as ``spatial_ref``, or one
        of the attributes ``crs_wkt``, ``proj:code``, ``proj:wkt2``, ``proj:projjson``, ``crs``.
    what : str
        What it is, for messages.

    Returns
    -------
    Projection or None
        None for a grid in degrees, and for one whose only positions are two-dimensional.

    Raises
    ------
    GridError
        If the grid mapping is unknown, incomplete or missing where it is needed, if units are
        neither lengths nor degrees as the projection has them, if cells lie outside the domain of
        the projection, or if two-dimensional latitude and longitude contradict it.

    Examples
    --------
    >>> da = xr.DataArray(
    ...     np.ones((2, 2)), coords={"y": [0.0, 3e6], "x": [0.0, 1e5]}, dims=("y", "x")
    ... )
    >>> found = find_projection(da.assign_attrs({"proj:code": "EPSG:3857"}))
    >>> float(found.positions(np.array(0.0), np.array(111319.49))[1].round(3))
    1.0
    >>> find_projection(da) is None
    True
    """
    pair = plane_coordinates(grid)
    if pair is None:  # most grids: nothing more is looked for
        return None
    true = true_coordinates(grid)
    if true is not None and all(grid[name].ndim == 1 for name in true):
        return None
    mapping = _mapping(grid, what, needed=true is None)
    if mapping is None:
        return None
    crs = _crs(mapping, what)
    if crs.is_geographic and not crs.is_derived:
        return None
    label = mapping.label
    variable = mapping.variable
    rotated = bool(crs.is_geographic)
    scale = _scale(grid, pair, crs, what, rotated)
    found = Projection(crs, label, variable, *pair, scale, rotated)
    _check_positions(grid, found, true, what)
    return found


def true_coordinates(grid: xr.DataArray | xr.Dataset) -> tuple[str, str] | None:
    """Return the names of latitude and longitude, None where a grid has none.

    Examples
    --------
    >>> true_coordinates(xr.DataArray(np.ones((1, 1)), coords={"lat": [0.0], "lon": [1.0]}))
    ('lat', 'lon')
    """
    arrays = [grid] if isinstance(grid, xr.DataArray) else [*grid.data_vars.values()]
    if isinstance(grid, xr.Dataset):
        sizes = {str(d): n for d, n in grid.sizes.items()}
        empty = np.broadcast_to(np.nan, tuple(sizes.values()))
        arrays.append(xr.DataArray(empty, dims=tuple(sizes), coords=grid.coords))
    for da in arrays:
        try:
            axes = find_axes(da)
        except GridError:
            continue
        return axes.latitude, axes.longitude
    return None


def plane_coordinates(grid: xr.DataArray | xr.Dataset) -> tuple[str, str] | None:
    """Return the names of one-dimensional projected coordinates (y, x), None where there are none.

    Parameters
    ----------
    grid : DataArray or Dataset
        Dimension coordinates count, by their standard names, else names, else the attribute
        ``axis``.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((1, 2)), coords={"rlat": [0.0], "rlon": [0.0, 1.0]})
    >>> plane_coordinates(da)
    ('rlat', 'rlon')
    """
    found = []
    for axis in ("y", "x"):
        name = _plane_coordinate(grid, axis)
        if name is None:
            return None
        found.append(name)
    return found[0], found[1]


def _plane_coordinate(grid: xr.DataArray | xr.Dataset, axis: str) -> str | None:
    lines = [str(d) for d in grid.dims if d in grid.coords and grid[d].dtype.kind in "iuf"]
    tests: tuple[Callable[[str], bool], ...] = (
        lambda name: grid[name].attrs.get("standard_name") in _STANDARD[axis],
        lambda name: bool(_NAMES[axis].match(name)),
        lambda name: str(grid[name].attrs.get("axis", "")).lower() == axis,
    )
    for test in tests:
        named = [name for name in lines if test(name)]
        if named:
            return named[0]
    return None


def mapping_variable(grid: xr.DataArray | xr.Dataset) -> xr.DataArray | None:
    """Return the grid mapping variable that a grid bears, None where it bears none.

    Examples
    --------
    >>> ds = xr.Dataset({"t": ("x", [1.0], {"grid_mapping": "crs"}), "crs": 0})
    >>> mapping_variable(ds).name
    'crs'
    """
    for name in (*_named_mappings(grid), *map(str, grid.coords), *_variables(grid)):
        there = grid.coords if isinstance(grid, xr.DataArray) else grid.variables
        if name in there and (name in _named_mappings(grid) or is_mapping(grid[name])):
            return grid[name]
    return None


def _variables(grid: xr.DataArray | xr.Dataset) -> list[str]:
    return [] if isinstance(grid, xr.DataArray) else [str(name) for name in grid.data_vars]


def with_mapping(da: xr.DataArray, ds: xr.Dataset) -> xr.DataArray:
    """Return a variable of a Dataset with its grid mapping, which xarray leaves behind.

    Parameters
    ----------
    da : DataArray
        With latitude and longitude.
    ds : Dataset
        That it is from.

    Returns
    -------
    DataArray
        With the grid mapping variable as a scalar coordinate, where there is one and the grid is
        projected; its attributes where they tell the projection.

    Examples
    --------
    >>> ds = xr.Dataset(
    ...     {"t": (("y", "x"), np.ones((1, 1))), "crs": ((), 0, {"grid_mapping_name": "mercator"})},
    ...     coords={"y": [0.0], "x": [0.0]},
    ... )
    >>> list(with_mapping(ds.t, ds).coords)
    ['y', 'x', 'crs']
    """
    if plane_coordinates(da) is None:
        return da
    mapping = mapping_variable(ds)
    if mapping is not None:
        return da.assign_coords({str(mapping.name): mapping.variable})
    told = {key: ds.attrs[key] for key in _TEXTS if key in ds.attrs}
    return da.assign_attrs({**told, **da.attrs}) if told else da


def without_mapping(found: GridT, ds: xr.Dataset) -> GridT:
    """Return a result without the grid mapping of `with_mapping`.

    Examples
    --------
    >>> ds = xr.Dataset({"crs": ((), 0, {"grid_mapping_name": "mercator"})})
    >>> list(without_mapping(xr.Dataset(coords={"crs": 0}), ds).coords)
    []
    """
    mapping = mapping_variable(ds)
    return found if mapping is None else found.drop_vars(str(mapping.name), errors="ignore")


def is_mapping(da: xr.DataArray) -> bool:
    """Tell whether a scalar variable describes a coordinate reference system, as CF has it.

    Examples
    --------
    >>> is_mapping(xr.DataArray(0, attrs={"grid_mapping_name": "mercator"}))
    True
    """
    keys = ("grid_mapping_name", "crs_wkt", "spatial_ref")
    return not da.ndim and any(key in da.attrs for key in keys)


def _named_mappings(grid: xr.DataArray | xr.Dataset) -> list[str]:
    """Return the variables that attributes ``grid_mapping`` name."""
    arrays = [grid] if isinstance(grid, xr.DataArray) else [*grid.data_vars.values()]
    texts = (da.attrs.get("grid_mapping", da.encoding.get("grid_mapping")) for da in arrays)
    # the extended form is "crs: x y other: lat lon"
    split = (str(text).split() for text in texts if text)
    names = [[w[:-1] for w in words if w.endswith(":")] or words[:1] for words in split]
    return list(dict.fromkeys(name for group in names for name in group))


def _mapping(grid: xr.DataArray | xr.Dataset, what: str, needed: bool) -> _Mapping | None:
    """Return where the coordinate reference system is told, None where nothing tells it."""
    variable = mapping_variable(grid)
    if variable is not None:
        text = next((variable.attrs[k] for k in _TEXTS if variable.attrs.get(k)), None)
        name = str(variable.name)
        content = variable.attrs if text is None else _whole(text)
        return _Mapping(f"grid mapping {name!r}", content, name)
    for place, attrs in _attributes(grid):
        for key in _TEXTS:
            if attrs.get(key):
                return _Mapping(f"attribute {key!r} of {place}", _whole(attrs[key]), None)
    named = _named_mappings(grid)
    if named and needed:
        raise GridError(
            f"{what} names the grid mapping {named[0]!r}, and has neither that variable nor "
            "latitude and longitude. A variable that is taken out of its Dataset leaves it behind: "
            f"give the Dataset, or ds.set_coords({named[0]!r})[...]."
        )
    return None


def _attributes(grid: xr.DataArray | xr.Dataset) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    yield ("the array" if isinstance(grid, xr.DataArray) else "the Dataset"), grid.attrs
    if isinstance(grid, xr.Dataset):
        for name, da in grid.data_vars.items():
            yield f"variable {name!r}", da.attrs
    for name in plane_coordinates(grid) or ():
        yield f"coordinate {name!r}", grid[name].attrs


def _whole(text: Any) -> Any:
    """Return what an attribute says of a CRS, as pyproj reads it."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    return int(text) if isinstance(text, np.integer) else text


def _crs(mapping: _Mapping, what: str) -> Any:
    """Return the pyproj CRS; raise where it is none, or one of other things."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        if isinstance(mapping.content, Mapping) and mapping.variable is not None:
            crs = _from_cf(json.dumps(_plain(mapping.content), sort_keys=True, default=str))
        else:
            crs = CRS.from_user_input(mapping.content)
    except (CRSError, KeyError, TypeError, ValueError) as err:
        missing = f"the parameter {err} is missing" if isinstance(err, KeyError) else str(err)
        raise GridError(
            f"{what} has the {mapping.label}, which is no coordinate reference system that pyproj "
            f"knows: {missing}. Correct it; allowed are the grid mappings of CF (Appendix F), WKT "
            "and codes such as 'EPSG:3035'. Where latitude and longitude are there, drop it."
        ) from err
    if not (crs.is_projected or crs.is_geographic):
        raise GridError(
            f"{what} has the {mapping.label}, which is {crs.name!r}, of type {crs.type_name}. "
            "Give a projected or a geographic coordinate reference system."
        )
    return crs


@lru_cache(maxsize=64)
def _from_cf(attrs: str) -> Any:
    """Return the CRS of a grid mapping; pyproj looks for the name of a sphere for half a second."""
    from pyproj import CRS

    return CRS.from_cf(json.loads(attrs))


@lru_cache(maxsize=64)
def _transformer(crs: Any) -> Any:
    from pyproj import CRS, Transformer  # late: half as heavy as xarray

    return Transformer.from_crs(CRS.from_epsg(4326), crs, always_xy=True)


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes of a grid mapping as numbers, lists and texts, as pyproj wants them."""
    plain: dict[str, Any] = {}
    for key, value in attrs.items():
        values = np.asarray(value)
        if values.dtype.kind in "iuf":
            listed = [float(v) for v in values.ravel()]
            plain[key] = listed[0] if len(listed) == 1 else listed
        else:
            plain[key] = _whole(value)
    return plain


def _scale(
    grid: xr.DataArray | xr.Dataset, pair: tuple[str, str], crs: Any, what: str, rotated: bool
) -> float:
    """Return how many units of the CRS one unit of the coordinates is."""
    factors = []
    wanted = "angle" if rotated else "length"
    own = 1.0 if rotated else float(crs.axis_info[0].unit_conversion_factor or 1.0)
    for name in pair:
        units = units_of(grid[name])
        if not units:
            factors.append(1.0)
            continue
        known = [(kind, size) for kind, size, names in _UNITS if units.lower() in names]
        if not known or known[0][0] != wanted:
            allowed = "degrees" if rotated else "'m' or 'km'"
            raise GridError(
                f"{what} has {name!r} in {units!r}, and a projection whose coordinates are "
                f"{'angles' if rotated else 'lengths'}. Allowed are {allowed}: convert {name!r}, "
                "or correct its attribute units."
            )
        factors.append(known[0][1] / own)
    if factors[0] != factors[1]:
        raise GridError(
            f"{what} has {pair[0]!r} in {units_of(grid[pair[0]])!r} and {pair[1]!r} in "
            f"{units_of(grid[pair[1]])!r}; give both in the same units."
        )
    return factors[0]


def _check_positions(
    grid: xr.DataArray | xr.Dataset,
    projection: Projection,
    true: tuple[str, str] | None,
    what: str,
) -> None:
    """Raise for coordinates without a position, and for stored positions that contradict."""
    y, x = (
        np.asarray(grid[name].values, dtype=np.float64) for name in (projection.y, projection.x)
    )
    for name, values in ((projection.y, y), (projection.x, x)):
        if not values.size or not np.isfinite(values).all():
            raise GridError(
                f"{what} has {values.size} values of {name!r}, "
                f"{np.count_nonzero(~np.isfinite(values))} of them not finite. Give one finite "
                "value or more."
            )
    latitude, longitude = projection.positions(y[:, None], x[None, :])
    if np.isnan(latitude).any():
        raise GridError(
            f"{what} has {projection.y!r} from {y.min():g} to {y.max():g} and {projection.x!r} "
            f"from {x.min():g} to {x.max():g}; {np.isnan(latitude).sum()} of its cells lie outside "
            f"the domain of the {projection.label}. Check the units of {projection.y!r} and "
            f"{projection.x!r} ('m' or 'km') and the {projection.label}."
        )
    if true is not None:
        _check_agreement(grid, projection, true, (latitude, longitude), what)


def _check_agreement(
    grid: xr.DataArray | xr.Dataset,
    projection: Projection,
    true: tuple[str, str],
    computed: tuple[Array, Array],
    what: str,
) -> None:
    order = (projection.y, projection.x)
    if set(grid[true[0]].dims) != set(order):
        return
    stored = [np.asarray(grid[name].transpose(*order).values, np.float64) for name in true]
    latitude, longitude = computed
    shrink = np.cos(np.radians(latitude))
    north = stored[0] - latitude
    east = ((stored[1] - longitude + 180) % 360 - 180) * shrink
    apart = np.hypot(north, east)
    off = float(np.nanmax(apart, initial=0.0))
    if off > max(_AGREE * _cell(latitude, longitude, shrink), _SMALLEST):
        raise GridError(
            f"{what} has positions {true[0]!r} and {true[1]!r} that contradict its coordinates "
            f"{projection.y!r} and {projection.x!r} under the {projection.label}: they are up to "
            f"{off:.3g} degrees apart. Correct the {projection.label} (its earth_radius, its "
            f"parameters) or the units of {projection.y!r} and {projection.x!r}; or drop what is "
            f"wrong: ds.drop_vars([{true[0]!r}, {true[1]!r}]), or "
            f"ds.drop_vars([{projection.y!r}, {projection.x!r}])."
        )


def _cell(latitude: Array, longitude: Array, shrink: Array) -> float:
    """Return the degrees along the shorter side of a typical cell."""
    sides = [180.0]
    for axis in (0, 1):
        if latitude.shape[axis] > 1:
            east = (np.diff(longitude, axis=axis) + 180) % 360 - 180
            east = east * np.take(shrink, range(latitude.shape[axis] - 1), axis=axis)
            sides.append(float(np.median(np.hypot(np.diff(latitude, axis=axis), east))))
    return min(sides)


def with_positions(grid: GridT, what: str = "The grid") -> GridT:
    """Add two-dimensional latitude and longitude to a grid that has projected coordinates only.

    Parameters
    ----------
    grid : DataArray or Dataset
        As for `find_projection`.
    what : str
        What it is, for messages.

    Returns
    -------
    DataArray or Dataset
        With the coordinates ``lat`` and ``lon`` (``latitude`` and ``longitude`` where those names
        are taken), in degrees; as it was where it has latitude and longitude, or no projection.

    Raises
    ------
    GridError
        As `find_projection`.

    Examples
    --------
    >>> da = xr.DataArray(
    ...     np.ones((1, 2)), coords={"y": [0.0], "x": [0.0, 222638.98]}, dims=("y", "x")
    ... )
    >>> with_positions(da.assign_attrs({"proj:code": "EPSG:3857"})).lon.values.round(3)
    array([[0., 2.]])
    """
    if not isinstance(grid, xr.DataArray | xr.Dataset):
        raise DataError(
            f"{what} is a {type(grid).__name__}; give a DataArray or Dataset, with coordinates."
        )
    grid = as_plain(grid)
    if plane_coordinates(grid) is None or true_coordinates(grid) is not None:
        return grid
    projection = find_projection(grid, what)
    if projection is None:
        return grid
    y, x = (np.asarray(grid[name].values, np.float64) for name in (projection.y, projection.x))
    positions = projection.positions(y[:, None], x[None, :])
    taken = {*map(str, grid.dims), *map(str, grid.coords), *_variables(grid)}
    for names in (("lat", "lon"), ("latitude", "longitude")):
        if not taken & set(names):
            break
    dims = (projection.y, projection.x)
    coords = {
        name: (dims, values, {"standard_name": word, "units": f"degrees_{compass}"})
        for name, values, word, compass in zip(
            names, positions, ("latitude", "longitude"), ("north", "east"), strict=True
        )
    }
    return grid.assign_coords(coords)
