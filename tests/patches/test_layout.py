"""Where patches lie, against counting by hand, and the errors for patches that do not fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.errors import GridError, OptionError
from xdownscale.patches import PatchLayout


@st.composite
def layouts(draw, biggest=40):
    size = draw(st.integers(1, 12))
    halo = draw(st.integers(0, (size - 1) // 2))
    stride = draw(st.integers(1, size - 2 * halo))
    shape = tuple(draw(st.integers(size, biggest)) for _ in range(2))
    name = draw(st.sampled_from(["hann", "triangle", "uniform", "nearest"]))
    return PatchLayout(shape=shape, size=size, stride=stride, halo=halo, taper=name)


def test_corners_by_hand_with_a_flush_patch():
    layout = PatchLayout(shape=(21, 16), size=16, stride=2, halo=4)
    assert layout.positions.tolist() == [[0, 0], [2, 0], [4, 0], [5, 0]]
    assert layout.n_patches == 4


def test_no_flush_patch_where_the_stride_divides():
    layout = PatchLayout(shape=(20, 18), size=16, stride=2)
    assert layout.corners[0].tolist() == [0, 2, 4]
    assert layout.positions.tolist() == [[0, 0], [0, 2], [2, 0], [2, 2], [4, 0], [4, 2]]


def test_training_layout_of_the_paper():
    layout = PatchLayout(shape=(96, 128), size=16, stride=8, halo=0)
    assert layout.n_patches == 11 * 15


def test_cores_reach_the_border_and_lose_the_halo_inside():
    layout = PatchLayout(shape=(12, 8), size=8, stride=2, halo=2)
    assert layout.cores[0].tolist() == [[0, 6], [2, 6], [2, 8]]
    assert layout.cores[1].tolist() == [[0, 8]]
    rows = np.flatnonzero(layout.weights([1])[0].sum(axis=1))
    assert rows.tolist() == [2, 3, 4, 5]


def test_weights_by_hand():
    layout = PatchLayout(shape=(1, 3), size=1, stride=1, halo=0)
    assert layout.weights().tolist() == [[[1.0]], [[1.0]], [[1.0]]]
    layout = PatchLayout(shape=(2, 3), size=2, stride=1, halo=0, taper="triangle")
    assert layout.weight_sum.tolist() == [[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]]


@given(layouts())
def test_every_pixel_is_covered_and_shares_add_to_one(layout):
    total = np.zeros(layout.shape)
    for (y, x), weights in zip(layout.positions, layout.weights(), strict=True):
        total[y : y + layout.size, x : x + layout.size] += weights
    np.testing.assert_allclose(total, 1.0, atol=1e-12)
    assert layout.weight_sum.min() > 0


@given(layouts())
def test_patches_lie_inside_and_no_two_on_the_same_place(layout):
    positions = layout.positions
    assert len(np.unique(positions, axis=0)) == layout.n_patches == len(positions)
    assert positions.min() == 0
    np.testing.assert_array_equal(positions.max(axis=0) + layout.size, layout.shape)


def test_layout_is_frozen_hashable_and_its_positions_read_only():
    layout = PatchLayout(shape=(np.int64(16), 16))
    assert layout == PatchLayout(shape=(16, 16))
    assert hash(layout) == hash(PatchLayout(shape=(16, 16)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        layout.size = 8
    with pytest.raises(ValueError, match="read-only"):
        layout.positions[0] = 1


def test_patch_larger_than_the_image():
    with pytest.raises(GridError, match=r"patch larger than the image: size 16.*\(15, 40\).*15"):
        PatchLayout(shape=(15, 40))


def test_halo_that_leaves_nothing():
    with pytest.raises(GridError, match=r"halo of 8 leaves nothing.*at most 7"):
        PatchLayout(shape=(40, 40), halo=8)


def test_stride_that_leaves_gaps():
    with pytest.raises(GridError, match=r"stride of 9 leaves gaps.*largest stride allowed is 8"):
        PatchLayout(shape=(40, 40), stride=9)


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"size": 0}, {"halo": -1}])
def test_values_out_of_range(wrong):
    with pytest.raises(OptionError, match="must be 1 or more, halo 0 or more"):
        PatchLayout(shape=(40, 40), **wrong)


def test_shape_of_three():
    with pytest.raises(OptionError, match=r"shape is \(2, 40, 40\)"):
        PatchLayout(shape=(2, 40, 40))


def test_unknown_taper():
    with pytest.raises(OptionError, match=r"Unknown taper.*'hann'"):
        PatchLayout(shape=(40, 40), taper="hanning")


def test_patch_that_does_not_exist():
    with pytest.raises(GridError, match=r"Patches 0 to 1 were asked for.*0 to 0"):
        PatchLayout(shape=(16, 16)).weights([0, 1])


@given(layouts())
def test_nearest_gives_each_pixel_to_the_nearest_centre(layout):
    """By brute force over all patches; a tie along an axis goes to the first."""
    layout = dataclasses.replace(layout, taper="nearest")
    centres = layout.positions + (layout.size - 1) / 2
    for y in range(layout.shape[0]):
        for x in range(layout.shape[1]):
            near = [np.abs(centres[:, axis] - place) for axis, place in enumerate((y, x))]
            owner = np.lexsort((np.arange(layout.n_patches), near[1], near[0]))[0]
            top, left = layout.positions[owner]
            assert layout.weights([owner])[0][y - top, x - left] == 1


def test_nearest_by_hand():
    layout = PatchLayout(shape=(3, 6), size=3, stride=1, halo=0, taper="nearest")
    owned = [np.argwhere(weights == 1)[:, 1].tolist() for weights in layout.weights()]
    assert [sorted(set(each)) for each in owned] == [[0, 1], [1], [1], [1, 2]]
