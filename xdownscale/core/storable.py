"""What a file can hold: names, attributes and coordinates of a variable that will be written.

The fields that a model generates have the labels of its fine record. A record may come from
another kind of file (Zarr 2, packed netCDF), or from memory, with labels that no file can hold:
`storable` mends what does no harm, `check_names` raises for the rest, before anything is trained.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.coords import Labels
from xdownscale.core.errors import DataError

PACKING = frozenset(
    {"_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "_Unsigned"}
)
_HDF5 = frozenset({"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_ARRAY_DIMENSIONS"})
_ENCODED = frozenset({"units", "calendar"})  # of decoded times: xarray writes its own
_LONGEST = 200  # bytes of a name: file systems allow 255, netCDF 256
_NAME = re.compile(r"[A-Za-z0-9_\u0080-\U0010ffff][^/\x00-\x1f\x7f]*(?<!\s)")
# names that predictions, and stores of them, use themselves
TAKEN = frozenset({"realization", "bnds", "xdownscale", "zarr.json"})


def storable(labels: Labels) -> Labels:
    """Return the labels of a variable that any file can hold, and that in-memory fields can keep.

    Parameters
    ----------
    labels : Labels
        Labels of a record. Dimensions and their coordinates keep their values.

    Returns
    -------
    Labels
        Without the encodings of the file that the record came from, and without attributes that
        describe how its values were packed; other attributes are texts and numbers. Coordinates
        beside the dimensions that no file can hold (objects, complex numbers, names with a slash)
        are left out.

    Examples
    --------
    >>> from xdownscale.core.coords import to_array
    >>> da = xr.DataArray(
    ...     np.ones((1, 1)),
    ...     dims=("lat", "lon"),
    ...     coords={"lat": [0.0], "lon": [0.0], "crs": np.array(object(), dtype=object)},
    ...     attrs={"units": "K", "source": b"a model", "scale_factor": 1.0},
    ... )
    >>> labels = storable(to_array(da).labels)
    >>> list(labels.coords.variables), labels.attrs
    (['lat', 'lon'], {'units': 'K', 'source': 'a model'})
    """
    coords = labels.coords.drop_encoding()  # a copy
    needed = {*coords.dims, labels.axes.latitude, labels.axes.longitude}
    lost = [name for name in coords.variables if name not in needed and not _fits(coords, name)]
    coords = coords.drop_vars(lost)
    for name, variable in coords.variables.items():
        decoded = variable.dtype.kind in "mM" or _is_cftime(variable)
        attrs = _attributes(variable.attrs)
        variable.attrs = time_attributes(attrs) if decoded else attrs
        if variable.dtype.kind == "S" and name not in coords.dims:
            coords = coords.assign_coords({name: _decoded(variable)})
    return labels._replace(coords=coords, attrs=_attributes(labels.attrs))


def time_attributes(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Return attributes of a time coordinate that a file can hold beside those that it writes.

    Parameters
    ----------
    attrs : dict
        As found; units and calendar among them are of times before they were decoded.

    Examples
    --------
    >>> time_attributes({"units": "days since 2000-01-01", "long_name": "day"})
    {'long_name': 'day'}
    """
    return {k: v for k, v in _attributes(attrs).items() if k not in _ENCODED}


