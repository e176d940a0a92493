"""A saved model: one file that holds data and nothing that runs.

The file is a ZIP archive without compression. Its members are ``manifest.json`` (format version,
package versions, size and SHA-256 of the others), ``config.json``, ``state.nc`` (netCDF-4) and
``weights.safetensors``. The hashes find damage; they are no signature of who wrote the file.
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

from xdownscale.errors import DataError, ModelFormatError, StorageError
from xdownscale.files import write_whole

FORMAT = "xdownscale model"
FORMAT_VERSION = 1
_MEMBERS = ("manifest.json", "config.json", "state.nc", "weights.safetensors")
_MANIFEST, _CONFIG, _STATE, _WEIGHTS = _MEMBERS
_PACKAGES = ("xarray-downscale", "numpy", "xarray", "torch", "safetensors", "netCDF4")
_AGAIN = "Copy the file again from where it came, or save the model anew."

_NetCDF: Any = xr.backends.NetCDF4DataStore
State = xr.Dataset | dict[str, xr.Dataset]


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
    members = {
        _CONFIG: _config_bytes(config),
        _STATE: _state_bytes(state),
        _WEIGHTS: _weights_bytes(weights),
    }
    write_whole(path, _archive({_MANIFEST: _manifest(members), **members}))


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
    path = Path(path)
    try:
        with path.open("rb") as file:
            members = _read_members(path, file)
    except OSError as err:
        raise StorageError(
            f"{path} cannot be read: {err.strerror or err}. Give the path of a file that "
            "`model.save` wrote."
        ) from err
    _check_manifest(path, members)
    with _naming(path, _CONFIG):
        config = json.loads(members[_CONFIG])
    with _naming(path, _STATE):
        state = _state_from_bytes(members[_STATE])
    with _naming(path, _WEIGHTS):
        weights = _weights_from_bytes(members[_WEIGHTS])
    return Stored(config, state, weights)


def fingerprint(*parts: Any) -> str:
    """SHA-256 of arrays and texts, to tell whether training data are the same.

    Parameters
    ----------
    *parts : str, array or DataArray
        Texts and arrays, in order. Lazy arrays are read along the leading axis, one chunk at a
        time; the result does not depend on the chunks or the byte order. Coordinates and names
        do not count: give them as further parts.

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
    """Pieces along the leading axis, in order: the chunks of a lazy array, else the whole."""
    if not hasattr(array, "dask") or array.ndim == 0:
        yield np.asarray(array)
        return
    stop = 0
    for length in array.chunks[0]:
        start, stop = stop, stop + length
        yield np.asarray(array[start:stop])


def _plain_bytes(block: Any) -> bytes:
    if block.dtype == object:  # cftime dates and texts
        return "\n".join(f"{type(v).__name__} {v}" for v in block.ravel()).encode() + b"\n"
    little: bytes = block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes()
    return little


def _config_bytes(config: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(config), indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as err:
        raise DataError(
            f"The configuration cannot be stored as JSON: {err}. It may hold texts, finite "
            "numbers, true, false, None, lists and dicts."
        ) from err


def _state_bytes(state: xr.Dataset | Mapping[str, xr.Dataset]) -> bytes:
    """netCDF-4 in memory: a Dataset in the root group, named ones in the groups g0, g1, ..."""
    import netCDF4

    # Two writes of one state differ in the time stamp that HDF5 gives the root group.
    file = netCDF4.Dataset(_STATE, mode="w", memory=1)
    try:
        if isinstance(state, xr.Dataset):
            _dump(state, file, "the state")
        else:
            file.group_names = json.dumps(list(state))
            for number, (name, dataset) in enumerate(state.items()):
                _dump(dataset, file.createGroup(f"g{number}"), f"group {name!r} of the state")
    finally:
        buffer = file.close()
    return bytes(buffer)


def _dump(dataset: xr.Dataset, group: Any, what: str) -> None:
    try:
        dataset.drop_encoding().compute().dump_to_store(_NetCDF(group))
    except (TypeError, ValueError, AttributeError) as err:
        raise DataError(
            f"{what.capitalize()} cannot be stored as netCDF: {err}. Variables may hold numbers, "
            "texts and dates; attributes texts, numbers and lists of them."
        ) from err


def _state_from_bytes(content: bytes) -> State:
    import netCDF4

    with netCDF4.Dataset(_STATE, mode="r", memory=content) as file:
        if "group_names" not in file.ncattrs():
            return _undump(file)
        names = json.loads(file.group_names)
        return {name: _undump(file[f"g{number}"]) for number, name in enumerate(names)}


def _undump(group: Any) -> xr.Dataset:
    return xr.open_dataset(_NetCDF(group), decode_timedelta=True).load().drop_encoding()


def _weights_bytes(weights: Mapping[str, Any]) -> bytes:
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


def _weights_from_bytes(content: bytes) -> dict[str, Any]:
    from safetensors.numpy import load

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
    try:
        with zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
            _check_listing(path, listed, size)
            return {info.filename: _member(path, archive, info) for info in listed}
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as err:
        if isinstance(err, ModelFormatError):
            raise
        raise ModelFormatError(
            f"{path} is not a whole model file: {err}. It is no file of `model.save`, or was "
            f"truncated. {_AGAIN}"
        ) from err


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    # RuntimeError is what zipfile says of an encryption flag; EOFError of a member cut short.
    damage = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OSError, struct.error)
    try:
        return archive.read(info)
    except damage as err:
        raise ModelFormatError(
            f"Member {info.filename!r} of {path} is altered or truncated: {err}. {_AGAIN}"
        ) from err


def _check_listing(path: Path, listed: list[zipfile.ZipInfo], size: int) -> None:
    names = [info.filename for info in listed]
    if sorted(names) != sorted(_MEMBERS):
        raise ModelFormatError(
            f"{path} holds the members {names}; a model file holds {list(_MEMBERS)} and nothing "
            f"else. {_AGAIN}"
        )
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


def _check_manifest(path: Path, members: Mapping[str, bytes]) -> None:
    with _naming(path, _MANIFEST):
        manifest = json.loads(members[_MANIFEST])
        found, listed = manifest["version"], manifest["members"]
        if manifest["format"] != FORMAT:
            raise ModelFormatError(
                f"{path} calls itself {manifest['format']!r}, not {FORMAT!r}: it was written by "
                "another program. Give a file that `model.save` wrote."
            )
        if found != FORMAT_VERSION:
            raise ModelFormatError(
                f"{path} has format version {found}, this library reads {FORMAT_VERSION} (written "
                f"with {manifest['packages']}). Use the xarray-downscale that wrote it."
            )
        hashes = {name: listed[name]["sha256"] for name in _MEMBERS if name != _MANIFEST}
    for name, expected in hashes.items():
        if hashlib.sha256(members[name]).hexdigest() != expected:
            raise ModelFormatError(
                f"Member {name!r} of {path} does not have the SHA-256 that the manifest names: it "
                f"was altered. {_AGAIN}"
            )


@contextlib.contextmanager
def _naming(path: Path, member: str) -> Iterator[None]:
    """Turn whatever a parser says of a crafted member into one clear message."""
    try:
        yield
    except ModelFormatError:
        raise
    except Exception as err:
        raise ModelFormatError(
            f"Member {member!r} of {path} cannot be understood ({type(err).__name__}: {err}). "
            f"{_AGAIN}"
        ) from err
