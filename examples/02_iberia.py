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
# # Temperature over Iberia: real data
#
# E-OBS daily mean temperature at 0.25° (winters 1990/91 to 1996/97) from the NCEP/NCAR reanalysis
# at about 1.9°. The model learns from the first 560 days and is judged on the last 65, beside three
# baselines: bilinear interpolation, the same with a bias for each cell, and ridge regression on all
# coarse cells.

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
parser.add_argument("--minutes", type=float, default=6.0, help="training time")
parser.add_argument("--realizations", type=int, default=4)
options, _ = parser.parse_known_args()
torch.set_num_threads(2)
started = time.perf_counter()

# %%
with xr.open_dataset(options.path) as opened:
    ds = opened.load()
fine = ds.tas.assign_attrs(units="degC")
coarse = ds.tas_coarse.assign_attrs(units="degC")
train, test = fine.isel(time=slice(0, 560)), fine.isel(time=slice(-65, None))

# %% [markdown]
# ## Train
#
# The outermost coarse cells do not reach the border of the fine domain, so interpolation has to
# hold the nearest value there: it says so, and wants to be asked.

# %%
config = xd.preset(
    "paper",
    data={"lags": 3, "extrapolate": "nearest", "fractions": (0.95, 0.05, 0.0)},
    training={
        "max_minutes": options.minutes,
        "epochs": 200,
        "pretrain_epochs": 10,
        "batch_days": 4,
    },
    sampling={"steps": 8, "stride": 8, "halo": 2},
)
model = coarse.downscale.fit(train, static=ds.elevation, preset=config, seed=0, progress=False)
print(model)

# %% [markdown]
# ## Predict the last 65 days
#
# Teacher-forced (the true field of the days before is known) and free-running (it is not).

# %%
forced = coarse.downscale.predict(
    model,
    time=test.time,
    realizations=options.realizations,
    mode="teacher_forced",
    history=fine,
    seed=1,
)
past = fine.isel(time=slice(0, -65))
free = coarse.downscale.predict(
    model, time=test.time, realizations=options.realizations, history=past, seed=1
)

# %% [markdown]
# ## Baselines
#
# Each is fitted on the same 560 days.

# %%
bilinear = coarse.downscale.regrid(fine, method="bilinear", extrapolate="nearest")
bias = (train - bilinear.sel(time=train.time)).mean("time")


def ridge(penalty: float = 100.0) -> xr.DataArray:
    """Ridge regression of every fine cell on all coarse cells, in anomalies."""
    x = coarse.sel(time=train.time).values.reshape(train.sizes["time"], -1)
    y = train.values.reshape(train.sizes["time"], -1)
    x_mean, y_mean = x.mean(0), y.mean(0)
    gram = (x - x_mean).T @ (x - x_mean) + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, (x - x_mean).T @ (y - y_mean))
    new = coarse.sel(time=test.time).values.reshape(test.sizes["time"], -1)
    return test.copy(data=((new - x_mean) @ weights + y_mean).reshape(test.shape))


# %%
table = xd.skill.table(
    {
        "teacher-forced": forced,
        "free-running": free,
        "bilinear": bilinear.sel(time=test.time),
        "bilinear + bias per cell": bilinear.sel(time=test.time) + bias,
        "ridge on coarse cells": ridge(),
        "climatology": xd.baselines.climatology(train, test.time),
        "persistence (yesterday's truth)": xd.baselines.persistence(fine, test.time),
    },
    test,
    transform="identity",
    baselines=None,  # they stand above
)
print(xd.skill.to_markdown(table))
print(f"after {(time.perf_counter() - started) / 60:.1f} minutes")
