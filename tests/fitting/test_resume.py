"""Training that is killed goes on where it was: the labelled main job, with a real SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xdownscale as xd
from records import TESTS
from xdownscale.core.errors import ModelMismatchError

FIT = """
import sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from records import TINY, make_record
import xdownscale as xd
config = xd.preset("paper", **TINY).replace(training=dict(epochs=4, pretrain_epochs=3))
coarse, fine = make_record(2.0, days=70, margin=2.0), make_record(0.5, days=60)
model = coarse.downscale.fit(fine, preset=config, progress=False, checkpoint_dir={folder!r})
model.save({saved!r})
"""


def start(folder: Path, saved: Path) -> subprocess.Popen:
    code = FIT.format(tests=str(TESTS), folder=str(folder), saved=str(saved))
    return subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def rows(csv: Path) -> int:
    return len(csv.read_text().splitlines()) - 1 if csv.is_file() else 0


def kill_after(epochs: int, csv: Path, process: subprocess.Popen) -> None:
    """Kill the process as soon as `csv` tells of so many epochs."""
    while rows(csv) < epochs and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "training ended before it could be killed"


@pytest.mark.slow
def test_killed_training_ends_with_the_same_weights(tmp_path):
    undisturbed = start(tmp_path / "a", tmp_path / "a.xd")
    assert undisturbed.wait() == 0
    folder = tmp_path / "b"
    for stage, epochs in (("pretrain", 1), ("denoise", 2)):
        kill_after(epochs, folder / "all" / f"{stage}.csv", start(folder, tmp_path / "b.xd"))
        assert not (tmp_path / "b.xd").exists()
    assert start(folder, tmp_path / "b.xd").wait() == 0
    expected, found = (xd.load(tmp_path / name).models_["all"].state for name in ("a.xd", "b.xd"))
    assert expected.keys() == found.keys()
    for name, weights in expected.items():
        np.testing.assert_array_equal(found[name], weights, err_msg=name)


def test_folder_of_another_training_is_refused(tmp_path, coarse, fine, tiny_config):
    def fit(**options):
        return coarse.downscale.fit(
            fine, preset=tiny_config, progress=False, checkpoint_dir=tmp_path, **options
        )

    first = fit()
    again = fit()
    for name, weights in first.models_["all"].state.items():
        np.testing.assert_array_equal(again.models_["all"].state[name], weights)
    static = fine.isel(time=0, drop=True)
    for other in ({"seed": 1}, {"static": static}, {"regions": {"all": (40, 49, 10, 18)}}):
        with pytest.raises(ModelMismatchError, match="another"):
            fit(**other)
