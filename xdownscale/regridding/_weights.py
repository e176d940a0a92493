"""Interpolation weights along one axis: spline, linear, nearest, overlap of cells (arrays only)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.interpolate import make_interp_spline

from xdownscale.core.grids import Array, Axis

SPARE = 40  # source cells beyond the target: the cardinal spline falls by 0.27 a cell, 1e-23 in 40
REACH = 2  # source cells on each side that a spline value is taken to depend on


class SourceAxis(NamedTuple):
    """Source cells near the target, ascending; a periodic axis is repeated.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Centres.
    cells : ndarray, shape (n, 2)
        Edges.
    given : ndarray of int, shape (n,)
        Which point of the axis as given each one is.
    """

    values: Array
    cells: Array
    given: Array


class AxisWeights(NamedTuple):
    """Weights along one axis, for the source points and target points in the order given.

    Attributes
    ----------
    main : ndarray, shape (m, n)
        Weights of the method.
    linear : ndarray or None, shape (m, n)
        For splines: the linear weights used instead beside missing values.
    near : ndarray or None, shape (m, n)
        For splines: 1 for the source points that a value is taken to depend on.
    """

    main: Array
    linear: Array | None = None
    near: Array | None = None

    def map(self, change: Callable[[Array], Array]) -> AxisWeights:
        """Return the weights with a function applied to every matrix."""
        return AxisWeights(
            change(self.main),
            None if self.linear is None else change(self.linear),
            None if self.near is None else change(self.near),
        )


def axis_weights(source: Axis, target: Axis, method: str, extrapolate: str | None) -> AxisWeights:
    """Return the weights that interpolate values from one axis to another.

    Parameters
    ----------
    source, target : Axis
        Both latitudes or both longitudes.
    method : {"bicubic", "bilinear", "nearest", "conservative"}
        Not-a-knot cubic spline, linear, nearest, or overlap of cells in sin(latitude) or longitude.
    extrapolate : None or "nearest"
        With ``"nearest"``, values beyond the outermost source centres are those of the outermost
        source cell.

    Returns
    -------
    AxisWeights
        float64; each row of weights sums to 1.

    Examples
    --------
    >>> from xdownscale.core.grids import latitude_axis
    >>> source, target = latitude_axis(np.array([0.0, 1.0])), latitude_axis(np.array([0.25]))
    >>> axis_weights(source, target, "bilinear", None).main
    array([[0.75, 0.25]])
    """
    values, cells = _align(source, target)
    near = _unroll(source, cells)
    if method == "bicubic":
        spline = _spline(near, values, extrapolate == "nearest")
        found = AxisWeights(spline, _linear(near, values), _reach(near, values))
    elif method == "conservative":
        found = AxisWeights(_overlap(near, values, cells))
    else:
        found = AxisWeights((_linear if method == "bilinear" else _nearest)(near, values))
    size = source.inverse.size
    return found.map(lambda m: _as_given(m, near.given, size)[target.inverse])


def align_source(source: Axis, points: Array) -> SourceAxis:
    """Return the source cells near points.

    Parameters
    ----------
    source : Axis
        Repeated where it is periodic.
    points : array, shape (m,)
        In the convention of the axis.

    Returns
    -------
    SourceAxis

    Examples
    --------
    >>> from xdownscale.core.grids import latitude_axis
    >>> align_source(latitude_axis(np.array([1.0, 0.0])), np.array([0.5])).given
    array([1, 0])
    """
    return _unroll(source, points)


def _align(source: Axis, target: Axis) -> tuple[Array, Array]:
    """Return target centres (m,) and cells (m, 2) in the source's longitude convention."""
    middle = (source.values[0] + source.values[-1]) / 2
    values = target.values
    if source.periodic:
        values = (values[0] + values[-1]) / 2
    turns = np.round((middle - values) / 360)
    return target.values + 360 * turns, target.cells + 360 * np.reshape(turns, (-1, 1))


