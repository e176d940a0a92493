"""Regrid arrays with a sparse matrix, under the rule for missing values (arrays only)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from xdownscale.core.axis import Array
from xdownscale.regridding._points import PointWeights
from xdownscale.regridding._separable import ROUNDING, Selection, each_field, filled, float_type


class _Gaps(NamedTuple):
    """Weights for one pattern of missing values, reused by the next field with the same pattern."""

    valid: Array  # (y, x)
    share: Array  # (m,) sum of the weights of valid cells
    enough: Array  # (m,) bool
    touched: Array | None  # (m,) bool: spline values that depend on a missing cell


@dataclass(frozen=True, eq=False)
class SparseRegridder:
    """Weights from a grid of any kind to another, applied to arrays.

    Attributes
    ----------
    weights : PointWeights
        For the source rows and columns that are used.
    shape : (int, int)
        Rows and columns of the target.
    min_valid : float
        Least share of the weight that must lie on valid cells.
    """

    weights: PointWeights
    shape: tuple[int, int]
    min_valid: float
    _typed: dict[str, PointWeights] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> Selection:
        """Source rows with a weight, ascending; the rest need not be read."""
        return as_selection(self.weights.rows)

    @property
    def columns(self) -> Selection:
        """Source columns with a weight, ascending."""
        return as_selection(self.weights.columns)

    def apply(self, array: Array) -> Array:
        """Regrid whole fields.

        Parameters
        ----------
        array : ndarray, shape (..., y, x)

        Returns
        -------
        ndarray, shape (..., Y, X)
        """
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
        weights = self._weights(kind)

        def one(values: Array, out: Array, gaps: _Gaps | None) -> _Gaps | None:
            found, gaps = self._field(values, weights, gaps)
            out[...] = found.reshape(self.shape)
            return gaps

        return each_field(array, kind, self.shape, one)

    def _weights(self, kind: np.dtype[Any]) -> PointWeights:
        """Return the weights in the type of the values."""
        if kind.str not in self._typed:
            basis = [None if b is None else b.astype(kind) for b in self.weights.basis]
            sparse = [None if m is None else m.astype(kind) for m in self.weights[3:]]
            parts = (self.weights.rows, self.weights.columns, (basis[0], basis[1]))
            self._typed[kind.str] = PointWeights(*parts, *sparse)
        return self._typed[kind.str]

    def _field(
        self, values: Array, weights: PointWeights, gaps: _Gaps | None
    ) -> tuple[Array, _Gaps | None]:
        """Return one regridded field, and the weights for its missing values."""
        valid = np.isfinite(values)
        if not valid.any():
            return np.full(self.shape[0] * self.shape[1], np.nan), gaps
        if gaps is None or not np.array_equal(gaps.valid, valid):
            gaps = self._gaps(valid, weights)
        zeroed = np.where(valid, values, 0).ravel()
        if weights.linear is None or gaps.touched is None:
            out = weights.main @ zeroed / gaps.share
        elif gaps.touched.any():
            out = weights.main @ _coefficients(filled(values, valid), weights)
            linear = weights.linear @ zeroed / gaps.share
            out = np.where(gaps.touched, linear, out)
        else:
            out = weights.main @ _coefficients(filled(values, valid), weights)
        out[~gaps.enough] = np.nan
        return out, gaps

    def _gaps(self, valid: Array, weights: PointWeights) -> _Gaps:
        """Return the weights for a pattern of missing values."""
        present = valid.ravel().astype(weights.main.dtype)
        touched = None
        if weights.linear is None or weights.near is None:
            share = weights.main @ present
        else:
            share = weights.linear @ present
            touched = weights.near @ (1 - present) > 0.5
        least = max(self.min_valid - ROUNDING, ROUNDING)
        enough = share >= least
        whole = bool(valid.all()) and bool(enough.all())
        # without gaps the weights add up to one, and nothing is divided
        share = np.ones(1, share.dtype) if whole else np.where(enough, share, 1)
        return _Gaps(valid, share, enough, touched)


def _coefficients(values: Array, weights: PointWeights) -> Array:
    """Return the spline coefficients of a field, as a vector."""
    y, x = weights.basis
    if y is None or x is None:
        return values.ravel()
    found: Array = (y @ values @ x.T).ravel()
    return found


def as_selection(index: Array) -> Selection:
    """Return ascending indices as a slice where they are neighbours.

    Examples
    --------
    >>> as_selection(np.array([2, 3, 4]))
    slice(2, 5, None)
    """
    if index.size and index[-1] - index[0] == index.size - 1:
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def cropped(main: csr_array, shape: tuple[int, int]) -> PointWeights:
    """Return weights of the rows and columns of a source that have any.

    Parameters
    ----------
    main : sparse array, shape (m, y * x)
        Weights of all cells of the source.
    shape : (int, int)
        y and x.

    Returns
    -------
    PointWeights

    Examples
    --------
    >>> found = cropped(csr_array(np.array([[0.0, 0.0, 0.0, 1.0]])), (2, 2))
    >>> found.rows, found.columns, found.main.toarray()
    (array([1]), array([1]), array([[1.]]))
    """
    row, column = np.divmod(main.indices, shape[1])
    rows = np.flatnonzero(np.bincount(row, minlength=shape[0]))
    columns = np.flatnonzero(np.bincount(column, minlength=shape[1]))
    if not rows.size:
        rows = columns = np.zeros(1, dtype=np.intp)
    index = np.searchsorted(rows, row) * columns.size + np.searchsorted(columns, column)
    size = (main.shape[0], rows.size * columns.size)
    small = csr_array((main.data, index.astype(main.indices.dtype), main.indptr), shape=size)
    return PointWeights(rows, columns, (None, None), small)
