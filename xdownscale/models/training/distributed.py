"""Several devices that learn together, through Lightning. Imported late, as `loop` is."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from lightning.pytorch.strategies import DDPStrategy
from torch.multiprocessing.spawn import ProcessRaisedException

from xdownscale.config import FORKS, TrainingConfig
from xdownscale.core import errors


def is_forked(config: TrainingConfig, device: str) -> bool:
    """Tell whether training runs in copies of this process.

    Examples
    --------
    >>> is_forked(TrainingConfig(devices=2), "cpu"), is_forked(TrainingConfig(), "cpu")
    (True, False)
    """
    if config.strategy == "auto":
        return config.devices > 1 and device == "cpu"
    return config.strategy in FORKS


def strategy_of(config: TrainingConfig, device: str) -> Any:
    """Return what Lightning is to do with several devices."""
    if config.strategy == "auto" and config.devices == 1:
        return "auto"
    start = "fork" if is_forked(config, device) else "popen"
    return DDPStrategy(start_method=start)  # type: ignore[arg-type]


def is_heard(forked: bool) -> bool:
    """Tell whether a progress bar is seen: what a copy of a notebook's kernel shows goes nowhere.

    Examples
    --------
    >>> is_heard(forked=False)
    True
    """
    return not (forked and "ipykernel" in sys.modules)


def share(count: int, rank: int, world: int) -> list[int]:
    """Return which of an epoch's batches one of several processes takes, all equally many.

    Parameters
    ----------
    count : int
        Batches of the epoch; the last ones are left out where they cannot be shared evenly.
    rank, world : int
        Number of the process, and of processes.

    Returns
    -------
    list of int
        All of them, where there are fewer than processes.

    Examples
    --------
    >>> share(5, 0, 2), share(5, 1, 2), share(1, 1, 2)
    ([0, 2], [1, 3], [0])
    """
    if count < world:
        return list(range(count))
    return list(range(rank, count // world * world, world))


def judged(count: int, rank: int, world: int) -> list[int | None]:
    """Return which held-out batches one of several processes judges; None where it only waits.

    Examples
    --------
    >>> judged(3, 0, 2), judged(3, 1, 2), judged(1, 1, 2)
    ([0, 2], [1, None], [None])
    """
    turns = range(-(-count // world))
    return [n if n < count else None for n in (turn * world + rank for turn in turns)]


@contextlib.contextmanager
def copies() -> Iterator[None]:
    """Run what forks: the environment stays as it was, errors of copies are the library's own."""
    before = dict(os.environ)
    try:
        yield
    except ProcessRaisedException as err:
        found = re.search(
            r"^xdownscale\.core\.errors\.(\w+): (.*)", str(err), re.MULTILINE | re.DOTALL
        )
        if found is None:
            raise
        raise getattr(errors, found[1])(found[2].strip()) from err
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
