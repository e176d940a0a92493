"""What the networks of a group are taught with: arrays in scaled units; and the teaching."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import drift, pairs, preparation, splits
from xdownscale.adaptation import QuantileMap, fit_map
from xdownscale.calendars import cycle_numbers, time_keys
from xdownscale.config import FIELD_METHODS
from xdownscale.groups import GroupModel
from xdownscale.labels import require_time, to_array
from xdownscale.lessons import Assignment
from xdownscale.models import engine
from xdownscale.placement import place_on
from xdownscale.scaling import Scaling
from xdownscale.splits.times import months

_COMPARED = 1024  # days of a record on disc that runs are held against


def train_group(
    assignment: Assignment,
    *,
    device: str,
    checkpoint_dir: Path | None,
    progress: bool,
    fingerprint: str,
) -> GroupModel:
    """Train the networks of one group and pack up what was learnt.

    Parameters
    ----------
    assignment : Assignment
        What to learn from.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    checkpoint_dir : Path or None
        Folder that training resumes from.
    progress : bool
        Show a progress bar.
    fingerprint : str
        Of data and configuration; a checkpoint with another one is refused.

    Returns
    -------
    GroupModel
    """
    folder = None if checkpoint_dir is None else checkpoint_dir / assignment.group.name
    whole = assignment.config.method in FIELD_METHODS
    maps = quantile_maps(assignment)
    arrays: Any = field_arrays(assignment, maps) if whole else patch_arrays(assignment, maps)
    learn: Any = engine.train_fields if whole else engine.train
    trained = learn(
        arrays,
        assignment.config,
        seed=assignment.seed,
        device=device,
        checkpoint_dir=folder,
        progress=progress,
        fingerprint=fingerprint,
        pretrained_encoder=assignment.encoder.weights if assignment.encoder else None,
    )
    return GroupModel(
        group=assignment.group,
        weight=assignment.weight,
        masks=assignment.cells[1],
        static=assignment.static_fields,
        scalings=assignment.scalings,
        driver_scalings=assignment.driver_scalings,
        calendar=assignment.calendar,
        state=trained.state | _drift_reference(arrays, assignment),
        split=assignment.split_dataset(),
        history=_history(trained.history),
        maps=maps,
    )


def _drift_reference(arrays: Any, lesson: Assignment) -> dict[str, npt.NDArray[np.float32]]:
    """Measure what runs are held against, for models that see fine lags."""
    if lesson.config.method not in FIELD_METHODS or not lesson.config.data.fine_lags:
        return {}
    own = lesson.pair.own[0]
    if own < 0:
        return {}
    rows = arrays.train_targets
    if not isinstance(arrays.fine, np.ndarray):
        rows = spread(rows, _COMPARED)
    days = (
        (
            np.where(arrays.mask[0], arrays.fine[[row]][0, 0], np.nan),
            arrays.driver[[arrays.windows[row, 0]]][0, own],
        )
        for row in rows
    )
    return drift.learn(days).to_state()


def spread(rows: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Return at most so many of some days, evenly spread (one at least).

    Examples
    --------
    >>> spread(np.arange(10), 4)
    array([0, 3, 6, 9])
    """
    if rows.size <= most:
        return rows
    return np.asarray(rows[np.unique(np.linspace(0, rows.size - 1, max(most, 1)).astype(int))])


def patch_arrays(lesson: Assignment, maps: tuple[QuantileMap, ...]) -> engine.TrainingArrays:
    """Return everything that the networks learn from, in scaled units."""
    data, pair = lesson.config.data, lesson.pair
    matched = pair.coarse.isel({pair.coarse_time.name: pair.rows})
    driver = preparation.driver(matched, lesson.grid, lesson.scaling, data)
    fine = preparation.scaled_fine(pair.fine, lesson.scaling, lesson.group.window)
    coarse = preparation.scaled_coarse(pair.coarse, lesson.scaling)
    train, stop = _windows(lesson, lesson.split.train), _windows(lesson, lesson.split.stopping)
    windows, stopping = _first_stage(lesson)
    if lesson.long is not None:
        (coarse,) = _mapped_long(lesson, maps)
    return engine.TrainingArrays(
        coarse=coarse.in_memory(data.memory_limit),
        coarse_targets=windows.targets,
        coarse_lags=windows.lags,
        coarse_stopping=stopping,
        driver=driver.in_memory(data.memory_limit),
        fine=fine.in_memory(data.memory_limit),
        static=lesson.static_fields,
        calendar=lesson.calendar.channels(pair.time),
        train_targets=train.targets,
        train_lags=train.lags,
        stop_targets=stop.targets,
        stop_lags=stop.lags,
        mask=lesson.cells[1][0],
    )


def quantile_maps(lesson: Assignment) -> tuple[QuantileMap, ...]:
    """Return maps of the long records onto the climate of the training days, scaled units."""
    if lesson.long is None:
        return ()
    return tuple(
        _map(lesson, *part)
        for part in zip(lesson.long, lesson.pair.drivers, lesson.driver_scalings, strict=True)
    )


