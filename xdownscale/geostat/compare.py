"""Compare two records: every diagnostic of both, and the differences."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.alignment import require_same_units
from xdownscale.core.coords import find_time
from xdownscale.core.errors import DataError, OptionError, XDownscaleError
from xdownscale.core.normalization import Scaling
from xdownscale.core.space import space_of
from xdownscale.core.time import step_text
from xdownscale.core.units import transformed_units, units_of
from xdownscale.geostat._pair_choice import common_bins
from xdownscale.geostat._variables import for_each_variable
from xdownscale.geostat.autocorrelation import acf, pacf
from xdownscale.geostat.distribution import distribution
from xdownscale.geostat.lag_scores import lag_r2, lag_rmse
from xdownscale.geostat.spectrum import power_spectrum
from xdownscale.geostat.variogram import semivariogram
from xdownscale.geostat.wasserstein import wasserstein

FIELDS = ("this", "reference")
_WAVELENGTHS = np.geomspace(10.0, 5000.0, 28)  # km, ten to a decade
_DONE = "done"
_OVER_TIME = ("acf", "pacf", "lag_r2", "lag_rmse")
_FIT = ("nugget", "psill", "sill", "effective_range", "fit_ok")


@for_each_variable(other="reference")
def compare(
    da: xr.DataArray,
    reference: xr.DataArray,
    *,
    max_distance: float = 600,
    max_lag: int = 10,
    transform: str | Scaling | None = "auto",
    floor: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Return all diagnostics of a record and of a reference, and their differences.

    Each record is measured on its own grid and over its own days. Structure in space and time is
    measured in transformed units, the distribution in the units of the record.

    Parameters
    ----------
    da, reference : DataArray or Dataset
        ([time,] lat, lon), dims in any order; grids and periods may differ. A Dataset gives one
        result along ``variable``: each variable against that of the same name, or against one
        DataArray.
    max_distance : float
        Longest distance of the semivariogram, km. Its classes are no narrower than the spacing of
        the coarser grid.
    max_lag : int
        Largest lag of the curves over time, in steps. Records of different steps get no curves:
        their lags would be different times.
    transform, floor
        As in `wasserstein`.
    seed : int
        Of the semivariogram's pairs.

    Returns
    -------
    Dataset
        Over ``field`` (``"this"``, ``"reference"``): ``semivariance`` over ``distance`` (km),
        ``nugget``, ``psill``, ``sill``, ``effective_range``, ``fit_ok``,
        ``fit_message``; ``power`` over ``wavelength`` (km, interpolated to common wavelengths,
        NaN where a record has none);
        ``acf``, ``pacf``, ``lag_r2`` and ``lag_rmse`` over ``lag`` (steps); ``value`` over
        ``quantile``, ``mean``, ``sd``, ``skewness`` and ``tail_index``. For each number
        ``NAME_difference``, this minus reference. Without ``field``: ``wasserstein_mean``,
        ``wasserstein_p10``, ``wasserstein_p90`` and ``wasserstein_pooled``. ``status`` over
        ``diagnostic`` and ``field`` is ``"done"``, or says why a diagnostic was left out; its
        values are NaN then, or absent where both records lack it. A reason that holds for all
        of them is told at the first, and the others refer to it. Lazy where a record is; what is
        wrong with lazy values shows when they are computed.

    Raises
    ------
    OptionError
        If `max_lag` is below 1, or for an unknown transform.
    DataError
        If both name their units, and these differ.

    Examples
    --------
    >>> import xdownscale as xd
    >>> ds = xd.datasets.load_twin()
    >>> found = compare(ds.dust.isel(time_coarse=0), ds.dust_fine.isel(time=0))
    >>> found.status.sel(diagnostic="semivariogram", field="this").item()
    'done'
    >>> found.status.sel(diagnostic="acf", field="this").item()[:33]
    'The record has no time dimension '
    """
    if max_lag < 1:
        raise OptionError(f"max_lag is {max_lag}; give 1 or more.")
    require_same_units(da, reference, ("The record", "the reference"))
    space = space_of(transform, (da.data, reference.data), floor)
    records = dict(zip(FIELDS, (da, reference), strict=True))
    parts = []
    status = {}
    steps = _steps_differ(da, reference)
    bins = common_bins(records.values(), max_distance)
    for name, measure in _diagnostics(max_distance, bins, max_lag, seed).items():
        if steps and name in _OVER_TIME:
            status[name] = dict.fromkeys(FIELDS, steps)
            continue
        found, said = _measure_both(measure, records, space)
        parts += [found] if found else []
        status[name] = said
    distances, said = _distances(da, reference, space)
    status["wasserstein"] = said
    _shorten_reasons(status)
    merged = xr.merge([*map(_with_difference, parts), distances], join="outer", compat="override")
    texts = xr.DataArray(
        [[status[name][f] for f in FIELDS] for name in status],
        dims=("diagnostic", "field"),
        coords={"diagnostic": list(status), "field": list(FIELDS)},
        attrs={"long_name": "whether the diagnostic could be computed"},
    )
    return merged.assign(status=texts).assign_attrs(
        transform=space.transform, max_lag=max_lag, max_distance=float(max_distance), seed=seed
    )


