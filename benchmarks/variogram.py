"""Semivariogram: time relative to scikit-gstat and to reading the store once; peak memory.

scikit-gstat's `Variogram` gets the same pairs and the same distances, one day at a time; it is
timed on a few days and its time is scaled to all days, without the time for setting up the pairs
(which xdownscale's time includes). It is timed with the fit that its constructor makes, and without
one.

Times are CPU times of one thread, the shortest of a few runs: other work on the machine does not
count.

Run: OMP_NUM_THREADS=1 python benchmarks/variogram.py [--days 730] [--reference-days 5]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np
import skgstat
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
    shortest,
    write_store,
)
from scipy.sparse import csr_matrix

from xdownscale.core.grids import distances
from xdownscale.geostat import semivariogram
from xdownscale.geostat._pair_sampling import sample_pairs

LAT, LON = 10 + 0.0625 * np.arange(561), -20 + 0.0625 * np.arange(721)


def write(path: Path, days: int) -> None:
    """Write a smooth field with noise on it."""
    y, x = np.radians(LAT)[:, None], np.radians(LON)
    smooth = np.sum([np.sin(k * y + k) * np.cos(k * x) / k for k in range(1, 40, 3)], axis=0)
    write_store(path, days, LAT, LON, lambda noise: smooth + 0.1 * noise)


class Reference:
    """scikit-gstat on the pairs that xdownscale samples."""

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
        """Compute the semivariance of each day."""
        options: dict[str, Any] = {"maxlag": 600, "n_lags": 30, "use_nugget": True}
        if not fit:
            options |= {"fit_method": "manual", "fit_range": 100, "fit_sill": 1, "fit_nugget": 0}
        images = (day.values.ravel()[self.cells] for day in days)
        return [skgstat.Variogram(self.space, v, **options).experimental for v in images]


def peak_memory(path: str) -> float:
    """Measure the peak memory of this process above that before, MB."""
    da = open_store(path)
    semivariogram(da[:1, ::20, ::20].compute())  # imports and compiles
    with dask.config.set(scheduler="single-threaded"):
        return cpu_and_memory(lambda: semivariogram(da).compute())[1]


def report(path: Path, days: int, few: int) -> None:
    da = open_store(path)
    reference, sample, memory = Reference(), da[:few].load(), da[: 10 * STORE_CHUNK].load()
    reference.curves(sample[:1], fit=True)  # compiles
    with dask.config.set(scheduler="single-threaded"):
        reading, stored = shortest(
            lambda: read_once(da).compute(),
            lambda: semivariogram(da).compute(),
            clock=time.process_time,
        )
    fitted, bare, ours, pairs = shortest(
        lambda: reference.curves(sample, fit=True),
        lambda: reference.curves(sample, fit=False),
        lambda: semivariogram(memory),
        lambda: semivariogram(memory[:1]),
        repeats=5,
        clock=time.process_time,
    )
    whole = pairs + (ours - pairs) * (days - 1) / (memory.sizes["time"] - 1)
    cells = f"{LAT.size} x {LON.size} cells"
    print(f"{days} days, {cells}, float32, 30,000 pairs, {STORE_CHUNK} days a chunk\n")
    print_head("in memory", "seconds", "times ours")
    print_row(f"xdownscale, 1 day and {memory.sizes['time']} scaled to {days}", f"{whole:.2f}", 1)
    for name, taken in (("with its fit", fitted), ("without a fit", bare)):
        scaled = taken * days / few
        row = f"{scaled:.1f}", f"{scaled / whole:.0f}"
        print_row(f"scikit-gstat {name}, {few} days scaled", *row)
    print()
    print_head("from Zarr", "seconds", "times reading")
    print_row("read once", f"{reading:.2f}", 1)
    print_row("semivariogram", f"{stored:.2f}", f"{stored / reading:.2f}")
    peak = float(output(__file__, "--peak", path))
    chunk = STORE_CHUNK * LAT.size * LON.size * 4 / 2**20
    print(f"\nPeak memory from Zarr {peak:.0f} MB; a chunk is {chunk:.0f} MB.")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--reference-days", type=int, default=5)
    parser.add_argument("--peak", help="used by the script itself: store")
    args = parser.parse_args()
    if args.peak:
        print(peak_memory(args.peak))
        return
    skgstat_version = f"scikit-gstat {skgstat.__version__}"
    print(f"{run_facts(STORE_SEED, PYTHON, NUMPY, skgstat_version)}\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.zarr"
        write(path, args.days)
        report(path, args.days, args.reference_days)


if __name__ == "__main__":
    main()
