"""Noise schedule of a diffusion chain, and the algebra of one step.

Everything is written with alpha_bar, the share of the signal's variance that is left:
``x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) e``, e ~ N(0, 1)   (Ho et al. 2020, eq. 4).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.core.errors import OptionError


class Schedule(NamedTuple):
    """Noise schedule: the share of the signal that is left at every step of the chain.

    Attributes
    ----------
    alpha_bar : ndarray of float64, (steps,)
        Falls from nearly 1 to nearly 0.
    """

    alpha_bar: NDArray[np.float64]

    @property
    def steps(self) -> int:
        """Steps of the trained chain."""
        return len(self.alpha_bar)

    def at(self, step: int) -> float:
        """Return alpha_bar at one step; step -1 is the data themselves, 1."""
        return 1.0 if step < 0 else float(self.alpha_bar[step])


def squared_cosine(steps: int) -> Schedule:
    """Return the squared-cosine schedule.

    ``f(t) = cos^2((t / T + s) / (1 + s) * pi / 2)``, ``beta_t = min(1 - f(t + 1) / f(t), 0.999)``,
    ``alpha_bar_t = prod(1 - beta)`` with s = 0.008 (Nichol and Dhariwal 2021, eq. 17).

    Parameters
    ----------
    steps : int
        Steps T of the chain.

    Returns
    -------
    Schedule

    Examples
    --------
    >>> schedule = squared_cosine(1000)
    >>> bool(schedule.at(0) > 0.9999), bool(schedule.at(999) < 1e-6)
    (True, True)
    """
    offset = 0.008
    time = np.arange(steps + 1) / steps
    left = np.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    beta = np.minimum(1 - left[1:] / left[:-1], 0.999)
    return Schedule(np.cumprod(1 - beta))


def add_noise(schedule: Schedule, x0: Tensor, noise: Tensor, step: Tensor) -> Tensor:
    """Return x_t, the data after `step` steps of noising (Ho et al. 2020, eq. 4).

    Parameters
    ----------
    schedule : Schedule
        The chain.
    x0, noise : Tensor, (B, C, H, W)
        Data and standard normal noise.
    step : Tensor of int64, (B,)
        Step of every field.

    Returns
    -------
    Tensor, (B, C, H, W)

    Examples
    --------
    >>> x0, noise = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    >>> add_noise(squared_cosine(10), x0, noise, torch.tensor([0, 9])).shape
    torch.Size([2, 1, 4, 4])
    """
    alpha_bar = schedule.alpha_bar[step.cpu().numpy()].reshape(-1, 1, 1, 1)
    signal = torch.as_tensor(np.sqrt(alpha_bar), dtype=x0.dtype, device=x0.device)
    spread = torch.as_tensor(np.sqrt(1 - alpha_bar), dtype=x0.dtype, device=x0.device)
    return signal * x0 + spread * noise


def respaced(schedule: Schedule, steps: int) -> list[int]:
    """Return the steps that a shorter chain visits, from the noisiest to the cleanest.

    They are spaced evenly and the first is the last step of the trained chain, so that sampling
    starts where training ended ("trailing" spacing, Lin et al. 2024).

    Parameters
    ----------
    schedule : Schedule
        The trained chain.
    steps : int
        Steps of the shorter chain.

    Returns
    -------
    list of int

    Raises
    ------
    OptionError
        If the shorter chain is empty or longer than the trained one.

    Examples
    --------
    >>> respaced(squared_cosine(1000), 4)
    [999, 749, 499, 249]
    """
    if not 1 <= steps <= schedule.steps:
        raise OptionError(
            f"{steps} sampling steps asked for; the trained chain has {schedule.steps}: "
            f"give a number from 1 to {schedule.steps}."
        )
    return [round(schedule.steps * (steps - i) / steps) - 1 for i in range(steps)]


def posterior(schedule: Schedule, step: int, previous: int) -> tuple[float, float, float]:
    """Return the posterior of a step of a (respaced) chain (Ho et al. 2020, eq. 7).

    Parameters
    ----------
    schedule : Schedule
        The trained chain.
    step, previous : int
        The step to leave and the one to reach; -1 stands for the data themselves.

    Returns
    -------
    x0_weight, xt_weight, std : float
        ``q(x_previous | x_t, x_0)`` is N(x0_weight x_0 + xt_weight x_t, std^2).

    Examples
    --------
    >>> posterior(squared_cosine(1000), 20, -1)
    (1.0, 0.0, 0.0)
    """
    here = schedule.at(step)
    there = schedule.at(previous)
    kept = here / there  # alpha of the respaced step; beta is 1 - kept
    x0_weight = math.sqrt(there) * (1 - kept) / (1 - here)
    xt_weight = math.sqrt(kept) * (1 - there) / (1 - here)
    variance = (1 - there) / (1 - here) * (1 - kept)
    return x0_weight, xt_weight, math.sqrt(variance)
