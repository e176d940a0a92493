"""Fit a downscaling model: validate the records, train every group, assemble the result."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import methods
from xdownscale.config import CONSISTENT, DownscalerConfig
from xdownscale.core import blocks, hashing, logs
from xdownscale.core import time as time_axis
from xdownscale.core.errors import (
    DataError,
    OptionError,
    XDownscaleError,
    XDownscaleWarning,
    nearest_name,
)
from xdownscale.core.grids import centres
from xdownscale.core.missing import ever_present, missing_share
from xdownscale.core.optional import installed_version
from xdownscale.core.units import units_of
from xdownscale.fitting import transfer
from xdownscale.fitting.faults import Asked, find_faults, joined
from xdownscale.fitting.fitted_model import Fitted, GroupModel, ModelFacts
from xdownscale.fitting.groups import Seasons, make_groups
from xdownscale.fitting.pairing import settle_pairing
from xdownscale.fitting.training_data import PARTS, GroupDataset, train_group
from xdownscale.models.training.progress import Progress, header
from xdownscale.preprocessing import validation
from xdownscale.preprocessing.outliers import screen_static
from xdownscale.preprocessing.validation import Pair

_LOG = logs.logger("fit")


def fit_records(
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
    progress: Progress,
    drivers: Mapping[str, str | None] | None = None,
    pairing: str = "auto",
    encoder: Fitted | None = None,
    outliers: str = "raise",
) -> tuple[Fitted, Pair]:
    """Validate the records, train a model for every group, and put the parts together.

    Parameters
    ----------
    coarse, fine, static, seed, device, checkpoint_dir, progress, drivers, pairing, outliers
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
    fitted : Fitted
        The model.
    pair : Pair
        The records that it was trained on.
    """
    started = time.monotonic()
    if methods.find(config.method).networks:
        from xdownscale.models.device import check_devices

        check_devices(device, config.training.devices, config.training.strategy)
    asked = Asked(config, drivers, pairing, outliers, seasons, regions, seed)
    try:
        with logs.timed(_LOG, "records checked"):
            ready = prepare(coarse, fine, static, asked, encoder)
    except XDownscaleError as err:
        raise _with_others(err, coarse, fine, static, asked) from None
    datasets = ready.datasets
    _log_asked(ready, device, seed)
    parts = [dataset.fingerprint() for dataset in datasets]
    fingerprint = hashing.fingerprint(_fingerprint(ready.pair, ready.config), *parts)
    with logs.timed(_LOG, f"{len(datasets)} group(s) trained"):
        models = _train(datasets, device, checkpoint_dir, progress, fingerprint, started)
    origins = {each.group.name: each.encoder.origin for each in datasets if each.encoder}
    about = _facts(ready.pair, fingerprint, seed, origins)
    return _fitted(ready.pair, ready.config, seasons, models, ready.present, about), ready.pair


def _log_asked(ready: Prepared, device: str, seed: int) -> None:
    """Log what is fitted, at DEBUG."""
    pair = ready.pair
    _LOG.debug(
        "method %s on %s, seed %d, pairing %s; fine %s, coarse %s",
        ready.config.method,
        device,
        seed,
        pair.pairing,
        pair.fine.array.shape,
        pair.coarse.array.shape,
    )


def _with_others(
    error: XDownscaleError, coarse: Any, fine: Any, static: Any, asked: Asked
) -> XDownscaleError:
    """Return an error that names all faults; records on disc are not read for it."""
    with contextlib.suppress(Exception):  # a search of broken records must not hide the first fault
        return joined(error, find_faults(coarse, fine, static, asked, read_lazy=False))
    return error


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Checked records, before anything is trained.

    Attributes
    ----------
    pair : Pair
        Records.
    config : DownscalerConfig
        Options; those for records that learn from their own averages differ from what was given.
    datasets : list of GroupDataset
        One for each group.
    present : (y, x) bool array
        Coarse cells that ever have a value.
    """

    pair: Pair
    config: DownscalerConfig
    datasets: list[GroupDataset]
    present: npt.NDArray[np.bool_]


