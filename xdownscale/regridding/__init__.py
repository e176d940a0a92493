"""Regrid fields between grids of all kinds: `regrid` with its own weights and those of ESMF."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr
from scipy.sparse import csr_array

from xdownscale.config import ENGINES
from xdownscale.core.cells import cells_of
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import GridError, check_option
from xdownscale.core.grids import (
    NO_BOUNDS,
    Bounds,
    Grid,
    centres,
    given_bounds,
    grid_template,
    has_grid,
    require_rectilinear,
    spacing,
)
from xdownscale.core.projection import mapping_variable, with_positions
from xdownscale.core.quantities import as_plain, plain_parts
from xdownscale.core.values import check_values
from xdownscale.regridding._esmf import esmf_regridder
from xdownscale.regridding._general import regridder_between, shared_areas
from xdownscale.regridding._separable import Regridder, check_options, float_type
from xdownscale.regridding._sparse import SparseRegridder

__all__ = ["Regridder", "regrid", "regrid_static", "separable"]

LAST = ("__y", "__x")  # temporary names of the target's two axes
GridT = TypeVar("GridT", xr.DataArray, xr.Dataset)


def regrid(
    da: GridT,
    target: Grid,
    method: str = "bicubic",
    engine: str = "separable",
    extrapolate: str | None = None,
    *,
    min_valid: float = 0.5,
) -> GridT:
    """Interpolate or average a field to another grid.

    Parameters
    ----------
    da : DataArray or Dataset
        Fields over a grid and any other dimensions, in any order: latitude and longitude of one
        dimension, projected coordinates with a CF ``grid_mapping`` (or ``proj:code``, ``crs_wkt``),
        or latitude and longitude of two dimensions. Of a Dataset, every variable with a grid is
        regridded, variables without a horizontal dimension are kept, and others are dropped.
    target : DataArray or Dataset
        Gives the grid, of any of these kinds; its values are not read.
    method : {"bicubic", "bilinear", "nearest", "conservative"}
        ``"bicubic"`` is a not-a-knot cubic spline along each axis (a parabola through three
        points, a line through two). ``"bilinear"`` and ``"nearest"`` never leave the range of
        the source. ``"conservative"`` is the area mean over the target cell on the sphere; cells
        end where the CF bounds of a Dataset say, else halfway between centres.
    engine : {"separable", "xesmf"}
        ``"separable"``: the library's own weights, for all kinds of grids. ``"xesmf"``: weights
        from ESMF through the package xesmf; it has no bicubic and takes its patch recovery
        instead, with a warning.
    extrapolate : None or "nearest"
        None refuses target cells whose centres lie beyond the outermost cell edges of the source.
        ``"nearest"`` gives everything beyond the outermost source centres the value of the
        outermost cell.
    min_valid : float
        A value is NaN where less than this share of its weight lies on valid source cells.

    Returns
    -------
    DataArray or Dataset
        The dimensions of `da` in their order, with horizontal coordinates and the grid mapping
        named and placed as in `target` (coordinates identical); name and attributes of `da`.
        float32 stays float32, float16 becomes float32, integers and booleans become float64. Lazy
        where `da` is; each field is regridded on its own, so the chunks do not matter.

    Raises
    ------
    GridError
        If axes are missing, unsorted, have duplicates or one point where cells are needed; if a
        grid mapping is missing, unknown or contradicts latitude and longitude; if cells of a
        curvilinear grid are folded or have no position; if the target reaches outside the source.
    OptionError
        For an unknown name or a share outside [0, 1].
    DataError
        If the values are not real numbers.
    MissingPackageError
        If xesmf is asked for and cannot be imported.

    Warns
    -----
    XDownscaleWarning
        If bicubic is asked of xesmf.

    Notes
    -----
    *Between grids in degrees* ``F = W_y f W_x^T``, a small matrix for each axis. Longitudes may
    follow any convention and cross Greenwich or the dateline; a source that goes round the globe
    is periodic.

    *From a grid in degrees or in a projection to any other* the same splines are evaluated at the
    target's positions in the source's coordinates. *From a curvilinear grid* they are splines over
    its rows and columns, at the fractional indices of the target: ``"bilinear"`` weighs the four
    centres of the quadrilateral that holds the point (found by a k-d tree on the sphere and solved
    in the gnomonic projection), ``"bicubic"`` refines the indices until the spline of the positions
    meets the point, ``"nearest"`` is the nearest centre on the sphere. Points in no quadrilateral
    but within half a cell, as round a pole, take the inverse distances to four centres.
    ``"conservative"`` is first order: weights are the areas that two spherical polygons share,
    whose sides are great circles (parallels and lines of a projection are cut into several).

    Weights are kept in memory, and the costly ones as files named by a hash of both grids in
    ``XDOWNSCALE_WEIGHTS``, by default in the user's cache folder; set it to "" to keep none.

    *Margin.* In the half cell between the outermost source centre and its edge, bicubic goes on
    along the line through the outermost two centres; the other methods hold the outermost value.
    The line was chosen by measurement: for a field with a correlation length of three cells its
    error there is 0.040 standard deviations, against 0.106 when the value is held, and for a rough
    one (spectrum k^-2) 0.34 against 0.29. The spline itself would reach 0.013 and 0.68.

    *NaN* (and infinite values count as NaN): ``F = sum(W f m) / sum(W m)`` with m = 1 on valid
    cells, NaN where ``sum(W m) < min_valid``. Bicubic takes this with linear weights wherever one
    of the 4 x 4 source cells round the target is missing, and the spline elsewhere.

    *Conservative.* A target cell that the source covers in part gets the mean over that part.
    With ``extrapolate="nearest"`` a cell that is not covered at all takes the nearest source
    cell.

    Splines overshoot steps by about 11 %: bring a positive variable to a transformed space first,
    or clip the result.

    Examples
    --------
    >>> coarse = xr.DataArray(
    ...     [[0.0, 1.0], [2.0, 3.0]], coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]}, name="dust"
    ... )
    >>> fine = xr.Dataset(coords={"latitude": [0.5, 0.0], "longitude": [0.25, 0.75]})
    >>> regrid(coarse, fine, "bilinear")
    <xarray.DataArray 'dust' (latitude: 2, longitude: 2)> Size: 32B
    array([[1.25, 1.75],
           [0.25, 0.75]])
    Coordinates:
      * latitude   (latitude) float64 16B 0.5 0.0
      * longitude  (longitude) float64 16B 0.25 0.75
    """
    check_options(method, extrapolate, min_valid)
    check_option("engine", engine, ENGINES)
    wanted = Target.of(target)
    options = (method, engine, extrapolate, min_valid)
    if isinstance(da, xr.Dataset):
        return _regrid_dataset(da, wanted, *options)
    da = check_values(da, f"The array {str(getattr(da, 'name', None) or '')!r}")
    return _regrid_array(with_positions(da, "The source grid"), da, wanted, *options)


class Target(NamedTuple):
    """The grid that fields are brought to.

    Attributes
    ----------
    given : DataArray or Dataset
        As the caller gave it.
    grid : DataArray
        With latitude and longitude of one or two dimensions.
    plane : bool
        True where they are two-dimensional.
    mapping : DataArray or None
        Its grid mapping variable.
    """

    given: Grid
    grid: xr.DataArray
    plane: bool
    mapping: xr.DataArray | None

    @classmethod
    def of(cls, target: Grid) -> Target:
        """Look for the positions of a grid."""
        what = "The target grid"
        target = plain_parts(target)
        located = _located(target, what)
        grid = grid_template(located, what)
        plane = is_plane(grid)
        return cls(target, grid, plane, mapping_variable(target) if plane else None)


def _located(grid: Grid, what: str) -> Grid:
    if isinstance(grid, xr.DataArray):
        return with_positions(grid, what)
    return with_positions(grid, what) if isinstance(grid, xr.Dataset) else grid


def is_plane(grid: xr.DataArray) -> bool:
    """Tell whether latitude and longitude are two-dimensional.

    Examples
    --------
    >>> is_plane(xr.DataArray(np.ones((1, 1)), coords={"lat": [0.0], "lon": [1.0]}))
    False
    """
    return bool(grid.coords[find_axes(grid).latitude].ndim != 1)


def _regrid_array(
    da: xr.DataArray,
    origin: Grid,
    target: Target,
    method: str,
    engine: str,
    extrapolate: str | None,
    min_valid: float,
) -> xr.DataArray:
    """Regrid an array with positions; `origin` has its bounds and its grid mapping."""
    float_type(da.dtype)
    _check_names(da, target.grid)
    if engine == "separable" and not target.plane and not is_plane(da):
        # only an area mean asks for the edges of cells
        bounds = (NO_BOUNDS, NO_BOUNDS)
        if method == "conservative":
            bounds = (given_bounds(origin), given_bounds(target.given))
        moved = _regrid_separable(da, target.grid, method, extrapolate, min_valid, bounds)
        return _put_on_grid(da, moved, target)
    source = cells_of(origin, "The source grid")
    wanted = cells_of(target.given, "The target grid")
    between = regridder_between if engine == "separable" else esmf_regridder
    regridder = between(source, wanted, method, extrapolate, min_valid)
    moved = apply_to(da, regridder, source.dims, wanted.shape)
    return _put_on_grid(da, moved, target)


def separable(
    source: xr.DataArray,
    target: xr.DataArray,
    method: str = "bicubic",
    extrapolate: str | None = None,
    min_valid: float = 0.5,
    bounds: tuple[Bounds, Bounds] = (NO_BOUNDS, NO_BOUNDS),
) -> Regridder:
    """Return a regridder for plain arrays between two rectilinear grids.

    Axes and weights are computed once, for a caller that regrids many fields one by one.

    Parameters
    ----------
    source, target : DataArray
        They give the grids, in their own orientation.
    method, extrapolate, min_valid
        As in `regrid`.
    bounds : (Bounds, Bounds)
        Edges of the cells of the source and of the target, where they are known.

    Returns
    -------
    Regridder

    Raises
    ------
    GridError
        As in `regrid`.

    Examples
    --------
    >>> coarse = xr.DataArray(
    ...     [[0.0, 1.0], [2.0, 3.0]], coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    ... )
    >>> fine = xr.DataArray([[0.0]], coords={"lat": [0.5], "lon": [0.25]})
    >>> separable(coarse, fine, "bilinear").apply(coarse.values)
    array([[1.25]])
    """
    given = centres(source, "The source grid", rectilinear=True)
    wanted = centres(target, "The target grid", rectilinear=True)
    return Regridder.between(given, wanted, method, extrapolate, min_valid, bounds)


def between(
    source: xr.DataArray,
    target: xr.DataArray,
    method: str = "bicubic",
    extrapolate: str | None = None,
    engine: str = "separable",
) -> Regridder | SparseRegridder:
    """Return a regridder for plain arrays between two grids of any kind.

    Axes and weights are computed once, here, for a caller that regrids many fields one by one.

    Parameters
    ----------
    source, target : DataArray
        They give the grids, in their own orientation.
    method, extrapolate, engine
        As in `regrid`.

    Returns
    -------
    Regridder or SparseRegridder

    Raises
    ------
    GridError
        As in `regrid`.

    Examples
    --------
    >>> coarse = xr.DataArray(
    ...     [[0.0, 1.0], [2.0, 3.0]], coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    ... )
    >>> fine = xr.DataArray([[0.0]], coords={"lat": [0.5], "lon": [0.25]})
    >>> between(coarse, fine, "bilinear").apply(coarse.values)
    array([[1.25]])
    """
    if engine == "separable" and not is_plane(source) and not is_plane(target):
        return separable(source, target, method, extrapolate)
    pair = cells_of(source, "The source grid"), cells_of(target, "The target grid")
    make = regridder_between if engine == "separable" else esmf_regridder
    return make(*pair, method, extrapolate, 0.5)


def overlap(source: xr.DataArray, target: xr.DataArray) -> csr_array:
    """Return the areas that cells of two grids share, of any kinds.

    Parameters
    ----------
    source, target : DataArray
        They give the grids, in their own orientation.

    Returns
    -------
    sparse array, shape (target cells, source cells)
        Steradians.

    Raises
    ------
    GridError
        If cells are folded, or have no width.

    Examples
    --------
    >>> grid = xr.DataArray(np.ones((2, 2)), coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]})
    >>> (overlap(grid, grid).toarray() > 1e-9).astype(int)
    array([[1, 0, 0, 0],
           [0, 1, 0, 0],
           [0, 0, 1, 0],
           [0, 0, 0, 1]])
    """
    return shared_areas(cells_of(source, "The fine grid"), cells_of(target, "The coarse grid"))


def regrid_static(
    field: GridT, target: Grid, extrapolate: str | None = None, *, min_valid: float = 0.5
) -> GridT:
    """Regrid elevation or another static field by area average.

    Parameters
    ----------
    field : DataArray or Dataset
        Static fields over latitude and longitude.
    target : DataArray or Dataset
        Gives the grid.
    extrapolate, min_valid
        As in `regrid`.

    Returns
    -------
    DataArray or Dataset
        The area mean (``method="conservative"``) where the cells of `field` are smaller than
        those of `target`, else bilinear interpolation; as in `regrid` otherwise.

    Raises
    ------
    GridError
        As in `regrid`, with the separable engine.

    Examples
    --------
    >>> lat = [0.25, 0.75]
    >>> height = xr.DataArray(
    ...     [[0.0, 0.0, 8.0, 8.0]] * 2, coords={"lat": lat, "lon": [0.25, 0.75, 1.25, 1.75]}
    ... )
    >>> regrid_static(height, xr.Dataset(coords={"lat": lat, "lon": [0.5, 1.5]})).values
    array([[0., 8.],
           [0., 8.]])
    """
    given = {"The static field": field, "The target grid": target}
    flat = not any(is_plane(grid_template(grid, what)) for what, grid in given.items())
    own, wanted = (_cell_size(grid, what, flat=flat) for what, grid in given.items())
    finer = own < wanted
    method = "conservative" if finer else "bilinear"
    return regrid(field, target, method, extrapolate=extrapolate, min_valid=min_valid)


def _cell_size(grid: Grid, what: str, *, flat: bool) -> float:
    """Return the area of a cell in square degrees, NaN for a single point; else in km2."""
    if not flat:
        return float(np.median(cells_of(grid, what).areas()))
    latitude, longitude = centres(grid, what, rectilinear=True)
    rows = spacing(np.unwrap(latitude, period=360.0))
    columns = spacing(np.unwrap(longitude, period=360.0))
    return rows * columns


def _regrid_dataset(ds: xr.Dataset, target: Target, *options: Any) -> xr.Dataset:
    """Regrid every variable with a grid; keep those without a horizontal dimension."""
    ds = as_plain(ds)
    located = with_positions(ds, "The source grid")
    bounds = _bounds_names(ds)
    gridded = [n for n, da in located.data_vars.items() if n not in bounds and has_grid(da)]
    if not gridded:
        raise GridError(
            f"No variable of the Dataset has latitude and longitude; it has {list(ds.data_vars)}. "
            "Give a Dataset with a gridded variable."
        )
    horizontal: set[Hashable] = set()
    for name in gridded:
        axes = find_axes(located[name])
        horizontal |= {axes.y, axes.x}
    fields = {n: check_values(located[n], f"The array {str(n)!r}") for n in gridded}
    mapping = mapping_variable(ds)
    old = set() if mapping is None or not is_plane(located[gridded[0]]) else {mapping.name}
    results = {
        name: _regrid_array(fields[name], _own(ds, name), target, *options)
        if name in fields
        else da
        for name, da in located.data_vars.items()
        if name in gridded or not (horizontal & set(da.dims) or name in old)
    }
    return xr.Dataset(results, attrs=ds.attrs)


def _own(ds: xr.Dataset, name: Hashable) -> xr.Dataset:
    """Return a variable of a Dataset with all that describes its grid."""
    others = {n for n, da in ds.data_vars.items() if has_grid(da) and n != name}
    return ds.drop_vars(others - _bounds_names(ds))


def _bounds_names(ds: xr.Dataset) -> set[Hashable]:
    """Return the variables that hold the bounds of coordinates."""
    found = (da.attrs.get("bounds", da.encoding.get("bounds")) for da in ds.coords.values())
    return {name for name in found if name in ds.data_vars}


def _regrid_separable(
    da: xr.DataArray,
    grid: xr.DataArray,
    method: str,
    extrapolate: str | None,
    min_valid: float,
    bounds: tuple[Bounds, Bounds],
) -> xr.Variable:
    """Return the values on the target grid, with its two axes last."""
    axes = require_rectilinear(da, "The source grid")
    wanted = require_rectilinear(grid, "The target grid")
    regridder = separable(da, grid, method, extrapolate, min_valid, bounds)
    shape = (grid.sizes[wanted.y], grid.sizes[wanted.x])
    return apply_to(da, regridder, (axes.y, axes.x), shape)


def apply_to(
    da: xr.DataArray,
    regridder: Regridder | SparseRegridder,
    dims: tuple[str, str],
    shape: tuple[int, int],
) -> xr.Variable:
    """Apply weights to an array, lazily where it is lazy.

    Parameters
    ----------
    da : DataArray
        On the source grid.
    regridder : Regridder or SparseRegridder
    dims : (str, str)
        Dimensions y and x of the source.
    shape : (int, int)
        Rows and columns of the target.

    Returns
    -------
    Variable
        With the target's two axes last.

    Examples
    --------
    >>> da = xr.DataArray(np.ones((2, 2)), coords={"lat": [0.0, 1.0], "lon": [0.0, 1.0]})
    >>> apply_to(da, separable(da, da[:1]), ("lat", "lon"), (1, 2)).shape
    (1, 2)
    """
    used = da.variable.isel({dims[0]: regridder.rows, dims[1]: regridder.columns})
    if da.chunks is not None:
        used = used.chunk(dict.fromkeys(dims, -1))
    regridded: xr.Variable = xr.apply_ufunc(
        regridder.apply_cropped,
        used,
        input_core_dims=[list(dims)],
        output_core_dims=[list(LAST)],
        dask="parallelized",
        output_dtypes=[float_type(da.dtype)],
        dask_gufunc_kwargs={"output_sizes": dict(zip(LAST, shape, strict=True))},
    )
    return regridded


def _check_names(da: xr.DataArray, grid: xr.DataArray) -> None:
    """Raise if a dimension of the target has the name of another dimension of the array."""
    axes = find_axes(da)
    wanted = find_axes(grid)
    taken = {wanted.y, wanted.x} & (set(da.dims) - {axes.y, axes.x})
    if taken:
        raise GridError(
            f"The target's dimension {min(map(str, taken))!r} has the name of another dimension of "
            f"{da.name or 'the array'}, whose dimensions are {da.dims}. Rename one of the two."
        )


def _put_on_grid(da: xr.DataArray, regridded: xr.Variable, target: Target) -> xr.DataArray:
    """Label regridded values: latitude and longitude of the target, all else of `da`."""
    axes = find_axes(da)
    wanted = find_axes(target.grid)
    after = {axes.y: wanted.y, axes.x: wanted.x}
    order = [d if d not in after else LAST[d == axes.x] for d in da.dims]
    names = {wanted.y, wanted.x, wanted.latitude, wanted.longitude}
    horizontal = target.grid.coords.to_dataset()
    horizontal = horizontal.drop_vars(
        [n for n in horizontal.coords if n not in names or n not in target.given.coords]
    )
    kept = da.coords.to_dataset().drop_dims([axes.y, axes.x], errors="ignore")
    attrs = dict(da.attrs)
    if target.plane or da.coords[axes.latitude].ndim != 1:
        kept = kept.drop_vars(_mapping_names(da) & set(kept.coords))
        attrs.pop("grid_mapping", None)
    if target.mapping is not None:
        horizontal = horizontal.assign_coords({target.mapping.name: target.mapping.variable})
        attrs["grid_mapping"] = str(target.mapping.name)
    found = xr.DataArray(
        regridded.transpose(*order).data,
        coords=kept.assign_coords(horizontal.coords).coords,
        dims=[after.get(str(d), d) for d in da.dims],
        attrs=attrs,
    )
    # not name=: where it is None, xarray takes the name of the dask graph instead
    found.name = da.name
    return found


def _mapping_names(da: xr.DataArray) -> set[Hashable]:
    mapping = mapping_variable(da)
    return set() if mapping is None else {mapping.name}
