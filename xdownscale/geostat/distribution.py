"""Distribution of the values of a field: moments, quantiles, tail and exceedances.

The record is read a few times, block by block; only counts and sums stay in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.errors import OptionError
from xdownscale.core.grids import cell_weights, has_grid
from xdownscale.core.quantiles import DIGIT, count_digits, floats, narrow
from xdownscale.core.streaming import RereadableArray, as_dask, gather
from xdownscale.core.units import units_of
from xdownscale.core.values import as_floats
from xdownscale.geostat._variables import for_each_variable

Array = NDArray[Any]
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_BITS = 30  # of a weight, at most
_ALIKE = 1e-12  # of the largest area: areas that differ by less are equal
_WHOLE = 62  # bits of the sum of all weights
_CONSTANT = 1e-26  # a variance below this share of the mean square is rounding


class _Moments(NamedTuple):
    """Number of values, sum of their weights, mean, central sums, and sum of squared weights."""

    size: int
    weight: int
    mean: float
    squares: float
    cubes: float
    weight_squares: float


class _Ranks(NamedTuple):
    """Radix search: digits found so far of the order statistics, and ranks behind these digits."""

    known: int
    asked: Array
    ranks: Array
    heads: Array


@for_each_variable()
def distribution(
    da: xr.DataArray,
    quantiles: Sequence[float] = QUANTILES,
    thresholds: Sequence[float] = (),
    *,
    tail: float = 0.01,
    weighted: bool = True,
) -> xr.Dataset:
    """Return moments, quantiles, tail index and exceedances of all values of a field.

    Parameters
    ----------
    da : DataArray or Dataset
        Any dims; lazy or not. NaN are left out. A Dataset gives one result along ``variable``, of
        the variables that have a grid.
    quantiles : sequence of float
        Probabilities from 0 to 1.
    thresholds : sequence of float
        In the units of `da`.
    tail : float
        Share of the values, the largest ones, that the tail index is estimated from.
    weighted : bool
        True: values count by the area of their cell, as in `acf`; all alike where `da` has no
        latitude and longitude. False: all alike.

    Returns
    -------
    Dataset
        ``value`` over ``quantile``, ``exceedance`` over ``threshold`` (share of the area with
        values above it), ``mean``, ``sd``, ``skewness`` (m3 / m2^1.5), ``tail_index`` with
        ``tail_count`` and ``tail_threshold``, and ``count``, the number of values. The attribute
        ``weights`` says ``area`` or ``none``. Lazy where `da` is, exact whatever its chunks:
        float32 is read 4 times and float64 6 times, never held.

    Raises
    ------
    OptionError
        If a probability or `tail` is out of range, or a threshold is no finite number.
    DataError
        If the values are no real numbers.
    GridError
        If cells are weighted, and latitudes or longitudes are in no order or beyond the poles.

    Notes
    -----
    Weights w_i are areas, of the bounds that a Dataset bears (CF ``bounds``), else of midpoints
    between centres; cosines of latitude on curvilinear grids and such of one row or column. They
    are rounded to 2^-29 of the largest one. W is their sum, n* = W^2 / sum(w_i^2) the effective
    number of values, which equals n where all weights are equal.

    The quantile p is the mean of the inverse of the weighted distribution function over the window
    from p (1 - 1 / n*) to p (1 - 1 / n*) + 1 / n*: type 7 of Hyndman and Fan (1996) with weights
    (Akinshin 2023, arXiv:2304.07265), as in xarray's ``da.weighted(w).quantile``. With equal
    weights it is linear between order statistics, numpy's default. The variance is
    ``sum(w_i (x_i - m)^2) / (W - W / n*)``, with equal weights of divisor n - 1.

    Hill's estimator (1975): the tail index is 1 over the weighted mean of ``log(x / u)`` over the
    largest values, which hold k / n of the weight, k = ceil(`tail` n). The threshold u is the
    smallest value at or below which (n - k - 1/2) / n of the weight lie: with equal weights the
    largest value below the k largest. The index is the exponent a in ``P(X > x) ~ x^-a``; a small
    one means heavy tails. NaN where u is not positive or all values of the tail equal u.

    Examples
    --------
    >>> da = xr.DataArray(np.arange(101.0), dims="x")
    >>> found = distribution(da, quantiles=(0.25, 0.5), thresholds=(90,))
    >>> found.value.values
    array([25., 50.])
    >>> found.exceedance.round(3).item()
    0.099
    >>> grid = {"lat": [0.0, 60.0], "lon": [0.0, 1.0]}
    >>> rows = xr.DataArray([[1.0, 1.0], [4.0, 4.0]], coords=grid)
    >>> [distribution(rows, weighted=way)["mean"].round(3).item() for way in (True, False)]
    [2.0, 2.5]
    """
    from dask.base import compute

    probabilities = _checked(quantiles, "quantiles")
    levels = np.atleast_1d(np.asarray(thresholds, dtype=float))
    if not np.isfinite(levels).all():
        raise OptionError(f"thresholds are {thresholds}; give finite numbers.")
    if not 0 < tail < 1:
        raise OptionError(f"tail is {tail}; give a share between 0 and 1, such as 0.01.")
    values = as_floats(da).data
    x = as_dask(values if da.ndim else values[None])
    weights = _weights(da, x) if weighted else None
    parts = _describe(x, weights, probabilities, levels, tail)
    if da.chunks is None:
        (parts,) = compute(parts)
    about = {"tail": tail, "weights": "area" if weighted and has_grid(da) else "none"}
    return _labelled(da, parts, probabilities, levels, about)


def _weights(da: xr.DataArray, x: Any) -> Any:
    """Return how often each cell counts, as whole numbers chunked like `x`; None where all do once.

    Sums of whole numbers are the same in whatever order they are added.
    """
    import dask.array

    if not has_grid(da) or not da.size:
        return None
    areas = cell_weights(da).reset_coords(drop=True)
    shape = [areas.sizes.get(dim, 1) for dim in da.dims]
    values = areas.transpose(*[dim for dim in da.dims if dim in areas.dims]).values.reshape(shape)
    largest = values.max()
    if np.ptp(values) <= _ALIKE * largest:
        return None
    bits = min(_BITS, _WHOLE - da.size.bit_length())
    exponent = int(np.frexp(largest)[1])  # a power of 2: other cells do not change the rounding
    whole = np.round(np.ldexp(values, bits - exponent)).astype(np.int32)
    chunks = [c if n > 1 else (1,) for n, c in zip(shape, x.chunks, strict=True)]
    return dask.array.from_array(whole, chunks=tuple(chunks), name=False)


def _checked(quantiles: Sequence[float], what: str) -> Array:
    found = np.atleast_1d(np.asarray(quantiles, dtype=float))
    if not ((found >= 0) & (found <= 1)).all():
        raise OptionError(f"{what} are {quantiles}; give probabilities from 0 to 1.")
    return found


def _describe(
    x: Any, weights: Any, probabilities: Array, levels: Array, tail: float
) -> dict[str, Any]:
    """Describe a dask array lazily: moments, then a pass for each digit, then one for the tail."""
    import dask.array
    from dask.delayed import delayed

    record = RereadableArray(x)
    moments = _read_once(record.array, _moments, _merge_moments, None, weights)
    state = delayed(_initial_ranks)(moments, probabilities, tail)
    for known in range(0, 8 * x.dtype.itemsize, DIGIT):
        again = record.again(state)
        counts = _read_once(again, _count_next_digit, _add, state, weights)
        state = delayed(_next_digit)(counts, state, known)
    found = delayed(_read_off)(state, moments, probabilities, tail, x.dtype)
    last = record.again(found)
    given = delayed(_windows_and_levels)(found, levels)
    sums = _read_once(last, _last_sums, _add, given, weights)
    summary = delayed(_summary)(moments, found, sums)
    shapes = {"value": probabilities.shape, "exceedance": levels.shape, "scalars": (7,)}
    return {
        name: dask.array.from_delayed(summary[name], shape, dtype=float)
        for name, shape in shapes.items()
    }


def _labelled(
    da: xr.DataArray,
    parts: dict[str, Any],
    probabilities: Array,
    levels: Array,
    attrs: dict[str, Any],
) -> xr.Dataset:
    units: dict[str, Any] = {"units": units_of(da)} if "units" in da.attrs else {}
    about = {
        "count": ("number of values", {"units": "1"}),
        "mean": ("mean", units),
        "sd": ("standard deviation", units),
        "skewness": ("skewness", {"units": "1"}),
        "tail_index": ("tail index (Hill)", {"units": "1"}),
        "tail_count": ("number of values in the tail", {"units": "1"}),
        "tail_threshold": ("value that the tail begins at", units),
    }
    data: dict[str, Any] = {
        "value": ("quantile", parts["value"], {"long_name": "quantile", **units}),
        "exceedance": (
            "threshold",
            parts["exceedance"],
            {"long_name": "share of values above the threshold", "units": "1"},
        ),
    }
    for place, (name, (words, more)) in enumerate(about.items()):
        data[name] = ((), parts["scalars"][place], {"long_name": words, **more})
    coords = {
        "quantile": ("quantile", probabilities, {"long_name": "probability", "units": "1"}),
        "threshold": ("threshold", levels, {"long_name": "threshold", **units}),
    }
    return xr.Dataset(data, coords=coords, attrs={"variable": str(da.name), **attrs})


def _read_once(x: Any, kernel: Any, merge: Any, given: Any, weights: Any) -> Any:
    """Apply a kernel to the valid values of every block, and merge the results."""
    return gather(x, partial(_on_valid, kernel), merge, given, weights)


# kernels: flat blocks of valid values, and their weights; None where each counts once


def _on_valid(kernel: Any, block: Array, given: Any, weights: Array | None = None) -> Any:
    good = np.isfinite(block)
    if weights is None:
        return kernel(block[good], given, None)
    good &= weights > 0
    return kernel(block[good], given, np.broadcast_to(weights, block.shape)[good])


def _add(parts: list[Array]) -> Array:
    return np.asarray(sum(parts[1:], parts[0]))


def _moments(values: Array, _: Any, weights: Array | None) -> _Moments:
    if not values.size:
        return _Moments(0, 0, 0.0, 0.0, 0.0, 0.0)
    values = values.astype(float)
    if weights is None:
        total = values.size
        mean = values.mean()
    else:
        total = int(weights.sum(dtype=np.int64))
        mean = (weights * values).sum() / total
    off = values - mean
    square = off * off
    cube = square * off
    if weights is None:
        return _Moments(values.size, total, mean, square.sum(), cube.sum(), float(total))
    sums = [float((weights * part).sum()) for part in (square, cube, weights.astype(float))]
    return _Moments(values.size, total, mean, *sums)


def _merge_moments(parts: list[_Moments]) -> _Moments:
    """Merge counts, means, sums of squares and of cubes of blocks (Pebay 2008)."""
    size = sum(part.size for part in parts)
    total = sum(part.weight for part in parts)
    if total == 0:
        return _Moments(0, 0, 0.0, 0.0, 0.0, 0.0)
    count, means, squares, cubes, again = np.array([part[1:] for part in parts], dtype=float).T
    mean = (count * means).sum() / count.sum()
    off = means - mean
    m2 = squares.sum() + (count * off**2).sum()
    m3 = cubes.sum() + 3 * (off * squares).sum() + (count * off**3).sum()
    return _Moments(size, total, mean, m2, m3, again.sum())


def _initial_ranks(moments: _Moments, probabilities: Array, tail: float) -> _Ranks:
    """Return the ranks at both ends of each quantile's window, and that of the tail threshold.

    Ranks count units of weight from 0, or values where each counts once.
    """
    size, total = moments[:2]
    if not size:
        return _Ranks(0, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint64))
    start, width = _windows(moments, probabilities)
    low = np.floor(start).astype(np.int64)
    high = np.ceil(start + width).astype(np.int64) - 1
    # half a value less than (n - k) / n of the weight: rounding of weights must not move it
    below = -(-(2 * (size - _tail_count(size, tail)) - 1) * total // (2 * size))
    ranks = np.clip(np.concatenate([low, np.maximum(low, high), [below - 1]]), 0, total - 1)
    return _Ranks(0, ranks, ranks, np.zeros(ranks.size, np.uint64))


def _windows(moments: _Moments, probabilities: Array) -> tuple[Array, float]:
    """Return where each quantile's window begins, and the width of all, in units of weight."""
    width = moments.weight_squares / moments.weight
    return probabilities * (moments.weight - width), width


