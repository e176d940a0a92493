"""Transforms and standardisation, fitted on training values only and invertible."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xdownscale.core.errors import (
    DataError,
    ModelFormatError,
    OptionError,
    check_option,
    require_real,
)
from xdownscale.core.extremes import MANY
from xdownscale.core.moments import Moments

TRANSFORMS = ("auto", "log10", "asinh", "log1p", "sqrt", "identity")
SCALINGS = ("minmax", "standard")
OPTIONAL = frozenset({"threshold", "cap"})  # keys of a saved scaling that older files lack

# Moment skewness: an exponential distribution has 2, daily temperature under 1, dust 3 and more.
SKEWED = 1.0
_ZERO = 1e-6  # of the median: smaller values are zeros that numerical noise made positive
_ROUNDING = 1e-7  # of the largest value: negative values this small are zeros
_SAMPLE = 50_000  # values that "auto" judges by
BLOCK = 1 << 22  # values that are read at once
_SMALLEST_FLOOR = 1e-37  # above the smallest normal float32


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """A transform followed by standardisation: a shift and a division by a spread.

    Attributes
    ----------
    transform : str
        ``"log10"``, ``"asinh"``, ``"log1p"``, ``"sqrt"`` or ``"identity"``.
    kind : str
        ``"minmax"``: the training range lies in [-1, 1]. ``"standard"``: the training values
        have mean 0 and standard deviation 1.
    floor : float or None
        Under log10, smaller values are raised to the floor. None: 0 or less is an error.
    scale : float
        Divisor under asinh, in the units of the values.
    center, spread : float
        Shift and divisor, in transformed units.
    minimum, maximum : float or None
        Range of the training values, in their own units.
    reason : str
        Why this transform, in one sentence.
    threshold : float or None
        The record is censored: `inverse` turns smaller values into the smallest of training, such
        as no rain. None: it is not.
    cap : float or None
        `inverse` lowers larger values to it.

    Notes
    -----
    `inverse` undoes `forward` to the rounding of the dtype, but for threshold and cap. Under sqrt
    and log1p its result is never negative, whatever a network returns; nor under asinh if no
    training value was negative.

    Examples
    --------
    >>> import numpy as np
    >>> scaling = fit_scaling(np.array([0.01, 0.1, 1.0]), transform="log10")
    >>> scaling.forward(np.array([0.01, 0.1, 1.0]))
    array([-1.,  0.,  1.])
    """

    transform: str = "identity"
    kind: str = "standard"
    floor: float | None = None
    scale: float = 1.0
    center: float = 0.0
    spread: float = 1.0
    minimum: float | None = None
    maximum: float | None = None
    reason: str = ""
    threshold: float | None = None
    cap: float | None = None

    def __post_init__(self) -> None:
        check_option("transform", self.transform, [t for t in TRANSFORMS if t != "auto"])
        check_option("scaling", self.kind, SCALINGS)
        if self.floor is not None and not _SMALLEST_FLOOR <= self.floor < np.inf:
            raise OptionError(
                f"floor is {self.floor}; it must be at least {_SMALLEST_FLOOR}, in the units of "
                "the values (the smallest value that means something)."
            )
        if not 0 < self.scale < np.inf:
            raise OptionError(f"scale is {self.scale}; it must be finite and above 0.")
        if not (np.isfinite(self.center) and 0 < self.spread < np.inf):
            raise OptionError(
                f"center is {self.center} and spread {self.spread}; give a finite center and a "
                "finite spread above 0."
            )
        if self.threshold is not None and not (self.minimum or 0) <= self.threshold < np.inf:
            raise OptionError(
                f"threshold is {self.threshold}; it must be finite and at least the smallest "
                f"training value, {self.minimum}."
            )

    @property
    def least(self) -> float | None:
        """The smallest training value, raised to the floor under log10; None where unknown."""
        if self.minimum is None or self.transform != "log10" or self.floor is None:
            return self.minimum
        return max(self.minimum, self.floor)

    @property
    def censored(self) -> tuple[float, float] | None:
        """Threshold and smallest value in scaled units; None where the record is not censored."""
        if self.threshold is None:
            return None
        threshold, least = self.forward(np.array([self.threshold, self.least])).tolist()
        return threshold, least

    def forward(self, array: Any) -> Any:
        """Transform and standardise a numpy or dask array of any shape.

        NaN stays NaN, floats keep their dtype, dask stays lazy. `DataError` for values outside
        the domain of the transform; with dask it comes when they are computed.
        """
        return _apply(lambda x: (self._transform(x) - self.center) / self.spread, array)

    def inverse(self, array: Any) -> Any:
        """Undo `forward`; return values in the units of the training values."""
        return _apply(
            lambda x: self._bounded(self._untransform(x * self.spread + self.center)), array
        )

    def bounded(self, array: Any) -> Any:
        """Apply threshold and cap to values in their own units; NaN stays NaN."""
        return _apply(self._bounded, array)

    def transform_only(self, array: Any) -> Any:
        """Transform without standardising (the "transformed units" of scores); as `forward`."""
        return _apply(self._transform, array)

    def untransform(self, array: Any) -> Any:
        """Undo `transform_only`."""
        return _apply(self._untransform, array)

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes (JSON), without a threshold and a cap that are None."""
        found = dataclasses.asdict(self)
        return {k: v for k, v in found.items() if k not in OPTIONAL or v is not None}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Scaling:
        """Build a scaling from what `to_dict` returned; ModelFormatError for other keys."""
        names = {f.name for f in dataclasses.fields(cls)}
        if not names - OPTIONAL <= set(tree) <= names:
            raise ModelFormatError(
                f"A stored scaling has the keys {sorted(names)}, this one {sorted(tree)}; the "
                "model was altered or written by another version. Save it again."
            )
        return cls(**tree)

    def _transform(self, x: Any) -> Any:
        _check_domain(x, self.transform, self.floor, self.maximum)
        if self.transform == "log10":
            return np.log10(x if self.floor is None else np.maximum(x, self.floor))
        if self.transform == "asinh":
            return np.arcsinh(x / self.scale)
        if self.transform == "log1p":
            return np.log1p(np.maximum(x, 0))
        return np.sqrt(np.maximum(x, 0)) if self.transform == "sqrt" else np.array(x)

    def _bounded(self, x: Any) -> Any:
        """Apply threshold and cap."""
        if self.threshold is not None:
            x = np.where(x < self.threshold, x.dtype.type(self.least), x)
        return x if self.cap is None else np.minimum(x, x.dtype.type(self.cap))

    def _untransform(self, y: Any) -> Any:
        if self.transform == "log10":
            return np.power(y.dtype.type(10), y)
        if self.transform == "asinh":
            kept = y if self.minimum is None or self.minimum < 0 else np.maximum(y, 0)
            return np.sinh(kept) * self.scale
        if self.transform == "log1p":
            return np.expm1(np.maximum(y, 0))
        return np.square(np.maximum(y, 0)) if self.transform == "sqrt" else np.array(y)


