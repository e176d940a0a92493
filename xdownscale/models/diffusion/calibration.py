"""Calibrate the spread of generated residuals, octave by octave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xdownscale.models.diffusion.spectra import Spectrum

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
    return np.asarray(np.clip(ratio, 0.7, 1.5)[np.searchsorted(known, nearest)])
