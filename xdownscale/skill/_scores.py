"""Scores of each time step over its pixels: R2, RMSE, MAE, bias, CRPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from xdownscale.core import units
from xdownscale.core.alignment import Matched, match
from xdownscale.core.coords import require_array
from xdownscale.core.normalization import Scaling
from xdownscale.skill import _kernels
from xdownscale.skill._options import (
    MEMBERS,
    Weights,
    pixel_weights,
    scaling_of,
    transformed_record,
)

Transform = str | Scaling | None
LONG_NAMES = {
    "r2": "coefficient of determination",
    "pearson_r2": "squared correlation",
    "rmse": "root mean square error",
    "mae": "mean absolute error",
    "bias": "mean of prediction minus truth",
    "crps": "fair continuous ranked probability score",
}


def r2(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.DataArray:
    """Return the coefficient of determination of each day: 1 - SSE/SST over its pixels.

    Parameters
    ----------
    prediction, truth : DataArray
        (time, lat, lon) on one grid, dims in any order; scored on their common days. Further
        dims of the prediction, such as realizations, are kept.
    weights : bool or DataArray
        True weighs the pixels by their area; a DataArray (lat, lon) by its values; False counts
        each pixel once.
    transform : str, Scaling or None
        Transformed units to score in, such as ``"log10"``; None for the units given.

    Returns
    -------
    DataArray
        (time); NaN where the truth is constant. Lazy where the input is.

    Raises
    ------
    GridError
        If the grids differ.
    TimeAxisError
        If there is no common day, or days are duplicate.
    DataError
        If values cannot be transformed (with lazy input, when they are computed).
    OptionError
        If weights are negative, or the transform is unknown.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> r2(truth + 1, truth).item()
    -0.5
    """
    return _score("r2", _kernels.r2, prediction, truth, weights, transform)


def pearson_r2(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.DataArray:
    """Return the squared correlation of each day over its pixels (what many tables call R2).

    Parameters, errors and result as for `r2`; NaN where either field is constant.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> round(pearson_r2(truth + 1, truth).item(), 12)
    1.0
    """
    return _score("pearson_r2", _kernels.pearson_r2, prediction, truth, weights, transform)


def rmse(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.DataArray:
    """Return the root mean square error of each day, in the units of the truth.

    Parameters, errors and result as for `r2`.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> rmse(truth + 1, truth).item()
    1.0
    """
    return _score("rmse", _kernels.rmse, prediction, truth, weights, transform)


def mae(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.DataArray:
    """Return the mean absolute error of each day, in the units of the truth.

    Parameters, errors and result as for `r2`.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> mae(truth - 2, truth).item()
    2.0
    """
    return _score("mae", _kernels.mae, prediction, truth, weights, transform)


def bias(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.DataArray:
    """Return the mean of prediction minus truth of each day, in the units of the truth.

    Parameters, errors and result as for `r2`.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> bias(truth - 2, truth).item()
    -2.0
    """
    return _score("bias", _kernels.bias, prediction, truth, weights, transform)


def crps(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.DataArray:
    """Return the fair continuous ranked probability score of each day, mean over its pixels.

    ``(1/M) sum|x_m - y| - 1/(2 M (M-1)) sum|x_i - x_j|`` (Ferro 2014), for M realizations along
    the dimension ``realization``; with one, or none, it is the mean absolute error.

    Parameters, errors and result as for `r2`.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 1.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> ensemble = xr.concat([truth - 1, truth + 1], dim="realization")
    >>> crps(ensemble, truth).item()
    0.0
    """
    require_array(prediction)
    require_array(prediction, "The prediction")
    if MEMBERS not in prediction.dims:
        prediction = prediction.expand_dims(MEMBERS)
    return _score("crps", _kernels.crps, prediction, truth, weights, transform, leading=(MEMBERS,))


def paired(prediction: xr.DataArray, truth: xr.DataArray, transform: Transform) -> Matched:
    """Match a prediction with the truth, and transform both to the units that are scored.

    Parameters
    ----------
    prediction, truth : DataArray
        As for `r2`.
    transform : str, Scaling or None
        As for `r2`.

    Returns
    -------
    Matched
        With the one prediction ``"prediction"``.
    """
    space = scaling_of(transform)
    pairs = match({"prediction": prediction}, truth)
    own = transformed_record("prediction", pairs.predictions["prediction"], space)
    reference = transformed_record("truth", pairs.truth, space)
    return pairs._replace(
        predictions={"prediction": own.astype(float, copy=False)},
        truth=reference.astype(float, copy=False),
    )


def apply_kernel(
    kernel: Callable[..., Any],
    pairs: Matched,
    weights: xr.DataArray | None,
    *,
    leading: tuple[str, ...] = (),
    extra: tuple[xr.DataArray, ...] = (),
    outputs: tuple[tuple[str, ...], ...] = ((),),
    sizes: dict[str, int] | None = None,
) -> Any:
    """Apply a kernel of (p, t, *extra, weights) to each day, lazily where the input is lazy.

    Parameters
    ----------
    kernel : callable
        Reduces the last axes (y, x), and those of `leading` in front of them.
    pairs : Matched
        Of one prediction.
    weights : DataArray or None
        (y, x).
    leading : tuple of str
        Further core dims of the prediction.
    extra : tuple of DataArray
        Further arguments with the dims of the truth.
    outputs : tuple of tuple of str
        New dims of each result.
    sizes : dict, optional
        Their sizes.

    Returns
    -------
    DataArray, or a tuple of them
    """
    grid = [pairs.axes.y, pairs.axes.x]
    more = [] if weights is None else [weights]
    return xr.apply_ufunc(
        kernel,
        pairs.predictions["prediction"],
        pairs.truth,
        *extra,
        *more,
        input_core_dims=[[*leading, *grid], *[grid for _ in (pairs.truth, *extra, *more)]],
        output_core_dims=[list(dims) for dims in outputs],
        dask="parallelized",
        output_dtypes=[float] * len(outputs),
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": sizes or {}},
    )


def units_of(truth: xr.DataArray, transform: Transform) -> str | None:
    """Return the units of an error: those of the truth, and the transform.

    Parameters
    ----------
    truth : DataArray
    transform : str, Scaling or None

    Returns
    -------
    str or None
    """
    return units.transformed_units(units.units_of(truth), scaling_of(transform).transform)


def _score(
    name: str,
    kernel: Callable[..., Any],
    prediction: xr.DataArray,
    truth: xr.DataArray,
    weights: Weights,
    transform: Transform,
    leading: tuple[str, ...] = (),
) -> xr.DataArray:
    pairs = paired(prediction, truth, transform)
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    found: xr.DataArray = apply_kernel(kernel, pairs, shares, leading=leading)
    own = "1" if name.endswith("r2") else units_of(truth, transform)
    about = {"long_name": LONG_NAMES[name], **({"units": own} if own else {})}
    return found.rename(name).assign_attrs(about)
