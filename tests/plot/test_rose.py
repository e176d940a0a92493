"""The rose: semivariance over distance and bearing."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from xdownscale import geostat, plot
from xdownscale.core.errors import DataError, OptionError

LAG = np.arange(10.0, 100.0, 20.0)


@pytest.fixture(autouse=True)
def _no_window():
    mpl.use("agg")
    yield
    mpl.pyplot.close("all")


def result(**extra) -> xr.Dataset:
    bearing = np.arange(0.0, 180.0, 22.5)
    gamma = (1 + np.cos(np.radians(2 * bearing)))[:, None] * LAG
    data = {"semivariance": (("direction", "lag"), gamma, {"units": "K^2"})}
    return xr.Dataset(data | extra, coords={"direction": bearing, "lag": LAG})


def colours(ax):
    mesh = ax.collections[0]
    return np.asarray(mesh.get_array()).reshape(LAG.size, -1)


def test_opposite_bearings_are_the_same_and_north_is_up():
    ax = plot.rose(result())
    values = colours(ax)
    half = values.shape[1] // 2
    np.testing.assert_array_equal(values[:, :half], values[:, half:])
    # 12 patches for each bearing, in order
    np.testing.assert_allclose(values[:, 6], result().semivariance[0])
    np.testing.assert_allclose(values[:, 12 * 3 + 6], result().semivariance[3])
    assert ax.get_theta_direction() == -1
    assert ax.get_theta_offset() == pytest.approx(np.pi / 2)
    assert ax.get_rmax() == 100.0


def test_units_and_the_longest_axis_are_told():
    extra = {"anisotropy_angle": ((), 30.0), "anisotropy_ratio": ((), 0.5)}
    ax = plot.rose(result(**extra))
    assert ax.get_xlabel() == "longest axis 30° from north, shortest 0.50 times as long"
    assert [a.get_ylabel() for a in ax.figure.axes[1:]] == ["semivariance [K$^{2}$]"]
    drawn = np.degrees([line.get_xdata()[0] for line in ax.lines])
    assert set(drawn.round(6)) == {30.0, 210.0}
    none = plot.rose(result(anisotropy_angle=((), np.nan), anisotropy_ratio=((), np.nan)))
    assert none.get_xlabel() == "anisotropy: no result"


def test_a_field_is_measured_in_all_directions():
    rng = np.random.default_rng(0)
    field = xr.DataArray(
        rng.normal(size=(2, 30, 30)),
        coords={"time": [0, 1], "lat": np.arange(30) / 4, "lon": np.arange(30) / 4},
        dims=("time", "lat", "lon"),
        name="t",
    )
    ax = plot.rose(field, max_distance=300.0, bins=6)
    expected = geostat.semivariogram(
        field, direction="all", max_distance=300.0, bins=6, bootstrap=0
    )
    shown = np.asarray(ax.collections[0].get_array()).reshape(6, -1)
    np.testing.assert_allclose(shown[:, 6], expected.semivariance[0])
    assert ax.get_title(loc="left") == "t"


def test_given_axes_are_used_and_must_be_polar():
    figure, ax = mpl.pyplot.subplots(subplot_kw={"projection": "polar"})
    assert plot.rose(result(), ax=ax) is ax
    with pytest.raises(DataError, match="A rose needs polar axes"):
        plot.rose(result(), ax=figure.add_subplot())


@pytest.mark.parametrize(
    "given", [1.0, result().drop_dims("direction"), result().expand_dims(time=[0, 1])]
)
def test_other_things_are_refused(given):
    with pytest.raises(DataError, match="A rose needs"):
        plot.rose(given)


def test_an_unknown_option_is_refused():
    field = xr.DataArray(np.ones((3, 3)), coords={"lat": [0.0, 1, 2], "lon": [0.0, 1, 2]})
    with pytest.raises(OptionError):
        plot.rose(field, bimz=3)


def test_gaps_and_a_single_class_are_drawn():
    one = result().isel(lag=[0])
    assert plot.rose(one).get_rmax() == 20.0
    empty = result()
    empty["semivariance"] = empty.semivariance * np.nan
    assert plot.rose(empty).name == "polar"
