"""Generate time steps side by side, or one after another (autoregressive)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from xdownscale.core.errors import ModelMismatchError
from xdownscale.core.time import months
from xdownscale.fitting import drift
from xdownscale.fitting.fitted_model import GroupModel, sizes_of
from xdownscale.methods import Sampler
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.prediction.plan import Plan
from xdownscale.preprocessing import features
from xdownscale.preprocessing.calendar_features import calendar_numbers
from xdownscale.preprocessing.features import place_on

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Generated = Iterator[tuple[IntArray, FloatArray]]
History = Mapping[int, FloatArray]  # row of the coarse record -> true fine field, physical units
MEMORY = 256.0  # MB of conditions that are held at once


@dataclass(kw_only=True)
class RolloutState:
    """State of an autoregressive run after a time step; empty before the first.

    Attributes
    ----------
    key : int or None
        Time of the last field that was generated.
    lags : (realization, lags, y, x) float32 array
        Last fields, oldest first, physical units.
    group : str
        Group that the last field belongs to.
    watched : list of array
        Statistics of the last fields, for the drift alarm.
    """

    key: int | None = None
    lags: FloatArray = field(default_factory=lambda: np.empty((0, 0, 0, 0), np.float32))
    group: str = ""
    watched: list[npt.NDArray[np.float64]] = field(default_factory=list)


class GroupSampler:
    """Generates fields of one group: its sampler, and the inputs of every time step.

    Parameters
    ----------
    plan : Plan
        What is generated, and from which rows of the coarse record.
    model : GroupModel
        The group's networks, scalings and masks.

    Attributes
    ----------
    sampler : Sampler
        Ready to sample.
    driver, coarse : Fields
        Coarse record on the fine grid, and on its own; scaled, ``(t, driver, y, x)``.
    calendar : (t, c) array
        Numbers that tell the time.
    place : (y, x, 2) array
        Position of the fine pixels on the coarse grid.
    reference : Reference or None
        Statistics of the training time steps, where runs are checked for drift.
    """

    def __init__(self, plan: Plan, model: GroupModel) -> None:
        config = plan.fitted.config
        device = plan.request.device
        self.plan = plan
        self.model = model
        self.sampler: Sampler = model.once(
            ("sampler", device, config.sampling.compile),
            lambda: plan.method.load(model.state, config, sizes_of(plan.fitted, model), device),
        )
        grid = plan.fitted.carried.isel(time=0, drop=True)[model.group.window]
        coarse = _coarse_fields(plan, model)
        on_fine = [
            features.driver(da, grid, scaling, config.data, fields)
            for da, scaling, fields in zip(plan.drivers, model.driver_scalings, coarse, strict=True)
        ]
        self.driver = features.stack(on_fine)
        self.coarse = features.stack(coarse)
        self.calendar = calendar_numbers(plan.method.calendar, model.calendar, plan.time, plan.step)
        self.place = model.once("place", lambda: place_on(plan.coarse.grid, grid))
        self.reference = drift.Reference.from_state(model.state)

    def blocks(self, targets: IntArray) -> Iterator[IntArray]:
        """Yield as many targets at a time as memory holds the conditions and fields of."""
        fields = len(self.plan.fitted.own) * len(self.plan.request.members)
        channels = self.plan.window_rows.shape[1] * self.driver.shape[1] + len(self.model.static)
        per_step = (2 * fields + 6 * channels) * np.prod(self.driver.shape[2:])
        size = max(1, int(MEMORY * 1e6 / (4 * per_step)))
        for start in range(0, targets.size, size):
            yield targets[start : start + size]

    def sample(
        self,
        rows: IntArray,
        fine_lags: FloatArray | None = None,
        members: npt.NDArray[np.int64] | None = None,
    ) -> FloatArray:
        """Generate scaled fields (realization, n, target, y, x) of some rows.

        Parameters
        ----------
        rows : (n,) int array
            Rows of the coarse record.
        fine_lags : (n, k, y, x) array, optional
            Fine fields before each, physical units; NaN where they are not known.
        members : (n,) int array, optional
            Number of the realization of each, where each has lags of its own.
        """
        request = self.plan.request
        window = self.model.group.window
        domain = self.plan.fitted.carried.shape[1:]
        sampled: FloatArray = self.sampler.sample(
            SampleRequest(
                conditions=self._conditions(rows, fine_lags, members),
                config=self.plan.fitted.config,
                realizations=request.members,
                seed=request.seed,
                step=self.plan.step,
                device=request.device,
                corner=(window[0].start, window[1].start),
                domain=(domain[0], domain[1]),
                stitching=request.stitching or "whole",
            )
        )
        count = 1 if members is not None else len(request.members)
        wanted = (count, rows.size, len(self.plan.fitted.own), *self.driver.shape[2:])
        if np.shape(sampled) != wanted:
            raise ModelMismatchError(
                f"The sampler of method {self.plan.method.name!r} returned an array of shape "
                f"{np.shape(sampled)}; asked for was {wanted} (realization, n, target, y, x)."
            )
        return sampled

    def _conditions(
        self,
        rows: IntArray,
        fine_lags: FloatArray | None,
        members: npt.NDArray[np.int64] | None,
    ) -> Conditions:
        """Return what the networks see of some rows."""
        plan = self.plan
        windows = plan.window_rows[rows]
        lags = plan.encoder_rows[rows]
        shape = self.driver.shape[1:]
        scaled = np.empty((rows.size, 0, len(plan.fitted.own), *shape[1:]), np.float32)
        if fine_lags is not None:
            given = np.ascontiguousarray(fine_lags)
            scaled = np.asarray(self.model.scaling.forward(given), np.float32)[:, :, None]
        coarse = np.empty((0, *self.coarse.shape[1:]), np.float32)
        if lags.size:
            coarse = np.asarray(self.coarse[lags.ravel()], np.float32)
        return Conditions(
            window=self.driver[windows.ravel()].reshape(*windows.shape, *shape),
            fine_lags=scaled,
            coarse=coarse.reshape(*lags.shape, *self.coarse.shape[1:]),
            static=self.model.static,
            calendar=self.calendar[rows],
            place=self.place,
            own=plan.fitted.own,
            keys=plan.keys[rows],
            members=members,
            coarse_window=self._coarse_window(windows),
        )

    def _coarse_window(self, windows: IntArray) -> FloatArray:
        """Return the coarse fields of some windows on their own grid, if the method sees them."""
        if not self.plan.method.sees_coarse_window:
            return np.empty((0, 0, *self.coarse.shape[1:]), np.float32)
        fields = np.asarray(self.coarse[windows.ravel()], np.float32)
        return fields.reshape(*windows.shape, *self.coarse.shape[1:])

    def physical(self, fields: FloatArray) -> FloatArray:
        """Bring scaled fields (..., target, y, x) to physical units, in place.

        Raises
        ------
        ModelMismatchError
            If a cell that the model predicts has no finite value.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # it is said below
            for target, scaling in enumerate(self.model.scalings):
                fields[..., target, :, :] = scaling.inverse(fields[..., target, :, :])
        lacking = ~np.isfinite(fields) & self.model.masks
        if lacking.any():
            total = fields.size // self.model.masks.size * int(self.model.masks.sum())
            raise ModelMismatchError(
                f"{int(lacking.sum())} of {total} generated values are not finite. Either the "
                "coarse record lies far outside of what the model was fitted on, or the model is "
                "damaged: look at the range of the record, fit again, or copy the file again from "
                "where it came."
            )
        return fields

    def lag_without_history(self, row: int) -> FloatArray:
        """Return the fine lag to use where the history has none, physical units.

        Where every lag is needed it is the interpolated coarse field of that time step; else NaN,
        for which the coarse field of the target stands in.
        """
        if self.plan.method.needs_every_lag:
            own = self.driver[self.plan.window_rows[row, 0]][max(self.plan.fitted.own[0], 0)]
            return np.asarray(self.model.scaling.inverse(own), np.float32)
        return np.full(self.driver.shape[2:], np.nan, np.float32)


