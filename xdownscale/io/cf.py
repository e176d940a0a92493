"""Add what the CF conventions require: names, units, bounds, history."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.alignment import template
from xdownscale.core.cells import Cells, cells_of
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import GridError
from xdownscale.core.grids import Axis, grid_axes, has_width
from xdownscale.core.projection import is_mapping
from xdownscale.core.sphere import to_degrees
from xdownscale.core.time import DAY, seconds

CONVENTIONS = "CF-1.11"
_BOUNDS = "bnds"
_VERTICES = "vertices"
_PLANE = {
    "plane": {"Y": "projection_y_coordinate", "X": "projection_x_coordinate"},
    "rotated": {"Y": "grid_latitude", "X": "grid_longitude"},
}
# attributes that name other variables of a file
_REFERENCES = (
    "ancillary_variables",
    "bounds",
    "cell_measures",
    "climatology",
    "coordinates",
    "formula_terms",
    "grid_mapping",
)
_AXIS = {
    "latitude": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
    "time": {"standard_name": "time", "axis": "T", "units_metadata": "leap_seconds: unknown"},
}


def comply(ds: xr.Dataset, step: int | None, **attrs: str) -> xr.Dataset:
    """Return a Dataset of one grid with the attributes and bounds that CF-1.11 requires.

    Parameters
    ----------
    ds : Dataset
        Variables with latitude, longitude and time.
    step : int or None
        Time step in seconds. Days get bounds from midnight to midnight; other steps get none,
        because a time stamp does not say which interval it represents.
    **attrs : str
        Global attributes.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> da = xr.DataArray(
    ...     np.zeros((1, 2, 2)),
    ...     {"time": np.array(["2000-01-01"], "M8[ns]"), "lat": [0.0, 1.0], "lon": [5.0, 6.0]},
    ...     name="dust",
    ... )
    >>> full = comply(da.to_dataset(), 86400, title="Dust")
    >>> full.lat_bnds.values.tolist(), full.lat.attrs["bounds"]
    ([[-0.5, 0.5], [0.5, 1.5]], 'lat_bnds')
    """
    first = next(iter(ds.data_vars.values()))
    axes = find_axes(first)
    out = _without_references(ds)
    for kind, name in (("latitude", axes.latitude), ("longitude", axes.longitude)):
        _describe(out, name, kind)
    name = require_time(first, "The maps")
    _describe(out, name, "time")
    for variable, da in ds.data_vars.items():
        if not {"standard_name", "long_name"} & set(da.attrs):
            out[variable] = out[variable].assign_attrs(long_name=str(variable))
    bounds: dict[str, npt.NDArray[Any]] = {}
    if axes.rectilinear:
        bounds |= _cell_bounds(first, axes.latitude, axes.longitude)
    else:
        out = _with_plane(out, template(first))
    point = any("time: point" in str(da.attrs.get("cell_methods", "")) for da in ds.values())
    if step == DAY and not point:
        bounds[name] = _day_bounds(first[name])
    for coordinate, values in bounds.items():
        label = f"{coordinate}_{_BOUNDS}"
        out[coordinate].attrs["bounds"] = label
        out = out.assign_coords({label: ((coordinate, _BOUNDS), values)})
    without_missing(out)
    out[name].encoding |= {"units": _unit(first[name]), "dtype": "int64"}
    if name in bounds:
        out[f"{name}_{_BOUNDS}"].encoding |= out[name].encoding
    out.attrs = {"Conventions": CONVENTIONS, **attrs}
    return out


def _with_plane(ds: xr.Dataset, grid: xr.DataArray) -> xr.Dataset:
    """Describe the cells of a projected or a curvilinear grid.

    The one-dimensional coordinates of a projected grid get their bounds. Latitude and longitude of
    a curvilinear grid get four corners each, where its cells have corners.
    """
    try:
        cells = cells_of(grid)
        corners = cells.corners() if cells.kind == "curvilinear" else None
    except GridError:  # folded, or without positions: there are no cells to describe
        return ds
    if corners is not None:
        latitude, longitude = to_degrees(corners)
        turn = 360 * np.round((longitude - cells.second[..., None]) / 360)
        for name, values in zip(cells.names, (latitude, longitude - turn), strict=True):
            label = f"{name}_{_BOUNDS}"
            ds[name].attrs["bounds"] = label
            ds = ds.assign_coords({label: ((*cells.dims, _VERTICES), values)})
        return ds
    if cells.projection is None:
        return ds
    kind = "rotated" if cells.projection.rotated else "plane"
    for name, letter, axis in zip(cells.names, "YX", cells.axes, strict=True):
        old = ds[name].attrs
        attrs = {**old, "standard_name": _PLANE[kind][letter], "axis": letter}
        attrs.setdefault("units", "degrees" if kind == "rotated" else _unit_of_plane(cells))
        label = f"{name}_{_BOUNDS}"
        ds[name].attrs = attrs
        if has_width(axis):
            ds[name].attrs["bounds"] = label
            values = _pairs(axis, np.asarray(ds[name].values, float), turning=kind == "rotated")
            ds = ds.assign_coords({label: ((name, _BOUNDS), values)})
    return ds


def _unit_of_plane(cells: Cells) -> str:
    return "km" if cells.projection and cells.projection.kilometres == 1.0 else "m"


def complete(da: xr.DataArray, step: int | None) -> xr.DataArray:
    """Return an array with what CF-1.11 requires and an array can hold: all but bounds.

    Parameters
    ----------
    da : DataArray
        Variable with latitude, longitude and time.
    step : int or None
        As for `comply`.

    Returns
    -------
    DataArray
        With the attribute ``Conventions``, which is global in a file.

    Examples
    --------
    >>> coords = {"time": np.array(["2000-01-01"], "M8[ns]"), "lat": [0.0, 1.0], "lon": [5.0, 6.0]}
    >>> attrs = {"ancillary_variables": "dust_count"}
    >>> complete(xr.DataArray(np.zeros((1, 2, 2)), coords, name="dust", attrs=attrs), 86400).attrs
    {'long_name': 'dust', 'Conventions': 'CF-1.11'}
    """
    name = "field" if da.name is None else da.name
    full = comply(da.to_dataset(name=name), step)
    out = full[name].assign_attrs(Conventions=CONVENTIONS).rename(da.name)
    for coordinate in out.coords.values():
        coordinate.attrs.pop("bounds", None)  # which no array can hold
    if da.name is None:
        del out.attrs["long_name"]
    return out


def _without_references(ds: xr.Dataset) -> xr.Dataset:
    """Return a copy whose attributes name no variable that it lacks, but its grid mapping.

    What its variables tell of the file that they were read from is left out too.
    """
    out = ds.copy()
    mapping = next((str(n) for n, c in ds.coords.items() if is_mapping(c)), None)
    for name, da in out.variables.items():
        dangling = [k for k in _REFERENCES if set(_named(da.attrs.get(k))) - set(out.variables)]
        da.attrs = {k: v for k, v in da.attrs.items() if k not in (*dangling, "Conventions")}
        da.encoding = {k: v for k, v in da.encoding.items() if k not in (*_REFERENCES, "source")}
        if mapping is not None and name in out.data_vars:
            da.attrs.setdefault("grid_mapping", mapping)
    return out


def _named(reference: Any) -> list[str]:
    """Return the variables that an attribute names, such as ``"area: cell_area"``."""
    return [word for word in str(reference or "").split() if not word.endswith(":")]


def without_missing(ds: xr.Dataset) -> None:
    """Set encodings so that coordinates are written without a fill value, as CF requires."""
    for name in ds.coords:
        ds[name].encoding["_FillValue"] = None


def now() -> str:
    """Return the current time (UTC) as in a line of history."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unit(time: xr.DataArray) -> str:
    """Return the largest unit of which all times are whole multiples."""
    sizes = {"days": DAY, "hours": 3600, "seconds": 1}
    stamps = seconds(time)
    unit = next(name for name, size in sizes.items() if not np.any(stamps % size))
    return f"{unit} since 1970-01-01"


