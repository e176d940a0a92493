"""DDP: distributed training on several devices through Lightning. Imported late, by `trainer`."""

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
    """Tell whether training runs in processes forked from this one.

    Examples
    --------
    >>> is_forked(TrainingConfig(devices=2), "cpu"), is_forked(TrainingConfig(), "cpu")
    (True, False)
    """
    if config.strategy == "auto":
        return config.devices > 1 and device == "cpu"
    return config.strategy in FORKS


def strategy_of(config: TrainingConfig, device: str) -> Any:
    """Return Lightning's strategy for the devices of a training."""
    if config.strategy == "auto" and config.devices == 1:
        return "auto"
    start = "fork" if is_forked(config, device) else "popen"
    return DDPStrategy(start_method=start)  # type: ignore[arg-type]


def shows_progress(forked: bool) -> bool:
    """Tell whether a progress bar can be seen: a fork of a notebook's kernel has no output.

    Examples
    --------
    >>> shows_progress(forked=False)
    True
    """
    return not (forked and "ipykernel" in sys.modules)


def training_share(count: int, rank: int, world: int) -> list[int]:
    """Return the training batches of one of several processes, equally many for each.

    Parameters
    ----------
    count : int
        Batches of the epoch; the last ones are left out where they cannot be shared evenly.
    rank, world : int
        Number of the process, and number of processes.

    Returns
    -------
    list of int
        All of them, where there are fewer than processes.

    Examples
    --------
    >>> [training_share(5, rank, 2) for rank in (0, 1)], training_share(1, 1, 2)
    ([[0, 2], [1, 3]], [0])
    """
    if count < world:
        return list(range(count))
    return list(range(rank, count // world * world, world))


def validation_share(count: int, rank: int, world: int) -> list[int | None]:
    """Return the validation batches of one of several processes; None where it only waits.

    Examples
    --------
    >>> [validation_share(3, rank, 2) for rank in (0, 1)], validation_share(1, 1, 2)
    ([[0, 2], [1, None]], [None])
    """
    turns = range(-(-count // world))
    return [n if n < count else None for n in (turn * world + rank for turn in turns)]


@contextlib.contextmanager
def forked_processes() -> Iterator[None]:
    """Restore the environment after forked processes; raise their errors as the library's own."""
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
