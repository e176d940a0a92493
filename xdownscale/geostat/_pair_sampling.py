"""Sample pairs of grid cells by distance. Arrays only, no labels.

Cells are sampled by area and found by position. They are numbered from south to north and, from
Greenwich, eastward: the number of a cell depends neither on the orientation of the grid nor on its
longitude convention.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from scipy.spatial import cKDTree

from xdownscale.core.errors import GridError
from xdownscale.core.grids import EARTH_RADIUS_KM, SAME_DEGREES, Array, distances, wrap_longitude

DIRECTIONS = {"N-S": 0.0, "E-W": 90.0}
ROSE = tuple(22.5 * k for k in range(8))  # bearings, degrees
TOLERANCE = 22.5  # degrees on either side of the direction, as scikit-gstat's default
_ROUNDS = 200


class Pairs(NamedTuple):
    """Pairs of cells, sorted by distance class.

    Attributes
    ----------
    cells : ndarray of int, shape (n,)
        Cells that are in a pair: places in the flattened grid, ascending.
    first, second : ndarray of int, shape (m,)
        The two ends of each pair: places in `cells`.
    counts : ndarray of int, shape (bins,)
        Pairs in each class ``[lower, upper)``.
    distance : ndarray, shape (bins,)
        Mean distance of these, km; NaN where there are none. With several directions ``bins`` is
        the number of classes of all of them.
    whole : bool
        Whether these are all pairs within reach.
    """

    cells: Array
    first: Array
    second: Array
    counts: Array
    distance: Array
    whole: bool = False


def sample_pairs(
    lat: Array,
    lon: Array,
    max_distance: float,
    bins: int,
    pairs: int,
    direction: str | None = None,
    seed: int = 0,
) -> Pairs:
    """Sample distinct pairs of cells that fill all distance classes alike.

    One end is sampled uniformly over the area of the grid; the other lies at a uniform distance in
    a uniform direction from it, and is moved to the centre of its cell. A grid with no more pairs
    than asked for gives all of them.

    Parameters
    ----------
    lat, lon : array
        Cell centres in degrees: shapes (y,) and (x,) of a rectilinear grid, or both (y, x), with
        NaN where there is no cell.
    max_distance : float
        Longest distance, km.
    bins : int
        Distance classes of equal width.
    pairs : int
        How many pairs to sample; fewer come back where the grid has no more.
    direction : {"N-S", "E-W", "all"}, optional
        Only pairs whose initial bearing is within 22.5 degrees of it; ``"all"`` sorts the pairs
        into the classes of each bearing in `ROSE`.
    seed : int
        The same seed gives the same pairs on the same grid.

    Returns
    -------
    Pairs

    Raises
    ------
    GridError
        If no two cells are that close.

    Examples
    --------
    >>> degrees = np.array([0.0, 1.0])
    >>> sample_pairs(degrees, degrees, max_distance=120, bins=3, pairs=6).counts
    array([0, 0, 4])
    """
    cells = grid_cells(lat, lon)
    whole = cells.size * (cells.size - 1) // 2 <= pairs
    wanted = None if direction == "all" else direction
    if whole:
        ends = np.triu_indices(cells.size, 1)
        one, other, km = _within_reach(cells, *ends, max_distance, wanted)
    else:
        one, other, km = _sample(cells, max_distance, pairs, wanted, np.random.default_rng(seed))
    if one.size == 0:
        way = f" in direction {direction}" if direction else ""
        raise GridError(
            f"No two of the {cells.size} cells are within {max_distance:g} km of each other{way}; "
            "give a larger max_distance, of several times the grid spacing."
        )
    place = _class_of(km, max_distance, bins)
    size = bins
    if direction == "all":
        bearing = _bearings(*cells.position(one), *cells.position(other))
        place = place + bins * nearest_bearing(bearing)
        size = bins * len(ROSE)
    return _sort_by_class(cells.place(one), cells.place(other), km, place, size)._replace(
        whole=whole
    )


def nearest_bearing(bearing: Array) -> Array:
    """Return which bearing in `ROSE` is nearest; a pair has no sense, so 180 is 0.

    Examples
    --------
    >>> nearest_bearing(np.array([1.0, -1.0, 46.0, 226.0]))
    array([0, 0, 2, 2])
    """
    step = 180.0 / len(ROSE)
    return np.asarray(np.floor(bearing / step + 0.5).astype(int) % len(ROSE))


def _class_of(km: Array, max_distance: float, bins: int) -> Array:
    uppers = np.linspace(0.0, max_distance, bins + 1)[1:]
    return np.asarray(np.minimum(np.digitize(km, uppers), bins - 1))  # max_distance itself counts


def _sample(
    cells: GridCells,
    max_distance: float,
    pairs: int,
    direction: str | None,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Sample until there are enough pairs, or hardly any new ones are found."""
    found = np.empty(0, dtype=np.int64)
    far = np.empty(0)
    for _ in range(_ROUNDS):
        tries = (pairs - found.size) * 5 // 4 + 1000
        ends = _candidates(cells, tries, max_distance, direction, rng)
        one, other, km = _within_reach(cells, *ends, max_distance, direction)
        keys = np.minimum(one, other) * cells.size + np.maximum(one, other)
        keys = np.concatenate([found, keys])
        far = np.concatenate([far, km])
        fresh = np.sort(np.unique(keys, return_index=True)[1])
        gained = fresh.size - found.size
        found = keys[fresh]
        far = far[fresh]
        if found.size >= pairs or gained < tries // 500:
            break
    one, other = np.divmod(found[:pairs], cells.size)
    return one, other, far[:pairs]


