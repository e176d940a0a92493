"""Units and steps in the results' labels: those of the record, and none that nobody has told."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from records import label
from xdownscale.geostat._lags import step_name

mpl.use("agg")


def record(freq: str = "D", units: str | None = None, periods: int = 40) -> xr.DataArray:
    time = pd.date_range("2000-01-01", periods=periods, freq=freq)
    values = np.random.default_rng(0).lognormal(size=(periods, 12, 13))
    return label(values, np.arange(12.0), np.arange(13.0), time=time, units=units)


def results(da: xr.DataArray) -> dict[str, xr.DataArray]:
    """Return every result that is in the units of the record, or in powers of them."""
    other = da * 2
    variogram = da.geostat.semivariogram(bins=6, pairs=500, model="matern")
    pooled = da.geostat.wasserstein(other, "pooled", transform=None, normalise=False)
    compared = da.geostat.compare(other, max_lag=2, transform=None)
    return {
        "semivariance": variogram.semivariance,
        "sill": variogram.sill,
        "power": da.geostat.power_spectrum().power,
        "lag_rmse": da.geostat.lag_rmse(2)["mean"],
        "quantile": da.geostat.distribution().value,
        "wasserstein": pooled.wasserstein,
        "span": pooled.span,
        "compared": compared.semivariance,
        "compared mean": compared["mean"],
        "rmse": xd.skill.rmse(da, other),
    }


def test_nothing_gets_units_that_nobody_has_told():
    """Finding of a review: a record without units got "1" in results and axis labels."""
    told = {name: da.attrs.get("units") for name, da in results(record()).items()}
    assert told == dict.fromkeys(told)


def test_units_that_are_told_are_kept():
    told = {name: da.attrs.get("units") for name, da in results(record(units="m")).items()}
    powers = {"semivariance": "(m)^2", "sill": "(m)^2", "power": "(m)2 km2", "compared": "(m)^2"}
    assert told == dict.fromkeys(told, "m") | powers
    one = results(record(units="1"))
    assert one["semivariance"].attrs["units"] == "1"
    assert one["wasserstein"].attrs["units"] == "1"


def test_transformed_values_have_transformed_units():
    da = record(units="kg m-2")
    found = da.geostat.compare(da * 2, max_lag=2, transform="log10")
    assert found.semivariance.attrs["units"] == "(log10(kg m-2))^2"
    assert found["mean"].attrs["units"] == "kg m-2"
    assert da.geostat.wasserstein(da * 2, transform="log10").span.attrs["units"] == "log10(kg m-2)"


def test_axes_of_plots():
    da = record()
    assert xd.plot.semivariogram(da.geostat.semivariogram(bins=6, pairs=500)).get_ylabel() == (
        "semivariance"
    )
    ax = xd.plot.lag_curve(da.geostat.lag_rmse(2), score="rmse")
    assert "[" not in ax.get_ylabel()
    mpl.pyplot.close("all")


@pytest.mark.parametrize(
    ("freq", "units", "label"),
    [
        ("D", "day", "lag [days]"),
        ("6h", "6 h", "lag [6 h]"),
        ("h", "1 h", "lag [1 h]"),
        ("30min", "30 min", "lag [30 min]"),
        ("7D", "7 days", "lag [7 days]"),
        ("MS", "month", "lag [months]"),
    ],
)
def test_lags_bear_the_step_of_the_record(freq, units, label):
    da = record(freq)
    for found in (da.geostat.acf(3), da.geostat.pacf(3), da.geostat.lag_rmse(3)):
        assert found.lag.attrs["units"] == units
    assert ("days" in da.geostat.lag_r2(3).pair_count.attrs["long_name"]) == (freq == "D")
    labels = [
        xd.plot.acf(da.geostat.acf(3)).get_xlabel(),
        xd.plot.pacf(da.geostat.pacf(3)).get_xlabel(),
        xd.plot.lag_curve(da.geostat.lag_r2(3)).get_xlabel(),
        xd.plot.lag_curve(da.geostat.lag_rmse(3), score="rmse").get_xlabel(),
        da.geostat.plot_acf().get_xlabel(),
        da.geostat.plot_lag_curve().get_xlabel(),
    ]
    assert labels == [label] * 6
    mpl.pyplot.close("all")


def test_lags_of_several_records_are_those_of_each():
    with pytest.raises(xd.errors.DataError, match=r"6 h.*day|day.*6 h"):
        xd.plot.acf({"a": record().geostat.acf(3), "b": record("6h").geostat.acf(3)})
    mpl.pyplot.close("all")


def test_names_of_steps():
    assert [step_name(s) for s in (90, 5400, 86400 * 2)] == ["90 s", "90 min", "2 days"]
