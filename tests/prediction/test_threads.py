"""Threads of the process while tasks share it, and predictions within tasks."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import xdownscale as xd
from records import make_pair
from xdownscale.prediction import workers


@pytest.fixture
def six_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


def in_thread(work):
    """Return what a function returns in a new thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


class Task(threading.Thread):
    """A task that begins and ends when it is told to; counts the threads of torch on its way."""

    def __init__(self):
        super().__init__()
        self.steps = [threading.Event() for _ in range(2)]
        self.reached = [threading.Event() for _ in range(3)]
        self.counts = []

    def run(self):
        self.counts.append(torch.get_num_threads())
        self.reached[0].set()
        self.steps[0].wait()
        with workers.shared_resources():
            self.counts.append(torch.get_num_threads())
            self.reached[1].set()
            self.steps[1].wait()
        self.counts.append(torch.get_num_threads())
        self.reached[2].set()

    def go(self, number):
        self.steps[number].set()
        assert self.reached[number + 1].wait(30)


@pytest.mark.parametrize("order", ["first in, first out", "first in, last out"])
@pytest.mark.parametrize("warm", [True, False])
def test_tasks_that_overlap_leave_the_threads_as_they_were(monkeypatch, six_threads, order, warm):
    monkeypatch.setattr(workers, "tasks_in_process", lambda: 2)
    first, second = Task(), Task()
    first.start()
    assert first.reached[0].wait(30)
    if warm:  # its thread used torch before others shared it
        second.start()
        assert second.reached[0].wait(30)
    first.go(0)
    if not warm:
        second.start()
    second.go(0)
    assert (first.counts[1], second.counts[1]) == (3, 3)
    for task in (first, second) if order == "first in, first out" else (second, first):
        task.go(1)
        task.join()
    assert (first.counts[2], second.counts[2]) == (6, 6)
    assert torch.get_num_threads() == 6
    assert in_thread(torch.get_num_threads) == 6
    assert not workers._sharing


def test_a_task_that_fails_leaves_the_threads_as_they_were(monkeypatch, six_threads):
    monkeypatch.setattr(workers, "tasks_in_process", lambda: 3)
    with pytest.raises(ZeroDivisionError), workers.shared_resources():
        torch.set_num_threads(torch.get_num_threads() // 0)
    assert torch.get_num_threads() == 6
    assert not workers._sharing


@pytest.fixture(scope="module")
def pair():
    coarse, fine = make_pair(60)
    model = xd.fit(coarse.t, fine.t, preset="dressed", progress=False)
    return coarse.t, model


def lazily(coarse, model, folder):
    return xd.predict(coarse.chunk(time=10), model, chunks=8).compute()


def to_store(coarse, model, folder):
    return xd.predict_to_zarr(model, coarse, f"{folder}/m.zarr", chunks=8, progress=False).t.load()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("work", [lazily, to_store])
@pytest.mark.parametrize("processes", [False, True])
def test_a_prediction_within_a_task_of_the_only_thread_ends(pair, tmp_path, work, processes):
    """The pieces are tasks themselves, and the thread that waits for them is the only one."""
    from distributed import Client, LocalCluster

    coarse, model = pair
    with (
        warnings.catch_warnings(),
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=processes,
            dashboard_address=":0",  # None takes port 8787, which another process may have
            memory_limit=0,
        ) as cluster,
        Client(cluster) as client,
    ):
        made = client.submit(work, coarse, model, str(tmp_path), pure=False).result(timeout=120)
    expected = xd.predict(coarse, model)
    assert isinstance(made, xr.DataArray)
    np.testing.assert_array_equal(made, expected)
