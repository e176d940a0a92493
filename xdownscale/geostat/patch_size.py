"""Patch size from the range of the residual that a coarse record leaves open."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import xarray as xr

from xdownscale.core.alignment import template
from xdownscale.core.cells import cells_of
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import GridError, OptionError
from xdownscale.core.grids import EARTH_RADIUS_KM, distances, spacing
from xdownscale.core.normalization import Scaling, choose_transform
from xdownscale.geostat._common_days import on_common_days
from xdownscale.geostat._variables import for_each_variable
from xdownscale.geostat.variogram import semivariogram
from xdownscale.regridding import regrid

_LEAST_PATCH = 8
_CLASSES = 24  # distance classes, to eight coarse cells
_ROUNDING = 64  # times the dtype's precision: a residual of no more than that is none


@for_each_variable(other="coarse")
def advise_patch(
    fine: xr.DataArray,
    coarse: xr.DataArray | None = None,
    days: int = 30,
    seed: int = 0,
    *,
    factor: int = 8,
    transform: str | Scaling | None = "auto",
) -> xr.Dataset:
    """Advise a patch size: the semivariogram range of fine minus interpolated coarse fields.

    The residual is the fine field minus the bicubic interpolation of the coarse one, in
    transformed space. A patch should be as wide as the effective range of its semivariogram:
    pixels that are further apart have nothing to do with each other that the coarse field does
    not say already.

    Parameters
    ----------
    fine : DataArray or Dataset
        ([time,] lat, lon). A Dataset gives one result along ``variable``.
    coarse : DataArray or Dataset, optional
        The coarse record that a model will be trained on; None takes the fine record itself,
        averaged over `factor` x `factor` pixels. Unpaired records need None: their difference
        is weather (see `diagnose_pairing`).
    days : int
        At most this many days are read, evenly spaced.
    seed : int
        Of the semivariogram's pairs.
    factor : int
        Pixels along a side of a coarse cell where `coarse` is None; 2 or more.
    transform : str or Scaling, optional
        Space of the residual; ``"auto"`` looks at the fine values, None takes them as they are.

    Returns
    -------
    Dataset
        ``patch_size`` (pixels: the range to the nearest multiple of 4, from 8 to what the grid
        holds), ``range_km``, ``pixel_km`` and ``message``. Where no range can be measured
        `range_km` is NaN, `message` says so and `patch_size` is two coarse cells.

    Raises
    ------
    OptionError
        If `days` is below 1 or `factor` below 2.
    GridError
        If the fine grid has fewer than 16 pixels along a side, or reaches beyond the coarse one.
    TimeAxisError
        If no day is common.

    Examples
    --------
    >>> import xdownscale as xd
    >>> ds = xd.datasets.load_twin()
    >>> advise_patch(ds.dust_fine, days=3).patch_size.item() % 4
    0
    """
    if days < 1 or factor < 2:
        raise OptionError(f"days is {days} and factor {factor}; give 1 or more and 2 or more.")
    axes = find_axes(fine)
    shape = (fine.sizes[axes.y], fine.sizes[axes.x])
    if min(shape) < 2 * _LEAST_PATCH:
        raise GridError(
            f"The fine grid has {shape[0]} x {shape[1]} pixels; 16 along each side are needed to "
            "measure a range."
        )
    residual, cell_km = _residual(fine, coarse, days, factor, transform)
    pixel_km = float(np.mean(_pixel_km(fine)))
    curve = semivariogram(
        residual.compute(), max_distance=8 * cell_km, bins=_CLASSES, seed=seed, bootstrap=0
    )
    return _advice(curve, pixel_km, cell_km, min(shape), seed)


def _residual(
    fine: xr.DataArray, coarse: xr.DataArray | None, days: int, factor: int, transform: Any
) -> tuple[xr.DataArray, float]:
    """Return fine minus interpolated coarse fields, transformed, and the coarse cell size (km)."""
    if find_axes(fine).time:
        fine, coarse = _some_days(fine, coarse, days)
    fine = fine.compute()
    space = transform
    if not isinstance(space, Scaling):
        space = choose_transform(np.asarray(fine.data), space or "identity")
    if coarse is None:
        fine, coarse = _coarsened(fine, factor)
    coarse = coarse.compute()
    moved = regrid(coarse.copy(data=space.transform_only(coarse.data)), template(fine), "bicubic")
    own = fine.copy(data=space.transform_only(fine.data))
    residual = own - moved
    tiny = _ROUNDING * np.finfo(residual.dtype).eps * float(np.abs(own).max())
    residual = residual if float(np.abs(residual).max()) > tiny else residual * 0
    return residual, float(np.mean(_pixel_km(coarse)))


def _some_days(
    fine: xr.DataArray, coarse: xr.DataArray | None, days: int
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Return at most so many of the common days, evenly spaced."""
    if coarse is not None:
        fine, coarse = on_common_days(fine, coarse, ("The fine record", "The coarse record"))
    time = require_time(fine, "The fine record")
    count = fine.sizes[time]
    chosen = np.unique(np.linspace(0, count - 1, min(days, count)).round().astype(int))
    fine = fine.isel({time: chosen})
    return fine, coarse if coarse is None else coarse.isel({time: chosen})


def _coarsened(fine: xr.DataArray, factor: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the pixels that fill whole blocks, and the means of the blocks."""
    axes = find_axes(fine)
    sizes = {d: fine.sizes[d] // factor * factor for d in (axes.y, axes.x)}
    whole = fine.isel({d: slice(n) for d, n in sizes.items()})
    blocks = cast(Any, whole.coarsen({axes.y: factor, axes.x: factor}))
    return whole, blocks.mean()


def _pixel_km(da: xr.DataArray) -> tuple[float, float]:
    """Return the height and width (km) of a cell in the middle of the grid."""
    axes = find_axes(da)
    if not axes.rectilinear:
        down, along = (np.radians(step) * EARTH_RADIUS_KM for step in cells_of(template(da)).steps)
        return float(down), float(along)
    lat = np.asarray(da[axes.latitude].values, dtype=float)
    lon = np.asarray(da[axes.longitude].values, dtype=float)
    middle = float(np.median(lat))
    step = spacing(lat)
    width = spacing(np.unwrap(lon, period=360.0))
    north = distances(middle - step / 2, 0.0, middle + step / 2, 0.0)
    east = distances(middle, 0.0, middle, width)
    return north.item(), east.item()


def _advice(
    curve: xr.Dataset, pixel_km: float, cell_km: float, largest: int, seed: int
) -> xr.Dataset:
    range_km = float(curve.effective_range)
    wanted = (range_km if np.isfinite(range_km) else 2 * cell_km) / pixel_km
    size = int(np.clip(4 * round(wanted / 4), _LEAST_PATCH, largest // 4 * 4))
    if np.isfinite(range_km):
        message = (
            f"What the coarse field leaves open is correlated over {range_km:.0f} km, which is "
            f"{range_km / pixel_km:.1f} pixels of {pixel_km:.1f} km: take patches of {size} pixels."
        )
    else:
        message = (
            f"No range could be measured ({curve.message.item()}): {size} pixels are two coarse "
            "cells."
        )
    values = {
        "patch_size": (size, "advised patch size", "pixels"),
        "range_km": (range_km, "effective range of the residual", "km"),
        "pixel_km": (pixel_km, "size of a fine pixel", "km"),
        "message": (message, "advice", "1"),
    }
    return xr.Dataset(
        {n: ((), v, {"long_name": long, "units": u}) for n, (v, long, u) in values.items()},
        attrs={"seed": seed},
    )