def _tail_count(size: int, tail: float) -> int:
    return int(np.ceil(round(tail * size, 6)))


def _count_next_digit(values: Array, state: _Ranks, weights: Array | None) -> Array:
    heads = np.unique(state.heads)
    if not heads.size:
        return np.zeros((0, 1), np.int64)
    return count_digits(values, state.known, heads, weights)


def _next_digit(counts: Array, state: _Ranks, known: int) -> _Ranks:
    if not state.asked.size:
        return state
    ranks, heads = narrow(counts, state.ranks, state.heads)
    return _Ranks(known + DIGIT, state.asked, ranks, heads)


def _read_off(
    state: _Ranks, moments: _Moments, probabilities: Array, tail: float, dtype: Any
) -> dict[str, Any]:
    """Read both ends of each quantile's window and the tail threshold off the order statistics."""
    size = moments.size
    if not size:
        none = np.full(probabilities.shape, np.nan)
        return {"low": none, "high": none, "share": none, "edge": np.nan, "count": 0}
    found = floats(state.heads, np.dtype(dtype)).astype(float)
    ends = slice(probabilities.size, -1)
    start, width = _windows(moments, probabilities)
    below = (state.asked - state.ranks)[ends]  # weight of what is less than the upper end
    count = _tail_count(size, tail)
    return {
        "low": found[: probabilities.size],
        "high": found[ends],
        "share": (start - (below - width)) / width,
        "edge": found[-1] if count < size else np.nan,
        "count": count,
    }


