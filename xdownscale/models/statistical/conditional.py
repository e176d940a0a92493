"""Kriging of a target that is fitted to fine fields, and conditional simulation of its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from xdownscale.core.errors import ModelFormatError, OptionError, check_option
from xdownscale.models.statistical.blocks import time_blocks
from xdownscale.models.statistical.kriging import (
    Blocks,
    Weights,
    coefficients,
    solve,
    with_trend,
)
from xdownscale.models.statistical.predictors import (
    Array,
    Floats,
    State,
    check_days,
    entry,
    floats,
    under,
)
from xdownscale.models.statistical.simulation import WaveField
from xdownscale.models.statistical.variogram import MODELS, Variogram, fit, measure

NEEDED = 2
TRENDS = ("auto", "constant", "static", "climate")
_FIELDS = 60  # that the variogram is measured on, evenly spread
_CELLS_APART = 6  # coarse cells that it reaches over
_LONGEST = 0.98  # correlation with the next time step


@dataclass(frozen=True, kw_only=True)
class KrigingOptions:
    """How a target is kriged.

    Attributes
    ----------
    trend : {"auto", "constant", "static", "climate"}
        What is added to kriging, its averages taken off: nothing; the least squares of the mean
        training field on the static fields (regression kriging); the mean training field itself
        (kriging with local means). ``"auto"``: the one with the smallest error on held-out blocks
        of the training days.
    model : {"spherical", "exponential", "gaussian", "matern"}
        Of the variogram.
    neighbours : int or None
        Coarse cells that a fine cell is kriged from; None: all of a small domain, 32 of a large.
    """

    trend: str = "auto"
    model: str = "exponential"
    neighbours: int | None = None

    def __post_init__(self) -> None:
        check_option("trend", self.trend, TRENDS)
        check_option("model of the variogram", self.model, MODELS)
        number = self.neighbours
        whole = isinstance(number, int) and not isinstance(number, bool)
        if number is not None and not (whole and number >= 1):
            raise OptionError(
                f"neighbours is {number!r}; give a whole number of 1 or more, or None."
            )


@dataclass(frozen=True)
class ConditionalSimulation:
    """Kriging weights of one target, and its error as a conditioned random field.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the fine fields.
    cells : ndarray of int (cells,)
        The coarse cells that are used.
    matrix : ndarray or sparse array (fine, cells)
        Kriging weights.
    offset, variance : ndarray (fine,)
        Trend less what is kriged of it; kriging variance.
    averages : sparse array (cells, p)
        Of all points over the coarse cells.
    field : WaveField
        At all points, the fine cells first.
    trend : str
        That was taken.
    """

    shape: tuple[int, int]
    cells: NDArray[np.int64]
    matrix: Any
    offset: Array
    variance: Array
    averages: Any
    field: WaveField
    trend: str

    @classmethod
    def fit(
        cls,
        blocks: Blocks,
        coarse: Array,
        fine: Array,
        options: KrigingOptions,
        covariates: Array | None = None,
        following: Array | None = None,
    ) -> ConditionalSimulation:
        """Fit trend and variogram to fine fields, and solve for the weights.

        Parameters
        ----------
        blocks : Blocks
        coarse : ndarray (n, yc, xc)
            Of n time steps in chronological order; no NaN.
        fine : ndarray (n, y, x)
            NaN where missing.
        options : KrigingOptions
        covariates : ndarray (k, y, x), optional
        following : ndarray of bool (n - 1,), optional
            Whether the next row is the next time step; by default all are.

        Raises
        ------
        DataError
            If there are fewer than 2 time steps, or the fine fields do not vary in space.
        OptionError
            If a static trend is asked for without static fields.
        """
        check_days(len(fine), NEEDED, "Kriging")
        known = np.asarray(coarse.reshape(len(coarse), -1)[:, blocks.cells], np.float64)
        truth = np.asarray(fine.reshape(len(fine), -1), np.float64)
        layers = None
        if covariates is not None and len(covariates):
            layers = blocks.everywhere(covariates.reshape(len(covariates), -1).T.astype(np.float64))
        trends = _Trends(blocks, truth, layers)
        trend = options.trend
        if trend == "auto":
            plain = solve(blocks, trends.variogram("constant", options.model), options.neighbours)
            trend = trends.best(plain, truth - plain.apply(known))
        variogram = trends.variogram(trend, options.model)
        weights = trends.added(trend, solve(blocks, variogram, options.neighbours))
        rho = _next_correlation(truth - weights.apply(known), following)
        return cls(
            shape=(fine.shape[1], fine.shape[2]),
            cells=blocks.cells,
            matrix=weights.matrix,
            offset=np.broadcast_to(weights.offset, weights.variance.shape),
            variance=weights.variance,
            averages=blocks.averages,
            field=WaveField(blocks.points, variogram, rho),
            trend=trend,
        )

    def predict(self, coarse: Array) -> Array:
        """Return the kriged field (y, x) of a coarse one (yc, xc)."""
        known = np.asarray(coarse, np.float64).ravel()[self.cells]
        return np.asarray(self.matrix @ known + self.offset).reshape(self.shape)

    def error(
        self,
        seed: int,
        realization: int,
        keys: Sequence[int],
        *,
        step: int = 0,
        mix: Sequence[float] = (1.0,),
        corner: tuple[int, int] = (0, 0),
        domain: tuple[int, int] | None = None,
    ) -> Array:
        """Return conditional simulations less the kriged field (n, y, x) of some times.

        That is a random field less what is kriged from its own averages: its averages are 0, its
        variance is the kriging variance (Journel and Huijbregts 1978).

        Parameters
        ----------
        seed, realization, keys, step, mix
            As for `WaveField.sample`.
        corner, domain : tuple of int
            Where the fields lie in a larger image, and its size: all regions share a nugget.
        """
        fields = self.field.sample(seed, realization, keys, step=step, mix=mix)
        count = len(self.offset)
        wide = domain or self.shape
        rows = slice(corner[0], corner[0] + self.shape[0])
        columns = slice(corner[1], corner[1] + self.shape[1])
        for field, key in zip(fields, keys, strict=True):
            if self.field.variogram.nugget:
                own = (seed, realization, int(key))
                inside = self.field.nugget(wide, *own, step=step, mix=mix)
                field[:count] += inside[rows, columns].ravel()
                outside = (1, len(field) - count)
                field[count:] += self.field.nugget(outside, *own, step=step, mix=mix, kind=1)[0]
        out = np.empty((len(keys), *self.shape))
        for row, field in enumerate(fields):
            kriged = self.matrix @ (self.averages @ field)
            out[row] = (field[:count] - kriged).reshape(self.shape)
        return out

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {
            "cells": floats(self.cells),
            "offset": floats(self.offset),
            "variance": floats(self.variance),
            "points": floats(self.field.points),
            "rho": floats([self.field.rho]),
            "trend": floats([TRENDS.index(self.trend)]),
            **self.field.variogram.to_state(),
            **_matrix_state(self.matrix, "matrix"),
            **_matrix_state(self.averages, "averages"),
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Floats], shape: tuple[int, int]
    ) -> ConditionalSimulation:
        """Read what `to_state` returned, for fields of so many rows and columns."""
        fine = shape[0] * shape[1]
        points = entry(state, "points", (None, 3)).astype(np.float64)
        cells = entry(state, "cells", (None,)).astype(np.int64)
        rho = float(entry(state, "rho", (1,))[0])
        return cls(
            shape=shape,
            cells=cells,
            matrix=_read_matrix(state, "matrix", (fine, cells.size)),
            offset=entry(state, "offset", (fine,)).astype(np.float64),
            variance=entry(state, "variance", (fine,)).astype(np.float64),
            averages=_read_matrix(state, "averages", (cells.size, len(points))),
            field=WaveField(points, Variogram.from_state(state), rho),
            trend=TRENDS[int(entry(state, "trend", (1,))[0])],
        )


@dataclass(frozen=True)
class _Trends:
    """Trends that the training fields allow.

    Attributes
    ----------
    blocks : Blocks
    truth : ndarray (n, fine)
    covariates : ndarray (p, k) or None
        At all points.
    """

    blocks: Blocks
    truth: Array
    covariates: Array | None

    def field(self, trend: str, rows: Any = slice(None)) -> Array:
        """Return a trend at all points (p,), fitted to some time steps."""
        if trend == "constant":
            return np.zeros(len(self.blocks.points))
        mean = _mean(self.truth[rows])
        if trend == "climate":
            return np.asarray(self.blocks.everywhere(self._without_gaps(mean)[:, None])[:, 0])
        if self.covariates is None:
            raise OptionError("trend='static' needs static fields; give static=..., or 'constant'.")
        inside = self.covariates[: self.blocks.fine]
        return np.asarray(self.covariates @ coefficients(mean, inside))

    def _without_gaps(self, mean: Array) -> Array:
        """Fill cells that never have a value from the nearest one."""
        known = np.isfinite(mean)
        if known.all():
            return mean
        points = self.blocks.points[: self.blocks.fine]
        nearest = cKDTree(points[known]).query(points[~known])[1]
        out = mean.copy()
        out[~known] = mean[known][nearest]
        return out

    def added(self, trend: str, weights: Weights, rows: Any = slice(None)) -> Weights:
        """Return weights with a trend that is fitted to some time steps."""
        if trend == "constant":
            return weights
        return with_trend(weights, self.blocks, self.field(trend, rows)[:, None], np.ones(1))

    def variogram(self, trend: str, model: str) -> Variogram:
        """Fit the variogram of the fine fields less a trend."""
        fine = self.blocks.points[: self.blocks.fine]
        spacing = cKDTree(self.blocks.centres).query(self.blocks.centres, k=2)[0][:, 1]
        diagonal = float(np.sqrt((np.ptp(fine, axis=0) ** 2).sum()))
        reach = min(_CELLS_APART * float(np.median(spacing)), diagonal / 2)
        count = len(self.truth)
        rows = np.unique(np.linspace(0, count - 1, min(count, _FIELDS)).astype(int))
        fields = self.truth[rows] - self.field(trend)[: self.blocks.fine]
        return fit(measure(fine, fields, reach), model)

    def best(self, plain: Weights, residual: Array) -> str:
        """Return the trend with the smallest held-out error."""
        candidates = [
            name for name in TRENDS[1:] if name != "static" or self.covariates is not None
        ]
        errors = {name: self._error(name, plain, residual) for name in candidates}
        return min(errors, key=lambda name: errors[name])

    def _error(self, trend: str, plain: Weights, residual: Array) -> float:
        """Return the squared error of kriging with a trend that is fitted to other blocks."""
        block = time_blocks(len(self.truth))
        total = 0.0
        for number in np.unique(block):
            offset = self.added(trend, plain, block != number).offset
            total += float(np.nansum(np.square(residual[block == number] - offset)))
        return total


def _mean(fields: Array) -> Array:
    """Return the mean over time of each cell, NaN where none is known."""
    known = np.isfinite(fields)
    count = known.sum(0)
    total = np.where(known, fields, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _next_correlation(error: Array, following: Array | None) -> float:
    """Return the correlation of an error with that of the next time step, from 0 to 0.98."""
    pairs = np.ones(len(error) - 1, bool) if following is None else following
    here = np.nan_to_num(error[:-1][pairs])
    after = np.nan_to_num(error[1:][pairs])
    below = float(np.square(here).sum() * np.square(after).sum()) ** 0.5
    found = float((here * after).sum()) / below if below > 0 else 0.0
    return float(np.clip(found, 0, _LONGEST))


def _matrix_state(matrix: Any, name: str) -> State:
    """Return a matrix as arrays: dense, or the values of each row of a sparse one."""
    if not sparse.issparse(matrix):
        return {f"{name}.weight": floats(matrix)}
    rows = sparse.csr_array(matrix)
    return {
        f"{name}.weight": floats(rows.data),
        f"{name}.columns": floats(rows.indices),
        f"{name}.counts": floats(np.diff(rows.indptr)),
    }


def _read_matrix(state: Mapping[str, Floats], name: str, shape: tuple[int, int]) -> Any:
    """Undo `_matrix_state`; raise `ModelFormatError` if something lacks or does not fit."""
    own = under(state, name)
    if own.get("weight", np.zeros(0)).ndim == 2:
        return entry(own, "weight", shape).astype(np.float64)
    weight = entry(own, "weight", (None,)).astype(np.float64)
    columns = entry(own, "columns", weight.shape).astype(np.int64)
    counts = entry(own, "counts", (shape[0],)).astype(np.int64)
    if counts.sum() != weight.size or not np.all((columns >= 0) & (columns < shape[1])):
        raise ModelFormatError(
            f"The matrix {name!r} of the model file does not fit together; the file was altered. "
            "Save the model again."
        )
    starts = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_array((weight, columns, starts), shape=shape)
