"""How-to pages run as they stand, on a small part of the twin; test_reports runs another."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import xdownscale as xd

PAGES = Path(__file__).parents[1] / "docs" / "howto"


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (PAGES / page).read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def names():
    """What the pages take for granted."""
    ds = xd.datasets.load_twin()
    fine = ds.dust_fine.isel(time=slice(0, 60))
    coarse = ds.dust.rename(time_coarse="time").sel(time=fine.time)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(3, *fine.shape))
    product = (fine * np.exp(xr.DataArray(noise, dims=("realization", *fine.dims)))).isel(
        time=slice(20)
    )
    ny, nx = fine.shape[1:]
    known = {"dust": fine, "maps": fine, "product": product, "coarse": coarse, "fine": fine}
    return known | {"xd": xd, "ny": ny, "nx": nx}


@pytest.mark.parametrize("page", ["semivariogram.md", "time_series.md", "kriging.md"])
def test_the_page_runs(page, names, tmp_path, monkeypatch):
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    found = blocks(page)
    assert len(found) > 0
    space = dict(names)
    for block in found:
        exec(compile(block, page, "exec"), space)
    plt.close("all")


def test_the_page_on_trained_models_runs(tmp_path, monkeypatch):
    """Load, publish and take over; the transfer on a few days and epochs."""
    monkeypatch.chdir(tmp_path)
    load, publish, transfer = blocks("pretrained.md")
    quick = "training=dict(epochs=1, mean_epochs=1), data=dict(crop=16), network="
    assert "network=" in transfer
    space: dict = {}
    exec(compile(load, "pretrained.md", "exec"), space)
    assert space["maps"].sizes["time"] == 2
    exec(compile(publish, "pretrained.md", "exec"), space)
    assert {p.suffix for p in (tmp_path / "published").iterdir()} == {".xd", ".md", ".json"}
    ds = space["ds"]
    space |= {"coarse": ds.dust, "fine": ds.dust_fine.isel(time=slice(0, 40))}
    code = transfer.replace("network=", quick).replace("encoder=xd", "progress=False, encoder=xd")
    exec(compile(code, "pretrained.md", "exec"), space)
    assert "taken over from" in repr(space["model"])
