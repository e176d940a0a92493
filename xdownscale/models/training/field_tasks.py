"""The stages: a regression, a denoiser of its residual, a generator trained with the CRPS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xdownscale.config import DiffusionConfig
from xdownscale.models.diffusion.noise import noise_inputs
from xdownscale.models.diffusion.preconditioning import preconditioning
from xdownscale.models.networks.field_unet import FieldNet, Inputs, coarse_features
from xdownscale.models.networks.unet import Encoder
from xdownscale.models.training.crop_dataset import Batch, CropDays, FieldArrays, Rows
from xdownscale.models.training.losses import masked_loss, pooled_crps

MEMBERS = 2  # realizations in the loss of the generator


class Stage(nn.Module):
    """A network to train and the encoder that it sees the coarse record through.

    Parameters
    ----------
    net : FieldNet
        The network.
    encoder : Encoder or None
        Shared by all networks.
    learn_encoder : bool
        Whether the encoder goes on learning here.
    """

    def __init__(self, net: FieldNet, encoder: Encoder | None, learn_encoder: bool) -> None:
        super().__init__()
        self.net, self.learn_encoder = net, learn_encoder
        self.encoder = encoder
        if encoder is not None:
            encoder.requires_grad_(learn_encoder)

    def digest(self, inputs: Inputs) -> Tensor:
        """Digest what is known of the days."""
        features = None
        if self.encoder is not None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.learn_encoder):
                features = coarse_features(self.encoder, inputs.coarse)
        return self.net.digest(self.net.gather(inputs, features), inputs.calendar)


@dataclass
class FieldTask:
    """What the three tasks share: their days, cut into crops."""

    arrays: FieldArrays
    network: Stage
    rows: Rows
    stops: Rows
    crop: int
    seed: int
    batch: int
    name: str
    stage: int
    means: Any = None
    spoil: tuple[float, float] = (0.0, 0.0)

    def training(self, epoch: int) -> CropDays:
        """Return the days to learn from."""
        return self._days(self.rows, epoch)

    def stopping(self) -> CropDays:
        """Return the days held out for early stopping."""
        return self._days(self.stops, -1)

    def _days(self, rows: Rows, epoch: int) -> CropDays:
        unit = self.network.net.unit
        return CropDays(
            self.arrays, rows, self.crop, unit, self.seed, epoch, self.means, self.spoil
        )


class Regress(FieldTask):
    """Learn the conditional mean: squared error of the driver plus what the network adds."""

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the mean squared error over the pixels that are there."""
        mean = regression(self.network, batch.inputs)
        return masked_loss("mse", mean, batch.target, batch.valid)


@dataclass
class DenoiseResidual(FieldTask):
    """Learn to denoise the scaled residual, preconditioned as in Karras et al. 2022, table 1."""

    scale: Any = 1.0  # of each target
    diffusion: DiffusionConfig = DiffusionConfig()  # noqa: RUF009

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of the network itself: EDM's weights make it that."""
        scale = torch.as_tensor(self.scale, dtype=torch.float32).view(1, -1, 1, 1)
        clean = (batch.target - batch.mean) * batch.valid / scale.to(batch.mean.device)
        sigma = self._sigmas(len(clean), generator).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        wide = sigma[:, None, None, None]
        noisy = clean + wide * noise
        keep, out, into = preconditioning(wide)
        digested = self.network.digest(with_mean(batch.inputs, batch.mean))
        raw = self.network.net(digested, batch.calendar, into * noisy, sigma)
        return masked_loss("mse", raw, (clean - keep * noisy) / out, batch.valid)

    def _sigmas(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw noise levels: lognormal, spread evenly over its quantiles and then shuffled."""
        order = torch.randperm(count, generator=generator)
        place = (order + torch.rand(count, generator=generator)) / count
        normal = math.sqrt(2) * torch.erfinv((2 * place - 1).clamp(-0.9999, 0.9999))
        config = self.diffusion
        return config.sigma_median * torch.exp(config.sigma_spread * normal)


def regression(stage: Stage, inputs: Inputs) -> Tensor:
    """Return the conditional mean (B, T, H, W): the drivers of the day plus a correction."""
    calm = torch.zeros(len(inputs.known), device=inputs.known.device)
    digested = stage.digest(inputs)
    change = stage.net(digested, inputs.calendar, None, calm)
    out: Tensor = inputs.known[:, : stage.net.outputs] + change
    return out


def with_mean(inputs: Inputs, mean: Tensor) -> Inputs:
    """Add the regression's field to what is known."""
    return inputs._replace(known=torch.cat([inputs.known, mean], 1))


def generated(net: FieldNet, digested: Tensor, inputs: Inputs, noisy: Tensor) -> Tensor:
    """Return realizations (B, T, H, W), one for each of the `noise_inputs`."""
    calm = torch.zeros(len(noisy), device=noisy.device)
    raw: Tensor = net(digested, inputs.calendar, noisy, calm)
    return inputs.known[:, : net.outputs] + raw


def fold_of(rows: Rows, folds: int) -> Rows:
    """Return the block of time of each of some ascending days.

    Examples
    --------
    >>> fold_of(np.arange(5), 2)
    array([0, 0, 0, 1, 1])
    """
    return np.arange(len(rows)) * folds // max(len(rows), 1)


class Generate(FieldTask):
    """Learn to draw a realization in one evaluation, from the almost fair CRPS of two of them."""

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
