"""A training that is killed at random moments ends as if it had not been."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_training_that_is_killed_twice(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    kills = importlib.import_module("kills_fit")
    monkeypatch.delitem(sys.modules, "kills_fit")
    found = kills.killed(tmp_path, 2, seed=1, epochs=8)
    assert found["ended before its kill"] < 2
    assert found["same weights, bit for bit"] == "yes"
    assert found["half-written files at the end"] == 0
    names = {path.name for path in (tmp_path / "b" / "all").iterdir()}
    stages = ("pretrain", "regress0", "regress1", "denoise")
    assert names == {f"{stage}.{kind}" for stage in stages for kind in ("pt", "csv")}
    for stage in stages:
        tables = [(tmp_path / k / "all" / f"{stage}.csv").read_text() for k in ("a", "b")]
        assert len({table.count("\n") for table in tables}) == 1
