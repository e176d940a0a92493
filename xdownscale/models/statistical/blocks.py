"""Blocks of time for cross-validation, and predictions for time steps that were left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.core.blas import one_thread
from xdownscale.models.statistical.predictors import Array, Floats, Predictors, check_days

FOLDS = 6
Fit = Callable[[Predictors, Array], Any]


def time_blocks(count: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """Return the block of each of `count` time steps: contiguous and of equal length.

    Examples
    --------
    >>> time_blocks(7, 3)
    array([0, 0, 0, 1, 1, 2, 2])
    """
    return np.arange(count) * min(folds, max(count, 1)) // max(count, 1)


@one_thread("fine")
def cross_predict(fit: Fit, predictors: Predictors, fine: Array, folds: int = FOLDS) -> Floats:
    """Predict every block of time by a model that was fitted on the other blocks.

    Parameters
    ----------
    fit : callable
        ``fit(predictors, fine)`` returns a model with ``predict(predictors)``.
    predictors : Predictors
        Of n time steps, in chronological order.
    fine : ndarray (n, y, x)
        Fine fields; NaN where missing.
    folds : int
        Number of contiguous blocks.

    Returns
    -------
    ndarray of float32 (n, y, x)

    Raises
    ------
    DataError
        If there are fewer than two time steps.
    """
    check_days(len(fine), 2, "Prediction of time steps that were left out")
    block = time_blocks(len(fine), folds)
    out = np.empty(fine.shape, np.float32)
    for number in np.unique(block):
        held = np.flatnonzero(block == number)
        rest = np.flatnonzero(block != number)
        out[held] = fit(predictors.take(rest), fine[rest]).predict(predictors.take(held))
    return out
