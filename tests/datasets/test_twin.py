"""The synthetic nature run: what users are promised of the packaged data, and of the generator."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import cf_xarray  # noqa: F401
import numpy as np
import pytest
import xarray as xr
from scipy.interpolate import RectBivariateSpline
from scipy.stats import skew

from xdownscale.core.coords import find_axes
from xdownscale.core.errors import ModelFormatError, OptionError, StorageError
from xdownscale.datasets import load_twin, make_twin, twin

DUST_NAME = "atmosphere_optical_thickness_due_to_dust_ambient_aerosol_particles"
SMALL = {"shape": (16, 20), "progress": False}


@pytest.fixture(scope="module")
def pair() -> xr.Dataset:
    return load_twin()


@pytest.fixture(scope="module")
def other() -> xr.Dataset:
    return load_twin(synchronised=False)


@pytest.fixture(scope="module")
def truth(pair: xr.Dataset) -> np.ndarray:
    return np.log10(pair.dust_fine.values.astype(float))


@pytest.fixture(scope="module")
def guess(pair: xr.Dataset) -> np.ndarray:
    return bicubic(pair)


@pytest.fixture(scope="module")
def small() -> xr.Dataset:
    return make_twin(days=4, fine_days=2, **SMALL)


def bicubic(ds: xr.Dataset) -> np.ndarray:
    days = np.log10(ds.dust.sel(time_coarse=ds.time.values).values.astype(float))
    return np.array(
        [RectBivariateSpline(ds.lat_coarse, ds.lon_coarse, day)(ds.lat, ds.lon) for day in days]
    )


def r2(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    spread = ((wanted - wanted.mean((1, 2), keepdims=True)) ** 2).sum((1, 2))
    return 1 - ((given - wanted) ** 2).sum((1, 2)) / spread


def month_anomalies(ds: xr.Dataset, series: np.ndarray) -> np.ndarray:
    month = ds.time.values.astype("datetime64[M]").astype(int)
    month -= month.min()
    return series - (np.bincount(month, series) / np.bincount(month))[month]


def pairing(ds: xr.Dataset) -> float:
    """Correlation of the daily domain means of both records, monthly means removed."""
    coarse = np.log10(ds.dust.sel(time_coarse=ds.time.values).values[:, 2:-2, 2:-2])
    fine = np.log10(ds.dust_fine.values)
    means = [month_anomalies(ds, field.mean((1, 2))) for field in (coarse, fine)]
    return float(np.corrcoef(*means)[0, 1])


# --- the layout ---------------------------------------------------------------------------------


def test_sizes_and_periods(pair: xr.Dataset) -> None:
    assert dict(pair.sizes) == {
        "time": 731, "lat": 96, "lon": 128, "time_coarse": 3653, "lat_coarse": 16, "lon_coarse": 17,
    }  # fmt: skip
    for name in ("time", "time_coarse"):
        assert pair[name].dtype == "datetime64[ns]"
        assert (np.diff(pair[name].values) == np.timedelta64(1, "D")).all()
    assert (pair.time.values[0] - pair.time_coarse.values[0]) >= np.timedelta64(730, "D")
    assert (pair.time_coarse.values[-1] - pair.time.values[-1]) >= np.timedelta64(365, "D")


def test_grids_are_those_of_the_paper(pair: xr.Dataset) -> None:
    for name, spacing in [("lat", 0.0625), ("lon", 0.0625), ("lat_coarse", 0.5)]:
        np.testing.assert_allclose(np.diff(pair[name]), spacing, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.diff(pair.lon_coarse), 0.625, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "cell"), [("lat", 0.5), ("lon", 0.625)])
def test_coarse_record_reaches_two_cells_beyond_the_fine_one(
    pair: xr.Dataset, name: str, cell: float
) -> None:
    fine, coarse = pair[name].values, pair[f"{name}_coarse"].values
    margins = (
        (fine[0] - 0.03125) - (coarse[0] - cell / 2),
        (coarse[-1] + cell / 2) - (fine[-1] + 0.03125),
    )
    assert min(margins) >= 2 * cell - 1e-9


def test_cf_attributes(pair: xr.Dataset) -> None:
    for name in ("dust", "dust_fine"):
        da = pair[name]
        assert da.dtype == np.float32
        assert (da.attrs["standard_name"], da.attrs["units"]) == (DUST_NAME, "1")
        axes = find_axes(da)
        assert (axes.time, axes.y, axes.x) == da.dims
        assert da.cf["latitude"].attrs["units"] == "degrees_north"
        assert da.cf["X"].attrs["units"] == "degrees_east"
    assert pair.elevation.attrs["units"] == "m"
    assert pair.elevation.dtype == np.float32
    assert pair.attrs["Conventions"].startswith("CF-")
    assert all("long_name" in pair[name].attrs for name in pair.variables)


def test_a_netcdf_file_gives_the_run_back(small: xr.Dataset, tmp_path: Path) -> None:
    small.to_netcdf(tmp_path / "twin.nc")
    with xr.open_dataset(tmp_path / "twin.nc") as back:
        xr.testing.assert_identical(back.drop_encoding().load(), small)


# --- the values ---------------------------------------------------------------------------------


def test_values_are_positive_and_skewed_like_dust(pair: xr.Dataset) -> None:
    fine = pair.dust_fine.values
    assert fine.min() > 0.005
    assert pair.dust.values.min() > 0
    assert 0.1 < np.median(fine) < 0.3
    assert 1.5 < np.quantile(fine, 0.9999) < 4
    assert skew(fine, axis=None) > 2
    assert abs(skew(np.log10(fine), axis=None)) < 1


def test_there_are_seasons(pair: xr.Dataset) -> None:
    monthly = pair.dust_fine.mean(("lat", "lon")).groupby("time.month").mean()
    assert monthly.sel(month=[5, 6, 7]).mean() > 1.5 * monthly.sel(month=[12, 1, 2]).mean()


def test_bicubic_interpolation_scores_between_075_and_090(
    truth: np.ndarray, guess: np.ndarray
) -> None:
    score = r2(guess, truth)
    assert 0.82 < score.mean() < 0.88
    assert score.min() > 0.6


def test_part_of_what_bicubic_misses_can_be_learnt(truth: np.ndarray, guess: np.ndarray) -> None:
    bias = (truth - guess)[:365].mean(0)
    before, after = r2(guess[365:], truth[365:]).mean(), r2(guess[365:] + bias, truth[365:]).mean()
    assert after > before + 0.03  # the ground
    assert after < 0.95  # turbulence


def test_what_can_be_learnt_is_tied_to_the_ground(
    pair: xr.Dataset, truth: np.ndarray, guess: np.ndarray
) -> None:
    bias = (truth - guess).mean(0)
    cells = pair.elevation[:, :120].coarsen(lat=8, lon=10).mean().values
    relief = pair.elevation.values[:, :120] - np.kron(cells, np.ones((8, 10)))
    assert np.corrcoef(bias[:, :120].ravel(), relief.ravel())[0, 1] < -0.5


def test_persistence_is_worse_than_bicubic(truth: np.ndarray, guess: np.ndarray) -> None:
    persistence = r2(truth[:-1], truth[1:]).mean()
    assert 0.2 < persistence < 0.75
    assert persistence < r2(guess, truth).mean() - 0.1


def test_regional_mean_remembers_yesterday_as_dust_does(pair: xr.Dataset) -> None:
    anomaly = month_anomalies(pair, np.log10(pair.dust_fine.values).mean((1, 2)))
    assert 0.5 < np.corrcoef(anomaly[1:], anomaly[:-1])[0, 1] < 0.9


def test_fine_field_has_texture_that_bicubic_lacks(truth: np.ndarray, guess: np.ndarray) -> None:
    short = [np.mean((f[:, :, 1:] - f[:, :, :-1]) ** 2) for f in (guess, truth)]
    long = [np.mean((f[:, :, 20:] - f[:, :, :-20]) ** 2) for f in (guess, truth)]
    assert 0.1 < short[0] / short[1] < 0.5
    assert 0.7 < long[0] / long[1] < 1.2


def test_texture_is_not_noise(truth: np.ndarray) -> None:
    near = np.mean((truth[:, :, 1:] - truth[:, :, :-1]) ** 2)
    assert near < 0.05 * np.mean((truth[:, :, 20:] - truth[:, :, :-20]) ** 2)


# --- the two kinds ------------------------------------------------------------------------------


def test_kinds_share_the_fine_record_and_the_climate(pair: xr.Dataset, other: xr.Dataset) -> None:
    xr.testing.assert_equal(pair.dust_fine, other.dust_fine)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    quantiles = [np.log10(np.quantile(ds.dust, levels)) for ds in (pair, other)]
    np.testing.assert_allclose(*quantiles, atol=0.04)


def test_only_the_synchronised_kind_has_the_same_weather(
    pair: xr.Dataset, other: xr.Dataset
) -> None:
    assert pairing(pair) > 0.9
    assert abs(pairing(other)) < 0.15


# --- the files ----------------------------------------------------------------------------------


def test_packaged_files_are_there_and_small() -> None:
    names = {n for kind in (True, False) for n in twin.packaged_names(kind)}
    files = [resources.files("xdownscale.datasets") / "data" / name for name in sorted(names)]
    assert len(files) == 3
    assert all(file.is_file() for file in files)
    assert sum(len(file.read_bytes()) for file in files) < 15e6


@pytest.mark.parametrize("synchronised", [True, False])
def test_generator_makes_what_is_packaged(synchronised: bool) -> None:
    made = make_twin(
        synchronised=synchronised, days=2, fine_days=2, start="2004-06-01", progress=False
    )
    packed = load_twin(synchronised)
    for name, time in [("dust_fine", "time"), ("dust", "time_coarse")]:
        given = packed[name].sel({time: made[time]})
        assert given.coords.identical(made[name].coords)
        np.testing.assert_allclose(np.log10(given), np.log10(made[name]), rtol=0, atol=6e-4)
    xr.testing.assert_allclose(packed.elevation, made.elevation, rtol=1e-5)


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make `load_twin` generate short runs; the list tells the seeds that it generated."""
    seeds: list[int] = []

    def quick(*, synchronised: bool, seed: int) -> xr.Dataset:
        seeds.append(seed)
        return make_twin(days=2, fine_days=1, synchronised=synchronised, seed=seed, **SMALL)

    monkeypatch.setattr(twin, "make_twin", quick)
    return seeds


