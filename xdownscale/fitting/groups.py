"""Groups of a fit: a model is trained for each season and region that was asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from xdownscale import splits
from xdownscale.core.coords import to_array
from xdownscale.core.errors import OptionError
from xdownscale.preprocessing.validation import Pair

Seasons = Mapping[str, tuple[int, ...]]


_LONGEST = 100  # bytes of a name


@dataclass(frozen=True, kw_only=True)
class Group:
    """A season and a region that get a model of their own.

    Attributes
    ----------
    season, region : str or None
        None stands for all of them.
    window : tuple of slice
        Rows and columns of the fine grid (ascending) that the region spans.
    """

    season: str | None
    region: str | None
    window: tuple[slice, slice]

    @property
    def name(self) -> str:
        """``"DJF"``, ``"gulf"``, ``"DJF.gulf"`` or ``"all"``."""
        return ".".join(n for n in (self.season, self.region) if n) or "all"


def make_groups(
    pair: Pair,
    seasons: Seasons | None,
    regions: Mapping[str, Any] | None,
    blend: int = 0,
) -> Iterator[tuple[Group, npt.NDArray[np.float32]]]:
    """Yield every season x region, with the weights of the cells in its window.

    Parameters
    ----------
    pair : Pair
        Records.
    seasons : mapping or None
        Season -> months.
    regions : mapping or None
        Region -> box or mask.
    blend : int
        Pixels that regions reach beyond their borders.

    Yields
    ------
    group : Group
    weight : (y, x) float32 array
        See `GroupModel`; 0 outside.
    """
    named = [each for each in (seasons, regions) if isinstance(each, Mapping)]
    for name in itertools.chain(*named):
        if not _can_name(name):
            raise OptionError(
                f"{name!r} cannot name a season or region: names stand in paths. Give a text of up "
                f"to {_LONGEST} bytes, without control characters, / \\ and the point."
            )
    everywhere = np.ones(pair.fine.grid.shape, bool)
    masks: dict[str | None, npt.NDArray[np.bool_]] = {None: everywhere}
    if regions is not None:
        masks = {
            name: np.asarray(to_array(splits.region_mask(pair.fine.grid, region)).array, bool)
            for name, region in splits.normalise_regions(regions).items()
        }
    for region, mask in masks.items():
        weight = fading(mask, blend)
        window = ndimage.find_objects((weight > 0).astype(np.int8))[0]
        for season in seasons or (None,):
            yield Group(season=season, region=region, window=window), weight[window]


def _can_name(name: object) -> bool:
    """Tell whether a season or a region can have this name, which stands in names of files."""
    if not isinstance(name, str) or not name or set(name) & set("/\\."):
        return False
    return name.isprintable() and len(name.encode()) <= _LONGEST


def fading(core: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.float32]:
    """Return weights that fall from 1 to 0 across the border of a region.

    Parameters
    ----------
    core : (y, x) bool array
        The region.
    reach : int
        Pixels on either side of the border; the image's own edge is none.

    Returns
    -------
    (y, x) float32 array
        A half or more within the region, less than that outside: of two regions that meet, the
        weights add up to one.

    Examples
    --------
    >>> fading(np.array([[True, True, True, False, False, False]]), 2).round(2)
    array([[1.  , 0.96, 0.69, 0.31, 0.04, 0.  ]], dtype=float32)
    """
    if reach == 0 or core.all():
        return core.astype(np.float32)
    margin = 3 * reach + 1
    wide = np.pad(core, margin, mode="edge")
    near = ndimage.distance_transform_edt(~wide) <= reach
    distance = ndimage.distance_transform_edt(near)
    share = np.clip((distance - 0.5) / (2 * reach), 0, 1)
    weight = np.where(near, np.sin(np.pi / 2 * share) ** 2, 0.0)
    # at corners it would be less than a half inside, or more outside
    weight = np.where(wide, np.maximum(weight, 0.5), np.minimum(weight, 0.499))
    return np.asarray(weight[margin:-margin, margin:-margin], np.float32)
