"""Unpredictable part of the second nature run: intermittent filaments.

Noise, keyed by (seed, member, day), gets a power-law spectrum and is stirred, like a dye, by eddies
that nobody knows and by the deformation of the large-scale flow. That draws it out into filaments,
which a Gaussian field has not. What comes out has mean 0 given the flow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xdownscale.datasets.twin.dynamics import Field, interpolate, pixel_km, wavenumbers

RIM = 16  # pixels around the domain that nothing is taken from, so that it is not periodic
OUTER = 150.0  # km: wavelength of the strongest waves
SLOPE = 6.0  # of the power of a wave against its wavenumber, below `OUTER`
STIRRING = 1.6  # root mean square of the stirring eddies' wind, m/s
EDDY = 150.0  # km: wavelength of the strongest stirring eddies
STIRRED_HOURS = 11.0  # that the dye was stirred
STEPS = 6
BURSTS = 0.27  # standard deviation of the natural logarithm of the local strength
BURST_LENGTH = 80.0  # km: wavelength of the strongest bursts
MEMORY = (0.8, 0.5, 0.33166)  # weights of the noise of a day and the two days before; squares: 1
_NOISE_KEY = 202


class Turbulence:
    """Turbulence of unit strength on a fine domain.

    Parameters
    ----------
    shape : tuple of int
        Fine pixels (y, x).
    seed, member : int
        Key of the noise.
    """

    def __init__(self, shape: tuple[int, int], seed: int, member: int) -> None:
        from scipy import fft

        self.shape = shape
        self.key = (seed, member)
        self._plane = tuple(fft.next_fast_len(n + 2 * RIM, real=True) for n in shape)
        ky, kx = wavenumbers(self._plane)
        wave = np.hypot(ky, kx)
        self._dye = _amplitudes(self._plane, wave, OUTER, SLOPE)
        self._bursts = _amplitudes(self._plane, wave, BURST_LENGTH, 4.0)
        eddies = _amplitudes(self._plane, wave, EDDY, 7.0)
        speed = eddies * wave
        eddies *= STIRRING / np.sqrt(_variance(self._plane, speed))
        self._stream = [1j * kx * eddies, -1j * ky * eddies]
        self._noise_of: dict[int, NDArray[np.complex64]] = {}
        rows = np.arange(shape[0], dtype=np.float32) + RIM
        cols = np.arange(shape[1], dtype=np.float32) + RIM
        self._start = np.meshgrid(rows, cols, indexing="ij")

    def day(self, day: int, v: Field, u: Field) -> Field:
        """Return turbulence of mean 0 and variance about 1.

        Parameters
        ----------
        day : int
            Days since 1970-01-01.
        v, u : array
            Large-scale wind on the domain, m/s.

        Returns
        -------
        array
            ``(y, x)``.
        """
        from scipy import fft, ndimage

        noise = np.zeros_like(self._noise(day))
        for back, weight in enumerate(MEMORY):
            noise += np.float32(weight) * self._noise(day - back)
        spectra = [self._stream[0] * noise[0], self._stream[1] * noise[0]]
        spectra += [self._dye * noise[1], self._bursts * noise[2]]
        fields = fft.irfft2(np.array(spectra, dtype=np.complex64), s=self._plane)
        where = self._stir(fields[0], fields[1], v, u)
        dye, bursts = (
            ndimage.map_coordinates(f, where, order=3, mode="grid-wrap") for f in fields[2:]
        )
        return np.asarray(dye * np.exp(BURSTS * bursts - BURSTS**2), dtype=np.float32)

    def _stir(self, eddy_v: Field, eddy_u: Field, v: Field, u: Field) -> list[Field]:
        """Return where on the plane the air of each pixel comes from."""
        pad = [(RIM, n - RIM - size) for n, size in zip(self._plane, self.shape, strict=True)]
        north = eddy_v + np.pad(v - v.mean(), pad, mode="edge")
        east = eddy_u + np.pad(u - u.mean(), pad, mode="edge")
        dy, dx = (np.float32(3.6 * STIRRED_HOURS / (STEPS * km)) for km in pixel_km())
        y, x = self._start
        for _ in range(STEPS):
            back_v, back_u = interpolate([north, east], y, x)
            y = y - dy * back_v
            x = x - dx * back_u
        return [y, x]

    def _noise(self, day: int) -> NDArray[np.complex64]:
        """Return complex white noise for stream function, dye and bursts; three days are kept."""
        if day not in self._noise_of:
            if len(self._noise_of) > len(MEMORY):
                self._noise_of.clear()
            rng = np.random.default_rng([*self.key, day, _NOISE_KEY])
            half = (3, self._plane[0], self._plane[1] // 2 + 1)
            parts = rng.standard_normal((2, *half), dtype=np.float32)
            self._noise_of[day] = (parts[0] + 1j * parts[1]) * np.float32(np.sqrt(0.5))
        return self._noise_of[day]


def _amplitudes(plane: tuple[int, ...], wave: Field, longest: float, slope: float) -> Field:
    """Return amplitudes of waves that give a field of variance 1."""
    flat = 2 * np.pi / longest
    amplitude = np.where(wave > 0, (1 + (wave / flat) ** 2) ** (-slope / 4), 0)
    return np.asarray(amplitude / np.sqrt(_variance(plane, amplitude)), dtype=np.float32)


def _variance(plane: tuple[int, ...], amplitude: Field) -> float:
    """Return the variance of ``irfft2(amplitude * unit complex noise)``."""
    weight = np.full(amplitude.shape, 2.0)
    weight[:, 0] = 1  # of these waves irfft2 takes the conjugate-symmetric part
    if plane[1] % 2 == 0:
        weight[:, -1] = 1
    return float((weight * amplitude.astype(float) ** 2).sum() / np.prod(plane) ** 2)
