"""Spectra: Parseval, a known filter, gaps, and noise with a spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from xdownscale.models.diffusion.spectra import Spectrum, coloured, measure


def white(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def moving_average(fields):
    """Mean of each pixel and its right and lower neighbours; its transfer function is known."""
    along = (fields + np.roll(fields, -1, -1)) / 2
    return (along + np.roll(along, -1, -2)) / 2


def test_the_spectrum_of_a_moving_average_is_its_transfer_function():
    found = measure(moving_average(white(0, (200, 48, 64))))
    y, x = np.meshgrid(np.fft.fftfreq(480), np.fft.fftfreq(640), indexing="ij")
    radius = np.hypot(y, x)
    transfer = (np.cos(np.pi * y) * np.cos(np.pi * x)) ** 2
    for frequency, power in zip(found.frequency[3:-1], found.power[3:-1], strict=True):
        ring = np.abs(radius - frequency) < 0.5 / 96
        assert power == pytest.approx(transfer[ring].mean(), rel=0.08, abs=0.01)


def test_gaps_lose_no_power():
    fields = white(1, (100, 40, 40))
    valid = white(2, (40, 40)) > -0.5
    holes = np.where(white(3, fields.shape) > 1.5, np.nan, fields)
    assert measure(holes, valid).power.mean() == pytest.approx(1, rel=0.05)
    # what lies outside the mask is not read
    odd = np.where(valid, holes, 1e9)
    np.testing.assert_array_equal(measure(odd, valid).power, measure(holes, valid).power)


def test_coloured_noise_has_the_spectrum_and_the_noise_on_top():
    wanted = Spectrum(np.linspace(0.02, 0.5, 25), 0.05 / np.linspace(0.02, 0.5, 25) ** 2)
    found = measure(coloured(white(4, (200, 64, 64)), wanted, 0.7))
    inside = (found.frequency > 0.1) & (found.frequency < 0.45)
    expected = np.interp(found.frequency, wanted.frequency, wanted.power) + 0.49
    np.testing.assert_allclose(found.power[inside], expected[inside], rtol=0.06)
    assert coloured(white(4, (3, 9, 11)), wanted, 0.7).shape == (3, 9, 11)


def test_what_was_measured_is_drawn_again():
    first = measure(moving_average(white(5, (300, 48, 48))))
    again = measure(coloured(white(6, (300, 48, 48)), first, 0.0))
    np.testing.assert_allclose(again.power[1:-2], first.power[1:-2], rtol=0.1, atol=0.01)


@pytest.mark.parametrize("length", [2.0, 5.0, 10.0])
def test_fields_that_do_not_wrap_around_keep_their_variance(length):
    # cut from a larger image, drawn on one that is wider than what was measured
    frequency = np.hypot(np.fft.fftfreq(384)[:, None], np.fft.fftfreq(384)[None])
    power = (1 + (2 * np.pi * frequency * length) ** 2) ** -1.5
    gain = np.sqrt(power / power.mean())
    fields = np.fft.ifft2(np.fft.fft2(white(7, (30, 384, 384))) * gain).real[:, :128, :128]
    gaps = np.where(white(8, fields.shape) > 1, np.nan, fields)
    for found in (measure(fields), measure(gaps)):
        drawn = coloured(white(9, (30, 192, 192)), found, 0.0)[:, :128, :128]
        assert drawn.var() == pytest.approx(fields.var(), rel=0.1)


def test_the_smallest_fields_have_a_spectrum():
    found = measure(white(10, (50, 2, 2)))
    assert np.isfinite(coloured(white(11, (4, 4)), found, 1.0)).all()
