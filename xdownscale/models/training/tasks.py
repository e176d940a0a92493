"""Training tasks: the data and the loss of each stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from xdownscale.config import DiffusionConfig
from xdownscale.models.diffusion.noise_scales import noise_inputs
from xdownscale.models.diffusion.preconditioning import preconditioning
from xdownscale.models.diffusion.schedules import Schedule, add_noise
from xdownscale.models.networks.autoencoder import Autoencoder
from xdownscale.models.networks.field_unet import FieldNet, Inputs, coarse_features
from xdownscale.models.networks.latent import Gaussian
from xdownscale.models.networks.latent_options import FACTOR
from xdownscale.models.networks.pixel_net import PixelNetworks
from xdownscale.models.networks.unet import Forecaster, Networks
from xdownscale.models.training.data import Rows, TrainingData
from xdownscale.models.training.datasets import (
    Arrange,
    Batch,
    CoarseBatch,
    CoarseDataset,
    Cutter,
    FineDataset,
)
from xdownscale.models.training.losses import masked_loss, pooled_crps

PRETRAIN_BATCH = 32  # coarse images in a batch of stage 1: one is about as large as one patch
MEMBERS = 2  # realizations in the loss of a generator


class Task(Protocol):
    """Task of one training stage: network, data and loss.

    Attributes
    ----------
    data : TrainingData
        Records.
    name : str
        Name of the stage, of its checkpoint and of its rows in the history.
    stage : int
        Number of the stage, a part of every random key.
    batch : int
        Time steps in a batch.
    """

    data: TrainingData
    name: str
    stage: int
    batch: int

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        ...

    def training(self, epoch: int) -> Dataset[Any]:
        """Return the time steps to train on."""
        ...

    def stopping(self) -> Dataset[Any]:
        """Return the time steps held out for early stopping."""
        ...

    def loss(self, batch: Any, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch; `generator` is all its randomness."""
        ...


class Measuring(Protocol):
    """Task that measures more than its loss on the time steps held out for early stopping.

    Attributes
    ----------
    columns : tuple of str
        Names of what it measures; columns of the history.
    """

    columns: tuple[str, ...]

    def measure(self, batch: Any, generator: torch.Generator) -> Tensor:
        """Return sums over a batch; those of all batches are added up."""
        ...

    def measured(self, sums: Tensor) -> tuple[float, ...]:
        """Return the value of each column, given the sums over all held-out time steps."""
        ...


def further_columns(task: object) -> tuple[str, ...]:
    """Return the columns that a task adds to its history; () for one that is not `Measuring`.

    Examples
    --------
    >>> further_columns(Denoise)
    ()
    """
    columns: tuple[str, ...] = getattr(task, "columns", ())
    return columns


@dataclass
class Forecast:
    """Forecasts the coarse record one time step ahead: the first stage."""

    data: TrainingData
    network: Forecaster
    kind: str
    seed: int
    name: str = "pretrain"
    stage: int = 1
    batch: int = PRETRAIN_BATCH

    def training(self, epoch: int) -> CoarseDataset:
        """Return the targets that are not held out."""
        chosen = np.flatnonzero(~np.asarray(self.data.coarse_stopping))
        return CoarseDataset(self.data, chosen, self.seed, epoch)

    def stopping(self) -> CoarseDataset:
        """Return the targets that are held out."""
        chosen = np.flatnonzero(np.asarray(self.data.coarse_stopping))
        return CoarseDataset(self.data, chosen, self.seed, -1)

    def loss(self, batch: CoarseBatch, generator: torch.Generator) -> Tensor:
        """Return the error of the forecast over valid cells."""
        return masked_loss(self.kind, self.network(batch.lags), batch.target, batch.valid)


