"""Area-to-point kriging: fine fields from averages over coarse cells, as one matrix.

A coarse value is the average of the fine cells under its cell. Ordinary kriging of such averages
(Kyriakidis 2004; Goovaerts 2008) gives fine fields whose averages are the coarse values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from xdownscale.models.statistical.predictors import Array
from xdownscale.models.statistical.variogram import Curve, Variogram, chords, search, usable

Rows = NDArray[np.int64]
GLOBAL = 1000  # coarse cells up to which all of them predict every fine cell
NEAREST = 32  # coarse cells that predict a fine cell of a larger domain
_WEIGHTS = 3e7  # weights of a global neighbourhood, at most
_AT_ONCE = 4_000_000  # covariances that are computed at once
_COHERENT = 1e-9  # averages of weights are this near to the coarse cells
_LAGS = 400  # pairs of coarse cells that a deconvolution looks at
_ANCHORS = 100  # coarse cells that these pairs start from
_NODES = 4096  # distances that it tells apart


@dataclass(frozen=True)
class Lattice:
    """Points of a grid with equally spaced longitudes, and averages along its rows and columns.

    Distances depend on two rows and the number of columns between, so that far fewer covariances
    are computed than there are pairs of points.

    Attributes
    ----------
    place : ndarray of int (p,)
        Number of each point, counted along the rows.
    columns : int
        Number of columns.
    rows : ndarray (rows, columns, 3)
        Where the points of each row are, km, from its first one on, all rows from one meridian.
    down, along : ndarray (coarse rows, rows), (coarse columns, columns)
        Averages over rows and over columns; a coarse cell is their product.
    """

    place: Rows
    columns: int
    rows: Array
    down: Array
    along: Array


@dataclass(frozen=True)
class Blocks:
    """Points, and coarse cells as weighted averages of them.

    Attributes
    ----------
    points : ndarray (p, 3)
        Where they are, km. The first `fine` are the fine cells that are predicted; the others fill
        the rest of the coarse cells.
    averages : sparse array (cells, p)
        Weights of the points in each coarse cell; every row sums to 1.
    fine : int
        Number of fine cells.
    cells : ndarray of int (cells,)
        The coarse cells that are used, counted along the rows of the coarse grid.
    lattice : Lattice or None
        The same points and averages, where they are a grid with equally spaced longitudes.
    """

    points: Array
    averages: Any
    fine: int
    cells: Rows
    lattice: Lattice | None = None

    @cached_property
    def centres(self) -> Array:
        """Return the middle of each coarse cell (cells, 3)."""
        return np.asarray(self.averages @ self.points)

    @cached_property
    def home(self) -> Rows:
        """Return the coarse cell that holds most of each fine cell; the nearest where none does."""
        shares = sparse.csc_array(self.averages)[:, : self.fine]
        home = np.asarray(cKDTree(self.centres).query(self.points[: self.fine])[1], np.int64)
        for column in np.flatnonzero(np.diff(shares.indptr)):
            part = slice(shares.indptr[column], shares.indptr[column + 1])
            home[column] = shares.indices[part][np.argmax(shares.data[part])]
        return home

    def everywhere(self, fields: Array) -> Array:
        """Return fields (fine, k) of the fine cells at all points (p, k), the nearest beyond."""
        beyond = self.points[self.fine :]
        if not len(beyond):
            return fields
        nearest = cKDTree(self.points[: self.fine]).query(beyond)[1]
        return np.concatenate([fields, fields[nearest]])

    @cached_property
    def covered(self) -> NDArray[np.bool_]:
        """Return which coarse cells consist of fine cells alone (cells,)."""
        inside = np.asarray(self.averages[:, : self.fine].sum(axis=1)).ravel()
        return np.asarray(inside > 1 - 1e-9)

    def points_of(self, cells: Rows) -> tuple[Rows, Any]:
        """Return the points of some coarse cells, and the weights (cells, points) of these."""
        part = self.averages[cells]
        used = np.unique(part.indices)
        return used, part[:, used]


@dataclass(frozen=True)
class Weights:
    """Kriging weights of a pair of grids.

    Attributes
    ----------
    matrix : ndarray or sparse array (fine, cells)
        Fine fields are this times the coarse ones; every row sums to 1.
    variance : ndarray (fine,)
        Kriging variance.
    covariance : ndarray or sparse array (cells, cells)
        Of the coarse cells; of those that are used together in a large domain.
    neighbours : ndarray of int (cells, k)
        Coarse cells that predict the fine cells of each one, nearest first.
    offset : ndarray (fine,) or float
        Added to all fields: a trend whose coefficients are known, less what is kriged of it.
    fitted : (ndarray (fine, k), ndarray (k, cells)) or None
        A trend whose coefficients are fitted to each coarse field: what of the covariates kriging
        does not see, and what makes the coefficients.
    """

    matrix: Any
    variance: Array
    covariance: Any
    neighbours: Rows
    offset: Any = 0.0
    fitted: tuple[Array, Array] | None = None

    def apply(self, fields: Array) -> Array:
        """Return fine fields (n, fine) of coarse ones (n, cells), each computed by itself."""
        out = np.empty((len(fields), len(self.variance)))
        for row, field in enumerate(np.asarray(fields, np.float64)):
            out[row] = self.matrix @ field + self.offset
            if self.fitted is not None:
                out[row] += self.fitted[0] @ (self.fitted[1] @ field)
        return out

    def filled(self, fields: Array) -> Array:
        """Return coarse fields (n, cells) whose missing cells are kriged from the others.

        A field that is then kriged is what kriging from the cells that are there gives, where the
        neighbourhood is the whole domain. A cell without any neighbour that is there stays NaN.
        """
        missing = ~np.isfinite(fields)
        if not missing.any():
            return fields
        out = np.array(fields, np.float64)
        patterns, which = np.unique(missing, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            if pattern.any():
                rows = np.flatnonzero(which.ravel() == number)
                for cell, near, weight in self._substitutes(pattern):
                    out[rows, cell] = (fields[np.ix_(rows, near)] * weight).sum(1)
        return out

    def _substitutes(self, missing: NDArray[np.bool_]) -> Iterator[tuple[int, Rows, Array]]:
        """Yield each missing cell, the cells that it is kriged from, and their weights."""
        for cell in np.flatnonzero(missing):
            near = self.neighbours[cell]
            near = near[~missing[near]]
            if near.size:
                own = _dense(self.covariance, near, near)
                towards = _dense(self.covariance, np.array([cell]), near)
                yield int(cell), near, _ordinary(own, towards)[0][0]


def _dense(matrix: Any, rows: Rows, columns: Rows) -> Array:
    part = matrix[rows][:, columns]
    return np.asarray(part.toarray() if sparse.issparse(part) else part)


def _ordinary(own: Array, towards: Array) -> tuple[Array, Array]:
    """Solve ordinary kriging: weights (n, k) and Lagrange multipliers (n,).

    Parameters
    ----------
    own : ndarray (k, k)
        Covariance of what is known.
    towards : ndarray (n, k)
        Covariance of what is predicted with what is known.
    """
    count = len(own)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = own
    system[count, count] = 0
    right = np.vstack([towards.T, np.ones(len(towards))])
    solved = np.linalg.solve(system, right)
    return np.asarray(solved[:count].T), np.asarray(solved[count])


def solve(blocks: Blocks, variogram: Variogram, neighbours: int | None = None) -> Weights:
    """Solve ordinary area-to-point kriging for all fine cells.

    Parameters
    ----------
    blocks : Blocks
    variogram : Variogram
        Of the points.
    neighbours : int, optional
        Coarse cells, the nearest to its own, from which a fine cell is predicted. By default all
        of a domain of up to 1000 cells, and 32 of a larger one.

    Returns
    -------
    Weights

    Notes
    -----
    ``[C_vv 1; 1' 0] [l; m] = [c_v; 1]``, with the covariances ``C_vv = A C A'`` of the averages and
    ``c_v = C A'`` of a fine cell with them. All fine cells of a coarse one have the same
    neighbourhood, and ``C_vv`` consists of the same points as ``c_v``: so the averages of the
    weights are 1 for the cell itself and 0 for all others (Kyriakidis 2004, eq. 18). Where fine
    cells straddle the border of two coarse ones with different neighbourhoods, what is left of the
    difference is taken out by the smallest change of the weights.

    Examples
    --------
    >>> points = np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [3.0, 0, 0]])
    >>> halves = sparse.csr_array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    >>> blocks = Blocks(points, halves, 4, np.arange(2))
    >>> found = solve(blocks, Variogram(effective_range=3.0, psill=1.0))
    >>> np.round(halves @ found.matrix, 9) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """
    count = len(blocks.cells)
    if neighbours is None:
        is_small = count <= GLOBAL and count * blocks.fine <= _WEIGHTS
        neighbours = count if is_small else NEAREST
    near = _nearest(blocks, min(neighbours, count))
    if near.shape[1] == count:
        return _global(blocks, variogram, near)
    return _local(blocks, variogram, near)


def _nearest(blocks: Blocks, count: int) -> Rows:
    """Return the nearest coarse cells of each, itself first (cells, count)."""
    found = cKDTree(blocks.centres).query(blocks.centres, k=count)[1]
    return np.asarray(found, np.int64).reshape(len(blocks.cells), count)


def _global(blocks: Blocks, variogram: Variogram, near: Rows) -> Weights:
    """Solve one system for all fine cells."""
    covariances = _covariances(blocks, variogram)
    every = np.arange(len(blocks.cells))
    own = covariances.between(every, every)
    towards = covariances.towards(np.arange(blocks.fine), every)
    weights, multiplier = _ordinary((own + own.T) / 2, towards)
    error = _variance(variogram, weights, multiplier, towards)
    return Weights(weights, error, own, near)


class _Direct:
    """Covariances of averages from those of all pairs of points."""

    def __init__(self, blocks: Blocks, variogram: Variogram) -> None:
        self._blocks = blocks
        self._variogram = variogram

    def towards(self, points: Rows, cells: Rows) -> Array:
        """Return the covariance (points, cells) of points with averages."""
        columns, averages = self._blocks.points_of(cells)
        there = self._blocks.points[columns]
        weights = sparse.csr_array(averages)
        out = np.empty((len(points), len(cells)))
        step = max(1, _AT_ONCE // max(1, len(columns)))
        for start in range(0, len(points), step):
            rows = points[start : start + step]
            pairs = self._variogram.covariance(chords(self._blocks.points[rows], there))
            if self._variogram.nugget:
                pairs[rows[:, None] == columns[None]] += self._variogram.nugget
            out[start : start + step] = np.asarray(weights @ pairs.T).T
        return out

    def between(self, cells: Rows, others: Rows) -> Array:
        """Return the covariance (cells, others) of averages."""
        points, averages = self._blocks.points_of(cells)
        return np.asarray(averages @ self.towards(points, others))


class _Separable:
    """The same from pairs of rows: see `Lattice`."""

    def __init__(self, blocks: Blocks, lattice: Lattice, variogram: Variogram) -> None:
        self._blocks = blocks
        self._lattice = lattice
        self._nugget = variogram.nugget
        self._used, self._shares = _padded(lattice.along)
        # covariance of the points of a row with the mean of a coarse row, by columns between
        self._rows = np.stack([self._row(first, variogram) for first in lattice.rows[:, 0]])
        self._cells = np.tensordot(lattice.down, self._rows, 1)

    def _row(self, first: Array, variogram: Variogram) -> Array:
        lattice = self._lattice
        h = np.sqrt(np.square(lattice.rows - first).sum(-1))
        return np.asarray(lattice.down @ variogram.covariance(h))

    def towards(self, points: Rows, cells: Rows) -> Array:
        """Return the covariance (points, cells) of points with averages."""
        row, column = np.divmod(self._lattice.place[points], self._lattice.columns)
        down, along = np.divmod(cells, len(self._lattice.along))
        out = np.empty((len(points), len(cells)))
        step = max(1, _AT_ONCE // max(1, self._shares.shape[1] * len(cells)))
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            apart = np.abs(column[part, None, None] - self._used[along][None])
            found = self._rows[row[part, None, None], down[None, :, None], apart]
            out[part] = np.einsum("pcu,cu->pc", found, self._shares[along])
        if self._nugget:
            out += self._nugget * self._blocks.averages[cells][:, points].toarray().T
        return out

    def between(self, cells: Rows, others: Rows) -> Array:
        """Return the covariance (cells, others) of averages."""
        down, along = np.divmod(cells, len(self._lattice.along))
        other_down, other_along = np.divmod(others, len(self._lattice.along))
        out = np.empty((len(cells), len(others)))
        shares = self._shares[other_along]
        for number, (row, column) in enumerate(zip(down, along, strict=True)):
            apart = np.abs(self._used[column][:, None, None] - self._used[other_along][None])
            found = self._cells[row, other_down[None, :, None], apart]
            out[number] = np.einsum("scu,s,cu->c", found, self._shares[column], shares)
        if self._nugget:
            averages = self._blocks.averages
            out += self._nugget * (averages[cells] @ averages[others].T).toarray()
        return out


def _padded(averages: Array) -> tuple[Rows, Array]:
    """Return which columns have a weight in each row, and these; rows are padded with 0."""
    most = int((averages != 0).sum(1).max())
    used = np.argsort(averages == 0, axis=1, kind="stable")[:, :most]
    return used, np.take_along_axis(averages, used, axis=1)


def _covariances(blocks: Blocks, variogram: Variogram) -> _Direct | _Separable:
    if blocks.lattice is None:
        return _Direct(blocks, variogram)
    return _Separable(blocks, blocks.lattice, variogram)


def _variance(variogram: Variogram, weights: Array, multiplier: Array, towards: Array) -> Array:
    """Return ``C(0) - l' c - m``, the kriging variance."""
    found = variogram.sill - (weights * towards).sum(1) - multiplier
    return np.asarray(np.maximum(found, 0.0))


