"""Both ends of a record with many zeros: what counts as dry, and its 1-in-1000-years value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[Any]

MANY = 0.1  # share of values at the smallest one, from which a record is censored there
YEARS = 1000.0  # return period of the largest value that is generated
_ROUNDING = 1e-6  # of the range: values this near to the smallest one equal it
_TRACE = 0.001  # quantile of the larger values, half of which is the threshold
_HIGH = 0.95  # quantile of a cell's larger values, above which they are its tail
_FEWEST = 50  # values of a tail
_SHARPEST = 0.5  # shape of a tail; above it has no variance, which no rain gauge shows
_PART = 1 << 20  # values that are looked at at once
_FITTED = 20_000  # values that a tail is fitted on


def dry_threshold(values: Array, least: float) -> float | None:
    """Return the value below which a field counts as its smallest value, such as no rain.

    Half the way to the 0.1 % quantile of the values above the smallest one: 0.05 mm for a record in
    steps of 0.1 mm. None unless more than a tenth of the values equal the smallest one.

    Parameters
    ----------
    values : ndarray
        NaN is left out.
    least : float
        The smallest value.

    Examples
    --------
    >>> round(dry_threshold(np.array([0.0, 0.0, 0.2, 0.2, 5.0]), 0.0), 6)
    0.1
    >>> dry_threshold(np.linspace(3.0, 5.0, 30), 3.0) is None
    True
    """
    count = 0
    highest = -np.inf
    for part in _finite_parts(values):
        count += part.size
        highest = max(highest, float(part.max(initial=-np.inf)))
    if not count:
        return None
    cut = least + _ROUNDING * (highest - least)
    larger = sum(int((part > cut).sum()) for part in _finite_parts(values))
    if not larger or 1 - larger / count <= MANY:
        return None
    above = np.concatenate([part[part > cut] for part in _finite_parts(values)])
    return float(least + (np.quantile(above, _TRACE, overwrite_input=True) - least) / 2)


def _finite_parts(values: Array) -> Iterator[Array]:
    """Iterate over the finite values as float64, some at a time: a record may be large."""
    flat = values.reshape(-1)
    for start in range(0, flat.size, _PART):
        part = flat[start : start + _PART]
        yield part[np.isfinite(part)].astype(np.float64)


def largest_value(fields: Array, least: float, threshold: float, steps: float) -> float:
    """Return the value that the wettest cell exceeds once in 1000 years.

    Values of each cell above the threshold are divided by their own 95 % quantile. What exceeds 1
    is pooled over all cells, and a generalised Pareto distribution is fitted to it: the regional
    approach to rare values, of which a single cell has too few.

    Parameters
    ----------
    fields : ndarray (n, y, x)
        NaN where missing.
    least, threshold : float
        The smallest value, and that below which values count as it.
    steps : float
        Time steps in a year.

    Returns
    -------
    float
        Never less than the largest value; twice that where fewer than 50 values exceed 1.

    References
    ----------
    Hosking and Wallis (1997), doi:10.1017/CBO9780511529443; Coles (2001), chapter 4.
    """
    flat = fields.reshape(len(fields), -1)
    highest = float(np.nanmax(flat))
    count = 0
    scales = []
    parts = []
    cells = max(1, _PART // len(flat))
    for start in range(0, flat.shape[1], cells):
        some = flat[:, start : start + cells].astype(np.float64)
        count += int(np.isfinite(some).sum())
        wet = np.where(some > threshold, some - least, np.nan)
        wet = wet[:, np.isfinite(wet).sum(0) >= 1 / (1 - _HIGH)]
        if wet.size:
            high = np.nanquantile(wet, _HIGH, axis=0)
            ratio = wet / high
            parts.append(ratio[ratio > 1] - 1)
            scales.append(float(high.max()))
    excess = np.concatenate(parts) if parts else np.zeros(0)
    if excess.size < _FEWEST:
        return least + 2 * (highest - least)
    level = return_level(excess, excess.size / count, YEARS * steps)
    return max(highest, float(least + (1 + level) * max(scales)))


def return_level(excess: Array, rate: float, steps: float) -> float:
    """Return the excess that is reached once in so many time steps.

    ``scale / shape ((steps rate)^shape - 1)``, from a generalised Pareto distribution that is
    fitted by maximum likelihood; shapes above 0.5 are taken for 0.5.

    Parameters
    ----------
    excess : ndarray
        Above the threshold of the tail, each more than 0.
    rate : float
        Share of all values that lie above it.
    steps : float
        Return period in time steps.
    """
    ordered = np.sort(excess)
    # evenly spaced ranks, the largest one included
    some = ordered[:: -max(1, ordered.size // _FITTED)]
    shape, _, scale = stats.genpareto.fit(some, floc=0)
    probability = min(1.0, 1 / (steps * rate))
    return float(stats.genpareto.isf(probability, min(shape, _SHARPEST), scale=scale))
