"""Diagnostics of known failure modes on held-out days."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xdownscale import geostat, skill
from xdownscale.core import time as time_axis
from xdownscale.core.coords import find_axes, require_time, to_array
from xdownscale.core.errors import (
    DataError,
    GridError,
    OptionError,
    XDownscaleError,
    XDownscaleWarning,
)
from xdownscale.core.normalization import Scaling
from xdownscale.core.tables import SentenceTable
from xdownscale.core.time import match_times
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.patches import PatchLayout
from xdownscale.prediction.constraints import COVERED, cells_on
from xdownscale.prediction.plan import within
from xdownscale.prediction.predict import predict_maps
from xdownscale.prediction.request import Request
from xdownscale.preprocessing import validation
from xdownscale.preprocessing.validation import Pair, on_cells_of, variables
from xdownscale.skill import baselines

Array = npt.NDArray[Any]
_VALIDATION_DAYS = 4  # that the skill in the repr is measured on
_STANDING_DAYS = 16  # that a model is compared with baselines on, after it was fitted
_STANDING_MEMBERS = 4
_STANDING_SECONDS = 60.0  # most that this may take
_VALIDATION_STEPS = 10  # most sampling steps for that
_DRIFT_DAYS = 48  # days of the whole coarse record that drift is looked for on
_SURE = 3.0  # standard errors
_OCTAVE = "spread at"  # how rows of octaves of wavelength begin
_LATENT = "latent"  # rows of models with latent numbers, and of those that blend patches
_PATCHES = "patch collapse"
_MODEL = "model"  # its row in the table of scores


class Signature(NamedTuple):
    """A failure mode, and the range of its measure that is good.

    Attributes
    ----------
    name : str
        Short name.
    low, high : float
        Values in between are good.
    good, below, above : str
        What a value within, below and above the range means.
    """

    name: str
    low: float
    high: float
    good: str
    below: str
    above: str


SIGNATURES = (
    Signature(
        "collapse",
        0.5,
        2.0,
        "one realization varies over the map as the truth does",
        "one realization is nearly constant over the map: the model has collapsed",
        "one realization varies far more over the map than the truth",
    ),
    Signature(
        "texture",
        0.8,
        1.25,
        "neighbouring pixels differ as much as in the truth",
        "neighbouring pixels are too much alike: detail is smoothed away",
        "neighbouring pixels differ too much: noise",
    ),
    Signature(
        "extremes",
        0.8,
        1.25,
        "the 99.9 % quantile is that of the truth",
        "extremes are smoothed away: the 99.9 % quantile is too low",
        "extremes are overdone: the 99.9 % quantile is too high",
    ),
    Signature(
        "spread",
        0.8,
        1.25,
        "realizations spread as much as their mean errs",
        "realizations are too much alike: the model is surer than it may be",
        "realizations spread more than their mean errs",
    ),
    Signature(
        "negative transfer",
        0.0,
        1.02,
        "the encoder of the coarse record helps, or does no harm",
        "",
        "the encoder does harm: with that of other days the model is better. Use encoder='none'",
    ),
    Signature(
        "seams",
        0.9,
        1.1,
        "no patch border can be seen",
        "patch borders are smoother than the rest of the map",
        "patch borders can be seen",
    ),
    Signature(
        "drift",
        -_SURE,
        _SURE,
        "the mean over the map keeps its distance from the coarse record's over the years",
        "the maps fall away from the coarse record over the years",
        "the maps rise away from the coarse record over the years",
    ),
    Signature(
        "domain mean",
        0.8,
        1.25,
        "realizations of the mean over the map spread as much as it errs",
        "realizations are too much alike in the mean over the map",
        "realizations of the mean over the map spread more than it errs",
    ),
    Signature(
        _LATENT,
        0.05,
        1.0,
        "the latent numbers carry what the inputs do not tell",
        "the latent numbers carry nothing: the posterior has collapsed onto the prior; lower "
        "options=dict(scale=...) or raise 'free'",
        "",
    ),
    Signature(
        _PATCHES,
        0.5,
        2.0,
        "one realization varies inside patches as the truth does",
        "one realization is nearly constant inside patches: the model has collapsed",
        "one realization varies far more inside patches than the truth",
    ),
    Signature(
        "baseline",
        0.0,
        1.0,
        "the model is better than what takes seconds",
        "",
        "what takes seconds is better than the model",
    ),
)


def check(
    fitted: Fitted,
    coarse: xr.DataArray | xr.Dataset,
    fine: xr.DataArray | xr.Dataset,
    *,
    days: int = 16,
    realizations: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> pd.DataFrame:
    """Look for the failures that the method is known for; see `Downscaler.check`.

    Parameters
    ----------
    fitted : Fitted
        The model.
    coarse, fine : DataArray or Dataset
        The records that it was fitted with, or later ones.
    days, realizations, seed : int
        How much is generated, and the seed of its noise.
    device : str
        Where the networks run.

    Returns
    -------
    DataFrame

    Raises
    ------
    OptionError, DataError
        See `Downscaler.check`.
    """
    if days < 2 or realizations < 2:
        raise OptionError(
            f"days is {days} and realizations {realizations}; both must be 2 or more."
        )
    truth = variables(fine, "The fine record")
    name = str(fitted.labels.name)
    record = truth.get(name, next(iter(truth.values())))
    grid = fitted.carried.isel(time=0, drop=True)
    record = validation.on_cells_of(record, grid, "The fine record", "the model")
    chosen = _days(fitted, coarse, record, days)
    request = Request(time=chosen, realizations=realizations, seed=seed, device=device)
    if "teacher_forced" in fitted.method.modes(fitted.config):
        request = replace(request, mode="teacher_forced", history=record)
    maps = _maps(fitted, coarse, request)
    members, true = _compared(fitted, maps, record)
    against = _against_baselines(fitted, coarse, record, maps)
    found: dict[str, float] = {
        "collapse": _ratio(members, true, lambda x: np.nanstd(x, axis=(-2, -1))),
        "texture": _ratio(members, true, _semivariance),
        "extremes": _extremes(members, true, fitted.any_group.scaling),
        "spread": _spread(members, true),
        "negative transfer": _transfer(fitted, coarse, record, request, _crps(members, true)),
        "seams": _seams(fitted, coarse, request),
        "drift": _drift(fitted, coarse, request),
        "domain mean": _spread(np.nanmean(members, (-2, -1)), np.nanmean(true, (-2, -1))),
        "baseline": against.ratio,
    }
    table = _table(found | _of_patches(fitted, members, true) | _by_octave(fitted, maps, record))
    if against.sentence:
        table.loc["baseline", "sentence"] = against.sentence
    return table


def _table(found: dict[str, float]) -> pd.DataFrame:
    """Return each measure with its good range and a verdict."""
    rows = {}
    octaves = [_octave(name) for name in found if name.startswith(_OCTAVE)]
    for signature in (*(s for s in SIGNATURES if s.name in found), *octaves):
        value = found[signature.name]
        verdict = "good"
        words = signature.good
        if not np.isfinite(value):
            verdict = "not measured"
            words = "does not apply to this model, or needs more days"
        elif value < signature.low:
            verdict = "below"
            words = signature.below
        elif value > signature.high:
            verdict = "above"
            words = signature.above
        rows[signature.name] = {
            "value": value,
            "low": signature.low,
            "high": signature.high,
            "verdict": verdict,
            "sentence": words[0].upper() + words[1:] + ".",
        }
    return SentenceTable(pd.DataFrame.from_dict(rows, orient="index").rename_axis("signature"))


def _octave(name: str) -> Signature:
    """Return the signature of the spread in an octave of wavelength."""
    at = name.removeprefix(_OCTAVE).strip()
    return Signature(
        name,
        0.8,
        1.25,
        f"realizations spread as much as their mean errs at {at}",
        f"realizations are too much alike at {at}",
        f"realizations spread more than their mean errs at {at}",
    )


def _by_octave(fitted: Fitted, maps: xr.DataArray, fine: xr.DataArray) -> dict[str, float]:
    """Return spread over error by octave of wavelength; nothing where the grid has no spectrum."""
    try:
        found = skill.spread_skill_by_scale(maps, fine, transform=fitted.any_group.scaling)
    except GridError:
        return {}
    names = [
        f"{_OCTAVE} {low:.3g} to {high:.3g} km"
        for low, high in zip(found.shortest.values, found.longest.values, strict=True)
    ]
    return dict(zip(names, found.spread_skill.values.tolist(), strict=True))


class _Comparison(NamedTuple):
    """The model's CRPS over that of the best baseline, and what is to be said of it."""

    ratio: float
    sentence: str


