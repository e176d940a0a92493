"""Convert between labelled arrays and plain arrays: the only place that does so.

Labelled arrays have named dimensions in any order. Plain arrays have the axes
``(..., time, y, x)``, with latitude and longitude ascending.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xdownscale.core.errors import DataError, GridError, TimeAxisError
from xdownscale.core.quantities import as_plain
from xdownscale.core.units import same_units, units_of

_NAMES = {
    "latitude": re.compile(r"^(lat|nav_lat|ylat)", re.IGNORECASE),
    "longitude": re.compile(r"^(lon|nav_lon|xlon)", re.IGNORECASE),
    "time": re.compile(r"^(time|date|day|valid_time)", re.IGNORECASE),
}
_OTHER = {
    "latitude": ("grid_latitude", "projection_y_coordinate"),
    "longitude": ("grid_longitude", "projection_x_coordinate"),
    "time": ("forecast_reference_time", "forecast_period"),
}
_ROTATED = ("rlat", "rlon")  # degrees from a rotated pole
_NAMING = ("bounds", "climatology", "grid_mapping", "cell_measures")
_BOUNDS = ("_bnds", "_bounds", "_bound")
_COMPASS = {"latitude": "north", "longitude": "east"}
_DEGREES = (None, "", "degrees_north", "degrees_east", "degrees", "degree")  # no need for pint


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Which dimensions of an array are time, y and x.

    Attributes
    ----------
    time : str or None
        Time dimension; None where the array has none.
    y, x : str
        Dimensions that run along latitude and longitude.
    latitude, longitude : str
        Coordinates that hold the degrees. They equal `y` and `x` on a rectilinear grid and are
        two-dimensional on a curvilinear one.
    """

    time: str | None
    y: str
    x: str
    latitude: str
    longitude: str

    @property
    def rectilinear(self) -> bool:
        """True where latitude and longitude are one-dimensional."""
        return self.y == self.latitude and self.x == self.longitude


class Labels(NamedTuple):
    """Labels of an array: what `to_array` removes and `from_array` restores.

    Attributes
    ----------
    axes : Axes
        Which dimensions are which.
    dims : tuple of str
        Dimensions in the order of the labelled array.
    coords : xarray.Dataset
        Every coordinate, with its attributes.
    name : hashable or None
        Name of the array.
    attrs : dict
        Attributes of the array.
    """

    axes: Axes
    dims: tuple[Hashable, ...]
    coords: xr.Dataset
    name: Hashable | None
    attrs: dict[str, Any]

    @property
    def order(self) -> tuple[Hashable, ...]:
        """Dimensions in the order of the plain array."""
        last = [d for d in (self.axes.time, self.axes.y, self.axes.x) if d is not None]
        return (*[d for d in self.dims if d not in last], *last)

    def flips(self) -> tuple[slice, ...]:
        """Return slices that sort latitude and longitude in ascending order (their own inverse)."""
        return tuple(
            slice(None, None, -1) if self.descends(dim) else slice(None) for dim in self.order
        )

    def with_time(self, time: xr.DataArray) -> Labels:
        """Return the labels with other times; coordinates along the old time axis are dropped.

        Parameters
        ----------
        time : DataArray
            One-dimensional time coordinate.

        Returns
        -------
        Labels
        """
        name = self.axes.time
        if name is None:
            raise TimeAxisError(
                "These labels have no time axis to replace; take them from an array that has one."
            )
        old = self.coords.get(name, None)
        kept = self.coords.drop_dims(name, errors="ignore")
        attrs = dict(time.attrs) if old is None or not old.attrs else dict(old.attrs)
        coordinate = xr.DataArray(time.values, dims=(name,), attrs=attrs)
        return self._replace(coords=kept.assign_coords({name: coordinate}))

    def with_leading(self, dim: str, values: xr.DataArray) -> Labels:
        """Return the labels with an additional leading dimension.

        Parameters
        ----------
        dim : str
            Name of the new dimension.
        values : DataArray
            Its coordinate.

        Returns
        -------
        Labels
        """
        if dim in self.dims:
            raise GridError(f"Dimension {dim!r} is there already in {self.dims}; rename it first.")
        coords = self.coords.assign_coords({dim: xr.DataArray(values, dims=(dim,))})
        return self._replace(dims=(dim, *self.dims), coords=coords)

    def descends(self, dim: Hashable) -> bool:
        """Tell whether latitude or longitude descends along `dim`.

        Longitudes that jump from 360 to 0 (or 180 to -180) eastwards still ascend.
        """
        if not self.axes.rectilinear or dim not in (self.axes.y, self.axes.x):
            return False
        values = np.asarray(self.coords[dim].values, float)
        steps = np.diff(values)
        if dim == self.axes.x:
            steps = (steps + 180) % 360 - 180
        return steps.size > 0 and bool(np.median(steps) < 0)


