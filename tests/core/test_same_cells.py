"""Same cells: one comparison, relative to the cell, in any order and longitude convention."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core import alignment, grids
from xdownscale.core.errors import GridError, ModelMismatchError

LAT = np.arange(-20.0, 21.0, 10.0)
LON = np.arange(0.0, 360.0, 10.0)


def rectilinear(lat=LAT, lon=LON, names=("lat", "lon")):
    values = 1000 * np.asarray(lat, float)[:, None] + np.mod(lon, 360.0)
    return xr.DataArray(values, coords=dict(zip(names, (lat, lon), strict=True)), dims=names)


def curvilinear(cell=0.01, shift=0.0, dtype=float):
    y, x = np.meshgrid(np.arange(6.0), np.arange(7.0), indexing="ij")
    lat = (50 + cell * y + 0.2 * cell * x).astype(dtype)
    lon = (200 + cell * x - 0.2 * cell * y + shift).astype(dtype)
    coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    return xr.DataArray(10 * y + x, dims=("y", "x"), coords=coords)


def rolled(da):
    lon = np.mod(da.lon + 180.0, 360.0) - 180.0
    return da.assign_coords(lon=lon).sortby("lon")


@pytest.mark.parametrize(
    "other",
    [
        rolled(rectilinear()),
        rectilinear(LAT[::-1], LON),
        rectilinear(LAT, LON[::-1]),
        rectilinear(LAT, np.roll(LON, 5)),
        rectilinear(LAT + 5e-3, LON),
        rectilinear(LAT, LON.astype("float32") + 360),
        rectilinear(names=("latitude", "longitude")).T,
    ],
)
def test_one_grid_in_many_forms(other):
    one = rectilinear()
    assert grids.same_grid(one, other)
    assert grids.same_grid(other, one)
    turned = alignment.turn(other, one).transpose("lat", "lon")
    np.testing.assert_allclose(turned, one, atol=10)
    xr.testing.assert_identical(turned.lon, one.lon)


@pytest.mark.parametrize(
    "other",
    [
        rectilinear(LAT + 0.02, LON),
        rectilinear(LAT, LON + 0.02),
        rectilinear(LAT, LON[:-1]),
        rectilinear(LAT, np.arange(0.0, 360.0, 5.0)),
        rectilinear(np.append(LAT, 30.0), LON),
    ],
)
def test_other_cells(other):
    one = rectilinear()
    assert not grids.same_grid(one, other)
    assert not grids.same_grid(other, one)
    with pytest.raises(GridError, match=r"grids differ.*regrid"):
        alignment.turn(other, one)


@pytest.mark.parametrize("cell", [0.005, 0.1, 2.0])
def test_what_is_the_same_is_relative_to_the_cell(cell):
    one = rectilinear(20 + cell * np.arange(5), 300 + cell * np.arange(6))
    tenth = one.assign_coords(lon=one.lon + cell / 8)
    hair = one.assign_coords(lon=one.lon + cell / 4000)
    assert grids.same_grid(one, hair)
    assert grids.same_grid(one, one.assign_coords(lon=one.lon.astype("float32")))
    assert not grids.same_grid(one, tenth)
    plane = curvilinear(cell)
    assert grids.same_grid(plane, curvilinear(cell, 360.0))
    assert grids.same_grid(plane, curvilinear(cell, dtype="float32"))
    assert not grids.same_grid(plane, curvilinear(cell, cell / 4))


@pytest.mark.parametrize("y", [1, -1])
@pytest.mark.parametrize("x", [1, -1])
def test_curvilinear_cells_whose_rows_or_columns_are_reversed(y, x):
    one = curvilinear()
    other = one.isel(y=slice(None, None, y), x=slice(None, None, x))
    xr.testing.assert_identical(alignment.turn(other, one), one)


def test_one_grid_in_one_and_in_two_dimensions():
    one = rectilinear()
    lat, lon = np.meshgrid(LAT, LON, indexing="ij")
    coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    other = xr.DataArray(one.values, dims=("y", "x"), coords=coords)
    xr.testing.assert_identical(alignment.turn(other, one).drop_attrs(), one)


def test_two_meridians_across_greenwich():
    one = rectilinear(lon=np.array([359.9, 0.1]))
    assert grids.same_grid(one, rectilinear(lon=np.array([-0.1, 0.1])))
    assert not grids.same_grid(one, rectilinear(lon=np.array([-0.1, 0.2])))


def test_part_of_a_grid():
    one = rectilinear(LAT[1:3], np.array([-20.0, -10.0, 0.0]))
    rows, columns = grids.find_cells(one, rectilinear())
    np.testing.assert_array_equal(rows, [1, 2])
    np.testing.assert_array_equal(columns, [34, 35, 0])
    assert (grids.find_cells(rectilinear(lon=LON + 5), one)[1] == -1).all()


# a model of a global record


def records(days=40):
    rng = np.random.default_rng(0)
    time = pd.date_range("2000-01-01", periods=days)
    coarse = rectilinear(np.arange(-20.0, 21.0, 4.0), np.arange(0.0, 360.0, 4.0))
    coarse = coarse.copy(data=rng.normal(size=coarse.shape))
    coarse = (coarse + xr.DataArray(rng.normal(size=days), {"time": time})).transpose("time", ...)
    coarse = coarse.rename("t")
    lat = np.arange(-3.5, 4.0, 0.5)
    lon = np.arange(-8.0, 8.0, 0.5)
    fine = xd.regrid(coarse, rectilinear(lat, lon), "bilinear")
    return coarse, fine + 0.1 * rng.normal(size=fine.shape)


@pytest.fixture(scope="module")
def model():
    coarse, fine = records()
    config = xd.preset(
        "fast",
        network={"channels": (8, 8), "encoder_channels": (8, 8)},
        training={"epochs": 1, "pretrain_epochs": 1, "mean_epochs": 1},
        data={"crop": 16},
    )
    return coarse.downscale.fit(fine.rename("t"), preset=config, progress=False, seed=0)


@pytest.mark.parametrize(
    "change",
    [
        rolled,
        lambda da: rolled(da).chunk({"time": 20}),
        lambda da: da.isel(lat=slice(None, None, -1)).rename(lat="latitude"),
        lambda da: da.assign_coords(lat=da.lat + 5e-4, lon=(da.lon + 5e-4).astype("float32")),
    ],
)
def test_predict_from_the_same_cells_is_the_same_bit_for_bit(model, change):
    coarse, _ = records()
    want = coarse.downscale.predict(model, time=coarse.time[20:22], seed=1)
    got = change(coarse).downscale.predict(model, time=coarse.time[20:22], seed=1)
    np.testing.assert_array_equal(got, want)


def test_predict_refuses_other_cells(model):
    coarse, _ = records()
    with pytest.raises(ModelMismatchError, match="another grid"):
        coarse.assign_coords(lon=coarse.lon + 1).downscale.predict(model)


def test_drivers_of_one_grid_in_two_orders():
    coarse, fine = records(30)
    config = xd.preset(
        "fast",
        network={"channels": (8, 8), "encoder_channels": (8, 8)},
        training={"epochs": 1, "pretrain_epochs": 1, "mean_epochs": 1},
        data={"crop": 16},
    )
    found = []
    for turned in (coarse, rolled(coarse)):
        other = (2 * turned).rename(lat="latitude", lon="longitude")
        both = xr.Dataset({"t": coarse, "u": other})
        fitted = both.downscale.fit(
            fine.rename("t"), preset=config, progress=False, drivers={"t": "t"}, seed=0
        )
        found.append(both.downscale.predict(fitted, time=coarse.time[20:22], seed=1))
    np.testing.assert_array_equal(found[0], found[1])
