"""What every built-in method promises to the code that knows none of them by name."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import xdownscale as xd
from records import fast_config, fitted, fitted_of, make_pair
from xdownscale.core.errors import ModelFormatError, OptionError, XDownscaleWarning
from xdownscale.fitting.fitted_model import sizes_of

NETWORKS = ("diffusion", "residual", "crps", "unet", "dressed_unet", "selected")
STATISTICAL = ("dressed", "gaussian", "analogues", "kriging")
BUILT_IN = NETWORKS + STATISTICAL
each_method = pytest.mark.parametrize("name", BUILT_IN)


@pytest.fixture(scope="module")
def model():
    """Return a fitted model of a method."""
    models = {"diffusion": fitted("paper"), "residual": fitted("fast")}

    def of(name):
        if name not in models:
            coarse, fine = (record["t"] for record in make_pair(60))
            config = xd.preset(name) if name in STATISTICAL else fast_config(method=name)
            models[name] = coarse.downscale.fit(fine, preset=config, progress=False)
        return models[name]

    return of


def predicted(model, **options):
    coarse = make_pair(60)[0]["t"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # runs start cold, networks drift
        return model.predict(coarse, time=coarse.time[40:42], seed=2, **options).values


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
        assert np.array_equal(fields, default) != method.is_stochastic(fitted_model.config_)


def small_patches(name):
    """Patches that the small domain holds; the regression samples none."""
    known = xd.methods.find(name).uses["sampling"]
    return {"size": 8, "stride": 4, "halo": 1} if "size" in known else {}


@each_method
def test_it_is_listed_and_says_whether_it_needs_torch(name):
    assert name in xd.methods.available().index
    assert xd.methods.find(name).networks == (name in NETWORKS)


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
