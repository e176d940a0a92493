"""`predict_to_zarr` into stores that are no folders, and into shards: whole, resumable, checked."""

from __future__ import annotations

import asyncio
import pickle
import sys
import uuid
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

import xdownscale as xd
from xdownscale.core.errors import (
    MissingPackageError,
    ModelMismatchError,
    OptionError,
    StorageError,
)
from xdownscale.prediction import integrity, manifest, targets
from xdownscale.prediction import zarr as zarr_store

DAYS = slice(10, 19)
OPTIONS = {"realizations": 2, "progress": False}
PIECES = {"time": 3, "realization": 1}
KINDS = ["memory store", "memory url", "s3", "icechunk"]
FAST = ["memory url", "icechunk"]  # what goes through the same lines for each kind


class Place:
    """What `predict_to_zarr` is given, and the same store as Zarr sees it."""

    def __init__(self, given, options=None, opened=None):
        self.given = given
        self.options = options
        self._opened = opened

    def zarr(self):
        return self._opened() if self._opened else self.given

    def fill(self, model, record, **asked):
        asked = {"chunks": PIECES} | OPTIONS | asked
        days = record.time[DAYS]
        return xd.predict_to_zarr(
            model, record, self.given, time=days, storage_options=self.options, **asked
        )


def make_place(kind, request):
    name = uuid.uuid4().hex
    if kind == "memory store":
        return Place(zarr.storage.MemoryStore())
    if kind == "memory url":
        url = f"memory://{name}/maps.zarr"
        return Place(url, opened=lambda: zarr.storage.FsspecStore.from_url(url))
    if kind == "icechunk":
        import icechunk

        repository = icechunk.Repository.create(icechunk.in_memory_storage())
        return Place(repository.writable_session("main").store)
    url, options = f"s3://bucket/{name}/maps.zarr", request.getfixturevalue("s3")
    return Place(
        url, options, lambda: zarr.storage.FsspecStore.from_url(url, storage_options=options)
    )


@pytest.fixture(params=FAST)
def place(request):
    return make_place(request.param, request)


@pytest.fixture(params=KINDS)
def any_place(request):
    return make_place(request.param, request)


@pytest.fixture(scope="module")
def expected(drawer, record):
    return drawer.predict(record, time=record.time[DAYS], realizations=2)


@pytest.fixture(scope="module")
def folder_of_it(drawer, record, tmp_path_factory):
    path = tmp_path_factory.mktemp("folder") / "maps.zarr"
    Place(path).fill(drawer, record)
    return path


