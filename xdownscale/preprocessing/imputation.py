"""Fill missing values of network inputs from the nearest cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]


def fill_gaps(fields: Array) -> Array:
    """Fill missing values from the nearest cell of the same time step, for network inputs only.

    Parameters
    ----------
    fields : (n, y, x) array
        Fields with gaps: NaN or infinite.

    Returns
    -------
    (n, y, x) array
        Without NaN, except fields that have no value at all.

    Examples
    --------
    >>> import numpy as np
    >>> fill_gaps(np.array([[[1.0, np.nan, np.nan, 4.0]]]))
    array([[[1., 1., 4., 4.]]])
    """
    holes = ~np.isfinite(fields)
    if not holes.any():
        return fields
    partial = np.flatnonzero(holes.any(axis=(1, 2)) & ~holes.all(axis=(1, 2)))
    filled = np.where(holes, np.nan, fields)
    for step in partial:
        nearest = ndimage.distance_transform_edt(
            holes[step], return_distances=False, return_indices=True
        )
        filled[step] = fields[step][tuple(nearest)]
    return filled
