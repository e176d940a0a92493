"""Full disks, folders that may not be written to: clear errors, earlier results intact."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

import xdownscale as xd
from records import fitted
from xdownscale.core.errors import StorageError
from xdownscale.io.hub import download
from xdownscale.models.training.checkpoint import Checkpoints


@contextlib.contextmanager
def largest_file(size):
    """Let no file grow beyond `size`: the kernel's own failure, everywhere."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def filled(folder, size):
    """Mount a disk of `size` on a folder; where that is not allowed, limit its files."""
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, capture_output=True).returncode
    try:
        for name, old in content.items() if mounted else ():
            (folder / name).write_bytes(old)
        with contextlib.nullcontext() if mounted else largest_file(size // 8):
            yield
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def nobody():
    """Be a user without rights, if this one has all."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def guarded():
    """A folder that everybody may read and nobody may write to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def model():
    return fitted("paper")


@pytest.fixture(scope="module")
def published(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    xd.publish(model, folder, name="old")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check(folder, before, action, message):
    with pytest.raises(StorageError, match=message):
        action()
    assert contents(folder) == before


def actions(model, folder):
    """Everything that writes, as named calls."""
    return {
        "save": lambda: model.save(folder / "old.xd"),
        "save anew": lambda: model.save(folder / "new.xd"),
        "publish": lambda: xd.publish(model.with_sampling(steps=1), folder, name="new"),
        "checkpoint": lambda: Checkpoints(folder, "x").save("a", {"w": torch.zeros(10**6)}),
    }


NAMES = ["save", "save anew", "publish", "checkpoint"]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(model, published, tmp_path, name):
    folder = tmp_path / "disk"
    shutil.copytree(published, folder)
    size = int(1.5 * sum(len(old) for old in contents(folder).values()))
    with filled(folder, size):
        before = contents(folder)
        check(folder, before, actions(model, folder)[name], r"cannot be written")
        assert repr(xd.load(folder / "old.xd")) == repr(model)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_may_not_grow(model, published, tmp_path, name):
    folder = tmp_path / "disk"
    shutil.copytree(published, folder)
    before = contents(folder)
    with largest_file(20_000):
        check(folder, before, actions(model, folder)[name], "cannot be written")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_may_not_be_written_to(model, published, guarded, name):
    shutil.copytree(published, guarded, dirs_exist_ok=True)
    guarded.chmod(0o555)
    before = contents(guarded)
    with nobody():
        check(guarded, before, actions(model, guarded)[name], r"cannot be written.*denied")


def test_a_new_folder_where_none_may_be_made(model, guarded):
    guarded.chmod(0o555)
    with nobody():
        check(guarded, {}, lambda: xd.publish(model, guarded / "x"), "cannot be made: Permission")


def test_a_download_that_finds_no_room(published, model, tmp_path, monkeypatch, httpserver):
    for name in ("registry.json", "old.xd"):
        httpserver.expect_request(f"/{name}").respond_with_data((published / name).read_bytes())
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", httpserver.url_for("/"))
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(tmp_path))
    with (
        largest_file(20_000),
        pytest.raises(StorageError, match=r"cannot be written: .* set XDOWN"),
    ):
        xd.load_pretrained("old", progress=False)
    assert list((tmp_path / "pretrained").iterdir()) == []
    assert repr(xd.load_pretrained("old", progress=False)) == repr(model)


def test_a_cache_that_may_not_be_written_to(published, model, guarded, monkeypatch, httpserver):
    for name in ("registry.json", "old.xd"):
        httpserver.expect_request(f"/{name}").respond_with_data((published / name).read_bytes())
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", httpserver.url_for("/"))
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(guarded))
    guarded.chmod(0o555)
    assert download.cache_folder() == guarded
    with nobody(), pytest.raises(StorageError, match=r"cannot be written: .* set XDOWNSCALE_CACHE"):
        xd.load_pretrained("old", progress=False)
    assert contents(guarded) == {}
