"""The report: its intervals are honest, its page stands on its own, and a browser shows it."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from projected import on_plane
from records import make_pair
from xdownscale.core.errors import (
    DataError,
    GridError,
    MissingPackageError,
    OptionError,
    StorageError,
    TimeAxisError,
)
from xdownscale.core.resampling import mean, resampled_means
from xdownscale.reports import _curves, _page, _sections, evidence, report
from xdownscale.reports._curves import DIAGNOSTICS, scope_of
from xdownscale.reports._evidence import judge, sentence, verdict
from xdownscale.reports._intervals import interval
from xdownscale.reports._records import days_of, gather

ROOT = Path(__file__).parents[2]
DRAWS = 20
JUDGED = slice("2005-11-15", "2005-12-15")


@pytest.fixture(scope="module", autouse=True)
def _no_window():
    mpl.use("agg")


@pytest.fixture(autouse=True)
def _few_fits(monkeypatch):
    """A model is fitted to few draws: nothing here asks how wide the interval of a fit is."""
    monkeypatch.setattr(_curves, "_FITS", 4)


@pytest.fixture(scope="module")
def twin() -> xr.Dataset:
    """Two autumns of the twin, and three years of the coarse record."""
    ds = xd.datasets.load_twin().sel(time_coarse=slice("2003", "2005"))
    fine = ds.dust_fine.sel(time=ds.dust_fine.time.dt.month >= 11)
    return ds.drop_dims("time").assign(dust_fine=fine)


@pytest.fixture(scope="module")
def smooth(twin) -> xr.DataArray:
    """Bicubic interpolation, as if it were somebody's product."""
    days = twin.dust_fine.time.sel(time=JUDGED)
    return xd.baselines.interpolate(twin.dust, twin.dust_fine, time=days)


@pytest.fixture(scope="module")
def given(twin, smooth) -> tuple[xr.DataArray, ...]:
    """What the page is made of: an ensemble, and both records."""
    ensemble = xr.concat([smooth, 1.1 * smooth], dim="realization")
    ensemble.attrs |= {"history": "<b>made</b> & drawn", "units": "1"}
    return ensemble, twin.dust, twin.dust_fine


@pytest.fixture(scope="module")
def given_before(given) -> list[xr.DataArray]:
    return [da.copy(deep=True) for da in given]


