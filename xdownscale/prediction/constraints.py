"""Constrain fine fields to agree with the coarse ones they were generated from. Arrays only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.sparse import csr_array

from xdownscale.config import CONSTRAINTS
from xdownscale.core.cells import cells_of
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import DataError, check_option
from xdownscale.core.grids import EARTH_RADIUS_KM, area, uncovered
from xdownscale.preprocessing.features import place_on
from xdownscale.regridding import overlap

Array = npt.NDArray[Any]
_ROUNDS = 200  # corrections of a field whose pixels lie in several cells, at most
_CLOSE = 1e-6  # error of a cell's mean that is left, relative to the largest mean
COVERED = 0.5  # share of a coarse cell's area that its pixels must cover


class Cells(NamedTuple):
    """Which coarse cell each fine pixel lies in.

    Attributes
    ----------
    number : ndarray of int (y, x)
        Cell, counted along the rows of the coarse grid; -1 for a pixel in none.
    weights : ndarray (y, x)
        Areas of the pixels.
    areas : ndarray (cells,)
        Areas of the coarse cells, in the same unit.
    shared : sparse array (cells, pixels) or None
        Areas that coarse cells share with pixels, where the grids do not have the same parallels
        and meridians for sides. None: a pixel is in the cell that holds its centre.
    """

    number: npt.NDArray[np.intp]
    weights: Array
    areas: Array
    shared: csr_array | None = None

    def covered(self) -> Array:
        """Return which area of each coarse cell has pixels (cells,)."""
        return self.total(np.ones(self.number.shape))

    def total(self, field: Array) -> Array:
        """Return the sums over the pixels of each coarse cell, times their areas (cells,).

        Parameters
        ----------
        field : ndarray (y, x)
            Finite values.
        """
        if self.shared is not None:
            total: Array = self.shared @ field.ravel()
            return total
        good = self.number >= 0
        number = self.number[good]
        return np.bincount(number, self.weights[good] * field[good], self.areas.size)


def apply(fields: Array, coarse: Array, cells: Cells, kind: str) -> Array:
    """Apply a constraint to fields.

    Parameters
    ----------
    fields : ndarray (..., n, y, x)
        Fine fields, physical units.
    coarse : ndarray (n, yc, xc)
        Coarse fields of the same time steps, in the same units.
    cells : Cells
        Which pixels a coarse cell has.
    kind : {"nonnegative", "additive", "multiplicative", "softmax"}
        ``"nonnegative"``: values below 0 become 0. The others give every coarse cell the mean of
        the coarse field (Harder et al. 2023, Hard-constrained deep learning for climate
        downscaling): by a shift; by a factor; or by a factor on the exponentials of the field over
        the coarse value, which is never negative, a shift where deviations are small, and makes
        peaks sharper where they are not. Units do not matter.

    Returns
    -------
    ndarray (..., n, y, x)
        Area-weighted means over cells equal the coarse values where at least half of the cell is
        covered by pixels with values. Other cells, and those without coarse value, stay as they
        were; so do cells of ``"multiplicative"`` and ``"softmax"`` whose mean is not positive.

    Raises
    ------
    DataError
        If a multiplicative or softmax constraint meets a negative coarse value, or time steps or
        cells of the two fields differ in number.
    OptionError
        For an unknown kind.

    Examples
    --------
    >>> cells = Cells(np.zeros((1, 2), int), np.ones((1, 2)), np.array([2.0]))
    >>> apply(np.array([[[1.0, 3.0]]]), np.array([[[4.0]]]), cells, "additive")
    array([[[3., 5.]]])
    >>> apply(np.array([[[1.0, 3.0]]]), np.array([[[4.0]]]), cells, "multiplicative")
    array([[[2., 6.]]])
    """
    check_option("constraint", kind, CONSTRAINTS)
    if kind == "nonnegative":
        return np.asarray(np.where(fields < 0, np.zeros((), fields.dtype), fields))
    if kind != "additive" and np.nanmin(coarse, initial=np.inf) < 0:
        raise DataError(
            f"The constraint {kind!r} needs coarse values of 0 or more, and the least is "
            f"{np.nanmin(coarse):g}; use 'additive'."
        )
    _check_shapes(fields, coarse, cells)
    out = np.array(fields)
    wanted = coarse.reshape(*coarse.shape[:-2], -1)
    for place in np.ndindex(out.shape[:-2]):  # one at a time: many fields would fill the memory
        step = place[len(place) - wanted.ndim + 1 :]
        if cells.shared is None:
            out[place] = _corrected(out[place], wanted[step], cells, kind)
        else:
            out[place] = _corrected_by_shares(out[place], wanted[step], cells, kind)
    return out


def _corrected_by_shares(field: Array, wanted: Array, cells: Cells, kind: str) -> Array:
    """Correct one field whose pixels may lie in several cells.

    A pixel takes the mean of its cells' corrections, which leaves them a part of their error;
    that is corrected again until nothing is left of it (iterative proportional fitting).
    """
    values = _corrected(np.asarray(field, np.float64), wanted, cells, kind)
    again = "additive" if kind == "additive" else "multiplicative"
    size = np.nanmax(np.abs(wanted), initial=0.0)
    for _ in range(_ROUNDS):
        off = wanted - _means(values, cells)
        if kind != "additive":
            off = off[_means(values, cells) > 0]
        if not np.nanmax(np.abs(off), initial=0.0) > _CLOSE * size:
            break
        values = _corrected(values, wanted, cells, again)
    return values


def _check_shapes(fields: Array, coarse: Array, cells: Cells) -> None:
    leading = coarse.shape[:-2]
    steps = fields.shape[fields.ndim - coarse.ndim : -2]
    if (steps, cells.areas.size) != (leading, coarse[(0,) * len(leading)].size):
        raise DataError(
            f"The fine field has {cells.areas.size} cells and {_number(steps)} days, and the "
            f"coarse field {coarse[(0,) * len(leading)].size} and {_number(leading)}. Give the "
            "coarse field of the same days, on the grid of the cells."
        )


def _number(steps: tuple[int, ...]) -> int:
    return int(np.prod(steps, dtype=int))


def _corrected(field: Array, wanted: Array, cells: Cells, kind: str) -> Array:
    """Correct one field (y, x) so that its cells have the means that are wanted (cells,)."""
    values = _exponential(field, wanted, cells) if kind == "softmax" else field
    means = _means(values, cells)
    if kind == "additive":
        shift = _onto_pixels(wanted - means, cells)
        return np.where(np.isfinite(shift), field + shift, field)
    factor = np.full(means.shape, np.nan)
    np.divide(wanted, means, out=factor, where=means > 0)
    factor = _onto_pixels(factor, cells)
    return np.where(np.isfinite(factor), values * factor, field)


def _exponential(field: Array, wanted: Array, cells: Cells) -> Array:
    """Return the exponentials of the field over the wanted means.

    The largest in each cell is subtracted first, against overflow: a factor changes no result.
    """
    good = np.isfinite(field)
    largest = np.full(cells.areas.size + 1, -np.inf)  # the last one is of pixels in no cell
    np.maximum.at(largest, cells.number[good], field[good])
    top = largest[cells.number]
    unit = _onto_pixels(wanted, cells)
    above = field - np.where(np.isfinite(top), top, 0.0)
    out: Array = np.exp(above / np.where(unit > 0, unit, np.inf))
    return out


def _means(field: Array, cells: Cells) -> Array:
    """Return area-weighted means over cells (cells,); NaN where less than half is covered."""
    good = np.isfinite(field)
    area = cells.total(good.astype(np.float64))
    total = cells.total(np.where(good, field, 0.0))
    out = np.full(cells.areas.size, np.nan)
    np.divide(total, area, out=out, where=(area >= COVERED * cells.areas) & (area > 0))
    return out


def _onto_pixels(values: Array, cells: Cells) -> Array:
    """Return values of cells (cells,) on their pixels (y, x); NaN in none."""
    if cells.shared is not None:
        known = np.isfinite(values)
        area = cells.shared.T @ known.astype(np.float64)
        total = cells.shared.T @ np.where(known, values, 0.0)
        spread = np.full(area.shape, np.nan)
        np.divide(total, area, out=spread, where=area > 0)
        return spread.reshape(cells.number.shape)
    out: Array = np.append(values, np.nan)[cells.number]
    return out


def cells_on(coarse: xr.DataArray, fine: xr.DataArray) -> Cells:
    """Return which coarse cell each fine cell lies in.

    Parameters
    ----------
    coarse, fine : DataArray
        ``(y, x)`` grids of any kind; latitude and longitude ascending where one-dimensional.

    Returns
    -------
    Cells
        Areas in km2. Between grids in degrees a pixel is in the cell that holds its centre; else
        the areas that pixels and cells share are found on the sphere.

    Raises
    ------
    GridError
        If cells are folded, or have no width.

    Examples
    --------
    >>> def grid(degrees):
    ...     coords = {"lat": degrees, "lon": degrees}
    ...     return xr.DataArray(np.zeros((len(degrees),) * 2), coords=coords)
    >>> cells_on(grid([0.0, 2.0]), grid([0.0, 0.5, 1.5, 5.0])).number
    array([[ 0,  0,  1, -1],
           [ 0,  0,  1, -1],
           [ 2,  2,  3, -1],
           [-1, -1, -1, -1]])
    """
    axes = find_axes(fine)
    if not (axes.rectilinear and find_axes(coarse).rectilinear):
        return _shared_cells(coarse, fine)
    ny, nx = coarse.shape
    columns, rows = np.moveaxis((place_on(coarse, fine) + 1) / 2 * (nx, ny) - 0.5, -1, 0)
    number = np.rint(rows).astype(np.intp) * nx + np.rint(columns).astype(np.intp)
    outside = uncovered(coarse, fine).transpose(axes.y, axes.x).values
    areas = [area(grid).transpose(*grid.dims).values for grid in (fine, coarse)]
    return Cells(np.where(outside, -1, number), areas[0], areas[1].ravel())


def _shared_cells(coarse: xr.DataArray, fine: xr.DataArray) -> Cells:
    """Return the areas that coarse cells share with pixels, for grids of any kind."""
    grids = (cells_of(fine, "The fine grid"), cells_of(coarse, "The coarse grid"))
    shared = overlap(fine, coarse) * EARTH_RADIUS_KM**2
    number = np.full(fine.size, -1, dtype=np.intp)
    by_pixel = csr_array(shared.T)
    inside = np.diff(by_pixel.indptr) > 0
    number[inside] = by_pixel.argmax(axis=1).ravel()[inside] if inside.any() else -1
    areas = [grid.areas() for grid in grids]
    return Cells(number.reshape(fine.shape), areas[0], areas[1].ravel(), shared)
