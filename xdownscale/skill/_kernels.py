"""Kernels of the scores: arrays (..., y, x), reduced over the last two axes.

Every kernel takes weights (y, x) as its last argument; None counts each pixel once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

_YX = (-2, -1)
_BLOCK = 4096  # pixels whose members are sorted at once, so that they stay in the cache
_NETWORK = 64  # members up to which exchanges of whole rows sort faster than np.sort
_ROUNDING = 1e-28  # share of the mean square below which a variance is rounding


def mean(x: Any, good: Any, w: Any = None) -> Any:
    """Average the valid pixels; NaN where there are fewer than two."""
    count = good.sum(axis=_YX)
    kept = np.where(good, x, 0.0)
    if w is None:
        return kept.sum(axis=_YX) / np.where(count >= 2, count, np.nan)
    total = np.where(good, w, 0.0).sum(axis=_YX)
    return (kept * w).sum(axis=_YX) / np.where((count >= 2) & (total > 0), total, np.nan)


def _good(p: Any, t: Any) -> Any:
    return ~(np.isnan(p) | np.isnan(t))


def bias(p: Any, t: Any, w: Any = None) -> Any:
    return mean(p - t, _good(p, t), w)


def mae(p: Any, t: Any, w: Any = None) -> Any:
    return mean(np.abs(p - t), _good(p, t), w)


def rmse(p: Any, t: Any, w: Any = None) -> Any:
    return np.sqrt(mean((p - t) ** 2, _good(p, t), w))


def _covariance(a: Any, b: Any, good: Any, w: Any) -> Any:
    first = a - mean(a, good, w)[..., None, None]
    second = b - mean(b, good, w)[..., None, None]
    return mean(first * second, good, w)


def _variance(x: Any, good: Any, w: Any) -> Any:
    """Return the variance; NaN where pixels differ by no more than the rounding of their mean."""
    found = _covariance(x, x, good, w)
    return np.where(found > _ROUNDING * mean(x**2, good, w), found, np.nan)


def r2(p: Any, t: Any, w: Any = None) -> Any:
    good = _good(p, t)
    return 1 - mean((p - t) ** 2, good, w) / _variance(t, good, w)


def pearson_r2(p: Any, t: Any, w: Any = None) -> Any:
    good = _good(p, t)
    return _covariance(p, t, good, w) ** 2 / (_variance(p, good, w) * _variance(t, good, w))


def kge_parts(p: Any, t: Any, w: Any = None, *, method: str = "2009") -> tuple[Any, ...]:
    """Return the Kling-Gupta efficiency, correlation, ratio of means, ratio of spreads.

    Gupta et al. (2009), equation 9; with ``method="2012"`` spreads are over the means (Kling et al.
    2012). NaN in all where a field is constant or a mean is 0.
    """
    good = _good(p, t)
    variance_p = _variance(p, good, w)
    variance_t = _variance(t, good, w)
    mean_p = mean(p, good, w)
    mean_t = mean(t, good, w)
    r = _covariance(p, t, good, w) / np.sqrt(variance_p * variance_t)
    beta = mean_p / np.where(mean_t != 0, mean_t, np.nan)
    gamma = np.sqrt(variance_p / variance_t)
    if method == "2012":
        gamma = gamma / np.where(beta != 0, beta, np.nan)
    found = 1 - np.sqrt((r - 1) ** 2 + (beta - 1) ** 2 + (gamma - 1) ** 2)
    return tuple(np.where(np.isnan(found), np.nan, part) for part in (found, r, beta, gamma))


def kge(p: Any, t: Any, w: Any = None) -> Any:
    return kge_parts(p, t, w)[0]


def crps(members: Any, t: Any, w: Any = None) -> Any:
    """Return the fair CRPS of ``(..., member, y, x)`` against ``(..., y, x)``."""
    lead = np.broadcast_shapes(members.shape[:-3], t.shape[:-2])
    members = np.broadcast_to(members, (*lead, *members.shape[-3:]))
    t = np.broadcast_to(t, (*lead, *t.shape[-2:]))
    error = np.empty(t.shape)
    rows = max(1, _BLOCK // max(1, t.shape[-1]))
    for index in np.ndindex(*lead):
        for start in range(0, t.shape[-2], rows):
            part = slice(start, start + rows)
            error[index][part] = _pixel_crps(members[index][:, part], t[index][part])
    return mean(error, ~np.isnan(error), w)


def _pixel_crps(members: Any, t: Any) -> Any:
    """Return the fair CRPS of each pixel, of ``(member, y, x)`` against ``(y, x)``."""
    count = len(members)
    apart = members - t
    error = np.abs(apart, out=apart).mean(axis=0)
    if count > 1:
        # sum_ij |x_i - x_j| = 2 sum_k (2k - M + 1) x_(k), k = 0 ... M-1
        weights = (2 * np.arange(count) - count + 1) / (count * (count - 1))
        for member, weight in zip(_ordered(members), weights, strict=True):
            error -= weight * member
    return error


def _ordered(members: Any) -> Any:
    """Return members in ascending order; in no order where one is NaN."""
    count = len(members)
    if count > _NETWORK:
        return np.sort(members, axis=0)
    rows = list(np.array(members))
    spare = np.empty_like(rows[0])
    for i, j in _comparators(count):
        np.minimum(rows[i], rows[j], out=spare)
        np.maximum(rows[i], rows[j], out=rows[j])
        rows[i], spare = spare, rows[i]  # no copy: the rows change places
    return rows


@cache
def _comparators(count: int) -> list[tuple[int, int]]:
    """Return the pairs of Batcher's merge exchange sort (Knuth, volume 3, 5.2.2, algorithm M)."""
    pairs = []
    top = 1 << max(count - 1, 1).bit_length() - 1
    p = top
    while p:
        q = top
        r = 0
        d = p
        while True:
            pairs += [(i, i + d) for i in range(count - d) if i & p == r]
            if q == p:
                break
            d = q - p
            q >>= 1
            r = p
        p >>= 1
    return pairs


