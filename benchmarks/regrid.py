"""Regridding: time relative to the bare matrix products, memory to the output, conservation.

Run: OMP_NUM_THREADS=1 python benchmarks/regrid.py [--days 365]
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable

import numpy as np
import xarray as xr
from common import NUMPY, PYTHON, make_parser, print_head, print_row, run_facts, shortest

from xdownscale.core.grids import area
from xdownscale.regridding import Regridder, regrid

SEED = 7


def record(lat: np.ndarray, lon: np.ndarray, days: int) -> xr.DataArray:
    values = np.random.default_rng(SEED).lognormal(size=(days, lat.size, lon.size))
    coords = {"time": np.arange(days), "lat": lat, "lon": lon}
    return xr.DataArray(values.astype("f4"), dims=("time", "lat", "lon"), coords=coords)


def grids() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    coarse = 10 + 0.5 * np.arange(71), -20 + 0.625 * np.arange(73)
    fine = 10 + 0.0625 * np.arange(561), -20 + 0.0625 * np.arange(721)
    return coarse, fine


def peak_over_output(call: Callable[[], xr.DataArray]) -> float:
    tracemalloc.start()
    result = call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / result.nbytes


def coarse_to_fine(days: int, gaps: str) -> tuple[float, float, float]:
    coarse, fine = grids()
    da = record(*coarse, days)
    target = xr.Dataset(coords={"lat": fine[0], "lon": fine[1]})
    weights = Regridder.between(coarse, fine)
    y, x = (w.main.astype("f4") for w in (weights.y, weights.x))
    xt = np.ascontiguousarray(x.T)
    values = da.values
    if gaps == "a fixed mask":
        da = da.where(np.random.default_rng(SEED).random((71, 73)) > 0.2)
    ours, bare = shortest(lambda: regrid(da, target), lambda: (y @ values) @ xt, repeats=5)
    return ours, ours / bare, peak_over_output(lambda: regrid(da, target))


def conservation(days: int) -> tuple[float, float, float]:
    """Measure the relative error of the area integral (float64) on grids with equal outer edges."""
    fine = 10 + 0.0625 * np.arange(568), -20 + 0.0625 * np.arange(720)
    coarse = 10.21875 + 0.5 * np.arange(71), -19.71875 + 0.625 * np.arange(72)
    single = record(*fine, days)
    target = xr.Dataset(coords={"lat": coarse[0], "lon": coarse[1]})
    (seconds,) = shortest(lambda: regrid(single, target, "conservative"), repeats=3)
    memory = peak_over_output(lambda: regrid(single, target, "conservative"))
    double = single[:20].astype("f8")
    found = regrid(double, target, "conservative")
    before, after = ((f * area(f)).sum(("lat", "lon")) for f in (double, found))
    return seconds, memory * found.nbytes / double.nbytes, float(abs(after / before - 1).max())


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--days", type=int, default=365)
    days = parser.parse_args().days
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"{run_facts(SEED, f'{threads} BLAS thread(s)', PYTHON, NUMPY)}\n")
    print(f"71 x 73 -> 561 x 721, {days} days, float32, bicubic\n")
    print_head("input", "seconds", "time over bare products", "peak memory over output")
    for gaps in ("no gaps", "a fixed mask"):
        seconds, ratio, memory = coarse_to_fine(days, gaps)
        print_row(gaps, f"{seconds:.2f}", f"{ratio:.2f}", f"{memory:.3f}")
    seconds, memory, error = conservation(days)
    print(f"\n568 x 720 -> 71 x 72, {days} days, conservative\n")
    print_head("seconds (float32)", "peak memory over input", "error of the integral (float64)")
    print_row(f"{seconds:.2f}", f"{memory:.4f}", f"{error:.1e}")


if __name__ == "__main__":
    main()