def _against_baselines(
    fitted: Fitted, coarse: Any, fine: xr.DataArray, maps: xr.DataArray
) -> _Comparison:
    """Compare the model with baselines that are fitted on its own days, none of which is judged."""
    if fitted.about.pairing == "self" or fitted.own[0] < 0:
        return _Comparison(np.nan, "")
    made, lacking = _baselines(fitted, coarse, fine, maps)
    if not made:
        return _Comparison(np.nan, "" if not lacking else f"Not compared: {lacking}")
    table = skill.table(
        {_MODEL: maps}, fine, fitted.any_group.scaling, scores=["crps"], baselines=made
    )
    versus = table.attrs["vs_best"]
    column = table.columns[0]
    row = next(row for row in reversed(table.index) if row.startswith(_MODEL))
    best = versus["best"][column][row]
    ratio = versus["ratio"][column][row]
    error = versus["error"][column][row]
    sure = f" +- {error:.2g}" if np.isfinite(error) else ""
    space, units = "", _units(fitted)
    if column[0] != "physical":
        space, units = f" in {column[0]} units", ""
    return _Comparison(
        ratio,
        f"CRPS{space} {table.loc[row, column]:.3g}{units}, that of the best baseline, {best}, "
        f"{table.loc[best, column]:.3g}{units}: {ratio:.3g}{sure} of it, "
        f"on {table.attrs['days']} held-out time steps.",
    )


