"""A saved model: one file that holds data and nothing that runs.

The file is a ZIP archive without compression. Its members are ``manifest.json`` (format version,
package versions, size and SHA-256 of the others), ``config.json``, the labelled arrays as
``state.json`` and ``state.safetensors``, and ``weights.safetensors``. The same model is the same
bytes. The hashes find damage; they are no signature of who wrote the file, so that what they vouch
for is checked as well, and by readers that a crafted file can neither stop nor crash.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xdownscale import encoding, schema
from xdownscale.encoding import State
from xdownscale.errors import DataError, ModelFormatError, StorageError
from xdownscale.files import as_path, write_whole
from xdownscale.fingerprints import fingerprint

__all__ = ["FORMAT", "FORMAT_VERSION", "Stored", "fingerprint", "pack", "read", "write"]

FORMAT = "xdownscale model"
FORMAT_VERSION = 2
_MEMBERS = (
    "manifest.json",
    "config.json",
    "state.json",
    "state.safetensors",
    "weights.safetensors",
)
_MANIFEST, _CONFIG, _STATE, _ARRAYS, _WEIGHTS = _MEMBERS
_LAST_RECORD = "<4s4H2LH"  # of a ZIP archive, without a comment
_MOST_MEMBERS = 16
_LOCATOR = 20  # bytes before it, where an archive of more than 4 GB says so
_GIGABYTE = 10**9
_LARGEST = {_MANIFEST: 10**6, _CONFIG: 5 * 10**7, _STATE: 5 * 10**7, _ARRAYS: 4 * _GIGABYTE}
_LARGEST[_WEIGHTS] = 16 * _GIGABYTE
_PACKAGES = ("xarray-downscale", "numpy", "xarray", "torch", "safetensors")
_AGAIN = "Copy the file again from where it came, or save the model anew."
_MANIFEST_SCHEMA = {
    "format": str,
    "version": int,
    "packages": {schema.REST: str},
    "members": {
        name: {"bytes": schema.Between(0, 2**53), "sha256": str}
        for name in _MEMBERS
        if name != _MANIFEST
    },
}


class Stored(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    config : dict
        As it was given, tuples turned into lists.
    state : Dataset or dict of str to Dataset
        As it was given.
    weights : dict of str to array
        As they were given.
    """

    config: dict[str, Any]
    state: State
    weights: dict[str, Any]


def write(
    path: str | os.PathLike[str],
    config: Mapping[str, Any],
    state: xr.Dataset | Mapping[str, xr.Dataset],
    weights: Mapping[str, Any],
) -> None:
    """Write a model to one file, wholly or not at all.

    The file is written under a temporary name beside `path`, flushed to the disk and renamed:
    whatever goes wrong, what stood at `path` before stays whole.

    Parameters
    ----------
    path : str or path
        File to write; an existing file is replaced.
    config : mapping
        What JSON can hold.
    state : Dataset, or mapping of str to Dataset
        Labelled arrays; groups with any name. Encodings of the files that they came from are
        dropped, so that nothing is packed or rounded.
    weights : mapping of str to array
        Numbers, any shape.

    Raises
    ------
    DataError
        If something cannot be stored as data.
    StorageError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/m.xd", {"lags": 3}, xr.Dataset({"a": 1.0}), {"w": np.ones(2)})
    ...     read(f"{folder}/m.xd").config
    {'lags': 3}
    """
    write_whole(path, pack(config, state, weights))


def pack(
    config: Mapping[str, Any],
    state: xr.Dataset | Mapping[str, xr.Dataset],
    weights: Mapping[str, Any],
) -> bytes:
    """Return the file that `write` writes; the same model gives the same bytes.

    Parameters
    ----------
    config, state, weights
        As for `write`.

    Returns
    -------
    bytes

    Raises
    ------
    DataError
        If something cannot be stored as data.
    """
    text, arrays = encoding.encode(state)
    members = {
        _CONFIG: _json_bytes(config),
        _STATE: _json_bytes(text),
        _ARRAYS: _array_bytes(arrays),
        _WEIGHTS: _array_bytes(weights),
    }
    return _archive({_MANIFEST: _manifest(members), **members})


