"""Extract patches from labelled fields, and stitch labelled patches."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import GridError
from xdownscale.core.projection import with_positions
from xdownscale.core.values import plain_array
from xdownscale.patches.arrays import check_shape, extract_array, stitch_array, stitched_dtype
from xdownscale.patches.layout import PatchLayout

_PATCH_DIMS = ("patch", "patch_y", "patch_x")
_LABELS = "stitched"  # attribute of the coordinate `patch` that stores the field's own dims


def extract(da: xr.DataArray, layout: PatchLayout) -> xr.DataArray:
    """Extract patches from a labelled field.

    Parameters
    ----------
    da : DataArray
        Any dims, latitude and longitude among them.
    layout : PatchLayout
        For the image ``(latitude, longitude)`` as it lies in `da`, in either direction.

    Returns
    -------
    DataArray
        Dims ``(..., patch, patch_y, patch_x)``. Latitude ``(patch, patch_y)``, longitude
        ``(patch, patch_x)`` and all coordinates along them become coordinates of the patches; the
        coordinate ``patch`` stores the field's own dims. Lazy where `da` is.

    Raises
    ------
    GridError
        If there is no grid, it has another shape than the layout, or a dim has the name of
        one of a patch.
    DataError
        If it holds an array of another kind than numpy and dask.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((3, 4)), coords={"lat": [2.0, 1, 0], "lon": [0.0, 1, 2, 3]})
    >>> layout = PatchLayout(shape=(3, 4), size=2, stride=1, halo=0)
    >>> extract(da, layout).sizes
    Frozen({'patch': 6, 'patch_y': 2, 'patch_x': 2})
    """
    da = with_positions(plain_array(da, "The field"), "The field")
    axes = find_axes(da)
    y = axes.y
    x = axes.x
    check_shape((da.sizes[y], da.sizes[x]), layout)
    taken = [name for name in (*da.dims, *da.coords) if name in _PATCH_DIMS]
    if taken:
        raise GridError(f"The field has {taken[0]!r} already, a name of patches; rename it first.")
    core = da.chunk({y: -1, x: -1}) if da.chunks is not None else da
    cut: xr.DataArray = xr.apply_ufunc(
        extract_array,
        core,
        kwargs={"layout": layout},
        input_core_dims=[[y, x]],
        output_core_dims=[list(_PATCH_DIMS)],
        dask="parallelized",
        dask_gufunc_kwargs={
            "output_sizes": dict(
                zip(_PATCH_DIMS, (layout.n_patches, layout.size, layout.size), strict=True)
            )
        },
        output_dtypes=[da.dtype],
        keep_attrs=True,
    )
    return cut.assign_coords(_patch_coords(da, layout, y, x))


def stitch(patches: xr.DataArray, layout: PatchLayout) -> xr.DataArray:
    """Stitch labelled patches to fields: the inverse of `extract`.

    Parameters
    ----------
    patches : DataArray
        Dims ``(..., patch, patch_y, patch_x)`` in any order, with the coordinate ``patch`` that
        `extract` made; patches in any order. Dims that were added since are kept, in front.
    layout : PatchLayout
        The layout that they were cut with.

    Returns
    -------
    DataArray
        On the field's grid: its dims, coordinates, name and attributes. Lazy where `patches` is.

    Raises
    ------
    GridError
        If these are not patches of `extract`, or not every patch of the layout is there once.
    DataError
        If the values are not real numbers.

    Examples
    --------
    >>> da = xr.DataArray(np.eye(3, 4), coords={"lat": [2.0, 1, 0], "lon": [0.0, 1, 2, 3]})
    >>> layout = PatchLayout(shape=(3, 4), size=2, stride=1, halo=0)
    >>> stitch(extract(da, layout), layout).equals(da)
    True
    """
    field = _field_labels(patches)
    numbers = patches["patch"].values
    _check_complete(numbers, layout)
    y = field["y"]
    x = field["x"]
    whole = patches if patches.chunks is None else patches.chunk(dict.fromkeys(_PATCH_DIMS, -1))
    image: xr.DataArray = xr.apply_ufunc(
        stitch_array,
        whole,
        kwargs={"layout": layout, "patches": numbers},
        input_core_dims=[list(_PATCH_DIMS)],
        output_core_dims=[[y, x]],
        dask="parallelized",
        dask_gufunc_kwargs={
            "output_sizes": dict(zip((y, x), layout.shape, strict=True)),
        },
        output_dtypes=[stitched_dtype(patches.dtype)],
        keep_attrs=True,
    )
    image = image.assign_coords(_field_coords(patches, layout, field))
    known = [dim for dim in field["dims"] if dim in image.dims]
    added = [dim for dim in image.dims if dim not in known]
    return image.transpose(*added, *known, transpose_coords=False)


def _patch_coords(da: xr.DataArray, layout: PatchLayout, y: str, x: str) -> dict[str, Any]:
    """Return the coordinates of the patches: those along y or x, cut like the field."""
    within = np.arange(layout.size)
    index = {
        y: xr.Variable(("patch", "patch_y"), layout.positions[:, 0, None] + within),
        x: xr.Variable(("patch", "patch_x"), layout.positions[:, 1, None] + within),
    }
    old = {name: c.variable for name, c in da.coords.items() if {y, x} & set(c.dims)}
    coords: dict[str, Any] = {}
    for name, variable in old.items():
        cut = variable.to_base_variable().isel({d: index[d] for d in index if d in variable.dims})
        coords[str(name)] = cut.transpose(..., *[d for d in _PATCH_DIMS if d in cut.dims])
    labels = {"dims": da.dims, "y": y, "x": x, "coords": {n: v.dims for n, v in old.items()}}
    attrs = {_LABELS: json.dumps(labels)}
    return {**coords, "patch": xr.Variable("patch", np.arange(layout.n_patches), attrs)}


def _field_labels(patches: xr.DataArray) -> dict[str, Any]:
    missing = [dim for dim in _PATCH_DIMS if dim not in patches.dims]
    if missing:
        raise GridError(
            f"Patches need the dimensions {_PATCH_DIMS}; found {patches.dims}. Give what `extract` "
            "returned, or something computed from it."
        )
    text = patches["patch"].attrs.get(_LABELS)
    if text is None:
        raise GridError(
            "The coordinate 'patch' does not say which field these patches came from; take it "
            "from what `extract` returned: patches.assign_coords(patch=extracted.patch)."
        )
    labels: dict[str, Any] = json.loads(text)
    return labels


def _check_complete(numbers: NDArray[Any], layout: PatchLayout) -> None:
    if not np.array_equal(np.sort(numbers), np.arange(layout.n_patches)):
        raise GridError(
            f"{len(numbers)} patches were given; this layout has {layout.n_patches} and needs each "
            "of them once. Give all of them and the layout that they were cut with."
        )


def _field_coords(
    patches: xr.DataArray, layout: PatchLayout, field: dict[str, Any]
) -> dict[str, Any]:
    """Return coordinates along y and x, each pixel's taken from one patch that contains it."""
    corner_y, corner_x = layout.corners
    row, within_y = _containing_patch(corner_y, layout.shape[0])
    column, within_x = _containing_patch(corner_x, layout.shape[1])
    order = np.argsort(patches["patch"].values)
    y = field["y"]
    x = field["x"]
    on_y = {"patch": xr.Variable(y, order[row * len(corner_x)])}
    on_x = {"patch": xr.Variable(x, order[column])}
    on_both = {"patch": xr.Variable((y, x), order[row[:, None] * len(corner_x) + column])}
    inner = {"patch_y": xr.Variable(y, within_y), "patch_x": xr.Variable(x, within_x)}
    coords = {}
    for name, dims in field["coords"].items():
        if name in patches.coords:
            if {y, x} <= set(dims):
                number = on_both
            elif y in dims:
                number = on_y
            else:
                number = on_x
            variable = patches.coords[name].variable
            index = number | {d: v for d, v in inner.items() if d in variable.dims}
            kept = variable.isel(index)
            coords[name] = kept.transpose(*[d for d in dims if d in kept.dims], ...)
    return coords


def _containing_patch(
    corners: NDArray[np.intp], n: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return a patch that contains each pixel of an axis, and the pixel's position in it."""
    pixels = np.arange(n)
    number = np.searchsorted(corners, pixels, side="right") - 1
    return number, pixels - corners[number]
