"""Ljung-Box tests and cross-correlations at lags: statsmodels, closed forms, gaps."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.tsa.stattools as tsa
import xarray as xr
from scipy.stats import chi2, kstest
from statsmodels.stats.diagnostic import acorr_ljungbox

import xdownscale as xd
from records import label
from xdownscale.core.errors import GridError, OptionError, TimeAxisError
from xdownscale.geostat import acf, lag_correlation, ljung_box


def record(days=80, shape=(3, 4), seed=0):
    values = np.random.default_rng(seed).normal(size=(days, *shape))
    values[1:] += 0.5 * values[:-1]
    return label(5 + values, np.linspace(50, 20, shape[0]), np.linspace(-3, 4, shape[1]))


class TestLjungBox:
    def test_is_statsmodels(self):
        da = record()
        found = ljung_box(da, max_lag=6, reduce=None)
        for cell in np.ndindex(3, 4):
            theirs = acorr_ljungbox(da.values[:, *cell], lags=6)
            np.testing.assert_allclose(found.statistic[:, *cell], theirs.lb_stat, rtol=1e-10)
            np.testing.assert_allclose(found.p_value[:, *cell], theirs.lb_pvalue, rtol=1e-8)

    def test_degrees_of_freedom_of_a_model(self):
        da = record(shape=(1, 1))
        found = ljung_box(da, max_lag=6, model_df=2)
        theirs = acorr_ljungbox(da.values[:, 0, 0], lags=6, model_df=2)
        np.testing.assert_allclose(found.p_value, theirs.lb_pvalue, rtol=1e-8)
        assert np.isnan(found.p_value[:2]).all()

    @pytest.mark.parametrize("gaps", [0.0, 0.4])
    def test_p_values_of_white_noise_are_uniform(self, gaps):
        rng = np.random.default_rng(0)
        values = rng.normal(size=(300, 20, 40))
        values[rng.random(values.shape) < gaps] = np.nan
        da = label(values, np.linspace(20, 50, 20), np.linspace(0, 40, 40))
        p = ljung_box(da, max_lag=5, reduce=None).p_value[-1].values.ravel()
        assert kstest(p, "uniform").pvalue > 0.01

    def test_gaps_by_hand(self):
        da = record(days=20, shape=(1, 1))
        da[4] = np.nan
        da = da.drop_isel(time=[11, 12])
        r = acf(da, max_lag=3)
        n = r.pair_count
        q = n[0] * (n[0] + 2) * (r[1:].values ** 2 / n[1:].values).cumsum()[-1]
        found = ljung_box(da, max_lag=3)
        assert found.statistic[-1].item() == pytest.approx(q.item(), rel=1e-12)
        assert found.p_value[-1].item() == pytest.approx(chi2.sf(q.item(), 3), rel=1e-9)

    def test_mean_lazy_and_labels(self):
        da = record()
        found = ljung_box(da.chunk(time=20), max_lag=4)
        assert found.p_value.chunks is not None
        xr.testing.assert_allclose(found.compute(), ljung_box(da, max_lag=4))
        assert found.lag.values.tolist() == [1, 2, 3, 4]
        assert found.lag.units == "day"
        assert list(found.data_vars) == ["statistic", "p_value"]

    def test_constant(self):
        assert np.isnan(ljung_box(xr.zeros_like(record()), max_lag=3).p_value).all()

    @pytest.mark.parametrize("bad", [-1, 0.5])
    def test_bad_model_df(self, bad):
        with pytest.raises(OptionError, match="model_df"):
            ljung_box(record(), model_df=bad)


class TestLagCorrelation:
    @pytest.mark.parametrize("adjusted", [True, False])
    def test_is_statsmodels(self, adjusted):
        one, two = record(seed=1), record(seed=2)
        two[2:] += one.values[:-2]
        found = lag_correlation(one, two, max_lag=5, reduce=None, adjusted=adjusted)
        for cell in np.ndindex(3, 4):
            x, y = one.values[:, *cell], two.values[:, *cell]
            ahead = tsa.ccf(x, y, adjusted=adjusted)[:6]
            back = tsa.ccf(y, x, adjusted=adjusted)[:6]
            np.testing.assert_allclose(found[5:, *cell], ahead, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(found[5::-1, *cell], back, rtol=1e-10, atol=1e-12)
        assert (found.idxmax("lag") == -2).all()  # the second follows the first

    def test_bounds_are_those_of_statsmodels(self):
        one, two = record(seed=1, shape=(1, 1)), record(seed=2, shape=(1, 1))
        found = lag_correlation(one, two, max_lag=3, alpha=0.1, adjusted=True)
        _, bounds = tsa.ccf(one.values[:, 0, 0], two.values[:, 0, 0], alpha=0.1)
        np.testing.assert_allclose(found.lower[3:], bounds[:4, 0], rtol=1e-10)
        np.testing.assert_allclose(found.upper[3:], bounds[:4, 1], rtol=1e-10)

    def test_with_itself_it_is_the_acf(self):
        da = record()
        da[7, 1] = np.nan
        da = da.drop_isel(time=[30, 31, 50])
        found = lag_correlation(da, da, max_lag=4, reduce=None)
        expected = acf(da, max_lag=4, reduce=None)
        np.testing.assert_allclose(found[4:], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[4::-1], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(found.pair_count[4:], expected.pair_count)

    def test_gaps_by_hand(self):
        one, two = record(days=20, shape=(1, 1), seed=1), record(days=20, shape=(1, 1), seed=2)
        one[3] = np.nan
        two[9] = np.nan
        x, y = (da.where(one.notnull() & two.notnull()).values.ravel() for da in (one, two))
        x, y = (v - np.nanmean(v) for v in (x, y))
        good = x[2:] * y[:-2]
        expected = np.nansum(good) / 18 / np.nanstd(x) / np.nanstd(y)
        found = lag_correlation(one, two, max_lag=2)
        assert found.sel(lag=2).item() == pytest.approx(expected, rel=1e-10)
        assert found.pair_count.sel(lag=2) == np.isfinite(good).sum()

    def test_coarse_and_fine(self):
        ds = xd.datasets.load_twin()
        found = lag_correlation(ds.dust_fine, ds.dust, max_lag=3)
        assert found.idxmax("lag").item() == 0
        assert found.sel(lag=0) > 0.9
        late = ds.dust_fine.shift(time=2).isel(time=slice(2, None))
        assert lag_correlation(late, ds.dust, max_lag=3).idxmax("lag").item() == 2
        with pytest.raises(GridError, match="The records are on different grids"):
            lag_correlation(ds.dust_fine, ds.dust, reduce=None)

    def test_lazy_order_and_units(self):
        one, two = record(seed=1).assign_attrs(units="K"), record(seed=2).assign_attrs(units="m")
        expected = lag_correlation(one, two, max_lag=3)
        lazy = lag_correlation(
            one.chunk(time=30), two.transpose("lon", ...).isel(lat=slice(None, None, -1)), max_lag=3
        )
        assert lazy.chunks is not None
        np.testing.assert_allclose(lazy, expected, rtol=1e-10)
        assert expected.units == "1"

    def test_constant(self):
        da = record()
        found = lag_correlation(xr.full_like(da, 0.1), da, max_lag=3)
        assert np.isnan(found).all()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"alpha": 1.5}, "alpha is 1.5"),
            ({"reduce": "max"}, "Unknown reduce"),
            ({"max_lag": 0}, "max_lag is 0"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(OptionError, match=message):
            lag_correlation(record(), record(), **options)

    def test_no_time(self):
        with pytest.raises(TimeAxisError, match="The other record"):
            lag_correlation(record(), record()[0].drop_vars("time"))
