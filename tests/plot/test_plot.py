"""Figures: what is drawn is what was given, labelled with units, and nothing overlaps."""

from __future__ import annotations

import sys
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from projected import on_plane
from records import make_pair
from xdownscale import geostat, plot
from xdownscale.core.errors import (
    DataError,
    GridError,
    MissingPackageError,
    OptionError,
    TimeAxisError,
)
from xdownscale.core.grids import with_positions

LAG = np.arange(10.0, 200.0, 20.0)
DAYS = np.arange(0, 8)


@pytest.fixture(autouse=True)
def _no_window():
    mpl.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def field(fine) -> xr.DataArray:
    return fine.isel(time=slice(24))


def variogram(scale: float = 1.0, **more) -> xr.Dataset:
    gamma = scale * (1 - np.exp(-LAG / 60))
    data = {
        "semivariance": ("lag", gamma, {"units": "K^2"}),
        "pair_count": ("lag", np.arange(1, LAG.size + 1)),
        "fit": ("lag", gamma + 0.01),
        "fit_ok": True,
        "lower": ("lag", 0.9 * gamma),
        "upper": ("lag", 1.1 * gamma),
    }
    return xr.Dataset(data | more, coords={"lag": ("lag", LAG, {"units": "km"})})


def correlogram(phi: float = 0.8, name: str = "acf") -> xr.DataArray:
    value = phi**DAYS
    coords = {"lag": DAYS, "lower": ("lag", value - 0.2), "upper": ("lag", value + 0.2)}
    return xr.DataArray(value, dims="lag", coords=coords, name=name)


def lags(phi: float = 0.8) -> xr.Dataset:
    mean = phi ** DAYS[1:]
    data = {"mean": mean, "p10": mean - 0.1, "p90": mean + 0.1}
    return xr.Dataset({k: ("lag", v) for k, v in data.items()}, coords={"lag": DAYS[1:]})


def spectrum(slope: float = 2.0) -> xr.Dataset:
    wavelength = np.geomspace(800.0, 15.0, 30)
    power = ("wavelength", wavelength**slope, {"units": "K^2 km2"})
    return xr.Dataset({"power": power}, coords={"wavelength": wavelength})


RANKS = xr.DataArray([10, 20, 30, 40], dims="rank", coords={"rank": np.arange(4)})
SPREAD = xr.Dataset(
    {"spread": ("day", [1.0, 2.0, 3.0]), "rmse": ("day", [1.5, 2.0, 2.5], {"units": "K"})}
)
CURVES = {
    "semivariogram": (plot.semivariogram, variogram()),
    "acf": (plot.acf, correlogram()),
    "pacf": (plot.pacf, correlogram(name="pacf")),
    "lag_curve": (plot.lag_curve, lags()),
    "power_spectrum": (plot.power_spectrum, spectrum()),
    "rank_histogram": (plot.rank_histogram, RANKS),
    "spread_skill": (plot.spread_skill, SPREAD),
}


def every(test):
    return pytest.mark.parametrize(("draw", "result"), CURVES.values(), ids=list(CURVES))(test)


def boxes(labels, figure):
    renderer = figure.canvas.get_renderer()
    return [t.get_window_extent(renderer) for t in labels if t.get_text()]


def assert_legible(figure):
    """No tick label lies on another, and every text lies within the figure."""
    figure.canvas.draw()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            found = boxes([t for t in ticks if t.get_visible()], figure)
            assert not any(a.overlaps(b) for a, b in pairwise(found))
        own = [ax.xaxis.label, ax.yaxis.label, ax.title]
        for box in boxes([t for t in own if t.get_visible()], figure):
            assert figure.bbox.padded(1).contains(box.x0, box.y0)
            assert figure.bbox.padded(1).contains(box.x1, box.y1)


# what all curves have in common


