"""Download files from NASA Earthdata with earthaccess, which alone handles credentials."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xdownscale.core.errors import StorageError
from xdownscale.core.grids import wrap_longitude
from xdownscale.core.optional import require
from xdownscale.datasets._subset import Box


def fetch(
    short_name: str,
    version: str,
    years: Sequence[int],
    box: Box | None,
    folder: str | os.PathLike[str],
) -> list[Path]:
    """Download the granules of some years.

    Parameters
    ----------
    short_name, version : str
        The collection, such as ``"M2T1NXAER"``, ``"5.12.4"``.
    years : sequence of int
        Calendar years.
    box : (west, east, south, north) or None
        Degrees; granules that touch it are downloaded.
    folder : path
        Target folder, made if it does not exist. Files in it are kept.

    Returns
    -------
    list of Path
        One file for each granule.

    Raises
    ------
    MissingPackageError
        If earthaccess is not installed.
    StorageError
        If the login fails, no granule is found, or not all are delivered.
    """
    earthaccess = require("earthaccess", f"Downloading {short_name}")
    _log_in(earthaccess)
    granules = _search(earthaccess, short_name, version, years, box)
    return _download(earthaccess, granules, Path(folder))


def _log_in(earthaccess: Any) -> None:
    trouble = None
    cause = None
    try:
        auth = earthaccess.login()
        if not getattr(auth, "authenticated", False):
            trouble = "no credentials were found"
    except Exception as err:  # earthaccess raises many types: no account, refused, no network
        cause = err
        trouble = str(err) or type(err).__name__
    if trouble:
        raise StorageError(
            f"NASA Earthdata did not let us in: {trouble}. Get an account at "
            "https://urs.earthdata.nasa.gov, approve the application 'NASA GESDISC DATA ARCHIVE' "
            "there, and put the credentials into ~/.netrc or the environment variables "
            "EARTHDATA_USERNAME and EARTHDATA_PASSWORD; or run earthaccess.login() once."
        ) from cause


def _search(
    earthaccess: Any, short_name: str, version: str, years: Sequence[int], box: Box | None
) -> list[Any]:
    where = {} if box is None else {"bounding_box": _corners(box)}
    found: list[Any] = []
    for year in years:
        try:
            found += earthaccess.search_data(
                short_name=short_name,
                version=version,
                temporal=(f"{year}-01-01T00:00:00", f"{year}-12-31T23:59:59"),
                **where,
            )
        except Exception as err:
            raise StorageError(
                f"The search for {short_name} of {year} failed: {err}. Try again later."
            ) from err
    if not found:
        raise StorageError(
            f"NASA Earthdata has no granule of {short_name} version {version} in the years "
            f"{list(years)}. Ask for other years."
        )
    return found


def _corners(box: Box) -> tuple[float, float, float, float]:
    """Return the lower left and upper right corner in the form of the search."""
    west, east, south, north = box
    if east - west >= 360:
        return -180.0, south, 180.0, north
    return float(wrap_longitude(west)), south, float(wrap_longitude(east)), north


def _download(earthaccess: Any, granules: list[Any], folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        delivered = list(earthaccess.download(granules, local_path=str(folder)) or [])
    except Exception as err:
        raise StorageError(
            f"The download of {len(granules)} granules into {folder} broke off: {err}. Call again: "
            "what is there is kept."
        ) from err
    files = [Path(f) for f in delivered if not isinstance(f, Exception) and Path(f).is_file()]
    if len(files) < len(granules):
        raise StorageError(
            f"{len(granules) - len(files)} of {len(granules)} granules were not delivered into "
            f"{folder}. Call again: what is there is kept."
        )
    return files
