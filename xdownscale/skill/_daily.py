"""Several predictions side by side: a score for each of them, each day and each unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from dask import base

from xdownscale.alignment import Matched, match
from xdownscale.errors import GridError, OptionError, check_option
from xdownscale.labels import require_time
from xdownscale.scaling import Scaling
from xdownscale.skill._arrays import KERNELS, crps
from xdownscale.skill._groups import WHOLE, Crop, crops
from xdownscale.skill._options import (
    MEMBERS,
    Weights,
    check_named,
    pixel_weights,
    scaling_of,
    transformed,
)
from xdownscale.skill._streams import day_slices

DAILY = (*KERNELS, "crps")
compute: Any = base.compute  # untyped in dask
_BLOCK = 1 << 22


class Row(NamedTuple):
    """One row of a table.

    Attributes
    ----------
    method : str
        What the row is called.
    name : str
        Which prediction it is made of.
    kind : str
        ``"field"``, ``"mean"``, ``"first"`` (realization) or ``"ensemble"``.
    """

    method: str
    name: str
    kind: str


def per_day(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    transform: str | Scaling | None = "log10",
    scores: Sequence[str] = ("r2", "pearson_r2", "rmse", "mae"),
    *,
    weights: Weights = False,
) -> xr.DataArray:
    """Score several predictions on the days that all of them share with the truth.

    Parameters
    ----------
    predictions : mapping of str to DataArray
        (time, lat, lon), with or without ``realization``, on the grid of the truth. An ensemble
        makes two rows: its mean (taken in the units that are scored) and its first realization;
        and a third, of the ensemble, where ``"crps"`` is asked.
    truth : DataArray
        (time, lat, lon).
    transform : str, Scaling or None
        Transformed units to score in, besides the physical ones; None or ``"identity"`` for the
        physical ones alone.
    scores : sequence of str
        Of ``"r2"``, ``"pearson_r2"``, ``"rmse"``, ``"mae"``, ``"bias"`` and ``"crps"``, which
        for a single field is its mean absolute error.
    weights : bool or DataArray
        As for `r2`.

    Returns
    -------
    DataArray
        (method, units, score, time). Lazy inputs are read a few days at a time.

    Raises
    ------
    OptionError
        If there is nothing to score, or a name is not known.
    DataError
        If values cannot be transformed.
    GridError, TimeAxisError
        As `r2`.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2000-01-01", periods=2)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> truth = xr.DataArray([[[1.0, 10.0]], [[1.0, 100.0]]], coords=edges)
    >>> per_day({"tenfold": 10 * truth}, truth, scores=["mae"]).sel(units="log10").values.ravel()
    array([1., 1.])
    """
    for name in scores:
        check_option("score of each day", name, DAILY)
    space = scaling_of(transform)
    pairs = checked_pairs(predictions, truth)
    rows = make_rows(pairs, scores)
    values = daily_scores(pairs, rows, space, scores, crops(pairs.truth, None), weights)
    axis = pairs.time.name
    return xr.DataArray(
        values[WHOLE],
        dims=("method", "units", "score", axis),
        coords={
            "method": [row.method for row in rows],
            "units": unit_names(space),
            "score": list(scores),
            axis: pairs.time,
        },
        name="skill",
    )


def checked_pairs(predictions: Mapping[str, xr.DataArray], truth: xr.DataArray) -> Matched:
    """Match predictions with the truth, and refuse dimensions that are none of theirs.

    Parameters
    ----------
    predictions : mapping of str to DataArray
    truth : DataArray
        With a time axis.

    Returns
    -------
    Matched
    """
    check_named(predictions)
    if not predictions:
        raise OptionError("There is no prediction to score; give a mapping of name to DataArray.")
    require_time(truth, "The truth")
    pairs = match(predictions, truth)
    for name, array in [("truth", pairs.truth), *pairs.predictions.items()]:
        own = {pairs.time.name, pairs.axes.y, pairs.axes.x}
        further = set(array.dims) - own - (set() if name == "truth" else {MEMBERS})
        if further:
            raise GridError(
                f"{name!r} has the further dimensions {sorted(map(str, further))}; reduce or "
                f"select them first. Only predictions may have one: {MEMBERS!r}."
            )
    return pairs


def unit_names(space: Scaling) -> list[str]:
    """Return the names of the units that are scored.

    Parameters
    ----------
    space : Scaling

    Returns
    -------
    list of str
    """
    return ["physical"] if space.transform == "identity" else [space.transform, "physical"]


def make_rows(pairs: Matched, scores: Sequence[str]) -> list[Row]:
    """Return the rows that predictions make.

    Parameters
    ----------
    pairs : Matched
    scores : sequence of str
        Scores of an ensemble among them make it a third row.

    Returns
    -------
    list of Row
    """
    whole = {"crps", "spread_skill"} & set(scores)
    rows = []
    for name, prediction in pairs.predictions.items():
        count = prediction.sizes.get(MEMBERS, 0)
        if not count:
            rows.append(Row(name, name, "field"))
            continue
        if count > 1:
            rows.append(Row(f"{name} (mean of {count})", name, "mean"))
        rows.append(Row(f"{name} (one realization)", name, "first"))
        if count > 1 and whole:
            rows.append(Row(f"{name} (ensemble of {count})", name, "ensemble"))
    return rows


def daily_scores(
    pairs: Matched,
    rows: Sequence[Row],
    space: Scaling,
    scores: Sequence[str],
    regions: Mapping[str, Crop],
    weights: Weights,
) -> dict[str, Any]:
    """Score each day, reading every record once.

    Parameters
    ----------
    pairs : Matched
    rows : sequence of Row
    space : Scaling
    scores : sequence of str
    regions : mapping of str to Crop
    weights : bool or DataArray

    Returns
    -------
    dict of str to ndarray
        (row, units, score, time) for each region.
    """
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    known = None if shares is None else shares.values
    found: dict[str, list[Any]] = {region: [] for region in regions}
    for predictions, truth in _day_blocks(pairs):
        for region, crop in regions.items():
            found[region].append(
                _block_scores(predictions, truth, rows, space, scores, crop, crop.box(known))
            )
    return {region: np.concatenate(blocks, axis=-1) for region, blocks in found.items()}


def _day_blocks(pairs: Matched) -> Iterator[tuple[dict[str, Any], Any]]:
    """Predictions ([member,] time, y, x) and truth (time, y, x) in memory, some days at a time."""
    order = (str(pairs.time.name), pairs.axes.y, pairs.axes.x)
    listed = [pairs.truth, *pairs.predictions.values()]
    for part in day_slices(listed, order[0], _BLOCK):
        # one call for all: what several of them are made of is read once
        read = compute(*[da.isel({order[0]: part}) for da in listed], traverse=False)
        for inner in day_slices(read, order[0], _BLOCK):
            truth, *others = (
                da.isel({order[0]: inner}).transpose(..., *order).values.astype(float)
                for da in read
            )
            yield dict(zip(pairs.predictions, others, strict=True)), truth


def _block_scores(
    predictions: Mapping[str, Any],
    truth: Any,
    rows: Sequence[Row],
    space: Scaling,
    scores: Sequence[str],
    crop: Crop,
    weights: Any,
) -> Any:
    """Scores (row, units, score, time) of a block of days in a region."""
    found: list[list[Any]] = [[] for _ in rows]
    for unit in unit_names(space):
        own = Scaling() if unit == "physical" else space
        target = transformed("truth", crop.cut(truth), own)
        fields = {name: transformed(name, crop.cut(p), own) for name, p in predictions.items()}
        for scored, row in zip(found, rows, strict=True):
            candidate = candidate_of(row.kind, fields[row.name])
            scored.append([_one(s, row.kind, candidate, target, weights) for s in scores])
    return np.array(found)


def candidate_of(kind: str, fields: Any) -> Any:
    """Return what a row scores of ([member,] time, y, x).

    Parameters
    ----------
    kind : str
        As in `Row`.
    fields : array

    Returns
    -------
    array
    """
    if kind == "mean":
        return fields.mean(axis=0)
    return fields[0] if kind == "first" else fields


def _one(score: str, kind: str, candidate: Any, target: Any, weights: Any) -> Any:
    if kind != "ensemble":
        return KERNELS["mae" if score == "crps" else score](candidate, target, weights)
    if score != "crps":
        return np.full(len(target), np.nan)
    return crps(np.moveaxis(candidate, 0, -3), target, weights)
