"""Random pairs of cells, sorted by distance class. Arrays only, no labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xdownscale.cells import EARTH_RADIUS_KM, Array
from xdownscale.errors import GridError
from xdownscale.geostat._spots import Spots, spots
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
    lat, lon : array
        Cell centres in degrees: shapes (y,) and (x,) of a rectilinear grid, or both (y, x), with
        NaN where there is no cell.
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
    >>> degrees = np.array([0.0, 1.0])
    >>> draw_pairs(degrees, degrees, max_distance=120, bins=3, pairs=6).counts
    array([0, 0, 4])
    """
    cells = spots(lat, lon)
    if cells.size * (cells.size - 1) // 2 <= pairs:
        ends = np.triu_indices(cells.size, 1)
        one, other, km = _near(cells, *ends, max_distance, direction)
    else:
        one, other, km = _draw(cells, max_distance, pairs, direction, np.random.default_rng(seed))
    if one.size == 0:
        way = f" in direction {direction}" if direction else ""
        raise GridError(
            f"No two of the {cells.size} cells are within {max_distance:g} km of each other{way}; "
            "give a larger max_distance, of several times the grid spacing."
        )
    return _sorted(cells.place(one), cells.place(other), km, max_distance, bins)


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
    cells: Spots, max_distance: float, pairs: int, direction: str | None, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Draw until there are enough, or hardly any new ones are found."""
    found, far = np.empty(0, dtype=np.int64), np.empty(0)
    for _ in range(_ROUNDS):
        tries = (pairs - found.size) * 5 // 4 + 1000
        ends = _throw(cells, tries, max_distance, direction, rng)
        one, other, km = _near(cells, *ends, max_distance, direction)
        keys = np.minimum(one, other) * cells.size + np.maximum(one, other)
        keys, far = np.concatenate([found, keys]), np.concatenate([far, km])
        fresh = np.sort(np.unique(keys, return_index=True)[1])
        gained, found, far = fresh.size - found.size, keys[fresh], far[fresh]
        if found.size >= pairs or gained < tries // 500:
            break
    one, other = np.divmod(found[:pairs], cells.size)
    return one, other, far[:pairs]


def _throw(
    cells: Spots, tries: int, max_distance: float, direction: str | None, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw cells, and the cells at a random distance and bearing; those off the grid go."""
    one = cells.draw(tries, rng)
    angle = max_distance * rng.random(tries) / EARTH_RADIUS_KM
    turn = rng.random(tries)
    if direction is None:
        bearing = 360.0 * turn
    else:
        back = 180.0 * rng.integers(2, size=tries)
        bearing = DIRECTIONS[direction] + back + TOLERANCE * (2 * turn - 1)
    other, inside = cells.find(*_ahead(*cells.position(one), bearing, angle))
    return one[inside], other[inside]


def _ahead(lat: Array, lon: Array, bearing: Array, angle: Array) -> tuple[Array, Array]:
    """Latitude and longitude at an angle (radians) along great circles."""
    y, turn = np.radians(lat), np.radians(bearing)
    sine = np.sin(y) * np.cos(angle) + np.cos(y) * np.sin(angle) * np.cos(turn)
    across = np.sin(turn) * np.sin(angle) * np.cos(y)
    east = np.arctan2(across, np.cos(angle) - np.sin(y) * sine)
    return np.degrees(np.arcsin(np.clip(sine, -1, 1))), lon + np.degrees(east)


def _near(
    cells: Spots, one: Array, other: Array, max_distance: float, direction: str | None
) -> tuple[Array, Array, Array]:
    """Keep the pairs that are two cells, close enough, and lie in the direction; add their km."""
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
