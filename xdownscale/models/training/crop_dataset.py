"""Days as random crops, with the window of coarse days around each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from xdownscale.models.diffusion import noise
from xdownscale.models.networks.field_unet import Channels, Inputs
from xdownscale.models.training.patch_dataset import read_rows

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FieldArrays:
    """Everything that training reads, in scaled units. Arrays may be numpy or read on demand.

    Attributes
    ----------
    coarse : array (n, d, yc, xc)
        Coarse record of d drivers on its own grid, without NaN.
    coarse_targets, coarse_lags, coarse_stopping : ndarray
        As in `xdownscale.models.training.patch_dataset.TrainingArrays`.
    driver : array (k, d, y, x)
        Days of the coarse record on the fine grid, without NaN.
    own : tuple of int
        For each target its own driver, which the network corrects; -1 where it has none.
    fine : array (m, t, y, x)
        Fine record of t targets; NaN where missing.
    windows : ndarray of int (m, days)
        Rows of `driver` of each fine day, and of the days around it; -1 where there is none.
    lags : ndarray of int (m, lags)
        Rows of `coarse` before each fine day.
    fine_lags : ndarray of int (m, k)
        Rows of `fine` before each fine day, the latest last; -1 where there is none.
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
    mask : ndarray of bool (t, y, x)
        True where `fine` is ever valid.
    """

    coarse: Any
    coarse_targets: Rows
    coarse_lags: Rows
    coarse_stopping: NDArray[np.bool_]
    driver: Any
    own: tuple[int, ...]
    fine: Any
    windows: Rows
    lags: Rows
    fine_lags: Rows
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
    def sizes(self) -> Channels:
        """Numbers of channels."""
        drivers, days = int(self.driver.shape[1]), int(self.windows.shape[1])
        return Channels(
            lags=int(self.lags.shape[1]) * drivers,
            known=known_channels(days, drivers, self.own, self.fine_lags.shape[1])
            + len(self.static),
            calendar=int(self.calendar.shape[1]),
            targets=len(self.own),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the fine grid."""
        ny, nx = self.mask.shape[-2:]
        return int(ny), int(nx)


class Batch(NamedTuple):
    """Crops of one or more days; the first axis counts crops, that of `coarse` days."""

    target: Tensor  # (P, t, h, w), 0 where not valid
    valid: Tensor  # (P, t, h, w) bool
    known: Tensor  # (P, k, h, w); the targets' own drivers of the day first
    calendar: Tensor  # (P, c)
    coarse: Tensor  # (B, lags x drivers, yc, xc)
    place: Tensor  # (P, h, w, 2)
    mean: Tensor  # (P, t, h, w); what the regression makes of the day, 0 before there is one

    @property
    def inputs(self) -> Inputs:
        """What a network is shown."""
        return Inputs(self.known, self.calendar, self.coarse, self.place)


def around(window: Floats, own: tuple[int, ...] = (0,)) -> Floats:
    """Return a window of days (..., n, d, y, x), the day itself first, as channels (..., k, y, x).

    The targets' own drivers of the day itself come first, 0 for a target that has none; then all
    that is left, in order.

    Examples
    --------
    >>> around(np.arange(3.0).reshape(3, 1, 1, 1)).ravel()
    array([0., 1., 2.])
    >>> around(np.arange(6.0).reshape(3, 2, 1, 1), own=(1, -1)).ravel()
    array([1., 0., 0., 2., 3., 4., 5.])
    """
    days, drivers = window.shape[-4:-2]
    flat = window.reshape(*window.shape[:-4], days * drivers, *window.shape[-2:])
    first = [d for d in own if d >= 0]
    rest = [k for k in range(days * drivers) if k not in first]
    chosen = flat[..., [*first, *rest], :, :]
    if -1 not in own:
        return np.asarray(chosen, window.dtype)
    shape = (*chosen.shape[:-3], known_channels(days, drivers, own), *chosen.shape[-2:])
    out = np.zeros(shape, window.dtype)
    known = [place for place, d in enumerate(own) if d >= 0]
    out[..., [*known, *range(len(own), shape[-3])], :, :] = chosen
    return out


