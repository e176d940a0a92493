"""Read elevation from a file and average it over the cells of a grid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from xdownscale.core.alignment import horizontal
from xdownscale.core.cells import cells_of
from xdownscale.core.coords import Axes, find_axes
from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.core.grids import (
    Array,
    Grid,
    cell_bounds,
    grid_template,
    latitude_axis,
    longitude_axis,
    outside,
    spacing,
    wrap_longitude,
)
from xdownscale.core.located import located
from xdownscale.core.projection import with_mapping
from xdownscale.datasets._rasters import Raster, open_raster
from xdownscale.datasets._subset import Box, Window, cut

_TILE = 4_000_000  # pixels in memory at a time
_TILE_OF_POLYGONS = 250_000  # where cells and pixels are cut as polygons
_CELLS = 256  # of the grid along each side of a tile, at most: the weights are dense


def open_elevation(
    path: str | os.PathLike[str],
    grid: Grid,
    *,
    variable: str | None = None,
    fill: float | None = None,
    min_valid: float = 0.5,
) -> xr.DataArray:
    """Read elevation from a GeoTIFF or netCDF file and average it over the cells of a grid.

    Parameters
    ----------
    path : path
        A GeoTIFF in degrees (``.tif``, through rasterio), such as the 7.5, 15 or 30 arc-second
        mean of GMTED2010, or a netCDF file with latitude and longitude. It is read in tiles: a
        raster of 43,200 x 86,400 pixels need not fit into memory.
    grid : DataArray or Dataset
        Gives the grid, of any kind; its values are not read.
    variable : str, optional
        Name in a netCDF file that has several fields.
    fill : float, optional
        Height in m of pixels without a value, such as 0 for the sea. Without it they are left
        out of the mean.
    min_valid : float
        A cell is NaN where less than this share of its area has a value.

    Returns
    -------
    DataArray
        ``elevation`` in m, float32, on the latitude and longitude of `grid`: the mean over the
        area of each cell, with exact areas on the sphere, where pixels are smaller than cells;
        else bilinear interpolation.

    Raises
    ------
    StorageError
        If the file is not there.
    DataError
        If it is empty, truncated or an HTML page, not in metres, or has no such field.
    GridError
        If it is not in degrees, or the grid reaches beyond it.
    OptionError
        If `fill` is no finite number.
    MissingPackageError
        For a GeoTIFF, if rasterio is not installed.

    Notes
    -----
    GMTED2010 (Danielson and Gesch 2011, USGS Open-File Report 2011-1073) is in degrees on WGS84,
    in whole metres, from 90S to 84N; give the ``mn`` (mean) product. A file's declared nodata
    value is taken for missing; GMTED2010 has the height 0 over the sea.

    Examples
    --------
    >>> import tempfile
    >>> lat, lon = np.arange(10.05, 12, 0.1), np.arange(40.05, 43, 0.1)
    >>> height = xr.DataArray(np.full((20, 30), 200.0), {"lat": lat, "lon": lon}, name="z")
    >>> grid = xr.Dataset(coords={"lat": [10.5, 11.5], "lon": [40.5, 41.5, 42.5]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     height.to_netcdf(f"{folder}/height.nc")
    ...     open_elevation(f"{folder}/height.nc", grid).values
    array([[200., 200., 200.],
           [200., 200., 200.]], dtype=float32)
    """
    if fill is not None and not (isinstance(fill, (int, float)) and np.isfinite(fill)):
        raise OptionError(f"fill is {fill!r}; give a height in m, such as 0, or None.")
    file = Path(path)
    field_grid, axes = _bare_field(grid)
    values = np.full(field_grid.shape, np.nan, dtype=np.float32)
    with open_raster(file, variable) as raster:
        _check_covered(raster, field_grid, axes)
        method = _method(raster, field_grid, axes)
        for tile in _tiles(field_grid, axes, raster):
            _fill_tile(values, tile, field_grid, axes, raster, (method, fill, min_valid))
    if np.isnan(values).all():
        raise DataError(
            f"{file} has no value on the grid. Give a file that covers it, or fill=0 for the sea."
        )
    return _labelled(values, field_grid, file, method)


def _bare_field(grid: Grid) -> tuple[xr.DataArray, Axes]:
    """Return a field ``(y, x)`` with only the latitude and longitude of the grid, and its axes."""
    if isinstance(grid, xr.Dataset):
        template = with_mapping(grid_template(grid, "The grid"), grid)
    else:
        template = grid_template(grid, "The grid")
    template = located(template, "The grid")
    axes = find_axes(template)
    coords = horizontal(template)
    bare = {name: xr.Variable(c.dims, c.values, c.attrs) for name, c in coords.items()}
    shape = (template.sizes[axes.y], template.sizes[axes.x])
    return xr.DataArray(np.zeros(shape, bool), dims=(axes.y, axes.x), coords=bare), axes


def _degrees(grid: xr.DataArray, axes: Axes) -> tuple[Array, Array]:
    """Return latitudes, and longitudes without a jump."""
    lat = grid[axes.latitude].values.astype(np.float64)
    lon = grid[axes.longitude].values.astype(np.float64)
    if not axes.rectilinear:
        middle = np.degrees(np.angle(np.exp(1j * np.radians(lon)).mean()))
        return lat.ravel(), middle + wrap_longitude(lon.ravel() - middle)
    return lat, np.unwrap(lon, period=360.0)


def _steps(grid: xr.DataArray, axes: Axes) -> tuple[float, float]:
    """Return the height and the width of a cell in degrees of the raster's axes."""
    lat, lon = _degrees(grid, axes)
    if axes.rectilinear:
        return spacing(lat), spacing(lon)
    down, along = cells_of(grid, "The grid").steps
    # a tilted cell: what it may span
    step = float(np.nanmax([down, along]))
    return step, step / max(float(np.cos(np.radians(np.abs(lat).max()))), 1e-3)


def _check_covered(raster: Raster, grid: xr.DataArray, axes: Axes) -> None:
    """Raise if the centre of a cell of the grid lies beyond the raster."""
    covers = latitude_axis(raster.latitude), longitude_axis(raster.longitude)
    for axis, points, name in zip(
        covers, _degrees(grid, axes), ("latitude", "longitude"), strict=True
    ):
        beyond = outside(axis, points, cyclic=name == "longitude")
        if beyond.any():
            raise GridError(
                f"{beyond.sum()} of the grid's {points.size} {name}s, which run from "
                f"{points.min():g} to {points.max():g}, lie beyond {raster.path.name}, which spans "
                f"{axis.edges[0]:g} to {axis.edges[-1]:g}. Crop the grid, or give a larger file."
            )


def _method(raster: Raster, grid: xr.DataArray, axes: Axes) -> str:
    """Return the regridding method: average where pixels are smaller than cells."""
    down, along = _steps(grid, axes)
    pixel = spacing(raster.latitude) * spacing(raster.longitude)
    return "conservative" if pixel < down * along else "bilinear"


def _tiles(grid: xr.DataArray, axes: Axes, raster: Raster) -> Iterator[tuple[slice, slice]]:
    """Yield blocks of the grid, each small enough for its pixels to fit into memory."""
    pixels = (raster.latitude, raster.longitude)
    ratios = [
        max(step / spacing(p), 1.0) if size > 1 else 1.0
        for step, p, size in zip(_steps(grid, axes), pixels, grid.shape, strict=True)
    ]
    pixels_at_once = _TILE if axes.rectilinear else _TILE_OF_POLYGONS
    side = [int(np.clip(pixels_at_once**0.5 / ratio, 1, _CELLS)) for ratio in ratios]
    for top in range(0, grid.shape[0], side[0]):
        for left in range(0, grid.shape[1], side[1]):
            yield (
                slice(top, min(top + side[0], grid.shape[0])),
                slice(left, min(left + side[1], grid.shape[1])),
            )


def _fill_tile(
    values: Array,
    tile: tuple[slice, slice],
    grid: xr.DataArray,
    axes: Axes,
    raster: Raster,
    options: tuple[str, float | None, float],
) -> None:
    """Fill one tile; it is regridded with a rim of cells, so that its edges are as elsewhere."""
    from xdownscale.regridding import regrid  # late: scipy

    method, fill, min_valid = options
    wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in tile)
    part = grid[wide]
    window = _window(part, axes, raster)
    pixels = np.concatenate([raster.read(window.rows, c) for c in window.columns], axis=1)
    if fill is not None:
        pixels = np.where(np.isnan(pixels), fill, pixels)
    field = xr.DataArray(pixels, coords={"lat": window.latitude, "lon": window.longitude})
    regridded = regrid(field, part, method, min_valid=min_valid).values
    inner = tuple(
        slice(s.start - w.start, s.stop - w.start) for s, w in zip(tile, wide, strict=True)
    )
    values[tile] = regridded[inner]


def _window(part: xr.DataArray, axes: Axes, raster: Raster) -> Window:
    """Return the window of pixels under a part of the grid, and one more on every side."""
    lat, lon = _degrees(part, axes)
    if axes.rectilinear:
        lat_edges = cell_bounds(lat, (-90.0, 90.0)) if lat.size > 1 else lat
        lon_edges = cell_bounds(lon) if lon.size > 1 else lon
    else:  # corners of tilted cells lie within a step of the centres
        down, along = _steps(part, axes)
        lat_edges = np.clip([lat.min() - down, lat.max() + down], -90.0, 90.0)
        lon_edges = np.array([lon.min() - along, lon.max() + along])
    # cells at the rim may reach beyond the raster
    north = raster.latitude.max()
    south = raster.latitude.min()
    half = spacing(raster.latitude) / 2
    box: Box = (
        float(lon_edges.min()),
        float(lon_edges.max()),
        float(np.clip(lat_edges.min(), south - half, north)),
        float(np.clip(lat_edges.max(), south, north + half)),
    )
    return cut(raster.latitude, raster.longitude, _inside(box, raster), 1, raster.path.name)


def _inside(box: Box, raster: Raster) -> Box:
    """Clip a box to the western and eastern edge of a raster that is not global."""
    west, east, south, north = box
    step = spacing(raster.longitude)
    first = raster.longitude[0] - step / 2
    last = raster.longitude[-1] + step / 2
    if last - first > 360 - step / 2:
        return box
    turn = 360.0 * np.round(((first + last) - (west + east)) / 720.0)
    return (
        float(np.clip(west + turn, first, last) - turn),
        float(np.clip(east + turn, first, last) - turn),
        south,
        north,
    )


def _labelled(values: Array, grid: xr.DataArray, path: Path, method: str) -> xr.DataArray:
    attrs = {
        "standard_name": "surface_altitude",
        "long_name": "elevation of the ground",
        "units": "m",
        "source": path.name,
        "history": f"xdownscale: {path.name} brought to the grid, {method}",
    }
    if method == "conservative":
        attrs["cell_methods"] = "area: mean"
    return grid.copy(data=values).rename("elevation").assign_attrs(attrs)
