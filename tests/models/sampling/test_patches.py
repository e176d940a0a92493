from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from xdownscale.core.errors import ModelMismatchError, OptionError
from xdownscale.models.diffusion import noise
from xdownscale.models.diffusion.schedules import squared_cosine
from xdownscale.models.networks.unet import Denoiser, Networks
from xdownscale.models.sampling.chain import ChainSampler
from xdownscale.models.sampling.request import SampleRequest

CHANNELS = 2 + 3  # static fields and calendar


@pytest.fixture
def keys(arrays):
    """Return realization and time step of each field."""
    return np.stack([np.array([0, 0, 1]), arrays.stop_targets - 400], axis=1)


def make_networks(config, awake=True):
    torch.manual_seed(0)
    networks = Networks(config.data.lags, CHANNELS, config.network).eval()
    if awake:
        torch.nn.init.normal_(networks.denoiser.decoder.head.weight, std=0.05)
    return networks


def draw(config, conditions, keys, networks=None, **options):
    """Return fields (n, y, x)."""
    options = {"seed": 1, "device": "cpu", "stitching": "patches"} | options
    shape = conditions.static.shape[-2:]
    options = {"corner": (0, 0), "domain": shape} | options
    given = dataclasses.replace(conditions, keys=keys[:, 1], members=keys[:, 0])
    request = SampleRequest(conditions=given, config=config, realizations=(), step=86400, **options)
    fields = ChainSampler(networks or make_networks(config)).sample(request)
    assert fields.shape == (1, len(keys), 1, *shape)
    return fields[0, :, 0]


def take(conditions, chosen):
    per_field = ("window", "fine_lags", "coarse", "calendar")
    changed = {name: getattr(conditions, name)[chosen] for name in per_field}
    return dataclasses.replace(conditions, **changed)


def driver(conditions):
    """Return the interpolated fields of the time steps themselves."""
    return conditions.window[:, 0, 0]


samplers = pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
stitchings = pytest.mark.parametrize("stitching", ["patches", "whole"])
noises = pytest.mark.parametrize("kind", ["shared", "independent"])


@samplers
@noises
def test_the_batch_size_does_not_matter(config, conditions, keys, sampler, kind):
    drawn = []
    for size in (1, 7, 1000):
        sampling = {"sampler": sampler, "noise": kind, "batch_size": size}
        drawn.append(draw(config.replace(sampling=sampling), conditions, keys))
    for other in drawn[1:]:
        np.testing.assert_allclose(other, drawn[0], atol=2e-5)


@stitchings
@noises
def test_the_batch_and_the_order_of_fields_do_not_matter(config, conditions, keys, stitching, kind):
    config = config.replace(sampling={"noise": kind, "sampler": "ddpm"})
    together = draw(config, conditions, keys, stitching=stitching)
    for chosen in ([2, 0, 1], [1]):
        alone = draw(config, take(conditions, chosen), keys[chosen], stitching=stitching)
        np.testing.assert_allclose(alone, together[chosen], atol=2e-5)


@samplers
@stitchings
def test_seed_realization_and_day_decide(config, conditions, keys, sampler, stitching):
    config = config.replace(sampling={"sampler": sampler})
    base = draw(config, conditions, keys, stitching=stitching)
    assert base.dtype == np.float32
    assert base.shape == driver(conditions).shape
    np.testing.assert_array_equal(base, draw(config, conditions, keys, stitching=stitching))
    for seed, change in ((2, [0, 0]), (1, [1, 0]), (1, [0, 1])):
        other = draw(config, conditions, keys + change, seed=seed, stitching=stitching)
        assert np.abs(other - base).max() > 1e-4


@samplers
@stitchings
def test_an_untrained_network_generates_the_interpolated_field(
    config, conditions, keys, sampler, stitching
):
    config = config.replace(sampling={"sampler": sampler})
    networks = make_networks(config, awake=False)
    drawn = draw(config, conditions, keys, networks, stitching=stitching)
    assert np.abs(driver(conditions)).max() < 1.1
    np.testing.assert_allclose(drawn, driver(conditions), atol=1e-5)


def test_missing_inputs_leave_no_nan(config, conditions, keys):
    holed = {}
    for name in ("window", "fine_lags", "static"):
        array = getattr(conditions, name).copy()
        array[..., 2, 3] = np.nan
        array.flags.writeable = False
        holed[name] = array
    drawn = draw(config, dataclasses.replace(conditions, **holed), keys)
    assert np.isfinite(drawn).all()


