"""Which days belong to a group, which follow each other, and which make up a year of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.errors import TimeAxisError
from xdownscale.core.time import calendar_of, days, is_subdaily, months, rounded, step_text

Array = NDArray[Any]
ALL = tuple(range(1, 13))
WHOLE = 0.9  # share of a year's days that must be there
_PERIODS = {"360_day": 360, "all_leap": 366, "366_day": 366}


class Years(NamedTuple):
    """Consecutive rows that make up one year of a group.

    Attributes
    ----------
    starts : ndarray of int (year,)
        Where each year begins among the rows of the group.
    labels : ndarray of int (year,)
        The year.
    enough : ndarray of int (year,)
        Values that a cell must have in it for the year to count.
    """

    starts: Array
    labels: Array
    enough: Array


class Days(NamedTuple):
    """Days of a group, in the order of time.

    Attributes
    ----------
    rows : ndarray of int (day,)
        Places in the record.
    numbers : ndarray of int (day,)
        Days since 1970-01-01 in their own calendar.
    places : ndarray of int (day,)
        Calendar day, from 0; -1 on 29 February.
    period : int
        Calendar days in a year: 365, or 360 or 366 in calendars that have so many.
    years : Years
        Whole ones alone: December belongs to the winter of the next year.
    joined : Years
        Of the calendar, whole or not: the December of a winter stands beside the January and the
        February of its own year.
    """

    rows: Array
    numbers: Array
    places: Array
    period: int
    years: Years
    joined: Years


def require_daily(time: xr.DataArray, what: str) -> None:
    """Raise `TimeAxisError` unless a record is one of days.

    Parameters
    ----------
    time : DataArray
        Its times.
    what : str
        What it is, for the message.
    """
    if time.size < 2:
        return
    apart = int(np.diff(np.sort(days(time))).min())
    if is_subdaily(time) or apart != 1:
        raise TimeAxisError(
            f"{what} has a time step of {step_text(time)}; these indices are of daily values. Make "
            'such, for instance with .resample(time="1D").mean(), or .sum() for amounts of rain.'
        )


def days_of(time: xr.DataArray, chosen: Sequence[int] = ALL) -> Days:
    """Return the days of a record that lie in some months.

    Parameters
    ----------
    time : DataArray
        Ascending times, a day apart or more.
    chosen : sequence of int
        Months, in the order of a season: (12, 1, 2) for winter.

    Returns
    -------
    Days

    Examples
    --------
    >>> import pandas as pd
    >>> time = xr.DataArray(pd.date_range("2000-12-01", "2002-02-28"), dims="time")
    >>> winter = days_of(time, (12, 1, 2))
    >>> winter.years.labels, winter.joined.labels
    (array([2001, 2002]), array([2000, 2001, 2002]))
    """
    month = months(time)
    rows = np.flatnonzero(np.isin(month, chosen))
    stamps = rounded(time).dt
    year = np.asarray(stamps.year.values, dtype=np.int64)[rows]
    day = np.asarray(stamps.day.values, dtype=np.int64)[rows]
    month = month[rows]
    calendar = calendar_of(time)
    early = _before_the_turn(chosen)
    own = year + np.isin(month, early)
    starts, labels = _starts(own)
    enough = np.array([np.ceil(WHOLE * _length(y, chosen, early, calendar)) for y in labels], int)
    joined = Years(*_starts(year), np.ones(np.unique(year).size, int))
    places, period = _places(month, day, calendar)
    numbers = days(time)[rows]
    return Days(rows, numbers, places, period, Years(starts, labels, enough), joined)


def _before_the_turn(chosen: Sequence[int]) -> tuple[int, ...]:
    """Return the months of a season that lie in the year before the one it is named by."""
    turn = [k for k in range(1, len(chosen)) if chosen[k] < chosen[k - 1]]
    return tuple(chosen[: turn[0]]) if turn else ()


def _starts(label: Array) -> tuple[Array, Array]:
    starts = np.flatnonzero(np.diff(label, prepend=label[:1] - 1))
    return starts, label[starts]


def _length(year: int, chosen: Sequence[int], early: Sequence[int], calendar: str) -> int:
    """Return the number of days of a season's year."""
    from cftime import datetime

    return sum(
        int(datetime(int(year) - (m in early), m, 1, calendar=calendar).daysinmonth) for m in chosen
    )


def _places(month: Array, day: Array, calendar: str) -> tuple[Array, int]:
    """Return the place of each day in a year, and the length of that year."""
    period = _PERIODS.get(calendar, 365)
    if period == 360:
        return 30 * (month - 1) + day - 1, period
    february = 29 if period == 366 else 28
    lengths = np.array([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    before = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    beyond = day > lengths[month - 1]
    return np.where(beyond, -1, before[month - 1] + day - 1), period
