"""Each command in a process of its own: what it writes is what the library gives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from projected import on_plane
from records import make_pair
from xdownscale.cli._configuration import read_config

COARSE, FINE = (record.t for record in make_pair(60))
SLICE = slice("2000-02-01", "2000-03-10")


def loaded(path: Path) -> xr.Dataset:
    with xr.open_dataset(path) as ds:
        return ds.load()


@pytest.fixture(scope="module")
def model(fitted, folder) -> xd.Downscaler:
    return xd.load(folder / "model.xd")


def test_fit(fitted, folder, model):
    assert "method       dressed" in fitted.stdout
    assert "Fitting 'dressed' for t" in fitted.stderr
    expected = COARSE.downscale.fit(FINE, preset="dressed", progress=False)
    state = model.models_["all"].state
    for name, weights in expected.models_["all"].state.items():
        np.testing.assert_array_equal(state[name], weights, err_msg=name)
    assert repr(model) == fitted.stdout.rstrip("\n")


def test_fit_with_options(command, folder, tmp_path):
    (tmp_path / "run.yaml").write_text("preset: dressed\ndata:\n  fractions: [0.7, 0.1, 0.2]\n")
    FINE.isel(time=0, drop=True).rename("elevation").to_netcdf(tmp_path / "static.nc")
    done = command(
        *("fit", f"{folder}/cut/*.nc", f"{folder}/fine.nc", "-o", "m.xd", "--quiet"),
        *("--config", "run.yaml", "--set", "data.window=2", "--seed", "3"),
        *("--static", "static.nc", "--seasons", "DJF,MAM", "--regions", "west=0,5,0,12"),
        *("--regions", "east=5,10,0,12", "--variable", "t", "--driver", "t=t"),
        *("--pairing", "paired", "--outliers", "keep", "--transform", "identity"),
        where=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = xd.load(tmp_path / "m.xd")
    config = read_config(None, tmp_path / "run.yaml", [("data.window", 2)])
    assert found.config_ == config.replace(data={"transform": "identity"})
    assert found.seed == 3
    assert set(found.models_) == {"DJF.west", "DJF.east", "MAM.west", "MAM.east"}
    assert "Fitting" not in done.stderr


def test_predict_to_netcdf(maps, folder, model):
    expected = COARSE.downscale.predict(model, time=SLICE, realizations=2)
    found = loaded(folder / "maps.nc").t
    np.testing.assert_array_equal(found, expected)
    assert found.dims == expected.dims
    assert found.attrs["units"] == "K"
    assert not list(folder.glob(".maps*"))


def test_predict_to_zarr_and_go_on(command, fitted, folder, tmp_path, model):
    asked = (f"{folder}/model.xd", f"{folder}/coarse.nc", "-o", "m.zarr", "-r", "2", "-q")
    asked += ("--time", "2000-02-01", "2000-02-20", "--seed", "5", "--chunks", "time=10")
    done = command("predict", *asked, where=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = COARSE.downscale.predict(
        model, time=slice("2000-02-01", "2000-02-20"), realizations=2, seed=5
    )
    with xr.open_zarr(tmp_path / "m.zarr", consolidated=False) as ds:
        np.testing.assert_array_equal(ds.t, expected)
    again = command("predict", *asked, where=tmp_path)
    assert again.returncode == 1
    assert "m.zarr exists. Add --resume" in again.stderr
    resumed = command("predict", *asked, "--resume", where=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    other = command("predict", *asked, "--resume", "-r", "3", where=tmp_path)
    assert other.returncode == 1
    assert "number of realizations: 2 there, 3 now" in other.stderr


def test_score(command, maps, folder, tmp_path):
    asked = ("score", "maps.nc", "fine.nc", "--coarse", "coarse.nc", "--score", "rmse")
    done = command(*asked, "-o", f"{tmp_path}/skill.csv")
    assert done.returncode == 0, done.stderr
    expected = xd.skill.table(
        {"maps": loaded(folder / "maps.nc").t}, FINE, coarse=COARSE, scores=["rmse"]
    )
    found = pd.read_csv(tmp_path / "skill.csv", index_col=0)
    assert list(found.index) == list(expected.index)
    np.testing.assert_allclose(found["physical rmse"], expected["physical", "rmse"], rtol=1e-12)
    spread = expected.attrs["sd"]["physical", "rmse"]
    np.testing.assert_allclose(found["physical rmse sd"], [spread[n] for n in found.index])
    shown = command(*asked, "--by", "season")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("| season | method | physical rmse |")
    latex = command(*asked, "-o", f"{tmp_path}/skill.tex")
    assert latex.returncode == 0, latex.stderr
    assert r"\begin{tabular}" in (tmp_path / "skill.tex").read_text()


def test_report(command, maps, tmp_path):
    asked = ("maps.nc", "coarse.nc", "fine.nc", "-o", f"{tmp_path}/page.html", "--draws", "20")
    done = command("report", *asked, "--model", "model.xd")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "Against the truth" in page
    assert "The model" in page


def test_geostat(command, maps, folder, tmp_path):
    asked = ("geostat", "maps.nc", "--diagnostic", "semivariogram", "--set", "bins=8")
    done = command(*asked, "-o", f"{tmp_path}/gamma.csv", "--report", f"{tmp_path}/field.html")
    assert done.returncode == 0, done.stderr
    expected = loaded(folder / "maps.nc").t.geostat.semivariogram(bins=8)
    found = pd.read_csv(tmp_path / "gamma.csv").set_index(["realization", "lag"])
    wanted = expected.semivariance.to_series().reindex(found.index)
    np.testing.assert_allclose(found["semivariance"], wanted, rtol=1e-6)
    assert "Power spectrum" in (tmp_path / "field.html").read_text()
    whole = command("geostat", "maps.nc", "-d", "pacf", "-o", f"{tmp_path}/pacf.nc")
    assert whole.returncode == 0, whole.stderr
    np.testing.assert_allclose(
        loaded(tmp_path / "pacf.nc").pacf, loaded(folder / "maps.nc").t.geostat.pacf(), rtol=1e-6
    )
    shown = command("geostat", "maps.nc", "-d", "distribution")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"^0\.500 ", shown.stdout, re.MULTILINE)


def test_models(command, fitted, folder, tmp_path):
    asked = (f"{folder}/model.xd", "published", "--name", "tiny-1", "--licence", "CC BY 4.0")
    (tmp_path / "skill.md").write_text("| score |\n|---|\n| 0.9 |\n")
    done = command("models", "publish", *asked, "--scores", "skill.md", where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "published/tiny-1.xd\n"
    assert "| 0.9 |" in (tmp_path / "published" / "tiny-1.md").read_text()
    place = {"XDOWNSCALE_DATA_URL": str(tmp_path / "published")}
    listed = command("models", "list", **place)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["dust-twin-tiny", "tiny-1"]
    assert "CC BY 4.0" in listed.stdout
    fetched = command("models", "fetch", "tiny-1", "-o", f"{tmp_path}/mine.xd", **place)
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "mine.xd").read_bytes() == (folder / "model.xd").read_bytes()
    printed = command("models", "fetch", "tiny-1", **place).stdout.strip()
    assert Path(printed).read_bytes() == (folder / "model.xd").read_bytes()
    unknown = command("models", "fetch", "tiny-2", **place)
    assert unknown.returncode == 1
    assert "Did you mean 'tiny-1'" in unknown.stderr


def test_methods(command):
    done = command("methods")
    expected = xd.methods.available()
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(expected.index)
    assert all(line.endswith(words) for line, words in zip(lines, expected, strict=True))


def test_config(command, tmp_path):
    done = command("config", "fast", "--set", "training.epochs=5")
    assert done.returncode == 0, done.stderr
    (tmp_path / "run.yaml").write_text(done.stdout)
    found = read_config(None, tmp_path / "run.yaml", [])
    assert found == xd.preset("fast", training={"epochs": 5})
    written = command("config", "-o", f"{tmp_path}/auto.yaml")
    assert written.returncode == 0
    assert read_config(None, tmp_path / "auto.yaml", []) == xd.preset("auto")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(command, shell):
    done = command("completion", shell)
    assert done.returncode == 0, done.stderr
    assert f"_XDOWNSCALE_COMPLETE={shell}_complete" in done.stdout


def test_words_are_completed(command):
    asked = {"_XDOWNSCALE_COMPLETE": "bash_complete", "COMP_WORDS": "xdownscale pre"}
    assert command(COMP_CWORD="1", **asked).stdout == "plain,predict\n"
    asked["COMP_WORDS"] = "xdownscale fit --check"
    assert command(COMP_CWORD="2", **asked).stdout == "plain,--checkpoint-dir\n"


def test_version(command):
    assert command("--version").stdout == f"xdownscale {xd.__version__}\n"


def test_the_entry_point_is_declared():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '[project.scripts]\nxdownscale = "xdownscale.cli:main"' in text


def test_files_on_a_rotated_pole_go_through_all_commands(command, tmp_path):
    coarse, fine = (on_plane(ds, "rotated") for ds in make_pair(60))
    coarse.to_netcdf(tmp_path / "coarse.nc")
    fine.to_netcdf(tmp_path / "fine.nc")
    for words in (
        ("inspect", "coarse.nc", "fine.nc", "--preset", "dressed"),
        ("fit", "coarse.nc", "fine.nc", "-o", "m.xd", "--preset", "dressed", "--quiet"),
        ("predict", "m.xd", "coarse.nc", "-o", "maps.nc", "--time", "2000-03-01", "2000-03-05"),
        ("score", "maps.nc", "fine.nc"),
    ):
        done = command(*words, where=tmp_path)
        assert done.returncode == 0, (words, done.stderr)
    assert "maps" in done.stdout
    with xr.open_dataset(tmp_path / "maps.nc") as found:
        assert xd.grids.same_grid(found, fine)
