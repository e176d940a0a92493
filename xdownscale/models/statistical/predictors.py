"""Predictors of statistical downscaling: what is known of every time step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.core.errors import (
    DataError,
    ModelFormatError,
    ModelMismatchError,
    XDownscaleWarning,
    check_finite,
)

Floats = NDArray[np.float32]
Array = NDArray[Any]
State = dict[str, Floats]
_MEMORY = 4e9  # bytes of fields that are held in training
_HELD = 6  # fine fields for each time step: driver, truth, and predictions of the point estimates
_FEWEST = 100  # time steps that are taken however large they are


@dataclass(frozen=True, kw_only=True)
class Predictors:
    """Coarse fields, calendar and interpolated driver of n time steps, in chronological order.

    Attributes
    ----------
    coarse : ndarray (n, steps, d, yc, xc)
        Coarse fields of d drivers around each time step, the time step itself first; no NaN.
    calendar : ndarray (n, c)
        Numbers that tell the season, such as sine and cosine of the day of the year.
    driver : ndarray (n, y, x)
        The target's own driver, interpolated to the fine grid; zeros where it has none.
    place : ndarray (y, x, 2)
        Row and column of the fine cells on the coarse grid, as fractional indices: `grid_indices`.
    """

    coarse: Array
    calendar: Array
    driver: Array
    place: Array

    def __len__(self) -> int:
        return len(self.driver)

    def take(self, rows: Any) -> Predictors:
        """Return the predictors of some time steps."""
        return Predictors(
            coarse=self.coarse[rows],
            calendar=self.calendar[rows],
            driver=self.driver[rows],
            place=self.place,
        )


def grid_indices(place: Array, shape: tuple[int, int]) -> Array:
    """Return rows and columns (y, x, 2) of places that count from -1 to 1 between a grid's edges.

    Parameters
    ----------
    place : ndarray (y, x, 2)
        Along the columns and the rows of the grid, in this order.
    shape : tuple of int
        Rows and columns of the grid.

    Examples
    --------
    >>> grid_indices(np.array([[[-0.5, 0.75]]]), (4, 2))
    array([[[3., 0.]]])
    """
    return np.asarray((place[..., ::-1] + 1) / 2 * np.array(shape) - 0.5)


def check_days(found: int, needed: int, what: str) -> None:
    """Raise `DataError` if there are fewer time steps than a model needs."""
    if found < needed:
        raise DataError(
            f"{what} needs at least {needed} time steps with a fine field; there are {found}. Give "
            "a longer fine record, or use a simpler model ('bias' needs 2, 'driver' none)."
        )


def affordable(count: int, fine: int, coarse: int) -> NDArray[np.int64]:
    """Return as many of `count` time steps as memory holds, evenly spread; warn if not all.

    Parameters
    ----------
    count : int
        Time steps.
    fine, coarse : int
        Values of a fine field, and of the coarse fields that are seen with it.

    Examples
    --------
    >>> affordable(3, 100, 10)
    array([0, 1, 2])
    """
    most = max(_FEWEST, int(_MEMORY / (4 * fine * _HELD + 4 * coarse)))
    if count <= most:
        return np.arange(count)
    warnings.warn(
        f"{most} of {count} time steps are fitted on, evenly spread: more do not fit the "
        f"{_MEMORY / 1e9:g} GB that this method takes. Fit regions one by one (regions=...).",
        XDownscaleWarning,
        stacklevel=2,
    )
    return np.linspace(0, count - 1, most).astype(np.int64)


def entry(
    state: Mapping[str, Floats],
    name: str,
    shape: tuple[int | None, ...],
    *,
    unbounded: bool = False,
) -> Floats:
    """Return an array of a saved state; raise `ModelFormatError` if it lacks or does not fit.

    Parameters
    ----------
    state : mapping of ndarray
        Arrays by name.
    name : str
        Of the array.
    shape : tuple of int or None
        That it must have; None where any length will do.
    unbounded : bool
        Whether values of -inf stand for no bound; all others are finite.
    """
    if name not in state:
        raise ModelFormatError(
            f"The model file lacks {name!r}; it was altered or written by another version. "
            "Save the model again."
        )
    found = state[name].shape
    fits = len(found) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, found, strict=True)
    )
    if not fits:
        raise ModelFormatError(
            f"The array {name!r} of the model file has shape {found}, it should have {shape} (None "
            "is any length); the file was altered or belongs to another model. Save it again."
        )
    values = state[name]
    check_finite(name, values[values != -np.inf] if unbounded else values)
    return values


def whole_entry(name: str, number: float, most: int) -> int:
    """Return a count that a saved state holds; raise `ModelFormatError` unless it is 1 to `most`.

    Parameters
    ----------
    name : str
        Of the array that the count is in.
    number : float
        The count.
    most : int
        Largest allowed one.

    Examples
    --------
    >>> whole_entry("neighbours", 3.0, 12)
    3
    """
    if not (1 <= number <= most and number == int(number)):
        raise ModelFormatError(
            f"The array {name!r} of the model file counts {number:g}; it must be a whole number "
            f"from 1 to {most}. The file was altered: save the model again."
        )
    return int(number)


def check_width(given: int, wanted: int) -> None:
    """Raise `ModelMismatchError` unless a time step has as many numbers as were fitted on."""
    if given != wanted:
        raise ModelMismatchError(
            f"A time step gives {given} numbers, and the model was fitted on {wanted}: it is of "
            "another grid than its file says. The file was altered: save the model again."
        )


def floats(values: Any) -> Floats:
    """Return values as an array of float32."""
    return np.asarray(values, np.float32)


def observed(fine: Array) -> NDArray[np.bool_]:
    """Return the cells that are ever known in fields (n, ...)."""
    return np.asarray(np.isfinite(fine).any(0), np.bool_)


def under(state: Mapping[str, Floats], prefix: str) -> State:
    """Return the entries whose names start with ``prefix.``, without it.

    Examples
    --------
    >>> list(under({"a.b": np.zeros(1), "c.b": np.zeros(1)}, "a"))
    ['b']
    """
    start = f"{prefix}."
    return {
        name.removeprefix(start): each for name, each in state.items() if name.startswith(start)
    }


def prefixed(state: Mapping[str, Floats], prefix: str) -> State:
    """Undo `under`."""
    return {f"{prefix}.{name}": array for name, array in state.items()}
