"""The separable engine: one small matrix for each axis, two matrix products for each field.

Arrays only, no labels: fields are ``(..., y, x)``, axes are one-dimensional degrees.

Every field of a stack is treated on its own, so that the result does not depend on how a stack
is cut into chunks, and no field feels the gaps of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.ndimage import distance_transform_edt

from xdownscale.cells import Array, Axis, check_coverage, latitude_axis, longitude_axis
from xdownscale.config import REGRID_METHODS
from xdownscale.errors import DataError, GridError, OptionError, check_option

SPARE = 40  # source cells beyond the target: the cardinal spline falls by 0.27 a cell, 1e-23 in 40
REACH = 3  # source cells on each side that a spline value is said to rest on
_ROUNDING = 1e-5  # of a sum of weights in float32
Selection = slice | Array


class _Source(NamedTuple):
    """Source cells in the neighbourhood of the target, ascending, round the globe if periodic."""

    values: Array  # (n,)
    edges: Array  # (n + 1,)
    index: Array  # (n,) which point of the axis as given


class _Target(NamedTuple):
    """Target cells in ascending order, brought to the source's longitude convention."""

    values: Array  # (m,)
    edges: Array  # (m, 2)


class AxisWeights(NamedTuple):
    """Weights along one axis, for the source points and target points in the order given.

    Attributes
    ----------
    main : ndarray, shape (m, n)
        Weights of the method.
    linear : ndarray or None, shape (m, n)
        For splines: the linear weights that replace them beside gaps.
    near : ndarray or None, shape (m, n)
        For splines: 1 for the source points that a value is said to rest on.
    """

    main: Array
    linear: Array | None = None
    near: Array | None = None

    def map(self, change: Callable[[Array], Array]) -> AxisWeights:
        """Return the same with every matrix changed."""
        main, *rest = (None if m is None else change(m) for m in self)
        assert main is not None
        return AxisWeights(main, *rest)


def axis_weights(source: Axis, target: Axis, method: str, extrapolate: str | None) -> AxisWeights:
    """Return the weights that bring values from one axis to another.

    Parameters
    ----------
    source, target : Axis
        Both latitudes or both longitudes.
    method : {"bicubic", "bilinear", "nearest", "conservative"}
        What the weights are along this axis: not-a-knot cubic spline, linear, nearest, overlap of
        cells in sin(latitude) or longitude.
    extrapolate : None or "nearest"
        With ``"nearest"``, values beyond the outermost source centres are those of the outermost
        source cell.

    Returns
    -------
    AxisWeights
        float64; each row of weights sums to 1.

    Examples
    --------
    >>> source, target = latitude_axis(np.array([0.0, 1.0])), latitude_axis(np.array([0.25]))
    >>> axis_weights(source, target, "bilinear", None).main
    array([[0.75, 0.25]])
    """
    cells = _align(source, target)
    near = _crop(_unroll(source), cells)
    if method == "bicubic":
        hold = extrapolate == "nearest"
        found = AxisWeights(_spline(near, cells, hold), _linear(near, cells), _reach(near, cells))
    else:
        makers = {"bilinear": _linear, "nearest": _nearest, "conservative": _overlap}
        found = AxisWeights(makers[method](near, cells))
    size = source.inverse.size
    return found.map(lambda m: _as_given(m, near.index, size)[target.inverse])


def _align(source: Axis, target: Axis) -> _Target:
    """Shift target longitudes by full circles to where the source is (latitudes stay)."""
    middle = (source.values[0] + source.values[-1]) / 2
    values, edges = target.values, np.stack([target.edges[:-1], target.edges[1:]], axis=-1)
    if source.periodic:
        values = (values[0] + values[-1]) / 2
    turns = np.round((middle - values) / 360)
    return _Target(target.values + 360 * turns, edges + 360 * np.reshape(turns, (-1, 1)))