class Unlabelled(NamedTuple):
    """A plain array and the labels that it had.

    Attributes
    ----------
    array : array
        ``(..., time, y, x)``; numpy or dask, as the input was.
    labels : Labels
        Labels that `from_array` restores.
    """

    array: Any
    labels: Labels


def to_array(da: xr.DataArray) -> Unlabelled:
    """Convert a labelled array to a plain array and its labels.

    Parameters
    ----------
    da : DataArray
        Any array with latitude and longitude; dims in any order, lazy or not.

    Returns
    -------
    Unlabelled
        ``array`` with axes ``(..., time, y, x)``, latitude and longitude ascending, and
        ``labels``. Nothing is copied or computed.

    Raises
    ------
    GridError
        If latitude and longitude cannot be found.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> da = xr.DataArray(
    ...     np.arange(6.0).reshape(3, 2),
    ...     dims=("lon", "lat"),
    ...     coords={"lat": [20.0, 10.0], "lon": [0.0, 1.0, 2.0]},
    ... )
    >>> array, labels = to_array(da)
    >>> array
    array([[1., 3., 5.],
           [0., 2., 4.]])
    >>> from_array(array, labels).identical(da)
    True
    """
    da = as_plain(da)
    axes = find_axes(da)
    labels = Labels(axes, da.dims, da.coords.to_dataset(), da.name, dict(da.attrs))
    array = da.variable.transpose(*labels.order).data[labels.flips()]
    return Unlabelled(array, labels)


def from_array(array: Any, labels: Labels | None = None) -> xr.DataArray:
    """Convert a plain array to a labelled array.

    Parameters
    ----------
    array : array or Unlabelled
        Axes ``(..., time, y, x)`` as `to_array` returned them, or the result of `to_array`
        itself.
    labels : Labels, optional
        The labels; not needed with an `Unlabelled`.

    Returns
    -------
    DataArray
        In the dimension order and orientation of the array that the labels came from.

    Raises
    ------
    GridError
        If the shape is not that of the labels.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> da = xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> from_array(to_array(da)).identical(da)
    True
    """
    if isinstance(array, Unlabelled):
        labels = labels or array.labels
        array = array.array
    if labels is None:
        raise GridError("from_array needs the labels that to_array returned beside the array.")
    sizes = labels.coords.sizes
    wanted = tuple(sizes.get(dim) for dim in labels.order)
    if array.ndim != len(wanted) or any(
        n not in (None, m) for n, m in zip(wanted, array.shape, strict=True)
    ):
        raise GridError(
            f"An array of shape {array.shape} cannot have the dimensions {labels.order} of sizes "
            f"{wanted}; give the shape that to_array returned, or change the labels first."
        )
    variable = xr.Variable(labels.order, array[labels.flips()]).transpose(*labels.dims)
    da = xr.DataArray(
        variable.data, coords=labels.coords.coords, dims=labels.dims, attrs=labels.attrs
    )
    # not name=: where it is None, xarray takes the name of the dask graph instead
    da.name = labels.name
    return da


def find_axes(da: xr.DataArray) -> Axes:
    """Find the time, latitude and longitude axes by CF attributes, else by name.

    Parameters
    ----------
    da : DataArray
        The array.

    Returns
    -------
    Axes

    Raises
    ------
    GridError
        If latitude or longitude is not found, or the two do not span two dimensions.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> da = xr.DataArray(np.ones((1, 2)), coords={"latitude": [0.0], "longitude": [0.0, 1.0]})
    >>> find_axes(da).y
    'latitude'
    """
    require_array(da)
    known = _cf_names(da)
    latitude = _coordinate(da, "latitude", known)
    longitude = _coordinate(da, "longitude", known)
    time = _time_of(da, known)
    dims = da.coords[latitude].dims
    if da.coords[latitude].ndim == 1 and da.coords[longitude].ndim == 1:
        y = str(dims[0])
        x = str(da.coords[longitude].dims[0])
    else:
        y, x = _curvilinear_dims(da, latitude, longitude)
    if y == x:
        raise GridError(
            f"Latitude {latitude!r} and longitude {longitude!r} share the dimension {y!r}: these "
            "are points, not a grid. Give an array with two horizontal dimensions."
        )
    return Axes(time=time, y=y, x=x, latitude=latitude, longitude=longitude)


