"""Records from other kinds of files: what was paid for can be written and saved, as it is."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from records import make_pair
from xdownscale.core.errors import DataError, GridError, XDownscaleWarning

COARSE, FINE = (ds.t for ds in make_pair(60))
TIME = COARSE.time[40:43]


def fit(coarse, fine, **options):
    given = {"preset": "dressed", "progress": False, "pairing": "paired", "seed": 0}
    return xd.fit(coarse, fine, **(given | options))


@pytest.fixture(scope="module")
def expected():
    """Fields of the plain record: labels must not change a value."""
    return xd.predict(COARSE, fit(COARSE, FINE), time=TIME, realizations=2).values


def from_zarr_2(da, folder):
    da.to_dataset().to_zarr(folder / "old.zarr", zarr_format=2)
    return xr.open_zarr(folder / "old.zarr").t


def timed(da, **attrs):
    return da.assign_coords(time=da.time.assign_attrs(attrs))


RECORDS = {
    "zarr 2": lambda folder: (COARSE, from_zarr_2(FINE, folder)),
    "coarse zarr 2": lambda folder: (from_zarr_2(COARSE, folder), FINE),
    "nameless": lambda _: (COARSE, FINE.rename(None)),
    "both nameless": lambda _: (COARSE.rename(None), FINE.rename(None)),
    "coarse with a slash": lambda _: (COARSE.rename("a/b"), FINE.rename(None)),
    "units of time": lambda _: (COARSE, timed(FINE, units="days since 1990-01-01", calendar="x")),
    "units of coarse time": lambda _: (timed(COARSE, units="days since 1990-01-01"), FINE),
    "bytes": lambda _: (COARSE, FINE.assign_attrs(source=b"model", none=None, flag=True)),
    "stamps": lambda _: (COARSE, FINE.assign_attrs(a=pd.Timestamp("2000"), b=datetime.date.min)),
    "numbers as names": lambda _: (COARSE, FINE.assign_attrs({5: "a", "": "b", "a/b": 1})),
    "fill value": lambda _: (COARSE, FINE.assign_attrs(_FillValue=np.nan, missing_value=np.nan)),
    "bytes of latitude": lambda _: (
        COARSE,
        FINE.assign_coords(lat=FINE.lat.assign_attrs(a=b"b", c=None, d=pd.Timestamp("2000"))),
    ),
    "reference time": lambda _: (
        COARSE,
        FINE.assign_coords(ref=((), np.datetime64("2000", "ns"), {"units": "days since 1990"})),
    ),
    "bytes as a coordinate": lambda _: (
        COARSE,
        FINE.assign_coords(name=("lat", np.full(FINE.lat.size, b"a"))),
    ),
    "scalar realization": lambda _: (COARSE, FINE.assign_coords(realization=3)),
}


@pytest.mark.filterwarnings("ignore:The data type .* does not have a Zarr V3 specification")
@pytest.mark.parametrize("kind", RECORDS)
def test_generated_fields_can_be_written_and_saved(kind, expected, tmp_path):
    coarse, fine = RECORDS[kind](tmp_path)
    model = fit(coarse, fine)
    asked = {"time": TIME, "realizations": 2}
    maps = xd.predict(coarse, model, **asked)
    np.testing.assert_array_equal(maps.values, expected)

    model.save(tmp_path / "m.xd")
    again = xd.predict(coarse, xd.load(tmp_path / "m.xd"), **asked)
    xr.testing.assert_identical(again, maps)
    written = {"_FillValue", "units", "dtype"}  # of coordinates and times, as CF wants them
    assert all(set(v.encoding) <= written for v in maps.coords.variables.values())

    maps.to_netcdf(tmp_path / "m.nc")
    maps.to_zarr(tmp_path / "m2.zarr", zarr_format=2)
    lazy = xd.predict(coarse.chunk(), model, **asked, chunks=2)
    lazy.to_zarr(tmp_path / "m3.zarr", zarr_format=3, consolidated=False)
    for found in (
        xr.open_dataset(tmp_path / "m.nc"),
        xr.open_zarr(tmp_path / "m2.zarr"),
        xr.open_zarr(tmp_path / "m3.zarr", consolidated=False),
        xd.predict_to_zarr(model, coarse, tmp_path / "s.zarr", progress=False, **asked),
    ):
        only = next(da for da in found.data_vars.values() if da.ndim == 4)
        np.testing.assert_array_equal(only.values, expected)


def test_a_nameless_record_takes_the_name_of_its_driver_in_a_store(tmp_path):
    model = fit(COARSE.rename("t2m"), FINE.rename(None))
    ds = xd.predict_to_zarr(model, COARSE, tmp_path / "s.zarr", time=TIME, progress=False)
    assert "t2m" in ds
    again = xd.predict_to_zarr(model, COARSE, tmp_path / "s.zarr", time=TIME, progress=False)
    xr.testing.assert_identical(again.load(), ds.load())


def test_what_is_left_out_is_said_before_training():
    fine = FINE.assign_coords(metpy_crs=xr.DataArray(np.array(object(), object)))
    with pytest.warns(XDownscaleWarning, match="not have the coordinates 'metpy_crs' of the fine"):
        model = fit(COARSE, fine)
    assert "metpy_crs" not in xd.predict(COARSE, model, time=TIME).coords


@pytest.mark.parametrize("name", ["a/b", "..", "", "a\0b", 5, "realization", "lat_bnds"])
def test_names_are_refused_before_training(name, monkeypatch):
    monkeypatch.setattr("xdownscale.fitting.fit.train_group", None)
    with pytest.raises(DataError, match=r"The fine record has the name.*\.rename"):
        fit(COARSE, FINE.rename(name))


def test_a_model_of_before_with_a_slash_is_refused_before_anything_is_generated(tmp_path):
    from dataclasses import replace

    model = fit(COARSE, FINE)
    labels = model._fitted.labels._replace(name="a/b")
    model._fitted = replace(model._fitted, targets=(labels,))
    with pytest.raises(DataError, match="has the name 'a/b', which no file can hold"):
        xd.predict_to_zarr(model, COARSE, tmp_path / "s.zarr", time=TIME, progress=False)
    assert not list(tmp_path.iterdir())


SHAPES = [(1, 8), (8, 1), (1, 1), (2, 8)]


def narrow(shape):
    return FINE.isel(lat=slice(8, 8 + shape[0]), lon=slice(8, 8 + shape[1]))


@pytest.mark.parametrize("shape", SHAPES)
def test_grids_that_a_network_cannot_halve_are_refused_before_training(shape, monkeypatch):
    monkeypatch.setattr("xdownscale.fitting.fit.train_group", None)
    with pytest.raises(GridError, match=r"needs 8 x 8 or more.*preset 'dressed'"):
        fit(COARSE, narrow(shape), preset="fast")


@pytest.mark.parametrize(
    ("shape", "preset"),
    [*((shape, "gaussian") for shape in SHAPES), ((1, 8), "dressed"), ((1, 8), "auto")],
)
def test_methods_without_networks_take_any_grid(shape, preset, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        model = fit(COARSE, narrow(shape), preset=preset)
    maps = xd.predict(COARSE, model, time=TIME, realizations=3)
    assert maps.shape == (3, 3, *shape)
    assert np.isfinite(maps).all()
    # a cell of the twin has the coarse value plus noise of 0.3
    assert abs(maps.mean("realization") - narrow(shape).sel(time=TIME)).mean() < 0.6
    model.save(tmp_path / "m.xd")
    again = xd.predict(COARSE, xd.load(tmp_path / "m.xd"), time=TIME, realizations=3)
    xr.testing.assert_identical(again, maps)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800", "a\nb", "x" * 300, 5, None, b"x"])
def test_names_of_regions_that_cannot_stand_in_paths(name, monkeypatch):
    monkeypatch.setattr("xdownscale.fitting.fit.train_group", None)
    with pytest.raises(xd.errors.OptionError, match="cannot name a season or region"):
        fit(COARSE, FINE, regions={name: (0, 0, 4, 6)})
