"""Malloc thresholds while networks run, and memory returned afterwards."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from xdownscale.prediction import malloc

FAULTS = """
import contextlib, resource, sys
import numpy as np
from xdownscale.prediction import malloc


def faults():
    for turn in range(60):
        blocks = [np.ones(1 << 17) for _ in range(4)]  # 1 MB each, again and again
        if turn == 9:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        kept = np.ones(10)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


first = faults()
with malloc.tuned():
    with malloc.tuned():
        pass
    second = faults()
print(first, second, faults())
"""
HELD = """
import threading
import numpy as np
from xdownscale.prediction import malloc


def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096


def work():
    small = [np.ones(1 << 12) for _ in range(4000)]  # 32 kB each: they lie on the heap
    ends.append(small[-1])  # what lies behind holds them there


ends = []
with malloc.tuned():
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    full = resident()
print(full - resident())
"""
ON_GLIBC = platform.libc_ver()[0] == "glibc"


def run(code, **variables):
    """Run code in a new process and return the numbers that it prints."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(not ON_GLIBC, reason="not glibc")
def test_a_process_under_a_nanny_uses_freed_memory_again_while_networks_run():
    before, meanwhile, after = run(FAULTS, MALLOC_TRIM_THRESHOLD_="65536")
    assert meanwhile < before / 5
    assert after > before / 2


@pytest.mark.skipif(not ON_GLIBC, reason="not glibc")
def test_another_process_stays_as_fast_as_it_was():
    before, meanwhile, after = run(FAULTS)
    assert max(meanwhile, after) < before + 1000


@pytest.mark.skipif(not ON_GLIBC, reason="not glibc")
def test_what_somebody_chose_stays():
    chosen = {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}
    before, meanwhile, after = run(FAULTS, **chosen)
    assert min(meanwhile, after) > before / 2


@pytest.mark.skipif(not ON_GLIBC, reason="not glibc")
def test_freed_memory_is_given_back():
    assert run(HELD)[0] > 4000 * (1 << 15) / 2


def test_another_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    malloc._glibc.cache_clear()
    try:
        with malloc.tuned():
            assert not malloc._active
    finally:
        malloc._glibc.cache_clear()
