"""Kernels of the 1-Wasserstein distance: arrays only, no labels.

In one dimension the distance is the area between two quantile functions, so that values need only
be sorted: no transport problem is solved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DAILY = ("wasserstein", "span", "count", "count_other")
POOLED = (*DAILY, "error_bound")
_DROPPED_BITS = 8  # of float32's 23: a cell of values is 2^-15 of their size, or finer
_RELATIVE = 2.0**-16  # half a cell


def quantile_steps(n: int, m: int) -> tuple[Array, Array, Array]:
    """Return the common steps of the quantile functions of n and of m values.

    Parameters
    ----------
    n, m : int
        Numbers of values.

    Returns
    -------
    first, second, width : ndarray
        Place among the n and among the m sorted values that holds in each step, and its width;
        the widths sum to 1.

    Examples
    --------
    >>> first, second, width = quantile_steps(2, 3)
    >>> first.tolist(), second.tolist(), (6 * width).round().tolist()
    ([0, 0, 1, 1], [0, 1, 1, 2], [2.0, 1.0, 1.0, 2.0])
    """
    if n == m:
        place = np.arange(n)
        return place, place, np.full(n, 1 / n)
    # in units of 1 / (n m); a stable sort merges two ascending runs, np.union1d would hash them,
    # which takes a hundred times as long
    ends = np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n])
    ends.sort(kind="stable")
    ends = ends[np.diff(ends, prepend=0) > 0]
    return (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)


def distances(u: Array, v: Array) -> Array:
    """Return the exact distance of each row; NaN is left out.

    Parameters
    ----------
    u, v : ndarray, shape (t, n) and (t, m)

    Returns
    -------
    ndarray, shape (t,)
        NaN where a row has no value.

    Examples
    --------
    >>> distances(np.array([[0.0, 1.0, 3.0]]), np.array([[5.0, 6.0, 8.0]]))
    array([5.])
    """
    # NaN goes last
    u = np.sort(u, axis=-1)
    v = np.sort(v, axis=-1)
    counts = np.stack([(~np.isnan(a)).sum(axis=-1) for a in (u, v)], axis=-1)
    result = np.full(len(u), np.nan)
    for n, m in np.unique(counts, axis=0):
        if n == 0 or m == 0:
            continue
        first, second, width = quantile_steps(int(n), int(m))
        for row in np.flatnonzero((counts == (n, m)).all(axis=-1)):
            result[row] = np.abs(u[row, first] - v[row, second], dtype=np.float64) @ width
    return result


def histogram_distances(u: Array, v: Array, low: Array, span: Array, bins: int) -> Array:
    """Return the distance of each row's histograms, in units of its span.

    Parameters
    ----------
    u, v : ndarray, shape (t, n) and (t, m)
    low, span : ndarray, shape (t,)
        The bins divide ``[low, low + span]``.
    bins : int
        Number of bins.

    Returns
    -------
    ndarray, shape (t,)

    Examples
    --------
    >>> one, other = np.array([[0.1, 0.4]]), np.array([[0.6, 0.9]])
    >>> histogram_distances(one, other, np.zeros(1), np.ones(1), bins=2)
    array([0.5])
    """
    result = np.full(len(u), np.nan)
    for row, (lowest, width) in enumerate(zip(low, span, strict=True)):
        points = [Points(a[row], np.ones(a.shape[-1])) for a in (u, v)]
        result[row] = _histogram_distance(points[0], points[1], lowest, width, bins)
    return result


def daily(
    u: Array,
    v: Array,
    codes_u: Array,
    codes_v: Array,
    when: Array,
    bounds: Array | None = None,
    *,
    groups: tuple[int, int],
    bins: int | None,
    normalise: bool,
    space: Any,
) -> Array:
    """Return the distance of each day in each group.

    Parameters
    ----------
    u, v : ndarray, shape (..., y, x) and (..., y', x')
        Fields; the leading axes broadcast against each other.
    codes_u, codes_v : ndarray, shape (..., y, x) and (..., y', x'), or (1, 1)
        Group of each pixel, -1 in none.
    when : ndarray, shape (...)
        Group of each day, -1 in none.
    bounds : ndarray, shape (2,), optional
        Minimum and range to take for those of each day.
    groups : (int, int)
        Number of groups of days and of pixels.
    bins, normalise, space
        As in `wasserstein`.

    Returns
    -------
    ndarray, shape (..., days' groups, pixels' groups, 4)
        The entries of `DAILY`.
    """
    lead = np.broadcast_shapes(u.shape[:-2], v.shape[:-2], when.shape)
    # (t, y x)
    one = _rows(clean(u, space), lead)
    other = _rows(clean(v, space), lead)
    low, span = _range(one, other) if bounds is None else np.tile(bounds, (len(one), 1)).T
    where = _rows(np.broadcast_to(codes_u, (*codes_u.shape[:-2], *u.shape[-2:])), lead)
    there = _rows(np.broadcast_to(codes_v, (*codes_v.shape[:-2], *v.shape[-2:])), lead)
    found = np.full((len(one), groups[0], groups[1], len(DAILY)), np.nan)
    found[..., 2:] = 0
    day_group = np.broadcast_to(when, lead).ravel()
    for day_code in range(groups[0]):
        days = np.flatnonzero(day_group == day_code)
        for code in range(groups[1]):
            inside = [_masked(a[days], c[days] == code) for a, c in ((one, where), (other, there))]
            found[days, day_code, code] = _entries(
                inside[0], inside[1], low[days], span[days], bins, normalise
            )
    return found.reshape(*lead, *found.shape[1:])


def day_statistics(daily_distances: Array) -> Array:
    """Return mean, 10 and 90 % quantile (..., 3) of the last axis, NaN left out.

    Examples
    --------
    >>> day_statistics(np.array([[0.0, 10.0, np.nan], [np.nan] * 3]))
    array([[ 5.,  1.,  9.],
           [nan, nan, nan]])
    """
    empty = np.asarray(np.isnan(daily_distances).all(axis=-1))
    filled = np.where(empty[..., None], 0.0, daily_distances)  # numpy warns of rows without values
    low, high = np.nanquantile(filled, [0.1, 0.9], axis=-1)
    found = np.stack([np.nanmean(filled, axis=-1), low, high], axis=-1)
    found[empty] = np.nan
    return found


def clean(values: Array, space: Any) -> Array:
    """Return transformed values, NaN where they are not finite."""
    fields = np.asarray(values)
    moved: Array = space.transform_only(fields)
    moved[~np.isfinite(moved)] = np.nan
    return moved


def _rows(a: Array, lead: tuple[int, ...]) -> Array:
    return np.broadcast_to(a, (*lead, *a.shape[-2:])).reshape(-1, a.shape[-2] * a.shape[-1])


def _range(u: Array, v: Array) -> tuple[Array, Array]:
    """Return the joint minimum and range of each row; NaN without values."""
    low = np.fmin(np.fmin.reduce(u, axis=-1), np.fmin.reduce(v, axis=-1)).astype(np.float64)
    high = np.fmax(np.fmax.reduce(u, axis=-1), np.fmax.reduce(v, axis=-1)).astype(np.float64)
    return low, high - low


def _masked(a: Array, good: Array) -> Array:
    return a if good.all() else np.where(good, a, np.nan)


def _entries(
    u: Array, v: Array, low: Array, span: Array, bins: int | None, normalise: bool
) -> Array:
    """Return the entries (t, 4) of `DAILY`."""
    if bins is None:
        distance = distances(u, v)
        distance = _share(distance, span) if normalise else distance
    else:
        distance = histogram_distances(u, v, low, span, bins)
        distance = distance if normalise else distance * span
    counts = [(~np.isnan(a)).sum(axis=-1) for a in (u, v)]
    return np.stack([distance, span, *counts], axis=-1)


def _share(distance: Any, span: Any) -> Any:
    """Divide by the span; two constant fields of one value are 0 apart."""
    return np.where(span > 0, distance / np.where(span > 0, span, 1.0), distance)


class Points(NamedTuple):
    """A distribution: values, and the number of pixels that each stands for.

    Attributes
    ----------
    values, weights : ndarray, shape (n,)
    """

    values: Array
    weights: Array


def summarise(
    values: Array, _: None, codes: Array, groups: int, exact: bool, space: Any
) -> list[Points]:
    """Summarise a block of values as one distribution for each group.

    Parameters
    ----------
    values : ndarray
    codes : ndarray
        The group of each value, -1 in none; of a shape that spreads over that of `values`.
    groups : int
        Number of groups.
    exact : bool
        Keep every value, or one for each cell of values.
    space : Scaling
        The transform.

    Returns
    -------
    list of Points
    """
    moved = clean(values, space).ravel()
    groups_of = np.broadcast_to(codes, values.shape).ravel()
    parts = []
    for code in range(groups):
        kept = np.sort(moved[(groups_of == code) & ~np.isnan(moved)]).astype(np.float64)
        points = Points(kept, np.ones(kept.size))
        parts.append(points if exact else squeeze(points))
    return parts


def merge(parts: Sequence[list[Points]], exact: bool) -> list[Points]:
    """Merge the distributions of several blocks, group by group."""
    merged = []
    for group in zip(*parts, strict=True):
        values = np.concatenate([p.values for p in group])
        order = np.argsort(values, kind="stable")
        points = Points(values[order], np.concatenate([p.weights for p in group])[order])
        merged.append(points if exact else squeeze(points))
    return merged


def squeeze(points: Points) -> Points:
    """Merge values that agree in the leading bits of a float32 into their mean; values ascend.

    The cells are those of the leading 24 bits of a float32, the same for any data, so that it
    does not matter in which order blocks are merged.

    Examples
    --------
    >>> squeeze(Points(np.array([1.0, 1.00001, 2.0]), np.ones(3)))
    Points(values=array([1.000005, 2.      ]), weights=array([2., 1.]))
    """
    if not points.values.size:
        return points
    bits = points.values.astype(np.float32).view(np.int32)
    cells = (bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> _DROPPED_BITS  # ascends with the values
    starts = np.flatnonzero(np.diff(cells, prepend=cells[0] - 1))
    weights = np.add.reduceat(points.weights, starts)
    sums = np.add.reduceat(points.values * points.weights, starts)
    return Points(sums / weights, weights)


def pooled(
    one: Sequence[Points],
    other: Sequence[Points],
    bins: int | None,
    normalise: bool,
    exact: bool,
    bounds: Array | None = None,
) -> Array:
    """Return the entries (groups, 5) of `POOLED`; the range is that of all groups together.

    Or the range that `bounds` (minimum, range) gives.
    """
    ends = [e for p in (*one, *other) if p.values.size for e in p.values[[0, -1]]]
    low = min(ends, default=np.nan)
    span = max(ends, default=np.nan) - low
    if bounds is not None:
        low, span = (float(each) for each in bounds)
    rows = []
    for u, v in zip(one, other, strict=True):
        counts = [float(u.weights.sum()), float(v.weights.sum())]
        if 0.0 in counts:
            rows.append([np.nan, span, *counts, np.nan])
            continue
        if bins is None:
            distance = float(_share(_weighted_distance(u, v), span))
        else:
            distance = _histogram_distance(u, v, low, span, bins)
        size = sum(np.abs(p.values) @ p.weights / p.weights.sum() for p in (u, v))
        bound = 0.0 if exact else float(_share(_RELATIVE * size, span))
        unit = 1.0 if normalise or span == 0 else span
        rows.append([distance * unit, span, *counts, bound * unit])
    return np.array(rows)


def _weighted_distance(u: Points, v: Points) -> float:
    """Return the area between two distribution functions."""
    values = np.concatenate([u.values, v.values])
    shares = np.concatenate([u.weights / u.weights.sum(), -v.weights / v.weights.sum()])
    order = np.argsort(values, kind="stable")
    return float(np.abs(np.cumsum(shares[order])[:-1]) @ np.diff(values[order]))


def _histogram_distance(u: Points, v: Points, low: float, span: float, bins: int) -> float:
    """Return the area between two cumulative histograms, in units of their range."""
    shares = [_histogram(p, low, span, bins) for p in (u, v)]
    return float(np.abs(np.cumsum(shares[0] - shares[1])).sum() / bins)


def _histogram(points: Points, low: float, span: float, bins: int) -> Array:
    """Return the share of the values in each bin; NaN without values."""
    good = ~np.isnan(points.values)
    place = (points.values[good] - low) * (bins / span if span > 0 else 0.0)
    counts = np.bincount(
        np.minimum(place.astype(np.int64), bins - 1), points.weights[good], minlength=bins
    )
    total = counts.sum()
    return counts / total if total else np.full(bins, np.nan)
