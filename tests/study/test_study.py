"""The study: resumable pieces, tables and figures of what is done, and clear refusals."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import published_files as published
import xdownscale as xd
from xdownscale.core.errors import DataError, ModelMismatchError, OptionError, XDownscaleWarning
from xdownscale.study import groups, registry, running
from xdownscale.study.records import parse_areas, read
from xdownscale.study.split import period_of

BOX = {"A0": (43.4, 45.1, 24.0, 25.4)}
SMALL = {"areas": BOX, "seasons": ("JJA",), "minutes": 0.02, "members": 2, "progress": False}
METHODS = ("fast", "asdm_day")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        return xd.study.run("twin", out=out, methods=METHODS, **SMALL)


def test_the_page_has_tables_figures_commands_and_the_papers_numbers(study):
    text = study.read_text(encoding="utf-8")
    for name in ("Table 1", "Table 2", "Table 3", "Table A1", "Figure 6", "Figure 9"):
        assert name in text
    assert "xdownscale study --data twin --areas" in text
    assert "--figure 6" in text
    assert "0.94" in text
    assert "three units" in text
    assert "http:" not in text  # nothing is fetched; images have "http" by chance
    assert "https:" not in text
    out = study.parent
    for name in ("figure2", "figure6", "figure8"):
        assert (out / f"{name}.png").stat().st_size > 5000
        assert (out / f"{name}.pdf").stat().st_size > 5000
    about = json.loads((out / "study.json").read_text())
    assert about["areas"] == {"A0": list(BOX["A0"])}
    assert about["effort"]["members"] == 2


def test_what_is_not_there_is_said(study):
    text = study.read_text(encoding="utf-8")
    assert "What is not there" in text
    assert "vae_literal" in text.split("What is not there")[-1]  # figure A1 needs it


def test_tables_hold_every_row_and_the_right_numbers(study):
    out = study.parent
    table = pd.read_csv(out / "systems.csv", index_col=0)
    assert {"fast (ensemble of 2)", "asdm_day [free-running] (one realization)"} <= {*table.index}
    assert {"ridge", "persistence", "kriging", "pointwise [free-running]"} <= {*table.index}
    assert table.loc["fast (mean of 2)", "weights"] > 1e5
    truth, _ = judged()
    fields = xr.open_dataarray(piece(out, "baselines") / rows(out, "baselines")["ridge"])
    error = np.log10(fields.values) - np.log10(truth.values)
    scores = pd.read_csv(out / "scores.csv", index_col=[0, 1, 2, 3])
    found = scores.loc[("A0", "JJA", 0, "ridge")]
    right = np.sqrt((error**2).mean((1, 2))).mean()
    assert found["log10 rmse"] == pytest.approx(right, rel=1e-5)
    per_day = [
        np.corrcoef(np.log10(a).ravel(), np.log10(b).ravel())[0, 1] ** 2
        for a, b in zip(fields.values, truth.values, strict=True)
    ]
    assert found["log10 pearson_r2"] == pytest.approx(np.mean(per_day), rel=1e-5)
    assert found["log10 pearson_r2 sd"] == pytest.approx(np.std(per_day, ddof=1), rel=1e-4)
    steps = [np.diff(np.log10(x), axis=a) for x in (fields.values, truth.values) for a in (1, 2)]
    mean = [np.mean(each**2) for each in steps]
    assert found["texture"] == pytest.approx((mean[0] + mean[1]) / (mean[2] + mean[3]), rel=1e-5)
    summary = pd.read_csv(out / "table1.csv")
    assert summary[summary.field == "fine"].n_days.item() == 184  # two summers


def judged():
    records = read("twin", BOX)
    fine = records.of("A0")
    days = period_of(fine.time, "JJA", groups.PURGE)
    return fine.sel(time=days.test), days


def piece(out, system):
    return out / "pieces" / "A0-JJA" / "seed0" / system


def rows(out, system):
    return json.loads((piece(out, system) / "done.json").read_text())["rows"]


def test_no_test_day_is_trained_on(study):
    _, days = judged()
    assert days.train.max() < days.test.min() - np.timedelta64(groups.PURGE, "D")
    for system in METHODS:
        model = xd.load(piece(study.parent, system) / "model.xd")
        assert model.split_.time.max() < days.test.min() - np.timedelta64(groups.PURGE, "D")
        assert set(model.split_.time.dt.month.values.tolist()) <= {6, 7, 8}


def test_what_is_done_is_not_trained_again(study, monkeypatch):
    def never(*args, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(running, "run_piece", never)
    before = (study.parent / "systems.csv").read_bytes()
    again = xd.study.run("twin", out=study.parent, methods=METHODS, **SMALL)
    assert again == study
    assert (study.parent / "systems.csv").read_bytes() == before
    assert "3 pieces, 3 done before" in (study.parent / "study.log").read_text()


def test_a_piece_that_fails_is_named_and_the_others_finish(study, tmp_path, monkeypatch):
    out = tmp_path / "copy"
    shutil.copytree(study.parent, out)
    shutil.rmtree(piece(out, "asdm_day"))

    def broken(piece, *args, **options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(running, "run_piece", broken)
    page = xd.study.run("twin", out=out, methods=METHODS, **SMALL)
    text = page.read_text(encoding="utf-8")
    assert "Piece A0-JJA asdm_day (seed 0)" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "fast (ensemble of 2)" in text
    log = (out / "study.log").read_text()
    assert "Traceback" in log  # the log has it whole


def test_groups_as_jobs_are_merged(study, tmp_path, monkeypatch):
    made = []

    def noted(piece, records, effort, out, *, hindcast):
        made.append(piece.group)

    monkeypatch.setattr(running, "run_piece", noted)
    options = SMALL | {"seasons": ("JJA", "SON")}
    folder = xd.study.run("twin", out=tmp_path, methods=("fast",), only="A0-SON", **options)
    assert made == ["A0-SON", "A0-SON"]
    assert not (folder / "index.html").exists()
    with pytest.raises(OptionError, match=r"group.*A0-SUN"):
        xd.study.run("twin", out=tmp_path, methods=("fast",), only="A0-SUN", **options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"minutes": 1.0}, "effort"),
        ({"members": 3}, "effort"),
        ({"areas": {"A0": (44.0, 46.0, 24.0, 26.0)}}, "area 'A0'"),
    ],
)
def test_a_folder_of_another_study_is_refused_by_name(study, change, said):
    with pytest.raises(ModelMismatchError, match=said) as caught:
        xd.study.run("twin", out=study.parent, methods=METHODS, **(SMALL | change))
    assert str(study.parent) in str(caught.value)


def test_a_figure_alone(study, tmp_path):
    path = xd.study.figure("6", study.parent)
    assert path == study.parent / "figure6.png"
    with pytest.raises(OptionError, match="figure"):
        xd.study.figure("12", study.parent)
    with pytest.raises(DataError, match="is no study"):
        xd.study.figure("6", tmp_path)
    with pytest.raises(DataError, match="vae_literal"):
        xd.study.figure("A1", study.parent)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": ("fats",)}, "system: 'fats'.*Did you mean 'fast'"),
        ({"seasons": ("XYZ",)}, "season"),
        ({"seasons": ()}, "No season"),
        ({"seeds": ()}, "one seed"),
        ({"members": 1}, "members is 1"),
        ({"areas": ("A7",)}, "area: 'A7'"),
    ],
)
def test_unknown_options_are_refused_before_any_work(tmp_path, options, said):
    with pytest.raises(OptionError, match=said):
        xd.study.run("twin", out=tmp_path / "no", **({"progress": False} | options))


def test_folders_without_files_and_small_areas_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no file in .*merra2"):
        xd.study.run(str(tmp_path), out=tmp_path / "out", progress=False)
    with pytest.raises(DataError, match="holds 2 x 2 cells"):
        read("twin", {"tiny": (44.0, 44.15, 25.0, 25.15)})


def test_files_in_the_published_layout_are_read(tmp_path):
    rng = np.random.default_rng(0)
    lat, lon = np.arange(-90, 91, 2.0), np.arange(-180, 180, 2.5)
    fine = (np.arange(20, 40.25, 0.5), np.arange(40, 60.25, 0.5))
    fields = {}
    for day in ("20060910", "20060911"):
        hourly = rng.uniform(0.1, 0.5, (24, lat.size, lon.size)).astype("f4")
        published.write_merra2(tmp_path / "merra2", day, hourly, (lat, lon))
        fields[day] = rng.uniform(0.1, 0.5, (48, fine[0].size, fine[1].size)).astype("f4")
        for time, values in zip(published.g5nr_times(), fields[day], strict=True):
            published.write_g5nr(tmp_path / "g5nr", day, time, values, fine)
    (tmp_path / "elevation").mkdir()
    heights = rng.uniform(0, 900, (360, 720))
    published.write_gmted(tmp_path / "elevation" / "mn30.tif", heights, -180.0, 90.0, 0.5)
    records = read(str(tmp_path))
    assert records.areas == {"A0": (40.0, 60.0, 20.0, 40.0)}
    assert records.fine.dims == records.coarse.dims == ("time", "lat", "lon")
    np.testing.assert_allclose(records.fine[0], fields["20060910"].mean(0), rtol=1e-5)
    assert float(records.coarse.lat.min()) < 20
    assert float(records.coarse.lon.max()) > 60
    assert records.static.shape == (41, 41)
    north = read(str(tmp_path), {"north": (40, 60, 30, 40)})
    assert north.of("north").sizes == {"time": 2, "lat": 21, "lon": 41}


@pytest.mark.slow
def test_a_study_of_files_in_the_published_layout(tmp_path, monkeypatch):
    """From files to the page: the weather of a fine grid, and its means over coarse cells."""
    fine = (np.arange(20, 32, 0.5), np.arange(40, 52, 0.5))
    lat, lon = np.arange(-90, 91, 2.0), np.arange(-180, 180, 2.5)
    y, x = np.meshgrid(np.deg2rad(lat), np.deg2rad(lon), indexing="ij")
    y_fine, x_fine = np.meshgrid(*np.deg2rad(fine), indexing="ij")

    def weather(north, east, day):
        waves = sum(np.cos(8 * k * north + 0.3 * day) * np.sin(9 * k * east + day) for k in (1, 2))
        return np.exp(0.4 * waves - 1.5).astype("f4")

    days = pd.date_range("2006-05-25", "2006-07-12")
    for number, day in enumerate(days):
        stamp = day.strftime("%Y%m%d")
        hours = np.broadcast_to(weather(y, x, number), (24, lat.size, lon.size))
        published.write_merra2(tmp_path / "data" / "merra2", stamp, hours, (lat, lon))
        if day < pd.Timestamp("2006-06-01"):
            continue
        rough = 1 + 0.2 * np.sin(40 * x_fine) * np.cos(40 * y_fine)
        values = (weather(y_fine, x_fine, number) * rough).astype("f4")
        times = published.g5nr_times("tavg01hr_2d_aer1_Nx")
        for time in times:
            written = {"collection": "tavg01hr_2d_aer1_Nx"}
            folder = tmp_path / "data" / "g5nr"
            published.write_g5nr(folder, stamp, time, values, fine, **written)
    small = SMALL | {"areas": None, "methods": ("asdm_day",)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        page = xd.study.run(str(tmp_path / "data"), out=tmp_path / "out", **small)
    about = json.loads((page.parent / "study.json").read_text())
    assert about["areas"] == {"A0": [40.0, 51.5, 20.0, 31.5]}
    rows = pd.read_csv(page.parent / "systems.csv", index_col="row")["r2"]
    assert rows["ridge"] > rows["bicubic"] > 0.5
    assert "MERRA-2 and G5NR files" in page.read_text(encoding="utf-8")
    kept = sorted(tmp_path.glob("out/records/*"))
    assert [path.suffix for path in kept] == [".nc", ".nc"]
    with monkeypatch.context() as patch:  # the files are read once
        patch.setattr("xdownscale.datasets.open_g5nr", None)
        patch.setattr("xdownscale.datasets.open_merra2", None)
        assert xd.study.run(str(tmp_path / "data"), out=tmp_path / "out", **small) == page


def test_areas_are_read_from_text():
    assert parse_areas("a=1,2,3,4;b=5,6,7,8") == {"a": (1, 2, 3, 4), "b": (5, 6, 7, 8)}
    with pytest.raises(OptionError, match=r"'a=1,2,3' is no area"):
        parse_areas("a=1,2,3")


def test_each_literal_system_stands_beside_its_control():
    known = registry.SYSTEMS
    assert {"vae_literal", "vdm", "asdm"} <= {n for n, s in known.items() if s.literal}
    for name, system in known.items():
        if system.literal:
            assert system.control in known, name
        registry.config_of(name, 1.0)  # every configuration is valid