def _diagnostics(max_distance: float, bins: int, max_lag: int, seed: int) -> dict[str, Any]:
    """Return each diagnostic as a function of a record and its transformed values."""
    return {
        "semivariogram": partial(_semivariogram, max_distance=max_distance, bins=bins, seed=seed),
        "power_spectrum": _power,
        "acf": partial(_curve, function=acf, name="acf", max_lag=max_lag),
        "pacf": partial(_curve, function=pacf, name="pacf", max_lag=max_lag),
        "lag_r2": partial(_curve, function=lag_r2, name="lag_r2", max_lag=max_lag),
        "lag_rmse": partial(_curve, function=lag_rmse, name="lag_rmse", max_lag=max_lag),
        "distribution": _values,
    }


def _shorten_reasons(status: dict[str, dict[str, str]]) -> None:
    """Give each reason once; later diagnostics refer to the first one that has it."""
    for field in FIELDS:
        first: dict[str, str] = {}
        for name, said in status.items():
            before = first.setdefault(said[field], name)
            if said[field] != _DONE and before != name:
                said[field] = f"As for {before}."


def _steps_differ(da: xr.DataArray, reference: xr.DataArray) -> str:
    """Describe how the time steps differ; "" where they do not, or a record has no time."""
    dims = [find_time(each) for each in (da, reference)]
    if None in dims:
        return ""
    times = [each[dim] for each, dim in zip((da, reference), dims, strict=True)]
    if min(time.size for time in times) < 2:
        return ""
    first = step_text(times[0])
    second = step_text(times[1])
    if first == second:
        return ""
    return (
        f"Left out: the record has a time step of {first} and the reference one of {second}, so "
        "their lags are not the same times. Bring both to one step, for instance with "
        '.resample(time="1D").mean().'
    )


def _measure_both(
    measure: Callable[[xr.DataArray, xr.DataArray], xr.Dataset],
    records: dict[str, xr.DataArray],
    space: Scaling,
) -> tuple[xr.Dataset | None, dict[str, str]]:
    """Measure both records; leave out what cannot be measured, and say why."""
    found = {}
    said = {}
    for field, da in records.items():
        try:
            moved = _transformed(da, space)
            found[field] = measure(da, moved)
            said[field] = _DONE
        except XDownscaleError as err:
            said[field] = str(err)
    if not found:
        return None, said
    some = next(iter(found.values()))
    parts = [found.get(field, _missing_like(some)) for field in FIELDS]
    index = xr.DataArray(list(FIELDS), dims="field", name="field")
    return xr.concat(parts, index, join="outer", coords="minimal", compat="override"), said


def _transformed(da: xr.DataArray, space: Scaling) -> xr.DataArray:
    """Return transformed values under their own units."""
    moved = da.copy(data=space.transform_only(da.data))
    units = transformed_units(units_of(da), space.transform)
    moved.attrs = {k: v for k, v in da.attrs.items() if k != "units"}
    return moved.assign_attrs(units=units) if units else moved


def _missing_like(like: xr.Dataset) -> xr.Dataset:
    """Return the same Dataset full of NaN; False and no text where there are no numbers."""
    return like.map(lambda v: v.where(False) if v.dtype.kind == "f" else xr.zeros_like(v))


