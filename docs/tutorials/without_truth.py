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
# Most of a coarse record has no fine truth: that is why it is downscaled. You can still check
# several things. Do the fields have the texture, the autocorrelation and the distribution of the
# short fine record? Do their averages agree with the coarse record? Are there seams between
# patches? No torch is needed.

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
# The figures show semivariance by distance and power by wavelength, beside those of the short fine
# record. Interpolation is too smooth at short distances.

# %%
curves = {"fine record": known[:60], "one member": maps[0], "bicubic": bicubic}
axes = xd.plot.semivariogram(curves, max_distance=300)
# %%
axes = xd.plot.power_spectrum(curves)
# %% [markdown]
# ## Autocorrelation in time
#
# R2 between fields some days apart, of one member and of the fine record.

# %%
members_memory = maps[0].geostat.lag_r2(max_lag=5)["mean"]
own_memory = known.geostat.lag_r2(max_lag=5)["mean"]
print(members_memory.values.round(2), own_memory.values.round(2))

# %% [markdown]
# ## Distribution, and agreement with the coarse record
#
# The coarse record has the same days. Average the fields over the coarse cells: the Wasserstein
# distance between these means and the coarse record should be small.

# %%
inside = coarse.sel(time=days, lat_coarse=slice(24, 29.5), lon_coarse=slice(44, 51))
means = xd.regrid(maps[0], inside, "conservative")
distance = means.geostat.wasserstein(inside)
print(distance.wasserstein_mean.item())

# %% [markdown]
# ## One page with all of it
#
# `xd.report` writes one HTML page with figures, numbers and one sentence that sums up the result.
# It works with truth or without.

# %%
xd.report(maps[0], coarse, path="report.html")
