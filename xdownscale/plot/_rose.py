"""Plot the semivariance over distance and bearing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.errors import DataError
from xdownscale.core.optional import require
from xdownscale.plot._colours import SEQUENTIAL
from xdownscale.plot._sheet import styled
from xdownscale.plot._style import (
    MEMBERS,
    PURPOSE,
    measuring,
    title,
    units_of,
    with_units,
    words_of,
)

Array = npt.NDArray[Any]
_SIZE = (5.6, 4.8)
_PATCHES = 12  # of a bearing, so that the rim is round


@styled
def rose(results: Any, ax: Any = None, **options: Any) -> Any:
    """Plot the semivariance over distance and bearing: how a field stretches.

    Rings are distances, bearings run clockwise from north at the top. A semivariogram is the same
    in opposite directions, so both halves show the same. Where the field varies slowly colours
    stay dark far out: along the longest axis, which a line shows.

    Parameters
    ----------
    results : Dataset or DataArray
        What `xdownscale.geostat.semivariogram` returns with ``direction="all"``, or a field to
        compute it from.
    ax : matplotlib polar axes, optional
        Where to draw; default the axes of a new figure.
    **options
        How a field is measured: options of `xdownscale.geostat.semivariogram`.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    DataError
        If it is neither such a result nor a field, has further dimensions, or the axes are not
        polar.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> gamma = (("direction", "lag"), [[0.1, 0.2], [0.4, 0.9]])
    >>> axes = {"direction": [0.0, 90.0], "lag": [50.0, 150.0]}
    >>> rose(xr.Dataset({"semivariance": gamma}, axes)).name
    'polar'
    """
    found = _measured(results, options)
    ax = _polar_axes(ax)
    colors = require("matplotlib.colors", PURPOSE)
    bearing = np.asarray(found["direction"].values, float)
    gamma = found["semivariance"].transpose("direction", "lag")
    values = np.asarray(gamma.values, float)
    edges = _edges(np.asarray(found["lag"].values, float))
    step = 180.0 / bearing.size
    # sides of the patches are straight: each bearing is drawn in several
    fine = bearing[0] - step / 2 + step / _PATCHES * np.arange(2 * bearing.size * _PATCHES + 1)
    known = values[np.isfinite(values)]
    top = float(np.quantile(known, 0.98)) if known.size else 1.0
    norm = colors.Normalize(0.0, top if top > 0 else 1.0)
    both = np.ma.masked_invalid(np.repeat(np.concatenate([values, values]), _PATCHES, axis=0).T)
    mesh = ax.pcolormesh(np.radians(fine), edges, both, cmap=SEQUENTIAL, norm=norm, shading="flat")
    ax.set_theta_zero_location("N")
    ax.set_theta_direction(-1)
    ax.set_thetagrids(range(0, 360, 45), ["N", "NE", "E", "SE", "S", "SW", "W", "NW"])
    ax.set_rlabel_position(112.5)
    ax.set_ylim(0, edges[-1])
    ax.grid(visible=True, color="#ffffff", alpha=0.35, linewidth=0.6)
    _ring_labels(ax, edges[-1])
    bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.85, pad=0.1, extend="max")
    bar.set_label(with_units("semivariance", units_of(gamma)))
    bar.outline.set_visible(False)
    _longest_axis(ax, found, edges[-1])
    if isinstance(results, xr.DataArray):
        title(ax, words_of(results, ""), "")
    return ax


def _measured(result: Any, options: dict[str, Any]) -> xr.Dataset:
    from xdownscale.geostat import semivariogram as compute

    measure = measuring(compute, {"bootstrap": 0, **options, "direction": "all"})
    found = result
    if isinstance(result, xr.DataArray) and "lag" not in result.dims:
        one = result.isel({MEMBERS: 0}, drop=True) if MEMBERS in result.dims else result
        found = measure(one)
    wanted = {"direction", "lag"}
    if not isinstance(found, xr.Dataset) or set(getattr(found, "dims", ())) < wanted:
        raise DataError(
            "A rose needs what geostat.semivariogram returns with direction='all', or a field; "
            f"this is a {type(result).__name__} with dimensions "
            f"{tuple(getattr(result, 'dims', ()))}."
        )
    if "semivariance" not in found or set(found["semivariance"].dims) != wanted:
        dims = tuple(found["semivariance"].dims) if "semivariance" in found else "no semivariance"
        raise DataError(
            f"A rose needs the semivariance over 'direction' and 'lag'; it has {dims}. Select one "
            "entry of each further dimension."
        )
    return found.sortby("direction")


def _polar_axes(ax: Any) -> Any:
    if ax is None:
        require("matplotlib", PURPOSE)
        pyplot = require("matplotlib.pyplot", PURPOSE)
        polar = {"projection": "polar"}
        return pyplot.subplots(figsize=_SIZE, layout="constrained", subplot_kw=polar)[1]
    if getattr(ax, "name", "") != "polar":
        raise DataError(
            "A rose needs polar axes: make them with plt.subplots(subplot_kw={'projection': "
            "'polar'}), or leave ax out."
        )
    return ax


def _edges(lag: Array) -> Array:
    """Return the edges of distance classes from their middles, the first at 0 or above."""
    if lag.size == 1:
        return np.array([0.0, 2 * lag[0]])
    middle = (lag[1:] + lag[:-1]) / 2
    first = max(2 * lag[0] - middle[0], 0.0)
    return np.concatenate([[first], middle, [2 * lag[-1] - middle[-1]]])


def _ring_labels(ax: Any, reach: float) -> None:
    ticker = require("matplotlib.ticker", PURPOSE)
    rings = [r for r in ticker.MaxNLocator(4).tick_values(0, reach) if 0 < r < reach]
    labels = ax.set_rgrids(rings, [f"{r:g} km" for r in rings], color="#ffffff", fontsize="small")
    effects = require("matplotlib.patheffects", PURPOSE)
    for label in labels[1]:
        label.set_path_effects([effects.withStroke(linewidth=2, foreground="#303030")])


def _longest_axis(ax: Any, found: xr.Dataset, reach: float) -> None:
    """Draw the direction in which the field reaches farthest, and say by how much."""
    if "anisotropy_angle" not in found:
        return
    angle, ratio = (float(found[f"anisotropy_{name}"]) for name in ("angle", "ratio"))
    if not np.isfinite(angle + ratio):
        ax.set_xlabel("anisotropy: no result", color="#5a5a5a", fontsize="small")
        return
    for along in (angle, angle + 180.0):
        for colour, width in (("#303030", 3.0), ("#ffffff", 1.4)):
            ax.plot(np.radians([along, along]), [0, reach], color=colour, linewidth=width)
    words = f"longest axis {angle:.0f}° from north, shortest {ratio:.2f} times as long"
    ax.set_xlabel(words, color="#5a5a5a", fontsize="small")
