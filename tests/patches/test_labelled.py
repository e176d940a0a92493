"""stitch(extract(field)) is the field, whatever it is called and however it lies."""

from __future__ import annotations

import itertools

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xdownscale as xd
from xdownscale.core.errors import DataError, GridError
from xdownscale.patches import PatchLayout, extract, stitch

NY, NX = 9, 11
LAYOUT = PatchLayout(shape=(NY, NX), size=5, stride=2, halo=1)


def make_field(order=("time", "lat", "lon"), dtype="float32", descending=False, extra=True):
    lat = np.linspace(10, 14, NY)[:: -1 if descending else 1]
    coords = {
        "time": pd.date_range("2000-01-01", periods=3),
        "lat": ("lat", lat.astype("f4"), {"units": "degrees_north"}),
        "lon": ("lon", np.linspace(-5, 5, NX), {"units": "degrees_east"}),
    }
    if extra:
        coords |= {
            "land": (("lon", "lat"), np.arange(NX * NY).reshape(NX, NY) % 3 == 0, {"a": 1}),
            "zone": ("lat", [f"zone {k}" for k in range(NY)]),
            "month": ("time", [1, 1, 1]),
            "height": 2.0,
            "angle": (("lat", "time", "lon"), np.random.default_rng(1).random((NY, 3, NX))),
        }
    values = np.random.default_rng(0).normal(size=(3, NY, NX)).astype(dtype)
    da = xr.DataArray(values, dims=("time", "lat", "lon"), coords=coords, name="dust")
    return da.assign_attrs(units="1", long_name="dust").transpose(*order)


def assert_same(result, field, tolerance=1e-6):
    np.testing.assert_allclose(result.values, field.values, rtol=tolerance, atol=tolerance)
    assert result.dims == field.dims
    assert result.dtype == field.dtype
    xr.testing.assert_identical(result.copy(data=field.values), field)


@pytest.mark.parametrize("order", list(itertools.permutations(("time", "lat", "lon"))))
@pytest.mark.parametrize("descending", [True, False])
def test_round_trip(order, descending):
    field = make_field(order, descending=descending)
    before = field.copy(deep=True)
    patches = extract(field, LAYOUT)
    assert patches.dims == ("time", "patch", "patch_y", "patch_x")
    assert_same(stitch(patches, LAYOUT), field)
    xr.testing.assert_identical(field, before)


