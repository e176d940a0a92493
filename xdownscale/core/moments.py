"""Mean and standard deviation of values that come in blocks. Plain arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np


class Moments:
    """Count, mean and central sum of squares of all blocks added so far (Chan et al. 1983).

    Attributes
    ----------
    count : int
        Values so far.
    mean : float
        Their mean; 0 where there is none.
    squares : float
        Sum of their squared distances from the mean.

    Examples
    --------
    >>> moments = Moments()
    >>> for block in ([1.0, 2.0], [6.0]):
    ...     moments.add(np.array(block))
    >>> moments.mean, moments.squares
    (3.0, 14.0)
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, values: Any) -> None:
        """Add a block.

        Parameters
        ----------
        values : array of float
            Of any shape, also empty; all of them count, so NaN must be gone.
        """
        if not values.size:
            return
        mean = float(values.mean())
        apart = mean - self.mean
        total = self.count + values.size
        own = float(((values - mean) ** 2).sum())
        self.squares += own + apart**2 * self.count * values.size / total
        self.mean += apart * values.size / total
        self.count = total

    def spread(self, ddof: int = 0) -> float:
        """Return the standard deviation; NaN where there are no more than `ddof` values."""
        if self.count <= ddof:
            return float("nan")
        return float(np.sqrt(self.squares / (self.count - ddof)))
