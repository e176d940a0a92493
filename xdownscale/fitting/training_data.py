"""What one group learns from: its days, scaling and arrays; and the learning itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import splits
from xdownscale.config import FIELD_METHODS, DownscalerConfig
from xdownscale.core import blocks, hashing
from xdownscale.core import time as times
from xdownscale.core.coords import require_time, to_array
from xdownscale.core.errors import DataError, XDownscaleError, XDownscaleWarning
from xdownscale.core.missing import ever_present, missing_share
from xdownscale.core.normalization import BLOCK, Scaling, choose_transform, fit_scaling
from xdownscale.core.time import months, time_keys
from xdownscale.fitting import drift
from xdownscale.fitting.fitted_model import GroupModel
from xdownscale.fitting.groups import Group, Seasons
from xdownscale.fitting.transfer import Encoder
from xdownscale.models import engine, field_engine
from xdownscale.models.training import crop_dataset, patch_dataset
from xdownscale.preprocessing import features, static_features, validation
from xdownscale.preprocessing.calendar_features import Calendar, cycle_numbers
from xdownscale.preprocessing.features import place_on
from xdownscale.preprocessing.quantile_mapping import QuantileMap, fit_map
from xdownscale.preprocessing.validation import Pair

PARTS = ("train", "stopping", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What one group is to learn from.

    Attributes
    ----------
    pair : Pair
        Records.
    static : DataArray, Dataset or None
        Static fields.
    group : Group
        Season and region.
    weight : (y, x) float32 array
        What the cells of the group's window count; 0 outside the region and its surroundings.
    config : DownscalerConfig
        Options.
    seasons : mapping or None
        Season -> months.
    missing : (t,) array
        Share of missing cells of each day of the coarse record.
    seed : int
        Seed of everything random.
    long : tuple of DataArray or None
        Under pairing ``"self"`` the long coarse records, which are mapped onto the climate of
        `pair`'s; None where `pair` holds them.
    encoder : Encoder or None
        Weights that stand in for the first stage.
    """

    pair: Pair
    static: xr.DataArray | xr.Dataset | None
    group: Group
    weight: npt.NDArray[np.float32]
    config: DownscalerConfig
    seasons: Seasons | None
    missing: npt.NDArray[np.float64]
    seed: int
    long: tuple[xr.DataArray, ...] | None = None
    encoder: Encoder | None = None

    @cached_property
    def cells(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Days ``(n,)`` with values of every target, and cells ``(t, y, x)`` that ever have one."""
        found = [self._present(target) for target in self.pair.targets]
        return np.all([filled for filled, _ in found], axis=0), np.stack([v for _, v in found])

    def _present(self, target: xr.DataArray) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Days of a target with any value, ``(n,)``, and cells that ever have one, ``(y, x)``."""
        array = to_array(target).array[(slice(None), *self.group.window)]
        filled, valid = np.zeros(array.shape[0], bool), np.zeros(array.shape[1:], bool)
        for rows, block in blocks.blocks(array):
            present = np.isfinite(block) & (self.weight > 0)
            filled[rows] = present.any(axis=(1, 2))
            valid |= present.any(axis=0)
        if not valid.any():
            raise DataError(
                f"The fine record {target.name!r} has no value in group {self.group.name!r}: every "
                "cell of every day is NaN. Check the variable, the mask and the region."
            )
        return filled, valid

    @cached_property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Days of the fine record that may be learnt from: fine and coarse field are there."""
        filled, _ = self.cells
        driven = self.missing[self.pair.rows] <= self.config.data.max_missing
        lost = int(np.sum(~(filled & driven)))
        if lost:
            warnings.warn(
                f"{lost} of {filled.size} days are left out of the training of group "
                f"{self.group.name!r}: the fine field is all NaN or more than "
                f"{self.config.data.max_missing:.0%} of the coarse one is missing.",
                XDownscaleWarning,
                stacklevel=2,
            )
        return np.asarray(filled & driven)

    @cached_property
    def split(self) -> splits.Split:
        """Training, early-stopping, validation and test days, as rows of the fine record.

        A model for all seasons is judged on all of them: each season is split on its own.
        """
        data = self.config.data
        return splits.chronological_split(
            self.pair.time,
            data.lags,
            fractions=data.fractions,
            early_stopping=data.early_stopping,
            seasons=None if self.group.season else splits.SEASONS,
            targets=self.usable & self.in_season(self.pair.time),
            present=self.usable,
            seed=self.seed,
        )

    @cached_property
    def scalings(self) -> tuple[Scaling, ...]:
        """Transform and constants of each target, from training days alone.

        Under ``transform="auto"`` the coarse training days have a say too: the transform must
        suit both records.
        """
        targets, own = self.pair.targets, self.pair.own
        return tuple(
            self._scaling(target, self.pair.drivers[k] if k >= 0 else None)
            for target, k in zip(targets, own, strict=True)
        )

    @property
    def scaling(self) -> Scaling:
        """Scaling of the first target."""
        return self.scalings[0]

    @cached_property
    def driver_scalings(self) -> tuple[Scaling, ...]:
        """Scaling of each driver: that of its target, else one of its own."""
        own = {k: self.scalings[t] for t, k in enumerate(self.pair.own) if k >= 0}
        train = self.pair.rows[self.split.train]
        return tuple(
            own[k] if k in own else self._fitted(driver, train, None)
            for k, driver in enumerate(self.pair.drivers)
        )

    def _scaling(self, target: xr.DataArray, driver: xr.DataArray | None) -> Scaling:
        chosen = self._fitted(target, self.split.train, driver)
        if driver is not None and (
            problem := validation.strayed(driver, chosen, "The coarse record")
        ):
            raise DataError(problem)
        return chosen

    def _fitted(
        self, record: xr.DataArray, train: npt.NDArray[np.int64], driver: xr.DataArray | None
    ) -> Scaling:
        """Choose a transform for a record (and its driver), and fit the constants."""
        data, array = self.config.data, to_array(record).array
        fine = any(record is target for target in self.pair.targets)
        window = self.group.window if fine else (slice(None), slice(None))
        own = _DayBlocks(array[(slice(None), *window)], train)
        transform = data.transform
        if not isinstance(transform, str):
            transform = transform.get(str(record.name), "auto")
        floor = data.floor if transform in ("auto", "log10") else None
        parts = [own]
        if driver is not None:
            parts.append(_DayBlocks(to_array(driver).array, self.pair.rows[train]))
        chosen = choose_transform(_Chain(*parts), transform, floor=floor, seed=self.seed)
        if own.low > own.high:  # no value at all, which has an error of its own
            return fit_scaling(own, chosen.transform, data.scaling)
        return fit_scaling(own, replace(chosen, minimum=own.low, maximum=own.high), data.scaling)

    def check(self) -> None:
        """Raise whatever there is to raise, before any group is trained.

        Raises
        ------
        XDownscaleError
            As the split, the scaling and the static fields do; names the group.
        """
        try:
            _ = self.split, self.driver_scalings, self.static_fields
        except XDownscaleError as err:
            if self.group.name == "all":
                raise
            raise type(err)(f"Group {self.group.name!r}: {err}") from err

    def fingerprint(self) -> str:
        """Name what this group learns from, beside the records themselves."""
        scalings = [scaling.to_dict() for scaling in (*self.scalings, *self.driver_scalings)]
        facts = {"scaling": scalings, "window": str(self.group.window)}
        parts = [getattr(self.split, name) for name in PARTS]
        mask = self.cells[1].astype(np.int8)
        taken = () if self.encoder is None else (self.encoder.fingerprint(),)
        return hashing.fingerprint(json.dumps(facts), self.static_fields, mask, *parts, *taken)

    @cached_property
    def grid(self) -> xr.DataArray:
        """The group's part of the fine grid."""
        return self.pair.grid.isel(dict(zip(self.pair.grid.dims, self.group.window, strict=True)))

    @cached_property
    def static_fields(self) -> npt.NDArray[np.float32]:
        """Static fields on the group's grid, scaled."""
        coarse = None
        if self.config.method in FIELD_METHODS:
            coarse = validation.canonical_grid(to_array(self.pair.coarse).labels)
        return static_features.static_fields(self.static, self.grid, coarse)

    @cached_property
    def calendar(self) -> Calendar:
        """Constants of the calendar channels, from training days."""
        return Calendar.fit(self.pair.time[self.split.train])

    @cached_property
    def step(self) -> int:
        """Seconds from one day to the next."""
        return int(times.time_step(self.pair.coarse_time))

    def split_dataset(self) -> xr.Dataset:
        """Return which day is what, as labels along ``time``."""
        parts = {name: getattr(self.split, name) for name in PARTS}
        rows = np.concatenate(list(parts.values()))
        part = np.concatenate([np.full(days.size, name) for name, days in parts.items()])
        order = np.argsort(rows, kind="stable")
        time = self.pair.time.values[rows[order]]
        return xr.Dataset({"part": ("time", part[order])}, coords={"time": time})

    def in_season(self, time: xr.DataArray) -> npt.NDArray[np.bool_]:
        """Tell which days belong to the group's season."""
        if self.group.season is None or self.seasons is None:
            return np.ones(time.size, bool)
        return np.isin(months(time), self.seasons[self.group.season])


class _DayBlocks:
    """Chosen days of a record, a block at a time, as often as asked; notes their range.

    Blocks end where those of 64 days end that `scaling` takes apart, so that sums do not depend on
    how many days are read at once.
    """

    def __init__(self, array: Any, rows: npt.NDArray[np.int64]) -> None:
        self._array, self._rows = blocks.Reader(array), rows
        self.low, self.high = np.inf, -np.inf

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        step = max(1, BLOCK // max(1, int(np.prod(self._array.shape[1:]))))
        size = max(1, blocks.at_once(self._array) // step) * step
        for first in range(0, self._rows.size, blocks.DAYS):
            days = self._rows[first : first + blocks.DAYS]
            for start in range(0, days.size, size):
                block = self._array[days[start : start + size]]
                self.low = min(self.low, float(np.fmin.reduce(block, axis=None)))
                self.high = max(self.high, float(np.fmax.reduce(block, axis=None)))
                yield block


class _Chain:
    """Several block readers, one after another, as often as asked."""

    def __init__(self, *parts: _DayBlocks) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        for part in self._parts:
            yield from part


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
    learn: Any = field_engine.train_fields if whole else engine.train
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


def patch_arrays(lesson: Assignment, maps: tuple[QuantileMap, ...]) -> patch_dataset.TrainingArrays:
    """Return everything that the networks learn from, in scaled units."""
    data, pair = lesson.config.data, lesson.pair
    matched = pair.coarse.isel({pair.coarse_time.name: pair.rows})
    driver = features.driver(matched, lesson.grid, lesson.scaling, data)
    fine = features.scaled_fine(pair.fine, lesson.scaling, lesson.group.window)
    coarse = features.scaled_coarse(pair.coarse, lesson.scaling)
    train, stop = _windows(lesson, lesson.split.train), _windows(lesson, lesson.split.stopping)
    windows, stopping = _first_stage(lesson)
    if lesson.long is not None:
        (coarse,) = _mapped_long(lesson, maps)
    return patch_dataset.TrainingArrays(
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
        features.scaled_coarse(long, scaling)[rows],
        features.scaled_coarse(own, scaling)[days],
        months(time)[rows],
        months(own_time)[days],
    )


def field_arrays(lesson: Assignment, maps: tuple[QuantileMap, ...]) -> crop_dataset.FieldArrays:
    """Return everything that networks of whole fields learn from, in scaled units."""
    data, pair = lesson.config.data, lesson.pair
    good = lesson.missing <= data.max_missing
    windows = splits.windows_around(pair.coarse_time, pair.rows, data.window, data.after)
    windows = splits.day_first(windows, data.window)
    lags = splits.windows_around(pair.coarse_time, pair.rows, data.lags, -1)
    whole = np.all([(w >= 0) & good[w] for w in (*windows.T, *lags.T)], axis=0)
    needed = np.unique(windows[whole])
    drivers = list(zip(pair.drivers, lesson.driver_scalings, strict=True))
    coarse = features.stack([features.scaled_coarse(*part) for part in drivers])
    held = coarse.in_memory(data.memory_limit)
    driver = features.stack(
        [
            features.driver(da, lesson.grid, scaling, data, features.variable(held, k))
            for k, (da, scaling) in enumerate(drivers)
        ]
    )
    fine = features.stack(
        [
            features.scaled_fine(target, scaling, lesson.group.window)
            for target, scaling in zip(pair.targets, lesson.scalings, strict=True)
        ]
    )
    first, stopping = _first_stage(lesson)
    if lesson.long is not None:
        first = splits.Windows(first.targets + len(coarse), first.lags + len(coarse))
        both = features.chained(coarse, features.stack(_mapped_long(lesson, maps)))
        held = both.in_memory(data.memory_limit)
    parts = (lesson.split.train, lesson.split.stopping, lesson.split.validation)
    train, stop, tune = (np.sort(part[whole[part]]) for part in parts)
    return crop_dataset.FieldArrays(
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
        place=place_on(validation.canonical_grid(to_array(pair.coarse).labels), lesson.grid),
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


def _mapped_long(lesson: Assignment, maps: tuple[QuantileMap, ...]) -> list[features.Days]:
    """Return the long records in the climate of the fine one."""
    number = months(_long_time(lesson))
    parts = zip(lesson.long or (), lesson.driver_scalings, maps, strict=True)
    return [
        features.mapped(features.scaled_coarse(da, scaling), fitted, number)
        for da, scaling, fitted in parts
    ]


def _long_missing(lesson: Assignment) -> npt.NDArray[np.float64]:
    """Share of missing cells of each day of the first stage's record."""
    if lesson.long is None:
        return lesson.missing
    shares = [missing_share(da, ever_present(da)) for da in lesson.long]
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
