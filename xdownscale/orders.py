"""What a user asks to be drawn, and whether a model can do it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.config import FIELD_METHODS, DownscalerConfig
from xdownscale.constraints import CONSISTENT
from xdownscale.errors import OptionError, check_option, check_whole
from xdownscale.groups import Fitted
from xdownscale.models import engine

MODES = ("parallel", "autoregressive", "teacher_forced")
STITCHINGS = ("patches", "whole", "multidiffusion")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a user asked to be drawn.

    Attributes
    ----------
    time : Any
        Days to draw: anything that ``record.sel(time=...)`` takes; None for all that can be drawn.
    realizations : int
        Fields for each day.
    mode : str or None
        ``"parallel"``, ``"autoregressive"`` or ``"teacher_forced"``; None for the model's own.
    history : DataArray or None
        Fine record that lags are read from.
    stitching : str or None
        ``"whole"``, ``"patches"`` or ``"multidiffusion"``; None for the model's own.
    seed : int
        Seed of the noise.
    device : str
        Where the networks run.
    scrambled : bool
        Show the encoder the days before other days: what its features are worth.
    first : int
        Number of the first realization.
    runs : tuple of int arrays, or None
        Noise keys of the days to walk through one after another; None: as `Plan.runs` says.
    step : int or None
        Seconds from one day to the next; None: as the record says.
    """

    time: Any = None
    realizations: int = 1
    mode: str | None = None
    history: xr.DataArray | None = None
    stitching: str | None = None
    seed: int = 0
    device: str = "auto"
    scrambled: bool = False
    first: int = 0
    runs: tuple[npt.NDArray[np.int64], ...] | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        if self.mode is not None:
            check_option("mode", self.mode, MODES)
        if self.stitching is not None:
            check_option("stitching", self.stitching, STITCHINGS)
        check_whole("realizations", self.realizations, least=1)
        check_whole("seed", self.seed)

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of the realizations."""
        return tuple(range(self.first, self.first + self.realizations))


def is_parallel(config: DownscalerConfig) -> bool:
    """Tell whether a model draws each day for itself: it sees no fine field of another day.

    Examples
    --------
    >>> is_parallel(DownscalerConfig())
    False
    """
    return config.method in FIELD_METHODS and config.data.fine_lags == 0


def settle(fitted: Fitted, order: Order) -> Order:
    """Return the order with mode and stitching named, if the model can do what was asked.

    Parameters
    ----------
    fitted : Fitted
        The model.
    order : Order
        What was asked for.

    Raises
    ------
    OptionError
        If its method has no such mode, or draws one field only, or tiles or patches do not suit
        its network.
    """
    method = fitted.config.method
    whole, free = method in FIELD_METHODS, is_parallel(fitted.config)
    mode = order.mode or ("parallel" if free else "autoregressive")
    if free != (mode == "parallel"):
        able = "'parallel'" if free else "'autoregressive' or 'teacher_forced'"
        seen = f", which sees {fitted.config.data.fine_lags} fine lags," if whole else ","
        raise OptionError(
            f"This model's method is {method!r}{seen} and knows no mode {mode!r}; give "
            f"mode={able}, or leave it out."
        )
    alone = method == "unet" or fitted.config.sampling.sampler == "mean"
    if alone and order.realizations > 1:
        raise OptionError(
            f"realizations is {order.realizations}, but this model gives the conditional mean "
            "alone, the same each time; give realizations=1, or a model that draws (preset 'fast')."
        )
    _check_constraint(fitted)
    stitching = order.stitching or ("whole" if whole else "patches")
    if stitching == "multidiffusion" and method != "residual":
        raise OptionError(
            f"This model's method is {method!r}: there is no residual whose patches could be made "
            "to agree step by step. Give stitching='whole' or 'patches'."
        )
    if whole:
        engine.check_sampling(fitted.config, stitching)
    return replace(order, mode=mode, stitching=stitching)


def _check_constraint(fitted: Fitted) -> None:
    """Raise where fields shall be made consistent with a coarse record of other days."""
    kind = fitted.config.sampling.constraint
    if kind in CONSISTENT and fitted.about["pairing"] == "self":
        raise OptionError(
            f"The constraint {kind!r} would give coarse cells the mean of the coarse field, but "
            "this model was fitted with pairing='self': the coarse record is another simulation, "
            "and its values are mapped before anything is drawn from them. Drop the constraint, or "
            "use 'nonnegative'."
        )
