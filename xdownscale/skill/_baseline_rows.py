"""Rows of a table that a prediction has to beat: baselines that its records allow."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xdownscale.core.alignment import onto_grid, require_same_units
from xdownscale.core.blocks import by_days
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import (
    DataError,
    GridError,
    OptionError,
    TimeAxisError,
    check_option,
)
from xdownscale.core.normalization import Scaling
from xdownscale.core.time import check_calendars, check_steps, match_times
from xdownscale.skill._closed_forms import (
    fit_analogues,
    fit_bias,
    fit_dressed,
    fit_point,
)
from xdownscale.skill._training import (
    Coarse,
    Make,
    Reading,
    Training,
    labelled,
    own_driver,
    read_training,
)
from xdownscale.skill.baselines import climatology, interpolate, persistence, place_in_year

Baselines = str | Mapping[str, xr.DataArray] | None
MEMBERS = 24  # of the ensembles
CHEAP = ("bicubic", "bilinear + bias", "ridge", "climatology", "dressed", "analogues")
_POINTS = ("bilinear + bias", "ridge")
_ENSEMBLES = ("dressed", "analogues")


def add_baselines(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    wanted: Baselines,
    coarse: Coarse | None,
    train: xr.DataArray | None,
    space: Scaling,
    *,
    ensembles: bool,
) -> tuple[dict[str, xr.DataArray], dict[str, str], list[str]]:
    """Add the baselines asked for to the predictions; a prediction replaces a baseline of its name.

    Parameters
    ----------
    predictions : mapping of str to DataArray
        What is scored.
    truth : DataArray
        (time, lat, lon).
    wanted : {"auto", None} or mapping of str to DataArray
        As for `table`.
    coarse : DataArray or Dataset, optional
        Coarse record.
    train : DataArray, optional
        Training days of the fine one.
    space : Scaling
        Transform of the scores.
    ensembles : bool
        Add baselines that are ensembles too.

    Returns
    -------
    dict of str to DataArray
        The baselines are lazy.
    dict of str to str
        Baselines that were wanted and could not be made, with what they need.
    list of str
        Names of the baselines that need no truth of the days that are scored.
    """
    made: dict[str, xr.DataArray] = {}
    lacking: dict[str, str] = {}
    if isinstance(wanted, Mapping):
        made = dict(wanted)
    elif wanted is not None:
        check_option("baselines", wanted, ("auto",))
        fits = (*_POINTS, *(_ENSEMBLES if ensembles else ()))
        fits = tuple(name for name in fits if name not in predictions)
        made, lacking = _automatic(truth, coarse, train, space, fits)
    clash = set(made) & set(predictions) if isinstance(wanted, Mapping) else set()
    if clash:
        raise OptionError(
            f"{sorted(clash)} stand both in predictions and in baselines; rename one of each."
        )
    made = {name: da for name, da in made.items() if name not in predictions}
    lacking = {name: why for name, why in lacking.items() if name not in predictions}
    cheap = [] if wanted is None else list(wanted) if isinstance(wanted, Mapping) else list(CHEAP)
    return {**predictions, **made}, lacking, cheap


def _automatic(
    truth: xr.DataArray,
    coarse: Coarse | None,
    train: xr.DataArray | None,
    space: Scaling,
    fits: tuple[str, ...],
) -> tuple[dict[str, xr.DataArray], dict[str, str]]:
    """Make the baselines that the records allow, and say what the others need."""
    time = require_time(truth, "The truth")
    made = {}
    lacking = {}
    if coarse is None:
        lacking["bicubic"] = "give coarse=, the coarse record of these days"
    else:
        same = _same_quantity(coarse, truth)
        require_same_units(same, truth, ("The coarse record", "the truth"))
        made["bicubic"] = _bicubic(same, truth, time)
    own = None
    if train is None:
        lacking["climatology"] = "give train=, the training days of the fine record"
    else:
        require_same_units(train, truth, ("The training record", "the truth"))
        own = _training_days(train, truth, time)
    fitted, unfitted = _fitted(truth, coarse, own, space, fits)
    made |= fitted
    lacking |= unfitted
    if own is not None:
        made["climatology"] = _climatology(own, truth.indexes[time])
    yesterday = _persistence(truth, own, time)
    if yesterday is None:
        lacking["persistence"] = "no day has its yesterday in the truth or in train="
    else:
        made["persistence"] = yesterday
    last = {name: made.pop(name) for name in _ENSEMBLES if name in made}
    return made | last, lacking


class _Fit(NamedTuple):
    """How a fitted baseline is read and made."""

    needs: str
    reading: Reading
    fit: Callable[[Training], Make]
    realizations: int | None


_FITS = {
    "bilinear + bias": _Fit(
        "bias_corrected", Reading(method="bilinear"), lambda known: fit_bias(known, "auto"), None
    ),
    "ridge": _Fit("ridge", Reading(window=1), lambda known: fit_point(known, "ridge"), None),
    "dressed": _Fit(
        "dressed",
        Reading(window=1),
        lambda known: fit_dressed(known, "auto", None, MEMBERS, 0),
        MEMBERS,
    ),
    "analogues": _Fit(
        "analogues",
        Reading(window=1),
        lambda known: fit_analogues(known, None, None, None, MEMBERS, 0),
        MEMBERS,
    ),
}


def _fitted(
    truth: xr.DataArray,
    coarse: Coarse | None,
    train: xr.DataArray | None,
    space: Scaling,
    names: tuple[str, ...],
) -> tuple[dict[str, xr.DataArray], dict[str, str]]:
    """Fit baselines on training days that are no days of the truth; say why others are not."""
    if coarse is None or train is None:
        both = {
            "coarse=, the coarse record of these days and of the training days": coarse,
            "train=, the training days of the fine record": train,
        }
        why = "give " + ", and ".join(words for words, given in both.items() if given is None)
        return {}, dict.fromkeys(names, why)
    time = require_time(truth, "The truth")
    rest = match_times(train.indexes[time], truth.indexes[time]) < 0
    known = train.isel({time: np.flatnonzero(rest)}).rename(truth.name)
    times = _shared_days(coarse, truth, time)
    made: dict[str, xr.DataArray] = {}
    lacking: dict[str, str] = {}
    read: dict[Reading, Any] = {}
    for name in names:
        each = _FITS[name]
        try:
            if each.reading not in read:
                read[each.reading] = read_training(coarse, known, times, each.reading, each.needs)
            training, asked = read[each.reading]
            _check_scored(training, space)
            fields = each.fit(training)
            made[name] = labelled(training, asked, fields, each.realizations, lazy=True)
        except (DataError, GridError, TimeAxisError) as err:
            lacking[name] = str(err).removeprefix(f"{each.needs} ").rstrip(".")
    return made, lacking


def _check_scored(training: Training, space: Scaling) -> None:
    """Raise `DataError` where values of a baseline may lie outside the transform of the scores."""
    least = training.least
    above_zero = space.transform == "log10" and space.floor is None
    if (above_zero and not least > 0) or (space.transform in ("log1p", "sqrt") and least < 0):
        raise DataError(
            f"its values may be {'0 or less' if above_zero else 'negative'}, which transform="
            f"{space.transform!r} cannot score."
        )


def _same_quantity(coarse: Coarse, truth: xr.DataArray) -> xr.DataArray:
    """Return the coarse variable that is the quantity of the truth."""
    return coarse[own_driver(coarse, truth)] if isinstance(coarse, xr.Dataset) else coarse


def _shared_days(coarse: Coarse, truth: xr.DataArray, time: str) -> Any:
    """Return the times of the truth that the coarse record has."""
    same = _same_quantity(coarse, truth)
    wanted = truth.indexes[time]
    return wanted[match_times(wanted, same.indexes[require_time(same, "The coarse record")]) >= 0]


def _bicubic(coarse: xr.DataArray, truth: xr.DataArray, time: str) -> xr.DataArray:
    have = coarse.indexes[require_time(coarse, "The coarse record")]
    wanted = truth.indexes[time]
    check_calendars(have, wanted, ("The coarse record", "the truth"))
    check_steps(have, wanted, ("The coarse record", "the truth"))
    there = match_times(wanted, have) >= 0
    if not there.any():
        raise TimeAxisError(
            f"The coarse record, {have.min()} to {have.max()}, and the truth, {wanted.min()} to "
            f"{wanted.max()}, have no day in common, so there is no bicubic row. Give the coarse "
            "record of the days of the truth, or leave coarse out."
        )
    return interpolate(by_days(coarse, find_axes(coarse).time), truth, wanted[there])


def _training_days(train: xr.DataArray, truth: xr.DataArray, time: str) -> xr.DataArray:
    """Check the training days, and bring them to the grid and the names of the truth."""
    have = train.indexes[require_time(train, "The training record")]
    what = ("The training record", "the truth")
    check_calendars(have, truth.indexes[time], what)
    check_steps(have, truth.indexes[time], what)
    return onto_grid(train, truth, "train")


def _climatology(train: xr.DataArray, times: Any) -> xr.DataArray:
    """Compute the climatology once for each day of the year that is asked."""
    time = require_time(train, "The training record")
    _, first, row = np.unique(place_in_year(times), return_index=True, return_inverse=True)
    each = climatology(train, times[first]).compute()
    spread = each.chunk({time: 1}).isel({time: row.ravel()})
    return spread.assign_coords({time: times})


def _persistence(truth: xr.DataArray, train: xr.DataArray | None, time: str) -> Any:
    """Return the field of the day before, from truth or training days; None without any."""
    wanted = truth.indexes[time]
    found = None
    for da in (truth, train):
        if da is None or not _has_yesterdays(da.indexes[time], wanted):
            continue
        part = persistence(by_days(da, time), wanted)
        found = part if found is None else found.fillna(part)
    return found


def _has_yesterdays(have: Any, wanted: Any) -> bool:
    return bool((match_times(wanted - datetime.timedelta(days=1), have) >= 0).any())
