"""Read hourly MERRA-2 aerosol files as daily means."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.errors import DataError, OptionError, XDownscaleWarning, check_option
from xdownscale.core.grids import Array
from xdownscale.datasets import _daily
from xdownscale.datasets._granules import Paths, check_files, find_files, named_day
from xdownscale.datasets._subset import check_box, check_margin, cut

FIRST_YEAR = 1980
_HOURS = 24
# MERRA2_400.tavg1_2d_aer_Nx.20200101.nc4; subsets of GES DISC end in .SUB.nc or .nc4.nc4
_NAME = (
    r"MERRA2_(?P<stream>[1-9]\d\d)\.(?P<collection>(?:tavg1|inst1)_2d_[a-z0-9]{3}_Nx)"
    r"\.(?P<date>\d{8})(?:\.\w+)*\.nc4?"
)
_EXAMPLE = "MERRA2_400.tavg1_2d_aer_Nx.20200101.nc4"


def open_merra2(
    paths: Paths | None = None,
    region: tuple[float, float, float, float] | None = None,
    variable: str = "DUEXTTAU",
    *,
    years: int | Iterable[int] | None = None,
    margin: int = 1,
    incomplete: str = "nan",
    download: str | os.PathLike[str] | None = None,
) -> xr.DataArray:
    """Open hourly MERRA-2 files as a record of daily means, lazily.

    Parameters
    ----------
    paths : path or iterable of paths, optional
        A folder (with its subfolders), a pattern with ``*``, or files, in any order, under their
        published names: ``MERRA2_400.tavg1_2d_aer_Nx.20200101.nc4``. Subsets made by GES
        DISC (``...SUB.nc``) are read too.
    region : (west, east, south, north), optional
        Box in degrees, any longitude convention, across Greenwich or the dateline too. The
        cells that it touches are taken. None takes the whole grid.
    variable : str
        Name in the files.
    years : int or iterable of int, optional
        Calendar years to keep; 1980 or later.
    margin : int
        Additional cells on every side, where the files have them: interpolation to
        the box needs one.
    incomplete : {"nan", "raise"}
        What to do with a day without all 24 hours: NaN and a warning, or an error.
    download : path, optional
        Folder into which the files of `years` are downloaded first, through earthaccess, which
        alone handles the credentials. What is there already is not downloaded again. A granule
        is global with all its variables: a gigabyte a day before compression.

    Returns
    -------
    DataArray
        ``(time, lat, lon)``, float32, in the units of the file; dask, one chunk for each day.
        The mean of the 24 hours of a UTC day has the time stamp 00:00, by which the library
        pairs daily records. Fill values (of the file's attributes, and 1e15 or more) are NaN, and
        so is a cell with a missing hour. A day without a file is left out, and a warning counts
        such days. Longitudes ascend without a jump, in the convention of `region`.

    Raises
    ------
    OptionError
        If an option cannot be used.
    DataError
        If a file is empty, truncated, an HTML page, or has no such variable; and, when it is read,
        if it is of another day than its name says, on another grid, or has a fill value, such as
        -9999, that no attribute states. Names the file.
    GridError
        If the region reaches beyond the files.
    StorageError
        If no file is found, or a download fails.
    MissingPackageError
        If `download` is given and earthaccess is not installed.

    Warns
    -----
    XDownscaleWarning
        If days are missing or incomplete, or a day is there from two streams: the one with the
        higher number is taken, as 401 replaces what was 400.

    Notes
    -----
    Opening reads one file's coordinates and the first bytes of every file. Each file is checked
    again when it is read.

    Layout: Bosilovich, Lucchesi and Suarez 2016, MERRA-2 File Specification, GMAO Office Note 9:
    361 x 576 cells of 0.5 x 0.625 degrees from 90S and 180W, hourly means at 00:30 to 23:30 UTC,
    fill value 1e15. Streams are 100 (1980-1991), 200 (1992-2000), 300 (2001-2010) and 400.

    Examples
    --------
    >>> open_merra2("merra2", (30, 60, 10, 35))  # doctest: +SKIP
    >>> open_merra2(years=range(2000, 2025), region=(30, 60, 10, 35), download="merra2")
    ... # doctest: +SKIP
    >>> open_merra2("no/such/folder")
    Traceback (most recent call last):
    xdownscale.core.errors.StorageError: no/such/folder does not exist. Give a folder, a file, ...
    """
    check_option("incomplete", incomplete, ("nan", "raise"))
    box = check_box(region)
    spare_cells = check_margin(margin)
    kept = _check_years(years)
    if download is not None:
        paths = _download(paths, kept, box, download)
    if paths is None:
        raise OptionError("open_merra2 needs files: give paths, or years and download=<folder>.")
    strict = incomplete == "raise"
    dates, names = _arrange(find_files(paths, re.compile(_NAME), _EXAMPLE), kept, strict)
    check_files(Path(name) for name in names[:, 0])
    first = Path(names[0, 0])
    latitude, longitude, attrs = _daily.open_first(first, variable)
    source = _daily.Source(
        variable=variable,
        latitude=latitude,
        longitude=longitude,
        window=cut(latitude, longitude, box, spare_cells, f"the grid of {first.name}"),
        slots=_HOURS,
        pattern=_NAME,
        strict=strict,
    )
    collection = _parts(first)["collection"]
    return _daily.describe(
        _daily.daily_means(dates, names, source),
        attrs,
        "time: mean (interval: 1 hour)",
        f"MERRA-2 {collection}, NASA GMAO",
        f"daily means of {_HOURS} hourly values of {dates.size} {collection} files",
    )


def _check_years(years: Any) -> list[int] | None:
    if years is None:
        return None
    try:
        listed = [years] if isinstance(years, (int, np.integer)) else list(years)
        whole = [int(y) for y in listed if int(y) == y and int(y) >= FIRST_YEAR]
    except (TypeError, ValueError):
        listed = [years]
        whole = []
    if not whole or len(whole) < len(listed):
        raise OptionError(
            f"years is {years!r}; give a year or several, such as range(2000, 2003), all "
            f"{FIRST_YEAR} or later."
        )
    return sorted(set(whole))


def _download(paths: Any, years: list[int] | None, box: Any, folder: Any) -> list[Path]:
    if paths is not None or years is None:
        raise OptionError(
            f"download={folder!r} with paths={paths!r} and years={years!r}; a download takes years "
            "and no paths."
        )
    from xdownscale.datasets import _earthdata

    return _earthdata.fetch("M2T1NXAER", "5.12.4", years, box, folder)


def _parts(path: Path) -> dict[str, str]:
    found = re.fullmatch(_NAME, path.name)
    assert found is not None  # find_files matched it
    return found.groupdict()


def _arrange(files: list[Path], years: list[int] | None, strict: bool) -> tuple[Array, Array]:
    """Return the days and the file of each; of two streams the higher one is taken."""
    chosen: dict[np.datetime64, Path] = {}
    replaced = 0
    for path in files:
        day = _day(path)
        if years is not None and day.astype(object).year not in years:
            continue
        if day in chosen:
            replaced += 1
        chosen[day] = _choose(chosen[day], path) if day in chosen else path
    _check_one_collection(files)
    if not chosen:
        raise DataError(
            f"None of the {len(files)} MERRA-2 files is of the years {years}; they span "
            f"{_day(files[0])} to {_day(files[-1])}. Ask for other years, or give other files."
        )
    if replaced:
        warnings.warn(
            f"{replaced} days are there from two streams; the one with the higher number is taken.",
            XDownscaleWarning,
            stacklevel=3,
        )
    wanted = None if years is None else np.concatenate([_year(y) for y in years])
    return _daily.arrange({day: [path] for day, path in chosen.items()}, wanted, 1, strict)


def _year(year: int) -> Array:
    return np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="datetime64[D]")


def _day(path: Path) -> np.datetime64:
    date = _parts(path)["date"]
    try:
        return named_day(date)
    except ValueError:
        raise DataError(
            f"The name of {path} says the date {date}, which does not exist. Names look like "
            f"{_EXAMPLE}."
        ) from None


def _choose(one: Path, other: Path) -> Path:
    """Return the file of the higher stream: reprocessed data replace the earlier ones."""
    streams = [int(_parts(path)["stream"]) for path in (one, other)]
    if streams[0] == streams[1]:
        raise DataError(
            f"{one} and {other} are of the same day. Keep one of them, or give the files one by "
            "one."
        )
    return one if streams[0] > streams[1] else other


def _check_one_collection(files: list[Path]) -> None:
    collections = sorted({_parts(path)["collection"] for path in files})
    if len(collections) > 1:
        raise DataError(
            f"The files are of the collections {', '.join(collections)}. Open one at a time, with "
            f"a pattern such as 'merra2/*{collections[0]}*'."
        )
