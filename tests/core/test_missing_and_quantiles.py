"""Missing values and exact quantiles: one answer each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xdownscale import geostat
from xdownscale.core import missing, quantiles
from xdownscale.core.coords import to_array
from xdownscale.core.errors import DataError


def record():
    values = np.random.default_rng(0).normal(size=(7, 2, 3))
    values[:, 0, 0] = np.nan
    values[2] = np.inf
    values[3, 1, 1:] = np.nan
    coords = {"time": pd.date_range("2000", periods=7), "lat": [1.0, 0.0], "lon": [0.0, 1.0, 2.0]}
    return xr.DataArray(values, coords=coords, dims=tuple(coords))


@pytest.mark.parametrize(
    "change", [lambda da: da, lambda da: da.chunk({"time": 3}), lambda da: da.T]
)
def test_what_a_record_misses(change):
    array = to_array(change(record())).array
    present = missing.ever_present(array)
    np.testing.assert_array_equal(present, [[True] * 3, [False, True, True]])  # latitude ascends
    share = missing.missing_share(array, present)
    np.testing.assert_allclose(share, [0, 0, 1, 0.4, 0, 0, 0])
    np.testing.assert_array_equal(missing.missing_share(array, np.zeros((2, 3), bool)), 1)


@pytest.mark.parametrize("size", [1, 2, 999])
def test_quantiles_of_blocks_are_those_of_numpy_and_of_the_diagnostic(size):
    values = np.random.default_rng(size).lognormal(size=size).astype(np.float32)
    levels = np.array([0.0, 0.1, 0.5, 0.99, 1.0])
    counts = quantiles.QuantileCounts(levels)
    blocks = np.array_split(np.append(values, [np.nan, np.inf]), 4)
    for read in (counts.first, counts.second):
        for block in blocks:
            read(block)
    want = np.quantile(values.astype(float), levels)
    np.testing.assert_allclose(counts.result(), want, rtol=1e-12)
    if size > 9:
        da = xr.DataArray(
            values[:990].reshape(11, 90), coords={"lat": np.arange(11.0), "lon": np.arange(90.0)}
        )
        found = geostat.distribution(da, quantiles=levels, weighted=False).value
        np.testing.assert_allclose(found, quantiles.record_quantiles(da, levels), rtol=1e-12)


def test_no_value_has_no_quantile():
    counts = quantiles.QuantileCounts([0.5])
    counts.first(np.array([np.nan]))
    with pytest.raises(DataError, match="no finite value"):
        counts.second(np.array([np.nan]))


@pytest.mark.parametrize("value", [1e39, -1e300, 4e38])
def test_values_beyond_float32_are_named_and_not_left_out(value):
    counts = quantiles.QuantileCounts([0.5])
    with pytest.raises(DataError, match=r"values up to .*, and quantiles are of values up to 3\.4"):
        counts.first(np.array([1.0, value, np.nan]))
    counts.first(np.array([1.0, 3e38, np.inf, np.nan]))
