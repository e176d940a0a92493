"""Positions and blending weights (tapers) of overlapping patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from xdownscale.core.errors import GridError, OptionError, check_option

Taper = NDArray[np.float64]


def _hann(centre: Taper) -> Taper:
    return np.sin(np.pi * centre) ** 2


def _triangle(centre: Taper) -> Taper:
    return 1.0 - np.abs(2.0 * centre - 1.0)


def _uniform(centre: Taper) -> Taper:
    return np.ones_like(centre)


_TAPERS: dict[str, Callable[[Taper], Taper]] = {
    "hann": _hann,
    "triangle": _triangle,
    "uniform": _uniform,
    "nearest": _uniform,  # of its own pixels: see `PatchLayout`
}


def taper(name: str, n: int) -> Taper:
    """Return the weights of `n` neighbouring pixels, greater than 0 everywhere.

    The taper is evaluated at the pixel centres, half a pixel inside its ends, where it would be
    0: ``"hann"`` is ``sin^2(pi (k + 1/2) / n)``. The usual form ``0.5 (1 - cos(2 pi k / (n - 1)))``
    is 0 on its outermost pixels, where an image border has no other patch.

    Parameters
    ----------
    name : {"hann", "triangle", "uniform", "nearest"}
        The shape. For even `n`, hann and triangle sum to one at 50 % overlap; uniform sums to
        one without overlap. ``"nearest"`` is uniform here.
    n : int
        Number of pixels.

    Returns
    -------
    ndarray of float64, shape (n,)
        Weights in (0, 1], symmetric.

    Raises
    ------
    OptionError
        For an unknown name (names the nearest valid one) or `n` below 1.

    Examples
    --------
    >>> taper("hann", 4).round(3)
    array([0.146, 0.854, 0.854, 0.146])
    >>> taper("triangle", 4)
    array([0.25, 0.75, 0.75, 0.25])
    """
    check_option("taper", name, _TAPERS)
    if n < 1:
        raise OptionError(f"A taper of {n} pixels was asked for; give at least 1.")
    return _TAPERS[name]((np.arange(n) + 0.5) / n)


def _nearest(corners: NDArray[np.intp], size: int, n: int) -> NDArray[np.intp]:
    """Return the number of the patch with the nearest centre, of each of n pixels along an axis.

    Examples
    --------
    >>> _nearest(np.array([0, 2, 5]), 3, 8)
    array([0, 0, 0, 1, 1, 2, 2, 2])
    """
    twice = 2 * corners + size - 1  # twice the centres: whole numbers, so that a tie is a tie
    out: NDArray[np.intp] = np.abs(2 * np.arange(n)[:, None] - twice).argmin(1)
    return out


@dataclass(frozen=True)
class PatchLayout:
    """Positions of the patches of an image, and the weights of their pixels.

    Corners are at 0, stride, 2 stride ... along each axis, and one more patch lies flush with
    the far edge where the stride does not reach it: every pixel is covered. On its inner
    sides a patch loses `halo` pixels when patches are stitched; on sides that lie on the
    image border it keeps them. What is left is the core. The weights are the outer product of
    the taper over the core's rows and columns, divided by their sum over all patches.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns ``(ny, nx)`` of the image.
    size : int
        Rows and columns of a patch, its halo included.
    stride : int
        Pixels from one patch to the next.
    halo : int
        Pixels discarded on each inner side of a patch.
    taper : {"hann", "triangle", "uniform", "nearest"}
        Weights over the core, see `xdownscale.patches.layout.taper`. ``"nearest"``: a pixel comes
        from the patch whose centre is nearest along each axis, the first of two, alone.

    Raises
    ------
    GridError
        If a patch is larger than the image, the halo leaves no core, or the stride leaves gaps.
    OptionError
        For a size or stride below 1, a negative halo or an unknown taper.

    Notes
    -----
    arXiv 2512.05139, section 2.4, with a taper that is never 0 (its window leaves the outermost
    frame of the image without weight).

    Examples
    --------
    >>> layout = PatchLayout(shape=(20, 16), size=16, stride=8, halo=0)
    >>> layout.positions
    array([[0, 0],
           [4, 0]])
    >>> layout.n_patches
    2
    """

    shape: tuple[int, int]
    size: int = 16
    stride: int = 2
    halo: int = 4
    taper: str = "hann"

    def __post_init__(self) -> None:
        if not isinstance(self.shape, Sequence) or len(self.shape) != 2:
            raise OptionError(f"shape is {self.shape}; give the image's two sizes, (ny, nx).")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        whole = all(isinstance(n, Integral) for n in (self.size, self.stride, self.halo))
        if not whole or min(self.size, self.stride) < 1 or self.halo < 0:
            raise OptionError(
                f"size {self.size}, stride {self.stride} and halo {self.halo} were given; give "
                "whole numbers, size and stride must be 1 or more, halo 0 or more."
            )
        taper(self.taper, 1)
        self._check_fit()

    def _check_fit(self) -> None:
        if self.size > min(self.shape):
            raise GridError(
                f"Found a patch larger than the image: size {self.size}, image {self.shape}. Give "
                f"a size of at most {min(self.shape)}."
            )
        core = self.size - 2 * self.halo
        if core < 1:
            raise GridError(
                f"A halo of {self.halo} leaves nothing of a patch of {self.size} pixels; give a "
                f"halo of at most {(self.size - 1) // 2}."
            )
        if self.stride > core:
            raise GridError(
                f"A stride of {self.stride} leaves gaps between patches of size {self.size} with "
                f"halo {self.halo}; the largest stride allowed is {core}."
            )

    @cached_property
    def corners(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """First pixels of the patches along y, and along x."""
        ny, nx = self.shape
        return self._axis_corners(ny), self._axis_corners(nx)

    def _axis_corners(self, n: int) -> NDArray[np.intp]:
        last = n - self.size
        corners = np.arange(0, last + 1, self.stride, dtype=np.intp)
        return corners if corners[-1] == last else np.append(corners, last)

    @cached_property
    def positions(self) -> NDArray[np.intp]:
        """Row and column of each patch's first pixel, shape (n_patches, 2); x runs fastest."""
        y, x = np.meshgrid(*self.corners, indexing="ij")
        positions = np.stack([y.ravel(), x.ravel()], axis=1)
        positions.flags.writeable = False
        return positions

    @property
    def n_patches(self) -> int:
        """Number of patches."""
        rows, columns = self.corners
        return len(rows) * len(columns)

    @cached_property
    def cores(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """First pixel and stop of each core within its patch, along y, and along x."""
        parts = []
        for n, corners in zip(self.shape, self.corners, strict=True):
            first = np.where(corners == 0, 0, self.halo)
            stop = np.where(corners == n - self.size, self.size, self.size - self.halo)
            parts.append(np.stack([first, stop], axis=1))
        return parts[0], parts[1]

    @cached_property
    def _axis_weights(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights along y (patches, size) and along x, not normalised."""
        parts = []
        for cores, corners, n in zip(self.cores, self.corners, self.shape, strict=True):
            weights = np.zeros((len(cores), self.size))
            for row, (first, stop) in zip(weights, cores.tolist(), strict=True):
                row[first:stop] = taper(self.taper, stop - first)
            if self.taper == "nearest":
                owner = _nearest(corners, self.size, n)
                weights *= (
                    owner[corners[:, None] + np.arange(self.size)]
                    == np.arange(len(corners))[:, None]
                )
            parts.append(weights)
        return parts[0], parts[1]

    @cached_property
    def _axis_sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sum of the weights at each row and at each column of the image."""
        return self._sum(0), self._sum(1)

    def _sum(self, axis: int) -> NDArray[np.float64]:
        total = np.zeros(self.shape[axis])
        for corner, weights in zip(self.corners[axis], self._axis_weights[axis], strict=True):
            total[corner : corner + self.size] += weights
        return total

    @property
    def weight_sum(self) -> NDArray[np.float64]:
        """Sum of all patches' tapers at each pixel, shape (ny, nx); greater than 0."""
        return np.outer(*self._axis_sums)

    @cached_property
    def _shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights along y and along x, divided by their sums over all patches."""
        parts = []
        axes = zip(self.corners, self._axis_weights, self._axis_sums, strict=True)
        for corners, weights, total in axes:
            parts.append(weights / sliding_window_view(total, self.size)[corners])
        return parts[0], parts[1]

    def weights(self, patches: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the weights of patches, normalised to sum to one over all patches.

        Parameters
        ----------
        patches : array of int, optional
            Numbers of the patches; all of them by default.

        Returns
        -------
        ndarray, shape (patches, size, size)
            0 in the halo.

        Examples
        --------
        >>> PatchLayout(shape=(2, 3), size=2, stride=1, halo=0, taper="uniform").weights()[0]
        array([[1. , 0.5],
               [1. , 0.5]])
        """
        row, column = self.rows_columns(patches)
        along_y, along_x = self._shares
        return along_y[row][:, :, None] * along_x[column][:, None, :]

    def rows_columns(self, patches: ArrayLike | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the row and column of patches in the lattice of patches."""
        numbers = np.arange(self.n_patches) if patches is None else np.asarray(patches, np.intp)
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self.n_patches):
            raise GridError(
                f"Patches {numbers.min()} to {numbers.max()} were asked for; this layout has the "
                f"patches 0 to {self.n_patches - 1}."
            )
        row, column = np.divmod(numbers.ravel(), len(self.corners[1]))
        return row, column
