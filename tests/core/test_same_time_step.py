"""Same time step: one comparison for fit, predict, scores, baselines, diagnostics and reports."""

from __future__ import annotations

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core import time as times
from xdownscale.core.errors import TimeAxisError

DAYS = pd.date_range("2001-06-01", periods=30)


def field(time=DAYS, name="time"):
    values = np.random.default_rng(0).random((len(time), 8, 8))
    coords = {name: time, "lat": 20 + np.arange(8) / 2, "lon": 40 + np.arange(8) / 2}
    return xr.DataArray(values, coords=coords, dims=(name, "lat", "lon"), name="dust")


SHIFTS = {
    "noon": DAYS + pd.Timedelta("12h"),
    "a microsecond late": DAYS - pd.Timedelta("1us"),
    "a quarter of a second early": DAYS + pd.Timedelta("250ms"),
    "cftime": np.array([cftime.DatetimeGregorian(2001, 6, 1 + day) for day in range(30)]),
    "cftime at noon": np.array([cftime.DatetimeGregorian(2001, 6, 1 + d, 12) for d in range(30)]),
    "late cftime": np.array(
        [
            cftime.DatetimeGregorian(2001, 6, 1 + d) - pd.Timedelta("3us").to_pytimedelta()
            for d in range(30)
        ]
    ),
}


@pytest.fixture(params=SHIFTS.values(), ids=SHIFTS.keys())
def stamps(request):
    return request.param


def test_daily_stamps_are_dates(stamps):
    np.testing.assert_array_equal(times.match_times(stamps, DAYS), np.arange(30))
    np.testing.assert_array_equal(times.match_times(DAYS[3:5], stamps), [3, 4])
    np.testing.assert_array_equal(times.months(stamps), 6)
    assert times.same_times(stamps, DAYS)
    assert not times.same_times(stamps[1:], DAYS[1:][::-1])
    np.testing.assert_array_equal(times.days(stamps), times.days(DAYS))


def test_scores_baselines_and_diagnostics_meet_the_same_days(stamps):
    truth = field()
    other = truth.assign_coords(time=stamps)
    score = xd.skill.rmse(other, truth)
    assert score.sizes["time"] == 30
    assert float(score.max()) == 0.0
    assert float(xd.geostat.wasserstein(other, truth, transform=None).wasserstein_mean) == 0.0
    table = xd.skill.table({"mine": other}, truth, transform=None, train=other, coarse=other)
    assert {"climatology", "persistence", "bicubic"} <= set(table.index)
    kept = xd.baselines.persistence(other, DAYS[1:])
    np.testing.assert_array_equal(kept, truth[:-1])


def test_hours_of_subdaily_records_count():
    hours = pd.date_range("2001-06-01", periods=12, freq="6h")
    np.testing.assert_array_equal(times.match_times(hours + pd.Timedelta("1h"), hours), -1)
    late = hours - pd.Timedelta("1us")
    np.testing.assert_array_equal(times.match_times(late, hours), np.arange(12))
    with pytest.raises(TimeAxisError, match="time step of 1 day"):
        times.match_times(DAYS, hours, ("The truth", "mine"))


def test_clean_stamps_keep_their_keys():
    clean = xr.DataArray(DAYS, dims="time")
    assert times.rounded(clean) is clean
    np.testing.assert_array_equal(times.seconds(clean), DAYS.as_unit("s").astype(np.int64))


@pytest.mark.parametrize(
    "function",
    [
        xd.skill.rmse,
        lambda one, other: xd.geostat.wasserstein(one, other, transform=None),
        lambda one, other: xd.geostat.wasserstein(one, other, "pooled", transform=None),
        lambda one, other: xd.geostat.diagnose_pairing(one, other),
    ],
)
def test_time_steps_are_never_paired_by_position(function):
    truth = field()
    swapped = truth.isel(time=slice(None, None, -1))
    beside = [
        da.drop_vars("time").rename(time="Time").assign_coords(XTIME=("Time", da.time.values))
        for da in (truth, swapped)
    ]
    with pytest.raises(TimeAxisError, match=r"'XTIME'.*swap_dims"):
        function(*beside)
    bare = [da.drop_vars("time") for da in (truth, swapped)]
    with pytest.raises(TimeAxisError, match="time"):
        function(*bare)
    raw = [da.assign_coords(time=np.arange(30)) for da in (truth, swapped)]
    with pytest.raises(TimeAxisError, match="are no dates"):
        function(*raw)


def small(coarse, fine):
    config = xd.preset(
        "fast",
        network={"channels": (8, 8), "encoder_channels": (8, 8)},
        training={"epochs": 1, "pretrain_epochs": 1, "mean_epochs": 1},
        data={"extrapolate": "nearest", "crop": 16},
    )
    return coarse.downscale.fit(fine, preset=config, progress=False, seed=0)


def records(days=60):
    time = pd.date_range("2000-01-01", periods=days)
    values = np.random.default_rng(0).normal(size=(days, 6, 5))
    noise = np.random.default_rng(1).normal(size=(days, 24, 20))
    coords = {"time": time, "lat": np.arange(0.25, 12, 0.5), "lon": np.arange(0.25, 10, 0.5)}
    fine = xr.DataArray(
        values.repeat(4, 1).repeat(4, 2) + 0.3 * noise,
        coords=coords,
        dims=("time", "lat", "lon"),
        name="t",
    )
    return fine.coarsen(lat=4, lon=4).mean(), fine


@pytest.fixture(scope="module")
def clean():
    coarse, fine = records()
    model = small(coarse, fine)
    return model, coarse.downscale.predict(model, time=coarse.time[40:43], seed=1)


def test_fit_and_predict_match_dates(clean):
    _, want = clean
    coarse, fine = records()
    noons = fine.assign_coords(time=fine.time + np.timedelta64(12, "h"))
    got = coarse.downscale.predict(small(coarse, noons), time=noons.time[40:43], seed=1)
    xr.testing.assert_identical(got.drop_attrs(deep=False), want.drop_attrs(deep=False))


def test_a_late_record_gives_the_same_fields(clean):
    model, want = clean
    coarse, _ = records()
    late = coarse.assign_coords(time=coarse.time - np.timedelta64(1, "us"))
    for asked in (slice("2000-02-10", "2000-02-12"), late.time[40:43], coarse.time[40:43]):
        got = late.downscale.predict(model, time=asked, seed=1)
        np.testing.assert_array_equal(got, want)
