"""Which pairs of cells a semivariogram is made of: all, or a sample; and its distance classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import xarray as xr

from xdownscale.core.coords import Labels, to_array
from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.core.grids import Array, distances, has_grid
from xdownscale.geostat._all_pairs import class_distances
from xdownscale.geostat._lattice import Layout, layout, work
from xdownscale.geostat._pair_curves import MIN_CELLS
from xdownscale.geostat._pair_sampling import (
    DIRECTIONS,
    ROSE,
    TOLERANCE,
    Pairs,
    sample_pairs,
)

AFFORDABLE = 3e8  # pairs of rows within reach, times columns, times fields: about four CPU seconds
MOST_BINS = 30
_FEWEST_BINS = 3
_SAMPLE = 30_000  # pairs of a mean over time
_FINE_SAMPLE = 300_000  # of single fields
_MOST_CELLS = 3_000  # all of whose pairs can be listed


class Wanted(NamedTuple):
    """Which pairs are asked for.

    Attributes
    ----------
    max_distance : float
        km.
    bins : int or None
        Distance classes; None for as many as the grid spacing allows.
    pairs : int or str
        ``"auto"``, ``"all"`` or a number.
    direction : str or None
        ``"N-S"``, ``"E-W"``, ``"all"`` or None.
    seed : int
        Of the sample.
    weighted : bool
        Whether pairs count by the areas of their cells.
    transforms : bool
        Whether the estimator is one that transforms along longitude give.
    fields : int
        Time steps and other fields together.
    single : bool
        Whether every field has a curve of its own.
    quadratic : bool
        Whether the time of the estimator grows with the square of the pairs.
    """

    max_distance: float
    bins: int | None
    pairs: int | str
    direction: str | None
    seed: int
    weighted: bool
    transforms: bool
    fields: int
    single: bool
    quadratic: bool


class Choice(NamedTuple):
    """The pairs that were chosen.

    Attributes
    ----------
    pairs : Pairs or Layout
        A list of pairs, or a grid all of whose pairs are summed by transforms.
    bins : int
        Distance classes.
    distance : ndarray, shape (class,)
        Mean distance of their pairs, km.
    number : int
        Pairs.
    kind : str
        ``"all"`` or ``"sample"``.
    weights : str
        ``"area"`` or ``"none"``.
    """

    pairs: Pairs | Layout
    bins: int
    distance: Array
    number: int
    kind: str
    weights: str


def choose_pairs(lat: Array, lon: Array, wanted: Wanted) -> Choice:
    """Choose the pairs of cells of a grid.

    Parameters
    ----------
    lat, lon : array
        Cell centres in degrees: (y,) and (x,), or both (y, x).
    wanted : Wanted

    Returns
    -------
    Choice

    Raises
    ------
    DataError
        If there are fewer than 100 cells.
    GridError
        If no two cells are within reach, or all pairs are asked for that cannot be had.
    OptionError
        If pairs are to count alike that are sampled by area.
    """
    cells = lat.size if lat.ndim == 2 else lat.size * lon.size
    if cells < MIN_CELLS:
        raise DataError(
            f"The grid has {cells} cells; a semivariogram needs {MIN_CELLS}. Give a larger area."
        )
    bins = wanted.bins or default_bins(lat, lon, wanted.max_distance)
    place = _transformable(lat, lon, wanted, bins)
    if place is not None:
        distance, counts = class_distances(place.geometry)
        if not counts.any():
            raise _none_in_reach(cells, wanted)
        weights = "area" if wanted.weighted else "none"
        return Choice(place, bins, distance, int(counts.sum()), "all", weights)
    number = _number(cells, wanted)
    drawn = sample_pairs(lat, lon, wanted.max_distance, bins, number, wanted.direction, wanted.seed)
    if not (wanted.weighted or drawn.whole):
        raise OptionError(
            "weighted=False counts all pairs of cells alike, but a sample of pairs is drawn by "
            "area. Give pairs='all', or weighted=True."
        )
    kind = "all" if drawn.whole else "sample"
    weights = "none" if drawn.whole else "area"
    return Choice(drawn, bins, drawn.distance, int(drawn.first.size), kind, weights)


def _transformable(lat: Array, lon: Array, wanted: Wanted, bins: int) -> Layout | None:
    """Return the layout of a grid whose pairs are all summed by transforms; None where not."""
    if not wanted.transforms or wanted.pairs not in ("all", "auto"):
        return None
    bearings: tuple[float, ...] = ()
    tolerance = TOLERANCE
    if wanted.direction == "all":
        bearings = ROSE
        tolerance = 90.0 / len(ROSE)
    elif wanted.direction:
        bearings = (DIRECTIONS[wanted.direction],)
    place = layout(
        lat,
        lon,
        wanted.max_distance,
        bins,
        weighted=wanted.weighted,
        directions=bearings,
        tolerance=tolerance,
    )
    if place is None or wanted.pairs == "all" or wanted.fields <= 1:
        return place
    return place if wanted.fields * work(place.geometry) <= AFFORDABLE else None


def _number(cells: int, wanted: Wanted) -> int:
    """Return how many pairs to list."""
    if not isinstance(wanted.pairs, str):
        return int(wanted.pairs)
    if wanted.pairs == "auto":
        return _FINE_SAMPLE if wanted.single and not wanted.quadratic else _SAMPLE
    if cells > _MOST_CELLS:
        raise GridError(
            f"pairs='all' lists the pairs of {cells} cells one by one; up to {_MOST_CELLS} cells "
            "are allowed, unless the grid is rectilinear with evenly spaced longitudes and the "
            "estimator 'matheron'. Give a number of pairs, such as pairs=300_000."
        )
    return cells * (cells - 1) // 2


def _none_in_reach(cells: int, wanted: Wanted) -> GridError:
    way = f" in direction {wanted.direction}" if wanted.direction else ""
    return GridError(
        f"No two of the {cells} cells are within {wanted.max_distance:g} km of each other{way}; "
        "give a larger max_distance, of several times the grid spacing."
    )


def default_bins(lat: Array, lon: Array, max_distance: float) -> int:
    """Return 30 distance classes, or fewer where they would be narrower than the grid spacing.

    Narrower classes hold the pairs of a few shifts each, and their curve is a zigzag.

    Parameters
    ----------
    lat, lon : array
        Cell centres in degrees: (y,) and (x,), or both (y, x).
    max_distance : float
        km.

    Returns
    -------
    int
        From 3 to 30.

    Examples
    --------
    >>> default_bins(np.arange(20.0), np.arange(20.0), 600), default_bins(
    ...     np.arange(20) / 8, np.arange(20) / 8, 600
    ... )
    (5, 30)
    """
    step = _spacing_km(lat, lon)
    fitting = int(max_distance / step) if step > 0 else MOST_BINS
    return int(np.clip(fitting, _FEWEST_BINS, MOST_BINS))


def common_bins(records: Iterable[xr.DataArray], max_distance: float) -> int:
    """Return the distance classes that suit the coarsest of some records.

    Records without a grid do not count.

    Examples
    --------
    >>> fine = xr.DataArray(np.eye(9), {"lat": np.arange(9) / 4, "lon": np.arange(9) / 4})
    >>> common_bins([fine, fine[::2, ::2]], 300)
    5
    """
    found = [MOST_BINS]
    for da in records:
        if has_grid(da):
            found.append(default_bins(*positions(to_array(da).labels), max_distance))
    return min(found)


def _spacing_km(lat: Array, lon: Array) -> float:
    """Return the larger of the median distances between rows and between columns."""
    if lat.ndim == 1:
        middle = np.full(lon.size, np.median(lat))
        rows = distances(lat[1:], lon[0], lat[:-1], lon[0])
        columns = distances(middle[1:], lon[1:], middle[:-1], lon[:-1])
    else:
        rows = distances(lat[1:], lon[1:], lat[:-1], lon[:-1])
        columns = distances(lat[:, 1:], lon[:, 1:], lat[:, :-1], lon[:, :-1])
    found = [np.nanmedian(km) for km in (rows, columns) if np.isfinite(km).any()]
    return float(max(found, default=0.0))


def positions(labels: Labels) -> tuple[Array, Array]:
    """Return latitude and longitude as `to_array` orders them: (y,) and (x,), or (y, x)."""
    axes = labels.axes
    down, along = labels.flips()[-2:]
    lat = labels.coords[axes.latitude]
    lon = labels.coords[axes.longitude]
    if lat.ndim == 1:
        lat = lat[down]
        lon = lon[along]
    else:
        lat = lat.transpose(axes.y, axes.x)
        lon = lon.transpose(axes.y, axes.x)
    return np.asarray(lat.values, np.float64), np.asarray(lon.values, np.float64)
