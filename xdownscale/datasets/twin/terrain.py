"""What the ground does to wind and dust in the second nature run, on plain arrays ``(y, x)``.

Channelling and slowing are linear in the wind. Sheltering and lee waves depend on its direction:
they are tabulated for `DIRECTIONS` directions and interpolated between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.datasets.twin.dynamics import (
    Field,
    geography_rng,
    random_field,
    wavenumbers,
)

DIRECTIONS = 24
SLOWING_HEIGHT = 1500.0  # m: at this height the wind has half its speed
CHANNEL_SLOPE = 0.010  # slope at which a half of the full channelling is reached
CHANNELLING = 0.8  # share of the wind across a steep slope that is lost
SMOOTHING = 6.0  # km: standard deviation of the smoothing of slopes
SHELTER_REACH = 30.0  # km: how far upwind the ground shelters
SHELTER_HEIGHT = 150.0  # m: height of the upwind ground at which sheltering is well grown
LEE_REACH = 30.0  # km: how far lee waves go on
COLUMN_HEIGHT = 900.0  # m: height above which 1/e of the dust column lies
LEE_LENGTH = 55.0  # wavelength of lee waves, km
THRESHOLD = 5.0  # middle wind speed above which dust is raised, m/s
THRESHOLD_SPREAD = 1.0  # its standard deviation over the ground, m/s


@dataclass(frozen=True)
class Terrain:
    """Static fields on the whole plane, the same for every seed.

    Attributes
    ----------
    elevation : array
        Height of the ground, m.
    source : array
        Strength of emission; zero outside the source regions.
    threshold : array
        Wind speed near the ground above which dust is raised, m/s.
    column : array
        Share of the dust column that lies above the ground.
    response : array
        ``(3, y, x)``: the entries vv, vu, uu of the symmetric matrix that turns the large-scale
        wind into the wind near the ground.
    shelter : array
        ``(direction, y, x)``: 0 in the open to 1 in the lee of high ground.
    lee_wave : array
        ``(direction, y, x)``: displacement of the air, standard deviation 1.
    """

    elevation: Field
    source: Field
    threshold: Field
    column: Field
    response: Field
    shelter: Field
    lee_wave: Field

    def cut(self, rows: slice, cols: slice) -> Terrain:
        """Return a part of all fields."""
        parts = {name: np.ascontiguousarray(f[..., rows, cols]) for name, f in vars(self).items()}
        return Terrain(**parts)

    def near_ground(self, v: Field, u: Field) -> tuple[Field, Field]:
        """Return the wind (v, u) near the ground: channelled, slowed by height and in the lee."""
        vv, vu, uu = self.response
        calm = 1 - np.float32(0.6) * look_up(self.shelter, v, u)
        return calm * (vv * v + vu * u), calm * (vu * v + uu * u)


@lru_cache(maxsize=2)
def make_terrain(plane: tuple[int, int]) -> Terrain:
    """Generate the static fields.

    Parameters
    ----------
    plane : tuple of int
        Fine pixels (y, x) of the doubly periodic plane.

    Returns
    -------
    Terrain
    """
    elevation = make_elevation(plane)
    basins = random_field(plane, 5.0, 0.08, geography_rng(14))
    source = np.exp(-elevation / 500) * np.clip(basins - 1.0, 0, 1.2)
    rough = random_field(plane, 4.0, 0.06, geography_rng(11))
    threshold = np.maximum(THRESHOLD + THRESHOLD_SPREAD * rough, 2.0)
    return Terrain(
        elevation=elevation,
        source=source.astype(np.float32),
        threshold=threshold.astype(np.float32),
        column=np.exp(-elevation / COLUMN_HEIGHT).astype(np.float32),
        response=wind_response(elevation),
        shelter=shelter(elevation),
        lee_wave=lee_wave(elevation),
    )


def make_elevation(plane: tuple[int, int]) -> Field:
    """Return the height of the ground in m: plateaus with ridges, and lower hills between them."""
    plateau = np.clip(random_field(plane, 5.0, 0.012, geography_rng(1)) + 0.5, 0, None)
    ridges = np.clip(1 - np.abs(random_field(plane, 5.2, 0.03, geography_rng(12))), 0, None) ** 2
    hills = np.logaddexp(0, 2 * random_field(plane, 7.0, 0.07, geography_rng(13)))
    height = 15 + plateau * (100 + 600 * ridges) + 70 * hills
    return np.asarray(height, dtype=np.float32)


def wind_response(elevation: Field) -> Field:
    r"""Return the matrix that turns the large-scale wind into the wind near the ground.

    .. math:: A = \frac{1}{1 + h / h_0} \left(I - \gamma \frac{s^2}{s^2 + s_0^2}\,
              \mathbf n \mathbf n^T\right),

    where s is the slope of the smoothed ground and n the direction in which it rises: wind across
    a steep slope is lost, wind along a valley is not.

    Parameters
    ----------
    elevation : array
        Height of the ground, m.

    Returns
    -------
    array
        ``(3, y, x)``: vv, vu, uu.
    """
    ky, kx = wavenumbers(elevation.shape)
    smooth = np.fft.rfft2(elevation) * np.exp(-0.5 * (ky**2 + kx**2) * SMOOTHING**2) / 1000
    north = np.fft.irfft2(1j * ky * smooth, s=elevation.shape)
    east = np.fft.irfft2(1j * kx * smooth, s=elevation.shape)
    steep = CHANNELLING / (north**2 + east**2 + CHANNEL_SLOPE**2)
    slowing = 1 / (1 + elevation / SLOWING_HEIGHT)
    matrix = [1 - steep * north**2, -steep * north * east, 1 - steep * east**2]
    return np.asarray(slowing * np.array(matrix), dtype=np.float32)


def shelter(elevation: Field) -> Field:
    r"""Return how far the ground upwind shelters each pixel, for each direction of the wind.

    .. math:: 1 - \exp(-\max(0, \bar h_\theta - h) / h_s), \quad
              \bar h_\theta(\mathbf x) = \int_0^\infty h(\mathbf x - s\,\mathbf e_\theta)\,
              e^{-s / D}\,ds / D

    Parameters
    ----------
    elevation : array
        Height of the ground, m.

    Returns
    -------
    array
        ``(direction, y, x)``, 0 to 1.
    """
    upwind = _filter_upwind(elevation, lambda q: 1 / (1 + 1j * q * SHELTER_REACH))
    higher = np.maximum(upwind - elevation, 0)
    return np.asarray(1 - np.exp(-higher / SHELTER_HEIGHT), dtype=np.float32)


def lee_wave(elevation: Field) -> Field:
    r"""Return the waves in the lee of the ground, for each direction of the wind.

    .. math:: \int_0^\infty h(\mathbf x - s\,\mathbf e_\theta)\,e^{-s / D} \sin(2 \pi s / \ell)\,ds

    Parameters
    ----------
    elevation : array
        Height of the ground, m.

    Returns
    -------
    array
        ``(direction, y, x)``, scaled to mean 0 and standard deviation 1.
    """
    wave = 2 * np.pi * LEE_REACH / LEE_LENGTH
    found = _filter_upwind(elevation, lambda q: wave / ((1 + 1j * q * LEE_REACH) ** 2 + wave**2))
    found -= found.mean((1, 2), keepdims=True)
    return np.asarray(found / found.std(), dtype=np.float32)


def _filter_upwind(
    field: Field, response: Callable[[NDArray[np.float64]], Any]
) -> NDArray[np.float64]:
    """Filter along each direction; `response` maps a wavenumber along it to a factor."""
    ky, kx = wavenumbers(field.shape)
    spectrum = np.fft.rfft2(field)
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    along = [np.sin(angle) * ky + np.cos(angle) * kx for angle in angles]
    return np.array([np.fft.irfft2(spectrum * response(q), s=field.shape) for q in along])


def look_up(table: Field, v: Field, u: Field) -> Field:
    """Interpolate a table ``(direction, y, x)`` to the direction that each wind blows to.

    Parameters
    ----------
    table : array
        Values for the directions 0, 360 / n, ... degrees, counted from east to north.
    v, u : array
        Wind, ``(y, x)``.

    Returns
    -------
    array
        ``(y, x)``.
    """
    count = len(table)
    turns = np.arctan2(v, u) * np.float32(count / (2 * np.pi))
    below = np.floor(turns)
    share = turns - below
    pixel = np.arange(v.size).reshape(v.shape)
    lower = below.astype(np.int64) % count
    upper = (lower + 1) % count
    values = table.ravel()
    first = values.take(lower * v.size + pixel)
    second = values.take(upper * v.size + pixel)
    return np.asarray(first + (second - first) * share, dtype=np.float32)
