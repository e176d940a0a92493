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
# # Quickstart: the whole story on the built-in twin
#
# A long coarse record (ten years, 0.5° x 0.625°) and a short fine one (two years, 0.0625°) go in;
# labelled fine maps come out. Everything runs in a few minutes on two cores, without a download.

# %%
import argparse
import time
from pathlib import Path

import pandas as pd
import torch

import xdownscale as xd

parser = argparse.ArgumentParser()
parser.add_argument("--minutes", type=float, default=2.5, help="training time")
parser.add_argument("--output", type=Path, default=Path("quickstart_output"))
options, _ = parser.parse_known_args()  # unknown arguments: a notebook kernel has its own
options.output.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(2)
started = time.perf_counter()

# %% [markdown]
# ## The data
#
# `dust` is the long coarse record, with wind and temperature beside it; `dust_fine` is the short
# fine one. The last two months of the fine record are kept aside: the model never sees these fine
# fields (the coarse ones it may). The twin is a simulator, so its ceiling is known: an ensemble
# that shares all that the coarse record tells, and differs in the turbulence that nobody can know.

# %%
ds = xd.datasets.load_twin(version=2)
drivers = ds[["dust", "u10", "v10", "t850"]]
static = ds[["elevation", "dust_source", "wind_threshold"]]
fine = ds.dust_fine.rename("dust")  # the name of its driver
known = fine.sel(time=slice(None, "2005-10-31"))
print(ds)

# %% [markdown]
# ## Train
#
# One call does it. What takes seconds is fitted first: ridge regression on the coarse cells with
# residual fields of similar days, correlated noise, analogues. Then networks that correct the
# regression are trained, and kept only where days that they did not see say that they add
# something. The line "method" says what was kept, and by how much.

# %%
config = xd.preset(
    "auto",
    data={"fractions": (0.95, 0.0, 0.05)},  # a few days for model.check
    training={"max_minutes": options.minutes},
)
model = drivers.downscale.fit(
    known,
    static=static,
    preset=config,
    seed=0,
    progress=False,
)
model.save(options.output / "dust.xd")
print(model)

# %% [markdown]
# ## Predict a held-out month
#
# Eight realizations of each day, from the coarse fields of that day and the day before: no fine
# field is needed.

# %%
held_out = pd.date_range("2005-11-01", "2005-11-30")
maps = drivers.downscale.predict(model, time=held_out, realizations=8, seed=1)

# %% [markdown]
# ## Is it any good?
#
# Beside the ceiling and what takes seconds, fitted on the same days and drivers. The CRPS is that
# of the ensemble; of a single field it is the mean absolute error. The column `vs best` is the CRPS
# over that of the best method without networks, with its standard error.

# %%
table = xd.skill.table(
    {"auto": maps, "ceiling": xd.datasets.twin_ensemble(8, time=held_out).rename("dust").compute()},
    fine.sel(time=held_out),
    scores=["crps", "r2", "rmse", "mae"],
    coarse=drivers,
    train=known,
)
print(xd.skill.to_markdown(table))
(options.output / "skill.md").write_text(xd.skill.to_markdown(table) + "\n")
for name, found in model.check(drivers, known, days=6, realizations=4).iterrows():
    print(f"{name}: {found.sentence}")

# %% [markdown]
# ## Keep it
#
# The prediction is a labelled array like any other. The figure shows the first realization of one
# day beside the coarse record and the truth.

# %%
maps.to_netcdf(options.output / "dust_fine_2005-11.nc")

# %%
day = "2005-11-15"
axes = maps.geostat.plot_maps(fine, ds.dust, time=day, scale="log")
figure = axes[0].figure
figure.suptitle(f"Dust on {day}, a fine field that the model never saw", x=0.01, ha="left")
figure.savefig(options.output / "quickstart.png", dpi=130)
print(f"written to {options.output}/ after {(time.perf_counter() - started) / 60:.1f} minutes")
