"""Paired and unpaired days, on records whose pairing is known, and patch sizes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import xdownscale as xd
from records import label
from xdownscale.core.errors import DataError, GridError, OptionError, TimeAxisError
from xdownscale.core.normalization import Scaling
from xdownscale.geostat import advise_patch, diagnose_pairing, pairing, wasserstein


def made(seed=0, days=120, step=0.5, phi=0.7, start="2001-01-01"):
    """AR(1) weather of 4 x 6 blocks of two degrees, on a grid of `step` degrees."""
    rng = np.random.default_rng(seed)
    blocks = np.zeros((days, 4, 6))
    for day in range(1, days):
        blocks[day] = phi * blocks[day - 1] + np.sqrt(1 - phi**2) * rng.normal(size=(4, 6))
    repeat = round(2 / step)
    values = np.exp(0.5 * blocks.repeat(repeat, axis=1).repeat(repeat, axis=2))
    lat = np.arange(4 * repeat) * step + 10 + step / 2
    lon = np.arange(6 * repeat) * step + step / 2
    return label(values, lat, lon, time=start, units=None)


@pytest.fixture(scope="module", params=[True, False])
def twin(request):
    return request.param, xd.datasets.load_twin(request.param)


def test_both_twins_are_told_apart(twin):
    synchronised, ds = twin
    found = diagnose_pairing(ds.dust, ds.dust_fine.isel(time=slice(60, 200)))
    assert found.paired.item() is synchronised
    assert ('pairing="self"' in found.message.item()) is not synchronised
    assert (found.p_value.sel(scale="cell") <= 0.01).item() is synchronised
    assert found.days.item() == 140


def test_shuffled_days_are_seen_where_the_pooled_distance_is_blind():
    coarse, fine = made(step=2.0), made(step=0.5)
    order = np.random.default_rng(1).permutation(coarse.sizes["time"])
    shuffled = fine.copy(data=fine.values[order])
    blind = [wasserstein(coarse, f, "pooled").wasserstein.item() for f in (fine, shuffled)]
    assert blind[0] == pytest.approx(blind[1], abs=1e-14)
    assert diagnose_pairing(coarse, fine).paired.item()
    assert not diagnose_pairing(coarse, shuffled).paired.item()


def test_correlations_are_those_of_pandas():
    coarse, fine = made(step=2.0), made(step=0.5)
    noisy = coarse * np.exp(0.3 * made(seed=9, step=2.0, phi=0).values)
    found = diagnose_pairing(noisy, fine, transform="log10")
    assert found.attrs["shifts"] == 91  # of 15 to 105 days
    # trends out of both, then the correlation of one cell
    day = np.arange(120.0)
    detrended = [
        series - np.polyval(np.polyfit(day, series, 1), day)
        for series in (np.log10(da.values[:, 2, 3]) for da in (noisy, coarse))
    ]
    expected = np.corrcoef(*detrended)[0, 1]
    assert found.cell_correlation.values[2, 3] == pytest.approx(expected, abs=0.01)
    weights = np.cos(np.deg2rad(noisy.lat.values))[:, None].repeat(6, axis=1)
    mean = np.average(found.cell_correlation, weights=weights)
    assert found.correlation.sel(scale="cell").item() == pytest.approx(mean, abs=1e-4)


def test_slow_unpaired_records_are_not_taken_for_paired_ones():
    # a memory of twenty days: of 120 days few are independent, so chance correlations are large
    wrong = sum(
        diagnose_pairing(made(seed, phi=0.95, step=2.0), made(seed + 50, phi=0.95)).paired.item()
        for seed in range(10)
    )
    assert wrong <= 1


def test_short_records_are_undecided_rather_than_wrong():
    verdicts = {True: [], False: []}
    for seed in range(40):
        coarse = made(seed, days=30, step=2.0)
        for same, found in verdicts.items():
            fine = made(seed if same else seed + 500, days=30)
            found.append(diagnose_pairing(coarse, fine))
    assert sum(found.paired.item() for found in verdicts[False]) <= 2
    assert sum(found.paired.item() for found in verdicts[True]) >= 32
    for found in verdicts[True] + verdicts[False]:
        p = found.p_value.sel(scale="cell").item()
        assert found.paired.item() is (p <= 0.01)
        assert found.decided.item() is (not 0.01 < p <= 0.05)
        undecided = found.message.item().startswith("Undecided: on 30 common days only 17 shifts")
        assert undecided is not found.decided.item()


def test_with_many_shifts_the_p_value_is_counted():
    null = np.random.default_rng(0).normal(size=200)
    assert pairing._p_value(10.0, null) == 1 / 201
    assert pairing._p_value(np.median(null), null) == 101 / 201
    # independent shifts, few of them: the t distribution of one more draw
    few = np.resize([1.0, -1.0], 20)
    assert pairing._effective_size(few) == 20
    expected = stats.t.sf(5 / np.sqrt(1 + 1 / 20), 19)
    assert pairing._p_value(5.0, few) == pytest.approx(expected, rel=1e-9)


def test_six_hourly_records_are_counted_in_days():
    coarse, fine = made(step=2.0, days=160, phi=0.9), made(days=160, phi=0.9)
    time = pd.date_range("2001-01-01", periods=160, freq="6h")
    coarse, fine = coarse.assign_coords(time=time), fine.assign_coords(time=time)
    found = diagnose_pairing(coarse, fine)
    assert found.days.item() == 40
    assert found.attrs["shifts"] == 160 - 2 * 40 + 1  # a quarter, as 15 days are 60 of 160 steps
    with pytest.raises(TimeAxisError, match=r"have 29\.75 days in common"):
        diagnose_pairing(coarse, fine.isel(time=slice(119)))


def test_the_seasons_do_not_make_a_pair():
    days = 730
    wave = np.exp(np.sin(2 * np.pi * np.arange(days) / 365.25))[:, None, None]
    coarse, fine = made(1, days, 2.0, phi=0.3) * wave, made(2, days, 1.0, phi=0.3) * wave
    assert np.corrcoef(coarse.mean(("lat", "lon")), fine.mean(("lat", "lon")))[0, 1] > 0.9
    found = diagnose_pairing(coarse, fine)
    assert not found.paired.item()
    assert abs(found.correlation.sel(scale="regional")) < 0.15


def test_gaps_order_and_chunks_do_not_matter():
    coarse, fine = made(step=2.0), made(step=0.5)
    coarse = coarse.where(np.random.default_rng(3).random(coarse.shape) > 0.1)
    found = diagnose_pairing(coarse, fine, transform="log10")
    assert found.paired.item()
    turned = fine.isel(lat=slice(None, None, -1)).transpose("lon", "time", "lat").chunk(time=17)
    again = diagnose_pairing(
        coarse.rename(time="date", lat="latitude", lon="longitude").chunk(date=50),
        turned,
        transform=Scaling(transform="log10"),
    )
    np.testing.assert_allclose(again.correlation, found.correlation)
    np.testing.assert_allclose(again.null, found.null)


def test_shifts_are_seeded_and_never_small():
    first, again, other = (pairing._sample_shifts(1000, 200, s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(set(first)) == 200
    assert first.min() >= 15
    assert first.max() <= 985


def test_records_that_cannot_be_judged():
    coarse, fine = made(step=2.0), made(step=0.5)
    with pytest.raises(OptionError, match="shifts is 50"):
        diagnose_pairing(coarse, fine, shifts=50)
    with pytest.raises(TimeAxisError, match="have 20 days in common; 30 are needed"):
        diagnose_pairing(coarse, fine.isel(time=slice(20)))
    with pytest.raises(GridError, match="The grids do not overlap: the coarse one has"):
        diagnose_pairing(coarse.assign_coords(lat=coarse.lat + 40), fine)
    with pytest.raises(DataError, match="has no anomalies"):
        diagnose_pairing(coarse * 0 + 3, fine)


def test_results_are_labelled_and_inputs_stay():
    coarse, fine = made(step=2.0), made(step=0.5)
    copies = coarse.copy(deep=True), fine.copy(deep=True)
    found = diagnose_pairing(coarse, fine, seed=4)
    advice = advise_patch(fine)
    xr.testing.assert_identical(coarse, copies[0])
    xr.testing.assert_identical(fine, copies[1])
    for result in (found, advice):
        assert all({"long_name", "units"} <= set(v.attrs) for v in result.data_vars.values())
    assert found.attrs["seed"] == 4


# patches


def noise(cells, seed=0, shape=(64, 96), step=0.0625, days=4):
    """White noise smoothed over `cells` pixels: a range of about as many pixels."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=(days, shape[0] + cells, shape[1] + cells))
    sums = np.cumsum(np.cumsum(fields, axis=1), axis=2)
    box = sums[:, cells:, cells:] - sums[:, :-cells, cells:]
    box = box - sums[:, cells:, :-cells] + sums[:, :-cells, :-cells]
    return xr.DataArray(
        box / cells,
        coords={
            "time": pd.date_range("2001-01-01", periods=days),
            "lat": np.arange(shape[0]) * step,
            "lon": np.arange(shape[1]) * step,
        },
        dims=("time", "lat", "lon"),
    )


