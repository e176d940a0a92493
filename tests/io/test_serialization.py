"""Model files from anybody: each loads equal to what was saved, or raises one error; no more."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xdownscale as xd
from records import fitted, fitted_of
from xdownscale.core.errors import ModelFormatError, StorageError
from xdownscale.io import serialization

PACKAGE = Path(xd.__file__).parent
KINDS = ("fast", "paper")
QUICK = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


# no code runs


def calls():
    """Every call in the package: file, line, dotted name, keywords that are constants."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                named = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                yield f"{path.name}:{node.lineno}", ast.unparse(node.func), named


def test_nothing_in_the_package_runs_what_it_reads():
    found = list(calls())
    assert any(name == "torch.load" for _, name, _ in found)
    for where, name, keywords in found:
        assert name not in ("eval", "exec", "builtins.eval", "builtins.exec", "__import__"), where
        assert not name.startswith(("pickle.", "cPickle.", "dill.", "joblib.", "marshal.")), where
        assert name not in ("yaml.load", "os.system", "shelve.open", "xr.open_datatree"), where
        if name == "torch.load":
            assert keywords.get("weights_only") is True, where
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle") is False, where
        if name.startswith("subprocess."):
            assert not keywords.get("shell"), where


def test_nothing_in_the_package_imports_a_pickler():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}, (
                path
            )


# damage


@pytest.fixture(scope="module")
def contents():
    return {kind: serialization.pack(fitted_of(fitted(kind))) for kind in KINDS}


def assert_equal(found, expected):
    assert repr(found) == repr(expected)
    for name, model in expected.models_.items():
        for key, weights in model.state.items():
            np.testing.assert_array_equal(found.models_[name].state[key], weights)
        assert found.models_[name].split.identical(model.split)
    assert serialization.pack(fitted_of(found)) == serialization.pack(fitted_of(expected))


def damaged(content, draw):
    """Flip, truncate, swap or insert bytes; half of the time where the headers are."""
    size = len(content)
    ends = st.one_of(st.integers(0, 400), st.integers(size - 600, size - 1))
    place = st.one_of(ends, st.integers(0, size - 1))
    changed = bytearray(content)
    how = draw(st.sampled_from(["flip", "truncate", "swap", "insert"]))
    if how == "flip":
        for _ in range(draw(st.integers(1, 8))):
            changed[draw(place)] ^= draw(st.integers(1, 255))
    elif how == "truncate":
        del changed[draw(place) :]
    elif how == "swap":
        a, b, n = draw(place), draw(place), draw(st.integers(1, 64))
        first, second = changed[a : a + n], changed[b : b + n]
        changed[a : a + n], changed[b : b + n] = second, first
    else:
        at = draw(place)
        changed[at:at] = draw(st.binary(min_size=1, max_size=64))
    return bytes(changed)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=QUICK, max_examples=120)
@given(data=st.data())
def test_damage_is_found_or_harmless(kind, contents, tmp_path, data):
    path = tmp_path / "m.xd"
    path.write_bytes(damaged(contents[kind], data.draw))
    with contextlib.suppress(ModelFormatError):
        assert_equal(xd.load(path), fitted(kind))


# crafted files: all hashes are right


def members_of(content, tmp_path):
    path = tmp_path / "original.xd"
    path.write_bytes(content)
    with zipfile.ZipFile(path) as old:
        return {name: old.read(name) for name in old.namelist()}


def forge(path, members):
    """Write members with a manifest that vouches for them."""
    manifest = json.loads(members["manifest.json"])
    for name, listed in manifest["members"].items():
        listed |= {
            "bytes": len(members[name]),
            "sha256": hashlib.sha256(members[name]).hexdigest(),
        }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name, content in members.items():
            new.writestr(name, json.dumps(manifest) if name == "manifest.json" else content)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "member", ["config.json", "state.json", "state.safetensors", "weights.safetensors"]
)
@settings(suppress_health_check=QUICK, max_examples=15)
@given(data=st.data())
def test_forged_bytes_load_or_are_refused(kind, member, contents, tmp_path, data):
    members = members_of(contents[kind], tmp_path)
    members[member] = damaged(members[member], data.draw)
    forge(tmp_path / "m.xd", members)
    with contextlib.suppress(ModelFormatError):
        repr(xd.load(tmp_path / "m.xd"))


