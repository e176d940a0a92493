"""Bad input to `load`, `save`, `load_pretrained` and `publish`."""

from __future__ import annotations

import zipfile
from functools import partial

import xdownscale as xd
from xdownscale.core.errors import ModelFormatError, NotFittedError, OptionError, StorageError


def foreign_zip(w):
    path = w.scratch / "photos.xd"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.txt", "not a model")
    return path


def altered(w):
    content = bytearray(w.file.read_bytes())
    content[len(content) // 2] ^= 255
    return w.copy(w.file, "altered.xd", bytes(content))


def truncated(w, share):
    content = w.file.read_bytes()
    return w.copy(w.file, "cut.xd", content[: int(len(content) * share)])


def rewritten(w, change):
    """A model file whose members went through `change`, name by name."""
    path = w.scratch / "rewritten.xd"
    with zipfile.ZipFile(w.file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return path


def without(w, ending):
    return rewritten(w, lambda name, content: None if name.endswith(ending) else content)


def broken_json(w):
    return rewritten(w, lambda name, c: c[: len(c) // 2] if name.endswith(".json") else c)


def published(w, name="tiny", **options):
    return partial(xd.publish, w.drawer, w.scratch / "models", name=name, **options)


def pretrained(w, name, place=None):
    if place is not None:
        w.patch.setenv("XDOWNSCALE_DATA_URL", str(place))
    return partial(xd.load_pretrained, name, progress=False)


def registry(w, content):
    return w.text("models/registry.json", content).parent


def tampered(w):
    import shutil

    folder = shutil.copytree(w.published, w.scratch / "copied")
    content = bytearray((folder / "tiny.xd").read_bytes())
    content[100] ^= 255
    (folder / "tiny.xd").write_bytes(bytes(content))
    return folder


MODELS = [
    (
        "load-no-file",
        lambda w: partial(xd.load, w.scratch / "none.xd"),
        StorageError,
        r"cannot be read: No such file.*file that `model\.save` wrote",
    ),
    (
        "load-folder",
        lambda w: partial(xd.load, w.scratch),
        StorageError,
        r"cannot be read: it is a.*file that `model\.save` wrote",
    ),
    (
        "load-number",
        lambda w: partial(xd.load, 7),
        OptionError,
        r"path is 7, a int; give.*a str or pathlib\.Path",
    ),
    (
        "load-none",
        lambda w: partial(xd.load, None),
        OptionError,
        r"path is None, a NoneType; give.*a str or pathlib\.Path",
    ),
    (
        "load-empty",
        lambda w: partial(xd.load, w.text("empty.xd", "")),
        ModelFormatError,
        "is not a whole model file:.*save the model anew",
    ),
    (
        "load-text",
        lambda w: partial(xd.load, w.text("notes.xd")),
        ModelFormatError,
        "is not a whole model file:.*save the model anew",
    ),
    (
        "load-half",
        lambda w: partial(xd.load, truncated(w, 0.5)),
        ModelFormatError,
        "is not a whole model file:.*save the model anew",
    ),
    (
        "load-last-bytes-gone",
        lambda w: partial(xd.load, truncated(w, 0.999)),
        ModelFormatError,
        "is not a whole model file:.*save the model anew",
    ),
    (
        "load-one-bit-off",
        lambda w: partial(xd.load, altered(w)),
        ModelFormatError,
        r"Member 'weights\.safetensors' of.*save the model anew",
    ),
    (
        "load-foreign-zip",
        lambda w: partial(xd.load, foreign_zip(w)),
        ModelFormatError,
        r"holds the members \['photo\.txt'\]; a model.*save the model anew",
    ),
    (
        "load-no-weights",
        lambda w: partial(xd.load, without(w, "safetensors")),
        ModelFormatError,
        r"holds the members \['manifest\.json', 'config\.json',.*save the model anew",
    ),
    (
        "load-no-json",
        lambda w: partial(xd.load, without(w, ".json")),
        ModelFormatError,
        r"holds the members \['state\.safetensors', 'weights\.safetensors'\];.*save the model anew",
    ),
    (
        "load-broken-json",
        lambda w: partial(xd.load, broken_json(w)),
        ModelFormatError,
        r"Member 'manifest\.json' of.*save the model anew",
    ),
    (
        "load-a-store",
        lambda w: partial(xd.load, w.store),
        StorageError,
        r"cannot be read: it is a.*file that `model\.save` wrote",
    ),
    (
        "save-not-fitted",
        lambda w: partial(xd.Downscaler().save, w.scratch / "m.xd"),
        NotFittedError,
        r"This Downscaler is not fitted, so.*saved model with xdownscale\.load\(path\)",
    ),
    (
        "save-no-folder",
        lambda w: partial(w.drawer.save, w.scratch / "no/m.xd"),
        StorageError,
        "cannot be written: No such file.*was there is unchanged",
    ),
    (
        "save-onto-folder",
        lambda w: partial(w.drawer.save, w.scratch),
        StorageError,
        "cannot be written.*was there is unchanged",
    ),
    (
        "save-number",
        lambda w: partial(w.drawer.save, 7),
        OptionError,
        r"path is 7, a int; give.*a str or pathlib\.Path",
    ),
    (
        "pretrained-unknown",
        lambda w: pretrained(w, "dust-twin-tny"),
        OptionError,
        r"Unknown pretrained model: 'dust-twin-tny'\. There are.*your own use xdownscale\.load",
    ),
    (
        "pretrained-unknown-there",
        lambda w: pretrained(w, "tinny", w.published),
        OptionError,
        r"Unknown pretrained model: 'tinny'\. There are.*your own use xdownscale\.load",
    ),
    (
        "pretrained-number",
        lambda w: pretrained(w, 7),
        OptionError,
        r"Unknown pretrained model: 7\. There are.*your own use xdownscale\.load",
    ),
    (
        "pretrained-no-folder",
        lambda w: pretrained(w, "a", w.scratch / "none"),
        StorageError,
        "XDOWNSCALE_DATA_URL is.*models of the package",
    ),
    (
        "pretrained-odd-address",
        lambda w: pretrained(w, "a", "ftp://host/models"),
        OptionError,
        "XDOWNSCALE_DATA_URL is 'ftp://host/models'; give a folder,.*file://, http:// or https://",
    ),
    (
        "pretrained-registry-is-page",
        lambda w: pretrained(w, "a", registry(w, w.files.LOGIN_PAGE)),
        ModelFormatError,
        "The registry.*from where it came",
    ),
    (
        "pretrained-tampered",
        lambda w: pretrained(w, "tiny", tampered(w)),
        ModelFormatError,
        "has SHA-256.*its registry names.*or publish it anew",
    ),
    (
        "publish-not-fitted",
        lambda w: partial(xd.publish, xd.Downscaler(), w.scratch),
        NotFittedError,
        r"This Downscaler is not fitted, so.*saved model with xdownscale\.load\(path\)",
    ),
    (
        "publish-path",
        lambda w: partial(xd.publish, w.file, w.scratch / "models"),
        OptionError,
        r"model is a PosixPath; give a.*or xdownscale\.fit\(coarse, fine\) return",
    ),
    (
        "publish-bad-name",
        lambda w: published(w, "../escape"),
        OptionError,
        r"'\.\./escape' cannot name a model; give.*digit, at most 80",
    ),
    (
        "publish-empty-name",
        lambda w: published(w, "'' cannot name a model; give.*digit, at most 80"),
        OptionError,
        "",
    ),
    (
        "publish-name-of-another",
        lambda w: partial(xd.publish, w.drawer, w.published, name="tiny"),
        OptionError,
        r"has another model called 'tiny', and.*its line from registry\.json",
    ),
    (
        "publish-into-file",
        lambda w: partial(xd.publish, w.drawer, w.text("models"), name="mine"),
        StorageError,
        "The folder.*may be written to",
    ),
    (
        "publish-beside-broken-registry",
        lambda w: partial(xd.publish, w.drawer, registry(w, "{"), name="mine"),
        ModelFormatError,
        "The registry.*from where it came",
    ),
]
CASES = MODELS
