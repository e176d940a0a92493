"""Drawing all days at once against drawing them one after another, each from the one before.

python benchmarks/twin.py --save seed0.xd
python benchmarks/twin.py --save lags0.xd --set '{"data": {"fine_lags": 1}}'
python benchmarks/twin.py --save paper.xd --preset paper --budget 12
python benchmarks/modes.py seed0.xd lags0.xd paper.xd [--threads 2]

Each runs freely through every stretch of consecutive test days: no true fine field is seen after
its first day. Time is that of one realization, the shortest of three drawings of some days that
take turns, for a year.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from claims import crps, log10, r2
from sampling import shortest

import xdownscale as xd

DAY = np.timedelta64(1, "D")
Days = np.ndarray[Any, np.dtype[np.datetime64]]


def stretches(days: Days) -> list[Days]:
    """Cut days where some are left out."""
    return np.split(days, np.flatnonzero(np.diff(days) > DAY) + 1)


def draw(ds: xr.Dataset, model: xd.Downscaler, days: Days, count: int) -> xr.DataArray:
    """Draw days, from the true fields before the first one where the model wants fields."""
    sequential = model.config_.method == "diffusion" or model.config_.data.fine_lags > 0
    known = {"history": ds.dust_fine.sel(time=slice(None, days[0] - DAY))}
    fields: xr.DataArray = ds.dust.downscale.predict(
        model, time=days, realizations=count, seed=3, **(known if sequential else {})
    )
    return fields


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, help="the parallel one comes first")
    parser.add_argument("--realizations", type=int, default=8)
    parser.add_argument("--timed", type=int, default=20, help="days of the timing")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    ds, models = xd.datasets.load_twin(), {path.stem: xd.load(path) for path in asked.models}
    days = sorted(set.intersection(*(set(m.days("test").values) for m in models.values())))
    runs = stretches(np.array(days))
    truth = log10(ds.dust_fine.sel(time=days))
    timed = runs[-1][: asked.timed]
    seconds = shortest(*(lambda m=m: draw(ds, m, timed, 1) for m in models.values()))
    print(
        f"Machine: {platform.machine()}, {asked.threads} threads, torch {torch.__version__}. "
        f"{len(days)} test days in {len(runs)} stretches, {asked.realizations} realizations.\n"
    )
    print("| model | r2 of the mean | CRPS (log10) | s for 365 days | over the first |")
    print("|---|---|---|---|---|")
    for (name, model), time in zip(models.items(), seconds, strict=True):
        parts = [log10(draw(ds, model, run, asked.realizations)) for run in runs]
        fields = np.concatenate(parts, axis=1)
        print(
            f"| {name} ({model.config_.method}, {model.config_.sampling.steps} steps) "
            f"| {r2(fields.mean(0), truth):.3f} | {crps(fields, truth):.4f} "
            f"| {time / timed.size * 365:.0f} | {time / seconds[0]:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