def _units(fitted: Fitted) -> str:
    """Return the units of the first target after a number; nothing where it has none."""
    units = str(fitted.labels.attrs.get("units", ""))
    return "" if units in ("", "1") else f" {units}"


def _baselines(
    fitted: Fitted, coarse: Any, fine: xr.DataArray, maps: xr.DataArray
) -> tuple[dict[str, xr.DataArray], str]:
    """Fit the baselines; also say why one could not be fitted."""
    time = maps[require_time(maps, "The maps")]
    train = _training_days(fitted, fine, time)
    record = coarse[list(fitted.drivers)] if isinstance(coarse, xr.Dataset) else coarse
    options: dict[str, Any] = {"extrapolate": fitted.config.data.extrapolate}
    if isinstance(coarse, xr.Dataset):
        options["driver"] = fitted.drivers[fitted.own[0]]
    made, lacking = baselines.fit_all(record, train, time, **options)
    return made, next(iter(lacking.values()), "")


def _training_days(fitted: Fitted, fine: xr.DataArray, judged: xr.DataArray) -> xr.DataArray:
    """Return the days of the fine record in the parts of the split that are not judged."""
    kept = []
    for model in fitted.models.values():
        time = model.split["time"]
        part = model.split["part"].values
        held = {"test", *part[match_times(time, judged) >= 0].tolist()}
        kept.append(time.values[~np.isin(part, list(held))])
    name = require_time(fine, "The fine record")
    days = xr.DataArray(np.unique(np.concatenate(kept)), dims="time")
    return fine.isel({name: np.flatnonzero(match_times(fine[name], days) >= 0)})


def _days(
    fitted: Fitted,
    coarse: Any,
    fine: xr.DataArray,
    count: int,
    parts: tuple[str, ...] = ("test", "validation"),
) -> Array:
    """Choose test days, else validation days, that can be generated and have a truth."""
    time = fine[require_time(fine, "The fine record")]
    record = _own_record(fitted, coarse)
    given = record[require_time(record, "The coarse record")]
    if not fitted.method.holds_out_validation:
        parts = ("test",)
    for part in parts:
        listed = [
            model.split["time"][model.split["part"].values == part]
            for model in fitted.models.values()
        ]
        days = np.unique(np.concatenate([days.values for days in listed]))
        if days.size:
            days = days[match_times(days, time) >= 0]
        if days.size:
            days = days[within(fitted.config, xr.DataArray(days), given)]
        if days.size >= 2:
            return np.asarray(days[np.unique(np.linspace(0, days.size - 1, count).astype(int))])
    raise DataError(
        f"There are fewer than two {' or '.join(parts)} days of this model in the fine record; "
        "give the record that it was fitted with, or fit with fractions that leave some."
    )


