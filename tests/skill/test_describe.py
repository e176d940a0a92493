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


def paper_days(end):
    """A record that begins as G5NR does; one value a day, which is its month."""
    time = xr.date_range("2005-05-15", end)
    da = xr.DataArray(np.ones((time.size, 1, 2)), {"time": time, "lat": [0.0], "lon": [0.0, 1.0]})
    return da * da.time.dt.month


@pytest.mark.parametrize(("end", "summer"), [("2007-06-01", 292), ("2007-06-16", 307)])
def test_table_1_of_the_paper_counts_the_days_before_a_season_too(end, summer):
    """270, 291, 292 and 272 days: each season of each year, and the 45 days before it."""
    da = paper_days(end)
    found = skill.describe({"fine": da}, n_days=True, buffer_days=45).n_days
    assert found.droplevel("field").to_dict() == {
        "DJF": 270,
        "MAM": 291,
        "JJA": summer,
        "SON": 272,
    }
    core = skill.describe({"fine": da}, n_days=True).n_days
    assert core.droplevel("field").to_dict() == {
        "DJF": 180,
        "MAM": 201,
        "JJA": 184 + int(end[-2:]),
        "SON": 182,
    }
    assert core.sum() == da.sizes["time"]


def test_values_of_the_days_before_a_season_count_too():
    found = skill.describe({"fine": paper_days("2007-06-01")}, quantiles=[0.5], buffer_days=45)
    winter = found.loc[("DJF", "fine")]
    # 45 days before 1 December: 17 to 31 October, and November; of two years
    months = 2 * np.array([15 * 10, 30 * 11, 31 * 12, 31 * 1, 28 * 2])
    assert winter["mean"] == pytest.approx(months.sum() / 270)
    assert (winter["min"], winter["max"]) == (1, 12)
    assert found.attrs["count"]["DJF", "fine"] == 540
    assert "n_days" not in found


def test_days_with_a_value_are_counted_each_once(fields):
    da = fields(40, "2000-02-10", seed=1)
    da[3] = np.nan
    da[7, :2] = np.nan
    regions = {"north": (-1, 6, 16, 21), "all": (-1, 6, 9, 21)}
    options = {"by": ("season", "region"), "regions": regions, "n_days": True}
    found = skill.describe({"dust": da}, **options)
    north = da.sel(lat=slice(16, 21)) if da.lat[0] < da.lat[-1] else da.sel(lat=slice(21, 16))
    for region, part in (("north", north), ("all", da)):
        known = part.notnull().any(["lat", "lon"])
        winter = known & (da.time.dt.month == 2)
        assert found.n_days[("DJF", region, "dust")] == int(winter.sum())
        assert found.n_days[("MAM", region, "dust")] == int((known & ~winter).sum())
    hours = xr.concat(
        [da.assign_coords(time=da.time + np.timedelta64(h, "h")) for h in (0, 6, 12)], "time"
    )
    shuffled = hours.isel(time=np.random.default_rng(0).permutation(hours.sizes["time"]))
    for record in (hours.sortby("time"), shuffled, shuffled.chunk(time=11)):
        other = skill.describe({"dust": record}, **options)
        assert other.n_days.to_list() == found.n_days.to_list()
    buffered = skill.describe({"dust": shuffled}, n_days=True, buffer_days=10)
    expected = skill.describe({"dust": da}, n_days=True, buffer_days=10)
    assert buffered.n_days.to_list() == expected.n_days.to_list()
    assert expected.n_days["MAM", "dust"] > found.n_days["MAM", "all", "dust"]


def test_a_buffer_that_makes_no_sense_is_refused(fields):
    for wrong in (-1, 1.5, "45"):
        with pytest.raises(OptionError, match="buffer_days"):
            skill.describe({"dust": fields()}, buffer_days=wrong)
    with pytest.raises(OptionError, match=r"have no row without seasons. Give by='season'"):
        skill.describe({"dust": fields()}, by=None, buffer_days=45)
    twice = fields(4).isel(time=[0, 0, 1, 2])
    with pytest.raises(TimeAxisError):
        skill.describe({"dust": twice}, buffer_days=45)


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
