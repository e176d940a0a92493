"""Lightning callback of a training stage: EMA, learning rate, early stopping, checkpoints.

Imported late, by `trainer`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from xdownscale.core.errors import DataError
from xdownscale.models.training.checkpoint import Checkpoints, restore
from xdownscale.models.training.ema import ExponentialMovingAverage
from xdownscale.models.training.lightning_module import StageModule
from xdownscale.models.training.lr_schedule import cosine
from xdownscale.models.training.optimizer import trainable
from xdownscale.models.training.progress import Progress


class StageCallback(Callback):
    """Keeps the state of a stage up to date: averaged and best weights, learning rate, losses.

    It does the work of Lightning's own callbacks for these, because a training that was killed
    must resume as if it had not been, from a file that holds nothing but numbers.

    Parameters
    ----------
    epochs : int
        Most epochs.
    minutes : float or None
        The stage stops after the batch in which this time is spent, and is then validated.
    store : Checkpoints or None
        Where a checkpoint is written after every epoch.
    has_validation : bool
        Whether there are held-out time steps; else the training loss decides.
    progress : Progress
        Whose bar is moved.
    result : path, optional
        File in which a forked process leaves the final state for the one that forked it.
    """

    def __init__(
        self,
        epochs: int,
        minutes: float | None,
        store: Checkpoints | None,
        has_validation: bool,
        progress: Progress,
        result: Path | None = None,
    ) -> None:
        self.epochs = epochs
        self.minutes = minutes
        self.store = store
        self.has_validation = has_validation
        self.progress = progress
        self.result = result
        self.train_loss = float("nan")
        self.val_loss = float("nan")
        self.measured: tuple[float, ...] = ()

    def on_fit_start(self, trainer: Trainer, pl_module: StageModule) -> None:  # type: ignore[override]
        """Set up the moving average and the plateau schedule."""
        state = pl_module.state
        config = pl_module.config
        self.ema = ExponentialMovingAverage(
            trainable(pl_module.network), state.average, config.ema_decay
        )
        self.plateau = ReduceLROnPlateau(
            trainer.optimizers[0], factor=config.plateau_factor, patience=config.plateau_patience
        )
        if state.plateau:
            restore(self.plateau, state.plateau, "plateau")
        self.since = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: StageModule) -> None:  # type: ignore[override]
        """Forget the losses of the epoch before."""
        self.train_loss = float("nan")
        self.val_loss = float("nan")
        self.measured = pl_module.measured()  # nothing yet

    def on_train_batch_start(self, trainer: Trainer, pl_module: StageModule, *_: Any) -> None:  # type: ignore[override]
        """Set the learning rate of the cosine schedule."""
        config = pl_module.config
        state = pl_module.state
        if config.rate != "cosine":
            return
        progress = state.updates / self._planned(trainer)
        if self.minutes is not None:
            spent = state.seconds + time.monotonic() - self.since
            spent = _of_first_process(trainer, spent)
            progress = max(progress, spent / (60 * self.minutes))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = config.learning_rate * cosine(progress)

    def on_train_batch_end(self, trainer: Trainer, pl_module: StageModule, *_: Any) -> None:  # type: ignore[override]
        """Update the moving average; stop after an update that was refused."""
        if pl_module.failure:
            trainer.should_stop = True
            return
        pl_module.state.updates += 1
        self.ema.update(pl_module.state.updates)
        share = pl_module.state.updates / self._planned(trainer)
        if self.minutes is not None:
            spent = pl_module.state.seconds + time.monotonic() - self.since
            spent = _of_first_process(trainer, spent)
            trainer.should_stop = trainer.should_stop or spent >= 60 * self.minutes
            share = max(share, spent / (60 * self.minutes))
        if trainer.is_global_zero:
            self.progress.advance(share)

    def _planned(self, trainer: Trainer) -> int:
        """Return the updates of all epochs."""
        return self.epochs * max(1, int(trainer.num_training_batches))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: StageModule) -> None:  # type: ignore[override]
        """Validate the averaged weights: they are the ones that will be used."""
        self.train_loss = pl_module.mean_loss()
        self.ema.swap()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: StageModule) -> None:  # type: ignore[override]
        """Put the weights of the training back."""
        self.val_loss = pl_module.mean_loss()
        self.measured = pl_module.measured()
        self.ema.swap()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: StageModule) -> None:  # type: ignore[override]
        """Finish the epoch: losses, best weights, learning rate, early stopping, checkpoint."""
        state = pl_module.state
        config = pl_module.config
        if not self.has_validation:
            self.train_loss = pl_module.mean_loss()
        loss = self.val_loss if self.has_validation else self.train_loss
        now = time.monotonic()
        state.seconds = _of_first_process(trainer, state.seconds + now - self.since)
        self.since = now
        state.epoch += 1
        self._add_row(trainer, pl_module)
        state.waited += 1
        if loss < state.best_loss:  # never of a loss that is NaN
            state.best_loss = loss
            state.waited = 0
            state.best = {name: each.cpu().clone() for name, each in state.average.items()}
        if config.rate == "plateau":
            self.plateau.step(loss)
        time_is_spent = self.minutes is not None and state.seconds >= 60 * self.minutes
        is_last = state.epoch >= self.epochs
        state.failure = pl_module.failure
        over = is_last or state.waited >= config.patience or time_is_spent
        state.done = over or bool(state.failure)
        trainer.should_stop = state.done
        if state.done:
            _check_weights(pl_module)
        self._save(trainer, pl_module)

    def _add_row(self, trainer: Trainer, module: StageModule) -> None:
        """Add the epoch to the table of losses."""
        state = module.state
        row = (
            module.task.name,
            state.epoch,
            self.train_loss,
            self.val_loss,
            trainer.optimizers[0].param_groups[0]["lr"],
            state.seconds,
            *self.measured,
        )
        for column, value in zip(state.history.values(), row, strict=True):
            column.append(value)

    def _save(self, trainer: Trainer, module: StageModule) -> None:
        if not trainer.is_global_zero or (self.store is None and self.result is None):
            return
        state = module.state
        state.weights = module.network.state_dict()
        state.optimizer = trainer.optimizers[0].state_dict()
        state.plateau = self.plateau.state_dict()
        content = dict(vars(state))
        if self.store is not None:
            # A kill between the two repeats the epoch, which writes the table again.
            self.store.write_csv(module.task.name, state.history)
            self.store.save(module.task.name, content)
        if self.result is not None and state.done:
            torch.save(content, self.result)


def _check_weights(module: StageModule) -> None:
    """Raise at the end of a stage that never had a loss that is finite."""
    state = module.state
    if not state.best or not state.updates:
        why = state.failure or f"no loss of held-out days is finite: {module.cause()}"
        raise DataError(f"Stage {module.task.name!r} cannot be trained: {why}")


def _of_first_process(trainer: Trainer, seconds: float) -> float:
    """Return the value of the first process, so that all processes decide alike."""
    if trainer.world_size == 1:
        return seconds
    told: float = trainer.strategy.broadcast(seconds)
    return told
