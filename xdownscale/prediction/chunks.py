"""Lazy predictions with dask: cut into pieces of some time steps and realizations."""

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
from xdownscale.prediction.predict import States, label, make_plan, predict_array
from xdownscale.prediction.request import Request, check_values

TARGET = 64.0  # MB of a chunk, where the user asks for no size
_STEPS = 64  # most time steps of such a chunk
_LARGE = 1e9  # bytes of one chunk of a coarse record that deserve a warning

ChunkSizes = dict[str, tuple[int, ...]]
"""Sizes of the pieces of a prediction along ``time`` and ``realization``, in order."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some time steps and realizations of a prediction, and what a process needs to generate them.

    The model and the values of the drivers come beside it.

    Attributes
    ----------
    steps, members : slice
        Of the prediction's time steps and realizations.
    rows : slice
        Rows of the coarse record that it sees.
    time : array
        Times of these rows.
    lag_rows : int array
        Rows of the history that it reads.
    lag_time : array
        Times of these rows.
    request : Request
        With the time steps of the piece, as times; without a history.
    tile : int, str or None
        As in the section ``sampling``, the same for all pieces.
    """

    steps: slice
    members: slice
    rows: slice
    time: npt.NDArray[Any]
    lag_rows: IntArray
    lag_time: npt.NDArray[Any]
    request: Request
    tile: int | str | None


