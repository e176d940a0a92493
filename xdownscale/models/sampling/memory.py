"""Memory of sampling: what is free, what an evaluation takes, and tiles that fit into it.

Torch is imported late: methods without networks ask how much memory is free, too.
"""

from __future__ import annotations

import os

import numpy as np

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError

_HELD = 64.0  # bytes held for each pixel and channel of the first level; 54 to 69 measured
SHARE = 0.5  # of the free memory


def check_sampling(config: DownscalerConfig, stitching: str) -> None:
    """Raise if tiles or patches do not suit the network, before any work.

    Raises
    ------
    OptionError
    """
    from xdownscale.models.networks.field_unet import lattice, receptive_field
    from xdownscale.models.sampling.tiling import check_tile

    sampling = config.sampling
    network = config.network
    if isinstance(sampling.tile, int):
        check_tile(sampling.tile, receptive_field(network))
    if stitching == "whole":
        return
    size = sampling.size
    unit = lattice(network)
    if size % unit:
        raise OptionError(
            f"sampling.size is {size}, and the network halves its patches down to one pixel of "
            f"{unit}: give a multiple of {unit}, such as {max(size // unit, 1) * unit}."
        )


def held_bytes(config: DownscalerConfig) -> float:
    """Return the bytes that an evaluation holds for each pixel."""
    return _HELD * config.network.channels[0] / config.network.unshuffle**2


def auto_tile(
    shape: tuple[int, int], bytes_per_pixel: float, halo: int, available: float | None = None
) -> int | None:
    """Return the side of tiles that fit into half of the memory; None where the image fits.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image.
    bytes_per_pixel : float
        Memory of an evaluation.
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
        import torch

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
