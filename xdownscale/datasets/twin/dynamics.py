"""Dynamics of the synthetic nature run, on plain arrays ``(y, x)``.

A passive tracer on a doubly periodic plane. Everything random is keyed by (seed, realization, day),
so that a run may begin at any day: after a spin-up the initial state has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

SPACING = 0.0625  # degrees
KM_PER_DEGREE = 111.2
STEPS = 12  # a day
SPIN_UP = 40  # days; decorrelation takes 3 days for the slowest eddy, 1.5 for the dust
LARGEST = 1600.0  # longest wavelength of the eddies, km
SMALLEST = 40.0  # shortest wavelength, km
GUST_MEMORY = 1.0  # decorrelation time of the domain-mean wind, days
MIDDLE_LATITUDE = 26.75
_GEOGRAPHY_KEY = 20251205


class Geography(NamedTuple):
    """Elevation and the surface properties derived from it, the same for every seed.

    Attributes
    ----------
    elevation : array
        Height of the ground, m.
    slowing : array
        Ratio of the wind near the ground to the free wind.
    source : array
        Strength of emission; zero outside the source regions.
    loss : array
        Deposition, 1/day.
    column : array
        Share of the dust column that lies above the ground.
    """

    elevation: Field
    slowing: Field
    source: Field
    loss: Field
    column: Field


@dataclass(frozen=True, kw_only=True)
class Climate:
    """Parameters of wind, emission and deposition.

    Attributes
    ----------
    eddy_speed, gust_speed : float
        Standard deviation of the turbulent wind and of the domain-mean wind, m/s.
    threshold : float
        Wind speed above which dust is raised, m/s.
    power : float
        Exponent of emission.
    emission : float
        Optical depth raised in a day, 1 m/s above the threshold, by a source of strength one.
    lifetime : float
        Time scale of deposition over low ground, days.
    background : float
        Smallest optical depth.
    inflow : float
        Optical depth that far-off sources supply in a day.
    """

    eddy_speed: float = 2.6
    gust_speed: float = 1.1
    threshold: float = 2.9
    power: float = 2.0
    emission: float = 1.0
    lifetime: float = 1.5
    background: float = 0.005
    inflow: float = 0.10


def geography_rng(number: int) -> np.random.Generator:
    """Return a generator for one feature of the ground, the same for every seed."""
    return np.random.default_rng([_GEOGRAPHY_KEY, number])


def random_field(
    shape: tuple[int, int], slope: float, cutoff: float, rng: np.random.Generator
) -> Field:
    """Return a periodic Gaussian random field of mean 0 and variance 1.

    Its power is flat below the wavenumber `cutoff` (radians per km) and falls as
    ``wavenumber**-slope`` above.
    """
    wave = np.hypot(*wavenumbers(shape))
    wave[0, 0] = np.inf
    amplitude = np.maximum(wave, cutoff) ** (-slope / 2) * (wave < np.inf)
    noise = np.fft.rfft2(rng.standard_normal(shape))
    field = np.fft.irfft2(noise * amplitude, s=shape)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def wavenumbers(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the angular wavenumbers (y, x) of ``rfft2``, radians per km."""
    dy, dx = pixel_km()
    ky = 2 * np.pi * np.fft.fftfreq(shape[0], dy)[:, None]
    kx = 2 * np.pi * np.fft.rfftfreq(shape[1], dx)[None, :]
    return ky + 0 * kx, kx + 0 * ky


def pixel_km() -> tuple[float, float]:
    """Return the size (y, x) of a pixel in km on the plane, at the scale of the middle latitude."""
    dy = SPACING * KM_PER_DEGREE
    return dy, dy * float(np.cos(np.deg2rad(MIDDLE_LATITUDE)))


