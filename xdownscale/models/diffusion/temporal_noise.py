"""Temporal correlation: measure that of residuals, and give the same to noise."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]
RHOS = np.array([0.0, 0.3, 0.6, 0.8, 0.95])  # of the autoregressions that add up to the noise
LAGS = 5  # largest lag that is measured
_EXACT = 1e3  # weight of "shares add up to one"


def fit_shares(correlation: ArrayLike) -> Floats:
    """Return the shares of autoregressions whose sum has a given autocorrelation.

    The autocorrelation of weather falls quickly at first and slowly later, which that of a single
    autoregression of order 1 does not. The autocorrelation of a sum of independent ones is
    ``sum(share * rho**lag)``; shares come from least squares, none below 0.

    Parameters
    ----------
    correlation : array (k,)
        Autocorrelation at lags 1 to k; NaN where it is not known.

    Returns
    -------
    ndarray (c,)
        Share of the variance for each of `RHOS`; they add up to one. White noise where nothing is
        known.

    Examples
    --------
    >>> fit_shares([0.8, 0.64, 0.512]).round(3)
    array([0., 0., 0., 1., 0.])
    """
    wanted = np.asarray(correlation, float)
    lags = np.flatnonzero(np.isfinite(wanted))
    if not lags.size:
        return np.asarray(RHOS == 0, float)
    terms = np.vstack([RHOS ** (lags[:, None] + 1), np.full(RHOS.size, _EXACT)])
    shares, _ = nnls(terms, np.append(wanted[lags], _EXACT))
    return np.asarray(shares / shares.sum())


def corrected_shares(shares: Floats, true: Floats, generated: Floats) -> Floats:
    """Correct the shares of noise so that generated fields have the true autocorrelation.

    A generated field is partly decided by the network's inputs, which are correlated in time, so
    that fields are more strongly correlated than their noise.

    Parameters
    ----------
    shares : ndarray (t, c)
        Of `RHOS`, that fields were generated with.
    true, generated : ndarray (t, lags)
        Autocorrelation of true and generated fields; NaN where it is not known.

    Examples
    --------
    >>> corrected_shares(np.eye(5)[[3]], np.full((1, 2), 0.5), np.full((1, 2), 0.5)).round(3)
    array([[0., 0., 0., 1., 0.]])
    """
    lags = np.arange(1, true.shape[1] + 1)
    given = shares @ RHOS[:, None] ** lags
    wanted = given + np.nan_to_num(true - generated)
    return np.stack([fit_shares(each) for each in wanted])


class LaggedProducts:
    """Sums of lagged products, from which the autocorrelation at lags 1 to `LAGS` is computed.

    Parameters
    ----------
    step : int
        Seconds from one time step to the next.
    targets : int
        Fields of a time step.
    """

    def __init__(self, step: int, targets: int) -> None:
        self._step = step
        self._products = np.zeros((LAGS, targets))
        self._squares = np.zeros((LAGS, targets))
        self._before: deque[tuple[int, NDArray[np.floating]]] = deque(maxlen=LAGS)

    def add(self, key: int, fields: NDArray[np.floating]) -> None:
        """Add the fields (t, y, x) of a time step, NaN where missing; time steps ascend."""
        for earlier, before in self._before:
            lag, rest = divmod(key - earlier, self._step)
            if rest or lag > LAGS:
                continue
            both = np.isfinite(fields) & np.isfinite(before)
            one = np.where(both, fields, 0.0)
            other = np.where(both, before, 0.0)
            self._products[lag - 1] += (one * other).sum(axis=(1, 2))
            self._squares[lag - 1] += (one**2 + other**2).sum(axis=(1, 2)) / 2
        self._before.append((key, fields))

    def start(self) -> None:
        """Begin another series: its time steps are not paired with earlier ones."""
        self._before.clear()

    def correlation(self) -> Floats:
        """Return the autocorrelation (t, lags) of each target; NaN where it is not known."""
        out = np.full(self._squares.shape, np.nan)
        np.divide(self._products, self._squares, out=out, where=self._squares > 0)
        return out.T

    def shares(self) -> Floats:
        """Return the shares (t, c) of `RHOS`, for each target."""
        return np.stack([fit_shares(each) for each in self.correlation()])
