"""The arithmetic of scores: arrays only, no labels. Each reduces the last axes of (..., y, x)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_YX = (-2, -1)


def _mean(x: Any, good: Any) -> Any:
    """Mean over the good pixels; NaN where there are fewer than two."""
    count = good.sum(axis=_YX)
    return np.where(good, x, 0.0).sum(axis=_YX) / np.where(count >= 2, count, np.nan)


def _good(p: Any, t: Any) -> Any:
    return ~(np.isnan(p) | np.isnan(t))


def bias(p: Any, t: Any) -> Any:
    return _mean(p - t, _good(p, t))


def mae(p: Any, t: Any) -> Any:
    return _mean(np.abs(p - t), _good(p, t))


def rmse(p: Any, t: Any) -> Any:
    return np.sqrt(_mean((p - t) ** 2, _good(p, t)))


def _covariance(a: Any, b: Any, good: Any) -> Any:
    first, second = (x - _mean(x, good)[..., None, None] for x in (a, b))
    return _mean(first * second, good)


def _variance(x: Any, good: Any) -> Any:
    """NaN where the pixels differ by no more than the rounding of their mean."""
    found = _covariance(x, x, good)
    return np.where(found > 1e-28 * _mean(x**2, good), found, np.nan)


def r2(p: Any, t: Any) -> Any:
    good = _good(p, t)
    return 1 - _mean((p - t) ** 2, good) / _variance(t, good)


def pearson_r2(p: Any, t: Any) -> Any:
    good = _good(p, t)
    return _covariance(p, t, good) ** 2 / (_variance(p, good) * _variance(t, good))


def crps(members: Any, t: Any) -> Any:
    """Fair CRPS of ``(..., member, y, x)`` against ``(..., y, x)``; members sorted once."""
    count = members.shape[-3]
    error = np.abs(members - t[..., None, :, :]).mean(axis=-3)
    if count > 1:
        # sum_ij |x_i - x_j| = 2 sum_k (2k - M + 1) x_(k), k = 0 ... M-1
        weights = (2 * np.arange(count) - count + 1) / (count * (count - 1))
        error = error - np.einsum("...kyx,k->...yx", np.sort(members, axis=-3), weights)
    return _mean(error, ~np.isnan(error))


KERNELS: dict[str, Callable[[Any, Any], Any]] = {
    "r2": r2,
    "pearson_r2": pearson_r2,
    "rmse": rmse,
    "mae": mae,
    "bias": bias,
}
