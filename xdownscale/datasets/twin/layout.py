"""Grids, names and attributes of the synthetic nature run."""

from __future__ import annotations

from collections.abc import Sequence
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
    def covered_pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the plane that the coarse record covers."""
        rows, cols = self.coarse_window
        cy, cx = observation.CELL
        south_to_north = np.arange(rows.start * cy, rows.stop * cy)
        west_to_east = np.arange(cols.start * cx, cols.stop * cx)
        return south_to_north, west_to_east

    @property
    def cell_centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of the plane at the centres of the coarse record's cells."""
        found = [
            pixels.reshape(-1, size).mean(1)
            for pixels, size in zip(self.covered_pixels, observation.CELL, strict=True)
        ]
        return found[0], found[1]

    @property
    def fine_in_covered(self) -> tuple[slice, slice]:
        """The fine domain on the pixels that the coarse record covers."""
        ny, nx = self.shape
        cy, cx = observation.CELL
        return slice(_RIM * cy, _RIM * cy + ny), slice(_RIM * cx, _RIM * cx + nx)

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
    cells = layout.cells
    coords = {
        "time": day_coordinate("time", fine_days, "time of the fine record"),
        **fine_coordinates(layout),
        "time_coarse": day_coordinate("time_coarse", coarse_days, "time of the coarse record"),
        "lat_coarse": _degrees("lat_coarse", "latitude", corner[0], _CELL_DEGREES[0], cells[0]),
        "lon_coarse": _degrees("lon_coarse", "longitude", corner[1], _CELL_DEGREES[1], cells[1]),
    }
    fine_dims = tuple(coords)[:3]
    coarse_dims = tuple(coords)[3:]
    variables = {
        "dust_fine": (fine_dims, fine, dust_attrs("on the fine grid")),
        "elevation": (fine_dims[1:], elevation, _ELEVATION_ATTRS),
        "dust": (coarse_dims, coarse, dust_attrs("on the coarse grid")),
    }
    return xr.Dataset(variables, coords=coords, attrs=_global_attrs(synchronised, seed))


_ELEVATION_ATTRS = {
    "standard_name": "surface_altitude",
    "long_name": "elevation of the ground",
    "units": "m",
    "cell_methods": "area: mean",
}


def dust_attrs(where: str) -> dict[str, str]:
    """Return the attributes of optical depth."""
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


def fine_coordinates(layout: Layout) -> dict[str, xr.Variable]:
    """Return latitude and longitude of the fine grid."""
    ny, nx = layout.shape
    return {
        "lat": _degrees("lat", "latitude", _SOUTH, dynamics.SPACING, ny),
        "lon": _degrees("lon", "longitude", _WEST, dynamics.SPACING, nx),
    }


def day_coordinate(dim: str, days: Sequence[int], long_name: str) -> xr.Variable:
    """Return the time coordinate of days since 1970-01-01."""
    values = np.asarray(days).astype("datetime64[D]").astype("datetime64[ns]")
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
