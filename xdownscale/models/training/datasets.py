"""Torch datasets: coarse images for the first stage, patches or crops of fine fields.

The patches of a time step stay together, and records are read step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from xdownscale.models.diffusion import noise
from xdownscale.models.networks.channels import lagged
from xdownscale.models.networks.field_unet import Inputs
from xdownscale.models.training.data import (
    Floats,
    Rows,
    TrainingData,
    read_fine_lags,
    read_rows,
)
from xdownscale.patches.arrays import extract_array
from xdownscale.patches.layout import PatchLayout

LARGEST_COARSE = 64  # cells on a side; a larger coarse image is cropped in stage 1
Cut = Callable[[NDArray[Any]], Tensor]  # fields (c, y, x) -> pieces (P, c, h, w)
# window (steps, d, y, x), fine lags (k, t, y, x), static (s, y, x) -> channels on the fine grid,
# and the lagged fine fields for the encoder, or None where it sees the coarse record
Arrange = Callable[[Floats, Floats, Floats], tuple[Floats, Floats | None]]


class CoarseBatch(NamedTuple):
    """Coarse images of one or more time steps."""

    lags: Tensor  # (B, lags x d, yc, xc)
    target: Tensor  # (B, d, yc, xc)
    valid: Tensor  # (B, d, yc, xc) bool


class Batch(NamedTuple):
    """Pieces of fine fields of one or more time steps; the first axis counts pieces."""

    target: Tensor  # (P, t, h, w), 0 where not valid
    valid: Tensor  # (P, t, h, w) bool
    known: Tensor  # (P, k, h, w)
    calendar: Tensor  # (P, c)
    encoder: Tensor  # coarse lags (B, lags x d, yc, xc), or fine lags (P, lags, h, w)
    place: Tensor  # (P, h, w, 2)
    mean: Tensor  # (P, t, h, w); the conditional mean, 0 before there is a regression

    @property
    def inputs(self) -> Inputs:
        """Inputs of a field U-Net."""
        return Inputs(self.known, self.calendar, self.encoder, self.place)


class Cutter(Protocol):
    """Cuts fields into the pieces that a network is trained on."""

    def cut(self, row: int, epoch: int) -> Cut:
        """Return a function that cuts the fields of a time step in an epoch."""
        ...


class RandomCrops:
    """Cuts random crops, at corners that depend on seed, epoch and time step alone.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the fields.
    size, unit : int
        Side of a crop, where the image is that large, and what it must be a multiple of.
    seed : int
        Of the corners.
    """

    def __init__(self, shape: tuple[int, int], size: int, unit: int, seed: int) -> None:
        self.shape = shape
        self.seed = seed
        self.size = [max(unit, min(size, n) // unit * unit) for n in shape]
        self.count = crops_of(shape, size)

    def cut(self, row: int, epoch: int) -> Cut:
        """Return a function that cuts the crops; those of epoch -1 are for validation."""
        key = noise.derive(self.seed, epoch, row)
        generator = np.random.Generator(np.random.Philox(key))
        room = [max(1, n - s + 1) for n, s in zip(self.shape, self.size, strict=True)]
        corners = generator.integers(room, size=(self.count, 2))
        height, width = self.size

        def crop(fields: NDArray[Any]) -> Tensor:
            parts = [fields[:, y : y + height, x : x + width] for y, x in corners]
            return torch.from_numpy(np.stack(parts))

        return crop


class PatchGrid:
    """Cuts the patches of a layout that have any valid pixel, the same in every epoch.

    Parameters
    ----------
    layout : PatchLayout
        Where the patches lie.
    mask : ndarray of bool (y, x)
        Pixels that are ever valid.
    """

    def __init__(self, layout: PatchLayout, mask: NDArray[np.bool_]) -> None:
        self.layout = layout
        inside = extract_array(np.asarray(mask, dtype=bool), layout)
        self.patches = np.flatnonzero(inside.any((1, 2)))

    def cut(self, row: int, epoch: int) -> Cut:
        """Return a function that cuts fields into these patches."""
        return self._patches

    def _patches(self, fields: NDArray[Any]) -> Tensor:
        parts = extract_array(fields, self.layout, self.patches)
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(parts, 1, 0)))


def crops_of(shape: tuple[int, int], size: int) -> int:
    """Return how many crops have about as many pixels as an image.

    Examples
    --------
    >>> crops_of((96, 128), 64), crops_of((40, 40), 64)
    (3, 1)
    """
    height, width = (min(n, size) for n in shape)
    return max(1, round(shape[0] * shape[1] / (height * width)))


class FineDataset(Dataset[Batch]):
    """Pieces of fine fields and their inputs; item k is of fine time step ``rows[k]``.

    Parameters
    ----------
    data : TrainingData
        Records.
    rows : ndarray of int
        Fine time steps.
    cutter : Cutter
        Cuts fields into pieces.
    arrange : callable
        Arranges window, fine lags and static fields as channels.
    seed, epoch : int
        What the noise on lagged fields depends on, with the time step.
    means : array (m, t, y, x), optional
        Conditional mean of each fine time step.
    lag_noise : tuple of float
        Largest standard deviation of noise on fine lags, and the share of them that is dropped.
    missing_ends : tuple of float, int, int
        Share of the time steps that are seen with a shorter window, as at the ends of a record, and
        the time steps of a window before and after its own.
    """

    def __init__(
        self,
        data: TrainingData,
        rows: Rows,
        cutter: Cutter,
        arrange: Arrange,
        *,
        seed: int,
        epoch: int,
        means: Any = None,
        lag_noise: tuple[float, float] = (0.0, 0.0),
        missing_ends: tuple[float, int, int] = (0.0, 0, 0),
    ) -> None:
        self.data = data
        self.rows = rows
        self.cutter = cutter
        self.arrange = arrange
        self.seed = seed
        self.epoch = epoch
        self.means = means
        self.lag_noise = lag_noise
        self.missing_ends = missing_ends

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        data = self.data
        row = int(self.rows[index])
        cut = self.cutter.cut(row, self.epoch)
        target = cut(read_rows(data.fine, [row])[0])
        valid = target.isfinite() & cut(data.mask)
        seen, before = self._seen(row)
        window = read_rows(data.driver, seen)
        known, lags = self.arrange(window, self._fine_lags(row), data.static)
        if data.guess is not None:
            known = np.concatenate([data.guess[row], known])
        if lags is None:
            encoder = torch.from_numpy(lagged(read_rows(data.coarse, before))[None])
        else:
            encoder = cut(lags)
        mean = torch.zeros_like(target)
        if self.means is not None:
            mean = cut(read_rows(self.means, [row])[0])
        return Batch(
            torch.where(valid, target, 0),
            valid,
            cut(known),
            torch.from_numpy(data.calendar[[row] * len(target)]),
            encoder,
            cut(np.moveaxis(data.place, -1, 0)).movedim(1, -1),
            mean,
        )

    def _seen(self, row: int) -> tuple[Rows, Rows]:
        """Return the rows of `driver` and of `coarse` that a time step is seen with.

        Of a share of them the window ends at a random time step before or after its own, which
        stands in for those beyond.
        """
        data = self.data
        window = data.windows[row]
        lags = data.lags[row]
        share, before, after = self.missing_ends
        if not share or self.epoch < 0 or not data.coarse_windows.size:
            return window, lags
        generator = np.random.Generator(
            np.random.Philox(noise.derive(self.seed, self.epoch, row, 2))
        )
        if generator.random() >= share:
            return window, lags
        shifts = np.array([0, *range(-before, 0), *range(1, after + 1)])
        past = max(before, len(lags))
        # as many of the ends that a record can have on either side as there are
        end = int(generator.integers(-past, after))
        end += end >= 0  # an end is a time step that is missing: -past to -1, or 1 to after
        lost = shifts >= end if end > 0 else shifts <= end
        lost_lags = (np.arange(-len(lags), 0) <= end) & (end < 0)
        own = data.coarse_windows[row, 0]
        return np.where(lost, window[0], window), np.where(lost_lags, own, lags)

    def _fine_lags(self, row: int) -> Floats:
        """Return lagged fine fields, with noise that stands for the errors of a free run."""
        lags = read_fine_lags(self.data, row)
        if not len(lags) or not any(self.lag_noise):
            return lags
        largest, dropped = self.lag_noise
        key = noise.derive(self.seed, self.epoch, row, 1)
        generator = np.random.Generator(np.random.Philox(key))
        size = generator.uniform(0, largest, (len(lags), 1, 1, 1)).astype(np.float32)
        lags += size * generator.standard_normal(lags.shape, dtype=np.float32)
        lags[generator.random(len(lags)) < dropped] = np.nan
        return lags


class CoarseDataset(Dataset[CoarseBatch]):
    """Coarse images for the forecast; item k is a target time step with those before it.

    An image of more than 64 cells on a side is cropped, at a corner that depends on the seed,
    the epoch and the time step alone.
    """

    def __init__(
        self, data: TrainingData, chosen: NDArray[np.int64], seed: int, epoch: int
    ) -> None:
        self.data = data
        self.chosen = chosen
        self.seed = seed
        self.epoch = epoch
        shape = data.coarse.shape[-2:]
        self.size = (min(shape[0], LARGEST_COARSE), min(shape[1], LARGEST_COARSE))
        self.room = [shape[i] - self.size[i] + 1 for i in range(2)]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> CoarseBatch:
        item = int(self.chosen[index])
        rows = [*self.data.coarse_lags[item], self.data.coarse_targets[item]]
        generator = np.random.Generator(np.random.Philox(noise.derive(self.seed, self.epoch, item)))
        top, left = generator.integers(self.room)
        fields = read_rows(self.data.coarse, rows)
        window = fields[..., top : top + self.size[0], left : left + self.size[1]]
        steps = torch.from_numpy(window.copy())  # (lags + 1, d, y, x)
        images = steps.reshape(1, -1, *steps.shape[-2:])
        filled = torch.nan_to_num(images)
        last = images.shape[1] // len(steps)
        return CoarseBatch(filled[:, :-last], filled[:, -last:], images[:, -last:].isfinite())


def join(items: Sequence[Any]) -> Any:
    """Join the items of a batch along their first axis.

    Examples
    --------
    >>> item = CoarseBatch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
    >>> join([item, item]).lags.shape
    torch.Size([2, 3, 4, 4])
    """
    return type(items[0])(*(torch.cat(parts) for parts in zip(*items, strict=True)))
