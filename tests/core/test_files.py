"""Files that are whole or not there; how a model file survives failures is in test_store.py."""

from __future__ import annotations

import os

import pytest

from xdownscale.core.errors import StorageError
from xdownscale.core.files import write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "note.txt"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match=r"cannot be written: No such file.*folder that exists"):
        write_whole(tmp_path / "nowhere" / "note.txt", b"")


def test_a_folder_in_its_place(tmp_path):
    with pytest.raises(StorageError, match="is a folder or a device"):
        write_whole(tmp_path, b"")


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "note.txt"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"No space left on device.*is unchanged"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]
