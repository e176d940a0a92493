"""Tune glibc's malloc while networks run, and return freed memory afterwards (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import threading
from collections.abc import Iterator
from typing import Any

_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD of malloc.h
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD
# thresholds in bytes: (mmap, trim)
_RUNNING = (8 << 20, 64 << 20)  # while networks run
_ADAPTED = (32 << 20, 64 << 20)  # that glibc arrives at by itself in a process with large arrays
_FIXED = 128 << 10  # mmap threshold once somebody sets the one for trimming
_lock = threading.Lock()
_active: list[int] = []  # threads inside `tuned`


@contextlib.contextmanager
def tuned() -> Iterator[None]:
    """Set malloc thresholds that suit networks on a CPU, and trim the heap at the end.

    By itself glibc adapts: it keeps freed blocks of up to 32 MB, with small live ones between
    them, so a process grows the longer it runs. Under the nannies of dask.distributed, which set
    ``MALLOC_TRIM_THRESHOLD_``, it does not adapt: it maps every array of more than 128 kB anew,
    page by page, and unmaps it at once, which takes two thirds of the networks' time. Here blocks
    of up to 8 MB are kept, and freed ones are returned to the system at the end. Where somebody
    chose ``MALLOC_MMAP_THRESHOLD_``, thresholds stay.

    Examples
    --------
    >>> with tuned():
    ...     pass
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    with _lock:
        _active.append(threading.get_ident())
        _set(libc, _RUNNING)
    try:
        yield
    finally:
        with _lock:
            _active.remove(threading.get_ident())
            if not _active:
                _set(libc, _idle_thresholds())
        libc.malloc_trim(0)


@functools.cache
def _glibc() -> Any:
    """Return the C library, None where it is another one."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def _idle_thresholds() -> tuple[int, int]:
    """Return the thresholds of this process when no network runs."""
    given = os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    return (_FIXED, int(given)) if given.isdigit() else _ADAPTED


def _set(libc: Any, thresholds: tuple[int, int]) -> None:
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        for name, size in zip((_MMAP_THRESHOLD, _TRIM_THRESHOLD), thresholds, strict=True):
            libc.mallopt(name, size)
