"""Lag windows against brute force over sets of days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.errors import OptionError, TimeAxisError
from xdownscale.splits import lag_windows, split_seasons


def test_by_hand():
    time = pd.to_datetime([f"2000-01-0{d}" for d in (1, 2, 3, 5, 6, 7, 8)])
    windows = lag_windows(time, lags=2)
    assert windows.targets.tolist() == [2, 5, 6]
    assert windows.lags.tolist() == [[0, 1], [3, 4], [4, 5]]


@given(
    st.sets(st.integers(0, 80), min_size=2),
    st.integers(0, 6),
    st.sampled_from([(None, "D"), (None, "6h"), ("noleap", "D"), ("360_day", "6h")]),
    st.data(),
)
def test_like_brute_force(there, lags, axis, data):
    calendar, freq = axis
    full = xr.date_range("2000-02-20", periods=81, freq=freq, calendar=calendar or "standard")
    there = sorted(there)
    time = full[np.array(there)]
    wanted = data.draw(st.sets(st.integers(0, len(there) - 1)))
    absent = data.draw(st.sets(st.integers(0, len(there) - 1), max_size=4))
    present = np.array([k not in absent for k in range(len(there))])
    step = {"D": 86400, "6h": 21600}[freq]
    windows = lag_windows(
        xr.DataArray(time, dims="time"), lags, sorted(wanted), present=present, step=step
    )
    place = {number: k for k, number in enumerate(there) if k not in absent}
    expected = {
        t: [place.get(there[t] - back) for back in range(lags, 0, -1)] for t in sorted(wanted)
    }
    expected = {t: window for t, window in expected.items() if None not in window}
    assert windows.targets.tolist() == list(expected)
    assert windows.lags.shape == (len(expected), lags)
    assert windows.lags.tolist() == list(expected.values())


def test_windows_of_a_season_never_jump_from_year_to_year():
    time = pd.date_range("2000-01-01", "2003-12-31")
    da = xr.DataArray(np.zeros((time.size, 1, 1)), coords={"time": time, "lat": [0], "lon": [0]})
    winter = split_seasons(da, ["DJF"], buffer_days=5)["DJF"]
    windows = lag_windows(winter.time, 5, winter.is_target.values)
    when = winter.indexes["time"]
    for target, window in zip(windows.targets, windows.lags, strict=True):
        assert when[window].equals(pd.date_range(end=when[target], periods=6)[:-1])
    # without a buffer each winter loses its first five days, with it only the record's first does
    assert windows.targets.size == int(winter.is_target.sum()) - 5


def test_mask_and_index_are_the_same():
    time = pd.date_range("2000", periods=9)
    mask = np.arange(9) % 2 == 0
    by_mask, by_index = lag_windows(time, 2, mask), lag_windows(time, 2, np.flatnonzero(mask))
    np.testing.assert_array_equal(by_mask.targets, by_index.targets)
    np.testing.assert_array_equal(by_mask.lags, by_index.lags)


def test_a_record_that_is_too_short_has_no_targets():
    windows = lag_windows(pd.date_range("2000", periods=3), 3)
    assert windows.targets.shape == (0,)
    assert windows.lags.shape == (0, 3)


def test_negative_lags():
    with pytest.raises(OptionError, match="lags is -1"):
        lag_windows(pd.date_range("2000", periods=3), -1)


def test_mask_of_another_length():
    with pytest.raises(OptionError, match=r"mask `targets` has the shape \(2,\); the record has 3"):
        lag_windows(pd.date_range("2000", periods=3), 1, [True, False])


def test_index_outside_the_record():
    with pytest.raises(OptionError, match=r"`present` holds the indices 0 to 3.*0 to 2"):
        lag_windows(pd.date_range("2000", periods=3), 1, present=[0, 3])


def test_unsorted_times():
    with pytest.raises(TimeAxisError, match="must ascend without duplicates"):
        lag_windows(pd.date_range("2000", periods=3)[::-1], 1)