def _windows_and_levels(found: dict[str, Any], levels: Array) -> tuple[float, Array, Array, Array]:
    return found["edge"], levels, found["low"], found["high"]


def _last_sums(
    values: Array, given: tuple[float, Array, Array, Array], weights: Array | None
) -> Array:
    """Return the weighted sums that need the order statistics.

    Of log(x / edge) and of ones above the edge, of ones above each level, and of x - low in each
    quantile's window.
    """
    edge, levels, low, high = given
    above = values > edge
    held = _times(1.0, weights, above).sum()
    logs = 0.0
    if edge > 0:
        logs = float(_times(np.log(values[above].astype(float) / edge), weights, above).sum())
    over = [_times(1.0, weights, above).sum() for above in (values > v for v in levels.tolist())]
    if weights is None:  # a window then spans two neighbouring values, with none between
        return np.array([logs, held, *over, *np.zeros(low.size)], dtype=float)
    inner = []
    for least, most in zip(low.tolist(), high.tolist(), strict=True):
        within = (values > least) & (values < most)
        inner.append(_times(values[within].astype(float) - least, weights, within).sum())
    return np.array([logs, held, *over, *inner], dtype=float)


def _times(numbers: Any, weights: Array | None, chosen: Array) -> Any:
    """Return numbers times the weights of the values that were chosen."""
    return numbers * (np.ones(chosen.sum()) if weights is None else weights[chosen])


