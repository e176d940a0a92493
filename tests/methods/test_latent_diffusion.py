"""Diffusion in a latent space: the autoencoder, what is measured of it, and generated fields."""

from __future__ import annotations

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

import xdownscale as xd
from records import field_arrays, make_pair, tiny_config
from xdownscale import methods
from xdownscale.core.errors import OptionError, XDownscaleWarning
from xdownscale.models.networks.autoencoder import REACH, Autoencoder
from xdownscale.models.networks.latent import Gaussian
from xdownscale.models.networks.state import count_parameters
from xdownscale.models.sampling.latent_fields import LatentResidualSampler
from xdownscale.models.sampling.request import SampleRequest
from xdownscale.models.training.data import conditions_of
from xdownscale.models.training.residual import measure_latents
from xdownscale.models.training.run import TrainingRun


def any_autoencoder(targets=1, size=4, seed=0):
    torch.manual_seed(seed)
    autoencoder = Autoencoder(targets, size).eval()
    for parameter in autoencoder.parameters():
        parameter.data.normal_(0, 0.2)
    return autoencoder


@torch.inference_mode()
def test_a_pixel_depends_on_a_bounded_neighbourhood():
    autoencoder = any_autoencoder()
    latents = torch.randn(1, 4, 25, 25)
    moved = latents.clone()
    moved[..., 12, 12] += 1
    changed = (autoencoder.decode(latents) != autoencoder.decode(moved))[0, 0]
    rows, columns = np.nonzero(changed.numpy())
    for found in (rows, columns):
        assert found.min() >= 4 * (12 - REACH)
        assert found.max() < 4 * (12 + REACH + 1)


@torch.inference_mode()
def test_latent_cells_are_of_four_by_four_pixels_and_standardising_is_undone():
    autoencoder = any_autoencoder(targets=2)
    autoencoder.center.copy_(torch.tensor([1.0, -2.0, 0.0, 3.0]))
    autoencoder.spread.copy_(torch.tensor([0.5, 2.0, 1.0, 4.0]))
    fields = torch.randn(3, 2, 16, 24)
    assert autoencoder.encode(fields).mean.shape == (3, 4, 4, 6)
    cells = autoencoder.decode_standardised(autoencoder.standardised(fields))
    plain = autoencoder.decode(autoencoder.encode(fields).mean)
    torch.testing.assert_close(functional.pixel_shuffle(cells, 4), plain, atol=1e-5, rtol=1e-5)


