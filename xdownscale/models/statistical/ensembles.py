"""Principal components, neighbours, keyed choice and CRPS, which ensembles of fields share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from xdownscale.models.diffusion import noise
from xdownscale.models.statistical.blocks import time_blocks
from xdownscale.models.statistical.predictors import (
    Array,
    Floats,
    State,
    check_width,
    entry,
    floats,
)

NEIGHBOURS = (5, 8, 12, 20, 35, 60, 100, 170, 300)
_JUDGED_CELLS = 128
_JUDGED_DAYS = 120
_MANY = 0.02  # share of values at the smallest one, from which that is a bound, such as no rain


def fair_crps(members: Array, truth: Array) -> float:
    """Return the fair CRPS of an ensemble, averaged over all known values.

    ``mean |x_i - y| - sum_ij |x_i - x_j| / (2 M (M - 1))``, an unbiased estimate of the CRPS of the
    distribution that the M members were drawn from.

    Parameters
    ----------
    members : ndarray (M, ...)
        Without NaN where `truth` is known.
    truth : ndarray (...)
        NaN where missing.

    References
    ----------
    Ferro (2014), doi:10.1002/qj.2270.

    Examples
    --------
    >>> fair_crps(np.array([[0.0], [2.0]]), np.array([1.0]))
    0.0
    """
    return float(np.nanmean(crps_fields(members, truth)))


def crps_fields(members: Array, truth: Array) -> Array:
    """Return the fair CRPS of every value (...); see `fair_crps`."""
    return _crps(members, truth, max(len(members) - 1, 1))


def _crps(members: Array, truth: Array, others: int) -> Array:
    """Return ``mean |x_i - y| - sum_ij |x_i - x_j| / (2 M others)`` of M members."""
    count = len(members)
    error = np.abs(members - truth).mean(0)
    weights = (2 * np.arange(count) - count + 1) / (count * others)
    return np.asarray(error - np.tensordot(weights, np.sort(members, axis=0), 1))


@dataclass(frozen=True)
class Components:
    """Principal components of fields.

    Attributes
    ----------
    center : ndarray (p,)
        Mean field.
    vectors : ndarray (p, q)
        Maps a field that is centred to its q scores.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, 5.0]])
    >>> found = Components.fit(x, 1)
    >>> np.abs(found.scores(x[2])).round(6)
    array([2.], dtype=float32)
    """

    center: Floats
    vectors: Floats

    @classmethod
    def fit(
        cls, x: Array, count: int, *, weights: Array | None = None, whiten: bool = False
    ) -> Components:
        """Fit the leading components.

        Parameters
        ----------
        x : ndarray (n, p)
            Fields, without NaN.
        count : int
            Components; fewer where x has no more.
        weights : ndarray (p,), optional
            What fields are multiplied by, such as one over their standard deviation.
        whiten : bool
            Give the scores of `x` a standard deviation of 1 each.
        """
        center = x.mean(0, dtype=np.float64)
        scale = np.ones(x.shape[1]) if weights is None else np.asarray(weights, np.float64)
        moved = (x - center) * scale
        wide = moved.shape[1] > len(moved)
        gram = moved @ moved.T if wide else moved.T @ moved
        first = max(0, len(gram) - count)
        values, vectors = linalg.eigh(gram, subset_by_index=(first, len(gram) - 1))
        kept = values > 1e-10 * max(float(values.max()), 1e-30)
        values = values[kept][::-1]
        vectors = vectors[:, kept][:, ::-1]
        if wide:
            vectors = moved.T @ vectors / np.sqrt(values)
        if whiten:
            vectors = vectors / np.sqrt(values / len(x))
        return cls(floats(center), floats(vectors * scale[:, None]))

    def scores(self, x: Array) -> Floats:
        """Return the scores of one field (p,), or of each of several (n, p), by itself."""
        if x.ndim == 1:
            check_width(x.size, len(self.center))
            return np.asarray((x - self.center) @ self.vectors, np.float32)
        return np.stack([self.scores(each) for each in x])

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {"center": self.center, "vectors": self.vectors}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats], count: int | None) -> Components:
        """Read what `to_state` returned, for fields of `count` values."""
        vectors = entry(state, "vectors", (count, None))
        return cls(entry(state, "center", (len(vectors),)), vectors)


def nearest(scores: Array, wanted: Array, count: int) -> NDArray[np.int64]:
    """Return the rows of the `count` nearest scores, the nearest first; the earlier of equals."""
    distance = np.square(scores - wanted).sum(1)
    return np.argsort(distance, kind="stable")[:count].astype(np.int64)


def keyed_choice(count: int, seed: int, realization: int, key: int) -> int:
    """Return one of `count` numbers, as a pure function of seed, realization and time.

    The realizations of a time step are dealt from a shuffled deck: the first `count` of them all
    differ, and each number is equally likely for each of them.

    Examples
    --------
    >>> sorted(keyed_choice(4, 0, member, 7) for member in range(4))
    [0, 1, 2, 3]
    """
    deck, place = divmod(realization, count)
    own = noise.derive(seed, key, deck)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(own)))
    return int(generator.permutation(count)[place])


def lower_bounds(fine: Array) -> Floats:
    """Return the smallest value of each target where many values equal it, else -inf.

    Parameters
    ----------
    fine : ndarray (n, target, y, x)
        NaN where missing.

    Examples
    --------
    >>> lower_bounds(np.array([0.0, 0.0, 0.0, 5.0]).reshape(4, 1, 1, 1))
    array([0.], dtype=float32)
    """
    found = []
    for target in range(fine.shape[1]):
        values = fine[:, target]
        values = values[np.isfinite(values)]
        least = values.min(initial=np.inf)
        share = np.mean(values == least) if values.size else 0.0
        constant = values.size > 0 and bool(values.max() == least)
        found.append(least if share >= _MANY and not constant else -np.inf)
    return np.array(found, np.float32)


def filled_along_time(fields: Array) -> Floats:
    """Replace missing values by that of the nearest time step that has the cell; 0 if none has.

    Examples
    --------
    >>> filled_along_time(np.array([[1.0], [np.nan], [np.nan], [4.0]])).ravel()
    array([1., 1., 4., 4.], dtype=float32)
    """
    out = np.array(fields, np.float32)
    flat = out.reshape(len(out), -1)
    known = np.isfinite(flat)
    for cell in np.flatnonzero(~known.all(0)):
        rows = np.flatnonzero(known[:, cell])
        if not rows.size:
            flat[:, cell] = 0
            continue
        after = np.clip(np.searchsorted(rows, np.arange(len(flat))), 0, rows.size - 1)
        before = np.maximum(after - 1, 0)
        every = np.arange(len(flat))
        closer = np.abs(rows[before] - every) <= np.abs(rows[after] - every)
        flat[:, cell] = flat[np.where(closer, rows[before], rows[after]), cell]
    return out


class Best(NamedTuple):
    """A number of neighbours, and the CRPS that it has.

    Attributes
    ----------
    crps : float
        Sum over judged time steps and cells, in standard deviations of the targets.
    neighbours : int
        Their number.
    by_day : ndarray (days,)
        CRPS of each judged time step.
    """

    crps: float
    neighbours: int
    by_day: Array


@dataclass(frozen=True)
class Judge:
    """Time steps and cells on which options of ensembles are chosen, by their CRPS.

    Up to 120 time steps and 128 cells, evenly spaced. The members of a time step come from other
    blocks of time.

    Attributes
    ----------
    block : ndarray of int (n,)
        Block of each time step.
    days : ndarray of int
        Judged time steps.
    cells : ndarray of int
        Judged cells of a flattened field (target, y, x).
    target : ndarray of int (cells,)
        Of each of these.
    truth : ndarray (n, cells)
        NaN where missing.
    least : ndarray (cells,)
        Bound that members are raised to.
    weights : ndarray (cells,)
        One over the standard deviation of each cell's target.
    """

    block: NDArray[np.int64]
    days: NDArray[np.int64]
    cells: NDArray[np.int64]
    target: NDArray[np.int64]
    truth: Array
    least: Array
    weights: Array

    @classmethod
    def of(cls, fine: Array, bounds: Array, count: int = _JUDGED_CELLS) -> Judge:
        """Take evenly spaced time steps and cells of fine fields (n, target, y, x)."""
        ever = np.flatnonzero(np.isfinite(fine).any(0))
        cells = ever[:: max(1, -(-ever.size // count))]
        spread = np.nanstd(fine, axis=(0, 2, 3))
        scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
        target = cells // int(np.prod(fine.shape[2:]))
        days = np.arange(len(fine))[:: max(1, -(-len(fine) // _JUDGED_DAYS))]
        truth = fine.reshape(len(fine), -1)[:, cells]
        block = time_blocks(len(fine))
        return cls(block, days, cells, target, truth, bounds[target], scale[target])

    def best(
        self,
        scores: Array,
        base: Array,
        donated: Array,
        tried: Sequence[int] | None = None,
        logs: Mapping[int, Array] | None = None,
    ) -> Best:
        """Choose the number of neighbours, by the smallest CRPS.

        Parameters
        ----------
        scores : ndarray (n, q)
            By which neighbours are found.
        base, donated : ndarray (n, target, y, x)
            A member is the base of its own time step plus what a neighbour donates.
        tried : sequence of int, optional
            Numbers of neighbours; the length of the record stands for all time steps.
        logs : mapping of ndarray (n, cells), optional
            For each block, the logarithms of amplitudes: what is donated is divided by that of its
            own time step, and multiplied by that of the judged one.
        """
        count = len(scores)
        given = base.reshape(count, -1)[:, self.cells]
        gifts = donated.reshape(count, -1)[:, self.cells]
        fewest = int(min(np.sum(self.block != number) for number in np.unique(self.block)))
        counts = list(tried or [k for k in NEIGHBOURS if k < fewest] + [count])
        found = np.zeros((len(counts), self.days.size))
        for place, day in enumerate(self.days):
            donors = np.flatnonzero(self.block != self.block[day])
            order = donors[nearest(scores[donors], scores[day], donors.size)]
            own = self._donated(gifts, order, day, logs)
            for k, number in enumerate(counts):
                members = np.maximum(given[day] + own[:number], self.least)
                # not the fair CRPS: the members are the distribution itself, not a sample of it
                crps = _crps(members, self.truth[day], len(members))
                found[k, place] = np.nansum(crps * self.weights)
        total = found.sum(1)
        best = int(np.argmin(total))
        return Best(float(total[best]), counts[best], found[best])

    def members(
        self,
        scores: Array,
        base: Array,
        donated: Array,
        neighbours: int,
        count: int,
        logs: Mapping[int, Array] | None = None,
    ) -> Array:
        """Return members (count, days, cells), without bounds.

        Parameters
        ----------
        scores, base, donated, logs
            As for `best`.
        neighbours : int
            Among so many, those that donate are evenly spaced.
        count : int
            Members of a time step.
        """
        given = base.reshape(len(scores), -1)[:, self.cells]
        gifts = donated.reshape(len(scores), -1)[:, self.cells]
        out = np.empty((count, self.days.size, self.cells.size))
        for k, day in enumerate(self.days):
            donors = np.flatnonzero(self.block != self.block[day])
            near = donors[nearest(scores[donors], scores[day], min(neighbours, donors.size))]
            chosen = near[np.linspace(0, near.size - 1, count).round().astype(int)]
            out[:, k] = given[day] + self._donated(gifts, chosen, day, logs)
        return out

    def _donated(
        self, gifts: Array, rows: Array, day: int, logs: Mapping[int, Array] | None
    ) -> Array:
        """Return what time steps donate to a day (rows, cells)."""
        if logs is None:
            return gifts[rows]
        own = logs[int(self.block[day])]
        return np.asarray(gifts[rows] * np.exp(own[day] - own[rows]))
