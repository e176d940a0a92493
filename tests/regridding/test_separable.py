"""The separable engine below the label line, against scipy, closed forms and sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline, RectBivariateSpline

from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.core.grids import cell_areas, cell_bounds
from xdownscale.regridding import Regridder, regrid

METHODS = ("bicubic", "bilinear", "nearest", "conservative")
COARSE = np.arange(10.0, 30.0, 2.0), np.arange(-6.0, 20.0, 2.5)
FINE = np.arange(10.3, 28.0, 0.7), np.arange(-5.9, 18.0, 0.9)


def smooth(lat, lon, shift=0.0):
    """Continuous round the globe."""
    lat, lon = np.radians(lat)[:, None], np.radians(lon)[None, :] + shift
    return 2 + np.cos(lat) ** 2 * np.cos(2 * lon) + np.sin(lat) * np.cos(lat) ** 3 * np.sin(3 * lon)


def plane(lat, lon):
    return 3 + 0.5 * np.asarray(lat)[:, None] - 0.25 * np.asarray(lon)[None, :]


def test_bicubic_is_scipys_spline(rng):
    values = rng.normal(size=(3, COARSE[0].size, COARSE[1].size))
    found = Regridder.between(COARSE, FINE).apply(values)
    one_axis = CubicSpline(COARSE[0], values, axis=1)(FINE[0])
    expected = CubicSpline(COARSE[1], one_axis, axis=2)(FINE[1])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    surface = RectBivariateSpline(*COARSE, values[0])(*FINE)
    np.testing.assert_allclose(found[0], surface, atol=1e-12)


def test_cropping_a_long_axis_does_not_change_the_spline(rng):
    long = np.arange(0.0, 300.0) / 2
    values = rng.normal(size=(COARSE[0].size, long.size))
    fine = FINE[0], np.arange(70.1, 80, 0.3)
    regridder = Regridder.between((COARSE[0], long), fine)
    expected = CubicSpline(long, CubicSpline(COARSE[0], values)(FINE[0]), axis=1)(fine[1])
    np.testing.assert_allclose(regridder.apply(values), expected, atol=1e-12)
    assert regridder.x.main.shape[1] < 110


@pytest.mark.parametrize("size", [2, 3])
def test_few_points_take_the_highest_polynomial_there_is(size):
    lat = np.arange(size) * 2.0
    fine = np.array([0.0, 0.7, 1.9]), FINE[1]
    values = np.outer(1 + lat ** (size - 1), np.ones(COARSE[1].size))
    found = Regridder.between((lat, COARSE[1]), fine).apply(values)
    np.testing.assert_allclose(found[:, 0], 1 + fine[0] ** (size - 1), atol=1e-12)


@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
def test_planes_come_back(method):
    found = Regridder.between(COARSE, FINE, method).apply(plane(*COARSE))
    np.testing.assert_allclose(found, plane(*FINE), atol=1e-12)


def test_bicubic_is_fourth_order():
    fine = np.arange(-60, 60, 1.7), np.arange(0, 360, 2.3)
    errors = []
    for step in (10.0, 5.0):
        grid = np.arange(-85, 86, step), np.arange(0, 360, step)
        found = Regridder.between(grid, fine).apply(smooth(*grid))
        errors.append(np.abs(found - smooth(*fine)).max())
    assert errors[1] < errors[0] / 12
    assert errors[1] < 2e-3


def test_margin_goes_on_along_the_line_for_bicubic_and_holds_for_the_others():
    fine = np.array([9.2, 28.9]), np.array([-7.2, 17.6])
    found = Regridder.between(COARSE, fine).apply(plane(*COARSE))
    np.testing.assert_allclose(found, plane(*fine), atol=1e-12)
    clamped = np.array([10.0, 28.0]), np.array([-6.0, 17.6])
    held = Regridder.between(COARSE, fine, "bilinear").apply(plane(*COARSE))
    np.testing.assert_allclose(held, plane(*clamped), atol=1e-12)


def test_the_line_is_better_than_holding_for_a_smooth_field():
    coarse = np.arange(-20, 21, 5.0), np.arange(0, 60, 5.0)
    fine = np.array([-22.0, 22.0]), np.arange(0.0, 55)
    line = Regridder.between(coarse, fine).apply(smooth(*coarse)) - smooth(*fine)
    held = Regridder.between(coarse, fine, "bicubic", "nearest").apply(smooth(*coarse))
    assert np.abs(line).mean() < np.abs(held - smooth(*fine)).mean() / 3


@pytest.mark.parametrize("method", METHODS)
def test_outside_is_refused_or_nearest(method):
    values = plane(*COARSE)
    west = np.array([0.0, 15.0]), np.array([-40.0, -30.0, -20.0])
    message = r"latitude 0 to 15 \(1 of 2 .*longitude -40 to -20 \(3 of 3 outside; allowed"
    with pytest.raises(GridError, match=message):
        Regridder.between(COARSE, west, method)
    found = Regridder.between(COARSE, west, method, "nearest").apply(values)
    np.testing.assert_allclose(found[0], values[0, [0, 0, 0]], atol=1e-12)
    east = west[0], np.array([60.0, 70.0])
    found = Regridder.between(COARSE, east, method, "nearest").apply(values)
    np.testing.assert_allclose(found[0], values[0, [-1, -1]], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("start", [0.0, -180.0, 77.0])
def test_a_globe_wraps_round(method, start):
    lat, lon = np.arange(-85, 86, 10.0), start + np.arange(0, 360, 10.0)
    fine = np.array([-20.0, 0.0, 20.0]), np.array([-4.0, 0.0, 4.0, 176.0, 180.0, 184.0, 350.0])
    found = Regridder.between((lat, lon), fine, method).apply(smooth(lat, lon))
    # The same grid and target turned by 100 degrees: nothing may know where the seam is.
    turned = Regridder.between((lat, lon + 100), (fine[0], fine[1] + 100), method)
    np.testing.assert_allclose(found, turned.apply(smooth(lat, lon)), atol=1e-12)
    if method in ("bicubic", "bilinear"):
        np.testing.assert_allclose(found, smooth(*fine), atol=0.06)


@pytest.mark.parametrize("method", METHODS)
def test_greenwich_and_dateline(method):
    truth = np.arange(-6.0, 20.0, 2.5)
    expected = Regridder.between(COARSE, FINE, method).apply(plane(*COARSE))
    for turn in (0.0, 180.0):
        wrapped = np.mod(truth + turn, 360)
        order = np.argsort(wrapped)
        source = COARSE[0][::-1], wrapped[order]
        target = FINE[0][::-1], np.mod(FINE[1] + turn + 180, 360) - 180
        values = plane(*COARSE)[::-1][:, order]
        found = Regridder.between(source, target, method).apply(values)
        np.testing.assert_allclose(found[::-1], expected, atol=1e-10)


def test_conservative_by_hand():
    # Two source cells of 10 and 10 degrees; the target cell takes 1/4 of one, 3/4 of the other
    # along longitude; along latitude shares go with sin.
    source = np.array([5.0, 15.0]), np.array([5.0, 15.0])
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    target = (
        np.array([3.0, 13.0]),
        np.array([2.5, 12.5]),
    )  # cells from -2 to 8 to 18, -2.5 to 7.5...
    found = Regridder.between(source, target, "conservative").apply(values)
    s = {d: np.sin(np.radians(d)) for d in (0, 8, 10, 18, 20)}
    low = (s[10] - s[8]) / (s[18] - s[8])
    east = 0.25 * values[:, 0] + 0.75 * values[:, 1]
    assert found[1, 1] == pytest.approx(low * east[0] + (1 - low) * east[1], abs=1e-14)
    assert found[0, 0] == pytest.approx(1.0, abs=1e-14)  # the mean over the covered part


@pytest.mark.parametrize("to", ["coarse", "fine"])
def test_conservative_keeps_the_area_integral(rng, to):
    steps = (1.25, 5.0) if to == "coarse" else (5.0, 1.25)
    (source, target) = (
        (np.arange(-90 + s / 2, 90, s), np.arange(s / 2, 360, s) - 90) for s in steps
    )
    values = rng.lognormal(size=(2, source[0].size, source[1].size))
    found = Regridder.between(source, target, "conservative").apply(values)
    totals = []
    for grid, field in ((source, values), (target, found)):
        edges = [cell_bounds(axis) for axis in grid]
        totals.append((field * cell_areas(*edges, "sr")).sum(axis=(1, 2)))
    np.testing.assert_allclose(totals[1], totals[0], rtol=1e-12)


def test_conservative_on_grids_that_do_not_nest(rng):
    source = np.linspace(-89, 89, 90), np.arange(0, 360, 2.0)
    target = np.linspace(-86.5, 86.5, 37), np.arange(3.1, 360, 7.2)
    values = rng.lognormal(size=(90, 180))
    found = Regridder.between(source, target, "conservative").apply(values)
    areas = [
        cell_areas(cell_bounds(g[0], (-90, 90)), cell_bounds(g[1]), "sr") for g in (source, target)
    ]
    south, north = cell_bounds(target[0], (-90, 90))[[0, -1]]
    assert (south, north) == pytest.approx((-88.9, 88.9), abs=0.01)
    # What the target does not cover: the caps beyond its outermost edges.
    caps = [np.sin(np.radians(90)) - np.sin(np.radians(e)) for e in (abs(south), north)]
    rings = np.radians(2.0) * np.array([values[0].sum() * caps[0], values[-1].sum() * caps[1]])
    total = (values * areas[0]).sum() - rings.sum()
    assert (found * areas[1]).sum() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_nan_rule(method, data):
    seed = data.draw(st.integers(0, 1000))
    share = data.draw(st.floats(0, 0.9))
    min_valid = data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(COARSE[0].size, COARSE[1].size))
    values[rng.random(values.shape) < share] = np.nan
    regridder = Regridder.between(COARSE, FINE, method, min_valid=min_valid)
    found = regridder.apply(values)
    linear = "bilinear" if method == "bicubic" else method
    weights = Regridder.between(COARSE, FINE, linear)
    y, x = np.zeros((FINE[0].size, 10)), np.zeros((FINE[1].size, 11))
    y[:, weights.rows], x[:, weights.columns] = weights.y.main, weights.x.main
    valid = np.isfinite(values)
    total = y @ valid @ x.T
    expected = total >= max(min_valid - 1e-5, 1e-5)
    np.testing.assert_array_equal(np.isfinite(found), expected)
    if method != "bicubic" and expected.any():
        mean = (y @ np.where(valid, values, 0) @ x.T)[expected] / total[expected]
        np.testing.assert_allclose(found[expected], mean, atol=1e-12)
        assert np.nanmin(values) - 1e-9 <= np.nanmin(found) <= np.nanmax(values) + 1e-9


def test_bicubic_with_a_gap_is_linear_beside_it_and_spline_elsewhere():
    lat, lon = np.arange(0, 40, 2.0), np.arange(0, 50, 2.0)
    fine = np.arange(0, 38, 0.5), np.arange(0, 48, 0.5)
    values = smooth(lat, lon)
    gap = values.copy()
    gap[10, 12] = np.nan
    regridder = Regridder.between((lat, lon), fine)
    found, whole = regridder.apply(gap), regridder.apply(values)
    linear = Regridder.between((lat, lon), fine, "bilinear").apply(gap)
    beside = np.ix_(np.abs(fine[0] - 20) < 4, np.abs(fine[1] - 24) < 4)
    np.testing.assert_allclose(found[beside], linear[beside], atol=1e-12)
    away = np.abs(fine[0] - 20) > 4
    np.testing.assert_allclose(found[away], whole[away], atol=1e-3)
    truth = smooth(*fine)
    outside = np.ones(truth.shape, bool)
    outside[beside] = False
    error = np.nanmax(np.abs(found - truth)[outside])
    assert error < np.nanmax(np.abs(linear - truth)[outside])


@pytest.mark.parametrize("method", METHODS)
def test_fields_do_not_feel_each_other(rng, method):
    values = rng.normal(size=(4, COARSE[0].size, COARSE[1].size)).astype("f4")
    values[1, 3:5, 4] = np.nan
    values[2] = np.nan
    values[3, 0, 0] = np.inf
    regridder = Regridder.between(COARSE, FINE, method)
    stacked = regridder.apply(values.reshape(2, 2, *values.shape[1:]))
    for i, field in enumerate(values):
        np.testing.assert_array_equal(
            stacked.reshape(4, *stacked.shape[2:])[i], regridder.apply(field)
        )
    assert np.isnan(stacked[1, 0]).all()
    assert np.isfinite(stacked[0, 0]).all()
    assert not np.isinf(stacked).any()


@pytest.mark.parametrize(
    ("given_", "kept"),
    [("f4", "f4"), ("f8", "f8"), ("f2", "f4"), ("i2", "f8"), ("bool", "f8")],
)
def test_float_types(given_, kept):
    values = (plane(*COARSE) > 5).astype(given_)
    before = values.copy()
    assert Regridder.between(COARSE, FINE, "nearest").apply(values).dtype == kept
    np.testing.assert_array_equal(values, before)


def test_float32_is_float64_within_rounding(rng):
    values = rng.normal(size=(COARSE[0].size, COARSE[1].size))
    for method in METHODS:
        regridder = Regridder.between(COARSE, FINE, method)
        single = regridder.apply(values.astype("f4"))
        np.testing.assert_allclose(single, regridder.apply(values), atol=3e-6)


@pytest.mark.parametrize("method", ["bicubic", "bilinear", "nearest"])
def test_single_points(method):
    one = np.array([20.0]), COARSE[1]
    values = np.arange(11.0)[None]
    found = Regridder.between(one, one, method).apply(values)
    np.testing.assert_allclose(found, values, atol=1e-12)
    with pytest.raises(GridError, match="allowed is 20 to 20"):
        Regridder.between(one, (np.array([20.5]), COARSE[1]), method)
    spread = Regridder.between(one, (np.array([25.0]), COARSE[1]), method, "nearest")
    np.testing.assert_allclose(spread.apply(values), values, atol=1e-12)
    to_one = Regridder.between(COARSE, (np.array([20.0]), np.array([4.0])), method)
    assert to_one.apply(plane(*COARSE)) == pytest.approx(plane([20.0], [4.0]), abs=1e-12)


def test_a_meridian_given_twice_counts_once():
    lat, lon = np.arange(-80, 81, 10.0), np.linspace(0, 360, 37)
    values = smooth(lat, lon)
    fine = np.array([0.0, 10.0]), np.array([358.0, 359.0, 0.0, 1.0])
    found = Regridder.between((lat, lon), fine).apply(values)
    expected = Regridder.between((lat, lon[:-1]), fine).apply(values[:, :-1])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    back = Regridder.between((lat, lon[:-1]), (fine[0], lon)).apply(values[:, :-1])
    np.testing.assert_allclose(back[:, 0], back[:, -1], atol=1e-12)


@pytest.mark.parametrize(
    ("lat", "message"),
    [([10.0, 12.0, 11.0], "latitudes in no order"), ([10.0, 10.0], "latitude 10 2 times")],
)
def test_axes_that_cannot_be_used(lat, message):
    with pytest.raises(GridError, match=f"The source grid has .*{message[-9:]}"):
        Regridder.between((np.array(lat), COARSE[1]), FINE)
    with pytest.raises(GridError, match=f"The target grid has .*{message[-9:]}"):
        Regridder.between(COARSE, (np.array(lat), FINE[1]))


def test_refusals():
    with pytest.raises(GridError, match=r"method='conservative' needs cells with a width.*\(20\)"):
        Regridder.between(COARSE, (np.array([20.0]), FINE[1]), "conservative")
    with pytest.raises(OptionError, match=r"Unknown regrid method: 'bicubik'.*'bicubic'"):
        Regridder.between(COARSE, FINE, "bicubik")
    with pytest.raises(OptionError, match="Unknown extrapolate: 'linear'"):
        Regridder.between(COARSE, FINE, "bicubic", "linear")
    with pytest.raises(OptionError, match=r"min_valid is 1.5; it is a share between 0 and 1"):
        Regridder.between(COARSE, FINE, min_valid=1.5)
    with pytest.raises(GridError, match=r"shape \(3, 4\) does not end in the source grid's shape"):
        Regridder.between(COARSE, FINE).apply(np.zeros((3, 4)))
    with pytest.raises(DataError, match="values of type complex128; give real numbers"):
        Regridder.between(COARSE, FINE).apply(plane(*COARSE) * 1j)


class TestNearestByIndex:
    """Cells that are taken by index are those that the matrix of weights gives."""

    @staticmethod
    def by_weights(da, target, **options):
        from xdownscale.regridding import _separable

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_separable, "_picked", lambda weights: None)
            return regrid(da, target, "nearest", **options)

    @pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
    @pytest.mark.parametrize("min_valid", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("turned", [False, True])
    @pytest.mark.parametrize("size", [3, 40])
    def test_values_gaps_and_types(self, dtype, min_valid, turned, size):
        rng = np.random.default_rng(0)
        values = rng.normal(size=(3, 12, 9)) * 10
        lat, lon = np.linspace(10, 21, 12), np.linspace(350, 366, 9) % 360
        da = xr.DataArray(
            values.astype(dtype),
            coords={"time": [0, 1, 2], "lat": lat, "lon": lon},
            dims=("time", "lat", "lon"),
        )
        if dtype != "i4":
            da[0, 2:5, 3] = np.nan
            da[1, 4, 4] = np.inf
            da[1, 0, 0] = -np.inf
            da[2] = np.nan
        da = da.isel(lat=slice(None, None, -1)) if turned else da
        target = xr.Dataset(
            coords={"lat": np.linspace(9, 22, size), "lon": np.linspace(-11, 7, size + 1)}
        )
        options = {"extrapolate": "nearest", "min_valid": min_valid}
        found = regrid(da, target, **options, method="nearest")
        expected = self.by_weights(da, target, **options)
        xr.testing.assert_identical(found, expected)
        lazy = regrid(da.chunk(time=1), target, **options, method="nearest")
        xr.testing.assert_identical(lazy.compute(), expected)
