"""What is measured between the stages, on residuals that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from xdownscale.models.diffusion.residual import Residual
from xdownscale.models.training.crop_dataset import CropDays, FieldArrays, around
from xdownscale.models.training.field_tasks import fold_of

from xdownscale.config import preset
from xdownscale.models.diffusion.calibration import BANDS, fit_temperature
from xdownscale.models.diffusion.noise import noise_inputs
from xdownscale.models.diffusion.spectra import Spectrum, measure
from xdownscale.models.sampling.fields import draw_fields
from xdownscale.models.training import train_fields


def arrays(days=200, shape=(32, 32), rho=0.6, scales=(0.3, 2.0)):
    """Fine fields that are autoregressive noise of known size, and no driver to speak of."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(days, len(scales), *shape))
    for day in range(1, days):
        noise[day] = rho * noise[day - 1] + np.sqrt(1 - rho**2) * noise[day]
    fine = noise * np.array(scales)[:, None, None]
    rows = np.arange(days)
    mask = np.ones((len(scales), *shape), bool)
    mask[0, :4] = False
    return FieldArrays(
        coarse=np.zeros((days + 10, 1, 6, 6), np.float32),
        coarse_targets=np.arange(5, days),
        coarse_lags=np.arange(5, days)[:, None] - [3, 2, 1],
        coarse_stopping=np.zeros(days - 5, bool),
        driver=rng.normal(size=(days + 4, 1, *shape)).astype(np.float32),
        own=(0, -1),
        fine=np.where(mask, fine, np.nan).astype(np.float32),
        windows=rows[:, None] + np.arange(5),
        lags=np.clip(rows[:, None] - [3, 2, 1], 0, None),
        fine_lags=np.zeros((days, 0), np.int64),
        static=np.zeros((2, *shape), np.float32),
        calendar=np.zeros((days, 2), np.float32),
        place=np.zeros((*shape, 2), np.float32),
        keys=86400 * rows,
        step=86400,
        train_targets=rows[:160],
        stop_targets=rows[160:180],
        tune_targets=rows[180:],
        mask=mask,
    )


def test_scale_memory_and_spectrum_of_known_noise():
    given = arrays()
    found = train_fields._measure(given, np.zeros(given.fine.shape, np.float32))
    np.testing.assert_allclose(found.scale, [0.3, 2.0], rtol=0.02)
    np.testing.assert_allclose(found.rho, 0.6, atol=0.03)
    for spectrum in found.spectra:
        np.testing.assert_allclose(spectrum.power[2:], 1, atol=0.15)


def test_days_that_do_not_follow_each_other_say_nothing_of_memory():
    given = arrays()
    every = FieldArrays(**{**given.__dict__, "train_targets": np.arange(0, 160, 6)})
    found = train_fields._measure(every, np.zeros(given.fine.shape, np.float32))
    np.testing.assert_array_equal(found.rho, 0)
    some = FieldArrays(**{**given.__dict__, "train_targets": np.arange(0, 160, 2)})
    found = train_fields._measure(some, np.zeros(given.fine.shape, np.float32))
    np.testing.assert_allclose(found.rho, 0.6, atol=0.05)  # every second day says something


def test_what_was_measured_survives_saving():
    spectra = tuple(Spectrum(np.array([0.1, 0.3]), np.array([2.0, k])) for k in (1.0, 3.0))
    temperature = np.random.default_rng(0).uniform(0.7, 1.5, (2, BANDS.size)).astype(np.float32)
    residual = Residual(np.array([0.5, 2]), np.eye(5)[[1, 2]], BANDS, temperature, spectra)
    again = Residual.from_state(residual.to_state())
    for name in ("scale", "memory", "temperature"):
        np.testing.assert_allclose(getattr(again, name), getattr(residual, name), rtol=1e-6)
    for ours, theirs in zip(again.spectra, spectra, strict=True):
        np.testing.assert_allclose(ours.power, theirs.power)
        np.testing.assert_allclose(ours.frequency, theirs.frequency)


def test_folds_are_blocks_of_time_that_share_no_day():
    folds = fold_of(np.arange(100, 110), 3)
    assert folds.tolist() == sorted(folds.tolist())
    assert set(folds) == {0, 1, 2}
    assert np.ptp(np.bincount(folds)) <= 1


