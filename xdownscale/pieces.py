"""A prediction in pieces: some days and realizations each, drawn wherever there is room."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import travel
from xdownscale.admission import check_values
from xdownscale.calendars import time_keys
from xdownscale.errors import OptionError, check_option
from xdownscale.labels import to_array
from xdownscale.models import engine
from xdownscale.orders import Order
from xdownscale.planning import FloatArray, IntArray, Plan
from xdownscale.prediction import State, draw_array, label
from xdownscale.rollout import rows_before

TARGET = 64.0  # MB of a chunk that nobody asked for
_DAYS = 64  # most days of such a chunk


@dataclass(frozen=True)
class Chunks:
    """How a prediction is cut.

    Attributes
    ----------
    days, realizations : tuple of int
        Sizes of the pieces, in order.
    """

    days: tuple[int, ...]
    realizations: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some days and realizations of a prediction.

    Attributes
    ----------
    days, members : slice
        Of the prediction's days and realizations.
    rows : slice
        Days of the coarse record that it sees.
    runs : tuple of int arrays, or None
        Noise keys of days that it walks through one after another.
    lags : int array
        Rows of the history that it reads.
    """

    days: slice
    members: slice
    rows: slice
    runs: tuple[IntArray, ...] | None
    lags: IntArray


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a process needs to draw a piece, but for the model and the drivers' values.

    Attributes
    ----------
    order : Order
        With the days of the piece, as times; without a history.
    time : array
        Times of the coarse days that the piece sees.
    lags : array
        Times of the history that it reads.
    tile : int, str or None
        As in the section ``sampling``, settled for all pieces alike.
    """

    order: Order
    time: npt.NDArray[Any]
    lags: npt.NDArray[Any]
    tile: int | str | None


def settle_chunks(plan: Plan, asked: Any) -> Chunks:
    """Return how a prediction is cut.

    Parameters
    ----------
    plan : Plan
        What is drawn.
    asked : "auto", int or mapping
        Days of a piece, or ``{"time": ..., "realization": ...}``; -1 for all.

    Raises
    ------
    OptionError
        For other dimensions or sizes: maps stay whole.
    """
    sizes = {"time": plan.targets.size, "realization": plan.order.realizations}
    wanted = _asked(plan, asked)
    cells = len(plan.fitted.targets) * np.prod(plan.fitted.carried.shape[1:])
    most = max(1, int(TARGET * 1e6 / (4 * cells)))  # fields of a piece
    members = wanted.get("realization", min(sizes["realization"], most))
    days = wanted.get("time", min(_DAYS, max(1, most // members)))
    chosen = {"time": days, "realization": members}
    pieces = {}
    for name, size in sizes.items():
        step = size if chosen[name] == -1 else min(chosen[name], size)
        whole, rest = divmod(size, step)
        pieces[name] = (step,) * whole + ((rest,) if rest else ())
    return Chunks(pieces["time"], pieces["realization"])


def _asked(plan: Plan, asked: Any) -> dict[str, int]:
    if asked == "auto":
        return {}
    own = str(plan.fitted.labels.axes.time)
    given = dict(asked) if isinstance(asked, Mapping) else {"time": asked}
    given = {("time" if str(k) == own else str(k)): v for k, v in given.items() if v != "auto"}
    for name, size in given.items():
        check_option("dimension in chunks= (maps stay whole)", name, ("time", "realization"))
        if (
            isinstance(size, bool)
            or not isinstance(size, int | np.integer)
            or size == 0
            or size < -1
        ):
            raise OptionError(
                f"chunks= asks for pieces of {size!r} along {name!r}; give a whole number of 1 or "
                "more, -1 for all, or 'auto'."
            )
    return {name: int(size) for name, size in given.items()}


def cut(plan: Plan, chunks: Chunks) -> Iterator[Piece]:
    """Yield the pieces of a prediction: all days of some realizations, then the next ones.

    Where days are drawn one after another, a piece goes on from the state that the one before it,
    of the same realizations, left behind.

    Parameters
    ----------
    plan : Plan
        What is drawn.
    chunks : Chunks
        How it is cut.
    """
    bounds = np.cumsum([0, *chunks.days])
    days = [slice(int(a), int(b)) for a, b in itertools.pairwise(bounds)]
    walks = _walks(plan, bounds)
    numbers = np.cumsum([0, *chunks.realizations])
    for first, last in itertools.pairwise(numbers):
        for part, walk in zip(days, walks, strict=True):
            yield Piece(
                days=part,
                members=slice(int(first), int(last)),
                rows=_rows(plan, part, walk),
                runs=None if walk is None else tuple(time_keys(plan.time)[run] for run in walk),
                lags=_lags(plan, part, walk),
            )


def _walks(plan: Plan, bounds: npt.NDArray[Any]) -> list[list[IntArray] | None]:
    """Rows that every piece walks through: up to its last day, from the last of the one before."""
    if plan.order.mode != "autoregressive":
        return [None] * (bounds.size - 1)
    ends = [-1, *plan.targets[bounds[1:] - 1]]
    ends[-1] = plan.time.size
    return [
        [part for run in plan.runs if (part := run[(run > after) & (run <= until)]).size]
        for after, until in itertools.pairwise(ends)
    ]


def _rows(plan: Plan, part: slice, walk: list[IntArray] | None) -> slice:
    """Coarse days that a piece sees: those around its days, and what may stand in for them."""
    rows = np.concatenate([plan.targets[part], *(walk or [])])
    data = plan.fitted.config.data
    before = max(data.window, plan.lags, plan.steps) + plan.lags
    return slice(
        max(int(rows.min()) - before, 0), min(int(rows.max()) + data.after + 1, plan.time.size)
    )


def _lags(plan: Plan, part: slice, walk: list[IntArray] | None) -> IntArray:
    """Rows of the history that a piece reads."""
    if plan.parallel:
        return np.array([], np.int64)
    rows = plan.targets[part]
    heads = rows[plan.complete[rows]] if walk is None else np.array([run[0] for run in walk], int)
    before = rows_before(heads, plan.steps).ravel()
    known = [plan.history_rows[int(row)] for row in before if int(row) in plan.history_rows]
    return np.unique(np.array(known, np.int64))


def job(plan: Plan, piece: Piece, tile: int | str | None) -> Job:
    """Return what a process needs to draw a piece.

    Parameters
    ----------
    plan : Plan
        What is drawn.
    piece : Piece
        Which part of it.
    tile : int, str or None
        See `settle_tile`.
    """
    time = plan.time.values
    order = replace(
        plan.order,
        time=time[plan.targets[piece.days]],
        realizations=piece.members.stop - piece.members.start,
        first=plan.order.first + piece.members.start,
        history=None,
        runs=piece.runs,
        step=plan.step,
    )
    past = plan.past_time.values[piece.lags] if piece.lags.size else time[:0]
    return Job(order=order, time=time[piece.rows], lags=past, tile=tile)


def settle_tile(plan: Plan) -> int | str | None:
    """Return the side of the tiles that all pieces draw in, whatever the memory at their time."""
    if not plan.whole:
        return plan.fitted.config.sampling.tile
    ny, nx = plan.fitted.carried.shape[1:]
    return engine.settle_tile(plan.fitted.config, (ny, nx), plan.order.device, travel.cores())


def draw_piece(
    given: Any, what: Job, state: State, past: FloatArray | None, *drivers: FloatArray
) -> tuple[FloatArray, State]:
    """Draw a piece, in whatever process this is.

    Parameters
    ----------
    given : Ticket
        Names the model.
    what : Job
        What is drawn.
    state : dict
        What the piece before left behind; empty where there is none. Stays as it is.
    past : (k, y, x) array or None
        Fine fields at the times ``what.lags``, where the history is not the model's own.
    *drivers : (t, y, x) array
        Coarse variables at the times ``what.time``, latitude and longitude ascending.

    Returns
    -------
    fields : (realization, day, target, y, x) float32 array
        Physical units.
    state : dict
        What it leaves behind.
    """
    plan, left = _prepare(given, what, state, past, drivers)
    with travel.fair_share():
        return draw_array(plan, left), left


def draw_labelled(
    given: Any, what: Job, state: State, past: FloatArray | None, *drivers: FloatArray
) -> tuple[xr.DataArray | xr.Dataset, State]:
    """Draw a piece and put its names on; parameters as for `draw_piece`."""
    plan, left = _prepare(given, what, state, past, drivers)
    with travel.fair_share():
        return label(plan, draw_array(plan, left)), left


def _prepare(
    given: Any, what: Job, state: State, past: FloatArray | None, drivers: tuple[FloatArray, ...]
) -> tuple[Plan, State]:
    """Return the plan of a piece, and a copy of the state that it goes on from."""
    fitted = travel.redeem(given)
    fitted = replace(fitted, config=fitted.config.replace(sampling={"tile": what.tile}))
    records = tuple(_on(fitted.coarse_grid, values, what.time) for values in drivers)
    check_values(fitted, records)
    order = what.order
    if past is not None:
        order = replace(order, history=_on(fitted.carried.isel(time=0, drop=True), past, what.lags))
    left = {name: replace(carry) for name, carry in state.items()}
    return Plan(fitted, records, order), left


def _on(grid: xr.DataArray, values: FloatArray, time: npt.NDArray[Any]) -> xr.DataArray:
    coords = {**grid.coords, "time": ("time", time)}
    return xr.DataArray(values, dims=("time", *grid.dims), coords=coords)


def read_past(plan: Plan, piece: Piece) -> Any:
    """Return the fields of the history that a piece reads (lazy where it is), or None."""
    if not piece.lags.size or plan.order.history is None:
        return None
    return to_array(plan.past).array[piece.lags]


def read_drivers(plan: Plan, rows: slice) -> list[Any]:
    """Return days of the drivers, axes ascending (lazy where they are)."""
    return [to_array(driver).array[rows] for driver in plan.drivers]
