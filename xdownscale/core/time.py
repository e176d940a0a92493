"""Time axes: convert to numbers, check and match."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xdownscale.core.coords import is_yyyymmdd, require_time
from xdownscale.core.errors import TimeAxisError, XDownscaleWarning
from xdownscale.core.quantities import as_plain

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
    values = rounded(xr.DataArray(_values(time), dims="time")).values
    if values.dtype.kind == "M":
        return np.asarray(values.astype("datetime64[M]").astype(np.int64) % 12 + 1)
    return np.array([t.month for t in values], dtype=np.int64)


def rounded(time: xr.DataArray) -> xr.DataArray:
    """Return times rounded to whole seconds: what stands behind them is an error of decoding.

    Parameters
    ----------
    time : DataArray of datetime64 or cftime, shape (n,)
        Times.

    Returns
    -------
    DataArray
        `time` itself where there was nothing to round.

    Examples
    --------
    >>> late = np.array(["1999-12-31T23:59:59.999999"], "datetime64[us]")
    >>> rounded(xr.DataArray(late, dims="time")).dt.year.item()
    2000
    """
    values = _values(time)
    if values.dtype.kind == "M":
        whole = seconds(values).astype("datetime64[s]")
    else:
        behind = [t.microsecond - 1_000_000 * (t.microsecond >= 500_000) for t in values]
        exact = [t - timedelta(microseconds=m) for t, m in zip(values, behind, strict=True)]
        whole = np.array(exact, dtype=object)
    if np.array_equal(whole, values):
        return time
    return xr.DataArray(whole, dims=time.dims, name=time.name, attrs=time.attrs)


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
        how = "xarray.decode_cf"
        if values.dtype.kind in "iu" and values.size and is_yyyymmdd(values):
            how = "pd.to_datetime(time.astype(str), format='%Y%m%d')"
        raise TimeAxisError(
            f"Times of type {values.dtype} are no dates; give datetime64 or cftime, for instance "
            f"with {how}."
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

    Raises
    ------
    TimeAxisError
        If there are no two times.

    Examples
    --------
    >>> import pandas as pd
    >>> step_text(pd.date_range("2000-01-01", periods=3, freq="6h"))
    '6 hours'
    """
    steps, counts = np.unique(np.diff(np.unique(seconds(time))), return_counts=True)
    if not steps.size:
        raise TimeAxisError(
            f"There are {np.size(time)} times, no two of which differ: they have no time step. "
            "Give two or more."
        )
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
    da = as_plain(da)
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


def check_calendars(
    a: Any, b: Any, what: tuple[str, str] = ("The first record", "the second record")
) -> None:
    """Raise where two time axes are of different calendars.

    Parameters
    ----------
    a, b : array, Index or DataArray of datetime64 or cftime, shape (n,) and (m,)
        Times.
    what : tuple of str
        What they belong to, for the message.

    Raises
    ------
    TimeAxisError
        If they are; names both.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2000-01-01", periods=2)
    >>> check_calendars(days, days)
    """
    left = calendar_of(a)
    right = calendar_of(b)
    if left != right and len(a) and len(b):
        raise TimeAxisError(
            f"The calendars of {_inside(what[0])} and {_inside(what[1])} differ: {left!r} and "
            f"{right!r}. Bring both records to one with .convert_calendar(...)."
        )


def _inside(what: str) -> str:
    """Return a name as it stands within a sentence."""
    return "the" + what[3:] if what.startswith("The ") else what


