"""Skill of the first stage: its forecasts of the coarse record against those that cost nothing."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xdownscale import skill, splits
from xdownscale.core import time as times
from xdownscale.core.coords import from_array
from xdownscale.core.errors import (
    ModelMismatchError,
    OptionError,
    TimeAxisError,
    XDownscaleWarning,
)
from xdownscale.core.missing import missing_share
from xdownscale.core.normalization import Scaling
from xdownscale.core.record import Record
from xdownscale.fitting.fitted_model import Fitted, GroupModel, sizes_of
from xdownscale.prediction.plan import rows_named
from xdownscale.prediction.request import check_drivers
from xdownscale.preprocessing import features
from xdownscale.preprocessing.validation import Pair

if TYPE_CHECKING:
    from xdownscale.models.networks.unet import Forecaster

FloatArray = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
SCORES = ("mae", "r2", "rmse")
ROWS = ("model", "persistence", "climatology", "AR(1) of each cell")
_PARTS = ("validation", "test")  # of the split, held out of the first stage
_LAST = 10  # one in so many time steps is judged where none is held out: the last ones
_AT_ONCE = 64  # time steps that are read and forecast together
_QUICK = 400  # most time steps that the line of the repr is measured on


class CoarseRecord(NamedTuple):
    """The coarse record as the first stage of one group sees it.

    Attributes
    ----------
    drivers : tuple of Record
        Variables, times sorted.
    fields : Fields
        Their scaled fields (n, variables, y, x), gaps filled.
    present : ndarray of bool (n,)
        Time steps with enough of their field.
    in_season : ndarray of bool (n,)
        Time steps of the group's season.
    step : int
        Seconds from one time step to the next.
    """

    drivers: tuple[Record, ...]
    fields: features.Fields
    present: npt.NDArray[np.bool_]
    in_season: npt.NDArray[np.bool_]
    step: int

    @property
    def time(self) -> xr.DataArray:
        """Times."""
        return self.drivers[0].time


def forecast_skill(
    fitted: Fitted, coarse: xr.DataArray | xr.Dataset, *, lead: int = 1, time: Any = None
) -> pd.DataFrame:
    """Score the first stage's forecasts; see `Downscaler.forecast_skill`.

    Parameters
    ----------
    fitted : Fitted
        The model.
    coarse : DataArray or Dataset
        Coarse record that it was fitted with.
    lead : int
        Time steps ahead.
    time : object, optional
        Time steps to forecast.

    Returns
    -------
    DataFrame

    Raises
    ------
    ModelMismatchError, OptionError, TimeAxisError
        See `Downscaler.forecast_skill`.
    """
    if lead < 1:
        raise OptionError(f"lead is {lead}; give a whole number of time steps, 1 or more.")
    forecasters = {name: _forecaster(fitted, model) for name, model in fitted.models.items()}
    drivers = check_drivers(fitted, coarse, True)
    asked = None if time is None else rows_named(time, drivers[0].time)
    parts: dict[tuple[str, str], pd.DataFrame] = {}
    for name, model in fitted.models.items():
        record = _record(fitted, model, drivers)
        wanted = _held_out(fitted, model, record) if asked is None else asked
        windows = _windows(fitted, record, wanted, lead)
        if not windows.targets.size:
            continue
        forecasts = {"model": _forecasts(forecasters[name], record, windows, lead)}
        forecasts |= _free(record, windows, lead, fitted.config.data.lags)
        for number, driver in enumerate(drivers):
            scaling = model.driver_scalings[number]
            own = {row: fields[:, number] for row, fields in forecasts.items()}
            parts[name, str(driver.name)] = _scores(driver, record, number, windows, own, scaling)
    if not parts:
        raise TimeAxisError(
            f"No time step can be forecast: each needs the {fitted.config.data.lags} coarse fields "
            f"that end {lead} before it, and a season of the model. Give a longer coarse record, "
            "or other times."
        )
    table = pd.concat(parts, names=["group", "variable"])
    single = [name for name in ("group", "variable") if table.index.unique(name).size == 1]
    return pd.DataFrame(table.reset_index(single, drop=True))


def measured(fitted: Fitted, pair: Pair) -> tuple[float, ...]:
    """Return r2 of forecasts one step ahead and of persistence, for the repr of a model.

    Parameters
    ----------
    fitted : Fitted
        The model.
    pair : Pair
        Records that it was trained on.

    Returns
    -------
    tuple of float
        Means over groups and variables, transformed units; empty for a model without a forecaster,
        or where no time step is held out of the first stage.
    """
    found = []
    for model in fitted.models.values():
        if fitted.about.pairing == "self" or not _is_kept(model):
            return ()
        record = _record(fitted, model, pair.drivers)
        rows = _split_rows(model, record.time)
        windows = _windows(fitted, record, rows, 1)
        some = np.unique(np.linspace(0, len(windows.targets) - 1, _QUICK).astype(int))
        windows = splits.Windows(windows.targets[some], windows.lags[some])
        if not windows.targets.size:
            continue
        forecasts = _forecasts(_forecaster(fitted, model), record, windows, 1)
        persistence = record.fields[windows.lags[:, -1]]
        for number, driver in enumerate(pair.drivers):
            own = {"model": forecasts[:, number], "persistence": persistence[:, number]}
            scaling = model.driver_scalings[number]
            table = _scores(driver, record, number, windows, own, scaling)
            found.append(table[table.columns[0][0], "r2"].to_numpy())
    if not found or not np.isfinite(found).all():
        return ()
    return tuple(float(score) for score in np.mean(found, axis=0))


def _is_kept(model: GroupModel) -> bool:
    return any(name.startswith("forecaster.") for name in model.state)


def _forecaster(fitted: Fitted, model: GroupModel) -> Forecaster:
    """Return the forecaster of a group; raise where the model has none."""
    from xdownscale.models.networks.forecasters import load_forecaster

    config = fitted.config
    if not _is_kept(model):
        named = f"Group {model.group.name!r} of this model"
        if not any(name.startswith("encoder.") for name in model.state):
            why = "was fitted without an encoder of the coarse record. Fit with a method that has"
            remedy = 'one, and network=dict(encoder="frozen").'
        elif fitted.about.encoder:
            why = "took its encoder over from another model, and trained no forecaster. Ask that"
            remedy = "model."
        else:
            why = "holds no decoder of its first stage: its file was written by an earlier version."
            remedy = "Fit it again."
        raise ModelMismatchError(f"{named} {why} {remedy}")
    forecaster = load_forecaster(model.state, config.network, sizes_of(fitted, model))
    assert forecaster is not None
    return forecaster


def _record(fitted: Fitted, model: GroupModel, drivers: tuple[Record, ...]) -> CoarseRecord:
    """Return the coarse record as the first stage of a group sees it."""
    number = times.months(drivers[0].time)
    parts = [
        features.scaled_coarse(driver, scaling)
        for driver, scaling in zip(drivers, model.driver_scalings, strict=True)
    ]
    if model.maps:
        parts = [
            features.mapped(part, fit, number) for part, fit in zip(parts, model.maps, strict=True)
        ]
    cells = fitted.coarse_grid.values > 0
    missing = np.max([missing_share(driver.array, cells) for driver in drivers], axis=0)
    present = missing <= fitted.config.data.max_missing
    if model.group.season is not None and fitted.seasons is not None:
        in_season = np.isin(number, fitted.seasons[model.group.season])
    else:
        in_season = np.ones(number.size, bool)
    return CoarseRecord(drivers, features.stack(parts), present, in_season, fitted.about.step)


def _split_rows(model: GroupModel, time: xr.DataArray) -> Rows:
    """Return the rows of validation and test days, which the first stage neither saw nor met."""
    held = model.split["time"][np.isin(model.split["part"].values, _PARTS)]
    if not held.size:
        return np.empty(0, np.int64)
    rows = times.match_times(held, time)
    return np.asarray(rows[rows >= 0], np.int64)


def _held_out(fitted: Fitted, model: GroupModel, record: CoarseRecord) -> Rows:
    """Return the rows held out of the first stage, else the last tenth, with a warning."""
    if fitted.about.pairing != "self":
        rows = _split_rows(model, record.time)
        if rows.size:
            return rows
    usable = np.flatnonzero(record.present & record.in_season)
    warnings.warn(
        f"No time step of this record was held out of the first stage of group "
        f"{model.group.name!r}: the last tenth is judged, which it was trained on. Scores flatter "
        "it.",
        XDownscaleWarning,
        stacklevel=4,
    )
    return np.asarray(usable[-max(usable.size // _LAST, 1) :], np.int64)


def _windows(fitted: Fitted, record: CoarseRecord, rows: Rows, lead: int) -> splits.Windows:
    """Return the time steps that can be forecast, and the lags that end `lead` before each."""
    lags = fitted.config.data.lags
    wanted = np.zeros(record.time.size, bool)
    wanted[rows] = True
    windows = splits.lag_windows(
        record.time,
        lags + lead - 1,
        targets=wanted & record.present & record.in_season,
        present=record.present,
        step=record.step,
    )
    return splits.Windows(windows.targets, windows.lags[:, :lags])


def _forecasts(
    forecaster: Forecaster, record: CoarseRecord, windows: splits.Windows, lead: int
) -> FloatArray:
    """Return the scaled forecasts of the targets (n, variables, y, x)."""
    from xdownscale.models.networks.forecasters import forecast

    parts = []
    for start in range(0, len(windows.targets), _AT_ONCE):
        rows = windows.lags[start : start + _AT_ONCE]
        lags = record.fields[rows.ravel()].reshape(*rows.shape, *record.fields.shape[1:])
        parts.append(forecast(forecaster, lags, lead))
    return np.concatenate(parts)


def _free(
    record: CoarseRecord, windows: splits.Windows, lead: int, lags: int
) -> dict[str, FloatArray]:
    """Return the forecasts that cost nothing, scaled units.

    Mean and AR(1) of each cell are those of the time steps more than `lags` away from all targets.
    """
    start = record.fields[windows.lags[:, -1]]
    near = np.zeros(record.time.size, bool)
    for shift in range(-lags, lags + 1):
        near[np.clip(windows.targets + shift, 0, near.size - 1)] = True
    mean, phi = _fit_ar1(record, np.flatnonzero(record.present & record.in_season & ~near))
    found = (start, np.broadcast_to(mean, start.shape), mean + phi**lead * (start - mean))
    return {
        name: np.asarray(fields, np.float32) for name, fields in zip(ROWS[1:], found, strict=True)
    }


def _fit_ar1(record: CoarseRecord, rows: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return mean and lag-1 coefficient (least squares) of each cell over some time steps."""
    if not rows.size:
        raise TimeAxisError(
            "No time step is left to estimate the climatology from: all lie near those that are "
            "forecast. Give a longer coarse record, or fewer times."
        )
    blocks = [rows[k : k + _AT_ONCE] for k in range(0, rows.size, _AT_ONCE)]
    mean = sum(record.fields[block].sum(0, dtype=float) for block in blocks) / rows.size
    keys = times.seconds(record.time)
    pairs = rows[1:][(np.diff(rows) == 1) & (np.diff(keys[rows]) == record.step)]
    product = np.zeros_like(mean)
    square = np.zeros_like(mean)
    for k in range(0, pairs.size, _AT_ONCE):
        before = record.fields[pairs[k : k + _AT_ONCE] - 1] - mean
        after = record.fields[pairs[k : k + _AT_ONCE]] - mean
        product += (before * after).sum(0)
        square += np.square(before).sum(0)
    return mean, product / np.where(square > 0, square, 1)


