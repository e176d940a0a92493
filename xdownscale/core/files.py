"""Check paths, and write files atomically."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from xdownscale.core.errors import OptionError, StorageError

_LONGEST = 255  # bytes of a name on common file systems


def as_path(given: object, what: str) -> Path:
    """Return a path, or raise `OptionError` if the value is none.

    Parameters
    ----------
    given : object
        The value found.
    what : str
        Name of the option, for the message.

    Examples
    --------
    >>> as_path("folder/model.xd", "path").name
    'model.xd'
    """
    if not isinstance(given, str | os.PathLike):
        raise OptionError(
            f"{what} is {given!r}, a {type(given).__name__}; give a path, as a str or pathlib.Path."
        )
    path = Path(os.fsdecode(given))
    if not all(map(_can_name, path.parts)):
        raise OptionError(
            f"{what} is {given!r}, which cannot be the name of a file: a part of it is longer than "
            f"{_LONGEST} bytes, or has characters that file systems refuse. Give another path."
        )
    return path


def is_url(text: str) -> bool:
    """Tell whether a text is an address that is no local file.

    Parameters
    ----------
    text : str
        A path or an address.

    Examples
    --------
    >>> is_url("s3://us/maps.zarr"), is_url("file:///tmp/maps.zarr"), is_url("C:/maps.zarr")
    (True, False, False)
    """
    return ("://" in text or "::" in text) and urlsplit(text).scheme not in ("file", "local")


def local_path(text: str) -> str:
    """Return the path of a ``file://`` address, and anything else as it is.

    Parameters
    ----------
    text : str
        A path or an address.

    Examples
    --------
    >>> local_path("file:///tmp/maps.zarr"), local_path("maps.zarr")
    ('/tmp/maps.zarr', 'maps.zarr')
    """
    if urlsplit(text).scheme in ("file", "local") and "://" in text:
        return text.split("://", 1)[1]
    return text


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, where they are missing.

    Parameters
    ----------
    folder : Path
        It may exist.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise StorageError(
            f"The folder {folder} cannot be made: {err.strerror or err}. Give one that may be "
            "written to."
        ) from err


def _can_name(part: str) -> bool:
    """Tell whether a file or a folder can have a name."""
    try:
        return "\0" not in part and len(os.fsencode(part)) <= _LONGEST
    except UnicodeEncodeError:  # a lone surrogate
        return False


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file atomically: a reader finds the old one or the whole new one, never a part.

    Parameters
    ----------
    path : str or path
        File to write; a symbolic link stays a link, and a file that was there gives its
        permissions to the new one.
    content : bytes
        Content of the file.

    Raises
    ------
    StorageError
        If it cannot be written; a file that was there is unchanged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder, "note.txt"), b"whole")
    ...     Path(folder, "note.txt").read_text()
    'whole'
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        if target.exists() and not target.is_file():
            raise OSError(f"{target} is a folder or a device")
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        keep_permissions(target, temporary)
        temporary.replace(target)
    except OSError as err:
        raise StorageError(
            f"{path} cannot be written: {err.strerror or err}. {len(content)} bytes are needed in "
            "a folder that exists and may be written to; a file that was there is unchanged."
        ) from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def keep_permissions(old: Path, new: Path) -> None:
    """Give a new file the permissions, and where that is allowed the group, of an old one."""
    with contextlib.suppress(OSError):
        there = old.stat()
        with contextlib.suppress(OSError, AttributeError):
            os.chown(new, -1, there.st_gid)
        new.chmod(stat.S_IMODE(there.st_mode) & 0o777)


@contextlib.contextmanager
def exclusive(folder: Path, taken: str, wait: float = 0.0) -> Iterator[None]:
    """Lock a folder against other processes; the lock of a killed process is released.

    Parameters
    ----------
    folder : Path
        A folder that exists.
    taken : str
        What to say where another process has it.
    wait : float
        Seconds to wait for it.

    Raises
    ------
    StorageError
        If another process has it for longer.
    """
    try:
        import fcntl
    except ImportError:  # a system without such locks
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    until = time.monotonic() + wait
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                if time.monotonic() >= until:
                    raise StorageError(taken) from err
                time.sleep(0.02)
                continue
            except OSError:  # a file system without such locks
                pass
            break
        yield
    finally:
        os.close(handle)
