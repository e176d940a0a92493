"""Seasons against calendars counted by hand and xarray's own seasons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.errors import OptionError, TimeAxisError, XDownscaleWarning
from xdownscale.splits import resolve_seasons, season_of, season_windows, split_seasons


def record(start, stop, calendar="standard", freq="D"):
    time = xr.date_range(start, stop, freq=freq, calendar=calendar)
    return xr.DataArray(
        np.arange(len(time), dtype=float).reshape(1, -1, 1),
        dims=("lat", "time", "lon"),
        coords={"time": time, "lat": [0.0], "lon": [0.0]},
        attrs={"units": "1"},
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DJF", (12, 1, 2)),
        ("JJAS", (6, 7, 8, 9)),
        ("NDJFMA", (11, 12, 1, 2, 3, 4)),
        ("MJ", (5, 6)),
        ("AMJJASONDJFM", (4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 2, 3)),
    ],
)
def test_names_by_first_letters(name, expected):
    assert resolve_seasons(name) == {name: expected}


def test_mapping_of_months():
    assert resolve_seasons({"wet": [11, 12]}) == {"wet": (11, 12)}


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_default_seasons_are_those_of_xarray(calendar):
    da = record("2000-01-01", "2001-12-30", calendar)
    np.testing.assert_array_equal(season_of(da.time), da.time.dt.season)


def test_a_season_across_the_years_end_by_hand():
    parts = season_windows(record("2000-01-01", "2001-12-31").time, ["DJF"], buffer_days=45)
    index, is_target = parts["DJF"]
    time = pd.date_range("2000-01-01", "2001-12-31")[index]
    assert is_target.sum() == 60 + 31 + 59 + 31
    expected = pd.date_range("2000-10-17", "2000-11-30").append(
        pd.date_range("2001-10-17", "2001-11-30")
    )
    assert time[~is_target].equals(expected)


@given(
    st.integers(0, 90),
    st.sampled_from(["DJF", "JJAS", "ON", "MAM"]),
    st.sampled_from(["standard", "noleap", "360_day"]),
    st.lists(st.integers(0, 720), max_size=40),
)
def test_context_is_what_lies_within_the_buffer_before_a_target(buffer, season, calendar, gaps):
    da = record("2000-01-01", "2001-12-30", calendar)
    da = da.isel(time=np.setdiff1d(np.arange(da.sizes["time"]), gaps))
    index, is_target = season_windows(da.time, [season], buffer)[season]
    months = da.time.dt.month.values
    target = np.isin(months, resolve_seasons(season)[season])
    day = da.values.ravel()  # the number of the day, gaps and all
    ahead = day[target][None, :] - day[:, None]
    context = ~target & ((ahead > 0) & (ahead <= buffer)).any(axis=1)
    np.testing.assert_array_equal(index, np.flatnonzero(target | context))
    np.testing.assert_array_equal(is_target, target[index])


def test_buffer_of_six_hourly_records_is_in_days():
    da = record("2000-01-01", "2000-12-31T18", freq="6h")
    index, is_target = season_windows(da.time, ["JJA"], 10)["JJA"]
    assert is_target.sum() == 92 * 4
    assert (~is_target).sum() == 10 * 4
    assert np.all(np.diff(index) == 1)


def test_split_seasons_keeps_labels_and_input():
    da = record("2000-01-01", "2001-12-31")
    before = da.copy(deep=True)
    parts = split_seasons(da)
    assert list(parts) == ["DJF", "MAM", "JJA", "SON"]
    for name, part in parts.items():
        assert part.dims == da.dims
        assert part.attrs == da.attrs
        assert part.is_target.dims == ("time",)
        assert part.is_target.dtype == bool
        assert set(part.time.dt.season.values[part.is_target.values]) == {name}
        xr.testing.assert_identical(part.drop_vars("is_target"), da.sel(time=part.time.values))
    assert sum(int(part.is_target.sum()) for part in parts.values()) == da.sizes["time"]
    xr.testing.assert_identical(da, before)


def test_split_seasons_sorts():
    da = record("2000-01-01", "2000-12-31")
    with pytest.warns(XDownscaleWarning, match="did not ascend"):
        part = split_seasons(da.isel(time=slice(None, None, -1)), ["JJA"])["JJA"]
    assert part.indexes["time"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("wrong", "near"), [("DFJ", "DJF"), ("jja", "JJA"), ("JJSA", "JJAS"), ("JJJ", "JJA")]
)
def test_unknown_season_names_the_nearest(wrong, near):
    with pytest.raises(OptionError, match=rf"Unknown season: '{wrong}'.*'{near[:2]}"):
        split_seasons(record("2000-01-01", "2000-12-31"), [wrong])


def test_a_single_letter_is_ambiguous():
    with pytest.raises(OptionError, match="Unknown season: 'J'"):
        resolve_seasons(["J"])


@pytest.mark.parametrize("months", [(), (0, 1), (12, 13), (1, 1)])
def test_months_that_are_none(months):
    with pytest.raises(OptionError, match=r"Season 'wet' has the months .*numbers 1 to 12"):
        resolve_seasons({"wet": months})


def test_no_season():
    with pytest.raises(OptionError, match="No season was given"):
        resolve_seasons([])


def test_seasons_that_overlap():
    time = record("2000-01-01", "2000-12-31").time
    with pytest.raises(OptionError, match="'JJA' and 'JAS' share the month 7"):
        season_of(time, ["JJA", "JAS"])
    assert list(season_windows(time, ["JJA", "JAS"])) == ["JJA", "JAS"]


def test_season_that_the_record_has_not():
    with pytest.raises(TimeAxisError, match=r"No time .* season 'DJF'.*\[6, 7, 8\]"):
        split_seasons(record("2000-06-01", "2000-08-31"), ["DJF"])


def test_negative_buffer():
    with pytest.raises(OptionError, match="buffer_days is -1"):
        split_seasons(record("2000-06-01", "2000-08-31"), ["JJA"], -1)
