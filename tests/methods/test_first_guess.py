"""First guess of networks: what they correct, out of fold, and methods that build on it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import xdownscale as xd
from records import make_pair
from xdownscale.core.errors import OptionError, XDownscaleWarning
from xdownscale.methods import _first_guess, dressed_unet, selected
from xdownscale.methods.dressed_unet import kept_share
from xdownscale.models.statistical import Dressing, Predictors, Ridge, cross_predict, fair_crps
from xdownscale.models.statistical.predictors import under
from xdownscale.models.training.data import TrainingData, corrected_fields

SMALL = {"channels": (8, 16), "encoder": "none"}
ALL_DAYS = {"fractions": (1.0, 0.0, 0.0), "window": 1, "ahead": 0, "lags": 1}
UNTRAINED = {"mean_epochs": 1, "epochs": 1, "pretrain_epochs": 1, "learning_rate": 1e-12}


def fit(preset, names=("t",), days=80, **sections):
    coarse, fine = make_pair(days, names=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # short records
        config = xd.preset(preset, **sections)
        return coarse, coarse.downscale.fit(fine, preset=config, progress=False)


def mean_of(model, coarse, **options):
    return coarse.downscale.predict(
        model.with_sampling(sampler="mean"), time=coarse.time[90:94], **options
    )


@pytest.mark.parametrize("guess", ["driver", "bias", "ridge"])
def test_a_network_that_was_not_trained_gives_its_first_guess(guess):
    data = ALL_DAYS | {"first_guess": guess, "scaling": "standard"}
    network = SMALL | {"unshuffle": 2, "norm": "rms"}
    coarse, model = fit("fast", method="unet", data=data, network=network, training=UNTRAINED)
    _, closed = fit("dressed", data=ALL_DAYS, options={"mean": guess})
    np.testing.assert_allclose(mean_of(model, coarse), mean_of(closed, coarse), atol=2e-5)


def weather(days=60):
    """Return training data of one driver and target, the fine field a mixture of coarse cells."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(days, 1, 3, 4)).astype(np.float32)
    driver = coarse.repeat(2, 2).repeat(2, 3)
    fine = driver + np.roll(driver, 1, axis=3) + 0.1 * rng.normal(size=driver.shape)
    rows = np.arange(days)
    empty = np.empty((days, 0), np.int64)
    y, x = np.indices((6, 8))
    return TrainingData(
        coarse=coarse,
        coarse_targets=rows[:0],
        coarse_lags=empty[:0],
        coarse_stopping=rows[:0].astype(bool),
        driver=driver,
        own=(0,),
        fine=fine.astype(np.float32),
        windows=rows[:, None],
        lags=empty,
        fine_lags=empty,
        static=np.zeros((1, 6, 8), np.float32),
        calendar=np.zeros((days, 2), np.float32),
        place=((np.stack([y, x], -1) + 0.5) / 2 - 0.5).astype(np.float32),
        keys=rows * 86400,
        step=86400,
        train_targets=rows[:40],
        stop_targets=rows[40:50],
        tune_targets=rows[50:],
        mask=np.ones((1, 6, 8), bool),
        coarse_windows=rows[:, None],
    )


def test_guesses_of_training_are_out_of_fold_and_of_others_from_all_that_was_fitted_on():
    data = weather()
    guessed, _ = _first_guess.fit_first_guess(data, "ridge")
    known = Predictors(
        coarse=data.coarse[:, None],
        calendar=data.calendar,
        driver=data.driver[:, 0],
        place=data.place,
    )
    fine = data.fine[:, 0]
    expected = cross_predict(Ridge.fit, known.take(np.arange(50)), fine[:50])
    later = Ridge.fit(known.take(np.arange(50)), fine[:50]).predict(known.take(np.arange(50, 60)))
    found = np.stack([guessed.guess[row][0] for row in range(60)])
    np.testing.assert_allclose(found[:50], expected, atol=1e-6)
    np.testing.assert_allclose(found[50:], later, atol=1e-6)
    assert np.abs(found[:50] - Ridge.fit(known, fine).predict(known)[:50]).max() > 1e-3


def test_the_climate_is_that_of_the_time_steps_that_were_fitted_on():
    data = weather()
    fine = data.fine.copy()
    fine[:, 0, 0, 0] = np.where(np.arange(60) % 4 == 0, -9.0, fine[:, 0, 0, 0])  # its minimum
    fine[3, 0, 2, 2] = np.nan
    guessed, _ = _first_guess.fit_first_guess(replace(data, fine=fine), "bias")
    mean, spread, lowest, error = guessed.guess[0][1:]
    known = fine[:50, 0]
    np.testing.assert_allclose(mean, np.nanmean(known, 0), atol=1e-5)
    np.testing.assert_allclose(spread, np.nanstd(known, 0), atol=1e-5)
    assert lowest[0, 0] == pytest.approx(13 / 50)
    assert lowest[1:].max() <= 1 / 50
    guesses = np.stack([guessed.guess[row][0] for row in range(50)])
    rms = np.sqrt(np.nanmean(np.square(known - guesses), 0))
    np.testing.assert_allclose(error, rms, atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "crps", "unet", "dressed_unet", "selected"])
