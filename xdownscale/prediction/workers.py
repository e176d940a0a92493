"""Ship a model to dask workers, and share CPU threads, memory and GPUs between tasks."""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import shutil
import tempfile
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from xdownscale.core.errors import ModelMismatchError, StorageError
from xdownscale.core.optional import installed_version
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.io import serialization
from xdownscale.prediction import malloc

_PACKAGE = "xarray-downscale"
_CACHED = 4  # models that a process keeps
_models: OrderedDict[str, Fitted] = OrderedDict()
_lock = threading.RLock()


@dataclass(frozen=True)
class ModelReference:
    """A model as dask tasks refer to it: the model itself, or the path of its file.

    Attributes
    ----------
    key : str
        Hash that `serialization.identity` gives the model.
    model : Fitted or None
        The model itself; None where its file is read.
    path : str or None
        File that holds it.
    """

    key: str
    model: Fitted | None
    path: str | None

    def __dask_tokenize__(self) -> str:
        return self.key


def refer_to(fitted: Fitted, path: Path | None) -> ModelReference:
    """Return a reference to a model, by its file where there is one.

    Parameters
    ----------
    fitted : Fitted
        The model.
    path : Path or None
        File that it was read from or written to, unchanged since.
    """
    key = serialization.identity(fitted)
    _cache(key, fitted)
    if path is not None and path.is_file():
        return ModelReference(key, None, str(path.absolute()))
    return ModelReference(key, fitted, None)


def load_model(reference: ModelReference) -> Fitted:
    """Return the model behind a reference; each process loads it once.

    Parameters
    ----------
    reference : ModelReference
        As it came with the task.

    Raises
    ------
    StorageError
        If the file cannot be read from this process.
    ModelMismatchError
        If the file holds another model by now.
    """
    with _lock:
        if reference.key in _models:
            _models.move_to_end(reference.key)
            return _models[reference.key]
        fitted = reference.model or _read(reference)
        _cache(reference.key, fitted)
    return fitted


def _read(reference: ModelReference) -> Fitted:
    try:
        fitted = serialization.load(str(reference.path))
    except StorageError as err:
        raise StorageError(
            f"The model file {reference.path} cannot be read in this process: {err} Put it where "
            "all workers see it."
        ) from err
    if serialization.identity(fitted) != reference.key:
        raise ModelMismatchError(
            f"{reference.path} holds another model than when the prediction was asked for. Ask "
            "again, or put the old file back."
        )
    return fitted


def _cache(key: str, fitted: Fitted) -> None:
    with _lock:
        _models.setdefault(key, fitted)
        _models.move_to_end(key)
        while len(_models) > _CACHED:
            _models.popitem(last=False)


def client() -> Any:
    """Return the current client of dask.distributed, or None."""
    try:
        from distributed import get_client
    except ImportError:
        return None
    try:
        return get_client()
    except ValueError:
        return None


def within(connected: Any) -> bool:
    """Tell whether all workers of a client are threads of this process."""
    found = connected.run(os.getpid)
    return set(found.values()) == {os.getpid()}


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Leave the thread of a worker to other tasks while the task that runs in it waits for them."""
    if _worker() is None:
        yield
        return
    from distributed import rejoin, secede

    secede()
    try:
        yield
    finally:
        rejoin()


def check_workers(connected: Any) -> None:
    """Raise where workers lack the package, or have another version of it.

    Parameters
    ----------
    connected : Client
        Of dask.distributed.

    Raises
    ------
    ModelMismatchError
    """
    own = installed_version(_PACKAGE)
    found = _versions(connected) if own is not None else {}
    off = [f"{name} has {v or 'none'}" for name, v in found.items() if v != own]
    if off:
        raise ModelMismatchError(
            f"{len(off)} of {len(found)} workers of the cluster have not the xarray-downscale "
            f"{own} of this process: {', '.join(off[:3])}. Install the same version everywhere."
        )


def by_file(reference: ModelReference, connected: Any) -> ModelReference:
    """Write the model to a temporary file, where all workers run on this machine.

    A path is much cheaper to send than the weights.

    Parameters
    ----------
    reference : ModelReference
        As `refer_to` returned it.
    connected : Client
        Of dask.distributed.
    """
    workers = connected.scheduler_info(n_workers=-1)["workers"]
    local = all(name.startswith(("inproc://", "tcp://127.0.0.1:")) for name in workers)
    if reference.model is None or not local:
        return reference
    path = _temporary_folder() / f"{reference.key}.xd"
    if not path.exists():
        serialization.save(reference.model, path)
    return ModelReference(reference.key, None, str(path))


@functools.cache
def _temporary_folder() -> Path:
    """Return a folder for model files, removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="xdownscale-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _versions(connected: Any) -> dict[str, str | None]:
    """Return the package version of every reachable worker; None where it is not installed."""
    answers = connected.run(metadata.version, _PACKAGE, on_error="return")
    known = (str, metadata.PackageNotFoundError)
    said = {name: v for name, v in answers.items() if isinstance(v, known)}
    return {name: v if isinstance(v, str) else None for name, v in said.items()}


def tasks_in_process() -> int:
    """Return how many tasks may run in this process at once, this one included."""
    worker = _worker()
    if worker is not None:
        from distributed import Worker

        return sum(other.state.nthreads for other in Worker._instances)
    if threading.current_thread() is threading.main_thread():
        # of a process pool each process is one of as many as there are cores
        return 1 if multiprocessing.parent_process() is None else cores()
    import dask

    return int(dask.config.get("num_workers", None) or cores())


def _worker() -> Any:
    try:
        from distributed import get_worker
    except ImportError:
        return None
    try:
        return get_worker()
    except ValueError:
        return None


def cores() -> int:
    """Return how many cores dask may use here."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def _choose_gpu() -> None:
    """Choose a GPU for a cluster's worker, unless CUDA_VISIBLE_DEVICES has chosen one."""
    import torch

    worker = _worker()
    if worker is None or "CUDA_VISIBLE_DEVICES" in os.environ or not torch.cuda.is_available():
        return
    name = str(worker.name)
    number = int(name) if name.isdigit() else zlib.crc32(name.encode())
    torch.cuda.set_device(number % torch.cuda.device_count())


@contextlib.contextmanager
def shared_resources(networks: bool = True) -> Iterator[None]:
    """Limit torch to this task's share of CPU threads; tune malloc and choose a worker's GPU.

    Parameters
    ----------
    networks : bool
        Whether torch is used at all; without networks it need not be installed.
    """
    if not networks:
        with malloc.tuned():
            yield
        return
    _choose_gpu()
    with _share_of_threads(), malloc.tuned():
        yield


_sharing: list[int] = []  # for each task that runs: threads of torch before the first of them


@contextlib.contextmanager
def _share_of_threads() -> Iterator[None]:
    """Limit torch's threads while tasks run; each restores what was before the first of them.

    A number is kept for the process, which new threads begin with, and one for each thread that
    has used torch: a task that begins beside others must not take their share for what was before.
    """
    import torch

    with _lock:
        before = _sharing[0] if _sharing else torch.get_num_threads()
        _sharing.append(before)
        torch.set_num_threads(max(1, before // tasks_in_process()))
    try:
        yield
    finally:
        with _lock:
            _sharing.pop()
            torch.set_num_threads(before)
