"""Saved models: what goes in comes out, or one clear error."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import resource
import zipfile

import dask.array as dsa
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xdownscale.core import hashing
from xdownscale.core.errors import DataError, ModelFormatError, StorageError
from xdownscale.io import container

CONFIG = {"method": "diffusion", "data": {"lags": 3, "fractions": [0.8, 0.1, 0.1]}, "name": None}


@pytest.fixture
def state():
    time = xr.date_range("2000-01-30", periods=4, calendar="360_day", use_cftime=True)
    return xr.Dataset(
        {
            "dust": (("time", "lat", "lon"), np.linspace(0, 1, 24, dtype="f4").reshape(4, 2, 3)),
            "mask": (("lat", "lon"), np.eye(2, 3, dtype=bool)),
            "count": ("lat", np.array([2**40, -1])),
            "group": ("lat", np.array(["DJF", "été"])),
        },
        coords={"time": time, "lat": [10.0, 9.0], "lon": [0.0, 1.0, np.nan]},
        attrs={"title": "Zustand", "levels": np.array([1.0, 2.0])},
    )


@pytest.fixture
def weights(rng):
    return {
        "b.kernel": rng.normal(size=(3, 4)).astype("f4"),
        "a.bias": rng.normal(size=5),
        "steps": np.array(7),
        "turned": rng.normal(size=(4, 3)).T,
        "flags": np.array([True, False]),
    }


@pytest.fixture
def saved(tmp_path, state, weights):
    path = tmp_path / "dust.xd"
    container.write(path, CONFIG, state, weights)
    return path


def assert_same(found, config, state, weights):
    own_config, own_state, own_weights = found
    assert own_config == config
    assert own_state.identical(state)
    assert set(own_weights) == set(weights)
    for name, array in weights.items():
        assert own_weights[name].dtype == array.dtype
        np.testing.assert_array_equal(own_weights[name], array)


def rewrite(path, change=None, **replacements):
    """Write the archive anew with some members changed, as a tampering hand would."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members.update({name.replace("__", "."): value for name, value in replacements.items()})
    if change:
        change(members)
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


def edit_manifest(path, **changes):
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    rewrite(path, manifest__json=json.dumps({**manifest, **changes}))


# what goes in comes out


def test_round_trip(saved, state, weights):
    config, found, arrays = container.read(saved)
    assert config == CONFIG
    assert_same((config, found, arrays), CONFIG, state, weights)
    assert arrays["steps"].shape == ()


def test_groups_may_have_any_name(tmp_path, state, weights):
    groups = {"DJF/nord-est": state, "JJA": state.drop_vars("time"), "../x": xr.Dataset()}
    container.write(str(tmp_path / "m.xd"), CONFIG, groups, weights)
    found = container.read(str(tmp_path / "m.xd"))[1]
    assert list(found) == list(groups)
    for name, dataset in groups.items():
        assert found[name].identical(dataset)


def test_packing_of_the_source_files_is_forgotten(tmp_path, state):
    state["dust"].encoding = {"dtype": "int16", "scale_factor": 0.5, "zlib": True}
    container.write(tmp_path / "m.xd", {}, state, {})
    np.testing.assert_array_equal(container.read(tmp_path / "m.xd")[1]["dust"], state["dust"])
    assert state["dust"].encoding["dtype"] == "int16"


def test_lazy_state_is_computed_and_left_lazy(tmp_path, state):
    lazy = state.chunk(time=1)
    container.write(tmp_path / "m.xd", {}, lazy, {})
    assert container.read(tmp_path / "m.xd")[1].identical(state)
    assert lazy["dust"].chunks is not None


def test_the_file_is_a_plain_zip_in_a_fixed_order(saved):
    with zipfile.ZipFile(saved) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        manifest = json.loads(archive.read("manifest.json"))
        for name in names[1:]:
            expected = hashlib.sha256(archive.read(name)).hexdigest()
            assert manifest["members"][name]["sha256"] == expected
    assert names == [
        "manifest.json",
        "config.json",
        "state.json",
        "state.safetensors",
        "weights.safetensors",
    ]
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert manifest["packages"]["numpy"] == np.__version__


def test_weights_are_the_same_bytes_in_any_order(tmp_path, weights):
    contents = []
    for number, names in enumerate([sorted(weights), sorted(weights, reverse=True)]):
        path = tmp_path / f"{number}.xd"
        container.write(path, {}, xr.Dataset(), {name: weights[name] for name in names})
        with zipfile.ZipFile(path) as archive:
            contents.append(archive.read("weights.safetensors"))
    assert contents[0] == contents[1]


