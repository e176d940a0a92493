"""What is known of the days to draw, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xdownscale.config import DownscalerConfig

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FieldConditions:
    """What is known of n days, in scaled units and without NaN.

    Attributes
    ----------
    known : ndarray (n, k, y, x)
        Driver window, the targets' own drivers of the day itself first, and static fields.
    calendar : ndarray (n, c)
        Numbers of the day.
    coarse : ndarray (n, lags x drivers, yc, xc)
        Coarse record of the days before, on its own grid.
    place : ndarray (y, x, 2)
        Where fine pixels lie on the coarse grid.
    keys : ndarray of int (n,)
        Time of the days, in seconds: keys of the noise.
    members : ndarray of int (n,) or None
        Number of the realization of each, where the conditions of a day are not the same for all;
        then the realizations of the request do not count. None: all days for all realizations.
    """

    known: Floats
    calendar: Floats
    coarse: Floats
    place: Floats
    keys: NDArray[np.int64]
    members: NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True)
class FieldRequest:
    """How fields are drawn.

    Attributes
    ----------
    config : DownscalerConfig
        Its section `sampling` counts.
    realizations : tuple of int
        Numbers of the realizations.
    seed : int
        Of the noise.
    step : int
        Seconds from one day to the next.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    corner, domain : tuple of int
        Where the fields lie in a larger image, and its size.
    stitching : str
        ``"whole"``; ``"patches"``, each drawn by itself; or ``"multidiffusion"``, patches that are
        made to agree at every step.
    """

    config: DownscalerConfig
    realizations: tuple[int, ...]
    seed: int
    step: int
    device: str
    corner: tuple[int, int]
    domain: tuple[int, int]
    stitching: str = "whole"