def make_geography(shape: tuple[int, int]) -> Geography:
    """Generate elevation, source regions and the surface properties that follow from them.

    Parameters
    ----------
    shape : tuple of int
        Pixels (y, x) of the periodic plane.

    Returns
    -------
    Geography
    """
    plateau = np.clip(random_field(shape, 5.0, 0.008, geography_rng(1)) + 0.2, 0, None)
    ridges = np.clip(1 - np.abs(random_field(shape, 5.2, 0.03, geography_rng(2))), 0, None) ** 2
    hills = random_field(shape, 8.0, 0.09, geography_rng(3))
    elevation = 15 + plateau * (150 + 500 * ridges) + (40 + 200 * plateau) * np.logaddexp(0, hills)
    lowland = np.exp(-elevation / 400)
    basins = np.clip(random_field(shape, 4.0, 0.05, geography_rng(4)) - 0.9, 0, None)
    source = lowland * np.minimum(basins, 1.2)
    return Geography(
        elevation=elevation.astype(np.float32),
        slowing=(1 / (1 + elevation / 1200)).astype(np.float32),
        source=source.astype(np.float32),
        loss=(1 + elevation / 500).astype(np.float32),
        column=np.exp(-elevation / 1500).astype(np.float32),
    )


class Wind:
    """Turbulent stream function whose modes are AR(1) in time, and a mean flow with seasons.

    Parameters
    ----------
    shape : tuple of int
        Pixels (y, x) of the periodic plane.
    climate : Climate
        Wind speeds.
    key : tuple of int
        Seed and realization.
    """

    def __init__(self, shape: tuple[int, int], climate: Climate, key: tuple[int, int]) -> None:
        self.shape = shape
        self.key = key
        self.climate = climate
        self._ky, self._kx = (k.astype(np.float32) for k in wavenumbers(shape))
        wave = np.hypot(self._ky, self._kx)
        length = 2 * np.pi / np.where(wave > 0, wave, np.inf)
        self._active = np.nonzero((length >= SMALLEST) & (length <= LARGEST))
        length = length[self._active]
        memory = np.exp(-1 / (STEPS * _turnover(length)))
        self._memory = memory.astype(np.float32)
        self._amplitude = self._scale(wave[self._active], self._kx[self._active] == 0)
        self._modes = np.zeros(length.size, dtype=np.complex64)
        self._gust = np.zeros(2, dtype=np.float32)

    def _scale(self, wave: Field, real: NDArray[np.bool_]) -> Field:
        """Return the amplitudes of the stream function that give the wind speed of the climate.

        The kinetic energy of a mode falls as ``k**(-8/3)``, that of a shell as ``k**(-5/3)``. A
        mode with ``kx > 0`` stands for two; of one with ``kx = 0`` only the real part is used.
        """
        speed = wave ** (-4 / 3)
        total = np.sqrt(np.sum(np.where(real, 1, 2) * speed**2)) / np.prod(self.shape)
        amplitude = self.climate.eddy_speed * speed / (wave * total) * np.where(real, 2**0.5, 1)
        return np.asarray(amplitude, dtype=np.float32)

    def advance(self, day: int, step: int) -> None:
        """Advance the modes by one step; the noise is keyed by (seed, realization, day, step)."""
        if step == 0:
            self._rng = np.random.default_rng([*self.key, day])
        fresh = self._rng.standard_normal((2, self._memory.size), dtype=np.float32)
        noise = (fresh[0] + 1j * fresh[1]) * np.float32(np.sqrt(0.5))
        self._modes = self._memory * self._modes + np.sqrt(1 - self._memory**2) * noise
        keep = np.float32(np.exp(-1 / (STEPS * GUST_MEMORY)))
        push = self._rng.standard_normal(2, dtype=np.float32)
        self._gust = keep * self._gust + np.sqrt(1 - keep**2) * push

    def velocity(self, day: float) -> tuple[Field, Field]:
        """Return the wind (v, u) in m/s."""
        from scipy import fft

        stream = np.zeros((self.shape[0], self.shape[1] // 2 + 1), dtype=np.complex64)
        stream[self._active] = self._amplitude * self._modes
        mean = mean_flow(day) + self.climate.gust_speed * self._gust
        v = fft.irfft2(1j * self._kx * stream, s=self.shape) + mean[0]
        u = fft.irfft2(-1j * self._ky * stream, s=self.shape) + mean[1]
        return v, u


def _turnover(length: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the decorrelation time of an eddy in days, growing as its length to the power 2/3."""
    return 2.0 * (length / 800.0) ** (2 / 3)


def season(day: float) -> float:
    """Return the seasonal cycle, from -1 in early January to 1 in early July."""
    return float(-np.cos(2 * np.pi * (day - 3) / 365.2425))


def mean_flow(day: float) -> NDArray[np.float32]:
    """Return the mean wind (v, u) in m/s: from the north-west, stronger in summer."""
    strength = 1.0 + 0.3 * season(day)
    return np.array([-1.0 * strength, 0.8 * strength + 0.2], dtype=np.float32)


def interpolate(fields: list[Field], y: Field, x: Field) -> list[Field]:
    """Interpolate periodic fields bilinearly at fractional pixels."""
    ny, nx = fields[0].shape
    j = np.floor(y).astype(np.int32)
    i = np.floor(x).astype(np.int32)
    b = y - j
    a = x - i
    south = (j % ny) * nx
    north = ((j + 1) % ny) * nx
    west = i % nx
    east = (i + 1) % nx
    corners = (south + west, south + east, north + west, north + east)
    found = []
    for field in fields:
        p, q, r, s = (field.ravel().take(k) for k in corners)
        low = p + (q - p) * a
        high = r + (s - r) * a
        found.append(low + (high - low) * b)
    return found


class Dust:
    """Optical depth carried by the wind, raised from the sources and deposited.

    Parameters
    ----------
    shape : tuple of int
        Pixels (y, x) of the periodic plane.
    climate : Climate
        Emission and deposition.
    key : tuple of int
        Seed and realization.
    """

    def __init__(self, shape: tuple[int, int], climate: Climate, key: tuple[int, int]) -> None:
        self.ground = make_geography(shape)
        self.climate = climate
        self.wind = Wind(shape, climate, key)
        self._rows, self._cols = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        self._keep = np.exp(-self.ground.loss / (climate.lifetime * STEPS))
        self._dust = np.full(shape, 0.1, dtype=np.float32)

    def day(self, day: int) -> Field:
        """Simulate one day and return its mean."""
        total = np.zeros_like(self._dust)
        for step in range(STEPS):
            self.wind.advance(day, step)
            self._step(day + step / STEPS)
            total += self._dust
        return self.climate.background + self.ground.column * total / np.float32(STEPS)

    def _step(self, day: float) -> None:
        """Advance the dust by one semi-Lagrangian step with back trajectories (midpoint rule).

        Emission along the trajectory is the trapezoidal mean over departure, midpoint and arrival,
        which avoids spots behind a source.
        """
        v, u = self.wind.velocity(day)
        v = self.ground.slowing * v
        u = self.ground.slowing * u
        raised = self._emission(np.hypot(u, v), day)
        dy, dx = (np.float32(86.4 / (STEPS * km)) for km in pixel_km())
        half = self._rows - v * (dy / 2), self._cols - u * (dx / 2)
        v, u, on_the_way = interpolate([v, u, raised], *half)
        start = self._rows - v * dy, self._cols - u * dx
        carried = np.asarray(self._dust + raised / 4, dtype=np.float32)
        moved = interpolate([carried], *start)[0]
        self._dust = self._keep * (moved + on_the_way / 2 + raised / 4)

    def _emission(self, speed: Field, day: float) -> Field:
        c = self.climate
        excess = np.maximum(speed - np.float32(c.threshold), 0)
        yearly = 1 + 0.4 * season(day)
        diurnal = 1 + 0.7 * np.cos(2 * np.pi * (day % 1 - 0.5))
        raised = c.emission * self.ground.source * excess**c.power * (yearly * diurnal)
        return np.asarray((raised + c.inflow * yearly) / STEPS, dtype=np.float32)


def run(
    shape: tuple[int, int],
    days: range,
    key: tuple[int, int],
    climate: Climate,
    report: Callable[[int, int], None],
) -> Iterator[Field]:
    """Yield the daily mean of each day, after a spin-up that is left out.

    Parameters
    ----------
    shape : tuple of int
        Pixels (y, x) of the periodic plane.
    days : range
        Days since 1970-01-01.
    key : tuple of int
        Seed and realization.
    climate : Climate
        Parameters.
    report : callable
        Called with (days done, days to do).

    Yields
    ------
    array
        Optical depth (y, x).
    """
    dust = Dust(shape, climate, key)
    first = days.start - SPIN_UP
    for done, day in enumerate(range(first, days.stop)):
        field = dust.day(day)
        report(done + 1, days.stop - first)
        if day >= days.start:
            yield field
