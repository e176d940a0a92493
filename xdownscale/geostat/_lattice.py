"""Rows, shifts and distance classes of a rectilinear grid with evenly spaced longitudes.

The distance of two cells depends on their rows and on the shift in longitude alone. Arrays only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import fft

from xdownscale.core.axis import FLOAT32_DEGREES
from xdownscale.core.grids import (
    EARTH_RADIUS_KM,
    Array,
    cell_bounds,
    distances,
    wrap_longitude,
)

_SAME_PLACE = 1e-3  # km: cells that are no farther apart, as at a pole, are in one place
_SAME_SHARE = 1e-6  # of the longest distance, for rounding of the interpolation
_BAND = 10.0  # degrees of latitude in which distances are interpolated
_NODES = 12  # of the interpolation
_WRONG = 1e-6  # km: above this distances are not interpolated
_CHECKED = 8  # rows of a band whose interpolated distances are checked
_SLACK = 1.01  # that distances on the sphere and the ellipsoid may differ by
_NEAR_BOUND = 0.5  # degrees that bearings on the sphere and the ellipsoid may differ by
_HOLES = 4  # columns for one that the grid has


class Geometry(NamedTuple):
    """A rectilinear grid with its distance classes; hashable.

    Attributes
    ----------
    lat : tuple of float
        Latitudes, ascending.
    columns : tuple of int
        Columns that the grid has, from west to east, from 0.
    step : float
        Spacing of the columns in longitude, degrees.
    max_distance : float
        km.
    bins : int
        Distance classes of equal width.
    weighted : bool
        Whether pairs weigh with the areas of both cells.
    directions : tuple of float
        Bearings, degrees; classes are counted for each. Empty: pairs in any direction.
    tolerance : float
        Degrees on either side of a bearing; less than half of what lies between two bearings.
    """

    lat: tuple[float, ...]
    columns: tuple[int, ...]
    step: float
    max_distance: float
    bins: int
    weighted: bool = True
    directions: tuple[float, ...] = ()
    tolerance: float = 0.0

    @property
    def size(self) -> int:
        """Number of classes, of all directions together."""
        return self.bins * max(1, len(self.directions))


class Layout(NamedTuple):
    """Where the cells of an array lie in its geometry.

    Attributes
    ----------
    geometry : Geometry
    rows : ndarray of int, shape (y,)
        Rows of the array from south to north.
    taken : ndarray of int
        Columns of the array from west to east, each meridian once.
    """

    geometry: Geometry
    rows: Array
    taken: Array


class Circle(NamedTuple):
    """Lengths of the transforms along longitude."""

    width: int  # columns of an image
    length: int  # of the transforms
    closed: bool  # whether the last column is followed by the first

    def at(self, shifts: Array) -> Array:
        """Return the places of shifts in what a transform gives."""
        return shifts % self.length


class Row(NamedTuple):
    """The pairs of one row with itself and with those north of it."""

    first: int
    last: int  # exclusive
    shifts: Array  # eastward, in columns, negative ones too
    places: Array  # (row, shift): class, or the number of classes where there is none


def layout(
    lat: Array,
    lon: Array,
    max_distance: float,
    bins: int,
    *,
    weighted: bool = True,
    directions: tuple[float, ...] = (),
    tolerance: float = 0.0,
) -> Layout | None:
    """Lay a rectilinear grid out for transforms along longitude.

    Parameters
    ----------
    lat, lon : array
        Cell centres in degrees; in any order, across Greenwich or not.
    max_distance, bins, weighted, directions, tolerance
        As in `Geometry`.

    Returns
    -------
    Layout or None
        None where the grid is not rectilinear, or its longitudes are not evenly spaced (missing
        columns are allowed).

    Examples
    --------
    >>> found = layout(np.array([1.0, 0.0]), np.array([359.0, 0.0, 2.0]), 500, 5)
    >>> found.rows.tolist(), found.geometry.columns
    ([1, 0], (0, 1, 3))
    >>> layout(np.array([1.0, 0.0]), np.array([0.0, 1.0, 2.1]), 500, 5) is None
    True
    """
    if lat.ndim != 1 or not (np.isfinite(lat).all() and np.isfinite(lon).all()):
        return None
    columns = _columns(lon)
    if columns is None:
        return None
    taken, place, step = columns
    rows = np.argsort(lat, kind="stable")
    geometry = Geometry(
        lat=tuple(lat[rows].tolist()),
        columns=tuple(place.tolist()),
        step=step,
        max_distance=float(max_distance),
        bins=int(bins),
        weighted=weighted,
        directions=directions,
        tolerance=tolerance,
    )
    return Layout(geometry, rows, taken)


def _columns(lon: Array) -> tuple[Array, Array, float] | None:
    """Return meridians from west to east, their columns and the spacing, where that is even."""
    east = np.round(wrap_longitude(lon, 0.0), 6) % 360.0
    order = np.argsort(east, kind="stable")
    order = order[np.diff(east[order], prepend=-np.inf) > FLOAT32_DEGREES]
    if order.size == 1:
        return order, np.zeros(1, int), 360.0
    gaps = np.diff(east[order], append=east[order[0]] + 360.0)
    order = np.roll(order, -(int(np.argmax(gaps)) + 1))
    away = wrap_longitude(east[order] - east[order[0]], -FLOAT32_DEGREES)
    steps = np.diff(away)
    step = float(np.median(steps[steps < 1.5 * steps.min()]))  # the others are holes
    place = np.rint(away / step).astype(int)
    step = float(away[-1] / place[-1])
    around = round(360.0 / step)
    if abs(around * step - 360.0) < FLOAT32_DEGREES * around:  # also where it is rounded
        step = 360.0 / around
    uneven = np.abs(away - place * step).max() > FLOAT32_DEGREES
    if uneven or np.diff(place).min() < 1 or place[-1] > _HOLES * order.size:
        return None
    return order, place, step


def work(geometry: Geometry) -> float:
    """Return pairs of rows within reach, times columns: what one field costs.

    Examples
    --------
    >>> work(layout(np.arange(10.0), np.arange(20.0), 250, 5).geometry)
    540.0
    """
    lat = np.array(geometry.lat)
    return float((_reached(lat, geometry.max_distance) - np.arange(lat.size)).sum()) * (
        geometry.columns[-1] + 1
    )


def _reached(lat: Array, max_distance: float) -> Array:
    """Return for each row the first one north of it that is out of reach."""
    reach = np.degrees(_SLACK * max_distance / EARTH_RADIUS_KM)
    return np.asarray(np.searchsorted(lat, lat + reach, side="right"))


def row_weights(geometry: Geometry) -> Array:
    """Return the area of a cell of each row, relative to the largest; midpoints are edges.

    Examples
    --------
    >>> row_weights(layout(np.array([0.0, 60.0]), np.arange(3.0), 500, 5).geometry).round(2)
    array([1. , 0.5])
    """
    lat = np.array(geometry.lat)
    if lat.size < 2 or not geometry.weighted:
        return np.ones(lat.size)
    height = np.diff(np.sin(np.radians(cell_bounds(lat, (-90.0, 90.0)))))
    return np.asarray(height / height.max())


def circle_of(geometry: Geometry) -> Circle:
    """Return the lengths of images and transforms: closed where pairs are met across the seam."""
    width = geometry.columns[-1] + 1
    around = _around(geometry)
    shifts = int(_shifts(geometry, np.array(geometry.lat)).max(initial=0))
    if around and width + shifts >= around:
        return Circle(around, around, True)
    return Circle(width, int(fft.next_fast_len(width + shifts, real=True)), False)


def _around(geometry: Geometry) -> int:
    """Return the columns of the whole circle; 0 where that is no whole number."""
    around = round(360.0 / geometry.step)
    return around if abs(around * geometry.step - 360.0) < 1e-9 else 0


def _shifts(geometry: Geometry, lat: Array) -> Array:
    """Return the shifts, 0 or more columns, at which cells of some rows may be within reach."""
    around = _around(geometry)
    most = geometry.columns[-1]
    if around and 2 * most > around:
        most = around // 2
    shifts = np.arange(most + 1)
    narrow = max(0.0, float(np.cos(np.radians(np.abs(lat).max()))))
    chord = narrow * np.abs(np.sin(np.radians(geometry.step * shifts / 2)))
    least = 2 * EARTH_RADIUS_KM * np.arcsin(chord)
    return np.asarray(shifts[least <= _SLACK * geometry.max_distance])


def make_rows(geometry: Geometry) -> Iterator[tuple[Row, Array]]:
    """Yield each row with the classes and distances (km) of its pairs."""
    lat = np.array(geometry.lat)
    reached = _reached(lat, geometry.max_distance)
    start = 0
    while start < lat.size:
        stop = int(np.searchsorted(lat, lat[start] + _BAND, side="right"))
        stop = max(stop, start + 1)
        band = _Band(geometry, lat, slice(start, stop), int(reached[stop - 1]))
        for row in range(start, stop):
            yield _classed(geometry, lat, row, band.distances(row, int(reached[row])), band.shifts)
        start = stop


class _Band:
    """Distances of the rows of a band of latitude to those within reach north of them.

    The squared distance is smooth in both latitudes: it is interpolated by polynomials at
    Chebyshev points, where there are more rows than points, and checked.
    """

    def __init__(self, geometry: Geometry, lat: Array, rows: slice, last: int) -> None:
        self._lat = lat
        self._start = rows.start
        self.shifts = _shifts(geometry, lat[rows.start : last])
        self._degrees = geometry.step * self.shifts
        here, self._to_rows = _nodes(lat[rows])
        north, self._to_north = _nodes(lat[rows.start : last])
        ends = (here[:, None, None], 0.0, north[:, None], self._degrees)
        self._squares = distances(*ends) ** 2
        self._exact = not self._agrees(rows.stop, last, geometry.max_distance)

    def _agrees(self, stop: int, last: int, max_distance: float) -> bool:
        """Tell whether some distances within reach are as they should be."""
        rng = np.random.default_rng(0)
        rows = np.append(rng.integers(self._start, stop, _CHECKED), [self._start, stop - 1])
        for row in np.unique(rows):
            found = self._interpolated(int(row), last)
            north = rng.integers(row, last, self.shifts.size)
            true = distances(self._lat[row], 0.0, self._lat[north], self._degrees)
            wrong = np.abs(found[north - row, np.arange(self.shifts.size)] - true)
            if np.any((wrong > _WRONG) & (true > 1.0) & (true < _SLACK * max_distance)):
                return False
        return True

    def _interpolated(self, row: int, last: int) -> Array:
        near = np.tensordot(self._to_rows[row - self._start], self._squares, 1)
        squares = self._to_north[row - self._start : last - self._start] @ near
        return np.asarray(np.sqrt(np.maximum(squares, 0.0)))

    def distances(self, row: int, last: int) -> Array:
        """Return the distances (km) of a row to itself and those up to `last`, by shift."""
        if self._exact:
            return distances(self._lat[row], 0.0, self._lat[row:last, None], self._degrees)
        return self._interpolated(row, last)


def _nodes(lat: Array) -> tuple[Array, Array]:
    """Return the points of an interpolation over latitudes, and the matrix from them to these."""
    if lat.size <= _NODES:
        return lat, np.eye(lat.size)
    middle = (lat[0] + lat[-1]) / 2
    half = (lat[-1] - lat[0]) / 2
    points = np.polynomial.chebyshev.chebpts1(_NODES)
    basis = np.polynomial.chebyshev.chebvander(points, _NODES - 1)
    wanted = np.polynomial.chebyshev.chebvander((lat - middle) / half, _NODES - 1)
    return middle + half * points, np.linalg.solve(basis.T, wanted.T).T


def _classed(
    geometry: Geometry, lat: Array, first: int, km: Array, shifts: Array
) -> tuple[Row, Array]:
    """Return the pairs of a row with their classes, and their distances."""
    apart = max(_SAME_PLACE, _SAME_SHARE * geometry.max_distance)
    good = (km <= geometry.max_distance) & (km > apart)
    rows = np.flatnonzero(good.any(axis=1))
    last = int(rows[-1]) + 1 if rows.size else 1
    used = good.any(axis=0)
    km = km[:last, used]
    shifts = shifts[used]
    uppers = np.linspace(0.0, geometry.max_distance, geometry.bins + 1)[1:]
    place = np.minimum(np.digitize(km, uppers), geometry.bins - 1)  # max_distance itself counts
    place[~good[:last, used]] = geometry.size
    around = _around(geometry)
    west = (shifts > 0) & (2 * shifts != around)
    both = np.concatenate([place, place[:, west]], axis=1)
    signed = np.concatenate([shifts, -shifts[west]])
    if geometry.directions:
        sector = _sectors(geometry, lat[first : first + last], signed)
        off = (sector < 0) | (both == geometry.size)
        both = np.where(off, geometry.size, both + geometry.bins * sector)
    kind = np.int16 if geometry.size < np.iinfo(np.int16).max else np.int32
    distance = np.concatenate([km, km[:, west]], axis=1)
    return Row(first, first + last, signed, both.astype(kind)), distance


def _sectors(geometry: Geometry, lat: Array, shifts: Array) -> Array:
    """Return which direction each pair has, -1 for none: by the bearing at its southern cell."""
    degrees = np.tile(geometry.step * shifts, (lat.size, 1))
    degrees[0] = np.abs((degrees[0] + 180) % 360 - 180)  # within a row: at its western cell
    bearing = _sphere_bearing(lat[0], lat[:, None], degrees)
    off = _off(bearing, geometry.directions)
    near = np.abs(off - geometry.tolerance).min(axis=-1) < _NEAR_BOUND
    if near.any():
        from pyproj import Geod  # late: half as heavy as xarray

        north = np.broadcast_to(lat[:, None], near.shape)[near]
        start = np.full(north.size, lat[0])
        exact = Geod(ellps="WGS84").inv(np.zeros(north.size), start, degrees[near], north)[0]
        off[near] = _off(np.asarray(exact), geometry.directions)
    nearest = np.argmin(off, axis=-1)
    inside = np.min(off, axis=-1) <= geometry.tolerance
    return np.where(inside, nearest, -1)


def _off(bearing: Array, directions: tuple[float, ...]) -> Array:
    """Return the angles (degrees, up to 90) between bearings and directions, which have no sign."""
    return np.asarray(np.abs((bearing[..., None] - np.array(directions) + 90) % 180 - 90))


def _sphere_bearing(lat1: float, lat2: Array, east: Array) -> Array:
    y1 = np.radians(lat1)
    y2 = np.radians(lat2)
    x = np.radians(east)
    across = np.sin(x) * np.cos(y2)
    along = np.cos(y1) * np.sin(y2) - np.sin(y1) * np.cos(y2) * np.cos(x)
    return np.asarray(np.degrees(np.arctan2(across, along)))
