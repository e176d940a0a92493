"""Losses over the pixels that are there."""

from __future__ import annotations

import torch
from torch import Tensor

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
