"""Missing values (NaN and infinities): where a record has them, and how many."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xdownscale.core.blocks import blocks, is_lazy

_STEPS = 1024  # time steps that are looked at at once


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
    if is_lazy(values):
        return values.map_blocks(finite, dtype=values.dtype)
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def ever_present(array: Any) -> npt.NDArray[np.bool_]:
    """Return the cells of a record that ever have a finite value, ``(y, x)``.

    Parameters
    ----------
    array : (time, y, x) array
        Numpy or dask; read a block of time steps at a time.

    Returns
    -------
    (y, x) bool array

    Examples
    --------
    >>> ever_present(np.array([[[np.nan, 1.0]]]))
    array([[False,  True]])
    """
    present = np.zeros(array.shape[1:], bool)
    for _, block in blocks(array, _STEPS):
        present |= np.isfinite(block).any(axis=0)
    return present


def missing_share(array: Any, present: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the share of cells that each time step of a record misses.

    Parameters
    ----------
    array : (time, y, x) array
        Numpy or dask; read a block of time steps at a time.
    present : (y, x) bool array
        Cells that count: those that ever have a value.

    Returns
    -------
    (n,) array

    Examples
    --------
    >>> missing_share(np.array([[[np.nan, 1.0]]]), np.ones((1, 2), bool))
    array([0.5])
    """
    shares = np.ones(array.shape[0])
    for rows, block in blocks(array, _STEPS):
        if present.any():
            shares[rows] = 1 - np.isfinite(block[:, present]).mean(axis=1)
    return shares
