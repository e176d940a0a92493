"""Quantile maps undo known distortions, keep order, and leave what fits alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xdownscale.core.errors import DataError
from xdownscale.preprocessing.quantile_mapping import QuantileMap, fit_map, seasons
from xdownscale.splits import SEASONS, season_of

MONTHS = np.repeat(np.tile(np.arange(1, 13), 4), 30)  # four years of months of 30 days


def record(seed=0, shape=(4, 5)):
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(MONTHS.size) / 360)[:, None, None]
    return wave + rng.normal(size=(MONTHS.size, *shape))


@pytest.mark.parametrize(
    "distort",
    [lambda x: 3 * x + 7, lambda x: np.exp(x / 3), lambda x: x**3],
    ids=["affine", "exponential", "cubic"],
)
def test_a_known_distortion_is_undone(distort):
    truth = record()
    moved = fit_map(distort(truth), truth, MONTHS, MONTHS).apply(distort(truth), MONTHS)
    # quantiles are a hundredth apart: inside that the map is linear
    assert np.abs(moved - truth).mean() < 0.02
    assert np.corrcoef(moved.ravel(), truth.ravel())[0, 1] > 0.999


def test_records_of_one_climate_are_left_alone():
    one, other = record(0), record(1)
    moved = fit_map(one, other, MONTHS, MONTHS).apply(one, MONTHS)
    assert np.abs(moved - one).mean() < 0.15
    same = fit_map(one, one, MONTHS, MONTHS).apply(one, MONTHS)
    np.testing.assert_allclose(same, one, atol=1e-12)


def test_each_season_has_its_own_map():
    truth = record()
    season = seasons(MONTHS)
    model = truth + np.array([0.0, 10, 20, 30])[season][:, None, None]
    moved = fit_map(model, truth, MONTHS, MONTHS).apply(model, MONTHS)
    for number in range(4):
        days = season == number
        assert moved[days].mean() == pytest.approx(truth[days].mean(), abs=1e-6)


def test_seasons_are_those_of_splits():
    times = np.array([f"2001-{month:02d}-15" for month in range(1, 13)], "M8[ns]")
    expected = [SEASONS.index(name) for name in season_of(times)]
    assert seasons(np.arange(1, 13)).tolist() == expected


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_order_is_kept_and_tails_are_shifted(seed):
    source, target = record(seed, (2, 2)), 2 * record(seed + 1, (2, 2)) + 1
    fitted = fit_map(source, target, MONTHS, MONTHS)
    values = np.sort(np.random.default_rng(seed).normal(0, 3, 50))[:, None, None] * np.ones((2, 2))
    months = np.full(50, 7)
    moved = fitted.apply(values, months)
    assert (np.diff(moved, axis=0) >= -1e-12).all()
    far = fitted.apply(np.full((2, 2, 2), 100.0) + np.arange(2)[:, None, None], np.array([7, 7]))
    np.testing.assert_allclose(far[1] - far[0], 1)


def test_gaps_stay_and_say_nothing():
    truth = record()
    holed = np.where(np.random.default_rng(2).random(truth.shape) < 0.1, np.nan, truth)
    holed[:, 0, 0] = np.nan
    fitted = fit_map(2 * holed, holed, MONTHS, MONTHS)
    moved = fitted.apply(2 * holed, MONTHS)
    np.testing.assert_array_equal(np.isnan(moved), np.isnan(holed))
    inner = ~np.isnan(holed)
    assert np.abs(moved - holed)[inner].mean() < 0.02
    kept = fitted.apply(np.ones((1, 4, 5)), np.array([5]))
    assert kept[0, 0, 0] == 1  # no quantiles there


def test_a_season_that_one_record_lacks_is_mapped_as_the_seasons_of_both():
    truth = record()
    truth += np.array([0.0, 10, 20, 30])[seasons(MONTHS)][:, None, None]
    summer = seasons(MONTHS) == 2
    short = fit_map(truth + 2, truth[summer], MONTHS, MONTHS[summer])
    np.testing.assert_allclose(short.apply(truth + 2, MONTHS), truth, atol=1e-9)
    long = fit_map(truth[~summer] + 2, truth, MONTHS[~summer], MONTHS)
    np.testing.assert_allclose(long.apply(truth + 2, MONTHS)[summer], truth[summer], atol=1e-9)


def test_records_without_a_season_in_common_are_mapped_as_they_are():
    truth = record()
    summer, winter = (seasons(MONTHS) == number for number in (2, 0))
    fitted = fit_map(truth[winter] + 50, truth[summer], MONTHS[winter], MONTHS[summer])
    moved = fitted.apply(truth[winter] + 50, MONTHS[winter])
    assert moved.mean() == pytest.approx(truth[summer].mean(), abs=0.05)


def rain(dry, seed):
    rng = np.random.default_rng(seed)
    amounts = rng.exponential(size=(MONTHS.size, 3, 3))
    return np.where(rng.random(amounts.shape) < dry, 0.0, amounts)


@pytest.mark.parametrize(("dry", "wanted"), [(0.6, 0.6), (0.6, 0.4), (0.4, 0.6), (0.9, 0.1)])
def test_many_equal_values_do_not_all_become_the_largest_of_their_quantiles(dry, wanted):
    source, target = rain(dry, 0), rain(wanted, 1)
    moved = fit_map(source, target, MONTHS, MONTHS).apply(source, MONTHS)
    assert moved.mean() == pytest.approx(target.mean(), rel=0.03)
    assert moved.min() >= 0
    if dry <= wanted:
        assert (moved < 0.02).mean() == pytest.approx(wanted, abs=0.03)
    order = np.argsort(source[:, 0, 0], kind="stable")
    winter = order[seasons(MONTHS)[order] == 0]
    assert (np.diff(moved[winter, 0, 0]) >= 0).all()


def test_a_constant_record_takes_the_mean():
    target = record()
    fitted = fit_map(np.full_like(target, 5.0), target, MONTHS, MONTHS)
    moved = fitted.apply(np.full((1, 4, 5), 5.0), np.array([7]))
    np.testing.assert_allclose(moved[0], target[seasons(MONTHS) == 2].mean(), atol=0.1)


def test_maps_are_saved_as_arrays():
    fitted = fit_map(record(0), record(1), MONTHS, MONTHS, quantiles=11)
    again = QuantileMap.from_arrays(fitted.to_arrays())
    np.testing.assert_array_equal(again.source, fitted.source)
    np.testing.assert_array_equal(again.target, fitted.target)


def test_other_grids_are_refused():
    with pytest.raises(DataError, match=r"have \(4, 5\) and \(3, 3\) cells"):
        fit_map(record(), record(shape=(3, 3)), MONTHS, MONTHS)
