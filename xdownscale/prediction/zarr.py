"""Predictions of any length, written piece by piece to a store and resumed where they stopped."""

from __future__ import annotations

import contextlib
import errno
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core import hashing
from xdownscale.core.coords import require_time
from xdownscale.core.errors import OptionError, StorageError
from xdownscale.core.files import as_path
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.io import cf
from xdownscale.prediction import chunks as chunking
from xdownscale.prediction import workers
from xdownscale.prediction.manifest import GROUP, Ledger, alone, builder, free_bytes
from xdownscale.prediction.plan import Plan
from xdownscale.prediction.predict import label, make_plan
from xdownscale.prediction.request import Request

_LOOK = 1.0  # seconds between two looks at what is finished
_SPARE = 1.02  # of the bytes of the fields: metadata, and files that are written anew


def write_store(
    fitted: Fitted,
    coarse: xr.DataArray | xr.Dataset,
    request: Request,
    store: str | PathLike[str],
    *,
    chunks: Any,
    path: Path | None,
    progress: bool,
) -> xr.Dataset:
    """Generate fields into a Zarr store; see `xdownscale.predict_to_zarr`.

    Parameters
    ----------
    fitted : Fitted
        The model.
    coarse, store, chunks, progress
        As for `xdownscale.predict_to_zarr`.
    request : Request
        What was asked for.
    path : Path or None
        File that holds the model, unchanged.
    """
    where = _folder(store)
    plan = make_plan(fitted, coarse, request)
    chunking.check_chunks(plan)
    run = _Run(plan, workers.ticket(fitted, path), where)
    if (connected := workers.client()) is not None:
        workers.check_workers(connected)
    run.prepare(chunks)
    with alone(where):
        run.go(progress)
    return open_store(where)


def open_store(where: Path) -> xr.Dataset:
    """Open a store of `predict_to_zarr` lazily."""
    ds: xr.Dataset = xr.open_zarr(where, consolidated=False)
    cf.without_missing(ds)
    return ds


def _folder(given: str | PathLike[str]) -> Path:
    """Return the store as a path; this library writes to file systems."""
    if "://" in str(given):
        raise OptionError(
            f"store is {str(given)!r}; predict_to_zarr writes to folders of a file system, where "
            "a piece is there wholly or not at all. Write to a folder and copy it, or write "
            "coarse.downscale.predict(model).to_zarr(url), which cannot be resumed."
        )
    return as_path(given, "store").absolute()


@dataclass
class _Run:
    """One call of `predict_to_zarr`."""

    plan: Plan
    given: workers.Ticket
    where: Path

    def prepare(self, chunks: Any) -> None:
        """Make the store, or check that the one which is there is ours."""
        self.facts = self._facts()
        if not self.where.exists():
            cut = chunking.settle_chunks(self.plan, chunks)
            facts = self.facts | {"chunks": [list(cut.days), list(cut.realizations)]}
            facts["tile"] = chunking.settle_tile(self.plan)
            shape = (len(cut.realizations), len(cut.days))
            _check_space(self.where.parent, self._bytes(np.zeros(shape, bool), cut))
            with builder(self.where) as folder:
                self._write_template(folder, cut)
                Ledger.create(folder, facts, shape)
        self.ledger = Ledger(self.where)
        if chunks != "auto":
            cut = chunking.settle_chunks(self.plan, chunks)
            self.facts["chunks"] = [list(cut.days), list(cut.realizations)]
        self.ledger.check(self.facts)
        days, members = self.ledger.facts["chunks"]
        self.cut = chunking.Chunks(tuple(days), tuple(members))

    def _facts(self) -> dict[str, Any]:
        plan, request = self.plan, self.plan.request
        arrays = [driver.array for driver in plan.drivers]
        past = None
        if request.history is not None:
            past = hashing.fingerprint(plan.past.keys, plan.past.array)
        return {
            "model": self.given.key,
            "driver": hashing.fingerprint(plan.keys, *arrays),
            "days": hashing.fingerprint(plan.keys[plan.targets]),
            "seed": request.seed,
            "mode": request.mode,
            "stitching": request.stitching,
            "realizations": request.realizations,
            "history": past,
        }

    def _bytes(self, finished: Any, cut: chunking.Chunks) -> int:
        """Bytes of the fields that are yet to be written."""
        fields = np.outer(cut.realizations, cut.days)[~finished].sum()
        cells = len(self.plan.fitted.targets) * np.prod(self.plan.fitted.carried.shape[1:])
        return int(_SPARE * 4 * fields * cells)

    def _write_template(self, folder: Path, cut: chunking.Chunks) -> None:
        """Write everything but the fields."""
        import dask.array

        plan, request = self.plan, self.plan.request
        ny, nx = plan.fitted.carried.shape[1:]
        shape = (request.realizations, plan.targets.size, len(plan.fitted.targets), ny, nx)
        sizes = (cut.realizations[0], cut.days[0], 1, ny, nx)
        drawn = label(plan, dask.array.empty(shape, chunks=sizes, dtype=np.float32))
        ds = drawn.to_dataset() if isinstance(drawn, xr.DataArray) else drawn
        step = plan.fitted.about.step
        lines = f"{cf.now()} xdownscale {plan.fitted.about.version} predict_to_zarr"
        full = cf.comply(
            ds,
            step,
            title=f"{', '.join(map(str, ds.data_vars))}, downscaled",
            source=f"xdownscale model {plan.fitted.about.fingerprint[:12]}, {request.mode} "
            f"prediction, seed {request.seed}",
            references="https://arxiv.org/abs/2512.05139",
            history=lines,
            progress="incomplete",
        )
        encoding: dict[str, Any] = {
            str(v): {"_FillValue": np.float32(np.nan)} for v in ds.data_vars
        }
        full.to_zarr(
            folder, mode="w", compute=False, encoding=encoding, zarr_format=3, consolidated=False
        )

    def go(self, progress: bool) -> None:
        """Draw and write what is not finished."""
        finished = self.ledger.finished()
        self.ledger.sweep()
        if not finished.all():
            _check_space(self.where, self._bytes(finished, self.cut))
            try:
                _compute(self._tasks(finished), self.ledger, progress)
            except OSError as err:
                if isinstance(err, StorageError) or err.errno not in _FULL:
                    raise
                done = self.ledger.finished()
                raise StorageError(
                    f"{self.where} could not be written any further ({err.strerror}): "
                    f"{int(done.sum())} of {done.size} pieces are finished and stay. Mend that "
                    "and call the same again."
                ) from err
        _complete(self.where)

    def _tasks(self, finished: Any) -> list[Any]:
        """Return delayed tasks for all pieces that are to be drawn; of a walk, the last one."""
        from dask.delayed import delayed

        fill, carrier = delayed(_fill, pure=False), chunking.sent(self.given)
        chained = self.plan.request.mode == "autoregressive"
        tile, columns = self.ledger.facts["tile"], finished.shape[1]
        state: Any = {}
        tasks: dict[int, Any] = {}
        for number, piece in enumerate(chunking.cut_pieces(self.plan, self.cut)):
            place = (number // columns, number % columns)
            state = {} if place[1] == 0 else state
            if finished[place]:
                following = place[1] + 1 < columns and not finished[place[0], place[1] + 1]
                state = self.ledger.recall(place) if chained and following else {}
                continue
            state = fill(
                carrier,
                chunking.make_job(self.plan, piece, tile),
                state if chained else {},
                chunking.read_past(self.plan, piece),
                *chunking.read_drivers(self.plan, piece.rows),
                store=self.where,
                place=place,
                piece=piece,
                walks=chained,
                dask_key_name=f"fill-{uuid.uuid4().hex}-{number}",
            )
            tasks[place[0] if chained else number] = state
        return list(tasks.values())


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO)


