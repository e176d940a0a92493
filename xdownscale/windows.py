"""Tapers: the weights with which overlapping patches are blended."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xdownscale.errors import OptionError, check_option

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
}


def taper(name: str, n: int) -> Taper:
    """Return the weights of `n` neighbouring pixels, greater than 0 everywhere.

    The taper is evaluated at the pixel centres, half a pixel inside its ends, where it would be
    0: ``"hann"`` is ``sin^2(pi (k + 1/2) / n)``. The usual form ``0.5 (1 - cos(2 pi k / (n - 1)))``
    is 0 on its outermost pixels, and an image border has no other patch to make up for it.

    Parameters
    ----------
    name : {"hann", "triangle", "uniform"}
        The shape. For even `n`, hann and triangle sum to one at 50 % overlap; uniform sums to
        one without overlap.
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
