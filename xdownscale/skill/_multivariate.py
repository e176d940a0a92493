"""Scores of fields as a whole, and of variables together: what the CRPS of a pixel cannot see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.alignment import Matched
from xdownscale.core.coords import find_time, require_array
from xdownscale.core.errors import DataError, OptionError, TimeAxisError, check_option
from xdownscale.core.grids import cell_centres, distances, has_grid
from xdownscale.core.located import located_variables
from xdownscale.skill import _kernels
from xdownscale.skill._options import MEMBERS, Weights, pixel_weights
from xdownscale.skill._scores import Transform, apply_kernel, paired, units_of

Offsets = list[tuple[int, int, Any]]
DISTANCE = 3  # pixels, of the variogram score in tables
_UNITS = ("pixels", "km")
_OVER = ("time", "space", "both")
_EVEN = 1e-3  # share of a distance that may differ along a row
_CANCELLED = 1e-14  # share of the mean square below which a difference of squares is rounding


def energy_score(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.DataArray:
    """Return the fair energy score of each day: the CRPS of whole fields.

    ``(1/M) sum |x_m - y| - 1/(2 M (M-1)) sum |x_i - x_j|`` for M realizations along the dimension
    ``realization`` (Gneiting and Raftery 2007, equation 22; fair as in Ferro 2014, so its mean does
    not depend on M). The norm is the root mean square over the pixels: the Euclidean norm over the
    square root of their number. With one realization, or none, it is the RMSE.

    Parameters
    ----------
    prediction : DataArray
        (realization, time, lat, lon), dims in any order.
    truth : DataArray
        (time, lat, lon); scored on the common days.
    weights : bool or DataArray
        Of the pixels in the norm, as for `r2`.
    transform : str, Scaling or None
        As for `r2`.

    Returns
    -------
    DataArray
        (time), in the units of the truth. Pixels where the truth or a member is NaN are left out
        of their day; a day with fewer than two left is NaN. Lazy where the input is.

    Raises
    ------
    GridError, TimeAxisError, DataError, OptionError
        As for `r2`.

    Notes
    -----
    It is proper, but tells fields with a wrong correlation in space from right ones only weakly
    (Pinson and Tastu 2013): `variogram_score` does better. Its cost grows with the square of M.

    References
    ----------
    Gneiting and Raftery (2007), doi:10.1198/016214506000001437; Ferro (2014), doi:10.1002/qj.2270.

    Examples
    --------
    >>> truth = xr.DataArray([[1.0, 1.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> ensemble = xr.concat([truth - 1, truth + 2], dim="realization")
    >>> energy_score(ensemble, truth).item()  # the CRPS, as both pixels are the same
    0.0
    """
    require_array(prediction, "The prediction")
    if MEMBERS not in prediction.dims:
        prediction = prediction.expand_dims(MEMBERS)
    pairs = paired(prediction, truth, transform)
    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    found: xr.DataArray = apply_kernel(_kernels.energy, pairs, shares, leading=(MEMBERS,))
    units = units_of(truth, transform)
    about = {"long_name": "fair energy score", **({"units": units} if units else {})}
    return found.rename("energy_score").assign_attrs(about)


def variogram_score(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    *,
    order: float = 0.5,
    max_distance: float = DISTANCE,
    unit: str = "pixels",
    fair: bool = True,
    weights: Weights = False,
    transform: Transform = None,
) -> xr.DataArray:
    """Return the variogram score of each day: whether differences between pixels are as large.

    ``sum w_ij (|y_i - y_j|^p - (1/M) sum_m |x_mi - x_mj|^p)^2 / sum w_ij`` over all pairs of pixels
    within a distance, ``w_ij`` the inverse of their distance (Scheuerer and Hamill 2015, equation
    8, divided by the sum of weights).

    Parameters
    ----------
    prediction : DataArray
        (realization, time, lat, lon), dims in any order; a single field without ``realization``.
    truth : DataArray
        (time, lat, lon); scored on the common days.
    order : float
        The power p, above 0. 0.5 depends little on outliers.
    max_distance : float
        Longest distance of a pair, in `unit`.
    unit : {"pixels", "km"}
        Distance in rows and columns, or geodesic. Time grows with the square of the distance.
    fair : bool
        Subtract what the mean of M members adds to the square by being one of M:
        ``s_ij^2 / M`` for the variance s_ij^2 of ``|x_mi - x_mj|^p`` over the members. The mean
        score then does not depend on M, and single days can be below 0. False: as published.
    weights : bool or DataArray
        Of the pixels, as for `r2`; a pair has the product of its two times the inverse distance.
    transform : str, Scaling or None
        As for `r2`.

    Returns
    -------
    DataArray
        (time), in the units of the truth to the power of 2p. Pairs with a NaN in the truth or a
        member are left out of their day; NaN where none is left. Lazy where the input is; one
        offset between pixels after the other, so that memory holds no pairs.

    Raises
    ------
    OptionError
        If `order` or `max_distance` is out of range, or the distance is longer than the domain or
        shorter than a pixel.
    GridError, TimeAxisError, DataError
        As for `r2`.

    Notes
    -----
    It is proper, not strictly: a constant added to all pixels of a member changes nothing. Use it
    beside the CRPS.

    References
    ----------
    Scheuerer and Hamill (2015), doi:10.1175/MWR-D-14-00269.1.

    Examples
    --------
    >>> truth = xr.DataArray([[0.0, 4.0]], coords={"lat": [0.0], "lon": [0.0, 1.0]})
    >>> ensemble = xr.concat([truth + 1, truth / 4], dim="realization")
    >>> variogram_score(ensemble, truth, max_distance=1, fair=False).item()  # (2 - (2 + 1) / 2)^2
    0.25
    """
    if not order > 0:
        raise OptionError(f"order is {order}; give a number above 0, such as 0.5.")
    check_option("unit", unit, _UNITS)
    require_array(prediction, "The prediction")
    if MEMBERS not in prediction.dims:
        prediction = prediction.expand_dims(MEMBERS)
    pairs = paired(prediction, truth, transform)
    offsets = pair_offsets(pairs, max_distance, unit)

    def kernel(members: Any, t: Any, w: Any = None) -> Any:
        return _kernels.variogram(members, t, w, offsets, order, fair=fair)

    shares = pixel_weights(weights, pairs.truth, pairs.axes)
    found: xr.DataArray = apply_kernel(kernel, pairs, shares, leading=(MEMBERS,))
    units = units_of(truth, transform)
    if units and units != "1" and order != 0.5:
        units = f"({units}){2 * order:g}"
    about = {
        "long_name": f"variogram score of order {order:g}",
        **({"units": units} if units else {}),
    }
    more = {"max_distance": max_distance, "unit": unit, "fair": str(fair)}
    return found.rename("variogram_score").assign_attrs(about | more)


def pair_offsets(pairs: Matched, most: float, unit: str) -> Offsets:
    """Return rows and columns between the pixels of pairs, and the inverse of their distance.

    Parameters
    ----------
    pairs : Matched
    most : float
        Longest distance.
    unit : {"pixels", "km"}

    Returns
    -------
    list of (int, int, float or array)
        Half of the plane, so that each pair is there once.

    Raises
    ------
    OptionError
        If no pair is that near, or all are nearer.
    """
    axes = pairs.axes
    sizes = (pairs.truth.sizes[axes.y], pairs.truth.sizes[axes.x])
    if unit == "pixels":
        _check_distance(most, 1, float(np.hypot(sizes[0] - 1, sizes[1] - 1)), unit)
        return _offsets_in_pixels(sizes, most)
    keep = {dim: 0 for dim in pairs.truth.dims if dim not in (axes.y, axes.x)}
    grid = pairs.truth.isel(keep, drop=True).transpose(axes.y, axes.x)
    return _offsets_in_km(cell_centres(grid), most)


def table_offsets(sizes: tuple[int, ...]) -> Offsets:
    """Return the offsets of the pairs up to `DISTANCE` pixels apart that an image has.

    Parameters
    ----------
    sizes : (int, int)
        Rows and columns of the image; with a single pixel there are none.

    Returns
    -------
    list of (int, int, float)

    Examples
    --------
    >>> table_offsets((1, 3))
    [(0, 1, 1.0), (0, 2, 0.5)]
    """
    return _offsets_in_pixels(sizes, DISTANCE)


def _offsets_in_pixels(sizes: tuple[int, ...], most: float) -> Offsets:
    reach = (int(min(most, sizes[0] - 1)), int(min(most, sizes[1] - 1)))
    apart = [
        (rows, columns, float(np.hypot(rows, columns))) for rows, columns in _half_plane(reach)
    ]
    return [(rows, columns, 1 / d) for rows, columns, d in apart if d <= most]


def _check_distance(most: float, shortest: float, longest: float, unit: str) -> None:
    if not shortest * (1 - 1e-9) <= most <= longest * (1 + 1e-9):
        raise OptionError(
            f"max_distance is {most} {unit}; the pixels of this domain are {shortest:.4g} to "
            f"{longest:.4g} {unit} apart: give a distance from there."
        )


def _half_plane(reach: tuple[int, int]) -> Iterator[tuple[int, int]]:
    for rows in range(reach[0] + 1):
        for columns in range(-reach[1], reach[1] + 1):
            if rows > 0 or columns > 0:
                yield rows, columns


def _offsets_in_km(centres: tuple[Any, Any], most: float) -> Offsets:
    """Return the offsets of pairs within `most` km, with weights by row where they differ by it."""
    shape = centres[0].shape
    steps = [_apart(centres, 1, 0), _apart(centres, 0, 1)]
    positive = [step[step > 0] for step in steps]
    shortest = [float(step.min()) if step.size else np.inf for step in positive]
    _check_distance(most, min(shortest), max(_extent(centres), min(shortest)), "km")
    reach = [int(min(most // s + 1, n - 1)) for s, n in zip(shortest, shape, strict=True)]
    found: Offsets = []
    for rows, columns in _half_plane((reach[0], reach[1])):
        apart = _apart(centres, rows, columns)
        near = (apart <= most) & (apart > 0)
        if near.any():
            weight = np.where(near, 1 / np.where(near, apart, 1.0), 0.0)
            even = np.ptp(apart, axis=1).max() <= _EVEN * apart.min()
            found.append((rows, columns, weight[:, :1] if even else weight))
    return found


def _extent(centres: tuple[Any, Any]) -> float:
    """Return the longest distance between the corners, the middles of the sides and the centre."""
    places = [np.unique([0, size // 2, size - 1]) for size in centres[0].shape]
    latitude, longitude = (values[np.ix_(*places)].ravel() for values in centres)
    return float(distances(latitude[:, None], longitude[:, None], latitude, longitude).max())


def _apart(centres: tuple[Any, Any], rows: int, columns: int) -> Any:
    """Return the distances of all pixels to those `rows` and `columns` further, km."""
    here, there = _kernels.shifted(centres[0].shape, rows, columns)
    latitude, longitude = centres
    if not latitude[here].size:
        return np.zeros((0, 0))
    return distances(latitude[here], longitude[here], latitude[there], longitude[there])


def intervariable_correlation(
    prediction: xr.Dataset,
    truth: xr.Dataset,
    over: str = "time",
    *,
    weights: Weights = False,
    transform: Transform | Mapping[str, Transform] = None,
) -> xr.Dataset:
    """Return the correlation between variables in a prediction, beside that in the truth.

    Parameters
    ----------
    prediction, truth : Dataset
        Two variables (time, lat, lon) or more that both have, on one grid, dims in any order;
        further dims of the prediction, such as realizations, are kept. Other variables are left
        out, and so are those without time where others have it.
    over : {"time", "space", "both"}
        Correlate the time steps of each pixel, the pixels of each time step, or all together.
    weights : bool or DataArray
        Of the pixels, as for `r2`; of no use with ``over="time"``.
    transform : str, Scaling, None, or mapping of variable to these
        Transformed units to correlate in.

    Returns
    -------
    Dataset
        ``prediction``, ``truth`` and ``difference`` (prediction minus truth) over ``pair``, with
        the coordinates ``first`` and ``second`` (names of the variables), and over what is left of
        time and pixels. Values that are NaN in any of the four fields are left out; NaN where a
        variable is constant or fewer than three values are left. Lazy where the input is; each
        record is read once.

    Raises
    ------
    DataError
        If one of the two is no Dataset, or there is no second variable that both have.
    OptionError
        For another `over`, or weights that are negative.
    GridError, TimeAxisError
        As for `r2`, and if there is no time to correlate over.

    Examples
    --------
    >>> grid = {"lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    >>> warm = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], coords=grid)
    >>> truth = xr.Dataset({"t": warm, "rain": -warm})
    >>> found = intervariable_correlation(truth.assign(rain=warm**2), truth, over="space")
    >>> found.pair.item(), found.truth.item(), found.prediction.round(2).item()
    ('t, rain', -1.0, 0.98)
    """
    check_option("over", over, _OVER)
    names = _common_variables(prediction, truth)
    ours = located_variables(prediction, "the prediction")
    theirs = located_variables(truth, "the truth")
    ways = transform if isinstance(transform, Mapping) else dict.fromkeys(names, transform)
    records = {name: paired(ours[name], theirs[name], ways.get(name)) for name in names}
    found = []
    labels = list(combinations(names, 2))
    for first, second in labels:
        found.append(_correlations(records[first], records[second], over, weights))
    axes = records[names[0]].axes
    result = xr.concat(found, "pair", combine_attrs="override")
    kept = [dim for dim in (axes.time, axes.y, axes.x) if dim in result.dims]
    result = result.transpose("pair", ..., *kept)
    result["difference"] = result["prediction"] - result["truth"]
    result = result.assign_coords(
        pair=[f"{first}, {second}" for first, second in labels],
        first=("pair", [first for first, _ in labels]),
        second=("pair", [second for _, second in labels]),
    )
    texts = {"prediction": "of the prediction", "truth": "of the truth", "difference": "error"}
    for name, text in texts.items():
        result[name].attrs = {"long_name": f"correlation between variables, {text}", "units": "1"}
    return result.assign_attrs(over=over)


def _common_variables(prediction: xr.Dataset, truth: xr.Dataset) -> list[str]:
    for what, ds in (("prediction", prediction), ("truth", truth)):
        if not isinstance(ds, xr.Dataset):
            raise DataError(
                f"The {what} is a {type(ds).__name__}; give a Dataset with two variables or more."
            )
    located = located_variables(truth, "the truth")
    names = [n for n, da in located.items() if n in prediction.data_vars and has_grid(da)]
    with_time = [name for name in names if find_time(truth[name]) is not None]
    names = with_time or names
    if len(names) < 2:
        raise DataError(
            f"The prediction has {list(prediction.data_vars)} and the truth "
            f"{list(truth.data_vars)}: {len(names)} variables on a grid that both have, and a "
            "correlation needs two. Give Datasets with two variables of the same names."
        )
    return names


def _correlations(one: Matched, other: Matched, over: str, weights: Weights) -> xr.Dataset:
    """Correlate two variables in the prediction and in the truth, on values that all four have."""
    axes = one.axes
    if axes.time is None and over != "space":
        raise TimeAxisError(
            f"over={over!r} needs a time axis and the truth has none; give over='space'."
        )
    time = [axes.time] if axes.time else []
    dims = {"time": time, "space": [axes.y, axes.x], "both": [*time, axes.y, axes.x]}[over]
    fields = [m.predictions["prediction"] for m in (one, other)] + [one.truth, other.truth]
    plain = [da.reset_coords(drop=True) for da in fields]
    good = plain[0].notnull()
    for da in plain[1:]:
        good = good & da.notnull()
    share = None if over == "time" else pixel_weights(weights, one.truth, axes)
    w = good.astype(float) if share is None else good * share.reset_coords(drop=True)
    count = good.sum(dims)
    own = good.any([dim for dim in good.dims if dim not in one.truth.dims])
    w_truth = own.astype(float) if share is None else own * share.reset_coords(drop=True)
    return xr.Dataset(
        {
            "prediction": _correlation(plain[0], plain[1], w, dims, time).where(count > 2),
            "truth": _correlation(plain[2], plain[3], w_truth, dims, time).where(own.sum(dims) > 2),
        }
    )


def _correlation(
    a: xr.DataArray, b: xr.DataArray, w: xr.DataArray, dims: list[Any], time: list[Any]
) -> xr.DataArray:
    """Return the correlation from sums of differences to a level, so that no digits are lost."""
    total = w.sum(dims)
    total = total.where(total > 0)
    x = (a - _level(a, dims, time)).fillna(0.0)
    y = (b - _level(b, dims, time)).fillna(0.0)
    mean_x = (w * x).sum(dims) / total
    mean_y = (w * y).sum(dims) / total
    variance_x = _variance((w * x**2).sum(dims) / total, mean_x)
    variance_y = _variance((w * y**2).sum(dims) / total, mean_y)
    covariance = (w * x * y).sum(dims) / total - mean_x * mean_y
    return covariance / (variance_x * variance_y) ** 0.5


def _level(da: xr.DataArray, dims: list[Any], time: list[Any]) -> xr.DataArray:
    """Return about what the values are: the first time step, the mean of pixels, or both."""
    of_time = [dim for dim in time if dim in dims]
    of_pixels = [dim for dim in dims if dim not in of_time]
    first = da.isel(dict.fromkeys(of_time, 0), drop=True)
    return (first.mean(of_pixels) if of_pixels else first).fillna(0.0)


def _variance(square: xr.DataArray, mean: xr.DataArray) -> xr.DataArray:
    found = square - mean**2
    return found.where(found > _CANCELLED * square)
