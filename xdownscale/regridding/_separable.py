"""Regrid arrays between rectilinear grids with one matrix per axis.

Arrays only, no labels: fields are ``(..., y, x)``, axes are one-dimensional degrees.

Every field of a stack is regridded on its own, so that the result does not depend on the chunks of
the stack, nor on missing values of other fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from xdownscale.config import REGRID_METHODS
from xdownscale.core import logs
from xdownscale.core.errors import GridError, OptionError, check_option, require_real
from xdownscale.core.grids import (
    NO_BOUNDS,
    Array,
    Axis,
    Bounds,
    check_coverage,
    has_width,
    latitude_axis,
    longitude_axis,
)
from xdownscale.regridding._weights import AxisWeights, axis_weights, sines

RINGS = 4  # rings of cells filled from their neighbours; deeper in a gap no spline is used
ROUNDING = 1e-5  # rounding error of a sum of weights in float32
Selection = slice | Array


class _Gaps(NamedTuple):
    """Weights for one pattern of missing values, reused by the next field with the same pattern."""

    valid: Array  # (y, x)
    share: Array  # (Y, X) sum of the weights of valid cells
    enough: Array  # (Y, X) bool
    touched: Array | None  # (Y, X) bool: spline values that depend on a missing cell


@dataclass(frozen=True, eq=False)
class Regridder:
    """Weights between two rectilinear grids, applied to arrays.

    Attributes
    ----------
    y, x : AxisWeights
        Weights along latitude and longitude, for the source rows and columns that are used.
    rows, columns : slice or ndarray of int
        Source rows and columns with a weight, ascending; the rest need not be read.
    shape : (int, int)
        Rows and columns of the source.
    min_valid : float
        Least share of the weight that must lie on valid cells.
    """

    y: AxisWeights
    x: AxisWeights
    rows: Selection
    columns: Selection
    shape: tuple[int, int]
    min_valid: float

    @classmethod
    def between(
        cls,
        source: tuple[Array, Array],
        target: tuple[Array, Array],
        method: str = "bicubic",
        extrapolate: str | None = None,
        min_valid: float = 0.5,
        bounds: tuple[Bounds, Bounds] = (NO_BOUNDS, NO_BOUNDS),
    ) -> Regridder:
        """Compute the weights from one grid to another.

        Parameters
        ----------
        source, target : (array, array)
            Latitudes and longitudes in degrees, one-dimensional, any order and convention.
        method, extrapolate, min_valid
            As in `xdownscale.regrid`.
        bounds : (Bounds, Bounds)
            Edges of the cells of the source and of the target, where they are known.

        Returns
        -------
        Regridder

        Raises
        ------
        GridError
            If the target reaches outside the source, or cells have no width.
        OptionError
            For an unknown name or a share outside [0, 1].

        Examples
        --------
        >>> grid = np.array([0.0, 1.0]), np.array([0.0, 1.0])
        >>> fine = np.array([0.5]), np.array([0.25])
        >>> Regridder.between(grid, fine, "bilinear").apply(np.array([[0.0, 4.0], [0.0, 4.0]]))
        array([[1.]])
        """
        check_options(method, extrapolate, min_valid)
        from_lat = latitude_axis(source[0], _SOURCE, bounds[0][0])
        to_lat = latitude_axis(target[0], _TARGET, bounds[1][0])
        from_lon = longitude_axis(source[1], _SOURCE, bounds[0][1])
        to_lon = longitude_axis(target[1], _TARGET, bounds[1][1])
        if method == "conservative":
            _check_widths([from_lat, to_lat, from_lon, to_lon])
        if extrapolate is None:
            check_coverage(from_lat, from_lon, *target)
        if method == "conservative":
            from_lat = sines(from_lat)
            to_lat = sines(to_lat)
        shape = (int(np.size(source[0])), int(np.size(source[1])))
        said = f"{method} weights of {shape} to {(np.size(target[0]), np.size(target[1]))} cells"
        with logs.timed(_LOG, said):
            y, rows = _used(axis_weights(from_lat, to_lat, method, extrapolate), from_lat)
            x, columns = _used(axis_weights(from_lon, to_lon, method, extrapolate), from_lon)
        return cls(y, x, rows, columns, shape, float(min_valid))

    def apply(self, array: Array) -> Array:
        """Regrid fields to the target grid.

        Parameters
        ----------
        array : ndarray, shape (..., y, x)
            Fields on the whole source grid.

        Returns
        -------
        ndarray, shape (..., Y, X)
            float32 for float32 and float16, else float64.

        Raises
        ------
        GridError
            If the shape is not that of the source grid.
        DataError
            If the values are not real numbers.
        """
        if array.shape[-2:] != self.shape:
            raise GridError(
                f"An array of shape {array.shape} does not end in the source grid's shape "
                f"{self.shape}; give axes (..., latitude, longitude)."
            )
        return self.apply_cropped(array[..., self.rows, :][..., self.columns])

    def apply_cropped(self, array: Array) -> Array:
        """Regrid fields that hold only the used rows and columns.

        Parameters
        ----------
        array : ndarray, shape (..., y, x)
            ``array[..., rows, :][..., columns]`` of the whole fields.

        Returns
        -------
        ndarray, shape (..., Y, X)
        """
        kind = float_type(array.dtype)
        rows = _picked(self.y)
        columns = _picked(self.x)
        if rows is not None and columns is not None:
            return _pick(array, kind, rows, columns)
        y = self.y.map(lambda m: np.ascontiguousarray(m, dtype=kind))
        x = self.x.map(lambda m: np.ascontiguousarray(m, dtype=kind))
        shape = (self.y.main.shape[0], self.x.main.shape[0])
        return each_field(
            array, kind, shape, lambda field, out, gaps: self._field(field, y, x, out, gaps)
        )

    def _field(
        self, field: Array, y: AxisWeights, x: AxisWeights, out: Array, gaps: _Gaps | None
    ) -> _Gaps | None:
        """Regrid one field into `out`; return the weights for its missing values."""
        valid = np.isfinite(field)
        if valid.all():
            np.matmul(y.main @ field, x.main.T, out=out)
            return gaps
        if not valid.any():
            out[...] = np.nan
            return gaps
        if gaps is None or not np.array_equal(gaps.valid, valid):
            gaps = self._gaps(valid, y, x)
        if y.linear is None or x.linear is None or gaps.touched is None:
            _weighted_mean(y.main, np.where(valid, field, 0), x.main, gaps, out)
        else:
            linear = np.empty_like(out)
            _weighted_mean(y.linear, np.where(valid, field, 0), x.linear, gaps, linear)
            np.matmul(y.main @ filled(field, valid), x.main.T, out=out)
            np.copyto(out, linear, where=gaps.touched)
        out[~gaps.enough] = np.nan
        return gaps

    def _gaps(self, valid: Array, y: AxisWeights, x: AxisWeights) -> _Gaps:
        """Return the weights for a pattern of missing values."""
        weights = valid.astype(y.main.dtype)
        if y.linear is None or x.linear is None or y.near is None or x.near is None:
            share = y.main @ weights @ x.main.T
            touched = None
        else:
            share = y.linear @ weights @ x.linear.T
            touched = y.near @ (1 - weights) @ x.near.T > 0.5
        enough = share >= max(self.min_valid - ROUNDING, ROUNDING)
        return _Gaps(valid, np.where(enough, share, 1), enough, touched)


Gaps = TypeVar("Gaps")


def each_field(
    array: Array,
    kind: np.dtype[Any],
    shape: tuple[int, int],
    one: Callable[[Array, Array, Gaps | None], Gaps | None],
) -> Array:
    """Regrid the fields of a stack one by one.

    Parameters
    ----------
    array : ndarray, shape (..., y, x)
    kind : dtype
        Of the result.
    shape : (int, int)
        Rows and columns of the target.
    one : callable
        Of a field, the array that its result is written to, and what the last call returned.

    Returns
    -------
    ndarray, shape (..., Y, X)

    Examples
    --------
    >>> def double(field, out, gaps):
    ...     out[...] = 2 * field
    >>> each_field(np.ones((1, 1, 2)), np.dtype(float), (1, 2), double)
    array([[[2., 2.]]])
    """
    lead = array.shape[:-2]
    out = np.empty((*lead, *shape), dtype=kind)
    gaps: Gaps | None = None
    for index in np.ndindex(*lead):
        gaps = one(np.ascontiguousarray(array[index], dtype=kind), out[index], gaps)
    return out


def _picked(weights: AxisWeights) -> Array | None:
    """Return the one source point of each target point, or None where several have a weight."""
    main = weights.main
    if weights.linear is not None or not ((main == 0) | (main == 1)).all():
        return None
    return main.argmax(axis=1) if (main.sum(axis=1) == 1).all() else None


def _pick(array: Array, kind: np.dtype[Any], rows: Array, columns: Array) -> Array:
    """Take one source cell for each target cell; what is not finite is NaN."""
    smaller = rows.size < array.shape[-2]

    def one(field: Array, out: Array, _: None) -> None:
        if smaller:
            field = field[rows]
        if not np.isfinite(field).all():
            field = np.where(np.isfinite(field), field, kind.type(np.nan))
        if smaller:
            np.take(field, columns, axis=1, out=out, mode="clip")
        else:
            np.take(field[:, columns], rows, axis=0, out=out, mode="clip")

    return each_field(array, kind, (rows.size, columns.size), one)


_LOG = logs.logger("regrid")
_SOURCE = "The source grid"
_TARGET = "The target grid"


def _weighted_mean(y: Array, zeroed: Array, x: Array, gaps: _Gaps, out: Array) -> None:
    """Write ``sum(W f m) / sum(W m)`` into `out`."""
    np.matmul(y @ zeroed, x.T, out=out)
    np.divide(out, gaps.share, out=out)


def filled(field: Array, valid: Array) -> Array:
    """Fill gaps with the mean of known neighbours, ring by ring, and the rest with the mean.

    Parameters
    ----------
    field : ndarray, shape (y, x)
    valid : ndarray of bool, shape (y, x)

    Returns
    -------
    ndarray, shape (y, x)

    Examples
    --------
    >>> filled(np.array([[1.0, np.nan, 3.0]]), np.array([[True, False, True]]))
    array([[1., 2., 3.]])
    """
    filled = np.where(valid, field, 0)
    known = valid.astype(field.dtype)
    for _ in range(RINGS):
        total = _around(filled)
        count = _around(known)
        fresh = (known == 0) & (count > 0)
        filled[fresh] = total[fresh] / count[fresh]
        known[fresh] = 1
    filled[known == 0] = field[valid].mean()
    return filled


def _around(field: Array) -> Array:
    """Return the sum over the four neighbours."""
    wide = np.pad(field, 1)
    total: Array = (wide[:-2, 1:-1] + wide[2:, 1:-1]) + (wide[1:-1, :-2] + wide[1:-1, 2:])
    return total


def _used(weights: AxisWeights, source: Axis) -> tuple[AxisWeights, Selection]:
    """Drop the source points without weight, and sort the rest in ascending order."""
    weighted = np.zeros(weights.main.shape[1], dtype=bool)
    for matrix in weights:
        if matrix is not None:
            weighted |= (matrix != 0).any(axis=0)
    index = source.first[weighted[source.first]]
    chosen: Selection = index
    steps = np.unique(np.diff(index))
    if steps.size < 2 and (steps == 1).all():
        chosen = slice(int(index[0]), int(index[-1]) + 1)
    elif steps.size == 1 and steps[0] == -1:
        chosen = slice(int(index[0]), int(index[-1]) - 1 if index[-1] else None, -1)
    return weights.map(lambda m: m[:, chosen]), chosen


def _check_widths(axes: list[Axis]) -> None:
    for axis in axes:
        if not has_width(axis):
            raise GridError(
                "method='conservative' needs cells with a width, and an axis with one point "
                f"({axis.values[0]:g}) has none. Give two points or more, or use 'bilinear'."
            )


def check_options(method: str, extrapolate: str | None, min_valid: float) -> None:
    """Raise for options that do not exist.

    Parameters
    ----------
    method, extrapolate, min_valid
        As in `xdownscale.regrid`.

    Raises
    ------
    OptionError
        For an unknown name or a share outside [0, 1].

    Examples
    --------
    >>> check_options("bilinear", None, 0.5)
    """
    check_option("regrid method", method, REGRID_METHODS)
    if extrapolate is not None:
        check_option("extrapolate", extrapolate, ("nearest",))
    if not 0 <= min_valid <= 1:
        raise OptionError(f"min_valid is {min_valid}; it is a share between 0 and 1.")


def float_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the floating-point type that values are regridded in.

    Parameters
    ----------
    dtype : dtype
        Type of the input.

    Returns
    -------
    dtype
        float32 for float32 and float16, else float64 (integers and booleans among them).

    Raises
    ------
    DataError
        If the values are not real numbers.

    Examples
    --------
    >>> float_type(np.dtype("int16"))
    dtype('float64')
    """
    require_real(dtype, "The array")
    return np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)
