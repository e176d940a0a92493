"""Split, scale and assemble the training data of one group, and train its networks."""

from __future__ import annotations

import functools
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import methods, splits
from xdownscale.config import DownscalerConfig
from xdownscale.core import blocks, hashing
from xdownscale.core.errors import (
    DataError,
    ModelFormatError,
    XDownscaleError,
    XDownscaleWarning,
)
from xdownscale.core.extremes import dry_threshold, largest_value
from xdownscale.core.missing import ever_present, missing_share
from xdownscale.core.normalization import (
    BLOCK,
    Scaling,
    choose_transform,
    fit_scaling,
    without_rounding,
)
from xdownscale.core.record import Record
from xdownscale.core.time import months
from xdownscale.fitting import drift
from xdownscale.fitting.fitted_model import GroupModel
from xdownscale.fitting.groups import Group, Seasons
from xdownscale.fitting.transfer import Encoder
from xdownscale.methods import Method, Trained
from xdownscale.models.training.data import TrainingData
from xdownscale.models.training.progress import Progress
from xdownscale.models.training.run import TrainingRun
from xdownscale.preprocessing import features, static_features, validation
from xdownscale.preprocessing.block_averages import coarse_blocks
from xdownscale.preprocessing.calendar_features import Calendar, calendar_numbers
from xdownscale.preprocessing.features import place_on
from xdownscale.preprocessing.quantile_mapping import QuantileMap, fit_map
from xdownscale.preprocessing.validation import Pair

