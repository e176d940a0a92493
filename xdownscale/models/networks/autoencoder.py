"""Autoencoder of residual fields, and the networks of diffusion in its latent space.

A latent cell covers 4 x 4 pixels. Convolutions have replicated edges, and norms are of each cell by
itself: what is decoded at a pixel depends on a bounded neighbourhood of latent cells alone.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.batch_invariance import silu
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.field_unet import FieldNet, FieldNetworks
from xdownscale.models.networks.latent import Gaussian
from xdownscale.models.networks.latent_options import FACTOR
from xdownscale.models.networks.layers import conv
from xdownscale.models.networks.unet import PixelNorm

REACH = 5  # latent cells around a pixel that its decoded value depends on
_WIDTH = 32


class _Block(nn.Module):
    """Residual block: norm, SiLU, convolution, twice; nothing at first."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = PixelNorm(_WIDTH)
        self.norm2 = PixelNorm(_WIDTH)
        self.conv1 = conv(_WIDTH, _WIDTH)
        self.conv2 = conv(_WIDTH, _WIDTH)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, 32, h, w) to the same shape."""
        h = self.conv1(silu(self.norm1(x)))
        out: Tensor = x + self.conv2(silu(self.norm2(h)))
        return out


class Autoencoder(nn.Module):
    """Encodes fields as latent numbers on a grid 4 times coarser, and decodes them.

    Parameters
    ----------
    targets : int
        Fields of a time step.
    size : int
        Numbers of a latent cell.

    Attributes
    ----------
    center, spread : Tensor (size,)
        Mean and standard deviation of the numbers that true fields are encoded as.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, targets: int, size: int) -> None:
        super().__init__()
        self.stem = conv(4 * targets, _WIDTH)
        self.encode_half = _Block()
        self.coarsen = nn.Conv2d(4 * _WIDTH, _WIDTH, 1)
        self.encode_quarter = _Block()
        self.numbers = nn.Conv2d(_WIDTH, 2 * size, 1)
        self.start = conv(size, _WIDTH)
        self.decode_quarter = _Block()
        self.refine = nn.Conv2d(_WIDTH, 4 * _WIDTH, 1)
        self.decode_half = _Block()
        self.head = conv(_WIDTH, 4 * targets)
        self.register_buffer("center", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))

    def encode(self, fields: Tensor) -> Gaussian:
        """Return the posterior (B, size, h, w) of latent numbers, given fields (B, t, 4h, 4w)."""
        x = self.encode_half(self.stem(functional.pixel_unshuffle(fields, 2)))
        x = self.encode_quarter(self.coarsen(functional.pixel_unshuffle(x, 2)))
        return Gaussian.from_channels(self.numbers(x))

    def decode(self, latents: Tensor) -> Tensor:
        """Return fields (B, t, 4h, 4w), given latent numbers (B, size, h, w)."""
        x = self.decode_quarter(self.start(latents))
        x = self.decode_half(functional.pixel_shuffle(self.refine(x), 2))
        return functional.pixel_shuffle(self.head(x), 2)

    def standardised(self, fields: Tensor) -> Tensor:
        """Return the posterior's means (B, size, h, w), with mean 0 and variance 1 over fields."""
        center, spread = (each[:, None, None] for each in (self.center, self.spread))
        return (self.encode(fields).mean - center) / spread

    def decode_standardised(self, latents: Tensor) -> Tensor:
        """Decode what `standardised` returns; fields come as cells, (B, 16 t, h, w).

        Examples
        --------
        >>> cells = Autoencoder(1, 4).decode_standardised(torch.zeros(1, 4, 3, 5))
        >>> functional.pixel_shuffle(cells, 4).shape
        torch.Size([1, 1, 12, 20])
        """
        center, spread = (each[:, None, None] for each in (self.center, self.spread))
        return functional.pixel_unshuffle(self.decode(latents * spread + center), FACTOR)


class LatentNetworks(FieldNetworks):
    """Networks of a group: encoder, regressions, autoencoder, and the denoiser of latent numbers.

    Parameters
    ----------
    sizes : Sizes
        Numbers that the data decide.
    regressions : int
        Regressions whose mean is the conditional mean.
    size : int
        Numbers of a latent cell.
    config : NetworkConfig
        The networks; the denoiser takes the known fields in squares of 4 pixels.
    """

    def __init__(self, sizes: Sizes, regressions: int, size: int, config: NetworkConfig) -> None:
        super().__init__(sizes, regressions, 0, config)
        self.autoencoder = Autoencoder(sizes.targets, size)
        cells = replace(config, unshuffle=1)
        seen = sizes.known + sizes.targets
        self.drawer = FieldNet(seen, sizes.calendar, size, size, cells, cell=FACTOR)
