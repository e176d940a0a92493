"""Points and polygons on the sphere, as unit vectors (arrays only)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def to_vectors(latitude: Array, longitude: Array) -> Array:
    """Return unit vectors of points on the sphere.

    Parameters
    ----------
    latitude, longitude : array
        Degrees, broadcast against each other.

    Returns
    -------
    ndarray, shape (..., 3)

    Examples
    --------
    >>> to_vectors(np.array([90.0]), np.array([10.0])).round(6)
    array([[0., 0., 1.]])
    """
    lat = np.radians(np.asarray(latitude, dtype=np.float64))
    lon = np.radians(np.asarray(longitude, dtype=np.float64))
    flat = np.cos(lat)
    parts = np.broadcast_arrays(flat * np.cos(lon), flat * np.sin(lon), np.sin(lat))
    return np.stack(parts, axis=-1)


def to_degrees(vectors: Array) -> tuple[Array, Array]:
    """Return latitude and longitude of vectors, whose length does not matter.

    Parameters
    ----------
    vectors : array, shape (..., 3)

    Returns
    -------
    (ndarray, ndarray)
        Degrees, longitudes in [-180, 180].

    Examples
    --------
    >>> to_degrees(np.array([0.0, 2.0, 0.0]))
    (array(0.), array(90.))
    """
    flat = np.hypot(vectors[..., 0], vectors[..., 1])
    latitude = np.degrees(np.arctan2(vectors[..., 2], flat))
    longitude = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0]))
    return np.asarray(latitude), np.asarray(longitude)


def unit(vectors: Array) -> Array:
    """Return vectors (..., 3) of length one."""
    scaled: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def angle(one: Array, other: Array) -> Array:
    """Return the angles between unit vectors (..., 3), in radians, exact for small ones too."""
    chord = np.linalg.norm(one - other, axis=-1)
    angles: Array = 2 * np.arcsin(np.minimum(chord / 2, 1.0))
    return angles


def reflect(point: Array, centre: Array) -> Array:
    """Return the points as far beyond `centre` as `point` is before it, unit vectors (..., 3)."""
    along = (point * centre).sum(axis=-1, keepdims=True)
    return unit(2 * along * centre - point)


def triangle_areas(a: Array, b: Array, c: Array) -> Array:
    """Return signed areas of spherical triangles, positive where a, b, c turn left.

    Parameters
    ----------
    a, b, c : array, shape (..., 3)
        Unit vectors of the corners; sides are parts of great circles.

    Returns
    -------
    ndarray, shape (...)
        Steradians.

    Notes
    -----
    ``tan(E / 2) = a . (b x c) / (1 + a . b + b . c + c . a)``. The numerator is taken from
    differences of the corners, ``a . ((b - a) x (c - a))``, so that small triangles keep their
    digits.

    References
    ----------
    Van Oosterom and Strackee (1983), doi:10.1109/TBME.1983.325207.

    Examples
    --------
    >>> float(triangle_areas(*np.eye(3)) / np.pi)  # an eighth of the sphere
    0.5
    """
    volume = (a * np.cross(b - a, c - a)).sum(axis=-1)
    sums = 1 + (a * b).sum(axis=-1) + (b * c).sum(axis=-1) + (c * a).sum(axis=-1)
    areas: Array = 2 * np.arctan2(volume, sums)
    return areas


def polygon_areas(corners: Array) -> Array:
    """Return signed areas of spherical polygons, positive where the corners turn left.

    Parameters
    ----------
    corners : array, shape (..., k, 3)
        Unit vectors; neighbours may be equal. Sides are parts of great circles.

    Returns
    -------
    ndarray, shape (...)
        Steradians; of polygons that are smaller than a hemisphere.

    Examples
    --------
    >>> lon = np.array([0.0, 90.0, 180.0, 270.0])
    >>> cap = to_vectors(np.full(4, 45.0), lon)  # round the pole
    >>> bool(0 < polygon_areas(cap) < 2 * np.pi)
    True
    """
    count = corners.shape[-2]
    first = corners[..., 0, :]
    total = np.zeros(corners.shape[:-2])
    for k in range(1, count - 1):
        total += triangle_areas(first, corners[..., k, :], corners[..., k + 1, :])
    return total


def turns(corners: Array) -> Array:
    """Return how much each corner of quadrilaterals turns left, shape (..., k).

    Parameters
    ----------
    corners : array, shape (..., k, 3)
        Unit vectors of polygons.

    Returns
    -------
    ndarray, shape (..., k)
        Positive at a left turn, negative at a right one, NaN where a corner is.

    Examples
    --------
    >>> square = to_vectors(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0]))
    >>> turns(square) > 0
    array([ True,  True,  True,  True])
    """
    before = np.roll(corners, 1, axis=-2)
    after = np.roll(corners, -1, axis=-2)
    turned: Array = (corners * np.cross(corners - before, after - corners)).sum(axis=-1)
    return turned
