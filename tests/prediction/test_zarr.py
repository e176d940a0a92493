"""`predict_to_zarr`: whole, resumable, and never somebody else's store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import xdownscale as xd
from xdownscale.prediction import manifest
from xdownscale.prediction import zarr as zarr_store

SCRIPT = Path(__file__).with_name("predict_to_zarr.py")
CLOSE = {"rtol": 2e-5, "atol": 2e-5}


def fields(path):
    return xr.open_zarr(path, consolidated=False).t.load()


def contents(folder):
    """Every file of a store, and what it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def filled(drawer, record, tmp_path_factory):
    path = tmp_path_factory.mktemp("filled") / "maps.zarr"
    xd.predict_to_zarr(drawer, record, path, realizations=2, chunks=30, progress=False)
    return path


def test_the_store_holds_what_predict_generates(drawer, record, filled):
    found = xr.open_zarr(filled, consolidated=False)
    now = drawer.predict(record, realizations=2)
    xr.testing.assert_allclose(found.t.load(), now, **CLOSE)
    assert found.t.dims == now.dims
    assert found.t.dtype == np.float32
    assert found.attrs["progress"] == "complete"
    assert found.t.encoding["chunks"] == (2, 30, 24, 20)


def test_a_whole_store_is_not_touched_again(drawer, record, filled):
    before = {p: p.stat().st_mtime_ns for p in filled.rglob("*")}
    again = xd.predict_to_zarr(drawer, record, filled, realizations=2, progress=False)
    assert {p: p.stat().st_mtime_ns for p in filled.rglob("*")} == before
    assert again.t.chunks is not None


def test_cf(filled, record, drawer, tmp_path, capsys):
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    CheckSuite.load_all_available_checkers()
    ds = xd.predict_to_zarr(drawer, record, filled, realizations=2, progress=False)
    ds.isel(realization=0).to_netcdf(tmp_path / "maps.nc")
    passed, broken = ComplianceChecker.run_checker(
        str(tmp_path / "maps.nc"), ["cf:1.11"], 0, "strict"
    )
    assert passed, capsys.readouterr().out
    assert not broken


def test_metadata(filled):
    ds = xr.open_zarr(filled, consolidated=False)
    assert ds.attrs["Conventions"] == "CF-1.11"
    assert "xdownscale" in ds.attrs["history"]
    assert ds.lat.attrs["bounds"] == "lat_bnds"
    np.testing.assert_allclose(ds.lat_bnds.mean("bnds"), ds.lat)
    assert (ds.time_bnds.values[:, 0] == ds.time.values).all()
    assert ds.t.attrs["units"] == "K"


def test_progress_is_shown(drawer, record, tmp_path, capsys):
    xd.predict_to_zarr(drawer, record, tmp_path / "maps.zarr", time=record.time[10:20], chunks=5)
    shown = capsys.readouterr().err
    assert shown.startswith("maps.zarr: 0 of 2 pieces\n")
    assert "maps.zarr: 2 of 2 pieces, 100%" in shown
    assert "\r" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drawer", "walker"])
def test_killed_at_random_moments(request, kind, folder, tmp_path):
    """What a process had finished is kept, the rest is generated, and all is as if undisturbed."""
    request.getfixturevalue(kind)
    model, store = folder / f"{kind}.xd", tmp_path / "maps.zarr"
    undisturbed = tmp_path / "undisturbed.zarr"
    command = [sys.executable, str(SCRIPT), str(model)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(undisturbed)], check=True, env=environment)
    rng, stamps, kills = np.random.default_rng(5), {}, 0
    for _ in range(60):
        process = subprocess.Popen([*command, str(store)], env=environment)
        aim = int(rng.integers(1, 5)) + done(store)
        while process.poll() is None and done(store) < aim:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        if process.poll() is None and kills < 2:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        for path, stamp in stamps.items():  # what was finished is never written again
            assert path.stat().st_mtime_ns == stamp
        stamps |= {path: path.stat().st_mtime_ns for path in finished_chunks(store)}
        if process.returncode == 0:
            break
    assert kills == 2
    expected, found = contents(undisturbed), contents(store)
    dated = {"zarr.json", "xdownscale/zarr.json"}  # these hold the time of their making
    assert found.keys() == expected.keys()
    assert {k: v for k, v in found.items() if k not in dated} == {
        k: v for k, v in expected.items() if k not in dated
    }
    assert not list(tmp_path.glob(".maps.zarr*"))


def done(store):
    return len(list((store / "xdownscale/finished/c").rglob("*"))) if store.exists() else 0


