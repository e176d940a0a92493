"""Area-to-point kriging of coarse fields: fine fields whose averages are the coarse values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.blocks import Reader, chunked
from xdownscale.core.coords import Labels, find_axes, require_array, to_array
from xdownscale.core.errors import DataError, GridError, OptionError, check_whole
from xdownscale.core.grids import Array, grid_template
from xdownscale.core.missing import finite
from xdownscale.core.record import canonical_grid
from xdownscale.core.values import as_floats, check_some
from xdownscale.models.statistical.kriging import Blocks, Weights, deconvolve, solve, with_trend
from xdownscale.models.statistical.variogram import Variogram, measure
from xdownscale.preprocessing.block_averages import coarse_blocks
from xdownscale.preprocessing.static_features import covariates

_FIELDS = 100  # coarse fields that a variogram is deconvolved from
_REACH = 0.5  # share of the domain's diagonal that it looks at
_CLASSES = 12
_PARAMETERS = ("model", "effective_range", "psill", "nugget", "smoothness")
_ROW = "_row"
_COLUMN = "_column"


def krige(
    da: xr.DataArray,
    target: xr.DataArray | xr.Dataset,
    variogram: xr.Dataset | Mapping[str, Any] | None = None,
    static: xr.DataArray | xr.Dataset | None = None,
    *,
    model: str = "exponential",
    neighbours: int | None = None,
    extrapolate: str | None = None,
) -> xr.Dataset:
    """Krige coarse fields to a fine grid, so that averages over coarse cells stay what they are.

    Ordinary area-to-point kriging: a coarse value is the area-weighted average of the fine cells
    under its cell. The weights are solved once for the two grids, and applied to each field by one
    matrix product. With static fields it is regression kriging: the trend is the least squares of
    each coarse field on the averages of the static fields, and its residual is kriged.

    Parameters
    ----------
    da : DataArray
        Coarse fields ([..., time,] lat, lon), dims in any order. Bring them to logarithms first
        where that is wanted: then the averages of the logarithms are kept, not those of the values.
    target : DataArray or Dataset
        Gives the fine grid.
    variogram : Dataset or mapping, optional
        Variogram of the fine fields: what `semivariogram` returned of a fine record, or
        ``dict(effective_range=..., psill=..., nugget=0, model=...)`` in km and squared units. By
        default that of the coarse fields is deconvolved (see Notes).
    static : DataArray or Dataset, optional
        Covariates, such as elevation, on any grid.
    model : {"spherical", "exponential", "gaussian", "matern"}
        Model of a variogram that is deconvolved.
    neighbours : int, optional
        Nearest coarse cells that a fine cell is kriged from; by default all of a domain of up to
        1000 coarse cells in and around the fine grid, and 32 of a larger one.
    extrapolate : None or "nearest"
        ``"nearest"``: fine cells may lie outside the coarse grid and its half-cell margin, and are
        kriged from the nearest coarse cells.

    Returns
    -------
    Dataset
        ``estimate`` ([..., time,] lat, lon), lazy where `da` is, and ``variance`` (lat, lon), the
        kriging variance, which knows nothing of the values but the variogram; that of the
        coefficients of a trend is not in it. The attributes hold the variogram. A coarse cell that
        is missing is left out of the system; its fine cells are NaN.

    Raises
    ------
    GridError
        If fine cells lie outside the coarse grid, or it has a single row or column.
    DataError
        If the variogram's fit failed, or no variogram can be deconvolved.
    OptionError
        For an unknown model or a number out of range.

    Notes
    -----
    Weights solve ``[C_vv 1; 1' 0] [l; m] = [c_v; 1]`` with the covariances of averages over the
    fine cells (Kyriakidis 2004, eq. 11-18); coarse cells that reach beyond the fine grid are filled
    with cells of its spacing. Distances are straight lines between points of the WGS84 ellipsoid,
    0.1 % shorter than geodesics at 1000 km, for which all models are valid. On grids with
    two-dimensional latitude and longitude a coarse cell is the mean of the fine cells nearest to
    its centre.

    A variogram is deconvolved (Goovaerts 2008) by least squares: of 40 ranges and the best partial
    sill of each, the one whose averages over coarse cells have the semivariance of the coarse
    fields, up to half of the diagonal, in at most 100 fields. That reads them. What varies within
    coarse cells alone, a nugget above all, leaves no trace in averages: give the variogram of a
    fine record where there is one.

    References
    ----------
    Kyriakidis (2004), doi:10.1111/j.1538-4632.2004.tb01135.x; Goovaerts (2008),
    doi:10.1007/s11004-007-9129-1.

    Examples
    --------
    >>> lat = np.arange(4) + 0.5
    >>> values = np.random.default_rng(0).normal(size=(4, 4))
    >>> coarse = xr.DataArray(values, coords={"lat": lat, "lon": lat})
    >>> fine = xr.Dataset(coords={"lat": np.arange(0.25, 4, 0.5), "lon": np.arange(0.25, 4, 0.5)})
    >>> found = krige(coarse, fine, dict(effective_range=200, psill=1.0))
    >>> means = found.estimate.downscale.regrid(coarse, method="conservative")
    >>> bool(abs(means - coarse).max() < 1e-9)
    True
    """
    require_array(da, "The coarse field")
    da = check_some(da, "The coarse field")
    if neighbours is not None:
        check_whole("neighbours", neighbours, least=1)
    lazy = as_floats(chunked(da))
    array, labels = to_array(lazy)
    coarse = canonical_grid(labels)
    grid = _bare(grid_template(target, "The target grid"))
    axes = find_axes(grid)
    if axes.time in (axes.y, axes.x):
        raise GridError(
            f"The target's dimension {str(axes.time)!r} has the name of another dimension of "
            "records, which is that of time; rename it."
        )
    wanted = to_array(grid).labels
    fine = canonical_grid(wanted)
    blocks = coarse_blocks(coarse, fine, extrapolate)
    found = _variogram(variogram, array, blocks, model)
    weights = solve(blocks, found, neighbours)
    if static is not None:
        layers = covariates(static, fine)
        at_points = blocks.everywhere(layers.reshape(len(layers), -1).T)
        weights = with_trend(weights, blocks, at_points)
    result = _labelled(array, labels, wanted, _Operator(blocks, weights, fine.shape), da)
    result.attrs = {name: getattr(found, name) for name in _PARAMETERS}
    if found.model != "matern":
        del result.attrs["smoothness"]
    return result if da.chunks is not None else result.compute()


def _bare(grid: xr.DataArray) -> xr.DataArray:
    """Return one field on a grid, without the dimensions that have nothing to do with it."""
    axes = find_axes(grid)
    empty = [str(dim) for dim, size in grid.sizes.items() if size == 0]
    if empty:
        raise DataError(
            f"The fine grid has the dimension {empty[0]!r} of length 0; give one field."
        )
    return grid.isel({dim: 0 for dim in grid.dims if dim not in (axes.y, axes.x)}, drop=True)


class _Operator:
    """Fine fields of coarse ones, as plain arrays."""

    def __init__(self, blocks: Blocks, weights: Weights, shape: tuple[int, ...]) -> None:
        self.blocks = blocks
        self.weights = weights
        self.shape = shape

    def __call__(self, fields: Array) -> Array:
        """Return (..., y, x) of coarse fields (..., yc, xc)."""
        lead = fields.shape[:-2]
        flat = finite(fields).reshape(-1, fields.shape[-2] * fields.shape[-1])
        known = np.asarray(flat[:, self.blocks.cells], np.float64)
        out = self.weights.apply(self.weights.filled(known))
        out[np.isnan(known)[:, self.blocks.home]] = np.nan
        return np.asarray(out.reshape(*lead, *self.shape), fields.dtype)

    def variance(self) -> Array:
        """Return the kriging variance (y, x)."""
        return self.weights.variance.reshape(self.shape)


def _labelled(
    array: Any, labels: Labels, wanted: Labels, operator: _Operator, da: xr.DataArray
) -> xr.Dataset:
    """Apply the weights, and label estimate and variance by the fine grid."""
    axes = labels.axes
    lead = [dim for dim in labels.order if dim not in (axes.y, axes.x)]
    _check_names(lead, wanted)
    kept = labels.coords.drop_dims([axes.y, axes.x], errors="ignore")
    coords = {n: c for n, c in kept.coords.items() if set(c.dims) <= set(lead)}
    field = xr.DataArray(array, dims=labels.order, coords=coords)
    if field.chunks is not None:
        field = field.chunk({axes.y: -1, axes.x: -1})
    sizes = dict(zip((_ROW, _COLUMN), operator.shape, strict=True))
    moved = xr.apply_ufunc(
        operator,
        field,
        input_core_dims=[[axes.y, axes.x]],
        output_core_dims=[[_ROW, _COLUMN]],
        dask="parallelized",
        output_dtypes=[field.dtype],
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    variance = xr.DataArray(operator.variance(), dims=(_ROW, _COLUMN))
    flips = dict(zip((_ROW, _COLUMN), wanted.flips()[-2:], strict=True))
    names = {_ROW: wanted.axes.y, _COLUMN: wanted.axes.x}
    own = {n: c for n, c in wanted.coords.coords.items() if c.ndim}
    found = {"estimate": moved, "variance": variance}
    ds = xr.Dataset({n: v.isel(flips).rename(names) for n, v in found.items()}).assign_coords(own)
    after = {axes.y: wanted.axes.y, axes.x: wanted.axes.x}
    order = [after.get(str(dim), dim) for dim in da.dims]
    ds = ds.transpose(*order)
    ds["estimate"].attrs = dict(labels.attrs)
    units = da.attrs.get("units")
    squared = {"units": "1" if units == "1" else f"({units})^2"} if units else {}
    ds["variance"].attrs = {"long_name": "kriging variance", **squared}
    return ds


def _check_names(lead: list[Any], wanted: Labels) -> None:
    taken = {wanted.axes.y, wanted.axes.x} & set(lead)
    if taken:
        raise GridError(
            f"The target's dimension {min(map(str, taken))!r} has the name of another dimension of "
            "the coarse field. Rename one of the two."
        )


def _variogram(given: Any, array: Any, blocks: Blocks, model: str) -> Variogram:
    """Return the variogram that was given, or deconvolve that of the coarse fields."""
    if isinstance(given, Variogram):
        return given
    if isinstance(given, xr.Dataset):
        return _of_dataset(given)
    if isinstance(given, Mapping):
        unknown = set(given) - set(_PARAMETERS)
        if unknown or not {"effective_range", "psill"} <= set(given):
            raise OptionError(
                f"variogram has the keys {sorted(map(str, given))}; give effective_range (km) and "
                "psill, and where wanted nugget, model and smoothness."
            )
        return Variogram(**given)
    if given is not None:
        raise OptionError(
            f"variogram is a {type(given).__name__}; give what geostat.semivariogram returned, a "
            "mapping, or None."
        )
    flat = Reader(array.reshape(-1, *array.shape[-2:]))
    rows = np.unique(np.linspace(0, flat.shape[0] - 1, _FIELDS).astype(int))
    fields = finite(np.asarray(flat[rows], np.float64)).reshape(len(rows), -1)[:, blocks.cells]
    span = np.ptp(blocks.centres, axis=0)
    reach = _REACH * float(np.sqrt((span**2).sum()))
    curve = measure(blocks.centres, fields, reach, bins=_CLASSES)
    return deconvolve(blocks, curve, model)


def _of_dataset(given: xr.Dataset) -> Variogram:
    """Read a fitted model from what `semivariogram` returned."""
    lacking = {"effective_range", "psill", "nugget"} - set(given.variables)
    if lacking or given["psill"].ndim:
        raise OptionError(
            "variogram is a Dataset "
            + (f"without {sorted(lacking)}" if lacking else f"with psill over {given.psill.dims}")
            + "; give what geostat.semivariogram returned of one variable, averaged over time."
        )
    if not given["fit_ok"].item():
        raise DataError(
            f"The fit of the variogram failed: {given['message'].item()}. Give its parameters, as "
            "variogram=dict(effective_range=..., psill=...), or None to deconvolve one."
        )
    names = [name for name in _PARAMETERS[1:] if name in given.variables]
    return Variogram(model=given.attrs["model"], **{n: given[n].item() for n in names})