def energy(members: Any, t: Any, w: Any = None) -> Any:
    """Return the fair energy score of ``(..., member, y, x)``; norms are root mean squares."""
    count = members.shape[-3]
    good = ~np.isnan(members.sum(axis=-3) + t)
    found = _norm(members - t[..., None, :, :], good, w).mean(axis=-1)
    for lag in range(1, count):
        apart = members[..., lag:, :, :] - members[..., :-lag, :, :]
        found = found - _norm(apart, good, w).sum(axis=-1) / (count * (count - 1))
    return found


def _norm(apart: Any, good: Any, w: Any) -> Any:
    """Return the root mean square of ``(..., member, y, x)`` over the valid pixels."""
    return np.sqrt(mean(apart**2, good[..., None, :, :], w))


def variogram(members: Any, t: Any, w: Any, offsets: Any, order: float, *, fair: bool) -> Any:
    """Return the variogram score of ``(..., member, y, x)``, mean over the pairs of pixels.

    ``offsets`` has the rows and columns between the pixels of a pair, and the weights of the pairs.
    """
    count = members.shape[-3]
    total = 0.0
    share = 0.0
    for rows, columns, weight in offsets:
        here, there = shifted(t.shape[-2:], rows, columns)
        steps = np.abs(members[..., *here] - members[..., *there]) ** order
        error = (np.abs(t[..., *here] - t[..., *there]) ** order - steps.mean(axis=-3)) ** 2
        if fair and count > 1:
            # the mean of M members has a variance of its own, that of a member over M
            error = error - steps.var(axis=-3, ddof=1) / count
        of_pair = weight if w is None else weight * w[*here] * w[*there]
        good = ~np.isnan(error)
        total = total + np.where(good, error * of_pair, 0.0).sum(axis=_YX)
        share = share + np.where(good, of_pair, 0.0).sum(axis=_YX)
    return total / np.where(share > 0, share, np.nan)


def shifted(shape: Any, rows: int, columns: int) -> tuple[tuple[slice, slice], ...]:
    """Return where the pixels of all pairs are that lie `rows` (0 or more) and `columns` apart."""
    ny, nx = shape
    left = max(0, -columns)
    right = max(0, columns)
    here = (slice(0, ny - rows), slice(left, nx - right))
    there = (slice(rows, ny), slice(right, nx - left))
    return here, there


