"""Pixel network of method "asdm": convolutions of 1 x 1, so that no pixel sees another.

Each group of inputs has an encoder of three layers; their outputs, and the features of a
transferred encoder where there is one, go through an hourglass. The widths are those of the public
code of 2021 (its encoders as they were meant, 8-16-32). Its batch norm is a norm of each pixel
over the channels here: this library keeps averaged weights, which statistics of batches would not
belong to.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.unet import PixelNorm, lag_encoder

GROUP_WIDTHS = (8, 16, 32)
HOURGLASS = (64, 32, 16, 8, 16, 32, 64)
_SLOPE = 0.1
_INSIDE = 0.99  # of the bound, within which a driver is added


class PixelNet(nn.Module):
    """Network of every pixel by itself: an encoder for each group of inputs, and an hourglass.

    Parameters
    ----------
    groups : sequence of int
        Channels of each group of inputs.
    features : int
        Channels of further features, which join the encoded groups; 0 for none.
    widths : sequence of int
        Channels of the layers of the hourglass.
    dropout : float
        Share of the encoded numbers that are dropped in training, of each pixel by itself.
    """

    def __init__(
        self, groups: Sequence[int], features: int, widths: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.groups = list(groups)
        self.encoders = nn.ModuleList(_group_encoder(count, dropout) for count in groups)
        joined = len(self.groups) * GROUP_WIDTHS[-1] + features
        layers = [_layer(a, b) for a, b in itertools.pairwise((joined, *widths))]
        self.hourglass = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, inputs: Tensor, features: Tensor | None = None) -> Tensor:
        """Map inputs (B, sum of groups, H, W) and features (B, f, H, W) to (B, 1, H, W)."""
        parts = torch.split(inputs, self.groups, 1)
        encoded = [encode(part) for encode, part in zip(self.encoders, parts, strict=True)]
        if features is not None:
            encoded.append(features)
        out: Tensor = self.head(self.hourglass(torch.cat(encoded, 1)))
        return out


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), PixelNorm(outputs), nn.LeakyReLU(_SLOPE))


def _group_encoder(inputs: int, dropout: float) -> nn.Sequential:
    first, second, last = GROUP_WIDTHS
    return nn.Sequential(
        _layer(inputs, first),
        _layer(first, second),
        nn.Conv2d(second, last, 1),
        nn.Tanh(),
        nn.Dropout(dropout),
    )


def _feature_channels(encoder: nn.Module, lags: int) -> int:
    """Return the channels of all levels of an encoder, whatever its make."""
    training = encoder.training
    with torch.no_grad():
        levels = encoder.eval()(torch.zeros(1, lags, 4, 4))
    encoder.train(training)
    return sum(int(level.shape[1]) for level in levels)


class PixelNetworks(nn.Module):
    """The pixel network, and the encoder of lagged fields whose features it sees, if any.

    Parameters
    ----------
    sizes : Sizes
        Numbers that the data decide, of one variable.
    config : NetworkConfig
        `encoder`, `encoder_channels`, `norm`, `dropout` and `output_bound` are used.
    target_day : bool
        Whether the driver of the time step itself is seen, not only those before it.
    driver_skip : bool
        Add the driver of the time step to the output.
    widths : sequence of int
        Channels of the layers of the hourglass.
    """

    bound: Tensor

    def __init__(
        self,
        sizes: Sizes,
        config: NetworkConfig,
        target_day: bool = False,
        driver_skip: bool = False,
        widths: Sequence[int] = HOURGLASS,
    ) -> None:
        super().__init__()
        self.target_day = target_day
        self.driver_skip = driver_skip
        self.lags = sizes.fine_lags
        has_encoder = config.encoder != "none"
        self.encoder = lag_encoder(self.lags, config) if has_encoder else None
        fine = self.lags + sizes.static + sizes.calendar
        coarse = sizes.window - (0 if target_day else 1)
        features = 0 if self.encoder is None else _feature_channels(self.encoder, self.lags)
        self.net = PixelNet((fine, coarse), features, widths, config.dropout)
        self.register_buffer("bound", torch.tensor(config.output_bound))
        if driver_skip:  # before training the output is the driver
            nn.init.zeros_(self.net.head.weight)
            assert self.net.head.bias is not None
            nn.init.zeros_(self.net.head.bias)
        self.frozen = config.encoder != "finetuned"
        if self.encoder is not None and self.frozen:
            self.encoder.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> PixelNetworks:
        """Set the mode; a frozen encoder stays in evaluation, without dropout."""
        super().train(mode)
        if self.encoder is not None and self.frozen:
            self.encoder.eval()
        return self

    def forward(self, known: Tensor, calendar: Tensor, fine_lags: Tensor) -> Tensor:
        """Return the fine field of a time step (B, 1, H, W), scaled units.

        Parameters
        ----------
        known : Tensor, (B, 1 + lags + static, H, W)
            Driver, drivers of the time steps before it, static fields.
        calendar : Tensor, (B, c)
            Calendar features.
        fine_lags : Tensor, (B, lags, H, W)
            Fine fields before it.
        """
        driver = known[:, :1]
        coarse = known[:, (0 if self.target_day else 1) : 1 + self.lags]
        spread = calendar[..., None, None].expand(-1, -1, *known.shape[-2:])
        inputs = torch.cat([fine_lags, known[:, 1 + self.lags :], spread, coarse], 1)
        raw = self.net(inputs, self.features(fine_lags)).float()
        if not self.driver_skip:
            return self.bound * torch.tanh(raw)
        inside = (driver.float() / self.bound).clamp(-_INSIDE, _INSIDE)
        return self.bound * torch.tanh(torch.atanh(inside) + raw)

    def features(self, fine_lags: Tensor) -> Tensor | None:
        """Return the features of all levels of the encoder, on the fine grid; None without one."""
        if self.encoder is None:
            return None
        size = fine_lags.shape[-2:]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            levels = self.encoder(fine_lags)
            resized = [
                level
                if level.shape[-2:] == size
                else functional.interpolate(level, size=size, mode="bilinear", align_corners=False)
                for level in levels
            ]
        return torch.cat(resized, 1)
