"""Dense variational network of small patches, behind convolutional LSTMs of the lagged fields.

As read from the public code of M. Wang (2022-23): the field of the time step itself is never an
input, the posterior sees the inputs alone, and the decoder is joined by the layers of the encoder.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.batch_invariance import RowLinear
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.lag_encoders import ConvLSTM
from xdownscale.models.networks.latent import Gaussian
from xdownscale.models.networks.latent_options import LatentOptions
from xdownscale.models.networks.unet import feature_channels
from xdownscale.models.networks.variational import LatentNetworks

_SLOPE = 0.3  # of the leaky ReLU
_FINE, _COARSE = 32, 16  # filters of the two LSTMs
_STATIC, _PLACE = 16, 8  # numbers for each pixel's static fields, and for place and time
_POSITION = 2  # static fields that tell the position come first: latitude and longitude


class DenseContext(NamedTuple):
    """Hidden layers of the dense encoder, the first one first; each (B, hidden)."""

    layers: list[Tensor]


class DenseLayer(nn.Module):
    """Linear layer, leaky ReLU, batch norm and dropout."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.linear = RowLinear(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, inputs) to (B, outputs)."""
        h = functional.leaky_relu(self.linear(x), _SLOPE)
        out: Tensor = self.dropout(self.norm(h))
        return out


class LagBranch(nn.Module):
    """Convolutional LSTM of lagged fields; its last state without the frame of the patch, flat.

    The code has convolutions that do not pad; here they pad with the edge's own values, and the
    frame of one pixel, which saw the padding, is dropped.

    Parameters
    ----------
    filters : int
        Channels of the state.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.lstm = ConvLSTM(1, filters, 3, "leaky_relu")

    def forward(self, lags: Tensor) -> Tensor:
        """Map lags (B, L, H, W) to (B, filters x (H - 2) x (W - 2))."""
        state: Tensor = self.lstm(lags[:, :, None])
        return state[..., 1:-1, 1:-1].flatten(1)


class DenseVariationalNetworks(LatentNetworks):
    """Dense variational network of patches, and the encoder of lagged fields if there is one.

    With an encoder, its features stand in for the convolutional LSTM of the fine lags.

    Parameters
    ----------
    sizes : Sizes
        Numbers that the data decide.
    config : NetworkConfig
        `encoder`, `forecaster`, `encoder_channels` and `dropout` are used.
    options : LatentOptions
        `size`, `scale`, `likelihood` and the KL's.
    hidden, patch : int
        Width of the dense layers; side of a patch.
    """

    def __init__(
        self, sizes: Sizes, config: NetworkConfig, options: LatentOptions, hidden: int, patch: int
    ) -> None:
        super().__init__(sizes, config, options)
        self.patch = patch
        self.lags = sizes.lags
        self.calendar = sizes.calendar
        self.fine_branch = LagBranch(_FINE) if self.encoder is None else None
        self.coarse_branch = LagBranch(_COARSE)
        layers = sizes.static - _POSITION
        self.static_branch = nn.Conv2d(layers, _STATIC, 1) if layers else None
        self.place_branch = RowLinear(_POSITION + sizes.calendar, _PLACE)
        core = (patch - 2) ** 2
        fine = sum(feature_channels(config)) * patch**2 if self.encoder else _FINE * core
        static = _STATIC * patch**2 if layers else 0
        inputs = fine + _COARSE * core + static + _PLACE
        dense = [inputs, *[hidden] * 2]
        self.down = nn.ModuleList(DenseLayer(i, hidden, config.dropout) for i in dense)
        self.moments = RowLinear(hidden, 2 * options.size)
        joined = [options.size, *[2 * hidden] * 3]
        self.up = nn.ModuleList(DenseLayer(i, hidden, config.dropout) for i in joined)
        self.head = RowLinear(hidden, patch**2)

    def condition(self, known: Tensor, calendar: Tensor, fine_lags: Tensor) -> DenseContext:
        """Compute the layers of the encoder; the driver of the time step, channel 0, is left out.

        Parameters
        ----------
        known, calendar, fine_lags : Tensor
            As for `PatchNetworks.inputs`.
        """
        _, lags, static = torch.split(known, [1, self.lags, known.shape[1] - 1 - self.lags], 1)
        corner = static[:, :_POSITION, 0, 0]
        parts = [
            self._fine(known, calendar, fine_lags),
            self.coarse_branch(lags),
            _leaky(self.place_branch(torch.cat([corner, calendar], 1))),
        ]
        if self.static_branch is not None:
            parts.append(_leaky(self.static_branch(static[:, _POSITION:])).flatten(1))
        layers: list[Tensor] = []
        h = torch.cat(parts, 1)
        for layer in self.down:
            h = layer(h)
            layers.append(h)
        return DenseContext(layers)

    def _fine(self, known: Tensor, calendar: Tensor, fine_lags: Tensor) -> Tensor:
        """Return what is seen of the lagged fine fields, (B, numbers)."""
        if self.fine_branch is not None:
            out: Tensor = self.fine_branch(fine_lags)
            return out
        features, _ = self.inputs(known, calendar, fine_lags)
        size = (self.patch, self.patch)
        resized = [
            functional.interpolate(f, size=size, mode="bilinear", align_corners=False)
            for f in features
        ]
        return torch.cat(resized, 1).flatten(1)

    def posterior(self, context: DenseContext, target: Tensor) -> Gaussian:
        """Return the posterior, which depends on the inputs alone."""
        return Gaussian.from_channels(self.moments(context.layers[-1]))

    def prior(self, context: DenseContext) -> Gaussian:
        """Return the standard normal prior."""
        first = context.layers[0]
        return Gaussian.standard(first.new_zeros(len(first), self.options.size))

    def decode(self, context: DenseContext, latent: Tensor) -> Tensor:
        """Return patches (B, 1, H, W) in [-1, 1]."""
        h = self.up[0](latent)
        for layer, seen in zip(self.up[1:], context.layers[::-1], strict=True):
            h = layer(torch.cat([h, seen], 1))
        flat = functional.softsign(self.head(h).float())
        return flat.view(-1, 1, self.patch, self.patch)


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, _SLOPE)
