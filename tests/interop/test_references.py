"""Records that are references to chunks of other files: kerchunk's and VirtualiZarr's."""

from __future__ import annotations

import json
import warnings

import dask
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from kerchunk.combine import MultiZarrToZarr
from kerchunk.hdf import SingleHdf5ToZarr
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import LocalStore
from virtualizarr import open_virtual_dataset
from virtualizarr.parsers import HDFParser

import xdownscale as xd
from records import make_pair

# zarr warns of every codec of an old file
pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
WAYS = ["kerchunk", "reference filesystem", "virtualizarr", "manifest store"]
DAYS = 60


def _no_compute(*args, **kwargs):
    raise AssertionError("something was computed")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write a coarse and a fine record, packed and with a gap, in two netCDF files each."""
    folder = tmp_path_factory.mktemp("files")
    paths = {}
    for name, ds in zip(("coarse", "fine"), make_pair(days=DAYS), strict=True):
        ds = ds.copy(deep=True)
        ds.t[3, 1, 2] = np.nan
        ds["lat"].attrs = {"units": "degrees_north"}
        ds["lon"].attrs = {"units": "degrees_east"}
        sizes = tuple(ds.sizes[dim] for dim in ("time", "lat", "lon"))
        packed = {"dtype": "int16", "scale_factor": 0.001, "_FillValue": -32768, "zlib": True}
        encoding = {"t": packed | {"chunksizes": (5, *sizes[1:])}}
        parts = [slice(40), slice(40, None)]
        paths[name] = [folder / f"{name}_{number}.nc" for number in range(len(parts))]
        for path, part in zip(paths[name], parts, strict=True):
            ds.isel(time=part).to_netcdf(path, engine="netcdf4", encoding=encoding)
    return paths


@pytest.fixture(scope="module")
def own_numbers(files):
    """Read the numbers with netCDF4 alone, and h5py the first of them."""
    found = {}
    for name, paths in files.items():
        parts = []
        for path in paths:
            with netCDF4.Dataset(path) as file:
                parts.append(np.ma.filled(file["t"][:].astype(float), np.nan))
        found[name] = np.concatenate(parts)
        with h5py.File(paths[0]) as file:
            np.testing.assert_allclose(file["t"][0] * 0.001, found[name][0], atol=1e-9)
    return found


@pytest.fixture(scope="module")
def in_memory(files):
    found = {}
    for name, paths in files.items():
        with xr.open_mfdataset(paths, engine="netcdf4", chunks={}) as ds:
            found[name] = ds.load()
    return found


def _references(paths, **options):
    translated = [SingleHdf5ToZarr(str(path)).translate() for path in paths]
    known = {"concat_dims": ["time"], "identical_dims": ["lat", "lon"]}
    return MultiZarrToZarr(translated, **known, **options).translate()


def _open(way, paths, folder):
    """Open both files of a record as one, by their references."""
    where = folder / f"{paths[0].stem}.json"
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    if way == "kerchunk":
        references = _references(paths, coo_map={"time": "cf:time"})
        where.write_text(json.dumps(references), "utf-8")
        return xr.open_dataset(str(where), engine="kerchunk", chunks={})
    if way == "reference filesystem":
        fo = _references(paths, coo_map={"time": "cf:time"})
        options = {"consolidated": False, "storage_options": {"fo": fo}}
        return xr.open_dataset("reference://", engine="zarr", backend_kwargs=options, chunks={})
    if way == "virtualizarr":
        loaded = {"parser": HDFParser(), "registry": registry}
        loaded["loadable_variables"] = ["time", "lat", "lon"]
        parts = [open_virtual_dataset(f"file://{path}", **loaded) for path in paths]
        whole = xr.concat(parts, "time", data_vars="minimal", coords="minimal", join="override")
        whole.vz.to_kerchunk(str(where), format="json")
        return xr.open_dataset(str(where), engine="kerchunk", chunks={})
    stores = [HDFParser()(url=f"file://{path}", registry=registry) for path in paths]
    options = {"consolidated": False, "zarr_format": 3, "chunks": {}}
    parts = [xr.open_zarr(store, **options) for store in stores]
    return xr.concat(parts, "time", data_vars="minimal", coords="minimal", join="override")


@pytest.fixture(scope="module", params=WAYS)
def records(request, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Numcodecs codecs")
        return {name: _open(request.param, paths, folder) for name, paths in files.items()}


def test_the_record_is_lazy_and_whole(records, own_numbers, in_memory):
    for name, ds in records.items():
        assert ds.t.chunks[0][0] == 5
        assert ds.sizes["time"] == len(own_numbers[name])
        np.testing.assert_array_equal(ds.time, in_memory[name].time)
        np.testing.assert_allclose(ds.t, own_numbers[name], atol=1e-9)
        assert np.isnan(ds.t[3, 1, 2])


def test_regrid_and_diagnostics_of_the_record(records, in_memory):
    with dask.config.set(scheduler=_no_compute):
        fields = xd.regrid(records["coarse"], records["fine"])
        lags = records["fine"].geostat.acf(max_lag=3)
    assert fields.t.chunks is not None
    expected = xd.regrid(in_memory["coarse"], in_memory["fine"])
    np.testing.assert_allclose(fields.t, expected.t, atol=1e-9)
    xr.testing.assert_allclose(lags.compute(), in_memory["fine"].geostat.acf(max_lag=3))
    options = {"bins": 6, "pairs": 500, "bootstrap": 0}
    xr.testing.assert_allclose(
        records["fine"].t[:6].geostat.semivariogram(**options),
        in_memory["fine"].t[:6].geostat.semivariogram(**options),
    )
    errors = xd.skill.rmse(fields.t, records["fine"].t).compute()
    xr.testing.assert_allclose(errors, xd.skill.rmse(expected.t, in_memory["fine"].t))


def test_fit_and_predict(records, in_memory):
    found = _predicted(records["coarse"], records["fine"])
    assert found.chunks is not None
    expected = _predicted(in_memory["coarse"], in_memory["fine"])
    np.testing.assert_array_equal(found.time, expected.time)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(found).any()
    assert found.attrs["units"] == "K"


def _predicted(coarse, fine):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        model = xd.fit(coarse, fine, preset="dressed", progress=False)
        return xd.predict(coarse, model, realizations=2, seed=1)


def test_days_are_lost_without_the_map_of_times(files, own_numbers):
    """Why the page names coo_map: the raw numbers of the files count from other first days."""
    references = _references(files["coarse"])
    options = {"consolidated": False, "storage_options": {"fo": references}}
    ds = xr.open_dataset("reference://", engine="zarr", backend_kwargs=options, chunks={})
    assert ds.sizes["time"] < len(own_numbers["coarse"])


def test_references_that_were_not_written_are_refused_with_the_way(files):
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    url = f"file://{files['coarse'][0]}"
    virtual = open_virtual_dataset(url, parser=HDFParser(), registry=registry)
    with pytest.raises(xd.errors.DataError, match=r"ManifestArray.*vz\.to_kerchunk"):
        xd.regrid(virtual, xr.Dataset(coords={"lat": [1.0, 2.0], "lon": [1.0, 2.0]}))
    with pytest.raises(xd.errors.DataError, match=r"ManifestArray.*vz\.to_kerchunk"):
        virtual.t.geostat.acf(max_lag=2)
