# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Temperature and precipitation over Iberia: real data
#
# E-OBS daily mean temperature and precipitation at 0.25° (winters 1990/91 to 1996/97) from the
# NCEP/NCAR reanalysis at about 1.9°. Models are trained on the days before the last 65 of the file
# and scored on those, beside baselines: bilinear interpolation, the same with a bias for each cell,
# and ridge regression on all coarse cells.

# %%
import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import xdownscale as xd

default = Path(os.environ.get("XDOWNSCALE_TEST_DATA", "../shared/data"))
parser = argparse.ArgumentParser()
parser.add_argument("path", nargs="?", type=Path, default=default / "iberia_djf1990_1997.nc")
parser.add_argument("--minutes", type=float, default=4.0, help="training time of each model")
parser.add_argument("--realizations", type=int, default=24)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=2)
options, _ = parser.parse_known_args()
torch.set_num_threads(options.threads)
started = time.perf_counter()

# %%
with xr.open_dataset(options.path) as opened:
    ds = opened.load()
fine = xr.Dataset({"tas": ds.tas.assign_attrs(units="degC"), "pr": ds.pr.assign_attrs(units="mm")})
coarse = xr.Dataset(
    {"tas": ds.tas_coarse.assign_attrs(units="degC"), "pr": ds.pr_coarse.assign_attrs(units="mm")}
)
train, test = fine.isel(time=slice(0, -65)), fine.isel(time=slice(-65, None))

# %% [markdown]
# ## Train
#
# The outermost coarse cells do not reach the border of the fine domain, so interpolation has to
# hold the nearest value there, which has to be asked for. `ahead=0`: no coarse field after the day
# itself is used, so that the last day of the file can be predicted. Precipitation has zeros, so
# its transform is a square root, and values below zero are set to zero. 500 days are few: a
# dozen epochs, channels dropped in training, and four blocks of cross-fitting, so that each of the
# four regressions whose average is the mean sees three quarters of the days.

# %%
models = {}
for name, transform in (("tas", "identity"), ("pr", "sqrt")):
    config = xd.preset(
        "fast",
        data={"extrapolate": "nearest", "fractions": (0.9, 0.1, 0.0), "ahead": 0, "crop": 40},
        network={"channels": (32, 48, 64), "dropout": 0.1},
        diffusion={"folds": 4},
        training={
            "max_minutes": options.minutes,
            "pretrain_epochs": 5,
            "mean_epochs": 12,
            "epochs": 24,
        },
        sampling={"constraint": "nonnegative"} if name == "pr" else {},
    )
    models[name] = coarse.downscale.fit(
        train[name],
        static=ds.elevation,
        preset=config,
        transform={name: transform, "pr": "sqrt", "tas": "identity"},
        seed=options.seed,
        progress=False,
    )
    print(models[name])

# %% [markdown]
# ## Predict the last 65 days, and the baselines
#
# Each baseline is fitted on the same days.

# %%
predicted = {
    name: coarse.downscale.predict(model, time=test.time, realizations=options.realizations, seed=1)
    for name, model in models.items()
}
bilinear = {
    name: coarse[name].downscale.regrid(fine, method="bilinear", extrapolate="nearest")
    for name in fine
}


def ridge(name: str, penalty: float = 100.0) -> xr.DataArray:
    """Ridge regression of every fine cell on all coarse cells, in anomalies."""
    x = coarse[name].sel(time=train.time).values.reshape(train.sizes["time"], -1)
    y = train[name].values.reshape(train.sizes["time"], -1)
    x_mean, y_mean = x.mean(0), y.mean(0)
    gram = (x - x_mean).T @ (x - x_mean) + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, (x - x_mean).T @ (y - y_mean))
    new = coarse[name].sel(time=test.time).values.reshape(test.sizes["time"], -1)
    found = ((new - x_mean) @ weights + y_mean).reshape(test[name].shape)
    return test[name].copy(data=found)


# %% [markdown]
# ## Scores
#
# The mean of many realizations is a little worse than what it tends to: the regression alone. In a
# transformed variable, such as precipitation's root, the regression is no mean in mm; there the
# mean of the realizations is the one to take.


# %%
def overall(field: xr.DataArray, truth: xr.DataArray) -> float:
    """RMSE over all days and cells."""
    return float(np.sqrt(((field - truth) ** 2).mean()))


for name in fine:
    bias = (train[name] - bilinear[name].sel(time=train.time)).mean("time")
    central = coarse.downscale.predict(models[name].with_sampling(sampler="mean"), time=test.time)
    rows = {
        "bilinear": bilinear[name].sel(time=test.time),
        "bilinear + bias per cell": bilinear[name].sel(time=test.time) + bias,
        "ridge on coarse cells": ridge(name),
        "climatology": xd.baselines.climatology(train[name], test.time),
        "persistence (yesterday's truth)": xd.baselines.persistence(fine[name], test.time),
    }
    table = xd.skill.table(
        {"fast": predicted[name], "fast, its regression": central, **rows},
        test[name],
        transform="identity",
        scores=["rmse", "crps", "mae", "r2"],
        baselines=None,  # they stand above
    )
    print(f"\n## {name}\n\n{xd.skill.to_markdown(table)}\n")
    print("| RMSE over all days and cells | |\n|---|---|")
    mean = predicted[name].mean("realization")
    first = {f"fast (mean of {options.realizations})": mean, "fast, its regression": central[0]}
    for label, field in (first | rows).items():
        print(f"| {label} | {overall(field, test[name]):.3f} |")
print(f"after {(time.perf_counter() - started) / 60:.1f} minutes")
