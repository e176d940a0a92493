"""Large-scale wind and temperature of the second nature run: band-limited, on plain arrays.

Each field is a sum of few waves, none shorter than `SHORTEST`. The waves are first-order processes
in time, with noise keyed by (seed, realization, day): any day can be had without the days before
it, and is the same to the bit whichever days are asked for with it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdownscale.datasets.twin.dynamics import Field, pixel_km, season

SHORTEST = 200.0  # shortest wavelength, km: 3.2 coarse cells
LONGEST = 1700.0  # longest wavelength, km
EDDY_SPEED = 4.2  # root mean square of the wind without its mean flow, m/s
GUST_SPEED = 1.6  # standard deviation of each component of the domain-mean wind, m/s
GUST_MEMORY = 0.45  # correlation of the domain-mean wind with that of the day before
_TEMPERATURE_SLOPE = 4.0  # of the power of a wave against its wavenumber
_TEMPERATURE_FLAT = 700.0  # wavelength above which that power is flat, km
_FLAT = 0.005  # temperature gradient, 1/km, below which there is no front to sharpen
_HISTORY = 24  # days of noise that make up a day: what is left out is below 1e-6
_NOISE_KEY = 201


class Waves(NamedTuple):
    """Coefficients of the waves of a day.

    Attributes
    ----------
    stream, temperature : array
        Complex, one value for each wave: stream function in m/s km, temperature anomaly in
        standard deviations.
    gust : array
        Wind (v, u) of the whole domain, m/s, mean flow included.
    """

    stream: NDArray[np.complex64]
    temperature: NDArray[np.complex64]
    gust: NDArray[np.float32]


class Flow(NamedTuple):
    """Large-scale fields on some rows and columns.

    Attributes
    ----------
    v, u : array
        Wind, m/s.
    temperature : array
        Anomaly in standard deviations.
    """

    v: Field
    u: Field
    temperature: Field


class LargeScale:
    """Waves of wind and temperature on a doubly periodic plane.

    Parameters
    ----------
    plane : tuple of int
        Fine pixels (y, x) of the plane.
    key : tuple of int
        Seed and realization.
    """

    def __init__(self, plane: tuple[int, int], key: tuple[int, int]) -> None:
        self.plane = plane
        self.key = key
        length = [n * d for n, d in zip(plane, pixel_km(), strict=True)]  # km
        most = [int(total // SHORTEST) for total in length]
        rows = np.arange(-most[0], most[0] + 1)
        cols = np.arange(most[1] + 1)
        self._ky = 2 * np.pi * rows / length[0]
        self._kx = 2 * np.pi * cols / length[1]
        wave = np.hypot(self._ky[:, None], self._kx[None, :])
        once = (cols[None, :] > 0) | (rows[:, None] > 0)  # each wave stands once
        found = once & (wave <= 2 * np.pi / SHORTEST) & (wave >= 2 * np.pi / LONGEST)
        self._active = np.nonzero(found)
        self._wave = wave[self._active]

    @cached_property
    def _memory(self) -> NDArray[np.float64]:
        """Correlation of each wave with itself a day before: longer waves live longer."""
        return np.asarray(np.exp(-1 / (2.0 * (2 * np.pi / self._wave / 800) ** (2 / 3))))

    @cached_property
    def _renewal(self) -> NDArray[np.float64]:
        """Weight of the noise of the day."""
        return np.asarray(np.sqrt(1 - self._memory**2))

    @cached_property
    def _amplitudes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Amplitudes of stream function and temperature; half the square is the variance."""
        speed = self._wave ** (-4 / 3)
        speed *= EDDY_SPEED * np.sqrt(2 / np.sum(speed**2))
        flat = np.maximum(self._wave, 2 * np.pi / _TEMPERATURE_FLAT)
        warm = flat ** (-_TEMPERATURE_SLOPE / 2)
        warm *= np.sqrt(2 / np.sum(warm**2))
        return speed / self._wave, warm

    def waves(self, days: range) -> list[Waves]:
        """Return the waves of consecutive days.

        Parameters
        ----------
        days : range
            Days since 1970-01-01.

        Returns
        -------
        list of Waves
        """
        first = days.start - _HISTORY + 1
        noise = [self._noise(day) for day in range(first, days.stop)]
        return [
            self._sum(day, noise[day - days.start : day - days.start + _HISTORY]) for day in days
        ]

    def _sum(
        self, day: int, noise: list[tuple[NDArray[np.complex128], NDArray[np.float64]]]
    ) -> Waves:
        """Return the waves of a day from the noise of that day and those before it."""
        total = np.zeros((2, self._wave.size), dtype=np.complex128)
        gust = np.zeros(2)
        for fresh, push in noise:
            total = self._memory * total + self._renewal * fresh
            gust = GUST_MEMORY * gust + np.sqrt(1 - GUST_MEMORY**2) * push
        stream, warm = self._amplitudes
        return Waves(
            (stream * total[0]).astype(np.complex64),
            (warm * total[1]).astype(np.complex64),
            (mean_flow(day + 0.5) + GUST_SPEED * gust).astype(np.float32),
        )

    def _noise(self, day: int) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
        """Return unit complex noise for both fields, and the push on the domain-mean wind."""
        rng = np.random.default_rng([*self.key, day, _NOISE_KEY])
        parts = rng.standard_normal((2, 2, self._wave.size))
        return (parts[0] + 1j * parts[1]) * np.sqrt(0.5), rng.standard_normal(2)

    def lattice(self, rows: NDArray[Any], cols: NDArray[Any]) -> Lattice:
        """Return what evaluates waves at the crossings of rows and columns.

        Parameters
        ----------
        rows, cols : array
            Positions in fine pixels of the plane, whole or not.

        Returns
        -------
        Lattice
        """
        dy, dx = pixel_km()
        grid = (self._ky, self._kx, self._active)
        return Lattice(grid, np.asarray(rows) * dy, np.asarray(cols) * dx)


