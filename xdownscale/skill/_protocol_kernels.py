"""Measures of a predicted series against a true one: arrays (cell, day), one number a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.core.wasserstein_kernels import distances
from xdownscale.skill._index_days import Days
from xdownscale.skill._index_kernels import (
    Sample,
    calendar_means,
    circular_means,
    correlation,
    mean_of,
    share,
)

Array = NDArray[Any]
SERIES = (
    *("rmse", "pearson", "spearman", "pearson_deseasonalised", "spearman_deseasonalised"),
    *("ks", "cvm", "wasserstein"),
)


def ranks(x: Array) -> Array:
    """Return the rank of each value in its row, from 1, equal ones their mean; NaN stays.

    Examples
    --------
    >>> ranks(np.array([[3.0, 1.0, 3.0, np.nan]]))
    array([[2.5, 1. , 2.5, nan]])
    """
    order = np.argsort(x, axis=1, kind="stable")
    ordered = np.take_along_axis(x, order, axis=1)
    place = np.arange(x.shape[1])
    fresh = np.ones(x.shape, bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(fresh, place, 0), axis=1)
    ends = np.ones(x.shape, bool)
    ends[:, :-1] = fresh[:, 1:]
    last = np.where(ends, place, x.shape[1])
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    found = np.empty(x.shape)
    np.put_along_axis(found, order, (first + last) / 2 + 1.0, axis=1)
    return np.where(np.isnan(x), np.nan, found)


def spearman(p: Array, t: Array) -> Array:
    """Return the correlation of the ranks, of the days that both have."""
    good = ~np.isnan(p + t)
    return correlation(ranks(np.where(good, p, np.nan)), ranks(np.where(good, t, np.nan)))


def anomalies(x: Array, year: Days) -> Array:
    """Return differences to the 31-day circular mean of the calendar days' means.

    Parameters
    ----------
    x : ndarray (cell, day)
        The whole record.
    year : Days
        All of its days.
    """
    cycle = circular_means(calendar_means(Sample(x[:, year.rows], year)))
    place = np.where(year.places < 0, 58, year.places)  # 29 February as the day before
    found = np.full(x.shape, np.nan)
    found[:, year.rows] = x[:, year.rows] - cycle[:, place]
    return found


def _apart(p: Array, t: Array) -> tuple[Array, Array]:
    """Return F - G at each value of both samples together, and whether it is a value (cell, n)."""
    both = np.concatenate([p, t], axis=1)
    steps = np.concatenate(
        [
            np.where(np.isnan(p), 0.0, share(np.ones(len(p)), (~np.isnan(p)).sum(axis=1))[:, None]),
            np.where(
                np.isnan(t), 0.0, -share(np.ones(len(t)), (~np.isnan(t)).sum(axis=1))[:, None]
            ),
        ],
        axis=1,
    )
    order = np.argsort(both, axis=1, kind="stable")
    ordered = np.take_along_axis(both, order, axis=1)
    gap = np.cumsum(np.take_along_axis(steps, order, axis=1), axis=1)
    # equal values share the gap behind the last of them
    place = np.arange(both.shape[1])
    ends = np.ones(both.shape, bool)
    ends[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    last = np.minimum.accumulate(np.where(ends, place, both.shape[1])[:, ::-1], axis=1)[:, ::-1]
    gap = np.take_along_axis(gap, np.minimum(last, both.shape[1] - 1), axis=1)
    return gap, ~np.isnan(ordered)


def kolmogorov_smirnov(p: Array, t: Array) -> Array:
    """Return the largest difference of two distribution functions."""
    gap, good = _apart(p, t)
    known = ~np.isnan(mean_of(p) + mean_of(t))
    most = np.where(good, np.abs(gap), 0.0).max(axis=1, initial=0.0)
    return np.where(known, most, np.nan)


def cramer_von_mises(p: Array, t: Array) -> Array:
    """Return ``n m / (n + m)^2 sum (F - G)^2`` over all n + m values (Anderson 1962)."""
    gap, good = _apart(p, t)
    n = (~np.isnan(p)).sum(axis=1)
    m = (~np.isnan(t)).sum(axis=1)
    total = np.where(good, gap**2, 0.0).sum(axis=1)
    known = (n > 0) & (m > 0)
    return np.where(known, total * share(n * m, (n + m) ** 2), np.nan)


def series_measures(p: Array, t: Array, groups: list[Days], year: Days) -> Array:
    """Return the measures `SERIES` of each cell and group, (cell, group, measure).

    Parameters
    ----------
    p, t : ndarray (cell, day)
        NaN where the other is.
    groups : list of Days
    year : Days
        All days.
    """
    free = [anomalies(x, year) for x in (p, t)]
    found = np.full((len(p), len(groups), len(SERIES)), np.nan)
    for g, days in enumerate(groups):
        a = p[:, days.rows]
        b = t[:, days.rows]
        anomaly_a, anomaly_b = (x[:, days.rows] for x in free)
        values = (
            np.sqrt(mean_of((a - b) ** 2)),
            correlation(a, b),
            spearman(a, b),
            correlation(anomaly_a, anomaly_b),
            spearman(anomaly_a, anomaly_b),
            kolmogorov_smirnov(a, b),
            cramer_von_mises(a, b),
            distances(a, b),
        )
        found[:, g] = np.stack(values, axis=-1)
    return found


def event_measures(score: Array, chance: Array, event: Array, groups: list[Days]) -> Array:
    """Return Brier score and ROC skill of each cell and group, (cell, group, 2).

    Parameters
    ----------
    score : ndarray (cell, day)
        Larger where the event is held more likely; it is ranked.
    chance : ndarray (cell, day)
        Its probability.
    event : ndarray (cell, day)
        1 where it took place, 0 where not; NaN where the prediction is.
    groups : list of Days
    """
    found = np.full((len(event), len(groups), 2), np.nan)
    for g, days in enumerate(groups):
        own = event[:, days.rows]
        found[:, g, 0] = mean_of((chance[:, days.rows] - own) ** 2)
        found[:, g, 1] = 2 * roc_area(score[:, days.rows], own) - 1
    return found


def roc_area(score: Array, event: Array) -> Array:
    """Return the area under the ROC curve, from the ranks (Mann and Whitney); ties count half.

    Examples
    --------
    >>> roc_area(np.array([[0.1, 0.4, 0.35, 0.8]]), np.array([[0.0, 0.0, 1.0, 1.0]]))
    array([0.75])
    """
    good = ~np.isnan(score + event)
    rank = ranks(np.where(good, score, np.nan))
    hits = good & (event == 1)
    n = hits.sum(axis=1)
    other = good.sum(axis=1) - n
    total = np.where(hits, rank, 0.0).sum(axis=1) - n * (n + 1) / 2
    return share(total, n * other)
