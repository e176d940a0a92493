"""The variables of a record, and which coarse one is which fine one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from xdownscale.errors import DataError, GridError
from xdownscale.labels import find_axes, require_array, require_time


def variables(record: xr.DataArray | xr.Dataset, what: str) -> dict[str, xr.DataArray]:
    """Return the variables of a record by name; each has time, latitude and longitude.

    Parameters
    ----------
    record : DataArray or Dataset
        A record.
    what : str
        What it is, for the message.

    Raises
    ------
    DataError
        If a Dataset has no variable.
    GridError, TimeAxisError
        If a variable has other dimensions.
    """
    if isinstance(record, xr.DataArray):
        return {str(record.name): record}
    if not isinstance(record, xr.Dataset):
        raise DataError(
            f"{what} is a {type(record).__name__}; give a DataArray, or a Dataset of several."
        )
    found = {str(name): da for name, da in record.data_vars.items()}
    if not found:
        raise DataError(f"{what} is a Dataset without variables; give one that has some.")
    for name, da in found.items():
        check_dims(da, f"The variable {name!r} of {what[0].lower() + what[1:]}")
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
        Record to look at.
    what : str
        What it is, for the message.

    Raises
    ------
    DataError
        If it is no DataArray of real numbers.
    GridError, TimeAxisError
    """
    require_array(record, what)
    if record.dtype.kind not in "iufb":
        raise DataError(
            f"{what} has values of type {record.dtype}; give real numbers, for instance with "
            "record.astype('float32')."
        )
    axes = find_axes(record)
    require_time(record, what)
    extra = [d for d in record.dims if d not in (axes.time, axes.y, axes.x)]
    if extra:
        raise GridError(
            f"{what} has the extra dimensions {extra}; give one with time, latitude and longitude "
            "only, for example record.isel({dim}=0).".replace("{dim}", str(extra[0]))
        )