NASTY = [
    *(None, True, -1, 0, 1, 2, 0.5, -0.0, 1e308, 10**6, 10**12, 10**40, "", "x", "x" * 5000),
    *("../../etc/passwd", "/etc/passwd", "nan", "\0", "\ud800", [], {}, [[]], [0], [10**12]),
    *({"a": {}}, ["a", 1], "days since 1-1-1", "int128", "object"),
]


def leaves(tree, path=()):
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def replaced(tree, path, value, how):
    tree = copy.deepcopy(tree)
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    if how == "remove":
        del inner[path[-1]]
    elif how == "add" and isinstance(inner, dict):
        inner["unheard of"] = value
    else:
        inner[path[-1]] = value
    return tree


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("member", ["manifest.json", "config.json", "state.json"])
@settings(suppress_health_check=QUICK, max_examples=40)
@given(data=st.data())
def test_forged_json_loads_or_is_refused(kind, member, contents, tmp_path, data):
    members = members_of(contents[kind], tmp_path)
    tree = json.loads(members[member])
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(leaves(tree))))
        how = data.draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        tree = replaced(tree, path, data.draw(st.sampled_from(NASTY)), how)
    members[member] = json.dumps(tree).encode()
    if member == "manifest.json":
        with zipfile.ZipFile(tmp_path / "m.xd", "w") as new:
            for name, content in members.items():
                new.writestr(name, content)
    else:
        forge(tmp_path / "m.xd", members)
    with contextlib.suppress(ModelFormatError):
        repr(xd.load(tmp_path / "m.xd"))


def with_config(path, value):
    def change(members):
        tree = json.loads(members["config.json"])
        inner = tree
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        members["config.json"] = json.dumps(tree).encode()

    return change


def with_header(change, member="weights.safetensors"):
    """Change the header of the arrays."""

    def changed(members):
        content = members[member]
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        members[member] = len(text).to_bytes(8, "little") + text + content[8 + length :]

    return changed


def first(header):
    return next(value for name, value in header.items() if name != "__metadata__")


def raw(member, content):
    return lambda members: members.update({member: content})


