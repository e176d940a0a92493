"""Select the days that two records have in common."""

from __future__ import annotations

import xarray as xr

from xdownscale.core.alignment import common_days
from xdownscale.core.coords import require_time


def on_common_days(
    da: xr.DataArray, other: xr.DataArray, names: tuple[str, str]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return two records on their common days, with the time dimension of the first.

    Parameters
    ----------
    da, other : DataArray
        Records with a time axis, under any name.
    names : (str, str)
        What the records are, for messages.

    Returns
    -------
    (DataArray, DataArray)

    Raises
    ------
    TimeAxisError
        If a record has no time, or no day is common.

    Examples
    --------
    >>> import numpy as np
    >>> days = np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "M8[ns]")
    >>> one = xr.DataArray([1.0, 2.0], coords={"time": days[:2]})
    >>> other = xr.DataArray([5.0, 6.0], coords={"day": days[1:]})
    >>> here, there = on_common_days(one, other, ("One record", "The other record"))
    >>> here.values, there.values, there.dims
    (array([2.]), array([5.]), ('time',))
    """
    time = require_time(da, names[0])
    there = require_time(other, names[1])
    renamed = other if there == time else other.rename({there: time})
    return common_days(da, renamed, time)