def spread_and_error(members: Any, t: Any, w: Any = None) -> tuple[Any, Any]:
    """Return the mean ensemble variance (unbiased) and the mean square error of its mean."""
    variance = members.var(axis=-3, ddof=1)
    error = members.mean(axis=-3) - t
    good = ~np.isnan(error)
    return mean(variance, good, w), mean(error**2, good, w)


def rank_counts(members: Any, t: Any, chance: Any, w: Any = None) -> Any:
    """Count the ranks of the truth among ``(..., member, y, x)``, summed over the pixels.

    ``chance`` (..., y, x) in [0, 1) places the truth among the members that equal it.
    """
    truth = t[..., None, :, :]
    below = (members < truth).sum(axis=-3)
    ties = (members == truth).sum(axis=-3)
    rank = below + np.floor(chance * (ties + 1)).astype(int)
    share = np.where(np.isnan(t) | np.isnan(members).any(axis=-3), 0.0, 1.0 if w is None else w)
    ranks = range(members.shape[-3] + 1)
    return np.stack([np.where(rank == k, share, 0.0).sum(axis=_YX) for k in ranks], axis=-1)


def contingency(p: Any, t: Any, levels: Any, w: Any = None) -> Any:
    """Count hits, misses, false alarms and correct negatives of events; ``(..., level, 4)``."""
    good = _good(p, t)
    share = np.where(good, 1.0 if w is None else w, 0.0)
    whole = share.sum(axis=_YX)
    found = []
    for level in levels:
        predicted = p > level
        observed = t > level
        hits = (share * (predicted & observed)).sum(axis=_YX)
        n_predicted = (share * predicted).sum(axis=_YX)
        n_observed = (share * observed).sum(axis=_YX)
        misses = n_observed - hits
        false_alarms = n_predicted - hits
        parts = (hits, misses, false_alarms, whole - n_predicted - n_observed + hits)
        found.append(np.stack([np.where(whole > 0, part, np.nan) for part in parts], axis=-1))
    return np.stack(found, axis=-2)


def _window_sums(x: Any, size: int) -> Any:
    """Sum all size x size windows inside (..., y, x), by a summed-area table."""
    table = np.cumsum(np.cumsum(x, axis=-2), axis=-1)
    table = np.pad(table, [(0, 0)] * (x.ndim - 2) + [(1, 0), (1, 0)])
    upper = table[..., :-size, :]
    lower = table[..., size:, :]
    return (
        lower[..., size:] - lower[..., :-size] - upper[..., size:] + upper[..., :-size]
    )  # (..., y - size + 1, x - size + 1)


def fractions(p: Any, t: Any, levels: Any, sizes: Any) -> Any:
    """Return the terms of the fractions skill score, ``(..., level, size, 3)``.

    The mean square difference of the event fractions, the mean of the sum of their squares, and
    the share of the truth's pixels with an event (Roberts and Lean 2008, equations 5-7).
    """
    good = _good(p, t)
    found = []
    for level in levels:
        predicted = good & (p > level)
        observed = good & (t > level)
        count = good.sum(axis=_YX)
        base = observed.sum(axis=_YX) / np.where(count > 0, count, np.nan)
        found.append(
            np.stack([_terms(predicted, observed, good, base, int(s)) for s in sizes], axis=-2)
        )
    return np.stack(found, axis=-3)


def _terms(predicted: Any, observed: Any, good: Any, base: Any, size: int) -> Any:
    count = _window_sums(good.astype(float), size)
    count = np.where(count > 0, count, np.nan)
    first = _window_sums(predicted.astype(float), size) / count
    second = _window_sums(observed.astype(float), size) / count
    valid = ~np.isnan(count)
    windows = valid.sum(axis=_YX)
    windows = np.where(windows > 0, windows, np.nan)
    terms = ((first - second) ** 2, first**2 + second**2)
    sums = [np.where(valid, term, 0.0).sum(axis=_YX) / windows for term in terms]
    return np.stack([*sums, base], axis=-1)


KERNELS: dict[str, Callable[..., Any]] = {
    "r2": r2,
    "pearson_r2": pearson_r2,
    "rmse": rmse,
    "mae": mae,
    "bias": bias,
    "nse_space": r2,
    "kge_space": kge,
}
PHYSICAL = ("kge_space",)  # scores that have no sense in transformed units
