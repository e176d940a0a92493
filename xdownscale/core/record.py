"""Record: a variable with its axes, plain array, grid and time, found once.

`fit` and `predict` first make a `Record` of every variable; no function below looks for its axes,
sorts it or strips its labels again.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.coords import Axes, Labels, require_time, to_array
from xdownscale.core.located import located
from xdownscale.core.projection import is_mapping
from xdownscale.core.storable import storable
from xdownscale.core.time import seconds, time_step


class Record:
    """A variable with time, latitude and longitude.

    Parameters
    ----------
    da : DataArray
        The variable; lazy or not. It stays as it is.
    what : str
        What it is, for messages.

    Attributes
    ----------
    da : DataArray
        As given.
    labels : Labels
        Names, coordinates and attributes, as far as a file can hold them.
    array : (time, y, x) array
        Values, latitude and longitude ascending; numpy or dask.
    time : DataArray
        Time coordinate.

    Raises
    ------
    GridError, TimeAxisError
        If it has no latitude and longitude, or no time.

    Examples
    --------
    >>> import pandas as pd
    >>> time = pd.date_range("2000-01-01", periods=2)
    >>> da = xr.DataArray(
    ...     np.arange(4.0).reshape(2, 2, 1),
    ...     coords={"time": time, "lat": [1.0, 0.0], "lon": [5.0]},
    ... )
    >>> record = Record(da)
    >>> record.array[0].ravel()
    array([1., 0.])
    >>> record.grid.lat.values, record.step
    (array([0., 1.]), 86400)
    """

    def __init__(self, da: xr.DataArray, what: str = "The record") -> None:
        da = located(da, what)
        unlabelled = to_array(da)
        self.da = da
        self.what = what
        self.array: Any = unlabelled.array
        self.labels: Labels = storable(unlabelled.labels)
        self.time: xr.DataArray = self.labels.coords[require_time(da, what)]

    @property
    def name(self) -> Hashable | None:
        """Name of the variable."""
        return self.da.name

    @property
    def axes(self) -> Axes:
        """Which dimensions are time, y and x."""
        return self.labels.axes

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the variable."""
        return self.labels.attrs

    @cached_property
    def grid(self) -> xr.DataArray:
        """Horizontal grid, ``(y, x)`` zeros, latitude and longitude ascending."""
        return canonical_grid(self.labels)

    @cached_property
    def keys(self) -> npt.NDArray[np.int64]:
        """Times in seconds, as noise is keyed by them."""
        return seconds(self.time)

    @cached_property
    def step(self) -> int:
        """Seconds from one time step to the next; 0 of a single one."""
        return int(time_step(self.time)) if self.time.size > 1 else 0

    def isel(self, rows: Any) -> Record:
        """Return some time steps.

        Parameters
        ----------
        rows : slice or array of int
            Which.
        """
        return Record(self.da.isel({str(self.time.name): rows}), self.what)


def canonical_grid(labels: Labels) -> xr.DataArray:
    """Return the horizontal grid behind `labels` as ``(y, x)`` zeros, ascending."""
    axes = labels.axes
    keep = [
        n for n, c in labels.coords.coords.items() if set(c.dims) <= {axes.y, axes.x} and c.ndim
    ]
    if not axes.rectilinear:
        keep += [n for n, c in labels.coords.coords.items() if is_mapping(c)]
    coords = labels.coords[keep]
    sizes = (labels.coords.sizes[axes.y], labels.coords.sizes[axes.x])
    grid = xr.DataArray(np.zeros(sizes, np.float32), dims=(axes.y, axes.x), coords=coords.coords)
    for dim in (axes.y, axes.x):
        if axes.rectilinear and labels.descends(dim):
            grid = grid.isel({dim: slice(None, None, -1)})
    return grid
