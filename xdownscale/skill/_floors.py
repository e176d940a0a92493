"""The rows that every table should have: bicubic, climatology and persistence."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale import baselines
from xdownscale.alignment import check_calendars, comparable_times, onto_grid
from xdownscale.errors import OptionError, TimeAxisError, check_option
from xdownscale.labels import find_axes, require_time
from xdownscale.skill._streams import by_days

Floors = str | Mapping[str, xr.DataArray] | None


def add_floors(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    wanted: Floors,
    coarse: xr.DataArray | None,
    train: xr.DataArray | None,
) -> tuple[dict[str, xr.DataArray], dict[str, str]]:
    """Return predictions and the baselines asked for; a prediction's name wins.

    Parameters
    ----------
    predictions : mapping of str to DataArray
        What is scored.
    truth : DataArray
        (time, lat, lon).
    wanted : {"auto", None} or mapping of str to DataArray
        As for `table`.
    coarse, train : DataArray, optional
        Coarse record, and training days of the fine one.

    Returns
    -------
    dict of str to DataArray
        The baselines are lazy.
    dict of str to str
        Baselines that were wanted and could not be made, with what they need.
    """
    made: dict[str, xr.DataArray] = {}
    lacking: dict[str, str] = {}
    if isinstance(wanted, Mapping):
        made = dict(wanted)
    elif wanted is not None:
        check_option("baselines", wanted, ("auto",))
        made, lacking = _automatic(truth, coarse, train)
    clash = set(made) & set(predictions) if isinstance(wanted, Mapping) else set()
    if clash:
        raise OptionError(
            f"{sorted(clash)} stand both in predictions and in baselines; rename one of each."
        )
    made = {name: da for name, da in made.items() if name not in predictions}
    lacking = {name: why for name, why in lacking.items() if name not in predictions}
    return {**predictions, **made}, lacking


def _automatic(
    truth: xr.DataArray, coarse: xr.DataArray | None, train: xr.DataArray | None
) -> tuple[dict[str, xr.DataArray], dict[str, str]]:
    """Make what can be made of the records at hand, and say what the others need."""
    time = require_time(truth, "The truth")
    made, lacking = {}, {}
    if coarse is None:
        lacking["bicubic"] = "give coarse=, the coarse record of these days"
    else:
        made["bicubic"] = _bicubic(coarse, truth, time)
    own = None
    if train is None:
        lacking["climatology"] = "give train=, the training days of the fine record"
    else:
        own = _training_days(train, truth, time)
        made["climatology"] = _climatology(own, truth.indexes[time])
    yesterday = _persistence(truth, own, time)
    if yesterday is None:
        lacking["persistence"] = "no day has its yesterday in the truth or in train="
    else:
        made["persistence"] = yesterday
    return made, lacking


def _training_days(train: xr.DataArray, truth: xr.DataArray, time: str) -> xr.DataArray:
    """Training days on the grid and under the names of the truth, checked."""
    have = train.indexes[require_time(train, "The training record")]
    what = ("The training record", "the truth")
    check_calendars(have, truth.indexes[time], "the training record and the truth")
    comparable_times(have, truth.indexes[time], what)
    return onto_grid(train, truth, "train")


def _persistence(truth: xr.DataArray, train: xr.DataArray | None, time: str) -> Any:
    """Field of yesterday, from the truth and else the training days; None where there is none."""
    wanted, found = truth.indexes[time], None
    for da in (truth, train):
        if da is None or not _has_yesterdays(da.indexes[time], wanted):
            continue
        part = baselines.persistence(by_days(da, time), wanted)
        found = part if found is None else found.fillna(part)
    return found


def _has_yesterdays(have: Any, wanted: Any) -> bool:
    if not isinstance(wanted, pd.DatetimeIndex | xr.CFTimeIndex):
        return False
    own, days = comparable_times(have, wanted - datetime.timedelta(days=1))
    return bool(days.isin(own).any())


def _bicubic(coarse: xr.DataArray, truth: xr.DataArray, time: str) -> xr.DataArray:
    have = coarse.indexes[require_time(coarse, "The coarse record")]
    wanted = truth.indexes[time]
    check_calendars(have, wanted, "the coarse record and the truth")
    own, days = comparable_times(have, wanted, ("The coarse record", "the truth"))
    there = days.isin(own)
    if not there.any():
        raise TimeAxisError(
            f"The coarse record, {have.min()} to {have.max()}, and the truth, {wanted.min()} to "
            f"{wanted.max()}, have no day in common, so there is no bicubic row. Give the coarse "
            "record of the days of the truth, or leave coarse out."
        )
    return baselines.interpolate(by_days(coarse, find_axes(coarse).time), truth, wanted[there])


def _climatology(train: xr.DataArray, times: Any) -> xr.DataArray:
    """Climatology of each day of the year asked, computed once; days of other years share it."""
    time = require_time(train, "The training record")
    stamps = xr.DataArray(times, dims="time").dt
    place = (stamps.dayofyear - 1) / stamps.days_in_year
    _, first, row = np.unique(place.values, return_index=True, return_inverse=True)
    each = baselines.climatology(train, times[first]).compute()
    spread = each.chunk({time: 1}).isel({time: row.ravel()})
    return spread.assign_coords({time: times})
