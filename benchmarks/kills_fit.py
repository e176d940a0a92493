"""Kill a training at random moments, and start it again until it ends.

`fit` runs in a process of its own, with a checkpoint folder, and is killed with SIGKILL after a
random time; then it is started again. The model that it ends with is held against that of an
undisturbed run, bit for bit. One thread, for then sums do not depend on the machine's mood.

Run: OMP_NUM_THREADS=1 python benchmarks/kills_fit.py [--kills 10] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask.array
import numpy as np
import torch
import xarray as xr

import xdownscale as xd

DAYS, SHAPE, FACTOR = 160, (48, 40), 4
READY = "learning"


def records() -> tuple[xr.DataArray, xr.DataArray]:
    """Return a lazy fine record and its averages over coarse cells."""
    rng = np.random.default_rng(3)
    coarse = rng.normal(size=(DAYS, SHAPE[0] // FACTOR, SHAPE[1] // FACTOR))
    fine = coarse.repeat(FACTOR, 1).repeat(FACTOR, 2) + 0.3 * rng.normal(size=(DAYS, *SHAPE))
    lat, lon = (10 + 0.25 * np.arange(n) for n in SHAPE)
    lazy = dask.array.from_array(fine.astype(np.float32), chunks=(8, -1, -1))
    coords = {"time": xr.date_range("2000-01-01", periods=DAYS), "lat": lat, "lon": lon}
    record = xr.DataArray(lazy, coords, name="t")
    return record.coarsen(lat=FACTOR, lon=FACTOR).mean().compute(), record


def learn(folder: str, saved: str) -> None:
    """Fit with a record that is read while it is learnt from, in bounded epochs."""
    torch.set_num_threads(1)
    config = xd.preset(
        "fast",
        data={"extrapolate": "nearest", "crop": 16, "memory_limit": 0.1},
        network={"channels": (8, 8), "encoder_channels": (8, 8)},
        training={
            "epochs": 16,
            "pretrain_epochs": 12,
            "mean_epochs": 12,
            "epoch_batches": 6,
            "patience": 50,
        },
        sampling={"steps": 2},
    )
    coarse, fine = records()
    print(READY, flush=True)
    model = xd.fit(
        coarse, fine, preset=config, progress=False, pairing="paired", checkpoint_dir=folder
    )
    model.save(saved)


def start(folder: Path, saved: Path) -> subprocess.Popen[str]:
    """Start a training, and wait until it has loaded its libraries."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--learn", str(folder), str(saved)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as told:
        if READY not in told.readline():
            raise RuntimeError("the training did not start")
    return process


def finish(process: subprocess.Popen[str]) -> None:
    if process.wait() != 0:
        raise RuntimeError("the training failed")


def same(one: Path, other: Path) -> bool:
    """Tell whether two models hold the same numbers, bit for bit."""
    states = [xd.load(path).models_["all"].state for path in (one, other)]
    return states[0].keys() == states[1].keys() and all(
        np.array_equal(states[0][name], states[1][name]) for name in states[0]
    )


def killed(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill a training so often, and say what became of it.

    Moments are drawn so that all trainings together take half as much time again as an undisturbed
    one: each has to find its way back first.
    """
    process = start(folder / "a", folder / "a.xd")
    began = time.monotonic()
    finish(process)
    whole, drawn = time.monotonic() - began, random.Random(seed)
    moments, epochs, ended = [], [], 0
    for _ in range(kills):
        process = start(folder / "b", folder / "b.xd")
        moments.append(drawn.uniform(0.2, min(0.8, 3 / kills) * whole))
        time.sleep(moments[-1])
        process.send_signal(signal.SIGKILL)
        ended += process.wait() == 0
        tables = folder.glob("b/**/*.csv")
        epochs.append(sum(table.read_text().count("\n") - 1 for table in tables))
    left = sorted(p.name for p in folder.glob("b/**/*.partial"))
    (folder / "b.xd").unlink(missing_ok=True)
    finish(start(folder / "b", folder / "b.xd"))
    return {
        "undisturbed, s": round(whole, 1),
        "killed after, s": " ".join(f"{moment:.1f}" for moment in moments),
        "epochs that were over": " ".join(map(str, epochs)),
        "ended before its kill": ended,
        "half-written files after the kills": len(left),
        "half-written files at the end": len(list(folder.glob("b/**/*.partial"))),
        "same weights, bit for bit": "yes" if same(folder / "a.xd", folder / "b.xd") else "NO",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learn", nargs=2, help="used by the script itself: folder, model")
    args = parser.parse_args()
    if args.learn:
        learn(*args.learn)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = killed(Path(folder), args.kills, args.seed)
    print(
        f"Machine: {platform.machine()}, {os.cpu_count()} cores. Seed {args.seed}. "
        f"Command: python {shlex.join(sys.argv)}\n\n| kills of `fit` | {args.kills} |\n|---|---|"
    )
    for name, value in found.items():
        print(f"| {name} | {value} |")
    if found["same weights, bit for bit"] != "yes":
        sys.exit(1)


if __name__ == "__main__":
    main()
