"""Weights of tensor-product splines at points: a row of the matrix for each point (arrays only).

The source is rectilinear in its own axes: degrees, the coordinates of a projection, or the indices
of a curvilinear grid. Its spline coefficients are those of the separable engine; points need not
lie on lines.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import BSpline, make_interp_spline
from scipy.sparse import csr_array

from xdownscale.core.axis import Array, Axis
from xdownscale.regridding._weights import REACH, SourceAxis, align_source


class Terms(NamedTuple):
    """Terms of the sums along one axis that give values at points.

    Attributes
    ----------
    place : ndarray of int, shape (m, k)
        Rows of `basis`, or points of the axis as it was given.
    weight : ndarray, shape (m, k)
    basis : ndarray or None, shape (c, n)
        What to multiply the values of the axis with first.
    """

    place: Array
    weight: Array
    basis: Array | None = None


class PointWeights(NamedTuple):
    """Weights from a part of a source grid to points.

    Attributes
    ----------
    rows, columns : ndarray of int
        The part of the source that has weights, ascending; y and x below are its sizes.
    basis : (ndarray or None, ndarray or None)
        Matrices (c, n) that turn values along y and x to coefficients; None leaves them.
    main : sparse array, shape (m, c_y * c_x)
        Weights of the coefficients.
    linear : sparse array or None, shape (m, y * x)
        For splines: the linear weights used instead beside missing values.
    near : sparse array or None, shape (m, y * x)
        For splines: 1 for the source points that a value is taken to depend on.
    """

    rows: Array
    columns: Array
    basis: tuple[Array | None, Array | None]
    main: csr_array
    linear: csr_array | None = None
    near: csr_array | None = None


def point_weights(
    axes: tuple[Axis, Axis], points: tuple[Array, Array], method: str, extrapolate: str | None
) -> PointWeights:
    """Return the weights of values at points.

    Parameters
    ----------
    axes : (Axis, Axis)
        Of the source, y and x.
    points : (array, array), shape (m,)
        In the units of the axes, and in the convention of a periodic one.
    method : {"bicubic", "bilinear", "nearest"}
        As of `axis_weights`, along each axis.
    extrapolate : None or "nearest"
        As of `axis_weights`.

    Returns
    -------
    PointWeights

    Examples
    --------
    >>> from xdownscale.core.axis import plane_axis
    >>> axis = plane_axis(np.array([0.0, 1.0]), "The grid", "y")
    >>> found = point_weights((axis, axis), (np.array([0.5]), np.array([0.25])), "bilinear", None)
    >>> found.main.toarray()
    array([[0.375, 0.125, 0.375, 0.125]])
    """
    along = []
    used = []
    for axis, at in zip(axes, points, strict=True):
        source = align_source(axis, at)
        part, given = np.unique(source.given, return_inverse=True)
        along.append((source._replace(given=given), at))
        used.append(part)
    sizes = (used[0].size, used[1].size)
    if method != "bicubic":
        terms = [(_linear if method == "bilinear" else _nearest)(*pair) for pair in along]
        main = _product(terms[0], terms[1], sizes)
        return PointWeights(used[0], used[1], (None, None), main)
    hold = extrapolate == "nearest"
    y, x = (_spline(*pair, hold) for pair in along)
    assert y.basis is not None
    assert x.basis is not None
    counts = (y.basis.shape[0], x.basis.shape[0])
    linear, near = ([kind(*pair) for pair in along] for kind in (_linear, _reach))
    return PointWeights(
        used[0],
        used[1],
        (y.basis, x.basis),
        _product(y, x, counts),
        _product(linear[0], linear[1], sizes),
        _product(near[0], near[1], sizes, np.float32),
    )


def _product(
    y: Terms, x: Terms, sizes: tuple[int, int], kind: type[np.floating[Any]] = np.float64
) -> csr_array:
    """Return the matrix (m, y * x) of the products of two sums."""
    count = y.place.shape[0]
    width = y.place.shape[1] * x.place.shape[1]
    most = max(count * width, sizes[0] * sizes[1])
    small: Any = np.int32 if most < 2**31 else np.int64
    columns = y.place.astype(small)[:, :, None] * small(sizes[1]) + x.place.astype(small)[:, None]
    weights = (y.weight[:, :, None] * x.weight[:, None, :]).astype(kind, copy=False)
    starts = np.arange(count + 1, dtype=small) * small(width)
    shape = (count, sizes[0] * sizes[1])
    return csr_array((weights.ravel(), columns.ravel(), starts), shape=shape)


def _spline(source: SourceAxis, at: Array, hold: bool) -> Terms:
    """Terms of the not-a-knot spline; a line beyond the outermost centres, or their values."""
    count = source.values.size
    degree = min(3, count - 1)
    spline = make_interp_spline(source.values, np.eye(count), k=degree)
    inside = np.clip(at, source.values[0], source.values[-1])
    design = BSpline.design_matrix(inside, spline.t, degree)
    index = design.indices.reshape(at.size, degree + 1).astype(np.intp)
    weight = design.data.reshape(at.size, degree + 1)
    ends = [0, min(1, count - 1), max(count - 2, 0), count - 1]
    basis = np.concatenate([spline.c, np.eye(count)[ends]])
    wanted = np.zeros((basis.shape[0], source.given.max() + 1))
    np.add.at(wanted.T, source.given, basis.T)
    if degree < 1:
        return Terms(index, weight, wanted)
    for outer, inner, beyond in ((0, 1, at < inside), (3, 2, at > inside)):
        if not beyond.any():
            continue
        step = source.values[ends[inner]] - source.values[ends[outer]]
        share = np.zeros(beyond.sum()) if hold else (at - inside)[beyond] / step
        index[beyond] = count + outer
        weight[beyond] = 0
        index[beyond, 1] = count + inner
        weight[beyond, 0] = 1 - share
        weight[beyond, 1] = share
    return Terms(index, weight, wanted)


def _linear(source: SourceAxis, at: Array) -> Terms:
    """Terms of straight lines, constant beyond the outermost centres."""
    values = source.values
    if values.size == 1:
        return Terms(np.full((at.size, 1), source.given[0]), np.ones((at.size, 1)))
    inside = np.clip(at, values[0], values[-1])
    low = np.minimum(np.searchsorted(values, inside, side="right") - 1, values.size - 2)
    share = (inside - values[low]) / (values[low + 1] - values[low])
    index = np.stack([source.given[low], source.given[low + 1]], axis=1)
    return Terms(index, np.stack([1 - share, share], axis=1))


def _nearest(source: SourceAxis, at: Array) -> Terms:
    """Terms that are 1 at the source cell whose centre is nearest."""
    middle = (source.values[1:] + source.values[:-1]) / 2
    index = source.given[np.searchsorted(middle, at)]
    return Terms(index[:, None], np.ones((at.size, 1)))


def _reach(source: SourceAxis, at: Array) -> Terms:
    """Terms that are 1 at the source cells that a spline value is taken to depend on."""
    place = np.searchsorted(source.values, at, side="right")
    index = place[:, None] + np.arange(-REACH, REACH)
    there = (index >= 0) & (index < source.values.size)
    return Terms(source.given[np.where(there, index, 0)], there.astype(np.float64))
