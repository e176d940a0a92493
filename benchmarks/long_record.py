"""A long record, drawn into a store: time, memory, and what two workers make of two cores.

python benchmarks/long_record.py [--days 7305] [--memory 2.0] [--parts workers growth ...]

The record is the twin's coarse one, repeated until it has so many days; the model is the one that
comes with the package; fields have 96 x 128 cells, one realization, daily. Every figure comes from
a process of its own. Memory is held to the limit by the system (RLIMIT_DATA) and its peak is the
resident set that the system noted. Run it alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

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
    """Time that workers spend in tasks which draw."""

    def __init__(self) -> None:
        self.began: dict[Any, float] = {}
        self.seconds = 0.0
        self.first = self.last = 0.0

    def start(self, key: Any, *_: Any) -> None:
        """Note when a task began."""
        self.began[key] = time.perf_counter()
        self.first = self.first or self.began[key]

    def end(self, key: Any, *_: Any) -> None:
        """Add up how long it took."""
        self.last = time.perf_counter()
        if str(key).startswith("fill-"):
            self.seconds += self.last - self.began[key]


def draw(record: Path, store: Path, days: int, workers: int, processes: bool, limit: float) -> None:
    """Draw a record in this process (threads) or on a cluster, and print what it took."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 1e9),) * 2)
    import dask
    import torch
    from dask.callbacks import Callback

    import xdownscale as xd

    torch.set_num_threads(1)
    model = xd.load_pretrained(MODEL)
    coarse = xr.open_zarr(record, consolidated=False).dust.isel(time=slice(days + 6))
    busy, began = Busy(), time.perf_counter()
    options: dict[str, Any] = {"chunks": CHUNK, "progress": False}
    if processes:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
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
            xd.predict_to_zarr(model, coarse, store, **options)
            seconds = time.perf_counter() - began
    else:
        with (
            dask.config.set(scheduler="threads", num_workers=workers),
            Callback(pretask=busy.start, posttask=busy.end),
        ):
            drawn = xd.predict_to_zarr(model, coarse, store, **options)
        seconds = time.perf_counter() - began
        assert drawn.sizes["time"] > days - 3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {"seconds": seconds, "peak": peak, "busy": busy.seconds, "span": busy.last - busy.first}
    print(json.dumps(facts))


def judge(record: Path, days: int, limit: float) -> None:
    """Go from files to a variogram of drawn maps that are never stored, and print what it took."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 1e9),) * 2)
    import dask
    import torch

    import xdownscale as xd

    torch.set_num_threads(1)
    model = xd.load_pretrained(MODEL)
    coarse = xr.open_zarr(record, consolidated=False).dust.isel(time=slice(days + 6))
    drawn = []
    began = time.perf_counter()
    maps = coarse.downscale.predict(model, chunks=CHUNK)
    axis = maps.get_axis_num("time")

    def counted(block: Any) -> Any:
        drawn.append(block.shape[axis])
        return block

    maps = maps.copy(data=maps.data.map_blocks(counted, dtype=maps.dtype, meta=maps.data._meta))
    with dask.config.set(scheduler="threads", num_workers=2):
        variogram = maps.geostat.semivariogram().compute()
    assert bool((variogram.semivariance.isel(lag=slice(1, 4)) > 0).all())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {"seconds": time.perf_counter() - began, "peak": peak, "passes": sum(drawn) / days}
    print(json.dumps(facts))


def _warm(coarse: xr.DataArray, number: int) -> int:
    """Import everything and load the model in a worker."""
    import xdownscale as xd

    xd.load_pretrained(MODEL).predict(coarse.load())
    return number


def call(*words: Any) -> dict[str, Any]:
    """Run a part of this file in a new process."""
    command = [sys.executable, __file__, "--child", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def measure(folder: Path, days: int, workers: int, processes: bool, limit: float) -> dict[str, Any]:
    """Draw in a new process."""
    store = folder / "maps.zarr"
    shutil.rmtree(store, ignore_errors=True)
    facts = call("draw", folder / "record.zarr", store, days, workers, int(processes), limit)
    facts["size"] = sum(p.stat().st_size for p in store.rglob("*") if p.is_file()) / 1e6
    return facts


def workers(folder: Path, asked: argparse.Namespace) -> Rows:
    """Hold two worker processes against one, and one whose malloc stays as its nanny sets it."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(2):
        for n, found in seconds.items():
            found.append(measure(folder, asked.some, n, True, 0.0)["seconds"])
    one, two = (min(found) for found in seconds.values())
    yield f"{asked.some} days, one worker process", f"{one:.0f} s"
    yield "two worker processes", f"{two:.0f} s"
    yield "throughput per core, two over one", f"{one / two / 2:.2f}"
    fewer = asked.some // 4
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(128 << 10)  # somebody chose: it is left alone
    slow = measure(folder, fewer, 1, True, 0.0)["seconds"] / fewer
    del os.environ["MALLOC_MMAP_THRESHOLD_"]
    yield "one worker, malloc as its nanny sets it: times as long", f"{slow * asked.some / one:.1f}"


def growth(folder: Path, asked: argparse.Namespace) -> Rows:
    """Hold the memory of ten times the days against that of a year."""
    few, many = asked.days // 20, asked.days // 2
    year, ten = (measure(folder, days, 2, False, asked.memory)["peak"] for days in (few, many))
    yield f"peak memory, {few:,} days", f"{year:.0f} MB"
    yield f"peak memory, {many:,} days", f"{ten:.0f} MB"
    yield "ten times the days: peak memory", f"{ten / year:.3f}"


def whole(folder: Path, asked: argparse.Namespace) -> Rows:
    """Draw the whole record into a store."""
    full = measure(folder, asked.days, 2, False, asked.memory)
    minutes = full["seconds"] / 60
    yield f"{asked.days:,} days, two threads, {asked.memory:g} GB: time", f"{minutes:.1f} minutes"
    yield "peak memory", f"{full['peak']:.0f} MB"
    yield "days per second and core", f"{asked.days / full['span'] / 2:.1f}"
    yield "store", f"{full['size']:.0f} MB"
    yield "time that threads did not draw", f"{1 - full['busy'] / 2 / full['span']:.1%}"


def variogram(folder: Path, asked: argparse.Namespace) -> Rows:
    """Judge the whole record, which is never stored."""
    judged = call("judge", folder / "record.zarr", asked.days, asked.memory)
    minutes = judged["seconds"] / 60
    yield "files to a variogram of all days, nothing stored: time", f"{minutes:.1f} minutes"
    yield "times that a day was drawn", f"{judged['passes']:.2f}"
    yield "peak memory", f"{judged['peak']:.0f} MB"


PARTS = {part.__name__: part for part in (workers, growth, whole, variogram)}


def main() -> None:
    if sys.argv[1:3] == ["--child", "draw"]:
        record, store, days, workers, processes, limit = sys.argv[3:]
        draw(Path(record), Path(store), int(days), int(workers), processes == "1", float(limit))
        return
    if sys.argv[1:3] == ["--child", "judge"]:
        record, days, limit = sys.argv[3:]
        judge(Path(record), int(days), float(limit))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7305)
    parser.add_argument("--memory", type=float, default=2.0, help="GB that the process may take")
    parser.add_argument("--some", type=int, default=1408, help="days that workers are compared on")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    asked = parser.parse_args()
    print(f"Machine: {platform.machine()}, two cores. Model {MODEL}, pieces of {CHUNK} days.\n")
    print("| what | figure |\n|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_record(folder / "record.zarr", asked.days + 6)
        for part in asked.parts:
            for what, figure in PARTS[part](folder, asked):
                print(f"| {what} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
