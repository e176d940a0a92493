"""Labelled grids."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xdownscale.core.errors import GridError
from xdownscale.core.grids import (
    area,
    cell_weights,
    describe_grid,
    distances,
    fingerprint,
    grid_axes,
    grid_template,
    has_grid,
    require_rectilinear,
    same_grid,
    uncovered,
)


def field(lat, lon, names=("lat", "lon")) -> xr.DataArray:
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    values = np.zeros((lat.size, lon.size))
    return xr.DataArray(values, dims=names, coords={names[0]: lat, names[1]: lon}, name="dust")


def curvilinear() -> xr.DataArray:
    lat, lon = np.meshgrid([0.0, 1.0], [5.0, 6.0, 7.0], indexing="ij")
    return xr.DataArray(
        np.zeros((2, 3)),
        dims=("y", "x"),
        coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)},
    )


def test_two_dimensional_grids_are_sent_to_regrid():
    with pytest.raises(GridError, match=r"two-dimensional latitude 'lat'.*xdownscale\.regrid"):
        require_rectilinear(curvilinear(), "The coarse grid")
    assert require_rectilinear(field([0, 1], [0, 1])).latitude == "lat"


def test_degrees_may_stand_beside_the_dimensions():
    da = xr.DataArray(
        np.zeros((2, 3)),
        dims=("y", "x"),
        coords={"lat": ("y", [1.0, 0.0]), "lon": ("x", [5.0, 6.0, 7.0])},
    )
    axes = require_rectilinear(da)
    assert (axes.y, axes.latitude) == ("y", "lat")
    np.testing.assert_array_equal(grid_axes(da)[0].values, [0, 1])
    assert area(da).dims == ("y", "x")


def test_template_of_datasets():
    one, other = field([0, 1], [0, 1]), field([0, 1], [0, 1], ("lat_c", "lon_c"))
    assert grid_template(xr.Dataset({"n": 3, "a": one})).name == "a"
    assert grid_template(xr.Dataset(coords=one.coords)).shape == (2, 2)
    with pytest.raises(
        GridError, match=r"The target grid is a Dataset with variables on different"
    ):
        grid_template(xr.Dataset({"a": one, "b": other}), "The target grid")
    with pytest.raises(GridError, match="No latitude found"):
        grid_template(xr.Dataset({"n": 3}))


def test_has_grid():
    assert has_grid(field([0], [0]))
    assert not has_grid(xr.DataArray([1.0], dims="time"))


def test_area_follows_the_order_of_the_grid():
    lat = np.array([80.0, 0.0, -80.0])
    da = field(lat, [350.0, 10.0, 30.0])
    found = area(da)
    assert found.attrs["units"] == "km2"
    np.testing.assert_allclose(found.values[:, :1], found.values[:, 1:2])
    assert found.sel(lat=0.0)[0] > found.sel(lat=80.0)[0]
    assert area(da.isel(lat=slice(0, 2)), "sr").sizes == {"lat": 2, "lon": 3}
    whole = area(field(np.arange(-87.5, 90, 5), np.arange(0, 360, 10.0)), "sr")
    assert float(whole.sum()) == pytest.approx(4 * np.pi, rel=1e-13)


def test_area_of_one_row():
    with pytest.raises(GridError, match="Cells have no edges"):
        area(field([0.0], [0.0, 1.0]))


def test_uncovered_cells():
    coarse = field([40.0, 38.0], [358.0, 0.0, 2.0])
    fine = field([36.9, 37.1, 40.9], [-3.1, -2.9, 2.9, 3.1], ("latitude", "longitude"))
    found = uncovered(coarse, fine)
    assert found.dims == ("latitude", "longitude")
    expected = np.ones((3, 4), bool)
    expected[1:, 1:3] = False
    np.testing.assert_array_equal(found, expected)


def test_real_iberia_reaches_outside_its_coarse_grid(iberia):
    found = uncovered(iberia.tas_coarse, iberia.tas)
    assert 0 < int(found.sum()) < found.size


def test_distances_are_geodesic():
    # One degree of the equator, and a quarter meridian of WGS84 (10001.965729 km).
    assert distances(0.0, [0.0], 0.0, [1.0])[0] == pytest.approx(111.3194908, abs=1e-6)
    assert distances([0.0], 0.0, [90.0], 77.0)[0] == pytest.approx(10001.965729, abs=1e-5)
    found = distances(np.zeros((2, 1)), 0.0, 0.0, np.arange(3.0))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found[0], 111.3194908 * np.arange(3), atol=1e-5)


def test_distances_leave_their_inputs_alone():
    lat = np.array([0.0, 1.0])
    distances(lat, lat, 5.0, 5.0)
    np.testing.assert_array_equal(lat, [0, 1])


def test_same_grid_whatever_the_convention():
    a = field([0, 1, 2], [-10, 0, 10])
    assert same_grid(a, field([2, 1, 0], [350, 0, 10], ("latitude", "longitude")).T)
    assert same_grid(a, a.assign_coords(lat=a.lat.astype("f4") + 1e-5))
    assert not same_grid(a, field([0, 1, 2], [-10, 0, 10.5]))
    assert not same_grid(a, field([0, 1.1, 2], [-10, 0, 10]))
    assert not same_grid(a, field([0, 1], [-10, 0, 10]))
    assert same_grid(field([3], [4]), field([3], [364]))


def test_fingerprint_does_not_see_order_or_convention():
    a, b = field([0, 1], [-10, 0, 10]), field([1, 0], [350, 0, 10])
    assert fingerprint(a) == fingerprint(b)
    assert fingerprint(a)["longitude"] == {"first": -10, "last": 10, "size": 3, "spacing": 10}
    globe, other = field([0, 1], np.arange(0, 360, 90.0)), field([0, 1], np.arange(-180, 180, 90.0))
    assert fingerprint(globe) == fingerprint(other)
    assert fingerprint(globe)["longitude"]["first"] == 0
    assert same_grid(globe, other)
    assert describe_grid(a) == "2 latitudes from 0 to 1 by 1, 3 longitudes from -10 to 10 by 10"


def test_weights_are_areas_or_cosines():
    da = field([0, 30, 60], [0, 1])
    assert cell_weights(da).equals(area(da))
    row = cell_weights(field([0, 60], [5]))
    np.testing.assert_allclose(row, [[1.0], [0.5]])
    tilted = cell_weights(curvilinear().transpose("x", "y"))
    assert tilted.dims == ("x", "y")
    np.testing.assert_allclose(tilted[0], [1.0, np.cos(np.deg2rad(1))])
