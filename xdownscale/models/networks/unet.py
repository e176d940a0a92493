"""U-Nets of stage 1 and of preset "paper": forecaster, encoder and denoiser.

Convolutions pad with the edge's own values, so that no border is darkened, and every image of
four pixels or more on a side fits: a level that was halved is brought back to its skip's size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.batch_invariance import RowLinear, film_layer
from xdownscale.models.networks.lag_encoders import (
    KERNELS,
    PixelDecoder,
    PixelEncoder,
    RecurrentEncoder,
)
from xdownscale.models.networks.layers import conv

_STEP_CHANNELS = 64
_GROUPS = 8


class PixelNorm(nn.Module):
    """Root-mean-square norm over the channels of each pixel: blind to the surroundings."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, H, W)."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.weight


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.GroupNorm(_GROUPS, channels) if kind == "group" else PixelNorm(channels)


class StepEmbedding(nn.Module):
    """Embeds the step of the chain: sines and cosines, then a small network (Ho et al. 2020)."""

    frequencies: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        half = _STEP_CHANNELS // 2
        frequencies = torch.exp(-math.log(10000.0) * torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.layers = nn.Sequential(
            RowLinear(_STEP_CHANNELS, outputs), nn.SiLU(), RowLinear(outputs, outputs), nn.SiLU()
        )

    def forward(self, step: Tensor) -> Tensor:
        """Embed step (B,) as (B, outputs)."""
        angle = step.to(self.frequencies.dtype)[:, None] * self.frequencies
        embedded: Tensor = self.layers(torch.cat([angle.sin(), angle.cos()], 1))
        return embedded


class Block(nn.Module):
    """Residual block; the step's embedding scales and shifts its second norm (FiLM)."""

    def __init__(
        self, inputs: int, outputs: int, norm: str, dropout: float = 0.0, embedded: int = 0
    ) -> None:
        super().__init__()
        self.norm1 = _norm(norm, inputs)
        self.conv1 = conv(inputs, outputs)
        self.film = film_layer(embedded, outputs) if embedded else None
        self.norm2 = _norm(norm, outputs)
        self.dropout = nn.Dropout2d(dropout)
        self.conv2 = conv(outputs, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Map x (B, inputs, H, W) to (B, outputs, H, W)."""
        h = self.norm2(self.conv1(functional.silu(self.norm1(x))))
        if self.film is not None:
            scale, shift = self.film(embedding)[..., None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        out: Tensor = self.skip(x) + self.conv2(self.dropout(functional.silu(h)))
        return out


class Attention(nn.Module):
    """Self-attention between the pixels of a level (Vaswani et al. 2017), four heads."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.norm = _norm(norm, channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape."""
        b, c, h, w = x.shape
        mixed = self.query_key_value(self.norm(x)).reshape(b, 3, 4, c // 4, h * w)
        query, key, value = mixed.transpose(3, 4).unbind(1)  # (B, heads, pixels, C / heads)
        seen = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.out(seen.transpose(2, 3).reshape(b, c, h, w))
        return out


class Encoder(nn.Module):
    """Encoder of a U-Net: one block for each level, halving in between."""

    def __init__(
        self, inputs: int, channels: Sequence[int], norm: str, dropout: float, embedded: int = 0
    ) -> None:
        super().__init__()
        self.stem = conv(inputs, channels[0])
        before = [channels[0], *channels[:-1]]
        self.blocks = nn.ModuleList(
            Block(i, o, norm, dropout, embedded) for i, o in zip(before, channels, strict=True)
        )

    def forward(
        self, x: Tensor, embedding: Tensor | None = None, added: Tensor | None = None
    ) -> list[Tensor]:
        """Return the features of every level; `added` joins those of the stem."""
        h = self.stem(x) if added is None else self.stem(x) + added
        features: list[Tensor] = []
        for level, block in enumerate(self.blocks):
            if level:
                # ceil_mode keeps the last row of an odd image.
                h = functional.avg_pool2d(h, 2, ceil_mode=True)
            h = block(h, embedding)
            features.append(h)
        return features


class Decoder(nn.Module):
    """Decoder of a U-Net: upsampled features beside those of the encoder."""

    def __init__(
        self,
        channels: Sequence[int],
        norm: str,
        dropout: float,
        embedded: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.blocks = nn.ModuleList(
            Block(below + here, here, norm, dropout, embedded) for below, here in pairs
        )
        self.norm = _norm(norm, channels[0])
        self.head = conv(channels[0], outputs)

    def forward(self, features: list[Tensor], embedding: Tensor | None = None) -> Tensor:
        """Map the features of every level to `outputs` channels (B, outputs, H, W)."""
        h = features[-1]
        for block, skip in zip(self.blocks, features[-2::-1], strict=True):
            h = functional.interpolate(h, size=skip.shape[-2:], mode="nearest")
            h = block(torch.cat([h, skip], 1), embedding)
        out: Tensor = self.head(functional.silu(self.norm(h)))
        return out


class RecurrentDecoder(nn.Module):
    """Decoder of a recurrent encoder: one block and the head.

    Parameters
    ----------
    channels, outputs : int
        Channels of the features, and of the output.
    config : NetworkConfig
        `norm` and `dropout` are used.
    """

    def __init__(self, channels: int, outputs: int, config: NetworkConfig) -> None:
        super().__init__()
        self.block = Block(channels, channels, config.norm, config.dropout)
        self.norm = _norm(config.norm, channels)
        self.head = conv(channels, outputs)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map the only features (B, channels, H, W) to (B, outputs, H, W)."""
        out: Tensor = self.head(functional.silu(self.norm(self.block(features[-1]))))
        return out


class Forecaster(nn.Module):
    """The small network of stage 1: forecasts the next coarse field from the preceding ones.

    Parameters
    ----------
    lags : int
        Preceding time steps.
    config : NetworkConfig
        `forecaster`, `encoder_channels`, `norm` and `dropout` are used.
    variables : int
        Variables of the record.
    """

    def __init__(self, lags: int, config: NetworkConfig, variables: int = 1) -> None:
        super().__init__()
        self.variables = variables
        self.encoder = lag_encoder(lags * variables, config, variables)
        self.decoder = lag_decoder(config, variables)
        # The network predicts the change, none at first: a forecast starts from persistence.
        nn.init.zeros_(self.decoder.head.weight)
        nn.init.zeros_(self.decoder.head.bias)  # type: ignore[arg-type]

    def forward(self, lags: Tensor) -> Tensor:
        """Map lags (B, lags x variables, H, W), the latest last, to the next time step."""
        out: Tensor = lags[:, -self.variables :] + self.decoder(self.encoder(lags))
        return out


def lag_encoder(inputs: int, config: NetworkConfig, variables: int = 1) -> nn.Module:
    """Return the encoder of lagged fields, which stage 1 trains and stage 2 uses.

    Parameters
    ----------
    inputs : int
        Channels of the lags: time steps x variables.
    config : NetworkConfig
        `forecaster`, `encoder_channels`, `norm` and `dropout` are used.
    variables : int
        Variables of a time step.
    """
    if config.forecaster == "pointwise":
        return PixelEncoder(inputs, config.encoder_channels)
    if config.forecaster in KERNELS:
        kernel = KERNELS[config.forecaster]
        return RecurrentEncoder(variables, config.encoder_channels[-1], kernel)
    return Encoder(inputs, config.encoder_channels, config.norm, config.dropout)


def lag_decoder(config: NetworkConfig, outputs: int) -> Decoder | RecurrentDecoder | PixelDecoder:
    """Return the decoder of a forecaster, which has a convolution `head`.

    Parameters
    ----------
    config : NetworkConfig
        As for `lag_encoder`.
    outputs : int
        Variables to forecast.
    """
    channels = config.encoder_channels
    if config.forecaster == "pointwise":
        return PixelDecoder(channels[-1], outputs)
    if config.forecaster in KERNELS:
        return RecurrentDecoder(channels[-1], outputs, config)
    return Decoder(channels, config.norm, config.dropout, outputs=outputs)


def feature_channels(config: NetworkConfig) -> tuple[int, ...]:
    """Return the channels of each feature map of the encoder of lagged fields; () without one.

    Examples
    --------
    >>> feature_channels(NetworkConfig(encoder_channels=(8, 16)))
    (8, 16)
    >>> feature_channels(NetworkConfig(encoder_channels=(8, 16), forecaster="lstm"))
    (16,)
    """
    if config.encoder == "none":
        return ()
    if config.forecaster in KERNELS:
        return config.encoder_channels[-1:]
    return config.encoder_channels


class Conditioned(NamedTuple):
    """Conditions of the denoiser, the same for every step of the chain."""

    stem: Tensor
    driver: Tensor


class Denoiser(nn.Module):
    """The denoising U-Net of stage 2: maps noisy fields and conditions to clean fields.

    Parameters
    ----------
    inputs : int
        Known channels: driver, coarse lags, static fields and calendar.
    config : NetworkConfig
        The networks.
    """

    bound: Tensor

    def __init__(self, inputs: int, config: NetworkConfig) -> None:
        super().__init__()
        first = config.channels[0]
        embedded = 2 * _STEP_CHANNELS
        levels = feature_channels(config)
        share = max(first // 2, 8)
        self.projections = nn.ModuleList(nn.Conv2d(c, share, 1) for c in levels)
        self.condition_stem = conv(inputs + share * len(levels), first)
        self.condition_block = Block(first, first, config.norm, config.dropout)
        self.embedding = StepEmbedding(embedded)
        common = (config.channels, config.norm, config.dropout, embedded)
        self.encoder = Encoder(1, *common)
        last = config.channels[-1]
        self.middle = Block(last, last, config.norm, config.dropout, embedded)
        self.attention = Attention(last, config.norm) if config.attention else nn.Identity()
        self.decoder = Decoder(*common)
        self.driver_skip = config.driver_skip
        self.register_buffer("bound", torch.tensor(config.output_bound))
        if config.driver_skip:
            # Before training the output is the driver: training starts at interpolation and not
            # at noise, from which a short training on a CPU would hardly recover.
            nn.init.zeros_(self.decoder.head.weight)
            nn.init.zeros_(self.decoder.head.bias)  # type: ignore[arg-type]

    def condition(self, features: list[Tensor], known: Tensor) -> Conditioned:
        """Compute what does not depend on the step, once for each time step.

        Parameters
        ----------
        features : list of Tensor, (B, C, h, w)
            Of the lag encoder, one for every level; empty without one.
        known : Tensor, (B, inputs, H, W)
            The driver is its first channel.
        """
        stem = self.condition_stem(joined(known, features, self.projections))
        return Conditioned(self.condition_block(stem), known[:, :1])

    def forward(self, noisy: Tensor, step: Tensor, conditioned: Conditioned) -> Tensor:
        """Return the estimate of x_0 (B, 1, H, W) from x_t (B, 1, H, W) and its step (B,)."""
        embedding = self.embedding(step)
        features = self.encoder(noisy, embedding, conditioned.stem)
        features[-1] = self.attention(self.middle(features[-1], embedding))
        raw = self.decoder(features, embedding).float()
        return bounded(raw, conditioned.driver if self.driver_skip else None, self.bound)


def joined(known: Tensor, features: list[Tensor], projections: nn.ModuleList) -> Tensor:
    """Join known channels (B, k, H, W) and projected features of any size, (B, k + f, H, W)."""
    size = known.shape[-2:]
    projected = [p(f) for p, f in zip(projections, features, strict=True)]
    resized = [
        functional.interpolate(p, size=size, mode="bilinear", align_corners=False)
        for p in projected
    ]
    return torch.cat([known, *resized], 1)


def bounded(raw: Tensor, driver: Tensor | None, bound: Tensor) -> Tensor:
    """Return a network's output between -bound and bound, added to the driver if there is one."""
    if driver is None:
        return bound * torch.tanh(raw / bound)
    # Added before the bound, through its inverse: tanh would flatten the driver itself.
    inside = (driver.float() / bound).clamp(-0.99, 0.99)
    return bound * torch.tanh(torch.atanh(inside) + raw)


class PatchNetworks(nn.Module):
    """Base of the networks on patches: the encoder of lagged fields, where there is one.

    Parameters
    ----------
    lags : int
        Preceding time steps.
    known : int
        Channels of static fields and calendar.
    config : NetworkConfig
        The networks.
    """

    def __init__(self, lags: int, known: int, config: NetworkConfig) -> None:
        super().__init__()
        self.encoder = lag_encoder(lags, config) if config.encoder != "none" else None
        self.known = 1 + lags + known
        self.frozen = config.encoder != "finetuned"
        if self.encoder is not None and self.frozen:
            self.encoder.requires_grad_(False)
            self.encoder.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen encoder stays in evaluation, without dropout."""
        super().train(mode)
        if self.encoder is not None and self.frozen:
            self.encoder.eval()
        return self

    def inputs(
        self, known: Tensor, calendar: Tensor, fine_lags: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Return the features of the lagged fields, and known channels with the calendar's.

        Parameters
        ----------
        known : Tensor, (B, 1 + lags + static, H, W)
            Driver, its lags and static fields.
        calendar : Tensor, (B, c)
            Calendar features.
        fine_lags : Tensor, (B, lags, H, W)
            Preceding fine fields, which the encoder sees.
        """
        spread = calendar[..., None, None].expand(-1, -1, *known.shape[-2:])
        known = torch.cat([known, spread], 1)
        if self.encoder is None:
            return [], known
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.encoder(fine_lags), known


class Networks(PatchNetworks):
    """The encoder of lagged fields, where there is one, and the denoiser.

    Parameters
    ----------
    lags, known, config
        As for `PatchNetworks`.
    """

    def __init__(self, lags: int, known: int, config: NetworkConfig) -> None:
        super().__init__(lags, known, config)
        self.denoiser = Denoiser(self.known, config)

    def condition(self, known: Tensor, calendar: Tensor, fine_lags: Tensor) -> Conditioned:
        """Compute what does not depend on the step of the chain; see `inputs`."""
        return self.denoiser.condition(*self.inputs(known, calendar, fine_lags))

    def regression(self, conditioned: Conditioned) -> Tensor:
        """Return the field (B, 1, H, W) without a chain: noisy field and step are held at 0."""
        step = torch.zeros(
            len(conditioned.driver), dtype=torch.long, device=conditioned.driver.device
        )
        out: Tensor = self.denoiser(torch.zeros_like(conditioned.driver), step, conditioned)
        return out
