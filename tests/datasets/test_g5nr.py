"""The GEOS-5 Nature Run as daily means: one file for each half hour."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import published_files as published
import xdownscale as xd
from xdownscale.core.errors import (
    DataError,
    GridError,
    OptionError,
    StorageError,
    TimeAxisError,
    XDownscaleWarning,
)
from xdownscale.datasets import open_g5nr

GRID = published.small_grid(10.0)
SHAPE = (GRID[0].size, GRID[1].size)


@pytest.fixture(autouse=True)
def one_thread():
    """Where a task fails, other threads go on reading while the next test writes its files."""
    with dask.config.set(scheduler="sync"):
        yield


def half_hours(seed, count=48):
    return np.random.default_rng(seed).gamma(2.0, 0.1, (count, *SHAPE)).astype(np.float32)


def write_day(folder, date, values, times=None, **options):
    times = times or published.g5nr_times(options.get("collection", "inst30mn_2d_aer1_Nx"))
    for time, field in zip(times, values, strict=True):
        published.write_g5nr(folder, date, time, field, GRID, **options)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("g5nr")
    written = {date: half_hours(k) for k, date in enumerate(("20060909", "20060910"))}
    for date, values in written.items():
        write_day(folder, date, values)
    return folder, written


def by_hand(written):
    return np.stack([v.astype(np.float64).mean(axis=0) for v in written.values()])


def test_the_published_layout_at_its_full_size(tmp_path):
    lat, lon = published.G5NR_GRID
    box = (slice(1800, 1840), slice(3600, 3670))
    values = np.random.default_rng(0).gamma(2.0, 0.1, (48, 40, 70)).astype(np.float32)
    for time, field in zip(published.g5nr_times(), values, strict=True):
        published.write_g5nr(tmp_path, "20060910", time, field, window=box)
    edges = (lon[3605] - 0.03, lon[3660] + 0.03, lat[1805] - 0.03, lat[1830] + 0.03)
    dust = open_g5nr(tmp_path, edges)
    assert dust.shape == (1, 26, 56)
    np.testing.assert_allclose(np.diff(dust.lat), 0.0625)
    mean = values[:, 5:31, 5:61].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(dust.values[0], mean, rtol=1e-6)


def test_daily_means_are_those_of_numpy(record):
    folder, written = record
    dust = open_g5nr(folder)
    np.testing.assert_allclose(dust.values, by_hand(written), rtol=1e-6)
    assert dust.dtype == np.float32
    np.testing.assert_array_equal(
        dust.time, np.array(["2006-09-09", "2006-09-10"], "datetime64[ns]")
    )


def test_attributes_are_cf(record):
    dust = open_g5nr(record[0])
    assert dust.attrs["standard_name"].startswith("atmosphere_optical_thickness_due_to_dust")
    assert dust.attrs["cell_methods"] == "time: mean (interval: 30 minutes)"
    assert dust.attrs["units"] == "1"
    assert "48 values of 96 inst30mn_2d_aer1_Nx files" in dust.attrs["history"]


@pytest.mark.parametrize(
    ("collection", "interval"),
    [
        ("tavg30mn_2d_met2_Nx", "30 minutes"),
        ("tavg01hr_2d_aer1_Nx", "1 hour"),
        ("inst01hr_2d_met1_Nx", "1 hour"),
    ],
)
def test_other_two_dimensional_collections(collection, interval, tmp_path):
    values = half_hours(0, len(published.g5nr_times(collection)))
    write_day(tmp_path, "20060910", values, collection=collection)
    dust = open_g5nr(tmp_path)
    np.testing.assert_allclose(dust.values[0], values.mean(axis=0, dtype=float), rtol=1e-6)
    assert dust.attrs["cell_methods"] == f"time: mean (interval: {interval})"


def test_any_order_of_files_gives_the_same(record):
    folder, _ = record
    files = sorted(folder.rglob("*.nc4"))
    shuffled = [files[k] for k in np.random.default_rng(0).permutation(len(files))]
    expected = open_g5nr(folder)[:1].compute()
    xr.testing.assert_identical(open_g5nr(shuffled)[:1].compute(), expected)
    pattern = str(folder / "**" / "*.nc4")
    xr.testing.assert_identical(open_g5nr(pattern)[:1].compute(), expected)


@pytest.fixture(scope="module")
def whole(record):
    return open_g5nr(record[0]).isel(time=[0]).compute(scheduler="sync")


@pytest.mark.parametrize(
    ("box", "cells"), [((-20, 30, -10, 10), 6), ((166, 204, 0, 30), 4), ((340, 30, -10, 10), 6)]
)
@pytest.mark.parametrize("margin", [0, 2])
def test_boxes_cross_greenwich_and_the_dateline(box, cells, margin, record, whole):
    part = open_g5nr(record[0], box, margin=margin).isel(time=[0]).compute()
    assert (np.diff(part.lon) == 10).all()
    wrapped = (part.lon.values + 180) % 360 - 180
    np.testing.assert_array_equal(part.values, whole.sel(lat=part.lat, lon=wrapped).values)
    assert part.sizes["lon"] == cells + 2 * margin


def test_nothing_is_read_until_it_is_asked_for(record, monkeypatch):
    opened = []
    real = xr.open_dataset
    monkeypatch.setattr(xr, "open_dataset", lambda p, **k: opened.append(Path(p)) or real(p, **k))
    dust = open_g5nr(record[0], (20, 60, 0, 40))
    assert len(opened) == 1
    dust.isel(time=1).compute()
    assert len(opened) == 49
    assert {p.parent.name for p in opened[1:]} == {"D10"}


def test_threads_do_not_matter(record):
    folder, written = record
    with dask.config.set(scheduler="threads", num_workers=4):
        found = open_g5nr(folder).compute()
    np.testing.assert_allclose(found.values, by_hand(written), rtol=1e-6)


def test_the_first_evening_of_the_run_is_no_day(tmp_path):
    """It begins on 2005-05-15 at 21:30."""
    late = published.g5nr_times()[43:]
    write_day(tmp_path, "20050515", half_hours(0, 5), late)
    write_day(tmp_path, "20050516", half_hours(1))
    message = r"1 of 2 days have fewer than 48 files; they are NaN. The first is 2005-05-15"
    with pytest.warns(XDownscaleWarning, match=message):
        dust = open_g5nr(tmp_path)
    assert np.isnan(dust).all(("lat", "lon")).values.tolist() == [True, False]
    with pytest.raises(TimeAxisError, match=r"fewer than 48 files.*Add the files"):
        open_g5nr(tmp_path, incomplete="raise")


def test_days_without_files_are_left_out(tmp_path):
    for date in ("20060909", "20060911"):
        write_day(tmp_path, date, half_hours(0))
    with pytest.warns(XDownscaleWarning, match="1 of 3 days have no file.*2006-09-10"):
        assert open_g5nr(tmp_path).sizes["time"] == 2


def test_a_missing_value_of_one_time_is_missing(tmp_path):
    values = half_hours(0)
    values[7, 3, 4] = published.FILL
    write_day(tmp_path, "20060910", values)
    dust = open_g5nr(tmp_path).values[0]
    assert np.isnan(dust[3, 4])
    assert np.isnan(dust).sum() == 1


@pytest.mark.parametrize("fill", [1e20, -1e15, -9999.0])
@pytest.mark.parametrize("stated", ["_FillValue", "missing_value", "fmissing_value", "nowhere"])
def test_other_fill_values_than_the_published_one(fill, stated, tmp_path):
    values = half_hours(0)
    values[7, 3, 4] = fill
    attrs = dict.fromkeys(["missing_value", "fmissing_value", "vmax", "vmin", "valid_range"])
    options = {"fill": np.float32(fill), "fill_attributes": (stated,), "attrs": attrs}
    if stated in attrs:
        attrs[stated] = np.float32(fill)
    write_day(tmp_path, "20060910", values, **options)
    if stated == "nowhere" and fill == -9999:
        with pytest.raises(DataError, match=r"1 values of 'DUEXTTAU' equal to -9999, which looks"):
            open_g5nr(tmp_path).compute()
        return
    dust = open_g5nr(tmp_path).values[0]
    assert np.argwhere(np.isnan(dust)).tolist() == [[3, 4]]


def test_both_records_bear_the_same_days(record, tmp_path):
    """What fit asks of a coarse and a fine record: the same hour of the same days."""
    for date in record[1]:
        hourly = np.random.default_rng(0).random((24, *SHAPE), dtype=np.float32)
        published.write_merra2(tmp_path, date, hourly, GRID)
    coarse, fine = xd.datasets.open_merra2(tmp_path), open_g5nr(record[0])
    np.testing.assert_array_equal(coarse.time, fine.time)
    xd.splits.check_steps(coarse.time, fine.time)


# what bad input gets

TIMES = published.g5nr_times()
NAME = r"c1440_NR.inst30mn_2d_aer1_Nx.20060910_1230z.nc4"


def one(time="1230", **options):
    def build(folder):
        published.write_g5nr(folder, "20060910", time, half_hours(0, 1)[0], GRID, **options)
        return folder

    return build


def spoilt(spoil):
    def build(folder):
        one()(folder)
        spoil(next(folder.rglob("*1230z.nc4")))
        return folder

    return build


def renamed(name):
    return spoilt(lambda path: path.rename(path.with_name(name)))


BAD_FILES = [
    pytest.param(spoilt(lambda p: p.write_bytes(b"")), {}, DataError, f"{NAME} is empty",
                 id="empty"),
    pytest.param(spoilt(lambda p: p.write_text(published.LOGIN_PAGE)), {}, DataError,
                 f"{NAME} is an HTML page", id="html"),
    pytest.param(spoilt(published.truncate), {}, DataError, f"{NAME} is truncated", id="truncated"),
    pytest.param(one(), {"variable": "duexttau"}, DataError,
                 "has no variable 'duexttau'; it has BCEXTTAU, DUEXTTAU", id="variable"),
    pytest.param(one(), {"margin": True}, OptionError, "margin is True", id="margin"),
    pytest.param(one(), {"region": "Arabia"}, OptionError, "is 'Arabia'; give a box", id="region"),
    pytest.param(one(), {"incomplete": None}, OptionError, "Unknown incomplete", id="incomplete"),
    pytest.param(renamed("c1440_NR.inst30mn_2d_aer1_Nx.20060931_1230z.nc4"), {}, DataError,
                 "says the time 20060931_1230, which does not exist", id="31-september"),
    pytest.param(renamed("c1440_NR.inst30mn_2d_aer1_Nx.20060910_2430z.nc4"), {}, DataError,
                 "says the time 20060910_2430", id="hour-24"),
    pytest.param(renamed("c1440_NR.inst30mn_2d_aer1_Nx.20060910_1275z.nc4"), {}, DataError,
                 "says the time 20060910_1275", id="minute-75"),
    pytest.param(renamed("c1440_NR.inst30mn_3d_T_Nv.20060910_1230z.nc4"), {}, StorageError,
                 "No file is called like c1440_NR", id="three-dimensional"),
    pytest.param(lambda f: [one()(f), *map(str, renamed("dust.nc4")(f).rglob("dust.nc4"))], {},
                 DataError, "dust.nc4 is read from its name", id="renamed"),
    pytest.param(lambda f: one()(f) and one(collection="tavg30mn_2d_met2_Nx", time="1245")(f), {},
                 DataError, "collections inst30mn_2d_aer1_Nx, tavg30mn", id="two-collections"),
    pytest.param(lambda f: one()(f / "a") and one()(f / "b") and f, {}, DataError,
                 "are of the same time", id="same-time-twice"),
    pytest.param(lambda f: f / "nowhere", {}, StorageError, "nowhere does not exist",
                 id="no-folder"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*fewer than 48 files")
@pytest.mark.parametrize(("build", "options", "error", "message"), BAD_FILES)
def test_bad_input_when_opening(build, options, error, message, tmp_path):
    with pytest.raises(error, match=f"(?s){message}"):
        open_g5nr(build(tmp_path), **options)


def rewrite(**options):
    def spoil(folder):
        grid = options.get("grid", GRID)
        fields = np.ones((grid[0].size, grid[1].size), np.float32)
        published.write_g5nr(folder, "20060910", "1230", fields, **{"grid": grid} | options)

    return spoil


BAD_WHEN_READ = [
    pytest.param(rewrite(stamp="2006-09-10 13:00:00"), f"{NAME} holds the times.*T13:00",
                 id="other-time"),
    pytest.param(rewrite(stamp="2006-09-11 12:30:00"), f"{NAME} holds the times 2006-09-11",
                 id="other-day"),
    pytest.param(rewrite(grid=published.small_grid(15.0)), f"{NAME} has 13 lat from -90",
                 id="other-grid"),
    pytest.param(lambda f: published.write_gmao(
        next(f.rglob("*1230z.nc4")), "minutes since 2006-09-10", [], GRID,
        {"DUEXTTAU": np.ones((0, *SHAPE), np.float32)}), f"{NAME} holds no time", id="no-time"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), BAD_WHEN_READ)
def test_bad_input_when_reading(spoil, message, tmp_path):
    write_day(tmp_path, "20060910", half_hours(0))
    spoil(tmp_path)
    dust = open_g5nr(tmp_path)
    with pytest.raises(DataError, match=f"(?s){message}"):
        dust.compute()


def test_a_box_beyond_the_file(tmp_path):
    grid = (GRID[0][5:12], GRID[1][10:20])
    for time in TIMES:
        published.write_g5nr(tmp_path, "20060910", time, np.ones((7, 10), np.float32), grid)
    with pytest.raises(GridError, match="longitudes 0 to 60 reach beyond the grid of c1440_NR"):
        open_g5nr(tmp_path, (0, 60, -10, 0))
