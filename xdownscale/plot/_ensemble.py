"""Plots of ensembles: rank histogram, spread against error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.plot._sheet import styled
from xdownscale.plot._style import (
    COLOURS,
    MARKERS,
    axis_units,
    label_of,
    legend,
    named,
    new_axes,
    say_no_result,
    tidy,
    variable,
)


@styled
def rank_histogram(results: Any, ax: Any = None) -> Any:
    """Plot rank histograms, and the flat line of a calibrated ensemble.

    Parameters
    ----------
    results : Dataset, DataArray or mapping of str to these
        What `xdownscale.skill.rank_histogram` returns, or counts over ``rank``.
    ax : matplotlib axes, optional
        Where to draw; default the axes of a new figure.

    Returns
    -------
    matplotlib axes
        Relative frequencies.

    Raises
    ------
    DataError
        If something is not such a result, or has further dimensions.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> counts = xr.DataArray([3, 5, 4], dims="rank", coords={"rank": [0, 1, 2]})
    >>> rank_histogram(counts).get_ylabel()
    'relative frequency'
    """
    curves = named(results, None, "skill.rank_histogram", dim="rank")
    ax = new_axes(ax)
    width = 0.8 / len(curves)
    none = True
    for place, (name, result) in enumerate(curves.items()):
        counts = variable(result, "frequency")
        shift = width * (place - (len(curves) - 1) / 2)
        values = np.nan_to_num(counts.values.astype(float))
        total = float(values.sum())
        share = values / total if total else np.zeros(values.shape)
        label = name if total else label_of(name, np.nan)
        ax.bar(counts["rank"].values + shift, share, width, color=COLOURS[place % 7], label=label)
        none = none and not total
        known = "calibrated" if place == 0 else None
        ax.axhline(1 / counts.size, color="#000000", linestyle="--", linewidth=1.2, label=known)
    if none:
        say_no_result(ax)
    if not none:
        ax.xaxis.get_major_locator().set_params(integer=True)
    rows = -(-(1 + len(curves)) // 3)
    ax.margins(y=0.1 + 0.1 * rows)  # room for the legend
    legend(ax, ["calibrated"], ncols=3, loc="upper center")
    return tidy(ax, "rank of the truth among the realizations", "relative frequency")


@styled
def spread_skill(results: Any, ax: Any = None) -> Any:
    """Plot the spread of an ensemble against the error of its mean, for each time step.

    Parameters
    ----------
    results : Dataset or mapping of str to Dataset
        What `xdownscale.skill.spread_skill` returns for each day: ``spread`` and ``rmse``.
    ax : matplotlib axes, optional
        Where to draw; default the axes of a new figure.

    Returns
    -------
    matplotlib axes
        Points on the diagonal are calibrated, points below it have too much spread.

    Raises
    ------
    DataError
        If something is not such a result, or has further dimensions.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> days = xr.Dataset({"spread": ("time", [1.0, 2.0]), "rmse": ("time", [1.1, 1.9])})
    >>> spread_skill(days).get_xlabel()
    'spread'
    """
    curves = named(results, None, "skill.spread_skill", ["spread", "rmse"], _time_dim(results))
    ax = new_axes(ax, (4.8, 4.4))
    words, names = axis_units("RMSE of the mean", {n: each["rmse"] for n, each in curves.items()})
    top = 0.0
    for place, (name, result) in enumerate(curves.items()):
        spread = result["spread"].values
        error = result["rmse"].values
        points = {"s": 16, "alpha": 0.7, "linewidths": 0, "marker": MARKERS[place % 7]}
        label = label_of(names[name], spread + error)
        ax.scatter(spread, error, color=COLOURS[place % 7], label=label, **points)
        top = float(np.nanmax(1.05 * np.concatenate([spread, error]), initial=top))
    none = not top
    top = top or 1.0
    ax.plot([0, top], [0, top], color="#000000", linestyle="--", linewidth=1, label="calibrated")
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    ax.locator_params(nbins=6)
    if none:
        say_no_result(ax)
    legend(ax, ["calibrated"], loc="best")  # off the points
    return tidy(ax, words.replace("RMSE of the mean", "spread"), words)


@styled
def reliability(results: Any, ax: Any = None) -> Any:
    """Plot a reliability diagram: how often an event took place, by its forecast probability.

    Parameters
    ----------
    results : Dataset or mapping of str to Dataset
        What `xdownscale.skill.reliability` returns, of one threshold.
    ax : matplotlib axes, optional
        Where to draw; default the axes of a new figure.

    Returns
    -------
    matplotlib axes
        Points on the diagonal are reliable; the larger a point, the more often the probability
        was given. The thin line is the frequency of the event.

    Raises
    ------
    DataError
        If something is not such a result, or has further dimensions, such as ``threshold``.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> found = xr.Dataset(
    ...     {"frequency": ("probability", [0.1, 0.9]), "count": ("probability", [30.0, 10.0])},
    ...     coords={"probability": [0.0, 1.0]},
    ... )
    >>> reliability(found).get_xlabel()
    'forecast probability'
    """
    some = {name: _one_threshold(each) for name, each in _named_results(results).items()}
    known = some if len(some) > 1 or "" not in some else some[""]
    names = ["frequency", "count"]
    curves = named(known, None, "skill.reliability", names, "probability")
    ax = new_axes(ax, (4.8, 4.4))
    none = True
    for place, (name, result) in enumerate(curves.items()):
        chance = result["probability"].values.astype(float)
        frequency = result["frequency"].values
        count = np.nan_to_num(result["count"].values.astype(float))
        colour = COLOURS[place % 7]
        good = np.isfinite(frequency) & (count > 0)
        ax.plot(chance[good], frequency[good], color=colour, label=label_of(name, frequency))
        ax.scatter(chance[good], frequency[good], 10 + 90 * _of_largest(count[good]), color=colour)
        if good.any():
            base = float(frequency[good] @ count[good] / count[good].sum())
            ax.axhline(base, color=colour, linewidth=0.8, linestyle=":")
            none = False
    ax.plot([0, 1], [0, 1], color="#000000", linestyle="--", linewidth=1, label="reliable")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    if none:
        say_no_result(ax)
    legend(ax, ["reliable"], loc="best")
    return tidy(ax, "forecast probability", "frequency of the event")


def _named_results(results: Any) -> dict[str, Any]:
    """Return results by name; one without a name."""
    several = isinstance(results, Mapping) and not isinstance(results, xr.Dataset)
    return dict(results) if several else {"": results}


def _one_threshold(result: Any) -> Any:
    """Drop the dimension of a single threshold."""
    single = isinstance(result, xr.Dataset) and result.sizes.get("threshold") == 1
    return result.isel(threshold=0, drop=True) if single else result


def _of_largest(count: Any) -> Any:
    return np.sqrt(count / count.max()) if count.size else count


def _time_dim(results: Any) -> str:
    """Return the name of the time dimension: the last one of the first result."""
    several = isinstance(results, Mapping) and not isinstance(results, xr.Dataset)
    first = next(iter(results.values()), None) if several else results
    spread = first.get("spread") if isinstance(first, xr.Dataset) else None
    return "time" if spread is None or not spread.dims else str(spread.dims[-1])
