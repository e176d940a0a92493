"""Baselines against plain numpy, closed forms and xarray's own tools."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xdownscale as xd
from records import label
from xdownscale.core.errors import DataError, OptionError, TimeAxisError
from xdownscale.core.normalization import Scaling
from xdownscale.skill import baselines


def record(days, *, order=("time", "lat", "lon"), shape=(3, 4), seed=0, **attrs):
    values = np.random.default_rng(seed).lognormal(size=(len(days), *shape)).astype("f4")
    lat = np.linspace(20, 10, shape[0])
    lon = np.linspace(0, 5, shape[1])
    da = label(values, lat, lon, time=days).assign_attrs(attrs)
    return da.transpose(*order)


CALENDARS = ["standard", "noleap", "360_day"]


def dates(start, periods, calendar="standard"):
    cftime = calendar != "standard"
    return xr.date_range(start, periods=periods, calendar=calendar, use_cftime=cftime)


# interpolation


@pytest.fixture
def coarse():
    return record(dates("2000-01-01", 6), shape=(8, 9)).astype("f8").rename(lat="y", lon="x")


@pytest.fixture
def coarse_cf(coarse):
    return coarse.assign_coords(
        y=("y", np.linspace(0, 35, 8), {"standard_name": "latitude"}),
        x=("x", np.linspace(-2, 38, 9), {"standard_name": "longitude"}),
    )


def test_a_plane_is_interpolated_exactly(coarse_cf):
    plane = 2 + 0.1 * coarse_cf.y - 0.05 * coarse_cf.x + 0 * coarse_cf
    fine = record(dates("2000-01-01", 2))
    for method in ("bicubic", "bilinear"):
        found = baselines.interpolate(plane, fine, method=method, transform="identity")
        expected = 2 + 0.1 * fine.lat - 0.05 * fine.lon
        np.testing.assert_allclose(found, expected.broadcast_like(found), rtol=1e-6)


def test_interpolation_has_the_labels_of_the_fine_record(coarse_cf):
    fine = record(dates("2000-01-01", 2), order=("lon", "time", "lat"), source="model")
    fine = fine.rename(time="day", lat="latitude")
    days = coarse_cf.time.values[[1, 4]]
    found = baselines.interpolate(coarse_cf, fine, days)
    assert found.dims == ("lon", "day", "latitude")
    assert found.name == "dust"
    assert found.attrs == fine.attrs
    for name in ("lon", "latitude"):
        assert found[name].identical(fine[name])
    np.testing.assert_array_equal(found.day, days)
    whole = baselines.interpolate(coarse_cf, fine, transform="log10")
    assert whole.sizes["day"] == 6
    np.testing.assert_allclose(found, whole.sel(day=days), rtol=1e-6)


def test_a_grid_without_time_lends_its_grid_alone(coarse_cf):
    elevation = record(dates("2000-01-01", 1)).isel(time=0, drop=True).rename("elevation")
    found = baselines.interpolate(coarse_cf, elevation)
    assert found.dims == ("time", "lat", "lon")
    assert found.name == "dust"


def test_a_positive_variable_stays_positive_where_a_spline_overshoots(coarse_cf):
    spike = xr.full_like(coarse_cf, 0.01)
    spike[:, 4, 4] = 10.0
    fine = record(dates("2000-01-01", 1), shape=(40, 40))
    fine = fine.assign_coords(lat=np.linspace(10, 30, 40), lon=np.linspace(8, 28, 40))
    assert baselines.interpolate(spike, fine, transform="identity").min() < 0
    assert baselines.interpolate(spike, fine, transform="log10").min() > 0
    dry = spike.where(spike > 1, 0.0)
    assert baselines.interpolate(dry, fine, transform="auto").min() >= 0


def test_bicubic_of_a_positive_variable_can_always_be_scored():
    """Rough values that the spline overshoots, whatever transform is chosen for them."""
    values = np.random.default_rng(0).gamma(0.7, size=(30, 20, 24)) + 1e-4
    days = pd.date_range("2001-01-01", periods=30)
    edges = {"time": days, "lat": np.linspace(0, 10, 20), "lon": np.linspace(-10, 10, 24)}
    fine = xr.DataArray(values, coords=edges)
    coarse = fine.coarsen(lat=4, lon=4).mean()
    drawn = baselines.interpolate(coarse, fine)
    assert float(drawn.min()) == pytest.approx(float(coarse.min()))
    scores = xd.skill.table({"tenth more": fine * 1.1}, fine, coarse=coarse)
    assert np.isfinite(scores.loc["bicubic"]).all()


def test_interpolation_in_a_transform_is_that_of_the_transformed_field(coarse_cf):
    fine = record(dates("2000-01-01", 1))
    found = baselines.interpolate(coarse_cf, fine, transform=Scaling(transform="log10"))
    plain = baselines.interpolate(np.log10(coarse_cf), fine, transform="identity")
    np.testing.assert_allclose(np.log10(found), plain, atol=1e-6)
    automatic = baselines.interpolate(coarse_cf, fine)
    np.testing.assert_allclose(automatic, found, rtol=1e-6)


def test_lazy_interpolation_agrees_and_stays_lazy(coarse_cf):
    fine = record(dates("2000-01-01", 1))
    lazy = baselines.interpolate(coarse_cf.chunk(time=2), fine)
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy, baselines.interpolate(coarse_cf, fine), rtol=1e-6)


def test_days_that_the_coarse_record_lacks_are_named(coarse_cf):
    fine = record(dates("2000-01-01", 1))
    with pytest.raises(TimeAxisError, match="lacks 2 of the 3 days asked, the first being 2000-01"):
        baselines.interpolate(coarse_cf, fine, dates("2000-01-06", 3))
    with pytest.raises(TimeAxisError, match="The coarse record has no time dimension"):
        baselines.interpolate(coarse_cf[0].drop_vars("time"), fine)
    with pytest.raises(OptionError, match="Did you mean 'sqrt'"):
        baselines.interpolate(coarse_cf, fine, transform="sqr")
    with pytest.raises(DataError, match="log10 needs values above 0"):
        baselines.interpolate(-coarse_cf, fine, transform="log10")


# climatology


def climatology_oracle(fine, wanted, window):
    """Day by day, on a calendar where every year has as many days."""
    length = 360 if getattr(fine.indexes["time"], "calendar", "") == "360_day" else 365
    have = fine.time.dt.dayofyear.values
    fields = []
    for day in wanted.dt.dayofyear.values:
        apart = np.abs(have - day)
        apart = np.minimum(apart, length - apart)
        chosen = apart <= max(window, apart.min())
        fields.append(np.nanmean(fine.values[chosen], axis=0))
    return np.stack(fields)


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
@pytest.mark.parametrize("window", [0, 3, 15])
def test_climatology_is_the_mean_of_the_window(calendar, window):
    fine = record(dates("2001-01-01", 730, calendar))
    wanted = xr.DataArray(dates("2010-12-20", 40, calendar), dims="time")
    found = baselines.climatology(fine, wanted, window)
    expected = climatology_oracle(fine, wanted, window)
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    assert found.dtype == np.float32


def test_the_nearest_days_of_the_year_fill_a_season_without_days():
    fine = record(dates("2001-01-01", 20))
    found = baselines.climatology(fine, dates("2003-06-01", 2), 5)
    expected = fine.isel(time=-1)  # 20 January is nearest to 1 June
    np.testing.assert_allclose(found, np.stack([expected, expected]), rtol=1e-6)


def test_leap_years_and_others_meet_on_the_same_day():
    days = dates("2000-01-01", 366 + 365)
    fine = record(days, shape=(1, 1))
    found = baselines.climatology(fine, dates("2004-12-31", 1), 0).item()
    new_years_eve = fine.sel(time=["2000-12-31", "2001-12-31"]).mean().item()
    assert found == pytest.approx(new_years_eve, rel=1e-6)


def test_climatology_leaves_nan_out_and_keeps_the_mask():
    fine = record(dates("2001-01-01", 10))
    fine[2, 1, 1] = np.nan
    fine[:, 0, 0] = np.nan
    found = baselines.climatology(fine, fine.time, 400)
    assert np.isnan(found[:, 0, 0]).all()
    assert found[0, 1, 1].item() == pytest.approx(np.nanmean(fine[:, 1, 1]), rel=1e-6)
    assert int(np.isnan(found).sum()) == 10


def test_climatology_is_lazy_and_keeps_labels():
    fine = record(dates("2001-01-01", 60), order=("lat", "time", "lon"))
    wanted = dates("2002-01-01", 5)
    lazy = baselines.climatology(fine.chunk(time=7), wanted)
    assert lazy.chunks is not None
    found = baselines.climatology(fine, wanted)
    np.testing.assert_allclose(lazy, found, rtol=1e-6)
    assert found.dims == fine.dims
    assert found.attrs == fine.attrs
    assert found.name == "dust"
    assert found.lat.identical(fine.lat)


# persistence


@given(lag=st.integers(1, 4), calendar=st.sampled_from(CALENDARS), order=st.permutations(range(3)))
def test_persistence_is_a_shift_where_days_follow_each_other(lag, calendar, order):
    dims = tuple(("time", "lat", "lon")[i] for i in order)
    fine = record(dates("2000-02-26", 7, calendar), order=dims)
    xr.testing.assert_identical(baselines.persistence(fine, lag=lag), fine.shift(time=lag))


def test_persistence_does_not_jump_over_a_gap():
    fine = record(dates("2000-01-01", 6)).drop_isel(time=2)
    found = baselines.persistence(fine)
    assert np.isnan(found.sel(time="2000-01-04")).all()
    np.testing.assert_array_equal(found.sel(time="2000-01-05"), fine.sel(time="2000-01-04"))
    asked = baselines.persistence(fine, ["2000-01-03", "2000-01-07"])
    np.testing.assert_array_equal(asked, fine.sel(time=["2000-01-02", "2000-01-06"]))


def test_days_meet_whatever_the_hour_of_their_stamp():
    fine = record(dates("2000-01-01", 4))
    noon = pd.date_range("2000-01-02T12:00", periods=2)
    found = baselines.persistence(fine, noon)
    np.testing.assert_array_equal(found, fine[:2])
    np.testing.assert_array_equal(found.time, noon)


def test_a_record_of_hours_is_not_asked_for_days(coarse_cf):
    """Finding of a review: daily means met the instants of 00 UTC in silence."""
    fine = record(dates("2000-01-01", 3))
    hours = fine.resample(time="6h").ffill()
    message = r"The fine record has a time step of 6 hours and the days asked one of 1 day.*1D"
    with pytest.raises(TimeAxisError, match=message):
        baselines.persistence(hours, fine.time)
    sixhourly = coarse_cf.resample(time="6h").ffill()
    with pytest.raises(TimeAxisError, match="The coarse record has a time step of 6 hours"):
        baselines.interpolate(sixhourly, fine, fine.time)
    assert baselines.interpolate(sixhourly, fine, hours.time).sizes["time"] == hours.time.size
    found = baselines.persistence(hours)  # of the same hour
    np.testing.assert_array_equal(found[4:], hours[:-4])
    one = baselines.persistence(hours, hours.time[[6]])
    np.testing.assert_array_equal(one, hours[[2]])


def test_lazy_persistence_stays_lazy_and_inputs_are_left_alone():
    fine = record(dates("2000-01-01", 4))
    before = fine.copy(deep=True)
    lazy = baselines.persistence(fine.chunk(time=1))
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), baselines.persistence(fine))
    xr.testing.assert_identical(fine, before)


def test_persistence_from_start_holds_the_latest_day():
    fine = record(dates("2000-01-01", 4)).isel(time=[3, 0, 1])
    found = baselines.persistence_from_start(fine, dates("2000-02-01", 3))
    for day in range(3):
        np.testing.assert_array_equal(found[day], fine.sel(time="2000-01-04"))
    assert found.dims == fine.dims
    assert str(found.time.values[0])[:10] == "2000-02-01"


def test_bad_times_are_refused():
    fine = record(dates("2000-01-01", 4))
    with pytest.raises(TimeAxisError, match="duplicate times, 2000-01-01"):
        baselines.persistence(fine.isel(time=[0, 0, 1]))
    noleap = dates("2000-01-01", 4, "noleap")
    with pytest.raises(TimeAxisError, match="calendars of the fine record and the days asked"):
        baselines.persistence(fine, noleap)
    for function in (baselines.climatology, baselines.persistence_from_start):
        with pytest.raises(TimeAxisError, match="The fine record has no time dimension"):
            function(fine[0].drop_vars("time"), noleap)


def test_options_out_of_range_are_refused():
    fine = record(dates("2000-01-01", 4))
    with pytest.raises(OptionError, match="lag is 0"):
        baselines.persistence(fine, lag=0)
    with pytest.raises(OptionError, match="window_days is -1"):
        baselines.climatology(fine, fine.time, -1)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinities_are_missing(coarse_cf, value):
    """Finding of a review: one infinity made a climatology, or a whole interpolated day, NaN."""
    fine = record(dates("2000-01-01", 5))
    found = []
    for gap in (np.nan, value):
        holed, driver = fine.copy(deep=True), coarse_cf.copy(deep=True)
        holed[2, 1, 1], driver[1, 7, 8] = gap, gap
        before = driver.copy(deep=True)
        mean = baselines.climatology(holed, fine.time)
        found.append((mean, baselines.interpolate(driver, fine)))
        xr.testing.assert_identical(driver, before)
    for with_nan, with_infinity in zip(*found, strict=True):
        xr.testing.assert_identical(with_infinity, with_nan)
        assert np.isfinite(with_nan).all()
