"""Losses over the pixels that are there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from xdownscale.errors import check_option


def masked_loss(kind: str, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean absolute or squared error over the valid pixels.

    Parameters
    ----------
    kind : str
        ``"mae"`` or ``"mse"``.
    prediction, target : Tensor, (B, C, H, W)
        `target` may be NaN where `valid` is False.
    valid : Tensor of bool, (B, C, H, W)
        Pixels that count. Where none does the loss is 0.

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    OptionError
        For another `kind`.

    Examples
    --------
    >>> target = torch.tensor([[[[1.0, float("nan")]]]])
    >>> masked_loss("mae", torch.zeros(1, 1, 1, 2), target, target.isfinite()).item()
    1.0
    """
    check_option("loss", kind, ("mae", "mse"))
    # NaN times zero is NaN: the target is replaced before the difference is taken.
    error = prediction - torch.where(valid, target, 0)
    error = error.abs() if kind == "mae" else error.square()
    return (error * valid).sum() / valid.sum().clamp(min=1)


def almost_fair_crps(members: Tensor, target: Tensor, valid: Tensor, alpha: float = 0.95) -> Tensor:
    """Return the almost-fair CRPS of an ensemble, mean over the valid pixels.

    ``mean_j |x_j - y| - (1 - (1 - alpha) / M) sum_jk |x_j - x_k| / (2 M (M - 1))``, the form of
    Lang et al. 2024 (arXiv 2412.15832, equation 4) whose terms never are large differences. At
    alpha 1 it is the fair CRPS, at 0 the plain one.

    Parameters
    ----------
    members : Tensor, (M, B, C, H, W)
        Realizations, two or more.
    target : Tensor, (B, C, H, W)
        May be NaN where `valid` is False.
    valid : Tensor of bool, (B, C, H, W)
        Pixels that count. Where none does the loss is 0.
    alpha : float
        Share of fairness, in [0, 1].

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> target = torch.zeros(1, 1, 2, 2)
    >>> members = torch.stack([target - 1, target + 1])
    >>> almost_fair_crps(members, target, target == 0, alpha=1.0)
    tensor(0.)
    """
    count = len(members)
    clean = torch.where(valid, target, 0)
    ranked = members.sort(0).values
    # sum over pairs of |x_j - x_k|, from the sorted members
    weights = 2 * torch.arange(1, count + 1, device=members.device) - count - 1
    shape = (count, *(1,) * target.ndim)
    apart = (weights.view(shape) * ranked).sum(0) * 2
    fairness = (1 - (1 - alpha) / count) / (2 * count * (count - 1))
    score = (members - clean).abs().mean(0) - fairness * apart
    return (score * valid).sum() / valid.sum().clamp(min=1)


def pooled_crps(
    members: Tensor,
    target: Tensor,
    valid: Tensor,
    factors: Sequence[int] = (1, 2, 4, 8, 16),
    alpha: float = 0.95,
) -> Tensor:
    """Return the mean of `almost_fair_crps` over averages of ever larger squares.

    The score of single pixels does not see whether neighbours go together; that of their averages
    does.

    Parameters
    ----------
    members, target, valid, alpha
        As for `almost_fair_crps`.
    factors : sequence of int
        Sides of the squares, in pixels; those larger than the field are left out. A square counts
        where half of its pixels do.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> target = torch.zeros(1, 1, 4, 4)
    >>> pooled_crps(torch.stack([target, target]), target, target == 0)
    tensor(0.)
    """
    present, clean = valid.to(target.dtype), torch.where(valid, target, 0)
    members = torch.where(valid, members, 0)
    scores = []
    for side in [f for f in factors if f <= min(target.shape[-2:])]:
        share = functional.avg_pool2d(present, side)
        filled = share.clamp(min=1 / side**2)
        pooled = functional.avg_pool2d(members.flatten(0, 1), side)
        pooled = pooled.view(*members.shape[:2], *pooled.shape[1:])
        truth = functional.avg_pool2d(clean, side) / filled
        scores.append(almost_fair_crps(pooled / filled, truth, share >= 0.5, alpha))
    return torch.stack(scores).mean()
