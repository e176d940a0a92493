"""Memory between two pieces of work."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from xdownscale import heap

FAULTS = """
import resource, sys
import numpy as np
from xdownscale import heap
if sys.argv[1] == "settled":
    print(heap.keep_blocks())
else:
    print(None)
for turn in range(60):
    blocks = [np.ones(1 << 17) for _ in range(4)]  # 1 MB each, again and again
    if turn == 9:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = np.ones(10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
HELD = """
import threading
import numpy as np
from xdownscale import heap


def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096


def work():
    small = [np.ones(1 << 12) for _ in range(4000)]  # 32 kB each: they lie on the heap
    ends.append(small[-1])  # what lies behind holds them there


ends = []
thread = threading.Thread(target=work)
thread.start()
thread.join()
full = resident()
heap.give_back()
print(full - resident())
"""
ON_GLIBC = platform.libc_ver()[0] == "glibc"


def run(code, *words, **variables):
    """Run code in a new process and return the lines that it prints."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(not ON_GLIBC, reason="not glibc")
def test_a_process_under_a_nanny_uses_freed_memory_again():
    nanny = {"MALLOC_TRIM_THRESHOLD_": "65536"}
    plain = int(run(FAULTS, "not", **nanny)[1])
    settled, faults = run(FAULTS, "settled", **nanny)
    assert settled == "True"
    assert int(faults) < plain / 5


@pytest.mark.parametrize(
    "variables", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}]
)
def test_what_nobody_stopped_or_somebody_chose_stays(variables):
    assert run(FAULTS, "settled", **variables)[0] == "False"


@pytest.mark.skipif(not ON_GLIBC, reason="not glibc")
def test_freed_memory_is_given_back():
    assert int(run(HELD)[0]) > 4000 * (1 << 15) / 2


def test_another_library_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    for settled in (heap._glibc, heap.keep_blocks):
        settled.cache_clear()
    try:
        assert heap.keep_blocks() is False
        heap.give_back()
    finally:
        for settled in (heap._glibc, heap.keep_blocks):
            settled.cache_clear()