NETWORK = ("config", "network")
GROUP = ("groups", "all")
CRAFTED = [
    pytest.param(
        with_config((*NETWORK, "channels"), [800_000, 800_000]),
        "have shape .* the configuration needs",
        id="10^12 parameters",
    ),
    pytest.param(
        with_config((*NETWORK, "channels"), [8] * 100_000), "levels of a network", id="levels"
    ),
    pytest.param(
        with_config((*NETWORK, "channels"), [10**12]), "whole number from", id="vast channel"
    ),
    pytest.param(with_config((*NETWORK, "unshuffle"), 10**6), "have shape", id="unshuffle"),
    pytest.param(with_config(("config", "data", "lags"), 10**6), "shape|lack", id="lags"),
    pytest.param(with_config(("config", "data", "lags"), "3"), "lags is '3'; it must", id="text"),
    pytest.param(with_config(("config", "data", "lags"), 2.5), "whole number", id="half a lag"),
    pytest.param(with_config(("config", "data", "lags"), True), "whole number", id="true lags"),
    pytest.param(with_config(("config", "method"), "magic"), "magic", id="method"),
    pytest.param(with_config(("config", "method"), "unet"), "unknown|lack|hold", id="other method"),
    pytest.param(with_config(("config", "extra"), {}), "'extra', which is not known", id="section"),
    pytest.param(with_config(("about",), []), "about is", id="about"),
    pytest.param(with_config(("about", "days"), [1]), "numbers of days", id="days"),
    pytest.param(with_config(("about", "step"), 0), "step is 0", id="no step"),
    pytest.param(with_config(("own",), [7]), "names driver 7", id="driver"),
    pytest.param(with_config(("own",), []), "0 drivers of targets", id="no own"),
    pytest.param(with_config(("labels",), []), "0 fine variables", id="no target"),
    pytest.param(with_config(("groups",), {}), "0 groups, not 1", id="no group"),
    pytest.param(with_config((*GROUP, "window"), [[0, 99], [0, 20]]), "leaves the grid", id="far"),
    pytest.param(with_config((*GROUP, "window"), [[9, 3], [0, 20]]), "leaves the grid", id="back"),
    pytest.param(with_config((*GROUP, "window"), [[0, 8], [0, 8]]), "'weight' of", id="window"),
    pytest.param(with_config((*GROUP, "window"), [[0]]), "window of 'all'", id="half a window"),
    pytest.param(with_config((*GROUP, "scalings"), []), "0 scalings of 'all'", id="no scaling"),
    pytest.param(with_config(("seasons",), {"DJF": [13]}), "from 1 to 12", id="month 13"),
    pytest.param(raw("config.json", b"[]"), r"config is \[\]", id="config is a list"),
    pytest.param(raw("config.json", b"[" * 10**5), "RecursionError|nested|recursion", id="nested"),
    pytest.param(raw("config.json", b'{"a": NaN}'), "NaN is no finite number", id="NaN"),
    pytest.param(raw("config.json", b'{"a": 1e999}'), "no finite number", id="infinity"),
    pytest.param(raw("config.json", b'{"a": 1, "a": 2}'), "named twice", id="twice"),
    pytest.param(raw("config.json", b'{"a": ' + b"9" * 5000 + b"}"), "digits", id="digits"),
    pytest.param(raw("config.json", b"\xff"), "cannot be understood", id="no UTF-8"),
    pytest.param(
        raw("state.json", b'{"groups": null, "datasets": []}'),
        "0 datasets|names the arr",
        id="no state",
    ),
    pytest.param(
        lambda m: texts(m, ["a"], [1], groups=["a"]), r"datasets for the groups", id="groups"
    ),
    pytest.param(
        with_header(lambda h: h.update({"9/w": h.pop(next(iter(h)))}), "state.safetensors"),
        "The state names the arrays",
        id="array of no variable",
    ),
    pytest.param(
        raw("weights.safetensors", (2**62).to_bytes(8, "little")), "header too large", id="header"
    ),
    pytest.param(
        with_header(lambda h: first(h).update(shape=[10**12])), "Member 'weights", id="vast array"
    ),
    pytest.param(
        with_header(lambda h: first(h).update(data_offsets=[0, 4 * 10**12], shape=[10**12])),
        "Member 'weights",
        id="vast array, offsets too",
    ),
    pytest.param(
        with_header(lambda h: first(h).update(dtype="I32")), "are int32, not float32", id="dtype"
    ),
    pytest.param(
        with_header(lambda h: first(h).update(dtype="PICKLE")), "Member 'weights", id="no dtype"
    ),
    pytest.param(
        with_header(lambda h: h.update({"elsewhere/w": h.pop(next(iter(h)))})),
        "lack|belong to no group|cannot be understood",
        id="weights of no group",
    ),
]


def texts(members, values, shape, **changes):
    tree = json.loads(members["state.json"]) | changes
    for dataset in tree["datasets"]:
        for variable in dataset["variables"].values():
            if "texts" in variable:
                variable |= {"texts": values, "shape": shape}
    members["state.json"] = json.dumps(tree).encode()


CRAFTED += [
    pytest.param(
        lambda m: texts(m, ["x" * 10**6] + [""] * 10**5, [10**5 + 1]),
        "together they may have",
        id="wide text",
    ),
    pytest.param(lambda m: texts(m, ["a"], [2**31]), "cannot reshape", id="vast shape"),
    pytest.param(lambda m: texts(m, ["a"], [-1]), "whole number from 0", id="negative shape"),
]


