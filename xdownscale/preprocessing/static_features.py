"""Static fields as network inputs: regridded, with gaps filled, in [-1, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.cells import cells_of
from xdownscale.core.coords import find_axes, to_array
from xdownscale.core.errors import DataError
from xdownscale.core.grids import cell_centres, distances, has_grid
from xdownscale.core.located import located, located_variables
from xdownscale.preprocessing.imputation import fill_gaps
from xdownscale.regridding import regrid, regrid_static

Array = npt.NDArray[Any]


def static_fields(
    static: xr.DataArray | xr.Dataset | None,
    grid: xr.DataArray,
    coarse: xr.DataArray | None = None,
    *,
    described: bool = False,
) -> npt.NDArray[np.float32]:
    """Return static fields, latitude and longitude on the fine grid, each in [-1, 1].

    Parameters
    ----------
    static : DataArray, Dataset or None
        Time-independent fields on any grid; brought to the fine grid by area average.
    grid : DataArray
        Fine grid, ``(y, x)``.
    coarse : DataArray, optional
        Coarse grid, ``(y, x)``. With it each static field is given thrice: itself, what a coarse
        cell does not show of it, and its slope.
    described : bool
        A projected or curvilinear grid is described too, after all other fields: spacing along y
        and x, and cosine and sine of the bearing of its rows' direction.

    Returns
    -------
    (s, y, x) float32 array
        Gaps are filled from the nearest cell.

    Raises
    ------
    DataError
        If a static field varies in time or has no value on the grid.
    """
    layers = static_layers(static, grid, coarse, described=described)
    return np.stack([unit_range(layer) for layer in layers])


def static_layers(
    static: xr.DataArray | xr.Dataset | None,
    grid: xr.DataArray,
    coarse: xr.DataArray | None = None,
    *,
    described: bool = False,
) -> list[Array]:
    """Return static fields, latitude and longitude on the fine grid, in their own units.

    Parameters
    ----------
    static, grid, coarse, described
        As for `static_fields`; spacings in km.

    Returns
    -------
    list of (y, x) array
    """
    latitude, longitude = cell_centres(grid)
    layers = [latitude, np.unwrap(longitude, period=360, axis=1)]
    for field in _static_list(static):
        layer = _static_layer(field, grid)
        layers += [layer] if coarse is None else [layer, *_details(layer, grid, coarse)]
    if described and not find_axes(grid).rectilinear:
        cells = cells_of(grid)
        layers += [*cells.spacings, *cells.bearing]
    return [np.asarray(layer, np.float64) for layer in layers]


def covariates(static: xr.DataArray | xr.Dataset, grid: xr.DataArray) -> npt.NDArray[np.float64]:
    """Return static fields on the fine grid alone, each in [-1, 1].

    Parameters
    ----------
    static : DataArray or Dataset
        As for `static_fields`.
    grid : DataArray
        Fine grid, ``(y, x)``.

    Returns
    -------
    (s, y, x) array
    """
    layers = [_static_layer(field, grid) for field in _static_list(static)]
    return np.stack([unit_range(np.asarray(layer, np.float64)) for layer in layers]).astype(float)


def _static_list(static: xr.DataArray | xr.Dataset | None) -> list[xr.DataArray]:
    """Return the static variables that have a grid."""
    if static is None:
        return []
    if isinstance(static, xr.DataArray):
        return [located(static, "The static field")]
    if not isinstance(static, xr.Dataset):
        raise DataError(
            f"static is a {type(static).__name__}; give a DataArray or Dataset of fields on a "
            "grid, or leave it out."
        )
    fields = list(located_variables(static, "static").values())
    fields = [field for field in fields if has_grid(field)]
    if not fields:
        raise DataError(
            f"static has no variable with latitude and longitude, only {list(static.data_vars)}. "
            "Give fields on a grid, or leave it out."
        )
    return fields


def _static_layer(field: xr.DataArray, grid: xr.DataArray) -> Array:
    """Bring a static field to the fine grid, and fill its gaps."""
    axes = find_axes(field)
    extra = [d for d in field.dims if d not in (axes.y, axes.x)]
    if extra:
        raise DataError(
            f"The static field {field.name!r} has the dimensions {extra} beside latitude and "
            "longitude; a static field has those two alone."
        )
    layer = np.asarray(to_array(regrid_static(field, grid)).array, dtype=np.float64)
    if np.isnan(layer).all():
        raise DataError(
            f"The static field {field.name!r} has no value on the fine grid; give one that covers "
            "it, or leave it out."
        )
    filled: Array = fill_gaps(layer[None])[0]
    return filled


def unit_range(layer: Array, like: Array | None = None) -> npt.NDArray[np.float32]:
    """Scale a layer to [-1, 1]; a constant layer becomes -1.

    Parameters
    ----------
    layer : array
    like : array, optional
        Whose range becomes [-1, 1]; by default the layer's own.

    Examples
    --------
    >>> unit_range(np.array([0.0, 1.0, 2.0])), unit_range(np.array([4.0]), np.array([0.0, 2.0]))
    (array([-1.,  0.,  1.], dtype=float32), array([3.], dtype=float32))
    """
    like = layer if like is None else like
    low = float(like.min())
    high = float(like.max())
    span = high - low if high > low else 1.0
    return np.asarray(2 * (layer - low) / span - 1, dtype=np.float32)


def _details(layer: Array, grid: xr.DataArray, coarse: xr.DataArray) -> list[Array]:
    """Return the part of a field that coarse cells do not resolve, and its slope per km."""
    field = grid.copy(data=layer)
    seen = regrid(field, coarse, method="conservative", extrapolate="nearest")
    filled = seen.copy(data=fill_gaps(np.asarray(seen.values, float)[None])[0])
    smooth = regrid(filled, grid, method="bilinear", extrapolate="nearest")
    return [layer - np.asarray(to_array(smooth).array, float), _slope(layer, grid)]


def _slope(layer: Array, grid: xr.DataArray) -> Array:
    """Return the length of the gradient, per km."""
    degrees = cell_centres(grid)
    squares = np.zeros(layer.shape)
    for axis in range(2):
        ends = [
            [np.take(d, np.arange(n)[part], axis) for d in degrees]
            for n in [layer.shape[axis]]
            for part in (slice(None, -1), slice(1, None))
        ]
        step = np.diff(layer, axis=axis) / np.maximum(distances(*ends[0], *ends[1]), 1e-6)
        width = [(0, 0), (0, 0)]
        width[axis] = (1, 1)
        around = np.pad(step, width, mode="edge")
        before, after = (
            np.take(around, np.arange(layer.shape[axis]) + shift, axis) for shift in (0, 1)
        )
        squares += ((before + after) / 2) ** 2
    return np.sqrt(squares)
