"""Lazy daily means of sub-daily files: one dask task per day, one file open at a time.

The dates come from the file names and the grid from the first file, so that a record of many
years is opened without opening its files; each is checked against both when it is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.errors import DataError, TimeAxisError, XDownscaleWarning, nearest_name
from xdownscale.core.grids import Array
from xdownscale.datasets._granules import check_files, held_slots, reading
from xdownscale.datasets._subset import Window, check_axes
from xdownscale.preprocessing.outliers import FILLS, find_range

_DIMS = ("time", "lat", "lon")
# GMAO states its fill value, 1e15, in three attributes; a subset file may have any of them, or none
_FILL_ATTRIBUTES = ("_FillValue", "missing_value", "fmissing_value")
_LARGEST = 0.99e15  # and 1e20, 1e30 of other programs: no variable has such values
_ROUNDING = 1e-6  # relative: a fill value may have been written in fewer digits

STANDARD_NAMES = {
    "DUEXTTAU": "atmosphere_optical_thickness_due_to_dust_ambient_aerosol_particles",
    "TOTEXTTAU": "atmosphere_optical_thickness_due_to_ambient_aerosol_particles",
    "DUCMASS": "atmosphere_mass_content_of_dust_dry_aerosol_particles",
    "DUSMASS": "mass_concentration_of_dust_dry_aerosol_particles_in_air",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """What to read of each file.

    Attributes
    ----------
    variable : str
        Name in the file.
    latitude, longitude : ndarray
        Grid of every file.
    window : Window
        Part of the grid to read.
    slots : int
        Values in a day: 24 or 48.
    pattern : str
        Regular expression of a file name, with a group ``date`` and, where a file holds one
        time, ``time``.
    strict : bool
        Raise for an incomplete day; else it is NaN.
    """

    variable: str
    latitude: Array
    longitude: Array
    window: Window
    slots: int
    pattern: str
    strict: bool


def arrange(
    files: Mapping[np.datetime64, Sequence[Path]],
    wanted: Array | None,
    each: int,
    strict: bool,
) -> tuple[Array, Array]:
    """Group files by day; warn or raise for days that are missing or incomplete.

    Parameters
    ----------
    files : mapping
        Day -> its files.
    wanted : ndarray of datetime64[D], optional
        Requested days; by default all between the first and the last.
    each : int
        Files in a day.
    strict : bool
        Raise instead of warning.

    Returns
    -------
    dates : ndarray of datetime64[D], shape (n,)
        Days, ascending.
    names : ndarray of str, shape (n, k)
        Their files; blank for an incomplete day.

    Raises
    ------
    TimeAxisError
        With `strict`, if a day is missing or incomplete.

    Warns
    -----
    XDownscaleWarning
        Says how many days are missing or incomplete.
    """
    dates = np.array(sorted(files), dtype="datetime64[D]")
    if wanted is None:
        wanted = np.arange(dates[0], dates[-1] + 1)
    missing = np.setdiff1d(wanted, dates)
    partial = np.array([day for day in dates if len(files[day]) < each], dtype="datetime64[D]")
    _report_days(missing, wanted, "no file; the record leaves them out", strict)
    _report_days(partial, dates, f"fewer than {each} files; they are NaN", strict)
    names = [[str(f) for f in files[day]] if day not in partial else [""] * each for day in dates]
    return dates, np.array(names)


def _report_days(bad: Array, among: Array, what: str, strict: bool) -> None:
    if not bad.size:
        return
    message = f"{bad.size} of {among.size} days have {what}. The first is {bad[0]}."
    if strict:
        raise TimeAxisError(f"{message} Add the files, or pass incomplete='nan'.")
    warnings.warn(message, XDownscaleWarning, stacklevel=5)


def open_first(path: Path, variable: str) -> tuple[Array, Array, dict[str, Any]]:
    """Read the grid of a file and the attributes of a variable, without its values.

    Parameters
    ----------
    path : Path
        The file.
    variable : str
        Name in the file.

    Returns
    -------
    latitude, longitude : ndarray
        Of the whole file.
    attrs : dict
        Of the variable.

    Raises
    ------
    DataError
        If the file is damaged or has no such variable; lists those that it has.
    """
    with _dataset(path) as ds:
        field = _pick(ds, variable, path)
        latitude, longitude = check_axes(ds["lat"].values, ds["lon"].values, str(path))
        return latitude, longitude, dict(field.attrs)


@contextmanager
def _dataset(path: Path) -> Iterator[xr.Dataset]:
    # The netCDF library is not thread-safe. xarray holds its lock while it opens and reads a file
    # but not while it reads attributes: it is held here for the whole time.
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    options: dict[str, Any] = {"lock": False, "cache": False, "decode_timedelta": False}
    with NETCDF4_PYTHON_LOCK, reading(path):
        try:
            opened = xr.open_dataset(path, engine="netcdf4", **options)
        except ValueError as err:
            raise DataError(
                f"{path} cannot be decoded: {err}. Give a file as it was published."
            ) from err
        with opened as ds:
            yield ds


def _pick(ds: xr.Dataset, variable: str, path: Path) -> xr.DataArray:
    """Return the variable, or raise an error that lists the variables of the file."""
    if variable not in ds.data_vars:
        there = sorted(str(name) for name, v in ds.data_vars.items() if v.dims == _DIMS)
        raise DataError(
            f"{path} has no variable {variable!r}; it has {', '.join(there) or 'none'}."
            f"{nearest_name(variable, there)}"
        )
    field = ds[variable]
    if field.dims != _DIMS or not all(d in ds.coords for d in _DIMS):
        raise DataError(
            f"{variable!r} of {path} has the dimensions {field.dims} and coordinates "
            f"{list(ds.coords)}; a two-dimensional collection has {_DIMS} with coordinates."
        )
    return field


def daily_means(dates: Array, files: Array, source: Source) -> xr.DataArray:
    """Return the daily means as a lazy array.

    Parameters
    ----------
    dates, files : ndarray
        Days and their files, as `arrange` returned them.
    source : Source
        What to read of each file.

    Returns
    -------
    DataArray
        ``(time, lat, lon)``, float32, one chunk for each day; nothing is read.
    """
    import dask.array as dsa

    window = source.window
    names = dsa.from_array(files, chunks=(1, -1))
    lazy = dsa.map_blocks(
        mean_of_day,
        names,
        source=source,
        chunks=((1,) * dates.size, window.shape[:1], window.shape[1:]),
        drop_axis=1,
        new_axis=(1, 2),
        dtype=np.float32,
        meta=np.empty((0, 0, 0), dtype=np.float32),
    )
    coords = {
        "time": ("time", dates.astype("datetime64[ns]"), dict(_TIME)),
        "lat": ("lat", window.latitude, dict(_LATITUDE)),
        "lon": ("lon", window.longitude, dict(_LONGITUDE)),
    }
    return xr.DataArray(lazy, dims=_DIMS, coords=coords, name=source.variable)


_TIME = {"standard_name": "time", "long_name": "UTC day, at its 00:00", "axis": "T"}
_LATITUDE = {
    "standard_name": "latitude",
    "long_name": "latitude of the cell's centre",
    "units": "degrees_north",
    "axis": "Y",
}
_LONGITUDE = {
    "standard_name": "longitude",
    "long_name": "longitude of the cell's centre",
    "units": "degrees_east",
    "axis": "X",
}


def mean_of_day(names: Array, source: Source) -> Array:
    """Read the files of one day and average them.

    Parameters
    ----------
    names : ndarray of str, shape (1, k)
        Files of the day; blank where it is incomplete.
    source : Source
        What to read.

    Returns
    -------
    ndarray of float32, shape (1, y, x)
        NaN where a value of the day is missing.
    """
    total = np.zeros(source.window.shape)
    there: list[int] = []
    for name in names[0]:
        if not name:
            return np.full((1, *total.shape), np.nan, dtype=np.float32)
        values, slots = read_file(Path(str(name)), source)
        there += slots
        total += values.sum(axis=0, dtype=np.float64)
    if sorted(there) != list(range(source.slots)):
        _report_hours(str(names[0, 0]), len(there), source)
        total[:] = np.nan
    return np.asarray(total / source.slots, dtype=np.float32)[None]


def _report_hours(name: str, count: int, source: Source) -> None:
    message = f"{name} and its day hold {count} of {source.slots} times"
    if source.strict:
        raise TimeAxisError(f"{message}. Download it again, or pass incomplete='nan'.")
    warnings.warn(f"{message}; the day is NaN.", XDownscaleWarning, stacklevel=2)


def read_file(path: Path, source: Source) -> tuple[Array, list[int]]:
    """Read the window of one file.

    Parameters
    ----------
    path : Path
        The file.
    source : Source
        What to read.

    Returns
    -------
    values : ndarray, shape (t, y, x)
        Fill values are NaN: those of the attributes, and everything of 1e15 or more.
    slots : list of int
        Position of each value in the day.

    Raises
    ------
    DataError
        If the file is damaged, on another grid, of another day than its name says, or has a fill
        value that no attribute states.
    """
    check_files([path])
    with _dataset(path) as ds:
        field = _pick(ds, source.variable, path)
        _check_grid(ds, source, path)
        slots = held_slots(ds["time"].values, path, source.pattern, source.slots)
        window = source.window
        parts = [field[:, window.rows, columns].values for columns in window.columns]
        values = np.concatenate(parts, axis=-1).astype(np.float32, copy=False)
        fills = _fills(field)
    return _without_fills(values, fills, source.variable, path), slots


def _fills(field: xr.DataArray) -> Array:
    """Return the fill values that a file states, in units of its unpacked values.

    xarray masks those of two of the attributes, and only where the numbers are equal to the bit.
    """
    stated = [{**field.encoding, **field.attrs}.get(name) for name in _FILL_ATTRIBUTES]
    found = np.array([number for given in stated for number in _numbers(given)])
    scale = float(field.encoding.get("scale_factor", 1.0))
    offset = float(field.encoding.get("add_offset", 0.0))
    return np.unique(found * scale + offset)


def _numbers(given: Any) -> list[float]:
    """Return the numbers of an attribute other than 0, which is a value too; none of a text."""
    try:
        found = np.atleast_1d(np.asarray(given, dtype=float)).ravel()
    except (TypeError, ValueError):
        return []
    return [float(number) for number in found if np.isfinite(number) and number != 0]


def _without_fills(values: Array, fills: Array, variable: str, path: Path) -> Array:
    """Return values with NaN for fill values; raise for one that no attribute states."""
    near = np.zeros(values.shape, bool)
    for fill in fills.tolist():
        near |= np.abs(values - fill) <= _ROUNDING * abs(fill)
    left: Array = np.where(near | (np.abs(values) >= _LARGEST), np.float32(np.nan), values)
    usual = np.isin(left, np.array(FILLS, np.float32))
    known = find_range(left) if usual.any() else None
    bad = usual if known is None else usual & known.suspects(left)
    if bad.any():
        raise DataError(
            f"{path} has {int(bad.sum())} values of {variable!r} equal to {left[bad][0]:g}, which "
            "looks like a fill value that none of its attributes states. Give a file as it was "
            "published, or set its attribute _FillValue, e.g. with ncatted."
        )
    return left


def _check_grid(ds: xr.Dataset, source: Source, path: Path) -> None:
    found = check_axes(ds["lat"].values, ds["lon"].values, str(path))
    for name, ours, its in zip(
        ("lat", "lon"), (source.latitude, source.longitude), found, strict=True
    ):
        if ours.shape != its.shape or not np.allclose(ours, its, atol=1e-4):
            raise DataError(
                f"{path} has {its.size} {name} from {its.min():g} to {its.max():g}, and the first "
                f"file {ours.size} from {ours.min():g} to {ours.max():g}. Open files of different "
                "grids one after another."
            )


def describe(
    da: xr.DataArray, given: Mapping[str, Any], cell_methods: str, source: str, line: str
) -> xr.DataArray:
    """Return the record with CF attributes.

    Parameters
    ----------
    da : DataArray
        What `daily_means` returned.
    given : mapping
        Attributes of the variable in the files.
    cell_methods, source, line : str
        CF attributes; the last is the line of `history`.

    Returns
    -------
    DataArray
    """
    variable = str(da.name)
    kept = ("long_name", "units")
    attrs: dict[str, Any] = {name: given[name] for name in kept if name in given}
    if variable in STANDARD_NAMES:  # the file's own standard_name is free text
        attrs["standard_name"] = STANDARD_NAMES[variable]
    attrs |= {"cell_methods": cell_methods, "source": source, "history": f"xdownscale: {line}"}
    return da.assign_attrs(attrs)
