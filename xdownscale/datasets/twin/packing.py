"""Pack optical depth into small files: log10 in steps of 0.001, as differences of integers.

The difference along longitude, then along latitude, is small wherever the field is smooth, which
is what makes the file small. Integers wrap around, so nothing is lost beyond the rounding.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.core.errors import ModelFormatError, StorageError

STEP = 0.001  # of log10: values are right to within 0.12 %
PLAIN_STEP = 0.01  # of values that are no optical depth, in their units


def pack(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round log10 to `STEP` and take differences along the last two axes.

    Parameters
    ----------
    values : array
        ``(..., y, x)``, positive, between 1e-32 and 1e32.

    Returns
    -------
    array of int16
        Same shape.
    """
    whole = np.round(np.log10(values) / STEP).astype(np.int16)
    return np.diff(np.diff(whole, axis=-1, prepend=np.int16(0)), axis=-2, prepend=np.int16(0))


def unpack(packed: NDArray[np.int16]) -> NDArray[np.float32]:
    """Restore the values that `pack` packed.

    Parameters
    ----------
    packed : array of int16
        ``(..., y, x)``.

    Returns
    -------
    array of float32
        Same shape.
    """
    whole = np.cumsum(packed, axis=-2, dtype=np.int16)
    whole = np.cumsum(whole, axis=-1, dtype=np.int16)
    low = int(whole.min())
    high = int(whole.max())
    table = (10 ** (STEP * np.arange(low, high + 1))).astype(np.float32)
    return np.asarray(table[whole.astype(np.int32) - low])


def pack_steps(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round values between -327 and 327 to `PLAIN_STEP`.

    Parameters
    ----------
    values : array
        Any shape.

    Returns
    -------
    array of int16
        Same shape.
    """
    return np.round(values.astype(np.float64) / PLAIN_STEP).astype(np.int16)


def unpack_steps(packed: NDArray[np.int16]) -> NDArray[np.float32]:
    """Restore the values that `pack_steps` packed.

    Parameters
    ----------
    packed : array of int16
        Any shape.

    Returns
    -------
    array of float32
        Same shape.
    """
    return np.asarray(packed * PLAIN_STEP, dtype=np.float32)


def write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed file, wholly or not at all.

    Parameters
    ----------
    path : Path
        The file; its folder is made.
    arrays : mapping
        Name -> array.

    Raises
    ------
    StorageError
        If the folder or the file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        temporary.replace(path)
    except OSError as err:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(
            f"The synthetic nature run cannot be written to {path} ({err}). Give a folder that "
            "can be written as `cache`."
        ) from err


def read(file: IO[bytes], name: str, keys: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read a file that `write` wrote.

    Parameters
    ----------
    file : binary file
        Open for reading.
    name : str
        Name of the file, for the message.
    keys : iterable of str
        Names of the arrays that it must hold.

    Returns
    -------
    dict
        Name -> array.

    Raises
    ------
    ModelFormatError
        If the file is truncated or altered, or an array is not there.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {key: stored[key] for key in keys}
    except (
        ValueError,
        EOFError,
        KeyError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as err:
        raise ModelFormatError(
            f"The file {name} of the synthetic nature run cannot be read ({err}). Delete it, so "
            "that it is made anew; if it came with the package, install the package again."
        ) from err
