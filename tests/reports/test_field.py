"""The page of diagnostics of a field has the numbers that `geostat` gives."""

from __future__ import annotations

import re

import pytest
import xarray as xr

from records import make_pair, make_record, random_field
from xdownscale.core.errors import DataError, GridError, OptionError, StorageError
from xdownscale.reports import field_report

TITLES = [
    "What was measured",
    "One map",
    "Semivariogram",
    "Power spectrum",
    "Autocorrelation",
    "Partial autocorrelation",
    "Likeness of successive maps",
    "Distribution",
]


def titles(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>([^<]*)", page)


def number(page: str, name: str, column: int = 0) -> float:
    row = re.search(rf'<th scope="row">{re.escape(name)}</th>(.*?)</tr>', page)[1]
    return float(re.findall("<td>([^<]*)</td>", row)[column])


def test_numbers_are_those_of_the_diagnostics(tmp_path):
    field = make_record(0.5, days=40)
    page = field_report(field, tmp_path / "field.html", transform="identity").read_text()
    assert titles(page) == TITLES
    assert page.count("<figure>") == 6
    assert "Not measured" not in page
    gamma = field.geostat.semivariogram()
    for name in ("nugget", "sill"):  # NaN where no model fits
        assert number(page, name) == pytest.approx(float(gamma[name]), rel=6e-3, nan_ok=True)
    assert number(page, "0.5") == pytest.approx(float(field.quantile(0.5)), rel=6e-3)
    assert number(page, "mean") == pytest.approx(float(field.mean()), rel=6e-3)


def test_lazy_fields_of_a_dataset(tmp_path):
    ds = make_pair(30, names=("t", "q"))[1].chunk(time=7)
    page = field_report(ds, tmp_path / "field.html").read_text()
    assert titles(page) == [f"{name}: {title}" for name in ("t", "q") for title in TITLES]
    whole = field_report(ds.load(), tmp_path / "loaded.html").read_text()
    assert page == whole


def test_ensembles_show_their_first_realization(tmp_path):
    maps = random_field(periods=8, members=3, shape=(12, 14))
    several = field_report(maps, tmp_path / "a.html").read_text()
    one = field_report(maps.isel(realization=0, drop=True), tmp_path / "b.html").read_text()
    assert several == one


def test_what_a_field_is_too_small_for_is_said(tmp_path):
    page = field_report(random_field(periods=12), tmp_path / "small.html").read_text()
    assert "Not measured: The grid has 24 cells; a semivariogram needs 100" in page
    assert titles(page) == TITLES


def test_a_map_without_time(tmp_path):
    elevation = make_record(0.5, days=1).isel(time=0, drop=True)
    page = field_report(elevation, tmp_path / "map.html").read_text()
    assert titles(page) == [t for t in TITLES if "utocorr" not in t and "Likeness" not in t]
    assert page.count("<figure>") == 3
    assert "Not measured" not in page


@pytest.mark.parametrize(
    ("field", "options", "error", "message"),
    [
        (random_field().expand_dims(level=2), {}, DataError, r"further dimensions \['level'\]"),
        (xr.DataArray([1.0], dims="x"), {}, GridError, "latitude"),
        (random_field(), {"transform": "log11"}, OptionError, "Unknown transform: 'log11'"),
        (random_field() * float("nan"), {}, DataError, "value"),
    ],
)
def test_bad_fields(field, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        field_report(field, tmp_path / "field.html", **options)
    assert not list(tmp_path.iterdir())


def test_bad_path(tmp_path):
    with pytest.raises(StorageError, match="there is no folder"):
        field_report(random_field(), tmp_path / "none" / "field.html")