def can_name(name: Hashable) -> bool:
    """Tell whether Zarr, netCDF and file systems can name something so.

    Examples
    --------
    >>> [can_name(name) for name in ("t2m", "2 m", "a/b", "..", "", 5)]
    [True, True, False, False, False, False]
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or name.startswith("__"):
        return False
    return _text(name) == name and len(name.encode()) <= _LONGEST


def check_names(
    name: Hashable | None, dims: Iterable[Hashable], coords: Iterable[Hashable], what: str
) -> None:
    """Raise unless fields with the names of a record can be written to a file.

    Parameters
    ----------
    name : hashable or None
        Name of a fine record; it need not have one.
    dims, coords : iterable of hashable
        Names of its dimensions and coordinates.
    what : str
        What it is, for the message.

    Raises
    ------
    DataError
        If its name, or that of a dimension, is no text, has a slash or control characters, begins
        or ends with something that file formats refuse, or is one that predictions use.

    Examples
    --------
    >>> check_names("a/b", ["lat", "lon"], ["lat", "lon"], "The fine record")
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.DataError: The fine record has the name 'a/b', which no file can hold...
    """
    known = {str(each) for each in (*dims, *coords)}
    if name is not None:
        _check_name(name, what, TAKEN | known | {f"{each}_bnds" for each in known})
    for dim in dims:
        _check_name(dim, f"A dimension of {what[0].lower() + what[1:]}", TAKEN)


def name_in_store(name: Hashable | None, driver: str) -> str:
    """Return the name under which fields are written; those without one take their driver's.

    Parameters
    ----------
    name : hashable or None
        Name of the fine variable.
    driver : str
        Name of the coarse one; ``"None"`` where that has none either.

    Examples
    --------
    >>> name_in_store("t2m", "t"), name_in_store(None, "t"), name_in_store(None, "None")
    ('t2m', 't', 'downscaled')
    """
    if name is not None:
        return str(name)
    return driver if driver != "None" and can_name(driver) else "downscaled"


def plain(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Convert attributes to texts and numbers; anything else becomes text.

    Parameters
    ----------
    attrs : dict
        Attributes of an array.

    Returns
    -------
    dict

    Examples
    --------
    >>> plain({"units": "1", "valid_range": np.array([0.0, 5.0]), "by": b"me"})
    {'units': '1', 'valid_range': [0.0, 5.0], 'by': 'me'}
    """
    return {_text(str(name)): _plain_value(value) for name, value in attrs.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return _text(value.decode("utf-8", "replace"))
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "mM":
        value = value.astype(str)  # tolist() would give whole numbers
    simple = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(simple, list | tuple) and len(simple):
        parts = [_plain_value(part) for part in simple]
        kinds = {type(part) for part in parts}
        return parts if kinds <= {int, float} or kinds == {str} else _text(str(simple))
    if isinstance(simple, bool):
        return int(simple)
    if isinstance(simple, int) and abs(simple) < 2**63:
        return simple
    if isinstance(simple, float) and np.isfinite(simple):
        return simple
    return _text(str(simple))


def _text(value: str) -> str:
    """Return a text that is UTF-8, without lone surrogates and NUL."""
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _attributes(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Return attributes as text and numbers, without those that formats keep for themselves."""
    dropped = PACKING | _HDF5
    return {k: v for k, v in plain(attrs).items() if can_name(k) and k not in dropped}


def _fits(coords: xr.Dataset, name: Hashable) -> bool:
    """Tell whether a file can hold a coordinate."""
    variable = coords.variables[name]
    kind = variable.dtype.kind
    values = kind in "biufmMSU" or (kind == "O" and (_is_cftime(variable) or _is_text(variable)))
    return values and can_name(name) and name not in TAKEN


def _decoded(variable: xr.Variable) -> xr.Variable:
    """Return a coordinate of bytes as text."""
    words = [value.decode("utf-8", "replace") for value in variable.values.ravel().tolist()]
    return xr.Variable(variable.dims, np.array(words, str).reshape(variable.shape), variable.attrs)


def _is_cftime(variable: xr.Variable) -> bool:
    return variable.dtype == object and all(hasattr(v, "calendar") for v in _values(variable))


def _is_text(variable: xr.Variable) -> bool:
    return all(isinstance(value, str) for value in _values(variable))


def _values(variable: xr.Variable) -> Iterable[Any]:
    """Return the values as a list; one of a scalar."""
    return list(np.asarray(variable.values, dtype=object).ravel())


def _check_name(name: Hashable, what: str, taken: frozenset[Hashable]) -> None:
    if not can_name(name):
        raise DataError(
            f"{what} has the name {name!r}, which no file can hold: names are texts of up to "
            f"{_LONGEST} bytes that begin with a letter or a digit, without slashes and control "
            "characters. Rename it, for instance with .rename(...)."
        )
    if name in taken:
        raise DataError(
            f"{what} has the name {name!r}, which predictions need for something else (a "
            "coordinate, its bounds, or what a store knows of itself). Rename it, for instance "
            "with .rename(...)."
        )
