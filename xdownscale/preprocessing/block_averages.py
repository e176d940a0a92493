"""Coarse cells as averages over fine cells, and where these are, for kriging."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import sparse
from scipy.spatial import cKDTree

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import GridError
from xdownscale.core.grids import (
    SAME_CELL,
    Axis,
    cell_centres,
    check_coverage,
    grid_axes,
    has_width,
    wrap_longitude,
)
from xdownscale.models.statistical.kriging import Blocks, Lattice
from xdownscale.regridding import separable

Array = npt.NDArray[Any]
_MARGIN = 2  # coarse cells around the fine grid that predict it too
_EQUATOR = 6378.137  # km, WGS84
_FLATTENING = 1 / 298.257223563
_REACH = 0.75  # spacings of a curvilinear coarse grid that a fine cell may be off its centre


def coarse_blocks(
    coarse: xr.DataArray, fine: xr.DataArray, extrapolate: str | None = None
) -> Blocks:
    """Return the coarse cells in and around a fine grid as averages over fine cells.

    Where the coarse cells reach beyond the fine grid, it is continued with its own spacing.

    Parameters
    ----------
    coarse, fine : DataArray
        ``(y, x)`` grids, latitude and longitude ascending where they are one-dimensional.
    extrapolate : None or "nearest"
        With ``"nearest"`` fine cells may lie outside the coarse grid and its half-cell margin.

    Returns
    -------
    Blocks
        Area-weighted averages, where both grids have one-dimensional latitude and longitude. Else
        a coarse cell is the mean of the fine cells whose centres are nearest to its own, and one
        without any is left out.

    Raises
    ------
    GridError
        If fine cells lie outside the coarse grid, or an axis has one point.

    Examples
    --------
    >>> def grid(degrees):
    ...     coords = {"lat": degrees, "lon": degrees}
    ...     return xr.DataArray(np.zeros((len(degrees),) * 2), coords=coords)
    >>> blocks = coarse_blocks(grid([0.5, 2.5]), grid([0.0, 1.0, 2.0, 3.0]))
    >>> blocks.averages.shape, blocks.covered.all().item()
    ((4, 16), True)
    """
    if not (find_axes(coarse).rectilinear and find_axes(fine).rectilinear):
        return _nearest_blocks(coarse, fine, extrapolate)
    latitude, longitude = grid_axes(coarse, "The coarse grid")
    rows, columns = grid_axes(fine, "The fine grid")
    if not all(has_width(axis) for axis in (latitude, longitude, rows, columns)):
        raise GridError(
            "Kriging needs two rows and two columns of cells or more on both grids, as cells of a "
            f"single one have no size: the coarse grid has {coarse.shape}, the fine {fine.shape}."
        )
    if extrapolate is None:
        check_coverage(latitude, longitude, rows.values, columns.values)
    down = _near_rows(latitude, rows)
    along = _near_columns(longitude, columns)
    lat = _continued(rows, latitude.cells[latitude.inverse][down], (-90.0, 90.0))
    lon = _continued(columns, _beside(longitude, along, columns))
    sides = _overlap((lat.values, lon.values), coarse.isel(_chosen(coarse, down, along)))
    averages = sparse.csr_array(sparse.kron(*(sparse.csr_array(side) for side in sides)))
    order, count = _fine_first(lat, lon, rows, columns)
    points = positions(*np.meshgrid(lat.values, lon.values, indexing="ij")).reshape(-1, 3)
    cells = (down[:, None] * coarse.shape[1] + along).ravel().astype(np.int64)
    lattice = _lattice(lat.values, lon.values, sides, order)
    blocks = Blocks(points[order], averages[:, order], count, cells, lattice)
    return _without_copies(blocks, order)


def _lattice(lat: Array, lon: Array, sides: list[Array], order: Array) -> Lattice | None:
    """Return the points as a lattice, where longitudes are equally spaced."""
    steps = np.diff(lon)
    step = float(np.mean(steps))
    if np.abs(lon - lon[0] - step * np.arange(lon.size)).max() > SAME_CELL * abs(step):
        return None
    rows = positions(*np.meshgrid(lat, step * np.arange(lon.size), indexing="ij"))
    return Lattice(order.astype(np.int64), lon.size, rows, *sides)


def positions(latitude: Array, longitude: Array) -> Array:
    """Return where points of the WGS84 ellipsoid are in space, km, ``(..., 3)``.

    Examples
    --------
    >>> positions(np.array(0.0), np.array(0.0))
    array([6378.137,    0.   ,    0.   ])
    """
    phi = np.radians(np.asarray(latitude, np.float64))
    angle = np.radians(np.asarray(longitude, np.float64))
    squared = _FLATTENING * (2 - _FLATTENING)
    normal = _EQUATOR / np.sqrt(1 - squared * np.sin(phi) ** 2)
    flat = normal * np.cos(phi)
    parts = [flat * np.cos(angle), flat * np.sin(angle), normal * (1 - squared) * np.sin(phi)]
    return np.stack(parts, axis=-1)


class _Continued(NamedTuple):
    """An axis of the fine grid, continued on both sides."""

    values: Array  # ascending
    low: int  # cells that were added below


def _continued(
    axis: Axis, cells: Array, limits: tuple[float, float] = (-np.inf, np.inf)
) -> _Continued:
    """Continue an axis until it covers coarse cells (n, 2)."""
    if axis.periodic:
        return _Continued(axis.values, 0)
    steps = [axis.values[1] - axis.values[0], axis.values[-1] - axis.values[-2]]
    beyond = [axis.edges[0] - cells.min(), cells.max() - axis.edges[-1]]
    room = [axis.edges[0] - limits[0], limits[1] - axis.edges[-1]]
    count = [
        max(0, min(int(np.ceil(wanted / step - 1e-6)), _whole(space / step)))
        for wanted, step, space in zip(beyond, steps, room, strict=True)
    ]
    below = axis.values[0] - steps[0] * np.arange(count[0], 0, -1)
    above = axis.values[-1] + steps[1] * np.arange(1, count[1] + 1)
    return _Continued(np.concatenate([below, axis.values, above]), count[0])


def _whole(cells: float) -> int:
    """Return the number of whole cells that there is room for."""
    return int(np.floor(min(cells, 1e9) + 1e-6))


def _near_rows(latitude: Axis, rows: Axis) -> Array:
    """Return the coarse rows in and around the fine grid, as they are given."""
    step = np.median(np.diff(latitude.edges))
    given = latitude.cells[latitude.inverse]
    low = rows.edges[0] - (_MARGIN - 0.5) * step
    high = rows.edges[-1] + (_MARGIN - 0.5) * step
    return np.flatnonzero((given[:, 1] > low) & (given[:, 0] < high))


def _near_columns(longitude: Axis, columns: Axis) -> Array:
    """Return the coarse columns in and around the fine grid, each meridian once, as given."""
    first = np.sort(longitude.first)
    if columns.periodic:
        return first
    step = np.median(np.diff(longitude.edges))
    half = (columns.edges[-1] - columns.edges[0]) / 2 + (_MARGIN - 0.5) * step
    apart = np.abs(_beside(longitude, first, columns).mean(1) - _middle(columns))
    return np.asarray(first[apart < half + step / 2])


def _middle(axis: Axis) -> float:
    return float(axis.edges[0] + axis.edges[-1]) / 2


def _beside(longitude: Axis, chosen: Array, columns: Axis) -> Array:
    """Return the edges (n, 2) of coarse columns, in the convention of the fine grid."""
    cells = longitude.cells[longitude.inverse][chosen]
    centre = cells.mean(1)
    turned = wrap_longitude(centre, _middle(columns) - 180)
    return np.asarray(cells + (turned - centre)[:, None])


def _chosen(grid: xr.DataArray, rows: Array, columns: Array) -> dict[Any, Array]:
    return dict(zip(grid.dims, (rows, columns), strict=True))


def _overlap(fine: tuple[Array, Array], coarse: xr.DataArray) -> list[Array]:
    """Return area-weighted averages over the rows and over the columns of the fine grid."""
    source = xr.DataArray(
        np.zeros([part.size for part in fine], np.float32),
        coords={"lat": fine[0], "lon": fine[1]},
        dims=("lat", "lon"),
    )
    found = separable(source, coarse, "conservative", extrapolate="nearest")
    sides = []
    for axis, used, count in (
        (found.y.main, found.rows, fine[0].size),
        (found.x.main, found.columns, fine[1].size),
    ):
        whole = np.zeros((len(axis), count))
        whole[:, used] = axis
        sides.append(whole)
    return sides


def _fine_first(lat: _Continued, lon: _Continued, rows: Axis, columns: Axis) -> tuple[Array, int]:
    """Return the points in an order that begins with the fine grid as given, and its size."""
    down = lat.low + rows.inverse
    along = lon.low + columns.inverse
    fine = (down[:, None] * lon.values.size + along).ravel()
    others = np.setdiff1d(np.arange(lat.values.size * lon.values.size), fine)
    return np.concatenate([fine, others]), fine.size


def _without_copies(blocks: Blocks, order: Array) -> Blocks:
    """Return blocks in which a meridian that stands twice in the fine grid counts once."""
    first = np.unique(order, return_index=True)[1]
    if first.size == order.size:
        return blocks
    keep = np.zeros(order.size)
    keep[first] = 1
    averages = sparse.csr_array(blocks.averages @ sparse.diags_array(keep))
    averages.eliminate_zeros()
    return Blocks(blocks.points, averages, blocks.fine, blocks.cells, blocks.lattice)


def _nearest_blocks(coarse: xr.DataArray, fine: xr.DataArray, extrapolate: str | None) -> Blocks:
    """Return coarse cells as means of the fine cells whose centres are nearest to their own."""
    points = positions(*cell_centres(fine)).reshape(-1, 3)
    centres = positions(*cell_centres(coarse)).reshape(-1, 3)
    for what, where in (("fine", points), ("coarse", centres)):
        if not np.isfinite(where).all():
            raise GridError(
                f"The {what} grid has cells without latitude or longitude, so it is not known "
                "where they lie. Cut them off, or fill the coordinates; their values may be NaN."
            )
    tree = cKDTree(centres)
    apart, nearest = tree.query(points)
    spacing = tree.query(centres, k=2)[0][:, 1]
    inside = apart <= _REACH * np.sqrt(2) * spacing[nearest]
    if extrapolate is None and not inside.all():
        raise GridError(
            f"{int((~inside).sum())} of {inside.size} fine cells lie outside the coarse grid. Give "
            "a larger coarse record, crop the fine grid, or pass extrapolate='nearest'."
        )
    cells, number = np.unique(nearest[inside], return_inverse=True)
    weight = 1 / np.bincount(number)[number]
    entries = (weight, (number, np.flatnonzero(inside)))
    averages = sparse.csr_array(entries, shape=(cells.size, len(points)))
    return Blocks(points, averages, len(points), cells.astype(np.int64))