class Lattice:
    """Rows and columns on which waves are evaluated, exactly, as two products of matrices.

    Parameters
    ----------
    grid : tuple
        Wavenumbers (y), wavenumbers (x), radians per km, and the indices of the waves in them.
    y, x : array
        Positions, km.
    """

    def __init__(
        self,
        grid: tuple[NDArray[Any], NDArray[Any], tuple[Any, ...]],
        y: NDArray[np.float64],
        x: NDArray[np.float64],
    ) -> None:
        ky, kx, self._active = grid
        self._size = (ky.size, kx.size)
        self._down = np.exp(1j * np.outer(y, ky)).astype(np.complex64)
        self._along = np.exp(1j * np.outer(kx, x)).astype(np.complex64)
        self._ky = ky[self._active[0]].astype(np.float32)
        self._kx = kx[self._active[1]].astype(np.float32)

    def evaluate(self, coefficients: NDArray[np.complex64]) -> Field:
        """Return the sum of the waves with these coefficients, ``(y, x)``."""
        table = np.zeros(self._size, dtype=np.complex64)
        table[self._active] = coefficients
        left = self._down @ table
        real = left.real @ self._along.real - left.imag @ self._along.imag
        return np.asarray(real, dtype=np.float32)

    def flow(self, waves: Waves) -> Flow:
        """Return wind and temperature of a day."""
        return Flow(
            v=self.evaluate(1j * self._kx * waves.stream) + waves.gust[0],
            u=self.evaluate(-1j * self._ky * waves.stream) + waves.gust[1],
            temperature=self.evaluate(waves.temperature),
        )

    def gradient(self, coefficients: NDArray[np.complex64]) -> tuple[Field, Field]:
        """Return the derivatives (y, x) per km of the sum of waves."""
        north = self.evaluate(1j * self._ky * coefficients)
        east = self.evaluate(1j * self._kx * coefficients)
        return north, east

    def frontogenesis(self, waves: Waves) -> Field:
        r"""Return the rate at which the wind sharpens the temperature gradient, per day.

        .. math:: F = -\frac{T_x^2 u_x + T_x T_y (v_x + u_y) + T_y^2 v_y}{|\nabla T|^2}
        """
        ty, tx = self.gradient(waves.temperature)
        shear = self.evaluate(self._ky * self._kx * waves.stream)  # u_x = -v_y
        vx = self.evaluate(-(self._kx**2) * waves.stream)
        uy = self.evaluate(self._ky**2 * waves.stream)
        along = (tx**2 - ty**2) * shear + tx * ty * (vx + uy)
        steep = tx**2 + ty**2 + np.float32(_FLAT**2)
        return np.asarray(-86.4 * along / steep, dtype=np.float32)


def mean_flow(day: float) -> NDArray[np.float64]:
    """Return the mean wind (v, u) in m/s: from the north-west, stronger in summer."""
    return (1 + 0.35 * season(day)) * np.array([-2.4, 2.0])
