"""Sections of the report, each a piece of HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale import plot, skill
from xdownscale.core.coords import require_time
from xdownscale.core.errors import DataError, GridError, TimeAxisError, XDownscaleError
from xdownscale.core.grids import describe_grid
from xdownscale.core.optional import installed_version, require
from xdownscale.core.time import is_subdaily, step_text
from xdownscale.core.units import units_of
from xdownscale.plot._style import (
    band,
    label_of,
    legend,
    plain_ticks,
    tidy,
    with_units,
    words_of,
)
from xdownscale.reports import _page
from xdownscale.reports._evidence import NAMES, TOO_FEW, Finding
from xdownscale.reports._records import MEMBERS, Records, days_of, period, shared

_PACKAGES = ("xarray-downscale", "numpy", "xarray", "pandas", "scipy", "matplotlib")
_SCORES = ("r2", "pearson_r2", "rmse", "mae")
_INTERVAL = "95 % interval"
_NO_TRAINING = "the fine record has no days besides those of the prediction"
_LACKS = {  # why a table of the report has no such row
    "climatology": _NO_TRAINING,
    "persistence": "no day has its yesterday in the fine record",
}


def summary(findings: list[Finding]) -> str:
    """Count how many statistics lie inside the intervals of each reference."""
    parts = []
    if any(found.too_short for found in findings):
        parts.append(f"statistics with {TOO_FEW} are not judged")
    for name, words in NAMES.items():
        said = [v for f in findings for v in f.table.get(f"{name}_verdict", [])]
        known = [v for v in said if v in ("inside", "below", "above")]
        if known:
            inside = sum(v == "inside" for v in known)
            parts.append(f"{inside} of {len(known)} statistics lie inside the interval of {words}")
    text = "; ".join(parts)
    return f"<p>{html.escape(text[:1].upper() + text[1:])}.</p>" if text else ""


def records_table(records: Records) -> str:
    """Describe the records of the report in a table."""
    rows = {}
    for name in ("prediction", "coarse", "fine"):
        da = getattr(records, name)
        if da is not None:
            rows[name] = {
                "variable": f"{da.attrs.get('long_name') or da.name or 'unnamed'}",
                "units": units_of(da) or "not told",
                "period": period(da),
                "days": _length(da),
                "realizations": str(da.sizes.get(MEMBERS, "-")),
                "grid": describe_grid(da),
            }
    body = _page.table(pd.DataFrame(rows).T, "The records")
    text = f"Curves are made in transformed units: {records.space.reason}"
    return body + "".join(map(_page.paragraph, [text, *records.notes]))


def _length(da: xr.DataArray) -> str:
    """Return the number of days of a record, with the time step where it is shorter than a day."""
    time = da[require_time(da, "It")]
    return f"{days_of(da)}{f', every {step_text(time)}' if is_subdaily(time) else ''}"


def maps(records: Records) -> str:
    """Plot maps of one time step, in the middle of those shared with the coarse record."""
    try:
        return _maps(records)
    except XDownscaleError as err:
        return _page.paragraph(f"No map: {err}")


def _maps(records: Records) -> str:
    here = records.prediction if records.truth is None else records.truth
    common = shared(here, records.coarse)
    coarse = records.coarse if common.any() else None
    times = here[require_time(here, "It")].values
    valued = _valued(here)
    chosen = common & valued if (common & valued).any() else valued
    time = times[chosen] if chosen.any() else times
    day = str(time[len(time) // 2])[: 16 if is_subdaily(times) else 10].replace(" ", "T")
    count = 1 + (coarse is not None) + 2 * (records.truth is not None)
    shape = (2, 2) if count == 4 else (1, count)
    axes = new_axes(*shape, (4.8 * shape[1], 3.7 * shape[0]), "compressed")
    members = records.prediction.sizes.get(MEMBERS, 1)
    drawn = plot.maps(records.prediction, records.truth, coarse, time=day, axes=axes)
    if records.truth is None and members == 1:
        drawn[-1].set_title("Prediction", loc="left", fontsize="medium")
    titles = [" ".join(ax.get_title(loc="left").lower().split()) for ax in drawn]
    return _page.figure(drawn[0].figure, f"Maps of {day}: {', '.join(titles)}.")


def _valued(da: xr.DataArray) -> Any:
    """Tell on which time steps a record has any value."""
    time = require_time(da, "It")
    values = np.moveaxis(np.isfinite(da.values), da.get_axis_num(time), 0)
    return values.reshape(len(values), -1).any(axis=1)


def against_truth(records: Records) -> str:
    """Table scores and baselines, and plot the calibration of an ensemble."""
    truth = records.truth
    if truth is None:
        return ""
    try:
        return _against(records, truth)
    except XDownscaleError as err:
        return _page.paragraph(f"No scores: {err}")


def _against(records: Records, truth: xr.DataArray) -> str:
    scores = _scores(records, truth)
    many = is_subdaily(truth[require_time(truth, "The truth")])
    kind = f"times on {days_of(truth)} days" if many else "days"
    caption = f"Mean (standard deviation) over {scores.attrs['days']} common {kind}"
    if "vs_best" in scores.attrs:
        caption += (
            "; vs best: the score over that of the best baseline that needs no truth of these "
            "times, and its standard error (block bootstrap)"
        )
    text = _page.table(skill.format_table(scores), caption)
    text += "".join(map(_page.paragraph, skill.left_out_note(scores)))
    members = records.prediction.sizes.get(MEMBERS, 1)
    if members < 2:
        return text
    axes = new_axes(1, 2, (9.6, 3.9))
    plot.rank_histogram(skill.rank_histogram(records.prediction, truth), axes[0])
    plot.spread_skill(skill.spread_skill(records.prediction, truth), axes[1])
    words = (
        f"Left: how often the truth has each rank among {members} realizations. Right: spread of "
        f"the ensemble against the error of its mean, a point for each {'time' if many else 'day'}."
    )
    return text + _page.figure(axes[0].figure, words, words)


def finding(found: Finding, records: Records) -> str:
    """Return figure, table and sentences of one diagnostic."""
    key = found.diagnostic.key
    ax = _DRAW[key](found, new_axes(1, 1, (7.2, 4.2))[0], records)
    others = " and ".join(NAMES[name] for name in found.bands)
    words = f"{found.diagnostic.title}: curves of the prediction, {others}, told in words below."
    caption = (
        f"{found.diagnostic.title} of the prediction and of {others}. Bands: 95 % intervals of "
        f"{others} over stretches of as many days as the prediction has."
    )
    verdicts = [
        (row["sentence"], {name: row[f"{name}_verdict"] for name in found.bands})
        for _, row in found.table.iterrows()
    ]
    return (
        _page.paragraph(found.diagnostic.meaning)
        + _page.figure(ax.figure, words, caption)
        + _page.listing(verdicts)
        + _page.table(_readable(found, records), "The numbers")
    )


def provenance(records: Records) -> str:
    """Return attributes, history and package versions."""
    parts = []
    for name in ("prediction", "coarse", "fine"):
        da = getattr(records, name)
        if da is not None and da.attrs:
            lines = "\n".join(f"{k}: {v}" for k, v in da.attrs.items())
            parts.append(f"<h3>{name}</h3><pre>{html.escape(lines)}</pre>")
    found = [
        f"{package} {installed_version(package) or '(not installed as a package)'}"
        for package in _PACKAGES
    ]
    return "".join(parts) + _page.paragraph(f"Made with {', '.join(found)}.")


def _scores(records: Records, truth: xr.DataArray) -> pd.DataFrame:
    """Return the table of scores, with the baselines that the records allow."""
    given = {"prediction": records.prediction}
    options: dict[str, Any] = {"transform": records.space, "train": records.training}
    if records.prediction.sizes.get(MEMBERS, 1) > 1:
        options["scores"] = (*_SCORES, "crps")
    lacks = dict(_LACKS)
    try:
        scores = skill.table(given, truth, coarse=records.coarse, **options)
    except (GridError, TimeAxisError, DataError) as err:
        scores = skill.table(given, truth, **options)
        why = str(err).rstrip(".")
        lacks |= {n: why for n in scores.attrs["left_out"] if n not in _LACKS}
    left_out = scores.attrs["left_out"].items()
    if records.training is None:
        needy = [name for name, why in left_out if why.startswith("give ") and "train=" in why]
        lacks |= dict.fromkeys(needy, _NO_TRAINING)
    scores.attrs["left_out"] = {name: lacks.get(name, why) for name, why in left_out}
    return scores


def new_axes(
    rows: int, columns: int, size: tuple[float, float], layout: str = "constrained"
) -> Any:
    """Return axes of a new figure that pyplot does not know, so that figures of the caller stay."""
    figures = require("matplotlib.figure", "Drawing figures")
    drawn = figures.Figure(figsize=size, layout=layout)
    return drawn.subplots(rows, columns, squeeze=False).ravel()


def _names(records: Records) -> list[str]:
    """Return the records in the order in which they are drawn: the prediction last, on top."""
    return [*(name for name in records.fields if name != "prediction"), "prediction"]


def _curve(found: Finding, name: str) -> tuple[Any, Any, str]:
    """Return x, y and units of a curve: NaN where a record could not be measured.

    Such a record stays in the legend, as one without result, so that each record has the same
    colour in all figures of a report.
    """
    known = found.curves.get(name)
    if known is not None:
        return known.x, found.centre(name), known.units
    other = found.curves["prediction"]
    return other.x, np.full(other.x.shape, np.nan), other.units


def _datasets(found: Finding, records: Records, quantity: str, dim: str) -> dict[str, xr.Dataset]:
    """Return curves as the functions of `xdownscale.plot` take them."""
    curves = {}
    for name in _names(records):
        x, y, units = _curve(found, name)
        data: dict[str, Any] = {quantity: (dim, y, {"units": units}), **_band(found, name, dim)}
        curves[name] = xr.Dataset(data, coords={dim: x})
    return curves


def _draw_variogram(found: Finding, ax: Any, records: Records) -> Any:
    return plot.semivariogram(_datasets(found, records, "semivariance", "lag"), ax)


def _draw_spectrum(found: Finding, ax: Any, records: Records) -> Any:
    return plot.power_spectrum(_datasets(found, records, "power", "wavelength"), ax)


def _draw_acf(found: Finding, ax: Any, records: Records) -> Any:
    return _draw_lines(found, ax, records, "autocorrelation")


def _draw_lagged_r2(found: Finding, ax: Any, records: Records) -> Any:
    return _draw_lines(found, ax, records, "R² of a day with an earlier one")


def _draw_lines(found: Finding, ax: Any, records: Records, label: str) -> Any:
    curves = _datasets(found, records, "mean", "lag")
    bands = {"lower": "p10", "upper": "p90"}
    plot.lag_curve(
        {n: ds.rename({k: v for k, v in bands.items() if k in ds}) for n, ds in curves.items()}, ax
    )
    ax.set_ylabel(label)
    return ax


def _draw_distribution(found: Finding, ax: Any, records: Records) -> Any:
    """Plot shares of cells below a value; values in their own units, on the transformed scale."""
    for place, name in enumerate(_names(records)):
        colour = plot.COLOURS[place]
        dash = plot.DASHES[place]
        x, share, _ = _curve(found, name)
        values = records.space.untransform(x)
        if name in found.bands:
            low, high = found.bands[name]
            edges = (xr.DataArray(low), xr.DataArray(high))
            band(ax, values, edges, _INTERVAL, colour)
        label = label_of(name, share)
        ax.plot(values, share, color=colour, linestyle=dash, label=label)
    _scale_values(ax, records, values)
    legend(ax, _names(records))
    words = textwrap.fill(words_of(records.prediction, "value"), 60)
    return tidy(ax, with_units(words, records.units), "share of values below")


def _scale_values(ax: Any, records: Records, values: Any) -> None:
    """Set the scale of an axis of values: that of the transform."""
    space = records.space
    ends = float(values.min()), float(values.max())
    if space.transform == "identity" or not ends[0] < ends[1]:
        return
    if space.transform == "log10":
        ax.set_xscale("log")
        plain_ticks(ax.xaxis, ends)
        return
    ax.set_xlim(*ends)
    ax.set_xscale("function", functions=(space.transform_only, space.untransform))


def _band(found: Finding, name: str, dim: str) -> dict[str, Any]:
    if name not in found.bands:
        return {}
    low, high = found.bands[name]
    return {"lower": (dim, low, {"band": _INTERVAL}), "upper": (dim, high)}


def _readable(found: Finding, records: Records) -> pd.DataFrame:
    """Return a table of texts; values in transformed units have the physical ones beside them."""
    table = found.table.set_index("statistic")
    physical = found.diagnostic.key == "distribution" and records.space.transform != "identity"
    columns: dict[str, Any] = {"prediction": list(map(_number, table["prediction"]))}
    for name in found.bands:
        bounds = zip(table[f"{name}_low"], table[f"{name}_high"], strict=True)
        columns[name] = [
            _number(value) if np.isnan(value) else f"{value:.3g} ({low:.3g} to {high:.3g})"
            for value, (low, high) in zip(table[name], bounds, strict=True)
        ]
    if physical:
        for name in ("prediction", *found.bands):
            values = records.space.untransform(table[name].to_numpy())
            columns[f"{name} [{records.units}]"] = list(map(_number, values))
    return pd.DataFrame(columns, index=table.index)


def _number(value: float) -> str:
    return "not measurable" if np.isnan(value) else f"{value:.3g}"


_DRAW: dict[str, Callable[[Finding, Any, Records], Any]] = {
    "semivariogram": _draw_variogram,
    "power_spectrum": _draw_spectrum,
    "acf": _draw_acf,
    "lag_curve": _draw_lagged_r2,
    "distribution": _draw_distribution,
}
