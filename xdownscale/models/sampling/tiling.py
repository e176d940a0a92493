"""Evaluate a fully convolutional function piece by piece: tiles, and fused patches.

All fields are tensors (n, channels, y, x) of one height and width, and so is what comes out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.core.errors import OptionError
from xdownscale.patches.layout import PatchLayout

Function = Callable[..., Tensor]
SHARE = 0.5  # of the memory that is there


def check_tile(tile: int, halo: int) -> None:
    """Raise unless a tile is at least twice as wide as its halo.

    Raises
    ------
    OptionError
    """
    if tile < 2 * halo:
        raise OptionError(
            f"tile is {tile}, less than twice the halo of {halo} pixels that the network looks "
            f"around each of them: most of the work would be thrown away. Give tile={2 * halo} or "
            "more, or tile='auto'."
        )


def evaluate(
    function: Function, inputs: Sequence[Tensor], tile: int, halo: int, unit: int
) -> Tensor:
    """Evaluate a function tile by tile; the same as in one piece, but for rounding.

    Parameters
    ----------
    function : callable
        Fields of one size -> field of that size. What comes out at a pixel depends on at most
        `halo` pixels around it, and on where it lies on a lattice of `unit` pixels.
    inputs : sequence of Tensor, (n, channels, y, x)
        Height and width are multiples of `unit`.
    tile : int
        Pixels on a side that are kept of each evaluation; rounded up to a multiple of `unit`.
    halo : int
        Pixels around it that are read as well; rounded up likewise.
    unit : int
        Stride of the function's coarsest level.

    Returns
    -------
    Tensor, (n, channels, y, x)

    Raises
    ------
    OptionError
        If the tile is less than twice as wide as the halo.

    Examples
    --------
    >>> x = torch.arange(64.0).view(1, 1, 8, 8)
    >>> bool((evaluate(lambda part: 2 * part, [x], tile=4, halo=2, unit=2) == 2 * x).all())
    True
    """
    check_tile(tile, halo)
    tile, halo = (-(-n // unit) * unit for n in (tile, halo))
    shape = (int(inputs[0].shape[-2]), int(inputs[0].shape[-1]))
    out: Tensor | None = None
    for (y, x), (core_y, core_x) in _tiles(shape, tile, halo):
        part = function(*(field[..., y, x] for field in inputs))
        if out is None:
            out = part.new_empty((*part.shape[:-2], *shape))
        inside = tuple(
            slice(core.start - read.start, core.stop - read.start)
            for core, read in ((core_y, y), (core_x, x))
        )
        out[..., core_y, core_x] = part[..., inside[0], inside[1]]
    assert out is not None
    return out


def _tiles(
    shape: tuple[int, int], tile: int, halo: int
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield what is read of each tile, and what is kept."""
    cores = [[slice(a, min(a + tile, n)) for a in range(0, n, tile)] for n in shape]
    for y in cores[0]:
        for x in cores[1]:
            read = tuple(
                slice(max(core.start - halo, 0), min(core.stop + halo, n))
                for core, n in zip((y, x), shape, strict=True)
            )
            yield (read[0], read[1]), (y, x)


def auto_tile(
    shape: tuple[int, int], bytes_per_pixel: float, halo: int, available: float | None = None
) -> int | None:
    """Return how large tiles may be: None where the whole image fits into half of the memory.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image.
    bytes_per_pixel : float
        What an evaluation holds at once.
    halo : int
        Pixels around a tile.
    available : float, optional
        Bytes that are free; default what the system says.

    Returns
    -------
    int or None
        At least twice the halo, whatever the memory.

    Examples
    --------
    >>> auto_tile((1000, 1000), 1e3, 80, available=4e9), auto_tile((1000, 1000), 1e3, 80, 1e9)
    (None, 547)
    """
    free = available_memory() if available is None else available
    pixels = SHARE * free / bytes_per_pixel
    if shape[0] * shape[1] <= pixels:
        return None
    return max(2 * halo, int(np.sqrt(pixels)) - 2 * halo)


