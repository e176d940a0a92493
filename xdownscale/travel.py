"""Models on their way to the processes that draw, and how those share the cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdownscale import archive
from xdownscale.errors import ModelMismatchError, StorageError
from xdownscale.groups import Fitted

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
    key = archive.identity(fitted)
    _keep(key, fitted)
    if path is not None and path.is_file():
        return Ticket(key, None, str(path.absolute()))
    return Ticket(key, fitted, None)


def redeem(given: Any) -> Fitted:
    """Return the model that a ticket names; a process loads each once.

    Parameters
    ----------
    given : Ticket, or future of one
        As it came with the task.

    Raises
    ------
    StorageError
        If the file is not to be seen from this process.
    ModelMismatchError
        If the file holds another model by now.
    """
    found: Ticket = given if isinstance(given, Ticket) else given.result()
    with _lock:
        if found.key in _known:
            _known.move_to_end(found.key)
            return _known[found.key]
        fitted = found.model or _read(found)
        _keep(found.key, fitted)
    return fitted


def _read(found: Ticket) -> Fitted:
    try:
        fitted = archive.load(str(found.path))
    except StorageError as err:
        raise StorageError(
            f"The model file {found.path} cannot be read in this process: {err} Put it where all "
            "workers see it."
        ) from err
    if archive.identity(fitted) != found.key:
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


@contextlib.contextmanager
def fair_share() -> Iterator[None]:
    """Let torch use this task's share of the cores, and no more, meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // neighbours()))
    try:
        yield
    finally:
        torch.set_num_threads(before)
