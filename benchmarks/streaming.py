"""Diagnostics of long records: time over reading the store once, and peak memory by days.

Each diagnostic runs in a process of its own, on records of one and of four years from Zarr, on one
thread. Peak memory is what the process takes beyond what it had before; it should not grow with
days.

Run: OMP_NUM_THREADS=1 python benchmarks/streaming.py [--days 365 1460] [--shape 281 361]
[--only "wasserstein, daily" lag_r2]
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr

from xdownscale import geostat

SEED = 7
CHUNK = 10
STEP = 0.0625  # degrees


def write_store(path: Path, days: int, shape: tuple[int, int]) -> None:
    """Write a smooth field times lognormal noise, ten days in a chunk."""
    rng = np.random.default_rng(SEED)
    lat, lon = 10 + STEP * np.arange(shape[0]), -20 + STEP * np.arange(shape[1])
    y, x = np.radians(lat)[:, None], np.radians(lon)
    smooth = np.exp(np.sum([np.sin(k * y + k) * np.cos(k * x) / k for k in (1, 9, 27)], axis=0))
    times = xr.date_range("2000-01-01", periods=days).values
    for start in range(0, days, CHUNK):
        part = times[start : start + CHUNK]
        noise = rng.standard_normal((part.size, *shape), dtype=np.float32)
        values = (smooth * np.exp(0.3 * noise)).astype(np.float32)
        coords = {"time": part, "lat": lat, "lon": lon}
        ds = xr.Dataset({"dust": (("time", "lat", "lon"), values)}, coords)
        if start:
            ds.to_zarr(path, append_dim="time", consolidated=False)
        else:
            encoding = {"dust": {"chunks": (CHUNK, *shape)}}
            ds.to_zarr(path, encoding=encoding, consolidated=False)


def read_once(da: xr.DataArray) -> Any:
    """Read every chunk and keep nothing of it."""
    touch = da.data.map_blocks(lambda _: np.zeros((1, 1, 1)), dtype=float, chunks=(1, 1, 1))
    return touch.sum()


DIAGNOSTICS: dict[str, Callable[[xr.DataArray], Any]] = {
    "reading": read_once,
    "semivariogram": geostat.semivariogram,
    "acf of the mean": geostat.acf,
    "acf of every cell": lambda da: geostat.acf(da, reduce=None).mean(),
    "lag_rmse": lambda da: geostat.lag_rmse(da, max_lag=10),
    "lag_r2": lambda da: geostat.lag_r2(da, max_lag=10),
    "power_spectrum": geostat.power_spectrum,
    "distribution": geostat.distribution,
    "distribution of anomalies": lambda da: geostat.distribution(da - da.mean("time")),
    "lag_rmse of anomalies": lambda da: geostat.lag_rmse(da - da.mean("time"), max_lag=10),
    "wasserstein, daily": lambda da: geostat.wasserstein(da, da[::-1].assign_coords(time=da.time)),
    "wasserstein, daily, two grids": lambda da: geostat.wasserstein(
        da, da[::-1, ::2, ::2].assign_coords(time=da.time)
    ),
    "wasserstein, pooled": lambda da: geostat.wasserstein(
        da, da[::-1].assign_coords(time=da.time), "pooled"
    ),
}


def resident() -> float:
    """Resident memory of this process, MB."""
    page = os.sysconf("SC_PAGESIZE") / 2**20
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page


def measure(path: str, name: str) -> tuple[float, float]:
    """CPU seconds and peak memory of one diagnostic in this process."""
    da = xr.open_zarr(path, consolidated=False).dust
    dask.compute(DIAGNOSTICS[name](da[:40, ::20, ::20].load().chunk(time=10)))  # imports, compiles
    before, peak, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    with dask.config.set(scheduler="single-threaded"):
        dask.compute(DIAGNOSTICS[name](da))
    taken = time.process_time() - start
    done.set()
    watcher.join()
    return taken, max(peak) - before


def in_fresh_process(path: Path, name: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", str(path), name],
        capture_output=True,
        check=True,
        text=True,
    )
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def report(days: list[int], shape: tuple[int, int], names: list[str]) -> None:
    chunk = CHUNK * shape[0] * shape[1] * 4 / 2**20
    print(f"{shape[0]} x {shape[1]} cells, float32, {CHUNK} days ({chunk:.0f} MB) a chunk\n")
    heads = [f"{n} days: s | times reading | peak MB" for n in days]
    print(f"| diagnostic | {' | '.join(heads)} |\n|---{'|---|---|---' * len(days)}|")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.zarr" for n in days]
        for path, n in zip(paths, days, strict=True):
            write_store(path, n, shape)
        reading: list[float] = []
        for name in ["reading", *(name for name in names if name != "reading")]:
            found = [in_fresh_process(path, name) for path in paths]
            reading = reading or [seconds for seconds, _ in found]
            cells = [
                f"{seconds:.1f} | {seconds / read:.1f} | {memory:.0f}"
                for (seconds, memory), read in zip(found, reading, strict=True)
            ]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, nargs="+", default=[365, 1460])
    parser.add_argument("--shape", type=int, nargs=2, default=[281, 361])
    parser.add_argument("--only", nargs="+", choices=DIAGNOSTICS, default=list(DIAGNOSTICS))
    parser.add_argument("--one", nargs=2, help="used by the script itself: store, diagnostic")
    args = parser.parse_args()
    if args.one:
        print(*measure(*args.one))
        return
    print(
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, numpy {np.__version__}. Seed {SEED}. "
        f"Command: python {shlex.join(sys.argv)}\n"
    )
    report(args.days, tuple(args.shape), args.only)


if __name__ == "__main__":
    main()
