"""Preset "auto" on a twin, against methods without networks and, of version 2, the ceiling.

python benchmarks/auto.py --minutes 8 --threads 1
python benchmarks/auto.py --minutes 28 --precision bf16 --seeds 0 1 2 --save auto

Scores of test days (log10): CRPS of 16 members, r2 of the conditional mean (of the ceiling: of an
ensemble's mean, less its sampling error), variogram score, and the
share of the way from the best method without networks to the ceiling. CPU seconds count this
process alone. ``--save NAME`` writes the models, for benchmarks/texture.py.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from common import crps, make_parser, print_head, print_row

import xdownscale as xd

MEMBERS = 16
CLOSED = ("dressed", "gaussian", "analogues")
DRIVERS = {1: ["dust"], 2: ["dust", "u10", "v10", "t850"]}
STATIC = {1: ["elevation"], 2: ["elevation", "dust_source", "wind_threshold"]}


class Scores(NamedTuple):
    """Scores of members on test days."""

    crps: float
    r2: float
    variogram: float


def fit(
    name: str, twin: xr.Dataset, version: int, seed: int, training: dict[str, Any]
) -> tuple[xd.Downscaler, float]:
    """Train with the drivers of the twin; return the model and the CPU seconds."""
    started = time.process_time()
    model = twin[DRIVERS[version]].downscale.fit(
        twin.dust_fine,
        static=twin[STATIC[version]],
        drivers={"dust_fine": "dust"},
        preset=xd.preset(name, **({} if name in CLOSED else {"training": training})),
        seed=seed,
        progress=False,
    )
    return model, time.process_time() - started


def scores(members: xr.DataArray, truth: xr.DataArray, mean: xr.DataArray | None = None) -> Scores:
    """Return the scores of log10.

    Without a conditional mean the error of one is estimated from the members: that of their mean,
    less its sampling error.
    """
    logs = np.log10(members.transpose("realization", *truth.dims))
    known = np.log10(truth)
    if mean is None:
        error = np.square(logs.values.mean(0) - known.values)
        error -= logs.values.var(0, ddof=1) / len(logs)
    else:
        error = np.square(np.log10(mean.transpose(*truth.dims).values) - known.values)
    return Scores(
        crps(logs.values, known.values),
        float((1 - error.mean((1, 2)) / known.values.var((1, 2))).mean()),
        float(xd.skill.variogram_score(logs, known).mean()),
    )


def shares(own: Scores, cheap: list[Scores], ceiling: Scores) -> list[float]:
    """Return the share of the way from the best method without networks to the ceiling."""
    found = []
    for place, best in enumerate((min, max, min)):
        start = best(each[place] for each in cheap)
        found.append((own[place] - start) / (ceiling[place] - start))
    return found


def main() -> None:
    """Print a table."""
    parser = make_parser(__doc__)
    parser.add_argument("--version", type=int, default=2, choices=(1, 2), help="of the twin")
    parser.add_argument("--methods", nargs="+", default=["auto"], help="presets with networks")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--every", type=int, default=1, help="test days that are scored")
    parser.add_argument("--save", help="start of the names of files that models are written to")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    twin = xd.datasets.load_twin(version=options.version)
    drivers = twin[DRIVERS[options.version]]
    training = {"max_minutes": options.minutes, "precision": options.precision}
    cheap: list[Scores] = []
    ceiling: Scores | None = None
    print_head("method", "CRPS", "r2 of the mean", "variogram score", "CPU seconds of fit")
    tasks = [(name, 0) for name in CLOSED]
    tasks += [(name, seed) for name in options.methods for seed in options.seeds]
    for name, seed in tasks:
        model, seconds = fit(name, twin, options.version, seed, training)
        part = model.split_["all"] if "all" in model.split_ else model.split_["part"]
        days = part.time[(part == "test").values][:: options.every]
        truth = twin.dust_fine.sel(time=days)
        maps = drivers.downscale.predict(model, time=days, realizations=MEMBERS, seed=1)
        mean = drivers.downscale.predict(model.with_sampling(sampler="mean"), time=days)
        mean = mean.isel(realization=0, drop=True) if "realization" in mean.dims else mean
        found = scores(maps.compute(), truth, mean.compute())
        said = [*(f"{value:.4f}" for value in found[:2]), f"{found.variogram:.5f}"]
        print_row(f"{name}, seed {seed}", *said, f"{seconds:.0f}")
        if name in CLOSED:
            cheap.append(found)
            continue
        print(repr(model), flush=True)
        if options.save:
            model.save(f"{options.save}_{name}_{seed}.xd")
        if options.version == 1:
            continue
        if ceiling is None:
            ceiling = scores(xd.datasets.twin_ensemble(MEMBERS, time=days).compute(), truth)
            said = [*(f"{value:.4f}" for value in ceiling[:2]), f"{ceiling.variogram:.5f}"]
            print_row("ceiling", *said, "")
        share = shares(found, cheap, ceiling)
        print_row("share of the way", *(f"{value:.2f}" for value in share), "")


if __name__ == "__main__":
    main()
