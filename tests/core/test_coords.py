"""The label line: what is taken off comes back, whatever it was."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.coords import find_axes, from_array, require_time, to_array
from xdownscale.core.errors import GridError, TimeAxisError

DTYPES = ["float32", "float64", "int16", "int64", "bool", "complex64", "<U3", "M8[ns]", "object"]
NAMES = [("lat", "lon"), ("latitude", "longitude"), ("nav_lat", "nav_lon"), ("Lat", "Lon")]


def values_of(dtype, shape, rng):
    numbers = rng.integers(0, 9, size=shape)
    if dtype == "M8[ns]":
        return numbers.astype("M8[D]").astype("M8[ns]")
    values = numbers.astype(dtype)
    if np.dtype(dtype).kind in "fc":
        values[rng.random(shape) < 0.2] = np.nan
    return values


def horizontal(curvilinear, lat, lon, ny, nx, rng):
    """Coordinates of latitude and longitude, and the names of y and x."""
    degrees_y, degrees_x = np.sort(rng.uniform(-60, 60, ny)), np.sort(rng.uniform(0, 90, nx))
    if not curvilinear:
        return {lat: ((lat,), degrees_y), lon: ((lon,), degrees_x)}, lat, lon
    two_y, two_x = np.meshgrid(degrees_y, degrees_x, indexing="ij")
    return {lat: (("row", "col"), two_y), lon: (("row", "col"), two_x)}, "row", "col"


@st.composite
def arrays(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    lat, lon = draw(st.sampled_from(NAMES))
    ny, nx, nt, nm = (draw(st.integers(1, 4)) for _ in range(4))
    coords, y, x = horizontal(draw(st.booleans()), lat, lon, ny, nx, rng)
    sizes = {y: ny, x: nx}
    if draw(st.booleans()):
        calendar = draw(st.sampled_from(["standard", "noleap", "360_day"]))
        coords["time"] = xr.date_range("2000-02-27", periods=nt, calendar=calendar)
        coords["weight"] = ("time", rng.random(nt), {"units": "1"})
        sizes["time"] = nt
    if draw(st.booleans()):
        sizes["realization"] = nm  # no coordinate
    coords["mask"] = ((x, y), rng.random((nx, ny)) > 0.5, {"flag": "land"})
    coords["zone"] = (y, [f"zone {k}" for k in range(ny)])
    coords["height"] = 2.0
    dims = draw(st.permutations(list(sizes)))
    values = values_of(draw(st.sampled_from(DTYPES)), [sizes[d] for d in dims], rng)
    da = xr.DataArray(values, dims=dims, coords=coords, name=draw(st.sampled_from([None, "dust"])))
    da.attrs = {"units": "1", "list": [1, 2]}
    for dim in (y, x):
        if draw(st.booleans()):
            da = da.isel({dim: slice(None, None, -1)})
    return da.chunk({d: draw(st.integers(1, 4)) for d in dims}) if draw(st.booleans()) else da


@given(arrays())
def test_round_trip_is_identical(da):
    before = da.copy(deep=True)
    unlabelled = to_array(da)
    for back in (from_array(unlabelled), from_array(*unlabelled)):
        xr.testing.assert_identical(back, da)
        assert back.dims == da.dims
        assert back.dtype == da.dtype
        assert (back.chunks is None) == (da.chunks is None)
        for name, index in da.indexes.items():
            assert back.indexes[name].equals(index)
    xr.testing.assert_identical(da, before)


@given(arrays())
def test_below_the_line_axes_are_time_y_x_and_ascending(da):
    array, labels = to_array(da)
    axes = labels.axes
    order = [d for d in da.dims if d not in (axes.time, axes.y, axes.x)]
    order += [d for d in (axes.time, axes.y, axes.x) if d is not None]
    plain = da.transpose(*order)
    if axes.rectilinear:
        plain = plain.sortby([axes.y, axes.x])
    if da.dtype.kind == "f":
        np.testing.assert_array_equal(np.asarray(array), plain.values)
    assert array.shape == plain.shape


def forbid_computing(graph, keys, **kwargs):
    raise AssertionError("something was computed")


def field(**names):
    da = xr.DataArray(
        np.arange(24.0).reshape(2, 3, 4),
        dims=("time", "lat", "lon"),
        coords={
            "time": pd.date_range("2000", periods=2),
            "lat": [2.0, 1.0, 0.0],
            "lon": [0.0, 1.0, 2.0, 3.0],
        },
        name="dust",
        attrs={"units": "1"},
    )
    return da.rename(names)


def test_nothing_is_computed():
    lazy = field().chunk({"time": 1})
    with dask.config.set(scheduler=forbid_computing):
        back = from_array(to_array(lazy))
    xr.testing.assert_identical(back.compute(), field())


def test_what_was_changed_below_the_line_lands_on_its_own_labels():
    array, labels = to_array(field().transpose("lon", "lat", "time"))
    changed = array.copy()
    changed[1, 0, 3] = -1  # second day, southernmost row, easternmost column
    back = from_array(changed, labels)
    assert float(back.sel(time="2000-01-02", lat=0.0, lon=3.0).item()) == -1
    assert int((back == -1).sum()) == 1


def test_attributes_are_a_copy():
    da = field()
    from_array(to_array(da)).attrs["units"] = "changed"
    assert da.attrs == {"units": "1"}


def test_with_time():
    da = field().assign_coords(weight=("time", [1.0, 2.0]), height=2.0)
    da.time.attrs["long_name"] = "day"
    array, labels = to_array(da)
    days = xr.DataArray(pd.date_range("2010", periods=5), dims="day")
    longer = from_array(np.repeat(array[:1], 5, axis=0), labels.with_time(days))
    assert longer.sizes == {"time": 5, "lat": 3, "lon": 4}
    assert longer.indexes["time"].equals(pd.DatetimeIndex(days.values))
    assert longer.time.attrs == {"long_name": "day"}
    assert set(longer.coords) == {"time", "lat", "lon", "height"}
    xr.testing.assert_identical(labels.coords, da.coords.to_dataset())


def test_with_leading():
    array, labels = to_array(field().transpose("lat", "lon", "time"))
    members = xr.DataArray([3, 5], dims="member", attrs={"standard_name": "realization"})
    drawn = from_array(np.stack([array, 2 * array]), labels.with_leading("realization", members))
    assert drawn.dims == ("realization", "lat", "lon", "time")
    assert drawn.realization.values.tolist() == [3, 5]
    xr.testing.assert_equal(
        drawn.sel(realization=5, drop=True), 2 * field().transpose("lat", "lon", "time")
    )


def test_cf_attributes_come_before_names():
    da = field(lat="a", lon="b", time="c")
    da.a.attrs["standard_name"] = "latitude"
    da.b.attrs["units"] = "degrees_east"
    axes = find_axes(da)
    assert (axes.time, axes.y, axes.x) == ("c", "a", "b")


def test_time_is_found_by_its_type():
    assert find_axes(field(time="whatever")).time == "whatever"
    assert find_axes(field().isel(time=0)).time is None


def test_bounds_are_not_taken_for_coordinates():
    da = field().assign_coords(lat_bnds=(("lat", "time"), np.zeros((3, 2))))
    assert find_axes(da).latitude == "lat"


@pytest.mark.parametrize(("lost", "message"), [("lat", "latitude"), ("lon", "longitude")])
def test_axes_that_are_not_there(lost, message):
    with pytest.raises(GridError, match=rf"No {message} found in dust .*standard_name"):
        to_array(field().drop_vars(lost))


def test_points_are_no_grid():
    da = xr.DataArray(
        np.zeros(3),
        dims="station",
        coords={"lat": ("station", [1.0, 2, 3]), "lon": ("station", [1.0, 2, 3])},
    )
    with pytest.raises(GridError, match="share the dimension 'station'"):
        find_axes(da)


def test_one_and_two_dimensional_coordinates_mixed():
    da = field().drop_vars("lon").assign_coords(lon=(("lat", "lon"), np.zeros((3, 4))))
    with pytest.raises(GridError, match="give both one or both the same two"):
        find_axes(da)


def test_require_time():
    assert require_time(field(time="day"), "The fine record") == "day"
    with pytest.raises(
        TimeAxisError, match=r"The fine record has no time dimension \(dims: \('lat'"
    ):
        require_time(field().isel(time=0), "The fine record")


def test_labels_without_time_have_none_to_replace():
    labels = to_array(field().isel(time=0)).labels
    with pytest.raises(TimeAxisError, match="no time axis to replace"):
        labels.with_time(field().time)


def test_leading_dimension_that_is_there_already():
    labels = to_array(field()).labels
    with pytest.raises(GridError, match="'lat' is there already"):
        labels.with_leading("lat", field().lat)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5), (3, 3, 4), (1, 2, 3, 4)])
def test_array_of_another_shape(shape):
    labels = to_array(field()).labels
    with pytest.raises(GridError, match=r"cannot have the dimensions .* of sizes \(2, 3, 4\)"):
        from_array(np.zeros(shape), labels)


def test_array_without_labels():
    with pytest.raises(GridError, match="needs the labels that to_array returned"):
        from_array(np.zeros((2, 3, 4)))


def test_names_are_looked_up_again_where_labels_change():
    """What cf_xarray found is kept by labels: other attributes are other labels."""
    da = xr.DataArray(np.ones((2, 3)), coords={"a": [0.0, 1.0], "b": [0.0, 1.0, 2.0]})
    for _ in range(2):
        with pytest.raises(GridError, match="No latitude found"):
            find_axes(da)
    da.a.attrs["standard_name"] = "latitude"
    da.b.attrs["units"] = "degrees_east"
    assert find_axes(da).latitude == "a"
    da.b.attrs["units"] = "degrees_north"
    da.a.attrs["standard_name"] = "longitude"
    turned = find_axes(da)
    assert (turned.latitude, turned.longitude) == ("b", "a")
