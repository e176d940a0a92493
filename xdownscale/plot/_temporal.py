"""Plots over time lags: autocorrelation, and R2 and RMSE between fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.errors import DataError, check_option
from xdownscale.core.optional import require
from xdownscale.plot._sheet import styled
from xdownscale.plot._style import (
    COLOURS,
    DASHES,
    MARKERS,
    PURPOSE,
    axis_units,
    band,
    label_of,
    legend,
    measuring,
    named,
    new_axes,
    say_no_result,
    tidy,
    title_of_field,
    variable,
)

_PLURALS = {"day": "days", "month": "months"}
_SCORES = {"r2": "R² of a field with an earlier one", "rmse": "RMSE of a field to an earlier one"}
_FAR = -5.0  # mean R2 from which an axis is logarithmic below -1


@styled
def acf(results: Any, ax: Any = None, **options: Any) -> Any:
    """Plot autocorrelation functions as stems, with their confidence bands.

    Parameters
    ----------
    results : DataArray or mapping of str to DataArray
        What `xdownscale.geostat.acf` returns, or fields to compute it from; several by name are
        drawn side by side.
    ax : matplotlib axes, optional
        Where to draw; default the axes of a new figure.
    **options
        How fields are measured: options of `xdownscale.geostat.acf`. Results that are
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
    >>> result = xr.DataArray([1.0, 0.5], dims="lag", coords={"lag": [0, 1]}, name="acf")
    >>> acf(result).get_ylabel()
    'autocorrelation'
    """
    from xdownscale.geostat import acf as compute

    return _stems(results, measuring(compute, options), "acf", "autocorrelation", ax)


@styled
def pacf(results: Any, ax: Any = None, **options: Any) -> Any:
    """Plot partial autocorrelation functions as stems, with their confidence bands.

    Parameters, errors and result as for `acf`.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> result = xr.DataArray([1.0, 0.5], dims="lag", coords={"lag": [0, 1]}, name="pacf")
    >>> pacf(result).get_ylabel()
    'partial autocorrelation'
    """
    from xdownscale.geostat import pacf as compute

    return _stems(results, measuring(compute, options), "pacf", "partial autocorrelation", ax)


@styled
def lag_curve(results: Any, ax: Any = None, score: str = "r2", **options: Any) -> Any:
    """Plot R2 or RMSE between fields by lag: mean, and 10 to 90 % quantiles.

    Parameters
    ----------
    results : Dataset, DataArray or mapping of str to these
        What `xdownscale.geostat.lag_r2` or `lag_rmse` returns, or fields to compute it from.
    ax : matplotlib axes, optional
        Where to draw; default the axes of a new figure.
    score : {"r2", "rmse"}
        Which of the two the results are, or is computed.
    **options
        How fields are measured: options of `xdownscale.geostat.lag_r2` or `lag_rmse`. Results
        that are given stay as they are.

    Returns
    -------
    matplotlib axes
        The band reaches from the 10 % to the 90 % quantile of the days, or is what the attribute
        ``band`` of ``p10`` says.

    Raises
    ------
    OptionError
        If the score is not known.
    DataError
        If something is neither such a result nor a field, or has further dimensions.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> result = xr.Dataset({"mean": ("lag", [0.8, 0.6])}, coords={"lag": [1, 2]})
    >>> lag_curve(result).get_xlabel()
    'lag [days]'
    """
    from xdownscale import geostat

    check_option("score", score, _SCORES)
    compute = measuring(geostat.lag_r2 if score == "r2" else geostat.lag_rmse, options)
    curves = named(results, compute, f"geostat.lag_{score}", ["mean"], needs_time=True)
    ax = new_axes(ax)
    means = {name: result["mean"] for name, result in curves.items()}
    words, names = axis_units(_SCORES[score], means) if score == "rmse" else (_SCORES[score], None)
    for place, (name, result) in enumerate(curves.items()):
        colour = COLOURS[place % 7]
        lag = result["lag"].values
        if "p10" in result and "p90" in result:
            band(ax, lag, (result["p10"], result["p90"]), "10 to 90 % quantiles", colour)
        ax.plot(
            lag,
            result["mean"].values,
            color=colour,
            marker=MARKERS[place % 7],
            linestyle=DASHES[place % 7],
            markersize=4,
            label=label_of((names[name] if names else name) or "mean", result["mean"].values),
        )
    _set_lags(ax, [result["lag"].values for result in curves.values()])
    if not any(np.isfinite(result["mean"].values).any() for result in curves.values()):
        say_no_result(ax)
    elif score == "r2":
        _keep_visible(ax, list(means.values()))
    legend(ax, list(curves))
    title_of_field(ax, results, "lag")
    return tidy(ax, _lag_label(curves), words)


def _keep_visible(ax: Any, means: list[xr.DataArray]) -> None:
    """Set a scale on which R2 near 1 can be seen beside that of a record far below zero."""
    if min(float(np.nanmin(mean.values, initial=1.0)) for mean in means) < _FAR:
        ticker = require("matplotlib.ticker", PURPOSE)
        ax.set_yscale("symlog", linthresh=1.0)
        ax.yaxis.set_major_formatter(
            ticker.FuncFormatter(lambda v, _: f"{v:g}".replace("-", "\N{MINUS SIGN}"))
        )
        ax.set_ylim(None, 1.2)  # R2 is 1 or less


def _stems(
    results: Any, compute: Callable[[xr.DataArray], Any], name: str, words: str, ax: Any
) -> Any:
    curves = named(results, compute, f"geostat.{name}", needs_time=True)
    for label, result in curves.items():
        if isinstance(result, xr.Dataset) and name not in result:
            raise DataError(
                f"{repr(label) if label else 'What was given'} lacks {name!r}; give what "
                f"geostat.{name} returns."
            )
    ax = new_axes(ax)
    for place, (label, result) in enumerate(curves.items()):
        shift = 0.22 * (place - (len(curves) - 1) / 2)
        _stem(ax, variable(result, name), label, place, shift)
    ax.axhline(0, color="#000000", linewidth=0.8)
    found = [variable(result, name) for result in curves.values()]
    _set_lags(ax, [each["lag"].values for each in found])
    if not any(np.isfinite(each.values).any() for each in found):
        say_no_result(ax)
    legend(ax, list(curves))
    title_of_field(ax, results, "lag")
    return tidy(ax, _lag_label(curves), words)


def _stem(ax: Any, curve: xr.DataArray, label: str, place: int, shift: float) -> None:
    colour = COLOURS[place % 7]
    lag = curve["lag"].values
    value = curve.values
    if "lower" in curve.coords and "upper" in curve.coords:
        # confidence intervals lie around the estimate; shown around zero they tell what is not zero
        half = ((curve["upper"] - curve["lower"]) / 2)[1:]
        level = 100 * (1 - float(curve.attrs["alpha"])) if "alpha" in curve.attrs else None
        words = f"{level:g} % band of zero" if level else "confidence band of zero"
        band(ax, lag[1:], (-half, half), words, colour)
    ax.vlines(lag + shift, 0, value, color=colour, linewidth=1.4)
    points = {"color": colour, "marker": MARKERS[place % 7], "markersize": 4, "linestyle": "none"}
    ax.plot(lag + shift, value, label=label_of(label, value), **points)


def _lag_label(curves: Mapping[str, Any]) -> str:
    """Return the label of the axis of lags, in the step that the records have."""
    steps = {str(curve["lag"].attrs.get("units", "day")): name for name, curve in curves.items()}
    if len(steps) > 1:
        said = ", ".join(f"{name!r} in steps of {step!r}" for step, name in steps.items())
        raise DataError(
            f"The lags are not the same times: {said}. Bring the records to one step, for instance "
            'with .resample(time="1D").mean(), or draw them on axes of their own.'
        )
    units = next(iter(steps))
    return f"lag [{_PLURALS.get(units, units)}]"


def _set_lags(ax: Any, lags: list[Any]) -> None:
    """Set some ten ticks at whole lags of all curves."""
    lag = np.concatenate(lags)
    if lag.size:
        step = max(1, int(np.ceil((lag.max() - lag.min()) / 10)))
        ax.set_xticks(np.arange(int(lag.min()), int(lag.max()) + 1, step))
