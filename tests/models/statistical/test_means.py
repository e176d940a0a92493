"""Driver, bias per cell, quantile mapping, and the choice between point estimates."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from weather import make_weather
from xdownscale.core.errors import DataError, ModelFormatError, OptionError
from xdownscale.models.statistical import (
    MEANS,
    Bias,
    QuantileMapping,
    choose_mean,
    cross_predict,
    time_blocks,
)


def test_an_additive_bias_is_the_mean_error_of_the_known_time_steps():
    predictors, fine = make_weather(30)
    fine[5:, 1, 1] = np.nan
    fine[:, 0, 0] = np.nan
    found = Bias.fit(predictors, fine).predict(predictors) - predictors.driver
    error = fine - predictors.driver
    np.testing.assert_allclose(found[0, 1, 1], error[:5, 1, 1].mean(), rtol=1e-5)
    expected = np.nanmean(error[:, 1:], 0)
    np.testing.assert_allclose(found[3, 1:], expected, rtol=1e-4, atol=1e-6)
    assert found[0, 0, 0] == 0


def test_a_ratio_keeps_zeros_and_gives_a_dry_cell_the_ratio_of_the_domain():
    predictors, _ = make_weather(400)
    rng = np.random.default_rng(0)
    driver = rng.gamma(0.5, 2.0, predictors.driver.shape) * (rng.random(400) < 0.4)[:, None, None]
    driver[:, 2, 2] = 0.0
    wet = dataclasses.replace(predictors, driver=driver.astype(np.float32))
    truth = np.full(driver.shape[1:], 3.0)
    truth[5, 5] = 1.5
    model = Bias.fit(wet, driver * truth, kind="ratio")
    assert model.factor[5, 5] == pytest.approx(1.5, rel=0.1)
    assert model.factor[2, 2] == pytest.approx(3.0, rel=0.1)
    fields = model.predict(wet)
    assert fields.min() == 0
    assert (fields[driver == 0] == 0).all()
    with pytest.raises(OptionError, match="ratio"):
        Bias.fit(wet, driver, kind="product")


def test_quantile_mapping_gives_the_distribution_of_the_truth():
    predictors, fine = make_weather(300)
    fine[::7, 3, 3] = np.nan
    mapped = QuantileMapping.fit(predictors, fine).predict(predictors)
    for cell in ((0, 0), (3, 3)):
        known = np.isfinite(fine[(slice(None), *cell)])
        wanted = np.quantile(fine[(known, *cell)], [0.1, 0.5, 0.9])
        found = np.quantile(mapped[(known, *cell)], [0.1, 0.5, 0.9])
        np.testing.assert_allclose(found, wanted, atol=0.1)
    order = np.argsort(predictors.driver[:, 0, 0])
    assert (np.diff(mapped[order, 0, 0]) >= 0).all()


def test_quantile_mapping_shifts_values_beyond_the_outermost_quantiles():
    predictors, _ = make_weather(60)
    model = QuantileMapping.fit(predictors, 2 * predictors.driver)
    far = dataclasses.replace(predictors, driver=predictors.driver + np.float32(100))
    shift = 2 * predictors.driver.max(0) - predictors.driver.max(0)
    np.testing.assert_allclose(model.predict(far), far.driver + shift, atol=1e-4)


def test_the_best_candidate_is_chosen_and_all_errors_are_kept():
    predictors, fine = make_weather(120)
    found = choose_mean(predictors, fine, ("driver", "bias", "quantile_mapping", "ridge"))
    assert found.model.name == "ridge"
    assert found.errors["ridge"] < found.errors["bias"] < found.errors["driver"]
    error = np.square(fine - found.out_of_fold).mean()
    assert found.errors["ridge"] == pytest.approx(float(error), rel=1e-6)
    noise = np.random.default_rng(0).normal(size=fine.shape) + 4 + predictors.driver
    assert choose_mean(predictors, noise.astype(np.float32)).model.name == "bias"


def test_a_time_step_has_no_influence_on_its_own_prediction():
    predictors, fine = make_weather(60)
    changed = fine.copy()
    changed[time_blocks(60) == 2] += 100
    for kind in MEANS.values():
        before = cross_predict(kind.fit, predictors, fine)
        after = cross_predict(kind.fit, predictors, changed)
        held = time_blocks(60) == 2
        np.testing.assert_array_equal(after[held], before[held])


def test_candidates_that_need_more_days_are_left_out_and_said():
    predictors, fine = make_weather(12)
    found = choose_mean(predictors, fine)
    assert set(found.errors) == {"driver", "bias"}
    assert found.left_out["ridge"] == ("needs 12 time steps outside a held-out block, 10 are there")
    with pytest.raises(DataError, match="at least 12"):
        choose_mean(predictors, fine, ("ridge",))
    with pytest.raises(OptionError, match="'forest'"):
        choose_mean(predictors, fine, ("forest",))


@pytest.mark.parametrize("name", sorted(MEANS))
def test_saved_states_predict_the_same_and_are_checked(name):
    predictors, fine = make_weather(40)
    model = MEANS[name].fit(predictors, fine)
    state = model.to_state()
    again = MEANS[name].from_state(state, (12, 16))
    np.testing.assert_array_equal(again.predict(predictors), model.predict(predictors))
    for key in state:
        with pytest.raises(ModelFormatError):
            MEANS[name].from_state({k: v for k, v in state.items() if k != key}, (12, 16))
        with pytest.raises(ModelFormatError):
            MEANS[name].from_state(state | {key: state[key][:-1]}, (12, 16))


def test_no_torch_is_imported():
    code = "import sys; sys.modules['torch'] = None; import xdownscale.models.statistical"
    subprocess.run([sys.executable, "-c", code], check=True)