def test_what_lies_in_as_many_dimensions_is_reproduced():
    """Squares of 4 x 4 pixels that are sums of 4 patterns can be encoded without loss."""
    generator = torch.Generator().manual_seed(1)
    patterns = torch.linalg.qr(torch.randn(16, 4, generator=generator))[0]

    def fields(count):
        numbers = 2 * torch.randn(count, 4, 6, 6, generator=generator)
        return functional.pixel_shuffle(torch.einsum("pk,bkyx->bpyx", patterns, numbers), 4)

    torch.manual_seed(0)
    autoencoder = Autoencoder(1, 4)
    steps = 800
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = fields(4)
        loss = (autoencoder.decode(autoencoder.encode(batch).mean) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    new = fields(20)
    with torch.inference_mode():
        error = autoencoder.decode(autoencoder.encode(new).mean) - new
    assert error.square().mean() < 1e-3 * new.square().mean()


def test_latent_numbers_of_true_fields_are_standardised():
    given = field_arrays()
    means = np.zeros(given.fine.shape, np.float32)
    scale = np.array([0.3, 2.0])
    autoencoder = any_autoencoder(targets=2)
    latents = measure_latents(given, means, scale, autoencoder)
    truth = np.nan_to_num(given.fine[given.train_targets]) / scale[:, None, None]
    with torch.inference_mode():
        found = autoencoder.standardised(torch.from_numpy(truth.astype(np.float32))).numpy()
    np.testing.assert_allclose(found.mean((0, 2, 3)), 0, atol=0.02)
    np.testing.assert_allclose(found.std((0, 2, 3)), 1, rtol=0.02)
    np.testing.assert_array_equal(latents.scale, 1)
    assert latents.shares.shape == (4, 5)
    assert len(latents.spectra) == 4
    for spectrum in latents.spectra:  # a spectrum's mean over all modes is the variance
        assert 0.5 < spectrum.power.mean() < 2


def config_of(**sections):
    network = {"channels": (8, 16), "encoder": "none"} | sections.pop("network", {})
    training = {"epochs": 8, "mean_epochs": 2} | sections.pop("training", {})
    return xd.preset(
        "latent_diffusion",
        network=network,
        training=training,
        data={"crop": 32, "lags": 3},
        diffusion={"folds": 1},
        **sections,
    )


def sampler_of(given):
    config = config_of()
    method = methods.find("latent_diffusion")
    trained = method.train(given, TrainingRun(config=config, seed=1, device="cpu"))
    return config, method.load(trained.state, config, given.sizes, "cpu")


def request_of(given, rows, config):
    return SampleRequest(
        conditions=conditions_of(given, np.asarray(rows)),
        config=config,
        realizations=(0, 1, 2, 3),
        seed=5,
        step=given.step,
        device="cpu",
        corner=(0, 0),
        domain=given.shape,
        stitching="whole",
    )


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    coarse, fine = (record["t"] for record in make_pair(60))
    config = tiny_config("latent_diffusion")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        return coarse.downscale.fit(fine, preset=config, progress=False)


def predicted(model, **options):
    coarse = make_pair(60)[0]["t"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # a network of a second drifts
        return model.predict(coarse, time=coarse.time[40:42], seed=1, **options)


def test_a_realization_is_decoded_once(model, monkeypatch):
    decoded = []
    decode = Autoencoder.decode

    def counted(self, latents):
        decoded.append(len(latents))
        return decode(self, latents)

    monkeypatch.setattr(Autoencoder, "decode", counted)
    predicted(model, realizations=3)
    assert sum(decoded) == 6  # 3 realizations of 2 days, whatever the number of steps


def test_history_names_the_autoencoder(model):
    stages = list(dict.fromkeys(np.ravel(model.history_["stage"]).tolist()))
    assert stages[0] == "pretrain"
    assert stages[-2:] == ["autoencode", "denoise"]


def test_parameters_of_the_autoencoder_are_counted(model):
    counts = count_parameters(model.models_["all"].state)
    assert set(counts) == {"encoder", "regressions", "drawer", "autoencoder"}


def test_tiles_give_the_whole_field():
    networks = SimpleNamespace(autoencoder=any_autoencoder())
    sampler = LatentResidualSampler(networks, None, None)
    latents = torch.randn(2, 4, 40, 32)
    with torch.inference_mode():
        whole = sampler.decode(latents, None)
        tiled = sampler.decode(latents, 48)
    assert whole.shape == (2, 1, 160, 128)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)


def test_generated_residuals_have_the_spread_of_true_ones():
    """Of noise, constant in each latent cell, which the driver says nothing of."""
    torch.set_num_threads(1)
    given = field_arrays()
    squares = given.fine[..., 1::4, 1::4].repeat(4, -1).repeat(4, -2)
    given = replace(given, fine=squares, own=(-1, -1))
    config, sampler = sampler_of(given)
    rows = given.tune_targets
    fields = sampler.sample(request_of(given, rows, config))
    mean = sampler.sample(request_of(given, rows, config.override(sampling={"sampler": "mean"})))
    inside = (slice(None), slice(8, -8), slice(8, -8))  # the spread is measured under a taper
    true, made = ((x - mean)[(..., *inside)] for x in (given.fine[rows], fields))
    assert np.all(np.abs(made.std((0, 1, 3, 4)) / true.std((0, 1, 3, 4)) - 1) < 0.05)


def test_tiles_of_generated_fields_give_the_whole_field():
    given = field_arrays(days=8, shape=(96, 240))
    given = replace(given, train_targets=np.arange(4), stop_targets=np.arange(4, 8))
    given = replace(given, tune_targets=np.arange(0))
    config, sampler = sampler_of(given)
    whole = sampler.sample(request_of(given, [5], config))
    tiled = sampler.sample(request_of(given, [5], config.override(sampling={"tile": 160})))
    assert not np.array_equal(tiled, whole)  # they were evaluated in another way
    np.testing.assert_allclose(tiled, whole, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network": {"unshuffle": 2}}, "covers 4 x 4 pixels: give"),
        ({"options": {"size": 0}}, "1 latent number or more"),
        ({"options": {"weight": float("nan")}}, "a finite number, 0 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, says):
    with pytest.raises(OptionError, match=says):
        xd.preset("latent_diffusion", **changes)


def test_the_kl_is_that_of_standard_numbers():
    one = Gaussian(torch.zeros(1, 1), torch.zeros(1, 1))
    assert one.kl(Gaussian.standard(one.mean)).item() == 0
