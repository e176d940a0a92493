"""Keep weights of pairs of grids: in memory, and the costly ones in the user's cache folder."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from xdownscale.core import logs
from xdownscale.core.axis import Array
from xdownscale.core.errors import StorageError
from xdownscale.core.files import write_whole
from xdownscale.core.hashing import fingerprint
from xdownscale.regridding._points import PointWeights

VARIABLE = "XDOWNSCALE_WEIGHTS"
_LOG = logs.logger("regrid")
_MEMORY = 300e6  # bytes of weights that are kept in memory
_DISK = 2e9  # bytes of weights that are kept on disk
_SMALL = 200_000  # bytes of weights that are faster computed than read

_lock = threading.Lock()
_kept: OrderedDict[str, PointWeights] = OrderedDict()


def remembered(key: Sequence[Any], make: Callable[[], PointWeights], *, disk: bool) -> PointWeights:
    """Return weights that were computed before, else compute and keep them.

    Parameters
    ----------
    key : sequence of int, str, None or array
        Everything that the weights depend on.
    make : callable
        Computes them.
    disk : bool
        Also keep them on disk.

    Returns
    -------
    PointWeights

    Examples
    --------
    >>> unit = csr_array(np.ones((1, 1)))
    >>> weights = PointWeights(np.zeros(1, int), np.zeros(1, int), (None, None), unit)
    >>> first = remembered(("a", np.zeros(2)), lambda: weights, disk=False)
    >>> remembered(("a", np.zeros(2)), lambda: None, disk=False) is first
    True
    """
    name = fingerprint(
        *(part if isinstance(part, str | np.ndarray) else repr(part) for part in key)
    )
    with _lock:
        if name in _kept:
            _kept.move_to_end(name)
            _LOG.debug("weights %s are in memory", name[:12])
            return _kept[name]
    path = _path(name) if disk else None
    found = None if path is None else _read(path)
    if found is None:
        with logs.timed(_LOG, f"weights {name[:12]} computed"):
            found = make()
        if path is not None and _size(found) > _SMALL:
            _write(path, found)
    with _lock:
        _kept[name] = found
        while len(_kept) > 1 and sum(map(_size, _kept.values())) > _MEMORY:
            _kept.popitem(last=False)
    return found


def forget() -> None:
    """Drop the weights in memory.

    Examples
    --------
    >>> forget()
    """
    with _lock:
        _kept.clear()


def weights_folder() -> Path | None:
    """Return the folder of the weights on disk.

    Returns
    -------
    Path or None
        ``XDOWNSCALE_WEIGHTS``, else ``weights`` in ``XDOWNSCALE_CACHE`` or in the system's cache
        folder. None where ``XDOWNSCALE_WEIGHTS`` is empty: nothing is kept on disk.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return Path(given).expanduser() if given else None
    import pooch

    cache = os.environ.get("XDOWNSCALE_CACHE")
    return (
        Path(cache).expanduser() / "weights"
        if cache
        else Path(pooch.os_cache("xdownscale")) / "weights"
    )


def _path(name: str) -> Path | None:
    folder = weights_folder()
    return None if folder is None else folder / f"{name}.npz"


def _size(weights: PointWeights) -> int:
    sparse = [m for m in weights[3:] if m is not None]
    dense = [b.nbytes for b in weights.basis if b is not None]
    parts = [v.nbytes for m in sparse for v in (m.data, m.indices, m.indptr)]
    return int(sum(parts) + sum(dense))


def _write(path: Path, weights: PointWeights) -> None:
    """Write weights; a folder that cannot be written to only costs time."""
    arrays: dict[str, Array] = {"rows": weights.rows, "columns": weights.columns}
    arrays |= {f"basis_{k}": b for k, b in enumerate(weights.basis) if b is not None}
    for label, matrix in zip(PointWeights._fields[3:], weights[3:], strict=True):
        if matrix is not None:
            parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
            arrays |= {f"{label}_{k}": v for k, v in parts.items()}
            arrays[f"{label}_shape"] = np.array(matrix.shape)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with contextlib.suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
        _prune(path.parent, path)


def _prune(folder: Path, newest: Path) -> None:
    """Drop the weights that were longest not used, beyond the bound of the folder."""
    files = sorted(folder.glob("*.npz"), key=lambda p: p.stat().st_mtime)
    total = sum(p.stat().st_size for p in files)
    for file in files:
        if total <= _DISK or file == newest:
            return
        total -= file.stat().st_size
        file.unlink()


def _read(path: Path) -> PointWeights | None:
    """Return weights from a file; None where there is none, or it is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = dict(file)
        matrices = [_matrix(arrays, label) for label in PointWeights._fields[3:]]
        basis = (arrays.get("basis_0"), arrays.get("basis_1"))
        if matrices[0] is None:
            return None
        found = PointWeights(
            arrays["rows"], arrays["columns"], basis, matrices[0], matrices[1], matrices[2]
        )
        path.touch()
    except Exception:
        return None
    return found


def _matrix(arrays: dict[str, Array], label: str) -> csr_array | None:
    if f"{label}_data" not in arrays:
        return None
    parts = (arrays[f"{label}_{k}"] for k in ("data", "indices", "indptr"))
    matrix = csr_array(tuple(parts), shape=tuple(arrays[f"{label}_shape"]))
    matrix.check_format(full_check=True)
    return matrix
