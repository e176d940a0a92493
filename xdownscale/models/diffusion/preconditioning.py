"""Preconditioning of a denoiser (Karras et al. 2022, table 1)."""

from __future__ import annotations

from torch import Tensor


def preconditioning(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return c_skip, c_out and c_in for data of variance 1 (Karras et al. 2022, table 1).

    Examples
    --------
    >>> import torch
    >>> [float(c) for c in preconditioning(torch.tensor(1.0))]
    [0.5, 0.7071067690849304, 0.7071067690849304]
    """
    total = 1 + sigma.square()
    return 1 / total, sigma / total.sqrt(), 1 / total.sqrt()