def read(store, key):
    found = sync(store.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def names(store):
    async def every():
        return sorted([key async for key in store.list()])

    return sync(every())


def counted(monkeypatch, fail_at=None):
    """Count the pieces that are generated; from one of them on, fail."""
    real, calls = zarr_store.chunking.predict_labelled, []

    def generate(*args):
        calls.append(args[1])
        if fail_at is not None and len(calls) >= fail_at:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(zarr_store.chunking, "predict_labelled", generate)
    return calls


def test_holds_what_a_folder_holds(any_place, drawer, record, folder_of_it):
    place = any_place
    found = place.fill(drawer, record)
    want = xr.open_zarr(folder_of_it, consolidated=False)
    xr.testing.assert_equal(found, want)
    assert found.t.encoding["chunks"] == want.t.encoding["chunks"]
    dated = {"history", "progress"}
    assert {k: v for k, v in found.attrs.items() if k not in dated} == {
        k: v for k, v in want.attrs.items() if k not in dated
    }
    assert found.attrs["progress"] == "complete"
    files = [p.relative_to(folder_of_it).as_posix() for p in folder_of_it.rglob("*") if p.is_file()]
    assert names(place.zarr()) == sorted(files)


def test_goes_on_after_an_interruption(any_place, drawer, record, expected, monkeypatch):
    place = any_place
    with monkeypatch.context() as patch:
        counted(patch, fail_at=3)
        with pytest.raises(KeyboardInterrupt), xd_single_thread():
            place.fill(drawer, record)
    before = manifest.Manifest(targets.find_target(place.given, place.options)).finished()
    assert before.sum() == 2
    calls = counted(monkeypatch)
    found = place.fill(drawer, record)
    assert len(calls) == before.size - 2
    np.testing.assert_allclose(found.t, expected, rtol=2e-5, atol=2e-5)
    calls.clear()
    place.fill(drawer, record)
    assert not calls


def xd_single_thread():
    import dask

    return dask.config.set(scheduler="synchronous")


@pytest.mark.parametrize("harm", ["removed", "altered"])
def test_lost_pieces_are_generated_again(any_place, harm, drawer, record, expected, monkeypatch):
    place = any_place
    place.fill(drawer, record)
    store = place.zarr()
    key = next(k for k in names(store) if k.startswith("t/c/"))
    whole = read(store, key)
    if harm == "removed":
        sync(store.delete(key))
    else:
        altered = default_buffer_prototype().buffer.from_bytes(
            whole[:-1] + bytes([255 - whole[-1]])
        )
        sync(store.set(key, altered))
    calls = counted(monkeypatch)
    found = place.fill(drawer, record)
    assert len(calls) == 1
    assert read(place.zarr(), key) == whole
    np.testing.assert_allclose(found.t, expected, rtol=2e-5, atol=2e-5)
    assert "missing or altered" in found.attrs["history"]


@pytest.mark.parametrize("key", ["time/c/0", "lat/zarr.json", "t/zarr.json"])
def test_lost_descriptions_are_named(place, key, drawer, record):
    place.fill(drawer, record)
    sync(place.zarr().delete(key))
    with pytest.raises(StorageError, match=f"lost what describes.*{key.split('/')[0]}/"):
        place.fill(drawer, record)


def test_another_request_is_refused(place, drawer, record):
    place.fill(drawer, record)
    with pytest.raises(ModelMismatchError, match="seed: 0 there, 7 now"):
        place.fill(drawer, record, seed=7)
    with pytest.raises(ModelMismatchError, match="chunks"):
        place.fill(drawer, record, chunks={"time": 2})


def test_what_somebody_else_has_there_stays(place, drawer, record):
    root = zarr.open_group(place.zarr(), mode="w-", zarr_format=3)
    root.create_array("own", data=np.arange(3.0))
    before = names(place.zarr())
    with pytest.raises(StorageError, match="no store of predict_to_zarr"):
        place.fill(drawer, record)
    assert names(place.zarr()) == before


@pytest.mark.filterwarnings("ignore:1 of 1 runs start cold")
def test_an_autoregressive_run_goes_on(place, walker, record, monkeypatch, tmp_path):
    asked = {"mode": "autoregressive"}
    whole = Place(tmp_path / "whole.zarr").fill(walker, record, **asked)
    with monkeypatch.context() as patch:
        counted(patch, fail_at=3)
        with pytest.raises(KeyboardInterrupt), xd_single_thread():
            place.fill(walker, record, **asked)
    calls = counted(monkeypatch)
    found = place.fill(walker, record, **asked)
    assert len(calls) == 4
    xr.testing.assert_equal(found.t, whole.t)
    assert not [key for key in names(place.zarr()) if key.startswith("xdownscale/walk")]


def test_two_variables(place, pair_drawer, paired, record):
    coarse = paired
    found = place.fill(pair_drawer, coarse)
    want = pair_drawer.predict(coarse, time=coarse.time[DAYS], realizations=2)
    for name in ("t", "u"):
        np.testing.assert_allclose(found[name], want[name], rtol=2e-5, atol=2e-5)


@pytest.fixture(scope="module")
def paired():
    from records import make_pair

    return make_pair(names=("t", "u"))[0]


def test_icechunk_keeps_what_was_committed(drawer, record, expected, monkeypatch):
    import icechunk

    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    session = repository.writable_session("main")
    with monkeypatch.context() as patch:
        counted(patch, fail_at=5)
        with pytest.raises(KeyboardInterrupt), xd_single_thread():
            Place(session.store).fill(drawer, record)
    session.commit("four pieces")
    calls = counted(monkeypatch)
    session = repository.writable_session("main")
    Place(session.store).fill(drawer, record)
    session.commit("all pieces")
    assert len(calls) == 2
    found = xr.open_zarr(repository.readonly_session("main").store, consolidated=False)
    np.testing.assert_allclose(found.t, expected, rtol=2e-5, atol=2e-5)
    with pytest.raises(OptionError, match="read-only"):
        Place(repository.readonly_session("main").store).fill(drawer, record)


# shards


SHARDS = {"time": 4, "realization": 2}


@pytest.mark.parametrize("kind", ["folder", *KINDS])
def test_a_piece_is_a_shard(kind, request, drawer, record, expected, tmp_path):
    place = Place(tmp_path / "maps.zarr") if kind == "folder" else make_place(kind, request)
    found = place.fill(
        drawer, record, shards=SHARDS, chunks={"time": 2, "realization": 1, "lat": 10, "lon": 8}
    )
    array = zarr.open_group(place.zarr(), mode="r", use_consolidated=False)["t"]
    assert array.chunks == (1, 2, 10, 8)
    assert array.shards == (2, 4, 30, 24)  # 24 x 20 cells: whole chunks beyond the edge
    np.testing.assert_allclose(found.t, expected, rtol=2e-5, atol=2e-5)
    store = targets.find_target(place.given, place.options)
    assert [k for k in store.keys() if k.startswith("t/c/")] == [  # noqa: SIM118
        f"t/c/0/{number}/0/0" for number in range(3)
    ]


def test_chunks_of_shards_are_single_maps_by_default(drawer, record, tmp_path):
    place = Place(tmp_path / "maps.zarr")
    place.fill(drawer, record, shards="auto", chunks="auto")
    array = zarr.open_group(place.given, mode="r")["t"]
    assert array.chunks == (1, 1, 24, 20)
    assert array.shards == (2, 9, 24, 20)


def test_a_damaged_shard_is_written_again(drawer, record, expected, tmp_path, monkeypatch):
    place = Place(tmp_path / "maps.zarr")
    place.fill(drawer, record, shards=SHARDS, chunks=1)
    (tmp_path / "maps.zarr/t/c/0/1/0/0").write_bytes(b"")
    calls = counted(monkeypatch)
    found = place.fill(drawer, record, shards=SHARDS, chunks=1)
    assert len(calls) == 1
    np.testing.assert_allclose(found.t, expected, rtol=2e-5, atol=2e-5)


def test_a_resumed_run_keeps_its_shards(drawer, record, tmp_path):
    place = Place(tmp_path / "maps.zarr")
    place.fill(drawer, record, shards=SHARDS, chunks=1)
    place.fill(drawer, record, chunks="auto")
    with pytest.raises(ModelMismatchError, match="chunks within shards"):
        place.fill(drawer, record, shards=SHARDS, chunks=2)
    with pytest.raises(ModelMismatchError, match="chunks: "):
        place.fill(drawer, record, shards=3, chunks=1)
    with pytest.raises(ModelMismatchError, match="chunks within shards"):
        place.fill(drawer, record, chunks=SHARDS)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"shards": 4, "chunks": 3}, "do not fill a shard"),
        ({"shards": {"lat": 4}, "chunks": 1}, "in shards= .maps stay whole"),
        ({"shards": 0, "chunks": 1}, "shards= asks for pieces of 0"),
        ({"shards": 4, "chunks": {"depth": 1}}, "dimension in chunks="),
        ({"shards": 4, "chunks": {"lat": 1.5}}, "chunks= asks for pieces of 1.5"),
        ({"shards": True, "chunks": 1}, "shards= asks for pieces of True"),
    ],
)
def test_shards_that_cannot_be_are_refused(asked, said, drawer, record, tmp_path):
    with pytest.raises(OptionError, match=said):
        Place(tmp_path / "maps.zarr").fill(drawer, record, **asked)
    assert not list(tmp_path.iterdir())


