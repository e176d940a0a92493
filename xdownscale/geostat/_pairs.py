"""Random pairs of cells, sorted by distance class. Arrays only, no labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from xdownscale.cells import EARTH_RADIUS_KM, Array, wrap_longitude
from xdownscale.errors import GridError
from xdownscale.grids import distances

DIRECTIONS = {"N-S": 0.0, "E-W": 90.0}
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
        Mean distance of these, km; NaN where there are none.
    """

    cells: Array
    first: Array
    second: Array
    counts: Array
    distance: Array


def draw_pairs(
    lat: Array,
    lon: Array,
    max_distance: float,
    bins: int,
    pairs: int,
    direction: str | None = None,
    seed: int = 0,
) -> Pairs:
    """Draw different pairs of cells whose distances fill all classes alike.

    One end is drawn uniformly over the area of the grid; the other lies at a uniform distance in
    a uniform direction from it, and is moved to the centre of its cell. A grid with no more pairs
    than asked for gives all of them.

    Parameters
    ----------
    lat, lon : array, shape (y, x)
        Cell centres in degrees; NaN where there is no cell.
    max_distance : float
        Longest distance, km.
    bins : int
        Distance classes of equal width.
    pairs : int
        How many pairs to draw; fewer come back where the grid has no more.
    direction : {"N-S", "E-W"}, optional
        Only pairs whose initial bearing is within 22.5 degrees of it.
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
    >>> lat, lon = np.meshgrid([0.0, 1.0], [0.0, 1.0], indexing="ij")
    >>> draw_pairs(lat, lon, max_distance=120, bins=3, pairs=6).counts
    array([0, 0, 4])
    """
    order = _canonical(lat.ravel(), lon.ravel())
    spots = _Spots(lat, lon, order)
    if order.size * (order.size - 1) // 2 <= pairs:
        one, other = np.triu_indices(order.size, 1)
        km = spots.apart(one, other)
        near = spots.near(one, other, km, max_distance, direction)
        one, other, km = one[near], other[near], km[near]
    else:
        one, other, km = _draw(spots, max_distance, pairs, direction, np.random.default_rng(seed))
    if one.size == 0:
        way = f" in direction {direction}" if direction else ""
        raise GridError(
            f"No two of the {order.size} cells are within {max_distance:g} km of each other{way}; "
            "give a larger max_distance, of several times the grid spacing."
        )
    return _sorted(order[one], order[other], km, max_distance, bins)


def _canonical(lat: Array, lon: Array) -> Array:
    """Finite cells in an order that depends neither on orientation nor on longitude convention."""
    east = np.round(wrap_longitude(lon, 0.0), 6) % 360.0
    order = np.lexsort((east, np.round(lat, 6)))
    finite: Array = order[np.isfinite(lat + lon)[order]]
    return finite


def _sorted(one: Array, other: Array, km: Array, max_distance: float, bins: int) -> Pairs:
    uppers = np.linspace(0.0, max_distance, bins + 1)[1:]
    place = np.minimum(np.digitize(km, uppers), bins - 1)  # max_distance itself counts
    by_class = np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=km, minlength=bins)
    mean = np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)
    cells, ends = np.unique(np.stack([one, other])[:, by_class], return_inverse=True)
    first, second = ends.reshape(2, -1)
    return Pairs(cells, first, second, counts, mean)


