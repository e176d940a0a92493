"""Regridding between grids of any kind: against pyproj with SciPy, and the separable engine."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr
from pyproj import CRS, Transformer
from scipy.interpolate import RectBivariateSpline, RegularGridInterpolator

import xdownscale as xd
from projected import curvilinear, lambert, lambert_positions, regular, rotated
from xdownscale.core.cells import cells_of
from xdownscale.core.errors import GridError
from xdownscale.core.projection import find_projection
from xdownscale.regridding import _cache, _general, regrid

METHODS = ["bicubic", "bilinear", "nearest"]
FINE = regular(np.arange(36.0, 40.5, 0.31)[::-1], np.arange(260.0, 265.0, 0.27))


def smooth(lat, lon):
    return np.sin(np.radians(7 * lat)) + np.cos(np.radians(5 * lon)) * np.cos(np.radians(lat))


def plane_of(ds) -> xr.Dataset:
    """Return a grid in degrees as a curvilinear one."""
    lat, lon = np.meshgrid(ds.lat.values, ds.lon.values, indexing="ij")
    coords = {"lat": (("j", "i"), lat), "lon": (("j", "i"), lon)}
    return xr.Dataset(coords=coords)


def degrees(ny=9, nx=12, holes=False) -> xr.DataArray:
    values = np.random.default_rng(3).normal(size=(2, ny, nx))
    if holes:
        values[0, 2:4, 5] = np.nan
        values[1, 7, 1:3] = np.inf
    coords = {
        "time": [0, 1],
        "lat": np.linspace(44, 34, ny),
        "lon": np.linspace(350, 372, nx) % 360,
    }
    return xr.DataArray(values, coords=coords, name="t")


@pytest.mark.parametrize("unit", ["m", "km"])
@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
def test_lambert_to_degrees_is_pyproj_and_scipy(method, unit):
    ds = lambert(unit=unit)
    found = regrid(ds, FINE, method).t
    lat, lon = np.meshgrid(FINE.lat.values, FINE.lon.values, indexing="ij")
    crs = CRS.from_cf({**ds.crs.attrs, "standard_parallel": 38.5})
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    size = 1000.0 if unit == "km" else 1.0
    for k in range(2):
        axes, values = (ds.y.values * size, ds.x.values * size), ds.t.values[k]
        if method == "bicubic":
            expected = RectBivariateSpline(*axes, values, s=0).ev(y, x)
        else:
            expected = RegularGridInterpolator(axes, values)((y, x))
        np.testing.assert_allclose(found.values[k], expected, atol=1e-9)
    assert found.dims == ("time", "lat", "lon")
    assert "crs" not in found.coords
    assert found.attrs == {"units": "K"}


@pytest.mark.parametrize("method", METHODS)
def test_rotated_pole_to_degrees(method):
    ds = rotated()
    target = regular(np.arange(49.0, 52, 0.3), np.arange(16.0, 20, 0.3))
    found = regrid(ds.isel(rlat=slice(None, None, -1)), target, method).t
    lat, lon = np.meshgrid(target.lat.values, target.lon.values, indexing="ij")
    y, x = find_projection(ds).plane(lat, lon)
    values = ds.t.values[0]
    if method == "bicubic":
        expected = RectBivariateSpline(ds.rlat, ds.rlon, values, s=0).ev(y, x)
    else:
        kind = {"bilinear": "linear"}.get(method, method)
        expected = RegularGridInterpolator((ds.rlat, ds.rlon), values, kind)((y, x))
    np.testing.assert_allclose(found.values[0], expected, atol=1e-9)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("extrapolate", [None, "nearest"])
@pytest.mark.parametrize("method", METHODS)
def test_points_are_where_the_separable_engine_has_them(method, extrapolate, holes):
    da = degrees(holes=holes)
    reach = 0.5 if extrapolate is None else 3.0
    target = regular(
        np.arange(34 - reach, 44 + reach, 0.47), np.arange(-10 - reach, 12 + reach, 0.53)
    )
    expected = regrid(da, target, method, extrapolate=extrapolate)
    found = regrid(da, plane_of(target), method, extrapolate=extrapolate)
    assert found.dims == ("time", "j", "i")
    np.testing.assert_allclose(found.values, expected.values, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_globe_in_degrees_to_points(method):
    rng = np.random.default_rng(0)
    lat, lon = np.arange(-88.0, 89, 8), np.arange(0.0, 360, 9)
    da = xr.DataArray(rng.normal(size=(lat.size, lon.size)), coords={"lat": lat, "lon": lon})
    target = regular(np.arange(-80.0, 80, 7), np.arange(-179.0, 180, 5.3))
    expected = regrid(da, target, method)
    np.testing.assert_allclose(regrid(da, plane_of(target), method), expected, atol=1e-12)


@pytest.mark.parametrize(("method", "slack"), [("bilinear", 3e-4), ("bicubic", 1e-6)])
def test_curvilinear_positions_give_what_the_projection_gives(method, slack):
    ds = lambert(26, 30, 40e3)
    values = smooth(*lambert_positions(ds.y.values[:, None], ds.x.values[None, :]))
    ds = lambert(26, 30, 40e3, values=values)
    target = regular(np.arange(35.0, 42, 0.4), np.arange(-102.0, -93, 0.4))
    expected = regrid(ds, target, method).t
    found = regrid(curvilinear(ds), target, method).t
    np.testing.assert_allclose(found, expected, atol=slack)
    truth = smooth(*np.meshgrid(target.lat, target.lon, indexing="ij"))
    np.testing.assert_allclose(found, truth, atol=5 * slack if method == "bicubic" else 3e-3)


def test_nearest_on_a_curvilinear_grid_is_the_nearest_centre():
    ds = lambert(12, 12, 60e3)
    target = regular(np.arange(36.5, 40, 0.3), np.arange(-100.0, -95.5, 0.3))
    found = regrid(curvilinear(ds), target, "nearest").t[0]
    lat, lon = lambert_positions(ds.y.values[:, None], ds.x.values[None, :])
    for i, j in [(0, 0), (5, 7), (11, 14)]:
        far = xd.grids.distances(lat, lon, target.lat.values[i], target.lon.values[j])
        assert found[i, j] == ds.t.values[0].ravel()[np.argmin(far)]


def test_curvilinear_globe_without_a_gap():
    lat, lon = np.arange(-87.5, 90, 5), np.arange(0.0, 360, 5)
    source = plane_of(regular(lat, lon))
    source["t"] = (
        ("j", "i"),
        np.cos(np.radians(source.lat.values)) * np.sin(np.radians(source.lon)).values,
    )
    target = regular(np.arange(-89.0, 90, 2), np.arange(-180.0, 180, 3))
    truth = np.cos(np.radians(target.lat)) * np.sin(np.radians(target.lon))
    for method in ("bilinear", "bicubic", "nearest", "conservative"):
        found = regrid(source, target, method).t
        assert np.isfinite(found).all()
        assert float(abs(found - truth).max()) < (0.05 if method != "bilinear" else 0.035)


def test_margin_and_coverage_of_curvilinear_sources():
    ds = curvilinear(lambert(10, 10, 50e3))
    edge = lambert_positions(np.array([-270e3, -280e3]), np.array([0.0, 0.0]))
    inside = xr.Dataset(coords={"lat": [edge[0][0]], "lon": [edge[1][0]]})
    found = regrid(ds, inside, "bilinear").t.values[:, 0, 0]
    np.testing.assert_allclose(found, ds.t.values[:, 0, 5], atol=1e-2)
    outside = xr.Dataset(coords={"lat": [edge[0][1]], "lon": [edge[1][1]]})
    with pytest.raises(GridError, match=r"reaches outside the source grid.*1 of 1 cells"):
        regrid(ds, outside, "bilinear")
    for method in METHODS:
        held = regrid(ds, outside, method, extrapolate="nearest").t.values[:, 0, 0]
        np.testing.assert_allclose(held, ds.t.values[:, 0, 5], atol=1e-2)
    far = regular([0.0, 1.0], [80.0, 81.0])
    for source in (ds, lambert(10, 10, 50e3)):
        with pytest.raises(GridError, match=r"4 of 4 cells, the first at latitude 0.*extrapolate"):
            regrid(source, far, "nearest")
        assert np.isfinite(regrid(source, far, "bilinear", extrapolate="nearest").t).all()


def test_missing_values_on_a_curvilinear_grid():
    ds = lambert(20, 20, 40e3)
    ds.t[0, 5:8, 5:8] = np.nan
    ds.t[1, 12, 12] = np.inf
    target = regular(np.arange(36.0, 41, 0.2), np.arange(-100.0, -95, 0.2))
    for method in METHODS:
        expected = regrid(ds, target, method).t
        found = regrid(curvilinear(ds), target, method).t
        both = np.isfinite(found) & np.isfinite(expected)
        assert float((np.isnan(found) != np.isnan(expected)).mean()) < 0.01
        assert 0 < int(np.isnan(found[0]).sum()) < 60
        if method != "nearest":
            assert float(abs(found - expected).where(both).quantile(0.99)) < 0.02
        assert float(found.max()) < 10


def test_fields_stay_lazy_and_labelled():
    ds = lambert()
    lazy = ds.assign(t=ds.t.chunk(time=1, y=5))
    found = regrid(lazy, FINE)
    assert isinstance(found.t.data, dask.array.Array)
    assert set(found.data_vars) == {"t"}
    xr.testing.assert_allclose(found, regrid(ds, FINE))
    swapped = regrid(ds.t.assign_coords(crs=ds.crs).transpose("x", "time", "y"), FINE)
    assert swapped.dims == ("lon", "time", "lat")
    xr.testing.assert_allclose(
        swapped.transpose(*found.t.dims).drop_vars("crs", errors="ignore"), found.t
    )
    onto = regrid(
        degrees(), lambert(4, 4).assign_coords(time=[0, 1]).drop_vars("t"), extrapolate="nearest"
    )
    assert onto.dims == ("time", "y", "x")
    assert set(onto.coords) == {"time", "y", "x", "crs"}
    assert onto.attrs["grid_mapping"] == "crs"
    assert find_projection(onto) is not None
    single = regrid(ds.astype("f4"), FINE).t
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found.t, atol=1e-5)


def test_between_two_projections():
    values = smooth(*cells_of(lambert(30, 30, 40e3)).positions)
    ds = lambert(30, 30, 40e3, values=values)
    wkt = CRS.from_user_input("+proj=stere +lat_0=90 +lon_0=-97.5 +R=6371229").to_wkt()
    y = -6.3e6 + 50e3 * np.arange(8)
    target = xr.DataArray(
        np.zeros((8, 8)),
        dims=("y", "x"),
        coords={"y": y, "x": 30e3 * np.arange(-4, 4), "spatial_ref": ((), 0, {"crs_wkt": wkt})},
    )
    found = regrid(ds, target).t
    np.testing.assert_allclose(found, smooth(*cells_of(target).positions), atol=1e-5)
    assert "spatial_ref" in found.coords


@pytest.mark.parametrize("kind", ["projected", "curvilinear"])
def test_conservative_keeps_the_mass(kind):
    source = lambert(12, 14, 40e3)
    source = curvilinear(source) if kind == "curvilinear" else source
    target = regular(np.arange(32.0, 45, 0.7), np.arange(-106.0, -89, 0.9))
    cells, wanted = cells_of(source, "The source grid"), cells_of(target, "The target grid")
    rings = [c.corners(pieces=_general._pieces(c)) for c in (cells, wanted)]
    flat = [r.reshape(-1, *r.shape[2:]) for r in rings]
    from xdownscale.core.sphere import polygon_areas
    from xdownscale.regridding._overlap import overlap_areas

    shared = overlap_areas(flat[0], flat[1], ("a", "b"))
    areas = polygon_areas(flat[0])
    np.testing.assert_allclose(shared.sum(axis=0), areas, rtol=1e-11)  # each source cell is used up
    found = regrid(source, target, "conservative", extrapolate="nearest", min_valid=0).t[0]
    covered = np.asarray(shared.sum(axis=1))
    mass = (found.values.ravel() * covered).sum()
    expected = (source.t.values[0].ravel() * areas).sum()
    np.testing.assert_allclose(mass, expected, rtol=1e-10)


def test_conservative_of_the_same_cells_as_the_separable_engine():
    da = degrees(30, 30)
    target = regular(np.arange(35.0, 43, 1.1), np.arange(-8.0, 10, 1.3))
    expected = regrid(da, target, "conservative")
    found = regrid(da, plane_of(target), "conservative")  # its sides are great circles
    np.testing.assert_allclose(found.values, expected.values, atol=1e-2)
    same = regrid(lambert(), lambert(), "conservative").t
    np.testing.assert_allclose(same, lambert().t, atol=1e-9)


def test_conservative_mean_of_four_cells():
    fine, coarse = lambert(8, 8, 10e3), lambert(4, 4, 20e3)
    coarse = coarse.assign_coords(y=coarse.y + 5e3, x=coarse.x + 5e3)
    fine, coarse = fine.assign_coords(y=fine.y + 10e3), coarse.assign_coords(y=coarse.y + 10e3)
    areas = cells_of(fine).areas()
    values = fine.t.values[0]
    total = (values * areas).reshape(4, 2, 4, 2).sum(axis=(1, 3))
    expected = total / areas.reshape(4, 2, 4, 2).sum(axis=(1, 3))
    found = regrid(fine, coarse, "conservative").t.values[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_conservative_of_boolean_holes():
    ds = curvilinear(lambert(20, 20, 20e3))
    ds.t[0, :10] = np.nan
    target = regular(np.arange(37.5, 39.6, 0.5), np.arange(-98.5, -96.6, 0.5))
    found = regrid(ds, target, "conservative").t
    assert 0 < int(np.isnan(found[0]).sum()) < found[0].size
    assert not np.isnan(found[1]).any()
    few = regrid(ds, target, "conservative", min_valid=0.0).t
    assert int(np.isnan(few[0]).sum()) <= int(np.isnan(found[0]).sum())


def test_what_cannot_be_regridded():
    ds = lambert()
    with pytest.raises(GridError, match=r"names the grid mapping 'crs'"):
        regrid(ds.t, FINE)
    hole = curvilinear(ds).assign_coords(lat=curvilinear(ds).lat.where(ds.y.values[:, None] > 0))
    with pytest.raises(GridError, match=r"The source grid has .* without a position: 'lat'"):
        regrid(hole, FINE, "bilinear")
    with pytest.raises(GridError, match=r"The target grid has .* without a position: 'lat'"):
        regrid(ds, hole, "bilinear")
    with pytest.raises(GridError, match=r"needs cells with a width, and 'y' of the source grid"):
        regrid(ds.isel(y=[7]), ds.isel(y=[7]), "conservative")
    wide = xr.Dataset(
        {"t": (("lat", "lon"), np.zeros((2, 2)))}, coords={"lat": [-45.0, 45], "lon": [0.0, 180]}
    )
    with pytest.raises(GridError, match="cells that are wider than 103 degrees"):
        regrid(wide, ds, "conservative")


def test_weights_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDOWNSCALE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(_cache, "_SMALL", 0)
    made = []
    original = _general._weights
    monkeypatch.setattr(_general, "_weights", lambda *a: made.append(1) or original(*a))
    ds = curvilinear(lambert(9, 9))
    _cache.forget()
    first = {m: regrid(ds, ds, m) for m in ("bicubic", "conservative")}
    assert len(made) == len(list(tmp_path.glob("*.npz"))) == 2
    for m, expected in first.items():
        xr.testing.assert_identical(regrid(ds, ds, m), expected)  # from memory
    _cache.forget()
    for m, expected in first.items():
        xr.testing.assert_identical(regrid(ds, ds, m), expected)  # from disk
    assert len(made) == 2
    _cache.forget()
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:-100])
    for m, expected in first.items():
        xr.testing.assert_identical(regrid(ds, ds, m), expected)  # damaged: computed anew
    assert len(made) == 4
    _cache.forget()
    regrid(ds, ds.assign_coords(lat=ds.lat + 1e-9), "bilinear", extrapolate="nearest")
    assert len(made) == 5
    monkeypatch.setattr(_cache, "_DISK", 1)
    regrid(ds, ds.assign_coords(lat=ds.lat + 2e-9), "bilinear", extrapolate="nearest")
    assert len(list(tmp_path.glob("*.npz"))) == 1  # the oldest go first
    monkeypatch.setenv("XDOWNSCALE_WEIGHTS", "")
    assert _cache.weights_folder() is None
    monkeypatch.delenv("XDOWNSCALE_WEIGHTS")
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(tmp_path))
    assert _cache.weights_folder() == tmp_path / "weights"
    monkeypatch.setenv("XDOWNSCALE_WEIGHTS", str(tmp_path / "file" / "x"))
    (tmp_path / "file").write_text("")
    _cache.forget()
    xr.testing.assert_identical(regrid(ds, ds), first["bicubic"])  # no folder: nothing is kept


def test_static_fields_are_averaged_where_they_are_finer():
    fine = lambert(24, 24, 10e3, values=np.random.default_rng(0).normal(size=(24, 24)))
    coarse = lambert(4, 4, 40e3)
    for source in (fine, curvilinear(fine)):
        found = xd.regridding.regrid_static(source, coarse).t
        xr.testing.assert_identical(found, regrid(source, coarse, "conservative").t)
    back = xd.regridding.regrid_static(coarse, fine, extrapolate="nearest").t
    xr.testing.assert_identical(back, regrid(coarse, fine, "bilinear", extrapolate="nearest").t)
