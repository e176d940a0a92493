"""Areas that cells of two grids share on the sphere, for conservative weights (arrays only).

Two cells are seen in the gnomonic projection round one of them, in which great circles are
straight: the polygon of one is clipped by the sides of the other (Sutherland and Hodgman 1974),
for many pairs at once, and the area of what is left is measured on the sphere. Cells of one grid
that share sides are cut along the same lines, so that their shares add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from xdownscale.core.axis import Array
from xdownscale.core.errors import GridError
from xdownscale.core.sphere import turns, unit

_PAIRS = 20_000  # pairs of cells at a time, which bounds the memory
_CELLS = 10_000  # cells that are searched for at a time
_POINT = 1e-9  # share of a cell within which two corners are one point
_WIDEST = 0.9  # radians from the centre of a cell to a corner that may be seen in a plane


def overlap_areas(source: Array, target: Array, what: tuple[str, str]) -> csr_array:
    """Return the areas that cells of two grids share.

    Parameters
    ----------
    source, target : array, shape (n, k, 3) and (m, l, 3)
        Corners of the cells as unit vectors, in rings that turn left.
    what : (str, str)
        What the two grids are, for messages.

    Returns
    -------
    sparse array, shape (m, n)
        Steradians.

    Raises
    ------
    GridError
        If a cell is wider than about 100 degrees.

    References
    ----------
    Sutherland and Hodgman (1974), doi:10.1145/360767.360802. Jones (1999),
    doi:10.1175/1520-0493(1999)127<2204:FASOCR>2.0.CO;2.

    Examples
    --------
    >>> from xdownscale.core.sphere import to_vectors
    >>> ring = to_vectors(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[0.0, 2.0, 2.0, 0.0]]))
    >>> half = to_vectors(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[0.0, 1.0, 1.0, 0.0]]))
    >>> shared = overlap_areas(ring, half, ("The source grid", "The target grid"))
    >>> float((shared.toarray() * (180 / np.pi) ** 2).round(3)[0, 0])
    1.0
    """
    discs = [_discs(cells, name) for cells, name in zip((source, target), what, strict=True)]
    # the grid whose cells are convex cuts: its sides are the lines of the cut
    convex = [_are_convex(cells) for cells in (source, target)]
    swap = convex[0] and (not convex[1] or source.shape[1] < target.shape[1])
    subject, clip, owner = (target, source, None) if swap else (source, target, None)
    subject_discs, clip_discs = (discs[1], discs[0]) if swap else (discs[0], discs[1])
    if not any(convex):
        clip, owner = _fans(clip, clip_discs[0])
        clip_discs = _discs(clip, "")
    rows: list[Array] = []
    columns: list[Array] = []
    areas: list[Array] = []
    for i, j in _candidates(clip_discs, subject_discs):
        found = _shared(clip[i], subject[j], clip_discs[0][i])
        kept = found > 0
        rows.append(i[kept] if owner is None else owner[i[kept]])
        columns.append(j[kept])
        areas.append(found[kept])
    size = (discs[0][0].shape[0], discs[1][0].shape[0])
    entries = [np.concatenate(part) if part else np.zeros(0) for part in (rows, columns, areas)]
    pair = (entries[0].astype(np.int64), entries[1].astype(np.int64))
    shape = size if swap else size[::-1]
    matrix = coo_array((entries[2], pair), shape=shape)
    return (matrix.T if swap else matrix).tocsr()


def _are_convex(cells: Array) -> bool:
    """Tell whether all cells turn left at every corner."""
    blocks = (cells[k : k + _PAIRS] for k in range(0, len(cells), _PAIRS))
    return all(bool((turns(block) >= -1e-15).all()) for block in blocks)


def _discs(cells: Array, what: str) -> tuple[Array, Array]:
    """Return middles (n, 3) of cells and the chords (n,) from there to the farthest corners."""
    middle = unit(cells.mean(axis=1))
    chord = np.linalg.norm(cells - middle[:, None], axis=-1).max(axis=1)
    if chord.max() > 2 * np.sin(_WIDEST / 2):
        raise GridError(
            f"{what} has cells that are wider than {np.degrees(2 * _WIDEST):.0f} degrees; "
            "method='conservative' needs smaller ones between grids of these kinds. Use "
            "'bilinear' or 'nearest'."
        )
    return middle, chord


def _fans(cells: Array, middle: Array) -> tuple[Array, Array]:
    """Cut cells into triangles from their middles; return them and the cell of each."""
    count = cells.shape[1]
    centre = np.broadcast_to(middle[:, None], cells.shape)
    triangles = np.stack([centre, cells, np.roll(cells, -1, axis=1)], axis=2)
    return triangles.reshape(-1, 3, 3), np.repeat(np.arange(len(cells)), count)


def _candidates(
    clip: tuple[Array, Array], subject: tuple[Array, Array]
) -> Iterator[tuple[Array, Array]]:
    """Yield pairs of cells whose discs meet, some at a time.

    Cells are taken by classes of size, so that a few large ones do not make all others search far.
    """
    for own in _classes(clip[1]):
        for other in _classes(subject[1]):
            tree = cKDTree(subject[0][other])
            reach = clip[1][own].max() + subject[1][other].max()
            for k in range(0, own.size, _CELLS):
                part = own[k : k + _CELLS]
                near = cKDTree(clip[0][part]).sparse_distance_matrix(
                    tree, reach * (1 + 1e-9), output_type="ndarray"
                )
                i = part[near["i"]]
                j = other[near["j"]]
                meet = near["v"] <= (clip[1][i] + subject[1][j]) * (1 + 1e-9)
                i = i[meet]
                j = j[meet]
                for first in range(0, i.size, _PAIRS):
                    yield i[first : first + _PAIRS], j[first : first + _PAIRS]


def _classes(chord: Array) -> list[Array]:
    """Return the cells of each power of two in size."""
    power = np.floor(np.log2(np.maximum(chord, 1e-12)))
    return [np.flatnonzero(power == p) for p in np.unique(power)]


def _shared(clip: Array, subject: Array, middle: Array) -> Array:
    """Return the areas that pairs of cells share; the first of a pair is convex."""
    axes = _tangents(middle)
    cutting = _plane(clip, middle, axes)
    polygon = _plane(subject, middle, axes)
    found = np.zeros(len(clip))
    apart = np.zeros(len(clip), dtype=bool)
    for line, other in zip(cutting, polygon, strict=True):
        apart |= (line.max(axis=1) <= other.min(axis=1)) | (other.max(axis=1) <= line.min(axis=1))
    live = np.flatnonzero(~apart)
    x, y = (values[live] for values in polygon)
    count = np.full(live.size, x.shape[1])
    sides = cutting[0].shape[1]
    size = np.ptp(cutting[0], axis=1) + np.ptp(cutting[1], axis=1)
    for k in range(sides):
        ends = [(values[live, k], values[live, (k + 1) % sides]) for values in cutting]
        x, y, count = _cut(x, y, count, ends, _POINT * size[live])
        left = count > 2
        live = live[left]
        x = x[left]
        y = y[left]
        count = count[left]
        if not live.size:
            return found
        width = count.max()
        x = x[:, :width]
        y = y[:, :width]
    found[live] = _areas(x, y)
    return found


def _tangents(middle: Array) -> tuple[Array, Array]:
    """Return two unit vectors at right angles to each middle, such that a left turn stays one."""
    least = np.argmin(np.abs(middle), axis=1)
    helper = np.zeros_like(middle)
    helper[np.arange(len(middle)), least] = 1
    east = unit(np.cross(helper, middle))
    return east, np.cross(middle, east)


def _plane(cells: Array, middle: Array, axes: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return gnomonic coordinates (n, k) of corners."""
    height = np.einsum("nkc,nc->nk", cells, middle)
    x: Array = np.einsum("nkc,nc->nk", cells, axes[0]) / height
    y: Array = np.einsum("nkc,nc->nk", cells, axes[1]) / height
    return x, y


