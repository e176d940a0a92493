"""Servers that try to keep a client for ever, to fill its memory, or to learn its secrets."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import socketserver
import threading
import time
import traceback
import tracemalloc
from types import SimpleNamespace

import pytest

from xdownscale.core.errors import ModelFormatError, StorageError
from xdownscale.core.logs import without_secrets
from xdownscale.io.hub import download, http, registry
from xdownscale.io.hub import load as load_
from xdownscale.io.hub.address import below

MOST = 50_000  # bytes of a body
SECRET = "s3" + "cr3t"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RawServer(socketserver.ThreadingTCPServer):
    """Answers a request with raw bytes, one part after another."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer):
        outer = self
        self.asked = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                path = self.rfile.readline().decode().split()[1]
                while self.rfile.readline().strip():
                    pass
                outer.asked.append(path)
                try:
                    for part in answer(path):
                        self.wfile.write(part)
                except OSError:  # the client has had enough
                    return

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("XDOWNSCALE_TIMEOUT", "0.5")
    monkeypatch.setenv("NO_PROXY", "*")
    servers = []

    def start(answer):
        servers.append(RawServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def slowly(parts):
    for part in parts:
        yield part
        time.sleep(0.05)


def after(start, *again, pause=False):
    """Some bytes, and then others without end."""
    parts = itertools.chain([start], itertools.cycle(again))
    return slowly(parts) if pause else parts


def redirect(location, *body):
    head = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n"
    if body:
        return after(head + b"Content-Length: 1000000000000\r\n\r\n", *body)
    return [head + b"Content-Length: 0\r\n\r\n"]


BLOCK = b"x" * 65536
HOSTILE = [
    ("head", lambda _: after(OK, b"X: a\r\n", pause=True), r"fell silent for 0\.5 s"),
    ("line", lambda _: after(OK + b"X: ", b"a", pause=True), r"fell silent for 0\.5 s"),
    ("continues", lambda _: after(CONTINUE, CONTINUE * 99), "connection failed|fell silent"),
    ("slow continues", lambda _: after(CONTINUE, CONTINUE, pause=True), "fell silent"),
    ("extension", lambda _: after(CHUNKED + b"1;a=", BLOCK), "connection failed|fell silent"),
    ("slow extension", lambda _: after(CHUNKED + b"1;a=", b"x", pause=True), "fell silent"),
    ("trickle", lambda _: after(OK + b"\r\n", b"x" * 100, pause=True), "less than 50 kB/s"),
    ("body", lambda _: after(OK + b"\r\n", BLOCK), "has more than the 50000 bytes"),
    ("loop", lambda _: redirect(b"/a", BLOCK), "more than 5 redirects"),
    ("growing loop", lambda path: redirect(path.encode() + b"a"), "more than 5 redirects"),
]


@pytest.mark.parametrize(
    ("answer", "message"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE]
)
def test_a_hostile_server_ends_in_an_error_soon_and_small(serve, answer, message):
    download.fetch_text(serve(there).url, MOST)  # imports what there is to import
    server = serve(answer)
    tracemalloc.start()
    with pytest.raises((StorageError, ModelFormatError), match=message):
        download.fetch_text(f"{server.url}/x", MOST)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e7


@pytest.mark.parametrize("size", [1000, 10**6, 10**8])
@pytest.mark.parametrize("limit", [20.0, 100.0])
@pytest.mark.parametrize("rate", [999, 1001, 5000, 49_000])
def test_a_steady_trickle_ends_in_proportion_to_the_expected_size(monkeypatch, size, limit, rate):
    now = [0.0]
    monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=lambda: now[0]))
    deadline = http.Deadline(limit, size)
    most = 2 * limit + size / 50_000
    with contextlib.suppress(TimeoutError):
        while deadline.received < size:
            assert deadline.left() <= limit
            deadline.received += rate
            now[0] += 1
    assert now[0] <= most + 1
    assert deadline.received < size or size / rate <= most


