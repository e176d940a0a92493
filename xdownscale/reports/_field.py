"""The public function `field_report`: a page of diagnostics of a field, without a judgement."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale import geostat, plot
from xdownscale.core.coords import find_axes, find_time, require_array
from xdownscale.core.errors import DataError, XDownscaleError
from xdownscale.core.files import write_whole
from xdownscale.core.grids import describe_grid, with_positions
from xdownscale.core.normalization import Scaling, choose_transform
from xdownscale.core.optional import require
from xdownscale.core.quantities import as_plain
from xdownscale.core.values import check_values
from xdownscale.geostat._variables import fields_of
from xdownscale.reports import _page
from xdownscale.reports._assembly import check_folder
from xdownscale.reports._export import Figures, collecting
from xdownscale.reports._records import MEMBERS, days_of, period, transformed_units
from xdownscale.reports._sections import new_axes

_LAGS = 30
_SIZE = (7.2, 4.2)


class _Figure(NamedTuple):
    """A diagnostic that is drawn.

    Attributes
    ----------
    title, meaning : str
        Heading, and what it says.
    measure : callable
        Field -> what `draw` takes.
    draw : callable
        (result, axes) -> axes.
    """

    title: str
    meaning: str
    measure: Callable[[xr.DataArray], Any]
    draw: Callable[..., Any]


def _figures(steps: int) -> list[_Figure]:
    """Return the figures of a field with so many time steps."""
    spatial = [
        _Figure(
            "Semivariogram",
            "Half the mean squared difference of two pixels by their distance; the range of the "
            "fitted model is the distance beyond which they have nothing in common.",
            geostat.semivariogram,
            plot.semivariogram,
        ),
        _Figure(
            "Power spectrum",
            "Variance by wavelength, averaged over directions and time steps.",
            geostat.power_spectrum,
            plot.power_spectrum,
        ),
    ]
    lag = min(_LAGS, steps // 3)
    if lag < 1:
        return spatial
    return [
        *spatial,
        _Figure(
            "Autocorrelation",
            "Correlation of the regional mean with that of earlier time steps.",
            lambda field: geostat.acf(field, max_lag=lag),
            plot.acf,
        ),
        _Figure(
            "Partial autocorrelation",
            "The same, without what the time steps between them explain.",
            lambda field: geostat.pacf(field, max_lag=lag),
            plot.pacf,
        ),
        _Figure(
            "Likeness of successive maps",
            "R2 of a map with an earlier one, over the pixels of a time step.",
            lambda field: geostat.lag_r2(field, max_lag=min(lag, 10)),
            plot.lag_curve,
        ),
    ]


def field_report(
    field: xr.DataArray | xr.Dataset,
    path: str | os.PathLike[str] = "field.html",
    *,
    transform: str = "auto",
    figures: str | os.PathLike[str] | None = None,
    formats: Sequence[str] = ("pdf", "svg"),
) -> Path:
    """Write the diagnostics of a field as one HTML page that needs no network.

    Parameters
    ----------
    field : DataArray or Dataset
        ([realization,] [time,] lat, lon); of several realizations the first. Of a Dataset each
        variable that has a grid has sections of its own.
    path : str or path
        File to write; replaced only once the new one is whole.
    transform : str
        Units that curves are made in, as in `xdownscale.fit`; the distribution is in those of the
        field.
    figures : str or path, optional
        Folder that each figure is also written to, as ``figure_01.pdf`` and so on, with their
        captions in ``captions.txt``; made where it is missing. Texts stay texts.
    formats : sequence of str
        Of ``"pdf"``, ``"svg"`` and ``"png"`` (300 dots per inch).

    Returns
    -------
    Path
        Where the page is.

    Raises
    ------
    DataError, GridError
        If something is no field, has further dimensions, or no values.
    OptionError
        Unknown transform or format.
    MissingPackageError
        If matplotlib is not installed.
    StorageError
        If the file cannot be written.

    Notes
    -----
    The page has for each variable a map in the middle of the record, the semivariogram, the
    spectrum, autocorrelations, the R2 between maps, and quantiles. What a record is too short or
    too small for is said in its section.

    Examples
    --------
    >>> import tempfile, xdownscale as xd
    >>> dust = xd.datasets.load_twin().dust_fine.isel(time=slice(12))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = field_report(dust, f"{folder}/dust.html").read_text()
    >>> page.count("<figure>")
    6
    """
    require("matplotlib", "A report")
    check_folder(path)
    if not isinstance(field, xr.Dataset):
        require_array(field, "The field")
    field = as_plain(field)
    if isinstance(field, xr.DataArray):
        known = {"": with_positions(field, "The field")}
    else:
        known = fields_of(field)
    for name, da in known.items():
        known[name] = check_values(da, f"The field {name!r}" if name else "The field")
    fields = {name: _one_member(da, name or "The field") for name, da in known.items()}
    spaces = {name: choose_transform([da.data], transform) for name, da in fields.items()}
    written = Figures(figures, formats)
    sections = []
    with collecting(written):
        for name, da in fields.items():
            prefix = f"{name}: " if len(fields) > 1 else ""
            sections += [(prefix + title, body) for title, body in _sections(da, spaces[name])]
    names = ", ".join(
        str(da.attrs.get("long_name") or da.name or "a field") for da in fields.values()
    )
    lead = _page.paragraph(
        "What the field looks like in space and time. `xdownscale.report` compares a prediction "
        "with other records.",
        "soft",
    )
    write_whole(path, _page.page(f"Diagnostics of {names}", lead, sections).encode())
    written.write()
    return Path(path)


def _one_member(da: xr.DataArray, name: str) -> xr.DataArray:
    """Return the first realization, or raise where there are further dimensions."""
    one = da.isel({MEMBERS: 0}, drop=True) if MEMBERS in da.dims else da
    axes = find_axes(one)
    further = sorted(str(dim) for dim in one.dims if dim not in {find_time(one), axes.y, axes.x})
    if further:
        raise DataError(f"{name} has the further dimensions {further}; select one entry of each.")
    return one


def _sections(da: xr.DataArray, space: Scaling) -> list[tuple[str, str]]:
    time = find_time(da)
    units = transformed_units(space.transform, str(da.attrs.get("units") or ""))
    moved = da.copy(data=space.transform_only(da.data)).assign_attrs(units=units)
    steps = 0 if time is None else da.sizes[time]
    return [
        ("What was measured", _facts(da, space)),
        ("One map", _guarded(partial(_map, da, time))),
        *((each.title, _guarded(partial(_drawn, each, moved))) for each in _figures(steps)),
        ("Distribution", _guarded(partial(_distribution, da))),
    ]


def _guarded(make: Callable[[], str]) -> str:
    """Return a section, or why it cannot be made of this field."""
    try:
        return make()
    except XDownscaleError as err:
        return _page.paragraph(f"Not measured: {err}")


def _facts(da: xr.DataArray, space: Scaling) -> str:
    rows = {
        "variable": str(da.attrs.get("long_name") or da.name or "unnamed"),
        "units": str(da.attrs.get("units") or "not told"),
        "grid": describe_grid(da),
    }
    if find_time(da) is not None:
        rows["period"] = period(da)
        rows["days"] = str(days_of(da))
    table = _page.table(pd.DataFrame({"": rows}), "The field")
    return table + _page.paragraph(f"Curves are made in transformed units: {space.reason}")


def _map(da: xr.DataArray, time: str | None) -> str:
    axes = new_axes(1, 1, (6.4, 4.2), "compressed")
    if time is None:
        drawn = plot.maps(da.expand_dims(time=[np.datetime64("2000-01-01", "ns")]), axes=axes)
        drawn[0].set_title("The field", loc="left", fontsize="medium")
        return _page.figure(drawn[0].figure, "A map of the field.")
    day = da[time].values[da.sizes[time] // 2]
    drawn = plot.maps(da, time=day, axes=axes)
    drawn[0].set_title("The field", loc="left", fontsize="medium")
    shown = str(day)[:16].replace(" ", "T")
    return _page.figure(drawn[0].figure, f"A map of the field: {shown}.")


def _drawn(figure: _Figure, field: xr.DataArray) -> str:
    result = figure.measure(field).compute()
    ax = figure.draw(result, new_axes(1, 1, _SIZE)[0])
    body = _page.paragraph(figure.meaning)
    return body + _page.figure(ax.figure, f"{figure.title} of the field.") + _numbers(result)


def _numbers(result: Any) -> str:
    """Return the numbers and sentences of a result that have no dimension."""
    if not isinstance(result, xr.Dataset):
        return ""
    single = {str(n): da.item() for n, da in result.items() if not da.ndim}
    numbers = {n: float(v) for n, v in single.items() if isinstance(v, int | float)}
    table = _page.table(pd.DataFrame({"value": numbers}), "Numbers") if numbers else ""
    said = [v for v in single.values() if isinstance(v, str) and v]
    return table + "".join(_page.paragraph(text) for text in said)


def _distribution(da: xr.DataArray) -> str:
    found = geostat.distribution(da).compute()
    values = found["value"].to_series().rename_axis("share of values below")
    rest = {name: float(found[name]) for name in ("mean", "sd", "skewness", "tail_index", "count")}
    return _page.table(values.to_frame(), "Quantiles") + _page.table(
        pd.DataFrame({"value": rest}), "Moments and tail (Hill, 1 % of the values)"
    )
