"""Shared parts of all plots: axes, colours, labels, and results computed from fields."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core import units
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import (
    DataError,
    GridError,
    TimeAxisError,
    XDownscaleError,
    check_option,
)
from xdownscale.core.optional import require
from xdownscale.plot._units import units_text

# Okabe and Ito (2008), without the yellow that is lost on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 4)))
GREY = "#8a8a8a"
MEMBERS = "realization"
VARIABLE = "variable"  # of a result for several variables of a Dataset
PURPOSE = "Drawing figures"
_INCH = 0.08  # width of a letter of medium size
_INCH_SMALL = 0.07


def new_axes(ax: Any, size: tuple[float, float] = (6.4, 4.2)) -> Any:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    require("matplotlib", PURPOSE)
    pyplot = require("matplotlib.pyplot", PURPOSE)
    return pyplot.subplots(figsize=size, layout="constrained")[1]


def with_units(words: str, units: object) -> str:
    """Return an axis label, such as ``lag [km]``; without brackets for pure numbers."""
    shown = units_text(units)
    return f"{words} [{shown}]" if shown else words


def measuring(compute: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function of a field with these options; raise for those that it does not have."""
    names = list(inspect.signature(compute).parameters)[1:]
    for name in options:
        check_option(f"option of {compute.__name__}", name, names)
    return functools.partial(compute, **options)


def named(
    results: Any,
    compute: Callable[[xr.DataArray], Any] | None,
    what: str,
    variables: Sequence[str] = (),
    dim: str = "lag",
    *,
    needs_time: bool = False,
) -> dict[str, Any]:
    """Return results by name: one or several, given as such or computed from fields.

    Parameters
    ----------
    results : Dataset, DataArray or mapping of str to these
        Results along `dim`, or fields; a Dataset of fields, or a result along ``variable``, makes
        one result for each variable. Of an ensemble the first realization is taken.
    compute : callable, optional
        From a field to its result; without, fields are refused.
    what : str
        What makes such results, for the message.
    variables : sequence of str
        What a result must have; a DataArray will do where there are none.
    dim : str
        The only dimension that they may have.
    needs_time : bool
        Leave out variables of a Dataset without a time axis.

    Raises
    ------
    DataError
        If something is neither a result of that kind nor a field.
    """
    several = isinstance(results, Mapping) and not isinstance(results, xr.Dataset)
    given = dict(results) if several else {"": results}
    if not given:
        raise DataError(f"There is nothing to draw; give what {what} returns, or a field.")
    listed: dict[str, Any] = {}
    for name, one in given.items():
        is_fields = isinstance(one, xr.Dataset) and compute is not None and dim not in one.dims
        listed |= _by_variable(str(name), _fields(one, needs_time) if is_fields else one)
    found = {}
    for name, one in listed.items():
        label, shown = _first_member(name, one)
        if compute is not None and isinstance(shown, xr.DataArray) and dim not in shown.dims:
            shown = _measured(shown, compute, label)
        _check(shown, variables, dim, what, label)
        found[label] = shown
    return found


def _measured(field: xr.DataArray, compute: Callable[[xr.DataArray], Any], name: str) -> Any:
    """Measure a field; an error says which of several it is about."""
    try:
        return compute(field)
    except XDownscaleError as err:
        if not name:
            raise
        raise type(err)(f"{name!r}: {err}") from err


def _fields(ds: xr.Dataset, needs_time: bool) -> Any:
    """Return the fields of a Dataset by name; the Dataset itself where it has none."""
    from xdownscale.geostat._variables import fields_of

    try:
        return fields_of(ds, needs_time=needs_time)
    except (GridError, TimeAxisError):
        return ds


def _by_variable(name: str, given: Any) -> dict[str, Any]:
    """Take fields by name, or a result of several variables, apart."""
    if isinstance(given, dict):
        parts = given
    elif VARIABLE in getattr(given, "dims", ()):
        parts = {str(v): _one_variable(given, v) for v in given[VARIABLE].values}
    else:
        return {name: given}
    return {f"{name}, {v}" if name else v: part for v, part in parts.items()}


def _one_variable(result: Any, name: Any) -> Any:
    """Select a variable of a result; units that the variables do not share are "various"."""
    part = result.sel({VARIABLE: name}, drop=True)
    if isinstance(part, xr.DataArray):
        return part
    shared = {quantity: da.attrs.get("units", "various") for quantity, da in part.items()}
    return part.assign({n: part[n].assign_attrs(units=units) for n, units in shared.items()})


def _first_member(name: str, given: Any) -> tuple[str, Any]:
    """Select the first realization of an ensemble, and say so in its name, as maps do."""
    if MEMBERS not in getattr(given, "dims", ()):
        return name, given
    one = f"realization 1 of {given.sizes[MEMBERS]}"
    return f"{name}, {one}" if name else one, given.isel({MEMBERS: 0}, drop=True)


def variable(result: xr.Dataset | xr.DataArray, name: str) -> xr.DataArray:
    """Return a variable of a Dataset, or the DataArray itself."""
    return result if isinstance(result, xr.DataArray) else result[name]


def units_of(da: Any) -> str:
    """Return the units of an array, an empty text where it has none."""
    return units.units_of(da) or ""


