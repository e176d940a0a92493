"""Measure what planned stages cost, each kind on one of its batches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import torch

from xdownscale.config import TrainingConfig
from xdownscale.models.device import resolve_precision
from xdownscale.models.training.datasets import join
from xdownscale.models.training.optimizer import make_optimizer
from xdownscale.models.training.plan import CHECKED, PlannedStage, StageCost
from xdownscale.models.training.tasks import Task
from xdownscale.models.training.trainer import undisturbed

REPEATS = 2  # updates that are timed, after one that is not


def measure(
    stages: Sequence[PlannedStage], config: TrainingConfig, minutes: float | None, device: str
) -> list[StageCost]:
    """Return what stages cost on this machine, at most.

    Parameters
    ----------
    stages : sequence of PlannedStage
        Their networks are changed.
    config : TrainingConfig
        Options.
    minutes : float or None
        Time for the group.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    seconds: dict[str, float] = {}
    costs = []
    for stage in stages:
        task = stage.task
        if stage.kind not in seconds:
            seconds[stage.kind] = seconds_of_update(task, config, device)
        updates, checked = (
            _batches(len(items), task.batch, config.epoch_batches)
            for items in (task.training(0), task.stopping())
        )
        shared = max(updates // config.devices, 1)  # each device takes its part of the batches
        costs.append(
            StageCost(
                name=task.name,
                epochs=stage.epochs,
                updates=shared,
                seconds=seconds[stage.kind] * (1 + CHECKED * checked / max(updates, 1)),
                most=None if minutes is None else 60 * minutes * stage.share,
            )
        )
    return costs


def _batches(items: int, size: int, most: int | None) -> int:
    count = -(-items // size)
    return count if most is None else min(count, most)


def seconds_of_update(task: Task, config: TrainingConfig, device: str) -> float:
    """Return how long an update takes: to read a batch, its loss and gradient, and the step.

    Parameters
    ----------
    task : Task
        Its network is changed.
    config : TrainingConfig
        Options.
    device : str
        Where.
    """
    data: Any = task.training(0)
    items = list(range(min(task.batch, len(data))))
    mixed = resolve_precision(config.precision, device) == "bf16-mixed"
    precision = torch.autocast(device, torch.bfloat16) if mixed else contextlib.nullcontext()
    times = []
    with undisturbed():
        network = task.network.to(device).train()
        optimizer = make_optimizer(network, config)
        for _ in range(1 + REPEATS):
            started = time.perf_counter()
            batch = join([data[item] for item in items])
            batch = type(batch)(*(part.to(device) for part in batch))
            with precision:
                loss = task.loss(batch, torch.Generator().manual_seed(0))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            float(loss.detach())  # waits for a GPU
            times.append(time.perf_counter() - started)
        task.network.to("cpu")
    return min(times[1:])
