"""Members from a point estimate and the out-of-fold residual fields of similar training times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdownscale.core.blas import one_thread
from xdownscale.core.resampling import standard_error
from xdownscale.models.statistical.amplitude import Amplitude
from xdownscale.models.statistical.ensembles import (
    Components,
    Judge,
    filled_along_time,
    keyed_choice,
    lower_bounds,
    nearest,
)
from xdownscale.models.statistical.marginal import (
    Censored,
    Marginal,
    marginal_state,
    read_marginal,
)
from xdownscale.models.statistical.predictors import (
    Array,
    Floats,
    State,
    check_days,
    entry,
    floats,
    observed,
    prefixed,
    under,
    whole_entry,
)

COMPONENTS = 6
NEEDED = 12
_MEMBERS = 8  # of a time step, by which the distribution of members is found
_CELLS = 2048  # by which it is found
_TOP = 0.8  # residual fields have a tail of their own


class Similar(NamedTuple):
    """A point estimate, and the training times whose predictions are most like it.

    Attributes
    ----------
    mean : ndarray (target, y, x)
        Point estimate.
    near : ndarray of int (k,)
        Rows of the training times, the nearest first.
    size : ndarray (target, y, x) or None
        What their residuals are multiplied by.
    """

    mean: Floats
    near: NDArray[np.int64]
    size: Floats | None = None


@dataclass(frozen=True)
class Dressing:
    """Residual fields of training times, found by the similarity of their predictions.

    A member is the point estimate of the time step plus the residual field of one of the k
    training times whose predictions are nearest in 6 principal components. All targets take the
    residual of the same time. Where held-out CRPS says so, by more than its standard error, the
    residual is divided by the `Amplitude` at its own time and multiplied by that at the time step:
    smooth fields have smaller errors than steep ones. Censored targets keep the residual.

    Attributes
    ----------
    components : Components
        Of predictions (target, y, x), each target divided by its standard deviation.
    scores : ndarray (n, q)
        Of the out-of-fold predictions of the training times.
    residuals : ndarray (n, target, y, x)
        Truth minus out-of-fold prediction, over the amplitude where there is one.
    neighbours : int
        k.
    bounds : ndarray (target,)
        Members are raised to these, such as no rain; -inf for none.
    marginal : Marginal or None
        Maps members of censored targets; None where none is.
    amplitude : Amplitude or None
        How large residuals are by the prediction; None where it does not matter.

    References
    ----------
    Roulston and Smith (2003), doi:10.3402/tellusa.v55i1.12082: dressing with past errors.
    """

    components: Components
    scores: Floats
    residuals: Floats
    neighbours: int
    bounds: Floats
    marginal: Marginal | None = None
    amplitude: Amplitude | None = None

    @classmethod
    @one_thread("fine")
    def fit(
        cls,
        predictions: Array,
        fine: Array,
        neighbours: int | None = None,
        *,
        known: Array | None = None,
        censored: Censored = (),
    ) -> Dressing:
        """Measure the residuals, and choose the number of neighbours.

        Parameters
        ----------
        predictions : ndarray (n, target, y, x)
            Out of fold, of n time steps in chronological order; no NaN.
        fine : ndarray (n, target, y, x)
            Fine fields; NaN where missing: the residual is that of the nearest time step that has
            the cell.
        neighbours : int, optional
            k; by default the one with the smallest CRPS, with residuals from other blocks of time.
        known : ndarray (n, target, y, x), optional
            Where `fine` has latent values for censored ones: the known values.
        censored : sequence of (float, float) or None
            For each target, as for `Marginal.fit`; empty where none is censored.

        Raises
        ------
        DataError
            If there are fewer than 12 time steps.
        """
        check_days(len(fine), NEEDED, "Dressing with residual fields")
        ever = observed(fine)
        shown = np.where(ever, predictions, 0).reshape(len(fine), -1)
        components = Components.fit(shown, COMPONENTS, weights=_weights(predictions, ever))
        scores = components.scores(shown)
        unfilled = fine - predictions
        residuals = filled_along_time(unfilled)
        truth = fine if known is None else known
        bounds = lower_bounds(truth)
        judge = Judge.of(truth, bounds)
        tried = None if neighbours is None else [min(neighbours, len(fine))]
        # Residuals of dry cells, cut at zero, say nothing of those of wet ones.
        dry = [ends is not None for ends in censored]
        amplitude, logs = Amplitude.cross_fit(predictions, unfilled, judge.block, judge.cells, dry)
        even = judge.best(scores, predictions, residuals, tried)
        scaled = judge.best(scores, predictions, residuals, tried, logs)
        gain = even.by_day - scaled.by_day
        depends = bool(gain.mean() > standard_error(gain))
        count = (scaled if depends else even).neighbours
        marginal = None
        if any(censored):
            judge = Judge.of(truth, bounds, _CELLS)
            if depends:
                logs = Amplitude.cross_fit(predictions, unfilled, judge.block, judge.cells, dry)[1]
            members = judge.members(
                scores, predictions, residuals, count, _MEMBERS, logs if depends else None
            )
            marginal = Marginal.fit(
                members, judge.truth[judge.days], judge.target, censored, top=_TOP
            )
        if depends:
            sizes = np.stack([amplitude(each) for each in predictions])
            residuals = filled_along_time(unfilled / sizes)
        return cls(
            components, scores, residuals, count, bounds, marginal, amplitude if depends else None
        )

    def similar(self, mean: Array) -> Similar:
        """Return a point estimate (target, y, x) and the k training times most like it."""
        own = self.components.scores(np.asarray(mean, np.float32).reshape(-1))
        size = None if self.amplitude is None else self.amplitude(mean)
        return Similar(mean, nearest(self.scores, own, self.neighbours), size)

    def member(self, given: Similar, seed: int, realization: int, key: int) -> Floats:
        """Return a member (target, y, x) of a time step.

        Parameters
        ----------
        given : Similar
            Point estimate, and the training times like it.
        seed, realization, key : int
            Of the choice among these: `key` is the time in seconds.
        """
        return self._made(given, given.near[keyed_choice(given.near.size, seed, realization, key)])

    def mean(self, given: Similar) -> Floats:
        """Return the point estimate; of a censored target, the mean of all members."""
        if self.marginal is None:
            return given.mean
        every = np.mean([self._made(given, row) for row in given.near], axis=0)
        return floats(np.where(self.marginal.censored, every, given.mean))

    def _made(self, given: Similar, row: int) -> Floats:
        """Return the member that the residual of a training time gives."""
        residual = self.residuals[row]
        fields = given.mean + (residual if given.size is None else given.size * residual)
        if self.marginal is not None:
            fields = self.marginal.apply(fields)
        return _raised(fields, self.bounds)

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {
            "scores": self.scores,
            "residuals": self.residuals,
            "neighbours": np.array([self.neighbours], np.float32),
            "bounds": self.bounds,
            **prefixed(self.components.to_state(), "components"),
            **marginal_state(self.marginal),
            **({} if self.amplitude is None else prefixed(self.amplitude.to_state(), "amplitude")),
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Floats], targets: int, shape: tuple[int, int]
    ) -> Dressing:
        """Read what `to_state` returned, for fields of so many targets, rows and columns."""
        residuals = entry(state, "residuals", (None, targets, *shape))
        cells = int(np.prod(residuals.shape[1:]))
        components = Components.from_state(under(state, "components"), cells)
        scores = entry(state, "scores", (len(residuals), components.vectors.shape[1]))
        count = whole_entry("neighbours", entry(state, "neighbours", (1,))[0], len(residuals))
        bounds = entry(state, "bounds", (targets,), unbounded=True)
        marginal = read_marginal(state, targets)
        own = under(state, "amplitude")
        amplitude = Amplitude.from_state(own, (targets, *shape)) if own else None
        return cls(components, scores, residuals, count, bounds, marginal, amplitude)


def _weights(predictions: Array, ever: Array) -> Array:
    """Return one over the standard deviation of each target, 0 for cells never observed."""
    out = np.zeros(ever.shape)
    for target, known in enumerate(ever):
        spread = float(predictions[:, target][:, known].std()) if known.any() else 0.0
        out[target] = known / spread if spread > 0 else 0
    return out.reshape(-1)


def _raised(fields: Array, bounds: Array) -> Floats:
    """Raise fields (..., target, y, x) to the bounds of the targets."""
    return np.maximum(fields, bounds[:, None, None]).astype(np.float32)
