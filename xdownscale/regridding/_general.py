"""Weights between grids of any kind: in degrees, projected or curvilinear."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.sparse import csr_array, diags_array

from xdownscale.core.axis import Array, has_width
from xdownscale.core.cells import Cells
from xdownscale.core.errors import GridError
from xdownscale.core.mesh import Mesh, Place
from xdownscale.core.sphere import to_vectors
from xdownscale.regridding._cache import remembered
from xdownscale.regridding._overlap import overlap_areas
from xdownscale.regridding._points import PointWeights, point_weights
from xdownscale.regridding._sparse import SparseRegridder, cropped

_NEIGHBOURS = 4  # of inverse distance
_STRAIGHT = 5e-3  # radians of the great circles that sides of cells are cut into
_VERSION = 1  # of the weights; kept ones of another version are not read


def regridder_between(
    source: Cells, target: Cells, method: str, extrapolate: str | None, min_valid: float
) -> SparseRegridder:
    """Return the regridder from a grid of any kind to another.

    Parameters
    ----------
    source, target : Cells
    method, extrapolate, min_valid
        As in `xdownscale.regrid`.

    Returns
    -------
    SparseRegridder
        Its weights are computed once for a pair of grids.

    Raises
    ------
    GridError
        If the target reaches outside the source, or cells have no width or cannot be used.

    Examples
    --------
    >>> import xarray as xr
    >>> from xdownscale.core.cells import cells_of
    >>> grid = cells_of(xr.Dataset(coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]}))
    >>> point = cells_of(xr.Dataset(coords={"lat": [0.5], "lon": [0.25]}))
    >>> regridder_between(grid, point, "bilinear", None, 0.5).apply_cropped(np.eye(2))
    array([[0.5]])
    """
    key = (_VERSION, method, extrapolate, *identity(source, method), *identity(target, method))
    costly = method == "conservative" or source.kind == "curvilinear"
    weights = remembered(key, lambda: _weights(source, target, method, extrapolate), disk=costly)
    return SparseRegridder(weights, target.shape, float(min_valid))


def identity(cells: Cells, method: str) -> list[str | Array]:
    """Return what the weights from or to a grid depend on.

    Parameters
    ----------
    cells : Cells
    method : str

    Returns
    -------
    list of str and array
    """
    found: list[str | Array] = [cells.kind, cells.first, cells.second]
    if cells.projection:
        found += [cells.projection.crs.to_json(), str(cells.projection.scale)]
    if method == "conservative":
        found += ["bounds", *(b for b in cells.bounds if b is not None)]
    return found


def _weights(source: Cells, target: Cells, method: str, extrapolate: str | None) -> PointWeights:
    if method == "conservative":
        _check_widths(source, target)
    latitude, longitude = (np.ravel(v) for v in target.positions)
    place = _placed(source, target, extrapolate)
    if method == "conservative":
        return _conservative(source, target, extrapolate)
    if source.kind == "curvilinear" and method == "nearest":
        nearest = source.tree.query(to_vectors(latitude, longitude))[1]
        return cropped(ones(nearest, source.shape), source.shape)
    place = _held(source, place, latitude, longitude)
    if source.kind == "curvilinear" and method == "bicubic":
        place = _refined(source.mesh, place, to_vectors(latitude, longitude), source.shape[1])
    weights = point_weights(source.axes, (place.row, place.column), method, extrapolate)
    if method == "bilinear" and place.loose.any():
        return _by_distance(source, weights, place, to_vectors(latitude, longitude))
    return weights


def check_reach(source: Cells, target: Cells, extrapolate: str | None) -> Array:
    """Return which target cells lie outside the source; raise for them unless they are filled.

    Parameters
    ----------
    source, target : Cells
    extrapolate : None or "nearest"

    Returns
    -------
    ndarray of bool, shape (m,)

    Raises
    ------
    GridError
        If a target cell lies outside and `extrapolate` is None, or has no position.
    """
    return source.outside(_placed(source, target, extrapolate))


def _placed(source: Cells, target: Cells, extrapolate: str | None) -> Place:
    """Return where the target's centres lie in the source, if they may lie there."""
    latitude, longitude = (np.ravel(v) for v in target.positions)
    _check_positions(target, latitude, longitude)
    place = source.place(latitude, longitude)
    if extrapolate is None:
        _check_coverage(source, target, source.outside(place))
    return place


