"""Two records of different steps are not brought together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from records import label
from xdownscale import geostat
from xdownscale.core.errors import TimeAxisError


def hours(days=40):
    time = pd.date_range("2000-01-01", periods=4 * days, freq="6h")
    values = np.random.default_rng(0).lognormal(size=(time.size, 4, 5))
    return label(values, np.arange(4.0), np.arange(5.0), time=time, units=None)


@pytest.mark.parametrize(
    "function", [geostat.wasserstein, geostat.similarity_table, geostat.diagnose_pairing]
)
def test_daily_means_do_not_meet_instants(function):
    """Finding of a review: they met those of 00 UTC in silence."""
    instants = hours()
    daily = instants.resample(time="1D").mean()
    message = r"time step of .*(6 hours|1 day).* one of .*\.resample\(time=\"1D\"\)\.mean\(\)"
    for one, other in [(instants, daily), (daily, instants)]:
        with pytest.raises(TimeAxisError, match=message):
            function(one, other)


def test_spread_out_days_are_days():
    daily = hours().resample(time="1D").mean()
    found = geostat.wasserstein(daily.isel(time=[0, 3, 30]), daily)
    assert found.sizes["time"] == 3