def _cut(
    x: Array, y: Array, count: Array, ends: list[tuple[Array, Array]], least: Array
) -> tuple[Array, Array, Array]:
    """Keep the part of polygons (n, k) on the left of a line each.

    Of each polygon the first `count` corners are meant; the others repeat the first one. Two ends
    of a line that are one point, as at a pole, cut nothing.
    """
    (ax, bx), (ay, by) = ends
    line = np.hypot(bx - ax, by - ay) > least
    dx, dy = ((b - a)[:, None] * line[:, None] for a, b in ((ax, bx), (ay, by)))
    side = dx * (y - ay[:, None]) - dy * (x - ax[:, None])
    index = np.arange(x.shape[1])
    real = index < count[:, None]
    after = np.where(index + 1 < count[:, None], index + 1, 0)
    nx, ny, next_side = (np.take_along_axis(v, after, axis=1) for v in (x, y, side))
    inside = side >= 0
    crosses = real & (inside != (next_side >= 0))
    with np.errstate(all="ignore"):
        share = np.where(crosses, side / (side - next_side), 0.0)
    kept = np.stack([real & inside, crosses], axis=2).reshape(len(x), -1)
    points = [
        np.stack([v, v + share * (n - v)], axis=2).reshape(len(x), -1)
        for v, n in ((x, nx), (y, ny))
    ]
    total = kept.sum(axis=1)
    place = np.cumsum(kept, axis=1) - 1
    rows, columns = np.nonzero(kept)
    out = []
    for values in points:
        first = values[np.arange(len(x)), np.argmax(kept, axis=1)]
        wide = np.repeat(first[:, None], max(int(total.max(initial=1)), 1), axis=1)
        wide[rows, place[rows, columns]] = values[rows, columns]
        out.append(wide)
    return out[0], out[1], total


def _areas(x: Array, y: Array) -> Array:
    """Return the areas on the sphere of polygons (n, k) in the gnomonic plane, in steradians.

    A fan of triangles; ``tan(E / 2) = a . (b x c) / (1 + a . b + b . c + c . a)`` with the unit
    vectors ``(x, y, 1) / w``.
    """
    total = np.zeros(len(x))
    w = np.sqrt(1 + x**2 + y**2)
    for k in range(1, x.shape[1] - 1):
        ux = x[:, k] - x[:, 0]
        uy = y[:, k] - y[:, 0]
        vx = x[:, k + 1] - x[:, 0]
        vy = y[:, k + 1] - y[:, 0]
        volume = ux * vy - uy * vx
        a = w[:, 0]
        b = w[:, k]
        c = w[:, k + 1]
        ab = 1 + x[:, 0] * x[:, k] + y[:, 0] * y[:, k]
        bc = 1 + x[:, k] * x[:, k + 1] + y[:, k] * y[:, k + 1]
        ca = 1 + x[:, 0] * x[:, k + 1] + y[:, 0] * y[:, k + 1]
        total += 2 * np.arctan2(volume, a * b * c + ab * c + bc * a + ca * b)
    return total
