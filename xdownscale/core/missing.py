"""What counts as missing: NaN and infinities. Plain arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np


def finite(values: Any) -> Any:
    """Return values with infinities turned into NaN: what is not a number is missing.

    Every score and diagnostic looks at its records through this, so that a pixel whose value
    overflowed (or is the logarithm of zero) is left out of all of them alike.

    Parameters
    ----------
    values : array
        Numpy or dask, any shape and kind; stays as it is.

    Returns
    -------
    array
        `values` itself where nothing was infinite; lazy where `values` is.

    Examples
    --------
    >>> finite(np.array([1.0, np.inf, -np.inf, np.nan]))
    array([ 1., nan, nan, nan])
    """
    if values.dtype.kind not in "fc":
        return values
    if not isinstance(values, np.ndarray):
        return values.map_blocks(_finite, dtype=values.dtype)
    return _finite(values)


def _finite(values: Any) -> Any:
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values
