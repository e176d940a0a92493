"""Validate a coarse and a fine record: variables, axes, units, grids and times."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.config import DataConfig
from xdownscale.core import grids, units
from xdownscale.core import time as time_axis
from xdownscale.core.alignment import turn
from xdownscale.core.blocks import blocks, is_lazy
from xdownscale.core.cells import cells_of
from xdownscale.core.coords import find_axes, require_array, require_time, to_array
from xdownscale.core.errors import (
    DataError,
    GridError,
    ModelMismatchError,
    TimeAxisError,
    XDownscaleWarning,
    check_option,
)
from xdownscale.core.located import located, located_variables
from xdownscale.core.normalization import Scaling
from xdownscale.core.record import Record, canonical_grid
from xdownscale.core.storable import TAKEN, check_names
from xdownscale.core.values import check_values
from xdownscale.preprocessing.outliers import OUTLIERS, Range, describe_suspects, screened

Array = npt.NDArray[Any]
_LARGER = 1.5  # times a coarse cell that a fine one may be
_LOOK = 64  # time steps whose values are looked at


def variables(
    record: xr.DataArray | xr.Dataset, what: str, like: xr.DataArray | None = None
) -> dict[str, xr.DataArray]:
    """Return the variables of a record by name; each has time, latitude and longitude.

    Parameters
    ----------
    record : DataArray or Dataset
        A record.
    what : str
        What it is, for the message.
    like : DataArray, optional
        Grid that lends its projection to a record which lost its own; see `located`.

    Raises
    ------
    DataError
        If a Dataset has no variable.
    GridError, TimeAxisError
        If a variable has other dimensions.
    """
    if isinstance(record, xr.DataArray):
        return {str(record.name): located(record, what, like)}
    if not isinstance(record, xr.Dataset):
        raise DataError(
            f"{what} is a {type(record).__name__}; give a DataArray, or a Dataset of several."
        )
    if not record.data_vars:
        raise DataError(f"{what} is a Dataset without variables; give one that has some.")
    whose = what[0].lower() + what[1:]
    found = located_variables(record, whose, like)
    for name, da in found.items():
        check_dims(da, f"The variable {name!r} of {whose}")
    return found


def own_drivers(
    known: Mapping[str, Any],
    wanted: Mapping[str, Any],
    drivers: Mapping[str, str | None] | None,
) -> dict[str, str | None]:
    """Return each target's own driver: as said, else of its name, else the only one.

    Parameters
    ----------
    known, wanted : mapping
        Coarse and fine variables by name.
    drivers : mapping, optional
        Fine variable -> coarse one, or None where it has none.

    Raises
    ------
    DataError
        If a name is unknown, or it is not clear which driver is whose.

    Examples
    --------
    >>> own_drivers({"t": 0, "u": 0}, {"t": 0}, None)
    {'t': 't'}
    """
    said = dict(drivers or {})
    for name, among, what in (
        *((t, wanted, "fine") for t in said),
        *((d, known, "coarse") for d in said.values() if d is not None),
    ):
        if name not in among:
            raise DataError(
                f"drivers= names {name!r}, which is no {what} variable; there are "
                f"{', '.join(map(repr, among))}."
            )
    own: dict[str, str | None] = {}
    for target in wanted:
        if target in said:
            own[target] = said[target]
        elif target in known:
            own[target] = target
        elif len(known) == 1 and len(wanted) == 1:
            own[target] = next(iter(known))
        else:
            raise DataError(
                f"It is not clear which coarse variable is {target!r} on the coarse grid: there "
                f"are {', '.join(map(repr, known))}. Say so, for instance "
                f"drivers={{{target!r}: {next(iter(known))!r}}}; or None where there is none."
            )
    return own


def check_dims(record: xr.DataArray, what: str) -> None:
    """Raise unless a record has time, latitude and longitude, and nothing else.

    Parameters
    ----------
    record : DataArray
        Record to look at, as `located` returns it.
    what : str
        What it is, for the message.

    Raises
    ------
    DataError
        If it is no DataArray of real numbers.
    GridError, TimeAxisError
    """
    require_array(record, what)
    record = check_values(record, what)
    axes = find_axes(record)
    require_time(record, what)
    extra = [d for d in record.dims if d not in (axes.time, axes.y, axes.x)]
    if extra:
        raise GridError(
            f"{what} has the extra dimensions {extra}; give one with time, latitude and longitude "
            "only, for example record.isel({dim}=0).".replace("{dim}", str(extra[0]))
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A coarse and a fine record that can be trained on together.

    Attributes
    ----------
    coarse, fine : Record
        Times sorted; the fine record holds only the time steps that the coarse one has too.
    rows : (n,) int array
        Index in the coarse record of each time step of the fine record.
    drivers, targets : tuple of Record
        All coarse and all fine variables, on the same grids and time steps; `coarse` is the first
        target's own driver (or the first of all), `fine` the first target.
    own : tuple of int
        For each target the number of its own driver, -1 where it has none.
    pairing : str
        ``"paired"``: the model is trained on the coarse fields of the fine record's time steps.
        ``"self"``: on averages of the fine record over coarse cells, which `drivers` are then.
    reason : str
        Why, in a sentence.
    long : tuple of Record or None
        Under ``"self"`` the long coarse records, on the cells that the fine record covers, which
        are mapped onto the fine record's climate.
    """

    coarse: Record
    fine: Record
    rows: npt.NDArray[np.int64]
    drivers: tuple[Record, ...]
    targets: tuple[Record, ...]
    own: tuple[int, ...]
    pairing: str = "paired"
    reason: str = ""
    long: tuple[Record, ...] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the drivers."""
        return [str(driver.name) for driver in self.drivers]


def check_pair(
    coarse: xr.DataArray | xr.Dataset,
    fine: xr.DataArray | xr.Dataset,
    data: DataConfig,
    drivers: Mapping[str, str | None] | None = None,
) -> Pair:
    """Check that two records can be trained on together, before any value is read.

    Parameters
    ----------
    coarse, fine : DataArray or Dataset
        The long and the short record, each with time, latitude and longitude; of a Dataset all
        variables.
    data : DataConfig
        Options.
    drivers : mapping, optional
        Target -> the coarse variable that is the same quantity, or None where there is none.

    Returns
    -------
    Pair

    Raises
    ------
    GridError
        Axes not found, extra dimensions, variables on different grids, or fine cells that the
        coarse grid does not cover.
    TimeAxisError
        Duplicate times, no common time step, too few of them, or variables with different times.
    DataError
        Units or standard names that differ, or it is not clear which driver is a target's own.
    """
    known = variables(coarse, "The coarse record")
    wanted = variables(fine, "The fine record")
    for da in wanted.values():
        check_names(da.name, da.dims, da.coords, "The fine record")
    own = own_drivers(known, wanted, drivers)
    names = list(known)
    first = next(iter(wanted))
    lead = own[first] or names[0]
    # the first target and its driver decide the common time steps of all
    lead_driver, whole = _check_two(known[lead], wanted[first], data, same=own[first] is not None)
    rows, lead_target = _common_steps(lead_driver, whole)
    check_enough(rows.size, data.lags)
    for target, driver in own.items():
        if driver is not None:
            check_variable(known[driver], wanted[target])
    inputs = {name: _sorted(da) for name, da in known.items() if name != lead}
    outputs = {name: _sorted(da) for name, da in wanted.items() if name != first}
    _say_left_out({*outputs.values(), whole})
    records = {name: inputs.get(name, lead_driver) for name in names}
    targets = {name: outputs.get(name, whole) for name in wanted}
    check_together(records, "coarse")
    check_together(targets, "fine")
    ordered = [_in_order_of(record, lead_driver) for record in records.values()]
    kept = [
        lead_target
        if record is whole
        else _common_steps(lead_driver, _in_order_of(record, whole))[1]
        for record in targets.values()
    ]
    return Pair(
        coarse=lead_driver,
        fine=lead_target,
        rows=rows,
        drivers=tuple(ordered),
        targets=tuple(kept),
        own=tuple(-1 if own[t] is None else names.index(str(own[t])) for t in wanted),
    )


def check_enough(days: int, lags: int) -> None:
    """Raise where two records have too few common time steps.

    Parameters
    ----------
    days : int
        Common time steps.
    lags : int
        Preceding ones that a model sees.

    Raises
    ------
    TimeAxisError
    """
    if days < lags + 2:
        raise TimeAxisError(
            f"The records have {days} days in common; a model with lags={lags} needs at "
            f"least lags + 2 = {lags + 2}. Give a longer fine record or fewer lags."
        )


def screen_pair(pair: Pair, outliers: str) -> Pair:
    """Look for values that cannot be of a record, in all variables of a pair.

    Parameters
    ----------
    pair : Pair
        The records.
    outliers : {"raise", "mask", "keep"}
        What to do about such values.

    Returns
    -------
    Pair
        Itself where nothing was masked.

    Raises
    ------
    OptionError
        For another `outliers`.
    DataError
        Under ``"raise"`` where there is one; and for values that float32, in which models compute,
        cannot hold or tell apart.
    """
    check_option("outliers", outliers, OUTLIERS)
    found = {}
    for kind, records in (("coarse", pair.drivers), ("fine", pair.targets)):
        for record in records:
            name = "" if record.name is None else f" {str(record.name)!r}"
            da = screened(record.da, f"The {kind} record{name}", outliers)
            found[id(record)] = record if da is record.da else Record(da, record.what)
    return replace(
        pair,
        coarse=found[id(pair.coarse)],
        fine=found[id(pair.fine)],
        drivers=tuple(found[id(record)] for record in pair.drivers),
        targets=tuple(found[id(record)] for record in pair.targets),
    )


def _say_left_out(targets: Iterable[Record]) -> None:
    """Warn of coordinates of the fine record that generated fields cannot have."""
    before = {name for record in targets for name in record.da.coords}
    after = {name for record in targets for name in record.labels.coords.variables}
    lost = {str(name) for name in before - after - TAKEN}
    if lost:
        warnings.warn(
            f"Generated fields will not have the coordinates {', '.join(map(repr, sorted(lost)))} "
            "of the fine record, because no file can hold them: they are objects, complex numbers, "
            "or have names that files cannot have.",
            XDownscaleWarning,
            stacklevel=6,
        )


def check_together(records: Mapping[str, Record], kind: str) -> None:
    """Raise unless all variables have the time steps and the cells of the first one.

    Parameters
    ----------
    records : mapping
        Name -> variable, times sorted.
    kind : {"coarse", "fine"}
        Which record they are of, for the message.

    Raises
    ------
    TimeAxisError, GridError
    """
    (lead, first), *others = records.items()
    for name, other in others:
        if not time_axis.same_times(other.time, first.time):
            raise TimeAxisError(
                f"The {kind} variables {lead!r} and {name!r} have different times. Give them the "
                "same days, for instance with xr.align(..., join='inner')."
            )
        if not grids.same_grid(other.grid, first.grid):
            raise GridError(
                f"The {kind} variables {lead!r} and {name!r} lie on different grids: "
                f"{_extent(first.grid)} against {_extent(other.grid)}. Regrid one of them "
                "(xd.regrid)."
            )


def _sorted(da: xr.DataArray) -> Record:
    """Sort the times of a variable, without a second warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        return Record(time_axis.check_time(da, "The record"))


