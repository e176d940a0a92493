"""Climate indices against loops over days, SciPy, and values that xclim 0.62 gave."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import xdownscale as xd
from xdownscale.core.errors import DataError, OptionError, TimeAxisError, XDownscaleWarning
from xdownscale.skill import indices
from xdownscale.skill._index_kernels import gev_quantile, l_moments, spells
from xdownscale.skill._indices import INDICES, PROTOCOLS

RAIN = [name for name, index in INDICES.items() if index.kind != "temperature"]
WARM = [name for name, index in INDICES.items() if index.kind != "precipitation"]


def record(kind: str = "pr", start: str = "2000-01-01", end: str = "2009-12-31") -> xr.DataArray:
    """Return ten years of daily rain in mm or of temperatures in K, from a fixed seed."""
    time = xr.date_range(start, end)
    rng = np.random.default_rng(5)
    day = np.arange(time.size)
    shape = (time.size, 2, 2)
    if kind == "pr":
        values = np.round(rng.gamma(0.5, 8, size=shape) * (rng.random(shape) < 0.4), 1)
    else:
        cycle = 15 + 12 * np.sin(2 * np.pi * (day - 110) / 365.25)
        values = np.round(cycle[:, None, None] + 4 * rng.normal(size=shape), 1) + 273.15
    return xr.DataArray(
        values,
        coords={"time": time, "lat": [40.0, 41.0], "lon": [0.0, 1.0]},
        name=kind,
        attrs={"units": "mm day-1" if kind == "pr" else "K"},
    )


def gappy(da: xr.DataArray) -> xr.DataArray:
    """Leave out days of the record, and values of the days that are left."""
    rng = np.random.default_rng(1)
    kept = np.sort(rng.permutation(da.sizes["time"])[: int(0.98 * da.sizes["time"])])
    found = da.isel(time=kept)
    found = found.where(rng.random(found.shape) > 0.01)
    found[:, 1, 1] = np.nan
    return found


# --- a second answer to every index, day by day -------------------------------------------------


class Loop:
    """Indices of one cell, day by day, with dictionaries and no array arithmetic."""

    def __init__(self, values, dates, months=tuple(range(1, 13)), early=()):
        chosen = [(d, v) for d, v in zip(dates, values, strict=True) if d.month in months]
        self.by_day = {d.toordinal(): v for d, v in chosen if not np.isnan(v)}
        self.all_days = [d for d, _ in chosen]
        self.dates = {d.toordinal(): d for d in self.all_days}
        self.values = np.array(list(self.by_day.values()))
        self.months = months
        self.early = early

    def year(self, day: int) -> int:
        date = self.dates[day]
        return date.year + (date.month in self.early)

    def years(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for day in self.by_day:
            found.setdefault(self.year(day), []).append(day)
        return {y: days for y, days in found.items() if len(days) >= np.ceil(0.9 * self.length(y))}

    def length(self, year: int) -> int:
        return sum(
            pd.Period(f"{year - (m in self.early)}-{m:02d}").days_in_month for m in self.months
        )

    def pairs(self, lag: int):
        return [(v, self.by_day[d + lag]) for d, v in self.by_day.items() if d + lag in self.by_day]

    def spells(self, wet: bool, split_years: bool = False) -> list[tuple[int, int]]:
        found = []
        for day, value in self.by_day.items():
            if (value >= 1) != wet:
                continue
            before = self.by_day.get(day - 1)
            goes_on = before is not None and (before >= 1) == wet
            if goes_on and split_years:
                goes_on = self.year(day) == self.year(day - 1)
            if goes_on:
                year, length = found.pop()
                found.append((year, length + 1))
            else:
                found.append((self.year(day), 1))
        return found

    def longest(self, wet: bool) -> float:
        longest = [
            max((n for y, n in self.spells(wet, True) if y == year), default=0)
            for year in self.years()
        ]
        return float(np.mean(longest))

    def yearly(self, how):
        return [how([self.by_day[d] for d in days]) for days in self.years().values()]

    def acf(self, lag: int) -> float:
        m = self.values.mean()
        pairs = self.pairs(lag)
        total = sum((a - m) * (b - m) for a, b in pairs) / (len(pairs) + lag)
        return total / np.mean((self.values - m) ** 2)

    def transition(self, wet: bool) -> float:
        after = [b >= 1 for a, b in self.pairs(1) if (a >= 1) == wet]
        return float(np.mean(after))

    def index(self, name: str) -> float:
        x = self.values
        wet = x[x >= 1]
        table = {
            "Mean": lambda: x.mean(),
            "Var": lambda: x.var(ddof=1),
            "Skewness": lambda: stats.skew(x) * ((x.size - 1) / x.size) ** 1.5,
            "P02": lambda: np.quantile(x, 0.02),
            "P98": lambda: np.quantile(x, 0.98),
            "P98Wet": lambda: np.quantile(wet, 0.98),
            "SDII": lambda: wet.mean(),
            "R01": lambda: np.mean(x >= 1),
            "R10": lambda: np.mean(x >= 10),
            "R20": lambda: np.mean(x >= 20),
            "AC1": lambda: self.acf(1),
            "AC2": lambda: self.acf(2),
            "AC3": lambda: self.acf(3),
            "lag1": lambda: np.corrcoef(np.array(self.pairs(1)).T)[0, 1],
            "WWProb": lambda: self.transition(True),
            "DWProb": lambda: self.transition(False),
            "WWProb_joint": lambda: np.mean([a >= 1 and b >= 1 for a, b in self.pairs(1)]),
            "DWProb_joint": lambda: np.mean([a < 1 and b >= 1 for a, b in self.pairs(1)]),
            "WetSpellMean": lambda: np.mean([n for _, n in self.spells(True)]),
            "DrySpellMean": lambda: np.mean([n for _, n in self.spells(False)]),
            "WetSpellP90": lambda: np.quantile([n for _, n in self.spells(True)], 0.9),
            "DrySpellP90": lambda: np.quantile([n for _, n in self.spells(False)], 0.9),
            "CDD": lambda: self.longest(False),
            "CWD": lambda: self.longest(True),
            "Rx1day": lambda: np.mean(self.yearly(max)),
            "TXx": lambda: np.mean(self.yearly(max)),
            "TXn": lambda: np.mean(self.yearly(min)),
            "SU": lambda: np.mean(self.yearly(lambda v: sum(each > 25 for each in v))),
            "SU300K": lambda: np.mean(self.yearly(lambda v: sum(each > 26.85 for each in v))),
            "interannual_sd": lambda: np.std(self.yearly(np.mean)),
            "VarY": lambda: np.var(self.yearly(np.mean), ddof=1),
            "Trend": lambda: np.polyfit(list(self.years()), self.yearly(np.mean), 1)[0],
            "AnnualCycleAmp": lambda: np.ptp(list(self.cycle().values())),
        }
        return float(table[name]())

    def cycle(self):
        found: dict[tuple[int, int], list[float]] = {}
        for day, value in self.by_day.items():
            date = self.dates[day]
            found.setdefault((date.month, date.day), []).append(value)
        found.pop((2, 29), None)
        return {place: np.mean(values) for place, values in found.items()}


LOOPED = [n for n in INDICES if not n.endswith("_joined") and not n.startswith("RV20")]
LOOPED = [n for n in LOOPED if n not in ("AnnualCyclePhase", "AnnualCycleAmp_filtered")]


@pytest.mark.parametrize("season", ["year", "DJF", "JJA"])
@pytest.mark.parametrize("kind", ["pr", "tasmax"])
def test_every_index_of_a_record_with_gaps_is_that_of_a_loop_over_its_days(kind, season):
    da = gappy(record(kind, end="2004-03-15"))
    of = {"pr": "precipitation", "tasmax": "temperature"}[kind]
    names = [n for n in LOOPED if INDICES[n].kind in ("any", of)]
    if season != "year":
        names = [n for n in names if not INDICES[n].cycle]
    months = {"year": tuple(range(1, 13)), "DJF": (12, 1, 2), "JJA": (6, 7, 8)}[season]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        found = indices(da, names, by=None if season == "year" else "season")
    if season != "year":
        found = found.sel(season=season)
    values = da.values if kind == "pr" else da.values - 273.15
    dates = da.indexes["time"]
    early = (12,) if season == "DJF" else ()
    for y, x in ((0, 0), (0, 1), (1, 0)):
        loop = Loop(values[:, y, x], dates, months, early)
        for name in names:
            assert found[name].values[y, x] == pytest.approx(loop.index(name), rel=1e-9), name
    assert all(np.isnan(found[name].values[1, 1]) for name in names)
    assert found.days.values[1, 1] == 0
    assert found.days.values[0, 0] == loop_count(values[:, 0, 0], dates, months)


def loop_count(values, dates, months):
    return sum(not np.isnan(v) and d.month in months for d, v in zip(dates, values, strict=True))


# --- xclim 0.62 computed these, of `record()` -------------

XCLIM = {
    "Rx1day": [37.13, 32.66, 31.72, 30.04],
    "CDD": [16.8, 18.9, 17.5, 19.1],
    "CWD": [4.0, 3.9, 4.2, 3.8],
    "SU": [63.0, 65.4, 62.5, 64.9],
    "TXx": [36.13, 35.81, 36.43, 36.13],
    "TXn": [-6.45, -5.73, -6.02, -6.2],
}
XCLIM_WINTER = {
    "CDD": [12.0, 128 / 9, 128 / 9, 97 / 9],
    "CWD": [28 / 9, 25 / 9, 10 / 3, 3.0],
    "Rx1day": [233.8 / 9, 196.8 / 9, 204.5 / 9, 21.0],
}


@pytest.mark.parametrize("name", XCLIM)
def test_annual_indices_are_those_of_xclim(name):
    da = record("pr" if INDICES[name].kind == "precipitation" else "tasmax")
    np.testing.assert_allclose(indices(da, name)[name].values.ravel(), XCLIM[name], rtol=1e-12)


@pytest.mark.parametrize("name", XCLIM_WINTER)
def test_winters_are_those_of_xclim_with_whole_winters_from_december_on(name):
    found = indices(record(), [name], by="season")[name].sel(season="DJF")
    np.testing.assert_allclose(found.values.ravel(), XCLIM_WINTER[name], rtol=1e-12)


# --- what joins, and what does not ---------------------------------------------------------------


def test_lag1_does_not_join_the_winters_of_different_years_and_lag1_joined_does():
    da = record("tasmax", end="2002-12-31")
    winter = da.where(da.time.dt.month.isin([12, 1, 2]), drop=True)
    found = indices(da, ["lag1", "lag1_joined"], by="season").sel(season="DJF")
    joined = xr.corr(winter, winter.shift(time=1), dim="time")  # as the benchmark's code does
    np.testing.assert_allclose(found.lag1_joined, joined, rtol=1e-12)
    apart = np.diff(winter.time.values) == np.timedelta64(1, "D")
    x = winter.values[:, 0, 0]
    right = np.corrcoef(x[:-1][apart], x[1:][apart])[0, 1]
    assert found.lag1.values[0, 0] == pytest.approx(right, rel=1e-12)
    assert abs(found.lag1 - found.lag1_joined).min() > 1e-4


def test_indices_of_the_benchmarks_code_are_what_its_recipe_gives():
    """Written from its description: filter the season, then calendar years, whole or not."""
    da = record("pr", end="2003-12-31")
    winter = da.where(da.time.dt.month.isin([12, 1, 2]), drop=True)
    found = indices(da, "cordex-ml-code", by="season").sel(season="DJF")
    years = winter.groupby("time.year")
    np.testing.assert_allclose(found.Rx1day_joined, years.max().mean("year"))
    np.testing.assert_allclose(found.interannual_sd_joined, years.mean().std("year"))
    for name, wet in (("CDD_joined", False), ("CWD_joined", True)):
        longest = [
            max(spells((part.values[None, :, 0, 0] >= 1) == wet, np.zeros(0, int))[2])
            for _, part in years
        ]
        assert found[name].values[0, 0] == np.mean(longest)
    hot = record("tasmax", end="2003-12-31")
    summer = hot.where(hot.time.dt.month.isin([6, 7, 8]), drop=True)
    found = indices(hot, "cordex-ml-code", by="season").sel(season="JJA")
    counted = (summer > 300.0).groupby("time.year").sum("time").mean("year")
    np.testing.assert_allclose(found.SU300K_joined, counted)


def test_a_dry_spell_does_not_run_from_february_to_december():
    time = xr.date_range("2000-01-01", "2003-12-31")
    da = xr.DataArray(
        np.where(time.month.isin([12, 1, 2]), 0.0, 5.0)[:, None, None],
        coords={"time": time, "lat": [0.0], "lon": [0.0]},
        attrs={"units": "mm day-1"},
    )
    found = indices(da, ["CDD", "CDD_joined"], by="season").sel(season="DJF")
    assert found.CDD.item() == 90  # 2001 to 2003; the first winter has no December
    assert found.CDD_joined.item() == np.mean([91, 90, 90, 90])


def test_spells_by_hand():
    wet = np.array([[1, 1, 0, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0]], bool)
    row, first, length = spells(wet, np.array([5]))
    assert row.tolist() == [0, 0, 0, 0]
    assert first.tolist() == [0, 3, 5, 7]
    assert length.tolist() == [2, 2, 1, 1]


# --- annual cycle, trend, return values ----------------------------------------------------------


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
@pytest.mark.parametrize("peak", [10, 200, 355])
def test_amplitude_and_phase_of_a_cosine(calendar, peak):
    time = xr.date_range("2000-01-01", periods=4 * 366, calendar=calendar, use_cftime=True)
    period = 360 if calendar == "360_day" else 365
    length = {"standard": 365.25, "noleap": 365, "360_day": 360}[calendar]
    day = np.arange(time.size)
    wave = 3 * np.cos(2 * np.pi * (day - (peak - 1)) / length) + 7
    da = xr.DataArray(wave[:, None, None], coords={"time": time, "lat": [0.0], "lon": [0.0]})
    found = indices(da.assign_attrs(units="K"), ["AnnualCycleAmp", "AnnualCyclePhase"])
    filtered = indices(da.assign_attrs(units="K"), "AnnualCycleAmp_filtered")
    assert found.AnnualCycleAmp.item() == pytest.approx(6, abs=2e-3)
    assert filtered.AnnualCycleAmp_filtered.item() == pytest.approx(6, abs=2e-3)
    assert abs(found.AnnualCyclePhase.item() - peak) <= 1
    assert found.AnnualCyclePhase.attrs["period"] == period


def test_phases_are_averaged_round_the_year():
    time = xr.date_range("2001-01-01", "2004-12-31", calendar="noleap", use_cftime=True)
    day = np.arange(time.size)[:, None, None]
    peaks = np.array([[364.0, 4.0]])
    da = xr.DataArray(
        np.cos(2 * np.pi * (day - (peaks - 1)) / 365),
        coords={"time": time, "lat": [0.0], "lon": [0.0, 1.0]},
    )
    found = indices(da, ["AnnualCyclePhase"], by="region", regions={"all of it": (0, 1, 0, 0)})
    assert found.AnnualCyclePhase.sel(region="all of it").item() == pytest.approx(1.5, abs=1e-6)


def test_a_trend_of_half_a_degree_a_year():
    time = xr.date_range("2001-01-01", "2010-12-31")
    values = 0.5 * (time.year.values - 2001.0)
    da = xr.DataArray(values[:, None, None], coords={"time": time, "lat": [0.0], "lon": [0.0]})
    found = indices(da.assign_attrs(units="K"), ["Trend", "VarY", "interannual_sd"])
    assert found.Trend.item() == pytest.approx(0.5)
    assert found.Trend.attrs["units"] == "degC year-1"
    assert found.VarY.item() == pytest.approx(np.var(0.5 * np.arange(10), ddof=1))
    assert found.interannual_sd.item() == pytest.approx(np.std(0.5 * np.arange(10)))


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.15])
def test_the_return_value_of_a_large_sample_is_that_of_its_distribution(shape):
    law = stats.genextreme(c=-shape, loc=30.0, scale=8.0)
    maxima = law.rvs(size=(1, 200_000), random_state=3)
    assert gev_quantile(maxima, 0.95)[0] == pytest.approx(law.ppf(0.95), rel=5e-3)


def test_l_moments_by_hand():
    """Of 1 to 10: the mean 5.5, half Gini's mean difference 11/6, and no skewness."""
    first, second, third = l_moments(np.append(np.arange(1.0, 11), np.nan)[None])
    assert (first[0], round(second[0], 12)) == (5.5, round(11 / 6, 12))
    assert third[0] == pytest.approx(0, abs=1e-12)


