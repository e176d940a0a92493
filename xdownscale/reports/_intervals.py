"""Bootstrap intervals of statistics over time: arrays only, no labels."""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 10  # days that stay together, so that weather systems are not cut up
_ENOUGH = 0.9  # share of the resamples in which a statistic must be finite


def interval(draws: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Return the central interval along the first axis; NaN where one resample in ten is NaN."""
    tail = (1 - level) / 2
    good = np.isfinite(draws).mean(axis=0) > _ENOUGH
    # what is left out afterwards may be all NaN, of which numpy would warn
    low, high = np.nanquantile(np.where(good, draws, 0.0), [tail, 1 - tail], axis=0)
    return np.where(good, low, np.nan), np.where(good, high, np.nan)
