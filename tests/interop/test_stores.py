"""Lazy maps go to stores of any kind by xarray's own writer too."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
import zarr

import xdownscale as xd
from records import fast_config, make_pair


@pytest.fixture(scope="module")
def coarse_and_model():
    coarse, fine = make_pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        preset = fast_config(sampling={"steps": 2})
        model = xd.Downscaler(preset=preset, pairing="paired", progress=False).fit(coarse, fine)
    return coarse.isel(time=slice(8)), model


def _maps(coarse, model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        fields = coarse.downscale.predict(model, seed=3, **options)
        return fields.to_dataset() if isinstance(fields, xr.DataArray) else fields


def test_lazy_maps_go_to_a_sharded_store_of_another_kind(coarse_and_model):
    coarse, model = coarse_and_model
    maps = _maps(coarse, model, chunks=4)
    (name,) = maps.data_vars
    shard = tuple(sizes[0] for sizes in maps[name].chunks)
    inner = tuple(1 if dim == "time" else n for dim, n in zip(maps[name].dims, shard, strict=True))
    store = zarr.storage.MemoryStore()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        encoding = {name: {"shards": shard, "chunks": inner}}
        maps.to_zarr(store, zarr_format=3, consolidated=False, encoding=encoding)
    array = zarr.open_group(store, mode="r")[name]
    assert array.shards == shard
    assert array.chunks == inner
    with xr.open_zarr(store, consolidated=False) as found:
        np.testing.assert_array_equal(found[name], _maps(coarse, model)[name])
