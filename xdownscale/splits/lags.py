"""Lag windows: the time steps before and after a target that a model uses as input."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xdownscale.core.errors import OptionError
from xdownscale.core.time import ascending, find, time_step


class Windows(NamedTuple):
    """Targets, and the time steps before each of them.

    Attributes
    ----------
    targets : ndarray of int, shape (n,)
        Index of each target, ascending.
    lags : ndarray of int, shape (n, lags)
        Indices of the time steps before it, the oldest first.
    """

    targets: NDArray[np.intp]
    lags: NDArray[np.intp]


def as_index(chosen: ArrayLike | None, n: int, what: str) -> NDArray[np.intp]:
    """Return a boolean mask or an index array as an ascending index array.

    Raises
    ------
    OptionError
        If a mask has another length than the record, or an index lies outside it.
    """
    if chosen is None:
        return np.arange(n)
    array = np.asarray(chosen)
    if array.dtype == bool:
        if array.shape != (n,):
            raise OptionError(
                f"The mask `{what}` has the shape {array.shape}; the record has {n} times, give "
                f"the shape ({n},)."
            )
        return np.flatnonzero(array)
    index = np.unique(array.astype(np.intp))
    if index.size and not (index[0] >= 0 and index[-1] < n):
        raise OptionError(
            f"`{what}` holds the indices {index[0]} to {index[-1]}; a record of {n} times has 0 to "
            f"{n - 1}."
        )
    return index


def lag_windows(
    time: Any,
    lags: int,
    targets: ArrayLike | None = None,
    *,
    present: ArrayLike | None = None,
    step: int | None = None,
) -> Windows:
    """Return the targets with a complete lag window, and their windows.

    A target t is kept when t - 1 ... t - `lags` steps all exist: a window never crosses a gap.

    Parameters
    ----------
    time : array or DataArray of datetime64 or cftime, shape (n,)
        Ascending times.
    lags : int
        Number of preceding time steps.
    targets : mask or index array, optional
        Time steps that may be targets; all of them by default.
    present : mask or index array, optional
        Time steps that may be in a window; all of them by default. Others count as a gap.
    step : int, optional
        Time step in seconds; by default the most common one.

    Returns
    -------
    Windows

    Raises
    ------
    OptionError
        For negative `lags`, or targets outside the record.
    TimeAxisError
        If the times do not ascend.

    Examples
    --------
    >>> import pandas as pd
    >>> time = pd.date_range("2000-01-01", periods=6).delete(1)
    >>> lag_windows(time, lags=2)
    Windows(targets=array([3, 4]), lags=array([[1, 2],
           [2, 3]]))
    """
    if lags < 0:
        raise OptionError(f"lags is {lags}; give a whole number of days, 0 or more.")
    numbers = ascending(time)
    width = time_step(time) if step is None else step
    candidates = as_index(targets, numbers.size, "targets")
    usable = as_index(present, numbers.size, "present")
    before = width * np.arange(lags, 0, -1, dtype=np.int64)
    window = find(numbers[candidates][:, None] - before, numbers[usable], usable)
    complete = (window >= 0).all(axis=1)
    return Windows(candidates[complete], window[complete])


def day_first(windows: NDArray[Any], before: int) -> NDArray[Any]:
    """Move the central time step of each window to the front.

    Parameters
    ----------
    windows : ndarray, shape (m, before + 1 + after)
        As `windows_around` returns them.
    before : int
        Time steps before the central one.

    Returns
    -------
    ndarray, shape (m, before + 1 + after)

    Examples
    --------
    >>> day_first(np.array([[3, 4, 5, 6]]), 2)
    array([[5, 3, 4, 6]])
    """
    rest = [k for k in range(windows.shape[1]) if k != before]
    return np.asarray(windows[:, [before, *rest]])


def windows_around(
    time: Any, rows: ArrayLike, before: int, after: int, *, step: int | None = None
) -> NDArray[np.intp]:
    """Return the rows of the time steps around some time steps of a record.

    Parameters
    ----------
    time : array or DataArray of datetime64 or cftime, shape (n,)
        Ascending times.
    rows : index array, shape (m,)
        Central time steps.
    before, after : int
        Time steps before and after them. With ``after=-1`` the window ends one step before.
    step : int, optional
        Time step in seconds; by default the most common one.

    Returns
    -------
    ndarray of int, shape (m, before + after + 1)
        Rows of the time steps; -1 where the record has none.

    Examples
    --------
    >>> import pandas as pd
    >>> windows_around(pd.date_range("2000-01-01", periods=4), [0, 2], 1, 1)
    array([[-1,  0,  1],
           [ 1,  2,  3]])
    """
    numbers = ascending(time)
    width = time_step(time) if step is None else step
    shifts = width * np.arange(-before, after + 1, dtype=np.int64)
    wanted = numbers[np.asarray(rows, np.intp)][:, None] + shifts
    return find(wanted, numbers, np.arange(numbers.size))
