"""Baselines of downscaling: what takes seconds, and what a network has to beat.

`interpolate`, `climatology` and `persistence` need no fit. `bias_corrected`, `quantile_mapped`,
`ridge`, `kriging` and `pointwise`, which sees yesterday's fine field, are fitted in closed form on
training days; `dressed`, `gaussian` and `analogues` are ensembles, and `kriging` is one where
realizations are asked. `all` makes them all. Each returns a DataArray on the fine grid for the days
asked, with the dimensions, their order and the name of the fine record.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import (
    DataError,
    GridError,
    OptionError,
    TimeAxisError,
    XDownscaleWarning,
    check_option,
    check_whole,
)
from xdownscale.core.located import with_located
from xdownscale.core.missing import finite
from xdownscale.core.normalization import Scaling, choose_transform
from xdownscale.core.time import rounded
from xdownscale.core.values import check_some
from xdownscale.models.statistical.conditional import KrigingOptions
from xdownscale.regridding import regrid
from xdownscale.skill._closed_forms import (
    fit_analogues,
    fit_bias,
    fit_dressed,
    fit_gaussian,
    fit_kriging,
    fit_point,
)
from xdownscale.skill._pointwise import FineFields, fit_pointwise, forced, free_running
from xdownscale.skill._training import (
    Coarse,
    Reading,
    labelled,
    own_driver,
    positions,
    read_training,
    to_index,
)
from xdownscale.splits import Split

_YEAR = 365.25
_ROW = "_day_of_year"


@with_located
def interpolate(
    coarse: xr.DataArray,
    fine: xr.DataArray,
    time: Any = None,
    method: str = "bicubic",
    *,
    transform: str | Scaling = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Interpolate the coarse record to the fine grid, day by day.

    Parameters
    ----------
    coarse : DataArray
        Coarse record (time, lat, lon), dims in any order.
    fine : DataArray
        Fine record, which lends its grid, dims, name and attributes, or any field on its grid.
    time : array of times, optional
        Days asked; default all days of `coarse`.
    method : str
        As in `regrid`.
    transform : str or Scaling
        A spline overshoots steps and would make a positive variable negative, so it is
        interpolated in the space of this transform. ``"auto"`` looks at the values of the days
        asked (which reads them) and chooses as `choose_transform` does; a variable that is never
        negative is then also kept from falling below its minimum. ``"identity"`` interpolates the
        values as they are.
    extrapolate : None or "nearest"
        As in `regrid`.

    Returns
    -------
    DataArray
        On the fine grid for the days asked; lazy where `coarse` is.

    Raises
    ------
    TimeAxisError
        If a day asked is not in `coarse`, or `coarse` has duplicate days.
    GridError
        As `regrid`.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=2)
    >>> edges = {"time": days, "lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    >>> coarse = xr.DataArray(np.ones((2, 2, 2)), coords=edges)
    >>> fine = xr.DataArray(np.zeros((3, 1)), coords={"lat": [0.0, 0.5, 1.0], "lon": [0.5]})
    >>> interpolate(coarse, fine, method="bilinear").sizes["lat"]
    3
    """
    coarse = check_some(coarse, "The coarse record")
    name = require_time(coarse, "The coarse record")
    wanted = coarse.indexes[name] if time is None else to_index(time)
    days = coarse.isel({name: positions(coarse, wanted, "The coarse record", complete=True)})
    days = days.transpose(name, ...)
    days = days.copy(data=finite(days.data))
    space = transform
    if not isinstance(space, Scaling):
        space = choose_transform(days.data, space)
    moved = regrid(
        days.copy(data=space.transform_only(days.data)),
        fine,
        method=method,
        extrapolate=extrapolate,
    )
    moved = moved.copy(data=space.untransform(moved.data))
    if transform == "auto" and space.minimum is not None and space.minimum >= 0:
        moved = moved.clip(min=space.minimum, keep_attrs=True)
    return _like(moved, name, fine, wanted)


