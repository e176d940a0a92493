"""Table 1: what fields are like, against pandas and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdownscale import skill
from xdownscale.core import quantiles as quantiles_
from xdownscale.core.errors import DataError, OptionError, TimeAxisError


def test_describe_is_what_numpy_says_of_each_group(fields):
    coarse = fields(40, "2000-02-10", seed=1, shape=(2, 3))
    fine = fields(60, "2000-02-20", seed=2)
    fine[5, 0] = np.nan
    regions = {"north": (-1, 6, 16, 21), "all": (-1, 6, 9, 21)}
    found = skill.describe(
        {"coarse": coarse, "fine": fine},
        ("season", "region"),
        regions=regions,
        quantiles=[0.1, 0.5],
    )
    assert list(found.columns) == ["mean", "sd", "min", "p10", "p50", "max"]
    assert found.index.names == ["season", "region", "field"]
    assert list(found.index.droplevel("field").unique()) == [
        ("DJF", "north"),
        ("DJF", "all"),
        ("MAM", "north"),
        ("MAM", "all"),
    ]
    for (season, region, name), row in found.iterrows():
        da = {"coarse": coarse, "fine": fine}[name]
        da = da.sel(time=(da.time.dt.month == 2) == (season == "DJF"))
        values = (da.sel(lat=slice(21, 15)) if region == "north" else da).values.ravel()
        values = values[np.isfinite(values)]
        expected = [values.mean(), values.std(ddof=1), values.min()]
        expected += [*np.quantile(values, [0.1, 0.5]), values.max()]
        np.testing.assert_allclose(row, expected, rtol=1e-6)
        assert found.attrs["count"][season, region, name] == values.size
    assert found.attrs["units"] == {"coarse": "kg m-2", "fine": "kg m-2"}
    assert skill.to_markdown(found).startswith("| season | region | field | mean | sd |")


def test_without_groups_the_rows_are_the_fields(fields):
    found = skill.describe({"dust": fields()}, by=None, quantiles=[0.5])
    assert list(found.index) == ["dust"]
    assert found.loc["dust", "mean"] == pytest.approx(fields().mean().item())
    assert found.attrs["count"] == {"dust": 120}


def test_realizations_are_pooled(fields):
    ensemble = fields(members=3)
    found = skill.describe({"drawn": ensemble.transpose("lat", "realization", "time", "lon")})
    assert found["sd"].item() == pytest.approx(ensemble.std(ddof=1).item())


def test_lazy_fields_are_read_twice_for_all_groups_together(fields, computes):
    da = fields(40, "2000-02-10", seed=1)
    expected = skill.describe({"dust": da})
    found = skill.describe({"dust": da.chunk(time=7, lat=3)})
    assert computes.calls == 2
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=40),
    quantiles=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4),
)
def test_streamed_quantiles_are_those_of_numpy(values, quantiles):
    block = np.array([*values, np.nan], dtype=np.float64)
    counts = quantiles_.QuantileCounts(quantiles)
    for read in (counts.first, counts.second):
        for part in np.array_split(block, 3):
            read(part)
    scale = np.abs(values).max()
    np.testing.assert_allclose(
        counts.result(), np.quantile(np.array(values), quantiles), rtol=1e-9, atol=1e-12 * scale
    )


def test_bad_input(fields):
    da = fields()
    with pytest.raises(OptionError, match="There is no field to describe"):
        skill.describe({})
    with pytest.raises(OptionError, match="between 0 and 1; 1 is not"):
        skill.describe({"a": da}, quantiles=[1.0])
    with pytest.raises(OptionError, match="Unknown way of grouping in by: 'month'"):
        skill.describe({"a": da}, by="month")
    with pytest.raises(TimeAxisError, match="The field 'a' has no time"):
        skill.describe({"a": da[0].drop_vars("time")})
    with pytest.raises(DataError, match="no finite value to take quantiles of"):
        skill.describe({"a": xr.full_like(da, np.nan)})
