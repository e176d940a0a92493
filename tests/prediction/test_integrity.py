"""A store of `predict_to_zarr` that lost something is mended or refused, never called complete."""

from __future__ import annotations

import itertools
import json
import shutil
import warnings

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import xdownscale as xd
from xdownscale.prediction import integrity, manifest
from xdownscale.prediction import zarr as zarr_store

STEPS = slice(10, 19)
OPTIONS = {"realizations": 2, "chunks": {"time": 3, "realization": 1}, "progress": False}


@pytest.fixture(scope="module")
def whole(drawer, record, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "maps.zarr"
    xd.predict_to_zarr(drawer, record, path, time=record.time[STEPS], **OPTIONS)
    return path


@pytest.fixture
def store(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "maps.zarr")


@pytest.fixture
def again(drawer, record, store):
    return lambda: xd.predict_to_zarr(drawer, record, store, time=record.time[STEPS], **OPTIONS)


def contents(store):
    """Every file of a store but those that hold dates."""
    files = {p.relative_to(store).as_posix(): p for p in store.rglob("*") if p.is_file()}
    dated = ("zarr.json", "xdownscale/zarr.json")
    return {name: path.read_bytes() for name, path in files.items() if name not in dated}


def removed(path):
    path.unlink()


def emptied(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def another(path):
    """The whole and valid chunk of another piece."""
    shutil.copy(path.parents[3] / "1/0/0/0", path)


def folder_there(path):
    path.unlink()
    (path / "x").mkdir(parents=True)


@pytest.mark.parametrize("damage", [removed, emptied, cut, flipped, another, folder_there])
def test_a_piece_that_was_lost_is_generated_again(again, store, whole, damage):
    damage(store / "t/c/0/1/0/0")
    before = {p: p.stat().st_mtime_ns for p in store.glob("t/c/1/*/0/0")}
    found = again()
    assert contents(store) == contents(whole)
    assert found.attrs["progress"] == "complete"
    assert "1 of 6 pieces were missing or altered" in found.attrs["history"]
    assert {p: p.stat().st_mtime_ns for p in store.glob("t/c/1/*/0/0")} == before


def test_while_pieces_are_generated_again_the_store_is_incomplete(again, store, monkeypatch):
    def fails(*_):
        raise xd.errors.DataError("stopped by the test")

    removed(store / "t/c/0/1/0/0")
    with monkeypatch.context() as patch:
        patch.setattr(zarr_store, "_compute", fails)
        with pytest.raises(xd.errors.DataError, match="stopped by the test"):
            again()
    assert xr.open_zarr(store, consolidated=False).attrs["progress"] == "incomplete"
    assert not manifest.Manifest(store).finished()[0, 1]
    assert again().attrs["progress"] == "complete"


@pytest.mark.parametrize("mark", ["finished/c/0/1", "written/c/0/1/0/0"])
@pytest.mark.parametrize("damage", [removed, emptied, flipped])
def test_a_piece_without_a_sound_record_is_generated_again(again, store, whole, mark, damage):
    damage(store / "xdownscale" / mark)
    removed(store / "t/c/0/1/0/0")
    again()
    assert contents(store) == contents(whole)


def test_pieces_without_a_field_have_no_chunk(drawer, record, tmp_path):
    """Zarr writes no file for a chunk that is NaN throughout; one that appears is no field."""
    bare = record.where(~record.time.isin(record.time[12:15]))  # no driver: fields of NaN
    path = tmp_path / "maps.zarr"
    with pytest.warns(xd.errors.XDownscaleWarning, match="3 of 3 days"):
        xd.predict_to_zarr(drawer, bare, path, time=record.time[12:24], **OPTIONS)
    chunk = path / "t/c/0/0/0/0"
    assert not chunk.exists()
    before = contents(path)
    xd.predict_to_zarr(drawer, bare, path, time=record.time[12:24], **OPTIONS)
    assert contents(path) == before
    chunk.parent.mkdir(parents=True)
    shutil.copy(path / "t/c/0/2/0/0", chunk)
    with pytest.warns(xd.errors.XDownscaleWarning, match="3 of 3 days"):
        found = xd.predict_to_zarr(drawer, bare, path, time=record.time[12:24], **OPTIONS)
    assert found.t[:, :3].isnull().all()
    assert found.t[:, 6:].notnull().all()
    assert contents(path) == before


def units_in_metadata(store):
    note = store / "t/zarr.json"
    facts = json.loads(note.read_text())
    facts["attributes"]["units"] = "degC"
    note.write_text(json.dumps(facts))


def root_is_cut(store):
    cut(store / "zarr.json")


def metadata_are_a_list(store):
    (store / "t/zarr.json").write_text("[]")


DESCRIBED = [
    pytest.param(lambda s: shutil.rmtree(s / "t"), r"t/zarr\.json \(missing\)", id="variable"),
    pytest.param(lambda s: shutil.rmtree(s / "time"), r"time/\S+ \(missing\)", id="time"),
    pytest.param(lambda s: removed(s / "time/c/0"), r"time/c/0 \(missing\)", id="times"),
    pytest.param(lambda s: flipped(s / "lat/c/0"), r"lat/c/0 \(altered\)", id="latitude"),
    pytest.param(lambda s: emptied(s / "lon/c/0"), r"lon/c/0 \(altered\)", id="longitude"),
    pytest.param(units_in_metadata, r"t/zarr\.json \(altered\)", id="units"),
    pytest.param(metadata_are_a_list, r"t/zarr\.json \(altered\)", id="list"),
    pytest.param(root_is_cut, r"zarr\.json \(altered\)", id="root"),
    pytest.param(
        lambda s: removed(s / "xdownscale/finished/zarr.json"),
        r"xdownscale/finished/zarr\.json \(missing\)",
        id="finished",
    ),
]


@pytest.mark.parametrize(("damage", "match"), DESCRIBED)
def test_lost_metadata_and_coordinates_are_named(again, store, damage, match):
    damage(store)
    before = contents(store)
    with pytest.raises(xd.errors.StorageError, match=match):
        again()
    assert contents(store) == before


@pytest.mark.parametrize("fact", ["chunks", "tile", "variables", "metadata", "files", "sha256"])
@pytest.mark.parametrize("value", [False, [], {"a": 1}, "x", 3])
def test_an_altered_manifest_is_refused(again, store, fact, value):
    note = store / "xdownscale/zarr.json"
    facts = json.loads(note.read_text())
    facts["attributes"][fact] = value
    note.write_text(json.dumps(facts))
    with pytest.raises(xd.errors.XDownscaleError, match=r"altered or is damaged|begun otherwise"):
        again()


def forge(store, **changes):
    """Change facts of a manifest, and give it the right hash again."""
    note = store / "xdownscale/zarr.json"
    tree = json.loads(note.read_text())
    facts = {k: v for k, v in (tree["attributes"] | changes).items() if k != "sha256"}
    tree["attributes"] = facts | {"sha256": integrity.digest(facts)}
    note.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    "changes",
    [
        *({"variables": {name: [0, 1, None, None]}} for name in ("../mine", "\0", "", "u", "..")),
        *({"chunks": value} for value in ([[], []], [[9]], [[3, 3, 3], [0, 2]], [[10**9], [2]], 3)),
        *({"tile": -1}, {"tile": []}, {"metadata": {"zarr.json": []}}, {"metadata": [["x"]]}),
        *({"files": {name: "00"}} for name in ("/dev/zero", "../../x", "a/../../x", "\0", ".")),
    ],
)
def test_a_forged_manifest_is_refused_and_nothing_is_deleted(drawer, record, store, changes):
    mine = store.parent / "mine/c/0/0/0/0"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    forge(store, **changes)
    before = contents(store)
    with pytest.raises(xd.errors.StorageError, match="altered or is damaged"):
        xd.predict_to_zarr(
            drawer, record, store, time=record.time[STEPS], **OPTIONS | {"chunks": "auto"}
        )
    assert mine.read_bytes() == b"mine"
    assert contents(store) == before


@pytest.mark.parametrize("text", ["", "x", "[]", "[" * 10**5, "nul"])
def test_a_forged_description_of_metadata_is_refused(again, store, text):
    forge(store, metadata={"zarr.json": text})
    with pytest.raises(xd.errors.StorageError, match=r"zarr\.json \(altered\)"):
        again()


@pytest.mark.parametrize(
    "text",
    ["[" * 10**5, "[]", "", "{", '{"attributes": []}', '{"attributes": {}, "z": 1}', "nul", "\xff"],
)
def test_a_manifest_that_cannot_be_read_is_refused(again, store, text):
    (store / "xdownscale/zarr.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(xd.errors.StorageError, match="altered or is damaged"):
        again()


def test_unknown_keys_in_a_manifest_are_refused(again, store):
    note = store / "xdownscale/zarr.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"z": []}))
    with pytest.raises(xd.errors.StorageError, match="altered or is damaged"):
        again()


def test_another_version_is_refused(again, monkeypatch):
    monkeypatch.setattr(zarr_store, "installed_version", lambda _: "0.9.9")
    with pytest.raises(
        xd.errors.ModelMismatchError, match=r"version of xdownscale: \S+ there, 0\.9\.9 now"
    ):
        again()


@pytest.mark.filterwarnings("ignore:Object at notes.partial is not recognized")
def test_what_others_add_is_no_damage(again, store, whole):
    zarr.open_group(store, mode="r+").attrs["author"] = "N. N."
    zarr.open_array(store, path="t", mode="r+").attrs["comment"] = "for the poster"
    with pytest.warns(zarr.errors.ZarrUserWarning, match="Consolidated"):
        zarr.consolidate_metadata(store)
    notes = [store / name for name in ("notes.partial", "t/mine.partial", "t/c/0/x.partial")]
    for note in notes:
        note.write_text("mine")
    leftover = store / f"t/c/0/1/0/0.{'ab' * 16}.partial"
    leftover.write_bytes(b"half")
    found = again()
    assert found.attrs["author"] == "N. N."
    assert [note.read_text() for note in notes] == ["mine"] * 3
    assert not leftover.exists()
    xr.testing.assert_identical(
        found.t.drop_attrs(), xr.open_zarr(whole, consolidated=False).t.drop_attrs()
    )


def test_any_file_may_be_damaged(again, store, whole):
    """A sweep over all files and kinds of damage: the right fields, or the library's error."""
    expected = xr.open_zarr(whole, consolidated=False).load()
    names = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    refused = 0
    for k, name in enumerate(names):
        damage = (removed, emptied, cut, flipped)[k % 4]
        damage(store / name)
        try:
            found = again().load()
        except xd.errors.XDownscaleError:
            refused += 1
        else:
            assert found.attrs["progress"] == "complete"
            xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
        shutil.rmtree(store)
        shutil.copytree(whole, store)
    assert 0 < refused < len(names)


@pytest.fixture(scope="module")
def walked(walker, record, tmp_path_factory):
    path = tmp_path_factory.mktemp("walked") / "maps.zarr"
    walk(walker, record, path)
    return path


def walk(walker, record, path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "1 of 1 runs start cold")
        return xd.predict_to_zarr(walker, record, path, time=record.time[40:64], **OPTIONS)


def test_a_run_begins_anew_where_a_piece_of_it_was_lost(walker, record, walked, tmp_path):
    path = shutil.copytree(walked, tmp_path / "m.zarr")
    flipped(path / "t/c/0/4/0/0")
    other = {p: p.stat().st_mtime_ns for p in path.glob("t/c/1/*/0/0")}
    later = {p: p.stat().st_mtime_ns for p in path.glob("t/c/0/[5-7]/0/0")}
    found = walk(walker, record, path)
    assert contents(path) == contents(walked)
    assert {p: p.stat().st_mtime_ns for p in [*other, *later]} == other | later
    assert "5 of 16 pieces" in found.attrs["history"]


def damage_memory(path):
    flipped(next(p for p in path.glob("xdownscale/walk/*/*/_all/memory/c/**/*") if p.is_file()))


def damage_key(path):
    note = next(path.glob("xdownscale/walk/*/*/_all/zarr.json"))
    facts = json.loads(note.read_text())
    facts["attributes"]["key"] += 86400
    note.write_text(json.dumps(facts))


def forged_state(**changes):
    """Change a saved state, and give it the right hash: of lags the shape, of others the value."""

    def damage(path):
        place = next(path.glob("xdownscale/walk/*/*/_all"))
        group = zarr.open_group(place, mode="r+")
        lags = np.asarray(group["memory"][:])
        lags = changes.get("lags", lambda values: values)(lags)
        named = ("key", "group", "watched")
        said = {name: changes.get(name, group.attrs[name]) for name in named}
        group.update_attributes({**said, "sha256": manifest._digest(said, lags)})
        del group["memory"]
        group.create_array("memory", data=lags)

    return damage


def lose_state(path):
    shutil.rmtree(path / "xdownscale/walk")


def nothing(_):
    pass


FORGED = [
    forged_state(lags=lambda lags: lags[:, :1]),
    forged_state(lags=lambda lags: lags[:1]),
    forged_state(lags=lambda lags: lags[..., :-1]),
    forged_state(lags=lambda lags: lags.ravel()),
    forged_state(watched=[[0.0, 1.0]]),
    forged_state(watched=[["x"] * 3]),
    forged_state(key="x"),
    forged_state(group=[]),
]


DAMAGED = (damage_memory, damage_key, lose_state, nothing)


@pytest.mark.parametrize(
    ("damage", "lost"),
    [*itertools.product(DAMAGED, [None, 1]), *((damage, None) for damage in FORGED)],
)
def test_a_stopped_run_continues_from_a_sound_state_only(
    walker, record, walked, tmp_path, monkeypatch, damage, lost
):
    path = tmp_path / "m.zarr"
    real, calls = zarr_store.chunking.predict_labelled, []

    def stops(*args):
        calls.append(args[1].steps)
        if len(calls) == 6:
            raise xd.errors.DataError("stopped by the test")
        return real(*args)

    monkeypatch.setattr(zarr_store.chunking, "predict_labelled", stops)
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(xd.errors.DataError, match="stopped by the test"),
    ):
        walk(walker, record, path)
    finished = manifest.Manifest(path).finished()
    damage(path)
    if lost is not None:
        removed(path / f"t/c/{finished.sum(axis=1).argmax()}/{lost}/0/0")
    monkeypatch.setattr(zarr_store.chunking, "predict_labelled", real)
    found = walk(walker, record, path)
    assert contents(path) == contents(walked)
    assert found.attrs["progress"] == "complete"
    assert 0 < finished.sum() < finished.size
