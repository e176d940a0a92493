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
# # Rain
#
# Rain has many zeros, a long tail and no negative values. `transform="auto"` detects this and uses
# the square root. Members stay non-negative, and the share of dry pixels is kept.

# %%
import numpy as np
import pandas as pd
import xarray as xr

import xdownscale as xd

# %% [markdown]
# A synthetic record that behaves like daily rain: half of the pixels are dry, and the hills in the
# east get more of it. With your own files, `fine` is the rain of a regional model.


# %%
def smooth_noise(rng, shape, width):
    """White noise without its short waves."""
    noise = np.fft.rfft2(rng.normal(size=shape))
    ky, kx = np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2])
    noise *= np.exp(-2 * (np.pi * width) ** 2 * (ky**2 + kx**2))
    field = np.fft.irfft2(noise, s=shape[1:])
    return field / field.std()


rng = np.random.default_rng(4)
days, ny, nx = 300, 48, 56
weather = smooth_noise(rng, (days, ny, nx), 8) + 0.4 * smooth_noise(rng, (days, ny, nx), 1.5)
hills = np.linspace(0, 1, nx) ** 2
rain = 4 * np.clip(weather + 0.6 * hills, 0, None) ** 1.5
coords = {
    "time": pd.date_range("2001-01-01", periods=days),
    "lat": 38 + 0.1 * np.arange(ny),
    "lon": -6 + 0.1 * np.arange(nx),
}
attrs = {"units": "mm day-1", "long_name": "precipitation"}
fine = xr.DataArray(rain.astype("float32"), coords, name="pr", attrs=attrs)
coarse = fine.coarsen(lat=8, lon=8).mean(keep_attrs=True)
elevation = xr.DataArray(
    np.broadcast_to(1500 * hills, (ny, nx)),
    {k: fine[k] for k in ("lat", "lon")},
    name="elevation",
    attrs={"units": "m"},
)
known, later = fine[:250], fine[260:]
print(f"dry pixels: {float((fine == 0).mean()):.0%}")

# %%
model = coarse.downscale.fit(known, static=elevation, preset="dressed", progress=False)
print(model)
maps = coarse.downscale.predict(model, time=later.time, realizations=8, seed=0)
print(f"smallest value: {float(maps.min())}, dry pixels: {float((maps == 0).mean()):.0%}")

# %%
axes = maps.geostat.plot_maps(truth=later, coarse=coarse, time=later.time[5])
# %% [markdown]
# ## Scores for rain
#
# The table has the CRPS in mm, beside baselines. The mean of many members has no zeros and no
# extremes. So the last cell counts heavy rain in one member, and in the interpolated field.

# %%
table = xd.skill.table(
    {"dressed": maps}, later, scores=["crps", "rmse"], coarse=coarse, train=known
)
table.round(3)

# %%
heavy = float(known.quantile(0.95))
for name, field in {
    "one member": maps[0],
    "bilinear": xd.regrid(coarse.sel(time=later.time), fine, "bilinear"),
}.items():
    share = float((field > heavy).mean() / (later > heavy).mean())
    print(f"{name}: pixels above {heavy:.0f} mm, over the truth's: {share:.2f}")
