"""Pretrained models against a real local server: what is served comes, or one clear error."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import xdownscale as xd
from records import fast_config, make_pair
from xdownscale.core import files
from xdownscale.core.errors import (
    ModelFormatError,
    NotFittedError,
    OptionError,
    StorageError,
    XDownscaleWarning,
)
from xdownscale.io.hub import download, registry
from xdownscale.io.hub import load as load_
from xdownscale.io.hub import publish as publishing

NAME = "tiny"


@pytest.fixture(scope="module")
def small():
    coarse, fine = make_pair(60)
    preset = fast_config(method="unet")
    return coarse["t"].downscale.fit(fine["t"], preset=preset, progress=False)


@pytest.fixture(scope="module")
def published(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    xd.publish(small, folder, name=NAME, licence="CC BY 4.0", intended_use="tests")
    return folder


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A cache of its own, no proxy, little patience."""
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XDOWNSCALE_DATA_URL", raising=False)
    monkeypatch.setenv("XDOWNSCALE_TIMEOUT", "0.5")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    return tmp_path / "cache"


class Server:
    """A folder behind HTTP that can misbehave: `how` maps a file name to what is done to it."""

    def __init__(self, folder):
        self.asked, self.how, self.stop = [], {}, threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[-1]
                outer.asked.append(name)
                path = folder / name
                how = outer.how.get(name)
                if how is None and not path.exists():
                    how = status(404)
                body = path.read_bytes() if path.exists() else b""
                (how or whole)(self, body)

            def log_message(self, *_):
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.stalling = self.stop
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/models"

    def close(self):
        self.stop.set()
        self.http.shutdown()
        self.http.server_close()


def head(handler, length):
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def whole(handler, body):
    head(handler, len(body))
    handler.wfile.write(body)


