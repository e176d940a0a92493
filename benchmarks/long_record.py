"""A long record, drawn into a store: time, memory, and what two workers make of two cores.

python benchmarks/long_record.py [--days 7305] [--memory 2.0]

The record is the twin's coarse one, repeated until it has so many days; the model is the one that
comes with the package; fields have 96 x 128 cells, one realization, daily. Every figure comes from
a process of its own. Memory is held to the limit by the system (RLIMIT_DATA) and its peak is the
resident set that the system noted. Run it alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

MODEL = "dust-twin-tiny"
CHUNK = 64  # days


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
    asked = parser.parse_args()
    print(f"Machine: {platform.machine()}, two cores. Model {MODEL}, pieces of {CHUNK} days.\n")
    print("| what | figure |\n|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_record(folder / "record.zarr", asked.days + 6)
        workers = {n: [] for n in (1, 2)}
        for _ in range(2):
            for n, found in workers.items():
                found.append(measure(folder, asked.some, n, True, 0.0)["seconds"])
        one, two = (min(found) for found in workers.values())
        print(f"| {asked.some} days, one worker process | {one:.0f} s |")
        print(f"| two worker processes | {two:.0f} s |")
        print(f"| throughput per core, two over one | {one / two / 2:.2f} |", flush=True)
        year, ten = (
            measure(folder, d, 2, False, asked.memory) for d in (asked.days // 20, asked.days // 2)
        )
        print(f"| peak memory, {asked.days // 20:,} days | {year['peak']:.0f} MB |")
        print(f"| peak memory, {asked.days // 2:,} days | {ten['peak']:.0f} MB |")
        print(f"| ten times the days: peak memory | {ten['peak'] / year['peak']:.3f} |", flush=True)
        full = measure(folder, asked.days, 2, False, asked.memory)
        print(
            f"| {asked.days:,} days, two threads, {asked.memory:g} GB: time | "
            f"{full['seconds'] / 60:.1f} minutes |"
        )
        print(f"| peak memory | {full['peak']:.0f} MB |")
        print(f"| days per second and core | {asked.days / full['span'] / 2:.1f} |")
        print(f"| store | {full['size']:.0f} MB |")
        print(f"| time that threads did not draw | {1 - full['busy'] / 2 / full['span']:.1%} |")
        judged = call("judge", folder / "record.zarr", asked.days, asked.memory)
        print(
            f"| files to a variogram of all days, nothing stored: time | "
            f"{judged['seconds'] / 60:.1f} minutes |"
        )
        print(f"| times that a day was drawn | {judged['passes']:.2f} |")
        print(f"| peak memory | {judged['peak']:.0f} MB |")


if __name__ == "__main__":
    main()