# what is refused, and how


def test_a_local_store_is_its_folder(drawer, record, tmp_path):
    Place(zarr.storage.LocalStore(tmp_path / "maps.zarr")).fill(drawer, record)
    assert (tmp_path / "maps.zarr/zarr.json").is_file()
    found = Place(f"file://{tmp_path}/maps.zarr").fill(drawer, record)
    assert found.attrs["progress"] == "complete"


def test_a_mapping_of_fsspec_is_a_store(drawer, record, expected):
    import fsspec

    found = Place(fsspec.get_mapper(f"memory://{uuid.uuid4().hex}/a.zarr")).fill(drawer, record)
    np.testing.assert_allclose(found.t, expected, rtol=2e-5, atol=2e-5)


def test_a_store_that_cannot_be_written_is_refused(drawer, record, tmp_path):
    with pytest.raises(OptionError, match="piece by piece"):
        Place(zarr.storage.ZipStore(tmp_path / "a.zip", mode="w")).fill(drawer, record)
    with pytest.raises(OptionError, match="piece by piece"):
        Place(zarr.storage.MemoryStore(read_only=True)).fill(drawer, record)


def test_options_without_a_url_are_refused(drawer, record, tmp_path):
    with pytest.raises(OptionError, match="storage_options are those of a URL"):
        Place(tmp_path / "a.zarr", {"key": "none"}).fill(drawer, record)
    with pytest.raises(OptionError, match="storage_options are those of a URL"):
        Place("memory://a", "key").fill(drawer, record)


