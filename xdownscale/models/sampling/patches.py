"""Generate fields patch by patch: cut patches of tensors, and blend what is generated.

Patches are numbered: field k has the patches ``k * n_patches`` and following of its layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.models.networks.batch_invariance import paired
from xdownscale.patches.layout import PatchLayout

Indices = NDArray[np.intp]


def cut_patches(fields: Tensor, layout: PatchLayout, numbers: Indices) -> Tensor:
    """Cut patches out of fields.

    Parameters
    ----------
    fields : Tensor, (n, channels, y, x)
        Fields.
    layout : PatchLayout
        Where patches lie.
    numbers : ndarray of int (m,)
        Number of each patch.

    Returns
    -------
    Tensor, (m, channels, size, size)
    """
    which, patch = np.divmod(numbers, layout.n_patches)
    size = layout.size
    windows = fields.unfold(-2, size, 1).unfold(-2, size, 1)  # a view (n, c, y, x, size, size)
    where = [
        torch.from_numpy(np.ascontiguousarray(index))
        for index in (which, *layout.positions[patch].T)
    ]
    out: Tensor = windows[where[0], :, where[1], where[2]]
    return out


def patch_batches(layout: PatchLayout, fields: int, size: int) -> Iterator[Indices]:
    """Yield the numbers of all patches of some fields, `size` at a time.

    Examples
    --------
    >>> layout = PatchLayout(shape=(4, 6), size=4, stride=2, halo=1)
    >>> [batch.tolist() for batch in patch_batches(layout, fields=2, size=3)]
    [[0, 1, 2], [3]]
    """
    total = fields * layout.n_patches
    for start in range(0, total, size):
        yield np.arange(start, min(start + size, total))


class PatchBlender:
    """Adds weighted patches up to fields, in the order of their numbers.

    Parameters
    ----------
    layout : PatchLayout
        Where patches lie; its weights add up to one at every pixel.
    dtype : torch.dtype
        Precision of the sums.
    """

    def __init__(self, layout: PatchLayout, dtype: torch.dtype = torch.float32) -> None:
        self.layout = layout
        self.dtype = dtype
        self._sums: dict[int, Tensor] = {}  # field -> (channels, pixels)
        self._ended = 0  # number of the first field that lacks patches
        rows, columns = np.indices((layout.size, layout.size))
        self._inside = (rows * layout.shape[1] + columns).ravel()

    def add(self, patches: Tensor, numbers: Indices) -> list[Tensor]:
        """Add patches (m, channels, size, size), and hand over the fields that they complete.

        Returns
        -------
        list of Tensor, (channels, y, x)
            These fields in their order; nothing of them is kept here.
        """
        which, patch = np.divmod(numbers, self.layout.n_patches)
        weights = torch.from_numpy(self.layout.weights(patch)).to(patches.device, self.dtype)
        weighted = (patches.to(self.dtype) * weights[:, None]).flatten(-2)
        y, x = self.layout.positions[patch].T
        place = (y * self.layout.shape[1] + x)[:, None] + self._inside
        for field in np.unique(which).tolist():
            mine = np.flatnonzero(which == field)
            total = self._sum(field, weighted)
            pixels = torch.from_numpy(place[mine].ravel()).to(patches.device)
            values = weighted[torch.from_numpy(mine).to(patches.device)]
            for channel, row in enumerate(total):
                row.index_add_(0, pixels, values[:, channel].flatten())
        ended = (int(numbers[-1]) + 1) // self.layout.n_patches
        complete = [self._sums.pop(field) for field in range(self._ended, ended)]
        self._ended = ended
        return [total.view(-1, *self.layout.shape) for total in complete]

    def _sum(self, field: int, like: Tensor) -> Tensor:
        if field not in self._sums:
            pixels = self.layout.shape[0] * self.layout.shape[1]
            self._sums[field] = like.new_zeros((like.shape[1], pixels))
        return self._sums[field]


def blend_patches(
    generate: Callable[[Indices], Tensor],
    layout: PatchLayout,
    fields: int,
    batch: int,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Tensor]:
    """Generate all patches of some fields, and yield each field when its patches are blended.

    Parameters
    ----------
    generate : callable
        Numbers of patches (m,) -> patches (m, channels, size, size). A lone patch is asked for
        twice: see `models.networks.batch_invariance`.
    layout : PatchLayout
        Where patches lie, and their weights.
    fields : int
        Number of fields.
    batch : int
        Patches at a time; a batch may hold patches of several fields.
    dtype : torch.dtype
        Precision of the sums.

    Yields
    ------
    Tensor, (channels, y, x)

    Examples
    --------
    >>> layout = PatchLayout(shape=(12, 12), size=8, stride=2, halo=1)
    >>> ones = lambda numbers: torch.ones(len(numbers), 1, 8, 8)
    >>> field, other = blend_patches(ones, layout, fields=2, batch=4)
    >>> bool(torch.allclose(field, torch.ones(1, 12, 12)))
    True
    """
    blender = PatchBlender(layout, dtype)
    for numbers in patch_batches(layout, fields, batch):
        yield from blender.add(generate(paired(numbers))[: numbers.size], numbers)


def fuse_patches(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], layout: PatchLayout, batch: int
) -> Tensor:
    """Evaluate a function on patches of fields and average its output where they overlap.

    Within a sampler this is MultiDiffusion (Bar-Tal et al. 2023, arXiv 2302.08113): the denoised
    patches are made to agree at every step.

    Parameters
    ----------
    function : callable
        Patches (m, channels, size, size) of each input, and their numbers, -> patches.
    inputs : sequence of Tensor, (n, channels, y, x)
        Fields that patches are cut from.
    layout : PatchLayout
        Where they lie; its weights average them.
    batch : int
        Patches at a time.

    Returns
    -------
    Tensor, (n, channels, y, x)

    Examples
    --------
    >>> layout = PatchLayout(shape=(12, 12), size=8, stride=2, halo=1)
    >>> x = torch.arange(144.0).view(1, 1, 12, 12)
    >>> same = fuse_patches(lambda part, numbers: part, [x], layout, batch=4)
    >>> bool(torch.allclose(same, x, atol=1e-4))
    True
    """

    def generate(numbers: Indices) -> Tensor:
        return function(*(cut_patches(field, layout, numbers) for field in inputs), numbers)

    return torch.stack(list(blend_patches(generate, layout, len(inputs[0]), batch)))