def _check_two(
    coarse: xr.DataArray, fine: xr.DataArray, data: DataConfig, *, same: bool
) -> tuple[Record, Record]:
    """Check the first target and its driver, and return driver and target; see `check_pair`.

    Parameters
    ----------
    coarse, fine : DataArray
        The long and the short record.
    data : DataConfig
        Options.
    same : bool
        Whether they are one quantity, in one unit.
    """
    given = {"The coarse record": coarse, "The fine record": fine}
    for what, da in given.items():
        check_dims(da, what)
    one, other = (Record(time_axis.check_time(da, what), what) for what, da in given.items())
    if same:
        check_variable(one.da, other.da)
    check_finer(one, other)
    if data.extrapolate is None:
        check_cover(one, other)
    check_same_step(one, other)
    return one, other


def check_same_step(coarse: Record, fine: Record) -> None:
    """Raise where the time steps of two records differ.

    Parameters
    ----------
    coarse, fine : Record
        Their times ascend.

    Raises
    ------
    TimeAxisError
    """
    if 0 not in (coarse.step, fine.step) and coarse.step != fine.step:
        raise TimeAxisError(
            f"The coarse record has a time step of {coarse.step / 3600:g} hours and the fine one "
            f"of {fine.step / 3600:g} hours. Bring both to one step, for instance with "
            ".resample(time='1D').mean()."
        )


