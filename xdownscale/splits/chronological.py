"""Chronological split into training, early-stopping, validation and test time steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xdownscale.core.errors import OptionError, TimeAxisError
from xdownscale.core.time import DAY, ascending, find, time_step
from xdownscale.splits.lags import Windows, lag_windows
from xdownscale.splits.seasons import Seasons, resolve_seasons, season_of

Index = NDArray[np.intp]
_BLOCK = 5  # consecutive days set aside for early stopping


class Split(NamedTuple):
    """Indices of the targets of each part, ascending.

    Attributes
    ----------
    train : ndarray of int
        Time steps to train on.
    stopping : ndarray of int
        Time steps set aside from training to decide when it stops.
    validation : ndarray of int
        Time steps to choose models and options on.
    test : ndarray of int
        Time steps for the final evaluation.
    """

    train: Index
    stopping: Index
    validation: Index
    test: Index


def chronological_split(
    time: Any,
    lags: int,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    early_stopping: float = 0.2,
    *,
    seasons: Seasons | None = None,
    targets: ArrayLike | None = None,
    present: ArrayLike | None = None,
    step: int | None = None,
    seed: int = 0,
) -> Split:
    """Split the targets of a record chronologically, without leakage between the parts.

    Each season's targets, all years in their order, are divided: the last share is the test
    part, the share before it validation, the rest training. Then days are purged, from training
    rather than validation and from validation rather than test: no training day lies within
    `lags` steps of a validation or test day, before or after it, and no validation day of a test
    day, whatever the season. Validation takes its share from the days that are left before the
    test part, so training pays for the purges. Whole days stay together.

    Parameters
    ----------
    time : array or DataArray of datetime64 or cftime, shape (n,)
        Ascending times.
    lags : int
        Preceding time steps that a model sees.
    fractions : sequence of three floats
        Shares of training, validation and test; the last two may be 0.
    early_stopping : float
        Share of the training days that is set aside, in blocks of about five days spread over
        the training period; may be 0. A single training day is not divided.
    seasons : str, sequence of str or mapping of str to months, optional
        Split each season on its own, then join the parts; days in no season are left out. By
        default the record is split as a whole.
    targets : mask or index array, optional
        Time steps that may be targets; all by default.
    present : mask or index array, optional
        Time steps that may be in a lag window; all by default.
    step : int, optional
        Time step in seconds; by default the most common one.
    seed : int
        Seed of the random choice of days for early stopping.

    Returns
    -------
    Split

    Raises
    ------
    OptionError
        For fractions or early_stopping that are no shares, or unknown seasons.
    TimeAxisError
        If the record, or a part that was asked for, has fewer than lags + 2 days (a part's lag
        windows count).

    Examples
    --------
    >>> import pandas as pd
    >>> split = chronological_split(pd.date_range("2000-01-01", periods=203), lags=3)
    >>> [part.size for part in split]
    [123, 31, 20, 20]
    >>> split.train.max() < split.validation.min() - 3, split.validation.max(), split.test.min()
    (np.True_, np.int64(179), np.int64(183))
    """
    shares = _check_shares(fractions, early_stopping)
    numbers = ascending(time)
    _check_length("The record", numbers.size, lags)
    width = time_step(time) if step is None else step
    windows = lag_windows(time, lags, targets, present=present, step=width)
    groups = [windows.targets]
    if seasons is not None:
        names = season_of(time, seasons)[windows.targets]
        groups = [windows.targets[names == name] for name in resolve_seasons(seasons)]
    train, validation, test = _divide(numbers, groups, shares, lags * width)
    for name, part, share in zip(
        ("training", "validation", "test"), (train, validation, test), shares, strict=True
    ):
        if share > 0:
            before = windows.lags[find(part, windows.targets)]
            _check_length(f"The {name} part", np.union1d(part, before.ravel()).size, lags)
    train, stopping = _set_aside(train, numbers // DAY, early_stopping, seed)
    split = Split(train, stopping, validation, test)
    check_split(split, windows)
    return split


def _check_shares(fractions: Sequence[float], early_stopping: float) -> tuple[float, ...]:
    shares = tuple(float(f) for f in fractions)
    if len(shares) != 3 or min(shares) < 0 or shares[0] <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise OptionError(
            f"fractions is {shares}; give three shares (training, validation, test) that sum to 1, "
            "the first above 0."
        )
    if not 0 <= early_stopping < 1:
        raise OptionError(f"early_stopping is {early_stopping}; give a share in [0, 1).")
    return shares


def _check_length(what: str, found: int, lags: int) -> None:
    if found < lags + 2:
        raise TimeAxisError(
            f"{what} has {found} days (lag windows included); with lags={lags} at least lags + 2 = "
            f"{lags + 2} are needed. Give a longer record, fewer lags or other fractions."
        )


def _divide(
    numbers: NDArray[np.int64], groups: list[Index], shares: Sequence[float], reach: int
) -> tuple[Index, Index, Index]:
    """Divide targets by whole days, with a purge between the parts.

    Parameters
    ----------
    numbers : ndarray of int
        Times in seconds.
    groups : list of ndarray of int
        Targets of each season.
    shares : sequence of three floats
        Of training, validation and test.
    reach : int
        Seconds that a lag window reaches back.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        Training, validation and test targets of all groups.
    """
    counts = [np.unique(numbers[group] // DAY).size for group in groups]
    test, earlier = _cut(numbers, groups, [_count(n, shares[2]) for n in counts])
    earlier = [_purge(numbers, group, test, reach) for group in earlier]
    validation, earlier = _cut(numbers, earlier, [_count(n, shares[1]) for n in counts])
    kept = np.union1d(test, validation)
    train = _purge(numbers, np.sort(np.concatenate(earlier)), kept, reach)
    return train, validation, test


def _cut(
    numbers: NDArray[np.int64], groups: list[Index], counts: list[int]
) -> tuple[Index, list[Index]]:
    """Split off each group's last days; return them joined, and the earlier ones by group."""
    last = []
    earlier = []
    for group, count in zip(groups, counts, strict=True):
        own = numbers[group] // DAY
        days = np.unique(own)
        taken = np.isin(own, days[max(days.size - count, 0) :])
        last.append(group[taken])
        earlier.append(group[~taken])
    return np.sort(np.concatenate(last)), earlier


