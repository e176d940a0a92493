"""Seams of stitched patches: variance and gradients on patch borders against elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import GridError
from xdownscale.core.missing import finite
from xdownscale.core.values import as_floats
from xdownscale.geostat._variables import for_each_variable
from xdownscale.patches import PatchLayout
from xdownscale.patches.arrays import check_shape

Array = NDArray[Any]
_MEMBERS = "realization"


@for_each_variable()
def seams(da: xr.DataArray, layout: PatchLayout) -> xr.Dataset:
    """Return the ratio of variance and of gradient on patch borders to those off them.

    A border is a line between two rows (or columns) of pixels where the core of a patch begins or
    ends. Each border is held against the lines without one next to it, on both of its sides, so
    that a field that is rougher in one place than in another does no harm.

    Parameters
    ----------
    da : DataArray or Dataset
        (..., lat, lon), dims in any order; lazy or not. A Dataset gives one result along
        ``variable``. For the variance two or more realizations
        or times.
    layout : PatchLayout
        The layout that the field was put together with, for the image ``(latitude, longitude)``
        as it lies in `da`.

    Returns
    -------
    Dataset
        ``gradient_ratio``: mean absolute step across borders over that across other lines.
        ``variance_ratio``: variance of the pixels on both sides of a line, likewise. 1 means no
        seam; independent patches give a gradient ratio above 1, noise averaged in overlaps a
        variance ratio below 1. ``gradient_error`` and ``variance_error`` are standard errors
        from the scatter of borders, NaN with a single border; ``border_count`` is the number of
        borders. Lazy where `da` is.

    Raises
    ------
    GridError
        If latitude and longitude are not found, the layout is for another shape, it has no border,
        or every line is one.

    Notes
    -----
    The variance is taken over ``realization`` where there are two or more, else over time, and
    averaged over all other dims; without either its ratio is NaN. The ratio is
    ``R = sum b_i / sum r_i`` over borders, r_i the mean of the lines without border in the
    nearest run on either side, each axis in units of its mean r. Its standard error is
    ``sqrt(sum (b_i - R r_i)^2 / (n (n - 1))) / mean r``. NaN are left out.

    Examples
    --------
    >>> layout = PatchLayout(shape=(8, 8), size=4, stride=4, halo=0)
    >>> ramp = 0.1 * np.add.outer(np.arange(8), np.arange(8))
    >>> blocks = ramp + np.kron([[0.0, 1], [1, 2]], np.ones((4, 4)))
    >>> da = xr.DataArray(blocks, coords={"lat": np.arange(8.0), "lon": np.arange(8.0)})
    >>> seams(da, layout).gradient_ratio.round(2).item()  # steps of 1.1 among steps of 0.1
    11.0
    """
    axes = find_axes(da)
    grid = (axes.y, axes.x)
    check_shape((da.sizes[axes.y], da.sizes[axes.x]), layout)
    borders = [_borders(layout, axis) for axis in (0, 1)]
    _check_borders(borders)
    da = xr.apply_ufunc(finite, as_floats(da), dask="allowed", keep_attrs=True)
    steps = [_profile(abs(da.diff(dim)), dim, "line") for dim in grid]
    variance = _variance(da, axes.time)
    sides = [_on_lines(_profile(variance, dim, "pixel")) for dim in grid]
    found = {}
    for name, words, profiles in [("gradient", "step", steps), ("variance", "variance", sides)]:
        ratio = _compared(profiles, borders)
        found[f"{name}_ratio"] = ratio[0].assign_attrs(
            long_name=f"{words} on patch borders over that off them", units="1"
        )
        found[f"{name}_error"] = ratio[1].assign_attrs(
            long_name=f"standard error of the {name} ratio", units="1"
        )
    count = sum(int(b.sum()) for b in borders)
    found["border_count"] = xr.DataArray(count, attrs={"long_name": "borders", "units": "1"})
    attrs = {"size": layout.size, "stride": layout.stride, "halo": layout.halo}
    return xr.Dataset(found, attrs=attrs)


def _borders(layout: PatchLayout, axis: int) -> NDArray[np.bool_]:
    """Return which lines between neighbouring pixels of an axis are borders, shape (n - 1,)."""
    edges = (layout.corners[axis][:, None] + layout.cores[axis]).ravel()
    lines = np.arange(1, layout.shape[axis])
    return np.asarray(np.isin(lines, edges))


def _check_borders(borders: list[NDArray[np.bool_]]) -> None:
    if not any(b.any() for b in borders):
        raise GridError(
            "The layout has one patch that covers the image: there is no border to look at. Give "
            "the layout that the field was put together with."
        )
    if all(b.all() or not b.any() for b in borders):
        raise GridError(
            "Every line between pixels is a patch border in this layout, so there is nothing to "
            "compare with; give a layout with a larger stride (2 or more)."
        )


def _variance(da: xr.DataArray, time: str | None) -> xr.DataArray:
    """Return the variance of each pixel over realizations, else over time, else NaN."""
    over = [dim for dim in (_MEMBERS, time) if dim in da.dims and da.sizes[dim] > 1]
    if not over:
        return xr.full_like(da, np.nan, dtype=float)
    dim = over[0]
    # by sums about a value of each pixel: var() warns where all are missing
    off = da.astype(float) - da.isel({dim: 0}, drop=True).fillna(0).astype(float)
    count = off.notnull().sum(dim)
    mean = off.sum(dim) / count.where(count > 0)
    return ((off**2).sum(dim) - count * mean**2) / (count - 1).where(count > 1)


def _profile(values: xr.DataArray, dim: str, name: str) -> xr.DataArray:
    """Average over all dims but one."""
    others = [d for d in values.dims if d != dim]
    mean = values.sum(others) / values.notnull().sum(others).where(lambda n: n > 0)
    whole = mean.chunk({dim: -1}) if mean.chunks else mean
    return whole.drop_vars(list(whole.coords)).rename({dim: name})


def _on_lines(pixels: xr.DataArray) -> xr.DataArray:
    """Average the pixels on both sides of each line."""
    late = pixels.isel(pixel=slice(1, None))
    early = pixels.isel(pixel=slice(None, -1))
    return ((late + early) / 2).rename(pixel="line")


def _compared(profiles: list[xr.DataArray], borders: list[NDArray[np.bool_]]) -> xr.DataArray:
    along = [p.rename(line=f"line_{k}") for k, p in enumerate(profiles)]
    ratio: xr.DataArray = xr.apply_ufunc(
        _ratio,
        *along,
        kwargs={"borders": borders},
        input_core_dims=[["line_0"], ["line_1"]],
        output_core_dims=[["part"]],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"output_sizes": {"part": 2}, "allow_rechunk": True},
    )
    return ratio


# kernels: one value per line


def _ratio(*profiles: Array, borders: list[NDArray[np.bool_]]) -> Array:
    """Return the ratio of borders to their neighbourhood over both axes, and its error."""
    pairs = [_paired(p, b) for p, b in zip(profiles, borders, strict=True)]
    there = [(on, off) for on, off in pairs if on.size and off.mean() > 0]
    if not there:
        return np.full(2, np.nan)
    on = np.concatenate([a / b.mean() for a, b in there])
    off = np.concatenate([b / b.mean() for _, b in there])
    ratio = on.sum() / off.sum()
    n = on.size
    scatter = ((on - ratio * off) ** 2).sum()
    error = np.sqrt(scatter / (n * (n - 1))) / off.mean() if n > 1 else np.nan
    return np.array([ratio, error])


def _paired(values: Array, border: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the values on borders, and the means of the lines in the nearest runs beside them."""
    valid = ~np.isnan(values)
    usable = ~border & valid
    if not usable.any():
        return np.zeros(0), np.zeros(0)
    lines = np.flatnonzero(usable)
    run = np.cumsum(border)[lines]  # lines between the same two borders share a number
    names, place = np.unique(run, return_inverse=True)
    sums = np.bincount(place, values[lines])
    counts = np.bincount(place)
    on = np.flatnonzero(border & valid)
    after = np.searchsorted(names, np.cumsum(border)[on])  # first run behind the border
    left = np.maximum(after - 1, 0)
    right = np.minimum(after, names.size - 1)
    # at an end both are the one run that there is
    return values[on], (sums[left] + sums[right]) / (counts[left] + counts[right])
