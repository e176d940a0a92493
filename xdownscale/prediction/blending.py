"""Blend the fields of several regions into one map without seams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xdownscale.core.normalization import Scaling
from xdownscale.fitting.fitted_model import Fitted

Array = npt.NDArray[Any]
_HALF = 0.5  # weight from which on a cell belongs to a region


def _common(scalings: Sequence[Scaling]) -> Scaling:
    """Return the transform that fields of all regions are averaged in: theirs, if all share one."""
    first, *others = scalings
    same = all((s.transform, s.floor) == (first.transform, first.floor) for s in others)
    thresholds = [s.threshold for s in scalings if s.threshold is not None]
    caps = [s.cap for s in scalings if s.cap is not None]
    every = len(scalings)
    lowest = [s.minimum for s in scalings if s.minimum is not None]
    return replace(
        first if same else Scaling(),
        minimum=min(lowest, default=None),
        threshold=min(thresholds) if len(thresholds) == every else None,
        cap=max(caps) if len(caps) == every else None,
    )


class Blend:
    """Weighted average of the fields of all regions.

    Fields are averaged in transformed units (in physical ones, where regions have different
    transforms), with weights that fall across the border of each
    region. All regions share one noise field, so their fields differ where they meet only
    by what their models know, and the average keeps their spread. For a method that does not blend,
    weights are 0 and 1, and the region named first has the cells that several share.

    Parameters
    ----------
    fitted : Fitted
        The model.

    Attributes
    ----------
    windows : dict of str to tuple of slice
        Region -> rows and columns of the fine grid that it spans.
    weights : dict of str to (y, x) array
        Region -> share of its fields in each cell of its window; they add up to one.
    """

    def __init__(self, fitted: Fitted) -> None:
        shape = fitted.carried.shape[1:]
        regions = {name: next(iter(m.values())) for name, m in fitted.by_region().items()}
        scalings = [model.scalings for model in regions.values()]
        self._scalings = [_common(each) for each in zip(*scalings, strict=True)]
        self._single = len(regions) == 1
        self.windows = {name: model.group.window for name, model in regions.items()}
        core = np.zeros(shape, bool)
        total = np.zeros(shape)
        raw: dict[str | None, Array] = {}
        for name, model in regions.items():
            window = self.windows[name]
            weight = model.weight.astype(float)
            if not fitted.method.blends:
                weight = weight * ~core[window]
            core[window] |= weight >= _HALF
            total[window] += weight
            raw[name] = weight
        total = np.where(core, total, np.inf)
        self.weights = {
            name: (weight / np.where(total > 0, total, np.inf)[self.windows[name]])
            for name, weight in raw.items()
        }

    def add(self, part: Array, into: Array, fields: Array, weights: Array) -> None:
        """Add weighted fields to some time steps of a region's part of the map.

        Parameters
        ----------
        part : ndarray (realization, time, target, y, x)
            NaN where nothing was added yet; changed in place.
        into : ndarray of int (k,)
            Time steps.
        fields : ndarray (realization, k, target, y, x)
            Physical units.
        weights : ndarray (target, y, x)
            0 where nothing is to be added.
        """
        if self._single:
            part[:, into] = np.where(weights > 0, fields, part[:, into])
            return
        for target, scaling in enumerate(self._scalings):
            share = weights[target]
            moved = share * scaling.transform_only(np.where(share > 0, fields[:, :, target], 1.0))
            before = part[:, into, target]
            added = np.where(np.isnan(before), moved, before + moved)
            part[:, into, target] = np.where(share > 0, added, before)

    def finish(self, out: Array) -> None:
        """Bring sums back to physical units, in place."""
        if self._single:
            return
        for target, scaling in enumerate(self._scalings):
            out[:, :, target] = scaling.bounded(scaling.untransform(out[:, :, target]))