def fit_scaling(
    values: Any,
    transform: str | Scaling = "auto",
    kind: str = "minmax",
    *,
    floor: float | None = None,
    scale: float | None = None,
    seed: int = 0,
) -> Scaling:
    """Fit a transform and its standardisation on training values.

    Parameters
    ----------
    values : numpy array, dask array, or iterable of arrays
        Training values only, time along the leading axis; NaN is left out. Read one
        chunk or array at a time. An iterable must give the same arrays each time, as a list does.
    transform : str or Scaling
        A transform of `Scaling`, ``"auto"`` (see `choose_transform`), or the result of
        `choose_transform` for these values.
    kind : str
        ``"minmax"`` to [-1, 1], or ``"standard"`` to mean 0 and standard deviation 1.
    floor, scale : float, optional
        As in `Scaling`, for log10 and asinh; `scale` is the median size without the zeros.
    seed : int
        Seed of the sample that ``"auto"`` judges by.

    Returns
    -------
    Scaling

    Raises
    ------
    OptionError
        For unknown names, or a `floor` or `scale` that the transform does not use.
    DataError
        If all values are NaN or equal, or some infinite or outside the transform's domain.

    Examples
    --------
    >>> dust = np.random.default_rng(0).lognormal(-2, 1, size=(20, 8, 8))
    >>> print(fit_scaling(dust).reason)
    log10: all values are above 0 and skewed (skewness ..., with log10 ...).
    """
    check_option("scaling", kind, SCALINGS)
    chosen = transform
    if isinstance(chosen, str):
        chosen = choose_transform(values, chosen, floor=floor, scale=scale, seed=seed)
    ends = chosen.transform_only(np.array([chosen.minimum, chosen.maximum], dtype=float))
    if ends[0] == ends[1]:
        raise DataError(
            f"All training values are {chosen.minimum} (after the floor, if any): a model "
            "cannot be trained on a field without spread. Check the variable, the mask and the "
            "floor."
        )
    if kind == "minmax":
        center = float(ends.mean())
        spread = float(ends[1] - ends[0]) / 2
    else:
        moments = Moments()
        for block in _blocks(values):
            moments.add(chosen.transform_only(block[~np.isnan(block)].astype(float)))
        center = moments.mean
        spread = moments.spread()
    return dataclasses.replace(chosen, kind=kind, center=center, spread=spread)


