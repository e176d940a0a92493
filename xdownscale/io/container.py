"""Read and write model files: a ZIP archive of JSON and safetensors, with no code in it.

The archive is not compressed. Its members are ``manifest.json`` (format version, package versions,
size and SHA-256 of the others), ``config.json``, the labelled arrays as ``state.json`` and
``state.safetensors``, and ``weights.safetensors``. The same model gives the same bytes.

The hashes find damage, but anybody can compute them, so the contents are validated as well. Each
check stands in one place: zipfile checks offsets and CRC-32, safetensors its headers, `schema` the
JSON. This module adds what they do not check: the number, names and sizes of the members, before
anything is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from xdownscale.core.errors import DataError, ModelFormatError, StorageError
from xdownscale.core.files import as_path, write_whole
from xdownscale.core.optional import installed_version
from xdownscale.io import schema
from xdownscale.io.schema import REST, Between

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
_END_RECORD = 22  # bytes: the last record of a ZIP archive, without a comment
_ZIP64_LOCATOR = 20  # bytes: the record before it, where there is one
_MOST_MEMBERS = 16
_LARGEST = {  # bytes
    _MANIFEST: 10**6,
    _CONFIG: 5 * 10**6,
    _STATE: 5 * 10**7,
    _ARRAYS: 4 * 10**9,
    _WEIGHTS: 16 * 10**9,
}
# Sums over a file, so that many small parts take no more memory and time than few large ones.
_MOST_TEXT = 5_000_000  # characters of texts as NumPy pads them, and `_PADDED` for each in the file
_PADDED = 4
_MOST_DATASETS = 1000
_MOST_VARIABLES = 12_000
_MOST_LABELLED = 2500  # variables that pandas or cftime have to look at: indexes, and dates
_MOST_COORDINATES = 200  # of one dataset: xarray compares each with each
_MOST_DATES = 2 * 10**7
_PACKAGES = ("xarray-downscale", "numpy", "xarray", "torch", "safetensors")
_AGAIN = "Copy the file again from where it came, or save the model anew."
_MANIFEST_SCHEMA = {
    "format": str,
    "version": int,
    "packages": {REST: str},
    "members": {
        name: {"bytes": Between(0, 2**53), "sha256": str} for name in _MEMBERS if name != _MANIFEST
    },
}
_ATTR = (str, int, float, [str], [float])
_VARIABLE = {
    "dims": [str],
    "attrs": {REST: _ATTR},
    "texts?": [str],
    "shape?": [Between(0, 2**31)],
}
_STATE_SCHEMA = {
    "groups": (None, [str]),
    "datasets": [{"attrs": {REST: _ATTR}, "variables": {REST: _VARIABLE}}],
}

State = xr.Dataset | dict[str, xr.Dataset]


def write(
    path: str | os.PathLike[str],
    config: Mapping[str, Any],
    state: xr.Dataset | Mapping[str, xr.Dataset],
    weights: Mapping[str, Any],
) -> None:
    """Write a model to one file, wholly or not at all.

    The file is written under a temporary name beside `path`, flushed to the disk and renamed: if
    anything fails, a file that was at `path` before is unchanged.

    Parameters
    ----------
    path : str or path
        File to write; an existing file is replaced.
    config : mapping
        Values that JSON can hold.
    state : Dataset, or mapping of str to Dataset
        Labelled arrays; groups may have any name. Encodings of the files that they came from are
        dropped, so that nothing is packed or rounded.
    weights : mapping of str to array
        Numbers of any shape.

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
    ...     read(f"{folder}/m.xd")[0]
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
    text, arrays = encode(state)
    members = {
        _CONFIG: _json_bytes(config),
        _STATE: _json_bytes(text),
        _ARRAYS: _array_bytes(arrays),
        _WEIGHTS: _array_bytes(weights),
    }
    return _archive({_MANIFEST: _manifest(members), **members})


