"""Elevation, area-averaged: closed forms, another library's average, rasters in the layout."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import published_files as published
import xdownscale as xd
from projected import ROTATED, curvilinear, lambert, rotated
from xdownscale.core.cells import cells_of
from xdownscale.core.errors import (
    DataError,
    GridError,
    MissingPackageError,
    OptionError,
    StorageError,
)
from xdownscale.core.grids import same_grid
from xdownscale.datasets import _rasters, open_elevation
from xdownscale.datasets import elevation as room
from xdownscale.preprocessing.static_features import static_fields
from xdownscale.regridding import regrid

STEP = 1 / 40  # degrees: 10 pixels along a cell of a quarter degree


def heights(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(-50, 3000, (rows, columns)).astype(np.int16)


def grid_of(lat, lon):
    return xr.Dataset(coords={"lat": lat, "lon": lon})


@pytest.fixture
def tile(tmp_path):
    """A GeoTIFF of 40-46 E, 10-14 N, and the pixels in it."""
    values = heights(160, 240)
    return published.write_gmted(tmp_path / "10n040e_mn.tif", values, 40.0, 14.0, STEP), values


QUARTER = grid_of(np.arange(10.625, 13.5, 0.25), np.arange(40.625, 45.5, 0.25))


def by_hand(values, north=14.0, west=40.0):
    """Mean over blocks of 10 x 10 pixels, weighted by the sines of their edges."""
    edges = np.sin(np.deg2rad(north - STEP * np.arange(values.shape[0] + 1)))
    weight = -np.diff(edges)[:, None] * np.ones(values.shape[1])
    blocks = [
        a.reshape(a.shape[0] // 10, 10, -1, 10).sum((1, 3)) for a in (values * weight, weight)
    ]
    lat = north - 0.125 - 0.25 * np.arange(values.shape[0] // 10)
    lon = west + 0.125 + 0.25 * np.arange(values.shape[1] // 10)
    return xr.DataArray(blocks[0] / blocks[1], {"lat": lat, "lon": lon}, dims=("lat", "lon"))


def test_the_area_mean_of_a_geotiff(tile):
    path, values = tile
    found = open_elevation(path, QUARTER)
    expected = by_hand(values).sel(lat=QUARTER.lat, lon=QUARTER.lon, method="nearest")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)
    assert found.dtype == np.float32
    assert found.dims == ("lat", "lon")
    xr.testing.assert_identical(found.lat, QUARTER.lat)


def test_attributes_are_cf(tile):
    found = open_elevation(tile[0], QUARTER)
    assert found.name == "elevation"
    assert found.attrs["standard_name"] == "surface_altitude"
    assert found.attrs["units"] == "m"
    assert found.attrs["cell_methods"] == "area: mean"
    assert "10n040e_mn.tif" in found.attrs["history"]


def test_it_is_what_regrid_static_gives(tile):
    path, values = tile
    lat, lon = 14 - STEP * (np.arange(160) + 0.5), 40 + STEP * (np.arange(240) + 0.5)
    field = xr.DataArray(values.astype(float), {"lat": lat, "lon": lon})
    grid = grid_of(np.arange(10.4, 13.6, 0.13), np.arange(40.4, 45.6, 0.17))
    expected = xd.regridding.regrid_static(field, grid)
    np.testing.assert_allclose(open_elevation(path, grid).values, expected.values, rtol=1e-5)


def test_a_grid_finer_than_the_pixels_is_interpolated(tile):
    path, values = tile
    lat, lon = 14 - STEP * (np.arange(160) + 0.5), 40 + STEP * (np.arange(240) + 0.5)
    fine = grid_of(np.arange(11, 11.5, 0.01), np.arange(42, 42.5, 0.01))
    field = xr.DataArray(values.astype(float), {"lat": lat, "lon": lon})
    found = open_elevation(path, fine)
    np.testing.assert_allclose(
        found.values, field.interp(lat=fine.lat, lon=fine.lon).values, rtol=1e-4, atol=0.01
    )
    assert "cell_methods" not in found.attrs


@pytest.mark.parametrize(("pixels", "cells"), [(1_000, 256), (2_000, 3), (50_000, 5)])
def test_tiles_leave_no_trace(pixels, cells, tile, monkeypatch):
    whole = open_elevation(tile[0], QUARTER)
    monkeypatch.setattr(room, "_TILE", pixels)
    monkeypatch.setattr(room, "_CELLS", cells)
    np.testing.assert_allclose(open_elevation(tile[0], QUARTER).values, whole.values, rtol=1e-6)


def test_a_raster_is_read_in_windows(tile, monkeypatch):
    """So that it need not fit into memory."""
    taken = []
    made = _rasters._tiff_reader

    def counting(*args):
        read = made(*args)

        def counted(rows, columns):
            taken.append((rows.stop - rows.start) * (columns.stop - columns.start))
            return read(rows, columns)

        return counted

    monkeypatch.setattr(_rasters, "_tiff_reader", counting)
    monkeypatch.setattr(room, "_TILE", 2_500)
    open_elevation(tile[0], QUARTER)
    assert len(taken) == 15
    assert max(taken) < 160 * 240 / 4


@pytest.mark.parametrize("order", ["north-up", "south-up"])
@pytest.mark.parametrize("dims", [("lat", "lon"), ("lon", "lat")])
def test_any_order_of_the_grid(order, dims, tile):
    grid = QUARTER if order == "south-up" else QUARTER.isel(lat=slice(None, None, -1))
    template = xr.DataArray(
        np.zeros([grid.sizes[d] for d in dims]), {d: grid[d] for d in dims}, dims=dims
    )
    found = open_elevation(tile[0], template)
    assert found.dims == ("lat", "lon")
    xr.testing.assert_allclose(found.sortby("lat"), open_elevation(tile[0], QUARTER))


@pytest.mark.parametrize("shift", [-360, 0, 360])
def test_longitudes_of_any_convention(shift, tile):
    grid = QUARTER.assign_coords(lon=QUARTER.lon + shift)
    found = open_elevation(tile[0], grid)
    np.testing.assert_array_equal(found.values, open_elevation(tile[0], QUARTER).values)
    np.testing.assert_array_equal(found.lon, grid.lon)


@pytest.fixture(scope="module")
def globe(tmp_path_factory):
    """A global GeoTIFF of one degree, as GMTED2010 from 90S to 84N."""
    lat, lon = 84 - 0.5 - np.arange(174), -180 + 0.5 + np.arange(360)
    values = np.round(1000 + 500 * np.cos(np.deg2rad(lon)) * np.cos(np.deg2rad(lat))[:, None])
    folder = tmp_path_factory.mktemp("globe")
    path = published.write_gmted(
        folder / "mn30_grd.tif", values.astype(np.int16), -180.0, 84.0, 1.0
    )
    return path, xr.DataArray(values, {"lat": lat, "lon": lon}, dims=("lat", "lon"))


@pytest.mark.parametrize("west", [-200.0, -20.0, 150.0, 160.0, 340.0, 355.0])
def test_grids_across_greenwich_and_the_dateline(west, globe):
    path, pixels = globe
    grid = grid_of(np.arange(-10, 20, 5.0), west + np.arange(0, 60, 5.0))
    found = open_elevation(path, grid)
    for k, (y, x) in enumerate([(0, 0), (3, 7), (5, 11)]):
        lat, lon = float(grid.lat[y]), float(grid.lon[x])
        apart = np.abs((pixels.lon - lon + 180) % 360 - 180)
        cell = pixels.where((apart < 2.6) & (abs(pixels.lat - lat) < 2.6))
        assert float(found[y, x]) == pytest.approx(float(cell.mean()), abs=8), k


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(west=st.floats(-400, 400), step=st.sampled_from([2.0, 3.0, 7.5]), south=st.floats(-89, 40))
def test_the_area_mean_stays_between_the_extremes(west, step, south, globe):
    path, pixels = globe
    grid = grid_of(south + step * np.arange(5), west + step * np.arange(6))
    found = open_elevation(path, grid)
    assert float(found.min()) >= float(pixels.min())
    assert float(found.max()) <= float(pixels.max())
    assert not np.isnan(found).any()


def test_the_whole_globe_keeps_its_mean(globe):
    path, pixels = globe
    grid = grid_of(np.arange(-87, 84, 6.0), np.arange(-177, 180, 6.0))
    found = open_elevation(path, grid)
    weights = xd.grids.area(grid)
    kept = pixels.sel(lat=slice(84, -90))
    expected = kept.weighted(np.cos(np.deg2rad(kept.lat))).mean()
    assert float(found.weighted(weights).mean()) == pytest.approx(float(expected), rel=1e-3)


# missing pixels


def test_missing_pixels_are_left_out_or_filled(tmp_path):
    values = np.full((160, 240), 600, np.int16)
    values[60:70, 60:68] = -32768  # the cell at 12.375 N, 41.625 E: 8 of 10 columns
    values[70:80, 60:62] = -32768  # the cell south of it: 2 of 10
    path = published.write_gmted(tmp_path / "sea.tif", values, 40.0, 14.0, STEP)
    cell = {"lat": 12.375, "lon": 41.625}
    south = {"lat": 12.125, "lon": 41.625}
    plain = open_elevation(path, QUARTER)
    assert np.isnan(plain.sel(cell))
    assert float(plain.sel(south)) == 600
    sea = open_elevation(path, QUARTER, fill=0)
    assert float(sea.sel(cell)) == pytest.approx(120)
    assert float(sea.sel(south)) == pytest.approx(480)
    strict = open_elevation(path, QUARTER, min_valid=0.9)
    assert np.isnan(strict).sum() == 2
    assert float(open_elevation(path, QUARTER, min_valid=0.1).sel(cell)) == 600


def test_a_file_without_a_nodata_value(tmp_path):
    values = np.zeros((160, 240), np.int16)
    path = published.write_gmted(tmp_path / "sea.tif", values, 40.0, 14.0, STEP, nodata=None)
    assert (open_elevation(path, QUARTER) == 0).all()


# netCDF


def netcdf(path, values, lat, lon, name="elevation", encoding=None, **attrs):
    ds = xr.Dataset(
        {name: (("latitude", "longitude"), values, attrs)},
        coords={
            "latitude": ("latitude", lat, {"units": "degrees_north"}),
            "longitude": ("longitude", lon, {"units": "degrees_east"}),
        },
    )
    ds.to_netcdf(path, encoding={name: encoding or {}})
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("start", [-180.0, 0.0])
def test_netcdf_of_any_convention(packed, start, tmp_path):
    lat, lon = np.arange(-89.5, 90), start + 0.5 + np.arange(360)
    values = 1000 + 500 * np.cos(np.deg2rad(lon)) * np.cos(np.deg2rad(lat))[:, None]
    values[0, 0] = np.nan
    encoding = {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -32768} if packed else {}
    path = netcdf(tmp_path / "gmted.nc", values, lat, lon, units="m", encoding=encoding)
    grid = grid_of(np.arange(-10, 20, 5.0), np.arange(150, 210, 5.0))
    field = xr.DataArray(values, {"lat": lat, "lon": lon}, dims=("lat", "lon"))
    expected = xd.regridding.regrid_static(field, grid)
    np.testing.assert_allclose(open_elevation(path, grid).values, expected, atol=0.06)


def test_a_meridian_that_stands_twice(tmp_path):
    lat, lon = np.arange(-88.0, 90, 4), np.arange(-180, 181, 4.0)
    values = np.cos(np.deg2rad(lon)) + np.sin(np.deg2rad(lat))[:, None]
    path = netcdf(tmp_path / "twice.nc", values, lat, lon)
    grid = grid_of(np.arange(-20, 21, 10.0), np.arange(140, 231, 10.0))
    assert not np.isnan(open_elevation(path, grid)).any()


def test_the_real_elevation(real_data):
    """Cells of half a degree around the highest ground and around the lowest."""
    path = real_data / "elevation_5arcmin_global.nc"
    himalaya = grid_of(np.arange(27.25, 30, 0.5), np.arange(84.25, 90, 0.5))
    found = open_elevation(path, himalaya, variable="elevation")
    assert 4000 < float(found.max()) < 7500
    with xr.open_dataset(path) as ds:
        field = ds.elevation.sel(lat=slice(31, 26), lon=slice(83, 91)).astype(float).load()
    expected = xd.regridding.regrid_static(field, himalaya)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4)


def test_it_goes_into_fit_as_a_static_field(tile):
    from xdownscale.preprocessing.static_features import static_fields

    elevation = open_elevation(tile[0], QUARTER)
    template = xr.zeros_like(elevation)
    layers = static_fields(elevation, template)
    assert layers.shape == (3, *elevation.shape)
    assert layers[2].min() == -1
    assert layers[2].max() == 1


# what bad input gets


def tiff(**options):
    def build(folder):
        values = heights(160, 240)
        where = {"west": 40.0, "north": 14.0, "step": STEP}
        return published.write_gmted(folder / "map.tif", values, **where, **options)

    return build


def spoilt(spoil, build=None):
    def make(folder):
        path = (build or tiff())(folder)
        spoil(path)
        return path

    return make


def nc(**options):
    def build(folder):
        lat, lon = np.arange(9.5, 15, 0.1), np.arange(39.5, 47, 0.1)
        values = np.ones((lat.size, lon.size))
        options.setdefault("units", "m")
        return netcdf(folder / "map.nc", values, lat, lon, **options)

    return build


def two_fields(folder):
    path = nc()(folder)
    with xr.open_dataset(path) as ds:
        both = ds.load().assign(slope=ds.elevation)
    both.to_netcdf(path)
    return path


def with_months(folder):
    path = nc()(folder)
    with xr.open_dataset(path) as ds:
        more = ds.load().expand_dims(month=2)
    more.to_netcdf(path)
    return path


def turned():
    from rasterio.transform import Affine

    return Affine(STEP, 0.01, 40.0, 0.01, -STEP, 14.0)


def plain_tiff(folder):
    import rasterio

    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        return tiff(crs="EPSG:4326", transform=rasterio.transform.IDENTITY)(folder)


BAD = [
    pytest.param(lambda f: f / "no.tif", {}, StorageError, "no.tif does not exist", id="not-there"),
    pytest.param(lambda f: f, {}, StorageError, "does not exist or is no file", id="folder"),
    pytest.param(spoilt(lambda p: p.write_bytes(b"")), {}, DataError, r"map.tif is empty \(0 bytes",
                 id="tiff-empty"),
    pytest.param(spoilt(lambda p: p.write_text(published.LOGIN_PAGE)), {}, DataError,
                 "map.tif is an HTML page, not a GeoTIFF file", id="tiff-html"),
    pytest.param(spoilt(published.truncate), {}, DataError,
                 "map.tif is damaged", id="tiff-truncated"),
    pytest.param(spoilt(lambda p: p.write_bytes(b"II*\0" + bytes(20))), {}, DataError,
                 "map.tif is damaged", id="tiff-header-alone"),
    pytest.param(spoilt(lambda p: p.write_bytes(b"PK\x03\x04" + bytes(99))), {}, DataError,
                 "map.tif is no GeoTIFF file but a zip archive", id="tiff-zip"),
    pytest.param(tiff(crs="EPSG:32638"), {}, GridError, "EPSG:32638.*gdalwarp", id="metres"),
    pytest.param(tiff(crs=None), {}, GridError, "coordinate system None", id="no-crs"),
    pytest.param(tiff(transform=turned()), {}, GridError, "is turned", id="turned"),
    pytest.param(plain_tiff, {}, GridError, "corners are not stated", id="no-corners"),
    pytest.param(tiff(count=3), {}, DataError, "has 3 bands", id="bands"),
    pytest.param(tiff(), {"fill": "sea"}, OptionError, "fill is 'sea'", id="fill-text"),
    pytest.param(tiff(), {"fill": np.nan}, OptionError, "fill is nan", id="fill-nan"),
    pytest.param(tiff(), {"min_valid": 2.0}, OptionError, "min_valid", id="min-valid"),
    pytest.param(spoilt(lambda p: p.write_bytes(b""), nc()), {}, DataError, "map.nc is empty",
                 id="netcdf-empty"),
    pytest.param(spoilt(lambda p: p.write_text(published.LOGIN_PAGE), nc()), {}, DataError,
                 "map.nc is an HTML page", id="netcdf-html"),
    pytest.param(spoilt(published.truncate, nc()), {}, DataError, "map.nc is truncated",
                 id="netcdf-truncated"),
    pytest.param(two_fields, {}, DataError, "several fields.*elevation, slope.*variable=",
                 id="two-fields"),
    pytest.param(nc(), {"variable": "height"}, DataError, "no field 'height'; it has elevation",
                 id="no-such-field"),
    pytest.param(with_months, {}, DataError, "has the dimensions.*month", id="months"),
    pytest.param(nc(units="feet"), {}, DataError, "is in 'feet'; elevation must be in m",
                 id="feet"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "options", "error", "message"), BAD)
def test_bad_input(build, options, error, message, tmp_path):
    with pytest.raises(error, match=f"(?s){message}"):
        open_elevation(build(tmp_path), QUARTER, **options)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (grid_of(np.arange(5, 9, 0.5), QUARTER.lon.values),
         "8 of the grid's 8 latitudes, which run from 5 to 8.5, lie beyond map.tif"),
        (grid_of(QUARTER.lat.values, np.arange(50, 55, 0.5)),
         "10 of the grid's 10 longitudes.*spans 40 to 46"),
        (grid_of(QUARTER.lat.values, np.arange(35, 45, 0.5)), "10 of the grid's 20 longitudes"),
        (xr.Dataset(coords={n: (("y", "x"), np.eye(2)) for n in ("lat", "lon")}),
         "4 of the grid's 4 latitudes, which run from 0 to 1, lie beyond map.tif"),
    ],
    ids=["south", "east", "half", "curvilinear"],
)  # fmt: skip
def test_grids_that_it_does_not_cover(grid, message, tmp_path):
    with pytest.raises(GridError, match=message):
        open_elevation(tiff()(tmp_path), grid)


def test_a_file_without_a_value_on_the_grid(tmp_path):
    values = np.full((160, 240), -32768, np.int16)
    path = published.write_gmted(tmp_path / "sea.tif", values, 40.0, 14.0, STEP)
    with pytest.raises(DataError, match=r"sea.tif has no value on the grid.*fill=0"):
        open_elevation(path, QUARTER)


def test_a_geotiff_without_rasterio(monkeypatch, tmp_path):
    path = tiff()(tmp_path)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    message = r"Reading a GeoTIFF needs the package 'rasterio'.*xarray-downscale\[geo\]"
    with pytest.raises(MissingPackageError, match=message):
        open_elevation(path, QUARTER)
    assert open_elevation(nc()(tmp_path), QUARTER).shape == (12, 20)


class TestGridsOfOtherKinds:
    """Against the whole raster regridded at once, and a plane in latitude and longitude."""

    @staticmethod
    def raster(tmp_path, step=0.1):
        lat, lon = np.arange(30.05, 48, step), np.arange(-108.0, -86, step)
        height = 1000 + 10 * lat[:, None] + 5 * lon[None, :]
        ds = xr.Dataset({"z": (("lat", "lon"), height, {"units": "m"})}, {"lat": lat, "lon": lon})
        ds.to_netcdf(tmp_path / "map.nc")
        return tmp_path / "map.nc", ds.z

    @pytest.mark.parametrize("kind", ["lambert", "rotated", "curvilinear"])
    @pytest.mark.parametrize("tile", [1000, 250_000])
    def test_means_over_cells(self, kind, tile, tmp_path, monkeypatch):
        grid = lambert(ny=14, nx=16, step=50e3)
        if kind == "curvilinear":
            grid = curvilinear(grid)
        if kind == "rotated":  # far away: moved over the raster
            turned = {
                **ROTATED,
                "grid_north_pole_latitude": 51.0,
                "grid_north_pole_longitude": 82.0,
            }
            grid = rotated(ny=14, nx=16)
            grid["pole"] = grid.pole.assign_attrs(turned)
        path, raster = self.raster(tmp_path)
        monkeypatch.setattr(room, "_TILE_OF_POLYGONS", tile)
        found = open_elevation(path, grid)
        assert found.attrs["cell_methods"] == "area: mean"
        lat, lon = cells_of(grid).positions
        np.testing.assert_allclose(found, 1000 + 10 * lat + 5 * lon, atol=0.5)
        whole = regrid(raster, grid.isel(time=0), "conservative")
        np.testing.assert_allclose(found, whole, atol=0.01)
        assert same_grid(found, grid.isel(time=0))

    def test_smaller_cells_are_interpolated(self, tmp_path):
        grid = lambert(ny=14, nx=16, step=2e3)
        found = open_elevation(self.raster(tmp_path)[0], grid)
        lat, lon = cells_of(grid).positions
        np.testing.assert_allclose(found, 1000 + 10 * lat + 5 * lon, atol=1e-3)

    def test_it_is_the_static_field_of_a_fit(self, tmp_path):
        grid = lambert(ny=14, nx=16, step=50e3)
        found = open_elevation(self.raster(tmp_path)[0], grid)
        layers = static_fields(found, xd.grids.with_positions(grid).isel(time=0).t)
        assert layers.shape == (3, 14, 16)

    def test_a_projected_grid_beyond_the_raster_is_refused(self, tmp_path):
        with pytest.raises(GridError, match=r"lie beyond map\.nc"):
            open_elevation(self.raster(tmp_path)[0], lambert(ny=14, nx=40, step=150e3))
