"""The interactive page: what it holds, what it leaves out, and that it works in a browser."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.image import imread

from xdownscale.core.errors import DataError, GridError, OptionError, StorageError
from xdownscale.reports import _explore, explore

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module", autouse=True)
def _no_window():
    mpl.use("agg")


def record(members=3, times=4, ny=6, nx=8, first=350.0):
    values = np.arange(members * times * ny * nx, dtype=float).reshape(members, times, ny, nx)
    values[:, :, 0, 0] = np.nan
    coords = {
        "realization": np.arange(1, members + 1),
        "time": pd.date_range("2001-03-04", periods=times),
        "lat": 38.0 + np.arange(ny),
        "lon": (first + 2 * np.arange(nx)) % 360,
    }
    attrs = {"units": "kg m-2", "long_name": "dust </script><b>&"}
    return xr.DataArray(values, coords, attrs=attrs)


def stored(path):
    """What the page holds: its description and its arrays, decoded."""
    blocks = dict(re.findall(r'<script type="[a-z/]+" id="(\w+)">(.*?)</script>', path.read_text()))
    about = json.loads(blocks.pop("about"))
    kinds = {"codes": "<u2", "shades": "u1", "latitude": "<f4", "longitude": "<f4"}
    arrays = {n: np.frombuffer(base64.b64decode(text), kinds[n]) for n, text in blocks.items()}
    return about, arrays


def values_of(path):
    about, arrays = stored(path)
    level = about["first"] + about["step"] * arrays["codes"].astype(float)
    found = np.exp(level) if about["logarithmic"] else level
    return np.where(arrays["codes"] == 65535, np.nan, found).reshape(about["shape"])


def test_values_come_back_to_half_a_step_north_up_and_longitudes_ascending(tmp_path):
    da = record()
    path = explore(da, tmp_path / "maps.html", scale="linear")
    about, arrays = stored(path)
    expected = da.isel(lat=slice(None, None, -1)).values
    assert np.nanmax(np.abs(values_of(path) - expected)) <= about["step"] * 0.5001
    assert np.array_equal(np.isnan(values_of(path)), np.isnan(expected))
    assert arrays["latitude"].tolist() == [43, 42, 41, 40, 39, 38]
    assert arrays["longitude"].tolist() == [-10, -8, -6, -4, -2, 0, 2, 4]
    assert about["times"] == ["2001-03-04", "2001-03-05", "2001-03-06", "2001-03-07"]
    assert f"steps of {about['step']:.2g} kg m-2" in path.read_text()


def test_wide_ranges_are_rounded_in_the_logarithm(tmp_path):
    da = 10 ** (record() / 150)
    path = explore(da, tmp_path / "maps.html")
    share = values_of(path) / da.isel(lat=slice(None, None, -1)).values
    assert np.nanmax(np.abs(share - 1)) < 1e-4
    assert re.search(r"rounded to steps of 0\.0\d+ %", path.read_text())


def test_texts_are_escaped_and_nothing_is_fetched(tmp_path):
    content = explore(record(), tmp_path / "maps.html").read_text()
    assert "<b>&" not in content
    assert html.escape("dust </script><b>&") in content
    assert not re.search(r"https?://|@import|url\(|<link|src=", content)
    assert "default-src 'none'" in content


def test_what_does_not_fit_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(_explore, "_BYTES", 20_000)
    monkeypatch.setattr(_explore, "_CELLS", 100)
    monkeypatch.setattr(_explore, "_MEMBERS", 2)
    path = explore(record(9, 300, 12, 16), tmp_path / "maps.html")
    about, arrays = stored(path)
    content = path.read_text()
    assert about["shape"] == [2, 78, 6, 8]
    assert 4 / 3 * arrays["codes"].nbytes <= 20_000
    for said in (
        "One of 2 cells along each axis is shown",
        "The first 2 of 9 realizations are shown",
        "78 of 300 time steps are shown, evenly chosen",
    ):
        assert said in content
    assert about["times"][0] == "2001-03-04"
    assert about["times"][-1] == "2001-12-28"


def test_a_large_record_stays_below_ten_megabytes(tmp_path):
    import dask.array

    values = dask.array.random.default_rng(0).random((8, 400, 100, 120), chunks=(1, 400, 100, 120))
    coords = {"time": pd.date_range("2001", periods=400), "lat": np.arange(100.0) / 4}
    coords |= {"lon": np.arange(120.0) / 4}
    da = xr.DataArray(values, coords, ("realization", "time", "lat", "lon"))
    path = explore(da, tmp_path / "maps.html")
    assert 5e6 < path.stat().st_size < 1e7


@pytest.mark.parametrize(
    "select",
    [
        lambda da: da.isel(realization=0, drop=True),
        lambda da: da.isel(realization=0, time=0),
        lambda da: da.isel(realization=0, time=0, drop=True),
        lambda da: da.transpose("lon", "time", "lat", "realization"),
        lambda da: da.convert_calendar("noleap"),
        lambda da: da.astype("float32").chunk(time=1),
        lambda da: da * 0,
    ],
)
def test_any_shape_of_maps(tmp_path, select):
    da = select(record())
    about, _ = stored(explore(da, tmp_path / "maps.html"))
    assert np.prod(about["shape"]) == da.size
    assert len(about["times"]) == about["shape"][1]
    if "time" in da.coords:
        assert about["times"][0] == "2001-03-04"


def test_a_projected_grid_has_a_position_for_each_cell(tmp_path):
    lat, lon = np.meshgrid([10.0, 11, 12], [5.0, 6], indexing="ij")
    both = {"lat": (("y", "x"), lat + 0.1 * lon), "lon": (("y", "x"), lon)}
    da = xr.DataArray(np.arange(6.0).reshape(3, 2), both, ("y", "x"))
    path = explore(da, tmp_path / "maps.html")
    about, arrays = stored(path)
    assert not about["rectilinear"]
    assert values_of(path)[0, 0] == pytest.approx(np.array([[4, 5], [2, 3], [0, 1]]), abs=1e-4)
    assert arrays["latitude"].reshape(3, 2)[0] == pytest.approx([12.5, 12.6])


def test_bad_input(tmp_path):
    da = record()
    path = tmp_path / "maps.html"
    with pytest.raises(DataError, match="is a Dataset"):
        explore(da.to_dataset(name="a"), path)
    with pytest.raises(DataError, match=r"further dimensions \['level'\]"):
        explore(da.expand_dims(level=2), path)
    with pytest.raises(GridError):
        explore(da.drop_vars(["lat", "lon"]).rename(lat="a", lon="b"), path)
    with pytest.raises(OptionError, match="scale"):
        explore(da, path, scale="cubic")
    with pytest.raises(DataError, match="no value"):
        explore(da.where(False), path)
    with pytest.raises(DataError, match="no value"):
        explore(da.isel(time=slice(0)), path)
    with pytest.raises(StorageError, match="there is no folder"):
        explore(da, tmp_path / "no" / "maps.html")
    assert not path.exists()


# a browser


def browse(path, folder, *options):
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    common += ["--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [BROWSER, *common, "--virtual-time-budget=3000", *options, path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    return done.stdout


ACTS = """
const shown = {};
const pixels = () => map.toDataURL();
const seen = [pixels()];
const look = (name) => { const now = pixels(); shown[name] = now !== seen.at(-1); seen.push(now); };
const input = (element, value) => {
  element.value = value;
  element.dispatchEvent(new Event("input", { bubbles: true }));
};
input(slider, 2); look("slider"); shown.date = document.getElementById("date").textContent;
input(picker, 1); look("picker");
document.getElementById("after").click(); look("after");
document.getElementById("before").click(); look("before");
const box = map.getBoundingClientRect();
const at = (x, y) => map.dispatchEvent(new PointerEvent("pointermove", {
  clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
at(0.99, 0.01); shown.northeast = under.textContent;
at(0.01, 0.99); shown.southwest = under.textContent;
input(slider, 0); input(picker, 0); shown.first = pixels() === seen[0];
document.body.style.width = "400px";
shown.widest = Math.max(...[...document.querySelectorAll("body *")]
  .map((element) => element.getBoundingClientRect().right));
document.title = JSON.stringify(shown);
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_the_controls_work_in_a_browser(tmp_path):
    content = explore(record(), tmp_path / "maps.html").read_text()
    content = re.sub(r"script-src [^\"]+", "script-src 'unsafe-inline'", content)
    acting = tmp_path / "acting.html"
    acting.write_text(content.replace("</body>", f"<script>{ACTS}</script></body>"))
    title = re.search(r"<title>(.*?)</title>", browse(acting, tmp_path, "--dump-dom"))[1]
    shown = json.loads(html.unescape(title))
    assert all(shown[name] for name in ("slider", "picker", "after", "before", "first"))
    assert shown["date"] == "2001-03-06"
    corner = record().isel(realization=1, time=2, lat=-1, lon=-1).item()
    said, number = shown["northeast"].removesuffix(" kg m-2").split(": ")
    assert said == "latitude 43.00°, longitude 4.00°"
    assert float(number) == pytest.approx(corner, abs=0.06)
    assert shown["southwest"] == "latitude 38.00°, longitude -10.00°: no value"
    assert shown["widest"] <= 400


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_shown_light_and_dark(tmp_path, dark):
    path = explore(record(), tmp_path / "maps.html")
    shot = tmp_path / "page.png"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    browse(path, tmp_path, scheme, "--window-size=500,1000", f"--screenshot={shot}")
    picture = imread(shot)[..., :3]
    assert (picture[2, 2].mean() < 0.2) == dark
    colours = np.unique((picture * 255).astype(np.uint8).reshape(-1, 3), axis=0)
    for end in (mpl.colormaps["cividis"](0.0), mpl.colormaps["cividis"](1.0)):
        near = np.abs(colours - 255 * np.array(end[:3])).max(axis=1)
        assert near.min() <= 2
