"""Units, colour scales, titles and dates of figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import LogNorm, PowerNorm

from xdownscale import plot
from xdownscale.plot._units import units_text

COORDS = {
    "time": pd.date_range("2001-03-04", periods=3),
    "lat": np.arange(10.0),
    "lon": np.arange(12.0),
}
NOISE = np.random.default_rng(0).normal(size=(3, 10, 12))


@pytest.fixture(autouse=True)
def _no_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def field(values, **attrs) -> xr.DataArray:
    return xr.DataArray(values, COORDS, ("time", "lat", "lon"), name="pr", attrs=attrs)


RAIN = field(np.where(NOISE > 0.5, np.exp(2 * NOISE), 0.0), units="mm day-1", long_name="rain")


@pytest.mark.parametrize(
    ("units", "shown"),
    [
        ("(m s**-1)2 km2", "m$^{2}$ s$^{-2}$ km$^{2}$"),
        ("(K)^2", "K$^{2}$"),
        ("(kg m-2)^2", "kg$^{2}$ m$^{-4}$"),
        ("kg.m-2.s-1", "kg m$^{-2}$ s$^{-1}$"),
        ("kg/(m2 s)", "kg m$^{-2}$ s$^{-1}$"),
        ("W/m2 K", "W m$^{-2}$ K"),
        ("kg kg-1", "kg kg$^{-1}$"),
        ("mm per day", "mm day$^{-1}$"),
        ("1e-6 kg", "10$^{-6}$ kg"),
        ("1 km2", "km$^{2}$"),
        ("(1)2 km2", "km$^{2}$"),
        ("log10(kg m-2)", "log$_{10}$(kg m$^{-2}$)"),
        ("(log10)^2", "(log$_{10}$)$^{2}$"),
        ("degC", "°C"),
        ("1", ""),
        ("", ""),
        (None, ""),
        ("days since 2000-01-01", "days since 2000-01-01"),
        ("m s-", "m s-"),
        ("(2e-3 m)2", "(2e-3 m)2"),
        ("K)", "K)"),
        ("$", r"\$"),
    ],
)
def test_units_are_shown_with_superscripts(units, shown):
    assert units_text(units) == shown


def mesh(da, **options):
    return plot.maps(da, **options)[0].collections[0]


def test_signed_values_diverge_about_zero():
    drawn = mesh(field(NOISE + 0.5))
    assert drawn.norm.vmin == -drawn.norm.vmax
    assert drawn.norm.vmax == pytest.approx(np.quantile(NOISE[0] + 0.5, 0.995))
    assert min(drawn.cmap(drawn.norm(0.0))[:3]) > 0.95


def test_a_few_small_negative_values_do_not_make_a_field_signed():
    values = 5 + NOISE
    values[0, 0, :2] = -0.1
    assert mesh(field(values)).cmap.name == "cividis"


def test_rain_has_zero_in_white_and_a_square_root():
    drawn = mesh(RAIN)
    assert isinstance(drawn.norm, PowerNorm)
    assert drawn.norm.vmin == 0
    assert drawn.norm.vmax == pytest.approx(np.quantile(RAIN[0], 0.995))
    assert drawn.norm(drawn.norm.vmax / 4) == pytest.approx(0.5)
    assert drawn.cmap(drawn.norm(0.0)) == (1, 1, 1, 1)
    assert not isinstance(mesh(RAIN, scale="linear").norm, PowerNorm)


def test_a_dry_day_is_white():
    drawn = mesh(0 * RAIN)
    assert drawn.cmap(drawn.norm(0.0)) == (1, 1, 1, 1)


def test_wide_positive_values_stay_logarithmic():
    assert isinstance(mesh(field(np.exp(2 * NOISE))).norm, LogNorm)


def test_titles_dates_variable_and_units():
    axes = plot.maps(1.1 * RAIN.assign_attrs(RAIN.attrs), RAIN, time="2001-03-05")
    assert [ax.get_title(loc="right") for ax in axes] == ["2001-03-05"] * 3
    (ax,) = plot.maps(RAIN)
    assert ax.get_title(loc="left") == "rain"  # not known to be a prediction
    labels = [a.get_xlabel() + a.get_ylabel() for a in ax.figure.axes]
    assert "rain [mm day$^{-1}$]" in labels


def test_hours_are_shown_where_a_record_has_several_a_day():
    hourly = RAIN.assign_coords(time=pd.date_range("2001-03-04", periods=3, freq="6h"))
    assert plot.maps(hourly, time="2001-03-04T06")[0].get_title(loc="right") == "2001-03-04 06:00"