@with_located
def climatology(fine: xr.DataArray, time: Any, window_days: float = 15) -> xr.DataArray:
    """Return the mean of the training days at the same time of the year, pixel by pixel.

    Parameters
    ----------
    fine : DataArray
        Training days of the fine record (time, lat, lon), dims in any order; NaN and infinities
        are left out.
    time : array of times
        Days asked.
    window_days : float
        Training days within this many days of the day of the year count, across the turn of
        the year, in any year. Where there is none, the nearest in the year do.

    Returns
    -------
    DataArray
        Like `fine`, for the days asked; NaN where a pixel has no value in the window.

    Raises
    ------
    OptionError
        If the window is negative.
    TimeAxisError
        If `fine` has no time.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=3)
    >>> fine = xr.DataArray(
    ...     np.arange(3.0).reshape(3, 1, 1), coords={"time": days, "lat": [0.0], "lon": [0.0]}
    ... )
    >>> climatology(fine, pd.date_range("2005-01-02", periods=1)).item()
    1.0
    """
    fine = check_some(fine, "The fine record")
    name = require_time(fine, "The fine record")
    if not window_days >= 0:
        raise OptionError(f"window_days is {window_days}; give a number of days, 0 or more.")
    wanted = to_index(time)
    places, row = np.unique(place_in_year(wanted), return_inverse=True)
    apart = np.abs(places[:, None] - place_in_year(fine.indexes[name])[None])
    apart = _YEAR * np.minimum(apart, 1 - apart)
    # half a day more: days of leap years and others do not quite meet
    reach = np.maximum(window_days, apart.min(axis=1, keepdims=True)) + 0.5
    kind = np.result_type(fine.dtype, np.float32)
    known = fine.copy(data=finite(fine.data)).drop_vars(name)
    weights = xr.DataArray((apart <= reach).astype(kind), dims=(_ROW, name))
    total = xr.dot(known.fillna(0), weights, dim=name, optimize=True)
    valid = (known == known).astype(kind)  # not NaN
    count = xr.dot(valid, weights, dim=name, optimize=True)
    mean = total / count.where(count > 0)
    return _like(mean.isel({_ROW: xr.DataArray(row, dims=name)}), name, fine, wanted)


@with_located
def persistence(fine: xr.DataArray, time: Any = None, lag: int = 1) -> xr.DataArray:
    """Return the true fine field `lag` days before each day.

    Parameters
    ----------
    fine : DataArray
        Fine record (time, lat, lon), dims in any order.
    time : array of times, optional
        Days asked; default all days of `fine`.
    lag : int
        Days back, 1 or more.

    Returns
    -------
    DataArray
        Like `fine`, for the days asked; NaN where the day before is not in the record.

    Raises
    ------
    OptionError
        If the lag is less than 1.
    TimeAxisError
        If `fine` has no time, or duplicate days.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=3)
    >>> fine = xr.DataArray(
    ...     np.arange(3.0).reshape(3, 1, 1), coords={"time": days, "lat": [0.0], "lon": [0.0]}
    ... )
    >>> persistence(fine).values.ravel()
    array([nan,  0.,  1.])
    """
    fine = check_some(fine, "The fine record")
    name = require_time(fine, "The fine record")
    if lag < 1:
        raise OptionError(f"lag is {lag}; give 1 (yesterday) or more days.")
    wanted = fine.indexes[name] if time is None else to_index(time)
    before = wanted - datetime.timedelta(days=lag)
    found = positions(fine, before, "The fine record")
    there = xr.DataArray(found >= 0, dims=name)
    taken = fine.isel({name: found}).drop_vars(name)
    return _like(taken.where(there), name, fine, wanted)


@with_located
def persistence_from_start(fine: xr.DataArray, time: Any) -> xr.DataArray:
    """Return the last training day for every day asked: persistence without new fine fields.

    Parameters
    ----------
    fine : DataArray
        Training days of the fine record (time, lat, lon); the latest one is held.
    time : array of times
        Days asked.

    Returns
    -------
    DataArray
        Like `fine`, for the days asked.

    Raises
    ------
    TimeAxisError
        If `fine` has no time.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=3)
    >>> fine = xr.DataArray(
    ...     np.arange(3.0).reshape(3, 1, 1), coords={"time": days, "lat": [0.0], "lon": [0.0]}
    ... )
    >>> persistence_from_start(fine, pd.date_range("2000-01-04", periods=2)).values.ravel()
    array([2., 2.])
    """
    fine = check_some(fine, "The fine record")
    name = require_time(fine, "The fine record")
    wanted = to_index(time)
    last = int(fine.indexes[name].argmax())
    held = fine.isel({name: np.full(len(wanted), last)})
    return _like(held, name, fine, wanted)


