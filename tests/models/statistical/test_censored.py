"""Latent values and distribution of censored records, against closed forms and SciPy's optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from weather import make_weather
from xdownscale.models.statistical import Dressing, Gaussian, Marginal, Ridge, choose_mean
from xdownscale.models.statistical.censored import (
    censored_mean,
    fill_censored,
    fit_latent,
    mean_below,
    square_below,
)


@given(mean=st.floats(-3, 3), sd=st.floats(0.1, 3), threshold=st.floats(-2, 2))
def test_moments_below_a_threshold_are_those_of_scipys_truncated_normal(mean, sd, threshold):
    below = stats.truncnorm(-np.inf, (threshold - mean) / sd, mean, sd)
    one = (np.array([mean]), np.array([sd]), threshold)
    assert mean_below(*one)[0] == pytest.approx(below.mean(), rel=1e-6, abs=1e-6)
    square = below.var() + (below.mean() - mean) ** 2
    assert square_below(*one)[0] == pytest.approx(square, rel=1e-4, abs=1e-6)
    share = stats.norm.cdf(threshold, mean, sd)
    above = stats.truncnorm((threshold - mean) / sd, np.inf, mean, sd).mean()
    expected = share * threshold + (1 - share) * above
    assert censored_mean(*one, threshold)[0] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_moments_far_from_the_threshold_are_finite():
    mean = np.array([-60.0, 60.0])
    found = mean_below(mean, np.ones(2), 0.0)
    np.testing.assert_allclose(found, [-60, -1 / 60], rtol=1e-2)
    assert (square_below(mean, np.ones(2), 0.0) > 0).all()


def test_em_finds_the_maximum_of_the_tobit_likelihood():
    rng = np.random.default_rng(0)
    latent = rng.normal(-0.4, 1.5, size=(3000, 1, 1))
    fine = np.where(latent < 0, 0.0, latent)

    def predict(values):
        return np.full(values.shape, values.mean())

    found, sd = fit_latent(predict, fine, predict(fine), 0.0, passes=150)
    wet = fine[fine > 0]

    def loss(at):
        dry = stats.norm.logcdf(0, at[0], at[1]) * (fine.size - wet.size)
        return -dry - stats.norm.logpdf(wet, at[0], at[1]).sum()

    best = optimize.minimize(loss, [0.5, 1.0], bounds=[(None, None), (0.01, None)]).x
    np.testing.assert_allclose([found.mean(), sd[0, 0]], best, atol=3e-3)
    np.testing.assert_allclose(best, [-0.4, 1.5], atol=0.1)


def test_only_censored_values_are_replaced_and_missing_ones_stay():
    fine = np.array([[[0.0, 2.0, np.nan]]])
    found = fill_censored(fine, np.array([[[1.0, 1.0, 1.0]]]), np.ones((1, 3), np.float32), 0.5)
    assert found[0, 0, 0] < 0.5
    assert found[0, 0, 1] == 2
    assert np.isnan(found[0, 0, 2])


def test_latent_regression_finds_what_was_cut():
    predictors, latent = make_weather(500)
    latent = latent - latent.mean()
    fine = np.where(latent < 0, 0.0, latent).astype(np.float32)
    plain = choose_mean(predictors, fine, ("ridge",))
    found, values = plain.on_latent(predictors, fine, 0.0)
    np.testing.assert_array_equal(values[fine > 0], fine[fine > 0])
    assert found.latent
    assert not plain.latent
    dry = latent < 0
    error = [float(np.abs(each.out_of_fold - latent)[dry].mean()) for each in (found, plain)]
    assert error[0] < 0.7 * error[1]
    assert isinstance(found.model, Ridge)


def wet(values):
    return np.mean(values > 0)


def drizzle(values):
    return np.mean((values > 0) & (values < 1))


@pytest.mark.parametrize("kind", [Dressing, Gaussian])
@pytest.mark.parametrize("latent", [False, True])
def test_members_are_as_often_dry_as_a_gaussian_that_was_cut(kind, latent):
    predictors, field = make_weather(400)
    rain = np.where(field - field.mean() < 0.3, 0.0, 2 * (field - field.mean())).astype(np.float32)
    censored = [(0.2, 0.0)]
    choice = choose_mean(predictors, rain, ("ridge",))
    fine = rain
    if latent:
        choice, fine = choice.on_latent(predictors, rain, 0.2)
    guess = choice.out_of_fold[:, None]
    model = kind.fit(guess, fine[:, None], known=rain[:, None], censored=censored)
    days = range(0, 400, 4)
    given_by = model.similar if kind is Dressing else np.asarray
    made = np.array(
        [
            [model.member(given_by(guess[day]), 1, number, 86_400 * day)[0] for day in days]
            for number in range(8)
        ]
    )
    truth = rain[::4]
    assert made.min() == 0
    assert wet(made) / wet(truth) == pytest.approx(1, abs=0.1)
    assert drizzle(made) / drizzle(truth) == pytest.approx(1, abs=0.2)
    ratio = np.quantile(made, 0.99) / np.quantile(truth, 0.99)
    # the tail of dressed members is that of residual fields, which is not mapped
    assert ratio == pytest.approx(1, abs=0.1 if kind is Gaussian else 0.15)
    means = np.array([model.mean(given_by(guess[day]))[0] for day in days])
    spread = made.std(0).mean()
    assert np.abs(made.mean(0) - means).mean() < 0.4 * spread  # 8 members
    assert abs(made.mean() - means.mean()) < 0.05 * spread


def test_a_marginal_leaves_other_targets_and_large_values_alone():
    rng = np.random.default_rng(0)
    known = np.maximum(rng.normal(size=(200, 2)), 0)
    made = 0.7 * rng.normal(size=(5, 200, 2))
    found = Marginal.fit(made, known, np.array([0, 1]), [(0.0, 0.0), None], top=0.8)
    fields = rng.normal(size=(4, 2, 3, 3)).astype(np.float32)
    out = found.apply(fields)
    np.testing.assert_array_equal(out[:, 1], fields[:, 1])
    large = np.full((1, 2, 1, 1), 7.0, np.float32)
    np.testing.assert_array_equal(found.apply(large), large)
    assert np.mean(found.apply_to(made, np.array([0, 1]))[..., 0] > 0) == pytest.approx(
        0.5, abs=0.05
    )
    assert found.apply(np.full((1, 2, 1, 1), np.nan, np.float32)).shape == (1, 2, 1, 1)


@given(seed=st.integers(0, 200), top=st.sampled_from([0.5, 0.8, 1.0]), few=st.integers(3, 200))
def test_a_marginal_keeps_the_order_of_values(seed, top, few):
    rng = np.random.default_rng(seed)
    known = np.maximum(rng.normal(size=(few, 1)), 0)
    made = rng.normal(rng.normal(), rng.uniform(0.3, 3), size=(2, few, 1))
    found = Marginal.fit(made, known, np.array([0]), [(0.0, 0.0)], top=top)
    line = np.linspace(-8, 8, 200, dtype=np.float32).reshape(1, 1, -1)
    out = found.apply(line).ravel()
    assert np.isfinite(out).all()
    assert (np.diff(out) >= -1e-5).all()


def test_the_mean_of_mapped_gaussian_values_is_the_censored_mean():
    quantiles = np.linspace(0, 5, 60)[None]
    zero = np.zeros(1)
    found = Marginal(zero, zero, quantiles, quantiles)
    mean = np.array([[[-1.0, 0.0, 0.5, 3.0]]])
    sd = np.full((1, 1, 4), 0.8)
    expected = censored_mean(mean, sd, 0.0, 0.0)
    np.testing.assert_allclose(found.expected(mean, sd), expected, atol=0.01)
