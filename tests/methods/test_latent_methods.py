"""What users do with the methods with latent numbers: groups, files, stores, modes, checks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import xdownscale as xd
from records import latent_config, make_pair
from xdownscale import methods
from xdownscale.core.errors import ModelMismatchError, XDownscaleWarning

CASES = {
    "vae": {},
    "literal": {**methods.LITERAL_VAE},
    "vdm": {},
    "vdm with an encoder": {"network": {"encoder": "frozen"}},
}


def case(name):
    return latent_config("vdm" if name.startswith("vdm") else "vae", **CASES[name])


def quietly(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # nothing is learnt, runs start cold
        return function(*args, **options)


def records():
    return tuple(record["t"] for record in make_pair(60))


@pytest.fixture(scope="module", params=list(CASES))
def model(request):
    torch.set_num_threads(1)
    coarse, fine = records()
    return quietly(coarse.downscale.fit, fine, preset=case(request.param), progress=False)


def predicted(model, first=40, last=42, **options):
    coarse = records()[0]
    return quietly(model.predict, coarse, time=coarse.time[first:last], seed=1, **options)


def test_modes_agree_where_the_past_is_the_same(model):
    """Free-running and teacher-forced fields of the first day see the same true fields."""
    fine = records()[1]
    forced = predicted(model, realizations=2, mode="teacher_forced", history=fine)
    past = fine.sel(time=slice(None, forced.time.values[0] - np.timedelta64(1, "D")))
    free = predicted(model, realizations=2, mode="autoregressive", history=past)
    np.testing.assert_allclose(free[:, 0], forced[:, 0], atol=1e-5)
    assert not np.array_equal(free[:, 1], forced[:, 1])
    assert not np.array_equal(free[0], free[1])


def test_realizations_are_the_same_however_many_there_are(model):
    forced = {"mode": "teacher_forced", "history": records()[1]}
    three = predicted(model, realizations=3, **forced)
    np.testing.assert_array_equal(predicted(model, realizations=2, **forced), three[:2])
    np.testing.assert_array_equal(predicted(model, 41, 42, realizations=3, **forced), three[:, 1:])


def test_a_saved_model_gives_the_same_fields(model, tmp_path):
    path = tmp_path / "model.xd"
    model.save(path)
    loaded = xd.load(path)
    np.testing.assert_array_equal(predicted(loaded), predicted(model))
    assert loaded.config_ == model.config_
    gains = [methods.find(m.config_.method).latent_gain for m in (loaded, model)]
    states = [m.models_["all"].state for m in (loaded, model)]
    assert gains[0](states[0]) == gains[1](states[1])
    np.testing.assert_array_equal(loaded.history_["gain"], model.history_["gain"])


def test_a_store_holds_the_same_fields(model, tmp_path):
    coarse = records()[0]
    days = coarse.isel({"time": slice(30, 43)})
    path = tmp_path / "fields.zarr"
    stored = quietly(xd.predict_to_zarr, model, days, path, realizations=2, seed=1, progress=False)
    own = quietly(model.predict, days, realizations=2, seed=1)
    np.testing.assert_array_equal(stored["t"].values, own.values)


def test_check_has_rows_of_latent_numbers_and_patches(model):
    coarse, fine = records()
    table = quietly(model.check, coarse, fine, days=2, realizations=2)
    assert {"latent", "patch collapse"} <= set(table.index)
    gain = methods.find(model.config_.method).latent_gain(model.models_["all"].state)
    assert table.loc["latent", "value"] == pytest.approx(gain)
    assert np.isfinite(table.loc["patch collapse", "value"])


def test_the_encoder_of_another_model_is_taken_over_or_refused(model):
    coarse, fine = records()
    network = model.config_.network
    if network.encoder == "none":
        given = model.config_.replace(network={"encoder": "frozen"})
        with pytest.raises(ModelMismatchError, match="it has no encoder"):
            coarse.downscale.fit(fine, preset=given, encoder=model, progress=False)
        return
    again = quietly(coarse.downscale.fit, fine, preset=model.config_, encoder=model, progress=False)
    assert set(again.history_["stage"].values.ravel()) == {"infer"}


@pytest.mark.parametrize("name", ["vae", "vdm"])
def test_seasons_and_regions(name):
    coarse, fine = (record["t"] for record in make_pair(200))
    torch.set_num_threads(1)
    regions = {"west": (0, 5, 0, 12), "east": (5.01, 10, 0, 12)}
    model = quietly(
        coarse.downscale.fit,
        fine,
        preset=latent_config(name),
        seasons={"first": (1, 2, 3), "second": (4, 5, 6, 7, 8, 9)},
        regions=regions,
        progress=False,
    )
    assert len(model.models_) == 4
    fields = quietly(
        model.predict,
        coarse,
        time=coarse.time[80:82],
        mode="teacher_forced",
        history=fine,
        realizations=2,
    )
    assert fields.shape == (2, 2, 24, 20)
    assert bool(fields.notnull().all())


def test_fit_warns_of_each_group_that_collapsed():
    """One epoch leaves the posterior of the literal one where it began: on the prior."""
    coarse, fine = records()
    given = case("literal").replace(training={"learning_rate": 1e-6})
    with pytest.warns(XDownscaleWarning, match="numbers of group 'all' carry nothing: on held-out"):
        coarse.downscale.fit(fine, preset=given, progress=False)


def test_a_method_without_latent_numbers_has_no_gain():
    assert methods.find("diffusion").latent_gain({}) is None
