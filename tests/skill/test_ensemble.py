"""Calibrated ensembles: spread and error agree, ranks are flat, fair CRPS has no bias."""

from __future__ import annotations

import numpy as np
import pytest
import scoringrules
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xdownscale import skill
from xdownscale.core import grids
from xdownscale.core.errors import DataError, OptionError


@pytest.fixture(scope="module")
def calibrated():
    """Twelve members and the truth, all drawn alike around a signal that nobody knows."""
    rng = np.random.default_rng(7)
    coords = {
        "time": xr.date_range("2000-01-01", periods=10),
        "lat": np.linspace(10, 60, 30),
        "lon": np.linspace(0, 50, 40),
    }
    shape = (10, 30, 40)
    signal = rng.normal(size=shape)
    truth = xr.DataArray(signal + 0.5 * rng.normal(size=shape), coords=coords)
    drawn = signal + 0.5 * rng.normal(size=(12, *shape))
    ensemble = xr.DataArray(drawn, coords={"realization": np.arange(12), **coords})
    return ensemble, truth


# spread and skill


def test_spread_skill_by_hand():
    coords = {"lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    truth = xr.DataArray([[0.0, 0.0], [0.0, 0.0]], coords=coords)
    low = truth.copy(data=[[0.0, 1.0], [2.0, 3.0]])
    ensemble = xr.concat([low, low + 2], dim="realization")
    found = skill.spread_skill(ensemble, truth)
    # variance 2 everywhere, means 1 2 3 4
    assert found.spread.item() == pytest.approx(np.sqrt(2 * 1.5))
    assert found.rmse.item() == pytest.approx(np.sqrt(30 / 4))
    assert found.spread_skill.item() == pytest.approx(np.sqrt(3 / 7.5))
    assert found.ratio.item() == pytest.approx(found.spread_skill.item())


@pytest.mark.parametrize("count", [2, 5, 12])
def test_a_calibrated_ensemble_has_ratio_one_whatever_its_size(calibrated, count):
    ensemble, truth = calibrated
    few = ensemble.isel(realization=slice(count))
    found = skill.spread_skill(few, truth)
    assert found.spread_skill.item() == pytest.approx(1, abs=0.03)
    assert found.attrs["realizations"] == count
    narrow = few.mean("realization") + 0.5 * (few - few.mean("realization"))
    assert skill.spread_skill(narrow, truth).spread_skill.item() == pytest.approx(0.5, abs=0.02)


def test_days_are_pooled_as_squares(calibrated):
    ensemble, truth = calibrated
    found = skill.spread_skill(3 * ensemble[:, :4], 3 * truth)
    pooled = np.sqrt((found.spread**2).mean() / (found.rmse**2).mean())
    assert found.spread_skill.item() == pytest.approx(pooled.item())
    np.testing.assert_allclose(found.ratio, found.spread / found.rmse)


def test_pixels_without_a_member_are_left_out(calibrated):
    ensemble, truth = (da.copy() for da in calibrated)
    ensemble[3, :, :, :20] = np.nan
    truth[2] = np.nan
    found = skill.spread_skill(ensemble, truth)
    kept = skill.spread_skill(ensemble[..., 20:], truth[..., 20:])
    xr.testing.assert_allclose(found, kept)
    assert np.isnan(found.ratio[2])
    assert int(found.ratio.isnull().sum()) == 1


def test_an_ensemble_without_error_has_no_ratio():
    truth = xr.DataArray([[1.0, 2.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    same = xr.concat([truth, truth], dim="realization")
    assert np.isnan(skill.spread_skill(same, truth).spread_skill)


@pytest.mark.parametrize("function", [skill.spread_skill, skill.rank_histogram])
def test_one_realization_is_no_ensemble(fields, function):
    truth = fields()
    with pytest.raises(DataError, match="needs an ensemble; the prediction has 1 realization"):
        function(truth, truth)
    with pytest.raises(DataError, match="needs an ensemble"):
        function(fields(members=1), truth)


# calibration seen in other scores


def test_one_member_scores_twice_the_r2_of_the_mean_minus_one(calibrated):
    ensemble, truth = calibrated
    mean = skill.r2(ensemble.mean("realization"), truth).mean().item()
    # of an infinite ensemble: the mean's own noise, s^2 / M, taken out of its error, s^2 (1 + 1/M)
    infinite = 1 - (1 - mean) / (1 + 1 / 12)
    one = skill.r2(ensemble, truth).mean("time")
    assert one.mean().item() == pytest.approx(2 * infinite - 1, abs=0.01)
    assert float(one.std()) < 0.02


def test_fair_crps_does_not_depend_on_the_size_of_the_ensemble(calibrated):
    ensemble, truth = calibrated
    whole = skill.crps(ensemble, truth).mean().item()
    for count in (2, 3, 6):
        few = skill.crps(ensemble.isel(realization=slice(count)), truth).mean().item()
        assert few == pytest.approx(whole, rel=0.02)
    # the common estimator is biased by s / (M sqrt(pi)): 50 % at M = 2
    usual = scoringrules.crps_ensemble(truth.values, ensemble[:2].values, m_axis=0, estimator="nrg")
    assert usual.mean() == pytest.approx(1.5 * whole, rel=0.02)
    assert whole == pytest.approx(0.5 / np.sqrt(np.pi), rel=0.02)


# ranks


def test_ranks_by_hand():
    coords = {"lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    truth = xr.DataArray([[-1.0, 0.5], [2.5, np.nan]], coords=coords)
    ensemble = xr.concat([0 * truth.fillna(0) + k for k in range(3)], dim="realization")
    found = skill.rank_histogram(ensemble, truth)
    np.testing.assert_array_equal(found["count"], [1, 1, 0, 1])
    np.testing.assert_allclose(found.frequency, [1 / 3, 1 / 3, 0, 1 / 3])
    assert found.attrs["expected"] == 0.25
    ensemble[1, 0, 0] = np.nan
    np.testing.assert_array_equal(skill.rank_histogram(ensemble, truth)["count"], [0, 1, 0, 1])


def test_ranks_are_those_of_scipy(fields):
    truth, ensemble = fields(seed=1), fields(seed=2, members=4)
    both = np.concatenate([truth.values[None], ensemble.values]).reshape(5, -1)
    ranks = stats.rankdata(both, axis=0)[0].astype(int) - 1
    found = skill.rank_histogram(ensemble, truth)
    np.testing.assert_array_equal(found["count"], np.bincount(ranks, minlength=5))


def test_a_calibrated_ensemble_has_flat_ranks_and_a_narrow_one_a_u(calibrated):
    ensemble, truth = calibrated
    found = skill.rank_histogram(ensemble, truth)
    assert found["count"].sum() == truth.size
    assert stats.chisquare(found["count"].values).pvalue > 0.01
    middle = ensemble.mean("realization")
    narrow = skill.rank_histogram(middle + 0.3 * (ensemble - middle), truth).frequency
    assert narrow[0] > 2 / 13
    assert narrow[-1] > 2 / 13
    assert (narrow[3:10] < 1 / 13).all()


def test_ties_are_split_at_random_and_reproducibly():
    coords = {
        "time": xr.date_range("2000-01-01", periods=20),
        "lat": np.arange(20.0),
        "lon": np.arange(30.0),
    }
    dry = xr.DataArray(np.zeros((20, 20, 30)), coords=coords)
    ensemble = xr.concat([dry, dry, dry], dim="realization")
    found = skill.rank_histogram(ensemble, dry)
    assert stats.chisquare(found["count"].values).pvalue > 0.01
    days = skill.rank_histogram(ensemble, dry, average=None)["count"]
    assert days.dims == ("time", "rank")
    # one draw for each day and cell, not one for all
    assert stats.chisquare(days[0].values).pvalue > 0.001
    assert len({tuple(day) for day in days.values}) > 10
    xr.testing.assert_identical(found, skill.rank_histogram(ensemble, dry))
    other = skill.rank_histogram(ensemble, dry, seed=1)
    assert (other["count"] != found["count"]).any()
    assert other.attrs["seed"] == 1
    np.testing.assert_array_equal(days.sum("time"), found["count"])


@settings(max_examples=10)
@given(
    chunk=st.integers(1, 5),
    order=st.permutations(["realization", "time", "lat", "lon"]),
    flip=st.booleans(),
    shuffle=st.permutations(range(5)),
)
def test_chunks_order_and_orientation_change_no_rank(fields, chunk, order, flip, shuffle):
    truth, ensemble = fields(seed=1).round(1), fields(seed=2, members=3).round(1)
    expected = skill.rank_histogram(ensemble, truth, average=None)
    pair = [truth.isel(time=shuffle), ensemble.transpose(*order)]
    if flip:
        pair = [da.isel(lat=slice(None, None, -1)) for da in pair]
    turned, members = (da.chunk(time=chunk, lat=2) for da in pair)
    found = skill.rank_histogram(members, turned, average=None).compute()
    xr.testing.assert_allclose(found.sortby("time"), expected)
    spread = skill.spread_skill(members, turned).compute().sortby("time")
    xr.testing.assert_allclose(spread, skill.spread_skill(ensemble, truth))


def test_lazy_inputs_stay_lazy(fields, computes):
    truth, ensemble = fields(seed=1).chunk(time=2), fields(seed=2, members=3).chunk(time=1)
    skill.rank_histogram(ensemble, truth)
    skill.spread_skill(ensemble, truth, weights=True, transform="log10")
    assert computes.calls == 0


def test_fields_without_time(fields):
    truth, ensemble = (da.isel(time=0, drop=True) for da in (fields(), fields(seed=1, members=3)))
    assert skill.rank_histogram(ensemble, truth)["count"].sum() == truth.size
    assert skill.spread_skill(ensemble, truth).ratio.dims == ()


def test_weights(fields):
    truth, ensemble = fields(seed=1), fields(seed=2, members=3)
    areas = grids.area(truth)
    found = skill.rank_histogram(ensemble, truth, weights=True)
    assert found["count"].sum().item() == pytest.approx(5 * areas.sum().item())
    half = xr.zeros_like(areas)
    half[:2] = 1.0
    kept = skill.rank_histogram(ensemble[:, :, :2], truth[:, :2])
    np.testing.assert_array_equal(
        skill.rank_histogram(ensemble, truth, weights=half)["count"], kept["count"]
    )
    with pytest.raises(OptionError, match="Unknown average: 'day'"):
        skill.rank_histogram(ensemble, truth, average="day")
