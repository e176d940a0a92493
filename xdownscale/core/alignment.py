"""Align records that are compared: common time steps, cells, orientation and names."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xdownscale.core.coords import Axes, check_dates_named, find_axes, require_time
from xdownscale.core.errors import DataError, GridError, TimeAxisError
from xdownscale.core.grids import Array, describe_grid, match_cells, same_grid, uncovered
from xdownscale.core.located import located
from xdownscale.core.projection import mapping_variable
from xdownscale.core.time import check_overlap, check_time, check_unique, match_times
from xdownscale.core.units import said, same_units, units_of
from xdownscale.core.values import check_values


class Matched(NamedTuple):
    """Predictions and truth on common dimensions, grid and time steps.

    Attributes
    ----------
    predictions : dict of str to DataArray
        With the names, coordinates and times of the truth.
    truth : DataArray
        The truth at the common times.
    axes : Axes
        Dimensions of all of them.
    time : DataArray
        The common times; one nameless entry where the truth has no time.
    """

    predictions: dict[str, xr.DataArray]
    truth: xr.DataArray
    axes: Axes
    time: xr.DataArray


def match(predictions: Mapping[str, xr.DataArray], truth: xr.DataArray) -> Matched:
    """Bring predictions to the truth's names, orientation and the time steps common to all.

    Parameters
    ----------
    predictions : mapping of str to DataArray
        On the grid of the truth, dims in any order, latitudes too, any longitude convention.
    truth : DataArray
        ([time,] lat, lon).

    Returns
    -------
    Matched

    Raises
    ------
    GridError
        If the grids differ.
    TimeAxisError
        If there is no common day, days are duplicate, calendars differ, or one record is
        sub-daily and another is not.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0]], coords={"lat": [0.0], "lon": [-10.0, 10.0]})
    >>> turned = xr.DataArray([[2.0, 1.0]], coords={"lat": [0.0], "lon": [10.0, 350.0]})
    >>> match({"turned": turned}, truth).predictions["turned"].values
    array([[1., 2.]])
    """
    truth = check_values(truth, "The truth")
    for p in predictions.values():
        truth = located(truth, "The truth", p if isinstance(p, xr.DataArray) else None)
    predictions = {n: located(p, f"Prediction {n!r}", truth) for n, p in predictions.items()}
    predictions = {n: check_values(p, f"Prediction {n!r}") for n, p in predictions.items()}
    axes = find_axes(truth)
    onto = {name: onto_grid(p, truth, name) for name, p in predictions.items()}
    for name, p in predictions.items():
        require_same_units(p, truth, (repr(name), "the truth"))
    if axes.time is None:
        check_dates_named(truth, "The truth")
        for name, p in onto.items():
            check_dates_named(p, f"Prediction {name!r}")
            if find_axes(p).time is not None:
                require_time(truth, f"The truth, unlike {name!r},")
        return Matched(onto, truth, axes, xr.DataArray([0], dims="time", name="time"))
    wanted = truth[axes.time]
    check_unique(wanted, "'truth'")
    places: dict[str, Any] = {}
    for name, p in onto.items():
        times = p[require_time(p, f"Prediction {name!r}")]
        check_unique(times, repr(name))
        places[name] = match_times(wanted, times, ("The truth", repr(name)))
    shared = np.all([place >= 0 for place in places.values()], axis=0)
    if not shared.any():
        raise TimeAxisError(_no_common_day(onto, truth, axes.time))
    kept = truth.isel({axes.time: shared})
    found = {}
    for name, p in onto.items():
        here = _take(p, axes.time, places[name][shared])
        found[name] = here.assign_coords({axes.time: kept[axes.time]})
    return Matched(found, kept, axes, kept[axes.time])


def require_same_units(one: xr.DataArray, other: xr.DataArray, what: tuple[str, str]) -> None:
    """Raise `DataError` unless two records are in one unit, or one of them names none.

    Parameters
    ----------
    one, other : DataArray
        Only their attributes are looked at.
    what : tuple of str
        What the records are, for the message.

    Examples
    --------
    >>> kelvin = xr.DataArray(1.0, attrs={"units": "K"})
    >>> require_same_units(kelvin, kelvin, ("The first record", "the second"))
    """
    mine = units_of(one)
    theirs = units_of(other)
    if not same_units(mine, theirs):
        raise DataError(
            f"{what[0]} is in {said(mine)} and {what[1]} in {said(theirs)}. Convert one of them "
            "(and set attrs['units']), or drop the attribute where it is wrong."
        )


def _no_common_day(predictions: Mapping[str, xr.DataArray], truth: xr.DataArray, time: str) -> str:
    """Return the message that names the period of each record."""
    spans = [
        f"{name!r} runs from {da.indexes[time].min()} to {da.indexes[time].max()}"
        for name, da in [("truth", truth), *predictions.items()]
    ]
    return f"No day is common to all: {', '.join(spans)}. Give predictions of the same days."


def onto_grid(prediction: xr.DataArray, truth: xr.DataArray, name: str) -> xr.DataArray:
    """Give a prediction the names, the orientation and the coordinates of the truth.

    Parameters
    ----------
    prediction, truth : DataArray
        On one grid.
    name : str
        What the prediction is called, for the message.

    Returns
    -------
    DataArray
        Without further coordinates.

    Raises
    ------
    GridError
        If the grids differ.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0], [2.0]], coords={"lat": [0.0, 1.0], "lon": [5.0]})
    >>> upside_down = truth[::-1].rename(lat="latitude")
    >>> onto_grid(upside_down, truth, "mine").values.ravel()
    array([1., 2.])
    """
    here = find_axes(prediction)
    there = find_axes(truth)
    matched = match_cells(truth, prediction)
    if matched is None:
        raise GridError(_other_grid(prediction, truth, name))
    bare = turn(prediction, truth, matched).reset_coords(drop=True)
    if here.time and there.time:
        bare = bare.rename({here.time: there.time} if here.time != there.time else {})
    return bare.assign_coords(horizontal(truth))


def _other_grid(prediction: xr.DataArray, truth: xr.DataArray, name: str) -> str:
    """Return the message that says how two grids differ."""
    said = []
    for da in (prediction, truth):
        axes = find_axes(da)
        for c in (axes.latitude, axes.longitude):
            values = da[c].values
            said.append(
                f"{c!r} has shape {values.shape} and runs from {np.nanmin(values):g} to "
                f"{np.nanmax(values):g}"
            )
    return (
        f"{name!r} and the truth are on different grids: {said[0]}, {said[1]}; in the truth "
        f"{said[2]}, {said[3]}. Bring one to the grid of the other, with xdownscale.regrid."
    )


def turn(
    other: xr.DataArray, one: xr.DataArray, matched: tuple[Array, Array] | None = None
) -> xr.DataArray:
    """Give a record on the same cells the names, order and coordinates of the first.

    Parameters
    ----------
    other : DataArray
        Is turned; its time keeps its name.
    one : DataArray
        On the same cells, as `same_grid` tells.
    matched : (ndarray of int, ndarray of int), optional
        What `match_cells` of the two returns, where it is known.

    Returns
    -------
    DataArray

    Raises
    ------
    GridError
        If the cells differ.

    Examples
    --------
    >>> one = xr.DataArray([[1.0, 2.0]], coords={"lat": [0.0], "lon": [-10.0, 10.0]})
    >>> other = xr.DataArray([[2.0, 1.0]], coords={"lat": [0.0], "x": [10.0, 350.0]})
    >>> turn(other.rename(x="longitude"), one).lon.values
    array([-10.,  10.])
    """
    matched = match_cells(one, other) if matched is None else matched
    if matched is None:
        raise GridError(
            f"The grids differ: the first has {describe_grid(one)}, the second "
            f"{describe_grid(other)}. Bring one to the grid of the other, with xdownscale.regrid."
        )
    axes = find_axes(one)
    there = find_axes(other)
    rows, columns = matched
    other = _take(_take(other, there.y, rows), there.x, columns)
    names = set(horizontal(other))
    bare = other.drop_vars([c for c in other.coords if c in names])
    renamed = bare.rename({there.y: axes.y, there.x: axes.x})
    return renamed.assign_coords(horizontal(one))


def horizontal(da: xr.DataArray) -> dict[Hashable, xr.Variable]:
    """Return the coordinates that tell where the cells of an array are.

    Parameters
    ----------
    da : DataArray

    Returns
    -------
    dict
        Latitude and longitude; on a grid whose latitude and longitude are two-dimensional also
        the coordinates of its dimensions and the grid mapping.

    Examples
    --------
    >>> list(horizontal(xr.DataArray([[1.0]], coords={"lat": [0.0], "lon": [5.0]})))
    ['lat', 'lon']
    """
    axes = find_axes(da)
    names: list[Hashable] = [axes.latitude, axes.longitude]
    if not axes.rectilinear:
        names += [axes.y, axes.x]
        mapping = mapping_variable(da)
        names += [] if mapping is None else [mapping.name]
    return {n: da.coords[n].variable for n in dict.fromkeys(names) if n in da.coords}


def _take(da: xr.DataArray, dim: str, places: Any) -> xr.DataArray:
    """Select along a dimension; a view where everything is selected in order, or reversed."""
    if np.array_equal(places, np.arange(da.sizes[dim])):
        return da
    if np.array_equal(places, np.arange(da.sizes[dim])[::-1]):
        return da.isel({dim: slice(None, None, -1)})
    return da.isel({dim: places})


Pair = tuple[xr.DataArray, xr.DataArray]
"""Two records that can be compared; the second bears the first's name of the time dimension."""


