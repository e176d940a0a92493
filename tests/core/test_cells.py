"""Cells of grids of all kinds: corners, areas, where points lie."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr
from pyproj import Geod

from projected import curvilinear, lambert, lambert_positions, regular, rotated
from xdownscale.core.axis import EARTH_RADIUS_KM
from xdownscale.core.cells import cells_of
from xdownscale.core.errors import GridError
from xdownscale.core.projection import find_projection
from xdownscale.core.sphere import angle, polygon_areas, reflect, to_degrees, to_vectors, unit

SPHERE = Geod(a=1000 * EARTH_RADIUS_KM, b=1000 * EARTH_RADIUS_KM)


def test_kinds():
    kinds = [cells_of(g).kind for g in (regular([0, 1], [0, 1]), lambert(), curvilinear(lambert()))]
    assert kinds == ["degrees", "projected", "curvilinear"]
    assert cells_of(rotated()).kind == "projected"


@pytest.mark.parametrize("step", [3e3, 50e3, 200e3])
def test_areas_in_a_projection_are_those_of_a_geodesic_library(step):
    ds = lambert(5, 6, step)
    found = cells_of(ds).areas()
    t = np.linspace(-0.5, 0.5, 400) * step
    for i, j in [(0, 0), (2, 3), (4, 5)]:
        y, x = ds.y.values[i], ds.x.values[j]
        side = 0 * t + step / 2
        latitude, longitude = lambert_positions(
            np.concatenate([y - side, y + t, y + side, y - t]),
            np.concatenate([x + t, x + side, x - t, x - side]),
        )
        expected = abs(SPHERE.polygon_area_perimeter(longitude, latitude)[0]) / 1e6
        np.testing.assert_allclose(found[i, j], expected, rtol=2e-7)


def test_areas_with_bounds_and_of_a_rotated_pole():
    ds = rotated(9, 9, 5.0)
    # the rotation keeps areas: those of a grid in degrees with the same numbers
    plain = regular(ds.rlat.values, ds.rlon.values)
    np.testing.assert_allclose(cells_of(ds).areas(), _exact(plain), rtol=1e-5)
    edges = np.array([[-3.0, 0.0], [0.0, 1.0]])
    grid = rotated(2, 4).assign_coords(rlat=("rlat", [-1.0, 0.5], {"bounds": "edges"}))
    grid["edges"] = (("rlat", "v"), edges)
    low, high = np.sin(np.radians(edges)).T
    areas = cells_of(grid).areas("sr")
    np.testing.assert_allclose(areas[:, 0], (high - low) * np.radians(0.44), rtol=1e-5)


def _exact(grid):
    from xdownscale.core.grids import area

    return area(grid).values


def test_areas_of_a_curvilinear_grid():
    ds = lambert(20, 20, 10e3)
    found = cells_of(curvilinear(ds)).areas()
    np.testing.assert_allclose(found, cells_of(ds).areas(), rtol=1e-4)
    # corners that the file gives
    lat, lon = regular([10, 11, 12], [0, 1, 2]).lat.values, np.array([0.0, 1.0, 2.0])
    corner = np.array([-0.5, -0.5, 0.5, 0.5]), np.array([-0.5, 0.5, 0.5, -0.5])
    plane = np.meshgrid(lat, lon, indexing="ij")
    grid = xr.Dataset(
        {
            "lat_v": (("j", "i", "v"), plane[0][..., None] + corner[0] * 0.5),
            "lon_v": (("j", "i", "v"), plane[1][..., None] + corner[1] * 0.5),
        },
        coords={
            "lat": (("j", "i"), plane[0], {"bounds": "lat_v"}),
            "lon": (("j", "i"), plane[1], {"bounds": "lon_v"}),
        },
    )
    areas = cells_of(grid).areas()
    lon_v, lat_v = grid.lon_v.values[1, 1], grid.lat_v.values[1, 1]
    expected = abs(SPHERE.polygon_area_perimeter(lon_v, lat_v)[0]) / 1e6
    np.testing.assert_allclose(areas[1, 1], expected, rtol=1e-9)
    crossed = grid.assign(lat_v=grid.lat_v.isel(v=[0, 2, 1, 3]))
    with pytest.raises(GridError, match=r"bounds are folded, cross themselves.*'lat' and 'lon'"):
        cells_of(crossed).areas()


def globe(ny=36, nx=72, tilt=0.0) -> xr.Dataset:
    """Return a curvilinear globe: a regular one, turned about the x axis."""
    lat = -90 + 180 * (np.arange(ny) + 0.5) / ny
    lon = 360 * np.arange(nx) / nx
    vectors = to_vectors(lat[:, None], lon[None, :])
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    turned = vectors @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    found = to_degrees(turned)
    coords = {n: (("j", "i"), v) for n, v in zip(("lat", "lon"), found, strict=True)}
    return xr.Dataset({"t": (("j", "i"), np.zeros((ny, nx)))}, coords=coords)


@pytest.mark.parametrize("tilt", [0.0, 35.0])
def test_cells_of_a_curvilinear_globe_cover_the_sphere(tilt):
    cells = cells_of(globe(tilt=tilt))
    assert cells.mesh.periodic
    np.testing.assert_allclose(cells.areas("sr").sum(), 4 * np.pi, rtol=1e-10)
    rng = np.random.default_rng(1)
    lat, lon = to_degrees(unit(rng.normal(size=(3000, 3))))
    lat, lon = np.append(lat, [90.0, -90.0]), np.append(lon, [0.0, 0.0])
    place = cells.place(lat, lon)
    assert not cells.outside(place).any()


def test_points_are_found_at_their_indices():
    ds = lambert(30, 40, 20e3)
    rng = np.random.default_rng(0)
    row, column = rng.uniform(-0.9, 29.9, 2000), rng.uniform(-0.9, 39.9, 2000)
    points = lambert_positions(ds.y.values[0] + row * 20e3, ds.x.values[0] + column * 20e3)
    for grid, slack in ((ds, 1e-9), (curvilinear(ds), 2e-3)):
        cells = cells_of(grid)
        place = cells.place(points[0], points[1] + 360)
        axes = (ds.y.values, ds.x.values)
        scale = [1.0, 1.0] if cells.kind == "curvilinear" else [20e3, 20e3]
        first = [0.0, 0.0] if cells.kind == "curvilinear" else [a[0] for a in axes]
        np.testing.assert_allclose((place.row - first[0]) / scale[0], row, atol=slack)
        np.testing.assert_allclose((place.column - first[1]) / scale[1], column, atol=slack)
        near = (np.abs(row - 14.5) > 15.01) | (np.abs(column - 19.5) > 20.01)
        sure = (np.abs(np.abs(row - 14.5) - 15) > 0.01) & (
            np.abs(np.abs(column - 19.5) - 20) > 0.01
        )
        np.testing.assert_array_equal(cells.outside(place)[sure], near[sure])


def test_points_far_away_are_outside():
    for grid in (lambert(), curvilinear(lambert())):
        cells = cells_of(grid)
        place = cells.place(np.array([-40.0, 60.0, 38.5]), np.array([80.0, -97.5, -97.5]))
        np.testing.assert_array_equal(cells.outside(place), [True, True, False])


def test_a_curvilinear_grid_round_a_pole():
    y, x = np.meshgrid(np.arange(-4.5, 5), np.arange(-4.5, 5), indexing="ij")
    lat, lon = 90 - np.hypot(y, x), np.degrees(np.arctan2(y, x))
    da = xr.DataArray(
        np.zeros(lat.shape),
        dims=("j", "i"),
        coords={"lat": (("j", "i"), lat), "lon": (("j", "i"), lon)},
    )
    cells = cells_of(da)
    place = cells.place(np.array([90.0, 89.0]), np.array([33.0, 0.0]))
    np.testing.assert_allclose(place.row, 4.5, atol=1e-6)
    np.testing.assert_allclose(place.column, [4.5, 5.5], atol=2e-3)
    assert not cells.outside(place).any()


def test_faults_of_curvilinear_grids_are_named():
    ds = curvilinear(lambert())
    hole = ds.assign_coords(lat=ds.lat.where(ds.lat > ds.lat.min()))
    with pytest.raises(GridError, match=r"1 of 252 cells without a position: 'lat' or 'lon'"):
        cells_of(hole).areas()
    order = [0, 1, 3, 2, *range(4, 14)]
    with pytest.raises(GridError, match=r"cells that are folded.*between rows 2 and 3.*'lat'"):
        cells_of(ds.isel(j=order)).areas()
    with pytest.raises(GridError, match=r"1 rows and 18 columns.*need two of each"):
        cells_of(ds.isel(j=[0])).areas()
    with pytest.raises(GridError, match=r"values of 'lat' beyond the poles, such as 1e\+20"):
        cells_of(ds.assign_coords(lat=ds.lat.where(ds.lat > 36, 1e20)))
    with pytest.raises(GridError, match=r"has one 'y' .*no width"):
        cells_of(lambert(ny=1)).areas()


def test_corners_outside_a_domain_are_named():
    crs = "+proj=ortho +lat_0=0 +lon_0=0 +R=6371000"
    y = np.array([-5e6, 0, 5e6])
    da = xr.DataArray(
        np.zeros((3, 3)), dims=("y", "x"), coords={"y": y / 1.3, "x": y / 1.3}, attrs={"crs": crs}
    )
    assert find_projection(da) is not None
    with pytest.raises(GridError, match="corners outside the domain of the attribute 'crs'"):
        cells_of(da).areas()


def test_vectors():
    lat, lon = np.array([10.0, -80.0, 90.0]), np.array([-170.0, 20.0, 0.0])
    found = to_degrees(to_vectors(lat, lon))
    np.testing.assert_allclose(found[0], lat)
    np.testing.assert_allclose(found[1], lon, atol=1e-12)
    one, other = to_vectors(np.array([0.0, 0.0]), np.array([0.0, 1e-7]))
    np.testing.assert_allclose(angle(one, other), np.radians(1e-7), rtol=1e-7)
    np.testing.assert_allclose(to_degrees(reflect(one, other))[1], 2e-7, rtol=1e-6)
    tiny = np.radians(1e-4)
    square = to_vectors(np.array([0, 0, 1e-4, 1e-4]), np.array([0, 1e-4, 1e-4, 0]))
    np.testing.assert_allclose(polygon_areas(square), tiny**2, rtol=1e-9)
    octant = polygon_areas(np.eye(3))
    np.testing.assert_allclose(octant, np.pi / 2)
    np.testing.assert_allclose(polygon_areas(np.eye(3)[::-1]), -np.pi / 2)


class TestDescription:
    """Spacing and bearing against pyproj's factors of the projections."""

    @pytest.mark.parametrize("make", [lambert, rotated], ids=["lambert", "rotated"])
    def test_bearing_is_the_meridian_convergence(self, make):
        cells = cells_of(make(ny=21, nx=25, values=np.zeros((21, 25))))
        proj = pyproj.Proj(cells.projection.crs)
        latitude, longitude = cells.positions
        if make is lambert:
            convergence = proj.get_factors(longitude, latitude).meridian_convergence
            angle = np.degrees(np.arctan2(*cells.bearing[::-1]))
            np.testing.assert_allclose(angle[1:-1], convergence[1:-1], atol=0.02)
        else:  # on the sphere every row of a rotated grid meets its columns at right angles
            along = np.gradient(cells.centres, axis=1)
            down = np.gradient(cells.centres, axis=0)
            assert np.abs((along * down).sum(-1))[1:-1, 1:-1].max() < 1e-9

    def test_bearing_of_a_polar_stereographic_grid_is_its_longitude(self):
        mapping = {
            "grid_mapping_name": "polar_stereographic",
            "latitude_of_projection_origin": 90.0,
            "straight_vertical_longitude_from_pole": 0.0,
            "standard_parallel": 70.0,
            "earth_radius": 6371229.0,
        }
        cells = cells_of(
            lambert(ny=31, nx=41, step=25e3, values=np.zeros((31, 41)), mapping=mapping)
        )
        y, x = cells.first[:, None], cells.second[None, :]
        away = np.hypot(y, x) > 2e5
        angle = np.degrees(np.arctan2(*cells.bearing[::-1]))
        longitude = np.degrees(np.arctan2(x, -y))
        # the rows' direction seen from there: towards the pole on the meridian below it
        apart = (angle - longitude + 180) % 360 - 180
        assert np.abs(apart[1:-1][away[1:-1]]).max() < 0.3

    def test_spacing_of_a_mercator_grid_shrinks_with_the_cosine(self):
        mapping = {
            "grid_mapping_name": "mercator",
            "longitude_of_projection_origin": -97.5,
            "standard_parallel": 0.0,
            "earth_radius": 6371229.0,
        }
        ds = lambert(ny=60, nx=8, step=100e3, values=np.zeros((60, 8)), mapping=mapping)
        cells = cells_of(ds)
        latitude = np.radians(cells.positions[0])
        for spacing in cells.spacings:
            np.testing.assert_allclose(spacing[1:-1], 100 * np.cos(latitude)[1:-1], rtol=2e-3)
        np.testing.assert_allclose(cells.bearing[0], 1, atol=1e-9)

    def test_a_grid_of_one_row_has_neither(self):
        cells = cells_of(regular([10.0], [1.0, 2.0, 3.0]))
        assert (cells.spacings[0] == 0).all()
        assert (cells.bearing[0] == 1).all()