def _summary(moments: _Moments, found: dict[str, Any], sums: Array) -> dict[str, Array]:
    size, weight, mean, m2, m3, squares = moments
    many = weight if size else np.nan
    flat = not m2 / many > _CONSTANT * mean**2
    sd = np.sqrt(m2 / (weight - squares / weight)) if size > 1 else np.nan
    skewness = np.nan if flat else m3 / many / (m2 / many) ** 1.5
    # values equal to the edge add log 1 = 0: the share of the k largest is the divisor, ties or not
    tail_weight = max(found["count"] * (weight / max(size, 1)), sums[1])
    index = tail_weight / sums[0] if sums[0] > 0 else np.nan
    mean = mean if size else np.nan
    tail = (index, found["count"], found["edge"])
    scalars = np.array([size, mean, sd, skewness, *tail], dtype=float)
    over, inner = np.split(sums[2:], [sums.size - 2 - found["low"].size])
    return {"value": _values(found, inner, moments), "exceedance": over / many, "scalars": scalars}


def _values(found: dict[str, Any], inner: Array, moments: _Moments) -> Array:
    """Return the mean of the inverse distribution function over each quantile's window."""
    low: Array = found["low"]
    if not moments.size:
        return low
    high: Array = found["high"]
    _, width = _windows(moments, np.zeros(0))
    with np.errstate(invalid="ignore", over="ignore"):
        between: Array = low + (high - low) * found["share"] + inner / width
    return np.where(high == low, low, between)
