"""MERRA-2 granules as daily means: values, laziness, boxes, gaps, and what bad files get."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import published_files as published
import xdownscale as xd
from xdownscale.core.errors import (
    DataError,
    GridError,
    MissingPackageError,
    OptionError,
    StorageError,
    TimeAxisError,
    XDownscaleWarning,
)
from xdownscale.datasets import open_merra2

GRID = published.small_grid()
SHAPE = (24, GRID[0].size, GRID[1].size)


@pytest.fixture(autouse=True)
def one_thread():
    """Where a task fails, other threads go on reading while the next test writes its files."""
    with dask.config.set(scheduler="sync"):
        yield


def hourly(seed):
    return np.random.default_rng(seed).gamma(2.0, 0.1, SHAPE).astype(np.float32)


def days(*dates, seed=0):
    return {date: hourly(seed + k) for k, date in enumerate(dates)}


DATES = ("20001230", "20001231", "20010101")  # streams 200 and 300


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Three days of few cells: folder and the values that were written."""
    folder = tmp_path_factory.mktemp("merra2")
    written = days(*DATES)
    for date, values in written.items():
        published.write_merra2(folder, date, values, GRID)
    return folder, written


def by_hand(written):
    return np.stack([v.astype(np.float64).mean(axis=0) for v in written.values()])


# values


def test_the_published_layout_at_its_full_size(tmp_path):
    box = (slice(220, 260), slice(330, 400))
    values = np.random.default_rng(1).gamma(2.0, 0.1, (24, 40, 70)).astype(np.float32)
    published.write_merra2(tmp_path, "20060815", values, window=box)
    lat, lon = published.MERRA2_GRID
    edges = (lon[335] - 0.3, lon[390] + 0.3, lat[225] - 0.2, lat[250] + 0.2)
    dust = open_merra2(tmp_path, edges)
    assert dust.dims == ("time", "lat", "lon")
    assert dust.dtype == np.float32
    np.testing.assert_array_equal(dust.lat, lat[224:252])
    np.testing.assert_array_equal(dust.lon, lon[334:392])
    mean = values[:, 4:32, 4:62].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(dust.values[0], mean, rtol=1e-6)
    assert open_merra2(tmp_path).shape == (1, 361, 576)
    assert np.isnan(open_merra2(tmp_path).isel(lat=0).values).all()  # fill values


def test_daily_means_are_those_of_numpy(record):
    folder, written = record
    dust = open_merra2(folder)
    np.testing.assert_allclose(dust.values, by_hand(written), rtol=1e-6)
    np.testing.assert_array_equal(
        dust.time, np.array(["2000-12-30", "2000-12-31", "2001-01-01"], "datetime64[ns]")
    )


def test_attributes_are_cf(record):
    dust = open_merra2(record[0])
    assert dust.name == "DUEXTTAU"
    assert dust.attrs["units"] == "1"
    assert dust.attrs["long_name"] == "Dust Extinction AOT [550 nm]"
    assert dust.attrs["standard_name"].startswith("atmosphere_optical_thickness_due_to_dust")
    assert dust.attrs["cell_methods"] == "time: mean (interval: 1 hour)"
    assert "24 hourly values of 3 tavg1_2d_aer_Nx files" in dust.attrs["history"]
    assert not {"vmax", "valid_range", "fmissing_value"} & set(dust.attrs)
    assert dust.lat.attrs["standard_name"] == "latitude"
    assert dust.time.attrs["standard_name"] == "time"
    import cf_xarray  # noqa: F401

    assert dust.cf.axes == {"T": ["time"], "Y": ["lat"], "X": ["lon"]}


def test_a_variable_whose_name_is_not_cf_has_no_standard_name(tmp_path):
    published.write_merra2(tmp_path, "20200101", {"BCEXTTAU": hourly(0)}, GRID)
    assert "standard_name" not in open_merra2(tmp_path, variable="BCEXTTAU").attrs


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_the_record_can_be_written_and_read(scheduler, record, tmp_path):
    dust = open_merra2(record[0], (20, 60, 0, 40))
    with dask.config.set(scheduler=scheduler, num_workers=4):
        dust.to_netcdf(tmp_path / "dust.nc")
    with xr.open_dataarray(tmp_path / "dust.nc") as again:
        xr.testing.assert_equal(again, dust.compute())


