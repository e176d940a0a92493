"""Autocorrelation and partial autocorrelation in time, of a regional mean or of every cell.

Sums over pairs are gathered slab by slab of the time axis: neither the days nor their gaps cost
memory. The kernels take arrays ``(time, ...)``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import OptionError, check_option, check_whole
from xdownscale.core.grids import cell_weights
from xdownscale.core.missing import finite
from xdownscale.core.streaming import RereadableArray, as_dask, like_input, slabs
from xdownscale.geostat._lags import Series, lag_coordinate, pairs, series_of
from xdownscale.geostat._variables import for_each_variable

Array = NDArray[Any]
_SUMS = 2**22  # float64 values of partial sums in one block of cells (32 MB)
_CONSTANT = 1e-26  # a variance below this share of the mean square is rounding


_LONG_NAMES = {"acf": "autocorrelation", "pacf": "partial autocorrelation"}


@for_each_variable(needs_time=True)
def acf(
    da: xr.DataArray,
    max_lag: int = 30,
    reduce: str | None = "mean",
    alpha: float = 0.05,
    *,
    adjusted: bool = False,
) -> xr.DataArray:
    """Return the autocorrelation in time, of the regional mean or of every cell.

    Each lag uses the pairs of steps that exist: missing times, seasons with the rest of the year
    left out and NaN leave pairs out, and are never closed up.

    Parameters
    ----------
    da : DataArray or Dataset
        (..., time, lat, lon), dims in any order; lazy or not. A Dataset gives a Dataset with the
        dimension ``variable``.
    max_lag : int
        Largest lag, in time steps.
    reduce : {"mean"} or None
        "mean": of the area-weighted mean over the valid cells of each step. None: of each cell.
    alpha : float
        The bounds hold 1 - `alpha` of the distribution.
    adjusted : bool
        False: divide the sum over pairs by the number of values, as statsmodels does by default.
        That shrinks the estimate at lag k by the share of pairs, (n - k) / n without gaps, and
        in a record where half of the days are missing at random to one half. True: divide by the
        number of pairs.

    Returns
    -------
    DataArray
        ``acf`` over ``lag`` from 0 to `max_lag` and the dims that are left, with the coordinates
        ``lower`` and ``upper`` (bounds) and ``pair_count``. NaN for a constant series. Lazy
        where `da` is; nothing is computed then.

    Raises
    ------
    TimeAxisError
        If there is no time, a gap is no multiple of the step (the message names it), times are
        there twice, or there are fewer than ``max_lag + 2`` steps.
    GridError
        If latitude and longitude are not found.
    OptionError
        For another `reduce`, or `alpha` or `max_lag` out of range.

    Notes
    -----
    ``sum (x_t - m)(x_{t-k} - m) / sum (x_t - m)^2`` over all pairs, m the mean of all values:
    statsmodels' ``acf(missing="conservative")`` (Parzen 1963). Bounds by Bartlett's formula,
    ``z sqrt((1 + 2 sum_{j<k} acf_j^2) / n)`` on both sides of the estimate, n the number of values.

    Examples
    --------
    >>> time = np.arange("2000-01-01", "2000-01-09", dtype="M8[D]").astype("M8[ns]")
    >>> values = np.tile([1.0, -1.0], 4)[:, None, None]
    >>> da = xr.DataArray(values, coords={"time": time, "lat": [0.0], "lon": [0.0]})
    >>> acf(da, max_lag=2).values
    array([ 1.   , -0.875,  0.75 ])
    >>> acf(da, max_lag=2, adjusted=True).values
    array([ 1., -1.,  1.])
    """
    return _correlogram(da, max_lag, reduce, alpha, adjusted, "acf")


@for_each_variable(needs_time=True)
def pacf(
    da: xr.DataArray,
    max_lag: int = 30,
    reduce: str | None = "mean",
    alpha: float = 0.05,
    *,
    adjusted: bool = False,
) -> xr.DataArray:
    """Return the partial autocorrelation in time, of the regional mean or of every cell.

    Yule-Walker equations on the estimate of `acf`, so gaps and NaN are treated as there.

    Parameters
    ----------
    da, max_lag, reduce, alpha, adjusted
        As for `acf`. With ``adjusted=True`` the estimates at different lags may contradict each
        other where there are many gaps; from the lag on where they do the result is NaN.

    Returns
    -------
    DataArray
        ``pacf`` over ``lag`` from 0 to `max_lag` and the dims that are left, with ``lower``,
        ``upper`` and ``pair_count`` as for `acf`. Lazy where `da` is.

    Raises
    ------
    TimeAxisError, GridError, OptionError
        As for `acf`.

    Notes
    -----
    Levinson-Durbin recursion; equals statsmodels' ``pacf(method="ldb")`` where nothing is missing,
    and ``levinson_durbin`` of its conservative autocovariance where something is. Bounds
    ``z / sqrt(n)`` on both sides of the estimate, 0 at lag 0.

    Examples
    --------
    >>> time = np.arange("2000-01-01", "2000-01-09", dtype="M8[D]").astype("M8[ns]")
    >>> values = np.tile([1.0, -1.0], 4)[:, None, None]
    >>> da = xr.DataArray(values, coords={"time": time, "lat": [0.0], "lon": [0.0]})
    >>> pacf(da, max_lag=2).round(3).values
    array([ 1.   , -0.875, -0.067])
    """
    return _correlogram(da, max_lag, reduce, alpha, adjusted, "pacf")


@for_each_variable(needs_time=True)
def ljung_box(
    da: xr.DataArray,
    max_lag: int = 10,
    reduce: str | None = "mean",
    *,
    model_df: int = 0,
) -> xr.Dataset:
    """Test whether the regional mean, or every cell, is white noise in time.

    Parameters
    ----------
    da : DataArray or Dataset
        (..., time, lat, lon), dims in any order; lazy or not. A Dataset gives one result along
        ``variable``.
    max_lag : int
        Largest lag, in time steps.
    reduce : {"mean"} or None
        As for `acf`.
    model_df : int
        Parameters of a time-series model of which `da` are the residuals, p + q of an ARMA(p, q);
        they are taken off the degrees of freedom.

    Returns
    -------
    Dataset
        Over ``lag`` from 1 to `max_lag` and the dims that are left: ``statistic``, of all lags up
        to that one together, and ``p_value``, the chance of a larger one of white noise (NaN for
        lags up to `model_df`). NaN for a constant series. Lazy where `da` is.

    Raises
    ------
    TimeAxisError, GridError
        As for `acf`.
    OptionError
        For another `reduce`, or `max_lag` or `model_df` out of range.

    Notes
    -----
    ``Q = n (n + 2) sum_k r_k^2 / n_k``, r the estimate of `acf`, n the number of values and n_k of
    pairs at lag k, which is n - k where nothing is missing: statsmodels' ``acorr_ljungbox``. Under
    white noise it has a chi-squared distribution with lag - `model_df` degrees of freedom.

    References
    ----------
    Ljung and Box (1978), doi:10.1093/biomet/65.2.297.

    Examples
    --------
    >>> time = np.arange("2000-01-01", "2000-01-09", dtype="M8[D]").astype("M8[ns]")
    >>> values = np.tile([1.0, -1.0], 4)[:, None, None]
    >>> da = xr.DataArray(values, coords={"time": time, "lat": [0.0], "lon": [0.0]})
    >>> found = ljung_box(da, max_lag=2)
    >>> found.statistic.values, found.p_value.round(4).values
    (array([ 8.75, 16.25]), array([0.0031, 0.0003]))
    """
    from scipy.special import chdtrc

    check_whole("model_df", model_df)
    found = acf(da, max_lag, reduce)
    later = found.isel(lag=slice(1, None)).drop_vars(["lower", "upper", "pair_count"])
    count = found.pair_count.isel(lag=slice(1, None)).reset_coords(drop=True)
    number = found.pair_count.isel(lag=0).reset_coords(drop=True)
    terms = later**2 / count.where(count > 0)
    statistic = number * (number + 2) * terms.cumsum("lag", skipna=False)
    statistic = statistic.assign_coords(lag=later.lag)
    left = np.arange(1, later.sizes["lag"] + 1) - model_df
    freedom = xr.DataArray(np.where(left > 0, left, np.nan), dims="lag")
    p_value = xr.apply_ufunc(chdtrc, freedom, statistic, dask="parallelized", output_dtypes=[float])
    named = {
        "statistic": statistic.assign_attrs(long_name="Ljung-Box statistic", units="1"),
        "p_value": p_value.assign_attrs(long_name="p value of white noise", units="1"),
    }
    result = xr.Dataset({n: v.transpose(*found.dims) for n, v in named.items()})
    return result.assign_attrs(model_df=model_df, reduce=str(reduce))


def _correlogram(
    da: xr.DataArray,
    max_lag: int,
    reduce: str | None,
    alpha: float,
    adjusted: bool,
    name: str,
) -> xr.DataArray:
    if reduce is not None:
        check_option("reduce (None for every cell, or a name)", reduce, ["mean"])
    if not 0 < alpha < 1:
        raise OptionError(f"alpha is {alpha}; give a number between 0 and 1, such as 0.05.")
    axes = find_axes(da)
    series = series_of(da, max_lag)
    if reduce == "mean":
        good: xr.DataArray = xr.apply_ufunc(finite, series.da, dask="allowed")
        weighted = good.weighted(cell_weights(good))
        series = series._replace(da=weighted.mean((axes.y, axes.x)))
    ordered = series.da.transpose(series.time, ...)
    finish = partial(_finish, alpha=alpha, adjusted=adjusted, partial_=name == "pacf")
    found = _stream(ordered.data, series, int(max_lag), finish)
    attrs = {"alpha": alpha, "adjusted": int(adjusted), "reduce": str(reduce)}
    return _labelled(found, ordered, series, name, attrs)


def _labelled(
    found: Any, ordered: xr.DataArray, series: Series, name: str, attrs: dict[str, Any]
) -> xr.DataArray:
    """Name the ``(3, lag, ...)`` estimate, half width and number of pairs."""
    rest = ordered.isel({series.time: 0}, drop=True)
    dims = ("lag", *rest.dims)
    value = found[0]
    half = found[1]
    count = found[2]
    lags = lag_coordinate(np.arange(value.shape[0]), series.step)
    long_name = _LONG_NAMES[name]
    label = f"{long_name} of {ordered.attrs.get('long_name', ordered.name or 'the record')}"
    coords = {
        **rest.coords,
        "lag": lags,
        "lower": (dims, value - half, {"long_name": f"lower bound of {long_name}"}),
        "upper": (dims, value + half, {"long_name": f"upper bound of {long_name}"}),
        "pair_count": (dims, count, {"long_name": "pairs of steps", "units": "1"}),
    }
    result = xr.DataArray(value, dims=dims, coords=coords)
    result.name = name
    return result.assign_attrs(long_name=label, units="1", **attrs)


def _stream(data: Any, series: Series, max_lag: int, finish: Any) -> Any:
    """Sum over pairs slab by slab; a slab is read once the last but one has been summed."""
    record = RereadableArray(as_dask(data, whole=4 * max_lag))
    x = record.array
    cut = slabs(x.chunks[0], series.positions, max_lag)
    # time in one piece within a slab, and cells in blocks whose sums stay small
    blocks = {0: -1} | dict(enumerate(_narrow(x, max_lag), start=1))
    shift = x[: cut[0].stop].rechunk(blocks).map_blocks(_first_valid, drop_axis=0, dtype=float)
    totals: list[Any] = []
    for slab in cut:
        steps = (slab.first, slab.stop)
        piece = record.again(totals[-2], *steps) if len(totals) > 1 else x[slice(*steps)]
        part = piece.rechunk(blocks).map_blocks(
            _pair_sums,
            shift[None],
            positions=series.positions[slab.first : slab.stop],
            start=slab.start - slab.first,
            max_lag=max_lag,
            dtype=float,
            new_axis=0,
            chunks=((3,), (max_lag + 1,), *shift.chunks),
        )
        totals.append(totals[-1] + part if totals else part)
    chunks = ((3,), (max_lag + 1,), *shift.chunks)
    found = totals[-1].map_blocks(finish, shift[None, None], dtype=float, chunks=chunks)
    return like_input(found, data)


def _narrow(x: Any, max_lag: int) -> tuple[tuple[int, ...], ...]:
    """Return chunks of cells, no larger than those of `x`, with few enough sums of all lags."""
    from dask.array.core import normalize_chunks

    if x.ndim == 1:
        return ()
    cells = max(1, _SUMS // (3 * (max_lag + 1)))
    wanted = normalize_chunks(
        "auto", shape=x.shape[1:], limit=8 * cells, dtype="f8", previous_chunks=x.chunks[1:]
    )
    return tuple(tuple(c) for c in wanted)


# kernels: arrays (time, ...) only


def _first_valid(x: Array) -> Array:
    """Return the first valid value of each cell, or 0: sums of x minus this are exact."""
    row = np.argmax(np.isfinite(x), axis=0)
    found = np.take_along_axis(x, row[None], axis=0)[0].astype(float)
    return np.where(np.isfinite(found), found, 0.0)


def _pair_sums(x: Array, shift: Array, positions: Array, start: int, max_lag: int) -> Array:
    """Return the sums of products, of members and of ones over the pairs of each lag.

    Pairs whose later step stands in row `start` or behind; shape (3, max_lag + 1, ...).
    """
    cells = finite(x - shift).reshape(len(x), -1).astype(float, copy=False)
    valid = ~np.isnan(cells)
    sums = np.zeros((3, max_lag + 1, cells.shape[1]))
    whole = bool(valid.all())
    ones = np.where(valid, 1.0, 0.0)
    if not whole:
        cells = np.where(valid, cells, 0.0)
    for lag in range(max_lag + 1):
        late, early = pairs(positions, start, lag)
        a = cells[late]
        b = cells[early]
        sums[0, lag] = _dot(a, b)
        if whole:
            sums[1, lag] = a.sum(axis=0) + b.sum(axis=0)
            sums[2, lag] = len(a)
        else:
            v = ones[late]
            w = ones[early]
            sums[1, lag] = _dot(a, w) + _dot(v, b)
            sums[2, lag] = _dot(v, w)
    return sums.reshape(3, max_lag + 1, *x.shape[1:])


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("tc,tc->c", a, b))


def _finish(sums: Array, shift: Array, alpha: float, adjusted: bool, partial_: bool) -> Array:
    """Return the estimate, the half width of its bounds and the number of pairs."""
    from scipy.special import ndtri

    products, members, count = sums
    size = np.where(count[0] > 0, count[0], np.nan)
    mean = members[0] / (2 * size)
    covariance = products - mean * members + mean**2 * count
    variance = covariance[0] / size
    # the mean square before the shift was taken off: rounding is measured against it
    level = (mean + shift[0, 0]) ** 2
    variance = np.where(variance > _CONSTANT * level, variance, np.nan)
    divisor = np.where(count > 0, count, np.nan) if adjusted else size
    value = covariance / divisor / variance
    z = float(ndtri(1 - alpha / 2))
    half = z * np.sqrt(_bartlett(value) / size)
    if partial_:
        value = _levinson_durbin(value)
        half = np.broadcast_to(z / np.sqrt(size), value.shape).copy()
    half[0] = np.where(np.isnan(value[0]), np.nan, 0.0)
    return np.stack([value, half, count])


def _bartlett(rho: Array) -> Array:
    """Return n times the variance of the autocorrelation at each lag (Bartlett 1946)."""
    grown = 1 + 2 * np.cumsum(rho[1:-1] ** 2, axis=0)
    return np.concatenate([np.zeros_like(rho[:1]), np.ones_like(rho[:1]), grown])


def _levinson_durbin(rho: Array) -> Array:
    """Return partial autocorrelations of ``(lag, ...)`` autocorrelations, all cells at once.

    statsmodels' `levinson_durbin`, which takes one series, needs 170 times as long for 30 lags; it
    is the oracle of the tests.
    """
    found = np.empty_like(rho)
    found[0] = rho[0]
    coefficients = rho[1:1]
    error = np.ones_like(rho[0])
    for lag in range(1, len(rho)):
        missing = rho[lag] - (coefficients * rho[lag - 1 : 0 : -1]).sum(axis=0)
        value = missing / np.where(error > 0, error, np.nan)
        # beyond 1 no process has these autocorrelations; gaps can do that to adjusted ones
        found[lag] = np.where(np.abs(value) <= 1, value, np.nan)
        coefficients = coefficients - found[lag] * coefficients[::-1]
        coefficients = np.concatenate([coefficients, found[lag][None]])
        error = error * (1 - found[lag] ** 2)
    return found
