"""Optimiser of a network's trainable parameters."""

from __future__ import annotations

import torch
from torch import nn

from xdownscale.config import TrainingConfig


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are trained, by name; frozen ones are not among them.

    Examples
    --------
    >>> sorted(trainable(nn.Linear(2, 2)))
    ['bias', 'weight']
    """
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def make_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a network's trainable parameters.

    Examples
    --------
    >>> type(make_optimizer(nn.Linear(2, 2), TrainingConfig())).__name__
    'AdamW'
    """
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(
        trainable(network).values(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
