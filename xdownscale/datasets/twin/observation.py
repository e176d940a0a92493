"""Derive the coarse record from the fine run, on plain arrays ``(time, y, x)``.

The truth is averaged over cells, smoothed, biased, and given errors that are correlated in time and
space. Errors are keyed by (seed, realization, day), as the weather is.
"""

from __future__ import annotations

import numpy as np

from xdownscale.datasets.twin.dynamics import SPIN_UP, Field, geography_rng, random_field

CELL = (8, 10)  # fine pixels (y, x) in a coarse cell: 0.5 x 0.625 degrees
SMOOTHING = 0.08  # share of a cell that leaks to each of its neighbours along an axis
MEAN_BIAS = -0.03  # log10
BIAS_SPREAD = 0.035  # log10
ERROR_SPREAD = 0.05  # log10
ERROR_MEMORY = 0.6  # correlation with the error of the day before
_NOISE_KEY = 77


def block_average(field: Field, latitude: np.ndarray) -> Field:
    """Average a field over coarse cells, weighted by area.

    Parameters
    ----------
    field : array
        ``(..., y, x)`` on fine pixels, whole cells.
    latitude : array
        ``(y,)``, degrees: the area of a pixel goes with its cosine.

    Returns
    -------
    array
        ``(..., y / 8, x / 10)``.
    """
    cy, cx = CELL
    ny = field.shape[-2] // cy
    nx = field.shape[-1] // cx
    area = np.cos(np.deg2rad(latitude)).astype(np.float32)
    weights = (area.reshape(ny, cy) / area.reshape(ny, cy).sum(1, keepdims=True))[:, :, None]
    rows = (field.reshape(*field.shape[:-2], ny, cy, nx * cx) * weights).sum(-2)
    return np.asarray(rows.reshape(*rows.shape[:-1], nx, cx).mean(-1), dtype=np.float32)


def distort(truth: Field, days: range, key: tuple[int, int]) -> Field:
    """Add smoothing, bias and errors of a coarse model to area averages.

    Parameters
    ----------
    truth : array
        ``(time, y, x)``, area averages on a periodic plane.
    days : range
        Days since 1970-01-01.
    key : tuple of int
        Seed and realization.

    Returns
    -------
    array
        ``(time, y, x)``: smoothed, times 10**(bias + error).
    """
    leak = np.float32(SMOOTHING)
    for axis in (-2, -1):
        near = np.roll(truth, 1, axis) + np.roll(truth, -1, axis)
        truth = (1 - 2 * leak) * truth + leak * near
    error = bias(truth.shape[-2:]) + _errors(truth.shape, days, key)
    return np.asarray(truth * 10**error, dtype=np.float32)


def bias(cells: tuple[int, ...]) -> Field:
    """Return the bias of the coarse model in log10, constant in time, on the cells of the plane."""
    return MEAN_BIAS + BIAS_SPREAD * _correlated(cells, geography_rng(5))


def _errors(shape: tuple[int, ...], days: range, key: tuple[int, int]) -> Field:
    """Return log10 errors, AR(1) in time; a spin-up makes them independent of the first day."""
    errors = np.zeros(shape, dtype=np.float32)
    now = np.zeros(shape[-2:], dtype=np.float32)
    fresh = ERROR_SPREAD * np.sqrt(1 - ERROR_MEMORY**2)
    for day in range(days.start - SPIN_UP, days.stop):
        rng = np.random.default_rng([*key, day, _NOISE_KEY])
        now = ERROR_MEMORY * now + fresh * _correlated(shape[-2:], rng)
        if day >= days.start:
            errors[day - days.start] = now
    return errors


def _correlated(shape: tuple[int, ...], rng: np.random.Generator) -> Field:
    """Return a Gaussian field over cells, with a correlation length of about two cells."""
    return random_field((shape[0], shape[1]), 4.0, 0.15, rng)
