"""What is asked for is what is returned: the order of the times, and times asked for twice."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import fitted, make_pair, make_record
from xdownscale.core.errors import TimeAxisError

COARSE = make_record(1.0, 60, margin=1)


@functools.cache
def model() -> xd.Downscaler:
    return xd.fit(COARSE, make_record(0.25, 40), preset="dressed", progress=False)


TIMES = COARSE.time[45:50]
ASKED = {
    "reversed": TIMES[::-1],
    "shuffled": TIMES[[2, 0, 4, 1, 3]],
    "twice": TIMES[[0, 1, 1, 0]],
    "texts": [str(t)[:10] for t in TIMES.values[::-1]],
    "a list of dates": list(TIMES.values[[3, 1]]),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ASKED)
def test_times_come_in_the_order_asked(name, lazy):
    """As xarray's .sel has it; before, they came sorted and each once, without a word."""
    coarse = COARSE.chunk(time=20) if lazy else COARSE
    asked = ASKED[name]
    found = coarse.downscale.predict(model(), time=asked, realizations=2)
    assert (found.chunks is not None) == lazy
    expected = COARSE.downscale.predict(model(), realizations=2).sel(time=asked)
    xr.testing.assert_identical(found.compute(), expected)
    np.testing.assert_array_equal(found.time.values, np.asarray(asked, "M8[ns]"))


def test_order_of_an_autoregressive_rollout():
    coarse = make_pair(60)[0]["t"]
    times = coarse.time[30:34]
    with pytest.warns(xd.errors.XDownscaleWarning, match="start cold"):
        expected = coarse.downscale.predict(fitted("paper"), time=times)
    with pytest.warns(xd.errors.XDownscaleWarning, match="start cold"):
        found = coarse.downscale.predict(fitted("paper"), time=times[::-1])
    xr.testing.assert_identical(found, expected.isel(time=slice(None, None, -1)))


@pytest.mark.parametrize("name", ["reversed", "twice"])
def test_a_store_holds_each_time_once(name, tmp_path):
    with pytest.raises(TimeAxisError, match="do not ascend, or one of them stands there twice"):
        xd.predict_to_zarr(model(), COARSE, tmp_path / "a.zarr", time=ASKED[name], progress=False)
    assert not (tmp_path / "a.zarr").exists()


def test_a_single_time_and_a_slice():
    one = COARSE.downscale.predict(model(), time="2000-02-15")
    assert one.sizes["time"] == 1
    some = COARSE.downscale.predict(model(), time=slice("2000-02-15", "2000-02-17"))
    assert some.sizes["time"] == 3