@pytest.mark.parametrize(
    "only", [("_FillValue",), ("missing_value",), ("fmissing_value",), ()], ids=str
)
def test_any_of_the_fill_attributes_will_do(only, tmp_path):
    values = hourly(0)
    values[3, 5, 6] = published.FILL
    published.write_merra2(tmp_path, "20200101", values, GRID, fill_attributes=only)
    dust = open_merra2(tmp_path).values[0]
    assert np.isnan(dust[5, 6])
    assert np.isnan(dust).sum() == 1


ALL = ("_FillValue", "missing_value", "fmissing_value")


def stating(fill, only):
    """Options of a file that states a fill value in some attributes, the published one never."""
    stated = {name: np.float32(fill) if name in only else None for name in ALL[1:]}
    bounds = dict.fromkeys(["vmax", "vmin", "valid_range"])
    return {"fill": np.float32(fill), "fill_attributes": only, "attrs": stated | bounds}


@pytest.mark.parametrize("only", [ALL, *((name,) for name in ALL), ALL[1:], ()], ids=str)
@pytest.mark.parametrize("fill", [1e20, -1e15, -9999.0])
def test_other_fill_values_than_the_published_one(fill, only, tmp_path):
    values = hourly(0)
    expected = values.mean(axis=0)
    expected[5, 6] = np.nan
    values[3, 5, 6] = fill
    published.write_merra2(tmp_path, "20200101", values, GRID, **stating(fill, only))
    if only or abs(fill) >= 1e15:
        np.testing.assert_allclose(open_merra2(tmp_path).values[0], expected, rtol=1e-5)
    else:
        with pytest.raises(DataError, match=rf"1 values of 'DUEXTTAU' equal to {fill:g}, which"):
            open_merra2(tmp_path).compute()


def test_the_published_fill_value_beside_another_one(tmp_path):
    """A subset service states its own fill value, and leaves those of the original in the data."""
    values = hourly(0)
    values[3, 5, 6] = 1e15
    values[4, 7, 8] = 1e20
    values[5, 9, 10] = -9999
    options = stating(1e20, ("_FillValue",))
    options["attrs"]["fmissing_value"] = np.float32(-9999)
    options["fill_attributes"] = ("_FillValue", "fmissing_value")
    published.write_merra2(tmp_path, "20200101", values, GRID, **options)
    missing = np.argwhere(np.isnan(open_merra2(tmp_path).values[0]))
    assert missing.tolist() == [[5, 6], [7, 8], [9, 10]]


def test_a_fill_value_in_some_hours_of_all_cells(tmp_path):
    values = hourly(0)
    values[3] = -9999
    published.write_merra2(tmp_path, "20200101", values, GRID, **stating(-9999, ALL[2:]))
    assert np.isnan(open_merra2(tmp_path).values).all()


def test_values_that_look_like_fill_values_among_their_like_are_kept(tmp_path):
    values = hourly(0) * 200 - 150
    values[3, 5, 6] = -99.0
    published.write_merra2(tmp_path, "20200101", values, GRID, **stating(1e15, ALL))
    np.testing.assert_allclose(open_merra2(tmp_path).values[0], values.mean(axis=0), rtol=1e-4)


def test_packed_values_are_unpacked(tmp_path):
    values = np.random.default_rng(0).integers(0, 30000, SHAPE).astype(np.int16)
    scale = {"scale_factor": np.float32(1e-4), "add_offset": np.float32(0.5)}
    clean = scale | dict.fromkeys(["vmax", "vmin", "valid_range", "fmissing_value"])
    options = {
        "dtype": "i2",
        "fill": np.int16(-9999),
        "fill_attributes": ("_FillValue",),
        "attrs": clean,
    }
    published.write_merra2(tmp_path, "20200101", values, GRID, **options)
    mean = values.astype(np.float64).mean(axis=0) * 1e-4 + 0.5
    np.testing.assert_allclose(open_merra2(tmp_path).values[0], mean, rtol=1e-5)


@pytest.mark.parametrize("suffix", ["", ".SUB", ".nc4"])
def test_names_of_subsets_are_understood(suffix, tmp_path):
    values, grid = hourly(0)[:, 10:20, 40:60], (GRID[0][10:20], GRID[1][40:60])
    name = published.merra2_name("20200101", suffix=suffix)
    published.write_merra2(tmp_path, "20200101", values, grid, name=name)
    np.testing.assert_allclose(open_merra2(tmp_path).values[0], values.mean(axis=0), rtol=1e-5)
    # no margin where the file has no cells
    dust = open_merra2(tmp_path, (20, 110, -40, 0), margin=3)
    assert dust.shape == (1, 10, 20)


