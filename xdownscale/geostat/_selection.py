"""Exact order statistics of an array of any size: a histogram of leading bits, refined by passes.

A float's bits, turned so that they sort like numbers, are read 16 at a time. The first pass counts
values by their leading 16 bits; each further pass counts the next 16 bits of those values alone
that share the bits found so far with a wanted rank. Two passes make float32 exact and four float64,
whatever the chunks, and no pass holds more than its counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DIGIT = 16
_SIZE = 1 << DIGIT


def keys(values: Array) -> Array:
    """Return unsigned integers that sort like the floats; NaN must be gone."""
    bits = 8 * values.dtype.itemsize
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    raw = np.ascontiguousarray(values + values.dtype.type(0)).view(unsigned)  # + 0: no -0.0
    sign = unsigned.type(1 << (bits - 1))
    return np.where(raw & sign, ~raw, raw | sign)


def floats(found: Array, dtype: np.dtype[Any]) -> Array:
    """Undo `keys`."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    found = found.astype(unsigned)
    sign = unsigned.type(1 << (8 * dtype.itemsize - 1))
    return np.where(found & sign, found ^ sign, ~found).view(dtype)


def count_digits(values: Array, known: int, heads: Array) -> Array:
    """Count the next digit of the values behind each head.

    Parameters
    ----------
    values : array of float, shape (n,)
        Without NaN.
    known : int
        Number of leading bits that are known.
    heads : array of uint64, shape (p,)
        These bits, ascending and unique; one 0 where none is known.

    Returns
    -------
    ndarray of int, shape (p, 65536)
    """
    left = 8 * values.dtype.itemsize - known  # bits behind the head
    number = keys(values).astype(np.uint64)
    place = np.zeros(number.size, np.intp)
    if known:
        head = number >> np.uint64(left)
        place = np.minimum(np.searchsorted(heads, head), heads.size - 1)
        hit = heads[place] == head
        number, place = number[hit], place[hit]
    digit = (number >> np.uint64(left - DIGIT)) & np.uint64(_SIZE - 1)
    flat = place * _SIZE + digit.astype(np.intp)
    return np.bincount(flat, minlength=heads.size * _SIZE).reshape(heads.size, _SIZE)


def narrow(counts: Array, ranks: Array, heads: Array) -> tuple[Array, Array]:
    """Find the next digit of each wanted rank.

    Parameters
    ----------
    counts : array of int, shape (p, 65536)
        From `count_digits`, one row for each of the unique `heads`.
    ranks : array of int, shape (r,)
        Ranks, from 0, among the values that share the head.
    heads : array of uint64, shape (r,)
        Digits found so far.

    Returns
    -------
    ranks, heads : ndarray
        Both for one more digit.
    """
    row = np.searchsorted(np.unique(heads), heads)
    running = np.cumsum(counts, axis=1)
    digits = np.array(
        [
            np.searchsorted(running[k], rank, side="right")
            for k, rank in zip(row, ranks, strict=True)
        ]
    )
    before = np.where(digits > 0, running[row, digits - 1], 0)
    return ranks - before, (heads << np.uint64(DIGIT)) | digits.astype(np.uint64)
