"""What cannot be measured is drawn, and told, as such: figures and reports over awkward records."""

from __future__ import annotations

import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core.errors import XDownscaleError
from xdownscale.core.tables import SentenceTable
from xdownscale.reports import _curves
from xdownscale.reports._conclusion import _scale, conclude
from xdownscale.reports._evidence import enough_days, judge
from xdownscale.reports._records import gather

mpl.use("agg")


def record(days: int = 24) -> xr.DataArray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(days, 3, 4)).repeat(4, 1).repeat(4, 2)
    values = values + 0.3 * rng.normal(size=values.shape)
    time = pd.date_range("2000-01-01", periods=days)
    coords = {"time": time, "lat": np.arange(0.25, 6, 0.5), "lon": np.arange(0.25, 8, 0.5)}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), name="t", attrs={"units": "K"})


FINE = record()
COARSE = FINE.coarsen(lat=4, lon=4).mean()
MASK = np.random.default_rng(1).uniform(size=FINE.shape[1:])

AWKWARD = {
    "third masked": lambda da: da.where(xr.DataArray(MASK > 0.3, dims=("lat", "lon"))),
    "half masked": lambda da: da.where(da.lon > 4),
    "one cell": lambda da: da.where((da.lon == da.lon[3]) & (da.lat == da.lat[2])),
    "constant": lambda da: da * 0 + 3,
    "zero": lambda da: da * 0,
    "constant in space": lambda da: da * 0 + da.mean(["lat", "lon"]),
    "constant in time": lambda da: da * 0 + da.isel(time=0, drop=True),
    "all NaN": lambda da: da * np.nan,
    "NaN days": lambda da: da.where(da.time.dt.day > 20),
    "one day": lambda da: da.isel(time=[0]),
    "two days": lambda da: da.isel(time=slice(2)),
    "three days": lambda da: da.isel(time=slice(3)),
    "one row": lambda da: da.isel(lat=[5]),
    "one column": lambda da: da.isel(lon=[5]),
    "bool": lambda da: da > 0,
    "small integers": lambda da: (10 * abs(da)).round().astype("uint8"),
    "huge": lambda da: da * 1e30,
}


def draws(make) -> str:
    """Draw a figure; return its texts, or the library's own error."""
    try:
        axes = make()
    except XDownscaleError as err:
        return str(err)
    first = axes.ravel()[0] if isinstance(axes, np.ndarray) else axes
    first.figure.canvas.draw()
    return " ".join(text.get_text() for text in first.figure.findobj(mpl.text.Text))


@pytest.mark.parametrize("plot", ["semivariogram", "acf", "pacf", "lag_curve", "power_spectrum"])
@pytest.mark.parametrize("kind", AWKWARD)
def test_curves_of_awkward_records(kind, plot):
    da = AWKWARD[kind](FINE)
    assert draws(lambda: getattr(da.geostat, f"plot_{plot}")())
    assert draws(lambda: getattr(xd.plot, plot)({"awkward": da, "plain": FINE}))


@pytest.mark.parametrize("kind", AWKWARD)
def test_maps_of_awkward_records(kind):
    da = AWKWARD[kind](FINE)
    for scale in ("auto", "linear", "log"):
        assert draws(lambda scale=scale: da.geostat.plot_maps(scale=scale))
    assert draws(lambda: da.geostat.plot_maps(truth=da))


def test_no_result_is_written_where_a_curve_would_be():
    masked = AWKWARD["half masked"](FINE)
    assert "no result: nothing could be measured" in draws(masked.geostat.plot_power_spectrum)
    both = draws(lambda: xd.plot.power_spectrum({"masked": masked, "plain": FINE}))
    assert "masked (no result)" in both
    assert "nothing could be measured" not in both
    ranks = xr.DataArray([0, 0, 0], dims="rank", coords={"rank": [0, 1, 2]})
    assert "no result" in draws(lambda: xd.plot.rank_histogram(ranks))
    nothing = xr.Dataset({"spread": ("time", [np.nan]), "rmse": ("time", [np.nan])})
    assert "no result" in draws(lambda: xd.plot.spread_skill(nothing))


def test_differences_of_small_unsigned_integers_are_signed():
    truth = xr.DataArray(np.full((2, 2), 3, "uint8"), {"lat": [0.0, 1], "lon": [0.0, 1]})
    axes = xd.plot.maps(truth - np.uint8(1), truth=truth)
    assert (axes[-1].collections[0].get_array() == -1).all()


def test_a_single_row_is_as_high_as_its_cells_are_wide():
    axes = FINE.isel(lat=[5]).geostat.plot_maps()
    assert np.ptp(axes[0].get_ylim()) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", AWKWARD)
