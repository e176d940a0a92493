"""Radially averaged power spectra: variance by wavelength."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import GridError, OptionError, check_option
from xdownscale.core.grids import SAME_CELL, Axis, distances, grid_axes
from xdownscale.core.missing import finite
from xdownscale.geostat._variables import for_each_variable

Array = NDArray[Any]
_TEXT = "<U120"
_UNEVEN = 1.3  # ratio of the longest to the shortest spacing of longitudes that needs no comment
_SMALLEST = 8  # rows and columns below which there is no spectrum to speak of
_ROUNDING = 1e-9  # of a share of cells
_FEWEST = 4  # cells, one more than a plane has parameters


class Rings(NamedTuple):
    """Rings of modes in the wavenumber plane.

    Attributes
    ----------
    number : ndarray of int, shape (ny, nx)
        Which ring each mode lies in; 0 is the mean alone.
    wavenumber : ndarray, shape (rings,)
        Mean of the modes' wavenumbers, cycles per km; the first is 0.
    modes : ndarray of int, shape (rings,)
        Number of modes.
    cell : float
        Area of a mode in the plane, km-2.
    reach : float
        Largest wavenumber whose ring lies whole in the plane.
    """

    number: NDArray[np.intp]
    wavenumber: Array
    modes: NDArray[np.intp]
    cell: float
    reach: float


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
    much: ``attrs["comment"]`` says by how much, where it differs by more than 30 %.

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
    check_option("window", window, list(_WINDOWS))
    if not 0 <= max_missing < 1:
        raise OptionError(f"max_missing is {max_missing}; give a share from 0 to below 1.")
    axes = find_axes(da)
    (latitude, longitude) = grid_axes(da)
    _check_even(latitude, "latitude")
    _check_even(longitude, "longitude")
    rings = _rings(latitude, longitude)
    taper = np.outer(_WINDOWS[window](da.sizes[axes.y]), _WINDOWS[window](da.sizes[axes.x]))
    variance, missing = xr.apply_ufunc(
        _ring_variance,
        _in_order(da, axes.x, longitude),
        kwargs={"taper": taper, "rings": rings, "max_missing": max_missing},
        input_core_dims=[[axes.y, axes.x]],
        output_core_dims=[["wavelength"], []],
        dask="parallelized",
        output_dtypes=[float, float],
        dask_gufunc_kwargs={
            "output_sizes": {"wavelength": rings.modes.size - 1},
            "allow_rechunk": True,
        },
    )
    found = _averaged(variance, missing, axes.time if average else None)
    found["message"] = _message(found, max_missing)
    attrs = {"window": window, "average": str(average)} | _comment(latitude)
    return _labelled(found, rings, da, attrs)


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
        if not share > most + _ROUNDING:
            return f"no spectrum: fewer than {_FEWEST} cells have values; fill the field"
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


def _comment(latitude: Axis) -> dict[str, str]:
    """Describe how uneven the spacing of longitudes is, where it is."""
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
    units = da.attrs.get("units")
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


def _in_order(da: xr.DataArray, dim: str, axis: Axis) -> xr.DataArray:
    """Reorder longitudes so that 355 to 359 and 0 to 5 are neighbours."""
    together = np.array_equal(np.abs(np.diff(axis.inverse)), np.ones(axis.inverse.size - 1))
    return da if together else da.isel({dim: axis.first})


def _rings(latitude: Axis, longitude: Axis) -> Rings:
    """Return the rings of an evenly spaced grid."""
    middle = latitude.values.mean()
    lat_step = np.diff(latitude.values).mean()
    lon_step = np.diff(longitude.values).mean()
    dy, dx = distances(
        [middle - lat_step / 2, middle], 0.0, [middle + lat_step / 2, middle], [0.0, lon_step]
    )
    shape = (latitude.values.size, longitude.values.size)
    return make_rings(shape, (float(dy), float(dx)))


def _check_even(axis: Axis, kind: str) -> None:
    size = axis.inverse.size
    if size < _SMALLEST:
        raise GridError(
            f"The grid has {size} {kind}s; a spectrum needs {_SMALLEST} or more along each axis."
        )
    if axis.values.size != size:
        raise GridError(
            f"The same {kind} stands there twice (as 0 and as 360 degrees); drop one of the two."
        )
    steps = np.diff(axis.values)
    if np.ptp(steps) > 2 * SAME_CELL * steps.mean():
        raise GridError(
            f"The {kind}s are not evenly spaced: steps from {steps.min():g} to {steps.max():g} "
            "degrees. Bring the field to a regular grid first, e.g. with xdownscale.regrid."
        )


# kernels: arrays (..., y, x)


def make_rings(shape: tuple[int, int], spacing: tuple[float, float]) -> Rings:
    """Sort the modes of an ``(ny, nx)`` image with a `spacing` of (dy, dx) km into rings."""
    ny, nx = shape
    dy, dx = spacing
    ky = np.fft.fftfreq(ny, dy)
    kx = np.fft.fftfreq(nx, dx)
    k = np.hypot(ky[:, None], kx)
    one_y = 1 / (ny * dy)
    one_x = 1 / (nx * dx)
    # as wide as the smaller mode: only the mean rounds to ring 0
    number = np.rint(k / min(one_y, one_x)).astype(np.intp)
    filled, number = np.unique(number, return_inverse=True)
    number = number.reshape(k.shape)
    count = np.bincount(number.ravel(), minlength=filled.size)
    mean = np.bincount(number.ravel(), k.ravel(), minlength=filled.size) / count
    reach = min(np.abs(ky).max(), np.abs(kx).max()) - min(one_y, one_x) / 2
    return Rings(number, mean, count, one_y * one_x, float(reach))


def _hann(n: int) -> Array:
    """Return the half-sample Hann taper, positive everywhere."""
    return np.asarray(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2)


_WINDOWS: dict[str, Callable[[int], Array]] = {"hann": _hann, "none": np.ones}


def _ring_variance(
    images: Array, taper: Array, rings: Rings, max_missing: float
) -> tuple[Array, Array]:
    """Return the variance of all rings but the first (..., rings - 1), and the missing share."""
    flat = images.reshape(-1, *images.shape[-2:])
    found = np.empty((len(flat), rings.modes.size - 1))
    for row, image in zip(found, flat, strict=True):
        row[:] = _spectrum_of(finite(image.astype(float)), taper, rings, max_missing)
    lead = images.shape[:-2]
    missing = 1 - np.isfinite(flat).mean(axis=(1, 2))
    return found.reshape(*lead, -1), missing.reshape(lead)


def _spectrum_of(image: Array, taper: Array, rings: Rings, max_missing: float) -> Any:
    valid = ~np.isnan(image)
    missing = 1 - valid.mean()
    if missing > max_missing + _ROUNDING or valid.sum() < _FEWEST:
        return np.nan
    weight = np.where(valid, taper, 0.0)
    tapered = weight * detrend(image, valid)
    tapered -= weight * (tapered.sum() / weight.sum())
    power = np.abs(np.fft.fft2(tapered)) ** 2 / (image.size * (weight**2).sum())
    return np.bincount(rings.number.ravel(), power.ravel(), minlength=rings.modes.size)[1:]


def detrend(image: Array, valid: Array) -> Array:
    """Subtract the least-squares plane through the valid cells; 0 elsewhere."""
    ny, nx = image.shape
    y, x = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    design = np.stack([np.ones(image.size), y.ravel(), x.ravel()], axis=1)[valid.ravel()]
    values = image[valid]
    found = np.zeros_like(image)
    found[valid] = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return found
