"""One clear message for a package that is not there."""

from __future__ import annotations

import importlib
from types import ModuleType

from xdownscale.core.errors import MissingPackageError

_REMEDY = {
    "xesmf": (
        "conda install -c conda-forge xesmf  (xesmf needs esmpy, which is on conda-forge "
        "and not on PyPI; `engine='separable'` needs neither)"
    ),
    "matplotlib": "pip install 'xarray-downscale[plot]'",
    "earthaccess": "pip install 'xarray-downscale[nasa]'",
    "rasterio": "pip install 'xarray-downscale[geo]'",
}


def require(name: str, purpose: str) -> ModuleType:
    """Import `name`, or say what it is for and where it comes from.

    Parameters
    ----------
    name : str
        Module to import.
    purpose : str
        What the caller wants it for; the message begins with it.

    Returns
    -------
    module

    Raises
    ------
    MissingPackageError
        If the package cannot be imported.

    Examples
    --------
    >>> require("json", "reading a configuration").__name__
    'json'
    """
    try:
        return importlib.import_module(name)
    except ImportError as err:
        remedy = _REMEDY.get(name, f"pip install {name}")
        raise MissingPackageError(
            f"{purpose} needs the package {name!r}, which cannot be imported here ({err}). "
            f"Install it with: {remedy}"
        ) from err
