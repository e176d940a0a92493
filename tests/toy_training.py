"""A training of one weight, whose every step is known; shared by the tests of training."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import Dataset

from xdownscale.config import TrainingConfig
from xdownscale.models.training.datasets import CoarseBatch
from xdownscale.models.training.progress import Progress
from xdownscale.models.training.trainer import run_stage


class Days(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, day):
        one = torch.full((1, 1, 1, 1), float(day))
        return CoarseBatch(one, one, one.bool())


@dataclass
class Toy:
    """One weight; its loss is a slope, so that every step is known."""

    held_out: int = 1
    slope: float = 1.0
    name: str = "toy"
    stage: int = 9
    batch: int = 2

    def __post_init__(self):
        self.data = SimpleNamespace(is_in_memory=True)
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.batches, self.random = [], []

    def training(self, epoch):
        return Days(4)

    def stopping(self):
        return Days(self.held_out)

    def loss(self, batch, generator):
        if torch.is_grad_enabled():
            self.batches.append(batch.target.flatten().tolist())
            drawn = torch.rand((), generator=generator), torch.rand(())
            self.random.append(tuple(number.item() for number in drawn))
        return self.slope * self.network.weight.sum()


def run(task, store=None, minutes=None, epochs=3, progress=None, **options):
    options = {"optimizer": "adam", "weight_decay": 0.0, "ema_decay": 0.0} | options
    return run_stage(
        task,
        TrainingConfig(**options),
        epochs=epochs,
        minutes=minutes,
        seed=0,
        device="cpu",
        store=store,
        progress=progress or Progress(shown=False),
    )
