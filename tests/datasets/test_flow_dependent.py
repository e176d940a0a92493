"""The second nature run: what decides its small scales, and that its ceiling is one."""

from __future__ import annotations

import functools

import dask
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline
from scipy.stats import chi2

import xdownscale as xd
from xdownscale.core.errors import OptionError
from xdownscale.datasets import load_twin, make_twin, twin, twin_ensemble
from xdownscale.datasets.twin import (
    dynamics,
    large_scale,
    packing,
    predictable,
    terrain,
    turbulence,
)
from xdownscale.datasets.twin.layout import Layout

SMALL = (32, 40)
make_second = functools.partial(make_twin, version=2, shape=SMALL, progress=False)


@pytest.fixture(scope="module")
def small() -> xr.Dataset:
    return make_second(days=20, fine_days=12, start="2004-05-01")


@pytest.fixture(scope="module")
def forecast(small: xr.Dataset) -> xr.DataArray:
    return twin_ensemble(12, time=small.time, shape=SMALL)


@pytest.fixture(scope="module")
def members(forecast: xr.DataArray) -> np.ndarray:
    return np.log10(forecast.values.astype(float))


@pytest.fixture(scope="module")
def residual() -> np.ndarray:
    """Turbulence times its amplitude on a domain of the default size, days far apart."""
    layout = Layout((96, 128))
    flow = predictable.Predictable(layout, (0, 0))
    noise = turbulence.Turbulence(layout.shape, 0, 5)
    part = layout.fine_in_covered
    fields = []
    for day in range(12420, 12420 + 12 * 30, 30):
        known = flow.day(day)
        unit = noise.day(day, known.flow.v[part], known.flow.u[part])
        fields.append(known.amplitude[part] * unit)
    return np.array(fields, dtype=float)


# --- the large-scale flow -----------------------------------------------------------------------


def test_waves_are_those_of_a_fourier_transform() -> None:
    plane = (96, 120)
    scale = large_scale.LargeScale(plane, (0, 0))
    (waves,) = scale.waves(range(12000, 12001))
    found = scale.lattice(np.arange(96), np.arange(120)).flow(waves)
    ky, kx = dynamics.wavenumbers(plane)
    for field in (found.temperature, found.v - waves.gust[0], found.u - waves.gust[1]):
        power = np.abs(np.fft.rfft2(field.astype(float))) ** 2
        length = 2 * np.pi / np.maximum(np.hypot(ky, kx), 1e-9)
        short = power[length < large_scale.SHORTEST].sum()
        assert short < 1e-8 * power.sum()
    derivative = 1j * kx * np.fft.rfft2(found.u) + 1j * ky * np.fft.rfft2(found.v)
    divergence = np.fft.irfft2(derivative, s=plane)
    assert np.abs(divergence).max() < 1e-4


def test_flow_has_the_stated_spread_and_memory() -> None:
    scale = large_scale.LargeScale((176, 230), (0, 0))
    grid = scale.lattice(np.arange(0, 176, 11), np.arange(0, 230, 10))
    days = range(12000, 12250)
    flows = [(grid.flow(waves), waves) for waves in scale.waves(days)]
    eddies = [(flow.v - w.gust[0]) ** 2 + (flow.u - w.gust[1]) ** 2 for flow, w in flows]
    assert np.sqrt(np.mean(eddies)) == pytest.approx(large_scale.EDDY_SPEED, rel=0.1)
    warm = np.array([flow.temperature for flow, _ in flows])
    assert warm.std() == pytest.approx(1, rel=0.1)
    memory = [np.mean(warm[lag:] * warm[:-lag]) / warm.var() for lag in (1, 6)]
    assert 0.4 < memory[0] < 0.8
    assert abs(memory[1]) < 0.15


def test_frontogenesis_of_pure_deformation() -> None:
    """u = a x, v = -a y squeezes a gradient along y at the rate a."""
    lattice = large_scale.Lattice((np.array([0.01]), np.array([0.0]), ([0], [0])), np.zeros(1), [0])
    lattice.gradient = lambda _: (np.full((1, 1), 1e3), np.zeros((1, 1)))
    rates = iter([np.full((1, 1), 0.03), np.zeros((1, 1)), np.zeros((1, 1))])  # u_x, v_x, u_y
    lattice.evaluate = lambda _: next(rates)
    waves = large_scale.Waves(np.zeros(1), np.zeros(1), np.zeros(2))
    assert lattice.frontogenesis(waves) == pytest.approx(86.4 * 0.03)


