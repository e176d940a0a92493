"""Regridding: time relative to the bare matrix products, memory to the output, conservation.

Run: OMP_NUM_THREADS=1 python benchmarks/regrid.py [--days 365]
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import xarray as xr
from common import NUMPY, PYTHON, make_parser, print_head, print_row, run_facts, shortest
from pyproj import Transformer
from scipy.interpolate import RectBivariateSpline

from xdownscale.core.grids import area, with_positions
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


LAMBERT = "+proj=lcc +lat_1=30 +lat_2=60 +lat_0=39 +lon_0=-96 +R=6371229 +units=m"


def lambert(rows: int, columns: int, step: float) -> xr.DataArray:
    """Return a smooth field on a Lambert grid around the middle of its projection."""
    y, x = (step * (np.arange(n) - (n - 1) / 2) for n in (rows, columns))
    values = np.sin(y / 4e5)[:, None] * np.cos(x / 3e5) + 2
    attrs = {"proj:proj4": LAMBERT, "crs": LAMBERT}
    return xr.DataArray(values, coords={"y": y, "x": x}, dims=("y", "x"), attrs=attrs)


def curvilinear(da: xr.DataArray) -> xr.DataArray:
    """Return a projected field with two-dimensional latitude and longitude alone."""
    located = with_positions(da)
    bare = located.drop_vars(["y", "x"]).drop_attrs()
    return bare.rename(y="j", x="i")


def print_any_kind() -> None:
    """Print the cost of weights between a curvilinear grid and one in degrees, and their errors."""
    source = lambert(141, 145, 25e3)
    lat, lon = np.linspace(27, 50, 561), np.linspace(-110, -82, 721)
    target = xr.Dataset(coords={"lat": lat, "lon": lon})
    print("\n141 x 145 curvilinear (Lambert, 25 km) -> 561 x 721, CPU seconds\n")
    print_head("method", "weights", "a field", "peak memory of weights, MB")
    for method in ("nearest", "bilinear", "conservative", "bicubic"):
        curved = curvilinear(source)
        tracemalloc.start()
        started = time.process_time()
        regrid(curved, target, method)
        first = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        started = time.process_time()
        regrid(curved, target, method)
        again = time.process_time() - started
        print_row(method, f"{first - again:.1f}", f"{again:.3f}", f"{peak:.0f}")
    x, y = Transformer.from_crs("EPSG:4326", LAMBERT, always_xy=True).transform(
        *np.meshgrid(lon, lat)
    )
    spline = RectBivariateSpline(source.y, source.x, source.values, kx=3, ky=3)
    inner = regrid(source, target, "bicubic")
    away = np.abs(inner.values - spline.ev(y, x))[40:-40, 40:-40].max()
    print(f"\nLambert -> degrees, bicubic, against pyproj and SciPy's spline, inside: {away:.1e}")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--any-kind", action="store_true", help="grids that are not in degrees")
    options = parser.parse_args()
    days = options.days
    if options.any_kind:
        os.environ["XDOWNSCALE_WEIGHTS"] = ""  # nothing is taken from files
        print(run_facts(SEED, PYTHON, NUMPY))
        print_any_kind()
        return
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
