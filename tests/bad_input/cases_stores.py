"""Bad input to `predict_to_zarr`, and clusters that cannot predict."""

from __future__ import annotations

import json
import shutil
from functools import partial

import xdownscale as xd
from bad_input.cases_predict import draw
from xdownscale.core.errors import ModelMismatchError, NotFittedError, OptionError, StorageError
from xdownscale.prediction import manifest, zarr
from xdownscale.prediction import workers as workers_


def to_zarr(w, coarse=None, store=None, model=None, **options):
    """One call of `predict_to_zarr`."""
    coarse = w.coarse if coarse is None else coarse
    model = w.drawer if model is None else model
    store = w.scratch / "maps.zarr" if store is None else store
    return partial(xd.predict_to_zarr, model, coarse, store, progress=False, **options)


def again(w, **options):
    """The same once more as what filled the store, but for one thing."""
    given = {"store": w.store, "realizations": 2} | options
    return to_zarr(w, **given)


def foreign_store(w):
    path = w.scratch / "theirs.zarr"
    w.coarse.isel(time=slice(3)).to_dataset(name="t").to_zarr(path, consolidated=False)
    return path


def copied_store(w, name="copy.zarr"):
    return shutil.copytree(w.store, w.scratch / name)


def later_store(w):
    path = copied_store(w)
    note = path / manifest.GROUP / "zarr.json"
    facts = json.loads(note.read_text())
    facts["attributes"]["format"] = 99
    note.write_text(json.dumps(facts))
    return path


def broken_store(w):
    path = copied_store(w)
    (path / manifest.GROUP / "zarr.json").write_text('{"zarr_format": 3, "node')
    return path


def full_disk(w):
    w.patch.setattr(zarr, "free_bytes", lambda _: 1000)
    return to_zarr(w)


def locked(w):
    keeper = manifest.exclusive(w.store)
    keeper.__enter__()
    w.patch.setattr(manifest, "_kept_by_the_test", keeper, raising=False)
    return again(w)


def read_only_folder(w):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    w.patch.setattr(manifest.tempfile, "mkdtemp", refuse)
    return to_zarr(w)


def workers(w, version, call):
    """A cluster whose workers have this version of the package."""

    class Client:
        def run(self, *_, **__):
            from importlib.metadata import PackageNotFoundError

            return {"tcp://10.0.0.7:80": version or PackageNotFoundError("xarray-downscale")}

    w.patch.setattr(workers_, "client", Client)
    return call


