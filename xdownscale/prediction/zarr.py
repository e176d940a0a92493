"""Write predictions of any length to a Zarr store, piece by piece, and resume unfinished ones."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core import hashing, logs
from xdownscale.core.bars import open_bar
from xdownscale.core.coords import require_time
from xdownscale.core.errors import StorageError, TimeAxisError
from xdownscale.core.optional import installed_version
from xdownscale.core.storable import check_names, name_in_store
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.io import cf
from xdownscale.prediction import chunks as chunking
from xdownscale.prediction import workers
from xdownscale.prediction.manifest import GROUP, Manifest, exclusive, free_bytes, new_store
from xdownscale.prediction.plan import Plan
from xdownscale.prediction.predict import States, global_attrs, label, make_plan
from xdownscale.prediction.request import Request
from xdownscale.prediction.targets import Folder, Target, ZarrTarget, find_target

_LOG = logs.logger("predict_to_zarr")
_LOOK = 1.0  # seconds between two updates of the progress bar
_SPARE = 1.02  # times the bytes of the fields: metadata, and files that are rewritten
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO)


def write_store(
    fitted: Fitted,
    coarse: xr.DataArray | xr.Dataset,
    request: Request,
    store: Any,
    *,
    chunks: Any,
    shards: Any,
    storage_options: Mapping[str, Any] | None,
    path: Path | None,
    progress: bool,
) -> xr.Dataset:
    """Generate fields into a Zarr store; see `xdownscale.predict_to_zarr`.

    Parameters
    ----------
    fitted : Fitted
        The model.
    coarse, store, chunks, shards, storage_options, progress
        As for `xdownscale.predict_to_zarr`.
    request : Request
        What was asked for.
    path : Path or None
        File that holds the model, unchanged.
    """
    where = find_target(store, storage_options)
    _check_names(fitted)
    with logs.timed(_LOG, "request checked"):
        plan = make_plan(fitted, coarse, request)
    chunking.check_chunks(plan)
    run = _Run(plan, workers.refer_to(fitted, path), where)
    if (connected := workers.client()) is not None:
        workers.check_workers(connected)
        if isinstance(where, ZarrTarget) and not (where.shared() or workers.within(connected)):
            where.refuse_workers()
    with contextlib.ExitStack() as held:
        with logs.timed(_LOG, "store prepared"):
            run.prepare(chunks, shards, held)
        with logs.timed(_LOG, "store filled"):
            run.write(progress)
    return open_store(where)


def open_store(where: Target) -> xr.Dataset:
    """Open a store of `predict_to_zarr` lazily."""
    with where.reached():
        ds: xr.Dataset = xr.open_zarr(where.opened(), consolidated=False)
    cf.without_missing(ds)
    return ds


def _check_names(fitted: Fitted) -> None:
    """Raise where a model of an earlier version generates fields that a store cannot name."""
    for labels in fitted.targets:
        check_names(labels.name, labels.dims, labels.coords.variables, "The model's fine record")


def _named(fields: xr.DataArray | xr.Dataset, name: str) -> xr.Dataset:
    """Return fields as a Dataset; a single variable under the name that it has in the store."""
    return fields.to_dataset(name=name) if isinstance(fields, xr.DataArray) else fields


class _Run:
    """One call of `predict_to_zarr`: `prepare` the store, then `write` what it lacks."""

    def __init__(self, plan: Plan, reference: workers.ModelReference, where: Target) -> None:
        self.plan = plan
        self.reference = reference
        self.where = where
        fitted = plan.fitted
        self.name = name_in_store(fitted.labels.name, fitted.drivers[max(fitted.own[0], 0)])

    def prepare(self, chunks: Any, shards: Any, held: contextlib.ExitStack) -> None:
        """Create the store, or check that an existing one has the same request; and lock it.

        A folder that is created is locked throughout: no other process can come between.
        """
        if self.plan.order is not None:
            raise TimeAxisError(
                "The times asked for do not ascend, or one of them stands there twice; a store "
                "holds each once, ascending. Give time= sorted and without duplicates, and select "
                "from the store."
            )
        self.facts = self._facts()
        existed = self.where.exists()
        if not existed:
            self._create(chunks, shards, held)
        self.manifest = Manifest(self.where)
        if not _is_auto(chunks if shards is None else shards):
            sizes, inner = self._settle(chunks, shards)
            self.facts |= {"chunks": _listed(sizes), "within": inner}
        self.manifest.check(self.facts)
        count = (self.plan.request.realizations, self.plan.targets.size)
        self.manifest.check_pieces(_variables(self._empty(count)), count)
        steps, members = self.manifest.facts["chunks"]
        self.sizes = {"time": tuple(steps), "realization": tuple(members)}
        if existed and isinstance(self.where, Folder):
            held.enter_context(exclusive(self.where.path))

    def _settle(self, chunks: Any, shards: Any) -> tuple[chunking.ChunkSizes, Any]:
        """Return the pieces, and the chunks within them where they are shards."""
        if shards is None:
            return chunking.settle_chunks(self.plan, chunks), None
        sizes = chunking.settle_chunks(self.plan, shards, "shards")
        return sizes, chunking.settle_inner(self.plan, chunks, sizes)

    def _create(self, chunks: Any, shards: Any, held: contextlib.ExitStack) -> None:
        """Write a store without fields."""
        sizes, inner = self._settle(chunks, shards)
        facts = self.facts | {"chunks": _listed(sizes), "within": inner}
        facts["tile"] = chunking.settle_tile(self.plan)
        shape = (len(sizes["realization"]), len(sizes["time"]))

        def fill(where: Target) -> None:
            facts["variables"] = self._write_template(where, sizes, inner)
            Manifest.create(where, facts, shape)

        if isinstance(self.where, Folder):
            path = self.where.path
            _check_space(path.parent, self._bytes(np.zeros(shape, bool), sizes))
            held.enter_context(new_store(path, lambda folder: fill(Folder(folder))))
        else:
            with self.where.reached():
                fill(self.where)

    def _facts(self) -> dict[str, Any]:
        plan = self.plan
        request = plan.request
        arrays = [driver.array for driver in plan.drivers]
        past = None
        if request.history is not None:
            past = hashing.fingerprint(plan.history_record.keys, plan.history_record.array)
        return {
            "version": installed_version("xarray-downscale") or "unknown",
            "model": self.reference.key,
            "driver": hashing.fingerprint(plan.keys, *arrays),
            "days": hashing.fingerprint(plan.keys[plan.targets]),
            "seed": request.seed,
            "mode": request.mode,
            "stitching": request.stitching,
            "realizations": request.realizations,
            "history": past,
        }

    def _bytes(self, finished: Any, sizes: chunking.ChunkSizes) -> int:
        """Return the bytes of the fields that are yet to be written."""
        fields = np.outer(sizes["realization"], sizes["time"])[~finished].sum()
        cells = len(self.plan.fitted.targets) * np.prod(self.plan.fitted.carried.shape[1:])
        return int(_SPARE * 4 * fields * cells)

    def _write_template(
        self, where: Target, sizes: chunking.ChunkSizes, inner: Mapping[str, int] | None
    ) -> dict[str, Any]:
        """Write everything but the fields; return which dimensions of them pieces divide."""
        plan = self.plan
        ds = self._empty((sizes["realization"][0], sizes["time"][0]))
        step = plan.fitted.about.step
        lines = f"{cf.now()} xdownscale {plan.fitted.about.version} predict_to_zarr"
        full = cf.comply(
            ds,
            step,
            **global_attrs(plan),
            history=lines,
            progress="incomplete",
        )
        encoding: dict[str, Any] = {
            str(name): {"_FillValue": np.float32(np.nan), **_sharding(da, inner)}
            for name, da in ds.data_vars.items()
        }
        # mode "w" would replace the folder, and with it the lock
        full.to_zarr(
            where.opened(),
            mode="w-",
            compute=False,
            encoding=encoding,
            zarr_format=3,
            consolidated=False,
        )
        return _variables(ds)

    def _empty(self, chunks: tuple[int, int]) -> xr.Dataset:
        """Return lazy fields without values, in pieces of so many realizations and times."""
        import dask.array

        plan = self.plan
        ny, nx = plan.fitted.carried.shape[1:]
        count = len(plan.fitted.targets)
        shape = (plan.request.realizations, plan.targets.size, count, ny, nx)
        empty = dask.array.empty(shape, chunks=(*chunks, 1, ny, nx), dtype=np.float32)
        return _named(label(plan, empty), self.name)

    def write(self, progress: bool) -> None:
        """Generate and write the pieces that are not finished, or were lost since."""
        self.manifest.check_metadata()
        try:
            finished = self._take_stock()
            self.manifest.remove_partial_files()
            _LOG.info("%d of %d pieces are to be generated", (~finished).sum(), finished.size)
            if not finished.all():
                if isinstance(self.where, Folder):
                    _check_space(self.where.path, self._bytes(finished, self.sizes))
                _compute(self._tasks(finished), self.manifest, progress)
        except OSError as err:
            if isinstance(err, StorageError) or err.errno not in _FULL:
                raise
            done = self.manifest.finished()
            raise StorageError(
                f"{self.where.name} could not be written any further ({err.strerror}): "
                f"{int(done.sum())} of {done.size} pieces are finished and stay. Mend that "
                "and call the same again."
            ) from err
        _mark_complete(self.where)

    def _take_stock(self) -> npt.NDArray[np.bool_]:
        """Return which pieces are finished and as they were written; forget those that are not."""
        finished = self.manifest.finished()
        lost = self.manifest.lost(finished)
        if self.plan.request.mode == "autoregressive":
            lost = _with_those_before(self._saved_state, finished, lost)
        if lost.any():
            _note_loss(self.where, int(lost.sum()), finished.size)
            self.manifest.forget(lost)
        return finished & ~lost

    def _tasks(self, finished: Any) -> list[Any]:
        """Return delayed tasks for all unfinished pieces.

        In autoregressive mode each task depends on the one before it of the same realizations:
        the last one before a finished piece stands for all.
        """
        from dask.delayed import delayed

        fill = delayed(_fill, pure=False)
        model = chunking.delayed_model(self.reference)
        chained = self.plan.request.mode == "autoregressive"
        columns = finished.shape[1]
        state: Any = {}
        tasks: dict[int, Any] = {}
        start = 0  # number of the piece that a run begins with
        pieces = chunking.cut_pieces(self.plan, self.sizes, self.manifest.facts["tile"])
        for number, piece in enumerate(pieces):
            index = (number // columns, number % columns)
            state = {} if index[1] == 0 else state
            if finished[index]:
                continued = index[1] + 1 < columns and not finished[index[0], index[1] + 1]
                state = self._state_after(index) if chained and continued else {}
                start = number + 1
                continue
            start = start if chained and index[1] else number
            state = fill(
                model,
                piece,
                state if chained else {},
                chunking.read_past(self.plan, piece),
                *chunking.read_drivers(self.plan, piece.rows),
                store=self.where,
                name=self.name,
                index=index,
                chained=chained,
                dask_key_name=f"fill-{uuid.uuid4().hex}-{number}",
            )
            tasks[start] = state
        return list(tasks.values())

    def _saved_state(self, index: tuple[int, int]) -> States | None:
        """Return the state after a finished piece; None where it is missing, damaged or misfits."""
        state = self.manifest.load_state(index)
        fitted = self.plan.fitted
        count = (self.sizes["realization"][index[0]], self.plan.fine_lags)
        wanted = {
            model.group.region: (*count, *fitted.carried.isel(time=0)[model.group.window].shape)
            for model in fitted.models.values()
        }
        found = None if state is None else {name: part.lags.shape for name, part in state.items()}
        return state if found == wanted else None

    def _state_after(self, index: tuple[int, int]) -> States:
        state = self._saved_state(index)
        if state is None:  # it was there a moment ago
            raise StorageError(
                f"Threads of a call that was interrupted are still filling {self.where.name}. "
                "Wait a minute and call the same again: what they finish is kept."
            )
        return state


def _variables(fields: xr.Dataset) -> dict[str, Any]:
    """Return which dimensions of each variable pieces divide."""
    return {str(name): _divided(da) for name, da in fields.data_vars.items()}


def _divided(da: xr.DataArray) -> list[int | None]:
    """Return for each dimension of fields which index of a piece counts there, if any."""
    index = {"realization": 0, require_time(da, "The maps"): 1}
    return [index.get(str(dim)) for dim in da.dims]


def _with_those_before(
    saved_state: Callable[[tuple[int, int]], States | None],
    finished: npt.NDArray[np.bool_],
    lost: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Return the pieces of autoregressive runs that have to be generated again.

    A piece that was lost needs the state before it, which was deleted once it was continued: its
    run begins anew. So does one whose last state is lost.
    """
    ends = finished & ~np.pad(finished, ((0, 0), (0, 1)), constant_values=True)[:, 1:]
    found = lost.copy()
    for row, column in np.argwhere(ends):
        found[row, column] |= saved_state((int(row), int(column))) is None
    for row, column in np.argwhere(found):
        found[row, : column + 1] = finished[row, : column + 1]
    return found


