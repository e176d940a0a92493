"""Training days of the baselines: records brought together, scaled, and read as closed forms do.

What is known of a time step (coarse fields, season, interpolated driver), the transform, the gaps
and the scaling are those of the methods without networks, so that a baseline is what
``method="dressed"`` and its like are when they are fitted on the same days.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xdownscale import splits
from xdownscale.config import DataConfig
from xdownscale.core.alignment import require_same_units
from xdownscale.core.blocks import Reader, is_lazy
from xdownscale.core.coords import from_array, require_time
from xdownscale.core.errors import (
    DataError,
    TimeAxisError,
    XDownscaleWarning,
    check_option,
    check_whole,
)
from xdownscale.core.missing import ever_present, finite, missing_share
from xdownscale.core.normalization import Scaling, choose_transform, fit_scaling
from xdownscale.core.record import Record
from xdownscale.core.time import (
    check_calendars,
    check_steps,
    check_time,
    check_unique,
    match_times,
    seconds,
)
from xdownscale.models.statistical import Predictors
from xdownscale.models.statistical.predictors import affordable, grid_indices
from xdownscale.preprocessing import features
from xdownscale.preprocessing.calendar_features import Calendar, calendar_numbers
from xdownscale.preprocessing.features import Fields, place_on
from xdownscale.preprocessing.outliers import screened
from xdownscale.preprocessing.validation import (
    check_dims,
    check_together,
    check_variable,
    variables,
)
from xdownscale.skill._options import MEMBERS

Array = NDArray[Any]
Rows = NDArray[np.int64]
Coarse = xr.DataArray | xr.Dataset
_MARGIN = 3  # coarse cells around the fine grid that predict it too: those of a ridge's tiles
_BLOCK = 1 << 22  # values that are generated at once
_DAYS = 32  # most time steps that are


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How records are read.

    Attributes
    ----------
    window, ahead : int
        Coarse time steps before and after each time step that are seen beside it.
    method, extrapolate
        Of the interpolation, as in `regrid`.
    transform : str
        As in `choose_transform`.
    driver : str or None
        Coarse variable that is the same quantity as the fine record.
    """

    window: int = 0
    ahead: int = 0
    method: str = "bicubic"
    extrapolate: str | None = None
    transform: str = "auto"
    driver: str | None = None

    def __post_init__(self) -> None:
        check_whole("window", self.window, least=0)
        check_whole("ahead", self.ahead, least=0)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Coarse record and training days of the fine one.

    Attributes
    ----------
    coarse : Fields or ndarray (n, d, yc, xc)
        Coarse fields around the fine grid, scaled, without NaN.
    driver : Fields or ndarray (n, y, x)
        The target's own driver on the fine grid, scaled.
    windows : ndarray of int (n, steps)
        Rows of the time steps that are seen with each, itself first; -1 where one is not known.
    calendar : ndarray (n, c)
        Numbers that tell the season.
    place : ndarray (y, x, 2)
        Row and column of the fine cells on the grid of `coarse`.
    keys : ndarray of int (n,)
        Times in seconds.
    step : int
        Seconds from one time step to the next.
    rows : ndarray of int (m,)
        Rows that are fitted on.
    fine : ndarray (m, y, x)
        Their fine fields, scaled; NaN where missing.
    scaling : Scaling
        Of target and own driver.
    record : Record
        The fine record, which lends its labels.
    lazy : bool
        Whether the coarse record is read when it is looked at.
    time : DataArray (n,)
        Times as the coarse record has them.
    grid : DataArray
        Grid of `coarse`, ``(y, x)``.
    own : int
        Number of the target's own driver in `coarse`.
    """

    coarse: Any
    driver: Any
    windows: Rows
    calendar: Array
    place: Array
    keys: Rows
    step: int
    rows: Rows
    fine: Array
    scaling: Scaling
    record: Record
    lazy: bool
    time: xr.DataArray
    grid: xr.DataArray
    own: int

    def own_fields(self, rows: Rows) -> Array:
        """Return the target's own coarse fields (n, yc, xc) at some time steps."""
        return np.asarray(self.coarse[self.windows[rows, 0]])[:, self.own]

    def predictors(self, rows: Rows) -> Predictors:
        """Return what is known of some time steps; their windows must be."""
        windows = self.windows[rows]
        fields = np.asarray(self.coarse[windows.ravel()])
        return Predictors(
            coarse=fields.reshape(*windows.shape, *fields.shape[1:]),
            calendar=self.calendar[rows],
            driver=np.asarray(self.driver[rows]),
            place=self.place,
        )

    @property
    def following(self) -> NDArray[np.bool_]:
        """Whether the next training day is the next time step, (m - 1,)."""
        return np.asarray(np.diff(self.keys[self.rows]) == self.step)

    @property
    def least(self) -> float:
        """Smallest training value."""
        return -np.inf if self.scaling.minimum is None else self.scaling.minimum

    def physical(self, fields: Array) -> Array:
        """Return scaled fields in the units of the record.

        A variable that is never negative is kept from falling below its minimum, as interpolated
        fields are.
        """
        out = self.scaling.inverse(fields)
        return np.asarray(np.maximum(out, self.least) if self.least >= 0 else out)


