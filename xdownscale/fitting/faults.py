"""Every fault of two records that stands between them and a fit, found at once.

`fit` raises at the first fault; a user who mends it meets the next. Here every check runs whose
needs are met, with a provisional mend of what it found, so that all faults are in one table, each
with the line of code that mends it where there is one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import splits
from xdownscale.config import DownscalerConfig
from xdownscale.core import grids, units
from xdownscale.core import time as time_axis
from xdownscale.core.blocks import is_lazy
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import DataError, XDownscaleError
from xdownscale.core.located import located, own_variables
from xdownscale.core.record import Record
from xdownscale.core.storable import check_names
from xdownscale.fitting.groups import Seasons
from xdownscale.preprocessing import validation
from xdownscale.preprocessing.outliers import screen_static, screened

KINDS = ("coarse", "fine")


class Fault(NamedTuple):
    """Something that `fit` would refuse.

    Attributes
    ----------
    check : str
        What was looked at.
    message : str
        What was found, what is allowed, and what to do.
    code : str
        Line of code that mends it; empty where the message has to do.
    error : XDownscaleError
        What `fit` would raise.
    """

    check: str
    message: str
    code: str
    error: XDownscaleError


@dataclass
class Collector:
    """Runs checks, and keeps what they raise."""

    faults: list[Fault] = field(default_factory=list)

    def attempt(self, check: str, function: Callable[..., Any], *args: Any, code: str = "") -> Any:
        """Return what a check returns, or None after a fault."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function(*args)
        except XDownscaleError as err:
            if str(err) not in [fault.message for fault in self.faults]:
                self.faults.append(Fault(check, str(err), code, err))
            return None

    def passes(self, check: str, function: Callable[..., Any], *args: Any, code: str = "") -> bool:
        """Tell whether a check finds no fault."""
        before = len(self.faults)
        self.attempt(check, function, *args, code=code)
        return len(self.faults) == before


class Asked(NamedTuple):
    """What `fit` was asked for, beside the records.

    Attributes
    ----------
    config : DownscalerConfig
        Options.
    drivers : mapping or None
        Fine variable -> its own driver.
    pairing, outliers : str
        As for `xdownscale.fit`.
    seasons, regions : mapping or None
        Groups.
    seed : int
        Of the split.
    """

    config: DownscalerConfig
    drivers: Mapping[str, str | None] | None = None
    pairing: str = "auto"
    outliers: str = "raise"
    seasons: Seasons | None = None
    regions: Mapping[str, Any] | None = None
    seed: int = 0


def find_faults(
    coarse: xr.DataArray | xr.Dataset,
    fine: xr.DataArray | xr.Dataset,
    static: xr.DataArray | xr.Dataset | None,
    asked: Asked,
    *,
    read_lazy: bool = True,
) -> list[Fault]:
    """Return every fault that `fit` would meet before it trains, as far as they can be told apart.

    Parameters
    ----------
    coarse, fine, static
        As for `xdownscale.fit`.
    asked : Asked
        Options.
    read_lazy : bool
        Look for outliers in records that are not in memory too, which reads them once.

    Returns
    -------
    list of Fault
        In the order in which `fit` would meet them.
    """
    seen = Collector()
    known, wanted = (
        {name: _mended(seen, da, kind) for name, da in split_variables(seen, record, kind).items()}
        for kind, record in zip(KINDS, (coarse, fine), strict=True)
    )
    for kind, found in zip(KINDS, (known, wanted), strict=True):
        _check_values(seen, found, kind, asked.outliers, read_lazy)
    seen.attempt("static fields", screen_static, static, asked.outliers, code=_MASK)
    if known and wanted:
        _check_together(seen, known, wanted, asked)
    return seen.faults


_MASK = "outliers='mask'  # in fit, if they mean missing"


def split_variables(seen: Collector, record: Any, kind: str) -> dict[str, xr.DataArray]:
    """Return the variables of a record that have time, latitude and longitude.

    Parameters
    ----------
    seen : Collector
        Takes the faults of the others.
    record : DataArray or Dataset
        Or anything else, which is a fault.
    kind : {"coarse", "fine"}
        For messages.
    """
    what = f"The {kind} record"
    if isinstance(record, xr.DataArray):
        parts = {str(record.name): (record, what)}
    elif not isinstance(record, xr.Dataset) or not record.data_vars:
        seen.attempt("variables", validation.variables, record, what)
        return {}
    else:
        whose = f"of the {kind} record"
        own = own_variables(record)
        parts = {name: (da, f"The variable {name!r} {whose}") for name, da in own.items()}
    found = {}
    for name, (given, said) in parts.items():
        da = seen.attempt("grids", located, given, said)
        if da is None:
            continue
        code, rest = _flatten(da, kind)
        if seen.passes("variables", validation.check_dims, da, said, code=code):
            found[name] = da
        elif rest is not None and Collector().passes("", validation.check_dims, rest, said):
            found[name] = rest
    return found