# --- the ground ---------------------------------------------------------------------------------


def test_wind_over_flat_ground_is_slowed_by_height_alone() -> None:
    height = np.full((24, 30), 500.0)
    vv, vu, uu = terrain.wind_response(height)
    slowing = 1 / (1 + 500 / terrain.SLOWING_HEIGHT)
    for entry, wanted in ((vv, slowing), (vu, 0), (uu, slowing)):
        np.testing.assert_allclose(entry, wanted, atol=1e-6)
    assert np.abs(terrain.shelter(height)).max() < 1e-6


def test_wind_is_channelled_along_a_valley() -> None:
    """Ground that varies along x alone: wind along x is lost, wind along y is not."""
    wave = np.sin(2 * np.pi * np.arange(40) / 20)
    height = np.broadcast_to(1000 + 800 * wave, (24, 40))
    vv, vu, uu = terrain.wind_response(height) * (1 + height / terrain.SLOWING_HEIGHT)
    np.testing.assert_allclose(vv, 1, atol=1e-5)
    np.testing.assert_allclose(vu, 0, atol=1e-5)
    assert uu.min() < 1 - 0.9 * terrain.CHANNELLING
    assert uu.max() == pytest.approx(1, abs=1e-3)  # on top and in the valley


def test_lee_of_a_hill_is_downwind() -> None:
    y, x = np.mgrid[:48, :60]
    hill = 800 * np.exp(-((y - 24.0) ** 2 + (x - 30.0) ** 2) / 20)
    shadow = terrain.shelter(hill)
    quarter = terrain.DIRECTIONS // 4
    east, north, west, south = (shadow[k * quarter] for k in range(4))  # wind blows to
    assert east[24, 36] > 0.4 > 0.05 > east[24, 24]
    assert west[24, 24] > 0.4 > 0.05 > west[24, 36]
    assert north[30, 30] > 0.4 > 0.05 > north[18, 30]
    np.testing.assert_allclose(south, north[(48 - np.arange(48)) % 48], atol=1e-6)


def test_lee_filter_is_its_integral() -> None:
    """On a wave h = sin(q x) and wind to the east, the mean upwind has a closed form."""
    dx = dynamics.pixel_km()[1]
    q = 2 * np.pi * 3 / (60 * dx)
    height = np.broadcast_to(np.sin(q * dx * np.arange(60)), (24, 60))
    found = terrain._filter_upwind(height, lambda k: 1 / (1 + 1j * k * 30))[0]
    phase = q * dx * np.arange(60)
    expected = (np.sin(phase) - 30 * q * np.cos(phase)) / (1 + (30 * q) ** 2)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)


def test_table_is_interpolated_between_directions() -> None:
    table = np.cos(2 * np.pi * np.arange(24) / 24)[:, None, None] * np.ones((24, 5, 5))
    angle = np.linspace(-3.1, 3.1, 25).reshape(5, 5)
    found = terrain.look_up(table.astype(np.float32), 3 * np.sin(angle), 3 * np.cos(angle))
    np.testing.assert_allclose(found, np.cos(angle), atol=0.01)
    exact = terrain.look_up(table, np.zeros((5, 5)), np.ones((5, 5)))
    np.testing.assert_allclose(exact, 1)


# --- fronts and plumes --------------------------------------------------------------------------


def test_plume_of_a_uniform_source_in_any_wind() -> None:
    rng = np.random.default_rng(1)
    v, u = rng.normal(size=(2, 30, 40)).astype(np.float32)
    met, _, _ = predictable.carry(v, u, np.ones((30, 40), np.float32))
    life = predictable.LIFETIME
    expected = life * (1 - np.exp(-predictable.HOURS / life))
    np.testing.assert_allclose(met, expected, rtol=1e-3)


def test_plume_lies_downwind_and_keeps_its_mass() -> None:
    source = np.zeros((40, 60), np.float32)
    source[18:22, 20:24] = 1
    still = np.zeros_like(source)
    dx = 2 * dynamics.pixel_km()[1]
    speed = np.float32(20 * dx / (3.6 * predictable.HOURS))  # 20 pixels on the way
    met, north, east = predictable.carry(still, still + speed, source)
    np.testing.assert_allclose(east, -20, rtol=1e-5)
    np.testing.assert_array_equal(north, 0)
    calm = predictable.carry(still, still, source)[0]
    assert met.sum() == pytest.approx(calm.sum(), rel=1e-4)
    assert met[20, 22:42].min() > 0.05 * met.max() > 1e3 * met[20, :18].max()