def match_times(a: Any, b: Any, what: tuple[str, str] | None = None) -> NDArray[np.intp]:
    """Return where the times of one record stand in another.

    This is the only comparison of time steps: fit, predict, scores, baselines, diagnostics and
    reports use it. Where neither record is sub-daily, dates are compared, so that daily means
    stamped at 00:00 meet those stamped at 12:00; else times are, rounded to the second.

    Parameters
    ----------
    a, b : array, Index or DataArray of datetime64 or cftime, shape (n,) and (m,)
        Times; those of `b` without duplicates, in any order.
    what : tuple of str, optional
        What the records are, for messages. Without it `a` may be some times of a sub-daily record
        that lie days apart; with it such a pair is refused, as by `check_steps`.

    Returns
    -------
    ndarray of int, shape (n,)
        Index in `b` of each time of `a`, -1 where there is none.

    Raises
    ------
    TimeAxisError
        If the calendars differ, or one record is sub-daily and the other is not.

    Examples
    --------
    >>> import pandas as pd
    >>> match_times(pd.date_range("2000-01-01", periods=3), pd.date_range("2000-01-02", periods=9))
    array([-1,  0,  1])
    >>> noons = pd.date_range("2000-01-02T12", periods=9)
    >>> match_times(pd.date_range("2000-01-01", periods=3), noons)
    array([-1,  0,  1])
    """
    check_calendars(a, b, what or ("The first record", "the second record"))
    if what is not None:
        check_steps(a, b, what)
    number = seconds if is_subdaily(a) or is_subdaily(b) else days
    wanted = number(a)
    there = number(b)
    order = np.argsort(there, kind="stable")
    return find(wanted, there[order], order)


def rows_of(wanted: Any, time: Any) -> NDArray[np.intp] | None:
    """Return the rows of a record that have one of the times asked for.

    Parameters
    ----------
    wanted : object
        What a user asks for: an array of times, or anything else that ``.sel(time=...)`` takes.
    time : array, Index or DataArray of datetime64 or cftime, shape (n,)
        Times of the record.

    Returns
    -------
    ndarray of int or None
        In the order of `wanted`; compared as in `match_times`. None where `wanted` is no array of
        times, or one of them is not in the record.

    Examples
    --------
    >>> import pandas as pd
    >>> noons = pd.date_range("2000-01-01T12", periods=9)
    >>> rows_of(pd.date_range("2000-01-03", periods=2), noons)
    array([2, 3])
    >>> rows_of(slice("2000-01-03"), noons) is None
    True
    """
    values = np.asarray(getattr(wanted, "values", wanted))
    dates = values.dtype == object and all(hasattr(t, "calendar") for t in values.flat)
    if values.ndim != 1 or not values.size or not (dates or values.dtype.kind == "M"):
        return None
    if calendar_of(values) != calendar_of(time):
        return None
    rows = match_times(values, time)
    return None if (rows < 0).any() else rows


def same_times(a: Any, b: Any) -> bool:
    """Tell whether two records have the same time steps in the same order.

    Parameters
    ----------
    a, b : array, Index or DataArray of datetime64 or cftime, shape (n,) and (m,)
        Times, each once; compared as in `match_times`.

    Returns
    -------
    bool

    Examples
    --------
    >>> import pandas as pd
    >>> noons = pd.date_range("2000-01-01T12", periods=3)
    >>> same_times(pd.date_range("2000-01-01", periods=3), noons)
    True
    """
    return len(a) == len(b) and bool(np.array_equal(match_times(a, b), np.arange(len(a))))


def check_unique(time: Any, what: str) -> None:
    """Raise where a time stands twice.

    Parameters
    ----------
    time : array, Index or DataArray of datetime64 or cftime, shape (n,)
        Times, in any order.
    what : str
        What they belong to, for the message.

    Raises
    ------
    TimeAxisError

    Examples
    --------
    >>> import pandas as pd
    >>> check_unique(pd.date_range("2000-01-01", periods=3), "The truth")
    """
    numbers, first = np.unique(seconds(time), return_index=True)
    if numbers.size < len(time):
        again = np.setdiff1d(np.arange(len(time)), first)[0]
        raise TimeAxisError(
            f"{what} has duplicate times, {_values(time)[again]} among them; keep one of each, "
            "with drop_duplicates."
        )


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
    index = match_times(a, b, what)
    if np.any(index >= 0):
        return index
    hint = "Give records that overlap."
    if np.intersect1d(days(a), days(b)).size:
        hint = (
            "They have days in common, but at other hours: give both the same hours, for instance "
            "as daily means, with .resample(time='1D').mean()."
        )
    raise TimeAxisError(
        f"{what[0]} ({_period(a)}) and {what[1]} ({_period(b)}) have no time in common. {hint}"
    )


def _period(time: Any) -> str:
    """Return the first and the last time, for messages."""
    values = _values(time)
    numbers = seconds(time)
    if not values.size:
        return "empty"
    return f"{values[numbers.argmin()]} to {values[numbers.argmax()]}"
