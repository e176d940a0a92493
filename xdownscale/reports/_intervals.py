"""How far a statistic of some days wanders by chance: arrays only, no labels."""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 10  # days that stay together, so that weather systems are not cut up
_ENOUGH = 0.9  # share of the draws that a statistic must be found in


def resampled_means(per_day: Any, length: int, draws: int, seed: int) -> Any:
    """Means over `length` days of a record, drawn in blocks of consecutive days.

    Moving-block bootstrap (Kuensch 1989): blocks of ten days start anywhere in the record.

    Parameters
    ----------
    per_day : ndarray, shape (day, n)
        Values of each day; NaN is left out.
    length : int
        Days in a draw.
    draws : int
        Number of draws.
    seed : int
        Of the blocks.

    Returns
    -------
    ndarray, shape (draws, n)
        NaN where no day of a draw has a value.
    """
    days = len(per_day)
    block = min(BLOCK, length, days)
    counts = np.zeros((draws, days))
    starts = np.random.default_rng(seed).integers(0, days - block + 1, (draws, -(-length // block)))
    picked = (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :length]
    np.add.at(counts, (np.arange(draws)[:, None], picked), 1.0)
    return _weighted_means(counts, per_day)


def mean(per_day: Any) -> Any:
    """Mean over all days, shape (n,)."""
    return _weighted_means(np.ones((1, len(per_day))), per_day)[0]


def interval(draws: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Return the central interval of draws along the first axis; NaN where one in ten is NaN."""
    tail = (1 - level) / 2
    good = np.isfinite(draws).mean(axis=0) > _ENOUGH
    # what is left out afterwards may be all NaN, of which numpy would warn
    low, high = np.nanquantile(np.where(good, draws, 0.0), [tail, 1 - tail], axis=0)
    return np.where(good, low, np.nan), np.where(good, high, np.nan)


def _weighted_means(weights: Any, per_day: Any) -> Any:
    good = ~np.isnan(per_day)
    total = weights @ np.where(good, per_day, 0.0)
    count = weights @ good.astype(float)
    return total / np.where(count > 0, count, np.nan)
