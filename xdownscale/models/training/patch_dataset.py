"""Days as batches of tensors. A day's patches stay together and days are read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from xdownscale.models.diffusion import noise
from xdownscale.patches.arrays import extract_array
from xdownscale.patches.layout import PatchLayout

Floats = NDArray[np.float32]
LARGEST_COARSE = 64  # cells on a side; a larger coarse image is cropped in stage 1


class CoarseLesson(Protocol):
    """What the first stage learns from: attributes of `TrainingArrays`."""

    @property
    def coarse(self) -> Any: ...  # noqa: D102
    @property
    def coarse_targets(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def coarse_lags(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def coarse_stopping(self) -> NDArray[np.bool_]: ...  # noqa: D102


class FineLesson(CoarseLesson, Protocol):
    """What the second stage learns from, whatever its networks: attributes of `TrainingArrays`."""

    @property
    def driver(self) -> Any: ...  # noqa: D102
    @property
    def fine(self) -> Any: ...  # noqa: D102
    @property
    def static(self) -> Any: ...  # noqa: D102
    @property
    def train_targets(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def stop_targets(self) -> NDArray[np.int64]: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class TrainingArrays:
    """Everything that training reads, in scaled units. Arrays may be numpy or dask.

    Lag axes run from the oldest day to the day before the target.

    Attributes
    ----------
    coarse : array (n_coarse, yc, xc)
        Coarse record on its own grid; NaN where missing.
    coarse_targets : ndarray of int (m,)
        Rows of `coarse` that stage 1 forecasts.
    coarse_lags : ndarray of int (m, lags)
        Rows of the days before them.
    coarse_stopping : ndarray of bool (m,)
        Targets that are held out for early stopping of stage 1.
    driver : array (n, y, x)
        Coarse record on the fine grid.
    fine : array (n, y, x)
        Fine record, rows as in `driver`; NaN where missing.
    static : ndarray (s, y, x)
        Static fields: elevation, latitude, longitude.
    calendar : ndarray (n, c)
        Calendar numbers of every row.
    train_targets, stop_targets : ndarray of int (k,)
        Rows that stage 2 learns from, and rows for its early stopping.
    train_lags, stop_lags : ndarray of int (k, lags)
        Rows of the days before them.
    mask : ndarray of bool (y, x)
        True where `fine` is ever valid.
    """

    coarse: Any
    coarse_targets: NDArray[np.int64]
    coarse_lags: NDArray[np.int64]
    coarse_stopping: NDArray[np.bool_]
    driver: Any
    fine: Any
    static: Floats
    calendar: Floats
    train_targets: NDArray[np.int64]
    train_lags: NDArray[np.int64]
    stop_targets: NDArray[np.int64]
    stop_lags: NDArray[np.int64]
    mask: NDArray[np.bool_]


class Patches(NamedTuple):
    """Patches of one or more days; the first axis counts patches."""

    target: Tensor  # (P, 1, h, w), 0 where not valid
    valid: Tensor  # (P, 1, h, w) bool
    driver: Tensor  # (P, 1, h, w)
    coarse_lags: Tensor  # (P, lags, h, w)
    fine_lags: Tensor  # (P, lags, h, w)
    constant: Tensor  # (P, static + calendar, h, w)


class CoarseDay(NamedTuple):
    """Coarse images of one or more days."""

    lags: Tensor  # (B, lags, yc, xc)
    target: Tensor  # (B, 1, yc, xc)
    valid: Tensor  # (B, 1, yc, xc) bool


def read_rows(array: Any, rows: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Return some rows of a numpy, dask or file-backed array, read one by one.

    Parameters
    ----------
    array : array-like, (n, ...)
        Anything with ``__getitem__`` that numpy can convert.
    rows : sequence of int
        Rows to read.

    Returns
    -------
    ndarray of float32, (len(rows), ...)

    Examples
    --------
    >>> read_rows(np.arange(6.0).reshape(3, 2), [2, 0])
    array([[4., 5.],
           [0., 1.]], dtype=float32)
    """
    return np.stack([np.asarray(array[int(row)], dtype=np.float32) for row in rows])


