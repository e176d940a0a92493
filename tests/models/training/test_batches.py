"""Epochs of bounded length: in a shuffled order through all days, and the same after a kill."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toy_training import Days, Toy, run
from xdownscale.config import TrainingConfig
from xdownscale.core.errors import OptionError
from xdownscale.models.training.batches import bounded_batches, epoch_batches, even_batches
from xdownscale.models.training.checkpoint import Checkpoints


class Long(Toy):
    def training(self, epoch):
        return Days(12)


@given(st.integers(0, 50), st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_is_every_day_once(count, size, epoch):
    batches = epoch_batches(count, size, 0, 1, epoch)
    assert sorted(day for batch in batches for day in batch) == list(range(count))
    assert all(len(batch) == size for batch in batches[:-1])


def test_epochs_differ_in_order():
    assert epoch_batches(20, 4, 0, 1, 0) != epoch_batches(20, 4, 0, 1, 1)
    assert epoch_batches(20, 4, 0, 1, 0) == epoch_batches(20, 4, 0, 1, 0)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 12))
def test_epochs_walk_through_all_days(count, size, most):
    whole = -(-count // size)
    walk = [batch for epoch in range(3 * whole) for batch in bounded(count, size, most, epoch)]
    for turn in range(3):
        part = walk[turn * whole : (turn + 1) * whole]
        assert sorted(chain(*part)) == list(range(count))


def bounded(count, size, most, epoch):
    return bounded_batches(count, size, most, 0, 1, epoch)


def test_without_a_bound_epochs_are_what_they_were():
    for most in (None, 4, 9):
        assert bounded(8, 2, most, 5) == epoch_batches(8, 2, 0, 1, 5)
    assert bounded(8, 2, 4, 5) != bounded(8, 2, 4, 6)


def test_held_out_days_are_evenly_spread():
    assert even_batches(5, 2, 3) == [[0, 1], [2, 3], [4]]
    found = even_batches(1000, 4, 5)
    assert [len(batch) for batch in found] == [4] * 5
    np.testing.assert_allclose(np.diff(list(chain(*found))), 999 / 19, atol=1)


def test_an_epoch_has_so_many_batches():
    task = Long(held_out=9)
    history = run(task, epoch_batches=2, epochs=6)
    assert len(task.batches) == 12
    for turn in (task.batches[:6], task.batches[6:]):
        assert sorted(chain(*turn)) == list(range(12))
    assert task.batches[:6] != task.batches[6:]
    assert history["epoch"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("most", [1, 4])
def test_a_bounded_training_goes_on_where_it_was(tmp_path, most):
    whole, parts = Long(), Long()
    run(whole, epochs=5, epoch_batches=most)
    for epochs in (2, 5):
        content = Checkpoints(tmp_path, "x").load("toy")
        if content:  # what a kill before the last epoch leaves
            Checkpoints(tmp_path, "x").save("toy", content | {"done": False})
        run(parts, Checkpoints(tmp_path, "x"), epochs=epochs, epoch_batches=most)
    assert parts.batches == whole.batches
    assert parts.random == whole.random
    assert torch.equal(parts.network.weight, whole.network.weight)


@pytest.mark.parametrize("name", ["epoch_batches", "devices"])
def test_whole_numbers_are_asked_for(name):
    for value in (2.5, True, "3"):
        with pytest.raises(OptionError, match=f"TrainingConfig.{name} is .*; give a whole number"):
            TrainingConfig(**{name: value})
    for value in (0, -1):
        with pytest.raises(OptionError, match=f"TrainingConfig.{name} is .* greater than 0"):
            TrainingConfig(**{name: value})


def test_there_is_always_a_device():
    with pytest.raises(OptionError, match=r"TrainingConfig.devices is None; give a whole number"):
        TrainingConfig(devices=None)
