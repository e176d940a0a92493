"""Cells of grids of all kinds: in degrees, in a projection, or curvilinear.

A grid in degrees has one-dimensional latitude and longitude, one in a projection has
one-dimensional coordinates of a coordinate reference system (metres, or degrees from a rotated
pole), and of a curvilinear one only two-dimensional latitude and longitude are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from xdownscale.core.axis import (
    EARTH_RADIUS_KM,
    NO_BOUNDS,
    SAME_DEGREES,
    Array,
    Axis,
    Bounds,
    has_width,
    latitude_axis,
    longitude_axis,
    outside,
    plane_axis,
    wrap_longitude,
)
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import GridError
from xdownscale.core.mesh import Mesh, Place, quadrilaterals
from xdownscale.core.projection import Projection, find_projection, with_positions
from xdownscale.core.quantities import as_plain
from xdownscale.core.sphere import angle, polygon_areas, to_vectors

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

KINDS = ("degrees", "projected", "curvilinear")
_BLOCK = 40_000  # cells whose corners are held at a time
_FINE = 1e-3  # radians of the pieces that sides are cut into, for areas
_MOST = 32


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a grid.

    Attributes
    ----------
    kind : {"degrees", "projected", "curvilinear"}
    what : str
        What the grid is, for messages.
    dims : (str, str)
        Dimensions y and x.
    names : (str, str)
        Coordinates that the cells are made from: latitude and longitude, or y and x.
    shape : (int, int)
        Rows and columns.
    first, second : ndarray
        Values of those coordinates: one-dimensional, or (y, x) on a curvilinear grid.
    bounds : (array or None, array or None)
        Bounds that the grid bears: (n, 2), or (y, x, 4) on a curvilinear grid.
    projection : Projection or None
        Of a projected grid.
    """

    kind: str
    what: str
    dims: tuple[str, str]
    names: tuple[str, str]
    shape: tuple[int, int]
    first: Array
    second: Array
    bounds: Bounds
    projection: Projection | None = None

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Axes in which the grid is rectilinear; of a curvilinear one its indices.

        Columns of a curvilinear globe are counted in degrees, from 0 to 360.
        """
        if self.kind == "curvilinear":
            return self._index_axes()
        if self.kind == "degrees" or (self.projection and self.projection.rotated):
            return (
                latitude_axis(self.first, self.what, self.bounds[0]),
                longitude_axis(self.second, self.what, self.bounds[1]),
            )
        return (
            plane_axis(self.first, self.what, self.names[0], self.bounds[0]),
            plane_axis(self.second, self.what, self.names[1], self.bounds[1]),
        )

    def _index_axes(self) -> tuple[Axis, Axis]:
        rows = plane_axis(np.arange(self.shape[0], dtype=np.float64), self.what, "row")
        columns = np.arange(self.shape[1], dtype=np.float64)
        if self.mesh.periodic:
            return rows, longitude_axis(columns * 360.0 / columns.size, self.what)
        return rows, plane_axis(columns, self.what, "column")

    @property
    def cyclic(self) -> bool:
        """True where the second coordinate is an angle, in any convention."""
        if self.kind == "curvilinear":
            return self.mesh.periodic
        return self.kind == "degrees" or bool(self.projection and self.projection.rotated)

    @cached_property
    def mesh(self) -> Mesh:
        """The mesh of the centres."""
        return Mesh(self.centres, self.what, self.names)

    @cached_property
    def positions(self) -> tuple[Array, Array]:
        """Latitude and longitude of the centres, (y, x) each, in degrees."""
        if self.kind == "curvilinear":
            return self.first, self.second
        if self.projection:
            return self.projection.positions(self.first[:, None], self.second[None, :])
        latitude, longitude = np.broadcast_arrays(self.first[:, None], self.second[None, :])
        return latitude, longitude

    @cached_property
    def centres(self) -> Array:
        """Unit vectors of the centres, (y, x, 3)."""
        latitude, longitude = self.positions
        bad = ~(np.isfinite(latitude) & np.isfinite(longitude))
        if bad.any():
            raise GridError(
                f"{self.what} has {bad.sum()} of {bad.size} cells without a position: "
                f"{self.names[0]!r} or {self.names[1]!r} is not finite there. Fill these "
                "coordinates, e.g. from the grid's own file, or take a part of the grid without "
                "such cells, with .isel(...)."
            )
        return to_vectors(latitude, longitude)

    @cached_property
    def tree(self) -> cKDTree:
        """A k-d tree of the centres on the sphere, row by row."""
        from scipy.spatial import cKDTree  # late: heavy

        return cKDTree(self.centres.reshape(-1, 3))

    @cached_property
    def steps(self) -> tuple[float, float]:
        """Median angles between neighbouring rows and columns, in degrees; NaN where there is one.

        Of a curvilinear grid on the sphere.
        """
        found = []
        for axis, size in enumerate(self.shape):
            apart = angle(
                np.take(self.centres, range(1, size), axis),
                np.take(self.centres, range(size - 1), axis),
            )
            found.append(float(np.degrees(np.median(apart))) if apart.size else float("nan"))
        return found[0], found[1]

    @cached_property
    def spacings(self) -> tuple[Array, Array]:
        """Distances between neighbouring rows, and between columns, at each cell: (y, x), km.

        The mean of the distances to both neighbours; 0 along an axis of one point.
        """
        found = []
        for axis, size in enumerate(self.shape):
            lines = np.moveaxis(self.centres, axis, 0)
            if size == 1:
                found.append(np.zeros(self.shape))
                continue
            apart = angle(lines[1:], lines[:-1]) * EARTH_RADIUS_KM
            ends = np.concatenate([apart[:1], apart, apart[-1:]])
            found.append(np.moveaxis((ends[1:] + ends[:-1]) / 2, 0, axis))
        return found[0], found[1]

    @cached_property
    def bearing(self) -> tuple[Array, Array]:
        """Cosine and sine of the bearing (from north, clockwise) of the rows' direction: (y, x).

        1 and 0 along an axis of one point.
        """
        if self.shape[0] == 1:
            return np.ones(self.shape), np.zeros(self.shape)
        ahead = np.gradient(self.centres, axis=0)
        longitude = np.radians(self.positions[1])
        east = np.stack([-np.sin(longitude), np.cos(longitude), np.zeros(self.shape)], axis=-1)
        north = np.cross(self.centres, east)
        parts = [(ahead * direction).sum(axis=-1) for direction in (north, east)]
        length = np.maximum(np.hypot(*parts), 1e-300)
        return parts[0] / length, parts[1] / length

    def place(self, latitude: Array, longitude: Array) -> Place:
        """Return where points lie in this grid.

        Parameters
        ----------
        latitude, longitude : array, shape (m,)
            Degrees.

        Returns
        -------
        Place
            ``row`` and ``column`` in the units of `axes`; longitudes in the convention of the
            axis. NaN outside the domain of a projection or of a curvilinear grid.
        """
        if self.kind == "curvilinear":
            found = self.mesh.locate(to_vectors(latitude, longitude))
            if self.mesh.periodic:
                return found._replace(column=np.mod(found.column * 360.0 / self.shape[1], 360.0))
            return found
        row = latitude
        column = longitude
        if self.projection:
            row, column = self.projection.plane(latitude, longitude)
        row = np.asarray(row, np.float64)
        column = np.asarray(column, np.float64)
        if self.cyclic:
            column = _in_convention(self.axes[1], column)
        return Place(row, column, np.zeros(row.shape, dtype=bool))

    def outside(self, place: Place) -> Array:
        """Tell which placed points lie beyond the outermost cell edges.

        Parameters
        ----------
        place : Place
            From `place`.

        Returns
        -------
        ndarray of bool
        """
        rows = outside(self.axes[0], place.row, cyclic=False)
        columns = outside(self.axes[1], place.column, cyclic=self.cyclic)
        beyond: Array = rows | columns | np.isnan(place.row) | np.isnan(place.column)
        return beyond

    def corners(self, rows: slice = slice(None), pieces: int = 1) -> Array:
        """Return the corners of cells as unit vectors, in a ring that turns left.

        Parameters
        ----------
        rows : slice
            Rows of the grid.
        pieces : int
            How many great circles a side is made of that is none: a parallel, or a straight line
            of a projection.

        Returns
        -------
        ndarray, shape (y, x, k, 3)

        Raises
        ------
        GridError
            If cells have no width, are folded or cross themselves.
        """
        if self.kind == "curvilinear":
            ring = self._curvilinear_corners(rows)
        else:
            ring = self._plane_corners(rows, pieces)
        left = np.nanmedian(polygon_areas(ring)) >= 0
        return ring if left else ring[..., ::-1, :]

    def _curvilinear_corners(self, rows: slice) -> Array:
        if self.bounds[0] is not None and self.bounds[1] is not None:
            return self._given_corners[rows]
        return quadrilaterals(self.mesh.vertices)[rows]

    @cached_property
    def _given_corners(self) -> Array:
        latitude, longitude = self.bounds
        assert latitude is not None
        assert longitude is not None
        ring = to_vectors(latitude, longitude)
        ring_areas = polygon_areas(ring)
        sign = np.sign(np.median(ring_areas))
        bad = ~(sign * ring_areas > 0)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise GridError(
                f"{self.what} has {bad.sum()} cells whose bounds are folded, cross themselves or "
                f"have no area, the first in row {row} and column {column} of {self.names[0]!r} "
                f"and {self.names[1]!r}. Correct the bounds, or drop them (and the attribute "
                "'bounds')."
            )
        return ring

    def _plane_corners(self, rows: slice, pieces: int) -> Array:
        for axis, name in zip(self.axes, self.names, strict=True):
            if not has_width(axis):
                raise GridError(
                    f"{self.what} has one {name!r} ({axis.values[0]:g}) and no bounds, so that its "
                    "cells have no width. Give two points or more, or a Dataset with bounds."
                )
        low, high = self.axes[0].cells[self.axes[0].inverse][rows].T[..., None]
        west, east = self.axes[1].cells[self.axes[1].inverse].T[:, None, :]
        share = np.arange(pieces) / pieces
        upright = share if self.kind == "projected" else share[:1]
        first = [low + 0 * s for s in share] + [low + s * (high - low) for s in upright]
        first += [high + 0 * s for s in share] + [high + s * (low - high) for s in upright]
        second = [west + s * (east - west) for s in share] + [east + 0 * s for s in upright]
        second += [east + s * (west - east) for s in share] + [west + 0 * s for s in upright]
        shape = (*np.broadcast_shapes(low.shape, west.shape), len(first))
        ring = [np.empty(shape), np.empty(shape)]
        for k, sides in enumerate(zip(first, second, strict=True)):
            for into, values in zip(ring, sides, strict=True):
                into[..., k] = values
        if self.projection:
            return to_vectors(*self._known(*self.projection.positions(*ring)))
        return to_vectors(*ring)

    def _known(self, latitude: Array, longitude: Array) -> tuple[Array, Array]:
        """Refuse corners that lie outside the domain of the projection."""
        if np.isnan(latitude).any():
            label = self.projection.label if self.projection else ""
            raise GridError(
                f"{self.what} has cells with corners outside the domain of the {label}. Take a "
                f"part of the grid without its outermost {self.names[0]!r} and {self.names[1]!r}."
            )
        return latitude, longitude

    def areas(self, unit: str = "km2") -> Array:
        """Return the areas of the cells on the sphere.

        Parameters
        ----------
        unit : {"km2", "sr"}
            On the sphere with the area of the WGS84 ellipsoid, or steradians.

        Returns
        -------
        ndarray, shape (y, x)

        Notes
        -----
        Areas of spherical polygons; sides that are straight in a projection are cut into pieces
        of a thousandth of a radian or less.
        """
        pieces = self.pieces(_FINE)
        step = max(_BLOCK // (self.shape[1] * (pieces if self.projection else 1)), 1)
        parts = [
            np.abs(polygon_areas(self.corners(slice(k, k + step), pieces)))
            for k in range(0, self.shape[0], step)
        ]
        radius = EARTH_RADIUS_KM if unit == "km2" else 1.0
        found: Array = np.concatenate(parts) * radius**2
        return found

    def pieces(self, length: float) -> int:
        """Return how many pieces of at most `length` radians the sides of the cells are cut into.

        Parameters
        ----------
        length : float
            Radians.

        Returns
        -------
        int
            1 on a curvilinear grid, whose sides are great circles; 32 at most.
        """
        if self.kind == "curvilinear":
            return 1
        widths = [float(np.diff(axis.cells, axis=1).max()) for axis in self.axes]
        side = np.radians(max(widths))
        if self.projection and not self.projection.rotated:
            factor = self.projection.crs.axis_info[0].unit_conversion_factor or 1.0
            side = max(widths) * self.projection.scale * factor / (1000 * EARTH_RADIUS_KM)
        return int(np.clip(np.ceil(side / length), 1, _MOST))


def _in_convention(axis: Axis, longitude: Array) -> Array:
    """Return longitudes within half a turn of the middle of an axis, or within its turn."""
    if axis.periodic:
        start = axis.values[0]
        turned = wrap_longitude(longitude, start)
        # rounding: a point at the seam stays there
        return np.where(turned - start > 360.0 - SAME_DEGREES / 1e4, turned - 360.0, turned)
    return wrap_longitude(longitude, (axis.values[0] + axis.values[-1]) / 2 - 180.0)


def cells_of(grid: xr.DataArray | xr.Dataset, what: str = "The grid") -> Cells:
    """Return the cells of a labelled grid.

    Parameters
    ----------
    grid : DataArray or Dataset
        A Dataset gives the bounds of the cells and a grid mapping variable, where it bears them.
    what : str
        What it is, for messages.

    Returns
    -------
    Cells

    Raises
    ------
    GridError
        As `find_projection` and `grid_template`.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((1, 2)), coords={"lat": [0.0], "lon": [5.0, 6.0]})
    >>> cells_of(da).kind
    'degrees'
    """
    from xdownscale.core.grids import given_bounds, grid_template

    grid = as_plain(grid)
    projection = find_projection(grid, what)
    located = with_positions(cast(xr.DataArray, grid), what)  # or a Dataset
    da = grid_template(located, what)
    axes = find_axes(da)
    names = (axes.latitude, axes.longitude)
    if projection is not None:
        kind = "projected"
        names = (projection.y, projection.x)
        dims = names
    else:
        kind = "degrees" if da[names[0]].ndim == 1 else "curvilinear"
        dims = (axes.y, axes.x)
    values = [_values(da, name, dims) for name in names]
    bounds = given_bounds(grid) if kind == "degrees" else _bounds(grid, names, dims)
    shape = (da.sizes[dims[0]], da.sizes[dims[1]])
    if kind == "curvilinear":
        _check_latitudes(values[0], names[0], what)
    return Cells(kind, what, dims, names, shape, values[0], values[1], bounds, projection)


def _values(da: xr.DataArray, name: str, dims: tuple[str, str]) -> Array:
    coordinate = da[name]
    ordered = coordinate if coordinate.ndim == 1 else coordinate.transpose(*dims)
    return np.asarray(ordered.values, dtype=np.float64)


def _check_latitudes(latitude: Array, name: str, what: str) -> None:
    with np.errstate(invalid="ignore"):
        beyond = np.abs(latitude) > 90 + SAME_DEGREES
    if beyond.any():
        raise GridError(
            f"{what} has {beyond.sum()} values of {name!r} beyond the poles, such as "
            f"{latitude[beyond][0]:g}; allowed are degrees from -90 to 90. A fill value of the "
            "file, perhaps: replace it by NaN, and fill the positions."
        )


def _bounds(grid: Any, names: tuple[str, str], dims: tuple[str, str]) -> Bounds:
    """Return the bounds of projected or two-dimensional coordinates that a Dataset bears."""
    one, other = (_bounds_along(grid, name, dims) for name in names)
    if grid[names[0]].ndim == 2 and (one is None or other is None):
        return NO_BOUNDS
    return one, other


def _bounds_along(grid: Any, name: str, dims: tuple[str, str]) -> Array | None:
    label = grid[name].attrs.get("bounds", grid[name].encoding.get("bounds"))
    there = grid.variables if isinstance(grid, xr.Dataset) else grid.coords
    if label is None or label not in there:
        return None
    lead = (name,) if grid[name].ndim == 1 else dims
    bounds = grid[label]
    if bounds.ndim != len(lead) + 1 or not set(lead) <= set(bounds.dims):
        return None
    values = np.asarray(bounds.transpose(*lead, ...).values, dtype=np.float64)
    if not np.isfinite(values).all() or values.shape[-1] < 2 * len(lead):
        return None
    return values
