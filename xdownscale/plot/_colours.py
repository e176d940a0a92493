"""Colour scales of maps: which norm and which colours a field has."""

from __future__ import annotations

from typing import Any

import numpy as np

from xdownscale.core.errors import DataError
from xdownscale.core.optional import require
from xdownscale.plot._style import PURPOSE

SEQUENTIAL = "cividis"
DIVERGING = "RdBu_r"
RAIN = "white_to_blue"
_BLUES = ("#ffffff", "#c9dff0", "#7fb8dc", "#3a86c0", "#0b4f9a", "#08244f")
_WIDE = 30.0  # ratio of the 99 % to the 1 % quantile from which "auto" takes a logarithmic scale
_SIGNED = 0.05  # how far the shorter side of zero reaches at least, relative to the longer one
_ZEROS = 0.05  # share of zeros from which a skewed field has "many"
_NOTHING = 1e-6  # relative to the top: what a model writes for a dry day
_SKEWNESS = 1.0
_GAMMA = 0.5  # a square root
_SAMPLE = 200_000


def colour_scale(fields: list[Any], scale: str) -> tuple[Any, Any]:
    """Return the norm and the colours that fields share.

    Parameters
    ----------
    fields : list of array
        Each with some finite value.
    scale : {"auto", "linear", "log", "power"}
        As `xdownscale.plot.maps` takes it.

    Returns
    -------
    norm, colours
        Of matplotlib. Limits are the 0.5 % and the 99.5 % quantile of all values, about zero
        where values lie on both sides of it.

    Raises
    ------
    DataError
        If values are out of the range of the scale that was asked for.
    """
    colors = require("matplotlib.colors", PURPOSE)
    values = sample(fields)
    low, high = (float(q) for q in np.quantile(values, [0.005, 0.995]))
    scale = _chosen(values, low, high) if scale == "auto" else scale
    _check(values, scale)
    if scale == "power":
        top = high or float(values.max()) or 1.0
        blues = colors.LinearSegmentedColormap.from_list(RAIN, _BLUES)
        return colors.PowerNorm(_GAMMA, 0.0, top, clip=False), blues
    if scale == "log":
        return colors.LogNorm(*((low, high) if high > low else (low / 2, high * 2))), SEQUENTIAL
    if _is_signed(low, high):
        reach = max(-low, high)
        return colors.Normalize(-reach, reach), DIVERGING
    apart = 0.0 if high > low else max(0.5, abs(low) / 1e3)
    return colors.Normalize(low - apart, high + apart), SEQUENTIAL


def sample(fields: list[Any]) -> Any:
    """Return the finite values of all fields, of large ones every so many."""
    found = [values[np.isfinite(values)].ravel() for values in fields]
    return np.concatenate([flat[:: max(1, flat.size // _SAMPLE)] for flat in found])


def _is_signed(low: float, high: float) -> bool:
    """Tell whether values lie on both sides of zero, by more than rounding or a few cells."""
    return low < 0 < high and min(-low, high) >= _SIGNED * max(-low, high)


def _chosen(values: Any, low: float, high: float) -> str:
    """Return the scale on which a field can be seen."""
    if _is_rain(values, high):
        return "power"
    first, last = np.quantile(values, [0.01, 0.99])
    return "log" if bool((values > 0).all()) and last > _WIDE * first else "linear"


def _is_rain(values: Any, high: float) -> bool:
    """Tell whether values are not negative, skewed, and zero in many cells."""
    top = high or float(values.max())
    nothing = values <= _NOTHING * top
    if values.min() < -_NOTHING * abs(top) or top < 0 or nothing.mean() < _ZEROS:
        return False
    sd = float(values.std())
    return sd == 0 or float(((values - values.mean()) ** 3).mean()) > _SKEWNESS * sd**3


def _check(values: Any, scale: str) -> None:
    if scale == "log" and not (values > 0).all():
        raise DataError(
            "A logarithmic colour scale needs positive values, and there are others; give "
            "scale='linear'."
        )
    if scale == "power" and values.min() < 0 and not _is_rain(values, float(values.max())):
        raise DataError(
            "A colour scale of powers starts at zero, and there are negative values; give "
            "scale='linear'."
        )
