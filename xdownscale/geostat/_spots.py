"""Cell centres that can be drawn by area and looked up by position. Arrays only, no labels.

Cells are numbered from south to north and, from Greenwich, eastward: the number of a cell depends
neither on the orientation of the grid nor on its longitude convention.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree

from xdownscale.cells import SAME_DEGREES, Array, wrap_longitude


class Spots(Protocol):
    """What drawing pairs asks of a grid."""

    size: int

    def position(self, number: Array) -> tuple[Array, Array]:
        """Return latitude and longitude of cells."""

    def place(self, number: Array) -> Array:
        """Return where cells lie in the flattened grid, as it was given."""

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Draw cells uniformly over the area of the grid."""

    def find(self, lat: Array, lon: Array) -> tuple[Array, Array]:
        """Return the cells nearest to points, and which points really lie in them."""


def spots(lat: Array, lon: Array) -> Spots:
    """Return the cells of a grid.

    Parameters
    ----------
    lat, lon : array
        Degrees: shapes (y,) and (x,) of a rectilinear grid, or both (y, x), with NaN where there
        is no cell.

    Returns
    -------
    Spots

    Examples
    --------
    >>> cells = spots(np.array([1.0, 0.0]), np.array([359.0, 0.0]))
    >>> cells.place(np.arange(4))
    array([3, 2, 1, 0])
    """
    if lat.ndim == 2:
        return _Scatter(lat, lon)
    if min(lat.size, lon.size) > 1 and np.isfinite(lat).all() and np.isfinite(lon).all():
        return _Lattice(lat, lon)
    return _Scatter(*np.meshgrid(lat, lon, indexing="ij"))


def _eastward(lon: Array) -> Array:
    """Longitudes from 0 to 360, ready to be ranked; rounding does not move any past Greenwich."""
    return np.round(wrap_longitude(lon, 0.0), 6) % 360.0


class _Lattice:
    """Rectilinear grid: cells are found by row and column."""

    def __init__(self, lat: Array, lon: Array) -> None:
        self._rows, self._columns = np.argsort(lat), np.argsort(_eastward(lon))
        self._lat, self._lon = lat[self._rows], _eastward(lon)[self._columns]
        steps = np.diff(self._lat)
        self._height = np.minimum(np.append(steps, np.inf), np.append(np.inf, steps))
        gaps = np.diff(self._lon, append=self._lon[0] + 360)
        self._width = np.minimum(gaps, np.roll(gaps, 1))
        self._by_row = np.cumsum(self._height * np.cos(np.radians(self._lat)))
        self._by_column = np.cumsum(self._width)
        self.size = lat.size * lon.size

    def position(self, number: Array) -> tuple[Array, Array]:
        row, column = np.divmod(number, self._lon.size)
        return self._lat[row], self._lon[column]

    def place(self, number: Array) -> Array:
        row, column = np.divmod(number, self._lon.size)
        places: Array = self._rows[row] * self._lon.size + self._columns[column]
        return places

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        row, column = (_weighted(w, count, rng) for w in (self._by_row, self._by_column))
        return row * self._lon.size + column

    def find(self, lat: Array, lon: Array) -> tuple[Array, Array]:
        row: Array = np.searchsorted((self._lat[1:] + self._lat[:-1]) / 2, lat)
        round_again = np.concatenate([self._lon[-1:] - 360, self._lon, self._lon[:1] + 360])
        middles = (round_again[1:] + round_again[:-1]) / 2
        column = (np.searchsorted(middles, wrap_longitude(lon, 0.0)) - 1) % self._lon.size
        east = np.abs((lon - self._lon[column] + 180) % 360 - 180)
        north = np.abs(lat - self._lat[row])
        inside = north <= self._height[row] / 2 + SAME_DEGREES
        inside &= east <= self._width[column] / 2 + SAME_DEGREES
        return row * self._lon.size + column, inside


class _Scatter:
    """Cells anywhere: the nearest is found by a tree on the unit sphere."""

    def __init__(self, lat: Array, lon: Array) -> None:
        order = np.lexsort((_eastward(lon).ravel(), np.round(lat, 6).ravel()))
        self._places = order[np.isfinite(lat + lon).ravel()[order]]
        self.size = self._places.size
        self._lat, self._lon = lat.ravel()[self._places], lon.ravel()[self._places]
        whole = _unit(lat, lon)
        height, width = (_steps(whole, axis).ravel()[self._places] for axis in (0, 1))
        self._reach = np.hypot(height, width) / 2
        self._by_cell = np.cumsum(height * width)
        points = whole.reshape(-1, 3)[self._places]
        self._tree = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def position(self, number: Array) -> tuple[Array, Array]:
        return self._lat[number], self._lon[number]

    def place(self, number: Array) -> Array:
        places: Array = self._places[number]
        return places

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        return _weighted(self._by_cell, count, rng)

    def find(self, lat: Array, lon: Array) -> tuple[Array, Array]:
        chord, number = self._tree.query(_unit(lat, lon))
        number = np.asarray(number)
        inside: Array = chord <= self._reach[number]
        return number, inside


def _weighted(cumulated: Array, count: int, rng: np.random.Generator) -> Array:
    """Draw places with the weights whose running sum is given."""
    at = np.searchsorted(cumulated, cumulated[-1] * rng.random(count), side="right")
    drawn: Array = np.minimum(at, cumulated.size - 1)
    return drawn


def _unit(lat: Array, lon: Array) -> Array:
    """Return unit vectors, shape (..., 3)."""
    y, x = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)


def _steps(points: Array, axis: int) -> Array:
    """Distance to the nearer neighbour along an axis; one where there is a single row."""
    if points.shape[axis] < 2:
        return np.ones(points.shape[:-1])
    steps = np.linalg.norm(np.diff(points, axis=axis), axis=-1)
    pad = [(1, 1) if a == axis else (0, 0) for a in range(2)]
    around = np.pad(np.nan_to_num(steps, nan=np.inf), pad, constant_values=np.inf)
    size = points.shape[axis]
    behind, before = (np.take(around, np.arange(k, size + k), axis=axis) for k in (0, 1))
    nearer = np.minimum(behind, before)
    return np.where(np.isfinite(nearer), nearer, 0.0)
