"""Import optional packages, with a clear message where one is not installed; versions of all."""

from __future__ import annotations

import importlib
from importlib import metadata
from types import ModuleType
from urllib.parse import urlsplit

from xdownscale.core.errors import MissingPackageError

_REMEDY = {
    "xesmf": (
        "conda install -c conda-forge xesmf  (xesmf needs esmpy, which is on conda-forge "
        "and not on PyPI; where esmpy is, `pip install 'xarray-downscale[esmf]'` does it too; "
        "`engine='separable'` needs neither)"
    ),
    "matplotlib": "pip install 'xarray-downscale[plot]'",
    "basemap-data": "pip install 'xarray-downscale[maps]'",
    "cartopy": "pip install 'xarray-downscale[cartopy]'",
    "distributed": "pip install 'xarray-downscale[distributed]'",
    "earthaccess": "pip install 'xarray-downscale[nasa]'",
    "onnx": "pip install 'xarray-downscale[onnx]'",
    "onnxscript": "pip install 'xarray-downscale[onnx]'",
    "s3fs": "pip install 'xarray-downscale[s3]'",
    "rasterio": "pip install 'xarray-downscale[geo]'",
}


def require(name: str, purpose: str) -> ModuleType:
    """Import an optional package; if it is missing, say what needs it and how to install it.

    Parameters
    ----------
    name : str
        Module to import.
    purpose : str
        What needs it; the message begins with this.

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
        package = name.partition(".")[0]
        remedy = _REMEDY.get(package, f"pip install {package}")
        raise MissingPackageError(
            f"{purpose} needs the package {package!r}, which cannot be imported here ({err}). "
            f"Install it with: {remedy}"
        ) from err


def require_for_url(url: str, purpose: str) -> None:
    """Raise where the package for a kind of URL, which an extra brings, is missing.

    Parameters
    ----------
    url : str
        An address.
    purpose : str
        As for `require`.

    Raises
    ------
    MissingPackageError
        If the package cannot be imported.

    Examples
    --------
    >>> require_for_url("memory://maps.zarr", "Writing")
    """
    if urlsplit(url).scheme in ("s3", "s3a"):
        require("s3fs", purpose)


def installed_version(package: str) -> str | None:
    """Return the version of a distribution package, None where it is not installed.

    Examples
    --------
    >>> installed_version("no-such-package") is None
    True
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
