"""Scores against hand-computed numbers, scipy, scoringrules and the package `scores`."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import scoringrules
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from records import random_field
from xdownscale import skill
from xdownscale.core.errors import DataError, GridError, OptionError, TimeAxisError
from xdownscale.core.normalization import Scaling
from xdownscale.skill import _kernels

FUNCTIONS = [skill.r2, skill.pearson_r2, skill.rmse, skill.mae, skill.bias, skill.crps]


# arithmetic


def test_scores_of_four_pixels_by_hand():
    truth = xr.DataArray([[1.0, 2.0], [3.0, 6.0]], coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]})
    prediction = truth.copy(data=[[2.0, 2.0], [2.0, 6.0]])
    # errors 1, 0, -1, 0; truth has mean 3 and SST 4 + 1 + 0 + 9 = 14
    assert skill.r2(prediction, truth).item() == pytest.approx(1 - 2 / 14)
    assert skill.rmse(prediction, truth).item() == pytest.approx(np.sqrt(0.5))
    assert skill.mae(prediction, truth).item() == pytest.approx(0.5)
    assert skill.bias(prediction + 1, truth).item() == pytest.approx(1.0)
    # prediction has mean 3: anomalies -1 -1 -1 3 and -2 -1 0 3: covariance 12, 12 and 14
    assert skill.pearson_r2(prediction, truth).item() == pytest.approx(12**2 / (12 * 14))
    assert skill.crps(prediction, truth).item() == pytest.approx(0.5)


def test_scores_agree_with_scipy_and_the_scores_package():
    import scores.continuous

    truth, prediction = random_field(seed=1), random_field(seed=2)
    dims = ["lat", "lon"]
    np.testing.assert_allclose(
        skill.rmse(prediction, truth),
        scores.continuous.rmse(prediction, truth, reduce_dims=dims),
    )
    np.testing.assert_allclose(
        skill.mae(prediction, truth), scores.continuous.mae(prediction, truth, reduce_dims=dims)
    )
    expected = [
        stats.pearsonr(prediction[day].values.ravel(), truth[day].values.ravel()).statistic ** 2
        for day in range(5)
    ]
    np.testing.assert_allclose(skill.pearson_r2(prediction, truth), expected)


@pytest.mark.parametrize("members", [2, 3, 8])
def test_crps_is_the_fair_crps_of_scoringrules(members):
    truth, ensemble = random_field(seed=1), random_field(seed=2, members=members)
    expected = scoringrules.crps_ensemble(
        truth.values, ensemble.values, m_axis=0, estimator="fair"
    ).mean(axis=(1, 2))
    for order in (..., ("lat", "time", "realization", "lon")):
        turned = ensemble if order is ... else ensemble.transpose(*order)
        np.testing.assert_allclose(skill.crps(turned, truth), expected)


def test_crps_of_one_realization_is_the_mean_absolute_error():
    truth, one = random_field(seed=1), random_field(seed=2, members=1)
    np.testing.assert_allclose(skill.crps(one, truth), skill.mae(one[0], truth))
    np.testing.assert_allclose(skill.crps(one[0], truth), skill.mae(one[0], truth))


def test_r2_of_a_calibrated_realization_is_twice_that_of_the_mean_minus_one():
    rng = np.random.default_rng(3)
    like = random_field(1, shape=(200, 300))
    signal, noise, other = (like.copy(data=rng.normal(size=like.shape)) for _ in range(3))
    truth = signal + 0.5 * noise
    of_mean = skill.r2(signal, truth).item()
    of_one = skill.r2(signal + 0.5 * other, truth).item()
    assert of_mean == pytest.approx(0.8, abs=0.01)
    assert of_one == pytest.approx(2 * of_mean - 1, abs=0.02)


@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5), seed=st.integers(0, 99))
def test_what_scores_do_not_see(scale, shift, seed):
    truth, prediction = random_field(seed=seed), random_field(seed=seed + 1)
    turned = scale * prediction + shift
    kept = skill.pearson_r2(prediction, truth)
    np.testing.assert_allclose(skill.pearson_r2(turned, truth), kept, rtol=1e-6)
    both = skill.r2(turned, scale * truth + shift)
    np.testing.assert_allclose(both, skill.r2(prediction, truth), rtol=1e-6)
    assert (skill.r2(prediction, truth) <= kept + 1e-12).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nan_pixels_are_left_out(function):
    truth, prediction = random_field(seed=1), random_field(seed=2)
    truth[:, :, 0] = np.nan
    prediction[:, 0, :] = np.nan
    expected = function(prediction[:, 1:, 1:], truth[:, 1:, 1:])
    np.testing.assert_allclose(function(prediction, truth), expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_day_with_one_pixel_scores_nan(function):
    truth, prediction = random_field(seed=1), random_field(seed=2)
    truth[2] = np.nan
    truth[2, 1, 1] = 1.0
    truth[3] = np.nan
    found = function(prediction, truth)
    assert np.isnan(found).values.tolist() == [False, False, True, True, False]


def test_a_constant_truth_has_no_r2():
    truth = xr.full_like(random_field(), 0.1)
    prediction = random_field(seed=2)
    assert np.isnan(skill.r2(prediction, truth)).all()
    assert np.isnan(skill.pearson_r2(truth, prediction)).all()
    assert np.isfinite(skill.r2(truth, prediction)).all()


# labels


@pytest.mark.parametrize("function", FUNCTIONS)
def test_names_order_and_orientation_do_not_matter(function):
    truth, prediction = random_field(seed=1), random_field(seed=2)
    expected = function(prediction, truth)
    assert expected.dims == ("time",)
    assert expected.name == function.__name__
    turned = prediction.isel(lat=slice(None, None, -1), time=[3, 0, 1, 2, 4])
    turned = turned.rename(lat="latitude", time="day").transpose("lon", "day", "latitude")
    xr.testing.assert_allclose(function(turned, truth), expected)
    assert function(turned.astype("f4"), truth).dtype == np.float64


@pytest.mark.parametrize("function", FUNCTIONS)
def test_longitude_conventions_do_not_matter(function):
    """Finding of a review: 0 to 360 against -180 to 180 was refused."""
    truth, prediction = (
        random_field(seed=s).assign_coords(lon=np.arange(-3.0, 3.0)) for s in (1, 2)
    )
    expected = function(prediction, truth)
    turned = prediction.assign_coords(lon=prediction.lon % 360)
    xr.testing.assert_identical(function(turned, truth), expected)
    xr.testing.assert_identical(function(turned.sortby("lon"), truth), expected)
    by_area = function(prediction, truth, weights=True)
    xr.testing.assert_identical(function(turned, truth, weights=True), by_area)
    of_truth = function(prediction, truth.assign_coords(lon=turned.lon).sortby("lon"))
    xr.testing.assert_allclose(of_truth, expected)


def test_daily_means_are_not_scored_against_instants():
    """Finding of a review: they met the instants of 00 UTC in silence."""
    daily = random_field(6)
    hours = daily.resample(time="6h").ffill()
    for p, t in [(hours, daily), (daily, hours)]:
        with pytest.raises(TimeAxisError, match=r'time step of .* \.resample\(time="1D"\)\.mean'):
            skill.rmse(p, t)
        with pytest.raises(TimeAxisError, match=r"The truth has a time step of .* and 'a' one of"):
            skill.table({"a": p}, t)
    assert skill.rmse(daily.isel(time=[0, 2, 5]), daily).sizes["time"] == 3
    means = hours.resample(time="1D").mean()
    assert skill.rmse(means, daily).max() < 1e-12


def all_scores(p, ensemble, t):
    """Every score of one pair of records, as one list of numbers."""
    found = [function(p, t) for function in [*FUNCTIONS, skill.nse]]
    found += [*skill.kge(p, t).values(), *skill.spread_skill(ensemble, t).values()]
    found += [skill.crps(ensemble, t), skill.rank_histogram(ensemble, t).frequency]
    found += [*skill.events(p, t, [1.0]).values(), *skill.fss(p, t, [1.0], [1, 3]).values()]
    found += [skill.events(p, t, quantiles=[0.5]).csi, skill.r2(p, t, transform="log10")]
    table = skill.table({"p": p, "e": ensemble}, t, scores=["r2", "crps", "kge", "spread_skill"])
    return np.concatenate([np.ravel(da) for da in [*found, table.to_numpy()]])


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("lazy", [False, True])
def test_infinities_are_missing_in_every_score(value, lazy):
    """Finding of a review: they came out as NaN, inf or a number, by score."""
    truth, prediction, ensemble = (
        random_field(8, seed=1),
        random_field(8, seed=2),
        random_field(8, seed=3, members=3),
    )
    answers = []
    for gap in (np.nan, value):
        t, p, e = (da.copy(deep=True) for da in (truth, prediction, ensemble))
        t[2, 1, 1], p[4, 0, 3], e[1, 6, 2, 2] = gap, gap, gap
        given = [da.chunk(time=3) if lazy else da for da in (p, e, t)]
        answers.append(all_scores(*given))
    np.testing.assert_array_equal(answers[1], answers[0])
    assert not np.isinf(answers[0]).any()
    assert np.isfinite(answers[0]).mean() > 0.8


def test_infinite_weights_are_refused():
    truth = random_field()
    weights = xr.ones_like(truth[0].drop_vars("time")).where(truth.lon > 0, np.inf)
    with pytest.raises(OptionError, match=r"weights run from 1\.0 to inf; give finite weights"):
        skill.mae(truth, truth, weights=weights)


@pytest.mark.parametrize("function", [*FUNCTIONS, skill.nse, skill.kge])
def test_area_weights_of_a_curvilinear_grid_are_cosines(function):
    """Finding of a review: weights=True raised."""
    truth, prediction = random_field(seed=1), random_field(seed=2)
    lat, lon = np.meshgrid([0.0, 30.0, 45.0, 60.0], np.arange(6.0), indexing="ij")
    coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon), "time": truth.time}
    p, t = (
        xr.DataArray(da.values, dims=("time", "y", "x"), coords=coords)
        for da in (prediction, truth)
    )
    cosines = xr.DataArray(np.cos(np.deg2rad(lat)), dims=("y", "x"), coords=t[0].coords)
    xr.testing.assert_allclose(function(p, t, weights=True), function(p, t, weights=cosines))


def test_only_common_days_are_scored():
    truth, prediction = random_field(6), random_field(4, "2000-01-04", seed=2)
    found = skill.mae(prediction, truth)
    np.testing.assert_array_equal(found.time, truth.time[3:])
    expected = np.abs(prediction.values[:3] - truth.values[3:]).mean(axis=(1, 2))
    np.testing.assert_allclose(found, expected)
    noon = prediction.assign_coords(time=prediction.time + np.timedelta64(12, "h"))
    np.testing.assert_allclose(skill.mae(noon, truth), expected)


def test_realizations_are_kept_by_the_functions():
    truth, ensemble = random_field(seed=1), random_field(seed=2, members=3)
    found = skill.rmse(ensemble, truth)
    assert set(found.dims) == {"realization", "time"}
    expected = skill.rmse(ensemble[1], truth)
    np.testing.assert_allclose(found.isel(realization=1), expected)


def test_fields_without_time_are_scored_too():
    truth, prediction = (
        random_field(seed=1)[0].drop_vars("time"),
        random_field(seed=2)[0].drop_vars("time"),
    )
    assert skill.mae(prediction, truth).item() == pytest.approx(
        np.abs(prediction - truth).mean().item()
    )


def test_curvilinear_grids_are_compared_point_by_point():
    lat, lon = np.meshgrid(np.arange(4.0), np.arange(6.0), indexing="ij")
    coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    truth = xr.DataArray(random_field(seed=1)[0].values, dims=("y", "x"), coords=coords)
    assert skill.mae(truth + 1, truth).item() == pytest.approx(1)
    # the same cells in another order are the same grid, and are compared cell by cell
    assert skill.mae(truth.isel(y=slice(None, None, -1)), truth).item() == 0
    with pytest.raises(GridError, match="different grids"):
        skill.mae(truth.assign_coords(lat=truth.lat + 0.3), truth)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lazy_inputs_stay_lazy(function):
    truth, ensemble = random_field(seed=1), random_field(seed=2, members=3)

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        lazy = function(ensemble.chunk(time=2, lat=2, realization=1), truth.chunk(time=1))
    xr.testing.assert_allclose(lazy.compute(scheduler="sync"), function(ensemble, truth))


# the table


@pytest.fixture
def three():
    truth = random_field(6, seed=1)
    mild = truth * random_field(6, seed=2) ** 0.3
    ensemble = truth * random_field(6, seed=3, members=4) ** 0.3
    shifted = mild.shift(time=1)  # no first day
    return {"bicubic": mild, "paper": ensemble, "persistence": shifted}, truth


def test_the_table_has_both_units_and_two_rows_for_an_ensemble(three):
    predictions, truth = three
    found = skill.table(predictions, truth)
    rows = ["bicubic", "paper (mean of 4)", "paper (one realization)", "persistence"]
    assert list(found.index) == rows
    four = ["r2", "pearson_r2", "rmse", "mae"]
    assert list(found.columns) == [(u, s) for u in ("log10", "physical") for s in four]
    assert found.attrs["days"] == 6
    assert found.attrs["days_scored"] == dict(zip(rows, [6, 6, 6, 5], strict=True))
    ensemble, logs = predictions["paper"], np.log10(predictions["paper"])
    first = ensemble.isel(realization=0)
    expected = {
        ("physical", "paper (mean of 4)"): skill.r2(ensemble.mean("realization"), truth),
        ("physical", "paper (one realization)"): skill.r2(first, truth),
        ("log10", "paper (mean of 4)"): skill.r2(logs.mean("realization"), np.log10(truth)),
        ("log10", "paper (one realization)"): skill.r2(np.log10(first), np.log10(truth)),
        ("log10", "bicubic"): skill.r2(np.log10(predictions["bicubic"]), np.log10(truth)),
    }
    for (unit, row), daily in expected.items():
        assert found.loc[row, (unit, "r2")] == pytest.approx(daily.mean().item())
        assert found.attrs["sd"][unit, "r2"][row] == pytest.approx(daily.std(ddof=1).item())


def test_one_realization_makes_one_row_equal_to_the_field(three):
    _, truth = three
    one = random_field(6, seed=4, members=1)
    found = skill.table({"a": one, "b": one[0]}, truth, baselines=None)
    assert list(found.index) == ["a (one realization)", "b"]
    np.testing.assert_array_equal(found.iloc[0], found.iloc[1])


def test_rows_are_scored_on_the_days_common_to_all(three):
    predictions, truth = three
    late = {**predictions, "late": random_field(9, "2000-01-03", seed=7)}
    found = skill.table(late, truth)
    assert found.attrs["days"] == 4
    alone = skill.table(predictions, truth.isel(time=slice(2, None)))
    pd.testing.assert_frame_equal(found.drop("late"), alone, check_names=False)
    daily = skill.per_day(late, truth)
    np.testing.assert_array_equal(daily.time, truth.time[2:])


@pytest.mark.parametrize("transform", [None, "identity", Scaling()])
def test_without_a_transform_there_are_physical_units_alone(three, transform):
    predictions, truth = three
    found = skill.table(predictions, truth - 5, transform, scores=["mae", "bias"])
    assert list(found.columns) == [("physical", "mae"), ("physical", "bias")]
    daily = skill.mae(predictions["bicubic"], truth - 5)
    assert found.loc["bicubic", ("physical", "mae")] == pytest.approx(daily.mean().item())


def test_a_scaling_with_a_floor_allows_zeros(three):
    predictions, truth = three
    truth[0, 0, 0] = 0
    with pytest.raises(DataError, match="'truth' cannot be scored in log10 units: 1 of 144"):
        skill.table(predictions, truth, "log10")
    with pytest.raises(DataError, match=r"'low' cannot be scored .* transform='identity'"):
        skill.table({"low": truth - 1}, abs(truth) + 1, "log10")
    space = Scaling(transform="log10", floor=0.01, center=3.0, spread=2.0)
    found = skill.table(predictions, truth, space)
    raised = [np.log10(da.clip(min=0.01)) for da in (predictions["bicubic"], truth)]
    expected = skill.rmse(*raised).mean().item()
    assert found.loc["bicubic", ("log10", "rmse")] == pytest.approx(expected)


def test_blocks_of_days_and_lazy_inputs_change_nothing(three, monkeypatch):
    predictions, truth = three
    whole = skill.table(predictions, truth)
    monkeypatch.setattr("xdownscale.skill._table._BLOCK", 4 * 24 * 2)
    pd.testing.assert_frame_equal(skill.table(predictions, truth), whole)
    lazy = {name: p.chunk(time=1) for name, p in predictions.items()}
    pd.testing.assert_frame_equal(skill.table(lazy, truth.chunk(time=2)), whole)


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_cftime_calendars(calendar):
    truth = random_field(5, "2000-02-27", calendar=calendar)
    found = skill.table({"a": truth.isel(time=[1, 2])}, truth)
    assert found.attrs["days"] == 2
    assert found.loc["a", ("log10", "rmse")] == 0


def test_inputs_are_left_alone(three):
    predictions, truth = three
    before = {name: p.copy(deep=True) for name, p in predictions.items()}, truth.copy(deep=True)
    skill.table(predictions, truth)
    for name, p in predictions.items():
        xr.testing.assert_identical(p, before[0][name])
    xr.testing.assert_identical(truth, before[1])


def test_texts(three):
    predictions, truth = three
    found = skill.table(predictions, truth, scores=["mae"], baselines=None)
    texts = skill.format_table(found, digits=2)
    mean = found.loc["bicubic", ("log10", "mae")]
    sd = found.attrs["sd"]["log10", "mae"]["bicubic"]
    assert texts.loc["bicubic", ("log10", "mae")] == f"{mean:.2g} ({sd:.2g})"
    lines = skill.to_markdown(texts).splitlines()
    assert lines[0] == "| method | log10 mae | physical mae |"
    assert lines[1] == "|---|---|---|"
    assert lines[2].startswith(f"| bicubic | {mean:.2g} ({sd:.2g}) |")
    assert len(lines) == 2 + len(found)
    plain = pd.DataFrame({"n": [3], "x": [np.nan]}, index=["a"])
    assert skill.to_markdown(plain).splitlines()[2] == "| a | 3 | nan |"
    assert skill.format_table(plain).loc["a", "x"] == "nan"


# bad input


def test_other_grids_are_refused():
    truth = random_field()
    with pytest.raises(GridError, match="'prediction' and the truth are on different grids"):
        skill.mae(random_field(shape=(5, 6)), truth)
    with pytest.raises(GridError, match="'a' and the truth are on different grids"):
        skill.table({"a": truth.assign_coords(lon=truth.lon + 1)}, truth)
    extra = truth.expand_dims(height=2)
    with pytest.raises(GridError, match=r"'a' has the further dimensions \['height'\]"):
        skill.table({"a": extra}, truth)
    with pytest.raises(GridError, match="'truth' has the further dimensions"):
        skill.table({"a": truth}, truth.expand_dims(realization=2))


def test_other_times_are_refused():
    truth = random_field()
    with pytest.raises(TimeAxisError, match="No day is common to all: 'truth' runs from 2000-01"):
        skill.table({"a": random_field(start="2001-01-01")}, truth)
    with pytest.raises(TimeAxisError, match="'a' has duplicate times, 2000-01-01"):
        skill.table({"a": truth.isel(time=[0, 0])}, truth)
    with pytest.raises(TimeAxisError, match="Prediction 'a' has no time"):
        skill.table({"a": truth[0].drop_vars("time")}, truth)
    with pytest.raises(TimeAxisError, match="unlike 'prediction', has no time"):
        skill.mae(truth, truth[0].drop_vars("time"))
    with pytest.raises(TimeAxisError, match="The truth has no time"):
        skill.table({"a": truth}, truth[0].drop_vars("time"))
    with pytest.raises(TimeAxisError, match="calendars of the truth and 'a' differ"):
        skill.table({"a": random_field(calendar="noleap")}, truth)


def test_unknown_options_are_refused(three):
    predictions, truth = three
    with pytest.raises(OptionError, match="Did you mean 'pearson_r2'"):
        skill.table(predictions, truth, scores=["pearson"])
    with pytest.raises(OptionError, match="Unknown transform: 'ln'"):
        skill.table(predictions, truth, "ln")
    with pytest.raises(OptionError, match="no prediction to score"):
        skill.table({}, truth)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 20, 33, 64, 65])
def test_crps_of_any_number_of_members_is_the_sum_over_their_pairs(count):
    rng = np.random.default_rng(count)
    members, truth = rng.normal(size=(count, 3, 4)).round(1), rng.normal(size=(3, 4))
    apart = np.abs(members[:, None] - members[None]).sum((0, 1)) / (2 * count * (count - 1))
    expected = (np.abs(members - truth).mean(0) - apart).mean()
    assert _kernels.crps(members, truth) == pytest.approx(expected, rel=1e-12)
