"""What a user asks to be drawn, and whether a model can do it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.config import CONSISTENT, FIELD_METHODS, DownscalerConfig
from xdownscale.core import time as times
from xdownscale.core import units
from xdownscale.core.coords import require_time
from xdownscale.core.errors import (
    ModelMismatchError,
    OptionError,
    TimeAxisError,
    check_option,
    check_whole,
)
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.models.sampling import memory
from xdownscale.preprocessing import validation
from xdownscale.preprocessing.validation import check_dims, crop_to, variables

MODES = ("parallel", "autoregressive", "teacher_forced")
STITCHINGS = ("patches", "whole", "multidiffusion")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a user asked to be drawn.

    Attributes
    ----------
    time : Any
        Days to draw: anything that ``record.sel(time=...)`` takes; None for all that can be drawn.
    realizations : int
        Fields for each day.
    mode : str or None
        ``"parallel"``, ``"autoregressive"`` or ``"teacher_forced"``; None for the model's own.
    history : DataArray or None
        Fine record that lags are read from.
    stitching : str or None
        ``"whole"``, ``"patches"`` or ``"multidiffusion"``; None for the model's own.
    seed : int
        Seed of the noise.
    device : str
        Where the networks run.
    scrambled : bool
        Show the encoder the days before other days: what its features are worth.
    first : int
        Number of the first realization.
    runs : tuple of int arrays, or None
        Noise keys of the days to walk through one after another; None: as `Plan.runs` says.
    step : int or None
        Seconds from one day to the next; None: as the record says.
    """

    time: Any = None
    realizations: int = 1
    mode: str | None = None
    history: xr.DataArray | None = None
    stitching: str | None = None
    seed: int = 0
    device: str = "auto"
    scrambled: bool = False
    first: int = 0
    runs: tuple[npt.NDArray[np.int64], ...] | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        if self.mode is not None:
            check_option("mode", self.mode, MODES)
        if self.stitching is not None:
            check_option("stitching", self.stitching, STITCHINGS)
        check_whole("realizations", self.realizations, least=1)
        check_whole("seed", self.seed)

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of the realizations."""
        return tuple(range(self.first, self.first + self.realizations))


def is_parallel(config: DownscalerConfig) -> bool:
    """Tell whether a model draws each day for itself: it sees no fine field of another day.

    Examples
    --------
    >>> is_parallel(DownscalerConfig())
    False
    """
    return config.method in FIELD_METHODS and config.data.fine_lags == 0


def settle(fitted: Fitted, order: Order) -> Order:
    """Return the order with mode and stitching named, if the model can do what was asked.

    Parameters
    ----------
    fitted : Fitted
        The model.
    order : Order
        What was asked for.

    Raises
    ------
    OptionError
        If its method has no such mode, or draws one field only, or tiles or patches do not suit
        its network.
    """
    method = fitted.config.method
    whole, free = method in FIELD_METHODS, is_parallel(fitted.config)
    mode = order.mode or ("parallel" if free else "autoregressive")
    if free != (mode == "parallel"):
        able = "'parallel'" if free else "'autoregressive' or 'teacher_forced'"
        seen = f", which sees {fitted.config.data.fine_lags} fine lags," if whole else ","
        raise OptionError(
            f"This model's method is {method!r}{seen} and knows no mode {mode!r}; give "
            f"mode={able}, or leave it out."
        )
    alone = method == "unet" or fitted.config.sampling.sampler == "mean"
    if alone and order.realizations > 1:
        raise OptionError(
            f"realizations is {order.realizations}, but this model gives the conditional mean "
            "alone, the same each time; give realizations=1, or a model that draws (preset 'fast')."
        )
    _check_constraint(fitted)
    stitching = order.stitching or ("whole" if whole else "patches")
    if stitching == "multidiffusion" and method != "residual":
        raise OptionError(
            f"This model's method is {method!r}: there is no residual whose patches could be made "
            "to agree step by step. Give stitching='whole' or 'patches'."
        )
    if whole:
        memory.check_sampling(fitted.config, stitching)
    return replace(order, mode=mode, stitching=stitching)


def _check_constraint(fitted: Fitted) -> None:
    """Raise where fields shall be made consistent with a coarse record of other days."""
    kind = fitted.config.sampling.constraint
    if kind in CONSISTENT and fitted.about["pairing"] == "self":
        raise OptionError(
            f"The constraint {kind!r} would give coarse cells the mean of the coarse field, but "
            "this model was fitted with pairing='self': the coarse record is another simulation, "
            "and its values are mapped before anything is drawn from them. Drop the constraint, or "
            "use 'nonnegative'."
        )


def check_drivers(
    fitted: Fitted, coarse: xr.DataArray | xr.Dataset, values: bool
) -> tuple[xr.DataArray, ...]:
    """Return the drivers that a model was fitted with, checked, times sorted.

    Parameters
    ----------
    fitted : Fitted
        The model.
    coarse : DataArray or Dataset
        Coarse record.
    values : bool
        Look at values too, not only at labels.

    Returns
    -------
    tuple of DataArray

    Raises
    ------
    ModelMismatchError
        If a driver lacks, or has other cells, units, values or another time step.
    TimeAxisError
        If it has no day.
    """
    found = variables(coarse, "The coarse record")
    names = fitted.drivers
    if len(names) == 1 and len(found) == 1:
        found = {names[0]: next(iter(found.values()))}
    lacking = [name for name in names if name not in found]
    if lacking:
        raise ModelMismatchError(
            f"The coarse record lacks {', '.join(map(repr, lacking))}, which the model was fitted "
            f"with; it has {', '.join(map(repr, found))}. Give a Dataset with all of "
            f"{', '.join(map(repr, names))}."
        )
    drivers = tuple(_check_driver(fitted, k, found[name], values) for k, name in enumerate(names))
    validation.check_together(dict(zip(names, drivers, strict=True)), "coarse")
    return drivers


def _check_driver(fitted: Fitted, number: int, coarse: xr.DataArray, values: bool) -> xr.DataArray:
    """Check that a record is of the kind that the model was fitted with; sort its times."""
    what = "The coarse record"
    if len(fitted.drivers) > 1:
        what = f"The coarse variable {fitted.drivers[number]!r}"
    check_dims(coarse, what)
    if fitted.about["pairing"] == "self":
        coarse = crop_to(coarse, fitted.coarse_grid)
    coarse = validation.on_cells_of(
        coarse, fitted.coarse_grid, what, "the one that the model was fitted with"
    )
    found = units.units_of(coarse)
    known = fitted.about["coarse_units"][number]
    if not units.same_units(found, known):
        raise ModelMismatchError(
            f"{what} is in {units.said(found)}, the model was fitted with "
            f"{units.said(known)}. Convert it (and set attrs['units'])."
        )
    coarse = times.check_time(coarse, what)
    if not coarse[require_time(coarse, what)].size:
        raise TimeAxisError(f"{what} has no day at all; give one with the days that are wanted.")
    scaling = next(iter(fitted.models.values())).driver_scalings[number]
    # another climate may lie elsewhere: that is what it is mapped for
    paired = fitted.about["pairing"] == "paired"
    if values and paired and (problem := validation.strayed(coarse, scaling, what)):
        raise ModelMismatchError(problem)
    time = coarse[require_time(coarse, what)]
    step, learnt = times.time_step(time), fitted.about.get("step")
    if time.size > 1 and learnt not in (None, step):
        raise ModelMismatchError(
            f"{what} has a time step of {step / 3600:g} hours, the model was fitted with one of "
            f"{learnt / 3600:g}. Bring it to that, for instance with .resample(time=...).mean()."
        )
    return coarse


def check_values(fitted: Fitted, records: tuple[xr.DataArray, ...]) -> None:
    """Raise where values cannot be of the variables that the model was fitted with.

    Parameters
    ----------
    fitted : Fitted
        The model.
    records : tuple of DataArray
        Days of every driver.

    Raises
    ------
    ModelMismatchError
    """
    if fitted.about["pairing"] != "paired":
        return
    scalings = next(iter(fitted.models.values())).driver_scalings
    for name, record, scaling in zip(fitted.drivers, records, scalings, strict=True):
        if problem := validation.strayed(record, scaling, f"The coarse variable {name!r}"):
            raise ModelMismatchError(problem)