def test_fronts_are_sharpened_by_the_flow() -> None:
    warm = np.array([-3, -0.2, 0.2, 3.0], np.float32)
    loose, sharp = (predictable.background(warm, np.float32(f), 12000) for f in (-1, 2))
    assert sharp[2] - sharp[1] > 2.5 * (loose[2] - loose[1])
    assert sharp[3] - sharp[0] == pytest.approx(2 * predictable.CONTRAST, rel=1e-4)
    assert 0.8 < (loose[3] - loose[0]) / (2 * predictable.CONTRAST) < 1


def test_nothing_is_known_of_days_before_yesterday(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = predictable.Predictable(Layout((16, 20)), (0, 0))
    whole = flow.day(12000)
    original = flow.large_scale.waves
    asked: list[int] = []

    def record(days: range) -> list[large_scale.Waves]:
        asked.extend(days)
        return original(days)

    monkeypatch.setattr(flow.large_scale, "waves", record)
    again = flow.day(12000)
    assert asked == [11999, 12000]
    np.testing.assert_array_equal(whole.log_dust, again.log_dust)


# --- turbulence ---------------------------------------------------------------------------------


def kurtosis(fields: np.ndarray, lag: int) -> float:
    steps = [fields[..., lag:, :] - fields[..., :-lag, :], fields[..., lag:] - fields[..., :-lag]]
    values = np.concatenate([step.ravel() for step in steps])
    return float(np.mean(values**4) / np.mean(values**2) ** 2)


def coherence(fields: np.ndarray) -> float:
    """Return the coherence of the structure tensor, weighted by the energy of the gradient."""
    total = np.zeros(2)
    for field in fields:
        gy, gx = np.gradient(field)
        yy, xx, xy = (ndimage.gaussian_filter(g, 3) for g in (gy * gy, gx * gx, gx * gy))
        total += np.sqrt((yy - xx) ** 2 + 4 * xy**2).sum(), (yy + xx).sum()
    return float(total[0] / total[1])


def same_spectrum(fields: np.ndarray) -> np.ndarray:
    """Return Gaussian fields with the power spectrum of these."""
    rng = np.random.default_rng(0)
    noise = np.fft.fft2(rng.standard_normal(fields.shape))
    power = np.mean(np.abs(np.fft.fft2(fields)) ** 2, axis=0)
    return np.fft.ifft2(np.sqrt(power) * noise).real


def test_turbulence_is_intermittent_and_filamentary(residual: np.ndarray) -> None:
    assert 7 < kurtosis(residual, 2) < kurtosis(residual, 1) < 16
    gaussian = same_spectrum(residual)
    assert kurtosis(gaussian, 1) == pytest.approx(3, abs=0.2)
    assert coherence(residual) > coherence(gaussian) + 0.06


def test_turbulence_is_as_likely_as_its_negative() -> None:
    """So its mean given the flow is 0: the sign of the dye changes the sign, and nothing else."""
    noise = turbulence.Turbulence((24, 30), 0, 1)
    wind = np.random.default_rng(0).normal(size=(2, 24, 30)).astype(np.float32)
    field = noise.day(12000, *wind)
    noise._dye = -noise._dye
    np.testing.assert_array_equal(noise.day(12000, *wind), -field)


def test_turbulence_has_unit_variance_and_memory_of_days() -> None:
    noise = turbulence.Turbulence((48, 60), 0, 1)
    calm = np.zeros((48, 60), np.float32)
    series = np.array([noise.day(day, calm, calm) for day in range(12000, 12080)])
    assert series.std() == pytest.approx(1, abs=0.1)
    memory = [np.mean(series[lag:] * series[:-lag]) / series.var() for lag in (1, 3)]
    assert 0.1 < memory[0] < 0.7
    assert abs(memory[1]) < 0.06


# --- the ceiling --------------------------------------------------------------------------------


def test_coarse_record_does_not_know_the_turbulence(
    small: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twin.flow_dependent, "RECORD", 7)
    other = make_second(days=20, fine_days=12, start="2004-05-01")
    monkeypatch.undo()
    shared = ["dust", "u10", "v10", "t850", "elevation", "dust_source", "wind_threshold"]
    xr.testing.assert_identical(other[shared], small[shared])
    assert not np.allclose(np.log10(other.dust_fine), np.log10(small.dust_fine), atol=0.02)
    expected = twin_ensemble(7, time=small.time, shape=SMALL).isel(realization=6, drop=True)
    np.testing.assert_array_equal(other.dust_fine, expected)


def test_record_is_a_member_like_the_others(small: xr.Dataset, members: np.ndarray) -> None:
    truth = np.log10(small.dust_fine.values.astype(float))
    spread = np.sqrt(members.var(0, ddof=1).mean() * (1 + 1 / len(members)))
    error = np.sqrt(np.mean((members.mean(0) - truth) ** 2))
    assert spread / error == pytest.approx(1, abs=0.1)
    ranks = (members < truth).sum(0)[::3, ::16, ::20].ravel()  # days and places far apart
    counts = np.bincount(ranks // 4, minlength=4)[:3]
    expected = ranks.size * np.array([4, 4, 4]) / 13
    assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 3)


def test_mean_of_the_members_is_the_known_part(small: xr.Dataset, members: np.ndarray) -> None:
    layout = Layout(SMALL)
    flow = predictable.Predictable(layout, (0, 0))
    days = small.time.values.astype("datetime64[D]").astype(int)
    known = np.array([flow.day(int(day)).log_dust[layout.fine_in_covered] for day in days])
    error = members.mean(0) - known
    assert error.std() == pytest.approx(members.std(0).mean() / np.sqrt(len(members)), rel=0.25)


def test_smooth_flow_can_be_read_off_the_coarse_record() -> None:
    layout = Layout((96, 128))
    flow = predictable.Predictable(layout, (0, 0))
    rows, cols = layout.cell_centres
    part = layout.fine_in_covered
    wanted = [axis[window] for axis, window in zip(layout.covered_pixels, part, strict=True)]
    errors = []
    for day in range(12000, 12100, 10):
        known = flow.day(day)
        for seen, true in zip(known.at_centres, known.flow, strict=True):
            spline = RectBivariateSpline(rows, cols, seen)(*wanted)
            errors.append(np.std(spline - true[part]) / np.std(true[part]))
    assert np.mean(errors) < 0.01
    assert np.max(errors) < 0.03


def test_ceiling_is_far_above_what_a_bias_can_reach(small: xr.Dataset, members: np.ndarray) -> None:
    truth = np.log10(small.dust_fine.values.astype(float))
    coarse = np.log10(small.dust.sel(time_coarse=small.time.values).values.astype(float))
    at = small.lat_coarse, small.lon_coarse
    guess = np.array([RectBivariateSpline(*at, day)(small.lat, small.lon) for day in coarse])
    bias = (truth - guess).mean(0)  # of these very days: an optimistic rival
    errors = [np.mean((field - truth) ** 2) for field in (guess, guess + bias, members.mean(0))]
    assert errors[2] < 0.8 * errors[1] < 0.8 * errors[0]


# --- what users are promised --------------------------------------------------------------------


def test_units_and_attributes(small: xr.Dataset) -> None:
    units = {
        "dust": "1", "dust_fine": "1", "elevation": "m", "u10": "m s-1", "v10": "m s-1",
        "t850": "K", "dust_source": "1", "wind_threshold": "m s-1",
    }  # fmt: skip
    assert {name: da.attrs["units"] for name, da in small.data_vars.items()} == units
    names = {name: small[name].attrs["standard_name"] for name in ("u10", "v10", "t850")}
    assert names == {"u10": "eastward_wind", "v10": "northward_wind", "t850": "air_temperature"}
    assert all("long_name" in small[name].attrs for name in small.variables)
    assert all(da.dtype == np.float32 for da in small.data_vars.values())
    assert all(np.isfinite(da).all() for da in small.data_vars.values())
    assert small.attrs["version"] == 2
    assert small.u10.dims == small.dust.dims
    assert 265 < small.t850.min() < small.t850.max() < 320


def test_weather_belongs_to_the_date_to_the_bit(small: xr.Dataset) -> None:
    later = make_second(days=6, fine_days=4, start="2004-05-08")
    xr.testing.assert_equal(later.dust, small.dust.sel(time_coarse=later.time_coarse))
    xr.testing.assert_equal(later.dust_fine, small.dust_fine.sel(time=later.time))


def test_seed_changes_the_weather_but_not_the_ground(small: xr.Dataset) -> None:
    other = make_second(days=3, fine_days=2, start="2004-05-08", seed=1)
    xr.testing.assert_equal(other.elevation, small.elevation)
    same = small.dust.sel(time_coarse=other.time_coarse)
    assert not np.allclose(np.log10(other.dust), np.log10(same), atol=0.1)


def test_unsynchronised_records_share_no_weather(small: xr.Dataset) -> None:
    other = make_second(days=4, fine_days=2, start="2004-05-08", synchronised=False)
    xr.testing.assert_equal(other.dust_fine, small.dust_fine.sel(time=other.time))
    same = small.u10.sel(time_coarse=other.time_coarse)
    assert not np.allclose(other.u10, same, atol=1)


def test_ensemble_is_lazy_and_does_not_depend_on_chunks_or_order(
    forecast: xr.DataArray, members: np.ndarray
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        part = twin_ensemble(3, time=forecast.time[[5, 2]], shape=SMALL)
    assert part.chunks is not None
    np.testing.assert_array_equal(np.log10(part.values.astype(float)), members[:3][:, [5, 2]])
    assert part.realization.values.tolist() == [1, 2, 3]
    assert part.attrs == forecast.attrs
    assert part.attrs["units"] == "1"


def test_default_days_of_the_ensemble_are_those_of_the_record() -> None:
    times = twin_ensemble(1).time.values
    assert [str(times[k])[:10] for k in (0, -1)] == ["2004-01-01", "2005-12-31"]
    assert times.size == 731


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "members is 0; give a whole number of 1 or more"),
        ({"members": 2.0}, "members is 2.0; give a whole number"),
        ({"seed": -1}, "seed is -1; give a whole number"),
        ({"shape": (4, 4)}, r"shape is \(4, 4\); give two whole numbers"),
        ({"time": "last year"}, "time is 'last year'; give dates such as"),
        ({"time": []}, "give one or more dates between 1971 and 2200"),
        ({"time": ["NaT"]}, "give one or more dates between"),
        ({"time": ["1950-01-01"]}, "give one or more dates between 1971 and 2200"),
    ],
)
def test_bad_options_of_the_ensemble(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        twin_ensemble(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [0, 3, "2", True, 1.5, None])
@pytest.mark.parametrize("function", [load_twin, make_twin])
def test_other_versions_are_refused(function: object, version: object) -> None:
    with pytest.raises(OptionError, match=r"version is .*; give 1 or 2"):
        function(version=version)  # type: ignore[operator]


def test_version_one_is_the_default_and_unchanged() -> None:
    xr.testing.assert_identical(load_twin(), load_twin(version=1))
    assert set(load_twin().data_vars) == {"dust_fine", "elevation", "dust"}


def test_cached_run_is_what_was_generated(
    small: xr.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    made: list[tuple[object, ...]] = []

    def quick(*args: object) -> xr.Dataset:
        made.append(args)
        return small

    monkeypatch.setattr(twin, "_make_default", quick)
    first = load_twin(version=2, cache=tmp_path)  # type: ignore[arg-type]
    again = load_twin(version=2, cache=tmp_path)  # type: ignore[arg-type]
    assert made == [(True, 0, 2)]
    xr.testing.assert_identical(first, again)
    assert first.attrs == small.attrs
    assert all(first[name].attrs == small[name].attrs for name in small.variables)
    for name in ("dust", "dust_fine"):
        np.testing.assert_allclose(first[name], small[name], rtol=1.2e-3)
    for name in ("u10", "v10", "t850"):
        np.testing.assert_allclose(first[name], small[name], atol=0.5 * packing.PLAIN_STEP + 1e-4)
    for name in ("elevation", "dust_source", "wind_threshold"):
        xr.testing.assert_equal(first[name], small[name])


def test_load_twin_has_the_sizes_of_version_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[range, range]] = []
    monkeypatch.setattr(
        twin.flow_dependent, "simulate", lambda layout, *days_and_more: seen.append(days_and_more)
    )
    monkeypatch.setattr(twin.flow_dependent, "label_records", lambda *args: None)
    twin._make_default(True, 0, 2)
    days = [str(np.datetime64(int(d), "D")) for r in seen[0][:2] for d in (r[0], r[-1])]
    assert days == ["2003-01-01", "2006-12-31", "2004-01-01", "2005-12-31"]
    assert xd.datasets.twin_ensemble(1).sizes["lat"] == 96