def _draw(
    spots: _Spots, max_distance: float, pairs: int, direction: str | None, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Draw until there are enough, or hardly any new ones are found."""
    found, far = np.empty(0, dtype=np.int64), np.empty(0)
    for _ in range(_ROUNDS):
        tries = (pairs - found.size) * 5 // 4 + 1000
        one, other = spots.throw(tries, max_distance, direction, rng)
        km = spots.apart(one, other)
        near = spots.near(one, other, km, max_distance, direction)
        low, high = np.minimum(one, other)[near], np.maximum(one, other)[near]
        keys, far = np.concatenate([found, low * spots.size + high]), np.append(far, km[near])
        fresh = np.sort(np.unique(keys, return_index=True)[1])
        gained, found, far = fresh.size - found.size, keys[fresh], far[fresh]
        if found.size >= pairs or gained < tries // 500:
            break
    one, other = np.divmod(found[:pairs], spots.size)
    return one, other, far[:pairs]


class _Spots:
    """Cell centres on the unit sphere, ready to be drawn and looked up."""

    def __init__(self, lat: Array, lon: Array, order: Array) -> None:
        self.size = order.size
        east = wrap_longitude(lon, 0.0)
        self.lat, self.lon = lat.ravel()[order], east.ravel()[order]
        whole = _unit(lat, east)
        height, width = (_steps(whole, axis).ravel()[order] for axis in (0, 1))
        self.points = whole.reshape(-1, 3)[order]
        self.reach = np.hypot(height, width) / 2
        share = np.cumsum(height * width)
        self.share = share / share[-1]
        self.tree = cKDTree(self.points, balanced_tree=False, compact_nodes=False)

    def apart(self, one: Array, other: Array) -> Array:
        return distances(self.lat[one], self.lon[one], self.lat[other], self.lon[other])

    def near(
        self, one: Array, other: Array, km: Array, max_distance: float, direction: str | None
    ) -> Array:
        """Tell which pairs are two cells, close enough, and lie in the direction."""
        good = (km > 0) & (km <= max_distance)
        if direction is not None:
            off = self._bearing(one, other) - DIRECTIONS[direction]
            good &= np.abs((off + 90) % 180 - 90) <= TOLERANCE
        return good

    def throw(
        self, tries: int, max_distance: float, direction: str | None, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Draw cells, and the cells at a random distance and bearing; those off the grid go."""
        at: Array = np.searchsorted(self.share, rng.random(tries), side="right")
        one = np.minimum(at, self.size - 1)
        angle = max_distance * rng.random(tries) / EARTH_RADIUS_KM
        turn = rng.random(tries)
        if direction is None:
            bearing = 360.0 * turn
        else:
            back = 180.0 * rng.integers(2, size=tries)
            bearing = DIRECTIONS[direction] + back + TOLERANCE * (2 * turn - 1)
        near_by = np.argsort(one)  # neighbours one after another: the tree is quicker
        ends = self._ahead(one, np.radians(bearing), angle)[near_by]
        chord, other = np.empty(tries), np.empty(tries, dtype=np.int64)
        chord[near_by], other[near_by] = self.tree.query(ends)
        hit: Array = chord <= self.reach[other]
        return one[hit], other[hit]

    def _ahead(self, one: Array, bearing: Array, angle: Array) -> Array:
        """Points at an angle from cells along great circles."""
        north = _unit(self.lat[one] + 90.0, self.lon[one])
        east = _unit(np.zeros(one.size), self.lon[one] + 90.0)
        way = north * np.cos(bearing)[:, None] + east * np.sin(bearing)[:, None]
        ahead: Array = self.points[one] * np.cos(angle)[:, None] + way * np.sin(angle)[:, None]
        return ahead

    def _bearing(self, one: Array, other: Array) -> Array:
        from pyproj import Geod  # late: half as heavy as xarray

        ends = self.lon[one], self.lat[one], self.lon[other], self.lat[other]
        return np.asarray(Geod(ellps="WGS84").inv(*ends)[0])


def _unit(lat: Array, lon: Array) -> Array:
    """Return unit vectors, shape (..., 3)."""
    y, x = np.radians(np.asarray(lat, dtype=np.float64)), np.radians(lon)
    points, ring = np.empty((*y.shape, 3)), np.cos(y)
    points[..., 0], points[..., 1], points[..., 2] = ring * np.cos(x), ring * np.sin(x), np.sin(y)
    return points


def _steps(points: Array, axis: int) -> Array:
    """Distance to the nearer neighbour along an axis; one where there is a single row."""
    if points.shape[axis] < 2:
        return np.ones(points.shape[:-1])
    gaps = np.diff(points, axis=axis)
    steps = np.sqrt(np.einsum("...k,...k->...", gaps, gaps))
    pad = [(1, 1) if a == axis else (0, 0) for a in range(2)]
    around = np.pad(np.nan_to_num(steps, nan=np.inf), pad, constant_values=np.inf)
    size = points.shape[axis]
    behind, before = (np.take(around, np.arange(k, size + k), axis=axis) for k in (0, 1))
    nearer = np.minimum(behind, before)
    return np.where(np.isfinite(nearer), nearer, 0.0)