@with_located
def bias_corrected(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    method: str = "bilinear",
    kind: str = "auto",
    *,
    driver: str | None = None,
    transform: str = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Interpolate the coarse record, and correct the mean error of each cell on training days.

    Parameters
    ----------
    coarse : DataArray or Dataset
        Coarse record (time, lat, lon) of the training days and of the days asked.
    fine_train : DataArray
        Training days of the fine record (time, lat, lon).
    time : array of times, optional
        Days asked; default all days of `coarse`.
    method : str
        As in `regrid`; usually ``"bilinear"`` or ``"bicubic"``.
    kind : {"auto", "additive", "ratio"}
        ``"additive"``: truth minus interpolation is added, in transformed units (under log10 that
        is a factor). ``"ratio"``: the sum of the truth over that of the interpolation multiplies,
        in physical units; cells that are nearly always dry lean on the domain's. ``"auto"``: a
        ratio for skewed values with zeros, such as rain; else additive.
    driver : str, optional
        Variable of a Dataset that is the same quantity as the fine record; default that of its
        name.
    transform : str
        As in `choose_transform`; ``"auto"`` looks at the training days of both records.
    extrapolate : None or "nearest"
        As in `regrid`.

    Returns
    -------
    DataArray
        On the fine grid for the days asked, with the labels of `fine_train`. Training days are read
        at once; the days asked are lazy where `coarse` is. NaN at cells without a training value,
        and on days with more than a fifth of the coarse cells missing.

    Raises
    ------
    DataError
        If there are fewer than 2 training days with a coarse field (the message names the
        baselines that are left), or units differ.
    GridError, TimeAxisError
        As `interpolate`.
    OptionError
        For an unknown `kind`, or a ratio of values below 0.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=4)
    >>> coarse = xr.DataArray(
    ...     [[[280.0, 281.0]], [[283.0, 282.0]], [[279.0, 284.0]], [[281.0, 281.0]]],
    ...     coords={"time": days, "lat": [0.0], "lon": [0.0, 1.0]},
    ... )
    >>> fine = coarse[:2] + [1.0, 2.0]
    >>> bias_corrected(coarse, fine, days[3:]).values.ravel()
    array([282., 283.], dtype=float32)
    """
    reading = Reading(method=method, extrapolate=extrapolate, transform=transform, driver=driver)
    training, asked = read_training(coarse, fine_train, time, reading, "bias_corrected")
    return labelled(training, asked, fit_bias(training, kind))


@with_located
def quantile_mapped(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    method: str = "bilinear",
    *,
    quantiles: int = 51,
    driver: str | None = None,
    transform: str = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Interpolate the coarse record, and map each cell onto the distribution of the training days.

    Linear between quantiles; values beyond the outermost are shifted as these are (Panofsky and
    Brier 1968).

    Parameters
    ----------
    coarse, fine_train, time, method, driver, transform, extrapolate
        As for `bias_corrected`.
    quantiles : int
        Their number, evenly spaced from 0 to 1; 2 or more.

    Returns
    -------
    DataArray
        As of `bias_corrected`.

    Raises
    ------
    DataError, GridError, TimeAxisError
        As `bias_corrected`; 30 training days are needed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2000-01-01", periods=60)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> coarse = xr.DataArray(rng.normal(size=(60, 1, 2)), coords=edges)
    >>> found = quantile_mapped(coarse, 3 * coarse[:40] + 1, days[:40])
    >>> bool(abs(found - 3 * coarse[:40] - 1).max() < 1e-4)
    True
    """
    check_whole("quantiles", quantiles, least=2)
    reading = Reading(method=method, extrapolate=extrapolate, transform=transform, driver=driver)
    training, asked = read_training(coarse, fine_train, time, reading, "quantile_mapped")
    make = fit_point(training, "quantile_mapping", quantiles=quantiles)
    return labelled(training, asked, make)


