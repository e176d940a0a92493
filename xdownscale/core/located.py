"""Records with all that is known of where their cells are: positions and grid mapping.

A variable that is taken out of its Dataset leaves its grid mapping behind, and many projected
records have no latitude and longitude. Records pass through here before anything is done with them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np
import xarray as xr

from xdownscale.core.coords import auxiliary, require_array
from xdownscale.core.errors import GridError
from xdownscale.core.projection import (
    Projection,
    find_projection,
    mapping_variable,
    plane_coordinates,
    true_coordinates,
    with_mapping,
    with_positions,
)
from xdownscale.core.quantities import as_plain, plain_parts

P = ParamSpec("P")
Result = TypeVar("Result")


def located_variables(
    ds: xr.Dataset, what: str = "the record", like: xr.DataArray | None = None
) -> dict[str, xr.DataArray]:
    """Return the variables of a Dataset, each with all that is known of where its cells are.

    Parameters
    ----------
    ds : Dataset
    what : str
        What it is, for messages.
    like : DataArray, optional
        As for `located`.

    Returns
    -------
    dict
        Variables by name, as `own_variables` and `located` return them.

    Raises
    ------
    GridError
        As `find_projection`.
    """
    return {
        name: located(da, f"The variable {name!r} of {what}", like)
        for name, da in own_variables(ds).items()
    }


def own_variables(ds: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the variables of a Dataset, without those that describe others.

    Parameters
    ----------
    ds : Dataset
        Positions that stand among its variables count as coordinates.

    Returns
    -------
    dict
        Variables by name, each with the grid mapping of the Dataset; all where every variable
        describes another one.

    Examples
    --------
    >>> list(own_variables(xr.Dataset({"t": ("x", [1.0]), "crs": 0})))
    ['t']
    """
    ds = as_plain(ds)
    positions = [
        name
        for name, da in ds.data_vars.items()
        if da.attrs.get("standard_name") in ("latitude", "longitude") and da.ndim == 2
    ]
    if len(positions) < len(ds.data_vars):
        ds = ds.set_coords(positions)
    beside = auxiliary(ds)
    names = [n for n in ds.data_vars if str(n) not in beside] or list(ds.data_vars)
    return {str(name): with_mapping(ds[name], ds) for name in names}


def located(
    da: xr.DataArray, what: str = "The record", like: xr.DataArray | None = None
) -> xr.DataArray:
    """Return an array that bears all that is known of where its cells are.

    Parameters
    ----------
    da : DataArray
        On a grid of any kind.
    what : str
        What it is, for messages.
    like : DataArray, optional
        Where the array has projected coordinates and lost its grid mapping, as a variable does
        that is taken out of its Dataset, and this one has the same coordinates: its positions and
        its grid mapping are taken.

    Returns
    -------
    DataArray
        As `quantities.as_plain` returns it: as it was on a grid in degrees or a curvilinear one,
        unless it holds arrays of pint. In a projection: with two-dimensional latitude and
        longitude, and with its coordinate reference system as a grid mapping variable, which the
        attribute ``grid_mapping`` names.

    Raises
    ------
    GridError
        As `find_projection`.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((1, 1)), coords={"y": [0.0], "x": [0.0]}, dims=("y", "x"))
    >>> list(located(da.assign_attrs({"proj:code": "EPSG:3857"})).coords)
    ['y', 'x', 'lat', 'lon', 'spatial_ref']
    """
    require_array(da, what)
    da = _apart_from_dimensions(as_plain(da))
    if like is not None:
        da = _placed_like(da, as_plain(like))
    projection = find_projection(da, what)
    if projection is None:
        return with_positions(da, what)
    da = with_positions(da, what)
    name = projection.variable
    if name is None:
        name = next(n for n in ("spatial_ref", "crs", "grid_mapping_0") if n not in da.coords)
    attrs = mapping_attributes(projection, da.coords[name].attrs if name in da.coords else {})
    mapping = xr.Variable((), np.int32(0), attrs)
    return da.assign_coords({name: mapping}).assign_attrs(grid_mapping=name)