def _is_auto(asked: Any) -> bool:
    return isinstance(asked, str) and asked == "auto"


def _sharding(da: xr.DataArray, inner: Mapping[str, int] | None) -> dict[str, Any]:
    """Return the encoding of a variable in pieces: each of them a shard of smaller chunks."""
    if inner is None:
        return {}
    time = require_time(da, "The maps")
    chunks = [inner["time" if dim == time else str(dim)] for dim in da.dims]
    pieces = [sizes[0] for sizes in da.chunks or ()]
    # a shard holds whole chunks, beyond the edge of the map too
    shards = [-(-piece // size) * size for piece, size in zip(pieces, chunks, strict=True)]
    return {"chunks": tuple(chunks), "shards": tuple(shards)}


def _note_loss(where: Target, count: int, total: int) -> None:
    """Write into a store that it is incomplete again, and why."""
    said = f"{cf.now()} {count} of {total} pieces were missing or altered and are generated again"
    with where.reached():
        root = _root(where)
        before = root.attrs.get("history")
        root.attrs["history"] = f"{before}\n{said}" if isinstance(before, str) else said
        root.attrs["progress"] = "incomplete"


def _root(where: Target) -> Any:
    import zarr

    return zarr.open_group(where.opened(), mode="r+", use_consolidated=False)


def _listed(sizes: chunking.ChunkSizes) -> list[list[int]]:
    """Return chunk sizes as the manifest has them: along time, then along realizations."""
    return [list(sizes["time"]), list(sizes["realization"])]


def _fill(
    reference: Any,
    piece: chunking.Piece,
    state: Any,
    past: Any,
    *drivers: Any,
    store: Target,
    name: str,
    index: tuple[int, int],
    chained: bool,
) -> Any:
    """Generate a piece, write it, and mark it as finished; return the state after it."""
    said = f"piece {index[0]}, {index[1]}"
    with logs.timed(_LOG, f"{said} generated"):
        fields, state = chunking.predict_labelled(reference, piece, state, past, *drivers)
    with logs.timed(_LOG, f"{said} written"):
        _write_piece(fields, piece, store, name)
    manifest = Manifest(store)
    # state first: a finished piece is never generated again, and the next one needs its state
    if chained:
        manifest.save_state(index, state)
    manifest.mark_finished(index)
    if chained and index[1]:
        manifest.drop_state((index[0], index[1] - 1))
    return state if chained else None


def _write_piece(
    fields: xr.DataArray | xr.Dataset, piece: chunking.Piece, store: Target, name: str
) -> None:
    """Write the fields of a piece into their places of the store."""
    named = _named(fields, name).load()
    with store.reached():
        root = _root(store)
        for variable, da in named.data_vars.items():
            spans = {"realization": piece.members, require_time(da, "The maps"): piece.steps}
            place = tuple(spans.get(str(dim), slice(None)) for dim in da.dims)
            root[str(variable)][place] = da.values


def _compute(tasks: list[Any], manifest: Manifest, progress: bool) -> None:
    """Run tasks, here or on the cluster of the current client, with a progress bar."""
    import dask.base

    client = workers.client()
    with _progress(manifest, progress):
        if client is None:
            dask.base.compute(*tasks)
            return
        futures = client.compute(tasks)
        try:
            with workers.waiting():
                client.gather(futures)
        finally:
            client.cancel(futures)


@contextlib.contextmanager
def _progress(manifest: Manifest, shown: bool) -> Iterator[None]:
    """Show how many pieces are in the store, and the time that is left."""
    if not shown:
        yield
        return
    done = manifest.finished()
    over = threading.Event()
    bar = open_bar(
        done.size, initial=int(done.sum()), unit="piece", desc=_short_name(manifest.store)
    )
    if bar is None:
        yield
        return

    def look() -> None:
        bar.update(int(manifest.finished().sum()) - bar.n)

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


def _short_name(where: Target) -> str:
    return where.path.name if isinstance(where, Folder) else where.name


def _mark_complete(where: Target) -> None:
    """Mark the store as complete, and delete the rollout states."""
    with where.reached():
        root = _root(where)
        if root.attrs.get("progress") != "complete":
            root.attrs["progress"] = "complete"
    where.remove_below(f"{GROUP}/walk")


def _check_space(folder: Path, needed: int) -> None:
    """Raise before any work if the fields do not fit on the disk."""
    free = None
    with contextlib.suppress(OSError):
        free = free_bytes(folder)
    if free is not None and needed > free:
        raise StorageError(
            f"{folder} has {free / 1e9:.3g} GB free, and the fields take {needed / 1e9:.3g} GB "
            "(without compression). Free some space, give another path, or ask for fewer days or "
            "realizations."
        )