def with_state(change):
    """Change the text of a state, and its arrays."""

    def changed(members):
        tree = json.loads(members["state.json"])
        arrays = safetensors.numpy.load(members["state.safetensors"])
        change(tree, arrays)
        members["state.json"] = json.dumps(tree).encode()
        members["state.safetensors"] = safetensors.numpy.save(arrays)

    return changed


def many_texts(tree, arrays):
    """Each is as large as one text may be; a megabyte of them would take 3 GB."""
    for k in range(40):
        entry = {"dims": [f"d{k}"], "attrs": {}, "texts": ["x" * 20_000] + [""] * 990}
        tree["datasets"][0]["variables"][f"x{k}"] = entry | {"shape": [991]}


def many_variables(tree, arrays):
    entry = {"dims": [], "attrs": {}, "texts": [""], "shape": []}
    tree["datasets"][0]["variables"] |= {f"x{k}": entry for k in range(12_000)}


def many_datasets(tree, arrays):
    tree["groups"] += [f"g{k}" for k in range(1000)]
    tree["datasets"] += [{"attrs": {}, "variables": {}} for _ in range(1000)]


def one_group_more(tree, arrays):
    tree["groups"].append("group/other")
    tree["datasets"].append(tree["datasets"][0] | {"variables": {}})


SINCE = {"units": "days since 1900-01-01", "calendar": "noleap"}


def many_date_variables(tree, arrays):
    for k in range(3000):
        arrays[f"0/v{k}"] = np.zeros(1)
        entry = {"dims": ["v"], "attrs": SINCE}
        tree["datasets"][0]["variables"][f"v{k}"] = entry


def many_in_one(tree, arrays):
    """Few for a file, but xarray compares each of a dataset with each."""
    for k in range(250):
        arrays[f"0/v{k}"] = np.zeros(1, np.int8)
        tree["datasets"][0]["variables"][f"v{k}"] = {"dims": [f"v{k}"], "attrs": {}}


def many_coordinates(tree, arrays):
    for k in range(3000):
        arrays[f"0/v{k}"] = np.zeros(1)
        tree["datasets"][0]["variables"][f"v{k}"] = {"dims": [f"v{k}"], "attrs": {}}


def dates_of_a_byte(tree, arrays):
    """100 MB of dates in a megabyte."""
    arrays["0/when"] = np.zeros(10**6, np.int8)
    tree["datasets"][0]["variables"]["when"] = {"dims": ["when"], "attrs": SINCE}


def no_carried_field(tree, arrays):
    number = tree["groups"].index("carried")
    variables = tree["datasets"][number]["variables"]
    carried = arrays[f"{number}/carried"]
    arrays[f"{number}/carried"] = carried[:0]
    arrays[f"{number}/time"] = arrays[f"{number}/time"][:0]
    assert variables["carried"]["dims"][0] == "time"


def foreign_coordinate(tree, arrays):
    """A coordinate on a dimension that the fine grid lacks: no field could have it."""
    variables = tree["datasets"][tree["groups"].index("fine")]["variables"]
    arrays["0/other"] = np.zeros(2)
    variables["other"] = {"dims": ["elsewhere"], "attrs": {}}


def long_coordinate(tree, arrays):
    arrays["0/other"] = np.zeros(2)
    tree["datasets"][0]["variables"]["other"] = {"dims": ["lat"], "attrs": {}}


def many_scalars(tree, arrays):
    """Few enough to be read, but the axes of fields with them are looked for for minutes."""
    entry = {"dims": [], "attrs": {}, "texts": [""], "shape": []}
    variables = tree["datasets"][tree["groups"].index("fine")]["variables"]
    variables |= {f"x{k}": entry for k in range(1000)}


def with_weights(change):
    """Change arrays of weights."""

    def changed(members):
        arrays = safetensors.numpy.load(members["weights.safetensors"])
        change(arrays)
        members["weights.safetensors"] = safetensors.numpy.save(arrays)

    return changed


