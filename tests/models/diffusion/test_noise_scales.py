"""White noise at three scales."""

from __future__ import annotations

import pytest
import torch

from xdownscale.models.diffusion.noise_scales import noise_inputs


def test_noise_at_three_scales_has_about_unit_variance():
    white = torch.randn(20, 2, 128, 128, generator=torch.Generator().manual_seed(0))
    found = noise_inputs(white)
    assert found.shape == (20, 6, 128, 128)
    variance = found.var((0, 2, 3))
    assert variance.numpy() == pytest.approx(1, abs=0.25)