def half(handler, body):
    head(handler, len(body))
    handler.wfile.write(body[: len(body) // 2])


def half_without_length(handler, body):
    head(handler, None)
    handler.wfile.write(body[: len(body) // 2])


def altered(handler, body):
    whole(handler, body[:-1] + bytes([body[-1] ^ 1]))


def longer(handler, body):
    whole(handler, body + b"more")


def silent(handler, body):
    handler.server.stalling.wait(30)


def stalls_midway(handler, body):
    head(handler, len(body))
    handler.wfile.write(body[:1000])
    handler.wfile.flush()
    handler.server.stalling.wait(30)


def trickles(handler, body):
    head(handler, len(body))
    for byte in body:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        if handler.server.stalling.wait(0.05):
            return


def status(code):
    return lambda handler, _: handler.send_error(code)


def once(how, then=whole):
    """Misbehave the first time only."""
    left = [how]
    return lambda handler, body: (left.pop() if left else then)(handler, body)


@pytest.fixture
def server(published, tmp_path, monkeypatch):
    folder = tmp_path / "served"
    shutil.copytree(published, folder)
    served = Server(folder)
    served.folder = folder
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", served.url)
    yield served
    served.close()


def load(name=NAME):
    return xd.load_pretrained(name, progress=False)


def kept(cache):
    """What lies in the cache beside registries."""
    return [path.name for path in (cache / "pretrained").glob("*")]


# without a network


def test_the_shipped_model_needs_no_network(monkeypatch, surroundings):
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("network"))
    model = xd.load_pretrained("dust-twin-tiny")
    assert model.config_.method == "residual"
    assert not surroundings.exists()


def test_the_shipped_model_draws_what_its_card_promises():
    """Four test days, two realizations; the card has all 72."""
    ds = xd.datasets.load_twin()
    model = load("dust-twin-tiny")
    days = model.days("test")[::18]
    mean = ds.dust.downscale.predict(model.with_sampling(sampler="mean"), time=days)
    truth = ds.dust_fine.sel(time=days)
    bicubic = xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days)
    errors = [
        float(xd.skill.mae(maps, truth, transform="log10").mean())
        for maps in (mean.isel(realization=0), bicubic)
    ]
    assert errors[0] < 0.85 * errors[1]


def test_every_line_of_the_package_has_its_file_and_card():
    folder = Path(load_.__file__).parent / "data"
    lines = load_.packaged()
    for name, line in lines.items():
        content = (folder / line.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (line.bytes, line.sha256)
        assert line.sha256 in (folder / f"{name}.md").read_text()
        assert line.bytes < 8e6
    assert {p.name for p in folder.iterdir()} == {
        "registry.json",
        *(line.file for line in lines.values()),
        *(f"{name}.md" for name in lines),
    }


def test_unknown_names_are_told_the_known_ones():
    with pytest.raises(
        OptionError, match=r"'dust-twin-tny'. There are .* Did you mean 'dust-twin-t"
    ):
        load("dust-twin-tny")


# from a folder


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_is_read_in_place(published, small, form, monkeypatch, surroundings):
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", form.format(published))
    assert repr(load()) == repr(small)
    assert load("dust-twin-tiny").config_.method == "residual"
    assert kept(surroundings) == []


def test_an_altered_file_in_a_folder(published, tmp_path, monkeypatch):
    shutil.copytree(published, tmp_path / "copy")
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", str(tmp_path / "copy"))
    (tmp_path / "copy" / "tiny.xd").write_bytes(b"other")
    with pytest.raises(ModelFormatError, match=r"its registry names .* it was altered"):
        load()
    (tmp_path / "copy" / "tiny.xd").unlink()
    with pytest.raises(StorageError, match=r"tiny\.xd cannot be read: there is no such file"):
        load()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        pytest.param("ftp://x/y", OptionError, "begins with file://, http:// or https", id="ftp"),
        pytest.param("/no/such", StorageError, "there is no such folder", id="no folder"),
        pytest.param("file:///no/such", StorageError, "there is no such folder", id="file url"),
    ],
)
def test_places_that_cannot_be(given, error, message, monkeypatch):
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", given)
    with pytest.raises(error, match=message):
        load()


@pytest.mark.parametrize("given", ["soon", "-1", "inf", "nan"])
def test_a_timeout_that_is_none(given, server, monkeypatch):
    monkeypatch.setenv("XDOWNSCALE_TIMEOUT", given)
    with pytest.raises(OptionError, match=r"XDOWNSCALE_TIMEOUT is .* greater than 0"):
        load()


def test_a_registry_that_is_no_file(tmp_path, monkeypatch):
    (tmp_path / "registry.json").mkdir()
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", str(tmp_path))
    with pytest.raises(StorageError, match=r"registry\.json cannot be read: it is no file"):
        load()


# from a server


def test_a_model_is_fetched_once(server, small, surroundings, capsys):
    assert repr(load()) == repr(small)
    assert repr(load()) == repr(small)
    assert server.asked == ["registry.json", "tiny.xd", "registry.json"]
    assert len(kept(surroundings)) == 1
    assert "%|" not in capsys.readouterr().err


def test_a_progress_bar_is_shown(server, capsys):
    xd.load_pretrained(NAME)
    assert "model: 100%" in capsys.readouterr().err


def test_a_damaged_cached_file_is_fetched_anew(server, small, surroundings):
    load()
    (path,) = (surroundings / "pretrained").iterdir()
    path.write_bytes(b"damaged")
    assert repr(load()) == repr(small)
    assert server.asked.count("tiny.xd") == 2


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(half, id="interrupted"),
        pytest.param(half_without_length, id="interrupted, length unknown"),
        pytest.param(status(503), id="busy"),
    ],
)
def test_what_breaks_once_is_tried_again(server, small, how):
    server.how["tiny.xd"] = once(how)
    assert repr(load()) == repr(small)
    assert server.asked.count("tiny.xd") == 2


@pytest.mark.parametrize(
    ("how", "attempts", "error", "message"),
    [
        pytest.param(half, 3, StorageError, "connection failed 3 times", id="interrupted"),
        pytest.param(half_without_length, 3, StorageError, "broke off after", id="no length"),
        pytest.param(altered, 1, ModelFormatError, "is not the file that its reg", id="hash"),
        pytest.param(longer, 1, ModelFormatError, "has more than the", id="too long"),
        pytest.param(status(404), 1, StorageError, "the server answers 404", id="404"),
        pytest.param(status(403), 1, StorageError, "the server answers 403", id="403"),
        pytest.param(status(500), 3, StorageError, "the server answers 500", id="500"),
        pytest.param(silent, 1, StorageError, r"fell silent for 0\.5 s", id="silent"),
        pytest.param(stalls_midway, 1, StorageError, r"fell silent for 0\.5", id="stalls"),
        pytest.param(trickles, 1, StorageError, r"fell silent for 0\.5", id="trickles"),
    ],
)
def test_what_goes_wrong_leaves_nothing(server, surroundings, how, attempts, error, message):
    server.how["tiny.xd"] = how
    with pytest.raises(error, match=message):
        load()
    assert server.asked.count("tiny.xd") == attempts
    assert kept(surroundings) == []


def test_offline_says_which_file_to_put_where(server, published, small, surroundings):
    server.how["tiny.xd"] = status(404)
    with pytest.raises(StorageError, match=r"put the file tiny\.xd .*SHA-256") as caught:
        load()
    place = Path(str(caught.value).split(") at ")[1].split(", or set")[0])
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(published / "tiny.xd", place)
    assert repr(load()) == repr(small)


