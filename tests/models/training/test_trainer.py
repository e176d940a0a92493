from __future__ import annotations

import logging
import os
import random
import signal
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from toy_training import Days, Toy, run
from xdownscale.config import TrainingConfig
from xdownscale.core.errors import DataError, ModelFormatError, XDownscaleWarning
from xdownscale.models.diffusion.schedules import squared_cosine
from xdownscale.models.networks.channels import patch_inputs
from xdownscale.models.networks.unet import Networks
from xdownscale.models.networks.weights import seeded
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.datasets import CoarseBatch, PatchGrid
from xdownscale.models.training.lightning_module import cause_of
from xdownscale.models.training.optimizer import make_optimizer, trainable
from xdownscale.models.training.plan import StageCost
from xdownscale.models.training.progress import Progress
from xdownscale.models.training.tasks import Denoise
from xdownscale.patches import PatchLayout


def test_the_history_has_a_row_for_each_epoch():
    history = run(Toy(), learning_rate=0.1)
    assert history["stage"] == ["toy"] * 3
    assert history["epoch"] == [1, 2, 3]
    # Adam walks 0.1 in each of two batches an epoch: 0, -0.1 | -0.2, -0.3 | -0.4, -0.5
    assert history["train_loss"] == pytest.approx([-0.05, -0.25, -0.45], abs=1e-5)
    assert history["val_loss"] == pytest.approx([-0.2, -0.4, -0.6], abs=1e-5)
    assert history["lr"] == [0.1] * 3


def test_the_moving_average_is_judged_and_kept():
    task = Toy()
    history = run(task, learning_rate=0.1, epochs=1, ema_decay=0.999)
    average = 0.0
    for update, weight in enumerate([-0.1, -0.2], start=1):
        decay = update / (9 + update)
        average = decay * average + (1 - decay) * weight
    assert task.network.weight.item() == pytest.approx(average, abs=1e-5)
    assert history["val_loss"] == pytest.approx([average], abs=1e-5)


def test_no_progress_lowers_the_rate_and_then_stops():
    history = run(Toy(slope=0.0), epochs=20, plateau_patience=2, plateau_factor=0.1, patience=5)
    assert len(history["epoch"]) == 6
    assert history["lr"] == pytest.approx([1e-3] * 4 + [1e-4] * 2)


class UpAndDown(Toy):
    """The held-out loss is smallest where the weight is nearest to -0.5."""

    def loss(self, batch, generator):
        weight = super().loss(batch, generator)
        return weight if torch.is_grad_enabled() else (weight + 0.5).abs()


def test_the_best_weights_are_kept():
    task = UpAndDown()
    history = run(task, learning_rate=0.1, epochs=6)
    assert np.argmin(history["val_loss"]) in (1, 2)
    assert task.network.weight.item() == pytest.approx(-0.4, abs=0.001) or (
        task.network.weight.item() == pytest.approx(-0.6, abs=0.001)
    )


def test_without_held_out_days_the_training_loss_is_judged():
    history = run(Toy(held_out=0), learning_rate=0.1)
    assert history["train_loss"] == pytest.approx([-0.05, -0.25, -0.45], abs=1e-5)
    assert np.isnan(history["val_loss"]).all()


def test_a_first_loss_that_is_nan_is_not_the_best():
    class Late(Toy):
        def loss(self, batch, generator):
            slope = super().loss(batch, generator)
            return slope if len(self.batches) > 2 else slope + np.nan

    class LateOnly(Late):
        def loss(self, batch, generator):
            judged = super().loss(batch, generator)
            return judged.nan_to_num() if torch.is_grad_enabled() else judged

    task = LateOnly()
    history = run(task, learning_rate=0.1)
    assert np.isnan(history["val_loss"]).tolist() == [True, False, False]
    assert task.network.weight.item() == pytest.approx(history["val_loss"][-1])


