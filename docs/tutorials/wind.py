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
# # Winds with two components
#
# Give several targets as a Dataset. One model learns them together, so that the two components of a
# member are consistent.

# %%
import numpy as np
import pandas as pd
import xarray as xr

import xdownscale as xd

# %% [markdown]
# The winds are synthetic. They are made from a stream function and have no divergence, so u and v
# are related.


# %%
def stream_function(rng, shape, width):
    noise = np.fft.rfft2(rng.normal(size=shape))
    ky, kx = np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2])
    noise *= np.exp(-2 * (np.pi * width) ** 2 * (ky**2 + kx**2))
    return np.fft.irfft2(noise, s=shape[1:])


rng = np.random.default_rng(1)
days, ny, nx = 260, 48, 56
psi = 60 * stream_function(rng, (days, ny + 1, nx + 1), 6)
psi += 4 * stream_function(rng, (days, ny + 1, nx + 1), 2)
u = -np.diff(psi, axis=1)[:, :, :-1] * 20
v = np.diff(psi, axis=2)[:, :-1] * 20
coords = {
    "time": pd.date_range("2010-01-01", periods=days),
    "lat": 45 + 0.1 * np.arange(ny),
    "lon": 5 + 0.1 * np.arange(nx),
}
dims = ("time", "lat", "lon")
fine = xr.Dataset(
    {
        "u10": (dims, u.astype("float32"), {"units": "m s-1", "long_name": "eastward wind"}),
        "v10": (dims, v.astype("float32"), {"units": "m s-1", "long_name": "northward wind"}),
    },
    coords,
)
coarse = fine.coarsen(lat=8, lon=8).mean(keep_attrs=True)
known, later = fine.isel(time=slice(0, 220)), fine.isel(time=slice(230, None))

# %%
model = coarse.downscale.fit(known, preset="dressed", progress=False)
maps = coarse.downscale.predict(model, time=later.time, realizations=8, seed=0)
maps

# %%
axes = maps.u10.geostat.plot_maps(truth=later.u10, coarse=coarse.u10, time=later.time[2])
# %% [markdown]
# ## Do the components belong together?
#
# Compare the correlation of the components within fields, and the wind speed. If only the single
# components are right, the speed is wrong.

# %%
found = xd.skill.intervariable_correlation(maps, later)
print(found)
speed = np.hypot(maps.u10, maps.v10)
true_speed = np.hypot(later.u10, later.v10)
print(
    f"mean speed of members {float(speed.mean()):.2f}, of the truth {float(true_speed.mean()):.2f}"
)

# %%
table = xd.skill.table(
    {"dressed": maps.u10}, later.u10, scores=["crps", "rmse"], coarse=coarse.u10, train=known.u10
)
table.round(3)