def read(path: str | os.PathLike[str]) -> Stored:
    """Read a model; everything is checked before it is used.

    Parameters
    ----------
    path : str or path
        File that `write` wrote.

    Returns
    -------
    Stored
        ``(config, state, weights)``.

    Raises
    ------
    StorageError
        If there is no such file, or it cannot be read.
    ModelFormatError
        If the file is not ours, of another format version, altered or truncated.
    """
    path = as_path(path, "path")
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError("it is a folder or a device")
        with path.open("rb") as file:
            members = _read_members(path, file)
    except OSError as err:
        raise StorageError(
            f"{path} cannot be read: {err.strerror or err}. Give the path of a file that "
            "`model.save` wrote."
        ) from err
    _check_manifest(path, members)
    with _naming(path, _CONFIG):
        config = schema.parse(members[_CONFIG])
        schema.check(config, {schema.REST: object}, "config")
    with _naming(path, _WEIGHTS):
        weights = _arrays_from_bytes(members[_WEIGHTS])
    with _naming(path, _ARRAYS):
        arrays = _arrays_from_bytes(members[_ARRAYS])
    with _naming(path, _STATE):
        state = encoding.decode(schema.parse(members[_STATE]), arrays)
    return Stored(config, state, weights)


def _json_bytes(config: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(config), indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as err:
        raise DataError(
            f"The configuration cannot be stored as JSON: {err}. It may hold texts, finite "
            "numbers, true, false, None, lists and dicts."
        ) from err


def _array_bytes(weights: Mapping[str, Any]) -> bytes:
    from safetensors.numpy import save

    arrays = {}
    for name in sorted(weights):
        array = np.asarray(weights[name])
        if array.dtype.kind not in "fiub":
            raise DataError(
                f"Weight {name!r} has dtype {array.dtype}; weights are arrays of real numbers. "
                "Convert it before saving."
            )
        arrays[name] = array.astype(array.dtype.newbyteorder("<"), order="C")
    content: bytes = save(arrays)
    return content


def _arrays_from_bytes(content: bytes) -> dict[str, Any]:
    from safetensors.numpy import load

    length = int.from_bytes(content[:8], "little")
    if length > len(content) - 8:
        raise ValueError(f"its header claims {length} bytes of {len(content)}")
    schema.parse(content[8 : 8 + length], "Its header")
    return dict(load(content))


def _manifest(members: Mapping[str, bytes]) -> bytes:
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in members.items()
    }
    head = {"format": FORMAT, "version": FORMAT_VERSION, "packages": _package_versions()}
    return json.dumps({**head, "members": listed}, indent=1).encode()


def _package_versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _archive(members: Mapping[str, bytes]) -> bytes:
    """Members in their order, uncompressed, all with the same date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def _read_members(path: Path, file: Any) -> dict[str, bytes]:
    """Contents by name; names and sizes are checked before anything is read."""
    size = os.fstat(file.fileno()).st_size
    _check_end(path, file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
            _check_sizes(path, listed, size)
            _check_names(path, archive, listed)
            return {info.filename: _member(path, archive, info) for info in listed}
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as err:
        if isinstance(err, ModelFormatError):
            raise
        raise ModelFormatError(
            f"{path} is not a whole model file: {err}. It is no file of `model.save`, or was "
            f"truncated. {_AGAIN}"
        ) from err


def _check_end(path: Path, file: Any, size: int) -> None:
    """Raise if the archive's last record is not as `write` makes it; nothing else is read yet."""
    length = struct.calcsize(_LAST_RECORD)
    file.seek(max(size - length - _LOCATOR, 0))
    tail = file.read()
    wide = size < 2**31 and tail.startswith(b"PK\x06\x07")  # counts of 64 bits for a small file
    last = struct.unpack(_LAST_RECORD, tail[-length:]) if len(tail) >= length else (b"",)
    if wide or last[0] != b"PK\x05\x06" or last[4] > _MOST_MEMBERS or last[-1]:
        raise ModelFormatError(
            f"{path} is not a whole model file: it does not end as a small archive does. It is no "
            f"file of `model.save`, or was truncated. {_AGAIN}"
        )
    file.seek(0)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    # RuntimeError is what zipfile says of an encryption flag; EOFError of a member cut short.
    damage = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OSError, struct.error)
    try:
        return archive.read(info)
    except (*damage, MemoryError) as err:
        raise ModelFormatError(
            f"Member {info.filename!r} of {path} is altered or truncated: {err}. {_AGAIN}"
        ) from err