def test_what_is_no_data_is_refused(tmp_path, state):
    with pytest.raises(DataError, match="cannot be stored as JSON"):
        container.write(tmp_path / "m.xd", {"f": print}, state, {})
    with pytest.raises(DataError, match="cannot be stored as JSON"):
        container.write(tmp_path / "m.xd", {"f": float("nan")}, state, {})
    with pytest.raises(DataError, match="Weight 'w' has dtype object"):
        container.write(tmp_path / "m.xd", {}, state, {"w": np.array([None])})
    with pytest.raises(DataError, match="The state cannot be stored: attribute 'f'"):
        container.write(tmp_path / "m.xd", {}, state.assign_attrs(f={"a": 1}), {})
    with pytest.raises(DataError, match="Group 'djf' of the state cannot be stored"):
        container.write(tmp_path / "m.xd", {}, {"djf": state.assign_attrs(f={"a": 1})}, {})
    assert list(tmp_path.iterdir()) == []


# damaged files


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_any_damage_is_found_or_harmless(saved, state, weights, data):
    content = bytearray(saved.read_bytes())
    if data.draw(st.booleans(), label="truncate"):
        content = content[: data.draw(st.integers(0, len(content) - 1), label="length")]
    else:
        # half of the flips near the ends, where the headers of the archive are
        near = st.one_of(st.integers(0, 200), st.integers(len(content) - 400, len(content) - 1))
        where = data.draw(st.one_of(near, st.integers(0, len(content) - 1)), label="where")
        content[where] ^= data.draw(st.integers(1, 255), label="flip")
    broken = saved.with_name("broken.xd")
    broken.write_bytes(content)
    with contextlib.suppress(ModelFormatError):
        assert_same(container.read(broken), CONFIG, state, weights)


@pytest.mark.parametrize("name", ["config.json", "state.json", "weights.safetensors"])
def test_a_flipped_byte_names_its_member(saved, name):
    with zipfile.ZipFile(saved) as archive:
        body = archive.read(name)
    content = saved.read_bytes()
    start = content.index(body)
    saved.write_bytes(
        content[: start + 9] + bytes([content[start + 9] ^ 1]) + content[start + 10 :]
    )
    with pytest.raises(ModelFormatError, match=f"Member '{name}' .* is altered or truncated"):
        container.read(saved)


def test_a_changed_member_with_a_good_checksum_is_found(saved):
    rewrite(saved, config__json=b"{}")
    with pytest.raises(ModelFormatError, match=r"Member 'config\.json' .* SHA-256"):
        container.read(saved)


def test_truncated_and_foreign_files_are_refused(saved, tmp_path):
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFormatError, match="not a whole model file"):
        container.read(saved)
    (tmp_path / "empty.xd").touch()
    with pytest.raises(ModelFormatError, match="not a whole model file"):
        container.read(tmp_path / "empty.xd")
    (tmp_path / "pickle.xd").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ModelFormatError, match="save the model anew"):
        container.read(tmp_path / "pickle.xd")


def test_another_version_or_program_is_named(saved):
    edit_manifest(saved, version=99)
    with pytest.raises(ModelFormatError, match="format version 99, this library reads 2"):
        container.read(saved)
    edit_manifest(saved, version=2, format="recipe")
    with pytest.raises(ModelFormatError, match="calls itself 'recipe'"):
        container.read(saved)
    rewrite(saved, manifest__json=b"[1, 2")
    with pytest.raises(ModelFormatError, match=r"'manifest\.json' .* cannot be understood"):
        container.read(saved)


def test_a_member_too_many_or_too_few_is_refused(saved):
    rewrite(saved, lambda members: members.update({"../evil.py": b"1"}))
    with pytest.raises(ModelFormatError, match=r"evil\.py.*and nothing else"):
        container.read(saved)
    assert not (saved.parent.parent / "evil.py").exists()
    rewrite(saved, lambda members: (members.pop("../evil.py"), members.pop("state.json")))
    with pytest.raises(ModelFormatError, match="holds the members"):
        container.read(saved)


def test_a_compression_bomb_is_refused_unread(saved, monkeypatch):
    with zipfile.ZipFile(saved) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["weights.safetensors"] = bytes(50_000_000)
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("read a bomb"))
    with pytest.raises(ModelFormatError, match=r"Member 'manifest\.json' .* is compressed"):
        container.read(saved)


