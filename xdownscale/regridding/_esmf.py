"""Weights from ESMF through xesmf, which is imported at the call; they are applied as all others.

ESMF is bound to the thread that used it first, takes ascending axes only, fills what lies outside,
and spreads infinities. So it gives weights alone, once for a pair of grids; coverage is checked,
missing values are weighed and threads multiply without it.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.sparse import csr_array, diags_array

from xdownscale.core.axis import SAME_CELL, Array, Axis
from xdownscale.core.cells import Cells
from xdownscale.core.errors import GridError, OptionError, XDownscaleError, XDownscaleWarning
from xdownscale.core.optional import require
from xdownscale.core.sphere import to_degrees
from xdownscale.regridding._cache import remembered
from xdownscale.regridding._general import check_reach, identity, ones
from xdownscale.regridding._points import PointWeights
from xdownscale.regridding._sparse import SparseRegridder, cropped

METHODS = {
    "bicubic": "patch",
    "bilinear": "bilinear",
    "nearest": "nearest_s2d",
    "conservative": "conservative_normed",
}
_NEAR_POLE = 89.999  # an extra row on the pole itself would have cells without an area
_VERSION = 1


class _Side(NamedTuple):
    """A grid as ESMF wants it."""

    grid: xr.Dataset
    cell: Array  # which cell of the grid as given each cell of `grid` is
    periodic: bool


def esmf_regridder(
    source: Cells, target: Cells, method: str, extrapolate: str | None, min_valid: float
) -> SparseRegridder:
    """Return the regridder with weights from ESMF.

    Parameters
    ----------
    source, target : Cells
        Of any kind.
    method, extrapolate, min_valid
        As in `xdownscale.regrid`.

    Returns
    -------
    SparseRegridder

    Raises
    ------
    MissingPackageError
        If xesmf cannot be imported.
    OptionError
        If extrapolation of a conservative mean is asked for.
    GridError
        If the target reaches outside the source, or cells cannot be used.
    XDownscaleError
        If ESMF fails, as in a thread that is not the first one that used it.
    """
    xesmf = require("xesmf", "engine='xesmf'")
    _check_method(source, target, method, extrapolate)
    beyond = check_reach(source, target, extrapolate)
    named = (*identity(source, method), *identity(target, method))
    key: list[Any] = ["esmf", _VERSION, method, extrapolate, *named]

    def make() -> PointWeights:
        return _weights(xesmf, source, target, method, beyond)

    return SparseRegridder(remembered(key, make, disk=True), target.shape, float(min_valid))


def _weights(xesmf: Any, source: Cells, target: Cells, method: str, beyond: Array) -> PointWeights:
    main = _matrix(xesmf, source, target, method)
    main = _filled_outside(source, target, main, beyond, method)
    if method != "bicubic":
        return cropped(main, source.shape)
    # near gaps the weights of a patch leave the range of the source
    linear = _matrix(xesmf, source, target, "bilinear")
    linear = _filled_outside(source, target, linear, beyond, method)
    every = np.ones(source.shape)
    near = main.copy()
    near.data = (np.abs(near.data) > 0).astype(np.float32)
    rows, columns = (np.arange(n) for n in every.shape)
    return PointWeights(rows, columns, (None, None), main, linear, near)


def _filled_outside(
    source: Cells, target: Cells, main: csr_array, beyond: Array, method: str
) -> csr_array:
    """Give cells outside the source the nearest centre, where a method asks for it."""
    if method == "conservative" or not beyond.any():
        return main
    nearest = source.tree.query(target.centres.reshape(-1, 3))[1]
    kept = diags_array((~beyond).astype(np.float64)) @ main
    fill = diags_array(beyond.astype(np.float64)) @ ones(nearest, source.shape)
    found: csr_array = (kept + fill).tocsr()
    return found


def _matrix(xesmf: Any, source: Cells, target: Cells, method: str) -> csr_array:
    """Return the weights (target cells, source cells), both in the order given."""
    one = _source(source, method)
    other = _target(target, method)
    try:
        made = xesmf.Regridder(one.grid, other.grid, METHODS[method], periodic=one.periodic)
    except Exception as err:
        raise XDownscaleError(
            f"ESMF gives no weights for method={method!r} between {source.shape} and "
            f"{target.shape} cells: {type(err).__name__}: {err}. ESMF works in one thread of a "
            "process alone: regrid once between these grids in the main thread, after which the "
            "weights are kept; or use engine='separable'."
        ) from err
    rows, columns, values = _entries(made.weights)
    good = np.isfinite(values) & (values != 0)
    rows = rows[good]
    columns = one.cell[columns[good]]
    values = values[good]
    size = (other.grid.sizes[_Y] * other.grid.sizes[_X], source.shape[0] * source.shape[1])
    matrix = csr_array((values, (rows, columns)), shape=size)
    found: csr_array = matrix[other.cell]
    return found


_Y = "y"
_X = "x"


def _entries(weights: Any) -> tuple[Array, Array, Array]:
    """Return rows, columns and values of weights: sparse or SciPy, in xarray or not."""
    data = getattr(weights, "data", weights)
    if not hasattr(data, "coords"):
        found = weights.tocoo()
        return found.row, found.col, found.data
    rows, columns = (np.asarray(c) for c in data.coords)
    return rows, columns, np.asarray(data.data)


def _source(cells: Cells, method: str) -> _Side:
    """Return the source, with one more cell on each side for the half-cell margin."""
    if cells.kind == "degrees":
        return _flat_source(cells, method)
    mesh = cells.mesh
    index = np.arange(cells.shape[0] * cells.shape[1]).reshape(cells.shape)
    if method == "conservative":
        return _Side(_plane(mesh.centres, mesh.vertices), index.ravel(), False)
    wide = mesh.wide
    index = np.pad(index, [(1, 1), (0, 0)], mode="edge")
    index = np.pad(index, [(0, 0), (1, 1)], mode="wrap" if mesh.periodic else "edge")
    return _Side(_plane(wide, None), index.ravel(), False)


def _flat_source(cells: Cells, method: str) -> _Side:
    latitude, longitude = cells.axes
    rows = latitude.first
    columns = longitude.first
    lat = latitude.values
    lon = longitude.values
    edges = None
    if method == "conservative":
        _check_joined(cells)
        edges = (latitude.edges, longitude.edges)
    else:
        rows, lat = _extended(latitude, _NEAR_POLE)
        columns, lon = _extended(longitude, np.inf)
    index = rows[:, None] * cells.shape[1] + columns
    return _Side(_degrees(lat, lon, edges), index.ravel(), longitude.periodic)


def _extended(axis: Axis, limit: float) -> tuple[Array, Array]:
    """Repeat the outermost cells one step further out, so that the half-cell margin has values."""
    index = axis.first
    values = axis.values
    if axis.periodic:
        return index, values
    outer = np.clip(2 * values[[0, -1]] - values[[1, -2]], -limit, limit)
    if outer[0] < values[0]:
        index = np.append(index[0], index)
        values = np.append(outer[0], values)
    if outer[1] > values[-1]:
        index = np.append(index, index[-1])
        values = np.append(values, outer[1])
    return index, values


def _target(cells: Cells, method: str) -> _Side:
    """Return the target with ascending axes, each meridian once, and the way back."""
    if cells.kind != "degrees":
        corners = cells.mesh.vertices if method == "conservative" else None
        grid = _plane(cells.centres, corners)
        return _Side(grid, np.arange(cells.shape[0] * cells.shape[1]), False)
    latitude, longitude = cells.axes
    edges = None
    if method == "conservative":
        _check_joined(cells)
        edges = (latitude.edges, longitude.edges)
    index = latitude.inverse[:, None] * longitude.values.size + longitude.inverse
    return _Side(_degrees(latitude.values, longitude.values, edges), index.ravel(), False)


def _degrees(lat: Array, lon: Array, edges: tuple[Array, Array] | None) -> xr.Dataset:
    coords: dict[str, Any] = {"lat": (_Y, lat), "lon": (_X, lon)}
    if edges is not None:
        coords |= {"lat_b": ("y_b", edges[0]), "lon_b": ("x_b", edges[1])}
    return xr.Dataset(coords=coords)


def _plane(centres: Array, vertices: Array | None) -> xr.Dataset:
    lat, lon = to_degrees(centres)
    coords: dict[str, Any] = {"lat": ((_Y, _X), lat), "lon": ((_Y, _X), lon)}
    if vertices is not None:
        corners = zip(("lat_b", "lon_b"), to_degrees(vertices), strict=True)
        coords |= {name: (("y_b", "x_b"), values) for name, values in corners}
    return xr.Dataset(coords=coords)


def _check_method(source: Cells, target: Cells, method: str, extrapolate: str | None) -> None:
    """Raise for what ESMF cannot do, and warn where it substitutes another method."""
    for what, cells in (("source", source), ("target", target)):
        shape = (
            tuple(axis.values.size for axis in cells.axes)
            if cells.kind == "degrees"
            else cells.shape
        )
        if min(shape) < 2 and (what == "source" or method == "conservative"):
            raise GridError(
                f"engine='xesmf' needs two latitudes and two longitudes or more in the {what} grid "
                f"here; it has {shape[0]} and {shape[1]}. Use engine='separable'."
            )
    if method == "conservative" and extrapolate is not None:
        raise OptionError(
            "engine='xesmf' cannot extrapolate a conservative mean (extrapolate='nearest'). "
            "Use extrapolate=None, another method, or engine='separable'."
        )
    if method == "bicubic":
        warnings.warn(
            "ESMF has no bicubic interpolation: its 'patch' recovery is used, which is about as "
            "accurate as 'bilinear'. engine='separable' has a bicubic.",
            XDownscaleWarning,
            stacklevel=4,
        )


def _check_joined(cells: Cells) -> None:
    """Refuse cells with gaps between them, whose edges are no line that ESMF could be given."""
    for axis in cells.axes:
        apart = np.abs(axis.cells[1:, 0] - axis.cells[:-1, 1])
        if apart.max(initial=0.0) > SAME_CELL * np.diff(axis.cells, axis=1).max():
            raise GridError(
                f"The bounds of {cells.what[0].lower()}{cells.what[1:]} leave gaps between its "
                "cells, or overlap, which engine='xesmf' cannot take. Use engine='separable'."
            )