def choose_transform(
    values: Any,
    transform: str = "auto",
    *,
    floor: float | None = None,
    scale: float | None = None,
    seed: int = 0,
) -> Scaling:
    """Choose a transform from the distribution of the values; no standardisation.

    The rule of ``"auto"``, on a seeded sample of 50,000 values: values whose skewness lies
    within +-1, or that go below 0, stay as they are (identity). Values all above 0 (above a
    millionth of the median) go to log10 if that leaves a skewness within +-1. Where more than a
    tenth are 0 (daily precipitation) and there is no floor, sqrt: the inverse of a logarithm turns
    an error of the model into amounts that were never seen. The rest get what leaves the least
    skewness: log10 (where all are above 0), sqrt, log1p or asinh.

    Parameters
    ----------
    values, transform, floor, scale, seed
        As for `fit_scaling`, with the same errors; but equal values are allowed here.

    Returns
    -------
    Scaling
        With ``center=0``, ``spread=1``, the range of the values and the reason.

    Examples
    --------
    >>> import numpy as np
    >>> choose_transform([np.array([271.0, 280.0]), np.array([291.0])]).transform
    'identity'
    """
    check_option("transform", transform, TRANSFORMS)
    for option, given, owner in (("floor", floor, "log10"), ("scale", scale, "asinh")):
        if given is not None and transform not in (owner, "auto"):
            raise OptionError(
                f"{option}={given} means nothing under transform={transform!r}; leave it out or "
                f"choose transform={owner!r}."
            )
    survey = _survey(values, seed, None if transform in ("log10", "sqrt", "log1p") else _SAMPLE)
    if scale is None:
        sizes = np.abs(survey.sample[survey.sample != 0])
        scale = float(np.median(sizes)) if sizes.size and transform in ("asinh", "auto") else 1.0
    plain = Scaling(floor=floor, scale=scale, minimum=survey.low, maximum=survey.high)
    name = transform
    reason = f"{transform}: asked for."
    if transform == "auto":
        name, reason = _automatic(plain, survey)
    elif transform != "identity":
        _raise_outside(transform, floor, survey)
    floor = floor if name == "log10" else None
    scale = scale if name == "asinh" else 1.0
    return dataclasses.replace(plain, transform=name, reason=reason, floor=floor, scale=scale)


@dataclass(kw_only=True)
class _Survey:
    """Statistics of one pass over the values."""

    count: int = 0
    infinite: int = 0
    nonpositive: int = 0
    negative: int = 0
    low: float = np.inf
    high: float = -np.inf
    sample: np.ndarray[Any, np.dtype[Any]] = dataclasses.field(default_factory=lambda: np.empty(0))


def _automatic(plain: Scaling, survey: _Survey) -> tuple[str, str]:
    """Return the name of the transform and a sentence that says why."""
    skew = {"identity": _skewness(survey.sample)}
    if abs(skew["identity"]) <= SKEWED:
        return "identity", f"identity: values are hardly skewed ({skew['identity']:.2g})."
    if survey.low < 0 and plain.floor is None:
        return "identity", f"identity: values go below 0 (down to {survey.low:.3g})."
    zeros = float(np.mean(survey.sample <= _ZERO * survey.high))
    if zeros > MANY and plain.floor is None:
        return "sqrt", f"sqrt: {zeros:.0%} of the values are 0 (it cannot explode, as exp does)."
    lowest = max(survey.low, plain.floor or 0.0)
    names = ["log10"] if lowest > _ZERO * np.median(survey.sample) else []
    names += ["sqrt", "log1p", "asinh"] if survey.low >= 0 else []
    for name in names:
        space = dataclasses.replace(plain, transform=name)
        skew[name] = _skewness(space.transform_only(survey.sample))
    best = min(skew, key=lambda name: abs(skew[name]))
    if "log10" in skew and abs(skew["log10"]) <= SKEWED:
        best = "log10"
    kind = "floored"
    if survey.low > 0:
        kind = "above 0"
    elif survey.low >= 0:
        kind = "0 or above"
    found = f"skewness {skew['identity']:.2g}, with {best} {skew[best]:.2g}"
    return best, f"{best}: all values are {kind} and skewed ({found})."


def _skewness(x: Any) -> float:
    """Return the third standardised moment; 0 for equal values."""
    centred = np.asarray(x, dtype=float) - np.mean(x, dtype=float)
    spread = float(np.sqrt(np.mean(centred**2)))
    return float(np.mean((centred / spread) ** 3)) if spread > 0 else 0.0