def _maps(fitted: Fitted, coarse: Any, request: Request) -> xr.DataArray:
    """Generate the first target, without the warnings of `predict`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        maps = predict_maps(fitted, coarse, request)
    return maps if isinstance(maps, xr.DataArray) else maps[fitted.labels.name]


def _generated(
    fitted: Fitted, coarse: Any, fine: xr.DataArray, request: Request
) -> tuple[Array, Array]:
    """Return generated (realization, time, y, x) and true fields (time, y, x), transformed units.

    A pixel that is missing in one is missing in both.
    """
    return _compared(fitted, _maps(fitted, coarse, request), fine)


def _compared(fitted: Fitted, maps: xr.DataArray, fine: xr.DataArray) -> tuple[Array, Array]:
    """Return maps and truth as arrays, transformed units; missing in one is missing in both."""
    axes = find_axes(maps)
    scaling = fitted.any_group.scaling
    name = require_time(fine, "The fine record")
    truth = fine.isel({name: match_times(maps[axes.time], fine[name])})
    ordered = maps.transpose("realization", str(axes.time), axes.y, axes.x)
    own = truth.transpose(name, axes.y, axes.x)
    values = (np.asarray(scaling.transform_only(da.values), float) for da in (ordered, own))
    members, true = values
    gone = np.isnan(members[0]) | np.isnan(true)
    return np.where(gone, np.nan, members), np.where(gone, np.nan, true)


def _ratio(members: Array, truth: Array, measure: Callable[[Array], Array]) -> float:
    """Return the mean over time of one realization's measure over the truth's."""
    return float(np.nanmean(measure(members[0])) / np.nanmean(measure(truth)))


def _of_patches(fitted: Fitted, members: Array, truth: Array) -> dict[str, float]:
    """Return what is measured of latent numbers and of patches, where the method has any."""
    found: dict[str, float] = {}
    gains = [fitted.method.latent_gain(model.state) for model in fitted.models.values()]
    known = [gain for gain in gains if gain is not None]
    if known:
        found[_LATENT] = float(np.min(known))  # NaN where one is not known
    side = fitted.config.sampling.size
    if fitted.method.has_seams(fitted.config) and side <= min(truth.shape[-2:]):
        found[_PATCHES] = _ratio(members, truth, lambda fields: _inside(fields, side))
    return found


def _inside(fields: Array, side: int) -> Array:
    """Return the standard deviation inside squares of `side` pixels, (time,)."""
    rows, columns = (n // side for n in fields.shape[-2:])
    cut = fields[:, : rows * side, : columns * side]
    squares = cut.reshape(len(cut), rows, side, columns, side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # squares without a value
        variance = np.nanvar(squares, axis=(2, 4))
    return np.asarray(np.sqrt(np.nanmean(variance, axis=(1, 2))))


def _semivariance(fields: Array) -> Array:
    """Return half the mean squared difference of neighbours, (time,)."""
    steps = [np.diff(fields, axis=axis) ** 2 / 2 for axis in (-2, -1)]
    return np.asarray(np.mean([np.nanmean(step, axis=(-2, -1)) for step in steps], axis=0))


def _extremes(members: Array, truth: Array, scaling: Scaling) -> float:
    """Return the ratio of the pooled 99.9 % quantiles above the median, physical units."""
    spans = []
    for values in (members, truth):
        good = values[np.isfinite(values)]
        physical = scaling.untransform(np.quantile(good, [0.5, 0.999]))
        spans.append(float(physical[1] - physical[0]))
    return spans[0] / spans[1] if spans[1] > 0 else np.nan


def _spread(members: Array, truth: Array) -> float:
    """Return the spread of the ensemble over the error of its mean."""
    count = len(members)
    variance = np.nanmean(members.var(axis=0, ddof=1)) * (1 + 1 / count)
    error = np.nanmean((members.mean(axis=0) - truth) ** 2)
    return float(np.sqrt(variance / error)) if variance > 0 or error > 0 else np.nan


def _crps(members: Array, truth: Array) -> float:
    """Return the fair CRPS, averaged over time and pixels."""
    apart = np.abs(members - truth).mean(axis=0)
    count = len(members)
    ranked = np.sort(members, axis=0)
    weights = 2 * np.arange(1, count + 1) - count - 1
    inner = np.tensordot(weights, ranked, 1) / (count * (count - 1))
    return float(np.nanmean(apart - inner))


def _transfer(
    fitted: Fitted, coarse: Any, fine: xr.DataArray, request: Request, crps: float
) -> float:
    """Return the CRPS over that with the encoder's features of other days; above 1 is harm."""
    if not fitted.method.uses_encoder(fitted.config):
        return np.nan
    scrambled = _generated(fitted, coarse, fine, replace(request, scrambled=True))
    return crps / _crps(*scrambled)


