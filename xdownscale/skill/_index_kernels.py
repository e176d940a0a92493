"""Arithmetic of the climate indices: arrays (cell, day), one number for each cell.

NaN marks a day without a value. A function returns NaN where a cell has too few values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.skill._index_days import Days, Years

Array = NDArray[Any]
# what was converted may lie a rounding error of float32 beside a threshold
_RAIN_ROUNDING = 1e-6  # relative
_WARM_ROUNDING = 5e-5  # K
WET = 1.0 - _RAIN_ROUNDING  # mm in a day
RETURN_PERIOD = 20.0  # years
FEWEST_MAXIMA = 10  # years that a distribution of annual maxima is fitted to
WINDOW = 31  # days of the circular mean that the phase is read from
HARMONICS = 4
_FEWEST_IN_CYCLE = 0.9  # share of the calendar days that an annual cycle needs
_ROUNDING = 1e-14  # share of the mean square below which a variance is rounding


class Sample:
    """Values of a group of days (cell, day), and what several indices share.

    Parameters
    ----------
    x : ndarray of float64 (cell, day)
    days : Days
    """

    def __init__(self, x: Array, days: Days) -> None:
        self.x = x
        self.days = days
        self.good = ~np.isnan(x)

    @cached_property
    def count(self) -> Array:
        return np.asarray(self.good.sum(axis=1))

    @cached_property
    def mean(self) -> Array:
        return mean_of(self.x, self.good)

    @cached_property
    def apart(self) -> Array:
        """Differences to the mean, 0 where there is no value."""
        return np.where(self.good, self.x - self.mean[:, None], 0.0)

    @cached_property
    def squares(self) -> Array:
        """Sum of squared differences to the mean; NaN where that is rounding."""
        found = (self.apart**2).sum(axis=1)
        size = np.where(self.good, self.x, 0.0) ** 2
        return np.where(found > _ROUNDING * size.sum(axis=1), found, np.nan)

    @cached_property
    def yearly_means(self) -> Array:
        return self.by_year(np.add) / self.year_counts(self.days.years)

    def year_counts(self, years: Years) -> Array:
        """Count the values of each year (cell, year); NaN where they are too few."""
        count = _reduced(np.add, self.good.astype(float), years)
        return np.where(count >= years.enough, count, np.nan)

    def by_year(self, how: Any, joined: bool = False, values: Array | None = None) -> Array:
        """Reduce the values of each year with a ufunc (cell, year); NaN where they are too few."""
        years = self.days.joined if joined else self.days.years
        neutral = {np.add: 0.0, np.maximum: -np.inf, np.minimum: np.inf}[how]
        given = self.x if values is None else values
        found = _reduced(how, np.where(self.good, given, neutral), years)
        return np.where(np.isnan(self.year_counts(years)), np.nan, found)


def _reduced(how: Any, values: Array, years: Years) -> Array:
    if not years.starts.size:
        return np.zeros((len(values), 0))
    found: Array = how.reduceat(values, years.starts, axis=1)
    return found


def mean_of(x: Array, good: Array | None = None) -> Array:
    """Average the values of each row that are not NaN."""
    good = ~np.isnan(x) if good is None else good
    return share(np.where(good, x, 0.0).sum(axis=1), good.sum(axis=1))


def share(part: Array, whole: Array) -> Array:
    """Divide; NaN where the whole is nothing."""
    return np.asarray(part / np.where(whole > 0, whole, np.nan))


def quantile(x: Array, q: float) -> Array:
    """Return a quantile of each row, linear between order statistics; NaN is left out."""
    ordered = np.sort(x, axis=1)  # NaN goes last
    count = (~np.isnan(x)).sum(axis=1)
    if not x.shape[1]:
        return np.full(len(x), np.nan)
    place = q * np.maximum(count - 1, 0)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    row = np.arange(len(x))
    below = ordered[row, low]
    return np.asarray(below + (ordered[row, high] - below) * (place - low))


def variance(s: Sample) -> Array:
    return np.asarray(s.squares / np.where(s.count > 1, s.count - 1, np.nan))


def skewness(s: Sample) -> Array:
    """``mean((x - m)^3) / s^3``, with the standard deviation of divisor n - 1."""
    return share((s.apart**3).sum(axis=1), s.count) / variance(s) ** 1.5


def frequency(least: float) -> Callable[[Sample], Array]:
    return lambda s: share((s.x >= least * WET).sum(axis=1), s.count)


def wet_days(s: Sample) -> Array:
    return np.where(s.x >= WET, s.x, np.nan)


def autocorrelation(lag: int) -> Callable[[Sample], Array]:
    """Return ``sum (x_t - m)(x_t+k - m) / (p + k)`` over the variance of divisor n.

    p is the number of pairs that are k days apart; without gaps p + k = n, and this is the usual
    estimator.
    """

    def found(s: Sample) -> Array:
        one, other = pairs(s.days.numbers, lag)
        both = (s.good[:, one] & s.good[:, other]).sum(axis=1)
        total = (s.apart[:, one] * s.apart[:, other]).sum(axis=1)
        return share(total, np.where(both > 0, both + lag, 0)) * s.count / s.squares

    return found


def pairs(numbers: Array, lag: int) -> tuple[Array, Array]:
    """Return the places of the days that have a day `lag` later, and of those later ones."""
    place = np.searchsorted(numbers, numbers + lag)
    there = place < len(numbers)
    there[there] = numbers[place[there]] == numbers[there] + lag
    return np.flatnonzero(there), place[there]


def neighbours(joined: bool) -> Callable[[Sample], Array]:
    """Return the correlation of each day with the next: of the calendar, or of the record."""

    def found(s: Sample) -> Array:
        places = np.arange(len(s.days.numbers))
        one, other = (places[:-1], places[1:]) if joined else pairs(s.days.numbers, 1)
        return correlation(s.x[:, one], s.x[:, other])

    return found


def correlation(a: Array, b: Array) -> Array:
    """Return the correlation of each row of two arrays, of the values that both have."""
    good = ~np.isnan(a + b)
    first = Sample(np.where(good, a, np.nan), NO_DAYS)
    second = Sample(np.where(good, b, np.nan), NO_DAYS)
    return np.asarray(
        (first.apart * second.apart).sum(axis=1) / np.sqrt(first.squares * second.squares)
    )


def transition(wet_before: bool, joint: bool) -> Callable[[Sample], Array]:
    """Return the probability of a wet day after a wet or a dry one, or of both together."""

    def found(s: Sample) -> Array:
        one, other = pairs(s.days.numbers, 1)
        valid = s.good[:, one] & s.good[:, other]
        before = valid & ((s.x[:, one] >= WET) == wet_before)
        hits = (before & (s.x[:, other] >= WET)).sum(axis=1)
        return share(hits, (valid if joint else before).sum(axis=1))

    return found


def spells(condition: Array, breaks: Array) -> tuple[Array, Array, Array]:
    """Return row, first day and length of each spell, in the order of rows.

    Parameters
    ----------
    condition : ndarray of bool (cell, day)
    breaks : ndarray of int
        Days that begin a new spell, whatever was before.

    Examples
    --------
    >>> spells(np.array([[True, True, False, True]]), np.array([1]))[2]
    array([1, 1, 1])
    """
    fresh = np.zeros(condition.shape[1], bool)
    fresh[breaks] = True
    fresh[:1] = True
    before = np.zeros_like(condition)
    before[:, 1:] = condition[:, :-1]
    begins = condition & (fresh | ~before)
    after = np.zeros_like(condition)
    after[:, :-1] = condition[:, 1:] & ~fresh[1:]
    row, first = np.nonzero(begins)
    last = np.nonzero(condition & ~after)[1]
    return row, first, last - first + 1


def _condition(s: Sample, wet: bool) -> Array:
    return np.asarray(s.good & ((s.x >= WET) == wet))


def _gaps(s: Sample) -> Array:
    return np.flatnonzero(np.diff(s.days.numbers, prepend=s.days.numbers[:1]) > 1)


def spell_mean(wet: bool) -> Callable[[Sample], Array]:
    def found(s: Sample) -> Array:
        row, _, length = spells(_condition(s, wet), _gaps(s))
        number = np.bincount(row, minlength=len(s.x))
        total = np.bincount(row, length, minlength=len(s.x))
        return np.where(s.count > 0, total / np.maximum(number, 1), np.nan)

    return found


def spell_quantile(wet: bool, q: float) -> Callable[[Sample], Array]:
    def found(s: Sample) -> Array:
        row, _, length = spells(_condition(s, wet), _gaps(s))
        number = np.bincount(row, minlength=len(s.x))
        table = np.full((len(s.x), max(1, int(number.max(initial=0)))), np.nan)
        first = np.concatenate([[0], np.cumsum(number)])[:-1]
        table[row, np.arange(row.size) - first[row]] = length
        return np.where(s.count > 0, np.nan_to_num(quantile(table, q)), np.nan)

    return found


def longest_spell(wet: bool, joined: bool) -> Callable[[Sample], Array]:
    """Return the mean over the years of the longest spell within each."""

    def found(s: Sample) -> Array:
        years = s.days.joined if joined else s.days.years
        breaks = years.starts if joined else np.union1d(years.starts, _gaps(s))
        row, first, length = spells(_condition(s, wet), breaks.astype(int))
        longest = np.zeros((len(s.x), years.starts.size))
        year = np.searchsorted(years.starts, first, side="right") - 1
        np.maximum.at(longest, (row, year), length)
        return mean_of(np.where(np.isnan(s.year_counts(years)), np.nan, longest))

    return found


def extreme(how: Any, joined: bool) -> Callable[[Sample], Array]:
    """Return the mean over the years of the largest or the smallest value of each."""
    return lambda s: mean_of(s.by_year(how, joined))


def days_above(level: float, joined: bool) -> Callable[[Sample], Array]:
    """Return the mean over the years of the number of days above a level."""
    return lambda s: mean_of(
        s.by_year(np.add, joined, (s.x > level + _WARM_ROUNDING).astype(float))
    )


def interannual_variance(s: Sample) -> Array:
    return variance(Sample(s.yearly_means, NO_DAYS))


def interannual_sd(joined: bool) -> Callable[[Sample], Array]:
    """Return the standard deviation (divisor n) of the means of the years."""

    def found(s: Sample) -> Array:
        years = s.days.joined if joined else s.days.years
        means = Sample(s.by_year(np.add, joined) / s.year_counts(years), NO_DAYS)
        return np.sqrt(share(means.squares, np.where(means.count > 1, means.count, 0)))

    return found


def trend(s: Sample) -> Array:
    """Return the slope of the least-squares line through the means of the years."""
    means = Sample(s.yearly_means, NO_DAYS)
    labels = np.broadcast_to(s.days.years.labels.astype(float), means.x.shape)
    year = Sample(np.where(means.good, labels, np.nan), NO_DAYS)
    enough = np.where(means.count > 2, year.squares, np.nan)
    return np.asarray((means.apart * year.apart).sum(axis=1) / enough)


def return_value(how: Any) -> Callable[[Sample], Array]:
    """Return the value that a year's maximum (minimum) exceeds (falls below) once in 20 years."""
    sign = 1.0 if how is np.maximum else -1.0
    return lambda s: sign * gev_quantile(sign * s.by_year(how), 1 - 1 / RETURN_PERIOD)


