"""The pixel network against a perceptron written out in numpy, and no pixel sees another."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from xdownscale.config import NetworkConfig
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.pixel_net import PixelNetworks

SHAPE = (8, 12)


def make(lags=2, encoder="none", **options):
    torch.manual_seed(0)
    sizes = Sizes(
        drivers=1, window=1 + lags, lags=lags, own=(0,), fine_lags=lags, static=3, calendar=2
    )
    channels = options.pop("channels", (8, 16))
    config = NetworkConfig(encoder=encoder, encoder_channels=channels, dropout=0.5)
    return PixelNetworks(sizes, config, **options).eval()


def inputs(batch=2, lags=2, shape=SHAPE):
    rng = np.random.default_rng(1)
    known, fine = (
        torch.from_numpy(rng.normal(size=(batch, n, *shape)).astype(np.float32))
        for n in (1 + lags + 3, lags)
    )
    calendar = torch.from_numpy(rng.normal(size=(batch, 2)).astype(np.float32))
    return known, calendar, fine


def layer(x, state, name):
    """Return a convolution of 1 x 1, the norm over channels, and the leaky rectifier, in numpy."""
    h = affine(x, state, f"{name}.0")
    h = h / np.sqrt((h**2).mean(1, keepdims=True) + 1e-6) * state[f"{name}.1.weight"].ravel()
    return np.where(h > 0, h, 0.1 * h)


def affine(x, state, name):
    weight = state[f"{name}.weight"]
    return x @ weight.reshape(len(weight), -1).T + state[f"{name}.bias"]


def perceptron(networks, known, calendar, fine, coarse):
    """Evaluate the network pixel by pixel, rows of (pixels, channels), in float64."""
    state = {k: v.double().numpy() for k, v in networks.state_dict().items()}
    size = known.shape[-2] * known.shape[-1]
    spread = np.repeat(calendar.numpy()[:, :, None], size, 2)
    first = np.concatenate([fine.flatten(2), known[:, 3:].flatten(2), spread], 1)
    groups = [first, known[:, coarse].flatten(2).numpy()]
    encoded = []
    for k, group in enumerate(groups):
        x = np.moveaxis(group, 1, -1).reshape(-1, group.shape[1]).astype(float)
        for number in (0, 1):
            x = layer(x, state, f"net.encoders.{k}.{number}")
        encoded.append(np.tanh(affine(x, state, f"net.encoders.{k}.2")))
    x = np.concatenate(encoded, 1)
    for number in range(7):
        x = layer(x, state, f"net.hourglass.{number}")
    raw = affine(x, state, "net.head")
    return raw.reshape(len(known), *known.shape[-2:])


@pytest.mark.parametrize(("target_day", "coarse"), [(False, [1, 2]), (True, [0, 1, 2])])
def test_it_is_a_perceptron_of_each_pixel(target_day, coarse):
    networks = make(target_day=target_day)
    given = inputs()
    with torch.no_grad():
        found = networks(*given)[:, 0].numpy()
    expected = 1.2 * np.tanh(perceptron(networks, *given, coarse))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert expected.std() > 1e-3


def test_the_widths_are_those_of_the_code():
    """A hand count of the weights of 8-16-32 and 64-32-16-8-16-32-64."""
    state = make().net.state_dict()

    def conv(a, b):
        return a * b + b

    groups = sum(conv(n, 8) + 8 + conv(8, 16) + 16 + conv(16, 32) for n in (7, 2))
    widths = (64, 64, 32, 16, 8, 16, 32, 64)
    hourglass = sum(conv(a, b) + b for a, b in itertools.pairwise(widths))
    assert sum(t.numel() for t in state.values()) == groups + hourglass + conv(64, 1)


@pytest.mark.parametrize("options", [{}, {"target_day": True, "driver_skip": True}])
def test_permuting_pixels_commutes_with_the_network(options):
    networks = make(**options)
    torch.nn.init.normal_(networks.net.head.weight, std=0.3)
    known, calendar, fine = inputs()
    order = torch.randperm(SHAPE[0] * SHAPE[1], generator=torch.Generator().manual_seed(2))

    def shuffled(x):
        return x.flatten(2)[..., order].reshape(x.shape)

    with torch.no_grad():
        plain = networks(known, calendar, fine)
        other = networks(shuffled(known), calendar, shuffled(fine))
    assert torch.equal(shuffled(plain), other)


def test_changing_one_pixel_changes_one_pixel():
    networks = make()
    known, calendar, fine = inputs(batch=1)
    with torch.no_grad():
        plain = networks(known, calendar, fine)
        fine[..., 3, 5] += 1
        changed = networks(known, calendar, fine) != plain
    assert changed[0, 0].nonzero().tolist() == [[3, 5]]


def test_the_driver_of_the_day_is_seen_only_where_it_is_asked_for():
    known, calendar, fine = inputs()
    other = known.clone()
    other[:, 0] += 1
    with torch.no_grad():
        hidden, seen = make(), make(target_day=True)
        assert torch.equal(hidden(known, calendar, fine), hidden(other, calendar, fine))
        assert not torch.equal(seen(known, calendar, fine), seen(other, calendar, fine))


def test_every_input_matters():
    networks = make(target_day=True)
    given = inputs()
    with torch.no_grad():
        plain = networks(*given)
        for part, channels in enumerate((6, 2, 2)):
            for channel in range(channels):
                other = [each.clone() for each in given]
                other[part][:, channel] += 1
                assert not torch.equal(networks(*other), plain), (part, channel)


def test_an_untrained_network_with_the_skip_is_the_driver():
    known, calendar, fine = inputs()
    known = known.clamp(-1, 1)
    found = make(target_day=True, driver_skip=True)(known, calendar, fine)
    torch.testing.assert_close(found, known[:, :1], rtol=1e-5, atol=1e-5)


def test_the_output_is_bounded():
    networks = make()
    networks.bound.fill_(1.5)
    torch.nn.init.normal_(networks.net.head.weight, std=100)
    with torch.no_grad():
        assert 1.4 < networks(*inputs()).abs().max().item() <= 1.5


def test_any_encoder_that_gives_a_list_of_maps_will_do(monkeypatch):
    """One level, three levels, halved or not: its channels are counted, its maps resized."""

    class Twice(torch.nn.Module):
        def forward(self, x):
            return [x.repeat(1, 3, 1, 1), torch.nn.functional.avg_pool2d(x, 2)]

    name = "xdownscale.models.networks.pixel_net.lag_encoder"
    monkeypatch.setattr(name, lambda lags, config: Twice())
    networks = make(encoder="frozen")
    assert networks.net.hourglass[0][0].weight.shape[1] == 64 + 3 * 2 + 2
    features = networks.features(inputs()[2])
    assert features.shape == (2, 8, *SHAPE)
    torch.testing.assert_close(features[:, :6], inputs()[2].repeat(1, 3, 1, 1))


def test_with_features_of_zero_the_transfer_changes_nothing():
    """ASDMTE is ASDM where the encoder says nothing."""
    transferred, alone = make(encoder="frozen"), make()
    state = transferred.net.state_dict()
    first = "hourglass.0.0.weight"
    kept = state[first].shape[1] - 24  # channels of the two levels of the encoder
    alone.net.load_state_dict(state | {first: state[first][:, :kept]})
    given = inputs()
    with torch.no_grad():
        assert not torch.allclose(transferred(*given), alone(*given), atol=1e-3)
        for block in transferred.encoder.blocks:
            for name, weights in block.named_parameters():
                if name.startswith(("conv2", "skip")):
                    weights.zero_()
        transferred.encoder.stem.weight.zero_()
        transferred.encoder.stem.bias.zero_()
        assert transferred.features(given[2]).abs().max() == 0
        torch.testing.assert_close(transferred(*given), alone(*given), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("encoder", "trained"), [("frozen", False), ("finetuned", True)])
def test_a_frozen_encoder_has_no_gradient(encoder, trained):
    networks = make(encoder=encoder).train()
    networks(*inputs()).sum().backward()
    assert all((p.grad is not None) == trained for p in networks.encoder.parameters())
    assert all(p.requires_grad == trained for p in networks.encoder.parameters())
    assert networks.encoder.training == trained
