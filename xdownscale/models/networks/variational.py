"""Variational autoencoder of patches: posterior, prior and decoder, given the known fields.

A latent pixel covers 4 x 4 fine ones. The convolutional decoder sees the known fields as maps, and
latent numbers join it where it is four times coarser; the other one sees a vector of known numbers
alone, by feature-wise scales and shifts (FiLM: Perez et al. 2018).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.batch_invariance import RowLinear
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.latent import Gaussian, Likelihood
from xdownscale.models.networks.latent_options import FACTOR, LatentOptions
from xdownscale.models.networks.layers import conv
from xdownscale.models.networks.unet import (
    Block,
    Decoder,
    Encoder,
    PatchNetworks,
    bounded,
    feature_channels,
    joined,
)

_EMBEDDED = 64
_HIDDEN = 32  # channels of the posterior's convolutions


class LatentNetworks(PatchNetworks):
    """Base of the networks with latent numbers.

    Parameters
    ----------
    sizes : Sizes
        Numbers that the data decide.
    config : NetworkConfig
        The networks.
    options : LatentOptions
        Layout of the latent numbers, posterior, prior and likelihood.
    """

    def __init__(self, sizes: Sizes, config: NetworkConfig, options: LatentOptions) -> None:
        super().__init__(sizes.lags, sizes.static + sizes.calendar, config)
        self.options = options
        self.likelihood = Likelihood(options.likelihood, options.scale, sizes.targets)

    @abstractmethod
    def condition(self, known: Tensor, calendar: Tensor, fine_lags: Tensor) -> Any:
        """Compute what does not depend on the latent numbers, as `PatchNetworks.inputs`."""

    @abstractmethod
    def posterior(self, context: Any, target: Tensor) -> Gaussian:
        """Return the posterior of the latent numbers, given a context and a target."""

    @abstractmethod
    def prior(self, context: Any) -> Gaussian:
        """Return the prior of the latent numbers."""

    @abstractmethod
    def decode(self, context: Any, latent: Tensor) -> Tensor:
        """Return fields (B, 1, H, W), given a context and latent numbers."""


class Context(NamedTuple):
    """What the decoder and the posterior know.

    Attributes
    ----------
    known : Tensor, (B, k, H, W)
        Known channels, the driver first, and the encoder's features.
    calendar : Tensor, (B, embedded)
        Embedded calendar.
    levels : list of Tensor
        Features of the known channels at each level of the U-Net; empty without one.
    """

    known: Tensor
    calendar: Tensor
    levels: list[Tensor]

    @property
    def driver(self) -> Tensor:
        """The interpolated coarse field (B, 1, H, W)."""
        return self.known[:, :1]


class Inference(nn.Module):
    """Two convolutions of stride 2, and the mean and log variance of each latent number.

    Parameters
    ----------
    inputs : int
        Channels on the fine grid.
    options : LatentOptions
        `size` and `layout` are used.
    patch : int
        Side of a patch, for latent numbers in a vector.
    """

    def __init__(self, inputs: int, options: LatentOptions, patch: int) -> None:
        super().__init__()
        self.first = _halving(inputs)
        self.second = _halving(_HIDDEN)
        self.head: nn.Module
        if options.layout == "vector":
            self.head = RowLinear(_HIDDEN * (patch // FACTOR) ** 2, 2 * options.size)
        else:
            self.head = conv(_HIDDEN, 2 * options.size)
        self.flat = options.layout == "vector"

    def forward(self, x: Tensor) -> Gaussian:
        """Return Gaussians of the latent numbers, given channels (B, inputs, H, W)."""
        h = functional.silu(self.second(functional.silu(self.first(x))))
        return Gaussian.from_channels(self.head(h.flatten(1) if self.flat else h))


def _halving(inputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, _HIDDEN, 3, stride=2, padding=1, padding_mode="replicate")


class LatentToMap(nn.Module):
    """Maps latent numbers to channels on the latent grid, 4 times coarser than the fine one.

    Parameters
    ----------
    options : LatentOptions
        `size` and `layout` are used.
    channels, patch : int
        Channels of the output; side of a patch in pixels, for latent numbers in a vector.
    """

    def __init__(self, options: LatentOptions, channels: int, patch: int) -> None:
        super().__init__()
        side = patch // FACTOR
        self.shape = (channels, side, side) if options.layout == "vector" else None
        self.layer: nn.Module
        if self.shape:
            self.layer = RowLinear(options.size, channels * side * side)
        else:
            self.layer = nn.Conv2d(options.size, channels, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Return channels (B, channels, H / 4, W / 4)."""
        out: Tensor = self.layer(latent)
        return out.view(-1, *self.shape) if self.shape else out


class MapDecoder(nn.Module):
    """U-Net of the known maps; latent numbers are added at its level four times coarser.

    Parameters
    ----------
    known : int
        Channels of the context.
    config : NetworkConfig
        `channels`, `norm`, `dropout` and `driver_skip` are used.
    options, patch
        As for `LatentToMap`.
    """

    bound: Tensor

    def __init__(
        self, known: int, config: NetworkConfig, options: LatentOptions, patch: int
    ) -> None:
        super().__init__()
        channels = config.channels
        common = (channels, config.norm, config.dropout, _EMBEDDED)
        self.encoder = Encoder(known, *common)
        self.level = min(FACTOR.bit_length() - 1, len(channels) - 1)
        self.latent = LatentToMap(options, channels[self.level], patch)
        self.middle = Block(channels[-1], channels[-1], config.norm, config.dropout, _EMBEDDED)
        self.decoder = Decoder(*common)
        self.driver_skip = config.driver_skip
        self.register_buffer("bound", torch.tensor(config.output_bound))
        if config.driver_skip:
            # Before training the output is the driver.
            nn.init.zeros_(self.decoder.head.weight)
            nn.init.zeros_(self.decoder.head.bias)  # type: ignore[arg-type]

    def forward(self, context: Context, latent: Tensor) -> Tensor:
        """Return fields (B, 1, H, W)."""
        levels = list(context.levels)
        size = levels[self.level].shape[-2:]
        added = functional.interpolate(self.latent(latent), size=size, mode="nearest")
        levels[self.level] = levels[self.level] + added
        levels[-1] = self.middle(levels[-1], context.calendar)
        raw = self.decoder(levels, context.calendar).float()
        return bounded(raw, context.driver if self.driver_skip else None, self.bound)


