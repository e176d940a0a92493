"""Isotropic power spectra of fields, and noise with a given spectrum."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Array = NDArray[Any]


class Spectrum(NamedTuple):
    """Power by radial frequency; white noise of variance 1 has power 1 everywhere.

    Attributes
    ----------
    frequency : ndarray (k,)
        Cycles per pixel, rising.
    power : ndarray (k,)
        Mean squared modulus of the Fourier coefficients over the number of pixels.
    """

    frequency: Array
    power: Array


def measure(fields: Array, valid: Array | None = None) -> Spectrum:
    """Return the power spectrum of fields, averaged over directions and fields.

    Parameters
    ----------
    fields : array (n, y, x)
        NaN where missing: taken for 0, the mean of a residual.
    valid : array of bool (y, x), optional
        Pixels to use.

    Returns
    -------
    Spectrum
        Corrected for the Hann window that the fields are tapered with, and for missing pixels.

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=(64, 32, 32))
    >>> bool(abs(measure(white).power - 1).max() < 0.2)
    True
    """
    ny, nx = fields.shape[-2:]
    power = _power(fields, True if valid is None else valid)
    radius = _radius((ny, nx))
    side = min((n for n in (ny, nx) if n > 1), default=2)  # a row of cells has one axis
    edges = np.linspace(0, 0.5, side // 2 + 1)
    ring = np.digitize(radius.ravel(), edges) - 1
    inside = ring < len(edges) - 1
    count = np.bincount(ring[inside], minlength=len(edges) - 1)
    total = np.bincount(ring[inside], power.ravel()[inside], minlength=len(edges) - 1)
    centre = np.bincount(ring[inside], radius.ravel()[inside], minlength=len(edges) - 1)
    filled = np.flatnonzero(count > 0)
    return Spectrum(centre[filled] / count[filled], total[filled] / count[filled])


def _power(fields: Array, valid: Any) -> Array:
    """Return the mean power (y, x) of tapered fields; one by one, as their modes take memory."""
    ny, nx = fields.shape[-2:]
    window = np.hanning(ny + 2)[1:-1, None] * np.hanning(nx + 2)[None, 1:-1]
    total = np.zeros((ny, nx))
    count = 0
    for field in fields:
        present = np.isfinite(field) & valid
        kept = np.square(window * present).sum()
        if kept > 0:
            moved = np.fft.fft2(np.where(present, field, 0.0) * window)
            total += np.abs(moved) ** 2 / kept
            count += 1
    return np.asarray(total / np.float64(count))


def coloured(white: Array, spectrum: Spectrum, sigma: float) -> Floats:
    """Return noise with the spectrum of a signal plus white noise of `sigma`.

    It is the initial noise of a sampler: a sample of ``signal + sigma n`` that already has the
    signal's own spectrum, where white noise alone would have none of it.

    Parameters
    ----------
    white : array (..., y, x)
        White noise of variance 1. The filter wraps around: give a wider field than is needed.
    spectrum : Spectrum
        Of the signal; interpolated between logarithms, constant beyond its ends.
    sigma : float
        Standard deviation of the white noise.

    Returns
    -------
    ndarray of float32 (..., y, x)

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=(64, 64))
    >>> flat = Spectrum(np.array([0.1, 0.4]), np.array([9.0, 9.0]))
    >>> bool(np.allclose(coloured(white, flat, 4.0), 5 * white, atol=1e-5))
    True
    """
    moved = np.fft.rfft2(white)
    radius = _radius(white.shape[-2:])[:, : moved.shape[-1]]
    tiny = np.finfo(np.float64).tiny
    # The mean has no logarithm: its power stands half a step below the slowest wave.
    slowest = spectrum.frequency[spectrum.frequency > 0].min(initial=0.5) / 2
    known = np.log(np.maximum(spectrum.frequency, slowest))
    power = np.log(np.maximum(spectrum.power, tiny))
    wanted = np.exp(np.interp(np.log(np.maximum(radius, slowest)), known, power))
    gain = np.sqrt(wanted + sigma**2).astype(moved.real.dtype)
    return np.fft.irfft2(moved * gain, s=white.shape[-2:]).astype(np.float32)


def _radius(shape: tuple[int, ...]) -> Array:
    """Return the radial frequency of every Fourier mode, cycles per pixel."""
    ny, nx = shape
    return np.asarray(np.hypot(np.fft.fftfreq(ny)[:, None], np.fft.fftfreq(nx)[None]))
