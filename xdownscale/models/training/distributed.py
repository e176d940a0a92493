"""DDP: distributed training on several devices through Lightning. Imported late, by `trainer`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.multiprocessing.spawn import ProcessRaisedException

from xdownscale.config import FORKS, TrainingConfig
from xdownscale.core import errors
from xdownscale.core.errors import OptionError

# What torchrun, SLURM, Kubernetes and others tell the processes that they start. It is of no
# concern to processes that this one starts.
_OF_LAUNCHERS = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_USE_AGENT_STORE",
)


def is_forked(config: TrainingConfig, device: str) -> bool:
    """Tell whether training runs in processes forked from this one.

    Examples
    --------
    >>> is_forked(TrainingConfig(devices=2), "cpu"), is_forked(TrainingConfig(), "cpu")
    (True, False)
    """
    if config.devices == 1:
        return False
    return device == "cpu" if config.strategy == "auto" else config.strategy in FORKS


def strategy_of(config: TrainingConfig, device: str) -> Any:
    """Return Lightning's strategy for the devices of a training."""
    if config.devices == 1:
        return "auto"
    start = "fork" if is_forked(config, device) else "popen"
    return DDPStrategy(start_method=start)  # type: ignore[arg-type]


def environment_of(config: TrainingConfig, device: str) -> ClusterEnvironment:
    """Return who starts the processes that train together.

    That is this process, whatever job it belongs to: Lightning would look for variables of SLURM,
    torchrun, LSF and MPI, and take the size of the job for that of the training. Only under
    strategy ``"ddp"`` processes of torchrun or srun train together, if `config.devices` says so.

    Raises
    ------
    OptionError
        If torchrun or srun started another number of processes than shall train together.
    """
    if config.devices == 1 or is_forked(config, device):
        return LightningEnvironment()
    if torch.distributed.is_torchelastic_launched():
        _check_started("torchrun", int(os.environ["WORLD_SIZE"]), config.devices)
        return TorchElasticEnvironment()
    # set in the steps of srun, and not in the script of sbatch, which runs once
    if (tasks := int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))) > 1:
        _check_started("srun", tasks, config.devices)
        return SLURMEnvironment(auto_requeue=False)
    if "LOCAL_RANK" not in os.environ:  # else Lightning started this process, or the others
        for name in _OF_LAUNCHERS:
            os.environ.pop(name, None)
    return LightningEnvironment()


def _check_started(launcher: str, found: int, devices: int) -> None:
    """Raise unless a launcher started as many processes as shall train together."""
    if found != devices:
        raise OptionError(
            f"{launcher} started {found} processes, and training.devices is {devices} under "
            f"strategy 'ddp'. Give devices={found}, so that they train together, devices=1, so "
            f"that each trains for itself, or start the script without {launcher}."
        )


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
    """Hide other launchers from forked processes; raise their errors as the library's own.

    The environment is restored afterwards.
    """
    before = dict(os.environ)
    for name in _OF_LAUNCHERS:
        os.environ.pop(name, None)
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
