"""Records as the networks see them: day by day, gaps filled, scaled, on the fine grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from xdownscale.adaptation import QuantileMap
from xdownscale.config import DataConfig
from xdownscale.labels import from_array, require_time, to_array
from xdownscale.reading import Reader, at_once, blocks
from xdownscale.regridding import regrid, separable
from xdownscale.scaling import Scaling

Array = npt.NDArray[Any]
_MANY = 1024  # days of a coarse record that are looked at at once


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

    def through(self, rows: npt.NDArray[np.int64]) -> Days:
        """Return days that are read from other rows: day i from ``rows[i]``."""
        return Days(lambda index: self[rows[index]], (rows.size, *self.shape[1:]))

    @property
    def megabytes(self) -> float:
        """Size of all days in MB."""
        return float(np.prod(self.shape) * self.dtype.itemsize / 1e6)

    def in_memory(self, limit: float) -> Days | Array:
        """Return all days as one array if they take less than `limit` MB, else self."""
        if self.megabytes > limit:
            return self
        out = np.empty(self.shape, self.dtype)
        size = at_once(self)
        for start in range(0, len(self), size):
            index = np.arange(start, min(start + size, len(self)))
            out[index] = self._read(index)
        return out


def stack(parts: Sequence[Days]) -> Days:
    """Return several variables as one: ``(n, variable, y, x)``.

    Parameters
    ----------
    parts : sequence of Days
        Of one shape.

    Returns
    -------
    Days

    Examples
    --------
    >>> days = Days(lambda index: np.zeros((len(index), 2, 3)), (5, 2, 3))
    >>> stack([days, days])[1:3].shape
    (2, 2, 2, 3)
    """
    shape = (parts[0].shape[0], len(parts), *parts[0].shape[1:])
    return Days(lambda index: np.stack([part[index] for part in parts], axis=1), shape)


def variable(days: Days | Array, number: int) -> Days | Array | None:
    """Return one variable of what `stack` made, where it is in memory; else None.

    Examples
    --------
    >>> variable(np.zeros((4, 2, 3, 3)), 1).shape
    (4, 3, 3)
    """
    return days[:, number] if isinstance(days, np.ndarray) else None


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
    array = Reader(to_array(coarse).array)

    def read(index: Array) -> Array:
        block = fill_gaps(np.asarray(array[index], dtype=np.float32))
        return np.asarray(np.nan_to_num(scaling.forward(block)), np.float32)

    return Days(read, array.shape)


def chained(first: Days, second: Days) -> Days:
    """Return the days of two records as one, the first record's first.

    Examples
    --------
    >>> days = Days(lambda index: index[:, None, None] * np.ones((1, 1)), (3, 1, 1))
    >>> chained(days, days)[[2, 3, 5]].ravel().tolist()
    [2.0, 0.0, 2.0]
    """
    count = len(first)

    def read(index: Array) -> Array:
        early = index < count
        parts = [(early, first, index[early]), (~early, second, index[~early] - count)]
        out = np.empty((index.size, *first.shape[1:]), Days.dtype)
        for chosen, days, rows in parts:
            if rows.size:
                out[chosen] = days[rows]
        return out

    return Days(read, (count + len(second), *first.shape[1:]))


def mapped(days: Days, quantiles: QuantileMap, months: npt.NDArray[np.int64]) -> Days:
    """Return a record brought to the climate of another, day by day.

    Parameters
    ----------
    days : Days
        ``(n, y, x)``, scaled.
    quantiles : QuantileMap
        In scaled units.
    months : (n,) int array
        Month of each day.
    """
    return Days(
        lambda index: np.asarray(quantiles.apply(days[index], months[index]), np.float32),
        days.shape,
    )


def driver(
    coarse: xr.DataArray,
    grid: xr.DataArray,
    scaling: Scaling,
    data: DataConfig,
    days: Days | Array | None = None,
) -> Days:
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
    days : Days or ndarray, optional
        What stands for the record on its own grid; default `scaled_coarse`.

    Returns
    -------
    Days
        ``(n, y, x)``.
    """
    days = scaled_coarse(coarse, scaling) if days is None else days
    bring = _separably(coarse, grid, data) if data.engine == "separable" else None
    labels = to_array(coarse).labels
    time = coarse[require_time(coarse, "The coarse record")]

    def read(index: Array) -> Array:
        unique, inverse = np.unique(index, return_inverse=True)
        if bring is not None:
            return np.asarray(bring(days[unique]), dtype=np.float32)[inverse]
        native = from_array(days[unique], labels.with_time(time[unique]))
        fields = regrid(
            native, grid, method=data.regrid, engine=data.engine, extrapolate=data.extrapolate
        )
        block: Array = np.asarray(to_array(fields).array, dtype=np.float32)[inverse]
        return block

    return Days(read, (days.shape[0], *grid.shape))


def _separably(
    coarse: xr.DataArray, grid: xr.DataArray, data: DataConfig
) -> Callable[[Array], Array]:
    """Return what `regrid` does to arrays ``(n, y, x)``; axes and weights are found once."""
    regridder = separable(coarse, grid, data.regrid, data.extrapolate)
    there = to_array(coarse).labels.flips()
    back = (slice(None), *to_array(grid).labels.flips())
    return lambda fields: np.asarray(regridder.apply(fields[there])[back])


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
    array = Reader(to_array(fine).array[(slice(None), *window)])

    def read(index: Array) -> Array:
        block = np.asarray(array[index], dtype=np.float32)
        return np.asarray(scaling.forward(block), dtype=np.float32)

    return Days(read, array.shape)