@pytest.mark.parametrize("given", [3, None, {"t": 1}, b"\0"])
def test_what_is_no_store_is_refused(given, drawer, record):
    with pytest.raises(OptionError):
        Place(given).fill(drawer, record)


def test_a_protocol_that_nobody_knows_is_refused(drawer, record):
    with pytest.raises(OptionError, match="cannot be opened"):
        Place("nonsense://me:word@there/maps.zarr").fill(drawer, record)


def test_a_package_that_is_missing_is_named(drawer, record, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingPackageError, match=r"xarray-downscale\[s3\]"):
        Place("s3://bucket/maps.zarr").fill(drawer, record)
    # every other kind of URL: in the words of fsspec
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingPackageError, match="install gcsfs"):
        Place("gs://bucket/maps.zarr").fill(drawer, record)


def test_a_server_that_is_gone_is_named_without_its_password(drawer, record):
    options = {
        "key": "me",
        "secret": "topsecret",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
    }
    with pytest.raises(StorageError, match="could not be reached") as caught:
        Place("s3://bucket/maps.zarr", options).fill(drawer, record)
    assert "topsecret" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_named(drawer, record, s3):
    with pytest.raises(StorageError, match=r"s3://no-bucket/maps\.zarr could not be"):
        Place("s3://no-bucket/maps.zarr", s3).fill(drawer, record)


def test_stores_of_a_process_are_not_sent_to_others(drawer, record):
    store = targets.find_target(zarr.storage.MemoryStore())
    with pytest.raises(OptionError, match="belongs to this process"):
        pickle.dumps(store)
    sent = pickle.loads(pickle.dumps(targets.ZarrTarget(url="s3://bucket/a", options={"key": "k"})))
    assert (sent.url, sent._options) == ("s3://bucket/a", {"key": "k"})


@pytest.mark.parametrize("kind", ["memory url", "memory store"])
def test_workers_of_another_process_cannot_write_to_memory(kind, request, drawer, record, client):
    place = make_place(kind, request)
    with pytest.raises(OptionError, match="belongs to this process"):
        place.fill(drawer, record)
    assert not names(place.zarr())


@pytest.fixture
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", processes=True
        ) as cluster,
        Client(cluster) as connected,
    ):
        yield connected


def test_workers_write_to_a_server(drawer, record, expected, s3, client):
    place = make_place_of_s3(s3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = place.fill(drawer, record)
    np.testing.assert_allclose(found.t, expected, rtol=2e-5, atol=2e-5)


def make_place_of_s3(options):
    url = f"s3://bucket/{uuid.uuid4().hex}/maps.zarr"
    return Place(url, options)


def test_records_of_contents_are_those_of_files(tmp_path):
    for content in (b"", b"abc", bytes(range(256)) * 5000):
        (tmp_path / "a").write_bytes(content)
        assert integrity.record_of(tmp_path / "a") == integrity.record_of_content(content)
    assert integrity.record_of(tmp_path / "none") == integrity.record_of_content(None)


def test_asyncio_loops_of_a_notebook_do_not_matter(drawer, record):
    async def cell():
        return Place(zarr.storage.MemoryStore()).fill(drawer, record)

    assert asyncio.run(cell()).attrs["progress"] == "complete"


@pytest.mark.parametrize("kind", ["lambert", "curvilinear"])
def test_shards_follow_the_dimensions_of_any_grid(kind, tmp_path):
    from projected import on_plane
    from records import make_pair

    coarse, fine = (on_plane(ds, kind) for ds in make_pair(60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        model = coarse.downscale.fit(fine, preset="dressed", pairing="paired", progress=False)
        days = coarse.time[10:14]
        y, x = fine.t.dims[-2:]
        found = xd.predict_to_zarr(
            model,
            coarse,
            tmp_path / "maps.zarr",
            time=days,
            shards=2,
            chunks={"time": 1, y: 8, x: 10},
            progress=False,
        )
        want = model.predict(coarse, time=days)
    want = want if isinstance(want, xr.DataArray) else want.t
    assert found.t.encoding["chunks"] == (1, 1, 8, 10)
    np.testing.assert_allclose(found.t, want, rtol=2e-5, atol=2e-5)
