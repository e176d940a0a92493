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
# # Judging without truth
#
# Most of a record has no fine truth: that is why it is downscaled. What can be known then? Whether
# the fields have the texture, memory and distribution of the short fine record, whether they agree
# with the coarse record where it knows, and whether patches left seams. No torch is needed.

# %%
import xdownscale as xd

ds = xd.datasets.load_twin()
known = ds.dust_fine[:300]
coarse = ds.dust.rename(time_coarse="time")
model = ds.dust.downscale.fit(known, preset="dressed", progress=False)
days = coarse.time[731:791]  # two years before the fine record, in the same season
maps = ds.dust.downscale.predict(model, time=days, realizations=2, seed=0)
bicubic = xd.regrid(ds.dust.sel(time_coarse=days.values), known, "bicubic")

# %% [markdown]
# ## Texture
#
# Semivariance over distance, beside the short fine record's. Interpolation is too smooth at short
# distances.

# %%
curves = {"fine record": known[:60], "one member": maps[0], "bicubic": bicubic}
axes = xd.plot.semivariogram(curves, max_distance=300)
# %%
axes = xd.plot.power_spectrum(curves)
# %% [markdown]
# ## Memory
#
# Autocorrelation of the regional mean, and R2 between fields some days apart.

# %%
members_memory = maps[0].geostat.lag_r2(max_lag=5)["mean"]
own_memory = known.geostat.lag_r2(max_lag=5)["mean"]
print(members_memory.values.round(2), own_memory.values.round(2))

# %% [markdown]
# ## Distribution, and agreement with the coarse record
#
# The Wasserstein distance of daily values to the coarse record, which has the same days: it should
# be small for the means over coarse cells.

# %%
inside = coarse.sel(time=days, lat_coarse=slice(24, 29.5), lon_coarse=slice(44, 51))
means = xd.regrid(maps[0], inside, "conservative")
distance = means.geostat.wasserstein(inside)
print(distance.wasserstein_mean.item())

# %% [markdown]
# ## One page with all of it
#
# `xd.report` writes one HTML page with figures, numbers and a sentence of conclusion, with truth or
# without.

# %%
xd.report(maps[0], coarse, path="report.html")
