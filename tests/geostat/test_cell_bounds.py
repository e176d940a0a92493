"""Diagnostics of a Dataset weigh cells by the areas within its CF bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale import geostat
from xdownscale.core.errors import GridError
from xdownscale.core.grids import cell_weights, given_bounds, with_bounds

LON = ((1, 3), (3, 6), (6, 12))
EDGES = {
    "rows of uneven height": (np.array([4.0, 12.0, 38.0]), [[0, 5], [5, 35], [35, 40]]),
    "half cells at the poles": (
        np.array([-90.0, -45, 0, 45, 90]),
        [[-90, -67.5], [-67.5, -22.5], [-22.5, 22.5], [22.5, 67.5], [67.5, 90]],
    ),
    "rows that do not meet": (np.array([1.0, 20.0, 50.0]), [[0, 2], [15, 25], [40, 80]]),
    "north first": (np.array([38.0, 12.0, 4.0]), [[40, 35], [35, 5], [5, 0]]),
}
DAYS = 40


def dataset(lat, lat_bounds=None, lon_bounds=None, days=DAYS, seed=0):
    rng = np.random.default_rng(seed)
    lon = np.array([2.0, 4.0, 9.0])
    values = rng.normal(size=(days, len(lat), 3)).cumsum(axis=0).astype("f4")
    coords = {"time": pd.date_range("2001-01-01", periods=days), "lat": lat, "lon": lon}
    ds = xr.Dataset({"t": (("time", "lat", "lon"), values, {"units": "K"})}, coords=coords)
    for name, bounds in (("lat", lat_bounds), ("lon", lon_bounds)):
        if bounds is not None:
            ds[f"{name}_bnds"] = ((name, "bnds"), np.asarray(bounds, float))
            ds[name].attrs["bounds"] = f"{name}_bnds"
    return ds


def areas(lat_bounds):
    """Return sin(north) - sin(south) times east - west: closed form, up to a constant."""
    return np.abs(np.diff(np.sin(np.radians(lat_bounds)), axis=1)) * np.diff(LON, axis=1)[:, 0]


@pytest.mark.parametrize(("lat", "bounds"), EDGES.values(), ids=EDGES)
def test_means_are_those_of_the_closed_form(lat, bounds):
    ds = dataset(lat, bounds, LON)
    weights = areas(bounds)
    found = ds.geostat.distribution(thresholds=(0.0,))
    x = ds.t.values.astype(float)
    w = np.broadcast_to(weights, x.shape)
    assert found["mean"].item() == pytest.approx(np.average(x, weights=w), rel=1e-6)
    assert found.exceedance.item() == pytest.approx(np.average(x > 0, weights=w), rel=1e-6)
    oracle = ds.t.astype(float).weighted(ds.t[0].copy(data=weights)).quantile(found["quantile"])
    np.testing.assert_allclose(found.value.squeeze(), oracle, rtol=1e-5, atol=1e-5)
    without = ds.t.geostat.distribution()["mean"].item()  # an array cannot bear bounds
    assert without != pytest.approx(found["mean"].item(), rel=1e-3)


@pytest.mark.parametrize(("lat", "bounds"), EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("name", ["acf", "pacf"])
def test_autocorrelations_are_those_of_the_weighted_mean(name, lat, bounds):
    ds = dataset(lat, bounds, LON)
    series = ds.t.weighted(ds.t[0].copy(data=areas(bounds))).mean(("lat", "lon"))
    one = series.expand_dims(lat=[0.0], lon=[0.0])
    function = getattr(geostat, name)
    found = getattr(ds.geostat, name)(max_lag=5)
    np.testing.assert_allclose(found[name].squeeze(), function(one, max_lag=5), atol=1e-5)
    assert not np.allclose(found[name].squeeze(), function(ds.t, max_lag=5), atol=1e-5)


@pytest.mark.parametrize(("lat", "bounds"), EDGES.values(), ids=EDGES)
def test_lag_scores_are_weighted(lat, bounds):
    ds = dataset(lat, bounds, LON)
    weights = areas(bounds)
    square = (ds.t.diff("time") ** 2).values
    rmse = np.sqrt(np.average(square.reshape(DAYS - 1, -1), weights=weights.ravel(), axis=1))
    found = ds.geostat.lag_rmse(max_lag=1)
    assert found["mean"].item() == pytest.approx(rmse.mean(), rel=1e-5)
    a, b = (ds.t.values[s].reshape(DAYS - 1, -1) for s in (slice(1, None), slice(-1)))
    pearson = [
        np.cov(x, y, aweights=weights.ravel())[0, 1] ** 2
        / np.prod([np.cov(v, aweights=weights.ravel()) for v in (x, y)])
        for x, y in zip(a, b, strict=True)
    ]
    found = ds.geostat.lag_r2(max_lag=1, kind="pearson")
    assert found["mean"].item() == pytest.approx(np.mean(pearson), rel=1e-4)


def test_scores_take_the_areas_of_a_dataset_as_weights():
    lat, bounds = EDGES["rows of uneven height"]
    ds = dataset(lat, bounds, LON)
    other = dataset(lat, seed=1).t
    found = xd.skill.rmse(other, ds.t, weights=xd.grids.area(ds))
    square = ((other - ds.t) ** 2).values.reshape(DAYS, -1)
    want = np.sqrt(np.average(square, weights=areas(bounds).ravel(), axis=1))
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_one_row_with_bounds_is_weighted_by_their_width():
    ds = dataset(np.array([50.0]), [[45, 55]], LON)
    np.testing.assert_allclose(
        cell_weights(with_bounds(ds.t, ds)) / cell_weights(with_bounds(ds.t, ds))[0, 0],
        [[1, 1.5, 3]],
    )


def test_bounds_follow_selections_and_stay_out_of_results():
    lat, bounds = EDGES["north first"]
    ds = dataset(lat, bounds, LON)
    da = with_bounds(ds.t, ds)
    np.testing.assert_array_equal(given_bounds(da.isel(lat=[2, 0]))[0], [[5, 0], [40, 35]])
    found = ds.geostat.acf(max_lag=2, reduce=None)
    assert set(found.coords) == {
        "lat", "lon", "lag", "lower", "upper", "pair_count", "variable", "units",
    }  # fmt: skip
    assert given_bounds(with_bounds(dataset(lat).t, dataset(lat))) == (None, None)


def test_second_records_bear_their_own_bounds():
    lat, bounds = EDGES["rows of uneven height"]
    ds = dataset(lat, bounds, LON)
    other = dataset(lat, [[3, 5], [11, 13], [37, 39]], LON, seed=1)
    found = ds.geostat.compare(other, max_lag=2)
    for name, record in (("value", ds), ("reference", other)):
        wanted = record.geostat.distribution()["mean"].item()
        assert wanted in found["mean"].values.ravel(), (name, found["mean"])


def test_lazy_datasets_and_bounds_as_coordinates():
    lat, bounds = EDGES["half cells at the poles"]
    ds = dataset(lat, bounds, LON)
    wanted = ds.geostat.acf(max_lag=3)
    for given in (ds.chunk(time=7), ds.set_coords(["lat_bnds", "lon_bnds"])):
        xr.testing.assert_allclose(given.geostat.acf(max_lag=3).compute(), wanted)


def test_bounds_that_do_not_hold_their_cells_are_refused():
    ds = dataset(EDGES["rows of uneven height"][0], [[0, 5], [30, 35], [35, 40]])
    for name in ("acf", "distribution", "lag_rmse"):
        with pytest.raises(GridError, match="bounds do not hold them"):
            getattr(ds.geostat, name)()