def _fill(
    given: Any,
    job: chunking.Job,
    state: Any,
    past: Any,
    *drivers: Any,
    store: Path,
    place: tuple[int, int],
    piece: chunking.Piece,
    walks: bool,
) -> Any:
    """Draw a piece, write it, and note that it is finished; return what it leaves behind."""
    import zarr

    fields, left = chunking.predict_labelled(given, job, state, past, *drivers)
    drawn = fields.to_dataset() if isinstance(fields, xr.DataArray) else fields
    root: Any = zarr.open_group(store, mode="r+", use_consolidated=False)
    for name, da in drawn.data_vars.items():
        spans = {"realization": piece.members, require_time(da, "The maps"): piece.days}
        root[str(name)][tuple(spans.get(str(dim), slice(None)) for dim in da.dims)] = da.values
    ledger = Ledger(store)
    if walks:
        ledger.keep(place, left)
    ledger.finish(place)
    if walks and place[1]:
        ledger.forget((place[0], place[1] - 1))
    return left if walks else None


def _compute(tasks: list[Any], ledger: Ledger, progress: bool) -> None:
    """Run tasks, here or on the cluster of the current client, and show how far they are."""
    import dask.base

    client = workers.client()
    with _progress(ledger, progress):
        if client is None:
            dask.base.compute(*tasks)
            return
        futures = client.compute(tasks)
        try:
            client.gather(futures)
        finally:
            client.cancel(futures)


@contextlib.contextmanager
def _progress(ledger: Ledger, shown: bool) -> Iterator[None]:
    """Show how many pieces are in the store, and the time that is left."""
    if not shown:
        yield
        return
    from tqdm.auto import tqdm

    done, over = ledger.finished(), threading.Event()
    bar = tqdm(total=done.size, initial=int(done.sum()), unit="piece", desc=ledger.store.name)

    def look() -> None:
        bar.update(int(ledger.finished().sum()) - bar.n)

    def watch() -> None:
        pause = _LOOK
        while not over.wait(pause):
            since = time.monotonic()
            look()
            pause = max(_LOOK, 20 * (time.monotonic() - since))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        look()
        bar.close()


def _complete(where: Path) -> None:
    """Say in the store that it is whole, and drop what only the run needed."""
    import zarr

    root = zarr.open_group(where, mode="r+", use_consolidated=False)
    if root.attrs.get("progress") != "complete":
        root.attrs["progress"] = "complete"
    shutil.rmtree(where / GROUP / "walk", ignore_errors=True)


def _check_space(folder: Path, needed: int) -> None:
    """Raise before any work if what is to be written does not fit."""
    free = None
    with contextlib.suppress(OSError):
        free = free_bytes(folder)
    if free is not None and needed > free:
        raise StorageError(
            f"{folder} has {free / 1e9:.3g} GB free, and the fields take {needed / 1e9:.3g} GB "
            "(without compression). Free some space, give another path, or ask for fewer days or "
            "realizations."
        )
