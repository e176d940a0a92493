"""Diagnostics of long records: time relative to reading the store once, and peak memory by days.

Each diagnostic runs in a process of its own, on records of one and of four years from Zarr, on one
thread. Peak memory is that of the process minus what it had before; it should not grow with the
number of days.

Run: OMP_NUM_THREADS=1 python benchmarks/streaming.py [--days 365 1460] [--shape 281 361]
[--only "wasserstein, daily" lag_r2]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from common import (
    NUMPY,
    PYTHON,
    STORE_CHUNK,
    STORE_SEED,
    cpu_and_memory,
    make_parser,
    open_store,
    output,
    print_head,
    print_row,
    read_once,
    run_facts,
    write_store,
)

from xdownscale import geostat

STEP = 0.0625  # degrees


def write(path: Path, days: int, shape: tuple[int, int]) -> None:
    """Write a smooth field times lognormal noise."""
    lat, lon = 10 + STEP * np.arange(shape[0]), -20 + STEP * np.arange(shape[1])
    y, x = np.radians(lat)[:, None], np.radians(lon)
    smooth = np.exp(np.sum([np.sin(k * y + k) * np.cos(k * x) / k for k in (1, 9, 27)], axis=0))
    write_store(path, days, lat, lon, lambda noise: smooth * np.exp(0.3 * noise))


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


def measure(path: str, name: str) -> tuple[float, float]:
    """Measure CPU seconds and peak memory of one diagnostic in this process."""
    da = open_store(path)
    dask.compute(DIAGNOSTICS[name](da[:40, ::20, ::20].load().chunk(time=10)))  # imports, compiles
    with dask.config.set(scheduler="single-threaded"):
        return cpu_and_memory(lambda: dask.compute(DIAGNOSTICS[name](da)))


def in_fresh_process(path: Path, name: str) -> tuple[float, float]:
    seconds, memory = map(float, output(__file__, "--one", path, name).split())
    return seconds, memory


def report(days: list[int], shape: tuple[int, int], names: list[str]) -> None:
    chunk = STORE_CHUNK * shape[0] * shape[1] * 4 / 2**20
    print(f"{shape[0]} x {shape[1]} cells, float32, {STORE_CHUNK} days ({chunk:.0f} MB) a chunk\n")
    heads = [head for n in days for head in (f"{n} days: s", "times reading", "peak MB")]
    print_head("diagnostic", *heads)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.zarr" for n in days]
        for path, n in zip(paths, days, strict=True):
            write(path, n, shape)
        reading: list[float] = []
        for name in ["reading", *(name for name in names if name != "reading")]:
            found = [in_fresh_process(path, name) for path in paths]
            reading = reading or [seconds for seconds, _ in found]
            cells = [
                f"{seconds:.1f} | {seconds / read:.1f} | {memory:.0f}"
                for (seconds, memory), read in zip(found, reading, strict=True)
            ]
            print_row(name, *cells)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--days", type=int, nargs="+", default=[365, 1460])
    parser.add_argument("--shape", type=int, nargs=2, default=[281, 361])
    parser.add_argument("--only", nargs="+", choices=DIAGNOSTICS, default=list(DIAGNOSTICS))
    parser.add_argument("--one", nargs=2, help="used by the script itself: store, diagnostic")
    args = parser.parse_args()
    if args.one:
        print(*measure(*args.one))
        return
    print(f"{run_facts(STORE_SEED, PYTHON, NUMPY)}\n")
    report(args.days, tuple(args.shape), args.only)


if __name__ == "__main__":
    main()