def _coarse_fields(plan: Plan, model: GroupModel) -> list[features.Fields]:
    """Return the drivers on their own grid, scaled, in the climate that the model knows."""
    parts = zip(plan.drivers, model.driver_scalings, strict=True)
    fields = [features.scaled_coarse(*part) for part in parts]
    if not model.maps:
        return fields
    number = months(plan.time)
    return [
        features.mapped(part, fitted, number)
        for part, fitted in zip(fields, model.maps, strict=True)
    ]


def parallel(sampler: GroupSampler, targets: IntArray) -> Generated:
    """Generate time steps side by side, each from the coarse fields around it.

    Parameters
    ----------
    sampler : GroupSampler
        Of the group that they belong to.
    targets : (n,) int array
        Rows of the coarse record.

    Yields
    ------
    rows : (k,) int array
        Rows of the coarse record.
    fields : (realization, k, target, y, x) float32 array
        Physical units.
    """
    for rows in sampler.blocks(targets):
        yield rows, sampler.physical(sampler.sample(rows))


def teacher_forced(sampler: GroupSampler, history: History, targets: IntArray) -> Generated:
    """Generate time steps from the true fine fields before them.

    Parameters
    ----------
    sampler, targets
        As for `parallel`.
    history : mapping
        True fine fields; all that the targets need.

    Yields
    ------
    rows, fields
        As `parallel`.
    """
    for rows in sampler.blocks(targets):
        before = sampler.plan.fine_lag_rows[rows]
        true = np.stack([[history[int(row)] for row in window] for window in before])
        yield rows, sampler.physical(sampler.sample(rows, true))


