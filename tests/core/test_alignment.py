"""Records brought together: same cells in any order and convention, same days, never hours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core import alignment, grids
from xdownscale.core.errors import GridError, TimeAxisError


def field(lat=(20.0, 10.0, 0.0), lon=(-10.0, 0.0, 10.0, 20.0)):
    """Values that say which cell they belong to."""
    lat, lon = np.asarray(lat), np.asarray(lon)
    values = 1000 * lat[:, None] + np.mod(lon, 360.0)
    return xr.DataArray(values, coords={"lat": lat, "lon": lon}, dims=("lat", "lon"), name="dust")


def curvilinear(shift=0.0):
    lat, lon = np.meshgrid(np.arange(4.0), np.arange(-2.0, 4.0), indexing="ij")
    coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon + shift)}
    return xr.DataArray(10 * lat + lon, dims=("y", "x"), coords=coords)


# cells


@given(
    start=st.sampled_from([-180.0, 0.0, -10.0, 90.0]),
    roll=st.integers(0, 11),
    flip=st.booleans(),
    upside_down=st.booleans(),
)
def test_every_value_stays_with_its_cell_on_a_globe(start, roll, flip, upside_down):
    one = field(lon=np.arange(-180.0, 180.0, 30.0))
    other = one.assign_coords(lon=start + np.mod(one.lon - start, 360.0))
    other = other.roll(lon=roll, roll_coords=True)
    other = other.isel(lon=slice(None, None, -1 if flip else 1))
    other = other.isel(lat=slice(None, None, -1 if upside_down else 1))
    assert grids.same_grid(one, other)
    xr.testing.assert_identical(alignment.turn(other, one), one)


def test_a_region_across_greenwich():
    one = field()
    other = one.assign_coords(lon=np.mod(one.lon, 360.0)).sortby("lon").rename(lat="latitude")
    xr.testing.assert_identical(alignment.onto_grid(other, one, "other"), one)
    xr.testing.assert_identical(alignment.onto_grid(one, one, "itself"), one)


def test_a_meridian_that_stands_twice():
    one = field(lon=np.arange(0.0, 361.0, 30.0))
    other = field(lon=np.arange(-180.0, 181.0, 30.0))
    assert grids.same_grid(one, other)
    np.testing.assert_array_equal(alignment.turn(other, one), one)


def test_curvilinear_cells_in_any_convention():
    one = curvilinear()
    turned = curvilinear(360.0)
    assert grids.same_grid(one, turned)
    xr.testing.assert_identical(alignment.turn(turned, one), one)
    assert not grids.same_grid(one, curvilinear(0.01))
    for reverse in ({"x": slice(None, None, -1)}, {"y": slice(None, None, -1)}):
        xr.testing.assert_identical(alignment.turn(one.isel(reverse), one), one)
    assert not grids.same_grid(one, one.isel(x=slice(1, None)))


def test_other_cells_are_told():
    one = field()
    other = one.assign_coords(lon=one.lon + 5.0)
    message = r"'mine' and the truth .* 'lon' has shape \(4,\) and runs from -5 to 25.*xdownscale"
    with pytest.raises(GridError, match=message):
        alignment.onto_grid(other, one, "mine")
    with pytest.raises(GridError, match="different grids"):
        alignment.onto_grid(curvilinear(), one, "mine")


def test_time_takes_the_name_of_the_truth():
    days = pd.date_range("2000", periods=2)
    truth = field().expand_dims(time=days)
    mine = truth.rename(time="day").assign_coords(level=3.0)
    assert alignment.onto_grid(mine, truth, "mine").dims == truth.dims
    found = alignment.match({"mine": mine}, truth)
    xr.testing.assert_identical(found.predictions["mine"], truth)
    assert "level" not in found.predictions["mine"].coords


# days


def test_daily_means_do_not_meet_instants():
    hours = field().expand_dims(time=pd.date_range("2000", periods=40, freq="6h"))
    daily = hours.resample(time="1D").mean()
    message = r"The truth has a time step of 1 day and 'mine' one of 6 hours.*of 'mine' with .*1D"
    with pytest.raises(TimeAxisError, match=message):
        alignment.match({"mine": hours}, daily)
    with pytest.raises(TimeAxisError, match=r"The truth has a time step of 6 hours and 'mine'"):
        alignment.match({"mine": daily}, hours)
    few = alignment.match({"mine": daily.isel(time=[0, 3, 8])}, daily)
    assert few.time.size == 3
    instants = alignment.match({"mine": hours.isel(time=[0, 1, 38])}, hours)
    np.testing.assert_array_equal(instants.time, hours.time[[0, 1, 38]])


def test_one_instant_meets_its_own_hour():
    hours = field().expand_dims(time=pd.date_range("2000", periods=8, freq="6h"))
    found = alignment.match({"mine": hours.isel(time=[2])}, hours)
    np.testing.assert_array_equal(found.time, hours.time[[2]])
