"""Semivariogram: time over scikit-gstat's and over reading the store once, peak memory.

scikit-gstat's `Variogram` gets the same pairs and the same distances, one day after another; it is
timed on a few days and its time is scaled to all days, without the time for setting up the pairs
(xdownscale's has it). It is timed with the fit that its constructor makes, and without one.

Times are CPU times of one thread, the shortest of a few runs: other work on the machine does not
count.

Run: OMP_NUM_THREADS=1 python benchmarks/variogram.py [--days 730] [--reference-days 5]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import skgstat
import xarray as xr
from scipy.sparse import csr_matrix

from xdownscale.core.grids import distances
from xdownscale.geostat import semivariogram
from xdownscale.geostat._pair_sampling import sample_pairs

SEED = 7
CHUNK = 10
LAT, LON = 10 + 0.0625 * np.arange(561), -20 + 0.0625 * np.arange(721)


def write_store(path: Path, days: int) -> None:
    """Write a smooth field with noise on it, ten days in a chunk."""
    rng = np.random.default_rng(SEED)
    y, x = np.radians(LAT)[:, None], np.radians(LON)
    smooth = np.sum([np.sin(k * y + k) * np.cos(k * x) / k for k in range(1, 40, 3)], axis=0)
    times = xr.date_range("2000-01-01", periods=days).values
    for start in range(0, days, CHUNK):
        time = times[start : start + CHUNK]
        noise = rng.standard_normal((time.size, LAT.size, LON.size), dtype=np.float32)
        values = (smooth + 0.1 * noise).astype(np.float32)
        coords = {"time": time, "lat": LAT, "lon": LON}
        ds = xr.Dataset({"dust": (("time", "lat", "lon"), values)}, coords)
        if start:
            ds.to_zarr(path, append_dim="time", consolidated=False)
        else:
            encoding = {"dust": {"chunks": (CHUNK, LAT.size, LON.size)}}
            ds.to_zarr(path, encoding=encoding, consolidated=False)


def open_store(path: str | Path) -> xr.DataArray:
    return xr.open_zarr(path, consolidated=False).dust


def best(*calls: Callable[[], Any], repeats: int = 3) -> list[float]:
    """Least CPU time of each, the calls taking turns so that all meet the same machine."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, found in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            found.append(time.process_time() - start)
    return [min(found) for found in times]


def read_once(da: xr.DataArray) -> None:
    """Read every chunk and keep nothing of it."""
    touch = da.data.map_blocks(lambda _: np.zeros((1, 1, 1)), dtype=float, chunks=(1, 1, 1))
    touch.compute()


class Reference:
    """scikit-gstat on the pairs that xdownscale draws."""

    def __init__(self) -> None:
        pairs = sample_pairs(LAT, LON, 600, 30, 30_000)
        self.cells = pairs.cells
        lat, lon = np.meshgrid(LAT, LON, indexing="ij")
        lat, lon = lat.ravel()[pairs.cells], lon.ravel()[pairs.cells]
        low = np.minimum(pairs.first, pairs.second)
        high = np.maximum(pairs.first, pairs.second)
        km = distances(lat[low], lon[low], lat[high], lon[high])
        self.space = skgstat.MetricSpace(np.column_stack([lat, lon]), max_dist=600)
        self.space._dists = csr_matrix((km, (high, low)), shape=(lat.size, lat.size))

    def curves(self, days: xr.DataArray, *, fit: bool) -> list[np.ndarray]:
        """Return the semivariance of each day."""
        options: dict[str, Any] = {"maxlag": 600, "n_lags": 30, "use_nugget": True}
        if not fit:
            options |= {"fit_method": "manual", "fit_range": 100, "fit_sill": 1, "fit_nugget": 0}
        images = (day.values.ravel()[self.cells] for day in days)
        return [skgstat.Variogram(self.space, v, **options).experimental for v in images]


PEAK = """
import os, sys, threading, time
sys.path.insert(0, "benchmarks")
import dask, variogram
da = variogram.open_store(sys.argv[1])
variogram.semivariogram(da[:1, ::20, ::20].compute())  # imports and compiles
page = os.sysconf("SC_PAGESIZE") / 2**20
now = lambda: int(open("/proc/self/statm").read().split()[1]) * page
before, found, done = now(), [0.0], threading.Event()
def watch():
    while not done.wait(0.005):
        found.append(now())
watcher = threading.Thread(target=watch)
watcher.start()
with dask.config.set(scheduler="single-threaded"):
    variogram.semivariogram(da).compute()
done.set()
watcher.join()
print(max(found) - before)
"""


def peak_memory(path: Path) -> float:
    """Peak resident memory of a fresh process over what it has before, MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, check=True, text=True
    )
    return float(done.stdout)


def report(path: Path, days: int, few: int) -> None:
    da = open_store(path)
    reference, sample, memory = Reference(), da[:few].load(), da[: 10 * CHUNK].load()
    reference.curves(sample[:1], fit=True)  # compiles
    with dask.config.set(scheduler="single-threaded"):
        reading, stored = best(lambda: read_once(da), lambda: semivariogram(da).compute())
    fitted, bare, ours, pairs = best(
        lambda: reference.curves(sample, fit=True),
        lambda: reference.curves(sample, fit=False),
        lambda: semivariogram(memory),
        lambda: semivariogram(memory[:1]),
        repeats=5,
    )
    whole = pairs + (ours - pairs) * (days - 1) / (memory.sizes["time"] - 1)
    print(
        f"{days} days, {LAT.size} x {LON.size} cells, float32, 30,000 pairs, {CHUNK} days a chunk"
    )
    print("\n| in memory | seconds | times ours |\n|---|---|---|")
    print(f"| xdownscale, 1 day and {memory.sizes['time']} scaled to {days} | {whole:.2f} | 1 |")
    for name, taken in (("with its fit", fitted), ("without a fit", bare)):
        scaled = taken * days / few
        print(f"| scikit-gstat {name}, {few} days scaled | {scaled:.1f} | {scaled / whole:.0f} |")
    print("\n| from Zarr | seconds | times reading |\n|---|---|---|")
    print(f"| read once | {reading:.2f} | 1 |")
    print(f"| semivariogram | {stored:.2f} | {stored / reading:.2f} |")
    chunk = CHUNK * LAT.size * LON.size * 4 / 2**20
    print(f"\nPeak memory from Zarr {peak_memory(path):.0f} MB; a chunk is {chunk:.0f} MB.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--reference-days", type=int, default=5)
    args = parser.parse_args()
    print(
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, numpy {np.__version__}, scikit-gstat "
        f"{skgstat.__version__}. Seed {SEED}. Command: python {' '.join(sys.argv)}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.zarr"
        write_store(path, args.days)
        report(path, args.days, args.reference_days)


if __name__ == "__main__":
    main()