def prepare(
    coarse: xr.DataArray | xr.Dataset,
    fine: xr.DataArray | xr.Dataset,
    static: xr.DataArray | xr.Dataset | None,
    asked: Asked,
    encoder: Fitted | None,
) -> Prepared:
    """Validate the records and split them into groups; raise at the first fault.

    Parameters
    ----------
    coarse, fine, static, encoder
        As for `fit_records`.
    asked : Asked
        Options.
    """
    config, seed = asked.config, asked.seed
    coarse, fine = (blocks.chunked(record) for record in (coarse, fine))
    pair = validation.check_pair(coarse, fine, config.data, asked.drivers)
    pair = validation.screen_pair(pair, asked.outliers)
    static = screen_static(static, asked.outliers)
    _check_method(pair, config)
    transfer.check_transfer(encoder, config, len(pair.drivers))
    pair = settle_pairing(pair, asked.pairing, seed)
    if pair.pairing == "self":
        config = _for_averages(config, pair.reason, warn=asked.pairing == "auto")
    method = methods.find(config.method)
    blend = config.data.blend if method.blends else 0
    groups = list(make_groups(pair, asked.seasons, asked.regions, blend))
    for _, weight in groups:
        method.check_shape((weight.shape[0], weight.shape[1]), config)
    present = np.all([ever_present(driver.array) for driver in pair.drivers], axis=0)
    missing = np.max([missing_share(driver.array, present) for driver in pair.drivers], axis=0)
    _check_missing(missing, config.data.max_missing)
    datasets = [
        GroupDataset(
            pair=pair,
            static=static,
            group=group,
            weight=weight,
            config=config,
            seasons=asked.seasons,
            missing=missing,
            seed=seed,
            encoder=transfer.encoder_of(encoder, group.name),
        )
        for group, weight in groups
    ]
    for dataset in datasets:
        dataset.check()
    return Prepared(pair=pair, config=config, datasets=datasets, present=present)


def _train(
    datasets: Sequence[GroupDataset],
    device: str,
    checkpoint_dir: Path | None,
    progress: Progress,
    fingerprint: str,
    started: float,
) -> dict[str, GroupModel]:
    """Train the groups one after another; say what that costs before the first."""
    first = datasets[0]
    names = [str(target.name) for target in first.pair.targets]
    days = np.array([[len(getattr(d.split, part)) for part in PARTS] for d in datasets])
    coarse = first.pair.coarse.time.size
    progress.say(header(first.config.method, names, days.sum(0).tolist(), coarse, len(datasets)))
    sizes = group_sizes(datasets)
    limit = first.config.training.max_minutes
    models = {}
    try:
        for number, dataset in enumerate(datasets):
            progress.group(number, dataset.group.name)
            with logs.timed(_LOG, f"group {dataset.group.name!r} trained"):
                models[dataset.group.name] = train_group(
                    dataset,
                    device=device,
                    checkpoint_dir=checkpoint_dir,
                    progress=progress,
                    fingerprint=fingerprint,
                    minutes=minutes_for(limit, started, len(datasets) - number),
                    sizes=() if number else sizes,
                    limit=limit,
                )
    finally:
        progress.close()
    return models


def group_sizes(datasets: Sequence[GroupDataset]) -> list[float]:
    """Return the cost of each group over that of the first: training time steps times cells.

    Parameters
    ----------
    datasets : sequence of GroupDataset
        One for each group.
    """
    sizes = [dataset.split.train.size * dataset.weight.size for dataset in datasets]
    return [size / max(sizes[0], 1) for size in sizes]


def minutes_for(most: float | None, started: float, groups: int) -> float | None:
    """Return the time for the next of some groups: an even part of what is left.

    Parameters
    ----------
    most : float or None
        Minutes for the whole call.
    started : float
        When it began, by `time.monotonic`.
    groups : int
        Groups that are still to be trained.

    Examples
    --------
    >>> minutes_for(None, 0.0, 4) is None
    True
    >>> round(minutes_for(10.0, time.monotonic() - 120, 4), 2)
    2.0
    """
    if most is None:
        return None
    return max(most - (time.monotonic() - started) / 60, 0.0) / groups


def _check_missing(missing: npt.NDArray[np.float64], most: float) -> None:
    """Raise unless some time step has enough of its coarse field."""
    if missing.min() > most:
        raise DataError(
            f"No day of the coarse record can be trained on: on each, {missing.min():.0%} of its "
            f"cells or more are NaN, and max_missing is {most:g}. Check the variable and its fill "
            "values, or raise data=dict(max_missing=...)."
        )