def test_a_server_that_vanished(server, small, surroundings):
    load()
    server.close()
    with pytest.warns(XDownscaleWarning, match="registry that it had the last time"):
        assert repr(load()) == repr(small)
    shutil.rmtree(surroundings)
    with pytest.raises(StorageError, match="or unset it for the models of the package"):
        load()


def test_an_old_file_stays_while_a_new_one_cannot_be_fetched(server, surroundings):
    load()
    (path,) = (surroundings / "pretrained").iterdir()
    path.write_bytes(b"damaged")
    server.how["tiny.xd"] = half
    with pytest.raises(StorageError, match="connection failed"):
        load()
    assert path.read_bytes() == b"damaged"


def test_a_server_without_a_registry_mirrors_the_package(server, monkeypatch):
    (server.folder / "registry.json").unlink()
    assert load("dust-twin-tiny").config_.method == "residual"
    with pytest.raises(OptionError, match=r"'tiny'\. There are .*which has no registry\.json"):
        load()


def test_a_model_of_the_package_that_lies_elsewhere(server, small, published, monkeypatch):
    """The package's registry may name files that a mirror has."""
    line = registry.read((published / "registry.json").read_bytes(), "")[NAME]
    (server.folder / "registry.json").unlink()
    monkeypatch.setattr(load_, "packaged", lambda: {NAME: line})
    assert repr(load()) == repr(small)
    monkeypatch.delenv("XDOWNSCALE_DATA_URL")
    assert repr(load()) == repr(small)
    shutil.rmtree(os.environ["XDOWNSCALE_CACHE"])
    with pytest.raises(StorageError, match=r"is not there, and no server is known.*put the file"):
        load()


def test_a_vast_registry_is_not_read(server):
    server.how["registry.json"] = lambda handler, _: whole(handler, b" " * 10_000_001)
    with pytest.raises(ModelFormatError, match="has more than the 10000000 bytes"):
        load()


def test_many_at_once(server, small, surroundings):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: repr(load()), range(6)))
    assert set(found) == {repr(small)}
    assert len(kept(surroundings)) == 1


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"cannot be written: .* set XDOWNSCALE_CACHE"):
        load()


def edit(folder, **changes):
    path = folder / "registry.json"
    tree = json.loads(path.read_text())
    tree["models"][NAME] |= changes
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"file": "../../etc/passwd"}, "and no folder", id="path traversal"),
        pytest.param({"file": "/etc/passwd"}, "and no folder", id="absolute path"),
        pytest.param({"file": "a/b.xd"}, "and no folder", id="folder"),
        pytest.param({"file": ".hidden"}, "and no folder", id="hidden"),
        pytest.param({"sha256": "00"}, "64 hexadecimal digits", id="short hash"),
        pytest.param({"sha256": "../" + "0" * 61}, "64 hexadecimal digits", id="hash with path"),
        pytest.param({"bytes": -1}, "bytes is -1; it must be a whole number", id="negative size"),
        pytest.param({"bytes": 10**14}, "bytes is 1000.* whole number from 1", id="vast size"),
        pytest.param({"bytes": "9"}, "bytes is '9'", id="size that is a text"),
        pytest.param({"url": "http://x"}, "'url', which is not known", id="unknown member"),
    ],
)
def test_crafted_registries_are_refused(server, changes, message):
    edit(server.folder, **changes)
    with pytest.raises(ModelFormatError, match=message):
        load()
    assert server.asked == ["registry.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"<html>", "cannot be understood", id="HTML"),
        pytest.param(b"[]", r"registry .* is \[\]; it must be a mapping", id="list"),
        pytest.param(b"\xff\xfe", "cannot be understood", id="no UTF-8"),
        pytest.param(b"[" * 100_000, "cannot be understood", id="nested"),
        pytest.param(b'{"format": "x", "version": 1}', "calls itself 'x'", id="another format"),
        pytest.param(b'{"format": "xdownscale registry", "version": 9}', "version 9", id="version"),
    ],
)
def test_what_is_no_registry_is_refused(server, content, message):
    (server.folder / "registry.json").write_bytes(content)
    with pytest.raises(ModelFormatError, match=message):
        load()


# publishing


def test_what_is_published_says_what_it_is(published, small):
    assert {p.name for p in published.iterdir()} == {"tiny.xd", "tiny.md", "registry.json"}
    line = json.loads((published / "registry.json").read_text())["models"][NAME]
    content = (published / "tiny.xd").read_bytes()
    assert line["sha256"] == hashlib.sha256(content).hexdigest()
    card = (published / "tiny.md").read_text()
    for part in (
        "24 x 20 cells",
        "0.25 to 11.75 degrees, every 0.5",
        "2000-01-21",
        "CC BY 4.0",
        "tests",
        "| r2 |",
        line["sha256"],
        "Intended use",
        "encoder=xd.load_pretrained",
    ):
        assert part in card


