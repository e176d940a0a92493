"""docs/howto/data_sources.md runs as it stands, on small files and two countries of our own."""

from __future__ import annotations

import re
from pathlib import Path

import dask
import numpy as np
import pytest
import regionmask

import published_files as published
import xdownscale as xd

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "data_sources.md"
TEXT = PAGE.read_text("utf-8")


def blocks(text):
    """Blocks of code, without what trains or downloads."""
    found = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    lines = [[x for x in b.split("\n") if "fit(" not in x and "download=" not in x] for b in found]
    return ["\n".join(block) for block in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("page")
    coarse, fine = published.small_grid(5.0), published.small_grid(2.5)
    rng = np.random.default_rng(0)
    published.write_merra2(
        where / "merra2", "20060910", rng.random((24, 37, 72), np.float32), coarse
    )
    for time in published.g5nr_times():
        field = rng.random((73, 144), np.float32)
        published.write_g5nr(where / "g5nr" / "inst30mn_2d_aer1_Nx", "20060910", time, field, fine)
    heights = rng.integers(0, 100, (174, 360))
    published.write_gmted(where / "mn30_grd.tif", heights, -180.0, 84.0, 1.0)
    return where


def test_the_files_open(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict = {}
    with dask.config.set(scheduler="sync"):
        for block in blocks(TEXT.split("## Countries")[0]):
            exec(compile(block, PAGE, "exec"), names)
    assert names["coarse"].sizes["time"] == names["fine"].sizes["time"] == 1
    assert names["elevation"].shape == names["fine"].shape[1:]
    assert (folder / "merra2_dust.nc").is_file()
    assert not xd.grids.uncovered(names["coarse"], names["fine"]).any()


def test_the_countries_are_regions(fine, monkeypatch):
    world = regionmask.defined_regions.natural_earth_v5_0_0
    west, east = ([(x, 10), (x + 5, 10), (x + 5, 18), (x, 18)] for x in (40, 45))
    own = regionmask.Regions([west, east], names=["Saudi Arabia", "Iraq"])
    monkeypatch.setattr(type(world), "countries_110", own)  # the real ones are downloaded
    names = {"fine": fine}
    for block in blocks(TEXT.split("## Countries")[1]):
        exec(compile(block, PAGE, "exec"), names)
    assert set(xd.splits.normalise_regions(names["regions"])) == {"Saudi Arabia", "Iraq"}
    for name, mask in names["regions"].items():
        inside = xd.splits.region_mask(fine, mask)
        assert 0 < inside.sum() < inside.size
        assert names["means"][name].notnull().all()
