"""Regions against cells counted by hand, in every longitude convention."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.errors import GridError, OptionError
from xdownscale.splits import normalise_regions, region_mask


def grid(lat, lon, dtype="float64"):
    return xr.DataArray(
        np.zeros((len(lon), len(lat))),
        dims=("lon", "lat"),
        coords={
            "lat": ("lat", np.asarray(lat, dtype), {"units": "degrees_north"}),
            "lon": np.asarray(lon, dtype),
        },
    )


GLOBE = grid(np.arange(80, -81, -10.0), np.arange(0, 360, 10.0))


def test_box_by_hand():
    inside = region_mask(GLOBE, (20, 40, -10, 10))
    assert inside.dims == ("lat", "lon")
    assert inside.dtype == bool
    assert inside.lat.identical(GLOBE.lat)
    chosen = inside.where(inside, drop=True)
    assert chosen.lat.values.tolist() == [10, 0, -10]
    assert chosen.lon.values.tolist() == [20, 30, 40]


@pytest.mark.parametrize(
    ("box", "longitudes"),
    [
        ((350, 10, -1, 1), [0, 10, 350]),
        ((-10, 10, -1, 1), [0, 10, 350]),
        ((170, -170, -1, 1), [170, 180, 190]),
        ((170, 190, -1, 1), [170, 180, 190]),
        ((-180, 180, -1, 1), list(range(0, 360, 10))),
        ((0, 360, -1, 1), list(range(0, 360, 10))),
        ((30, 30, -1, 1), [30]),
    ],
)
def test_boxes_across_greenwich_and_the_date_line(box, longitudes):
    for start in (0, -180):
        turned = GLOBE.assign_coords(lon=(GLOBE.lon - start) % 360 + start).sortby("lon")
        inside = region_mask(turned, box)
        found = turned.lon.values[inside.any("lat").values] % 360
        assert sorted(found.tolist()) == longitudes


@given(
    st.floats(-360, 360), st.floats(0.5, 359), st.floats(-90, 90), st.floats(0, 90), st.booleans()
)
def test_box_like_cells_one_by_one(west, width, south, height, single):
    north = min(south + height, 90.0)
    lat, lon = np.arange(-88.3, 89, 7.1), np.arange(-177.7, 180, 9.3)
    da = grid(lat, lon, "float32" if single else "float64")
    expected = np.zeros((lat.size, lon.size), bool)
    for j, i in np.ndindex(expected.shape):
        turns = [lon[i] + 360 * k for k in (-2, -1, 0, 1, 2)]
        distance = min(min(abs(t - west), abs(t - west - width)) for t in turns)
        if distance < 1e-3 or min(abs(lat[j] - south), abs(lat[j] - north)) < 1e-3:
            return  # a border through a cell's centre: rounding decides
        expected[j, i] = south < lat[j] < north and any(west < t < west + width for t in turns)
    if expected.any():
        found = region_mask(da, (west, west + width, south, north))
        np.testing.assert_array_equal(found.values, expected)
    else:
        with pytest.raises(GridError, match="No cell of the grid"):
            region_mask(da, (west, west + width, south, north))


def test_border_is_inside_in_single_precision():
    lon = np.arange(-9.9, 0, 0.1, dtype="float32")
    inside = region_mask(grid([40.1], lon, "float32"), (-9.9, -9.5, 40.1, 40.1))
    assert int(inside.sum()) == 5


def test_curvilinear_grid():
    y, x = np.indices((4, 5))
    da = xr.DataArray(
        np.zeros((4, 5)),
        dims=("eta", "xi"),
        coords={"lat": (("eta", "xi"), y + 0.1 * x), "lon": (("eta", "xi"), x - 0.1 * y)},
    )
    inside = region_mask(da, (0.5, 2.5, 0.9, 2.3))
    lat, lon = da.lat.values, da.lon.values
    expected = (lat > 0.9) & (lat < 2.3) & (lon > 0.5) & (lon < 2.5)
    np.testing.assert_array_equal(inside.values, expected)


def test_mask_of_the_other_latitude_order_and_longitude_convention(rng):
    values = rng.random((17, 36)) > 0.5
    inside = xr.DataArray(values, coords={"lat": GLOBE.lat.values, "lon": GLOBE.lon.values})
    mask = inside.astype(float).where(inside)  # 1 and NaN
    mask = mask.rename(lat="latitude", lon="longitude").sortby("latitude").transpose()
    mask = mask.assign_coords(longitude=np.arange(360, 720, 10.0))
    found = region_mask(GLOBE, mask.expand_dims(time=1))
    np.testing.assert_array_equal(found.values, values)
    assert found.dims == ("lat", "lon")


def test_mask_of_a_single_row():
    da = grid([5.0], [0.0, 1.0])
    assert region_mask(da, (da == 0).isel(lon=[0, 1])).values.tolist() == [[True, True]]


def test_mask_on_another_grid():
    mask = grid(np.arange(80, -81, -10.0), np.arange(5, 365, 10.0)) == 0
    with pytest.raises(GridError, match=r"The mask .* not on the grid.*regrid"):
        region_mask(GLOBE, mask)
    with pytest.raises(GridError, match=r"shape \(3, 36\) is not on the grid of shape \(17, 36\)"):
        region_mask(GLOBE, (GLOBE == 0).isel(lat=slice(3)))


def test_mask_with_other_values():
    with pytest.raises(GridError, match=r"holds values from 2.0 to 2.0; give 0 and 1"):
        region_mask(GLOBE, GLOBE + 2)


def test_empty_regions():
    with pytest.raises(GridError, match=r"No cell .* \(1.0, 2.0, 1.0, 2.0\).*longitudes 0 to 350"):
        region_mask(GLOBE, (1, 2, 1, 2))
    with pytest.raises(GridError, match=r"No cell .* of the mask 'sea'"):
        region_mask(GLOBE, (GLOBE > 0).rename("sea"))


def test_normalise():
    mask = GLOBE == 0
    regions = normalise_regions({"a": [1, 2, 3, 4], "b": mask})
    assert regions["a"] == (1.0, 2.0, 3.0, 4.0)
    assert regions["b"] is mask
    assert normalise_regions(None) == {}


def test_regions_that_are_no_mapping():
    with pytest.raises(OptionError, match="regions is a list; give a mapping"):
        normalise_regions([(1, 2, 3, 4)])


@pytest.mark.parametrize("box", [(1, 2, 3), "gulf", 3, (1, 2, 3, "north"), None])
def test_boxes_that_are_none(box):
    with pytest.raises(OptionError, match=r"Region 'a' is .*give a box \(west, east, south, north"):
        normalise_regions({"a": box})


@pytest.mark.parametrize("box", [(1, 2, 4, 3), (1, 2, -91, 3), (1, 2, 3, 91), (np.inf, 2, 3, 4)])
def test_boxes_with_impossible_edges(box):
    with pytest.raises(OptionError, match=r"Region 'a' is the box .*south must not exceed north"):
        normalise_regions({"a": box})
