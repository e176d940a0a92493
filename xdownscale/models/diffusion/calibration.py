"""Calibrate the spread of generated residuals, octave by octave, and of their domain mean."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.core.errors import XDownscaleWarning
from xdownscale.models.diffusion.spectra import Spectrum

LEAST, MOST = 0.7, 1.5  # factors of an octave
LEVELS = (0.5, 2.0)  # factors of the domain mean: it varies more from day to day
BANDS = np.sqrt(2.0) / np.array([128.0, 64, 32, 16, 8, 4])  # cycles per pixel, middle of octaves


def fit_temperature(true: Spectrum, generated: Spectrum) -> NDArray[np.float64]:
    """Return the factors that bring generated fields to the power of true ones, by octave.

    Parameters
    ----------
    true, generated : Spectrum
        At the same frequencies.

    Returns
    -------
    ndarray (b,)
        From 0.7 to 1.5; 1 where nothing was generated. An octave that the fields are too small for
        takes the value of the next one.

    Examples
    --------
    >>> flat = Spectrum(np.linspace(0.01, 0.5, 50), np.ones(50))
    >>> fit_temperature(flat, flat._replace(power=np.full(50, 0.64))).round(2)
    array([1.25, 1.25, 1.25, 1.25, 1.25, 1.25])
    """
    place = np.log(np.maximum(true.frequency, 1e-9))  # the mean's own ring has frequency 0
    octave = np.argmin(np.abs(place[:, None] - np.log(BANDS)), axis=1)
    # the number of modes in a ring grows with its radius
    sums = [np.bincount(octave, s.power * s.frequency, BANDS.size) for s in (true, generated)]
    known = np.flatnonzero(sums[1] > 0)
    if not known.size:
        return np.ones(BANDS.size)
    ratio = np.sqrt(sums[0][known] / sums[1][known])
    nearest = known[np.argmin(np.abs(np.arange(BANDS.size)[:, None] - known), axis=1)]
    return np.asarray(np.clip(ratio, LEAST, MOST)[np.searchsorted(known, nearest)])


def fit_level(true: Any, generated: Any) -> float:
    """Return the factor that brings the domain mean of generated residuals to that of true ones.

    Parameters
    ----------
    true : ndarray (n, y, x)
        True residuals; NaN where missing.
    generated : ndarray (r, n, y, x)
        Generated residuals of the same time steps; NaN where the true ones are.

    Returns
    -------
    float
        Ratio of the root mean squares of the domain means, from 0.5 to 2; 1 where there are none.

    Examples
    --------
    >>> true = np.ones((4, 2, 2)) * np.array([1, -1, 2, -2])[:, None, None]
    >>> fit_level(true, np.stack([true, -true]) / 1.6)
    1.6
    """
    known = np.isfinite(true).any((1, 2))
    means = [np.nanmean(each[..., known, :, :], axis=(-2, -1)) for each in (true, generated)]
    above, below = (float(np.mean(np.square(each))) if each.size else 0.0 for each in means)
    if below <= 0:
        return 1.0
    return float(np.clip(np.sqrt(above / below).round(6), *LEVELS))


def warn_of_saturation(temperature: Any, level: Any) -> None:
    """Warn where a factor reached its end: what is generated is then not calibrated there.

    Parameters
    ----------
    temperature : ndarray (t, b)
        Of each target and octave.
    level : ndarray (t,)
        Of the domain mean of each target.
    """
    factors = [*np.transpose(temperature), np.asarray(level)]
    places = [*(f"at {1 / band:.3g} pixels" for band in BANDS), "in the domain mean"]
    ends = [*([(LEAST, MOST)] * len(BANDS)), LEVELS]
    said = []
    for found, place, (least, most) in zip(factors, places, ends, strict=True):
        said += [f"more {place}"] * bool(np.any(found >= most))
        said += [f"less {place}"] * bool(np.any(found <= least))
    if said:
        warnings.warn(
            "Generated residuals could not be given the spread of true ones, which on validation "
            f"time steps is {', '.join(said)} than a factor of {LEAST} to {MOST} "
            f"({LEVELS[0]} to {LEVELS[1]} for the domain mean) brings about. The network is too "
            "little trained, or the validation time steps are unlike the others; members are not "
            "calibrated there.",
            XDownscaleWarning,
            stacklevel=2,
        )
