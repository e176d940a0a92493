"""The space that records are compared in: a transform by its name, or one that suits the values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xdownscale.core.errors import DataError, OptionError, check_option
from xdownscale.core.missing import finite
from xdownscale.core.normalization import TRANSFORMS, Scaling, choose_transform


def space_of(
    transform: str | Scaling | None, arrays: Iterable[Any], floor: float | None = None
) -> Scaling:
    """Return the space of a transform; under ``"auto"`` the one that suits all values.

    Parameters
    ----------
    transform : str, Scaling or None
        None is ``"identity"``.
    arrays : iterable of array
        Values that ``"auto"`` looks at: numpy or dask, which it reads once. Missing values and
        infinities are left out; where nothing is left, values stay as they are.
    floor : float, optional
        Under log10, which it asks for under ``"auto"``.

    Returns
    -------
    Scaling
        Its standardisation is not used.

    Raises
    ------
    OptionError
        For an unknown transform, or a floor that it does not use.

    Examples
    --------
    >>> import numpy as np
    >>> space_of("auto", [np.array([280.0, 285.0, 290.0])]).transform
    'identity'
    >>> space_of("auto", [np.array([0.0, 1.0])], floor=0.1).transform
    'log10'
    """
    name = transform.transform if isinstance(transform, Scaling) else transform or "identity"
    check_option("transform", name, TRANSFORMS)
    name = "log10" if name == "auto" and floor is not None else name
    if floor is not None and (isinstance(transform, Scaling) or name != "log10"):
        raise OptionError(
            f"floor={floor} means nothing with transform={name!r}; leave it out, or choose "
            "transform='log10'."
        )
    if isinstance(transform, Scaling):
        return transform
    if name != "auto":
        return Scaling(transform=name, floor=floor)
    try:
        return choose_transform([finite(array) for array in arrays])
    except DataError:  # no value at all
        return Scaling()
