"""The chronological split: counted by hand, and proved free of leaks on random records."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xdownscale.core.errors import OptionError, TimeAxisError
from xdownscale.splits import (
    Split,
    Windows,
    check_split,
    chronological_split,
    lag_windows,
    season_of,
)

NONE = np.array([], dtype=int)


def test_by_hand():
    # 103 days, 3 lags: 100 targets, days 3 to 102
    split = chronological_split(pd.date_range("2000", periods=103), 3, early_stopping=0)
    assert split.test.tolist() == list(range(93, 103))
    assert split.validation.tolist() == list(range(80, 90))  # 90, 91, 92 are purged
    assert split.train.tolist() == list(range(3, 77))  # 77, 78, 79 are purged
    assert split.stopping.size == 0


def test_a_gap_needs_no_purge():
    time = pd.date_range("2000-01-01", periods=60).append(pd.date_range("2000-06-01", periods=9))
    split = chronological_split(time, 3, early_stopping=0)
    assert split.test.tolist() == list(range(63, 69))
    assert split.validation.tolist() == list(range(54, 60))
    assert split.train.tolist() == list(range(3, 51))


def check_apart(position, lags):
    """Nothing of facts.md section 4 is broken; positions count days, gaps too."""
    seen = {
        name: {p - back for p in part for back in range(1, lags + 1)}
        for name, part in position.items()
    }
    for a, b in itertools.combinations(position.values(), 2):
        assert not a & b
    learnt = position["train"] | position["stopping"]
    for held in ("validation", "test"):
        assert not learnt & (position[held] | seen[held])
        assert not position[held] & (seen["train"] | seen["stopping"])
    assert not position["validation"] & (position["test"] | seen["test"])
    return set().union(*seen.values())


def test_a_single_training_day_is_not_divided():
    time = pd.date_range("2000-11-03", periods=242, freq="6h")
    split = chronological_split(time, 0, (0.7, 0, 0.3), 0.2, seasons={"wet": (1, 4)})
    assert [part.size for part in split] == [4, 0, 0, 2]  # January 1, of six time steps in all


def check_chronology(split, names):
    """Within each season training comes before validation and validation before test."""
    assert "" not in set(names[np.concatenate(split)])
    for name in set(names) - {""}:
        train, stopping, *held = (part[names[part] == name] for part in split)
        order = [part for part in (np.union1d(train, stopping), *held) if part.size]
        for earlier, later in itertools.pairwise(order):
            assert earlier.max() < later.min()


AXES = [
    ("standard", False, "D"),
    ("noleap", True, "D"),
    ("360_day", True, "D"),
    ("standard", False, "6h"),
]
SHARES = [(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.7, 0, 0.3), (0.7, 0.3, 0), (1, 0, 0)]


@given(
    lags=st.integers(0, 6),
    length=st.integers(150, 900),
    gaps=st.lists(st.tuples(st.integers(0, 899), st.integers(1, 30)), max_size=4),
    shares=st.sampled_from(SHARES),
    early=st.sampled_from([0, 0.2, 0.5]),
    seasons=st.sampled_from([None, ("DJF", "MAM", "JJA", "SON"), ("JJAS", "ON"), {"wet": (1, 4)}]),
    axis=st.sampled_from(AXES),
    seed=st.integers(0, 99),
)
@settings(max_examples=150)
def test_nothing_leaks_on_any_record(lags, length, gaps, shares, early, seasons, axis, seed):
    calendar, cf, freq = axis
    full = xr.date_range("2000-11-03", periods=length, freq=freq, calendar=calendar, use_cftime=cf)
    lost = {start + k for start, width in gaps for k in range(width)}
    kept = np.array([k for k in range(length) if k not in lost], dtype=int)
    time = xr.DataArray(full[kept], dims="time")
    try:
        split = chronological_split(time, lags, shares, early, seasons=seasons, seed=seed)
    except TimeAxisError as error:
        if "lags + 2" not in str(error):
            raise
        assume(False)  # too short for this
    numbers = kept // (4 if freq == "6h" else 1)  # of days: the axis begins at midnight
    position = {name: set(kept[part].tolist()) for name, part in split._asdict().items()}
    assert check_apart(position, lags) <= set(kept.tolist())
    for share, part in zip(shares[1:], split[2:], strict=True):
        assert bool(part.size) == (share > 0)
    known = np.concatenate([split.train, split.stopping])
    assert bool(split.stopping.size) == (early > 0 and np.unique(numbers[known]).size > 1)
    days = pd.Index([str(t)[:10] for t in time.values])
    for a, b in itertools.combinations(split, 2):
        assert not set(days[a]) & set(days[b])  # whole days
    names = np.full(kept.size, "all") if seasons is None else season_of(time, seasons)
    check_chronology(split, names)


def test_shares_of_every_season_in_a_long_record():
    time = pd.date_range("2000-01-01", "2009-12-31")
    seasons = ("DJF", "MAM", "JJA", "SON")
    split = chronological_split(time, 5, seasons=seasons)
    names = season_of(time, seasons)
    for name in seasons:
        n = (names == name).sum()
        assert (names[split.test] == name).sum() == pytest.approx(0.1 * n, abs=1)
        assert (names[split.validation] == name).sum() == pytest.approx(0.1 * n, abs=1)
        assert (names[split.train] == name).sum() == pytest.approx(0.64 * n, rel=0.05)
        assert (names[split.stopping] == name).sum() == pytest.approx(0.16 * n, rel=0.3)


def test_two_years_of_one_season_and_forty_lags_are_enough():
    time = pd.date_range("2005-05-16", "2007-05-15")  # as long as G5NR
    for season in ("DJF", "MAM", "JJA", "SON"):
        split = chronological_split(time, 40, targets=season_of(time, season) == season)
        assert min(part.size for part in split) >= 13, season


def test_early_stopping_days_come_in_blocks_spread_over_the_training_period():
    split = chronological_split(pd.date_range("2000", periods=1003), 3)
    learnt = np.union1d(split.train, split.stopping)
    assert split.stopping.size == round(0.2 * learnt.size)
    blocks = np.split(split.stopping, np.flatnonzero(np.diff(split.stopping) > 1) + 1)
    assert np.median([block.size for block in blocks]) == 5
    per_quarter = np.histogram(split.stopping, bins=4, range=(learnt.min(), learnt.max()))[0]
    np.testing.assert_allclose(per_quarter, split.stopping.size / 4, atol=5)


def test_the_seed_decides_on_early_stopping_alone():
    time = pd.date_range("2000", periods=400)
    one, same, other = (chronological_split(time, 3, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.stopping, other.stopping)
    np.testing.assert_array_equal(one.test, other.test)
    np.testing.assert_array_equal(one.validation, other.validation)


def test_no_early_stopping_and_no_held_out_days():
    split = chronological_split(pd.date_range("2000", periods=50), 3, (1, 0, 0), 0)
    assert split.train.tolist() == list(range(3, 50))
    assert [part.size for part in split[1:]] == [0, 0, 0]


def test_targets_and_presence():
    time = pd.date_range("2000", periods=100)
    present = np.ones(100, bool)
    present[40] = False
    split = chronological_split(time, 3, targets=np.arange(100) < 90, present=present)
    days = np.concatenate(split)
    assert days.max() == 89
    assert not set(days) & {41, 42, 43}
    assert 40 in days  # as a target it has a whole window


def test_seasons_without_days_are_passed_over():
    winters = pd.date_range("2000-12-01", "2002-11-30")
    winters = winters[np.isin(winters.month, (12, 1, 2))]
    split = chronological_split(winters, 3, seasons=("DJF", "MAM", "JJA", "SON"))
    assert min(part.size for part in split) > 10


@pytest.mark.parametrize("n", [0, 1, 4])
def test_record_with_fewer_days_than_lags_plus_two(n):
    with pytest.raises(TimeAxisError, match=rf"The record has {n} days.*at least lags \+ 2 = 5"):
        chronological_split(pd.date_range("2000", periods=n), 3)


@pytest.mark.parametrize(
    ("n", "shares", "part"),
    [
        (8, (0.4, 0.3, 0.3), "training"),
        (40, (0.86, 0.12, 0.02), "test"),
        (40, (0.85, 0.03, 0.12), "validation"),
    ],
)
def test_part_with_fewer_days_than_lags_plus_two(n, shares, part):
    with pytest.raises(
        TimeAxisError, match=rf"The {part} part has \d days.*at least lags \+ 2 = 5"
    ):
        chronological_split(pd.date_range("2000", periods=n), 3, shares)


def test_a_season_that_never_comes():
    time = pd.date_range("2000-06-01", periods=60)
    with pytest.raises(TimeAxisError, match=r"The training part has 0 days"):
        chronological_split(time, 3, targets=season_of(time, "DJF") == "DJF")


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.8, 0.1, 0.2), (0, 0.5, 0.5), (1.1, -0.1, 0)])
def test_fractions_that_are_none(shares):
    with pytest.raises(OptionError, match="give three shares"):
        chronological_split(pd.date_range("2000", periods=50), 3, shares)


def test_early_stopping_that_is_no_share():
    with pytest.raises(OptionError, match="early_stopping is 1"):
        chronological_split(pd.date_range("2000", periods=50), 3, early_stopping=1)


def test_unknown_season():
    with pytest.raises(OptionError, match=r"Unknown season: 'DFJ'.*Did you mean 'DJF'"):
        chronological_split(pd.date_range("2000", periods=50), 3, seasons=["DFJ"])


def windows_of(n, lags):
    return lag_windows(pd.date_range("2000", periods=n), lags)


LEAKS = {
    "shared": (Split(np.array([5, 6]), NONE, NONE, np.array([6])), "day 6 .*'train' and 'test'"),
    "train in test window": (
        Split(np.array([9]), NONE, NONE, np.array([11])),
        "day 9 .*in 'train' and in a test day's lag window",
    ),
    "stopping in validation window": (
        Split(np.array([3]), np.array([9]), np.array([11]), NONE),
        "day 9 .*in 'stopping' and in a validation day's lag window",
    ),
    "validation in test window": (
        Split(np.array([3]), NONE, np.array([18]), np.array([20])),
        "day 18 .*in 'validation' and in a test day's lag window",
    ),
    "test day seen in training": (
        Split(np.array([12]), NONE, NONE, np.array([10])),
        "day 10 .*in 'test' and in a train day's lag window",
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_check_split_finds_every_leak(name):
    split, message = LEAKS[name]
    with pytest.raises(TimeAxisError, match=rf"The split leaks: {message}"):
        check_split(split, windows_of(30, 3))


def test_check_split_lets_training_and_stopping_be_neighbours():
    check_split(Split(np.array([5, 7]), np.array([6]), NONE, NONE), windows_of(30, 3))


def test_check_split_wants_windows_for_all():
    with pytest.raises(TimeAxisError, match="Day 2 of the part 'train' has no complete lag window"):
        check_split(Split(np.array([2, 5]), NONE, NONE, NONE), windows_of(30, 3))


def test_check_split_without_any_window():
    check_split(Split(NONE, NONE, NONE, NONE), Windows(NONE, np.zeros((0, 3), int)))
