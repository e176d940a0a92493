"""All pairs of cells of a rectilinear grid, by Fourier transforms along longitude. Arrays only.

For two rows the sum of squared differences at every shift in longitude is a sum of three
correlations: of ``f^2`` with the mask, of the mask with ``f^2``, and -2 times of ``f`` with ``f``.
So every pair of cells enters its distance class, at the cost of one transform for each pair of
rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import fft

from xdownscale.core.grids import Array
from xdownscale.core.missing import finite
from xdownscale.geostat._lattice import (
    Circle,
    Geometry,
    Layout,
    Row,
    circle_of,
    make_rows,
    row_weights,
    work,
)
from xdownscale.geostat._pair_curves import MIN_CELLS

_KEPT = 1 << 24  # classes of pairs of rows and shifts that are kept for the next fields (32 MB)
_BLOCK = 1 << 22  # bytes of the correlations that are computed at once


class Sums(NamedTuple):
    """What the pairs of each time step and class add up to.

    Attributes
    ----------
    products : ndarray, shape (time, class)
        Squared differences, or products of the differences of two fields, times the weights.
    weights : ndarray, shape (time, class)
        Weights of the pairs.
    counts : ndarray, shape (time, class)
        Pairs.
    valid : ndarray, shape (time,)
        Valid cells.
    """

    products: Array
    weights: Array
    counts: Array
    valid: Array


class _Pass(NamedTuple):
    """What one pass over all pairs of rows finds."""

    distance: Array  # (class,) mean, km
    counts: Array  # (class,)
    weights: Array  # (class,)
    rows: list[Row] | None  # None where they take too much memory


def class_distances(geometry: Geometry) -> tuple[Array, Array]:
    """Return the mean distance (km) and the number of all pairs of each class.

    Examples
    --------
    >>> from xdownscale.geostat._lattice import layout
    >>> distance, count = class_distances(layout(np.zeros(1), np.arange(4.0), 360, 3).geometry)
    >>> distance.round(1), count
    (array([111.3, 222.6, 334. ]), array([3., 2., 1.]))
    """
    found = _survey(geometry)
    return found.distance, found.counts


def pair_sums(field: Array, layout: Layout, other: Array | None = None) -> Sums:
    """Sum the squared differences of all pairs of cells by class.

    Parameters
    ----------
    field : ndarray, shape (time, y, x)
        Pairs with a NaN are left out of their time step.
    layout : Layout
        Of these rows and columns.
    other : ndarray, shape (time, y, x), optional
        A second field: products of the differences of both are summed. Cells are valid where both
        are.

    Returns
    -------
    Sums

    Examples
    --------
    >>> from xdownscale.geostat._lattice import layout
    >>> place = layout(np.zeros(1), np.arange(3.0), 360, 3)
    >>> found = pair_sums(np.array([[[1.0, 2.0, 5.0]]]), place)
    >>> found.products.round(12), found.counts
    (array([[10., 16.,  0.]]), array([[2., 1., 0.]]))
    """
    geometry = layout.geometry
    empty = (np.zeros((len(field), geometry.size)) for _ in range(3))
    found = Sums._make((*empty, np.zeros(len(field))))
    circle = circle_of(geometry)
    survey = _survey(geometry)
    for days in _day_blocks(len(field), geometry):
        images = [_centred(f[days], layout, circle) for f in (field, other) if f is not None]
        missing = np.logical_or.reduce([np.isnan(image) for image in images])
        found.valid[days] = np.count_nonzero(~missing, axis=(1, 2))
        gaps = bool(missing.any())
        if not gaps:
            found.weights[days] = survey.weights
            found.counts[days] = survey.counts
        correlated = _Masked(images, missing, circle) if gaps else _Whole(images, circle)
        for row in survey.rows or (row for row, _ in make_rows(geometry)):
            _add(Sums._make(part[days] for part in found), row, correlated, row_weights(geometry))
    return found


def all_curves(
    field: Array, other: Array | None = None, *, layout: Layout
) -> tuple[Array, Array, Array]:
    """Return semivariance, pair counts and number of valid cells of every time step.

    Parameters
    ----------
    field : ndarray, shape (..., y, x)
        Values; a pair with a NaN is left out of its day.
    other : ndarray, shape (..., y, x), optional
        A second field: the cross-semivariance with it is returned.
    layout : Layout
        Of these rows and columns.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        ``(..., class)``, ``(..., class)`` and ``(...)``. Days with fewer than 100 valid cells have
        NaN semivariance.

    Examples
    --------
    >>> from xdownscale.geostat._lattice import layout
    >>> place = layout(np.zeros(1), np.arange(100.0), 360, 3)
    >>> gamma, count, valid = all_curves(np.arange(100.0)[None], layout=place)
    >>> gamma.round(12), count, valid
    (array([0.5, 2. , 4.5]), array([99., 98., 97.]), array(100.))
    """
    lead = field.shape[:-2]
    shape = (-1, *field.shape[-2:])
    second = None if other is None else other.reshape(shape)
    sums = pair_sums(field.reshape(shape), layout, second)
    with np.errstate(invalid="ignore", divide="ignore"):  # classes without a pair give NaN
        gamma = sums.products / (2 * sums.weights)
    gamma[sums.valid < MIN_CELLS] = np.nan
    size = layout.geometry.size
    return gamma.reshape(*lead, size), sums.counts.reshape(*lead, size), sums.valid.reshape(lead)


def _day_blocks(days: int, geometry: Geometry) -> Iterator[slice]:
    """Cut time so that the correlations of a block stay small."""
    most = max(1, int(_BLOCK / (16 * work(geometry) / len(geometry.lat))))
    return (slice(start, min(start + most, days)) for start in range(0, days, most))


def _centred(field: Array, layout: Layout, circle: Circle) -> Array:
    """Return days as rows from south to north, less their means; NaN in missing columns."""
    image = np.full((len(field), layout.rows.size, circle.width), np.nan)
    places = np.array(layout.geometry.columns)
    image[..., places] = finite(field[:, layout.rows[:, None], layout.taken].astype(np.float64))
    flat = image.reshape(len(image), -1)
    first = np.argmax(~np.isnan(flat), axis=1)
    # a constant becomes 0 exactly; its mean would be rounded
    flat -= np.take_along_axis(flat, first[:, None], axis=1)
    number = np.maximum(np.count_nonzero(~np.isnan(flat), axis=1), 1)
    flat -= (np.nansum(flat, axis=1) / number)[:, None]
    return image


def _add(found: Sums, row: Row, correlated: _Whole | _Masked, weights: Array) -> None:
    """Add the pairs of one row to the sums of its days."""
    products, number = correlated(row)
    factor = _factor(row)[:, None]
    share = factor * (weights[row.first] * weights[row.first : row.last])[:, None]
    places = row.places.ravel().astype(np.intp)
    size = found.products.shape[1]
    for day, squares in enumerate(products):
        parts = [(found.products, squares * share)]
        if number is not None:
            parts += [(found.weights, number[day] * share), (found.counts, number[day] * factor)]
        for sums, part in parts:
            sums[day] += np.bincount(places, part.ravel(), size + 1)[:-1]


def _factor(row: Row) -> Array:
    """Return one half for the pairs within a row, which are met at both signs of their shift."""
    factor = np.ones(row.last - row.first)
    factor[0] = 0.5
    return factor


class _Whole:
    """Sums over the pairs of rows without gaps: one transform for each pair of rows."""

    def __init__(self, images: list[Array], circle: Circle) -> None:
        self._circle = circle
        self._single = len(images) == 1
        self._spectra = [fft.rfft(image, circle.length, axis=-1) for image in images]
        running = np.cumsum(images[0] * images[-1], axis=-1)
        self._heads = np.concatenate([np.zeros_like(running[..., :1]), running], axis=-1)

    def __call__(self, row: Row) -> tuple[Array, None]:
        north = slice(row.first, row.last)
        crossed = _crossed(self._spectra, row)
        products = fft.irfft(crossed, self._circle.length, axis=-1)
        products = np.take(products, self._circle.at(row.shifts), axis=-1)
        products *= -1.0
        products += self._ends(slice(row.first, row.first + 1), row.shifts)
        products += self._ends(north, -row.shifts)
        if self._single:
            np.maximum(products, 0.0, out=products)  # rounding
        return products, None

    def _ends(self, rows: slice, shifts: Array) -> Array:
        """Sum the squares of the cells that have a partner `shifts` columns to the east."""
        heads = self._heads[:, rows]
        if self._circle.closed:
            return np.broadcast_to(heads[..., -1:], (*heads.shape[:-1], shifts.size))
        width = self._circle.width
        upper = np.take(heads, np.minimum(width, width - shifts), axis=-1)
        return np.asarray(upper - np.take(heads, np.maximum(0, -shifts), axis=-1))


class _Masked:
    """Sums over the pairs of rows with gaps: two transforms for each pair of rows."""

    def __init__(self, images: list[Array], missing: Array, circle: Circle) -> None:
        self._circle = circle
        self._single = len(images) == 1
        filled = [np.where(missing, 0.0, image) for image in images]
        self._spectra = [self._transform(image) for image in filled]
        self._squares = self._transform(filled[0] * filled[-1])
        self._mask = self._transform((~missing).astype(np.float64))

    def _transform(self, image: Array) -> Array:
        return np.asarray(fft.rfft(image, self._circle.length, axis=-1))

    def __call__(self, row: Row) -> tuple[Array, Array]:
        north = slice(row.first, row.last)
        mask = np.conj(self._mask[:, row.first, None])
        squares = np.conj(self._squares[:, row.first, None])
        spectrum = squares * self._mask[:, north] + mask * self._squares[:, north]
        spectrum -= _crossed(self._spectra, row)
        number = np.rint(self._at(mask * self._mask[:, north], row.shifts))
        products = np.where(number > 0, self._at(spectrum, row.shifts), 0.0)
        if self._single:
            np.maximum(products, 0.0, out=products)  # rounding
        return products, number

    def _at(self, spectrum: Array, shifts: Array) -> Array:
        found = fft.irfft(spectrum, self._circle.length, axis=-1)
        return np.asarray(np.take(found, self._circle.at(shifts), axis=-1))


def _crossed(spectra: list[Array], row: Row) -> Array:
    """Return the transform of ``a_i b_j + b_i a_j``, i in the row and j in those north of it."""
    first = spectra[0]
    second = spectra[-1]
    north = slice(row.first, row.last)
    found = np.conj(first[:, row.first, None]) * second[:, north]
    if first is second:
        found *= 2.0
    else:
        found += np.conj(second[:, row.first, None]) * first[:, north]
    return np.asarray(found)


@lru_cache(maxsize=1)
def _survey(geometry: Geometry) -> _Pass:
    """Pass over all pairs of rows once; what is small is kept for the next fields."""
    sums = np.zeros((3, geometry.size + 1))
    weights = row_weights(geometry)
    number = _overlap(geometry)
    circle = circle_of(geometry)
    rows: list[Row] = []
    kept = 0
    for row, km in make_rows(geometry):
        pairs = number[circle.at(row.shifts)] * _factor(row)[:, None]
        share = pairs * (weights[row.first] * weights[row.first : row.last])[:, None]
        places = row.places.ravel().astype(np.intp)
        for k, part in enumerate((pairs, share, share * km)):
            sums[k] += np.bincount(places, part.ravel(), geometry.size + 1)
        kept += row.places.size
        if kept <= _KEPT:
            rows.append(row)
    with np.errstate(invalid="ignore", divide="ignore"):  # classes without a pair give NaN
        distance = sums[2] / sums[1]
    return _Pass(distance[:-1], sums[0, :-1], sums[1, :-1], rows if kept <= _KEPT else None)


def _overlap(geometry: Geometry) -> Array:
    """Return the number of pairs of columns at each shift, as transforms order them."""
    circle = circle_of(geometry)
    columns = np.zeros(circle.width)
    columns[np.array(geometry.columns)] = 1.0
    spectrum = fft.rfft(columns, circle.length)
    return np.asarray(np.rint(fft.irfft(np.abs(spectrum) ** 2, circle.length)))