def _seams(fitted: Fitted, coarse: Any, request: Request) -> float:
    """Return gradients across patch borders over other gradients, where maps have patches."""
    if not fitted.method.has_seams(fitted.config):
        return np.nan
    s = fitted.config.sampling
    shape = (int(fitted.carried.shape[1]), int(fitted.carried.shape[2]))
    layout = PatchLayout(shape, s.size, s.stride, s.halo, s.taper)
    one = _maps(fitted, coarse, replace(request, realizations=2))
    return float(geostat.seams(one, layout).gradient_ratio.mean())


def _drift(fitted: Fitted, coarse: Any, request: Request) -> float:
    """Return the trend of the maps' mean against the coarse record's, in standard errors."""
    alone = "parallel" not in fitted.method.modes(fitted.config) or fitted.own[0] < 0
    if alone or fitted.about.pairing == "self":
        return np.nan
    what = "The coarse record"
    record = on_cells_of(_own_record(fitted, coarse), fitted.coarse_grid, what, "the model")
    time = record[require_time(record, what)]
    keys = time_axis.seconds(time)
    inside = np.flatnonzero(within(fitted.config, time, time))
    if inside.size < _DRIFT_DAYS:
        return np.nan
    rows = inside[np.linspace(0, inside.size - 1, _DRIFT_DAYS).astype(int)]
    seasons = fitted.seasons
    if seasons is not None:
        known = np.concatenate(list(seasons.values()))
        rows = rows[np.isin(time_axis.months(time)[rows], known)]
    maps = _maps(fitted, coarse, replace(request, time=time.values[rows], realizations=1))
    scaling = fitted.any_group.scaling
    axes = find_axes(maps)
    coarse_axes = find_axes(record)
    means = np.nanmean(scaling.transform_only(maps[0].transpose(axes.time, ...).values), (-2, -1))
    # the coarse cells under the maps alone: what happens around them is no drift
    seen = np.asarray(to_array(record.isel({coarse_axes.time: rows})).array, float)
    given = np.asarray(scaling.transform_only(seen[:, _covered(fitted)]), float)
    apart = means - np.nanmean(given, axis=-1)
    return _trend(keys[rows].astype(float), apart)


def _own_record(fitted: Fitted, coarse: Any) -> xr.DataArray:
    """Return the first target's own driver, or the first of all."""
    known = variables(coarse, "The coarse record", fitted.coarse_grid)
    return known.get(fitted.drivers[max(fitted.own[0], 0)], next(iter(known.values())))


def _covered(fitted: Fitted) -> npt.NDArray[np.bool_]:
    """Return which coarse cells (y, x) the fine grid half covers; if none, those it touches."""
    grid = fitted.carried.isel(time=0, drop=True)
    cells = cells_on(fitted.coarse_grid, grid)
    share = (cells.covered() / cells.areas).reshape(fitted.coarse_grid.shape)
    return np.asarray(share >= COVERED if (share >= COVERED).any() else share > 0)


def _trend(x: Array, y: Array) -> float:
    """Return the slope of a regression over its standard error."""
    good = np.isfinite(y)
    x = x[good] - x[good].mean()
    y = y[good] - y[good].mean()
    if x.size < 8 or not (y**2).sum() > 0:
        return np.nan
    slope = (x @ y) / (x @ x)
    rest = y - slope * x
    error = np.sqrt((rest @ rest) / (x.size - 2) / (x @ x))
    return float(slope / error) if error > 0 else np.nan


def validation_skill(fitted: Fitted, pair: Pair, device: str) -> dict[str, float]:
    """Score one realization on some validation time steps, with few sampling steps.

    Fields are teacher-forced where the model sees fine lags.

    Parameters
    ----------
    fitted : Fitted
        The model.
    pair : Pair
        The records that it was trained on.
    device : str
        Where the networks run.

    Returns
    -------
    dict of str to float
        Scores in transformed units; empty where there is no validation time step, or the records do
        not show the same ones, or the method is fitted on them too.
    """
    if fitted.about.pairing == "self" or not fitted.method.holds_out_validation:
        return {}
    sampling = fitted.config.sampling
    quick = {
        "steps": min(sampling.steps, _VALIDATION_STEPS),
        "stride": sampling.size - 2 * sampling.halo,
    }
    cheap = replace(fitted, config=fitted.config.override(sampling=quick))
    drivers, _ = _records_of(pair)
    scores: dict[str, list[float]] = {}
    for name, model in fitted.models.items():
        days = model.split["time"][model.split["part"].values == "validation"]
        days = days[within(fitted.config, days, pair.coarse.time)]
        if not days.size:
            continue
        chosen = days[np.unique(np.linspace(0, days.size - 1, _VALIDATION_DAYS).astype(int))]
        request = Request(time=chosen, device=device)
        if "teacher_forced" in fitted.method.modes(fitted.config):
            request = replace(request, mode="teacher_forced", history=pair.fine.da)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", XDownscaleWarning)
            maps = predict_maps(replace(cheap, models={name: model}), drivers, request)
        generated = maps if isinstance(maps, xr.DataArray) else maps[pair.fine.name]
        truth = _truth_of(generated, pair)
        table = skill.table({"model": generated}, truth, transform=model.scaling, baselines=None)
        transformed = table[table.columns[0][0]]
        for score, value in transformed.iloc[0].items():
            if np.isfinite(value):
                scores.setdefault(str(score), []).append(float(value))
    return {score: float(np.mean(values)) for score, values in scores.items()}


