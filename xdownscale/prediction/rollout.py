"""Generate time steps side by side, or one after another (autoregressive): arrays only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import ModelMismatchError
from xdownscale.core.normalization import Scaling
from xdownscale.fitting import drift
from xdownscale.methods import Method, Sampler
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.prediction.request import Request
from xdownscale.preprocessing.features import Fields

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


@dataclass(frozen=True, kw_only=True)
class GroupSampler:
    """Generates fields of one group: its sampler, and what is known of every time step.

    Attributes
    ----------
    method : Method
        What it can do.
    sampler : Sampler
        Ready to sample.
    config : DownscalerConfig
        Options.
    request : Request
        What was asked for.
    scalings : tuple of Scaling
        Between physical and scaled units, for each target.
    driver, coarse : Fields
        Coarse record on the fine grid, and on its own; scaled, ``(t, driver, y, x)``.
    own : tuple of int
        For each target the number of its own driver; -1 where it has none.
    windows, lags : (t, k) int array
        Rows that each time step sees on the fine grid, itself first, and that its encoder sees.
    keys : (t,) int array
        Noise key of each row of the coarse record.
    step : int
        Seconds from one time step to the next.
    calendar : (t, c) array
        Numbers that tell the time.
    static : (s, y, x) array
        Static fields.
    place : (y, x, 2) array
        Position of the fine pixels on the coarse grid.
    masks : (target, y, x) bool array
        Cells that were trained on; elsewhere the networks give anything.
    corner, domain : tuple of int
        Where the group's window lies in the fine grid, so that all regions share one noise field.
    reference : Reference or None
        Statistics of the training time steps, where runs are checked for drift.
    group : str
        Name of the group.
    """

    method: Method
    sampler: Sampler
    config: DownscalerConfig
    request: Request
    scalings: tuple[Scaling, ...]
    driver: Fields
    coarse: Fields
    own: tuple[int, ...]
    windows: IntArray
    lags: IntArray
    keys: IntArray
    step: int
    calendar: FloatArray
    static: FloatArray
    place: FloatArray
    masks: npt.NDArray[np.bool_]
    corner: tuple[int, int]
    domain: tuple[int, int]
    reference: drift.Reference | None
    group: str

    @property
    def fine_lags(self) -> int:
        """Preceding fine fields that each time step sees."""
        return self.method.fine_lags(self.config)

    def blocks(self, targets: IntArray) -> Iterator[IntArray]:
        """Yield as many targets at a time as memory holds the conditions and fields of."""
        fields = len(self.own) * len(self.request.members)
        channels = self.windows.shape[1] * self.driver.shape[1] + len(self.static)
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
        request = self.request
        sampled: FloatArray = self.sampler.sample(
            SampleRequest(
                conditions=self._conditions(rows, fine_lags, members),
                config=self.config,
                realizations=request.members,
                seed=request.seed,
                step=self.step,
                device=request.device,
                corner=self.corner,
                domain=self.domain,
                stitching=request.stitching or "whole",
            )
        )
        count = 1 if members is not None else len(request.members)
        wanted = (count, rows.size, len(self.own), *self.driver.shape[2:])
        if np.shape(sampled) != wanted:
            raise ModelMismatchError(
                f"The sampler of method {self.method.name!r} returned an array of shape "
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
        windows = self.windows[rows]
        lags = self.lags[rows]
        shape = self.driver.shape[1:]
        scaled = np.empty((rows.size, 0, len(self.own), *shape[1:]), np.float32)
        if fine_lags is not None:
            given = np.ascontiguousarray(fine_lags)
            scaled = np.asarray(self.scalings[0].forward(given), np.float32)[:, :, None]
        coarse = np.empty((0, *self.coarse.shape[1:]), np.float32)
        if lags.size:
            coarse = np.asarray(self.coarse[lags.ravel()], np.float32)
        return Conditions(
            window=self.driver[windows.ravel()].reshape(*windows.shape, *shape),
            fine_lags=scaled,
            coarse=coarse.reshape(*lags.shape, *self.coarse.shape[1:]),
            static=self.static,
            calendar=self.calendar[rows],
            place=self.place,
            own=self.own,
            keys=self.keys[rows],
            members=members,
            coarse_window=self._coarse_window(windows),
        )

    def _coarse_window(self, windows: IntArray) -> FloatArray:
        """Return the coarse fields of some windows on their own grid, if the method sees them."""
        if not self.method.sees_coarse_window:
            return np.empty((0, 0, *self.coarse.shape[1:]), np.float32)
        fields = np.asarray(self.coarse[windows.ravel()], np.float32)
        return fields.reshape(*windows.shape, *self.coarse.shape[1:])

    def physical(self, fields: FloatArray) -> FloatArray:
        """Bring scaled fields (..., target, y, x) to physical units, in place."""
        for target, scaling in enumerate(self.scalings):
            fields[..., target, :, :] = scaling.inverse(fields[..., target, :, :])
        return fields

    def lag_without_history(self, row: int) -> FloatArray:
        """Return the fine lag to use where the history has none, physical units.

        Where every lag is needed it is the interpolated coarse field of that time step; else NaN,
        for which the coarse field of the target stands in.
        """
        if self.method.needs_every_lag:
            own = self.driver[self.windows[row, 0]][max(self.own[0], 0)]
            return np.asarray(self.scalings[0].inverse(own), np.float32)
        return np.full(self.driver.shape[2:], np.nan, np.float32)


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
        before = rows_before(rows, sampler.fine_lags)
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
    members = np.array(first.request.members)
    if state.key is None or state.key + first.step != int(first.keys[targets[0]]):
        lags = _first_lags(first, history, targets[0])
        state.lags = np.repeat(lags[None], members.size, axis=0)
        state.group = ""
    for row in targets:
        sampler = samplers[int(row)]
        sampled = sampler.sample(np.full(members.size, row), state.lags, members)[0]
        # cells that were not trained on hold arbitrary values and are no lag
        sampled = np.where(sampler.masks, sampled, np.float32(np.nan))
        _check_drift(state, sampler, sampled[:, 0], int(row))
        fields = sampler.physical(sampled[:, None])
        state.lags = np.concatenate([state.lags[:, 1:], fields[:, :, 0]], axis=1)
        state.key = int(sampler.keys[row])
        state.group = sampler.group
        yield np.array([row]), fields


def _first_lags(sampler: GroupSampler, history: History, row: np.int64) -> FloatArray:
    """Return the fine lags of the first time step of a run, ``(lags, y, x)``."""
    before = rows_before(np.array([row]), sampler.fine_lags)[0]
    known = [history.get(int(each)) for each in before]
    return np.stack(
        [
            sampler.lag_without_history(int(each)) if found is None else found
            for each, found in zip(before, known, strict=True)
        ]
    )


def _check_drift(state: RolloutState, sampler: GroupSampler, fields: FloatArray, row: int) -> None:
    """Check a time step for drift; reset when the group changes."""
    if sampler.reference is None or sampler.own[0] < 0:
        return
    if state.group != sampler.group:
        state.watched = []
    alarm = drift.Alarm(sampler.reference, state.watched)
    day = np.datetime64(int(sampler.keys[row]), "s").astype("M8[D]")
    alarm.check(fields, sampler.driver[row][sampler.own[0]], str(day))
    state.watched = alarm.last


def rows_before(rows: IntArray, lags: int) -> IntArray:
    """Return the rows of the preceding time steps, oldest first, ``(n, lags)``."""
    return np.asarray(rows[:, None] + np.arange(-lags, 0)[None, :])
