"""Every block of docs/howto/scores.md runs, and says what the page says."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "scores.md"


def test_the_page_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    found = names["found"]
    assert found.index.names == ["season", "region", "method"]
    rows = list(found.index.get_level_values("method").unique())
    assert rows == [
        "lagged (mean of 4)",
        "lagged (one realization)",
        "lagged (ensemble of 4)",
        "bicubic",
        "bilinear + bias",
        "ridge",
        "climatology",
        "persistence",
        "dressed (mean of 24)",
        "dressed (one realization)",
        "dressed (ensemble of 24)",
        "analogues (mean of 24)",
        "analogues (one realization)",
        "analogues (ensemble of 24)",
    ]
    fields = [row for row in rows if "ensemble" not in row]
    assert found.loc[(slice(None), slice(None), fields), ("log10", "r2")].notna().all()
    printed = capsys.readouterr().out
    assert "| season | region | method | log10 r2 |" in printed
    assert re.search(r"\| bicubic \| -?0\.\d+ \(0\.\d+\)", printed)
    assert "Not in the table: bicubic (give coarse=" in printed
    assert list(names["short"].attrs["left_out"])[:2] == ["bicubic", "climatology"]
    assert list(names["against"].index) == list(found.index)
    best = names["against"].best
    assert set(best) <= {"dressed (ensemble of 24)", "analogues (ensemble of 24)"}
    assert "vs best log10 crps" in printed
    assert set(names["strong"].sizes) >= {"realization"}
    assert "| season | field | mean | sd | min | p25 | p50 | p75 | max |" in printed


def test_the_page_names_every_score():
    from xdownscale import skill

    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in skill.__all__ if not re.search(rf"\b{name}\b", text)] == []