def _check_sizes(path: Path, listed: list[zipfile.ZipInfo], size: int) -> None:
    for info in listed:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ModelFormatError(
                f"Member {info.filename!r} of {path} is compressed; a model file never is. {_AGAIN}"
            )
    total = sum(info.file_size for info in listed)
    if total > size:
        raise ModelFormatError(
            f"The members of {path} claim {total} bytes, the file has {size}: it was altered. "
            f"{_AGAIN}"
        )
    for info in listed:
        largest = _LARGEST.get(info.filename, _LARGEST[_MANIFEST])
        if info.file_size > largest:
            raise ModelFormatError(
                f"Member {info.filename!r} of {path} has {info.file_size} bytes; at most {largest} "
                f"are read. {_AGAIN}"
            )


def _check_names(path: Path, archive: zipfile.ZipFile, listed: list[zipfile.ZipInfo]) -> None:
    """Raise unless there are our members; of another version's, its version is what to name."""
    names = [info.filename for info in listed]
    if names.count(_MANIFEST) == 1:
        content = _member(path, archive, listed[names.index(_MANIFEST)])
        with _naming(path, _MANIFEST):
            manifest = schema.parse(content)
            head = {"format": object, "version": object, "packages": object, schema.REST: object}
            schema.check(manifest, head, "manifest")
        _check_version(path, manifest)
    if sorted(names) != sorted(_MEMBERS):
        raise ModelFormatError(
            f"{path} holds the members {names}; a model file holds {list(_MEMBERS)} and nothing "
            f"else. {_AGAIN}"
        )


def _check_manifest(path: Path, members: Mapping[str, bytes]) -> None:
    with _naming(path, _MANIFEST):
        manifest = schema.parse(members[_MANIFEST])
        schema.check(manifest, _MANIFEST_SCHEMA, "manifest")
    for name, listed in manifest["members"].items():
        if hashlib.sha256(members[name]).hexdigest() != listed["sha256"]:
            raise ModelFormatError(
                f"Member {name!r} of {path} does not have the SHA-256 that the manifest names: it "
                f"was altered. {_AGAIN}"
            )


def _check_version(path: Path, manifest: dict[str, Any]) -> None:
    if manifest["format"] != FORMAT:
        raise ModelFormatError(
            f"{path} calls itself {manifest['format']!r}, not {FORMAT!r}: it was written by "
            "another program. Give a file that `model.save` wrote."
        )
    if manifest["version"] != FORMAT_VERSION:
        raise ModelFormatError(
            f"{path} has format version {manifest['version']}, this library reads "
            f"{FORMAT_VERSION} (written with {manifest['packages']}). Use the xarray-downscale "
            "that wrote it."
        )


@contextlib.contextmanager
def _naming(path: Path, member: str) -> Iterator[None]:
    """Turn whatever a parser says of a crafted member into one clear message."""
    try:
        yield
    except Exception as err:
        raise ModelFormatError(
            f"Member {member!r} of {path} cannot be understood ({type(err).__name__}: {err}). "
            f"{_AGAIN}"
        ) from err