def learn(given, folds, monkeypatch):
    """Train for an epoch; return the state, and each training day's mean."""
    seen = []
    original = train_fields._means

    def spied(*every):
        seen.append(original(*every))
        return seen[-1].copy()

    monkeypatch.setattr(train_fields, "_means", spied)
    config = preset(
        "fast",
        data={"crop": 16},
        network={"channels": (8, 8), "encoder": "none"},
        diffusion={"folds": folds},
        training={"epochs": 1, "mean_epochs": 1},
    )
    lesson = train_fields.Lesson(
        arrays=given, config=config, seed=0, device="cpu", store=None, progress=False
    )
    state, _ = train_fields.learn_fields(lesson, lambda encoder: None)
    monkeypatch.undo()
    return state, seen[0][given.train_targets]


@pytest.mark.slow
@pytest.mark.parametrize("folds", [2, 3])
def test_a_residual_is_measured_with_a_regression_that_did_not_see_its_day(folds, monkeypatch):
    given = arrays(shape=(16, 16))
    block = fold_of(given.train_targets, folds)
    state, means = learn(given, folds, monkeypatch)
    for k in range(folds):
        fine = given.fine.copy()
        fine[given.train_targets[block == k]] *= -2
        other, moved = learn(FieldArrays(**{**given.__dict__, "fine": fine}), folds, monkeypatch)
        np.testing.assert_array_equal(moved[block == k], means[block == k])
        assert (moved[block != k] != means[block != k]).any((1, 2, 3)).all()
        same = {n: np.array_equal(state[n], other[n]) for n in state if "regressions" in n}
        assert all(same[n] for n in same if n.startswith(f"regressions.{k}."))
        for j in set(range(folds)) - {k}:
            assert not all(same[n] for n in same if n.startswith(f"regressions.{j}."))


def test_crops_depend_on_seed_epoch_and_day_alone():
    given = arrays(shape=(40, 48))
    days = CropDays(given, given.train_targets, 16, 8, seed=1, epoch=2)
    first, again = days[7], days[7]
    assert first.target.shape == (8, 2, 16, 16)
    assert (first.known == again.known).all()
    other = CropDays(given, given.train_targets, 16, 8, seed=1, epoch=3)[7]
    assert not (first.known == other.known).all()


def test_crops_of_all_records_lie_in_the_same_place():
    given = arrays(shape=(40, 48))
    y, x = np.indices((40, 48)).astype(np.float32)
    given.driver[:], given.static[:] = x, y
    given.fine[:] = x + 100 * y
    batch = CropDays(given, given.train_targets, 16, 8, seed=0, epoch=0)[3]
    target, valid = batch.target[:, 1], batch.valid[:, 1]
    expected = batch.known[:, 0] + 100 * batch.known[:, -1]
    assert (target[valid] == expected[valid]).all()
    assert not batch.valid[:, 0][batch.known[:, -1] < 4].any()


def test_the_targets_own_drivers_come_first():
    window = np.arange(30.0).reshape(5, 3, 1, 2)
    channels = around(window, own=(2, -1, 0))
    assert channels.shape == (16, 1, 2)
    np.testing.assert_array_equal(channels[0], window[0, 2])
    np.testing.assert_array_equal(channels[1], 0)
    np.testing.assert_array_equal(channels[2], window[0, 0])
    rest = {tuple(c.ravel()) for c in channels[3:]}
    assert len(rest) == 13
    assert tuple(window[0, 1].ravel()) in rest


def test_noise_at_three_scales_has_about_unit_variance():
    white = torch.randn(20, 2, 128, 128, generator=torch.Generator().manual_seed(0))
    found = noise_inputs(white)
    assert found.shape == (20, 6, 128, 128)
    variance = found.var((0, 2, 3))
    assert variance.numpy() == pytest.approx(1, abs=0.25)


def with_fine_lags(given, count=2):
    rows = np.arange(len(given.windows))[:, None] - np.arange(count, 0, -1)
    return FieldArrays(**{**given.__dict__, "fine_lags": np.where(rows >= 0, rows, -1)})