def auxiliary(ds: xr.Dataset) -> set[str]:
    """Return the variables of a Dataset that describe others: bounds, grid mappings, cell areas.

    Parameters
    ----------
    ds : Dataset
        With the attributes that CF names such variables by.

    Returns
    -------
    set of str
        Variables that an attribute of another one names (``bounds``, ``climatology``,
        ``grid_mapping``, ``cell_measures``), grid mappings, variables that are bounds by their
        name and last dimension, single values (a ``crs`` that no attribute names), and texts.

    Examples
    --------
    >>> ds = xr.Dataset({"t": ("x", [1.0], {"grid_mapping": "crs"}), "crs": 0})
    >>> auxiliary(ds)
    {'crs'}
    """
    named: set[str] = set()
    for variable in ds.variables.values():
        for key in _NAMING:
            text = variable.attrs.get(key, variable.encoding.get(key, ""))
            named |= {word for word in str(text).split() if not word.endswith(":")}
    own = {
        str(name)
        for name, da in ds.data_vars.items()
        if not da.ndim
        or da.dtype.kind in "SU"
        or "grid_mapping_name" in da.attrs
        or _are_bounds(str(name), da)
    }
    return own | (named & {str(name) for name in ds.data_vars})


def _are_bounds(name: str, da: xr.DataArray) -> bool:
    """Tell whether a variable is the bounds of a coordinate, by its name and its last dimension."""
    if not da.ndim or da.sizes[da.dims[-1]] not in (2, 4) or da.dims[-1] in da.coords:
        return False
    return name.endswith(_BOUNDS)


def require_array(da: object, what: str = "The field") -> None:
    """Raise `DataError` unless the value is a DataArray.

    Parameters
    ----------
    da : object
        What was given.
    what : str
        What it should be, for the message.
    """
    if not isinstance(da, xr.DataArray):
        raise DataError(
            f"{what} is a {type(da).__name__}; give an xarray.DataArray, with coordinates."
        )


def require_time(da: xr.DataArray, what: str) -> str:
    """Return the name of the time dimension; raise if there is none.

    Parameters
    ----------
    da : DataArray
        The array.
    what : str
        What the array is, for the message.

    Returns
    -------
    str

    Raises
    ------
    TimeAxisError
        If the array has no time dimension.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> time = pd.date_range("2000-01-01", periods=2)
    >>> da = xr.DataArray(np.ones((2, 1, 1)), coords={"time": time, "lat": [0.0], "lon": [0.0]})
    >>> require_time(da, "The fine record")
    'time'
    """
    name = find_time(da)
    if name is None:
        check_dates_named(da, what)
        raise TimeAxisError(
            f"{what} has no time dimension (dims: {tuple(da.dims)}). Name it 'time', or give its "
            "coordinate the attribute standard_name='time'."
        )
    return name


def check_dates_named(da: xr.DataArray, what: str) -> None:
    """Raise where time steps have no dates that they could be matched by.

    Such a dimension would be taken for one of another kind, and records paired by position.

    Parameters
    ----------
    da : DataArray
        The array to look at.
    what : str
        What the array is, for the message.

    Raises
    ------
    TimeAxisError
        If a coordinate of dates stands beside a dimension of another name, or a dimension is
        called time and has no coordinate.

    Examples
    --------
    >>> check_dates_named(xr.DataArray([1.0], dims="realization"), "The truth")
    """
    if find_time(da) is not None:
        return
    for name, values in da.coords.items():
        if values.ndim == 1 and name not in da.dims and _is_time(values):
            dim = values.dims[0]
            raise TimeAxisError(
                f"{what} has its times in {name!r}, beside its dimension {dim!r}. Make them the "
                f"coordinate of the dimension, with .swap_dims({{{dim!r}: {name!r}}})."
            )
    for dim in da.dims:
        if _NAMES["time"].match(str(dim)) and dim not in da.coords:
            raise TimeAxisError(
                f"{what} has a time dimension {dim!r} without dates. Give it some, with "
                f".assign_coords({dim}=...)."
            )


