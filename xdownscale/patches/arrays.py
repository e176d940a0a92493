"""Extract patches from arrays, and stitch patches to images (arrays only, no labels)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, DTypeLike, NDArray

from xdownscale.core.errors import DataError, GridError
from xdownscale.patches.layout import PatchLayout

_BATCH = 1024  # patches weighted at a time; bounds the memory of `Stitcher.add`


def extract_array(
    array: NDArray[Any], layout: PatchLayout, patches: ArrayLike | None = None
) -> NDArray[Any]:
    """Extract patches from an array.

    Parameters
    ----------
    array : ndarray, shape (..., ny, nx)
        The images.
    layout : PatchLayout
        Positions of the patches.
    patches : array of int, optional
        Numbers of the patches wanted; all of them by default.

    Returns
    -------
    ndarray, shape (..., patches, size, size)
        A copy.

    Raises
    ------
    GridError
        If the images have another shape than the layout, or a patch does not exist.

    Examples
    --------
    >>> layout = PatchLayout(shape=(2, 3), size=2, stride=1, halo=0)
    >>> extract_array(np.arange(6).reshape(2, 3), layout)[1]
    array([[1, 2],
           [4, 5]])
    """
    check_shape(array.shape[-2:], layout)
    row, column = layout.rows_columns(patches)
    windows = sliding_window_view(array, (layout.size, layout.size), axis=(-2, -1))
    corner_y, corner_x = layout.corners
    cut: NDArray[Any] = windows[..., corner_y[row], corner_x[column], :, :]
    return cut


class Stitcher:
    """Add patches to images, in any order and any number at a time.

    It holds one image in float64 whatever the number of patches, because the patches' weights
    are divided by their sum before they are added.

    Parameters
    ----------
    layout : PatchLayout
        Positions of the patches.
    leading_shape : tuple of int
        Shape of the axes in front of the patches.
    dtype : dtype
        Floating-point type of the result.

    Examples
    --------
    >>> layout = PatchLayout(shape=(4, 6), size=4, stride=2, halo=1)
    >>> stitcher = Stitcher(layout, (), np.float32)
    >>> stitcher.add([1], np.ones((1, 4, 4)))
    >>> stitcher.add([0], np.ones((1, 4, 4)))
    >>> stitcher.result().shape
    (4, 6)
    """

    def __init__(
        self,
        layout: PatchLayout,
        leading_shape: tuple[int, ...] = (),
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.layout = layout
        self.dtype = np.dtype(dtype)
        self._sum = np.zeros((*leading_shape, *layout.shape))
        self._seen = np.zeros(layout.n_patches, dtype=bool)

    def add(self, patches: ArrayLike, values: NDArray[Any]) -> None:
        """Add some patches.

        Parameters
        ----------
        patches : array of int, shape (n,)
            Numbers of the patches.
        values : ndarray, shape (..., n, size, size)
            Their pixels. Values in the halo are not used.

        Raises
        ------
        GridError
            For another shape, a patch that does not exist, or one that was added before.
        """
        numbers = np.asarray(patches, np.intp).ravel()
        size = self.layout.size
        wanted = (*self._sum.shape[:-2], len(numbers), size, size)
        if values.shape != wanted:
            raise GridError(
                f"Patches of shape {values.shape} were given; {len(numbers)} patches of this "
                f"layout have the shape {wanted}."
            )
        self.layout.rows_columns(numbers)
        again = numbers[self._seen[numbers]].tolist() or _repeated(numbers)
        if again:
            raise GridError(f"Patch {again[0]} was added twice; add each patch once.")
        self._seen[numbers] = True
        for start in range(0, len(numbers), _BATCH):
            self._add(numbers[start : start + _BATCH], values[..., start : start + _BATCH, :, :])

    def _add(self, numbers: NDArray[np.intp], values: NDArray[Any]) -> None:
        row, column = self.layout.rows_columns(numbers)
        weighted = self.layout.weights(numbers) * values
        cores_y, cores_x = self.layout.cores
        bounds = np.hstack([self.layout.positions[numbers], cores_y[row], cores_x[column]])
        # only cores are added, not halos times 0: a NaN in a halo must not spread
        for k, (y, x, top, bottom, left, right) in enumerate(bounds.tolist()):
            target = self._sum[..., y + top : y + bottom, x + left : x + right]
            target += weighted[..., k, top:bottom, left:right]

    def result(self) -> NDArray[Any]:
        """Return the images, shape (..., ny, nx).

        Raises
        ------
        GridError
            If patches are missing.
        """
        missing = np.flatnonzero(~self._seen)
        if missing.size:
            raise GridError(
                f"{missing.size} of {self.layout.n_patches} patches were not added (the first is "
                f"patch {missing[0]}); add every patch once."
            )
        return self._sum.astype(self.dtype)


def stitch_array(
    values: NDArray[Any], layout: PatchLayout, patches: ArrayLike | None = None
) -> NDArray[Any]:
    """Stitch patches to images.

    Parameters
    ----------
    values : ndarray, shape (..., patches, size, size)
        The patches.
    layout : PatchLayout
        Their positions.
    patches : array of int, optional
        Their numbers, where they are not in the layout's order.

    Returns
    -------
    ndarray, shape (..., ny, nx)
        Floats keep their type, other numbers become float64.

    Raises
    ------
    GridError
        If the shape is another, or a patch is missing or there twice.

    Examples
    --------
    >>> layout = PatchLayout(shape=(5, 4), size=3, stride=1, halo=1)
    >>> image = np.arange(20.0).reshape(5, 4)
    >>> bool(np.allclose(stitch_array(extract_array(image, layout), layout), image))
    True
    """
    numbers = np.arange(layout.n_patches) if patches is None else patches
    stitcher = Stitcher(layout, values.shape[:-3], stitched_dtype(values.dtype))
    stitcher.add(numbers, values)
    return stitcher.result()


def check_shape(shape: tuple[int, ...], layout: PatchLayout) -> None:
    """Raise `GridError` unless a field has the rows and columns that the layout is for."""
    if tuple(shape) != layout.shape:
        raise GridError(
            f"The field has {shape} rows and columns, the layout is for {layout.shape}; make the "
            f"layout with shape={tuple(shape)}."
        )


def _repeated(numbers: NDArray[np.intp]) -> list[int]:
    values, counts = np.unique(numbers, return_counts=True)
    return [int(n) for n in values[counts > 1]]


def stitched_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of stitched patches: that of the patches if floating, else float64."""
    if dtype.kind not in "fiub":
        raise DataError(
            f"Patches of type {dtype} cannot be averaged; give real numbers, best floats."
        )
    return dtype if dtype.kind == "f" else np.dtype(np.float64)
