"""Times: what a file's name says, and what the file holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from xdownscale.cells import Array
from xdownscale.errors import DataError

DAY = 86400


def held_slots(times: Array, path: Path, pattern: str, slots: int) -> list[int]:
    """Return which value of the day each time of a file is.

    Parameters
    ----------
    times : ndarray of datetime64, shape (t,)
        Times in the file.
    path : Path
        The file; its name states the day, and the time where it holds one.
    pattern : str
        Regular expression of the name, with the groups ``date`` and perhaps ``time``.
    slots : int
        Values that make a day.

    Returns
    -------
    list of int

    Raises
    ------
    DataError
        If the file holds other times than its name says.
    """
    parts = re.fullmatch(pattern, path.name)
    assert parts is not None  # find_files saw to it
    groups = parts.groupdict()
    start = named_day(groups["date"])
    if times.dtype.kind != "M":
        raise DataError(
            f"{path} has times without a date ({times[:1]}); they need units such as 'minutes "
            "since 2000-01-01 00:30:00'. Give a file as it was published."
        )
    seconds = (times - start.astype(times.dtype)) / np.timedelta64(1, "s")
    held = [int(s) for s in seconds // (DAY // slots)]
    if groups.get("time") is not None:
        expected = [named_slot(groups["time"], slots)]
        whole = held == expected
    else:
        whole = all(0 <= slot < slots for slot in held)
    if not (whole and held):
        span = f"the times {times[0]} to {times[-1]}" if times.size else "no time"
        raise DataError(
            f"{path} holds {span}, which its name does not say. Give it its published name, or "
            "download it again."
        )
    return held


def named_day(date: str) -> np.datetime64:
    """Return the day that a file name states as YYYYMMDD.

    Raises
    ------
    ValueError
        If there is no such day.

    Examples
    --------
    >>> named_day("20200229")
    np.datetime64('2020-02-29')
    """
    return np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}", "D")


def named_slot(time: str, slots: int) -> int:
    """Return which value of the day a file is whose name states HHMM.

    Examples
    --------
    >>> named_slot("2345", 48)
    47
    """
    return (int(time[:2]) * 60 + int(time[2:])) // (1440 // slots)
