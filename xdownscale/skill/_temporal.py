"""Nash-Sutcliffe and Kling-Gupta efficiency, over time at each pixel or over the pixels of a day.

Over time each is made of sums over time, which dask adds up chunk by chunk, so a lazy record is
read once and never held. (`scores.continuous.nse` and `kge` subtract a mean first, and so hold the
record; they are the oracles of the tests.)
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import xarray as xr

from xdownscale.core.alignment import Matched
from xdownscale.core.coords import require_time
from xdownscale.core.errors import OptionError, check_option
from xdownscale.skill import _kernels
from xdownscale.skill._options import Weights, pixel_weights, scaling_of
from xdownscale.skill._scores import Transform, apply_kernel, paired

OVER = ("time", "space")
_ROUNDING = 1e-28  # share of the squared mean below which a variance is rounding
_CANCELLED = 1e-14  # share of the mean square below which a difference of squares is rounding


def nse(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    over: str = "time",
    weights: Weights = False,
    transform: Transform = None,
    reduce: bool = True,
) -> xr.DataArray:
    """Return the Nash-Sutcliffe efficiency: 1 - SSE/SST over time at each pixel, mean over pixels.

    Or over the pixels of each day, where it is the score `r2`, mean over days.

    Parameters
    ----------
    prediction, truth : DataArray
        (time, lat, lon) on one grid, dims in any order; scored on their common days. Further
        dims of the prediction, such as realizations, are kept.
    over : {"time", "space"}
        What is summed over: the days of a pixel, as in hydrology, or the pixels of a day, as in
        table A1 of arXiv:2512.05139.
    weights, transform
        As for `r2`; the weights are those of the mean over pixels, and over space those of the
        sums.
    reduce : bool
        False gives the map (lat, lon), over space the series (time), instead of its mean.

    Returns
    -------
    DataArray
        Dimensionless. Pixels with fewer than two days, or a constant truth, are NaN in the map
        and left out of the mean; so are days with fewer than two pixels. Lazy where the input is.

    Raises
    ------
    GridError, TimeAxisError, DataError, OptionError
        As for `r2`; for an unknown `over`; and if the truth has no time.

    References
    ----------
    Nash and Sutcliffe (1970), doi:10.1016/0022-1694(70)90255-6.

    Examples
    --------
    >>> days = xr.date_range("2000-01-01", periods=3)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0]}
    >>> truth = xr.DataArray([[[1.0]], [[2.0]], [[3.0]]], coords=edges)
    >>> round(nse(truth + 1, truth).item(), 6)
    -0.5
    >>> both = xr.concat([truth, truth + 4], "lon").assign_coords(lon=[0.0, 1.0])
    >>> nse(both + 1, both, over="space", reduce=False).values
    array([0.75, 0.75, 0.75])
    """
    check_option("dimensions to score over", over, OVER)
    time = require_time(truth, "The truth")
    pairs = paired(prediction, truth, transform)
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    if over == "space":
        daily = apply_kernel(_kernels.r2, pairs, shares)
        return _named(daily, time if reduce else None, "nse", _NSE)
    p, t = _common(pairs.predictions["prediction"], pairs.truth)
    moments = _moments(p, t, time)
    found = 1 - ((p - t) ** 2).sum(time) / moments.n_steps / moments.variance_t
    return _finished(found, "nse", _NSE, pairs, shares, reduce=reduce)


def kge(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    over: str = "time",
    method: str | None = None,
    weights: Weights = False,
    transform: Transform = None,
    reduce: bool = True,
) -> xr.Dataset:
    """Return the Kling-Gupta efficiency over time at each pixel and its parts; means over pixels.

    Or over the pixels of each day; means over days.

    ``kge = 1 - sqrt((r - 1)^2 + (beta - 1)^2 + (gamma - 1)^2)``: r the correlation, beta the
    ratio of the means, gamma that of the coefficients of variation (Kling et al. 2012) or, with
    ``method="2009"``, of the standard deviations (Gupta et al. 2009, who call it alpha).

    Parameters
    ----------
    prediction, truth, over, weights, transform, reduce
        As for `nse`. In logarithms means lie near 0 and beta loses its sense: prefer physical
        units. Over space a logarithm is refused.
    method : {"2012", "2009"}, optional
        What gamma is; default ``"2012"``, over space ``"2009"``, as in arXiv:2512.05139.

    Returns
    -------
    Dataset
        ``kge``, ``r``, ``beta``, ``gamma``, all dimensionless, with ``attrs["method"]``. Each
        is 1 for a perfect prediction. A pixel (over space: a day) where either field is constant
        or the truth has mean 0 is NaN in all four. Lazy where the input is.

    Raises
    ------
    GridError, TimeAxisError, DataError, OptionError
        As for `nse`; for an unknown method; and over space for a logarithm.

    References
    ----------
    Gupta et al. (2009), doi:10.1016/j.jhydrol.2009.08.003;
    Kling et al. (2012), doi:10.1016/j.jhydrol.2012.01.011.

    Examples
    --------
    >>> days = xr.date_range("2000-01-01", periods=3)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0]}
    >>> truth = xr.DataArray([[[1.0]], [[2.0]], [[3.0]]], coords=edges)
    >>> found = kge(2 * truth, truth)
    >>> float(found.beta), round(float(found.gamma), 6), round(float(found.kge), 6)
    (2.0, 1.0, 0.0)
    """
    check_option("dimensions to score over", over, OVER)
    method = method or ("2012" if over == "time" else "2009")
    check_option("method of kge", method, ("2012", "2009"))
    time = require_time(truth, "The truth")
    if over == "space":
        _refuse_logarithm(transform)
    pairs = paired(prediction, truth, transform)
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    if over == "space":
        return _kge_over_space(pairs, shares, method, time if reduce else None)
    p, t = _common(pairs.predictions["prediction"], pairs.truth)
    parts = _parts(_moments(p, t, time), method)
    found = {
        name: _finished(parts[name], name, long, pairs, shares, reduce=reduce)
        for name, long in _kge_names("time", method).items()
    }
    return xr.Dataset(found, attrs={"method": method})


def _kge_names(over: str, method: str) -> dict[str, str]:
    """Return the names of the parts, and their long names."""
    names = {"kge": "Kling-Gupta efficiency", "r": f"correlation over {over}"}
    return names | {"beta": "ratio of the means", "gamma": _GAMMA[method]}


def _refuse_logarithm(transform: Transform) -> None:
    """Raise `OptionError` for a logarithm, whose means may lie on both sides of 0."""
    name = scaling_of(transform).transform
    if name.startswith("log"):
        raise OptionError(
            f"The Kling-Gupta efficiency holds a ratio of means, which has no sense in {name} "
            "units; give transform=None, for physical ones."
        )


def _kge_over_space(
    pairs: Matched, shares: xr.DataArray | None, method: str, time: str | None
) -> xr.Dataset:
    """Return the parts over the pixels of each day, or their means over `time`."""
    names = _kge_names("space", method)
    kernel = partial(_kernels.kge_parts, method=method)
    parts = apply_kernel(kernel, pairs, shares, outputs=((),) * len(names))
    found = {
        name: _named(part, time, name, long)
        for part, (name, long) in zip(parts, names.items(), strict=True)
    }
    return xr.Dataset(found, attrs={"method": method})


_NSE = "Nash-Sutcliffe efficiency"
_GAMMA = {
    "2012": "ratio of the coefficients of variation",
    "2009": "ratio of the standard deviations",
}


class _Moments(NamedTuple):
    """Count, means, variances and covariance over time; NaN where a score has no sense."""

    n_steps: xr.DataArray
    mean_p: xr.DataArray
    mean_t: xr.DataArray
    variance_p: xr.DataArray
    variance_t: xr.DataArray
    covariance: xr.DataArray


def _moments(p: xr.DataArray, t: xr.DataArray, time: str) -> _Moments:
    """Compute moments from differences to the first time step, so that no digits are lost."""
    count = (p.notnull() & t.notnull()).sum(time)
    count = count.where(count >= 2)
    first_p = p.isel({time: 0}, drop=True).fillna(0.0)
    first_t = t.isel({time: 0}, drop=True).fillna(0.0)
    a = (p - first_p).fillna(0.0)
    b = (t - first_t).fillna(0.0)
    mean_a = a.sum(time) / count
    mean_b = b.sum(time) / count
    return _Moments(
        n_steps=count,
        mean_p=mean_a + first_p,
        mean_t=mean_b + first_t,
        variance_p=_variance(a, mean_a, mean_a + first_p, count, time),
        variance_t=_variance(b, mean_b, mean_b + first_t, count, time),
        covariance=(a * b).sum(time) / count - mean_a * mean_b,
    )


def _variance(
    x: xr.DataArray, mean: xr.DataArray, level: xr.DataArray, count: xr.DataArray, time: str
) -> xr.DataArray:
    """Return the variance; NaN where values differ by no more than rounding."""
    square = (x**2).sum(time) / count
    found = square - mean**2
    return found.where((found > _CANCELLED * square) & (found > _ROUNDING * level**2))


def _parts(m: _Moments, method: str) -> dict[str, xr.DataArray]:
    parts = {
        "r": m.covariance / (m.variance_p * m.variance_t) ** 0.5,
        "beta": m.mean_p / m.mean_t.where(m.mean_t != 0),
        "gamma": (m.variance_p / m.variance_t) ** 0.5,
    }
    if method == "2012":
        parts["gamma"] = parts["gamma"] / parts["beta"].where(parts["beta"] != 0)
    squares = [(part - 1) ** 2 for part in parts.values()]
    parts["kge"] = 1 - (squares[0] + squares[1] + squares[2]) ** 0.5
    whole = parts["kge"].notnull()
    return {name: part.where(whole) for name, part in parts.items()}


def _common(p: xr.DataArray, t: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mask each record where the other is NaN."""
    good = p.notnull() & t.notnull()
    return p.where(good), t.where(good)


def _finished(
    found: xr.DataArray,
    name: str,
    long_name: str,
    pairs: Matched,
    shares: xr.DataArray | None,
    *,
    reduce: bool,
) -> xr.DataArray:
    """Name a map, and take its mean over pixels where that is asked."""
    if reduce:
        dims = [pairs.axes.y, pairs.axes.x]
        found = (found if shares is None else found.weighted(shares)).mean(dims)
    return _named(found, None, name, long_name)


def _named(found: xr.DataArray, mean_over: str | None, name: str, long_name: str) -> xr.DataArray:
    """Name a score, after its mean over one dimension where that is asked."""
    found = found if mean_over is None else found.mean(mean_over)
    return found.rename(name).assign_attrs({"long_name": long_name, "units": "1"})
