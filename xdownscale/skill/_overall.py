"""Scores that need all days at once, for the groups of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from dask import base

from xdownscale.alignment import Matched
from xdownscale.scaling import Scaling
from xdownscale.skill._daily import Row, unit_names
from xdownscale.skill._ensemble import spread_skill
from xdownscale.skill._groups import Crop, Group
from xdownscale.skill._options import MEMBERS, Weights, pixel_weights, transformed
from xdownscale.skill._streams import by_days
from xdownscale.skill._temporal import kge, nse

compute: Any = base.compute  # untyped in dask
_SMALL = 1 << 22
OVERALL = ("nse", "kge", "spread_skill")


def overall_scores(
    pairs: Matched,
    rows: Sequence[Row],
    space: Scaling,
    scores: Sequence[str],
    groups: Sequence[Group],
    regions: Mapping[str, Crop],
    weights: Weights,
) -> tuple[Any, Any]:
    """Score over time, reading every record once, whatever the number of groups.

    Parameters
    ----------
    pairs : Matched
    rows : sequence of Row
    space : Scaling
    scores : sequence of str
        Of `OVERALL`.
    groups : sequence of Group
    regions : mapping of str to Crop
    weights : bool or DataArray

    Returns
    -------
    mean, sd : ndarray
        (group, row, units, score); the spread is over pixels, of ``spread_skill`` over days.
    """
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    lazy = _streamed(pairs)
    asked = []
    for group in groups:
        here = _part(lazy, group, regions[group.region])
        own = False if shares is None else _cropped(shares, regions[group.region], pairs)
        for row in rows:
            for unit in unit_names(space):
                way = Scaling() if unit == "physical" else space
                asked += [_one(score, row, here, way, own) for score in scores]
    read = compute(*asked)
    found = np.asarray(read, dtype=np.float64)
    shape = (len(groups), len(rows), len(unit_names(space)), len(scores))
    return found[:, 0].reshape(shape), found[:, 1].reshape(shape)


def _streamed(pairs: Matched) -> Matched:
    """Small records in memory, where they are faster; large ones lazy."""
    listed = [pairs.truth, *pairs.predictions.values()]
    if sum(da.size for da in listed) <= _SMALL:
        truth, *others = compute(*listed)
    else:
        truth, *others = (by_days(da, pairs.axes.time) for da in listed)
    return pairs._replace(
        truth=truth, predictions=dict(zip(pairs.predictions, others, strict=True))
    )


def _part(pairs: Matched, group: Group, crop: Crop) -> Matched:
    """Days and pixels of a group; NaN outside its region."""
    days = {str(pairs.time.name): np.flatnonzero(group.days)}
    truth = _cropped(pairs.truth.isel(days), crop, pairs)
    if crop.inside is not None:
        truth = truth.where(xr.DataArray(crop.inside, dims=(pairs.axes.y, pairs.axes.x)))
    predictions = {n: _cropped(p.isel(days), crop, pairs) for n, p in pairs.predictions.items()}
    return pairs._replace(truth=truth, predictions=predictions, time=pairs.time.isel(days))


def _cropped(da: xr.DataArray, crop: Crop, pairs: Matched) -> xr.DataArray:
    return da.isel({pairs.axes.y: crop.rows, pairs.axes.x: crop.columns})


def _one(score: str, row: Row, pairs: Matched, space: Scaling, weights: Weights) -> tuple[Any, Any]:
    """Mean and spread of one score, lazy."""
    if (score == "spread_skill") != (row.kind == "ensemble"):
        return np.nan, np.nan
    prediction = pairs.predictions[row.name]
    if score == "spread_skill":
        found = spread_skill(prediction, pairs.truth, weights=weights, transform=space)
        return found["spread_skill"].data, found["ratio"].std(ddof=1).data
    field, truth = (
        da.copy(data=transformed(name, da.data, space))
        for name, da in [(row.name, prediction), ("truth", pairs.truth)]
    )
    if row.kind != "field":
        field = (
            field.mean(MEMBERS, skipna=False) if row.kind == "mean" else field.isel({MEMBERS: 0})
        )
    scored = nse(field, truth, reduce=False)
    if score == "kge":
        scored = kge(field, truth, reduce=False)["kge"]
    mean = scored if isinstance(weights, bool) else scored.weighted(weights.fillna(0))
    return mean.mean().data, scored.std(ddof=1).data
