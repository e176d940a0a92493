"""Encoders of lagged fields beside the U-Net's: an LSTM of pixels, ConvLSTM, layers of pixels.

All have the contract of `models.networks.unet.Encoder`: lags (B, L V, H, W) of V variables, the
oldest time step first, to a list of feature maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.core.errors import check_option
from xdownscale.models.networks.layers import conv

KERNELS = {"lstm": 1, "convlstm": 3}  # of the gates
_SLOPE = 0.3  # of the leaky ReLU, as in M. Wang's code


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, _SLOPE)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "leaky_relu": _leaky}


class ConvLSTM(nn.Module):
    """Convolutional LSTM without peepholes (Shi et al. 2015, eq. 3), run over all time steps.

    With ``[x, h]`` the channels of input and state and ``*`` a convolution, at every time step
    ``i, f, o = sigmoid(W * [x, h])``, ``g = act(W * [x, h])``, ``c = f c + i g``, ``h = o act(c)``.
    A kernel of one pixel makes it an LSTM of every pixel.

    Parameters
    ----------
    inputs : int
        Channels of a time step.
    hidden : int
        Channels of the state.
    kernel : int
        Side of the kernel in pixels, odd.
    activation : {"tanh", "leaky_relu"}
        ``act``; the leaky ReLU has slope 0.3.

    Examples
    --------
    >>> ConvLSTM(2, 8, 3)(torch.zeros(1, 5, 2, 4, 6)).shape
    torch.Size([1, 8, 4, 6])
    """

    def __init__(self, inputs: int, hidden: int, kernel: int, activation: str = "tanh") -> None:
        super().__init__()
        check_option("activation", activation, ACTIVATIONS)
        self.hidden = hidden
        self.activation = ACTIVATIONS[activation]
        self.gates = conv(inputs + hidden, 4 * hidden, kernel)
        assert self.gates.bias is not None
        nn.init.zeros_(self.gates.bias)
        # The state is kept at first (Jozefowicz et al. 2015).
        nn.init.ones_(self.gates.bias[hidden : 2 * hidden])

    def forward(self, steps: Tensor) -> Tensor:
        """Return the last state (B, hidden, H, W) of time steps (B, L, inputs, H, W)."""
        b, _, _, h, w = steps.shape
        state = steps.new_zeros(b, self.hidden, h, w)
        cell = torch.zeros_like(state)
        for step in steps.unbind(1):
            i, f, g, o = self.gates(torch.cat([step, state], 1)).chunk(4, 1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * self.activation(g)
            state = torch.sigmoid(o) * self.activation(cell)
        return state


class RecurrentEncoder(nn.Module):
    """Encodes lagged fields by an LSTM over the time steps, behind a 3 x 3 stem they all share.

    Parameters
    ----------
    variables : int
        Variables of a time step.
    hidden : int
        Channels of the state, which are the features.
    kernel : int
        1: an LSTM of every pixel; 3: a ConvLSTM.
    activation : {"tanh", "leaky_relu"}
        As for `ConvLSTM`.
    """

    def __init__(self, variables: int, hidden: int, kernel: int, activation: str = "tanh") -> None:
        super().__init__()
        self.variables = variables
        self.stem = conv(variables, hidden)
        self.lstm = ConvLSTM(hidden, hidden, kernel, activation)

    def forward(self, lags: Tensor) -> list[Tensor]:
        """Return the last state of lags (B, L x variables, H, W) as the only features."""
        b, channels, h, w = lags.shape
        steps = lags.reshape(-1, self.variables, h, w)
        stems = self.stem(steps)  # (B x L, hidden, H, W)
        return [self.lstm(stems.view(b, channels // self.variables, -1, h, w))]


class PixelEncoder(nn.Module):
    """Encodes the lags of every pixel by itself: layers of 1 x 1 convolutions.

    Parameters
    ----------
    inputs : int
        Channels of the lags.
    channels : sequence of int
        Width of each layer; the features are those of all layers.
    """

    def __init__(self, inputs: int, channels: Sequence[int]) -> None:
        super().__init__()
        before = [inputs, *channels[:-1]]
        self.layers = nn.ModuleList(
            conv(i, o, kernel=1) for i, o in zip(before, channels, strict=True)
        )

    def forward(self, lags: Tensor) -> list[Tensor]:
        """Return the features of all layers (B, C, H, W)."""
        features: list[Tensor] = []
        h = lags
        for layer in self.layers:
            h = functional.silu(layer(h))
            features.append(h)
        return features


class PixelDecoder(nn.Module):
    """Maps the last features of every pixel to outputs: two layers of 1 x 1 convolutions.

    Parameters
    ----------
    channels, outputs : int
        Channels of the features, and of the output.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.layer = conv(channels, channels, kernel=1)
        self.head = conv(channels, outputs, kernel=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map features, the last ones (B, channels, H, W), to (B, outputs, H, W)."""
        out: Tensor = self.head(functional.silu(self.layer(features[-1])))
        return out