@with_located
def ridge(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    *,
    window: int = 1,
    ahead: int = 0,
    penalty: float | None = None,
    method: str = "bicubic",
    driver: str | None = None,
    transform: str = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Predict each fine cell by ridge regression on the coarse cells of all drivers and the season.

    ``|y - b - X w|^2 + n penalty |w|^2`` with standardised predictors X: the coarse cells in and
    around the fine grid (of more than 256, those around each cell), of all variables, at the time
    step itself and some before it, and sine and cosine of the day of the year. The mean of method
    ``"dressed"``.

    Parameters
    ----------
    coarse : DataArray or Dataset
        Coarse record of the training days and of the days asked; of a Dataset all variables are
        predictors.
    fine_train, time, driver, transform, extrapolate
        As for `bias_corrected`.
    window, ahead : int
        Time steps of the coarse record before and after each that are predictors too.
    penalty : float, optional
        Of one time step; default the one with the smallest error on six held-out blocks of the
        training days.
    method : str
        Of the interpolated driver, which the prediction may be shrunk to instead of to each cell's
        mean, whichever has the smaller held-out error.

    Returns
    -------
    DataArray
        As of `bias_corrected`; NaN on days too whose window the coarse record lacks.

    Raises
    ------
    DataError, GridError, TimeAxisError
        As `bias_corrected`; 12 training days are needed.
    OptionError
        If `window` or `ahead` is less than 0.

    References
    ----------
    Hoerl and Kennard (1970), doi:10.1080/00401706.1970.10488634.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2000-01-01", periods=60)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> coarse = xr.DataArray(rng.normal(size=(60, 1, 2)), coords=edges)
    >>> fine = coarse + 2 * coarse.roll(lon=1, roll_coords=False)
    >>> found = ridge(coarse, fine[:50], days[50:], window=0)
    >>> bool(abs(found - fine[50:]).max() < 0.01)
    True
    """
    reading = Reading(
        window=window,
        ahead=ahead,
        method=method,
        extrapolate=extrapolate,
        transform=transform,
        driver=driver,
    )
    training, asked = read_training(coarse, fine_train, time, reading, "ridge")
    return labelled(training, asked, fit_point(training, "ridge", penalty=penalty))


@with_located
def dressed(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    *,
    realizations: int = 24,
    seed: int = 0,
    mean: str = "auto",
    neighbours: int | None = None,
    window: int = 1,
    ahead: int = 0,
    method: str = "bicubic",
    driver: str | None = None,
    transform: str = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Generate members: a point estimate plus residual fields of similar training days.

    Method ``"dressed"`` as a function: residuals are out of fold, those of the training days whose
    predictions are nearest in 6 principal components.

    Parameters
    ----------
    coarse, fine_train, time, window, ahead, method, driver, transform, extrapolate
        As for `ridge`.
    realizations, seed : int
        Number of members, and the seed of their choice. A member depends on seed, number and time
        alone.
    mean : str
        Point estimate: ``"driver"`` (interpolated), ``"bias"``, ``"quantile_mapping"``,
        ``"ridge"``; ``"auto"``: the first two or the last, by held-out error.
    neighbours : int, optional
        Training days that residuals are taken from; default by CRPS.

    Returns
    -------
    DataArray
        (realization, time, lat, lon), as of `ridge`.

    Raises
    ------
    DataError, GridError, TimeAxisError, OptionError
        As `ridge`; for an unknown `mean`; 12 training days are needed.

    References
    ----------
    Roulston and Smith (2003), doi:10.3402/tellusa.v55i1.12082.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2000-01-01", periods=60)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> coarse = xr.DataArray(rng.normal(size=(60, 1, 2)), coords=edges)
    >>> fine = coarse + 0.1 * rng.normal(size=coarse.shape)
    >>> dressed(coarse, fine[:50], days[50:], realizations=3).sizes["realization"]
    3
    """
    check_whole("realizations", realizations, least=1)
    reading = Reading(
        window=window,
        ahead=ahead,
        method=method,
        extrapolate=extrapolate,
        transform=transform,
        driver=driver,
    )
    training, asked = read_training(coarse, fine_train, time, reading, "dressed")
    make = fit_dressed(training, mean, neighbours, realizations, seed)
    return labelled(training, asked, make, realizations)


@with_located
def gaussian(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    *,
    realizations: int = 24,
    seed: int = 0,
    mean: str = "auto",
    window: int = 1,
    ahead: int = 0,
    method: str = "bicubic",
    driver: str | None = None,
    transform: str = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Generate members: a point estimate plus correlated Gaussian noise like its residual.

    Method ``"gaussian"`` as a function: the noise has the residual's spectrum, its smoothed map of
    standard deviations and its correlation from one time step to the next.

    Parameters
    ----------
    coarse, fine_train, time, window, ahead, method, driver, transform, extrapolate
        As for `ridge`.
    realizations, seed, mean
        As for `dressed`.

    Returns
    -------
    DataArray
        (realization, time, lat, lon), as of `ridge`.

    Raises
    ------
    DataError, GridError, TimeAxisError, OptionError
        As `dressed`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2000-01-01", periods=60)
    >>> grid = {"lat": np.arange(8.0), "lon": np.arange(8.0)}
    >>> coarse = xr.DataArray(rng.normal(size=(60, 8, 8)), coords={"time": days, **grid})
    >>> fine = coarse + 0.1 * rng.normal(size=coarse.shape)
    >>> gaussian(coarse, fine[:50], days[50:], realizations=3).sizes["realization"]
    3
    """
    check_whole("realizations", realizations, least=1)
    reading = Reading(
        window=window,
        ahead=ahead,
        method=method,
        extrapolate=extrapolate,
        transform=transform,
        driver=driver,
    )
    training, asked = read_training(coarse, fine_train, time, reading, "gaussian")
    make = fit_gaussian(training, mean, realizations, seed)
    return labelled(training, asked, make, realizations)


@with_located
def analogues(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    *,
    realizations: int = 24,
    seed: int = 0,
    neighbours: int | None = None,
    components: int | None = None,
    kind: str = "auto",
    window: int = 1,
    ahead: int = 0,
    method: str = "bicubic",
    driver: str | None = None,
    transform: str = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Generate members: fine fields of the training days with the most similar coarse fields.

    Method ``"analogues"`` as a function (Zorita and von Storch 1999).

    Parameters
    ----------
    coarse, fine_train, time, window, ahead, method, driver, transform, extrapolate
        As for `ridge`.
    realizations, seed
        As for `dressed`.
    neighbours, components : int, optional
        Training days that members are taken from, and principal components by which they are
        found; default by CRPS.
    kind : {"auto", "field", "error"}
        A member is a fine field of the past, or the interpolated driver plus its error then;
        ``"auto"`` chooses by CRPS.

    Returns
    -------
    DataArray
        (realization, time, lat, lon), as of `ridge`.

    Raises
    ------
    DataError, GridError, TimeAxisError, OptionError
        As `dressed`; for an unknown `kind`.

    References
    ----------
    Zorita and von Storch (1999), doi:10.1175/1520-0442(1999)012<2474:TAMAAS>2.0.CO;2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2000-01-01", periods=60)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> coarse = xr.DataArray(rng.normal(size=(60, 1, 2)), coords=edges)
    >>> found = analogues(coarse, coarse[:50], days[50:], realizations=3, kind="field")
    >>> apart = abs(found.values[..., None] - coarse[:50].values.ravel())
    >>> bool(apart.min(-1).max() < 1e-5)  # every value was there before
    True
    """
    check_whole("realizations", realizations, least=1)
    check_option("kind", kind, ("auto", "field", "error"))
    reading = Reading(
        window=window,
        ahead=ahead,
        method=method,
        extrapolate=extrapolate,
        transform=transform,
        driver=driver,
    )
    training, asked = read_training(coarse, fine_train, time, reading, "analogues")
    make = fit_analogues(
        training, neighbours, components, None if kind == "auto" else kind, realizations, seed
    )
    return labelled(training, asked, make, realizations)


@with_located
def pointwise(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    *,
    static: xr.DataArray | xr.Dataset | None = None,
    mode: str = "autoregressive",
    history: xr.DataArray | None = None,
    target_day: bool = True,
    method: str = "bicubic",
    driver: str | None = None,
    transform: str = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Predict all pixels by one linear equation from yesterday's fine value and the coarse field.

    ``y_t = a + b y_(t-1) + c x_(t-1) + d x_t + e s + f season``, least squares over all pixels and
    training days together, in transformed units: y the fine value of a pixel, x the interpolated
    coarse one, s latitude, longitude and static fields, season sine and cosine of the day of the
    year (and of the hour, of sub-daily records). A control for every system that sees yesterday's
    fine field: method ``"asdm"`` is its nonlinear form.

    Parameters
    ----------
    coarse, fine_train, time, method, driver, transform, extrapolate
        As for `bias_corrected`.
    static : DataArray or Dataset, optional
        Static fields (lat, lon) on any grid, such as the elevation.
    mode : {"autoregressive", "teacher_forced"}
        ``"autoregressive"``: a time step is predicted from the prediction of the one before; a run
        of consecutive time steps begins with the field of `history` before it, or where there is
        none with the interpolated coarse field. ``"teacher_forced"``: from the field of `history`
        before it, which no downscaling of unseen times has.
    history : DataArray, optional
        Fine fields that are known; default `fine_train`.
    target_day : bool
        The coarse field of the time step itself is a predictor. Without it this is a forecast.

    Returns
    -------
    DataArray
        As of `bias_corrected`; NaN too where the coarse record lacks the time step before and,
        teacher-forced, where `history` does. Lazy where `coarse` is and teacher-forced; a free
        run is computed at once.

    Raises
    ------
    DataError, GridError, TimeAxisError
        As `bias_corrected`; 12 training days are needed, two of them right after another; if
        `history` has other units or another grid, or a static field varies in time.
    OptionError
        For an unknown `mode`.

    Notes
    -----
    A missing pixel of yesterday's field is replaced by the interpolated coarse value of that day;
    in the fit it is left out.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2000-01-01", periods=60)
    >>> edges = {"time": days, "lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    >>> coarse = xr.DataArray(rng.normal(size=(60, 2, 2)), coords=edges)
    >>> fine = coarse.copy()
    >>> for day in range(1, 60):
    ...     fine[day] = 0.8 * fine[day - 1] + coarse[day]
    >>> found = pointwise(coarse, fine[:50], days[50:], method="bilinear")
    >>> bool(abs(found - fine[50:]).max() < 1e-4)
    True
    """
    check_option("mode", mode, ("autoregressive", "teacher_forced"))
    reading = Reading(
        window=1, method=method, extrapolate=extrapolate, transform=transform, driver=driver
    )
    training, asked = read_training(coarse, fine_train, time, reading, "pointwise")
    model = fit_pointwise(training, static, target_day)
    known = FineFields(training, fine_train if history is None else history, "history")
    if mode == "teacher_forced":
        return labelled(training, asked, forced(model, known))
    return labelled(training, asked, free_running(model, known, asked.rows), lazy=False)


@with_located
def kriging(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    *,
    static: xr.DataArray | xr.Dataset | None = None,
    realizations: int | None = None,
    seed: int = 0,
    trend: str = "auto",
    model: str = "exponential",
    neighbours: int | None = None,
    driver: str | None = None,
    transform: str = "auto",
    extrapolate: str | None = None,
) -> xr.DataArray:
    """Krige the coarse field: fine fields whose averages over coarse cells are the coarse values.

    Ordinary area-to-point kriging with the variogram of the training days, as `geostat.krige`, and
    method ``"kriging"`` as a function. Averages are kept in transformed units: under log10 those of
    the logarithms, so that averages of the values differ from the coarse ones.

    Parameters
    ----------
    coarse, fine_train, time, driver, transform, extrapolate
        As for `bias_corrected`; of a Dataset `driver` alone is kriged.
    static : DataArray or Dataset, optional
        Covariates of regression kriging, such as elevation.
    realizations, seed : int
        Conditional simulations: members whose averages are the coarse field too, and whose variance
        is the kriging variance. By default there is the kriged field alone.
    trend : {"auto", "constant", "static", "climate"}
        What is added to kriging, its averages taken off: nothing; the least squares of the mean
        training field on `static`; the mean training field. ``"auto"``: the one with the smallest
        error on six held-out blocks of the training days.
    model : {"spherical", "exponential", "gaussian", "matern"}
        Of the variogram.
    neighbours : int, optional
        As for `geostat.krige`.

    Returns
    -------
    DataArray
        ([realization,] time, lat, lon), as of `bias_corrected`.

    Raises
    ------
    DataError, GridError, TimeAxisError
        As `bias_corrected`; if the training days do not vary in space.
    OptionError
        For an unknown trend or model, or a static trend without static fields.

    References
    ----------
    Kyriakidis (2004), doi:10.1111/j.1538-4632.2004.tb01135.x.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2000-01-01", periods=9)
    >>> sides = np.arange(0.25, 4, 0.5)
    >>> values = rng.normal(size=(9, 8, 8)).cumsum(1).cumsum(2)
    >>> fine = xr.DataArray(values, coords={"time": days, "lat": sides, "lon": sides})
    >>> coarse = fine.downscale.regrid(fine.coarsen(lat=4, lon=4).mean(), "conservative")
    >>> found = kriging(coarse, fine[:6], days[6:])
    >>> means = found.downscale.regrid(coarse, "conservative")
    >>> bool(abs(means - coarse[6:]).max() < 1e-4)
    True
    """
    if realizations is not None:
        check_whole("realizations", realizations, least=1)
    options = KrigingOptions(trend=trend, model=model, neighbours=neighbours)
    if trend == "static" and static is None:
        raise OptionError("trend='static' needs static=..., fields such as elevation.")
    reading = Reading(
        method="bilinear", extrapolate=extrapolate, transform=transform, driver=driver
    )
    training, asked = read_training(coarse, fine_train, time, reading, "kriging")
    make = fit_kriging(training, options, static, realizations, seed)
    return labelled(training, asked, make, realizations)


class _Known(NamedTuple):
    """What baselines are made of."""

    coarse: Coarse
    fine: xr.DataArray
    train: xr.DataArray
    static: xr.DataArray | xr.Dataset | None
    time: pd.Index[Any]
    options: dict[str, Any]
    members: dict[str, int]

    @property
    def own(self) -> xr.DataArray:
        """The coarse record of the fine one's quantity."""
        if isinstance(self.coarse, xr.DataArray):
            return self.coarse
        return self.coarse[own_driver(self.coarse, self.fine, self.options["driver"])]

    @property
    def forced(self) -> dict[str, Any]:
        """Options of a baseline that sees the true field of yesterday."""
        return {"static": self.static, "mode": "teacher_forced", "history": self.fine}

    @property
    def free(self) -> dict[str, Any]:
        """Options of a baseline that sees its own field of yesterday, after a true one."""
        name = require_time(self.fine, "The fine record")
        past = self.fine.isel({name: np.flatnonzero(self.fine.indexes[name] < self.time.min())})
        return {"static": self.static, "mode": "autoregressive", "history": past}

    def fitted(self, function: Callable[..., xr.DataArray], **more: Any) -> xr.DataArray:
        """Call a baseline that is fitted on training days."""
        return function(self.coarse, self.train, self.time, **self.options, **more)


# every baseline: its name in a table, and how it is made
EVERY: tuple[tuple[str, Callable[[_Known], xr.DataArray]], ...] = (
    (
        "bicubic",
        lambda k: interpolate(k.own, k.fine, k.time, extrapolate=k.options["extrapolate"]),
    ),
    ("climatology", lambda k: climatology(k.train, k.time)),
    ("persistence", lambda k: persistence(k.fine, k.time)),
    ("bilinear + bias", lambda k: k.fitted(bias_corrected)),
    ("quantile mapping", lambda k: k.fitted(quantile_mapped)),
    ("ridge", lambda k: k.fitted(ridge)),
    ("pointwise [teacher-forced]", lambda k: k.fitted(pointwise, **k.forced)),
    ("pointwise [free-running]", lambda k: k.fitted(pointwise, **k.free)),
    ("kriging", lambda k: k.fitted(kriging, static=k.static)),
    ("dressed", lambda k: k.fitted(dressed, **k.members)),
    ("gaussian", lambda k: k.fitted(gaussian, **k.members)),
    ("analogues", lambda k: k.fitted(analogues, **k.members)),
    ("kriging, simulated", lambda k: k.fitted(kriging, static=k.static, **k.members)),
)


@with_located
def all(
    coarse: Coarse,
    fine: xr.DataArray,
    static: xr.DataArray | xr.Dataset | None = None,
    split: Split | Mapping[str, Any] | None = None,
    *,
    realizations: int = 24,
    seed: int = 0,
    driver: str | None = None,
    extrapolate: str | None = None,
) -> dict[str, xr.DataArray]:
    """Make every baseline for the test days, fitted on the others.

    Parameters
    ----------
    coarse : DataArray or Dataset
        Coarse record (time, lat, lon) of all days.
    fine : DataArray
        Fine record of the training and the test days; `persistence` takes yesterdays from it.
    static : DataArray or Dataset, optional
        Covariates of `kriging`.
    split : Split or mapping, optional
        A split of the fine record's days (`splits.chronological_split`): fitted is on all but the
        test part. Or the times of ``"train"`` and ``"test"``. By default the last tenth is the
        test part.
    realizations, seed : int
        Of the ensembles.
    driver, extrapolate
        As for `bias_corrected`.

    Returns
    -------
    dict of str to DataArray
        For `skill.table`, which scores them as ``predictions`` or as ``baselines``. A warning says
        which could not be made, and why.

    Raises
    ------
    OptionError
        If the split is none.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2000-01-01", periods=60)
    >>> sides = np.arange(0.25, 4, 0.5)
    >>> grid = {"lat": sides, "lon": sides}
    >>> fine = xr.DataArray(rng.normal(size=(60, 8, 8)), coords={"time": days, **grid})
    >>> found = all(fine.coarsen(lat=4, lon=4).mean(), fine, realizations=2)
    >>> list(found)[:3], found["kriging"].sizes["time"]
    (['bicubic', 'climatology', 'persistence'], 6)
    """
    check_whole("realizations", realizations, least=1)
    name = require_time(fine, "The fine record")
    times = fine.indexes[name]
    train, test = _parts(split, times)
    days = positions(fine, train, "The fine record", complete=True)
    known = _Known(
        coarse=coarse,
        fine=fine,
        train=fine.isel({name: np.sort(days)}),
        static=static,
        time=test,
        options={"driver": driver, "extrapolate": extrapolate},
        members={"realizations": realizations, "seed": seed},
    )
    made: dict[str, xr.DataArray] = {}
    lacking: list[str] = []
    for title, make in EVERY:
        try:
            made[title] = make(known)
        except (DataError, GridError, TimeAxisError) as err:
            lacking.append(f"{title}: {err}")
    if lacking:
        warnings.warn(
            f"Baselines that could not be made: {' | '.join(lacking)}",
            XDownscaleWarning,
            stacklevel=2,
        )
    return made


def _parts(split: Any, times: pd.Index[Any]) -> tuple[pd.Index[Any], pd.Index[Any]]:
    """Return the times to fit on, and those of the test part."""
    if split is None:
        count = max(1, len(times) // 10)
        return times[:-count], times[-count:]
    if isinstance(split, Split):
        rest = np.sort(np.concatenate([split.train, split.stopping, split.validation]))
        return times[rest], times[split.test]
    if isinstance(split, Mapping) and {"train", "test"} <= set(split):
        return to_index(split["train"]), to_index(split["test"])
    raise OptionError(
        f"split is {split!r}; give what splits.chronological_split returned for the days of the "
        "fine record, or a mapping with the times of 'train' and 'test'."
    )


@with_located
def fit_all(
    coarse: Coarse,
    fine_train: xr.DataArray,
    time: Any = None,
    *,
    driver: str | None = None,
    extrapolate: str | None = None,
) -> tuple[dict[str, xr.DataArray], dict[str, str]]:
    """Fit every baseline of the table that the records allow.

    Parameters
    ----------
    coarse, fine_train, time, driver, extrapolate
        As for `bias_corrected`.

    Returns
    -------
    dict of str to DataArray
        ``bilinear + bias``, ``ridge``, ``dressed`` and ``analogues``.
    dict of str to str
        Those that could not be fitted, and why.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=4)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> coarse = xr.DataArray(np.arange(8.0).reshape(4, 1, 2), coords=edges)
    >>> made, lacking = fit_all(coarse, coarse[:3], days[3:])
    >>> list(made), list(lacking)
    (['bilinear + bias'], ['ridge', 'dressed', 'analogues'])
    """
    made: dict[str, xr.DataArray] = {}
    lacking: dict[str, str] = {}
    options = {"driver": driver, "extrapolate": extrapolate}
    every: dict[str, Any] = {
        "bilinear + bias": bias_corrected,
        "ridge": ridge,
        "dressed": dressed,
        "analogues": analogues,
    }
    for name, function in every.items():
        try:
            made[name] = function(coarse, fine_train, time, **options)
        except (DataError, GridError, TimeAxisError) as err:
            lacking[name] = str(err)
    return made, lacking


def place_in_year(times: pd.Index[Any]) -> Any:
    """Return the elapsed share of the year, in [0, 1)."""
    stamps = rounded(xr.DataArray(times, dims="time")).dt
    return ((stamps.dayofyear - 1) / stamps.days_in_year).values


def _like(result: xr.DataArray, name: str, fine: xr.DataArray, time: pd.Index[Any]) -> xr.DataArray:
    """Give a result the dims, their order, coordinates and name of the fine record."""
    axes = find_axes(fine)
    new = axes.time or name
    attrs = fine[new].attrs if new in fine.coords else {}
    grid = {c: fine[c] for c in (axes.latitude, axes.longitude)}
    bare = result.drop_vars([c for c in result.coords if name in result[c].dims])
    here = bare.rename({} if new == name else {name: new})
    here = here.assign_coords({**grid, new: (new, time, attrs)})
    order = fine.dims if axes.time else (new, *fine.dims)
    kept = here.transpose(..., *[d for d in order if d in here.dims])
    if axes.time:
        kept.name = fine.name
        kept.attrs = dict(fine.attrs)
    return kept
