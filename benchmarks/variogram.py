"""Semivariogram: time relative to scikit-gstat and to reading the store once; peak memory.

scikit-gstat's `Variogram` gets the same pairs and the same distances, one day at a time; it is
timed on a few days and its time is scaled to all days, without the time for setting up the pairs
(which xdownscale's time includes). It is timed with the fit that its constructor makes, and without
one.

With --all-pairs it compares the semivariograms of all pairs of one field with those of gstools and
scikit-gstat on the same cells, each pair counted once, and prints agreement and CPU times. gstools
knows great circles on a sphere alone: for the agreement, not for the time, the distances here are
great circles too. scikit-gstat gets the geodesics, and its time is without them.

Times are CPU times of one thread, the shortest of a few runs: other work on the machine does not
count.

Run: OMP_NUM_THREADS=1 python benchmarks/variogram.py [--days 730] [--reference-days 5]
     OMP_NUM_THREADS=1 python benchmarks/variogram.py --all-pairs
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import gstools
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
from xdownscale.geostat import _lattice, semivariogram
from xdownscale.geostat._all_pairs import _survey
from xdownscale.geostat._pair_sampling import sample_pairs

SAMPLE: dict[str, Any] = {"pairs": 30_000, "bins": 30}
RADIUS_KM = 6371.0
GRIDS = {"47 x 61": 12, "94 x 121": 6, "561 x 721": 1}  # every so many rows and columns
ALL_PAIRS: dict[str, Any] = {"max_distance": 600, "bins": 15, "pairs": "all", "weighted": False}
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
    semivariogram(da[:1, ::20, ::20].compute(), **SAMPLE)  # imports and compiles
    with dask.config.set(scheduler="single-threaded"):
        return cpu_and_memory(lambda: semivariogram(da, **SAMPLE).compute())[1]


def report(path: Path, days: int, few: int) -> None:
    da = open_store(path)
    reference, sample, memory = Reference(), da[:few].load(), da[: 10 * STORE_CHUNK].load()
    reference.curves(sample[:1], fit=True)  # compiles
    with dask.config.set(scheduler="single-threaded"):
        reading, stored = shortest(
            lambda: read_once(da).compute(),
            lambda: semivariogram(da, **SAMPLE).compute(),
            clock=time.process_time,
        )
    fitted, bare, ours, pairs = shortest(
        lambda: reference.curves(sample, fit=True),
        lambda: reference.curves(sample, fit=False),
        lambda: semivariogram(memory, **SAMPLE),
        lambda: semivariogram(memory[:1], **SAMPLE),
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


def one_field(name: str) -> xr.DataArray:
    """Return a smooth field with noise, and a tenth of its cells missing."""
    every = GRIDS[name]
    rows, columns = (int(n) for n in name.split(" x "))
    lat, lon = LAT[::every][:rows], LON[::every][:columns]
    y, x = np.radians(lat)[:, None], np.radians(lon)
    rng = np.random.default_rng(STORE_SEED)
    smooth = np.sum([np.sin(k * y + k) * np.cos(k * x) / k for k in range(1, 40, 3)], axis=0)
    values = smooth + 0.1 * rng.standard_normal(smooth.shape)
    values[rng.random(values.shape) < 0.1] = np.nan
    return xr.DataArray(values, {"lat": lat, "lon": lon})


def cells_of(da: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return latitudes, longitudes and values of the valid cells."""
    lat, lon = (c.ravel() for c in np.meshgrid(da.lat, da.lon, indexing="ij"))
    good = np.isfinite(da.values.ravel())
    return lat[good], lon[good], da.values.ravel()[good]


def ours(da: xr.DataArray, *, sphere: bool = False) -> xr.Dataset:
    """Return the semivariogram of all pairs, with nothing kept from a field before."""
    _survey.cache_clear()
    geodesics = _lattice.distances
    if sphere:
        _lattice.distances = great_circles
    try:
        return semivariogram(da, **ALL_PAIRS)
    finally:
        _lattice.distances = geodesics
        _survey.cache_clear()