def check_cover(coarse: Record, fine: Record) -> None:
    """Raise where fine cells lie outside the coarse grid and its half-cell margin.

    Parameters
    ----------
    coarse, fine : Record
        On grids of any kind.

    Raises
    ------
    GridError
    """
    if coarse.axes.rectilinear and fine.axes.rectilinear:
        latitude, longitude = grids.grid_axes(coarse.da, "The coarse grid")
        grids.check_coverage(latitude, longitude, *grids.centres(fine.grid))
        return
    require_covered(coarse.grid, fine.grid)


def require_covered(coarse: xr.DataArray, fine: xr.DataArray) -> None:
    """Raise where cells of a fine grid lie outside a coarse one and its half-cell margin.

    Parameters
    ----------
    coarse, fine : DataArray
        ``(y, x)`` grids of any kind.

    Raises
    ------
    GridError
    """
    beyond = grids.uncovered(coarse, fine)
    if beyond.any():
        raise GridError(
            f"{int(beyond.sum())} of {beyond.size} fine cells lie outside the coarse grid and its "
            f"half-cell margin. The coarse grid has {grids.describe_grid(coarse)}, the fine "
            f"one {grids.describe_grid(fine)}. Give a larger coarse record, crop the fine one "
            "(xdownscale.grids.uncovered tells which cells), or use extrapolate='nearest'."
        )