def fill_inputs(
    driver: Floats, coarse_lags: Floats, fine_lags: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return the inputs of a network without NaN.

    A missing fine pixel takes the interpolated coarse value of its own day, the best that is
    known of it; what is still missing takes 0, the middle of the scaled range.

    Parameters
    ----------
    driver : ndarray, (...)
        Driver of the target day.
    coarse_lags, fine_lags : ndarray, equal shapes
        Coarse (on the fine grid) and fine fields of the same days.

    Returns
    -------
    tuple of ndarray
        The three, filled.

    Examples
    --------
    >>> missing = np.array([np.nan, np.nan])
    >>> fill_inputs(np.zeros(1), np.array([2.0, np.nan]), missing)[2]
    array([2., 0.])
    """
    coarse = np.where(np.isnan(coarse_lags), np.float32(0), coarse_lags)
    fine = np.where(np.isnan(fine_lags), coarse, fine_lags)
    return np.where(np.isnan(driver), np.float32(0), driver), coarse, fine


def epoch_batches(count: int, size: int, *keys: int) -> list[list[int]]:
    """Return the batches of an epoch: all items in an order that depends on the keys alone.

    Parameters
    ----------
    count, size : int
        Number of items, and items in a batch.
    *keys : int
        Seed, stage, epoch.

    Returns
    -------
    list of list of int

    Examples
    --------
    >>> sorted(sum(epoch_batches(5, 2, 0, 1, 7), []))
    [0, 1, 2, 3, 4]
    """
    order = np.random.Generator(np.random.Philox(noise.derive(*keys))).permutation(count)
    return [order[i : i + size].tolist() for i in range(0, count, size)]


def bounded_batches(
    count: int, size: int, most: int | None, seed: int, stage: int, epoch: int
) -> list[list[int]]:
    """Return the batches of an epoch that has at most so many, going on where the last one stopped.

    Parameters
    ----------
    count, size : int
        Number of items, and items in a batch.
    most : int or None
        None, or as many as there are: `epoch_batches`, all items in every epoch.
    seed, stage, epoch : int
        What the order depends on.

    Returns
    -------
    list of list of int

    Examples
    --------
    >>> walk = [batch for epoch in range(3) for batch in bounded_batches(6, 1, 2, 0, 1, epoch)]
    >>> sorted(sum(walk, []))
    [0, 1, 2, 3, 4, 5]
    """
    whole = -(-count // size)
    if most is None or most >= whole:
        return epoch_batches(count, size, seed, stage, epoch)
    turns, places = np.divmod(np.arange(epoch * most, (epoch + 1) * most), whole)
    orders = {int(t): epoch_batches(count, size, seed, stage, int(t)) for t in np.unique(turns)}
    return [orders[int(turn)][int(place)] for turn, place in zip(turns, places, strict=True)]


def even_batches(count: int, size: int, most: int | None) -> list[list[int]]:
    """Return batches of held-out items in their order; of many at most so many, evenly spread.

    Examples
    --------
    >>> even_batches(5, 2, None), even_batches(100, 2, 2)
    ([[0, 1], [2, 3], [4]], [[0, 33], [66, 99]])
    """
    items = np.arange(count)
    if most is not None and count > most * size:
        items = np.linspace(0, count - 1, most * size).astype(int)
    return [items[i : i + size].tolist() for i in range(0, len(items), size)]


def is_read_ahead(arrays: Any) -> bool:
    """Tell whether a record is read day by day, so that reading ahead pays.

    Examples
    --------
    >>> is_read_ahead(None)
    False
    """
    parts = (getattr(arrays, name, None) for name in ("coarse", "driver", "fine"))
    return any(part is not None and not isinstance(part, np.ndarray) for part in parts)


class DayPatches(Dataset[Patches]):
    """Stage 2: item k holds every patch of target day k.

    Patches without any cell that is ever valid are left out.
    """

    def __init__(
        self,
        arrays: TrainingArrays,
        targets: NDArray[np.int64],
        lags: NDArray[np.int64],
        layout: PatchLayout,
    ) -> None:
        self.arrays, self.targets, self.lags = arrays, targets, lags
        self.layout = layout
        inside = extract_array(np.asarray(arrays.mask, dtype=bool), layout)
        self.patches = np.flatnonzero(inside.any((1, 2)))
        self.mask = self._cut(np.asarray(arrays.mask, dtype=bool)[None])
        self.static = self._cut(np.nan_to_num(np.asarray(arrays.static, dtype=np.float32)))

    def _cut(self, fields: NDArray[Any]) -> Tensor:
        """Cut fields (c, y, x) into patches (P, c, h, w)."""
        cut = extract_array(fields, self.layout, self.patches)
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(cut, 1, 0)))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Patches:
        arrays, row, lags = self.arrays, [int(self.targets[index])], self.lags[index]
        driver, coarse_lags, fine_lags = fill_inputs(
            read_rows(arrays.driver, row),
            read_rows(arrays.driver, lags),
            read_rows(arrays.fine, lags),
        )
        target = self._cut(read_rows(arrays.fine, row))
        valid = target.isfinite() & self.mask
        calendar = torch.from_numpy(read_rows(arrays.calendar, row))[..., None, None]
        spread = calendar.expand(len(target), -1, *target.shape[-2:])
        return Patches(
            torch.where(valid, target, 0),
            valid,
            self._cut(driver),
            self._cut(coarse_lags),
            self._cut(fine_lags),
            torch.cat([self.static, spread], 1),
        )


class CoarseDays(Dataset[CoarseDay]):
    """Stage 1: item k is target day k of the coarse record with the days before it.

    An image of more than 64 cells on a side is cropped, at a corner that depends on the seed,
    the epoch and the day alone.
    """

    def __init__(
        self, arrays: CoarseLesson, chosen: NDArray[np.int64], seed: int, epoch: int
    ) -> None:
        self.arrays, self.chosen, self.seed, self.epoch = arrays, chosen, seed, epoch
        shape = arrays.coarse.shape[-2:]
        self.size = (min(shape[0], LARGEST_COARSE), min(shape[1], LARGEST_COARSE))
        self.room = [shape[i] - self.size[i] + 1 for i in range(2)]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> CoarseDay:
        item = int(self.chosen[index])
        rows = [*self.arrays.coarse_lags[item], self.arrays.coarse_targets[item]]
        generator = np.random.Generator(np.random.Philox(noise.derive(self.seed, self.epoch, item)))
        top, left = generator.integers(self.room)
        fields = read_rows(self.arrays.coarse, rows)
        window = fields[..., top : top + self.size[0], left : left + self.size[1]]
        days = torch.from_numpy(window.copy())  # (lags + 1, y, x), or one of each variable
        images = days.reshape(1, -1, *days.shape[-2:])
        filled, last = torch.nan_to_num(images), images.shape[1] // len(days)
        return CoarseDay(filled[:, :-last], filled[:, -last:], images[:, -last:].isfinite())


def join(days: Sequence[Any]) -> Any:
    """Return the days of a batch as one, joined along their first axis.

    Examples
    --------
    >>> day = CoarseDay(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
    >>> join([day, day]).lags.shape
    torch.Size([2, 3, 4, 4])
    """
    return type(days[0])(*(torch.cat(parts) for parts in zip(*days, strict=True)))