def _scores(
    driver: Record,
    record: CoarseRecord,
    number: int,
    windows: splits.Windows,
    forecasts: dict[str, FloatArray],
    scaling: Scaling,
) -> pd.DataFrame:
    """Return the scores of forecasts (n, y, x) of one variable, a row each."""
    rows = windows.targets
    missing = ~np.isfinite(np.asarray(driver.array[rows], np.float32))
    labels = driver.labels.with_time(driver.time[rows])

    def labelled(fields: FloatArray) -> xr.DataArray:
        values = np.where(missing, np.nan, scaling.inverse(fields))
        return from_array(values.astype(np.float32), labels)

    truth = labelled(record.fields[rows][:, number])
    made = {name: labelled(fields) for name, fields in forecasts.items()}
    table = skill.table(made, truth, transform=scaling, scores=SCORES, baselines=None)
    ordered = []
    for units in dict.fromkeys(table.columns.get_level_values(0)):
        way = Scaling() if units == "physical" else scaling
        true = way.transform_only(truth.values)
        pooled = [pooled_r2(way.transform_only(made[name].values), true) for name in table.index]
        table[units, "r2_pooled"] = pooled
        ordered += [(units, score) for score in ("mae", "r2", "r2_pooled", "rmse")]
    return pd.DataFrame(table[ordered]).rename_axis("forecast")


def pooled_r2(forecast: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return 1 - SSE / SST of all values together, about the mean of all.

    It counts differences between time steps and places, which climatology knows, and so lies above
    the mean of the r2 of each time step.

    Parameters
    ----------
    forecast, truth : array_like
        Of one shape; NaN in one leaves the value out.

    Examples
    --------
    >>> pooled_r2([1.0, 2.0, np.nan], [1.0, 3.0, 0.0])
    0.5
    """
    ours = np.asarray(forecast, float)
    true = np.asarray(truth, float)
    good = ~np.isnan(ours + true)
    square = np.square(true[good] - true[good].mean()).sum() if good.any() else 0.0
    if not square > 0:
        return float("nan")
    return float(1 - np.square(ours[good] - true[good]).sum() / square)