def available_memory(device: str = "cpu") -> float:
    """Return the bytes of memory that are free.

    Parameters
    ----------
    device : str
        ``"cuda"`` for the current CUDA device; anything else for main memory.

    Returns
    -------
    float
        4 GB where the system does not say.

    Examples
    --------
    >>> available_memory() > 0
    True
    """
    if device == "cuda":
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return float(torch.cuda.mem_get_info()[0] + kept)
    try:
        lines = dict(line.split(":") for line in _meminfo())
        return 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        names = getattr(os, "sysconf_names", {})
        if {"SC_PAGE_SIZE", "SC_AVPHYS_PAGES"} <= set(names):
            return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
        return 4e9


def _meminfo() -> list[str]:
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  (no file of ours)
        return file.read().splitlines()


def cut(field: Tensor, layout: PatchLayout, numbers: NDArray[np.intp]) -> Tensor:
    """Cut patches out of one field each.

    Parameters
    ----------
    field : Tensor, (n, channels, y, x)
        Fields.
    layout : PatchLayout
        Where patches lie.
    numbers : ndarray of int (m,)
        Number of each patch; field k has the patches ``k * n_patches`` and following.

    Returns
    -------
    Tensor, (m, channels, size, size)
    """
    which, patch = np.divmod(numbers, layout.n_patches)
    corners = layout.positions[patch]
    size = layout.size
    windows = field.unfold(-2, size, 1).unfold(-2, size, 1)  # a view (n, c, y, x, size, size)
    where = [torch.from_numpy(np.ascontiguousarray(k)) for k in (which, *corners.T)]
    out: Tensor = windows[where[0], :, where[1], where[2]]
    return out


class Canvas:
    """Add weighted patches up to fields.

    Parameters
    ----------
    layout : PatchLayout
        Where patches lie.
    count, channels : int
        Of the fields.
    like : Tensor
        Device and kind of number.
    """

    def __init__(self, layout: PatchLayout, count: int, channels: int, like: Tensor) -> None:
        self.layout = layout
        shape = (count, channels, layout.shape[0] * layout.shape[1])
        self.total = torch.zeros(shape, device=like.device, dtype=torch.float32)
        ny, nx = np.indices((layout.size, layout.size))
        self._inside = (ny * layout.shape[1] + nx).ravel()

    def add(self, patches: Tensor, numbers: NDArray[np.intp]) -> None:
        """Add patches (m, channels, size, size), numbered as for `cut`."""
        which, patch = np.divmod(numbers, self.layout.n_patches)
        weights = torch.from_numpy(self.layout.weights(patch)).to(self.total)
        weighted = (patches.float() * weights[:, None]).flatten(-2)
        y, x = self.layout.positions[patch].T
        place = (y * self.layout.shape[1] + x)[:, None] + self._inside
        for field in np.unique(which):
            mine = np.flatnonzero(which == field)
            into = torch.from_numpy(place[mine].ravel()).to(patches.device)
            values = weighted[torch.from_numpy(mine).to(patches.device)].transpose(0, 1).flatten(1)
            self.total[int(field)].index_add_(1, into, values)

    def result(self) -> Tensor:
        """Return the fields (n, channels, y, x)."""
        return self.total.unflatten(-1, self.layout.shape)  # type: ignore[no-untyped-call,no-any-return]


def batches(layout: PatchLayout, fields: int, size: int) -> Iterator[NDArray[np.intp]]:
    """Yield the numbers of all patches of some fields, `size` at a time."""
    total = fields * layout.n_patches
    for start in range(0, total, size):
        yield np.arange(start, min(start + size, total))


def fused(function: Function, inputs: Sequence[Tensor], layout: PatchLayout, batch: int) -> Tensor:
    """Evaluate a function on patches and average what comes out where they overlap.

    Within a sampler this is MultiDiffusion (Bar-Tal et al. 2023, arXiv 2302.08113): the denoised
    patches are made to agree at every step.

    Parameters
    ----------
    function : callable
        Patches (m, channels, size, size), and their numbers, -> patches.
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
    >>> same = fused(lambda part, numbers: part, [x], layout, batch=4)
    >>> bool(torch.allclose(same, x, atol=1e-4))
    True
    """
    canvas: Canvas | None = None
    for numbers in batches(layout, len(inputs[0]), batch):
        part = function(*(cut(field, layout, numbers) for field in inputs), numbers)
        if canvas is None:
            canvas = Canvas(layout, len(inputs[0]), int(part.shape[1]), part)
        canvas.add(part, numbers)
    assert canvas is not None
    return canvas.result()
