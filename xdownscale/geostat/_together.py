"""Two records brought together: common days, common area, common mask."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xdownscale.baselines import day_index
from xdownscale.cells import spacing, wrap_longitude
from xdownscale.errors import GridError, TimeAxisError
from xdownscale.grids import describe_grid, same_grid, uncovered
from xdownscale.labels import Axes, find_axes
from xdownscale.splits import check_overlap, check_time

_DEGREES = 1e-4  # within which two curvilinear grids are one


class Pair(NamedTuple):
    """Two records that can be compared.

    Attributes
    ----------
    one, other : DataArray
        The second bears the first's name of the time dimension.
    axes, other_axes : Axes
        Their dimensions.
    same : bool
        Whether their grids are one; then pixels that lack in one lack in both.
    """

    one: xr.DataArray
    other: xr.DataArray
    axes: Axes
    other_axes: Axes
    same: bool


def bring_together(
    da: xr.DataArray, other: xr.DataArray, common: bool = True, days: bool = True
) -> Pair:
    """Bring two records to common days, common area and, on one grid, a common mask.

    Parameters
    ----------
    da, other : DataArray
        ([time,] lat, lon) and further dims, in any order; lazy or not.
    common : bool
        False: all cells of both.
    days : bool
        False: all days of both, without a common mask then.

    Returns
    -------
    Pair

    Raises
    ------
    TimeAxisError
        If one has a time axis and the other none, or they have no day in common.
    GridError
        If the grids do not overlap, or are curvilinear and different.
    """
    axes, there = find_axes(da), find_axes(other)
    if axes.time and there.time and axes.time != there.time:
        other = other.rename({there.time: axes.time})
    if not days:
        return Pair(da, other, axes, find_axes(other), False)
    if (axes.time is None) != (there.time is None):
        lacking = "first" if axes.time is None else "second"
        raise TimeAxisError(
            f"The {lacking} record has no time axis and the other one has. Select a time of it, "
            "or name the dimension 'time'."
        )
    one, two = (da, other) if axes.time is None else common_days(da, other, axes.time)
    if not common:
        return Pair(one, two, axes, find_axes(two), False)
    if on_one_grid(one, two):
        turned = turn(two, one)
        seen, seen_too = one.notnull(), turned.notnull()
        return Pair(one.where(seen_too), turned.where(seen), axes, find_axes(turned), True)
    one, two = _crop(one, two), _crop(two, one)
    return Pair(one, two, axes, find_axes(two), False)


def common_days(
    one: xr.DataArray, other: xr.DataArray, time: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the days that two records share, stamped as in the first.

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
        If there are duplicate times, no common day, or two calendars.
    """
    first = check_time(one, "The first record")
    second = check_time(other, "The second record")
    days = [day_index(da.indexes[time]) for da in (first, second)]
    place = check_overlap(days[0], days[1], ("The first record", "the second record"))
    if (place >= 0).all() and np.array_equal(place, np.arange(second.sizes[time])):
        return first, second.assign_coords({time: first[time]})
    kept = first.isel({time: place >= 0})
    return kept, second.isel({time: place[place >= 0]}).assign_coords({time: kept[time]})


def on_one_grid(one: xr.DataArray, other: xr.DataArray) -> bool:
    """Tell whether two records have the same cells, in any order and longitude convention."""
    axes, there = find_axes(one), find_axes(other)
    shapes = [(da.sizes[a.y], da.sizes[a.x]) for da, a in ((one, axes), (other, there))]
    if shapes[0] != shapes[1]:
        return False
    if _one_dimensional(one, axes) and _one_dimensional(other, there):
        return same_grid(one, other)
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=0, atol=_DEGREES)
        for a, b in zip(_degrees(one, axes), _degrees(other, there), strict=True)
    )


def _one_dimensional(da: xr.DataArray, axes: Axes) -> bool:
    return bool(da.coords[axes.latitude].ndim == 1)


def _degrees(da: xr.DataArray, axes: Axes) -> tuple[Any, Any]:
    return da.coords[axes.latitude].values, da.coords[axes.longitude].values


def turn(other: xr.DataArray, one: xr.DataArray) -> xr.DataArray:
    """Give a record on the same cells the names, order and coordinates of the first."""
    axes, there = find_axes(one), find_axes(other)
    if _one_dimensional(one, axes):
        (lat, lon), (lat_other, lon_other) = _degrees(one, axes), _degrees(other, there)
        # longitudes from the middle of the gap before the first one, in both alike
        start = float(lon[0]) - (spacing(lon) / 2 if lon.size > 1 else 1.0)
        lon, lon_other = wrap_longitude(lon, start), wrap_longitude(lon_other, start)
        other = other.isel({there.y: _order(lat_other, lat), there.x: _order(lon_other, lon)})
    names = {there.y, there.x, there.latitude, there.longitude}
    bare = other.drop_vars([c for c in other.coords if c in names])
    renamed = bare.rename({there.y: axes.y, there.x: axes.x})
    return renamed.assign_coords({c: one[c] for c in (axes.latitude, axes.longitude)})


def _order(have: Any, wanted: Any) -> Any:
    return np.argsort(have)[np.argsort(np.argsort(wanted))]


def _crop(da: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Keep the cells whose centres lie within the other grid's outermost edges."""
    for array in (da, other):
        if not _one_dimensional(array, find_axes(array)):
            raise GridError(
                "The grids differ and one is curvilinear, so their common area is not known. Pass "
                "common=False to compare all cells of both, or bring them to one grid with "
                "xdownscale.regrid(..., engine='xesmf')."
            )
    axes = find_axes(da)
    outside = uncovered(other, da)
    rows, columns = ~outside.all(axes.x), ~outside.all(axes.y)
    if not (rows.any() and columns.any()):
        raise GridError(
            f"The grids do not overlap: the first has {describe_grid(da)}, the second "
            f"{describe_grid(other)}. Give records of one area; only kind='pooled' with "
            "common=False compares different ones."
        )
    if bool(rows.all() and columns.all()):
        return da
    return da.isel({axes.y: rows.values, axes.x: columns.values})


def template(da: xr.DataArray) -> xr.DataArray:
    """Return one field of a record, which lends its grid; its values are not looked at."""
    axes = find_axes(da)
    return da.isel({d: 0 for d in da.dims if d not in (axes.y, axes.x)}, drop=True)
