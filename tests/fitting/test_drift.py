"""The alarm is silent on days like those of training, and says what drifts."""

from __future__ import annotations

import numpy as np
import pytest

from xdownscale.core.errors import DriftError
from xdownscale.fitting import drift


def days(count, seed=0, shape=(20, 24)):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        driver = rng.normal(size=shape).cumsum(axis=0) / 4
        yield driver + 0.2 * rng.normal(size=shape) + 0.05 * rng.normal(), driver


def test_three_numbers_by_hand():
    driver = np.arange(12.0).reshape(3, 4)
    found = drift.compare(2 * driver, driver)
    steps = (8.0**2 / 2 + 2.0**2 / 2) / 2
    expected = [driver.mean(), np.log(4), np.log(steps / driver.var())]
    np.testing.assert_allclose(found, expected)


def test_gaps_count_for_nothing():
    field, driver = next(days(1))
    holed = field.copy()
    holed[:, :5] = np.nan
    found = drift.compare(holed, driver)
    np.testing.assert_allclose(found, drift.compare(field[:, 5:], driver[:, 5:]))


def test_days_like_those_of_training_raise_no_alarm():
    reference = drift.fit_reference(days(200))
    last = []
    for k, (field, driver) in enumerate(days(300, seed=1)):
        last = drift.check(reference, last, field[None], driver, str(k))
    assert len(last) == drift.STEPS


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda x, k: x + 0.02 * k, "mean of"),
        (lambda x, k: x.mean() + (x - x.mean()) * 1.1**k, "variance of|semivariance"),
        (
            lambda x, k: x + 0.1 * k * np.random.default_rng(k).normal(size=x.shape),
            "variance of|semivariance of neighbours of",
        ),
        (lambda x, k: x * np.nan if k > 3 else x, "mean of"),
    ],
)
def test_what_drifts_is_said(spoil, what):
    reference = drift.fit_reference(days(200))

    def run():
        last = []
        for k, (field, driver) in enumerate(days(100, seed=1)):
            last = drift.check(reference, last, spoil(field, k)[None], driver, str(k))

    with pytest.raises(DriftError, match=f"up to .* ({what})"):
        run()


def test_the_reference_is_saved():
    reference = drift.fit_reference(days(20))
    again = drift.Reference.from_state(reference.to_state())
    np.testing.assert_allclose(again.level, reference.level, rtol=1e-6)
    np.testing.assert_allclose(again.spread, reference.spread, rtol=1e-6)
    assert drift.Reference.from_state({}) is None