@dataclass(kw_only=True)
class FineTask:
    """Base of the tasks that are trained on pieces of fine fields.

    Attributes
    ----------
    data : TrainingData
        Records.
    network : Module
        What is trained.
    rows : ndarray of int
        Fine time steps to train on.
    cutter, arrange, lag_noise, missing_ends, means
        As for `FineDataset`.
    seed : int
        Of everything random.
    batch : int
        Time steps in a batch.
    name, stage
        As for `Task`.
    """

    data: TrainingData
    network: Any
    rows: Rows
    cutter: Cutter
    arrange: Arrange
    seed: int
    batch: int
    name: str
    stage: int
    means: Any = None
    lag_noise: tuple[float, float] = (0.0, 0.0)
    missing_ends: tuple[float, int, int] = (0.0, 0, 0)

    def training(self, epoch: int) -> FineDataset:
        """Return the time steps to train on."""
        return self._dataset(self.rows, epoch)

    def stopping(self) -> FineDataset:
        """Return the time steps held out for early stopping."""
        return self._dataset(self.data.stop_targets, -1)

    def _dataset(self, rows: Rows, epoch: int) -> FineDataset:
        return FineDataset(
            self.data,
            rows,
            self.cutter,
            self.arrange,
            seed=self.seed,
            epoch=epoch,
            means=self.means,
            lag_noise=self.lag_noise,
            missing_ends=self.missing_ends,
        )


@dataclass(kw_only=True)
class Denoise(FineTask):
    """Predicts the clean fine field from a noisy one, at random steps of a diffusion chain."""

    network: Networks
    schedule: Schedule
    kind: str

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the error of the estimate of x_0 at random steps of the chain."""
        count = len(batch.target)
        device = batch.target.device
        place = stratified(count, generator)
        step = (place * self.schedule.steps).long().clamp(max=self.schedule.steps - 1)
        noise = torch.randn(batch.target.shape, generator=generator).to(device)
        noisy = add_noise(self.schedule, batch.target, noise, step)
        conditioned = self.network.condition(batch.known, batch.calendar, batch.encoder)
        clean = self.network.denoiser(noisy, step.to(device), conditioned)
        return masked_loss(self.kind, clean, batch.target, batch.valid)


@dataclass(kw_only=True)
class RegressPatch(FineTask):
    """Estimates the fine field by the network of `Denoise`, without noise."""

    network: Networks
    kind: str

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the error of the estimate over valid pixels."""
        conditioned = self.network.condition(batch.known, batch.calendar, batch.encoder)
        field = self.network.regression(conditioned)
        return masked_loss(self.kind, field, batch.target, batch.valid)


class EncodedNet(nn.Module):
    """A field U-Net and the encoder whose features are among its inputs.

    Parameters
    ----------
    net : FieldNet
        The network.
    encoder : Module or None
        Of the coarse record; shared by all networks.
    train_encoder : bool
        Whether the encoder is trained further here.
    """

    def __init__(self, net: FieldNet, encoder: nn.Module | None, train_encoder: bool) -> None:
        super().__init__()
        self.net = net
        self.train_encoder = train_encoder
        self.encoder = encoder
        if encoder is not None:
            encoder.requires_grad_(train_encoder)

    def digest(self, inputs: Inputs) -> Tensor:
        """Return the features that do not depend on the noise."""
        features = None
        if self.encoder is not None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.train_encoder):
                features = coarse_features(self.encoder, inputs.coarse)
        return self.net.digest(self.net.gather(inputs, features), inputs.calendar)


class Regress(FineTask):
    """Estimates the conditional mean: squared error of the driver plus a correction."""

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the mean squared error over valid pixels."""
        mean = regression(self.network, batch.inputs)
        return masked_loss("mse", mean, batch.target, batch.valid)


@dataclass(kw_only=True)
class RegressPixels(FineTask):
    """Estimates the fine field from lagged ones, of every pixel by itself."""

    network: PixelNetworks
    kind: str

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the error over valid pixels."""
        mean = self.network(batch.known, batch.calendar, batch.encoder)
        return masked_loss(self.kind, mean, batch.target, batch.valid)


