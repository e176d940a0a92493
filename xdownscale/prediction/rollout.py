"""Days drawn side by side or one after another (autoregressive): arrays only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xdownscale.config import DownscalerConfig
from xdownscale.core.normalization import Scaling
from xdownscale.fitting import drift
from xdownscale.models import field_engine
from xdownscale.models.networks import unet
from xdownscale.models.sampling import fields as fields_
from xdownscale.models.sampling import patches
from xdownscale.models.sampling import request as request_
from xdownscale.models.training import crop_dataset
from xdownscale.preprocessing.features import Days

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
History = Mapping[int, FloatArray]  # row of the coarse record -> true fine field, physical units
MEMORY = 256.0  # MB of conditions that are held at once


@dataclass(frozen=True, kw_only=True)
class Request:
    """How fields are to be drawn.

    Attributes
    ----------
    config : DownscalerConfig
        Sampling options.
    keys : (t,) int array
        Noise key of each row of the coarse record.
    members : tuple of int
        Numbers of the realizations.
    seed : int
        Seed of the noise.
    stitching : str
        ``"patches"`` or ``"whole"``.
    device : str
        Where the networks run.
    corner, domain : tuple of int
        Where the region lies in the fine grid, so that all regions share one noise field.
    step : int
        Seconds from one day to the next.
    """

    config: DownscalerConfig
    keys: IntArray
    members: tuple[int, ...]
    seed: int
    stitching: str
    device: str
    corner: tuple[int, int]
    domain: tuple[int, int]
    step: int


@dataclass(kw_only=True)
class Carry:
    """What a run of days hands on to the next day; empty before the first.

    Attributes
    ----------
    key : int or None
        Noise key of the last day that was drawn.
    memory : (realization, lags, y, x) float32 array
        Fields of the last days, oldest first, physical units.
    group : str
        Group that the last day belongs to.
    watched : list of array
        What the drift alarm saw of the last days.
    """

    key: int | None = None
    memory: FloatArray = field(default_factory=lambda: np.empty((0, 0, 0, 0), np.float32))
    group: str = ""
    watched: list[npt.NDArray[Any]] = field(default_factory=list)

    def follows(self, request: Request, row: int) -> bool:
        """Tell whether a row is the day after the last one."""
        return self.key is not None and self.key + request.step == int(request.keys[row])


@dataclass(frozen=True, kw_only=True)
class Source:
    """Networks of one group and where the conditions of a day come from.

    Attributes
    ----------
    networks : Networks
        Ready to draw.
    scaling : Scaling
        Between physical and scaled units.
    driver : Days
        Coarse record on the fine grid, scaled, ``(t, y, x)``.
    calendar : (t, c) array
        Calendar channels.
    static : (s, y, x) array
        Static fields.
    mask : (y, x) bool array
        Cells that were learnt; elsewhere the networks draw anything.
    """

    networks: unet.Networks
    scaling: Scaling
    driver: Days
    calendar: FloatArray
    static: FloatArray
    mask: npt.NDArray[np.bool_]


def teacher_forced(
    source: Source, history: History, targets: IntArray, request: Request
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Draw days whose fine lags are all in the history, in blocks.

    Parameters
    ----------
    source : Source
        Of the group that the days belong to.
    history : mapping
        True fine fields.
    targets : (n,) int array
        Rows of the coarse record to draw.
    request : Request
        How.

    Yields
    ------
    rows : (k,) int array
        Rows of the coarse record.
    fields : (realization, k, y, x) float32 array
        Drawn fields in physical units.
    """
    lags = request.config.data.lags
    per_day = len(request.members) * (2 * lags + 3) * np.prod(source.driver.shape[1:])
    block = max(1, int(MEMORY * 1e6 / (4 * per_day)))
    for start in range(0, targets.size, block):
        rows = targets[start : start + block]
        true = np.stack([[history[int(row)] for row in w] for w in rows_before(rows, lags)])
        repeated = np.broadcast_to(true, (len(request.members), *true.shape))
        yield rows, _draw(source, request, rows, repeated)


