"""Latent variables: Gaussians, their KL divergence, and likelihoods of a field given them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.core.errors import check_option
from xdownscale.models.networks.latent_options import LIKELIHOODS

_LIMIT = 8.0  # of the logarithm of a variance


class Gaussian(NamedTuple):
    """Independent Gaussians: a posterior or a prior of latent numbers.

    Attributes
    ----------
    mean, log_variance : Tensor, equal shapes (B, ...)
        Of each number.
    """

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def from_channels(cls, numbers: Tensor) -> Gaussian:
        """Return Gaussians from means and log variances, the two halves of the channels.

        Parameters
        ----------
        numbers : Tensor, (B, 2 size, ...)
            What a network put out; log variances are limited to -8 to 8.
        """
        mean, log_variance = numbers.chunk(2, 1)
        return cls(mean, log_variance.clamp(-_LIMIT, _LIMIT))

    @classmethod
    def standard(cls, like: Tensor) -> Gaussian:
        """Return Gaussians of mean 0 and variance 1, in the shape of a tensor."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    def at(self, noise: Tensor) -> Tensor:
        """Return the numbers that standard normal noise of the same shape stands for."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def kl(self, prior: Gaussian) -> Tensor:
        """Return the KL divergence of each number from its prior, in nats, (B, ...).

        ``(v/w - 1 - ln(v/w) + (m - n)^2 / w) / 2`` for means m, n and variances v, w.

        Examples
        --------
        >>> one = Gaussian(torch.ones(1, 1), torch.zeros(1, 1))
        >>> one.kl(Gaussian.standard(one.mean)).item()
        0.5
        """
        ratio = self.log_variance - prior.log_variance
        apart = (self.mean - prior.mean).square() * torch.exp(-prior.log_variance)
        # expm1 keeps the digits of nearly equal variances; rounding may leave less than 0.
        return 0.5 * (torch.expm1(ratio) - ratio + apart).clamp(min=0)


class Likelihood(nn.Module):
    """Likelihood of a field given latent numbers: independent errors of one scale per target.

    Parameters
    ----------
    kind : str
        ``"laplace"`` or ``"normal"``.
    scale : float or None
        Mean absolute error (Laplace) or standard deviation (normal); None: learned (Rybkin et al.
        2021, arXiv 2006.13202).
    targets : int
        Number of targets.
    """

    log_scale: Tensor

    def __init__(self, kind: str, scale: float | None, targets: int = 1) -> None:
        super().__init__()
        check_option("likelihood", kind, LIKELIHOODS)
        self.kind = kind
        start = torch.full((targets,), math.log(1.0 if scale is None else scale))
        if scale is None:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    def forward(self, error: Tensor) -> Tensor:
        """Return minus the log likelihood of errors (B, T, H, W), in nats for each pixel.

        Examples
        --------
        >>> Likelihood("laplace", 1.0)(torch.zeros(1, 1, 1, 1)).round(decimals=4).item()
        0.6930999755859375
        """
        log_scale = self.log_scale[:, None, None]
        if self.kind == "laplace":
            return error.abs() * torch.exp(-log_scale) + log_scale + math.log(2)
        half = 0.5 * error.square() * torch.exp(-2 * log_scale)
        return half + log_scale + 0.5 * math.log(2 * math.pi)


def kl_penalty(kl: Tensor, free: float) -> Tensor:
    """Return the KL of a patch beyond the nats that each latent number has free.

    Parameters
    ----------
    kl : Tensor, (B, ...)
        Of each number in each patch.
    free : float
        Nats of each number, on the mean over the batch, that are not penalised.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> kl_penalty(torch.tensor([[0.1, 1.0], [0.3, 2.0]]), free=0.5).item()
    1.0
    """
    return functional.relu(kl.mean(0) - free).sum()


def kl_weight(progress: float, anneal: float) -> float:
    """Return the share of the KL's weight that counts at a point of the training.

    Parameters
    ----------
    progress : float
        Share of the planned updates that are done.
    anneal : float
        Share over which the weight rises from 0 to 1 (Bowman et al. 2016); 0: it is 1 throughout.

    Examples
    --------
    >>> kl_weight(0.0, 0.5), kl_weight(0.25, 0.5), kl_weight(0.8, 0.5), kl_weight(0.0, 0.0)
    (0.0, 0.5, 1.0, 1.0)
    """
    return 1.0 if progress >= anneal else progress / anneal


def gain(posterior_error: float, prior_error: float) -> float:
    """Return the share of the prior's error that the posterior's latent numbers take away.

    Parameters
    ----------
    posterior_error, prior_error : float
        Mean absolute error of fields decoded from latent numbers of the posterior, which has seen
        the target, and of the prior.

    Returns
    -------
    float
        ``1 - posterior_error / prior_error``: what latent numbers are used for. Near 0 the
        posterior has collapsed onto the prior, or the decoder does not read them.

    Examples
    --------
    >>> gain(0.5, 2.0)
    0.75
    """
    return 1 - posterior_error / prior_error if prior_error > 0 else math.nan