def test_a_meridian_stored_as_rounding_error_is_greenwich(tmp_path):
    lon = GRID[1].copy()
    lon[36] = -1.8e-14
    published.write_merra2(tmp_path, "20200101", hourly(0), (GRID[0], lon))
    assert open_merra2(tmp_path).lon.values[36] == 0.0


# files


def test_any_order_of_files_gives_the_same(record):
    folder, _ = record
    files = sorted(folder.iterdir())
    expected = open_merra2(folder).compute()
    for order in ([2, 0, 1], [1, 2, 0]):
        xr.testing.assert_identical(open_merra2([files[k] for k in order]).compute(), expected)
    xr.testing.assert_identical(open_merra2(str(folder / "*.nc4")).compute(), expected)
    xr.testing.assert_identical(open_merra2([folder, files[0]]).compute(), expected)


def test_other_files_of_a_folder_are_left_alone(record, tmp_path):
    folder, written = record
    for file in folder.iterdir():
        nested = tmp_path / "deep" / file.name
        nested.parent.mkdir(exist_ok=True)
        nested.write_bytes(file.read_bytes())
    (tmp_path / "robots.txt").write_text("no data")
    (tmp_path / "MERRA2_400.tavg1_2d_aer_Nx.20200101.nc4.xml").write_text("<xml/>")
    assert open_merra2(tmp_path).sizes["time"] == len(written)


def test_years_are_kept(record):
    with pytest.warns(XDownscaleWarning, match="363 of 365 days have no file.*2001-01-02|364 of"):
        dust = open_merra2(record[0], years=2001)
    assert dust.time.dt.year.values.tolist() == [2001]


def test_the_reprocessed_stream_replaces_the_first(tmp_path):
    first, again = hourly(0), hourly(1)
    published.write_merra2(tmp_path, "20200915", first, GRID)
    published.write_merra2(
        tmp_path, "20200915", again, GRID, name=published.merra2_name("20200915", stream=401)
    )
    with pytest.warns(XDownscaleWarning, match="1 days are there from two streams"):
        dust = open_merra2(tmp_path)
    np.testing.assert_allclose(dust.values[0], again.mean(axis=0), rtol=1e-5)


# boxes


@pytest.mark.parametrize(
    "box",
    [
        (20, 60, 0, 40),
        (-20, 30, -10, 10),
        (340, 30, -10, 10),
        (170, 200, 0, 30),
        (170, -160, 0, 30),
        (-190, -160, 0, 30),
        (0, 360, -90, 90),
        (11, 12, 13, 14),
        (-180, 180, 80, 90),
        (530, 560, 0, 30),
    ],
    ids=str,
)
@pytest.mark.parametrize("margin", [0, 1, 3])
def test_a_box_gives_the_cells_that_it_touches(box, margin, record):
    folder, _written = record
    whole, part = open_merra2(folder).compute(), open_merra2(folder, box, margin=margin).compute()
    west, east, south, north = box
    width = min(east - west, 360) if east >= west else (east - west) % 360
    step = 5.0
    lon, lat = part.lon.values, part.lat.values
    assert (np.diff(lon) == step).all()
    assert (np.diff(lat) == step).all()
    # the box is covered, with `margin` cells more and no more than those
    if width < 330:
        assert lon[0] - step / 2 <= west - margin * step < lon[0] + step / 2
        assert lon[-1] - step / 2 < west + width + margin * step <= lon[-1] + step / 2
    else:
        assert lon.size == 72
    assert lat[0] - step / 2 <= max(south - margin * step, -90)
    assert lat[-1] + step / 2 >= min(north + margin * step, 90)
    wrapped = (lon + 180) % 360 - 180
    np.testing.assert_array_equal(part.values, whole.sel(lat=lat, lon=wrapped).values)


@given(
    west=st.floats(-400, 400),
    width=st.floats(0, 359),
    south=st.floats(-90, 89),
    height=st.floats(0, 60),
    margin=st.integers(0, 3),
    start=st.sampled_from([-180.0, 0.0, -177.5]),
    flip=st.booleans(),
)
def test_any_box_is_covered_in_any_convention(west, width, south, height, margin, start, flip):
    from xdownscale.datasets._subset import cut

    lat, lon = published.small_grid(5.0, start)
    lat = lat[::-1] if flip else lat
    north = min(south + height, 90.0)
    window = cut(lat, lon, (west, west + width, south, north), margin, "the grid")
    assert window.latitude.min() - 2.5 <= south + 1e-4
    assert window.latitude.max() + 2.5 >= north - 1e-4
    np.testing.assert_allclose(np.diff(window.longitude), 5.0)
    assert window.longitude.size <= 72
    if window.longitude.size < 72:
        assert window.longitude[0] - 2.5 <= west + 1e-4
        assert window.longitude[-1] + 2.5 >= west + width - 1e-4
    taken = np.concatenate([lon[c] for c in window.columns])
    np.testing.assert_allclose((window.longitude - taken) % 360 % 360, 0, atol=1e-9)
    np.testing.assert_array_equal(window.latitude, lat[window.rows])


