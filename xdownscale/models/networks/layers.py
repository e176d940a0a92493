"""Layers that several networks share."""

from __future__ import annotations

from torch import nn


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """Return a convolution that keeps the size and pads with the edge's own values.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int
        Side of the kernel in pixels, odd.
    """
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="replicate")
