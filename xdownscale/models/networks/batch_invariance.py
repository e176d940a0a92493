"""Batch invariance: results do not depend on what else is in a batch, to the last bit (on a CPU).

Kernels for one image, and for fewer than four rows, sum in another order than those for many.
A generated field must not depend on which other fields are generated in the same batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_exporting = ContextVar("_exporting", default=False)
LANES = 32  # numbers that vector instructions process at once; the rest round differently


@contextlib.contextmanager
def any_batch() -> Iterator[None]:
    """Let networks compute a batch at once: what is traced within holds for batches of any size."""
    before = _exporting.set(True)
    try:
        yield
    finally:
        _exporting.reset(before)


class RowLinear(nn.Linear):
    """Linear layer with batch-size-invariant output once it is trained."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, inputs) to (B, outputs)."""
        # every thread gets four rows or more
        if self.training or x.is_cuda or _exporting.get():
            return super().forward(x)
        lacking = max(64, 4 * torch.get_num_threads()) - len(x)
        if lacking <= 0:
            return super().forward(x)
        return super().forward(functional.pad(x, (0, 0, 0, lacking)))[: len(x)]


def silu(x: Tensor) -> Tensor:
    """Return ``x * sigmoid(x)``, image by image where one does not fill the vector lanes.

    Examples
    --------
    >>> silu(torch.zeros(2, 3)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if _exporting.get() or x[:1].numel() % LANES == 0:
        return functional.silu(x)
    return one_by_one(functional.silu, x)


def film_layer(embedded: int, channels: int) -> RowLinear:
    """Return a layer of feature-wise scales and shifts (FiLM) that starts as the identity.

    Parameters
    ----------
    embedded : int
        Numbers of the embedding.
    channels : int
        Channels to scale by one plus the first half of the output, and to shift by the second.

    Examples
    --------
    >>> film_layer(4, 2)(torch.ones(1, 4)).abs().max().item()
    0.0
    """
    layer = RowLinear(embedded, 2 * channels)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def paired(indices: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return indices of a batch, a lone one twice: kernels for one image round differently.

    Examples
    --------
    >>> paired(np.array([7])).tolist(), paired(np.array([7, 8])).tolist()
    ([7, 7], [7, 8])
    """
    return np.repeat(indices, 2) if indices.size == 1 else indices


def batches_of(count: int, size: int) -> Iterator[NDArray[np.intp]]:
    """Yield indices in batches; one that is left over twice, unless all batches are of one.

    Examples
    --------
    >>> [batch.tolist() for batch in batches_of(5, 2)], [b.tolist() for b in batches_of(2, 1)]
    ([[0, 1], [2, 3], [4, 4]], [[0], [1]])
    """
    for start in range(0, count, size):
        batch = np.arange(start, min(start + size, count))
        yield batch if size == 1 else paired(batch)


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
    if torch.is_grad_enabled() or batch.is_cuda or _exporting.get():
        return function(batch)
    return torch.cat([function(batch[k : k + 1]) for k in range(len(batch))])
