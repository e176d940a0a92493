"""Second nature run: records and ensembles whose small scales depend on the flow.

What is predictable is a function of the large-scale flow and the ground, and the coarse record sees
that alone. The fine record is one member of many that differ in their turbulence: together they
are the best forecast that the coarse record and static fields allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.datasets.twin import observation
from xdownscale.datasets.twin.dynamics import Field, season
from xdownscale.datasets.twin.layout import (
    Layout,
    day_coordinate,
    dust_attrs,
    fine_coordinates,
    label,
)
from xdownscale.datasets.twin.predictable import Known, Predictable
from xdownscale.datasets.twin.terrain import make_terrain
from xdownscale.datasets.twin.turbulence import Turbulence

DRIVERS = ("u10", "v10", "t850")
RECORD = 0  # the member that is the fine record
_BLOCK = (8, 8)  # members and days of a chunk of an ensemble
_TEMPERATURE = (289.0, 11.0, 4.0)  # K: yearly mean, seasonal amplitude, standard deviation


class Records(NamedTuple):
    """Arrays of a run.

    Attributes
    ----------
    fine, coarse : array
        Optical depth ``(time, y, x)``.
    drivers : dict
        Coarse wind and temperature ``(time, y, x)``, by name.
    """

    fine: Field
    coarse: Field
    drivers: dict[str, Field]


def simulate(
    layout: Layout,
    coarse_days: range,
    fine_days: range,
    keys: tuple[int, int],
    report: Callable[[int, int], None],
) -> Records:
    """Generate a fine and a coarse record.

    Parameters
    ----------
    layout : Layout
        Grids.
    coarse_days, fine_days : range
        Days of both records, since 1970-01-01.
    keys : tuple of int
        Seed, and realization of the large-scale flow that the coarse record sees; the fine record
        sees realization 0.
    report : callable
        Called with (days done, days to do).

    Returns
    -------
    Records
    """
    seed, realization = keys
    flow = Predictable(layout, (seed, realization))
    other = flow if realization == 0 else Predictable(layout, (seed, 0))
    turbulence = Turbulence(layout.shape, seed, RECORD)
    coarse_model = CoarseModel(layout)
    fine = np.empty((len(fine_days), *layout.shape), dtype=np.float32)
    seen = []
    for done, day in enumerate(coarse_days):
        known = flow.day(day)
        seen.append(coarse_model.observe(known, day))
        if day in fine_days:
            true = known if other is flow else other.day(day)
            fine[day - fine_days.start] = add_turbulence(layout, true, turbulence, day)
        report(done + 1, len(coarse_days))
    coarse, *drivers = (np.array(fields) for fields in zip(*seen, strict=True))
    return Records(fine, coarse, dict(zip(DRIVERS, drivers, strict=True)))


class CoarseModel:
    """What a coarse model shows of the predictable part.

    Parameters
    ----------
    layout : Layout
        Grids.
    """

    def __init__(self, layout: Layout) -> None:
        rows = layout.covered_pixels[0]
        self._latitude = layout.plane_latitude[rows]
        cells = [n // c for n, c in zip(layout.plane, observation.CELL, strict=True)]
        bias = observation.bias((cells[0], cells[1]))[layout.coarse_window]
        self._factor = np.asarray(10**bias, dtype=np.float32)

    def observe(self, known: Known, day: int) -> tuple[Field, Field, Field, Field]:
        """Return dust, wind (u, v) and temperature of a day on coarse cells.

        Dust is the area mean of the predictable part times a bias that is constant in time; the
        others are the large-scale fields at the cells' centres.
        """
        dust = self._factor * observation.block_average(10**known.log_dust, self._latitude)
        at = known.at_centres
        return dust, at.u, at.v, temperature(at.temperature, day)


def temperature(anomaly: Field, day: int) -> Field:
    """Return the temperature in K from its anomaly in standard deviations."""
    mean, seasonal, spread = _TEMPERATURE
    level = mean + seasonal * season(day)
    return np.asarray(level + spread * anomaly, dtype=np.float32)


def add_turbulence(layout: Layout, known: Known, turbulence: Turbulence, day: int) -> Field:
    """Return optical depth on the fine domain: the predictable part times 10**turbulence."""
    part = layout.fine_in_covered
    unit = turbulence.day(day, known.flow.v[part], known.flow.u[part])
    exponent = known.log_dust[part] + known.amplitude[part] * unit
    return np.asarray(10**exponent, dtype=np.float32)


def label_records(
    layout: Layout,
    days: tuple[range, range],
    records: Records,
    synchronised: bool,
    seed: int,
) -> xr.Dataset:
    """Return the arrays of a run as a Dataset, static fields included.

    Parameters
    ----------
    layout : Layout
        Grids.
    days : tuple of range
        Days of the coarse and of the fine record.
    records : Records
        Arrays.
    synchronised : bool
        The kind, for the attributes.
    seed : int
        The seed, for the attributes.

    Returns
    -------
    Dataset
    """
    ground = make_terrain(layout.plane).cut(*layout.fine_window)
    arrays = (records.fine, records.coarse, ground.elevation)
    ds = label(layout, *days, arrays, synchronised, seed)
    static = {"dust_source": ground.source, "wind_threshold": ground.threshold}
    for name, values in static.items():
        ds[name] = (ds.elevation.dims, values, _ATTRS[name])
    for name, values in records.drivers.items():
        ds[name] = (ds.dust.dims, values, _ATTRS[name])
    title = ds.attrs["title"].replace("dust,", "dust, version 2,")
    return ds.assign_attrs(title=title, version=2)


def members(layout: Layout, seed: int, numbers: NDArray[np.int64], days: Any) -> xr.DataArray:
    """Return ensemble members as a lazy array.

    Parameters
    ----------
    layout : Layout
        Grids.
    seed : int
        Seed of the run.
    numbers : array of int
        Keys of the members' turbulence; `RECORD` is the fine record.
    days : array of int
        Days since 1970-01-01.

    Returns
    -------
    DataArray
        ``(realization, time, lat, lon)``.
    """
    import dask.array as da

    sizes = (numbers.size, days.size, *layout.shape)
    lazy = da.map_blocks(
        _generate,
        da.from_array(numbers, chunks=_BLOCK[0])[:, None, None, None],
        da.from_array(days, chunks=_BLOCK[1])[None, :, None, None],
        layout=layout,
        seed=seed,
        dtype=np.float32,
        chunks=da.core.normalize_chunks((*_BLOCK, -1, -1), sizes),
        meta=np.empty((0, 0, 0, 0), dtype=np.float32),
    )
    dim = "realization"
    realization = xr.Variable(dim, numbers, {"standard_name": dim, "long_name": "ensemble member"})
    coords = {dim: realization, "time": day_coordinate("time", days, "time")}
    coords |= fine_coordinates(layout)
    attrs = dust_attrs("on the fine grid")
    return xr.DataArray(lazy, coords, (dim, "time", "lat", "lon"), "dust_fine", attrs)


def _generate(
    numbers: NDArray[np.int64], days: NDArray[np.int64], layout: Layout, seed: int
) -> Field:
    """Return a chunk of an ensemble ``(realization, time, y, x)``."""
    flow = Predictable(layout, (seed, 0))
    streams = [Turbulence(layout.shape, seed, int(number)) for number in numbers.ravel()]
    known = [(int(day), flow.day(int(day))) for day in days.ravel()]
    fields = [[add_turbulence(layout, k, one, day) for day, k in known] for one in streams]
    return np.array(fields, dtype=np.float32)


_ATTRS = {
    "u10": {
        "standard_name": "eastward_wind",
        "long_name": "eastward wind of the coarse model",
        "units": "m s-1",
        "cell_methods": "time: mean",
    },
    "v10": {
        "standard_name": "northward_wind",
        "long_name": "northward wind of the coarse model",
        "units": "m s-1",
        "cell_methods": "time: mean",
    },
    "t850": {
        "standard_name": "air_temperature",
        "long_name": "air temperature of the coarse model, 850 hPa",
        "units": "K",
        "cell_methods": "time: mean",
    },
    "dust_source": {
        "long_name": "strength of dust emission by the ground",
        "units": "1",
    },
    "wind_threshold": {
        "long_name": "wind speed near the ground above which dust is raised",
        "units": "m s-1",
    },
}