@given(st.data(), st.sampled_from(["float32", "float64"]), st.booleans())
def test_round_trip_for_any_layout(data, dtype, descending):
    size = data.draw(st.integers(1, NY))
    halo = data.draw(st.integers(0, (size - 1) // 2))
    stride = data.draw(st.integers(1, size - 2 * halo))
    layout = PatchLayout(shape=(NY, NX), size=size, stride=stride, halo=halo)
    field = make_field(dtype=dtype, descending=descending)
    assert_same(stitch(extract(field, layout), layout), field)


def test_a_patch_is_the_part_of_the_field_where_its_coordinates_say():
    field = make_field(("lon", "time", "lat"), descending=True)
    patches = extract(field, LAYOUT)
    for k in (0, 7, LAYOUT.n_patches - 1):
        patch = patches.isel(patch=k)
        expected = field.sel(lat=patch.lat.values, lon=patch.lon.values)
        np.testing.assert_array_equal(patch.values, expected.transpose("time", "lat", "lon"))
        np.testing.assert_array_equal(patch.land, expected.land.transpose("lat", "lon").values)
    assert patches.lat.dims == ("patch", "patch_y")
    assert patches.lon.dims == ("patch", "patch_x")
    assert patches.lat.attrs == {"units": "degrees_north"}


def test_curvilinear_grid_without_dimension_coordinates():
    y, x = np.indices((NY, NX))
    field = xr.DataArray(
        np.random.default_rng(0).normal(size=(NX, NY)),
        dims=("xi", "eta"),
        coords={"lat": (("eta", "xi"), y + 0.1 * x), "lon": (("eta", "xi"), x - 0.1 * y)},
    )
    patches = extract(field, LAYOUT)
    assert patches.lat.dims == ("patch", "patch_y", "patch_x")
    assert_same(stitch(patches, LAYOUT), field)


def test_nan_stays_where_it_was():
    field = make_field().where(lambda da: da.land)
    stitched = stitch(extract(field, LAYOUT), LAYOUT)
    np.testing.assert_array_equal(np.isnan(stitched), np.isnan(field))
    assert_same(stitched, field)


def forbid_computing(graph, keys, **kwargs):
    raise AssertionError("something was computed")


def test_lazy_in_lazy_out():
    field = make_field(("lat", "time", "lon"), descending=True)
    lazy = field.chunk({"time": 1, "lat": 4, "lon": 3})
    lazy["angle"] = lazy["angle"].chunk({"lat": 2})
    with dask.config.set(scheduler=forbid_computing):
        patches = extract(lazy, LAYOUT)
        stitched = stitch(patches.copy(data=patches.data.rechunk({1: 7})), LAYOUT)
    assert patches.chunks is not None
    assert stitched.chunks is not None
    assert stitched.dtype == field.dtype
    xr.testing.assert_identical(patches.compute(), extract(field, LAYOUT))
    assert_same(stitched.compute(), field)


def test_a_lazy_field_without_a_name_stays_without():
    field = make_field().rename(None).chunk({"time": 1})
    patches = extract(field, LAYOUT)
    assert patches.name is None
    assert stitch(patches, LAYOUT).name is None


def test_patches_in_any_order_and_dims_in_any_order(rng):
    field = make_field(descending=True)
    patches = extract(field, LAYOUT).isel(patch=rng.permutation(LAYOUT.n_patches))
    shuffled = patches.transpose("patch_x", "patch", "time", "patch_y")
    assert_same(stitch(shuffled, LAYOUT), field)


def test_what_was_computed_from_patches_can_be_stitched():
    field = make_field()
    patches = extract(field, LAYOUT)
    drawn = xr.concat([patches, 2 * patches], "realization").isel(time=0)
    stitched = stitch(drawn, LAYOUT)
    assert stitched.dims == ("realization", "lat", "lon")
    np.testing.assert_allclose(stitched[1], 2 * field[0], rtol=1e-6)
    assert stitched.indexes["lat"].equals(field.indexes["lat"])


def test_survives_a_file(tmp_path):
    field = make_field(descending=True, extra=False)
    extract(field, LAYOUT).to_netcdf(tmp_path / "patches.nc")
    with xr.open_dataarray(tmp_path / "patches.nc") as patches:
        stitched = stitch(patches, LAYOUT).load()
    np.testing.assert_allclose(stitched, field, rtol=1e-6)
    assert stitched.dims == field.dims


def test_public_names():
    assert xd.patches.extract is extract
    assert xd.patches.PatchLayout(shape=(NY, NX), size=5, stride=2, halo=1) == LAYOUT


def test_field_of_another_shape():
    with pytest.raises(GridError, match=r"\(8, 11\) rows and columns, the layout is for \(9, 11\)"):
        extract(make_field().isel(lat=slice(8)), LAYOUT)


def test_field_with_a_dimension_called_patch():
    with pytest.raises(GridError, match=r"has 'patch' already.*rename it first"):
        extract(make_field().rename(time="patch"), LAYOUT)


def test_field_without_a_grid():
    with pytest.raises(GridError, match="No latitude found"):
        extract(xr.DataArray(np.zeros((NY, NX))), LAYOUT)


def test_something_that_is_no_patches():
    with pytest.raises(GridError, match=r"Patches need the dimensions .*found \('time', 'lat'"):
        stitch(make_field(), LAYOUT)


def test_patches_that_lost_their_labels():
    patches = extract(make_field(), LAYOUT).drop_vars("patch")
    with pytest.raises(GridError, match=r"does not say which field.*assign_coords"):
        stitch(patches, LAYOUT)


def test_some_patches_only():
    with pytest.raises(GridError, match="3 patches were given; this layout has 12"):
        stitch(extract(make_field(), LAYOUT).isel(patch=[0, 1, 2]), LAYOUT)


def test_values_that_cannot_be_averaged():
    with pytest.raises(DataError, match="type complex64 cannot be averaged"):
        stitch(extract(make_field(), LAYOUT).astype("complex64"), LAYOUT)
