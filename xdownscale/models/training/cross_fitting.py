"""The regression's fields of many days, where they do not fit in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xdownscale.models.diffusion.temporal_noise import LAGS
from xdownscale.models.networks.field_unet import FieldNet, FieldNetworks

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Draw = Callable[[FieldNetworks, Rows], Floats]
Part = tuple[Sequence[FieldNet], Rows]


class Means:
    """Fields that regressions make of days, worked out when they are asked for.

    Networks are copied: the ones given may be in training while their fields are asked for.

    Parameters
    ----------
    draw : callable
        (networks, rows) -> fields (n, t, y, x).
    networks : FieldNetworks
        Whose encoder all regressions see the coarse record through.
    parts : list of (sequence of FieldNet, ndarray of int)
        Regressions and the days that are theirs. Other days are 0.
    shape : tuple of int
        (days, t, y, x).
    """

    dtype = np.dtype("float32")

    def __init__(
        self, draw: Draw, networks: FieldNetworks, parts: Sequence[Part], shape: tuple[int, ...]
    ) -> None:
        self._draw, self.shape = draw, shape
        self._networks = [only(copy.deepcopy(networks), copy.deepcopy(nets)) for nets, _ in parts]
        self._part = np.full(shape[0], -1)
        for number, (_, rows) in enumerate(parts):
            self._part[rows] = number

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Floats:
        if np.ndim(rows):
            return np.stack([self[int(row)] for row in rows])
        part = int(self._part[rows])
        if part < 0:
            return np.zeros(self.shape[1:], np.float32)
        return np.asarray(self._draw(self._networks[part], np.array([rows], np.int64))[0])


def only(networks: FieldNetworks, nets: Sequence[FieldNet]) -> FieldNetworks:
    """Return networks that draw with some regressions and nothing else, with the same encoder."""
    some = FieldNetworks.__new__(FieldNetworks)
    torch.nn.Module.__init__(some)
    some.encoder, some.drawer = networks.encoder, None
    some.regressions = torch.nn.ModuleList(nets)
    return some


def runs(rows: Rows, count: int) -> Rows:
    """Return some of many days: runs that show how long fields last, evenly spread.

    Examples
    --------
    >>> runs(np.arange(100), 2)
    array([ 0,  1,  2,  3,  4,  5, 94, 95, 96, 97, 98, 99])
    >>> runs(np.arange(4), 2)
    array([0, 1, 2, 3])
    """
    starts = np.linspace(0, max(len(rows) - LAGS - 1, 0), count).astype(int)
    chosen = np.unique(starts[:, None] + np.arange(LAGS + 1))
    return rows[chosen[chosen < len(rows)]]
