"""Field U-Net: fully convolutional, an output depends on a bounded neighbourhood alone.

Convolutions of 3 x 3 with replicated edges, a norm of each pixel by itself, no attention: a field
may be evaluated whole, in tiles or in crops, and comes out the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.batch_invariance import (
    LANES,
    RowLinear,
    film_layer,
    one_by_one,
    silu,
)
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.layers import conv
from xdownscale.models.networks.unet import PixelNorm, feature_channels, lag_encoder

_FREQUENCIES = 16
EMBEDDED = 128
_SHARE = 16  # channels that the encoder's features are squeezed into


class Inputs(NamedTuple):
    """Inputs of a field U-Net for some time steps.

    Attributes
    ----------
    known : Tensor, (B, k, H, W)
        Driver window and static fields; the targets' own drivers at the time step come first.
    calendar : Tensor, (B, c)
        Calendar features, such as sine and cosine of the day of the year.
    coarse : Tensor, (n, lags * V, yc, xc)
        Preceding coarse fields, on their own grid; B is a multiple of n.
    place : Tensor, (B, H, W, 2)
        Position of the pixels on the coarse grid, x before y, its edges at -1 and 1.
    """

    known: Tensor
    calendar: Tensor
    coarse: Tensor
    place: Tensor


class Embedding(nn.Module):
    """Embeds noise level and calendar in one vector, for feature-wise scale and shift (FiLM).

    Parameters
    ----------
    calendar : int
        Number of calendar features.
    """

    frequencies: Tensor

    def __init__(self, calendar: int) -> None:
        super().__init__()
        frequencies = 2.0 ** torch.linspace(-2, 4, _FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.first = RowLinear(2 * _FREQUENCIES + calendar, EMBEDDED)
        self.second = RowLinear(EMBEDDED, EMBEDDED)

    def forward(self, sigma: Tensor, calendar: Tensor) -> Tensor:
        """Embed sigma (B,) and calendar (B, c) as (B, 128)."""
        level = sigma.clamp(min=1e-4)[:, None].repeat(1, LANES).log()[:, :_FREQUENCIES]
        angle = functional.pad(level / 4 * self.frequencies * math.pi, (0, LANES - _FREQUENCIES))
        waves = [wave[:, :_FREQUENCIES] for wave in (angle.sin(), angle.cos())]
        noise = torch.cat([*waves, calendar], 1)
        out: Tensor = functional.silu(self.second(functional.silu(self.first(noise))))
        return out


class Block(nn.Module):
    """Residual block: norm, SiLU, convolution, twice; FiLM after the second norm."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.norm1 = PixelNorm(channels)
        self.norm2 = PixelNorm(channels)
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, channels)
        self.film = film_layer(EMBEDDED, channels)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape."""
        h = self.norm2(self.conv1(silu(self.norm1(x))))
        scale, shift = self.film(embedding)[..., None, None].chunk(2, 1)
        h = torch.addcmul(shift, h, 1 + scale)
        out: Tensor = x + self.conv2(self.dropout(silu(h)))
        return out


class Trunk(nn.Module):
    """The U-Net between stem and head; halving is a mean, doubling repeats pixels.

    Parameters
    ----------
    channels : sequence of int
        One entry per level.
    dropout : float
        Share of channels dropped in training.
    """

    def __init__(self, channels: Sequence[int], dropout: float) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(Block(c, dropout) for c in channels)
        self.up = nn.ModuleList(Block(c, dropout) for c in channels)
        self.widen = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape; H and W are multiples of the last stride."""
        skips = []
        for level, block in enumerate(self.down):
            if level:
                x = self.widen[level - 1](functional.avg_pool2d(x, 2))
            x = block(x, embedding)
            skips.append(x)
        x = self.up[-1](x, embedding)
        for level in range(len(self.widen) - 1, -1, -1):
            x = functional.interpolate(self.narrow[level](x), scale_factor=2, mode="nearest")
            x = self.up[level](x + skips[level], embedding)
        return x


