"""An interactive page of maps: one file, without network."""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.coords import find_axes, require_array
from xdownscale.core.errors import DataError, check_option
from xdownscale.core.files import write_whole
from xdownscale.core.optional import require
from xdownscale.core.time import is_subdaily
from xdownscale.core.units import units_of
from xdownscale.core.values import check_values
from xdownscale.plot._colours import colour_scale
from xdownscale.plot._maps import _centred, _middle
from xdownscale.plot._style import MEMBERS, PURPOSE, words_of
from xdownscale.reports import _page
from xdownscale.reports._assembly import check_folder

_SCRIPT = Path(__file__).with_name("explore.js")
_MISSING = 65535  # code of a cell without value
_LEVELS = 65534  # steps between the lowest and the highest value
_BYTES = 9_000_000  # of codes as text; the rest of the page is small
_MEMBERS = 5  # that are kept of many, where not all fit
_CELLS = 250_000  # of a map, where not all fit
_SHADES = 256
_GREY = (217, 217, 217)
Codes = npt.NDArray[np.uint16]


class _Quantised(NamedTuple):
    """Values as whole numbers: value = first + step * code, or its exponential."""

    codes: Codes
    first: float
    step: float
    logarithmic: bool

    def levels(self) -> npt.NDArray[np.float64]:
        """Return the value of each code."""
        level = self.first + self.step * np.arange(_LEVELS + 1)
        return np.asarray(np.exp(level) if self.logarithmic else level)


def explore(
    maps: xr.DataArray, path: str | os.PathLike[str] = "maps.html", *, scale: str = "auto"
) -> Path:
    """Write maps as an interactive page: a slider of time, a list of realizations, values.

    The page is one file of less than 10 MB, which needs no network. The value of the cell under
    the pointer is shown. What does not fit is left out, and the page says what: cells of fine
    grids, then realizations, then time steps.

    Parameters
    ----------
    maps : DataArray
        ([realization,] [time,] lat, lon), dims in any order; numpy or dask.
    path : str or path
        File to write; replaced only once the new one is whole.
    scale : {"auto", "linear", "log", "power"}
        Colour scale of all maps, as `xdownscale.plot.maps` takes it.

    Returns
    -------
    Path
        Where the page is.

    Raises
    ------
    DataError
        If `maps` is no DataArray, has further dimensions, or no value.
    GridError
        If latitude and longitude are not found.
    OptionError
        If the scale is not known.
    MissingPackageError
        If matplotlib is not installed.
    StorageError
        If the file cannot be written.

    Notes
    -----
    Values are rounded to one of 65,535 steps between the lowest and the highest one, even in the
    logarithm on a logarithmic scale; the page tells the step. Cells are drawn as squares of the
    grid, north up.

    Examples
    --------
    >>> import tempfile, xdownscale as xd
    >>> dust = xd.datasets.load_twin().dust_fine.isel(time=slice(3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     explore(dust, f"{folder}/dust.html").read_text()[:15]
    '<!DOCTYPE html>'
    """
    check_option("scale", scale, ("auto", "linear", "log", "power"))
    require("matplotlib", PURPOSE)
    check_folder(path)
    require_array(maps, "maps")
    maps = check_values(maps, "maps")
    field, notes = _thinned(_arranged(maps))
    field = field.load()
    if not np.isfinite(field.values).any():
        raise DataError("maps has no value; there is nothing to show.")
    write_whole(path, _html(field, scale, notes).encode())
    return Path(path)


def _arranged(maps: xr.DataArray) -> xr.DataArray:
    """Return maps as (realization, time, y, x); longitudes ascend and latitudes descend."""
    axes = find_axes(maps)
    dims = (MEMBERS, axes.time or "time", axes.y, axes.x)
    further = sorted(str(dim) for dim in maps.dims if dim not in dims)
    if further:
        raise DataError(f"maps has the further dimensions {further}; select one entry of each.")
    if 0 in maps.shape:
        raise DataError("maps has no value; there is nothing to show.")
    turned = _centred(maps, _middle(maps))
    lacking = [dim for dim in dims if dim not in turned.dims]
    if "time" in lacking and "time" in turned.coords:  # a day that was selected
        turned = turned.expand_dims("time")
        lacking.remove("time")
    turned = turned.expand_dims(dict.fromkeys(lacking, 1)).transpose(*dims)
    latitude = turned[axes.latitude]
    if float(latitude.isel({axes.y: 0}).mean()) < float(latitude.isel({axes.y: -1}).mean()):
        turned = turned.isel({axes.y: slice(None, None, -1)})
    return turned