def autoregressive(
    samplers: Mapping[int, GroupSampler], history: History, targets: IntArray, state: RolloutState
) -> Generated:
    """Generate consecutive time steps one after another, each from the fields before it.

    Parameters
    ----------
    samplers : mapping
        Row of the coarse record -> sampler of the group that it belongs to.
    history : mapping
        True fine fields before the first target; where there is none the run starts cold.
    targets : (n,) int array
        Consecutive rows of the coarse record.
    state : RolloutState
        State after the time step before the first one. Updated in place.

    Yields
    ------
    rows : (1,) int array
        Row of the coarse record.
    fields : (realization, 1, target, y, x) float32 array
        Physical units.

    Raises
    ------
    DriftError
        If the run leaves the coarse record.
    """
    first = samplers[int(targets[0])]
    keys = first.plan.keys
    members = np.array(first.plan.request.members)
    if state.key is None or state.key + first.plan.step != int(keys[targets[0]]):
        lags = _first_lags(first, history, targets[0])
        state.lags = np.repeat(lags[None], members.size, axis=0)
        state.group = ""
    for row in targets:
        sampler = samplers[int(row)]
        sampled = sampler.sample(np.full(members.size, row), state.lags, members)[0]
        # cells that were not trained on hold arbitrary values and are no lag
        sampled = np.where(sampler.model.masks, sampled, np.float32(np.nan))
        _check_drift(state, sampler, sampled[:, 0], int(row))
        fields = sampler.physical(sampled[:, None])
        state.lags = np.concatenate([state.lags[:, 1:], fields[:, :, 0]], axis=1)
        state.key = int(keys[row])
        state.group = sampler.model.group.name
        yield np.array([row]), fields


def _first_lags(sampler: GroupSampler, history: History, row: np.int64) -> FloatArray:
    """Return the fine lags of the first time step of a run, ``(lags, y, x)``."""
    lags = []
    for each in sampler.plan.fine_lag_rows[row].tolist():
        known = history.get(each)
        lags.append(sampler.lag_without_history(each) if known is None else known)
    return np.stack(lags)


def _check_drift(state: RolloutState, sampler: GroupSampler, fields: FloatArray, row: int) -> None:
    """Check a time step for drift; reset when the group changes."""
    own = sampler.plan.fitted.own[0]
    if sampler.reference is None or own < 0:
        return
    if state.group != sampler.model.group.name:
        state.watched = []
    day = str(np.datetime64(int(sampler.plan.keys[row]), "s").astype("M8[D]"))
    driver = sampler.driver[row][own]
    state.watched = drift.check(sampler.reference, state.watched, fields, driver, day)