BANDS = {
    plot.semivariogram: ["95 % interval of the mean"],
    plot.acf: ["confidence band of zero"],
    plot.pacf: ["confidence band of zero"],
    plot.lag_curve: ["10 to 90 % quantiles"],
}
MEASURED_BANDS = {  # of results that know their confidence level
    **BANDS,
    plot.acf: ["95 % band of zero"],
    plot.pacf: ["95 % band of zero"],
}


@every
def test_units_stand_on_every_axis_and_nothing_overlaps(draw, result):
    ax = draw(result)
    for each in ax.figure.axes:
        for label in (each.get_xlabel(), each.get_ylabel()):
            counts = label.startswith(("pairs", "rank", "relative", "R²")) or "correlation" in label
            assert counts or label == "" or label.rstrip().endswith("]")
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert_legible(ax.figure)


@every
def test_given_axes_are_used_and_returned(draw, result):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    before = len(plt.get_fignums())
    assert draw(result, ax) is ax
    assert len(plt.get_fignums()) == before


@every
def test_several_results_get_a_legend_in_their_order(draw, result):
    legend = draw({"ours": result, "theirs": result}).get_legend()
    names = [t.get_text() for t in legend.get_texts() if t.get_text() != "calibrated"]
    assert names[:2] == ["ours", "theirs"]
    assert names[2:] == BANDS.get(draw, [])


@every
def test_results_are_left_as_they_were(draw, result):
    copy = result.copy(deep=True)
    draw(result)
    xr.testing.assert_identical(result, copy)


@every
def test_what_is_no_result_is_refused(draw, result):
    with pytest.raises(DataError, match=r"is a int; give what (geostat|skill)\.\w+ returns"):
        draw(3)
    with pytest.raises(DataError, match="There is nothing to draw"):
        draw({})
    with pytest.raises(DataError, match=r"'ours' lacks '\w+'; give what"):
        draw({"ours": xr.Dataset({"x": ("place", [1.0])})})


@every
def test_a_further_dimension_is_refused(draw, result):
    with pytest.raises(DataError, match=r"has the further dimensions \['member'\]; average over"):
        draw(result.expand_dims(member=2))


@every
def test_without_matplotlib(draw, result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"Drawing figures needs .*matplotlib.*plot\]"):
        draw(result)


@pytest.mark.parametrize(
    ("draw", "compute"),
    [
        (plot.semivariogram, geostat.semivariogram),
        (plot.power_spectrum, geostat.power_spectrum),
        (plot.lag_curve, geostat.lag_r2),
    ],
)
def test_a_field_gives_the_curve_of_its_result(field, draw, compute):
    assert_same_lines(draw(field), draw(compute(field)))


@pytest.mark.parametrize("name", ["acf", "pacf"])
def test_a_field_gives_the_stems_of_its_result(name, coarse):
    draw, compute = getattr(plot, name), getattr(geostat, name)
    assert_same_lines(draw(coarse), draw(compute(coarse)))


def test_an_rmse_curve_of_a_field_has_its_units(field):
    ax = plot.lag_curve(field.assign_attrs(units="K"), score="rmse")
    assert ax.get_ylabel() == "RMSE of a field to an earlier one [K]"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), geostat.lag_rmse(field)["mean"])


def assert_same_lines(one, other):
    assert len(one.lines) == len(other.lines) > 0
    for a, b in zip(one.lines, other.lines, strict=True):
        np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())


# each curve


def test_semivariogram_shows_points_fit_band_and_pairs():
    result = variogram()
    ax = plot.semivariogram(result)
    points, fit = ax.lines
    np.testing.assert_array_equal(points.get_ydata(), result.semivariance)
    np.testing.assert_array_equal(fit.get_ydata(), result.fit)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(result.upper.max().item())
    bars = ax.figure.axes[1]
    assert [p.get_height() for p in bars.patches] == list(result.pair_count.values)
    assert ax.get_ylabel() == "semivariance [K$^{2}$]"


def test_a_fit_that_failed_is_not_drawn():
    assert len(plot.semivariogram(variogram(fit_ok=False)).lines) == 1


