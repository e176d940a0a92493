"""Small trained models, saved to files, for predictions that are lazy, resumed or distributed."""

from __future__ import annotations

import warnings

import pytest

import xdownscale as xd
from records import fast_config, make_pair, make_record, silence_drift


def _learn(path, names=("t",), **sections):
    coarse, fine = make_pair(names=names)
    sections = {"sampling": {"steps": 2}} | sections
    model = xd.Downscaler(preset=fast_config(**sections), pairing="paired", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        model.fit(coarse, fine)
    silence_drift(model)
    model.save(path)
    return model


@pytest.fixture(scope="session")
def record():
    return make_pair()[0]


@pytest.fixture(scope="session")
def fine_record():
    return make_pair()[1]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def drawer(folder):
    """Draws every day for itself."""
    return _learn(folder / "drawer.xd")


@pytest.fixture(scope="session")
def walker(folder):
    """Draws one day after another, from two fine lags."""
    return _learn(folder / "walker.xd", data={"fine_lags": 2})


@pytest.fixture(scope="session")
def pair_drawer(folder):
    """Draws two variables from two."""
    return _learn(folder / "pair.xd", names=("t", "u"))


@pytest.fixture(scope="session")
def paper_record():
    """The record that the fixture `model` of the suite learnt from."""
    return make_record(2.0, days=120, margin=2.0)


@pytest.fixture(scope="session")
def pair_record():
    return make_pair(names=("t", "u"))[0]
