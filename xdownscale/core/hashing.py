"""Fingerprints of data: SHA-256 of arrays and texts, independent of chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr


def fingerprint(*parts: Any) -> str:
    """Return the SHA-256 of arrays and texts, to tell whether training data are the same.

    Parameters
    ----------
    *parts : str, array or DataArray
        Texts and arrays, in order. Lazy arrays are read along the leading axis, one chunk at a
        time; the result does not depend on the chunks or the byte order. Coordinates and names
        are not included: give them as further parts.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> fingerprint("dust", np.zeros(3))[:8]
    '2f3bf425'
    >>> fingerprint("dust", np.zeros(3, "float32")) == fingerprint("dust", np.zeros(3))
    False
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            text = part.encode()
            total.update(b"text%d:" % len(text) + text)
            continue
        array = part.data if isinstance(part, xr.DataArray) else part
        array = array if hasattr(array, "dask") else np.asarray(array)
        total.update(f"array{array.dtype.newbyteorder('<').str}{array.shape}:".encode())
        for block in _leading_blocks(array):
            total.update(_plain_bytes(block))
    return total.hexdigest()


def _leading_blocks(array: Any) -> Iterator[Any]:
    """Yield pieces along the leading axis: the chunks of a lazy array, else the whole."""
    if not hasattr(array, "dask") or array.ndim == 0:
        yield np.asarray(array)
        return
    stop = 0
    for length in array.chunks[0]:
        start = stop
        stop = stop + length
        yield np.asarray(array[start:stop])


def _plain_bytes(block: Any) -> bytes:
    if block.dtype == object:  # cftime dates and texts
        return "\n".join(f"{type(v).__name__} {v}" for v in block.ravel()).encode() + b"\n"
    little: bytes = block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes()
    return little
