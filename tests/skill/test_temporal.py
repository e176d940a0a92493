"""NSE and KGE against the package `scores`, and numbers made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scores.continuous
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdownscale import skill
from xdownscale.core import grids
from xdownscale.core.errors import OptionError, TimeAxisError


def test_nse_by_hand():
    coords = {"time": xr.date_range("2000-01-01", periods=4), "lat": [0.0], "lon": [0.0, 1.0]}
    truth = xr.DataArray(np.zeros((4, 1, 2)), coords=coords)
    truth[:, 0, 0] = [1, 2, 3, 6]
    truth[:, 0, 1] = [0, 1, 0, 1]
    prediction = truth.copy()
    prediction[:, 0, 0] = [2, 2, 2, 6]
    # 1 - 2/14 at the first pixel, 1 at the second
    found = skill.nse(prediction, truth, reduce=False)
    np.testing.assert_allclose(found, [[1 - 2 / 14, 1]])
    assert skill.nse(prediction, truth).item() == pytest.approx(1 - 1 / 14)
    assert found.attrs["units"] == "1"


def test_nse_is_that_of_the_scores_package(fields):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    expected = scores.continuous.nse(prediction, truth, reduce_dims="time")
    found = skill.nse(prediction, truth, reduce=False)
    np.testing.assert_allclose(found, expected)
    assert skill.nse(prediction, truth).item() == pytest.approx(expected.mean().item())


@pytest.mark.parametrize("method", ["2009", "2012"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_kge_and_its_parts_are_those_of_the_scores_package(fields, method, scale):
    truth, prediction = fields(9, seed=1), scale * fields(9, seed=2)
    expected = scores.continuous.kge(
        prediction, truth, reduce_dims="time", include_components=True, method=method
    )
    found = skill.kge(prediction, truth, method=method, reduce=False)
    pairs = [("kge", "kge"), ("r", "rho"), ("beta", "beta"), ("gamma", "alpha")]
    if method == "2012":
        pairs[3] = ("gamma", "gamma")
    for ours, theirs in pairs:
        np.testing.assert_allclose(found[ours], expected[theirs], rtol=1e-9, atol=1e-11)
    assert found.attrs["method"] == method
    mean = skill.kge(prediction, truth, method=method)
    assert mean.beta.item() == pytest.approx(found.beta.mean().item())


def test_kge_of_a_perfect_and_a_doubled_field(fields):
    truth = fields(9, seed=1)
    for part in skill.kge(truth, truth).values():
        assert part.item() == pytest.approx(1)
    doubled = skill.kge(2 * truth, truth, method="2009")
    # r = 1, beta = alpha = 2
    assert doubled.kge.item() == pytest.approx(1 - np.sqrt(2))


def test_gaps_are_left_out_pixel_by_pixel(fields):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    truth[:3, 0, 0] = np.nan
    prediction[5:, 0, 0] = np.nan
    truth[1:, 1, 1] = np.nan  # one day left
    truth[:, 2, 2] = np.nan
    truth[:, 3, 3] = 0.1  # constant
    found = skill.nse(prediction, truth, reduce=False)
    alone = skill.nse(prediction[3:5], truth[3:5], reduce=False)
    assert found[0, 0].item() == pytest.approx(alone[0, 0].item())
    assert np.isnan([found[1, 1], found[2, 2], found[3, 3]]).all()
    assert int(found.isnull().sum()) == 3
    parts = skill.kge(prediction, truth, reduce=False)
    for part in parts.values():
        np.testing.assert_array_equal(part.isnull(), found.isnull())
    assert skill.kge(prediction, truth).r.item() == pytest.approx(parts.r.mean().item())


def test_area_weights_of_the_mean_over_pixels(fields):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    truth[:, 1, 1] = np.nan
    each = skill.nse(prediction, truth, reduce=False)
    areas = grids.area(truth).values
    good = each.notnull().values
    expected = (each.values[good] * areas[good]).sum() / areas[good].sum()
    assert skill.nse(prediction, truth, weights=True).item() == pytest.approx(expected)
    assert abs(expected - each.mean().item()) > 1e-6


@settings(max_examples=6)
@given(
    chunk=st.integers(1, 9),
    order=st.permutations(["time", "lat", "lon"]),
    flip=st.booleans(),
    holes=st.floats(0, 0.4),
)
def test_chunks_order_and_orientation_change_nothing(fields, chunk, order, flip, holes):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    prediction = prediction.where(np.random.default_rng(0).random(prediction.shape) >= holes)
    turned = prediction.isel(lat=slice(None, None, -1)) if flip else prediction
    turned = turned.transpose(*order).chunk(time=chunk, lat=3)
    expected = skill.kge(prediction, truth, reduce=False)
    found = skill.kge(turned, truth.chunk(time=2), reduce=False).compute()
    xr.testing.assert_allclose(found.transpose("lat", "lon"), expected.transpose("lat", "lon"))
    first = float(skill.nse(turned, truth))
    assert first == pytest.approx(skill.nse(prediction, truth).item())


def test_lazy_inputs_stay_lazy_and_are_read_once(fields, computes):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    truth[:, 1, 1] = np.nan
    lazy = [da.chunk(time=2) for da in (prediction, truth)]
    both = xr.merge([skill.nse(*lazy, weights=True), skill.kge(*lazy)])
    assert computes.calls == 0
    both = both.compute()
    assert computes.calls == 1
    xr.testing.assert_allclose(both.nse, skill.nse(prediction, truth, weights=True))


def test_transformed_units(fields):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    expected = skill.nse(np.log10(prediction), np.log10(truth))
    xr.testing.assert_allclose(skill.nse(prediction, truth, transform="log10"), expected)


def test_nse_over_space_is_r2_of_each_day(fields):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    truth[3] = np.nan
    truth[4] = 0.1  # constant
    truth[5, 1:3, 2] = np.nan
    for options in ({}, {"weights": True}, {"transform": "log10"}):
        found = skill.nse(prediction, truth, over="space", reduce=False, **options)
        daily = skill.r2(prediction, truth, **options)
        np.testing.assert_array_equal(found, daily)
        mean = skill.nse(prediction, truth, over="space", **options)
        assert mean.item() == pytest.approx(daily.mean().item())
    assert (found.name, found.dims) == ("nse", ("time",))
    expected = scores.continuous.nse(prediction, truth, reduce_dims=["lat", "lon"])
    found = skill.nse(prediction, truth, over="space", reduce=False)
    kept = np.setdiff1d(np.arange(9), [3, 4])
    np.testing.assert_allclose(found[kept], expected[kept])
    assert np.isnan(found[[3, 4]]).all()


@pytest.mark.parametrize("method", ["2009", "2012"])
def test_kge_over_space_is_that_of_the_scores_package(fields, method):
    truth, prediction = fields(9, seed=1), 3 * fields(9, seed=2)
    prediction[2, 0] = np.nan
    expected = scores.continuous.kge(
        prediction, truth, reduce_dims=["lat", "lon"], include_components=True, method=method
    )
    found = skill.kge(prediction, truth, over="space", method=method, reduce=False)
    assert found.kge.dims == ("time",)
    pairs = [("kge", "kge"), ("r", "rho"), ("beta", "beta")]
    pairs.append(("gamma", "gamma" if method == "2012" else "alpha"))
    for ours, theirs in pairs:
        np.testing.assert_allclose(found[ours], expected[theirs], rtol=1e-9)
    mean = skill.kge(prediction, truth, over="space", method=method)
    assert mean.kge.item() == pytest.approx(expected.kge.mean().item())
    assert mean.attrs["method"] == method


def test_kge_over_space_by_hand():
    """A field that is doubled and raised by 1: r = 1, gamma = 2, beta = (2 m + 1) / m."""
    edges = {"time": xr.date_range("2000-01-01", periods=2), "lat": [0.0], "lon": [0.0, 1, 2]}
    truth = xr.DataArray([[[1.0, 2, 6]], [[5.0, 5, 5]]], coords=edges)
    found = skill.kge(2 * truth + 1, truth, over="space", reduce=False)
    assert found.attrs["method"] == "2009"
    first = found.isel(time=0)
    parts = [first[name].item() for name in ("r", "beta", "gamma", "kge")]
    beta = 7 / 3
    np.testing.assert_allclose(parts, [1, beta, 2, 1 - np.hypot(beta - 1, 1)])
    assert all(np.isnan(part[1]) for part in found.values())  # a constant day has none
    # weights 3, 1, 0: mean 1.25, so beta = (2 * 1.25 + 1) / 1.25
    weights = xr.DataArray([[3.0, 1, 0]], truth[0].drop_vars("time").coords)
    found = skill.kge(2 * truth + 1, truth, over="space", weights=weights, reduce=False)
    assert found.beta[0].item() == pytest.approx(2.8)
    assert found.gamma[0].item() == pytest.approx(2)


def test_over_space_lazy_records_give_the_same(fields, computes):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    prediction[1, 2, 2] = np.nan
    turned = prediction.isel(lat=slice(None, None, -1)).transpose("lon", "lat", "time")
    lazy = (turned.chunk(time=2, lat=3), truth.chunk(time=4))
    found = skill.kge(*lazy, over="space", reduce=False)
    daily = skill.nse(*lazy, over="space", reduce=False)
    assert computes.calls == 0
    xr.testing.assert_allclose(
        found.compute(), skill.kge(prediction, truth, over="space", reduce=False)
    )
    np.testing.assert_allclose(daily, skill.r2(prediction, truth))


def test_both_over_space_in_tables(fields):
    truth, prediction = fields(9, seed=1), fields(9, seed=2)
    names = ["kge_space", "nse_space", "r2", "kge"]
    daily = skill.per_day({"it": prediction}, truth, "log10", names[:3])
    kge = skill.kge(prediction, truth, over="space", reduce=False).kge
    np.testing.assert_allclose(daily.sel(score="kge_space", units="physical")[0], kge)
    assert np.isnan(daily.sel(score="kge_space", units="log10")).all()
    for unit in ("log10", "physical"):
        both = daily.sel(units=unit)
        np.testing.assert_array_equal(both.sel(score="nse_space"), both.sel(score="r2"))
    found = skill.table({"it": prediction}, truth, "log10", names, baselines=None)
    assert found.loc["it", ("physical", "kge_space")] == pytest.approx(kge.mean().item())
    over_time = skill.kge(prediction, truth).kge.item()
    assert found.loc["it", ("physical", "kge")] == pytest.approx(over_time)
    assert np.isnan(found.loc["it", ("log10", "kge_space")])
    spread = found.attrs["sd"][("physical", "kge_space")]["it"]
    assert spread == pytest.approx(kge.std(ddof=1).item())


def test_bad_input(fields):
    truth = fields()
    with pytest.raises(TimeAxisError, match="The truth has no time"):
        skill.nse(truth, truth[0].drop_vars("time"))
    with pytest.raises(TimeAxisError, match="The truth has no time"):
        skill.kge(truth, truth[0].drop_vars("time"))
    with pytest.raises(OptionError, match="Unknown method of kge: '2010'"):
        skill.kge(truth, truth, method="2010")
    for score in (skill.nse, skill.kge):
        with pytest.raises(OptionError, match=r"Unknown dimensions to score over: 'pixels'"):
            score(truth, truth, over="pixels")
    for name in ("log10", "log1p"):
        with pytest.raises(OptionError, match=rf"no sense in {name} units; give transform=None"):
            skill.kge(truth, truth, over="space", transform=name)
