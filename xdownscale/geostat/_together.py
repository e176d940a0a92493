"""Two records brought together: common days, common area, common mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from xdownscale.alignment import comparable_times, on_one_grid, turn
from xdownscale.errors import GridError, TimeAxisError
from xdownscale.grids import describe_grid, uncovered
from xdownscale.labels import Axes, find_axes
from xdownscale.splits import check_overlap, check_time


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
        If there are duplicate times, no common day, or two calendars, or one record is sub-daily
        and the other is not.
    """
    first = check_time(one, "The first record")
    second = check_time(other, "The second record")
    what = ("The first record", "the second record")
    days = comparable_times(first.indexes[time], second.indexes[time], what)
    place = check_overlap(*days, what)
    if (place >= 0).all() and np.array_equal(place, np.arange(second.sizes[time])):
        return first, second.assign_coords({time: first[time]})
    kept = first.isel({time: place >= 0})
    return kept, second.isel({time: place[place >= 0]}).assign_coords({time: kept[time]})


def _crop(da: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Keep the cells whose centres lie within the other grid's outermost edges."""
    for array in (da, other):
        if array.coords[find_axes(array).latitude].ndim != 1:
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
