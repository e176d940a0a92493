"""What a file can hold of a record's labels: names, attributes, coordinates."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.coords import from_array, to_array
from xdownscale.core.errors import DataError
from xdownscale.core.files import as_path
from xdownscale.core.storable import can_name, check_names, name_in_store, plain, storable

FIELD = xr.DataArray(
    np.arange(6.0).reshape(1, 2, 3),
    {"time": pd.date_range("2000-01-01", periods=1), "lat": [1.0, 2.0], "lon": [5.0, 6.0, 7.0]},
    name="t",
)
ODD = [None, True, b"abc", pd.Timestamp("2000-01-01"), np.datetime64("2000-01-01", "ns"),
       datetime.timedelta(1), 1 + 2j, {"x": 1}, [], [1, "a"], np.array([[1, 2], [3, 4]]), np.nan,
       10**30, object(), slice(1), "a\ud800\0b", np.array(["2000"], "M8[ns]")]  # fmt: skip


def written(da, folder: Path, kind: str) -> xr.DataArray:
    if kind == "netcdf":
        da.to_netcdf(folder / "a.nc")
        return xr.open_dataarray(folder / "a.nc")
    da.to_zarr(folder / "a.zarr", zarr_format=int(kind[-1]), consolidated=False)
    return xr.open_zarr(folder / "a.zarr", consolidated=False)["t"]


@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "netcdf"])
@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_any_attribute_can_be_written(value, kind, tmp_path):
    da = FIELD.assign_attrs(units="K", odd=value)
    da = da.assign_coords(lat=da.lat.assign_attrs(odd=value))
    array, labels = to_array(da)
    back = written(from_array(array, storable(labels)), tmp_path, kind)
    np.testing.assert_array_equal(back.values, FIELD.values)
    assert back.attrs["units"] == "K"
    assert "odd" in back.attrs


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"gr\xc3\xbcn", "grün"),
        (np.datetime64("2000-01-02", "ns"), "2000-01-02T00:00:00.000000000"),
        (pd.Timestamp("2000-01-02"), "2000-01-02 00:00:00"),
        (np.array([0.0, 5.0]), [0.0, 5.0]),
        (np.bool_(True), 1),
        (float("inf"), "inf"),
    ],
)
def test_attributes_keep_their_meaning(value, expected):
    assert plain({"a": value}) == {"a": expected}


@given(st.dictionaries(st.text(max_size=8), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3), max_leaves=4)))  # fmt: skip
def test_attributes_are_strict_json(attrs):
    json.dumps(plain(attrs), allow_nan=False).encode()
    assert plain(plain(attrs)) == plain(attrs)


def test_encodings_and_packing_are_of_the_old_file():
    da = FIELD.assign_attrs(scale_factor=0.1, _FillValue=np.nan, units="K")
    da = da.assign_coords(time=da.time.assign_attrs(units="days since 1990", calendar="noleap"))
    da["lat"].encoding["compressor"] = "of Zarr 2"
    labels = storable(to_array(da).labels)
    assert labels.attrs == {"units": "K"}
    assert labels.coords["time"].attrs == {}
    assert all(not v.encoding for v in labels.coords.variables.values())
    assert da["lat"].encoding  # the record stays as it was
    assert da["time"].attrs["calendar"] == "noleap"


def test_coordinates_that_no_file_holds_are_left_out():
    da = FIELD.assign_coords(
        crs=xr.DataArray(np.array(object(), object)),
        mixed=("lat", np.array(["a", 1], object)),
        words=("lat", np.array(["a", "b"], object)),
        raw=("lat", np.array([b"a", b"b"])),
        wave=1j,
        month=1,
    )
    da = da.assign_coords({"a/b": 1, 5: 2, "step": np.timedelta64(1, "h")})
    coords = storable(to_array(da).labels).coords
    assert set(coords.coords) == {"time", "lat", "lon", "words", "raw", "month", "step"}
    assert coords["raw"].values.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["a/b", "", ".", "..", ".zgroup", "__t", "a\0b", "a\nb", "a ", 5, ("a", 1), "x" * 300]
)
def test_names_that_no_file_holds(name):
    assert not can_name(name)
    with pytest.raises(DataError, match=r"which no file can hold: names are texts.*\.rename"):
        check_names(name, ["lat"], ["lat"], "The fine record")
    with pytest.raises(DataError, match=r"A dimension of the fine record has the name"):
        check_names("t", [name], [], "The fine record")


@pytest.mark.parametrize("name", ["realization", "lat", "lat_bnds", "time_bnds", "xdownscale"])
def test_names_that_predictions_use(name):
    with pytest.raises(DataError, match="which predictions need for something else"):
        check_names(name, ["time", "lat"], ["time", "lat"], "The fine record")


@pytest.mark.parametrize("name", ["t2m", "2m_temperature", "température", "log(x)", "a b", None])
def test_names_that_files_hold(name):
    check_names(name, ["time", "lat"], ["time", "lat"], "The fine record")


def test_a_nameless_field_is_written_under_its_drivers_name():
    assert name_in_store(None, "t") == "t"
    assert name_in_store(None, "a/b") == "downscaled"
    assert name_in_store("u", "t") == "u"


@pytest.mark.parametrize("path", ["a\0b", "a\ud800", "x" * 300, Path("folder") / ("y" * 256)])
def test_paths_that_no_file_system_has(path):
    from xdownscale.core.errors import OptionError

    with pytest.raises(OptionError, match=r"cannot be the name of a file.*another path"):
        as_path(path, "path")
