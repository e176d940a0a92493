"""Whole fields drawn side by side, or one after another: arrays only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from xdownscale import drift
from xdownscale.models import engine
from xdownscale.preparation import Days
from xdownscale.rollout import MEMORY, Carry, History, Request, rows_before
from xdownscale.scaling import Scaling

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


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

    model: engine.FieldModel
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
    source: FieldSource, conditions: engine.FieldConditions, request: Request
) -> FloatArray:
    """Draw (realization, day, target, y, x), scaled."""
    return engine.draw_fields(
        source.model.networks,
        source.model.residual,
        conditions,
        engine.FieldRequest(
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
) -> engine.FieldConditions:
    """Gather what is known of some days; `before` are fine lags (n, lags, target, y, x), scaled."""
    windows, lags = source.windows[rows], source.lags[rows]
    shape = source.driver.shape[1:]
    driver = source.driver[windows.ravel()].reshape(*windows.shape, *shape)
    coarse = source.coarse[lags.ravel()].reshape(*lags.shape, *source.coarse.shape[1:])
    static = np.broadcast_to(source.static, (rows.size, *source.static.shape))
    known = [engine.around(driver, source.own), static]
    if before is not None:
        known.insert(1, engine.fine_channels(before, known[0][:, : len(source.own)]))
    return engine.FieldConditions(
        known=np.concatenate(known, axis=1),
        calendar=source.calendar[rows],
        coarse=engine.lagged(coarse),
        place=source.place,
        keys=request.keys[rows],
    )