def autoregressive(
    sources: Mapping[int, Source],
    history: History,
    targets: IntArray,
    request: Request,
    carry: Carry,
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Draw consecutive days one after another, each from the fields drawn before it.

    Lags before the first day come from the history, else from the interpolated coarse record (a
    cold start).

    Parameters
    ----------
    sources : mapping
        Row of the coarse record -> source of the group that the day belongs to.
    history : mapping
        True fine fields of days before the first one.
    targets : (n,) int array
        Consecutive rows of the coarse record.
    request : Request
        How.
    carry : Carry
        Where the day before the first one was drawn: what it handed on. Kept up to date.

    Yields
    ------
    rows : (1,) int array
        Row of the coarse record.
    fields : (realization, 1, y, x) float32 array
        Drawn fields in physical units.
    """
    if not carry.follows(request, int(targets[0])):
        first = sources[int(targets[0])]
        before = rows_before(targets[:1], request.config.data.lags)[0]
        known = np.stack([_known(first, history, int(row)) for row in before])
        carry.memory = np.repeat(known[None], len(request.members), axis=0)
    for row in targets:
        fields = _draw(sources[int(row)], request, np.array([row]), carry.memory[:, None])
        # As in training: what was never learnt is no lag (the coarse field stands in for it).
        lag = np.where(sources[int(row)].mask, fields, np.float32(np.nan))
        carry.memory = np.concatenate([carry.memory[:, 1:], lag], axis=1)
        carry.key = int(request.keys[row])
        yield np.array([row]), fields


def rows_before(rows: IntArray, lags: int) -> IntArray:
    """Rows of the preceding days, oldest first, ``(n, lags)``."""
    return np.asarray(rows[:, None] + np.arange(-lags, 0)[None, :])


def _known(source: Source, history: History, row: int) -> FloatArray:
    found = history.get(row)
    if found is None:
        found = np.asarray(source.scaling.inverse(source.driver[row]), np.float32)
    return found


def _draw(source: Source, request: Request, rows: IntArray, fine_lags: FloatArray) -> FloatArray:
    """Draw ``(realization, k, y, x)`` for `rows`, given lags ``(realization, k, lags, y, x)``."""
    count, days = len(request.members), rows.size
    wanted = np.concatenate([rows_before(rows, request.config.data.lags), rows[:, None]], axis=1)
    coarse = source.driver[wanted.ravel()].reshape(*wanted.shape, *source.driver.shape[1:])
    scaled = np.asarray(source.scaling.forward(np.ascontiguousarray(fine_lags)), np.float32)
    conditions = patches.Conditions(
        driver=np.tile(coarse[:, -1], (count, 1, 1)),
        coarse_lags=np.tile(coarse[:, :-1], (count, 1, 1, 1)),
        fine_lags=scaled.reshape(count * days, *scaled.shape[2:]),
        static=source.static,
        calendar=np.tile(source.calendar[rows], (count, 1)),
    )
    realization = np.repeat(request.members, days)
    fields = patches.sample(
        source.networks,
        request.config,
        conditions,
        np.stack([realization, np.tile(request.keys[rows], count)], axis=1),
        seed=request.seed,
        device=request.device,
        stitching=request.stitching,
        corner=request.corner,
        domain=request.domain,
    )
    physical = np.asarray(source.scaling.inverse(fields), np.float32)
    return physical.reshape(count, days, *fields.shape[1:])


@dataclass(frozen=True, kw_only=True)
class FieldSource:
    """Networks that draw whole fields, and where the conditions of a day come from.

    Attributes
    ----------
    model : FieldModel
        Ready to draw.
    scalings : tuple of Scaling
        Between physical and scaled units, for each target.
    driver, coarse : Days
        Coarse record on the fine grid, and on its own; scaled, ``(t, driver, y, x)``.
    own : tuple of int
        For each target the number of its own driver; -1 where it has none.
    windows, lags : (t, k) int array
        Rows around each day, and before it; -1 where there is none.
    calendar : (t, c) array
        Numbers of the day.
    static : (s, y, x) array
        Static fields.
    place : (y, x, 2) array
        Where fine pixels lie on the coarse grid.
    masks : (target, y, x) bool array
        Cells that were learnt; elsewhere the networks draw anything.
    reference : Reference or None
        What a run is held against, where the model sees fine lags.
    group : str
        Name of the group.
    """

    model: field_engine.FieldModel
    scalings: tuple[Scaling, ...]
    driver: Days
    coarse: Days
    own: tuple[int, ...]
    windows: IntArray
    lags: IntArray
    calendar: FloatArray
    static: FloatArray
    place: FloatArray
    masks: npt.NDArray[np.bool_]
    reference: drift.Reference | None
    group: str


def parallel(
    source: FieldSource, targets: IntArray, request: Request
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Draw days from the coarse days around them, each for itself, in blocks.

    Parameters
    ----------
    source : FieldSource
        Of the group that the days belong to.
    targets : (n,) int array
        Rows of the coarse record to draw.
    request : Request
        How.

    Yields
    ------
    rows : (k,) int array
        Rows of the coarse record.
    fields : (realization, k, target, y, x) float32 array
        Drawn fields in physical units.
    """
    targets_of_a_day = len(source.own) * len(request.members)
    channels = source.windows.shape[1] * source.driver.shape[1] + len(source.static)
    per_day = (2 * targets_of_a_day + 6 * channels) * np.prod(source.driver.shape[2:])
    block = max(1, int(MEMORY * 1e6 / (4 * per_day)))
    for start in range(0, targets.size, block):
        rows = targets[start : start + block]
        conditions = _conditions(source, rows, request)
        yield rows, _physical(source, _draw_fields(source, conditions, request))


def forced(
    source: FieldSource, history: History, targets: IntArray, request: Request
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Draw days whose fine lags are all in the history, for a model that sees some.

    Parameters
    ----------
    source, targets, request
        As for `parallel`.
    history : mapping
        True fine fields.

    Yields
    ------
    rows, fields
        As `parallel`.
    """
    count = request.config.data.fine_lags
    for row in targets:
        rows = np.array([row])
        before = [_scaled(source, history, int(r)) for r in rows_before(rows, count)[0]]
        conditions = _conditions(source, rows, request, np.stack(before)[None, :, None])
        yield rows, _physical(source, _draw_fields(source, conditions, request))


def stepwise(
    sources: Mapping[int, FieldSource],
    history: History,
    targets: IntArray,
    request: Request,
    carry: Carry,
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Draw consecutive days one after another, each from the fields drawn before it.

    Where a lag is not known the coarse field of the day stands in for it, as in training.

    Parameters
    ----------
    sources : mapping
        Row of the coarse record -> source of the group that the day belongs to.
    history, targets, request, carry
        As for `autoregressive`.

    Yields
    ------
    rows : (1,) int array
        Row of the coarse record.
    fields : (realization, 1, target, y, x) float32 array
        Drawn fields in physical units.

    Raises
    ------
    DriftError
        If the run leaves the coarse record.
    """
    members = np.array(request.members)
    if not carry.follows(request, int(targets[0])):
        before = rows_before(targets[:1], request.config.data.fine_lags)[0]
        blank = np.full(sources[int(targets[0])].driver.shape[2:], np.nan, np.float32)
        known = np.stack([history.get(int(row), blank) for row in before])
        carry.memory, carry.group = np.repeat(known[None], members.size, axis=0), ""
    for row in targets:
        source = sources[int(row)]
        lags = np.asarray(source.scalings[0].forward(carry.memory), np.float32)[:, :, None]
        rows = np.full(members.size, row)
        conditions = replace(_conditions(source, rows, request, lags), members=members)
        drawn = _draw_fields(source, conditions, request)[0]  # (R, 1, y, x)
        drawn = np.where(source.masks, drawn, np.float32(np.nan))
        _watch(carry, source, drawn[:, 0], int(row), request)
        fields = _physical(source, drawn[:, None])
        carry.memory = np.concatenate([carry.memory[:, 1:], fields[:, :, 0]], axis=1)
        carry.key, carry.group = int(request.keys[row]), source.group
        yield np.array([row]), fields


def _watch(
    carry: Carry, source: FieldSource, drawn: FloatArray, row: int, request: Request
) -> None:
    """Hold a day against the reference of its group; a new group starts a new watch."""
    if source.reference is None or source.own[0] < 0:
        return
    if carry.group != source.group:
        carry.watched = []
    alarm = drift.Alarm(source.reference, carry.watched)
    day = np.datetime64(int(request.keys[row]), "s").astype("M8[D]")
    alarm.watch(drawn, source.driver[row][source.own[0]], str(day))
    carry.watched = alarm.last


def _scaled(source: FieldSource, history: History, row: int) -> FloatArray:
    return np.asarray(source.scalings[0].forward(history[row]), np.float32)


def _draw_fields(
    source: FieldSource, conditions: request_.FieldConditions, request: Request
) -> FloatArray:
    """Draw (realization, day, target, y, x), scaled."""
    return fields_.draw_fields(
        source.model.networks,
        source.model.residual,
        conditions,
        request_.FieldRequest(
            config=request.config,
            realizations=request.members,
            seed=request.seed,
            step=request.step,
            device=request.device,
            corner=request.corner,
            domain=request.domain,
            stitching=request.stitching,
        ),
    )


def _physical(source: FieldSource, drawn: FloatArray) -> FloatArray:
    """Bring fields (..., target, y, x) to physical units, in place."""
    for target, scaling in enumerate(source.scalings):
        drawn[..., target, :, :] = scaling.inverse(drawn[..., target, :, :])
    return drawn


def _conditions(
    source: FieldSource, rows: IntArray, request: Request, before: FloatArray | None = None
) -> request_.FieldConditions:
    """Gather what is known of some days; `before` are fine lags (n, lags, target, y, x), scaled."""
    windows, lags = source.windows[rows], source.lags[rows]
    shape = source.driver.shape[1:]
    driver = source.driver[windows.ravel()].reshape(*windows.shape, *shape)
    coarse = source.coarse[lags.ravel()].reshape(*lags.shape, *source.coarse.shape[1:])
    static = np.broadcast_to(source.static, (rows.size, *source.static.shape))
    known = [crop_dataset.around(driver, source.own), static]
    if before is not None:
        known.insert(1, crop_dataset.fine_channels(before, known[0][:, : len(source.own)]))
    return request_.FieldConditions(
        known=np.concatenate(known, axis=1),
        calendar=source.calendar[rows],
        coarse=crop_dataset.lagged(coarse),
        place=source.place,
        keys=request.keys[rows],
    )
