"""Dressing, Gaussian noise and analogues."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from weather import make_weather
from xdownscale.core.errors import DataError, ModelFormatError
from xdownscale.models.diffusion import spectra
from xdownscale.models.statistical import (
    Analogues,
    Dressing,
    Gaussian,
    Ridge,
    cross_predict,
    fair_crps,
)
from xdownscale.models.statistical.ensembles import (
    Components,
    filled_along_time,
    keyed_choice,
    lower_bounds,
    nearest,
)
from xdownscale.skill import crps


@pytest.fixture(scope="module")
def dressed():
    predictors, fine = make_weather(90)
    out_of_fold = cross_predict(Ridge.fit, predictors, fine)[:, None]
    return predictors, fine[:, None], out_of_fold


def test_fair_crps_is_that_of_skill():
    rng = np.random.default_rng(0)
    members = rng.normal(size=(5, 6, 4, 3))
    truth = rng.normal(size=(6, 4, 3))
    dims = ("time", "lat", "lon")
    coords = {"time": np.arange(6).astype("M8[D]"), "lat": np.arange(4.0), "lon": np.arange(3.0)}
    labelled = xr.DataArray(truth, coords, dims)
    ensemble = xr.DataArray(members, coords, ("realization", *dims))
    expected = float(crps(ensemble, labelled).mean())
    assert fair_crps(members, truth) == pytest.approx(expected, rel=1e-9)


def test_components_are_the_leading_singular_vectors():
    x = np.random.default_rng(0).normal(size=(30, 80)) @ np.diag(np.linspace(3, 0.1, 80))
    left, values, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    for part in (x, x[:, :10]):
        left, values, _ = np.linalg.svd(part - part.mean(0), full_matrices=False)
        scores = Components.fit(part, 4).scores(part)
        np.testing.assert_allclose(np.abs(scores), np.abs(left * values)[:, :4], atol=1e-4)
    whitened = Components.fit(x, 4, whiten=True).scores(x)
    np.testing.assert_allclose(whitened.std(0), 1, atol=1e-4)


def test_each_of_the_neighbours_comes_once_before_any_comes_twice():
    for key in range(20):
        first = [keyed_choice(6, 3, member, key) for member in range(6)]
        second = [keyed_choice(6, 3, member, key) for member in range(6, 12)]
        assert sorted(first) == sorted(second) == list(range(6))
    chosen = [keyed_choice(6, 3, 0, key) for key in range(1200)]
    assert np.bincount(chosen, minlength=6).min() > 150  # of 200 expected


def test_missing_values_come_from_the_nearest_time_step():
    fields = np.array([[np.nan, np.nan], [2.0, np.nan], [np.nan, np.nan], [4.0, np.nan]])
    np.testing.assert_array_equal(filled_along_time(fields), [[2, 0], [2, 0], [2, 0], [4, 0]])


def test_a_bound_is_found_where_many_values_equal_the_smallest():
    rng = np.random.default_rng(0)
    rain = np.maximum(rng.normal(size=(50, 4, 4)), 0)
    wind = rng.normal(size=(50, 4, 4))
    constant = np.ones((50, 4, 4))
    found = lower_bounds(np.stack([rain, wind, constant], axis=1))
    np.testing.assert_array_equal(found, [0, -np.inf, -np.inf])


def test_a_dressed_member_is_the_mean_plus_the_residual_of_a_similar_time(dressed):
    _, fine, out_of_fold = dressed
    model = Dressing.fit(out_of_fold, fine, neighbours=7)
    mean = out_of_fold[40]
    given = model.similar(mean)
    members = [model.member(given, 1, number, 40) for number in range(7)]
    near = given.near
    assert near[0] == 40
    residuals = (fine - out_of_fold)[near]
    found = sorted(float((member - mean)[0, 0, 0]) for member in members)
    np.testing.assert_allclose(found, np.sort(residuals[:, 0, 0, 0]), atol=1e-5)


def test_neighbours_are_chosen_where_errors_depend_on_the_weather():
    rng = np.random.default_rng(0)
    state = rng.normal(size=(300, 1, 1, 1)) * np.ones((1, 1, 6, 6))
    calm = np.where(state > 0, 0.05, 2.0)
    depending = state + calm * rng.normal(size=state.shape)
    alike = state + rng.normal(size=state.shape)
    assert Dressing.fit(state, depending).neighbours < 200
    assert Dressing.fit(state, alike).neighbours >= 100


def test_dressed_members_of_dry_records_are_not_below_the_bound(dressed):
    _, fine, out_of_fold = dressed
    model = Dressing.fit(out_of_fold, np.maximum(fine, 2.0))
    assert model.bounds == 2
    given = model.similar(out_of_fold[3])
    members = [model.member(given, 0, number, 3) for number in range(20)]
    assert np.min(members) == 2


def test_gaussian_noise_has_the_residuals_spread_and_spectrum():
    rng = np.random.default_rng(0)
    shape = spectra.Spectrum(np.array([0.02, 0.1, 0.5]), np.array([30.0, 10.0, 0.1]))
    white = rng.normal(size=(300, 48, 48))
    residual = np.stack([spectra.coloured(each, shape, 0.0) for each in white])
    ramp = np.linspace(0.5, 2.0, 48)[None, :]
    residual = (residual / residual.std() * ramp)[:, None]
    model = Gaussian.fit(np.zeros_like(residual), residual.astype(np.float32))
    zero = np.zeros((1, 48, 48))
    members = np.stack([model.member(zero, 0, number, 5)[0] for number in range(300)])
    np.testing.assert_allclose(members.std(0)[8:-8, 8:-8].mean(0), ramp[0, 8:-8], rtol=0.1)
    wanted = spectra.measure(residual[:, 0] / ramp)
    found = spectra.measure(members / ramp)
    ratio = found.power / wanted.power
    np.testing.assert_allclose(ratio[2:-1], 1, atol=0.08)
    assert ratio[1] == pytest.approx(1, abs=0.25)  # the taper mixes the longest waves
    assert model.rho < 0.05


def test_gaussian_noises_of_two_targets_are_correlated_as_their_residuals():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(200, 1, 16, 16))
    residual = np.concatenate([one, 0.6 * one + 0.8 * rng.normal(size=one.shape)], axis=1)
    model = Gaussian.fit(np.zeros_like(residual), residual)
    zero = np.zeros((2, 16, 16))
    members = np.stack([model.member(zero, 0, number, 5) for number in range(200)])
    found = np.corrcoef(members[:, 0].ravel(), members[:, 1].ravel())[0, 1]
    assert found == pytest.approx(0.6, abs=0.03)


def test_gaussian_noise_remembers_the_time_step_before():
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(400, 1, 16, 16))
    for day in range(1, 400):
        residual[day] = 0.7 * residual[day - 1] + np.sqrt(0.51) * residual[day]
    model = Gaussian.fit(np.zeros_like(residual), residual)
    assert model.rho == pytest.approx(0.7, abs=0.02)
    zero = np.zeros((1, 16, 16))
    steps = np.stack([model.member(zero, 0, 0, 60 * day, step=60) for day in range(200)])
    found = (steps[1:] * steps[:-1]).mean() / np.square(steps).mean()
    assert found == pytest.approx(0.7, abs=0.05)
    gaps = Gaussian.fit(np.zeros_like(residual), residual, following=np.zeros(399, bool))
    assert gaps.rho == 0


def test_a_part_of_the_domain_has_the_noise_of_the_whole(dressed):
    _, fine, out_of_fold = dressed
    part = Gaussian.fit(out_of_fold[..., 2:8, 3:9], fine[..., 2:8, 3:9])
    zero = np.zeros((1, 6, 6))
    there = part.member(zero, 0, 1, 5, corner=(2, 3), domain=(12, 16))
    other = part.member(zero, 0, 1, 5, corner=(2, 4), domain=(12, 16))
    ratio = part.spread
    np.testing.assert_allclose((there / ratio)[..., 1:], (other / ratio)[..., :-1], rtol=1e-4)


def test_an_exact_repeat_is_its_own_nearest_analogue():
    predictors, fine = make_weather(60, noise=0)
    coarse = predictors.coarse.copy()
    coarse[37] = coarse[11]
    calendar = 0 * predictors.calendar
    driver = predictors.driver[:, None]
    options = {"neighbours": 2, "kind": "field"}
    model = Analogues.fit(coarse, calendar, driver, fine[:, None], **options)
    near = model.similar(coarse[11], calendar[11])
    assert near.tolist() == [11, 37]
    members = [model.member(near, driver[11], 0, number, 5)[0] for number in range(2)]
    order = np.argsort([member[0, 0] for member in members])
    expected = fine[[11, 37]][np.argsort(fine[[11, 37], 0, 0])]
    np.testing.assert_array_equal(np.stack(members)[order], expected)


def test_analogues_come_from_the_same_season():
    predictors, fine = make_weather(365)
    coarse = 1e-3 * predictors.coarse
    coarse += np.random.default_rng(0).normal(size=coarse.shape).astype(np.float32)
    given = (predictors.driver[:, None], fine[:, None])
    model = Analogues.fit(coarse, predictors.calendar, *given, neighbours=30, components=1)
    near = model.similar(coarse[180], predictors.calendar[180])
    assert np.abs(near - 180).max() < 100


def test_errors_of_the_driver_are_taken_where_they_are_better():
    predictors, fine = make_weather(200, noise=0.1)
    given = (predictors.coarse, predictors.calendar, predictors.driver[:, None])
    close = predictors.driver[:, None] + 0.1 * fine[:, None]
    assert Analogues.fit(*given, close).kind == "error"


def test_neighbours_are_found_in_any_order_of_rows():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 3))
    order = rng.permutation(50)
    found = nearest(scores, scores[7], 6)
    np.testing.assert_array_equal(order[nearest(scores[order], scores[7], 6)], found)


@pytest.mark.parametrize("kind", [Dressing, Gaussian])
def test_saved_states_generate_the_same_and_are_checked(kind, dressed):
    _, fine, out_of_fold = dressed
    model = kind.fit(out_of_fold, fine)
    state = model.to_state()
    again = kind.from_state(state, 1, (12, 16))
    found = []
    for each in (model, again):
        given = each.similar(out_of_fold[5]) if kind is Dressing else out_of_fold[5]
        found.append(each.member(given, 0, 3, 9))
    np.testing.assert_array_equal(*found)
    for key in state:
        with pytest.raises(ModelFormatError):
            kind.from_state({k: v for k, v in state.items() if k != key}, 1, (12, 16))


@pytest.mark.parametrize("kind", [Dressing, Gaussian])
def test_too_few_days_say_how_many_are_needed(kind, dressed):
    _, fine, out_of_fold = dressed
    with pytest.raises(DataError, match=r"at least 12 time steps.*there are 5"):
        kind.fit(out_of_fold[:5], fine[:5])


def test_a_constant_target_has_constant_members(dressed):
    predictors, fine, _ = dressed
    flat = np.full_like(fine, 4.0)
    dressing = Dressing.fit(flat, flat)
    member = dressing.member(dressing.similar(flat[0]), 0, 1, 2)
    np.testing.assert_array_equal(member, flat[0])
    np.testing.assert_array_equal(Gaussian.fit(flat, flat).member(flat[0], 0, 1, 2), flat[0])
    given = (predictors.coarse, predictors.calendar, predictors.driver[:, None], flat)
    model = Analogues.fit(*given)
    near = model.similar(predictors.coarse[0], predictors.calendar[0])
    np.testing.assert_allclose(model.member(near, given[2][0], 0, 1, 2), 4.0)
