"""Every block of docs/howto/protocols.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "protocols.md"


@pytest.mark.filterwarnings("ignore:The record has")
def test_the_page_runs(capsys):
    mpl.use("agg")
    text = PAGE.read_text("utf-8")
    space: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), space)
    plt.close("all")
    shown = capsys.readouterr().out
    assert "| season | index | truth | prediction |" in shown
    assert space["maps"].SDII.dims == ("season", "lat", "lon")
    assert np.isfinite(space["found"].indices.loc[("JJA", "SDII"), "ratio"])
    assert space["judged"].change.shape[1] == 6
    assert space["verdict"].p_value < 0.05


def test_the_page_names_every_index_of_the_protocols():
    from xdownscale.skill._indices import PROTOCOLS

    text = PAGE.read_text("utf-8")
    for names in (PROTOCOLS["value"], PROTOCOLS["cordex-ml"]):
        assert not [n for n in names if f"`{n}`" not in text and n not in ("AC2",)]
