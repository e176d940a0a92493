"""How large residual fields are, by cell and time step, from the field that was predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from xdownscale.models.statistical.predictors import Array, Floats, State, entry, floats

Rows = NDArray[np.int64]

FEATURES = 4
_NEAR = 3  # cells, over which squared gradients are averaged
_FURTHEST = 3.0  # standard deviations: features beyond are taken as these
_VALUES = 200_000  # on which it is fitted
_PENALTY = 1e-3


@dataclass(frozen=True)
class Amplitude:
    r"""Standard deviation of a residual field, relative to what is usual at the cell.

    .. math:: \log a^2 = \sum_k w_k z_k

    The features z are, of the predicted field: its anomaly at the cell in standard deviations, the
    square of that, the logarithm of the gradient around the cell, and the logarithm of the standard
    deviation over the domain; all standardised, and cut at 3 standard deviations. The weights have
    the largest likelihood of a Gaussian residual with the variance :math:`v a^2`, where v is the
    mean square at the cell.

    Attributes
    ----------
    center, spread : ndarray (target, y, x)
        Mean and standard deviation of the predictions at each cell.
    observed : ndarray (target, y, x)
        1 at cells that were ever known, else 0.
    offset, scale : ndarray (target, feature)
        Mean and standard deviation of the features.
    weights : ndarray (target, feature)
        w.
    """

    center: Floats
    spread: Floats
    observed: Floats
    offset: Floats
    scale: Floats
    weights: Floats

    @classmethod
    def fit(cls, predictions: Array, residuals: Array) -> Amplitude:
        """Fit the weights.

        Parameters
        ----------
        predictions : ndarray (n, target, y, x)
            Out of fold; no NaN.
        residuals : ndarray (n, target, y, x)
            Truth minus prediction; NaN where the truth is missing.
        """
        none = np.array([], np.int64)
        return cls.cross_fit(predictions, residuals, np.zeros(len(residuals), np.int64), none)[0]

    @classmethod
    def cross_fit(
        cls,
        predictions: Array,
        residuals: Array,
        block: Rows,
        cells: Rows,
        even: Sequence[bool] = (),
    ) -> tuple[Amplitude, dict[int, Array]]:
        """Fit the weights on all time steps, and on those outside each block.

        Parameters
        ----------
        predictions, residuals
            As for `fit`.
        block : ndarray of int (n,)
            Block of time of each time step.
        cells : ndarray of int (cells,)
            Of a flattened field (target, y, x).
        even : sequence of bool
            For each target, whether its amplitude is 1; empty for none.

        Returns
        -------
        amplitude : Amplitude
            Fitted on all time steps.
        logs : dict of ndarray (n, cells)
            For each block, log a by weights that were fitted without it.
        """
        ever: NDArray[np.bool_] = np.asarray(np.isfinite(residuals).any(0))
        center = floats(predictions.mean(0, dtype=np.float64))
        deviation = floats(predictions.std(0, dtype=np.float64))
        spread = np.where(deviation > 0, deviation, np.float32(1))
        targets, size = predictions.shape[1], int(np.prod(predictions.shape[2:]))
        zero = np.zeros((targets, FEATURES), np.float32)
        found = cls(center, spread, floats(ever), zero.copy(), zero + 1, zero.copy())
        numbers = np.unique(block)
        logs = {int(number): np.zeros((len(block), len(cells))) for number in numbers}
        for target in range(targets):
            own = np.flatnonzero(cells // size == target)
            some = np.flatnonzero(ever[target])
            some = some[:: max(1, -(-some.size * len(block) // _VALUES))]
            if not some.size or (len(even) and even[target]):
                continue
            both = np.r_[some, cells[own] % size]
            raw = np.stack([found._raw(each[target], target)[:, both] for each in predictions], 1)
            known = residuals[:, target].reshape(len(block), -1)[:, some]
            count = some.size
            for number in numbers if own.size else ():
                rest = np.flatnonzero(block != number)
                fitted = _fitted(raw[:, rest, :count], known[rest])
                logs[int(number)][:, own] = _log_amplitude(raw[:, :, count:], *fitted)
            fitted = _fitted(raw[:, :, :count], known)
            found.offset[target], found.scale[target], found.weights[target] = fitted
        return found, logs

    def __call__(self, prediction: Array) -> Floats:
        """Return a (target, y, x) for a predicted field (target, y, x)."""
        return floats(np.exp(self.log(prediction)))

    def log(self, prediction: Array) -> Array:
        """Return log a (target, y, x) for a predicted field (target, y, x)."""
        out = np.empty(prediction.shape)
        for target, field in enumerate(prediction):
            numbers = (self.offset[target], self.scale[target], self.weights[target])
            out[target] = _log_amplitude(self._raw(field, target), *numbers).reshape(field.shape)
        return out

    def _raw(self, field: Array, target: int) -> Array:
        """Return the features (feature, cells) of a predicted field (y, x)."""
        known = self.observed[target] > 0
        spread = self.spread[target]
        anomaly = np.where(known, (field - self.center[target]) / spread, 0.0)
        usual = float(spread[known].mean()) if known.any() else 1.0
        steep = np.sqrt(_mean_square_gradient(field / usual, known))
        wide = float(np.std(field[known] / usual)) if known.any() else 0.0
        features = (
            anomaly,
            np.square(anomaly),
            np.log(steep + 0.01),
            np.full(field.shape, np.log(wide + 0.05)),
        )
        return np.stack(features).reshape(FEATURES, -1)

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats], shape: tuple[int, int, int]) -> Amplitude:
        """Read what `to_state` returned, for fields of so many targets, rows and columns."""
        fields = [entry(state, name, shape) for name in ("center", "spread", "observed")]
        numbers = [
            entry(state, name, (shape[0], FEATURES)) for name in ("offset", "scale", "weights")
        ]
        return cls(*fields, *numbers)


def _mean_square_gradient(field: Array, known: NDArray[np.bool_]) -> Array:
    """Return the squared differences of neighbours, averaged around each cell."""
    out = np.zeros(field.shape)
    for axis, (both, count) in enumerate(_differences(known.tobytes(), *known.shape)):
        first, second = _sides(field, axis)
        square = np.where(both, np.square(second - first), 0.0)
        out += _around(square, axis) / count
    return out


@lru_cache(maxsize=8)
def _differences(known: bytes, ny: int, nx: int) -> list[tuple[NDArray[np.bool_], Array]]:
    """Return for each axis which neighbours are both known, and how many are around each cell."""
    there = np.frombuffer(known, np.bool_).reshape(ny, nx)
    found = []
    for axis in (0, 1):
        both = np.logical_and(*_sides(there, axis))
        found.append((both, np.maximum(_around(both.astype(float), axis), 1e-9)))
    return found


def _around(differences: Array, axis: int) -> Array:
    """Sum the differences of neighbours along an axis around each cell."""
    shape = list(differences.shape)
    shape[axis] += 1
    total = np.zeros(shape)
    first, second = _sides(total, axis)
    first += differences  # one belongs to both of its cells
    second += differences
    return np.asarray(ndimage.gaussian_filter(total, _NEAR))


def _sides(field: Array, axis: int) -> tuple[Array, Array]:
    """Return a field without its last, and without its first, row or column."""
    if axis == 0:
        return field[:-1], field[1:]
    return field[:, :-1], field[:, 1:]


def _fitted(raw: Array, residuals: Array) -> tuple[Array, Array, Array]:
    """Return offset, scale and weights of features (feature, n, cells)."""
    offset = raw.mean((1, 2))
    deviation = raw.std((1, 2))
    scale = np.where(deviation > 1e-6, deviation, 1)
    return offset, scale, _log_linear(_standard(raw, offset, scale), residuals)


def _log_amplitude(raw: Array, offset: Array, scale: Array, weights: Array) -> Array:
    """Return log a (...) of features (feature, ...)."""
    return np.asarray(0.5 * np.tensordot(weights, _standard(raw, offset, scale), 1))


def _standard(raw: Array, offset: Array, scale: Array) -> Array:
    """Standardise features (feature, ...) and cut them."""
    shape = (-1,) + (1,) * (raw.ndim - 1)
    return np.clip((raw - offset.reshape(shape)) / scale.reshape(shape), -_FURTHEST, _FURTHEST)


def _log_linear(features: Array, residuals: Array) -> Array:
    """Return the weights of features (feature, n, cells) for residuals (n, cells).

    Minimises the mean of ``log s2 + r^2 / s2``, which is convex, with ``s2 = v exp(c + w z)``.
    """
    usual = np.nanmean(np.square(residuals, dtype=np.float64), axis=0)
    square = np.square(residuals, dtype=np.float64) / np.where(usual > 0, usual, 1)
    good = np.isfinite(square) & (usual > 1e-9 * usual.max())
    if not good.any():
        return np.zeros(len(features))
    x = np.concatenate([np.ones((1, int(good.sum()))), features[:, good]])
    y = square[good]

    def loss(b: Array) -> tuple[float, Array]:
        eta = np.clip(b @ x, -20, 20)
        ratio = y * np.exp(-eta)
        slope = x @ (1 - ratio) / y.size
        return float(np.mean(eta + ratio) + _PENALTY * (b @ b)), slope + 2 * _PENALTY * b

    found = optimize.minimize(loss, np.zeros(len(x)), jac=True, method="L-BFGS-B")
    return np.asarray(found.x[1:])
