"""Check the records of a report, and bring them to the same region, season and units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import DataError, GridError, TimeAxisError
from xdownscale.core.grids import describe_grid, same_grid
from xdownscale.core.located import located
from xdownscale.core.normalization import Scaling, choose_transform
from xdownscale.core.time import check_calendars, check_time, days, match_times, months
from xdownscale.core.units import odd_one_out, said, units_of
from xdownscale.core.values import check_some

MEMBERS = "realization"
LEAST = 10  # days below which a record says too little


@dataclass(frozen=True, kw_only=True)
class Records:
    """The checked records of a report.

    Attributes
    ----------
    prediction : DataArray
        As given, with its realizations.
    coarse : DataArray
        As given.
    fine : DataArray or None
        As given.
    truth : DataArray or None
        Days of `fine` that the prediction has too.
    training : DataArray or None
        Days of `fine` that the prediction has not.
    fields : dict of str to DataArray
        What curves are made of: first realization, coarse record and fine training period, in
        transformed units, in the region and the months of the prediction.
    space : Scaling
        The transform.
    notes : list of str
        Sentences about what was left out.
    """

    prediction: xr.DataArray
    coarse: xr.DataArray
    fine: xr.DataArray | None
    truth: xr.DataArray | None
    training: xr.DataArray | None
    fields: dict[str, xr.DataArray]
    space: Scaling
    notes: list[str]

    @property
    def units(self) -> str:
        """Units of the values."""
        return units_of(self.prediction) or ""

    @property
    def transformed_units(self) -> str:
        """Units that curves are made in."""
        return transformed_units(self.space.transform, self.units)


def transformed_units(name: str, units: str) -> str:
    if name == "identity":
        return units
    return name if units in ("", "1") else f"{name} {units}"


def gather(
    prediction: xr.DataArray, coarse: xr.DataArray, fine: xr.DataArray | None, transform: str
) -> Records:
    """Check the records, and bring them to the same region, season and units.

    Raises
    ------
    DataError
        If one is no DataArray, has further dimensions or other units.
    GridError
        If no coarse cell lies in the region, or the fine grid is not the prediction's.
    TimeAxisError
        If there is no time, or no day in common with the coarse record.
    """
    given = {"prediction": prediction, "coarse": coarse, "fine": fine}
    here = {name: _checked(da, name, prediction) for name, da in given.items() if da is not None}
    prediction = here["prediction"]
    coarse = here["coarse"]
    fine = here.get("fine")
    _check_units(here)
    inside = _in_region(coarse, prediction)
    check_calendars(
        prediction[require_time(prediction, "It")],
        coarse[require_time(coarse, "It")],
        ("the prediction", "the coarse record"),
    )
    if not shared(prediction, coarse).any():
        raise TimeAxisError(_nothing_in_common(prediction, coarse))
    truth = training = None
    if fine is not None:
        _check_grid(fine, prediction)
        is_truth = shared(fine, prediction)
        truth = _days(fine, is_truth)
        training = _days(fine, ~is_truth)
    notes: list[str] = []
    one = prediction.isel({MEMBERS: 0}, drop=True) if MEMBERS in prediction.dims else prediction
    references = {"coarse": inside, "fine": _reference(fine, training, notes)}
    seasonal = {n: _season(da, one, n, notes) for n, da in references.items() if da is not None}
    space = choose_transform([one.data, *(da.data for da in seasonal.values())], transform)
    units = transformed_units(space.transform, units_of(one) or "")
    fields = {
        name: da.copy(data=space.transform_only(da.data)).assign_attrs(units=units)
        for name, da in {"prediction": one, **seasonal}.items()
    }
    return Records(
        prediction=prediction,
        coarse=coarse,
        fine=fine,
        truth=truth,
        training=training,
        fields=fields,
        space=space,
        notes=notes,
    )


def shared(da: xr.DataArray, other: xr.DataArray) -> Any:
    """Return which days of `da` the other record has too."""
    ours = da[require_time(da, "It")]
    theirs = other[require_time(other, "It")]
    names = (f"{da.name or 'One record'}", f"{other.name or 'the other record'}")
    return match_times(ours, theirs, names) >= 0


def days_of(field: xr.DataArray) -> int:
    """Return the number of days of a record, whatever its time step."""
    return int(np.unique(days(field[require_time(field, "It")])).size)


def period(da: xr.DataArray) -> str:
    """Return the first and last day of a record."""
    time = da[require_time(da, "It")].values
    return f"{str(time[0])[:10]} to {str(time[-1])[:10]}"


def _checked(da: Any, name: str, prediction: Any) -> xr.DataArray:
    if not isinstance(da, xr.DataArray):
        raise DataError(
            f"{name} is a {type(da).__name__}; give a DataArray (time, lat, lon), such as one "
            "variable of a Dataset."
        )
    da = located(da, f"{name!r}", prediction if isinstance(prediction, xr.DataArray) else None)
    da = check_some(da, f"{name!r}")
    time = require_time(da, f"{name!r}")
    axes = find_axes(da)
    known = {time, axes.y, axes.x, *([MEMBERS] if name == "prediction" else [])}
    further = sorted(str(d) for d in da.dims if d not in known)
    if further:
        raise DataError(
            f"{name} has the further dimensions {further}; select one entry of each. Only the "
            f"prediction may have one more: {MEMBERS!r}."
        )
    return check_time(da, f"{name!r}")


def _check_units(records: dict[str, xr.DataArray]) -> None:
    found = {name: units_of(da) for name, da in records.items() if "units" in da.attrs}
    if odd_one_out(found):
        listed = ", ".join(f"{name} {said(text)}" for name, text in found.items())
        raise DataError(f"Units differ: {listed}. Convert the records to one unit.")


def _in_region(coarse: xr.DataArray, prediction: xr.DataArray) -> xr.DataArray:
    """Select the coarse cells whose centres lie within the prediction's outermost centres."""
    here = find_axes(prediction)
    there = find_axes(coarse)
    lat = prediction[here.latitude]
    lon = prediction[here.longitude]
    west = float(lon.values.flat[0])
    span = np.mod(lon - west + 180, 360) - 180
    offset = np.mod(coarse[there.longitude] - west + 180, 360) - 180
    inside = (coarse[there.latitude] >= lat.min()) & (coarse[there.latitude] <= lat.max())
    inside = inside & (offset >= span.min()) & (offset <= span.max())
    rows = inside.any(there.x)
    columns = inside.any(there.y)
    if min(int(rows.sum()), int(columns.sum())) < 2:
        raise GridError(
            f"The coarse record has fewer than 2 x 2 cells in the prediction's region: it has "
            f"{describe_grid(coarse)}; the prediction {describe_grid(prediction)}. Give the coarse "
            "record that covers the prediction."
        )
    return coarse.isel({there.y: np.flatnonzero(rows), there.x: np.flatnonzero(columns)})