@pytest.fixture(scope="module")
def page(given, given_before, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    model = xd.Downscaler(preset="paper", seed=7)
    return report(*given, path, model=model, draws=DRAWS)


# intervals


def test_mean_leaves_nan_out():
    per_day = np.array([[1.0, np.nan], [3.0, np.nan]])
    np.testing.assert_array_equal(mean(per_day), [2.0, np.nan])


def test_draws_of_whole_length_one_are_days():
    per_day = np.arange(5.0)[:, None]
    draws = resampled_means(per_day, length=1, draws=200, seed=0)
    assert set(draws.ravel()) == {0.0, 1.0, 2.0, 3.0, 4.0}


def test_blocks_are_consecutive_days():
    per_day = np.arange(100.0)[:, None]
    draws = resampled_means(per_day, length=10, draws=50, seed=0)
    np.testing.assert_allclose(draws % 1, 0.5)  # the mean of ten consecutive numbers


def test_a_stretch_of_the_record_lies_inside_95_times_in_100():
    rng = np.random.default_rng(0)
    inside = []
    for seed in range(400):
        low, high = interval(resampled_means(rng.normal(size=(400, 1)), 40, 300, seed))
        inside.append(low[0] <= rng.normal(size=40).mean() <= high[0])
    assert 0.91 < np.mean(inside) < 0.98


def test_interval_of_known_draws():
    low, high = interval(np.arange(1001.0)[:, None] / 1000)
    assert (low[0], high[0]) == pytest.approx((0.025, 0.975))
    rare = np.where(np.arange(100)[:, None] < 80, 1.0, np.nan)
    assert np.isnan(interval(rare)).all()


def test_verdicts_and_sentences():
    assert [verdict(v, 0, 1) for v in (-1, 0, 0.5, 1, 2)] == [
        "below",
        "inside",
        "inside",
        "inside",
        "above",
    ]
    assert verdict(np.nan, 0, 1) == verdict(0, np.nan, 1) == "not comparable"
    row = {"statistic": "sill", "prediction": 2.0, "coarse_verdict": "inside"}
    row |= {"coarse_low": 1.0, "coarse_high": 3.0, "fine_low": 0.0, "fine_high": 1.0}
    assert sentence(row | {"fine_verdict": "above"}) == (
        "The sill of the prediction (2) is inside the interval of the coarse record (1 to 3), "
        "but is above the interval of the fine record (0 to 1)."
    )
    assert "cannot be compared with the fine" in sentence(row | {"fine_verdict": "not comparable"})
    assert sentence(row | {"prediction": np.nan}).endswith("cannot be measured.")


# evidence


def test_interpolation_is_found_out_without_truth(twin, smooth):
    """The true field of the judged days passes where its interpolation from coarse fails."""
    past = twin.dust_fine.sel(time=slice(None, "2005-10-01"))
    truth = twin.dust_fine.sel(time=JUDGED)
    found = {
        name: evidence(field, twin.dust, past, draws=DRAWS).set_index("statistic")
        for name, field in {"smooth": smooth, "true": truth}.items()
    }
    short = next(s for s in found["smooth"].index if s.startswith("semivariance"))
    slope = next(s for s in found["smooth"].index if "slope below" in s)
    assert found["smooth"].fine_verdict[short] == "below"
    assert found["smooth"].fine_verdict[slope] == "below"
    assert found["true"].fine_verdict[slope] == "inside"
    assert found["smooth"].coarse_verdict[slope] == "not comparable"
    inside = {name: (table.fine_verdict == "inside").mean() for name, table in found.items()}
    assert inside["true"] > 0.7  # another year is not quite the same
    assert inside["true"] > inside["smooth"]


def test_statistics_are_those_of_the_library(twin, smooth):
    found = evidence(smooth, twin.dust, draws=20, transform="identity").set_index("statistic")
    reach = 600.0
    v = smooth.geostat.semivariogram(reach, bins=30, pairs=30_000, bootstrap=0)
    at = next(float(s.split()[2]) for s in found.index if s.startswith("semivariance"))
    wanted = v.semivariance.sel(lag=at, method="nearest").item()
    np.testing.assert_allclose(found.prediction[f"semivariance at {at:.0f} km"], wanted)
    r2 = smooth.geostat.lag_r2(max_lag=3, weighted=False)["mean"]
    name = "R² with the field 3 days before"
    np.testing.assert_allclose(found.prediction[name], r2.sel(lag=3))
    values = smooth.geostat.distribution(quantiles=[0.5]).value.item()
    assert found.prediction["50 % quantile"] == pytest.approx(values, rel=0.02)
    series = smooth.weighted(np.cos(np.deg2rad(smooth.lat))).mean(["lat", "lon"]).values
    wanted = np.corrcoef(series[1:], series[:-1])[0, 1]
    assert found.prediction["autocorrelation at 1 day"] == pytest.approx(wanted, abs=1e-6)


def test_evidence_is_reproducible_and_lazy_input_gives_the_same(coarse, fine):
    judged, known = fine.isel(time=slice(40, 56)), fine.isel(time=slice(40))
    one = evidence(judged, coarse, known, draws=20, seed=3)
    lazy = [judged.chunk(time=11), coarse.chunk(time=50, lat=3), known.chunk(time=7)]
    pd.testing.assert_frame_equal(one, evidence(*lazy, draws=20, seed=3))


def test_only_the_months_of_the_prediction_count(twin, smooth):
    """A coarse record whose other months are absurd: what curves are made of is the same."""
    months = np.unique(smooth.time.dt.month)
    inside = twin.dust.time_coarse.dt.month.isin(months)
    absurd = twin.dust.where(inside, 1e3)
    one, other = (gather(smooth, da, None, "auto") for da in (twin.dust, absurd))
    assert list(one.fields) == ["prediction", "coarse"]
    for name, field in one.fields.items():
        xr.testing.assert_identical(field, other.fields[name])


def test_small_grids_leave_out_what_cannot_be_measured(coarse, fine):
    """Six by five coarse cells have neither a semivariogram nor a spectrum."""
    found = evidence(fine.isel(time=slice(20, 60)), coarse, draws=20).set_index("diagnostic")
    assert "coarse_verdict" in found
    assert found.loc["semivariogram", "coarse_verdict"].isna().all()
    assert (found.loc["distribution", "coarse_verdict"] != "not comparable").all()


# the page


class Reader(HTMLParser):
    """Tags that are open, ids, links, and where things are loaded from."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.alts, self.text = [], [], [], [], [], ""
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        self.ids += [about["id"]] if "id" in about else []
        self.links += [about["href"]] if "href" in about else []
        self.sources += [about["src"]] if "src" in about else []
        self.alts += [about.get("alt", "")] if tag == "img" else []
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_stands_on_its_own(page):
    content = page.read_text()
    read = Reader(content)
    assert read.sources
    assert all(source.startswith("data:image/") for source in read.sources)
    assert all(link[1:] in read.ids for link in read.links)
    assert len(set(read.ids)) == len(read.ids)
    assert content.count("<script>") == 1  # that of the buttons, which the policy names
    assert not re.search(r"https?://|@import|url\(", content)


def test_the_page_is_accessible(page):
    content = page.read_text()
    assert '<html lang="en">' in content
    assert "<title>Report on dust" in content
    assert 'name="viewport"' in content
    assert "prefers-color-scheme: dark" in content
    assert "@media print" in content
    alts = Reader(content).alts
    assert all(len(alt) > 20 for alt in alts)
    assert len(set(alts)) == len(alts)


def test_the_page_says_what_it_should(page, twin):
    content = page.read_text()
    for row in ("prediction (mean of 2)", "prediction (one realization)", "bicubic", "climatology"):
        assert f'<th scope="row">{row}</th>' in content
    assert "persistence" in content
    assert "&lt;b&gt;made&lt;/b&gt; &amp; drawn" in content
    assert "<b>made" not in content
    text = Reader(content).text
    assert "2005-11-15 to 2005-12-15" in text
    assert "lie inside the interval of the fine record" in text
    assert "xarray " in text


def test_without_a_fine_record_there_is_no_truth(coarse, fine, tmp_path):
    judged = fine.isel(time=slice(40, 52))
    text = report(judged, coarse, path=tmp_path / "a.html", draws=20).read_text()
    assert "Against the truth" not in text
    assert "of the coarse record" in text
    assert "of the fine record" not in text


def test_the_model_describes_itself(page):
    assert "not fitted: preset &#x27;paper&#x27;, seed 7" in page.read_text()


def test_inputs_stay_as_they_were(page, given, given_before):
    for da, copy in zip(given, given_before, strict=True):
        xr.testing.assert_identical(da, copy)


def test_tables_and_texts_are_escaped():
    frame = pd.DataFrame({("a", "<i>"): [1.23456]}, index=["<x>"])
    assert "<td>1.23</td>" in _page.table(frame, "c & d")
    assert "a &lt;i&gt;" in _page.table(frame, "c & d")
    assert "&lt;x&gt;" in _page.table(frame, "c & d")
    assert _page.paragraph("a < b") == "<p>a &lt; b</p>"


# a browser


def browse(path, folder) -> tuple[np.ndarray, list[str]]:
    """Screenshot of a page, and what the browser's console said of it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium")
    shot = folder / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += ["--window-size=1000,3000", "--enable-logging=stderr", "--disable-dev-shm-usage"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--screenshot={shot}"]
    done = subprocess.run(
        [browser, *options, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return mpl.image.imread(shot)[..., :3], console


def test_a_browser_shows_the_page_without_complaint(page, tmp_path):
    shot, console = browse(page, tmp_path)
    assert console == []
    assert shot.shape[:2] == (3000, 1000)
    inked = (np.abs(shot - shot[2, 2]) > 0.1).any(axis=-1)
    assert 0.05 < inked.mean() < 0.95
    bands = inked.reshape(30, 100, -1).mean(axis=(1, 2))
    assert (bands > 0.001).all()  # ink from top to bottom
    assert len(np.unique((shot[::3, ::3] * 255).astype(np.uint8).reshape(-1, 3), axis=0)) > 500


def test_a_caption_is_copied_by_its_button(page, tmp_path):
    """Clicked in a browser, by a second script that the copy of the page admits."""
    content = re.sub(r"script-src 'sha256-[^']+'", "script-src 'unsafe-inline'", page.read_text())
    # a browser copies for a user alone: what would be copied becomes the title
    click = (
        "<script>document.execCommand = () => {"
        "document.title = document.querySelector('textarea').value; return true };"
        "document.querySelector('button.copy').click()</script></body>"
    )
    clicked = tmp_path / "clicked.html"
    clicked.write_text(content.replace("</body>", click))
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=1000"]
    done = subprocess.run(
        [browser, *options, "--dump-dom", clicked.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    buttons = re.findall(r'<button class="copy"[^>]*>([^<]*)<', done.stdout)
    assert buttons[0] == "Copied"
    caption = re.search(r'<span class="caption">(.*?)</span>', content)[1]
    assert f"<title>{caption}</title>" in done.stdout
    assert set(buttons[1:]) == {"Copy caption"}


def test_captions_are_numbered_and_stand_alone(page):
    found = re.findall(r'<span class="caption">(.*?)</span>', page.read_text())
    assert [text.split(".")[0] for text in found] == [f"Figure {n + 1}" for n in range(len(found))]
    assert len(found) == 7
    assert found[2].startswith(
        "Figure 3. Structure in space: semivariogram of the prediction and of "
    )


def test_figures_are_written_for_a_paper(twin, smooth, tmp_path):
    folder = tmp_path / "a" / "figures"
    path = report(
        smooth,
        twin.dust,
        twin.dust_fine,
        tmp_path / "r.html",
        draws=DRAWS,
        figures=folder,
        formats=["pdf", "svg", "png", "svg"],
    )
    captions = (folder / "captions.txt").read_text().strip().split("\n\n")
    numbers = range(1, len(captions) + 1)
    names = {f"figure_{n:02d}.{kind}" for n in numbers for kind in ("pdf", "svg", "png")}
    assert {p.name for p in folder.iterdir()} == names | {"captions.txt"}
    shown = re.findall(r'<span class="caption">(.*?)</span>', path.read_text())
    assert [html.unescape(text) for text in shown] == captions
    svg = (folder / "figure_02.svg").read_text()
    assert "<text" in svg
    assert "lag [km]" in re.sub(r"<[^>]+>", "", svg)
    pdf = (folder / "figure_02.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf
    assert mpl.image.imread(folder / "figure_02.png").shape[1] > 1500  # 300 dots per inch


@pytest.mark.parametrize("formats", ["gif", [], ["pdf", "eps"]])
def test_formats_that_are_none(twin, smooth, tmp_path, formats):
    with pytest.raises(OptionError, match=r"formats is .*; give one or more of 'pdf', 'svg', 'p"):
        report(smooth, twin.dust, path=tmp_path / "r.html", figures=tmp_path, formats=formats)


def test_a_folder_that_cannot_be_made(twin, smooth, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        report(smooth, twin.dust, path=tmp_path / "r.html", figures=tmp_path / "file" / "figures")
    assert not (tmp_path / "r.html").exists()


def test_the_check_sees_a_page_that_complains(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!DOCTYPE html><title>x</title><script>console.error('oh no')</script>")
    shot, console = browse(bad, tmp_path)
    assert "oh no" in console[0]
    assert shot.std() < 0.01


# what bad input gets


def test_kinds_that_are_refused(twin, smooth):
    with pytest.raises(DataError, match=r"prediction is a Dataset; give a DataArray"):
        report(smooth.to_dataset(name="dust"), twin.dust)
    with pytest.raises(DataError, match=r"coarse has the further dimensions \['level'\]"):
        report(smooth, twin.dust.expand_dims(level=2))
    with pytest.raises(TimeAxisError, match="'prediction' has no time dimension"):
        report(smooth.isel(time=0, drop=True), twin.dust)
    with pytest.raises(DataError, match=r"Units differ: prediction 'kg', coarse '1'"):
        report(smooth.assign_attrs(units="kg"), twin.dust)
    with pytest.raises(OptionError, match="draws is 5; a 95 % interval needs 20 or more"):
        report(smooth, twin.dust, draws=5)
    with pytest.raises(OptionError, match="model is a str, which cannot describe itself"):
        report(smooth, twin.dust, model="dust.xd")
    with pytest.raises(OptionError, match="Unknown transform: 'log11'"):
        report(smooth, twin.dust, transform="log11")


def test_nothing_in_common(twin, smooth):
    later = smooth.assign_coords(time=smooth.time + np.timedelta64(20 * 365, "D"))
    with pytest.raises(TimeAxisError, match=r"have no day in common; give the coarse record that"):
        report(later, twin.dust)
    with pytest.raises(TimeAxisError, match="The calendars of the prediction and the coarse"):
        report(smooth, twin.dust.convert_calendar("noleap", dim="time_coarse"))
    with pytest.raises(GridError, match="fewer than 2 x 2 cells in the prediction's region"):
        report(smooth.assign_coords(lon=smooth.lon + 100), twin.dust)
    with pytest.raises(GridError, match="The fine record and the prediction are on different"):
        report(smooth, twin.dust, twin.dust_fine.isel(lat=slice(50)))


def test_a_path_that_cannot_be_written(coarse, fine, tmp_path):
    """It is told before anything is computed, or even looked at."""
    with pytest.raises(StorageError, match=r"a.html cannot be written: there is no folder .*where"):
        report(None, None, path=tmp_path / "nowhere" / "a.html")


def test_without_matplotlib(twin, smooth, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"A report needs the package 'matplotlib'"):
        report(smooth, twin.dust)


# the example and the how-to


@pytest.mark.slow
def test_the_example_runs_without_torch(tmp_path):
    path = ROOT / "examples" / "03_judge_a_field.py"
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "
        f"sys.argv = ['x', '--days', '16', '--draws', '20', '--output', {str(tmp_path)!r}]; "
        f"runpy.run_path({str(path)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "| bicubic |" in done.stdout
    assert re.search(r"spectral slope below .* is below the interval of the fine", done.stdout)
    made = {p.name for p in tmp_path.iterdir()}
    figures = {f"{n}.png" for n in ("maps", "semivariogram", "spectrum", "acf", "lag_r2")}
    assert made == figures | {"report.html"}


def test_the_howto_runs(coarse, fine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "howto" / "judge_a_field.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {"product": fine.isel(time=slice(40, 52)), "coarse": coarse, "fine": fine}
    for block in blocks:
        exec(compile(block, "judge_a_field.md", "exec"), names)
    assert (tmp_path / "report.html").is_file()
    assert names["v"].semivariance.dims == ("lag",)
    methods = re.findall(r"`(?:da\.geostat\.)?(plot_\w+)\(", text)
    assert len(methods) >= 5
    assert all(hasattr(xr.DataArray.geostat, m) for m in methods)


# steps that are not days


@pytest.fixture(scope="module")
def six_hourly() -> tuple[xr.DataArray, xr.DataArray]:
    """Thirty days of four steps: a fine record and its means."""
    time = pd.date_range("2000-01-01", periods=4 * 30, freq="6h")
    rng = np.random.default_rng(0)
    fine = xr.DataArray(
        rng.normal(size=(time.size, 12, 12)).cumsum(axis=1).cumsum(axis=2),
        coords={"time": time, "lat": np.arange(12) * 0.5, "lon": np.arange(12) * 0.5},
        dims=("time", "lat", "lon"),
        name="t",
    )
    return fine, fine.coarsen(lat=3, lon=3).mean()


def test_a_six_hourly_record_is_counted_in_days(six_hourly):
    fine, coarse = six_hourly
    records = gather(fine.isel(time=slice(48)), coarse, fine, "identity")
    assert days_of(records.fields["prediction"]) == 12
    assert days_of(records.fields["fine"]) == 18
    scope = scope_of(records.fields)
    assert scope.lags == (1, 2, 3)  # of 12 days
    assert set(scope.steps.values()) == {4.0}
    finding = next(f for f in judge(records, 20, 0) if f.diagnostic.key == "acf")
    assert "autocorrelation at 1 day" in set(finding.table.statistic)
    with pytest.raises(TimeAxisError, match="6 hours"):
        gather(fine.isel(time=slice(48)), coarse.resample(time="1D").mean(), None, "identity")


def test_blocks_are_as_long_as_ten_days():
    alternating = np.repeat(np.arange(10.0), 40)[:, None]  # ten days of four steps each
    wide = resampled_means(alternating, 40, 400, seed=0, block=40)
    narrow = resampled_means(alternating, 40, 400, seed=0, block=10)
    assert wide.std() > 1.5 * narrow.std()


def test_the_range_is_that_of_the_accessor(twin):
    fine = twin.dust_fine.isel(time=slice(0, 40))
    field = np.log10(fine)
    scope = scope_of({"prediction": field, "coarse": twin.dust.isel(time_coarse=slice(30))})
    made = DIAGNOSTICS[0]
    curve = made.measure(field, scope)
    read = made.read(curve.x, mean(curve.per_step)[None], scope)
    found = field.geostat.semivariogram(scope.reach, bins=30, pairs=30_000, bootstrap=0)
    assert found.fit_ok
    assert read["effective range in km"][0] == pytest.approx(found.effective_range.item(), rel=1e-6)
    assert read["sill"][0] == pytest.approx(found.sill.item(), rel=1e-2)  # tiny nuggets are 0
    np.testing.assert_allclose(made.shape(mean(curve.per_step)), found.semivariance)


def test_a_six_hourly_page_names_times(six_hourly):
    fine, coarse = six_hourly
    pair = xr.concat([fine, fine + 0.1], dim="realization").isel(time=slice(50))
    records = gather(pair, coarse, fine, "identity")
    assert "<td>13, every 6 hours</td>" in _sections.records_table(records)
    assert "Maps of 2000-01-07T06:00: " in _sections.maps(records)
    text = _sections.against_truth(records)
    assert "over 50 common times on 13 days" in text
    assert "a point for each time" in text


def test_baselines_that_are_missing_are_told_under_the_table(six_hourly):
    fine, coarse = (da.isel(time=slice(0, None, 4)) for da in six_hourly)
    whole = _sections.against_truth(gather(fine, coarse, fine, "identity"))
    rows = "climatology, bilinear + bias, ridge"
    assert f"Not in the table: {rows} (the fine record has no days besides those of" in whole
    assert whole.index("</table>") < whole.index("Not in the table")
    lone = fine.isel(time=[5])
    told = _sections.against_truth(gather(lone, coarse, lone, "identity"))
    assert "persistence (no day has its yesterday in the fine record)" in told
    rest = _sections.against_truth(gather(fine.isel(time=slice(20)), coarse, fine, "identity"))
    assert "Not in the table: ridge (needs at least 12 training days" in rest


def test_interpolation_that_fails_is_told_under_the_table(six_hourly):
    fine, coarse = (da.isel(time=slice(0, None, 4)) for da in six_hourly)
    text = _sections.against_truth(gather(fine, coarse.isel(lat=slice(2)), fine, "identity"))
    assert "Not in the table: bicubic (" in text
    some = fine.isel(time=slice(10))  # the others are training days
    text = _sections.against_truth(gather(some, coarse.isel(lat=slice(2)), fine, "identity"))
    assert "Not in the table: bicubic, bilinear + bias, ridge (" in text


@pytest.mark.parametrize("kind", ["lambert", "rotated", "curvilinear"])
def test_records_on_grids_of_other_kinds(kind, tmp_path):
    """The truth has left its grid mapping behind; the page has all its figures."""
    coarse, fine = (on_plane(ds, kind) for ds in make_pair(40))
    mapping = [name for name in ("crs", "pole") if name in fine]
    truth = fine.t
    noise = np.random.default_rng(0).normal(size=(2, *truth.shape))
    product = fine.set_coords(mapping).t + xr.DataArray(noise, dims=("realization", *truth.dims))
    product = product.transpose("realization", ...).assign_attrs(truth.attrs)
    days = slice(0, 20)
    page = report(
        product.isel(time=days),
        coarse.set_coords(mapping).t,
        truth,
        path=tmp_path / "page.html",
        draws=DRAWS,
    )
    flat = report(*(plain(product, truth, coarse, days)), path=tmp_path / "flat.html", draws=DRAWS)
    found, wanted = (Path(p).read_text("utf-8").count("data:image/") for p in (page, flat))
    # the spectrum of a curvilinear grid is not known
    assert found == wanted - (kind == "curvilinear") > 3


def plain(product, truth, coarse, days):
    """Return the same records in degrees."""
    degrees = make_pair(40)
    fields = degrees[1].t.copy(data=truth.values)
    members = product.values
    ours = xr.DataArray(
        members, dims=("realization", *fields.dims), coords=fields.coords, attrs=fields.attrs
    )
    return ours.isel(time=days), degrees[0].t, fields
