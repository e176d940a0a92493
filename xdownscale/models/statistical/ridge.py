"""Ridge regression of fine fields on coarse fields, its penalty chosen by held-out blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from scipy import linalg

from xdownscale.core.blas import one_thread
from xdownscale.models.statistical.blocks import FOLDS, time_blocks
from xdownscale.models.statistical.predictors import (
    Array,
    Floats,
    Predictors,
    State,
    check_days,
    check_width,
    entry,
    floats,
    observed,
    under,
)

PENALTIES = np.logspace(-4, 3, 22)  # over the number of time steps
TOWARDS = ("mean", "driver")
_WHOLE = 256  # coarse cells up to which all of them predict every fine cell
_TILE = 4  # side of the tiles of a larger domain, in coarse cells
_MARGIN = 3  # coarse cells around a tile that predict its fine cells too
_JUDGED_TILES = 3  # tiles that the penalty is chosen on, evenly spread
_JUDGED = 512  # fine cells that the penalty is chosen on
_PATTERNS = 256  # sets of missing time steps that are solved one by one
_PASSES = 100  # of filling missing values by their own prediction, where there are more
_SETTLED = 1e-4  # change of a filled value, in standard deviations, that ends the passes


class Tile(NamedTuple):
    """Some fine cells, and the coarse cells that predict them.

    Attributes
    ----------
    cells : ndarray of int
        Fine cells, as indices of the flattened grid.
    rows, columns : slice
        Of the coarse grid.
    """

    cells: Array
    rows: slice
    columns: slice


def tiles(
    place: Array, shape: tuple[int, int], side: int | None = None, margin: int = _MARGIN
) -> list[Tile]:
    """Divide the fine cells into tiles, each with the coarse cells in and around it.

    Parameters
    ----------
    place : ndarray (y, x, 2)
        Row and column of the fine cells on the coarse grid.
    shape : tuple of int
        Of the coarse grid.
    side : int, optional
        Of a tile, in coarse cells. By default the whole domain if that has up to 256 coarse cells,
        else 4.
    margin : int
        Coarse cells on each side of a tile that predict its fine cells too.

    Examples
    --------
    >>> place = np.stack(np.meshgrid(np.arange(8.0), np.arange(2.0), indexing="ij"), -1)
    >>> [(tile.cells.size, tile.rows) for tile in tiles(place, (8, 2), side=4, margin=1)]
    [(8, slice(0, 5, None)), (8, slice(3, 8, None))]
    """
    if side is None:
        side = max(shape) if shape[0] * shape[1] <= _WHOLE else _TILE
    nearest = np.clip(np.rint(place), 0, np.array(shape) - 1).astype(int).reshape(-1, 2)
    number = nearest // side
    found = []
    for y, x in np.unique(number, axis=0).tolist():
        cells = np.flatnonzero((number == (y, x)).all(1))
        rows = slice(max(y * side - margin, 0), min((y + 1) * side + margin, shape[0]))
        columns = slice(max(x * side - margin, 0), min((x + 1) * side + margin, shape[1]))
        found.append(Tile(cells, rows, columns))
    return found


def features(predictors: Predictors, tile: Tile) -> Array:
    """Return the coarse fields of a tile and the calendar as one row for each time step."""
    coarse = predictors.coarse[..., tile.rows, tile.columns]
    flat = coarse.reshape(len(coarse), -1)
    return np.concatenate([flat, predictors.calendar], axis=1).astype(np.float64)


class Solver:
    """Ridge regression with any penalty from one eigendecomposition.

    Predictors are standardised; the intercept is not penalised. The smaller of the two Gram
    matrices is decomposed: that of the predictors, or that of the time steps (the dual form).

    Parameters
    ----------
    x : ndarray (n, p)
        Predictors, without NaN; those that are constant have no weight.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> solver = Solver(x)
    >>> weights = solver.weights(x @ [[1.0], [2.0], [3.0]], penalty=1e-9)
    >>> (weights / solver.scale[:, None]).ravel().round(4)
    array([1., 2., 3.])
    """

    def __init__(self, x: Array) -> None:
        self.center = x.mean(0)
        spread = x.std(0)
        varies = spread > 1e-7 * np.maximum(np.abs(self.center), 1e-30)
        self.scale = np.where(varies, spread, np.inf)
        moved = (x - self.center) / self.scale
        count, width = moved.shape
        wide = width > count
        values, vectors = linalg.eigh(moved @ moved.T if wide else moved.T @ moved)
        kept = values > 1e-10 * max(float(values.max(initial=0.0)), 1e-30)
        self._values = values[kept]
        vectors = vectors[:, kept]
        self._rotation = moved.T @ vectors / np.sqrt(self._values) if wide else vectors
        self._scores = moved @ self._rotation

    def project(self, x: Array) -> Array:
        """Return the rotated, standardised predictors of other time steps."""
        return np.asarray(((x - self.center) / self.scale) @ self._rotation)

    def coefficients(self, y: Array) -> Array:
        """Return what `shrunk` takes: the products of predictors and centred targets (r, cells)."""
        return np.asarray(self._scores.T @ (y - y.mean(0)))

    def shrunk(self, products: Array, penalty: float) -> Array:
        """Return the weights of the rotated predictors (r, cells)."""
        return np.asarray(products / (self._values + penalty)[:, None])

    def weights(self, y: Array, penalty: float) -> Array:
        """Return the weights of the standardised predictors (p, cells)."""
        return np.asarray(self._rotation @ self.shrunk(self.coefficients(y), penalty))

    def filled(self, y: Array, penalty: float) -> Array:
        """Replace missing targets (n, cells) by their own prediction.

        A target that equals its prediction has no influence, so that each cell's weights become
        those of a regression on its known time steps. Cells that miss the same time steps are
        solved together; where there are many such sets, values are predicted again and again until
        they no longer change.
        """
        known = np.isfinite(y)
        out = np.where(known, y, _means(y))
        holed = np.flatnonzero(~known.all(0) & known.any(0))
        if not holed.size:
            return out
        patterns, number = np.unique(known[:, holed], axis=1, return_inverse=True)
        if patterns.shape[1] > _PATTERNS:
            out[:, holed] = self._settled(out[:, holed], known[:, holed], penalty)
            return out
        for k, there in enumerate(patterns.T):
            cells = holed[np.ravel(number) == k]
            out[np.ix_(~there, cells)] = self._predicted(out[:, cells], there, penalty)
        return out

    def _predicted(self, y: Array, there: Array, penalty: float) -> Array:
        """Predict the time steps that are not there from a regression on those that are."""
        middle = self._scores[there].mean(0)
        x = self._scores[there] - middle
        mean = y[there].mean(0)
        gram = x.T @ x + penalty * np.eye(x.shape[1])
        weights = linalg.solve(gram, x.T @ (y[there] - mean), assume_a="pos")
        return np.asarray(mean + (self._scores[~there] - middle) @ weights)

    def _settled(self, y: Array, known: Array, penalty: float) -> Array:
        """Predict missing targets from all, again and again, until they no longer change."""
        for _ in range(_PASSES):
            fitted = y.mean(0) + self._scores @ self.shrunk(self.coefficients(y), penalty)
            moved = np.where(known, y, fitted)
            change = float(np.abs(moved - y).max())
            y = moved
            if change <= _SETTLED * max(float(y.std()), 1e-30):
                break
        return y


def _means(y: Array) -> Array:
    """Return the mean of each cell over its known time steps; 0 where there is none."""
    known = np.isfinite(y)
    total = np.where(known, y, 0).sum(0)
    return np.asarray(total / np.maximum(known.sum(0), 1))


def held_out_errors(
    x: Array, targets: Sequence[Array], penalties: Array, folds: int = FOLDS
) -> Array:
    """Return the mean squared error of held-out blocks of time under each penalty.

    Parameters
    ----------
    x : ndarray (n, p)
        Predictors.
    targets : sequence of ndarray (n, cells)
        NaN where missing: filled with the cell's mean in training, not judged.
    penalties : ndarray (k,)
        Of one time step: the penalty of n time steps is n times that.
    folds : int
        Contiguous blocks.

    Returns
    -------
    ndarray (len(targets), k)
    """
    block = time_blocks(len(x), folds)
    total = np.zeros((len(targets), len(penalties)))
    for number in np.unique(block):
        rest = block != number
        solver = Solver(x[rest])
        new = solver.project(x[~rest])
        for place, y in enumerate(targets):
            given = np.where(np.isfinite(y[rest]), y[rest], _means(y[rest]))
            products = solver.coefficients(given)
            truth = y[~rest] - given.mean(0)
            for k, penalty in enumerate(penalties):
                fitted = new @ solver.shrunk(products, penalty * rest.sum())
                total[place, k] += np.nansum(np.square(truth - fitted))
    known = [max(int(np.isfinite(y).sum()), 1) for y in targets]
    return np.asarray(total / np.array(known)[:, None])


class _TileWeights(NamedTuple):
    tile: Tile
    center: Floats  # (p,)
    weight: Floats  # (p, cells), of predictors that are centred only
    intercept: Floats  # (cells,)


@dataclass(frozen=True)
class Ridge:
    """Ridge regression of each fine cell on the coarse cells around it, all drivers and steps.

    Minimises ``|y - b - X w|^2 + n penalty |w|^2`` with standardised predictors X. A domain of up
    to 256 coarse cells is predicted from all of them; a larger one in tiles of 4 by 4 coarse cells,
    each from those up to 3 cells around it.

    Attributes
    ----------
    parts : tuple
        Weights of each tile.
    shape : tuple of int
        Of the fine grid.
    penalty : float
        Of one time step.
    towards : {"mean", "driver"}
        What the prediction is shrunk to: each cell's mean, or that plus its interpolated driver.

    References
    ----------
    Hoerl and Kennard (1970), doi:10.1080/00401706.1970.10488634.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> coarse = rng.normal(size=(90, 1, 1, 2, 2)).astype(np.float32)
    >>> fine = coarse[:, 0, 0].repeat(2, 1) + 5
    >>> place = np.zeros((4, 2, 2))
    >>> x = Predictors(coarse=coarse, calendar=np.zeros((90, 0)), driver=0 * fine, place=place)
    >>> bool(np.abs(Ridge.fit(x, fine).predict(x) - fine).max() < 0.01)
    True
    """

    parts: tuple[_TileWeights, ...]
    shape: tuple[int, int]
    penalty: float
    towards: str
    name: ClassVar[str] = "ridge"
    needed: ClassVar[int] = 12

    @classmethod
    @one_thread("fine")
    def fit(
        cls,
        predictors: Predictors,
        fine: Array,
        *,
        penalty: float | None = None,
        towards: str | None = None,
        side: int | None = None,
    ) -> Ridge:
        """Fit the weights of every fine cell that was ever observed.

        Parameters
        ----------
        predictors : Predictors
            Of n time steps, in chronological order.
        fine : ndarray (n, y, x)
            Fine fields; NaN where missing: each cell is fitted on its known time steps.
        penalty : float, optional
            Of one time step; by default the one of 22 between 1e-4 and 1e3 with the smallest
            error on six held-out blocks of time.
        towards : {"mean", "driver"}, optional
            By default chosen as the penalty is.
        side : int, optional
            Of tiles, see `tiles`.

        Raises
        ------
        DataError
            If there are fewer than 12 time steps.
        """
        check_days(len(fine), cls.needed, "Ridge regression")
        shape = (int(predictors.coarse.shape[-2]), int(predictors.coarse.shape[-1]))
        ever = observed(fine).ravel()
        found = [
            tile._replace(cells=tile.cells[ever[tile.cells]])
            for tile in tiles(predictors.place, shape, side)
        ]
        if penalty is None or towards is None:
            choices = (towards,) if towards else TOWARDS
            penalties = PENALTIES if penalty is None else np.array([penalty])
            penalty, towards = _choose(predictors, fine, found, choices, penalties)
        parts = tuple(_fit_tile(predictors, fine, tile, penalty, towards) for tile in found)
        ny, nx = fine.shape[1:]
        return cls(parts, (int(ny), int(nx)), penalty, towards)

    @one_thread()
    def predict(self, predictors: Predictors) -> Floats:
        """Return fields (n, y, x), each computed by itself, whatever stands beside it."""
        out = np.zeros((len(predictors), self.shape[0] * self.shape[1]), np.float32)
        for part in self.parts:
            seen = features(predictors, part.tile)
            check_width(seen.shape[1], len(part.center))
            x = (seen - part.center).astype(np.float32)
            for row, values in enumerate(x):
                out[row, part.tile.cells] = values @ part.weight + part.intercept
        fields = out.reshape(-1, *self.shape)
        return fields + np.float32(predictors.driver) if self.towards == "driver" else fields

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        about = [self.penalty, TOWARDS.index(self.towards), len(self.parts)]
        number = np.full(self.shape, -1, np.float32).ravel()
        state = {"about": np.array(about, np.float32)}
        for k, part in enumerate(self.parts):
            number[part.tile.cells] = k
            rows = part.tile.rows
            columns = part.tile.columns
            box = [rows.start, rows.stop, columns.start, columns.stop]
            state[f"{k}.box"] = np.array(box, np.float32)
            state[f"{k}.center"] = part.center
            state[f"{k}.weight"] = part.weight
            state[f"{k}.intercept"] = part.intercept
        state["tile"] = number.reshape(self.shape)
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Floats], shape: tuple[int, int]) -> Ridge:
        """Read what `to_state` returned."""
        penalty, towards, count = entry(state, "about", (3,)).tolist()
        number = entry(state, "tile", shape).ravel()
        parts = []
        for k in range(int(count)):
            own = under(state, str(k))
            cells = np.flatnonzero(number == k)
            top, bottom, left, right = (int(edge) for edge in entry(own, "box", (4,)))
            weight = entry(own, "weight", (None, cells.size))
            center = entry(own, "center", (len(weight),))
            intercept = entry(own, "intercept", (cells.size,))
            tile = Tile(cells, slice(top, bottom), slice(left, right))
            parts.append(_TileWeights(tile, center, weight, intercept))
        return cls(tuple(parts), shape, penalty, TOWARDS[int(towards)])


def _targets(predictors: Predictors, fine: Array, cells: Array, towards: str) -> Array:
    """Return what some cells are fitted to (n, cells): their values, or the driver's errors."""
    values = fine.reshape(len(fine), -1)[:, cells].astype(np.float64)
    if towards == "driver":
        values -= predictors.driver.reshape(len(fine), -1)[:, cells]
    return np.asarray(values)


