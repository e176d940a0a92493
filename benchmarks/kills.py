"""Kill a process that writes predictions, again and again, and check what is in the store.

python benchmarks/kills.py [--kills 20] [--seed 0]

A process fills a store with the package's own model and the twin's coarse record, is killed
(SIGKILL) at random times, and is started again until the store is complete. Counted are finished
chunks that were written again, files that an undisturbed run does not leave, and files that differ.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import command, make_parser, one_thread, print_head, print_row

DAYS, CHUNK = 480, 4
DATED = ("zarr.json", "xdownscale/zarr.json")  # contain the time of writing


def fill(store: str) -> None:
    """Predict into a store in this process."""
    import torch

    import xdownscale as xd

    torch.set_num_threads(1)
    ds = xd.datasets.load_twin()
    days = ds.time_coarse[100 : 100 + DAYS]
    model = xd.load_pretrained("dust-twin-tiny")
    xd.predict_to_zarr(model, ds.dust, store, time=days, chunks=CHUNK, progress=False)


def finished(store: Path) -> set[Path]:
    """Return the chunks that the store lists as finished."""
    notes = store.glob("xdownscale/finished/c/0/*")
    return {store / f"dust_fine/c/0/{note.name}/0/0" for note in notes}


def contents(store: Path) -> dict[str, bytes]:
    """Read every file of a store except those that contain a date."""
    files = {str(p.relative_to(store)): p for p in store.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in DATED}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        fill(sys.argv[2])
        return
    parser = make_parser(__doc__, "--seed")
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    rng, kills, starts, again = np.random.default_rng(args.seed), 0, 0, 0
    stamps: dict[Path, int] = {}
    moments = []
    with tempfile.TemporaryDirectory() as name:
        calm, store = Path(name, "calm.zarr"), Path(name, "killed.zarr")
        subprocess.run(command(__file__, "--child", calm), check=True, env=one_thread())
        while True:
            process = subprocess.Popen(command(__file__, "--child", store), env=one_thread())
            starts += 1
            aim = len(finished(store)) + int(rng.integers(0, 4))
            while process.poll() is None and len(finished(store)) < aim:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 1.5))
            if process.poll() is None and kills < args.kills:
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
        print_head("what", "figure")
        print_row("pieces", len(finished(store)))
        print_row("kills", f"{kills}, in {starts} starts")
        print_row("pieces finished at each kill", ", ".join(map(str, moments)))
        print_row("finished chunks that were written again", again)
        print_row("files that lack, or are too many", len(one.keys() ^ other.keys()))
        print_row("files that differ from an undisturbed run", f"{differ} of {len(one)}")


if __name__ == "__main__":
    main()
