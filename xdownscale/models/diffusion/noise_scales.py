"""White noise at several scales, for networks that generate a field in one evaluation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def noise_inputs(white: Tensor) -> Tensor:
    """Return noise (B, T, H, W) at three scales, each of variance about 1: (B, 3 T, H, W).

    Means over 8 and 32 pixels are scaled back to about 1, so that a network need not sum up
    thousands of pixels to move a large-scale pattern.

    Parameters
    ----------
    white : Tensor
        White noise of variance 1.
    """
    parts = [white]
    size = (int(white.shape[-2]), int(white.shape[-1]))
    for factor in (8, 32):
        pooled = functional.avg_pool2d(white, factor, ceil_mode=True)
        rows, columns = (
            torch.tensor([min(factor, n - i) for i in range(0, n, factor)]) for n in size
        )
        count = (rows[:, None] * columns[None, :]).to(white)
        # Bilinear weights take away about half of the variance, hence the 1.5.
        parts.append(
            functional.interpolate(1.5 * pooled * count.sqrt(), size=size, mode="bilinear")
        )
    return torch.cat(parts, 1)
