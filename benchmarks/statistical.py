"""Methods without networks on Iberia: CRPS, RMSE, spread-skill and CPU seconds, by training days.

python benchmarks/statistical.py ../shared/data/iberia_djf1990_1997.nc --days 567 120 60
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import common
import numpy as np
import xarray as xr

import xdownscale as xd

METHODS = ("dressed", "gaussian", "analogues")
TRANSFORMS = {"tas": "identity", "pr": "sqrt"}
JUDGED = 65  # days, the last ones
MEMBERS = 24
SEEDS = (1, 2, 3)


def records(path: Path) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the coarse and the fine record."""
    with xr.open_dataset(path) as opened:
        ds = opened.load()
    units = {"tas": "degC", "pr": "mm"}
    fine = xr.Dataset({name: ds[name].assign_attrs(units=units[name]) for name in units})
    coarse = {name: ds[f"{name}_coarse"].assign_attrs(units=units[name]) for name in units}
    return xr.Dataset(coarse), fine


def row(coarse: xr.Dataset, fine: xr.DataArray, method: str, days: int) -> str:
    """Fit a method on some days before the judged ones, and score it."""
    name = str(fine.name)
    test = fine.isel(time=slice(-JUDGED, None))
    train = fine.isel(time=slice(-JUDGED - days, -JUDGED))
    config = xd.preset(method, data={"extrapolate": "nearest", "fractions": (1.0, 0.0, 0.0)})
    started = time.process_time()
    model = coarse.downscale.fit(train, preset=config, transform=TRANSFORMS, progress=False)
    seconds = time.process_time() - started
    scores = np.array([judged(coarse, model, test, seed) for seed in SEEDS])
    mean = model.with_sampling(sampler="mean")
    central = coarse.downscale.predict(mean, time=test.time).isel(realization=0)
    numbers = " | ".join(f"{value:.3f}" for value in scores.mean(0))
    spread = np.ptp(scores[:, 0])
    return (
        f"| {name} | {days} | {method} | {numbers} | {rmse(central, test):.3f} | {spread:.3f} | "
        f"{seconds:.1f} |"
    )


def judged(
    coarse: xr.Dataset, model: xd.Downscaler, test: xr.DataArray, seed: int
) -> tuple[float, float, float]:
    """Return CRPS, RMSE of the members' mean and spread-skill."""
    maps = coarse.downscale.predict(model, time=test.time, realizations=MEMBERS, seed=seed)
    land = test.notnull().values
    members = maps.transpose("realization", *test.dims).values[:, land]
    score = common.crps(members, test.values[land])
    skill = float(xd.skill.spread_skill(maps, test).spread_skill)
    return score, rmse(maps.mean("realization"), test), skill


def rmse(field: xr.DataArray, truth: xr.DataArray) -> float:
    """Return the root mean square error over all days and cells."""
    return float(np.sqrt(((field - truth) ** 2).mean()))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--days", type=int, nargs="+", default=[567])
    options = parser.parse_args()
    coarse, fine = records(options.path)
    print("| variable | days | method | CRPS | RMSE of the members' mean | spread-skill |", end=" ")
    print("RMSE of the point estimate | range of the CRPS, 3 seeds | CPU seconds of fit |")
    print("|" + "---|" * 9)
    for days in options.days:
        for name in TRANSFORMS:
            for method in METHODS:
                print(row(coarse, fine[name], method, days), flush=True)


if __name__ == "__main__":
    main()
