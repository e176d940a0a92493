"""Test whether two records are paired: whether the same days show the same weather."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.alignment import template
from xdownscale.core.coords import find_axes, from_array, require_time, to_array
from xdownscale.core.errors import DataError, GridError, OptionError, TimeAxisError
from xdownscale.core.grids import cell_weights, describe_grid, uncovered
from xdownscale.core.missing import finite
from xdownscale.core.normalization import Scaling, choose_transform
from xdownscale.core.time import DAY, seconds, time_step
from xdownscale.geostat._common_days import on_common_days
from xdownscale.geostat._variables import for_each_variable
from xdownscale.regridding import regrid

Array = npt.NDArray[Any]

MIN_DAYS = 30
LEVEL = 0.01  # of chance, at most, for a pair
_ENOUGH = 99  # shifts: with fewer, counting cannot reach that level
_DOUBT = 0.05  # a p-value between the two, of too few shifts, decides nothing
_SPARED = 15  # days: a smaller shift is still correlated with the true alignment
_QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
_YEAR = 365.2425


@for_each_variable(other="fine", needs_time=True)
def diagnose_pairing(
    coarse: xr.DataArray,
    fine: xr.DataArray,
    shifts: int = 200,
    seed: int = 0,
    *,
    transform: str | Scaling = "auto",
) -> xr.Dataset:
    """Test whether the same days of two records show the same weather.

    The correlation of the anomalies of coarse and coarsened fine record, against the same after
    circular shifts of the days. A free-running simulation shares the climate of the real world and
    not its weather: then the true alignment is no better than a shifted one, and a model fitted day
    by day would fit noise. Wasserstein distances cannot see that.

    Parameters
    ----------
    coarse, fine : DataArray or Dataset
        (time, lat, lon) with common days and a common area. Both are read on those. A Dataset
        gives one result along ``variable``: each variable against that of the same name, or
        against one DataArray.
    shifts : int
        Circular shifts of the null distribution, 100 or more, sampled without replacement from
        those of 15 days and more (of a quarter of the record, where that is less). Short records
        have fewer: then all of them are taken.
    seed : int
        Of the shifts.
    transform : str or Scaling
        Space of the anomalies; ``"auto"`` looks at the coarsened values.

    Returns
    -------
    Dataset
        ``correlation`` and ``p_value`` over ``scale``: ``"regional"`` for the area mean, ``"cell"``
        for the area-weighted mean of the cells' own correlations; ``null`` over ``quantile`` and
        ``scale``; ``cell_correlation`` over the coarse grid; ``paired``, ``decided``, ``days``
        and ``message``, a plain sentence. `paired` is True where the p-value of the cells is 0.01
        or less. Where it is not, and lies below 0.05 on a record too short for 99 shifts,
        `decided` is False: the record is too short to tell.

    Raises
    ------
    TimeAxisError
        If fewer than 30 days, or 30 times, are common.
    GridError
        If the grids do not overlap.
    DataError
        If a record has no anomalies, as it does not change or is all NaN.
    OptionError
        For fewer than 100 shifts.

    Notes
    -----
    Records of 11 months and more lose three harmonics of the year, a smooth day-of-year
    climatology (the mean of each calendar day would be half of a two-year record's anomaly);
    shorter ones lose their mean and trend. Circular shifts keep the autocorrelation of both
    records, so a slow record is not taken for a paired one.

    The p-value is ``(1 + shifts that do as well) / (1 + shifts)``. With fewer than 99 shifts it
    cannot fall to 0.01; then the distance of the true alignment from the mean of the null is held
    against Student's t with one degree of freedom for each independent shift but one, and the
    p-value is that of t. Neighbouring shifts are not independent: their number is the number of
    shifts over the sum of their autocorrelation.

    Examples
    --------
    >>> import xdownscale as xd
    >>> for synchronised in (True, False):
    ...     ds = xd.datasets.load_twin(synchronised)
    ...     found = diagnose_pairing(ds.dust, ds.dust_fine.isel(time=slice(120)))
    ...     print(found.paired.item())
    True
    False
    """
    if shifts < 100:
        raise OptionError(f"shifts is {shifts}; the 99 % quantile of the null needs 100 or more.")
    own, other = on_common_days(coarse, fine, ("The coarse record", "The fine record"))
    name = require_time(own, "The coarse record")
    step = time_step(own[name])
    days = own.sizes[name] * min(step, DAY) / DAY
    if days < MIN_DAYS:
        raise TimeAxisError(
            f"The records have {days:g} days in common; {MIN_DAYS} are needed to tell a "
            "true alignment from a shifted one."
        )
    pair = _coarsened(own, other)
    space = transform
    if not isinstance(space, Scaling):
        space = choose_transform([np.asarray(da.data) for da in pair], space)
    climatology = _regressors(seconds(pair[0][name]) / DAY)
    weights = np.asarray(to_array(cell_weights(pair[0])).array).ravel()
    fields = [_flat(da, space) for da in pair]
    cells = [_residuals(x, climatology) for x in fields]
    regional = [_residuals(_weighted_mean(x, weights), climatology) for x in fields]
    if not all((a.std(axis=0) > 0).any() for a in cells):
        raise DataError(
            "A record has no anomalies on the common days and area: it does not change, or is all "
            "NaN. Check the variable and its mask."
        )
    spared = math.ceil(_SPARED * DAY / step)
    moved = _sample_shifts(own.sizes[name], shifts, seed, spared)
    return _judge(cells, regional, weights, moved, pair[0], seed, step)


def _coarsened(coarse: xr.DataArray, fine: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return both records on the coarse cells that the fine grid covers, in memory."""
    axes = find_axes(coarse)
    outside = uncovered(template(fine), template(coarse))
    rows = ~outside.all(axes.x).values
    columns = ~outside.all(axes.y).values
    if not (rows.any() and columns.any()):
        raise GridError(
            f"The grids do not overlap: the coarse one has {describe_grid(coarse)}, the fine one "
            f"{describe_grid(fine)}. Give records of one area."
        )
    part = {axes.y: rows, axes.x: columns}
    own = coarse.isel(part)
    # where a grid is tilted against the other, cells of the part lie outside
    beyond = outside.isel(part).reset_coords(drop=True)
    extrapolate = "nearest" if bool(beyond.any()) else None
    moved = regrid(fine, template(own), "conservative", extrapolate=extrapolate).compute()
    moved = moved.where(~beyond) if extrapolate else moved
    own = own.compute()
    own = own.copy(data=finite(own.values))
    both = own.notnull() & moved.notnull()
    return own.where(both), moved.transpose(*own.dims).where(both)


def _flat(da: xr.DataArray, space: Scaling) -> Array:
    """Return transformed values (time, cell)."""
    x: Array = space.transform_only(np.asarray(to_array(da).array, dtype=np.float64))
    return x.reshape(len(x), -1)


def _weighted_mean(x: Array, weights: Array) -> Array:
    """Return the mean (time, 1) over the valid cells."""
    good = ~np.isnan(x)
    total = (good * weights).sum(axis=1, keepdims=True)
    mean: Array = np.nansum(x * weights, axis=1, keepdims=True)
    return mean / np.where(total > 0, total, np.nan)


def _regressors(day: Array) -> Array:
    """Return regressors (time, k) of a climatology: harmonics of the year, or a trend."""
    if np.ptp(day) < 0.9 * _YEAR:
        return np.stack([np.ones_like(day), day - day.mean()], axis=1)
    angle = 2 * np.pi * day / _YEAR
    waves = [f(k * angle) for k in (1, 2, 3) for f in (np.cos, np.sin)]
    return np.stack([np.ones_like(day), *waves], axis=1)


def _residuals(x: Array, regressors: Array) -> Array:
    """Return residuals (time, cell) of a least-squares fit to the valid steps, 0 elsewhere."""
    good = ~np.isnan(x)
    residual = np.zeros_like(x)
    whole = good.all(axis=0)
    columns = [np.flatnonzero(whole), *np.flatnonzero(~whole)[:, None]]
    for cells in columns:
        if not len(cells):
            continue
        days = good[:, cells[0]]
        if days.sum() <= regressors.shape[1]:
            continue
        y = x[np.ix_(days, cells)]
        fitted = regressors[days] @ np.linalg.lstsq(regressors[days], y, rcond=None)[0]
        rest = y - fitted
        # what rounding leaves of a constant is no anomaly
        rest[:, np.abs(rest).max(axis=0) <= 1e-12 * np.abs(y).max(axis=0)] = 0.0
        residual[np.ix_(days, cells)] = rest
    return residual


def _sample_shifts(times: int, count: int, seed: int, spared: int = _SPARED) -> Array:
    """Sample circular shifts in steps, none of them shorter than `spared`."""
    spared = min(spared, times // 4)
    allowed = np.arange(spared, times - spared + 1)
    if allowed.size <= count:
        return allowed
    return np.sort(np.random.default_rng(seed).choice(allowed, count, replace=False))


def _correlations(a: Array, b: Array) -> Array:
    """Correlate anomalies (time, cell) over time; NaN where one has none."""
    both = (a != 0) & (b != 0)
    square = np.einsum("tc,tc->c", a**2, both) * np.einsum("tc,tc->c", b**2, both)
    product = np.einsum("tc,tc->c", a, b)
    found: Array = product / np.sqrt(np.where(square > 0, square, np.nan))
    return found


def _area_mean(values: Array, weights: Array) -> float:
    good = ~np.isnan(values)
    return float(values[good] @ weights[good] / weights[good].sum()) if good.any() else np.nan


def _judge(
    cells: list[Array],
    regional: list[Array],
    weights: Array,
    shifts: Array,
    coarse: xr.DataArray,
    seed: int,
    step: int,
) -> xr.Dataset:
    """Compare the correlation of the true alignment with those of the shifted ones."""
    scales = ((regional, np.ones(1)), (cells, weights))
    true = np.array([_area_mean(_correlations(a, b), w) for (a, b), w in scales])
    null = np.array(
        [
            [_area_mean(_correlations(a, np.roll(b, s, axis=0)), w) for (a, b), w in scales]
            for s in shifts
        ]
    )
    levels = np.nanquantile(null, _QUANTILES, axis=0)
    p_value = np.array([_p_value(true[k], null[:, k]) for k in range(len(scales))])
    paired = bool(p_value[1] <= LEVEL)
    decided = paired or bool(p_value[1] > _DOUBT) or len(shifts) >= _ENOUGH
    times = len(regional[0])
    message = _message(paired, true[1], levels[:, 1])
    if not decided:
        message = _undecided(p_value[1], len(shifts), times * min(step, DAY) / DAY)
    per_cell = _on_grid(_correlations(cells[0], cells[1]), template(coarse))
    found = xr.Dataset(
        {
            "correlation": ("scale", true, {"long_name": "correlation of anomalies"}),
            "null": (("quantile", "scale"), levels, {"long_name": "correlation of shifted days"}),
            "p_value": ("scale", p_value, {"long_name": "chance of doing as well by a shift"}),
            "cell_correlation": per_cell,
            "paired": ((), paired, {"long_name": "the days are the same days"}),
            "decided": ((), decided, {"long_name": "the record is long enough to tell"}),
            "days": ((), times * min(step, DAY) / DAY, {"long_name": "common days", "units": "d"}),
            "message": ((), message, {"long_name": "verdict"}),
        },
        coords={"scale": ["regional", "cell"], "quantile": list(_QUANTILES)},
        attrs={"shifts": len(shifts), "seed": seed},
    )
    for name in set(found.data_vars) - {"days"}:
        found[name].attrs["units"] = "1"
    return found


def _p_value(true: float, null: Array) -> float:
    """Return the probability that a shift does as well as the true alignment."""
    good = null[~np.isnan(null)]
    share = float((1 + (good >= true).sum()) / (1 + len(good)))
    if len(good) >= _ENOUGH or np.isnan(true):
        return share
    from scipy import stats

    if good.std() == 0:
        return share
    free = max(_effective_size(good) - 1, 1.0)
    distance = (true - good.mean()) / (good.std() * np.sqrt(1 + 1 / (free + 1)))
    return float(stats.t.sf(distance, free))


def _effective_size(null: Array) -> float:
    """Return the effective sample size of a series, by the sum of its autocorrelation.

    The sum of a short series comes out too small. Taken twice, 1 to 3 of 100 unrelated pairs with
    autocorrelations of 0.5 to 0.95 on 30 to 120 days are called paired; taken once, up to 7 are.
    """
    moved = null - null.mean()
    rho = np.correlate(moved, moved, "full")[len(null) - 1 :] / (moved @ moved)
    below = np.flatnonzero(rho <= 0)
    correlated = rho[1 : below[0] if below.size else len(rho)].sum()
    return float(len(null) / (1 + 4 * correlated))


def _on_grid(values: Array, grid: xr.DataArray) -> xr.DataArray:
    unlabelled = to_array(grid)
    placed = from_array(values.reshape(unlabelled.array.shape), unlabelled.labels)
    return placed.rename(None).assign_attrs(long_name="correlation of anomalies", units="1")


def _message(paired: bool, true: float, null: Array) -> str:
    span = f"{true:.2f}; shifted days give {null[0]:.2f} to {null[-1]:.2f} (98 %)"
    if paired:
        return (
            f"The days are paired: the anomalies of a cell correlate with {span}. The fine record "
            "may be learnt day by day."
        )
    return (
        f"The days are not paired: the anomalies of a cell correlate with {span}. Scores of "
        'single days mean nothing here. Use pairing="self": learn from the coarsened fine record, '
        "and map the quantiles of the coarse record onto it."
    )


def _undecided(p_value: float, shifts: int, days: float) -> str:
    needed = math.ceil(_ENOUGH + 2 * _SPARED)
    return (
        f"Undecided: on {days:g} common days only {shifts} shifts are possible, and the p-value is "
        f"{p_value:.2f}. Give {needed} days or more, or say with pairing= what you know of the "
        "records."
    )
