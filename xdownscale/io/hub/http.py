"""HTTP with one deadline and one bound on bytes for a whole request, and addresses without secrets.

`requests` bounds each wait for the server, not their sum, and reads the bodies of redirects. Here
every byte that comes from the server, of heads, redirects and framing too, is counted and timed
where it leaves the socket.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from xdownscale.core.logs import Discreet, without_secrets

_SLOWEST = 1000  # lowest average rate up to any moment, bytes per second
RATE = 50_000  # lowest average rate of a whole request, bytes per second
_OVERHEAD = 10**6  # bytes of heads and framing
_REDIRECTS = 5


class Deadline:
    """Time limit of a request with all its redirects and attempts.

    Parameters
    ----------
    limit : float
        Seconds that the server may be silent. In all there are twice as many, and a second more
        for every 1000 bytes that have come, up to one for every 50,000 bytes of `size`: a server
        that sends a little now and then is left, however long its file is.
    size : int
        Bytes that are expected, at most.

    Examples
    --------
    >>> Deadline(20.0, 10**6).total
    60.0
    """

    def __init__(self, limit: float, size: int) -> None:
        self.limit = limit
        self.total = 2 * limit + size / RATE  # seconds of the whole request
        self.received = 0
        self._since = time.monotonic()

    def left(self) -> float:
        """Return the seconds that the next bytes may take; raise TimeoutError if there are none."""
        allowed = min(2 * self.limit + self.received / _SLOWEST, self.total)
        left = self._since + allowed - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        return min(left, self.limit)


class _Watched(io.RawIOBase):
    """What a socket receives, until the deadline or some bytes."""

    def __init__(self, sock: Any, deadline: Deadline, most: list[int]) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        count: int | None = self._raw.readinto(buffer)
        self._deadline.received += count or 0
        self._most[0] -= count or 0
        if self._most[0] < 0:
            raise OSError("the server sends more than it may")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """A socket whose files are watched."""

    def __init__(self, sock: Any, deadline: Deadline, most: list[int]) -> None:
        self._sock = sock
        self._watch = (deadline, most)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Watched(self._sock, *self._watch))


class _Session(requests.Session):
    """A session that follows no redirect: `requests` reads the body of each, whoever follows."""

    def get_redirect_target(self, resp: Any) -> None:
        return None


class _Adapter(HTTPAdapter):  # type: ignore[misc, unused-ignore]
    """Connections whose sockets are watched, through proxies too."""

    def __init__(self, deadline: Deadline, most: list[int]) -> None:
        self._pools = {
            "http": _pool(urllib3.HTTPConnectionPool, deadline, most),
            "https": _pool(urllib3.HTTPSConnectionPool, deadline, most),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pool(kind: Any, deadline: Deadline, most: list[int]) -> Any:
    class Connection(kind.ConnectionCls):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            plain: Any = self.sock
            self.sock: Any = _Socket(plain, deadline, most)

    return type(kind.__name__, (kind,), {"ConnectionCls": Connection})


@contextlib.contextmanager
def opened(url: str, deadline: Deadline, size: int) -> Iterator[Any]:
    """Open an address, after at most five redirects, whose bodies are not read.

    Parameters
    ----------
    url : str
        http or https.
    deadline : Deadline
        Of everything.
    size : int
        Bytes that the body may have; somewhat more may come in all.

    Yields
    ------
    requests.Response
        Whose body is not read.

    Raises
    ------
    requests.RequestException, urllib3.exceptions.HTTPError
        If the server does not answer, or leads nowhere.
    """
    most = [size + size // 10 + _OVERHEAD]
    headers = {"Accept-Encoding": "identity"}
    with _Session() as session, _discreet():
        session.mount("http://", _Adapter(deadline, most))
        session.mount("https://", _Adapter(deadline, most))
        for _ in range(_REDIRECTS + 1):
            with session.get(
                url, stream=True, timeout=deadline.left(), headers=headers, allow_redirects=False
            ) as answer:
                if not answer.is_redirect:
                    answer.raise_for_status()
                    yield answer
                    return
                url = _next(url, answer.headers["Location"])
    raise requests.TooManyRedirects(f"more than {_REDIRECTS} redirects")


def _next(url: str, location: str) -> str:
    """Return where a redirect leads; raise where that is no address, or without encryption."""
    target = urljoin(url, location)
    parts = urlsplit(target)
    safe = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
    if parts.scheme not in safe or not parts.hostname:
        raise requests.exceptions.InvalidURL(f"a redirect leads to {without_secrets(target)[:80]}")
    return target


@contextlib.contextmanager
def _discreet() -> Iterator[None]:
    logs = [logging.getLogger(f"urllib3.{name}") for name in ("connectionpool", "util.retry")]
    added = Discreet()
    for log in logs:
        log.addFilter(added)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(added)
