"""What is measured between the stages, on residuals that are known."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from records import field_arrays
from xdownscale import methods
from xdownscale.config import preset
from xdownscale.core.errors import XDownscaleWarning
from xdownscale.models.diffusion.calibration import (
    BANDS,
    LEVELS,
    fit_level,
    fit_temperature,
    warn_of_saturation,
)
from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.spectra import Spectrum, measure
from xdownscale.models.training import residual as residuals
from xdownscale.models.training.run import TrainingRun
from xdownscale.models.training.tasks import fold_of


def test_scale_correlation_and_spectrum_of_known_noise():
    given = field_arrays()
    found = residuals.measure_residual(given, np.zeros(given.fine.shape, np.float32))
    np.testing.assert_allclose(found.scale, [0.3, 2.0], rtol=0.02)
    np.testing.assert_allclose(found.rho, 0.6, atol=0.03)
    for spectrum in found.spectra:
        np.testing.assert_allclose(spectrum.power[2:], 1, atol=0.15)


def test_time_steps_that_do_not_follow_each_other_say_nothing_of_correlation():
    given = field_arrays()
    every = replace(given, train_targets=np.arange(0, 160, 6))
    found = residuals.measure_residual(every, np.zeros(given.fine.shape, np.float32))
    np.testing.assert_array_equal(found.rho, 0)
    some = replace(given, train_targets=np.arange(0, 160, 2))
    found = residuals.measure_residual(some, np.zeros(given.fine.shape, np.float32))
    np.testing.assert_allclose(found.rho, 0.6, atol=0.05)  # every second day says something


def test_what_was_measured_survives_saving():
    spectra = tuple(Spectrum(np.array([0.1, 0.3]), np.array([2.0, k])) for k in (1.0, 3.0))
    temperature = np.random.default_rng(0).uniform(0.7, 1.5, (2, BANDS.size)).astype(np.float32)
    residual = ResidualStatistics(
        np.array([0.5, 2]), np.eye(5)[[1, 2]], BANDS, temperature, spectra
    )
    again = ResidualStatistics.from_state(residual.to_state())
    for name in ("scale", "shares", "temperature"):
        np.testing.assert_allclose(getattr(again, name), getattr(residual, name), rtol=1e-6)
    for ours, theirs in zip(again.spectra, spectra, strict=True):
        np.testing.assert_allclose(ours.power, theirs.power)
        np.testing.assert_allclose(ours.frequency, theirs.frequency)


def test_folds_are_blocks_of_time_that_share_no_day():
    folds = fold_of(np.arange(100, 110), 3)
    assert folds.tolist() == sorted(folds.tolist())
    assert set(folds) == {0, 1, 2}
    assert np.ptp(np.bincount(folds)) <= 1


def train(given, folds, monkeypatch):
    """Train for an epoch; return the state, and the mean of each training time step."""
    seen = []
    original = residuals.cross_fitted_means

    def spied(*every):
        seen.append(original(*every))
        return seen[-1].copy()

    monkeypatch.setattr(residuals, "cross_fitted_means", spied)
    config = preset(
        "fast",
        data={"crop": 16},
        network={"channels": (8, 8), "encoder": "none"},
        diffusion={"folds": folds},
        training={"epochs": 1, "mean_epochs": 1},
    )
    run = TrainingRun(config=config, seed=0, device="cpu")
    trained = methods.find("residual").train(given, run)
    monkeypatch.undo()
    return trained.state, seen[0][given.train_targets]


@pytest.mark.slow
@pytest.mark.parametrize("folds", [2, 3])
def test_a_residual_is_measured_with_a_regression_that_did_not_see_its_day(folds, monkeypatch):
    given = field_arrays(shape=(16, 16))
    block = fold_of(given.train_targets, folds)
    state, means = train(given, folds, monkeypatch)
    for k in range(folds):
        fine = given.fine.copy()
        fine[given.train_targets[block == k]] *= -2
        other, moved = train(replace(given, fine=fine), folds, monkeypatch)
        np.testing.assert_array_equal(moved[block == k], means[block == k])
        assert (moved[block != k] != means[block != k]).any((1, 2, 3)).all()
        same = {n: np.array_equal(state[n], other[n]) for n in state if "regressions" in n}
        assert all(same[n] for n in same if n.startswith(f"regressions.{k}."))
        for j in set(range(folds)) - {k}:
            assert not all(same[n] for n in same if n.startswith(f"regressions.{j}."))


def moving_average(fields):
    return (fields + np.roll(fields, 1, -1) + np.roll(fields, 1, -2) + np.roll(fields, 2, -1)) / 2


def test_the_temperature_brings_fields_to_their_power_at_every_scale():
    rng = np.random.default_rng(0)
    true = moving_average(rng.normal(size=(60, 96, 96))).astype(np.float32)
    smooth = moving_average(rng.normal(size=(60, 96, 96)))
    smooth = (smooth + 0.2 * np.roll(smooth, 1, -2)).astype(np.float32) / 1.3
    fitted = fit_temperature(measure(true), measure(smooth))
    residual = ResidualStatistics(np.ones(1), np.eye(5)[:1], BANDS, fitted[None], (measure(true),))
    found = residual.calibrated(torch.from_numpy(smooth[:, None]))[:, 0].numpy()
    ratio = np.abs(np.log(fit_temperature(measure(true), measure(found))))
    assert ratio.max() < 0.06
    assert np.abs(np.log(fitted)).max() > 0.1


def test_one_temperature_is_a_factor():
    spectrum = Spectrum(np.array([0.1, 0.3]), np.ones(2))
    even = np.full((2, BANDS.size), 1.2)
    residual = ResidualStatistics(np.array([2.0, 3.0]), np.eye(5)[:2], BANDS, even, (spectrum,) * 2)
    drawn = torch.randn(3, 2, 9, 11)
    expected = drawn * 1.2 * torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(residual.calibrated(drawn), expected)
    nearly = residual._replace(temperature=even + 1e-9 * np.arange(BANDS.size))
    torch.testing.assert_close(nearly.calibrated(drawn), expected, rtol=1e-4, atol=1e-4)


def test_octaves_that_are_not_there_take_the_next_ones_temperature():
    frequency = np.linspace(0.2, 0.5, 20)
    fitted = fit_temperature(
        Spectrum(frequency, np.ones(20)), Spectrum(frequency, np.full(20, 0.64))
    )
    np.testing.assert_allclose(fitted, 1.25)
    assert (
        fit_temperature(Spectrum(frequency, np.ones(20)), Spectrum(frequency, np.zeros(20))) == 1
    ).all()


def test_the_level_gives_domain_means_their_spread_and_leaves_the_rest():
    rng = np.random.default_rng(0)
    true = (1.5 * rng.normal(size=(400, 1, 1)) + rng.normal(size=(400, 12, 12))).astype(np.float32)
    made = (rng.normal(size=(2, 400, 1, 1)) + rng.normal(size=(2, 400, 12, 12))).astype(np.float32)
    true[:, :3] = np.nan
    level = fit_level(true, np.where(np.isnan(true), np.nan, made))
    assert level == pytest.approx(1.5, rel=0.1)
    even = np.ones((1, BANDS.size))
    spectrum = Spectrum(np.array([0.1, 0.3]), np.ones(2))
    residual = ResidualStatistics(np.ones(1), np.eye(5)[:1], BANDS, even, (spectrum,))
    residual = residual._replace(level=np.array([level]))
    found = residual.calibrated(torch.from_numpy(made[0][:, None]))[:, 0].numpy()
    means = [fields.mean((1, 2)) for fields in (found, made[0])]
    np.testing.assert_allclose(means[0], level * means[1], rtol=1e-4)
    apart = [fields - fields.mean((1, 2), keepdims=True) for fields in (found, made[0])]
    np.testing.assert_allclose(*apart, atol=1e-5)
    again = ResidualStatistics.from_state(residual.to_state())
    assert again.level == pytest.approx(residual.level)


def test_the_level_stays_within_its_ends():
    true = np.ones((3, 2, 2))
    assert fit_level(true, np.full((1, 3, 2, 2), 0.01)) == LEVELS[1]
    assert fit_level(true, np.full((1, 3, 2, 2), 90.0)) == LEVELS[0]
    assert fit_level(true, np.zeros((1, 3, 2, 2))) == 1
    assert fit_level(true * np.nan, np.full((1, 3, 2, 2), np.nan)) == 1


def test_factors_at_their_ends_are_warned_of():
    fitted = np.ones((2, BANDS.size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_saturation(fitted, np.ones(2))
    fitted[1, 3] = 1.5
    with pytest.warns(XDownscaleWarning, match=r"more at 11\.3 pixels, less in the domain mean"):
        warn_of_saturation(fitted, np.array([1.0, 0.5]))
