"""Test days of a study: the last tenth of each season's days, and what may be learnt before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from xdownscale.core.errors import TimeAxisError
from xdownscale.core.time import months
from xdownscale.splits import resolve_seasons

TEST = 0.1  # of a season's days
FEWEST = 5  # test days


@dataclass(frozen=True, kw_only=True)
class Period:
    """Days of one season.

    Attributes
    ----------
    train : DataArray
        All days that may be learnt from, of any season, as lags need them: they end `purge` days
        before the first test day.
    test : DataArray
        The test days.
    """

    train: xr.DataArray
    test: xr.DataArray


def period_of(time: xr.DataArray, season: str, purge: int) -> Period:
    """Return the training and the test days of a season.

    Parameters
    ----------
    time : DataArray
        Days of the fine record, ascending.
    season : str
        Such as ``"JJA"``.
    purge : int
        Days before the first test day that are neither.

    Raises
    ------
    TimeAxisError
        If the season has too few days.

    Examples
    --------
    >>> import pandas as pd
    >>> time = xr.DataArray(pd.date_range("2004-01-01", "2005-12-31"), dims="time")
    >>> found = period_of(time, "JJA", 3)
    >>> str(found.test.values[0])[:10], str(found.train.values[-1])[:10], found.test.size
    ('2005-08-13', '2005-08-09', 19)
    """
    inside = np.flatnonzero(np.isin(months(time), resolve_seasons([season])[season]))
    count = int(np.ceil(TEST * inside.size))
    if count < FEWEST:
        raise TimeAxisError(
            f"The fine record has {inside.size} days in {season}, of which {count} would be test "
            f"days; a study needs {FEWEST} or more. Leave the season out."
        )
    rows = inside[-count:]
    return Period(train=time[: max(int(rows[0]) - purge, 0)], test=time[rows])
