"""Split a record into seasons, across the year's end too, with days of context before them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.coords import require_time
from xdownscale.core.errors import OptionError, TimeAxisError, nearest_name
from xdownscale.core.time import DAY, ascending, check_time, months

Seasons = str | Sequence[str] | Mapping[str, Sequence[int]]
SEASONS = ("DJF", "MAM", "JJA", "SON")
_LETTERS = "JFMAMJJASOND"


def resolve_seasons(seasons: Seasons = SEASONS) -> dict[str, tuple[int, ...]]:
    """Return the months of seasons.

    Parameters
    ----------
    seasons : str, sequence of str or mapping of str to months
        Names made of the first letters of two or more consecutive months, across the year's end
        too (``"DJF"``, ``"JJAS"``); or any names with their months, 1 to 12.

    Returns
    -------
    dict of str to tuple of int

    Raises
    ------
    OptionError
        For a name that is no run of months (names the nearest one), or invalid months.

    Examples
    --------
    >>> resolve_seasons(["DJF", "JJAS"])
    {'DJF': (12, 1, 2), 'JJAS': (6, 7, 8, 9)}
    >>> resolve_seasons({"wet": (6, 7, 8)})
    {'wet': (6, 7, 8)}
    """
    if isinstance(seasons, str):
        seasons = (seasons,)
    if not isinstance(seasons, Iterable):
        raise OptionError(
            f"seasons is {seasons!r}; give names such as {SEASONS}, or a mapping of names "
            "to months."
        )
    if not isinstance(seasons, Mapping):
        resolved = {str(name): _from_letters(str(name)) for name in seasons}
    else:
        resolved = {str(name): _check_months(name, given) for name, given in seasons.items()}
    if not resolved:
        raise OptionError(f"No season was given; give at least one, for instance {SEASONS}.")
    return resolved


def _from_letters(name: str) -> tuple[int, ...]:
    """Return the months of a run of two to twelve months, such as "JJAS"."""
    known: dict[str, tuple[int, ...]] = {}
    for length, start in itertools.product(range(2, 13), range(12)):
        run = tuple((start + k) % 12 + 1 for k in range(length))
        known.setdefault("".join(_LETTERS[month - 1] for month in run), run)
    if name not in known:
        near = nearest_name(name.upper(), SEASONS) or nearest_name(name.upper(), known)
        raise OptionError(
            f"Unknown season: {name!r}. Give the first letters of two or more consecutive months, "
            f"like {', '.join(map(repr, SEASONS))} or 'JJAS', or a mapping of names to months."
            f"{near}"
        )
    return known[name]


def _check_months(name: object, given: Sequence[int]) -> tuple[int, ...]:
    wanted = tuple(int(month) for month in given)
    if not wanted or not set(wanted) <= set(range(1, 13)) or len(set(wanted)) < len(wanted):
        raise OptionError(
            f"Season {name!r} has the months {wanted}; give each month once, as numbers 1 to 12."
        )
    return wanted


def season_of(time: Any, seasons: Seasons = SEASONS) -> NDArray[np.str_]:
    """Return the season of each time.

    Parameters
    ----------
    time : array or DataArray of datetime64 or cftime, shape (n,)
        Times.
    seasons : str, sequence of str or mapping of str to months
        See `resolve_seasons`.

    Returns
    -------
    ndarray of str, shape (n,)
        ``""`` where a time is in none.

    Raises
    ------
    OptionError
        For an unknown season, or seasons that share a month.

    Examples
    --------
    >>> import pandas as pd
    >>> season_of(pd.to_datetime(["2000-12-31", "2001-03-01"]), ["DJF"]).tolist()
    ['DJF', '']
    """
    names = np.full(13, "", dtype=object)
    for name, wanted in resolve_seasons(seasons).items():
        taken = [month for month in wanted if names[month]]
        if taken:
            raise OptionError(
                f"Seasons {names[taken[0]]!r} and {name!r} share the month {taken[0]}; give "
                "seasons that do not overlap."
            )
        names[list(wanted)] = name
    return np.asarray(names[months(time)], dtype=np.str_)


def season_windows(
    time: Any, seasons: Seasons = SEASONS, buffer_days: int = 45
) -> dict[str, tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Return each season's time steps, and those before it that serve as context.

    Parameters
    ----------
    time : array or DataArray of datetime64 or cftime, shape (n,)
        Ascending times.
    seasons : str, sequence of str or mapping of str to months
        See `resolve_seasons`; they may overlap.
    buffer_days : int
        Days of context before each year's season.

    Returns
    -------
    dict of str to (index, is_target)
        Ascending indices into `time`, all years together, and whether each is a target.

    Raises
    ------
    OptionError
        For an unknown season or a negative buffer.
    TimeAxisError
        If the times do not ascend, or none lies in a season.

    Examples
    --------
    >>> import pandas as pd
    >>> time = pd.date_range("2000-01-01", "2001-12-31")
    >>> index, is_target = season_windows(time, ["JJA"], buffer_days=10)["JJA"]
    >>> index.size, is_target.sum()
    (204, np.int64(184))
    """
    if buffer_days < 0:
        raise OptionError(f"buffer_days is {buffer_days}; give a whole number, 0 or more.")
    numbers = ascending(time)
    month = months(time)
    found = {}
    for name, wanted in resolve_seasons(seasons).items():
        target = np.isin(month, wanted)
        if not target.any():
            raise TimeAxisError(
                f"No time of the record lies in season {name!r} (months {wanted}); its months are "
                f"{sorted(set(month.tolist()))}. Leave the season out or give a longer record."
            )
        following = _next(numbers, numbers[target])
        context = ~target & (following - numbers <= buffer_days * DAY)
        index = np.flatnonzero(target | context)
        found[name] = (index, target[index])
    return found


def _next(numbers: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first of `targets` at or after each time, a very late one where there is none."""
    ends = np.append(targets, np.iinfo(np.int64).max // 2)
    return ends[np.searchsorted(targets, numbers)]


def split_seasons(
    da: xr.DataArray, seasons: Seasons = SEASONS, buffer_days: int = 45
) -> dict[str, xr.DataArray]:
    """Split a record into seasons, each with all its years and the context before them.

    The days are real consecutive days, so lag windows (`lag_windows`) never jump from one
    year's season to the next.

    Parameters
    ----------
    da : DataArray
        A record with a time axis, in any order.
    seasons : str, sequence of str or mapping of str to months
        See `resolve_seasons`.
    buffer_days : int
        Days of context before each year's season.

    Returns
    -------
    dict of str to DataArray
        The season's days with a boolean coordinate ``is_target`` along time, False on context.

    Raises
    ------
    OptionError
        For an unknown season or a negative buffer.
    TimeAxisError
        If there is no time axis, a time is there twice, or none lies in a season.

    Examples
    --------
    >>> import pandas as pd
    >>> time = pd.date_range("2000-01-01", "2000-12-31")
    >>> da = xr.DataArray(np.ones((366, 1, 1)), coords={"time": time, "lat": [0.0], "lon": [0.0]})
    >>> autumn = split_seasons(da, seasons=["SON"])["SON"]
    >>> autumn.sizes["time"], int(autumn.is_target.sum())
    (136, 91)
    """
    resolved = resolve_seasons(seasons)
    record = check_time(da, "The record")
    name = require_time(record, "The record")
    parts = {}
    for season, (index, target) in season_windows(record[name], resolved, buffer_days).items():
        parts[season] = record.isel({name: index}).assign_coords(is_target=(name, target))
    return parts
