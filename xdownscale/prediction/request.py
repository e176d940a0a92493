"""The request of a prediction, checked against a model and its coarse record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.config import CONSISTENT
from xdownscale.core import time as times
from xdownscale.core import units
from xdownscale.core.errors import (
    ModelMismatchError,
    OptionError,
    TimeAxisError,
    check_option,
    check_whole,
)
from xdownscale.core.normalization import Scaling
from xdownscale.core.record import Record
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.preprocessing import validation
from xdownscale.preprocessing.validation import check_dims, crop_to, variables

MODES = ("parallel", "autoregressive", "teacher_forced")
STITCHINGS = ("patches", "whole", "multidiffusion")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Request of a prediction: times, realizations, mode, history and seed.

    Attributes
    ----------
    time : Any
        Time steps to generate: anything that ``record.sel(time=...)`` takes; None for all that
        are possible.
    realizations : int
        Fields for each time step.
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
        Show the encoder the coarse fields of other time steps, to measure what it is worth.
    first : int
        Number of the first realization.
    runs : tuple of int arrays, or None
        Noise keys of the time steps to generate one after another; None: as `Plan.runs` says.
    step : int or None
        Seconds from one time step to the next; None: as the record says.
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


def resolve_request(fitted: Fitted, request: Request) -> Request:
    """Fill in the model's own mode and stitching; raise if the model cannot do what was asked.

    Parameters
    ----------
    fitted : Fitted
        The model.
    request : Request
        What was asked for.

    Raises
    ------
    OptionError
        If its method has no such mode or stitching, or gives one field only, or tiles or patches do
        not suit its network.
    """
    config = fitted.config
    method = fitted.method
    modes = method.modes(config)
    mode = request.mode or modes[0]
    if mode not in modes:
        lags = method.fine_lags(config)
        seen = f", which sees {lags} fine lags," if not method.needs_every_lag else ","
        raise OptionError(
            f"This model's method is {method.name!r}{seen} and knows no mode {mode!r}; give "
            f"mode={' or '.join(map(repr, modes))}, or leave it out."
        )
    if not method.is_stochastic(config) and request.realizations > 1:
        raise OptionError(
            f"realizations is {request.realizations}, but this model gives the conditional mean "
            "alone, the same each time; give realizations=1, or a model that samples "
            "(preset 'fast')."
        )
    _check_constraint(fitted)
    stitchings = method.stitchings(config)
    stitching = request.stitching or stitchings[0]
    if stitching not in stitchings:
        raise OptionError(
            f"This model's method is {method.name!r}, which covers a domain by "
            f"{' or '.join(map(repr, stitchings))}, not by {stitching!r}. Give one of these as "
            "stitching=, or leave it out."
        )
    method.check_sampling(config, stitching)
    return replace(request, mode=mode, stitching=stitching)


def _check_constraint(fitted: Fitted) -> None:
    """Raise where fields shall be made consistent with a coarse record of other weather."""
    kind = fitted.config.sampling.constraint
    if kind in CONSISTENT and fitted.about.pairing == "self":
        raise OptionError(
            f"The constraint {kind!r} would give coarse cells the mean of the coarse field, but "
            "this model was fitted with pairing='self': the coarse record is another simulation, "
            "and its values are mapped before fields are generated from them. Drop the constraint, "
            "or use 'nonnegative'."
        )


def check_drivers(
    fitted: Fitted, coarse: xr.DataArray | xr.Dataset, values: bool
) -> tuple[Record, ...]:
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
    tuple of Record

    Raises
    ------
    ModelMismatchError
        If a driver lacks, or has other cells, units, values or another time step.
    TimeAxisError
        If it has no time step.
    """
    found = variables(coarse, "The coarse record", fitted.coarse_grid)
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


def _check_driver(fitted: Fitted, number: int, coarse: xr.DataArray, values: bool) -> Record:
    """Check that a record is of the kind that the model was fitted with; sort its times."""
    what = "The coarse record"
    if len(fitted.drivers) > 1:
        what = f"The coarse variable {fitted.drivers[number]!r}"
    check_dims(coarse, what)
    if fitted.about.pairing == "self":
        coarse = crop_to(coarse, fitted.coarse_grid)
    coarse = validation.on_cells_of(
        coarse, fitted.coarse_grid, what, "the one that the model was fitted with"
    )
    found = units.units_of(coarse)
    known = fitted.about.coarse_units[number]
    if not units.same_units(found, known):
        raise ModelMismatchError(
            f"{what} is in {units.said(found)}, the model was fitted with "
            f"{units.said(known)}. Convert it (and set attrs['units'])."
        )
    record = Record(times.check_time(coarse, what), what)
    if not record.time.size:
        raise TimeAxisError(f"{what} has no day at all; give one with the days that are wanted.")
    scaling = fitted.any_group.driver_scalings[number]
    # under pairing "self" values may lie elsewhere: they are mapped to the fine climate
    paired = fitted.about.pairing == "paired"
    if values and paired:
        _check_record(record, scaling, what)
    known_step = fitted.about.step
    if record.step not in (0, known_step):
        raise ModelMismatchError(
            f"{what} has a time step of {record.step / 3600:g} hours, the model was fitted with "
            f"one of {known_step / 3600:g}. Bring it to that, for instance with "
            ".resample(time=...).mean()."
        )
    return record


def check_values(fitted: Fitted, records: tuple[Record, ...]) -> None:
    """Raise where values are implausible for the variables that the model was fitted with.

    Parameters
    ----------
    fitted : Fitted
        The model.
    records : tuple of Record
        Time steps of every driver.

    Raises
    ------
    ModelMismatchError
    """
    if fitted.about.pairing != "paired":
        return
    scalings = fitted.any_group.driver_scalings
    for name, record, scaling in zip(fitted.drivers, records, scalings, strict=True):
        _check_record(record, scaling, f"The coarse variable {name!r}")


def _check_record(record: Record, scaling: Scaling, what: str) -> None:
    """Raise where the values of a record are implausible, most of them or some."""
    if problem := validation.implausible(record, scaling, what):
        raise ModelMismatchError(problem)
    validation.check_suspects(record, scaling, what)
