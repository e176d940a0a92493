"""Initial noise of samplers: the residual's power, one field for all patches or one for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xdownscale.models.diffusion import noise
from xdownscale.models.diffusion.calibration import BANDS
from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.spectra import Spectrum
from xdownscale.models.sampling.initial_noise import InitialNoise

FREQUENCY = np.linspace(0.01, 0.5, 40)
MEASURED = ResidualStatistics(
    np.ones(2),
    np.array([[1.0, 0, 0, 0, 0], [0, 0, 0.2, 0.8, 0]]),
    BANDS,
    np.ones((2, BANDS.size)),
    (Spectrum(FREQUENCY, 0.02 / FREQUENCY**2),) * 2,
)
WHITE = InitialNoise(
    measured=None,
    seed=7,
    keys=86400 * np.arange(6),
    step=86400,
    channels=2,
    corner=(0, 0),
    domain=(48, 56),
    shape=(48, 56),
    pad=(0, 0),
    sigma_max=5.0,
)


def test_the_noise_has_the_power_of_noise_and_residual():
    noise_of = replace(WHITE, measured=MEASURED, domain=(192, 192), shape=(192, 192))
    fields = noise_of.fields([0, 1, 2], [0, 1, 2])
    assert fields.shape == (3, 2, 192, 192)
    assert fields.dtype == np.float32
    # power over the plane: 25 of white noise everywhere, and the residual's own
    rows, columns = np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij")
    radius = np.hypot(rows, columns)
    own = 0.02 / np.clip(radius, 0.01, 0.5) ** 2
    assert (fields**2).mean() == pytest.approx(25 + own.mean(), rel=0.05)


def test_days_remember_each_other_as_long_as_was_measured():
    noise_of = replace(WHITE, measured=MEASURED, domain=(128, 128), shape=(128, 128))
    fields = noise_of.fields([0] * 6, range(6))
    along = (fields[1:] * fields[:-1]).mean((0, 2, 3)) / (fields**2).mean((0, 2, 3))
    np.testing.assert_allclose(along, MEASURED.rho, atol=0.06)


@pytest.mark.parametrize("measured", [None, MEASURED])
def test_an_image_cuts_its_noise_from_that_of_the_domain(measured):
    whole = replace(WHITE, measured=measured)
    part = replace(whole, corner=(8, 16), shape=(24, 40), pad=(4, 0))
    found = part.fields([1], [3])[0]
    assert found.shape == (2, 28, 40)
    np.testing.assert_array_equal(found[:, :24], whole.fields([1], [3])[0, :, 8:32, 16:])
    np.testing.assert_array_equal(found[:, 24:], found[:, :4])  # noise too, not an edge


def test_patches_of_their_own_are_fields_of_their_own():
    days, patches = np.array([0, 0, 5]), np.array([0, 3, 0])
    found = WHITE.own(2, days, patches, 16)
    assert found.shape == (3, 2, 16, 16)
    again = noise.field(7, 2, 5 * 86400, 1, (16, 16), 0)
    np.testing.assert_array_equal(found[2, 1], again)
    flat = found.reshape(6, -1)
    between = np.corrcoef(flat) - np.eye(6)
    assert np.abs(between).max() < 0.3
    few = WHITE.own(2, days[1:2], patches[1:2], 16)
    np.testing.assert_array_equal(few[0], found[1])


def test_patches_of_their_own_have_the_statistics_of_patches_of_the_domain():
    noise_of = replace(
        WHITE, measured=MEASURED, channels=1, domain=(160, 160), shape=(160, 160), sigma_max=0.02
    )
    domain = noise_of.fields(list(range(24)), [0] * 24)[:, 0].astype(float)
    cut = domain.reshape(24, 10, 16, 10, 16).swapaxes(2, 3).reshape(-1, 16, 16)
    own = noise_of.own(0, np.zeros(2400, np.intp), np.arange(2400), 16)[:, 0].astype(float)
    assert own.mean((1, 2)).std() == pytest.approx(cut.mean((1, 2)).std(), rel=0.1)
    assert own.std() == pytest.approx(cut.std(), rel=0.1)
    inner = [(field - field.mean((1, 2), keepdims=True)).std() for field in (own, cut)]
    assert inner[0] == pytest.approx(inner[1], rel=0.05)


BATCHES = [[(0, 0), (0, 1)], [(1, 3), (0, 5)], [(1, 4), (1, 4)]]


@pytest.mark.parametrize("ahead", [False, True])
def test_noise_in_batches_is_the_noise(ahead):
    noise_of = replace(WHITE, measured=MEASURED)
    found = list(noise_of.batches(BATCHES, ahead=ahead))
    assert len(found) == len(BATCHES)
    for batch, fields in zip(BATCHES, found, strict=True):
        np.testing.assert_array_equal(fields, noise_of.fields(*zip(*batch, strict=True)))


@pytest.mark.parametrize("ahead", [False, True])
def test_a_time_step_that_is_not_there_is_an_error_of_the_caller(ahead):
    with pytest.raises(IndexError):
        list(WHITE.batches([[(0, 0)], [(0, 6)]], ahead=ahead))
