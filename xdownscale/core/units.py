"""Units of measurement: compared by meaning, never guessed and never converted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from xdownscale.core.quantities import is_quantity, spelled

_FACTOR = re.compile(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)(?:\s*\*(?!\*)\s*|\s+|$)(.*)", re.DOTALL)
_TIMES = re.compile(r"(?<=[A-Za-z\d])[.·](?=[A-Za-z])")  # kg.m-2
_POWER = re.compile(
    r"(?<=[A-Za-z])(?![A-Za-z])(?<![0-9\-][eE])(?<![0-9\-])(?=[0-9\-])"
)  # the end of a word with a number behind it: m-2, s2
_WHOLE = {  # texts that mean something else within a unit, or cannot be read
    "C": "degC",
    "deg C": "degC",
    "degrees C": "degC",
    "degrees Celsius": "degC",
    "mb": "millibar",
    "Mb": "millibar",
    "-": "1",
    "unitless": "1",
    "fraction": "1",
}
_CLOSE = 1e-9  # relative difference of two scales that are one


def units_of(thing: Any) -> str | None:
    """Return the units attribute of an array as text; None where it has none.

    Parameters
    ----------
    thing : DataArray or Variable
        Only its attributes are looked at, and the units of an array of pint.

    Returns
    -------
    str or None
        ``""`` and ``"1"`` stay what they are: an empty attribute, and a pure number.

    Examples
    --------
    >>> import xarray as xr
    >>> units_of(xr.DataArray(1.0, attrs={"units": " K"})), units_of(xr.DataArray(1.0))
    ('K', None)
    >>> units_of(xr.DataArray(1.0, attrs={"units": b"K"}))
    'K'
    """
    data = getattr(getattr(thing, "variable", thing), "_data", None)
    if is_quantity(data):
        return spelled(data)
    found = thing.attrs.get("units")
    return None if found is None else _text(found).strip()


def _text(units: Any) -> str:
    """Return units as text; h5py and old files give them as bytes."""
    if isinstance(units, bytes):
        return units.decode("utf-8", "replace").rstrip("\0")
    return str(units)


def transformed_units(units: str | None, transform: str) -> str | None:
    """Return the units of transformed values; None where those of the values are not told.

    Parameters
    ----------
    units : str or None
        As `units_of` returns them.
    transform : str
        Name of the transform.

    Examples
    --------
    >>> transformed_units("K", "log10"), transformed_units("K", "identity")
    ('log10(K)', 'K')
    >>> transformed_units(None, "log10") is None
    True
    """
    if not units or transform == "identity":
        return units or None
    return f"{transform}({units})"


def same_units(first: str | None, second: str | None) -> bool:
    """Tell whether two units mean the same.

    Parameters
    ----------
    first, second : str or None
        Units as attributes spell them; None where there is no attribute, which contradicts nothing.

    Returns
    -------
    bool
        Spellings of one unit are the same (``kg m-2`` and ``kg/m^2``, ``hPa`` and ``mbar``); other
        scales and origins are not (``g`` and ``kg``, ``K`` and ``degC``). An empty attribute says
        nothing and is only the same as another one: ``""`` is not ``"1"``. Units that are not
        understood are the same where they are spelled alike.

    Examples
    --------
    >>> same_units("kg m-2 s-1", "kg/m^2/s"), same_units("K", "degC"), same_units("", "1")
    (True, False, False)
    """
    if first is None or second is None:
        return True
    one = " ".join(_text(first).split())
    other = " ".join(_text(second).split())
    if one == other:
        return True
    if "" in (one, other):
        return False
    meanings = (_meaning(one), _meaning(other))
    if None in meanings:
        return False
    (dimension, low, high), (dimension_other, low_other, high_other) = meanings  # type: ignore[misc]
    scale = max(abs(high - low), abs(low), abs(low_other))
    near = abs(low - low_other) <= _CLOSE * scale and abs(high - high_other) <= _CLOSE * scale
    return bool(dimension == dimension_other and near)


def odd_one_out(units: Mapping[str, str | None]) -> tuple[str, str] | None:
    """Return the names of the first two entries whose units differ, or None.

    Parameters
    ----------
    units : mapping of str to str or None
        Name of a record -> its units.

    Returns
    -------
    (str, str) or None

    Examples
    --------
    >>> odd_one_out({"coarse": "K", "fine": None, "prediction": "degC"})
    ('coarse', 'prediction')
    """
    known = {name: text for name, text in units.items() if text is not None}
    names = list(known)
    for name in names[1:]:
        if not same_units(known[names[0]], known[name]):
            return names[0], name
    return None


def said(units: str | None) -> str:
    """Return units as a message names them.

    Parameters
    ----------
    units : str or None
        As `units_of` returns them.

    Returns
    -------
    str

    Examples
    --------
    >>> said("K"), said(""), said(None)
    ("'K'", "'' (empty, which is not '1')", 'no units')
    """
    if units is None:
        return "no units"
    return repr(units) if units else f"{units!r} (empty, which is not '1')"


def conversion(given: str | None, wanted: str | None) -> tuple[float, float] | None:
    """Return scale and offset from one unit to another; None where they cannot be converted.

    Parameters
    ----------
    given, wanted : str or None
        Units as attributes spell them.

    Returns
    -------
    (float, float) or None
        A value in `wanted` is scale times the value in `given`, plus offset.

    Examples
    --------
    >>> conversion("K", "degC"), conversion("g kg-1", "kg kg-1"), conversion("K", "m")
    ((1.0, -273.15), (0.001, 0.0), None)
    """
    meanings = [_meaning(" ".join(str(each).split())) for each in (given, wanted)]
    if None in (given, wanted) or None in meanings:
        return None
    (dimension, low, high), (other, own_low, own_high) = meanings  # type: ignore[misc]
    if dimension != other or own_high == own_low:
        return None
    scale = (high - low) / (own_high - own_low)
    offset = (low - own_low) / (own_high - own_low)
    return float(f"{scale:.12g}"), float(f"{offset:.12g}")


@lru_cache(maxsize=256)
def _meaning(text: str) -> tuple[str, float, float] | None:
    """Return the dimension of a unit, and 0 and 1 of it in base units; None if not understood."""
    registry = _registry()
    text = _WHOLE.get(text, text)
    factor = 1.0
    rest = text
    if found := _FACTOR.fullmatch(text):
        factor = float(found[1])
        rest = found[2]
    try:
        unit = registry.parse_units(rest)
        quantities = [registry.Quantity(value, unit).to_base_units() for value in (0.0, factor)]
    except Exception:  # the parser meets any text, and raises errors of a dozen kinds, asserts too
        return None
    values = [float(np.asarray(quantity.magnitude)) for quantity in quantities]
    return str(dict(sorted(quantities[0].dimensionality.items()))), values[0], values[1]


@lru_cache(maxsize=1)
def _registry() -> Any:
    """Return a registry of units as CF and UDUNITS spell them.

    `cf_xarray.units` has such a registry too, but importing it replaces the application's own
    registry, and imports matplotlib.
    """
    import pint  # late: a second, and only units that are spelled differently need it

    registry: Any = pint.UnitRegistry(
        autoconvert_offset_to_baseunit=True,
        preprocessors=[
            lambda text: _TIMES.sub(" ", text),
            lambda text: _POWER.sub("**", text),
            lambda text: text.replace("%", "percent"),
        ],
    )
    for line in (
        "@alias degC = deg_C = Celsius = celsius = degrees_Celsius = degree_celsius",
        "@alias degC = degrees_C = degree_C",
        "@alias degK = deg_K = Kelvin",
        "degrees_north = degree = degreeN = degree_N = degreesN = degrees_N = degree_north",
        "degrees_east = degree = degreeE = degree_E = degreesE = degrees_E = degree_east",
        "@alias meter = gpm",
        "dobson_unit = [column] = DU = dobson = Dobson",
        "practical_salinity_unit = [salinity] = psu = PSU",
    ):
        registry.define(line)
    return registry
