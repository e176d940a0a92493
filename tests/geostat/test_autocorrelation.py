"""ACF, PACF and lag curves: closed forms, statsmodels cell by cell, only pairs that exist."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import statsmodels.tsa.stattools as tsa
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from records import label
from xdownscale.core.errors import GridError, OptionError, TimeAxisError
from xdownscale.geostat import acf, autocorrelation, lag_r2, lag_rmse, pacf


def record(days=60, shape=(3, 4), seed=0, missing=0.0, start="2000-01-01"):
    rng = np.random.default_rng(seed)
    values = 5 + 0.4 * rng.normal(size=(days, *shape)).cumsum(axis=0)
    values[rng.random(values.shape) < missing] = np.nan
    lat = np.linspace(50, 20, shape[0])
    lon = np.linspace(-3, 4, shape[1])
    return label(values, lat, lon, time=start)


def autoregressive(phi, days, cells, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(days, 1, cells))
    values = np.empty_like(noise)
    values[0] = noise[0] / np.sqrt(1 - phi**2)
    for day in range(1, days):
        values[day] = phi * values[day - 1] + noise[day]
    coords = {"time": pd.date_range("2000", periods=days), "lat": [0.0], "lon": np.arange(cells)}
    return xr.DataArray(values, coords=coords, dims=("time", "lat", "lon"))


class Counter:
    def __init__(self):
        self.computes = 0

    def __call__(self, graph, keys, **kwargs):
        self.computes += 1
        return dask.get(graph, keys, **kwargs)


# closed forms


def test_ar1_has_acf_phi_to_the_lag_and_no_pacf_beyond_lag_1():
    da = autoregressive(0.7, days=2000, cells=60)
    rho = acf(da, max_lag=6, reduce=None, adjusted=True).mean(("lat", "lon"))
    np.testing.assert_allclose(rho, 0.7 ** np.arange(7), atol=0.012)
    partial = pacf(da, max_lag=6, reduce=None).mean(("lat", "lon"))
    np.testing.assert_allclose(partial[:2], [1, 0.7], atol=0.01)
    np.testing.assert_allclose(partial[2:], 0, atol=0.01)


def test_bounds_hold_what_they_say_for_white_noise():
    da = autoregressive(0.0, days=400, cells=500)
    for function in (acf, pacf):
        found = function(da, max_lag=5, reduce=None, alpha=0.1)
        inside = ((found.lower < 0) & (found.upper > 0)).isel(lag=slice(1, None))
        assert inside.mean().item() == pytest.approx(0.9, abs=0.02)


def test_a_record_with_half_of_its_days_needs_the_number_of_pairs():
    da = autoregressive(0.7, days=3000, cells=40)
    there = np.random.default_rng(1).random(3000) < 0.5
    rho = [
        acf(da[there], max_lag=1, reduce=None, adjusted=a).mean(("lat", "lon"))[1].item()
        for a in (False, True)
    ]
    assert rho == pytest.approx([0.35, 0.7], abs=0.02)  # as the docstring says


# statsmodels


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("adjusted", [False, True])
def test_cells_are_those_of_statsmodels(missing, adjusted):
    da = record(missing=missing)
    rho = acf(da, max_lag=12, reduce=None, alpha=0.1, adjusted=adjusted)
    partial = pacf(da, max_lag=12, reduce=None, adjusted=adjusted)
    for y, x in np.ndindex(3, 4):
        series = da[:, y, x].values
        kwargs = {"missing": "conservative", "adjusted": adjusted, "fft": False}
        told = tsa.acf(series, nlags=12, alpha=0.1, result_object=True, **kwargs)
        cell = rho[:, y, x]
        np.testing.assert_allclose(cell, told.acf, rtol=0, atol=1e-12)
        np.testing.assert_allclose(cell.lower, told.confint[:, 0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(cell.upper, told.confint[:, 1], rtol=0, atol=1e-12)
        own = tsa.levinson_durbin(tsa.acovf(series, nlag=12, **kwargs), nlags=12, isacov=True)
        # statsmodels goes on where no process has these autocorrelations; here it is NaN
        possible = np.cumprod(np.abs(own.pacf) <= 1).astype(bool)
        assert possible.all() or (adjusted and missing)
        assert np.isnan(partial[:, y, x].values).tolist() == (~possible).tolist()
        told = np.where(possible, own.pacf, np.nan)
        np.testing.assert_allclose(partial[:, y, x], told, rtol=1e-9, atol=1e-9)


def test_pacf_and_its_bounds_without_gaps_are_those_of_statsmodels():
    da = record()
    found = pacf(da, max_lag=8, reduce=None)[:, 1, 2]
    told = tsa.pacf(da[:, 1, 2].values, nlags=8, method="ldb", alpha=0.05)
    np.testing.assert_allclose(found, told.pacf, atol=1e-12)
    np.testing.assert_allclose(found.lower, told.confint[:, 0], atol=1e-12)
    np.testing.assert_allclose(found.upper, told.confint[:, 1], atol=1e-12)


@pytest.mark.parametrize("calendar", ["standard", "noleap"])
def test_two_winters_use_only_pairs_of_days_that_exist(calendar):
    days = xr.date_range("2000-12-01", "2002-02-28", calendar=calendar, use_cftime=None)
    whole = record(days=len(days)).assign_coords(time=days)
    winters = whole[np.isin(whole.time.dt.month, [12, 1, 2])]
    with_gap = whole.where(whole.time.dt.month.isin([12, 1, 2]))
    found = acf(winters, max_lag=30, reduce=None)
    told = tsa.acf(with_gap[:, 0, 0].values, nlags=30, missing="conservative")
    np.testing.assert_allclose(found[:, 0, 0], told, atol=1e-12)
    assert found.pair_count[:, 0, 0].values.tolist() == [180 - 2 * k for k in range(31)]
    glued = tsa.acf(winters[:, 0, 0].values, nlags=30)
    assert np.abs(found[:, 0, 0] - glued).max() > 0.05
    # the pairs, one by one
    series = winters[:, 0, 0].values - winters[:, 0, 0].values.mean()
    two = [series[:90], series[90:]]
    own = sum((w[30:] * w[:-30]).sum() for w in two) / (series**2).sum()
    assert found[30, 0, 0].item() == pytest.approx(own, abs=1e-12)
    curve = lag_rmse(winters, max_lag=10)
    assert curve.pair_count.values.tolist() == [180 - 2 * k for k in range(1, 11)]
    xr.testing.assert_allclose(curve, lag_rmse(with_gap, max_lag=10), rtol=1e-12)


def test_the_regional_mean_is_weighted_by_area():
    da = record(missing=0.2)
    weights = np.sin(np.deg2rad([57.5, 42.5, 27.5, 12.5]))  # edges of latitudes 50, 35, 20
    weights = (weights[:-1] - weights[1:])[:, None] * np.ones(4)
    valid = ~np.isnan(da.values)
    series = np.where(valid, da * weights, 0).sum((1, 2)) / (valid * weights).sum((1, 2))
    told = tsa.acf(series, nlags=10, alpha=0.05, result_object=True)
    found = acf(da, max_lag=10)
    np.testing.assert_allclose(found, told.acf, atol=1e-12)
    np.testing.assert_allclose(found.lower, told.confint[:, 0], atol=1e-12)
    assert found.name == "acf"
    assert found.dims == ("lag",)
    assert found.lag.attrs["units"] == "day"


# lag curves


def test_lag_curves_by_hand():
    da = record(days=4, shape=(2, 2))
    da.values = np.array([[0, 1, 2, 3], [1, 1, 2, 4], [0, 0, 0, 4], [2, 2, 2, 2]], float).reshape(
        4, 2, 2
    )
    rmse = lag_rmse(da, max_lag=1, weighted=False)
    days = np.sqrt([2 / 4, 6 / 4, 16 / 4])
    assert rmse["mean"].item() == pytest.approx(days.mean())
    assert rmse.sd.item() == pytest.approx(days.std(ddof=1))
    assert rmse.p10.item() == pytest.approx(np.quantile(days, 0.1))
    assert rmse.p90.item() == pytest.approx(np.quantile(days, 0.9))
    # day 1: SST 6, day 2: SST 12, day 3 is constant and counts as no pair
    r2 = lag_r2(da, max_lag=1, weighted=False)
    assert r2["mean"].item() == pytest.approx(((1 - 2 / 6) + (1 - 6 / 12)) / 2)
    assert r2.pair_count.item() == 2
    # comoments: day 1 with 0: 5 of 6 and 5; day 2 with 1: 8 of 12 and 6
    squared = lag_r2(da, max_lag=1, kind="pearson", weighted=False)
    assert squared["mean"].item() == pytest.approx((25 / 30 + 64 / 72) / 2)
    assert rmse["mean"].attrs["units"] == "1"


def test_lag_curves_against_shifted_fields():
    da = record(missing=0.2)
    area = np.cos(np.deg2rad(da.lat)) + 0 * da.lon
    for lag in (1, 5):
        late, early = da.isel(time=slice(lag, None)), da.shift(time=lag).isel(time=slice(lag, None))
        days = np.sqrt(((late - early) ** 2).weighted(area).mean(("lat", "lon")))
        found = lag_rmse(da, max_lag=5).sel(lag=lag)
        # areas of cells of one height are as the cosines of their middle
        np.testing.assert_allclose(found["mean"], days.mean(), rtol=1e-12)
        np.testing.assert_allclose(found.sd, days.std(ddof=1), rtol=1e-12)
        np.testing.assert_allclose(found.p90, days.quantile(0.9), rtol=1e-12)


def test_days_without_values_are_no_pairs():
    da = record()
    da[10] = np.nan
    found = lag_rmse(da, max_lag=2)
    assert found.pair_count.values.tolist() == [57, 56]
    assert np.isnan(lag_rmse(da * np.nan, max_lag=2)["mean"]).all()
    assert lag_r2(xr.full_like(da, 0.1), max_lag=2).pair_count.values.tolist() == [0, 0]


# properties


@settings(max_examples=10)
@given(
    time=st.integers(1, 30), lat=st.integers(1, 3), seed=st.integers(0, 99), turned=st.booleans()
)
def test_same_answer_for_any_chunks_and_order(time, lat, seed, turned):
    da = record(days=30, seed=seed, missing=0.1).astype("f4")
    da = da[np.random.default_rng(seed).random(30) < 0.8]
    if da.time.to_index().diff().value_counts().idxmax() != pd.Timedelta("1D"):
        return
    lazy = da.chunk(time=time, lat=lat)
    if turned:
        lazy = lazy.transpose("lon", "time", "lat")[:, :, ::-1]
        lazy = lazy.assign_coords(lon=lazy.lon % 360)
    with dask.config.set(scheduler="sync"):
        for function in (acf, pacf):
            found, told = function(lazy, max_lag=5), function(da, max_lag=5)
            np.testing.assert_allclose(found, told, rtol=1e-6, atol=1e-6)
            cells = function(lazy, max_lag=5, reduce=None).sortby("lat", ascending=False)
            told = function(da, max_lag=5, reduce=None)
            cells = cells.transpose(*told.dims)
            np.testing.assert_allclose(cells, told, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(cells.upper, told.upper, rtol=1e-9, atol=1e-9)
        for function in (lag_rmse, lag_r2):
            xr.testing.assert_allclose(function(lazy), function(da), rtol=1e-9)


@pytest.mark.parametrize("function", [acf, pacf, lag_rmse, lag_r2, lambda da: acf(da, reduce=None)])
def test_nothing_is_computed_before_it_is_asked_for(function):
    counter = Counter()
    da = record()
    copy = da.copy()
    with dask.config.set(scheduler=counter):
        lazy = function(da.chunk(time=7))
        assert counter.computes == 0
        lazy.compute()
        assert counter.computes == 1
    assert function(da).chunks in (None, {})
    xr.testing.assert_identical(da, copy)


def test_realizations_are_kept():
    da = xr.concat([record(seed=1), record(seed=2)], "realization")
    for function in (acf, lag_rmse):
        both = function(da)
        for k in range(2):
            xr.testing.assert_allclose(
                both.isel(realization=k), function(da[k]).drop_vars("realization", errors="ignore")
            )


def test_constant_cells_and_empty_cells_have_no_acf():
    da = record()
    da[:, 0, 0] = 0.1
    da[:, 0, 1] = np.nan
    found = acf(da, max_lag=3, reduce=None)
    bad = np.isnan(found).all("lag").values
    assert bad.sum() == 2
    assert bad[0, :2].all()


def test_sums_do_not_lose_digits_to_a_large_mean():
    da = record()
    np.testing.assert_allclose(
        acf(da + 1e5, reduce=None, max_lag=5), acf(da, reduce=None, max_lag=5), atol=1e-8
    )


def test_wide_blocks_of_cells_are_cut(monkeypatch):
    da = record(days=90, shape=(6, 8), missing=0.1)  # six slabs: all but two are read on demand
    told = acf(da, max_lag=4, reduce=None)
    monkeypatch.setattr(autocorrelation, "_SUMS", 150)
    found = acf(da.chunk(time=5), max_lag=4, reduce=None)
    assert found.data.npartitions > 2
    np.testing.assert_allclose(found, told, atol=1e-12)


# bad input


@pytest.mark.parametrize("function", [acf, pacf, lag_rmse, lag_r2])
def test_bad_input(function):
    da = record(days=10)
    with pytest.raises(TimeAxisError, match=r"10 time steps; max_lag=9 needs 11 or more"):
        function(da, max_lag=9)
    with pytest.raises(OptionError, match="max_lag is 0; give a whole number"):
        function(da, max_lag=0)
    with pytest.raises(TimeAxisError, match="has no time dimension"):
        function(da[0], max_lag=2)
    with pytest.raises(GridError, match="No latitude found"):
        function(da.rename(lat="y", lon="x"), max_lag=2)
    odd = da.time.values.copy()
    odd[6:] += np.timedelta64(6, "h")
    message = r"2000-01-06.* is followed by 2000-01-07T06.*, 1.25 days later; gaps must be mult"
    with pytest.raises(TimeAxisError, match=message):
        function(da.assign_coords(time=odd), max_lag=2)
    with pytest.raises(TimeAxisError, match="duplicate times"):
        function(xr.concat([da, da[:1]], "time"), max_lag=2)


def test_unknown_options():
    da = record()
    with pytest.raises(OptionError, match=r"Unknown reduce.*'men'.*Did you mean 'mean'"):
        acf(da, reduce="men")
    with pytest.raises(OptionError, match="alpha is 1"):
        pacf(da, alpha=1)
    with pytest.raises(OptionError, match=r"Unknown kind: 'pearsn'.*Did you mean 'pearson'"):
        lag_r2(da, kind="pearsn")


@pytest.mark.parametrize("freq", ["MS", "ME", "SMS"])
def test_months_are_steps_whatever_their_length(freq):
    time = pd.date_range("2000-01-31" if freq == "ME" else "2000-01-01", periods=48, freq=freq)
    time = time[time.day <= 14] if freq == "SMS" else time
    values = np.random.default_rng(0).normal(size=(len(time), 2, 3))
    dims, grid = ("time", "lat", "lon"), {"lat": [0.0, 1], "lon": [0.0, 1, 2]}
    da = xr.DataArray(values, coords={"time": time, **grid}, dims=dims)
    daily = da.assign_coords(time=pd.date_range("2000", periods=len(time)))
    for found, same in (
        (acf(da, max_lag=5), acf(daily, max_lag=5)),
        (lag_r2(da, max_lag=5)["mean"], lag_r2(daily, max_lag=5)["mean"]),
    ):
        np.testing.assert_allclose(found, same)
        assert found.lag.attrs["units"] == "month"
    # a month that is missing is a gap, not a step
    gap = acf(da.drop_isel(time=3), max_lag=2)
    assert gap.pair_count.values.tolist() == [len(time) - 1, len(time) - 3, len(time) - 4]
