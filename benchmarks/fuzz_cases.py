"""Cases of fuzz.py: hostile model files, checkpoints, manifests of stores and answers of servers.

Each kind is a function of a random generator, a folder of its own and the `Bench`; the same
generator gives the same case. A function returns "" or says what is wrong with what was accepted.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import shutil
import socketserver
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import SMALL_NETWORK, small_records

MODELS = Path(__file__).parents[1] / "tests/golden/models"
NAMES = (
    *("chained", "crps", "diffusion", "regions", "residual", "seasons", "self_paired"),
    *("two_variables", "unet"),
)
CLOSED_FORMS = ("dressed", "gaussian", "analogues")  # fitted here: fast
SILENCE = "0.3"  # seconds that a server may be silent
STEPS = slice(8, 14)
DAYS = 12  # of the records that loaded models are asked about
ASKED = slice(6, 8)
STEPS_SAMPLED = 20
LARGE = 2_000_000  # bytes of the largest answers and parts

NASTY: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 0.5, -0.0, 1e308, 1e-320, 10**4, 10**6, 10**12, 10**40),
    *("", "x", "x" * 5000, "../../etc/passwd", "/etc/passwd", "nan", "\0", "\ud800", "a/b", ".."),
    *([], {}, [[]], [0], [10**12], [-1, -1], {"a": {}}, ["a", 1], [None], [[0, 1], [0, 1]]),
    *("days since 1-1-1", "seconds since 9999-12-31", "int128", "object", "datetime64[ns]", "<f8"),
]

Rng = np.random.Generator
Arrays = dict[str, Any]
Members = dict[str, bytes]


def pick(rng: Rng, options: Any) -> Any:
    """Return one of several things, unchanged."""
    listed = list(options)
    return listed[int(rng.integers(len(listed)))]


# -- damage and forgery -------------------------------------------------------------------------


def damage(rng: Rng, content: bytes) -> bytes:
    """Flip, cut, swap, insert or repeat bytes; half of the time near the ends."""
    size = len(content)
    changed = bytearray(content)

    def place() -> int:
        reach = min(600, size) if rng.random() < 0.5 else size
        at = int(rng.integers(reach)) if reach else 0
        return size - 1 - at if rng.random() < 0.5 and size else at

    how = pick(rng, ("flip", "flip", "cut", "swap", "insert", "repeat"))
    if how == "flip" and size:
        for _ in range(int(rng.integers(1, 9))):
            changed[place()] ^= int(rng.integers(1, 256))
    elif how == "cut":
        del changed[place() :]
    elif how == "swap":
        a, b, n = place(), place(), int(rng.integers(1, 65))
        changed[a : a + n], changed[b : b + n] = changed[b : b + n], changed[a : a + n]
    else:
        at, n = place(), int(rng.integers(1, 65))
        part = rng.bytes(n) if how == "insert" else bytes(changed[at : at + n]) * 100
        changed[at:at] = part
    return bytes(changed)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a tree of dicts and lists."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield (*path, key)
            yield from leaves(value, (*path, key))


def spoil(rng: Rng, tree: Any, values: list[Any] = NASTY) -> Any:
    """Replace, remove, add, multiply or exchange one to three values of a tree."""
    tree = copy.deepcopy(tree)
    for _ in range(int(rng.integers(1, 4))):
        paths = list(leaves(tree))
        if not paths:
            break
        path = pick(rng, paths)
        inner = tree
        for key in path[:-1]:
            inner = inner[key]
        _spoil_one(rng, inner, path[-1], values)
        if len(str(tree)) > LARGE:  # the next change could multiply it again
            break
    return tree


def _spoil_one(rng: Rng, inner: Any, key: Any, values: list[Any]) -> None:
    old = inner[key]
    how = pick(rng, ("replace", "replace", "replace", "remove", "add", "other", "many", "scale"))
    if how == "remove":
        del inner[key]
    elif how == "add" and isinstance(inner, dict):
        inner["unheard of"] = pick(rng, values)
    elif how == "other":
        inner[key] = copy.deepcopy(pick(rng, inner.values() if isinstance(inner, dict) else inner))
    elif how == "many" and isinstance(old, list):
        inner[key] = old * int(10 ** rng.uniform(0, 4) / (1 + len(str(old)) / 50) + 1)
    elif how == "many" and isinstance(inner, dict):
        inner.update({f"{key}{n}": old for n in range(int(5000 / (1 + len(str(old)) / 50)))})
    elif how == "scale" and type(old) in (int, float):
        inner[key] = type(old)(old * pick(rng, (-1, 2, 10, 1000, 10**6)))
    else:
        inner[key] = copy.deepcopy(pick(rng, values))


def small_things(rng: Rng, size: int) -> bytes:
    """Return JSON in which the same small thing stands again and again, or very deep."""
    thing = pick(rng, (b"[]", b"{}", b"1", b'""', b'{"a":[]}', b"[[[[]]]]", b"1e9", b'"ab"'))
    if rng.random() < 0.2:
        return b"[" * size + b"]" * size
    if rng.random() < 0.3:
        return b"{" + b",".join(b'"%d":%b' % (k, thing) for k in range(size // 20)) + b"}"
    return b"[" + b",".join([thing] * (size // (len(thing) + 1))) + b"]"


def grow(rng: Rng, content: bytes) -> bytes:
    """Put many small things into a JSON object."""
    size = int(10 ** rng.uniform(3, np.log10(LARGE)))
    return content.rstrip()[:-1] + b', "z": ' + small_things(rng, size) + b"}"


# -- what the cases begin with ------------------------------------------------------------------


class Bench:
    """Sound files of every kind, and a server of answers.

    Parameters
    ----------
    folder : Path
        Empty folder.
    """

    def __init__(self, folder: Path) -> None:
        import pooch
        import torch

        import xdownscale as xd

        pooch.get_logger().setLevel("ERROR")
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        os.environ |= {"XDOWNSCALE_TIMEOUT": SILENCE, "NO_PROXY": "*"}
        self.members = {name: _members(MODELS / f"{name}.xd") for name in NAMES}
        self.coarse, self.fine = small_records(60, (24, 24), 4)
        for name in CLOSED_FORMS:
            path = folder / f"{name}.xd"
            self.coarse.downscale.fit(self.fine, preset=name, progress=False).save(path)
            self.members[name] = _members(path)
        self.records = {name: _record_of(forge(part)) for name, part in self.members.items()}
        training = {"epochs": 2, "pretrain_epochs": 1}
        data = {"extrapolate": "nearest", "crop": 16}
        self.preset = xd.preset(
            "fast", network=SMALL_NETWORK, training=training, data=data, method="crps"
        )
        self.trained = folder / "trained"
        self.model = self.fit(self.trained)
        self.model.save(folder / "model.xd")
        self.model = xd.load(folder / "model.xd")
        self.store = folder / "maps.zarr"
        self.fields = self.fill(self.store).load()
        self.server = Server()

    def fit(self, folder: Path) -> Any:
        """Train, or go on with what the folder holds."""
        return self.coarse.downscale.fit(
            self.fine, preset=self.preset, progress=False, checkpoint_dir=folder
        )

    def fill(self, store: Path) -> Any:
        """Predict into a store, or go on with it."""
        import xdownscale as xd

        times = self.coarse.time[STEPS]
        chunks = {"time": 2, "realization": 1}
        return xd.predict_to_zarr(
            self.model,
            self.coarse,
            store,
            time=times,
            realizations=2,
            chunks=chunks,
            progress=False,
        )


def _record_of(content: bytes) -> Any:
    """Return a coarse record that a sound model can be asked about, a few days long."""
    import xarray as xr

    fitted = loaded(content)._fitted
    grid = fitted.coarse_grid.drop_attrs()
    time = xr.date_range(fitted.about.fine_period[0][:10], periods=DAYS)
    shape = (DAYS, *grid.shape)
    rng = np.random.default_rng(0)
    found = {}
    for name, scaling, units in zip(
        fitted.drivers, fitted.any_group.driver_scalings, fitted.about.coarse_units, strict=True
    ):
        values = scaling.inverse(np.clip(rng.normal(size=shape), -0.9, 0.9).astype(np.float32))
        da = xr.DataArray(values, {"time": time, **grid.coords}, ("time", *grid.dims), name=name)
        found[name] = da if units is None else da.assign_attrs(units=units)
    return xr.Dataset(found)


def loaded(content: bytes) -> Any:
    """Return the model that a file holds."""
    import tempfile

    import xdownscale as xd

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.xd")
        path.write_bytes(content)
        return xd.load(path)


def _members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# -- model files --------------------------------------------------------------------------------


def forge(members: Members) -> bytes:
    """Return a model file whose manifest vouches for its members."""
    manifest = json.loads(members["manifest.json"])
    for name, listed in manifest["members"].items():
        sha256 = hashlib.sha256(members[name]).hexdigest()
        listed |= {"bytes": len(members[name]), "sha256": sha256}
    return zipped(members | {"manifest.json": json.dumps(manifest).encode()})


def zipped(members: Members, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def spoil_json(rng: Rng, members: Members) -> None:
    name = pick(rng, ("config.json", "config.json", "state.json"))
    members[name] = json.dumps(spoil(rng, json.loads(members[name]))).encode()


def grow_json(rng: Rng, members: Members) -> None:
    name = pick(rng, ("config.json", "state.json"))
    members[name] = small_things(rng, LARGE) if rng.random() < 0.2 else grow(rng, members[name])


def spoil_bytes(rng: Rng, members: Members) -> None:
    name = pick(rng, [name for name in members if name != "manifest.json"])
    members[name] = damage(rng, members[name])


def spoil_header(rng: Rng, members: Members) -> None:
    """Change names, types, shapes and places of arrays."""
    name = pick(rng, ("state.safetensors", "weights.safetensors"))
    content = members[name]
    length = int.from_bytes(content[:8], "little")
    types = ["F64", "F16", "I8", "U64", "BOOL", "F8_E5M2", [0, 2**62], [2**31, 2**31], [0] * 40]
    header = json.dumps(spoil(rng, json.loads(content[8 : 8 + length]), [*NASTY, *types])).encode()
    members[name] = len(header).to_bytes(8, "little") + header + content[8 + length :]


def spoil_values(rng: Rng, members: Members) -> None:
    """Other numbers, types and shapes in arrays that are stored well."""
    from safetensors.numpy import load, save

    name = pick(rng, ("state.safetensors", "weights.safetensors"))
    arrays = load(members[name])
    for key in rng.choice(sorted(arrays), int(rng.integers(1, 4))):
        old = arrays[key]
        value = pick(rng, (np.nan, np.inf, -1, 0, 1e38, 127))
        with np.errstate(all="ignore"):
            full = np.full(old.shape, value).astype(old.dtype)
        small = np.zeros(pick(rng, ((0,), (), (1,), (10**6,), (1, 1, 1, 1, 1))), np.int8)
        shrunk = np.ascontiguousarray(old[..., :-1] if old.ndim else old)
        arrays[key] = pick(rng, (full, small, shrunk, old.astype(np.float16), old.T.copy()))
    members[name] = save(arrays)


def many_parts(rng: Rng, members: Members) -> None:
    """Many small variables, groups, attributes or arrays."""
    from safetensors.numpy import load, save

    tree = json.loads(members["state.json"])
    arrays = load(members["state.safetensors"])
    count = int(10 ** rng.uniform(1, 4.1))
    variables = tree["datasets"][0]["variables"]
    dates = {"units": f"days since {pick(rng, ('1900-01-01', '9999-01-01', '1-1-1'))}"}
    dates |= pick(rng, ({}, {"calendar": "noleap"}, {"calendar": "x"}, {"bounds": "v0"}))
    how = pick(rng, ("texts", "long texts", "groups", "attrs", "dates", "scaled", "weights"))
    if how == "texts":
        attrs = pick(rng, ({}, dates, {"_FillValue": "x"}))
        entry = {"dims": [], "attrs": attrs, "texts": [""], "shape": []}
        variables |= {f"v{k}": entry for k in range(count)}
    elif how == "long texts":
        texts = ["x" * count, *[""] * (10**5 // count)]
        entry = {"attrs": {}, "texts": texts, "shape": [len(texts)]}
        variables |= {f"v{k}": {**entry, "dims": [f"d{k}"]} for k in range(40)}
    elif how == "groups":
        tree["groups"] += [f"g{k}" for k in range(count)]
        tree["datasets"] += [{"attrs": {}, "variables": {}}] * count
    elif how == "attrs":
        tree["datasets"][0]["attrs"] |= {f"a{k}": pick(rng, (k, "x", [1, 2])) for k in range(count)}
    elif how == "weights":
        weights = load(members["weights.safetensors"])
        weights |= {f"all/w{k}": np.zeros(0, np.float32) for k in range(count)}
        members["weights.safetensors"] = save(weights)
    else:
        kind = pick(rng, (np.int8, np.int32, np.float64, np.uint64))
        odd = {"scale_factor": 1.0, "add_offset": pick(rng, (1e300, 0.0, float(10**18)))}
        attrs = dates if how == "dates" else odd
        sizes = [1] * count if rng.random() < 0.5 else [10 * count]
        for k, size in enumerate(sizes):
            arrays[f"0/v{k}"] = np.full(size, pick(rng, (0, 100)), kind)
            variables[f"v{k}"] = {"dims": [f"v{k}"], "attrs": attrs}
    members["state.json"] = json.dumps(tree).encode()
    members["state.safetensors"] = save(arrays)


def spoil_archive(rng: Rng, members: Members) -> bytes:
    """Return an archive that is wrong itself: its bytes, names, compression or manifest."""
    how = pick(rng, ("bytes", "bytes", "bytes", "deflated", "names", "manifest", "many", "comment"))
    if how == "deflated":
        return zipped(members, zipfile.ZIP_DEFLATED)
    if how == "names":
        old, new = pick(rng, members), pick(rng, ("../x", "a" * 60_000, "weights.pkl", "/x"))
        return zipped({new if name == old else name: part for name, part in members.items()})
    if how == "manifest":
        tree = spoil(rng, json.loads(members["manifest.json"]))
        return zipped(members | {"manifest.json": json.dumps(tree).encode()})
    if how == "many":
        return zipped(members | {f"m{k}": b"" for k in range(int(10 ** rng.uniform(0, 4)))})
    content = zipped(members)
    if how == "comment":
        return content[:-2] + (20).to_bytes(2, "little") + b"PK\x05\x06" + b"\0" * 16
    return damage(rng, content)


def spoil_weights(rng: Rng, members: Members) -> None:
    """Weights of other values, types, shapes and names than were trained; few or all of them."""
    from safetensors.numpy import load, save

    arrays = load(members["weights.safetensors"])
    names = sorted(arrays)
    share = pick(rng, (0.0, 0.1, 1.0))
    chosen = [name for name in names if rng.random() < share] or [pick(rng, names)]
    how = pick(rng, WEIGHTS)
    for name in chosen:
        how(rng, arrays, name)
    members["weights.safetensors"] = save({k: np.ascontiguousarray(v) for k, v in arrays.items()})


def _one_value(rng: Rng, arrays: Arrays, name: str) -> None:
    """Another value in one place."""
    if arrays[name].size:
        changed = arrays[name].copy()
        changed.flat[int(rng.integers(changed.size))] = pick(rng, VALUES)
        arrays[name] = changed


def _all_values(rng: Rng, arrays: Arrays, name: str) -> None:
    """Another value everywhere, or a factor."""
    value = np.float32(pick(rng, VALUES))
    with np.errstate(all="ignore"):
        changed = arrays[name] * value if rng.random() < 0.5 else np.full_like(arrays[name], value)
    arrays[name] = changed.astype(arrays[name].dtype)


def _type(rng: Rng, arrays: Arrays, name: str) -> None:
    kind = pick(rng, (np.float64, np.float16, np.int8, np.uint64, np.int32, bool))
    with np.errstate(all="ignore"):
        arrays[name] = arrays[name].astype(kind)


def _shape(rng: Rng, arrays: Arrays, name: str) -> None:
    old = arrays[name]
    if old.ndim:
        shapes = [old.ravel(), old[None], old[..., None], old.T, old[:0], old[..., :-1]]
    else:
        shapes = [old[None], np.zeros(0, old.dtype)]
    arrays[name] = pick(rng, shapes)


def _name(rng: Rng, arrays: Arrays, name: str) -> None:
    """Remove, add or exchange names."""
    other = pick(rng, sorted(arrays))
    how = pick(rng, ("lacks", "new", "other", "exchanged"))
    if how == "lacks":
        arrays.pop(name, None)
    elif how == "new":
        arrays[pick(rng, (f"{name}x", "all/residual.scale", "x", "/", f"all/{name}"))] = arrays[
            name
        ]
    elif how == "other":
        arrays[name] = arrays[other]
    else:
        arrays[name], arrays[other] = arrays[other], arrays[name]


WEIGHTS = (_one_value, _one_value, _all_values, _all_values, _type, _shape, _name)
VALUES = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-38, 1e4, -1e4, 1e10, 1e19, 3e38, -3e38, 10**6)

MEMBERS = (
    *(spoil_json, spoil_json, spoil_json, grow_json, spoil_weights, spoil_weights, spoil_weights),
    *(spoil_bytes, spoil_header, spoil_values, many_parts),
)


def hostile_model(rng: Rng, bench: Bench) -> tuple[bytes, str]:
    """Return a model file that is damaged, or forged with right hashes; and what it was."""
    name = pick(rng, sorted(bench.members))
    members = dict(bench.members[name])
    if rng.random() < 0.2:
        return spoil_archive(rng, members), name
    pick(rng, MEMBERS)(rng, members)
    return forge(members), name


def model_file(rng: Rng | None, folder: Path, bench: Bench) -> str:
    """Load a model file, and generate two days with it."""
    if rng is None:
        found = [use(loaded(forge(part)), bench.records[n]) for n, part in bench.members.items()]
        return "; ".join(filter(None, found))
    content, name = hostile_model(rng, bench)
    return use(loaded(content), bench.records[name])


def use(model: Any, record: Any) -> str:
    """Generate days with a model; say what is wrong with them."""
    repr(model)
    model._repr_html_()
    if model.config_.sampling.steps > STEPS_SAMPLED:  # 10,000 are allowed, and take their time
        model = model.with_sampling(steps=STEPS_SAMPLED)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fields = model.predict(record, time=record.time[ASKED], seed=1)
    if any("come out NaN" in str(each.message) for each in told):
        return ""  # whole days, and it was said
    return not_finite(model._fitted, fields)


def not_finite(fitted: Any, fields: Any) -> str:
    """Say where fields have no number, of the cells that the model predicts."""
    import xarray as xr

    known = np.zeros((len(fitted.targets), *fitted.carried.shape[1:]), bool)
    for model in fitted.models.values():
        weight = model.weight >= 0.5
        known[:, *model.group.window] |= model.masks & weight
    parts = [fields] if isinstance(fields, xr.DataArray) else list(fields.data_vars.values())
    for labels, part, mask in zip(fitted.targets, parts, known, strict=True):
        axes = labels.axes
        inner = [d for d in part.dims if d not in (axes.y, axes.x)]
        values = part.sortby([axes.y, axes.x]) if {axes.y, axes.x} <= set(part.indexes) else part
        good = np.isfinite(values.transpose(*inner, axes.y, axes.x).values)
        if not good[..., mask].all():
            return (
                f"{int((~good[..., mask]).sum())} of {good[..., mask].size} values are not finite"
            )
    return ""


# -- checkpoints --------------------------------------------------------------------------------


def hostile_checkpoint(rng: Rng, path: Path) -> None:
    """Damage a checkpoint, or forge one with the right hash."""
    how = pick(rng, ("bytes", "content", "content", "content", "pickle", "deflated"))
    if how == "bytes":
        path.write_bytes(damage(rng, path.read_bytes()))
        return
    if how == "content":
        import torch

        odd = [torch.zeros(1).expand(10**9), torch.zeros(0), torch.full((3,), float("nan"))]
        odd += [torch.zeros(2, 3, dtype=torch.int8), torch.zeros(2).to_sparse()]
        content = torch.load(path, weights_only=True)
        torch.save(spoil(rng, content, [*NASTY, *odd]), path)
    else:
        members = _members(path)
        if how == "pickle":
            name = pick(
                rng, (n for n in members if n.endswith(("data.pkl", "byteorder", "version")))
            )
            members[name] = damage(rng, members[name])
        packed = zipfile.ZIP_DEFLATED if how == "deflated" else zipfile.ZIP_STORED
        path.write_bytes(zipped(members, packed))
    digest = hashlib.sha256(path.read_bytes()).hexdigest().encode()
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write((71).to_bytes(2, "little") + b"sha256:" + digest)


def checkpoint(rng: Rng | None, folder: Path, bench: Bench) -> str:
    """Go on with a training from its checkpoints."""
    shutil.copytree(bench.trained, folder / "c")
    if rng is not None:
        hostile_checkpoint(rng, pick(rng, sorted((folder / "c").rglob("*.pt"))))
    bench.fit(folder / "c")
    return ""


# -- stores -------------------------------------------------------------------------------------


def hostile_store(rng: Rng, store: Path, outside: Path) -> bool:
    """Damage a store, or forge its manifest; return whether it is forged with the right hash."""
    from xdownscale.prediction import integrity

    if rng.random() < 0.4:
        path = pick(rng, sorted(p for p in store.rglob("*") if p.is_file()))
        path.write_bytes(damage(rng, path.read_bytes()))
        return False
    if rng.random() < 0.3:
        path = pick(rng, sorted(store.rglob("zarr.json")))
        path.write_text(json.dumps(spoil(rng, json.loads(path.read_text()))))
        return False
    path = store / "xdownscale/zarr.json"
    tree = json.loads(path.read_text())
    facts = tree["attributes"]
    if rng.random() < 0.2:
        path.write_bytes(grow(rng, path.read_bytes()))
        return False
    if rng.random() < 0.3:
        name = pick(rng, (f"../{outside.name}", str(outside), "..", ".", "/", "", "\0", "t/../t"))
        facts["variables"] = {name: pick(rng, ([0, 1], [None], [], [0, 1, None, None]))}
    else:
        facts = spoil(rng, facts)
    forged = rng.random() < 0.7
    if forged and isinstance(facts, dict):
        facts["sha256"] = integrity.digest({k: v for k, v in facts.items() if k != "sha256"})
    path.write_text(json.dumps({**tree, "attributes": facts}))
    return forged


def store_manifest(rng: Rng | None, folder: Path, bench: Bench) -> str:
    """Go on with a store; its fields are right afterwards, and nothing else is touched."""
    store, outside = folder / "maps.zarr", folder / "outside"
    shutil.copytree(bench.store, store)
    foreign = [outside / "c/0/0/0/0", outside / f"x.{'ab' * 16}.partial"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    forged = rng is not None and hostile_store(rng, store, outside)
    try:
        found = bench.fill(store).load()
    finally:
        if not all(path.is_file() and path.read_bytes() == b"mine" for path in foreign):
            raise AssertionError("files outside of the store were removed")
    same = found.drop_attrs().identical(bench.fields.drop_attrs())
    return "" if forged or same else "the fields of the store are wrong"


# -- servers ------------------------------------------------------------------------------------


class Server(socketserver.ThreadingTCPServer):
    """Answers each request on 127.0.0.1 with raw bytes; `answer` takes the path that is asked."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.answer: Callable[[str], Iterable[bytes]] = lambda _: []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client is free to leave."""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        words = self.rfile.readline().decode("latin-1").split()
        while self.rfile.readline().strip():
            pass
        with contextlib.suppress(OSError):
            for part in self.server.answer(words[1] if len(words) > 1 else "/"):  # type: ignore[attr-defined]
                self.wfile.write(part)


