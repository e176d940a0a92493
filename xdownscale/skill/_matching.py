"""Predictions and truth brought to the same grid orientation, names and days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.baselines import check_calendars, day_index
from xdownscale.errors import GridError, TimeAxisError
from xdownscale.labels import Axes, find_axes, require_time

MEMBERS = "realization"
_DEGREES = 1e-4  # within which two grids are one: float32 longitudes are good to 1.5e-5


class Matched(NamedTuple):
    """Arrays that share their dims, grid and days.

    Attributes
    ----------
    predictions : dict of str to DataArray
        With the names, coordinates and days of the truth.
    truth : DataArray
        The common days of the truth.
    axes : Axes
        Dimensions of all of them.
    time : DataArray
        The common days; one nameless entry where the truth has no time.
    """

    predictions: dict[str, xr.DataArray]
    truth: xr.DataArray
    axes: Axes
    time: xr.DataArray


def match(predictions: Mapping[str, xr.DataArray], truth: xr.DataArray) -> Matched:
    """Bring predictions to the truth's names, orientation and the days common to all.

    Parameters
    ----------
    predictions : mapping of str to DataArray
        On the grid of the truth, dims in any order.
    truth : DataArray
        ([time,] lat, lon).

    Returns
    -------
    Matched

    Raises
    ------
    GridError
        If the grids differ.
    TimeAxisError
        If there is no common day, days are duplicate, or calendars differ.
    """
    axes = find_axes(truth)
    onto = {name: onto_grid(p, truth, name) for name, p in predictions.items()}
    if axes.time is None:
        for name, p in onto.items():
            if find_axes(p).time is not None:
                require_time(truth, f"The truth, unlike {name!r},")
        return Matched(onto, truth, axes, xr.DataArray([0], dims="time", name="time"))
    common = _unique_days(truth, axes.time, "truth")
    places: dict[str, Any] = {}
    for name, p in onto.items():
        days = _unique_days(p, require_time(p, f"Prediction {name!r}"), name)
        check_calendars(truth.indexes[axes.time], p.indexes[axes.time], f"the truth and {name!r}")
        places[name] = days.get_indexer(common)
    shared = np.all([place >= 0 for place in places.values()], axis=0)
    if not shared.any():
        raise TimeAxisError(_no_common_day(onto, truth, axes.time))
    kept = truth.isel({axes.time: shared})
    found = {}
    for name, p in onto.items():
        here = _take(p, axes.time, places[name][shared])
        found[name] = here.assign_coords({axes.time: kept[axes.time]})
    return Matched(found, kept, axes, kept[axes.time])


def _unique_days(da: xr.DataArray, time: str, name: str) -> pd.Index[Any]:
    times = da.indexes[time]
    if not times.is_unique:
        raise TimeAxisError(
            f"{name!r} has duplicate times, {times[times.duplicated()][0]} among them; keep one "
            "of each, with drop_duplicates."
        )
    return day_index(times)


def _no_common_day(predictions: Mapping[str, xr.DataArray], truth: xr.DataArray, time: str) -> str:
    spans = [
        f"{name!r} runs from {da.indexes[time].min()} to {da.indexes[time].max()}"
        for name, da in [("truth", truth), *predictions.items()]
    ]
    return f"No day is common to all: {', '.join(spans)}. Give predictions of the same days."


def onto_grid(prediction: xr.DataArray, truth: xr.DataArray, name: str) -> xr.DataArray:
    """Give a prediction the names, the orientation and the coordinates of the truth.

    Parameters
    ----------
    prediction, truth : DataArray
        On one grid.
    name : str
        What the prediction is called, for the message.

    Returns
    -------
    DataArray

    Raises
    ------
    GridError
        If the grids differ.
    """
    here, there = find_axes(prediction), find_axes(truth)
    pairs = [(here.latitude, there.latitude), (here.longitude, there.longitude)]
    turned = prediction
    for ours, theirs in pairs:
        mine, wanted = prediction[ours].values, truth[theirs].values
        order = np.sort if mine.ndim == 1 else np.asarray
        if mine.shape != wanted.shape or not np.allclose(
            order(mine), order(wanted), rtol=0, atol=_DEGREES
        ):
            raise GridError(
                f"{name!r} and the truth are on different grids: {ours!r} has shape {mine.shape} "
                f"and runs from {mine.min():g} to {mine.max():g}, {theirs!r} has {wanted.shape} "
                f"and runs from {wanted.min():g} to {wanted.max():g}. Regrid one, or bring both "
                "to one longitude convention."
            )
        if mine.ndim == 1:
            rank = np.argsort(np.argsort(wanted))
            turned = _take(turned, str(prediction[ours].dims[0]), np.argsort(mine)[rank])
    bare = turned.reset_coords(drop=True)
    bare = bare.drop_vars({here.latitude, here.longitude, here.y, here.x} & set(bare.coords))
    names = {here.y: there.y, here.x: there.x}
    if here.time and there.time:
        names[here.time] = there.time
    renamed = bare.rename({old: new for old, new in names.items() if old != new})
    return renamed.assign_coords({c: truth[c] for c in (there.latitude, there.longitude)})


def _take(da: xr.DataArray, dim: str, places: Any) -> xr.DataArray:
    """Select, but copy nothing where everything is selected in its order."""
    if np.array_equal(places, np.arange(da.sizes[dim])):
        return da
    return da.isel({dim: places})