Make = Callable[[Rows], Array]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Time steps that are asked for.

    Attributes
    ----------
    time : DataArray (k,)
        As they were given.
    rows : ndarray of int (k,)
        Rows of the training's coarse record.
    """

    time: xr.DataArray
    rows: Rows


def labelled(
    training: Training,
    asked: Asked,
    make: Make,
    realizations: int | None = None,
    *,
    lazy: bool | None = None,
) -> xr.DataArray:
    """Generate fields for the time steps asked, with the labels of the fine record.

    Parameters
    ----------
    training : Training
    asked : Asked
    make : callable
        Returns fields (k, y, x), or (realization, k, y, x), in physical units, for some rows.
    realizations : int, optional
        Their number.
    lazy : bool, optional
        Generate fields when they are looked at; default: where the coarse record is lazy.

    Returns
    -------
    DataArray
        NaN at cells that the training days never have, and at time steps whose window is not known.
    """
    ever = np.isfinite(training.fine).any(0)
    count = 1 if realizations is None else realizations

    def block(rows: Rows) -> Array:
        out = np.full((count, len(rows), *ever.shape), np.nan, np.float32)
        known = (training.windows[rows] >= 0).all(1)
        if known.any():
            out[:, known] = np.where(ever, make(rows[known]), np.nan)
        return out if realizations is not None else out[0]

    labels = training.record.labels.with_time(asked.time)
    if realizations is not None:
        labels = labels.with_leading(MEMBERS, xr.DataArray(np.arange(count), dims=MEMBERS))
    is_lazy_result = training.lazy if lazy is None else lazy
    size = max(1, min(_DAYS, _BLOCK // (count * ever.size)))
    whole = _mapped if is_lazy_result else _joined
    return from_array(whole(block, asked.rows, size, ever.shape, realizations), labels)


def _joined(
    block: Make, rows: Rows, size: int, shape: tuple[int, ...], realizations: int | None
) -> Array:
    """Generate all blocks now."""
    parts = [block(rows[start : start + size]) for start in range(0, len(rows), size)]
    return np.concatenate(parts, axis=-3)


def _mapped(
    block: Make, rows: Rows, size: int, shape: tuple[int, ...], realizations: int | None
) -> Any:
    """Generate each block when it is looked at (dask)."""
    import dask.array

    dask_array: Any = dask.array  # untyped
    index = dask_array.from_array(rows, chunks=size)
    chunks = [index.chunks[0], *[(side,) for side in shape]]
    new = [1, 2]
    if realizations is not None:
        chunks = [(realizations,), *chunks]
        new = [0, 2, 3]
    return index.map_blocks(
        block,
        name=f"baseline-{uuid.uuid4().hex}",  # not a hash of all that was fitted
        new_axis=new,
        chunks=tuple(chunks),
        dtype=np.float32,
        meta=np.empty((0,) * len(chunks), np.float32),
    )


def read_training(
    coarse: Coarse, fine: xr.DataArray, time: Any, reading: Reading, name: str
) -> tuple[Training, Asked]:
    """Bring a coarse record and training days together.

    Parameters
    ----------
    coarse : DataArray or Dataset
        Coarse record of the training days and of the time steps asked.
    fine : DataArray
        Training days of the fine record.
    time : array of times, optional
        Time steps asked; default those of `coarse`.
    reading : Reading
    name : str
        Of the baseline, which says how many training days are needed.

    Raises
    ------
    DataError
        If there are fewer training days, units differ, or it is not clear which driver is whose.
    GridError, TimeAxisError
        As `regrid`, and if the records have no time step in common.
    """
    check_dims(fine, "The fine record")
    screened(fine, "The fine record", "keep")
    target = Record(ascending(fine.copy(data=finite(fine.data))), "The fine record")
    drivers = _drivers(coarse)
    lead = own_driver(coarse, fine, reading.driver)
    check_variable(drivers[lead].da, fine)
    require_same_units(drivers[lead].da, fine, ("The coarse record", "the fine record"))
    there = drivers[lead].time
    wanted = there.to_index() if time is None else to_index(time)
    asked = positions(drivers[lead].da, wanted, "The coarse record", complete=True)
    found = match_times(target.time, there, ("The fine record", "the coarse record"))
    days = np.flatnonzero(found >= 0)
    windows = splits.windows_around(there, np.arange(there.size), reading.window, reading.ahead)
    windows = splits.day_first(windows, reading.window)
    seen = windows[np.union1d(found[days], asked)]
    used = np.unique(seen[seen >= 0])
    short = {driver: record.isel(used) for driver, record in drivers.items()}
    inside = np.where(np.isin(windows, used), np.searchsorted(used, windows), -1)[used]
    rows = np.searchsorted(used, found[days])
    known = _known(short, inside, rows)
    usable = known[rows] & _filled(target, days)
    _check_days(int(usable.sum()), name)
    inside = np.where(known[:, None], inside, -1)
    pairs = (rows[usable], days[usable])
    step = drivers[lead].step
    training = _scaled(short, lead, target, inside, pairs, step, reading)
    stamps = xr.DataArray(wanted, dims="time")
    return training, Asked(time=stamps, rows=np.searchsorted(used, asked))


def own_driver(coarse: Coarse, fine: xr.DataArray, said: str | None = None) -> str:
    """Return the name of the coarse variable that is the same quantity as the fine record.

    Parameters
    ----------
    coarse : DataArray or Dataset
    fine : DataArray
    said : str, optional
        That name, if it was given.
    """
    known = variables(coarse, "The coarse record")
    if said is not None:
        check_option("driver", said, list(known))
        return said
    if str(fine.name) in known:
        return str(fine.name)
    if len(known) > 1:
        raise DataError(
            f"It is not clear which coarse variable is {str(fine.name)!r} on the coarse grid: "
            f"there are {', '.join(map(repr, known))}. Rename it, or give driver=..."
        )
    return next(iter(known))


def ascending(da: xr.DataArray) -> xr.DataArray:
    """Return a record whose times ascend, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        return check_time(da, "The record")