def _local(blocks: Blocks, variogram: Variogram, near: Rows) -> Weights:
    """Solve one small system for the fine cells of each coarse cell."""
    covariances = _covariances(blocks, variogram)
    order = np.argsort(blocks.home, kind="stable")
    ends = np.searchsorted(blocks.home[order], np.arange(len(near) + 1))
    own = _together(covariances, near)
    variance = np.empty(blocks.fine)
    data = np.empty((blocks.fine, near.shape[1]))
    for cell in np.flatnonzero(np.diff(ends)):
        fine = order[ends[cell] : ends[cell + 1]]
        towards = covariances.towards(fine, near[cell])
        weights, multiplier = _ordinary(_dense(own, near[cell], near[cell]), towards)
        data[fine] = weights
        variance[fine] = _variance(variogram, weights, multiplier, towards)
    shape = (blocks.fine, len(near))
    starts = np.arange(0, data.size + 1, near.shape[1])
    columns = near[blocks.home].ravel()
    matrix = sparse.csr_array((data.ravel(), columns, starts), shape=shape)
    return Weights(_coherent(blocks, matrix), variance, own, near)


def _together(covariances: _Direct | _Separable, near: Rows) -> Any:
    """Return the covariance of the coarse cells that are in a neighbourhood together, sparse."""
    count = len(near)
    member = sparse.csr_array(
        (np.ones(near.size), near.ravel(), np.arange(0, near.size + 1, near.shape[1])),
        shape=(count, count),
    )
    pairs = sparse.csr_array(sparse.triu(member.T @ member))
    data = np.empty(pairs.nnz)
    for cell in range(count):
        part = slice(pairs.indptr[cell], pairs.indptr[cell + 1])
        others = pairs.indices[part].astype(np.int64)
        data[part] = covariances.between(np.array([cell]), others)[0]
    upper = sparse.csr_array((data, pairs.indices, pairs.indptr), shape=pairs.shape)
    return sparse.csr_array(upper + sparse.triu(upper, 1).T)


