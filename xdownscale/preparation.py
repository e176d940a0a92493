"""Records as the networks see them: day by day, gaps filled, scaled, on the fine grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from xdownscale.config import DataConfig
from xdownscale.labels import from_array, require_time, to_array
from xdownscale.regridding import regrid
from xdownscale.scaling import Scaling

Array = npt.NDArray[Any]
_BLOCK = 64  # days that are regridded at once


class Days:
    """Days read on demand: ``days[index]`` gives ``(n, y, x)`` float32, or ``(y, x)`` for one.

    Parameters
    ----------
    read : callable
        Index array -> ``(n, y, x)``.
    shape : sequence of int
        ``(days, y, x)``.
    """

    dtype = np.dtype("float32")

    def __init__(self, read: Callable[[Array], Array], shape: Sequence[int]) -> None:
        self._read = read
        self.shape = tuple(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Array:
        wanted = np.arange(len(self))[index]
        block = self._read(np.atleast_1d(wanted))
        return block if np.ndim(wanted) else block[0]

    @property
    def megabytes(self) -> float:
        """Size of all days in MB."""
        return float(np.prod(self.shape) * self.dtype.itemsize / 1e6)

    def in_memory(self, limit: float) -> Days | Array:
        """Return all days as one array if they take less than `limit` MB, else self."""
        if self.megabytes > limit:
            return self
        out = np.empty(self.shape, self.dtype)
        for start in range(0, len(self), _BLOCK):
            index = np.arange(start, min(start + _BLOCK, len(self)))
            out[index] = self._read(index)
        return out


def fill_gaps(fields: Array) -> Array:
    """Fill NaN from the nearest cell of the same day, for the network's input only.

    Parameters
    ----------
    fields : (n, y, x) array
        Days with gaps.

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
    holes = np.isnan(fields)
    partial = np.flatnonzero(holes.any(axis=(1, 2)) & ~holes.all(axis=(1, 2)))
    if not partial.size:
        return fields
    filled = fields.copy()
    for day in partial:
        nearest = ndimage.distance_transform_edt(
            holes[day], return_distances=False, return_indices=True
        )
        filled[day] = fields[day][tuple(nearest)]
    return filled


def missing_share(coarse: xr.DataArray) -> npt.NDArray[np.float64]:
    """Share of missing cells of each day of a coarse record, ``(n,)``, day blocks at a time."""
    array = to_array(coarse).array
    shares = np.empty(array.shape[0])
    for start in range(0, array.shape[0], 16 * _BLOCK):
        block = np.asarray(array[start : start + 16 * _BLOCK])
        shares[start : start + 16 * _BLOCK] = np.isnan(block).mean(axis=(1, 2))
    return shares


def scaled_coarse(coarse: xr.DataArray, scaling: Scaling) -> Days:
    """Return the coarse record on its own grid, gaps filled and scaled, day by day.

    Parameters
    ----------
    coarse : DataArray
        Coarse record.
    scaling : Scaling
        Fitted on the fine training days, so that both records speak one language.

    Returns
    -------
    Days
        ``(n, y, x)``; a day without any value is 0.
    """
    array = to_array(coarse).array

    def read(index: Array) -> Array:
        block = fill_gaps(np.asarray(array[index], dtype=np.float32))
        return np.asarray(np.nan_to_num(scaling.forward(block)), np.float32)

    return Days(read, array.shape)


def driver(coarse: xr.DataArray, grid: xr.DataArray, scaling: Scaling, data: DataConfig) -> Days:
    """Return the coarse record interpolated to the fine grid, in scaled units, day by day.

    Interpolation happens in the transformed space, so that a positive variable stays positive.

    Parameters
    ----------
    coarse : DataArray
        Coarse record.
    grid : DataArray
        Fine grid, ``(y, x)``.
    scaling : Scaling
        Fitted on the fine training days.
    data : DataConfig
        Regridding options.

    Returns
    -------
    Days
        ``(n, y, x)``.
    """
    days, labels = scaled_coarse(coarse, scaling), to_array(coarse).labels
    time = coarse[require_time(coarse, "The coarse record")]

    def read(index: Array) -> Array:
        unique, inverse = np.unique(index, return_inverse=True)
        native = from_array(days[unique], labels.with_time(time[unique]))
        fields = regrid(
            native, grid, method=data.regrid, engine=data.engine, extrapolate=data.extrapolate
        )
        block: Array = np.asarray(to_array(fields).array, dtype=np.float32)[inverse]
        return block

    return Days(read, (days.shape[0], *grid.shape))


def scaled_fine(fine: xr.DataArray, scaling: Scaling, window: tuple[slice, slice]) -> Days:
    """Return the fine record in scaled units, day by day, cropped to `window`.

    Parameters
    ----------
    fine : DataArray
        Fine record.
    scaling : Scaling
        Fitted on its training days.
    window : tuple of slice
        Rows and columns of the group's part of the grid.

    Returns
    -------
    Days
        ``(n, y, x)``; NaN stays NaN.
    """
    array = to_array(fine).array[(slice(None), *window)]

    def read(index: Array) -> Array:
        block = np.asarray(array[index], dtype=np.float32)
        return np.asarray(scaling.forward(block), dtype=np.float32)

    return Days(read, array.shape)