def _drivers(coarse: Coarse) -> dict[str, Record]:
    """Return the variables of the coarse record, without infinities, times ascending."""
    found = {}
    for name, da in variables(coarse, "The coarse record").items():
        check_dims(da, "The coarse record")
        screened(da, "The coarse record", "keep")
        found[name] = Record(ascending(da.copy(data=finite(da.data))), "The coarse record")
    check_together(found, "coarse")
    return found


def _known(drivers: dict[str, Record], windows: Rows, training: Rows) -> NDArray[np.bool_]:
    """Return which time steps have a window of coarse fields that are not too full of gaps."""
    arrays = [driver.array for driver in drivers.values()]
    present = np.all([ever_present(array[training]) for array in arrays], axis=0)
    missing = np.max([missing_share(array, present) for array in arrays], axis=0)
    good = missing <= DataConfig().max_missing
    return np.asarray(((windows >= 0) & good[windows]).all(1))


def _filled(target: Record, days: Rows) -> NDArray[np.bool_]:
    """Return which of some days of the fine record have any value."""
    array = Reader(target.array)
    return np.array([bool(np.isfinite(array[np.array([day])]).any()) for day in days], bool)


def _check_days(found: int, name: str) -> None:
    """Raise `DataError` if there are fewer training days than a baseline needs; name the rest."""
    needed = NEEDED[name]
    if found >= needed:
        return
    left = [other for other, least in NEEDED.items() if least <= found]
    raise DataError(
        f"{name} needs at least {needed} training days with a fine field and a window of coarse "
        f"fields; there are {found}. Give a longer fine record, and the coarse record of its days, "
        f"or take what is left: {', '.join(left)}."
    )


NEEDED = {  # training days of each baseline
    "interpolate": 0,
    "climatology": 1,
    "persistence": 1,
    "bias_corrected": 2,
    "kriging": 2,
    "ridge": 12,
    "pointwise": 12,
    "dressed": 12,
    "gaussian": 12,
    "analogues": 12,
    "quantile_mapped": 30,
}