def test_a_fine_grid_in_the_box_can_be_reached_by_interpolation(record):
    coarse = open_merra2(record[0], (41, 47, 11, 19)).compute()
    fine = xr.Dataset(coords={"lat": np.arange(11.05, 19, 0.5), "lon": np.arange(41.05, 47, 0.5)})
    assert not np.isnan(xd.regrid(coarse, fine)).any()
    assert float(coarse.lon.min()) < 41
    assert float(coarse.lon.max()) > 47


# laziness


class Counting:
    """A scheduler that counts how often it is asked to compute."""

    def __init__(self):
        self.count = 0

    def __call__(self, dsk, keys, **kwargs):
        self.count += 1
        return dask.get(dsk, keys, **kwargs)


def test_nothing_is_computed_until_it_is_asked_for(record):
    counting = Counting()
    with dask.config.set(scheduler=counting):
        dust = open_merra2(record[0], (20, 60, 0, 40))
        lazy = np.log10(dust.isel(time=1)) - 1
        assert counting.count == 0
        lazy.compute()
    assert counting.count == 1
    assert dust.chunks == ((1, 1, 1), (11,), (11,))


def test_a_record_of_25_years_is_opened_without_opening_its_files(tmp_path, monkeypatch):
    """All but the first are stubs that could not be read."""
    dates = np.arange("2000-01-01", "2025-01-01", dtype="datetime64[D]").astype(str)
    published.write_merra2(tmp_path, "20000101", hourly(0), GRID)
    head = b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08" + b"\0" * 33  # says: 0 bytes long
    for date in dates[1:]:
        (tmp_path / published.merra2_name(date.replace("-", ""))).write_bytes(head)
    opened = []
    real = xr.open_dataset
    monkeypatch.setattr(xr, "open_dataset", lambda p, **k: opened.append(p) or real(p, **k))
    counting = Counting()
    with dask.config.set(scheduler=counting):
        dust = open_merra2(tmp_path, (20, 60, 0, 40))
    assert dust.shape == (9132, 11, 11)
    assert (len(opened), counting.count) == (1, 0)
    assert np.isfinite(dust[0].values).all()


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize("chunks", [{"time": 2}, {"time": -1, "lat": 4}])
def test_chunks_and_threads_do_not_matter(scheduler, chunks, record):
    folder, written = record
    with dask.config.set(scheduler=scheduler, num_workers=4):
        found = open_merra2(folder).chunk(chunks).compute()
    np.testing.assert_allclose(found.values, by_hand(written), rtol=1e-6)


def test_a_day_is_read_alone(record, monkeypatch):
    opened = []
    dust = open_merra2(record[0])
    real = xr.open_dataset
    monkeypatch.setattr(xr, "open_dataset", lambda p, **k: opened.append(Path(p)) or real(p, **k))
    dust.sel(time="2000-12-31").compute()
    assert [p.name for p in opened] == [published.merra2_name("20001231")]


# gaps


def test_missing_days_are_left_out_and_counted(tmp_path):
    for date, values in days("20200101", "20200104").items():
        published.write_merra2(tmp_path, date, values, GRID)
    with pytest.warns(XDownscaleWarning, match=r"2 of 4 days have no file.*first is 2020-01-02"):
        dust = open_merra2(tmp_path)
    assert dust.sizes["time"] == 2
    with pytest.raises(TimeAxisError, match=r"2 of 4 days have no file.*incomplete='nan'"):
        open_merra2(tmp_path, incomplete="raise")


def test_a_day_without_all_its_hours_is_nan(tmp_path):
    for date, hours in (("20200101", 24), ("20200102", 23)):
        published.write_merra2(tmp_path, date, hourly(0)[:hours], GRID, hours=hours)
    dust = open_merra2(tmp_path)
    with pytest.warns(XDownscaleWarning, match=r"20200102.nc4.*23 of 24 times; the day is NaN"):
        found = dust.compute()
    assert np.isnan(found).all(("lat", "lon")).values.tolist() == [False, True]
    with pytest.raises(TimeAxisError, match=r"20200102.nc4.*hold 23 of 24 times"):
        open_merra2(tmp_path, incomplete="raise").compute()


