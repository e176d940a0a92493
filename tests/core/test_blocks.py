"""Days of records that need not fit in memory."""

from __future__ import annotations

import pickle
import threading

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from records import label
from xdownscale.core import blocks as blocks_


class Counted:
    """A dask array that knows how many days were read."""

    def __init__(self, values, chunk):
        self.days, lock = 0, threading.Lock()

        def note(block):
            with lock:
                self.days += len(block)
            return block

        lazy = dask.array.from_array(values, chunks=(chunk, -1, -1))
        self.array = lazy.map_blocks(note, dtype=values.dtype, meta=values[:0])


def record_of(days):
    values = np.random.default_rng(0).normal(size=(days, 4, 5)).astype(np.float32)
    return label(values, np.arange(4.0), np.arange(5.0), units=None)


@pytest.fixture
def values(rng):
    return rng.normal(size=(41, 3, 4)).astype(np.float32)


@given(chunk=st.integers(1, 50), most=st.integers(1, 50))
def test_blocks_hold_every_day_once(chunk, most):
    values = np.arange(41.0)[:, None] * np.ones(3)
    for array in (values, dask.array.from_array(values, chunks=(chunk, -1))):
        rows, blocks = zip(*blocks_.blocks(array, most), strict=True)
        np.testing.assert_array_equal(np.concatenate(blocks), values)
        assert [r.start for r in rows[1:]] == [r.stop for r in rows[:-1]]
        assert max(map(len, blocks)) <= most


def test_blocks_read_each_chunk_once(values):
    record = Counted(values, 9)
    list(blocks_.blocks(record.array, 20))
    assert record.days == len(values)


def test_large_days_are_read_one_by_one(monkeypatch):
    monkeypatch.setattr(blocks_, "BLOCK", 100)
    assert blocks_.at_once(np.zeros((10, 5, 5))) == 1
    assert [len(block) for _, block in blocks_.blocks(np.zeros((3, 5, 5)))] == [1, 1, 1]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(1, 50))
def test_a_reader_gives_what_the_array_gives(rows, chunk):
    values = np.arange(41.0)[:, None] * np.ones(3)
    rows = np.array(rows)
    for array in (values, dask.array.from_array(values, chunks=(chunk, -1))):
        np.testing.assert_array_equal(blocks_.Reader(array)[rows], values[rows])


def test_one_day_after_another_reads_each_chunk_once(values):
    record = Counted(values, 9)
    reader = blocks_.Reader(record.array)
    for day in range(len(values)):
        np.testing.assert_array_equal(reader[np.array([day])][0], values[day])
    assert record.days == len(values)


def test_two_chunks_are_remembered(values):
    record = Counted(values, 9)
    reader = blocks_.Reader(record.array)
    for day in (0, 10, 0, 10, 20, 10):
        reader[np.array([day])]
    assert record.days == 3 * 9
    reader[np.array([0])]
    assert record.days == 4 * 9


def test_of_a_chunk_that_is_too_large_days_are_read(values, monkeypatch):
    monkeypatch.setattr(blocks_, "_KEPT", 8 * values[0].nbytes)
    reader = blocks_.Reader(dask.array.from_array(values, chunks=(9, -1, -1)))
    np.testing.assert_array_equal(reader[np.array([40, 3])], values[[40, 3]])
    assert not reader._kept


def test_a_reader_travels(values):
    reader = pickle.loads(pickle.dumps(blocks_.Reader(values)))
    np.testing.assert_array_equal(reader[np.array([3])], values[[3]])


@pytest.mark.parametrize("kind", ["zarr", "netcdf"])
def test_records_opened_without_chunks_are_read_by_days(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks_, "_CHUNK", 18 * 80)  # bytes of 18 days
    record = record_of(50)
    path = tmp_path / "record"
    if kind == "zarr":
        encoding = {"dust": {"chunks": (7, 4, 5)}}
        record.to_dataset().to_zarr(path, encoding=encoding, consolidated=False)
        opened = xr.open_zarr(path, chunks=None, consolidated=False)
    else:
        record.to_dataset().to_netcdf(path)
        opened = xr.open_dataset(path)
    with opened:
        found = blocks_.chunked(opened)
        assert found.dust.chunks[0][0] == (14 if kind == "zarr" else 18)
        xr.testing.assert_identical(found.compute(), record.to_dataset())
        lazy = found.dust
        assert blocks_.chunked(lazy) is lazy
    assert blocks_.chunked(record) is record


def test_a_record_on_disc_without_time_keeps_the_chunks_of_its_file(tmp_path):
    record = record_of(1).isel(time=0, drop=True).to_dataset()
    record.to_netcdf(tmp_path / "field.nc")
    with xr.open_dataset(tmp_path / "field.nc") as opened:
        found = blocks_.chunked(opened.dust)
        assert found.chunks is not None
        xr.testing.assert_identical(found.compute(), record.dust)
