"""Predict a long record into a store: time, memory, and the speed-up from two workers.

python benchmarks/long_record.py [--days 7305] [--memory 2.0] [--parts workers growth ...]

The record is the twin's coarse one, repeated until it has so many days; the model is the one that
ships with the package; fields have 96 x 128 cells, one realization, daily. Every figure comes from
a process of its own. The system limits its memory (RLIMIT_DATA); the peak is the largest resident
set that the system recorded. Run it alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr
from common import machine, make_parser, output, print_head, print_row, stored_bytes

if TYPE_CHECKING:
    import xdownscale as xd

MODEL = "dust-twin-tiny"
CHUNK = 64  # days
Rows = Iterator[tuple[str, str]]


def write_record(path: Path, days: int) -> None:
    """Write a coarse record of so many days."""
    import xdownscale as xd

    one = xd.datasets.load_twin().dust.rename(
        time_coarse="time", lat_coarse="lat", lon_coarse="lon"
    )
    several = xr.concat([one] * -(-days // one.sizes["time"]), "time").isel(time=slice(days))
    several["time"] = pd.date_range("1980-01-01", periods=days)
    several.chunk(time=365).to_dataset(name="dust").to_zarr(path, zarr_format=3, consolidated=False)


class Busy:
    """Time that threads spend in tasks that generate fields."""

    def __init__(self) -> None:
        self.began: dict[Any, float] = {}
        self.seconds = 0.0
        self.first = self.last = 0.0

    def start(self, key: Any, *_: Any) -> None:
        """Record when a task began."""
        self.began[key] = time.perf_counter()
        self.first = self.first or self.began[key]

    def end(self, key: Any, *_: Any) -> None:
        """Add its duration."""
        self.last = time.perf_counter()
        if str(key).startswith("fill-"):
            self.seconds += self.last - self.began[key]


def limit_memory(gigabytes: float) -> None:
    """Limit the memory of this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 1e9),) * 2)


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load(record: Path, days: int) -> tuple[xd.Downscaler, xr.DataArray]:
    """Load the model and open the coarse record, with one thread for torch."""
    import torch

    import xdownscale as xd

    torch.set_num_threads(1)
    model = xd.load_pretrained(MODEL)
    return model, xr.open_zarr(record, consolidated=False).dust.isel(time=slice(days + 6))


def in_threads(
    model: xd.Downscaler, coarse: xr.DataArray, store: Path, workers: int
) -> dict[str, float]:
    """Predict into a store with threads of this process, and time the tasks."""
    import dask
    from dask.callbacks import Callback

    import xdownscale as xd

    busy, began = Busy(), time.perf_counter()
    with (
        dask.config.set(scheduler="threads", num_workers=workers),
        Callback(pretask=busy.start, posttask=busy.end),
    ):
        written = xd.predict_to_zarr(model, coarse, store, chunks=CHUNK, progress=False)
    seconds = time.perf_counter() - began
    assert written.sizes["time"] > coarse.sizes["time"] - 9  # six are lags only
    return {"seconds": seconds, "busy": busy.seconds, "span": busy.last - busy.first}


def in_workers(
    model: xd.Downscaler, coarse: xr.DataArray, store: Path, workers: int
) -> dict[str, float]:
    """Predict into a store with worker processes that have loaded the model before."""
    from distributed import Client, LocalCluster

    import xdownscale as xd

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        warm = coarse.isel(time=slice(7))
        wide = [
            client.submit(_warm, warm, n, workers=[w], pure=False)
            for n, w in enumerate(client.scheduler_info(n_workers=-1)["workers"])
        ]
        client.gather(wide)
        began = time.perf_counter()
        xd.predict_to_zarr(model, coarse, store, chunks=CHUNK, progress=False)
        return {"seconds": time.perf_counter() - began}


def fill(record: Path, store: Path, days: int, workers: int, processes: bool, limit: float) -> None:
    """Predict a record into a store, and print time and memory as JSON."""
    if limit:
        limit_memory(limit)
    run = in_workers if processes else in_threads
    facts = run(*load(record, days), store, workers)
    print(json.dumps(facts | {"peak": peak_memory()}))


def judge(record: Path, days: int, limit: float) -> None:
    """Compute the variogram of fields that are never stored; print time and memory as JSON."""
    limit_memory(limit)
    import dask

    model, coarse = load(record, days)
    computed = []
    began = time.perf_counter()
    fields = coarse.downscale.predict(model, chunks=CHUNK)
    axis = fields.get_axis_num("time")

    def counted(block: Any) -> Any:
        computed.append(block.shape[axis])
        return block

    lazy = fields.data.map_blocks(counted, dtype=fields.dtype, meta=fields.data._meta)
    with dask.config.set(scheduler="threads", num_workers=2):
        variogram = fields.copy(data=lazy).geostat.semivariogram().compute()
    assert bool((variogram.semivariance.isel(lag=slice(1, 4)) > 0).all())
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": peak_memory(), "passes": sum(computed) / days}))