def test_an_hour_that_stands_twice_does_not_make_a_day(tmp_path):
    published.write_merra2(tmp_path, "20200101", hourly(0), GRID, times=[0, *range(0, 1380, 60)])
    with pytest.warns(XDownscaleWarning, match="the day is NaN"):
        assert np.isnan(open_merra2(tmp_path).values).all()


# what bad input gets


def good(folder, date="20200101", **options):
    return published.write_merra2(folder, date, hourly(0), GRID, **options)


def content(data, date="20200101"):
    def build(folder):
        path = Path(folder) / published.merra2_name(date)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return folder

    return build


def shortened(share):
    def build(folder):
        published.truncate(good(folder), share)
        return folder

    return build


def written(**options):
    def build(folder):
        good(folder, **options)
        return folder

    return build


def two(one, other):
    def build(folder):
        one(folder)
        other(folder)
        return folder

    return build


FILE = r"MERRA2_400.tavg1_2d_aer_Nx.20200101.nc4"
BAD_FILES = [
    pytest.param(content(b""), {}, DataError, rf"{FILE} is empty \(0 bytes\)", id="empty"),
    pytest.param(
        content(published.LOGIN_PAGE),
        {},
        DataError,
        rf"{FILE} is an HTML page.*login page of Earthdata.*download it again",
        id="html",
    ),
    pytest.param(
        content("\n\n  <html><body>502 Bad Gateway"),
        {},
        DataError,
        rf"{FILE} is an HTML page",
        id="html-after-blanks",
    ),
    pytest.param(
        content("\ufeff<!-- x --><HTML>"),
        {},
        DataError,
        rf"{FILE} is an HTML page",
        id="html-after-comment",
    ),
    pytest.param(
        content('{"errors": ["denied"]}'), {}, DataError, rf"{FILE} is no.*JSON", id="json"
    ),
    pytest.param(
        content("<?xml version='1.0'?><Error/>"), {}, DataError, rf"{FILE}.*XML", id="xml"
    ),
    pytest.param(content(b"\x1f\x8b\x08" + bytes(99)), {}, DataError, rf"{FILE}.*gzip", id="gzip"),
    pytest.param(content(b"PK\x03\x04" + bytes(99)), {}, DataError, rf"{FILE}.*zip", id="zip"),
    pytest.param(content(b"GRIB" + bytes(99)), {}, DataError, rf"{FILE}.*GRIB", id="grib"),
    pytest.param(
        content(b"\x0e\x03\x13\x01" + bytes(99)), {}, DataError, rf"{FILE}.*HDF4", id="hdf4"
    ),
    pytest.param(
        content(bytes(600)), {}, DataError, rf"{FILE} is no netCDF file: its 600 bytes", id="zeros"
    ),
    pytest.param(
        content(b"\x89HDF\r\n\x1a\n"),
        {},
        DataError,
        rf"{FILE} is truncated: it has 8",
        id="signature-alone",
    ),
    pytest.param(
        shortened(0.5), {}, DataError, rf"{FILE} is truncated: it has \d+ of \d+ bytes", id="half"
    ),
    pytest.param(shortened(0.999), {}, DataError, rf"{FILE} is truncated", id="almost-whole"),
    pytest.param(shortened(0.001), {}, DataError, rf"{FILE} is truncated", id="first-bytes"),
    pytest.param(content(b"CDF\x01" + bytes(40)), {}, DataError, rf"{FILE}", id="netcdf3-stub"),
    pytest.param(
        two(written(), content(published.LOGIN_PAGE, "20200102")),
        {},
        DataError,
        r"20200102.nc4 is an HTML page",
        id="html-among-good",
    ),
    pytest.param(
        written(),
        {"variable": "DUEXTAU"},
        DataError,
        rf"{FILE} has no variable 'DUEXTAU'; it has BCEXTTAU, DUEXTTAU\. Did you mean "
        "'DUEXTTAU'",
        id="variable-not-there",
    ),
    pytest.param(
        written(), {"variable": "lat"}, DataError, "has no variable 'lat'", id="variable-is-axis"
    ),
    pytest.param(written(), {"region": (0, 10, 20, 200)}, OptionError, "north=200", id="box-north"),
    pytest.param(written(), {"region": (0, 10, 20)}, OptionError, "give a box", id="box-of-three"),
    pytest.param(
        written(), {"region": xr.DataArray([1])}, OptionError, "region is a mask", id="box-is-mask"
    ),
    pytest.param(written(), {"margin": -1}, OptionError, "margin is -1", id="margin-negative"),
    pytest.param(written(), {"margin": 1.5}, OptionError, "margin is 1.5", id="margin-broken"),
    pytest.param(
        written(),
        {"incomplete": "drop"},
        OptionError,
        "Unknown incomplete: 'drop'",
        id="incomplete",
    ),
    pytest.param(
        written(),
        {"years": 1979},
        OptionError,
        "years is 1979.*1980 or later",
        id="year-before-merra2",
    ),
    pytest.param(
        written(), {"years": "2000-2003"}, OptionError, "years is '2000-2003'", id="years-text"
    ),
    pytest.param(written(), {"years": []}, OptionError, r"years is \[\]", id="years-none"),
    pytest.param(
        written(),
        {"years": 2001},
        DataError,
        r"None of the 1 MERRA-2 files is of the years \[2001\].*2020-01-01",
        id="no-year",
    ),
    pytest.param(
        written(),
        {"download": "x"},
        OptionError,
        "takes years and no paths",
        id="download-and-paths",
    ),
    pytest.param(
        written(name="dust_20200101.nc4"),
        {},
        StorageError,
        "No file is called like",
        id="renamed-in-folder",
    ),
    pytest.param(
        lambda f: good(f, name="dust_20200101.nc4"),
        {},
        DataError,
        "dust_20200101.nc4 is read from its name.*published name",
        id="renamed",
    ),
    pytest.param(
        written(name=published.merra2_name("20200230")),
        {},
        DataError,
        "says the date 20200230, which does not exist",
        id="30-february",
    ),
    pytest.param(
        two(written(), written(name=published.merra2_name("20200101", suffix=".SUB"))),
        {},
        DataError,
        "are of the same day",
        id="same-day-twice",
    ),
    pytest.param(
        two(written(), written(name=published.merra2_name("20200102", "tavg1_2d_slv_Nx"))),
        {},
        DataError,
        "collections tavg1_2d_aer_Nx, tavg1_2d_slv_Nx",
        id="two-collections",
    ),
    pytest.param(
        lambda f: f / "nowhere", {}, StorageError, "nowhere does not exist", id="no-folder"
    ),
    pytest.param(lambda f: f, {}, StorageError, "No file is called like MERRA2_400", id="no-files"),
    pytest.param(lambda f: str(f / "*.nc4"), {}, StorageError, "No file is called", id="no-match"),
    pytest.param(lambda f: 5, {}, OptionError, "paths is 5", id="paths-number"),
    pytest.param(lambda f: [], {}, StorageError, "No file is called like", id="paths-empty"),
    pytest.param(lambda f: None, {}, OptionError, "needs files", id="paths-none"),
]