def gev_quantile(maxima: Array, probability: float) -> Array:
    """Fit a generalised extreme value distribution by L-moments; return one of its quantiles.

    Parameters
    ----------
    maxima : ndarray (cell, year)
        NaN where a year has none.
    probability : float

    Returns
    -------
    ndarray (cell,)
        NaN where there are fewer than 10 years, or they are all alike.

    References
    ----------
    Hosking (1990), doi:10.1111/j.2517-6161.1990.tb01775.x; Hosking et al. (1985),
    doi:10.1080/00401706.1985.10488049.
    """
    from scipy.special import gamma

    first, second, third = l_moments(maxima)
    c = 2 / (3 + third / second) - np.log(2) / np.log(3)
    k = 7.8590 * c + 2.9554 * c**2
    k = np.where(np.abs(k) < 1e-6, 1e-6, k)  # the limit of Gumbel, without its 0 / 0
    k = np.where(k > -1, k, np.nan)
    scale = second * k / ((1 - 2.0**-k) * gamma(1 + k))
    place = first - scale * (1 - gamma(1 + k)) / k
    return np.asarray(place + scale * (1 - (-np.log(probability)) ** k) / k)


def l_moments(x: Array) -> tuple[Array, Array, Array]:
    """Return the first three L-moments of each row, unbiased; NaN of fewer than 10 values."""
    ordered = np.sort(x, axis=1)
    count = (~np.isnan(x)).sum(axis=1)[:, None].astype(float)
    count = np.where(count >= FEWEST_MAXIMA, count, np.nan)
    rank = np.arange(x.shape[1])[None]
    weights = (1.0, rank / (count - 1), rank * (rank - 1) / ((count - 1) * (count - 2)))
    b = [np.nansum(ordered * w, axis=1) / count[:, 0] for w in weights]
    second = 2 * b[1] - b[0]
    second = np.where(second > _ROUNDING * np.abs(b[0]), second, np.nan)
    return b[0], second, 6 * b[2] - 6 * b[1] + b[0]


