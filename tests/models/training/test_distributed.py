"""Two processes that learn together (gloo): as one would, and with one result."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from itertools import chain

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import ProcessRaisedException

import xdownscale as xd
from records import TESTS, fast_config, make_pair
from toy_training import Days, Toy, run
from xdownscale.config import TrainingConfig
from xdownscale.core.errors import DataError, OptionError, StorageError
from xdownscale.models import device
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.distributed import (
    is_forked,
    shows_progress,
    training_share,
    validation_share,
)


@pytest.fixture(autouse=True)
def two_cores():
    assert (os.cpu_count() or 1) > 1, "two processes that learn together need two cores"


class Slope(Toy):
    """The gradient is the mean of a batch's days."""

    days = 8

    def training(self, epoch):
        return Days(self.days)

    def loss(self, batch, generator):
        return (self.network.weight * batch.target.mean()).sum()


def test_shares_do_not_overlap():
    for count in range(1, 9):
        for world in (1, 2, 3):
            taught = [training_share(count, rank, world) for rank in range(world)]
            assert len({len(part) for part in taught}) == 1
            if count >= world:
                flat = sorted(chain(*taught))
                assert flat == list(range(count // world * world))
            held = [validation_share(count, rank, world) for rank in range(world)]
            assert len({len(part) for part in held}) == 1
            assert sorted(n for part in held for n in part if n is not None) == list(range(count))


@pytest.mark.parametrize("held_out", [3, 1, 0])
def test_two_processes_learn_what_one_does_with_twice_the_batch(held_out):
    one, two = Slope(held_out=held_out), Slope(held_out=held_out)
    one.batch, two.batch = 4, 2
    options = {"learning_rate": 0.1, "epochs": 3, "ema_decay": 0.9}
    expected = run(one, **options)
    found = run(two, devices=2, **options)
    assert two.network.weight.item() == pytest.approx(one.network.weight.item(), abs=1e-6)
    for name in ("train_loss", "val_loss", "lr", "epoch"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, err_msg=name)


def test_all_stop_together():
    history = run(Toy(slope=0.0), epochs=20, patience=3, devices=2, strategy="ddp_notebook")
    assert len(history["epoch"]) == 4


def test_a_planned_rate_follows_the_first_clock():
    task = Slope()
    history = run(task, rate="cosine", minutes=10.0, learning_rate=0.1, devices=2, ema_decay=0.9)
    assert len(history["epoch"]) == 3
    assert np.isfinite(task.network.weight.item())


def test_a_team_goes_on_where_it_was(tmp_path):
    whole, parts = Slope(), Slope()
    run(whole, epochs=3, devices=2, epoch_batches=2)
    for epochs in (1, 3):
        content = Checkpoints(tmp_path, "x").load("toy")
        if content:  # what a kill before the last epoch leaves
            Checkpoints(tmp_path, "x").save("toy", content | {"done": False})
        run(parts, Checkpoints(tmp_path, "x"), epochs=epochs, devices=2, epoch_batches=2)
    assert torch.equal(parts.network.weight, whole.network.weight)
    assert {path.name for path in tmp_path.iterdir()} == {"toy.pt", "toy.csv"}
    assert len((tmp_path / "toy.csv").read_text().splitlines()) == 4


def test_an_error_of_a_copy_is_the_librarys_own():
    class Broken(Toy):
        def loss(self, batch, generator):
            raise DataError("Day 3 cannot be read. Look at it.")

    before = dict(os.environ)
    with pytest.raises(DataError, match=r"^Day 3 cannot be read. Look at it.$"):
        run(Broken(), devices=2)
    assert dict(os.environ) == before


def test_another_error_of_a_copy_is_told_too():
    class Broken(Toy):
        def loss(self, batch, generator):
            raise ZeroDivisionError("by nothing")

    with pytest.raises(ProcessRaisedException, match="by nothing"):
        run(Broken(), devices=2)


def test_a_full_disc_ends_all(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    store = Checkpoints(tmp_path, "x")
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match=r"No space left on device.*the one before is untouched"):
        run(Slope(), store, devices=2)


def test_more_devices_than_there_are():
    with pytest.raises(OptionError, match=r"training.devices is 999, and \d+ can be had here"):
        device.check_devices("cpu", 999, "auto")
    coarse, fine = make_pair()
    with pytest.raises(OptionError, match=r"training.devices is 999"):
        xd.fit(coarse, fine, preset=fast_config().replace(training={"devices": 999}))


def test_copies_of_a_kernel_show_no_bar(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert shows_progress(forked=True)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert shows_progress(forked=False)
    assert not shows_progress(forked=True)


def test_cuda_does_not_survive_a_fork(monkeypatch):
    monkeypatch.setattr(device, "resolve_device", lambda _: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    device.check_devices("cuda", 2, "ddp")
    with pytest.raises(OptionError, match="'ddp_fork' forks this process, which CUDA does not"):
        device.check_devices("cuda", 2, "ddp_fork")
    assert not is_forked(TrainingConfig(devices=2), "cuda")


def test_an_unknown_strategy():
    with pytest.raises(OptionError, match="strategy"):
        TrainingConfig(strategy="fsdp")


@pytest.mark.slow
def test_a_fit_of_two_processes_is_as_good():
    coarse, fine = make_pair(days=100)

    def losses(**training):
        config = fast_config(method="unet").replace(training={"mean_epochs": 4} | training)
        model = xd.fit(coarse, fine, preset=config, progress=False, pairing="paired")
        history = model.history_.isel(group=0)
        return history.val_loss.values[history.stage.values == "regress0"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        one, two = losses(batch_days=4), losses(batch_days=2, devices=2)
    np.testing.assert_allclose(two, one, rtol=0.02)


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
from records import fast_config, make_pair
import xdownscale as xd
torch.set_num_threads(1)
coarse, fine = make_pair(days=60)
training = dict(devices=2, strategy="ddp")
config = fast_config(method="unet").replace(training=training)
folder = {folder!r}
model = xd.fit(  # on the CPU
    coarse, fine, preset=config, progress=False, pairing="paired", checkpoint_dir=folder
)
weights = model.models_["all"].state
print("weights", sum(float(abs(w).sum()) for w in weights.values()), flush=True)
"""


@pytest.mark.slow
def test_lightning_starts_the_script_once_for_each_device(tmp_path):
    script = tmp_path / "learn.py"
    script.write_text(SCRIPT.format(tests=str(TESTS), folder=str(tmp_path / "checkpoints")))
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("weights")]
    assert len(told) == 2
    assert len(set(told)) == 1
