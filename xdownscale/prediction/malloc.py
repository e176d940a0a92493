"""Memory during a piece of work and after it, where glibc manages it: on Linux, mostly."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import threading
from collections.abc import Iterator
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_PIECE = (8 << 20, 64 << 20)  # bytes, while networks run
_LEARNT = (32 << 20, 64 << 20)  # that glibc arrives at by itself in a process with large arrays
_FIXED = 128 << 10  # from where on it maps blocks once somebody sets the threshold for trimming
_lock = threading.Lock()
_busy: list[int] = []  # threads that are inside


@contextlib.contextmanager
def tidy() -> Iterator[None]:
    """Have memory that suits networks on a CPU meanwhile, and give back afterwards what is free.

    By itself glibc learns to keep freed blocks of up to 32 MB, between which small ones lie that
    live on: a process grows the longer it runs. Under the nannies of dask.distributed, which set
    ``MALLOC_TRIM_THRESHOLD_``, it learns nothing: it fetches every array of more than 128 kB from
    the system, page by page, and gives it back at once, in which networks spend two thirds of
    their time. Here blocks of up to 8 MB are kept, and freed ones given back at the end. Where
    somebody chose ``MALLOC_MMAP_THRESHOLD_``, thresholds stay.

    Examples
    --------
    >>> with tidy():
    ...     pass
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    with _lock:
        _busy.append(threading.get_ident())
        _set(libc, _PIECE)
    try:
        yield
    finally:
        with _lock:
            _busy.remove(threading.get_ident())
            if not _busy:
                _set(libc, _usual())
        libc.malloc_trim(0)


@functools.cache
def _glibc() -> Any:
    """Return the C library, None where it is another one."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def _usual() -> tuple[int, int]:
    """Thresholds of this process when nothing is drawn."""
    given = os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    return (_FIXED, int(given)) if given.isdigit() else _LEARNT


def _set(libc: Any, thresholds: tuple[int, int]) -> None:
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        for name, size in zip((_MMAP_THRESHOLD, _TRIM_THRESHOLD), thresholds, strict=True):
            libc.mallopt(name, size)
