"""Preset "auto" on the twin, version 2, against methods without networks and the ceiling.

python benchmarks/auto.py --minutes 8 --threads 1

Scores of test days (log10): CRPS of 16 members, r2 of the members' mean, and the share of the way
from the best method without networks to the ceiling. CPU seconds count this process alone.
"""

from __future__ import annotations

import time

import numpy as np
import xarray as xr
from common import crps, make_parser, print_head, print_row

import xdownscale as xd

MEMBERS = 16
CLOSED = ("dressed", "gaussian", "analogues")


def fit(name: str, twin: xr.Dataset, minutes: float, seed: int) -> tuple[xd.Downscaler, float]:
    """Train with the drivers of the twin; return the model and the CPU seconds."""
    drivers = twin[["dust", "u10", "v10", "t850"]]
    static = twin[["elevation", "dust_source", "wind_threshold"]]
    training = {"training": {"max_minutes": minutes}} if name == "auto" else {}
    started = time.process_time()
    model = drivers.downscale.fit(
        twin.dust_fine,
        static=static,
        drivers={"dust_fine": "dust"},
        preset=xd.preset(name, **training),
        seed=seed,
        progress=False,
    )
    return model, time.process_time() - started


def scores(members: xr.DataArray, truth: xr.DataArray) -> tuple[float, float]:
    """Return the CRPS and the r2 of the members' mean, log10."""
    fields = np.log10(members.transpose("realization", *truth.dims).values)
    known = np.log10(truth.values)
    error = np.square(fields.mean(0) - known).mean((1, 2))
    return crps(fields, known), float((1 - error / known.var((1, 2))).mean())


def main() -> None:
    """Print a table."""
    parser = make_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=3, help="test days that are scored")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    twin = xd.datasets.load_twin(version=2)
    found: dict[str, tuple[float, float]] = {}
    print_head("method", "CRPS", "r2 of the mean", "CPU seconds of fit")
    for name in (*CLOSED, "auto"):
        model, seconds = fit(name, twin, options.minutes, options.seed)
        part = model.split_["all"] if "all" in model.split_ else model.split_["part"]
        days = part.time[(part == "test").values][:: options.every]
        truth = twin.dust_fine.sel(time=days)
        drivers = twin[["dust", "u10", "v10", "t850"]]
        maps = drivers.downscale.predict(model, time=days, realizations=MEMBERS, seed=1)
        found[name] = scores(maps, truth)
        print_row(name, *(f"{value:.4f}" for value in found[name]), f"{seconds:.0f}")
        if name == "auto":
            print(repr(model))
    ceiling = scores(xd.datasets.twin_ensemble(MEMBERS, time=days).compute(), truth)
    print_row("ceiling", *(f"{value:.4f}" for value in ceiling), "")
    best = min(found[name][0] for name in CLOSED)
    most = max(found[name][1] for name in CLOSED)
    share = (
        (found["auto"][0] - best) / (ceiling[0] - best),
        (found["auto"][1] - most) / (ceiling[1] - most),
    )
    print_row("auto: share of the way", *(f"{value:.2f}" for value in share), "")


if __name__ == "__main__":
    main()