def _unroll(source: Axis) -> _Source:
    """Repeat a periodic axis so that it begins and ends well beyond any target."""
    size = source.values.size
    laps = 1 + -(-SPARE // size) if source.periodic else 0
    turns = np.arange(-laps, laps + 1)[:, None] * 360.0
    edges = (source.edges[:-1] + turns).ravel()
    last = source.edges[-1:] + turns[-1]
    return _Source(
        (source.values + turns).ravel(),
        np.concatenate([edges, last]),
        np.tile(source.first, turns.size),
    )


def _crop(source: _Source, target: _Target) -> _Source:
    """Keep the source cells that lie within SPARE cells of the target."""
    low, high = np.searchsorted(source.values, [target.edges.min(), target.edges.max()])
    start, stop = max(low - SPARE, 0), min(high + SPARE, source.values.size)
    return _Source(
        source.values[start:stop], source.edges[start : stop + 1], source.index[start:stop]
    )


def _as_given(weights: Array, index: Array, size: int) -> Array:
    """Bring the columns to the order of the axis as given; repeated cells add up."""
    columns = np.zeros((size, weights.shape[0]))
    np.add.at(columns, index, weights.T)
    return columns.T


def _spline(source: _Source, target: _Target, hold: bool) -> Array:
    """Not-a-knot cubic spline; a parabola through three points, a line through two.

    In the half-cell margin it goes on along the line through the outermost two centres.
    """
    size = source.values.size
    inside = np.clip(target.values, source.values[0], source.values[-1])
    spline = make_interp_spline(source.values, np.eye(size), k=min(3, size - 1))
    weights: Array = spline(inside)
    if not hold and size > 1:
        weights += _margin(source, target.values - inside)
    return weights


def _margin(source: _Source, beyond: Array) -> Array:
    """Weights of the slope at the ends, times the distance beyond them."""
    weights = np.zeros((beyond.size, source.values.size))
    for low, past in ((0, beyond < 0), (-2, beyond > 0)):
        share = beyond[past] / (source.values[low + 1] - source.values[low])
        weights[past, low], weights[past, low + 1] = -share, share
    return weights


def _linear(source: _Source, target: _Target) -> Array:
    """Linear weights, constant beyond the outermost centres."""
    weights = np.zeros((target.values.size, source.values.size))
    if source.values.size == 1:
        return weights + 1
    inside = np.clip(target.values, source.values[0], source.values[-1])
    low = np.searchsorted(source.values, inside, side="right") - 1
    low = np.minimum(low, source.values.size - 2)
    share = (inside - source.values[low]) / (source.values[low + 1] - source.values[low])
    rows = np.arange(inside.size)
    weights[rows, low], weights[rows, low + 1] = 1 - share, share
    return weights


def _nearest(source: _Source, target: _Target) -> Array:
    """1 at the source cell whose centre is nearest."""
    middle = (source.values[1:] + source.values[:-1]) / 2
    weights = np.zeros((target.values.size, source.values.size))
    weights[np.arange(target.values.size), np.searchsorted(middle, target.values)] = 1
    return weights


def _overlap(source: _Source, target: _Target) -> Array:
    """Shares of a target cell that source cells cover; the nearest where none does."""
    low = np.maximum(target.edges[:, :1], source.edges[:-1])
    high = np.minimum(target.edges[:, 1:], source.edges[1:])
    shared = np.clip(high - low, 0, None)
    covered = shared.sum(axis=1, keepdims=True)
    none = covered[:, 0] <= 1e-9 * np.diff(target.edges, axis=1)[:, 0]
    covered[none] = 1
    weights = shared / covered
    weights[none] = _nearest(source, target)[none]
    return weights


def _reach(source: _Source, target: _Target) -> Array:
    """1 at the source cells that a spline value is said to rest on."""
    place = np.searchsorted(source.values, target.values, side="right")[:, None] - 0.5
    return (np.abs(np.arange(source.values.size) - place) < REACH).astype(np.float64)


def _sines(axis: Axis) -> Axis:
    """Latitude axis measured by sin(latitude), in which equal steps are equal areas."""
    values, edges = np.sin(np.radians(axis.values)), np.sin(np.radians(axis.edges))
    return axis._replace(values=values, edges=edges)


class _Gaps(NamedTuple):
    """Everything that depends on where values are missing, kept for the next field like it."""

    valid: Array  # (y, x)
    share: Array  # (Y, X) sum of the weights of valid cells
    enough: Array  # (Y, X) bool
    touched: Array | None  # (Y, X) bool: spline values that rest on a missing cell
    filler: tuple[Array, ...] | None  # index of the nearest valid cell


@dataclass(frozen=True, eq=False)
class Regridder:
    """Weights between two grids; arrays in, arrays out.

    Attributes
    ----------
    y, x : AxisWeights
        Weights along latitude and longitude, for the source rows and columns that are used.
    rows, columns : slice or ndarray of int
        Source rows and columns that bear weight; the rest need not be read.
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
    ) -> Regridder:
        """Make the weights from one grid to another.

        Parameters
        ----------
        source, target : (array, array)
            Latitudes and longitudes in degrees, one-dimensional, any order and convention.
        method, extrapolate, min_valid
            As in `xdownscale.regrid`.

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
        latitudes = [latitude_axis(g[0], w) for g, w in ((source, _SOURCE), (target, _TARGET))]
        longitudes = [longitude_axis(g[1], w) for g, w in ((source, _SOURCE), (target, _TARGET))]
        if method == "conservative":
            _check_widths([*latitudes, *longitudes])
            latitudes = [_sines(axis) for axis in latitudes]
        if extrapolate is None:
            check_coverage(latitude_axis(source[0]), longitudes[0], *target)
        y, rows = _used(axis_weights(latitudes[0], latitudes[1], method, extrapolate))
        x, columns = _used(axis_weights(longitudes[0], longitudes[1], method, extrapolate))
        shape = (int(np.size(source[0])), int(np.size(source[1])))
        return cls(y, x, rows, columns, shape, float(min_valid))

    def apply(self, array: Array) -> Array:
        """Bring fields to the target grid.

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
        """Bring fields to the target grid that hold only the used rows and columns.

        Parameters
        ----------
        array : ndarray, shape (..., y, x)
            What ``array[..., rows, :][..., columns]`` is.

        Returns
        -------
        ndarray, shape (..., Y, X)
        """
        kind = float_type(array.dtype)
        at = [w.map(lambda m: np.ascontiguousarray(m, dtype=kind)) for w in (self.y, self.x)]
        lead = array.shape[:-2]
        out = np.empty((*lead, self.y.main.shape[0], self.x.main.shape[0]), dtype=kind)
        gaps: _Gaps | None = None
        for index in np.ndindex(*lead):
            field = np.ascontiguousarray(array[index], dtype=kind)
            gaps = self._field(field, at[0], at[1], out[index], gaps)
        return out

    def _field(
        self, field: Array, y: AxisWeights, x: AxisWeights, out: Array, gaps: _Gaps | None
    ) -> _Gaps | None:
        """Regrid one field into `out`; return what was learnt about its gaps."""
        valid = np.isfinite(field)
        if valid.all():
            _product(y.main, field, x.main, out)
            return gaps
        if not valid.any():
            out[...] = np.nan
            return gaps
        if gaps is None or not np.array_equal(gaps.valid, valid):
            gaps = self._learn(valid, y, x)
        if y.linear is None or x.linear is None or gaps.filler is None or gaps.touched is None:
            _weighted_mean(y.main, np.where(valid, field, 0), x.main, gaps, out)
        else:
            linear = np.empty_like(out)
            _weighted_mean(y.linear, np.where(valid, field, 0), x.linear, gaps, linear)
            _product(y.main, field[gaps.filler], x.main, out)
            np.copyto(out, linear, where=gaps.touched)
        out[~gaps.enough] = np.nan
        return gaps

    def _learn(self, valid: Array, y: AxisWeights, x: AxisWeights) -> _Gaps:
        weights = valid.astype(y.main.dtype)
        if y.linear is None or x.linear is None or y.near is None or x.near is None:
            share = y.main @ weights @ x.main.T
            touched, filler = None, None
        else:
            share = y.linear @ weights @ x.linear.T
            touched = y.near @ (1 - weights) @ x.near.T > 0.5
            filler = tuple(distance_transform_edt(~valid, False, True))
        enough = share >= max(self.min_valid - _ROUNDING, _ROUNDING)
        return _Gaps(valid, np.where(enough, share, 1), enough, touched, filler)


_SOURCE, _TARGET = "The source grid", "The target grid"


def _product(y: Array, field: Array, x: Array, out: Array) -> None:
    np.matmul(y @ field, x.T, out=out)


def _weighted_mean(y: Array, zeroed: Array, x: Array, gaps: _Gaps, out: Array) -> None:
    """sum(W f m) / sum(W m)."""
    _product(y, zeroed, x, out)
    np.divide(out, gaps.share, out=out)


def _used(weights: AxisWeights) -> tuple[AxisWeights, Selection]:
    """Drop the source points that bear no weight."""
    bearing = np.zeros(weights.main.shape[1], dtype=bool)
    for matrix in weights:
        if matrix is not None:
            bearing |= (matrix != 0).any(axis=0)
    index = np.flatnonzero(bearing)
    chosen: Selection = index
    if np.ptp(index) + 1 == index.size:
        chosen = slice(int(index[0]), int(index[-1]) + 1)
    return weights.map(lambda m: m[:, chosen]), chosen


def _check_widths(axes: list[Axis]) -> None:
    for axis in axes:
        if axis.values.size < 2:
            raise GridError(
                "method='conservative' needs cells with a width, and an axis with one point "
                f"({axis.values[0]:g}) has none. Give two points or more, or use 'bilinear'."
            )


def check_options(method: str, extrapolate: str | None, min_valid: float) -> None:
    """Refuse options that do not exist.

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
    """Return the float type that values are regridded in.

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
    if dtype.kind not in "fiub":
        raise DataError(
            f"Values of type {dtype} cannot be interpolated; real numbers can. Convert them with "
            ".astype(float), or drop the variable."
        )
    return np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)
