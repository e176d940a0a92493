"""The part of the second nature run that large-scale flow and ground decide, day by day.

Nothing random enters: the dust of a day is a function of the large-scale wind and temperature of
that day and of the day before, and of static fields.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdownscale.datasets.twin.dynamics import Field, interpolate, pixel_km, season
from xdownscale.datasets.twin.large_scale import Flow, LargeScale, Waves
from xdownscale.datasets.twin.layout import Layout
from xdownscale.datasets.twin.terrain import Terrain, look_up, make_terrain

Positions = NDArray[np.int64]

BACKGROUND = 0.11  # optical depth of the air far from sources, yearly mean
CONTRAST = 0.25  # log10: half the contrast between the two air masses of a front
WIDTH = 0.7  # width of a front that is not sharpened, standard deviations of temperature
SHARPENING = 1.2  # days of frontogenesis that a front has behind it
SHELTER_LOSS = 0.5  # log10: dust missing in the lee of high ground, in a strong wind
LEE_AMPLITUDE = 0.11  # log10: amplitude of lee waves, in a strong wind
STRONG = 6.0  # m/s: wind at which lee effects are well grown
AMPLITUDE = 0.085  # log10: turbulence in a plume in a strong wind
EMISSION = 0.045  # optical depth raised in an hour, 1 m/s above the threshold, by a source of one
LIFETIME = 6.0  # hours that dust from a source stays in the air
HOURS = 5.0  # that a plume is followed back in the wind of the day, and again before that
DOUBLINGS = 5  # 32 steps of a quarter of an hour
COARSEN = 2  # pixels of a plume's grid, in fine pixels


class Known(NamedTuple):
    """Fields of a day on the fine pixels that the coarse record covers.

    Attributes
    ----------
    log_dust : array
        log10 of the optical depth.
    amplitude : array
        Standard deviation of log10 of the turbulence.
    flow : Flow
        Large-scale wind and temperature.
    at_centres : Flow
        The same at the centres of the coarse cells.
    """

    log_dust: Field
    amplitude: Field
    flow: Flow
    at_centres: Flow


class Predictable:
    """Dust as a function of large-scale flow and ground.

    Parameters
    ----------
    layout : Layout
        Grids.
    key : tuple of int
        Seed and realization of the large-scale flow.
    """

    def __init__(self, layout: Layout, key: tuple[int, int]) -> None:
        self.large_scale = LargeScale(layout.plane, key)
        rows, cols = layout.covered_pixels
        ground = make_terrain(layout.plane)
        self.terrain = ground.cut(slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
        self._lattice = self.large_scale.lattice(rows, cols)
        centres = layout.cell_centres
        self._cells = self.large_scale.lattice(centres[0], centres[1])
        self._plume = Plume(self.large_scale, ground, rows, cols)

    def day(self, day: int) -> Known:
        """Return the fields of a day, counted from 1970-01-01."""
        before, now = self.large_scale.waves(range(day - 1, day + 1))
        flow = self._lattice.flow(now)
        strength = np.tanh(np.hypot(flow.u, flow.v) / np.float32(STRONG))
        shelter = look_up(self.terrain.shelter, flow.v, flow.u)
        lee_wave = look_up(self.terrain.lee_wave, flow.v, flow.u)
        growth = self._lattice.frontogenesis(now)
        air = background(flow.temperature, growth, day)
        air += strength * (LEE_AMPLITUDE * lee_wave - SHELTER_LOSS * shelter)
        plume = self._plume.day(day, now, before)
        total = 10**air + plume
        amplitude = self._amplitude(strength, growth, plume / total)
        log_dust = np.log10(self.terrain.column * total)
        return Known(log_dust, amplitude, flow, self._cells.flow(now))

    def _amplitude(self, strength: Field, growth: Field, share: Field) -> Field:
        """Turbulence is stronger in wind, where fronts sharpen, in plumes and over hills."""
        high = self.terrain.elevation / (self.terrain.elevation + 300)
        place = np.float32(AMPLITUDE) * (0.8 + 0.6 * high)
        flow = (0.4 + 0.6 * strength) * (1 + 0.3 * np.tanh(growth)) * (0.7 + 0.6 * share)
        return np.asarray(place * flow, dtype=np.float32)


def background(temperature: Field, growth: Field, day: float) -> Field:
    r"""Return log10 of the dust in air far from sources.

    .. math:: \log_{10} b = \log_{10} b_0(t) + a \tanh(T / w), \quad w = w_0\,e^{-2 \tanh(F d / 2)}

    Warm air is dusty, and the boundary is the sharper the more the flow has compressed it: F is
    the frontogenesis, d the time it had.

    Parameters
    ----------
    temperature : array
        Anomaly in standard deviations.
    growth : array
        Frontogenesis, per day.
    day : float
        Days since 1970-01-01, for the season.

    Returns
    -------
    array
        Same shape.
    """
    width = WIDTH * np.exp(-2 * np.tanh(growth * np.float32(SHARPENING / 2)))
    level = np.float32(np.log10(BACKGROUND) + 0.16 * season(day))
    return np.asarray(level + CONTRAST * np.tanh(temperature / width), dtype=np.float32)


class Plume:
    r"""Dust raised by the wind near the ground and carried along for some hours.

    .. math:: p(\mathbf x) = \int_0^{2H} E(\mathbf X(s))\,e^{-s / \tau}\,ds, \quad
              E = e(t)\,S\,\max(0, |\mathbf u'| - u_0(\mathbf x))^2

    along the back trajectory X of the wind near the ground: for the first H hours of the day's
    wind, for H more of the mean of that and of the wind of the day before. On every second pixel.

    Parameters
    ----------
    large_scale : LargeScale
        The flow.
    ground : Terrain
        Static fields of the whole plane.
    rows, cols : array
        Fine pixels for which plumes are wanted.
    """

    def __init__(
        self, large_scale: LargeScale, ground: Terrain, rows: Positions, cols: Positions
    ) -> None:
        every = slice(None, None, COARSEN)
        self._ground = ground.cut(every, every)
        ny, nx = large_scale.plane
        self._lattice = large_scale.lattice(np.arange(0, ny, COARSEN), np.arange(0, nx, COARSEN))
        lines = [np.arange(w[0] // COARSEN - 1, w[-1] // COARSEN + 3) for w in (rows, cols)]
        self._part = np.ix_(*lines)
        self._up = _cubic_weights(rows / COARSEN - lines[0][0], lines[0].size)
        self._across = _cubic_weights(cols / COARSEN - lines[1][0], lines[1].size).T

    def day(self, day: int, now: Waves, before: Waves) -> Field:
        """Return optical depth on the wanted rows and columns."""
        flows = [self._lattice.flow(waves) for waves in (now, before)]
        winds = [self._ground.near_ground(flow.v, flow.u) for flow in flows]
        earlier = [np.float32(0.5) * (a + b) for a, b in zip(*winds, strict=True)]
        late, north, east = carry(*winds[0], self._emission(*winds[0]))
        early = carry(earlier[0], earlier[1], self._emission(earlier[0], earlier[1]))[0]
        total = late + np.float32(np.exp(-HOURS / LIFETIME)) * sample([early], north, east)[0]
        yearly = np.float32(EMISSION * (1 + 0.4 * season(day)))
        met = self._up @ total[self._part].astype(np.float32) @ self._across
        return np.asarray(yearly * np.maximum(met, 0), dtype=np.float32)

    def _emission(self, v: Field, u: Field) -> Field:
        excess = np.maximum(np.hypot(u, v) - self._ground.threshold, 0)
        return np.asarray(self._ground.source * excess**2, dtype=np.float32)


def carry(v: Field, u: Field, emission: Field) -> tuple[Field, Field, Field]:
    r"""Integrate emission along the back trajectories of a steady wind, over `HOURS`.

    The time is doubled `DOUBLINGS` times: with the displacement :math:`d_n` of n steps and what is
    met along it, :math:`p_n`,

    .. math:: p_{2n}(x) = p_n(x) + e^{-n \Delta / \tau} p_n(x + d_n(x)), \quad
              d_{2n}(x) = d_n(x) + d_n(x + d_n(x)).

    Parameters
    ----------
    v, u : array
        Wind, m/s, on the coarsened periodic plane.
    emission : array
        Emission in an hour.

    Returns
    -------
    tuple of array
        What is met, and the displacement (y, x) in pixels of that plane.
    """
    step = HOURS / 2**DOUBLINGS
    dy, dx = (np.float32(3.6 * step / (COARSEN * km)) for km in pixel_km())
    north = -dy * v
    east = -dx * u
    found = np.float32(step * np.exp(-step / LIFETIME / 2)) * emission
    for doubling in range(DOUBLINGS):
        left = np.float32(np.exp(-step * 2**doubling / LIFETIME))
        further, more_north, more_east = sample([found, north, east], north, east)
        found = found + left * further
        north = north + more_north
        east = east + more_east
    return found, north, east


def sample(fields: list[Field], north: Field, east: Field) -> list[Field]:
    """Interpolate periodic fields at each pixel moved by a displacement, in pixels."""
    rows = np.arange(north.shape[0], dtype=np.float32)[:, None]
    cols = np.arange(north.shape[1], dtype=np.float32)[None, :]
    return interpolate(fields, rows + north, cols + east)


def _cubic_weights(positions: NDArray[np.float64], size: int) -> Field:
    """Return the matrix of a natural cubic spline: values at whole numbers -> at positions."""
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(np.arange(size), np.eye(size), bc_type="natural")
    return np.asarray(spline(positions), dtype=np.float32)
