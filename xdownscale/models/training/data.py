"""Training data: arrays in scaled units, and the rows that are trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import Conditions

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def _none() -> Rows:
    return np.empty((0, 0), np.int64)


def _as_given(fields: Any) -> Any:
    return fields


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Training data of one group. Arrays are numpy, or read on demand.

    Attributes
    ----------
    coarse : array (n, d, yc, xc)
        Coarse record of d drivers on its own grid, without NaN.
    coarse_targets : ndarray of int (k,)
        Rows of `coarse` that the first stage forecasts.
    coarse_lags : ndarray of int (k, lags)
        Rows of the time steps before them, the oldest first.
    coarse_stopping : ndarray of bool (k,)
        Targets that are held out for early stopping of the first stage.
    driver : array (w, d, y, x)
        Coarse record on the fine grid, without NaN.
    own : tuple of int
        For each target its own driver, which the network corrects; -1 where it has none.
    fine : array (m, t, y, x)
        Fine record of t targets; NaN where missing.
    windows : ndarray of int (m, steps)
        Rows of `driver` of each fine time step, and of those around it; -1 where there is none.
    lags : ndarray of int (m, lags)
        Rows of `coarse` before each fine time step.
    fine_lags : ndarray of int (m, k)
        Rows of `fine` before each fine time step, the latest last; -1 where there is none.
    static : ndarray (s, y, x)
        Static fields.
    calendar : ndarray (m, c)
        Calendar features of each fine time step.
    place : ndarray (y, x, 2)
        Position of the fine pixels on the coarse grid.
    keys : ndarray of int (m,)
        Time of each fine time step, in seconds: key of its noise.
    step : int
        Seconds from one time step to the next.
    train_targets, stop_targets, tune_targets : ndarray of int (k,)
        Fine time steps to train on, for early stopping, and for calibration.
    mask : ndarray of bool (t, y, x)
        True where `fine` is ever valid.
    coarse_windows : ndarray of int (m, steps)
        Rows of `coarse` of each fine time step, and of those around it, as `windows`; -1 where
        there is none.
    guess : array-like (m, g, y, x) or None
        First guess of each fine time step, and the climate of each cell; read row by row.
    physical : callable
        Brings scaled fields (..., t, y, x) to physical units.
    censored : tuple of (float, float) or None
        For each target the threshold up to which values are censored, such as dry days, and the
        smallest value; None where it is not censored. Empty where no target is.
    blocks : callable or None
        Returns the coarse cells as averages over fine cells (`statistical.kriging.Blocks`).
    """

    coarse: Any
    coarse_targets: Rows
    coarse_lags: Rows
    coarse_stopping: NDArray[np.bool_]
    driver: Any
    own: tuple[int, ...]
    fine: Any
    windows: Rows
    lags: Rows
    fine_lags: Rows
    static: Floats
    calendar: Floats
    place: Floats
    keys: Rows
    step: int
    train_targets: Rows
    stop_targets: Rows
    tune_targets: Rows
    mask: NDArray[np.bool_]
    coarse_windows: Rows = field(default_factory=_none)
    guess: Any = None
    physical: Callable[[Any], Any] = _as_given
    censored: tuple[tuple[float, float] | None, ...] = ()
    blocks: Callable[[], Any] | None = None

    @property
    def sizes(self) -> Sizes:
        """Numbers of channels and time steps, from which networks are built."""
        return Sizes(
            drivers=int(self.driver.shape[1]),
            window=int(self.windows.shape[1]),
            lags=int(self.lags.shape[1]),
            own=self.own,
            fine_lags=int(self.fine_lags.shape[1]),
            static=len(self.static),
            calendar=int(self.calendar.shape[1]),
            guess=0 if self.guess is None else len(self.guess[int(self.train_targets[0])]),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the fine grid."""
        ny, nx = self.mask.shape[-2:]
        return int(ny), int(nx)

    @property
    def is_in_memory(self) -> bool:
        """Whether all records are arrays; else they are read step by step."""
        return all(isinstance(part, np.ndarray) for part in (self.coarse, self.driver, self.fine))


def read_rows(array: Any, rows: Any) -> Floats:
    """Return some rows of an array-like as float32, read one by one.

    Parameters
    ----------
    array : array-like, (n, ...)
        Anything with ``__getitem__`` that numpy can convert.
    rows : sequence of int
        Rows to read.

    Returns
    -------
    ndarray of float32, (len(rows), ...)

    Examples
    --------
    >>> read_rows(np.arange(6.0).reshape(3, 2), [2, 0])
    array([[4., 5.],
           [0., 1.]], dtype=float32)
    """
    return np.stack([np.asarray(array[int(row)], dtype=np.float32) for row in rows])


def largest_magnitude(data: TrainingData) -> float:
    """Return the largest magnitude of the scaled training fields, at least 1."""
    largest = 1.0
    for row in data.train_targets:
        values = np.abs(read_rows(data.fine, [int(row)]))
        largest = max(largest, float(np.max(values, where=~np.isnan(values), initial=0.0)))
    return largest


def read_lags(data: TrainingData, row: int) -> Floats:
    """Return the coarse fields before a fine time step, ``(lags, d, yc, xc)``."""
    if not data.lags.shape[1]:
        return np.empty((0, *data.coarse.shape[1:]), np.float32)
    return read_rows(data.coarse, data.lags[row])


def corrected_fields(data: TrainingData, rows: Rows) -> Floats:
    """Return what networks correct at fine time steps (n, t, y, x).

    That is the first guess if there is one, else the target's own driver, 0 where it has none.
    """
    if data.guess is not None:
        return np.stack([data.guess[int(row)][: len(data.own)] for row in rows])
    fields = read_rows(data.driver, data.windows[rows, 0])
    none = np.zeros_like(fields[:, 0])
    return np.stack([fields[:, k] if k >= 0 else none for k in data.own], axis=1)


def read_fine_lags(data: TrainingData, row: int) -> Floats:
    """Return the fine fields before a time step, ``(k, t, y, x)``; NaN where there is none."""
    rows = data.fine_lags[row]
    out = np.full((len(rows), *data.mask.shape), np.nan, np.float32)
    known = np.flatnonzero(rows >= 0)
    if known.size:
        out[known] = np.where(data.mask, read_rows(data.fine, rows[known]), np.nan)
    return out


def read_coarse_windows(data: TrainingData, rows: Rows) -> Floats:
    """Return the coarse fields around some fine time steps, ``(n, steps, d, yc, xc)``.

    Empty where the rows of those windows are not known.
    """
    if not data.coarse_windows.size:
        return np.empty((len(rows), 0, *data.coarse.shape[1:]), np.float32)
    windows = data.coarse_windows[rows]
    fields = read_rows(data.coarse, windows.ravel())
    return fields.reshape(*windows.shape, *fields.shape[1:])


def conditions_of(data: TrainingData, rows: Rows) -> Conditions:
    """Return the conditions of some fine time steps.

    Parameters
    ----------
    data : TrainingData
        Records.
    rows : ndarray of int
        Fine time steps.
    """
    return Conditions(
        window=np.stack([read_rows(data.driver, data.windows[row]) for row in rows]),
        fine_lags=np.stack([read_fine_lags(data, int(row)) for row in rows]),
        coarse=np.stack([read_lags(data, int(row)) for row in rows]),
        static=data.static,
        calendar=data.calendar[rows],
        place=data.place,
        own=data.own,
        keys=data.keys[rows],
        coarse_window=read_coarse_windows(data, rows),
        guess=None if data.guess is None else np.stack([data.guess[int(row)] for row in rows]),
    )
