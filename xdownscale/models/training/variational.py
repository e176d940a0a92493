"""Training of variational autoencoders: evidence lower bound, and the gain of latent numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xdownscale.config import TrainingConfig
from xdownscale.models.diffusion import noise
from xdownscale.models.networks.latent import Gaussian, gain, kl_penalty, kl_weight
from xdownscale.models.networks.variational import LatentNetworks
from xdownscale.models.training.data import TrainingData, corrected_fields, read_rows
from xdownscale.models.training.datasets import Batch, FineDataset, join
from xdownscale.models.training.tasks import FineTask

_MEASURED_DAYS = 32  # that the first scale of a likelihood is measured on


@dataclass(kw_only=True)
class Infer(FineTask):
    """Encodes fields as latent numbers and decodes them: minus the evidence lower bound.

    Attributes
    ----------
    network : LatentNetworks
        What is trained.
    epochs, per_epoch : int
        Planned epochs, and updates of each, for the annealing of the KL.
    """

    network: LatentNetworks
    epochs: int
    per_epoch: int
    columns: ClassVar[tuple[str, ...]] = ("kl", "gain")

    def __post_init__(self) -> None:
        self._done = 0

    def training(self, epoch: int) -> FineDataset:
        """Return the time steps to train on."""
        self._done = epoch * self.per_epoch
        return super().training(epoch)

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return minus log likelihood and weighted KL of a patch, over its pixels."""
        options = self.network.options
        context = self.network.condition(batch.known, batch.calendar, batch.encoder)
        posterior = self._posterior(context, batch)
        white = torch.randn(posterior.mean.shape, generator=generator)
        field = self.network.decode(context, posterior.at(white.to(batch.target.device)))
        nats = self.network.likelihood(field - batch.target) * batch.valid
        kl = posterior.kl(self.network.prior(context))
        penalty = options.weight * self._weight() * kl_penalty(kl, options.free)
        loss: Tensor = nats.mean() + penalty / batch.target[0].numel()
        return loss

    def _posterior(self, context: Any, batch: Batch) -> Gaussian:
        """Return the posterior; the driver stands in for what is missing in the target."""
        target = torch.where(batch.valid, batch.target, batch.known[:, :1])
        return self.network.posterior(context, target)

    def _weight(self) -> float:
        """Return the annealed share of the KL's weight, and count the update; 1 in validation."""
        if not torch.is_grad_enabled():
            return 1.0
        share = kl_weight(self._done / (self.epochs * self.per_epoch), self.network.options.anneal)
        self._done += 1
        return share

    def measure(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return sums of patches, KL, and errors of fields from the posterior and the prior."""
        context = self.network.condition(batch.known, batch.calendar, batch.encoder)
        posterior = self._posterior(context, batch)
        prior = self.network.prior(context)
        white = torch.randn(posterior.mean.shape, generator=generator).to(batch.target.device)
        errors = [
            ((self.network.decode(context, each.at(white)) - batch.target).abs() * batch.valid)
            for each in (posterior, prior)
        ]
        kl = posterior.kl(prior).sum()
        return torch.stack([kl.new_tensor(len(batch.target)), kl, *(e.sum() for e in errors)])

    def measured(self, sums: Tensor) -> tuple[float, ...]:
        """Return the KL of a patch in nats, and the gain (see `models.networks.latent.gain`)."""
        patches, kl, posterior_error, prior_error = sums.tolist()
        return kl / patches, gain(posterior_error, prior_error)


def updates_of(items: int, batch: int, config: TrainingConfig) -> int:
    """Return the updates of an epoch.

    Examples
    --------
    >>> updates_of(5, 2, TrainingConfig())
    3
    """
    whole = -(-items // batch)
    most = whole if config.epoch_batches is None else min(whole, config.epoch_batches)
    return max(most // config.devices, 1)


def driver_error(data: TrainingData) -> list[float]:
    """Return the mean absolute error of what is corrected, of each target, on training time steps.

    Parameters
    ----------
    data : TrainingData
        Records; up to 32 time steps spread over those to train on are read.
    """
    rows = data.train_targets
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, _MEASURED_DAYS).astype(int))]
    error = np.abs(read_rows(data.fine, chosen) - np.nan_to_num(corrected_fields(data, chosen)))
    found = [float(np.nanmean(each)) for each in np.moveaxis(error, 1, 0)]
    return [each if each > 0 else 1.0 for each in found]


def measure_norms(task: Infer, network: torch.nn.Module) -> None:
    """Measure the statistics of batch norm on training time steps, with the weights as they are.

    Weights are kept from the best epoch, and averaged over updates; the running statistics are
    those of the last updates. Here they become means over batches, with dropout as in training.

    Parameters
    ----------
    task : Infer
        Its training time steps, up to 32 spread over all, are read.
    network : Module
        Changed.
    """
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    data = task.training(0)
    items = np.unique(np.linspace(0, len(data) - 1, _MEASURED_DAYS).astype(int)).tolist()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all batches
    network.train()
    with torch.no_grad(), torch.random.fork_rng([]):
        for start in range(0, len(items), task.batch):
            batch = join([data[item] for item in items[start : start + task.batch]])
            key = noise.derive(task.seed, task.stage, -3, start)
            torch.manual_seed(key)
            task.loss(batch, torch.Generator().manual_seed(key))
    network.eval()
