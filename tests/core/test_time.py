"""Time axes as numbers, checked and matched, against pandas and calendars counted by hand."""

from __future__ import annotations

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.errors import TimeAxisError, XDownscaleWarning
from xdownscale.core.time import (
    calendar_of,
    check_overlap,
    check_steps,
    check_time,
    days,
    is_subdaily,
    match_times,
    months,
    seconds,
    step_text,
    time_step,
)


def dates(calendar, n, start="2000-02-27", freq="D"):
    return xr.date_range(start, periods=n, freq=freq, calendar=calendar, use_cftime=True)


def record(time):
    shape = (len(time), 1, 1)
    values = np.arange(len(time), dtype=float).reshape(shape)
    return xr.DataArray(
        values,
        dims=("time", "lat", "lon"),
        coords={"time": time, "lat": [0.0], "lon": [0.0]},
        name="dust",
    )


def test_seconds_of_numpy_times():
    time = pd.date_range("1969-12-31", periods=3, freq="6h")
    assert seconds(time).tolist() == [-86400, -64800, -43200]
    assert days(time).tolist() == [-1, -1, -1]
    assert seconds(time.values.astype("M8[D]")).tolist() == [-86400] * 3


def test_errors_of_decoding_are_rounded_away():
    time = np.array(["2000-01-01T00:00:00", "2000-01-01T23:59:59.999999"], "M8[ns]")
    assert np.diff(seconds(time)) == 86400


@pytest.mark.parametrize(
    ("calendar", "length"), [("noleap", 365), ("360_day", 360), ("standard", 366)]
)
def test_a_year_has_its_calendars_length(calendar, length):
    first, last = (dates(calendar, 1, f"{year}-01-01") for year in (2000, 2001))
    assert (seconds(last) - seconds(first)) / 86400 == length


def test_noleap_has_no_gap_at_the_end_of_february():
    assert np.diff(seconds(dates("noleap", 5))).tolist() == [86400] * 4


def test_months():
    time = pd.date_range("1969-11-15", periods=5, freq="MS")
    assert months(time).tolist() == [12, 1, 2, 3, 4]
    assert months(dates("360_day", 4, "2000-02-29")).tolist() == [2, 2, 3, 3]


def test_gregorian_cftime_is_the_calendar_of_numpy():
    numpy_time = pd.date_range("2000-02-27", periods=4)
    for calendar in ("standard", "proleptic_gregorian"):
        assert match_times(dates(calendar, 4), numpy_time).tolist() == [0, 1, 2, 3]
    julian = [cftime.datetime(1500, 1, 1, calendar="standard")]
    assert calendar_of(xr.CFTimeIndex(julian)) == "standard"
    proleptic = [cftime.datetime(1500, 1, 1, calendar="proleptic_gregorian")]
    assert calendar_of(xr.CFTimeIndex(proleptic)) == "proleptic_gregorian"


def test_no_times_at_all():
    assert seconds(np.array([], dtype=object)).size == 0
    assert match_times(np.array([], "M8[s]"), dates("noleap", 2)).size == 0
    assert match_times(dates("noleap", 2), np.array([], "M8[s]")).tolist() == [-1, -1]


@given(
    st.lists(st.integers(0, 60), unique=True, max_size=30),
    st.lists(st.integers(0, 60), unique=True, max_size=30),
    st.sampled_from([None, "noleap", "360_day"]),
)
def test_match_times_like_pandas(a, b, calendar):
    axis = dates(calendar or "standard", 61)
    axis = axis if calendar else axis.to_datetimeindex(time_unit="ns")
    left, right = axis[np.array(a, int)], axis[np.array(b, int)]
    expected = pd.Index(b, dtype=int).get_indexer(pd.Index(a, dtype=int))
    np.testing.assert_array_equal(match_times(left, right), expected)


def test_match_times_refuses_other_calendars():
    with pytest.raises(TimeAxisError, match=r"'noleap' and 'standard'.*convert_calendar"):
        match_times(dates("noleap", 3), pd.date_range("2000", periods=3))


def test_time_step_is_the_most_common_one():
    time = pd.date_range("2000-01-01", periods=9, freq="6h").delete([3, 4])
    assert time_step(time) == 6 * 3600
    assert time_step(time[:1]) == 86400


def test_times_that_do_not_ascend():
    time = pd.to_datetime(["2000-01-02", "2000-01-01"])
    with pytest.raises(TimeAxisError, match=r"2000-01-02.* is followed by 2000-01-01.*check_time"):
        time_step(time)


def test_missing_times():
    with pytest.raises(TimeAxisError, match="1 of 2 times are missing"):
        seconds(np.array(["2000-01-01", "NaT"], "M8[s]"))


def test_numbers_are_no_dates():
    with pytest.raises(TimeAxisError, match=r"Times of type int64 are no dates.*decode_cf"):
        seconds(np.arange(3))


