"""The arrays under the synthetic nature run, against closed forms."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xdownscale.core.errors import ModelFormatError
from xdownscale.datasets.twin import dynamics, observation, packing

SHAPE = (48, 60)
CALM = dynamics.Climate(eddy_speed=0.0, gust_speed=0.0, emission=0.0)


def test_whole_pixels_are_a_roll(rng: np.random.Generator) -> None:
    field = rng.random(SHAPE).astype(np.float32)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    (moved,) = dynamics.interpolate([field], y - 5, x + 63)
    np.testing.assert_array_equal(moved, np.roll(field, (5, -63), (0, 1)))


def test_interpolation_is_bilinear(rng: np.random.Generator) -> None:
    y, x = (rng.uniform(1, n - 2, SHAPE).astype(np.float32) for n in SHAPE)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    (found,) = dynamics.interpolate([2 + rows + 3 * cols + rows * cols / 10], y, x)
    np.testing.assert_allclose(found, 2 + y + 3 * x + y * x / 10, rtol=1e-4)


def test_uniform_dust_reaches_the_balance_of_supply_and_deposition() -> None:
    dust = dynamics.Dust(SHAPE, CALM, (0, 0))
    keep = np.float32(np.exp(-1 / (1.5 * dynamics.STEPS)))
    dust._keep = np.full(SHAPE, keep)
    last = dust.day(11123)  # supply is steady in early July
    for day in range(11124, 11143):
        last = dust.day(day)
    supply = CALM.inflow * (1 + 0.4 * dynamics.season(11142.5)) / dynamics.STEPS
    expected = CALM.background + dust.ground.column * supply * keep / (1 - keep)
    np.testing.assert_allclose(last, expected, rtol=2e-3)


def test_dust_moves_with_the_mean_flow() -> None:
    climate = dynamics.Climate(eddy_speed=0.0, gust_speed=0.0, emission=0.0, inflow=0.0)
    dust = dynamics.Dust(SHAPE, climate, (0, 0))
    dust.ground = dust.ground._replace(slowing=np.ones(SHAPE, np.float32))
    dust._keep = np.ones(SHAPE, np.float32)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    dust._dust = np.exp(-((rows - 24) ** 2 + (cols - 20) ** 2) / 30).astype(np.float32)
    total = dust._dust.sum()
    for step in range(4):
        dust._step(11000 + step / dynamics.STEPS)
    hours = 4 * 24 / dynamics.STEPS
    flow = dynamics.mean_flow(11000) * 3.6 * hours / np.array(dynamics.pixel_km())
    centre = [(dust._dust * axis).sum() / total for axis in (rows, cols)]
    np.testing.assert_allclose(dust._dust.sum(), total, rtol=1e-4)
    np.testing.assert_allclose(centre, np.array([24, 20]) + flow, atol=0.05)


def test_nothing_is_raised_below_the_threshold_or_outside_the_sources() -> None:
    dust = dynamics.Dust(SHAPE, dynamics.Climate(inflow=0.0), (0, 0))
    assert (dust._emission(np.full(SHAPE, 2.9, np.float32), 11000.5) == 0).all()
    raised = dust._emission(np.full(SHAPE, 4.9, np.float32), 11000.5)
    assert ((raised > 0) == (dust.ground.source > 0)).all()
    stronger = dust._emission(np.full(SHAPE, 6.9, np.float32), 11000.5)
    np.testing.assert_allclose(stronger, 4 * raised, rtol=1e-4)  # power 2: twice the excess


def test_eddies_have_the_speed_asked_for_and_no_divergence() -> None:
    wind = dynamics.Wind(SHAPE, dynamics.Climate(eddy_speed=3.0, gust_speed=0.0), (0, 0))
    squares = []
    for day in range(11000, 11120):
        for step in range(dynamics.STEPS):
            wind.advance(day, step)
        v, u = (w - m for w, m in zip(wind.velocity(0), dynamics.mean_flow(0), strict=True))
        squares.append((v**2).mean() + (u**2).mean())
    assert np.sqrt(np.mean(squares[20:])) == pytest.approx(3.0, rel=0.1)
    ky, kx = dynamics.wavenumbers(SHAPE)
    divergence = np.fft.irfft2(1j * (kx * np.fft.rfft2(u) + ky * np.fft.rfft2(v)), s=SHAPE)
    shear = np.fft.irfft2(1j * ky * np.fft.rfft2(u), s=SHAPE)
    assert np.abs(divergence).max() < 1e-4 * np.abs(shear).max()


def test_modes_are_first_order_processes() -> None:
    wind = dynamics.Wind((96, 120), dynamics.Climate(), (0, 0))
    modes = []
    for day in range(11000, 11100):
        for step in range(dynamics.STEPS):
            wind.advance(day, step)
            modes.append(wind._modes.copy())
    series = np.array(modes)[300:]
    lag = (series[1:] * series[:-1].conj()).real.mean() / (abs(series) ** 2).mean()
    assert (abs(series) ** 2).mean() == pytest.approx(1.0, rel=0.05)
    assert lag == pytest.approx(wind._memory.mean(), abs=0.01)


def test_random_field_has_the_slope_asked_for(rng: np.random.Generator) -> None:
    field = dynamics.random_field((256, 256), 4.0, 0.0, rng)
    ky, kx = dynamics.wavenumbers((256, 256))
    wave, power = np.hypot(ky, kx).ravel(), np.abs(np.fft.rfft2(field)).ravel() ** 2
    inner = (wave > 0.02) & (wave < 0.3)
    slope = np.polyfit(np.log(wave[inner]), np.log(power[inner]), 1)[0]
    assert slope == pytest.approx(-4.0, abs=0.1)
    assert (field.mean(), field.std()) == pytest.approx((0, 1), abs=1e-5)


def test_block_average_keeps_the_area_integral(rng: np.random.Generator) -> None:
    latitude = 20 + 0.0625 * np.arange(32)
    field = rng.random((3, 32, 40)).astype(np.float32)
    found = observation.block_average(field, latitude)
    weights = np.cos(np.deg2rad(latitude))[:, None] * np.ones(40)
    for j in range(4):
        for i in range(4):
            cell = slice(None), slice(8 * j, 8 * j + 8), slice(10 * i, 10 * i + 10)
            expected = [np.average(day, weights=weights[cell[1:]]) for day in field[cell]]
            np.testing.assert_allclose(found[:, j, i], expected, rtol=1e-5)


def test_distortion_has_the_stated_bias_spread_and_memory() -> None:
    days = range(11000, 11400)
    seen = np.log10(observation.distort(np.ones((400, 22, 23), np.float32), days, (0, 0)))
    error = seen - seen.mean(0)
    assert seen.mean() == pytest.approx(observation.MEAN_BIAS, abs=0.01)
    assert error.std() == pytest.approx(observation.ERROR_SPREAD, rel=0.1)
    along = (error[1:] * error[:-1]).mean() / error.var()
    assert along == pytest.approx(observation.ERROR_MEMORY, abs=0.05)
    assert 0.4 < (error[:, 1:] * error[:, :-1]).mean() / error.var() < 0.95
    part = np.log10(observation.distort(np.ones((10, 22, 23), np.float32), days[50:60], (0, 0)))
    np.testing.assert_allclose(part, seen[50:60], atol=1e-6)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
        elements=st.floats(2.0**-10, 1024, width=32),
    )
)
def test_packing_loses_half_a_step_at_most(values: np.ndarray) -> None:
    packed = packing.pack(values)
    assert packed.dtype == np.int16
    back = packing.unpack(packed)
    assert back.dtype == np.float32
    np.testing.assert_allclose(np.log10(back), np.log10(values), atol=0.5 * packing.STEP + 1e-6)


def test_file_of_another_kind_is_refused() -> None:
    for content in (b"", b"something else"):
        with pytest.raises(ModelFormatError, match=r"The file x\.npz .* cannot be read"):
            packing.read(io.BytesIO(content), "x.npz", ["dust"])
    stored = io.BytesIO()
    np.savez(stored, other=np.zeros(2))
    stored.seek(0)
    with pytest.raises(ModelFormatError, match="install the package again"):
        packing.read(stored, "x.npz", ["dust"])
