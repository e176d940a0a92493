"""Downscale a long coarse gridded record with the help of a short fine one, in xarray.

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
import logging
from typing import TYPE_CHECKING, Any

from xdownscale import accessors as accessors
from xdownscale.core import renamed

if TYPE_CHECKING:
    from xdownscale import (
        config,
        datasets,
        geostat,
        methods,
        patches,
        plot,
        regridding,
        reports,
        skill,
        splits,
        study,
    )
    from xdownscale.config import DownscalerConfig, preset
    from xdownscale.core import coords as labels
    from xdownscale.core import errors, grids
    from xdownscale.core import normalization as scaling
    from xdownscale.downscaler import (
        Downscaler,
        fit,
        inspect,
        load,
        load_pretrained,
        predict,
        predict_to_zarr,
        publish,
    )
    from xdownscale.io import cordex
    from xdownscale.patches import layout as windows
    from xdownscale.regridding import regrid
    from xdownscale.reports import report
    from xdownscale.skill import baselines

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent unless asked

renamed.install()

_HOMES = {
    "Downscaler": "downscaler",
    "DownscalerConfig": "config",
    "fit": "downscaler",
    "inspect": "downscaler",
    "load": "downscaler",
    "load_pretrained": "downscaler",
    "predict": "downscaler",
    "predict_to_zarr": "downscaler",
    "preset": "config",
    "publish": "downscaler",
    "regrid": "regridding",
    "report": "reports",
}
_ROOMS = {
    "baselines": "skill.baselines",
    "config": "config",
    "cordex": "io.cordex",
    "datasets": "datasets",
    "errors": "core.errors",
    "geostat": "geostat",
    "grids": "core.grids",
    "labels": "core.coords",
    "methods": "methods",
    "patches": "patches",
    "plot": "plot",
    "regridding": "regridding",
    "reports": "reports",
    "scaling": "core.normalization",
    "skill": "skill",
    "splits": "splits",
    "study": "study",
    "windows": "patches.layout",
}

__all__ = [
    "Downscaler",
    "DownscalerConfig",
    "baselines",
    "config",
    "cordex",
    "datasets",
    "errors",
    "fit",
    "inspect",
    "geostat",
    "grids",
    "labels",
    "load",
    "load_pretrained",
    "methods",
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
    "study",
    "windows",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
