"""Calibration of ensembles: spread against error, and rank histograms."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xdownscale.core.alignment import Matched
from xdownscale.core.errors import check_option
from xdownscale.core.time import seconds
from xdownscale.skill import _kernels
from xdownscale.skill._options import MEMBERS, Weights, pixel_weights, require_members
from xdownscale.skill._scores import Transform, apply_kernel, paired, units_of


def spread_skill(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.Dataset:
    """Return the spread of an ensemble over the error of its mean; 1 is calibrated.

    ``sqrt(mean ensemble variance) * sqrt(1 + 1/M)`` over the RMSE of the mean of M realizations
    (Fortin et al. 2014): below 1 the ensemble is too sure of itself.

    Parameters
    ----------
    prediction : DataArray
        (realization, time, lat, lon), dims in any order.
    truth : DataArray
        (time, lat, lon).
    weights, transform
        As for `r2`.

    Returns
    -------
    Dataset
        ``spread`` and ``rmse`` (time), in the units of the truth; ``ratio`` (time), their
        quotient; ``spread_skill``, the quotient of both pooled over the days. Pixels where a
        member is NaN are left out. Lazy where the input is.

    Raises
    ------
    DataError
        If there are fewer than two realizations.
    GridError, TimeAxisError, OptionError
        As for `r2`.

    References
    ----------
    Fortin et al. (2014), doi:10.1175/JHM-D-14-0008.1.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 1.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> ensemble = xr.concat([truth, truth + 2], dim="realization")
    >>> round(spread_skill(ensemble, truth).spread_skill.item(), 3)
    1.732
    """
    count = require_members(prediction, "spread_skill")
    pairs = paired(prediction, truth, transform)
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    outputs: tuple[tuple[str, ...], ...] = ((), ())
    variance, error = apply_kernel(
        _kernels.spread_and_error, pairs, shares, leading=(MEMBERS,), outputs=outputs
    )
    variance = (variance * (1 + 1 / count)).where(error.notnull())
    days = [pairs.axes.time] if pairs.axes.time else []
    found = xr.Dataset({"spread": variance**0.5, "rmse": error**0.5})
    found["ratio"] = found.spread / found.rmse.where(found.rmse > 0)
    pooled = error.mean(days)
    found["spread_skill"] = (variance.mean(days) / pooled.where(pooled > 0)) ** 0.5
    return _described(found, units_of(truth, transform), count)


def _described(found: xr.Dataset, units: str | None, count: int) -> xr.Dataset:
    texts = {
        "spread": "ensemble spread times sqrt(1 + 1/M)",
        "rmse": "root mean square error of the ensemble mean",
        "ratio": "spread over error of each day",
        "spread_skill": "spread over error, pooled over days",
    }
    for name, text in texts.items():
        own = units if name in ("spread", "rmse") else "1"
        found[name].attrs = {"long_name": text, **({"units": own} if own else {})}
    return found.assign_attrs(realizations=count)


def rank_histogram(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    average: str | None = "time",
    seed: int = 0,
) -> xr.Dataset:
    """Count how often the truth has each rank among the realizations; flat is calibrated.

    A U says that the ensemble is too narrow, a hill that it is too wide, a slope that it is
    biased. Where members equal the truth (days without rain), its rank among them is
    random, keyed by seed, day and pixel: not by chunking or order.

    Parameters
    ----------
    prediction : DataArray
        (realization, time, lat, lon), dims in any order, M realizations.
    truth : DataArray
        (time, lat, lon).
    weights
        As for `r2`; counts are then sums of weights.
    average : {"time", None}
        Sum over the days, or None to keep them.
    seed : int
        Of the ranks among equals.

    Returns
    -------
    Dataset
        ``count`` and ``frequency`` ([time,] rank), ranks 0 (below all) to M (above all);
        ``attrs["expected"]`` is the flat frequency 1/(M+1). Pixels where the truth or a member
        is NaN are left out. Lazy where the input is.

    Raises
    ------
    DataError
        If there are fewer than two realizations.
    GridError, TimeAxisError, OptionError
        As for `r2`; and for an unknown average.

    References
    ----------
    Hamill (2001), doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 5.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> ensemble = xr.concat([0 * truth, 0 * truth + 3], dim="realization")
    >>> rank_histogram(ensemble, truth)["count"].values
    array([0., 1., 1.])
    """
    if average is not None:
        check_option("average", average, ("time",))
    count = require_members(prediction, "rank_histogram")
    pairs = paired(prediction, truth, None)
    counts: xr.DataArray = apply_kernel(
        _kernels.rank_counts,
        pairs,
        pixel_weights(weights, pairs.truth, pairs.axes),
        leading=(MEMBERS,),
        extra=(_chance(pairs, seed),),
        outputs=(("rank",),),
        sizes={"rank": count + 1},
    ).assign_coords(rank=("rank", np.arange(count + 1), {"long_name": "rank of the truth"}))
    if average and pairs.axes.time:
        counts = counts.sum(pairs.axes.time)
    total = counts.sum("rank")
    found = xr.Dataset({"count": counts, "frequency": counts / total.where(total > 0)})
    found["count"].attrs = {"long_name": "number of pixels and days", "units": "1"}
    found["frequency"].attrs = {"long_name": "relative frequency", "units": "1"}
    about = {"realizations": count, "expected": 1 / (count + 1), "seed": seed}
    return found.assign_attrs(about)


def _chance(pairs: Matched, seed: int) -> xr.DataArray:
    """Return numbers in [0, 1) keyed by seed, day and cell, chunked as the truth is."""
    axes = pairs.axes
    truth = pairs.truth
    rows = _places(truth, axes.latitude, axes.y)
    columns = _places(truth, axes.longitude, axes.x)
    days = seconds(pairs.time) if axes.time else np.zeros(1, np.int64)
    key = xr.DataArray(days, dims=axes.time or "day")
    key = (key if axes.time else key[0]).drop_vars(list(key.coords))
    cell = rows * np.int64(truth.sizes[axes.x]) + columns
    if axes.time and axes.time in truth.chunksizes:
        key = key.chunk({axes.time: truth.chunksizes[axes.time]})
    mixed: xr.DataArray = xr.apply_ufunc(
        _uniform, key, cell, kwargs={"seed": seed}, dask="parallelized", output_dtypes=[float]
    )
    return mixed


def _places(truth: xr.DataArray, name: str, dim: str) -> xr.DataArray:
    """Rank rows or columns by their degrees, so that orientation does not matter."""
    values = truth[name].values
    order = np.argsort(np.argsort(values)) if values.ndim == 1 else np.arange(truth.sizes[dim])
    return xr.DataArray(order.astype(np.int64), dims=dim)


def _uniform(day: np.ndarray, cell: np.ndarray, seed: int) -> np.ndarray:
    """Hash day, cell and seed (three rounds of splitmix64) to a number in [0, 1)."""
    with np.errstate(over="ignore"):
        state = np.full(1, seed % 2**64, dtype=np.uint64)
        for part in (day, cell, np.zeros(1, np.int64)):
            state = _splitmix64(state ^ np.asarray(part).astype(np.uint64))
    return (state >> np.uint64(11)).astype(float) / 2.0**53


def _splitmix64(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
