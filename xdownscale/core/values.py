"""Values of arrays: real, decoded numbers, or an error that says what they are instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.coords import require_array
from xdownscale.core.errors import DataError, require_real
from xdownscale.core.quantities import as_plain

_FILLS = ("_FillValue", "missing_value")
_PACKED = {"scale_factor": 1.0, "add_offset": 0.0}  # and the value that packs nothing
_DECODE = (
    "Decode the record first, with xarray.decode_cf(da.to_dataset()), or drop the attribute where "
    "the values are decoded already."
)


def check_values(da: xr.DataArray, what: str = "The field") -> xr.DataArray:
    """Return an array whose values are real, decoded numbers of numpy or dask, or raise.

    Parameters
    ----------
    da : DataArray
        Lazy or not. Values are read only where they are in memory and an attribute names a fill
        value.
    what : str
        What it is, for the message.

    Returns
    -------
    DataArray
        `da` itself; an array of pint as its magnitude, with ``attrs["units"]``.

    Raises
    ------
    DataError
        For values that are no real numbers (time spans, dates, texts, complex numbers, objects),
        arrays of other kinds (sparse, of cubed, on a GPU), and values that are not decoded:
        attributes ``scale_factor``, ``add_offset`` or ``_Unsigned`` beside them, or a value that
        ``_FillValue`` or ``missing_value`` names.

    Examples
    --------
    >>> check_values(xr.DataArray([1.0, np.nan])).size
    2
    >>> check_values(xr.DataArray([1.0, -9999.0], attrs={"_FillValue": -9999.0}), "The truth")
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.DataError: The truth has 1 of 2 values equal to its attribute ...
    """
    require_array(da)
    da = plain_array(da, what)
    require_real(da.dtype, what)
    _check_decoded(da, what)
    return da


def check_some(da: xr.DataArray, what: str = "The field") -> xr.DataArray:
    """Return what `check_values` does; raise too where an array has no value at all.

    Parameters
    ----------
    da : DataArray
        Lazy or not.
    what : str
        What it is, for the message.

    Examples
    --------
    >>> check_some(xr.DataArray([1.0], dims="x")[:0], "The record")
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.DataError: The record has no value: its sizes are {'x': 0}...
    """
    da = check_values(da, what)
    if not da.size:
        sizes = {str(dim): size for dim, size in da.sizes.items()}
        raise DataError(f"{what} has no value: its sizes are {sizes}. Was a selection empty?")
    return da


def plain_array(da: xr.DataArray, what: str = "The field") -> xr.DataArray:
    """Return a record with an array of numpy or dask, or raise; values of any type.

    Parameters
    ----------
    da : DataArray
        Lazy or not; nothing is read.
    what : str
        What it is, for the message.

    Returns
    -------
    DataArray
        `da` itself; an array of pint as its magnitude, with ``attrs["units"]``.

    Raises
    ------
    DataError
        For other kinds of arrays: sparse, on a GPU, of cubed; chunks of such arrays too.

    Examples
    --------
    >>> da = xr.DataArray(["a text"])
    >>> plain_array(da) is da
    True
    """
    require_array(da, what)
    da = as_plain(da)
    data = da.variable._data
    array = getattr(data, "_meta", data)  # what the chunks of dask are
    kind = type(array)
    if kind is np.ndarray or isinstance(array, np.generic) or not _is_duck(kind):
        return da
    package = kind.__module__.split(".")[0]
    chunks = array is not data
    remedy = _IN_CHUNKS if chunks else _REMEDIES.get(package, _IN_MEMORY)
    raise DataError(
        f"{what} holds {'chunks of ' if chunks else ''}a {package} {kind.__name__}. Values are "
        f"taken from arrays of numpy and dask, and no others are read unasked: {remedy}"
    )


def as_floats(da: xr.DataArray) -> xr.DataArray:
    """Return an array as float64 unless it is float32 or float64 already.

    Differences of unsigned and short integers wrap round, and sums of float16 overflow.

    Parameters
    ----------
    da : DataArray
        Of real numbers; lazy or not.

    Returns
    -------
    DataArray
        `da` itself where nothing had to be changed.

    Examples
    --------
    >>> as_floats(xr.DataArray(np.array([0, 1], "uint8"), dims="x")).diff("x").item()
    1.0
    """
    return da if da.dtype in (np.float32, np.float64) else da.astype(np.float64)


_DUCK = ("__array_function__", "__array_namespace__")
_IN_MEMORY = "`.as_numpy()` of xarray reads it into memory as a numpy array."
_IN_CHUNKS = (
    "make them numpy arrays, with `da.copy(data=da.data.map_blocks(f))`, where f is what its "
    "package converts with (`numpy.asarray`, `.todense`, `.get`)."
)
_REMEDIES = {
    "cubed": "open the record with `chunks={}` and dask as chunk manager "
    "(`chunked_array_type='dask'`), or read it into memory with `.as_numpy()` of xarray.",
    "virtualizarr": "its references hold no values: write them with `.vz.to_kerchunk('refs.json', "
    "format='json')`, and open these with `xarray.open_dataset('refs.json', engine='kerchunk', "
    "chunks={})`.",
}


def _is_duck(kind: type) -> bool:
    """Tell whether a kind of array is one that stands in for numpy's, and not dask's."""
    return kind.__module__.split(".")[0] != "dask" and any(hasattr(kind, name) for name in _DUCK)


def _check_decoded(da: xr.DataArray, what: str) -> None:
    """Raise for values that attributes say are not decoded."""
    for name, neutral in _PACKED.items():
        if name in da.attrs and not _equals(da.attrs[name], neutral):
            raise DataError(
                f"{what} has the attribute {name}={da.attrs[name]!r}: its values are packed, not "
                f"physical. {_DECODE}"
            )
    if str(da.attrs.get("_Unsigned", "")).lower() == "true" and da.dtype.kind == "i":
        raise DataError(
            f"{what} has the attribute _Unsigned and values of type {da.dtype}: they are not "
            f"decoded. {_DECODE}"
        )
    for name in _FILLS:
        if fills := _numbers(da.attrs.get(name)):
            _check_fills(da, what, name, fills)


def _check_fills(da: xr.DataArray, what: str, name: str, fills: list[float]) -> None:
    """Raise where an array has, or may have, values that an attribute says are missing."""
    said = f"its attribute {name}={da.attrs[name]!r}"
    if not isinstance(da.variable._data, np.ndarray):
        raise DataError(
            f"{what} is not read yet and bears {said}, which xarray removes when it decodes; its "
            f"missing values would count as numbers. {_DECODE}"
        )
    values = da.values
    wanted = np.asarray(fills)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what the dtype cannot hold is infinite there
            wanted = wanted.astype(values.dtype)
    hit = np.isin(values, wanted)
    if hit.any():
        raise DataError(
            f"{what} has {int(hit.sum())} of {values.size} values equal to {said}: they are "
            f"missing, and would count as numbers. {_DECODE} Or mask them, with "
            f".where(da != {fills[0]:g})."
        )


def _numbers(given: Any) -> list[float]:
    """Return the finite numbers of an attribute; none where it is no number."""
    try:
        values = np.atleast_1d(np.asarray(given, dtype=float)).ravel()
    except (TypeError, ValueError):
        return []
    return [float(v) for v in values if np.isfinite(v)]


def _equals(given: Any, neutral: float) -> bool:
    found = _numbers(given)
    return all(value == neutral for value in found)
