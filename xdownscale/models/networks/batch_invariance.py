"""Results that do not depend on what else is in a batch, to the last bit (on a CPU).

Kernels for one image, and for fewer than four rows, add up in another order than those for many.
A generated field must not depend on which other fields are generated beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

LANES = 32  # numbers that vector instructions take at once; the rest round differently


class RowLinear(nn.Linear):
    """Linear layer with batch-size-invariant output once it is trained."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, inputs) to (B, outputs)."""
        # every thread gets four rows or more
        lacking = max(64, 4 * torch.get_num_threads()) - len(x)
        if self.training or x.is_cuda or lacking <= 0:
            return super().forward(x)
        return super().forward(functional.pad(x, (0, 0, 0, lacking)))[: len(x)]


def evaluate_batch(function: Callable[..., Tensor], *batches: Tensor) -> Tensor:
    """Evaluate a function of batches; a batch of one goes twice, and comes out once.

    Parameters
    ----------
    function : callable
        Of as many batches as are given.
    *batches : Tensor (B, ...)
        Of one length.

    Examples
    --------
    >>> evaluate_batch(lambda x: x * len(x), torch.ones(1))
    tensor([2.])
    >>> evaluate_batch(lambda x: x * 2, torch.ones(3))
    tensor([2., 2., 2.])
    """
    if len(batches[0]) > 1:
        return function(*batches)
    return function(*(torch.cat([batch, batch]) for batch in batches))[:1]


def one_by_one(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Evaluate a function of small images image by image (a batch at once where gradients flow).

    Parameters
    ----------
    function : callable
        Of a batch.
    batch : Tensor (B, ...)
        Its images.

    Examples
    --------
    >>> one_by_one(lambda x: x * len(x), torch.ones(3))
    tensor([3., 3., 3.])
    >>> with torch.inference_mode():
    ...     one_by_one(lambda x: x * len(x), torch.ones(3))
    tensor([1., 1., 1.])
    """
    if torch.is_grad_enabled() or batch.is_cuda:
        return function(batch)
    return torch.cat([function(batch[k : k + 1]) for k in range(len(batch))])
