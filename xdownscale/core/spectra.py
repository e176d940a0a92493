"""Ring spectra of fields: rings of wavenumbers on a grid, tapers, and variance by ring.

`power_spectrum`, the spectral scores and the spread-skill by scale all measure scales with these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.cells import cells_of
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import GridError, OptionError, check_option
from xdownscale.core.grids import SAME_CELL, Axis, distances, grid_axes
from xdownscale.core.missing import finite
from xdownscale.core.projection import find_projection, with_positions

Array = NDArray[Any]
SMALLEST = 8  # rows and columns below which there is no spectrum to speak of
ROUNDING = 1e-9  # of a share of cells
FEWEST = 4  # cells, one more than a plane has parameters


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
    nyquist : float
        Largest wavenumber along both axes: wavelengths of two of the wider pixels.
    """

    number: NDArray[np.intp]
    wavenumber: Array
    modes: NDArray[np.intp]
    cell: float
    reach: float
    nyquist: float


class RingSpectra(NamedTuple):
    """Variance of images by ring of wavenumbers.

    Attributes
    ----------
    variance : DataArray
        (..., wavelength), the ring of the mean left out; lazy where the images are.
    missing : DataArray
        (...), share of cells that are missing.
    rings : Rings
        Of the grid.
    latitude : Axis or None
        Of the grid, in degrees; None where it is a length.
    """

    variance: xr.DataArray
    missing: xr.DataArray
    rings: Rings
    latitude: Axis | None


