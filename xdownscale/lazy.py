"""Predictions that dask draws, piece by piece, when they are asked for."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xdownscale import pieces, travel
from xdownscale.errors import DataError, XDownscaleWarning
from xdownscale.groups import Fitted
from xdownscale.labels import find_axes
from xdownscale.models.tiles import available_memory
from xdownscale.orders import Order
from xdownscale.planning import Plan
from xdownscale.prediction import label, make_plan

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


def draw_lazily(
    fitted: Fitted,
    coarse: xr.DataArray | xr.Dataset,
    order: Order,
    chunks: Any,
    path: Path | None,
) -> xr.DataArray | xr.Dataset:
    """Describe fine fields for days of a coarse record; dask draws them when they are computed.

    Parameters
    ----------
    fitted, coarse, order
        As for `draw_maps`.
    chunks : "auto", int or mapping
        See `xdownscale.predict`.
    path : Path or None
        File that holds the model, unchanged.

    Returns
    -------
    DataArray or Dataset
        As `draw_maps`, backed by dask.
    """
    plan = make_plan(fitted, coarse, order, values=False)
    check_chunks(plan)
    cut = pieces.settle_chunks(plan, chunks)
    rows: list[list[Any]] = []
    for piece, fields in _graph(plan, cut, travel.ticket(fitted, path)):
        if piece.days.start == 0:
            rows.append([])
        rows[-1].append(fields)
    return label(plan, _block(rows))


def _graph(
    plan: Plan, cut: pieces.Chunks, given: travel.Ticket
) -> Iterator[tuple[pieces.Piece, Any]]:
    """Yield every piece and its fields, a dask array."""
    import dask.array
    from dask.base import tokenize
    from dask.delayed import delayed

    tile, sources = pieces.settle_tile(plan), [driver.data for driver in plan.drivers]
    token = tokenize(given.key, tile, cut, plan.order, plan.time.values, sources)
    carrier, draw = sent(given), delayed(pieces.draw_piece, pure=False, nout=2)
    shape = (len(plan.fitted.targets), *plan.fitted.carried.shape[1:])
    read = functools.cache(lambda *rows: _parts(plan, slice(*rows)))
    state: Any = {}
    for number, piece in enumerate(pieces.cut(plan, cut)):
        job, past = pieces.job(plan, piece, tile), pieces.read_past(plan, piece)
        drivers = read(piece.rows.start, piece.rows.stop)
        state = {} if piece.days.start == 0 else state
        key = f"draw_piece-{token}-{number}"
        drawn = draw(carrier, job, state, past, *drivers, dask_key_name=key)
        if plan.order.mode == "autoregressive":
            state = drawn[1]
        size = (job.order.realizations, piece.days.stop - piece.days.start, *shape)
        name = f"piece-{token}-{number}"
        yield piece, dask.array.from_delayed(drawn[0], size, np.float32, name=name)


def _parts(plan: Plan, rows: slice) -> list[Any]:
    """Days of every driver, each as one value of the graph."""
    from dask.delayed import delayed

    return [delayed(np.asarray)(part) for part in pieces.read_drivers(plan, rows)]


def sent(given: travel.Ticket) -> Any:
    """Return the ticket as one value of the graph, which every worker gets once.

    It is no scattered future: those are lost with the worker that holds them.
    """
    from dask.delayed import delayed

    client = travel.client()
    if client is not None:
        travel.check_workers(client)
        given = travel.packed(given, client)
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
        if driver.chunks is None:
            continue
        axes, item = find_axes(driver), driver.dtype.itemsize
        chunks = dict(zip(driver.dims, driver.chunks, strict=True))
        maps = driver.sizes[axes.y] * driver.sizes[axes.x] * item
        days = max(chunks[str(axes.time)])
        parts = len(chunks[axes.y]) * len(chunks[axes.x])
        held, free = days * maps, available_memory()
        if held > free / 2:
            raise DataError(
                f"The chunks of {name!r} have {days} days of {driver.sizes[axes.y]} x "
                f"{driver.sizes[axes.x]} cells: maps are needed whole, which takes "
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
