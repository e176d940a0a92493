"""Arrays with units of their own (pint): taken as plain arrays with the attribute ``units``.

Everything below works with numpy and dask arrays whose units stand in ``attrs["units"]``. Records
pass through `as_plain` where they enter (`core.values`, `core.located`, and the targets of grids).
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any, TypeVar, cast

import numpy as np
import xarray as xr

Record = TypeVar("Record")
_LONG = ("year", "degree", "knot")  # their symbols mean something else to UDUNITS, or nothing
_OTHER = {"delta_degree_Celsius": "K"}  # CF has no unit of temperature differences


def is_quantity(array: Any) -> bool:
    """Tell whether an array is one of pint, or one of dask with chunks of pint.

    Parameters
    ----------
    array : object
        As it lies in a variable; it is not read.

    Examples
    --------
    >>> import pint
    >>> is_quantity(pint.UnitRegistry().Quantity(np.ones(2), "m")), is_quantity(np.ones(2))
    (True, False)
    """
    return _of_pint(array) or _of_pint(getattr(array, "_meta", None))


def _of_pint(array: Any) -> bool:
    pint = sys.modules.get("pint")  # without it there is no such array
    return pint is not None and isinstance(array, pint.Quantity)


def as_plain(record: Record) -> Record:
    """Return a record whose arrays have no units of their own: these stand in ``attrs["units"]``.

    Parameters
    ----------
    record : DataArray or Dataset
        Anything else stays as it is. Values and coordinates may be arrays of pint, numpy or dask
        within them; indexes of pint-xarray too.

    Returns
    -------
    DataArray or Dataset
        `record` itself where nothing is of pint. Magnitudes are neither copied nor computed.

    Examples
    --------
    >>> import pint
    >>> values = pint.UnitRegistry().Quantity(np.ones(2), "kg / m**2")
    >>> as_plain(xr.DataArray(values, dims="x"))
    <xarray.DataArray (x: 2)> Size: 16B
    array([1., 1.])
    Dimensions without coordinates: x
    Attributes:
        units:    kg m-2
    """
    found: Any = record
    if not isinstance(record, xr.DataArray | xr.Dataset):
        return record  # whoever looks for its axes says what it is
    arrays = [*record.coords.values(), *getattr(record, "data_vars", {"": record}).values()]
    if not any(is_quantity(each.variable._data) for each in arrays):
        return record
    names = [name for name, coord in record.coords.items() if is_quantity(coord.variable._data)]
    if names:
        found = _with_plain_coords(found, names)
    if isinstance(found, xr.Dataset):
        found = found.assign(
            {
                name: _plain_variable(da.variable)
                for name, da in found.data_vars.items()
                if is_quantity(da.variable._data)
            }
        )
    elif is_quantity(found.variable._data):
        variable = _plain_variable(found.variable)
        found = found.copy(data=variable._data).assign_attrs(variable.attrs)
    return cast(Record, found)


def _with_plain_coords(record: Any, names: list[Hashable]) -> Any:
    """Return a record some of whose coordinates, and their indexes, have no units any more."""
    variables = {name: _plain_variable(record[name].variable) for name in names}
    indexes = {}
    for name in names:
        # of pint-xarray: it holds the values in memory where the coordinate was cut into chunks
        inner = getattr(record.xindexes.get(name), "index", None)
        if isinstance(inner, xr.Index):
            attrs = variables[name].attrs
            variables[name] = inner.create_variables()[name]
            variables[name].attrs = attrs
            indexes[name] = inner
    indexed = xr.Coordinates({name: variables.pop(name) for name in indexes}, indexes)
    return record.drop_vars(names).assign_coords(variables).assign_coords(indexed)


def plain_parts(given: Any) -> Any:
    """Return what `as_plain` does for a record, and for those within dicts, lists and tuples.

    Parameters
    ----------
    given : object
        Arguments of a function, or one of them.

    Examples
    --------
    >>> plain_parts(("bilinear", {"seed": 3}))
    ('bilinear', {'seed': 3})
    """
    if isinstance(given, xr.DataArray | xr.Dataset):
        return as_plain(given)
    if type(given) is dict:
        return {key: plain_parts(value) for key, value in given.items()}
    return type(given)(map(plain_parts, given)) if type(given) in (tuple, list) else given


def _plain_variable(variable: xr.Variable) -> xr.Variable:
    """Return a variable of pint as one of numpy or dask."""
    data: Any = variable._data
    text = spelled(data)
    if _of_pint(data):
        data = data.magnitude
    else:  # chunks of pint
        meta = np.empty((0,) * data.ndim, data.dtype)
        units = f"{data._meta.units:D}"  # a text: other processes have other registries
        data = data.map_blocks(_magnitude, units, dtype=data.dtype, meta=meta)
    attrs = variable.attrs | {"units": text}
    return xr.Variable(variable.dims, data, attrs, variable.encoding)


def _magnitude(block: Any, units: str) -> Any:
    return block.m_as(units)


def spelled(array: Any) -> str:
    """Return the units of an array of pint as CF and UDUNITS spell them.

    Parameters
    ----------
    array : pint.Quantity or dask array
        One for which `is_quantity` is true; units are of any registry.

    Returns
    -------
    str
        Symbols with their powers; names where a symbol is not ASCII or not known to UDUNITS.

    Examples
    --------
    >>> import pint
    >>> quantity = pint.UnitRegistry().Quantity
    >>> [spelled(quantity(1.0, text)) for text in ("kg/m**2/s", "degC", "percent", "")]
    ['kg m-2 s-1', 'degree_Celsius', 'percent', '1']
    """
    units = (array if _of_pint(array) else array._meta).units
    powers = dict(units._units)
    # divisors last, as CF writes them
    names = sorted(powers, key=lambda name: powers[name] < 0)
    words = [_word(units, name) + _power(powers[name]) for name in names]
    return " ".join(words) or "1"


def _word(units: Any, name: str) -> str:
    """Return the symbol of a unit, or its name."""
    if name in _OTHER or name in _LONG:
        return _OTHER.get(name, name)
    symbol = str(units._REGISTRY.get_symbol(name))
    return symbol if symbol.isascii() and symbol.replace("_", "").isalpha() else name


def _power(power: Any) -> str:
    return "" if power == 1 else f"{power:g}"
