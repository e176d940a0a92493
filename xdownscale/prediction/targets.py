"""Where a long prediction is written: a folder, or a store that Zarr reaches over a network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from xdownscale.core import optional
from xdownscale.core.errors import MissingPackageError, OptionError, StorageError, XDownscaleError
from xdownscale.core.files import as_path, is_url, local_path
from xdownscale.core.logs import without_secrets
from xdownscale.prediction import integrity

_OF_PROCESS = ("memory",)  # protocols whose files no other process sees
_IN_FLIGHT = 32  # requests at a time


class Target(ABC):
    """A Zarr store by the keys of its files; `Folder` and `ZarrTarget` are the kinds.

    Attributes
    ----------
    name : str
        Name for messages, without credentials.
    """

    name: str

    @abstractmethod
    def opened(self) -> Any:
        """Return what functions of zarr and xarray open."""

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether anything is there."""

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """Return a file's content; None where there is none."""

    def read_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the contents of files, in order."""
        return [self.read(key) for key in keys]

    @abstractmethod
    def record(self, key: str) -> bytes:
        """Return what tells a file from another one, as `integrity.record_of` does."""

    @abstractmethod
    def keys(self) -> list[str]:
        """Return the names of all files, in order."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove a file, or whatever else is in its place; it need not exist."""

    @abstractmethod
    def remove_below(self, prefix: str) -> None:
        """Remove all files whose names begin with a folder, as far as that is possible."""

    def reached(self) -> contextlib.AbstractContextManager[None]:
        """Turn what goes wrong within this context into `StorageError`, where it is foreign."""
        return contextlib.nullcontext()


class Folder(Target):
    """A folder of a file system.

    Parameters
    ----------
    path : Path
        It need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def opened(self) -> Path:
        """Return the folder."""
        return self.path

    def exists(self) -> bool:
        """Tell whether the folder, or a file in its place, exists."""
        return self.path.exists()

    def read(self, key: str) -> bytes | None:
        """Return a file's content; None where it cannot be read."""
        try:
            return (self.path / key).read_bytes()
        except OSError:
            return None

    def record(self, key: str) -> bytes:
        """Return the record of a file, which is read block by block."""
        return integrity.record_of(self.path / key)

    def keys(self) -> list[str]:
        """Return the files of the folder."""
        found = sorted(path for path in self.path.rglob("*") if path.is_file())
        return [path.relative_to(self.path).as_posix() for path in found]

    def remove(self, key: str) -> None:
        """Remove a file, or a folder that is in its place."""
        path = self.path / key
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def remove_below(self, prefix: str) -> None:
        """Remove a folder within."""
        shutil.rmtree(self.path / prefix, ignore_errors=True)


