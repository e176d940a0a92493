"""The fuzz of benchmarks/fuzz.py, for a moment; and what it makes of a process that fails."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
ANSWERS = """
import json, os, sys, time
print(json.dumps({"start": 10.0}), flush=True)
for line in sys.stdin:
    kind, number = json.loads(line)
    how = HOW if number == 1 and kind == "checkpoint" else "refused"
    if how == "died":
        os.kill(os.getpid(), 9)
    if how == "hang":
        time.sleep(60)
    peak = 400.0 if how == "peak" else 15.0
    print(json.dumps({"outcome": how, "text": "", "seconds": 0.5, "peak": peak}), flush=True)
"""


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("fuzz")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.timeout(300)
def test_hostile_files_are_refused_or_harmless(fuzz, capfd):
    words = [sys.executable, str(FOLDER / "fuzz.py"), "--child", "--seed", "3"]
    tallies = fuzz.fuzz(words, seconds=60, cases=4)
    assert fuzz.show(tallies) == 0, capfd.readouterr().out
    assert all(1 <= tally.cases <= 4 for tally in tallies.values())
    assert sum(tally.counts["refused"] for tally in tallies.values()) > 2


@pytest.mark.parametrize("how", ["foreign", "wrong", "died", "hang", "peak", "refused"])
def test_what_fails_is_counted(fuzz, how, tmp_path, capsys):
    script = tmp_path / "answers.py"
    script.write_text(f"HOW = {how!r}\n" + textwrap.dedent(ANSWERS))
    tallies = fuzz.fuzz([sys.executable, str(script)], seconds=60, cases=3, hang=1.0)
    assert {kind: tally.cases for kind, tally in tallies.items()} == dict.fromkeys(fuzz.KINDS, 3)
    assert tallies["checkpoint"].counts[how] == (3 if how == "refused" else 1)
    assert fuzz.show(tallies) == (0 if how == "refused" else 1)
    printed = capsys.readouterr().out
    assert ("FAILED checkpoint: case 1" in printed) == (how != "refused")
