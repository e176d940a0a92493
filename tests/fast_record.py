"""Small records and small networks for preset `fast`; run by path from the tests that need them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

import xdownscale as xd

NETWORK = {"channels": (8, 8), "encoder_channels": (8, 8)}
TRAINING = {"epochs": 2, "pretrain_epochs": 1, "mean_epochs": 1}


def config(**sections):
    """Return preset `fast` with networks that learn in a second."""
    network = NETWORK | sections.pop("network", {})
    data = {"extrapolate": "nearest", "crop": 16} | sections.pop("data", {})
    method = {"method": sections.pop("method")} if "method" in sections else {}
    return xd.preset("fast", network=network, training=TRAINING, data=data, **method, **sections)


def records(days=80, seed=0, names=("t",), freq="D"):
    """Return coarse records of `days` and more, and fine ones that lie on them."""
    rng = np.random.default_rng(seed)
    time = pd.date_range("2000-01-01", periods=days + 30, freq=freq)
    lat, lon = np.arange(0.25, 12, 0.5), np.arange(0.25, 10, 0.5)
    fine = {}
    for name in names:
        coarse = rng.normal(size=(time.size, 6, 5))
        for day in range(1, time.size):
            coarse[day] = 0.6 * coarse[day - 1] + 0.8 * coarse[day]
        values = coarse.repeat(4, 1).repeat(4, 2) + 0.3 * rng.normal(size=(time.size, 24, 20))
        fine[name] = xr.DataArray(
            values, {"time": time, "lat": lat, "lon": lon}, name=name, attrs={"units": "K"}
        )
    both = xr.Dataset(fine)
    coarse = both.coarsen(lat=4, lon=4).mean().assign_attrs()
    for name in names:
        coarse[name].attrs = both[name].attrs
    return coarse, both.isel(time=slice(20, 20 + days))
