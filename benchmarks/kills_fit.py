"""Kill a training at random times, start it again until it ends, and check the final weights.

`fit` runs in a process of its own, with a checkpoint folder, and is killed with SIGKILL after a
random time; then it is started again. The final model is compared with that of an undisturbed run,
bit for bit. One thread, so that the order of sums is fixed.

Run: OMP_NUM_THREADS=1 python benchmarks/kills_fit.py [--kills 10] [--seed 0]
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import (
    SMALL_NETWORK,
    command,
    make_parser,
    one_thread,
    print_head,
    print_row,
    run_facts,
    small_records,
)

import xdownscale as xd

READY = "training"


def train(folder: str, saved: str, epochs: str) -> None:
    """Train on a fine record that is read during training, in bounded epochs."""
    torch.set_num_threads(1)
    config = xd.preset(
        "fast",
        data={"extrapolate": "nearest", "crop": 16, "memory_limit": 0.1},
        network=SMALL_NETWORK,
        training={
            "epochs": int(epochs),
            "pretrain_epochs": int(epochs) * 3 // 4,
            "mean_epochs": int(epochs) * 3 // 4,
            "epoch_batches": 6,
            "patience": 50,
        },
        sampling={"steps": 2},
    )
    coarse, fine = small_records(days=160, shape=(48, 40), factor=4)
    print(READY, flush=True)
    model = xd.fit(
        coarse,
        fine.chunk(time=8),
        preset=config,
        progress=False,
        pairing="paired",
        checkpoint_dir=folder,
    )
    model.save(saved)


def start(folder: Path, saved: Path, epochs: int) -> subprocess.Popen[str]:
    """Start a training, and wait until it has loaded its libraries."""
    process = subprocess.Popen(
        command(__file__, "--train", folder, saved, epochs),
        stdout=subprocess.PIPE,
        env=one_thread(),
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as printed:
        if READY not in printed.readline():
            raise RuntimeError("the training did not start")
    return process


def finish(process: subprocess.Popen[str]) -> None:
    if process.wait() != 0:
        raise RuntimeError("the training failed")


def same(one: Path, other: Path) -> bool:
    """Return whether two models have the same weights, bit for bit."""
    states = [xd.load(path).models_["all"].state for path in (one, other)]
    return states[0].keys() == states[1].keys() and all(
        np.array_equal(states[0][name], states[1][name]) for name in states[0]
    )


def killed(folder: Path, kills: int, seed: int, epochs: int = 16) -> dict[str, object]:
    """Kill a training so many times; return measures by name.

    Times are chosen so that all runs together take half as much time again as an undisturbed one,
    because each has to load its checkpoint first.
    """
    process = start(folder / "a", folder / "a.xd", epochs)
    began = time.monotonic()
    finish(process)
    whole, rng = time.monotonic() - began, random.Random(seed)
    moments, over, ended = [], [], 0
    for _ in range(kills):
        process = start(folder / "b", folder / "b.xd", epochs)
        moments.append(rng.uniform(0.2, min(0.8, 3 / kills) * whole))
        time.sleep(moments[-1])
        process.send_signal(signal.SIGKILL)
        ended += process.wait() == 0
        tables = folder.glob("b/**/*.csv")
        over.append(sum(table.read_text().count("\n") - 1 for table in tables))
    left = sorted(p.name for p in folder.glob("b/**/*.partial*"))
    (folder / "b.xd").unlink(missing_ok=True)
    finish(start(folder / "b", folder / "b.xd", epochs))
    return {
        "undisturbed, s": round(whole, 1),
        "killed after, s": " ".join(f"{moment:.1f}" for moment in moments),
        "epochs that were over": " ".join(map(str, over)),
        "ended before its kill": ended,
        "half-written files after the kills": len(left),
        "half-written files at the end": len(list(folder.glob("b/**/*.partial*"))),
        "same weights, bit for bit": "yes" if same(folder / "a.xd", folder / "b.xd") else "NO",
    }


def main() -> None:
    parser = make_parser(__doc__, "--seed")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--train", nargs=3, help="used by the script itself")
    args = parser.parse_args()
    if args.train:
        train(*args.train)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = killed(Path(folder), args.kills, args.seed)
    print(f"{run_facts(args.seed)}\n")
    print_head("kills of `fit`", args.kills)
    for name, value in found.items():
        print_row(name, value)
    if found["same weights, bit for bit"] != "yes":
        sys.exit(1)


if __name__ == "__main__":
    main()
