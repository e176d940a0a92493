"""The table that sums scores up, over all days or by season and region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.errors import check_option
from xdownscale.scaling import Scaling
from xdownscale.skill._daily import (
    DAILY,
    Row,
    checked_pairs,
    daily_scores,
    make_rows,
    unit_names,
)
from xdownscale.skill._floors import Floors, add_floors
from xdownscale.skill._groups import By, Group, Seasons, check_by, crops, make_groups
from xdownscale.skill._options import Weights, check_named, scaling_of
from xdownscale.skill._overall import OVERALL, overall_scores
from xdownscale.splits import SEASONS


def table(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    transform: str | Scaling | None = "log10",
    scores: Sequence[str] = ("r2", "pearson_r2", "rmse", "mae"),
    *,
    by: By = None,
    regions: Mapping[str, Any] | None = None,
    seasons: Seasons = SEASONS,
    baselines: Floors = "auto",
    coarse: xr.DataArray | None = None,
    train: xr.DataArray | None = None,
    weights: Weights = False,
) -> pd.DataFrame:
    """Mean score of each prediction over the common days, by season and region if asked.

    Parameters
    ----------
    predictions, truth, transform, weights
        As for `per_day`, and so are the rows of an ensemble.
    scores : sequence of str
        Those of `per_day`, and ``"nse"``, ``"kge"`` (over time at each pixel; mean and standard
        deviation are over pixels) and ``"spread_skill"`` (of ensembles; pooled over days).
    by : {"season", "region"}, both in any order, or None
        Ways to group the rows.
    regions : mapping of str to (west, east, south, north) or mask, optional
        As for `splits.region_mask`; without, ``"region"`` is the whole grid, ``"all"``.
    seasons : str, sequence of str or mapping of str to months
        As for `splits.resolve_seasons`; a season without a day has no row.
    baselines : {"auto", None} or mapping of str to DataArray
        Further rows, last. ``"auto"``: ``persistence`` (the true field of yesterday, which a
        teacher-forced model sees) and those that `coarse` and `train` allow; a prediction that
        has the name of one stands instead of it.
    coarse : DataArray, optional
        Coarse record of the days: makes the row ``bicubic``. Days that it lacks are not scored.
        It must cover the fine grid; else give your own in `baselines`.
    train : DataArray, optional
        Training days of the fine record: makes the row ``climatology``, and gives
        ``persistence`` the days before the truth begins. The climatology of each day of the year
        is held in memory.

    Returns
    -------
    DataFrame
        One row for each group and method, columns (units, score). ``attrs["days"]`` is the
        number of common days, ``attrs["days_scored"]`` what is left of them for each row
        (persistence has no first day), ``attrs["sd"]`` the standard deviation, as nested dicts;
        ``attrs["left_out"]`` says of each baseline that is not there what it needs. `to_markdown`
        and `to_latex` write ``mean (sd)``, as papers do, and below it what was left out;
        ``DataFrame.to_csv`` writes the means, or with `format_table` both.

    Raises
    ------
    OptionError
        If there is nothing to score, a name is unknown, or regions are given and not grouped by.
    DataError, GridError, TimeAxisError
        As `per_day`; if a region holds no cell, no day lies in the seasons, or the coarse record
        has none of the days.

    Examples
    --------
    >>> days = pd.date_range("2000-02-29", periods=2)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> truth = xr.DataArray([[[1.0, 10.0]], [[1.0, 100.0]]], coords=edges)
    >>> from xdownscale.skill import to_markdown
    >>> skill = table({"tenfold": 10 * truth}, truth, scores=["r2", "mae"])
    >>> print(to_markdown(skill))
    | method | log10 r2 | log10 mae | physical r2 | physical mae |
    |---|---|---|---|---|
    | tenfold | -1.5 (2.12) | 1 (0) | -183 (25.9) | 252 (286) |
    | persistence | 0.5 | 0.5 | -0.653 | 45 |
    <BLANKLINE>
    Not in the table: bicubic (give coarse=, the coarse record of these days), climatology (give
    train=, the training days of the fine record).
    >>> alone = {"scores": ["mae"], "baselines": None}
    >>> print(to_markdown(table({"tenfold": 10 * truth}, truth, by="season", **alone)))
    | season | method | log10 mae | physical mae |
    |---|---|---|---|
    | DJF | tenfold | 1 | 49.5 |
    | MAM | tenfold | 1 | 454 |
    """
    for name in scores:
        check_option("score", name, (*DAILY, *OVERALL))
    ways, space = check_by(by, regions), scaling_of(transform)
    lacking: dict[str, str] = {}
    check_named(predictions)
    if predictions:
        predictions, lacking = add_floors(predictions, truth, baselines, coarse, train)
    pairs = checked_pairs(predictions, truth)
    rows, parts = make_rows(pairs, scores), crops(pairs.truth, regions)
    groups = make_groups(pairs.time, ways, list(parts), seasons)
    own = [name for name in scores if name in DAILY] or ["mae"]  # of each day
    daily = daily_scores(pairs, rows, space, own, parts, weights)
    found = {name: _over_days(daily, groups, k) for k, name in enumerate(own)}
    rest = [name for name in scores if name in OVERALL]
    if rest:
        means, spreads = overall_scores(pairs, rows, space, rest, groups, parts, weights)
        found |= {n: (means[..., k], spreads[..., k]) for k, n in enumerate(rest)}
    left = [np.isfinite(daily[g.region][..., g.days]).any(axis=(1, 2)).sum(1) for g in groups]
    mean, spread = (np.stack([found[name][k] for name in scores], axis=-1) for k in (0, 1))
    return _frame(
        mean,
        spread,
        _index(groups, rows, ways),
        unit_names(space),
        scores,
        {
            "days": pairs.time.size,
            "days_scored": np.concatenate(left).tolist(),
            "left_out": lacking,
        },
    )


def _over_days(daily: Mapping[str, Any], groups: Sequence[Group], k: int) -> tuple[Any, Any]:
    """Mean and standard deviation (group, row, units) of one score over the days of each group."""
    parts = [daily[group.region][:, :, k][..., group.days] for group in groups]
    flat = [pd.DataFrame(part.reshape(-1, part.shape[-1])) for part in parts]
    shape = (len(groups), *parts[0].shape[:2])
    means = np.array([frame.mean(axis=1).to_numpy() for frame in flat])
    spreads = np.array([frame.std(axis=1).to_numpy() for frame in flat])
    return means.reshape(shape), spreads.reshape(shape)


def _index(groups: Sequence[Group], rows: Sequence[Row], ways: tuple[str, ...]) -> pd.Index[Any]:
    if not ways:
        return pd.Index([row.method for row in rows], name="method")
    labels = [(*group.words, row.method) for group in groups for row in rows]
    return pd.MultiIndex.from_tuples(labels, names=[*ways, "method"])


def _frame(
    mean: Any,
    spread: Any,
    index: pd.Index[Any],
    units: Sequence[str],
    scores: Sequence[str],
    about: dict[str, Any],
) -> pd.DataFrame:
    """Frame of (group, row, units, score), with what stands beside the means in attrs."""
    columns = pd.MultiIndex.from_product([units, list(scores)], names=["units", "score"])
    shape = (len(index), len(columns))
    found = pd.DataFrame(mean.reshape(shape), index, columns)
    beside = pd.DataFrame(spread.reshape(shape), index, columns)
    scored = dict(zip(index, about["days_scored"], strict=True))
    found.attrs = dict(about | {"days_scored": scored, "sd": beside.to_dict()})
    return found
