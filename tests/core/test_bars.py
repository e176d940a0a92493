"""Progress where it is seen: a terminal, a notebook, a log file, a worker of a cluster."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from types import SimpleNamespace

import pytest

from xdownscale.core import bars
from xdownscale.models.training.plan import StageCost
from xdownscale.models.training.progress import Progress

CODE = """
from xdownscale.core.bars import open_bar
bar = open_bar(3, desc="maps.zarr", unit="piece", mininterval=0)
for _ in range(3):
    bar.update(1)
bar.close()
"""


def in_terminal(code, **environment):
    """What a process writes to a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(
        [sys.executable, "-c", code],
        stderr=slave,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", **environment},
        check=True,
        timeout=60,
    )
    assert done.returncode == 0
    os.close(slave)
    text = b""
    while True:
        try:
            block = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        text += block
    os.close(master)
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_has_a_bar_that_moves():
    shown = in_terminal(CODE)
    assert "\rmaps.zarr: 100%|" in shown
    assert "3/3" in shown


def test_a_terminal_without_cursor_has_lines():
    shown = in_terminal(CODE, TERM="dumb")
    assert "\r" not in shown
    assert shown.splitlines()[0] == "maps.zarr: 0 of 3 pieces"


def test_a_log_file_has_lines_without_carriage_returns():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True, timeout=60)
    assert done.stdout == b""
    assert b"\r" not in done.stderr
    first, last = done.stderr.decode().splitlines()
    assert first == "maps.zarr: 0 of 3 pieces"
    assert last.startswith("maps.zarr: 3 of 3 pieces, 100%, 00:0")


def test_a_line_comes_every_so_often_and_tells_the_rest(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    bar = bars.open_bar(10, desc="maps", unit="piece", initial=2)
    for n in range(4):
        now[0] += 20
        bar.update(1)
        assert bar.n == 3 + n
    bar.close()
    assert capsys.readouterr().err.splitlines() == [
        "maps: 2 of 10 pieces",
        "maps: 4 of 10 pieces, 40%, 00:40, about 02:00 left",
        "maps: 6 of 10 pieces, 60%, 01:20, about 01:20 left",
        "maps: 6 of 10 pieces, 60%, 01:20, about 01:20 left",
    ]


def test_bytes_are_told_as_a_share(capsys):
    bar = bars.open_bar(4000, desc="model", unit="B", unit_scale=True)
    bar.update(1000)
    bar.reset()
    bar.update(4000)
    bar.close()
    assert capsys.readouterr().err.splitlines()[-1] == "model: 100%, 00:00"


def test_stages_of_a_training_are_lines_of_a_log_file(capsys):
    shown = Progress()
    costs = [StageCost(name=name, epochs=1, updates=2, seconds=1.0) for name in ("one", "two")]
    shown.plan(costs, "cpu", None)
    for name in ("one", "two"):
        shown.stage(name)
        shown.advance(1.0)
    shown.close()
    text = capsys.readouterr().err
    assert "\r" not in text
    lines = text.splitlines()
    assert [line.split(":")[0] for line in lines[-2:]] == ["one (1 of 2)", "two (2 of 2)"]
    assert lines[-1].startswith("two (2 of 2): 50%")


def test_a_notebook_has_the_bar_of_notebooks(monkeypatch):
    from tqdm import auto

    opened = []
    shell = SimpleNamespace(kernel=object())
    fake = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setattr(auto, "tqdm", lambda **options: opened.append(options))
    assert bars.in_notebook()
    assert bars.stream() is sys.stdout
    bars.open_bar(3, desc="maps")
    assert opened == [{"total": 3, "desc": "maps"}]


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_ipython_in_a_terminal_is_no_notebook(monkeypatch, shell):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert not bars.in_notebook()
    assert bars.stream() is sys.stderr


def test_a_worker_has_no_bar(monkeypatch, capsys):
    import distributed

    monkeypatch.setattr(distributed, "get_worker", lambda: object())
    assert bars.open_bar(3, desc="maps") is None
    assert capsys.readouterr().err == ""
