"""Point estimates from the interpolated driver: as it is, with a bias per cell, quantile mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xdownscale.core.errors import check_option
from xdownscale.models.statistical.predictors import (
    Array,
    Floats,
    Predictors,
    State,
    check_days,
    entry,
    floats,
    observed,
)

_DRY = 0.05  # share of the domain's mean that is added to a cell's, so that deserts have a ratio
KINDS = ("additive", "ratio")


@dataclass(frozen=True)
class Driver:
    """The interpolated driver itself."""

    name: ClassVar[str] = "driver"
    needed: ClassVar[int] = 0

    @classmethod
    def fit(cls, predictors: Predictors, fine: Array) -> Driver:
        """Fit nothing."""
        return cls()

    def predict(self, predictors: Predictors) -> Floats:
        """Return fields (n, y, x)."""
        return np.array(predictors.driver, np.float32)

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats], shape: tuple[int, int]) -> Driver:
        """Read what `to_state` returned."""
        return cls()


@dataclass(frozen=True)
class Bias:
    """The interpolated driver, corrected by the mean error of each cell.

    Attributes
    ----------
    shift : ndarray (y, x)
        What is added; 0 where a cell was never observed.
    factor : ndarray (y, x)
        What is multiplied by before that; 1 under kind ``"additive"``.

    Examples
    --------
    >>> driver = np.ones((4, 1, 2), np.float32)
    >>> known = dict(coarse=np.zeros((4, 0, 0, 0, 0)), calendar=np.zeros((4, 0)))
    >>> x = Predictors(driver=driver, place=np.zeros((1, 2, 2)), **known)
    >>> Bias.fit(x, driver + [[[1.0, 2.0]]]).predict(x)[0]
    array([[2., 3.]], dtype=float32)
    """

    shift: Floats
    factor: Floats
    name: ClassVar[str] = "bias"
    needed: ClassVar[int] = 2

    @classmethod
    def fit(cls, predictors: Predictors, fine: Array, kind: str = "additive") -> Bias:
        """Fit the mean error of each cell, over the time steps at which it is known.

        Parameters
        ----------
        predictors : Predictors
            Of n time steps.
        fine : ndarray (n, y, x)
            Fine fields; NaN where missing.
        kind : {"additive", "ratio"}
            ``"ratio"``: the sum of the truth over that of the driver, for values of 0 or more in
            physical units. A twentieth of the domain's own sums is added to both, so that a cell
            that is nearly always dry takes the ratio of the domain.

        Raises
        ------
        DataError
            If there are fewer than two time steps.
        """
        check_option("bias", kind, KINDS)
        check_days(len(fine), cls.needed, "A bias per cell")
        driver = predictors.driver
        known = np.isfinite(fine)
        count = np.maximum(known.sum(0), 1)
        one = np.ones(fine.shape[1:], np.float32)
        if kind == "additive":
            shift = np.where(known, fine - driver, 0).sum(0, dtype=np.float64) / count
            return cls(floats(shift), one)
        truth = np.where(known, fine, 0).sum(0, dtype=np.float64) / count
        given = np.where(known, driver, 0).sum(0, dtype=np.float64) / count
        ever = observed(fine)
        overall = _mean(truth, ever) / max(_mean(given, ever), 1e-30)
        added = _DRY * _mean(given, ever)
        below = given + added
        factor = np.where(below > 0, (truth + added * overall) / np.where(below > 0, below, 1), 1)
        return cls(0 * one, floats(np.where(ever, factor, 1)))

    def predict(self, predictors: Predictors) -> Floats:
        """Return fields (n, y, x)."""
        return np.asarray(predictors.driver * self.factor + self.shift, np.float32)

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {"shift": self.shift, "factor": self.factor}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats], shape: tuple[int, int]) -> Bias:
        """Read what `to_state` returned."""
        return cls(entry(state, "shift", shape), entry(state, "factor", shape))


def _mean(values: Array, ever: Array) -> float:
    return float(values[ever].mean()) if ever.any() else 0.0


@dataclass(frozen=True)
class QuantileMapping:
    """The interpolated driver, mapped onto the distribution of the truth, cell by cell.

    Linear between quantiles; values beyond the outermost are shifted as these are (Panofsky and
    Brier 1968). A value that many quantiles share, such as no rain, becomes the mean of theirs.

    Attributes
    ----------
    source, target : ndarray (quantile, y, x)
        Quantiles of the driver and of the truth, of the same time steps. Equal where a cell was
        never observed.
    """

    source: Floats
    target: Floats
    name: ClassVar[str] = "quantile_mapping"
    needed: ClassVar[int] = 30

    @classmethod
    def fit(cls, predictors: Predictors, fine: Array, quantiles: int = 51) -> QuantileMapping:
        """Fit the quantiles of each cell.

        Parameters
        ----------
        predictors, fine
            As for `Bias.fit`.
        quantiles : int
            Their number, evenly spaced from 0 to 1.

        Raises
        ------
        DataError
            If there are fewer than 30 time steps.
        """
        check_days(len(fine), cls.needed, "Quantile mapping")
        levels = np.linspace(0, 1, quantiles)
        count = len(fine)
        source = np.array(predictors.driver, np.float32).reshape(count, -1)
        target = np.array(fine, np.float32).reshape(count, -1)
        there = np.zeros((quantiles, source.shape[1]), np.float32)
        onto = there.copy()
        known = np.isfinite(target)
        full = known.all(0)
        if full.any():
            there[:, full] = np.quantile(source[:, full], levels, axis=0)
            onto[:, full] = np.quantile(target[:, full], levels, axis=0)
        for cell in np.flatnonzero(known.any(0) & ~full):
            there[:, cell] = np.quantile(source[known[:, cell], cell], levels)
            onto[:, cell] = np.quantile(target[known[:, cell], cell], levels)
        for cell in np.flatnonzero((there[1:] == there[:-1]).any(0)):
            onto[:, cell] = _levelled(there[:, cell], onto[:, cell])
        shape = (quantiles, *fine.shape[1:])
        return cls(there.reshape(shape), onto.reshape(shape))

    def predict(self, predictors: Predictors) -> Floats:
        """Return fields (n, y, x)."""
        out = np.array(predictors.driver, np.float32)
        for y, x in np.ndindex(out.shape[1:]):
            there = self.source[:, y, x]
            onto = self.target[:, y, x]
            values = out[:, y, x]
            inside = np.interp(values, there, onto)
            beyond = np.where(values < there[0], onto[0] - there[0], onto[-1] - there[-1])
            outside = (values < there[0]) | (values > there[-1])
            out[:, y, x] = np.where(outside, values + beyond, inside)
        return out

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {"source": self.source, "target": self.target}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats], shape: tuple[int, int]) -> QuantileMapping:
        """Read what `to_state` returned."""
        source = entry(state, "source", (None, *shape))
        return cls(source, entry(state, "target", (len(source), *shape)))


def _levelled(there: Array, onto: Array) -> Array:
    """Give a value that several quantiles share the mean of what these are mapped onto."""
    run = np.cumsum(np.r_[True, there[1:] != there[:-1]]) - 1
    means = np.bincount(run, onto) / np.bincount(run)
    return np.asarray(means[run])
