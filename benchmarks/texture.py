"""Structure, spread and cost of what a model of a twin generates.

make quickstart && python benchmarks/texture.py quickstart_output/dust.xd
python benchmarks/auto.py --version 1 --save v1
python benchmarks/texture.py v1_auto_0.xd --version 1

Sixty days of the last months, which neither trains on, log10. The share of a number is the way from
a phase-randomised copy of the truth to the truth. The cost is set against that of preset "fast"
with 8 steps, by the shipped model of version 1 on the same grid.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from common import make_parser, print_head, print_row

import xdownscale as xd

MEMBERS = 16
DRIVERS = {1: ["dust"], 2: ["dust", "u10", "v10", "t850"]}


def shares(truth: xr.DataArray, generated: xr.DataArray, what: str) -> None:
    """Print each number of the truth, of its phase-randomised copy and of generated fields."""
    true = xd.geostat.structure(truth)
    found = xd.geostat.structure(generated).mean("realization", keep_attrs=True)
    for name in ("kurtosis", "coherence", "gradient_tail"):
        ends = [np.atleast_1d(true[each].values) for each in (name, f"{name}_null")]
        own = np.atleast_1d(found[name].values)
        share = (own - ends[1]) / (ends[0] - ends[1])
        print_row(f"{what}: {name}", *(_said(each) for each in (*ends, own, share)))


def _said(values: np.ndarray) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def seconds(
    model: xd.Downscaler, record: xr.Dataset | xr.DataArray, days: pd.DatetimeIndex
) -> float:
    """Return the CPU seconds of a member of a day, eight members at once."""
    started = time.process_time()
    record.downscale.predict(model, time=days, realizations=8, seed=1).compute()
    return (time.process_time() - started) / (8 * len(days))


def main() -> None:
    """Print two tables."""
    parser = make_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--version", type=int, default=2, choices=(1, 2), help="of the twin")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    model = xd.load(options.model)
    ds = xd.datasets.load_twin(version=options.version).load()
    drivers = ds[DRIVERS[options.version]]
    days = pd.date_range("2005-11-01", "2005-12-30")
    truth = np.log10(ds.dust_fine.rename("dust").sel(time=days))
    maps = drivers.downscale.predict(model, time=days, realizations=MEMBERS, seed=1).compute()
    mean = drivers.downscale.predict(model.with_sampling(sampler="mean"), time=days)
    center = np.log10(mean.isel(realization=0, drop=True).compute())
    logs = np.log10(maps)
    print_head("", "truth", "phase-randomised", "generated", "share")
    shares(truth - center, (logs - center).isel(realization=slice(0, 2)), "residual")
    shares(truth, logs.isel(realization=slice(0, 2)), "field")
    scales = xd.skill.spread_skill_by_scale(logs, truth)
    print_head("", "value")
    print_row("spread-skill by octave", _said(scales.spread_skill.values))
    print_row("of the domain mean", f"{float(scales.mean_spread_skill):.2f}")
    steps = [np.square(np.diff(each.transpose(..., "lon").values)).mean() for each in (logs, truth)]
    print_row("1-px semivariance over the truth's", f"{steps[0] / steps[1]:.2f}")
    known = ds.dust_fine.rename("dust").sel(time=slice(None, "2005-10-31"))
    cheap = xd.baselines.dressed(drivers, known, time=days, realizations=MEMBERS)
    ensembles = {"dressed": cheap, "the model": maps}
    if options.version == 2:
        ensembles["ceiling"] = xd.datasets.twin_ensemble(MEMBERS, time=days).rename("dust")
    for name, members in ensembles.items():
        score = xd.skill.variogram_score(xr.DataArray(np.log10(members)), truth)
        print_row(f"variogram score, {name}", f"{float(score.mean()):.5f}")
    fast = xd.load_pretrained("dust-twin-tiny")
    own = seconds(model, drivers, days[:20])
    print_row("CPU seconds of a member", f"{own:.4f}")
    print_row("of fast, 8 steps", f"{seconds(fast, xd.datasets.load_twin().dust, days[:20]):.4f}")


if __name__ == "__main__":
    main()
