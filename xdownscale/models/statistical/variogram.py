"""Variograms that kriging needs: covariance by distance, fitted to fields or to block averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from scipy.optimize import nnls

from xdownscale.core.errors import DataError, OptionError, check_option
from xdownscale.core.variogram_models import evaluate, fit_curve
from xdownscale.models.statistical.predictors import Array, Floats, entry, floats

MODELS = ("spherical", "exponential", "gaussian", "matern")
_STATE = (5,)  # model, effective range, partial sill, nugget, smoothness
_NODES = 1 << 15  # of the table of a Matern curve, whose Bessel functions are slow
_TABLE = 1 << 16  # distances from which on it is used
_LEAST_PAIRS = 30
_ANCHORS = 1000  # cells that pairs start from
_RANGES = 40  # that are tried where no sill is seen
_SMOOTHNESS = (0.3, 0.5, 1.0, 1.5, 2.5)
_LONGEST = 8.0  # times the longest distance: the longest range that is tried


@dataclass(frozen=True, kw_only=True)
class Variogram:
    """Variogram of a field on the support of its fine cells.

    Attributes
    ----------
    model : {"spherical", "exponential", "gaussian", "matern"}
        As `xdownscale.geostat.semivariogram` has it.
    effective_range : float
        Distance in km where the sill is reached, or 95 % of the partial sill.
    psill : float
        Partial sill: the variance of what is correlated.
    nugget : float
        Variance of what is not correlated from one fine cell to the next.
    smoothness : float
        Of ``"matern"``; else it does not count.

    Raises
    ------
    OptionError
        For an unknown model or a number out of range.

    Examples
    --------
    >>> Variogram(effective_range=300.0, psill=2.0).covariance(np.array([0.0, 100.0])).round(3)
    array([2.   , 0.736])
    """

    model: str = "exponential"
    effective_range: float
    psill: float
    nugget: float = 0.0
    smoothness: float = math.nan

    def __post_init__(self) -> None:
        check_option("model of the variogram", self.model, MODELS)
        if self.model == "matern" and not self.smoothness > 0:
            raise OptionError(
                f"smoothness of the variogram is {self.smoothness}; model 'matern' needs one above "
                "0 (0.5 is 'exponential')."
            )
        for name, least in (("effective_range", True), ("psill", True), ("nugget", False)):
            value: Any = getattr(self, name)
            good = isinstance(value, Real) and value < np.inf
            if not good or not (value > 0 if least else value >= 0):
                raise OptionError(
                    f"{name} of the variogram is {value!r}; give a number "
                    f"{'above 0' if least else 'of 0 or more'}."
                )

    @property
    def sill(self) -> float:
        """Variance of the field."""
        return self.psill + self.nugget

    @property
    def _parameters(self) -> Array:
        return np.array([self.effective_range, self.psill, 0.0, self.smoothness])

    def covariance(self, h: Array) -> Array:
        """Return the covariance at distances in km, without the nugget."""
        if self.model == "matern" and h.size > _TABLE:
            top = float(h.max())
            nodes = top * (np.arange(_NODES + 1) / _NODES) ** 2
            curve = self.psill - evaluate(self.model, nodes, self._parameters)
            return np.asarray(np.interp(h, nodes, curve))
        return np.asarray(self.psill - evaluate(self.model, h, self._parameters))

    def semivariance(self, h: Array) -> Array:
        """Return the semivariance at distances above 0."""
        return np.asarray(self.nugget + evaluate(self.model, h, self._parameters))

    def to_state(self) -> dict[str, Floats]:
        """Return an array, as it is saved."""
        smoothness = self.smoothness if np.isfinite(self.smoothness) else 0.0  # only of a matern
        numbers = [self.effective_range, self.psill, self.nugget, smoothness]
        return {"variogram": floats([MODELS.index(self.model), *numbers])}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats]) -> Variogram:
        """Read what `to_state` returned."""
        kind, reach, psill, nugget, smoothness = entry(state, "variogram", _STATE).tolist()
        return cls(
            model=MODELS[int(kind)],
            effective_range=reach,
            psill=psill,
            nugget=nugget,
            smoothness=smoothness or np.nan,
        )


@dataclass(frozen=True)
class Curve:
    """Semivariance by distance.

    Attributes
    ----------
    distance, semivariance, count : ndarray (bins,)
        Mean distance in km, semivariance and number of pairs; NaN and 0 where there is none.
    """

    distance: Array
    semivariance: Array
    count: Array


def measure(
    points: Array, fields: Array, max_distance: float, *, bins: int = 24, seed: int = 0
) -> Curve:
    """Return the mean semivariance of fields by distance (Matheron 1962).

    Parameters
    ----------
    points : ndarray (cells, 3)
        Where the cells are, km.
    fields : ndarray (n, cells)
        NaN where missing.
    max_distance : float
        Longest distance, km.
    bins : int
        Distance classes of equal width.
    seed : int
        Of the cells that pairs start from, where there are more than 1000.

    Examples
    --------
    >>> points = np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]])
    >>> measure(points, np.array([[0.0, 1.0, 0.0]]), 3.0, bins=3).semivariance
    array([nan, 0.5, 0. ])
    """
    edges = np.linspace(0, max_distance, bins + 1)
    total = np.zeros((3, bins))  # distances, semivariances, pairs of cells and fields
    for first, second, h in _pairs(points, max_distance, seed):
        place = np.minimum(np.searchsorted(edges, h, side="right") - 1, bins - 1)
        square = np.zeros(h.size)
        known = np.zeros(h.size)
        for field in fields:
            gap = (field[first] - field[second]) ** 2
            good = np.isfinite(gap)
            square += np.where(good, gap, 0.0)
            known += good
        for row, weights in enumerate((h * known, square / 2, known)):
            total[row] += np.bincount(place, weights, bins)
    with np.errstate(invalid="ignore"):  # classes without a pair
        return Curve(total[0] / total[2], total[1] / total[2], total[2])


def _pairs(points: Array, max_distance: float, seed: int) -> Iterator[tuple[Array, Array, Array]]:
    """Yield pairs of cells and their distances, some cells with all others within reach."""
    count = len(points)
    anchors = np.arange(count)
    if count > _ANCHORS:
        anchors = np.sort(np.random.default_rng(seed).choice(count, _ANCHORS, replace=False))
    # every pair once where all cells are anchors
    other = np.arange(count)
    for part in np.array_split(anchors, max(1, anchors.size * count // 4_000_000 + 1)):
        h = chords(points[part], points)
        near = (h <= max_distance) & (h > 0)
        if count <= _ANCHORS:
            near &= other[None] > part[:, None]
        near &= _kept(near, seed)
        one, two = np.nonzero(near)
        yield part[one], two, h[one, two]


def _kept(near: Array, seed: int) -> Array:
    """Return which pairs are kept, so that a part has no more than some ten thousand."""
    found = int(near.sum())
    most = 50_000
    if found <= most:
        return near
    return np.asarray(np.random.default_rng(seed).random(near.shape) < most / found)


def chords(one: Array, other: Array) -> Array:
    """Return straight-line distances (a, b) of points (a, 3) and (b, 3).

    Examples
    --------
    >>> chords(np.zeros((1, 3)), np.array([[3.0, 4.0, 0.0]]))
    array([[5.]])
    """
    middle = one.mean(0)  # smaller numbers: less is lost where squares are subtracted
    one = one - middle
    other = other - middle
    square = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    # equal points are at distance 0 exactly, whatever rounding says
    return np.asarray(np.sqrt(np.where(square > 1e-9, square, 0.0)))


def fit(curve: Curve, model: str = "exponential") -> Variogram:
    """Fit a variogram to semivariance by least squares, weighted by pair count.

    The fit is that of `xdownscale.geostat.semivariogram`. Where that sees no sill within the
    longest distance, or no range, the best of 40 ranges up to eight times as long is taken: kriging
    needs the curve over a few coarse cells, not its end.

    Parameters
    ----------
    curve : Curve
    model : {"spherical", "exponential", "gaussian", "matern"}

    Raises
    ------
    DataError
        If no class has a pair, or the field is constant.

    Examples
    --------
    >>> h = np.arange(1.0, 11.0)
    >>> gamma = np.where(h < 6, 2 * (1.5 * h / 6 - 0.5 * (h / 6) ** 3), 2.0)
    >>> found = fit(Curve(h, gamma, np.ones(10)), "spherical")
    >>> round(found.effective_range, 3), round(found.psill, 3)
    (6.0, 2.0)
    """
    check_option("model of the variogram", model, MODELS)
    h, y, n = usable(curve)
    found = fit_curve(h, y, n, model)
    if not found.message:
        reach, psill, nugget, shape = found.parameters.tolist()
        if psill > 0:
            return Variogram(
                model=model, effective_range=reach, psill=psill, nugget=nugget, smoothness=shape
            )

    def curves(candidate: Variogram) -> Array:
        return candidate.semivariance(h)

    return search(h, y, n, model, curves, with_nugget=True)


def usable(curve: Curve) -> tuple[Array, Array, Array]:
    """Return distance, semivariance and count of the classes that have pairs.

    Raises
    ------
    DataError
        If fewer than three have, or the field is constant.
    """
    good = (curve.count > 0) & np.isfinite(curve.semivariance)
    if good.sum() < 3 or not curve.semivariance[good].max() > 0:
        raise DataError(
            f"A variogram cannot be fitted: {int(good.sum())} distance classes have pairs, and "
            f"the largest semivariance is {np.max(curve.semivariance[good], initial=0):.3g}. "
            "Give more fields, or the variogram itself (variogram=...)."
        )
    return curve.distance[good], curve.semivariance[good], curve.count[good]


def search(
    h: Array,
    y: Array,
    n: Array,
    model: str,
    curves: Callable[[Variogram], Array],
    *,
    with_nugget: bool,
) -> Variogram:
    """Return the variogram whose curve is nearest, partial sill and nugget by least squares.

    Parameters
    ----------
    h, y, n : ndarray (bins,)
        Distance, semivariance and pair count.
    model : str
    curves : callable
        Returns the curve at `h` of a variogram with a partial sill of 1.
    with_nugget : bool
        Fit a nugget.
    """
    weight = np.sqrt(n / n.max())
    best: tuple[float, Variogram | None] = (np.inf, None)
    for reach in np.geomspace(max(h.min(), h.max() / 50), _LONGEST * h.max(), _RANGES):
        for shape in _SMOOTHNESS if model == "matern" else (math.nan,):
            unit = Variogram(model=model, effective_range=reach, psill=1.0, smoothness=shape)
            columns = [curves(unit), *([np.ones(h.size)] if with_nugget else [])]
            sizes, misfit = nnls(np.stack(columns, 1) * weight[:, None], y * weight)
            if misfit < best[0] and sizes[0] > 0:
                nugget = float(sizes[1]) if with_nugget else 0.0
                scaled = Variogram(
                    model=model,
                    effective_range=float(reach),
                    psill=float(sizes[0]),
                    nugget=nugget,
                    smoothness=shape,
                )
                best = (misfit, scaled)
    if best[1] is None:  # flat: all of it is nugget
        level = float(np.average(y, weights=n))
        return Variogram(
            effective_range=float(h.min()), psill=1e-6 * level, nugget=level, model="exponential"
        )
    return best[1]