def bring_together(
    da: xr.DataArray, other: xr.DataArray, common: bool = True, days: bool = True
) -> Pair:
    """Bring two records to common time steps, common area and, on one grid, a common mask.

    Parameters
    ----------
    da, other : DataArray
        ([time,] lat, lon) and further dims, in any order; lazy or not.
    common : bool
        False: all cells of both.
    days : bool
        False: all time steps of both, without a common mask then.

    Returns
    -------
    (DataArray, DataArray)
        The second bears the first's name of the time dimension. On one grid, pixels that are
        missing in one are missing in both.

    Raises
    ------
    TimeAxisError
        If one has a time axis and the other none, or they have no day in common.
    GridError
        If the grids do not overlap.
    DataError
        If their units differ.
    """
    da = check_values(da, "The first record")
    other = check_values(other, "The second record")
    da = located(da, "The first record", other)
    other = located(other, "The second record", da)
    require_same_units(da, other, ("The first record", "the second"))
    axes = find_axes(da)
    there = find_axes(other)
    if axes.time and there.time and axes.time != there.time:
        other = other.rename({there.time: axes.time})
    if not days:
        return da, other
    check_dates_named(da, "The first record")
    check_dates_named(other, "The second record")
    if (axes.time is None) != (there.time is None):
        lacking = "first" if axes.time is None else "second"
        raise TimeAxisError(
            f"The {lacking} record has no time axis and the other one has. Select a time of it, "
            "or name the dimension 'time'."
        )
    one, two = (da, other) if axes.time is None else common_days(da, other, axes.time)
    if not common:
        return one, two
    if same_grid(one, two):
        turned = turn(two, one)
        return one.where(turned.notnull()), turned.where(one.notnull())
    return _crop(one, two), _crop(two, one)


