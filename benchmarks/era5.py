"""Winds over Europe: ERA5 from its own averages over 8 x 8 cells, two components drawn together.

Learns from the first 72 steps of the file (18 days, every 6 hours) and is judged on the last 24.

python benchmarks/era5.py [--minutes 5] [--seed 0] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from claims import crps, r2, spread_skill

import xdownscale as xd

FACTOR, TRAIN, TEST = 8, 72, 24


def records(folder: Path) -> tuple[xr.Dataset, xr.Dataset, xr.DataArray]:
    """Coarse and fine winds, and elevation."""
    with xr.open_dataset(folder / "era5_europe_wind_6h_2020.nc") as opened:
        winds = opened[["u10", "v10"]].load()
    lat, lon = (n for n in winds.u10.dims if n != "time")
    sizes = {d: winds.sizes[d] // FACTOR * FACTOR for d in (lat, lon)}
    fine = winds.isel({d: slice(n) for d, n in sizes.items()})
    coarse: Any = fine.coarsen({lat: FACTOR, lon: FACTOR})
    with xr.open_dataset(folder / "elevation_5arcmin_global.nc") as opened:
        height = next(iter(opened.data_vars.values())).load()
    return coarse.mean(keep_attrs=True), fine, height.fillna(0)


def main() -> None:
    default = Path(os.environ.get("XDOWNSCALE_TEST_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--realizations", type=int, default=8)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--mean-epochs", type=int, default=100)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    coarse, fine, height = records(asked.folder)
    config = xd.preset(
        "fast",
        data={"ahead": 0, "fractions": (0.9, 0.1, 0.0), "crop": 64, "transform": "identity"},
        network={"channels": (32, 48, 64), "dropout": 0.1},
        diffusion={"folds": asked.folds},
        training={
            "max_minutes": asked.minutes,
            "epochs": asked.epochs,
            "mean_epochs": asked.mean_epochs,
        },
    )
    model = coarse.downscale.fit(
        fine.isel(time=slice(TRAIN)),
        static=height,
        preset=config,
        seed=asked.seed,
        pairing="paired",
        progress=False,
    )
    test = fine.isel(time=slice(-TEST, None))
    drawn = coarse.downscale.predict(model, time=test.time, realizations=asked.realizations, seed=1)
    print(f"Machine: {platform.machine()}, {asked.threads} threads. Seed {asked.seed}.\n")
    central = coarse.downscale.predict(model.with_sampling(sampler="mean"), time=test.time)
    print(
        "| variable | r2 of the regression | of the mean of 8 | of bilinear | CRPS "
        "| MAE of bilinear | ratio | spread-skill |"
    )
    print("|---" * 8 + "|")
    for name in test:
        truth, members = test[name].values.astype(float), drawn[name].values.astype(float)
        flat = coarse[name].downscale.regrid(fine, method="bilinear", extrapolate="nearest")
        guess = flat.sel(time=test.time).transpose(*test[name].dims).values
        error, score = float(np.abs(guess - truth).mean()), crps(members, truth)
        means = central[name].values[0], members.mean(0), guess
        print(
            f"| {name} | {' | '.join(f'{r2(mean, truth):.3f}' for mean in means)} | {score:.3f} | "
            f"{error:.3f} | {score / error:.3f} | {spread_skill(members, truth):.2f} |"
        )


if __name__ == "__main__":
    main()
