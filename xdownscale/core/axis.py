"""One axis of a grid: order, edges of cells, what lies outside, areas of cells between two axes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xdownscale.core.errors import GridError, check_option

Array = npt.NDArray[Any]

EARTH_RADIUS_KM = 6371.0071809
"""Radius of the sphere with the area of the WGS84 ellipsoid (authalic radius)."""

SAME_DEGREES = 1e-5  # about one metre: closer longitudes are the same meridian
SAME_CELL = 1e-3  # share of a cell that float32 coordinates may be off
FLOAT32_DEGREES = 2e-5  # that float32 longitudes may be off


class Axis(NamedTuple):
    """One axis of a grid, put in order.

    Attributes
    ----------
    values : ndarray
        Cell centres, ascending, each once; longitudes without a jump at Greenwich or the dateline.
    edges : ndarray
        Cell edges, one more than there are cells; both equal to the centre where there is one cell
        and no bounds were given.
    cells : ndarray, shape (n, 2)
        Lower and upper edge of each cell: neighbouring edges, or the bounds that were given, which
        need not meet.
    first : ndarray of int
        Where each value stands in the axis as it was given.
    inverse : ndarray of int
        Which value each point of the axis as it was given is.
    periodic : bool
        True for longitudes that go round the globe.
    """

    values: Array
    edges: Array
    cells: Array
    first: Array
    inverse: Array
    periodic: bool


def cell_bounds(centres: Array, limits: tuple[float, float] | None = None) -> Array:
    """Return the edges of cells from their centres.

    Parameters
    ----------
    centres : array, shape (n,)
        Ascending or descending cell centres; two or more.
    limits : (float, float), optional
        Edges are clipped to these, for latitude to (-90, 90).

    Returns
    -------
    ndarray, shape (n + 1,)
        Midpoints; the outermost edges lie half a spacing beyond the outermost centres.

    Raises
    ------
    GridError
        If there are fewer than two centres.

    Examples
    --------
    >>> cell_bounds(np.array([89.0, 87.0]), limits=(-90, 90))
    array([90., 88., 86.])
    """
    centres = np.asarray(centres, dtype=np.float64)
    if centres.size < 2:
        raise GridError(
            f"Cells have no edges: the axis has {centres.size} point. Give two points or more."
        )
    middle = (centres[1:] + centres[:-1]) / 2
    ends = 2 * centres[[0, -1]] - middle[[0, -1]]
    edges = np.concatenate([ends[:1], middle, ends[1:]])
    return edges if limits is None else np.clip(edges, *limits)


def spacing(centres: Array) -> float:
    """Return the median distance between neighbouring centres; NaN for a single one.

    Parameters
    ----------
    centres : array, shape (n,)
        Cell centres in degrees.

    Returns
    -------
    float
        Degrees.

    Examples
    --------
    >>> spacing(np.array([10.0, 9.5, 9.0]))
    0.5
    """
    steps = np.abs(np.diff(np.asarray(centres, dtype=np.float64)))
    return float(np.median(steps)) if steps.size else float("nan")


def wrap_longitude(longitude: Any, start: float = -180.0) -> Array:
    """Bring longitudes into ``[start, start + 360)``.

    Parameters
    ----------
    longitude : array
        Degrees east, any convention.
    start : float
        Where the wanted convention begins.

    Returns
    -------
    ndarray
        Same shape.

    Examples
    --------
    >>> wrap_longitude(np.array([350.0, 10.0]))
    array([-10.,  10.])
    """
    start = float(start)
    wrapped = start + np.mod(np.asarray(longitude, dtype=np.float64) - start, 360.0)
    return np.where(wrapped >= start + 360.0, start, wrapped)


Bounds = tuple[Array | None, Array | None]
"""Lower and upper edges (n, 2) of the latitudes and of the longitudes, where they are known."""

NO_BOUNDS: Bounds = (None, None)


def latitude_axis(latitude: Array, what: str = "The grid", bounds: Array | None = None) -> Axis:
    """Put a latitude axis in order.

    Parameters
    ----------
    latitude : array, shape (n,)
        Degrees north, ascending or descending.
    what : str
        What the axis belongs to, for the message.
    bounds : array, shape (n, 2), optional
        Edges of each cell, in degrees; midpoints between the centres by default.

    Returns
    -------
    Axis

    Raises
    ------
    GridError
        For NaN, duplicates, values beyond the poles or in no order.

    Examples
    --------
    >>> latitude_axis(np.array([50.0, 40.0])).values
    array([40., 50.])
    """
    values = _finite(latitude, what, "latitude")
    if np.abs(values).max() > 90 + SAME_DEGREES:
        raise GridError(
            f"{what} has latitudes from {values.min():g} to {values.max():g}; allowed are degrees "
            "from -90 to 90. Give latitudes in degrees north."
        )
    order = np.argsort(values, kind="stable")
    _check_order(values, order, what, "latitude", cyclic=False)
    ordered = values[order]
    edges = cell_bounds(ordered, (-90.0, 90.0)) if ordered.size > 1 else ordered.repeat(2)
    cells = np.stack([edges[:-1], edges[1:]], axis=-1)
    if bounds is not None:
        offsets = np.asarray(bounds, dtype=np.float64) - values[:, None]
        cells = np.clip(_cells_around(ordered, offsets[order], what, "latitude"), -90.0, 90.0)
        edges = _joined(cells)
    return Axis(ordered, edges, cells, order, np.argsort(order), False)


def plane_axis(values: Array, what: str, name: str, bounds: Array | None = None) -> Axis:
    """Put an axis of a plane in order: projected coordinates, or the indices of cells.

    Parameters
    ----------
    values : array, shape (n,)
        Cell centres in any unit, ascending or descending.
    what : str
        What the axis belongs to, for the message.
    name : str
        Name of the coordinate, for the message.
    bounds : array, shape (n, 2), optional
        Edges of each cell; midpoints between the centres by default.

    Returns
    -------
    Axis

    Raises
    ------
    GridError
        For NaN, duplicates or values in no order.

    Examples
    --------
    >>> plane_axis(np.array([3000.0, 1000.0]), "The grid", "y").edges
    array([   0., 2000., 4000.])
    """
    values = _finite(values, what, name)
    order = np.argsort(values, kind="stable")
    _check_order(values, order, what, name, cyclic=False)
    ordered = values[order]
    edges = cell_bounds(ordered) if ordered.size > 1 else ordered.repeat(2)
    cells = np.stack([edges[:-1], edges[1:]], axis=-1)
    if bounds is not None:
        offsets = np.asarray(bounds, dtype=np.float64) - values[:, None]
        cells = _cells_around(ordered, offsets[order], what, name)
        edges = _joined(cells)
    return Axis(ordered, edges, cells, order, np.argsort(order), False)


def _cells_around(centres: Array, offsets: Array, what: str, kind: str) -> Array:
    """Return the edges (n, 2) of each cell from their distances to its centre."""
    low = offsets.min(axis=1)
    high = offsets.max(axis=1)
    slack = SAME_CELL * (high - low)
    wrong = ~((low <= slack) & (high >= -slack) & (high > low))
    if wrong.any():
        raise GridError(
            f"{what} has {wrong.sum()} {kind}s whose bounds do not hold them, the first at "
            f"{centres[wrong][0]:g}. Correct the bounds, or drop them (and the attribute 'bounds')."
        )
    return np.stack([centres + low, centres + high], axis=-1)


def _joined(cells: Array) -> Array:
    """Return the edges (n + 1,) of cells (n, 2); midpoints between cells that do not meet."""
    inner = np.where(
        cells[:-1, 1] == cells[1:, 0], cells[1:, 0], (cells[:-1, 1] + cells[1:, 0]) / 2
    )
    return np.concatenate([cells[:1, 0], inner, cells[-1:, 1]])


def longitude_axis(longitude: Array, what: str = "The grid", bounds: Array | None = None) -> Axis:
    """Put a longitude axis in order, across Greenwich and the dateline.

    Parameters
    ----------
    longitude : array, shape (n,)
        Degrees east in any convention, ascending or descending, with or without a jump of 360.
        A meridian that is given twice, as 0 and as 360, is taken once.
    what : str
        What the axis belongs to, for the message.
    bounds : array, shape (n, 2), optional
        Edges of each cell, in degrees and any convention; midpoints by default.

    Returns
    -------
    Axis
        The seam lies in the widest gap between neighbouring meridians.

    Raises
    ------
    GridError
        For NaN, duplicates or values in no order.

    Examples
    --------
    >>> longitude_axis(np.array([0.0, 10.0, 350.0])).values
    array([350., 360., 370.])
    """
    given = _finite(longitude, what, "longitude")
    wrapped = wrap_longitude(given, 0.0)
    wrapped[360.0 - wrapped < SAME_DEGREES] -= 360.0
    order = np.argsort(wrapped, kind="stable")
    fresh = np.diff(wrapped[order], prepend=-np.inf) > SAME_DEGREES
    first = order[fresh]
    values = wrapped[order][fresh]
    inverse = np.empty(given.size, dtype=np.intp)
    inverse[order] = np.cumsum(fresh) - 1
    _check_order(given, first, what, "longitude", cyclic=True)
    seam, periodic = _seam(values, inverse)
    values = np.concatenate([values[seam:], values[:seam] + 360.0])
    inverse = (inverse - seam) % values.size
    first = np.roll(first, -seam)
    if values.size < 2:
        edges = values.repeat(2)
    elif periodic:
        edges = cell_bounds(np.concatenate([values[-1:] - 360, values, values[:1] + 360]))[1:-1]
    else:
        edges = cell_bounds(values)
    cells = np.stack([edges[:-1], edges[1:]], axis=-1)
    if bounds is not None:
        pairs = np.asarray(bounds, dtype=np.float64)[first]
        offsets = wrap_longitude(pairs - given[first][:, None])
        whole = np.abs(np.abs(np.diff(pairs, axis=1)[:, 0]) - 360.0) < SAME_DEGREES
        offsets[whole] = [-180.0, 180.0]  # one cell round the globe
        cells = _cells_around(values, offsets, what, "longitude")
        edges = _joined(cells)
    return Axis(values, edges, cells, first, inverse, periodic)


def _seam(values: Array, inverse: Array) -> tuple[int, bool]:
    """Return the index to cut ascending longitudes at, and whether they go round the globe."""
    gaps = np.diff(values, append=values[0] + 360.0)
    widest = int(np.argmax(gaps))
    # Round the globe: the widest gap is hardly wider than the next. Then the caller's own cut.
    if values.size > 1 and gaps[widest] <= 1.5 * np.delete(gaps, widest).max():
        ascends = (inverse[0] + 1) % values.size == inverse[1]
        return int(inverse[0] if ascends else inverse[-1]), True
    return (widest + 1) % values.size, False


def _finite(values: Array, what: str, kind: str) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise GridError(
            f"{what} has {values.size} {kind}s, {np.count_nonzero(~np.isfinite(values))} of them "
            f"not finite. Give one finite {kind} or more."
        )
    return values


def _check_order(given: Array, first: Array, what: str, kind: str, *, cyclic: bool) -> None:
    """Refuse duplicates and an axis that neither ascends nor descends (on the circle if cyclic)."""
    uniques, counts = np.unique(given, return_counts=True)
    if uniques.size < given.size:
        raise GridError(
            f"{what} has the {kind} {uniques[counts > 1][0]:g} {counts.max()} times. Each {kind} "
            f"may stand once: drop the duplicates, e.g. with .drop_duplicates()."
        )
    steps = np.diff(np.argsort(first))  # argsort: the rank of each point, in the order given
    steps, back = (steps % first.size, first.size - 1) if cyclic else (steps, -1)
    if not ((steps == 1).all() or (steps == back).all()):
        raise GridError(
            f"{what} has {kind}s in no order. They must ascend or descend: sort them, "
            f"e.g. with .sortby({kind!r})."
        )


def outside(axis: Axis, points: Array, *, cyclic: bool) -> Array:
    """Tell which points lie beyond the outermost cell edges of an axis.

    Parameters
    ----------
    axis : Axis
        Axis of the grid that is to cover.
    points : array, shape (n,)
        Degrees.
    cyclic : bool
        True for longitudes: any convention will do.

    Returns
    -------
    ndarray of bool, shape (n,)

    Examples
    --------
    >>> outside(latitude_axis(np.array([0.0, 1.0])), np.array([-0.5, 1.6]), cyclic=False)
    array([False,  True])
    """
    points = np.asarray(points, dtype=np.float64)
    if axis.periodic:
        return np.zeros(points.shape, dtype=bool)
    if cyclic:
        points = wrap_longitude(points, (axis.values[0] + axis.values[-1]) / 2 - 180)
    slack = SAME_CELL * np.diff(axis.edges).max()
    beyond: Array = (points < axis.edges[0] - slack) | (points > axis.edges[-1] + slack)
    return beyond


def check_coverage(latitude: Axis, longitude: Axis, lat: Array, lon: Array) -> None:
    """Raise unless all points of a grid lie within the outermost cell edges of another.

    Parameters
    ----------
    latitude, longitude : Axis
        Axes of the grid that is to cover.
    lat, lon : array, shape (m,) and (n,)
        Cell centres of the grid that is to be covered.

    Raises
    ------
    GridError
        If a centre lies outside.

    Examples
    --------
    >>> axis = latitude_axis(np.array([0.0, 1.0]))
    >>> check_coverage(axis, axis, np.array([0.4]), np.array([1.4]))
    """
    rows = outside(latitude, lat, cyclic=False)
    columns = outside(longitude, lon, cyclic=True)
    parts = []
    for kind, axis, bad, found in [
        ("latitude", latitude, rows, lat),
        ("longitude", longitude, columns, lon),
    ]:
        if bad.any():
            parts.append(
                f"{kind} {np.min(found):.6g} to {np.max(found):.6g} ({bad.sum()} of {bad.size} "
                f"outside; allowed is {axis.edges[0]:.6g} to {axis.edges[-1]:.6g})"
            )
    if parts:
        raise GridError(
            "The target grid reaches outside the source grid and its half-cell margin: "
            f"{' and '.join(parts)}. Give a larger source, crop the target, or pass "
            "extrapolate='nearest'."
        )


def cell_areas(lat_edges: Array, lon_edges: Array, unit: str = "km2") -> Array:
    """Return the exact areas of latitude-longitude cells on the sphere.

    Parameters
    ----------
    lat_edges, lon_edges : array, shape (m + 1,) and (n + 1,)
        Cell edges in degrees, ascending or descending, longitudes without a jump.
    unit : {"km2", "sr"}
        Square kilometres on the sphere with the area of the WGS84 ellipsoid
        (radius 6371.0072 km), or steradians.

    Returns
    -------
    ndarray, shape (m, n)

    Notes
    -----
    ``Area = R^2 |sin(lat_2) - sin(lat_1)| |lon_2 - lon_1|``.

    Examples
    --------
    >>> float(cell_areas(np.array([-90.0, 90.0]), np.array([0.0, 360.0]), "sr")[0, 0] / np.pi)
    4.0
    """
    pairs = [np.stack([edges[:-1], edges[1:]], axis=-1) for edges in (lat_edges, lon_edges)]
    return areas_between(pairs[0], pairs[1], unit)


def areas_between(lat_cells: Array, lon_cells: Array, unit: str) -> Array:
    """Return areas (m, n) of cells from their lower and upper edges, (m, 2) and (n, 2)."""
    check_option("unit of area", unit, ("km2", "sr"))
    heights = np.abs(np.diff(np.sin(np.radians(lat_cells)), axis=1)[:, 0])
    widths = np.abs(np.diff(np.radians(lon_cells), axis=1)[:, 0])
    radius = EARTH_RADIUS_KM if unit == "km2" else 1.0
    areas: Array = np.outer(heights, widths) * radius**2
    return areas


def has_width(axis: Axis) -> bool:
    """Tell whether the cells of an axis have a width: not one point without bounds.

    Parameters
    ----------
    axis : Axis
        Latitudes or longitudes.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_width(latitude_axis(np.array([0.0])))
    False
    """
    return bool((axis.cells[:, 1] > axis.cells[:, 0]).all())
