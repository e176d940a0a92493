"""Measures of a record in space: correlation by distance, spectra, pooled distributions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core import wasserstein_kernels
from xdownscale.core.blocks import day_slices
from xdownscale.core.coords import find_axes
from xdownscale.core.grids import cell_centres, distances
from xdownscale.core.normalization import Scaling
from xdownscale.core.variogram_models import fit_curve

Array = NDArray[Any]
CELLS = 300  # that correlations by distance are taken of
CLASSES = 12
_EXACT = 1 << 22  # values of both records up to which a pooled distance is exact
_FEWEST = 10  # days that two cells must share


class Places(NamedTuple):
    """Cells that correlations are taken of, and classes of the distances of their pairs.

    Attributes
    ----------
    rows, columns : ndarray of int (cell,)
    one, other : ndarray of int (pair,)
        Places among the cells.
    number : ndarray of int (pair,)
        Class of each pair.
    distance : ndarray (class,)
        Mean distance of its pairs, km.
    pairs : ndarray of int (class,)
        Number of pairs.
    """

    rows: Array
    columns: Array
    one: Array
    other: Array
    number: Array
    distance: Array
    pairs: Array


def has_value(da: xr.DataArray) -> xr.DataArray:
    """Tell where a record has a value."""
    return da.notnull()


def choose_places(field: xr.DataArray, known: Array, seed: int) -> Places | None:
    """Choose cells that have values, and sort their pairs by distance.

    Parameters
    ----------
    field : DataArray
        (y, x) on the grid.
    known : ndarray of bool (y, x)
        Cells that have values.
    seed : int
        Of the choice, where there are more than 300.

    Returns
    -------
    Places or None
        None where there are fewer than 4 cells. Pairs reach half of the longest distance.
    """
    found = np.flatnonzero(known)
    if found.size < 4:
        return None
    if found.size > CELLS:
        found = np.sort(np.random.default_rng(seed).choice(found, CELLS, replace=False))
    rows, columns = np.unravel_index(found, known.shape)
    latitude, longitude = (centres.ravel()[found] for centres in cell_centres(field))
    one, other = np.triu_indices(found.size, 1)
    apart = distances(latitude[one], longitude[one], latitude[other], longitude[other])
    near = apart <= apart.max() / 2 if found.size > 8 else np.ones(apart.size, bool)
    one = one[near]
    other = other[near]
    apart = apart[near]
    edges = np.linspace(0, apart.max() * (1 + 1e-9), CLASSES + 1)
    number = np.digitize(apart, edges) - 1
    count = np.bincount(number, minlength=CLASSES)
    total = np.bincount(number, apart, minlength=CLASSES)
    distance = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Places(rows, columns, one, other, number, distance, count)


def correlations(x: Array, places: Places) -> Array:
    """Return the mean correlation over time of the pairs of each class.

    Parameters
    ----------
    x : ndarray (day, cell)
        NaN where there is no value: a pair is correlated over the days that both have.
    places : Places
    """
    good = ~np.isnan(x)
    values = np.where(good, x - np.nanmean(np.where(good, x, np.nan)), 0.0)
    flags = good.astype(float)
    n = flags.T @ flags
    sums = values.T @ flags  # of the first cell, over the days that both have
    products = values.T @ values
    squares = (values**2).T @ flags
    covariance = n * products - sums * sums.T
    variances = (n * squares - sums**2) * (n * squares - sums**2).T
    enough = (n >= _FEWEST) & (variances > 1e-20 * (n * squares) * (n * squares).T)
    r = np.where(enough, covariance / np.sqrt(np.where(enough, variances, 1.0)), np.nan)
    of_pairs = r[places.one, places.other]
    known = ~np.isnan(of_pairs)
    count = np.bincount(places.number[known], minlength=CLASSES)
    total = np.bincount(places.number[known], of_pairs[known], minlength=CLASSES)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def reaches(r: Array, places: Places) -> tuple[float, float]:
    """Return the distance at which correlations fall to 1/e, and the range of the variogram.

    Parameters
    ----------
    r : ndarray (class,)
    places : Places

    Returns
    -------
    length, range : float
        Kilometres. The first is interpolated, NaN where correlations stay above 1/e; the second is
        the range of a spherical variogram fitted to ``1 - r``, NaN where the fit is refused.
    """
    good = np.isfinite(r) & np.isfinite(places.distance)
    h = np.concatenate([[0.0], places.distance[good]])
    curve = np.concatenate([[1.0], r[good]])
    below = np.flatnonzero(curve < np.exp(-1))
    length = np.nan
    if below.size:
        k = int(below[0])
        share = (curve[k - 1] - np.exp(-1)) / (curve[k - 1] - curve[k])
        length = float(h[k - 1] + share * (h[k] - h[k - 1]))
    fit = fit_curve(places.distance, 1 - r, places.pairs.astype(float), "spherical")
    return length, float(fit.parameters[0]) if not fit.message else np.nan


def read_cells(da: xr.DataArray, places: Places, time: str) -> Array:
    """Return the values of chosen cells ([member,] day, cell), block by block of days."""
    axes = find_axes(da)
    at = {
        axes.y: xr.DataArray(places.rows, dims="cell"),
        axes.x: xr.DataArray(places.columns, dims="cell"),
    }
    lead = [d for d in da.dims if d not in (time, axes.y, axes.x)]
    parts = [
        da.isel({time: part}).isel(at).transpose(*lead, time, "cell").values
        for part in day_slices([da], time)
    ]
    whole = np.concatenate(parts, axis=-2).astype(float)
    return whole.reshape(-1, *whole.shape[-2:])


def pooled_distance(p: xr.DataArray, t: xr.DataArray, time: str) -> float:
    """Return the 1-Wasserstein distance of all values together, read block by block.

    Exact up to 4.2 million values of both, else within 2^-16 of their size, as
    `geostat.wasserstein` with ``kind="pooled"``.
    """
    exact = p.size + t.size <= _EXACT
    sides = []
    for da in (p, t):
        parts: list[Any] = []
        for part in day_slices([da], time):
            block = da.isel({time: part}).values.reshape(1, -1)
            code = np.zeros((1, 1), int)
            parts.append(wasserstein_kernels.summarise(block, None, code, 1, exact, Scaling()))
            parts = [wasserstein_kernels.merge(parts, exact)] if len(parts) == 4 else parts
        sides.append(wasserstein_kernels.merge(parts, exact))
    return float(wasserstein_kernels.pooled(sides[0], sides[1], None, False, exact)[0, 0])


def zero_filled_power(da: xr.DataArray, time: str) -> Array:
    """Return the power spectrum by ring as the code of CORDEX-ML-Bench computes it.

    NaN is 0, nothing is detrended or tapered; ``|F|^2`` is averaged over rings of whole numbers
    of modes around the middle of the plane, and over days and members.

    Parameters
    ----------
    da : DataArray
        (..., y, x)
    time : str

    Returns
    -------
    ndarray (ring,)
    """
    axes = find_axes(da)
    total: Any = 0.0
    images = 0
    for part in day_slices([da], time):
        block = da.isel({time: part}).transpose(..., axes.y, axes.x).values.astype(float)
        block = np.nan_to_num(block, nan=0.0).reshape(-1, *block.shape[-2:])
        power = np.abs(np.fft.fftshift(np.fft.fft2(block), axes=(-2, -1))) ** 2
        total = total + power.sum(axis=0)
        images += len(block)
    return radial_means(total / images)


def radial_means(plane: Array) -> Array:
    """Average a plane over rings of whole radii around its middle.

    Examples
    --------
    >>> radial_means(np.arange(9.0).reshape(3, 3))
    array([4., 4.])
    """
    rows, columns = np.indices(plane.shape)
    middle = [(n - 1) / 2 for n in plane.shape]
    ring = np.hypot(rows - middle[0], columns - middle[1]).astype(int)
    total = np.bincount(ring.ravel(), plane.ravel())
    return np.asarray(total / np.maximum(np.bincount(ring.ravel()), 1))
