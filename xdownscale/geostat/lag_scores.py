"""Lagged RMSE and R2 between the fields of a record.

Each block of the record gives its share of the moments of every pair of fields; shares are merged
over space, so that memory grows neither with time steps nor with cells. The kernels take
``(time, cell)`` arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import check_option
from xdownscale.core.grids import cell_weights
from xdownscale.core.missing import finite
from xdownscale.core.streaming import RereadableArray, as_dask, like_input, slabs
from xdownscale.core.units import units_of
from xdownscale.geostat._lags import Series, lag_coordinate, pairs, series_of
from xdownscale.geostat._variables import for_each_variable

Array = NDArray[Any]
_MOMENTS = 8  # cells, weight, mean t, mean p, M2 of t, M2 of p, comoment, squared error
_CONSTANT = 1e-26  # a variance below this share of the mean square is rounding


@for_each_variable(needs_time=True)
def lag_rmse(da: xr.DataArray, max_lag: int = 10, *, weighted: bool = True) -> xr.Dataset:
    """Return the root mean square difference between each field and the one some steps earlier.

    Parameters
    ----------
    da : DataArray or Dataset
        (..., time, lat, lon), dims in any order; lazy or not. A Dataset gives one result along
        ``variable``.
    max_lag : int
        Largest lag, in time steps.
    weighted : bool
        True: cells count by their area. False: all alike.

    Returns
    -------
    Dataset
        Over ``lag`` from 1 to `max_lag` and any dims besides time and space: ``mean``, ``sd``
        (divisor n - 1), ``p10`` and ``p90`` over the time steps, in the units of `da`, and
        ``pair_count``, the number of pairs. Lazy where `da` is.

    Raises
    ------
    TimeAxisError
        If there is no time, a gap is no multiple of the step (the message names it), times are
        there twice, or there are fewer than ``max_lag + 2`` steps.
    GridError
        If latitude and longitude are not found.
    OptionError
        If `max_lag` is no whole number above 0.

    Notes
    -----
    Step t is compared with step t - lag where both are there, on the cells where both have values;
    a pair with fewer than two such cells is left out. Gaps are never closed up.

    Examples
    --------
    >>> time = np.arange("2000-01-01", "2000-01-05", dtype="M8[D]").astype("M8[ns]")
    >>> values = np.arange(4.0)[:, None, None] + np.eye(2)
    >>> da = xr.DataArray(values, coords={"time": time, "lat": [0.0, 1], "lon": [0.0, 1]})
    >>> lag_rmse(da, max_lag=2)["mean"].values
    array([1., 2.])
    """
    return _curves(da, max_lag, weighted, "rmse")


@for_each_variable(needs_time=True)
def lag_r2(
    da: xr.DataArray, max_lag: int = 10, *, kind: str = "r2", weighted: bool = True
) -> xr.Dataset:
    """Return R2 between each field and the one some steps earlier.

    Parameters
    ----------
    da, max_lag, weighted
        As for `lag_rmse`.
    kind : {"r2", "pearson"}
        "r2": 1 - SSE/SST, the field of step t - lag taken as prediction of that of step t; negative
        where it is worse than the mean of step t. "pearson": squared correlation of the two, which
        is what many papers call R2.

    Returns
    -------
    Dataset
        As for `lag_rmse`, without units. Constant fields count as no pair.

    Raises
    ------
    TimeAxisError, GridError
        As for `lag_rmse`.
    OptionError
        For another `kind`, or if `max_lag` is no whole number above 0.

    Examples
    --------
    >>> time = np.arange("2000-01-01", "2000-01-05", dtype="M8[D]").astype("M8[ns]")
    >>> values = np.arange(4.0)[:, None, None] + np.eye(2)
    >>> da = xr.DataArray(values, coords={"time": time, "lat": [0.0, 1], "lon": [0.0, 1]})
    >>> lag_r2(da, max_lag=2)["mean"].values
    array([ -3., -15.])
    >>> lag_r2(da, max_lag=2, kind="pearson")["mean"].values
    array([1., 1.])
    """
    check_option("kind", kind, ["r2", "pearson"])
    return _curves(da, max_lag, weighted, kind)


def _curves(da: xr.DataArray, max_lag: int, weighted: bool, kind: str) -> xr.Dataset:
    axes = find_axes(da)
    series = series_of(da, max_lag)
    ordered = series.da.transpose(..., series.time, axes.y, axes.x)
    weights = cell_weights(ordered).transpose(axes.y, axes.x).values
    weights = weights if weighted else np.ones_like(weights)
    rest = ordered.isel({series.time: 0, axes.y: 0, axes.x: 0}, drop=True)
    scores = _stream(ordered.data, weights, series, int(max_lag), SCORES[kind])
    found = like_input(_summary(scores), ordered.data)
    lags = lag_coordinate(np.arange(1, max_lag + 1), series.step)
    return _labelled(found, rest, lags, kind, weighted)


def _labelled(
    found: Any, rest: xr.DataArray, lags: xr.DataArray, kind: str, weighted: bool
) -> xr.Dataset:
    units = units_of(rest) if kind == "rmse" else "1"
    words = {"mean": "mean", "sd": "standard deviation", "p10": "10 % quantile"}
    words |= {"p90": "90 % quantile"}
    steps = "days" if lags.attrs["units"] == "day" else "time steps"
    dims = ("lag", *rest.dims)
    data: dict[str, Any] = {}
    for place, (name, word) in enumerate(words.items()):
        attrs = {"long_name": f"{word} of the {_WORDS[kind]} over {steps}"}
        data[name] = (dims, found[place], attrs | ({"units": units} if units else {}))
    data["pair_count"] = (dims, found[4], {"long_name": f"pairs of {steps}", "units": "1"})
    attrs = {"score": kind, "weights": "area" if weighted else "none"}
    return xr.Dataset(data, coords={**rest.coords, "lag": lags}, attrs=attrs)


_WORDS = {
    "rmse": "root mean square difference",
    "r2": "coefficient of determination (1 - SSE/SST)",
    "pearson": "squared correlation",
}


def _stream(data: Any, weights: Array, series: Series, max_lag: int, score: Any) -> Any:
    """Return the score of every pair, ``(lag, time, ...)``; NaN where there is none."""
    import dask.array

    lead = data.ndim - 3
    time_first = data.transpose(lead, *range(lead), lead + 1, lead + 2)
    record = RereadableArray(as_dask(time_first, whole=4 * max_lag))
    x = record.array
    parts: list[Any] = []
    for slab in slabs(x.chunks[0], series.positions, max_lag):
        steps = (slab.first, slab.stop)
        piece = record.again(parts[-2], *steps) if len(parts) > 1 else x[slice(*steps)]
        piece = piece.rechunk({0: -1})
        on_grid = dask.array.from_array(weights, chunks=piece.chunks[-2:], name=False)
        shares = piece.map_blocks(
            _shares,
            on_grid.reshape((1,) * (lead + 1) + weights.shape),
            positions=series.positions[slab.first : slab.stop],
            start=slab.start - slab.first,
            max_lag=max_lag,
            dtype=float,
            new_axis=(0, 1),
            chunks=(
                (_MOMENTS,),
                (max_lag,),
                (slab.stop - slab.start,),
                *piece.chunks[1:-2],
                *((1,) * n for n in piece.numblocks[-2:]),
            ),
        )
        whole = shares.rechunk({0: -1, -2: -1, -1: -1})
        parts.append(
            whole.map_blocks(
                _merge, score=score, dtype=float, drop_axis=(0, -2 % whole.ndim, -1 % whole.ndim)
            )
        )
    return dask.array.concatenate(parts, axis=1)


def _summary(scores: Any) -> Any:
    """Return mean, sd, 10 and 90 % quantile and number of pairs by lag; (5, lag, ...)."""
    whole = scores.rechunk({1: -1})
    return whole.map_blocks(
        _describe,
        dtype=float,
        drop_axis=1,
        new_axis=0,
        chunks=((5,), whole.chunks[0], *whole.chunks[2:]),
    )


# kernels


def _shares(x: Array, weights: Array, positions: Array, start: int, max_lag: int) -> Array:
    """Return the moments of each pair of fields over the cells of one block.

    Parameters
    ----------
    x : array, shape (time, ..., y, x)
    weights : array, shape (1, ..., y, x)

    Returns
    -------
    ndarray, shape (8, max_lag, time from `start`, ..., 1, 1)
    """
    flat = finite(x).reshape(*x.shape[:-2], -1).astype(float, copy=False)
    w = weights.reshape(-1)
    moments = np.zeros((_MOMENTS, max_lag, len(x) - start, *x.shape[1:-2]))
    for lag in range(1, max_lag + 1):
        late, early = pairs(positions, start, lag)
        rows = np.arange(len(x))[late] - start
        moments[:, lag - 1, rows] = _moments(flat[late], flat[early], w)
    return moments[..., None, None]


def _moments(t: Array, p: Array, w: Array) -> Array:
    """Return weighted moments of pairs over the last axis, about each pair's mean."""
    both = ~(np.isnan(t) | np.isnan(p))
    v = w * both
    t = np.where(both, t, 0.0)
    p = np.where(both, p, 0.0)
    total = v.sum(axis=-1)
    safe = np.where(total > 0, total, 1.0)
    mean_t = _dot(v, t) / safe
    mean_p = _dot(v, p) / safe
    error = np.einsum("...c,...c,...c->...", v, t - p, t - p)
    t = t - mean_t[..., None]
    p = p - mean_p[..., None]
    second = [np.einsum("...c,...c,...c->...", v, a, b) for a, b in ((t, t), (p, p), (t, p))]
    return np.stack([both.sum(axis=-1), total, mean_t, mean_p, *second, error])


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("...c,...c->...", a, b))