class FilmDecoder(nn.Module):
    """Decoder of a patch that knows a vector of the conditions alone, by FiLM.

    A learned start of patch / 4 pixels on a side, to which the latent numbers are added, is doubled
    twice; a sigmoid bounds the output to [-1, 1], the range of scaled training data.

    Parameters
    ----------
    known : int
        Channels of the context, which are averaged over the patch.
    config : NetworkConfig
        `channels`, `norm` and `dropout` are used.
    options, patch
        As for `LatentToMap`.
    """

    def __init__(
        self, known: int, config: NetworkConfig, options: LatentOptions, patch: int
    ) -> None:
        super().__init__()
        side = patch // FACTOR
        wide = config.channels[min(2, len(config.channels) - 1)]
        first = config.channels[0]
        film = (config.norm, config.dropout, _EMBEDDED)
        self.start = nn.Parameter(torch.randn(1, wide, side, side))
        self.latent = LatentToMap(options, wide, patch)
        self.condition = nn.Sequential(
            RowLinear(known + _EMBEDDED, _EMBEDDED), nn.SiLU(), RowLinear(_EMBEDDED, _EMBEDDED)
        )
        self.blocks = nn.ModuleList([Block(wide, wide, *film), Block(wide, first, *film)])
        self.last = Block(first, first, *film)
        self.head = conv(first, 1)

    def forward(self, context: Context, latent: Tensor) -> Tensor:
        """Return fields (B, 1, H, W)."""
        seen = torch.cat([context.known.mean((-2, -1)), context.calendar], 1)
        vector = functional.silu(self.condition(seen))
        h = self.start + self.latent(latent)
        for block in self.blocks:
            h = functional.interpolate(block(h, vector), scale_factor=2, mode="nearest")
        raw = self.head(functional.silu(self.last(h, vector))).float()
        return 2 * torch.sigmoid(raw) - 1


class VariationalNetworks(LatentNetworks):
    """Encoder of lagged fields, posterior, prior and decoder of a variational autoencoder.

    Parameters
    ----------
    sizes, config, options
        As for `LatentNetworks`.
    decoder : str
        ``"maps"`` (`MapDecoder`) or ``"film"`` (`FilmDecoder`).
    patch : int
        Side of a training patch.
    """

    def __init__(
        self,
        sizes: Sizes,
        config: NetworkConfig,
        options: LatentOptions,
        decoder: str,
        patch: int,
    ) -> None:
        super().__init__(sizes, config, options)
        share = max(config.channels[0] // 2, 8)
        levels = feature_channels(config)
        self.projections = nn.ModuleList(nn.Conv2d(c, share, 1) for c in levels)
        known = self.known + share * len(levels)
        self.embedding = nn.Sequential(
            RowLinear(sizes.calendar, _EMBEDDED), nn.SiLU(), RowLinear(_EMBEDDED, _EMBEDDED)
        )
        kind = MapDecoder if decoder == "maps" else FilmDecoder
        self.decoder = kind(known, config, options, patch)
        sees_target = int(options.posterior == "target")
        self.inference = Inference(known + sees_target, options, patch)
        self.prior_inference: Inference | None = None
        if options.prior == "learned":
            self.prior_inference = Inference(known, options, patch)

    def condition(self, known: Tensor, calendar: Tensor, fine_lags: Tensor) -> Context:
        """Compute what does not depend on the latent numbers, as `PatchNetworks.inputs`."""
        features, spread = self.inputs(known, calendar, fine_lags)
        gathered = joined(spread, features, self.projections)
        embedded = functional.silu(self.embedding(calendar))
        levels: list[Tensor] = []
        if isinstance(self.decoder, MapDecoder):
            levels = self.decoder.encoder(gathered, embedded)
        return Context(gathered, embedded, levels)

    def posterior(self, context: Context, target: Tensor) -> Gaussian:
        """Return the posterior: of target minus driver and the known fields, or of these alone."""
        seen = context.known
        if self.options.posterior == "target":
            seen = torch.cat([seen, target - context.driver], 1)
        out: Gaussian = self.inference(seen)
        return out

    def prior(self, context: Context) -> Gaussian:
        """Return the prior: of the known fields, or standard normal."""
        if self.prior_inference is not None:
            out: Gaussian = self.prior_inference(context.known)
            return out
        known = context.known
        shape: tuple[int, ...] = (len(known), self.options.size)
        if self.options.layout == "map":
            shape = (*shape, known.shape[-2] // FACTOR, known.shape[-1] // FACTOR)
        return Gaussian.standard(known.new_zeros(shape))

    def decode(self, context: Context, latent: Tensor) -> Tensor:
        """Return fields (B, 1, H, W)."""
        out: Tensor = self.decoder(context, latent)
        return out