def read(
    path: str | os.PathLike[str], groups: Callable[[dict[str, Any]], Collection[str]] | None = None
) -> tuple[dict[str, Any], State, dict[str, Any]]:
    """Read a model file; everything is validated before it is used.

    Parameters
    ----------
    path : str or path
        File that `write` wrote.
    groups : callable or None
        Validates the configuration, before the arrays are looked at, and returns the names of the
        groups that the state must have. None: it may have any.

    Returns
    -------
    config : dict
        As it was given, tuples turned into lists.
    state : Dataset or dict of str to Dataset
        As it was given.
    weights : dict of str to array
        As they were given.

    Raises
    ------
    StorageError
        If there is no such file, or it cannot be read.
    ModelFormatError
        If the file is not ours, of another format version, altered or truncated.
    """
    path = as_path(path, "path")
    try:
        if path.exists() and not path.is_file():  # opening a pipe would block
            raise OSError("it is a folder or a device")
        with path.open("rb") as file:
            members = _read_members(path, file)
    except OSError as err:
        raise StorageError(
            f"{path} cannot be read: {err.strerror or err}. Give the path of a file that "
            "`model.save` wrote."
        ) from err
    with _naming(path, _CONFIG):
        config = schema.parse(members[_CONFIG])
        schema.check(config, {REST: object}, "config")
    wanted = None if groups is None else groups(config)
    with _naming(path, _STATE):
        text = schema.parse(members.pop(_STATE))
        _check_state(text)
        _check_groups(text["groups"], wanted)
    with _naming(path, _WEIGHTS):
        weights = _arrays_from_bytes(members.pop(_WEIGHTS))
    with _naming(path, _ARRAYS):
        arrays = _arrays_from_bytes(members.pop(_ARRAYS))
    with _naming(path, _STATE):
        state = _decode(text, arrays)
    return config, state, weights


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

    return dict(load(content))


def _manifest(members: Mapping[str, bytes]) -> bytes:
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in members.items()
    }
    packages = {name: v for name in _PACKAGES if (v := installed_version(name)) is not None}
    head = {"format": FORMAT, "version": FORMAT_VERSION, "packages": packages}
    return json.dumps({**head, "members": listed}, indent=1).encode()


