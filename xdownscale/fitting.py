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

from xdownscale import pairs, preparation, skill, store
from xdownscale.calendars import time_keys
from xdownscale.config import FIELD_METHODS, DownscalerConfig
from xdownscale.errors import XDownscaleWarning
from xdownscale.groups import Fitted, GroupModel, Seasons, check_layouts, make_groups
from xdownscale.labels import to_array
from xdownscale.lessons import Assignment, train_group
from xdownscale.pairs import Pair
from xdownscale.planning import Order
from xdownscale.prediction import draw_maps

_VALIDATION_DAYS = 4  # days that the skill in the repr is measured on
_VALIDATION_STEPS = 10  # most steps that it is drawn with


def learn(
    coarse: xr.DataArray,
    fine: xr.DataArray,
    static: xr.DataArray | xr.Dataset | None,
    *,
    config: DownscalerConfig,
    seasons: Seasons | None,
    regions: Mapping[str, Any] | None,
    seed: int,
    device: str,
    checkpoint_dir: Path | None,
    progress: bool,
) -> Fitted:
    """Check the records, train a model for every group and gather what was learnt.

    Parameters
    ----------
    coarse, fine, static, seed, device, checkpoint_dir, progress
        As for `xdownscale.fit`.
    config : DownscalerConfig
        Options.
    seasons : mapping or None
        Season -> months.
    regions : mapping or None
        Region -> box or mask.

    Returns
    -------
    Fitted
    """
    pair = pairs.check_pair(coarse, fine, config.data)
    groups = list(make_groups(pair, seasons, regions))
    for group, _ in groups:
        check_layouts(group.window, config)
    present = preparation.ever_present(pair.coarse)
    missing = preparation.missing_share(pair.coarse, present)
    assignments = [
        Assignment(
            pair=pair,
            static=static,
            group=group,
            inside=inside,
            config=config,
            seasons=seasons,
            missing=missing,
            seed=seed,
        )
        for group, inside in groups
    ]
    for assignment in assignments:
        assignment.check()
    own = [assignment.fingerprint() for assignment in assignments]
    fingerprint = store.fingerprint(_fingerprint(pair, config), *own)
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
    fitted.about["skill"] = _validation_skill(fitted, pair, device)
    return fitted


def _fingerprint(pair: Pair, config: DownscalerConfig) -> str:
    """Name the data and options: values, times and grids of both records, and the configuration."""
    records = [to_array(record).array for record in (pair.coarse, pair.fine)]
    times = [time_keys(time) for time in (pair.coarse_time, pair.time)]
    grids = [pairs.canonical_grid(to_array(r).labels) for r in (pair.coarse, pair.fine)]
    degrees = [d for grid in grids for d in pairs.degrees(grid)]
    return store.fingerprint(json.dumps(config.to_dict()), *times, *degrees, *records)


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
    grid, coarse_grid = pair.grid, pairs.canonical_grid(to_array(pair.coarse).labels)
    carried = xr.DataArray(
        array, dims=("time", *grid.dims), coords={**grid.coords, "time": pair.time.values[rows]}
    )
    units = pair.coarse.attrs.get("units")
    time = pair.labels.coords.isel({str(pair.labels.axes.time): slice(0)})
    return Fitted(
        config=config,
        models=models,
        seasons=seasons,
        labels=pair.labels._replace(coords=time),
        coarse_grid=coarse_grid.copy(data=present.astype(np.float32)),
        carried=carried,
        about={
            "coarse_units": units if units is None else str(units),
            "fine_period": _period(pair.time),
            "coarse_period": _period(pair.coarse_time),
            "days": [int(pair.time.size), int(pair.coarse_time.size)],
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
    scores: dict[str, list[float]] = {}
    for name, model in fitted.models.items():
        days = model.split["time"][model.split["part"].values == "validation"]
        if not days.size:
            continue
        chosen = days[np.unique(np.linspace(0, days.size - 1, _VALIDATION_DAYS).astype(int))]
        order = Order(time=chosen, device=device)
        if not whole:
            order = replace(order, mode="teacher_forced", history=pair.fine)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", XDownscaleWarning)
            drawn = draw_maps(replace(cheap, models={name: model}), pair.coarse, order)
        table = skill.table({"model": drawn}, pair.fine, transform=model.scaling, baselines=None)
        transformed = table[table.columns[0][0]]
        for score, value in transformed.iloc[0].items():
            if np.isfinite(value):
                scores.setdefault(str(score), []).append(float(value))
    return {score: float(np.mean(values)) for score, values in scores.items()}
