"""Quantile mapping of one record onto the climate of another. Arrays only, no labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xdownscale.core.errors import DataError

Array = npt.NDArray[Any]
QUANTILES = 101
_LEAST = 30  # values below which a season has no quantiles of its own
_SEASON = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])  # of December, January ... November


class QuantileMap(NamedTuple):
    """Quantiles of two records, by season and cell.

    Attributes
    ----------
    source, target : ndarray (season, quantile, y, x)
        Quantiles of the record that is mapped, and what they are mapped onto: quantiles of the
        other one. NaN where a cell has no values in one of them. Seasons are DJF, MAM, JJA, SON.
    """

    source: Array
    target: Array

    def apply(self, values: Array, months: npt.NDArray[np.int64]) -> Array:
        """Map values onto the distribution of the target.

        Between quantiles the map is linear; beyond the outermost it shifts by what it shifts
        there.

        Parameters
        ----------
        values : ndarray (n, y, x)
            Values of the source record; NaN stays NaN.
        months : ndarray of int (n,)
            Month of each, 1 to 12.

        Returns
        -------
        ndarray (n, y, x)
            Of the same kind of number; cells without quantiles stay as they are.
        """
        out = np.array(values)
        season = seasons(months)
        shape = values.shape[1:]
        for number in np.unique(season):
            rows = np.flatnonzero(season == number)
            for y, x in np.ndindex(shape):
                there = self.source[number, :, y, x]
                onto = self.target[number, :, y, x]
                if np.isnan(there[0]) or np.isnan(onto[0]):
                    continue
                out[rows, y, x] = _mapped(values[rows, y, x], there, onto)
        return out

    def to_arrays(self) -> dict[str, Array]:
        """Return arrays, as they are saved."""
        return {"source": np.asarray(self.source), "target": np.asarray(self.target)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> QuantileMap:
        """Read what `to_arrays` returned."""
        return cls(np.asarray(arrays["source"]), np.asarray(arrays["target"]))


def fit_map(
    source: Array,
    target: Array,
    source_months: npt.NDArray[np.int64],
    target_months: npt.NDArray[np.int64],
    quantiles: int = QUANTILES,
) -> QuantileMap:
    """Fit a map of one record's values onto the distribution of another's.

    Each season and each cell, with its eight neighbours, has quantiles of its own (Panofsky and
    Brier 1968; the neighbours steady them). A season with fewer than 30 values in either record
    takes the map of the seasons that both have, together; a value that many time steps share,
    such as no rain, becomes the mean of their quantiles in the target.

    Parameters
    ----------
    source, target : ndarray (n, y, x), (m, y, x)
        The two records, on one grid; of any time steps.
    source_months, target_months : ndarray of int (n,), (m,)
        Month of each field, 1 to 12.
    quantiles : int
        Their number, evenly spaced from 0 to 1.

    Returns
    -------
    QuantileMap

    Raises
    ------
    DataError
        If the grids differ.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> months = np.tile(np.arange(1, 13), 50)
    >>> truth = rng.normal(size=(600, 3, 3))
    >>> model = 2 * rng.normal(size=(600, 3, 3)) + 5
    >>> moved = fit_map(model, truth, months, months).apply(model, months)
    >>> print(f"{abs(moved.mean() - truth.mean()):.1f} {abs(moved.std() - truth.std()):.1f}")
    0.0 0.0
    """
    if source.shape[1:] != target.shape[1:]:
        raise DataError(
            f"The records have {source.shape[1:]} and {target.shape[1:]} cells; quantiles are "
            "mapped cell by cell, so bring both to one grid."
        )
    levels = np.linspace(0, 1, quantiles)
    shape = (4, levels.size, *source.shape[1:])
    there = np.full(shape, np.nan)
    onto = np.full(shape, np.nan)
    numbers = (seasons(source_months), seasons(target_months))
    for y, x in np.ndindex(shape[2:]):
        own, other = (
            _by_season(record, number, y, x)
            for record, number in zip((source, target), numbers, strict=True)
        )
        for number, (values, wanted) in enumerate(_matched(own, other)):
            if values.size and wanted.size:
                there[number, :, y, x] = np.quantile(values, levels)
                onto[number, :, y, x] = np.quantile(wanted, levels)
    return QuantileMap(there, _levelled(there, onto))


def seasons(months: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the number of the season of each month: DJF 0, MAM 1, JJA 2, SON 3.

    Examples
    --------
    >>> seasons(np.array([12, 1, 3, 11]))
    array([0, 0, 1, 3])
    """
    return np.asarray(_SEASON[np.asarray(months) % 12])


def _by_season(record: Array, season: npt.NDArray[np.int64], y: int, x: int) -> list[Array]:
    """Return values of a cell and its neighbours in each season; none where the cell has none."""
    if not np.isfinite(record[:, y, x]).any():
        return [np.empty(0)] * 4
    around = record[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(len(record), -1)
    parts = [around[season == number] for number in range(4)]
    return [part[np.isfinite(part)] for part in parts]


def _matched(source: list[Array], target: list[Array]) -> list[tuple[Array, Array]]:
    """Return the values to compare in each season; those of the common ones where one lacks."""
    common = [k for k in range(4) if min(source[k].size, target[k].size) >= _LEAST]
    instead = common or range(4)
    pooled = tuple(np.concatenate([record[k] for k in instead]) for record in (source, target))
    return [(source[k], target[k]) if k in common else (pooled[0], pooled[1]) for k in range(4)]


def _levelled(there: Array, onto: Array) -> Array:
    """Give a value that many quantiles share the mean of what these are mapped onto.

    Zeros of rain are such values. Were they interpolated, all of them would become the largest:
    no time step would stay dry where the target is wetter.
    """
    out = np.array(onto)
    tied = there[:, 1:] == there[:, :-1]
    for season, y, x in np.argwhere(tied.any(1)):
        first = np.r_[True, ~tied[season, :, y, x]]
        run = np.cumsum(first) - 1
        weights = np.ones(run.size)
        inside = np.bincount(run)[run] > 2
        edge = first | np.r_[first[1:], True]
        weights[inside & edge] = 0.5  # the trapezoidal rule
        means = np.bincount(run, weights * onto[season, :, y, x]) / np.bincount(run, weights)
        out[season, :, y, x] = means[run]
    return out


def _mapped(values: Array, there: Array, onto: Array) -> Array:
    """Interpolate between quantiles; shift values beyond the outermost."""
    moved = np.interp(values, there, onto)
    below = values < there[0]
    above = values > there[-1]
    moved = np.where(below, values + (onto[0] - there[0]), moved)
    moved = np.where(above, values + (onto[-1] - there[-1]), moved)
    return np.asarray(np.where(np.isnan(values), np.nan, moved))