def _unroll(source: Axis, target: Array) -> SourceAxis:
    """Return the source cells within SPARE cells of the target; a periodic axis is repeated."""
    size = source.values.size
    laps = 1 + -(-SPARE // size) if source.periodic else 0
    turns = np.arange(-laps, laps + 1)[:, None] * 360.0
    cells = (source.cells + turns[..., None]).reshape(-1, 2)
    if np.array_equal(source.cells[1:, 0], source.cells[:-1, 1]):
        # cells that meet share their edges, where the axis closes on itself too
        cells[:-1, 1] = cells[1:, 0]
    values = (source.values + turns).ravel()
    low, high = np.searchsorted(values, [target.min(), target.max()])
    near = slice(max(low - SPARE, 0), high + SPARE)
    return SourceAxis(values[near], cells[near], np.tile(source.first, turns.size)[near])


def _as_given(weights: Array, index: Array, size: int) -> Array:
    """Reorder the columns as the axis was given; weights of repeated cells add up."""
    columns = np.zeros((size, weights.shape[0]))
    np.add.at(columns, index, weights.T)
    return columns.T


def _spline(source: SourceAxis, target: Array, hold: bool) -> Array:
    """Weights of a not-a-knot cubic spline; a parabola through three points, a line through two.

    In the half-cell margin it continues the line through the outermost two centres.
    """
    size = source.values.size
    inside = np.clip(target, source.values[0], source.values[-1])
    spline = make_interp_spline(source.values, np.eye(size), k=min(3, size - 1))
    weights: Array = spline(inside)
    if not hold and size > 1:
        weights += _margin(source, target - inside)
    return weights


def _margin(source: SourceAxis, beyond: Array) -> Array:
    """Weights of the slope at the ends, times the distance beyond them."""
    weights = np.zeros((beyond.size, source.values.size))
    for low, past in ((0, beyond < 0), (-2, beyond > 0)):
        share = beyond[past] / (source.values[low + 1] - source.values[low])
        weights[past, low] = -share
        weights[past, low + 1] = share
    return weights


def _linear(source: SourceAxis, target: Array) -> Array:
    """Linear weights, constant beyond the outermost centres."""
    weights = np.zeros((target.size, source.values.size))
    if source.values.size == 1:
        return weights + 1
    inside = np.clip(target, source.values[0], source.values[-1])
    low = np.searchsorted(source.values, inside, side="right") - 1
    low = np.minimum(low, source.values.size - 2)
    share = (inside - source.values[low]) / (source.values[low + 1] - source.values[low])
    rows = np.arange(inside.size)
    weights[rows, low] = 1 - share
    weights[rows, low + 1] = share
    return weights


def _nearest(source: SourceAxis, target: Array) -> Array:
    """Weights that are 1 at the source cell whose centre is nearest."""
    middle = (source.values[1:] + source.values[:-1]) / 2
    weights = np.zeros((target.size, source.values.size))
    weights[np.arange(target.size), np.searchsorted(middle, target)] = 1
    return weights


def _overlap(source: SourceAxis, target: Array, cells: Array) -> Array:
    """Shares of a target cell that source cells cover; the nearest where none does."""
    low = np.maximum(cells[:, :1], source.cells[:, 0])
    high = np.minimum(cells[:, 1:], source.cells[:, 1])
    shared = np.clip(high - low, 0, None)
    covered = shared.sum(axis=1, keepdims=True)
    none = covered[:, 0] <= 1e-9 * np.diff(cells, axis=1)[:, 0]
    covered[none] = 1
    weights: Array = shared / covered
    weights[none] = _nearest(source, target)[none]
    return weights


def _reach(source: SourceAxis, target: Array) -> Array:
    """Return 1 at the source cells that a spline value is taken to depend on, else 0."""
    place = np.searchsorted(source.values, target, side="right")[:, None] - 0.5
    near: Array = (np.abs(np.arange(source.values.size) - place) < REACH).astype(np.float64)
    return near


def sines(axis: Axis) -> Axis:
    """Convert a latitude axis to sin(latitude), in which equal steps are equal areas.

    Parameters
    ----------
    axis : Axis
        Latitudes in degrees.

    Returns
    -------
    Axis

    Examples
    --------
    >>> from xdownscale.core.grids import latitude_axis
    >>> sines(latitude_axis(np.array([-30.0, 30.0]))).values.round(3)
    array([-0.5,  0.5])
    """
    measured: Axis = axis._replace(
        values=np.sin(np.radians(axis.values)),
        edges=np.sin(np.radians(axis.edges)),
        cells=np.sin(np.radians(axis.cells)),
    )
    return measured
