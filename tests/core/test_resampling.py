"""Block bootstrap against analytic standard errors."""

from __future__ import annotations

import numpy as np
import pytest

from xdownscale.core.resampling import block_length, ratio_with_error, resampled_means


def ar1(rho, count, repeats, seed=0):
    """Series of variance 1, (repeats, count)."""
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(repeats, count))
    for step in range(1, count):
        out[:, step] = rho * out[:, step - 1] + np.sqrt(1 - rho**2) * out[:, step]
    return out


def errors_of(series, sd=0.1):
    """Standard errors of the ratio of ``1 + sd x`` to a constant 1."""
    ones = np.ones(series.shape[1])
    return [ratio_with_error(1 + sd * x, ones, draws=300, seed=k)[1] for k, x in enumerate(series)]


def test_the_error_of_white_noise_is_that_of_a_mean():
    found = np.mean(errors_of(ar1(0.0, 200, 60)))
    assert found == pytest.approx(0.1 / np.sqrt(200), rel=0.05)


@pytest.mark.parametrize("rho", [0.5, 0.7])
def test_autocorrelation_inflates_the_error_as_theory_says(rho):
    count = 600
    found = np.mean(errors_of(ar1(rho, count, 40)))
    lags = np.arange(1, count)
    inflation = 1 + 2 * np.sum((1 - lags / count) * rho**lags)
    assert found == pytest.approx(0.1 * np.sqrt(inflation / count), rel=0.13)
    assert found > 1.4 * 0.1 / np.sqrt(count)


def test_the_error_of_a_ratio_is_that_of_the_delta_method():
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(60, 150))
    above = 2 + 0.3 * shared + 0.1 * rng.normal(size=shared.shape)
    below = 4 + 0.6 * shared + 0.2 * rng.normal(size=shared.shape)
    found = [ratio_with_error(a, b, draws=300) for a, b in zip(above, below, strict=True)]
    ratio, error = np.mean(found, axis=0)
    # what both share cancels: 0.1 and 0.5 x 0.2, over the mean of 4
    expected = np.hypot(0.1, 0.1) / 4 / np.sqrt(150)
    assert ratio == pytest.approx(0.5, rel=0.01)
    assert error == pytest.approx(expected, rel=0.1)
    assert np.std([r for r, _ in found]) == pytest.approx(error, rel=0.25)


def test_blocks_are_as_long_as_the_autocorrelation_asks():
    assert block_length(ar1(0.0, 1000, 1)[0]) == 5
    r = 0.8
    expected = (6 * r**2 * 1000 / (1 - r**2) ** 2) ** (1 / 3)
    lengths = [block_length(x) for x in ar1(r, 1000, 20)]
    assert np.mean(lengths) == pytest.approx(expected, rel=0.15)
    assert block_length(np.arange(20.0)) == 5  # a quarter of the series at most
    assert block_length(np.ones(3)) == 1


def test_days_that_one_series_lacks_are_left_out():
    rng = np.random.default_rng(2)
    above = rng.uniform(1, 2, 40)
    below = rng.uniform(1, 2, 40)
    holed = above.copy()
    holed[[3, 20]] = np.nan
    keep = np.isfinite(holed)
    assert ratio_with_error(holed, below) == ratio_with_error(above[keep], below[keep])
    assert np.isnan(ratio_with_error(np.full(5, np.nan), np.ones(5))).all()
    assert np.isnan(ratio_with_error(np.ones(5), np.zeros(5))).all()
    ratio, error = ratio_with_error(np.ones(3), np.ones(3))
    assert (ratio, np.isnan(error)) == (1.0, True)


def test_the_seed_alone_chooses_the_blocks():
    series = np.random.default_rng(0).normal(size=(50, 2))
    one = resampled_means(series, 50, 20, 7, 5)
    np.testing.assert_array_equal(one, resampled_means(series, 50, 20, 7, 5))
    assert not np.array_equal(one, resampled_means(series, 50, 20, 8, 5))
