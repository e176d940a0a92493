"""The rows that every table should have: bicubic, climatology and persistence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
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
) -> dict[str, xr.DataArray]:
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
    """
    if isinstance(wanted, Mapping):
        made = dict(wanted)
    elif wanted is None:
        made = {}
    else:
        check_option("baselines", wanted, ("auto",))
        made = _automatic(truth, coarse, train)
    clash = set(made) & set(predictions) if isinstance(wanted, Mapping) else set()
    if clash:
        raise OptionError(
            f"{sorted(clash)} stand both in predictions and in baselines; rename one of each."
        )
    return {**predictions, **{name: da for name, da in made.items() if name not in predictions}}


def _automatic(
    truth: xr.DataArray, coarse: xr.DataArray | None, train: xr.DataArray | None
) -> dict[str, xr.DataArray]:
    """Make what can be made of the records at hand."""
    if coarse is None and train is None:
        return {}
    time = require_time(truth, "The truth")
    made = {}
    if coarse is not None:
        made["bicubic"] = _bicubic(coarse, truth, time)
    if train is not None:
        require_time(train, "The training record")
        own = onto_grid(train, truth, "train")
        made["climatology"] = _climatology(own, truth.indexes[time])
    lazy = by_days(truth, time)
    yesterday = baselines.persistence(lazy)
    if train is not None:
        # the day before the first one of the truth may be the last one of the training days
        yesterday = yesterday.fillna(
            baselines.persistence(by_days(own, find_axes(own).time), truth.indexes[time])
        )
    made["persistence"] = yesterday
    return made


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
