"""Records as files, a model that the command line fitted, and processes of the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from records import make_pair

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess]


def environment(**further: str) -> dict[str, str]:
    """Return the environment of a process: this package, one thread, nothing of a batch job."""
    ours = {n: v for n, v in os.environ.items() if not n.startswith(("SLURM_", "XDOWNSCALE_D"))}
    paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return {**ours, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": "80", **further}


def begin(*args: str, folder: Path, **variables: str) -> subprocess.Popen:
    """Start a command in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "xdownscale", *args],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_as_in_a_terminal,
    )


def _as_in_a_terminal() -> None:
    """A shell lets what it runs in the background ignore Ctrl-C; these processes do not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """Wait for a command."""
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Folder with ``coarse.nc`` and ``fine.nc``, and the same cut into files and as stores."""
    here = tmp_path_factory.mktemp("records")
    coarse, fine = make_pair(60)
    coarse.to_netcdf(here / "coarse.nc")
    fine.to_netcdf(here / "fine.nc")
    (here / "cut").mkdir()
    for number, begin_ in enumerate(range(0, 90, 30)):
        part = coarse.isel(time=slice(begin_, begin_ + 30))
        part.to_netcdf(here / "cut" / f"coarse_{number}.nc")
        part.to_zarr(here / "cut" / f"coarse_{number}.zarr", consolidated=False)
    return here


@pytest.fixture(scope="session")
def command(folder) -> Run:
    """Run a command in the folder of the records, and return what it wrote."""

    def run(*args: str, where: Path = folder, **variables: str) -> subprocess.CompletedProcess:
        return end(begin(*args, folder=where, **variables))

    return run


@pytest.fixture(scope="session")
def fitted(command, folder) -> subprocess.CompletedProcess:
    """The command that fitted ``model.xd``."""
    done = command("fit", "coarse.nc", "fine.nc", "-o", "model.xd", "--preset", "dressed")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def maps(command, fitted, folder) -> subprocess.CompletedProcess:
    """The command that made ``maps.nc``."""
    done = command(
        *("predict", "model.xd", "coarse.nc", "-o", "maps.nc", "-r", "2", "-q"),
        *("--time", "2000-02-01", "2000-03-10"),
    )
    assert done.returncode == 0, done.stderr
    return done
