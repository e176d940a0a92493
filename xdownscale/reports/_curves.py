"""Diagnostic curves of a record by time step, and the statistics read off their mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xdownscale import geostat, skill
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import DataError
from xdownscale.core.grids import Array, distances
from xdownscale.core.time import match_times
from xdownscale.core.units import units_of
from xdownscale.core.variogram_models import fit_curve
from xdownscale.reports._records import days_of
from xdownscale.skill.baselines import persistence

BINS = 30
_PAIRS = 30_000  # of each day, whose curves are averaged
LAGS = tuple(range(1, 11))
_LEVELS = (0.05, 0.5, 0.95, 0.99)
_EDGES = 400
_MAX_DISTANCE = 600.0
_FITS = 40  # resamples that a model is fitted to; each takes 50 ms
_ZERO = 1e-3  # share of the sill below which a nugget is a rounding error of the fit


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A diagnostic of one record.

    Attributes
    ----------
    x : ndarray, shape (n,)
        Lags, wavelengths or values.
    per_step : ndarray, shape (step, m)
        What is averaged over the steps of the record.
    units : str
        Of the curve.
    """

    x: Array
    per_step: Array
    units: str = "1"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Settings that all records of a report are measured with.

    Attributes
    ----------
    reach : float
        Longest distance of semivariograms, km.
    lags : tuple of int
        Lags in days.
    steps : dict of str to float
        Steps in a day, by record.
    resolved : float
        Shortest wavelength that the coarse grid resolves, two of its longer spacings, km.
    edges : ndarray
        Values below which cells are counted.
    """

    reach: float
    resolved: float
    lags: tuple[int, ...]
    steps: Mapping[str, float]
    edges: Array


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """A kind of curve: how it is measured, and the statistics read off it.

    Attributes
    ----------
    key, title, meaning : str
        Name, heading, and what the curve tells.
    measure : callable
        From a field and the scope to its curve.
    read : callable
        From x, means ``(draw, m)`` and the scope to a dict of label to ``(draw,)``.
    shape : callable
        From a mean ``(..., m)`` to the curve ``(..., n)`` that is drawn.
    """

    key: str
    title: str
    meaning: str
    measure: Callable[[xr.DataArray, Scope], Curve]
    read: Callable[[Array, Array, Scope], dict[str, Array]]
    shape: Callable[[Array], Array]


def scope_of(fields: Mapping[str, xr.DataArray]) -> Scope:
    """Choose settings that serve all records: the prediction's extent, lags of the shortest one."""
    sample = np.concatenate([_thinned(f) for f in fields.values()])
    if not sample.size:
        raise DataError("No record has any value in the region and on the days that are judged.")
    return Scope(
        reach=min(_MAX_DISTANCE, 0.6 * _diagonal(fields["prediction"])),
        resolved=resolved_wavelength(fields["coarse"]),
        lags=_lags(min(days_of(f) for f in fields.values())),
        steps={name: f.sizes[require_time(f, "It")] / days_of(f) for name, f in fields.items()},
        edges=np.unique(np.quantile(sample, np.linspace(0, 1, _EDGES + 1))),
    )


def _variogram(field: xr.DataArray, scope: Scope) -> Curve:
    """Measure semivariance, pair count and mean distance of every class, on the record's grid."""
    time = require_time(field, "It")
    # lazy, so that no model is fitted to every day: only the semivariance is computed
    lazy = field if field.chunks else field.chunk({time: 64})
    result = geostat.semivariogram(
        lazy, max_distance=scope.reach, bins=BINS, pairs=_PAIRS, average=None
    )
    gamma = result["semivariance"].transpose(time, "lag").values
    count = result["pair_count"].transpose(time, "lag").values
    count = np.where(np.isnan(gamma).all(axis=1, keepdims=True), np.nan, count)
    distance = np.broadcast_to(result["distance"].values, gamma.shape)
    columns = np.concatenate([gamma, count, distance], axis=1)
    return Curve(x=result["lag"].values, per_step=columns, units=_units(result["semivariance"]))


