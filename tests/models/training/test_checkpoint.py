from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xdownscale.core.errors import ModelFormatError, ModelMismatchError, StorageError
from xdownscale.models.training.checkpoint import Checkpoints


def test_what_was_saved_comes_back(tmp_path):
    Checkpoints(tmp_path / "a" / "b", "me").save("denoise", {"w": torch.ones(2), "epoch": 3})
    found = Checkpoints(tmp_path / "a" / "b", "me").load("denoise")
    assert found["epoch"] == 3
    assert torch.equal(found["w"], torch.ones(2))
    assert Checkpoints(tmp_path, "me").load("pretrain") is None


def test_another_fingerprint_is_refused(tmp_path):
    Checkpoints(tmp_path, "this").save("denoise", {})
    with pytest.raises(ModelMismatchError, match="another configuration or of other data"):
        Checkpoints(tmp_path, "that").load("denoise")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half of one"])
def test_a_broken_file_is_refused(tmp_path, content):
    (tmp_path / "denoise.pt").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"denoise.pt is not a checkpoint that can be read"):
        Checkpoints(tmp_path, "me").load("denoise")


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"fingerprint": "me", "path": Path("x")}, tmp_path / "denoise.pt")
    with pytest.raises(ModelFormatError, match="UnpicklingError"):
        Checkpoints(tmp_path, "me").load("denoise")


class Evil:
    """What a pickle would run."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.write_text, (self.trace, "run")


def test_a_malicious_payload_is_not_executed(tmp_path):
    trace = tmp_path / "trace"
    for number, payload in enumerate(
        (pickle.dumps(Evil(trace)), pickle.dumps({"fingerprint": Evil(trace)}, protocol=0))
    ):
        (tmp_path / f"{number}.pt").write_bytes(payload)
        with pytest.raises(ModelFormatError, match="is not a checkpoint that can be read"):
            Checkpoints(tmp_path, "me").load(str(number))
    torch.save({"fingerprint": "me", "weights": Evil(trace)}, tmp_path / "zip.pt")
    with pytest.raises(ModelFormatError, match="is not a checkpoint that can be read"):
        Checkpoints(tmp_path, "me").load("zip")
    assert not trace.exists()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_checkpoints_are_refused_or_harmless(tmp_path, data):
    store = Checkpoints(tmp_path, "me")
    store.save("good", {"w": torch.arange(9.0), "epoch": 3})
    content = bytearray((tmp_path / "good.pt").read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "bad.pt").write_bytes(content)
    with contextlib.suppress(ModelFormatError, ModelMismatchError):
        assert isinstance(store.load("bad"), dict)


def test_a_foreign_dictionary_is_refused(tmp_path):
    torch.save({"w": 1}, tmp_path / "denoise.pt")
    with pytest.raises(ModelFormatError, match="KeyError"):
        Checkpoints(tmp_path, "me").load("denoise")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"checkpoint_dir .* cannot be made"):
        Checkpoints(tmp_path / "file" / "folder", "me")


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    store = Checkpoints(tmp_path, "me")
    store.save("denoise", {"epoch": 1})

    def full(content, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match=r"No space left on device.*the one before is untouched"):
        store.save("denoise", {"epoch": 2})
    assert store.load("denoise")["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["denoise.pt"]


def test_losses_are_a_table(tmp_path):
    Checkpoints(tmp_path, "me").write_csv("denoise", {"epoch": [1, 2], "lr": [0.1, 0.2]})
    assert (tmp_path / "denoise.csv").read_text() == "epoch,lr\n1,0.1\n2,0.2\n"
