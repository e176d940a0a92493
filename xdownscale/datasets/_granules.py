"""Find data files, check that they are whole, and read the times from their names."""

from __future__ import annotations

import glob
import os
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from xdownscale.core.errors import DataError, OptionError, StorageError
from xdownscale.core.grids import Array

DAY = 86400


def held_slots(times: Array, path: Path, pattern: str, slots: int) -> list[int]:
    """Return the position in the day of each time of a file; check them against its name.

    Parameters
    ----------
    times : ndarray of datetime64, shape (t,)
        Times in the file.
    path : Path
        The file; its name states the day, and the time where it holds one.
    pattern : str
        Regular expression of the name, with the group ``date`` and optionally ``time``.
    slots : int
        Values in a day.

    Returns
    -------
    list of int

    Raises
    ------
    DataError
        If the file holds other times than its name says.
    """
    parts = re.fullmatch(pattern, path.name)
    assert parts is not None  # find_files matched it
    groups = parts.groupdict()
    start = named_day(groups["date"])
    if times.dtype.kind != "M":
        raise DataError(
            f"{path} has times without a date ({times[:1]}); they need units such as 'minutes "
            "since 2000-01-01 00:30:00'. Give a file as it was published."
        )
    seconds = (times - start.astype(times.dtype)) / np.timedelta64(1, "s")
    held = [int(s) for s in seconds // (DAY // slots)]
    if groups.get("time") is not None:
        expected = [named_slot(groups["time"], slots)]
        whole = held == expected
    else:
        whole = all(0 <= slot < slots for slot in held)
    if not (whole and held):
        span = f"the times {times[0]} to {times[-1]}" if times.size else "no time"
        raise DataError(
            f"{path} holds {span}, which its name does not say. Give it its published name, or "
            "download it again."
        )
    return held


def named_day(date: str) -> np.datetime64:
    """Return the day that a file name states as YYYYMMDD.

    Raises
    ------
    ValueError
        If there is no such day.

    Examples
    --------
    >>> named_day("20200229")
    np.datetime64('2020-02-29')
    """
    return np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}", "D")


def named_slot(time: str, slots: int) -> int:
    """Return the position in the day of a time that a file name states as HHMM.

    Examples
    --------
    >>> named_slot("2345", 48)
    47
    """
    return (int(time[:2]) * 60 + int(time[2:])) // (1440 // slots)


Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_HEAD = 512  # first bytes, enough to recognise the format
_HDF5 = b"\x89HDF\r\n\x1a\n"
_KINDS = {
    b"PK": "a zip archive; unpack it",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"GRIB": "a GRIB file; convert it to netCDF",
    b"\x0e\x03\x13\x01": "an HDF4 file; convert it to netCDF",
    b"%PDF": "a PDF document",
    b"{": "text in JSON, such as the error message of a server",
    b"<": "text in XML, such as the error message of a server",
}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05")


def find_files(paths: Paths, pattern: re.Pattern[str], example: str) -> list[Path]:
    """Return the files that paths and patterns name, in the order of their names.

    Parameters
    ----------
    paths : path or iterable of paths
        A folder (searched with all its subfolders for names that match), a pattern with
        ``*``, a file, or several of these.
    pattern : compiled regular expression
        Of the file names.
    example : str
        An example of a name, for messages.

    Returns
    -------
    list of Path
        Each file once.

    Raises
    ------
    OptionError
        If these are no paths.
    StorageError
        If a path does not exist, or none is found.
    DataError
        If a file that was named has a name of another kind.
    """
    found: dict[Path, None] = {}
    for given in _listed(paths):
        found |= dict.fromkeys(_expand(given, pattern, example))
    if not found:
        raise StorageError(
            f"No file is called like {example} in {_shown(paths)}. Give the folder that holds "
            "such files, or the files themselves."
        )
    return sorted(found, key=lambda path: (path.name, str(path)))


def _listed(paths: Any) -> list[str]:
    try:
        return [os.fspath(paths)]
    except TypeError:
        pass
    try:
        return [os.fspath(path) for path in paths]
    except TypeError:
        raise OptionError(
            f"paths is {paths!r}; give a folder, a file, a pattern such as 'merra2/*.nc4', or a "
            "list of files."
        ) from None


