"""What every built-in method promises to the code that knows none of them by name.

A new method enters by itself; what it needs to train in a second stands in `records.OWN`.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import xdownscale as xd
from records import fitted_of, make_pair, tiny_config
from xdownscale.core.errors import ModelFormatError, OptionError, XDownscaleWarning
from xdownscale.fitting.fitted_model import sizes_of
from xdownscale.models.training.checkpoint import Checkpoints

BUILT_IN = tuple(xd.methods.available().index)
STATISTICAL = tuple(name for name in BUILT_IN if not xd.methods.find(name).networks)
each_method = pytest.mark.parametrize("name", BUILT_IN)
# runs start cold, networks that trained for a second drift
pytestmark = pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")


def fit(name, days=60, **options):
    coarse, fine = (record["t"] for record in make_pair(days))
    options = {"preset": tiny_config(name), "progress": False} | options
    return coarse.downscale.fit(fine, **options)


@pytest.fixture(scope="module")
def model():
    """Return a fitted model of a method."""
    models = {}

    def of(name):
        if name not in models:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", XDownscaleWarning)
                models[name] = fit(name)
        return models[name]

    return of


def predicted(model, **options):
    coarse = make_pair(60)[0]["t"]
    options = {"time": coarse.time[40:42], "seed": 2} | options
    return model.predict(coarse, **options).values


@each_method
def test_the_first_mode_and_stitching_are_the_defaults(name, model):
    fitted_model = model(name)
    method = xd.methods.find(name)
    modes = method.modes(fitted_model.config_)
    stitchings = method.stitchings(fitted_model.config_)
    default = predicted(fitted_model)
    asked = predicted(fitted_model, mode=modes[0], stitching=stitchings[0])
    np.testing.assert_array_equal(asked, default)
    for other in stitchings[1:]:
        fields = predicted(fitted_model.with_sampling(**small_patches(name)), stitching=other)
        assert fields.shape == default.shape
        config = fitted_model.config_
        differ = method.is_stochastic(config) or method.has_seams(config)
        assert np.array_equal(fields, default) != differ


def small_patches(name):
    """Patches that the small domain holds; the regression samples none."""
    known = xd.methods.find(name).uses["sampling"]
    return {"size": 8, "stride": 4, "halo": 1} if "size" in known else {}


@each_method
def test_it_is_listed_and_says_whether_it_needs_torch(name):
    assert name in xd.methods.available().index
    uses = xd.methods.find(name).uses
    assert xd.methods.find(name).networks == ("encoder" in uses.get("network", ()))


@each_method
def test_the_repr_describes_what_was_fitted(name, model):
    lines = [line.split() for line in repr(model(name)).splitlines()]
    described = next(line for line in lines if line[0] == "method")
    assert described[1] == f"{name},"
    assert ("weights" in described) == xd.methods.find(name).networks


@each_method
def test_realizations_differ_where_a_method_is_stochastic(name, model):
    fitted_model = model(name)
    if xd.methods.find(name).is_stochastic(fitted_model.config_):
        first, second = predicted(fitted_model, realizations=2)
        assert not np.array_equal(first, second)
    else:
        with pytest.raises(OptionError, match="the conditional mean alone, the same each time"):
            predicted(fitted_model, realizations=2)


def state_of(model, name):
    """Return all that the method itself left in the state of the only group."""
    group = model.models_["all"]
    state = {key: array for key, array in group.state.items() if not key.startswith("drift.")}
    return state, (fitted_of(model).config, sizes_of(fitted_of(model), group))


@each_method
def test_a_state_that_lacks_something_is_refused(name, model):
    method = xd.methods.find(name)
    state, known = state_of(model(name), name)
    method.check_state(state, *known)
    for lost in state:
        rest = {key: array for key, array in state.items() if key != lost}
        with pytest.raises(ModelFormatError):
            method.check_state(rest, *known)


@each_method
def test_a_weight_of_another_shape_is_refused(name, model):
    method = xd.methods.find(name)
    state, known = state_of(model(name), name)
    lost = next(key for key in state if key.endswith(("weight", "fields")))
    said = "of the model file has" if name in STATISTICAL else lost.replace(".", r"\.")
    with pytest.raises(ModelFormatError, match=said):
        method.check_state(state | {lost: state[lost][:-1]}, *known)


def assert_same_state(one, other):
    for group, learnt in one.models_.items():
        state = other.models_[group].state
        assert learnt.state.keys() == state.keys()
        for key, array in learnt.state.items():
            np.testing.assert_array_equal(state[key], array, err_msg=key)


class _Killed(BaseException):
    pass


@each_method
@pytest.mark.parametrize("saves", [1, 3])
def test_an_interrupted_training_ends_with_the_same_weights(
    name, saves, model, tmp_path, monkeypatch
):
    """Ended after so many checkpoints, and taken up; a method without networks begins anew."""
    count = []
    save = Checkpoints.save

    def dying(self, stage, content):
        save(self, stage, content)
        count.append(stage)
        if len(count) == saves:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", dying)
        try:
            fit(name, checkpoint_dir=tmp_path)
            ended = False
        except _Killed:
            ended = True
    assert ended or len(count) < saves
    assert ended or saves > 1 or not xd.methods.find(name).networks
    assert_same_state(model(name), fit(name, checkpoint_dir=tmp_path))


@each_method
def test_the_file_gives_the_same_fields(name, model, tmp_path):
    model(name).save(tmp_path / "m.xd")
    loaded = xd.load(tmp_path / "m.xd")
    assert loaded.config_ == model(name).config_
    assert repr(loaded) == repr(model(name))
    assert_same_state(model(name), loaded)
    np.testing.assert_array_equal(predicted(loaded), predicted(model(name)))


@each_method
def test_a_model_for_each_season_and_region(name):
    coarse = make_pair(100)[0]["t"]
    seasons = {"early": (1, 2), "late": (3, 4)}
    regions = {"west": (0, 5, 0, 12), "east": (5, 10, 0, 12)}
    config = tiny_config(name, training={"epochs": 1, "mean_epochs": 1})
    learnt = fit(name, days=100, preset=config, seasons=seasons, regions=regions)
    assert set(learnt.models_) == {f"{s}.{r}" for s in seasons for r in regions}
    fields = learnt.predict(coarse, time=[coarse.time.values[40], coarse.time.values[70]])
    assert np.isfinite(fields).all()
    assert fields.shape == (1, 2, 24, 20)


@each_method
def test_every_mode_gives_fields_that_agree_where_they_know_the_same(name, model):
    coarse, fine = (record["t"] for record in make_pair(60))
    modes = xd.methods.find(name).modes(model(name).config_)
    past = fine.isel(time=slice(0, 30))
    after = fine.time[30:31]  # the day after the history: its true lags are all known
    found = [predicted(model(name), mode=mode, time=after, history=past) for mode in modes]
    for fields in found:
        assert np.isfinite(fields).all()
        np.testing.assert_array_equal(fields, found[0])
    later = coarse.time[60:63]
    for mode in modes:
        fields = predicted(model(name), mode=mode, time=later, history=fine)
        assert fields.shape == (1, 3, 24, 20)
        assert np.isfinite(fields).all()


@each_method
def test_a_field_does_not_depend_on_what_is_generated_with_it(name, model):
    coarse, fine = (record["t"] for record in make_pair(60))
    mode = xd.methods.find(name).modes(model(name).config_)[-1]  # none that runs on
    options = {"mode": mode, "history": fine}
    together = predicted(model(name), time=coarse.time[50:55], **options)
    alone = predicted(model(name), time=coarse.time[52:53], **options)
    np.testing.assert_array_equal(alone[:, 0], together[:, 2])


@each_method
def test_a_store_holds_what_predict_gives(name, model, tmp_path):
    coarse = make_pair(60)[0]["t"]
    options = {"time": coarse.time[70:74], "seed": 2}
    stored = xd.predict_to_zarr(
        model(name), coarse, tmp_path / "m.zarr", chunks=2, progress=False, **options
    )
    expected = model(name).predict(coarse, **options)
    np.testing.assert_array_equal(stored[expected.name], expected)
