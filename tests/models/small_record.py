"""The small record, and a training of it that can be killed: also run as a script."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from xdownscale.config import DownscalerConfig, preset
from xdownscale.models import engine
from xdownscale.models.training import patch_dataset

LAGS = 2


def small_arrays(ny: int = 12, nx: int = 16, days: int = 12) -> patch_dataset.TrainingArrays:
    rng = np.random.default_rng(1)
    fine = rng.normal(size=(days, ny, nx))
    for axis in (1, 2):
        fine = fine + np.roll(fine, 1, axis)
    for day in range(1, days):
        fine[day] += 0.8 * fine[day - 1]
    fine = (fine / np.abs(fine).max()).astype(np.float32)
    coarse = fine.reshape(days, ny // 4, 4, nx // 4, 4).mean((2, 4))
    driver = coarse.repeat(4, axis=1).repeat(4, axis=2)
    targets = np.arange(LAGS, days)
    lags = targets[:, None] + np.arange(-LAGS, 0)
    stop = targets >= days - 3
    return patch_dataset.TrainingArrays(
        coarse=coarse,
        coarse_targets=targets,
        coarse_lags=lags,
        coarse_stopping=stop,
        driver=driver,
        fine=fine,
        static=rng.normal(size=(2, ny, nx)).astype(np.float32),
        calendar=rng.normal(size=(days, 3)).astype(np.float32),
        train_targets=targets[~stop],
        train_lags=lags[~stop],
        stop_targets=targets[stop],
        stop_lags=lags[stop],
        mask=np.ones((ny, nx), bool),
    )


def small_config() -> DownscalerConfig:
    return preset(
        "paper",
        data={"lags": LAGS, "patch_size": 8, "patch_stride": 4},
        network={"channels": (8, 16), "encoder_channels": (8, 8), "dropout": 0.2},
        training={"epochs": 4, "pretrain_epochs": 3, "plateau_patience": 1, "plateau_factor": 0.9},
        sampling={"steps": 4, "size": 8, "stride": 4, "halo": 1, "batch_size": 7},
    )


def killed_training(folder: str, stage: str, epoch: int, moment: str) -> None:
    """Train, and end by SIGKILL at an epoch: in its midst, or while its checkpoint is written."""
    import torch

    from xdownscale.models.training.tasks import Denoise, Forecast

    torch.set_num_threads(1)
    kind = {"pretrain": Forecast, "denoise": Denoise}[stage]
    loss, replace, epochs = kind.loss, Path.replace, {"begun": 0, "closed": 0}

    def dying_loss(self, batch, generator):
        if torch.is_grad_enabled() and epochs["closed"] == epoch - 1 and moment == "midst":
            epochs["begun"] += 1
            if epochs["begun"] == (2 if stage == "denoise" else 1):
                os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, batch, generator)

    def dying_replace(self, target):
        if self.stem == stage:
            epochs["closed"] += 1
            if epochs["closed"] == epoch and moment == "writing":
                os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    kind.loss, Path.replace = dying_loss, dying_replace
    engine.train(
        small_arrays(), small_config(), seed=3, device="cpu", checkpoint_dir=folder, progress=False
    )


if __name__ == "__main__":
    killed_training(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
