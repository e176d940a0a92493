"""Stages of a training, each with its share of the time and its checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xdownscale.config import DownscalerConfig
from xdownscale.core import logs
from xdownscale.core.errors import DataError
from xdownscale.models.networks.forecasters import kept_weights
from xdownscale.models.networks.unet import Forecaster
from xdownscale.models.networks.weights import fill, seeded
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.data import Floats, TrainingData
from xdownscale.models.training.plan import PlannedStage
from xdownscale.models.training.run import TrainingRun
from xdownscale.models.training.tasks import Forecast, Task
from xdownscale.models.training.trainer import run_stage

History = dict[str, list[Any]]
_LOG = logs.logger("fit")
PRETRAIN_SHARE = 0.15  # of max_minutes


class Stages:
    """Runs the stages of one training, and collects their losses.

    Parameters
    ----------
    run : TrainingRun
        Options.
    data : TrainingData
        What to train on.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    store : Checkpoints or None
        Where checkpoints are.

    Attributes
    ----------
    histories : list of dict
        Losses of the finished stages.
    forecaster : dict of ndarray
        What a state keeps of the forecaster that `pretrain` trained, under ``forecaster. ...``;
        empty where it trained none.
    """

    def __init__(
        self, run: TrainingRun, data: TrainingData, device: str, store: Checkpoints | None
    ) -> None:
        self.run = run
        self.data = data
        self.device = device
        self.store = store
        self.histories: list[History] = []
        self.forecaster: dict[str, Floats] = {}

    def train(self, task: Task, share: float, epochs: int | None = None) -> None:
        """Train one stage.

        Parameters
        ----------
        task : Task
            What is minimised; its network is changed.
        share : float
            Part of the time for this group.
        epochs : int, optional
            Most epochs; by default ``training.epochs``.
        """
        training = self.run.config.training
        self.run.progress.stage(task.name)
        with logs.timed(_LOG, f"stage {task.name!r} trained"):
            history = run_stage(
                task,
                training,
                epochs=epochs or training.epochs,
                minutes=self.run.share_of_time(share),
                seed=self.run.seed,
                device=self.device,
                store=self.store,
                progress=self.run.progress,
            )
        _LOG.debug("stage %r: %d epochs", task.name, len(history["epoch"]))
        self.histories.append(history)

    def pretrain(self, encoder: nn.Module) -> None:
        """Pretrain the encoder to forecast the coarse record, or take its weights from a model.

        Raises
        ------
        ModelFormatError
            If given weights do not fit the configuration.
        """
        if self.run.encoder is not None:
            fill(encoder, self.run.encoder, "encoder.")
            return
        task = self._forecast()
        self.train(task, PRETRAIN_SHARE, self.run.config.training.pretrain_epochs)
        encoder.load_state_dict(task.network.encoder.state_dict())
        self.forecaster = as_arrays(kept_weights(task.network, self.run.config.network))

    def _forecast(self) -> Forecast:
        run = self.run
        config = run.config
        drivers = self.data.sizes.drivers
        forecaster = seeded(Forecaster, run.seed, 1, config.data.lags, config.network, drivers)
        return Forecast(self.data, forecaster, config.diffusion.loss, run.seed)

    def planned_pretraining(self) -> list[PlannedStage]:
        """Return what `pretrain` will train; nothing where it takes the weights from a model."""
        if self.run.encoder is not None:
            return []
        epochs = self.run.config.training.pretrain_epochs
        task = self._forecast()
        return [PlannedStage(task=task, epochs=epochs, share=PRETRAIN_SHARE, kind="pretrain")]

    def history(self) -> dict[str, NDArray[Any]]:
        """Return the losses of all stages, one row for each epoch.

        Columns ``stage``, ``epoch``, ``train_loss``, ``val_loss``, ``lr``, ``seconds`` (since the
        stage began), and those that one of the tasks measures; NaN in the rows of other tasks.
        """
        names = {name: None for part in self.histories for name in part}
        rows: History = {name: [] for name in names}
        for part in self.histories:
            count = len(part["epoch"])
            for name, column in rows.items():
                column.extend(part.get(name, [float("nan")] * count))
        return {name: np.array(column) for name, column in rows.items()}


def check_targets(data: TrainingData, config: DownscalerConfig) -> None:
    """Raise if there is no time step to train on."""
    counts = {"train_targets": len(data.train_targets)}
    if config.network.encoder != "none":
        counts["coarse_targets"] = int((~np.asarray(data.coarse_stopping)).sum())
    for name, count in counts.items():
        if count < 1:
            raise DataError(
                f"No time step to train on: {name} has none. Give a longer record or fewer lags."
            )


def training_fingerprint(
    data: TrainingData, config: DownscalerConfig, seed: int, fingerprint: str
) -> str:
    """Return a hash of what the weights depend on: options, shapes, rows, seed, data."""
    tree = config.to_dict()
    del tree["sampling"]
    shapes = [list(getattr(data, name).shape) for name in ("coarse", "driver", "fine", "static")]
    text = json.dumps([tree, shapes, seed, fingerprint], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for rows in (data.coarse_targets, data.train_targets, data.stop_targets):
        digest.update(np.asarray(rows, dtype=np.int64).tobytes())
    return digest.hexdigest()


def as_arrays(weights: Mapping[str, torch.Tensor]) -> dict[str, Floats]:
    """Return tensors as float32 arrays."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().astype(np.float32)
        for name, tensor in weights.items()
    }