@pytest.mark.parametrize(("build", "options", "error", "message"), BAD_FILES)
def test_bad_input_when_opening(build, options, error, message, tmp_path):
    with pytest.raises(error, match=f"(?s){message}"):
        open_merra2(build(tmp_path), **options)


def first_good(other):
    return two(written(), other)


def on_other_grid(folder):
    grid = (GRID[0], GRID[1] + 1.0)
    published.write_merra2(folder, "20200102", hourly(0), grid)


def damaged(folder):
    """Whole by its length, but with zeros where the values were."""
    path = good(folder, "20200102")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(bytes(data))


BAD_WHEN_READ = [
    pytest.param(
        first_good(lambda f: good(f, "20200102", stamp="2020-01-03 00:30:00")),
        r"20200102.nc4 holds the times 2020-01-03.*its name does not say",
        id="other-day",
    ),
    pytest.param(
        first_good(lambda f: good(f, "20200102", stamp="2020-01-02 12:30:00")),
        r"20200102.nc4 holds the times.*2020-01-03T11:30",
        id="half-of-the-next-day",
    ),
    pytest.param(first_good(on_other_grid), r"20200102.nc4 has 72 lon from -179", id="other-grid"),
    pytest.param(first_good(damaged), r"20200102.nc4 is damaged", id="damaged"),
    pytest.param(
        first_good(lambda f: published.write_merra2(f, "20200102", {"DUSMASS": hourly(0)}, GRID)),
        r"20200102.nc4 has no variable 'DUEXTTAU'; it has BCEXTTAU, DUSMASS",
        id="variable",
    ),
    pytest.param(
        first_good(
            lambda f: published.write_gmao(
                f / published.merra2_name("20200102"),
                "1",
                np.arange(24) * 60,
                GRID,
                {"DUEXTTAU": hourly(0)},
                clock=False,
            )
        ),
        "20200102.nc4 has times without a date",
        id="time-without-units",
    ),
    pytest.param(
        first_good(
            lambda f: published.write_gmao(
                f / published.merra2_name("20200102"),
                "minutes since yesterday",
                np.arange(24),
                GRID,
                {"DUEXTTAU": hourly(0)},
            )
        ),
        "20200102.nc4 cannot be decoded",
        id="time-units-nonsense",
    ),
]


