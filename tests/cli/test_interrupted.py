"""Commands that are stopped leave what the same command goes on from, and say so."""

from __future__ import annotations

import json
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

import xdownscale as xd
from cli.conftest import begin, end
from records import TINY

PREDICT = ("predict", "model.xd", "coarse.nc", "-r", "4", "--chunks", "time=6,realization=1", "-q")
SLURM = {"SLURM_JOB_ID": "71", "SLURM_JOB_NAME": "maps", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}
SRUN = SLURM | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NODELIST": "localhost"}


def stop_when(there, process, number) -> None:
    """Send a signal as soon as something is there."""
    until = time.monotonic() + 200
    while not there() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(number)


def pieces(store: Path) -> int:
    return len(list(store.glob("xdownscale/finished/c/*/*")))


def contents(store: Path) -> dict[str, bytes]:
    """Return the files of a store's fields and coordinates."""
    files = (path for path in store.rglob("c/**/*") if path.is_file())
    found = {path.relative_to(store).as_posix(): path.read_bytes() for path in files}
    return {name: text for name, text in found.items() if not name.startswith("xdownscale")}


@pytest.fixture(scope="module")
def undisturbed(fitted, folder, command, tmp_path_factory) -> dict[str, bytes]:
    """Files of a store that one command filled in one go."""
    store = tmp_path_factory.mktemp("undisturbed") / "maps.zarr"
    done = command(*PREDICT, "-o", str(store))
    assert done.returncode == 0, done.stderr
    return contents(store)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stopped_prediction_goes_on_to_the_same_bits(
    number, undisturbed, folder, command, tmp_path
):
    store = tmp_path / "maps.zarr"
    process = begin(*PREDICT, "-o", str(store), folder=folder)
    stop_when(lambda: pieces(store) > 2, process, number)
    done = end(process)
    assert done.returncode == 130, done.stderr
    assert 2 < pieces(store) < 4 * 15
    assert "Traceback" not in done.stderr
    assert f"Interrupted. Finished pieces are in {store}. Go on with:" in done.stderr
    words = shlex.split(done.stderr.rstrip().splitlines()[-1])
    assert words == ["xdownscale", *PREDICT, "-o", str(store), "--resume"]
    resumed = command(*words[1:])
    assert resumed.returncode == 0, resumed.stderr
    assert contents(store) == undisturbed
    assert len(undisturbed) > 4 * 15


def test_a_stopped_netcdf_file_is_not_there(fitted, folder, tmp_path):
    process = begin(*PREDICT, "-o", f"{tmp_path}/maps.nc", folder=folder)
    stop_when(lambda: list(tmp_path.glob(".maps.nc*")), process, signal.SIGTERM)
    done = end(process)
    assert done.returncode == 130, done.stderr
    assert "a netCDF file cannot be resumed" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def fit(folder):
    """Words of a command that trains networks for some seconds."""
    tree = TINY | {"preset": "paper", "data": TINY["data"] | {"extrapolate": "nearest"}}
    tree["training"] = TINY["training"] | {"pretrain_epochs": 3, "epochs": 4}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(tree))))
    return ("fit", "coarse.nc", "fine.nc", "--config", "tiny.yaml", "-q")


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_weights(fit, folder, command, tmp_path):
    asked = (*fit, "-o", f"{tmp_path}/b.xd", "--checkpoint-dir", f"{tmp_path}/c")
    for stage, number in (("pretrain", signal.SIGTERM), ("denoise", signal.SIGINT)):
        process = begin(*asked, folder=folder)
        stop_when((tmp_path / "c" / "all" / f"{stage}.csv").is_file, process, number)
        done = end(process)
        assert done.returncode == 130, done.stderr
        assert "Traceback" not in done.stderr
        assert f"Finished epochs are in {tmp_path}/c. Go on with the same command" in done.stderr
        words = shlex.split(done.stderr.rstrip().splitlines()[-1])
        assert words == ["xdownscale", *asked]
        assert not (tmp_path / "b.xd").exists()
    assert command(*asked).returncode == 0
    undisturbed = command(*fit, "-o", f"{tmp_path}/a.xd", **SRUN, SLURM_PROCID="0")
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert "srun runs this command in 2 tasks" in undisturbed.stderr
    ours, theirs = (xd.load(tmp_path / name).models_["all"].state for name in ("a.xd", "b.xd"))
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        np.testing.assert_array_equal(theirs[name], weights, err_msg=name)


@pytest.mark.slow
def test_a_stopped_training_without_checkpoints(fit, folder, tmp_path):
    process = begin(*fit[:-1], "-o", f"{tmp_path}/m.xd", folder=folder)
    line = process.stderr.readline()
    assert line.startswith("Fitting")
    process.send_signal(signal.SIGTERM)
    done = end(process)
    assert done.returncode == 130, done.stderr
    assert "Add --checkpoint-dir FOLDER" in done.stderr
    assert not list(tmp_path.iterdir())


def test_two_tasks_of_a_job_do_not_fill_one_store(undisturbed, folder, tmp_path):
    store = tmp_path / "maps.zarr"
    asked = (*PREDICT, "-o", str(store), "--resume")
    tasks = [begin(*asked, folder=folder, **SLURM, SLURM_PROCID=rank) for rank in ("0", "1")]
    done = [end(task) for task in tasks]
    assert {task.returncode for task in done} <= {0, 1}
    assert 0 in {task.returncode for task in done}, [task.stderr for task in done]
    for task in done:
        if task.returncode == 1:
            assert "Another process" in task.stderr
    assert contents(store) == undisturbed


def test_tasks_of_a_job_take_a_store_each(fitted, folder, command, tmp_path):
    spans = {"0": ("2000-02-01", "2000-02-10"), "1": ("2000-02-11", "2000-02-20")}
    for rank, span in spans.items():
        out = f"{tmp_path}/maps-{rank}.zarr"
        done = command("predict", "model.xd", "coarse.nc", "-q", "-o", out, "--time", *span)
        assert done.returncode == 0, done.stderr
    shown = command("score", f"{tmp_path}/maps-*.zarr", "fine.nc")
    assert shown.returncode == 0, shown.stderr
    assert "| maps-* (" in shown.stdout or "| maps-* |" in shown.stdout