def one_weight(value, number=0):
    def change(arrays):
        name = sorted(arrays)[number]
        arrays[name] = arrays[name].copy()
        arrays[name].flat[-1] = value

    return with_weights(change)


def drift_of(*lengths):
    names = ("all/drift.level", "all/drift.spread")
    parts = {n: np.ones(k, np.float32) for n, k in zip(names, lengths, strict=False)}
    return with_weights(lambda arrays: arrays.update(parts))


CRAFTED += [
    *(
        pytest.param(one_weight(value, number), "1 of .* not finite", id=f"{value} in {number}")
        for value in (np.nan, np.inf, -np.inf)
        for number in (0, -1)
    ),
    *(
        pytest.param(
            with_weights(lambda a, n=f"all/residual.{name}": a.update({n: -a[n] - 1})),
            "go down to -",
            id=f"negative {name}",
        )
        for name in ("memory", "bands", "scale", "power")
    ),
    pytest.param(drift_of(2, 3), "'drift.level' and 'drift.spread' have the shapes", id="drift"),
    pytest.param(drift_of(3), "'drift.level' and 'drift.spread' have the shapes", id="half drift"),
    pytest.param(with_state(foreign_coordinate), "has the dimension .*elsewhere", id="foreign"),
    pytest.param(with_state(long_coordinate), "has the sizes|conflicting sizes", id="long"),
    pytest.param(with_state(many_scalars), "more than 200", id="scalars"),
    pytest.param(with_state(many_texts), "would take 7.* side by side", id="sum of texts"),
    pytest.param(with_state(many_variables), "12.* variables; at most", id="variables"),
    pytest.param(with_state(many_datasets), "datasets; at most 1000", id="datasets"),
    pytest.param(with_state(one_group_more), "such as 'group/other'", id="one group more"),
    pytest.param(with_state(many_date_variables), "variables of dates", id="date variables"),
    pytest.param(with_state(many_in_one), "coordinates in one dataset; at most", id="one dataset"),
    pytest.param(with_state(many_coordinates), "coordinates; at most", id="coordinates"),
    pytest.param(with_state(dates_of_a_byte), "in less than 4 bytes", id="short dates"),
    pytest.param(with_state(no_carried_field), "carried fields are empty", id="no carried field"),
    pytest.param(
        raw("config.json", b'{"z": [' + b"[]," * 2_000_000 + b"[]]}"), "at most 5000000", id="lists"
    ),
    pytest.param(
        with_config(("config", "sampling", "steps"), 10**6), "at most 10000", id="a million steps"
    ),
    pytest.param(
        with_config(("config", "diffusion", "train_steps"), 10**6), "at most 10000", id="a chain"
    ),
]


@pytest.mark.parametrize(("change", "message"), CRAFTED)
def test_crafted_models_are_refused(contents, tmp_path, change, message):
    members = members_of(contents["fast"], tmp_path)
    change(members)
    forge(tmp_path / "m.xd", members)
    with pytest.raises(ModelFormatError, match=message):
        xd.load(tmp_path / "m.xd")


