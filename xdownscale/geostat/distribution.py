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
from xdownscale.core.quantiles import DIGIT, count_digits, floats, narrow
from xdownscale.core.streaming import RereadableArray, as_dask, gather
from xdownscale.core.values import as_floats
from xdownscale.geostat._variables import for_each_variable

Array = NDArray[Any]
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_CONSTANT = 1e-26  # a variance below this share of the mean square is rounding


class _Ranks(NamedTuple):
    """Radix search: digits found so far of the order statistics, and ranks behind these digits."""

    known: int
    ranks: Array
    heads: Array
    size: int


@for_each_variable()
def distribution(
    da: xr.DataArray,
    quantiles: Sequence[float] = QUANTILES,
    thresholds: Sequence[float] = (),
    *,
    tail: float = 0.01,
) -> xr.Dataset:
    """Return moments, quantiles, tail index and exceedances of all values of a field.

    Parameters
    ----------
    da : DataArray or Dataset
        Any dims; lazy or not. NaN are left out; every other value counts alike. A Dataset gives
        one result along ``variable``, of the variables that have a grid.
    quantiles : sequence of float
        Probabilities from 0 to 1.
    thresholds : sequence of float
        In the units of `da`.
    tail : float
        Share of the values, the largest ones, that the tail index is estimated from.

    Returns
    -------
    Dataset
        ``value`` over ``quantile`` (linear between order statistics, as in numpy),
        ``exceedance`` over ``threshold`` (share of values above it), ``mean``, ``sd``
        (divisor n - 1), ``skewness`` (m3 / m2^1.5), ``tail_index`` with ``tail_count`` and
        ``tail_threshold``, and ``count``. Lazy where `da` is, exact whatever its chunks: float32
        is read 4 times and float64 6 times, never held.

    Raises
    ------
    OptionError
        If a probability or `tail` is out of range, or a threshold is no finite number.
    DataError
        If the values are no real numbers.

    Notes
    -----
    Hill's estimator (1975): the tail index is ``1 / mean(log(x_i / u))`` over the k largest values,
    k = ceil(`tail` n), and u the largest value below them. It is the exponent a in
    ``P(X > x) ~ x^-a``; a small one means heavy tails. NaN where u is not positive or all of the
    k values equal u.

    Examples
    --------
    >>> da = xr.DataArray(np.arange(101.0), dims="x")
    >>> found = distribution(da, quantiles=(0.25, 0.5), thresholds=(90,))
    >>> found.value.values
    array([25., 50.])
    >>> found.exceedance.round(3).item()
    0.099
    """
    from dask.base import compute

    probabilities = _checked(quantiles, "quantiles")
    levels = np.atleast_1d(np.asarray(thresholds, dtype=float))
    if not np.isfinite(levels).all():
        raise OptionError(f"thresholds are {thresholds}; give finite numbers.")
    if not 0 < tail < 1:
        raise OptionError(f"tail is {tail}; give a share between 0 and 1, such as 0.01.")
    values = as_floats(da).data
    parts = _describe(as_dask(values if da.ndim else values[None]), probabilities, levels, tail)
    if da.chunks is None:
        (parts,) = compute(parts)
    return _labelled(da, parts, probabilities, levels, tail)


def _checked(quantiles: Sequence[float], what: str) -> Array:
    found = np.atleast_1d(np.asarray(quantiles, dtype=float))
    if not ((found >= 0) & (found <= 1)).all():
        raise OptionError(f"{what} are {quantiles}; give probabilities from 0 to 1.")
    return found


def _describe(x: Any, probabilities: Array, levels: Array, tail: float) -> dict[str, Any]:
    """Describe a dask array lazily: moments, then a pass for each digit, then one for the tail."""
    import dask.array
    from dask.delayed import delayed

    record = RereadableArray(x)
    moments = _read_once(record.array, _moments, _merge_moments)
    state = delayed(_initial_ranks)(moments, probabilities, tail)
    for known in range(0, 8 * x.dtype.itemsize, DIGIT):
        again = record.again(state)
        counts = _read_once(again, _count_next_digit, _add, state)
        state = delayed(_next_digit)(counts, state, known)
    found = delayed(_read_off)(state, probabilities, tail, x.dtype)
    last = record.again(found)
    sums = _read_once(last, _tail_sums, _add, delayed(_tail_and_levels)(found, levels))
    summary = delayed(_summary)(moments, found, sums)
    shapes = {"value": probabilities.shape, "exceedance": levels.shape, "scalars": (7,)}
    return {
        name: dask.array.from_delayed(summary[name], shape, dtype=float)
        for name, shape in shapes.items()
    }


def _labelled(
    da: xr.DataArray, parts: dict[str, Any], probabilities: Array, levels: Array, tail: float
) -> xr.Dataset:
    units = {"units": da.attrs["units"]} if "units" in da.attrs else {}
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
    return xr.Dataset(data, coords=coords, attrs={"variable": str(da.name), "tail": tail})


