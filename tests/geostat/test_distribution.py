"""Distribution: closed forms, numpy and scipy, and the same to the last digit for any chunks."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xdownscale.core.errors import DataError, OptionError
from xdownscale.core.quantiles import floats, keys
from xdownscale.geostat import distribution

PROBABILITIES = (0, 0.001, 0.3, 0.5, 0.77, 0.999, 1)


def field(values, **attrs):
    return xr.DataArray(values, dims=("time", "lat", "lon")[-np.ndim(values) :], attrs=attrs)


# closed forms


def test_a_pareto_distribution_has_its_tail_index():
    rng = np.random.default_rng(0)
    for alpha in (1.5, 3.0):
        da = field(1 + rng.pareto(alpha, size=(200, 50, 50)))
        found = distribution(da, thresholds=(2, 5), tail=0.02)
        k = found.tail_count.item()
        assert k == 10_000
        assert found.tail_index.item() == pytest.approx(alpha, abs=4 * alpha / np.sqrt(k))
        np.testing.assert_allclose(found.exceedance, [2**-alpha, 5**-alpha], rtol=0.03)


def test_quantiles_of_evenly_spread_values_are_their_probabilities():
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, 1001))
    found = distribution(field(values), quantiles=PROBABILITIES, thresholds=(0.2495,))
    np.testing.assert_allclose(found.value, PROBABILITIES, atol=1e-12)
    assert found["mean"].item() == pytest.approx(0.5)
    assert found.sd.item() == pytest.approx(np.sqrt(1 / 12), rel=2e-3)
    assert found.skewness.item() == pytest.approx(0, abs=1e-9)
    assert found.exceedance.item() == pytest.approx(0.75, abs=1e-3)


def test_hill_by_hand():
    da = field(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 10, 20]))
    found = distribution(da, tail=0.2)
    assert found.tail_threshold.item() == 8
    assert found.tail_index.item() == pytest.approx(2 / (np.log(10 / 8) + np.log(20 / 8)))


# numpy and scipy


@settings(max_examples=12)
@given(
    seed=st.integers(0, 999),
    dtype=st.sampled_from(["f4", "f8"]),
    chunks=st.tuples(st.integers(3, 12), st.integers(2, 5), st.integers(4, 7)),
    rounded=st.booleans(),
)
def test_as_numpy_and_scipy_for_any_chunks(seed, dtype, chunks, rounded):
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(12, 5, 7)) ** 3 * 10.0 ** rng.integers(-5, 5)).astype(dtype)
    values = values.round(1) if rounded else values
    values[rng.random(values.shape) < 0.2] = np.nan
    da = field(values)
    there = values[~np.isnan(values)].astype(float)
    told = distribution(da, PROBABILITIES, thresholds=(0, 0.5))
    np.testing.assert_allclose(told.value, np.quantile(there, PROBABILITIES), rtol=1e-12)
    np.testing.assert_allclose(told["mean"], there.mean(), rtol=1e-9, atol=1e-12 * there.std())
    if np.ptp(there):
        np.testing.assert_allclose(told.sd, there.std(ddof=1), rtol=1e-9)
        np.testing.assert_allclose(told.skewness, stats.skew(there), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(told.exceedance[0], (there > 0).mean())
    with dask.config.set(scheduler="sync"):
        lazy = distribution(
            da.chunk(dict(zip(da.dims, chunks, strict=True))), PROBABILITIES, thresholds=(0, 0.5)
        ).compute()
    np.testing.assert_array_equal(lazy.value, told.value)
    xr.testing.assert_allclose(lazy, told, rtol=1e-9)


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1))
def test_bits_sort_like_numbers(values):
    for dtype in (np.float32, np.float64):
        x = np.array(values, dtype)
        number = keys(x)
        np.testing.assert_array_equal(np.sort(x), floats(np.sort(number), x.dtype))
        np.testing.assert_array_equal(x, floats(number, x.dtype))


# labels, laziness, degenerate fields


def test_labels_and_laziness():
    da = field(np.random.default_rng(0).normal(size=(6, 4, 5)), units="kg m-3").rename("dust")
    copy, computes = da.copy(), []

    def scheduler(graph, keys, **kwargs):
        computes.append(1)
        return dask.get(graph, keys, **kwargs)

    with dask.config.set(scheduler=scheduler):
        lazy = distribution(da.chunk(time=2), thresholds=(1,))
        assert not computes
        lazy = lazy.compute()
        assert len(computes) == 1
    found = distribution(da, thresholds=(1,))
    xr.testing.assert_allclose(lazy, found)
    assert found.attrs == {"variable": "dust", "tail": 0.01}
    assert found.value.attrs["units"] == found.threshold.attrs["units"] == "kg m-3"
    assert found.exceedance.attrs["units"] == "1"
    xr.testing.assert_identical(da, copy)


def test_whole_numbers_and_single_values():
    assert distribution(field(np.arange(5))).sel(quantile=0.5).value == 2
    one = distribution(xr.DataArray(3.0))
    assert one.sel(quantile=0.5).value == 3
    assert np.isnan([one.sd, one.skewness, one.tail_index]).all()


def test_degenerate_fields():
    empty = distribution(field(np.full((2, 3), np.nan)), thresholds=(1,))
    assert empty["count"] == 0
    nan = [empty["mean"], empty.sd, empty.skewness, empty.tail_index, empty.exceedance[0]]
    assert np.isnan(nan).all()
    assert np.isnan(empty.value).all()
    constant = distribution(field(np.full((20, 30), 0.1)))
    assert constant.sd == pytest.approx(0, abs=1e-15)
    assert np.isnan([constant.skewness, constant.tail_index]).all()
    negative = distribution(-field(np.arange(1.0, 200)))
    assert np.isnan(negative.tail_index)


def test_bad_input():
    da = field(np.ones((3, 4)))
    with pytest.raises(OptionError, match="give probabilities from 0 to 1"):
        distribution(da, quantiles=(50,))
    with pytest.raises(OptionError, match="give finite numbers"):
        distribution(da, thresholds=(np.nan,))
    with pytest.raises(OptionError, match="tail is 1; give a share"):
        distribution(da, tail=1)
    with pytest.raises(DataError, match="give real numbers"):
        distribution(da.astype(str))
