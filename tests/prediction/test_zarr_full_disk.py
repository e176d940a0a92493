"""A real disk that is too small, or read-only: what is finished stays."""

from __future__ import annotations

import subprocess

import dask
import numpy as np
import pytest

import xdownscale as xd
from xdownscale.prediction import manifest, zarr


def mount(*words):
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", str(path)):
        pytest.skip("no tmpfs can be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_disk_that_fills_up(drawer, record, small_disk, monkeypatch):
    options = {"realizations": 2, "chunks": 8, "progress": False}
    path = small_disk / "maps.zarr"
    with pytest.raises(xd.errors.StorageError, match="GB free, and the fields take"):
        xd.predict_to_zarr(drawer, record, path, **options)
    assert not path.exists()
    with monkeypatch.context() as patch:
        patch.setattr(zarr, "free_bytes", lambda folder: 10**12)
        with (
            dask.config.set(scheduler="synchronous"),
            pytest.raises(xd.errors.StorageError, match=r"No space left .* pieces are finished"),
        ):
            xd.predict_to_zarr(drawer, record, path, **options)
    kept = {p: p.stat().st_mtime_ns for p in path.glob("t/c/0/*/0/0")}
    assert mount("-o", "remount,size=20m", str(small_disk))
    found = xd.predict_to_zarr(drawer, record, path, **options)
    now = drawer.predict(record, realizations=2)
    np.testing.assert_allclose(found.t, now, rtol=2e-5, atol=2e-5)
    book = manifest.Manifest(path)
    assert book.finished().all()
    assert sum(p.stat().st_mtime_ns == stamp for p, stamp in kept.items()) >= len(kept) - 1
    assert not list(path.rglob("*.partial"))


def test_a_disk_that_is_read_only(drawer, record, small_disk):
    options = {"time": record.time[10:14], "progress": False}
    xd.predict_to_zarr(drawer, record, small_disk / "maps.zarr", **options)
    assert mount("-o", "remount,ro", str(small_disk))
    whole = xd.predict_to_zarr(drawer, record, small_disk / "maps.zarr", **options)
    assert whole.sizes["time"] == 4
    with pytest.raises(xd.errors.StorageError, match="Read-only file system"):
        xd.predict_to_zarr(drawer, record, small_disk / "other.zarr", **options)
    with pytest.raises(xd.errors.StorageError, match="cannot be written"):
        drawer.save(small_disk / "model.xd")
