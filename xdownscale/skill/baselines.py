"""Baselines of downscaling: interpolation, climatology and persistence.

Each returns a DataArray on the fine grid for the days asked, with the dimensions, their order and
the name of the fine record.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.core.alignment import onto_grid, require_same_units
from xdownscale.core.blocks import by_days
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import OptionError, TimeAxisError, check_option
from xdownscale.core.missing import finite
from xdownscale.core.normalization import Scaling, choose_transform
from xdownscale.core.time import check_calendars, check_steps, check_unique, match_times, rounded
from xdownscale.regridding import regrid

Baselines = str | Mapping[str, xr.DataArray] | None
_YEAR = 365.25
_ROW = "_day_of_year"


def interpolate(
    coarse: xr.DataArray,
    fine: xr.DataArray,
    time: Any = None,
    method: str = "bicubic",
    *,
    transform: str | Scaling = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Interpolate the coarse record to the fine grid, day by day.

    Parameters
    ----------
    coarse : DataArray
        Coarse record (time, lat, lon), dims in any order.
    fine : DataArray
        Fine record, which lends its grid, dims, name and attributes, or any field on its grid.
    time : array of times, optional
        Days asked; default all days of `coarse`.
    method : str
        As in `regrid`.
    transform : str or Scaling
        A spline overshoots steps and would make a positive variable negative, so it is
        interpolated in the space of this transform. ``"auto"`` looks at the values of the days
        asked (which reads them) and chooses as `choose_transform` does; a variable that is never
        negative is then also kept from falling below its minimum. ``"identity"`` interpolates the
        values as they are.
    extrapolate : None or "nearest"
        As in `regrid`.

    Returns
    -------
    DataArray
        On the fine grid for the days asked; lazy where `coarse` is.

    Raises
    ------
    TimeAxisError
        If a day asked is not in `coarse`, or `coarse` has duplicate days.
    GridError
        As `regrid`.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=2)
    >>> edges = {"time": days, "lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    >>> coarse = xr.DataArray(np.ones((2, 2, 2)), coords=edges)
    >>> fine = xr.DataArray(np.zeros((3, 1)), coords={"lat": [0.0, 0.5, 1.0], "lon": [0.5]})
    >>> interpolate(coarse, fine, method="bilinear").sizes["lat"]
    3
    """
    name = require_time(coarse, "The coarse record")
    wanted = coarse.indexes[name] if time is None else _index(time)
    days = coarse.isel({name: _positions(coarse, wanted, "The coarse record", complete=True)})
    days = days.transpose(name, ...)
    days = days.copy(data=finite(days.data))
    space = transform
    if not isinstance(space, Scaling):
        space = choose_transform(days.data, space)
    moved = regrid(
        days.copy(data=space.transform_only(days.data)),
        fine,
        method=method,
        extrapolate=extrapolate,
    )
    moved = moved.copy(data=space.untransform(moved.data))
    if transform == "auto" and space.minimum is not None and space.minimum >= 0:
        moved = moved.clip(min=space.minimum, keep_attrs=True)
    return _like(moved, name, fine, wanted)


def climatology(fine: xr.DataArray, time: Any, window_days: float = 15) -> xr.DataArray:
    """Return the mean of the training days at the same time of the year, pixel by pixel.

    Parameters
    ----------
    fine : DataArray
        Training days of the fine record (time, lat, lon), dims in any order; NaN and infinities
        are left out.
    time : array of times
        Days asked.
    window_days : float
        Training days within this many days of the day of the year count, across the turn of
        the year, in any year. Where there is none, the nearest in the year do.

    Returns
    -------
    DataArray
        Like `fine`, for the days asked; NaN where a pixel has no value in the window.

    Raises
    ------
    OptionError
        If the window is negative.
    TimeAxisError
        If `fine` has no time.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=3)
    >>> fine = xr.DataArray(
    ...     np.arange(3.0).reshape(3, 1, 1), coords={"time": days, "lat": [0.0], "lon": [0.0]}
    ... )
    >>> climatology(fine, pd.date_range("2005-01-02", periods=1)).item()
    1.0
    """
    name = require_time(fine, "The fine record")
    if not window_days >= 0:
        raise OptionError(f"window_days is {window_days}; give a number of days, 0 or more.")
    wanted = _index(time)
    places, row = np.unique(_place_in_year(wanted), return_inverse=True)
    apart = np.abs(places[:, None] - _place_in_year(fine.indexes[name])[None])
    apart = _YEAR * np.minimum(apart, 1 - apart)
    # half a day more: days of leap years and others do not quite meet
    reach = np.maximum(window_days, apart.min(axis=1, keepdims=True)) + 0.5
    kind = np.result_type(fine.dtype, np.float32)
    known = fine.copy(data=finite(fine.data)).drop_vars(name)
    weights = xr.DataArray((apart <= reach).astype(kind), dims=(_ROW, name))
    total = xr.dot(known.fillna(0), weights, dim=name, optimize=True)
    valid = (known == known).astype(kind)  # not NaN
    count = xr.dot(valid, weights, dim=name, optimize=True)
    mean = total / count.where(count > 0)
    return _like(mean.isel({_ROW: xr.DataArray(row, dims=name)}), name, fine, wanted)


