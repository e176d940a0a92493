"""A fully convolutional U-Net whose output at a pixel depends on a bounded neighbourhood alone.

Convolutions of 3 x 3 with replicated edges, a norm of each pixel by itself, no attention: a field
may be evaluated whole, in tiles or in crops, and comes out the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.batch_invariance import LANES, RowLinear, one_by_one
from xdownscale.models.networks.channels import Sizes, known_channels
from xdownscale.models.networks.unet import Encoder, PixelNorm, lag_encoder

_FREQUENCIES = 16
EMBEDDED = 128
_SHARE = 16  # channels that the encoder's features are squeezed into


class Inputs(NamedTuple):
    """What is known of some fields, as a network sees it.

    Attributes
    ----------
    known : Tensor, (B, k, H, W)
        Driver window and static fields; the targets' own drivers of the day itself come first.
    calendar : Tensor, (B, c)
        Numbers of the day: sine and cosine of the day of the year, region.
    coarse : Tensor, (n, lags * V, yc, xc)
        Coarse record of the days before, on its own grid; B is a multiple of n.
    place : Tensor, (B, H, W, 2)
        Where the pixels lie on the coarse grid, x before y, its edges at -1 and 1.
    """

    known: Tensor
    calendar: Tensor
    coarse: Tensor
    place: Tensor


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")


class Embedding(nn.Module):
    """Noise level and calendar as one vector, for feature-wise scale and shift (FiLM).

    Parameters
    ----------
    calendar : int
        Numbers of the day.
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
    """Norm, SiLU, convolution, twice, beside the identity; FiLM after the second norm."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.norm1, self.norm2 = PixelNorm(channels), PixelNorm(channels)
        self.conv1, self.conv2 = _conv(channels, channels), _conv(channels, channels)
        self.film = RowLinear(EMBEDDED, 2 * channels)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape."""
        h = self.norm2(self.conv1(functional.silu(self.norm1(x))))
        scale, shift = self.film(embedding)[..., None, None].chunk(2, 1)
        h = torch.addcmul(shift, h, 1 + scale)
        out: Tensor = x + self.conv2(self.dropout(functional.silu(h)))
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
    """Stem, trunk and head; what is known of a day is digested once, by `digest`.

    Parameters
    ----------
    known : int
        Channels of what is known, without the encoder's features.
    calendar : int
        Numbers of the day.
    noisy, outputs : int
        Channels that change from one evaluation to the next, and channels that come out.
    config : NetworkConfig
        `channels`, `unshuffle`, `dropout`, `encoder` and `encoder_channels` are used.
    """

    def __init__(
        self, known: int, calendar: int, noisy: int, outputs: int, config: NetworkConfig
    ) -> None:
        super().__init__()
        first, self.block = config.channels[0], config.unshuffle
        area, self.outputs = self.block**2, outputs
        self.unit = lattice(config)
        features = sum(config.encoder_channels) if config.encoder != "none" else 0
        self.squeeze = nn.Conv2d(features, _SHARE, 1) if features else None
        self.stem = _conv(area * (known + (_SHARE if features else 0)), first)
        self.digester = Block(first, config.dropout)
        self.noisy = _conv(area * noisy, first) if noisy else None
        self.embedding = Embedding(calendar)
        self.trunk = Trunk(config.channels, config.dropout)
        self.norm = PixelNorm(first)
        self.head = _conv(first, area * outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def gather(self, inputs: Inputs, features: Tensor | None) -> Tensor:
        """Return all that is known on the fine grid, (B, k, H, W), the encoder's features too.

        Parameters
        ----------
        inputs : Inputs
            What is known.
        features : Tensor, (n, f, yc, xc), optional
            Of the encoder, all levels on the coarse grid.
        """
        known = inputs.known
        if self.squeeze is None or features is None:
            return known
        squeezed = one_by_one(self.squeeze, features).repeat_interleave(
            len(known) // len(features), 0
        )
        placed = functional.grid_sample(
            squeezed, inputs.place, padding_mode="border", align_corners=False
        )
        return torch.cat([known, placed], 1)

    def digest(self, gathered: Tensor, calendar: Tensor) -> Tensor:
        """Return what does not depend on the noise, (B, C, h, w) at the stem's resolution."""
        stem = self.stem(functional.pixel_unshuffle(gathered, self.block))
        calm = torch.zeros(len(gathered), device=gathered.device)
        out: Tensor = self.digester(stem, self.embedding(calm, calendar))
        return out

    def forward(
        self, digested: Tensor, calendar: Tensor, noisy: Tensor | None, sigma: Tensor
    ) -> Tensor:
        """Evaluate; noisy (B, noisy, H, W) and sigma (B,) -> (B, outputs, H, W)."""
        x = digested
        if self.noisy is not None and noisy is not None:
            x = x + self.noisy(functional.pixel_unshuffle(noisy, self.block))
        x = self.trunk(x, self.embedding(sigma, calendar))
        out: Tensor = self.head(functional.silu(self.norm(x)))
        return functional.pixel_shuffle(out, self.block)


def coarse_features(encoder: nn.Module, coarse: Tensor) -> Tensor:
    """Return the features of all levels on the coarse grid, (n, sum of channels, yc, xc).

    Parameters
    ----------
    encoder : Encoder
        The encoder that learnt the coarse record.
    coarse : Tensor, (n, lags, yc, xc)
        Days of the coarse record, on its own grid.
    """
    features = encoder(coarse)
    size = coarse.shape[-2:]
    finer = [
        functional.interpolate(f, size=size, mode="bilinear", align_corners=False)
        for f in features[1:]
    ]
    return torch.cat([features[0], *finer], 1)


def lattice(config: NetworkConfig) -> int:
    """Return the pixels on a side that the coarsest level of a network sees as one.

    Examples
    --------
    >>> lattice(NetworkConfig(channels=(8, 8), unshuffle=2))
    4
    """
    return config.unshuffle * int(2 ** (len(config.channels) - 1))


def receptive_field(config: NetworkConfig) -> int:
    """Return how far, in pixels, an output looks, at most: the halo of an exact tile.

    Examples
    --------
    >>> receptive_field(NetworkConfig(channels=(8, 8), unshuffle=2))
    36
    """
    reach, stride = 0, config.unshuffle
    for level in range(len(config.channels)):
        # Two blocks of two convolutions; stem, digester and head at the first level; and half
        # of the pooling window on the way down and up.
        reach += stride * (4 + (4 if level == 0 else 0)) + (stride if level else 0)
        stride *= 2
    unit = lattice(config)
    return -(-reach // unit) * unit


class Channels(NamedTuple):
    """Numbers of channels of networks of whole fields.

    Attributes
    ----------
    lags : int
        Of the encoder: days times variables.
    known, calendar : int
        Of what is known of a day, and numbers of the day.
    targets : int
        Variables to draw.
    """

    lags: int
    known: int
    calendar: int
    targets: int


def channels_of(sizes: Sizes) -> Channels:
    """Count the channels that `field_inputs` and `lagged` give."""
    window = known_channels(sizes.window, sizes.drivers, sizes.own, sizes.fine_lags)
    return Channels(
        lags=sizes.lags * sizes.drivers,
        known=window + sizes.static,
        calendar=sizes.calendar,
        targets=sizes.targets,
    )


class FieldNetworks(nn.Module):
    """All networks of a group: the encoder, the regressions and the generating network.

    Parameters
    ----------
    sizes : Channels
        What comes in and goes out.
    regressions : int
        Regressions whose mean is the conditional mean; 0 for a generator.
    noisy : int
        Channels of noise, for each target, of the generating network; 0 where there is none.
    config : NetworkConfig
        The networks.
    """

    def __init__(
        self, sizes: Channels, regressions: int, noisy: int, config: NetworkConfig
    ) -> None:
        super().__init__()
        known, calendar, targets = sizes.known, sizes.calendar, sizes.targets
        self.encoder: Encoder | None = None
        if config.encoder != "none":
            self.encoder = lag_encoder(sizes.lags, config)
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