@pytest.mark.parametrize("cells", [10, 18])
def test_the_patch_is_as_wide_as_the_residuals_range(cells):
    # the coarse field says nothing: the residual is the field, a moving sum over `cells` pixels
    # whose covariance ends there along an axis
    fine = noise(cells)
    coarse = xr.zeros_like(fine[:, ::8, ::8].pad(lat=(0, 1), lon=(0, 1), mode="edge"))
    coarse = coarse.assign_coords(
        lat=np.arange(coarse.sizes["lat"]) * 0.5, lon=np.arange(coarse.sizes["lon"]) * 0.5
    )
    found = advise_patch(fine, coarse, transform="identity")
    pixels = found.range_km / found.pixel_km
    assert 0.8 * cells < pixels < 1.4 * cells
    assert found.patch_size.item() == max(8, 4 * round(pixels.item() / 4))
    assert found.pixel_km.item() == pytest.approx(6.93, rel=0.01)
    assert f"patches of {found.patch_size.item()} pixels" in found.message.item()


def test_a_finer_driver_leaves_a_shorter_range():
    fine = noise(24, days=3)
    sizes = [advise_patch(fine, factor=f, transform="identity").range_km.item() for f in (4, 16)]
    assert sizes[0] < sizes[1]


def test_without_a_range_the_patch_is_two_coarse_cells():
    found = advise_patch(noise(1), factor=8, transform="identity")
    assert np.isnan(found.range_km)
    assert found.patch_size.item() == 16
    assert "No range could be measured (flat" in found.message.item()
    constant = noise(1).isel(time=0, drop=True) * 0 + 2.0
    flat = advise_patch(constant, factor=8, transform="identity")
    assert np.isnan(flat.range_km)
    assert flat.patch_size.item() == 16
    assert "No range could be measured" in flat.message.item()


def test_the_twin_wants_the_papers_patches():
    ds = xd.datasets.load_twin()
    found = advise_patch(ds.dust_fine, ds.dust, days=10)
    assert found.patch_size.item() == 16


def test_advice_that_cannot_be_given():
    fine = noise(4)
    with pytest.raises(OptionError, match="days is 0 and factor 8"):
        advise_patch(fine, days=0)
    with pytest.raises(GridError, match="has 10 x 96 pixels; 16 along each side"):
        advise_patch(fine.isel(lat=slice(10)))


def test_the_accessor_is_the_function():
    coarse, fine = made(step=2.0), made(step=0.5)
    found = coarse.geostat.diagnose_pairing(fine, seed=3)
    xr.testing.assert_identical(found, diagnose_pairing(coarse, fine, seed=3))


def test_a_patch_in_the_values_own_space():
    fine = made(step=0.25)
    found = advise_patch(fine, transform=None)
    xr.testing.assert_identical(found, advise_patch(fine, transform="identity"))