def calendar_means(s: Sample) -> Array:
    """Return the mean of each calendar day (cell, period); NaN rows where too many lack one."""
    kept = s.days.places >= 0
    order = np.argsort(s.days.places[kept], kind="stable")
    place = s.days.places[kept][order]
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    found = np.full((len(s.x), s.days.period), np.nan)
    if starts.size:
        good = s.good[:, kept][:, order]
        values = np.where(good, s.x[:, kept][:, order], 0.0)
        total = np.add.reduceat(values, starts, axis=1)
        count = np.add.reduceat(good.astype(float), starts, axis=1)
        found[:, place[starts]] = share(total, count)
    enough = (~np.isnan(found)).sum(axis=1) >= _FEWEST_IN_CYCLE * s.days.period
    return np.where(enough[:, None], found, np.nan)


def cycle_amplitude(s: Sample) -> Array:
    """Return the largest minus the smallest mean of a calendar day."""
    return _range(calendar_means(s))


def cycle_amplitude_filtered(s: Sample) -> Array:
    """Return the same of the least-squares fit of four harmonics."""
    cycle = calendar_means(s)
    angle = 2 * np.pi * np.arange(cycle.shape[1]) / cycle.shape[1]
    waves = [f(k * angle) for k in range(1, HARMONICS + 1) for f in (np.cos, np.sin)]
    design = np.stack([np.ones_like(angle), *waves], axis=1)
    found = np.full(cycle.shape, np.nan)
    good = ~np.isnan(cycle)
    for mask in np.unique(good, axis=0):
        rows = np.flatnonzero((good == mask).all(axis=1))
        if mask.any():
            solved = np.linalg.lstsq(design[mask], cycle[np.ix_(rows, mask)].T, rcond=None)[0]
            found[rows] = (design @ solved).T
    return _range(found)


