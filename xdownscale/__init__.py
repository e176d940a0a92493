"""Downscale a long coarse gridded record with a short fine one, on xarray objects.

Importing this package registers the accessors ``.downscale`` and ``.geostat``. Everything else is
loaded when it is first used.

Examples
--------
>>> import xdownscale as xd
>>> xd.preset("paper").data.patch_size
16
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from xdownscale import accessors as accessors

if TYPE_CHECKING:
    from xdownscale import (
        baselines,
        config,
        datasets,
        errors,
        geostat,
        grids,
        labels,
        patches,
        plot,
        regridding,
        reports,
        scaling,
        skill,
        splits,
        windows,
    )
    from xdownscale.config import DownscalerConfig
    from xdownscale.downscaler import Downscaler
    from xdownscale.functional import fit, load, predict
    from xdownscale.presets import preset
    from xdownscale.pretrained import load_pretrained, publish
    from xdownscale.production import predict_to_zarr
    from xdownscale.regridding import regrid
    from xdownscale.reports import report

__version__ = "0.1.0"

_HOMES = {
    "Downscaler": "downscaler",
    "DownscalerConfig": "config",
    "fit": "functional",
    "load": "functional",
    "load_pretrained": "pretrained",
    "predict": "functional",
    "predict_to_zarr": "production",
    "preset": "presets",
    "publish": "pretrained",
    "regrid": "regridding",
    "report": "reports",
}
_ROOMS = (
    "baselines",
    "config",
    "datasets",
    "errors",
    "geostat",
    "grids",
    "labels",
    "patches",
    "plot",
    "regridding",
    "reports",
    "scaling",
    "skill",
    "splits",
    "windows",
)

__all__ = [
    "Downscaler",
    "DownscalerConfig",
    "baselines",
    "config",
    "datasets",
    "errors",
    "fit",
    "geostat",
    "grids",
    "labels",
    "load",
    "load_pretrained",
    "patches",
    "plot",
    "predict",
    "predict_to_zarr",
    "preset",
    "publish",
    "regrid",
    "regridding",
    "report",
    "reports",
    "scaling",
    "skill",
    "splits",
    "windows",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
