"""An encoder that is taken over: same weights as by hand, checks before any work, a trail."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

import xdownscale as xd
from records import fast_config, fitted_of, make_pair
from xdownscale.core.errors import ModelMismatchError, NotFittedError, OptionError
from xdownscale.methods.residual_diffusion import ResidualDiffusion


@pytest.fixture(scope="module")
def source():
    coarse, fine = make_pair(60, seed=3)
    return coarse["t"].downscale.fit(fine["t"], preset=fast_config(), seed=5, progress=False)


@pytest.fixture(scope="module")
def pair():
    coarse, fine = make_pair(60)
    return coarse["t"], fine["t"]


@pytest.fixture(scope="module")
def taken(source, pair):
    return xd.fit(*pair, preset=fast_config(), progress=False, encoder=source)


def encoder(model, group="all"):
    state = model.models_[group].state
    return {name: w for name, w in state.items() if name.startswith("encoder.")}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_array_equal(found[name], weights, err_msg=name)


def test_it_equals_the_same_weights_given_by_hand(source, pair, taken, monkeypatch):
    """Straight to the method, which is where the transfer is to lead."""
    real = ResidualDiffusion.train

    def by_hand(self, data, run):
        assert run.encoder is None
        return real(self, data, dataclasses.replace(run, encoder=encoder(source)))

    monkeypatch.setattr(ResidualDiffusion, "train", by_hand)
    expected = xd.fit(*pair, preset=fast_config(), progress=False)
    assert_equal(taken.models_["all"].state, expected.models_["all"].state)


def test_a_frozen_encoder_stays_and_the_first_stage_is_left_out(source, taken):
    assert_equal(encoder(taken), encoder(source))
    assert "pretrain" not in set(taken.history_["stage"].values.ravel())


def test_a_finetuned_encoder_goes_on_learning(source, pair):
    asked = fast_config(method="unet", network={"encoder": "finetuned"})
    model = xd.fit(*pair, preset=asked, progress=False, encoder=source)
    changed = [np.any(encoder(model)[name] != w) for name, w in encoder(source).items()]
    assert any(changed)


def test_the_new_records_have_their_own_scaling(source, pair, taken):
    own = xd.fit(*pair, preset=fast_config(), progress=False)
    assert taken.models_["all"].scalings == own.models_["all"].scalings
    assert taken.models_["all"].scalings != source.models_["all"].scalings


def test_where_it_is_from_is_kept_through_a_file(source, taken, pair, tmp_path):
    taken.save(tmp_path / "m.xd")
    again = xd.load(tmp_path / "m.xd")
    origin = fitted_of(again).about.encoder["all"]
    assert origin["fingerprint"] == fitted_of(source).about.fingerprint
    assert origin["group"] == "all"
    assert f"taken over from {origin['fingerprint'][:12]}" in repr(again)
    assert_equal(again.models_["all"].state, taken.models_["all"].state)
    days = pair[0].time[30:32]
    np.testing.assert_array_equal(again.predict(pair[0], days), taken.predict(pair[0], days))


def test_accessors_take_it_too(source, pair, taken):
    coarse, fine = pair
    for record in (coarse, coarse.to_dataset(name="t")):
        model = record.downscale.fit(fine, preset=fast_config(), progress=False, encoder=source)
        assert_equal(model.models_["all"].state, taken.models_["all"].state)


def test_a_folder_of_another_encoder_is_refused(source, pair, tmp_path):
    options = {"preset": fast_config(), "progress": False, "checkpoint_dir": tmp_path}
    first, again = (xd.fit(*pair, encoder=source, **options) for _ in range(2))
    assert_equal(again.models_["all"].state, first.models_["all"].state)
    other = copy.deepcopy(source)
    for weights in encoder(other).values():
        weights += 1
    for given in (other, None):
        with pytest.raises(ModelMismatchError, match="another"):
            xd.fit(*pair, encoder=given, **options)


def test_paper_takes_one_of_its_kind(coarse, fine, model, tiny_config):
    taken = coarse.downscale.fit(fine, preset=tiny_config, progress=False, seed=1, encoder=model)
    assert_equal(encoder(taken), encoder(model))


def test_groups_of_the_same_name_or_the_only_one(source, pair):
    halves = {"west": (0, 5, 0, 12), "east": (5, 10, 0, 12)}
    both = xd.fit(*pair, preset=fast_config(), progress=False, encoder=source, regions=halves)
    for name in halves:
        assert_equal(encoder(both, name), encoder(source))
    again = xd.fit(
        *pair, preset=fast_config(), progress=False, encoder=both, regions={"west": halves["west"]}
    )
    assert fitted_of(again).about.encoder["west"]["group"] == "west"
    with pytest.raises(ModelMismatchError, match=r"groups west, east, and none is called 'all'"):
        xd.fit(*pair, preset=fast_config(), progress=False, encoder=both)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        pytest.param({"data": {"lags": 4}}, r"data\.lags 3, the new model has 4", id="lags"),
        pytest.param(
            {"network": {"encoder_channels": (8, 16)}},
            r"network\.encoder_channels \(8, 8\), the new model has \(8, 16\)",
            id="channels",
        ),
        pytest.param({"network": {"norm": "group"}}, r"norm 'rms', the new", id="norm"),
        pytest.param({"data": {"scaling": "minmax"}}, r"scaling 'standard', the", id="scaling"),
    ],
)
def test_another_make_is_refused_before_any_work(source, pair, sections, message, monkeypatch):
    monkeypatch.setattr("xdownscale.fitting.fit.settle_pairing", lambda *_: pytest.fail("worked"))
    with pytest.raises(ModelMismatchError, match=message):
        xd.fit(*pair, preset=fast_config(**sections), progress=False, encoder=source)


def test_another_method_and_another_number_of_drivers(source, model, pair):
    with pytest.raises(ModelMismatchError, match=r"input 'fine lags', the new .* 'coarse lags'"):
        xd.fit(*pair, preset=fast_config(), progress=False, encoder=model)
    coarse, fine = make_pair(60, names=("t", "q"))
    with pytest.raises(ModelMismatchError, match="number of drivers 1, the new model has 2"):
        xd.fit(coarse, fine, preset=fast_config(), progress=False, encoder=source)


def test_no_encoder_on_either_side(source, pair):
    without = fast_config(network={"encoder": "none"})
    with pytest.raises(OptionError, match=r"network\.encoder is 'none': there is nothing to put"):
        xd.fit(*pair, preset=without, progress=False, encoder=source)
    empty = xd.fit(*pair, preset=without, progress=False)
    with pytest.raises(ModelMismatchError, match="it has no encoder"):
        xd.fit(*pair, preset=fast_config(), progress=False, encoder=empty)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        pytest.param("dust-twin-tiny", OptionError, "encoder is a str; give a fitted", id="name"),
        pytest.param(xd.Downscaler(), NotFittedError, "no 'encoder'", id="not fitted"),
    ],
)
def test_what_is_no_fitted_model_is_refused(pair, given, error, message):
    with pytest.raises(error, match=message):
        xd.fit(*pair, encoder=given)
