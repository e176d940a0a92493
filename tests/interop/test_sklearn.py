"""Which conventions of scikit-learn's estimators hold for `Downscaler`, and which do not."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.utils import estimator_checks

import xdownscale as xd
from records import make_pair

FITTED = ("config_", "models_", "split_", "history_", "skill_")
CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_get_params_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
]


@pytest.fixture(scope="module")
def pair():
    coarse, fine = make_pair(days=40)
    return coarse.t, fine.t


def _model(**options):
    return xd.Downscaler(**{"preset": "dressed", "progress": False, "seed": 3} | options)


@pytest.fixture(scope="module")
def fitted(pair):
    return _model().fit(*pair)


def _maps(model, pair):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        return model.predict(pair[0].isel(time=slice(4)), realizations=2)


@pytest.mark.parametrize("name", CHECKS)
def test_the_checks_of_scikit_learn_that_need_no_tables(name):
    getattr(estimator_checks, name)("Downscaler", _model())


def test_parameters_are_those_of_init_and_stay_what_was_given():
    regions = {"west": (0.0, 5.0, 0.0, 9.0)}
    config = xd.preset("dressed")
    model = _model(preset=config, regions=regions)
    found = model.get_params()
    assert found["preset"] is config
    assert found["regions"] is regions
    assert found.keys() == {
        *("preset", "seasons", "regions", "transform", "seed", "device", "checkpoint_dir"),
        *("progress", "pairing", "outliers"),
    }
    assert model.get_params(deep=False) == found
    assert repr(xd.Downscaler(**found)) == repr(model)


def test_set_params_changes_all_or_nothing_and_returns_the_model():
    model = _model()
    assert model.set_params(seed=5, transform="log10") is model
    assert (model.seed, model.transform) == (5, "log10")
    with pytest.raises(xd.errors.OptionError, match=r"parameter of Downscaler: 'sede'.*'seed'"):
        model.set_params(transform="sqrt", sede=1)
    assert model.transform == "log10"


def test_a_clone_is_not_fitted_and_fits_to_the_same_fields(pair, fitted):
    other = clone(fitted)
    assert other is not fitted
    assert repr(other) == repr(_model())
    with pytest.raises(xd.errors.NotFittedError):
        other.predict(pair[0])
    xr.testing.assert_identical(_maps(other.fit(*pair), pair), _maps(fitted, pair))


def test_fit_returns_the_model_and_changes_no_parameter(pair):
    model = _model(regions=None)
    before = dict(model.get_params())
    assert model.fit(*pair) is model
    assert model.get_params() == before
    maps = _maps(model, pair)
    xr.testing.assert_identical(_maps(model.fit(*pair), pair), maps)


def test_what_was_learnt_ends_in_an_underscore_and_is_not_there_before(pair, fitted):
    for name in FITTED:
        assert not hasattr(_model(), name)
        assert getattr(fitted, name) is not None
    with pytest.raises(xd.errors.NotFittedError, match="not fitted") as caught:
        _model().predict(pair[0])
    # of the same built-in kinds as the error of that name of scikit-learn
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AttributeError)


def test_predict_changes_neither_model_nor_records(pair, fitted):
    state = dict(vars(fitted))
    coarse = pair[0].copy(deep=True)
    _maps(fitted, pair)
    assert vars(fitted).keys() == state.keys()
    assert all(value is state[name] for name, value in vars(fitted).items())
    xr.testing.assert_identical(pair[0], coarse)


def test_a_fitted_model_is_pickled(pair, fitted):
    other = pickle.loads(pickle.dumps(fitted))
    xr.testing.assert_identical(_maps(other, pair), _maps(fitted, pair))


def test_parameters_after_a_fit_count_for_the_next_one(pair):
    model = _model().fit(*pair)
    maps = _maps(model, pair)
    model.set_params(preset="gaussian")
    xr.testing.assert_identical(_maps(model, pair), maps)
    assert not np.array_equal(_maps(model.fit(*pair), pair), maps)


def test_tables_are_refused():
    """Why the checks that fit cannot apply: there are no axes in them."""
    numbers = np.ones((30, 4))
    with pytest.raises(xd.errors.DataError, match="give a DataArray"):
        _model().fit(numbers, numbers[:, 0])