def standing(fitted: Fitted, pair: Pair, device: str) -> str:
    """Say how good a model is beside its best baseline, on time steps other than test days.

    Parameters
    ----------
    fitted : Fitted
        The model, just trained.
    pair : Pair
        The records that it was trained on.
    device : str
        Where the networks run.

    Returns
    -------
    str
        One or two sentences; the last names `Downscaler.check`.
    """
    if not fitted.method.holds_out_validation:
        state = fitted.any_group.state
        units = "" if len(fitted.targets) > 1 else _units(fitted)
        said = fitted.method.standing(fitted.config, state, units)
        said = said or f"Fitted: {fitted.method.describe(fitted.config, state)}."
        if len(fitted.models) > 1:
            said = f"Group {fitted.any_group.group.name!r}: {said}"
    else:
        said = _on_validation_days(fitted, pair, device)
    return f"{said} model.check(coarse, fine) looks for known failures on test days."


def _on_validation_days(fitted: Fitted, pair: Pair, device: str) -> str:
    """Compare some realizations of validation days with the baselines."""
    if fitted.about.pairing == "self" or fitted.own[0] < 0:
        return "Its skill cannot be measured: the coarse record has no field of the same time."
    coarse, fine = _records_of(pair)
    try:
        members = _STANDING_MEMBERS if fitted.method.is_stochastic(fitted.config) else 1
        chosen = _days(fitted, coarse, fine, _STANDING_DAYS, ("validation",))
        request = Request(time=chosen, realizations=members, device=device)
        if "teacher_forced" in fitted.method.modes(fitted.config):
            request = replace(request, mode="teacher_forced", history=fine)
        request = replace(request, time=_affordable(fitted, coarse, request))
        against = _against_baselines(fitted, coarse, fine, _maps(fitted, coarse, request))
    except XDownscaleError as problem:
        return f"Its skill could not be measured: {problem}"
    return against.sentence or "It could not be compared with baselines."


def _affordable(fitted: Fitted, coarse: Any, request: Request) -> Array:
    """Return as many of the time steps of a request as take a minute, evenly spread; 4 at least.

    Where the time of the fit was limited, they take a tenth of that at most.
    """
    limit = fitted.config.training.max_minutes
    seconds = _STANDING_SECONDS if limit is None else min(_STANDING_SECONDS, 6 * limit)
    chosen = np.asarray(request.time)
    started = monotonic()
    _maps(fitted, coarse, replace(request, time=chosen[:1], realizations=1))
    each = (monotonic() - started) * request.realizations
    count = int(np.clip(seconds / max(each, 1e-3), 4, chosen.size))
    return np.asarray(chosen[np.unique(np.linspace(0, chosen.size - 1, count).astype(int))])


def _records_of(pair: Pair) -> tuple[xr.DataArray | xr.Dataset, xr.DataArray]:
    """Return the coarse records, and the first fine one."""
    if len(pair.drivers) == 1:
        return pair.coarse.da, pair.fine.da
    drivers = {name: each.da for name, each in zip(pair.names, pair.drivers, strict=True)}
    return xr.Dataset(drivers), pair.fine.da


def _truth_of(generated: xr.DataArray, pair: Pair) -> xr.DataArray:
    """Return the true fields of the time steps that were generated, where there is a value."""
    name = require_time(generated, "The maps")
    rows = time_axis.match_times(generated[name], pair.fine.time)
    truth = pair.fine.isel(rows).da
    held = generated.isel(realization=0, drop=True).notnull()  # noqa: PD004
    return truth.where(held.transpose(*truth.dims).values)