def _merge(shares: Array, score: Callable[..., Array]) -> Array:
    """Merge the blocks of a field (Chan et al. 1979) and score; the last two axes are blocks."""
    cells, w, t, p, tt, pp, tp, error = shares.reshape(*shares.shape[:-2], -1)
    total = w.sum(axis=-1)
    safe = np.where(total > 0, total, 1.0)
    mean_t = (w * t).sum(axis=-1) / safe
    mean_p = (w * p).sum(axis=-1) / safe
    t = t - mean_t[..., None]
    p = p - mean_p[..., None]
    sums = [(own + w * a * b).sum(axis=-1) for own, a, b in ((tt, t, t), (pp, p, p), (tp, t, p))]
    enough = cells.sum(axis=-1) >= 2
    total = np.where(enough, total, np.nan)
    sst, spp, stp = sums
    sst = np.where(sst > _CONSTANT * total * mean_t**2, sst, np.nan)
    spp = np.where(spp > _CONSTANT * total * mean_p**2, spp, np.nan)
    return np.where(enough, score(total, sst, spp, stp, error.sum(axis=-1)), np.nan)


def _rmse(total: Array, sst: Array, spp: Array, stp: Array, sse: Array) -> Array:
    return np.asarray(np.sqrt(sse / total))


def _r2(total: Array, sst: Array, spp: Array, stp: Array, sse: Array) -> Array:
    return np.asarray(1 - sse / sst)


