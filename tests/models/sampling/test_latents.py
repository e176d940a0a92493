"""Latent numbers of patches: variance, correlation of neighbours, what they depend on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import xdownscale as xd
from xdownscale.models.networks.latent_options import LatentOptions
from xdownscale.models.sampling.latents import _Sampling, vectors
from xdownscale.patches.layout import PatchLayout, taper


@pytest.mark.parametrize("name", ["hann", "triangle", "uniform", "nearest"])
def test_vectors_are_standard_normal_and_correlate_by_their_overlap(name):
    """Variance 1, and sum of w_i w_j over the overlap for neighbours, by 40,000 numbers."""
    layout = PatchLayout((8, 12), size=8, stride=4, halo=0, taper=name)
    white = torch.randn(1, 40_000, 8, 12, generator=torch.Generator().manual_seed(0))
    found = vectors(white, layout, np.arange(2)).numpy()
    np.testing.assert_allclose(found.var(1), 1, rtol=0.02)
    row = taper(name, 8)
    wanted = (row[4:] * row[:4]).sum() / np.square(row).sum()
    assert np.corrcoef(found)[0, 1] == pytest.approx(wanted, abs=0.02)


def sampling(options, *, layout="patches", keys=((0, 5), (1, 5), (0, 9)), corner=(0, 0)):
    """Return a call of the sampler for fields of 16 x 24 pixels in a domain of 40 x 48."""
    config = xd.preset("paper", method="vae", sampling={"size": 8, "stride": 4, "halo": 1})
    made = object.__new__(_Sampling)
    made.networks = SimpleNamespace(options=options)
    made.request = SimpleNamespace(seed=3, config=config, domain=(40, 48), corner=corner)
    made.sampling = config.sampling
    made.keys = np.array(keys)
    made.shape = (16, 24)
    return made


LAYOUT = PatchLayout((16, 24), size=8, stride=4, halo=1)
each = pytest.mark.parametrize(
    "options", [LatentOptions(), LatentOptions(layout="vector", size=3)], ids=["map", "vector"]
)


@each
def test_noise_does_not_depend_on_batch_order_or_realizations(options):
    count = LAYOUT.n_patches
    numbers = np.arange(3 * count)
    together = sampling(options).patch_noise(LAYOUT, numbers, 0)
    for chosen in (numbers[4:5], numbers[count - 2 : count + 3], numbers[2 * count :]):
        assert torch.equal(sampling(options).patch_noise(LAYOUT, chosen, 0), together[chosen])
    swapped = sampling(options, keys=((0, 9), (0, 5))).patch_noise(LAYOUT, numbers[: 2 * count], 0)
    assert torch.equal(swapped[:count], together[2 * count :])
    assert torch.equal(swapped[count:], together[:count])
    assert len(torch.unique(together.flatten(1)[:, 0])) > count


def test_patches_of_a_map_share_the_numbers_where_they_overlap():
    noise = sampling(LatentOptions()).patch_noise(LAYOUT, np.arange(2), 0)
    assert torch.equal(noise[0, :, :, 1], noise[1, :, :, 0])  # corners at x = 0 and 4


def test_the_whole_image_has_the_numbers_of_its_patches():
    made = sampling(LatentOptions())
    whole = made.image_noise(np.array([1]), (16, 24), 0)
    assert whole.shape == (1, 4, 4, 6)
    patches = made.patch_noise(LAYOUT, np.arange(LAYOUT.n_patches, 2 * LAYOUT.n_patches), 0)
    for patch, (y, x) in zip(patches, LAYOUT.positions // 4, strict=True):
        assert torch.equal(patch, whole[0, :, y : y + 2, x : x + 2])


@each
def test_regions_share_the_noise_of_the_domain(options):
    count = LAYOUT.n_patches
    first = sampling(options).patch_noise(LAYOUT, np.arange(count), 0)
    shifted = sampling(options, corner=(0, 4)).patch_noise(LAYOUT, np.arange(count), 0)
    places = LAYOUT.positions.tolist()
    for number, (y, x) in enumerate(places):
        if [y, x + 4] in places:
            torch.testing.assert_close(shifted[number], first[places.index([y, x + 4])])


def test_latent_maps_are_standard_normal():
    noise = sampling(LatentOptions(size=4000)).image_noise(np.array([0]), (16, 24), 0)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.var()) == pytest.approx(1, rel=0.02)
