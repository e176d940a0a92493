"""What a record is of, rain or temperature, and its values in mm a day or in degrees Celsius."""

from __future__ import annotations

import re
from typing import Any

import xarray as xr

from xdownscale.core.errors import DataError, check_option
from xdownscale.core.units import conversion, said, units_of

KINDS = ("precipitation", "temperature", "other")
_TARGETS = {"precipitation": "mm day-1", "temperature": "degC"}
_RAIN = (  # units that rain is given in, and mm a day in one of them
    ("mm day-1", 1.0),
    ("mm", 1.0),  # the amount of a day
    ("kg m-2 s-1", 86400.0),
    ("kg m-2", 1.0),
)
_NAMES = re.compile(r"precip|rain|^(pr|prec|prcp|tp|rr|ppt|pluie)$", re.IGNORECASE)


def factor_of_rain(units: str | None) -> float | None:
    """Return mm a day in one of some units; None where they are not of rain.

    Masses are of water, of which 1 kg m-2 is 1 mm; amounts are those of a day.

    Examples
    --------
    >>> factor_of_rain("kg m-2 s-1"), factor_of_rain("m"), factor_of_rain("m s-1")
    (86400.0, 1000.0, 86400000.0)
    >>> factor_of_rain("K") is None
    True
    """
    for wanted, factor in _RAIN:
        found = conversion(units, wanted)
        if found is not None:
            return found[0] * factor
    return None


def kind_of(da: xr.DataArray) -> str:
    """Return what a record is of, by its units and its names.

    Parameters
    ----------
    da : DataArray

    Returns
    -------
    str
        ``"temperature"`` for units of temperature; ``"precipitation"`` for units in mm, and for
        others of rain where a name says so too, since ``kg m-2`` and ``m`` may be of anything;
        else ``"other"``.

    Examples
    --------
    >>> kind_of(xr.DataArray(1.0, attrs={"units": "K"}))
    'temperature'
    >>> kind_of(xr.DataArray(1.0, name="dust", attrs={"units": "kg m-2"}))
    'other'
    """
    units = units_of(da)
    if conversion(units, "K") is not None:
        return "temperature"
    names = (da.name, da.attrs.get("standard_name"), da.attrs.get("long_name"))
    named = any(_NAMES.search(str(name)) for name in names if name)
    if factor_of_rain(units) is not None and (named or "mm" in str(units)):
        return "precipitation"
    return "other"


def checked_kind(da: xr.DataArray, kind: str | None, needed: dict[str, str], what: str) -> str:
    """Return what a record is of; raise `DataError` where an index is of something else.

    Parameters
    ----------
    da : DataArray
    kind : str or None
        What the caller says; None: by units and names.
    needed : dict of str to str
        Indices asked for by name -> the kind that they are of.
    what : str
        What the record is, for the message.

    Returns
    -------
    str
    """
    if kind is not None:
        check_option("kind of record", kind, KINDS)
    units = units_of(da)
    named = {n: k for n, k in needed.items() if k in _TARGETS}
    kinds = set(named.values()) | ({kind} & set(_TARGETS))
    for each in sorted(k for k in kinds if k):
        fits = factor_of_rain(units) if each == "precipitation" else conversion(units, "degC")
        if fits is None:
            whose = [n for n, k in named.items() if k == each] or [f"kind={kind!r}"]
            raise DataError(
                f"{what} is in {said(units)}, and {', '.join(whose)} is of {each}, in "
                f"{_TARGETS[each]}. Give a record of {each} with its units, for instance "
                f"attrs['units'] = {'mm day-1' if each == 'precipitation' else 'K'!r}."
            )
    if kind:
        return kind
    return str(next(iter(kinds))) if len(kinds) == 1 else kind_of(da)


def converted(da: xr.DataArray, kind: str) -> xr.DataArray:
    """Return a record in mm a day, in degrees Celsius, or as it is.

    Parameters
    ----------
    da : DataArray
        Lazy or not.
    kind : str

    Returns
    -------
    DataArray
        Of float64 where something was converted.
    """
    units: Any = units_of(da)
    if kind not in _TARGETS:
        return da
    scale = factor_of_rain(units)
    offset = 0.0
    if kind == "temperature":
        scale, offset = conversion(units, "degC") or (1.0, 0.0)
    data = da.data if scale == 1 and offset == 0 else da.data.astype(float) * scale + offset
    return da.copy(data=data).assign_attrs(units=_TARGETS[kind])
