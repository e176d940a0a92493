"""Training inside jobs of SLURM, torchrun and Kubernetes: as anywhere else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from records import TESTS
from toy_training import Days, Toy, run
from xdownscale.config import TrainingConfig
from xdownscale.core.errors import OptionError
from xdownscale.models.training.distributed import environment_of

SLURM = {
    "SLURM_JOB_ID": "71",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "nowhere[1-2]",
}
TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "nowhere.invalid",
    "MASTER_PORT": "1",
    "TORCHELASTIC_RUN_ID": "71",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}
JOBS = {
    "SLURM, --ntasks": SLURM,
    "SLURM, --ntasks-per-node": SLURM | {"SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"},
    "SLURM, srun": SLURM | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS_PER_NODE": "4"},
    "torchrun": TORCHRUN,
    "Kubernetes": {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "MASTER_ADDR": "train-master-0.invalid",
        "MASTER_PORT": "23456",
        "RANK": "1",
        "WORLD_SIZE": "4",
    },
    "LSF": {
        "LSB_JOBID": "71",
        "LSB_DJOB_RANKFILE": "/nowhere",
        "JSM_NAMESPACE_LOCAL_RANK": "1",
        "JSM_NAMESPACE_RANK": "3",
        "JSM_NAMESPACE_SIZE": "4",
    },
}
LEARN = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from toy_training import Days, Toy, run

class Slope(Toy):
    def training(self, epoch):
        return Days(8)

    def loss(self, batch, generator):
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL, "another's signal is taken"
        return (self.network.weight * batch.target.mean()).sum()

before = dict(os.environ)
task = Slope(held_out=3)
run(task, learning_rate=0.1, epochs=2, ema_decay=0.9, **{options!r})
assert dict(os.environ) == before or {options!r}.get("strategy") == "ddp"
assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
print(f"weight {{task.network.weight.item()}}", flush=True)  # one write: processes share the pipe
"""


def start(folder, job, launcher=(), **options):
    """Start a script that trains one weight; return the process."""
    script = folder / "learn.py"
    script.write_text(LEARN.format(tests=str(TESTS), options=options))
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return subprocess.Popen(
        [*(launcher or [sys.executable]), str(script)],
        env=ours | {"OMP_NUM_THREADS": "1"} | job,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(*processes):
    """Return the weights that processes printed, which must end well."""
    ends = [each.communicate(timeout=200) for each in processes]
    for each, (_, err) in zip(processes, ends, strict=True):
        assert each.returncode == 0, err
    lines = [line for out, _ in ends for line in out.splitlines() if line.startswith("weight")]
    return [float(line.split()[1]) for line in lines]


class Slope(Toy):
    """As in the script."""

    def training(self, epoch):
        return Days(8)

    def loss(self, batch, generator):
        return (self.network.weight * batch.target.mean()).sum()


def expected(devices):
    """Return the weight that one process trains, with batches as many times as large."""
    task = Slope(held_out=3)
    task.batch = 2 * devices
    run(task, learning_rate=0.1, epochs=2, ema_decay=0.9)
    return pytest.approx(task.network.weight.item(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "job"), [(1, next(iter(JOBS))), *((2, job) for job in JOBS)])
def test_a_job_is_not_asked_who_trains(tmp_path, devices, job):
    """With one process, and with two that this one forks."""
    found = weights(start(tmp_path, JOBS[job], devices=devices))
    assert found == [expected(devices)]


TOGETHER = {"devices": 2, "strategy": "ddp"}


@pytest.mark.slow
@pytest.mark.parametrize("job", [{}, JOBS["Kubernetes"]], ids=["none", "Kubernetes"])
def test_a_script_is_started_again_for_the_second_device(tmp_path, job):
    assert weights(start(tmp_path, job, **TOGETHER)) == [expected(2)] * 2


@pytest.mark.slow
def test_the_processes_of_torchrun_train_together_if_told_so(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    torchrun += ["--standalone", "--nproc-per-node", "2"]
    assert weights(start(tmp_path, {}, torchrun, **TOGETHER)) == [expected(2)] * 2


@pytest.mark.slow
def test_the_processes_of_srun_train_together_if_told_so(tmp_path):
    srun = SLURM | {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_NUM_TASKS": "2"}
    srun |= {"SLURM_NNODES": "1", "SLURM_NODELIST": "localhost"}
    tasks = [
        start(tmp_path, srun | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank}, **TOGETHER)
        for rank in "01"
    ]
    assert weights(*tasks) == [expected(2)] * 2


@pytest.mark.parametrize(
    ("launcher", "job"),
    [("torchrun", TORCHRUN), ("srun", JOBS["SLURM, srun"])],
)
def test_another_number_of_processes_than_were_started(monkeypatch, launcher, job):
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    config = TrainingConfig(devices=2, strategy="ddp")
    with pytest.raises(OptionError, match=rf"{launcher} started 4 processes.*Give devices=4"):
        environment_of(config, "cpu")
