"""Distribution of members of a censored record, such as rain: dry share, drizzle, upper tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from xdownscale.models.statistical.predictors import (
    Array,
    Floats,
    State,
    entry,
    floats,
    prefixed,
    under,
)

Censored = Sequence[tuple[float, float] | None]
_LEVELS = np.r_[np.linspace(0, 0.98, 50), 0.985, 0.99, 0.995, 0.998, 0.999]
_BEYOND = 20  # values that must lie above the highest quantile
_PREFIX = "marginal"
_NODES = 32  # quantiles of a Gaussian, by which a mean is computed


@dataclass(frozen=True)
class Marginal:
    """Maps generated values to the distribution of the known ones, over all cells together.

    The smallest generated values become the smallest known one, as many as there are among the
    known ones: dry days are as frequent. The quantiles of the others are mapped to the known ones'.
    Values beyond the outermost quantile are shifted as it is. A value depends on nothing but
    itself, and larger ones stay larger.

    Attributes
    ----------
    threshold : ndarray (target,)
        Smaller generated values are dry; -inf where a target is not censored and left as it is.
    least : ndarray (target,)
        What these become.
    given, onto : ndarray (target, quantile)
        Quantiles of the generated values that are not dry, and of the known ones.

    Examples
    --------
    >>> known = np.array([[0.0], [0.0], [1.0], [3.0]])
    >>> made = np.array([[[-1.0], [0.5], [2.0], [4.0]]])
    >>> found = Marginal.fit(made, known, np.array([0]), [(0.5, 0.0)])
    >>> found.apply(np.array([[[-3.0, 0.4, 2.0, 2.5]]], np.float32)).tolist()
    [[[0.0, 0.0, 1.0, 1.5]]]
    """

    threshold: Floats
    least: Floats
    given: Floats
    onto: Floats

    @classmethod
    def fit(
        cls,
        members: Array,
        known: Array,
        target: Array,
        censored: Censored,
        *,
        top: float = 1.0,
    ) -> Marginal:
        """Fit the quantiles.

        Parameters
        ----------
        members : ndarray (m, n, cells)
            Generated for time steps that their model was not fitted on.
        known : ndarray (n, cells)
            Of the same time steps; NaN where missing.
        target : ndarray of int (cells,)
            Of each cell.
        censored : sequence of (float, float) or None
            For each target the value up to which known values are dry, and what these are;
            None where it is not censored.
        top : float
            Share of the values that are not dry, the smaller ones, that are mapped. Larger ones
            are drawn to these, but for those well above them, which stay.
        """
        count = len(censored)
        threshold = np.full(count, -np.inf)
        least = np.zeros(count)
        mapped = _LEVELS[top >= _LEVELS]
        given = np.zeros((count, mapped.size + (top < 1)))
        onto = np.zeros_like(given)
        for k, ends in enumerate(censored):
            values = known[:, target == k]
            there = np.isfinite(values)
            if ends is None or not np.any(values > ends[0]):
                continue
            made = members[:, :, target == k][:, there]
            dry = float(np.mean(values[there] <= ends[0]))
            least[k] = ends[1]
            threshold[k] = np.quantile(made, dry)
            wet = values[there][values[there] > ends[0]]
            levels = np.clip(mapped, 0, max(0.0, 1 - _BEYOND / wet.size))
            pairs = (np.quantile(made[made >= threshold[k]], levels), np.quantile(wet, levels))
            given[k], onto[k] = pairs if top == 1 else _meeting(*pairs)
        return cls(floats(threshold), floats(least), floats(given), floats(onto))

    @property
    def censored(self) -> Array:
        """Which targets are censored (target, 1, 1)."""
        return np.asarray(np.isfinite(self.threshold)[:, None, None])

    def apply(self, fields: Array) -> Floats:
        """Return fields (..., target, y, x) with the distribution of the known values."""
        out = np.array(fields, np.float32)
        for k in np.flatnonzero(np.isfinite(self.threshold)):
            out[..., k, :, :] = self._mapped(out[..., k, :, :], k)
        return out

    def apply_to(self, members: Array, target: Array) -> Floats:
        """Do the same to some cells (..., cells), given the target of each."""
        out = np.array(members, np.float32)
        for k in np.flatnonzero(np.isfinite(self.threshold)):
            out[..., target == k] = self._mapped(out[..., target == k], k)
        return out

    def _mapped(self, values: Floats, target: Any) -> Array:
        """Return the values of one target, mapped."""
        given = self.given[target]
        onto = self.onto[target]
        inside = np.interp(values, given, onto)
        wet = np.where(values > given[-1], onto[-1] + (values - given[-1]), inside)
        return np.asarray(np.where(values < self.threshold[target], self.least[target], wet))

    def expected(self, mean: Array, sd: Array) -> Floats:
        """Return the mean of what Gaussian values become, for each target that is censored.

        Parameters
        ----------
        mean, sd : ndarray (target, y, x)
            Of the Gaussian, before it is mapped.
        """
        levels = stats.norm.ppf((np.arange(_NODES) + 0.5) / _NODES)
        total = sum(self.apply(mean + sd * level).astype(np.float64) for level in levels)
        return floats(np.where(self.censored, np.asarray(total) / _NODES, mean))

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {
            "threshold": self.threshold,
            "least": self.least,
            "given": self.given,
            "onto": self.onto,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Floats], targets: int) -> Marginal:
        """Read what `to_state` returned."""
        given = entry(state, "given", (targets, None))
        return cls(
            threshold=entry(state, "threshold", (targets,), unbounded=True),
            least=entry(state, "least", (targets,)),
            given=given,
            onto=entry(state, "onto", given.shape),
        )


def _meeting(given: Array, onto: Array) -> tuple[Array, Array]:
    """Add a quantile that is mapped to itself, so far above that the map rises by a third."""
    last = max(given[-1], onto[-1]) + 2 * abs(given[-1] - onto[-1])
    return np.append(given, last), np.append(onto, last)


def marginal_state(marginal: Marginal | None) -> State:
    """Return the arrays of a marginal as parts of a larger state; none where it is None."""
    return {} if marginal is None else prefixed(marginal.to_state(), _PREFIX)


def read_marginal(state: Mapping[str, Floats], targets: int) -> Marginal | None:
    """Undo `marginal_state`."""
    own = under(state, _PREFIX)
    return Marginal.from_state(own, targets) if own else None