def test_fields_on_a_first_guess_do_not_depend_on_chunks_and_survive_a_file(name, tmp_path):
    data = {"first_guess": "ridge", "crop": 16}
    training = {"epochs": 1}
    if name != "crps":
        training["mean_epochs"] = 1
    coarse, model = fit(
        "fast", ("t", "q"), method=name, data=data, network=SMALL, training=training
    )
    options = {"time": coarse.time[88:96], "seed": 3}
    if name != "unet":
        options["realizations"] = 3
    eager = coarse.downscale.predict(model, **options)
    lazy = coarse.chunk(time=9).downscale.predict(model, **options)
    model.save(tmp_path / "model.xd")
    again = coarse.downscale.predict(xd.load(tmp_path / "model.xd"), **options)
    assert np.isfinite(eager.q.values).all()
    for variable in ("t", "q"):
        np.testing.assert_array_equal(again[variable].values, eager[variable].values)
        np.testing.assert_allclose(lazy[variable].values, eager[variable].values, atol=1e-6)


def test_members_of_dressed_unet_are_its_mean_plus_known_residuals():
    coarse, model = fit("fast", method="dressed_unet", network=SMALL, training=UNTRAINED)
    members = coarse.downscale.predict(model, time=coarse.time[90:94], realizations=3)
    group = model.models_["all"]
    zero = group.scaling.inverse(np.zeros(1, np.float32))
    mean = mean_of(model, coarse).squeeze().transpose("time", ...).values
    dressing = Dressing.from_state(under(group.state, "dressing"), 1, mean.shape[1:])
    scaled = np.float32(group.scaling.forward(mean))[:, None]
    sizes = np.stack([np.ones(scaled.shape[1:])] * len(mean))
    if dressing.amplitude is not None:
        sizes = np.stack([dressing.amplitude(field) for field in scaled])
    residuals = group.scaling.inverse(sizes[:, 0] * dressing.residuals) - zero
    found = members.transpose("realization", "time", ...).values - mean
    nearest = np.abs(found[:, None] - residuals).max((-2, -1)).min(1)
    np.testing.assert_allclose(nearest, 0, atol=1e-4)


@pytest.mark.parametrize("better", ["short", "long"])
def test_the_number_of_epochs_is_that_which_is_better_on_a_held_out_block(better, monkeypatch):
    monkeypatch.setattr(dressed_unet, "LONG", 6)
    monkeypatch.setattr(dressed_unet, "SHORT", 2)
    found, real = [], dressed_unet.block_error

    def error(*given):
        found.append(real(*given))
        return float((len(found) == 1) == (better == "long"))

    monkeypatch.setattr(dressed_unet, "block_error", error)
    network = SMALL | {"unshuffle": 4}
    _, model = fit("auto", method="dressed_unet", network=network, training={"batch_days": 16})
    history = model.history_
    counts = {name: int((history.stage == name).sum()) for name in np.unique(history.stage)}
    each = 2 if better == "short" else 6
    expected = {"regress0": 6, "regress0_short": 2, "regress1": each, "regress2": each}
    assert counts == expected | {"regress3": each}
    assert np.isfinite(found).all()
    assert found[0] != found[1]


def test_a_given_number_of_epochs_is_taken():
    network = SMALL | {"unshuffle": 4}
    _, model = fit("auto", method="dressed_unet", network=network, training={"mean_epochs": 2})
    assert set(np.unique(model.history_.stage)) == {f"regress{k}" for k in range(4)}


def test_auto_keeps_the_closed_form_where_the_network_adds_nothing():
    data = {"lags": 1}
    coarse, model = fit("auto", data=data, network=SMALL, training=UNTRAINED)
    assert " kept: CRPS " in repr(model)
    kept = selected._kept(model.models_["all"].state)
    assert kept is not None
    assert f"{kept.name} kept: CRPS" in repr(model)
    _, alone = fit(kept.name)
    options = {"time": coarse.time[90:94], "realizations": 3}
    np.testing.assert_array_equal(
        coarse.downscale.predict(model, **options), coarse.downscale.predict(alone, **options)
    )


