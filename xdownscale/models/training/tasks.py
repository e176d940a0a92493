"""The stages of training: what each learns, and the record of where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from xdownscale.config import DiffusionConfig, TrainingConfig
from xdownscale.models.diffusion.schedules import Schedule, add_noise
from xdownscale.models.networks.unet import Forecaster, Networks
from xdownscale.models.training.losses import masked_loss
from xdownscale.models.training.patch_dataset import (
    CoarseDay,
    CoarseDays,
    CoarseLesson,
    DayPatches,
    Patches,
    TrainingArrays,
)
from xdownscale.patches.layout import PatchLayout

PRETRAIN_BATCH = 32  # coarse images in a batch of stage 1: one is about as large as one patch


class Task(Protocol):
    """What a stage learns.

    Attributes
    ----------
    name : str
        Name of the stage, of its checkpoint and of its rows in the history.
    stage : int
        Number of the stage, a part of every random key.
    batch : int
        Days in a batch.
    """

    name: str
    stage: int
    batch: int

    @property
    def network(self) -> nn.Module:
        """Return what is trained."""
        ...

    def training(self, epoch: int) -> Dataset[Any]:
        """Return the days to learn from."""
        ...

    def stopping(self) -> Dataset[Any]:
        """Return the days held out for early stopping."""
        ...

    def loss(self, batch: Any, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch; `generator` is all its randomness."""
        ...


@dataclass
class Forecast:
    """Stage 1: forecast the coarse record one day ahead."""

    arrays: CoarseLesson
    network: Forecaster
    kind: str
    seed: int
    name: str = "pretrain"
    stage: int = 1
    batch: int = PRETRAIN_BATCH

    def training(self, epoch: int) -> CoarseDays:
        """Return the targets that are not held out."""
        chosen = np.flatnonzero(~np.asarray(self.arrays.coarse_stopping))
        return CoarseDays(self.arrays, chosen, self.seed, epoch)

    def stopping(self) -> CoarseDays:
        """Return the targets that are held out."""
        chosen = np.flatnonzero(np.asarray(self.arrays.coarse_stopping))
        return CoarseDays(self.arrays, chosen, self.seed, -1)

    def loss(self, batch: CoarseDay, generator: torch.Generator) -> Tensor:
        """Return the error of the forecast over the cells that are there."""
        return masked_loss(self.kind, self.network(batch.lags), batch.target, batch.valid)


@dataclass
class Denoise:
    """Stage 2: predict the clean fine field from a noisy one and what is known of the day."""

    arrays: TrainingArrays
    network: Networks
    config: DiffusionConfig
    schedule: Schedule
    layout: PatchLayout
    batch: int
    name: str = "denoise"
    stage: int = 2

    def __post_init__(self) -> None:
        rows = self.arrays
        self._training = DayPatches(rows, rows.train_targets, rows.train_lags, self.layout)
        self._stopping = DayPatches(rows, rows.stop_targets, rows.stop_lags, self.layout)

    def training(self, epoch: int) -> DayPatches:
        """Return the training days."""
        return self._training

    def stopping(self) -> DayPatches:
        """Return the days held out for early stopping."""
        return self._stopping

    def loss(self, batch: Patches, generator: torch.Generator) -> Tensor:
        """Return the error of the estimate of x_0 at random steps of the chain."""
        count, device = len(batch.target), batch.target.device
        # Steps are spread evenly over the chain and then shuffled: each is uniform, and the
        # loss of a batch is less noisy than with independent ones.
        order = torch.randperm(count, generator=generator)
        place = (order + torch.rand(count, generator=generator)) / count
        step = (place * self.schedule.steps).long().clamp(max=self.schedule.steps - 1)
        noise = torch.randn(batch.target.shape, generator=generator).to(device)
        noisy = add_noise(self.schedule, batch.target, noise, step)
        known = self.network.condition(
            batch.driver, batch.coarse_lags, batch.fine_lags, batch.constant
        )
        clean = self.network.denoiser(noisy, step.to(device), known)
        return masked_loss(self.config.loss, clean, batch.target, batch.valid)


@dataclass
class Record:
    """Where the training of a stage stands; together with the weights it is a checkpoint.

    Attributes
    ----------
    epoch : int
        Epochs that are over.
    history : dict
        Columns of the table of losses.
    best_loss : float
        Smallest loss on the held-out days.
    waited : int
        Epochs since then.
    seconds : float
        Time that was spent.
    updates : int
        Batches that were learnt from.
    done : bool
        True when the stage is over.
    best, average : dict of Tensor
        Weights at the smallest loss, and the moving average of the weights.
    weights, optimizer, plateau : dict
        State of the network, the optimiser and the learning rate's schedule.
    """

    epoch: int = 0
    history: dict[str, list[Any]] = field(
        default_factory=lambda: {
            name: [] for name in ("stage", "epoch", "train_loss", "val_loss", "lr", "seconds")
        }
    )
    best_loss: float = float("inf")
    waited: int = 0
    seconds: float = 0.0
    updates: int = 0
    done: bool = False
    best: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    plateau: dict[str, Any] = field(default_factory=dict)


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are learnt, by name; frozen ones are not among them.

    Examples
    --------
    >>> sorted(trainable(nn.Linear(2, 2)))
    ['bias', 'weight']
    """
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def make_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a network's trainable parameters.

    Examples
    --------
    >>> type(make_optimizer(nn.Linear(2, 2), TrainingConfig())).__name__
    'AdamW'
    """
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(
        trainable(network).values(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
