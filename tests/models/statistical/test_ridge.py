"""Ridge regression against least squares of numpy, refits by hand, and its own invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weather import make_weather
from xdownscale.core.errors import DataError, ModelFormatError
from xdownscale.models.statistical import Predictors, Ridge, cross_predict, ridge, time_blocks
from xdownscale.models.statistical.ridge import PENALTIES, Solver, held_out_errors, tiles


def augmented(x, y, penalty):
    """Ridge by least squares: rows of sqrt(penalty) below the standardised, centred predictors."""
    moved = (x - x.mean(0)) / x.std(0)
    rows = np.r_[moved, np.sqrt(penalty) * np.eye(x.shape[1])]
    return np.linalg.lstsq(rows, np.r_[y - y.mean(0), np.zeros((x.shape[1], y.shape[1]))])[0]


@pytest.mark.parametrize(("days", "width"), [(60, 8), (20, 50)])
def test_weights_are_those_of_least_squares_with_augmented_rows(days, width):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(days, width)) * rng.uniform(0.1, 10, width) + 3
    y = rng.normal(size=(days, 4))
    for penalty in (0.1, 3.0, 100.0):
        found = Solver(x).weights(y, penalty)
        np.testing.assert_allclose(found, augmented(x, y, penalty), atol=1e-8)


@pytest.mark.parametrize(("days", "width"), [(60, 8), (20, 50)])
def test_held_out_errors_are_those_of_refits(days, width):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(days, width))
    y = x[:, :3] + rng.normal(size=(days, 3))
    block = time_blocks(days, 4)
    errors = []
    for number in range(4):
        rest = block != number
        weights = augmented(x[rest], y[rest], 0.2 * rest.sum())
        moved = (x[~rest] - x[rest].mean(0)) / x[rest].std(0)
        errors.append(np.square(y[~rest] - y[rest].mean(0) - moved @ weights))
    expected = np.concatenate(errors).mean()
    found = held_out_errors(x, [y], np.array([0.2, 5.0]), folds=4)[0]
    assert found[0] == pytest.approx(expected, rel=1e-9)
    assert found[1] != pytest.approx(expected, rel=1e-3)


def test_a_cell_with_missing_values_is_fitted_on_its_known_time_steps():
    predictors, fine = make_weather(80)
    holed = fine.copy()
    lost = np.arange(10, 50, 3)
    holed[lost, 2, 3] = np.nan
    rest = np.setdiff1d(np.arange(80), lost)
    model = Ridge.fit(predictors, holed, penalty=0.05, towards="mean")
    x = predictors.coarse.reshape(80, -1)
    x = np.c_[x, predictors.calendar].astype(float)
    # standardised over all time steps, fitted on the known ones, without penalty on the mean
    moved = (x - x.mean(0)) / x.std(0)
    y = fine[rest, 2, 3].astype(float)
    inner = moved[rest] - moved[rest].mean(0)
    gram = inner.T @ inner + 0.05 * 80 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, inner.T @ (y - y.mean()))
    expected = y.mean() + (moved - moved[rest].mean(0)) @ weights
    np.testing.assert_allclose(model.predict(predictors)[:, 2, 3], expected, atol=1e-4)
    whole = Ridge.fit(predictors, fine, penalty=0.05, towards="mean").predict(predictors)
    np.testing.assert_array_equal(model.predict(predictors)[:, 0, 0], whole[:, 0, 0])


def test_many_sets_of_missing_values_give_what_each_alone_gives(monkeypatch):
    predictors, fine = make_weather(80)
    holed = np.where(np.random.default_rng(3).random(fine.shape) < 0.1, np.nan, fine)
    exact = Ridge.fit(predictors, holed, penalty=0.05, towards="mean").predict(predictors)
    monkeypatch.setattr(ridge, "_PATTERNS", 0)
    passes = Ridge.fit(predictors, holed, penalty=0.05, towards="mean").predict(predictors)
    np.testing.assert_allclose(passes, exact, atol=2e-3)


def test_tiles_whose_windows_cover_the_domain_give_what_one_tile_gives():
    predictors, fine = make_weather(60)
    whole = Ridge.fit(predictors, fine, penalty=0.1, towards="mean")
    tiled = Ridge.fit(predictors, fine, penalty=0.1, towards="mean", side=2)
    assert len(whole.parts) == 1
    assert len(tiled.parts) == 4
    np.testing.assert_allclose(
        tiled.predict(predictors), whole.predict(predictors), rtol=1e-4, atol=1e-5
    )


def test_tiles_hold_every_fine_cell_once():
    predictors, _ = make_weather(20, coarse_shape=(18, 20))
    found = tiles(predictors.place, (18, 20))
    assert len(found) == 25
    cells = np.concatenate([tile.cells for tile in found])
    np.testing.assert_array_equal(np.sort(cells), np.arange(72 * 80))
    assert max(tile.rows.stop - tile.rows.start for tile in found) == 10


def test_the_penalty_is_large_for_noise_and_small_for_an_exact_relation():
    predictors, fine = make_weather(120, noise=0.0)
    noise = np.random.default_rng(0).normal(size=fine.shape).astype(np.float32)
    assert Ridge.fit(predictors, fine).penalty <= PENALTIES[3]
    assert Ridge.fit(predictors, noise).penalty >= 1


def test_held_out_blocks_are_predicted_by_fits_on_the_others():
    predictors, fine = make_weather(60)

    def fit(x, y):
        return Ridge.fit(x, y, penalty=0.1, towards="driver")

    found = cross_predict(fit, predictors, fine, folds=3)
    rest = np.arange(20, 60)
    first = fit(predictors.take(rest), fine[rest]).predict(predictors.take(np.arange(20)))
    np.testing.assert_array_equal(found[:20], first)


def test_a_constant_target_is_predicted_as_it_is():
    predictors, fine = make_weather(40)
    constant = np.full_like(fine, 7.0)
    np.testing.assert_allclose(Ridge.fit(predictors, constant).predict(predictors), 7.0)


def test_too_few_days_say_how_many_are_needed():
    predictors, fine = make_weather(8)
    with pytest.raises(DataError, match=r"at least 12 time steps.*there are 8"):
        Ridge.fit(predictors, fine)


@settings(max_examples=10, deadline=None)
@given(rows=st.lists(st.integers(0, 39), min_size=1, max_size=12))
def test_a_time_step_is_predicted_the_same_whatever_stands_beside_it(rows):
    predictors, fine = make_weather(40)
    model = Ridge.fit(predictors, fine, penalty=0.1, towards="driver")
    np.testing.assert_array_equal(
        model.predict(predictors.take(rows)), model.predict(predictors)[rows]
    )


def test_a_saved_state_predicts_the_same():
    predictors, fine = make_weather(40)
    fine[:, 0, :5] = np.nan  # never observed
    model = Ridge.fit(predictors, fine, side=2)
    state = model.to_state()
    assert all(array.dtype == np.float32 for array in state.values())
    again = Ridge.from_state(state, (12, 16))
    np.testing.assert_array_equal(again.predict(predictors), model.predict(predictors))
    for name in state:
        rest = {key: array for key, array in state.items() if key != name}
        with pytest.raises(ModelFormatError, match=name.split(".")[-1]):
            Ridge.from_state(rest, (12, 16))


def test_order_of_columns_does_not_matter():
    predictors, fine = make_weather(50)
    turned = Predictors(
        coarse=predictors.coarse[:, ::-1, ::-1],
        calendar=predictors.calendar[:, ::-1],
        driver=predictors.driver,
        place=predictors.place,
    )
    first = Ridge.fit(predictors, fine, penalty=0.1, towards="mean").predict(predictors)
    second = Ridge.fit(turned, fine, penalty=0.1, towards="mean").predict(turned)
    np.testing.assert_allclose(first, second, atol=1e-4)