def test_pair_counts_can_be_left_out():
    assert len(plot.semivariogram(variogram(), pair_counts=False).figure.axes) == 1


@pytest.mark.parametrize(("draw", "name"), [(plot.acf, "acf"), (plot.pacf, "pacf")])
def test_stems_stand_on_zero_and_the_band_around_it(draw, name):
    result = correlogram(name=name)
    ax = draw(result)
    band, stems = ax.collections
    tops = [segment[1, 1] for segment in stems.get_segments()]
    np.testing.assert_allclose(tops, result.values)
    assert [segment[0, 1] for segment in stems.get_segments()] == [0] * result.size
    edge = band.get_paths()[0].vertices
    assert (edge[:, 1].min(), edge[:, 1].max()) == pytest.approx((-0.2, 0.2))
    assert edge[:, 0].min() == 1  # lag 0 is 1 by definition


def test_lag_curve_shows_mean_and_spread():
    result = lags()
    ax = plot.lag_curve(result)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), result["mean"])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(result.p10.min().item())


def test_an_unknown_score():
    with pytest.raises(OptionError, match=r"Unknown score: 'rmsd'.*Did you mean 'rmse'"):
        plot.lag_curve(lags(), score="rmsd")


def test_spectrum_has_logarithmic_axes_with_long_waves_on_the_left():
    ax = plot.power_spectrum(spectrum())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    left, right = ax.get_xlim()
    assert left > right
    assert ax.get_ylabel() == "power density [K$^{2}$ km$^{2}$]"


def test_rank_histogram_shows_shares_beside_the_flat_line():
    ax = plot.rank_histogram(RANKS)
    np.testing.assert_allclose([p.get_height() for p in ax.patches], [0.1, 0.2, 0.3, 0.4])
    assert list(ax.lines[0].get_ydata()) == [0.25, 0.25]


def test_spread_skill_shows_days_and_the_diagonal():
    ax = plot.spread_skill(SPREAD)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[1, 1.5], [2, 2], [3, 2.5]])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), ax.lines[0].get_ydata())


# maps


def drawn(ax) -> np.ndarray:
    return np.asarray(ax.collections[0].get_array())


def test_maps_share_one_scale_and_show_the_difference(field, coarse):
    prediction = field + 0.1
    axes = plot.maps(prediction, field, coarse, time="2000-01-25")
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == ["Coarse", "Truth", "Prediction", "Prediction minus truth"]
    norms = [ax.collections[0].norm for ax in axes]
    assert norms[0] is norms[1] is norms[2] is not norms[3]
    np.testing.assert_allclose(drawn(axes[3]), 0.1, rtol=1e-5)
    np.testing.assert_array_equal(drawn(axes[1]), field.sel(time="2000-01-25"))
    assert_legible(axes[0].figure)
    assert "[°E]" in axes[2].get_xlabel()
    assert "[°N]" in axes[2].get_ylabel()


def test_titles_are_those_given(field, coarse):
    """Figure 2 of the paper: a record beside another, neither of them a prediction."""
    cases = {
        ("G5NR",): {},
        ("MERRA-2", "G5NR"): {"coarse": coarse},
        ("G5NR", "DDPM", "DDPM minus G5NR"): {"truth": field},
        ("MERRA-2", "G5NR", "DDPM", "error"): {"truth": field, "coarse": coarse},
    }
    for titles, others in cases.items():
        axes = plot.maps(field, titles=list(titles), **others)
        assert tuple(ax.get_title(loc="left") for ax in axes) == titles
        assert_legible(axes[0].figure)
        assert axes[0].get_title(loc="right") == str(field.time.values[0])[:10]
        again = field.geostat.plot_maps(titles=titles, **others)
        assert tuple(ax.get_title(loc="left") for ax in again) == titles