def finished_chunks(store):
    if not store.exists():
        return []
    book = manifest.Manifest(store)
    places = np.argwhere(book.finished())
    return [store / f"t/c/{r}/{d}/0/0" for r, d in places]


def test_two_processes_do_not_fill_one_store(drawer, record, filled):
    with (
        manifest.exclusive(filled),
        pytest.raises(xd.errors.StorageError, match="Another process is"),
    ):
        xd.predict_to_zarr(drawer, record, filled, realizations=2, progress=False)


def test_a_store_that_is_being_made_is_locked_until_it_is_filled(
    drawer, record, tmp_path, monkeypatch, filled
):
    """Another process takes no unfinished store for a leftover, and cannot fill it in between."""
    path = tmp_path / "maps.zarr"
    create, check = manifest.Manifest.create, manifest.Manifest.check
    met = []

    def created(store, *args):
        manifest._remove_leftovers(path)  # what another process does that begins the same store
        met.append("making")
        create(store, *args)

    def checked(self, facts):
        with pytest.raises(xd.errors.StorageError), manifest.exclusive(path):
            pass
        met.append("made")
        check(self, facts)

    monkeypatch.setattr(manifest.Manifest, "create", created)
    monkeypatch.setattr(manifest.Manifest, "check", checked)
    xd.predict_to_zarr(drawer, record, path, realizations=2, chunks=30, progress=False)
    assert met == ["making", "made"]
    xr.testing.assert_identical(fields(path), fields(filled))


def test_a_folder_that_is_taken_for_a_leftover_is_made_again(
    drawer, record, tmp_path, monkeypatch, filled
):
    path = tmp_path / "maps.zarr"
    make, made = manifest.tempfile.mkdtemp, []

    def removed_at_once(*args):
        made.append(Path(make(*args)))
        if len(made) == 1:
            manifest._remove_leftovers(path)
        return str(made[-1])

    monkeypatch.setattr(manifest.tempfile, "mkdtemp", removed_at_once)
    xd.predict_to_zarr(drawer, record, path, realizations=2, chunks=30, progress=False)
    assert len(made) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps.zarr"]
    xr.testing.assert_identical(fields(path), fields(filled))


def test_a_failure_in_the_middle_keeps_what_is_finished(
    drawer, record, tmp_path, monkeypatch, filled
):
    path = tmp_path / "maps.zarr"
    real, calls = zarr_store.chunking.predict_labelled, []

    def fails(*args):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(zarr_store.chunking, "predict_labelled", fails)
    options = {"realizations": 2, "chunks": 30, "progress": False}
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(xd.errors.StorageError, match="2 of 4 pieces are finished and stay"),
    ):
        xd.predict_to_zarr(drawer, record, path, **options)
    assert xr.open_zarr(path, consolidated=False).attrs["progress"] == "incomplete"
    monkeypatch.setattr(zarr_store.chunking, "predict_labelled", real)
    xd.predict_to_zarr(drawer, record, path, **options)
    np.testing.assert_array_equal(fields(path), fields(filled))


DIFFERENT = [
    pytest.param({"seed": 3}, "seed: 0 there, 3 now", id="seed"),
    pytest.param({"realizations": 3}, "number of realizations: 2 there, 3", id="realizations"),
    pytest.param({"stitching": "patches"}, "stitching: whole there", id="stitching"),
    pytest.param({"chunks": 15}, "chunks: ", id="chunks"),
]


@pytest.mark.parametrize(("changed", "match"), DIFFERENT)
def test_another_question_is_refused(drawer, record, filled, changed, match):
    before = contents(filled)
    options = {"realizations": 2, "chunks": 30, "progress": False} | changed
    with pytest.raises(xd.errors.ModelMismatchError, match=match):
        xd.predict_to_zarr(drawer, record, filled, **options)
    assert contents(filled) == before


def test_another_model_record_or_period_is_refused(drawer, record, filled):
    options = {"realizations": 2, "progress": False}
    other = drawer.with_sampling(steps=3)
    with pytest.raises(xd.errors.ModelMismatchError, match="model: "):
        xd.predict_to_zarr(other, record, filled, **options)
    with pytest.raises(xd.errors.ModelMismatchError, match="coarse record: "):
        xd.predict_to_zarr(drawer, record * 1.01, filled, **options)
    with pytest.raises(xd.errors.ModelMismatchError, match="days: "):
        xd.predict_to_zarr(drawer, record, filled, time=record.time[10:30], **options)


