"""Time axes: as numbers, checked, and matched with each other."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xdownscale.core.coords import require_time
from xdownscale.core.errors import TimeAxisError, XDownscaleWarning

DAY = 86400
_GREGORIAN = ("standard", "gregorian", "proleptic_gregorian")


def seconds(time: Any) -> NDArray[np.int64]:
    """Return times as whole seconds since 1970-01-01 in their own calendar.

    Parameters
    ----------
    time : array, Index or DataArray of datetime64 or cftime, shape (n,)
        Times. What stands behind the second is rounded: it is an error of decoding.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    TimeAxisError
        If these are no times, some are missing (NaT), or they have more than one dimension.

    Examples
    --------
    >>> import pandas as pd
    >>> seconds(pd.date_range("1970-01-02", periods=2))
    array([ 86400, 172800])
    """
    values = _values(time)
    if values.dtype.kind == "M":
        if np.isnat(values).any():
            raise TimeAxisError(
                f"{np.isnat(values).sum()} of {values.size} times are missing (NaT); drop them."
            )
        micro = values.astype("datetime64[us]").astype(np.int64)
        return np.asarray((micro + 500_000) // 1_000_000)
    import cftime

    if not values.size:
        return np.zeros(0, np.int64)
    numbers = cftime.date2num(values, "seconds since 1970-01-01", calendar=calendar_of(values))
    return np.asarray(np.rint(numbers), dtype=np.int64)


def calendar_of(time: Any) -> str:
    """Return the calendar's name; all that are Gregorian today are ``"standard"``.

    Examples
    --------
    >>> import xarray as xr
    >>> calendar_of(xr.date_range("2000-01-01", periods=2, calendar="360_day", use_cftime=True))
    '360_day'
    """
    values = _values(time)
    if values.dtype.kind == "M" or not values.size:
        return "standard"
    first = values[0]
    # before 1583 "standard" is Julian and must not be taken for proleptic
    modern = first.calendar in _GREGORIAN and first.year > 1582
    return "standard" if modern else str(first.calendar)


def months(time: Any) -> NDArray[np.int64]:
    """Return the month, 1 to 12, of each time."""
    values = _values(time)
    if values.dtype.kind == "M":
        return np.asarray(values.astype("datetime64[M]").astype(np.int64) % 12 + 1)
    return np.array([t.month for t in values], dtype=np.int64)


def days(time: Any) -> NDArray[np.int64]:
    """Return the number of the day that each time lies in."""
    return seconds(time) // DAY


def _values(time: Any) -> NDArray[Any]:
    values = np.asarray(getattr(time, "values", time))
    if values.ndim != 1:
        raise TimeAxisError(
            f"A time axis has one dimension; found one with {values.ndim} (shape {values.shape})."
        )
    dates = values.dtype == object and all(hasattr(t, "calendar") for t in values)
    if values.dtype.kind != "M" and not dates:
        raise TimeAxisError(
            f"Times of type {values.dtype} are no dates; give datetime64 or cftime, for instance "
            "with xarray.decode_cf."
        )
    return values


def ascending(time: Any) -> NDArray[np.int64]:
    """Return `seconds` of times that ascend strictly.

    Raises
    ------
    TimeAxisError
        If they do not.
    """
    numbers = seconds(time)
    if np.any(np.diff(numbers) <= 0):
        at = int(np.argmax(np.diff(numbers) <= 0))
        values = _values(time)
        raise TimeAxisError(
            f"Times must ascend without duplicates; {values[at]} is followed by {values[at + 1]}. "
            "Pass the record through `check_time` first."
        )
    return numbers


def time_step(time: Any) -> int:
    """Return the most common distance of neighbouring times, in seconds.

    Parameters
    ----------
    time : array or DataArray of datetime64 or cftime, shape (n,)
        Ascending times.

    Returns
    -------
    int
        One day for a single time.

    Raises
    ------
    TimeAxisError
        If the times do not ascend.

    Examples
    --------
    >>> import numpy as np
    >>> time_step(np.array(["2000-01-01", "2000-01-02", "2000-02-01", "2000-02-02"], "M8[s]"))
    86400
    """
    steps, counts = np.unique(np.diff(ascending(time)), return_counts=True)
    return int(steps[np.argmax(counts)]) if steps.size else DAY


def is_subdaily(time: Any) -> bool:
    """Tell whether times lie closer than days do: two on one date, or half a day apart or less.

    Parameters
    ----------
    time : array, Index or DataArray of datetime64 or cftime, shape (n,)
        Times, in any order.

    Returns
    -------
    bool
        False for a single time, which has no step.

    Examples
    --------
    >>> import pandas as pd
    >>> is_subdaily(pd.date_range("2000-01-01", periods=3, freq="6h"))
    True
    """
    numbers = np.unique(seconds(time))
    close = np.any(np.diff(numbers) <= DAY // 2)
    return bool(close or np.any(np.diff(numbers // DAY) == 0))


def check_steps(
    a: Any, b: Any, what: tuple[str, str] = ("The first record", "the second record")
) -> None:
    """Raise where one record is sub-daily and the other is not.

    A daily mean and the instant of 00 UTC may bear the same time and are not the same thing.
    Days that are spread out are days; a single time has no step, and goes with either.

    Parameters
    ----------
    a, b : array, Index or DataArray of datetime64 or cftime, shape (n,) and (m,)
        Times, in any order.
    what : tuple of str
        What the records are, for the message.

    Raises
    ------
    TimeAxisError
        If one is sub-daily and the other is not; names both steps.

    Examples
    --------
    >>> import pandas as pd
    >>> check_steps(pd.date_range("2000", periods=3), pd.date_range("2000", periods=3, freq="7D"))
    """
    if min(len(a), len(b)) < 2 or is_subdaily(a) == is_subdaily(b):
        return
    finer = what[0] if is_subdaily(a) else what[1]
    raise TimeAxisError(
        f"{what[0]} has a time step of {step_text(a)} and {what[1]} one of {step_text(b)}, so "
        "daily values would stand against those of an hour. Make daily means of "
        f'{finer[0].lower() + finer[1:]} with .resample(time="1D").mean(); or, if both hold values '
        "of that hour, select its times of the other one, with .sel(time=...)."
    )


def step_text(time: Any) -> str:
    """Return the most common distance of neighbouring times, in words.

    Parameters
    ----------
    time : array, Index or DataArray of datetime64 or cftime, shape (n,)
        Two times or more, in any order.

    Returns
    -------
    str

    Examples
    --------
    >>> import pandas as pd
    >>> step_text(pd.date_range("2000-01-01", periods=3, freq="6h"))
    '6 hours'
    """
    steps, counts = np.unique(np.diff(np.unique(seconds(time))), return_counts=True)
    step = int(steps[np.argmax(counts)])
    units = (("day", DAY), ("hour", 3600), ("minute", 60), ("second", 1))
    name, size = next((name, size) for name, size in units if step % size == 0)
    return f"{step // size} {name}{'' if step == size else 's'}"


def check_time(da: xr.DataArray, what: str = "The record") -> xr.DataArray:
    """Return a record whose times ascend.

    Parameters
    ----------
    da : DataArray
        Any record; stays as it is.
    what : str
        What it is, for messages.

    Returns
    -------
    DataArray
        Sorted, with a warning, where it was not.

    Raises
    ------
    TimeAxisError
        If there is no time axis, or times are missing, no dates, or there twice.

    Warns
    -----
    XDownscaleWarning
        If the times had to be sorted.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> time = pd.date_range("2000-01-01", periods=2)
    >>> da = xr.DataArray(np.ones((2, 1, 1)), coords={"time": time, "lat": [0.0], "lon": [0.0]})
    >>> check_time(da, "The fine record") is da
    True
    """
    name = require_time(da, what)
    numbers = seconds(da[name])
    order = np.argsort(numbers, kind="stable")
    again = np.flatnonzero(np.diff(numbers[order]) == 0)
    if again.size:
        first = [str(t) for t in np.asarray(da[name].values)[order][again[:3]]]
        raise TimeAxisError(
            f"{what} has {again.size} duplicate times, the first: {', '.join(first)}. Keep one of "
            f"each, for instance with .drop_duplicates({name!r})."
        )
    if np.array_equal(order, np.arange(order.size)):
        return da
    warnings.warn(
        f"The times of {what[0].lower() + what[1:]} did not ascend; it was sorted.",
        XDownscaleWarning,
        stacklevel=2,
    )
    return da.isel({name: order})


def match_times(a: Any, b: Any) -> NDArray[np.intp]:
    """Return where the times of one record stand in another.

    Parameters
    ----------
    a, b : array or DataArray of datetime64 or cftime, shape (n,) and (m,)
        Times; those of `b` without duplicates, in any order.

    Returns
    -------
    ndarray of int, shape (n,)
        Index in `b` of each time of `a`, -1 where there is none.

    Raises
    ------
    TimeAxisError
        If the calendars differ.

    Examples
    --------
    >>> import pandas as pd
    >>> match_times(pd.date_range("2000-01-01", periods=3), pd.date_range("2000-01-02", periods=9))
    array([-1,  0,  1])
    """
    left, right = calendar_of(a), calendar_of(b)
    if left != right and len(a) and len(b):
        raise TimeAxisError(
            f"The calendars differ: {left!r} and {right!r}. Bring both records to one with "
            ".convert_calendar(...)."
        )
    wanted, there = seconds(a), seconds(b)
    order = np.argsort(there, kind="stable")
    return find(wanted, there[order], order)


def find(
    wanted: NDArray[np.int64], there: NDArray[np.int64], names: ArrayLike | None = None
) -> NDArray[np.intp]:
    """Return the index in ascending `there` of each of `wanted` (or its name), else -1."""
    if not there.size:
        return np.full(wanted.shape, -1, np.intp)
    place = np.minimum(np.searchsorted(there, wanted), there.size - 1)
    found = np.arange(there.size) if names is None else np.asarray(names)
    return np.where(there[place] == wanted, found[place], -1).astype(np.intp)


def check_overlap(
    a: Any, b: Any, what: tuple[str, str] = ("The fine record", "the coarse record")
) -> NDArray[np.intp]:
    """Return `match_times` of two records that have times in common.

    Parameters
    ----------
    a, b : array or DataArray of datetime64 or cftime, shape (n,) and (m,)
        Times.
    what : tuple of str
        What the records are, for the message.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    TimeAxisError
        If the calendars differ or no time is common; gives both periods.

    Examples
    --------
    >>> import pandas as pd
    >>> check_overlap(pd.date_range("2000", periods=2), pd.date_range("2000", periods=9))
    array([0, 1])
    """
    index = match_times(a, b)
    if np.any(index >= 0):
        return index
    hint = "Give records that overlap."
    if np.intersect1d(days(a), days(b)).size:
        hint = (
            "They have days in common, but at other hours: give both the same hour, for instance "
            "with .assign_coords(time=da.time.dt.floor('D'))."
        )
    raise TimeAxisError(
        f"{what[0]} ({_period(a)}) and {what[1]} ({_period(b)}) have no time in common. {hint}"
    )


def _period(time: Any) -> str:
    values, numbers = _values(time), seconds(time)
    if not values.size:
        return "empty"
    return f"{values[numbers.argmin()]} to {values[numbers.argmax()]}"


def time_keys(time: xr.DataArray) -> npt.NDArray[np.int64]:
    """Return an integer for each time step: the key of its noise.

    Parameters
    ----------
    time : (n,) DataArray
        numpy or cftime times.

    Returns
    -------
    (n,) int64 array
        Seconds since 1970-01-01 in the calendar of `time`.

    Examples
    --------
    >>> import pandas as pd, xarray as xr
    >>> time_keys(xr.DataArray(pd.to_datetime(["1970-01-02"]), dims="time"))
    array([86400])
    """
    return np.asarray(seconds(time), np.int64)
