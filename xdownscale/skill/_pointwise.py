"""One linear equation for all pixels: least squares on yesterday's fine value and the coarse field.

The arithmetic of `baselines.pointwise`. Predictors are scaled; normal equations are added up time
step by time step, so that a record of any length takes the memory of one field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.alignment import onto_grid, require_same_units
from xdownscale.core.errors import DataError
from xdownscale.core.missing import finite
from xdownscale.core.record import Record
from xdownscale.core.time import match_times
from xdownscale.preprocessing import features
from xdownscale.preprocessing.static_features import static_fields
from xdownscale.skill._training import Array, Make, Rows, Training, ascending

_LEAST = 1e-12  # of the eigenvalues of the normal equations, over the largest
_WHOLE = (slice(None), slice(None))


class FineFields:
    """Fine fields of the rows of a coarse record, scaled; NaN where there is none.

    Parameters
    ----------
    training : Training
        Gives the rows, and the scaling.
    da : DataArray
        Fine record on the grid of the training days.
    what : str
        What it is, for messages.
    """

    def __init__(self, training: Training, da: xr.DataArray, what: str) -> None:
        target = training.record.da
        require_same_units(da, target, (what, "the training days"))
        placed = onto_grid(da.copy(data=finite(da.data)), target, what)
        record = Record(ascending(placed), what)
        self.shape = training.fine.shape[1:]
        self.fields = features.scaled_fine(record, training.scaling, _WHOLE)
        self.found = match_times(training.time, record.time)

    def known(self, row: int) -> bool:
        """Tell whether there is a field."""
        return row >= 0 and bool(self.found[row] >= 0)

    def __getitem__(self, row: int) -> Array:
        if not self.known(row):
            return np.full(self.shape, np.nan, np.float32)
        return np.asarray(self.fields[int(self.found[row])], np.float32)


@dataclass(frozen=True, kw_only=True)
class PointwiseModel:
    """Coefficients of the equation, and what its predictors are made of.

    Attributes
    ----------
    training : Training
        Coarse record, scaling and calendar.
    static : ndarray (s, y, x)
        Latitude, longitude and static fields, in [-1, 1].
    target_day : bool
        Whether the driver of the time step itself is a predictor.
    coefficients : ndarray of float64 (p,)
        In the order of `predictors`.
    """

    training: Training
    static: Array
    target_day: bool
    coefficients: NDArray[np.float64]

    def predict(self, row: int, lag: Array) -> Array:
        """Return the scaled fine field (y, x) of a row, given the one before it.

        Where that is missing, the driver of its time step stands in.
        """
        before = int(self.training.windows[row, 1])
        filled = np.where(np.isfinite(lag), lag, self.training.driver[before])
        known = predictors(self.training, self.static, row, filled, self.target_day)
        return np.tensordot(self.coefficients, known, axes=1)


def predictors(
    training: Training, static: Array, row: int, lag: Array, target_day: bool
) -> NDArray[np.float64]:
    """Return the predictors of a time step (p, y, x).

    One; the fine field before it; the drivers before it and, if it is seen, of the time step; the
    static fields; sine and cosine of the time of the year and of the day.
    """
    before = int(training.windows[row, 1])
    drivers = [training.driver[before], *([training.driver[row]] if target_day else [])]
    season = np.broadcast_to(
        training.calendar[row][:, None, None], (training.calendar.shape[1], *lag.shape)
    )
    parts = [np.ones_like(lag)[None], lag[None], np.stack(drivers), static, season]
    return np.concatenate(parts, dtype=np.float64)


def fit_pointwise(training: Training, static: Any, target_day: bool) -> PointwiseModel:
    """Fit the equation on all pixels of the training days whose day before is one too.

    Parameters
    ----------
    training : Training
        Read with the time step before each.
    static : DataArray, Dataset or None
        Static fields.
    target_day : bool
        Whether the driver of the time step itself is a predictor.

    Raises
    ------
    DataError
        If fewer than two training days follow another one, or no pixel is known on both.
    """
    layers = static_fields(static, training.record.grid)
    fine = FineFields(training, training.record.da, "fine_train")
    rows = [int(row) for row in training.rows if fine.known(int(training.windows[row, 1]))]
    if len(rows) < 2:
        raise DataError(
            f"pointwise is fitted on training days whose day before is one too; of the "
            f"{len(training.rows)} training days there are {len(rows)}, and 2 are needed. Give "
            "days that follow each other."
        )
    square: Any = 0.0
    product: Any = 0.0
    pixels = 0
    for row in rows:
        target = fine[row]
        lag = fine[int(training.windows[row, 1])]
        good = np.isfinite(target) & np.isfinite(lag)
        known = predictors(training, layers, row, lag, target_day)[:, good]
        square = square + known @ known.T
        product = product + known @ target[good].astype(np.float64)
        pixels += int(good.sum())
    if not pixels:
        raise DataError(
            "pointwise needs pixels that are known on a training day and on the day before it; "
            "there is none. Give a fine record with fewer gaps."
        )
    coefficients = np.linalg.lstsq(square, product, rcond=_LEAST)[0]
    return PointwiseModel(
        training=training, static=layers, target_day=target_day, coefficients=coefficients
    )


def forced(model: PointwiseModel, history: FineFields) -> Make:
    """Return what predicts some rows from the true fields before them; NaN without one."""
    training = model.training

    def make(rows: Rows) -> Array:
        out = np.full((len(rows), *history.shape), np.nan, np.float32)
        for k, row in enumerate(rows):
            before = int(training.windows[row, 1])
            if history.known(before):
                out[k] = training.physical(model.predict(int(row), history[before]))
        return out

    return make


def free_running(model: PointwiseModel, history: FineFields, rows: Rows) -> Make:
    """Predict rows one after another, each from the prediction before it; return a look-up.

    A run begins with the true field before it, or where there is none with the interpolated
    coarse one.
    """
    training = model.training
    ever = np.isfinite(training.fine).any(0)
    made: dict[int, Array] = {}
    for row in np.unique(rows).tolist():
        if (training.windows[row] < 0).any():
            continue
        before = int(training.windows[row, 1])
        lag = history[before]
        if before in made:
            lag = np.asarray(training.scaling.forward(made[before]), np.float32)
        field = training.physical(model.predict(row, lag))
        made[row] = np.where(ever, field, np.nan).astype(np.float32)
    return lambda wanted: np.stack([made[int(row)] for row in wanted])
