"""Variogram models fitted to semivariance. Arrays only, no labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xdownscale.core.grids import Array

MODELS = ("spherical", "exponential", "gaussian", "matern")
MESSAGE = "<U120"
_SIGNIFICANT = 0.01  # chance of taking a flat curve for one with a range
_AT_BOUND = 0.99


class Fit(NamedTuple):
    """A model fitted to one curve, in the units of the curve and km.

    Attributes
    ----------
    parameters : ndarray, shape (4,)
        Effective range, partial sill, nugget, smoothness (NaN but for ``"matern"``); all NaN
        where the fit failed.
    message : str
        Why it failed; empty where it did not.
    """

    parameters: Array
    message: str


def fit_curves(
    gamma: Array, count: Array, distance: Array, *, lag: Array, model: str
) -> tuple[Array, Array, Array, Array]:
    """Fit a model to every curve.

    Parameters
    ----------
    gamma, count : ndarray, shape (..., bins)
        Semivariance and pair counts.
    distance : ndarray, shape (bins,)
        Mean distance of the pairs, km.
    lag : ndarray, shape (bins,)
        Where the fitted curve is wanted, km.
    model : {"spherical", "exponential", "gaussian", "matern"}
        As in scikit-gstat.

    Returns
    -------
    (ndarray, ndarray, ndarray, ndarray)
        Fitted curve ``(..., bins)``; parameters ``(..., 4)`` as in `Fit`; whether the fit is good
        ``(...)`` and why not ``(...)``.

    Examples
    --------
    >>> h = np.arange(1.0, 11.0)
    >>> fit_curves(np.zeros(10), np.ones(10), h, lag=h, model="spherical")[3]
    array('constant field: the semivariance is zero', dtype='<U120')
    """
    lead = gamma.shape[:-1]
    curve, parameters = np.full(gamma.shape, np.nan), np.full((*lead, 4), np.nan)
    message = np.zeros(lead, dtype=MESSAGE)
    for place in np.ndindex(lead):
        fit = fit_curve(distance, gamma[place], count[place], model)
        parameters[place], message[place] = fit.parameters, fit.message
        if not fit.message:
            curve[place] = _evaluate(model, lag, fit.parameters)
    return curve, parameters, message == "", message


def fit_curve(distance: Array, gamma: Array, count: Array, model: str) -> Fit:
    """Fit a model to one curve by least squares, weighted by pair count.

    The bounds are scikit-gstat's: range up to the longest distance, partial sill up to the
    largest semivariance, nugget up to 99 % of it, smoothness up to 20.

    Parameters
    ----------
    distance, gamma, count : ndarray, shape (bins,)
        Mean distance in km, semivariance and pair count; NaN where there is no pair.
    model : str
        As in `fit_curves`.

    Returns
    -------
    Fit

    Examples
    --------
    >>> h = np.arange(1.0, 11.0)
    >>> gamma = np.where(h < 6, 1 + 2 * (1.5 * h / 6 - 0.5 * (h / 6) ** 3), 3.0)
    >>> fit_curve(h, gamma, np.ones(10), "spherical").parameters[:3].round(3)
    array([6., 2., 1.])
    """
    good = np.isfinite(distance) & (count > 0) & ~np.isnan(gamma)
    h, y, n = distance[good], gamma[good], count[good]
    refused = _refuse(y, model)
    if refused:
        return _failed(refused)
    unit = np.array([h.max(), y.max(), y.max(), 1.0])  # so that the units do not matter
    best = _least_squares(model, h / unit[0], y / unit[1], n / n.max())
    if best is None:
        return _failed("the least squares did not converge")
    parameters, misfit = best
    flat = _is_flat(y / unit[1], n / n.max(), misfit, _free(model))
    if parameters[0] > _AT_BOUND and (not flat or _rises(h, y)):
        return _failed(f"no sill within {h.max():.4g} km: it still rises; raise max_distance")
    if flat:
        return _failed(f"flat at {np.average(y, weights=n):.4g}: pure nugget, no range")
    return Fit(parameters * unit, "")


def _refuse(y: Array, model: str) -> str:
    if y.size == 0:
        return "no semivariance: fewer than 100 valid cells"
    if y.size <= _free(model):
        return f"only {y.size} distance classes have pairs; {_free(model) + 1} are needed"
    return "" if y.max() > 0 else "constant field: the semivariance is zero"


def _failed(message: str) -> Fit:
    return Fit(np.full(4, np.nan), message)


def _free(model: str) -> int:
    return 4 if model == "matern" else 3


def _evaluate(model: str, h: Array, parameters: Array) -> Array:
    from skgstat import models  # late: seconds of compilation

    reach, psill, nugget, smoothness = parameters
    shape = (smoothness,) if model == "matern" else ()
    curve: Array = getattr(models, model)(h, reach, psill, *shape, nugget)
    return curve


def _least_squares(model: str, h: Array, y: Array, n: Array) -> tuple[Array, float] | None:
    """Best of three starts: parameters of a curve scaled to one, and its weighted misfit."""
    from scipy.optimize import curve_fit

    free = _free(model)

    def curve(h: Any, *p: float) -> Array:
        return _evaluate(model, h, np.append(p, [np.nan] * (4 - free)))

    lower, upper = np.array([[1e-3, 0.0, 0.0, 0.05], [1.0, 1.0, 0.99, 20.0]])[:, :free]
    found = []
    for start in (0.2, 0.5, 0.9):
        p0 = np.array([start, 0.7, 0.2, 1.0])[:free]
        try:
            p = curve_fit(curve, h, y, p0=p0, sigma=n**-0.5, bounds=(lower, upper))[0]
        except RuntimeError:  # too many evaluations
            continue
        found.append((float(np.sum(n * (curve(h, *p) - y) ** 2)), p))
    if not found:
        return None
    misfit, p = min(found, key=lambda one: one[0])
    return np.append(p, [np.nan] * (4 - free)), misfit


def _rises(h: Array, y: Array) -> bool:
    """Tell whether semivariance grows with distance, whatever the shape of its curve."""
    from scipy.stats import pearsonr

    found = pearsonr(h, y)
    return bool(found.statistic > 0 and found.pvalue < _SIGNIFICANT)


def _is_flat(y: Array, n: Array, misfit: float, free: int) -> bool:
    """Tell by an F test that the model is no better than a constant."""
    from scipy.stats import f

    flat = float(np.sum(n * (y - np.average(y, weights=n)) ** 2))
    rest = y.size - free
    ratio = ((flat - misfit) / (free - 1)) / max(misfit / rest, 1e-300)
    return bool(f.sf(ratio, free - 1, rest) > _SIGNIFICANT)
