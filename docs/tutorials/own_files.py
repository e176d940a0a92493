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
# # Your own files: from `open_mfdataset` to maps
#
# The input is two sets of NetCDF files. So that this page can run, it writes such files first:
# yearly files of a coarse reanalysis, and monthly files of a regional model. They differ in the
# names of dimensions and in the longitude convention.

# %%
from pathlib import Path
from tempfile import mkdtemp

import xarray as xr

import xdownscale as xd

folder = Path(mkdtemp())
twin = xd.datasets.load_twin(version=2)
coarse = twin[["dust", "t850"]].rename(
    time_coarse="time", lat_coarse="latitude", lon_coarse="longitude"
)
coarse = coarse.assign_coords(longitude=coarse.longitude % 360)
for year, part in coarse.sel(time=slice("2004", "2005")).groupby("time.year"):
    part.to_netcdf(folder / f"reanalysis_{year}.nc")
fine = twin.dust_fine.rename("AOD")
for month, part in fine.sel(time=slice("2004-06", "2004-12")).groupby("time.month"):
    part.to_netcdf(folder / f"regional_{month:02d}.nc")
sorted(path.name for path in folder.iterdir())

# %% [markdown]
# ## Open
#
# Open the files as usual, lazily. Names, order and direction of dimensions, and the longitude
# convention need not agree. Units and standard names are read from the attributes.

# %%
coarse = xr.open_mfdataset(str(folder / "reanalysis_*.nc"))
fine = xr.open_mfdataset(str(folder / "regional_*.nc")).AOD
known, later = fine.isel(time=slice(0, 180)), fine.isel(time=slice(180, None))
fine

# %% [markdown]
# ## Look before you fit
#
# `inspect` shows all that matters before a fit: variables, common days, gaps, missing values,
# whether the days match, and what the training will cost. Each fault comes with the code that
# corrects it.

# %%
coarse.dust.downscale.inspect(known, preset="dressed", measure=False)

# %% [markdown]
# ## Fit and predict
#
# All variables of the coarse Dataset are drivers. If a target and its driver have different names,
# `drivers=` connects them. Preset `"dressed"` takes seconds; leave it out to train networks.

# %%
model = coarse.downscale.fit(known, drivers={"AOD": "dust"}, preset="dressed", progress=False)
maps = coarse.downscale.predict(model, time=later.time[:20], realizations=8, seed=0)
maps

# %%
axes = maps.geostat.plot_maps(truth=later, coarse=coarse.dust, time=later.time[3], scale="log")
# %%
table = xd.skill.table(
    {"dressed": maps}, later, scores=["crps", "rmse"], coarse=coarse.dust, train=known
)
table.round(4)

# %% [markdown]
# ## Write
#
# Write small results to NetCDF. Results of any size can be written to a Zarr store piece by piece,
# and an interrupted run continues where it stopped ([a long record on a cluster](cluster.py)).

# %%
maps.to_netcdf(folder / "fine_maps.nc")