def check_finer(coarse: Record, fine: Record) -> None:
    """Raise where the fine record has the larger cells: the two may have been swapped.

    Parameters
    ----------
    coarse, fine : Record
        On grids of any kind.

    Raises
    ------
    GridError
    """
    found = []
    for record in (coarse, fine):
        if not (coarse.axes.rectilinear and fine.axes.rectilinear):
            found.append([float(np.nan_to_num(s)) for s in cells_of(record.grid).steps])
            continue
        sizes = [np.abs(np.diff(d)) for d in grids.centres(record.grid)]
        found.append([float(np.median(size)) if size.size else 0.0 for size in sizes])
    if np.prod(found[1]) > _LARGER * np.prod(found[0]) > 0:
        raise GridError(
            f"The fine record has cells of {found[1][0]:g} by {found[1][1]:g} degrees, larger than "
            f"those of the coarse one ({found[0][0]:g} by {found[0][1]:g}). Give the coarse record "
            "first, then the fine one."
        )


def check_variable(coarse: xr.DataArray, fine: xr.DataArray) -> None:
    """Raise `DataError` if both records name their units or standard name, and they differ.

    Parameters
    ----------
    coarse, fine : DataArray
        Records; only their attributes are looked at.
    """
    names = {coarse.attrs.get("standard_name"), fine.attrs.get("standard_name")}
    same = {
        "units": units.same_units(units.units_of(coarse), units.units_of(fine)),
        "standard_name": None in names or len(names) == 1,
    }
    for attr, agree in same.items():
        if not agree:
            raise DataError(
                f"The {attr} of the coarse record is {units.said(coarse.attrs[attr])} and that of "
                f"the fine one {units.said(fine.attrs[attr])}. Give both as one variable in one "
                f"unit (and set attrs[{attr!r}]), or drop the attribute where it is wrong."
            )


def implausible(record: Record, scaling: Scaling, what: str) -> str:
    """Describe implausible values, or return "".

    Parameters
    ----------
    record : Record
        A few of its time steps are read.
    what : str
        What it is, for the message.
    scaling : Scaling
        Fitted on fine training days.

    Returns
    -------
    str
        Empty where the median of the record lies within the range of the training values, widened
        by its own width on either side. Kelvin for degrees Celsius does not.
    """
    if scaling.minimum is None or scaling.maximum is None:
        return ""
    array = record.array
    looked_at = np.unique(np.linspace(0, array.shape[0] - 1, _LOOK).astype(int))
    values = np.asarray(array[looked_at])
    median = float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else np.nan
    low = scaling.minimum
    high = scaling.maximum
    if np.isnan(median) or 2 * low - high <= median <= 2 * high - low:
        return ""
    return (
        f"{what} has the median {median:.6g}, far outside the fine training values "
        f"({low:.6g} to {high:.6g}): another unit, transform or variable? Bring it to theirs."
    )


