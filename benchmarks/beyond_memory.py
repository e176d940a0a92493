"""Learning from a fine record that is larger than memory: what it holds, reads and takes.

A synthetic record of 20 GB is written chunk by chunk to Zarr (its values take few levels, so that
it is small on disc; each chunk unpacks to real, varying numbers). Preset `fast`, with small
networks, learns from it for one bounded epoch of each stage. Resident memory, with that of
children, is looked at every 20 ms; reads of the fine record are counted where its chunks arrive.

Run: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/beyond_memory.py
[--gigabytes 20] [--batches 40] [--folder DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import os
import platform
import shlex
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import psutil
import xarray as xr

import xdownscale as xd

SEED = 11
SHAPE, FACTOR = (512, 640), 8
CHUNK, WRITTEN = 8, 64  # days in a chunk, and days written at once
LIMIT = 3000  # MB
PHASES = (
    ("xdownscale.fitting.fit", "settle_pairing", "are the days paired?"),
    ("xdownscale.fitting.training_data", "Assignment.check", "gaps, transform and scaling"),
    ("xdownscale.fitting.fit", "_fingerprint", "fingerprint"),
    ("xdownscale.models.networks.weights", "run_stage", "stage"),
    ("xdownscale.models.training.train_fields", "run_stage", "stage"),
    ("xdownscale.models.training.train_fields", "_measure", "measuring the residual"),
    ("xdownscale.models.training.train_fields", "_tempered", "temperature and memory"),
    ("xdownscale.fitting.fit", "_validation_skill", "skill on validation days"),
)


def blocks(rng: np.random.Generator, days: int) -> np.ndarray[Any, Any]:
    """Fields (days, y, x) of few levels: weather on the coarse grid, and a texture that drifts."""
    coarse = rng.integers(-16, 17, (days, SHAPE[0] // FACTOR, SHAPE[1] // FACTOR)) / 8
    field = coarse.astype(np.float32).repeat(FACTOR, 1).repeat(FACTOR, 2)
    y, x = np.arange(SHAPE[0])[:, None], np.arange(SHAPE[1])
    texture = np.round(4 * np.sin(y / 5) * np.cos(x / 7) + np.sin(x / 3)).astype(np.float32) / 8
    for day in range(days):
        field[day] += np.roll(texture, tuple(rng.integers(0, SHAPE)), (0, 1))
    return field


def write(folder: Path, days: int) -> None:
    """Write both records, a few days at a time."""
    rng, time_ = np.random.default_rng(SEED), xr.date_range("1980-01-01", periods=days)
    lat, lon = (10 + 0.05 * np.arange(n) for n in SHAPE)
    grids = {
        "fine": (lat, lon),
        "coarse": tuple(c.reshape(-1, FACTOR).mean(1) for c in (lat, lon)),
    }
    for name, (y, x) in grids.items():
        lazy = dask.array.zeros((days, y.size, x.size), dtype="f4", chunks=(CHUNK, -1, -1))
        record = xr.DataArray(lazy, {"time": time_, "lat": y, "lon": x}, name="t")
        record.to_dataset().to_zarr(folder / name, compute=False, consolidated=False)
    for start in range(0, days, WRITTEN):
        rows = slice(start, min(start + WRITTEN, days))
        fine = blocks(rng, rows.stop - rows.start)
        parts = {"fine": fine}
        shape = (len(fine), SHAPE[0] // FACTOR, FACTOR, SHAPE[1] // FACTOR, FACTOR)
        parts["coarse"] = fine.reshape(shape).mean((2, 4))
        for name, values in parts.items():
            part = xr.Dataset({"t": (("time", "lat", "lon"), values)})
            part.to_zarr(folder / name, region={"time": rows}, consolidated=False)


class Watch:
    """Resident memory of this process and its children, and bytes of the fine record, by phase."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.open: list[list[Any]] = []
        self.read, self.done, self._lock = 0, threading.Event(), threading.Lock()

    def tally(self, block: Any) -> Any:
        """Count a chunk of the fine record that arrives."""
        with self._lock:
            self.read += block.nbytes
        return block

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note time, reads and memory of a part."""
        row = [name, time.perf_counter(), self.read, 0.0]
        self.rows.append(row)
        self.open.append(row)
        try:
            yield
        finally:
            self.open.remove(row)
            row[1:3] = time.perf_counter() - row[1], self.read - row[2]
            print(f"{row[0]}: {row[1]:.0f} s, {row[3]:.0f} MB", file=sys.stderr, flush=True)

    def look(self) -> None:
        """Look at memory until all is done."""
        me = psutil.Process()
        while not self.done.wait(0.02):
            total = me.memory_info().rss
            for child in me.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += child.memory_info().rss
            for row in list(self.open):
                row[3] = max(row[3], total / 1e6)

    def follow(self) -> None:
        """Note when the parts of `fit` begin and end."""
        for module, path, label in PHASES:
            owner: Any = importlib.import_module(module)
            *parents, name = path.split(".")
            for parent in parents:
                owner = getattr(owner, parent)
            setattr(owner, name, self._noted(getattr(owner, name), label))

    def _noted(self, function: Any, label: str) -> Any:
        @functools.wraps(function)
        def noted(*args: Any, **options: Any) -> Any:
            name = f"stage `{args[0].name}`" if label == "stage" else label
            with self.phase(name):
                return function(*args, **options)

        return noted


def config(batches: int, limit: float) -> xd.DownscalerConfig:
    return xd.preset(
        "fast",
        data={"extrapolate": "nearest", "memory_limit": limit},
        network={"channels": (8, 8), "encoder_channels": (8, 8), "unshuffle": 4},
        training={
            "epochs": 1,
            "pretrain_epochs": 1,
            "mean_epochs": 1,
            "batch_days": 1,
            "epoch_batches": batches,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--limit", type=float, default=2000, help="data.memory_limit, MB")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    day = 4e-9 * SHAPE[0] * SHAPE[1]
    days = int(args.gigabytes / day)
    watch = Watch()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        watcher = threading.Thread(target=watch.look, daemon=True)
        watcher.start()
        with watch.phase("writing the record"):
            write(folder, days)
        stored = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e9
        records = [xr.open_zarr(folder / n, consolidated=False).t for n in ("coarse", "fine")]
        fine = records[1].copy(data=records[1].data.map_blocks(watch.tally, dtype="float32"))
        watch.follow()
        watch.read = 0
        with watch.phase("**`fit`, all in all**"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = xd.fit(
                records[0], fine, preset=config(args.batches, args.limit), progress=False
            )
        watch.done.set()
    report(watch, days, days * day, stored, model)


def report(watch: Watch, days: int, size: float, stored: float, model: xd.Downscaler) -> None:
    print(
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}. Seed {SEED}. Command: python {shlex.join(sys.argv)}\n\n"
        f"{days} days of {SHAPE[0]} x {SHAPE[1]} float32, {CHUNK} days in a chunk: {size:.1f} GB "
        f"({stored:.1f} GB on disc); coarse record {size / FACTOR**2:.2f} GB. "
        f"{len(model.days('train'))} training days.\n"
    )
    print("| part | seconds | GB read of the fine record | passes | peak resident MB |")
    print("|---|---|---|---|---|")
    for name, seconds, read, peak in watch.rows:
        print(
            f"| {name} | {seconds:.0f} | {read / 1e9:.1f} | {read / 1e9 / size:.2f} | {peak:.0f} |"
        )
    peak = max(row[3] for row in watch.rows[1:])
    print(f"\nPeak of `fit`: {peak:.0f} MB; the limit is {LIMIT} MB.")
    if peak > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