PARTS = ("train", "stopping", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class GroupDataset:
    """The records that one group is trained on, split and scaled.

    Attributes
    ----------
    pair : Pair
        Records.
    static : DataArray, Dataset or None
        Static fields.
    group : Group
        Season and region.
    weight : (y, x) float32 array
        Weights of the cells of the group's window; 0 outside the region and its surroundings.
    config : DownscalerConfig
        Options.
    seasons : mapping or None
        Season -> months.
    missing : (t,) array
        Share of missing cells of each time step of the coarse record.
    seed : int
        Seed of everything random.
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
    encoder: Encoder | None = None

    @cached_property
    def cells(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Time steps ``(n,)`` with every target, and cells ``(t, y, x)`` that ever have a value."""
        found = [self._present(target) for target in self.pair.targets]
        return np.all([filled for filled, _ in found], axis=0), np.stack([v for _, v in found])

    def _present(self, target: Record) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return the time steps of a target with any value, and the cells that ever have one."""
        array = target.array[(slice(None), *self.group.window)]
        filled = np.zeros(array.shape[0], bool)
        valid = np.zeros(array.shape[1:], bool)
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
        """Time steps of the fine record that have a fine and a coarse field."""
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
        """Split into training, early-stopping, validation and test rows of the fine record.

        A model for all seasons is evaluated on all of them: each season is split on its own.
        """
        data = self.config.data
        return splits.chronological_split(
            self.pair.fine.time,
            data.lags,
            fractions=data.fractions,
            early_stopping=data.early_stopping,
            seasons=None if self.group.season else splits.SEASONS,
            targets=self.usable & self.in_season(self.pair.fine.time),
            present=self.usable,
            seed=self.seed,
        )

    @cached_property
    def scalings(self) -> tuple[Scaling, ...]:
        """Transform and constants of each target, from training days alone.

        Under ``transform="auto"`` the transform must suit the coarse training days too.
        """
        found = []
        for target, own in zip(self.pair.targets, self.pair.own, strict=True):
            driver = self.pair.drivers[own] if own >= 0 else None
            chosen = self._fitted(target, self.split.train, driver)
            if driver is not None and (
                problem := validation.implausible(driver, chosen, "The coarse record")
            ):
                raise DataError(problem)
            found.append(self._censored(target, chosen))
        return tuple(found)

    def _censored(self, target: Record, scaling: Scaling) -> Scaling:
        """Add threshold and cap to the scaling of a record with many values at the smallest."""
        least = scaling.least
        cells = int(np.prod(target.array.shape[1:]))
        rows = spread(self.split.train, max(_COMPARED, _SURVEYED // cells))
        if least is None or not rows.size:
            return scaling
        window = (slice(None), *self.group.window)
        fields = _Blocks(target.array[window], rows).held()
        threshold = dry_threshold(fields, least)
        if threshold is None:
            return scaling
        year = _YEAR / self.pair.coarse.step
        cap = largest_value(fields, least, threshold, year)
        return replace(scaling, threshold=threshold, cap=max(cap, scaling.maximum or cap))

    @cached_property
    def driver_scalings(self) -> tuple[Scaling, ...]:
        """Scaling of each driver: that of its target, else one of its own."""
        own = {k: self.scalings[t] for t, k in enumerate(self.pair.own) if k >= 0}
        train = self.pair.rows[self.split.train]
        return tuple(
            own[k] if k in own else self._fitted(driver, train, None)
            for k, driver in enumerate(self.pair.drivers)
        )

    def _fitted(
        self, record: Record, train: npt.NDArray[np.int64], driver: Record | None
    ) -> Scaling:
        """Choose a transform for a record (and its driver), and fit the constants."""
        data = self.config.data
        fine = any(record is target for target in self.pair.targets)
        window = self.group.window if fine else (slice(None), slice(None))
        own = _Blocks(record.array[(slice(None), *window)], train)
        transform = data.transform
        if not isinstance(transform, str):
            transform = transform.get(str(record.name), "auto")
        floor = data.floor if transform in ("auto", "log10") else None
        parts = [own]
        if driver is not None:
            parts.append(_Blocks(driver.array, self.pair.rows[train]))
        chosen = choose_transform(_Chain(*parts), transform, floor=floor, seed=self.seed)
        if own.low > own.high:  # no value at all: `fit_scaling` raises
            return fit_scaling(own, chosen.transform, data.scaling)
        low = without_rounding(own.low, own.high)
        return fit_scaling(own, replace(chosen, minimum=low, maximum=own.high), data.scaling)

    def check(self) -> None:
        """Validate split, scaling and static fields before training.

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
        """Return a hash of the split, scaling, mask and static fields of this group."""
        scalings = [scaling.to_dict() for scaling in (*self.scalings, *self.driver_scalings)]
        facts = {"scaling": scalings, "window": str(self.group.window)}
        parts = [getattr(self.split, name) for name in PARTS]
        mask = self.cells[1].astype(np.int8)
        taken = () if self.encoder is None else (self.encoder.fingerprint(),)
        return hashing.fingerprint(json.dumps(facts), self.static_fields, mask, *parts, *taken)

    @cached_property
    def grid(self) -> xr.DataArray:
        """The group's part of the fine grid."""
        grid = self.pair.fine.grid
        return grid.isel(dict(zip(grid.dims, self.group.window, strict=True)))

    @cached_property
    def static_fields(self) -> npt.NDArray[np.float32]:
        """Static fields on the group's grid, scaled."""
        coarse = None
        if self.method.detailed_static:
            coarse = self.pair.coarse.grid
        described = self.method.describes_grid(self.config)
        return static_features.static_fields(self.static, self.grid, coarse, described=described)

    @cached_property
    def calendar(self) -> Calendar:
        """Constants of the calendar channels, from training days."""
        return Calendar.fit(self.pair.fine.time[self.split.train])

    @property
    def method(self) -> Method:
        """The method that is trained."""
        return methods.find(self.config.method)

    def split_dataset(self) -> xr.Dataset:
        """Return the part of the split that each time step belongs to, along ``time``."""
        parts = {name: getattr(self.split, name) for name in PARTS}
        rows = np.concatenate(list(parts.values()))
        part = np.concatenate([np.full(days.size, name) for name, days in parts.items()])
        order = np.argsort(rows, kind="stable")
        time = self.pair.fine.time.values[rows[order]]
        return xr.Dataset({"part": ("time", part[order])}, coords={"time": time})

    def in_season(self, time: xr.DataArray) -> npt.NDArray[np.bool_]:
        """Tell which times belong to the group's season."""
        if self.group.season is None or self.seasons is None:
            return np.ones(time.size, bool)
        return np.isin(months(time), self.seasons[self.group.season])


class _Blocks:
    """Iterate over chosen time steps of a record in blocks, again and again; records their range.

    Blocks end where the blocks of `core.normalization` end, so that sums do not depend on how many
    time steps are read at once.
    """

    def __init__(self, array: Any, rows: npt.NDArray[np.int64]) -> None:
        self._array = blocks.Reader(array)
        self._rows = rows
        self.low = np.inf
        self.high = -np.inf

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        step = max(1, BLOCK // max(1, int(np.prod(self._array.shape[1:]))))
        size = max(1, blocks.at_once(self._array) // step) * step
        for first in range(0, self._rows.size, blocks.STEPS):
            rows = self._rows[first : first + blocks.STEPS]
            for start in range(0, rows.size, size):
                block = self._array[rows[start : start + size]]
                self.low = min(self.low, float(np.fmin.reduce(block, axis=None)))
                self.high = max(self.high, float(np.fmax.reduce(block, axis=None)))
                yield block

    def held(self) -> npt.NDArray[Any]:
        """Return all blocks as one array; it is the only copy in memory."""
        out = np.empty((self._rows.size, *self._array.shape[1:]), self._array.dtype)
        start = 0
        for block in self:
            out[start : start + len(block)] = block
            start += len(block)
        return out


class _Chain:
    """Several `_Blocks`, one after another."""

    def __init__(self, *parts: _Blocks) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        for part in self._parts:
            yield from part


_SURVEYED = 20_000_000  # values by which threshold and cap of a censored record are found
_YEAR = 365.25 * 86400  # seconds
_COMPARED = 1024  # time steps of a record on disc that the drift reference is fitted on
_LEAST_GAIN = 0.02  # of latent numbers that carry something


def train_group(
    dataset: GroupDataset,
    *,
    device: str,
    checkpoint_dir: Path | None,
    progress: Progress,
    fingerprint: str,
    minutes: float | None = None,
    sizes: Sequence[float] = (),
    limit: float | None = None,
) -> GroupModel:
    """Train the networks of one group.

    Parameters
    ----------
    dataset : GroupDataset
        Its records.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    checkpoint_dir : Path or None
        Folder that training resumes from.
    progress : Progress
        What a user sees of it.
    fingerprint : str
        Of data and configuration; a checkpoint with another one is refused.
    minutes : float or None
        Time for this group, from now on.
    sizes : sequence of float, optional
        Cost of each group over that of this one: say what all will cost, before this one starts.
    limit : float or None
        Time for all groups, for what is said.

    Returns
    -------
    GroupModel
    """
    started = time.monotonic()
    folder = None if checkpoint_dir is None else checkpoint_dir / dataset.group.name
    maps = quantile_maps(dataset)
    data = training_data(dataset, maps)
    run = TrainingRun(
        config=dataset.config,
        seed=dataset.seed,
        device=device,
        checkpoint_dir=folder,
        progress=progress,
        fingerprint=fingerprint,
        encoder=dataset.encoder.weights if dataset.encoder else None,
        minutes=minutes,
        started=started,
    )
    if sizes:
        say_costs(dataset.method, data, run, sizes, limit)
    trained = dataset.method.train(data, run)
    _check_trained(trained, dataset.method)
    _warn_of_collapse(dataset.method.latent_gain(trained.state), dataset.group.name)
    return GroupModel(
        group=dataset.group,
        weight=dataset.weight,
        masks=dataset.cells[1],
        static=dataset.static_fields,
        scalings=dataset.scalings,
        driver_scalings=dataset.driver_scalings,
        calendar=dataset.calendar,
        state=trained.state | _drift_reference(data, dataset),
        split=dataset.split_dataset(),
        history=xr.Dataset({name: ("step", v) for name, v in trained.history.items()}),
        maps=maps,
    )


def say_costs(
    method: Method,
    data: TrainingData,
    run: TrainingRun,
    sizes: Sequence[float],
    limit: float | None,
) -> None:
    """Measure what the stages of a method cost, and say it, if a user sees the training."""
    stages = method.plan(data, run) if run.progress.shown else ()
    if not stages:
        return
    from xdownscale.models.device import resolve_device
    from xdownscale.models.training.cost import measure

    device = resolve_device(run.device)
    costs = measure(stages, run.config.training, run.minutes, device)
    run.progress.plan(costs, device, limit, sizes)


def _check_trained(trained: Any, method: Method) -> None:
    """Raise unless a method returned what a model file can hold."""
    if not isinstance(trained, Trained):
        raise ModelFormatError(
            f"Method {method.name!r} returned a {type(trained).__name__} from train(); return "
            "xdownscale.methods.Trained(state=...)."
        )
    for name, array in trained.state.items():
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        if kind != np.dtype(np.float32):
            raise ModelFormatError(
                f"Method {method.name!r} returned {name!r} as {kind} in its state; give arrays of "
                "float32."
            )


def _warn_of_collapse(gain: float | None, group: str) -> None:
    """Warn where latent numbers carry nothing: the model is a deterministic one, or a constant."""
    if gain is None or not gain < _LEAST_GAIN:
        return
    warnings.warn(
        f"The latent numbers of group {group!r} carry nothing: on held-out days they take away "
        f"{gain:.1%} of the error. The posterior has collapsed onto the prior; realizations will "
        "hardly differ. Lower options=dict(scale=...) or have it learned (None), raise 'free', or "
        "use layout 'map' with posterior 'target'.",
        XDownscaleWarning,
        stacklevel=7,
    )


def _drift_reference(
    data: TrainingData, dataset: GroupDataset
) -> dict[str, npt.NDArray[np.float32]]:
    """Fit the drift reference, for methods whose runs are checked for drift."""
    own = dataset.pair.own[0]
    if not dataset.method.watches_drift or not data.fine_lags.shape[1] or own < 0:
        return {}
    rows = data.train_targets
    if not isinstance(data.fine, np.ndarray):
        rows = spread(rows, _COMPARED)
    pairs = (
        (
            np.where(data.mask[0], data.fine[[row]][0, 0], np.nan),
            data.driver[[data.windows[row, 0]]][0, own],
        )
        for row in rows
    )
    return drift.fit_reference(pairs).to_state()


def spread(rows: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Return at most so many of some rows, evenly spread (one at least).

    Examples
    --------
    >>> spread(np.arange(10), 4)
    array([0, 3, 6, 9])
    """
    if rows.size <= most:
        return rows
    return np.asarray(rows[np.unique(np.linspace(0, rows.size - 1, max(most, 1)).astype(int))])


def quantile_maps(dataset: GroupDataset) -> tuple[QuantileMap, ...]:
    """Return maps of the long records onto the climate of the training days, scaled units."""
    if dataset.pair.long is None:
        return ()
    return tuple(
        _map(dataset, *part)
        for part in zip(
            dataset.pair.long, dataset.pair.drivers, dataset.driver_scalings, strict=True
        )
    )


def _map(dataset: GroupDataset, long: Record, own: Record, scaling: Scaling) -> QuantileMap:
    """Map one long record onto the averages of the fine one.

    Quantiles of both are those of the fine record's period: both simulations see one change of
    climate, which maps between other years would take for a bias.
    """
    period = dataset.pair.fine.keys[[0, -1]]
    inside = (long.keys >= period[0]) & (long.keys <= period[1])
    rows = np.flatnonzero(dataset.in_season(long.time) & inside)
    own_rows = np.sort(dataset.pair.rows[np.r_[dataset.split.train, dataset.split.stopping]])
    most = int(1e6 * dataset.config.data.memory_limit * long.time.size // (4 * long.da.size))
    rows = spread(rows, most)
    own_rows = spread(own_rows, most)
    return fit_map(
        features.scaled_coarse(long, scaling)[rows],
        features.scaled_coarse(own, scaling)[own_rows],
        months(long.time)[rows],
        months(own.time)[own_rows],
    )


def training_data(dataset: GroupDataset, maps: tuple[QuantileMap, ...]) -> TrainingData:
    """Return everything that training reads, in scaled units.

    Parameters
    ----------
    dataset : GroupDataset
        Records.
    maps : tuple of QuantileMap
        Of the long coarse records onto the climate of the fine one, where they are mapped.

    Returns
    -------
    TrainingData
    """
    data = dataset.config.data
    pair = dataset.pair
    before, after = dataset.method.window(dataset.config)
    windows = splits.windows_around(pair.coarse.time, pair.rows, before, after)
    windows = splits.day_first(windows, before)
    lags = splits.windows_around(pair.coarse.time, pair.rows, data.lags, -1)
    fine_lags = splits.windows_around(
        pair.fine.time, np.arange(pair.rows.size), dataset.method.fine_lags(dataset.config), -1
    )
    train, stop, tune, usable = _targets(dataset, windows, lags)
    needed = np.unique(windows[usable])
    drivers = list(zip(pair.drivers, dataset.driver_scalings, strict=True))
    coarse = features.stack([features.scaled_coarse(*part) for part in drivers])
    held = coarse.in_memory(data.memory_limit)
    driver = features.stack(
        [
            features.driver(da, dataset.grid, scaling, data, features.variable(held, k))
            for k, (da, scaling) in enumerate(drivers)
        ]
    )
    fine = features.stack(
        [
            features.scaled_fine(target, scaling, dataset.group.window)
            for target, scaling in zip(pair.targets, dataset.scalings, strict=True)
        ]
    )
    first, stopping = _first_stage(dataset)
    if dataset.pair.long is not None:
        first = splits.Windows(first.targets + len(coarse), first.lags + len(coarse))
        both = features.chained(coarse, features.stack(_mapped_long(dataset, maps)))
        held = both.in_memory(data.memory_limit)
    return TrainingData(
        coarse=held,
        coarse_targets=first.targets,
        coarse_lags=first.lags,
        coarse_stopping=stopping,
        driver=driver.through(needed).in_memory(data.memory_limit),
        own=pair.own,
        fine=fine.in_memory(data.memory_limit),
        windows=np.where(usable[:, None], np.searchsorted(needed, windows), -1),
        lags=lags,
        fine_lags=fine_lags,
        static=dataset.static_fields,
        calendar=calendar_numbers(
            dataset.method.calendar, dataset.calendar, pair.fine.time, pair.coarse.step
        ),
        place=place_on(pair.coarse.grid, dataset.grid),
        keys=pair.fine.keys,
        step=pair.coarse.step,
        train_targets=train,
        stop_targets=stop,
        tune_targets=tune,
        mask=dataset.cells[1],
        coarse_windows=np.where(usable[:, None], windows, -1),
        physical=functools.partial(to_physical, dataset.scalings),
        censored=tuple(scaling.censored for scaling in dataset.scalings),
        blocks=functools.partial(coarse_blocks, pair.coarse.grid, dataset.grid, data.extrapolate),
    )


def to_physical(scalings: tuple[Scaling, ...], fields: Any) -> Any:
    """Bring scaled fields (..., target, y, x) to physical units."""
    out = np.array(fields, np.float32)
    for target, scaling in enumerate(scalings):
        out[..., target, :, :] = scaling.inverse(out[..., target, :, :])
    return out


def _targets(
    dataset: GroupDataset, windows: npt.NDArray[Any], lags: npt.NDArray[Any]
) -> tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]
]:
    """Return targets for training, early stopping and calibration, and all usable time steps."""
    split = dataset.split
    parts = (split.train, split.stopping, split.validation)
    if dataset.method.needs_every_lag:
        count = dataset.config.data.lags
        found = [
            splits.lag_windows(dataset.pair.fine.time, count, targets=part).targets
            for part in parts
        ]
        usable = np.zeros(len(windows), bool)
        usable[np.concatenate(found)] = True
        return found[0], found[1], found[2], usable
    good = dataset.missing <= dataset.config.data.max_missing
    usable = np.all([(w >= 0) & good[w] for w in (*windows.T, *lags.T)], axis=0)
    train, stop, tune = (np.sort(part[usable[part]]) for part in parts)
    return train, stop, tune, usable


def _first_stage(dataset: GroupDataset) -> tuple[splits.Windows, npt.NDArray[np.bool_]]:
    """Return the targets of the first stage with their lags, and which are held out."""
    lags = dataset.config.data.lags
    time = _long_time(dataset)
    held = np.zeros(time.size, bool)
    # in the record of the first stage itself, time steps near held-out ones are left out
    parts = (dataset.split.validation, dataset.split.test) if dataset.pair.long is None else ()
    for part in parts:
        for shift in range(-lags, lags + 1):
            held[np.clip(dataset.pair.rows[part] + shift, 0, time.size - 1)] = True
    enough = _long_missing(dataset) <= dataset.config.data.max_missing
    coarse_split = splits.chronological_split(
        time,
        lags,
        fractions=(1.0, 0.0, 0.0),
        early_stopping=dataset.config.data.early_stopping,
        targets=dataset.in_season(time) & enough & ~held,
        seed=dataset.seed,
    )
    windows = splits.lag_windows(
        time, lags, targets=np.r_[coarse_split.train, coarse_split.stopping]
    )
    return windows, np.isin(windows.targets, coarse_split.stopping)


def _long_time(dataset: GroupDataset) -> xr.DataArray:
    """Return the times of the record that the first stage is trained on."""
    if dataset.pair.long is None:
        return dataset.pair.coarse.time
    return dataset.pair.long[0].time


def _mapped_long(dataset: GroupDataset, maps: tuple[QuantileMap, ...]) -> list[features.Fields]:
    """Return the long records, mapped to the climate of the fine one."""
    number = months(_long_time(dataset))
    parts = zip(dataset.pair.long or (), dataset.driver_scalings, maps, strict=True)
    return [
        features.mapped(features.scaled_coarse(da, scaling), fitted, number)
        for da, scaling, fitted in parts
    ]


def _long_missing(dataset: GroupDataset) -> npt.NDArray[np.float64]:
    """Return the share of missing cells of each time step of the first stage's record."""
    if dataset.pair.long is None:
        return dataset.missing
    shares = [
        missing_share(record.array, ever_present(record.array)) for record in dataset.pair.long
    ]
    return np.asarray(np.max(shares, axis=0))