def test_scores_in_any_form(small, tmp_path):
    import pandas as pd

    for number, (scores, part) in enumerate(
        [
            ({"crps": 0.25}, "| crps | 0.25 |"),
            ("All *good*.", "All *good*."),
            (pd.DataFrame({"r2": [0.5]}, index=["fast"]), "0.5"),
            ({}, "None were given."),
        ]
    ):
        xd.publish(small, tmp_path, name=f"m{number}", scores=scores)
        assert part in (tmp_path / f"m{number}.md").read_text()
    assert len(json.loads((tmp_path / "registry.json").read_text())["models"]) == 4


def test_the_same_model_is_the_same_bytes(published, small, tmp_path):
    folder = tmp_path / NAME
    for model in (small, xd.load(published / "tiny.xd")):
        file = xd.publish(model, folder)  # the folder's name
        assert file == folder / "tiny.xd"
        assert file.read_bytes() == (published / "tiny.xd").read_bytes()


def test_what_was_published_stays(published, small, tmp_path):
    shutil.copytree(published, tmp_path / "copy")
    other = small.with_sampling(tile=None)
    before = {p.name: p.read_bytes() for p in (tmp_path / "copy").iterdir()}
    with pytest.raises(OptionError, match="another model called 'tiny', and what was published st"):
        xd.publish(other, tmp_path / "copy", name=NAME)
    assert {p.name: p.read_bytes() for p in (tmp_path / "copy").iterdir()} == before


@pytest.mark.parametrize("name", ["", "../dust", "a/b", ".x", "a b", "x" * 81, "a..b", "ä", 3])
def test_names_that_cannot_be(small, tmp_path, name):
    with pytest.raises(OptionError, match="cannot name a model; give name="):
        xd.publish(small, tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_fitted(tmp_path):
    with pytest.raises(NotFittedError, match="no 'publish'"):
        xd.publish(xd.Downscaler(), tmp_path, name="x")


def test_a_registry_that_was_altered_is_not_written_to(small, tmp_path):
    (tmp_path / "registry.json").write_text("{}")
    with pytest.raises(ModelFormatError, match="lacks 'format'"):
        xd.publish(small, tmp_path, name="x")
    assert [p.name for p in tmp_path.iterdir()] == ["registry.json"]
    (tmp_path / "registry.json").unlink()
    (tmp_path / "registry.json").mkdir()
    with pytest.raises(StorageError, match=r"registry\.json cannot be read"):
        xd.publish(small, tmp_path, name="x")


def test_a_folder_that_cannot_be_made(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be made"):
        xd.publish(small, tmp_path / "file" / "folder", name="x")


def test_a_failure_midway_leaves_what_was_published(published, small, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(published, folder)
    other = small.with_sampling(tile=None)
    real, left = os.fsync, []

    def full(descriptor):
        if not left:
            raise OSError(28, "No space left on device")
        real(left.pop() and descriptor)

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setenv("XDOWNSCALE_DATA_URL", str(folder))
    for written in range(3):  # the model, its card, the registry
        left[:] = [True] * written
        with pytest.raises(StorageError, match="No space left on device"):
            xd.publish(other, folder, name="other")
        assert repr(load()) == repr(small)
        with pytest.raises(OptionError, match="'other'"):
            load("other")
    monkeypatch.undo()
    xd.publish(other, folder, name="other")


def test_publishes_at_once_lose_nothing(small, tmp_path):
    """Threads and processes meet the same lock: it belongs to the open folder."""
    names = [f"m{k}" for k in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: xd.publish(small, tmp_path, name=name), names))
    found = json.loads((tmp_path / "registry.json").read_text())["models"]
    assert sorted(found) == names


def test_a_publish_that_never_ends_is_not_waited_for(small, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "_PATIENCE", 0.1)
    with (
        files.exclusive(tmp_path, "taken"),
        pytest.raises(StorageError, match=r"has been publishing to .* for 0\.1 s"),
    ):
        xd.publish(small, tmp_path, name="m")
    assert not list(tmp_path.iterdir())


EVIL = "a | b\n<script>alert(1)</script> [here](javascript:x) ![](http://tracker)"


def test_texts_on_a_card_are_texts(small, tmp_path):
    said = {"summary": EVIL, "intended_use": EVIL, "licence": EVIL}
    xd.publish(small, tmp_path, name="m", scores={EVIL: 1.0}, **said)
    card = (tmp_path / "m.md").read_text()
    assert "<script" not in card
    shown = r"a \| b &lt;script>alert(1)&lt;/script> [here]\(javascript:x) ![]\(http://tracker)"
    assert f"| {shown} | 1 |" in card.splitlines()