def test_reports_on_awkward_records(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(_curves, "_FITS", 2)
    da = AWKWARD[kind](FINE)
    for prediction, fine in ((da, FINE), (FINE, da)):
        try:
            path = xd.report(prediction, COARSE, fine, tmp_path / "r.html", draws=20)
        except XDownscaleError:
            continue
        assert '<p class="conclusion">' in path.read_text()


# conclusions


def concluded(prediction, fine):
    records = gather(prediction, COARSE, fine, "identity")
    return conclude(judge(records, 20, 0), records)


def waves(days: int, short: float) -> xr.DataArray:
    """Noise on the fine grid, of which wavelengths under 200 km have `short` times the power."""
    rng = np.random.default_rng(days)
    shape = (days, 48, 48)
    field = np.fft.fft2(rng.normal(size=shape))
    degrees = np.hypot(np.fft.fftfreq(48, 0.25)[:, None], np.fft.fftfreq(48, 0.25))
    field *= np.where(degrees > 111 / 200, np.sqrt(short), 1.0)
    time = pd.date_range("2000-01-01", periods=days)
    coords = {"time": time, "lat": np.arange(-6, 6, 0.25), "lon": np.arange(0, 12, 0.25)}
    return xr.DataArray(np.fft.ifft2(field).real, coords, ("time", "lat", "lon"), name="t")


@pytest.mark.parametrize(
    ("short", "words"),
    [
        (1e-6, r"^The field is too smooth below about (\d+) km: at .* decades lower"),
        (50.0, r"^The field is too rough below about (\d+) km: at .* decades higher"),
        (1.0, r"^The field is neither too smooth nor too rough"),
    ],
)
def test_the_first_sentence_names_the_scale(short, words, monkeypatch):
    """The scale is that of the filter, 200 km, within a ring of the spectrum and its window."""
    monkeypatch.setattr(_curves, "_FITS", 2)
    known = waves(61, 1.0)
    judged = waves(31, short).assign_coords(time=pd.date_range("2000-03-02", periods=31))
    coarse = xr.concat([known, judged], "time").coarsen(lat=8, lon=8).mean()
    records = gather(judged, coarse, known, "identity")
    said = conclude(judge(records, 20, 0), records)
    found = re.match(words, said)
    assert found, said
    if found.groups():
        assert 140 < float(found.group(1)) < 260


def test_too_few_days_are_not_judged(tmp_path):
    three = FINE.isel(time=slice(3))
    table = xd.reports.evidence(three, COARSE.isel(time=slice(3)), three, draws=20)
    for name in ("coarse", "fine"):
        assert set(table[f"{name}_verdict"].dropna()) == {"too few days"}
    page = xd.report(three, COARSE, three, tmp_path / "r.html", draws=20).read_text()
    assert "There are too few days to judge" in page
    assert not enough_days(3, 1000)
    assert enough_days(30, 30)


def test_missing_cells_are_the_cause_that_is_named_and_not_too_few_days():
    """More days would not help."""
    masked = FINE.where(FINE.lon > 4)
    said = concluded(masked.isel(time=slice(3)), masked.isel(time=slice(3)))
    assert said.startswith("The power spectrum has no result, as where cells are missing: whether")


def test_without_a_fine_record_short_scales_are_unknown():
    assert concluded(FINE, None).startswith("There is no fine record to compare with")


def test_scales_are_those_where_nearly_all_shorter_ones_agree():
    length = np.arange(1.0, 11.0)
    flags = np.array([True, True, True, True, False, True, True, False, False, False])
    assert _scale(length, flags) == 7.0
    assert _scale(length, ~flags) == 0.0


def test_logs_have_their_physical_values_beside_them(tmp_path):
    positive = np.exp(FINE).assign_attrs(units="kg")
    args = (positive, np.exp(COARSE).assign_attrs(units="kg"), positive)
    page = xd.report(*args, tmp_path / "r.html", transform="log10", draws=20).read_text()
    assert '<th scope="col">prediction [kg]</th>' in page
    row = re.search(r'<th scope="row">50 % quantile</th>(.*?)</tr>', page).group(1)
    cells = re.findall(r"<td>([^<]*)</td>", row)
    assert float(cells[3]) == pytest.approx(10 ** float(cells[0]), rel=0.02)
    assert float(cells[3]) == pytest.approx(float(positive.median()), rel=0.05)


# sentences


def test_sentences_are_never_cut():
    long = "A sentence that goes on, " * 20 + "and ends."
    table = SentenceTable({"value": [0.5], "low": [0.1], "sentence": [long]}, index=["drift"])
    for shown in (table, table.iloc[:1], table.loc[["drift"]], table[["value", "sentence"]]):
        assert f"drift: {long}" in repr(shown)
        assert long in shown._repr_html_()
    assert repr(table[["value"]]) == repr(pd.DataFrame(table[["value"]]))
    assert isinstance(table, pd.DataFrame)