def _for_averages(config: DownscalerConfig, reason: str, *, warn: bool) -> DownscalerConfig:
    """Return the options for training on a fine record and its own averages."""
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
            stacklevel=6,
        )
    # the averages end where the fine record ends, half a coarse cell inside its edges
    return config.override(data={"extrapolate": config.data.extrapolate or "nearest"})


def _check_method(pair: Pair, config: DownscalerConfig) -> None:
    """Raise where the options do not suit the variables of the records."""
    named = [] if isinstance(config.data.transform, str) else list(config.data.transform)
    there = {*pair.names, *(str(target.name) for target in pair.targets)}
    if unknown := [name for name in named if name not in there]:
        raise OptionError(
            f"transform= names {unknown[0]!r}, which is no variable of the records; there are "
            f"{', '.join(map(repr, sorted(there)))}.{nearest_name(unknown[0], there)}"
        )
    kind = config.sampling.constraint
    for number in set(pair.own) - {-1} if kind in CONSISTENT[1:] else ():
        least = float(pair.drivers[number].da.min())
        if least < 0:
            raise OptionError(
                f"The constraint {kind!r} needs coarse values of 0 or more, and "
                f"{pair.names[number]!r} has {least:g}; use 'additive'."
            )
    method = methods.find(config.method)
    if method.one_variable:
        if len(pair.drivers) > 1 or len(pair.targets) > 1 or pair.own[0] < 0:
            raise OptionError(
                f"Method {config.method!r} learns one fine variable from the same "
                f"coarse one; there are {len(pair.drivers)} coarse and {len(pair.targets)} fine "
                "ones. Give one DataArray each, or use preset 'fast'."
            )
        return
    lags = method.fine_lags(config)
    if lags and len(pair.targets) > 1:
        raise OptionError(
            f"fine_lags is {lags} and there are {len(pair.targets)} fine "
            "variables; a model that sees fine lags predicts one. Give one, or fine_lags=0."
        )


def _fingerprint(pair: Pair, config: DownscalerConfig) -> str:
    """Return a hash of the values, times and grids of both records, and of the options."""
    records = [record.array for record in (*pair.drivers, *pair.targets)]
    times = [record.keys for record in (pair.coarse, pair.fine)]
    grids = [record.grid for record in (pair.coarse, pair.fine)]
    degrees = [d for grid in grids for d in centres(grid)]
    return hashing.fingerprint(json.dumps(config.to_dict()), *times, *degrees, *records)


def _fitted(
    pair: Pair,
    config: DownscalerConfig,
    seasons: Seasons | None,
    models: dict[str, GroupModel],
    present: npt.NDArray[np.bool_],
    about: ModelFacts,
) -> Fitted:
    """Assemble the fitted model; it keeps the last fine fields, as lags of the time after them."""
    rows = slice(-config.data.lags, None)
    array = np.asarray(pair.fine.array[rows], np.float32)
    grid = pair.fine.grid
    carried = xr.DataArray(
        array,
        dims=("time", *grid.dims),
        coords={**grid.coords, "time": pair.fine.time.values[rows]},
    )
    labels = [target.labels for target in pair.targets]
    return Fitted(
        config=config,
        models=models,
        seasons=seasons,
        targets=tuple(
            each._replace(coords=each.coords.isel({str(each.axes.time): slice(0)}).compute())
            for each in labels
        ),
        drivers=tuple(pair.names),
        own=pair.own,
        coarse_grid=pair.coarse.grid.copy(data=present.astype(np.float32)),
        carried=carried,
        about=about,
    )


def _facts(pair: Pair, fingerprint: str, seed: int, encoder: dict[str, Any]) -> ModelFacts:
    """Return the facts about the training that a user or a later check wants to know."""
    units = [units_of(driver) for driver in pair.drivers]
    coarse_time = pair.coarse.time if pair.long is None else pair.long[0].time
    return ModelFacts(
        coarse_units=tuple(unit if unit is None else str(unit) for unit in units),
        fine_period=_period(pair.fine.time),
        coarse_period=_period(coarse_time),
        days=(int(pair.fine.time.size), int(coarse_time.size)),
        step=int(time_axis.time_step(pair.coarse.time)),
        fingerprint=fingerprint,
        seed=seed,
        version=installed_version("xarray-downscale") or "unknown",
        pairing=pair.pairing,
        pairing_reason=pair.reason,
        encoder=encoder,
    )


def _period(time: xr.DataArray) -> tuple[str, str]:
    """Return the first and the last date."""
    return str(time.values[0])[:10], str(time.values[-1])[:10]
