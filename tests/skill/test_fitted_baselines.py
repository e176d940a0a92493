"""Baselines that are fitted on training days, against closed forms and the methods themselves."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xdownscale as xd
from records import make_pair
from xdownscale.core.errors import (
    DataError,
    GridError,
    OptionError,
    TimeAxisError,
    XDownscaleWarning,
)
from xdownscale.core.normalization import Scaling
from xdownscale.skill import baselines
from xdownscale.skill._baseline_rows import add_baselines

POINTS = (baselines.bias_corrected, baselines.quantile_mapped, baselines.ridge)
ENSEMBLES = (baselines.dressed, baselines.gaussian, baselines.analogues)
ALL = (*POINTS, *ENSEMBLES)
few = {"realizations": 3}


def options(function):
    return few if function in ENSEMBLES else {}


each = pytest.mark.parametrize("function", ALL, ids=lambda f: f.__name__)
each_ensemble = pytest.mark.parametrize("function", ENSEMBLES, ids=lambda f: f.__name__)


@pytest.fixture(scope="module")
def records():
    """Coarse temperature and humidity of 110 days, fine temperature of 60 days among them."""
    coarse, fine = make_pair(80, names=("t", "q"))
    return coarse, fine.t.isel(time=slice(60)), coarse.time.values[85:100]


def rain(days=90, seed=0):
    """Rain with many dry days: the fine record is the coarse one times a factor of each cell."""
    rng = np.random.default_rng(seed)
    wet = rng.gamma(0.6, 5, size=(days, 4, 5)) * (rng.random((days, 4, 5)) < 0.5)
    coords = {
        "time": pd.date_range("2001-01-01", periods=days),
        "lat": np.arange(4.0),
        "lon": np.arange(5.0),
    }
    coarse = xr.DataArray(wet, coords, name="rain", attrs={"units": "mm"})
    factor = xr.DataArray(rng.uniform(0.5, 2, (4, 5)), dims=("lat", "lon"))
    return coarse, (coarse * factor).transpose("time", ...).rename("rain").assign_attrs(units="mm")


# oracles


def test_ridge_is_the_closed_form():
    rng = np.random.default_rng(3)
    time = pd.date_range("2001-03-01", periods=70)
    grid = {"lat": [0.0, 1.0], "lon": [0.0, 1.0, 2.0]}
    coarse = xr.DataArray(rng.normal(size=(70, 2, 3)), {"time": time, **grid}, name="t")
    lagged = np.roll(coarse.values, 1, axis=0)
    values = 5 - 2 * coarse.values[:, ::-1] + lagged + 0.3 * rng.normal(size=coarse.shape)
    fine = coarse.copy(data=values)
    penalty = 0.1
    found = baselines.ridge(coarse, fine[1:50], time[50:], penalty=penalty)

    share = (time.day_of_year - 1) / (365 + time.is_leap_year)
    season = np.stack([np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)], axis=1)
    x = np.concatenate([coarse.values.reshape(70, -1), lagged.reshape(70, -1), season], axis=1)
    train = slice(1, 50)
    middle = x[train].mean(0)
    z = (x - middle) / x[train].std(0)
    y = values.reshape(70, -1)
    gram = z[train].T @ z[train] + 49 * penalty * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, z[train].T @ (y[train] - y[train].mean(0)))
    expected = y[train].mean(0) + z[50:] @ weights
    np.testing.assert_allclose(found.values.reshape(20, -1), expected, atol=2e-5)


def test_the_mean_error_of_training_days_is_zero_in_each_cell(records):
    coarse, train, _ = records
    found = baselines.bias_corrected(coarse, train, train.time)
    plain = baselines.interpolate(coarse.t, train, train.time, "bilinear", transform="identity")
    np.testing.assert_allclose(found.mean("time"), train.mean("time"), atol=1e-5)
    expected = plain + (train - plain).mean("time")
    np.testing.assert_allclose(found, expected.transpose(*found.dims), atol=1e-5)


def test_a_bias_of_logarithms_is_a_factor_and_that_of_rain_a_ratio():
    coarse, fine = rain()
    dust = coarse.copy(data=np.random.default_rng(1).lognormal(0, 2, coarse.shape))
    factor = fine.sum("time") / coarse.sum("time")
    found = baselines.bias_corrected(dust, (dust * factor)[:60], dust.time[60:])
    np.testing.assert_allclose(found, (dust * factor)[60:].transpose(*found.dims), rtol=1e-4)
    found = baselines.bias_corrected(coarse, fine[:60], fine.time[60:])
    assert float(found.min()) == 0
    dry = (coarse[60:] == 0).values
    assert (found.values[dry] == 0).all()
    # a twentieth of the domain's sums is shared
    np.testing.assert_allclose(found.values[~dry], fine[60:].values[~dry], rtol=0.12)
    total = baselines.bias_corrected(coarse, fine[:60], fine.time[:60]).sum()
    assert float(total) == pytest.approx(float(fine[:60].sum()), rel=0.02)


def test_quantile_mapping_gives_training_days_the_distribution_of_the_truth(records):
    coarse, train, _ = records
    found = baselines.quantile_mapped(coarse, train, train.time)
    levels = np.linspace(0, 1, 11)
    mine = found.quantile(levels, "time")
    np.testing.assert_allclose(mine, train.quantile(levels, "time"), atol=0.3)
    assert float(abs(mine - train.quantile(levels, "time")).mean()) < 0.02


@pytest.mark.parametrize("name", ["dressed", "gaussian", "analogues"])
def test_an_ensemble_is_the_method_of_its_name(name, records):
    coarse, train, asked = records
    config = xd.preset(name, data={"fractions": (1.0, 0.0, 0.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        model = coarse.downscale.fit(train, preset=config, progress=False)
    expected = coarse.downscale.predict(model, time=asked, realizations=4, seed=5)
    days = train.sel(time=model.models_["all"].split.time)  # one has no window in the fine record
    found = getattr(baselines, name)(coarse, days, asked, realizations=4, seed=5)
    xr.testing.assert_allclose(found, expected.transpose(*found.dims), atol=2e-5)
    assert found.dims == ("realization", *train.dims)
    assert found.attrs == train.attrs


def test_ridge_is_the_mean_of_method_dressed(records):
    coarse, train, asked = records
    sections = {"options": {"mean": "ridge"}, "sampling": {"sampler": "mean"}}
    config = xd.preset("dressed", data={"fractions": (1.0, 0.0, 0.0)}, **sections)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        model = coarse.downscale.fit(train, preset=config, progress=False)
    expected = coarse.downscale.predict(model, time=asked).isel(realization=0)
    days = train.sel(time=model.models_["all"].split.time)
    found = baselines.ridge(coarse, days, asked)
    np.testing.assert_allclose(found, expected.transpose(*found.dims), atol=2e-5)


def test_strong_baselines_beat_weak_ones_where_there_is_something_to_learn():
    coarse, fine = make_pair(200, names=("t", "q"))
    target = (fine.t + 0.7 * fine.q.values + fine.lat / 4).rename("t").transpose(*fine.t.dims)
    train = target[:150]
    truth = target[150:]
    error = {
        f.__name__: float(np.sqrt(((f(coarse, train, truth.time) - truth) ** 2).mean()))
        for f in POINTS
    }
    plain = baselines.interpolate(coarse.t, truth, truth.time, "bilinear", transform="identity")
    error["plain"] = float(np.sqrt(((plain - truth) ** 2).mean()))
    assert error["ridge"] < 0.75 * error["bias_corrected"]
    assert error["bias_corrected"] < 0.8 * error["plain"]
    ensemble = baselines.dressed(coarse, train, truth.time, realizations=10)
    crps = float(xd.skill.crps(ensemble, truth).mean())
    assert crps < 0.8 * float(abs(baselines.ridge(coarse, train, truth.time) - truth).mean())


# invariants


@each
@settings(max_examples=5, deadline=None)
@given(
    chunk=st.integers(1, 40),
    seed=st.integers(0, 100),
    count=st.integers(1, 6),
    flipped=st.booleans(),
)
def test_chunks_order_and_other_days_change_nothing(function, records, chunk, seed, count, flipped):
    coarse, train, asked = records
    expected = function(coarse, train, asked, **options(function))
    rng = np.random.default_rng(seed)
    some = rng.permutation(asked)[:count]
    other = coarse.isel(time=rng.permutation(coarse.sizes["time"])).chunk(time=chunk)
    mixed = train.isel(time=rng.permutation(train.sizes["time"])).chunk(time=chunk)
    if flipped:
        other = other.isel(lat=slice(None, None, -1)).transpose("lon", "time", "lat")
    found = function(other, mixed, some, **options(function))
    assert found.chunks is not None
    assert found.dims == expected.dims
    np.testing.assert_array_equal(found.values, expected.sel(time=some).values)


@each_ensemble
def test_members_depend_on_seed_and_number_alone(function, records):
    coarse, train, asked = records
    five = function(coarse, train, asked[:4], realizations=5, seed=1)
    two = function(coarse, train, asked[:4], realizations=2, seed=1)
    np.testing.assert_array_equal(five[:2], two)
    assert not np.array_equal(two, function(coarse, train, asked[:4], realizations=2, seed=2))


@each
def test_inputs_are_left_alone(function, records):
    coarse, train, asked = records
    before = (coarse.copy(deep=True), train.copy(deep=True))
    function(coarse, train, asked, **options(function))
    xr.testing.assert_identical(coarse, before[0])
    xr.testing.assert_identical(train, before[1])


@each
def test_labels_are_those_of_the_training_days(function, records):
    coarse, train, asked = records
    turned = train.isel(lat=slice(None, None, -1)).rename(time="day", lon="longitude")
    turned = turned.transpose("longitude", "day", "lat").assign_attrs(source="model")
    found = function(coarse, turned, asked, **options(function))
    assert found.dims[-3:] == turned.dims
    assert found.name == "t"
    assert found.attrs == turned.attrs
    np.testing.assert_array_equal(found.day, asked)
    straight = function(coarse, train, asked, **options(function))
    there = found.transpose(..., "day", "lat", "longitude").isel(lat=slice(None, None, -1))
    np.testing.assert_allclose(there.values, straight.values, atol=1e-4)


def test_later_truths_do_not_change_what_is_fitted(records):
    """The training record of a table may hold the days that are scored: they are left out."""
    coarse, _, _ = records
    _, fine = make_pair(80, names=("t", "q"))
    truth = fine.t[60:]
    spoilt = xr.concat([fine.t[:60], 100 + truth], "time")
    rows = []
    for train in (fine.t, spoilt, fine.t[:60]):
        made, lacking, _ = add_baselines(
            {"mine": truth}, truth, "auto", coarse, train, Scaling(), ensembles=True
        )
        assert lacking == {}
        rows.append(made)
    for name in ("bicubic", "bilinear + bias", "ridge", "dressed", "analogues"):
        for other in rows[1:]:
            np.testing.assert_array_equal(other[name].values, rows[0][name].values)
    alone = baselines.ridge(coarse, fine.t[:60], truth.time)
    np.testing.assert_array_equal(rows[0]["ridge"].values, alone.values)


# gaps, constants and bad input


@each
def test_gaps_are_left_out_and_empty_cells_stay_empty(function, records):
    coarse, train, asked = records
    rng = np.random.default_rng(0)
    holed = train.where(rng.random(train.shape) > 0.1)
    holed[:, :2, :2] = np.nan
    holed[0, 5, 5] = np.inf
    gaps = coarse.copy(deep=True)
    gaps["t"][85] = np.nan
    gaps["t"][87, 0, 0] = np.nan
    found = function(gaps, holed, asked, **options(function)).transpose("time", ...)
    gone = found[0].isnull()  # noqa: PD003
    assert gone.all()  # without a coarse field
    rest = found[2:]
    assert rest.isel(lat=slice(2), lon=slice(2)).isnull().all()  # noqa: PD003
    assert rest.isel(lat=slice(2, None)).notnull().all()  # noqa: PD004
    truth_like = baselines.interpolate(coarse.t, train, asked[2:], transform="identity")
    assert float(abs(rest - truth_like).mean()) < 1.5


def test_days_without_a_window_are_missing(records):
    coarse, train, _ = records
    found = baselines.ridge(coarse, train, coarse.time[:3], window=2)
    assert found.isnull().all(("lat", "lon")).values.tolist() == [True, True, False]  # noqa: PD003


@each
def test_a_constant_target_is_predicted(function, records):
    coarse, train, asked = records
    found = function(coarse, xr.full_like(train, 7.0), asked, **options(function))
    if function in (baselines.ridge, baselines.dressed):
        np.testing.assert_allclose(found.values, 7, atol=2e-3)
    assert np.isfinite(found).all()


@each
def test_an_all_dry_record_stays_dry(function):
    coarse, fine = rain()
    for source in (coarse, 0 * coarse):
        found = function(source, 0 * fine[:60], fine.time[60:], **options(function))
        assert np.isfinite(found).all()
        assert float(found.min()) >= 0
        if function not in (baselines.gaussian, baselines.quantile_mapped):
            assert float(found.max()) < 1e-3


@each
def test_rain_is_never_negative(function):
    coarse, fine = rain()
    found = function(coarse, fine[:60], fine.time[60:], **options(function))
    assert float(found.min()) >= 0
    assert np.isfinite(found).all()


@each
def test_too_few_days_name_the_baselines_that_are_left(function, records):
    coarse, train, asked = records
    name = function.__name__
    with pytest.raises(DataError, match=rf"{name} needs at least \d+ training days.*there are 1\."):
        function(coarse, train[:1], asked, **options(function))
    with pytest.raises(DataError, match="what is left: interpolate, climatology, persistence"):
        function(coarse, train[:1], asked, **options(function))


@each
def test_records_that_do_not_fit_are_refused(function, records):
    coarse, train, asked = records
    given = options(function)
    with pytest.raises(TimeAxisError, match="lacks 1 of the 1 days asked"):
        function(coarse, train, ["1990-01-01"], **given)
    with pytest.raises(DataError, match="degC"):
        function(coarse, train.assign_attrs(units="degC"), asked, **given)
    with pytest.raises(DataError, match=r"which coarse variable is 'wind'.*'t', 'q'.*driver="):
        function(coarse, train.rename("wind"), asked, **given)
    named = function(coarse, train.rename("wind"), asked, driver="t", **given)
    np.testing.assert_array_equal(named, function(coarse, train, asked, **given))
    with pytest.raises(OptionError, match="driver"):
        function(coarse, train, asked, driver="wind", **given)
    with pytest.raises(GridError, match="reaches outside the source grid"):
        function(coarse.isel(lon=slice(2)), train, asked, **given)
    with pytest.raises(TimeAxisError, match="no time"):
        function(coarse, train[0].drop_vars("time"), asked, **given)


def test_options_are_checked(records):
    coarse, train, asked = records
    for function, wrong, said in (
        (baselines.bias_corrected, {"kind": "sum"}, "'sum'"),
        (baselines.bias_corrected, {"kind": "ratio"}, "ratio.*0 or more"),
        (baselines.bias_corrected, {"method": "spline"}, "spline"),
        (baselines.quantile_mapped, {"quantiles": 1}, "quantiles"),
        (baselines.ridge, {"window": -1}, "window"),
        (baselines.dressed, {"mean": "forest"}, "'forest'"),
        (baselines.dressed, {"realizations": 0}, "realizations"),
        (baselines.analogues, {"kind": "days"}, "'days'"),
    ):
        with pytest.raises(OptionError, match=said):
            function(coarse, train, asked, **wrong)


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_other_calendars(calendar, records):
    coarse, train, _ = records
    time = xr.date_range("2000-01-01", periods=110, calendar=calendar, use_cftime=True)
    found = baselines.ridge(
        coarse.assign_coords(time=time), train.assign_coords(time=time[20:80]), time[85:]
    )
    assert found.time.dt.calendar == calendar
    assert np.isfinite(found).all()


def test_noon_stamps_meet_midnight(records):
    coarse, train, asked = records
    noon = train.assign_coords(time=train.time + pd.Timedelta("12h"))
    found = baselines.ridge(coarse, noon, asked)
    np.testing.assert_array_equal(found, baselines.ridge(coarse, train, asked))


def test_a_small_part_of_a_wide_coarse_record_sees_what_is_around_it():
    coarse, fine = make_pair(80)
    east = xr.concat([coarse, coarse.assign_coords(lon=coarse.lon + 10)], "lon")
    wide = xr.concat([east.assign_coords(lon=east.lon + k * 20) for k in range(4)], "lon")
    found = baselines.analogues(
        wide, fine.t[:60], fine.time[60:], method="bilinear", realizations=4
    )
    near = wide.isel(lon=slice(9))  # the fine grid and what is within three cells of it
    alone = baselines.analogues(
        near, fine.t[:60], fine.time[60:], method="bilinear", realizations=4
    )
    np.testing.assert_allclose(found, alone, atol=1e-4)
