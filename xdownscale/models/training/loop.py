"""Lightning's part of training. Imported late, by the function that trains."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from xdownscale.config import TrainingConfig
from xdownscale.models.device import resolve_precision
from xdownscale.models.diffusion import noise
from xdownscale.models.training.batches import bounded_batches, even_batches
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.datasets import join
from xdownscale.models.training.distributed import (
    copies,
    is_forked,
    is_heard,
    judged,
    share,
    strategy_of,
)
from xdownscale.models.training.lr_schedule import cosine
from xdownscale.models.training.prefetch import Ahead
from xdownscale.models.training.tasks import Record, Task, make_optimizer, trainable


class Loop(LightningModule):
    """A stage as Lightning wants it: batches, a loss, an optimiser."""

    def __init__(self, task: Task, config: TrainingConfig, record: Record, seed: int) -> None:
        super().__init__()
        self.task, self.config, self.record, self.seed = task, config, record, seed
        self.network = task.network
        self.total, self.days = 0.0, 0
        self._taught: list[int] = []  # numbers of the epoch's batches, where several processes
        self._judged: list[int | None] = []  # share them
        self._readers: list[Ahead] = []

    def train_dataloader(self) -> Any:
        """Return the batches of the epoch; Lightning asks again before each."""
        data, team = self.task.training(self.record.epoch), self.trainer.world_size
        most, keys = self.config.epoch_batches, (self.seed, self.task.stage, self.record.epoch)
        if most is not None:
            most = max(most // team, 1) * team
        batches = bounded_batches(len(data), self.task.batch, most, *keys)  # type: ignore[arg-type]
        self._taught = share(len(batches), self.trainer.global_rank, team)
        return self._reader(data, [batches[number] for number in self._taught])

    def val_dataloader(self) -> Any:
        """Return the batches of the held-out days, always in the same order."""
        data, team = self.task.stopping(), self.trainer.world_size
        batches = even_batches(len(data), self.task.batch, self.config.epoch_batches)  # type: ignore[arg-type]
        self._judged = judged(len(batches), self.trainer.global_rank, team)
        return self._reader(data, [batches[number or 0] for number in self._judged])

    def _reader(self, data: Any, batches: list[list[int]]) -> Any:
        loader: DataLoader[Any] = DataLoader(data, batch_sampler=batches, collate_fn=join)
        if self.task.data.is_in_memory:
            return loader
        self._readers.append(Ahead(loader))
        return self._readers[-1]

    def close(self) -> None:
        """End whatever is still being read."""
        while self._readers:
            self._readers.pop().close()

    def _loss(self, batch: Any, *keys: int) -> Tensor:
        # Dropout draws from torch's own stream, so that is set for each batch as well.
        torch.manual_seed(noise.derive(self.seed, self.task.stage, *keys, 1))
        generator = torch.Generator().manual_seed(
            noise.derive(self.seed, self.task.stage, *keys, 0)
        )
        return self.task.loss(batch, generator)

    def _count(self, loss: Tensor, batch: Any) -> None:
        self.total += float(loss.detach()) * len(batch.target)
        self.days += len(batch.target)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch of training days."""
        loss = self._loss(batch, self.record.epoch, self._taught[batch_idx])
        self._count(loss, batch)
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=len(batch.target))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Add up the loss of held-out days, with the same noise in every epoch."""
        number = self._judged[batch_idx]
        if number is not None:
            self._count(self._loss(batch, -1, number), batch)

    def mean(self) -> float:
        """Return the mean loss of all processes since the last call."""
        total, days = self.total, self.days
        if self.trainer.world_size > 1:
            sums = torch.tensor([total, days], dtype=torch.float64, device=self.device)
            total, days = self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        self.total, self.days = 0.0, 0
        return total / days if days else float("nan")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser, where it was left."""
        optimizer = make_optimizer(self.network, self.config)
        if self.record.optimizer:
            optimizer.load_state_dict(self.record.optimizer)
        return optimizer