class Breaks(Toy):
    """The loss of training batch `at`, or its gradient, is not finite."""

    at = 3
    wrong = "loss"

    def loss(self, batch, generator):
        slope = super().loss(batch, generator)
        if torch.is_grad_enabled() and len(self.batches) >= self.at:
            if self.wrong == "gradient":
                return slope + 0 * slope.sqrt()
            return slope + float(self.wrong == "inf") * np.inf + np.nan
        return slope


@pytest.mark.parametrize("wrong", ["loss", "inf", "gradient"])
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("held_out", [1, 0])
def test_the_first_loss_that_is_not_finite_ends_a_stage(wrong, devices, held_out):
    """Two good updates of 0.1 in the first epoch, or four where there are two processes."""
    whole, broken = Toy(held_out=held_out), Breaks(held_out=held_out)
    broken.wrong = wrong
    run(whole, epochs=1, learning_rate=0.1, devices=devices)
    options = {"learning_rate": 0.1, "epochs": 9, "devices": devices}
    broken.at = 3 if devices == 1 else 2
    said = r"stage 'toy' was stopped: the .*loss is not finite in epoch 2, batch 1: .* are kept"
    with pytest.warns(XDownscaleWarning, match=said):
        history = run(broken, **options)
    assert broken.network.weight.item() == whole.network.weight.item() != 0
    assert history["epoch"] == [1, 2]
    assert history["train_loss"][0] == pytest.approx(-0.05 if devices == 1 else 0.0, abs=1e-5)
    assert np.isnan(history["train_loss"][1])


def test_good_updates_of_the_first_epoch_are_kept():
    task = Breaks()
    task.at = 2
    with pytest.warns(XDownscaleWarning, match=r"epoch 1, batch 2: .*of epoch 1 are kept"):
        run(task, learning_rate=0.1, ema_decay=0.9, weight_decay=0.5, optimizer="adamw")
    assert task.network.weight.item() == pytest.approx(-0.09)  # 0.9 of the way of one update


@pytest.mark.parametrize("devices", [1, 2])
def test_a_stage_that_never_had_a_finite_loss_is_an_error(devices):
    task = Breaks()
    task.at = 1
    with pytest.raises(DataError, match="Stage 'toy' cannot be trained: the loss is not finite"):
        run(task, learning_rate=0.1, devices=devices)


def test_held_out_days_that_are_never_finite_are_an_error():
    class Unjudged(Toy):
        def loss(self, batch, generator):
            slope = super().loss(batch, generator)
            return slope if torch.is_grad_enabled() else slope + np.nan

    with pytest.raises(DataError, match=r"no loss of held-out days is finite: what was read is"):
        run(Unjudged())


def test_the_cause_of_a_loss_that_is_not_finite():
    network, config = nn.Linear(1, 1), TrainingConfig(learning_rate=0.25)
    good = CoarseBatch(torch.ones(1), torch.tensor([-7.5e8]), torch.ones(1, dtype=torch.bool))
    said = cause_of(good, network, config)
    assert "largest: 'target' with 7.5e+08 in scaled units" in said
    assert "smaller training.learning_rate (it is 0.25)" in said
    bad = good._replace(lags=torch.tensor([1.0, torch.inf]))
    assert cause_of(bad, network, config).startswith("'lags' of the batch hold values that are not")
    with torch.no_grad():
        network.bias.fill_(torch.nan)
    assert cause_of(good, network, config).startswith("the weights are not finite any more")


def test_a_stopped_stage_is_only_read_and_warns_again(tmp_path):
    first, second = Breaks(), Breaks()
    for task in (first, second):
        with pytest.warns(XDownscaleWarning, match="was stopped"):
            run(task, Checkpoints(tmp_path, "x"), learning_rate=0.1)
    assert not second.batches
    assert torch.equal(first.network.weight, second.network.weight)


def test_the_gradient_is_clipped():
    task = Toy(slope=1000.0)
    run(task, optimizer="adam", epochs=1, gradient_clip=1e-9, learning_rate=0.1)
    # Adam's step is blind to the gradient's size, but for its epsilon of 1e-8.
    assert abs(task.network.weight.item()) < 0.05