def test_other_seeds_are_generated_once_and_kept(short_runs: list[int], tmp_path: Path) -> None:
    first = load_twin(seed=3, cache=tmp_path / "new")
    again = load_twin(seed=3, cache=tmp_path / "new")
    assert short_runs == [3]
    assert len(list((tmp_path / "new").iterdir())) == 1
    xr.testing.assert_identical(first, again)
    direct = make_twin(days=2, fine_days=1, seed=3, **SMALL)
    assert first.attrs == direct.attrs
    xr.testing.assert_allclose(first, direct, rtol=1.2e-3)


def test_default_cache_is_the_users(
    short_runs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    load_twin(seed=4)
    assert len(list((tmp_path / "xdownscale").iterdir())) == 1


def test_damaged_cache_is_refused(short_runs: list[int], tmp_path: Path) -> None:
    load_twin(seed=3, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ModelFormatError, match="Delete it, so that it is made anew"):
        load_twin(seed=3, cache=tmp_path)


def test_unwritable_cache_is_refused_before_any_work(short_runs: list[int], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="Give a folder that can be written as `cache`"):
        load_twin(seed=3, cache=tmp_path / "file")
    assert short_runs == []


# --- the generator ------------------------------------------------------------------------------


def test_seed_decides_everything_but_the_ground(small: xr.Dataset) -> None:
    xr.testing.assert_identical(small, make_twin(days=4, fine_days=2, **SMALL))
    changed = make_twin(days=4, fine_days=2, seed=1, **SMALL)
    xr.testing.assert_equal(small.elevation, changed.elevation)
    assert not np.allclose(small.dust_fine, changed.dust_fine, rtol=0.05)
    assert not np.allclose(small.dust, changed.dust, rtol=0.05)


def test_weather_belongs_to_the_date(small: xr.Dataset) -> None:
    later = make_twin(days=2, fine_days=1, start="2000-01-03", **SMALL)
    xr.testing.assert_allclose(later.dust, small.dust[2:], rtol=1e-4)


def test_unsynchronised_generator_changes_the_coarse_record_alone(small: xr.Dataset) -> None:
    changed = make_twin(days=4, fine_days=2, synchronised=False, **SMALL)
    xr.testing.assert_allclose(small.dust_fine, changed.dust_fine, rtol=1e-4)
    assert not np.allclose(small.dust, changed.dust, rtol=0.05)


def test_fine_years_lie_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        twin, "_simulate", lambda layout, coarse, fine, *rest: seen.append((coarse, fine)) or (0, 0)
    )
    monkeypatch.setattr(twin, "label", lambda *args: None)
    make_twin(shape=(8, 8))
    days = [np.datetime64(int(d), "D") for p in seen for r in p for d in (r[0], r[-1])]
    assert [str(d) for d in days] == ["2000-01-01", "2009-12-31", "2004-01-01", "2005-12-31"]


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    make_twin(days=1, fine_days=1, shape=(8, 10))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith("synthetic nature run: 41 of 41 days, 100%")
    assert "\r" not in shown.err
    make_twin(days=1, fine_days=1, shape=(8, 10), progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"synchronised": "yes"}, "synchronised is 'yes'; give True or False"),
        ({"seed": -1}, "seed is -1; give a whole number of 0 or more"),
        ({"seed": 1.5}, "seed is 1.5; give a whole number"),
        ({"years": 0}, "years is 0; give a whole number of 1 or more"),
        ({"fine_years": 11}, "fine_years is 11, more than years"),
        ({"days": 3, "fine_days": 4}, "fine_days is 4, more than days"),
        ({"days": 3}, "days is 3 and fine_days None; give both or neither"),
        ({"shape": (7, 20)}, r"shape is \(7, 20\); give two whole numbers"),
        ({"shape": (16,)}, r"shape is \(16,\); give two"),
        ({"start": "last year"}, "start is 'last year'; give a date such as"),
        ({"start": "1950-01-01"}, "start is '1950-01-01'; give a date between 1971 and 2200"),
        ({"start": "NaT"}, "start is 'NaT'; give a date between"),
    ],
)
def test_bad_options_of_the_generator(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_twin(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"synchronised": 2}, "synchronised is 2; give True or False"),
        ({"seed": True}, "seed is True; give a whole number of 0 or more"),
    ],
)
def test_bad_options_of_the_loader(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_twin(**options)  # type: ignore[arg-type]


def test_import_is_light() -> None:
    code = (
        "import sys, xdownscale.datasets; "
        "print(sorted({'torch', 'scipy', 'pooch', 'matplotlib', 'netCDF4'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
