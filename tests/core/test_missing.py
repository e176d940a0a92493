"""Infinities are missing, in memory and lazily, and nothing else changes."""

from __future__ import annotations

import dask
import dask.array
import numpy as np
import pytest

from xdownscale.core.missing import finite


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_infinities_become_nan(kind):
    given = np.array([[1.0, np.inf], [-np.inf, np.nan]], kind)
    before = given.copy()
    found = finite(given)
    assert found.dtype == given.dtype
    np.testing.assert_array_equal(found, [[1.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(given, before)


def test_what_has_none_is_not_copied():
    for values in (np.array([1.0, np.nan]), np.arange(3), np.array([True]), np.float64(2.0)[None]):
        assert finite(values) is values


def test_lazy_values_stay_lazy():
    def refuse(*_, **__):
        raise AssertionError("computed")

    given = dask.array.from_array(np.array([1.0, np.inf, 3.0], "f4"), chunks=2)
    with dask.config.set(scheduler=refuse):
        found = finite(given)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.compute(scheduler="sync"), [1.0, np.nan, 3.0])
