"""Tapers against their closed forms and the properties that stitching rests on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.config import TAPERS
from xdownscale.core.errors import OptionError
from xdownscale.patches.layout import taper

NAMES = st.sampled_from(["hann", "triangle", "uniform"])


def test_hann_is_the_half_sample_form():
    # sin^2(pi/16), sin^2(3 pi/16) ... by the double-angle formula, not by the code's own
    angle = np.pi * (2 * np.arange(8) + 1) / 8
    np.testing.assert_allclose(taper("hann", 8), 0.5 * (1 - np.cos(angle)), atol=1e-15)


def test_triangle_by_hand():
    np.testing.assert_allclose(taper("triangle", 5), [0.2, 0.6, 1.0, 0.6, 0.2])


def test_uniform_is_one():
    assert taper("uniform", 3).tolist() == [1.0, 1.0, 1.0]


@given(NAMES, st.integers(1, 64))
def test_never_zero_symmetric_and_at_most_one(name, n):
    weights = taper(name, n)
    assert weights.shape == (n,)
    assert weights.dtype == np.float64
    assert weights.min() > 0
    assert weights.max() <= 1 + 1e-15
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-12)


@given(st.sampled_from(["hann", "triangle"]), st.integers(1, 40))
def test_sums_to_one_at_half_overlap(name, half):
    weights = taper(name, 2 * half)
    np.testing.assert_allclose(weights[:half] + weights[half:], 1.0, atol=1e-14)


def test_the_configuration_offers_exactly_these_tapers():
    for name in TAPERS:
        assert taper(name, 4).shape == (4,)
    with pytest.raises(OptionError, match="'hann', 'triangle', 'uniform', 'nearest'"):
        taper("boxcar", 4)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'hann'"):
        taper("han", 4)


def test_no_pixels():
    with pytest.raises(OptionError, match=r"A taper of 0 pixels.*at least 1"):
        taper("hann", 0)
