"""Events against the package `scores`, and numbers made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scores.categorical
import scores.spatial
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdownscale import skill
from xdownscale.core import grids
from xdownscale.core.errors import GridError, OptionError, TimeAxisError


def test_events_by_hand():
    coords = {"time": xr.date_range("2000-01-01", periods=2), "lat": [0.0], "lon": np.arange(4.0)}
    truth = xr.DataArray([[[5, 5, 5, 0]], [[0, 0, 0, 0]]], coords=coords).astype(float)
    drawn = truth.copy(data=[[[5, 0, 0, 5]], [[0, 5, 0, 0]]]).astype(float)
    found = skill.events(drawn, truth, [1.0, 9.0]).sel(threshold=1.0)
    assert found.hits.values.tolist() == [1, 0]
    assert found.misses.values.tolist() == [2, 0]
    assert found.false_alarms.values.tolist() == [1, 1]
    assert found.correct_negatives.values.tolist() == [0, 3]
    assert found.frequency_bias.item() == 1.0
    assert found.hit_rate.item() == pytest.approx(1 / 3)
    assert found.false_alarm_ratio.item() == pytest.approx(2 / 3)
    assert found.csi.item() == pytest.approx(1 / 5)
    np.testing.assert_allclose(found.csi_daily, [1 / 4, 0])
    np.testing.assert_allclose(found.hit_rate_daily, [1 / 3, np.nan])
    over = skill.over_days(found.hit_rate_daily)
    assert over.days.item() == 1
    assert over["mean"].item() == pytest.approx(1 / 3)
    assert np.isnan(over.sd)
    none = skill.events(drawn, truth, 9.0)
    assert np.isnan([none.frequency_bias, none.csi, none.hit_rate, none.false_alarm_ratio]).all()


def test_over_days_is_the_mean_and_spread_of_numpy(fields):
    daily = skill.rmse(fields(seed=1), fields(seed=2))
    daily[1] = np.nan
    found = skill.over_days(daily)
    assert found["mean"].item() == pytest.approx(np.nanmean(daily))
    assert found.sd.item() == pytest.approx(np.nanstd(daily, ddof=1))
    assert found.days.item() == 4
    assert found["mean"].attrs["units"] == "kg m-2"
    with pytest.raises(TimeAxisError, match="The daily score has no time"):
        skill.over_days(xr.DataArray([1.0], dims="x"))


def test_events_are_those_of_the_scores_package(fields):
    truth, drawn = fields(seed=1), fields(seed=2)
    drawn[0, 1] = np.nan
    level = 1.3
    operator = scores.categorical.ThresholdEventOperator()
    table = operator.make_contingency_manager(
        drawn.where(truth.notnull()), truth.where(drawn.notnull()), event_threshold=level
    ).transform(preserve_dims="time")
    found = skill.events(drawn, truth, level).isel(threshold=0)
    np.testing.assert_allclose(found.frequency_bias_daily, table.frequency_bias())
    np.testing.assert_allclose(found.hit_rate_daily, table.hit_rate())
    np.testing.assert_allclose(found.false_alarm_ratio_daily, table.false_alarm_ratio())
    np.testing.assert_allclose(found.csi_daily, table.critical_success_index())


def test_quantiles_are_those_of_the_truth_on_common_days(fields):
    truth, drawn = fields(8, seed=1), fields(5, seed=2)
    found = skill.events(drawn, truth, quantiles=[0.5, 0.9])
    expected = np.quantile(truth[:5].values.astype("f4"), [0.5, 0.9])
    np.testing.assert_allclose(found.threshold, expected, rtol=1e-6)
    np.testing.assert_array_equal(found["quantile"], [0.5, 0.9])
    assert found.threshold.attrs["units"] == "kg m-2"
    observed = (found.hits + found.misses).sum("time")
    np.testing.assert_array_equal(observed, [60, 12])
    xr.testing.assert_allclose(found.drop_vars("quantile"), skill.events(drawn, truth, expected))


@settings(max_examples=10)
@given(power=st.floats(0.3, 3), seed=st.integers(0, 50))
def test_a_monotone_transform_changes_no_event_score(fields, power, seed):
    truth, drawn = fields(seed=seed), fields(seed=seed + 1)
    levels = np.array([0.7, 2.0])
    bare = [
        skill.events(drawn, truth, levels),
        skill.events(drawn**power, truth**power, levels**power),
    ]
    first, second = (ds.drop_vars("threshold") for ds in bare)
    xr.testing.assert_equal(first, second)


def test_masks_members_and_weights(fields):
    truth, ensemble = fields(seed=1), fields(seed=2, members=3)
    truth[:, 2:] = np.nan
    truth[3] = np.nan
    found = skill.events(ensemble, truth, 1.0)
    assert found.csi.dims == ("threshold", "realization")
    cut = skill.events(ensemble[1, :, :2], truth[:, :2], 1.0)
    xr.testing.assert_allclose(found.isel(realization=1, drop=True), cut)
    assert np.isnan(found.hits[:, :, 3]).all()
    weighed = skill.events(ensemble, truth, 1.0, weights=True)
    four = [weighed[name] for name in ("hits", "misses", "false_alarms", "correct_negatives")]
    np.testing.assert_allclose(
        sum(four).isel(time=0, realization=0), grids.area(truth)[:2].sum().item()
    )


# fractions skill score


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_fss_is_that_of_the_scores_package(fields, size):
    truth, drawn = fields(seed=1, shape=(9, 7)), fields(seed=2, shape=(9, 7))
    found = skill.fss(drawn, truth, 1.3, windows=size)
    options = {
        "event_threshold": 1.3,
        "window_size": (size, size),
        "spatial_dims": ("lat", "lon"),
    }
    daily = scores.spatial.fss_2d(drawn, truth, **options, preserve_dims="time")
    np.testing.assert_allclose(found.fss_daily.values.ravel(), daily)
    pooled = scores.spatial.fss_2d(drawn, truth, **options)
    assert found.fss.item() == pytest.approx(float(pooled))


def test_fss_of_a_shift_grows_with_the_window_and_the_base_rate_is_that_of_the_truth():
    values = np.zeros((40, 40))
    values[:, 20:24] = 1
    truth = xr.DataArray(values, coords={"lat": np.arange(40.0), "lon": np.arange(40.0)})
    found = skill.fss(truth.roll(lon=4), truth, 0.5, windows=[1, 5, 9, 17])
    score = found.fss.values[0]
    assert score[0] == 0
    assert (np.diff(score) > 0).all()
    assert found.base_rate.item() == pytest.approx(0.1)
    assert found.useful.item() == pytest.approx(0.55)
    assert (score > 0.55).tolist() == [False, False, True, True]
    # Roberts and Lean: windows of twice the shift and more are useful
    assert skill.fss(truth, truth, 0.5, windows=3).fss.item() == 1
    assert np.isnan(skill.fss(truth, truth, 5).fss).all()


def test_fss_takes_fractions_of_valid_pixels():
    coords = {"lat": np.arange(3.0), "lon": np.arange(3.0)}
    truth = xr.DataArray([[1.0, 0, np.nan], [0, 0, 0], [np.nan, 0, 0]], coords=coords)
    drawn = xr.DataArray([[0.0, 0, 9], [0, 1, 0], [9, np.nan, 0]], coords=coords)
    found = skill.fss(drawn, truth, 0.5, windows=2)
    # fractions: drawn 1/4 1/3 1/2 1/3, truth 1/4 0 0 0 (windows of 4, 3, 2 and 3 valid pixels)
    error = 1 / 9 + 1 / 4 + 1 / 9
    assert found.fss.item() == pytest.approx(1 - error / (error + 2 / 16))
    assert found.base_rate.item() == pytest.approx(1 / 6)
    empty = truth.copy()
    empty[1:, 1:] = np.nan
    left = skill.fss(drawn, empty, 0.5, windows=2)
    assert left.fss.item() == pytest.approx(_by_hand(drawn.values, empty.values))


def _by_hand(drawn, truth):
    """FSS of 2 x 2 windows, one window after another."""
    error = reference = 0.0
    good = np.isfinite(drawn) & np.isfinite(truth)
    for y in range(2):
        for x in range(2):
            box = (slice(y, y + 2), slice(x, x + 2))
            if good[box].any():
                p, t = ((da[box][good[box]] > 0.5).mean() for da in (drawn, truth))
                error, reference = error + (p - t) ** 2, reference + p**2 + t**2
    return 1 - error / reference


# labels


@settings(max_examples=10)
@given(
    chunk=st.integers(1, 5),
    order=st.permutations(["time", "lat", "lon"]),
    flip=st.booleans(),
)
def test_chunks_order_and_orientation_change_nothing(fields, chunk, order, flip):
    truth, drawn = fields(seed=1), fields(seed=2)
    turned = drawn.isel(lat=slice(None, None, -1)) if flip else drawn
    turned = turned.transpose(*order).chunk(time=chunk, lat=2)
    found = skill.events(turned, truth.chunk(time=2), quantiles=[0.6]).compute()
    xr.testing.assert_allclose(found, skill.events(drawn, truth, quantiles=[0.6]))
    found = skill.fss(turned, truth.chunk(time=2), 1.0, windows=[1, 2]).compute()
    xr.testing.assert_allclose(found, skill.fss(drawn, truth, 1.0, windows=[1, 2]))


def test_lazy_inputs_stay_lazy_but_for_quantiles(fields, computes):
    truth, drawn = fields(seed=1).chunk(time=2), fields(seed=2).chunk(time=3)
    skill.events(drawn, truth, 1.0, weights=True)
    skill.fss(drawn, truth, 1.0)
    assert computes.calls == 0
    skill.events(drawn, truth, quantiles=0.9)
    assert computes.calls == 2  # two passes over a truth that fits in one block


def test_default_windows_fit_the_grid(fields):
    assert skill.fss(fields(), fields(), 1.0).window.values.tolist() == [1, 3]


@pytest.mark.parametrize("function", [skill.events, skill.fss])
def test_bad_levels(fields, function):
    truth = fields()
    with pytest.raises(OptionError, match="An event needs a level; no threshold given"):
        function(truth, truth)
    with pytest.raises(OptionError, match="thresholds and quantiles given"):
        function(truth, truth, [1.0], quantiles=[0.5])
    with pytest.raises(OptionError, match="between 0 and 1; 1 is not"):
        function(truth, truth, quantiles=[0.5, 1.0])
    with pytest.raises(OptionError, match="none was given"):
        function(truth, truth, quantiles=[])
    with pytest.raises(OptionError, match="there is no threshold or one is not finite"):
        function(truth, truth, [np.nan])
    with pytest.raises(OptionError, match="there is no threshold"):
        function(truth, truth, [])
    with pytest.raises(GridError, match="different grids"):
        function(fields(shape=(5, 6)), truth, 1.0)


@pytest.mark.parametrize("windows", [0, 5, [1.5], []])
def test_windows_that_do_not_fit(fields, windows):
    with pytest.raises(OptionError, match="whole pixels from 1 to 4"):
        skill.fss(fields(), fields(), 1.0, windows=windows)
