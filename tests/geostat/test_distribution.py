"""Distribution: closed forms, numpy and scipy, and the same to the last digit for any chunks."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import xdownscale as xd
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


# areas as weights


def on_sphere(values, lat, **attrs):
    lon = np.arange(values.shape[-1]) * 1.5
    coords = {"lat": lat, "lon": lon}
    return xr.DataArray(values, coords=coords, dims=("time", "lat", "lon"), attrs=attrs)


LATITUDES = np.array([-88.0, -61.0, -20.0, 3.0, 41.0, 77.0])


def test_two_rows_by_hand():
    """Rows from 30 S to 30 N and from 30 to 90 N have areas of 2 and 1."""
    values = np.broadcast_to([[[1.0], [4.0]]], (3, 2, 4))
    found = distribution(on_sphere(values, [0.0, 60.0]), (0.2, 0.6, 0.8), thresholds=(2,))
    assert found["mean"].item() == pytest.approx(2)
    assert found["count"] == 24
    assert found.exceedance.item() == pytest.approx(1 / 3)
    np.testing.assert_array_equal(found.value, [1, 1, 4])
    effective = 36.0**2 / (12 * 4 + 12)
    assert found.sd.item() == pytest.approx(np.sqrt(2 / (1 - 1 / effective)))
    assert found.skewness.item() == pytest.approx((2 / 3 * -1 + 1 / 3 * 8) / 2**1.5)
    plain = distribution(on_sphere(values, [0.0, 60.0]), (0.2, 0.6), weighted=False)
    assert plain["mean"] == 2.5
    assert (found.attrs["weights"], plain.attrs["weights"]) == ("area", "none")


@settings(max_examples=12)
@given(
    seed=st.integers(0, 999),
    dtype=st.sampled_from(["f4", "f8"]),
    chunks=st.tuples(st.integers(3, 12), st.integers(2, 5), st.integers(4, 7)),
    rounded=st.booleans(),
)
def test_weights_as_xarray_and_numpy_for_any_chunks(seed, dtype, chunks, rounded):
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(12, 6, 7)) ** 3 * 10.0 ** rng.integers(-5, 5)).astype(dtype)
    values = values.round(1) if rounded else values
    values[rng.random(values.shape) < 0.2] = np.nan
    da = on_sphere(values, LATITUDES)
    areas = xd.grids.area(da)
    weighing = da.astype(float).weighted(areas)
    told = distribution(da, PROBABILITIES, thresholds=(0, 0.5))
    scale = np.nanmax(abs(values))
    np.testing.assert_allclose(
        told.value, weighing.quantile(PROBABILITIES), rtol=1e-6, atol=1e-6 * scale
    )
    np.testing.assert_allclose(told["mean"], weighing.mean(), rtol=1e-7, atol=1e-8 * scale)
    good = np.isfinite(values)
    x, w = values[good].astype(float), np.broadcast_to(areas, values.shape)[good]
    biased = 1 - (w**2).sum() / w.sum() ** 2
    np.testing.assert_allclose(told.sd, np.sqrt(np.cov(x, aweights=w, ddof=0) / biased), rtol=1e-7)
    np.testing.assert_allclose(told.sd, np.sqrt(np.cov(x, aweights=w)), rtol=1e-7)
    above = [np.average(x > level, weights=w) for level in (0, 0.5)]
    np.testing.assert_allclose(told.exceedance, above, rtol=1e-7)
    # numpy's step function lies on both sides, at the ends of the window
    width = 1 - biased
    starts = np.array(PROBABILITIES) * biased
    for ends, sign in ((starts, 1), (starts + width, -1)):
        moved = np.clip(ends - sign * 1e-8, 0, 1)
        step = np.quantile(x, moved, weights=w, method="inverted_cdf")
        assert (sign * (told.value - step) >= -1e-9 * scale).all()
    with dask.config.set(scheduler="sync"):
        cut = dict(zip(da.dims, chunks, strict=True))
        lazy = distribution(da.chunk(cut), PROBABILITIES, thresholds=(0, 0.5)).compute()
    xr.testing.assert_allclose(lazy, told, rtol=1e-9)
    turned = distribution(da.transpose("lon", "time", "lat"), PROBABILITIES, thresholds=(0, 0.5))
    xr.testing.assert_allclose(turned, told, rtol=1e-9)


@given(seed=st.integers(0, 999))
@settings(max_examples=10)
def test_equal_weights_give_the_numbers_of_no_weights_to_the_bit(seed):
    values = np.random.default_rng(seed).normal(size=(5, 2, 9)).round(1)
    da = on_sphere(values, [-10.0, 10.0])
    weighted = distribution(da, PROBABILITIES, thresholds=(0.1,), tail=0.1)
    alike = distribution(da, PROBABILITIES, thresholds=(0.1,), tail=0.1, weighted=False)
    xr.testing.assert_equal(weighted, alike)
    nearly = distribution(da.assign_coords(lat=[-10.0, 10.0001]), PROBABILITIES, (0.1,), tail=0.1)
    xr.testing.assert_allclose(nearly, alike, rtol=1e-3, atol=1e-4)


def test_the_weighted_tail_is_that_of_values_repeated_by_their_weight():
    """Four cells twice as large as four others are as eight cells, but for the number of values."""
    rng = np.random.default_rng(3)
    values = 1 + rng.pareto(2.0, size=(600, 2, 4))
    found = distribution(on_sphere(values, [0.0, 60.0]), tail=0.05)
    repeated = np.concatenate([values, values[:, :1]], axis=1)
    plain = distribution(field(repeated), tail=0.05)
    assert found.tail_threshold == plain.tail_threshold
    assert found.tail_index.item() == pytest.approx(plain.tail_index.item(), rel=2e-3)
    assert found.tail_count == 240


def test_weights_of_curvilinear_grids_and_of_lands_without_coordinates():
    lat, lon = np.meshgrid([0.0, 60.0, 70.0], [5.0, 6.0, 7.0], indexing="ij")
    lat[2] = np.nan
    lon[2] = np.nan
    values = np.repeat([[1.0], [4.0], [99.0]], 3, axis=1)
    coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    found = distribution(xr.DataArray(values, coords=coords, dims=("y", "x")))
    assert found["mean"].item() == pytest.approx(2)
    assert found["count"] == 6


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
    assert found.attrs == {"variable": "dust", "tail": 0.01, "weights": "none"}
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
