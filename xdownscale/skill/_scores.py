"""One labelled function per score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from xdownscale.skill import _arrays
from xdownscale.skill._matching import MEMBERS, match


def r2(prediction: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Coefficient of determination of each day: 1 - SSE/SST over its pixels.

    Parameters
    ----------
    prediction, truth : DataArray
        (time, lat, lon) on one grid, dims in any order; scored on their common days. Further
        dims of the prediction, such as realizations, are kept.

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

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> r2(truth + 1, truth).item()
    -0.5
    """
    return _score("r2", _arrays.r2, prediction, truth)


def pearson_r2(prediction: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Squared correlation of each day over its pixels (what many tables call R2).

    Parameters, errors and result as for `r2`; NaN where either field is constant.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> round(pearson_r2(truth + 1, truth).item(), 12)
    1.0
    """
    return _score("pearson_r2", _arrays.pearson_r2, prediction, truth)


def rmse(prediction: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Root mean square error of each day, in the units of the truth.

    Parameters, errors and result as for `r2`.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> rmse(truth + 1, truth).item()
    1.0
    """
    return _score("rmse", _arrays.rmse, prediction, truth)


def mae(prediction: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Mean absolute error of each day, in the units of the truth.

    Parameters, errors and result as for `r2`.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> mae(truth - 2, truth).item()
    2.0
    """
    return _score("mae", _arrays.mae, prediction, truth)


def bias(prediction: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Mean of prediction minus truth of each day, in the units of the truth.

    Parameters, errors and result as for `r2`.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 2.0, 3.0]], coords={"lat": [0.0], "lon": [0.0, 1.0, 2.0]})
    >>> bias(truth - 2, truth).item()
    -2.0
    """
    return _score("bias", _arrays.bias, prediction, truth)


def crps(prediction: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Fair continuous ranked probability score of each day, mean over its pixels.

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
    if MEMBERS not in prediction.dims:
        prediction = prediction.expand_dims(MEMBERS)
    return _score("crps", _arrays.crps, prediction, truth, MEMBERS)


def _score(
    name: str,
    kernel: Callable[[Any, Any], Any],
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *leading: str,
) -> xr.DataArray:
    """Apply a kernel to the common days, lazily where the input is lazy."""
    pairs = match({"prediction": prediction}, truth)
    grid = [pairs.axes.y, pairs.axes.x]
    found: xr.DataArray = xr.apply_ufunc(
        kernel,
        pairs.predictions["prediction"].astype(float),
        pairs.truth.astype(float),
        input_core_dims=[[*leading, *grid], grid],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    units = "1" if name.endswith("r2") else truth.attrs.get("units")
    return found.rename(name).assign_attrs({"units": units} if units else {})
