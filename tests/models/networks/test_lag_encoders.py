"""Encoders of lagged fields: against torch's LSTM, a loop in NumPy, and what pixels may see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from xdownscale.config import NetworkConfig
from xdownscale.core.errors import OptionError
from xdownscale.models.networks.field_unet import coarse_features
from xdownscale.models.networks.lag_encoders import ConvLSTM, PixelEncoder, RecurrentEncoder
from xdownscale.models.networks.unet import Forecaster, Networks, feature_channels, lag_encoder

FORECASTERS = ("unet", "lstm", "convlstm", "pointwise")
each_forecaster = pytest.mark.parametrize("forecaster", FORECASTERS)


def config_of(forecaster, **options):
    return NetworkConfig(
        forecaster=forecaster, channels=(8, 16), encoder_channels=(8, 16), **options
    )


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(("inputs", "hidden", "steps"), [(3, 8, 5), (1, 4, 1)])
def test_a_kernel_of_one_pixel_is_torchs_lstm_of_every_pixel(inputs, hidden, steps):
    ours = ConvLSTM(inputs, hidden, kernel=1)
    theirs = torch.nn.LSTM(inputs, hidden, batch_first=True)
    with torch.no_grad():
        weights = ours.gates.weight[..., 0, 0]
        theirs.weight_ih_l0.copy_(weights[:, :inputs])
        theirs.weight_hh_l0.copy_(weights[:, inputs:])
        theirs.bias_ih_l0.copy_(ours.gates.bias)
        theirs.bias_hh_l0.zero_()
        fields = torch.randn(2, steps, inputs, 4, 6)
        pixels = fields.permute(0, 3, 4, 1, 2).reshape(-1, steps, inputs)
        _, (last, _) = theirs(pixels)
        expected = last[0].view(2, 4, 6, hidden).permute(0, 3, 1, 2)
        torch.testing.assert_close(ours(fields), expected, rtol=0, atol=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTS = {"tanh": np.tanh, "leaky_relu": lambda x: np.where(x > 0, x, 0.3 * x)}


@pytest.mark.parametrize("activation", ACTS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolutional_lstm_is_the_loop_of_its_equations(kernel, activation):
    hidden, inputs, steps = 2, 3, 3
    act = ACTS[activation]
    module = ConvLSTM(inputs, hidden, kernel, activation).double()
    fields = torch.randn(1, steps, inputs, 6, 5, dtype=torch.float64)
    weights = module.gates.weight.detach().numpy()
    bias = module.gates.bias.detach().numpy()
    state = np.zeros((hidden, 6, 5))
    cell = np.zeros((hidden, 6, 5))
    for step in fields[0].numpy():
        seen = np.concatenate([step, state])
        padded = np.pad(seen, ((0, 0), *[(kernel // 2, kernel // 2)] * 2), "edge")
        sums = [
            sum(correlate2d(p, w, "valid") for p, w in zip(padded, one, strict=True)) + b
            for one, b in zip(weights, bias, strict=True)
        ]
        i, f, g, o = np.reshape(sums, (4, hidden, 6, 5))
        cell = sigmoid(f) * cell + sigmoid(i) * act(g)
        state = sigmoid(o) * act(cell)
    np.testing.assert_allclose(module(fields)[0].detach().numpy(), state, rtol=0, atol=1e-12)


def test_the_forget_gate_starts_at_one():
    bias = ConvLSTM(2, 8, 3).gates.bias
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


def test_an_unknown_activation_is_refused():
    with pytest.raises(OptionError, match="Unknown activation: 'relu'"):
        ConvLSTM(1, 8, 3, "relu")


@pytest.mark.parametrize("kernel", [1, 3])
def test_inside_it_does_not_matter_where_a_field_lies(kernel):
    encoder = RecurrentEncoder(1, 8, kernel)
    wide = torch.randn(1, 3, 24, 24)
    moved = wide.roll((2, 3), (-2, -1))
    inside = (..., slice(8, 16), slice(8, 16))
    with torch.no_grad():
        found = encoder(moved)[0].roll((-2, -3), (-2, -1))[inside]
        torch.testing.assert_close(found, encoder(wide)[0][inside], rtol=0, atol=1e-6)


def test_variables_of_a_time_step_stay_together():
    """Lags are ordered time step by time step: the last time step alone decides after a reset."""
    encoder = RecurrentEncoder(2, 8, 3)
    with torch.no_grad():
        encoder.lstm.gates.bias[8:16] = -1e4  # forgets all
        encoder.lstm.gates.weight[:, 8:] = 0  # and does not look at the state
        lags = torch.randn(1, 6, 6, 6)
        other = torch.cat([torch.randn(1, 4, 6, 6), lags[:, 4:]], 1)
        torch.testing.assert_close(encoder(lags)[0], encoder(other)[0], rtol=0, atol=0)
        assert not torch.equal(encoder(lags)[0], encoder(torch.randn(1, 6, 6, 6))[0])


def test_layers_of_pixels_see_one_pixel():
    encoder = PixelEncoder(3, (8, 16))
    lags = torch.randn(2, 3, 6, 6)
    changed = lags.clone()
    changed[..., 2, 4] += 1
    with torch.no_grad():
        differ = (encoder(lags)[-1] != encoder(changed)[-1]).any(1)
    assert differ[:, 2, 4].all()
    assert differ.sum() == 2


@each_forecaster
@pytest.mark.parametrize("variables", [1, 2])
def test_the_contract_of_a_forecaster(forecaster, variables):
    config = config_of(forecaster)
    model = Forecaster(3, config, variables)
    lags = torch.randn(2, 3 * variables, 5, 7)
    features = model.encoder(lags)
    assert [f.shape[1] for f in features] == list(feature_channels(config))
    assert features[0].shape[-2:] == lags.shape[-2:]
    torch.testing.assert_close(model(lags), lags[:, -variables:], rtol=0, atol=0)
    joined = coarse_features(lag_encoder(3 * variables, config, variables), lags)
    assert joined.shape == (2, sum(feature_channels(config)), 5, 7)
    model(lags).square().mean().backward()
    assert model.decoder.head.weight.grad.abs().sum() > 0


@each_forecaster
def test_the_denoiser_takes_the_features(forecaster):
    networks = Networks(3, 2, config_of(forecaster))
    assert not any(p.requires_grad for p in networks.encoder.parameters())
    known = torch.randn(2, 5, 8, 8)
    lags = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        stems = [networks.condition(known, torch.zeros(2, 1), x).stem for x in (lags, lags + 1)]
    assert not torch.equal(*stems)


@each_forecaster
def test_it_learns_what_persistence_does_not_know(forecaster):
    """The next field of a wave that turns by a quarter is not the last one."""
    lags = torch.randn(64, 1, 6, 6).repeat(1, 4, 1, 1) * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(
        4, 1, 1
    )
    target = -lags[:, -1:]
    model = Forecaster(4, config_of(forecaster))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    before = (model(lags) - target).square().mean().item()
    for _ in range(60):
        optimiser.zero_grad()
        loss = (model(lags) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2 * before