def test_a_title_for_each_panel_or_none(field):
    wrong = (["one"], ["one", "two"], ["a", "b", "c", "d"], "abc", ["a", "b", 3], 5)
    for titles in wrong:
        with pytest.raises(
            OptionError, match=r"one text for each panel: 'Truth', 'Prediction', 'Prediction minus"
        ):
            plot.maps(field, field, titles=titles)


def test_difference_does_not_mind_orientation_names_or_order(field):
    truth = (
        field.isel(lat=slice(None, None, -1)).rename(lat="y", lon="x").transpose("x", "time", "y")
    )
    truth["y"].attrs["standard_name"] = "latitude"
    truth["x"].attrs["standard_name"] = "longitude"
    axes = plot.maps(field, truth)
    np.testing.assert_array_equal(drawn(axes[-1]), 0)


def test_longitude_conventions_are_brought_together(field):
    west = field.assign_coords(lon=field.lon - 60)
    east = west.assign_coords(lon=west.lon % 360)
    axes = plot.maps(west, coarse=east)
    corners = [ax.collections[0].get_coordinates()[0, [0, -1], 0] for ax in axes]
    np.testing.assert_allclose(corners[0], corners[1])
    assert axes[0].get_xlim() == pytest.approx((-20, -10))


def test_a_grid_over_greenwich_is_drawn_in_one_piece(field):
    over = field.assign_coords(lon=(field.lon - 45) % 360)
    axes = plot.maps(over)
    assert axes[0].get_xlim() == pytest.approx((-5, 5))
    np.testing.assert_array_equal(drawn(axes[0]), field.isel(time=0))


def test_first_realization_and_first_day_are_the_default(field):
    ensemble = xr.concat([field, 2 * field], dim="realization")
    (ax,) = plot.maps(ensemble)
    assert ax.get_title(loc="left") == "Prediction, realization 1 of 2"
    np.testing.assert_array_equal(drawn(ax), field.isel(time=0))


def test_a_field_without_time_at_noon_or_midnight(field):
    noon = field.assign_coords(time=field.time + np.timedelta64(12, "h"))
    axes = plot.maps(field.isel(time=3), noon.isel(time=3))
    np.testing.assert_array_equal(drawn(axes[-1]), 0)
    axes = plot.maps(field, noon, time=field.time[3].values)
    np.testing.assert_array_equal(drawn(axes[-1]), 0)


def test_the_scale_is_logarithmic_for_wide_positive_fields(field):
    from matplotlib.colors import LogNorm

    def norm(da, **options):
        return plot.maps(da, **options)[0].collections[0].norm

    wide = np.exp(5 * np.log(field))
    assert isinstance(norm(wide), LogNorm)
    assert not isinstance(norm(wide, scale="linear"), LogNorm)
    assert not isinstance(norm(field - field.mean()), LogNorm)
    assert isinstance(norm(field, scale="log"), LogNorm)
    assert norm(xr.ones_like(field)).vmin == 0.5


def test_curvilinear_grids_are_drawn(field):
    y, x = np.meshgrid(np.arange(6.0), np.arange(7.0), indexing="ij")
    bent = xr.DataArray(
        y + x, dims=("j", "i"), coords={"lat": (("j", "i"), y), "lon": (("j", "i"), x + 0.1 * y)}
    )
    (ax,) = plot.maps(bent)
    np.testing.assert_array_equal(drawn(ax), bent)


def test_maps_leave_the_fields_as_they_were(field):
    copy = field.copy(deep=True)
    plot.maps(field, field)
    xr.testing.assert_identical(field, copy)