def test_times_in_two_dimensions():
    with pytest.raises(TimeAxisError, match="found one with 2"):
        seconds(np.zeros((2, 2), "M8[s]"))


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_unsorted_times_are_sorted_with_a_warning(calendar):
    time = dates(calendar, 5)
    shuffled = record(time).isel(time=[3, 0, 4, 1, 2])
    before = shuffled.copy(deep=True)
    with pytest.warns(XDownscaleWarning, match="times of the fine record did not ascend"):
        checked = check_time(shuffled, "The fine record")
    xr.testing.assert_identical(checked, record(time))
    xr.testing.assert_identical(shuffled, before)


def test_sorted_times_pass_as_they_are():
    da = record(pd.date_range("2000", periods=3))
    assert check_time(da) is da


def test_duplicates_are_refused_and_named():
    time = pd.to_datetime(["2000-01-01", "2000-01-03", "2000-01-02", "2000-01-03"])
    message = r"The coarse record has 1 duplicate times, the first: 2000-01-03.*drop_duplicates"
    with pytest.raises(TimeAxisError, match=message):
        check_time(record(time), "The coarse record")


def test_no_time_axis():
    with pytest.raises(TimeAxisError, match="The record has no time dimension"):
        check_time(record(pd.date_range("2000", periods=3)).isel(time=0))


def test_overlap():
    coarse, fine = pd.date_range("2000-01-01", periods=9), pd.date_range("2000-01-08", periods=4)
    assert check_overlap(fine, coarse).tolist() == [7, 8, -1, -1]


def test_no_overlap_gives_both_periods():
    coarse, fine = pd.date_range("2000-01-01", periods=9), pd.date_range("2001-01-01", periods=4)
    message = r"fine.*2001-01-01.* to 2001-01-04.*2000-01-01.* to 2000-01-09.*records that overlap"
    with pytest.raises(TimeAxisError, match=message):
        check_overlap(fine, coarse)
    with pytest.raises(TimeAxisError, match=r"The fine record \(empty\)"):
        check_overlap(fine[:0], coarse)


def test_overlap_at_other_hours_says_so():
    coarse, fine = (
        pd.date_range(f"2000-01-01T{hour}", periods=9, freq="6h") for hour in ("00", "03")
    )
    with pytest.raises(TimeAxisError, match=r"at other hours.*resample"):
        check_overlap(fine, coarse)


def test_time_dimension_without_a_coordinate():
    da = record(pd.date_range("2000", periods=3)).drop_vars("time")
    with pytest.raises(TimeAxisError, match="time dimension"):
        check_time(da)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([0, 6, 12, 18], True),
        ([18, 24], True),  # no two on one date
        ([0, 23], True),  # two on one date
        ([0, 24, 48], False),
        ([12, 35, 60], False),  # stamped at uneven hours
        ([0, 24 * 30], False),
        ([6], False),
        ([], False),
    ],
)
def test_what_is_subdaily(hours, expected):
    time = pd.Timestamp("2000-01-01") + pd.to_timedelta(hours, unit="h")
    assert is_subdaily(pd.DatetimeIndex(time)) is expected
    assert is_subdaily(time[::-1]) is expected


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_days_do_not_stand_against_hours(calendar):
    daily, hours = dates(calendar, 5), dates(calendar, 20, freq="6h")
    message = (
        r"The fine record has a time step of 1 day and the truth one of 6 hours, so daily.*"
        r"daily means of the truth with \.resample\(time=\"1D\"\)\.mean\(\).*\.sel\(time=\.\.\.\)"
    )
    with pytest.raises(TimeAxisError, match=message):
        check_steps(daily, hours, ("The fine record", "the truth"))
    with pytest.raises(TimeAxisError, match=r"first record has a time step of 6 hours.*of 2 days"):
        check_steps(hours, daily[::2])


def test_spread_out_days_and_single_times_stand_against_anything_of_their_kind():
    daily, hours = pd.date_range("2000", periods=9), pd.date_range("2000", periods=36, freq="6h")
    for a, b in [(daily, daily[[0, 3, 8]]), (hours, hours[[5, 6, 30, 31]]), (hours[:1], daily)]:
        check_steps(a, b)
        check_steps(b, a)
    check_steps(hours, hours[::2])
    check_steps(hours, daily[:1])


@pytest.mark.parametrize(
    ("freq", "text"),
    [("D", "1 day"), ("5D", "5 days"), ("h", "1 hour"), ("90min", "90 minutes"), ("s", "1 second")],
)
def test_steps_in_words(freq, text):
    assert step_text(pd.date_range("2000", periods=3, freq=freq)) == text


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_time_has_no_step_in_words(count):
    times = pd.date_range("2000-01-01", periods=count)
    with pytest.raises(TimeAxisError, match=f"There are {count} times, no two of which differ"):
        step_text(times)
    with pytest.raises(TimeAxisError, match="no two of which differ"):
        step_text(pd.DatetimeIndex(["2000-01-01"] * 2))