def common_days(
    one: xr.DataArray, other: xr.DataArray, time: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the time steps that two records share, stamped as in the first.

    Parameters
    ----------
    one, other : DataArray
        With the time dimension `time`. Daily means stamped at different hours meet.
    time : str
        Its name.

    Returns
    -------
    (DataArray, DataArray)

    Raises
    ------
    TimeAxisError
        If there are duplicate times, no common day, or two calendars, or one record is sub-daily
        and the other is not.
    """
    first = check_time(one, "The first record")
    second = check_time(other, "The second record")
    place = check_overlap(first[time], second[time], ("The first record", "the second record"))
    if (place >= 0).all() and np.array_equal(place, np.arange(second.sizes[time])):
        return first, second.assign_coords({time: first[time]})
    kept = first.isel({time: place >= 0})
    return kept, second.isel({time: place[place >= 0]}).assign_coords({time: kept[time]})


def _crop(da: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Keep the cells whose centres lie within the other grid's outermost edges.

    Rows and columns without any are cut off; cells outside that are left are NaN.
    """
    axes = find_axes(da)
    outside = uncovered(template(other), template(da))
    rows = ~outside.all(axes.x)
    columns = ~outside.all(axes.y)
    if not (rows.any() and columns.any()):
        raise GridError(
            f"The grids do not overlap: the first has {describe_grid(da)}, the second "
            f"{describe_grid(other)}. Give records of one area; only kind='pooled' with "
            "common=False compares different ones."
        )
    if not bool(rows.all() and columns.all()):
        part = {axes.y: rows.values, axes.x: columns.values}
        da = da.isel(part)
        outside = outside.isel(part)
    # a grid that is tilted against the other reaches beyond it in corners
    return da.where(~outside.reset_coords(drop=True)) if bool(outside.any()) else da


def template(da: xr.DataArray) -> xr.DataArray:
    """Return one field of a record, which lends its grid; its values are not looked at."""
    axes = find_axes(da)
    return da.isel({d: 0 for d in da.dims if d not in (axes.y, axes.x)}, drop=True)
