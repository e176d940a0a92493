"""Fine fields made consistent with the coarse ones that they were drawn from. Arrays only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xdownscale.config import CONSTRAINTS
from xdownscale.errors import DataError, check_option

Array = npt.NDArray[Any]
CONSISTENT = CONSTRAINTS[1:]  # kinds that need the coarse field of the same day
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
    """

    number: npt.NDArray[np.intp]
    weights: Array
    areas: Array


def apply(fields: Array, coarse: Array, cells: Cells, kind: str) -> Array:
    """Make fields obey a constraint.

    Parameters
    ----------
    fields : ndarray (..., n, y, x)
        Fine fields, physical units.
    coarse : ndarray (n, yc, xc)
        Coarse fields of the same days, in the same units.
    cells : Cells
        Which pixels a coarse cell has.
    kind : {"nonnegative", "additive", "multiplicative", "softmax"}
        ``"nonnegative"``: values below 0 become 0. The others give every coarse cell the mean of
        the coarse field (Harder et al. 2023, Hard-constrained deep learning for climate
        downscaling): by a shift, by a factor, or by a factor on the exponentials.

    Returns
    -------
    ndarray (..., n, y, x)
        Area-weighted means over cells equal the coarse values where at least half of the cell is
        covered by pixels with values. Other cells, and those without coarse value, stay as they
        were; so do cells of ``"multiplicative"`` and ``"softmax"`` whose mean is not positive.

    Raises
    ------
    DataError
        If a multiplicative or softmax constraint meets a negative coarse value.
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
    wanted = coarse.reshape(*coarse.shape[:-2], -1)
    fields = np.asarray(fields)
    if kind == "softmax":
        return _scaled(_exponential(fields, cells), wanted, cells, fields)
    if kind == "multiplicative":
        return _scaled(fields, wanted, cells, fields)
    shift = _onto_pixels(wanted - _means(fields, cells), cells)
    return np.where(np.isfinite(shift), fields + shift, fields).astype(fields.dtype)


def _scaled(values: Array, wanted: Array, cells: Cells, unchanged: Array) -> Array:
    """Multiply values in every cell so that their mean is the one wanted."""
    means = _means(values, cells)
    factor = _onto_pixels(
        np.where(means > 0, wanted, np.nan) / np.where(means > 0, means, 1), cells
    )
    return np.where(np.isfinite(factor), values * factor, unchanged).astype(unchanged.dtype)


def _exponential(fields: Array, cells: Cells) -> Array:
    """Exponentials, less the cell's largest value first: factors do not change the result."""
    largest = np.full((*fields.shape[:-2], cells.areas.size + 1), -np.inf)
    flat, number = fields.reshape(*fields.shape[:-2], -1), cells.number.ravel()
    for place in np.ndindex(fields.shape[:-2]):
        good = np.isfinite(flat[place])
        np.maximum.at(largest[place], number[good], flat[place][good])
    top = largest[..., number].reshape(fields.shape)
    out: Array = np.exp(fields - np.where(np.isfinite(top), top, 0.0))
    return out


def _means(fields: Array, cells: Cells) -> Array:
    """Area-weighted means over cells (..., cells); NaN where less than half is covered."""
    number, count = cells.number.ravel(), cells.areas.size
    inside = number >= 0
    flat = fields.reshape(-1, number.size)[:, inside].astype(np.float64)
    weights, number = cells.weights.ravel()[inside], number[inside]
    out = np.full((len(flat), count), np.nan)
    for row, values in zip(out, flat, strict=True):
        good = np.isfinite(values)
        w = weights * good
        area = np.bincount(number, w, count)
        total = np.bincount(number, w * np.where(good, values, 0.0), count)
        covered = area >= COVERED * cells.areas
        row[covered] = total[covered] / area[covered]
    return out.reshape(*fields.shape[:-2], count)


def _onto_pixels(values: Array, cells: Cells) -> Array:
    """Values of cells (..., cells) on their pixels (..., y, x); NaN in none."""
    padded = np.concatenate([values, np.full((*values.shape[:-1], 1), np.nan)], axis=-1)
    return np.asarray(padded[..., cells.number])
