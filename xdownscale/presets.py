"""Named configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdownscale.config import DownscalerConfig
from xdownscale.errors import check_option

_Tree = dict[str, dict[str, Any]]
_FAST: _Tree = {
    "data": {"scaling": "standard", "patch_size": 16, "patch_stride": 16},
    "network": {"unshuffle": 2, "norm": "rms", "channels": (64, 96, 128)},
    "diffusion": {"loss": "mse", "sigma_median": 0.3},
    "training": {
        "rate": "cosine",
        "epochs": 30,
        "mean_epochs": 20,
        "pretrain_epochs": 10,
        "batch_days": 4,
        "learning_rate": 2e-3,
        "patience": 1000,
    },
    "sampling": {"sampler": "dpmpp_2m", "steps": 8},
}
_PAPER_BASE: _Tree = {
    "data": {"lags": 40},
    "network": {
        "channels": (64, 128, 256),
        "encoder_channels": (64, 128, 256),
        "attention": True,
    },
    "sampling": {"sampler": "ddpm", "steps": 1000, "stride": 2, "halo": 4},
}
# About 1, 11 and 33 million weights; 0.13 MFLOP a pixel and evaluation at "tiny".
_FAST_BASE: _Tree = {"network": {"channels": (192, 320, 416)}}
_FAST_LARGE: _Tree = {"network": {"channels": (320, 544, 736)}}
PRESETS: dict[str, tuple[str, _Tree, dict[str, _Tree]]] = {
    "fast": ("residual", _FAST, {"tiny": {}, "base": _FAST_BASE, "large": _FAST_LARGE}),
    "paper": ("diffusion", {}, {"tiny": {}, "base": _PAPER_BASE}),
}


def preset(name: str = "fast", **sections: Any) -> DownscalerConfig:
    """Return a named configuration, with some keys changed.

    Parameters
    ----------
    name : str
        ``"fast"``: a regression and diffusion of its residual, both of whole fields, from a window
        of coarse days. ``"paper"``: the method of arXiv 2512.05139, where
        ``network=dict(size="base")`` gives the published code's scale with its 40 lags and 1000
        ancestral steps. The default size ``"tiny"`` trains on a CPU in minutes.
    **sections
        Section (``data``, ``network``, ``diffusion``, ``training``, ``sampling``) -> mapping of
        the keys to change; ``method="crps"`` or ``"unet"`` beside ``"fast"``.

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
    method, sections_of, sizes = PRESETS[name]
    config = DownscalerConfig().replace(method=method, **sections_of)
    network = sections.get("network") or {}
    size = network.get("size", config.network.size) if isinstance(network, Mapping) else None
    if size is not None:
        check_option("network size", size, sizes)
        config = config.replace(**sizes[size])
    return config.replace(**sections)
