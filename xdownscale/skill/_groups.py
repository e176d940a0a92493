"""Groups of a table: the days of a season, the pixels of a region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import OptionError, TimeAxisError, check_option
from xdownscale.core.time import check_unique, seconds
from xdownscale.splits import (
    normalise_regions,
    region_mask,
    resolve_seasons,
    season_of,
    season_windows,
)

Seasons = str | Sequence[str] | Mapping[str, Sequence[int]]
By = str | Sequence[str] | None
_WAYS = ("season", "region")
WHOLE = "all"


class Group(NamedTuple):
    """Season and region whose days and pixels are scored together.

    Attributes
    ----------
    words : tuple of str
        Labels of the group, one for each way of grouping.
    days : ndarray of bool
        Which of the days belong to it.
    region : str
        Which region.
    """

    words: tuple[str, ...]
    days: Any
    region: str


class Crop(NamedTuple):
    """A region of a grid: its bounding box and the pixels in it (None: all).

    Attributes
    ----------
    rows, columns : slice
        Bounding box.
    inside : ndarray of bool or None
        (y, x) in the box.
    """

    rows: slice
    columns: slice
    inside: Any

    def cut(self, fields: Any) -> Any:
        """Return the box of ``(..., y, x)``, NaN outside the region."""
        box = fields[..., self.rows, self.columns]
        return box if self.inside is None else np.where(self.inside, box, np.nan)


def check_by(by: By, regions: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Check the ways of grouping and return them.

    Parameters
    ----------
    by : str, sequence of str or None
        ``"season"``, ``"region"``, both, or None.
    regions : mapping, optional
        Regions of the caller.

    Returns
    -------
    tuple of str

    Raises
    ------
    OptionError
        If a way is unknown, or regions are given that would not be used.
    """
    ways = (by,) if isinstance(by, str) else tuple(by or ())
    for way in ways:
        check_option("way of grouping in by", way, _WAYS)
    if regions and "region" not in ways:
        raise OptionError(
            f"regions {list(regions)} are given, but by={by!r} does not group by them; "
            "give by=('season', 'region')."
        )
    return ways


def crops(grid: xr.DataArray, regions: Mapping[str, Any] | None) -> dict[str, Crop]:
    """Return each region as a bounding box and a mask; the whole grid where there is none.

    Parameters
    ----------
    grid : DataArray
        Anything on the grid.
    regions : mapping of str to box or mask, optional
        As for `region_mask`.

    Returns
    -------
    dict of str to Crop
    """
    checked = normalise_regions(regions)
    if not checked:
        return {WHOLE: Crop(slice(None), slice(None), None)}
    axes = find_axes(grid)
    masks = {name: region_mask(grid, region) for name, region in checked.items()}
    return {name: _crop(mask.transpose(axes.y, axes.x).values) for name, mask in masks.items()}


def _crop(mask: Any) -> Crop:
    rows = _extent(mask.any(axis=1))
    columns = _extent(mask.any(axis=0))
    inside = mask[rows, columns]
    return Crop(rows, columns, None if inside.all() else inside)


def _extent(inside: Any) -> slice:
    """Return the slice from the first True to the last."""
    places = np.flatnonzero(inside)
    return slice(int(places[0]), int(places[-1]) + 1)


def make_groups(
    time: xr.DataArray,
    ways: tuple[str, ...],
    regions: Sequence[str],
    seasons: Seasons,
    buffer_days: int = 0,
) -> list[Group]:
    """Return the groups of days and regions, in the order of seasons, then regions.

    Parameters
    ----------
    time : DataArray
        The days.
    ways : tuple of str
        What `check_by` returned.
    regions : sequence of str
        Names of the regions.
    seasons : str, sequence of str or mapping
        As for `resolve_seasons`; one without a day is left out.
    buffer_days : int
        Days before each year's season that belong to its group too.

    Returns
    -------
    list of Group

    Raises
    ------
    TimeAxisError
        If no day lies in any season.
    """
    everything = {WHOLE: np.ones(time.size, bool)}
    days = _days_of(time, seasons, buffer_days) if "season" in ways else everything
    found = []
    for season, here in days.items():
        for region in regions:
            words = {"season": season, "region": region}
            found.append(Group(tuple(words[way] for way in ways), here, region))
    return found


def _days_of(time: xr.DataArray, seasons: Seasons, buffer_days: int) -> dict[str, Any]:
    named = season_of(time, seasons)
    found = {name: named == name for name in resolve_seasons(seasons)}
    kept = {name: days for name, days in found.items() if days.any()}
    if not kept:
        raise TimeAxisError(
            f"None of the {time.size} days lies in the seasons {list(found)}; give the seasons "
            "that the days lie in, with seasons=[...]."
        )
    return _with_buffer(time, seasons, kept, buffer_days) if buffer_days else kept


def _with_buffer(
    time: xr.DataArray, seasons: Seasons, kept: dict[str, Any], buffer_days: int
) -> dict[str, Any]:
    """Add the days of context before each season, as `season_windows` finds them."""
    check_unique(time.to_index(), "The record")
    order = np.argsort(seconds(time), kind="stable")
    months = {name: given for name, given in resolve_seasons(seasons).items() if name in kept}
    found = {}
    for name, (index, _) in season_windows(time[order], months, buffer_days).items():
        found[name] = np.zeros(time.size, bool)
        found[name][order[index]] = True
    return found
