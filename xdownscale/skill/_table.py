"""Tables of scores: one row for each prediction and baseline, by season and region if asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from dask import base

from xdownscale.core.alignment import Matched, match
from xdownscale.core.blocks import by_days, day_slices
from xdownscale.core.coords import require_time
from xdownscale.core.errors import GridError, OptionError, check_option
from xdownscale.core.located import with_located
from xdownscale.core.normalization import Scaling
from xdownscale.core.space import space_of
from xdownscale.core.values import check_values
from xdownscale.skill._baseline_rows import Baselines, add_baselines
from xdownscale.skill._ensemble import spread_skill
from xdownscale.skill._groups import WHOLE, By, Crop, Group, Seasons, check_by, crops, make_groups
from xdownscale.skill._kernels import KERNELS, PHYSICAL, crps, energy, variogram
from xdownscale.skill._multivariate import table_offsets
from xdownscale.skill._options import (
    MEMBERS,
    Weights,
    check_named,
    pixel_weights,
    transformed,
    transformed_record,
)
from xdownscale.skill._temporal import kge, nse
from xdownscale.skill._training import Coarse
from xdownscale.skill._versus import versus_best
from xdownscale.splits import SEASONS

compute: Any = base.compute  # untyped in dask


OF_ENSEMBLES = ("crps", "energy", "variogram")  # of a single field as well
DAILY = (*KERNELS, *OF_ENSEMBLES)  # scores of each time step, over its pixels
_ORDER = 0.5  # of the variogram score
OVERALL = ("nse", "kge", "spread_skill")  # scores that need all time steps at once
_BLOCK = 1 << 22  # values that are read and scored at a time
_SMALL = 1 << 22  # values up to which records are scored in memory, where that is faster


class Row(NamedTuple):
    """One row of a table.

    Attributes
    ----------
    method : str
        Name of the row.
    name : str
        Name of the prediction that it scores.
    kind : str
        ``"field"``, ``"mean"``, ``"first"`` (realization) or ``"ensemble"``.
    """

    method: str
    name: str
    kind: str


@with_located
def table(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    transform: str | Scaling | None = "auto",
    scores: Sequence[str] = ("r2", "pearson_r2", "rmse", "mae"),
    *,
    by: By = None,
    regions: Mapping[str, Any] | None = None,
    seasons: Seasons = SEASONS,
    baselines: Baselines = "auto",
    coarse: Coarse | None = None,
    train: xr.DataArray | None = None,
    weights: Weights = False,
) -> pd.DataFrame:
    """Return the mean score of each prediction over the common days, by season and region if asked.

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
    coarse : DataArray or Dataset, optional
        Coarse record of the days: makes the row ``bicubic``. Days that it lacks are not scored.
        It must cover the fine grid; else give your own in `baselines`. Of a Dataset the variable
        with the truth's name is interpolated, and all are predictors of what is fitted.
    train : DataArray, optional
        Training days of the fine record: makes the row ``climatology``, and gives
        ``persistence`` the days before the truth begins. The climatology of each day of the year
        is held in memory. With a `coarse` that has these days too, it makes the rows ``bilinear +
        bias`` and ``ridge`` (`baselines.bias_corrected`, `ridge`), and, where a score of ensembles
        is asked, ``dressed`` and ``analogues`` of 24 members. These are fitted at once, on the
        days of `train` that are no days of the truth.

    Returns
    -------
    DataFrame
        One row for each group and method, columns (units, score). ``attrs["days"]`` is the
        number of common days, ``attrs["days_scored"]`` what is left of them for each row
        (persistence has no first day), ``attrs["sd"]`` the standard deviation, as nested dicts;
        ``attrs["left_out"]`` says of each baseline that is not there what it needs.
        ``attrs["vs_best"]`` compares each row with the best baseline of its group, persistence
        apart (it sees truths): ``"best"``, ``"ratio"`` and its standard ``"error"``, each column
        -> row -> value, for ``crps``, ``energy``, ``variogram``, ``rmse`` and ``mae``; not there
        without such a baseline. `to_markdown` and `to_latex` write ``mean (sd)``, as papers do, a
        column ``vs best`` for the first of these scores, and below it what was left out;
        ``DataFrame.to_csv`` writes the means, or with `format_table` all.

    Raises
    ------
    OptionError
        If there is nothing to score, a name is unknown, or regions are given and not grouped by.
    DataError, GridError, TimeAxisError
        As `per_day`; if a region holds no cell, no day lies in the seasons, or the coarse record
        has none of the days.

    Notes
    -----
    The standard error of a ratio is that of a moving-block bootstrap over the days, of both rows
    together: 1000 resamples with a fixed seed, in blocks of 5 days or as many as the
    autocorrelation of ``error - ratio * best error`` asks, a quarter of the days at most. The best
    baseline is chosen on the same days, which favours it.

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
    train=, the training days of the fine record), bilinear + bias, ridge (give coarse=, the coarse
    record of these days and of the training days, and train=, the training days of the fine
    record).
    >>> alone = {"scores": ["mae"], "baselines": None}
    >>> print(to_markdown(table({"tenfold": 10 * truth}, truth, by="season", **alone)))
    | season | method | log10 mae | physical mae |
    |---|---|---|---|
    | DJF | tenfold | 1 | 49.5 |
    | MAM | tenfold | 1 | 454 |
    """
    for name in scores:
        check_option("score", name, (*DAILY, *OVERALL))
    ways = check_by(by, regions)
    check_named(predictions)
    space = _space(transform, predictions, truth)
    lacking: dict[str, str] = {}
    cheap: list[str] = []
    if predictions:
        checked_pairs(predictions, truth)  # before baselines are made of what cannot be scored
        ensembles = bool({*OF_ENSEMBLES, "spread_skill"} & set(scores))
        added = add_baselines(
            predictions, truth, baselines, coarse, train, space, ensembles=ensembles
        )
        predictions, lacking, cheap = added
    pairs = checked_pairs(predictions, truth)
    rows = make_rows(pairs, scores)
    parts = crops(pairs.truth, regions)
    groups = make_groups(pairs.time, ways, list(parts), seasons)
    own = [name for name in scores if name in DAILY] or ["mae"]  # of each day
    daily = daily_scores(pairs, rows, space, own, parts, weights)
    found = {name: _over_days(daily, groups, k) for k, name in enumerate(own)}
    rest = [name for name in scores if name in OVERALL]
    if rest:
        means, spreads = overall_scores(pairs, rows, space, rest, groups, parts, weights)
        found |= {n: (means[..., k], spreads[..., k]) for k, n in enumerate(rest)}
    index = _index(groups, rows, ways)
    versus = versus_best(
        daily,
        groups,
        [part.tolist() for part in np.split(np.asarray(index, dtype=object), len(groups))],
        unit_names(space),
        own if set(own) <= set(scores) else (),
        [k for k, row in enumerate(rows) if row.name in cheap],
    )
    left = [np.isfinite(daily[g.region][..., g.days]).any(axis=(1, 2)).sum(1) for g in groups]
    return _frame(
        np.stack([found[name][0] for name in scores], axis=-1),
        np.stack([found[name][1] for name in scores], axis=-1),
        index,
        unit_names(space),
        scores,
        {
            "days": pairs.time.size,
            "days_scored": np.concatenate(left).tolist(),
            "left_out": lacking,
        }
        | ({"vs_best": versus} if versus else {}),
    )


@with_located
def per_day(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    transform: str | Scaling | None = "auto",
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
        and a third, of the ensemble, where one of the last three scores is asked.
    truth : DataArray
        (time, lat, lon).
    transform : str, Scaling or None
        Transformed units to score in, besides the physical ones; None or ``"identity"`` for the
        physical ones alone. ``"auto"`` reads all values and chooses as `choose_transform` does:
        ``"log10"`` for skewed values above 0, physical units for temperatures.
    scores : sequence of str
        Of ``"r2"``, ``"pearson_r2"``, ``"rmse"``, ``"mae"``, ``"bias"``; ``"nse_space"`` and
        ``"kge_space"``, the `nse` (the same as ``"r2"``) and the `kge` of 2009 over the pixels of a
        day, the second in physical units alone, else NaN; ``"crps"``, which for a
        single field is its mean absolute error; ``"energy"``, the `energy_score`, for a single
        field its RMSE; and ``"variogram"``, the `variogram_score` of order 0.5 over pairs of
        pixels up to 3 pixels apart.
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
    check_named(predictions)
    space = _space(transform, predictions, truth)
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
    """Match predictions with the truth, and refuse further dimensions.

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


