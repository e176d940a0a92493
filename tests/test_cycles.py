"""Loading, predicting and saving again and again leaves nothing behind."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import psutil
import pytest

import xdownscale as xd
from records import fitted, make_pair

CYCLES, WARM = 30, 6
TOLERANCE = 30.0  # MB: less than two maps and a model file in each cycle


def state(folder: Path) -> dict[str, object]:
    """What a process holds besides memory."""
    gc.collect()
    me = psutil.Process()
    own = (p for p in folder.iterdir() if not p.name.startswith("torchinductor"))  # torch's cache
    files = {str(p.relative_to(folder)) for top in own for p in (top, *top.rglob("*"))}
    return {
        "handles": me.num_fds(),
        "threads": threading.active_count(),
        "system threads": me.num_threads(),
        "children": len(me.children(recursive=True)),
        "files": files,
    }


def megabytes() -> float:
    return psutil.Process().memory_info().rss / 2**20


@pytest.mark.timeout(300)
def test_cycles_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    coarse = make_pair(60)[0]["t"]
    path = tmp_path / "m.xd"
    fitted("fast").save(path)
    first = path.read_bytes()

    def cycle() -> None:
        model = xd.load(path)
        coarse.downscale.predict(model, time=coarse.time[20:22], realizations=2).load()
        model.save(path)

    for _ in range(WARM):
        cycle()
    before, memory = state(tmp_path), megabytes()
    for _ in range(CYCLES):
        cycle()
    assert state(tmp_path) == before
    assert before["files"] == {"m.xd"}
    assert megabytes() - memory < TOLERANCE
    assert path.read_bytes() == first