def predict_lazily(
    fitted: Fitted,
    coarse: xr.DataArray | xr.Dataset,
    request: Request,
    chunks: Any,
    path: Path | None,
) -> xr.DataArray | xr.Dataset:
    """Describe fine fields of a coarse record; dask generates them when they are computed.

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
    sizes = settle_chunks(plan, chunks)
    rows: list[list[Any]] = []
    for piece, fields in _graph(plan, sizes, workers.refer_to(fitted, path)):
        if piece.steps.start == 0:
            rows.append([])
        rows[-1].append(fields)
    return label(plan, _block(rows))


def _graph(
    plan: Plan, sizes: ChunkSizes, reference: workers.ModelReference
) -> Iterator[tuple[Piece, Any]]:
    """Yield every piece and its fields, a dask array."""
    import dask.array
    from dask.base import tokenize
    from dask.delayed import delayed

    tile = settle_tile(plan)
    sources = [driver.da.data for driver in plan.drivers]
    token = tokenize(reference.key, tile, sizes, plan.request, plan.time.values, sources)
    model = delayed_model(reference)
    generate = delayed(predict_piece, pure=False, nout=2)
    maps = (len(plan.fitted.targets), *plan.fitted.carried.shape[1:])
    # pieces of several realizations share what they read
    read = functools.cache(
        lambda *rows: [delayed(np.asarray)(part) for part in read_drivers(plan, slice(*rows))]
    )
    state: Any = {}
    for number, piece in enumerate(cut_pieces(plan, sizes, tile)):
        past = read_past(plan, piece)
        drivers = read(piece.rows.start, piece.rows.stop)
        state = {} if piece.steps.start == 0 else state
        key = f"predict_piece-{token}-{number}"
        result = generate(model, piece, state, past, *drivers, dask_key_name=key)
        if plan.request.mode == "autoregressive":
            state = result[1]
        shape = (piece.request.realizations, piece.steps.stop - piece.steps.start, *maps)
        name = f"piece-{token}-{number}"
        yield piece, dask.array.from_delayed(result[0], shape, np.float32, name=name)


def delayed_model(reference: workers.ModelReference) -> Any:
    """Return the model's reference as one value of the graph, sent once to every worker.

    It is no scattered future: those are lost with the worker that holds them.
    """
    from dask.delayed import delayed

    client = workers.client()
    if client is not None:
        workers.check_workers(client)
        reference = workers.by_file(reference, client)
    return delayed(reference, name=f"model-{reference.key}")


def _block(rows: list[list[Any]]) -> Any:
    """Join pieces along realizations and time."""
    import dask.array

    joined = [dask.array.concatenate(row, axis=1) for row in rows]
    return dask.array.concatenate(joined, axis=0)


def settle_chunks(plan: Plan, asked: Any, keyword: str = "chunks") -> ChunkSizes:
    """Return how a prediction is cut.

    Parameters
    ----------
    plan : Plan
        What is generated.
    asked : "auto", int or mapping
        Time steps of a piece, or ``{"time": ..., "realization": ...}``; -1 for all.
    keyword : str
        Name of the option, for messages.

    Raises
    ------
    OptionError
        For other dimensions or sizes: maps stay whole.
    """
    sizes = {"time": plan.targets.size, "realization": plan.request.realizations}
    wanted = _asked(plan, asked, keyword)
    cells = len(plan.fitted.targets) * np.prod(plan.fitted.carried.shape[1:])
    most = max(1, int(TARGET * 1e6 / (4 * cells)))  # fields of a piece
    members = wanted.get("realization", min(sizes["realization"], most))
    steps = wanted.get("time", min(_STEPS, max(1, most // members)))
    chosen = {"time": steps, "realization": members}
    pieces: ChunkSizes = {}
    for name, size in sizes.items():
        step = size if chosen[name] == -1 else min(chosen[name], size)
        whole, rest = divmod(size, step)
        pieces[name] = (step,) * whole + ((rest,) if rest else ())
    return pieces


def settle_inner(plan: Plan, asked: Any, sizes: ChunkSizes) -> dict[str, int]:
    """Return the chunks within the shards of a store, by dimension of the fields.

    Parameters
    ----------
    plan : Plan
        What is generated.
    asked : "auto", int or mapping
        Time steps of a chunk, or sizes along any dimensions; -1 for a whole shard. ``"auto"``:
        one map.
    sizes : dict
        The shards, from `settle_chunks` with ``keyword="shards"``.

    Raises
    ------
    OptionError
        For other dimensions or sizes, or chunks that do not fill their shards.
    """
    axes = plan.fitted.labels.axes
    maps = dict(zip((str(axes.y), str(axes.x)), plan.fitted.carried.shape[1:], strict=True))
    wanted = _asked(plan, asked, "chunks", others=tuple(maps))
    whole = {name: parts[0] for name, parts in sizes.items()} | maps
    inner = {"time": 1, "realization": 1} | maps | wanted
    inner = {name: whole[name] if n == -1 else min(n, whole[name]) for name, n in inner.items()}
    for name, parts in sizes.items():
        if parts[0] % inner[name]:
            raise OptionError(
                f"chunks= asks for {inner[name]} along {name!r}, which do not fill a shard of "
                f"{parts[0]}. Give a divisor of that, or other shards."
            )
    return inner


def _asked(
    plan: Plan, asked: Any, keyword: str = "chunks", others: tuple[str, ...] = ()
) -> dict[str, int]:
    """Return the sizes that the user gave, by ``time``, ``realization`` and perhaps others."""
    if isinstance(asked, str) and asked == "auto":
        return {}
    own = str(plan.fitted.labels.axes.time)
    given = dict(asked) if isinstance(asked, Mapping) else {"time": asked}
    given = {("time" if str(k) == own else str(k)): v for k, v in given.items() if v != "auto"}
    what = f"dimension in {keyword}=" + ("" if others else " (maps stay whole)")
    for name, size in given.items():
        check_option(what, name, ("time", "realization", *others))
        if (
            isinstance(size, bool)
            or not isinstance(size, int | np.integer)
            or size == 0
            or size < -1
        ):
            raise OptionError(
                f"{keyword}= asks for pieces of {size!r} along {name!r}; give a whole number of 1 "
                "or more, -1 for all, or 'auto'."
            )
    return {name: int(size) for name, size in given.items()}


def cut_pieces(plan: Plan, sizes: ChunkSizes, tile: int | str | None) -> Iterator[Piece]:
    """Yield the pieces of a prediction: all time steps of some realizations, then the next ones.

    In autoregressive mode a piece continues from the state that the one before it, of the same
    realizations, returned.

    Parameters
    ----------
    plan : Plan
        What is generated.
    sizes : dict
        From `settle_chunks`.
    tile : int, str or None
        From `settle_tile`.
    """
    bounds = np.cumsum([0, *sizes["time"]])
    steps = [slice(int(a), int(b)) for a, b in itertools.pairwise(bounds)]
    runs = _runs(plan, bounds)
    numbers = np.cumsum([0, *sizes["realization"]])
    for first, last in itertools.pairwise(numbers):
        members = slice(int(first), int(last))
        for part, rows in zip(steps, runs, strict=True):
            yield _piece(plan, part, members, rows, tile)


def _piece(
    plan: Plan, steps: slice, members: slice, runs: list[IntArray] | None, tile: int | str | None
) -> Piece:
    """Return one piece, which in autoregressive mode goes through the rows of `runs`."""
    time = plan.time.values
    rows = _rows(plan, steps, runs)
    lag_rows = _lag_rows(plan, steps, runs)
    request = replace(
        plan.request,
        time=time[plan.targets[steps]],
        realizations=members.stop - members.start,
        first=plan.request.first + members.start,
        history=None,
        runs=None if runs is None else tuple(plan.keys[run] for run in runs),
        step=plan.step,
    )
    return Piece(
        steps=steps,
        members=members,
        rows=rows,
        time=time[rows],
        lag_rows=lag_rows,
        lag_time=plan.history_record.time.values[lag_rows] if lag_rows.size else time[:0],
        request=request,
        tile=tile,
    )


def _runs(plan: Plan, bounds: npt.NDArray[Any]) -> list[list[IntArray] | None]:
    """Return the consecutive rows that each piece goes through in autoregressive mode.

    They begin behind the last time step of the piece before.
    """
    if plan.request.mode != "autoregressive":
        return [None] * (bounds.size - 1)
    ends = [-1, *plan.targets[bounds[1:] - 1]]
    ends[-1] = plan.time.size
    return [
        [part for run in plan.runs if (part := run[(run > after) & (run <= until)]).size]
        for after, until in itertools.pairwise(ends)
    ]


def _rows(plan: Plan, steps: slice, runs: list[IntArray] | None) -> slice:
    """Return the rows that a piece sees: those around its time steps, and their stand-ins."""
    rows = np.concatenate([plan.targets[steps], *(runs or [])])
    seen, ahead = plan.method.window(plan.fitted.config)
    before = max(seen, plan.lags, plan.fine_lags) + plan.lags
    return slice(max(int(rows.min()) - before, 0), min(int(rows.max()) + ahead + 1, plan.time.size))


def _lag_rows(plan: Plan, steps: slice, runs: list[IntArray] | None) -> IntArray:
    """Return the rows of the history that a piece reads."""
    if plan.parallel:
        return np.array([], np.int64)
    rows = plan.targets[steps]
    starts = rows[plan.complete[rows]] if runs is None else np.array([run[0] for run in runs], int)
    before = plan.fine_lag_rows[starts].ravel()
    known = [plan.history_rows[int(row)] for row in before if int(row) in plan.history_rows]
    return np.unique(np.array(known, np.int64))


def settle_tile(plan: Plan) -> int | str | None:
    """Return the tile size that all pieces share, whatever memory each process has."""
    ny, nx = plan.fitted.carried.shape[1:]
    config = plan.fitted.config
    return plan.method.shared_tile(config, (ny, nx), plan.request.device, workers.cores())


def predict_piece(
    reference: Any, piece: Piece, state: States, past: FloatArray | None, *drivers: FloatArray
) -> tuple[FloatArray, States]:
    """Generate the fields of a piece, in whatever process this is.

    Parameters
    ----------
    reference : ModelReference
        The model.
    piece : Piece
        What is generated.
    state : dict
        State that the piece before returned; empty where there is none. Stays as it is.
    past : (k, y, x) array or None
        Fine fields at the times ``piece.lag_time``, where the history is not the model's own.
    *drivers : (t, y, x) array
        Coarse variables at the times ``piece.time``, latitude and longitude ascending.

    Returns
    -------
    fields : (realization, time, target, y, x) float32 array
        Physical units.
    state : dict
        What the next piece continues from.
    """
    plan, state = _plan_of(reference, piece, state, past, drivers)
    with workers.shared_resources(plan.method.networks):
        return predict_array(plan, state), state


def predict_labelled(
    reference: Any, piece: Piece, state: States, past: FloatArray | None, *drivers: FloatArray
) -> tuple[xr.DataArray | xr.Dataset, States]:
    """Generate the labelled fields of a piece; parameters as for `predict_piece`."""
    plan, state = _plan_of(reference, piece, state, past, drivers)
    with workers.shared_resources(plan.method.networks):
        return label(plan, predict_array(plan, state)), state


def _plan_of(
    reference: Any,
    piece: Piece,
    state: States,
    past: FloatArray | None,
    drivers: tuple[FloatArray, ...],
) -> tuple[Plan, States]:
    """Return the plan of a piece, and a copy of the state that it continues from."""
    fitted = workers.load_model(reference)
    fitted = replace(fitted, config=fitted.config.override(sampling={"tile": piece.tile}))
    records = tuple(Record(_on(fitted.coarse_grid, values, piece.time)) for values in drivers)
    check_values(fitted, records)
    request = piece.request
    if past is not None:
        grid = fitted.carried.isel(time=0, drop=True)
        request = replace(request, history=_on(grid, past, piece.lag_time))
    copied = {name: replace(part) for name, part in state.items()}
    return Plan(fitted, records, request), copied


def _on(grid: xr.DataArray, values: FloatArray, time: npt.NDArray[Any]) -> xr.DataArray:
    """Label fields with a grid and times."""
    coords = {**grid.coords, "time": ("time", time)}
    return xr.DataArray(values, dims=("time", *grid.dims), coords=coords)


def read_past(plan: Plan, piece: Piece) -> Any:
    """Return the fields of the history that a piece reads (lazy where it is), or None."""
    if not piece.lag_rows.size or plan.request.history is None:
        return None
    return plan.history_record.array[piece.lag_rows]


def read_drivers(plan: Plan, rows: slice) -> list[Any]:
    """Return some rows of the drivers, axes ascending (lazy where they are)."""
    return [driver.array[rows] for driver in plan.drivers]


def is_lazy(coarse: xr.DataArray | xr.Dataset) -> bool:
    """Tell whether a record is backed by dask.

    Examples
    --------
    >>> is_lazy(xr.DataArray([1.0])), is_lazy(xr.DataArray([1.0]).chunk())
    (False, True)
    """
    if isinstance(coarse, xr.Dataset):
        return any(da.chunks is not None for da in coarse.data_vars.values())
    return isinstance(coarse, xr.DataArray) and coarse.chunks is not None


def check_chunks(plan: Plan) -> None:
    """Warn of coarse chunks that are costly to read, or raise; see `xdownscale.predict`.

    Parameters
    ----------
    plan : Plan
        What is generated.

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
        held = days * maps
        free = available_memory()
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
