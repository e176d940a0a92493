"""Cells of a curvilinear grid as a mesh on the sphere: corners, folds, which cell holds a point.

Arrays only: centres are unit vectors (y, x, 3).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xdownscale.core.errors import GridError
from xdownscale.core.sphere import Array, angle, polygon_areas, reflect, turns, unit

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_WALK = 25  # steps from one quadrilateral to its neighbour before a search of all near ones
_NEAR = 9  # quadrilaterals that are tried then
_ROUNDING = 1e-9  # share of a cell that a point may be outside a quadrilateral
_BLOCK = 100_000  # points at a time, which bounds the memory
_NEWTON = 12
_HALF_DIAGONAL = 0.75  # spacings from a centre to the corner of its cell


class Place(NamedTuple):
    """Where points lie in a mesh.

    Attributes
    ----------
    row, column : ndarray, shape (m,)
        Fractional indices of the centres; below 0 and above n - 1 in the margin, NaN outside.
    loose : ndarray of bool, shape (m,)
        True for points in no quadrilateral, at less than half a cell from a centre: their indices
        are those of that centre.
    """

    row: Array
    column: Array
    loose: Array


class Mesh:
    """Centres of a curvilinear grid, with one ring of cells added round them.

    Parameters
    ----------
    centres : array, shape (y, x, 3)
        Unit vectors, two rows and two columns or more.
    what : str
        What the grid is, for messages.
    names : (str, str)
        Names of its latitude and longitude.

    Attributes
    ----------
    centres : ndarray
    periodic : bool
        True where the last column is next to the first.
    wide : ndarray, shape (y + 2, x + 2, 3)
        With the ring: as far beyond the outermost centres as the next ones are before them.

    Raises
    ------
    GridError
        If there is one row or column, or cells are folded.
    """

    def __init__(self, centres: Array, what: str, names: tuple[str, str]) -> None:
        self.centres = centres
        if min(centres.shape[:2]) < 2:
            raise GridError(
                f"{what} has {centres.shape[0]} rows and {centres.shape[1]} columns; cells of a "
                f"grid with two-dimensional {names[0]!r} and {names[1]!r} need two of each or "
                "more. Give a larger part of the grid."
            )
        self._sign = check_folds(centres, what, names)
        self.periodic = _is_periodic(centres, self._sign)
        self.wide = _widened(centres, self.periodic)

    @cached_property
    def vertices(self) -> Array:
        """Corners of the cells, (y + 1, x + 1, 3): midway between the four centres round them."""
        wide = self.wide
        return unit(wide[:-1, :-1] + wide[1:, :-1] + wide[:-1, 1:] + wide[1:, 1:])

    @cached_property
    def _sound(self) -> Array:
        """Which quadrilaterals of the wide mesh do not cross themselves (over a pole they do)."""
        bends = self._sign * turns(quadrilaterals(self.wide))
        sound: Array = (bends < -1e-6 * np.median(np.abs(bends))).sum(axis=-1) < 2
        return sound

    @cached_property
    def _quads(self) -> tuple[cKDTree, Array]:
        from scipy.spatial import cKDTree  # late: heavy

        wide = self.wide
        middle = wide[:-1, :-1] + wide[1:, :-1] + wide[:-1, 1:] + wide[1:, 1:]
        index = np.flatnonzero(self._sound)
        return cKDTree(unit(middle.reshape(-1, 3)[index])), index

    @cached_property
    def tree(self) -> cKDTree:
        """A k-d tree of the centres."""
        from scipy.spatial import cKDTree  # late: heavy

        return cKDTree(self.centres.reshape(-1, 3))

    @cached_property
    def reach(self) -> Array:
        """Radians from each centre that its cell may reach, (y, x)."""
        centres = self.centres
        reach = np.zeros(centres.shape[:2])
        for axis in (0, 1):
            step = angle(np.delete(centres, -1, axis=axis), np.delete(centres, 0, axis=axis))
            ends = [(0, 0), (0, 0)]
            ends[axis] = (1, 1)
            padded = np.pad(step, ends, mode="edge")
            low = np.delete(padded, -1, axis=axis)
            high = np.delete(padded, 0, axis=axis)
            reach = np.maximum(reach, np.maximum(low, high))
        return _HALF_DIAGONAL * reach

    def locate(self, points: Array) -> Place:
        """Return where points lie, by inverse bilinear interpolation in the quadrilaterals.

        Parameters
        ----------
        points : array, shape (m, 3)
            Unit vectors.

        Returns
        -------
        Place

        Notes
        -----
        The quadrilateral of four centres is seen in the gnomonic projection round the point, in
        which great circles are straight. ``A + s B + t C + s t D = 0`` is solved by Newton's
        method; where s or t leaves [0, 1], the neighbour on that side is tried.
        """
        parts = [self._locate(points[k : k + _BLOCK]) for k in range(0, len(points), _BLOCK)]
        if not parts:
            return Place(np.zeros(0), np.zeros(0), np.zeros(0, bool))
        row, column, loose = (np.concatenate(found) for found in zip(*parts, strict=True))
        return Place(row, column, loose)

    def _locate(self, points: Array) -> Place:
        tree, index = self._quads
        i, j = np.divmod(index[tree.query(points)[1]], self.wide.shape[1] - 1)
        s, t = self._walk(points, i, j)
        lost = np.flatnonzero(~_inside(s, t))
        if lost.size:
            self._search(points, lost, (i, j, s, t))
        row = i + t - 1.0
        column = j + s - 1.0
        row[~_inside(s, t)] = np.nan
        column[~_inside(s, t)] = np.nan
        return self._loosely(points, row, column)

    def _walk(self, points: Array, i: Array, j: Array) -> tuple[Array, Array]:
        """Go from quadrilateral to neighbour, changing i and j, until each holds its point."""
        s = np.full(i.shape, np.nan)
        t = np.full(i.shape, np.nan)
        active = np.arange(i.size)
        for _ in range(_WALK):
            s[active], t[active] = self._invert(points[active], i[active], j[active])
            rows = np.clip(i[active] + _step(t[active]), 0, self.wide.shape[0] - 2)
            columns = j[active] + _step(s[active])
            size = self.wide.shape[1] - 2
            # the first and the last quadrilateral of a globe are the same one
            turned = np.where(columns < 0, columns + size, columns)
            turned = np.where(columns > size, columns - size, turned)
            columns = turned if self.periodic else np.clip(columns, 0, size)
            moved = (rows != i[active]) | (columns != j[active])
            active = active[moved]
            if not active.size:
                break
            i[active] = rows[moved]
            j[active] = columns[moved]
        twisted = ~self._sound[i, j]
        s[twisted] = np.nan
        return s, t

    def _search(self, points: Array, lost: Array, found: tuple[Array, ...]) -> None:
        """Try all quadrilaterals near the points that the walk has lost."""
        tree, index = self._quads
        near = tree.query(points[lost], k=min(_NEAR, index.size))[1].reshape(lost.size, -1)
        for k in range(near.shape[1]):
            i, j = np.divmod(index[near[:, k]], self.wide.shape[1] - 1)
            s, t = self._invert(points[lost], i, j)
            good = _inside(s, t)
            for into, value in zip(found, (i, j, s, t), strict=True):
                into[lost[good]] = value[good]
            lost = lost[~good]
            near = near[~good]

    def _invert(self, points: Array, i: Array, j: Array) -> tuple[Array, Array]:
        wide = self.wide
        corners = (wide[i, j], wide[i, j + 1], wide[i + 1, j], wide[i + 1, j + 1])
        return inverse_bilinear(points, corners)

    def _loosely(self, points: Array, row: Array, column: Array) -> Place:
        """Give points in no quadrilateral the indices of a centre that is near enough."""
        loose = np.zeros(row.shape, dtype=bool)
        lost = np.flatnonzero(np.isnan(row))
        if lost.size:
            chord, nearest = self.tree.query(points[lost])
            close = 2 * np.arcsin(np.minimum(chord / 2, 1)) <= self.reach.ravel()[nearest]
            lost = lost[close]
            nearest = nearest[close]
            # beyond an outer edge it is outside, whatever the distance
            inner_row, inner_column = np.divmod(nearest, self.centres.shape[1])
            kept = self._is_hole(inner_row, inner_column)
            lost = lost[kept]
            row[lost] = inner_row[kept]
            column[lost] = inner_column[kept]
            loose[lost] = True
        return Place(row, column, loose)

    def _is_hole(self, row: Array, column: Array) -> Array:
        """Tell which centres are not on an outer edge, or on one that closes round a pole."""
        size = self.centres.shape
        inner_rows = (row > 0) & (row < size[0] - 1)
        inner_columns = (column > 0) & (column < size[1] - 1)
        if self.periodic:
            return np.ones(row.shape, dtype=bool)
        hole: Array = inner_rows & inner_columns
        return hole


def _inside(s: Array, t: Array) -> Array:
    with np.errstate(invalid="ignore"):
        inside: Array = (np.abs(s - 0.5) <= 0.5 + _ROUNDING) & (np.abs(t - 0.5) <= 0.5 + _ROUNDING)
    return inside


def _step(share: Array) -> Array:
    """Return in which direction a neighbour is tried: -1, 0 or 1."""
    with np.errstate(invalid="ignore"):
        step: Array = (share > 1 + _ROUNDING).astype(np.intp) - (share < -_ROUNDING)
    return step


def inverse_bilinear(
    points: Array, corners: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    """Return the place of points in quadrilaterals.

    Parameters
    ----------
    points : array, shape (m, 3)
        Unit vectors.
    corners : four arrays, shape (m, 3)
        At (s, t) = (0, 0), (1, 0), (0, 1) and (1, 1).

    Returns
    -------
    (ndarray, ndarray), shape (m,)
        s and t, NaN where there is no solution.

    Examples
    --------
    >>> from xdownscale.core.sphere import to_vectors
    >>> corners = [to_vectors(np.array([y]), np.array([x])) for y in (0.0, 1.0) for x in (0.0, 1.0)]
    >>> s, t = inverse_bilinear(to_vectors(np.array([0.5]), np.array([0.25])), tuple(corners))
    >>> s.round(4), t.round(3)
    (array([0.25]), array([0.5]))
    """
    flat = [_gnomonic(points, corner) for corner in corners]
    ax, ay = flat[0]
    bx = flat[1][0] - ax
    by = flat[1][1] - ay
    cx = flat[2][0] - ax
    cy = flat[2][1] - ay
    dx = flat[3][0] - ax - bx - cx
    dy = flat[3][1] - ay - by - cy
    s = np.full(ax.shape, 0.5)
    t = np.full(ax.shape, 0.5)
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON):
            fx = ax + s * bx + t * cx + s * t * dx
            fy = ay + s * by + t * cy + s * t * dy
            px = bx + t * dx
            py = by + t * dy
            qx = cx + s * dx
            qy = cy + s * dy
            det = px * qy - py * qx
            change = (fx * qy - fy * qx) / det, (px * fy - py * fx) / det
            s = np.clip(s - change[0], -2.0, 3.0)
            t = np.clip(t - change[1], -2.0, 3.0)
            if np.nanmax(np.abs(change), initial=0.0) < 1e-13:
                break
    return s, t


def _gnomonic(points: Array, corner: Array) -> tuple[Array, Array]:
    """Return corners in the plane that touches the sphere at points; NaN beyond its horizon."""
    east = np.stack([-points[:, 1], points[:, 0], np.zeros(len(points))], axis=-1)
    polar = np.abs(points[:, 2]) > 0.99
    east[polar] = np.stack([np.zeros(polar.sum()), -points[polar, 2], points[polar, 1]], axis=-1)
    east = unit(east)
    north = np.cross(points, east)
    height = (corner * points).sum(axis=-1)
    height[height < 0.1] = np.nan
    x: Array = (corner * east).sum(axis=-1) / height
    y: Array = (corner * north).sum(axis=-1) / height
    return x, y


def check_folds(centres: Array, what: str, names: tuple[str, str]) -> int:
    """Raise where quadrilaterals of neighbouring centres are folded over or cross themselves.

    Parameters
    ----------
    centres : array, shape (y, x, 3)
        Unit vectors.
    what : str
        What the grid is, for the message.
    names : (str, str)
        Names of its latitude and longitude.

    Returns
    -------
    int
        1 where columns run to the left of rows seen from outside (y north, x east), else -1.

    Examples
    --------
    >>> from xdownscale.core.sphere import to_vectors
    >>> centres = to_vectors(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.0, 1.0]))
    >>> check_folds(centres, "The grid", ("lat", "lon"))
    1
    """
    corners = quadrilaterals(centres)
    bends = turns(corners)
    typical = np.nanmedian(np.abs(bends))
    sign = 1 if np.nanmedian(bends) >= 0 else -1
    with np.errstate(invalid="ignore"):
        wrong = (sign * bends < -1e-6 * typical).sum(axis=-1) >= 2
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise GridError(
            f"{what} has {wrong.sum()} cells that are folded over their neighbours or cross "
            f"themselves, the first between rows {row} and {row + 1} and columns {column} and "
            f"{column + 1} of {names[0]!r} and {names[1]!r}. Correct these coordinates, or drop "
            "rows and columns that repeat others, with .isel(...)."
        )
    return sign


def quadrilaterals(mesh: Array) -> Array:
    """Return the corners (y - 1, x - 1, 4, 3) between neighbours of a mesh (y, x, 3), in a ring."""
    return np.stack([mesh[:-1, :-1], mesh[:-1, 1:], mesh[1:, 1:], mesh[1:, :-1]], axis=-2)


def _is_periodic(centres: Array, sign: int) -> bool:
    """Tell whether the last column is the neighbour of the first."""
    if centres.shape[1] < 4:
        return False
    gap = np.median(angle(centres[:, -1], centres[:, 0]))
    step = np.median(angle(centres[:, 1:], centres[:, :-1]))
    if not 0.01 * step < gap <= 1.5 * step:
        return False
    across = quadrilaterals(np.stack([centres[:, -1], centres[:, 0]], axis=1))
    return bool(np.median(sign * polygon_areas(across)) > 0)  # columns that are repeated run back


def _widened(centres: Array, periodic: bool) -> Array:
    if periodic:
        wide = np.concatenate([centres[:, -1:], centres, centres[:, :1]], axis=1)
    else:
        first = reflect(centres[:, 1:2], centres[:, :1])
        last = reflect(centres[:, -2:-1], centres[:, -1:])
        wide = np.concatenate([first, centres, last], axis=1)
    first = reflect(wide[1:2], wide[:1])
    last = reflect(wide[-2:-1], wide[-1:])
    return np.concatenate([first, wide, last], axis=0)
