"""Records from files, globs and stores: the right variables, lazy, in whole maps."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from records import make_pair
from xdownscale.cli._records import find_files, open_field, open_record
from xdownscale.core.errors import DataError, OptionError, StorageError, XDownscaleWarning

WHOLE = make_pair(60)[0]


@pytest.mark.parametrize(
    "given",
    [
        "{}/coarse.nc",
        "{}/cut/*.nc",
        "{}/cut/*.zarr",
        "{}/**/coarse_?.nc",
        "{0}/cut/coarse_2.nc, {0}/cut/coarse_0.nc,{0}/cut/coarse_1.nc",
    ],
)
def test_files_globs_and_stores_are_one_record(folder, given):
    found = open_record(given.format(folder))
    assert isinstance(found, xr.DataArray)
    assert found.chunks is not None
    xr.testing.assert_equal(found.load(), WHOLE.t)
    assert found.attrs["units"] == "K"


def test_maps_stay_whole_however_a_file_is_cut(tmp_path):
    path = tmp_path / "cut.nc"
    encoding = {"t": {"chunksizes": (1, 2, 3)}}
    WHOLE.to_netcdf(path, encoding=encoding)
    assert open_record(str(path)).chunks[1:] == ((6,), (5,))
    assert open_record(str(path)).chunks[0] == (90,)
    assert open_record(str(path), chunks={"time": 40}).chunks[0] == (40, 40, 10)


@pytest.fixture
def mixed(tmp_path):
    """A file with bounds, a static field, a mapping and two records."""
    ds = make_pair(10, names=("t", "q"))[0]
    ds["elevation"] = ds.t.isel(time=0, drop=True)
    ds["crs"] = xr.DataArray(0, attrs={"grid_mapping_name": "latitude_longitude"})
    ds["t"].attrs["grid_mapping"] = "crs"
    ds["time_bnds"] = (("time", "nv"), np.zeros((ds.time.size, 2)))
    ds["station"] = ("place", np.arange(3.0))
    ds["age"] = ("time", np.arange(ds.time.size), {"units": "days"})
    ds.to_netcdf(tmp_path / "mixed.nc")
    return str(tmp_path / "mixed.nc")


def test_fields_are_found_among_other_variables(mixed):
    found = open_record(mixed)
    assert list(found.data_vars) == ["t", "q"]
    assert open_record(mixed, ["q"]).name == "q"
    assert list(open_record(mixed, ["q", "t", "q"]).data_vars) == ["q", "t"]
    static = open_record(mixed, static=True)
    assert static.name == "elevation"
    assert static.dims == ("lat", "lon")


def test_projections_and_time_spans_are_as_the_library_wants_them(mixed):
    assert "crs" in open_record(mixed, ["t"]).coords
    assert open_record(mixed, ["age"]).dtype.kind == "i"


def test_one_field_is_chosen(mixed):
    assert open_field(mixed, ["q"]).name == "q"
    with pytest.raises(OptionError, match=r"has the variables t, q; this command takes one.*--v"):
        open_field(mixed)


def test_what_is_missing_is_named(folder, mixed, tmp_path):
    with pytest.raises(StorageError, match=r"There is no file .*none.nc"):
        open_record(f"{folder}/none.nc")
    with pytest.raises(StorageError, match=r"no file that matches .*none"):
        open_record(f"{folder}/none*.nc")
    with pytest.raises(StorageError, match=r"There is no file none\.nc"):
        find_files(f"{folder}/coarse.nc,none.nc")
    with pytest.raises(OptionError, match=r"no variable 'tt'. There are: .*Did you mean 't'"):
        open_record(mixed, ["tt"])
    with pytest.raises(StorageError, match=r"is a folder and no Zarr store.*cut/"):
        open_record(f"{folder}/cut")
    with pytest.raises(OptionError, match="has files and Zarr stores"):
        open_record(f"{folder}/cut/*")
    with pytest.raises(OptionError, match=r"no dimension 'tme' to read.*Did you mean 'time'"):
        open_record(mixed, chunks={"tme": 3})
    with pytest.raises(OptionError, match=r"chunks .* do not fit"):
        open_record(mixed, chunks={"time": "much"})


def test_files_that_are_none(tmp_path):
    broken = tmp_path / "broken.nc"
    broken.write_text("no netCDF")
    with pytest.raises(StorageError, match=r"broken\.nc cannot be read"):
        open_record(str(broken))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(StorageError, match=r"empty\.zarr cannot be read"):
        open_record(str(tmp_path / "empty.zarr"))
    xr.Dataset({"station": ("place", [1.0])}).to_netcdf(tmp_path / "points.nc")
    with pytest.raises(DataError, match=r"No variable of .* has latitude, longitude, time"):
        open_record(str(tmp_path / "points.nc"))
    with pytest.raises(DataError, match="latitude and longitude, without time"):
        open_record(str(tmp_path / "points.nc"), static=True)


def test_files_that_do_not_belong_together(folder, tmp_path):
    other = WHOLE.isel(time=slice(0, 5)).assign_coords(lat=WHOLE.lat + 1)
    other.to_netcdf(tmp_path / "other.nc")
    with pytest.raises(DataError, match="2 files do not make one record"):
        open_record(f"{folder}/cut/coarse_1.nc,{tmp_path}/other.nc")


def test_an_unfinished_store_is_told(tmp_path):
    WHOLE.assign_attrs(progress="incomplete").to_zarr(tmp_path / "half.zarr", consolidated=False)
    with pytest.warns(XDownscaleWarning, match="is incomplete"):
        open_record(str(tmp_path / "half.zarr"))
