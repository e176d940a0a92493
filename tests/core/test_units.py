"""Units: one comparison, by meaning, for fit, predict, history, scores, diagnostics and reports."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core import units
from xdownscale.core.errors import DataError


def field(text, offset=0.0):
    coords = {
        "time": pd.date_range("2001-06-01", periods=12),
        "lat": 20.0 + np.arange(8) / 2,
        "lon": 40.0 + np.arange(8) / 2,
    }
    values = 285 + offset + 10 * np.random.default_rng(0).random((12, 8, 8))
    attrs = {} if text is None else {"units": text}
    return xr.DataArray(values, coords=coords, dims=tuple(coords), name="t", attrs=attrs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kg m-2", "kg/m^2"),
        ("kg m-2 s-1", "kg.m-2.s-1"),
        ("W m**-2", "W/m2"),
        ("K", "kelvin"),
        ("degC", "degree_Celsius"),
        ("degC", "°C"),
        ("hPa", "millibar"),
        ("mm/day", "mm d-1"),
        ("J/kg", "m2 s-2"),
        ("µg m-3", "ug/m3"),
        ("g kg-1", "1e-3"),
        ("kg kg-1", "1"),
        ("%", "percent"),
        (" m  s-1 ", "m s-1"),
        ("no known unit", "no  known unit"),
        ("", ""),
        (None, "K"),
        ("", None),
    ],
)
def test_spellings_of_one_unit(one, other):
    assert units.same_units(one, other)
    assert units.same_units(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("K", "degC"),
        ("%", "1"),
        ("", "1"),
        ("", "K"),
        ("mm day-1", "mm"),
        ("mm day-1", "kg m-2 day-1"),
        ("g", "kg"),
        ("m s", "ms"),
        ("ppbv", "ppb"),
        ("log10(1)", "1"),
        ("dBZ", "1"),
        ("\x00", "'"),
        ("(0 - 1)", "1"),
        ("days since 2000-01-01", "days"),
    ],
)
def test_units_that_differ(one, other):
    assert not units.same_units(one, other)
    assert not units.same_units(other, one)


def test_absent_empty_and_one_are_told_apart():
    assert units.units_of(field(None)) is None
    assert units.units_of(field("")) == ""
    assert units.units_of(field("1")) == "1"
    assert len({units.said(text) for text in (None, "", "1")}) == 3


def test_equal_spellings_import_nothing():
    code = (
        "import sys; from xdownscale.core.units import same_units; same_units('K', 'K'); "
        "assert 'pint' not in sys.modules; same_units('K', 'kelvin'); "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def table(one, other):
    return xd.skill.table({"mine": one}, other, transform=None, baselines=None)


@pytest.mark.parametrize(
    "function",
    [
        xd.skill.rmse,
        table,
        lambda one, other: xd.geostat.wasserstein(one, other, transform=None),
        lambda one, other: xd.geostat.wasserstein(one, other, "pooled", transform=None),
        lambda one, other: xd.geostat.wasserstein(
            one, other, "pooled", transform=None, common=False
        ),
        lambda one, other: xd.geostat.compare(one, other, transform=None, max_lag=1),
        lambda one, other: xd.geostat.similarity_table(one, other, None, transform=None),
    ],
)
def test_scores_and_diagnostics_refuse_other_units_and_take_other_spellings(function):
    with pytest.raises(DataError, match=r"'degC'.*'K'"):
        function(field("degC", -273.15), field("K"))
    with pytest.raises(DataError, match=r"empty, which is not '1'"):
        function(field(""), field("1"))
    function(field("kelvin"), field("K"))
    function(field(None), field("K"))


def test_baselines_are_in_the_units_of_the_truth():
    truth = field("K")
    for given in ({"coarse": field("degC")}, {"train": field("degC")}):
        with pytest.raises(DataError, match="'degC' and the truth in 'K'"):
            xd.skill.table({"mine": truth}, truth, transform=None, **given)


@pytest.mark.parametrize("given", [b"K", np.bytes_(b"kelvin"), b"K\0"])
def test_units_in_bytes_are_those_of_their_text(given):
    assert units.same_units(given, "K")
    assert not units.same_units(given, "degC")
    bytes_, text = field(None), field("K", 1.0)
    bytes_.attrs["units"] = given
    xr.testing.assert_equal(xd.skill.rmse(bytes_, text), xd.skill.rmse(field("K"), text))
    with pytest.raises(DataError, match="degC"):
        xd.skill.rmse(bytes_, field("degC"))
    for found in (
        bytes_.geostat.distribution()["mean"],
        bytes_.geostat.lag_rmse(max_lag=1)["mean"],
        bytes_.to_dataset().geostat.acf(max_lag=1)["units"][0],
        bytes_.geostat.wasserstein(text, transform=None)["wasserstein"],
        xd.skill.rmse(bytes_, text),
    ):
        said = [found.item() if found.name == "units" else found.attrs.get("units", "K")]
        assert all(isinstance(one, str) and "b'" not in one for one in said), (found.name, said)