def _with_difference(part: xr.Dataset) -> xr.Dataset:
    added = {}
    for name, values in part.data_vars.items():
        if values.dtype.kind != "f":
            continue
        this = values.sel(field="this", drop=True)
        reference = values.sel(field="reference", drop=True)
        long = f"{values.attrs.get('long_name', name)}, this minus reference"
        added[f"{name}_difference"] = (this - reference).assign_attrs(
            values.attrs | {"long_name": long}
        )
    return part.assign(added)


def _semivariogram(
    da: xr.DataArray, moved: xr.DataArray, max_distance: float, bins: int, seed: int
) -> xr.Dataset:
    found = semivariogram(moved, max_distance=max_distance, bins=bins, seed=seed, bootstrap=0)
    kept = found[["semivariance", *_FIT]].assign(fit_message=found.message)
    return _without_coords(
        kept.drop_vars("distance", errors="ignore").rename(lag="distance"), "distance"
    )


def _power(da: xr.DataArray, moved: xr.DataArray) -> xr.Dataset:
    """Interpolate the power density to common wavelengths, in logarithms."""
    found = power_spectrum(moved)
    if found.message.chunks is None and (found.message != "").all():
        raise DataError(str(found.message.values.flat[0]))
    whole = found.power.isel(wavelength=np.flatnonzero(found.complete.values))
    own = np.log(whole.wavelength.values[::-1])
    power: xr.DataArray = xr.apply_ufunc(
        lambda p: _interpolate(p[..., ::-1], own, np.log(_WAVELENGTHS)),
        whole,
        input_core_dims=[["wavelength"]],
        output_core_dims=[["wavelength"]],
        exclude_dims={"wavelength"},
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={
            "output_sizes": {"wavelength": _WAVELENGTHS.size},
            "allow_rechunk": True,
        },
    )
    attrs = {"long_name": "wavelength", "units": "km"}
    power = power.assign_coords(wavelength=("wavelength", _WAVELENGTHS, attrs))
    return _without_coords(
        xr.Dataset({"power": power.assign_attrs(found.power.attrs)}), "wavelength"
    )


def _interpolate(power: Any, own: Any, wanted: Any) -> Any:
    """Interpolate log power at ascending log wavelengths; NaN outside them."""
    rows = np.log(np.where(power > 0, power, np.nan)).reshape(-1, own.size)
    done = [np.exp(np.interp(wanted, own, row, left=np.nan, right=np.nan)) for row in rows]
    return np.reshape(done, (*power.shape[:-1], wanted.size))


def _curve(
    da: xr.DataArray, moved: xr.DataArray, function: Any, name: str, max_lag: int
) -> xr.Dataset:
    found = function(moved, max_lag=max_lag)
    curve = found["mean"] if isinstance(found, xr.Dataset) else found
    bare = _without_coords(curve.rename(name).reset_coords(drop=True).to_dataset(), "lag")
    steps = np.arange(max_lag + 1) if bare.sizes["lag"] == max_lag + 1 else 1 + np.arange(max_lag)
    attrs = {"long_name": "lag", "units": "1", "comment": "in time steps"}
    bare = bare.assign_coords(lag=("lag", steps, attrs))
    return bare.reindex(lag=np.arange(max_lag + 1))


def _values(da: xr.DataArray, moved: xr.DataArray) -> xr.Dataset:
    found = distribution(da)[["value", "mean", "sd", "skewness", "tail_index"]]
    return _without_coords(found, "quantile")


def _without_coords(found: xr.Dataset, *kept: str) -> xr.Dataset:
    """Drop every coordinate but those of the named dimensions."""
    bare = found.drop_vars([c for c in found.coords if c not in kept])
    bare.attrs = {}
    return bare


def _distances(
    da: xr.DataArray, reference: xr.DataArray, space: Scaling
) -> tuple[xr.Dataset, dict[str, str]]:
    """Return daily distances where there are common days, and pooled ones of all days."""
    found = {}
    said = _DONE
    try:
        pooled = wasserstein(da, reference, "pooled", transform=space, common=False)
        found["wasserstein_pooled"] = pooled.wasserstein
        daily = wasserstein(da, reference, transform=space)
        names = [f"wasserstein_{part}" for part in ("mean", "p10", "p90")]
        found |= {name: daily[name] for name in names if name in daily}
    except XDownscaleError as err:
        said = str(err)
    return xr.Dataset(found), dict.fromkeys(FIELDS, said)
