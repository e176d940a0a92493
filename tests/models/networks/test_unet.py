from __future__ import annotations

import pytest
import torch
from torch import nn

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.unet import Block, Forecaster, Networks, PixelNorm

STATIC, CALENDAR = 2, 2


def make(size=(16, 16), lags=3, batch=2, **options):
    torch.manual_seed(0)
    options = {"channels": (16, 24, 32), "encoder_channels": (8, 16, 24)} | options
    networks = Networks(lags, STATIC + CALENDAR, NetworkConfig(**options))
    fields = [torch.randn(batch, c, *size) * 0.5 for c in (1, lags, lags, STATIC)]
    fields.append(torch.randn(batch, CALENDAR) * 0.5)
    return networks, fields, torch.randn(batch, 1, *size)


def evaluate(networks, fields, noisy, step=500):
    steps = torch.full((len(noisy),), step)
    driver, coarse_lags, fine_lags, static, calendar = fields
    known = torch.cat([driver, coarse_lags, static], 1)
    return networks.denoiser(noisy, steps, networks.condition(known, calendar, fine_lags))


def awaken(networks):
    """Give weights to the layers that start at zero, as training would."""
    torch.nn.init.normal_(networks.denoiser.decoder.head.weight, std=0.1)
    for name, weights in networks.denoiser.named_parameters():
        if name.endswith("film.weight"):
            torch.nn.init.normal_(weights, std=0.1)


@pytest.mark.parametrize("size", [(4, 4), (5, 9), (16, 16), (17, 30)])
@pytest.mark.parametrize("attention", [False, True])
def test_any_image_of_four_pixels_or_more_fits(size, attention):
    networks, fields, noisy = make(size, attention=attention)
    awaken(networks)
    clean = evaluate(networks, fields, noisy)
    assert clean.shape == noisy.shape
    assert clean.isfinite().all()
    assert Forecaster(3, NetworkConfig())(fields[1]).shape == noisy.shape


def test_a_single_level_is_a_network_too():
    networks, fields, noisy = make(channels=(16,), encoder_channels=(8,))
    assert evaluate(networks, fields, noisy).shape == noisy.shape


def test_an_untrained_network_with_the_skip_is_interpolation():
    networks, fields, noisy = make()
    fields[0] = fields[0].clamp(-1.1, 1.1)
    torch.testing.assert_close(evaluate(networks, fields, noisy), fields[0], rtol=1e-5, atol=1e-5)


def test_without_the_skip_it_is_not():
    networks, fields, noisy = make(driver_skip=False)
    assert (evaluate(networks, fields, noisy) - fields[0]).abs().mean() > 0.1


@pytest.mark.parametrize("driver_skip", [False, True])
def test_the_output_is_bounded(driver_skip):
    networks, fields, noisy = make(driver_skip=driver_skip, output_bound=1.5)
    torch.nn.init.normal_(networks.denoiser.decoder.head.weight, std=100)
    clean = evaluate(networks, [100 * f for f in fields], 100 * noisy)
    assert 1.4 < clean.abs().max().item() <= 1.5


def test_the_output_depends_on_every_input():
    networks, fields, noisy = make()
    awaken(networks)
    base = evaluate(networks, fields, noisy)
    assert not torch.equal(base, evaluate(networks, fields, noisy + 1))
    assert not torch.equal(base, evaluate(networks, fields, noisy, step=10))
    for k in range(5):
        changed = [f + (i == k) for i, f in enumerate(fields)]
        assert not torch.equal(base, evaluate(networks, changed, noisy)), k


def test_without_an_encoder_fine_lags_are_not_looked_at():
    networks, fields, noisy = make(encoder="none")
    awaken(networks)
    changed = [f + (i == 2) for i, f in enumerate(fields)]
    assert torch.equal(evaluate(networks, fields, noisy), evaluate(networks, changed, noisy))
    assert networks.encoder is None


@pytest.mark.parametrize(("encoder", "learns"), [("frozen", False), ("finetuned", True)])
def test_a_frozen_encoder_has_no_gradient_and_no_training_mode(encoder, learns):
    networks, fields, noisy = make(encoder=encoder, dropout=0.5)
    awaken(networks)
    networks.train()
    evaluate(networks, fields, noisy).sum().backward()
    assert all((p.grad is not None) == learns for p in networks.encoder.parameters())
    assert networks.encoder.training == learns
    assert networks.denoiser.training


def test_pixel_norm_by_hand():
    norm = PixelNorm(2)
    x = torch.tensor([3.0, 4.0, 0.0, 0.0, -1.0, 1.0]).view(3, 2, 1, 1)
    with torch.no_grad():
        norm.weight[1] = 2.0
        found = norm(x).flatten(1)
    root = 12.5**0.5
    expected = torch.tensor([[3 / root, 8 / root], [0.0, 0.0], [-1.0, 2.0]])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_pixel_norm_is_blind_to_the_far_surroundings_and_group_norm_is_not():
    seen = {}
    for norm in ("rms", "group"):
        networks, fields, noisy = make((64, 64), norm=norm, channels=(16, 24))
        awaken(networks)
        far = [f.clone() for f in fields]
        for f in far[:4]:
            f[..., 48:] += 3
        near = (..., slice(16), slice(16))
        change = evaluate(networks, fields, noisy)[near] - evaluate(networks, far, noisy)[near]
        seen[norm] = change.abs().max().item()
    assert seen["rms"] < 1e-5
    assert seen["group"] > 1e-3


def test_a_forecast_starts_from_the_last_day():
    torch.manual_seed(0)
    forecaster = Forecaster(2, NetworkConfig())
    lags = torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        for p in forecaster.decoder.head.parameters():
            p.zero_()
    assert torch.equal(forecaster(lags), lags[:, 1:])


@pytest.mark.parametrize(("size", "least", "most"), [("tiny", 3e5, 1e6), ("base", 5e6, 2e7)])
def test_the_sizes_are_what_they_are_called(size, least, most):
    from xdownscale.config import preset

    networks = Networks(3, 6, preset("paper", network={"size": size}).network)
    assert least < sum(p.numel() for p in networks.parameters()) < most


def test_an_untrained_forecast_is_persistence():
    forecaster = Forecaster(3, NetworkConfig(channels=(8,), encoder_channels=(8, 16)), variables=2)
    lags = torch.randn(4, 6, 9, 7)
    torch.testing.assert_close(forecaster(lags), lags[:, -2:], rtol=0, atol=0)


def test_conditioning_starts_as_the_identity():
    block = Block(8, 16, "rms", embedded=12)
    x = torch.randn(2, 8, 5, 5)
    embeddings = torch.randn(2, 12), torch.randn(2, 12)
    torch.testing.assert_close(block(x, embeddings[0]), block(x, embeddings[1]), rtol=0, atol=0)
    nn.init.ones_(block.film.weight)
    assert not torch.equal(block(x, embeddings[0]), block(x, embeddings[1]))
