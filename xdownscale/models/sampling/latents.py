"""Generate fields by decoding latent numbers, which depend on seed, realization and time alone.

Latent numbers come from one noise field of the whole domain: a map of them is a crop, on a grid 4
times coarser than the fine one; a vector of them is one weighted sum over the patch for each.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.models.diffusion import noise
from xdownscale.models.networks.latent_options import FACTOR, latent_shape
from xdownscale.models.sampling.patch_sampler import Floats, Noise, PatchSampler, PatchSampling
from xdownscale.models.sampling.patches import Indices, cut_patches
from xdownscale.patches.layout import PatchLayout, taper


class _Sampling(PatchSampling):
    """One call of `LatentSampler.sample`."""

    @property
    def unit(self) -> int:
        """Number of pixels that the sides of an image in one piece must be a multiple of."""
        levels = len(self.request.config.network.channels)
        return max(FACTOR, int(2 ** (levels - 1)))

    def patch_noise(self, layout: PatchLayout, numbers: Indices, step: int) -> Tensor:
        """Return standard normal latent numbers of some patches, (m, size, ...)."""
        fields, patches = np.divmod(numbers, layout.n_patches)
        options = self.networks.options
        if self.sampling.noise != "shared":
            shape = latent_shape(options, layout.size, layout.size)
            own = [
                noise.field(self.request.seed, int(realization), int(key), step, shape, int(patch))
                for (realization, key), patch in zip(self.keys[fields], patches, strict=True)
            ]
            return torch.from_numpy(np.stack(own))
        present = np.unique(fields)  # consecutive
        if options.layout == "vector":
            local = numbers - present[0] * layout.n_patches
            white = np.stack([self._white(field, step, 1) for field in present])
            return vectors(torch.from_numpy(white), layout, local)
        maps = {field: self._white(field, step, FACTOR) for field in present.tolist()}
        side = layout.size // FACTOR
        crops = [
            self._crop(maps[field], tuple(layout.positions[patch].tolist()), (side, side))
            for field, patch in zip(fields.tolist(), patches.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(crops))

    def image_noise(self, block: Indices, size: tuple[int, int], step: int) -> Tensor:
        """Return the latent maps of whole images, wrapped around beyond the domain."""
        shape = (size[0] // FACTOR, size[1] // FACTOR)
        maps = [self._crop(self._white(field, step, FACTOR), (0, 0), shape) for field in block]
        return torch.from_numpy(np.stack(maps))

    def _white(self, field: int, step: int, factor: int) -> Floats:
        """Return the noise of a field, (size, y, x); of the whole domain, or under the image."""
        realization, key = (int(number) for number in self.keys[field])
        ny, nx = (-(-n // factor) for n in self.request.domain)
        shape = (self.networks.options.size, ny, nx)
        whole = noise.field(self.request.seed, realization, key, step, shape)
        if factor > 1:
            return whole
        y, x = self.request.corner
        return whole[:, y : y + self.shape[0], x : x + self.shape[1]]

    def _crop(self, whole: Floats, pixel: tuple[int, ...], shape: tuple[int, int]) -> Floats:
        """Crop the latent map that begins under a pixel (y, x) of the image.

        A patch flush with the far edge, or a region, may begin inside a latent pixel: its first
        latent pixel is that one.
        """
        rows, columns = (
            (corner + own) // FACTOR + np.arange(n)
            for corner, own, n in zip(self.request.corner, pixel, shape, strict=True)
        )
        wrapped = np.ix_(rows % whole.shape[1], columns % whole.shape[2])
        return whole[:, wrapped[0], wrapped[1]]

    def generate(self, known: Tensor, fine_lags: Tensor, calendar: Tensor, white: Noise) -> Tensor:
        """Decode latent numbers of the prior, or its mean."""
        context = self.networks.condition(known, calendar, fine_lags)
        prior = self.networks.prior(context)
        latent = prior.mean if self.sampling.sampler == "mean" else prior.at(white(0))
        field: Tensor = self.networks.decode(context, latent)
        return field


def vectors(white: Tensor, layout: PatchLayout, numbers: Indices) -> Tensor:
    """Return latent vectors of patches: weighted sums over white noise, each N(0, 1).

    Neighbouring patches correlate by the overlap of their weights, which are the layout's taper
    over the patch, with a sum of squares of 1.

    Parameters
    ----------
    white : Tensor, (n, size, y, x)
        White noise of some fields, one layer for each latent number.
    layout : PatchLayout
        Where patches lie.
    numbers : ndarray of int (m,)
        Number of each patch.

    Returns
    -------
    Tensor, (m, size)
    """
    weights = torch.from_numpy(_weights(layout)).flatten()
    out = []
    for number in numbers:  # one by one: sums must not depend on the batch
        patch = cut_patches(white, layout, np.array([number]))[0]
        out.append((patch.double().flatten(1) * weights).sum(1))
    return torch.stack(out).float()


def _weights(layout: PatchLayout) -> NDArray[np.float64]:
    """Return the weights of the pixels of a patch in its latent numbers."""
    row = taper(layout.taper, layout.size)
    row = row / np.sqrt(np.square(row).sum())
    return np.outer(row, row)


class LatentSampler(PatchSampler):
    """Generates fields of one variable by decoding latent numbers.

    Parameters
    ----------
    networks : LatentNetworks
        In evaluation mode.
    """

    sampling = _Sampling