def _flatten(da: xr.DataArray, kind: str) -> tuple[str, xr.DataArray | None]:
    """Return the code that takes the first of each further dimension, and what it gives."""
    try:
        axes = find_axes(da)
    except XDownscaleError:
        return "", None
    extra = [str(d) for d in da.dims if d not in (axes.time, axes.y, axes.x)]
    if not extra or axes.time is None:
        return "", None
    given = ", ".join(f"{name}=0" for name in extra)
    return f"{kind} = {kind}.isel({given})", da.isel(dict.fromkeys(extra, 0))


def _mended(seen: Collector, da: xr.DataArray, kind: str) -> xr.DataArray | None:
    """Return a variable with ascending times, without duplicates; None where it has no dates."""
    name = str(find_axes(da).time)
    drop = f"{kind} = {kind}.drop_duplicates({name!r})"
    checked = seen.attempt("times", time_axis.check_time, da, f"The {kind} record", code=drop)
    if checked is None:
        seconds = Collector().attempt("times", time_axis.seconds, da[name])
        if seconds is None:
            return None
        _, first = np.unique(seconds, return_index=True)
        checked = da.isel({name: first})
    return checked if isinstance(checked, xr.DataArray) else None


def _check_values(
    seen: Collector,
    found: Mapping[str, xr.DataArray | None],
    kind: str,
    outliers: str,
    read_lazy: bool,
) -> None:
    for name, da in found.items():
        if da is None or (is_lazy(da.data) and not read_lazy):
            continue
        said = "" if name == "None" else f" {name!r}"
        what = f"The {kind} record{said}"
        seen.attempt("values", screened, da, what, outliers, code=_MASK)
        seen.attempt("values", _require_any, da, what)


def _require_any(da: xr.DataArray, what: str) -> None:
    """Raise where a record has no value at all."""
    if not bool(da.notnull().any()):
        raise DataError(f"{what} is all NaN. Check the variable, the mask and the fill value.")


Variables = Mapping[str, xr.DataArray | None]


def _check_together(seen: Collector, known: Variables, wanted: Variables, asked: Asked) -> None:
    """Check what depends on both records."""
    own = seen.attempt("variables", validation.own_drivers, known, wanted, asked.drivers) or {}
    first = next(iter(wanted))
    lead = own.get(first) or next(iter(known))
    _check_each(seen, known, wanted, own)
    one, other = known[lead], wanted[first]
    if one is None or other is None:
        return
    records = seen.attempt("grids", lambda: (Record(one), Record(other)))
    if records is None:
        return
    seen.attempt("grids", validation.check_finer, *records, code="fit(fine, coarse)  # swapped")
    if asked.config.data.extrapolate is None:
        seen.attempt("grids", validation.check_cover, *records, code=_crop(*records))
    step = _to_same_step(*records)
    if seen.passes("times", validation.check_same_step, *records, code=step):
        _check_days(seen, records, asked)


def _check_each(
    seen: Collector, known: Variables, wanted: Variables, own: Mapping[str, str | None]
) -> None:
    """Check names and units of the variables, and that those of a record go together."""
    for da in wanted.values():
        if da is not None:
            seen.attempt("names", check_names, da.name, da.dims, da.coords, "The fine record")
    for target, driver in own.items():
        coarse = None if driver is None else known[driver]
        fine = wanted[target]
        if coarse is not None and fine is not None:
            code = _conversion(coarse, fine)
            seen.attempt("units", validation.check_variable, coarse, fine, code=code)
    for kind, found in zip(KINDS, (known, wanted), strict=True):
        parts = [(name, da) for name, da in found.items() if da is not None]
        records = seen.attempt("grids", lambda parts=parts: {n: Record(da) for n, da in parts})
        if records and len(records) > 1:
            seen.attempt("variables", validation.check_together, records, kind)