def _coherent(blocks: Blocks, matrix: Any) -> Any:
    """Change weights as little as possible so that averages of fine fields are coarse values."""
    inside = np.flatnonzero(blocks.covered)
    averages = sparse.csr_array(blocks.averages[inside][:, : blocks.fine])
    wanted = sparse.csr_array(sparse.eye_array(matrix.shape[1], format="csr")[inside])
    lacking = wanted - averages @ matrix
    if not inside.size or abs(lacking).max() < _COHERENT:
        return matrix
    solver = splu(sparse.csc_array(averages @ averages.T))
    change = sparse.lil_array(lacking.shape)
    for start in range(0, lacking.shape[1], 256):
        columns = slice(start, start + 256)
        part = solver.solve(np.asarray(lacking[:, columns].toarray()))
        change[:, columns] = np.where(np.abs(part) > _COHERENT / 100, part, 0.0)
    return sparse.csr_array(matrix + averages.T @ sparse.csr_array(change))


def with_trend(
    weights: Weights, blocks: Blocks, covariates: Array, known: Array | None = None
) -> Weights:
    """Return weights of regression kriging: the trend is added, its averages are taken off.

    Parameters
    ----------
    weights : Weights
        Of the residual.
    blocks : Blocks
    covariates : ndarray (p, k)
        At all points.
    known : ndarray (k,), optional
        Coefficients. By default those of the least squares of each coarse field on a constant and
        the averages of the covariates, over the cells that consist of fine cells.
    """
    means = np.asarray(blocks.averages @ covariates)
    beyond = covariates[: blocks.fine] - weights.matrix @ means
    if known is not None:
        return replace(weights, offset=weights.offset + beyond @ known)
    used = blocks.covered if blocks.covered.sum() > covariates.shape[1] + 1 else slice(None)
    columns = np.hstack([np.ones((len(means), 1)), means])[used]
    fitted = np.zeros((covariates.shape[1], len(means)))
    fitted[:, used] = np.linalg.pinv(columns, rcond=1e-9)[1:]
    return replace(weights, fitted=(np.asarray(beyond), fitted))


