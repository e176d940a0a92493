"""Cut a box out of a latitude-longitude grid, across Greenwich or the dateline too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xdownscale.core.errors import GridError, OptionError
from xdownscale.core.grids import Array, spacing, wrap_longitude
from xdownscale.splits import normalise_regions

Box = tuple[float, float, float, float]
_SLACK = 1e-5  # degrees, about a metre


@dataclass(frozen=True)
class Window:
    """Part of a grid that is read from files.

    Attributes
    ----------
    rows : slice
        Rows of the grid.
    columns : tuple of slice
        Columns, one slice after another from west to east.
    latitude, longitude : ndarray
        Degrees of the window; longitudes ascend without a jump.
    """

    rows: slice
    columns: tuple[slice, ...]
    latitude: Array
    longitude: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.latitude.size, self.longitude.size


def check_box(region: object) -> Box | None:
    """Validate a region and return it as a box of floats.

    Parameters
    ----------
    region : (west, east, south, north) or None
        Degrees, any longitude convention.

    Returns
    -------
    tuple of float, or None

    Raises
    ------
    OptionError
        If it is no box.

    Examples
    --------
    >>> check_box((45, 60, 20, 32))
    (45.0, 60.0, 20.0, 32.0)
    """
    if region is None:
        return None
    box = normalise_regions({"region": region})["region"]
    if not isinstance(box, tuple):
        raise OptionError(
            "region is a mask, and files are cut by a box (west, east, south, north) in degrees. "
            "Give the box around the mask; masks belong to `fit(regions=)`."
        )
    return box


def check_margin(margin: object) -> int:
    """Validate a margin and return it as a number of cells.

    Raises
    ------
    OptionError
        If it is no whole number of 0 or more.

    Examples
    --------
    >>> check_margin(1)
    1
    """
    if isinstance(margin, bool) or not isinstance(margin, (int, np.integer)) or margin < 0:
        raise OptionError(f"margin is {margin!r}; give a whole number of cells, 0 or more.")
    return int(margin)


def check_axes(latitude: Array, longitude: Array, what: str) -> tuple[Array, Array]:
    """Validate the axes of a file and return them as `cut` takes them.

    Parameters
    ----------
    latitude, longitude : ndarray
        Cell centres, degrees.
    what : str
        The file, for messages.

    Returns
    -------
    latitude, longitude : ndarray of float64
        Rounded to 1e-6 degrees (the meridian of Greenwich is stored as 1e-14 in some files),
        longitudes without a jump, a repeated meridian dropped.

    Raises
    ------
    GridError
        If latitudes are not sorted, or longitudes do not ascend in equal steps.

    Examples
    --------
    >>> check_axes(np.array([1.0, 0.0]), np.array([0.0, 120, 240, 360]), "The file")[1]
    array([  0., 120., 240.])
    """
    lat = np.asarray(latitude, dtype=np.float64)
    lon = np.asarray(longitude, dtype=np.float64)
    for name, axis in (("latitude", lat), ("longitude", lon)):
        if axis.ndim != 1 or axis.size < 2 or not np.isfinite(axis).all():
            raise GridError(
                f"{what} has a {name} of shape {axis.shape}; give a file whose {name} has one "
                "dimension and two finite values or more."
            )
    lon = np.unwrap(lon, period=360.0)
    steps = np.diff(lon)
    down = np.diff(lat)
    if not ((down > 0).all() or (down < 0).all()) or np.abs(lat).max() > 90 + _SLACK:
        raise GridError(
            f"{what} has latitudes in no order or beyond the poles ({lat.min():g} to "
            f"{lat.max():g}); they must ascend or descend between -90 and 90."
        )
    if not (steps > 0).all() or np.ptp(steps) > 0.02 * np.median(steps):
        raise GridError(
            f"{what} has longitudes with steps from {steps.min():g} to {steps.max():g} degrees; "
            "they must ascend in equal steps. Sort or regrid the file."
        )
    if lon[-1] - lon[0] > 360 - _SLACK:
        lon = lon[:-1]
    return np.round(lat, 6) + 0.0, np.round(lon, 6) + 0.0


def cut(latitude: Array, longitude: Array, box: Box | None, margin: int, what: str) -> Window:
    """Return the cells that a box touches, and a margin around them.

    Parameters
    ----------
    latitude, longitude : ndarray, shape (m,) and (n,)
        Cell centres, two or more: latitude ascending or descending, longitude ascending.
    box : (west, east, south, north) or None
        Degrees; None takes the whole grid.
    margin : int
        Additional cells on every side, where the grid has them.
    what : str
        What the grid belongs to, for messages.

    Returns
    -------
    Window
        Longitudes in the box's convention.

    Raises
    ------
    GridError
        If the box reaches beyond the outermost cell edges.

    Examples
    --------
    >>> lat, lon = np.arange(-90, 91, 30.0), np.arange(-180, 180, 45.0)
    >>> cut(lat, lon, (170, 190, 0, 10), 0, "The file").longitude
    array([180.])
    >>> cut(lat, lon, (350, 10, 0, 10), 1, "The file").longitude
    array([315., 360., 405.])
    """
    if box is None:
        columns = (slice(0, longitude.size),)
        return Window(slice(0, latitude.size), columns, latitude, longitude)
    west, east, south, north = box
    rows = _rows(latitude, south, north, margin, what)
    start, count, first = _columns(longitude, west, east, margin, what)
    pieces = _pieces(start, count, longitude.size)
    taken = np.concatenate([longitude[piece] for piece in pieces])
    expected = first + np.arange(count) * spacing(longitude)
    unrolled = taken + 360.0 * np.round((expected - taken) / 360.0)
    return Window(rows, pieces, latitude[rows], unrolled)


def _rows(latitude: Array, south: float, north: float, margin: int, what: str) -> slice:
    half = spacing(latitude) / 2
    low = latitude.min() - half - _SLACK
    high = latitude.max() + half + _SLACK
    if south < max(low, -90.0) or north > min(high, 90.0):
        raise GridError(
            f"The region's latitudes {south:g} to {north:g} reach beyond {what}, which spans "
            f"{max(low, -90):.6g} to {min(high, 90):.6g}. Give a smaller region."
        )
    touched = (latitude + half > south + _SLACK) & (latitude - half < north - _SLACK)
    if not touched.any():  # a line on the border of two cells
        touched = np.abs(latitude - south) <= half + _SLACK
    found = np.flatnonzero(touched)
    return slice(max(int(found[0]) - margin, 0), min(int(found[-1]) + margin + 1, latitude.size))


def _columns(
    longitude: Array, west: float, east: float, margin: int, what: str
) -> tuple[int, int, float]:
    """Return the first column, the number of columns, and the longitude of the first."""
    step = spacing(longitude)
    size = longitude.size
    width = min(east - west, 360.0) if east >= west else (east - west) % 360
    periodic = abs(size * step - 360) < step / 2
    edge = longitude[0] - step / 2
    offset = float(wrap_longitude(west - edge, -_SLACK))
    if not periodic and offset + width > size * step + 2 * _SLACK:
        raise GridError(
            f"The region's longitudes {west:g} to {east:g} reach beyond {what}, which spans "
            f"{edge:.6g} to {edge + size * step:.6g}. Give a smaller region."
        )
    start = int(np.floor((offset + _SLACK) / step)) - margin
    stop = int(np.ceil((offset + width - _SLACK) / step)) + margin
    stop = max(stop, start + 1 + 2 * margin)
    if not periodic:
        start = max(start, 0)
        stop = min(stop, size)
    count = min(stop - start, size)
    return start % size, count, west - offset + (start + 0.5) * step


def _pieces(start: int, count: int, size: int) -> tuple[slice, ...]:
    if start + count <= size:
        return (slice(start, start + count),)
    return slice(start, size), slice(0, start + count - size)