def ring_spectra(
    da: xr.DataArray, window: str, max_missing: float, *, by_octave: bool = False
) -> RingSpectra:
    """Return the variance of each image by ring, detrended and tapered.

    Parameters
    ----------
    da : DataArray
        (..., lat, lon), dims in any order; lazy or not.
    window : {"hann", "none"}
        Taper along both axes.
    max_missing : float
        Share of NaN above which an image has no spectrum.
    by_octave : bool
        Octaves of wavelength instead of rings as wide as a mode.

    Returns
    -------
    RingSpectra

    Raises
    ------
    GridError
        If the grid is not regular, or has fewer than 8 rows or columns.
    OptionError
        For another `window`, or `max_missing` out of range.

    Examples
    --------
    >>> grid = {"lat": np.arange(8.0), "lon": np.arange(8.0)}
    >>> found = ring_spectra(xr.DataArray(np.eye(8), coords=grid), "none", 0.0)
    >>> round(found.variance.sum().item(), 4)  # 1/8 - 1/64, as a plane takes nothing away
    0.1094
    """
    check_option("window", window, list(WINDOWS))
    if not 0 <= max_missing < 1:
        raise OptionError(f"max_missing is {max_missing}; give a share from 0 to below 1.")
    da = with_positions(da)
    axes = find_axes(da)
    latitude, longitude, spacing = _even_axes(da)
    shape = (latitude.values.size, longitude.values.size)
    rings = make_octaves(shape, spacing) if by_octave else make_rings(shape, spacing)
    taper = np.outer(WINDOWS[window](da.sizes[axes.y]), WINDOWS[window](da.sizes[axes.x]))
    variance, missing = xr.apply_ufunc(
        _ring_variance,
        in_order(da, axes.x, longitude),
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
    uneven = axes.rectilinear or bool(np.abs(latitude.values).max() <= 90)
    return RingSpectra(variance, missing, rings, latitude if uneven else None)


def _even_axes(da: xr.DataArray) -> tuple[Axis, Axis, tuple[float, float]]:
    """Return the axes of an evenly spaced grid, and its spacing (dy, dx) in km.

    On a projected grid it is the spacing of its own coordinates: lengths of the projection, or
    distances near the equator of a rotated pole.
    """
    projection = None if find_axes(da).rectilinear else find_projection(da)
    if projection is None:
        latitude, longitude = grid_axes(da)
        check_even(latitude, "latitude")
        check_even(longitude, "longitude")
        return latitude, longitude, spacing_of(latitude, longitude)
    cells = cells_of(da)
    y, x = cells.axes
    check_even(y, f"{cells.names[0]} coordinate")
    check_even(x, f"{cells.names[1]} coordinate")
    if projection.rotated:
        return y, x, spacing_of(y, x)
    steps = [float(np.diff(axis.values).mean()) for axis in (y, x)]
    dy, dx = (step * projection.kilometres for step in steps)
    return y, x, (dy, dx)


def in_order(da: xr.DataArray, dim: str, axis: Axis) -> xr.DataArray:
    """Reorder longitudes so that 355 to 359 and 0 to 5 are neighbours."""
    together = np.array_equal(np.abs(np.diff(axis.inverse)), np.ones(axis.inverse.size - 1))
    return da if together else da.isel({dim: axis.first})


def spacing_of(latitude: Axis, longitude: Axis) -> tuple[float, float]:
    """Return the spacing (dy, dx) in the middle of an evenly spaced grid, km."""
    middle = latitude.values.mean()
    lat_step = np.diff(latitude.values).mean()
    lon_step = np.diff(longitude.values).mean()
    dy, dx = distances(
        [middle - lat_step / 2, middle], 0.0, [middle + lat_step / 2, middle], [0.0, lon_step]
    )
    return float(dy), float(dx)


def check_even(axis: Axis, kind: str) -> None:
    """Raise `GridError` unless an axis is long and even enough for a Fourier transform."""
    size = axis.inverse.size
    if size < SMALLEST:
        raise GridError(
            f"The grid has {size} {kind}s; a spectrum needs {SMALLEST} or more along each axis."
        )
    if axis.values.size != size:
        raise GridError(
            f"The same {kind} stands there twice (as 0 and as 360 degrees); drop one of the two."
        )
    steps = np.diff(axis.values)
    if np.ptp(steps) > 2 * SAME_CELL * steps.mean():
        unit = " degrees" if kind in ("latitude", "longitude") else ""
        raise GridError(
            f"The {kind}s are not evenly spaced: steps from {steps.min():g} to {steps.max():g}"
            f"{unit}. Bring the field to a regular grid first, e.g. with xdownscale.regrid."
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
    nyquist = min(np.abs(ky).max(), np.abs(kx).max())
    reach = nyquist - min(one_y, one_x) / 2
    return Rings(number, mean, count, one_y * one_x, float(reach), float(nyquist))


def make_octaves(shape: tuple[int, int], spacing: tuple[float, float]) -> Rings:
    """Sort the modes of an ``(ny, nx)`` image into octaves of wavelength, from two pixels upward.

    Parameters
    ----------
    shape : (int, int)
    spacing : (float, float)
        (dy, dx), km.

    Returns
    -------
    Rings
        From the longest octave to the shortest, which has the corners of the plane too.

    Examples
    --------
    >>> octaves = make_octaves((16, 16), (10.0, 10.0))
    >>> octaves.modes.tolist(), shortest_wavelengths(octaves).tolist()
    ([1, 4, 8, 36, 207], [160.0, 80.0, 40.0, 20.0])
    """
    ny, nx = shape
    dy, dx = spacing
    ky = np.fft.fftfreq(ny, dy)
    kx = np.fft.fftfreq(nx, dx)
    k = np.hypot(ky[:, None], kx)
    nyquist = min(np.abs(ky).max(), np.abs(kx).max())
    octave = _octave(np.where(k > 0, k, nyquist), nyquist)
    octave[0, 0] = octave.max() + 1  # the mean
    _, number = np.unique(-octave, return_inverse=True)
    number = number.reshape(k.shape)
    count = np.bincount(number.ravel())
    mean = np.bincount(number.ravel(), k.ravel()) / count
    return Rings(number, mean, count, 1 / (ny * dy * nx * dx), float(nyquist), float(nyquist))


def shortest_wavelengths(octaves: Rings) -> Array:
    """Return the shortest wavelength of each octave, km; the longest is twice as long.

    Parameters
    ----------
    octaves : Rings
        What `make_octaves` returned.

    Returns
    -------
    ndarray
        Without that of the mean.
    """
    return np.asarray(2.0 ** _octave(octaves.wavenumber[1:], octaves.nyquist) / octaves.nyquist)


def _octave(k: Array, nyquist: float) -> NDArray[np.intp]:
    """Return how often the wavenumber has to be doubled to come to two pixels."""
    doublings = np.maximum(np.log2(nyquist / k), 0)
    return np.floor(doublings + ROUNDING).astype(np.intp)


def _hann(n: int) -> Array:
    """Return the half-sample Hann taper, positive everywhere."""
    return np.asarray(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2)


WINDOWS: dict[str, Callable[[int], Array]] = {"hann": _hann, "none": np.ones}


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
    if missing > max_missing + ROUNDING or valid.sum() < FEWEST:
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
