"""Fill missing values of the inputs; where values are missing is told by `core.missing`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]


def fill_gaps(fields: Array) -> Array:
    """Fill missing values from the nearest cell of the same day, for the network's input only.

    Parameters
    ----------
    fields : (n, y, x) array
        Days with gaps: NaN or infinite.

    Returns
    -------
    (n, y, x) array
        Without NaN, except days that have no value at all.

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
    for day in partial:
        nearest = ndimage.distance_transform_edt(
            holes[day], return_distances=False, return_indices=True
        )
        filled[day] = fields[day][tuple(nearest)]
    return filled
