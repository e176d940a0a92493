"""Structure of fields that variograms and spectra do not see: intermittency and filaments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.coords import Axes, find_axes, require_time
from xdownscale.core.errors import OptionError, check_option, check_whole
from xdownscale.core.grids import grid_axes
from xdownscale.core.missing import finite
from xdownscale.core.spectra import FEWEST, ROUNDING, detrend
from xdownscale.core.time import seconds
from xdownscale.geostat._variables import for_each_variable
from xdownscale.skill._groups import By, Crop, Seasons, check_by, crops, make_groups
from xdownscale.splits import SEASONS

Array = NDArray[Any]
_TEXT = "<U120"
_TAIL = 0.99
_CONSTANT = 1e-24  # a variance below this share of the mean square is rounding
_OTHERS = 4  # sums of an image besides those of each distance
_PHASES = 0x5EED  # what the random numbers are for, as a part of their key
_NAMES = {
    "kurtosis": "kurtosis of increments (3 for a Gaussian field)",
    "coherence": "coherence of the structure tensor",
    "gradient_tail": "99 % quantile over median of the gradient",
}


class _Options(NamedTuple):
    """What the kernel needs to know, besides the images."""

    distances: tuple[int, ...]
    window: float
    null: bool
    seed: int
    max_missing: float
    inside: Array


@for_each_variable()
def structure(
    da: xr.DataArray,
    distances: Sequence[int] = (1, 2, 4, 8),
    null: bool = True,
    seed: int = 0,
    average: str | None = "time",
    *,
    window: float = 3.0,
    max_missing: float = 0.2,
    by: By = None,
    regions: Mapping[str, Any] | None = None,
    seasons: Seasons = SEASONS,
) -> xr.Dataset:
    """Measure how far fields are from Gaussian noise of the same spectrum.

    Three numbers that no variogram and no spectrum contains: how rare and strong differences
    between cells are (kurtosis of increments), how much gradients next to each other point one way
    (coherence), and how much the strongest gradients exceed the usual ones. Beside them stand the
    same numbers of a copy with the same Fourier amplitudes and random phases: what Gaussian noise
    of this spectrum would have.

    Parameters
    ----------
    da : DataArray or Dataset
        (..., lat, lon), dims in any order, latitude and longitude one- or two-dimensional; lazy or
        not. Bring it to logarithms first where that is wanted. A Dataset gives one result along
        ``variable``.
    distances : sequence of int
        Distances of the increments, in pixels, from 1 to one less than the smaller side of the
        grid (or of each region).
    null : bool
        Whether to add the numbers of a phase-randomised copy.
    seed : int
        Of the random phases. They depend on it and on the time step alone, so neither on chunks nor
        on order; the members of an ensemble share those of their time step.
    average : {"time"} or None
        ``"time"`` pools the images of all time steps, where there are any; None keeps each.
    window : float
        Standard deviation of the Gaussian window of the structure tensor, in pixels.
    max_missing : float
        Images with a larger share of NaN are left out; `message` says so.
    by : {"season", "region"}, both in any order, or None
        Ways to group the result; ``"season"`` needs ``average="time"``.
    regions : mapping of str to (west, east, south, north) or mask, optional
        As for `splits.region_mask`; without, ``"region"`` is the whole grid, ``"all"``.
    seasons : str, sequence of str or mapping of str to months
        As for `splits.resolve_seasons`; a season without a time step is left out.

    Returns
    -------
    Dataset
        ``kurtosis`` over ``distance`` (pixels), ``coherence`` (0 to 1) and ``gradient_tail``;
        ``kurtosis_null``, ``coherence_null`` and ``gradient_tail_null`` of the copy; ``missing``,
        the share of cells that are (the least of the time steps); ``message``, why there is no
        result, empty where there is one; and ``day_count`` with ``average="time"``. All without
        units; any further dims are kept. Lazy where `da` is.

    Raises
    ------
    GridError
        If latitude and longitude are not found.
    OptionError
        If a distance does not fit into the grid, or another option is out of range.
    TimeAxisError
        If ``by`` has ``"season"`` and there is no time, or no time step lies in the seasons.

    Notes
    -----
    *Kurtosis* is ``mean(d^4) / mean(d^2)^2`` of the differences d between cells a distance apart
    along rows and along columns, pooled over both, about zero, and not in excess of 3: it is 3 for
    a Gaussian field whose variance is the same everywhere and every day, and more where it is not.
    The copy of each day shows how much more.

    *Coherence* is ``sum sqrt((Jxx - Jyy)^2 + 4 Jxy^2) / sum(Jxx + Jyy)`` for the structure
    tensor J, products of the gradient's components averaged by a Gaussian window (Bigun and
    Granlund 1987): the relative difference of its eigenvalues, averaged with the gradient's
    energy as weight. The gradient is taken at the corners between four cells. *Gradient tail* is
    the mean over images of the 99 % quantile of the gradient's modulus, over the mean of its
    median. Distances are pixels in both directions, whatever their length in km.

    *Time steps* are pooled as sums of powers, not as means of ratios.

    *The copy* (surrogate) is that of the periodic part of the field less its least-squares plane
    (Moisan 2011), as edges that do not meet would otherwise add gradients of their own. In gaps the
    field counts as on the plane while its phases are drawn; then the copy gets the same gaps.

    References
    ----------
    Theiler et al. (1992), doi:10.1016/0167-2789(92)90102-S; Bigun and Granlund (1987), Proc. 1st
    ICCV, 433-438; Moisan (2011), doi:10.1007/s10851-010-0227-1.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(64, 64))
    >>> degrees = np.arange(64) / 10
    >>> da = xr.DataArray(noise, coords={"lat": degrees, "lon": degrees})
    >>> found = structure(da, distances=(1, 4))
    >>> found.kurtosis.round(1).values, found.kurtosis_null.round(1).values
    (array([3. , 2.9]), array([3., 3.]))
    >>> structure(da**3, distances=(1,)).kurtosis.item() > 10
    True
    """
    ways = _checked_ways(by, regions, average)
    if not window > 0:
        raise OptionError(f"window is {window}; give a positive number of pixels, such as 3.")
    if not 0 <= max_missing < 1:
        raise OptionError(f"max_missing is {max_missing}; give a share from 0 to below 1.")
    check_whole("seed", seed)
    da = _oriented(da)
    axes = find_axes(da)
    parts = crops(da, regions)
    apart = _checked_distances(distances, da, axes, parts)
    sums = {}
    for name, crop in parts.items():
        inside = np.ones((1, 1), bool) if crop.inside is None else crop.inside
        options = _Options(apart, float(window), null, seed, max_missing, inside)
        sums[name] = _image_sums(da, axes, crop, options)
    found = []
    groups = make_groups(_time_of(da, axes, ways), ways, list(parts), seasons)
    for group in groups:
        own = sums[group.region]
        if not group.days.all():
            own = own.isel({axes.time: np.flatnonzero(group.days)})
        found.append(_measures(own, axes.time if average else None, apart))
    result = _grouped(found, [group.words for group in groups], ways)
    about = {"long_name": "distance of the increments", "units": "pixels"}
    result = result.assign_coords(distance=("distance", list(apart), about))
    attrs = {"average": str(average), "window": float(window), "seed": seed}
    return _labelled(result, max_missing, attrs)


def _checked_ways(
    by: By, regions: Mapping[str, Any] | None, average: str | None
) -> tuple[str, ...]:
    if average is not None:
        check_option("average (None for every image, or a name)", average, ["time"])
    ways = check_by(by, regions)
    if average is None and "season" in ways:
        raise OptionError(
            "by='season' pools the time steps of a season, and average=None keeps each of them; "
            "give average='time'."
        )
    return ways


def _checked_distances(
    distances: Sequence[int], da: xr.DataArray, axes: Axes, parts: Mapping[str, Crop]
) -> tuple[int, ...]:
    """Return the distances as whole numbers that fit into the grid and every region."""
    given = np.atleast_1d(np.asarray(distances))
    grid = np.broadcast_to(True, (da.sizes[axes.y], da.sizes[axes.x]))
    most = min(min(grid[crop.rows, crop.columns].shape) for crop in parts.values()) - 1
    whole = given.size and given.dtype.kind in "iu" and given.ndim == 1
    if not whole or given.min() < 1 or given.max() > most:
        raise OptionError(
            f"distances is {distances!r}; give whole numbers of pixels from 1 to {most}, one less "
            "than the smaller side of the grid (or of the smallest region)."
        )
    return tuple(given.tolist())


def _oriented(da: xr.DataArray) -> xr.DataArray:
    """Let rows run north and columns east, as the phases are drawn."""
    axes = find_axes(da)
    if not axes.rectilinear:
        return da
    for dim, axis in zip((axes.y, axes.x), grid_axes(da), strict=True):
        if np.array_equal(axis.first, np.arange(axis.first.size)[::-1]):
            da = da.isel({dim: slice(None, None, -1)})
        elif not np.array_equal(axis.first, np.arange(da.sizes[dim])):
            da = da.isel({dim: axis.first})  # 355 to 359 and 0 to 5 are neighbours
    return da


def _time_of(da: xr.DataArray, axes: Axes, ways: tuple[str, ...]) -> xr.DataArray:
    if "season" in ways:
        return da[require_time(da, "The record that is to be sorted by season")]
    return da[axes.time] if axes.time else xr.DataArray([0], dims="time")


def _image_sums(da: xr.DataArray, axes: Axes, crop: Crop, options: _Options) -> xr.DataArray:
    """Return the sums of each image of a region, (..., kind, entry), lazy where `da` is."""
    keys = seconds(da[axes.time]) if axes.time else np.zeros(1, np.int64)
    key = xr.DataArray(keys, dims=axes.time) if axes.time else xr.DataArray(keys[0])
    if axes.time in da.chunksizes:
        key = key.chunk({axes.time: da.chunksizes[axes.time]})
    sizes = {
        "kind": 1 + options.null,
        "entry": 3 * len(options.distances) + _OTHERS + 1,
    }
    found: xr.DataArray = xr.apply_ufunc(
        _sums_of_images,
        da.isel({axes.y: crop.rows, axes.x: crop.columns}),
        key,
        kwargs={"options": options},
        input_core_dims=[[axes.y, axes.x], []],
        output_core_dims=[list(sizes)],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"output_sizes": sizes, "allow_rechunk": True},
    )
    return found


def _measures(sums: xr.DataArray, time: str | None, apart: tuple[int, ...]) -> xr.Dataset:
    """Return the measures of images, or of those of all time steps together."""
    missing = sums.isel(kind=0, entry=-1, drop=True)
    used = sums.isel(entry=slice(-1))
    own = used.isel(kind=0, entry=0, drop=True).notnull()
    found = {"missing": missing}
    if time:
        used = used.sum(time, skipna=True).where(own.any(time))
        found = {"missing": missing.min(time), "day_count": own.sum(time)}
    for kind in range(sums.sizes["kind"]):
        parts = _ratios(used.isel(kind=kind, drop=True), apart)
        found |= {name + "_null" * kind: part for name, part in parts.items()}
    return xr.Dataset(found)


def _ratios(sums: xr.DataArray, apart: tuple[int, ...]) -> dict[str, xr.DataArray]:
    count = len(apart)
    number, second, fourth = (
        sums.isel(entry=slice(k * count, (k + 1) * count)).rename(entry="distance")
        for k in range(3)
    )
    one_way, energy, tail, median = (
        sums.isel(entry=3 * count + k, drop=True) for k in range(_OTHERS)
    )
    return {
        "kurtosis": fourth * number / (second**2).where(second > 0),
        "coherence": one_way / energy.where(energy > 0),
        "gradient_tail": tail / median.where(median > 0),
    }


def _grouped(
    found: list[xr.Dataset], words: list[tuple[str, ...]], ways: tuple[str, ...]
) -> xr.Dataset:
    """Put the results of groups side by side, along the ways of grouping."""
    if not ways:
        return found[0]
    labels = {way: list(dict.fromkeys(w[k] for w in words)) for k, way in enumerate(ways)}
    outer_first = [way for way in ("season", "region") if way in ways]  # as the groups are made
    places = np.arange(len(found)).reshape([len(labels[way]) for way in outer_first])
    together = xr.concat(found, "_group", combine_attrs="override")
    grouped = together.isel(_group=xr.DataArray(places, dims=outer_first)).assign_coords(labels)
    return grouped.transpose(*ways, ...)


def _labelled(found: xr.Dataset, most: float, attrs: dict[str, Any]) -> xr.Dataset:
    found["message"] = _message(found, most)
    for name in found.data_vars:
        base = str(name).removesuffix("_null")
        if base in _NAMES:
            said = _NAMES[base] + ", of a phase-randomised copy" * (base != name)
            found[name] = found[name].assign_attrs(long_name=said, units="1")
    for name in ("kurtosis", "kurtosis_null"):
        if name in found:
            found[name] = found[name].transpose(..., "distance")
    found["missing"].attrs = {"long_name": "share of cells that are missing", "units": "1"}
    if "day_count" in found:
        found["day_count"].attrs = {"long_name": "number of days pooled", "units": "1"}
    return found.assign_attrs(attrs)


def _message(found: xr.Dataset, most: float) -> xr.DataArray:
    """Explain where there is no result."""

    def say(share: float, coherence: float) -> str:
        if not np.isnan(coherence):
            return ""
        if share > most + ROUNDING:
            return (
                f"no result: {share:.0%} of the cells are missing, more than max_missing="
                f"{most:g}; raise it, or crop or fill the field"
            )
        return "no result: the field is constant, or a plane, or has too few cells with values"

    said: xr.DataArray = xr.apply_ufunc(
        np.vectorize(say, otypes=[_TEXT]),
        found["missing"],
        found["coherence"],
        dask="parallelized",
        output_dtypes=[_TEXT],
    )
    return said.assign_attrs(long_name="why there is no result", units="1")


# kernels: arrays (..., y, x)


def _sums_of_images(images: Array, key: Array, options: _Options) -> Array:
    """Return the sums of each image and of its copy, and the share that is missing."""
    flat = images.reshape(-1, *images.shape[-2:])
    keys = np.broadcast_to(key, images.shape[:-2]).ravel()
    shape = (1 + options.null, 3 * len(options.distances) + _OTHERS + 1)
    found = np.full((len(flat), *shape), np.nan)
    inside = np.broadcast_to(options.inside, flat.shape[-2:])
    for sums, image, number in zip(found, flat, keys, strict=True):
        values = np.where(inside, finite(image.astype(float)), np.nan)
        valid = ~np.isnan(values)
        missing = 1 - valid.sum() / inside.sum()
        sums[:, -1] = missing
        if missing > options.max_missing + ROUNDING or valid.sum() < FEWEST:
            continue
        flattened = detrend(values, valid)
        if not (flattened**2).sum() > _CONSTANT * (values[valid] ** 2).sum():
            continue
        sums[0, :-1] = _sums(values, options)
        if options.null:
            copy = phase_randomised(flattened, options.seed, int(number))
            sums[1, :-1] = _sums(np.where(valid, copy, np.nan), options)
    return found.reshape(*images.shape[:-2], *shape)


def _sums(image: Array, options: _Options) -> Array:
    """Return number, squares and fourth powers by distance; anisotropy, energy, tail, median."""
    powers = np.array([_powers(image, apart) for apart in options.distances]).T
    rows, columns = gradient(image)
    valid = ~np.isnan(rows)
    if not valid.any():
        return np.concatenate([powers.ravel(), np.zeros(_OTHERS)])
    modulus = np.hypot(rows[valid], columns[valid])
    quantiles = np.quantile(modulus, [_TAIL, 0.5])
    tensor = anisotropy(rows, columns, options.window)
    return np.concatenate([powers.ravel(), tensor, quantiles])


def _powers(image: Array, apart: int) -> tuple[float, float, float]:
    """Return number, sum of squares and sum of fourth powers of the increments."""
    steps = (image[apart:] - image[:-apart], image[:, apart:] - image[:, :-apart])
    squares = np.concatenate([step.ravel() for step in steps]) ** 2
    known = ~np.isnan(squares)
    squares = squares[known]
    return float(known.sum()), float(squares.sum()), float((squares**2).sum())


def gradient(image: Array) -> tuple[Array, Array]:
    """Return the gradient along rows and columns at the corners between four cells."""
    up = image[1:] - image[:-1]
    right = image[:, 1:] - image[:, :-1]
    return (up[:, 1:] + up[:, :-1]) / 2, (right[1:] + right[:-1]) / 2


def anisotropy(rows: Array, columns: Array, window: float) -> tuple[float, float]:
    """Return the sums of the difference and of the sum of the structure tensor's eigenvalues.

    Beyond the edges and in gaps gradients count as 0: the window's weight there cancels.
    """
    from scipy import ndimage

    valid = ~np.isnan(rows)
    rows = np.where(valid, rows, 0.0)
    columns = np.where(valid, columns, 0.0)
    smooth = [
        ndimage.gaussian_filter(product, window, mode="constant")
        for product in (rows * rows, columns * columns, rows * columns)
    ]
    difference = np.sqrt((smooth[0] - smooth[1]) ** 2 + 4 * smooth[2] ** 2)
    return float(difference[valid].sum()), float((smooth[0] + smooth[1])[valid].sum())


def phase_randomised(image: Array, seed: int, key: int) -> Array:
    """Return an image with the Fourier amplitudes of the periodic part, and random phases.

    The phases are those of white noise: symmetric, as those of a real image have to be.
    """
    words = [part for number in (seed, key, _PHASES) for part in _words(number)]
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    noise = np.fft.rfft2(generator.standard_normal(image.shape))
    amplitude = np.abs(np.fft.rfft2(periodic_part(image)))
    return np.asarray(np.fft.irfft2(amplitude * noise / np.abs(noise), s=image.shape))


def _words(number: int) -> tuple[int, int]:
    masked = number & (2**64 - 1)
    return masked & 0xFFFFFFFF, masked >> 32


def periodic_part(image: Array) -> Array:
    """Return an image less the smooth field that makes its opposite edges differ (Moisan 2011)."""
    jump = np.zeros_like(image)
    rows = image[0] - image[-1]
    columns = image[:, 0] - image[:, -1]
    jump[0] += rows
    jump[-1] -= rows
    jump[:, 0] += columns
    jump[:, -1] -= columns
    ny, nx = image.shape
    waves = np.cos(2 * np.pi * np.fft.fftfreq(ny))[:, None] + np.cos(
        2 * np.pi * np.fft.rfftfreq(nx)
    )
    laplacian = 4 - 2 * waves
    laplacian[0, 0] = 1.0  # the sum of the jumps is 0
    return np.asarray(image - np.fft.irfft2(np.fft.rfft2(jump) / laplacian, s=image.shape))
