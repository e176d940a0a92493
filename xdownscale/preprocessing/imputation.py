"""Missing values of the coarse record: where they are, and how inputs are filled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from xdownscale.core.blocks import blocks
from xdownscale.core.coords import to_array

Array = npt.NDArray[Any]
_MANY = 1024  # days of a coarse record that are looked at at once


def fill_gaps(fields: Array) -> Array:
    """Fill missing values from the nearest cell of the same day, for the network's input only.

    Parameters
    ----------
    fields : (n, y, x) array
        Days with gaps: NaN or infinite.

    Returns
    -------
    (n, y, x) array
        Without NaN, except days that have no value at all.

    Examples
    --------
    >>> import numpy as np
    >>> fill_gaps(np.array([[[1.0, np.nan, np.nan, 4.0]]]))
    array([[[1., 1., 4., 4.]]])
    """
    holes = ~np.isfinite(fields)
    if not holes.any():
        return fields
    partial = np.flatnonzero(holes.any(axis=(1, 2)) & ~holes.all(axis=(1, 2)))
    filled = np.where(holes, np.nan, fields)
    for day in partial:
        nearest = ndimage.distance_transform_edt(
            holes[day], return_distances=False, return_indices=True
        )
        filled[day] = fields[day][tuple(nearest)]
    return filled


def ever_present(coarse: xr.DataArray) -> npt.NDArray[np.bool_]:
    """Return the cells of a coarse record that ever have a value, ``(y, x)``.

    Parameters
    ----------
    coarse : DataArray
        Coarse record; read a block of days at a time.

    Returns
    -------
    (y, x) bool array
    """
    array = to_array(coarse).array
    present = np.zeros(array.shape[1:], bool)
    for _, block in blocks(array, _MANY):
        present |= np.isfinite(block).any(axis=0)
    return present


def missing_share(coarse: xr.DataArray, present: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the share of cells that each day of a coarse record misses.

    Parameters
    ----------
    coarse : DataArray
        Coarse record; read a block of days at a time.
    present : (y, x) bool array
        Cells that count: those that ever have a value.

    Returns
    -------
    (n,) array
    """
    array = to_array(coarse).array
    shares = np.ones(array.shape[0])
    for rows, block in blocks(array, _MANY):
        if present.any():
            shares[rows] = 1 - np.isfinite(block[:, present]).mean(axis=1)
    return shares
