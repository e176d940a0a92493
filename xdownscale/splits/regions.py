"""Turn regions, boxes in degrees or masks, into masks of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.alignment import turn
from xdownscale.core.coords import Axes, find_axes
from xdownscale.core.errors import GridError, OptionError
from xdownscale.core.grids import on_grid, same_grid
from xdownscale.core.quantities import as_plain
from xdownscale.core.values import plain_array

Region = tuple[float, float, float, float] | xr.DataArray
_TOLERANCE = 1e-4  # degrees; float32 longitudes near 360 are this coarse


def normalise_regions(regions: Mapping[str, Any] | None) -> dict[str, Region]:
    """Validate regions and return them as boxes of floats or masks.

    Parameters
    ----------
    regions : mapping of str to box or mask, optional
        Boxes are ``(west, east, south, north)`` in degrees; masks are DataArrays.

    Returns
    -------
    dict of str to tuple of float or DataArray
        Empty for None.

    Raises
    ------
    OptionError
        If this is no mapping, or a box is not valid.

    Examples
    --------
    >>> normalise_regions({"gulf": (45, 60, 20, 32)})
    {'gulf': (45.0, 60.0, 20.0, 32.0)}
    """
    if regions is None:
        return {}
    if not isinstance(regions, Mapping):
        raise OptionError(
            f"regions is a {type(regions).__name__}; give a mapping of names to boxes (west, east, "
            "south, north) or masks."
        )
    return {str(name): _normalise(f"Region {name!r}", region) for name, region in regions.items()}


def _normalise(what: str, region: Any) -> Region:
    if isinstance(region, xr.DataArray):
        return region
    try:
        west, east, south, north = (float(edge) for edge in region)
    except (TypeError, ValueError):
        raise OptionError(
            f"{what} is {region!r}; give a box (west, east, south, north) in degrees or a mask "
            "as a DataArray."
        ) from None
    if not -90 <= south <= north <= 90 or not np.isfinite([west, east]).all():
        raise OptionError(
            f"{what} is the box (west={west}, east={east}, south={south}, north={north}); south "
            "must not exceed north, both lie in [-90, 90], all must be finite."
        )
    return west, east, south, north


def region_mask(da: xr.DataArray, region: Any) -> xr.DataArray:
    """Return the mask of a region on a grid.

    Parameters
    ----------
    da : DataArray
        Anything on the grid.
    region : (west, east, south, north) or DataArray
        A box in degrees, borders included, in any longitude convention, across Greenwich or the
        date line too (``west=350, east=10``); or a mask of 0 and 1 on the same grid (NaN
        counts as 0), whatever the order of its latitudes.

    Returns
    -------
    DataArray of bool
        Dims ``(y, x)``, named and ordered as in the grid.

    Raises
    ------
    OptionError
        If the box is not valid.
    GridError
        If no cell's centre lies in the region, or a mask is on another grid or holds other
        values than 0 and 1.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((1, 4)), coords={"lat": [0.0], "lon": [0.0, 90, 180, 270]})
    >>> region_mask(da, (-90, 10, -5, 5)).values
    array([[ True, False, False,  True]])
    """
    checked = _normalise("The region", region)
    da = as_plain(da)
    axes = find_axes(da)
    inside = _box(da, axes, checked) if isinstance(checked, tuple) else _mask(da, axes, checked)
    if not inside.any():
        raise GridError(
            f"No cell of the grid lies in the region {_describe(checked)}; the grid spans "
            f"{_span(da, axes)}. Give a region that holds the centre of a cell."
        )
    return inside


def _box(da: xr.DataArray, axes: Axes, box: tuple[float, float, float, float]) -> xr.DataArray:
    west, east, south, north = box
    lat = da[axes.latitude]
    lon = da[axes.longitude]
    # degrees east of the western border do not depend on the longitude convention
    eastward = (lon.astype("float64") - west + _TOLERANCE) % 360
    width = min(east - west, 360.0) if east >= west else (east - west) % 360
    in_rows = (lat >= south - _TOLERANCE) & (lat <= north + _TOLERANCE)
    inside = in_rows & (eastward <= width + 2 * _TOLERANCE)
    return on_grid(da, inside.transpose(axes.y, axes.x).values)


def _mask(da: xr.DataArray, axes: Axes, mask: xr.DataArray) -> xr.DataArray:
    mask = plain_array(mask, "The mask of the region")
    grid = on_grid(da, np.zeros((da.sizes[axes.y], da.sizes[axes.x]), bool))
    its = find_axes(mask)
    one = {dim: 0 for dim in mask.dims if dim not in (its.y, its.x) and mask.sizes[dim] == 1}
    own = mask.isel(one, drop=True).transpose(..., its.y, its.x)
    if own.ndim != 2 or not same_grid(own, grid):
        raise GridError(
            f"The mask {mask.name or ''!r} of shape {own.shape} is not on the grid of shape "
            f"{grid.shape}; bring it there with regrid(mask, grid, method='nearest')."
        )
    turned = turn(own, grid).transpose(axes.y, axes.x)
    values = np.nan_to_num(np.asarray(turned, dtype=np.float64), nan=0.0)
    if not np.isin(values, (0.0, 1.0)).all():
        raise GridError(
            f"The mask {mask.name or ''!r} holds values from {values.min()} to {values.max()}; "
            "give 0 and 1, or a condition such as mask > 0.5."
        )
    return grid.copy(data=values == 1)


def _describe(region: Region) -> str:
    return f"of the mask {region.name or ''!r}" if isinstance(region, xr.DataArray) else f"{region}"


def _span(da: xr.DataArray, axes: Axes) -> str:
    lat = da[axes.latitude]
    lon = da[axes.longitude]
    return (
        f"longitudes {float(lon.min()):g} to {float(lon.max()):g} and latitudes "
        f"{float(lat.min()):g} to {float(lat.max()):g}"
    )
