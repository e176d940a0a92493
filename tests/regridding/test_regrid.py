"""`xd.regrid`: labels, laziness, conventions, real data."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.core.grids import same_grid
from xdownscale.regridding import Regridder, regrid, regrid_static

METHODS = ("bicubic", "bilinear", "nearest", "conservative")
LAT, LON = np.arange(35.0, 45.0, 1.5), np.arange(-9.0, 9.0, 2.0)
FINE_LAT, FINE_LON = np.arange(35.0, 43.0, 0.4), np.arange(-8.6, 6.0, 0.7)


def record(seed: int = 0, days: int = 4) -> xr.DataArray:
    values = np.random.default_rng(seed).normal(size=(days, LAT.size, LON.size))
    return xr.DataArray(
        values,
        dims=("time", "lat", "lon"),
        coords={
            "time": np.datetime64("2000-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D"),
            "lat": ("lat", LAT, {"units": "degrees_north"}),
            "lon": ("lon", LON),
            "height": 2.0,
            "day_name": ("time", list("abcdefghijkl"[:days])),
            "row": ("lat", np.arange(LAT.size)),
        },
        name="tas",
        attrs={"units": "degC"},
    )


def fine(names=("latitude", "longitude")) -> xr.DataArray:
    return xr.DataArray(
        np.zeros((FINE_LAT.size, FINE_LON.size)),
        dims=names,
        coords={
            names[0]: (names[0], FINE_LAT[::-1], {"units": "degrees_north", "long_name": "y"}),
            names[1]: (names[1], FINE_LON % 360, {"units": "degrees_east"}),
            "elevation": (names, np.ones((FINE_LAT.size, FINE_LON.size))),
        },
    )


def test_labels_of_the_result():
    da, target = record(), fine()
    before = da.copy(deep=True)
    found = regrid(da, target)
    assert found.dims == ("time", "latitude", "longitude")
    assert set(found.coords) == {"time", "latitude", "longitude", "height", "day_name"}
    for name in ("latitude", "longitude"):
        xr.testing.assert_identical(found[name].drop_vars("height"), target[name])
    xr.testing.assert_identical(found.time, da.time)
    assert found.name == "tas"
    assert found.attrs == {"units": "degC"}
    xr.testing.assert_identical(da, before)


def test_the_kernel_is_what_is_applied():
    da, target = record(), fine()
    kernel = Regridder.between((LAT, LON), (FINE_LAT, FINE_LON))
    np.testing.assert_allclose(regrid(da, target).values, kernel.apply(da.values)[:, ::-1])


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_nothing_depends_on_how_the_input_is_laid_out(method, data):
    da, target = record(data.draw(st.integers(0, 99))).astype("f4"), fine()
    gaps = data.draw(st.floats(0, 0.4))
    da = da.where(np.random.default_rng(1).random(da.shape) >= gaps)
    expected = regrid(da, target, method)
    order = data.draw(st.permutations(da.dims))
    other = da.transpose(*order)
    if data.draw(st.booleans()):
        other = other.isel(lat=slice(None, None, -1))
    if data.draw(st.booleans()):
        other = other.assign_coords(lon=other.lon % 360)
        other = other.sortby("lon") if data.draw(st.booleans()) else other
    if data.draw(st.booleans()):
        other = other.rename(lat="nav_lat", lon="nav_lon")
    if data.draw(st.booleans()):
        sizes = {d: data.draw(st.integers(1, n)) for d, n in other.sizes.items()}
        other = other.chunk(sizes)
    found = regrid(other, target, method)
    place = {"lat": "latitude", "lon": "longitude"}
    assert found.dims == tuple(place.get(d, d) for d in order)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found.transpose(*expected.dims).values, expected.values, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 3, "lat": 2, "lon": 4}, {"time": -1}])
def test_chunks_change_no_bit(chunks):
    da = record(days=7).astype("f4")
    da = da.where(np.random.default_rng(3).random(da.shape) > 0.02)
    lazy = regrid(da.chunk(chunks), fine())
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.values, regrid(da, fine()).values)


def test_nothing_is_computed():
    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        for method in METHODS:
            lazy = regrid(record().chunk(time=2), fine(), method)
            assert lazy.chunksizes["time"] == (2, 2)
            regrid(xr.Dataset({"tas": record().chunk(time=1)}), fine(), method)


def test_datasets_keep_what_has_no_grid():
    ds = xr.Dataset(
        {"tas": record(), "n": 3, "flag": ("time", np.arange(4)), "edge": ("lat", LAT)},
        attrs={"source": "a"},
    )
    found = regrid(ds, fine())
    assert set(found.data_vars) == {"tas", "n", "flag"}
    assert found.attrs == {"source": "a"}
    xr.testing.assert_identical(found.tas, regrid(ds.tas, fine()))
    with pytest.raises(GridError, match=r"No variable of the Dataset has latitude.*it has \['n'\]"):
        regrid(xr.Dataset({"n": 3}), fine())


def test_a_dataset_may_be_the_target():
    da = record()
    bare = xr.Dataset(coords={"lat": FINE_LAT, "lon": FINE_LON})
    found = regrid(da, bare, "bilinear")
    assert found.sizes == {"time": 4, "lat": FINE_LAT.size, "lon": FINE_LON.size}
    assert same_grid(found, fine())


def test_degrees_beside_the_dimensions():
    da = record().drop_vars("row").swap_dims(lat="j").rename(lon="x")
    da = da.assign_coords(lon=("x", LON)).drop_vars("x")
    target = xr.Dataset(coords={"lat": ("y", FINE_LAT), "lon": ("x", FINE_LON)})
    found = regrid(da, target)
    assert found.dims == ("time", "y", "x")
    assert found.lat.dims == ("y",)
    np.testing.assert_allclose(found.values, regrid(record(), target).values)


def test_a_name_that_is_taken():
    da = record().rename(time="latitude")
    with pytest.raises(GridError, match="target's dimension 'latitude' has the name of another"):
        regrid(da.drop_vars("latitude"), fine())


def test_refusals():
    with pytest.raises(
        OptionError, match=r"Unknown regrid method: 'cubic'.*Did you mean 'bicubic'"
    ):
        regrid(record(), fine(), "cubic")
    with pytest.raises(OptionError, match=r"Unknown engine: 'esmf'.*Did you mean 'xesmf'"):
        regrid(record(), fine(), engine="esmf")
    with pytest.raises(OptionError, match="Unknown extrapolate"):
        regrid(record(), fine(), extrapolate="linear")
    with pytest.raises(GridError, match="outside the source grid and its half-cell margin"):
        regrid(record().isel(lat=slice(0, 4)), fine())
    with pytest.raises(DataError, match="values of type <U1; give real numbers"):
        regrid(record().astype("U1"), fine())
    with pytest.raises(GridError, match="No longitude found in tas"):
        regrid(record().isel(lon=0, drop=True), fine())


def test_static_fields_are_area_means_where_they_are_finer():
    coarse, detailed = record().isel(time=0), fine()
    detailed = detailed.copy(data=np.random.default_rng(0).normal(size=detailed.shape))
    target = coarse.isel(lat=slice(1, 5), lon=slice(1, 6))
    mean = regrid(detailed, target, "conservative")
    xr.testing.assert_identical(regrid_static(detailed, target), mean)
    xr.testing.assert_identical(
        regrid_static(coarse, detailed), regrid(coarse, detailed, "bilinear")
    )
    far = regrid_static(detailed, coarse, extrapolate="nearest")
    assert far.notnull().all()
    with pytest.raises(GridError, match="half-cell margin"):
        regrid_static(detailed, coarse)


@pytest.fixture(scope="module")
def heights(real_data) -> xr.DataArray:
    with xr.open_dataset(real_data / "elevation_5arcmin_global.nc") as ds:
        return ds.elevation.load()


def test_elevation_over_iberia_against_a_plain_sum(heights, iberia):
    found = regrid_static(heights, iberia.tas)
    assert found.dtype == np.float64
    half = 1 / 24
    for i, j in [(0, 0), (20, 30), (40, 60)]:
        south, north = iberia.lat.values[i] - 0.125, iberia.lat.values[i] + 0.125
        west, east = iberia.lon.values[j] - 0.125, iberia.lon.values[j] + 0.125
        near = heights.sel(lat=slice(north + 0.1, south - 0.1), lon=slice(west - 0.1, east + 0.1))
        total = weight = 0.0
        for lat in near.lat.values:
            for lon in near.lon.values:
                low, high = max(lat - half, south), min(lat + half, north)
                wide = min(lon + half, east) - max(lon - half, west)
                if high > low and wide > 0:
                    share = (np.sin(np.radians(high)) - np.sin(np.radians(low))) * wide
                    total += share * float(near.sel(lat=lat, lon=lon))
                    weight += share
        assert float(found[i, j]) == pytest.approx(total / weight, abs=1e-6)


def test_elevation_agrees_with_the_producers_of_the_fine_record(heights, iberia):
    found = regrid_static(heights, iberia.tas)
    land = iberia.elevation.notnull().values
    pair = np.corrcoef(found.values[land], iberia.elevation.values[land])
    assert pair[0, 1] > 0.97


def test_real_temperature_over_iberia(iberia):
    coarse = iberia.tas_coarse.isel(time=slice(0, 5))
    with pytest.raises(GridError, match=r"allowed is .*pass extrapolate='nearest'"):
        regrid(coarse, iberia.tas)
    found = regrid(coarse, iberia.tas, extrapolate="nearest")
    assert found.dtype == np.float32
    assert found.notnull().all()
    xr.testing.assert_identical(found.lat, iberia.tas.lat)
    assert set(found.dims) == {"time", "lat", "lon"}
    back = regrid(
        iberia.tas.isel(time=slice(0, 5)), coarse.isel(lat_c=slice(1, 4), lon_c=slice(1, 4))
    )
    assert back.dims == ("time", "lat_c", "lon_c")
