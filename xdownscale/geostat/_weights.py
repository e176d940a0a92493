"""How much each cell counts in a mean over a region."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xdownscale.grids import area
from xdownscale.labels import find_axes


def cell_weights(da: xr.DataArray) -> xr.DataArray:
    """Return cell areas (km2); cosines of latitude where the grid has no cells with edges.

    Parameters
    ----------
    da : DataArray
        Any grid; curvilinear grids and such of one row or column get cosines.
    """
    axes = find_axes(da)
    if axes.rectilinear and min(da.sizes[axes.y], da.sizes[axes.x]) > 1:
        return area(da)
    latitude = da[axes.latitude]
    cosine = latitude.copy(data=np.cos(np.deg2rad(latitude.values.astype(float))))
    weights = cosine * xr.ones_like(da[axes.longitude], dtype=float)
    return weights.rename("weight").transpose(axes.y, axes.x)
