"""Files from a server: whole, of a known hash, or one clear error; nothing is waited for long."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from xdownscale.core.errors import ModelFormatError, OptionError, StorageError, XDownscaleError
from xdownscale.io.hub.registry import Entry

_TIMEOUT = 20.0  # seconds without a byte
_SLOWEST = 1000  # bytes a second, on average
_ATTEMPTS = 3
_BLOCK = 2**16


def timeout() -> float:
    """Return the seconds that a silent server is waited for, ``XDOWNSCALE_TIMEOUT`` or 20.

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
    """Return the folder that fetched files are kept in, ``XDOWNSCALE_CACHE`` or the system's."""
    import pooch

    given = os.environ.get("XDOWNSCALE_CACHE")
    return Path(given).expanduser() if given else Path(pooch.os_cache("xdownscale"))


def cached_path(entry: Entry) -> Path:
    """Return where a file is kept: its name begins with its hash, so that versions do not meet."""
    return cache_folder() / "pretrained" / f"{entry.sha256[:12]}-{entry.file}"


def fetch(entry: Entry, url: str, *, progress: bool) -> Path:
    """Return the cached file; fetch it where there is none, or another.

    Parameters
    ----------
    entry : Entry
        What it must be.
    url : str
        Where it lies, http or https.
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
        If what came has another hash.
    """
    import pooch

    path = cached_path(entry)
    download = _attempts(entry.bytes, progress=progress)
    try:
        found = pooch.retrieve(
            url,
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
            f"{url} is not the file that its registry names (SHA-256 {entry.sha256}): {err} It was "
            "altered or is of another version; ask whoever serves it. Nothing was kept."
        ) from err
    return Path(found)


def fetch_text(url: str, largest: int) -> bytes | None:
    """Return a small file of a server; None where the server says that there is none.

    Parameters
    ----------
    url : str
        Where it lies, http or https.
    largest : int
        Bytes that it may have.

    Raises
    ------
    StorageError
        If the server does not answer, falls silent or breaks off.
    ModelFormatError
        If it is larger.
    """
    content = b""
    try:
        for block in _retried(url, lambda: _stream(url, largest)):
            content = content + block if block else b""
    except _MissingError:
        return None
    return content


class _MissingError(StorageError):
    """The server says that there is no such file."""


def _attempts(size: int, *, progress: bool) -> Callable[[str, str, Any], None]:
    """Return a downloader for pooch, which writes to a temporary file and checks the hash."""

    def download(url: str, output_file: str, _: Any) -> None:
        with Path(output_file).open("wb") as file, _bar(size, progress) as bar:
            for block in _retried(url, lambda: _stream(url, size, exact=True)):
                _put(file, block, bar)

    return download


def _put(file: BinaryIO, block: bytes, bar: Any) -> None:
    if not block:  # a new attempt
        file.seek(0)
        file.truncate()
        if bar is not None:
            bar.reset()
    file.write(block)
    if bar is not None:
        bar.update(len(block))


@contextlib.contextmanager
def _bar(size: int, wanted: bool) -> Iterator[Any]:
    """Progress bar, where tqdm is there."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        wanted = False
    if not wanted:
        yield None
        return
    with tqdm(total=size, unit="B", unit_scale=True, desc="model") as bar:
        yield bar


def _retried(url: str, stream: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    """Yield an empty block and then the content, anew after a broken connection."""
    import requests
    import urllib3

    for attempt in range(_ATTEMPTS):
        yield b""
        try:
            yield from stream()
            return
        except (requests.RequestException, urllib3.exceptions.HTTPError) as err:
            answer = getattr(err, "response", None)
            if answer is not None and answer.status_code in (404, 410):
                raise _MissingError(
                    _failure(url, f"the server answers {answer.status_code}")
                ) from err
            broken = not isinstance(err, _silences()) and (
                answer is None or answer.status_code >= 500
            )
            if attempt == _ATTEMPTS - 1 or not broken:
                raise StorageError(_failure(url, _reason(err))) from err
            time.sleep(0.2 * 2**attempt)


def _silences() -> tuple[type[Exception], ...]:
    import requests
    import urllib3

    return requests.Timeout, urllib3.exceptions.TimeoutError


def _reason(err: Exception) -> str:
    answer = getattr(err, "response", None)
    if isinstance(err, _silences()):
        return f"the server fell silent for {timeout():g} s (XDOWNSCALE_TIMEOUT)"
    if answer is not None:
        return f"the server answers {answer.status_code}"
    return f"the connection failed {_ATTEMPTS} times ({type(err).__name__}: {str(err)[:120]})"


def _failure(url: str, reason: str) -> str:
    return f"{url} cannot be fetched: {reason}"


def _stream(url: str, size: int, *, exact: bool = False) -> Iterator[bytes]:
    """Yield what a server sends; at most `size` bytes, and no slower than anybody would wait."""
    import requests
    import urllib3

    limit, start, count = timeout(), time.monotonic(), 0
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=limit, headers=headers) as response:
        response.raise_for_status()
        read = getattr(response.raw, "read1", response.raw.read)
        while block := read(_BLOCK):
            count += len(block)
            if count > size:
                raise ModelFormatError(
                    f"{url} has more than the {size} bytes that it may have. It was altered or is "
                    "of another version; ask whoever serves it. Nothing was kept."
                )
            if time.monotonic() - start > limit + count / _SLOWEST:
                raise urllib3.exceptions.TimeoutError("too slow")
            yield block
    if exact and count < size:
        raise urllib3.exceptions.ProtocolError(f"it broke off after {count} of {size} bytes")