def known_channels(days: int, drivers: int, own: tuple[int, ...], fine_lags: int = 0) -> int:
    """Return how many channels `around` and `fine_channels` give.

    Examples
    --------
    >>> known_channels(5, 1, (0,)), known_channels(5, 2, (1, -1)), known_channels(5, 1, (0,), 2)
    (5, 11, 7)
    """
    return days * drivers + sum(d < 0 for d in own) + fine_lags * len(own)


def fine_channels(lags: Floats, stand_in: Floats) -> Floats:
    """Return fine fields of days before (..., k, t, y, x) as channels (..., k x t, y, x).

    Parameters
    ----------
    lags : ndarray (..., k, t, y, x)
        NaN where there is no field, or none at a pixel.
    stand_in : ndarray (..., t, y, x)
        What stands there: the targets' own drivers of the day itself.

    Examples
    --------
    >>> fine_channels(np.array([[[[1.0, np.nan]]]]), np.array([[[5.0, 6.0]]])).tolist()
    [[[1.0, 6.0]]]
    """
    filled = np.where(np.isnan(lags), stand_in[..., None, :, :, :], lags)
    return np.asarray(filled.reshape(*lags.shape[:-4], -1, *lags.shape[-2:]), np.float32)


def fine_before(arrays: FieldArrays, row: int) -> Floats:
    """Return the fine fields of the days before a day (k, t, y, x); NaN where there is none."""
    rows = arrays.fine_lags[row]
    out = np.full((len(rows), *arrays.mask.shape), np.nan, np.float32)
    there = np.flatnonzero(rows >= 0)
    if there.size:
        out[there] = np.where(arrays.mask, read_rows(arrays.fine, rows[there]), np.nan)
    return out


def lagged(days: Floats) -> Floats:
    """Return days (..., lags, d, yc, xc) as channels (..., lags x d, yc, xc)."""
    return days.reshape(*days.shape[:-4], -1, *days.shape[-2:])


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
    means : array (m, t, y, x), optional
        Regression's field of each fine day.
    spoil : tuple of float
        Largest standard deviation of noise on fine lags, and the share of them that is dropped.
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
        spoil: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.arrays, self.rows, self.means, self.spoil = arrays, rows, means, spoil
        self.seed, self.epoch = seed, epoch
        self.size = [max(unit, min(size, n) // unit * unit) for n in arrays.shape]
        self.count = crops_of(arrays.shape, size)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        arrays, row = self.arrays, int(self.rows[index])
        corners = self._corners(row)
        target = self._cut(read_rows(arrays.fine, [row])[0], corners)
        valid = target.isfinite() & self._cut(arrays.mask, corners)
        window = around(read_rows(arrays.driver, arrays.windows[row]), arrays.own)
        window = np.nan_to_num(window)
        spoilt = self._spoilt(row)
        lags = fine_channels(spoilt, window[: len(arrays.own)])
        known = np.concatenate([window, lags, arrays.static])
        mean = torch.zeros_like(target)
        if self.means is not None:
            mean = self._cut(read_rows(self.means, [row])[0], corners)
        place = self._cut(np.moveaxis(arrays.place, -1, 0), corners)
        return Batch(
            torch.where(valid, target, 0),
            valid,
            self._cut(known, corners),
            torch.from_numpy(arrays.calendar[[row] * self.count]),
            torch.from_numpy(lagged(read_rows(arrays.coarse, arrays.lags[row]))[None]),
            place.movedim(1, -1),
            mean,
        )

    def _spoilt(self, row: int) -> Floats:
        """Fine fields of the days before, less good than they are: what a run of its own sees."""
        lags = fine_before(self.arrays, row)
        if not len(lags):
            return lags
        key = noise.derive(self.seed, self.epoch, row, 1)
        generator = np.random.Generator(np.random.Philox(key))
        size = generator.uniform(0, self.spoil[0], (len(lags), 1, 1, 1)).astype(np.float32)
        lags += size * generator.standard_normal(lags.shape, dtype=np.float32)
        lags[generator.random(len(lags)) < self.spoil[1]] = np.nan
        return lags

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
