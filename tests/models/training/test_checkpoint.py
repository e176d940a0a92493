from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from xdownscale.core.errors import ModelFormatError, ModelMismatchError, StorageError
from xdownscale.models.training.checkpoint import Checkpoints, TrainingState, restore


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


def changed(path):
    """Another number of the same length, in a valid archive."""
    content = torch.load(path, weights_only=True)
    content["w"] = content["w"] + 1
    torch.save(content, path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(9.0).numpy().tobytes()) + 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [changed, flipped])
def test_an_altered_checkpoint_is_refused(tmp_path, damage):
    store = Checkpoints(tmp_path, "me")
    store.save("denoise", {"w": torch.arange(9.0)})
    assert zipfile.is_zipfile(tmp_path / "denoise.pt")
    damage(tmp_path / "denoise.pt")
    with pytest.raises(ModelFormatError, match=r"can be read \(.*(altered|invalid)"):
        store.load("denoise")


def test_a_compression_bomb_is_refused_unread(tmp_path, monkeypatch):
    Checkpoints(tmp_path, "me").save("denoise", {"w": torch.zeros(10**6)})
    with (
        zipfile.ZipFile(tmp_path / "denoise.pt") as old,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(ModelFormatError, match="its members are compressed"):
        Checkpoints(tmp_path, "me").load("bomb")


def test_two_trainings_do_not_share_a_folder(tmp_path):
    mine, other = Checkpoints(tmp_path, "me"), Checkpoints(tmp_path, "me")
    with (
        mine.exclusive(),
        pytest.raises(StorageError, match="Another process trains with checkpoint_dir"),
        other.exclusive(),
    ):
        pass
    with other.exclusive():  # the lock is free again
        pass


def test_other_processes_of_a_distributed_training_share_it(tmp_path, monkeypatch):
    store = Checkpoints(tmp_path, "me")
    with store.exclusive():
        monkeypatch.setenv("LOCAL_RANK", "1")
        with store.exclusive():
            pass


def test_what_a_killed_training_left_is_removed_and_nothing_else(tmp_path):
    store = Checkpoints(tmp_path, "me")
    for name in (f"denoise.partial-{'0a' * 6}", f".denoise.csv.{'0a' * 6}.tmp"):
        (tmp_path / name).write_bytes(b"half")
    kept = ["mine.partial", ".mine.tmp", "denoise.pt.tmp"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    with store.exclusive():
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_full_disk_is_the_librarys_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    store = Checkpoints(tmp_path, "me")
    store.save("denoise", {"epoch": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        store.save("denoise", {"epoch": 2})
    with pytest.raises(StorageError, match="No space left on device"):
        store.write_csv("denoise", {"epoch": [1]})
    assert store.load("denoise")["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["denoise.pt"]


def test_permissions_of_a_checkpoint_are_kept(tmp_path):
    store = Checkpoints(tmp_path, "me")
    store.save("denoise", {})
    (tmp_path / "denoise.pt").chmod(0o640)
    store.save("denoise", {})
    assert (tmp_path / "denoise.pt").stat().st_mode & 0o777 == 0o640


def trained():
    network = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return torch.optim.AdamW(network.parameters()), optimizer.state_dict()


def test_the_state_of_an_optimizer_is_restored():
    fresh, state = trained()
    restore(fresh, state, "optimizer")
    assert torch.equal(fresh.state_dict()["state"][0]["exp_avg"], state["state"][0]["exp_avg"])
    schedule = ReduceLROnPlateau(fresh)
    schedule.step(1.0)
    other = ReduceLROnPlateau(fresh)
    restore(other, schedule.state_dict(), "plateau")
    assert other.state_dict() == schedule.state_dict()


def forged(state, how):
    if how == "groups":
        state["param_groups"] = []
    elif how == "shape":
        state["state"][0]["exp_avg"] = torch.zeros(7)
    elif how == "vast":
        state["state"][0]["exp_avg"] = torch.zeros(1).expand(10**12)
    elif how == "text":
        state["param_groups"][0]["lr"] = "1e-3"
    elif how == "unknown":
        state["param_groups"][0]["step"] = 3
    return state


@pytest.mark.parametrize("how", ["groups", "shape", "vast", "text", "unknown"])
def test_a_forged_state_of_an_optimizer_is_refused(how):
    fresh, state = trained()
    with pytest.raises(ModelFormatError, match="'optimizer' is not what training wrote"):
        restore(fresh, forged(state, how), "optimizer")


@pytest.mark.parametrize("change", [{"step": 3}, {"factor": "x"}, {"optimizer": 1}])
def test_a_forged_schedule_is_refused(change):
    schedule = ReduceLROnPlateau(trained()[0])
    with pytest.raises(ModelFormatError, match="'plateau' is not what training wrote"):
        restore(schedule, schedule.state_dict() | change, "plateau")


@pytest.mark.parametrize(
    "change",
    [
        {"lr": [1.0, 2.0]},
        {"epoch": True},
        {"epoch": [[1, 2]]},
        {"stage": [3]},
        {"lr": None, "other": [1.0]},
    ],
)
def test_a_forged_table_of_losses_is_refused(change):
    network = torch.nn.Linear(2, 1)
    content = dict(vars(TrainingState(weights=network.state_dict())))
    content |= {"best": network.state_dict(), "average": network.state_dict()}
    row = {"stage": ["s"], "epoch": [1], "train_loss": [1.0], "val_loss": [1.0]}
    known = row | {"lr": [0.1], "seconds": [2.0]}
    found = TrainingState.from_checkpoint(content | {"history": known}, "s", network)
    assert found.history == known
    forged = {n: column for n, column in (known | change).items() if column is not None}
    with pytest.raises(ModelFormatError, match="'history' is not what training wrote"):
        TrainingState.from_checkpoint(content | {"history": forged}, "s", network)
