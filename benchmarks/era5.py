"""Downscale ERA5 winds over Europe from their averages over 8 x 8 cells, both components at once.

Trains on the first 72 time steps of the file (18 days, every 6 hours) and tests on the last 24.

python benchmarks/era5.py [--minutes 5] [--seed 0] [--threads 2]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from common import crps, machine, make_parser, parse, print_head, print_row, r2, spread_skill

import xdownscale as xd

FACTOR, TRAIN, TEST = 8, 72, 24


def records(folder: Path) -> tuple[xr.Dataset, xr.Dataset, xr.DataArray]:
    """Return coarse and fine winds, and elevation."""
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
    parser = make_parser(__doc__, "--seed", "--threads", "--realizations")
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--mean-epochs", type=int, default=100)
    args = parse(parser)
    coarse, fine, height = records(args.folder)
    config = xd.preset(
        "fast",
        data={"ahead": 0, "fractions": (0.9, 0.1, 0.0), "crop": 64, "transform": "identity"},
        network={"channels": (32, 48, 64), "dropout": 0.1},
        diffusion={"folds": args.folds},
        training={
            "max_minutes": args.minutes,
            "epochs": args.epochs,
            "mean_epochs": args.mean_epochs,
        },
    )
    model = coarse.downscale.fit(
        fine.isel(time=slice(TRAIN)),
        static=height,
        preset=config,
        seed=args.seed,
        pairing="paired",
        progress=False,
    )
    test = fine.isel(time=slice(-TEST, None))
    fields = coarse.downscale.predict(model, time=test.time, realizations=args.realizations, seed=1)
    print(f"{machine(f'{args.threads} threads')} Seed {args.seed}.\n")
    central = coarse.downscale.predict(model.with_sampling(sampler="mean"), time=test.time)
    print_head(
        "variable",
        "r2 of the regression",
        "of the mean of 8",
        "of bilinear",
        "CRPS",
        "MAE of bilinear",
        "ratio",
        "spread-skill",
    )
    for name in test:
        truth, members = test[name].values.astype(float), fields[name].values.astype(float)
        flat = coarse[name].downscale.regrid(fine, method="bilinear", extrapolate="nearest")
        guess = flat.sel(time=test.time).transpose(*test[name].dims).values
        error, score = float(np.abs(guess - truth).mean()), crps(members, truth)
        means = central[name].values[0], members.mean(0), guess
        print_row(
            name,
            *(f"{r2(mean, truth):.3f}" for mean in means),
            f"{score:.3f}",
            f"{error:.3f}",
            f"{score / error:.3f}",
            f"{spread_skill(members, truth):.2f}",
        )


if __name__ == "__main__":
    main()
