"""Forecast probabilities of events, and the CRPS in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core import wasserstein_kernels
from xdownscale.core.blocks import day_slices
from xdownscale.core.coords import require_array
from xdownscale.core.errors import check_option
from xdownscale.core.normalization import Scaling
from xdownscale.skill import _kernels, _probability_kernels
from xdownscale.skill._events import Levels
from xdownscale.skill._options import (
    MEMBERS,
    Weights,
    event_levels,
    pixel_weights,
    require_members,
)
from xdownscale.skill._scores import Transform, apply_kernel, paired, units_of

_TAILS = ("upper", "lower")
_EXACT = 1 << 22  # values of the truth up to which its own CRPS is exact


def reliability(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    thresholds: Levels = None,
    *,
    quantiles: Levels = None,
    weights: Weights = False,
) -> xr.Dataset:
    """Judge the probabilities of events: reliability diagram, Brier score and ROC curve.

    The probability that an ensemble of M realizations gives to an event is the share of those
    that have it, so it is one of k/M. With n_k the number of pixels and days of probability p_k,
    o_k the share of them that had the event, and o that of all N:
    Brier score ``mean (p - event)^2`` = reliability ``sum n_k (p_k - o_k)^2 / N`` - resolution
    ``sum n_k (o_k - o)^2 / N`` + uncertainty ``o (1 - o)``, exactly (Murphy 1973).

    Parameters
    ----------
    prediction : DataArray
        (realization, time, lat, lon), dims in any order; a single field gives 0 or 1.
    truth : DataArray
        (time, lat, lon); on the common days.
    thresholds, quantiles
        As for `events`: an event lies above.
    weights
        As for `r2`; counts are then sums of weights.

    Returns
    -------
    Dataset
        Over ``threshold``: ``brier``, ``brier_reliability``, ``brier_resolution``,
        ``brier_uncertainty``, ``brier_skill`` (1 - Brier / uncertainty), ``roc_area`` and
        ``roc_skill`` (2 area - 1); over ``probability`` too: ``count``, ``frequency`` (of the
        event, NaN where no pixel has that probability), and ``hit_rate`` and
        ``false_alarm_rate`` of a warning at that probability or above. ``brier_daily``
        (threshold, time). NaN in the truth or a member leaves a pixel out; no ROC without both an
        event and a day without one. All dimensionless, lazy where the input is.

    Raises
    ------
    OptionError
        As for `events`.
    GridError, TimeAxisError
        As for `r2`.

    References
    ----------
    Murphy (1973), doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2; Mason and Graham (2002),
    doi:10.1256/003590002320603584.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 5.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> ensemble = xr.concat([truth * 0 + 3, truth], dim="realization")
    >>> found = reliability(ensemble, truth, 2)
    >>> found.brier.values, found.frequency.values[0]
    (array([0.125]), array([nan,  0.,  1.]))
    """
    require_array(prediction, "The prediction")
    if MEMBERS not in prediction.dims:
        prediction = prediction.expand_dims(MEMBERS)
    pairs = paired(prediction, truth, None)
    levels = event_levels(pairs.truth, thresholds, quantiles)
    members = prediction.sizes[MEMBERS]

    def kernel(p: Any, t: Any, w: Any = None) -> Any:
        return _probability_kernels.event_counts(p, t, levels.values, w)

    sizes = {"threshold": levels.size, "probability": members + 1, "_event": 2}
    daily = apply_kernel(
        kernel,
        pairs,
        pixel_weights(weights, pairs.truth, pairs.axes),
        leading=(MEMBERS,),
        outputs=(tuple(sizes),),
        sizes=sizes,
    )
    about = {"long_name": "share of the realizations with the event", "units": "1"}
    chance = ("probability", np.arange(members + 1) / members, about)
    daily = daily.assign_coords({**levels.coords, "probability": chance})
    days = [pairs.axes.time] if pairs.axes.time else []
    found = _diagram(daily.sum(days))
    if days:
        found["brier_daily"] = _diagram(daily).brier.transpose("threshold", ...)
    return _named_parts(found).assign_attrs(realizations=members)


def _diagram(counts: xr.DataArray) -> xr.Dataset:
    """Return everything that counts (threshold, probability, _event) tell."""
    events = counts.isel(_event=1)
    others = counts.isel(_event=0)
    number = events + others
    total = number.sum("probability")
    total = total.where(total > 0)
    chance = counts["probability"]
    frequency = events / number.where(number > 0)
    base = events.sum("probability") / total
    known = frequency.fillna(0.0)
    parts = {
        "brier": (events * (1 - chance) ** 2 + others * chance**2).sum("probability") / total,
        "brier_reliability": (number * (chance - known) ** 2).sum("probability") / total,
        "brier_resolution": (number * (known - base) ** 2).sum("probability") / total,
        "brier_uncertainty": base * (1 - base),
    }
    found = xr.Dataset({"count": number, "frequency": frequency, **parts})
    sure = parts["brier_uncertainty"]
    found["brier_skill"] = 1 - parts["brier"] / sure.where(sure > 0)
    rates = [_at_or_above(x) for x in (events, others)]
    found["hit_rate"], found["false_alarm_rate"] = rates
    # the area under straight lines from each probability to the next
    lower = others / others.sum("probability").where(lambda n: n > 0)
    above = rates[0] - events / events.sum("probability").where(lambda n: n > 0)
    found["roc_area"] = (lower * (rates[0] + above) / 2).sum("probability", skipna=False)
    found["roc_skill"] = 2 * found["roc_area"] - 1
    return found


def _at_or_above(number: xr.DataArray) -> xr.DataArray:
    """Return the share of a count that lies at each probability or above."""
    total = number.sum("probability")
    backwards = number.isel(probability=slice(None, None, -1)).cumsum("probability")
    shares = backwards.isel(probability=slice(None, None, -1)) / total.where(total > 0)
    return shares.assign_coords(probability=number["probability"])


_PARTS = {
    "brier": "Brier score",
    "brier_daily": "Brier score of each day",
    "brier_reliability": "reliability part of the Brier score, 0 is best",
    "brier_resolution": "resolution part of the Brier score",
    "brier_uncertainty": "Brier score of the climatological frequency",
    "brier_skill": "Brier skill score",
    "count": "pixels and days with that probability",
    "frequency": "share of them that had the event",
    "hit_rate": "share of the events that were warned of",
    "false_alarm_rate": "share of the non-events that were warned of",
    "roc_area": "area under the ROC curve",
    "roc_skill": "ROC skill score",
}


def _named_parts(found: xr.Dataset) -> xr.Dataset:
    for name, text in _PARTS.items():
        if name in found:
            found[name].attrs = {"long_name": text, "units": "1"}
    return found


def twcrps(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    thresholds: Levels = None,
    *,
    quantiles: Levels = None,
    tail: str = "upper",
    weights: Weights = False,
) -> xr.DataArray:
    """Return the threshold-weighted CRPS of each day: the CRPS of the tail alone.

    ``integral over z >= threshold of (F(z) - 1(y <= z))^2 dz``, which is the CRPS of
    ``max(x, threshold)`` (Gneiting and Ranjan 2011; Allen et al. 2023), here fair as `crps`. It is
    proper, unlike the CRPS of the days on which the truth was extreme.

    Parameters
    ----------
    prediction, truth, weights
        As for `crps`.
    thresholds, quantiles
        As for `events`.
    tail : {"upper", "lower"}
        Values above the threshold, or below it.

    Returns
    -------
    DataArray
        (threshold, time), in the units of the truth. Lazy where the input is.

    Raises
    ------
    OptionError
        As for `events`, and for another `tail`.
    GridError, TimeAxisError
        As for `r2`.

    References
    ----------
    Gneiting and Ranjan (2011), doi:10.1198/jbes.2010.08110; Allen et al. (2023),
    doi:10.1137/22M1532184.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 9.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> twcrps(truth + 2, truth, [0, 5]).values  # below 5 nothing counts
    array([2., 1.])
    """
    check_option("tail", tail, _TAILS)
    require_array(prediction, "The prediction")
    if MEMBERS not in prediction.dims:
        prediction = prediction.expand_dims(MEMBERS)
    pairs = paired(prediction, truth, None)
    levels = event_levels(pairs.truth, thresholds, quantiles)
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    cut: Any = np.maximum if tail == "upper" else np.minimum

    def kernel(p: Any, t: Any, w: Any = None) -> Any:
        each = [_kernels.crps(cut(p, level), cut(t, level), w) for level in levels.values]
        return np.stack(each, axis=-1)

    sizes = {"threshold": levels.size}
    found: xr.DataArray = apply_kernel(
        kernel, pairs, shares, leading=(MEMBERS,), outputs=(("threshold",),), sizes=sizes
    )
    units = units_of(truth, None)
    about = {"long_name": f"threshold-weighted CRPS of the {tail} tail"}
    found = found.assign_coords(levels.coords).transpose("threshold", ...)
    return found.rename("twcrps").assign_attrs(about | ({"units": units} if units else {}))


def crps_decomposition(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.Dataset:
    """Split the CRPS of an ensemble into reliability, resolution and uncertainty.

    Hersbach (2000): with g_i the mean width of the bin between members i and i + 1, and o_i the
    mean frequency with which the truth lies below its middle,
    ``reliability = sum g_i (o_i - i/M)^2`` and ``potential = sum g_i o_i (1 - o_i)``; their sum is
    the CRPS. ``uncertainty`` is the CRPS of the truth's own distribution over all days and
    pixels, ``resolution`` what the potential CRPS is less than that.

    Parameters
    ----------
    prediction : DataArray
        (realization, time, lat, lon), M realizations, dims in any order.
    truth : DataArray
        (time, lat, lon).
    weights, transform
        As for `crps`; the uncertainty counts all pixels alike.

    Returns
    -------
    Dataset
        ``crps``, ``reliability``, ``potential``, ``resolution``, ``uncertainty`` in the units of
        the truth, computed; pooled over days and pixels. The CRPS is that of the M realizations
        themselves, not the fair one of `crps`: it does not fall to the latter's mean.

    Raises
    ------
    DataError
        If there are fewer than two realizations.
    GridError, TimeAxisError, OptionError
        As for `r2`.

    References
    ----------
    Hersbach (2000), doi:10.1175/1520-0434(2000)015<0559:DOTCRP>2.0.CO;2.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> ensemble = xr.concat([truth - 1, truth + 1], dim="realization")
    >>> found = crps_decomposition(ensemble, truth)
    >>> found.crps.item(), found.reliability.item(), found.potential.item()
    (0.5, 0.0, 0.5)
    """
    count = require_members(prediction, "crps_decomposition")
    pairs = paired(prediction, truth, transform)
    sizes = {"_bin": count + 1, "_part": 4}
    sums = apply_kernel(
        _probability_kernels.hersbach_sums,
        pairs,
        pixel_weights(weights, pairs.truth, pairs.axes),
        leading=(MEMBERS,),
        outputs=(tuple(sizes),),
        sizes=sizes,
    )
    days = [pairs.axes.time] if pairs.axes.time else []
    values = sums.sum(days).transpose(..., "_bin", "_part")
    further = values.dims[:-2]
    crps, reliable, potential = xr.apply_ufunc(
        _probability_kernels.hersbach_parts,
        values.compute(),
        input_core_dims=[["_bin", "_part"]],
        output_core_dims=[[], [], []],
        vectorize=bool(further),
    )
    known = pairs.truth.where(pairs.predictions["prediction"].notnull().all(MEMBERS))
    own = _own_crps(known)
    units = units_of(truth, transform)
    texts = {
        "crps": (crps, "continuous ranked probability score"),
        "reliability": (reliable, "reliability part of the CRPS, 0 is best"),
        "potential": (potential, "CRPS of a reliable ensemble with these bins"),
        "resolution": (own - potential, "uncertainty minus potential CRPS"),
        "uncertainty": (own + 0 * potential, "CRPS of the truth's own distribution"),
    }
    found = xr.Dataset()
    for name, (value, text) in texts.items():
        about = {"long_name": text, **({"units": units} if units else {})}
        found[name] = xr.DataArray(value).assign_attrs(about)
    return found.assign_attrs(realizations=count)


def _own_crps(truth: xr.DataArray) -> float:
    """Return ``integral F (1 - F)`` of all values, read block by block."""
    exact = truth.size <= _EXACT
    parts: list[Any] = []
    code = np.zeros((1, 1), int)
    lead = str(truth.dims[0])
    for part in day_slices([truth], lead):
        block = truth.isel({lead: part}).values.reshape(1, -1)
        parts.append(wasserstein_kernels.summarise(block, None, code, 1, exact, Scaling()))
        parts = [wasserstein_kernels.merge(parts, exact)] if len(parts) == 4 else parts
    points = wasserstein_kernels.merge(parts, exact)[0]
    if not points.values.size:
        return float("nan")
    below = np.cumsum(points.weights)[:-1] / points.weights.sum()
    return float(np.diff(points.values) @ (below * (1 - below)))