def check_suspects(record: Record, scaling: Scaling, what: str) -> None:
    """Raise where a record has values that cannot be of what a model was trained on.

    Parameters
    ----------
    record : Record
        Read where it is in memory; of one that is not, pieces are looked at when they are read.
    scaling : Scaling
        Knows the range of the training values.
    what : str
        What the record is, for the message.

    Raises
    ------
    ModelMismatchError
    """
    if scaling.minimum is None or scaling.maximum is None or is_lazy(record.array):
        return
    known = Range(low=scaling.minimum, high=scaling.maximum)
    for rows, block in blocks(record.array):
        if problem := describe_suspects(block, known, what, record.time[rows]):
            raise ModelMismatchError(problem)


def on_cells_of(record: xr.DataArray, grid: xr.DataArray, what: str, owner: str) -> xr.DataArray:
    """Return a record on the cells of a model, in the order of the model's grid.

    Parameters
    ----------
    record : DataArray
        On the cells of `grid`, in any order, orientation and longitude convention.
    grid : DataArray
        ``(y, x)``, as `canonical_grid` returns it.
    what, owner : str
        What the record is, and whose grid it should have, for the message.

    Returns
    -------
    DataArray
        With the latitudes, longitudes and names of `grid`.

    Raises
    ------
    ModelMismatchError
        If the cells differ.
    """
    matched = grids.match_cells(grid, record)
    if matched is None:
        mine = canonical_grid(to_array(record).labels)
        raise ModelMismatchError(
            f"{what} lies on another grid than {owner}: {_extent(mine)} against {_extent(grid)}. "
            "Regrid it (xd.regrid), or fit a model for its grid."
        )
    return turn(record, grid, matched)


def _in_order_of(record: Record, other: Record) -> Record:
    """Return a record with its cells in the order of another; itself where they are."""
    if record is other:
        return record
    matched = grids.match_cells(other.grid, record.grid)
    ordered = matched is not None and all(
        np.array_equal(index, np.arange(size))
        for index, size in zip(matched, record.grid.shape, strict=True)
    )
    return record if ordered else Record(turn(record.da, other.da), record.what)


def _extent(grid: xr.DataArray) -> str:
    """Describe the range of a grid, for messages."""
    if not find_axes(grid).rectilinear:
        return grids.describe_grid(grid)
    spans = [f"{d.size} from {d.flat[0]:g} to {d.flat[-1]:g}" for d in grids.centres(grid)]
    return f"latitudes {spans[0]}, longitudes {spans[1]}"


def _common_steps(coarse: Record, fine: Record) -> tuple[npt.NDArray[np.int64], Record]:
    """Return the coarse rows that match fine time steps, and the fine record of these alone.

    Fine days that the coarse record stamps at another hour take its stamps: generated fields will
    bear these, and their noise is keyed by them.
    """
    name = str(fine.time.name)
    matched = time_axis.check_overlap(fine.time, coarse.time)
    kept = np.flatnonzero(matched >= 0)
    rows = matched[kept].astype(np.int64)
    da = fine.da
    if kept.size < matched.size:
        da = da.isel({name: kept})
    if not np.array_equal(time_axis.seconds(da[name]), time_axis.seconds(coarse.time[rows])):
        stamps = xr.DataArray(coarse.time.values[rows], dims=name, attrs=da[name].attrs)
        da = da.assign_coords({name: stamps})
    return rows, fine if da is fine.da else Record(da, fine.what)


def crop_to(record: xr.DataArray, grid: xr.DataArray) -> xr.DataArray:
    """Return the part of a record that lies on a grid's cells.

    Parameters
    ----------
    record : DataArray
        On a grid that has all cells of `grid`; otherwise it is returned as it is.
    grid : DataArray
        ``(y, x)``.

    Returns
    -------
    DataArray
    """
    axes = find_axes(record)
    rows, columns = grids.find_cells(grid, record)
    if (rows < 0).any() or (columns < 0).any():
        return record
    return record.isel({axes.y: np.sort(rows), axes.x: np.sort(columns)})
