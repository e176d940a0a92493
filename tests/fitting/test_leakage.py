"""Nothing that is learnt knows of the days that it is judged on."""

from __future__ import annotations

import numpy as np
import pytest

from records import fast_config, make_pair


def learnt(coarse, fine, **options):
    """Return all that a model knows of the fine record, and its split."""
    options.setdefault("preset", fast_config())
    model = coarse.downscale.fit(fine, progress=False, **options)
    group = model.models_["all"]
    facts = {name: np.asarray(value) for name, value in group.state.items()}
    for number, scaling in enumerate((*group.scalings, *group.driver_scalings)):
        facts[f"scaling.{number}"] = np.array([scaling.center, scaling.spread, scaling.scale])
    for number, each in enumerate(group.maps):
        facts[f"map.{number}"] = np.stack(each)
    return facts, group.split


def changed(facts, other):
    """Return the names of all that differs."""
    assert facts.keys() == other.keys()
    return {name for name in facts if not np.array_equal(facts[name], other[name], equal_nan=True)}


def spoilt(fine, days):
    """Change some days of a record beyond recognition."""
    return fine.where(~fine.time.isin(days), 3 * fine.roll(lon=7, roll_coords=False) + 1)


def part(split, name):
    return split.time.values[split.part.values == name]


@pytest.fixture(scope="module")
def pair():
    coarse, fine = make_pair(days=120)
    return coarse.t, fine.t


@pytest.mark.slow
@pytest.mark.parametrize("pairing", ["paired", "self"])
def test_test_days_move_nothing_and_validation_days_the_calibration_alone(pair, pairing):
    coarse, fine = pair
    facts, split = learnt(coarse, fine, pairing=pairing)
    test, validation = part(split, "test"), part(split, "validation")
    assert test.size > 5
    assert validation.size > 5
    other, _ = learnt(coarse, spoilt(fine, test), pairing=pairing)
    assert changed(facts, other) == set()
    other, _ = learnt(coarse, spoilt(fine, validation), pairing=pairing)
    assert "residual.temperature" in changed(facts, other)
    assert changed(facts, other) <= {"residual.temperature", "residual.memory"}
    other, _ = learnt(coarse, spoilt(fine, part(split, "train")), pairing=pairing)
    moved = changed(facts, other)
    assert {"residual.scale", "residual.memory", "residual.power", "scaling.0"} <= moved
    assert ("map.0" in moved) == (pairing == "self")