@dataclass(kw_only=True)
class DenoiseResidual(FineTask):
    """Denoises the scaled residual, preconditioned as in Karras et al. 2022, table 1."""

    scale: Any = 1.0  # of each target
    diffusion: DiffusionConfig = DiffusionConfig()  # noqa: RUF009

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of the raw network: EDM's loss with its weights."""
        clean, valid = self.clean(batch)
        sigma = self._sigmas(len(clean), generator).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        wide = sigma[:, None, None, None]
        noisy = clean + wide * noise
        keep, out, into = preconditioning(wide)
        known = torch.cat([batch.known, batch.mean], 1)
        digested = self.network.digest(batch.inputs._replace(known=known))
        raw = self.network.net(digested, batch.calendar, into * noisy, sigma)
        return masked_loss("mse", raw, (clean - keep * noisy) / out, valid)

    def clean(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what is denoised, and where it is valid."""
        return scaled_residual(batch, self.scale), batch.valid

    def _sigmas(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample lognormal noise levels, spread evenly over the quantiles."""
        place = stratified(count, generator)
        normal = math.sqrt(2) * torch.erfinv((2 * place - 1).clamp(-0.9999, 0.9999))
        config = self.diffusion
        return config.sigma_median * torch.exp(config.sigma_spread * normal)


@dataclass(kw_only=True)
class Autoencode(FineTask):
    """Encodes and decodes the scaled residual: squared error, and a little of the mean KL."""

    network: Autoencoder
    scale: Any = 1.0  # of each target
    weight: float = 1e-3  # of the KL of a latent number

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the mean squared error over valid pixels, plus the weighted KL."""
        residual = scaled_residual(batch, self.scale)
        posterior = self.network.encode(residual)
        noise = torch.randn(posterior.mean.shape, generator=generator).to(residual.device)
        decoded = self.network.decode(posterior.at(noise))
        kl = posterior.kl(Gaussian.standard(posterior.mean)).mean()
        return masked_loss("mse", decoded, residual, batch.valid) + self.weight * kl


@dataclass(kw_only=True)
class DenoiseLatents(DenoiseResidual):
    """Denoises the latent numbers that the scaled residual is encoded as."""

    autoencoder: Autoencoder

    def clean(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return standardised latent numbers; those without a valid pixel do not count."""
        # It is no part of the network that is trained, so Lightning leaves it where it was.
        autoencoder = self.autoencoder.to(batch.target.device)
        with torch.no_grad():
            latents = autoencoder.standardised(scaled_residual(batch, self.scale))
        seen = functional.max_pool2d(batch.valid.any(1, keepdim=True).float(), FACTOR)
        return latents, (seen > 0).expand(latents.shape)


class Generate(FineTask):
    """Generates a realization in one evaluation; the loss is the almost fair CRPS of two."""

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the CRPS of the field and of its means over 2, 4, 8 and 16 pixels."""
        shape = (MEMBERS, *batch.target.shape)
        white = torch.randn(shape, generator=generator).to(batch.target.device)
        digested = self.network.digest(batch.inputs)
        members = torch.stack(
            [
                generated(self.network.net, digested, batch.inputs, noise_inputs(one))
                for one in white
            ]
        )
        return pooled_crps(members, batch.target, batch.valid)


def regression(stage: EncodedNet, inputs: Inputs) -> Tensor:
    """Return the conditional mean (B, T, H, W): the drivers plus a correction."""
    calm = torch.zeros(len(inputs.known), device=inputs.known.device)
    digested = stage.digest(inputs)
    change = stage.net(digested, inputs.calendar, None, calm)
    out: Tensor = inputs.known[:, : stage.net.outputs] + change
    return out


def scaled_residual(batch: Batch, scale: Any) -> Tensor:
    """Return fine fields minus their conditional mean over the scale of each target (P, t, h, w).

    0 where there is no value.
    """
    by = torch.as_tensor(scale, dtype=torch.float32).view(1, -1, 1, 1)
    return (batch.target - batch.mean) * batch.valid / by.to(batch.mean.device)


def stratified(count: int, generator: torch.Generator) -> Tensor:
    """Return uniform random numbers, one in each of `count` equal parts of [0, 1), shuffled.

    Each is uniform, and a loss at such places is less noisy than at independent ones.

    Examples
    --------
    >>> places = stratified(4, torch.Generator().manual_seed(0))
    >>> (4 * places).long().sort().values
    tensor([0, 1, 2, 3])
    """
    order = torch.randperm(count, generator=generator)
    return (order + torch.rand(count, generator=generator)) / count


def generated(net: FieldNet, digested: Tensor, inputs: Inputs, noisy: Tensor) -> Tensor:
    """Return realizations (B, T, H, W), one for each of the `noise_inputs`."""
    calm = torch.zeros(len(noisy), device=noisy.device)
    raw: Tensor = net(digested, inputs.calendar, noisy, calm)
    return inputs.known[:, : net.outputs] + raw


def fold_of(rows: Rows, folds: int) -> Rows:
    """Return the block of time of each of some ascending time steps.

    Examples
    --------
    >>> fold_of(np.arange(5), 2)
    array([0, 0, 0, 1, 1])
    """
    return np.arange(len(rows)) * folds // max(len(rows), 1)