def coefficients(field: Array, covariates: Array) -> Array:
    """Return the least squares of a field on covariates and a constant, without the constant.

    Parameters
    ----------
    field : ndarray (cells,)
        NaN where missing.
    covariates : ndarray (cells, k)

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> coefficients(5 + 3 * x[:, 0], x).round(9)
    array([3.])
    """
    known = np.isfinite(field)
    columns = np.hstack([np.ones((int(known.sum()), 1)), covariates[known]])
    return np.asarray(np.linalg.lstsq(columns, field[known], rcond=1e-9)[0][1:])


def deconvolve(
    blocks: Blocks, curve: Curve, model: str = "exponential", *, reach: float | None = None
) -> Variogram:
    """Fit the variogram of the points to semivariance of the averages.

    The semivariance of averages is ``g(v, w) - (g(v, v) + g(w, w)) / 2``, with g the mean
    semivariance between the points of two cells (Journel and Huijbregts 1978; Goovaerts 2008). The
    effective range is the best of 40, the partial sill is by least squares. A nugget leaves no
    trace in averages: it is 0.

    Parameters
    ----------
    blocks : Blocks
    curve : Curve
        Of coarse fields, by the distance of the centres.
    model : str
    reach : float, optional
        Longest distance of the curve, km.
    """
    h, gamma, count = usable(curve)
    nodes, weights = _spread_of_distances(blocks, h)

    def curves(variogram: Variogram) -> Array:
        return np.asarray(weights @ variogram.covariance(nodes))

    return search(h, gamma, count, model, curves, with_nugget=False)


