"""Calendar channels: the time of year and day as network inputs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.errors import XDownscaleWarning
from xdownscale.core.time import DAY, months, rounded, seconds

CHANNELS = {"cycle": 4, "period": 3}  # numbers of each kind


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Calendar channels of the paper: season index, days since start, normalised year.

    Attributes
    ----------
    start, span : float
        First training day (days since 1970-01-01) and length of the training period.
    first_year, years : float
        First year of the training period and number of years after it.
    """

    start: float
    span: float
    first_year: float
    years: float

    @classmethod
    def fit(cls, time: xr.DataArray) -> Calendar:
        """Compute the constants from training times."""
        days = seconds(time) / DAY
        years = rounded(time).dt.year.values
        return cls(
            start=float(days.min()),
            span=float(max(np.ptp(days), 1.0)),
            first_year=float(years.min()),
            years=float(max(np.ptp(years), 1)),
        )

    def channels(self, time: xr.DataArray) -> npt.NDArray[np.float32]:
        """Return ``(n, 3)`` channels in [-1, 1], clipped to the training range."""
        season = (months(time) % 12) // 3
        since = (seconds(time) / DAY - self.start) / self.span
        year = (rounded(time).dt.year.values - self.first_year) / self.years
        stacked = np.stack([season / 3, np.clip(since, 0, 1), np.clip(year, 0, 1)], axis=1)
        return (2 * stacked - 1).astype(np.float32)

    def outside(self, time: xr.DataArray) -> int:
        """Count the times outside the training range."""
        since = (seconds(time) / DAY - self.start) / self.span
        return int(np.sum((since < 0) | (since > 1)))


def calendar_numbers(
    kind: str, calendar: Calendar, time: xr.DataArray, step: int
) -> npt.NDArray[np.float32]:
    """Return the numbers that tell networks the time, ``(n, c)``.

    Parameters
    ----------
    kind : {"cycle", "period"}
        Sine and cosine of the day of the year, and of the hour where there are several time steps a
        day; or the channels of `Calendar`.
    calendar : Calendar
        Fitted on training times.
    time : (n,) DataArray
        numpy or cftime times.
    step : int
        Seconds from one time to the next; from a day on, the hour's two numbers are 0.

    Returns
    -------
    (n, 4) or (n, 3) float32 array

    Examples
    --------
    >>> import pandas as pd, xarray as xr
    >>> time = xr.DataArray(pd.to_datetime(["2001-01-01T00", "2001-07-02T12"]), dims="time")
    >>> calendar_numbers("cycle", Calendar.fit(time), time, 86400).round(2) + 0
    array([[ 0.,  1.,  0.,  0.],
           [ 0., -1.,  0.,  0.]], dtype=float32)
    """
    if kind == "period":
        return calendar.channels(time)
    hour = (seconds(time) % DAY) / DAY
    stamps = rounded(time).dt
    length = np.asarray(stamps.days_in_year.values, np.float64)
    year = (stamps.dayofyear.values - 1 + hour) / length
    numbers = [wave(2 * np.pi * share) for share in (year, hour) for wave in (np.sin, np.cos)]
    numbers[2:] = [number * (step < DAY) for number in numbers[2:]]
    return np.stack(numbers, axis=1).astype(np.float32)


def warn_outside(calendar: Calendar, time: xr.DataArray) -> None:
    """Warn where times lie outside the training period of the calendar channels.

    Parameters
    ----------
    calendar : Calendar
        Fitted on training times.
    time : (n,) DataArray
        Times to predict.
    """
    outside = calendar.outside(time)
    if outside:
        warnings.warn(
            f"{outside} of {time.size} days lie outside the training period; the channels 'days "
            "since start' and 'year' are clipped to their training range there.",
            XDownscaleWarning,
            stacklevel=5,
        )
