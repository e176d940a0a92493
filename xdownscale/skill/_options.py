"""Options of the scores: pixel weights, transforms, thresholds of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.alignment import onto_grid
from xdownscale.core.coords import Axes, require_array
from xdownscale.core.errors import DataError, OptionError, check_option
from xdownscale.core.grids import cell_weights
from xdownscale.core.missing import finite
from xdownscale.core.normalization import TRANSFORMS, Scaling
from xdownscale.core.quantiles import record_quantiles
from xdownscale.core.units import units_of
from xdownscale.core.values import check_values

MEMBERS = "realization"
Weights = bool | xr.DataArray


def check_named(predictions: object) -> None:
    """Raise `OptionError` unless predictions are a mapping of names.

    Parameters
    ----------
    predictions : object
        What was given.
    """
    if not isinstance(predictions, Mapping):
        raise OptionError(
            f"The predictions are a {type(predictions).__name__}; give a mapping of names to "
            "DataArrays, for instance {'model': prediction}."
        )


def pixel_weights(weights: Weights, truth: xr.DataArray, axes: Axes) -> xr.DataArray | None:
    """Return the weights (y, x) of the pixels; None where each counts once.

    Parameters
    ----------
    weights : bool or DataArray
        True for the areas of the cells; cosines of latitude where cells have no edges, as on
        curvilinear grids.
    truth : DataArray
        Gives the grid.
    axes : Axes
        Of the truth.

    Returns
    -------
    DataArray or None

    Raises
    ------
    OptionError
        If weights are negative or not finite, or all zero.
    GridError
        If they are on another grid.
    """
    if isinstance(weights, bool):
        return cell_weights(truth).reset_coords(drop=True) if weights else None
    if not isinstance(weights, xr.DataArray):
        raise OptionError(
            f"weights is {weights!r}; give True for the areas of the cells, False, or a DataArray "
            "on the grid of the truth."
        )
    weights = check_values(weights, "The array of weights")
    found = onto_grid(weights, truth, "weights").transpose(axes.y, axes.x)
    values = found.values
    if not (np.isfinite(values).all() and (values >= 0).all() and (values > 0).any()):
        raise OptionError(
            f"The weights run from {values.min()} to {values.max()}; give finite weights of 0 or "
            "more, some above 0, or weights=True for the areas of the cells."
        )
    return found.astype(float)


def scaling_of(transform: str | Scaling | None) -> Scaling:
    """Return the `Scaling` of a transform by its name; ``"auto"`` is refused.

    Parameters
    ----------
    transform : str, Scaling or None

    Returns
    -------
    Scaling
    """
    if isinstance(transform, Scaling):
        return transform
    name = transform or "identity"
    check_option("transform", name, [t for t in TRANSFORMS if t != "auto"])
    return Scaling(transform=name)


def transformed(name: str, fields: Any, space: Scaling) -> Any:
    """Transform an array, infinities as NaN; errors name the array.

    Parameters
    ----------
    name : str
        What the array is, for the message.
    fields : array
        Numpy or dask.
    space : Scaling
        Its transform is used, not its standardisation.

    Returns
    -------
    array
    """
    fields = finite(fields)
    if space.transform == "identity":
        return fields
    try:
        return space.transform_only(fields)
    except DataError as err:
        raise DataError(
            f"{name!r} cannot be scored in {space.transform} units: {err} Or score in physical "
            "units alone, with transform='identity'."
        ) from err


def transformed_record(name: str, da: xr.DataArray, space: Scaling) -> xr.DataArray:
    """Return a labelled array with its values transformed, as `transformed` does.

    Parameters
    ----------
    name : str
        What the array is, for the message.
    da : DataArray
        Lazy or not.
    space : Scaling
        Its transform is used, not its standardisation.

    Returns
    -------
    DataArray
    """
    return da.copy(data=transformed(name, da.data, space))


def require_members(prediction: xr.DataArray, what: str) -> int:
    """Return the number of realizations; raise `DataError` for fewer than two.

    Parameters
    ----------
    prediction : DataArray
        With the dimension ``realization``.
    what : str
        The score, for the message.

    Returns
    -------
    int
    """
    require_array(prediction)
    count = prediction.sizes.get(MEMBERS, 1)
    if count < 2:
        raise DataError(
            f"{what} needs an ensemble; the prediction has {count} realization along the "
            f"dimension {MEMBERS!r} (dims: {tuple(prediction.dims)}). Generate 2 or more, with "
            "predict(..., realizations=8)."
        )
    return count


def event_levels(
    truth: xr.DataArray,
    thresholds: Sequence[float] | float | None,
    quantiles: Sequence[float] | float | None,
) -> xr.DataArray:
    """Return the thresholds of events: as given, or as quantiles of the truth.

    Parameters
    ----------
    truth : DataArray
        Read twice if quantiles are given, a chunk at a time.
    thresholds, quantiles : float or sequence of float, optional
        One of the two.

    Returns
    -------
    DataArray
        (threshold); with the coordinate ``quantile`` where quantiles were given.

    Raises
    ------
    OptionError
        If there is no threshold, thresholds and quantiles are both given, a threshold is not
        finite, or a quantile not between 0 and 1.
    """
    if (thresholds is None) == (quantiles is None):
        both = "no threshold" if thresholds is None else "thresholds and quantiles"
        raise OptionError(
            f"An event needs a level; {both} given. Give thresholds=[...] in the units of the "
            "truth, or quantiles=[...] of the truth between 0 and 1."
        )
    asked = np.atleast_1d(np.asarray(thresholds if quantiles is None else quantiles, dtype=float))
    if quantiles is None:
        levels = _finite_levels(asked)
        extra = {}
    else:
        check_quantiles(asked)
        levels = record_quantiles(truth, asked)
        extra = {"quantile": ("threshold", asked)}
    units = {"units": units_of(truth)} if "units" in truth.attrs else {}
    axis = xr.DataArray(levels, dims="threshold", attrs={"long_name": "threshold", **units})
    return axis.assign_coords({"threshold": axis, **extra})


def check_quantiles(quantiles: Any) -> None:
    """Raise `OptionError` unless there are quantiles, all between 0 and 1.

    Parameters
    ----------
    quantiles : array
    """
    outside = [q for q in quantiles if not 0 < q < 1]
    if outside or not len(quantiles):
        found = f"{outside[0]:g} is not" if outside else "none was given"
        raise OptionError(
            f"Quantiles must lie between 0 and 1; {found}. The minimum and the maximum are no "
            "levels of events: give e.g. 0.95."
        )


def _finite_levels(levels: Any) -> Any:
    if not levels.size or not np.isfinite(levels).all():
        raise OptionError(
            f"The thresholds are {levels.tolist()}, so there is no threshold or one is not finite; "
            "give one finite number or more."
        )
    return levels