def _check_grid(fine: xr.DataArray, prediction: xr.DataArray) -> None:
    if not same_grid(fine, prediction):
        raise GridError(
            f"The fine record and the prediction are on different grids: {describe_grid(fine)}; "
            f"{describe_grid(prediction)}. Regrid one of them."
        )


def _nothing_in_common(prediction: xr.DataArray, coarse: xr.DataArray) -> str:
    return (
        f"The prediction ({period(prediction)}) and the coarse record ({period(coarse)}) have no "
        "day in common; give the coarse record that the prediction was made from."
    )


def _days(da: xr.DataArray, chosen: Any) -> xr.DataArray | None:
    name = require_time(da, "It")
    return da.isel({name: np.flatnonzero(chosen)}) if chosen.any() else None


def _reference(
    fine: xr.DataArray | None, training: xr.DataArray | None, notes: list[str]
) -> xr.DataArray | None:
    """Return the fine training days; the whole fine record where hardly any are left."""
    if fine is None:
        return None
    if training is not None and days_of(training) >= LEAST:
        return training
    notes.append(
        "Nearly all days of the fine record are days of the prediction, so the curves are held "
        "against the truth of the same days."
    )
    return fine


def _season(
    da: xr.DataArray, prediction: xr.DataArray, name: str, notes: list[str]
) -> xr.DataArray:
    """Select the days in the months of the prediction, where there are enough."""
    time = require_time(da, "It")
    wanted = np.unique(months(prediction[require_time(prediction, "It")]))
    chosen = np.isin(months(da[time]), wanted)
    if chosen.all():
        return da
    kept = da.isel({time: np.flatnonzero(chosen)})
    count = days_of(kept) if chosen.any() else 0
    if count < LEAST:
        notes.append(
            f"The {name} record has only {count} days in the months of the prediction, so "
            "its curves are those of the whole record; seasons may differ."
        )
        return da
    return kept
