"""Nearest regridding and CRPS beside xarray-regrid and xskillscore: CPU time over the peer's.

Ratios are medians over repeats in which both alternate, in one run. A row whose peer is not
installed is left out (`pip install xarray-regrid xskillscore`; neither is needed by the library).

Run: OMP_NUM_THREADS=1 python benchmarks/peers.py [--days 100]
"""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import xarray as xr
from common import NUMPY, PYTHON, make_parser, print_head, print_row, run_facts

import xdownscale as xd

SEED = 7
MEMBERS = 20
NEAREST_PEER = "xarray_regrid"  # by name: neither is a dependency, not even of the tests
CRPS_PEER = "xskillscore"


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> tuple[float, ...]:
    """Return CPU milliseconds of both, and the median of their ratio."""
    ours()
    theirs()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        ours()
        middle = time.process_time()
        theirs()
        spent.append((middle - start, time.process_time() - middle))
    return (
        *(1000 * statistics.median(column) for column in zip(*spent, strict=True)),
        statistics.median(a / b for a, b in spent),
    )


def field(days: int, rows: int, columns: int, **extra: Any) -> xr.DataArray:
    coords = {
        **extra,
        "time": xr.date_range("2000-01-01", periods=days),
        "latitude": np.linspace(10, 45, rows),
        "longitude": np.linspace(-20, 25, columns),
    }
    shape = [len(values) for values in coords.values()]
    values = np.random.default_rng(SEED).random(shape, dtype="f4")
    return xr.DataArray(values, coords=coords, dims=tuple(coords))


def nearest(days: int, repeats: int) -> None:
    importlib.import_module(NEAREST_PEER)  # registers the accessor `regrid`
    for small, large, count in (((10, 10), (20, 20), 1), ((71, 73), (561, 721), days)):
        da = field(count, *small)
        target = field(1, *large).isel(time=0, drop=True).to_dataset(name="grid")
        for kind, record in (("numpy", da), ("dask", da.chunk(time=5))):
            found = ratio(
                lambda record=record, target=target: xd.regrid(record, target, "nearest").compute(),
                lambda record=record, target=target: record.regrid.nearest(target).compute(),
                repeats,
            )
            sizes = f"{small[0]} x {small[1]} -> {large[0]} x {large[1]}, {count} days"
            print_row(f"nearest, {sizes}, {kind}", "xarray-regrid", *cells(found))


def crps(days: int, repeats: int) -> None:
    peer = importlib.import_module(CRPS_PEER)
    members = field(days, 94, 121, realization=np.arange(MEMBERS)).astype(float)
    truth = field(days, 94, 121).astype(float) + 0.1
    gaps = members.where(truth > 0.2)
    rows = {
        "numpy": (members, truth),
        "dask": (members.chunk(time=5), truth.chunk(time=5)),
        "numpy, a tenth missing": (gaps, truth),
    }
    dims = ["latitude", "longitude"]
    for kind, (ensemble, observed) in rows.items():
        found = ratio(
            lambda e=ensemble, o=observed: xd.skill.crps(e, o).compute(),
            lambda e=ensemble, o=observed: peer.crps_ensemble(
                o, e, member_dim="realization", dim=dims
            ).compute(),
            repeats,
        )
        what = f"CRPS, {MEMBERS} members, {days} days of 94 x 121, {kind}"
        print_row(what, "xskillscore", *cells(found))


def cells(found: tuple[float, ...]) -> list[str]:
    return [f"{found[0]:.1f}", f"{found[1]:.1f}", f"{found[2]:.2f}"]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    dask.config.set(scheduler="synchronous")
    print(run_facts(SEED, PYTHON, NUMPY))
    print_head("what", "peer", "ours, ms", "peer, ms", "ratio")
    if importlib.util.find_spec(NEAREST_PEER):
        nearest(args.days, args.repeats)
    if importlib.util.find_spec(CRPS_PEER):
        crps(args.days, args.repeats)


if __name__ == "__main__":
    main()
