"""Predictions on a cluster: unchanged, shared fairly, and whole when a worker dies."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.prediction import workers

CLOSE = {"rtol": 2e-5, "atol": 2e-5}
pytestmark = [
    pytest.mark.slow,
    # sockets and loops of killed workers are closed when they are collected
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
        ) as running,
    ):
        yield running


@pytest.fixture
def client(cluster):
    from distributed import Client

    cluster.scale(2)  # a worker that was killed may have been given up
    with Client(cluster) as connected:
        connected.wait_for_workers(2, timeout=120)
        yield connected


def loaded():
    """Which process this is, how many models it keeps, and how many threads torch uses."""
    import torch

    return os.getpid(), len(workers._models), torch.get_num_threads()


def test_a_cluster_generates_the_same(client, drawer, record):
    now = drawer.predict(record, realizations=2, seed=3)
    later = drawer.predict(record.chunk(time=20), realizations=2, seed=3, chunks=10)
    xr.testing.assert_allclose(later.compute(), now, **CLOSE)


def test_the_model_is_loaded_once_in_each_worker(client, drawer, record):
    client.restart()
    drawer.predict(record.chunk(time=20), seed=5, chunks=5).compute()
    for pid, models, threads in client.run(loaded).values():
        assert pid != os.getpid()
        assert models == 1
        assert threads == 1


def test_tasks_of_a_worker_are_counted(client):
    assert client.submit(workers.tasks_in_process, pure=False).result() == 1


def test_a_worker_that_is_killed_costs_time_only(client, drawer, record):
    now = drawer.predict(record, seed=3)
    later = drawer.predict(record.chunk(time=20), seed=3, chunks=3)
    pids = [pid for pid, *_ in client.run(loaded).values()]
    future = client.compute(later)
    time.sleep(0.7)
    os.kill(pids[0], signal.SIGKILL)
    xr.testing.assert_allclose(future.result(timeout=120), now, **CLOSE)


@pytest.mark.parametrize("kind", ["drawer", "walker"])
@pytest.mark.filterwarnings("ignore:.*start cold")
def test_a_store_survives_killed_workers(request, kind, client, record, tmp_path):
    model = request.getfixturevalue(kind)
    options = {"time": record.time[20:80], "chunks": 4, "progress": False}
    expected = xd.predict_to_zarr(model, record, tmp_path / "calm.zarr", **options).t.load()
    pids = iter([pid for pid, *_ in client.run(loaded).values()])
    killer = threading.Timer(0.5, lambda: os.kill(next(pids), signal.SIGKILL))
    killer.start()
    found = xd.predict_to_zarr(model, record.chunk(time=30), tmp_path / "killed.zarr", **options)
    killer.join()
    np.testing.assert_array_equal(found.t.load(), expected)


def listen(file):
    """Write the log of this worker to a file."""
    import logging

    logging.getLogger("xdownscale").setLevel(logging.INFO)
    logging.getLogger("xdownscale").addHandler(logging.FileHandler(file))


def hush():
    """Stop writing it."""
    import logging

    log = logging.getLogger("xdownscale")
    log.setLevel(logging.NOTSET)
    for handler in log.handlers[1:]:
        log.removeHandler(handler)
        handler.close()


def test_workers_log_the_pieces_that_they_generate(client, drawer, record, tmp_path, capfd):
    client.run(listen, tmp_path / "workers.log")
    days = record.isel(time=slice(0, 6))
    xd.predict_to_zarr(drawer, days, tmp_path / "maps.zarr", chunks=3, progress=False)
    client.run(hush)
    lines = (tmp_path / "workers.log").read_text().splitlines()
    assert sum(" generated: " in line and "piece" in line for line in lines) == 2
    assert capfd.readouterr().err == ""  # no bars, nothing unasked


def test_a_worker_without_the_package_is_named(client, drawer, record, monkeypatch):
    monkeypatch.setattr(workers, "_versions", lambda client: {"tcp://a": None, "tcp://b": "0.0.1"})
    with pytest.raises(xd.errors.ModelMismatchError, match="a has none, tcp://b has 0"):
        drawer.predict(record.chunk(time=20))


def test_versions_of_workers(client):
    assert set(workers._versions(client).values()) == {
        workers.installed_version("xarray-downscale")
    }
