"""`xr.map_over_datasets` takes the public functions from node to node of a DataTree."""

from __future__ import annotations

import warnings

import pytest
import xarray as xr

import xdownscale as xd
from records import fast_config, make_pair


@pytest.fixture(scope="module")
def pair():
    return make_pair()


@pytest.fixture(scope="module")
def model(pair):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        preset = fast_config(sampling={"steps": 2})
        return xd.Downscaler(preset=preset, pairing="paired", progress=False).fit(*pair)


@pytest.fixture(scope="module")
def runs(pair):
    coarse = pair[0]
    return {"/run": coarse.isel(time=slice(4)), "/other/later": coarse.isel(time=slice(2, 8))}


def test_regrids_each_node(runs, pair):
    fine = pair[1]
    tree = xr.DataTree.from_dict(runs)
    found = xr.map_over_datasets(lambda ds: xd.regrid(ds, fine) if ds else ds, tree)
    for path, ds in runs.items():
        xr.testing.assert_identical(found[path].to_dataset(), xd.regrid(ds, fine))


def test_judges_each_node_by_its_accessor(runs):
    tree = xr.DataTree.from_dict(runs)
    found = xr.map_over_datasets(lambda ds: ds.geostat.distribution(), tree)
    for path, ds in runs.items():
        xr.testing.assert_identical(found[path].to_dataset(), xd.geostat.distribution(ds))


def test_predicts_from_each_node(runs, model):
    def maps(ds):
        fields = ds.downscale.predict(model, seed=3)
        return fields.to_dataset() if isinstance(fields, xr.DataArray) else fields

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        found = xr.map_over_datasets(lambda ds: maps(ds) if ds else ds, xr.DataTree.from_dict(runs))
        for path, ds in runs.items():
            xr.testing.assert_equal(found[path].to_dataset(), maps(ds))