class ZarrTarget(Target):
    """A store behind Zarr's own interface: a URL of fsspec, or a Zarr store that a user opened.

    Each file is written wholly or not at all, as object stores do. Nothing is locked.

    Parameters
    ----------
    store : zarr.abc.store.Store or None
        An open store; None for a URL.
    url : str or None
        Address, which each process opens for itself.
    options : mapping
        ``storage_options`` of the URL.
    """

    def __init__(
        self, store: Any = None, url: str | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self.url = url
        self._options = dict(options or {})
        self._store = store
        self.name = f"the {type(store).__name__}" if url is None else without_secrets(url)

    def __reduce__(self) -> Any:
        """Send the address; an open store is not sent to other processes."""
        if not self.shared():
            self.refuse_workers()
        return (ZarrTarget, (None, self.url, self._options))

    def shared(self) -> bool:
        """Tell whether other processes reach the same store."""
        scheme = "" if self.url is None else self.url.replace("::", "://").split("://")[0]
        return self.url is not None and scheme not in _OF_PROCESS

    def refuse_workers(self) -> NoReturn:
        """Raise, since other processes would write to a copy.

        Raises
        ------
        OptionError
            Names the remedy.
        """
        raise OptionError(
            f"store is {self.name}, which belongs to this process: workers in other processes "
            "cannot write to it. Give a folder or a URL that all workers reach (s3://...), or "
            "close the client of dask.distributed. Icechunk: write "
            "icechunk.xarray.to_icechunk(coarse.downscale.predict(model, chunks='auto')"
            ".to_dataset(), session)."
        )

    def opened(self) -> Any:
        """Return the store; that of a URL is opened once in each process."""
        if self._store is None:
            self._store = _open_url(str(self.url), self._options)
        return self._store

    def exists(self) -> bool:
        """Tell whether the store has any file."""
        with self.reached():
            return not _run(self.opened().is_empty(""))

    def read(self, key: str) -> bytes | None:
        """Return a file's content; None where there is none."""
        return self.read_all([key])[0]

    def read_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the contents of files, in order; several are under way at a time."""
        store = self.opened()

        async def read() -> list[bytes | None]:
            gate = asyncio.Semaphore(_IN_FLIGHT)

            async def one(key: str) -> bytes | None:
                async with gate:
                    return await _content(store, key)

            return list(await asyncio.gather(*map(one, keys)))

        with self.reached():
            found: list[bytes | None] = _run(read())
        return found

    def record(self, key: str) -> bytes:
        """Return the record of a file."""
        return integrity.record_of_content(self.read(key))

    def keys(self) -> list[str]:
        """Return the files of the store."""
        store = self.opened()

        async def names() -> list[str]:
            return sorted([key async for key in store.list()])

        with self.reached():
            found: list[str] = _run(names())
        return found

    def remove(self, key: str) -> None:
        """Remove a file."""
        with self.reached():
            if self.read(key) is not None:
                _run(self.opened().delete(key))

    def remove_below(self, prefix: str) -> None:
        """Remove a folder."""
        with self.reached():
            _run(self.opened().delete_dir(prefix))

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """Turn the errors of networks, servers and their clients into `StorageError`.

        Raises
        ------
        StorageError
            Names the store and the cause.
        """
        try:
            yield
        except XDownscaleError:
            raise
        except Exception as err:  # every client of a server has exceptions of its own
            raise StorageError(
                f"{self.name} could not be reached, read or written "
                f"({type(err).__name__}: {_first_line(err)}). Mend that and call the same again: "
                "finished pieces stay."
            ) from err


def find_target(given: Any, options: Mapping[str, Any] | None = None) -> Folder | ZarrTarget:
    """Return where a prediction is to be written.

    Parameters
    ----------
    given : str, path, zarr.abc.store.Store or fsspec.mapping.FSMap
        What the user gave as store.
    options : mapping, optional
        ``storage_options`` of a URL.

    Raises
    ------
    OptionError
        If it is none of these, or options came without a URL.
    MissingPackageError
        If the package for this kind of URL is not installed.
    """
    url = str(given) if isinstance(given, str) and is_url(given) else None
    if options is not None and (url is None or not isinstance(options, Mapping)):
        raise OptionError(
            f"storage_options are those of a URL, a mapping (given: {type(options).__name__} with "
            f"store {type(given).__name__}). Leave them out, or give a URL such as 's3://...'."
        )
    if url is not None:
        target = ZarrTarget(url=url, options=options)
        target.opened()
        return target
    if (store := _open_store(given)) is not None:
        return store
    path = local_path(given) if isinstance(given, str) else given
    return Folder(as_path(path, "store").absolute())


def _open_store(given: Any) -> Folder | ZarrTarget | None:
    """Return the target of a Zarr store or a mapping of fsspec; None for anything else."""
    if isinstance(given, str | os.PathLike):
        return None
    from fsspec.mapping import FSMap
    from zarr.abc.store import Store
    from zarr.storage import FsspecStore, LocalStore

    store = FsspecStore.from_mapper(given) if isinstance(given, FSMap) else given
    if not isinstance(store, Store):
        return None
    if isinstance(store, LocalStore):
        return Folder(Path(store.root).absolute())
    if store.read_only or not (store.supports_writes and store.supports_deletes):
        raise OptionError(
            f"store is a {type(store).__name__} that cannot be written to piece by piece (it is "
            "read-only, or files in it cannot be replaced). Give one that can, a URL or a folder."
        )
    return ZarrTarget(store)


def _open_url(url: str, options: Mapping[str, Any]) -> Any:
    from zarr.storage import FsspecStore

    shown = without_secrets(url)
    optional.require_for_url(url, f"Writing to {shown}")
    try:
        return FsspecStore.from_url(url, storage_options=dict(options))
    except ImportError as err:
        raise MissingPackageError(
            f"Writing to {shown} needs a package that cannot be imported here: {err}."
        ) from err
    except Exception as err:  # every file system of fsspec checks its options in its own way
        raise OptionError(
            f"store is {shown!r}, which cannot be opened ({type(err).__name__}: "
            f"{_first_line(err)}). Give a URL that fsspec knows, and its storage_options."
        ) from err


def _first_line(err: BaseException) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return without_secrets(lines[0] if lines else "")


async def _content(store: Any, key: str) -> bytes | None:
    from zarr.core.buffer import default_buffer_prototype

    try:
        found = await store.get(key, default_buffer_prototype())
    except Exception:
        # Icechunk raises for a chunk of an array that does not exist
        if await store.exists(key):
            raise
        return None
    return None if found is None else found.to_bytes()


def _run(coroutine: Any) -> Any:
    """Wait for a store's coroutine, in the loop that Zarr keeps for that."""
    from zarr.core.sync import sync  # Zarr has no public name for it

    return sync(coroutine)