@pytest.mark.parametrize(("build", "message"), BAD_WHEN_READ)
def test_bad_input_when_reading(build, message, tmp_path):
    dust = open_merra2(build(tmp_path))
    assert np.isfinite(dust[0].values).all()
    with pytest.raises(DataError, match=f"(?s){message}"):
        dust.compute()


def test_a_file_that_is_gone_when_it_is_read(tmp_path):
    path = good(tmp_path)
    dust = open_merra2(tmp_path)
    path.unlink()
    with pytest.raises(StorageError, match=f"{FILE} cannot be read"):
        dust.compute()


def test_a_file_that_was_cut_after_opening(tmp_path):
    path = good(tmp_path)
    dust = open_merra2(tmp_path)
    published.truncate(path)
    with pytest.raises(DataError, match=f"{FILE} is truncated"):
        dust.compute()


def test_a_box_beyond_a_subset(tmp_path):
    values, grid = hourly(0)[:, 10:20, 40:60], (GRID[0][10:20], GRID[1][40:60])
    published.write_merra2(tmp_path, "20200101", values, grid)
    with pytest.raises(GridError, match="latitudes -10 to 40 reach beyond the grid of MERRA2"):
        open_merra2(tmp_path, (30, 60, -10, 40))
    with pytest.raises(GridError, match=r"longitudes 0 to 60 reach beyond.*17.5 to 117.5"):
        open_merra2(tmp_path, (0, 60, -30, -10))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ((GRID[0], np.r_[GRID[1][:-1], 179.0]), "longitudes with steps from"),
        ((np.r_[GRID[0][1], GRID[0][0], GRID[0][2:]], GRID[1]), "latitudes in no order"),
        ((GRID[0], np.r_[np.nan, GRID[1][1:]]), "longitude of shape"),
    ],
)
def test_axes_that_are_none(grid, message, tmp_path):
    published.write_merra2(tmp_path, "20200101", hourly(0), grid)
    with pytest.raises(GridError, match=message):
        open_merra2(tmp_path)


def test_a_variable_with_levels(tmp_path):
    path = tmp_path / published.merra2_name("20200101")
    xr.Dataset(
        {"DUEXTTAU": (("time", "lev", "lat", "lon"), hourly(0)[:, None])},
        coords={"lat": GRID[0], "lon": GRID[1], "time": np.arange(24), "lev": [1.0]},
    ).to_netcdf(path)
    with pytest.raises(DataError, match=r"has the dimensions.*lev.*two-dimensional collection"):
        open_merra2(tmp_path)


# downloads: a stand-in at the seam to earthaccess


class Earthdata:
    """Answers as earthaccess does, from a folder of granules."""

    def __init__(self, granules, **faults):
        self.granules, self.faults, self.calls = granules, faults, []

    def login(self):
        self.calls.append(("login",))
        if "refused" in self.faults:
            raise RuntimeError(self.faults["refused"])
        return SimpleNamespace(authenticated=not self.faults.get("unknown", False))

    def search_data(self, **asked):
        self.calls.append(("search_data", asked))
        if "search" in self.faults:
            raise RuntimeError(self.faults["search"])
        year = asked["temporal"][0][:4]
        return [g for g in self.granules if g.name.split(".")[2].startswith(year)]

    def download(self, granules, local_path):
        self.calls.append(("download", len(granules), local_path))
        if "broken" in self.faults:
            raise OSError(self.faults["broken"])
        if self.faults.get("nothing"):
            return None
        keep = granules[: self.faults.get("deliver", len(granules))]
        for granule in keep:
            (Path(local_path) / granule.name).write_bytes(granule.read_bytes())
        failed = [RuntimeError("HTTP 500")] * self.faults.get("failed", 0)
        return [Path(local_path) / granule.name for granule in keep[len(failed) :]] + failed