def test_a_store_that_is_not_ours_stays_as_it_is(drawer, record, tmp_path):
    path = tmp_path / "theirs.zarr"
    xr.Dataset({"x": ("a", [1, 2])}).to_zarr(path, zarr_format=3, consolidated=False)
    before = contents(path)
    with pytest.raises(xd.errors.StorageError, match="is no store of predict_to_zarr"):
        xd.predict_to_zarr(drawer, record, path, progress=False)
    assert contents(path) == before
    empty = tmp_path / "file.zarr"
    empty.write_text("not a folder")
    with pytest.raises(xd.errors.StorageError, match="is no store of predict_to_zarr"):
        xd.predict_to_zarr(drawer, record, empty, progress=False)


def test_another_manifest_format_is_refused(drawer, record, tmp_path):
    path = tmp_path / "maps.zarr"
    options = {"time": record.time[10:14], "progress": False}
    xd.predict_to_zarr(drawer, record, path, **options)
    zarr.open_group(path, path="xdownscale", mode="r+").attrs["format"] = 99
    with pytest.raises(xd.errors.StorageError, match="manifest format 99"):
        xd.predict_to_zarr(drawer, record, path, **options)


def test_too_little_space_is_said_before_any_work(drawer, record, tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_store, "free_bytes", lambda folder: 1000)
    with pytest.raises(xd.errors.StorageError, match="1e-06 GB free, and the fields take"):
        xd.predict_to_zarr(drawer, record, tmp_path / "maps.zarr", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(drawer, record, tmp_path):
    with pytest.raises(xd.errors.StorageError, match="Give a path in a folder that exists"):
        xd.predict_to_zarr(drawer, record, tmp_path / "none" / "maps.zarr", progress=False)


def test_a_template_that_fails_leaves_nothing(drawer, record, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.Manifest, "create", full)
    with pytest.raises(xd.errors.StorageError, match="Nothing was left there"):
        xd.predict_to_zarr(drawer, record, tmp_path / "maps.zarr", progress=False)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_beginning_are_removed(drawer, record, tmp_path):
    leftover = tmp_path / ".maps.zarr.abc.new"
    leftover.mkdir()
    (leftover / "zarr.json").write_text("{")
    xd.predict_to_zarr(
        drawer, record, tmp_path / "maps.zarr", time=record.time[10:12], progress=False
    )
    assert [p.name for p in tmp_path.iterdir()] == ["maps.zarr"]


def test_several_variables_and_turned_dimensions(pair_drawer, tmp_path, pair_record):
    turned = pair_record.transpose("lon", "time", "lat").isel(lat=slice(None, None, -1))
    options = {"time": pair_record.time[20:31], "realizations": 2}
    found = xd.predict_to_zarr(
        pair_drawer, turned, tmp_path / "m.zarr", chunks=4, progress=False, **options
    )
    now = pair_drawer.predict(pair_record, **options)
    for name in ("t", "u"):
        xr.testing.assert_allclose(found[name].load(), now[name], **CLOSE)


def test_a_run_with_a_gap_and_its_state(walker, record, tmp_path, recwarn):
    holed = record.isel(time=[i for i in range(110) if i not in (60, 61)])
    options = {"time": holed.time[40:80], "realizations": 2}
    found = xd.predict_to_zarr(
        walker, holed, tmp_path / "m.zarr", chunks=7, progress=False, **options
    )
    xr.testing.assert_allclose(found.t.load(), walker.predict(holed, **options), **CLOSE)
    assert not (tmp_path / "m.zarr/xdownscale/walk").exists()


def test_the_state_of_a_run_survives_the_store(tmp_path):
    from xdownscale.prediction.rollout import RolloutState

    zarr.open_group(tmp_path / "s", mode="w")
    manifest.Manifest.create(tmp_path / "s", {}, (1, 1))
    book = manifest.Manifest(tmp_path / "s")
    lags = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    watched = [np.array([0.1, 1 / 3, np.pi])]
    given = RolloutState(key=5, lags=lags, group="all", watched=watched)
    book.save_state((0, 0), {None: given})
    (name, state), *others = book.load_state((0, 0)).items()
    assert (name, others, state.key, state.group) == (None, [], 5, "all")
    np.testing.assert_array_equal(state.lags, lags)
    np.testing.assert_array_equal(state.watched, watched)


def test_a_reader_meanwhile_sees_whole_chunks_or_none(drawer, record, tmp_path):
    """A chunk is written under another name and renamed: zarr's promise, which ours rests on."""
    path, seen, over = tmp_path / "maps.zarr", set(), threading.Event()

    def read():
        while not over.is_set():
            for chunk in path.glob("t/c/*/*/0/0"):
                seen.add((chunk.name, chunk.stat().st_size > 0))

    reader = threading.Thread(target=read)
    reader.start()
    xd.predict_to_zarr(drawer, record, path, chunks=8, progress=False)
    over.set()
    reader.join()
    assert all(whole for _, whole in seen)