def _spread_of_distances(blocks: Blocks, h: Array) -> tuple[Array, Array]:
    """Return distances (nodes,) and weights (lags, nodes): semivariance is these times covariance.

    The distances between the points of two cells are counted once; every range that is tried looks
    at the counts.
    """
    count = len(blocks.centres)
    anchors = np.unique(np.linspace(0, count - 1, min(count, _ANCHORS)).astype(int))
    apart = chords(blocks.centres[anchors], blocks.centres)
    each = max(1, _LAGS // h.size)
    top = 1.01 * chords(blocks.points, blocks.centres).max() + h.max()
    nodes = np.linspace(0, top, _NODES)
    out = np.zeros((h.size, _NODES))
    for number, wanted in enumerate(h):
        nearest = np.argsort(np.abs(apart - wanted), axis=None, kind="stable")[:each]
        for flat in nearest:
            one = int(anchors[flat // count])
            other = int(flat % count)
            for pair, sign in (((one, one), 0.5), ((other, other), 0.5), ((one, other), -1.0)):
                out[number] += sign / nearest.size * _counted(blocks, pair, nodes)
    return nodes, out


def _counted(blocks: Blocks, pair: tuple[int, int], nodes: Array) -> Array:
    """Return the weights of the distances between the points of two cells, shared by two nodes."""
    here, weight = blocks.points_of(np.array([pair[0]]))
    there, weights = blocks.points_of(np.array([pair[1]]))
    both = np.outer(weight.toarray()[0], weights.toarray()[0]).ravel()
    place = chords(blocks.points[here], blocks.points[there]).ravel() / nodes[1]
    low = np.minimum(place.astype(np.int64), nodes.size - 2)
    share = place - low
    found = np.bincount(low, both * (1 - share), nodes.size)
    return np.asarray(found + np.bincount(low + 1, both * share, nodes.size))