class Journal(Callback):
    """Keeps the record: moving average, best weights, learning rate, stopping, checkpoints.

    It does the work of Lightning's own callbacks for these, because a training that was killed
    must go on as if it had not been, from a file that holds nothing but numbers.
    """

    def __init__(
        self,
        epochs: int,
        minutes: float | None,
        store: Checkpoints | None,
        held_out: bool,
        back: Path | None = None,
    ) -> None:
        self.epochs, self.minutes, self.store, self.held_out = epochs, minutes, store, held_out
        self.back = back  # file that a copied process leaves its record in
        self.train_loss = self.val_loss = float("nan")

    def on_fit_start(self, trainer: Trainer, pl_module: Loop) -> None:  # type: ignore[override]
        """Set up the moving average and the learning rate's schedule."""
        record, config = pl_module.record, pl_module.config
        self.learnt = trainable(pl_module.network)
        if not record.average:
            record.average = _copied(self.learnt)
        record.average = {k: v.to(pl_module.device) for k, v in record.average.items()}
        self.plateau = ReduceLROnPlateau(
            trainer.optimizers[0], factor=config.plateau_factor, patience=config.plateau_patience
        )
        if record.plateau:
            self.plateau.load_state_dict(record.plateau)
        self.since = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: Loop, *_: Any) -> None:  # type: ignore[override]
        """Set the learning rate, where it follows a plan."""
        config, record = pl_module.config, pl_module.record
        if config.rate != "cosine":
            return
        planned = self.epochs * max(1, int(trainer.num_training_batches))
        progress = record.updates / planned
        if self.minutes is not None:
            spent = record.seconds + time.monotonic() - self.since
            spent = _same(trainer, spent)
            progress = max(progress, spent / (60 * self.minutes))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = config.learning_rate * cosine(progress)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: Loop, *_: Any) -> None:  # type: ignore[override]
        """Move the average; early on it follows closely, or it would remember the start."""
        record = pl_module.record
        record.updates += 1
        decay = min(pl_module.config.ema_decay, record.updates / (9 + record.updates))
        decay = decay if pl_module.config.ema_decay else 0.0
        for name, parameter in self.learnt.items():
            record.average[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def _swap(self, record: Record) -> None:
        for name, parameter in self.learnt.items():
            kept = parameter.clone()
            parameter.copy_(record.average[name])
            record.average[name].copy_(kept)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Loop) -> None:  # type: ignore[override]
        """Judge the averaged weights: they are the ones that will be used."""
        self.train_loss = pl_module.mean()
        self._swap(pl_module.record)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Loop) -> None:  # type: ignore[override]
        """Put the weights back."""
        self.val_loss = pl_module.mean()
        self._swap(pl_module.record)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Loop) -> None:  # type: ignore[override]
        """Close the epoch: best weights, learning rate, stopping, checkpoint."""
        record, config = pl_module.record, pl_module.config
        if not self.held_out:
            self.train_loss = pl_module.mean()
        loss = self.val_loss if self.held_out else self.train_loss
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        now = time.monotonic()
        record.seconds, self.since = _same(trainer, record.seconds + now - self.since), now
        record.epoch += 1
        row = (pl_module.task.name, record.epoch, self.train_loss, self.val_loss, rate)
        for column, value in zip(record.history.values(), (*row, record.seconds), strict=True):
            column.append(value)
        record.waited += 1
        # The first epoch counts as best even where its loss is NaN: there must be weights.
        if loss < record.best_loss or not record.best:
            record.best_loss, record.waited = min(record.best_loss, loss), 0
            record.best = {k: v.cpu().clone() for k, v in record.average.items()}
        if config.rate == "plateau":
            self.plateau.step(loss)
        spent = self.minutes is not None and record.seconds >= 60 * self.minutes
        record.done = record.epoch >= self.epochs or record.waited >= config.patience or spent
        trainer.should_stop = record.done
        self._save(trainer, pl_module)

    def _save(self, trainer: Trainer, loop: Loop) -> None:
        if not trainer.is_global_zero or (self.store is None and self.back is None):
            return
        record = loop.record
        record.weights = loop.network.state_dict()
        record.optimizer = trainer.optimizers[0].state_dict()
        record.plateau = self.plateau.state_dict()
        content = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
        if self.store is not None:
            # a kill between the two does the epoch again, which writes the table again
            self.store.write_csv(loop.task.name, record.history)
            self.store.save(loop.task.name, content)
        if self.back is not None and record.done:
            torch.save(content, self.back)


def _same(trainer: Trainer, seconds: float) -> float:
    """Return what the first process says, so that all do the same."""
    if trainer.world_size == 1:
        return seconds
    told: float = trainer.strategy.broadcast(seconds)
    return told


def _copied(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def fit(
    task: Task,
    config: TrainingConfig,
    record: Record,
    epochs: int,
    minutes: float | None,
    seed: int,
    device: str,
    store: Checkpoints | None,
    progress: bool,
) -> None:
    """Train from where `record` stands; changes the task's network and the record."""
    held_out = len(task.stopping()) > 0  # type: ignore[arg-type]
    loop = Loop(task, config, record, seed)
    forked = is_forked(config, device)
    with tempfile.TemporaryDirectory() as folder, copies() if forked else nullcontext():
        back = Path(folder) / "record.pt" if forked else None
        trainer = Trainer(
            accelerator="gpu" if device == "cuda" else device,
            devices=config.devices,
            strategy=strategy_of(config, device),
            use_distributed_sampler=False,
            precision=resolve_precision(config.precision, device),  # type: ignore[arg-type]
            max_epochs=epochs - record.epoch,
            gradient_clip_val=config.gradient_clip,
            callbacks=[Journal(epochs, minutes, store, held_out, back)],
            reload_dataloaders_every_n_epochs=1,
            limit_val_batches=1.0 if held_out else 0,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=progress and is_heard(forked),
            default_root_dir=folder,
        )
        try:
            trainer.fit(loop)
        except SystemExit as err:
            # Lightning ends the whole process when a user interrupts; a notebook would lose all.
            raise KeyboardInterrupt from err
        finally:
            loop.close()
        if back is not None:
            vars(record).update(torch.load(back, weights_only=True))
            task.network.load_state_dict(record.weights)
    task.network.to("cpu")
