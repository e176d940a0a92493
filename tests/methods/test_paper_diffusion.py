"""The paper's method: training that resumes, reproduces and refuses; weights that must fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dask.array
import numpy as np
import pytest
import torch

from records import small_arrays, small_config
from xdownscale import methods
from xdownscale.core.errors import (
    DataError,
    GridError,
    ModelFormatError,
    ModelMismatchError,
    OptionError,
)
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.state import count_parameters, trained_weights
from xdownscale.models.training.run import TrainingRun
from xdownscale.models.training.stages import as_arrays

SIZES = Sizes(drivers=1, window=3, lags=2, own=(0,), fine_lags=2, static=2, calendar=3)
SCRIPT = Path(__file__).with_name("killed_training.py")


def train(arrays, config, **options):
    options = {"seed": 3, "device": "cpu"} | options
    return methods.find("diffusion").train(arrays, TrainingRun(config=config, **options))


def load(state, config, sizes):
    return methods.find("diffusion").load(state, config, sizes, "cpu")


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def differ(a, b, prefix):
    return any(not np.array_equal(a[n], b[n]) for n in a if n.startswith(prefix))


@pytest.fixture(scope="module")
def undisturbed():
    torch.set_num_threads(1)
    return train(small_arrays(), small_config())


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["midst", "writing"])
def test_a_killed_training_ends_with_the_same_weights(
    arrays, config, undisturbed, tmp_path, moment
):
    """Killed in stage 1, taken up, killed in stage 2, taken up."""
    for stage, epoch in (("pretrain", 2), ("denoise", 3 if moment == "midst" else 1)):
        command = [sys.executable, str(SCRIPT), str(tmp_path), stage, str(epoch), moment]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == -9, done.stderr
    left = torch.load(tmp_path / "pretrain.pt", weights_only=True)
    assert left["done"]
    resumed = train(arrays, config, checkpoint_dir=tmp_path)
    assert_same(resumed.state, undisturbed.state)
    for name in ("stage", "epoch", "train_loss", "val_loss", "lr"):
        np.testing.assert_array_equal(resumed.history[name], undisturbed.history[name])
    assert len((tmp_path / "pretrain.csv").read_text().splitlines()) == 1 + 3
    assert len((tmp_path / "denoise.csv").read_text().splitlines()) == 1 + 4


def test_what_training_returns(undisturbed, config):
    assert undisturbed.history["stage"].tolist() == ["pretrain"] * 3 + ["denoise"] * 4
    assert undisturbed.history["epoch"].tolist() == [1, 2, 3, 1, 2, 3, 4]
    assert all(w.dtype == np.float32 for w in undisturbed.state.values())
    assert {name.split(".")[0] for name in undisturbed.state} == {
        "encoder",
        "denoiser",
        "forecaster",
    }
    networks = load(undisturbed.state, config, SIZES).networks
    assert_same(as_arrays(networks.state_dict()), trained_weights(undisturbed.state))
    counted = count_parameters(undisturbed.state)
    assert counted["encoder"] == sum(p.numel() for p in networks.encoder.parameters())
    assert counted["denoiser"] == 1 + sum(p.numel() for p in networks.denoiser.parameters())


def test_the_seed_decides(arrays, config):
    short = config.replace(training={"epochs": 1, "pretrain_epochs": 1})
    one, same, other = (train(arrays, short, seed=s).state for s in (1, 1, 2))
    assert_same(one, same)
    assert differ(one, other, "encoder.")
    assert differ(one, other, "denoiser.")


def test_dask_arrays_train_the_same_weights(arrays, config, replaced, undisturbed):
    lazy = {n: dask.array.from_array(getattr(arrays, n)) for n in ("fine", "driver", "coarse")}
    assert_same(train(replaced(arrays, **lazy), config).state, undisturbed.state)


def test_training_reads_and_never_writes(arrays, config, replaced):
    for name in ("coarse", "driver", "fine", "static", "calendar", "mask"):
        getattr(arrays, name).flags.writeable = False
    short = config.replace(training={"epochs": 1, "pretrain_epochs": 1})
    train(arrays, short)


@pytest.mark.parametrize(("encoder", "changes"), [("frozen", False), ("finetuned", True)])
def test_stage_2_leaves_a_frozen_encoder_alone(arrays, config, undisturbed, encoder, changes):
    config = config.replace(network={"encoder": encoder}, training={"epochs": 1})
    trained = train(arrays, config, encoder=undisturbed.state)
    assert set(trained.history["stage"]) == {"denoise"}
    assert differ(undisturbed.state, trained.state, "encoder.") == changes


def test_without_an_encoder_there_is_no_first_stage(arrays, config):
    config = config.replace(network={"encoder": "none"}, training={"epochs": 1})
    trained = train(arrays, config)
    assert set(trained.history["stage"]) == {"denoise"}
    assert not any(name.startswith("encoder.") for name in trained.state)


def test_the_bound_follows_the_training_fields(arrays, config, replaced):
    config = config.replace(training={"epochs": 1, "pretrain_epochs": 1})
    fine = arrays.fine * 5 / np.abs(arrays.fine[arrays.train_targets]).max()
    fine[arrays.train_targets[0], 0, 0, 0] = np.nan
    state = train(replaced(arrays, fine=fine), config).state
    assert state["denoiser.bound"] == pytest.approx(1.2 * 5, rel=0.2)


def test_minutes_are_shared_between_the_stages(arrays, config):
    config = config.replace(training={"max_minutes": 1e-9})
    assert train(arrays, config).history["epoch"].tolist() == [1, 1]


def test_a_folder_of_another_training_is_refused(arrays, config, tmp_path):
    short = config.replace(training={"epochs": 1, "pretrain_epochs": 1})
    train(arrays, short, checkpoint_dir=tmp_path, fingerprint="dust")
    train(arrays, short.replace(sampling={"steps": 2}), checkpoint_dir=tmp_path, fingerprint="dust")
    for changed in (
        {"fingerprint": "rain"},
        {"fingerprint": "dust", "seed": 4},
        {"fingerprint": "dust", "config": short.replace(network={"dropout": 0.1})},
    ):
        given = changed.pop("config", short)
        with pytest.raises(ModelMismatchError, match="another configuration or of other data"):
            train(arrays, given, checkpoint_dir=tmp_path, **changed)


@pytest.mark.parametrize("name", ["train_targets", "coarse_targets"])
def test_no_time_step_to_train_on_is_refused(arrays, config, replaced, name):
    none = {"train_targets": arrays.train_targets[:0]}
    if name == "coarse_targets":
        none = {"coarse_stopping": np.ones_like(arrays.coarse_stopping)}
    with pytest.raises(DataError, match=f"No time step to train on: {name}"):
        train(replaced(arrays, **none), config)


def test_an_unknown_device_is_refused_before_anything_is_done(arrays, config, tmp_path):
    with pytest.raises(OptionError, match="Unknown device"):
        train(arrays, config, device="gpu", checkpoint_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_weights_that_lack_something_are_refused(undisturbed, config):
    state = dict(undisturbed.state)
    del state["denoiser.bound"]
    with pytest.raises(ModelFormatError, match=r"lack 'denoiser.bound' \(1 lacking, 0 unknown\)"):
        load(state, config, SIZES)


def test_weights_that_hold_too_much_are_refused(undisturbed, config):
    none = config.replace(network={"encoder": "none"})
    with pytest.raises(ModelFormatError, match="which is not known"):
        load(undisturbed.state | {"x": np.zeros(1)}, config, SIZES)
    with pytest.raises(ModelFormatError, match="configuration that they were trained with"):
        load(undisturbed.state, none, SIZES)


def test_weights_of_other_sizes_are_refused(undisturbed, config):
    with pytest.raises(ModelFormatError, match=r"have shape .* the configuration needs"):
        load(undisturbed.state, config, SIZES._replace(static=3))
    larger = config.replace(network={"encoder_channels": (16, 16)})
    with pytest.raises(ModelFormatError, match=r"'encoder\..* have shape|'denoiser"):
        load(undisturbed.state, larger, SIZES)


def test_a_foreign_encoder_is_refused(arrays, config):
    with pytest.raises(ModelFormatError, match="lack 'encoder"):
        train(arrays, config, encoder={"decoder.x": np.zeros(1)})


def test_a_patch_larger_than_the_image_is_refused(arrays, config):
    config = config.replace(data={"patch_size": 13})
    with pytest.raises(GridError, match="patch larger than the image"):
        train(arrays, config)
