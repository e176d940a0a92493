"""Variogram models fitted to semivariance. Arrays only, no labels.

The common models are written out here. scikit-gstat, whose first import takes a second of CPU and
hundreds of modules, is imported for the others alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
MODELS = ("spherical", "exponential", "gaussian", "matern", "cubic", "stable")
SHAPES = {"matern": "smoothness", "stable": "shape"}  # names of the fourth parameter
MESSAGE = "<U120"
_SIGNIFICANT = 0.01  # chance of taking a flat curve for one with a range
_AT_BOUND = 0.99
_LEFT = float(np.exp(-3.0))  # share of the partial sill that is missing at the effective range
_LARGEST = {"matern": 20.0, "stable": 2.0}  # of the fourth parameter, as in scikit-gstat


class Fit(NamedTuple):
    """A model fitted to one curve, in the units of the curve and km.

    Attributes
    ----------
    parameters : ndarray, shape (4,)
        Effective range, partial sill, nugget, and the smoothness of ``"matern"`` or the shape of
        ``"stable"`` (NaN for other models); all NaN where the fit failed.
    message : str
        Why it failed; empty where it did not.
    unreliable : ndarray, shape (4,)
        Where the fit was refused, the best parameters of the model all the same; else NaN.
    """

    parameters: Array
    message: str
    unreliable: Array


def fit_curves(
    gamma: Array, count: Array, distance: Array, *, lag: Array, model: str
) -> tuple[Array, Array, Array, Array, Array]:
    """Fit a model to every curve.

    Parameters
    ----------
    gamma, count : ndarray, shape (..., bins)
        Semivariance and pair counts, which are the weights.
    distance : ndarray, shape (..., bins)
        Mean distance of the pairs, km.
    lag : ndarray, shape (bins,)
        Where the fitted curve is wanted, km.
    model : {"spherical", "exponential", "gaussian", "matern", "cubic", "stable"}
        As in scikit-gstat.

    Returns
    -------
    (ndarray, ndarray, ndarray, ndarray, ndarray)
        Fitted curve ``(..., bins)``; parameters ``(..., 4)`` as in `Fit`; whether the fit is good
        ``(...)`` and why not ``(...)``; the best parameters of refused fits ``(..., 4)``.

    Examples
    --------
    >>> h = np.arange(1.0, 11.0)
    >>> fit_curves(np.zeros(10), np.ones(10), h, lag=h, model="spherical")[3]
    array('constant field: the semivariance is zero', dtype='<U120')
    """
    lead = gamma.shape[:-1]
    curve, parameters = np.full(gamma.shape, np.nan), np.full((*lead, 4), np.nan)
    message = np.zeros(lead, dtype=MESSAGE)
    unreliable = np.full((*lead, 4), np.nan)
    distance = np.broadcast_to(distance, gamma.shape)
    for place in np.ndindex(lead):
        fit = fit_curve(distance[place], gamma[place], count[place], model)
        parameters[place], message[place] = fit.parameters, fit.message
        unreliable[place] = fit.unreliable
        if not fit.message:
            curve[place] = evaluate(model, lag, fit.parameters)
    return curve, parameters, message == "", message, unreliable


def fit_curve(distance: Array, gamma: Array, count: Array, model: str) -> Fit:
    """Fit a model to one curve by least squares, weighted by pair count.

    The bounds are scikit-gstat's: range up to the longest distance, partial sill up to the
    largest semivariance, nugget up to 99 % of it, smoothness up to 20, shape up to 2.

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
        rises = f"no sill within {h.max():.4g} km: it still rises; raise max_distance"
        return _failed(rises, parameters * unit)
    if flat:
        level = f"flat at {np.average(y, weights=n):.4g}: pure nugget, no range"
        return _failed(level, parameters * unit)
    return Fit(parameters * unit, "", np.full(4, np.nan))


def _refuse(y: Array, model: str) -> str:
    if y.size == 0:
        return "no semivariance: fewer than 100 valid cells"
    if y.size <= _free(model):
        return f"only {y.size} distance classes have pairs; {_free(model) + 1} are needed"
    return "" if y.max() > 0 else "constant field: the semivariance is zero"


def _failed(message: str, best: Array | None = None) -> Fit:
    nothing = np.full(4, np.nan)
    return Fit(nothing, message, nothing if best is None else best)


def _free(model: str) -> int:
    return 4 if model in SHAPES else 3


def evaluate(model: str, h: Array, parameters: Array) -> Array:
    """Return the semivariance of a model at distances.

    Parameters
    ----------
    model : str
        As in `fit_curves`.
    h : ndarray
        Distances, 0 or more, in the units of the range.
    parameters : ndarray, shape (4,)
        As in `Fit`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> evaluate("spherical", np.array([0.0, 5.0, 10.0, 20.0]), np.array([10.0, 2.0, 1.0, np.nan]))
    array([1.   , 2.375, 3.   , 3.   ])
    """
    reach, psill, nugget, shape = parameters
    more = (shape,) if model in SHAPES else ()
    if model in _FORMS:
        own: Array = nugget + psill * _FORMS[model](h, reach, *more)
        return own
    from skgstat import models  # late: a second of CPU

    curve: Array = getattr(models, model)(h, reach, psill, *more, nugget)
    return curve


def _spherical(h: Array, reach: float) -> Array:
    share = np.minimum(h / reach, 1.0)
    return np.asarray(1.5 * share - 0.5 * share**3)


def _exponential(h: Array, reach: float) -> Array:
    return np.asarray(1.0 - np.exp(-h / (reach / 3.0)))


def _gaussian(h: Array, reach: float) -> Array:
    return np.asarray(1.0 - np.exp(-3.0 * (h / reach) ** 2))


def _matern(h: Array, reach: float, smoothness: float) -> Array:
    return 1.0 - _matern_correlation(h * (matern_reach(float(smoothness)) / reach), smoothness)


def _matern_correlation(x: Array, smoothness: float) -> Array:
    """Return ``2^(1-v) / Gamma(v) x^v K_v(x)``: the correlation at x times the length scale."""
    from scipy.special import gamma, kv

    bessel = kv(smoothness, x)
    with np.errstate(invalid="ignore"):  # zero times infinity, at no distance
        found = 2.0 / gamma(smoothness) * (x / 2.0) ** smoothness * bessel
    return np.asarray(np.where(np.isinf(bessel), 1.0, found))


@lru_cache(maxsize=4096)
def matern_reach(smoothness: float) -> float:
    """Return where the correlation of the Matern model falls to that of the others' ranges."""
    from scipy.optimize import brentq

    def above(x: float) -> float:
        return float(_matern_correlation(np.array(x), smoothness)) - _LEFT

    return float(brentq(above, 1e-6, 100.0, xtol=1e-13))


_FORMS: dict[str, Callable[..., Array]] = {
    "spherical": _spherical,
    "exponential": _exponential,
    "gaussian": _gaussian,
    "matern": _matern,
}


def _least_squares(model: str, h: Array, y: Array, n: Array) -> tuple[Array, float] | None:
    """Best of three starts: parameters of a curve scaled to one, and its weighted misfit."""
    from scipy.optimize import curve_fit

    free = _free(model)

    def curve(h: Any, *p: float) -> Array:
        return evaluate(model, h, np.append(p, [np.nan] * (4 - free)))

    lower = np.array([1e-3, 0.0, 0.0, 0.05])[:free]
    upper = np.array([1.0, 1.0, 0.99, _LARGEST.get(model, np.nan)])[:free]
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