def _warm(coarse: xr.DataArray, number: int) -> int:
    """Import everything and load the model in a worker."""
    import xdownscale as xd

    xd.load_pretrained(MODEL).predict(coarse.load())
    return number


def call(*words: Any) -> dict[str, Any]:
    """Run a part of this file in a new process."""
    facts: dict[str, Any] = json.loads(output(__file__, "--child", *words).splitlines()[-1])
    return facts


def measure(folder: Path, days: int, workers: int, processes: bool, limit: float) -> dict[str, Any]:
    """Fill a store in a new process."""
    store = folder / "maps.zarr"
    shutil.rmtree(store, ignore_errors=True)
    facts = call("fill", folder / "record.zarr", store, days, workers, int(processes), limit)
    facts["size"] = stored_bytes(store) / 1e6
    return facts


def workers(folder: Path, args: argparse.Namespace) -> Rows:
    """Compare two worker processes with one, and with one with its nanny's malloc settings."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(2):
        for n, found in seconds.items():
            found.append(measure(folder, args.some, n, True, 0.0)["seconds"])
    one, two = (min(found) for found in seconds.values())
    yield f"{args.some} days, one worker process", f"{one:.0f} s"
    yield "two worker processes", f"{two:.0f} s"
    yield "throughput per core, two over one", f"{one / two / 2:.2f}"
    fewer = args.some // 4
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(
        128 << 10
    )  # set by the user: the package leaves it alone
    slow = measure(folder, fewer, 1, True, 0.0)["seconds"] / fewer
    del os.environ["MALLOC_MMAP_THRESHOLD_"]
    yield "one worker, malloc as its nanny sets it: times as long", f"{slow * args.some / one:.1f}"


def growth(folder: Path, args: argparse.Namespace) -> Rows:
    """Compare the memory of ten times the days with that of a year."""
    few, many = args.days // 20, args.days // 2
    year, ten = (measure(folder, days, 2, False, args.memory)["peak"] for days in (few, many))
    yield f"peak memory, {few:,} days", f"{year:.0f} MB"
    yield f"peak memory, {many:,} days", f"{ten:.0f} MB"
    yield "ten times the days: peak memory", f"{ten / year:.3f}"


def whole(folder: Path, args: argparse.Namespace) -> Rows:
    """Predict the whole record into a store."""
    full = measure(folder, args.days, 2, False, args.memory)
    minutes = full["seconds"] / 60
    yield f"{args.days:,} days, two threads, {args.memory:g} GB: time", f"{minutes:.1f} minutes"
    yield "peak memory", f"{full['peak']:.0f} MB"
    yield "days per second and core", f"{args.days / full['span'] / 2:.1f}"
    yield "store", f"{full['size']:.0f} MB"
    yield "time that threads did not draw", f"{1 - full['busy'] / 2 / full['span']:.1%}"


def variogram(folder: Path, args: argparse.Namespace) -> Rows:
    """Compute a variogram of the whole record, which is never stored."""
    judged = call("judge", folder / "record.zarr", args.days, args.memory)
    minutes = judged["seconds"] / 60
    yield "files to a variogram of all days, nothing stored: time", f"{minutes:.1f} minutes"
    yield "times that a day was drawn", f"{judged['passes']:.2f}"
    yield "peak memory", f"{judged['peak']:.0f} MB"


PARTS = {part.__name__: part for part in (workers, growth, whole, variogram)}


def main() -> None:
    if sys.argv[1:3] == ["--child", "fill"]:
        record, store, days, workers, processes, limit = sys.argv[3:]
        fill(Path(record), Path(store), int(days), int(workers), processes == "1", float(limit))
        return
    if sys.argv[1:3] == ["--child", "judge"]:
        record, days, limit = sys.argv[3:]
        judge(Path(record), int(days), float(limit))
        return
    parser = make_parser(__doc__)
    parser.add_argument("--days", type=int, default=7305)
    parser.add_argument("--memory", type=float, default=2.0, help="GB that the process may take")
    parser.add_argument("--some", type=int, default=1408, help="days on which workers are compared")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    print(f"{machine('two cores')} Model {MODEL}, pieces of {CHUNK} days.\n")
    print_head("what", "figure")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_record(folder / "record.zarr", args.days + 6)
        for part in args.parts:
            for what, figure in PARTS[part](folder, args):
                print_row(what, figure)


if __name__ == "__main__":
    main()