def _survey(values: Any, seed: int, sample: int | None) -> _Survey:
    """Return the statistics of one pass over the values; the sample is independent of chunks."""
    found = _Survey()
    rng = np.random.default_rng(seed)
    keys: np.ndarray[Any, np.dtype[Any]] = np.empty(0)
    for block in _blocks(values):
        good = ~np.isnan(block)
        x = block[good]
        if x.size:
            found.low = min(found.low, float(x.min()))
            found.high = max(found.high, float(x.max()))
        found.count += x.size
        found.infinite += int(np.isinf(x).sum())
        found.nonpositive += int((x <= 0).sum())
        found.negative += int((x < 0).sum())
        if sample is not None:
            keys = np.concatenate([keys, rng.random(block.size)[good]])
            found.sample = np.concatenate([found.sample, x])
            if keys.size > sample:
                smallest = np.sort(np.argpartition(keys, sample)[:sample])
                keys = keys[smallest]
                found.sample = found.sample[smallest]
    if found.count == 0 or found.infinite:
        raise DataError(
            f"Of the training values, {found.count} are not NaN and {found.infinite} are infinite; "
            "some must be numbers and none infinite. Check the variable, its mask and the days."
        )
    if without_rounding(found.low, found.high) != found.low:
        found.low = 0.0
        found.negative = 0
        found.sample = np.maximum(found.sample, 0)
    return found


def _blocks(values: Any) -> Iterator[Any]:
    """Yield flat numpy blocks of at most a chunk, an array or `BLOCK` values (or one time step)."""
    if not hasattr(values, "ndim"):
        if iter(values) is values:
            raise DataError(
                f"The training values are a {type(values).__name__}, which can be read "
                "only once and is needed twice; give a list, an array or a dask array."
            )
        for part in values:
            yield from _blocks(part)
        return
    if values.ndim == 0:
        values = values.reshape(1)
    chunks = getattr(values, "chunks", None)
    step = max(1, BLOCK // max(1, int(np.prod(values.shape[1:]))))
    starts = np.cumsum([0, *chunks[0]]) if chunks else [*range(0, len(values), step), len(values)]
    for start, stop in itertools.pairwise(starts):
        block = np.asarray(values[start:stop]).ravel()
        require_real(block.dtype, "The training record")
        yield block if block.dtype.kind == "f" else block.astype(float)


def _apply(function: Callable[[Any], Any], array: Any) -> Any:
    """Apply a function to a numpy or, lazily, a dask array; integers become floats."""

    def on_block(block: Any) -> Any:
        x = np.asarray(block)
        return np.asarray(function(x.astype(np.result_type(x.dtype, np.float32), copy=False)))

    if hasattr(array, "dask"):
        return array.map_blocks(on_block, dtype=np.result_type(array.dtype, np.float32))
    return on_block(array)


def without_rounding(low: float, high: float) -> float:
    """Return the smallest of some values, or 0 where it is negative by rounding alone.

    Examples
    --------
    >>> without_rounding(-2e-16, 80.0), without_rounding(-2.0, 80.0)
    (0.0, -2.0)
    """
    return 0.0 if -_ROUNDING * high <= low < 0 else low


def _check_domain(x: Any, transform: str, floor: float | None, largest: float | None) -> None:
    """Raise for values outside the domain of the transform."""
    if transform not in ("log10", "log1p", "sqrt") or x.size == 0:
        return
    low = float(np.fmin.reduce(x, axis=None))  # NaN where all are NaN: no comparison is true
    if low < 0:
        high = float(np.fmax.reduce(x, axis=None))
        low = without_rounding(low, max(high, largest or 0.0))
    if low < 0 or (low == 0 and transform == "log10"):
        found = _Survey(low=low)
        found.count = int(np.isfinite(x).sum())
        found.negative = int((x < 0).sum())
        found.nonpositive = int((x <= 0).sum())
        _raise_outside(transform, floor, found)


def _raise_outside(transform: str, floor: float | None, survey: _Survey) -> None:
    if transform == "log10" and floor is None and survey.nonpositive:
        raise DataError(
            f"{survey.nonpositive} of {survey.count} values are 0 or less (the least is "
            f"{survey.low:.6g}), and log10 needs values above 0. Give floor=..., the smallest "
            "value that means something, or another transform: 'asinh', 'sqrt' or 'identity'."
        )
    if transform in ("log1p", "sqrt") and survey.negative:
        raise DataError(
            f"{survey.negative} of {survey.count} values are negative (the least is "
            f"{survey.low:.6g}), and {transform} needs values of 0 or more. Set them to 0 if they "
            "are rounding, or use transform='asinh' or 'identity'."
        )
