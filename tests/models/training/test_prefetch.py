"""Batches that are read in a thread while the network computes."""

from __future__ import annotations

import threading
import time

import pytest

from xdownscale.core.errors import DataError
from xdownscale.models.training.prefetch import Prefetcher


def readers():
    return [t for t in threading.enumerate() if t.name == "xdownscale-reader"]


@pytest.fixture(autouse=True)
def no_reader_is_left():
    yield
    assert not readers()


class Batches:
    def __init__(self, count=10, broken=None):
        self.count, self.broken, self.read, self.threads = count, broken, 0, set()

    def __len__(self):
        return self.count

    def __iter__(self):
        for number in range(self.count):
            if number == self.broken:
                raise DataError("Day 3 cannot be read. Look at it.")
            self.read += 1
            self.threads.add(threading.current_thread().name)
            yield number


def test_the_order_is_kept_and_the_reading_is_done_elsewhere():
    source = Batches()
    ahead = Prefetcher(source)
    assert len(ahead) == 10
    assert list(ahead) == list(ahead) == list(range(10))
    assert source.threads == {"xdownscale-reader"}


def test_no_more_is_read_than_may_wait():
    source = Batches()
    reading = iter(Prefetcher(source, depth=2))
    assert next(reading) == 0
    for _ in range(100):
        time.sleep(0.01)
        if source.read == 4:  # one in use, two waiting, one in the reader's hand
            break
    time.sleep(0.1)
    assert source.read == 4
    reading.close()


def test_an_error_comes_where_its_batch_would_have_come():
    seen = []
    with pytest.raises(DataError, match="Day 3 cannot be read"):
        seen.extend(Prefetcher(Batches(broken=3)))
    reading = iter(Prefetcher(Batches(broken=3)))
    assert [next(reading) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="Day 3"):
        next(reading)


def test_closing_ends_the_reader():
    ahead = Prefetcher(Batches(1000))
    assert next(iter(ahead)) == 0
    assert next(iter(ahead)) == 0
    assert len(readers()) == 2
    ahead.close()
    assert not readers()


def test_whoever_stops_in_the_midst_ends_the_reader():
    def learn():
        for number in Prefetcher(Batches(1000)):
            if number == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn()
