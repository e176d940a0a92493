"""Days drawn side by side (teacher-forced) or one after another (autoregressive): arrays only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdownscale.config import DownscalerConfig
from xdownscale.models import engine
from xdownscale.preparation import Days

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
_MEMORY = 256.0  # MB of conditions that are held at once


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be drawn for one region.

    Attributes
    ----------
    targets : (n,) int array
        Rows of the coarse record.
    lags : int
        Preceding days that the networks see.
    keys : (t,) int array
        Noise key of each row of the coarse record.
    realizations : int
        Fields for each day.
    seed : int
        Seed of the noise.
    stitching : str
        ``"patches"`` or ``"whole"``.
    device : str
        Where the networks run.
    """

    targets: IntArray
    lags: int
    keys: IntArray
    realizations: int
    seed: int
    stitching: str
    device: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the conditions of a day come from, in scaled units.

    Attributes
    ----------
    driver : Days
        Coarse record on the fine grid, ``(t, y, x)``.
    history : mapping
        Row of the coarse record -> true fine field ``(y, x)`` of that day.
    calendar : (t, c) array
        Calendar channels.
    static : (s, y, x) array
        Static fields.
    """

    driver: Days
    history: Mapping[int, FloatArray]
    calendar: FloatArray
    static: FloatArray


def teacher_forced(
    networks: engine.Networks, config: DownscalerConfig, source: Source, request: Request
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Draw days whose fine lags are all in the history, in blocks.

    Parameters
    ----------
    networks : Networks
        Of the group that the days belong to.
    config : DownscalerConfig
        Sampling options.
    source : Source
        Conditions.
    request : Request
        Days to draw.

    Yields
    ------
    rows : (k,) int array
        Rows of the coarse record.
    fields : (realization, k, y, x) float32 array
        Drawn fields, scaled.
    """
    per_day = request.realizations * (2 * request.lags + 3) * np.prod(source.driver.shape[1:])
    block = max(1, int(_MEMORY * 1e6 / (4 * per_day)))
    for start in range(0, request.targets.size, block):
        rows = request.targets[start : start + block]
        window = _windows(rows, request.lags)
        lags = np.stack([_stack(source.history, w) for w in window])
        repeated = np.broadcast_to(lags, (request.realizations, *lags.shape))
        yield rows, _draw(networks, config, source, request, rows, repeated)


def autoregressive(
    networks: Mapping[int, engine.Networks],
    config: DownscalerConfig,
    source: Source,
    request: Request,
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Draw days one after another, each from the fields drawn before it.

    Lags that lie before the first day come from the history, else from the interpolated coarse
    record (a cold start).

    Parameters
    ----------
    networks : mapping
        Row of the coarse record -> networks of the group that the day belongs to.
    config : DownscalerConfig
        Sampling options.
    source : Source
        Conditions.
    request : Request
        Days to draw: consecutive rows of the coarse record.

    Yields
    ------
    rows : (1,) int array
        Row of the coarse record.
    fields : (realization, 1, y, x) float32 array
        Drawn fields, scaled.
    """
    first = _windows(request.targets[:1], request.lags)[0]
    start = np.stack([_known(source, int(row)) for row in first])
    memory = np.repeat(start[None], request.realizations, axis=0)  # (R, lags, y, x)
    for row in request.targets:
        fields = _draw(
            networks[int(row)], config, source, request, np.array([row]), memory[:, None]
        )
        memory = np.concatenate([memory[:, 1:], fields], axis=1)
        yield np.array([row]), fields


def _windows(rows: IntArray, lags: int) -> IntArray:
    """Rows of the preceding days, oldest first, ``(n, lags)``."""
    return rows[:, None] + np.arange(-lags, 0)[None, :]


def _stack(history: Mapping[int, FloatArray], rows: IntArray) -> FloatArray:
    return np.stack([history[int(row)] for row in rows])


def _known(source: Source, row: int) -> FloatArray:
    found = source.history.get(row)
    return source.driver[row] if found is None else found


def _draw(
    networks: engine.Networks,
    config: DownscalerConfig,
    source: Source,
    request: Request,
    rows: IntArray,
    fine_lags: FloatArray,
) -> FloatArray:
    """Draw ``(realization, k, y, x)`` for `rows`, given lags ``(realization, k, lags, y, x)``."""
    count, days = request.realizations, rows.size
    wanted = np.concatenate([_windows(rows, request.lags), rows[:, None]], axis=1)
    coarse = source.driver[wanted.ravel()].reshape(*wanted.shape, *source.driver.shape[1:])
    keys = np.stack(
        [np.repeat(np.arange(count), days), np.tile(request.keys[rows], count)], axis=1
    )
    conditions = engine.Conditions(
        driver=np.tile(coarse[:, -1], (count, 1, 1)),
        coarse_lags=np.tile(coarse[:, :-1], (count, 1, 1, 1)),
        fine_lags=np.ascontiguousarray(fine_lags).reshape(count * days, *fine_lags.shape[2:]),
        static=source.static,
        calendar=np.tile(source.calendar[rows], (count, 1)),
    )
    fields = engine.sample(
        networks,
        config,
        conditions,
        keys,
        seed=request.seed,
        device=request.device,
        stitching=request.stitching,
    )
    return fields.reshape(count, days, *fields.shape[1:])
