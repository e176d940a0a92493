"""Scores by scale: log spectral distance, and spread against error by octave of wavelength."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.errors import check_option
from xdownscale.core.spectra import ring_spectra, shortest_wavelengths
from xdownscale.skill._options import MEMBERS, Weights, pixel_weights, require_members
from xdownscale.skill._scores import Transform, paired, units_of

_CONVENTIONS = {"root": "dB", "mean_square": "dB2"}


def ralsd(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    convention: str = "root",
    average: str | None = "time",
    window: str = "hann",
    max_missing: float = 0.2,
    transform: Transform = None,
) -> xr.Dataset:
    """Return the radially averaged log spectral distance (RALSD) of a prediction from the truth.

    ``sqrt(mean_k d_k^2)`` with ``d_k = 10 log10(P_k / T_k)``, the power spectra P and T averaged
    over directions, and the mean over rings of wavenumbers that lie whole in the plane.

    Parameters
    ----------
    prediction, truth : DataArray
        (time, lat, lon) on one regular latitude-longitude grid, dims in any order; on their common
        days. Further dims of the prediction, such as realizations, are kept.
    convention : {"root", "mean_square"}
        ``"root"``, dB, is that of the literature (Harris et al. 2022). ``"mean_square"``, dB2, is
        its square, the mean of ``d_k^2`` without the root: what CORDEX-ML-Bench calls RALSD.
    average : {"time"} or None
        Average the spectra over the days before they are compared, or compare those of each day.
    window, max_missing
        As for `geostat.power_spectrum`.
    transform : str, Scaling or None
        As for `r2`.

    Returns
    -------
    Dataset
        ``ralsd``, and ``log_ratio``, the d_k over ``wavelength`` (km): above 0 the prediction has
        more variance than the truth. Cells that are NaN in either record (or in any member) count
        in neither. NaN where a field is constant. Lazy where the input is.

    Raises
    ------
    GridError
        If the grids differ, or are not regular, or have fewer than 8 rows or columns.
    OptionError
        For another `convention`, `average` or `window`, or `max_missing` out of range.
    TimeAxisError, DataError
        As for `r2`.

    References
    ----------
    Harris et al. (2022), doi:10.1029/2022MS003120; CORDEX-ML-Bench: arXiv 2606.29172.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> grid = {"lat": np.arange(16.0), "lon": np.arange(16.0)}
    >>> truth = xr.DataArray(rng.normal(size=(16, 16)), coords=grid)
    >>> ralsd(10 * truth, truth).ralsd.round(6).item()  # a hundred times the power
    20.0
    >>> ralsd(10 * truth, truth, convention="mean_square").ralsd.round(6).item()
    400.0
    """
    check_option("convention", convention, list(_CONVENTIONS))
    _check_average(average)
    pairs = paired(prediction, truth, transform)
    p, t = _on_common_cells(pairs.predictions["prediction"], pairs.truth)
    days = [pairs.axes.time] if average and pairs.axes.time else []
    own = ring_spectra(p, window, max_missing)
    reference = ring_spectra(t, window, max_missing).variance.mean(days)
    whole = np.flatnonzero(own.rings.wavenumber[1:] <= own.rings.reach)
    power = own.variance.mean(days).isel(wavelength=whole)
    reference = reference.isel(wavelength=whole)
    ratio = power.where(power > 0) / reference.where(reference > 0)
    decibel: xr.DataArray = xr.apply_ufunc(np.log10, ratio, dask="allowed") * 10
    square = (decibel**2).mean("wavelength", skipna=False)
    found = xr.Dataset({"ralsd": square**0.5 if convention == "root" else square})
    found["log_ratio"] = decibel.transpose(..., "wavelength")
    about = {"long_name": "wavelength", "units": "km"}
    found = found.assign_coords(
        wavelength=("wavelength", 1 / own.rings.wavenumber[1:][whole], about)
    )
    units = _CONVENTIONS[convention]
    found["ralsd"].attrs = {"long_name": "radially averaged log spectral distance", "units": units}
    found["log_ratio"].attrs = {"long_name": "power of prediction over truth", "units": "dB"}
    return found.assign_attrs(convention=convention, window=window, average=str(average))


def spread_skill_by_scale(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    average: str | None = "time",
    window: str = "hann",
    max_missing: float = 0.2,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.Dataset:
    """Return spread over error by octave of wavelength, and of the domain mean; 1 is calibrated.

    ``sqrt(mean ensemble variance) * sqrt(1 + 1/M)`` over the RMSE of the mean of M realizations, as
    `spread_skill`, of what each octave of wavelengths has of the fields. An ensemble can be
    calibrated at each pixel and far too narrow for means over an area, and this shows it.

    Parameters
    ----------
    prediction : DataArray
        (realization, time, lat, lon) on a regular latitude-longitude grid, dims in any order.
    truth : DataArray
        (time, lat, lon); scored on the common days.
    average : {"time"} or None
        Pool the days, or keep each of them.
    window, max_missing
        As for `geostat.power_spectrum`.
    weights : bool or DataArray
        Of the pixels in the domain mean, as for `r2`; octaves count all pixels alike.
    transform : str, Scaling or None
        As for `r2`.

    Returns
    -------
    Dataset
        ``spread``, ``rmse`` (units of the truth) and ``spread_skill``, their quotient, over
        ``wavelength`` (km, the middle of the octave; coordinates ``shortest`` and ``longest``), the
        first octave from 2 to 4 of the wider pixels; ``mean_spread``, ``mean_rmse`` and
        ``mean_spread_skill`` of the domain mean. Pixels where the truth or a member is NaN are left
        out of their day. NaN where nothing is wrong at all, or nothing is left. Lazy where the
        input is.

    Raises
    ------
    DataError
        If there are fewer than two realizations.
    GridError
        If the grids differ, or are not regular, or have fewer than 8 rows or columns.
    OptionError, TimeAxisError
        As for `r2`; and for another `average` or `window`, or `max_missing` out of range.

    Notes
    -----
    By Parseval's theorem the mean square of a band-passed field is the sum of the variance of its
    modes, so no field is filtered: the spectra of the error and of the members' deviations are
    summed over the octave. Both lose their least-squares plane and are tapered alike. The octaves'
    squares sum to those of the whole tapered field.

    References
    ----------
    Fortin et al. (2014), doi:10.1175/JHM-D-14-0008.1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> grid = {"lat": np.arange(32.0), "lon": np.arange(32.0)}
    >>> coords = {"time": xr.date_range("2000-01-01", periods=30), **grid}
    >>> truth = xr.DataArray(rng.normal(size=(30, 32, 32)), coords=coords)
    >>> like = truth.expand_dims(realization=4)
    >>> ensemble = like.copy(data=rng.normal(size=like.shape))
    >>> spread_skill_by_scale(ensemble, truth).spread_skill.round().values
    array([1., 1., 1., 1., 1.])
    """
    _check_average(average)
    count = require_members(prediction, "spread_skill_by_scale")
    pairs = paired(prediction, truth, transform)
    p, t = _on_common_cells(pairs.predictions["prediction"], pairs.truth)
    middle = p.mean(MEMBERS, skipna=False)
    error = middle - t
    apart = p - middle
    days = [pairs.axes.time] if average and pairs.axes.time else []
    found, shortest = _by_octave(error, apart, window, max_missing, days)
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    grid = [pairs.axes.y, pairs.axes.x]
    mean_error = (error if shares is None else error.weighted(shares)).mean(grid)
    mean_apart = (apart if shares is None else apart.weighted(shares)).mean(grid)
    found["mean_error"] = (mean_error**2).mean(days)
    found["mean_variance"] = (mean_apart**2).mean(days).sum(MEMBERS, skipna=False)
    return _described(found, count, units_of(truth, transform), shortest, str(average))


def _by_octave(
    error: xr.DataArray, apart: xr.DataArray, window: str, max_missing: float, days: list[Any]
) -> tuple[xr.Dataset, Any]:
    """Return the mean square error and the sum of squares of the members by octave."""
    wrong = ring_spectra(error, window, max_missing, by_octave=True)
    wide = ring_spectra(apart, window, max_missing, by_octave=True)
    variance = wide.variance.mean(days).sum(MEMBERS, skipna=False)
    found = xr.Dataset({"error": wrong.variance.mean(days), "variance": variance})
    return found, shortest_wavelengths(wrong.rings)


def _described(
    sums: xr.Dataset, count: int, units: str | None, shortest: Any, average: str
) -> xr.Dataset:
    """Make spread, error and their quotient of sums of squares."""
    own = {"units": units} if units else {}
    found = xr.Dataset()
    for prefix, of_what in (("", "in an octave of wavelength"), ("mean_", "of the domain mean")):
        variance = sums[f"{prefix}variance"] / (count - 1) * (1 + 1 / count)
        error = sums[f"{prefix}error"]
        ratio = (variance / error.where(error > 0)) ** 0.5
        names = {
            f"{prefix}spread": (variance**0.5, "ensemble spread times sqrt(1 + 1/M)", own),
            f"{prefix}rmse": (error**0.5, "root mean square error of the ensemble mean", own),
            f"{prefix}spread_skill": (ratio, "spread over error", {"units": "1"}),
        }
        for name, (da, text, more) in names.items():
            found[name] = da.assign_attrs({"long_name": f"{text} {of_what}", **more})
    about = {"units": "km"}
    return found.assign_coords(
        wavelength=("wavelength", 2**0.5 * shortest, {"long_name": "wavelength", **about}),
        shortest=("wavelength", shortest, {"long_name": "shortest wavelength", **about}),
        longest=("wavelength", 2 * shortest, {"long_name": "longest wavelength", **about}),
    ).assign_attrs(realizations=count, average=average)


def _check_average(average: str | None) -> None:
    if average is not None:
        check_option("average (None for every day, or a name)", average, ["time"])


def _on_common_cells(p: xr.DataArray, t: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mask cells where the truth or any member is NaN, in both."""
    further = [dim for dim in p.dims if dim not in t.dims]
    good = t.notnull() & p.notnull().all(further)
    return p.where(good), t.where(good)
