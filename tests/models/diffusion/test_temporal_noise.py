"""Memory of residuals: sums of autoregressions, measured and drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xdownscale.models.diffusion.calibration import BANDS
from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.spectra import Spectrum
from xdownscale.models.diffusion.temporal_noise import (
    LAGS,
    RHOS,
    LaggedProducts,
    corrected_shares,
    fit_shares,
)
from xdownscale.models.sampling.initial_noise import InitialNoise

STEPS = np.arange(1, LAGS + 1)


@pytest.mark.parametrize(
    "shares", [[1, 0, 0, 0, 0], [0, 0.7, 0, 0, 0.3], [0.2, 0.6, 0, 0.15, 0.05]]
)
def test_shares_are_found_again(shares):
    correlation = (np.array(shares) * RHOS ** STEPS[:, None]).sum(axis=1)
    np.testing.assert_allclose(fit_shares(correlation), shares, atol=1e-5)


@pytest.mark.parametrize(
    "correlation",
    [0.6**STEPS, 0.2**STEPS, 0.9**STEPS, 0.99**STEPS, np.array([0.43, 0.25, 0.17, 0.12, 0.09])],
)
def test_other_memories_are_met_closely(correlation):
    shares = fit_shares(correlation)
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1)
    found = (shares * RHOS ** STEPS[:, None]).sum(axis=1)
    assert np.abs(found - correlation).max() < (0.2 if correlation[0] > 0.98 else 0.03)


def test_what_is_not_known_is_left_out():
    assert fit_shares(np.full(5, np.nan)).tolist() == [1, 0, 0, 0, 0]
    some = np.where(STEPS == 2, np.nan, 0.8**STEPS)
    np.testing.assert_allclose(fit_shares(some), [0, 0, 0, 1, 0], atol=1e-5)
    assert fit_shares(np.full(5, -0.3)).tolist() == [1, 0, 0, 0, 0]


def test_fields_that_last_too_long_get_noise_that_forgets():
    # drawn = a part of something that lasts for ever, and noise
    shares, true = np.array([[0.0, 0.5, 0.2, 0.3, 0.0]]), 0.75**STEPS
    for _ in range(8):
        drawn = 0.15 + 0.85 * (shares * RHOS ** STEPS[:, None]).sum(axis=1)
        shares = corrected_shares(shares, true[None], drawn[None])
    drawn = 0.15 + 0.85 * (shares * RHOS ** STEPS[:, None]).sum(axis=1)
    assert np.abs(drawn - true)[:3].max() < 0.05
    nothing = np.full((1, LAGS), np.nan)
    np.testing.assert_allclose(corrected_shares(shares, nothing, nothing), shares, atol=0.02)


def test_products_of_days_with_gaps():
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(600, 2, 20, 20))
    for day in range(1, 600):
        fields[day, 0] = 0.8 * fields[day - 1, 0] + 0.6 * fields[day, 0]
    fields[rng.uniform(size=fields.shape) < 0.2] = np.nan
    products = LaggedProducts(86400, 2)
    for day in range(600):
        if day % 50 < 40:
            products.add(86400 * day, fields[day])
    np.testing.assert_allclose(products.shares(), [[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]], atol=0.06)
    never = LaggedProducts(86400, 1)
    for day in range(0, 100, 7):
        never.add(86400 * day, fields[day, :1])
    assert never.shares().tolist() == [[1, 0, 0, 0, 0]]


def test_noise_lasts_as_long_as_what_was_measured():
    shares = np.array([0.1, 0.5, 0.0, 0.3, 0.1])
    spectrum = Spectrum(np.array([0.1, 0.4]), np.zeros(2))
    noise_of = InitialNoise(
        measured=ResidualStatistics(
            np.ones(1), shares[None], BANDS, np.ones((1, BANDS.size)), (spectrum,)
        ),
        seed=3,
        keys=86400 * np.arange(40),
        step=86400,
        channels=1,
        corner=(0, 0),
        domain=(96, 96),
        shape=(96, 96),
        pad=(0, 0),
        sigma_max=1.0,
    )
    days = list(range(40))
    fields = noise_of.fields([0] * 40, days)[:, 0].astype(float)
    assert fields.std() == pytest.approx(1, abs=0.02)
    for step in STEPS:
        along = (fields[step:] * fields[:-step]).mean()
        assert along == pytest.approx((shares * RHOS**step).sum(), abs=0.03)
    # any day, in any batch
    alone = replace(noise_of, keys=np.array([86400 * 17])).fields([0], [0])[0, 0]
    np.testing.assert_array_equal(alone, noise_of.fields([0], [17])[0, 0])