def test_a_connection_of_50_kb_a_second_gets_files_of_any_size(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=lambda: now[0]))
    deadline = http.Deadline(20.0, 10**10)
    while deadline.received < 10**10:
        assert deadline.left() > 0
        deadline.received += 50_000 * 1000
        now[0] += 1000


def there(path):
    if path == "/there":
        return [OK + b"Content-Length: 3\r\n\r\nyes"]
    return redirect(b"/there", BLOCK)


def test_the_body_of_a_redirect_is_not_read(serve):
    server = serve(there)
    assert download.fetch_text(f"{server.url}/here", MOST) == b"yes"
    assert server.asked == ["/here", "/there"]


@pytest.mark.parametrize(
    "location",
    [
        *(b"http://[::1", b"http://", b"//", b"file:///etc/passwd", b"gopher://x/"),
        *(b"javascript:alert(1)", b"http://d:99999999/", b"http://" + b"x" * 300 + b"/"),
        *(b"http://\xff\xfe/", b"http://.../", b"http://a b/"),
    ],
)
def test_malformed_redirects_are_the_librarys_error(serve, location, monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with pytest.raises(StorageError, match="cannot be fetched"):
        download.fetch_text(serve(lambda _: redirect(location)).url, MOST)


def test_a_redirect_may_not_leave_encryption():
    from xdownscale.io.hub.http import _next

    with pytest.raises(ValueError, match="a redirect leads to http://b/"):
        _next("https://a/x", "http://b/")
    assert _next("http://a/x?q", "https://b/y") == "https://b/y"
    assert _next("https://a/x/y", "z") == "https://a/x/z"


def test_addresses_of_files_keep_the_query():
    assert below("https://h/models?sig=a%2Fb&x=1", "m.xd") == "https://h/models/m.xd?sig=a%2Fb&x=1"
    assert below("http://h", "m.xd") == "http://h/m.xd"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://me:word@h/a?sig=word", "http://h/a?..."),
        ("url: /a?sig=word (Caused by X)", "url: /a?... (Caused by X)"),
        ("'http://word@h/a' and http://h/b", "'http://h/a' and http://h/b"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_secrets_are_not_shown(given, shown):
    assert without_secrets(given) == shown


def signed(path):
    """A registry and a model, for those who know the signature."""
    content = b"a model"
    if f"sig={SECRET}" not in path:
        return [b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"]
    if "registry.json" in path:
        digest = hashlib.sha256(content).hexdigest()
        entry = registry.Entry("m.xd", len(content), digest, "", "")
        content = registry.write({"m": entry})
    return [OK + b"Content-Length: %d\r\n\r\n" % len(content), content]


def test_signed_addresses_work(serve, monkeypatch, tmp_path):
    server = serve(signed)
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(tmp_path))
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", f"{server.url}/models?sig={SECRET}")
    assert load_.find_model("m", progress=False).read_bytes() == b"a model"
    files = ("registry.json", "m.xd")
    assert server.asked == [f"/models/{file}?sig={SECRET}" for file in files]


def to_a_secret(_):
    return redirect(f"http://u:{SECRET}@127.0.0.1:1/?sig={SECRET}".encode())


WRONG = {
    "refused": lambda _: [b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"],
    "nothing": lambda _: [],
    "no registry": lambda _: [OK + b"Content-Length: 2\r\n\r\n{}"],
    "loop": lambda _: redirect(b"/a"),
    "body": lambda _: after(OK + b"\r\n", BLOCK),
    "another secret": to_a_secret,
    "unknown model": signed,
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_no_message_and_no_log_has_a_secret(serve, monkeypatch, tmp_path, answer, caplog, capfd):
    """Whatever goes wrong: in the text, its causes, the log at its most talkative, the output."""
    server = serve(answer)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(tmp_path))
    there = server.url.replace("//", f"//user:{SECRET}@")
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", f"{there}/models?sig={SECRET}")
    caplog.set_level(logging.DEBUG)
    with pytest.raises((StorageError, ModelFormatError, ValueError)) as caught:
        load_.find_model("none", progress=False)
    said = "".join(traceback.format_exception(caught.value))
    for text in (said, caplog.text, *capfd.readouterr()):
        assert SECRET not in text
