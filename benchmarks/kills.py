"""Kill a process that draws, again and again, and look at what it leaves.

python benchmarks/kills.py [--kills 20] [--seed 0]

A process fills a store with the package's own model and the twin's coarse record, is killed
(SIGKILL) at random moments, and is started anew until the store is whole. Counted are finished
chunks that were written again, files that an undisturbed run does not leave, and bytes that differ.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DAYS, CHUNK = 480, 4
DATED = ("zarr.json", "xdownscale/zarr.json")  # hold the time of their making


def draw(store: str) -> None:
    """Fill a store in this process."""
    import torch

    import xdownscale as xd

    torch.set_num_threads(1)
    ds = xd.datasets.load_twin()
    days = ds.time_coarse[100 : 100 + DAYS]
    model = xd.load_pretrained("dust-twin-tiny")
    xd.predict_to_zarr(model, ds.dust, store, time=days, chunks=CHUNK, progress=False)


def finished(store: Path) -> set[Path]:
    """Chunks whose piece the store calls finished."""
    notes = store.glob("xdownscale/finished/c/0/*")
    return {store / f"dust_fine/c/0/{note.name}/0/0" for note in notes}


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but those that bear a date."""
    files = {str(p.relative_to(store)): p for p in store.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in DATED}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        draw(sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, kills, starts, again = np.random.default_rng(asked.seed), 0, 0, 0
    stamps: dict[Path, int] = {}
    moments = []
    with tempfile.TemporaryDirectory() as name:
        calm, store = Path(name, "calm.zarr"), Path(name, "killed.zarr")
        command = [sys.executable, __file__, "--child"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([*command, str(calm)], check=True, env=environment)
        while True:
            process = subprocess.Popen([*command, str(store)], env=environment)
            starts += 1
            aim = len(finished(store)) + int(rng.integers(0, 4))
            while process.poll() is None and len(finished(store)) < aim:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 1.5))
            if process.poll() is None and kills < asked.kills:
                process.send_signal(signal.SIGKILL)
                kills += 1
                moments.append(len(finished(store)))
            process.wait()
            again += sum(path.stat().st_mtime_ns != stamp for path, stamp in stamps.items())
            stamps = {path: path.stat().st_mtime_ns for path in finished(store)}
            if process.returncode == 0:
                break
        one, other = contents(calm), contents(store)
        differ = sum(one[k] != other[k] for k in one.keys() & other.keys())
        print("| what | figure |\n|---|---|")
        print(f"| pieces | {len(finished(store))} |")
        print(f"| kills | {kills}, in {starts} starts |")
        print(f"| pieces finished at each kill | {', '.join(map(str, moments))} |")
        print(f"| finished chunks that were written again | {again} |")
        print(f"| files that lack, or are too many | {len(one.keys() ^ other.keys())} |")
        print(f"| files that differ from an undisturbed run | {differ} of {len(one)} |")


if __name__ == "__main__":
    main()
