"""Samplers: small pure functions of a denoiser, with nothing random inside.

A denoiser takes noisy fields x_t (B, C, H, W) and a step of the trained chain and returns its
estimate of the clean ones, x_0 (B, C, H, W).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from torch import Tensor

from xdownscale.models.diffusion import Schedule, posterior, respaced

Denoiser = Callable[[Tensor, int], Tensor]


def ddpm(
    denoiser: Denoiser,
    start: Tensor,
    schedule: Schedule,
    steps: int,
    noise: Callable[[int], Tensor],
) -> Tensor:
    """Draw fields with the ancestral sampler (Ho et al. 2020, algorithm 2).

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
    >>> from xdownscale.models.diffusion import squared_cosine
    >>> start = torch.zeros(1, 1, 4, 4)
    >>> drawn = ddpm(lambda x, t: x + 1, start, squared_cosine(10), 5, lambda i: start)
    >>> drawn.shape
    torch.Size([1, 1, 4, 4])
    """
    x = start
    visited = [*respaced(schedule, steps), -1]
    for i, (step, previous) in enumerate(itertools.pairwise(visited)):
        law = posterior(schedule, step, previous)
        x = law.x0_weight * denoiser(x, step) + law.xt_weight * x
        if previous >= 0:
            x = x + law.std * noise(i)
    return x


def ddim(denoiser: Denoiser, start: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Draw fields with the deterministic sampler (Song et al. 2021, eq. 12 with sigma = 0).

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
    >>> from xdownscale.models.diffusion import squared_cosine
    >>> truth = torch.full((1, 1, 4, 4), 0.5)
    >>> drawn = ddim(lambda x, t: truth, torch.ones(1, 1, 4, 4), squared_cosine(10), 5)
    >>> bool((drawn == truth).all())
    True
    """
    x = start
    visited = [*respaced(schedule, steps), -1]
    for step, previous in itertools.pairwise(visited):
        here, there = schedule.at(step), schedule.at(previous)
        x0 = denoiser(x, step)
        spread = math.sqrt((1 - there) / (1 - here))
        x = math.sqrt(there) * x0 + spread * (x - math.sqrt(here) * x0)
    return x
