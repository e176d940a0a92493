"""SAL: structure, amplitude and location of rain in a domain (Wernli et al. 2008)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from xdownscale.core.alignment import template
from xdownscale.core.errors import OptionError, XDownscaleWarning
from xdownscale.core.grids import cell_centres, distances
from xdownscale.skill._scores import apply_kernel, paired

Array = NDArray[Any]
FACTOR = 1 / 15
_NEIGHBOURS = np.ones((3, 3), int)


def sal(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    factor: float = FACTOR,
    quantile: float | None = 0.95,
    wet: float = 0.1,
) -> xr.Dataset:
    """Return structure, amplitude and location of the rain of each day: SAL.

    With D the mean over the domain, objects the connected areas (corners too) above a threshold,
    R_n their sums, V_n their sums over their maxima, V the mean of V_n by R_n, x the centre of mass
    of the field, r the mean by R_n of the distance of the objects' centres from it, and d the
    longest distance in the domain:

    ``S = (V_p - V_t) / (0.5 (V_p + V_t))``, above 0 where objects are too large or too flat;
    ``A = (D_p - D_t) / (0.5 (D_p + D_t))``; ``L = |x_p - x_t| / d + 2 |r_p - r_t| / d``.

    Parameters
    ----------
    prediction, truth : DataArray
        Rain (time, lat, lon), 0 or more, on one grid, dims in any order; on the common days.
        Further dims of the prediction are kept.
    factor : float
        The threshold is `factor` times a quantile of the field.
    quantile : float or None
        Which one, of the pixels with `wet` or more (Wernli et al. 2009); None: the maximum
        (Wernli et al. 2008). CORDEX-ML-Bench calls pysteps, which takes the same threshold but
        finds its objects by another rule.
    wet : float
        In the units of the truth.

    Returns
    -------
    Dataset
        ``structure`` and ``amplitude`` (-2 to 2) and ``location`` (0 to 2) over time, all 0 for a
        perfect prediction. NaN in either field counts in neither. NaN on a day on which one of
        them is dry everywhere; a warning where all are. Lazy where the input is.

    Raises
    ------
    OptionError
        If `factor`, `quantile` or `wet` is out of range.
    GridError, TimeAxisError
        As for `r2`.

    Notes
    -----
    Centres and distances are in km on the plane that touches the middle of the domain; pixels count
    alike.

    References
    ----------
    Wernli et al. (2008), doi:10.1175/2008MWR2415.1; Wernli et al. (2009),
    doi:10.1175/2009WAF2222271.1.

    Examples
    --------
    >>> grid = {"lat": np.arange(6.0) - 2.5, "lon": np.arange(8.0)}
    >>> truth = xr.DataArray(np.zeros((6, 8)), coords=grid)
    >>> truth[2:4, 1:3] = 5.0
    >>> found = sal(2 * truth.roll(lon=3), truth)
    >>> [float(round(found[name].item(), 2)) for name in ("structure", "amplitude", "location")]
    [0.0, 0.67, 0.35]
    """
    _check(factor, quantile, wet)
    pairs = paired(prediction, truth, None)
    plane, longest = _plane(template(pairs.truth).transpose(pairs.axes.y, pairs.axes.x))

    def kernel(p: Any, t: Any) -> Any:
        p, t = np.broadcast_arrays(p, t)
        lead = p.shape[:-2]
        found = [
            _one(a, b, plane, longest, (factor, quantile, wet))
            for a, b in zip(p.reshape(-1, *p.shape[-2:]), t.reshape(-1, *t.shape[-2:]), strict=True)
        ]
        return np.asarray(found, float).reshape(*lead, 3)

    parts = apply_kernel(kernel, pairs, None, outputs=(("_part",),), sizes={"_part": 3})
    if parts.chunks is None and parts.size and parts.isnull().all():
        warnings.warn(
            f"No day has rain of {wet:g} or more in both fields, so there is no result: SAL needs "
            "amounts of 0 or more, and a threshold (wet) in their units.",
            XDownscaleWarning,
            stacklevel=2,
        )
    found = xr.Dataset()
    for k, name in enumerate(("structure", "amplitude", "location")):
        about = {"long_name": f"{name} component of SAL", "units": "1"}
        found[name] = parts.isel(_part=k).assign_attrs(about)
    of_what = "maximum" if quantile is None else quantile
    return found.assign_attrs({"factor": factor, "quantile": of_what, "wet": wet})


def _check(factor: float, quantile: float | None, wet: float) -> None:
    if not 0 < factor <= 1:
        raise OptionError(f"factor is {factor}; give a share above 0 and up to 1, such as 1/15.")
    if quantile is not None and not 0 < quantile <= 1:
        raise OptionError(
            f"quantile is {quantile}; give one above 0 and up to 1, such as 0.95, or None for the "
            "maximum."
        )
    if not (np.isfinite(wet) and wet >= 0):
        raise OptionError(f"wet is {wet}; give an amount of 0 or more, such as 0.1 mm.")


def _plane(grid: xr.DataArray) -> tuple[Array, float]:
    """Return positions (2, y, x) in km, and the longest distance of two cells."""
    latitude, longitude = cell_centres(grid)
    middle = float(np.nanmean(latitude))
    km = distances(middle, 0.0, [middle + 0.5, middle], [0.0, 0.5]) / 0.5  # of a degree
    # from the first cell, round the circle where the domain crosses its seam
    east = (longitude - longitude.flat[0] + 180) % 360 - 180
    places = np.stack([latitude * km[0], east * km[1]])
    corners = places.reshape(2, -1)
    spans = [np.nanmax(corners[k]) - np.nanmin(corners[k]) for k in (0, 1)]
    return places, float(np.hypot(*spans))


def _one(p: Array, t: Array, plane: Array, longest: float, options: Any) -> tuple[float, ...]:
    """Return S, A and L of one pair of fields."""
    good = ~np.isnan(p + t)
    fields = [np.where(good, x, 0.0) for x in (p, t)]
    predicted, true = (_objects(x, plane, options) for x in fields)
    if predicted is None or true is None or not longest > 0:
        return np.nan, np.nan, np.nan
    volume_p, centre_p, spread_p = predicted
    volume_t, centre_t, spread_t = true
    means = [float(x.sum()) for x in fields]
    far = float(np.hypot(*(centre_p - centre_t))) / longest
    return (
        2 * (volume_p - volume_t) / (volume_p + volume_t),
        2 * (means[0] - means[1]) / (means[0] + means[1]),
        far + 2 * abs(spread_p - spread_t) / longest,
    )


def _objects(x: Array, plane: Array, options: Any) -> tuple[float, Array, float] | None:
    """Return scaled volume, centre of mass, and mean distance of the objects from it."""
    factor, quantile, wet = options
    wet_values = x[(x >= wet) & (x > 0)]
    if not wet_values.size:
        return None
    high = wet_values.max() if quantile is None else np.quantile(wet_values, quantile)
    labels, count = ndimage.label(x >= factor * high, _NEIGHBOURS)
    numbers = np.arange(1, count + 1)
    sums = ndimage.sum_labels(x, labels, numbers)
    scaled = sums / ndimage.maximum(x, labels, numbers)
    centre = np.array([(x * axis).sum() for axis in plane]) / x.sum()
    own = np.stack([ndimage.sum_labels(x * axis, labels, numbers) / sums for axis in plane])
    apart = np.hypot(*(own - centre[:, None]))
    return float(sums @ scaled / sums.sum()), centre, float(sums @ apart / sums.sum())
