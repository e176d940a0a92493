"""Radially averaged power spectra: variance by wavelength."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import check_option
from xdownscale.core.grids import Axis
from xdownscale.core.spectra import FEWEST, ROUNDING, Rings, ring_spectra
from xdownscale.core.units import units_of
from xdownscale.geostat._variables import for_each_variable

_TEXT = "<U120"
_UNEVEN = 1.3  # ratio of the longest to the shortest spacing of longitudes that needs no comment


@for_each_variable()
def power_spectrum(
    da: xr.DataArray,
    average: str | None = "time",
    *,
    window: str = "hann",
    max_missing: float = 0.2,
) -> xr.Dataset:
    """Return the radially averaged power spectral density of fields.

    Each image loses its least-squares plane, is tapered, loses what mean is left, and is
    Fourier transformed. Modes are averaged over rings of one mode's width.

    Parameters
    ----------
    da : DataArray or Dataset
        (..., time, lat, lon) on a regular latitude-longitude grid, dims in any order; lazy or not.
        A Dataset gives one result along ``variable``.
    average : {"time"} or None
        Average the images' spectra over time, where there is one, or keep them all.
    window : {"hann", "none"}
        Taper along both axes. A field that does not repeat at its edges needs one.
    max_missing : float
        Images with a larger share of NaN come out NaN and are left out of the average; `message`
        says so. In others missing cells count as on the plane, and the density is divided by the
        share of the window on valid cells.

    Returns
    -------
    Dataset
        Over ``wavelength`` (km, long to short; coordinate ``wavenumber`` in cycles per km) and any
        dims that are left: ``power``, the mean density of the ring (units of `da` squared, km2);
        ``variance``, what the ring adds to the variance; ``mode_count``; ``complete``, True where
        the whole ring lies in the plane; ``missing``, the share of cells that are (the least of its
        time steps); ``message``, why there is no spectrum, empty where there is one; and
        ``day_count`` with ``average="time"``. Lazy where `da` is.

    Raises
    ------
    GridError
        If latitude and longitude are not found, two-dimensional or unevenly spaced, or there are
        fewer than 8 rows or columns.
    OptionError
        For another `average` or `window`, or `max_missing` out of range.

    Notes
    -----
    ``power(k) = |FFT(w f)|^2 dx dy / (nx ny mean(w^2))``, so that the sum of ``variance`` over all
    rings is ``mean((w f)^2) / mean(w^2)`` (Parseval), the variance of the detrended field f.
    Spacings are geodesic: dy in the middle of the domain, dx on its middle latitude. On domains
    that reach far across latitudes dx is not the same everywhere, and wavelengths are blurred by as
    much: ``attrs["comment"]`` says by how much, where it differs by more than 30 %. On a projected
    grid (CF ``grid_mapping``, ``proj:code``) spacings are those of its own coordinates in km.

    Examples
    --------
    >>> lon = np.arange(0.0, 8.0, 0.125)
    >>> wave = np.cos(2 * np.pi * lon)[None] + np.zeros((64, 1))
    >>> da = xr.DataArray(wave, coords={"lat": lon - 4, "lon": lon})
    >>> found = power_spectrum(da)
    >>> round(found.variance.idxmax("wavelength").item())  # one degree on the equator is 111 km
    111
    """
    if average is not None:
        check_option("average (None for every image, or a name)", average, ["time"])
    measured = ring_spectra(da, window, max_missing)
    axes = find_axes(da)
    found = _averaged(measured.variance, measured.missing, axes.time if average else None)
    found["message"] = _message(found, max_missing)
    attrs = {"window": window, "average": str(average)} | _comment(measured.latitude)
    return _labelled(found, measured.rings, da, attrs)


def _averaged(variance: xr.DataArray, missing: xr.DataArray, time: str | None) -> xr.Dataset:
    if time is None:
        return xr.Dataset({"variance": variance, "missing": missing})
    count = variance.isel(wavelength=0, drop=True).notnull().sum(time)
    found = {"variance": variance.mean(time), "missing": missing.min(time), "day_count": count}
    return xr.Dataset(found)


def _message(found: xr.Dataset, most: float) -> xr.DataArray:
    """Explain where there is no spectrum."""

    def say(share: float, first: float) -> str:
        if not np.isnan(first):
            return ""
        if not share > most + ROUNDING:
            return f"no spectrum: fewer than {FEWEST} cells have values; fill the field"
        return (
            f"no spectrum: {share:.0%} of the cells are missing, more than max_missing="
            f"{most:g}; raise it, or crop or fill the field"
        )

    said: xr.DataArray = xr.apply_ufunc(
        np.vectorize(say, otypes=[_TEXT]),
        found["missing"],
        found["variance"].isel(wavelength=0, drop=True),
        dask="parallelized",
        output_dtypes=[_TEXT],
    )
    return said.assign_attrs(long_name="why there is no spectrum", units="1")


def _comment(latitude: Axis | None) -> dict[str, str]:
    """Describe how uneven the spacing of longitudes is, where it is."""
    if latitude is None:  # lengths of a projection
        return {}
    widths = np.cos(np.deg2rad(latitude.values))
    middle = np.cos(np.deg2rad(latitude.values.mean()))
    low = float(widths.min() / middle)
    high = float(widths.max() / middle)
    if low > 0 and high / low <= _UNEVEN:
        return {}
    return {
        "comment": "Wavelengths from east to west are those of the middle latitude; over the "
        f"domain they are {low:.2f} to {high:.2f} times as long."
    }


def _labelled(
    found: xr.Dataset, rings: Rings, da: xr.DataArray, attrs: dict[str, Any]
) -> xr.Dataset:
    count = xr.DataArray(rings.modes[1:], dims="wavelength")
    units = units_of(da)
    squared = "1" if units == "1" else f"({units})2" if units else None
    found["power"] = found["variance"] / (count * rings.cell)
    found["mode_count"] = count.assign_attrs(long_name="number of modes", units="1")
    complete = ("wavelength", rings.wavenumber[1:] <= rings.reach)
    wavelength = (
        "wavelength",
        1 / rings.wavenumber[1:],
        {"long_name": "wavelength", "units": "km"},
    )
    number = ("wavelength", rings.wavenumber[1:], {"long_name": "wavenumber", "units": "km-1"})
    found = found.assign_coords(wavelength=wavelength, wavenumber=number, complete=complete)
    for name, words, more in [
        ("variance", "variance in the ring", squared),
        ("power", "power spectral density", squared and f"{squared} km2".removeprefix("1 ")),
    ]:
        found[name] = found[name].transpose(..., "wavelength")
        found[name].attrs = {"long_name": words} | ({"units": more} if more else {})
    found["missing"].attrs = {"long_name": "share of cells that are missing", "units": "1"}
    if "day_count" in found:
        found["day_count"].attrs = {"long_name": "number of days averaged", "units": "1"}
    return found.assign_attrs(attrs)