def test_too_few_years_give_no_return_value_and_say_so():
    da = record(end="2008-12-31")
    with pytest.warns(XDownscaleWarning, match=r"9 whole years.*RV20_max.*10 years"):
        found = indices(da, ["Mean", "RV20_max"])
    assert np.isnan(found.RV20_max).all()
    assert np.isfinite(found.Mean).all()
    assert np.isfinite(indices(record(), ["RV20_max"]).RV20_max).all()


def test_minima_are_maxima_turned_over():
    da = record("tasmax")
    lowest = indices(da, "RV20_min").RV20_min
    turned = indices((-(da - 273.15) + 273.15).assign_attrs(units="K"), "RV20_max").RV20_max
    np.testing.assert_allclose(lowest, -turned, atol=1e-9)


# --- units, laziness, orientation, errors --------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "factor"),
    [("mm", 1), ("kg m-2 s-1", 1 / 86400), ("m", 1e-3), ("kg/m^2", 1), ("m day-1", 1e-3)],
)
def test_rain_in_other_units_gives_the_same_indices(units, factor):
    names = [n for n in PROTOCOLS["value"] if n != "RV20_max"]
    right = indices(record(end="2003-12-31"), names)
    da = (record(end="2003-12-31") * factor).round(12).assign_attrs(units=units)
    xr.testing.assert_allclose(indices(da.rename("pr"), names), right, rtol=1e-6)


