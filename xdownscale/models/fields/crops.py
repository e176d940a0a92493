"""Days as random crops, with the window of coarse days around each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from xdownscale.models import noise
from xdownscale.models.dataset import read_rows
from xdownscale.models.fields.network import Inputs

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FieldArrays:
    """Everything that training reads, in scaled units. Arrays may be numpy or read on demand.

    Attributes
    ----------
    coarse : array (n, yc, xc)
        Coarse record on its own grid, without NaN.
    coarse_targets, coarse_lags, coarse_stopping : ndarray
        As in `xdownscale.models.dataset.TrainingArrays`.
    driver : array (k, y, x)
        Days of the coarse record on the fine grid, without NaN.
    fine : array (m, y, x)
        Fine record; NaN where missing.
    windows : ndarray of int (m, 2 w + 1)
        Rows of `driver` around each fine day; -1 where there is none.
    lags : ndarray of int (m, lags)
        Rows of `coarse` before each fine day.
    static : ndarray (s, y, x)
        Static fields.
    calendar : ndarray (m, c)
        Numbers of each fine day.
    place : ndarray (y, x, 2)
        Where fine pixels lie on the coarse grid; see `Inputs`.
    keys : ndarray of int (m,)
        Time of each fine day, in seconds.
    step : int
        Seconds from one day to the next.
    train_targets, stop_targets, tune_targets : ndarray of int
        Fine days to learn from, for early stopping, and for the temperature of the spread.
    mask : ndarray of bool (y, x)
        True where `fine` is ever valid.
    """

    coarse: Any
    coarse_targets: Rows
    coarse_lags: Rows
    coarse_stopping: NDArray[np.bool_]
    driver: Any
    fine: Any
    windows: Rows
    lags: Rows
    static: Floats
    calendar: Floats
    place: Floats
    keys: Rows
    step: int
    train_targets: Rows
    stop_targets: Rows
    tune_targets: Rows
    mask: NDArray[np.bool_]

    @property
    def known(self) -> int:
        """Channels of what is known of a day."""
        return int(self.windows.shape[1]) + len(self.static)

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the fine grid."""
        ny, nx = self.mask.shape
        return int(ny), int(nx)


class Batch(NamedTuple):
    """Crops of one or more days; the first axis counts crops, that of `coarse` days."""

    target: Tensor  # (P, 1, h, w), 0 where not valid
    valid: Tensor  # (P, 1, h, w) bool
    known: Tensor  # (P, k, h, w); the driver of the day first
    calendar: Tensor  # (P, c)
    coarse: Tensor  # (B, lags, yc, xc)
    place: Tensor  # (P, h, w, 2)
    mean: Tensor  # (P, 1, h, w); what the regression makes of the day, 0 before there is one

    @property
    def inputs(self) -> Inputs:
        """What a network is shown."""
        return Inputs(self.known, self.calendar, self.coarse, self.place)


def around(window: Floats) -> Floats:
    """Put the day itself first in a window of days (..., 2 w + 1, y, x).

    Examples
    --------
    >>> around(np.arange(3.0).reshape(3, 1, 1)).ravel()
    array([1., 0., 2.])
    """
    middle = window.shape[-3] // 2
    order = [middle, *(i for i in range(window.shape[-3]) if i != middle)]
    out: Floats = window[..., order, :, :]
    return out


def crops_of(shape: tuple[int, int], size: int) -> int:
    """Return how many crops hold about as many pixels as an image.

    Examples
    --------
    >>> crops_of((96, 128), 64), crops_of((40, 40), 64)
    (3, 1)
    """
    height, width = (min(n, size) for n in shape)
    return max(1, round(shape[0] * shape[1] / (height * width)))


class CropDays(Dataset[Batch]):
    """Item k holds random crops of day k, at corners that depend on seed, epoch and day alone.

    Parameters
    ----------
    arrays : FieldArrays
        Records.
    rows : ndarray of int
        Fine days.
    size, unit : int
        Side of a crop, where the image is that large, and what it must be a multiple of.
    seed, epoch : int
        Epoch -1 gives the same crops again and again.
    means : array (m, y, x), optional
        Regression's field of each fine day.
    """

    def __init__(
        self,
        arrays: FieldArrays,
        rows: Rows,
        size: int,
        unit: int,
        seed: int,
        epoch: int,
        means: Any = None,
    ) -> None:
        self.arrays, self.rows, self.means = arrays, rows, means
        self.seed, self.epoch = seed, epoch
        self.size = [max(unit, min(size, n) // unit * unit) for n in arrays.shape]
        self.count = crops_of(arrays.shape, size)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        arrays, row = self.arrays, int(self.rows[index])
        corners = self._corners(row)
        target = self._cut(read_rows(arrays.fine, [row]), corners)
        valid = target.isfinite() & self._cut(arrays.mask[None], corners)
        window = around(read_rows(arrays.driver, arrays.windows[row]))
        known = np.concatenate([np.nan_to_num(window), arrays.static])
        mean = torch.zeros_like(target)
        if self.means is not None:
            mean = self._cut(read_rows(self.means, [row]), corners)
        place = self._cut(np.moveaxis(arrays.place, -1, 0), corners)
        return Batch(
            torch.where(valid, target, 0),
            valid,
            self._cut(known, corners),
            torch.from_numpy(arrays.calendar[[row] * self.count]),
            torch.from_numpy(read_rows(arrays.coarse, arrays.lags[row])[None]),
            place.movedim(1, -1),
            mean,
        )

    def _corners(self, row: int) -> list[tuple[int, int]]:
        key = noise.derive(self.seed, self.epoch, row)
        generator = np.random.Generator(np.random.Philox(key))
        room = [max(1, n - s + 1) for n, s in zip(self.arrays.shape, self.size, strict=True)]
        return [(int(y), int(x)) for y, x in generator.integers(room, size=(self.count, 2))]

    def _cut(self, fields: NDArray[Any], corners: list[tuple[int, int]]) -> Tensor:
        """Cut fields (c, y, x) at some corners: (P, c, h, w)."""
        height, width = self.size
        cut = np.stack([fields[:, y : y + height, x : x + width] for y, x in corners])
        return torch.from_numpy(cut)
