"""Long records: how often their blocks are read, and how much of them is held."""

from __future__ import annotations

import tracemalloc

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

from xdownscale import geostat

PASSES = {
    "acf": (geostat.acf, 1),
    "acf of cells": (lambda da: geostat.acf(da, 5, reduce=None), 1),
    "lag_rmse": (lambda da: geostat.lag_rmse(da, 5), 1),
    "lag_r2": (lambda da: geostat.lag_r2(da, 5), 1),
    "distribution": (geostat.distribution, 4),
    "pooled": (lambda da: geostat.wasserstein(da, da + 1, "pooled", transform=None), 2),
}


class Store:
    """A lazy record of blocks made on the fly, and how often any of them was read."""

    def __init__(self, days, side=16, chunk=10):
        self.reads = 0
        shape, self.blocks = (days, side, side), days // chunk
        numbers = dask.array.arange(days, chunks=chunk).reshape(-1, 1, 1)
        data = numbers.map_blocks(
            self.read, side, dtype="f4", chunks=(numbers.chunks[0], (side,), (side,))
        )
        axis = np.arange(side) / 4
        coords = {"time": xr.date_range("2000-01-01", periods=days), "lat": 10 + axis, "lon": axis}
        self.da = xr.DataArray(data, coords, dims=("time", "lat", "lon"), name="dust")
        assert data.shape == shape

    def read(self, numbers, side):
        self.reads += 1
        rng = np.random.default_rng(int(numbers.ravel()[0]))
        return 10 + rng.random((len(numbers), side, side), dtype=np.float32)


@pytest.mark.parametrize("name", PASSES)
def test_a_mean_that_anomalies_share_is_not_made_again_for_every_block(name):
    call, passes = PASSES[name]
    store = Store(400)
    slabs = 2 * store.blocks / 4  # a slab of the lags may read a block of the one before it
    with dask.config.set(scheduler="single-threaded"):
        found = call(store.da - store.da.mean("time")).compute()
    assert store.reads <= (1 + passes) * store.blocks + slabs  # one for the mean
    whole = store.da.compute()
    xr.testing.assert_allclose(found, call(whole - whole.mean("time")), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("anomalies", [False, True])
@pytest.mark.parametrize("name", PASSES)
def test_memory_does_not_follow_the_days(name, anomalies):
    call, _ = PASSES[name]
    peaks, side = [], 120  # blocks large beside the tasks of the graph, some 50 kB for each
    for days in (40, 200, 600):
        da = Store(days, side=side).da
        da = da - da.mean("time") if anomalies else da
        tracemalloc.start()
        with dask.config.set(scheduler="single-threaded"):
            call(da).compute()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    read = 400 * side * side * 4
    assert peaks[2] - peaks[1] < read / 2


def test_the_chunks_of_a_store_are_reads_though_all_need_the_store(tmp_path):
    whole = Store(200).da
    whole.to_dataset().to_zarr(tmp_path / "dust.zarr", consolidated=False)
    da = xr.open_zarr(tmp_path / "dust.zarr", consolidated=False).dust
    made = []

    def anomaly(values):
        made.append(values)
        return values

    mean = da.mean("time")
    mean = mean.copy(data=mean.data.map_blocks(anomaly, dtype=mean.dtype, meta=mean.data._meta))
    with dask.config.set(scheduler="single-threaded"):
        geostat.distribution(da - mean).compute()
    assert len(made) == 1
