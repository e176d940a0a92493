"""What the CF conventions ask of predictions in memory."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import make_pair

DANGLING = {
    "ancillary_variables": "t_count",
    "cell_measures": "area: cell_area",
    "coordinates": "station",
    "cell_methods": "time: mean",
}


def awkward(ds):
    """Return a dataset as a lazily opened file gives it: references, dask coordinates, crs."""
    lat, lon = ds.lat.values, ds.lon.values
    area = xr.DataArray(np.ones((lat.size, lon.size)), dims=("lat", "lon"), attrs={"units": "m2"})
    out = ds.assign_coords(
        region=(("lat", "lon"), area.values),
        crs=xr.DataArray(0, attrs={"grid_mapping_name": "latitude_longitude", "long_name": "crs"}),
    )
    out["region"] = out.region.assign_attrs(units="1", long_name="region").chunk()
    out.lat.attrs["bounds"] = "lat_bnds"
    out.lon.attrs["bounds"] = "lon_bnds"
    for da in out.data_vars.values():
        da.attrs |= DANGLING
    for variable in out.variables.values():
        variable.encoding |= {"source": "/training/fine.nc", "coordinates": "station"}
    return out


@pytest.fixture(scope="module")
def maps():
    coarse, fine = make_pair(60, names=("t", "u"))
    found = {}
    for names in ("t", ["t", "u"]):
        model = xd.fit(coarse[names], awkward(fine)[names], preset="dressed", progress=False)
        found[str(names)] = xd.predict(coarse[names], model, time=coarse.time[30:34])
    return found


@pytest.mark.parametrize("names", ["t", "['t', 'u']"])
def test_nothing_is_left_of_the_file_that_was_trained_on(maps, names):
    made = maps[names]
    variables = [made] if isinstance(made, xr.DataArray) else list(made.data_vars.values())
    for da in variables:
        assert da.attrs["grid_mapping"] == "crs"
        assert da.attrs["cell_methods"] == "time: mean"
        assert not set(DANGLING) - {"cell_methods"} & set(da.attrs)
        assert da.coords["region"].chunks is None
        for coordinate in da.coords.values():
            assert "source" not in coordinate.encoding
            assert "coordinates" not in coordinate.encoding
        assert da.lat.attrs["standard_name"] == "latitude"
        assert da.time.attrs["standard_name"] == "time"
        assert da.realization.attrs["standard_name"] == "realization"
        assert "xdownscale" in da.attrs["history"]


def test_an_array_has_what_an_array_can_hold(maps):
    da = maps["t"]
    assert da.attrs["Conventions"] == "CF-1.11"
    assert not any("bounds" in coordinate.attrs for coordinate in da.coords.values())


def test_a_dataset_is_as_a_store(maps):
    ds = maps["['t', 'u']"]
    assert ds.attrs["Conventions"] == "CF-1.11"
    assert ds.attrs["title"] == "t, u, downscaled"
    for name in ("lat", "lon", "time"):
        assert ds[name].attrs["bounds"] == f"{name}_bnds"
    np.testing.assert_allclose(ds.lat_bnds.mean("bnds"), ds.lat)
    assert all("Conventions" not in da.attrs for da in ds.data_vars.values())


def test_a_dataset_passes_the_checker(maps, tmp_path, capsys):
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    CheckSuite.load_all_available_checkers()
    ds = maps["['t', 'u']"].isel(realization=0)
    ds.to_netcdf(tmp_path / "maps.nc")
    passed, broken = ComplianceChecker.run_checker(
        str(tmp_path / "maps.nc"), ["cf:1.11"], 0, "strict"
    )
    assert passed, capsys.readouterr().out
    assert not broken


def test_a_store_of_one_variable_has_its_conventions_once(maps, tmp_path):
    coarse, fine = make_pair(60)
    model = xd.fit(coarse["t"], awkward(fine)["t"], preset="dressed", progress=False)
    days = coarse.time[30:34]
    ds = xd.predict_to_zarr(model, coarse.t, tmp_path / "s.zarr", time=days, progress=False)
    assert ds.attrs["Conventions"] == "CF-1.11"
    assert "Conventions" not in ds.t.attrs
    assert ds.lat.attrs["bounds"] == "lat_bnds"
    assert ds.t.attrs["grid_mapping"] == "crs" or ds.t.encoding["grid_mapping"] == "crs"
    assert not set(DANGLING) - {"cell_methods"} & set(ds.t.attrs)
    now = xd.predict(coarse.t, model, time=days)
    np.testing.assert_array_equal(ds.t, now)
