"""Cross-correlation of two records at lags in time. The kernel takes arrays ``(..., time)``."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.alignment import bring_together
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import GridError, OptionError, check_option
from xdownscale.core.grids import Array, cell_weights, describe_grid, same_grid
from xdownscale.core.missing import finite
from xdownscale.geostat._lags import lag_coordinate, pairs, series_of
from xdownscale.geostat._variables import for_each_variable

_CONSTANT = 1e-26  # a variance below this share of the mean square is rounding


@for_each_variable(other="other", needs_time=True)
def lag_correlation(
    da: xr.DataArray,
    other: xr.DataArray,
    max_lag: int = 10,
    reduce: str | None = "mean",
    alpha: float = 0.05,
    *,
    adjusted: bool = False,
) -> xr.DataArray:
    """Return the correlation of two records, such as a coarse and a fine one, at lags in time.

    At lag k it is that of `da` k steps after `other`: where the largest stands at a positive lag,
    `da` follows `other`. Records that match have it at lag 0.

    Parameters
    ----------
    da, other : DataArray or Dataset
        (..., time, lat, lon), dims in any order; lazy or not; in any units. Their common days and,
        on different grids, their common area are used. A Dataset gives a Dataset with the dimension
        ``variable``.
    max_lag : int
        Largest lag on either side, in time steps.
    reduce : {"mean"} or None
        "mean": of the area-weighted means over the valid cells of each step. None: of each cell;
        both records must be on one grid.
    alpha : float
        The bounds hold 1 - `alpha` of the distribution.
    adjusted : bool
        False: divide the sum over pairs by the number of values. True: by the number of pairs, as
        statsmodels' ``ccf`` does by default.

    Returns
    -------
    DataArray
        ``lag_correlation`` over ``lag`` from ``-max_lag`` to `max_lag` and the dims that are left,
        with the coordinates ``lower`` and ``upper`` and ``pair_count``. NaN where a series is
        constant. Lazy where the records are.

    Raises
    ------
    TimeAxisError
        If there is no time or no common day, a gap is no multiple of the step (the message names
        it), or there are fewer than ``max_lag + 2`` common steps.
    GridError
        If latitude and longitude are not found, the grids do not overlap, or differ with
        ``reduce=None``.
    OptionError
        For another `reduce`, or `alpha` or `max_lag` out of range.

    Notes
    -----
    ``sum (x_{t+k} - m_x) (y_t - m_y) / (n s_x s_y)`` over the pairs that exist; means, standard
    deviations and n are of the steps at which both records have a value. Bounds ``z / sqrt(n)`` on
    both sides of the estimate: those of two series of which one is white noise. Both of them
    autocorrelated, as weather is, differ from 0 more often by chance.

    References
    ----------
    Box, Jenkins, Reinsel and Ljung (2015), Time Series Analysis, section 12.1.

    Examples
    --------
    >>> time = np.arange("2000-01-01", "2000-01-09", dtype="M8[D]").astype("M8[ns]")
    >>> values = np.array([0.0, 0, 1, 0, 0, 0, 0, 0])[:, None, None]
    >>> da = xr.DataArray(values, coords={"time": time, "lat": [0.0], "lon": [0.0]})
    >>> later = da.shift(time=1, fill_value=0.0)
    >>> found = lag_correlation(later, da, max_lag=2)
    >>> found.idxmax("lag").item(), found.sel(lag=1).round(3).item()
    (1.0, 0.982)
    """
    if reduce is not None:
        check_option("reduce (None for every cell, or a name)", reduce, ["mean"])
    if not 0 < alpha < 1:
        raise OptionError(f"alpha is {alpha}; give a number between 0 and 1, such as 0.05.")
    for record, what in ((da, "The record"), (other, "The other record")):
        require_time(record, what)
    one, two = bring_together(da.drop_attrs(deep=False), other.drop_attrs(deep=False))
    if reduce is None and not same_grid(one, two):
        raise GridError(
            f"The records are on different grids: {describe_grid(da)}, and {describe_grid(other)}. "
            "reduce=None needs one grid: regrid one, or give reduce='mean'."
        )
    series = series_of(one, max_lag)
    x = series.da
    y = two.assign_coords({series.time: one[series.time].values}).sortby(series.time)
    if reduce == "mean":
        x = _regional_mean(x)
        y = _regional_mean(y)
    return _correlate(x, y, series, int(max_lag), alpha, adjusted).assign_attrs(
        long_name="correlation at lags", units="1", alpha=alpha, adjusted=int(adjusted)
    )


def _regional_mean(da: xr.DataArray) -> xr.DataArray:
    axes = find_axes(da)
    good: xr.DataArray = xr.apply_ufunc(finite, da, dask="allowed")
    mean: xr.DataArray = good.weighted(cell_weights(good)).mean((axes.y, axes.x))
    return mean


def _correlate(
    x: xr.DataArray, y: xr.DataArray, series: Any, max_lag: int, alpha: float, adjusted: bool
) -> xr.DataArray:
    from scipy.special import ndtri

    time = series.time
    whole = [da.chunk({time: -1}) if da.chunks else da for da in (x, y)]
    value, count, number = xr.apply_ufunc(
        correlations,
        *whole,
        input_core_dims=[[time]] * 2,
        output_core_dims=[["lag"], ["lag"], []],
        exclude_dims={time},
        kwargs={"positions": series.positions, "max_lag": max_lag, "adjusted": adjusted},
        dask="parallelized",
        output_dtypes=[float] * 3,
        dask_gufunc_kwargs={"output_sizes": {"lag": 2 * max_lag + 1}},
        join="override",
    )
    half = float(ndtri(1 - alpha / 2)) / np.sqrt(number.where(number > 0))
    lags = lag_coordinate(np.arange(-max_lag, max_lag + 1), series.step)
    found: xr.DataArray = value.assign_coords(
        lag=lags,
        lower=(value - half).assign_attrs(long_name="lower bound of correlation"),
        upper=(value + half).assign_attrs(long_name="upper bound of correlation"),
        pair_count=count.assign_attrs(long_name="pairs of steps", units="1"),
    )
    return found.transpose("lag", ...).rename("lag_correlation")


def correlations(
    x: Array, y: Array, *, positions: Array, max_lag: int, adjusted: bool
) -> tuple[Array, Array, Array]:
    """Return correlations at lags, the number of pairs of each, and of values.

    Parameters
    ----------
    x, y : ndarray, shape (..., time)
        Ascending in time; a step counts where both have a value.
    positions : ndarray of int, shape (time,)
        Number of each step; gaps leave numbers out.
    max_lag : int
        From ``-max_lag`` to this.
    adjusted : bool
        Whether sums are divided by the number of pairs.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        ``(..., lag)``, ``(..., lag)`` and ``(...)``.

    Examples
    --------
    >>> x = np.array([1.0, -1.0, 1.0, -1.0])
    >>> correlations(x, x, positions=np.arange(4), max_lag=1, adjusted=True)[0]
    array([-1.,  1., -1.])
    """
    x, y = np.broadcast_arrays(x, y)
    valid = np.isfinite(x) & np.isfinite(y)
    ones = valid.astype(float)
    number = ones.sum(axis=-1)
    first = _standardised(x, valid, number)
    second = _standardised(y, valid, number)
    shape = (*number.shape, 2 * max_lag + 1)
    value = np.full(shape, np.nan)
    count = np.zeros(shape)
    for k in range(-max_lag, max_lag + 1):
        late, early = pairs(positions, 0, abs(k))
        here, there = (late, early) if k >= 0 else (early, late)
        at = k + max_lag
        count[..., at] = (ones[..., here] * ones[..., there]).sum(axis=-1)
        total = (first[..., here] * second[..., there]).sum(axis=-1)
        divisor = count[..., at] if adjusted else number
        value[..., at] = total / np.where(count[..., at] > 0, divisor, np.nan)
    return value, count, number


def _standardised(x: Array, valid: Array, number: Array) -> Array:
    """Return values less their mean, over their standard deviation; 0 where there is none."""
    some = np.where(number > 0, number, np.nan)[..., None]
    filled = np.where(valid, x, 0.0)
    mean = filled.sum(axis=-1, keepdims=True) / some
    gaps = np.where(valid, filled - mean, 0.0)
    variance = (gaps**2).sum(axis=-1, keepdims=True) / some
    variance = np.where(variance > _CONSTANT * mean**2, variance, np.nan)
    return np.asarray(gaps / np.sqrt(variance))
