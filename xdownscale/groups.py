"""Groups: one trained model for each season and region that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from xdownscale import splits
from xdownscale.adaptation import QuantileMap
from xdownscale.calendars import Calendar
from xdownscale.config import FIELD_METHODS, DownscalerConfig
from xdownscale.errors import OptionError
from xdownscale.labels import Labels, to_array
from xdownscale.models import engine
from xdownscale.pairs import Pair
from xdownscale.patches import PatchLayout
from xdownscale.scaling import Scaling

Seasons = Mapping[str, tuple[int, ...]]


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


@dataclass(frozen=True, kw_only=True)
class GroupModel:
    """What was learnt for one group.

    Attributes
    ----------
    group : Group
        Season and region.
    weight : (y, x) float32 array
        What the group's fields count where those of its neighbours lie too; a half or more in its
        own region.
    masks : (t, y, x) bool array
        Cells of the window that the model predicts, for each target.
    static : (s, y, x) float32 array
        Static fields, scaled.
    scalings : tuple of Scaling
        Of each target, fitted on training days.
    driver_scalings : tuple of Scaling
        Of each driver; that of a target's own driver is the target's.
    calendar : Calendar
        Constants of the calendar channels.
    state : dict
        Weights.
    split : Dataset
        Coordinate ``part`` of every usable day along ``time``.
    history : Dataset
        Losses, one row an epoch.
    maps : tuple of QuantileMap
        Under pairing ``"self"``, for each driver: onto the climate of the fine record, scaled
        units; else empty.
    loaded : dict
        What was built of the weights in this process.
    """

    group: Group
    weight: npt.NDArray[np.float32]
    masks: npt.NDArray[np.bool_]
    static: npt.NDArray[np.float32]
    scalings: tuple[Scaling, ...]
    driver_scalings: tuple[Scaling, ...]
    calendar: Calendar
    state: dict[str, npt.NDArray[np.float32]]
    split: xr.Dataset
    history: xr.Dataset
    maps: tuple[QuantileMap, ...] = ()
    loaded: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what each process builds for itself."""
        return self.__dict__ | {"loaded": {}}

    def once(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Return what `build` makes of the weights; made anew only where an array was replaced."""
        weights, built = self.loaded.get(key, ([], None))
        mine = list(self.state.values())
        if len(mine) != len(weights) or any(a is not b for a, b in zip(mine, weights, strict=True)):
            built = build()
            self.loaded[key] = (mine, built)
        return built

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Cells of the first target, ``(y, x)``."""
        first: npt.NDArray[np.bool_] = self.masks[0]
        return first

    @property
    def scaling(self) -> Scaling:
        """Scaling of the first target."""
        return self.scalings[0]

    @property
    def parameters(self) -> int:
        """Number of weights of all networks."""
        return sum(engine.count_parameters(self.state).values())


def make_groups(
    pair: Pair,
    seasons: Seasons | None,
    regions: Mapping[str, Any] | None,
    blend: int = 0,
) -> Iterator[tuple[Group, npt.NDArray[np.float32]]]:
    """Yield every season x region and what the cells of its window count in it.

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
    for name in [*(seasons or ()), *(regions or ())]:
        if not name or set(str(name)) & set("/\\."):
            raise OptionError(
                f"{name!r} cannot name a season or region: names stand in paths. Leave out the "
                "characters / \\ and the point."
            )
    everywhere = np.ones(pair.grid.shape, bool)
    masks: dict[str | None, npt.NDArray[np.bool_]] = {None: everywhere}
    if regions is not None:
        masks = {
            name: np.asarray(to_array(splits.region_mask(pair.grid, region)).array, bool)
            for name, region in splits.normalise_regions(regions).items()
        }
    for region, mask in masks.items():
        weight = fading(mask, blend)
        window = _bounding(weight > 0)
        for season in seasons or (None,):
            yield Group(season=season, region=region, window=window), weight[window]


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


def check_layouts(window: tuple[slice, slice], config: DownscalerConfig) -> None:
    """Raise before any work if a training or sampling patch does not fit into the window."""
    if config.method in FIELD_METHODS:
        return
    shape = (window[0].stop - window[0].start, window[1].stop - window[1].start)
    data, sampling = config.data, config.sampling
    PatchLayout(shape=shape, size=data.patch_size, stride=data.patch_stride, halo=0)
    PatchLayout(
        shape=shape,
        size=sampling.size,
        stride=sampling.stride,
        halo=sampling.halo,
        taper=sampling.taper,
    )


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Everything that fitting learnt; what a model file holds.

    Attributes
    ----------
    config : DownscalerConfig
        Options.
    models : dict
        Group name -> GroupModel.
    seasons : mapping or None
        Season -> months.
    targets : tuple of Labels
        Names and horizontal coordinates of each fine variable (without time).
    drivers : tuple of str
        Names of the coarse variables.
    own : tuple of int
        For each target the number of its own driver, -1 where it has none.
    coarse_grid : DataArray
        Grid of the coarse record, ``(y, x)``, ascending.
    carried : DataArray
        Last fine fields of the training record, ``(time, y, x)``, ascending; its first
        dimension is called ``time``.
    about : dict
        Plain facts: units, period, fingerprint, versions, seed, skill on validation days.
    """

    config: DownscalerConfig
    models: dict[str, GroupModel]
    seasons: Seasons | None
    targets: tuple[Labels, ...]
    drivers: tuple[str, ...]
    own: tuple[int, ...]
    coarse_grid: xr.DataArray
    carried: xr.DataArray
    about: dict[str, Any]

    @property
    def labels(self) -> Labels:
        """Names of the first target."""
        return self.targets[0]

    def by_region(self) -> dict[str | None, dict[str | None, GroupModel]]:
        """Return region -> season -> model."""
        tree: dict[str | None, dict[str | None, GroupModel]] = {}
        for model in self.models.values():
            tree.setdefault(model.group.region, {})[model.group.season] = model
        return tree


def _bounding(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Smallest window that holds every True."""
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return rows, columns
