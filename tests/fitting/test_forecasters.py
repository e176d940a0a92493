"""The kinds of forecaster of the first stage, from the configuration to the model file."""

from __future__ import annotations

import numpy as np
import pytest

import xdownscale as xd
from records import TINY, fast_config, fitted, make_pair
from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import ModelFormatError, ModelMismatchError, OptionError

pytestmark = pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")
KINDS = ("lstm", "convlstm", "pointwise")
each_kind = pytest.mark.parametrize("kind", KINDS)


def fit(config, **options):
    coarse, fine = (record["t"] for record in make_pair(50))
    return coarse.downscale.fit(fine, preset=config, progress=False, **options)


@pytest.fixture(scope="module")
def model():
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = fit(fast_config(method="unet", network={"forecaster": kind}))
        return made[kind]

    return of


def test_the_default_is_not_written_and_the_others_are():
    plain = xd.preset("fast").to_dict()
    assert "forecaster" not in plain["network"]
    assert DownscalerConfig.from_dict(plain).network.forecaster == "unet"
    for kind in KINDS:
        config = xd.preset("fast", network={"forecaster": kind})
        assert DownscalerConfig.from_dict(config.to_dict()) == config


def test_an_unknown_forecaster_is_refused():
    with pytest.raises(OptionError, match=r"Unknown forecaster: 'gru'.*'unet', 'lstm', 'convlstm'"):
        xd.preset("fast", network={"forecaster": "gru"})
    with pytest.raises(OptionError, match=r"does not use network\.forecaster"):
        xd.preset("dressed", network={"forecaster": "lstm"})


@each_kind
def test_a_model_trains_saves_and_loads(kind, model, tmp_path):
    coarse = make_pair(50)[0]["t"]
    model(kind).save(tmp_path / "m.xd")
    loaded = xd.load(tmp_path / "m.xd")
    options = {"time": coarse.time[30:34]}
    together = model(kind).predict(coarse, **options)
    np.testing.assert_array_equal(loaded.predict(coarse, **options), together)
    alone = model(kind).predict(coarse, time=coarse.time[32:33])
    np.testing.assert_array_equal(alone[:, 0], together[:, 2])
    assert f"encoder frozen ({kind})" in repr(loaded)


@pytest.mark.parametrize("kind", ["lstm", "convlstm", "pointwise"])
def test_patches_do_not_depend_on_their_batch(kind):
    sections = {name: dict(keys) for name, keys in TINY.items()}
    sections["network"]["forecaster"] = kind
    sections["data"]["extrapolate"] = "nearest"
    sections["training"]["epochs"] = 1
    learnt = fit(xd.preset("paper", **sections))
    coarse, fine = (record["t"] for record in make_pair(50))
    options = {"time": coarse.time[30:32], "mode": "teacher_forced", "history": fine}
    fields = [
        learnt.with_sampling(batch_size=size).predict(coarse, **options).values
        for size in (1024, 7, 2)
    ]
    np.testing.assert_array_equal(fields[0], fields[1])
    np.testing.assert_array_equal(fields[0], fields[2])


def test_an_encoder_of_another_kind_is_refused(model):
    with pytest.raises(ModelMismatchError, match=r"network\.forecaster 'lstm', the new model has"):
        fit(fast_config(method="unet"), encoder=model("lstm"))


def test_an_encoder_of_the_same_kind_is_taken_over(model):
    other = fit(fast_config(method="unet", network={"forecaster": "lstm"}), encoder=model("lstm"))
    states = [m.models_["all"].state for m in (other, model("lstm"))]
    names = [name for name in states[0] if name.startswith("encoder.")]
    assert names
    for name in names:
        np.testing.assert_array_equal(states[0][name], states[1][name])


@each_kind
def test_weights_of_another_kind_are_refused(kind, model, tmp_path):
    from xdownscale.fitting.fitted_model import sizes_of

    held = model(kind)._fitted
    group = held.any_group
    config = held.config.override(network={"forecaster": "unet"})
    with pytest.raises(ModelFormatError, match="give the configuration that they were trained"):
        held.method.check_state(group.state, config, sizes_of(held, group))


def test_a_model_without_the_key_is_one_of_the_unet():
    assert fitted("fast").config_.network.forecaster == "unet"
    assert xd.load_pretrained("dust-twin-tiny").config_.network.forecaster == "unet"