def test_time_that_is_spent_ends_a_stage():
    assert run(Toy(), minutes=1e-9, epochs=50)["epoch"] == [1]


def test_a_stage_ends_within_an_epoch_when_its_time_is_spent():
    """An epoch of a long record is longer than a small budget."""

    class Long(Toy):
        def training(self, epoch):
            return Days(10_000)

    task = Long()
    history = run(task, minutes=1e-9, epochs=50, learning_rate=0.1)
    assert history["epoch"] == [1]
    assert len(task.batches) == 1
    assert task.network.weight.item() == pytest.approx(-0.1)
    assert history["val_loss"] == pytest.approx([-0.1])


def test_everything_random_belongs_to_seed_epoch_and_batch(tmp_path):
    whole, parts = Toy(), Toy()
    run(whole, epochs=4)
    for epochs in (1, 4):
        content = Checkpoints(tmp_path, "x").load("toy")
        if content:  # what a kill before the last epoch leaves
            Checkpoints(tmp_path, "x").save("toy", content | {"done": False})
        torch.rand(3)
        run(parts, Checkpoints(tmp_path, "x"), epochs=epochs)
    assert parts.batches == whole.batches
    assert parts.random == whole.random
    assert len(set(whole.random)) == len(whole.random)
    assert torch.equal(parts.network.weight, whole.network.weight)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"epoch": "3"}, "epoch", id="type"),
        pytest.param({"weights": {}}, "weights", id="lacking weights"),
        pytest.param({"best": {"slope": torch.zeros(7)}}, "best", id="shape"),
        pytest.param({"average": {"slope": "x"}}, "average", id="no tensor"),
        pytest.param({"script": "rm"}, "script", id="unknown"),
    ],
)
def test_an_altered_checkpoint_is_refused(tmp_path, change, named):
    store = Checkpoints(tmp_path, "x")
    run(Toy(), store)
    content = store.load("toy")
    store.save("toy", {**content, **change})
    with pytest.raises(ModelFormatError, match=f"stage 'toy' is altered .*'{named}' is not what"):
        run(Toy(), store)


def test_a_finished_stage_is_only_read(tmp_path):
    first, second = Toy(), Toy()
    history = run(first, Checkpoints(tmp_path, "x"))
    again = run(second, Checkpoints(tmp_path, "x"))
    assert not second.batches
    assert torch.equal(first.network.weight, second.network.weight)
    assert again == history


def test_nothing_outside_is_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    logger = logging.getLogger("lightning.pytorch")

    def state():
        return (
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            logger.level,
            signal.getsignal(signal.SIGINT),
            list(warnings.filters),
            torch.backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.is_grad_enabled(),
            dict(os.environ),
        )

    task, before = Toy(), state()
    run(task)
    for now, then in zip(state(), before, strict=True):
        assert now == then
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_is_an_interruption():
    class Interrupted(Toy):
        def loss(self, batch, generator):
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted())
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("progress", [False, True])
def test_the_progress_bar_can_be_switched_off(progress, capfd):
    shown = Progress(shown=progress)
    cost = StageCost(name="toy", epochs=1, updates=2, seconds=1.0)
    shown.plan([cost], "cpu", None)
    shown.stage("toy")
    run(Toy(), epochs=1, progress=shown)
    shown.close()
    out, err = capfd.readouterr()
    assert ("toy (1 of 1)" in err) == progress
    assert out == ""
    assert "Epoch" not in err
    assert "GPU available" not in err