def _purge(numbers: NDArray[np.int64], group: Index, others: Index, reach: int) -> Index:
    """Drop the days within reach of other targets, before or after them."""
    if not others.size or not group.size:
        return group
    theirs = numbers[others]
    own = numbers[group]
    place = np.searchsorted(theirs, own)
    after = theirs[np.minimum(place, theirs.size - 1)]
    before = theirs[np.maximum(place - 1, 0)]
    near = np.minimum(np.abs(after - own), np.abs(own - before)) <= reach
    days = own // DAY
    return group[~np.isin(days, days[near])]


def _count(n: int, share: float) -> int:
    return max(1, round(n * share)) if share > 0 and n else 0


def _set_aside(
    train: Index, days: NDArray[np.int64], share: float, seed: int
) -> tuple[Index, Index]:
    """Set whole training days aside, in short blocks spread over the period."""
    available = np.unique(days[train])
    if share == 0 or available.size < 2:
        return train, train[:0]
    total = min(max(1, round(share * available.size)), available.size - 1)
    strata = np.array_split(available, -(-total // _BLOCK))
    lengths = [part.size for part in np.array_split(np.arange(total), len(strata))]
    rng = np.random.default_rng(seed)
    chosen = []
    for stratum, length in zip(strata, lengths, strict=True):
        start = rng.integers(0, stratum.size - length + 1)
        chosen.append(stratum[start : start + length])
    aside = np.isin(days[train], np.concatenate(chosen))
    return train[~aside], train[aside]


def check_split(split: Split, windows: Windows) -> None:
    """Raise if data leak between the parts of a split.

    No test day, and no day in a test day's lag window, is a training, stopping or validation
    day; the same holds for validation against training and stopping; and no training day's lag
    window holds a validation or test day. No day is in two parts.

    Parameters
    ----------
    split : Split
        Target days of each part.
    windows : Windows
        Lag windows of all targets of the record.

    Raises
    ------
    TimeAxisError
        If one of this does not hold; names the first day concerned.

    Examples
    --------
    >>> windows = Windows(np.array([1, 2, 3]), np.array([[0], [1], [2]]))
    >>> none = np.array([], dtype=int)
    >>> check_split(Split(np.array([1]), none, none, np.array([3])), windows)
    """
    parts = split._asdict()
    lags: dict[str, Index] = {}
    for name, part in parts.items():
        rows = find(part, windows.targets)
        if np.any(rows < 0):
            raise TimeAxisError(
                f"Day {part[rows < 0][0]} of the part {name!r} has no complete lag window; take "
                "targets from `lag_windows`."
            )
        lags[name] = np.unique(windows.lags[rows])
    for (low, _), (high, _) in itertools.combinations(list(parts.items()), 2):
        _check_disjoint(f"in the parts {low!r} and {high!r}", parts[low], parts[high])
        if high != "stopping":
            _check_disjoint(f"in {low!r} and in a {high} day's lag window", parts[low], lags[high])
            _check_disjoint(f"in {high!r} and in a {low} day's lag window", parts[high], lags[low])


def _check_disjoint(where: str, a: Index, b: Index) -> None:
    common = np.intersect1d(a, b)
    if common.size:
        raise TimeAxisError(
            f"The split leaks: day {common[0]} (and {common.size - 1} more) is {where}. Use "
            "`chronological_split`, or leave more days between the parts."
        )