def persistence(fine: xr.DataArray, time: Any = None, lag: int = 1) -> xr.DataArray:
    """Return the true fine field `lag` days before each day.

    Parameters
    ----------
    fine : DataArray
        Fine record (time, lat, lon), dims in any order.
    time : array of times, optional
        Days asked; default all days of `fine`.
    lag : int
        Days back, 1 or more.

    Returns
    -------
    DataArray
        Like `fine`, for the days asked; NaN where the day before is not in the record.

    Raises
    ------
    OptionError
        If the lag is less than 1.
    TimeAxisError
        If `fine` has no time, or duplicate days.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=3)
    >>> fine = xr.DataArray(
    ...     np.arange(3.0).reshape(3, 1, 1), coords={"time": days, "lat": [0.0], "lon": [0.0]}
    ... )
    >>> persistence(fine).values.ravel()
    array([nan,  0.,  1.])
    """
    name = require_time(fine, "The fine record")
    if lag < 1:
        raise OptionError(f"lag is {lag}; give 1 (yesterday) or more days.")
    wanted = fine.indexes[name] if time is None else _index(time)
    before = wanted - datetime.timedelta(days=lag)
    found = _positions(fine, before, "The fine record")
    there = xr.DataArray(found >= 0, dims=name)
    taken = fine.isel({name: found}).drop_vars(name)
    return _like(taken.where(there), name, fine, wanted)


def persistence_from_start(fine: xr.DataArray, time: Any) -> xr.DataArray:
    """Return the last training day for every day asked: persistence without new fine fields.

    Parameters
    ----------
    fine : DataArray
        Training days of the fine record (time, lat, lon); the latest one is held.
    time : array of times
        Days asked.

    Returns
    -------
    DataArray
        Like `fine`, for the days asked.

    Raises
    ------
    TimeAxisError
        If `fine` has no time.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=3)
    >>> fine = xr.DataArray(
    ...     np.arange(3.0).reshape(3, 1, 1), coords={"time": days, "lat": [0.0], "lon": [0.0]}
    ... )
    >>> persistence_from_start(fine, pd.date_range("2000-01-04", periods=2)).values.ravel()
    array([2., 2.])
    """
    name = require_time(fine, "The fine record")
    wanted = _index(time)
    last = int(fine.indexes[name].argmax())
    held = fine.isel({name: np.full(len(wanted), last)})
    return _like(held, name, fine, wanted)


def add_baselines(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    wanted: Baselines,
    coarse: xr.DataArray | None,
    train: xr.DataArray | None,
) -> tuple[dict[str, xr.DataArray], dict[str, str]]:
    """Add the baselines asked for to the predictions; a prediction replaces a baseline of its name.

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
    """Make the baselines that the records allow, and say what the others need."""
    time = require_time(truth, "The truth")
    made = {}
    lacking = {}
    if coarse is None:
        lacking["bicubic"] = "give coarse=, the coarse record of these days"
    else:
        require_same_units(coarse, truth, ("The coarse record", "the truth"))
        made["bicubic"] = _bicubic(coarse, truth, time)
    own = None
    if train is None:
        lacking["climatology"] = "give train=, the training days of the fine record"
    else:
        require_same_units(train, truth, ("The training record", "the truth"))
        own = _training_days(train, truth, time)
        made["climatology"] = _climatology(own, truth.indexes[time])
    yesterday = _persistence(truth, own, time)
    if yesterday is None:
        lacking["persistence"] = "no day has its yesterday in the truth or in train="
    else:
        made["persistence"] = yesterday
    return made, lacking


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
    _, first, row = np.unique(_place_in_year(times), return_index=True, return_inverse=True)
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


def _index(time: Any) -> Any:
    """Convert times (DataArray, index or any sequence) to an index."""
    if isinstance(time, pd.Index):
        return time
    values = np.atleast_1d(time.values if isinstance(time, xr.DataArray) else np.asarray(time))
    if values.size and hasattr(values.flat[0], "calendar"):
        return xr.DataArray(values, dims="time").to_index()
    return pd.DatetimeIndex(values)


def _positions(
    da: xr.DataArray, wanted: pd.Index[Any], what: str, *, complete: bool = False
) -> Any:
    """Return the position of each day in the record, -1 where it lacks the day."""
    have = da.indexes[require_time(da, what)]
    check_unique(have, what)
    check_calendars(have, wanted, (what, "the days asked"))
    check_steps(have, wanted, (what, "the days asked"))
    found = match_times(wanted, have)
    if complete and (found < 0).any():
        raise TimeAxisError(
            f"{what} lacks {int((found < 0).sum())} of the {len(wanted)} days asked, the first "
            f"being {wanted[found < 0][0]}; it runs from {have.min()} to {have.max()}."
        )
    return found


def _place_in_year(times: pd.Index[Any]) -> Any:
    """Return the elapsed share of the year, in [0, 1)."""
    stamps = rounded(xr.DataArray(times, dims="time")).dt
    return ((stamps.dayofyear - 1) / stamps.days_in_year).values


def _like(result: xr.DataArray, name: str, fine: xr.DataArray, time: pd.Index[Any]) -> xr.DataArray:
    """Give a result the dims, their order, coordinates and name of the fine record."""
    axes = find_axes(fine)
    new = axes.time or name
    attrs = fine[new].attrs if new in fine.coords else {}
    grid = {c: fine[c] for c in (axes.latitude, axes.longitude)}
    bare = result.drop_vars([c for c in result.coords if name in result[c].dims])
    here = bare.rename({} if new == name else {name: new})
    here = here.assign_coords({**grid, new: (new, time, attrs)})
    order = fine.dims if axes.time else (new, *fine.dims)
    kept = here.transpose(*[d for d in order if d in here.dims])
    if axes.time:
        kept.name = fine.name
        kept.attrs = dict(fine.attrs)
    return kept