def _shown(paths: Any) -> str:
    listed = _listed(paths)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _expand(given: str, pattern: re.Pattern[str], example: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        return [file for file in path.rglob("*") if pattern.fullmatch(file.name)]
    if path.exists():
        if not pattern.fullmatch(path.name):
            raise DataError(
                f"The date of {given} is read from its name, and the name is of another kind. "
                f"Names look like {example}; give the file its published name."
            )
        return [path]
    if any(sign in given for sign in "*?["):
        named = [Path(name) for name in glob.glob(given, recursive=True)]  # noqa: PTH207
        return [file for file in named if pattern.fullmatch(file.name)]
    raise StorageError(
        f"{given} does not exist. Give a folder, a file, or a pattern such as 'merra2/*.nc4'."
    )


def check_files(files: Iterable[Path]) -> None:
    """Raise for files that are no whole netCDF files, judging by their first bytes.

    Parameters
    ----------
    files : iterable of Path
        An HDF5 file states its length in its first 48 bytes, so a truncated one is found
        without opening it.

    Raises
    ------
    DataError
        For an empty or truncated file, an HTML page, or another format; names the file.
    StorageError
        If a file cannot be read.
    """
    for path in files:
        trouble = find_trouble(path)
        if trouble:
            raise DataError(f"{path} {trouble}")


def find_trouble(path: Path, kind: str = "netCDF") -> str:
    """Describe what is wrong with a file, judging by its length and first bytes.

    Parameters
    ----------
    path : Path
        The file.
    kind : {"netCDF", "GeoTIFF"}
        What it should be.

    Returns
    -------
    str
        The rest of a sentence that begins with the file's name; empty where nothing is wrong.

    Raises
    ------
    StorageError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = Path(folder, "MERRA2_400.tavg1_2d_aer_Nx.20200101.nc4")
    ...     _ = page.write_text("<!DOCTYPE html>...")
    ...     find_trouble(page)
    'is an HTML page, not a netCDF file: probably the login page of Earthdata. Delete it, ...
    """
    size, head = _peek(path)
    again = "Delete it, log in and download it again."
    if not size:
        return f"is empty (0 bytes). {again}"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")) or b"<html" in text:
        page = "probably the login page of Earthdata" if kind == "netCDF" else "an error page"
        return f"is an HTML page, not a {kind} file: {page}. {again}"
    if kind == "netCDF" and head.startswith(_HDF5):
        return _truncated(size, head)
    if head.startswith(_NETCDF if kind == "netCDF" else _TIFF):
        return ""
    for start, what in _KINDS.items():
        if text.startswith(start.lower()):
            return f"is no {kind} file but {what}. Give a {kind} file."
    return f"is no {kind} file: its {size} bytes begin with {head[:8]!r}. {again}"


def _peek(path: Path) -> tuple[int, bytes]:
    """Return the length and the first bytes of a file."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size, file.read(_HEAD)
    except OSError as err:
        raise StorageError(
            f"{path} cannot be read: {err.strerror or err}. Give a file that exists and may be "
            "read."
        ) from err


def _truncated(size: int, head: bytes) -> str:
    """Describe an HDF5 file as truncated if it is shorter than its superblock states, else "".

    HDF5 File Format Specification 3.0, section II.A: the address follows two others of the same
    width in versions 0 and 1, and one other in versions 2 and 3.
    """
    version = head[8] if len(head) > 8 else 255
    at = {0: 40, 1: 44, 2: 28, 3: 28}.get(version)
    widths = head[13:14] if version < 2 else head[9:10]
    if at is None or widths != b"\x08" or len(head) < at + 8:
        whole = size >= _HEAD  # another layout: left to the library that reads it
        return "" if whole else f"is truncated: it has {size} bytes. Download it again."
    (end,) = struct.unpack_from("<Q", head, at)
    if size >= end:
        return ""
    return f"is truncated: it has {size} of {end} bytes. Delete it and download it again."


@contextmanager
def reading(path: Path, kind: str = "netCDF") -> Iterator[None]:
    """Raise a library's error on a damaged file as a `DataError` that names the file.

    Parameters
    ----------
    path : Path
        The file that is being read.
    kind : {"netCDF", "GeoTIFF"}
        What it should be.

    Raises
    ------
    DataError
        If reading fails.
    """
    try:
        yield
    except (OSError, RuntimeError, EOFError, UnicodeDecodeError) as err:
        if isinstance(err, StorageError):
            raise
        trouble = find_trouble(path, kind) or f"is damaged: {err}. Download it again."
        raise DataError(f"{path} {trouble}") from err
