"""A prediction in pieces: some days and realizations each, drawn wherever there is room."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.errors import DataError, OptionError, XDownscaleWarning, check_option
from xdownscale.core.record import Record
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.models.sampling.memory import available_memory
from xdownscale.prediction import workers
from xdownscale.prediction.plan import FloatArray, IntArray, Plan
from xdownscale.prediction.predict import State, label, make_plan, predict_array
from xdownscale.prediction.request import Request, check_values
from xdownscale.prediction.rollout import rows_before

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
    request : Request
        With the days of the piece, as times; without a history.
    time : array
        Times of the coarse days that the piece sees.
    lags : array
        Times of the history that it reads.
    tile : int, str or None
        As in the section ``sampling``, settled for all pieces alike.
    """

    request: Request
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
    sizes = {"time": plan.targets.size, "realization": plan.request.realizations}
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


def cut_pieces(plan: Plan, chunks: Chunks) -> Iterator[Piece]:
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
                runs=None if walk is None else tuple(plan.keys[run] for run in walk),
                lags=_lags(plan, part, walk),
            )


def _walks(plan: Plan, bounds: npt.NDArray[Any]) -> list[list[IntArray] | None]:
    """Rows that every piece walks through: up to its last day, from the last of the one before."""
    if plan.request.mode != "autoregressive":
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
    seen = plan.method.window(plan.fitted.config)[0]
    before = max(seen, plan.lags, plan.steps) + plan.lags
    return slice(
        max(int(rows.min()) - before, 0), min(int(rows.max()) + plan.ahead + 1, plan.time.size)
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


def make_job(plan: Plan, piece: Piece, tile: int | str | None) -> Job:
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
    request = replace(
        plan.request,
        time=time[plan.targets[piece.days]],
        realizations=piece.members.stop - piece.members.start,
        first=plan.request.first + piece.members.start,
        history=None,
        runs=piece.runs,
        step=plan.step,
    )
    past = plan.past.time.values[piece.lags] if piece.lags.size else time[:0]
    return Job(request=request, time=time[piece.rows], lags=past, tile=tile)


def settle_tile(plan: Plan) -> int | str | None:
    """Return the side of the tiles that all pieces are generated in, whatever memory is free."""
    ny, nx = plan.fitted.carried.shape[1:]
    config = plan.fitted.config
    return plan.method.shared_tile(config, (ny, nx), plan.request.device, workers.cores())


def predict_piece(
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
    with workers.fair_share():
        return predict_array(plan, left), left


def predict_labelled(
    given: Any, what: Job, state: State, past: FloatArray | None, *drivers: FloatArray
) -> tuple[xr.DataArray | xr.Dataset, State]:
    """Draw a piece and put its names on; parameters as for `draw_piece`."""
    plan, left = _prepare(given, what, state, past, drivers)
    with workers.fair_share():
        return label(plan, predict_array(plan, left)), left


def _prepare(
    given: Any, what: Job, state: State, past: FloatArray | None, drivers: tuple[FloatArray, ...]
) -> tuple[Plan, State]:
    """Return the plan of a piece, and a copy of the state that it goes on from."""
    fitted = workers.redeem(given)
    fitted = replace(fitted, config=fitted.config.override(sampling={"tile": what.tile}))
    records = tuple(Record(_on(fitted.coarse_grid, values, what.time)) for values in drivers)
    check_values(fitted, records)
    request = what.request
    if past is not None:
        request = replace(
            request, history=_on(fitted.carried.isel(time=0, drop=True), past, what.lags)
        )
    left = {name: replace(carry) for name, carry in state.items()}
    return Plan(fitted, records, request), left


def _on(grid: xr.DataArray, values: FloatArray, time: npt.NDArray[Any]) -> xr.DataArray:
    coords = {**grid.coords, "time": ("time", time)}
    return xr.DataArray(values, dims=("time", *grid.dims), coords=coords)


def read_past(plan: Plan, piece: Piece) -> Any:
    """Return the fields of the history that a piece reads (lazy where it is), or None."""
    if not piece.lags.size or plan.request.history is None:
        return None
    return plan.past.array[piece.lags]


def read_drivers(plan: Plan, rows: slice) -> list[Any]:
    """Return days of the drivers, axes ascending (lazy where they are)."""
    return [driver.array[rows] for driver in plan.drivers]


_LARGE = 1e9  # bytes of one chunk of a coarse record that deserve a word


def is_lazy(coarse: xr.DataArray | xr.Dataset) -> bool:
    """Tell whether a record is backed by dask.

    Examples
    --------
    >>> is_lazy(xr.DataArray([1.0])), is_lazy(xr.DataArray([1.0]).chunk())
    (False, True)
    """
    found = variables_of(coarse) if isinstance(coarse, xr.DataArray | xr.Dataset) else []
    return any(da.chunks is not None for da in found)


def variables_of(coarse: xr.DataArray | xr.Dataset) -> list[xr.DataArray]:
    """Return a record's variables."""
    return [coarse] if isinstance(coarse, xr.DataArray) else list(coarse.data_vars.values())


def predict_lazily(
    fitted: Fitted,
    coarse: xr.DataArray | xr.Dataset,
    request: Request,
    chunks: Any,
    path: Path | None,
) -> xr.DataArray | xr.Dataset:
    """Describe fine fields for days of a coarse record; dask draws them when they are computed.

    Parameters
    ----------
    fitted, coarse, request
        As for `predict_maps`.
    chunks : "auto", int or mapping
        See `xdownscale.predict`.
    path : Path or None
        File that holds the model, unchanged.

    Returns
    -------
    DataArray or Dataset
        As `predict_maps`, backed by dask.
    """
    plan = make_plan(fitted, coarse, request, values=False)
    check_chunks(plan)
    cut = settle_chunks(plan, chunks)
    rows: list[list[Any]] = []
    for piece, fields in _graph(plan, cut, workers.ticket(fitted, path)):
        if piece.days.start == 0:
            rows.append([])
        rows[-1].append(fields)
    return label(plan, _block(rows))


def _graph(plan: Plan, cut: Chunks, given: workers.Ticket) -> Iterator[tuple[Piece, Any]]:
    """Yield every piece and its fields, a dask array."""
    import dask.array
    from dask.base import tokenize
    from dask.delayed import delayed

    tile, sources = settle_tile(plan), [driver.da.data for driver in plan.drivers]
    token = tokenize(given.key, tile, cut, plan.request, plan.time.values, sources)
    carrier = sent(given)
    generate = delayed(predict_piece, pure=False, nout=2)
    shape = (len(plan.fitted.targets), *plan.fitted.carried.shape[1:])
    read = functools.cache(lambda *rows: _parts(plan, slice(*rows)))
    state: Any = {}
    for number, piece in enumerate(cut_pieces(plan, cut)):
        job, past = make_job(plan, piece, tile), read_past(plan, piece)
        drivers = read(piece.rows.start, piece.rows.stop)
        state = {} if piece.days.start == 0 else state
        key = f"draw_piece-{token}-{number}"
        drawn = generate(carrier, job, state, past, *drivers, dask_key_name=key)
        if plan.request.mode == "autoregressive":
            state = drawn[1]
        size = (job.request.realizations, piece.days.stop - piece.days.start, *shape)
        name = f"piece-{token}-{number}"
        yield piece, dask.array.from_delayed(drawn[0], size, np.float32, name=name)


def _parts(plan: Plan, rows: slice) -> list[Any]:
    """Days of every driver, each as one value of the graph."""
    from dask.delayed import delayed

    return [delayed(np.asarray)(part) for part in read_drivers(plan, rows)]


def sent(given: workers.Ticket) -> Any:
    """Return the ticket as one value of the graph, which every worker gets once.

    It is no scattered future: those are lost with the worker that holds them.
    """
    from dask.delayed import delayed

    client = workers.client()
    if client is not None:
        workers.check_workers(client)
        given = workers.packed(given, client)
    return delayed(given, name=f"model-{given.key}")


def _block(rows: list[list[Any]]) -> Any:
    """Join pieces along realizations and days."""
    import dask.array

    joined = [dask.array.concatenate(row, axis=1) for row in rows]
    return dask.array.concatenate(joined, axis=0)


def check_chunks(plan: Plan) -> None:
    """Say what chunks of the coarse record cost that do not suit; see `xdownscale.predict`.

    Parameters
    ----------
    plan : Plan
        What is drawn.

    Raises
    ------
    DataError
        If a chunk, or the joined maps of a piece, would not fit into memory.

    Warns
    -----
    XDownscaleWarning
        If maps are cut, or a chunk is very large.
    """
    for name, driver in zip(plan.fitted.drivers, plan.drivers, strict=True):
        da = driver.da
        if da.chunks is None:
            continue
        axes = driver.axes
        chunks = dict(zip(da.dims, da.chunks, strict=True))
        maps = da.sizes[axes.y] * da.sizes[axes.x] * da.dtype.itemsize
        days = max(chunks[str(axes.time)])
        parts = len(chunks[axes.y]) * len(chunks[axes.x])
        held, free = days * maps, available_memory()
        if held > free / 2:
            raise DataError(
                f"The chunks of {name!r} have {days} days of {da.sizes[axes.y]} x "
                f"{da.sizes[axes.x]} cells: maps are needed whole, which takes "
                f"{held / 1e9:.3g} GB for each of the tasks, and {free / 1e9:.3g} GB are free. "
                f"Rechunk it first, for instance .chunk({{{axes.time!r}: 64, {axes.y!r}: -1, "
                f"{axes.x!r}: -1}}), best on disk."
            )
        if parts > 1 or held > _LARGE:
            why = f"cut into {parts} parts" if parts > 1 else f"{days} days long"
            warnings.warn(
                f"Chunks of {name!r} are {why}: every task reads and joins "
                f"{held / 1e6:.3g} MB to see a few days. Chunks of whole maps and some 64 days "
                "cost less.",
                XDownscaleWarning,
                stacklevel=5,
            )
