"""Semivariograms: semivariance of pairs of cells by distance, and a fitted model."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.blocks import chunked, select_cells
from xdownscale.core.coords import Labels, Unlabelled, to_array
from xdownscale.core.errors import DataError, OptionError, check_option
from xdownscale.core.grids import Array
from xdownscale.core.missing import finite
from xdownscale.core.units import units_of
from xdownscale.core.variogram_models import MESSAGE, MODELS, SHAPES, fit_curves
from xdownscale.geostat._pair_sampling import DIRECTIONS, TOLERANCE, Pairs, sample_pairs
from xdownscale.geostat._variables import for_each_variable

ESTIMATORS = ("matheron", "cressie", "dowd", "genton")
MIN_CELLS = 100
_LAG = "lag"


@for_each_variable()
def semivariogram(
    da: xr.DataArray,
    max_distance: float = 600,
    bins: int = 30,
    pairs: int = 30_000,
    model: str = "spherical",
    estimator: str = "matheron",
    direction: str | None = None,
    seed: int = 0,
    average: str | None = "time",
    bootstrap: int = 200,
) -> xr.Dataset:
    """Return the semivariance of a field by distance, and a model fitted to it.

    The same random pairs of cells serve every day, and every field on the same grid, so curves of
    two products on one grid can be compared. Distances are geodesics on the WGS84 ellipsoid. One
    end of a pair is sampled uniformly over the area of the grid, the other at a uniform distance
    and in a uniform direction from it, so all distance classes are filled alike.

    Parameters
    ----------
    da : DataArray or Dataset
        ([..., time,] lat, lon), dims in any order, latitude and longitude one- or
        two-dimensional, on its own grid. Bring it to logarithms first where that is wanted. A
        pair with a NaN is left out of its day. A Dataset gives one result along ``variable``.
    max_distance : float
        Longest distance, km.
    bins : int
        Distance classes of equal width between 0 and `max_distance`; 3 or more.
    pairs : int
        Pairs of cells; 100 or more. A grid that has no more pairs gives all of them.
    model : {"spherical", "exponential", "gaussian", "matern", "cubic", "stable"}
        Model to fit, as scikit-gstat defines it. ``"cubic"`` and ``"stable"`` are computed by
        scikit-gstat, whose first import takes a second.
    estimator : {"matheron", "cressie", "dowd", "genton"}
        How the differences of a class make its semivariance. ``"genton"`` is scikit-gstat's; its
        time grows with the square of the pairs in a class (7 s a day for 30,000 pairs in 30
        classes), so give fewer.
    direction : {"N-S", "E-W"}, optional
        Only pairs whose initial bearing is within 22.5 degrees of it.
    seed : int
        Of the pairs and of the bootstrap.
    average : {"time"} or None
        ``"time"`` averages the curves of the days and fits the model to the mean; None keeps the
        days and fits each.
    bootstrap : int
        Samples of days for the band; 0 for none. Needs two days and ``average="time"``.

    Returns
    -------
    Dataset
        Over ``lag`` (km, the middle of each class), and over ``time`` with ``average=None``:

        ``semivariance``, ``pair_count`` (of a day; of a mean day where averaged), ``fit`` (the
        model at `lag`), ``lower`` and ``upper`` (95 % band from blocks of ``days^(1/3)`` days);
        ``nugget``, ``psill`` (partial sill), ``sill = psill + nugget``, ``effective_range`` (km;
        where spherical and cubic reach the sill, and the others 95 % of the partial sill,
        ``1 - exp(-3)``; scikit-gstat's of gaussian and matern reach further); ``smoothness`` of
        ``"matern"``, ``shape`` of ``"stable"``; ``fit_ok`` and, where that is False, ``message``:
        then the parameters and `fit` are NaN. The coordinate ``distance`` is the mean distance
        of the pairs in each class, at which the model is fitted.

        Lazy where `da` is a dask array, the fit too. An array that lies unread on disk is read
        in pieces.

    Raises
    ------
    OptionError
        For an unknown model, estimator, direction or average, or a number out of range.
    GridError
        If there is no latitude or longitude, or no two cells within `max_distance`.
    DataError
        If there are fewer than 100 cells, or fewer valid ones on every day (with dask: when it
        is computed).

    Notes
    -----
    scikit-gstat fits at the upper edge of each class, which makes ranges too long by about half a
    class, and calls the partial sill ``sill``. Here the fit is at the mean distance, weighted by
    pair count, in the bounds of scikit-gstat. A fit is refused for a constant field, for a
    curve that is no better described by the model than by a constant (F test, 1 %), and where the
    range comes to the longest distance: the sill has not been seen.

    References
    ----------
    Matheron (1962); Cressie and Hawkins (1980), doi:10.1007/BF01035243; Dowd (1984);
    Genton (1998), doi:10.1023/A:1021728614555; scikit-gstat: Maelicke (2022),
    doi:10.5194/gmd-15-2505-2022.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> degrees = np.arange(40) / 4
    >>> noise = np.random.default_rng(0).random((40, 40))
    >>> da = xr.DataArray(noise, coords={"lat": degrees, "lon": degrees})
    >>> v = semivariogram(da, max_distance=400, bins=8)
    >>> v.semivariance.mean().round(2).item()  # 1/12: uniform noise
    0.08
    >>> v.fit_ok.item(), v.message.item()
    (False, 'flat at 0.08461: pure nugget, no range')
    """
    _check_options(max_distance, bins, pairs, model, estimator, direction, seed, average, bootstrap)
    lazy = chunked(da)
    unlabelled = to_array(lazy)
    sampled = _sample_pairs(unlabelled, max_distance, bins, pairs, direction, seed)
    lag = (np.arange(bins) + 0.5) * max_distance / bins
    curves = _days(unlabelled, sampled, estimator, lag)
    time = unlabelled.labels.axes.time
    if average == "time" and time is not None:
        curves = _average(curves, time, bootstrap, seed)
    found = _with_fit(curves, model, lag, units_of(da)).assign_attrs(
        max_distance=float(max_distance),
        pairs=int(sampled.first.size),
        model=model,
        estimator=estimator,
        direction=direction or "any",
        seed=seed,
        average=average or "none",
    )
    if direction is not None:
        found.attrs["tolerance"] = f"{TOLERANCE} degrees"
    if "lower" in found and time is not None:
        found.attrs.update(bootstrap=bootstrap, block_length=block_length(da.sizes[time]))
    return found if lazy is da else found.compute()


def _check_options(
    max_distance: float,
    bins: int,
    pairs: int,
    model: str,
    estimator: str,
    direction: str | None,
    seed: int,
    average: str | None,
    bootstrap: int,
) -> None:
    check_option("model", model, MODELS)
    check_option("estimator", estimator, ESTIMATORS)
    if direction is not None:
        check_option("direction", direction, DIRECTIONS)
    if average is not None:
        check_option("average (besides None)", average, ("time",))
    number: Any = max_distance
    if not isinstance(number, Real) or not 0 < max_distance < np.inf:
        raise OptionError(f"max_distance is {max_distance!r}; give a positive number of km.")
    numbers: list[tuple[str, Any, int]] = [("bins", bins, 3), ("pairs", pairs, 100)]
    for name, given, least in [*numbers, ("seed", seed, 0), ("bootstrap", bootstrap, 0)]:
        if not isinstance(given, Integral) or given < least:
            raise OptionError(f"{name} is {given!r}; give a whole number, {least} or more.")


def _sample_pairs(
    unlabelled: Unlabelled,
    max_distance: float,
    bins: int,
    pairs: int,
    direction: str | None,
    seed: int,
) -> Pairs:
    lat, lon = _positions(unlabelled.labels)
    size = int(np.prod(unlabelled.array.shape[-2:]))
    if size < MIN_CELLS:
        raise DataError(
            f"The grid has {size} cells; a semivariogram needs {MIN_CELLS}. Give a larger area."
        )
    return sample_pairs(lat, lon, max_distance, bins, pairs, direction, seed)


def _positions(labels: Labels) -> tuple[Array, Array]:
    """Return latitude and longitude as `to_array` orders them: (y,) and (x,), or (y, x)."""
    axes = labels.axes
    down, along = labels.flips()[-2:]
    lat = labels.coords[axes.latitude]
    lon = labels.coords[axes.longitude]
    if lat.ndim == 1:
        lat = lat[down]
        lon = lon[along]
    else:
        lat = lat.transpose(axes.y, axes.x)
        lon = lon.transpose(axes.y, axes.x)
    return np.asarray(lat.values, np.float64), np.asarray(lon.values, np.float64)


def _days(unlabelled: Unlabelled, pairs: Pairs, estimator: str, lag: Array) -> xr.Dataset:
    """Return the curve of every time step; with dask, lazy by chunks of time."""
    array, labels = unlabelled
    grid = [labels.axes.y, labels.axes.x]
    rows, columns = np.unravel_index(pairs.cells, array.shape[-2:])
    array, rows, columns = select_cells(array, rows, columns)
    lead = [d for d in labels.order if d not in grid]
    coords = {d: labels.coords[d] for d in lead if d in labels.coords}
    found = xr.apply_ufunc(
        daily_curves,
        xr.DataArray(array, dims=labels.order, coords=coords),
        input_core_dims=[grid],
        output_core_dims=[[_LAG], [_LAG], []],
        kwargs={"rows": rows, "columns": columns, "pairs": pairs, "estimator": estimator},
        dask="parallelized",
        output_dtypes=[float, float, float],
        dask_gufunc_kwargs={"output_sizes": {_LAG: lag.size}},
    )
    gamma, count, valid = (v.chunk(dict.fromkeys(lead, -1)) if v.chunks else v for v in found)
    checked = xr.apply_ufunc(
        check_cells,
        gamma,
        valid,
        input_core_dims=[[*lead, _LAG], lead],
        output_core_dims=[[*lead, _LAG]],
        kwargs={"sampled": pairs.cells.size},
        dask="parallelized",
        output_dtypes=[float],
    )
    curves = xr.Dataset({"semivariance": checked, "pair_count": count})
    return curves.assign_coords({_LAG: lag, "distance": (_LAG, pairs.distance)})


def _average(curves: xr.Dataset, time: str, bootstrap: int, seed: int) -> xr.Dataset:
    daily = [time, _LAG]
    found = xr.apply_ufunc(
        mean_curve,
        curves.semivariance,
        curves.pair_count,
        input_core_dims=[daily, daily],
        output_core_dims=[[_LAG]] * 4,
        kwargs={"draws": bootstrap, "seed": seed},
        dask="parallelized",
        output_dtypes=[float] * 4,
    )
    names = ["semivariance", "pair_count", "lower", "upper"]
    band = bootstrap > 0 and curves.sizes[time] > 1
    kept = dict(zip(names, found, strict=True))
    return xr.Dataset({n: kept[n] for n in (names if band else names[:2])})


def _with_fit(curves: xr.Dataset, model: str, lag: Array, units: Any) -> xr.Dataset:
    """Fit the model, and set long names and units."""
    curve, parameters, ok, message = xr.apply_ufunc(
        fit_curves,
        curves.semivariance,
        curves.pair_count,
        curves.distance,
        input_core_dims=[[_LAG]] * 3,
        output_core_dims=[[_LAG], ["parameter"], [], []],
        kwargs={"lag": lag, "model": model},
        dask="parallelized",
        output_dtypes=[float, float, bool, MESSAGE],
        dask_gufunc_kwargs={"output_sizes": {"parameter": 4}},
    )
    reach, psill, nugget, shape = (parameters.isel(parameter=k) for k in range(4))
    found = curves.assign(
        fit=curve, nugget=nugget, psill=psill, sill=psill + nugget, effective_range=reach
    )
    if model in SHAPES:
        found[SHAPES[model]] = shape
    found = found.assign(fit_ok=ok, message=message)
    square = "1" if units == "1" else f"({units})^2" if units else ""
    for name, (what, unit) in _MEANING.items():
        if name in found.variables:
            said = unit or square
            found[name].attrs = {"long_name": what, **({"units": said} if said else {})}
    for name in ("fit_ok", "message"):
        found[name].attrs.pop("units", None)
    return found


_MEANING = {
    "lag": ("distance, middle of the class", "km"),
    "distance": ("mean distance of the pairs", "km"),
    "semivariance": ("semivariance", ""),
    "pair_count": ("pairs of cells on a day", "1"),
    "lower": ("2.5 % quantile of the mean semivariance", ""),
    "upper": ("97.5 % quantile of the mean semivariance", ""),
    "fit": ("fitted semivariance", ""),
    "nugget": ("nugget", ""),
    "psill": ("partial sill", ""),
    "sill": ("sill, partial sill plus nugget", ""),
    "effective_range": ("effective range", "km"),
    "smoothness": ("smoothness", "1"),
    "shape": ("shape, the exponent of the distance", "1"),
    "fit_ok": ("whether the fit is good", ""),
    "message": ("why the fit failed", ""),
}


def daily_curves(
    field: Any, *, rows: Array, columns: Array, pairs: Pairs, estimator: str
) -> tuple[Array, Array, Array]:
    """Return semivariance, pair counts and number of valid cells of every time step.

    Parameters
    ----------
    field : ndarray, shape (..., y, x)
        Values; a pair with a NaN is left out of its day.
    rows, columns : ndarray of int, shape (n,)
        Where `pairs.cells` lie in the last two axes.
    pairs : Pairs
        The same for every day.
    estimator : {"matheron", "cressie", "dowd", "genton"}
        As in scikit-gstat.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        ``(..., bins)``, ``(..., bins)`` and ``(...)``. Days with fewer than 100 valid cells among
        those in the pairs have NaN semivariance.

    Examples
    --------
    >>> pairs = Pairs(*map(np.array, ([0, 1, 2], [0, 1], [1, 2], [2], [1.0])))
    >>> places = {"rows": np.zeros(3, int), "columns": np.arange(3)}
    >>> count = daily_curves(np.ones((1, 3)), **places, pairs=pairs, estimator="matheron")[1]
    >>> count
    array([2.])
    """
    lead = field.shape[:-2]
    bins = pairs.counts.size
    gamma = np.empty((*lead, bins))
    count = np.empty((*lead, bins))
    valid = np.empty(lead)
    flat = np.ravel_multi_index((rows, columns), field.shape[-2:])
    for day in np.ndindex(lead):  # one at a time: then everything stays in the cache
        image = field[day]
        whole = image.flags.c_contiguous
        values = np.take(image, flat) if whole else image[rows, columns]
        values = finite(values.astype(np.float64))
        gamma[day], count[day], valid[day] = _curve(values, pairs, estimator)
    return gamma, count, valid


def _curve(values: Array, pairs: Pairs, estimator: str) -> tuple[Array, Array, int]:
    """Return the curve of one time step; `values` are those of `pairs.cells`."""
    gaps = np.take(values, pairs.first) - np.take(values, pairs.second)
    filled = np.flatnonzero(pairs.counts)
    starts = np.concatenate([[0], np.cumsum(pairs.counts[filled])[:-1]])
    missing = np.isnan(gaps)
    count = pairs.counts.astype(float)
    gamma = np.full(pairs.counts.size, np.nan)
    if missing.any():
        count[filled] -= np.add.reduceat(missing, starts, dtype=np.int64)
    valid = int(np.count_nonzero(~np.isnan(values)))
    if valid >= min(MIN_CELLS, values.size):
        with np.errstate(invalid="ignore", divide="ignore"):  # classes without a pair give NaN
            gamma[filled] = _KERNELS[estimator](gaps, missing, starts, count[filled])
    return gamma, count, valid


def _matheron(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """Sum of x^2 / (2 N) (Matheron 1962)."""
    matheron: Array = _sums(gaps**2, missing, starts) / (2 * count)
    return matheron


def _cressie(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """(mean of sqrt x)^4 / (2 (0.457 + 0.494 / N + 0.045 / N^2)) (Cressie and Hawkins 1980)."""
    fourth = (_sums(np.sqrt(np.abs(gaps)), missing, starts) / count) ** 4
    cressie: Array = fourth / (2 * (0.457 + 0.494 / count + 0.045 / count**2))
    return cressie


def _dowd(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """2.198 (median of x)^2 / 2 (Dowd 1984)."""
    classes = _classes(np.abs(gaps), missing, starts)
    middle = np.array([np.median(x) if x.size else np.nan for x in classes])
    dowd: Array = 2.198 * middle**2 / 2
    return dowd


def _genton(gaps: Array, missing: Array, starts: Array, count: Array) -> Array:
    """(2.219 quantile of |x_i - x_j|)^2 / 2 (Genton 1998), x with their signs."""
    from skgstat.estimators import genton  # late: a second of CPU

    return np.array([genton(x) for x in _classes(gaps, missing, starts)], dtype=float)


_KERNELS = {"matheron": _matheron, "cressie": _cressie, "dowd": _dowd, "genton": _genton}


def _classes(x: Array, missing: Array, starts: Array) -> Iterator[Array]:
    """Yield what is there of each distance class."""
    parts = zip(np.split(x, starts[1:]), np.split(missing, starts[1:]), strict=True)
    return (part[~gone] for part, gone in parts)


def _sums(x: Array, missing: Array, starts: Array) -> Array:
    x[missing] = 0.0
    sums: Array = np.add.reduceat(x, starts)
    return sums


def check_cells(gamma: Array, valid: Array, *, sampled: int) -> Array:
    """Return the curves; raise `DataError` if no time step has enough valid cells.

    Parameters
    ----------
    gamma : ndarray, shape (..., day, bins)
        Semivariance.
    valid : ndarray, shape (..., day)
        Valid cells of each day.
    sampled : int
        Cells that are in a pair.

    Returns
    -------
    ndarray
        `gamma`.

    Raises
    ------
    DataError
        If every day has fewer than 100.

    Examples
    --------
    >>> check_cells(np.ones((1, 2)), np.array([200]), sampled=300).shape
    (1, 2)
    """
    needed = min(MIN_CELLS, sampled)
    if valid.size and valid.max() < needed:
        raise DataError(
            f"At most {int(valid.max())} of the {sampled} cells that were sampled are valid on any "
            f"day; a semivariogram needs {needed}. Give a field with fewer gaps, or more pairs."
        )
    return gamma


def mean_curve(
    gamma: Array, count: Array, *, draws: int, seed: int
) -> tuple[Array, Array, Array, Array]:
    """Average daily curves, with a bootstrap band.

    Blocks of about ``days^(1/3)`` consecutive days are sampled with replacement (circular block
    bootstrap), since days that follow each other are alike.

    Parameters
    ----------
    gamma, count : ndarray, shape (..., day, bins)
        Semivariance and pair counts; days without a semivariance are left out.
    draws : int
        Bootstrap samples; 0 gives a NaN band.
    seed : int
        Of the bootstrap.

    Returns
    -------
    (ndarray, ndarray, ndarray, ndarray)
        Mean semivariance, mean pair count, 2.5 % and 97.5 % quantile, each ``(..., bins)``.

    References
    ----------
    Politis and Romano (1992), A circular block-resampling procedure for stationary data.

    Examples
    --------
    >>> mean_curve(np.array([[1.0], [3.0]]), np.ones((2, 1)), draws=0, seed=0)[0]
    array([2.])
    """
    days = gamma.shape[-2]
    good = ~np.isnan(gamma)
    used = good.any(axis=-1, keepdims=True)
    filled = np.where(good, gamma, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # classes without a pair give NaN
        mean = filled.sum(axis=-2) / good.sum(axis=-2)
        pairs = (count * used).sum(axis=-2) / used.sum(axis=-2)
        if draws == 0 or days < 2:
            return mean, pairs, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
        weights = _block_weights(days, draws, seed)
        means = (weights @ filled) / (weights @ good)  # (..., draw, bins)
        lower, upper = np.quantile(means, [0.025, 0.975], axis=-2)
    return mean, pairs, lower, upper


def block_length(days: int) -> int:
    """Return the block length of the bootstrap, in days.

    Parameters
    ----------
    days : int
        Length of the series.

    Returns
    -------
    int

    Examples
    --------
    >>> block_length(730)
    10
    """
    return int(np.ceil(np.cbrt(days) - 1e-9))


def _block_weights(days: int, draws: int, seed: int) -> Array:
    """Count each day in each bootstrap sample, shape (sample, day)."""
    length = block_length(days)
    starts = np.random.default_rng(seed).integers(days, size=(draws, -(-days // length)))
    resampled = (starts[..., None] + np.arange(length)).reshape(draws, -1)[:, :days] % days
    places = (resampled + days * np.arange(draws)[:, None]).ravel()
    return np.bincount(places, minlength=draws * days).reshape(draws, days).astype(float)
