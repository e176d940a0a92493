"""What tables of bad input do to good records. Read by path, as these tables are."""

from __future__ import annotations

import numpy as np


def no_time(da):
    return da.isel(time=0, drop=True)


def later(da, days=5000):
    return da.assign_coords(time=da.time + np.timedelta64(days, "D"))


def moved(da):
    return da.assign_coords(lat=da.lat + 0.1)
