"""Amplitude of residual fields, from what was predicted."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from xdownscale.core.errors import ModelFormatError
from xdownscale.models.statistical import Dressing, fair_crps
from xdownscale.models.statistical.amplitude import Amplitude, _log_linear, _mean_square_gradient


def stormy(days=160, size=16, strength=1.0, seed=0):
    """Return predictions, and fields whose errors are larger where the prediction is high."""
    rng = np.random.default_rng(seed)
    waves = np.cos(np.linspace(0, np.pi, size))
    field = rng.normal(size=(days, 1, 1)) * waves + rng.normal(size=(days, 1, 1))
    predictions = (field * np.ones((1, size, 1)))[:, None].astype(np.float32)
    anomaly = (predictions - predictions.mean(0)) / predictions.std(0)
    noise = np.exp(0.5 * strength * anomaly) * rng.normal(size=predictions.shape)
    return predictions, (predictions + noise).astype(np.float32)


def test_weights_are_those_of_a_generalised_linear_model():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(3, 200, 30))
    true = np.array([0.6, -0.3, 0.0])
    size = np.exp(0.5 * np.tensordot(true, features, 1)) * rng.uniform(0.5, 2, 30)
    residuals = size * rng.normal(size=size.shape)
    residuals[5:9, :4] = np.nan
    found = _log_linear(features, residuals)
    square = np.square(residuals) / np.nanmean(np.square(residuals), axis=0)
    good = np.isfinite(square)
    design = sm.add_constant(features[:, good].T)
    family = sm.families.Gamma(sm.families.links.Log())
    expected = sm.GLM(square[good], design, family=family).fit().params[1:]
    np.testing.assert_allclose(found, expected, atol=3e-3)
    np.testing.assert_allclose(found, true, atol=0.06)


def test_errors_that_grow_with_the_prediction_are_found_and_given_to_members():
    predictions, fine = stormy()
    model = Dressing.fit(predictions, fine)
    assert model.amplitude is not None
    anomaly = (predictions - predictions.mean(0)) / predictions.std(0)
    found = np.stack([model.amplitude.log(each) for each in predictions])
    slope = np.polyfit(anomaly.ravel(), found.ravel(), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.06)
    later, truth = stormy(seed=5)
    spread = []
    for mean in later:
        given = model.similar(mean)
        members = [model.member(given, 0, number, 0) - mean for number in range(40)]
        spread.append(np.std(members, axis=0))
    ratio = np.abs(truth - later) / np.array(spread)
    high = later > np.quantile(later, 0.8)
    low = later < np.quantile(later, 0.2)
    assert np.sqrt(np.mean(ratio[high] ** 2)) == pytest.approx(1, abs=0.15)
    assert np.sqrt(np.mean(ratio[low] ** 2)) == pytest.approx(1, abs=0.15)


def test_members_are_better_for_it():
    predictions, fine = stormy()
    later, truth = stormy(seed=5)
    model = Dressing.fit(predictions, fine, neighbours=160)
    residuals = fine - predictions
    scores = []
    for mean, known in zip(later[:40], truth, strict=False):
        given = model.similar(mean)
        own = np.stack([model.member(given, 0, number, 0) for number in range(160)])
        scores.append((fair_crps(own, known), fair_crps(mean + residuals, known)))
    assert np.mean(scores, axis=0)[0] < 0.97 * np.mean(scores, axis=0)[1]


@pytest.mark.parametrize("seed", range(3))
def test_errors_that_do_not_depend_on_the_prediction_keep_their_amplitude(seed):
    predictions, fine = stormy(strength=0.0, seed=seed)
    model = Dressing.fit(predictions, fine)
    if model.amplitude is not None:  # chance: then it hardly differs from 1
        sizes = np.stack([model.amplitude(each) for each in predictions])
        assert np.abs(np.log(sizes)).mean() < 0.05


def test_missing_cells_and_targets_change_nothing_elsewhere():
    predictions, fine = stormy()
    both = np.concatenate([predictions, predictions[:, :, ::-1]], axis=1)
    truth = np.concatenate([fine, fine[:, :, ::-1]], axis=1)
    truth[:, 1] = np.nan
    found = Amplitude.fit(both, truth - both)
    alone = Amplitude.fit(predictions, fine - predictions)
    np.testing.assert_allclose(found.weights[0], alone.weights[0], atol=1e-6)
    assert np.isfinite(found(both[0])).all()
    assert (found.weights[1] == 0).all()
    wild = predictions.copy()
    wild[:, :, :3] = 1e6 * np.arange(len(wild))[:, None, None, None]  # at cells never observed
    truth = fine.copy()
    truth[:, :, :3] = np.nan
    far = Amplitude.fit(wild, truth - wild)
    calm = Amplitude.fit(predictions, truth - predictions)
    np.testing.assert_allclose(far.weights, calm.weights, atol=1e-5)
    np.testing.assert_allclose(far(wild[7])[:, 3:], calm(predictions[7])[:, 3:], rtol=1e-4)


def test_a_constant_record_has_an_amplitude_of_one():
    flat = np.full((20, 1, 5, 6), 3.0, np.float32)
    found = Amplitude.fit(flat, np.zeros_like(flat))
    np.testing.assert_array_equal(found(flat[0]), 1)


def test_the_gradient_of_a_ramp_is_its_slope():
    y, x = np.mgrid[:12, :15]
    known = np.ones(y.shape, bool)
    found = _mean_square_gradient(3.0 * y - 4.0 * x, known)
    np.testing.assert_allclose(found, 25, rtol=1e-6)
    known[:, 10:] = False
    broken = np.where(known, 3.0 * y - 4.0 * x, 1e9)
    np.testing.assert_allclose(_mean_square_gradient(broken, known)[:, :10], 25, rtol=1e-6)


def test_saved_states_are_the_same_and_are_checked():
    predictions, fine = stormy()
    model = Dressing.fit(predictions, fine)
    assert model.amplitude is not None
    state = model.to_state()
    again = Dressing.from_state(state, 1, (16, 16))
    one, two = (each.member(each.similar(predictions[3]), 0, 1, 2) for each in (model, again))
    np.testing.assert_array_equal(one, two)
    for key in state:
        if key.startswith("amplitude"):
            with pytest.raises(ModelFormatError):
                Dressing.from_state({k: v for k, v in state.items() if k != key}, 1, (16, 16))


def test_residuals_of_censored_targets_keep_their_amplitude():
    predictions, fine = stormy()
    both = np.concatenate([predictions, predictions], axis=1)
    truth = np.concatenate([np.maximum(fine, 0), fine], axis=1)
    model = Dressing.fit(both, truth, censored=[(0.0, 0.0), None])
    assert model.amplitude is not None
    sizes = np.stack([model.amplitude(each) for each in both])
    np.testing.assert_array_equal(sizes[:, 0], 1)
    assert sizes[:, 1].max() > 2 * sizes[:, 1].min()
    assert Dressing.fit(both[:, :1], truth[:, :1], censored=[(0.0, 0.0)]).amplitude is None
