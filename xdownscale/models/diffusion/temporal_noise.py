"""How long residuals last: from days that were looked at to noise that lasts as long."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]
RHOS = np.array([0.0, 0.3, 0.6, 0.8, 0.95])  # of the autoregressions that noise is mixed from
LAGS = 5  # days that are looked at
_FIRM = 1e3  # weight of "shares add up to one"


def fit_memory(correlation: ArrayLike) -> Floats:
    """Return the shares of autoregressions whose sum has an autocorrelation.

    Weather forgets quickly at first and slowly later, which no single autoregression of order 1
    does. The autocorrelation of a sum of independent ones is ``sum(share * rho**lag)``; shares come
    from least squares, none below 0.

    Parameters
    ----------
    correlation : array (k,)
        Autocorrelation at lags 1 to k; NaN where it is not known.

    Returns
    -------
    ndarray (c,)
        Share of the variance for each of `RHOS`; they add up to one. No memory, where nothing is
        known.

    Examples
    --------
    >>> fit_memory([0.8, 0.64, 0.512]).round(3)
    array([0., 0., 0., 1., 0.])
    """
    wanted = np.asarray(correlation, float)
    lags = np.flatnonzero(np.isfinite(wanted))
    if not lags.size:
        return np.asarray(RHOS == 0, float)
    terms = np.vstack([RHOS ** (lags[:, None] + 1), np.full(RHOS.size, _FIRM)])
    shares, _ = nnls(terms, np.append(wanted[lags], _FIRM))
    return np.asarray(shares / shares.sum())


def corrected(shares: Floats, true: Floats, drawn: Floats) -> Floats:
    """Return shares of noise whose drawn fields last as long as true ones.

    What a network draws has a part that its inputs decide, which lasts as long as they do, so that
    fields forget more slowly than their noise.

    Parameters
    ----------
    shares : ndarray (t, c)
        Of `RHOS`, that fields were drawn with.
    true, drawn : ndarray (t, lags)
        Autocorrelation of true and drawn fields; NaN where it is not known.

    Examples
    --------
    >>> corrected(np.eye(5)[[3]], np.full((1, 2), 0.5), np.full((1, 2), 0.5)).round(3)
    array([[0., 0., 0., 1., 0.]])
    """
    lags = np.arange(1, true.shape[1] + 1)
    given = shares @ RHOS[:, None] ** lags
    wanted = given + np.nan_to_num(true - drawn)
    return np.stack([fit_memory(each) for each in wanted])


class Products:
    """Products of days that lie 1 to `LAGS` steps apart, added up one day after another.

    Parameters
    ----------
    step : int
        Seconds from one day to the next.
    targets : int
        Fields of a day.
    """

    def __init__(self, step: int, targets: int) -> None:
        self._step = step
        self._products, self._squares = (np.zeros((LAGS, targets)) for _ in range(2))
        self._before: deque[tuple[int, NDArray[np.floating]]] = deque(maxlen=LAGS)

    def add(self, key: int, fields: NDArray[np.floating]) -> None:
        """Add the fields (t, y, x) of a day, NaN where there is none; days ascend."""
        for other, before in self._before:
            lag, rest = divmod(key - other, self._step)
            if rest or lag > LAGS:
                continue
            both = np.isfinite(fields) & np.isfinite(before)
            pair = np.where(both, fields, 0.0), np.where(both, before, 0.0)
            self._products[lag - 1] += (pair[0] * pair[1]).sum(axis=(1, 2))
            self._squares[lag - 1] += (pair[0] ** 2 + pair[1] ** 2).sum(axis=(1, 2)) / 2
        self._before.append((key, fields))

    def start(self) -> None:
        """Begin another series: what comes next is not held against what there was."""
        self._before.clear()

    def correlation(self) -> Floats:
        """Return the autocorrelation (t, lags) of each target; NaN where it is not known."""
        out = np.full(self._squares.shape, np.nan)
        np.divide(self._products, self._squares, out=out, where=self._squares > 0)
        return out.T

    def shares(self) -> Floats:
        """Return the shares (t, c) of `RHOS`, for each target."""
        return np.stack([fit_memory(each) for each in self.correlation()])
