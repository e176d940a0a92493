"""A fitted model on another domain of the same family of grids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core import hashing
from xdownscale.core.alignment import template
from xdownscale.core.cells import Cells, cells_of
from xdownscale.core.coords import Labels, find_axes, to_array
from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.core.grids import Grid, grid_template, spacing
from xdownscale.core.located import located, located_variables
from xdownscale.core.projection import with_mapping
from xdownscale.core.record import canonical_grid
from xdownscale.core.storable import storable
from xdownscale.fitting.fitted_model import Fitted, GroupModel
from xdownscale.preprocessing.static_features import static_layers, unit_range
from xdownscale.preprocessing.validation import require_covered

Array = npt.NDArray[Any]
_SAME_STEP = 0.01  # relative difference of spacings that are one
_SAME_LATTICE = 0.05  # share of a cell by which centres may lie off the lattice of the model's
_SAME_STATIC = 1e-3  # of scaled static fields, whose range is 2


def move(fitted: Fitted, coarse: Grid, fine: Grid, static: Any = None) -> Fitted:
    """Return a model for another domain; see `xdownscale.Downscaler.on_grid`.

    Parameters
    ----------
    fitted : Fitted
        The model.
    coarse, fine : DataArray or Dataset
        Grids of the domain.
    static : DataArray or Dataset, optional
        The static fields of the fit, over the old domain and the new one.

    Returns
    -------
    Fitted

    Raises
    ------
    OptionError
        If the model knows cells of its own domain by their place.
    GridError
        If a grid is not of the model's family, or fine cells are not covered.
    DataError
        If the static fields are not those of the fit.
    """
    _check_movable(fitted)
    labels = {
        what: _labels(grid, what) for what, grid in (("coarse grid", coarse), ("fine grid", fine))
    }
    grids = {what: canonical_grid(found) for what, found in labels.items()}
    old = {
        "coarse grid": fitted.coarse_grid,
        "fine grid": fitted.carried.isel(time=0, drop=True),
    }
    for what, grid in grids.items():
        _check_family(cells_of(old[what]), cells_of(grid), what)
    new_coarse = grids["coarse grid"]
    new_fine = grids["fine grid"]
    if fitted.config.data.extrapolate is None:
        require_covered(new_coarse, new_fine)
    fitted.method.check_shape((new_fine.shape[0], new_fine.shape[1]), fitted.config)
    models = {
        name: _moved(fitted, model, (new_coarse, new_fine), static)
        for name, model in fitted.models.items()
    }
    return replace(
        fitted,
        models=models,
        targets=tuple(_with_grid(each, labels["fine grid"]) for each in fitted.targets),
        coarse_grid=new_coarse.copy(data=np.ones(new_coarse.shape, np.float32)),
        carried=_nothing_carried(fitted.carried, new_fine),
        about=replace(
            fitted.about,
            fingerprint=hashing.fingerprint(fitted.about.fingerprint, *_coordinates(grids)),
            skill={},
            forecast=(),
        ),
    )


def _coordinates(grids: dict[str, xr.DataArray]) -> list[Array]:
    """Return the coordinates of grids, to tell models apart by."""
    found = [cells_of(grid) for grid in grids.values()]
    return [values for cells in found for values in (cells.first, cells.second)]


def _check_movable(fitted: Fitted) -> None:
    method = fitted.method
    if method.knows_cells(fitted.config):
        raise OptionError(
            f"This model (method {method.name!r}) has learnt every cell of its own domain by its "
            "place: a regression, residuals or a climate for each. It cannot be applied "
            "elsewhere. Fit a model there, or one of method 'unet', 'crps', 'residual' or "
            "'diffusion' with first_guess='driver', whose networks know no place."
        )
    if any(model.group.region is not None for model in fitted.models.values()):
        raise OptionError(
            "This model was fitted for regions, each of which is a part of its own domain. Fit one "
            "without regions= to apply it elsewhere."
        )
    if any(model.maps for model in fitted.models.values()):
        raise OptionError(
            "This model was fitted with pairing='self': the climate of each coarse cell of its own "
            "domain is mapped. It cannot be applied elsewhere."
        )


def _labels(grid: Grid, what: str) -> Labels:
    """Return the labels of a grid, without times and other coordinates."""
    said = f"The {what}"
    if isinstance(grid, xr.Dataset) and grid.data_vars:
        found = located_variables(grid, f"the {what}")
        da = next((v for v in found.values() if v.ndim > 1), None)
        da = with_mapping(grid_template(grid, said), grid) if da is None else da
    else:
        da = grid_template(grid, said)
    da = template(located(da, said))
    axes = find_axes(da)
    return storable(to_array(da.transpose(axes.y, axes.x)).labels)


def _check_family(old: Cells, new: Cells, what: str) -> None:
    """Raise unless a grid continues the lattice of another one."""
    if old.kind != new.kind:
        raise GridError(
            f"The {what} is {_kind(new)} and the model's is {_kind(old)}. Bring the record to a "
            "grid of the model's kind, with xdownscale.regrid."
        )
    if old.kind == "curvilinear":
        for one, other in zip(old.steps, new.steps, strict=True):
            if abs(other / one - 1) > 10 * _SAME_STEP:
                raise _other_spacing(one, other, "degrees", what)
        return
    if old.projection and new.projection and not old.projection.crs.equals(new.projection.crs):
        raise GridError(
            f"The {what} is in another projection than the model's: {new.projection.crs.name!r} "
            f"({new.projection.label}) and {old.projection.crs.name!r}. Bring the record to the "
            "model's projection, with xdownscale.regrid."
        )
    ours, theirs = (c.projection.scale if c.projection else 1.0 for c in (old, new))
    for before, after, name in zip(old.axes, new.axes, new.names, strict=True):
        _check_lattice(before.values * ours, after.values * theirs, name, what)


def _check_lattice(old: Array, new: Array, name: str, what: str) -> None:
    """Raise unless coordinates continue those of the model, with the same step."""
    step = spacing(old)
    if abs(spacing(new) / step - 1) > _SAME_STEP:
        raise _other_spacing(step, spacing(new), name, what)
    off = (new[0] - old[0]) / step
    off = abs(off - round(off))
    if off > _SAME_LATTICE:
        raise GridError(
            f"The {what} has {name!r} {off:.2f} cells off the lattice that the model's grid "
            f"continues to: {new[0]:g} lies between its centres, which begin at {old[0]:g} and "
            f"are {step:g} apart. Bring the record to that lattice, with xdownscale.regrid."
        )


def _kind(cells: Cells) -> str:
    return {"degrees": "in degrees"}.get(cells.kind, cells.kind)


def _other_spacing(one: float, other: float, name: str, what: str) -> GridError:
    return GridError(
        f"The {what} has cells that are {other:.5g} apart along {name!r}, and the model's are "
        f"{one:.5g} apart. A network knows one spacing: bring the record to it, with "
        "xdownscale.regrid."
    )


def _moved(
    fitted: Fitted, model: GroupModel, grids: tuple[xr.DataArray, xr.DataArray], static: Any
) -> GroupModel:
    shape = grids[1].shape
    layers = _static(fitted, model, grids, static)
    return replace(
        model,
        group=replace(model.group, window=(slice(0, shape[0]), slice(0, shape[1]))),
        weight=np.ones(shape, np.float32),
        masks=np.ones((len(fitted.targets), *shape), bool),
        static=layers,
        # what runs drift from is of the old domain
        state={k: v for k, v in model.state.items() if not k.startswith("drift.")},
        loaded={},
    )


def _static(
    fitted: Fitted, model: GroupModel, grids: tuple[xr.DataArray, xr.DataArray], static: Any
) -> npt.NDArray[np.float32]:
    """Return the static fields of the new domain, in the scale of the old one."""
    fine = fitted.carried.isel(time=0, drop=True)
    before = fine.isel(dict(zip(fine.dims, model.group.window, strict=True)))
    detailed = fitted.method.detailed_static
    described = fitted.method.describes_grid(fitted.config)
    seen = fitted.coarse_grid if detailed else None
    old = static_layers(static, before, seen, described=described)
    if len(old) != len(model.static):
        raise DataError(
            f"The model was fitted with {len(model.static)} static channels, and static= gives "
            f"{len(old)} (latitude and longitude among them). Give the static fields of the fit, "
            "over the model's own domain and the new one."
        )
    scaled = np.stack([unit_range(layer) for layer in old])
    off = np.abs(scaled - model.static).reshape(len(scaled), -1).max(axis=1)
    if (off > _SAME_STATIC).any():
        raise DataError(
            f"Static channel {int(np.argmax(off > _SAME_STATIC))} is not what the model was fitted "
            f"with: scaled values over its own domain differ by up to {off.max():.3g}. Give the "
            "static fields of the fit, over the model's own domain and the new one."
        )
    seen = grids[0] if detailed else None
    new = static_layers(static, grids[1], seen, described=described)
    # what lies beyond the range of the training is held at its ends: networks have not seen more
    return np.stack(
        [
            np.clip(unit_range(layer, like), -1, 1)
            for layer, like in zip(_on_one_turn(new, old), old, strict=True)
        ]
    )


def _on_one_turn(new: list[Array], old: list[Array]) -> list[Array]:
    """Return layers whose second, the longitude, is in the convention of the old domain."""
    turn = 360.0 * np.round((np.mean(old[1]) - np.mean(new[1])) / 360.0)
    return [new[0], new[1] + turn, *new[2:]]


def _with_grid(labels: Labels, grid: Labels) -> Labels:
    """Return the labels of a target on another grid."""
    old = labels.axes
    names = {old.y: grid.axes.y, old.x: grid.axes.x}
    time = labels.coords[[str(old.time)]]
    attrs = {k: v for k, v in labels.attrs.items() if k != "grid_mapping"}
    if "grid_mapping" in grid.attrs:
        attrs["grid_mapping"] = grid.attrs["grid_mapping"]
    return labels._replace(
        axes=replace(grid.axes, time=old.time),
        dims=tuple(names.get(str(dim), dim) for dim in labels.dims),
        coords=grid.coords.assign_coords(time.coords),
        attrs=attrs,
    )


def _nothing_carried(carried: xr.DataArray, grid: xr.DataArray) -> xr.DataArray:
    """Return fields without values: no fine field of the new domain is known."""
    shape = (carried.sizes["time"], *grid.shape)
    return xr.DataArray(
        np.full(shape, np.nan, np.float32),
        dims=("time", *grid.dims),
        coords={**grid.coords, "time": carried["time"].values},
    )