def make_rows(pairs: Matched, scores: Sequence[str]) -> list[Row]:
    """Return the table rows of the predictions; an ensemble makes two or three.

    Parameters
    ----------
    pairs : Matched
    scores : sequence of str
        Scores of an ensemble among them make it a third row.

    Returns
    -------
    list of Row
    """
    whole = {*OF_ENSEMBLES, "spread_skill"} & set(scores)
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


def _space(
    transform: str | Scaling | None, predictions: Mapping[str, xr.DataArray], truth: xr.DataArray
) -> Scaling:
    """Return the space to score in; ``"auto"`` looks at all that is scored."""
    named = {"truth": truth, **predictions}
    arrays = [check_values(da, repr(name)).data for name, da in named.items()]
    return space_of(transform, arrays)


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


def daily_scores(
    pairs: Matched,
    rows: Sequence[Row],
    space: Scaling,
    scores: Sequence[str],
    regions: Mapping[str, Crop],
    weights: Weights,
) -> dict[str, Any]:
    """Score each day; every record is read once for all regions.

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
            own = None if known is None else known[crop.rows, crop.columns]
            found[region].append(_block_scores(predictions, truth, rows, space, scores, crop, own))
    return {region: np.concatenate(blocks, axis=-1) for region, blocks in found.items()}


def _day_blocks(pairs: Matched) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield predictions ([member,] time, y, x) and truth (time, y, x), some days at a time."""
    order = (str(pairs.time.name), pairs.axes.y, pairs.axes.x)
    listed = [pairs.truth, *pairs.predictions.values()]
    for part in day_slices(listed, order[0], _BLOCK):
        # one call for all: what several of them are made of is read once
        read = compute(*[da.isel({order[0]: part}) for da in listed], traverse=False)
        for inner in day_slices(read, order[0], _BLOCK):
            truth, *others = [
                da.isel({order[0]: inner}).transpose(..., *order).values.astype(float)
                for da in read
            ]
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
    """Score a block of days in a region; (row, units, score, time)."""
    found: list[list[Any]] = [[] for _ in rows]
    for unit in unit_names(space):
        own = Scaling() if unit == "physical" else space
        target = transformed("truth", crop.cut(truth), own)
        fields = {name: transformed(name, crop.cut(p), own) for name, p in predictions.items()}
        for scored, row in zip(found, rows, strict=True):
            candidate = fields[row.name]
            if row.kind == "mean":
                candidate = candidate.mean(axis=0)
            elif row.kind == "first":
                candidate = candidate[0]
            makes_sense = [s not in PHYSICAL or unit == "physical" for s in scores]
            scored.append(
                [
                    _daily_score(s, row.kind if sense else "none", candidate, target, weights)
                    for s, sense in zip(scores, makes_sense, strict=True)
                ]
            )
    return np.array(found)