def test_missing_fine_lags_are_the_coarse_ones(config, conditions, keys):
    lost = dataclasses.replace(conditions, fine_lags=np.full_like(conditions.fine_lags, np.nan))
    cold = dataclasses.replace(conditions, fine_lags=conditions.window[:, 1:])
    np.testing.assert_array_equal(draw(config, lost, keys), draw(config, cold, keys))


def test_an_image_that_cannot_be_halved_is_generated_in_one_piece(config, conditions, keys):
    odd = {
        name: getattr(conditions, name)[..., :11, :13] for name in ("window", "fine_lags", "static")
    }
    drawn = draw(config, dataclasses.replace(conditions, **odd), keys, stitching="whole")
    assert drawn.shape == (3, 11, 13)
    assert np.isfinite(drawn).all()


def test_a_part_of_an_image_takes_its_part_of_the_noise(config, conditions, keys, monkeypatch):
    def echo(self, noisy, step, conditioned):
        return noisy

    monkeypatch.setattr(Denoiser, "forward", echo)
    config = config.replace(sampling={"steps": 1})
    part = {"corner": (4, 5), "domain": (30, 40), "stitching": "whole"}
    drawn = draw(config, conditions, keys, **part)
    whole = noise.field(1, 0, int(keys[0, 1]), 0, (30, 40))
    np.testing.assert_array_equal(drawn[0], whole[4:16, 5:21])


def exact_denoiser(covariance):
    """E[x_0 | x_t] of a Gaussian patch with mean 0."""
    chain = squared_cosine(1000)
    values, vectors = np.linalg.eigh(covariance)

    def forward(self, noisy, step, conditioned):
        left = chain.at(int(step[0]))
        gain = values * np.sqrt(left) / (values * left + 1 - left)
        matrix = torch.from_numpy((vectors * gain) @ vectors.T).float()
        return (noisy.flatten(1) @ matrix).reshape(noisy.shape)

    return forward


def spread(fields):
    return fields.std(axis=0)


@pytest.fixture
def many(conditions):
    """300 realizations of one day, on 12 x 16 pixels."""
    chosen = np.zeros(300, int)
    return take(conditions, chosen), np.stack([np.arange(300), chosen], axis=1)


def patch_covariance(size=8, scale=3.0):
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    place = np.stack([y.ravel(), x.ravel()], 1)
    distance = np.linalg.norm(place[:, None] - place[None], axis=-1)
    return np.exp(-distance / scale)


def test_overlaps_keep_the_variance_where_noise_is_shared(config, many, monkeypatch):
    monkeypatch.setattr(Denoiser, "forward", exact_denoiser(patch_covariance()))
    sampling = {"steps": 40, "halo": 1, "stride": 4, "batch_size": 4096}
    stats = {}
    for kind in ("shared", "independent"):
        fields = draw(config.replace(sampling=sampling | {"noise": kind}), *many)
        rough = 0.5 * np.square(np.diff(fields, axis=-1)).mean(axis=0)
        single = fields.std(axis=0)[:3, :3].mean(), rough[:3, :2].mean()
        inside = fields.std(axis=0)[4:7, 5:11].mean(), rough[4:7, 5:10].mean()
        stats[kind] = np.divide(inside, single)
    assert stats["shared"] == pytest.approx([1, 1], abs=0.12)
    assert stats["independent"][0] < 0.85


def test_pointwise_data_are_alike_by_patches_and_in_one_piece(config, many, monkeypatch):
    monkeypatch.setattr(Denoiser, "forward", exact_denoiser(np.eye(64) * 0.25))
    config = config.replace(sampling={"sampler": "ddpm", "steps": 100, "batch_size": 4096})
    patches = draw(config, *many)
    assert patches.std() == pytest.approx(0.5, rel=0.05)
    monkeypatch.setattr(Denoiser, "forward", exact_denoiser(np.eye(192) * 0.25))
    whole = draw(config, *many, stitching="whole")
    np.testing.assert_allclose(patches, whole, atol=1e-4)


def test_other_channels_than_trained_are_refused(config, conditions, keys):
    fewer = dataclasses.replace(conditions, static=conditions.static[:1])
    with pytest.raises(ModelMismatchError, match=r"conditions have 7 channels.* take 8 channels"):
        draw(config, fewer, keys)
    short = dataclasses.replace(conditions, fine_lags=conditions.fine_lags[:, :1])
    with pytest.raises(ModelMismatchError, match="1 fine lags"):
        draw(config, short, keys)


def test_an_unknown_stitching_is_refused(config, conditions, keys):
    with pytest.raises(OptionError, match=r"Unknown stitching: 'wholly'.*Did you mean 'whole'"):
        draw(config, conditions, keys, stitching="wholly")