STORES = [
    (
        "store-foreign",
        lambda w: to_zarr(w, store=foreign_store(w)),
        StorageError,
        "exists and is no store of.*remove what is there",
    ),
    (
        "store-other-folder",
        lambda w: to_zarr(w, store=w.text("photos/a.txt").parent),
        StorageError,
        "exists and is no store of.*remove what is there",
    ),
    (
        "store-file-in-the-way",
        lambda w: to_zarr(w, store=w.text("maps.zarr")),
        StorageError,
        "exists and is no store of.*remove what is there",
    ),
    (
        "store-below-a-file",
        lambda w: to_zarr(w, store=w.text("a") / "m.zarr"),
        StorageError,
        r"cannot be written: Not a directory\..*may be written to",
    ),
    (
        "store-no-folder",
        lambda w: to_zarr(w, store=w.scratch / "no" / "m.zarr"),
        StorageError,
        "cannot be written: No such file.*may be written to",
    ),
    (
        "store-address",
        lambda w: to_zarr(w, store="nonsense://me:word@bucket/maps.zarr"),
        OptionError,
        r"store is 'nonsense://bucket/maps\.zarr', which cannot be opened.*a URL that fsspec knows",
    ),
    (
        "store-is-number",
        lambda w: to_zarr(w, store=7),
        OptionError,
        r"store is 7, a int; give.*a str or pathlib\.Path",
    ),
    (
        "store-other-model",
        lambda w: again(w, model=w.drawer.with_sampling(steps=3)),
        ModelMismatchError,
        "was begun otherwise, and nothing was.*or give another path",
    ),
    (
        "store-other-seed",
        lambda w: again(w, seed=4),
        ModelMismatchError,
        "was begun otherwise, and nothing was.*or give another path",
    ),
    (
        "store-more-realizations",
        lambda w: again(w, realizations=3),
        ModelMismatchError,
        "was begun otherwise, and nothing was.*or give another path",
    ),
    (
        "store-other-record",
        lambda w: again(w, coarse=w.coarse * 1.01),
        ModelMismatchError,
        "was begun otherwise, and nothing was.*or give another path",
    ),
    (
        "store-other-days",
        lambda w: again(w, time=w.coarse.time[10:20]),
        ModelMismatchError,
        "was begun otherwise, and nothing was.*or give another path",
    ),
    (
        "store-other-chunks",
        lambda w: again(w, chunks=7),
        ModelMismatchError,
        "was begun otherwise, and nothing was.*or give another path",
    ),
    (
        "store-other-stitching",
        lambda w: again(w, stitching="patches"),
        ModelMismatchError,
        "was begun otherwise, and nothing was.*or give another path",
    ),
    (
        "store-other-history",
        lambda w: to_zarr(
            w,
            store=w.walk,
            model=w.walker,
            time=w.coarse.time[40:52],
            history=w.fine.isel(time=slice(9, 20)),
        ),
        ModelMismatchError,
        "was begun otherwise, and nothing was.*or give another path",
    ),
    (
        "store-later-version",
        lambda w: again(w, store=later_store(w)),
        StorageError,
        "was begun by another version of.*or give another path",
    ),
    (
        "store-broken-manifest",
        lambda w: again(w, store=broken_store(w)),
        StorageError,
        "The manifest of .* was altered or is damaged.*remove the store",
    ),
    (
        "store-disk-full",
        full_disk,
        StorageError,
        "has 1e-06 GB free, and the.*fewer days or realizations",
    ),
    (
        "store-not-allowed",
        read_only_folder,
        StorageError,
        r"cannot be written: Permission denied\. Give.*may be written to",
    ),
    ("store-locked", locked, StorageError, "Another process is filling.*it finished is kept"),
    (
        "store-not-fitted",
        lambda w: to_zarr(w, model=xd.Downscaler()),
        NotFittedError,
        r"This Downscaler is not fitted, so.*saved model with xdownscale\.load\(path\)",
    ),
    (
        "store-model-is-path",
        lambda w: to_zarr(w, model=str(w.file)),
        OptionError,
        r"model is a str; give a.*or xdownscale\.fit\(coarse, fine\) return",
    ),
    (
        "store-chunks-cut-maps",
        lambda w: to_zarr(w, chunks={"lon": 5}),
        OptionError,
        r"Unknown dimension in chunks= \(maps stay.*one of 'time', 'realization'",
    ),
    (
        "store-chunks-zero",
        lambda w: to_zarr(w, chunks={"time": 0}),
        OptionError,
        "chunks= asks for pieces of 0.*for all, or 'auto'",
    ),
    (
        "store-other-grid",
        lambda w: to_zarr(w, w.coarse.isel(lon=slice(3))),
        ModelMismatchError,
        "The coarse record lies on another.*model for its grid",
    ),
    (
        "store-workers-lack-package",
        lambda w: workers(w, None, to_zarr(w)),
        ModelMismatchError,
        "1 of 1 workers of the.*the same version everywhere",
    ),
    (
        "store-workers-other-version",
        lambda w: workers(w, "0.0.7", to_zarr(w)),
        ModelMismatchError,
        "1 of 1 workers of the.*the same version everywhere",
    ),
    (
        "predict-workers-lack-package",
        lambda w: workers(w, None, draw(w, chunks=20)),
        ModelMismatchError,
        "1 of 1 workers of the.*the same version everywhere",
    ),
]
CASES = STORES