def with_located(function: Callable[P, Result]) -> Callable[P, Result]:
    """Return a function whose arrays come with their positions and grid mappings.

    Parameters
    ----------
    function : callable
        Of DataArrays, or mappings of them, among other arguments. An array that lost its grid
        mapping takes that of another one with the same projected coordinates.

    Returns
    -------
    callable

    Examples
    --------
    >>> from xdownscale.core.cells import cells_of
    >>> da = xr.DataArray(np.ones((1, 1)), coords={"y": [0.0], "x": [0.0]}, dims=("y", "x"))
    >>> with_located(lambda da: list(da.coords))(da.assign_attrs({"proj:code": "EPSG:3857"}))
    ['y', 'x', 'lat', 'lon', 'spatial_ref']
    """

    @functools.wraps(function)
    def placed(*args: P.args, **kwargs: P.kwargs) -> Result:
        given_args, given_kwargs = plain_parts(args), plain_parts(kwargs)
        given = [*given_args, *given_kwargs.values()]
        # variables of a Dataset are located where they are taken out of it
        inner = [v for each in given if type(each) is dict for v in each.values()]
        arrays = [v for v in (*given, *inner) if isinstance(v, xr.DataArray)]
        projected = [da for da in arrays if plane_coordinates(da) is not None]
        if not projected:  # most records
            return function(*given_args, **given_kwargs)
        found = {id(da): _like_any(da, projected) for da in projected}

        def of(value: Any) -> Any:
            if isinstance(value, xr.DataArray):
                return found.get(id(value), value)
            if type(value) is dict:
                return {key: of(part) for key, part in value.items()}
            return value

        moved = {key: of(value) for key, value in given_kwargs.items()}
        return function(*map(of, given_args), **moved)

    return placed


def _like_any(da: xr.DataArray, others: list[xr.DataArray]) -> xr.DataArray:
    for other in others:
        placed = _placed_like(da, other)
        if placed is not da:
            return located(placed)
    return located(da)


def _apart_from_dimensions(da: xr.DataArray) -> xr.DataArray:
    """Rename two-dimensional positions that have the name of a dimension: no file can hold them."""
    for name in true_coordinates(da) or ():
        if da[name].ndim == 2 and name in da.dims:
            other = {"lat": "latitude", "lon": "longitude"}.get(name, f"{name}_position")
            da = da.assign_coords({other: da[name].variable}).drop_vars(name)
    return da


def _placed_like(da: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Return an array with the positions of another one that has the same plane coordinates."""
    pair = plane_coordinates(da)
    other = plane_coordinates(like)
    if pair is None or other is None:
        return da
    if true_coordinates(da) is not None or mapping_variable(da) is not None:
        return da
    try:
        like = with_positions(like)
    except GridError:  # it has lost its own too
        return da
    true = true_coordinates(like)
    if true is None:
        return da
    for mine, theirs in zip(pair, other, strict=True):
        one = np.asarray(da[mine].values, np.float64)
        two = np.asarray(like[theirs].values, np.float64)
        if one.shape != two.shape or not np.allclose(one, two, rtol=1e-6, atol=0):
            return da
    mapping = mapping_variable(like)
    names = dict(zip(other, pair, strict=True))
    found = {name: like[name].variable for name in true}
    for name, variable in found.items():
        found[name] = xr.Variable(
            [names.get(str(d), str(d)) for d in variable.dims], variable.values
        )
        found[name].attrs = dict(variable.attrs)
    if mapping is not None:
        found[str(mapping.name)] = mapping.variable
        da = da.assign_attrs(grid_mapping=str(mapping.name))
    return da.assign_coords(found)


def mapping_attributes(projection: Projection, given: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the attributes of a grid mapping variable, as CF has them.

    Parameters
    ----------
    projection : Projection
    given : mapping
        Attributes that it has; they stay.

    Returns
    -------
    dict
        With ``crs_wkt``, and the parameters of CF where there are none and CF knows them.
    """
    kept = dict(given)
    if "grid_mapping_name" not in kept:
        kept |= {k: v for k, v in projection.crs.to_cf().items() if k not in kept}
    if "standard_name" not in kept:
        kept.setdefault("long_name", "coordinate reference system")
    return kept
