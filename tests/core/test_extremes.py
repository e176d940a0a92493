"""Threshold of dry values and 1-in-1000-years values, against closed forms of SciPy."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from xdownscale.core import extremes
from xdownscale.core.extremes import dry_threshold, largest_value, return_level


def test_a_return_level_is_the_closed_form_of_the_fitted_tail():
    excess = stats.genpareto.rvs(0.15, scale=2.0, size=15_000, random_state=1)
    shape, _, scale = stats.genpareto.fit(np.sort(excess)[::-1], floc=0)
    closed = scale / shape * ((0.05 * 36_525) ** shape - 1)
    assert return_level(excess, 0.05, 36_525) == pytest.approx(closed, rel=1e-6)
    known = stats.genpareto(0.15, scale=2.0).isf(1 / (0.05 * 36_525))
    assert closed == pytest.approx(known, rel=0.1)  # 1.8 standard errors: of the shape, 0.0094


def test_a_return_level_of_an_exponential_tail_is_logarithmic():
    excess = stats.expon.rvs(scale=3.0, size=15_000, random_state=2)
    assert return_level(excess, 0.02, 1e5) == pytest.approx(3 * np.log(2000), rel=0.06)


def test_a_tail_without_variance_is_cut_to_a_shape_of_a_half():
    excess = stats.genpareto.rvs(1.5, scale=1.0, size=5000, random_state=3)
    found = return_level(excess, 0.05, 1e6)
    assert found < stats.genpareto(1.5).isf(2e-5) / 10


def test_the_largest_value_is_that_of_the_wettest_cell():
    rng = np.random.default_rng(4)
    wetter = np.linspace(1, 3, 40).reshape(5, 8)
    rain = wetter * rng.exponential(4, size=(3000, 5, 8)) * (rng.random((3000, 5, 8)) < 0.3)
    rain[::50, 2, 2] = np.nan
    found = largest_value(rain, 0.0, 0.01, steps=365.25)
    # an exponential value of mean 12 that comes on three days in ten
    assert found == pytest.approx(12 * np.log(0.3 * 365_250), rel=0.08)


def test_too_few_values_give_twice_the_largest():
    few = np.array([0.0, 0.0, 3.0, 7.0]).reshape(4, 1, 1)
    assert largest_value(few, 0.0, 0.1, 365.25) == 14
    assert largest_value(few + 1, 1.0, 1.1, 365.25) == 15


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_the_threshold_is_half_the_smallest_amount(noise):
    rng = np.random.default_rng(5)
    amounts = np.round(rng.exponential(4, size=4000) + 0.1, 1)
    rain = np.concatenate([amounts, noise * rng.random(6000), [np.nan]])
    assert dry_threshold(rain, 0.0) == pytest.approx(0.05)


def test_records_with_few_equal_values_have_no_threshold():
    rng = np.random.default_rng(6)
    wind = rng.gamma(2, 3, size=1000)
    wind[:50] = 0
    assert dry_threshold(wind, 0.0) is None
    assert dry_threshold(np.zeros(10), 0.0) is None
    assert dry_threshold(np.full(10, np.nan), 0.0) is None


def rainy(days=400, cells=(20, 30), dtype="f4"):
    rng = np.random.default_rng(7)
    rain = rng.gamma(0.7, 6, size=(days, *cells)) * (rng.random((days, *cells)) < 0.4)
    rain[::40, 3:5] = np.nan
    rain[:, 7, 7] = np.nan
    return rain.round(1).astype(dtype)


@pytest.mark.parametrize("part", [1, 1000, 1 << 20])
def test_how_many_values_are_looked_at_at_once_changes_no_bit(part, monkeypatch):
    rain = rainy()
    good = rain[np.isfinite(rain)].astype(float)
    above = good[good > 1e-6 * good.max()]
    flat = rain.reshape(len(rain), -1).astype(float)
    wet = np.where(flat > 0.05, flat, np.nan)
    wet = wet[:, np.isfinite(wet).sum(0) >= 20]
    high = np.nanquantile(wet, 0.95, axis=0)
    excess = (wet / high)[wet / high > 1] - 1
    level = return_level(excess, excess.size / good.size, 365_250)
    monkeypatch.setattr(extremes, "_PART", part)
    assert dry_threshold(rain, 0.0) == np.quantile(above, 0.001) / 2
    assert largest_value(rain, 0.0, 0.05, 365.25) == (1 + level) * high.max()


def test_no_copy_of_a_large_record_is_made():
    rain = rainy(days=2000, cells=(60, 80))
    wind = rain + np.float32(3)
    wind += np.arange(wind.size, dtype="f4").reshape(wind.shape) / wind.size
    tracemalloc.start()
    for threshold, field in ((None, wind), (0.05, rain)):
        tracemalloc.reset_peak()
        if threshold is None:
            assert dry_threshold(field, float(np.nanmin(field))) is None
        else:
            largest_value(field, 0.0, threshold, 365.25)
        assert tracemalloc.get_traced_memory()[1] < 6e7  # as float64 the record is 77 MB
    tracemalloc.stop()
