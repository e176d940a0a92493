"""From a name to a model: the package's own files, the cache, and a place that was pointed to."""

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
from xdownscale.downscaler import Downscaler
from xdownscale.io.hub import download, registry
from xdownscale.io.hub.registry import Entry

_LARGEST_REGISTRY = 10**7  # bytes
_URL = "XDOWNSCALE_DATA_URL"


class _Place(NamedTuple):
    """Where models lie: a folder, or the address of one."""

    folder: Path | None
    url: str

    def of(self, file: str) -> str:
        return str(self.folder / file) if self.folder else f"{self.url.rstrip('/')}/{file}"


def load_pretrained(name: str, *, progress: bool = True) -> Downscaler:
    """Load a pretrained model by its name.

    The package ships ``"dust-twin-tiny"``, which needs no network. Further models come from the
    folder or server that the environment variable ``XDOWNSCALE_DATA_URL`` names (a folder,
    ``file://``, ``http://`` or ``https://``): what `publish` wrote. A file counts only if it has
    the SHA-256 that the registry names. It is looked for in the package, in the cache
    (``XDOWNSCALE_CACHE``, else the user's cache folder) and then in that place; what was fetched
    over a network stays in the cache. A server that is silent for ``XDOWNSCALE_TIMEOUT`` seconds
    (20) is given up.

    Parameters
    ----------
    name : str
        Name in the registry; where the place and the package both have it, the place's counts.
    progress : bool
        Show a progress bar of the download.

    Returns
    -------
    Downscaler
        Fitted: for `xdownscale.predict`, or as ``encoder=`` of `xdownscale.fit`.

    Raises
    ------
    OptionError
        If no registry has the name; says which names there are.
    StorageError
        If the file cannot be fetched or kept; says which file to put where.
    ModelFormatError
        If the file or the registry is altered.

    Examples
    --------
    >>> import xdownscale as xd
    >>> model = xd.load_pretrained("dust-twin-tiny")
    >>> model.config_.network.channels
    (32, 48, 64)
    """
    place = _place()
    entry, there = _line(name, place)
    return Downscaler.load(_find(name, entry, place if there else None, progress=progress))


def _place() -> _Place | None:
    """Return what ``XDOWNSCALE_DATA_URL`` points to."""
    given = os.environ.get(_URL, "").strip()
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme in ("http", "https"):
        return _Place(None, given)
    if parts.scheme == "file":
        return _Place(Path(url2pathname(parts.path)), given)
    if len(parts.scheme) < 2:  # a drive letter is no scheme
        return _Place(Path(given).expanduser(), given)
    raise OptionError(
        f"{_URL} is {given!r}; give a folder, or an address that begins with file://, http:// or "
        "https://."
    )


def _line(name: str, place: _Place | None) -> tuple[Entry, bool]:
    """Return the line of a name, and whether its file lies in the place."""
    own = packaged()
    other = _lines_of(place) if place else None
    if other and name in other:
        return other[name], True
    if name in own:
        return own[name], other is None and place is not None
    known = sorted({*own, *(other or ())})
    where = ""
    if place:
        held = "has no registry.json" if other is None else f"has {len(other)} models"
        where = f" ({_URL} is {place.url!r}, which {held}.)"
    raise OptionError(
        f"Unknown pretrained model: {name!r}. There are {', '.join(map(repr, known))}."
        f"{nearest_name(name, known)}{where} For a model file of your own use xdownscale.load."
    )


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


def _lines_of(place: _Place) -> dict[str, Entry] | None:
    """Return the registry of a place; None where it has none: then it mirrors the package's."""
    where = place.of(registry.FILE)
    if place.folder is None:
        content = _remote_registry(where)
    elif not place.folder.is_dir():
        raise StorageError(
            f"{_URL} is {place.url!r}, and there is no such folder. Give the folder that "
            "xdownscale.publish wrote to, or unset it for the models of the package."
        )
    else:
        content = _local(Path(where))
    return None if content is None else registry.read(content, where)


def _local(path: Path) -> bytes | None:
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
    """Return a server's registry; the one of the last time, with a warning, if it is gone."""
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
            stacklevel=5,
        )
        return kept.read_bytes()
    if content is not None:
        registry.read(content, url)
        _keep(kept, content)
    return content


def _keep(path: Path, content: bytes) -> None:
    """Keep a copy for days without a network; a cache that cannot be written is no obstacle."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError:
        return


def _find(name: str, entry: Entry, place: _Place | None, *, progress: bool) -> Path:
    """Return a file of the right hash: the package's, the cache's, the place's."""
    shipped, kept = _data() / entry.file, download.cached_path(entry)
    for path in (shipped, kept):
        if path.is_file() and _sha256(path) == entry.sha256:
            return path
    if place is None:
        damaged = " is damaged" if shipped.exists() else " is not there"
        raise StorageError(
            f"{shipped}{damaged}, and no server is known. Install xarray-downscale again, or "
            f"{_put_it(entry, kept)}"
        )
    if place.folder is not None:
        return _checked(Path(place.of(entry.file)), entry)
    try:
        return download.fetch(entry, place.of(entry.file), progress=progress)
    except StorageError as err:
        if "cannot be written" in str(err):
            raise
        raise StorageError(
            f"Model {name!r}: {err}. Try again later; or, without a network, {_put_it(entry, kept)}"
        ) from err


def _put_it(entry: Entry, kept: Path) -> str:
    size = f"{entry.bytes / 1e6:.1f} MB"
    return (
        f"put the file {entry.file} ({size}, SHA-256 {entry.sha256}) at {kept}, or set {_URL} to a "
        f"folder that holds it and its {registry.FILE}."
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
