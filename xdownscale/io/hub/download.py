"""Download files over HTTP, with a known hash, retries and time limits."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from xdownscale.core.bars import open_bar
from xdownscale.core.errors import ModelFormatError, OptionError, StorageError, XDownscaleError
from xdownscale.core.logs import without_secrets
from xdownscale.io.hub.registry import Entry

if TYPE_CHECKING:
    from xdownscale.io.hub.http import Deadline

_TIMEOUT = 20.0  # seconds that a server may be silent
_ATTEMPTS = 3
_BLOCK = 2**16


def timeout() -> float:
    """Return the time limit for a silent server in seconds, ``XDOWNSCALE_TIMEOUT`` or 20.

    Raises
    ------
    OptionError
        If the variable is no number above 0.
    """
    given = os.environ.get("XDOWNSCALE_TIMEOUT") or str(_TIMEOUT)
    with contextlib.suppress(ValueError):
        if 0 < float(given) < float("inf"):
            return float(given)
    raise OptionError(f"XDOWNSCALE_TIMEOUT is {given!r}; give seconds, a number greater than 0.")


def cache_folder() -> Path:
    """Return the cache folder, ``XDOWNSCALE_CACHE`` or the system's."""
    import pooch

    given = os.environ.get("XDOWNSCALE_CACHE")
    return Path(given).expanduser() if given else Path(pooch.os_cache("xdownscale"))


def cached_path(entry: Entry) -> Path:
    """Return the path of a file in the cache; its name begins with its hash, against clashes."""
    return cache_folder() / "pretrained" / f"{entry.sha256[:12]}-{entry.file}"


def fetch(entry: Entry, url: str, *, progress: bool) -> Path:
    """Return the cached file; download it if it is missing or has another hash.

    Parameters
    ----------
    entry : Entry
        Its registry entry.
    url : str
        Its address, http or https.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path

    Raises
    ------
    StorageError
        If the server does not give it, falls silent or breaks off, or it cannot be written.
    ModelFormatError
        If the downloaded file has another hash.
    """
    import pooch

    path = cached_path(entry)
    download = _downloader(url, entry.bytes, progress=progress)
    try:
        found = pooch.retrieve(
            without_secrets(url),  # pooch logs it
            known_hash=f"sha256:{entry.sha256}",
            fname=path.name,
            path=path.parent,
            downloader=download,
        )
    except XDownscaleError:
        raise
    except OSError as err:
        raise StorageError(
            f"{path} cannot be written: {err.strerror or err}. {entry.bytes} bytes are needed; "
            "set XDOWNSCALE_CACHE to a folder that may be written to. What was there is unchanged."
        ) from err
    except ValueError as err:
        raise ModelFormatError(
            f"{without_secrets(url)} is not the file that its registry names (SHA-256 "
            f"{entry.sha256}): {err} It was altered or is of another version; ask whoever serves "
            "it. Nothing was kept."
        ) from err
    return Path(found)


def fetch_text(url: str, largest: int) -> bytes | None:
    """Download a small file; return None where the server says that there is none.

    Parameters
    ----------
    url : str
        Its address, http or https.
    largest : int
        Most bytes that it may have.

    Raises
    ------
    StorageError
        If the server does not answer, falls silent or breaks off.
    ModelFormatError
        If it is larger.
    """
    content = b""
    try:
        for block in _retried(url, largest):
            content = content + block if block else b""
    except _MissingError:
        return None
    return content


class _MissingError(StorageError):
    """The server says that there is no such file."""


def _downloader(url: str, size: int, *, progress: bool) -> Callable[[str, str, Any], None]:
    """Return a downloader for pooch, which writes to a temporary file and checks the hash."""

    def download(_: str, output_file: str, __: Any) -> None:
        with Path(output_file).open("wb") as file, _bar(size, progress) as bar:
            for block in _retried(url, size, exact=True):
                _write_block(file, block, bar)

    return download


def _write_block(file: BinaryIO, block: bytes, bar: Any) -> None:
    if not block:  # a new attempt begins
        file.seek(0)
        file.truncate()
        if bar is not None:
            bar.reset()
    file.write(block)
    if bar is not None:
        bar.update(len(block))


@contextlib.contextmanager
def _bar(size: int, wanted: bool) -> Iterator[Any]:
    """Yield a progress bar, or None where it is not wanted."""
    bar = open_bar(size, unit="B", unit_scale=True, desc="model") if wanted else None
    try:
        yield bar
    finally:
        if bar is not None:
            bar.close()


def _retried(url: str, size: int, *, exact: bool = False) -> Iterator[bytes]:
    """Yield an empty block and then the content; start again after a broken connection."""
    import requests
    import urllib3

    from xdownscale.io.hub.http import Deadline

    deadline = Deadline(timeout(), size)
    for attempt in range(_ATTEMPTS):
        yield b""
        try:
            yield from _stream(url, size, deadline, exact=exact)
            return
        except XDownscaleError:
            raise
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as err:  # of requests, too
            answer = getattr(err, "response", None)
            if answer is not None and answer.status_code in (404, 410):
                # the cause holds the address with its secrets
                raise _MissingError(
                    _failure(url, f"the server answers {answer.status_code}")
                ) from None
            final = (*_silences(), ValueError, requests.TooManyRedirects)
            broken = not isinstance(err, final) and (answer is None or answer.status_code >= 500)
            if attempt == _ATTEMPTS - 1 or not broken:
                raise StorageError(_failure(url, _reason(err))) from None
            time.sleep(0.2 * 2**attempt)


def _silences() -> tuple[type[Exception], ...]:
    import requests
    import urllib3

    return requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError


def _reason(err: Exception) -> str:
    answer = getattr(err, "response", None)
    if isinstance(err, _silences()):
        return (
            f"the server fell silent for {timeout():g} s (XDOWNSCALE_TIMEOUT), or sends less than "
            "50 kB/s on average; set a longer XDOWNSCALE_TIMEOUT for a slow connection"
        )
    if answer is not None:
        return f"the server answers {answer.status_code}"
    said = f"{type(err).__name__}: {without_secrets(str(err))[:120]}"
    if isinstance(err, ValueError):
        return f"it leads to no address that can be asked ({said})"
    return f"the connection failed {_ATTEMPTS} times ({said})"


def _failure(url: str, reason: str) -> str:
    return f"{without_secrets(url)} cannot be fetched: {reason}"


def _stream(url: str, size: int, deadline: Deadline, *, exact: bool = False) -> Iterator[bytes]:
    """Yield the blocks that a server sends; raise above `size` bytes or after the deadline."""
    import urllib3

    from xdownscale.io.hub.http import opened

    count = 0
    with opened(url, deadline, size) as response:
        read = getattr(response.raw, "read1", response.raw.read)
        while block := read(_BLOCK):
            count += len(block)
            if count > size:
                raise ModelFormatError(
                    f"{without_secrets(url)} has more than the {size} bytes that it may have. It "
                    "was altered or is of another version; ask whoever serves it. Nothing was kept."
                )
            yield block
    if exact and count < size:
        raise urllib3.exceptions.ProtocolError(f"it broke off after {count} of {size} bytes")