def _archive(members: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed archive of the members, in their order and all with the same date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def _read_members(path: Path, file: BinaryIO) -> dict[str, bytes]:
    """Return the members by name; their number, names and sizes are checked before reading."""
    size = os.fstat(file.fileno()).st_size
    _check_end(path, file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
            _check_sizes(path, listed, size)
            hashes = _read_hashes(path, archive, listed)
            members = {name: _member(path, archive, name) for name in hashes}
    except ModelFormatError:
        raise
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as err:
        raise ModelFormatError(
            f"{path} is not a whole model file: {err}. It is no file of `model.save`, or was "
            f"truncated. {_AGAIN}"
        ) from err
    _check_hashes(path, members, hashes)
    return members


def _check_end(path: Path, file: BinaryIO, size: int) -> None:
    """Raise unless the archive ends as `write` ends it, so that few members are listed.

    zipfile builds an object for every member that an archive lists before anybody can count them.
    """
    file.seek(max(size - _END_RECORD - _ZIP64_LOCATOR, 0))
    tail = file.read()
    end = tail[-_END_RECORD:]
    count = int.from_bytes(end[10:12], "little")
    comment = int.from_bytes(end[20:22], "little")
    # a 64-bit record would overrule the count; only a large file has reason for one
    overruled = size < 2**31 and tail.startswith(b"PK\x06\x07")
    whole = len(end) == _END_RECORD and end.startswith(b"PK\x05\x06")
    if not whole or comment or overruled or count > _MOST_MEMBERS:
        raise ModelFormatError(
            f"{path} is not a whole model file: it does not end as a small archive does. It is no "
            f"file of `model.save`, or was truncated. {_AGAIN}"
        )
    file.seek(0)


def _check_sizes(path: Path, listed: list[zipfile.ZipInfo], size: int) -> None:
    """Raise where reading the members could take more memory than their sizes allow."""
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


def _read_hashes(
    path: Path, archive: zipfile.ZipFile, listed: list[zipfile.ZipInfo]
) -> dict[str, str]:
    """Return member -> SHA-256; raise unless the archive holds our members and no others.

    The version comes first: a file of another version may have other members.
    """
    names = [info.filename for info in listed]
    manifest: dict[str, Any] = {}
    if names.count(_MANIFEST) == 1:
        content = _member(path, archive, _MANIFEST)
        with _naming(path, _MANIFEST):
            manifest = schema.parse(content)
            head = {"format": object, "version": object, "packages": object, REST: object}
            schema.check(manifest, head, "manifest")
        _check_version(path, manifest)
    if sorted(names) != sorted(_MEMBERS):
        raise ModelFormatError(
            f"{path} holds the members {names}; a model file holds {list(_MEMBERS)} and nothing "
            f"else. {_AGAIN}"
        )
    with _naming(path, _MANIFEST):
        schema.check(manifest, _MANIFEST_SCHEMA, "manifest")
    return {name: entry["sha256"] for name, entry in manifest["members"].items()}


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    # RuntimeError is what zipfile says of an encryption flag; EOFError of a member cut short.
    damage = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OSError, struct.error)
    try:
        return archive.read(name)
    except (*damage, MemoryError) as err:
        raise ModelFormatError(
            f"Member {name!r} of {path} is altered or truncated: {err}. {_AGAIN}"
        ) from err


def _check_hashes(path: Path, members: Mapping[str, bytes], hashes: Mapping[str, str]) -> None:
    for name, content in members.items():
        if hashlib.sha256(content).hexdigest() != hashes[name]:
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
    """Raise a parser's error on a member as a `ModelFormatError` that names the member."""
    try:
        yield
    except Exception as err:
        raise ModelFormatError(
            f"Member {member!r} of {path} cannot be understood ({type(err).__name__}: {err}). "
            f"{_AGAIN}"
        ) from err


def encode(
    state: xr.Dataset | Mapping[str, xr.Dataset],
) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Split labelled arrays into text for JSON and numbers for safetensors.

    Parameters
    ----------
    state : Dataset, or mapping of str to Dataset
        Lazy ones are computed. Encodings of the files that they came from are dropped, so that
        nothing is packed or rounded.

    Returns
    -------
    text : dict
        Values that JSON can hold.
    numbers : dict of str to array

    Raises
    ------
    DataError
        If something is neither number, text nor date.

    Examples
    --------
    >>> text, numbers = encode(xr.Dataset({"a": ("x", [1, 2])}))
    >>> decode(text, numbers)["a"].values
    array([1, 2])
    """
    alone = isinstance(state, xr.Dataset)
    parts: Mapping[str, xr.Dataset] = {"": state} if isinstance(state, xr.Dataset) else state
    datasets: list[dict[str, Any]] = []
    numbers: dict[str, np.ndarray[Any, Any]] = {}
    for number, (name, dataset) in enumerate(parts.items()):
        what = "The state" if alone else f"Group {name!r} of the state"
        try:
            text, arrays = _encode_one(dataset)
        except (TypeError, ValueError, AttributeError) as err:
            raise DataError(
                f"{what} cannot be stored: {err}. Variables may hold numbers, texts and dates; "
                "attributes texts, numbers and lists of them."
            ) from err
        datasets.append(text)
        numbers |= {f"{number}/{key}": array for key, array in arrays.items()}
    return {"groups": None if alone else list(parts), "datasets": datasets}, numbers


def _encode_one(dataset: xr.Dataset) -> tuple[dict[str, Any], dict[str, Any]]:
    plain = dataset.drop_encoding().compute()
    variables, attrs = xr.conventions.cf_encoder(*xr.conventions.encode_dataset_coordinates(plain))
    texts: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    for name, variable in sorted(variables.items()):
        key = str(name)
        values = np.asarray(variable.values)
        entry = {"dims": [str(d) for d in variable.dims], "attrs": _attrs(variable.attrs)}
        if values.dtype.kind in "UO":
            entry |= {"texts": _texts(values), "shape": list(values.shape)}
        elif values.dtype.kind in "biuf":
            numbers[key] = values
        else:
            raise TypeError(f"variable {key!r} has dtype {values.dtype}")
        texts[key] = entry
    return {"attrs": _attrs(attrs), "variables": texts}, numbers


def _texts(values: np.ndarray[Any, Any]) -> list[str]:
    flat = [str(value) if isinstance(value, str) else value for value in values.ravel()]
    if not all(isinstance(value, str) for value in flat):
        raise TypeError("a variable of objects holds something that is no text")
    return flat


def _attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as JSON holds them, without fill values that are NaN."""
    plain = {}
    for name, value in attrs.items():
        simple = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        simple = list(simple) if isinstance(simple, tuple) else simple
        if name == "_FillValue" and isinstance(simple, float) and math.isnan(simple):
            continue
        if isinstance(simple, bool) or not _is_attr(simple):
            raise TypeError(f"attribute {name!r} is {value!r}")
        plain[str(name)] = simple
    return plain


def _is_attr(value: Any) -> bool:
    parts = value if isinstance(value, list) else [value]
    texts = all(type(part) is str for part in parts)
    return texts or all(type(p) in (int, float) and math.isfinite(p) for p in parts)


def decode(text: Any, numbers: Mapping[str, np.ndarray[Any, Any]]) -> State:
    """Rebuild labelled arrays from what `encode` returned; everything is validated first.

    Parameters
    ----------
    text, numbers
        As `encode` returned them.

    Returns
    -------
    Dataset, or dict of str to Dataset

    Raises
    ------
    ModelFormatError
        If they do not belong together, or are not what `encode` returns.
    """
    _check_state(text)
    return _decode(text, numbers)


def _decode(text: Any, numbers: Mapping[str, np.ndarray[Any, Any]]) -> State:
    """Rebuild labelled arrays from a text that was checked."""
    groups = text["groups"]
    datasets = text["datasets"]
    wanted = {
        f"{number}/{name}"
        for number, part in enumerate(datasets)
        for name, variable in part["variables"].items()
        if "texts" not in variable
    }
    if wanted != set(numbers):
        raise ModelFormatError(
            f"The state names the arrays {sorted(wanted)[:5]}..., and holds "
            f"{sorted(numbers)[:5]}...: the file was altered. Copy it again from where it came."
        )
    dates = [
        numbers[f"{number}/{name}"]
        for number, part in enumerate(datasets)
        for name, variable in part["variables"].items()
        if _is_date(variable)
    ]
    _limit(sum(each.size for each in dates), _MOST_DATES, "dates")
    # a date of cftime takes 100 bytes
    _limit(sum(each.itemsize < 4 for each in dates), 0, "variables of dates in less than 4 bytes")
    found = [_decode_one(part, str(number), numbers) for number, part in enumerate(datasets)]
    return found[0] if groups is None else dict(zip(groups, found, strict=True))


def _check_state(text: Any) -> None:
    """Raise unless the text of a state matches its schema, and is not too much in sum."""
    schema.check(text, _STATE_SCHEMA, "state")
    groups = text["groups"]
    datasets = text["datasets"]
    if len(datasets) != (1 if groups is None else len(set(groups))):
        raise ModelFormatError(
            f"The state has {len(datasets)} datasets for the groups {str(groups)[:200]}; each must "
            "have one. Copy the file again from where it came."
        )
    variables = [(n, v) for part in datasets for n, v in part["variables"].items()]
    _limit(len(datasets), _MOST_DATASETS, "datasets")
    _limit(len(variables), _MOST_VARIABLES, "variables")
    _limit(sum(v["dims"] == [n] for n, v in variables), _MOST_LABELLED, "coordinates")
    for part in datasets:
        own = sum(v["dims"] == [n] for n, v in part["variables"].items())
        _limit(own, _MOST_COORDINATES, "coordinates in one dataset")
    _limit(sum(_is_date(v) for _, v in variables), _MOST_LABELLED, "variables of dates")
    texts = [variable["texts"] for _, variable in variables if "texts" in variable]
    padded = sum(len(part) * max(map(len, part), default=0) for part in texts)
    plain = sum(len(each) for part in texts for each in part)
    if padded > _MOST_TEXT + _PADDED * plain:
        raise ModelFormatError(
            f"The state holds texts of {plain} characters that would take {padded} side by side; "
            f"together they may have {_MOST_TEXT + _PADDED * plain}. Copy the file again from "
            "where it came."
        )


def _limit(count: int, most: int, what: str) -> None:
    if count > most:
        raise ModelFormatError(
            f"The state holds {count} {what}; at most {most} are read. The file was altered: copy "
            "it again from where it came."
        )


def _is_date(variable: Mapping[str, Any]) -> bool:
    """Tell whether a variable is decoded as dates."""
    return "texts" not in variable and "since" in str(variable["attrs"].get("units"))


def _check_groups(found: list[str] | None, wanted: Collection[str] | None) -> None:
    if wanted is not None and set(found or ()) != set(wanted):
        off = sorted(set(found or ()) ^ set(wanted))
        raise ModelFormatError(
            f"The state has other groups than the configuration says, such as {off[0]!r}: the file "
            "was altered. Copy it again from where it came."
        )


def _decode_one(text: Any, prefix: str, numbers: Mapping[str, Any]) -> xr.Dataset:
    variables = {}
    for name, entry in text["variables"].items():
        if "texts" in entry:
            values = np.array(entry["texts"], dtype=np.str_).reshape(entry.get("shape", [-1]))
        else:
            values = numbers[f"{prefix}/{name}"]
        variables[name] = xr.Variable(entry["dims"], values, entry["attrs"])
    plain = xr.Dataset(variables, attrs=text["attrs"])
    return xr.decode_cf(plain, decode_timedelta=True).load().drop_encoding()
