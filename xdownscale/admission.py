"""Is a coarse record what a model was fitted with? Its variables, cells, units, values and days."""

from __future__ import annotations

import xarray as xr

from xdownscale import pairs, splits
from xdownscale.errors import ModelMismatchError, TimeAxisError
from xdownscale.groups import Fitted
from xdownscale.labels import require_time
from xdownscale.pairing import crop_to
from xdownscale.variables import check_dims, variables


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
    pairs.check_together(dict(zip(names, drivers, strict=True)), "coarse")
    return drivers


def _check_driver(fitted: Fitted, number: int, coarse: xr.DataArray, values: bool) -> xr.DataArray:
    """Check that a record is of the kind that the model was fitted with; sort its times."""
    what = "The coarse record"
    if len(fitted.drivers) > 1:
        what = f"The coarse variable {fitted.drivers[number]!r}"
    check_dims(coarse, what)
    if fitted.about["pairing"] == "self":
        coarse = crop_to(coarse, fitted.coarse_grid)
    pairs.check_same_cells(
        coarse, fitted.coarse_grid, what, "the one that the model was fitted with"
    )
    units, known = coarse.attrs.get("units"), fitted.about["coarse_units"][number]
    if None not in (units, known) and str(units) != known:
        raise ModelMismatchError(
            f"{what} is in {units!r}, the model was fitted with {known!r}. Convert it "
            "(and set attrs['units'])."
        )
    coarse = splits.check_time(coarse, what)
    if not coarse[require_time(coarse, what)].size:
        raise TimeAxisError(f"{what} has no day at all; give one with the days that are wanted.")
    scaling = next(iter(fitted.models.values())).driver_scalings[number]
    # another climate may lie elsewhere: that is what it is mapped for
    paired = fitted.about["pairing"] == "paired"
    if values and paired and (problem := pairs.strayed(coarse, scaling, what)):
        raise ModelMismatchError(problem)
    time = coarse[require_time(coarse, what)]
    step, learnt = splits.time_step(time), fitted.about.get("step")
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
        if problem := pairs.strayed(record, scaling, f"The coarse variable {name!r}"):
            raise ModelMismatchError(problem)
