"""Read half-hourly files of G5NR, the 7 km GEOS-5 Nature Run, as daily means."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from xdownscale.core.errors import DataError, check_option
from xdownscale.datasets import _daily
from xdownscale.datasets._granules import Paths, check_files, find_files, named_day, named_slot
from xdownscale.datasets._subset import check_box, check_margin, cut

# c1440_NR.inst30mn_2d_aer1_Nx.20060910_1230z.nc4, one file for each time
_NAME = (
    r"c1440_NR\.(?P<collection>(?:inst|tavg)(?P<step>30mn|01hr)_2d_\w+_[A-Z]x)"
    r"\.(?P<date>\d{8})_(?P<time>\d{4})z(?:\.\w+)*\.nc4?"
)
_EXAMPLE = "c1440_NR.inst30mn_2d_aer1_Nx.20060910_1230z.nc4"
_SLOTS = {"30mn": 48, "01hr": 24}
_WORDS = {"30mn": "30 minutes", "01hr": "1 hour"}


def open_g5nr(
    paths: Paths,
    region: tuple[float, float, float, float] | None = None,
    variable: str = "DUEXTTAU",
    *,
    margin: int = 0,
    incomplete: str = "nan",
) -> xr.DataArray:
    """Open half-hourly files of the GEOS-5 Nature Run as a record of daily means, lazily.

    Parameters
    ----------
    paths : path or iterable of paths
        A folder (with its subfolders ``Y2006/M09/D10``), a pattern with ``*``, or files, in any
        order, under their published names: ``c1440_NR.inst30mn_2d_aer1_Nx.20060910_1230z.nc4``.
        Each holds one time. Hourly two-dimensional collections (``01hr``) are read too.
    region : (west, east, south, north), optional
        Box in degrees, any longitude convention, across Greenwich or the dateline too. The
        cells that it touches are taken. None takes the whole grid.
    variable : str
        Name in the files. Dust optical depth, ``DUEXTTAU``, is in ``inst30mn_2d_aer1_Nx``.
    margin : int
        Additional cells on every side, where the files have them.
    incomplete : {"nan", "raise"}
        What to do with a day without all its 48 times: NaN and a warning, or an error.

    Returns
    -------
    DataArray
        ``(time, lat, lon)``, float32, in the units of the file; dask, one chunk for each day.
        The mean of the times of a UTC day (00:00 to 23:30 of an instantaneous collection, 00:15
        to 23:45 of an averaged one) has the time stamp 00:00, as in `open_merra2`. Fill values
        (of the file's attributes, and 1e15 or more) are NaN, and so is a cell with a missing
        time. A day without any file is left out, and a warning counts such days. Longitudes
        ascend without a jump, in the convention of `region`.

    Raises
    ------
    OptionError
        If an option cannot be used.
    DataError
        If a file is empty, truncated, an HTML page, or has no such variable; and, when it is read,
        if it is of another time than its name says, on another grid, or has a fill value, such as
        -9999, that no attribute states. Names the file.
    GridError
        If the region reaches beyond the files.
    StorageError
        If no file is found.

    Warns
    -----
    XDownscaleWarning
        If days are missing or incomplete: the run begins on 2005-05-15 at 21:30.

    Notes
    -----
    Opening reads one file's coordinates and the first bytes of every file.

    File names, folders and collections: the G5NR pages of the GEOS-5 wiki (recipe "File naming
    conventions", https://github.com/GEOS-ESM/geos5orgbackup/wiki) and public programs that read
    the run: 0.0625 degrees, 2881 x 5760 points from 90S and 180W. Grid, units and fill value are
    read from the files. The run's own file specification was not available.

    Examples
    --------
    >>> open_g5nr("inst30mn_2d_aer1_Nx", (30, 60, 10, 35))  # doctest: +SKIP
    >>> open_g5nr("no/such/folder")
    Traceback (most recent call last):
    xdownscale.core.errors.StorageError: no/such/folder does not exist. Give a folder, a file, ...
    """
    check_option("incomplete", incomplete, ("nan", "raise"))
    box = check_box(region)
    spare_cells = check_margin(margin)
    strict = incomplete == "raise"
    files = find_files(paths, re.compile(_NAME), _EXAMPLE)
    collection, step = _one_collection(files)
    dates, names = _daily.arrange(_by_day(files, _SLOTS[step]), None, _SLOTS[step], strict)
    check_files(files)
    latitude, longitude, attrs = _daily.open_first(files[0], variable)
    source = _daily.Source(
        variable=variable,
        latitude=latitude,
        longitude=longitude,
        window=cut(latitude, longitude, box, spare_cells, f"the grid of {files[0].name}"),
        slots=_SLOTS[step],
        pattern=_NAME,
        strict=strict,
    )
    return _daily.describe(
        _daily.daily_means(dates, names, source),
        attrs,
        f"time: mean (interval: {_WORDS[step]})",
        f"G5NR c1440_NR {collection}, NASA GMAO",
        f"daily means of {_SLOTS[step]} values of {len(files)} {collection} files",
    )


def _parts(path: Path) -> dict[str, str]:
    found = re.fullmatch(_NAME, path.name)
    assert found is not None  # find_files matched it
    return found.groupdict()


def _one_collection(files: list[Path]) -> tuple[str, str]:
    found = sorted({(p["collection"], p["step"]) for p in map(_parts, files)})
    if len(found) > 1:
        names = [collection for collection, _ in found]
        raise DataError(
            f"The files are of the collections {', '.join(names)}. Open one at a time, with a "
            f"pattern such as 'g5nr/**/*{names[0]}*'."
        )
    return found[0]


def _by_day(files: list[Path], slots: int) -> dict[np.datetime64, list[Path]]:
    """Group files by day; raise if two are of the same time."""
    seen: dict[tuple[np.datetime64, int], Path] = {}
    days: dict[np.datetime64, list[Path]] = {}
    for path in files:
        key = _day_and_slot(path, slots)
        if key in seen:
            raise DataError(
                f"{seen[key]} and {path} are of the same time. Keep one of them, or give the files "
                "one by one."
            )
        seen[key] = path
        days.setdefault(key[0], []).append(path)
    return days


def _day_and_slot(path: Path, slots: int) -> tuple[np.datetime64, int]:
    parts = _parts(path)
    try:
        day = named_day(parts["date"])
        slot = named_slot(parts["time"], slots)
    except ValueError:
        slot = slots
        day = np.datetime64("NaT", "D")
    if not slot < slots or int(parts["time"][2:]) > 59:
        raise DataError(
            f"The name of {path} says the time {parts['date']}_{parts['time']}, which does not "
            f"exist. Names look like {_EXAMPLE}."
        )
    return day, slot
