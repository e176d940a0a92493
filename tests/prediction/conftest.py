"""Small trained models, saved to files, for predictions that are lazy, resumed or distributed."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

import xdownscale as xd

KIT = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "fast_record.py")))


def _learn(path, names=("t",), **sections):
    coarse, fine = KIT.records(names=names)
    sections = {"sampling": {"steps": 2}} | sections
    model = xd.Downscaler(preset=KIT.config(**sections), pairing="paired", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        model.fit(coarse, fine)
    for name, array in model.models_["all"].state.items():
        if name == "drift.spread":  # networks that learnt for a second drift: no alarm
            array *= 1e9
    model.save(path)
    return model


@pytest.fixture(scope="session")
def record():
    return KIT.records()[0]


@pytest.fixture(scope="session")
def fine_record():
    return KIT.records()[1]


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
    suite = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))
    return suite["make_record"](2.0, days=120, margin=2.0)


@pytest.fixture(scope="session")
def pair_record():
    return KIT.records(names=("t", "u"))[0]