def _daily_score(score: str, kind: str, candidate: Any, target: Any, weights: Any) -> Any:
    if score in KERNELS:
        if kind in ("ensemble", "none"):
            return np.full(len(target), np.nan)
        return KERNELS[score](candidate, target, weights)
    members = np.moveaxis(candidate, 0, -3) if kind == "ensemble" else candidate[:, None]
    if score == "variogram":
        offsets = table_offsets(target.shape[-2:])
        return variogram(members, target, weights, offsets, _ORDER, fair=True)
    return {"crps": crps, "energy": energy}[score](members, target, weights)


def overall_scores(
    pairs: Matched,
    rows: Sequence[Row],
    space: Scaling,
    scores: Sequence[str],
    groups: Sequence[Group],
    regions: Mapping[str, Crop],
    weights: Weights,
) -> tuple[Any, Any]:
    """Return scores that need all time steps at once; each record is read once for all groups.

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
                asked += [_overall_score(score, row, here, way, own) for score in scores]
    read = compute(*asked)
    found = np.asarray(read, dtype=np.float64)
    shape = (len(groups), len(rows), len(unit_names(space)), len(scores))
    return found[:, 0].reshape(shape), found[:, 1].reshape(shape)


def _streamed(pairs: Matched) -> Matched:
    """Load small records into memory; keep large ones lazy."""
    listed = [pairs.truth, *pairs.predictions.values()]
    small = [da for da in listed if da.size <= _SMALL]
    loaded = iter(compute(*small))
    truth, *others = [
        next(loaded) if da.size <= _SMALL else by_days(da, pairs.axes.time) for da in listed
    ]
    return pairs._replace(
        truth=truth, predictions=dict(zip(pairs.predictions, others, strict=True))
    )


def _part(pairs: Matched, group: Group, crop: Crop) -> Matched:
    """Select the days and pixels of a group; NaN outside its region."""
    days = {str(pairs.time.name): np.flatnonzero(group.days)}
    truth = _cropped(pairs.truth.isel(days), crop, pairs)
    if crop.inside is not None:
        truth = truth.where(xr.DataArray(crop.inside, dims=(pairs.axes.y, pairs.axes.x)))
    predictions = {n: _cropped(p.isel(days), crop, pairs) for n, p in pairs.predictions.items()}
    return pairs._replace(truth=truth, predictions=predictions, time=pairs.time.isel(days))


def _cropped(da: xr.DataArray, crop: Crop, pairs: Matched) -> xr.DataArray:
    return da.isel({pairs.axes.y: crop.rows, pairs.axes.x: crop.columns})


def _overall_score(
    score: str, row: Row, pairs: Matched, space: Scaling, weights: Weights
) -> tuple[Any, Any]:
    """Return mean and standard deviation of one score, lazy."""
    if (score == "spread_skill") != (row.kind == "ensemble"):
        return np.nan, np.nan
    prediction = pairs.predictions[row.name]
    if score == "spread_skill":
        found = spread_skill(prediction, pairs.truth, weights=weights, transform=space)
        return found["spread_skill"].data, found["ratio"].std(ddof=1).data
    field = transformed_record(row.name, prediction, space)
    truth = transformed_record("truth", pairs.truth, space)
    if row.kind == "mean":
        field = field.mean(MEMBERS, skipna=False)
    elif row.kind == "first":
        field = field.isel({MEMBERS: 0})
    scored = nse(field, truth, reduce=False)
    if score == "kge":
        scored = kge(field, truth, reduce=False)["kge"]
    mean = scored if isinstance(weights, bool) else scored.weighted(weights.fillna(0))
    return mean.mean().data, scored.std(ddof=1).data


def _over_days(daily: Mapping[str, Any], groups: Sequence[Group], k: int) -> tuple[Any, Any]:
    """Average one score over the days of each group; mean and sd are (group, row, units)."""
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
    """Make a DataFrame of (group, row, units, score); all but the means goes to attrs."""
    columns = pd.MultiIndex.from_product([units, list(scores)], names=["units", "score"])
    shape = (len(index), len(columns))
    found = pd.DataFrame(mean.reshape(shape), index, columns)
    beside = pd.DataFrame(spread.reshape(shape), index, columns)
    scored = dict(zip(index, about["days_scored"], strict=True))
    found.attrs = dict(about | {"days_scored": scored, "sd": beside.to_dict()})
    return found
