"""Models on their way to the processes that draw, and how those share the cores."""

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
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.io import serialization
from xdownscale.prediction import malloc

_PACKAGE = "xarray-downscale"
_KEPT = 4  # models that a process keeps
_known: OrderedDict[str, Fitted] = OrderedDict()
_lock = threading.RLock()


@dataclass(frozen=True)
class Ticket:
    """Names a model for a task in some process.

    Attributes
    ----------
    key : str
        What `archive.identity` says of the model.
    model : Fitted or None
        The model itself; None where a path travels.
    path : str or None
        File that holds it.
    """

    key: str
    model: Fitted | None
    path: str | None

    def __dask_tokenize__(self) -> str:
        return self.key


def ticket(fitted: Fitted, path: Path | None) -> Ticket:
    """Return a ticket for a model.

    Parameters
    ----------
    fitted : Fitted
        The model.
    path : Path or None
        File that it was read from or written to, unchanged since.
    """
    key = serialization.identity(fitted)
    _keep(key, fitted)
    if path is not None and path.is_file():
        return Ticket(key, None, str(path.absolute()))
    return Ticket(key, fitted, None)


def redeem(given: Ticket) -> Fitted:
    """Return the model that a ticket names; a process loads each once.

    Parameters
    ----------
    given : Ticket
        As it came with the task.

    Raises
    ------
    StorageError
        If the file is not to be seen from this process.
    ModelMismatchError
        If the file holds another model by now.
    """
    with _lock:
        if given.key in _known:
            _known.move_to_end(given.key)
            return _known[given.key]
        fitted = given.model or _read(given)
        _keep(given.key, fitted)
    return fitted


def _read(found: Ticket) -> Fitted:
    try:
        fitted = serialization.load(str(found.path))
    except StorageError as err:
        raise StorageError(
            f"The model file {found.path} cannot be read in this process: {err} Put it where all "
            "workers see it."
        ) from err
    if serialization.identity(fitted) != found.key:
        raise ModelMismatchError(
            f"{found.path} holds another model than when the prediction was asked for. Ask again, "
            "or put the old file back."
        )
    return fitted


def _keep(key: str, fitted: Fitted) -> None:
    with _lock:
        _known.setdefault(key, fitted)
        _known.move_to_end(key)
        while len(_known) > _KEPT:
            _known.popitem(last=False)


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


def check_workers(connected: Any) -> None:
    """Raise where workers cannot draw as this process does: they lack the package, or have another.

    Parameters
    ----------
    connected : Client
        Of dask.distributed.

    Raises
    ------
    ModelMismatchError
    """
    own = own_version()
    found = _versions(connected) if own is not None else {}
    off = [f"{name} has {v or 'none'}" for name, v in found.items() if v != own]
    if off:
        raise ModelMismatchError(
            f"{len(off)} of {len(found)} workers of the cluster have not the xarray-downscale "
            f"{own} of this process: {', '.join(off[:3])}. Install the same version everywhere."
        )


def packed(given: Ticket, connected: Any) -> Ticket:
    """Return a ticket that travels lightly: as a file, where all workers are on this machine.

    Parameters
    ----------
    given : Ticket
        As `ticket` returned it.
    connected : Client
        Of dask.distributed.
    """
    workers = connected.scheduler_info(n_workers=-1)["workers"]
    near = all(name.startswith(("inproc://", "tcp://127.0.0.1:")) for name in workers)
    if given.model is None or not near:
        return given
    path = _spool() / f"{given.key}.xd"
    if not path.exists():
        serialization.save(given.model, path)
    return Ticket(given.key, None, str(path))


@functools.cache
def _spool() -> Path:
    """Return a folder for models on their way, which goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="xdownscale-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def own_version() -> str | None:
    """Return the version of this package, None where it is not installed."""
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return None


def _versions(connected: Any) -> dict[str, str | None]:
    """Version of the package on every worker, None where it lacks; without those that are gone."""
    answers = connected.run(metadata.version, _PACKAGE, on_error="return")
    known = (str, metadata.PackageNotFoundError)
    said = {name: v for name, v in answers.items() if isinstance(v, known)}
    return {name: v if isinstance(v, str) else None for name, v in said.items()}


def neighbours() -> int:
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


def _take_gpu() -> None:
    """Have a cluster's worker use a GPU of its own, where nobody has chosen one for it."""
    import torch

    worker = _worker()
    if worker is None or "CUDA_VISIBLE_DEVICES" in os.environ or not torch.cuda.is_available():
        return
    name = str(worker.name)
    number = int(name) if name.isdigit() else zlib.crc32(name.encode())
    torch.cuda.set_device(number % torch.cuda.device_count())


@contextlib.contextmanager
def fair_share() -> Iterator[None]:
    """Let torch use this task's share of cores and memory meanwhile, and a worker its own GPU."""
    import torch

    _take_gpu()
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // neighbours()))
    try:
        with malloc.tidy():
            yield
    finally:
        torch.set_num_threads(before)