def _semivariance(columns: Array) -> Array:
    """Return semivariance ``(..., lag)`` from columns ``(..., 3 lag)``."""
    return columns[..., : columns.shape[-1] // 3]


def _read_variogram(lag: Array, columns: Array, scope: Scope) -> dict[str, Array]:
    """Read off semivariance at three distances, and the spherical model of some resamples."""
    gamma, count, distance = np.split(columns, 3, axis=-1)
    places = [int(np.argmin(np.abs(lag - share * scope.reach))) for share in (0.1, 0.3, 0.9)]
    places = list(dict.fromkeys(places))  # a small region has few lags
    found = {f"semivariance at {lag[p]:.0f} km": gamma[:, p] for p in places}
    draws = zip(distance[:_FITS], gamma, count, strict=False)
    fits = [fit_curve(*draw, "spherical").parameters for draw in draws]
    reach, psill, nugget, _ = np.array(fits).T
    nugget = np.where(nugget < _ZERO * psill, 0.0, nugget)
    return found | {"effective range in km": reach, "sill": psill + nugget, "nugget": nugget}


def resolved_wavelength(coarse: xr.DataArray) -> float:
    """Return twice the longer grid spacing in the middle of a grid, km."""
    axes = find_axes(coarse)
    here = {axes.y: coarse.sizes[axes.y] // 2 - 1, axes.x: coarse.sizes[axes.x] // 2 - 1}
    lat = coarse[axes.latitude]
    lon = coarse[axes.longitude]
    steps = []
    for dim in (axes.y, axes.x):
        ends = [here, {**here, dim: here[dim] + 1}]
        points = [
            [c.isel({d: i for d, i in e.items() if d in c.dims}).item() for c in (lat, lon)]
            for e in ends
        ]
        steps.append(np.asarray(distances(*points[0], *points[1])).item())
    return float(2 * max(steps))


def _diagonal(field: xr.DataArray) -> float:
    axes = find_axes(field)
    lat = field[axes.latitude].values
    lon = field[axes.longitude].values
    corners = lat.flat[0], lon.flat[0], lat.flat[-1], lon.flat[-1]
    return float(np.asarray(distances(*corners)).item())


def _spectrum(field: xr.DataArray, scope: Scope) -> Curve:
    """Measure the power of every day on the record's own grid; whole rings only."""
    result = geostat.power_spectrum(field, average=None)
    power = result["power"].isel(wavelength=np.flatnonzero(result["complete"].values))
    values = power.transpose(require_time(field, "It"), "wavelength").values
    return Curve(x=power["wavelength"].values, per_step=values, units=_units(result["power"]))


def _read_spectrum(wavelength: Array, power: Array, scope: Scope) -> dict[str, Array]:
    """Read off power at the shortest wavelength, and slopes, short wavelengths first.

    Slopes are d log(power) / d log(wavenumber), below and above the coarse resolution.
    """
    limit = scope.resolved
    bands = {"below": wavelength < limit, "above": wavelength >= limit}
    found = {}
    if wavelength.size:
        shortest = int(np.argmin(wavelength))
        with np.errstate(divide="ignore", invalid="ignore"):
            found[f"log10 power at {wavelength[shortest]:.0f} km"] = np.log10(power[:, shortest])
    return found | {
        f"spectral slope {name} {limit:.0f} km": _slope(wavelength[inside], power[:, inside])
        for name, inside in bands.items()
    }


def _slope(wavelength: Array, power: Array) -> Array:
    """Fit a slope by least squares in logarithms; NaN with fewer than three points."""
    if wavelength.size < 3:
        return np.full(power.shape[:-1], np.nan)
    x = -np.log(wavelength)
    x = x - x.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(np.where(power > 0, power, np.nan))  # no power has no slope
        slope: Array = (y * x).sum(axis=-1) / (x @ x)
    return slope


def _autocorrelation(field: xr.DataArray, scope: Scope) -> Curve:
    """Measure moments of the regional mean and of its value some days before, for each lag."""
    axes = find_axes(field)
    weights: xr.DataArray = np.cos(np.deg2rad(field[axes.latitude]))  # type: ignore[assignment]
    series = field.weighted(weights).mean([axes.y, axes.x]).compute()
    columns = [_moments(series, lag) for lag in scope.lags]
    return Curve(x=np.array(scope.lags), per_step=np.concatenate(columns, axis=1))


def _moments(series: xr.DataArray, lag: int) -> Array:
    """Return columns x, y, x^2, y^2, x y of the pairs of days, about the series' mean."""
    time = require_time(series, "It")
    centred = series - series.mean()
    late = centred.values
    early = _before(centred, time, lag)
    early = np.where(np.isnan(late), np.nan, early)
    late = np.where(np.isnan(early), np.nan, late)
    return np.stack([early, late, early**2, late**2, early * late], axis=1)


def _before(series: xr.DataArray, time: str, lag: int) -> Array:
    """Return the series `lag` days before each day, NaN where that day is missing."""
    index = series.indexes[time]
    step = np.timedelta64(lag, "D")
    wanted = index - (step if index.dtype.kind == "M" else step.astype(object))
    places = match_times(wanted, index)
    values: Array = np.where(places >= 0, series.values[places], np.nan)
    return values


def _correlation(moments: Array) -> Array:
    """Return the correlation ``(..., lag)`` from moments ``(..., 5 lag)``."""
    x, y, xx, yy, xy = np.moveaxis(moments.reshape(*moments.shape[:-1], -1, 5), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = (xy - x * y) / np.sqrt((xx - x**2) * (yy - y**2))
    return found


def _read_acf(lag: Array, moments: Array, scope: Scope) -> dict[str, Array]:
    found = _correlation(moments)
    return {
        f"autocorrelation at {_days(lag[p])}": found[..., p]
        for p in np.flatnonzero(np.isin(lag, (1, 3, 5)))
    }


def _lagged_r2(field: xr.DataArray, scope: Scope) -> Curve:
    """Measure R2 between the fields of each day and some days before."""
    scores = [skill.r2(persistence(field, lag=lag), field).values for lag in scope.lags]
    return Curve(x=np.array(scope.lags), per_step=np.stack(scores, axis=1))


def _read_lagged_r2(lag: Array, r2: Array, scope: Scope) -> dict[str, Array]:
    return {
        f"R² with the field {_days(lag[p])} before": r2[..., p]
        for p in np.flatnonzero(np.isin(lag, (1, 3)))
    }


def _days(lag: int) -> str:
    return f"{lag} day" if lag == 1 else f"{lag} days"


def _lags(count: int) -> tuple[int, ...]:
    """Return the lags of which a record has at least four stretches."""
    return tuple(lag for lag in LAGS if 4 * lag <= count) or (1,)


def _distribution(field: xr.DataArray, scope: Scope) -> Curve:
    """Measure the share of cells of each time step below each of some 400 values."""
    time = require_time(field, "It")
    rows = [_below(field.isel({time: i}).values, scope.edges) for i in range(field.sizes[time])]
    return Curve(x=scope.edges, per_step=np.array(rows))


def _thinned(field: xr.DataArray, size: int = 100_000) -> Array:
    """Return some values of a record, evenly spread over its days and cells."""
    axes = find_axes(field)
    step = max(1, int(np.ceil((field.size / size) ** (1 / 3))))
    values = field.isel({d: slice(None, None, step) for d in (axes.time, axes.y, axes.x)}).values
    kept: Array = values[np.isfinite(values)]
    return kept


def _below(values: Array, edges: Array) -> Array:
    good = np.sort(values[np.isfinite(values)])
    if not good.size:
        return np.full(edges.size, np.nan)
    share: Array = np.searchsorted(good, edges, side="right") / good.size
    return share


def _read_quantiles(edges: Array, share: Array, scope: Scope) -> dict[str, Array]:
    return {
        f"{100 * level:g} % quantile": np.array([np.interp(level, row, edges) for row in share])
        for level in _LEVELS
    }


def _units(da: xr.DataArray) -> str:
    return units_of(da) or ""


def _as_is(values: Array) -> Array:
    return values


DIAGNOSTICS = (
    Diagnostic(
        key="semivariogram",
        title="Structure in space: semivariogram",
        measure=_variogram,
        read=_read_variogram,
        shape=_semivariance,
        meaning="How much two places differ, by their distance. Too low at short distances means "
        "too smooth a field.",
    ),
    Diagnostic(
        key="power_spectrum",
        title="Scales: power spectrum",
        measure=_spectrum,
        read=_read_spectrum,
        shape=_as_is,
        meaning="How variance is shared among wavelengths. A steeper fall than the fine record's "
        "at short wavelengths means that detail is missing.",
    ),
    Diagnostic(
        key="acf",
        title="Persistence: autocorrelation of the regional mean",
        measure=_autocorrelation,
        read=_read_acf,
        shape=_correlation,
        meaning="How long a departure of the regional mean lasts.",
    ),
    Diagnostic(
        key="lag_curve",
        title="Motion: R² of a day with earlier days",
        measure=_lagged_r2,
        read=_read_lagged_r2,
        shape=_as_is,
        meaning="How similar the map of a day is to the map some days earlier. Too low means maps "
        "that flicker, too high means maps that stand still.",
    ),
    Diagnostic(
        key="distribution",
        title="Values: distribution",
        measure=_distribution,
        read=_read_quantiles,
        shape=_as_is,
        meaning="Which values occur, in all places and on all days together.",
    ),
)