def _coordinate(da: xr.DataArray, kind: str, known: _CfNames) -> str:
    """Return the name of the latitude or longitude coordinate, a dimension coordinate if any."""
    found = _candidates(da, kind, known)
    if not found:
        raise GridError(
            f"No {kind} found in {da.name or 'the array'} with coordinates {list(da.coords)}. "
            f"Looked for standard_name={kind!r}, units of degrees, and names like "
            f"{kind[:3]!r} or {kind!r}; rename the coordinate or set its standard_name. Where the "
            "grid has projected coordinates and a grid mapping, xdownscale.grids.with_positions "
            "adds both."
        )
    name = min(found, key=lambda name: _rank(da, kind, name))
    _check_degrees(da.coords[name], kind)
    return name


def _rank(da: xr.DataArray, kind: str, name: str) -> tuple[bool, bool, int]:
    """Return how far a coordinate is from being the latitude or longitude: smallest is best.

    Rotated and projected coordinates have units of degrees too; a name or standard name tells
    which coordinate is the true one.
    """
    coord = da.coords[name]
    named = coord.attrs.get("standard_name") == kind or bool(_NAMES[kind].match(name))
    return not named, name not in da.dims, coord.ndim


def _check_degrees(coord: xr.DataArray, kind: str) -> None:
    """Raise unless latitude or longitude is in degrees, or does not say what it is in."""
    found = units_of(coord)
    if found in _DEGREES or same_units(str(found).lower(), "degree"):
        return
    remedy = f"Convert it, and set its attribute units to 'degrees_{_COMPASS[kind]}'"
    if same_units(found, "radian"):
        remedy = f"Convert it, with .assign_coords({coord.name}=np.rad2deg(da[{coord.name!r}]))"
    raise GridError(
        f"The {kind} {coord.name!r} is in {found!r}, not in degrees. {remedy}, or drop the "
        "attribute where it is wrong."
    )


class _CfNames(NamedTuple):
    """What the attributes of an array say of its coordinates."""

    coordinates: dict[str, list[Hashable]]
    standard_names: dict[str, list[Hashable]]
    axes: dict[str, list[Hashable]]


_KNOWN: dict[Hashable, _CfNames] = {}  # by all that the names depend on
_MOST_KNOWN = 512


def _cf_names(da: xr.DataArray) -> _CfNames:
    """Return what cf_xarray finds; a millisecond, so it is kept for arrays with such labels."""
    key = (
        tuple(
            (name, variable.dims, repr(variable.attrs), str(getattr(variable._data, "units", "")))
            for name, variable in da.coords.variables.items()
        ),
        repr(
            [da.attrs.get("coordinates"), da.encoding.get("coordinates"), da.attrs.get("cf_role")]
        ),
        tuple(da.xindexes),
    )
    known = _KNOWN.get(key)
    if known is None:
        import cf_xarray  # noqa: F401  (late: half of the import time)

        known = _CfNames(da.cf.coordinates, da.cf.standard_names, da.cf.axes)
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = known
    return known


def _candidates(da: xr.DataArray, kind: str, known: _CfNames) -> list[str]:
    listed = [*known.coordinates.get(kind, []), *known.standard_names.get(kind, [])]
    if kind == "time":
        listed += known.axes.get("T", [])
    named: list[Hashable] = [n for n in da.coords if _NAMES[kind].match(str(n))]
    listed = [n for n in listed if n in da.coords and not _is_other(da.coords[n], kind)]
    good = listed or [n for n in named if not _is_other(da.coords[n], kind)]
    return [str(n) for n in dict.fromkeys(good) if 1 <= da.coords[n].ndim <= 2]


def _is_other(coord: xr.DataArray, kind: str) -> bool:
    """Tell whether a coordinate says that it is another thing, such as a rotated latitude."""
    if coord.name in _ROTATED:
        return True
    return coord.attrs.get("standard_name", kind) in _OTHER[kind]