def _fit_tile(
    predictors: Predictors, fine: Array, tile: Tile, penalty: float, towards: str
) -> _TileWeights:
    """Fit the weights of the cells of a tile."""
    solver = Solver(features(predictors, tile))
    total = penalty * len(fine)
    y = solver.filled(_targets(predictors, fine, tile.cells, towards), total)
    weight = solver.weights(y, total) / solver.scale[:, None]
    return _TileWeights(tile, floats(solver.center), floats(weight), floats(y.mean(0)))


def _judged(found: list[Tile]) -> Iterator[tuple[Tile, Array]]:
    """Yield up to 6 tiles, and evenly spaced cells of each, 512 in all."""
    some = found[:: -(-len(found) // _JUDGED_TILES)]
    for tile in some:
        step = max(1, -(-tile.cells.size * len(some) // _JUDGED))
        if tile.cells.size:
            yield tile, tile.cells[::step]


def _choose(
    predictors: Predictors,
    fine: Array,
    found: list[Tile],
    choices: tuple[str, ...],
    penalties: Array,
) -> tuple[float, str]:
    """Return the penalty, and what is shrunk to, with the smallest error of held-out blocks."""
    errors = {towards: np.zeros(len(penalties)) for towards in choices}
    for tile, cells in _judged(found):
        x = features(predictors, tile)
        targets = [_targets(predictors, fine, cells, towards) for towards in choices]
        found_errors = held_out_errors(x, targets, penalties)
        for towards, error in zip(choices, found_errors, strict=True):
            errors[towards] += error * cells.size
    towards = min(choices, key=lambda choice: float(errors[choice].min()))
    # the largest of equal ones: a constant target is fitted without weights
    last = len(penalties) - 1 - int(np.argmin(errors[towards][::-1]))
    return float(penalties[last]), towards
