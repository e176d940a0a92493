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
# The input is a long coarse record (ten years, 0.5° x 0.625°) and a short fine one (two years,
# 0.0625°). The output is labelled fine maps. The records are synthetic dust that comes with the
# package: nothing is downloaded. This page gives the training 15 seconds; `make quickstart` gives
# it 2.5 minutes.

# %%
import xdownscale as xd  # registers .downscale on every DataArray

ds = xd.datasets.load_twin()
known, later = ds.dust_fine[:300], ds.dust_fine[600:610]
ds

# %% [markdown]
# ## Train
#
# One call fits everything. Methods without networks are fitted first, in seconds. Networks are
# trained on top, and kept only if they improve the score of days that they did not see. The printed
# model says what was kept.

# %%
config = xd.preset("auto", training=dict(max_minutes=0.25))
model = ds.dust.downscale.fit(known, static=ds.elevation, preset=config, seed=0, progress=False)
print(model)

# %% [markdown]
# ## Predict
#
# This generates eight realizations of ten days that the model never saw. Only the coarse fields of
# these days are needed.

# %%
maps = ds.dust.downscale.predict(model, time=later.time, realizations=8, seed=1)
maps

# %%
axes = maps.geostat.plot_maps(truth=later, coarse=ds.dust, time=later.time[4], scale="log")
# %% [markdown]
# ## Is it any good?
#
# The table compares the model with baselines that are fitted in seconds, on the same days. Divide
# its CRPS by that of the best baseline: below 1 the networks add something. With 15 seconds of
# training they seldom do.

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