def find_time(da: xr.DataArray) -> str | None:
    """Return the name of the time dimension, or None.

    Of several dimensions with dates (of a forecast: its reference time and its valid time) the one
    with ``standard_name="time"`` is meant, else the one that is called time.

    Raises
    ------
    TimeAxisError
        If several dimensions have dates and nothing tells which is meant, or another coordinate
        has the standard name and other times.

    Examples
    --------
    >>> import xarray as xr
    >>> find_time(xr.DataArray([1.0, 2.0], dims="x")) is None
    True
    """
    require_array(da)
    return _time_of(da, _cf_names(da))


def _time_of(da: xr.DataArray, known: _CfNames) -> str | None:
    dated = [str(d) for d in da.dims if d in da.coords and _tells_time(da.coords[d])]
    listed = [n for n in _candidates(da, "time", known) if n in da.dims]
    found = dated or listed
    if not found:
        return None
    ranked = sorted(found, key=lambda name: _rank_time(da, name))
    if len(ranked) > 1 and _rank_time(da, ranked[0]) == _rank_time(da, ranked[1]):
        raise TimeAxisError(
            f"{da.name or 'The array'} has the dimensions {ranked[0]!r} and {ranked[1]!r} with "
            "dates. Say which of them is the time, with the attribute standard_name='time' of its "
            "coordinate, or drop the dates of the other, with .drop_vars(...)."
        )
    _check_valid_time(da, ranked[0])
    return ranked[0]


def _rank_time(da: xr.DataArray, name: str) -> tuple[bool, bool, bool]:
    """Return how far a dimension with dates is from being the time: smallest is best."""
    said = da.coords[name].attrs.get("standard_name") if name in da.coords else None
    return said != "time", said in _OTHER["time"], not _NAMES["time"].match(name)


def _check_valid_time(da: xr.DataArray, dim: str) -> None:
    """Raise where a coordinate beside a time dimension says that the times are its own."""
    if dim not in da.coords or da.coords[dim].attrs.get("standard_name") == "time":
        return
    for name, other in da.coords.items():
        says = other.attrs.get("standard_name") == "time" and dim in other.dims and name != dim
        if not says or (other.dims == (dim,) and np.array_equal(other.values, da[dim].values)):
            continue
        raise TimeAxisError(
            f"{da.name or 'The array'} has the valid times (standard_name='time') in {name!r}, "
            f"beside its dimension {dim!r}, which holds others. Make them the coordinate of the "
            f"dimension, with .swap_dims({{{dim!r}: {name!r}}}), of one lead time where there are "
            "several."
        )


def _tells_time(values: xr.DataArray) -> bool:
    """Tell whether a coordinate has dates, decoded or not."""
    return _is_time(values) or (values.dtype.kind in "iuf" and _is_undecoded(values))


def _is_undecoded(values: xr.DataArray) -> bool:
    """Tell whether numbers are times that were not decoded: CF units, or YYYYMMDD."""
    units = units_of(values) or ""
    if " since " in units or " as %Y" in units:
        return True
    if values.dtype.kind not in "iu" or values.ndim != 1 or not values.size:
        return False
    return is_yyyymmdd(values.values)


def is_yyyymmdd(numbers: np.ndarray[Any, Any]) -> bool:
    """Tell whether whole numbers spell dates, such as 20240229.

    Examples
    --------
    >>> is_yyyymmdd(np.array([20240229, 20240301])), is_yyyymmdd(np.arange(3))
    (True, False)
    """
    years, months, days = numbers // 10_000, numbers // 100 % 100, numbers % 100
    inside = [(1000, years, 3000), (1, months, 12), (1, days, 31)]
    return all(bool(((low <= part) & (part <= high)).all()) for low, part, high in inside)


def _is_time(values: xr.DataArray) -> bool:
    if np.issubdtype(values.dtype, np.datetime64):
        return True
    return values.dtype == object and values.size > 0 and hasattr(values.values.flat[0], "calendar")


def _curvilinear_dims(da: xr.DataArray, latitude: str, longitude: str) -> tuple[str, str]:
    """Return the dimensions (y, x) of a grid with two-dimensional latitude and longitude."""
    if da.coords[latitude].dims != da.coords[longitude].dims or da.coords[latitude].ndim != 2:
        raise GridError(
            f"Latitude {latitude!r} has dimensions {da.coords[latitude].dims} and longitude "
            f"{longitude!r} {da.coords[longitude].dims}; give both one or both the same two."
        )
    first, second = (str(d) for d in da.coords[latitude].dims)
    return first, second
