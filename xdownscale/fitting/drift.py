"""Drift alarm of autoregressive runs: compare fine fields with the coarse record. Arrays only."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xdownscale.core.errors import DriftError, ModelFormatError

Array = npt.NDArray[Any]
NAMES = ("mean", "variance", "semivariance of neighbours")
STEPS = 5  # time steps that are averaged before the alarm is raised
LIMIT = 6.0  # standard deviations of single training time steps


class Reference(NamedTuple):
    """Statistics of fine against interpolated coarse fields, on training time steps.

    Attributes
    ----------
    level, spread : ndarray (3,)
        Mean and standard deviation over time of `compare`.
    """

    level: Array
    spread: Array

    def to_state(self) -> dict[str, Array]:
        """Return arrays under the names ``drift. ...``."""
        return {
            "drift.level": np.asarray(self.level, np.float32),
            "drift.spread": np.asarray(self.spread, np.float32),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Reference | None:
        """Read what `to_state` returned; None where there is nothing.

        Raises
        ------
        ModelFormatError
            If it has another shape.
        """
        if "drift.level" not in state:
            return None
        found = [np.asarray(state.get(f"drift.{name}", ())) for name in cls._fields]
        shapes = [part.shape for part in found]
        if shapes != [(len(NAMES),)] * 2:
            raise ModelFormatError(
                f"The weights 'drift.level' and 'drift.spread' have the shapes {shapes}, and must "
                f"have {(len(NAMES),)}. The file was altered: save the model again."
            )
        return cls(*found)


def compare(field: Array, driver: Array) -> Array:
    """Return mean, log variance and log semivariance of a field against its driver.

    Parameters
    ----------
    field : ndarray (..., y, x)
        Fine field, scaled units; NaN where there is none.
    driver : ndarray (..., y, x)
        Interpolated coarse field of the same time steps.

    Returns
    -------
    ndarray (..., 3)
        Mean of the difference; logarithm of the ratio of the variances; of the semivariance of
        neighbouring pixels over the driver's variance.

    Examples
    --------
    >>> field = np.arange(12.0).reshape(3, 4)
    >>> compare(field + 1, field)[:2]
    array([1., 0.])
    """
    given = np.where(np.isfinite(field), driver, np.nan)
    tiny = np.finfo(np.float32).tiny
    image = (-2, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a field without values gives NaN
        variance = np.nanvar(given, axis=image) + tiny
        steps = [np.nanmean(np.diff(field, axis=axis) ** 2, axis=image) / 2 for axis in image]
        mean = np.nanmean(field - given, axis=image)
        own = np.nanvar(field, axis=image) + tiny
    rough = (steps[0] + steps[1]) / 2 + tiny
    return np.stack([mean, np.log(own / variance), np.log(rough / variance)], axis=-1)


def fit_reference(pairs: Iterable[tuple[Array, Array]]) -> Reference:
    """Compute the statistics of training time steps.

    Parameters
    ----------
    pairs : iterable of (ndarray (y, x), ndarray (y, x))
        Field and driver of each time step.
    """
    found = np.array([compare(*pair) for pair in pairs])
    good = np.isfinite(found).all(axis=1)
    spread = found[good].std(axis=0)
    return Reference(found[good].mean(axis=0), np.where(spread > 0, spread, 1.0))


def check(
    reference: Reference, before: Sequence[Array], fields: Array, driver: Array, day: str
) -> list[Array]:
    """Raise the alarm if the last time steps of a run differ from the training time steps.

    Parameters
    ----------
    reference : Reference
        Of the group that the time steps belong to.
    before : sequence of array
        Statistics of the time steps before: what the check of the last one returned.
    fields : ndarray (realization, y, x)
        Generated fields, scaled units.
    driver : ndarray (y, x)
        Interpolated coarse field.
    day : str
        Its date, for the message.

    Returns
    -------
    list of array
        Statistics of the last time steps, this one included.

    Raises
    ------
    DriftError
        If the mean over the last five time steps and all realizations lies more than six
        standard deviations of single training time steps from their mean.
    """
    level, spread = reference
    last = [*before, (compare(fields, driver).mean(axis=0) - level) / spread][-STEPS:]
    off = np.mean(last, axis=0)
    worst = int(np.argmax(np.abs(off)))
    if len(last) == STEPS and not np.abs(off[worst]) <= LIMIT:
        raise DriftError(
            f"The run has drifted away from the coarse record: on the {STEPS} days up to {day} "
            f"the {NAMES[worst]} of the generated fields lies {off[worst]:+.1f} standard "
            "deviations from where it lay on training days. Predict shorter periods, each with "
            "its own history=; train with more lag_noise and lag_dropout; or use a model with "
            "fine_lags=0, which cannot drift."
        )
    return last
