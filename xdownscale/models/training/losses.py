"""Losses over valid pixels: MAE, MSE, CRPS."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from xdownscale.core.errors import OptionError, check_option


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

    ``sum_jk |x_j - y| + |x_k - y| - (1 - (1 - alpha) / M) |x_j - x_k|`` over ``2 M (M - 1)``, for
    pairs of different members: Lang et al. 2024 (arXiv 2412.15832), equation 4, in the form in
    which no large numbers cancel. At alpha 1 it is the fair CRPS, at 0 the plain one.

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

    Raises
    ------
    OptionError
        If there is only one member.

    Examples
    --------
    >>> target = torch.zeros(1, 1, 2, 2)
    >>> members = torch.stack([target - 1, target + 1])
    >>> almost_fair_crps(members, target, target == 0, alpha=1.0)
    tensor(0.)
    """
    count = len(members)
    if count < 2:
        raise OptionError(f"{count} member is no ensemble: give two realizations or more.")
    errors = (members - torch.where(valid, target, 0)).abs()
    part = 1 - (1 - alpha) / count
    score = torch.zeros_like(errors[0])
    for j, k in itertools.combinations(range(count), 2):
        score = score + (errors[j] + errors[k] - part * (members[j] - members[k]).abs())
    score = score / (count * (count - 1))
    return (score * valid).sum() / valid.sum().clamp(min=1)


def pooled_crps(
    members: Tensor,
    target: Tensor,
    valid: Tensor,
    factors: Sequence[int] = (1, 2, 4, 8, 16),
    alpha: float = 0.95,
) -> Tensor:
    """Return the mean of `almost_fair_crps` over averages of ever larger squares.

    The score of single pixels does not depend on the correlation of neighbours; that of their
    averages does.

    Parameters
    ----------
    members, target, valid, alpha
        As for `almost_fair_crps`.
    factors : sequence of int
        Sides of the squares, in pixels; those larger than the field are left out, and so are the
        last rows and columns that fill no square. A square counts where half of its pixels do.

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    OptionError
        If there is only one member, or every square is larger than the field.

    Examples
    --------
    >>> target = torch.zeros(1, 1, 4, 4)
    >>> pooled_crps(torch.stack([target, target]), target, target == 0)
    tensor(0.)
    """
    present = valid.to(target.dtype)
    clean = torch.where(valid, target, 0)
    members = torch.where(valid, members, 0)
    sides = [side for side in factors if side <= min(target.shape[-2:])]
    if not sides:
        raise OptionError(
            f"No square of {tuple(factors)} pixels fits into a field of "
            f"{tuple(target.shape[-2:])}: give a factor of 1 too."
        )
    scores = []
    for side in sides:
        share = functional.avg_pool2d(present, side)
        filled = share.clamp(min=1 / side**2)
        pooled = functional.avg_pool2d(members.flatten(0, 1), side)
        pooled = pooled.view(*members.shape[:2], *pooled.shape[1:])
        truth = functional.avg_pool2d(clean, side) / filled
        scores.append(almost_fair_crps(pooled / filled, truth, share >= 0.5, alpha))
    return torch.stack(scores).mean()
