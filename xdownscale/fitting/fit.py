"""From a pair of records to everything that a fitted `Downscaler` holds."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import skill
from xdownscale.config import CONSISTENT, FIELD_METHODS, DownscalerConfig
from xdownscale.core import blocks, hashing
from xdownscale.core import time as time_axis
from xdownscale.core.coords import require_time, to_array
from xdownscale.core.errors import (
    DataError,
    OptionError,
    XDownscaleError,
    XDownscaleWarning,
    nearest_name,
)
from xdownscale.core.missing import ever_present, missing_share
from xdownscale.core.time import time_keys
from xdownscale.fitting import transfer
from xdownscale.fitting.fitted_model import Fitted, GroupModel
from xdownscale.fitting.groups import Seasons, check_layouts, make_groups
from xdownscale.fitting.pairing import settle_pairing
from xdownscale.fitting.training_data import Assignment, train_group
from xdownscale.models.device import check_devices
from xdownscale.prediction.plan import within
from xdownscale.prediction.predict import draw_maps
from xdownscale.prediction.request import Order, is_parallel
from xdownscale.preprocessing import validation
from xdownscale.preprocessing.validation import Pair

_VALIDATION_DAYS = 4  # days that the skill in the repr is measured on
_VALIDATION_STEPS = 10  # most steps that it is drawn with


def learn(
    coarse: xr.DataArray | xr.Dataset,
    fine: xr.DataArray | xr.Dataset,
    static: xr.DataArray | xr.Dataset | None,
    *,
    config: DownscalerConfig,
    seasons: Seasons | None,
    regions: Mapping[str, Any] | None,
    seed: int,
    device: str,
    checkpoint_dir: Path | None,
    progress: bool,
    drivers: Mapping[str, str | None] | None = None,
    pairing: str = "auto",
    encoder: Fitted | None = None,
) -> Fitted:
    """Check the records, train a model for every group and gather what was learnt.

    Parameters
    ----------
    coarse, fine, static, seed, device, checkpoint_dir, progress, drivers, pairing
        As for `xdownscale.fit`.
    config : DownscalerConfig
        Options.
    seasons : mapping or None
        Season -> months.
    regions : mapping or None
        Region -> box or mask.
    encoder : Fitted or None
        Model whose encoder stands in for the first stage.

    Returns
    -------
    Fitted
    """
    check_devices(device, config.training.devices, config.training.strategy)
    coarse, fine = (blocks.chunked(record) for record in (coarse, fine))
    pair = validation.check_pair(coarse, fine, config.data, drivers)
    _check_method(pair, config)
    transfer.check_transfer(encoder, config, len(pair.drivers))
    settled = settle_pairing(pair, pairing, seed)
    pair = settled.pair
    if settled.kind == "self":
        config = _for_averages(config, settled.reason, warn=pairing == "auto")
    blend = config.data.blend if config.method in FIELD_METHODS else 0
    groups = list(make_groups(pair, seasons, regions, blend))
    for group, _ in groups:
        check_layouts(group.window, config)
    present = np.all([ever_present(driver) for driver in pair.drivers], axis=0)
    missing = np.max([missing_share(d, present) for d in pair.drivers], axis=0)
    _check_driven(missing, config.data.max_missing)
    assignments = [
        Assignment(
            pair=pair,
            static=static,
            group=group,
            weight=weight,
            config=config,
            seasons=seasons,
            missing=missing,
            seed=seed,
            long=settled.long,
            encoder=transfer.encoder_of(encoder, group.name),
        )
        for group, weight in groups
    ]
    for assignment in assignments:
        assignment.check()
    own = [assignment.fingerprint() for assignment in assignments]
    fingerprint = hashing.fingerprint(_fingerprint(pair, config), *own)
    models = {
        assignment.group.name: train_group(
            assignment,
            device=device,
            checkpoint_dir=checkpoint_dir,
            progress=progress,
            fingerprint=fingerprint,
        )
        for assignment in assignments
    }
    fitted = _pack(pair, config, seasons, models, fingerprint, seed, present)
    fitted.about["pairing"], fitted.about["pairing_reason"] = settled.kind, settled.reason
    fitted.about["encoder"] = {a.group.name: a.encoder.origin for a in assignments if a.encoder}
    if settled.long is not None:
        _note_period(fitted, settled.long[0])
    try:
        fitted.about["skill"] = _validation_skill(fitted, pair, device)
    except XDownscaleError as problem:  # what took hours is not to be lost for a line of the repr
        fitted.about["skill"] = {}
        warnings.warn(
            f"The skill on validation days could not be measured: {problem}",
            XDownscaleWarning,
            stacklevel=4,
        )
    return fitted


def _note_period(fitted: Fitted, long: xr.DataArray) -> None:
    """Note the period of the long coarse record."""
    time = long[require_time(long, "The coarse record")]
    fitted.about["coarse_period"] = _period(time)
    fitted.about["days"][1] = int(time.size)


def _check_driven(missing: npt.NDArray[np.float64], most: float) -> None:
    """Raise unless some day has enough of its coarse field."""
    if missing.min() > most:
        raise DataError(
            f"No day of the coarse record can be learnt from: on each, {missing.min():.0%} of its "
            f"cells or more are NaN, and max_missing is {most:g}. Check the variable and its fill "
            "values, or raise data=dict(max_missing=...)."
        )


def _for_averages(config: DownscalerConfig, reason: str, *, warn: bool) -> DownscalerConfig:
    """Return options that suit a fine record and its own averages."""
    kind = config.sampling.constraint
    if kind in CONSISTENT:
        raise OptionError(
            f"The constraint {kind!r} makes fields consistent with the coarse field of the same "
            f"day, and the two records do not show the same days ({reason.rstrip('.')}). Drop it, "
            "or use 'nonnegative'."
        )
    if warn:
        warnings.warn(
            f"{reason} Learning from averages of the fine record (pairing='self').",
            XDownscaleWarning,
            stacklevel=5,
        )
    # the averages end where the fine record ends, half a coarse cell inside its edges
    return config.replace(data={"extrapolate": config.data.extrapolate or "nearest"})


def _check_method(pair: Pair, config: DownscalerConfig) -> None:
    named = [] if isinstance(config.data.transform, str) else list(config.data.transform)
    there = {*pair.names, *(str(target.name) for target in pair.targets)}
    if unknown := [name for name in named if name not in there]:
        raise OptionError(
            f"transform= names {unknown[0]!r}, which is no variable of the records; there are "
            f"{', '.join(map(repr, sorted(there)))}.{nearest_name(unknown[0], there)}"
        )
    kind = config.sampling.constraint
    for number in set(pair.own) - {-1} if kind in CONSISTENT[1:] else ():
        least = float(pair.drivers[number].min())
        if least < 0:
            raise OptionError(
                f"The constraint {kind!r} needs coarse values of 0 or more, and "
                f"{pair.names[number]!r} has {least:g}; use 'additive'."
            )
    if config.method in FIELD_METHODS:
        if config.data.fine_lags and len(pair.targets) > 1:
            raise OptionError(
                f"fine_lags is {config.data.fine_lags} and there are {len(pair.targets)} fine "
                "variables; a model that sees fine lags draws one. Give one, or fine_lags=0."
            )
        return
    if len(pair.drivers) > 1 or len(pair.targets) > 1 or pair.own[0] < 0:
        raise OptionError(
            f"Method {config.method!r} (preset 'paper') learns one fine variable from the same "
            f"coarse one; there are {len(pair.drivers)} coarse and {len(pair.targets)} fine ones. "
            "Give one DataArray each, or use preset 'fast'."
        )


def _fingerprint(pair: Pair, config: DownscalerConfig) -> str:
    """Name the data and options: values, times and grids of both records, and the configuration."""
    records = [to_array(record).array for record in (*pair.drivers, *pair.targets)]
    times = [time_keys(time) for time in (pair.coarse_time, pair.time)]
    grids = [validation.canonical_grid(to_array(r).labels) for r in (pair.coarse, pair.fine)]
    degrees = [d for grid in grids for d in validation.degrees(grid)]
    return hashing.fingerprint(json.dumps(config.to_dict()), *times, *degrees, *records)


def _pack(
    pair: Pair,
    config: DownscalerConfig,
    seasons: Seasons | None,
    models: dict[str, GroupModel],
    fingerprint: str,
    seed: int,
    present: npt.NDArray[np.bool_],
) -> Fitted:
    """Gather what was learnt, with the facts that a user or a later check wants to know."""
    rows = slice(-config.data.lags, None)
    array = np.asarray(to_array(pair.fine).array[rows], np.float32)
    grid, coarse_grid = pair.grid, validation.canonical_grid(to_array(pair.coarse).labels)
    carried = xr.DataArray(
        array, dims=("time", *grid.dims), coords={**grid.coords, "time": pair.time.values[rows]}
    )
    units = [driver.attrs.get("units") for driver in pair.drivers]
    labels = [to_array(target).labels for target in pair.targets]
    return Fitted(
        config=config,
        models=models,
        seasons=seasons,
        targets=tuple(
            each._replace(coords=each.coords.isel({str(each.axes.time): slice(0)}))
            for each in labels
        ),
        drivers=tuple(pair.names),
        own=pair.own,
        coarse_grid=coarse_grid.copy(data=present.astype(np.float32)),
        carried=carried,
        about={
            "coarse_units": [unit if unit is None else str(unit) for unit in units],
            "fine_period": _period(pair.time),
            "coarse_period": _period(pair.coarse_time),
            "days": [int(pair.time.size), int(pair.coarse_time.size)],
            "step": int(time_axis.time_step(pair.coarse_time)),
            "fingerprint": fingerprint,
            "seed": seed,
            "version": _version(),
        },
    )


def _period(time: xr.DataArray) -> list[str]:
    return [str(time.values[0])[:10], str(time.values[-1])[:10]]


def _version() -> str:
    try:
        return version("xarray-downscale")
    except PackageNotFoundError:
        return "unknown"


def _validation_skill(fitted: Fitted, pair: Pair, device: str) -> dict[str, float]:
    """Scores of one teacher-forced realization on some validation days, transformed units."""
    sampling = fitted.config.sampling
    quick = {
        "steps": min(sampling.steps, _VALIDATION_STEPS),
        "stride": sampling.size - 2 * sampling.halo,
    }
    cheap = replace(fitted, config=fitted.config.replace(sampling=quick))
    whole = fitted.config.method in FIELD_METHODS
    drivers: xr.DataArray | xr.Dataset = pair.coarse
    if fitted.about["pairing"] == "self":
        return {}
    if len(pair.drivers) > 1:
        drivers = xr.Dataset(dict(zip(pair.names, pair.drivers, strict=True)))
    scores: dict[str, list[float]] = {}
    for name, model in fitted.models.items():
        days = model.split["time"][model.split["part"].values == "validation"]
        days = days[within(fitted.config.data, days, pair.coarse_time)] if whole else days
        if not days.size:
            continue
        chosen = days[np.unique(np.linspace(0, days.size - 1, _VALIDATION_DAYS).astype(int))]
        order = Order(time=chosen, device=device)
        if not is_parallel(fitted.config):
            order = replace(order, mode="teacher_forced", history=pair.fine)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", XDownscaleWarning)
            maps = draw_maps(replace(cheap, models={name: model}), drivers, order)
        drawn = maps if isinstance(maps, xr.DataArray) else maps[pair.fine.name]
        truth = _truth_of(drawn, pair)
        table = skill.table({"model": drawn}, truth, transform=model.scaling, baselines=None)
        transformed = table[table.columns[0][0]]
        for score, value in transformed.iloc[0].items():
            if np.isfinite(value):
                scores.setdefault(str(score), []).append(float(value))
    return {score: float(np.mean(values)) for score, values in scores.items()}


def _truth_of(drawn: xr.DataArray, pair: Pair) -> xr.DataArray:
    """Return the true fields of the days that were drawn, where something was drawn."""
    name = require_time(drawn, "The maps")
    rows = time_axis.match_times(drawn[name], pair.time)
    truth = pair.fine.isel({str(pair.time.name): rows})
    held = drawn.isel(realization=0, drop=True).notnull()
    return truth.where(held.transpose(*truth.dims).values)
