"""Cells along one axis, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.errors import GridError, OptionError
from xdownscale.core.grids import (
    cell_areas,
    cell_bounds,
    check_coverage,
    latitude_axis,
    longitude_axis,
    outside,
    spacing,
    wrap_longitude,
)


def test_bounds_are_midpoints_and_clipped_to_the_poles():
    edges = cell_bounds(np.array([-90.0, -88.0, -85.0]), (-90, 90))
    np.testing.assert_allclose(edges, [-90, -89, -86.5, -83.5])
    descending = cell_bounds(np.array([5.0, 3.0]))
    np.testing.assert_allclose(descending, [6, 4, 2])


def test_a_single_cell_has_no_edges():
    with pytest.raises(GridError, match=r"has 1 point\. Give two points or more"):
        cell_bounds(np.array([3.0]))


def test_spacing():
    assert spacing(np.array([3.0, 2.5, 2.0])) == 0.5
    assert np.isnan(spacing(np.array([3.0])))


@given(
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8),
    st.floats(-720, 720, allow_nan=False),
)
def test_wrapped_longitudes_are_the_same_meridians(values, start):
    wrapped = wrap_longitude(values, start)
    assert (wrapped >= start).all()
    assert (wrapped < start + 360).all()
    np.testing.assert_allclose(np.cos(np.radians(wrapped)), np.cos(np.radians(values)), atol=1e-9)
    np.testing.assert_allclose(np.sin(np.radians(wrapped)), np.sin(np.radians(values)), atol=1e-9)


def test_wrapping_a_hair_below_the_start_stays_below_the_end():
    assert wrap_longitude(-1e-20, 0.0) == 0.0


@pytest.mark.parametrize("kind", ["latitude", "longitude"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 1.0, 1.0], "1 2 times. Each .* may stand once"),
        ([0.0, 2.0, 1.0, 3.0], "in no order. They must ascend or descend"),
        ([0.0, np.nan], "1 of them not finite"),
        ([], "has 0 .*s"),
    ],
)
def test_axes_that_cannot_be_used(kind, values, message):
    order = latitude_axis if kind == "latitude" else longitude_axis
    with pytest.raises(GridError, match=message):
        order(np.array(values), "The source grid")


def test_latitude_beyond_the_pole():
    with pytest.raises(GridError, match="latitudes from 0 to 91; allowed are degrees from -90"):
        latitude_axis(np.array([0.0, 91.0]))


def test_latitude_axis_puts_in_order():
    axis = latitude_axis(np.array([30.0, 20.0, 10.0]))
    np.testing.assert_array_equal(axis.values, [10, 20, 30])
    np.testing.assert_array_equal(axis.values[axis.inverse], [30, 20, 10])
    np.testing.assert_array_equal(axis.edges, [5, 15, 25, 35])


@given(
    start=st.floats(-180, 180),
    step=st.floats(0.1, 20),
    size=st.integers(2, 15),
    turn=st.integers(0, 14),
    descending=st.booleans(),
    convention=st.sampled_from([0.0, -180.0, None]),
)
def test_longitude_axis_undoes_any_convention(start, step, size, turn, descending, convention):
    truth = start + step * np.arange(size)
    given_ = truth if convention is None else wrap_longitude(truth, convention)
    given_ = np.roll(given_, turn)  # a rotation: e.g. sorted after crossing Greenwich
    given_ = given_[::-1] if descending else given_
    axis = longitude_axis(given_)
    np.testing.assert_allclose(np.diff(axis.values), step, atol=1e-9)
    np.testing.assert_allclose(
        wrap_longitude(axis.values[axis.inverse] - given_, -180), 0, atol=1e-9
    )
    np.testing.assert_array_equal(axis.inverse[axis.first], np.arange(size))
    assert axis.edges.size == size + 1


def test_round_the_globe_or_not():
    assert longitude_axis(np.arange(0.0, 360.0, 30.0)).periodic
    assert longitude_axis(np.arange(-180.0, 180.0, 30.0)).periodic
    assert not longitude_axis(np.arange(0.0, 330.0, 30.0)).periodic
    assert not longitude_axis(np.array([5.0])).periodic


@pytest.mark.parametrize("start", [0.0, -180.0])
def test_a_periodic_axis_keeps_the_callers_cut(start):
    given_ = start + np.arange(0.0, 360.0, 30.0)
    for values in (given_, given_[::-1]):
        axis = longitude_axis(values)
        steps = np.diff(axis.values[axis.inverse])
        np.testing.assert_allclose(np.abs(steps), 30)
        assert axis.edges[-1] - axis.edges[0] == pytest.approx(360)


def test_a_repeated_meridian_is_taken_once():
    axis = longitude_axis(np.linspace(0, 360, 13))
    assert axis.periodic
    assert axis.values.size == 12
    assert axis.inverse[0] == axis.inverse[-1]


def test_areas_sum_to_the_sphere_and_match_an_integral():
    lat, lon = np.linspace(-90, 90, 19), np.linspace(-180, 180, 37)
    areas = cell_areas(lat, lon, "sr")
    assert areas.sum() == pytest.approx(4 * np.pi, rel=1e-14)
    fine = np.radians(np.linspace(lat[3], lat[4], 20001))
    middle = np.cos((fine[1:] + fine[:-1]) / 2).sum() * np.diff(fine)[0]
    assert areas[3, 0] == pytest.approx(middle * np.radians(10), rel=1e-8)


def test_area_of_the_earth():
    total = cell_areas(np.array([90.0, -90.0]), np.array([0.0, 360.0])).sum()
    assert total == pytest.approx(510_065_621.7, rel=1e-8)  # of the WGS84 ellipsoid, km2


def test_area_in_an_unknown_unit():
    with pytest.raises(OptionError, match=r"Unknown unit of area: 'km'.*Did you mean 'km2'"):
        cell_areas(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "km")


def test_half_a_cell_is_covered_and_no_more():
    lat = latitude_axis(np.array([10.0, 12.0, 14.0]))
    found = outside(lat, np.array([8.9, 9.0, 15.0, 15.1]), cyclic=False)
    np.testing.assert_array_equal(found, [True, False, False, True])
    lon = longitude_axis(np.array([178.0, 180.0, -178.0]))
    found = outside(lon, np.array([-177.0, 183.1, 176.9, 180.0]), cyclic=True)
    np.testing.assert_array_equal(found, [False, True, True, False])


def test_float32_coordinates_on_the_edge_are_inside():
    coarse = latitude_axis(np.arange(0, 10, 0.1, dtype=np.float32))
    assert not outside(coarse, np.array([-0.05, 9.95]), cyclic=False).any()


def test_the_coverage_message_names_both_axes():
    axis = latitude_axis(np.array([0.0, 1.0]))
    message = (
        r"latitude -3 to 0 \(1 of 2 outside; allowed is -0.5 to 1.5\) and longitude 0 to 9 "
        r"\(1 of 2 .*Give a larger source, crop the target, or pass extrapolate='nearest'"
    )
    with pytest.raises(GridError, match=message):
        check_coverage(axis, axis, np.array([-3.0, 0.0]), np.array([0.0, 9.0]))
