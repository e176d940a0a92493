"""How-to pages run as they stand, on a small part of the twin; test_reports runs another."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from projected import on_plane
from records import fitted, make_pair, make_record, tiny_config
from xdownscale.core.errors import DataError, XDownscaleWarning

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


def section(page, heading):
    """Return the code of one section of a page."""
    text = (PAGES / page).read_text("utf-8")
    body = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", body, re.DOTALL))


def test_the_section_on_values_that_cannot_be_right_runs():
    fine = make_record(0.25, 40)
    values = fine.values.copy()
    values[3, 2, 1] = -9999.0
    space = {"coarse": make_record(1.0, 60, margin=1), "fine": fine.copy(data=values)}
    with pytest.raises(DataError, match=r"-9999 .*2000-01-04.*outliers='mask'"):
        xd.fit(space["coarse"], space["fine"], preset="dressed", progress=False)
    masked, kept = section("fit_and_predict.md", "Values that cannot be right").strip().split("\n")
    exec(compile(masked, "fit_and_predict.md", "exec"), space)
    assert float(xd.predict(space["coarse"], space["model"]).min()) > -1
    exec(compile(kept, "fit_and_predict.md", "exec"), space)
    assert space["model"].outliers == "keep"


def test_the_section_on_the_ends_of_a_record_runs():
    coarse = make_pair(60)[0].t
    space = {"coarse": coarse, "xd": xd, "model": fitted("fast")}
    code = section("fit_and_predict.md", "The first and the last days of a record")
    exec(compile(code, "fit_and_predict.md", "exec"), space)
    assert space["config"].data.missing_ends == 0.1
    assert space["newest"].time.values == coarse.time.values[-1]
    assert bool(np.isfinite(space["newest"]).all())
    first = xd.predict(coarse, xd.fit(*(r.t for r in make_pair(60)), preset="dressed"))
    assert first.time.values[0] == coarse.time.values[1]  # as the section says


def test_the_sections_on_grids_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predictors, regional = (on_plane(ds, "lambert") for ds in make_pair(60))
    text = (PAGES / "fit_and_predict.md").read_text("utf-8")
    part = text.split("\n## Projected and curvilinear grids\n")[1].split("\n## ")[0]
    first, second = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    config = tiny_config("unet")
    space = {"xd": xd, "predictors": predictors, "regional": regional, "config": config}
    height = xd.grids.with_positions(regional).lat.rename("height")
    space |= {"elevation": height.assign_coords(crs=regional.crs)}
    given = "xd.fit(predictors, regional, static=elevation, preset=config, progress=False)"
    code = first.replace("xd.fit(predictors, regional)", given)
    assert given in code
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        exec(compile(code, "fit_and_predict.md", "exec"), space)
        space |= {"coarse_grid": predictors, "fine_grid": regional, "predictors_there": predictors}
        exec(compile(second, "fit_and_predict.md", "exec"), space)
    with xr.open_dataset(tmp_path / "maps.nc") as found:
        assert xd.grids.same_grid(found, regional)
    assert xd.grids.same_grid(space["maps"], regional)