def test_members_that_claim_more_than_the_file_are_refused_unread(saved, monkeypatch):
    content = bytearray(saved.read_bytes())
    entry = content.index(b"PK\x01\x02")  # first entry of the central directory
    content[entry + 20 : entry + 28] = (2_000_000_000).to_bytes(4, "little") * 2
    saved.write_bytes(content)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("allocated"))
    with pytest.raises(ModelFormatError, match=r"claim 20000.* bytes, the file has"):
        container.read(saved)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("config.json", b"{"),
        ("state.json", b"not JSON"),
        ("state.safetensors", b"\0" * 9),
        ("weights.safetensors", b"\xff" * 64),
    ],
)
def test_a_crafted_member_with_a_good_hash_is_refused(saved, member, content):
    with zipfile.ZipFile(saved) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    manifest["members"][member]["sha256"] = hashlib.sha256(content).hexdigest()
    changed = {"manifest.json": json.dumps(manifest), member: content}
    rewrite(saved, lambda members: members.update(changed))
    with pytest.raises(ModelFormatError, match=f"Member '{member}' .* cannot be understood"):
        container.read(saved)


# files that cannot be read or written


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(StorageError, match=r"none\.xd cannot be read: No such file"):
        container.read(tmp_path / "none.xd")
    with pytest.raises(StorageError, match="cannot be read"):
        container.read(tmp_path)
    with pytest.raises(StorageError, match=r"cannot be written: .* is a folder or a device"):
        container.write(tmp_path, {}, xr.Dataset(), {})
    with pytest.raises(StorageError, match="is a folder or a device"):
        container.write("/dev/full", {}, xr.Dataset(), {})


def test_a_missing_or_impossible_folder(tmp_path, saved):
    with pytest.raises(StorageError, match="cannot be written: No such file or directory"):
        container.write(tmp_path / "no" / "m.xd", {}, xr.Dataset(), {})
    with pytest.raises(StorageError, match="cannot be written: Not a directory"):
        container.write(saved / "m.xd", {}, xr.Dataset(), {})
    assert list(tmp_path.iterdir()) == [saved]


def check_old_file_is_whole(saved, before):
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_disk_that_fills_up_leaves_the_old_file(saved, weights):
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))  # a real failure midway
    try:
        with pytest.raises(StorageError, match="is unchanged"):
            container.write(saved, {"new": 1}, xr.Dataset(), weights)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    check_old_file_is_whole(saved, before)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_at_the_last_moment_leaves_the_old_file(saved, monkeypatch, call):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match=r"No space left on device.*is unchanged"):
        container.write(saved, {"new": 1}, xr.Dataset(), {})
    monkeypatch.undo()
    check_old_file_is_whole(saved, before)


def test_an_interruption_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        container.write(saved, {"new": 1}, xr.Dataset(), {})
    monkeypatch.undo()
    check_old_file_is_whole(saved, before)


def test_a_link_stays_a_link(saved):
    link = saved.with_name("link.xd")
    link.symlink_to(saved)
    container.write(link, {"new": 1}, xr.Dataset(), {})
    assert link.is_symlink()
    assert container.read(saved)[0] == {"new": 1}


# fingerprints


def test_a_fingerprint_of_text_and_array_is_sha256_of_what_it_says():
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    expected = hashlib.sha256(b"text4:dustarray<f8(2, 2):" + array.tobytes()).hexdigest()
    assert hashing.fingerprint("dust", array) == expected
    assert hashing.fingerprint("dust", array.astype(">f8")) == expected


@given(rows=st.integers(1, 7), columns=st.integers(1, 5))
def test_fingerprints_do_not_depend_on_chunks(rows, columns):
    array = np.arange(7 * 5 * 3.0).reshape(7, 5, 3)
    lazy = dsa.from_array(array, chunks=(rows, columns, 2))
    expected = hashing.fingerprint(array)
    assert hashing.fingerprint(lazy) == expected
    assert hashing.fingerprint(xr.DataArray(lazy)) == expected
    assert hashing.fingerprint(np.asfortranarray(array)) == expected


def test_fingerprints_tell_contents_shapes_and_parts_apart(state):
    array = np.arange(6.0)
    changed = array.copy()
    changed[3] += 1e-12
    parts = [
        (array,),
        (changed,),
        (array.reshape(2, 3),),
        (array.astype("f4"),),
        (array, "a"),
        ("a", array),
        ("a",),
        ("a", ""),
        (np.float64(1),),
        (state["time"],),
        (state["time"][:2],),
        (state["group"],),
        (dsa.zeros(()),),
    ]
    assert len({hashing.fingerprint(*p) for p in parts}) == len(parts)
    assert hashing.fingerprint(state["time"]) == hashing.fingerprint(state["time"].copy())