def _map(
    lesson: Assignment, long: xr.DataArray, own: xr.DataArray, scaling: Scaling
) -> QuantileMap:
    """Map one long record onto the averages of the fine one.

    Quantiles of both are those of the fine record's period: both simulations see one change of
    climate, which maps between other years would take for a bias.
    """
    time = long[require_time(long, "The coarse record")]
    keys, period = time_keys(time), time_keys(lesson.pair.time)[[0, -1]]
    rows = np.flatnonzero(lesson.in_season(time) & (keys >= period[0]) & (keys <= period[1]))
    days = np.sort(lesson.pair.rows[np.r_[lesson.split.train, lesson.split.stopping]])
    own_time = lesson.pair.coarse_time
    most = int(1e6 * lesson.config.data.memory_limit * time.size // (4 * long.size))
    rows, days = spread(rows, most), spread(days, most)
    return fit_map(
        preparation.scaled_coarse(long, scaling)[rows],
        preparation.scaled_coarse(own, scaling)[days],
        months(time)[rows],
        months(own_time)[days],
    )


def field_arrays(lesson: Assignment, maps: tuple[QuantileMap, ...]) -> engine.FieldArrays:
    """Return everything that networks of whole fields learn from, in scaled units."""
    data, pair = lesson.config.data, lesson.pair
    good = lesson.missing <= data.max_missing
    windows = splits.windows_around(pair.coarse_time, pair.rows, data.window, data.after)
    windows = splits.day_first(windows, data.window)
    lags = splits.windows_around(pair.coarse_time, pair.rows, data.lags, -1)
    whole = np.all([(w >= 0) & good[w] for w in (*windows.T, *lags.T)], axis=0)
    needed = np.unique(windows[whole])
    drivers = list(zip(pair.drivers, lesson.driver_scalings, strict=True))
    coarse = preparation.stack([preparation.scaled_coarse(*part) for part in drivers])
    held = coarse.in_memory(data.memory_limit)
    driver = preparation.stack(
        [
            preparation.driver(da, lesson.grid, scaling, data, preparation.variable(held, k))
            for k, (da, scaling) in enumerate(drivers)
        ]
    )
    fine = preparation.stack(
        [
            preparation.scaled_fine(target, scaling, lesson.group.window)
            for target, scaling in zip(pair.targets, lesson.scalings, strict=True)
        ]
    )
    first, stopping = _first_stage(lesson)
    if lesson.long is not None:
        first = splits.Windows(first.targets + len(coarse), first.lags + len(coarse))
        both = preparation.chained(coarse, preparation.stack(_mapped_long(lesson, maps)))
        held = both.in_memory(data.memory_limit)
    parts = (lesson.split.train, lesson.split.stopping, lesson.split.validation)
    train, stop, tune = (np.sort(part[whole[part]]) for part in parts)
    return engine.FieldArrays(
        coarse=held,
        coarse_targets=first.targets,
        coarse_lags=first.lags,
        coarse_stopping=stopping,
        driver=driver.through(needed).in_memory(data.memory_limit),
        own=pair.own,
        fine=fine.in_memory(data.memory_limit),
        windows=np.where(whole[:, None], np.searchsorted(needed, windows), -1),
        lags=lags,
        fine_lags=splits.windows_around(pair.time, np.arange(pair.rows.size), data.fine_lags, -1),
        static=lesson.static_fields,
        calendar=cycle_numbers(pair.time, lesson.step),
        place=place_on(pairs.canonical_grid(to_array(pair.coarse).labels), lesson.grid),
        keys=time_keys(pair.time),
        step=lesson.step,
        train_targets=train,
        stop_targets=stop,
        tune_targets=tune,
        mask=lesson.cells[1],
    )


def _first_stage(lesson: Assignment) -> tuple[splits.Windows, npt.NDArray[np.bool_]]:
    """Targets of the first stage with the days before them, and which are held out."""
    lessons = _coarse_split(lesson)
    windows = splits.lag_windows(
        _long_time(lesson), lesson.config.data.lags, targets=np.r_[lessons.train, lessons.stopping]
    )
    return windows, np.isin(windows.targets, lessons.stopping)


def _long_time(lesson: Assignment) -> xr.DataArray:
    """Time of the record that the first stage learns."""
    if lesson.long is None:
        return lesson.pair.coarse_time
    return lesson.long[0][require_time(lesson.long[0], "The coarse record")]


def _mapped_long(lesson: Assignment, maps: tuple[QuantileMap, ...]) -> list[preparation.Days]:
    """Return the long records in the climate of the fine one."""
    number = months(_long_time(lesson))
    parts = zip(lesson.long or (), lesson.driver_scalings, maps, strict=True)
    return [
        preparation.mapped(preparation.scaled_coarse(da, scaling), fitted, number)
        for da, scaling, fitted in parts
    ]


def _long_missing(lesson: Assignment) -> npt.NDArray[np.float64]:
    """Share of missing cells of each day of the first stage's record."""
    if lesson.long is None:
        return lesson.missing
    shares = [preparation.missing_share(da, preparation.ever_present(da)) for da in lesson.long]
    return np.asarray(np.max(shares, axis=0))


def _windows(lesson: Assignment, targets: npt.NDArray[np.int64]) -> splits.Windows:
    return splits.lag_windows(lesson.pair.time, lesson.config.data.lags, targets=targets)


def _coarse_split(lesson: Assignment) -> splits.Split:
    """Split the coarse record for the first stage: no held-out day, nor any day near one."""
    lags, time = lesson.config.data.lags, _long_time(lesson)
    held = np.zeros(time.size, bool)
    parts = (lesson.split.validation, lesson.split.test) if lesson.long is None else ()
    for part in parts:
        for shift in range(-lags, lags + 1):
            held[np.clip(lesson.pair.rows[part] + shift, 0, time.size - 1)] = True
    allowed = lesson.in_season(time) & (_long_missing(lesson) <= lesson.config.data.max_missing)
    allowed = allowed & ~held
    return splits.chronological_split(
        time,
        lags,
        fractions=(1.0, 0.0, 0.0),
        early_stopping=lesson.config.data.early_stopping,
        targets=allowed,
        seed=lesson.seed,
    )


def _history(losses: Mapping[str, npt.NDArray[Any]]) -> xr.Dataset:
    return xr.Dataset({name: ("step", values) for name, values in losses.items()})
