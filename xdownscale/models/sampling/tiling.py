"""Tiling: evaluate a fully convolutional function on a large image tile by tile.

All fields are tensors (n, channels, y, x) of one height and width, and so is what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from xdownscale.core.errors import OptionError

Function = Callable[..., Tensor]


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


def evaluate_tiles(
    function: Function, inputs: Sequence[Tensor], tile: int, halo: int, unit: int
) -> Tensor:
    """Evaluate a function tile by tile; the result is that of one piece, but for rounding.

    Parameters
    ----------
    function : callable
        Fields of one size -> field of that size. The output at a pixel depends on at most `halo`
        pixels around it, and on its place on a lattice of `unit` pixels.
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
    >>> import torch
    >>> x = torch.arange(64.0).view(1, 1, 8, 8)
    >>> bool((evaluate_tiles(lambda part: 2 * part, [x], tile=4, halo=2, unit=2) == 2 * x).all())
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
    """Yield the window that is read for each tile, and the part of it that is kept."""
    cores = [[slice(a, min(a + tile, n)) for a in range(0, n, tile)] for n in shape]
    for y in cores[0]:
        for x in cores[1]:
            read = tuple(
                slice(max(core.start - halo, 0), min(core.stop + halo, n))
                for core, n in zip((y, x), shape, strict=True)
            )
            yield (read[0], read[1]), (y, x)