def _pearson(total: Array, sst: Array, spp: Array, stp: Array, sse: Array) -> Array:
    return np.asarray(stp**2 / (sst * spp))


SCORES: dict[str, Callable[..., Array]] = {"rmse": _rmse, "r2": _r2, "pearson": _pearson}


def _describe(scores: Array) -> Array:
    """Summarise ``(lag, time, ...)`` over time; NaN where too few pairs exist."""
    count = (~np.isnan(scores)).sum(axis=1)
    good = np.where(np.isnan(scores), 0.0, scores)
    mean = good.sum(axis=1) / np.where(count > 0, count, np.nan)
    spread = np.where(np.isnan(scores), 0.0, scores - mean[:, None]) ** 2
    sd = np.sqrt(spread.sum(axis=1) / np.where(count > 1, count - 1, np.nan))
    low = _quantile(scores, count, 0.1)
    high = _quantile(scores, count, 0.9)
    return np.stack([mean, sd, low, high, count.astype(float)])


def _quantile(scores: Array, count: Array, q: float) -> Array:
    """Return the linear quantile of valid values; np.nanquantile warns where there are none."""
    ordered = np.sort(scores, axis=1)  # NaN last
    place = q * np.maximum(count - 1, 0)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    a = np.take_along_axis(ordered, low[:, None], axis=1)[:, 0]
    b = np.take_along_axis(ordered, high[:, None], axis=1)[:, 0]
    return np.asarray(a + (b - a) * (place - low))
