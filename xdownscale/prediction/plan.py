"""Plan a prediction: which time steps are generated, in which order, from which lags."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import methods, splits
from xdownscale.config import DownscalerConfig
from xdownscale.core import time as times
from xdownscale.core import units
from xdownscale.core.errors import ModelMismatchError, TimeAxisError
from xdownscale.core.located import located
from xdownscale.core.missing import ever_present, missing_share
from xdownscale.core.record import Record
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.methods import Method
from xdownscale.prediction.request import Request
from xdownscale.preprocessing import validation
from xdownscale.preprocessing.validation import check_dims

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def within(
    config: DownscalerConfig, time: xr.DataArray, record: xr.DataArray, step: int | None = None
) -> npt.NDArray[np.bool_]:
    """Tell for which time steps a record reaches as far as a model's window.

    Parameters
    ----------
    config : DownscalerConfig
        Its method decides the window; ``data.lags`` count too. Where it was trained with missing
        ends, any record reaches far enough.
    time, record : DataArray
        Times, and those of the record, which ascend.
    step : int, optional
        Seconds from one time step to the next; by default the most common distance in the record.

    Examples
    --------
    >>> import pandas as pd
    >>> from xdownscale.config import preset
    >>> time = xr.DataArray(pd.date_range("2000-01-01", periods=5))
    >>> config = preset("fast", data=dict(lags=1, window=1, missing_ends=0.0))
    >>> within(config, time, time).tolist()
    [False, True, True, True, False]
    """
    method = methods.find(config.method)
    if method.missing_ends(config):
        return np.ones(time.size, bool)
    step = times.time_step(record) if step is None else step
    keys = times.seconds(time)
    ends = times.seconds(record)[[0, -1]]
    before, after = method.window(config)
    early = keys - max(before, config.data.lags) * step >= ends[0]
    return np.asarray(early & (keys + after * step <= ends[1]))


def rows_named(wanted: Any, time: xr.DataArray) -> IntArray:
    """Return the rows of the coarse record that a user named, in their order.

    Parameters
    ----------
    wanted : object
        Anything that ``coarse.sel(time=...)`` takes.
    time : DataArray
        Times of the record, ascending.

    Raises
    ------
    TimeAxisError
        If one of them is not in the record.
    """
    name = str(time.name)
    if isinstance(wanted, xr.DataArray):
        if wanted.dtype.kind not in "MOUb":
            raise TimeAxisError(
                f"time= is an array of {wanted.dtype}, not of times; give its time coordinate."
            )
        wanted = wanted.values
    wanted = list(wanted) if isinstance(wanted, tuple) else wanted
    stamps = {name: times.rounded(time).values}
    index = xr.DataArray(np.arange(time.size), coords=stamps, dims=name)
    try:
        rows = times.rows_of(wanted, time)
        if rows is None:
            rows = np.atleast_1d(index.sel({name: wanted}).values)
    except (KeyError, TypeError, ValueError) as err:
        raise TimeAxisError(
            f"Some of the days asked for are not in the coarse record ({err}), which runs from "
            f"{str(time.values[0])[:10]} to {str(time.values[-1])[:10]}."
        ) from err
    return np.asarray(rows, np.int64)


class Plan:
    """Time steps of a coarse record to generate with a fitted model, and what each is made from.

    Parameters
    ----------
    fitted : Fitted
        The model.
    drivers : tuple of Record
        Coarse variables, times sorted.
    request : Request
        What was asked for.

    Attributes
    ----------
    method : Method
        The model's method.
    lags, fine_lags : int
        Preceding time steps whose coarse, and whose fine field the model sees.
    parallel : bool
        Whether each time step is generated for itself, from the coarse fields around it.
    coarse : Record
        The first target's own driver, or the first of all.
    time : DataArray
        Its time coordinate.
    keys : (t,) int array
        Its times in seconds.
    step : int
        Seconds from one time step to the next; 0 of a single one.
    known_step : int or None
        The same; None of a single one.
    """

    def __init__(self, fitted: Fitted, drivers: tuple[Record, ...], request: Request) -> None:
        self.fitted = fitted
        self.drivers = drivers
        self.request = request
        self.method: Method = fitted.method
        self.lags: int = fitted.config.data.lags
        self.fine_lags = self.method.fine_lags(fitted.config)
        self.parallel = request.mode == "parallel"
        self.coarse = drivers[max(fitted.own[0], 0)]
        self.time = self.coarse.time
        self.keys = self.coarse.keys
        self.step: int = self.coarse.step if request.step is None else request.step
        self.known_step: int | None = self.step or None

    @cached_property
    def has_driver(self) -> npt.NDArray[np.bool_]:
        """Time steps with enough of their coarse field, ``(t,)``."""
        present = self.fitted.coarse_grid.values > 0
        shares = [missing_share(driver.array, present) for driver in self.drivers]
        return np.asarray(np.max(shares, axis=0) <= self.fitted.config.data.max_missing)

    @cached_property
    def stand_in(self) -> IntArray:
        """Row whose coarse field each time step is generated from, ``(t,)``; -1 where none is.

        The last good time step, at most `lags` steps before, stands in for one without enough
        driver: the field generated from it comes out NaN, but later time steps use it as a lag.
        """
        rows = np.arange(self.time.size)
        last = np.maximum.accumulate(np.where(self.has_driver, rows, -1))
        near = (last >= 0) & (self.keys - self.keys[last] <= self.lags * self.step)
        return np.asarray(np.where(near, last, -1), np.int64)

    @cached_property
    def possible(self) -> npt.NDArray[np.bool_]:
        """Time steps that can be generated, if only to serve as lags, ``(t,)``."""
        if not self.method.needs_every_lag:
            return np.asarray(self.inside & (self.stand_in >= 0))
        out = np.zeros(self.time.size, bool)
        served = self.stand_in >= 0
        windows = splits.lag_windows(
            self.time, self.lags, targets=served, present=served, step=self.known_step
        )
        out[windows.targets] = True
        return out

    def rows_around(self, before: int, after: int) -> IntArray:
        """Return the rows around every time step, ``(t, before + after + 1)``.

        The time step itself stands in for a neighbour that is missing or lacks enough of its
        field; its `stand_in` for the time step itself.
        """
        every = np.arange(self.time.size)
        rows = splits.windows_around(self.time, every, before, after, step=self.known_step)
        good = (rows >= 0) & self.has_driver[rows]
        own = np.where(self.stand_in >= 0, self.stand_in, every)
        return np.asarray(np.where(good, rows, own[:, None]), np.int64)

    @cached_property
    def window_rows(self) -> IntArray:
        """Rows that the networks see, the time step itself first, ``(t, steps)``."""
        before, after = self.method.window(self.fitted.config)
        if self.method.needs_every_lag:
            every = np.arange(self.time.size)[:, None]
            rows = every + np.array([0, *range(-before, 0)])
            return np.asarray(np.maximum(self.stand_in[np.maximum(rows, 0)], 0), np.int64)
        return splits.day_first(self.rows_around(before, after), before)

    @cached_property
    def encoder_rows(self) -> IntArray:
        """Rows that the encoder sees, ``(t, lags)``; none for a method without an encoder."""
        if not self.method.uses_encoder(self.fitted.config):
            return np.empty((self.time.size, 0), np.int64)
        rows = self.rows_around(self.lags, -1)
        return np.roll(rows, len(rows) // 2, axis=0) if self.request.scrambled else rows

    @cached_property
    def fine_lag_rows(self) -> IntArray:
        """Rows whose fine field each time step sees, ``(t, fine_lags)``; -1 across a gap."""
        every = np.arange(self.time.size)
        rows = splits.windows_around(self.time, every, self.fine_lags, -1, step=self.known_step)
        return np.asarray(rows, np.int64)

    @cached_property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Time steps whose window does not reach outside the record, ``(t,)``."""
        return within(self.fitted.config, self.time, self.time, self.known_step)

    @cached_property
    def complete(self) -> npt.NDArray[np.bool_]:
        """Time steps that do not come out NaN: they have a coarse field of their own, ``(t,)``."""
        return np.asarray((self.inside if self.parallel else self.possible) & self.has_driver)

    @cached_property
    def in_season(self) -> npt.NDArray[np.bool_]:
        """Time steps whose season the model was fitted for, ``(t,)``."""
        if self.fitted.seasons is None:
            return np.ones(self.time.size, bool)
        return np.array([season is not None for season in self.season_of], bool)

    @cached_property
    def targets(self) -> IntArray:
        """Rows to generate, ascending, each once."""
        return np.asarray(np.unique(self.asked), np.int64)

    @property
    def order(self) -> IntArray | None:
        """Place among the targets of each time step asked for; None where both are the same."""
        if np.array_equal(self.asked, self.targets):
            return None
        return np.searchsorted(self.targets, self.asked)

    @cached_property
    def asked(self) -> IntArray:
        """Rows asked for, in that order, as often as they were asked for."""
        rows = self._rows_possible() if self.request.time is None else self._rows_asked()
        if not rows.size:
            fine = " and fine" if self.request.mode == "teacher_forced" else ""
            raise TimeAxisError(
                f"No day can be generated: each needs the {self.lags} coarse{fine} days before it, "
                f"{self._after()}and a season that the model was fitted for. Give a longer coarse "
                "record, or a longer history=."
            )
        return np.asarray(rows, np.int64)

    @cached_property
    def runs(self) -> list[IntArray]:
        """Consecutive rows to generate one after another in autoregressive mode.

        A run starts after the last time step of the history before its first target, so that it
        skips none; without a history it starts cold, at its first target. No run crosses a gap.
        """
        if self.request.runs is not None:
            return [np.searchsorted(self.keys, run) for run in self.request.runs]
        able = np.flatnonzero(self.possible & self.in_season)
        cuts = np.flatnonzero(np.diff(self.keys[able]) != self.step) + 1
        return [run for part in np.split(able, cuts) if (run := self._run(part)).size]

    @cached_property
    def history_rows(self) -> dict[int, int]:
        """Row of the coarse record -> row of the history, where the history has values."""
        matched = times.match_times(self.history_record.time, self.time)
        filled = (
            1 - missing_share(self.history_record.array, ever_present(self.history_record.array))
            > 0
        )
        return {int(row): i for i, row in enumerate(matched) if row >= 0 and filled[i]}

    @cached_property
    def history_record(self) -> Record:
        """Fine record that lags are read from: the request's history, else the model's own."""
        given = self.request.history
        if given is None:
            return Record(self.fitted.carried, "history")
        grid = self.fitted.carried.isel(time=0, drop=True)
        given = located(given, "history", grid)
        check_dims(given, "history")
        past = times.check_time(given, "history")
        found = units.units_of(past)
        known = units.units_of(self.fitted.labels)
        if not units.same_units(found, known):
            raise ModelMismatchError(
                f"history is in {units.said(found)}, the model's fine record in "
                f"{units.said(known)}. Convert it (and set attrs['units'])."
            )
        scaling = self.fitted.any_group.scaling
        if problem := validation.implausible(Record(past, "history"), scaling, "history"):
            raise ModelMismatchError(problem)
        return Record(validation.on_cells_of(past, grid, "history", "the model"), "history")

    def read_history(self) -> dict[int, FloatArray]:
        """Read the fine fields that lags need: row of the coarse record -> ``(y, x)``."""
        if self.parallel:
            return {}
        teacher = self.request.mode == "teacher_forced"
        starts = self.targets[self.complete[self.targets]] if teacher else self.run_starts
        windows = self.fine_lag_rows[starts]
        known = np.isin(windows, list(self.history_rows))
        if teacher and not known.all():
            lacking = self.time.values[starts[~known.all(axis=1)]]
            raise TimeAxisError(
                f"teacher_forced needs the true fine field of the {self.fine_lags} days before "
                f"each day; the history lacks some for {lacking.size} of the days, the first "
                f"{str(lacking[0])[:10]}. Give history=<the fine record>, or use "
                "mode='autoregressive'."
            )
        rows = [int(row) for row in np.unique(windows[known])]
        fields = self.history_record.array[[self.history_rows[row] for row in rows]]
        return dict(zip(rows, np.asarray(fields, np.float32), strict=True))

    def cold_starts(self) -> int:
        """Count the runs whose first lags are not all in the history."""
        first = self.fine_lag_rows[self.run_starts]
        return sum(any(int(row) not in self.history_rows for row in rows) for rows in first)

    def gaps(self) -> str:
        """Describe the gaps of the coarse record within the targets, or return ""."""
        keys = self.keys
        named = self.time.values
        first = int(self.targets[0])
        last = int(self.targets[-1])
        cuts = first + np.flatnonzero(np.diff(keys[first : last + 1]) > self.step)
        said = [f"from {str(named[k])[:10]} to {str(named[k + 1])[:10]}" for k in cuts[:3]]
        return ", ".join([*said, *(["..."] if len(cuts) > 3 else [])])

    @cached_property
    def season_of(self) -> list[str | None]:
        """Season of every row; None where the model knows none for it, or one for all."""
        if self.fitted.seasons is None:
            return [None] * self.time.size
        by_month = {m: name for name, months in self.fitted.seasons.items() for m in months}
        return [by_month.get(int(month)) for month in times.months(self.time)]

    @property
    def run_starts(self) -> IntArray:
        """First row of every run."""
        return np.array([run[0] for run in self.runs], np.int64)

    def _run(self, part: IntArray) -> IntArray:
        """Return the run within consecutive rows; empty where none of them is a target."""
        wanted = part[np.isin(part, self.targets)]
        if not wanted.size:
            return wanted
        before = [row for row in self.history_rows if part[0] - 1 <= row < wanted[0]]
        start = max(before) + 1 if before else int(wanted[0])
        run: IntArray = part[(part >= start) & (part <= wanted[-1])]
        return run

    def _after(self) -> str:
        """Return the words of a message for the coarse fields after a time step."""
        after = self.method.window(self.fitted.config)[1]
        return f"the {after} after it, " if after else ""

    def _check_inside(self, rows: IntArray) -> None:
        """Raise if the window of a time step that was asked for reaches outside the record."""
        outside = rows[~self.inside[rows]]
        if outside.size:
            able = self.time.values[self.inside]
            span = f"{str(able[0])[:10]} to {str(able[-1])[:10]}" if able.size else "none"
            raise TimeAxisError(
                f"{outside.size} of the days asked for, the first "
                f"{str(self.time.values[outside[0]])[:10]}, lie too near an end of the coarse "
                f"record: the model sees the {self.lags} days before and {self._after()}and can "
                f"generate {span}. Give a longer coarse record, or leave them out."
            )

    def _rows_possible(self) -> IntArray:
        """Return all rows that the model can generate."""
        able = self.inside
        if self.method.needs_every_lag and not self.parallel:
            # with a complete lag window, missing values allowed
            able = np.zeros(self.time.size, bool)
            able[splits.lag_windows(self.time, self.lags, step=self.known_step).targets] = True
        rows = np.flatnonzero(able & self.in_season)
        if self.request.mode == "teacher_forced":
            known = np.isin(self.fine_lag_rows, list(self.history_rows))
            rows = rows[known[rows].all(axis=1)]
        return np.asarray(rows, np.int64)

    def _rows_asked(self) -> IntArray:
        """Return the rows of the times that the user named, in their order."""
        rows = rows_named(self.request.time, self.time)
        foreign = rows[~self.in_season[rows]]
        if foreign.size:
            raise TimeAxisError(
                f"{foreign.size} of the days asked for, the first "
                f"{str(self.time.values[foreign[0]])[:10]}, belong to no season of this model "
                f"({', '.join(self.fitted.seasons or {})}). Leave them out, or fit a model for "
                "their season."
            )
        if not self.method.needs_every_lag:
            self._check_inside(rows)
        return rows
