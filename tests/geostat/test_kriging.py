"""Labelled kriging: coherence, laziness, orientation, gaps, variograms, what is refused."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xdownscale as xd
from records import label
from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.geostat import krige

SIDE = np.arange(40.125, 44, 0.25)
FINE = xr.Dataset(coords={"lat": SIDE, "lon": SIDE - 40})
GIVEN = {"effective_range": 150.0, "psill": 2.0}


def coarse_record(days=5, seed=0, dtype=np.float64):
    lat = np.arange(40.5, 44, 1.0)
    values = np.random.default_rng(seed).normal(size=(days, 4, 4)).astype(dtype)
    return label(values, lat, lat - 40, units="K")


def averages(found, coarse):
    return xd.regrid(found, coarse, method="conservative")


def test_averages_are_the_coarse_field_and_labels_are_kept():
    coarse = coarse_record()
    found = krige(coarse, FINE, GIVEN)
    assert found.estimate.dims == ("time", "lat", "lon")
    assert found.variance.dims == ("lat", "lon")
    assert float(abs(averages(found.estimate, coarse) - coarse).max()) < 1e-9
    assert found.estimate.attrs["units"] == "K"
    assert found.variance.attrs["units"] == "(K)^2"
    assert found.attrs == {"model": "exponential", "effective_range": 150, "psill": 2, "nugget": 0}
    assert 0 < float(found.variance.min()) < float(found.variance.max()) < 2
    xr.testing.assert_equal(found.time, coarse.time)


def test_single_precision_stays_so():
    coarse = coarse_record(dtype=np.float32)
    found = krige(coarse, FINE, GIVEN).estimate
    assert found.dtype == np.float32
    assert float(abs(averages(found, coarse) - coarse).max()) < 1e-6


@settings(max_examples=12, deadline=None)
@given(
    order=st.permutations(["time", "lat", "lon"]),
    flips=st.tuples(*[st.booleans()] * 4),
    shift=st.sampled_from([0, 360]),
    chunk=st.sampled_from([None, 1, 2, 5]),
    rows=st.permutations(range(5)),
)
def test_orientation_chunks_and_order_of_times_do_not_matter(order, flips, shift, chunk, rows):
    coarse = coarse_record()
    expected = krige(coarse, FINE, GIVEN).estimate
    turned = coarse.transpose(*order).isel(
        lat=slice(None, None, -1 if flips[0] else 1),
        lon=slice(None, None, -1 if flips[1] else 1),
        time=list(rows),
    )
    target = FINE.isel(
        lat=slice(None, None, -1 if flips[2] else 1), lon=slice(None, None, -1 if flips[3] else 1)
    )
    turned = turned.assign_coords(lon=turned.lon + shift)
    if chunk is not None:
        turned = turned.chunk(time=chunk)
    found = krige(turned, target, GIVEN).estimate
    assert (found.chunks is None) == (chunk is None)
    assert found.dims == tuple(order)
    assert found.lat.values.tolist() == target.lat.values.tolist()
    same = found.sortby(["time", "lat", "lon"]).transpose("time", "lat", "lon")
    np.testing.assert_allclose(same.values, expected.values, atol=1e-12)


def test_nothing_is_computed_before_it_is_asked_for():
    def fail(*args, **kwargs):
        raise AssertionError("computed")

    lazy = coarse_record().chunk(time=1)
    with dask.config.set(scheduler=fail):
        found = krige(lazy, FINE, GIVEN)
    assert found.estimate.chunks[0] == (1,) * 5
    np.testing.assert_array_equal(
        found.estimate.values, krige(coarse_record(), FINE, GIVEN).estimate.values
    )


def test_any_dimensions_may_lead_and_none():
    coarse = coarse_record()
    members = xr.concat([coarse, 2 * coarse], "realization")
    found = krige(members, FINE, GIVEN).estimate
    assert found.dims == ("realization", "time", "lat", "lon")
    expected = krige(coarse, FINE, GIVEN).estimate
    np.testing.assert_allclose(found.values[1], 2 * expected.values, atol=1e-12)
    single = krige(coarse.isel(time=2, drop=True), FINE, GIVEN).estimate
    assert single.dims == ("lat", "lon")
    np.testing.assert_array_equal(single.values, expected.values[2])


def test_a_missing_cell_is_nan_and_its_neighbours_are_kriged_without_it():
    coarse = coarse_record()
    coarse[1, 0, 2] = np.nan
    coarse[3] = np.nan
    found = krige(coarse, FINE, GIVEN).estimate
    assert found[1, :4, 8:12].isnull().all()
    assert int(found[1].isnull().sum()) == 16
    assert found[3].isnull().all()
    whole = krige(coarse_record(), FINE, GIVEN).estimate
    np.testing.assert_array_equal(found[[0, 2, 4]].values, whole[[0, 2, 4]].values)
    means = averages(found[1].fillna(0), coarse[1])
    known = coarse[1].notnull()
    assert float(abs(means - coarse[1]).where(known).max()) < 1e-9


def test_an_infinity_is_missing():
    coarse = coarse_record()
    coarse[0, 1, 1] = np.inf
    assert int(krige(coarse, FINE, GIVEN).estimate[0].isnull().sum()) == 16


# regression kriging


def test_a_trend_of_elevation_is_recovered():
    rng = np.random.default_rng(4)
    height = xr.DataArray(rng.normal(size=(16, 16)), coords=FINE.coords, dims=("lat", "lon"))
    day = xr.DataArray(
        [1.0, -2.0, 0.5], coords={"time": xr.date_range("2000", periods=3)}, dims="time"
    )
    truth = (day * height + 3 * day).transpose("time", "lat", "lon")
    coarse = averages(truth, coarse_record())
    found = krige(coarse, FINE, GIVEN, static=height)
    assert float(abs(found.estimate - truth).max()) < 1e-5
    assert float(abs(averages(found.estimate, coarse) - coarse).max()) < 1e-9
    plain = krige(coarse, FINE, GIVEN).estimate
    assert float(abs(plain - truth).mean()) > 0.3


# the variogram


def known_field(days=60, seed=0):
    """Return fine fields of an exponential variogram, range 200 km, sill 1, without nugget."""
    from xdownscale.models.statistical.simulation import WaveField
    from xdownscale.models.statistical.variogram import Variogram
    from xdownscale.preprocessing.block_averages import positions

    side = np.arange(40.125, 50, 0.25)
    points = positions(*np.meshgrid(side, side - 40, indexing="ij")).reshape(-1, 3)
    field = WaveField(points, Variogram(effective_range=200.0, psill=1.0))
    values = np.concatenate([field.sample(seed, r, [0]) for r in range(days)])
    return label(values.reshape(days, side.size, side.size), side, side - 40)


@pytest.fixture(scope="module")
def field():
    return known_field()


def test_what_semivariogram_returned_is_taken(field):
    curve = field.geostat.semivariogram(max_distance=500, model="exponential", bins=25)
    assert curve.fit_ok
    coarse = field.coarsen(lat=4, lon=4).mean().isel(lat=slice(0, 10))
    found = coarse.geostat.krige(field, curve)
    assert found.attrs["effective_range"] == curve.effective_range.item()
    assert found.attrs["nugget"] == curve.nugget.item()
    named = {name: curve[name].item() for name in ("effective_range", "psill", "nugget")}
    xr.testing.assert_identical(found, coarse.geostat.krige(field, named))
    error = found.estimate - field
    ratio = float((error**2).mean() / found.variance.mean())
    assert ratio == pytest.approx(1, abs=0.1)


def test_the_variogram_is_deconvolved_without_one(field):
    coarse = field.coarsen(lat=4, lon=4).mean()
    found = krige(coarse, field)
    assert found.attrs["psill"] == pytest.approx(1, abs=0.2)
    assert found.attrs["effective_range"] == pytest.approx(200, rel=0.35)
    error = found.estimate - field
    assert float((error**2).mean() / found.variance.mean()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("model", ["spherical", "gaussian", "matern"])
def test_other_models_are_deconvolved_too(field, model):
    coarse = field.isel(time=slice(20)).coarsen(lat=4, lon=4).mean()
    found = krige(coarse, field, model=model)
    assert found.attrs["model"] == model
    assert ("smoothness" in found.attrs) == (model == "matern")
    means = averages(found.estimate, coarse)
    assert float(abs(means - coarse).max()) < 1e-6


# what is refused


def test_what_is_refused():
    coarse = coarse_record()
    failed = xr.DataArray(
        np.random.default_rng(0).random((40, 40)),
        coords={"lat": np.arange(40) / 4, "lon": np.arange(40) / 4},
    ).geostat.semivariogram(max_distance=400, bins=8)
    cases = [
        ((coarse, FINE, failed), DataError, "The fit of the variogram failed: flat"),
        ((coarse, FINE, {"range": 3.0}), OptionError, r"keys \['range'\]; give effective_range"),
        ((coarse, FINE, xr.Dataset()), OptionError, "Dataset without"),
        ((coarse, FINE, 5.0), OptionError, "variogram is a float"),
        ((coarse, FINE, {**GIVEN, "model": "cubic"}), OptionError, "model of the variogram"),
        ((coarse * 0 + 1, FINE), DataError, "A variogram cannot be fitted"),
        ((coarse.isel(lat=slice(2)), FINE, GIVEN), GridError, "reaches outside"),
        ((coarse.to_dataset(), FINE, GIVEN), DataError, "The coarse field is a Dataset"),
        ((coarse, 3, GIVEN), GridError, "The target grid is a int"),
    ]
    for arguments, error, said in cases:
        with pytest.raises(error, match=said):
            krige(*arguments)
    with pytest.raises(OptionError, match="neighbours is 0"):
        krige(coarse, FINE, GIVEN, neighbours=0)
    with pytest.raises(GridError, match="has the name of another dimension"):
        krige(coarse, FINE.rename(lat="time").assign_coords(
            time=("time", SIDE, {"standard_name": "latitude"})), GIVEN)  # fmt: skip