def make_denoise(arrays, config):
    known = arrays.sizes.static + arrays.sizes.calendar
    networks = seeded(Networks, 0, 2, config.data.lags, known, config.network)
    networks.denoiser.bound.fill_(config.network.output_bound)
    size, stride = config.data.patch_size, config.data.patch_stride
    layout = PatchLayout(arrays.shape, size, stride, 0, "uniform")
    return Denoise(
        data=arrays,
        network=networks,
        rows=arrays.train_targets,
        cutter=PatchGrid(layout, arrays.mask[0]),
        arrange=patch_inputs,
        seed=0,
        batch=config.training.batch_days,
        name="denoise",
        stage=2,
        schedule=squared_cosine(config.diffusion.train_steps),
        kind=config.diffusion.loss,
    )


@pytest.mark.parametrize(("encoder", "learnt"), [("frozen", False), ("finetuned", True)])
def test_a_frozen_encoder_is_not_in_the_optimizer(arrays, config, encoder, learnt):
    task = make_denoise(arrays, config.replace(network={"encoder": encoder}))
    optimizer = make_optimizer(task.network, config.training)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) in held for p in task.network.encoder.parameters()} == {learnt}
    assert all(id(p) in held for p in task.network.denoiser.parameters())
    assert any(name.startswith("encoder.") for name in trainable(task.network)) == learnt


@pytest.mark.parametrize(("kind", "cls"), [("adam", "Adam"), ("adamw", "AdamW")])
def test_the_optimizer_is_the_one_asked_for(kind, cls):
    config = TrainingConfig(optimizer=kind, learning_rate=0.3, weight_decay=0.2)
    optimizer = make_optimizer(nn.Linear(1, 1), config)
    assert type(optimizer).__name__ == cls
    assert optimizer.defaults["lr"] == 0.3
    assert optimizer.defaults["weight_decay"] == 0.2


def test_pixels_that_are_missing_do_not_teach(arrays, config, replaced):
    """Whatever lies under NaN and outside the mask, the loss is the same."""
    losses = []
    mask = arrays.mask.copy()
    mask[:, 4:] = False
    for rubbish in (np.nan, 0.9):
        fine = arrays.fine.copy()
        fine[arrays.train_targets[-1], :, 4:] = rubbish
        task = make_denoise(replaced(arrays, fine=fine, mask=mask), config)
        task.network.eval()
        day = task.training(0)[len(arrays.train_targets) - 1]
        # A denoiser that looks at x_t would see the rubbish in its noisy input.
        task.network.denoiser.encoder.stem.weight.data.zero_()
        with torch.no_grad():
            losses.append(task.loss(day, torch.Generator().manual_seed(0)).item())
    assert losses[0] == losses[1] > 0


def test_one_batch_is_learnt_by_heart(arrays, config):
    quiet = config.replace(network={"dropout": 0.0, "channels": (16, 32)})
    task = make_denoise(arrays, quiet)
    day = task.training(0)[0]
    optimizer = torch.optim.Adam(trainable(task.network).values(), lr=3e-3)
    losses = []
    for update in range(150):
        loss = task.loss(day, torch.Generator().manual_seed(update))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < losses[0] / 5


@dataclass
class Measured(Toy):
    """A toy that measures the mean and the number of the held-out items."""

    columns: tuple[str, ...] = ("mean", "count")

    def measure(self, batch, generator):
        return torch.tensor([float(batch.target.sum()), len(batch.target)])

    def measured(self, sums):
        return float(sums[0] / sums[1]), float(sums[1])


def test_what_a_task_measures_is_in_the_history(tmp_path):
    store = Checkpoints(tmp_path, "x")
    history = run(Measured(held_out=5), store, epochs=2)
    assert history["mean"] == [2.0, 2.0]  # of the items 0 to 4, in several batches
    assert history["count"] == [5.0, 5.0]
    assert (tmp_path / "toy.csv").read_text().splitlines()[0].endswith("seconds,mean,count")
    again = run(Measured(held_out=5), store, epochs=2)
    assert again == history
    with pytest.raises(ModelFormatError, match="'history' is not what training wrote"):
        run(Toy(held_out=5), store, epochs=2)


def test_what_a_task_measures_without_held_out_items_is_not_a_number():
    assert np.isnan(run(Measured(held_out=0), epochs=1)["mean"]).all()
