"""What the library computes is what it computed when it was recorded; see `record.py`."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import xdownscale as xd

golden = runpy.run_path(str(Path(__file__).with_name("record.py")))
KNOWN = golden["read_values"]()
LONG = ("pretrained", "geostat")  # seconds: above ten


def marked(section, *more):
    marks = [pytest.mark.slow] if section in LONG else []
    return pytest.param(section, *more, marks=marks, id="/".join([section, *more]))


@pytest.mark.parametrize(
    ("section", "entry"),
    [marked(section, entry) for section, known in KNOWN["sections"].items() for entry in known],
)
def test_an_entry_is_what_was_recorded(section, entry):
    found, known = golden["compute"](section), KNOWN["sections"][section][entry]
    assert golden["difference"](found.get(entry), known, golden["is_exact"](KNOWN["header"])) == ""


@pytest.mark.parametrize("section", [marked(section) for section in golden["SECTIONS"]])
def test_nothing_is_computed_that_was_not_recorded(section):
    assert golden["compute"](section).keys() == KNOWN["sections"][section].keys()


def test_no_section_was_lost():
    assert KNOWN["sections"].keys() == golden["SECTIONS"].keys()


def test_every_kept_model_is_compared():
    assert {path.stem for path in golden["MODELS"].glob("*.xd")} == set(golden["KEPT"])


@pytest.mark.parametrize("path", sorted(golden["MODELS"].glob("*.xd")), ids=lambda path: path.stem)
def test_old_files_are_saved_again_as_they_were(path):
    """What they generate is held against the values of version 0.1.0 by the tests below."""
    assert xd.load(path).models_
    loaded = KNOWN["sections"][f"loaded_{path.stem}"]
    assert loaded["file"]["text"] == "changed: []"
    fields = [name for name in loaded if ":" in name and "hash" in loaded[name]]
    assert fields


@pytest.mark.parametrize(
    ("change", "exact", "words"),
    [
        ({}, True, ""),
        ({"hash": "0"}, False, ""),
        ({"hash": "0"}, True, "hash differs; the stored numbers by 0 "),
        ({"hash": "0", "mean": 2.1}, False, "the stored numbers differ by 0.046 "),
        ({"hash": "0", "mean": 2.0001}, False, ""),
        ({"shape": [4]}, False, r"shape is \[4\]"),
        ({"missing": 1}, False, "missing is 1"),
        ({"hash": "0", "labels": "other"}, True, "labels are 'other'"),
    ],
)
def test_what_counts_as_different(change, exact, words):
    known = golden["of_array"]([1.0, 2.0, 3.0], "(x) x 0")
    said = golden["difference"](known | change, known, exact)
    assert (said == "") if words == "" else re.match(words, said)


def test_texts_are_compared_without_their_numbers_elsewhere():
    known, found = golden["of_text"]("r2 0.81"), golden["of_text"]("r2 0.82")
    assert golden["difference"](found, known, False) == ""
    assert "recorded 'r2 0.81'" in golden["difference"](found, known, True)
    assert golden["difference"](golden["of_text"]("r 0.81"), known, False) != ""
