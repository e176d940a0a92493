"""Pairs of time steps that are a given lag apart, in records with gaps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.coords import require_time
from xdownscale.core.errors import OptionError, TimeAxisError
from xdownscale.core.time import DAY, check_time, days, find, months, rounded, seconds, time_step

MONTH = 2_629_746  # seconds, the mean of the Gregorian calendar: the step of monthly records
_WHAT = "The record"


class Series(NamedTuple):
    """A record whose times ascend in whole steps, with the position of each time.

    Attributes
    ----------
    da : DataArray
        The record, sorted.
    time : str
        Its time dimension.
    positions : ndarray of int, shape (time,)
        Position of each time on the regular axis, from 0; a gap leaves positions out.
    step : int
        Length of a step in seconds; `MONTH` for monthly records, whose months are all one step.
    """

    da: xr.DataArray
    time: str
    positions: NDArray[np.int64]
    step: int


def series_of(da: xr.DataArray, max_lag: int) -> Series:
    """Check a record for lag statistics and number its steps.

    Raises
    ------
    OptionError
        If `max_lag` is no whole number above 0.
    TimeAxisError
        If there is no time, a gap is no multiple of the step, or the record is too short.
    """
    if int(max_lag) != max_lag or max_lag < 1:
        raise OptionError(f"max_lag is {max_lag}; give a whole number of steps, 1 or more.")
    name = require_time(da, _WHAT)
    da = check_time(da, _WHAT)
    if da.sizes[name] < max_lag + 2:
        raise TimeAxisError(
            f"{_WHAT} has {da.sizes[name]} time steps; max_lag={max_lag} needs {max_lag + 2} or "
            f"more. Give a longer record or max_lag={max(1, da.sizes[name] - 2)}."
        )
    month = _month_numbers(da[name])
    if month is not None:
        return Series(da, name, month, MONTH)
    step = time_step(da[name])
    return Series(da, name, _positions(da[name], step), step)


def _positions(time: xr.DataArray, step: int) -> NDArray[np.int64]:
    numbers = seconds(time)
    gaps = np.diff(numbers)
    odd = np.flatnonzero(gaps % step)
    if odd.size:
        at = odd[0]
        raise TimeAxisError(
            f"Irregular time steps: {time.values[at]} is followed by {time.values[at + 1]}, "
            f"{_length(int(gaps[at]))} later; gaps must be multiples of the step of "
            f"{_length(step)} ({odd.size} of {gaps.size} are not). Bring the record to regular "
            "steps, for instance with .resample(...)."
        )
    return np.asarray((numbers - numbers[0]) // step)


def _month_numbers(time: xr.DataArray) -> NDArray[np.int64] | None:
    """Return the number of each month of a monthly record; None where it is none."""
    gaps = np.diff(days(time))
    short = gaps.size and gaps.min() >= 28 and np.median(gaps) <= 31
    if not short or np.ptp(gaps) == 0:
        return None
    numbers = 12 * np.array(rounded(time).dt.year.values, dtype=np.int64) + months(time)
    return numbers - numbers[0] if (np.diff(numbers) > 0).all() else None


def _length(span: int) -> str:
    return f"{span / DAY:g} days" if span >= DAY else f"{span / 3600:g} hours"


def lag_coordinate(lags: NDArray[np.int64], step: int) -> xr.DataArray:
    """Return the coordinate ``lag``, counted in steps."""
    attrs = {"long_name": "lag", "units": step_name(step)}
    return xr.DataArray(lags, dims=("lag",), attrs=attrs)


def step_name(step: int) -> str:
    """Return a time step as units name it.

    Examples
    --------
    >>> step_name(DAY), step_name(MONTH), step_name(6 * 3600), step_name(7 * DAY), step_name(900)
    ('day', 'month', '6 h', '7 days', '15 min')
    """
    if step in (DAY, MONTH):
        return "day" if step == DAY else "month"
    units = (("days", DAY), ("h", 3600), ("min", 60), ("s", 1))
    name, size = next((name, size) for name, size in units if step % size == 0)
    return f"{step // size} {name}"


def pairs(
    positions: NDArray[np.int64], start: int, lag: int
) -> tuple[NDArray[np.intp] | slice, NDArray[np.intp] | slice]:
    """Return the rows from `start` on that have a row `lag` steps earlier, and those earlier rows.

    Slices where nothing is missing: they cost no copy.
    """
    before = find(positions[start:] - lag, positions)
    there = before >= 0
    if there.all() and before.size and before[-1] - before[0] == before.size - 1:
        return slice(start, len(positions)), slice(int(before[0]), int(before[-1]) + 1)
    return np.flatnonzero(there) + start, before[there]