def whole(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """Return an answer as servers give it."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


HEADERS = (
    *(b"Content-Length: -1", b"Content-Length: 1e3", b"Content-Length: 99999999999999999999"),
    *(b"Content-Length: 3, 4", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"),
    *(b"Content-Encoding: gzip", b"Content-Encoding: br, gzip, deflate, zstd", b"Location: /a"),
    *(
        b"Location: //",
        b"Location: http://[::1",
        b"Location: \xff\xfe",
        b"Location: http://127.1:1/",
    ),
    *(b"Connection: close", b"Upgrade: h2c", b": x", b"no colon", b" fold"),
    *(b"X: " + b"x" * 70_000,),
    *(
        b"Set-Cookie: " + b"a=b; " * 1000,
        b"Content-Type: text/html; charset=\xff",
        b"Retry-After: 9",
    ),
)
STATUS = (
    *(b"200 OK", b"200", b"204 No", b"206 Part", b"301 Moved", b"302 Found", b"304 Same"),
    *(b"308 There", b"401 Who", b"404 None", b"429 Slow", b"500 Ouch", b"503 Busy", b"999 ?"),
    *(b"", b"-1 x", b"abc", b"100 Continue", b"101 Switch", b"\xff"),
)


def hostile_answer(rng: Rng, body: bytes) -> list[bytes]:
    """Return the parts of an answer that breaks rules of HTTP, or sends something else."""
    how = pick(rng, ("bytes", "head", "chunks", "bomb", "long", "silent", "redirect"))
    if how == "bytes":
        return [damage(rng, whole(body))]
    if how == "head":
        lines = [pick(rng, HEADERS) for _ in range(int(rng.integers(0, 4)))]
        return [b"\r\n".join([b"HTTP/1.1 " + pick(rng, STATUS), *lines]) + b"\r\n\r\n" + body]
    if how == "chunks":
        sizes = (b"ffffffffffffffff", b"-1", b"0", b"x", b"%x" % len(body), b"1;" + b"a" * 9000)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return [head, *(pick(rng, sizes) + b"\r\n" + body + b"\r\n" for _ in range(5))]
    if how == "bomb":
        import gzip

        return [whole(gzip.compress(bytes(3 * 10**7)), b"200 OK", b"Content-Encoding: gzip")]
    if how == "long":
        return [whole(body)[:-1], *[b"x" * 65536] * int(rng.integers(1, 400))]
    if how == "redirect":
        to = pick(rng, (b"/registry.json", b"/a" * 3000, b"file:///etc/passwd", b"?x", b"http://"))
        return [whole(body, b"302 Found", b"Location: " + to)]
    return [whole(body)[: int(rng.integers(0, 200))], b"..."]  # and then nothing


def hostile_registry(rng: Rng, content: bytes) -> bytes:
    """Return a registry that is damaged or forged."""
    how = pick(rng, ("bytes", "tree", "tree", "grow", "small"))
    if how == "bytes":
        return damage(rng, content)
    if how == "tree":
        return json.dumps(spoil(rng, json.loads(content))).encode()
    return grow(rng, content) if how == "grow" else small_things(rng, 2 * LARGE)


def _registry(model: bytes, **changes: Any) -> bytes:
    line = {"file": "m.xd", "bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()}
    line |= {"summary": "", "licence": "", **changes}
    tree = {"format": "xdownscale registry", "version": 1, "models": {"m": line}}
    return json.dumps(tree).encode()


def _served(parts: list[bytes]) -> Iterator[bytes]:
    for part in parts:
        if part == b"...":
            time.sleep(2)
            return
        yield part


def registry_answer(rng: Rng | None, folder: Path, bench: Bench) -> str:
    """Load a pretrained model from a server."""
    import xdownscale as xd

    model = forge(dict(bench.members["crps"]))
    answers = {"registry": [whole(_registry(model))], "model": [whole(model)]}
    if rng is not None:
        answers |= _hostile_answers(rng, model, bench)
    kinds = {True: "registry", False: "model"}
    bench.server.answer = lambda path: _served(answers[kinds["registry" in path]])
    os.environ |= {
        "XDOWNSCALE_CACHE": str(folder / "cache"),
        "XDOWNSCALE_DATA_URL": bench.server.url,
    }
    repr(xd.load_pretrained("m", progress=False))
    kept = [path for path in folder.rglob("*") if path.is_file() and path.name.startswith("tmp")]
    return f"temporary files stay: {kept}" if kept else ""


def _hostile_answers(rng: Rng, model: bytes, bench: Bench) -> dict[str, list[bytes]]:
    registry = _registry(model)
    how = pick(rng, ("registry", "registry", "answer", "model", "model answer", "size"))
    if how == "registry":
        return {"registry": [whole(hostile_registry(rng, registry))]}
    if how == "answer":
        return {"registry": hostile_answer(rng, registry)}
    if how == "model":  # the registry vouches for what is served
        forged, _ = hostile_model(rng, bench)
        return {"registry": [whole(_registry(forged))], "model": [whole(forged)]}
    if how == "model answer":
        return {"model": hostile_answer(rng, model)}
    size = pick(rng, (1, len(model) - 1, len(model) + 1, 10**9, 2 * 10**10))
    return {"registry": [whole(_registry(model, bytes=size))]}


KINDS: dict[str, Callable[[Rng | None, Path, Bench], str]] = {
    "model file": model_file,
    "checkpoint": checkpoint,
    "store manifest": store_manifest,
    "registry answer": registry_answer,
}
