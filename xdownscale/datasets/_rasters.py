"""Read global elevation rasters window by window: GeoTIFF (through rasterio) or netCDF."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import DataError, GridError, StorageError
from xdownscale.core.grids import Array
from xdownscale.core.optional import require
from xdownscale.core.units import units_of
from xdownscale.datasets._granules import check_files, find_trouble, reading
from xdownscale.datasets._subset import check_axes

_METRES = ("m", "metre", "metres", "meter", "meters")
_TIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Raster:
    """An open raster file.

    Attributes
    ----------
    path : Path
        The file.
    latitude, longitude : ndarray
        Centres of the pixels.
    read : callable
        Takes a slice of rows and one of columns; returns float64, NaN where a value is missing.
    """

    path: Path
    latitude: Array
    longitude: Array
    read: Callable[[slice, slice], Array]


@contextmanager
def open_raster(path: Path, variable: str | None) -> Iterator[Raster]:
    """Open a GeoTIFF or a netCDF file.

    Parameters
    ----------
    path : Path
        The file; ``.tif`` and ``.tiff`` are GeoTIFF, all else netCDF.
    variable : str, optional
        Name in a netCDF file that has several fields.

    Yields
    ------
    Raster

    Raises
    ------
    StorageError
        If the file is not there.
    DataError
        If it is damaged, or has no such field, or several.
    GridError
        If it is not in degrees.
    """
    if not path.is_file():
        raise StorageError(f"{path} does not exist or is no file. Give a GeoTIFF or netCDF file.")
    tiff = path.suffix.lower() in _TIFF_SUFFIXES
    with _open_tiff(path) if tiff else _open_netcdf(path, variable) as raster:
        yield raster


@contextmanager
def _open_tiff(path: Path) -> Iterator[Raster]:
    rasterio = require("rasterio", "Reading a GeoTIFF")
    trouble = find_trouble(path, "GeoTIFF")
    if trouble:
        raise DataError(f"{path} {trouble}")
    with reading(path, "GeoTIFF"), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        opened = rasterio.open(path)
    with opened as source:
        yield Raster(path, *_tiff_axes(source, path), _tiff_reader(source, rasterio, path))


def _tiff_axes(source: Any, path: Path) -> tuple[Array, Array]:
    if source.crs is None or not source.crs.is_geographic:
        raise GridError(
            f"{path} has the coordinate system {source.crs}; latitude and longitude in degrees "
            f"are needed. Bring it there with: gdalwarp -t_srs EPSG:4326 {path.name} degrees.tif"
        )
    where = source.transform
    if where.b or where.d or where.is_identity:
        raise GridError(
            f"{path} is turned, or its corners are not stated; rows must run along latitudes. "
            f"Bring it there with: gdalwarp -t_srs EPSG:4326 {path.name} degrees.tif"
        )
    if source.count != 1:
        raise DataError(f"{path} has {source.count} bands; give a file with elevation alone.")
    rows = np.arange(source.height) + 0.5
    columns = np.arange(source.width) + 0.5
    return check_axes(where.f + where.e * rows, where.c + where.a * columns, str(path))


def _tiff_reader(source: Any, rasterio: Any, path: Path) -> Callable[[slice, slice], Array]:
    def read(rows: slice, columns: slice) -> Array:
        window = rasterio.windows.Window.from_slices(rows, columns)
        with reading(path, "GeoTIFF"):
            values = source.read(1, window=window, masked=True)
        scaled = values.astype(np.float64) * source.scales[0] + source.offsets[0]
        return np.asarray(scaled.filled(np.nan), dtype=np.float64)

    return read


@contextmanager
def _open_netcdf(path: Path, variable: str | None) -> Iterator[Raster]:
    check_files([path])
    with reading(path):
        opened = xr.open_dataset(path, engine="netcdf4", cache=False, decode_times=False)
    with opened as ds:
        field = _one_field(ds, variable, path)
        axes = find_axes(field)
        if field.ndim != 2 or not axes.rectilinear:
            raise DataError(
                f"{field.name!r} of {path} has the dimensions {field.dims}; elevation has latitude "
                "and longitude alone, each with one dimension."
            )
        _check_metres(field, path)
        ordered = field.transpose(axes.y, axes.x)
        degrees = (field[axes.latitude].values, field[axes.longitude].values)
        yield Raster(path, *check_axes(*degrees, str(path)), _netcdf_reader(ordered, path))


def _one_field(ds: xr.Dataset, variable: str | None, path: Path) -> xr.DataArray:
    there = [str(name) for name, v in ds.data_vars.items() if v.ndim >= 2]
    wanted = there if variable is None else [n for n in there if n == variable]
    if len(wanted) != 1:
        what = "several fields or none" if variable is None else f"no field {variable!r}"
        raise DataError(
            f"{path} has {what}; it has {', '.join(there) or 'none'}. Name one with variable=."
        )
    return ds[wanted[0]]


def _check_metres(field: xr.DataArray, path: Path) -> None:
    units = ("m" if (found := units_of(field)) is None else found).lower()
    if units not in _METRES:
        raise DataError(
            f"{field.name!r} of {path} is in {field.attrs['units']!r}; elevation must be in m. "
            "Convert it, or name another field with variable=."
        )


def _netcdf_reader(field: xr.DataArray, path: Path) -> Callable[[slice, slice], Array]:
    def read(rows: slice, columns: slice) -> Array:
        with reading(path):
            return np.asarray(field[rows, columns].values, dtype=np.float64)

    return read