@pytest.mark.slow
def test_giants_are_refused_without_being_built(contents, tmp_path):
    """Memory of a process that meets all of them grows by what the files hold, no more."""
    for number, case in enumerate(CRAFTED):
        members = members_of(contents["fast"], tmp_path)
        case.values[0](members)
        forge(tmp_path / f"crafted{number}.xd", members)
    code = f"""
        import pathlib, resource, xdownscale as xd
        folder = pathlib.Path({str(tmp_path)!r})
        xd.load(folder / "original.xd")
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        before, count = peak(), 0
        for path in folder.glob("crafted*.xd"):
            try:
                xd.load(path)
            except xd.errors.ModelFormatError:
                count += 1
        print(count, peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    count, grown = done.stdout.split()
    assert int(count) == len(CRAFTED)
    assert float(grown) < 300  # MB


# files that are no files


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.xd")
    with pytest.raises(StorageError, match="cannot be read: it is a folder or a device"):
        xd.load(tmp_path / "pipe.xd")
    with pytest.raises(StorageError, match="it is a folder or a device"):
        xd.load("/dev/zero")


def test_links_inside_the_archive_are_only_names(contents, tmp_path):
    """A member that claims to be a symbolic link, and names that leave the folder."""
    members = members_of(contents["fast"], tmp_path)
    info = zipfile.ZipInfo("config.json")
    info.external_attr = 0o120777 << 16
    members["config.json"] = b"/etc/passwd"
    forge(tmp_path / "m.xd", members)
    with zipfile.ZipFile(tmp_path / "m.xd") as old:
        manifest = old.read("manifest.json")
    with zipfile.ZipFile(tmp_path / "m.xd", "w") as new:
        new.writestr("manifest.json", manifest)
        new.writestr(info, b"/etc/passwd")
        for name in list(members)[2:]:
            new.writestr(name, members[name])
    with pytest.raises(ModelFormatError, match=r"Member 'config\.json' .* cannot be understood"):
        xd.load(tmp_path / "m.xd")


@pytest.mark.parametrize("name", ["../state.json", "/state.json", "a/../state.json", "C:state"])
def test_members_that_leave_the_folder_are_refused(contents, tmp_path, name):
    members = members_of(contents["fast"], tmp_path)
    members[name] = members.pop("state.json")
    with zipfile.ZipFile(tmp_path / "m.xd", "w") as new:
        for key, content in members.items():
            new.writestr(key, content)
    with pytest.raises(ModelFormatError, match="and nothing else"):
        xd.load(tmp_path / "m.xd")


def test_an_archive_of_very_many_members_is_refused_unread(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "m.xd", "w") as new:
        for number in range(100):
            new.writestr(str(number), b"")
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("read"))
    with pytest.raises(ModelFormatError, match="does not end as a small archive does"):
        xd.load(tmp_path / "m.xd")


def test_a_member_that_is_too_large_is_refused(contents, tmp_path):
    members = members_of(contents["fast"], tmp_path)
    with zipfile.ZipFile(tmp_path / "m.xd", "w") as new:
        new.writestr("manifest.json", members["manifest.json"] + b" " * 10**6)
    with pytest.raises(ModelFormatError, match="at most 1000000 are read"):
        xd.load(tmp_path / "m.xd")


MODELS = Path(__file__).parents[1] / "golden/models"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda w: w * 0, "other weights in one season"),
        (lambda w: w * 0.9, "other weights in one season"),
        (lambda w: np.full_like(w, np.nan), "other weights in one season"),
    ],
)
def test_weights_of_regions_that_differ_between_seasons_are_refused(harm, said, tmp_path):
    model = xd.load(MODELS / "seasons.xd")
    fitted = model._fitted
    name = list(fitted.models)[-1]
    group = dataclasses.replace(
        fitted.models[name], weight=harm(fitted.models[name].weight).astype(np.float32)
    )
    altered = dataclasses.replace(fitted, models=fitted.models | {name: group})
    serialization.save(altered, tmp_path / "m.xd")
    with pytest.raises(ModelFormatError, match=said):
        xd.load(tmp_path / "m.xd")


@pytest.mark.parametrize("value", [0, -0.1, 0.4, 1.5, np.nan, np.inf])
def test_weights_of_regions_that_cannot_be_are_refused(value, tmp_path):
    fitted = xd.load(MODELS / "unet.xd")._fitted
    groups = {
        name: dataclasses.replace(group, weight=np.full_like(group.weight, value))
        for name, group in fitted.models.items()
    }
    serialization.save(dataclasses.replace(fitted, models=groups), tmp_path / "m.xd")
    with pytest.raises(ModelFormatError, match="weights are not from 0 to 1"):
        xd.load(tmp_path / "m.xd")
