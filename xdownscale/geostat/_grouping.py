"""Groups of conditional distances: days by season, pixels by elevation, wind and the like."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.alignment import Pair, template, turn
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import GridError, OptionError, TimeAxisError, check_option
from xdownscale.core.grids import describe_grid, has_grid, same_grid, uncovered
from xdownscale.core.time import check_time, match_times
from xdownscale.regridding import regrid, regrid_static
from xdownscale.splits import SEASONS, season_of

_MOST = 50
CELL = ("_cell_y", "_cell_x")


class Condition(NamedTuple):
    """One way to sort pixels or days into groups.

    Attributes
    ----------
    name : str
        Name of the dimension of the result.
    labels : list of str
        Names of the groups.
    codes, other_codes : DataArray of int
        Group of each pixel or day of the two records, -1 in none.
    of_days : bool
        Whether days are sorted, not pixels.
    """

    name: str
    labels: list[str]
    codes: xr.DataArray
    other_codes: xr.DataArray
    of_days: bool


class Groups(NamedTuple):
    """All conditions together.

    Attributes
    ----------
    when, where : list of DataArray of int
        Group of each day, and of each pixel, of the two records.
    sizes : (int, int)
        Number of groups of days and of pixels.
    coords : dict of str to list of str
        Dimensions of the result: those of the days, then those of the pixels.
    """

    when: list[xr.DataArray]
    where: list[xr.DataArray]
    sizes: tuple[int, int]
    coords: dict[str, list[str]]


def resolve(by: Any, pair: Pair) -> Groups:
    """Sort the pixels and days of two records into groups.

    Parameters
    ----------
    by : None, "season", DataArray, (DataArray, edges) or mapping of str to these
        As in `wasserstein`.
    pair : Pair
        The two records.

    Returns
    -------
    Groups
    """
    given = by if isinstance(by, Mapping) else {} if by is None else {_name(by): by}
    found = [_condition(str(name), what, pair) for name, what in given.items()]
    days = [c for c in found if c.of_days]
    pixels = [c for c in found if not c.of_days]
    return Groups(
        when=[_combine(days, which) for which in (0, 1)],
        where=[_combine(pixels, which) for which in (0, 1)],
        sizes=(_count_groups(days), _count_groups(pixels)),
        coords={c.name: c.labels for c in (*days, *pixels)},
    )


def _count_groups(conditions: Sequence[Condition]) -> int:
    return int(np.prod([len(c.labels) for c in conditions]))


def _name(by: Any) -> str:
    if isinstance(by, str):
        return by
    field = by[0] if isinstance(by, tuple) and by else by
    return str(getattr(field, "name", None) or "group")


def _combine(conditions: Sequence[Condition], which: int) -> xr.DataArray:
    """Combine the group codes of several conditions, the last one running fastest."""
    combined = xr.DataArray(0)
    inside = xr.DataArray(True)
    for condition in conditions:
        codes = (condition.codes, condition.other_codes)[which]
        combined = combined * len(condition.labels) + codes
        inside = inside & (codes >= 0)
    return combined.where(inside, -1)


def _condition(name: str, what: Any, pair: Pair) -> Condition:
    if isinstance(what, str):
        return _by_season(name, what, pair)
    has_edges = isinstance(what, tuple) and len(what) == 2
    field, edges = what if has_edges else (what, None)
    if not isinstance(field, xr.DataArray):
        raise OptionError(
            f"by[{name!r}] is a {type(field).__name__}; give 'season', a DataArray, or a tuple of "
            "a DataArray and the edges of its bins."
        )
    labels, codes = _sort_values(name, field, edges)
    if not has_grid(field):
        return _by_days(name, labels, codes(field), pair)
    placed = [_on_days(_codes_on_grid(field, da, codes), da) for da in pair]
    return Condition(name, labels, placed[0], placed[1], False)


def _codes_on_grid(field: xr.DataArray, da: xr.DataArray, codes: Any) -> xr.DataArray:
    """Sort a field into groups on the grid of a record."""
    if same_grid(field, da):
        return codes(turn(field, template(da)))  # type: ignore[no-any-return]
    if field.dtype.kind != "f":
        return _regrid_codes(codes(field), da)
    return codes(_regrid_values(field, da))  # type: ignore[no-any-return]


def _by_season(name: str, what: str, pair: Pair) -> Condition:
    check_option(f"condition by[{name!r}]", what, ["season"])
    time = require_time(pair[0], "The record that is to be sorted by season")
    codes = [xr.DataArray(_codes_of(season_of(da[time]), SEASONS), dims=time) for da in pair]
    return Condition(name, list(SEASONS), codes[0], codes[1], True)


def _codes_of(values: Any, names: Any) -> npt.NDArray[np.int64]:
    found = np.full(np.shape(values), -1)
    for code, label in enumerate(names):
        found[values == label] = code
    return found


def _sort_values(name: str, field: xr.DataArray, edges: Any) -> tuple[list[str], Any]:
    """Return the labels of the groups, and the function that sorts values into them."""
    if edges is None and field.dtype.kind != "f":
        kinds = np.unique(np.asarray(field.values))
        if kinds.size > _MOST:
            raise OptionError(
                f"by[{name!r}] holds {kinds.size} different values; at most {_MOST} can be groups "
                "by themselves. Give a tuple of the field and the edges of its bins."
            )
        return [str(k) for k in kinds], lambda da: _apply(lambda x: _codes_of(x, kinds), da)
    if edges is None:
        values = field.values[np.isfinite(field.values)]
        edges = np.unique(np.quantile(values, [0, 0.25, 0.5, 0.75, 1])) if values.size else []
    ends = np.asarray(edges, dtype=np.float64)
    if ends.ndim != 1 or ends.size < 2 or not (np.diff(ends) > 0).all():
        raise OptionError(
            f"The edges of by[{name!r}] are {ends.tolist()}; give two or more numbers that ascend "
            "(a field without spread has no quartiles)."
        )
    labels = [f"{a:g} to {b:g}" for a, b in itertools.pairwise(ends)]
    return labels, lambda da: _apply(lambda x: _digitize(x, ends), da)


def _digitize(values: Any, edges: Any) -> npt.NDArray[np.int64]:
    """Return the bin of each value; it holds its lower edge, the last both; -1 outside and NaN."""
    x = np.asarray(values, dtype=np.float64)
    codes = np.searchsorted(edges, x, side="right") - 1
    codes[x == edges[-1]] = len(edges) - 2
    return np.where((x >= edges[0]) & (x <= edges[-1]), codes, -1)


def _apply(function: Any, da: xr.DataArray) -> xr.DataArray:
    sorted_: xr.DataArray = xr.apply_ufunc(
        function, da, dask="parallelized", output_dtypes=[np.int64]
    )
    return sorted_


def _by_days(name: str, labels: list[str], codes: xr.DataArray, pair: Pair) -> Condition:
    if codes.ndim != 1:
        raise GridError(
            f"by[{name!r}] has the dimensions {codes.dims} and no latitude and longitude; give "
            "(time), (lat, lon) or (time, lat, lon)."
        )
    require_time(codes, f"by[{name!r}], which has no latitude and longitude,")
    require_time(pair[0], f"The record that is to be sorted by {name!r}")
    found = [_on_days(codes, da) for da in pair]
    return Condition(name, labels, found[0], found[1], True)


def _on_days(codes: xr.DataArray, da: xr.DataArray) -> xr.DataArray:
    """Select the days of a record and drop coordinates, so that nothing is aligned any more."""
    axes_time = find_axes(da).time
    try:
        name = require_time(codes, "A condition")
    except TimeAxisError:
        return codes.drop_vars(list(codes.coords))
    if axes_time is None:
        raise TimeAxisError(
            "A field in by= has a time axis and the records have none; select a time of it."
        )
    record = check_time(codes, "A field in by=")
    what = ("The record", "a field in by=")
    place = match_times(da[axes_time], record[name], what)
    if (place < 0).all():
        raise TimeAxisError(
            f"A field in by= runs from {record.indexes[name].min()} to "
            f"{record.indexes[name].max()} and has no day of the records; give one that has."
        )
    taken = record.isel({name: place}).drop_vars(list(record.coords))
    taken = taken.where(xr.DataArray(place >= 0, dims=name), -1)
    return taken.rename({name: axes_time}) if name != axes_time else taken


def _regrid_values(field: xr.DataArray, da: xr.DataArray) -> xr.DataArray:
    """Regrid a field of numbers to the grid of a record; NaN beyond the field's own area."""
    outside = _outside(field, da)
    return regrid_static(field, template(da), extrapolate="nearest").where(~outside)


def _regrid_codes(codes: xr.DataArray, da: xr.DataArray) -> xr.DataArray:
    """Regrid group codes to the grid of a record, from the nearest cell."""
    outside = _outside(codes, da)
    moved = regrid(codes.astype(float), template(da), "nearest", extrapolate="nearest")
    return moved.where(~outside, -1).fillna(-1).astype(np.int64)


def _outside(field: xr.DataArray, da: xr.DataArray) -> xr.DataArray:
    grid = template(da)
    outside = uncovered(field, grid)
    if outside.all():
        raise GridError(
            f"The field {field.name or ''!r} in by= does not overlap the records: it has "
            f"{describe_grid(field)}, a record {describe_grid(grid)}."
        )
    return outside
