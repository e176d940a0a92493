"""Diffusion samplers: pure functions of a denoiser, with nothing random inside.

A denoiser takes noisy fields (B, C, H, W) and how noisy they are, and returns its estimate of the
clean ones, x_0 (B, C, H, W). `ddpm` and `ddim` count noise in steps of the trained chain, where x_t
keeps variance 1; `dpmpp_2m` and `heun` in sigma, its standard deviation: x = x_0 + sigma n.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from torch import Tensor

from xdownscale.models.diffusion.schedules import Schedule, posterior, respaced

Denoiser = Callable[[Tensor, int], Tensor]
SigmaDenoiser = Callable[[Tensor, float], Tensor]


def ddpm(
    denoiser: Denoiser,
    start: Tensor,
    schedule: Schedule,
    steps: int,
    noise: Callable[[int], Tensor],
) -> Tensor:
    """Sample fields with the ancestral sampler, DDPM (Ho et al. 2020, algorithm 2).

    With fewer steps than were trained the chain is respaced, and the mean and the (small)
    variance are those of the respaced chain.

    Parameters
    ----------
    denoiser : callable
        (x_t, step) -> x_0.
    start : Tensor, (B, C, H, W)
        Standard normal noise.
    schedule : Schedule
        The trained chain.
    steps : int
        Steps of the sampler, up to the trained ones.
    noise : callable
        Index i of the sampler's step -> standard normal noise (B, C, H, W).

    Returns
    -------
    Tensor, (B, C, H, W)

    Raises
    ------
    OptionError
        If `steps` does not fit the chain.

    Examples
    --------
    >>> import torch
    >>> from xdownscale.models.diffusion.schedules import squared_cosine
    >>> start = torch.zeros(1, 1, 4, 4)
    >>> fields = ddpm(lambda x, t: x + 1, start, squared_cosine(10), 5, lambda i: start)
    >>> fields.shape
    torch.Size([1, 1, 4, 4])
    """
    x = start
    visited = [*respaced(schedule, steps), -1]
    for i, (step, previous) in enumerate(itertools.pairwise(visited)):
        x0_weight, xt_weight, std = posterior(schedule, step, previous)
        x = x0_weight * denoiser(x, step) + xt_weight * x
        if previous >= 0:
            x = x + std * noise(i)
    return x


def ddim(denoiser: Denoiser, start: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Sample fields with the deterministic sampler, DDIM (Song et al. 2021, eq. 12 with sigma = 0).

    Parameters
    ----------
    denoiser : callable
        (x_t, step) -> x_0.
    start : Tensor, (B, C, H, W)
        Standard normal noise; all that is random.
    schedule : Schedule
        The trained chain.
    steps : int
        Steps of the sampler, up to the trained ones. Few steps shrink the spread.

    Returns
    -------
    Tensor, (B, C, H, W)

    Raises
    ------
    OptionError
        If `steps` does not fit the chain.

    Examples
    --------
    >>> import torch
    >>> from xdownscale.models.diffusion.schedules import squared_cosine
    >>> truth = torch.full((1, 1, 4, 4), 0.5)
    >>> fields = ddim(lambda x, t: truth, torch.ones(1, 1, 4, 4), squared_cosine(10), 5)
    >>> bool((fields == truth).all())
    True
    """
    x = start
    visited = [*respaced(schedule, steps), -1]
    for step, previous in itertools.pairwise(visited):
        here = schedule.at(step)
        there = schedule.at(previous)
        x0 = denoiser(x, step)
        spread = math.sqrt((1 - there) / (1 - here))
        x = math.sqrt(there) * x0 + spread * (x - math.sqrt(here) * x0)
    return x


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> list[float]:
    """Return noise levels from `sigma_max` down to `sigma_min`, and then 0.

    Karras et al. 2022, equation 5.

    Parameters
    ----------
    steps : int
        Levels above 0, 1 or more.
    sigma_min, sigma_max : float
        The least and the largest.
    rho : float
        The larger, the closer the small levels.

    Returns
    -------
    list of float
        ``steps + 1`` of them.

    Examples
    --------
    >>> [round(sigma, 3) for sigma in karras_sigmas(3, 0.01, 1.0)]
    [1.0, 0.145, 0.01, 0.0]
    """
    low = sigma_min ** (1 / rho)
    high = sigma_max ** (1 / rho)
    places = [i / max(steps - 1, 1) for i in range(steps)]
    return [(high + place * (low - high)) ** rho for place in places] + [0.0]


def dpmpp_2m(denoiser: SigmaDenoiser, start: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Sample fields with DPM-Solver++(2M): second order, one evaluation a step.

    Lu et al. 2022 (arXiv 2211.01095), algorithm 2, with sigma as noise level. The first step, and
    the last where it ends at 0, are of first order.

    Parameters
    ----------
    denoiser : callable
        (x, sigma) -> x_0.
    start : Tensor, (B, C, H, W)
        Fields at the first noise level.
    sigmas : sequence of float
        Noise levels, falling; see `karras_sigmas`.

    Returns
    -------
    Tensor, (B, C, H, W)

    Examples
    --------
    >>> import torch
    >>> sigmas = karras_sigmas(8, 0.02, 5.0)
    >>> dpmpp_2m(lambda x, sigma: x / (1 + sigma**2), torch.full((1, 1, 1, 1), 5.0), sigmas).shape
    torch.Size([1, 1, 1, 1])
    """
    x = start
    before = None
    last = 0.0
    for here, there in itertools.pairwise(sigmas):
        x0 = denoiser(x, here)
        if there == 0:
            return x0
        length = math.log(here / there)
        guess = x0
        if before is not None:
            share = length / (2 * last)
            guess = (1 + share) * x0 - share * before
        x = there / here * x - math.expm1(-length) * guess
        before = x0
        last = length
    return x


def heun(denoiser: SigmaDenoiser, start: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Sample fields with Heun's method: second order, two evaluations a step but the last.

    Karras et al. 2022, algorithm 1.

    Parameters
    ----------
    denoiser, start, sigmas
        As for `dpmpp_2m`.

    Returns
    -------
    Tensor, (B, C, H, W)

    Examples
    --------
    >>> import torch
    >>> sigmas = karras_sigmas(8, 0.02, 5.0)
    >>> heun(lambda x, sigma: x / (1 + sigma**2), torch.full((1, 1, 1, 1), 5.0), sigmas).shape
    torch.Size([1, 1, 1, 1])
    """
    x = start
    for here, there in itertools.pairwise(sigmas):
        slope = (x - denoiser(x, here)) / here
        moved = x + (there - here) * slope
        if there > 0:
            slope = (slope + (moved - denoiser(moved, there)) / there) / 2
            moved = x + (there - here) * slope
        x = moved
    return x
