"""Train on a fine record that is larger than memory: memory, bytes read and time of each part.

A synthetic record of 20 GB is written chunk by chunk to Zarr (its values take few levels, so that
it is small on disc; each chunk unpacks to real, varying numbers). Preset `fast`, with small
networks, trains on it for one bounded epoch of each stage. Resident memory, with that of child
processes, is sampled every 20 ms; reads of the fine record are counted as its chunks arrive.

Run: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/beyond_memory.py
[--gigabytes 20] [--batches 40] [--folder DIR]
"""

from __future__ import annotations

import contextlib
import functools
import importlib
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
from common import (
    PYTHON,
    SMALL_NETWORK,
    make_parser,
    print_head,
    print_row,
    run_facts,
    stored_bytes,
)

import xdownscale as xd

SEED = 11
SHAPE, FACTOR = (512, 640), 8
CHUNK, WRITTEN = 8, 64  # days in a chunk, and days written at once
LIMIT = 3000  # MB
PHASES = (
    ("xdownscale.fitting.fit", "settle_pairing", "are the days paired?"),
    ("xdownscale.fitting.training_data", "GroupDataset.check", "gaps, transform and scaling"),
    ("xdownscale.fitting.fit", "_fingerprint", "fingerprint"),
    ("xdownscale.models.training.stages", "run_stage", "stage"),
    ("xdownscale.models.training.residual", "measure_residual", "measuring the residual"),
    ("xdownscale.models.training.residual", "calibrate_residual", "temperature and correlation"),
    ("xdownscale.prediction.diagnostics", "validation_skill", "skill on validation days"),
)


def blocks(rng: np.random.Generator, days: int) -> np.ndarray[Any, Any]:
    """Return fields (days, y, x) of few levels: noise on the coarse grid, and a shifted texture."""
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
    """Resident memory (children included) and bytes read of the fine record, by part."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.open: list[list[Any]] = []
        self.read, self.done, self._lock = 0, threading.Event(), threading.Lock()

    def tally(self, block: Any) -> Any:
        """Count the bytes of a chunk of the fine record."""
        with self._lock:
            self.read += block.nbytes
        return block

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Record time, reads and memory of a part."""
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
        """Sample memory until `done` is set."""
        me = psutil.Process()
        while not self.done.wait(0.02):
            total = me.memory_info().rss
            for child in me.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += child.memory_info().rss
            for row in list(self.open):
                row[3] = max(row[3], total / 1e6)

    def follow(self) -> None:
        """Wrap the parts of `fit`, so that each is recorded."""
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
        network=SMALL_NETWORK | {"unshuffle": 4},
        training={
            "epochs": 1,
            "pretrain_epochs": 1,
            "mean_epochs": 1,
            "batch_days": 1,
            "epoch_batches": batches,
        },
    )


def main() -> None:
    parser = make_parser(__doc__)
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
        stored = stored_bytes(folder) / 1e9
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
        f"{run_facts(SEED, PYTHON)}\n\n"
        f"{days} days of {SHAPE[0]} x {SHAPE[1]} float32, {CHUNK} days in a chunk: {size:.1f} GB "
        f"({stored:.1f} GB on disc); coarse record {size / FACTOR**2:.2f} GB. "
        f"{len(model.days('train'))} training days.\n"
    )
    print_head("part", "seconds", "GB read of the fine record", "passes", "peak resident MB")
    for name, seconds, read, peak in watch.rows:
        gigabytes = read / 1e9
        passes = gigabytes / size
        print_row(name, f"{seconds:.0f}", f"{gigabytes:.1f}", f"{passes:.2f}", f"{peak:.0f}")
    peak = max(row[3] for row in watch.rows[1:])
    print(f"\nPeak of `fit`: {peak:.0f} MB; the limit is {LIMIT} MB.")
    if peak > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
