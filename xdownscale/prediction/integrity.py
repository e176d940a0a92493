"""Find what a Zarr store has lost since it was written: sizes and SHA-256 of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdownscale.core.errors import StorageError

if TYPE_CHECKING:
    from xdownscale.prediction.targets import Target

RECORD = 41  # bytes: state, size (8, little-endian), SHA-256 (32)
_METADATA = "zarr.json"
_OURS = ("progress", "history")  # attributes of the root that change while a store is filled
_PRESENT = b"\x01"
NO_FILE = b"\x02" + bytes(RECORD - 1)  # Zarr writes no file for a chunk of fill values alone
_UNREADABLE = b"\x03" + bytes(RECORD - 1)
_BLOCK = 2**20


def record_of(path: Path) -> bytes:
    """Return what tells a file from another one: that it exists, its size and its SHA-256.

    Parameters
    ----------
    path : Path
        A file, which need not exist.

    Returns
    -------
    bytes
        `RECORD` of them.
    """
    total = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                total.update(block)
                size += len(block)
    except (FileNotFoundError, NotADirectoryError):
        return NO_FILE
    except OSError:  # a folder, or a file that cannot be read
        return _UNREADABLE
    return _PRESENT + size.to_bytes(8, "little") + total.digest()


def record_of_content(content: bytes | None) -> bytes:
    """Return the record of a file of this content, as `record_of` does; None: there is no file."""
    if content is None:
        return NO_FILE
    return _PRESENT + len(content).to_bytes(8, "little") + hashlib.sha256(content).digest()


def describe(store: Target, manifest: str) -> dict[str, Any]:
    """Describe all that is in a store before its first field: metadata and coordinates.

    Parameters
    ----------
    store : Target
        The store.
    manifest : str
        Metadata of the group that will hold the description, left out.

    Returns
    -------
    dict
        ``metadata``, JSON texts by path; ``files``, records of other files as hexadecimal digits.
    """
    files = [key for key in store.keys() if key != manifest]  # noqa: SIM118
    texts = [key for key in files if key.rpartition("/")[2] == _METADATA]
    return {
        "metadata": {key: _canonical(_parsed(store, key)) for key in texts},
        "files": {key: store.record(key).hex() for key in files if key not in texts},
    }


def check(store: Target, described: Mapping[str, Any]) -> None:
    """Raise unless metadata and coordinates of a store are as they were described.

    Attributes that somebody added are no damage.

    Parameters
    ----------
    store : Target
        The store.
    described : mapping
        What `describe` returned.

    Raises
    ------
    StorageError
        Names the first files that are missing or altered.
    """
    off = []
    for name, text in described["metadata"].items():
        found, written = _parsed(store, name), _dict_of(text)
        if found is None or written is None or not _holds(found, written, root=name == _METADATA):
            off.append(name)
    off += [n for n, record in described["files"].items() if store.record(n).hex() != record]
    if off:
        listed = ", ".join(
            f"{name} ({'missing' if store.record(name) == NO_FILE else 'altered'})"
            for name in off[:3]
        )
        raise StorageError(
            f"{store.name} has lost what describes its fields, and nothing was changed: {listed}"
            f"{' and others' if len(off) > 3 else ''}. Put it back from a copy; or remove the "
            "store, or give another path, and call the same again."
        )


def digest(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of facts that JSON can hold."""
    return hashlib.sha256(_canonical(facts).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _parsed(store: Target, key: str) -> dict[str, Any] | None:
    """Return JSON metadata, or None where there is none that can be read."""
    content = store.read(key)
    return None if content is None else _dict_of(content)


def _dict_of(text: str | bytes) -> dict[str, Any] | None:
    """Return a JSON mapping, or None where a text holds none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _holds(found: dict[str, Any], written: dict[str, Any], *, root: bool) -> bool:
    """Tell whether metadata say what was written, and perhaps more attributes."""
    there = found.get("attributes", {})
    attrs = written.get("attributes", {})
    kept = {k: v for k, v in attrs.items() if not (root and k in _OURS)}
    same = isinstance(there, dict) and _canonical({k: there.get(k) for k in kept}) == _canonical(
        kept
    )
    return same and _canonical(_bare(found)) == _canonical(_bare(written))


def _bare(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata without attributes and without copies of other metadata."""
    left_out = ("attributes", "consolidated_metadata")
    return {key: value for key, value in metadata.items() if key not in left_out}
