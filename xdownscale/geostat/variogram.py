"""Semivariograms: semivariance of pairs of cells by distance, and a fitted model."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.alignment import common_days, turn
from xdownscale.core.blocks import chunked, select_cells
from xdownscale.core.coords import Unlabelled, find_axes, to_array
from xdownscale.core.errors import GridError, OptionError, TimeAxisError, check_option
from xdownscale.core.grids import Array, describe_grid, same_grid
from xdownscale.core.missing import finite
from xdownscale.core.units import units_of
from xdownscale.core.variogram_models import MODELS
from xdownscale.geostat._all_pairs import all_curves
from xdownscale.geostat._curve_bands import block_length, mean_curve, with_sampling_error
from xdownscale.geostat._lattice import Layout
from xdownscale.geostat._pair_choice import Choice, Wanted, choose_pairs, positions
from xdownscale.geostat._pair_curves import ESTIMATORS, check_cells, daily_curves
from xdownscale.geostat._pair_sampling import DIRECTIONS, ROSE, TOLERANCE
from xdownscale.geostat._variables import for_each_variable
from xdownscale.geostat._variogram_labels import (
    DIRECTION,
    LAG,
    labelled,
    with_anisotropy,
    with_fit,
)

_THRESHOLD = "threshold"
_CLASS = "class"
_GROUP = "group"
_GROUPS = 16  # of sampled pairs, whose spread is their sampling error


@for_each_variable()
def semivariogram(
    da: xr.DataArray,
    max_distance: float = 600,
    bins: int | None = None,
    pairs: int | str = "auto",
    model: str = "spherical",
    estimator: str = "matheron",
    direction: str | None = None,
    seed: int = 0,
    average: str | None = "time",
    bootstrap: int = 200,
    *,
    threshold: float | Sequence[float] | None = None,
    weighted: bool = True,
) -> xr.Dataset:
    """Return the semivariance of a field by distance, and a model fitted to it.

    On a rectilinear grid all pairs of cells are met: the curve has no sampling noise. Distances
    are geodesics on the WGS84 ellipsoid. Where pairs are sampled, the same ones serve every day,
    and every field on the same grid.

    Parameters
    ----------
    da : DataArray or Dataset
        ([..., time,] lat, lon), dims in any order, latitude and longitude one- or
        two-dimensional, on its own grid. Bring it to logarithms first where that is wanted. A
        pair with a NaN is left out of its day. A Dataset gives one result along ``variable``.
    max_distance : float
        Longest distance, km.
    bins : int, optional
        Distance classes of equal width between 0 and `max_distance`; 3 or more. Default: 30, or
        as many as are no narrower than the grid spacing.
    pairs : "auto", "all" or int
        ``"all"``: all pairs within `max_distance`. On a rectilinear grid with evenly spaced
        longitudes they are summed by transforms (`estimator` ``"matheron"``); otherwise they are
        listed, up to 3,000 cells. A number (100 or more): so many random pairs, or all of a grid
        that has no more. ``"auto"``: all pairs of one field, and of many where the pairs of rows
        within reach, times the columns, times the fields are 3e8 or less (about four CPU seconds);
        else, and for other grids and estimators, 30,000 random pairs, or 300,000 with
        ``average=None`` (30,000 for ``"genton"``).
    model : {"spherical", "exponential", "gaussian", "matern", "cubic", "stable"}
        Model to fit, as scikit-gstat defines it. ``"cubic"`` and ``"stable"`` are computed by
        scikit-gstat, whose first import takes a second.
    estimator : {"matheron", "cressie", "dowd", "genton", "madogram"}
        How the differences of a class make its semivariance. ``"madogram"`` is half the mean
        absolute difference, in the units of the field. ``"genton"`` is scikit-gstat's; its
        time grows with the square of the pairs in a class (7 s a day for 30,000 pairs in 30
        classes), so give fewer.
    direction : {"N-S", "E-W", "all"}, optional
        Only pairs whose initial bearing, at their southern cell, is within 22.5 degrees of it.
        ``"all"`` gives the curve and the fit of each of eight bearings, 22.5 degrees apart, along
        ``direction``.
    seed : int
        Of the pairs and of the bootstrap.
    average : {"time"} or None
        ``"time"`` averages the curves of the days and fits the model to the mean; None keeps the
        days and fits each.
    bootstrap : int
        Samples of days for the band; 0 for none. Needs two days and ``average="time"``.
    threshold : float or sequence of float, optional
        The semivariogram of the indicator, which is 1 where the field is above the threshold and 0
        elsewhere; of each of several along ``threshold``.
    weighted : bool
        True: pairs count by the product of the areas of their two cells. False: all pairs count
        alike, as in gstools and scikit-gstat; needs all pairs. Pairs that are sampled are drawn by
        area; pairs that are listed one by one because all are asked for count alike.

    Returns
    -------
    Dataset
        Over ``lag`` (km, the middle of each class), and over ``time`` with ``average=None``:

        ``semivariance``, ``pair_count`` (of a day; of a mean day where averaged), ``fit`` (the
        model at `lag`), ``lower`` and ``upper`` (95 % band from blocks of ``days^(1/3)`` days and,
        where pairs are sampled, from the spread of 16 random groups of them);
        ``nugget``, ``psill`` (partial sill), ``sill = psill + nugget``, ``effective_range`` (km;
        where spherical and cubic reach the sill, and the others 95 % of the partial sill,
        ``1 - exp(-3)``; scikit-gstat's of gaussian and matern reach further); ``smoothness`` of
        ``"matern"``, ``shape`` of ``"stable"``; ``fit_ok`` and, where that is False, ``message``:
        then the parameters and `fit` are NaN, and the best parameters all the same are
        ``unreliable_range``, ``unreliable_psill``, ``unreliable_nugget`` (NaN elsewhere). The
        coordinate ``distance`` is the mean distance of the pairs in each class, at which the model
        is fitted. ``direction="all"`` adds ``anisotropy_ratio`` (shortest over longest axis of
        the ellipse through the effective ranges of the bearings) and ``anisotropy_angle`` (bearing
        of the longest, degrees from north); NaN where fewer than three bearings have a range.

        Lazy where `da` is a dask array, the fit too. An array that lies unread on disk is read
        in pieces.

    Raises
    ------
    OptionError
        For an unknown model, estimator, direction or average, a number out of range, or sampled
        pairs that are to count alike.
    GridError
        If there is no latitude or longitude, no two cells within `max_distance`, or all pairs are
        asked for and cannot be had.
    DataError
        If there are fewer than 100 cells, or fewer valid ones on every day (with dask: when it
        is computed).

    Notes
    -----
    All pairs: for two rows i, j and a shift k, the sum of ``(f_i(x) - f_j(x + k))^2`` over x is
    ``corr(f_i^2, m_j) + corr(m_i, f_j^2) - 2 corr(f_i, f_j)`` at k, with m the mask of valid
    cells and f less its mean; correlations come from Fourier transforms along longitude
    (Marcotte 1996 has them in both directions; distances on the globe allow one). The sums go to
    the classes of the geodesic distances of (i, j, k), times the areas of the cells of i and j.

    scikit-gstat fits at the upper edge of each class, which makes ranges too long by about half a
    class, and calls the partial sill ``sill``. Here the fit is at the mean distance, in the bounds
    of scikit-gstat, weighted by pair count; of all pairs by pair count over distance, which is how
    sampled pairs are spread. A fit is refused for a constant field, for a
    curve that is no better described by the model than by a constant (F test, 1 %), and where the
    range comes to the longest distance: the sill has not been seen.

    References
    ----------
    Matheron (1962); Cressie and Hawkins (1980), doi:10.1007/BF01035243; Dowd (1984);
    Genton (1998), doi:10.1023/A:1021728614555; Marcotte (1996),
    doi:10.1016/S0098-3004(96)00026-X; scikit-gstat: Maelicke (2022),
    doi:10.5194/gmd-15-2505-2022.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> degrees = np.arange(40) / 4
    >>> noise = np.random.default_rng(0).random((40, 40))
    >>> da = xr.DataArray(noise, coords={"lat": degrees, "lon": degrees})
    >>> v = semivariogram(da, max_distance=400, bins=8)
    >>> v.semivariance.mean().round(3).item()  # 1/12: uniform noise
    0.084
    >>> v.fit_ok.item(), v.message.item(), v.attrs["pairs"]
    (False, 'flat at 0.08428: pure nugget, no range', 377690)
    """
    check_option("model", model, MODELS)
    check_option("estimator", estimator, ESTIMATORS)
    _check_options(max_distance, bins, pairs, direction, seed, average, bootstrap)
    lazy = chunked(da)
    field = lazy if threshold is None else _indicator(lazy, threshold)
    wanted = _wanted(field, max_distance, bins, pairs, direction, seed, average, weighted)
    wanted = wanted._replace(transforms=estimator == "matheron", quadratic=estimator == "genton")
    curves = _curves(field, None, wanted, estimator, average, bootstrap)
    found = with_fit(curves, model).assign_attrs(model=model, estimator=estimator, **curves.attrs)
    if direction == "all":
        found = with_anisotropy(found)
    units = units_of(da) if threshold is None else "1"
    found = labelled(found, units, squared=estimator != "madogram")
    if _THRESHOLD in found.coords and units_of(da):
        found[_THRESHOLD].attrs["units"] = units_of(da)
    return found if lazy is da else found.compute()


@for_each_variable(other="other")
def cross_semivariogram(
    da: xr.DataArray,
    other: xr.DataArray,
    max_distance: float = 600,
    bins: int | None = None,
    pairs: int | str = "auto",
    direction: str | None = None,
    seed: int = 0,
    average: str | None = "time",
    bootstrap: int = 200,
    *,
    weighted: bool = True,
) -> xr.Dataset:
    """Return the cross-semivariance of two fields by distance.

    How the differences of one field between two places go with those of the other. Fields of the
    same shape everywhere give their semivariance; unrelated ones give 0.

    Parameters
    ----------
    da, other : DataArray or Dataset
        ([..., time,] lat, lon) on one grid, in any order. Their common days are used. A cell
        counts where both are valid. Two Datasets are taken variable by variable of the same name.
    max_distance, bins, pairs, direction, seed, average, bootstrap, weighted
        As for `semivariogram`.

    Returns
    -------
    Dataset
        ``semivariance`` (may be negative), ``pair_count``, ``lower`` and ``upper`` over ``lag``,
        as for `semivariogram`, and ``codispersion``: the semivariance over the square root of the
        product of the semivariances of both fields at the same pairs, from -1 to 1. No model is
        fitted.

    Raises
    ------
    GridError
        If the grids differ, and as for `semivariogram`.
    TimeAxisError
        If no day is common, or only one record has a time axis.
    OptionError, DataError
        As for `semivariogram`.

    Notes
    -----
    ``sum (a_i - a_j) (b_i - b_j) / 2N`` over the N pairs of a class.

    References
    ----------
    Matheron (1965); Chiles and Delfiner (2012), Geostatistics, section 5.6; codispersion:
    Rukhin and Vallejos (2008), Codispersion coefficients for spatial and temporal series.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> degrees = np.arange(20) / 4
    >>> noise = np.random.default_rng(0).random((20, 20))
    >>> da = xr.DataArray(noise, coords={"lat": degrees, "lon": degrees})
    >>> cross_semivariogram(da, -2 * da, max_distance=200, bins=4).codispersion.round(6).values
    array([-1., -1., -1., -1.])
    """
    _check_options(max_distance, bins, pairs, direction, seed, average, bootstrap)
    one, two = _on_one_grid(chunked(da), chunked(other))
    wanted = _wanted(one, max_distance, bins, pairs, direction, seed, average, weighted)
    parts = [
        _curves(a, b, wanted, "matheron", average, bootstrap if a is not b else 0)
        for a, b in ((one, two), (one.where(_valid(two)), None), (two.where(_valid(one)), None))
    ]
    found = parts[0].drop_vars("weight")
    scale = np.sqrt(parts[1].semivariance * parts[2].semivariance)
    found["codispersion"] = (found.semivariance / scale.where(scale > 0)).assign_attrs(
        long_name="codispersion coefficient", units="1"
    )
    units = [units_of(record) for record in (da, other)]
    found = labelled(found, None)
    if all(units):
        for name in {"semivariance", "lower", "upper"} & set(found.variables):
            found[name].attrs["units"] = " ".join(f"({unit})" for unit in units)
    found["semivariance"].attrs["long_name"] = "cross-semivariance"
    kept = found.chunks or one is da
    return found if kept else found.compute()


def _valid(da: xr.DataArray) -> xr.DataArray:
    good: xr.DataArray = xr.apply_ufunc(finite, da, dask="allowed").notnull()
    return good


def _on_one_grid(da: xr.DataArray, other: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return two records on their common days, the second in the order of the first."""
    here = find_axes(da)
    there = find_axes(other)
    if not same_grid(da, other):
        raise GridError(
            f"The records are on different grids: {describe_grid(da)}, and {describe_grid(other)}. "
            "Bring one to the grid of the other, with regrid."
        )
    if (here.time is None) != (there.time is None):
        raise TimeAxisError(
            f"The {'first' if here.time is None else 'second'} record has no time axis and the "
            "other one has. Select a time of it, or name the dimension 'time'."
        )
    if here.time is not None:
        if there.time != here.time:
            other = other.rename({there.time: here.time})
        da, other = common_days(da, other, here.time)
    one, two = xr.broadcast(da, turn(other, da))
    return one.transpose(*da.dims, ...), two.transpose(*da.dims, ...)


def _indicator(da: xr.DataArray, threshold: float | Sequence[float]) -> xr.DataArray:
    """Return 1 where a field is above a threshold and 0 elsewhere, NaN where it has no value."""
    numbers = np.asarray(threshold)
    if numbers.dtype.kind not in "iuf" or numbers.ndim > 1 or not np.isfinite(numbers).all():
        raise OptionError(f"threshold is {threshold!r}; give a number, or a list of numbers.")
    if numbers.size == 0 or _THRESHOLD in da.dims:
        found = "an empty list" if numbers.size == 0 else "a dimension of the field already"
        raise OptionError(
            f"threshold is {found}; give one number or more, and rename that dimension."
        )
    level: Any = (
        float(numbers)
        if numbers.ndim == 0
        else xr.DataArray(
            numbers.astype(float), dims=_THRESHOLD, coords={_THRESHOLD: numbers.astype(float)}
        )
    )
    good = xr.apply_ufunc(finite, da, dask="allowed")
    above: xr.DataArray = (good > level).astype(float).where(good.notnull())
    return above.assign_attrs(da.attrs)


def _check_options(
    max_distance: float,
    bins: int | None,
    pairs: int | str,
    direction: str | None,
    seed: int,
    average: str | None,
    bootstrap: int,
) -> None:
    if direction is not None:
        check_option("direction", direction, [*DIRECTIONS, "all"])
    if average is not None:
        check_option("average (besides None)", average, ("time",))
    if isinstance(pairs, str):
        check_option("pairs (besides a number)", pairs, ("auto", "all"))
    number: Any = max_distance
    if not isinstance(number, Real) or not 0 < max_distance < np.inf:
        raise OptionError(f"max_distance is {max_distance!r}; give a positive number of km.")
    numbers: list[tuple[str, Any, int]] = [("bins", 3 if bins is None else bins, 3)]
    numbers += [("pairs", 100 if isinstance(pairs, str) else pairs, 100)]
    for name, given, least in [*numbers, ("seed", seed, 0), ("bootstrap", bootstrap, 0)]:
        if not isinstance(given, Integral) or given < least:
            raise OptionError(f"{name} is {given!r}; give a whole number, {least} or more.")


def _wanted(
    da: xr.DataArray,
    max_distance: float,
    bins: int | None,
    pairs: int | str,
    direction: str | None,
    seed: int,
    average: str | None,
    weighted: bool,
) -> Wanted:
    axes = find_axes(da)
    fields = int(np.prod([n for dim, n in da.sizes.items() if dim not in (axes.y, axes.x)]))
    return Wanted(
        max_distance=max_distance,
        bins=bins,
        pairs=pairs,
        direction=direction,
        seed=seed,
        weighted=weighted,
        transforms=True,
        fields=fields,
        single=average is None or axes.time is None,
        quadratic=False,
    )


def _curves(
    da: xr.DataArray,
    other: xr.DataArray | None,
    wanted: Wanted,
    estimator: str,
    average: str | None,
    bootstrap: int,
) -> xr.Dataset:
    """Return the curves, of the days or averaged, with the weight of each class in a fit."""
    unlabelled = to_array(da)
    chosen = choose_pairs(*positions(unlabelled.labels), wanted)
    lag = (np.arange(chosen.bins) + 0.5) * wanted.max_distance / chosen.bins
    time = unlabelled.labels.axes.time
    averaged = average == "time" and time is not None
    banded = averaged and bootstrap > 0 and da.sizes[time] > 1
    groups = _GROUPS if banded and chosen.kind == "sample" else 0
    second = None if other is None else to_array(other)
    curves = _days(unlabelled, second, chosen, estimator, lag, groups)
    if averaged:
        curves = _average(curves, str(time), bootstrap, wanted.seed)
    share = 1.0 / curves.distance if isinstance(chosen.pairs, Layout) else 1.0
    curves["weight"] = curves.pair_count * share
    curves.attrs = {
        "max_distance": float(wanted.max_distance),
        "pairs": chosen.number,
        "pairs_taken": chosen.kind,
        "weights": chosen.weights,
        "direction": wanted.direction or "any",
        "seed": wanted.seed,
        "average": average or "none",
    }
    if wanted.direction is not None:
        width = 90.0 / len(ROSE) if wanted.direction == "all" else TOLERANCE
        curves.attrs["tolerance"] = f"{width} degrees"
    if banded:
        curves.attrs.update(bootstrap=bootstrap, block_length=block_length(da.sizes[time]))
    return curves


def _days(
    unlabelled: Unlabelled,
    other: Unlabelled | None,
    chosen: Choice,
    estimator: str,
    lag: Array,
    groups: int,
) -> xr.Dataset:
    """Return the curve of every time step; with dask, lazy by chunks of time."""
    labels = unlabelled.labels
    grid = [labels.axes.y, labels.axes.x]
    lead = [d for d in labels.order if d not in grid]
    fields = [f for f in (unlabelled, other) if f is not None]
    kernel, options, arrays = _kernel(chosen, [f.array for f in fields], estimator, groups)
    coords = {d: labels.coords[d] for d in lead if d in labels.coords}
    rose = chosen.distance.size != lag.size
    outputs = [[_CLASS], [_CLASS], []] + [[_GROUP, _CLASS]] * bool(groups)
    sizes = {_CLASS: chosen.distance.size} | ({_GROUP: groups} if groups else {})
    found = xr.apply_ufunc(
        kernel,
        *(xr.DataArray(a, dims=f.labels.order) for a, f in zip(arrays, fields, strict=True)),
        input_core_dims=[[f.labels.axes.y, f.labels.axes.x] for f in fields],
        output_core_dims=outputs,
        kwargs=options,
        dask="parallelized",
        output_dtypes=[float] * len(outputs),
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    gamma, count, valid, *parts = (
        v.chunk(dict.fromkeys(lead, -1)) if v.chunks else v for v in found
    )
    checked = xr.apply_ufunc(
        check_cells,
        gamma,
        valid,
        input_core_dims=[[*lead, _CLASS], lead],
        output_core_dims=[[*lead, _CLASS]],
        kwargs={"sampled": _cells_in_pairs(chosen, unlabelled.array.shape[-2:])},
        dask="parallelized",
        output_dtypes=[float],
    )
    curves = xr.Dataset({"semivariance": checked, "pair_count": count})
    if groups:
        curves["groups"] = parts[0]
    curves = curves.assign_coords(coords)
    curves = curves.assign_coords(distance=(_CLASS, chosen.distance))
    return _by_lag(curves, lag, rose=rose)


def _kernel(
    chosen: Choice, arrays: list[Any], estimator: str, groups: int
) -> tuple[Any, dict[str, Any], list[Any]]:
    """Return the function of the chosen pairs, its options, and arrays with one chunk of grid."""
    if isinstance(chosen.pairs, Layout):
        whole = [a.rechunk({a.ndim - 2: -1, a.ndim - 1: -1}) if _lazy(a) else a for a in arrays]
        return all_curves, {"layout": chosen.pairs}, whole
    rows, columns = np.unravel_index(chosen.pairs.cells, arrays[0].shape[-2:])
    if len(arrays) > 1:  # their chunks differ: then the cells that are needed lie elsewhere
        arrays = [a.rechunk({a.ndim - 2: -1, a.ndim - 1: -1}) if _lazy(a) else a for a in arrays]
    few, rows, columns = select_cells(arrays[0], rows, columns)
    options = {"rows": rows, "columns": columns, "pairs": chosen.pairs, "estimator": estimator}
    return daily_curves, options | ({"groups": groups} if groups else {}), [few, *arrays[1:]]


def _lazy(array: Any) -> bool:
    return hasattr(array, "dask")


def _cells_in_pairs(chosen: Choice, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape)) if isinstance(chosen.pairs, Layout) else chosen.pairs.cells.size


def _by_lag(curves: xr.Dataset, lag: Array, *, rose: bool) -> xr.Dataset:
    """Return the classes over distance, and over direction where there are several."""
    if not rose:
        return curves.rename({_CLASS: LAG}).assign_coords({LAG: lag})

    def cut(v: xr.DataArray) -> xr.Variable:
        shape = (*v.shape[:-1], len(ROSE), lag.size)
        return xr.Variable((*v.dims[:-1], DIRECTION, LAG), v.data.reshape(shape))

    kept = {d: c for d, c in curves.coords.items() if _CLASS not in c.dims}
    data = {name: cut(v) for name, v in curves.data_vars.items()}
    found = xr.Dataset(data, coords=kept)
    return found.assign_coords(
        {LAG: lag, DIRECTION: np.array(ROSE), "distance": cut(curves["distance"])}
    )


def _average(curves: xr.Dataset, time: str, bootstrap: int, seed: int) -> xr.Dataset:
    daily = [time, LAG]
    found = xr.apply_ufunc(
        mean_curve,
        curves.semivariance,
        curves.pair_count,
        input_core_dims=[daily, daily],
        output_core_dims=[[LAG]] * 4,
        kwargs={"draws": bootstrap, "seed": seed},
        dask="parallelized",
        output_dtypes=[float] * 4,
    )
    names = ["semivariance", "pair_count", "lower", "upper"]
    band = bootstrap > 0 and curves.sizes[time] > 1
    kept = dict(zip(names, found, strict=True))
    averaged = xr.Dataset({n: kept[n] for n in (names if band else names[:2])})
    if "groups" not in curves:
        return averaged
    lower, upper = xr.apply_ufunc(
        with_sampling_error,
        *(averaged[n] for n in ("semivariance", "lower", "upper")),
        curves.groups,
        input_core_dims=[[LAG]] * 3 + [[time, _GROUP, LAG]],
        output_core_dims=[[LAG]] * 2,
        dask="parallelized",
        output_dtypes=[float] * 2,
    )
    return averaged.assign(lower=lower, upper=upper)
