"""EMA: exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Moving average of weights, whose decay warms up.

    At update n the decay is ``min(decay, n / (9 + n))``: early on the average follows the weights
    closely, or it would keep the random ones that training began with.

    Parameters
    ----------
    parameters : mapping of Parameter
        The weights that are trained.
    average : dict of Tensor
        Average of each; changed in place. Empty: begins at the weights.
    decay : float
        Largest decay; at 0 the average equals the weights.

    Examples
    --------
    >>> weight = nn.Parameter(torch.zeros(1))
    >>> ema = ExponentialMovingAverage({"weight": weight}, {}, decay=0.999)
    >>> _ = weight.data.fill_(1.0)
    >>> ema.update(1)
    >>> round(ema.average["weight"].item(), 3)
    0.9
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], average: dict[str, Tensor], decay: float
    ) -> None:
        self.parameters = parameters
        self.average = average
        self.decay = decay
        for name, parameter in parameters.items():
            kept = average.get(name, parameter.detach().clone())
            average[name] = kept.to(parameter.device)

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Move the average towards the weights, after update number `count` of them."""
        decay = min(self.decay, count / (9 + count))
        for name, parameter in self.parameters.items():
            self.average[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and their average; a second call puts both back."""
        for name, parameter in self.parameters.items():
            kept = parameter.clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(kept)
