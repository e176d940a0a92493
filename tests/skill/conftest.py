"""Small random records for the tests of scores."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr


def make(periods=5, start="2000-01-01", seed=0, members=None, shape=(4, 6)):
    rng = np.random.default_rng(seed)
    coords = {
        "time": xr.date_range(start, periods=periods),
        "lat": np.linspace(20, 10, shape[0]),
        "lon": np.linspace(0, 5, shape[1]),
    }
    if members:
        coords = {"realization": np.arange(members), **coords}
    values = rng.lognormal(size=tuple(len(c) for c in coords.values()))
    return xr.DataArray(values, coords=coords, name="dust", attrs={"units": "kg m-2"})


@pytest.fixture(scope="session")
def fields():
    """Function that makes a lognormal record ([realization,] time, lat, lon)."""
    return make


class Computes:
    """A scheduler that counts how often it is called."""

    def __init__(self):
        self.calls = 0

    def __call__(self, graph, keys, **kwargs):
        self.calls += 1
        return dask.get(graph, keys, **kwargs)


@pytest.fixture
def computes():
    counter = Computes()
    with dask.config.set(scheduler=counter):
        yield counter