def _describe(ds: xr.Dataset, name: str, kind: str) -> None:
    """Complete the attributes of a coordinate, in place; `ds` is a copy."""
    old = ds[name]
    given = {k: v for k, v in old.attrs.items() if k not in ("bounds", "actual_range")}
    wanted = {k: v for k, v in _AXIS[kind].items() if k != "axis" or old.ndim == 1}
    ds[name] = old.assign_attrs({**given, **wanted})
    ds[name].attrs.pop("bounds", None)


def _cell_bounds(da: xr.DataArray, latitude: str, longitude: str) -> dict[str, npt.NDArray[Any]]:
    """Return cell edges (n, 2), in the order and longitude convention of the coordinates."""
    return {
        name: _pairs(axis, np.asarray(da[name].values, float))
        for name, axis in zip((latitude, longitude), grid_axes(da), strict=True)
    }


def _pairs(axis: Axis, values: npt.NDArray[Any], *, turning: bool = True) -> npt.NDArray[Any]:
    """Return the edges (n, 2) of the cells at `values`, in their order and convention."""
    pairs = np.stack([axis.edges[:-1], axis.edges[1:]], axis=1)[axis.inverse]
    if turning:
        pairs = pairs + 360 * np.round((values - axis.values[axis.inverse]) / 360)[:, None]
    descends = values.size > 1 and axis.inverse[0] > axis.inverse[-1]
    return np.asarray(pairs[:, :: -1 if descends else 1])


def _day_bounds(time: xr.DataArray) -> npt.NDArray[Any]:
    """Return the midnights before and after each time (n, 2)."""
    since = np.asarray(seconds(time) % DAY, float)
    back = (since * 1e9).astype("timedelta64[ns]")
    values = time.values
    if values.dtype == object:
        start = np.array(
            [t - datetime.timedelta(seconds=float(s)) for t, s in zip(values, since, strict=True)]
        )
        return np.stack([start, start + datetime.timedelta(days=1)], axis=1)
    start = values - back
    return np.stack([start, start + np.timedelta64(1, "D")], axis=1)