@pytest.fixture
def earthdata(record, monkeypatch):
    def install(**faults):
        stand_in = Earthdata(sorted(record[0].iterdir()), **faults)
        monkeypatch.setitem(sys.modules, "earthaccess", stand_in)
        return stand_in

    return install


ASK = {"years": range(2000, 2002), "region": (170, 190, 0, 40)}


@pytest.mark.filterwarnings("ignore:.*days have no file")
def test_a_download_makes_exactly_these_calls(earthdata, record, tmp_path):
    stand_in = earthdata()
    dust = open_merra2(download=tmp_path / "new", **ASK)
    common = {
        "short_name": "M2T1NXAER",
        "version": "5.12.4",
        "bounding_box": (170.0, 0.0, -170.0, 40.0),
    }
    assert stand_in.calls == [
        ("login",),
        ("search_data", common | {"temporal": ("2000-01-01T00:00:00", "2000-12-31T23:59:59")}),
        ("search_data", common | {"temporal": ("2001-01-01T00:00:00", "2001-12-31T23:59:59")}),
        ("download", 3, str(tmp_path / "new")),
    ]
    xr.testing.assert_equal(dust.compute(), open_merra2(record[0], ASK["region"]).compute())


@pytest.mark.filterwarnings("ignore:.*days have no file")
@pytest.mark.parametrize(
    ("region", "box"),
    [(None, None), ((0, 360, -5, 5), (-180.0, -5.0, 180.0, 5.0))],
)
def test_the_box_of_the_search(region, box, earthdata, tmp_path):
    stand_in = earthdata()
    open_merra2(download=tmp_path, years=2001, region=region)
    assert stand_in.calls[1][1].get("bounding_box") == box


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        pytest.param({"unknown": True}, "no credentials were found.*netrc", id="no-credentials"),
        pytest.param({"refused": "Invalid user"}, "Invalid user.*urs.earthdata", id="refused"),
        pytest.param(
            {"search": "HTTP 503"},
            "search for M2T1NXAER of 2000 failed: HTTP 503",
            id="search-fails",
        ),
        pytest.param(
            {"broken": "connection reset"},
            "3 granules into .* broke off.*Call again",
            id="broken-off",
        ),
        pytest.param(
            {"deliver": 1}, "2 of 3 granules were not delivered.*Call again", id="partial"
        ),
        pytest.param({"failed": 2}, "2 of 3 granules were not delivered", id="failed"),
        pytest.param({"nothing": True}, "3 of 3 granules were not delivered", id="nothing"),
    ],
)
def test_a_download_that_fails(faults, message, earthdata, tmp_path):
    earthdata(**faults)
    with pytest.raises(StorageError, match=f"(?s){message}"):
        open_merra2(download=tmp_path / "new", **ASK)


def test_years_without_granules(earthdata, tmp_path):
    earthdata()
    with pytest.raises(StorageError, match=r"no granule of M2T1NXAER.*\[2010\]"):
        open_merra2(download=tmp_path, years=2010)


def test_a_download_without_earthaccess(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "earthaccess", None)
    message = r"Downloading M2T1NXAER needs the package 'earthaccess'.*xarray-downscale\[nasa\]"
    with pytest.raises(MissingPackageError, match=message):
        open_merra2(download=tmp_path, years=2010)


def test_earthaccess_is_not_asked_without_download(record, monkeypatch):
    monkeypatch.setitem(sys.modules, "earthaccess", None)
    assert open_merra2(record[0]).sizes["time"] == 3


def test_nothing_of_this_keeps_a_password():
    text = Path(sys.modules["xdownscale.datasets.merra2"].__file__).with_name("_earthdata.py")
    assert not re.search(r"password\s*=|getpass|netrc\.", text.read_text("utf-8"))


# with the rest of the library


def test_the_real_grid_of_merra2_fits_the_box(real_data):
    """The published daily means of a region lie on the grid that a box gives."""
    with xr.open_dataset(real_data / "merra2_dust_bc_3days.nc") as ds:
        lat, lon = ds.lat.values, ds.lon.values
    from xdownscale.datasets._subset import cut

    window = cut(*published.MERRA2_GRID, (60, 150, -15, 55), 0, "MERRA-2")
    np.testing.assert_array_equal(window.latitude, lat)
    np.testing.assert_array_equal(window.longitude, lon)
