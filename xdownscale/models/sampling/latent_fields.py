"""Generate residuals by diffusion in the latent space of an autoencoder."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional

from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.temporal_noise import corrected_shares
from xdownscale.models.networks.autoencoder import REACH, LatentNetworks
from xdownscale.models.networks.latent_options import FACTOR
from xdownscale.models.sampling.fields import Correlation, Floats, Guess, ResidualSampler
from xdownscale.models.sampling.tiling import evaluate_tiles


class LatentResidualSampler(ResidualSampler):
    """Samples latent numbers of a residual, decodes them once, and adds the conditional mean.

    Parameters
    ----------
    networks : LatentNetworks
        On their device, in evaluation mode.
    residual : ResidualStatistics
        Statistics of the residual in pixels, by which it is calibrated.
    latents : ResidualStatistics
        Statistics of the latent numbers; the initial noise has their spectra and memory.
    first_guess
        As for `FieldSampler`.
    """

    cell = FACTOR

    def __init__(
        self,
        networks: LatentNetworks,
        residual: ResidualStatistics,
        latents: ResidualStatistics,
        first_guess: Guess | None = None,
    ) -> None:
        super().__init__(networks, residual, first_guess)
        self.autoencoder = networks.autoencoder
        self.latents = latents

    @property
    def start(self) -> ResidualStatistics:
        """Statistics of the latent numbers."""
        return self.latents

    def channels(self, targets: int) -> int:
        """Return how many numbers a latent cell has."""
        return len(self.latents.scale)

    def decode(self, generated: Tensor, tile: int | None) -> Tensor:
        """Return scaled residuals (n, t, y, x), given standardised latent numbers."""
        decode = self.autoencoder.decode_standardised
        if tile is None:
            return functional.pixel_shuffle(decode(generated), FACTOR)
        cells = evaluate_tiles(decode, [generated], max(tile // FACTOR, 2 * REACH), REACH, 1)
        return functional.pixel_shuffle(cells, FACTOR)

    def correct_memory(self, true: Correlation, generated: Correlation) -> None:
        """Correct the noise of all latent numbers by the mean correlation of the targets."""
        shape = (len(self.latents.scale), true.shape[1])
        pair = (np.broadcast_to(each.mean(0), shape) for each in (true, generated))
        shares = corrected_shares(self.latents.shares, *pair)
        self.latents = self.latents._replace(shares=shares)

    def statistics(self) -> dict[str, Floats]:
        """Return what is measured of residual and latent numbers, as a state keeps it."""
        return super().statistics() | self.latents.to_state("latent.")
