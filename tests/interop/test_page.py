"""The page on other tools runs from top to bottom, and what it says of its results holds."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "interoperability.md"


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("hvplot")
    space: dict = {}
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(found) == 10
    for block in found:
        exec(compile(block, PAGE.name, "exec"), space)
    assert space["scores"]["a"].data_vars
    np.testing.assert_allclose(space["percent"].data.magnitude, 100 * space["mapped"])
    dust = space["dust"]
    for name in ("record", "same_record"):
        assert space[name].dust.chunks is not None
        np.testing.assert_array_equal(space[name].time, dust.time)
        np.testing.assert_allclose(space[name].dust, dust)
    xr.testing.assert_allclose(space["fine_days"].dust.compute().drop_attrs(), _own(space))
    assert Path("maps.html").stat().st_size > 10_000
    assert space["stored"].sizes["realization"] == 2
    assert space["sharded"].dust_fine.encoding["chunks"] == (1, 1, 48, 64)
    assert space["sharded"].dust_fine.encoding["shards"] == (1, 3, 96, 128)
    assert Path("repository").is_dir()
    assert space["other"].get_params() == {**space["model"].get_params(), "seed": 4}


def _own(space: dict) -> xr.DataArray:
    """Return the regridded fields of the files' own record."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return space["xd"].regrid(space["dust"], space["ds"].dust_fine).drop_attrs()
