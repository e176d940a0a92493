"""Tiles equal the whole; blended patches follow the weights of their layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xdownscale.core.errors import OptionError
from xdownscale.models.sampling import memory, patches, tiling
from xdownscale.patches.arrays import extract_array, stitch_array
from xdownscale.patches.layout import PatchLayout


def network():
    """Convolutions and one halving: a reach of 9 pixels on a lattice of 2."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
    middle = nn.Conv2d(4, 4, 3, padding=1, padding_mode="replicate")
    first.padding_mode = second.padding_mode = "replicate"

    def function(a, b):
        h = torch.tanh(first(torch.cat([a, b], 1)))
        low = middle(nn.functional.avg_pool2d(h, 2))
        return second(h + nn.functional.interpolate(low, scale_factor=2))

    return function


@given(
    st.integers(3, 20), st.integers(3, 20), st.sampled_from([24, 25, 30]), st.sampled_from([9, 12])
)
@settings(max_examples=15, deadline=None)
def test_tiles_give_what_the_whole_gives(height, width, tile, halo):
    function, generator = network(), torch.Generator().manual_seed(height)
    a = torch.randn(2, 2, 4 * height, 4 * width, generator=generator)
    b = torch.randn(2, 1, 4 * height, 4 * width, generator=generator)
    with torch.inference_mode():
        whole = function(a, b)
        pieces = tiling.evaluate_tiles(function, [a, b], tile, halo, 2)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)


def test_a_halo_that_is_too_small_is_seen():
    function = network()
    a, b = torch.randn(1, 2, 64, 64), torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        off = tiling.evaluate_tiles(function, [a, b], 16, 2, 2) - function(a, b)
    assert off.abs().max() > 1e-3


def test_a_tile_smaller_than_twice_the_halo_is_refused():
    with pytest.raises(OptionError, match="tile is 12, less than twice the halo of 8"):
        tiling.evaluate_tiles(lambda x: x, [torch.zeros(1, 1, 32, 32)], 12, 8, 2)


def test_the_tile_follows_the_memory():
    assert memory.auto_tile((600, 700), 1e4, 80, available=1e10) is None
    side = memory.auto_tile((6000, 7000), 1e4, 80, available=1e10)
    assert (side + 160) ** 2 * 1e4 <= 0.5e10
    assert memory.auto_tile((6000, 7000), 1e4, 80, available=1) == 160
    assert memory.available_memory() > 1e8
    assert memory.auto_tile((6, 7), 1.0, 80) is None


def test_memory_where_the_system_does_not_say(monkeypatch):
    def nothing():
        raise OSError

    monkeypatch.setattr(memory, "_meminfo", nothing)
    assert memory.available_memory() > 0
    monkeypatch.setattr(memory.os, "sysconf_names", {})
    assert memory.available_memory() == 4e9


def test_memory_of_a_cuda_device_counts_what_torch_keeps_for_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3e9, 8e9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2e9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 5e8)
    assert memory.available_memory("cuda") == 4.5e9


LAYOUT = PatchLayout(shape=(20, 26), size=8, stride=3, halo=1)


def test_patches_are_cut_as_the_patches_room_cuts_them():
    field = torch.randn(3, 2, 20, 26)
    numbers = np.array([0, 5, LAYOUT.n_patches + 2, 3 * LAYOUT.n_patches - 1])
    found = patches.cut_patches(field, LAYOUT, numbers)
    for patch, number in zip(found, numbers, strict=True):
        which, k = divmod(int(number), LAYOUT.n_patches)
        np.testing.assert_array_equal(patch, extract_array(field[which].numpy(), LAYOUT, [k])[:, 0])


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_fused_patches_are_weighted_as_the_layout_says(batch):
    torch.manual_seed(1)
    x = torch.randn(2, 1, 20, 26)

    def function(part, numbers):
        return part * torch.from_numpy(numbers.astype(np.float32))[:, None, None, None]

    expected = np.zeros((2, 20, 26))
    for k in range(2):
        for p, (y, left) in enumerate(LAYOUT.positions):
            number, weights = k * LAYOUT.n_patches + p, LAYOUT.weights([p])[0]
            window = slice(y, y + 8), slice(left, left + 8)
            expected[k][window] += number * weights * x[k, 0].numpy()[window]
    found = patches.fuse_patches(function, [x], LAYOUT, batch)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-3)


def test_weights_are_exact_whatever_the_kind_of_number():
    ones = torch.ones(1, 1, 20, 26, dtype=torch.bfloat16)
    found = patches.fuse_patches(lambda part, numbers: part, [ones], LAYOUT, 16)
    torch.testing.assert_close(found, torch.ones(1, 1, 20, 26), rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blended_patches_are_stitched_patches(batch, dtype):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(3 * LAYOUT.n_patches, 2, 8, 8)).astype(np.float32)
    asked = []

    def generate(numbers):
        asked.append(numbers.tolist())
        return torch.from_numpy(values[numbers])

    found = list(patches.blend_patches(generate, LAYOUT, 3, batch, dtype))
    assert len(found) == 3
    assert all(len(numbers) > 1 for numbers in asked)  # a lone patch is asked for twice
    for field, parts in zip(found, values.reshape(3, LAYOUT.n_patches, 2, 8, 8), strict=True):
        expected = stitch_array(np.moveaxis(parts, 0, 1), LAYOUT)
        if dtype is torch.float64:  # to the bit: sums are the same, in the same order
            np.testing.assert_array_equal(field.float().numpy(), expected)
        np.testing.assert_allclose(field, expected, rtol=0, atol=1e-5)


def test_a_field_is_handed_over_when_its_last_patch_is_there():
    blender = patches.PatchBlender(LAYOUT)
    ones = torch.ones(LAYOUT.n_patches + 1, 1, 8, 8)
    assert len(blender.add(ones, np.arange(LAYOUT.n_patches + 1))) == 1
    rest = np.arange(LAYOUT.n_patches + 1, 2 * LAYOUT.n_patches)
    (field,) = blender.add(ones[: rest.size], rest)
    torch.testing.assert_close(field, torch.ones(1, 20, 26))