def _check_positions(target: Cells, latitude: Array, longitude: Array) -> None:
    bad = ~(np.isfinite(latitude) & np.isfinite(longitude))
    if bad.any():
        raise GridError(
            f"{target.what} has {bad.sum()} of {bad.size} cells without a position: "
            f"{target.names[0]!r} or {target.names[1]!r} is not finite there. Fill these "
            "coordinates, e.g. from the grid's own file, or take a part of the grid without such "
            "cells, with .isel(...)."
        )


def _check_coverage(source: Cells, target: Cells, beyond: Array) -> None:
    """Raise unless all centres of the target lie in the source and its half-cell margin."""
    if not beyond.any():
        return
    bad = np.ravel(beyond)
    lat, lon = (np.ravel(v) for v in target.positions)
    inner_lat, inner_lon = source.positions
    first = int(np.flatnonzero(bad)[0])
    raise GridError(
        f"The target grid reaches outside the source grid and its half-cell margin: {bad.sum()} of "
        f"{bad.size} cells, the first at latitude {lat[first]:.6g} and longitude {lon[first]:.6g}; "
        f"the source has centres at latitudes {np.min(inner_lat):.6g} to {np.max(inner_lat):.6g} "
        f"and longitudes {np.min(inner_lon):.6g} to {np.max(inner_lon):.6g}. Give a larger source, "
        "crop the target, or pass extrapolate='nearest'."
    )


def _held(source: Cells, place: Place, latitude: Array, longitude: Array) -> Place:
    """Give points outside a curvilinear grid or a projection the place of the nearest centre."""
    lost = np.flatnonzero(np.isnan(place.row) | np.isnan(place.column))
    if not lost.size:
        return place
    nearest = source.tree.query(to_vectors(latitude[lost], longitude[lost]))[1]
    row, column = np.divmod(nearest, source.shape[1])
    place.row[lost] = source.axes[0].values[source.axes[0].inverse[row]]
    place.column[lost] = source.axes[1].values[source.axes[1].inverse[column]]
    return place


def ones(index: Array, shape: tuple[int, int]) -> csr_array:
    """Return weights of 1 at one source cell each.

    Examples
    --------
    >>> ones(np.array([1]), (1, 2)).toarray()
    array([[0., 1.]])
    """
    size = (index.size, shape[0] * shape[1])
    return csr_array((np.ones(index.size), index, np.arange(index.size + 1)), shape=size)


def _refined(mesh: Mesh, place: Place, points: Array, columns: int) -> Place:
    """Return fractional indices at which the spline of the centres' positions meets the points.

    Inverse bilinear interpolation takes the lines between centres for straight; a spline of the
    field is only as good as the indices that it is evaluated at.
    """
    wide = mesh.wide
    turn = 360.0 / columns if mesh.periodic else 1.0
    row = place.row.copy()
    column = place.column / turn
    ticks = [np.arange(-1.0, n - 1) for n in wide.shape[:2]]
    degree = [min(3, n - 1) for n in wide.shape[:2]]
    splines = [
        RectBivariateSpline(*ticks, wide[..., k], kx=degree[0], ky=degree[1]) for k in range(3)
    ]
    inside = np.abs(row - (wide.shape[0] - 3) / 2) <= (wide.shape[0] - 3) / 2
    inside &= np.abs(column - (wide.shape[1] - 3) / 2) <= (wide.shape[1] - 3) / 2 + mesh.periodic
    inside &= ~place.loose
    for _ in range(2):
        at = (row[inside], column[inside])
        off = points[inside] - np.stack([s.ev(*at) for s in splines], axis=-1)
        down, along = (
            np.stack([s.ev(*at, dx=1 - k, dy=k) for s in splines], axis=-1) for k in (0, 1)
        )
        dot = [(a * b).sum(axis=-1) for a, b in ((down, down), (along, along), (down, along))]
        rest = [(a * off).sum(axis=-1) for a in (down, along)]
        det = dot[0] * dot[1] - dot[2] ** 2
        row[inside] += np.clip((rest[0] * dot[1] - rest[1] * dot[2]) / det, -0.5, 0.5)
        column[inside] += np.clip((rest[1] * dot[0] - rest[0] * dot[2]) / det, -0.5, 0.5)
    column = np.mod(column * turn, 360.0) if mesh.periodic else column
    return Place(row, column, place.loose)