def test_kelvin_and_celsius_give_the_same():
    da = record("tasmax", end="2003-12-31")
    celsius = (da - 273.15).assign_attrs(units="degC")
    found = indices(celsius, "cordex-ml")
    xr.testing.assert_allclose(found, indices(da, "cordex-ml"))
    assert found.TXx.attrs["units"] == "degC"
    assert "SDII (is of precipitation)" in found.attrs["left_out"]


@pytest.mark.parametrize("units", ["kg m-3", None, ""])
def test_an_index_of_rain_of_something_else_is_an_error(units):
    da = record()
    da.attrs = {} if units is None else {"units": units}
    with pytest.raises(DataError, match=r"R01.*precipitation.*mm day-1.*attrs\['units'\]"):
        indices(da, ["R01", "Mean"])
    with pytest.raises(DataError, match=r"SU.*temperature"):
        indices(da, "SU")


def test_a_mass_is_rain_only_where_a_name_says_so():
    da = record(end="2001-12-31").assign_attrs(units="kg m-2").rename("dust")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        assert "R01" not in indices(da, "value")
        assert "R01" in indices(da, "value", kind="precipitation")
        assert "R01" in indices(da.rename("tp"), "value")
        assert "R01" in indices(da.assign_attrs(standard_name="precipitation_amount"), "value")


