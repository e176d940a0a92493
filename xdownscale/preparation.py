"""From a labelled pair of records to the arrays that networks learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from xdownscale import cells, grids, splits
from xdownscale.config import DataConfig
from xdownscale.errors import DataError, GridError, ModelMismatchError, TimeAxisError
from xdownscale.labels import Labels, find_axes, from_array, require_time, to_array
from xdownscale.regridding import regrid
from xdownscale.scaling import Scaling

Array = npt.NDArray[Any]
_BLOCK = 64  # days that are regridded at once


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A coarse and a fine record that were found fit for each other.

    Attributes
    ----------
    coarse, fine : DataArray
        Times sorted; the fine record holds only days that the coarse one has too.
    rows : (n,) int array
        Index in the coarse record of each day of the fine record.
    grid : DataArray
        The fine grid, ``(y, x)``, latitude and longitude ascending.
    labels : Labels
        Names of the fine record.
    """

    coarse: xr.DataArray
    fine: xr.DataArray
    rows: npt.NDArray[np.int64]
    grid: xr.DataArray
    labels: Labels

    @property
    def time(self) -> xr.DataArray:
        """Time coordinate of the fine record."""
        return self.fine[require_time(self.fine, "The fine record")]

    @property
    def coarse_time(self) -> xr.DataArray:
        """Time coordinate of the coarse record."""
        return self.coarse[require_time(self.coarse, "The coarse record")]


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


def check_pair(coarse: xr.DataArray, fine: xr.DataArray, data: DataConfig) -> Pair:
    """Check that two records can be learnt from, before any value is read.

    Parameters
    ----------
    coarse, fine : DataArray
        The long and the short record, each with time, latitude and longitude.
    data : DataConfig
        Options.

    Returns
    -------
    Pair

    Raises
    ------
    GridError
        Axes not found, extra dimensions, or fine cells that the coarse grid does not cover.
    TimeAxisError
        Duplicate times, no common day, or too few of them.
    DataError
        Units that differ.
    """
    records = {"The coarse record": coarse, "The fine record": fine}
    for what, record in records.items():
        check_dims(record, what)
        if data.engine == "separable":
            grids.require_rectilinear(record, what)
    coarse, fine = (splits.check_time(record, what) for what, record in records.items())
    check_units(coarse, fine)
    if data.extrapolate is None and data.engine == "separable":
        _check_coverage(coarse, fine)
    rows, fine = _common_days(coarse, fine)
    if fine.sizes[require_time(fine, "The fine record")] < data.lags + 2:
        raise TimeAxisError(
            f"The records have {rows.size} days in common; a model with lags={data.lags} needs at "
            f"least lags + 2 = {data.lags + 2}. Give a longer fine record or fewer lags."
        )
    labels = _labels(fine)
    return Pair(coarse=coarse, fine=fine, rows=rows, grid=canonical_grid(labels), labels=labels)


def check_units(coarse: xr.DataArray, fine: xr.DataArray) -> None:
    """Raise `DataError` if both records name their units and the units differ."""
    units = coarse.attrs.get("units"), fine.attrs.get("units")
    if None not in units and units[0] != units[1]:
        raise DataError(
            f"The coarse record is in {units[0]!r} and the fine one in {units[1]!r}. Bring both to "
            "one unit (and set attrs['units']), or drop the attribute where it is wrong."
        )


def canonical_grid(labels: Labels) -> xr.DataArray:
    """Return the horizontal grid behind `labels` as ``(y, x)`` zeros, ascending."""
    axes = labels.axes
    keep = [
        n for n, c in labels.coords.coords.items() if set(c.dims) <= {axes.y, axes.x} and c.ndim
    ]
    coords = labels.coords[keep]
    sizes = (labels.coords.sizes[axes.y], labels.coords.sizes[axes.x])
    grid = xr.DataArray(np.zeros(sizes, np.float32), dims=(axes.y, axes.x), coords=coords.coords)
    for dim in (axes.y, axes.x):
        if axes.rectilinear and grid[dim][0] > grid[dim][-1]:
            grid = grid.isel({dim: slice(None, None, -1)})
    return grid


def check_same_cells(record: xr.DataArray, grid: xr.DataArray, what: str, owner: str) -> None:
    """Raise unless `record` has the cells of `grid`, in the same order.

    Parameters
    ----------
    record : DataArray
        Record to look at; latitude may run either way, longitudes may differ by 360 degrees.
    grid : DataArray
        ``(y, x)``, as `canonical_grid` returns it.
    what, owner : str
        What the record is, and whose grid it should have, for the message.

    Raises
    ------
    ModelMismatchError
    """
    mine = canonical_grid(to_array(record).labels)
    if mine.shape != grid.shape or not all(
        np.abs((a - b + 180) % 360 - 180).max() <= 1e-4
        for a, b in zip(_degrees(mine), _degrees(grid), strict=True)
    ):
        raise ModelMismatchError(
            f"{what} lies on another grid than {owner}: {_extent(mine)} against {_extent(grid)}. "
            "Regrid it (xd.regrid), or fit a model for its grid."
        )


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


def check_dims(record: xr.DataArray, what: str) -> None:
    """Raise unless a record has time, latitude and longitude, and nothing else.

    Parameters
    ----------
    record : DataArray
        Record to look at.
    what : str
        What it is, for the message.

    Raises
    ------
    GridError, TimeAxisError
    """
    axes = find_axes(record)
    require_time(record, what)
    extra = [d for d in record.dims if d not in (axes.time, axes.y, axes.x)]
    if extra:
        raise GridError(
            f"{what} has the extra dimensions {extra}; give one with time, latitude and longitude "
            "only, for example record.isel({dim}=0).".replace("{dim}", str(extra[0]))
        )


def _degrees(grid: xr.DataArray) -> list[Array]:
    axes = find_axes(grid)
    return [np.asarray(grid[name].values, float) for name in (axes.latitude, axes.longitude)]


def _extent(grid: xr.DataArray) -> str:
    spans = [f"{d.size} from {d.flat[0]:g} to {d.flat[-1]:g}" for d in _degrees(grid)]
    return f"latitudes {spans[0]}, longitudes {spans[1]}"


def _check_coverage(coarse: xr.DataArray, fine: xr.DataArray) -> None:
    axes = find_axes(fine)
    latitude, longitude = grids.grid_axes(coarse, "The coarse grid")
    centres = (fine[name].values for name in (axes.latitude, axes.longitude))
    cells.check_coverage(latitude, longitude, *centres)


def _common_days(
    coarse: xr.DataArray, fine: xr.DataArray
) -> tuple[npt.NDArray[np.int64], xr.DataArray]:
    """Rows of the coarse record that match the fine days, and the fine days that have one."""
    name = require_time(fine, "The fine record")
    coarse_time = coarse[require_time(coarse, "The coarse record")]
    rows = splits.check_overlap(fine[name], coarse_time)
    kept = np.flatnonzero(rows >= 0)
    return rows[kept].astype(np.int64), fine if kept.size == rows.size else fine.isel({name: kept})


def _labels(fine: xr.DataArray) -> Labels:
    """Labels of a record, without touching its values."""
    return to_array(fine).labels
