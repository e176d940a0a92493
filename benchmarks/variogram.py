"""Semivariogram: time over scikit-gstat's and over reading the store once, peak memory.

scikit-gstat's `Variogram` gets the same pairs and the same distances, one day after another; it is
timed on a few days and its time is scaled to all days. It is timed with its fit, as its
constructor makes it, and without.

Run: OMP_NUM_THREADS=1 python benchmarks/variogram.py [--days 730] [--reference-days 3]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
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

from xdownscale.geostat import semivariogram
from xdownscale.geostat._pairs import draw_pairs
from xdownscale.grids import distances

SEED = 7
CHUNK = 10
LAT, LON = 10 + 0.0625 * np.arange(561), -20 + 0.0625 * np.arange(721)


def write_store(path: Path, days: int) -> None:
    """A smooth field with noise on it, ten days in a chunk."""
    rng = np.random.default_rng(SEED)
    y, x = np.radians(LAT)[:, None], np.radians(LON)
    smooth = sum(np.sin(k * y + k) * np.cos(k * x) / k for k in range(1, 40, 3))
    coords = {"time": np.arange(days), "lat": LAT, "lon": LON}
    coords["time"] = xr.date_range("2000-01-01", periods=days).values
    for start in range(0, days, CHUNK):
        part = min(CHUNK, days - start)
        noise = rng.standard_normal((part, LAT.size, LON.size), dtype=np.float32)
        values = (smooth + 0.1 * noise).astype(np.float32)
        here = {**coords, "time": coords["time"][start : start + part]}
        ds = xr.DataArray(values, coords=here, dims=("time", "lat", "lon"), name="dust").to_dataset()
        if start:
            ds.to_zarr(path, append_dim="time", consolidated=False)
        else:
            encoding = {"dust": {"chunks": (CHUNK, LAT.size, LON.size)}}
            ds.to_zarr(path, encoding=encoding, consolidated=False)


def seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Shortest of a few runs."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def open_store(path: Path) -> xr.DataArray:
    return xr.open_zarr(path, consolidated=False).dust


def read_once(da: xr.DataArray) -> None:
    da.data.map_blocks(lambda block: block[:1, :1, :1], dtype=da.dtype, chunks=(1, 1, 1)).compute()


class Reference:
    """scikit-gstat on the pairs that xdownscale draws."""

    def __init__(self) -> None:
        lat, lon = np.meshgrid(LAT, LON, indexing="ij")
        pairs = draw_pairs(lat, lon, 600, 30, 30_000)
        self.cells = pairs.cells
        lat, lon = lat.ravel()[pairs.cells], lon.ravel()[pairs.cells]
        low = np.minimum(pairs.first, pairs.second)
        high = np.maximum(pairs.first, pairs.second)
        km = distances(lat[low], lon[low], lat[high], lon[high])
        self.space = skgstat.MetricSpace(np.column_stack([lat, lon]), max_dist=600)
        self.space._dists = csr_matrix((km, (high, low)), shape=(lat.size, lat.size))

    def variogram(self, day: xr.DataArray, fit_method: str | None) -> np.ndarray:
        values = day.values.ravel()[self.cells]
        options = {"maxlag": 600, "n_lags": 30, "use_nugget": True, "fit_method": fit_method}
        if fit_method is None:  # does not prepare itself then
            found = skgstat.Variogram(self.space, values, **{**options, "fit_method": "manual"},
                                      fit_range=100.0, fit_sill=1.0, fit_nugget=0.0)
        else:
            found = skgstat.Variogram(self.space, values, **options)
        return np.asarray(found.experimental)


def peak_memory(path: Path) -> float:
    """Peak resident memory of a fresh process over the same process before it, MB."""
    code = (
        "import sys, resource, dask; sys.path.insert(0, 'benchmarks'); import variogram as b;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024;"
        "da = b.open_store(sys.argv[1]); b.semivariogram(da[:1].compute()); before = peak();"
        "dask.config.set(scheduler='single-threaded');"
        "b.semivariogram(da).compute(); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--reference-days", type=int, default=3)
    args = parser.parse_args()
    print(
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, numpy {np.__version__}, scikit-gstat {skgstat.__version__}. "
        f"Seed {SEED}. Command: python {' '.join(sys.argv)}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.zarr"
        write_store(path, args.days)
        report(path, args.days, args.reference_days)


def report(path: Path, days: int, few: int) -> None:
    da = open_store(path)
    reference = Reference()
    sample = da[:few].load()
    reference.variogram(sample[0], "trf")  # compiles
    with dask.config.set(scheduler="single-threaded"):
        reading = seconds(lambda: read_once(da))
        ours = seconds(lambda: semivariogram(da).compute())
    memory = da[: 4 * CHUNK].load()
    kernel = seconds(lambda: semivariogram(memory)) 
    print(f"{days} days, {LAT.size} x {LON.size} cells, float32, 30,000 pairs, {CHUNK} days a chunk\n")
    print("| | seconds | ratio |\n|---|---|---|")
    print(f"| read the Zarr store once | {reading:.2f} | 1 |")
    print(f"| semivariogram from the store, pairs and fit included | {ours:.2f} | {ours / reading:.2f} of reading |")
    for name, fit in (("with its fit", "trf"), ("without", None)):
        theirs = seconds(lambda fit=fit: [reference.variogram(day, fit) for day in sample], 2) * days / few
        print(f"| scikit-gstat {name}, {few} days scaled to {days} | {theirs:.0f} | {theirs / ours:.0f} times ours |")
    print(f"\nin memory 40 days: {kernel}")
    chunk = CHUNK * LAT.size * LON.size * 4 / 2**20
    print(f"\nPeak memory over one day's run: {peak_memory(path):.0f} MB; a chunk is {chunk:.0f} MB.")


if __name__ == "__main__":
    main()
