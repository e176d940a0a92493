"""Find the file of a pretrained model: in the package, in the cache, or at a user's location."""

from __future__ import annotations

import hashlib
import os
import warnings
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from xdownscale.core.errors import (
    ModelFormatError,
    OptionError,
    StorageError,
    XDownscaleWarning,
    nearest_name,
)
from xdownscale.core.files import write_whole
from xdownscale.core.logs import without_secrets
from xdownscale.io.hub import download, registry
from xdownscale.io.hub.address import below
from xdownscale.io.hub.registry import Entry

_LARGEST_REGISTRY = 10**7  # bytes
_URL = "XDOWNSCALE_DATA_URL"


class _Location(NamedTuple):
    """Folder or URL that models are published at."""

    folder: Path | None
    url: str

    def path_of(self, file: str) -> str:
        return str(self.folder / file) if self.folder else below(self.url, file)

    @property
    def shown(self) -> str:
        return without_secrets(self.url)


def find_model(name: str, *, progress: bool) -> Path:
    """Return the file of a pretrained model, downloaded where needed.

    Parameters
    ----------
    name : str
        Name in the registry; where the location and the package both have it, the location's
        counts.
    progress : bool
        Show a progress bar of the download.

    Returns
    -------
    Path
        A file whose SHA-256 is that of the registry.

    Raises
    ------
    OptionError
        If no registry has the name.
    StorageError
        If the file cannot be fetched or kept.
    ModelFormatError
        If the file or the registry is altered.

    Examples
    --------
    >>> find_model("dust-twin-tiny", progress=False).name
    'dust-twin-tiny.xd'
    """
    location = _location()
    entry, remote = _find_entry(name, location)
    return _find_file(name, entry, location if remote else None, progress=progress)


def _location() -> _Location | None:
    """Return the location that ``XDOWNSCALE_DATA_URL`` names."""
    given = os.environ.get(_URL, "").strip()
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme in ("http", "https"):
        return _Location(None, given)
    if parts.scheme == "file":
        return _Location(Path(url2pathname(parts.path)), given)
    if len(parts.scheme) < 2:  # a drive letter is no scheme
        return _Location(Path(given).expanduser(), given)
    raise OptionError(
        f"{_URL} is {without_secrets(given)!r}; give a folder, or an address that begins with "
        "file://, http:// or https://."
    )


def _find_entry(name: str, location: _Location | None) -> tuple[Entry, bool]:
    """Return the registry entry of a name, and whether its file is at the location."""
    own = packaged()
    other = _registry_of(location) if location else None
    if other and name in other:
        return other[name], True
    if name in own:
        return own[name], other is None and location is not None
    known = sorted({*own, *(other or ())})
    where = ""
    if location:
        held = "has no registry.json" if other is None else f"has {len(other)} models"
        where = f" ({_URL} is {location.shown!r}, which {held}.)"
    raise OptionError(
        f"Unknown pretrained model: {name!r}. There are {', '.join(map(repr, known))}."
        f"{nearest_name(name, known)}{where} For a model file of your own use xdownscale.load."
    )


def available() -> dict[str, Entry]:
    """Return the models that can be loaded by name: the package's and the location's.

    Returns
    -------
    dict of str to Entry
        Sorted by name; where both have one, the location's counts.

    Raises
    ------
    OptionError, StorageError, ModelFormatError
        As `find_model`, of the location and its registry.

    Examples
    --------
    >>> "dust-twin-tiny" in available()
    True
    """
    location = _location()
    other = _registry_of(location) if location else None
    return dict(sorted({**packaged(), **(other or {})}.items()))


def packaged() -> dict[str, Entry]:
    """Return the registry of the package.

    Examples
    --------
    >>> list(packaged())
    ['dust-twin-tiny']
    """
    file = _data() / registry.FILE
    return registry.read(file.read_bytes(), str(file))


def _data() -> Path:
    return Path(str(resources.files("xdownscale.io.hub"))) / "data"


def _registry_of(location: _Location) -> dict[str, Entry] | None:
    """Return the registry of a location; None where it has none and mirrors the package's."""
    where = location.path_of(registry.FILE)
    if location.folder is None:
        content = _remote_registry(where)
    elif not location.folder.is_dir():
        raise StorageError(
            f"{_URL} is {location.shown!r}, and there is no such folder. Give the folder that "
            "xdownscale.publish wrote to, or unset it for the models of the package."
        )
    else:
        content = _local_registry(Path(where))
    return None if content is None else registry.read(content, without_secrets(where))


def _local_registry(path: Path) -> bytes | None:
    if not path.exists():
        return None
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_REGISTRY:
            raise OSError("it is no file, or too large a one")
        return path.read_bytes()
    except OSError as err:
        raise StorageError(
            f"{path} cannot be read: {err.strerror or err}. Make it readable, or unset {_URL}."
        ) from err


def _remote_registry(url: str) -> bytes | None:
    """Return a server's registry; if it does not answer, the cached copy, with a warning."""
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    kept = download.cache_folder() / "registries" / f"{key}.json"
    try:
        content = download.fetch_text(url, _LARGEST_REGISTRY)
    except StorageError as err:
        if not kept.is_file():
            raise StorageError(
                f"{err}. Check {_URL} and the network, or unset it for the models of the package."
            ) from err
        warnings.warn(
            f"{err}. The registry that it had the last time is used.",
            XDownscaleWarning,
            stacklevel=6,  # of the call of load_pretrained
        )
        return kept.read_bytes()
    if content is not None:
        registry.read(content, without_secrets(url))
        _keep_copy(kept, content)
    return content


def _keep_copy(path: Path, content: bytes) -> None:
    """Keep a copy in the cache for offline use; a failure to write it is ignored."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError:
        return


def _find_file(name: str, entry: Entry, location: _Location | None, *, progress: bool) -> Path:
    """Return a file with the entry's hash: the package's, else the cache's, else the location's."""
    shipped = _data() / entry.file
    cached = download.cached_path(entry)
    for path in (shipped, cached):
        if path.is_file() and _sha256(path) == entry.sha256:
            return path
    if location is None:
        damaged = " is damaged" if shipped.exists() else " is not there"
        raise StorageError(
            f"{shipped}{damaged}, and no server is known. Install xarray-downscale again, or "
            f"{_manual_steps(entry, cached)}"
        )
    if location.folder is not None:
        return _checked(Path(location.path_of(entry.file)), entry)
    try:
        return download.fetch(entry, location.path_of(entry.file), progress=progress)
    except StorageError as err:
        if "cannot be written" in str(err):
            raise
        raise StorageError(
            f"Model {name!r}: {err}. Try again later; or, without a network, "
            f"{_manual_steps(entry, cached)}"
        ) from err


def _manual_steps(entry: Entry, cached: Path) -> str:
    """Tell a user without a network where to put the file."""
    size = f"{entry.bytes / 1e6:.1f} MB"
    return (
        f"put the file {entry.file} ({size}, SHA-256 {entry.sha256}) at {cached}, or set {_URL} "
        f"to a folder that holds it and its {registry.FILE}."
    )


def _checked(path: Path, entry: Entry) -> Path:
    found = _sha256(path)
    if found != entry.sha256:
        raise ModelFormatError(
            f"{path} has SHA-256 {found}, its registry names {entry.sha256}: it was altered or is "
            "of another version. Copy it again, or publish it anew."
        )
    return path


def _sha256(path: Path) -> str:
    try:
        if not path.is_file():
            raise OSError("there is no such file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise StorageError(
            f"{path} cannot be read: {err.strerror or err}. Its registry names it: put it there, "
            "or publish it anew."
        ) from err
