"""Plots over distance: semivariograms and power spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xdownscale.plot._sheet import styled
from xdownscale.plot._style import (
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    axis_units,
    band,
    label_of,
    legend,
    measuring,
    named,
    new_axes,
    plain_ticks,
    say_no_result,
    tidy,
    title_of_field,
)

_BARS = 0.22  # share of the height that the tallest pair-count bar takes


@styled
def semivariogram(results: Any, ax: Any = None, pair_counts: bool = True, **options: Any) -> Any:
    """Plot semivariograms: points with their bands, fitted curves, pair counts as bars.

    Parameters
    ----------
    results : Dataset, DataArray or mapping of str to these
        What `xdownscale.geostat.semivariogram` returns, or fields to compute it from; several by
        name are drawn over each other.
    ax : matplotlib axes, optional
        Where to draw; default the axes of a new figure.
    pair_counts : bool
        Draw the number of pairs in each lag of the first result, as bars with an axis of their
        own on the right.
    **options
        How fields are measured: options of `xdownscale.geostat.semivariogram`. Results that are
        given stay as they are.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    DataError
        If something is neither such a result nor a field, or has further dimensions.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> lag = ("lag", [50.0, 100.0], {"units": "km"})
    >>> result = xr.Dataset({"semivariance": ("lag", [0.5, 1.0])}, coords={"lag": lag})
    >>> semivariogram(result).get_xlabel()
    'lag [km]'
    """
    from xdownscale.geostat import semivariogram as compute

    curves = named(results, measuring(compute, options), "geostat.semivariogram", ["semivariance"])
    ax = new_axes(ax)
    parts = {name: result["semivariance"] for name, result in curves.items()}
    label, names = axis_units("semivariance", parts)
    for place, (name, result) in enumerate(curves.items()):
        _variogram(ax, result, names[name], place)
    first = next(iter(curves.values()))
    if not any(np.isfinite(each["semivariance"].values).any() for each in curves.values()):
        say_no_result(ax)
    ax.set_xlim(0, None)
    ax.set_ylim(0, None)
    if pair_counts and "pair_count" in first:
        _pair_bars(ax, first)
    legend(ax, list(curves), loc="lower right" if not pair_counts else "best")
    title_of_field(ax, results, "lag")
    return tidy(ax, "lag [km]", label)


@styled
def power_spectrum(results: Any, ax: Any = None, **options: Any) -> Any:
    """Plot power spectra on logarithmic axes, long wavelengths on the left.

    Parameters
    ----------
    results : Dataset, DataArray or mapping of str to these
        What `xdownscale.geostat.power_spectrum` returns, or fields to compute it from; several by
        name are drawn over each other.
    ax : matplotlib axes, optional
        Where to draw; default the axes of a new figure.
    **options
        How fields are measured: options of `xdownscale.geostat.power_spectrum`. Results that are
        given stay as they are.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    DataError
        If something is neither such a result nor a field, or has further dimensions.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> wavelength = ("wavelength", [400.0, 200.0, 100.0], {"units": "km"})
    >>> power = ("wavelength", [8.0, 2.0, 0.5])
    >>> power_spectrum(xr.Dataset({"power": power}, {"wavelength": wavelength})).get_xlabel()
    'wavelength [km]'
    """
    from xdownscale.geostat import power_spectrum as compute

    measure = measuring(compute, options)
    curves = named(results, measure, "geostat.power_spectrum", ["power"], "wavelength")
    ax = new_axes(ax)
    words, names = axis_units("power density", {n: each["power"] for n, each in curves.items()})
    lengths = []
    for place, (name, result) in enumerate(curves.items()):
        whole = result["complete"].values if "complete" in result else True
        power = result["power"].where((result["power"] > 0) & whole)
        colour = COLOURS[place % 7]
        dash = DASHES[place % 7]
        label = label_of(names[name], power)
        point = "o" if power.notnull().sum() == 1 else None  # one point makes no line
        ax.plot(power["wavelength"], power, color=colour, linestyle=dash, marker=point, label=label)
        if "lower" in result and "upper" in result:
            edges = [result[n].where(power.notnull()) for n in ("lower", "upper")]
            band(ax, power["wavelength"].values, (edges[0], edges[1]), "band", colour)
        lengths.append(power["wavelength"].values[power.notnull().values])
    found = np.concatenate(lengths)
    if found.size:
        ax.set(xscale="log", yscale="log", xlim=(1.05 * found.max(), found.min() / 1.05))
        plain_ticks(ax.xaxis, found)
    else:
        say_no_result(ax)
    legend(ax, list(curves))
    title_of_field(ax, results, "wavelength")
    return tidy(ax, "wavelength [km]", words)


def _variogram(ax: Any, result: xr.Dataset, name: str, place: int) -> None:
    colour = COLOURS[place % 7]
    marker = MARKERS[place % 7]
    dash = DASHES[place % 7]
    lag = result["lag"].values
    if "lower" in result and "upper" in result:
        band(ax, lag, (result["lower"], result["upper"]), "95 % interval of the mean", colour)
    points = {"color": colour, "marker": marker, "markersize": 4, "linestyle": "none"}
    gamma = result["semivariance"].values
    ax.plot(lag, gamma, label=label_of(name or "observed", gamma), **points)
    fitted = bool(result["fit_ok"]) if "fit_ok" in result else "fit" in result
    if "fit" in result and fitted:
        line = {"color": colour, "linestyle": dash, "linewidth": 1.6}
        ax.plot(lag, result["fit"].values, label=None if name else "fit", **line)


def _pair_bars(ax: Any, result: xr.Dataset) -> None:
    """Plot pair counts as bars at the bottom, on an axis several times as tall."""
    lag = result["lag"].values
    count = result["pair_count"].values
    width = 0.8 * float(np.min(np.diff(lag))) if lag.size > 1 else 1.0
    bars = ax.twinx()
    bars.bar(lag, count, width=width, color=GREY, alpha=0.35, linewidth=0)
    top = float(np.nanmax(count, initial=0.0)) or 1.0
    bars.set_ylim(0, top / _BARS)
    bars.set_yticks([0, top], ["0", f"{top:,.0f}"], color="#5a5a5a", fontsize="small")
    bars.set_ylabel("pairs", color="#5a5a5a", y=0.02, ha="left", fontsize="small")
    bars.spines["top"].set_visible(False)
    bars.spines["right"].set_visible(False)
    ax.set_zorder(bars.get_zorder() + 1)
    ax.patch.set_visible(False)
