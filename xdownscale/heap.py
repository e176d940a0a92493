"""Memory between two pieces of work, where glibc manages it: on Linux, mostly."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_LARGE = 32 << 20  # bytes: what glibc itself rises to, and the most that it takes


@functools.cache
def _glibc() -> Any:
    """Return the C library, None where it is another one."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


@functools.cache
def keep_blocks() -> bool:
    """Let this process use freed memory again; tell whether that had to be settled.

    Whoever sets ``MALLOC_TRIM_THRESHOLD_``, as the nannies of dask.distributed do for all their
    workers, stops glibc from learning how large the blocks are that a program asks for time and
    again. Every array of more than 128 kB is then fetched from the system, page by page, and given
    back at once, in which networks on a CPU spend two thirds of their time. This sets what glibc
    would have learnt; `give_back` does what the nannies meant. Where somebody chose
    ``MALLOC_MMAP_THRESHOLD_`` as well nothing is changed.

    Examples
    --------
    >>> keep_blocks() in (True, False)
    True
    """
    chosen = "MALLOC_TRIM_THRESHOLD_" in os.environ and "MALLOC_MMAP_THRESHOLD_" not in os.environ
    libc = _glibc() if chosen else None
    return libc is not None and all(
        libc.mallopt(name, size) == 1
        for name, size in ((_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, 2 * _LARGE))
    )


def give_back() -> None:
    """Give freed memory back to the system.

    What several threads free stays with this process in pieces, more of them the longer it runs.

    Examples
    --------
    >>> give_back()
    """
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)
