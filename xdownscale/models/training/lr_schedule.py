"""Learning-rate schedules."""

from __future__ import annotations

import math

_RISE = 0.05  # share of the training in which the planned learning rate rises


def cosine(progress: float) -> float:
    """Return the share of the learning rate at some progress: a short rise, then half a cosine.

    Parameters
    ----------
    progress : float
        Share of the training that is over.

    Examples
    --------
    >>> [round(cosine(p), 2) for p in (0.025, 0.05, 0.525, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if progress < _RISE:
        return max(progress, 1e-3) / _RISE
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (progress - _RISE) / (1 - _RISE)))
