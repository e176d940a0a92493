"""Units, colour scales, titles and dates of figures."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import LogNorm, PowerNorm

from xdownscale import plot
from xdownscale.core.errors import DataError
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
        ("(sqrt(mm day-1))2 km2", "mm day$^{-1}$ km$^{2}$"),
        ("sqrt(mm)", "sqrt(mm)"),
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


# titles, legends and scales of curves


def lag_result(mean, units):
    return xr.Dataset({"mean": ("lag", mean, {"units": units})}, coords={"lag": [1, 2, 3]})


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def semivariances(units):
    lag = ("lag", [50.0, 100.0], {"units": "km"})
    return xr.Dataset({"semivariance": ("lag", [0.5, 1.0], {"units": units})}, {"lag": lag})


def powers(units):
    return xr.Dataset(
        {"power": ("wavelength", [8.0, 2.0], {"units": units})}, {"wavelength": [400.0, 100.0]}
    )


def spreads(units):
    values = {name: ("time", [1.0, 2.0], {"units": units}) for name in ("spread", "rmse")}
    return xr.Dataset(values)


@pytest.mark.parametrize(
    ("draw", "make", "words"),
    [
        (plot.semivariogram, semivariances, "semivariance"),
        (plot.power_spectrum, powers, "power density"),
        (plot.spread_skill, spreads, "RMSE of the mean"),
        (
            lambda given: plot.lag_curve(given, score="rmse"),
            lambda units: lag_result([1.0, 2.0, 3.0], units),
            "RMSE of a field to an earlier one",
        ),
    ],
)
def test_units_that_curves_do_not_share_stand_in_the_legend(draw, make, words):
    ax = draw({"wind": make("m s-1"), "t": make("K")})
    assert ax.get_ylabel() == f"{words} [units: see legend]"
    assert legend_of(ax)[:2] == ["wind [m s$^{-1}$]", "t [K]"]
    same = draw({"wind": make("m s-1"), "truth": make("m/s")})  # two spellings of one unit
    assert same.get_ylabel() == f"{words} [m s$^{{-1}}$]"
    assert legend_of(same)[:2] == ["wind", "truth"]


@pytest.mark.parametrize("draw", [plot.acf, plot.pacf, plot.lag_curve, plot.semivariogram])
def test_a_field_that_is_measured_has_its_variable_and_dates_as_title(draw):
    days = pd.date_range("2001-03-04", periods=36)
    rain = RAIN.isel(time=[0, 1, 2] * 12).assign_coords(time=days)
    ax = draw(rain)
    assert ax.get_title(loc="left") == "rain"
    assert ax.get_title(loc="right") == "2001-03-04 to 2001-04-08"
    given = draw({"ours": rain})
    assert given.get_title(loc="left") == ""  # the legend has the names


def test_a_title_of_the_user_stays():
    _, ax = plt.subplots()
    ax.set_title("mine", loc="left")
    assert plot.semivariogram(RAIN[:1], ax).get_title(loc="left") == "mine"


def test_a_long_name_leaves_room_for_the_date_and_is_no_longer_than_the_bar():
    words = "Dust Surface Mass Concentration of particles smaller than 2.5 micrometers, hourly"
    (ax,) = plot.maps(RAIN.assign_attrs(long_name=words))
    figure = ax.figure
    figure.canvas.draw()
    left, right = ax._left_title.get_window_extent(), ax._right_title.get_window_extent()
    assert " ".join(ax.get_title(loc="left").split()) == words
    assert not left.overlaps(right)
    bar = figure.axes[-1]
    label = bar.yaxis.label.get_window_extent()
    assert label.y0 >= figure.bbox.y0
    assert label.y1 <= figure.bbox.y1
    assert " ".join(bar.get_ylabel().split()) == f"{words} [mm day$^{{-1}}$]"


def test_labels_of_a_narrow_bar_do_not_touch():
    axes = plot.maps(field(0.02 * NOISE), field(0 * NOISE + 0.01), time="2001-03-05")
    figure = axes[0].figure
    figure.canvas.draw()
    bar = figure.axes[-1]
    boxes = [t.get_window_extent() for t in bar.get_xticklabels() if t.get_text()]
    assert len(boxes) >= 3
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_the_date_of_a_selected_field_selects_the_coarse_one():
    coarse = field(NOISE)[:, ::2, ::2]
    axes = plot.maps(RAIN.sel(time="2001-03-05"), coarse=coarse)
    assert [ax.get_title(loc="right") for ax in axes] == ["2001-03-05"] * 2
    shown = np.asarray(axes[0].collections[0].get_array())
    np.testing.assert_array_equal(shown, coarse.sel(time="2001-03-05"))


def test_r2_far_below_zero_leaves_the_others_visible():
    curves = {"dry": lag_result([-1.0, -80.0, -600.0], "1"), "wet": lag_result([0.9, 0.5, 0], "1")}
    ax = plot.lag_curve(curves)
    assert ax.get_yscale() == "symlog"
    assert ax.get_ylim()[1] == pytest.approx(1.2)
    (low, high) = (ax.transData.transform((1, v))[1] for v in (0.0, 0.9))
    assert high - low > 0.1 * ax.bbox.height
    assert plot.lag_curve(curves["wet"]).get_yscale() == "linear"


def test_points_are_not_under_the_legend():
    days = xr.Dataset({"spread": ("time", [0.2, 0.3, 9.0]), "rmse": ("time", [9.8, 10.0, 9.0])})
    ax = plot.spread_skill({"ours": days, "theirs": days})
    ax.figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    points = ax.transData.transform(np.column_stack([days.spread, days.rmse]))
    assert not any(box.contains(*point) for point in points)
    assert ax.get_xlim() == ax.get_ylim()


def test_bars_are_not_under_the_legend():
    counts = xr.DataArray([5, 90, 5], dims="rank", coords={"rank": [0, 1, 2]})
    ax = plot.rank_histogram({f"ensemble {i}": counts for i in range(5)})
    ax.figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    assert not any(box.overlaps(bar.get_window_extent()) for bar in ax.patches)


def test_axes_without_result_have_no_numbers_and_no_band():
    nothing = lag_result([np.nan] * 3, "1").assign(
        p10=("lag", [np.nan] * 3), p90=("lag", [np.nan] * 3)
    )
    ax = plot.lag_curve({"ours": nothing})
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert legend_of(ax) == ["ours (no result)"]


def test_an_error_says_which_of_several_fields_it_is_about():
    small = RAIN[:, :3, :3]
    with pytest.raises(DataError, match=r"^'small': The grid has 9 cells"):
        plot.semivariogram({"large": RAIN, "small": small})
    with pytest.raises(DataError, match=r"^The grid has 9 cells"):
        plot.semivariogram(small)


def test_a_logarithmic_colour_bar_has_plain_numbers():
    (ax,) = plot.maps(field(0.1 * np.exp(NOISE)), scale="log")
    ax.figure.canvas.draw()
    bar = ax.figure.axes[-1]
    texts = [t.get_text() for t in bar.get_yticklabels() + bar.get_yticklabels(minor=True)]
    assert {"0.05", "0.1", "0.2"} <= set(texts)
    assert not any("$" in text for text in texts)