def _read_once(x: Any, kernel: Any, merge: Any, given: Any = None) -> Any:
    """Apply a kernel to the valid values of every block, and merge the results."""
    return gather(x, partial(_on_valid, kernel), merge, given)


# kernels: flat blocks of valid values


def _on_valid(kernel: Any, block: Array, given: Any) -> Any:
    return kernel(block[np.isfinite(block)], given)


def _add(parts: list[Array]) -> Array:
    return np.asarray(sum(parts[1:], parts[0]))


def _moments(values: Array, _: Any) -> Array:
    """Return count, mean and central sums of squares and cubes."""
    if not values.size:
        return np.zeros(4)
    values = values.astype(float)
    mean = values.mean()
    off = values - mean
    square = off * off
    return np.array([values.size, mean, square.sum(), (square * off).sum()])


def _merge_moments(parts: list[Array]) -> Array:
    """Merge counts, means, sums of squares and of cubes of blocks (Pebay 2008)."""
    count, means, squares, cubes = np.stack(parts, axis=1)
    total = count.sum()
    if total == 0:
        return np.zeros(4)
    mean = (count * means).sum() / total
    off = means - mean
    m3 = cubes.sum() + 3 * (off * squares).sum() + (count * off**3).sum()
    return np.array([total, mean, squares.sum() + (count * off**2).sum(), m3])


def _initial_ranks(moments: Array, probabilities: Array, tail: float) -> _Ranks:
    """Return the ranks on both sides of each quantile, and that of the tail threshold."""
    size = int(moments[0])
    if not size:
        return _Ranks(0, np.zeros(0, np.int64), np.zeros(0, np.uint64), 0)
    place = probabilities * (size - 1)
    low = np.floor(place).astype(np.int64)
    edge = max(size - _tail_count(size, tail) - 1, 0)
    ranks = np.concatenate([low, np.minimum(low + 1, size - 1), [edge]])
    return _Ranks(0, ranks, np.zeros(ranks.size, np.uint64), size)


def _tail_count(size: int, tail: float) -> int:
    return int(np.ceil(round(tail * size, 6)))


def _count_next_digit(values: Array, state: _Ranks) -> Array:
    heads = np.unique(state.heads)
    return count_digits(values, state.known, heads) if heads.size else np.zeros((0, 1), np.int64)


def _next_digit(counts: Array, state: _Ranks, known: int) -> _Ranks:
    if not state.size:
        return state
    ranks, heads = narrow(counts, state.ranks, state.heads)
    return _Ranks(known + DIGIT, ranks, heads, state.size)


def _read_off(state: _Ranks, probabilities: Array, tail: float, dtype: Any) -> dict[str, Any]:
    """Read quantiles, the tail threshold and the size of the tail off the order statistics."""
    if not state.size:
        return {"value": np.full(probabilities.shape, np.nan), "edge": np.nan, "count": 0}
    found = floats(state.heads, np.dtype(dtype)).astype(float)
    low = found[: probabilities.size]
    high = found[probabilities.size : -1]
    place = probabilities * (state.size - 1)
    share = place - np.floor(place)
    with np.errstate(invalid="ignore"):  # inf - inf
        between = np.where(high == low, low, low + (high - low) * share)
    count = _tail_count(state.size, tail)
    return {"value": between, "edge": found[-1] if count < state.size else np.nan, "count": count}


def _tail_and_levels(found: dict[str, Any], levels: Array) -> tuple[float, Array]:
    return found["edge"], levels


def _tail_sums(values: Array, given: tuple[float, Array]) -> Array:
    """Return the sum of log(x / edge) above the edge, and the number of values above each level."""
    edge, levels = given
    logs = 0.0
    if edge > 0:
        logs = float(np.log(values[values > edge].astype(float) / edge).sum())
    return np.array([logs, *((values > level).sum() for level in levels.tolist())], dtype=float)


def _summary(moments: Array, found: dict[str, Any], sums: Array) -> dict[str, Array]:
    size, mean, m2, m3 = moments
    many = size if size else np.nan
    flat = not m2 / many > _CONSTANT * mean**2
    sd = np.sqrt(m2 / (size - 1)) if size > 1 else np.nan
    skewness = np.nan if flat else m3 / many / (m2 / many) ** 1.5
    # values equal to the edge add log 1 = 0: the k largest are the divisor, ties or not
    index = found["count"] / sums[0] if sums[0] > 0 else np.nan
    mean = mean if size else np.nan
    tail = (index, found["count"], found["edge"])
    scalars = np.array([size, mean, sd, skewness, *tail], dtype=float)
    return {"value": found["value"], "exceedance": sums[1:] / many, "scalars": scalars}
