"""What one group learns from: its days, scaling and arrays; and the learning itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import pairs, reading, splits, statics, store
from xdownscale.calendars import Calendar
from xdownscale.config import FIELD_METHODS, DownscalerConfig
from xdownscale.errors import DataError, XDownscaleError, XDownscaleWarning
from xdownscale.groups import Group, Seasons
from xdownscale.labels import to_array
from xdownscale.pairs import Pair
from xdownscale.scaling import BLOCK, Scaling, choose_transform, fit_scaling
from xdownscale.transfer import Encoder

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
        for rows, block in reading.blocks(array):
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
        if driver is not None and (problem := pairs.strayed(driver, chosen, "The coarse record")):
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
        return store.fingerprint(json.dumps(facts), self.static_fields, mask, *parts, *taken)

    @cached_property
    def grid(self) -> xr.DataArray:
        """The group's part of the fine grid."""
        return self.pair.grid.isel(dict(zip(self.pair.grid.dims, self.group.window, strict=True)))

    @cached_property
    def static_fields(self) -> npt.NDArray[np.float32]:
        """Static fields on the group's grid, scaled."""
        coarse = None
        if self.config.method in FIELD_METHODS:
            coarse = pairs.canonical_grid(to_array(self.pair.coarse).labels)
        return statics.static_fields(self.static, self.grid, coarse)

    @cached_property
    def calendar(self) -> Calendar:
        """Constants of the calendar channels, from training days."""
        return Calendar.fit(self.pair.time[self.split.train])

    @cached_property
    def step(self) -> int:
        """Seconds from one day to the next."""
        return int(splits.time_step(self.pair.coarse_time))

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
        return np.isin(time.dt.month.values, self.seasons[self.group.season])


class _DayBlocks:
    """Chosen days of a record, a block at a time, as often as asked; notes their range.

    Blocks end where those of 64 days end that `scaling` takes apart, so that sums do not depend on
    how many days are read at once.
    """

    def __init__(self, array: Any, rows: npt.NDArray[np.int64]) -> None:
        self._array, self._rows = reading.Reader(array), rows
        self.low, self.high = np.inf, -np.inf

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        step = max(1, BLOCK // max(1, int(np.prod(self._array.shape[1:]))))
        size = max(1, reading.at_once(self._array) // step) * step
        for first in range(0, self._rows.size, reading.DAYS):
            days = self._rows[first : first + reading.DAYS]
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