def _thinned(field: xr.DataArray) -> tuple[xr.DataArray, list[str]]:
    """Return what fits into the page, and sentences on what is left out."""
    most = _BYTES * 3 // 4 // 2  # values
    member, time, y, x = field.dims
    notes = []
    if field.size > most and field.sizes[y] * field.sizes[x] > _CELLS:
        every = int(np.ceil(np.sqrt(field.sizes[y] * field.sizes[x] / _CELLS)))
        field = field.isel({y: slice(None, None, every), x: slice(None, None, every)})
        notes.append(f"One of {every} cells along each axis is shown.")
    if field.size > most and field.sizes[member] > _MEMBERS:
        notes.append(f"The first {_MEMBERS} of {field.sizes[member]} realizations are shown.")
        field = field.isel({member: slice(_MEMBERS)})
    if field.size > most:
        fit = max(1, most // (field.size // field.sizes[time]))
        rows = np.unique(np.linspace(0, field.sizes[time] - 1, fit).astype(int))
        notes.append(f"{rows.size} of {field.sizes[time]} time steps are shown, evenly chosen.")
        field = field.isel({time: rows})
    return field, notes


def _quantise(values: npt.NDArray[Any], logarithmic: bool) -> _Quantised:
    """Round values to steps; cells without value get a code of their own."""
    known = np.isfinite(values)
    level = np.full(values.shape, np.nan)
    level[known] = np.log(values[known]) if logarithmic else values[known]
    first, last = float(np.nanmin(level)), float(np.nanmax(level))
    step = (last - first) / _LEVELS
    codes = np.full(values.shape, _MISSING, np.uint16)
    codes[known] = np.rint((level[known] - first) / (step or 1.0)).astype(np.uint16)
    return _Quantised(codes, first, step, logarithmic)


def _html(field: xr.DataArray, scale: str, notes: Sequence[str]) -> str:
    """Return the page."""
    matplotlib: Any = require("matplotlib", PURPOSE)
    colors: Any = require("matplotlib.colors", PURPOSE)
    values = np.asarray(field.values, np.float64)
    norm, colours = colour_scale([values], scale)
    quantised = _quantise(values, isinstance(norm, colors.LogNorm))
    if isinstance(colours, str):
        colours = matplotlib.colormaps[colours]
    table = (255 * colours(np.linspace(0, 1, _SHADES))[:, :3]).round().astype(int).tolist()
    shades = np.clip(np.ma.filled(norm(quantised.levels()), 0) * (_SHADES - 1), 0, _SHADES - 1)
    axes = find_axes(field)
    units = units_of(field) or ""
    about = {
        "shape": field.shape,
        "times": _dates(field),
        "units": "" if units == "1" else units,
        "rectilinear": axes.rectilinear,
        "first": quantised.first,
        "step": quantised.step,
        "logarithmic": quantised.logarithmic,
        "colours": table,
        "missing": _GREY,
    }
    data = {
        "codes": quantised.codes.astype("<u2"),
        "shades": shades.round().astype(np.uint8),
        "latitude": field[axes.latitude].values.astype("<f4"),
        "longitude": field[axes.longitude].values.astype("<f4"),
    }
    name = words_of(field, "Field")
    body = _controls(field, name) + _bar(norm, name, units) + _stored(about, data)
    ends = f"Colours span {norm.vmin:.3g} to {norm.vmax:.3g}; values beyond have those of the ends."
    said = [_step_text(quantised, units), ends, _extent(field), *notes]
    text = "".join(_page.paragraph(one, "soft") for one in said)
    lead = _page.paragraph("Move the slider for the time; point at a cell for its value.", "soft")
    sections = [("Maps", body), ("About the values", text)]
    return _page.page(f"Maps of {name}", lead, sections, _SCRIPT.read_text("utf-8"))


def _dates(field: xr.DataArray) -> list[str]:
    """Return the text of each time step; its number where there are no dates."""
    time = field.dims[1]
    if time not in field.coords:
        return ["" if field.sizes[time] == 1 else f"step {k + 1}" for k in range(field.sizes[time])]
    stamps = field[time]
    form = "%Y-%m-%d %H:%M" if stamps.size > 1 and is_subdaily(stamps) else "%Y-%m-%d"
    return [str(text) for text in stamps.dt.strftime(form).values]


def _controls(field: xr.DataArray, name: str) -> str:
    """Return the map, the slider, the buttons and the list of realizations."""
    members, times, ny, nx = field.shape
    numbers = field[MEMBERS].values if MEMBERS in field.coords else range(1, members + 1)
    listed = "".join(
        f'<option value="{k}">{html.escape(str(n))}</option>' for k, n in enumerate(numbers)
    )
    several = "" if members > 1 else " hidden"
    moving = "" if times > 1 else " hidden"
    return (
        f'<div class="controls"><div class="when"{moving}><label for="time">Time</label>'
        '<button type="button" id="before" aria-label="One step back">&lsaquo;</button>'
        f'<input type="range" id="time" min="0" max="{times - 1}" value="0">'
        '<button type="button" id="after" aria-label="One step on">&rsaquo;</button>'
        '<button type="button" id="play">Play</button></div>'
        f'<label{several}>Realization <select id="member">{listed}</select></label>'
        '<output id="date"></output></div>'
        f'<canvas id="map" width="{nx}" height="{ny}" role="img" '
        f'style="--ratio: {_ratio(field):.4f}" aria-label="Map of {html.escape(name)}">'
        "</canvas>"
        '<output id="under">Point at a cell.</output>'
    )


def _ratio(field: xr.DataArray) -> float:
    """Return width over height of the map: in kilometres on a grid of degrees, else in cells."""
    axes = find_axes(field)
    ny, nx = field.shape[2:]
    if not axes.rectilinear or min(ny, nx) < 2:
        return nx / ny
    lat, lon = field[axes.latitude].values, field[axes.longitude].values
    tall = abs(lat[-1] - lat[0]) * ny / (ny - 1)
    wide = abs(lon[-1] - lon[0]) * nx / (nx - 1) * max(np.cos(np.deg2rad(lat.mean())), 0.2)
    return float(np.clip(wide / tall, 0.4, 4.0))


def _bar(norm: Any, name: str, units: str) -> str:
    """Return the colour bar with its numbers and units."""
    marks = []
    last = -1.0
    for tick in _ticks(norm):
        place = float(norm(tick))
        if 0.03 <= place <= 0.97 and place - last > 0.12:
            marks.append(f'<span style="left: {100 * place:.2f}%">{tick:g}</span>')
            last = place
    unit = f" [{units}]" if units not in ("", "1") else ""
    return (
        f'<div class="bar"><canvas id="bar" width="{_SHADES}" height="1" aria-hidden="true">'
        f'</canvas><div class="ticks">{"".join(marks)}</div>'
        f"<p>{html.escape(name + unit)}; grey: no value</p></div>"
    )


def _ticks(norm: Any) -> Any:
    """Return the numbers beside the colour bar."""
    ticker: Any = require("matplotlib.ticker", PURPOSE)
    colors: Any = require("matplotlib.colors", PURPOSE)
    if isinstance(norm, colors.LogNorm):
        return ticker.LogLocator(subs=(1.0, 2.0, 5.0)).tick_values(norm.vmin, norm.vmax)
    return ticker.MaxNLocator(6).tick_values(norm.vmin, norm.vmax)


def _stored(about: dict[str, Any], data: dict[str, npt.NDArray[Any]]) -> str:
    """Return the data as blocks that a browser does not run."""
    text = json.dumps(about).replace("<", "\\u003c")
    blocks = [f'<script type="application/json" id="about">{text}</script>']
    for name, values in data.items():
        coded = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
        blocks.append(f'<script type="text/plain" id="{name}">{coded}</script>')
    return "".join(blocks)


def _step_text(quantised: _Quantised, units: str) -> str:
    """Say how values are rounded."""
    if quantised.logarithmic:
        return f"Values are rounded to steps of {100 * np.expm1(quantised.step):.2g} %."
    unit = f" {units}" if units not in ("", "1") else ""
    return f"Values are rounded to steps of {quantised.step:.2g}{unit}."


def _extent(field: xr.DataArray) -> str:
    """Say where the map is."""
    axes = find_axes(field)
    lat, lon = field[axes.latitude].values, field[axes.longitude].values
    return (
        f"Cell centres: latitude {np.nanmin(lat):.4g} to {np.nanmax(lat):.4g}°, longitude "
        f"{np.nanmin(lon):.4g} to {np.nanmax(lon):.4g}°; "
        f"{field.shape[2]} x {field.shape[3]} cells, drawn as a grid with north up."
    )