def circular_means(cycle: Array) -> Array:
    """Return the circular mean over 31 days of a cycle (cell, period); NaN is left out."""
    half = WINDOW // 2
    padded = np.concatenate([cycle[:, -half:], cycle, cycle[:, :half]], axis=1)
    good = ~np.isnan(padded)
    total = _moving(np.where(good, padded, 0.0))
    count = np.rint(_moving(good.astype(float)))
    return share(total, count)


def cycle_phase(s: Sample) -> Array:
    """Return the day of the year, from 1, of the largest circular mean over 31 days."""
    smooth = circular_means(calendar_means(s))
    varies = _range(smooth) > 1e-9 * np.abs(mean_of(smooth))
    best = np.where(np.isnan(smooth), -np.inf, smooth).argmax(axis=1)
    return np.where(varies, best + 1.0, np.nan)


def _moving(x: Array) -> Array:
    sums = np.cumsum(np.pad(x, [(0, 0), (1, 0)]), axis=1)
    return np.asarray(sums[:, WINDOW:] - sums[:, :-WINDOW])


def _range(x: Array) -> Array:
    known = ~np.isnan(x)
    high = np.where(known, x, -np.inf).max(axis=1)
    low = np.where(known, x, np.inf).min(axis=1)
    return np.where(known.any(axis=1), high - low, np.nan)


_NONE = np.zeros(0, int)
_NO_YEARS = Years(_NONE, _NONE, _NONE)
NO_DAYS = Days(_NONE, _NONE, _NONE, 365, _NO_YEARS, _NO_YEARS)