def test_fine_lags_are_the_true_fields_and_the_driver_stands_in():
    given = with_fine_lags(arrays(shape=(16, 16)))
    conditions = train_fields.field_conditions(given, np.array([0, 1, 7]))
    assert conditions.known.shape[1] == given.sizes.known
    lags = conditions.known[:, 6:10].reshape(3, 2, 2, 16, 16)  # (day, lag, target, y, x)
    own = conditions.known[:, :2]
    np.testing.assert_array_equal(
        lags[0], own[0][None].repeat(2, 0)
    )  # nothing before the first day
    np.testing.assert_array_equal(lags[1, 0], own[1])
    expected = np.where(given.mask, given.fine[[5, 6]], own[2])
    np.testing.assert_array_equal(lags[2], expected)
    again = np.where(given.mask, given.fine[0], own[1])
    np.testing.assert_array_equal(lags[1, 1], again)


def test_fine_lags_are_spoilt_in_training_and_never_elsewhere():
    given = with_fine_lags(arrays(shape=(16, 16)))
    days = {"arrays": given, "rows": given.train_targets, "size": 16, "unit": 8, "seed": 0}
    whole = train_fields.field_conditions(given, np.array([9])).known[0]
    clean = CropDays(epoch=0, **days)[9].known[0].numpy()
    np.testing.assert_array_equal(clean, whole)
    gone = CropDays(epoch=0, spoil=(0.0, 1.0), **days)[9].known[0].numpy()
    np.testing.assert_array_equal(gone[6:10], whole[[0, 1, 0, 1]])
    noisy = [CropDays(epoch=e, spoil=(0.5, 0.0), **days)[9].known[0].numpy() for e in range(40)]
    apart = np.array([(n - whole)[6:10].std() for n in noisy])
    assert 0 < apart.min() < apart.max() < 0.55
    assert all((n[:6] == whole[:6]).all() for n in noisy)


def test_members_with_conditions_of_their_own(make):
    networks, residual, conditions, request = make(days=2)
    together = draw_fields(networks, residual, conditions, request)
    twice = replace(
        conditions,
        **{k: getattr(conditions, k)[[0, 0]] for k in ("known", "calendar", "coarse", "keys")},
        members=np.array([1, 0]),
    )
    found = draw_fields(networks, residual, twice, request)
    assert found.shape[:2] == (1, 2)
    np.testing.assert_allclose(found[0], together[[1, 0], 0], atol=2e-5)


def moving_average(fields):
    return (fields + np.roll(fields, 1, -1) + np.roll(fields, 1, -2) + np.roll(fields, 2, -1)) / 2


def test_the_temperature_brings_fields_to_their_power_at_every_scale():
    rng = np.random.default_rng(0)
    true = moving_average(rng.normal(size=(60, 96, 96))).astype(np.float32)
    smooth = moving_average(rng.normal(size=(60, 96, 96)))
    smooth = (smooth + 0.2 * np.roll(smooth, 1, -2)).astype(np.float32) / 1.3
    fitted = fit_temperature(measure(true), measure(smooth))
    residual = Residual(np.ones(1), np.eye(5)[:1], BANDS, fitted[None], (measure(true),))
    found = residual.finished(torch.from_numpy(smooth[:, None]))[:, 0].numpy()
    ratio = np.abs(np.log(fit_temperature(measure(true), measure(found))))
    assert ratio.max() < 0.06
    assert np.abs(np.log(fitted)).max() > 0.1


def test_one_temperature_is_a_factor():
    spectrum = Spectrum(np.array([0.1, 0.3]), np.ones(2))
    even = np.full((2, BANDS.size), 1.2)
    residual = Residual(np.array([2.0, 3.0]), np.eye(5)[:2], BANDS, even, (spectrum,) * 2)
    drawn = torch.randn(3, 2, 9, 11)
    expected = drawn * 1.2 * torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(residual.finished(drawn), expected)
    nearly = residual._replace(temperature=even + 1e-9 * np.arange(BANDS.size))
    torch.testing.assert_close(nearly.finished(drawn), expected, rtol=1e-4, atol=1e-4)


def test_octaves_that_are_not_there_take_the_next_ones_temperature():
    frequency = np.linspace(0.2, 0.5, 20)
    fitted = fit_temperature(
        Spectrum(frequency, np.ones(20)), Spectrum(frequency, np.full(20, 0.64))
    )
    np.testing.assert_allclose(fitted, 1.25)
    assert (
        fit_temperature(Spectrum(frequency, np.ones(20)), Spectrum(frequency, np.zeros(20))) == 1
    ).all()