class FieldNet(nn.Module):
    """Field U-Net: stem, trunk and head; `digest` evaluates the part without noise once.

    Parameters
    ----------
    known : int
        Known channels, without the encoder's features.
    calendar : int
        Number of calendar features.
    noisy, outputs : int
        Channels of noisy fields, and output channels.
    config : NetworkConfig
        `channels`, `unshuffle`, `dropout`, `encoder`, `forecaster` and `encoder_channels` are
        used.
    cell : int
        Pixels on a side of a cell of the grid that it works on; known channels come in pixels.
    """

    def __init__(
        self,
        known: int,
        calendar: int,
        noisy: int,
        outputs: int,
        config: NetworkConfig,
        cell: int = 1,
    ) -> None:
        super().__init__()
        first = config.channels[0]
        self.block = config.unshuffle
        self.cell = cell
        self.outputs = outputs
        area = self.block**2
        self.unit = lattice(config)
        features = sum(feature_channels(config))
        self.squeeze = nn.Conv2d(features, _SHARE, 1) if features else None
        self.stem = conv(area * cell**2 * (known + (_SHARE if features else 0)), first)
        self.digester = Block(first, config.dropout)
        self.noisy = conv(area * noisy, first) if noisy else None
        self.embedding = Embedding(calendar)
        self.trunk = Trunk(config.channels, config.dropout)
        self.norm = PixelNorm(first)
        self.head = conv(first, area * outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def scale_outputs(self, factor: NDArray[np.float32]) -> None:
        """Multiply each output (outputs,) by a number, for good."""
        each = torch.as_tensor(factor).to(self.head.weight.device)
        each = each.repeat_interleave(self.block**2)
        self.head.weight.mul_(each[:, None, None, None])
        assert self.head.bias is not None
        self.head.bias.mul_(each)

    def gather(self, inputs: Inputs, features: Tensor | None) -> Tensor:
        """Join the known channels and the encoder's features on the fine grid, (B, k, H, W).

        Where a cell has several pixels, each is a channel of its own.

        Parameters
        ----------
        inputs : Inputs
            Of some time steps.
        features : Tensor, (n, f, yc, xc), optional
            Of the encoder, all levels on the coarse grid.
        """
        known = inputs.known
        if self.squeeze is None or features is None:
            return self._in_cells(known)
        squeezed = one_by_one(self.squeeze, features).repeat_interleave(
            len(known) // len(features), 0
        )
        placed = functional.grid_sample(
            squeezed, inputs.place, padding_mode="border", align_corners=False
        )
        return self._in_cells(torch.cat([known, placed], 1))

    def _in_cells(self, pixels: Tensor) -> Tensor:
        return pixels if self.cell == 1 else functional.pixel_unshuffle(pixels, self.cell)

    def digest(self, gathered: Tensor, calendar: Tensor) -> Tensor:
        """Return the features that do not depend on the noise, (B, C, h, w)."""
        stem = self.stem(functional.pixel_unshuffle(gathered, self.block))
        calm = torch.zeros_like(calendar[:, 0])
        out: Tensor = self.digester(stem, self.embedding(calm, calendar))
        return out

    def forward(
        self, digested: Tensor, calendar: Tensor, noisy: Tensor | None, sigma: Tensor
    ) -> Tensor:
        """Map noisy (B, noisy, H, W) and sigma (B,) to (B, outputs, H, W)."""
        x = digested
        if self.noisy is not None and noisy is not None:
            x = x + self.noisy(functional.pixel_unshuffle(noisy, self.block))
        x = self.trunk(x, self.embedding(sigma, calendar))
        out: Tensor = self.head(silu(self.norm(x)))
        return functional.pixel_shuffle(out, self.block)


def coarse_features(encoder: nn.Module, coarse: Tensor) -> Tensor:
    """Return the features of all levels on the coarse grid, (n, sum of channels, yc, xc).

    Parameters
    ----------
    encoder : Module
        Of lagged fields, pretrained on the coarse record.
    coarse : Tensor, (n, lags, yc, xc)
        Preceding coarse fields, on their own grid.
    """
    features = encoder(coarse)
    size = coarse.shape[-2:]
    finer = [
        functional.interpolate(f, size=size, mode="bilinear", align_corners=False)
        for f in features[1:]
    ]
    return torch.cat([features[0], *finer], 1)


def lattice(config: NetworkConfig) -> int:
    """Return the side, in pixels, of one cell of a network's coarsest level.

    Examples
    --------
    >>> lattice(NetworkConfig(channels=(8, 8), unshuffle=2))
    4
    """
    return config.unshuffle * int(2 ** (len(config.channels) - 1))


def receptive_field(config: NetworkConfig) -> int:
    """Return the radius, in pixels, of an output's receptive field: the halo of an exact tile.

    Examples
    --------
    >>> receptive_field(NetworkConfig(channels=(8, 8), unshuffle=2))
    36
    """
    reach = 0
    stride = config.unshuffle
    for level in range(len(config.channels)):
        # Two blocks of two convolutions; stem, digester and head at the first level; and half
        # of the pooling window on the way down and up.
        reach += stride * (4 + (4 if level == 0 else 0)) + (stride if level else 0)
        stride *= 2
    unit = lattice(config)
    return -(-reach // unit) * unit


class FieldNetworks(nn.Module):
    """Networks of a group: the encoder, the regressions and the generating network.

    Parameters
    ----------
    sizes : Sizes
        Numbers that the data decide.
    regressions : int
        Regressions whose mean is the conditional mean; 0 for a generator.
    noisy : int
        Channels of noise, for each target, of the generating network; 0 where there is none.
    config : NetworkConfig
        The networks.
    """

    def __init__(self, sizes: Sizes, regressions: int, noisy: int, config: NetworkConfig) -> None:
        super().__init__()
        known = sizes.known
        calendar = sizes.calendar
        targets = sizes.targets
        self.encoder: nn.Module | None = None
        if config.encoder != "none":
            self.encoder = lag_encoder(sizes.coarse_lags, config, sizes.drivers)
        self.regressions = nn.ModuleList(
            FieldNet(known, calendar, 0, targets, config) for _ in range(regressions)
        )
        seen = known + (targets if regressions else 0)
        self.drawer: FieldNet | None = None  # its name in model files
        if noisy:
            self.drawer = FieldNet(seen, calendar, noisy * targets, targets, config)

    @property
    def regressors(self) -> list[FieldNet]:
        """The regressions."""
        return [net for net in self.regressions if isinstance(net, FieldNet)]

    @property
    def generator(self) -> FieldNet:
        """The network that generates; there is one, or the method would not ask for it."""
        assert self.drawer is not None
        return self.drawer
