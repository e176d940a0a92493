"""Scores of threshold exceedances, pixel by pixel and in neighbourhoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.errors import OptionError
from xdownscale.skill import _kernels
from xdownscale.skill._options import Weights, event_levels, pixel_weights
from xdownscale.skill._scores import apply_kernel, paired

Levels = Sequence[float] | float | None
_COUNTS = ("hits", "misses", "false_alarms", "correct_negatives")
_SCORES = {
    "frequency_bias": "events predicted over events observed",
    "hit_rate": "share of observed events that were predicted",
    "false_alarm_ratio": "share of predicted events that were not observed",
    "csi": "critical success index",
}


def events(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    thresholds: Levels = None,
    *,
    quantiles: Levels = None,
    weights: Weights = False,
) -> xr.Dataset:
    """Score events above thresholds, such as dust storms, pixel by pixel.

    With hits h, misses m and false alarms f: frequency bias ``(h + f)/(h + m)``, hit rate
    ``h/(h + m)``, false-alarm ratio ``f/(h + f)``, critical success index ``h/(h + m + f)``.
    A monotone transform changes none of them.

    Parameters
    ----------
    prediction, truth : DataArray
        (time, lat, lon) on one grid, dims in any order; scored on their common days. Further
        dims of the prediction are kept. Score realizations rather than their mean, which has no
        extremes.
    thresholds : float or sequence of float
        In the units of the truth; an event lies above.
    quantiles : float or sequence of float
        Instead of thresholds: quantiles of the truth on the common days, which is read (twice,
        chunk by chunk) when this is called. Everything else is lazy where the input is.
    weights
        As for `r2`; counts are then sums of weights.

    Returns
    -------
    Dataset
        Over ``threshold`` (and its ``quantile``): ``hits``, ``misses``, ``false_alarms``,
        ``correct_negatives`` (threshold, time); the four scores pooled over the days, as
        ``frequency_bias``, ``hit_rate``, ``false_alarm_ratio``, ``csi`` (threshold), and each
        day's, as ``csi_daily`` and so on (threshold, time): NaN on a day without an event, so
        take their mean and standard deviation with `over_days`, which counts what is left.

    Raises
    ------
    OptionError
        If there is no threshold, or a quantile is not between 0 and 1.
    GridError, TimeAxisError
        As for `r2`.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 5.0, 6.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> found = events(truth.copy(data=[[5.0, 5.0, 1.0]]), truth, thresholds=4)
    >>> found.hit_rate.item(), found.frequency_bias.item(), round(found.csi.item(), 3)
    (0.5, 1.0, 0.333)
    """
    pairs = paired(prediction, truth, None)
    levels = event_levels(pairs.truth, thresholds, quantiles)
    shares = pixel_weights(weights, pairs.truth, pairs.axes)

    def kernel(p: Any, t: Any, w: Any = None) -> Any:
        return _kernels.contingency(p, t, levels.values, w)

    sizes = {"threshold": levels.size, "outcome": len(_COUNTS)}
    counts = apply_kernel(kernel, pairs, shares, outputs=(tuple(sizes),), sizes=sizes)
    counts = counts.assign_coords(levels.coords).transpose("threshold", ...)
    daily = {name: counts.isel(outcome=i) for i, name in enumerate(_COUNTS)}
    found = xr.Dataset(daily)
    days = [pairs.axes.time] if pairs.axes.time else []
    pooled = _ratios({name: count.sum(days) for name, count in daily.items()})
    each = {f"{name}_daily": score for name, score in _ratios(daily).items()} if days else {}
    for name, score in {**pooled, **each}.items():
        text = _SCORES[name.removesuffix("_daily")]
        found[name] = score.assign_attrs({"long_name": text, "units": "1"})
    for name in _COUNTS:
        found[name].attrs = {"long_name": name.replace("_", " "), "units": "1"}
    return found


def _ratios(counts: dict[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    hits = counts["hits"]
    misses = counts["misses"]
    alarms = counts["false_alarms"]
    observed = hits + misses
    predicted = hits + alarms
    either = hits + misses + alarms
    return {
        "frequency_bias": predicted / observed.where(observed > 0),
        "hit_rate": hits / observed.where(observed > 0),
        "false_alarm_ratio": alarms / predicted.where(predicted > 0),
        "csi": hits / either.where(either > 0),
    }


def fss(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    thresholds: Levels = None,
    windows: Sequence[int] | int | None = None,
    *,
    quantiles: Levels = None,
) -> xr.Dataset:
    """Return the fractions skill score of events, over neighbourhoods of several sizes.

    ``1 - sum (p - o)^2 / (sum p^2 + sum o^2)`` for the fractions p and o of pixels above a
    threshold in all square windows that lie inside the grid (Roberts and Lean 2008). Fractions
    are of the pixels that are not NaN; a window without any is left out.

    Parameters
    ----------
    prediction, truth, thresholds, quantiles
        As for `events`.
    windows : int or sequence of int
        Sides of the windows in pixels, from 1 to the smaller side of the grid; by default those
        of 1, 3, 5, 9 and 17 that fit.

    Returns
    -------
    Dataset
        ``fss`` (threshold, window), pooled over the days; ``fss_daily`` (threshold, window,
        time), NaN on a day without any event; ``base_rate`` (threshold), the share of the
        truth above the threshold, and ``useful`` = 1/2 + base_rate/2, the score above which a
        window is large enough to trust. All dimensionless; lazy where the input is.

    Raises
    ------
    OptionError
        As for `events`; and if a window does not fit into the grid.
    GridError, TimeAxisError
        As for `r2`.

    References
    ----------
    Roberts and Lean (2008), doi:10.1175/2007MWR2123.1.

    Examples
    --------
    >>> truth = xr.DataArray(np.eye(4), coords={"lat": np.arange(4.0), "lon": np.arange(4.0)})
    >>> shifted = truth.roll(lon=1)
    >>> fss(shifted, truth, 0.5, windows=[1, 4]).fss.values
    array([[0., 1.]])
    """
    pairs = paired(prediction, truth, None)
    axes = pairs.axes
    sides = _check_windows(windows, min(truth.sizes[axes.y], truth.sizes[axes.x]))
    levels = event_levels(pairs.truth, thresholds, quantiles)

    def kernel(p: Any, t: Any) -> Any:
        return _kernels.fractions(p, t, levels.values, sides)

    sizes = {"threshold": levels.size, "window": len(sides), "term": 3}
    terms = apply_kernel(kernel, pairs, None, outputs=(tuple(sizes),), sizes=sizes)
    terms = terms.transpose("threshold", "window", ...).assign_coords(levels.coords)
    side = ("window", sides, {"long_name": "side of the window", "units": "pixels"})
    return _labelled_fss(terms.assign_coords(window=side), axes.time)


def _labelled_fss(terms: xr.DataArray, time: str | None) -> xr.Dataset:
    days = [time] if time else []
    error = terms.isel(term=0)
    reference = terms.isel(term=1)
    base = terms.isel(term=2)
    whole = error.sum(days)
    most = reference.sum(days)
    found = {"fss": (1 - whole / most.where(most > 0), "fractions skill score, pooled over days")}
    if time:
        daily = 1 - error / reference.where(reference > 0)
        found["fss_daily"] = (daily, "fractions skill score of each day")
    rate = base.isel(window=0, drop=True).mean(days)
    found["base_rate"] = (rate, "share of the truth above the threshold")
    found["useful"] = (0.5 + rate / 2, "score above which a window is useful")
    named = {}
    for name, (da, text) in found.items():
        named[name] = da.assign_attrs({"long_name": text, "units": "1"})
    return xr.Dataset(named)


def _check_windows(windows: Sequence[int] | int | None, most: int) -> list[int]:
    if windows is None:
        return [side for side in (1, 3, 5, 9, 17) if side <= most]
    sides = np.atleast_1d(np.asarray(windows))
    if not sides.size or sides.dtype.kind not in "iu" or sides.min() < 1 or sides.max() > most:
        raise OptionError(
            f"windows is {windows!r}; give sides in whole pixels from 1 to {most}, the smaller "
            "side of the grid."
        )
    return [int(side) for side in sides]
