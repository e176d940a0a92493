"""Bootstrap intervals of statistics over time: arrays only, no labels."""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 10  # days that stay together, so that weather systems are not cut up
_ENOUGH = 0.9  # share of the resamples in which a statistic must be finite


def resampled_means(per_step: Any, length: int, draws: int, seed: int, block: int = BLOCK) -> Any:
    """Return means over `length` steps of a record, resampled in blocks of consecutive ones.

    Moving-block bootstrap (Kuensch 1989): blocks start anywhere in the record.

    Parameters
    ----------
    per_step : ndarray, shape (step, n)
        Values of each step; NaN is left out.
    length : int
        Steps in a resample.
    draws : int
        Number of resamples.
    seed : int
        Of the blocks.
    block : int
        Steps in a block: those of ten days.

    Returns
    -------
    ndarray, shape (draws, n)
        NaN where no step of a resample has a value.
    """
    steps = len(per_step)
    block = min(block, length, steps)
    counts = np.zeros((draws, steps))
    starts = np.random.default_rng(seed).integers(
        0, steps - block + 1, (draws, -(-length // block))
    )
    picked = (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :length]
    np.add.at(counts, (np.arange(draws)[:, None], picked), 1.0)
    return _weighted_means(counts, per_step)


def mean(per_step: Any) -> Any:
    """Average over all steps, shape (n,)."""
    return _weighted_means(np.ones((1, len(per_step))), per_step)[0]


def interval(draws: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Return the central interval along the first axis; NaN where one resample in ten is NaN."""
    tail = (1 - level) / 2
    good = np.isfinite(draws).mean(axis=0) > _ENOUGH
    # what is left out afterwards may be all NaN, of which numpy would warn
    low, high = np.nanquantile(np.where(good, draws, 0.0), [tail, 1 - tail], axis=0)
    return np.where(good, low, np.nan), np.where(good, high, np.nan)


def _weighted_means(weights: Any, per_step: Any) -> Any:
    good = ~np.isnan(per_step)
    total = weights @ np.where(good, per_step, 0.0)
    count = weights @ good.astype(float)
    return total / np.where(count > 0, count, np.nan)