def axis_units(words: str, curves: Mapping[str, xr.DataArray]) -> tuple[str, dict[str, str]]:
    """Return the label of an axis that curves share, and what the legend calls each of them.

    Curves of different units have them in the legend, since the axis cannot tell them.

    Examples
    --------
    >>> both = {n: xr.DataArray(0.0, attrs={"units": n}) for n in ("K", "m")}
    >>> axis_units("RMSE", both)
    ('RMSE [units: see legend]', {'K': 'K [K]', 'm': 'm [m]'})
    """
    shown = {units_text(units_of(curve)) for curve in curves.values()}
    if len(shown) == 1:
        return with_units(words, units_of(next(iter(curves.values())))), {n: n for n in curves}
    names = {name: with_units(name, units_of(curve)) for name, curve in curves.items()}
    return f"{words} [units: see legend]", names


def title(ax: Any, words: str, date: str) -> None:
    """Write a title on the left, in lines that leave room for the date on the right."""
    width = ax.get_position().width * ax.figure.get_figwidth()
    room = max(16, int((0.9 * width - _INCH_SMALL * len(date)) / _INCH))
    ax.set_title("\n".join(textwrap.wrap(words, room)), loc="left", fontsize="medium")
    ax.set_title(date, loc="right", fontsize="small", color="#5a5a5a")


def title_of_field(ax: Any, results: Any, dim: str) -> None:
    """Write the variable and the period of a field that was measured, where there is one."""
    if not isinstance(results, xr.DataArray) or dim in results.dims or ax.get_title(loc="left"):
        return
    title(ax, words_of(results, ""), _period(results))


def words_of(da: xr.DataArray, default: str) -> str:
    """Return what a variable is called."""
    return str(da.attrs.get("long_name") or da.name or default)


def _period(field: xr.DataArray) -> str:
    """Return the first and the last date of a field, an empty text where it has no time."""
    time = find_axes(field).time
    if time is None or not _tells_dates(field[time]):
        return ""
    ends = field[time].isel({time: [0, -1]}).dt.strftime("%Y-%m-%d").values
    return " to ".join(dict.fromkeys(str(end) for end in ends))


def _tells_dates(time: xr.DataArray) -> bool:
    return time.size > 0 and (time.dtype.kind == "M" or hasattr(time.values[0], "strftime"))


def legend(ax: Any, names: Sequence[str], **options: Any) -> None:
    """Add a legend where there is a name to show: of curves, then of their bands in grey."""
    collections = require("matplotlib.collections", PURPOSE)
    entries = list(zip(*ax.get_legend_handles_labels(), strict=True))
    entries.sort(key=lambda entry: isinstance(entry[0], collections.PolyCollection))
    is_band = [isinstance(handle, collections.PolyCollection) for handle, _ in entries]
    if not any(names) and not any(is_band):
        return
    handles, labels = zip(*entries, strict=True) if entries else ((), ())
    drawn = ax.legend(handles, labels, frameon=False, fontsize="small", **options)
    for shown, grey in zip(drawn.legend_handles, is_band, strict=True):
        if grey and len(names) > 1:
            shown.set(facecolor=GREY, alpha=0.35)


def band(
    ax: Any, x: Any, edges: tuple[xr.DataArray, xr.DataArray], words: str, colour: str
) -> None:
    """Draw a band, which the legend names once: with `words`, or the attribute ``band`` of it."""
    low, high = edges
    if not np.isfinite(low.values + high.values).any():
        return
    said = str(low.attrs.get("band") or words)
    label = None if any(c.get_label() == said for c in ax.collections) else said
    ax.fill_between(x, low.values, high.values, color=colour, alpha=0.18, linewidth=0, label=label)


def label_of(name: str, values: Any) -> str:
    """Return what a legend calls a curve: its name, and that it has no result where it has none."""
    if np.isfinite(np.asarray(values, float)).any():
        return name
    return f"{name} (no result)" if name else "no result"


def say_no_result(ax: Any) -> None:
    """Write into axes without a curve that there is none."""
    place = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, "no result: nothing could be measured", color="#5a5a5a", **place)
    ax.set(xticks=[], yticks=[])  # their numbers would mean nothing


def tidy(ax: Any, x: str, y: str) -> Any:
    """Label the axes, add a light grid, and remove the upper and right spines."""
    ax.set(xlabel=x, ylabel=y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="#000000", alpha=0.08, linewidth=0.8)
    ax.set_axisbelow(True)
    return ax


def plain_ticks(axis: Any, values: Any) -> None:
    """Label a logarithmic axis of positive values with a few plain numbers."""
    ticker = require("matplotlib.ticker", PURPOSE)
    low = float(np.min(values))
    high = float(np.max(values))
    decades = np.log10(high / low)
    steps = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
    axis.set_major_locator(ticker.LogLocator(subs=steps))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _check(given: Any, variables: Sequence[str], dim: str, what: str, name: str) -> None:
    label = f"{name!r}" if name else "What was given"
    if not isinstance(given, xr.Dataset | xr.DataArray):
        raise DataError(
            f"{label} is a {type(given).__name__}; give what {what} returns, or a DataArray with "
            "latitude and longitude."
        )
    missing = [v for v in variables if isinstance(given, xr.DataArray) or v not in given]
    lacking = [dim] if dim not in given.dims else missing
    if lacking:
        listed = ", ".join(repr(n) for n in lacking)
        raise DataError(f"{label} lacks {listed}; give what {what} returns.")
    drawn = [given] if isinstance(given, xr.DataArray) else [given[v] for v in variables]
    further = sorted({str(d) for v in drawn for d in v.dims} - {dim})
    if further:
        raise DataError(
            f"{label} has the further dimensions {further}; average over them or select one entry "
            "first, a curve has only one."
        )
