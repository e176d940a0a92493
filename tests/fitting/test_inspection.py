"""What `xd.inspect` finds: facts, costs, and every fault with the line of code that mends it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from records import TINY, fast_config, make_pair, make_record
from xdownscale.core.errors import DataError, TimeAxisError
from xdownscale.core.units import conversion
from xdownscale.fitting import fit as fitting

COVERED = xd.preset("fast")  # the coarse record must reach as far as the fine one
CONFIG = fast_config(training={"epochs": 1, "mean_epochs": 1, "pretrain_epochs": 1})


def pair(days=80):
    coarse, fine = make_pair(days)
    return coarse["t"], fine["t"]


def inspect(coarse, fine, **options):
    return xd.inspect(coarse, fine, **({"preset": CONFIG, "measure": False} | options))


def celsius(coarse, fine):
    return coarse, (fine - 273.15).assign_attrs(fine.attrs, units="degC")


def grams(coarse, fine):
    coarse, fine = (da.assign_attrs(units="kg kg-1") for da in (coarse, fine))
    return coarse, (1000 * fine).assign_attrs(units="g/kg")


def doubled(coarse, fine):
    return coarse, xr.concat([fine, fine.isel(time=[3, 7])], "time")


def doubled_coarse(coarse, fine):
    return xr.concat([coarse, coarse.isel(time=[3])], "time"), fine


def swapped(coarse, fine):
    return fine, coarse


def larger(coarse, fine):
    return coarse.isel(lat=slice(1, -1), lon=slice(1, None)), fine


def levels(coarse, fine):
    return coarse, fine.expand_dims(level=[850.0, 500.0])


def hourly(coarse, fine):
    coarse = coarse.resample(time="6h").ffill()
    return coarse, fine


def filled(coarse, fine):
    return coarse, fine.where(fine > fine.quantile(0.001), -9999.0)


def few(coarse, fine):
    return coarse, fine.isel(time=slice(30, 34))


MENDED = {
    "units": celsius,
    "scale": grams,
    "twice": doubled,
    "twice in the coarse record": doubled_coarse,
    "swapped": swapped,
    "not covered": larger,
    "levels": levels,
    "steps": hourly,
    "fill values": filled,
}


def mend(found, coarse, fine):
    """Run the lines of code that an inspection gives; return arguments of `inspect`."""
    scope = {"coarse": coarse, "fine": fine, "xd": xd}
    options = {}
    for code in found.faults.code:
        assert code
        if code.startswith("fit("):
            scope["coarse"], scope["fine"] = scope["fine"], scope["coarse"]
        elif code.startswith("outliers"):
            options["outliers"] = "mask"
        else:
            exec(code, scope)
    return scope["coarse"], scope["fine"], options


@pytest.mark.parametrize("name", MENDED)
def test_the_line_of_code_mends_the_fault(name):
    coarse, fine = MENDED[name](*pair())
    found = inspect(coarse, fine, preset=COVERED)
    assert not found.ok
    assert len(found.faults) == 1
    coarse, fine, options = mend(found, coarse, fine)
    after = inspect(coarse, fine, preset=COVERED, **options)
    assert after.ok, after


def test_all_faults_are_found_at_once_and_mended_at_once():
    coarse, fine = levels(*doubled(*filled(*celsius(*pair()))))
    found = inspect(coarse, fine)
    assert found.faults.check.tolist() == ["variables", "times", "values", "units"]
    coarse, fine, options = mend(found, coarse, fine)
    assert inspect(coarse, fine, **options).ok


def test_fit_names_all_faults_and_raises_the_first():
    coarse, fine = doubled(*filled(*celsius(*pair())))
    with pytest.raises(TimeAxisError) as caught:
        coarse.downscale.fit(fine, preset=CONFIG, progress=False)
    text = str(caught.value)
    assert text.startswith("The fine record has 2 duplicate times")
    assert "There is more to mend before fit" in text
    assert "2. The fine record 't' has" in text
    assert "3. The units of the coarse record" in text
    assert "fine = (fine + 273.15)" in text


def test_one_fault_is_said_as_before():
    coarse, fine = celsius(*pair())
    with pytest.raises(DataError) as caught:
        coarse.downscale.fit(fine, preset=CONFIG, progress=False)
    assert "There is more" not in str(caught.value)


def test_fit_raises_what_it_met_where_the_search_itself_fails(monkeypatch):
    def broken(*args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(fitting, "find_faults", broken)
    coarse, fine = celsius(*pair())
    with pytest.raises(DataError, match="units"):
        coarse.downscale.fit(fine, preset=CONFIG, progress=False)


def test_too_few_days_name_the_lags_that_would_do():
    coarse, fine = few(*pair())
    found = inspect(coarse, fine, preset=xd.preset("fast", data={"lags": 4}))
    assert "have 4 days in common" in found.faults.message[0]
    assert found.faults.code[0] == "preset=xd.preset(..., data=dict(lags=2))"


def test_the_facts_of_two_records():
    coarse, fine = make_record(2.0, days=60, margin=2.0), make_record(0.5, days=60)
    fine = fine.isel(time=np.delete(np.arange(60), [10, 11, 40]))
    fine = fine.where((fine.lat > 11) & (fine.lon > 41))
    found = inspect(coarse, fine)
    records = found.records
    assert records.coarse["variables"] == "dust [1]"
    assert records.coarse["times"] == "60, 2000-01-01T00:00 to 2000-02-29T00:00"
    assert (records.coarse["gaps"], records.fine["gaps"]) == ("0, 0 time steps", "2, 3 time steps")
    assert records.fine["grid"] == "16 x 20"
    # cos(14 degrees) = 0.9703, of 55.6 km
    assert records.fine["spacing"] == "0.5 x 0.5 degrees, 55.6 x 53.9 km"
    low, high = float(fine.min()), float(fine.max())
    assert records.fine["values"].startswith(f"{low:.4g} to {high:.4g}, median")
    # 68 of 320 cells: 21.25 %
    assert re.search(r"21\.[23]% missing \(21\.[23]% of the cells always\)", records.fine["values"])
    assert found.together["common time steps"] == "57"
    assert found.together["refinement"] == "4 times in each direction"
    counted = sum(
        map(
            int,
            re.findall(r"(\d+) (?:train|stopping|validation|test)", found.together["time steps"]),
        )
    )
    assert 0 < counted <= 57
    assert "cost" not in found.together


def test_the_cost_is_that_which_fit_says(capfd):
    coarse, fine = pair()
    found = inspect(coarse, fine, measure=True)
    assert re.match(
        r"pretrain \(1 epoch of \d+ updates of [\d.]+ s\), regress0", found.together["stages"]
    )
    assert re.match(r"about \d+ s of training at most on this machine", found.together["cost"])
    assert "MB of records in memory" in found.together["memory"]
    coarse.downscale.fit(fine, preset=CONFIG)
    said = re.sub(r"[\d.]+ s", "", capfd.readouterr().err)
    assert re.sub(r"[\d.]+ s", "", found.together["stages"]) in said


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("dressed", {"cost": "closed forms: seconds to minutes"}),
        (
            xd.preset("paper", **TINY),
            {"patches": "about 20 of 8 x 8 pixels, of a field of 24 x 20"},
        ),
    ],
)
def test_methods_say_their_own(preset, said):
    coarse, fine = pair()
    found = inspect(coarse, fine, preset=preset, measure=True)
    assert found.ok
    for name, text in said.items():
        assert found.together[name] == text


def test_lazy_records_stay_lazy_and_say_so():
    coarse, fine = (da.chunk(time=20) for da in pair())
    found = inspect(coarse, fine)
    assert found.ok
    assert found.records.fine["size"].endswith("read when needed")


def test_the_accessor_and_the_page():
    coarse, fine = celsius(*pair())
    found = coarse.downscale.inspect(fine, preset=CONFIG, measure=False)
    page = found._repr_html_()
    assert "<table" in page
    assert "1 fault to mend before fit:" in page
    assert "fine = (fine + 273.15)" in page
    assert repr(found).splitlines()[-1].strip().startswith("fine = (fine + 273.15)")
    assert "No fault: fit would begin." in repr(inspect(*pair()))


def test_unknown_options_are_refused():
    with pytest.raises(xd.errors.OptionError, match="preset"):
        inspect(*pair(), preset="fsat")
    with pytest.raises(xd.errors.OptionError, match="season"):
        inspect(*pair(), seasons=("XYZ",))


def test_what_is_no_record_is_a_fault():
    found = inspect(pair()[0], pd.DataFrame({"a": [1.0]}))
    assert found.faults.check.tolist() == ["variables"]
    assert "DataFrame" in found.faults.message[0]


@pytest.mark.parametrize(
    ("given", "wanted", "value", "right"),
    [
        ("degC", "K", 20.0, 293.15),
        ("degF", "degC", 212.0, 100.0),
        ("hPa", "Pa", 1013.25, 101325.0),
        ("mm", "m", 1.0, 0.001),
        ("kg m-2 s-1", "g m-2 s-1", 2.0, 2000.0),
        ("1", "%", 0.5, 50.0),
    ],
)
def test_units_are_converted_as_they_should(given, wanted, value, right):
    scale, offset = conversion(given, wanted)
    assert scale * value + offset == pytest.approx(right, rel=1e-9)


def test_units_that_cannot_be_converted():
    assert conversion("K", "m") is None
    assert conversion(None, "m") is None
    assert conversion("spam", "K") is None
