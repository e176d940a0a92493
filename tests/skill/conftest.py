"""Small random records for the tests of scores."""

from __future__ import annotations

import dask
import pytest

from records import random_field


@pytest.fixture(scope="session")
def fields():
    """Function that makes a lognormal record ([realization,] time, lat, lon)."""
    return random_field


class Computes:
    """A scheduler that counts how often it is called."""

    def __init__(self):
        self.calls = 0

    def __call__(self, graph, keys, **kwargs):
        self.calls += 1
        return dask.get(graph, keys, **kwargs)


@pytest.fixture
def computes():
    counter = Computes()
    with dask.config.set(scheduler=counter):
        yield counter
