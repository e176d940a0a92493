"""Moving-block bootstrap of means over time, and the length of its blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 5  # least time steps in a block, where the record is long enough
_STRONGEST = 0.97  # correlation of neighbours
_FEWEST = 4  # time steps of which there is a standard error


def resampled_means(per_step: Any, length: int, draws: int, seed: int, block: int = 10) -> Any:
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
        Steps in a block.

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


def _weighted_means(weights: Any, per_step: Any) -> Any:
    good = ~np.isnan(per_step)
    total = weights @ np.where(good, per_step, 0.0)
    count = weights @ good.astype(float)
    return total / np.where(count > 0, count, np.nan)


def block_length(values: Any) -> int:
    """Return the length of blocks that suits the autocorrelation of a series.

    ``(6 r^2 n / (1 - r^2)^2)^(1/3)`` with the correlation r of neighbours (Carlstein 1986), at
    least 5 and at most a quarter of the series.

    Parameters
    ----------
    values : ndarray (n,)
        Without NaN.

    Returns
    -------
    int

    References
    ----------
    Carlstein (1986), doi:10.1214/aos/1176350057.

    Examples
    --------
    >>> block_length(np.random.default_rng(0).normal(size=400))
    5
    """
    count = len(values)
    apart = np.asarray(values, float) - np.mean(values)
    total = float(apart @ apart)
    r = float(apart[:-1] @ apart[1:]) / total if total > 0 else 0.0
    r = min(max(r, 0.0), _STRONGEST)
    best = int(np.ceil((6 * r**2 * count / (1 - r**2) ** 2) ** (1 / 3)))
    return max(1, min(max(BLOCK, best), count // 4))


def standard_error(series: Any) -> float:
    """Return the standard error of the mean of a series, by a moving-block bootstrap.

    Infinite for fewer than two values: then no difference counts.

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=400)
    >>> bool(abs(standard_error(white) - 0.05) < 0.01)
    True
    """
    if len(series) < 2:
        return float("inf")
    length = block_length(series)
    return float(resampled_means(series[:, None], len(series), 2000, 0, length).std())


def ratio_with_error(
    above: Any, below: Any, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the ratio of two means over time, and its standard error by moving blocks.

    Both series are resampled together. Blocks are as long as the autocorrelation of
    ``above - ratio * below`` asks, see `block_length`.

    Parameters
    ----------
    above, below : ndarray (n,)
        Of the same time steps; those where one is NaN are left out.
    draws : int
        Resamples.
    seed : int
        Of the blocks.

    Returns
    -------
    ratio, error : float
        NaN where nothing is left, or the mean below is 0; the error also of fewer than four steps.

    References
    ----------
    Kuensch (1989), doi:10.1214/aos/1176347265.

    Examples
    --------
    >>> ratio_with_error(np.full(8, 3.0), np.full(8, 2.0))
    (1.5, 0.0)
    """
    both = np.stack([above, below], axis=1).astype(float)
    both = both[np.isfinite(both).all(axis=1)]
    if not len(both) or both[:, 1].mean() == 0:
        return np.nan, np.nan
    means = both.mean(axis=0)
    ratio = float(means[0] / means[1])
    if len(both) < _FEWEST:
        return ratio, np.nan
    length = block_length(both[:, 0] - ratio * both[:, 1])
    drawn = resampled_means(both, len(both), draws, seed, length)
    kept = drawn[drawn[:, 1] != 0]
    return ratio, float((kept[:, 0] / kept[:, 1]).std(ddof=1))
