"""Projections of grids: found, checked, and their positions against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from projected import LAMBERT, ROTATED, lambert, lambert_positions, rotated
from xdownscale.core.errors import GridError
from xdownscale.core.projection import find_projection, with_positions


def test_positions_of_a_lambert_grid_are_those_of_the_closed_form():
    ds = lambert()
    found = find_projection(ds)
    assert (found.y, found.x, found.variable, found.scale) == ("y", "x", "crs", 1.0)
    latitude, longitude = found.positions(ds.y.values[:, None], ds.x.values[None, :])
    expected = lambert_positions(ds.y.values[:, None], ds.x.values[None, :])
    np.testing.assert_allclose(latitude, expected[0], atol=1e-9)
    np.testing.assert_allclose(longitude, expected[1], atol=1e-9)
    y, x = found.plane(latitude, longitude)
    np.testing.assert_allclose(y, np.broadcast_to(ds.y.values[:, None], y.shape), atol=1e-4)
    np.testing.assert_allclose(x, np.broadcast_to(ds.x.values[None, :], x.shape), atol=1e-4)


def test_positions_of_a_rotated_pole_are_those_of_the_closed_form():
    ds = rotated()
    found = find_projection(ds)
    assert found.rotated
    latitude, longitude = found.positions(ds.rlat.values[:, None], ds.rlon.values[None, :])
    pole, turn = np.radians(39.25), np.radians(-162.0)
    rlat, rlon = np.radians(ds.rlat.values[:, None]), np.radians(ds.rlon.values[None, :])
    up = np.sin(pole) * np.sin(rlat) + np.cos(pole) * np.cos(rlat) * np.cos(rlon)
    east = np.cos(rlat) * np.sin(rlon)
    north = np.sin(rlat) * np.cos(pole) - np.cos(rlat) * np.cos(rlon) * np.sin(pole)
    np.testing.assert_allclose(latitude, np.degrees(np.arcsin(up)), atol=1e-9)
    expected = np.degrees(turn - np.arctan2(east, north))
    np.testing.assert_allclose((longitude - expected + 180) % 360 - 180, 0, atol=1e-9)


def test_kilometres_are_taken_as_kilometres():
    metres, kilometres = with_positions(lambert()), with_positions(lambert(unit="km"))
    np.testing.assert_allclose(metres.lat, kilometres.lat, atol=1e-9)
    assert find_projection(lambert(unit="km")).scale == 1000.0


@pytest.mark.parametrize("key", ["proj:code", "crs", "crs_wkt", "proj:projjson", "proj:wkt2"])
@pytest.mark.parametrize("place", ["array", "dataset"])
def test_attributes_tell_the_projection(key, place):
    from pyproj import CRS

    crs = CRS.from_epsg(3035)
    text = {"crs_wkt": crs.to_wkt(), "proj:projjson": crs.to_json(), "proj:wkt2": crs.to_wkt()}
    da = xr.DataArray(
        np.zeros((2, 2)), dims=("y", "x"), coords={"y": [3e6, 3.1e6], "x": [4e6, 4.1e6]}
    )
    attrs = {key: text.get(key, "EPSG:3035")}
    grid = (
        da.assign_attrs(attrs) if place == "array" else da.to_dataset(name="t").assign_attrs(attrs)
    )
    found = find_projection(grid)
    assert found.crs == crs
    latitude, longitude = found.positions(np.array(3210000.0), np.array(4321000.0))
    np.testing.assert_allclose((latitude, longitude), (52.0, 10.0), atol=1e-7)  # its origin


def test_a_spatial_ref_coordinate_tells_the_projection():
    from pyproj import CRS

    da = lambert().t.drop_attrs()
    wkt = CRS.from_epsg(3857).to_wkt()
    found = find_projection(da.assign_coords(spatial_ref=((), 0, {"crs_wkt": wkt})))
    assert found.variable == "spatial_ref"


def test_grids_in_degrees_and_without_a_mapping_have_none():
    da = xr.DataArray(np.zeros((2, 2)), coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]})
    assert find_projection(da.assign_attrs(grid_mapping="crs")) is None
    crs = ((), 0, {"grid_mapping_name": "latitude_longitude"})
    assert find_projection(da.assign_coords(crs=crs)) is None
    plain = xr.DataArray(np.zeros((2, 2)), coords={"y": [0.0, 1.0], "x": [0.0, 1.0]})
    assert find_projection(plain) is None
    assert with_positions(plain) is plain


def test_positions_beside_the_projection_must_agree():
    ds = with_positions(lambert())
    assert find_projection(ds).y == "y"
    rounded = ds.assign_coords(lat=ds.lat.astype("f4"), lon=(ds.lon % 360).astype("f4"))
    assert find_projection(rounded) is not None
    with pytest.raises(GridError, match=r"'lat' and 'lon' that contradict.*'y' and 'x'.*'crs'"):
        find_projection(ds.assign_coords(lat=ds.lat + 0.2))
    wrong = ds.assign(crs=ds.crs.assign_attrs(longitude_of_central_meridian=-95.0))
    with pytest.raises(GridError, match=r"grid mapping 'crs'.*degrees apart.*drop_vars"):
        find_projection(wrong)
    # kilometres that are called metres
    with pytest.raises(GridError, match="units of 'y' and 'x'"):
        find_projection(ds.assign_coords(y=ds.y / 1000, x=ds.x / 1000))


def test_faults_of_a_grid_mapping_are_named():
    ds = lambert()
    with pytest.raises(GridError, match=r"names the grid mapping 'crs'.*set_coords\('crs'\)"):
        find_projection(ds.t)
    assert find_projection(ds.set_coords("crs").t) is not None
    foo = ds.assign(crs=((), 0, {"grid_mapping_name": "foo"}))
    with pytest.raises(GridError, match=r"grid mapping 'crs'.*Unsupported grid mapping name: foo"):
        find_projection(foo)
    half = ds.assign(crs=((), 0, {k: v for k, v in LAMBERT.items() if k != "standard_parallel"}))
    with pytest.raises(GridError, match="the parameter 'standard_parallel' is missing"):
        find_projection(half)
    with pytest.raises(GridError, match=r"attribute 'proj:code' of the array.*EPSG:3035"):
        find_projection(ds.t.drop_attrs().assign_attrs({"proj:code": "EPSG:999999"}))
    with pytest.raises(GridError, match=r"'Geocentric|of type Geocentric"):
        find_projection(ds.t.drop_attrs().assign_attrs({"proj:code": "EPSG:4978"}))


def test_units_and_domains_are_checked():
    ds = lambert()
    with pytest.raises(GridError, match=r"'y' in 'furlong'.*'m' or 'km'"):
        find_projection(ds.assign_coords(y=ds.y.assign_attrs(units="furlong")))
    with pytest.raises(GridError, match=r"'y' in 'km' and 'x' in 'm'; give both"):
        find_projection(ds.assign_coords(y=ds.y.assign_attrs(units="km")))
    turned = rotated()
    with pytest.raises(GridError, match=r"'rlat' in 'm'.*Allowed are degrees"):
        find_projection(turned.assign_coords(rlat=turned.rlat.assign_attrs(units="m")))
    with pytest.raises(GridError, match=r"2 values of 'y', 1 of them not finite"):
        find_projection(ds.isel(y=[0, 1]).assign_coords(y=[0.0, np.nan]))
    far = xr.DataArray(
        np.zeros((2, 2)),
        dims=("y", "x"),
        coords={"y": [0.0, 1e7], "x": [0.0, 1e7]},
        attrs={"crs": "+proj=ortho +lat_0=0 +lon_0=0 +R=6371000"},
    )
    with pytest.raises(GridError, match=r"2 of its cells|outside the domain"):
        find_projection(far)


def test_positions_are_added_under_free_names():
    ds = with_positions(rotated())
    assert ds.t.lat.dims == ("rlat", "rlon")
    assert ds.lat.attrs == {"standard_name": "latitude", "units": "degrees_north"}
    assert with_positions(ds) is ds
    taken = rotated().assign(lat=1)
    assert "latitude" in with_positions(taken).coords
    assert ROTATED["grid_north_pole_latitude"] == 39.25