def test_lazy_records_stay_lazy_and_give_the_same():
    da = gappy(record(end="2003-12-31"))
    names = [n for n in RAIN if not n.startswith("RV20")]
    lazy = indices(da.chunk(time=100, lat=1), names)
    assert all(lazy[name].chunks is not None for name in names)
    xr.testing.assert_allclose(lazy.load(), indices(da, names), rtol=1e-12)


@pytest.mark.parametrize("by", [None, "season", ("season", "region")])
def test_order_orientation_and_float32_do_not_matter(by):
    da = record("tasmax", end="2002-12-31")
    turned = da.astype("float32").transpose("lon", "time", "lat").isel(lat=slice(None, None, -1))
    turned = turned.rename(lat="latitude", time="valid_time")
    boxes = {"west": (-0.5, 0.5, 39, 42)} if by and "region" in by else None
    names = [n for n in WARM if INDICES[n].years < 3 and not (by and INDICES[n].cycle)]
    one = indices(da, names, by=by, regions=boxes)
    other = indices(turned, names, by=by, regions=boxes)
    if not boxes:
        other = other.rename(latitude="lat").isel(lat=slice(None, None, -1))
    loose = dict.fromkeys(("AnnualCyclePhase",), 0.001)
    for name in names:
        kept = [d for d in one[name].dims if d in ("season", "region", "lat", "lon")]
        np.testing.assert_allclose(
            other[name].transpose(*kept),
            one[name].transpose(*kept),
            rtol=loose.get(name, 2e-4),
            atol=2e-3,
            err_msg=name,
        )


