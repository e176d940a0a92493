"""Apply a diagnostic of one DataArray to each variable of a Dataset."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

import numpy as np
import xarray as xr

from xdownscale.core.coords import auxiliary, find_time
from xdownscale.core.errors import DataError, GridError, TimeAxisError
from xdownscale.core.grids import has_grid, with_bounds, without_bounds
from xdownscale.core.projection import with_mapping, with_positions, without_mapping
from xdownscale.core.quantities import plain_parts
from xdownscale.core.units import units_of
from xdownscale.core.values import check_some

VARIABLE = "variable"
P = ParamSpec("P")
Result_co = TypeVar("Result_co", covariant=True)
_FILL = {"b": False, "i": 0, "u": 0, "U": ""}  # by kind of dtype; NaN for the others


class Diagnostic(Protocol[P, Result_co]):
    """A diagnostic of a DataArray that takes a Dataset too."""

    @overload
    def __call__(self, da: xr.DataArray, /, *args: P.args, **kwargs: P.kwargs) -> Result_co: ...

    @overload
    def __call__(self, da: xr.Dataset, /, *args: Any, **kwargs: Any) -> xr.Dataset: ...


def for_each_variable(
    *, other: str | None = None, needs_time: bool = False
) -> Callable[[Callable[Concatenate[xr.DataArray, P], Result_co]], Diagnostic[P, Result_co]]:
    """Let a diagnostic of a DataArray take a Dataset, and return one Dataset for its variables.

    Parameters
    ----------
    other : str, optional
        Name of a second record among the parameters: a DataArray serves all variables, a Dataset
        gives each variable the record of the same name.
    needs_time : bool
        Whether variables without a time axis are left out, besides those without a grid.

    Returns
    -------
    callable
        A decorator. Without a Dataset the decorated function is called as it is. The variables of
        a Dataset are weighted by the areas within its CF bounds.

    Examples
    --------
    >>> @for_each_variable()
    ... def largest(da):
    ...     return da.max().rename("largest")
    >>> grid = {"lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    >>> field = xr.DataArray(np.eye(2), coords=grid, attrs={"units": "K"})
    >>> found = largest(xr.Dataset({"t": field, "twice": 2 * field, "scalar": 7.0}))
    >>> found.largest.to_series().to_dict()
    {'t': 1.0, 'twice': 2.0}
    """

    def decorate(
        function: Callable[Concatenate[xr.DataArray, P], Result_co],
    ) -> Diagnostic[P, Result_co]:
        signature = _with_dataset(inspect.signature(function), other)
        first = next(iter(signature.parameters))

        @functools.wraps(function)
        def diagnostic(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*plain_parts(args), **plain_parts(kwargs))
            arguments = bound.arguments
            if not any(isinstance(given, xr.Dataset) for given in (*args, *kwargs.values())):
                _check_records(arguments, first, other)
                return _of_arrays(function, bound)
            ds = arguments[first]
            beside = arguments.get(other) if other else None
            if not isinstance(ds, xr.Dataset):
                raise DataError(
                    f"{first} is a {type(ds).__name__} and another argument is a Dataset; give a "
                    "variable of the Dataset instead."
                )
            if not ds.data_vars:
                return xr.Dataset()  # as an empty node of a DataTree, in xr.map_over_datasets
            results = {}
            for name, da in fields_of(ds, needs_time=needs_time).items():
                arguments[first] = da
                if isinstance(beside, xr.Dataset):
                    arguments[str(other)] = _of_the_same_name(beside, name, str(other))
                found = _call(function, arguments, name, (first, other))
                results[name] = without_mapping(found, ds)
            return _combine(results, ds)

        diagnostic.__signature__ = signature  # type: ignore[attr-defined]
        return diagnostic

    return decorate


def _of_arrays(function: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
    """Call a diagnostic of DataArrays, with the positions of projected grids."""
    for key, value in bound.arguments.items():
        if isinstance(value, xr.DataArray):
            bound.arguments[key] = with_positions(value, "The record")
    return function(*bound.args, **bound.kwargs)


def fields_of(ds: xr.Dataset, *, needs_time: bool = False) -> dict[str, xr.DataArray]:
    """Return the variables of a Dataset that have a grid, and a time axis where one is needed.

    Each bears the bounds of its cells. Bounds of coordinates and cell areas are no fields.

    Raises
    ------
    GridError, TimeAxisError
        If no variable is left.
    """
    beside = auxiliary(ds)
    on_grid = {
        str(name): with_mapping(with_bounds(da, ds), ds)
        for name, da in with_positions(ds, "The Dataset").data_vars.items()
        if str(name) not in beside and has_grid(da)
    }
    if not on_grid:
        raise GridError(
            f"None of the variables {list(ds.data_vars)} has latitude and longitude; give a "
            "Dataset with a variable on a grid."
        )
    if not needs_time:
        return on_grid
    found = {name: da for name, da in on_grid.items() if find_time(da) is not None}
    if not found:
        raise TimeAxisError(
            f"None of the variables {list(on_grid)} has a time dimension; give a Dataset with a "
            "variable (time, lat, lon)."
        )
    return found


def _with_dataset(signature: inspect.Signature, other: str | None) -> inspect.Signature:
    """Annotate the records of a function as DataArray or Dataset."""
    first = next(iter(signature.parameters))
    parameters = [
        p.replace(annotation=f"{p.annotation} | xr.Dataset") if name in (first, other) else p
        for name, p in signature.parameters.items()
    ]
    return signature.replace(parameters=parameters)


def _of_the_same_name(ds: xr.Dataset, name: str, what: str) -> xr.DataArray:
    if name not in ds.data_vars:
        raise DataError(
            f"{what} has no variable {name!r} to hold against that of the record; it has "
            f"{list(ds.data_vars)}. Rename it, or select the variables that both have."
        )
    da = ds[name]
    located = with_positions(ds, f"The Dataset {what}")[name]
    return with_mapping(with_bounds(located, ds), ds) if has_grid(located) else da


def _check_records(arguments: dict[str, Any], first: str, other: str | None) -> None:
    """Raise unless the records of a diagnostic have values that it can take; make them plain."""
    arguments[first] = check_some(arguments[first], "The record")
    if other and isinstance(arguments.get(other), xr.DataArray):
        arguments[other] = check_some(arguments[other], f"The record {other!r}")


def _call(
    function: Callable[..., Any],
    arguments: dict[str, Any],
    name: str,
    records: tuple[str, str | None],
) -> xr.Dataset:
    """Return the result of one variable as a Dataset; errors tell which variable it was."""
    try:
        _check_records(arguments, *records)
        result = function(**arguments)
    except Exception as err:
        err.add_note(f"This was found in the variable {name!r} of the Dataset.")
        raise
    return without_bounds(result.to_dataset() if isinstance(result, xr.DataArray) else result)


def _combine(results: Mapping[str, xr.Dataset], ds: xr.Dataset) -> xr.Dataset:
    """Put the results of all variables side by side, along the dimension ``variable``."""
    _check_same_dims(results)
    units = [units_of(ds[name]) or "" for name in results]
    index = xr.DataArray(list(results), dims=VARIABLE, name=VARIABLE)
    first = next(iter(results.values()))
    # coordinates of the Dataset belong to all of its variables; those that were computed do not
    own = [c for c in first.coords if c not in ds.coords and c not in first.indexes]
    kinds = {name: v.dtype.kind for part in results.values() for name, v in part.variables.items()}
    found = xr.concat(
        list(results.values()),
        index,
        data_vars="all",
        coords=own,
        compat="override",
        join="outer",
        fill_value={name: _FILL.get(kind, np.nan) for name, kind in kinds.items()},
        combine_attrs="drop_conflicts",
    )
    attrs = {"long_name": "units of the variable"}
    return found.assign_coords(units=(VARIABLE, units, attrs))


def _check_same_dims(results: Mapping[str, xr.Dataset]) -> None:
    """Raise `GridError` where a quantity has other dimensions for one variable than for another."""
    first, *others = results
    for name in others:
        for quantity in results[name].data_vars:
            here = results[name][quantity].dims
            there = results[first][quantity].dims if quantity in results[first] else here
            if set(here) != set(there):
                raise GridError(
                    f"{quantity} of {name!r} has the dimensions {here}, that of {first!r} "
                    f"{there}: they are no one result. Select variables with the same dimensions, "
                    f"for instance with ds[[{first!r}]]."
                )
