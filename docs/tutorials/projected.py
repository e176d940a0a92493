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
# # A projected grid
#
# Regional models use projected grids: Lambert conformal, polar stereographic, rotated pole. You can
# give a fine record with a CF grid mapping as it is. The result has the same grid.

# %%
import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS
from scipy.ndimage import gaussian_filter

import xdownscale as xd

# %% [markdown]
# This makes a fine record on a Lambert grid of 10 km, and a coarse record in degrees, with the same
# weather. The fine record also has details of some 30 km, which differ from day to day.

# %%
lambert = CRS("+proj=lcc +lat_1=35 +lat_2=60 +lat_0=48 +lon_0=10 +R=6371229 +units=m")
x = 10e3 * (np.arange(56) - 27.5)
y = 10e3 * (np.arange(48) - 23.5)
days = pd.date_range("2000-01-01", periods=200)
rng = np.random.default_rng(0)


def weather(lat, lon):
    """Travelling waves at given positions."""
    out = 280.0 - 0.6 * (lat - 48)
    for k in range(8):
        phase, speed, size = rng_k[k]
        wave = np.sin(size * (np.cos(k) * lon + np.sin(k) * lat) + phase + speed * t)
        out = out + 3 * wave / (1 + k / 4)
    return out


rng_k = [(rng.uniform(0, 6), rng.uniform(0.3, 1.5), rng.uniform(0.3, 3)) for _ in range(8)]
t = xr.DataArray(np.arange(days.size), dims="time", coords={"time": days})
fine = xr.Dataset(
    coords={
        "time": days,
        "y": ("y", y, {"units": "m", "standard_name": "projection_y_coordinate"}),
        "x": ("x", x, {"units": "m", "standard_name": "projection_x_coordinate"}),
        "crs": ((), 0, lambert.to_cf()),
    }
)
places = xd.grids.with_positions(
    fine.assign(t=(("y", "x"), np.zeros((48, 56)), {"grid_mapping": "crs"}))
)
values = weather(places.lat, places.lon).transpose("time", "y", "x").values
details = 6 * gaussian_filter(rng.normal(size=values.shape), (0, 1.5, 1.5))
values = (values + details).astype("float32")
fine["t"] = (("time", "y", "x"), values, {"units": "K", "grid_mapping": "crs"})
lat, lon = (
    xr.DataArray(np.arange(44.5, 52, 0.75), dims="lat"),
    xr.DataArray(np.arange(5, 15.1, 0.75), dims="lon"),
)
coarse = (
    weather(lat, lon)
    .transpose("time", "lat", "lon")
    .assign_coords(lat=lat, lon=lon)
    .rename("t")
    .assign_attrs(units="K")
)
fine

# %%
model = coarse.downscale.fit(fine.isel(time=slice(0, 180)), preset="dressed", progress=False)
maps = coarse.downscale.predict(model, time=days[185:], realizations=4, seed=0)
maps.to_dataset()

# %% [markdown]
# The result has the grid mapping of the fine record, with bounds of `x` and `y`, so that GIS
# programs show it at the right place. Regridding works between grids of any kind, too:

# %%
inside = coarse.sel(lat=slice(46.5, 49.5), lon=slice(8, 12))
degrees = xd.regrid(maps.isel(realization=0), inside, "conservative")
degrees.sizes

# %%
axes = maps.geostat.plot_maps(truth=fine.t, time=days[186])
