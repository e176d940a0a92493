"""Lightning module of a training stage: batches, loss, optimiser. Imported late, by `trainer`."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from xdownscale.config import TrainingConfig
from xdownscale.models.diffusion import noise
from xdownscale.models.training.batches import bounded_batches, even_batches
from xdownscale.models.training.checkpoint import TrainingState, restore
from xdownscale.models.training.datasets import join
from xdownscale.models.training.distributed import training_share, validation_share
from xdownscale.models.training.optimizer import make_optimizer, trainable
from xdownscale.models.training.prefetch import Prefetcher
from xdownscale.models.training.tasks import Measuring, Task, further_columns


class StageModule(LightningModule):
    """A training task as Lightning runs it.

    Parameters
    ----------
    task : Task
        What is minimised.
    config : TrainingConfig
        Options.
    state : TrainingState
        Where the stage stands; the epoch decides the order of batches and their noise.
    seed : int
        Of everything random.
    """

    def __init__(self, task: Task, config: TrainingConfig, state: TrainingState, seed: int) -> None:
        super().__init__()
        self.task = task
        self.config = config
        self.state = state
        self.seed = seed
        self.network = task.network
        self.failure = ""  # why the last update was refused
        self._batch: Any = None
        self._batch_number = 0
        self._is_loss_finite = True
        self._total_loss = 0.0  # since the last call of `mean_loss`
        self._time_steps = 0
        self._sums = torch.zeros(0)  # of what the task measures, since the last call of `measured`
        # numbers of the epoch's batches that this process takes, of several
        self._training_batches: list[int] = []
        self._validation_batches: list[int | None] = []
        self._prefetchers: list[Prefetcher] = []

    def train_dataloader(self) -> Any:
        """Return the batches of the epoch; Lightning asks again before each."""
        data = self.task.training(self.state.epoch)
        processes = self.trainer.world_size
        most = self.config.epoch_batches
        if most is not None:
            most = max(most // processes, 1) * processes
        keys = (self.seed, self.task.stage, self.state.epoch)
        batches = bounded_batches(len(data), self.task.batch, most, *keys)  # type: ignore[arg-type]
        self._training_batches = training_share(len(batches), self.trainer.global_rank, processes)
        return self._loader(data, [batches[number] for number in self._training_batches])

    def val_dataloader(self) -> Any:
        """Return the batches of the time steps held out for early stopping, in a fixed order."""
        data = self.task.stopping()
        batches = even_batches(len(data), self.task.batch, self.config.epoch_batches)  # type: ignore[arg-type]
        self._validation_batches = validation_share(
            len(batches), self.trainer.global_rank, self.trainer.world_size
        )
        return self._loader(data, [batches[number or 0] for number in self._validation_batches])

    def _loader(self, data: Any, batches: list[list[int]]) -> Any:
        loader: DataLoader[Any] = DataLoader(data, batch_sampler=batches, collate_fn=join)
        if self.task.data.is_in_memory and self.trainer.strategy.root_device.type == "cpu":
            return loader
        self._prefetchers.append(Prefetcher(loader))
        return self._prefetchers[-1]

    def close(self) -> None:
        """Stop all prefetching."""
        while self._prefetchers:
            self._prefetchers.pop().close()

    def _generator(self, *keys: int) -> torch.Generator:
        """Return the generator of a batch."""
        # Dropout uses torch's own random stream, so that is set for each batch as well.
        torch.manual_seed(noise.derive(self.seed, self.task.stage, *keys, 1))
        return torch.Generator().manual_seed(noise.derive(self.seed, self.task.stage, *keys, 0))

    def _loss(self, batch: Any, *keys: int) -> Tensor:
        return self.task.loss(batch, self._generator(*keys))

    def _measure(self, batch: Any, *keys: int) -> None:
        """Add up what the task measures on a held-out batch."""
        if further_columns(self.task):
            task = cast(Measuring, self.task)
            sums = task.measure(batch, self._generator(*keys)).detach().cpu().double()
            self._sums = sums if not self._sums.numel() else self._sums + sums

    def _add_up(self, loss: Tensor, batch: Any) -> None:
        self._total_loss += float(loss.detach()) * len(batch.target)
        self._time_steps += len(batch.target)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a training batch."""
        loss = self._loss(batch, self.state.epoch, self._training_batches[batch_idx])
        self._batch = batch
        self._batch_number = batch_idx + 1
        self._is_loss_finite = bool(loss.isfinite())
        if not self._is_loss_finite:
            return loss * torch.nan  # whatever its gradient was: all processes see it and stop
        self._add_up(loss, batch)
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=len(batch.target))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse an update that is not finite: without gradients the optimiser changes nothing."""
        gradients = [p.grad for p in trainable(self.network).values() if p.grad is not None]
        # one question to the device: it waits for the answer
        if not gradients or torch.stack([one.isfinite().all() for one in gradients]).all():
            return
        what = "the gradient of the loss" if self._is_loss_finite else "the loss"
        self.failure = (
            f"{what} is not finite in epoch {self.state.epoch + 1}, batch {self._batch_number}: "
            f"{self.cause()}"
        )
        optimizer.zero_grad(set_to_none=True)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Add up the loss of a held-out batch, with the same noise in every epoch."""
        number = self._validation_batches[batch_idx]
        if number is not None:
            self._batch = batch
            self._add_up(self._loss(batch, -1, number), batch)
            self._measure(batch, -1, number)

    def cause(self) -> str:
        """Say what the last batch has to do with a loss that is not finite."""
        found = cause_of(self._batch, self.network, self.config)
        if self.trainer.world_size > 1:
            return f"{found} (One of {self.trainer.world_size} processes says so.)"
        return found

    def mean_loss(self) -> float:
        """Return the mean loss over all processes since the last call."""
        total = self._total_loss
        count = self._time_steps
        if self.trainer.world_size > 1:
            sums = torch.tensor([total, count], dtype=torch.float64, device=self.device)
            total, count = self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        self._total_loss = 0.0
        self._time_steps = 0
        return total / count if count else float("nan")

    def measured(self) -> tuple[float, ...]:
        """Return what the task measured over all processes since the last call; NaN if nothing."""
        columns = further_columns(self.task)
        if not columns:
            return ()
        sums = self._sums
        self._sums = torch.zeros(0)
        if not sums.numel():
            return (float("nan"),) * len(columns)
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums.to(self.device), reduce_op="sum").cpu()
        return cast(Measuring, self.task).measured(sums)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser in the state where training stands."""
        optimizer = make_optimizer(self.network, self.config)
        if self.state.optimizer:
            restore(optimizer, self.state.optimizer, "optimizer")
        return optimizer


def cause_of(batch: Any, network: torch.nn.Module, config: TrainingConfig) -> str:
    """Say why the loss of a batch may not be finite.

    Parameters
    ----------
    batch : Batch or CoarseBatch
        What was trained on.
    network : Module
        The network.
    config : TrainingConfig
        Options of the training.
    """
    parts = {name: part.float() for name, part in batch._asdict().items()}
    bad = [name for name, part in parts.items() if not part.isfinite().all()]
    if bad:
        return (
            f"{', '.join(map(repr, bad))} of the batch hold values that are not finite. Look for "
            "fill values and infinities in the records and static fields."
        )
    if not all(weight.isfinite().all() for weight in network.parameters()):
        return f"the weights are not finite any more. {_SLOWER.format(config.learning_rate)}"
    name, largest = max(
        ((name, float(part.abs().max())) for name, part in parts.items()), key=lambda each: each[1]
    )
    return (
        f"what was read is finite (largest: {name!r} with {largest:.3g} in scaled units), and the "
        f"network diverges. {_SLOWER.format(config.learning_rate)}"
    )


_SLOWER = (
    "Give a smaller training.learning_rate (it is {:g}) or gradient_clip, or precision='32', and "
    "look for outliers in the records."
)