def test_regions_are_area_means_of_the_maps():
    da = record(end="2002-12-31")
    found = indices(da, ["Mean"], by="region", regions={"east": (0.5, 1.5, 39, 42)})
    east = indices(da, ["Mean"]).Mean.isel(lon=1)
    weights = xd.grids.area(da.isel(time=0)).isel(lon=1)
    assert found.Mean.sel(region="east").item() == pytest.approx(
        east.weighted(weights).mean().item()
    )


def test_further_dimensions_are_kept():
    da = record(end="2001-12-31")
    both = xr.concat([da, 2 * da], dim="realization")
    found = indices(both, ["SDII", "Mean"])
    np.testing.assert_allclose(found.Mean.isel(realization=1), 2 * indices(da, "Mean").Mean)


def test_errors_name_what_is_wrong():
    da = record(end="2001-12-31")
    with pytest.raises(OptionError, match="cordex-ml"):
        indices(da, "cordex-mlx")
    with pytest.raises(OptionError, match="R01"):
        indices(da, ["R1"])
    with pytest.raises(OptionError, match="No index"):
        indices(da, [])
    with pytest.raises(OptionError, match=r"AnnualCyclePhase.*all days of the year"):
        indices(da, ["AnnualCyclePhase"], by="season")
    with pytest.raises(OptionError, match="kind of record"):
        indices(da, kind="rain")
    with pytest.raises(DataError, match="kind='temperature'"):
        indices(da, kind="temperature")
    six = da.assign_coords(time=xr.date_range("2000-01-01", periods=da.sizes["time"], freq="6h"))
    with pytest.raises(TimeAxisError, match=r"6 hours.*daily"):
        indices(six)
    weekly = da.isel(time=slice(None, None, 7))
    with pytest.raises(TimeAxisError, match="7 days"):
        indices(weekly)
    with pytest.raises(OptionError, match=re.escape("['JJA']")):
        indices(da.isel(time=slice(0, 31)), ["Mean"], by="season", seasons=["JJA"])


def test_dry_cells_have_no_wet_mean_and_spells_of_length_0():
    da = record(end="2001-12-31") * 0
    found = indices(da.assign_attrs(units="mm"), ["SDII", "R01", "WetSpellP90", "CWD", "WWProb"])
    assert np.isnan(found.SDII).all()
    assert np.isnan(found.WWProb).all()
    assert (found.R01 == 0).all()
    assert (found.WetSpellP90 == 0).all()
    assert (found.CWD == 0).all()