def _check_days(seen: Collector, records: tuple[Record, Record], asked: Asked) -> None:
    """Check the common time steps, and the split of them."""
    coarse, fine = records
    data = asked.config.data
    lags = asked.config.data.lags
    matched = seen.attempt("times", time_axis.check_overlap, fine.time, coarse.time)
    if matched is None:
        return
    kept = np.flatnonzero(matched >= 0)
    fewer = f"preset=xd.preset(..., data=dict(lags={max(kept.size - 2, 0)}))"
    seen.attempt("times", validation.check_enough, kept.size, lags, code=fewer)
    if kept.size < lags + 2:
        return
    seen.attempt(
        "split",
        lambda: splits.chronological_split(
            fine.time[kept],
            lags,
            fractions=data.fractions,
            early_stopping=data.early_stopping,
            seasons=asked.seasons or splits.SEASONS,
            seed=asked.seed,
        ),
        code="preset=xd.preset(..., data=dict(fractions=(0.9, 0.1, 0.0)))",
    )


def _conversion(coarse: xr.DataArray, fine: xr.DataArray) -> str:
    """Return the code that brings the fine record to the units of the coarse one."""
    one, other = units.units_of(coarse), units.units_of(fine)
    change = units.conversion(other, one)
    if change is None:
        return ""
    scale, offset = change
    value = "fine" if scale == 1 else f"{scale:.12g} * fine"
    value = value if offset == 0 else f"{value} {'+' if offset > 0 else '-'} {abs(offset):.12g}"
    return f"fine = ({value}).assign_attrs(fine.attrs, units={one!r})"


def _crop(coarse: Record, fine: Record) -> str:
    """Return the code that keeps the fine cells which the coarse record covers."""
    if not (coarse.axes.rectilinear and fine.axes.rectilinear):
        return _crop_plane(coarse, fine)
    latitude, longitude = grids.grid_axes(coarse.da, "The coarse grid")
    lat, lon = grids.centres(fine.grid)
    inside = (
        ~grids.outside(latitude, lat, cyclic=False),
        ~grids.outside(longitude, lon, cyclic=True),
    )
    if not all(part.any() for part in inside):
        return ""
    parts = []
    for name, kept, degrees in zip(fine.grid.dims, inside, (lat, lon), strict=True):
        ends = degrees[kept][[0, -1]]
        own = fine.da[str(name)].values
        order = ends if own[0] <= own[-1] else ends[::-1]
        parts.append(f"{name}=slice({order[0]:.10g}, {order[1]:.10g})")
    return f"fine = fine.sel({', '.join(parts)})"


def _crop_plane(coarse: Record, fine: Record) -> str:
    """Return the code that keeps the rows and columns whose cells are all covered."""
    axes = fine.axes
    inside = ~grids.uncovered(coarse.grid, fine.grid).transpose(axes.y, axes.x).values
    rows, columns = _covered_part(inside)
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        return ""
    parts = (
        f"{name}=slice({part.start}, {part.stop})"
        for name, part in ((axes.y, rows), (axes.x, columns))
    )
    return f"fine = fine.isel({', '.join(parts)})"


def _covered_part(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return a rectangle of covered cells: the side with the most gaps is cut, until none is left.

    Examples
    --------
    >>> _covered_part(np.array([[False, True, True], [True, True, True]]))
    (slice(0, 2, None), slice(1, 3, None))
    """
    top = 0
    left = 0
    bottom, right = inside.shape
    while top < bottom and left < right and not inside[top:bottom, left:right].all():
        part = ~inside[top:bottom, left:right]
        sides = (part[0], part[-1], part[:, 0], part[:, -1])
        worst = int(np.argmax([side.mean() for side in sides]))
        top += worst == 0
        bottom -= worst == 1
        left += worst == 2
        right -= worst == 3
    return slice(top, bottom), slice(left, right)


def _to_same_step(coarse: Record, fine: Record) -> str:
    """Return the code that averages the record with the shorter step."""
    kind, record = ("coarse", coarse) if coarse.step < fine.step else ("fine", fine)
    longest = max(coarse.step, fine.step)
    step = f"{longest // 86400}D" if longest % 86400 == 0 else f"{longest // 3600}h"
    return f'{kind} = {kind}.resample({record.time.name}="{step}").mean()'


def joined(error: XDownscaleError, faults: Sequence[Fault]) -> XDownscaleError:
    """Return an error that names all faults, the one that `fit` met first.

    Parameters
    ----------
    error : XDownscaleError
        What was raised.
    faults : sequence of Fault
        All that were found.

    Returns
    -------
    XDownscaleError
        `error` itself where nothing else was found.
    """
    others = [fault for fault in faults if fault.message not in str(error)]
    if not others:
        return error
    lines = [str(error), "", "There is more to mend before fit (xdownscale.inspect shows all):"]
    for number, fault in enumerate(others, start=2):
        lines.append(f"{number}. {fault.message}")
        lines += [f"   {fault.code}"] if fault.code else []
    return type(error)("\n".join(lines))
