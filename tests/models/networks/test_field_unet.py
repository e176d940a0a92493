"""The network of whole fields: sizes, reach, what moves it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xdownscale.config import preset
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.field_unet import (
    EMBEDDED,
    Block,
    FieldNet,
    FieldNetworks,
    Inputs,
    receptive_field,
)


def settings(channels=(8, 8, 8), unshuffle=2):
    keys = {"channels": channels, "encoder": "none", "unshuffle": unshuffle}
    return preset("fast", network=keys).network


def net(noisy=1):
    torch.manual_seed(0)
    made = FieldNet(3, 2, noisy, 1, settings())
    with torch.no_grad():
        for weights in made.parameters():
            if not weights.any():
                weights.normal_(0, 0.2)
    return made.eval()


def run(made, known, noisy, sigma=0.7, calendar=None):
    calendar = torch.zeros(len(known), 2) if calendar is None else calendar
    level = torch.full((len(known),), sigma)
    with torch.inference_mode():
        return made(made.digest(known, calendar), calendar, noisy, level)


@pytest.mark.parametrize(
    ("size", "low", "high"), [("tiny", 0.8, 1.6), ("base", 9, 14), ("large", 28, 40)]
)
def test_sizes_are_what_their_names_promise(size, low, high):
    config = preset("fast", network={"size": size}).network
    made = FieldNet(12, 4, 1, 1, config)
    millions = sum(weights.numel() for weights in made.parameters()) / 1e6
    assert low <= millions <= high


@pytest.mark.parametrize(("size", "cost"), [("tiny", 0.138), ("base", 1.350)])
def test_an_evaluation_costs_what_its_size_promises(size, cost):
    from torch.utils.flop_counter import FlopCounterMode

    config = preset("fast", network={"size": size}).network
    made = FieldNet(12, 4, 1, 1, config)
    known, calendar = torch.zeros(1, 12 + 16, 64, 64), torch.zeros(1, 4)  # with the encoder's 16
    with torch.inference_mode():
        digested = made.digest(known, calendar)
        with FlopCounterMode(display=False) as counter:
            made(digested, calendar, torch.zeros(1, 1, 64, 64), torch.ones(1))
    # millions a pixel; two operations a multiplication
    assert counter.get_total_flops() / 64**2 / 1e6 == pytest.approx(cost, rel=0.05)


def test_scale_and_shift_of_a_block_by_hand():
    torch.manual_seed(0)
    block = Block(6, 0.0).eval()
    torch.nn.init.normal_(block.conv2.weight)
    torch.nn.init.zeros_(block.film.weight)
    x, embedding = torch.randn(2, 6, 8, 8), torch.randn(2, EMBEDDED)
    shift = torch.randn(6)
    with torch.no_grad():
        # a scale of -1 leaves the shift alone, whatever came before
        block.film.bias.copy_(torch.cat([torch.full((6,), -1.0), shift]))
        change = block(x, embedding) - x
        flat = torch.nn.functional.silu(shift).view(1, 6, 1, 1).expand(2, -1, 8, 8)
        torch.testing.assert_close(change, block.conv2(flat), rtol=0, atol=1e-5)
        block.film.bias.zero_()
        block.film.weight.normal_()
        assert (block(x, embedding) - block(x, embedding.flip(0))).abs().max() > 0.1


def test_a_pixel_sees_no_further_than_the_receptive_field():
    made = net()
    reach = receptive_field(settings())
    known, noisy = torch.randn(1, 3, 256, 256), torch.randn(1, 1, 256, 256)
    moved = known.clone()
    moved[..., 128, 128] += 10
    changed = (run(made, known, noisy) != run(made, moved, noisy))[0, 0].nonzero()
    far = (changed - 128).abs().max().item()
    assert 16 < far <= reach


def test_fields_may_be_cropped_anywhere_on_the_lattice():
    made = net()
    known, noisy = torch.randn(1, 3, 240, 240), torch.randn(1, 1, 240, 240)
    whole = run(made, known, noisy)
    reach, unit = receptive_field(settings()), made.unit
    part = (..., slice(unit, None), slice(2 * unit, None))
    cropped = run(made, known[part], noisy[part])
    inner = (..., slice(reach, None), slice(reach, None))
    torch.testing.assert_close(cropped[inner], whole[part][inner], rtol=0, atol=1e-4)


def test_noise_level_and_calendar_move_the_output():
    made = net()
    known, noisy = torch.randn(1, 3, 32, 32), torch.randn(1, 1, 32, 32)
    base = run(made, known, noisy)
    assert (run(made, known, noisy, sigma=2.0) - base).abs().max() > 1e-3
    assert (run(made, known, noisy, calendar=torch.ones(1, 2)) - base).abs().max() > 1e-3


def test_images_of_a_batch_do_not_see_each_other():
    made = net()
    known, noisy = torch.randn(3, 3, 32, 32), torch.randn(3, 1, 32, 32)
    together = run(made, known, noisy)
    for k in range(3):
        alone = run(made, known[k : k + 1], noisy[k : k + 1])
        torch.testing.assert_close(alone[0], together[k], rtol=0, atol=1e-5)


def test_an_untrained_network_changes_nothing():
    config = preset("fast", network={"channels": (8, 8)}).network
    sizes = Sizes(drivers=1, window=1, lags=3, own=(0, -1), fine_lags=0, static=3, calendar=2)
    networks = FieldNetworks(sizes, 2, 1, config)
    for made in [*networks.regressors, networks.generator]:
        known = torch.randn(1, made.stem.in_channels // 4 - 16, 16, 16)
        inputs = Inputs(
            known, torch.zeros(1, 2), torch.randn(1, 3, 4, 4), torch.zeros(1, 16, 16, 2)
        )
        features = torch.randn(1, sum(config.encoder_channels), 4, 4)
        digested = made.digest(made.gather(inputs, features), inputs.calendar)
        noisy = torch.randn(1, 2, 16, 16) if made is networks.generator else None
        out = made(digested, inputs.calendar, noisy, torch.ones(1))
        assert out.shape == (1, 2, 16, 16)
        assert (out == 0).all()


def test_the_encoder_reaches_the_pixels_it_lies_under():
    config = preset("fast", network={"channels": (8, 8)}).network
    made = FieldNet(3, 2, 0, 1, config)
    y, x = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16), indexing="ij")
    place = torch.from_numpy(np.stack([x, y], -1)[None].astype(np.float32))
    inputs = Inputs(torch.zeros(1, 3, 16, 16), torch.zeros(1, 2), torch.zeros(1, 3, 4, 4), place)
    features = torch.zeros(1, sum(config.encoder_channels), 4, 4)
    features[..., 0, 3] = 1.0
    moved = made.gather(inputs, features) - made.gather(inputs, torch.zeros_like(features))
    strength = moved.abs().sum((0, 1))
    assert strength[0, 15] > 0
    assert (strength[8:, :8] == 0).all()


def test_each_output_is_scaled_by_its_own_number():
    torch.manual_seed(0)
    made = FieldNet(3, 2, 0, 2, settings()).eval()
    torch.nn.init.normal_(made.head.weight)
    torch.nn.init.normal_(made.head.bias)
    known = torch.randn(1, 3, 16, 16)
    before = run(made, known, None)
    made.scale_outputs(np.array([0.5, 0.0], np.float32))
    after = run(made, known, None)
    torch.testing.assert_close(after[:, 0], before[:, 0] / 2)
    assert before[:, 1].abs().max() > 0
    assert (after[:, 1] == 0).all()


def test_outputs_are_scaled_where_the_network_is():
    made = net().to("meta")  # a device that is not the one of the numbers
    made.scale_outputs(np.ones(1, np.float32))
    assert made.head.weight.is_meta