def _scaled(
    drivers: dict[str, Record],
    lead: str,
    target: Record,
    windows: Rows,
    pairs: tuple[Rows, Rows],
    step: int,
    reading: Reading,
) -> Training:
    """Scale the records, and read the training days."""
    rows, days = pairs
    kept = affordable(len(rows), target.grid.size, windows.shape[1] * _cells(drivers))
    rows = rows[kept]
    days = days[kept]
    record = drivers[lead]
    own = _fitted([target.array[days]], [record.array[rows]], reading.transform)
    scalings = {
        name: own if name == lead else _fitted([driver.array[rows]], [], "auto")
        for name, driver in drivers.items()
    }
    parts = {name: features.scaled_coarse(drivers[name], scalings[name]) for name in drivers}
    data = DataConfig(regrid=reading.method, extrapolate=reading.extrapolate)
    shape = (record.grid.shape[0], record.grid.shape[1])
    place = grid_indices(place_on(record.grid, target.grid), shape)
    box = _around(place, shape)
    limit = data.memory_limit
    return Training(
        coarse=_cut(features.stack(list(parts.values())), box).in_memory(limit),
        driver=features.driver(record, target.grid, own, data, parts[lead]),
        windows=windows,
        calendar=calendar_numbers("cycle", Calendar.fit(record.time), record.time, step),
        place=place - [box[0].start, box[1].start],
        keys=record.keys,
        step=step,
        rows=rows,
        fine=features.scaled_fine(target, own, (slice(None), slice(None)))[days],
        scaling=own,
        record=target,
        lazy=any(is_lazy(driver.array) for driver in drivers.values()),
        time=record.time,
        grid=record.grid[box],
        own=list(parts).index(lead),
    )


def _cells(drivers: dict[str, Record]) -> int:
    return sum(driver.grid.size for driver in drivers.values())


def _fitted(own: Sequence[Any], others: Sequence[Any], transform: str) -> Scaling:
    """Choose a transform that suits all values, and fit the constants on some of them.

    A constant record is neither transformed nor scaled.
    """
    chosen = choose_transform([*own, *others], transform)
    alone = choose_transform(list(own), "identity")
    if alone.minimum == alone.maximum:
        return replace(alone, reason="identity: all values are equal.")
    chosen = replace(chosen, minimum=alone.minimum, maximum=alone.maximum)
    return fit_scaling(list(own), chosen, "standard")


def _around(place: Array, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the coarse cells around the fine grid."""
    found = []
    for axis, size in enumerate(shape):
        low = int(np.floor(place[..., axis].min())) - _MARGIN
        high = int(np.ceil(place[..., axis].max())) + _MARGIN + 1
        found.append(slice(max(low, 0), min(high, size)))
    return found[0], found[1]


def _cut(fields: Fields, box: tuple[slice, slice]) -> Fields:
    """Return fields (n, d, y, x) of some rows and columns, read on demand."""
    sides = [part.stop - part.start for part in box]
    return Fields(lambda index: fields[index][..., box[0], box[1]], (*fields.shape[:2], *sides))


def to_index(time: Any) -> Any:
    """Convert times (DataArray, index or any sequence) to an index."""
    if isinstance(time, pd.Index):
        return time
    values = np.atleast_1d(time.values if isinstance(time, xr.DataArray) else np.asarray(time))
    if values.size and hasattr(values.flat[0], "calendar"):
        return xr.DataArray(values, dims="time").to_index()
    if values.size and values.dtype.kind not in "MUO":
        seconds(np.atleast_1d(values))  # raises: numbers are no dates
    try:
        return pd.DatetimeIndex(values)
    except (TypeError, ValueError) as err:
        raise TimeAxisError(
            f"The times asked for cannot be read as dates ({err}). Give datetime64, cftime or "
            "texts such as '2000-01-31'."
        ) from err


def positions(da: xr.DataArray, wanted: pd.Index[Any], what: str, *, complete: bool = False) -> Any:
    """Return the position of each day in the record, -1 where it lacks the day.

    Parameters
    ----------
    da : DataArray
        The record.
    wanted : Index
        Days asked.
    what : str
        What the record is, for messages.
    complete : bool
        Raise `TimeAxisError` if it lacks one.
    """
    have = da.indexes[require_time(da, what)]
    check_unique(have, what)
    check_calendars(have, wanted, (what, "the days asked"))
    check_steps(have, wanted, (what, "the days asked"))
    found = match_times(wanted, have)
    if complete and (found < 0).any():
        raise TimeAxisError(
            f"{what} lacks {int((found < 0).sum())} of the {len(wanted)} days asked, the first "
            f"being {wanted[found < 0][0]}; it runs from {have.min()} to {have.max()}."
        )
    return found