def great_circles(lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> np.ndarray:
    """Return distances on gstools' sphere, km."""
    y1, x1, y2, x2 = (np.radians(v) for v in (lat1, lon1, lat2, lon2))
    half = np.sin((y2 - y1) / 2) ** 2
    half = half + np.cos(y1) * np.cos(y2) * np.sin((x2 - x1) / 2) ** 2
    return 2 * RADIUS_KM * np.arctan2(np.sqrt(half), np.sqrt(1 - half))


def with_gstools(da: xr.DataArray) -> np.ndarray:
    lat, lon, values = cells_of(da)
    edges = np.linspace(0, ALL_PAIRS["max_distance"], ALL_PAIRS["bins"] + 1)
    return gstools.vario_estimate(
        (lat, lon), values, edges, latlon=True, geo_scale=RADIUS_KM, return_counts=True
    )[1]


def prepared_skgstat(da: xr.DataArray) -> Callable[[], np.ndarray]:
    """Return scikit-gstat's computation; the distances of all pairs are there before."""
    lat, lon, values = cells_of(da)
    low, high = np.triu_indices(lat.size, 1)
    km = distances(lat[low], lon[low], lat[high], lon[high])
    space = skgstat.MetricSpace(np.column_stack([lat, lon]), max_dist=600)
    near = (km <= 600) & (km > 0)
    shape = (lat.size, lat.size)
    space._dists = csr_matrix((km[near], (high[near], low[near])), shape=shape)
    upper = np.linspace(0, 600, ALL_PAIRS["bins"] + 1)[1:]
    options: dict[str, Any] = {"maxlag": 600, "n_lags": upper.size, "use_nugget": True}
    options |= {"bin_func": lambda *_: (upper, None)}
    options |= {"fit_method": "manual", "fit_range": 100, "fit_sill": 1, "fit_nugget": 0}
    return lambda: skgstat.Variogram(space, values, **options).experimental


def report_all_pairs() -> None:
    """Compare all pairs with gstools and scikit-gstat on the same cells."""
    clock = {"clock": time.process_time}
    small = one_field("47 x 61")
    ours(small)  # imports
    with_gstools(small[::5, ::5])
    print_head("one field, all pairs", "tool", "CPU seconds", "times ours", "largest difference")
    for name in GRIDS:
        da = one_field(name)
        found = ours(da)
        (own,) = shortest(lambda da=da: ours(da), repeats=5, **clock)
        print_row(f"{name}, {found.attrs['pairs']:.3g} pairs", "xdownscale", f"{own:.3f}", 1, "")
        if name == "561 x 721":
            continue
        start = time.process_time()
        other = with_gstools(da)
        taken = time.process_time() - start
        off = difference(ours(da, sphere=True), other)
        print_row(name, "gstools", f"{taken:.2f}", f"{taken / own:.0f}", off)
        if name == "47 x 61":
            theirs = prepared_skgstat(da)
            (taken,) = shortest(theirs, repeats=3, **clock)
            row = f"{taken:.2f}", f"{taken / own:.0f}", difference(found, theirs())
            print_row(name, "scikit-gstat", *row)


def difference(found: xr.Dataset, theirs: np.ndarray) -> str:
    """Return the largest relative difference of a class."""
    filled = found.pair_count.values > 0
    own = found.semivariance.values[filled]
    return f"{np.abs(theirs[filled] / own - 1).max():.1e}"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--reference-days", type=int, default=5)
    parser.add_argument("--peak", help="used by the script itself: store")
    parser.add_argument("--all-pairs", action="store_true", help="compare all pairs of one field")
    args = parser.parse_args()
    if args.peak:
        print(peak_memory(args.peak))
        return
    skgstat_version = f"scikit-gstat {skgstat.__version__}"
    tools = (
        [skgstat_version, f"gstools {gstools.__version__}"] if args.all_pairs else [skgstat_version]
    )
    print(f"{run_facts(STORE_SEED, PYTHON, NUMPY, *tools)}\n")
    if args.all_pairs:
        report_all_pairs()
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.zarr"
        write(path, args.days)
        report(path, args.days, args.reference_days)


if __name__ == "__main__":
    main()
