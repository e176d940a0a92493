"""Learning-rate schedules."""

from __future__ import annotations

import math

_WARM_UP = 0.05  # share of the training


def cosine(progress: float) -> float:
    """Return the share of the learning rate: 5 % warm-up, then cosine decay to 0.

    Parameters
    ----------
    progress : float
        Share of the training that is over.

    Examples
    --------
    >>> [round(cosine(p), 2) for p in (0.025, 0.05, 0.525, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if progress < _WARM_UP:
        return max(progress, 1e-3) / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (progress - _WARM_UP) / (1 - _WARM_UP)))
