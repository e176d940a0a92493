"""Arithmetic of forecast probabilities: arrays (..., member, y, x), reduced over pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

_YX = (-2, -1)


def _shares(p: Any, t: Any, w: Any) -> Any:
    good = ~(np.isnan(t) | np.isnan(p).any(axis=-3))
    return np.where(good, 1.0 if w is None else w, 0.0)


def event_counts(p: Any, t: Any, levels: Any, w: Any = None) -> Any:
    """Count pixels by the number of members above a level and by event, (..., level, M + 1, 2)."""
    share = _shares(p, t, w)
    found = []
    for level in levels:
        above = (p > level).sum(axis=-3)
        event = t > level
        each = [
            np.stack(
                [
                    np.where((above == k) & (event == happened), share, 0.0).sum(axis=_YX)
                    for happened in (False, True)
                ],
                axis=-1,
            )
            for k in range(p.shape[-3] + 1)
        ]
        found.append(np.stack(each, axis=-2))
    return np.stack(found, axis=-3)


def hersbach_sums(p: Any, t: Any, w: Any = None) -> Any:
    """Return sums over the pixels (..., M + 1, 4), of the bins below, between and above members.

    The parts are alpha and beta of Hersbach (2000), equation 26: how much of a bin lies below the
    truth and above it; whether the truth lies below the bin's lower end (of the last bin: below all
    of it); and the number of pixels.
    """
    share = _shares(p, t, w)
    ordered = np.sort(np.where(share[..., None, :, :] > 0, p, 0.0), axis=-3)
    truth = np.where(share > 0, t, 0.0)[..., None, :, :]
    edges = np.concatenate(
        [
            np.minimum(truth, ordered[..., :1, :, :]),
            ordered,
            np.maximum(truth, ordered[..., -1:, :, :]),
        ],
        axis=-3,
    )
    low = edges[..., :-1, :, :]
    high = edges[..., 1:, :, :]
    inside = np.clip(truth, low, high)
    below = np.broadcast_to((truth < ordered[..., :1, :, :]), low.shape).astype(float)
    above = np.broadcast_to((truth > ordered[..., -1:, :, :]), low.shape).astype(float)
    first = np.arange(low.shape[-3])[:, None, None] == 0
    outlier = np.where(first, below, above)
    parts = (inside - low, high - inside, outlier, np.ones_like(low))
    return np.stack([(part * share[..., None, :, :]).sum(axis=_YX) for part in parts], axis=-1)


def hersbach_parts(sums: Any) -> tuple[Any, Any, Any]:
    """Return CRPS, reliability and potential CRPS of sums (M + 1, 4); NaN without a pixel."""
    total = sums[0, 3]
    if not total > 0:
        return np.nan, np.nan, np.nan
    alpha, beta, outlier = (sums[:, k] / total for k in range(3))
    width = alpha + beta
    share = np.divide(beta, width, out=np.zeros_like(beta), where=width > 0)
    # the outer bins: how often the truth lies there, and how far out on average
    share[0] = outlier[0]
    width[0] = beta[0] / outlier[0] if outlier[0] > 0 else 0.0
    share[-1] = 1 - outlier[-1]
    width[-1] = alpha[-1] / outlier[-1] if outlier[-1] > 0 else 0.0
    chance = np.arange(len(sums)) / (len(sums) - 1)
    reliable = float((width * (share - chance) ** 2).sum())
    potential = float((width * share * (1 - share)).sum())
    return reliable + potential, reliable, potential