def _candidates(
    cells: GridCells,
    tries: int,
    max_distance: float,
    direction: str | None,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Sample cells, and cells at a random distance and bearing; drop those off the grid."""
    one = cells.sample(tries, rng)
    angle = max_distance * rng.random(tries) / EARTH_RADIUS_KM
    turn = rng.random(tries)
    if direction is None:
        bearing = 360.0 * turn
    else:
        back = 180.0 * rng.integers(2, size=tries)
        bearing = DIRECTIONS[direction] + back + TOLERANCE * (2 * turn - 1)
    other, inside = cells.find(*_destination(*cells.position(one), bearing, angle))
    return one[inside], other[inside]


def _destination(lat: Array, lon: Array, bearing: Array, angle: Array) -> tuple[Array, Array]:
    """Return the point at a bearing and angular distance (radians) along a great circle."""
    y = np.radians(lat)
    turn = np.radians(bearing)
    sine = np.sin(y) * np.cos(angle) + np.cos(y) * np.sin(angle) * np.cos(turn)
    across = np.sin(turn) * np.sin(angle) * np.cos(y)
    east = np.arctan2(across, np.cos(angle) - np.sin(y) * sine)
    return np.degrees(np.arcsin(np.clip(sine, -1, 1))), lon + np.degrees(east)


def _within_reach(
    cells: GridCells, one: Array, other: Array, max_distance: float, direction: str | None
) -> tuple[Array, Array, Array]:
    """Keep pairs of two cells, near enough and in the direction; add their distances (km)."""
    ends = (*cells.position(one), *cells.position(other))
    km = distances(*ends)
    good = (km > 0) & (km <= max_distance)
    if direction is not None:
        off = _bearings(*ends) - DIRECTIONS[direction]
        good &= np.abs((off + 90) % 180 - 90) <= TOLERANCE
    return one[good], other[good], km[good]


def _bearings(lat1: Array, lon1: Array, lat2: Array, lon2: Array) -> Array:
    from pyproj import Geod  # late: half as heavy as xarray

    return np.asarray(Geod(ellps="WGS84").inv(lon1, lat1, lon2, lat2)[0])


def _sort_by_class(one: Array, other: Array, km: Array, place: Array, bins: int) -> Pairs:
    by_class = np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=km, minlength=bins)
    mean = np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)
    cells, ends = np.unique(np.stack([one, other])[:, by_class], return_inverse=True)
    first, second = ends.reshape(2, -1)
    return Pairs(cells, first, second, counts, mean)


class GridCells(Protocol):
    """The cells of a grid, which can be sampled by area and found by position."""

    size: int

    def position(self, number: Array) -> tuple[Array, Array]:
        """Return latitude and longitude of cells."""

    def place(self, number: Array) -> Array:
        """Return the places of cells in the flattened grid, as it was given."""

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Sample cells uniformly over the area of the grid."""

    def find(self, lat: Array, lon: Array) -> tuple[Array, Array]:
        """Return the cells nearest to points, and whether the points lie in them."""


def grid_cells(lat: Array, lon: Array) -> GridCells:
    """Return the cells of a grid.

    Parameters
    ----------
    lat, lon : array
        Degrees: shapes (y,) and (x,) of a rectilinear grid, or both (y, x), with NaN where there
        is no cell.

    Returns
    -------
    GridCells

    Examples
    --------
    >>> cells = grid_cells(np.array([1.0, 0.0]), np.array([359.0, 0.0]))
    >>> cells.place(np.arange(4))
    array([3, 2, 1, 0])
    """
    if lat.ndim == 2:
        return _ScatteredCells(lat, lon)
    if min(lat.size, lon.size) > 1 and np.isfinite(lat).all() and np.isfinite(lon).all():
        return _RectilinearCells(lat, lon)
    return _ScatteredCells(*np.meshgrid(lat, lon, indexing="ij"))


class _RectilinearCells:
    """Cells of a rectilinear grid, found by row and column."""

    def __init__(self, lat: Array, lon: Array) -> None:
        self._rows = np.argsort(lat)
        self._columns = np.argsort(_eastward(lon))
        self._lat = lat[self._rows]
        self._lon = _eastward(lon)[self._columns]
        steps = np.diff(self._lat)
        self._height = np.minimum(np.append(steps, np.inf), np.append(np.inf, steps))
        gaps = np.diff(self._lon, append=self._lon[0] + 360)
        self._width = np.minimum(gaps, np.roll(gaps, 1))
        self._row_weights = np.cumsum(self._height * np.cos(np.radians(self._lat)))
        self._column_weights = np.cumsum(self._width)
        self.size = lat.size * lon.size

    def position(self, number: Array) -> tuple[Array, Array]:
        row, column = np.divmod(number, self._lon.size)
        return self._lat[row], self._lon[column]

    def place(self, number: Array) -> Array:
        row, column = np.divmod(number, self._lon.size)
        places: Array = self._rows[row] * self._lon.size + self._columns[column]
        return places

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        row = _weighted(self._row_weights, count, rng)
        column = _weighted(self._column_weights, count, rng)
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


class _ScatteredCells:
    """Cells at any positions, found by a k-d tree on the unit sphere."""

    def __init__(self, lat: Array, lon: Array) -> None:
        order = np.lexsort((_eastward(lon).ravel(), np.round(lat, 6).ravel()))
        self._places = order[np.isfinite(lat + lon).ravel()[order]]
        self.size = self._places.size
        self._lat = lat.ravel()[self._places]
        self._lon = lon.ravel()[self._places]
        whole = _unit(lat, lon)
        height = _steps(whole, 0).ravel()[self._places]
        width = _steps(whole, 1).ravel()[self._places]
        self._reach = np.hypot(height, width) / 2
        self._cell_weights = np.cumsum(height * width)
        points = whole.reshape(-1, 3)[self._places]
        self._tree = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def position(self, number: Array) -> tuple[Array, Array]:
        return self._lat[number], self._lon[number]

    def place(self, number: Array) -> Array:
        places: Array = self._places[number]
        return places

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        return _weighted(self._cell_weights, count, rng)

    def find(self, lat: Array, lon: Array) -> tuple[Array, Array]:
        chord, number = self._tree.query(_unit(lat, lon))
        number = np.asarray(number)
        inside: Array = chord <= self._reach[number]
        return number, inside


def _eastward(lon: Array) -> Array:
    """Return longitudes from 0 to 360; rounding does not move any past Greenwich."""
    return np.round(wrap_longitude(lon, 0.0), 6) % 360.0


def _weighted(cumulated: Array, count: int, rng: np.random.Generator) -> Array:
    """Sample places with the weights whose running sum is given."""
    at = np.searchsorted(cumulated, cumulated[-1] * rng.random(count), side="right")
    places: Array = np.minimum(at, cumulated.size - 1)
    return places


def _unit(lat: Array, lon: Array) -> Array:
    """Return unit vectors, shape (..., 3)."""
    y = np.radians(lat)
    x = np.radians(lon)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)


def _steps(points: Array, axis: int) -> Array:
    """Return the distance to the nearer neighbour along an axis; 1 where there is a single row."""
    if points.shape[axis] < 2:
        return np.ones(points.shape[:-1])
    steps = np.linalg.norm(np.diff(points, axis=axis), axis=-1)
    pad = [(1, 1) if a == axis else (0, 0) for a in range(2)]
    around = np.pad(np.nan_to_num(steps, nan=np.inf), pad, constant_values=np.inf)
    size = points.shape[axis]
    before = np.take(around, np.arange(size), axis=axis)
    behind = np.take(around, np.arange(1, size + 1), axis=axis)
    nearer = np.minimum(before, behind)
    return np.where(np.isfinite(nearer), nearer, 0.0)
