"""Models fitted to labelled semivariograms, long names and units, and the rose of directions."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xdownscale.core.grids import Array
from xdownscale.core.variogram_models import MESSAGE, SHAPES, fit_curves

LAG = "lag"
DIRECTION = "direction"


def with_fit(curves: xr.Dataset, model: str) -> xr.Dataset:
    """Fit the model to every curve, where there is one, and add its parameters.

    Parameters
    ----------
    curves : Dataset
        ``semivariance``, ``pair_count``, ``weight`` (of each class in the fit) and the coordinate
        ``distance``, over ``lag``.
    model : str
        As in `fit_curves`.

    Returns
    -------
    Dataset
        Without ``weight``.
    """
    curve, parameters, ok, message, unreliable = xr.apply_ufunc(
        fit_curves,
        curves.semivariance,
        curves.weight,
        curves.distance,
        input_core_dims=[[LAG]] * 3,
        output_core_dims=[[LAG], ["parameter"], [], [], ["parameter"]],
        kwargs={"lag": curves[LAG].values, "model": model},
        dask="parallelized",
        output_dtypes=[float, float, bool, MESSAGE, float],
        dask_gufunc_kwargs={"output_sizes": {"parameter": 4}},
    )
    reach, psill, nugget, shape = (parameters.isel(parameter=k) for k in range(4))
    best = [unreliable.isel(parameter=k) for k in range(4)]
    found = curves.drop_vars("weight").assign(
        fit=curve, nugget=nugget, psill=psill, sill=psill + nugget, effective_range=reach
    )
    if model in SHAPES:
        found[SHAPES[model]] = shape
    found = found.assign(fit_ok=ok, message=message)
    found = found.assign(
        unreliable_range=best[0], unreliable_psill=best[1], unreliable_nugget=best[2]
    )
    if model in SHAPES:
        found[f"unreliable_{SHAPES[model]}"] = best[3]
    return found


def labelled(found: xr.Dataset, units: str | None, *, squared: bool = True) -> xr.Dataset:
    """Set long names and units; `units` are those of the field, None where it has none."""
    square = "" if not units else f"({units})^2" if squared and units != "1" else units
    for name, (what, unit) in _MEANING.items():
        if name in found.variables:
            said = unit or square
            found[name].attrs = {"long_name": what, **({"units": said} if said else {})}
    for name in {"fit_ok", "message"} & set(found.variables):
        found[name].attrs.pop("units", None)
    return found


_MEANING = {
    "lag": ("distance, middle of the class", "km"),
    "distance": ("mean distance of the pairs", "km"),
    "semivariance": ("semivariance", ""),
    "pair_count": ("pairs of cells on a day", "1"),
    "lower": ("2.5 % quantile of the mean semivariance", ""),
    "upper": ("97.5 % quantile of the mean semivariance", ""),
    "fit": ("fitted semivariance", ""),
    "nugget": ("nugget", ""),
    "psill": ("partial sill", ""),
    "sill": ("sill, partial sill plus nugget", ""),
    "effective_range": ("effective range", "km"),
    "smoothness": ("smoothness", "1"),
    "shape": ("shape, the exponent of the distance", "1"),
    "fit_ok": ("whether the fit is good", ""),
    "message": ("why the fit failed", ""),
    "unreliable_range": ("effective range of a fit that was refused", "km"),
    "unreliable_psill": ("partial sill of a fit that was refused", ""),
    "unreliable_nugget": ("nugget of a fit that was refused", ""),
    "unreliable_smoothness": ("smoothness of a fit that was refused", "1"),
    "unreliable_shape": ("shape of a fit that was refused", "1"),
    "direction": ("bearing of the pairs, clockwise from north", "degrees"),
    "threshold": ("threshold of the indicator", ""),
    "anisotropy_ratio": ("range across over range along the main direction", "1"),
    "anisotropy_angle": ("bearing of the longest range, clockwise from north", "degrees"),
}


def with_anisotropy(found: xr.Dataset) -> xr.Dataset:
    """Add ratio and angle of the ellipse through the fitted ranges of the directions."""
    ratio, angle = xr.apply_ufunc(
        range_ellipse,
        found.effective_range,
        input_core_dims=[[DIRECTION]],
        output_core_dims=[[], []],
        kwargs={"bearing": found[DIRECTION].values},
        dask="parallelized",
        output_dtypes=[float, float],
    )
    return found.assign(anisotropy_ratio=ratio, anisotropy_angle=angle)


def range_ellipse(reach: Array, *, bearing: Array) -> tuple[Array, Array]:
    """Fit an ellipse to ranges by direction.

    ``1 / r^2 = A cos^2 b + B sin 2b + C sin^2 b`` by least squares over the bearings b that have a
    range r; the axes are the eigenvectors of ``[[A, B], [B, C]]``.

    Parameters
    ----------
    reach : ndarray, shape (..., direction)
        Ranges; NaN where there is none.
    bearing : ndarray, shape (direction,)
        Degrees clockwise from north.

    Returns
    -------
    (ndarray, ndarray)
        Shortest over longest axis, and the bearing of the longest (0 to 180), each ``(...)``; NaN
        where fewer than three directions have a range, or they lie on no ellipse.

    Examples
    --------
    >>> b = np.arange(0.0, 180.0, 22.5)
    >>> turn = np.radians(b - 30.0)
    >>> r = 1 / np.sqrt((np.cos(turn) / 400) ** 2 + (np.sin(turn) / 100) ** 2)
    >>> ratio, angle = range_ellipse(r, bearing=b)
    >>> ratio.round(6).item(), angle.round(6).item()
    (0.25, 30.0)
    """
    b = np.radians(bearing)
    basis = np.stack([np.cos(b) ** 2, np.sin(2 * b), np.sin(b) ** 2], axis=-1)
    ratio = np.full(reach.shape[:-1], np.nan)
    angle = np.full(reach.shape[:-1], np.nan)
    for place in np.ndindex(reach.shape[:-1]):
        known = np.isfinite(reach[place])
        if known.sum() < 3:
            continue
        scale = reach[place][known].max()
        target = (scale / reach[place][known]) ** 2
        north, cross, east = np.linalg.lstsq(basis[known], target, rcond=None)[0]
        values, axes = np.linalg.eigh(np.array([[north, cross], [cross, east]]))
        if values[0] > 0:
            ratio[place] = np.sqrt(values[0] / values[1])
            angle[place] = np.degrees(np.arctan2(axes[1, 0], axes[0, 0])) % 180.0
    return ratio, angle