def test_what_auto_keeps_has_the_smallest_held_out_crps_but_for_its_error():
    state_of = selected.NAMES
    _, model = fit("auto", network=SMALL, training={"mean_epochs": 2})
    state = model.models_["all"].state
    crps = dict(zip(state_of, state["judged.crps"].tolist(), strict=True))
    closed = min(crps[name] for name in ("dressed", "analogues", "gaussian"))
    kept = selected._kept(state)
    error = float(state["judged.error"][0])
    assert (kept is None) == (crps["network"] < closed - error)
    if kept is not None:
        assert crps[kept.name] == closed
    assert crps["bias"] > closed


def twice(cells, level=None):
    return np.stack([cells, cells if level is None else level], axis=1)


def test_the_network_is_kept_only_beyond_its_standard_error():
    rng = np.random.default_rng(0)
    base = 1 + 0.1 * rng.normal(size=60)
    scores = {"dressed": base, "analogues": base + 0.2, "gaussian": base + 0.1}
    scores = {name: twice(cells) for name, cells in scores.items()}
    better = base - 0.05 + 0.02 * rng.normal(size=60)
    alike = base - 0.001 + 0.1 * rng.normal(size=60)
    assert selected.choose(scores | {"network": twice(better)})[0] == "network"
    assert selected.choose(scores | {"network": twice(alike)})[0] == "dressed"
    assert selected.choose(scores)[0] == "dressed"
    noise = rng.normal(size=60)
    tied = base - 0.002 + 0.1 * (noise - noise.mean())
    assert selected.choose(scores | {"gaussian": twice(tied)})[0] == "dressed"
    assert selected.choose(scores | {"gaussian": twice(base - 0.05)})[0] == "gaussian"


def test_a_method_that_misses_the_domain_mean_does_not_replace_dressed():
    base = 1 + 0.1 * np.random.default_rng(0).normal(size=60)
    scores = {"dressed": twice(base), "gaussian": twice(base - 0.05, level=base + 0.01)}
    assert selected.choose(scores)[0] == "dressed"


def test_the_judged_crps_is_that_of_members_in_physical_units():
    data = weather()
    data = replace(data, physical=lambda fields: 10 * np.asarray(fields))
    members = np.random.default_rng(1).normal(size=(4, 1, 6, 8)).astype(np.float32)
    cells = 10 * fair_crps(members[:, 0], data.fine[7, 0])
    level = 10 * fair_crps(members.mean((2, 3)), data.fine[7].mean((1, 2)))
    found = selected.mean_crps(data, members, data.fine[7])
    assert found == pytest.approx((cells, level), rel=1e-5)


def test_missing_cells_count_neither_in_cells_nor_in_their_mean():
    data = weather()
    members = np.random.default_rng(1).normal(size=(4, 1, 6, 8)).astype(np.float32)
    truth = data.fine[7].copy()
    truth[:, :, 5:] = np.nan
    expected = selected.mean_crps(data, members[..., :5], truth[..., :5])
    assert selected.mean_crps(data, members, truth) == pytest.approx(expected, rel=1e-6)


def test_a_first_guess_that_a_method_does_not_use_is_refused():
    with pytest.raises(OptionError, match=r"does not use data\.first_guess"):
        xd.preset("dressed", data={"first_guess": "ridge"})
    with pytest.raises(OptionError, match="Unknown first_guess: 'rige'"):
        xd.preset("fast", data={"first_guess": "rige"})


@pytest.mark.parametrize("own", [(0,), (-1,)])
def test_what_networks_correct_is_the_guess_or_the_driver_or_nothing(own):
    data = replace(weather(), own=own)
    rows = np.array([3, 7])
    driver = data.driver[rows] if own == (0,) else np.zeros_like(data.driver[rows])
    np.testing.assert_array_equal(corrected_fields(data, rows), driver)
    guessed, _ = _first_guess.fit_first_guess(weather(), "bias")
    expected = [guessed.guess[int(row)][:1] for row in rows]
    np.testing.assert_array_equal(corrected_fields(guessed, rows), expected)


def test_the_share_that_is_kept_has_the_smallest_held_out_error():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(50, 2, 6, 8))
    change = np.stack([truth[:, 0] + rng.normal(size=truth[:, 0].shape), -truth[:, 1]], axis=1)
    truth[:, 0, 2:4] = np.nan
    share = kept_share(truth, change)
    tried = np.linspace(0, 1, 101)
    errors = [np.nanmean(np.square(truth[:, 0] - each * change[:, 0])) for each in tried]
    assert share[0] == pytest.approx(tried[np.argmin(errors)], abs=0.01)
    assert share[1] == 0  # what makes it worse is taken back altogether


@pytest.mark.parametrize("preset", ["auto", "fast"])
def test_a_budget_that_is_spent_before_training_begins_gives_a_model(preset):
    coarse, model = fit(preset, network=SMALL, training={"max_minutes": 1e-4})
    maps = coarse.downscale.predict(model, time=coarse.time[90:92], realizations=2)
    assert np.isfinite(maps).all()
