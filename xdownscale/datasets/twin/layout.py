"""Grids, names and attributes of the synthetic nature run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdownscale.datasets.twin import dynamics, observation

_SOUTH = 23.75  # southern edge of the fine domain, degrees
_WEST = 43.4375  # western edge
_RIM = 2  # coarse cells around the fine domain that the coarse record has
_PAD = 3  # coarse cells around the coarse record that the periodic plane has
_CELL_DEGREES = (0.5, 0.625)


@dataclass(frozen=True)
class Layout:
    """Positions of the fine and the coarse grid on the periodic plane."""

    shape: tuple[int, int]

    @property
    def cells(self) -> tuple[int, int]:
        """Cells (y, x) of the coarse record."""
        ny, nx = self.shape
        cy, cx = observation.CELL
        # rounded up, so that the fine domain is covered
        return -(-ny // cy) + 2 * _RIM, -(-nx // cx) + 2 * _RIM

    @property
    def plane(self) -> tuple[int, int]:
        """Fine pixels (y, x) of the periodic plane."""
        ny, nx = self.cells
        cy, cx = observation.CELL
        return (ny + 2 * _PAD) * cy, (nx + 2 * _PAD) * cx

    @property
    def fine_window(self) -> tuple[slice, slice]:
        """The fine domain on the plane."""
        ny, nx = self.shape
        cy, cx = observation.CELL
        south = (_RIM + _PAD) * cy
        west = (_RIM + _PAD) * cx
        return slice(south, south + ny), slice(west, west + nx)

    @property
    def coarse_window(self) -> tuple[slice, slice]:
        """The coarse record on the plane's cells."""
        ny, nx = self.cells
        return slice(_PAD, _PAD + ny), slice(_PAD, _PAD + nx)

    @property
    def plane_latitude(self) -> NDArray[np.float64]:
        """Latitude of the plane's rows."""
        rows = np.arange(self.plane[0]) + 0.5
        south = _SOUTH - (_RIM + _PAD) * _CELL_DEGREES[0]
        return np.asarray(south + rows * dynamics.SPACING, dtype=np.float64)


def label(
    layout: Layout,
    coarse_days: range,
    fine_days: range,
    arrays: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    synchronised: bool,
    seed: int,
) -> xr.Dataset:
    """Return the arrays as a Dataset with coordinates and CF attributes.

    Parameters
    ----------
    layout : Layout
        Positions of the grids.
    coarse_days, fine_days : range
        Days of both records, since 1970-01-01.
    arrays : tuple of array
        Fine dust ``(time, y, x)``, coarse dust ``(time, y, x)``, elevation ``(y, x)``.
    synchronised : bool
        The kind, for the attributes.
    seed : int
        The seed, for the attributes.

    Returns
    -------
    Dataset
    """
    fine, coarse, elevation = arrays
    corner = [e - _RIM * d for e, d in zip((_SOUTH, _WEST), _CELL_DEGREES, strict=True)]
    sizes = (*layout.shape, *layout.cells)
    coords = {
        "time": _time("time", fine_days, "time of the fine record"),
        "lat": _degrees("lat", "latitude", _SOUTH, dynamics.SPACING, sizes[0]),
        "lon": _degrees("lon", "longitude", _WEST, dynamics.SPACING, sizes[1]),
        "time_coarse": _time("time_coarse", coarse_days, "time of the coarse record"),
        "lat_coarse": _degrees("lat_coarse", "latitude", corner[0], _CELL_DEGREES[0], sizes[2]),
        "lon_coarse": _degrees("lon_coarse", "longitude", corner[1], _CELL_DEGREES[1], sizes[3]),
    }
    fine_dims = tuple(coords)[:3]
    coarse_dims = tuple(coords)[3:]
    variables = {
        "dust_fine": (fine_dims, fine, _dust_attrs("on the fine grid")),
        "elevation": (fine_dims[1:], elevation, _ELEVATION_ATTRS),
        "dust": (coarse_dims, coarse, _dust_attrs("on the coarse grid")),
    }
    return xr.Dataset(variables, coords=coords, attrs=_global_attrs(synchronised, seed))


_ELEVATION_ATTRS = {
    "standard_name": "surface_altitude",
    "long_name": "elevation of the ground",
    "units": "m",
    "cell_methods": "area: mean",
}


def _dust_attrs(where: str) -> dict[str, str]:
    return {
        "standard_name": "atmosphere_optical_thickness_due_to_dust_ambient_aerosol_particles",
        "long_name": f"dust aerosol optical depth {where}",
        "units": "1",
        "cell_methods": "time: mean area: mean",
    }


def _global_attrs(synchronised: bool, seed: int) -> dict[str, Any]:
    kind = "synchronised" if synchronised else "not synchronised"
    return {
        "Conventions": "CF-1.11",
        "title": f"Synthetic nature run of dust, {kind}",
        "institution": "xdownscale",
        "source": "xdownscale.datasets.make_twin",
        "comment": "Synthetic: no observation and no real weather went into it.",
        "license": "Apache-2.0",
        "seed": int(seed),
        "synchronised": int(synchronised),
    }


def _time(dim: str, days: range, long_name: str) -> xr.Variable:
    values = np.arange(days.start, days.stop).astype("datetime64[D]").astype("datetime64[ns]")
    attrs = {"standard_name": "time", "long_name": long_name, "axis": "T"}
    return xr.Variable(dim, values, attrs)


def _degrees(dim: str, name: str, edge: float, spacing: float, size: int) -> xr.Variable:
    attrs = {
        "standard_name": name,
        "long_name": f"{name} of the cell's centre",
        "units": "degrees_north" if name == "latitude" else "degrees_east",
        "axis": "Y" if name == "latitude" else "X",
    }
    return xr.Variable(dim, edge + spacing * (np.arange(size) + 0.5), attrs)