def _by_distance(source: Cells, weights: PointWeights, place: Place, points: Array) -> PointWeights:
    """Weigh the centres round points that lie in no quadrilateral by their inverse distance."""
    loose = np.flatnonzero(place.loose)
    tree = source.tree
    chord, near = tree.query(points[loose], k=min(_NEIGHBOURS, tree.n))
    share = 1 / np.maximum(chord, 1e-12)
    share /= share.sum(axis=1, keepdims=True)
    size = (points.shape[0], source.shape[0] * source.shape[1])
    rows = np.repeat(loose, near.shape[1])
    extra = csr_array((share.ravel(), (rows, near.ravel())), shape=size)
    y, x = np.divmod(weights.main.indices, weights.columns.size)
    full = weights.rows[y] * source.shape[1] + weights.columns[x]
    main = csr_array((weights.main.data, full, weights.main.indptr), shape=size)
    kept = diags_array((~place.loose).astype(np.float64))
    return cropped((kept @ main + extra).tocsr(), source.shape)


def _conservative(source: Cells, target: Cells, extrapolate: str | None) -> PointWeights:
    """Weigh source cells by the areas that they share with a target cell."""
    shared = shared_areas(source, target)
    covered = np.asarray(shared.sum(axis=1)).ravel()
    bare = covered <= 0
    # division, not a product with the inverse: a single source cell has the weight 1 exactly
    shared.data /= np.repeat(np.where(bare, 1, covered), np.diff(shared.indptr))
    if extrapolate == "nearest" and bare.any():
        points = target.centres.reshape(-1, 3)
        nearest = source.tree.query(points)[1]
        fill = diags_array(bare.astype(np.float64)) @ ones(nearest, source.shape)
        shared = (shared + fill).tocsr()
    return cropped(shared, source.shape)


def shared_areas(source: Cells, target: Cells) -> csr_array:
    """Return the areas that cells of two grids share.

    Parameters
    ----------
    source, target : Cells

    Returns
    -------
    sparse array, shape (target cells, source cells)
        Steradians.

    Raises
    ------
    GridError
        If cells are folded, or have no width.
    """
    rings = []
    for cells in (source, target):
        corners = cells.corners(pieces=_pieces(cells))
        rings.append(corners.reshape(-1, *corners.shape[2:]))
    return overlap_areas(rings[0], rings[1], (source.what, target.what))


def _pieces(cells: Cells) -> int:
    """Return how many great circles a side is made of, so that it strays little from its line."""
    return max(1, int(np.ceil(np.sqrt(cells.pieces(_STRAIGHT)))))


def _check_widths(source: Cells, target: Cells) -> None:
    for cells in (source, target):
        if cells.kind == "curvilinear":
            continue
        for axis, name in zip(cells.axes, cells.names, strict=True):
            if not has_width(axis):
                raise GridError(
                    f"method='conservative' needs cells with a width, and {name!r} of "
                    f"{cells.what[0].lower()}{cells.what[1:]} has one point "
                    f"({axis.values[0]:g}) and no bounds. Give two points or more, or use "
                    "'bilinear'."
                )
