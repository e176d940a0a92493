"""Memory that sampling takes: tiles and patches that fit."""

from __future__ import annotations

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError
from xdownscale.models.device import resolve_device
from xdownscale.models.networks.field_unet import lattice, receptive_field
from xdownscale.models.sampling import tiling

_HELD = 64.0  # bytes held for each pixel and channel of the first level; 54 to 69 measured


def check_sampling(config: DownscalerConfig, stitching: str) -> None:
    """Raise where tiles or patches do not suit the network, before any work.

    Raises
    ------
    OptionError
    """
    sampling, network = config.sampling, config.network
    if isinstance(sampling.tile, int):
        tiling.check_tile(sampling.tile, receptive_field(network))
    if stitching == "whole":
        return
    size, unit = sampling.size, lattice(network)
    if size % unit:
        raise OptionError(
            f"sampling.size is {size}, and the network halves its patches down to one pixel of "
            f"{unit}: give a multiple of {unit}, such as {max(size // unit, 1) * unit}."
        )


def shared_tile(
    config: DownscalerConfig, shape: tuple[int, int], device: str, tasks: int
) -> int | str | None:
    """Return the side of tiles in which several tasks can sample at once, all alike.

    Parameters
    ----------
    config : DownscalerConfig
        Its `sampling.tile` is returned unless it is ``"auto"``.
    shape : tuple of int
        Rows and columns of the image.
    device : str
        Where they run; on a GPU each task looks for itself.
    tasks : int
        Tasks that share the memory.
    """
    if config.sampling.tile != "auto" or resolve_device(device) != "cpu":
        return config.sampling.tile
    unit = lattice(config.network)
    wide = (shape[0] + -shape[0] % unit, shape[1] + -shape[1] % unit)
    free = tiling.available_memory() / tasks
    return tiling.auto_tile(wide, held_bytes(config), receptive_field(config.network), free)


def held_bytes(config: DownscalerConfig) -> float:
    """Bytes that an evaluation holds for each pixel."""
    return _HELD * config.network.channels[0] / config.network.unshuffle**2
