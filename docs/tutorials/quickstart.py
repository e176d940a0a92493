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
# # Quickstart
#
# A long coarse record (ten years, 0.5° x 0.625°) and a short fine one (two years, 0.0625°) go in,
# labelled fine maps come out. The record is synthetic dust that comes with the package: nothing is
# downloaded. This page gives the training 15 seconds; `make quickstart` gives it 2.5 minutes.

# %%
import xdownscale as xd  # registers .downscale on every DataArray

ds = xd.datasets.load_twin()
known, later = ds.dust_fine[:300], ds.dust_fine[600:610]
ds

# %% [markdown]
# ## Train
#
# One call. What takes seconds is fitted first; networks are trained on top of it and kept only
# where days that they did not see say that they help. The printed model says what was kept.

# %%
config = xd.preset("auto", training=dict(max_minutes=0.25))
model = ds.dust.downscale.fit(known, static=ds.elevation, preset=config, seed=0, progress=False)
print(model)

# %% [markdown]
# ## Predict
#
# Eight realizations of ten days that the model never saw. The coarse fields of these days are all
# that is needed.

# %%
maps = ds.dust.downscale.predict(model, time=later.time, realizations=8, seed=1)
maps

# %%
axes = maps.geostat.plot_maps(truth=later, coarse=ds.dust, time=later.time[4], scale="log")
# %% [markdown]
# ## Is it any good?
#
# Beside what takes seconds, fitted on the same days. The column `vs best` is the CRPS over that of
# the best method without networks, with its standard error: below 1 the networks add something.
# With 15 seconds of training they seldom do.

# %%
scores = ["crps", "rmse"]
table = xd.skill.table({"auto": maps}, later, scores=scores, coarse=ds.dust, train=known)
table.round(4)

# %% [markdown]
# ## Keep it

# %%
model.save("dust.xd")
again = xd.load("dust.xd")
maps.to_netcdf("dust_fine.nc")