def test_maps_refuse_what_cannot_be_drawn(field):
    with pytest.raises(TimeAxisError, match="Truth has no day 2000-02-10: it runs from"):
        plot.maps(field, field.isel(time=slice(5)), time="2000-02-10")
    with pytest.raises(DataError, match="There are 3 panels and 1 axes; give 3"):
        plot.maps(field, field, axes=[object()])
    with pytest.raises(
        DataError, match=r"^dust has no value on that day; choose another with time=\.$"
    ):
        plot.maps(field * np.nan)
    with pytest.raises(
        DataError, match=r"^dust has the further dimensions \['level'\]; select one"
    ):
        plot.maps(field.expand_dims(level=2))
    with pytest.raises(DataError, match="logarithmic colour scale needs positive values"):
        plot.maps(field - 1, scale="log")
    with pytest.raises(OptionError, match=r"Unknown scale: 'logg'.*Did you mean 'log'"):
        plot.maps(field, scale="logg")
    with pytest.raises(GridError, match="are on different grids"):
        plot.maps(field, field.coarsen(lat=2, lon=2).mean())


def test_maps_without_matplotlib(field, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match="Drawing figures needs"):
        plot.maps(field)


def test_of_an_ensemble_the_first_realization_is_drawn():
    noise = np.random.default_rng(0).normal(size=(2, 40, 12, 16))
    dims = ("realization", "time", "lat", "lon")
    grid = {"lat": np.arange(12) * 0.5, "lon": np.arange(16) * 0.5}
    time = np.arange("2000-01-01", "2000-02-10", dtype="M8[D]").astype("M8[ns]")
    da = xr.DataArray(noise, coords={"time": time, **grid}, dims=dims, name="dust")
    for draw in (plot.acf, plot.pacf, plot.lag_curve, plot.semivariogram, plot.power_spectrum):
        both = draw({"drawn": da, "truth": da[0]})
        labels = [text.get_text() for text in both.get_legend().get_texts()]
        assert labels == ["drawn, realization 1 of 2", "truth", *MEASURED_BANDS.get(draw, [])]
        one, same = draw(da), draw(da[0])
        for a, b in zip(one.get_lines(), same.get_lines(), strict=True):
            np.testing.assert_array_equal(a.get_ydata(), b.get_ydata())


@pytest.mark.parametrize(
    ("kind", "options", "result"),
    [
        ("semivariogram", {"max_distance": 300, "bins": 7}, "semivariogram"),
        ("acf", {"max_lag": 4}, "acf"),
        ("pacf", {"max_lag": 4}, "pacf"),
        ("lag_curve", {"max_lag": 3}, "lag_r2"),
        ("power_spectrum", {"window": "none"}, "power_spectrum"),
    ],
)
def test_options_of_the_measure_reach_it(kind, options, result):
    rng = np.random.default_rng(0)
    time = pd.date_range("2000-01-01", periods=20)
    coords = {"time": time, "lat": np.arange(10.0), "lon": np.arange(12.0)}
    da = xr.DataArray(rng.normal(size=(20, 10, 12)), coords, ("time", "lat", "lon"), name="t")
    measured = getattr(da.geostat, result)(**options)
    drawn = getattr(da.geostat, f"plot_{kind}")(**options)
    given = getattr(plot, kind)(measured)
    for one, other in zip(drawn.lines, given.lines, strict=True):
        np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())
    with pytest.raises(OptionError, match="Unknown option of"):
        getattr(da.geostat, f"plot_{kind}")(max_lags=3)


def test_maps_of_a_projected_array():
    """It is drawn where its cells are; the truth may have lost its grid mapping."""
    ds = on_plane(make_pair(8)[1], "lambert")
    fine = ds.set_coords("crs").t
    axes = plot.maps(fine, truth=ds.t, time=fine.time[3])
    assert axes[0].get_title(loc="right") == str(fine.time.values[3])[:10]
    places = with_positions(fine)
    west, east = axes[0].get_xlim()
    near = pytest.approx((float(places.lon.min()), float(places.lon.max())), abs=0.1)
    assert (west, east) == near


@pytest.mark.parametrize("of", [lambda t: t, lambda t: t.values, lambda t: str(t.values)[:10]])
def test_maps_take_a_time_in_any_form(of, field):
    axes = plot.maps(field, time=of(field.time[1]))
    assert axes[0].get_title(loc="right") == str(field.time.values[1])[:10]
