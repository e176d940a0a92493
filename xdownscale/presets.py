"""Named configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdownscale.config import SIZES, DownscalerConfig
from xdownscale.errors import check_option

_SIZE_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {},
    "base": {
        "data": {"lags": 40},
        "network": {
            "channels": (64, 128, 256),
            "encoder_channels": (64, 128, 256),
            "attention": True,
        },
        "sampling": {"sampler": "ddpm", "steps": 1000, "stride": 2, "halo": 4},
    },
}
PRESETS: dict[str, dict[str, Any]] = {"paper": {"method": "diffusion"}}


def preset(name: str = "paper", **sections: Any) -> DownscalerConfig:
    """Return a named configuration, with some keys changed.

    Parameters
    ----------
    name : str
        ``"paper"``: the method of arXiv 2512.05139. ``network=dict(size="base")`` gives the
        published code's scale with its 40 lags and 1000 ancestral steps; the default size
        ``"tiny"`` trains on a CPU in minutes.
    **sections
        Section (``data``, ``network``, ``diffusion``, ``training``, ``sampling``) -> mapping of
        the keys to change.

    Returns
    -------
    DownscalerConfig

    Raises
    ------
    OptionError
        For an unknown preset, section, key or value; names the nearest valid one.

    Examples
    --------
    >>> preset("paper", network=dict(size="base")).data.lags
    40
    >>> preset("paper", training=dict(epochs=1)).training.epochs
    1
    """
    check_option("preset", name, PRESETS)
    config = DownscalerConfig().replace(**PRESETS[name])
    network = sections.get("network") or {}
    size = network.get("size", config.network.size) if isinstance(network, Mapping) else None
    if size is not None:
        check_option("network size", size, SIZES)
        config = config.replace(**_SIZE_DEFAULTS[size])
    return config.replace(**sections)
