"""Record what the library computes, or compare it with what was recorded before.

``python tests/golden/record.py`` writes ``values.json`` and the model files that are not there yet;
``--check`` compares and writes nothing. Model files are old on purpose: a file that is there stays,
and what is drawn from it is recorded too (``--models`` writes all of them anew).

Names on the command line choose sections: ``python tests/golden/record.py --check geostat skill``.

Each entry is an array (hash of its bytes, and some numbers that tell rounding from a wrong value)
or a text. Everything runs on the CPU, torch with one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

import xdownscale as xd

XDownscaleWarning = xd.errors.XDownscaleWarning
HERE = Path(__file__).resolve().parent
VALUES, MODELS = HERE / "values.json", HERE / "models"
EXACT = ("cpu", "capability", "torch", "numpy", "scipy", "scikit-gstat", "statsmodels")
OTHERS = ("xarray", "pandas", "dask", "zarr", "lightning", "safetensors", "scores")
RTOL = 1e-3  # of the stored numbers, where another machine or another torch computes
POINTS = 5
SHORT = 1500  # characters of a text that is stored as it is

Entries = dict[str, dict[str, Any]]


# --- what is stored of a value ---------------------------------------------------------------


def digest(*parts: bytes) -> str:
    """Return the first 16 hexadecimal digits of a SHA-256."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()[:16]


def plain(text: str) -> str:
    """Return a text without versions, times of writing and fingerprints."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?", "<now>", text)
    text = re.sub(r"xdownscale \d+(\.\w+)+", "xdownscale <version>", text)
    return re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b", "<fingerprint>", text)


def of_text(text: str) -> dict[str, Any]:
    """Return what is stored of a text."""
    text = plain(text)
    kept = {"text": text} if len(text) <= SHORT else {}
    return {"hash": digest(text.encode())} | kept


def of_array(array: Any, labels: str = "") -> dict[str, Any]:
    """Return what is stored of an array: hash, type, shape, and numbers that say how far off."""
    array = np.asarray(array)
    if array.dtype.kind in "OUST":
        kept = of_text(json.dumps([str(value) for value in array.ravel()]))
        return kept | {"shape": list(array.shape)} | ({"labels": labels} if labels else {})
    if array.dtype.kind in "mM":
        array = array.astype("datetime64[ns]" if array.dtype.kind == "M" else "timedelta64[ns]")
    name = array.dtype.str
    array = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)  # one NaN of many
    found = {
        "dtype": name,
        "shape": list(array.shape),
        "hash": digest(name.encode(), str(array.shape).encode(), array.tobytes()),
    }
    numbers = array.astype(np.int64 if array.dtype.kind in "mM" else np.float64).ravel()
    numbers = numbers.astype(np.float64)
    good = numbers[np.isfinite(numbers)]
    if good.size:
        found |= {"mean": good.mean(), "std": good.std(), "sum": good.sum()}
    found["missing"] = int(numbers.size - good.size)
    chosen = np.linspace(0, numbers.size - 1, POINTS).astype(int) if numbers.size else []
    points = [numbers[k] for k in chosen]
    found["points"] = [float(p) if np.isfinite(p) else None for p in points]
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in found.items()} | (
        {"labels": labels} if labels else {}
    )


def labels_of(da: xr.DataArray | xr.Dataset) -> str:
    """Return dimensions and coordinates by name, and a hash of coordinates and attributes."""
    told: list[Any] = [attributes(da.attrs)]
    for name, coord in sorted(da.coords.items(), key=lambda item: str(item[0])):
        told.append([str(name), [str(d) for d in coord.dims], of_array(coord.values)])
        told.append(attributes(coord.attrs))
    dims, coords = (" ".join(map(str, names)) for names in (da.dims, sorted(map(str, da.coords))))
    return f"({dims}) {coords} {digest(json.dumps(told).encode())}"


def attributes(attrs: Mapping[Any, Any]) -> list[list[str]]:
    """Return attributes as sorted texts."""
    return sorted([str(name), plain(str(value))] for name, value in attrs.items())


def entries(name: str, value: Any) -> Entries:
    """Return the entries of any value that the library hands out, under one name."""
    if isinstance(value, xr.DataArray):
        return {name: of_array(value.values, labels_of(value))}
    if isinstance(value, str) or value is None:
        return {name: of_text(str(value))}
    found: Entries = {}
    if isinstance(value, xr.Dataset):
        found[f"{name}:labels"] = {
            "hash": digest((said := labels_of(value)).encode()),
            "text": said,
        }
    if isinstance(value, pd.DataFrame):
        found[f"{name}:attrs"] = of_text(json.dumps(attributes(value.attrs)))
    parts = parts_of(value)
    if parts is None:
        return {name: of_array(value)}
    for key, part in parts.items():
        found |= entries(f"{name}:{key}", part)
    return found


def parts_of(value: Any) -> dict[Any, Any] | None:
    """Return what a value consists of, by name; None if it is an array or a number."""
    if isinstance(value, xr.Dataset):
        return dict(value.data_vars)
    if isinstance(value, pd.DataFrame):
        table = value.reset_index()
        return {column: table[column].to_numpy() for column in table.columns}
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "_asdict"):
        return dict(value._asdict())
    if isinstance(value, tuple | list) and any(np.ndim(part) for part in value):
        return dict(enumerate(value))
    return None


# --- comparison ------------------------------------------------------------------------------


def difference(found: dict[str, Any] | None, known: dict[str, Any] | None, exact: bool) -> str:
    """Say how an entry differs from the recorded one; empty if it does not.

    Where `exact`, to the bit; else type and shape, and the stored numbers to `RTOL`.
    """
    if found is None or known is None:
        return "is computed no more" if found is None else "was not recorded"
    if found == known or (exact and "text" not in known and _bits(found) == _bits(known)):
        return ""
    for what in ("dtype", "shape", "missing"):
        if found.get(what) != known.get(what):
            return f"{what} is {found.get(what)}, recorded {known.get(what)}"
    if "points" not in known:
        if not exact and _masked(found) == _masked(known):
            return ""
        return f"text is {found.get('text', found['hash'])!r}, recorded {known.get('text', '')!r}"
    if found.get("labels", "") != known.get("labels", "") and exact:
        return f"labels are {found.get('labels')!r}, recorded {known.get('labels')!r}"
    off = relative_difference(found, known)
    if exact:
        return f"hash differs; the stored numbers by {off:.2g} of their size"
    return "" if off <= RTOL else f"the stored numbers differ by {off:.2g} of their size"


def _bits(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(key) for key in ("hash", "dtype", "shape", "labels"))


def _masked(entry: dict[str, Any]) -> str:
    """Text without its numbers and hashes; nothing of one that is too long to be stored."""
    text = re.sub(r"\b[0-9a-f]{16}\b", "#", entry.get("text", ""))
    return re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", text)


def relative_difference(found: dict[str, Any], known: dict[str, Any]) -> float:
    """Return the largest difference of the stored numbers, over the size of the values."""
    pairs = [
        (a, b)
        for a, b in zip(found["points"], known["points"], strict=True)
        if a is not None and b is not None
    ]
    pairs += [(found[key], known[key]) for key in ("mean", "std") if key in known]
    size = np.hypot(known.get("mean", 0.0), known.get("std", 0.0))
    return max((abs(a - b) / max(abs(b), size, 1e-300) for a, b in pairs), default=0.0)


def fingerprint() -> dict[str, str]:
    """Return what the bits of a result depend on beside this package."""
    found = {"cpu": _cpu(), "capability": torch.backends.cpu.get_cpu_capability()}
    return found | {name: importlib.metadata.version(name) for name in EXACT[2:]}


def header() -> dict[str, str]:
    """Return machine and versions."""
    others = {name: importlib.metadata.version(name) for name in OTHERS}
    return fingerprint() | others | {"python": platform.python_version()}


def is_exact(known: Mapping[str, str]) -> bool:
    """Tell whether results of this machine can be compared to the bit with recorded ones.

    The environment variable XDOWNSCALE_GOLDEN_EXACT=1 says that they shall be.
    """
    mine = fingerprint()
    if os.environ.get("XDOWNSCALE_GOLDEN_EXACT") == "1":
        return True
    return all(known.get(name) == mine[name] for name in EXACT)


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# --- records ---------------------------------------------------------------------------------


def records(
    days: int = 60,
    seed: int = 0,
    names: tuple[str, ...] = ("t",),
    positive: bool = False,
    calendar: str = "standard",
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return coarse records of `days` + 30 days, and fine ones from their 20th day on."""
    rng = np.random.default_rng(seed)
    stamps = xr.date_range("2000-01-01", periods=days + 30, calendar=calendar)
    lat, lon = np.arange(0.25, 12, 0.5), np.arange(0.25, 10, 0.5)
    fine = {}
    for name in names:
        coarse = rng.normal(size=(days + 30, 6, 5))
        for day in range(1, days + 30):
            coarse[day] = 0.6 * coarse[day - 1] + 0.8 * coarse[day]
        values = coarse.repeat(4, 1).repeat(4, 2) + 0.3 * rng.normal(size=(days + 30, 24, 20))
        values = np.exp(0.7 * values) if positive else values
        coords = {"time": stamps, "lat": lat, "lon": lon}
        fine[name] = xr.DataArray(
            values.astype(np.float32), coords, dims=tuple(coords), name=name, attrs={"units": "K"}
        )
    both = xr.Dataset(fine)
    averages = both.coarsen(lat=4, lon=4).mean()
    for name in names:
        averages[name].attrs = both[name].attrs
    return averages, both.isel(time=slice(20, 20 + days))


def plain_pair() -> tuple[Any, Any]:
    """Return records of one variable that takes either sign."""
    coarse, fine = records()
    return coarse.t, fine.t


def positive_pair() -> tuple[Any, Any]:
    """Return records of one positive, skewed variable."""
    coarse, fine = records(seed=1, positive=True)
    return coarse.t, fine.t


def long_pair() -> tuple[Any, Any]:
    """Return records of half a year."""
    coarse, fine = records(days=160, seed=2)
    return coarse.t, fine.t


def two_variables() -> tuple[Any, Any]:
    """Return three drivers and two targets."""
    coarse, fine = records(seed=3, names=("u", "v"))
    return coarse.assign(w=(3 * coarse.u + 7).astype(np.float32).rename("w")), fine


def foreign_pair() -> tuple[Any, Any]:
    """Return a coarse record of other weather and another climate than the fine one's."""
    coarse, _ = records(days=200, seed=4)
    _, fine = records(days=170, seed=5)
    moved = (1.7 * coarse.t + 4).rename("t").assign_attrs(units="K")
    wider = moved.pad(lat=1, lon=1, mode="edge")
    return wider.assign_coords(lat=np.arange(-1.0, 14, 2), lon=np.arange(-1.0, 12, 2)), fine.t


def awkward_pair() -> tuple[Any, Any]:
    """Return records with gaps, a mask, other names, another order, and 365 days a year."""
    coarse, fine = records(seed=6, positive=True, calendar="noleap")
    rng = np.random.default_rng(60)
    known = fine.t.where(~((fine.lat < 3) & (fine.lon < 2)))
    known = known.where(rng.random(known.shape) > 0.02).isel(lat=slice(None, None, -1))
    holed = coarse.t.copy()
    holed[33] = np.nan
    holed[40, 0, 0] = np.nan
    return holed.rename(lat="latitude", lon="longitude"), known.transpose("lat", "lon", "time")


def hills() -> xr.DataArray:
    """Return a static field on a grid of its own."""
    lat, lon = np.arange(-0.9, 13, 0.2), np.arange(-0.9, 11, 0.2)
    values = np.sin(lat)[:, None] + np.cos(2 * lon)[None, :]
    return xr.DataArray(values, {"lat": lat, "lon": lon}, dims=("lat", "lon"), name="height")


# --- models ----------------------------------------------------------------------------------

SMALL = {"channels": (8,), "encoder_channels": (8,)}
TWO_LEVELS = {"channels": (8, 16), "encoder_channels": (8, 8)}


def fast(method: str = "residual", **sections: Any) -> xd.DownscalerConfig:
    """Return preset `fast` that learns for two epochs."""
    keys: dict[str, Any] = {
        "data": {"extrapolate": "nearest", "crop": 16},
        "network": SMALL,
        "training": {"epochs": 2, "pretrain_epochs": 2, "mean_epochs": 2},
        "sampling": {"precision": "32"},
    }
    if method == "crps":  # has no regressions
        del keys["training"]["mean_epochs"]
    names = [*keys, *(name for name in sections if name not in keys)]
    merged = {name: keys.get(name, {}) | sections.get(name, {}) for name in names}
    return xd.preset("fast", method=method, **merged)


def paper() -> xd.DownscalerConfig:
    """Return preset `paper` that learns for two epochs."""
    return xd.preset(
        "paper",
        data={"lags": 2, "patch_size": 8, "patch_stride": 4, "extrapolate": "nearest"},
        network=TWO_LEVELS | {"attention": True},
        training={"epochs": 2, "pretrain_epochs": 2, "batch_days": 8},
        sampling={"steps": 3, "size": 8, "stride": 4, "halo": 1},
    )


@dataclasses.dataclass(frozen=True)
class Case:
    """A model that is fitted, and what is drawn from it.

    Attributes
    ----------
    pair : callable
        Gives the coarse and the fine record.
    fit : callable
        Gives the options of `xdownscale.fit`.
    days : tuple of int
        First day and the one behind the last, of the coarse record that are drawn.
    realizations : int
        Fields for each day.
    ways : dict
        Name -> (keys of sampling, options of predict), drawn at once, as dask and into a store.
    more : dict
        The same, drawn at once only.
    kept : bool
        Whether the model lies in a file.
    checked : bool
        Whether `Downscaler.check` is run.
    """

    pair: Callable[[], tuple[Any, Any]]
    fit: Callable[[], dict[str, Any]]
    days: tuple[int, int] = (62, 66)
    realizations: int = 2
    ways: dict[str, tuple[dict[str, Any], dict[str, Any]]] = dataclasses.field(
        default_factory=lambda: {"default": ({}, {})}
    )
    more: dict[str, tuple[dict[str, Any], dict[str, Any]]] = dataclasses.field(default_factory=dict)
    kept: bool = False
    checked: bool = False


ALONE = {"encoder": "none"}
RESIDUAL_WAYS = {
    "default": ({}, {}),
    "patches": ({"size": 12, "stride": 6, "halo": 2}, {"stitching": "patches"}),
    "multidiffusion": ({"size": 12, "stride": 6, "halo": 2}, {"stitching": "multidiffusion"}),
}
RESIDUAL_MORE = {
    "heun": ({"sampler": "heun"}, {}),
    "mean": ({"sampler": "mean"}, {"realizations": 1}),
    "one_piece": ({"tile": None}, {}),
    "batch_of_one": ({"batch_size": 1}, {}),
    "steps_and_seed": ({"steps": 3}, {"seed": 5}),
    "nonnegative": ({"constraint": "nonnegative"}, {}),
    "additive": ({"constraint": "additive"}, {}),
}
CONSTRAINED = {
    kind: ({"constraint": kind}, {}) for kind in ("nonnegative", "additive", "multiplicative")
} | {"softmax": ({"constraint": "softmax"}, {})}
CHAINED_WAYS = {
    "autoregressive": ({}, {"mode": "autoregressive", "days": (80, 84)}),
    "teacher_forced": ({}, {"mode": "teacher_forced", "history": True}),
}
COLD = {"cold": ({}, {"days": (5, 7), "mode": "autoregressive"})}

CASES: dict[str, Case] = {
    "residual": Case(
        plain_pair,
        lambda: {"preset": fast(diffusion={"folds": 1})},
        more={"heun": ({"sampler": "heun"}, {}), "patches": ({}, {"stitching": "patches"})},
        kept=True,
    ),
    "residual_folds": Case(
        plain_pair,
        lambda: {"preset": fast(network=TWO_LEVELS)},
        ways=RESIDUAL_WAYS,
        more=RESIDUAL_MORE,
        checked=True,
    ),
    "tiled": Case(
        plain_pair,
        lambda: {"preset": fast(network={"unshuffle": 1}, diffusion={"folds": 1})},
        ways={"tile": ({"tile": 16}, {})},
        more={"one_piece": ({"tile": None}, {}), "heun": ({"tile": 16, "sampler": "heun"}, {})},
    ),
    "crps": Case(
        plain_pair,
        lambda: {"preset": fast("crps")},
        more={"patches": ({}, {"stitching": "patches"})},
        kept=True,
        checked=True,
    ),
    "unet": Case(
        positive_pair,
        lambda: {"preset": fast("unet")},
        realizations=1,
        more=CONSTRAINED,
        kept=True,
    ),
    "diffusion": Case(
        plain_pair,
        lambda: {"preset": paper()},
        ways=CHAINED_WAYS,
        more=COLD
        | {
            "ddpm": ({"sampler": "ddpm"}, {"days": (80, 82)}),
            "independent": ({"noise": "independent"}, {"days": (80, 82)}),
            "uniform": ({"taper": "uniform"}, {"days": (80, 82)}),
            "whole": ({}, {"days": (80, 82), "stitching": "whole"}),
        },
        kept=True,
        checked=True,
    ),
    "chained": Case(
        plain_pair,
        lambda: {"preset": fast(data={"fine_lags": 2}, diffusion={"folds": 1})},
        ways=CHAINED_WAYS,
        more=COLD | {"heun": ({"sampler": "heun"}, {"days": (80, 82)})},
        kept=True,
    ),
    "seasons": Case(
        long_pair,
        lambda: {
            "preset": fast("unet", network=ALONE),
            "seasons": {"first": (1, 2, 3), "second": (4, 5, 6, 7, 8, 9, 10, 11, 12)},
        },
        days=(88, 94),
        realizations=1,
        kept=True,
    ),
    "regions": Case(
        plain_pair,
        lambda: {
            "preset": fast("unet", network=ALONE, data={"blend": 4}),
            "regions": {"west": (0, 5, 0, 12), "east": (5, 10, 0, 10)},
        },
        realizations=1,
        kept=True,
    ),
    "two_variables": Case(two_variables, lambda: {"preset": fast("crps")}, kept=True),
    "self_paired": Case(
        foreign_pair,
        lambda: {"preset": fast("unet", network=ALONE), "pairing": "self"},
        realizations=1,
        kept=True,
    ),
    "self_found": Case(foreign_pair, lambda: {"preset": fast("crps")}),
    "finetuned": Case(
        plain_pair,
        lambda: {"preset": fast("crps", network={"encoder": "finetuned"}), "seed": 3},
    ),
    "transferred": Case(
        positive_pair,
        lambda: {"preset": fast("unet"), "encoder": model_of("crps")},
        realizations=1,
    ),
    "awkward": Case(
        awkward_pair,
        lambda: {
            "preset": fast(
                "unet",
                data={"scaling": "minmax", "regrid": "bilinear", "ahead": 0},
                network={"norm": "group", "dropout": 0.1, "unshuffle": 1},
                training={"epoch_batches": 3, "rate": "plateau", "optimizer": "adam"},
            ),
            "static": hills(),
            "transform": "log1p",
        },
        realizations=1,
        days=(32, 44),
    ),
    "streamed": Case(
        awkward_pair,
        lambda: {"preset": fast("unet", data={"memory_limit": 0.01}), "static": hills()},
        realizations=1,
    ),
}
KEPT = tuple(name for name, case in CASES.items() if case.kept)


@functools.cache
def model_of(name: str) -> xd.Downscaler:
    """Return the model of a case, fitted now."""
    case = CASES[name]
    coarse, fine = case.pair()
    options = {"seed": 0} | case.fit()
    return xd.fit(coarse, fine, device="cpu", progress=False, **options)


def weights(model: xd.Downscaler) -> Entries:
    """Return entries of the weights, one for each group; looks into `models_`."""
    found: Entries = {}
    for group, learnt in model.models_.items():
        state = learnt.state
        names = sorted(state)
        whole = np.concatenate([np.asarray(state[name]).ravel() for name in names])
        found[f"weights:{group}"] = of_array(whole)
        told = [[name, str(state[name].dtype), list(state[name].shape)] for name in names]
        found[f"weights:{group}:names"] = {"hash": digest(json.dumps(told).encode()), "text": ""}
    return found


def learnt(model: xd.Downscaler) -> Entries:
    """Return entries of what was learnt: weights, losses, split, skill and the text of the repr."""
    found = weights(model)
    found |= entries("history", model.history_.drop_vars("seconds"))
    found |= entries("split", model.split_)
    found |= entries("skill", model.skill_) | entries("repr", repr(model))
    return found | entries("html", model._repr_html_())


def drawn(model: xd.Downscaler, case: Case) -> Entries:
    """Return entries of the fields of a case, drawn in each way."""
    coarse, fine = case.pair()
    found: Entries = {}
    for name, (sampling, options) in {**case.ways, **case.more}.items():
        given = {"realizations": case.realizations, "seed": 11} | options
        given["time"] = coarse.time[slice(*given.pop("days", case.days))]
        if given.pop("history", False):
            given["history"] = fine
        able = model.with_sampling(**sampling) if sampling else model
        found |= entries(f"{name}:eager", coarse.downscale.predict(able, **given))
        if name in case.ways:
            found |= lazily(f"{name}:dask", able, coarse, given)
            found |= stored(f"{name}:zarr", able, coarse, given)
    return found


def lazily(name: str, model: xd.Downscaler, coarse: Any, given: dict[str, Any]) -> Entries:
    """Return entries of fields that dask draws, two days at a time."""
    return entries(name, xd.predict(coarse, model, chunks=2, **given).compute())


def stored(name: str, model: xd.Downscaler, coarse: Any, given: dict[str, Any]) -> Entries:
    """Return entries of a store of fields, drawn in small pieces and read back."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "maps.zarr"
        cut = {"time": 2, "realization": 1}
        xd.predict_to_zarr(model, coarse, where, chunks=cut, progress=False, **given)
        with xr.open_zarr(where, consolidated=False) as ds:
            return entries(name, ds.load())


def fitted_case(name: str) -> Entries:
    """Return entries of a model that is fitted now."""
    model, case = model_of(name), CASES[name]
    found = learnt(model) | drawn(model, case)
    if case.checked:
        coarse, fine = case.pair()
        table = model.check(coarse, fine, days=4, realizations=2)
        found |= entries("check", table)
    return found


def loaded_case(name: str) -> Entries:
    """Return entries of a model that was kept in a file, and of the file written again."""
    path = MODELS / f"{name}.xd"
    model = xd.load(path)
    model.device = "cpu"
    found = learnt(model) | drawn(model, CASES[name])
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again.xd"
        model.save(again)
        members = [contents(path), contents(again)]
    changed = sorted(k for k in members[0] | members[1] if members[0].get(k) != members[1].get(k))
    # the manifest names the versions of packages
    found["file"] = of_text(f"changed: {[k for k in changed if k != 'manifest.json']}")
    return found


def contents(path: Path) -> dict[str, str]:
    """Return the hash of each member of a model file."""
    with zipfile.ZipFile(path) as archive:
        return {name: digest(archive.read(name)) for name in archive.namelist()}


def pretrained() -> Entries:
    """Return entries of the model that the package ships."""
    model = xd.load_pretrained("dust-twin-tiny", progress=False)
    model.device = "cpu"
    ds = xd.datasets.load_twin()
    given = {"time": ds.time[600:603], "realizations": 2, "seed": 1}
    found = entries("eager", ds.dust.downscale.predict(model, **given))
    found |= lazily("dask", model, ds.dust, given) | stored("zarr", model, ds.dust, given)
    mean = model.with_sampling(sampler="mean")
    found |= entries("mean", ds.dust.downscale.predict(mean, time=given["time"]))
    known = ds.dust_fine.isel(time=slice(640, None))
    table = model.check(ds.dust.isel(time_coarse=slice(1461, 2192)), known, days=2, realizations=2)
    return found | entries("check", table) | learnt(model)


# --- everything else -------------------------------------------------------------------------


@functools.cache
def twin(synchronised: bool = True) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return coarse record, a part of the fine one, and elevation of the built-in twin."""
    ds = xd.datasets.load_twin(synchronised)
    part = ds[["dust_fine", "elevation"]].isel(lat=slice(0, 40), lon=slice(0, 48))
    coarse = ds.dust.rename(time_coarse="time", lat_coarse="lat", lon_coarse="lon")
    return coarse.isel(time=slice(1400, 2200)), part.dust_fine, part.elevation


def regridding() -> Entries:
    """Return entries of regridding, up and down, with gaps."""
    coarse, fine, height = twin()
    few, small = coarse.isel(time=slice(0, 5)), fine.isel(time=slice(0, 5))
    holed = small.where(small > small.quantile(0.2))
    found: Entries = {}
    for method in ("bicubic", "bilinear", "nearest", "conservative"):
        found |= entries(f"to_fine:{method}", xd.regrid(few, fine, method=method))
        inner = coarse.sel(lat=slice(24.5, 26), lon=slice(44.3, 46))
        found |= entries(f"to_coarse:{method}", xd.regrid(small, inner, method=method))
        found |= entries(f"gaps:{method}", holed.downscale.regrid(inner, method, min_valid=0.3))
    wide = xd.regrid(small, coarse, method="bilinear", extrapolate="nearest")
    static = xd.regridding.regrid_static(height, inner)
    found |= entries("lazy", xd.regrid(few.chunk(time=2), fine).compute())
    return found | entries("extrapolated", wide) | entries("static", static)


def geostat() -> Entries:
    """Return entries of the diagnostics of fields."""
    coarse, fine, _ = twin()
    some, other = fine.isel(time=slice(0, 60)), fine.isel(time=slice(300, 360))
    few = some.isel(time=slice(0, 12))
    layout = xd.patches.PatchLayout(shape=(40, 48), size=16, stride=8, halo=2)
    made: dict[str, Any] = {
        "semivariogram": few.geostat.semivariogram(bootstrap=50),
        "semivariogram_daily": few.geostat.semivariogram(
            pairs=3000, model="exponential", estimator="cressie", average=None, bootstrap=0
        ),
        "acf": fine.geostat.acf(),
        "acf_adjusted": fine.geostat.acf(max_lag=5, adjusted=True),
        "pacf": fine.geostat.pacf(),
        "lag_r2": some.geostat.lag_r2(),
        "lag_pearson": some.geostat.lag_r2(kind="pearson", weighted=False, max_lag=4),
        "lag_rmse": some.geostat.lag_rmse(),
        "wasserstein": some.geostat.wasserstein(other.assign_coords(time=some.time)),
        "wasserstein_pooled": some.geostat.wasserstein(other, kind="pooled", common=False),
        "power_spectrum": some.geostat.power_spectrum(),
        "power_spectrum_daily": few.geostat.power_spectrum(average=None),
        "seams": some.geostat.seams(layout),
        "distribution": some.geostat.distribution(thresholds=[0.1, 0.5]),
        "diagnose_pairing": xd.geostat.diagnose_pairing(coarse, fine, shifts=100),
        "diagnose_unpaired": xd.geostat.diagnose_pairing(twin(False)[0], fine, shifts=100),
        "advise_patch": fine.geostat.advise_patch(coarse, days=10),
        "compare": some.geostat.compare(other),
        "similarity_table": xd.geostat.similarity_table(
            fine.isel(time=slice(0, 120)), coarse, by="season"
        ),
    }
    found: Entries = {}
    for name, value in made.items():
        found |= entries(name, value)
    return found


def skill() -> Entries:
    """Return entries of scores, tables and baselines."""
    coarse, fine, _ = twin()
    known, truth = fine.isel(time=slice(None, 400)), fine.isel(time=slice(400, 440))
    before = [xd.baselines.persistence(fine, truth.time, lag=k) for k in (1, 2, 3)]
    ensemble, single = xr.concat(before, dim="realization"), before[0]
    table = xd.skill.table(
        {"lagged": ensemble, "single": single},
        truth,
        scores=("r2", "pearson_r2", "rmse", "mae", "bias", "crps", "nse", "kge", "spread_skill"),
        coarse=coarse,
        train=known,
    )
    groups = xd.skill.table(
        {"lagged": ensemble},
        truth,
        scores=("r2", "crps"),
        by=("season", "region"),
        regions={"west": (-180, 45, -90, 90), "all": (-180, 180, -90, 90)},
        weights=True,
    )
    days = truth.time
    made: dict[str, Any] = {
        "table": table,
        "table_text": xd.skill.to_markdown(table),
        "table_latex": xd.skill.to_latex(table),
        "groups": groups,
        "r2": xd.skill.r2(single, truth, transform="log10", weights=True),
        "crps": xd.skill.crps(ensemble, truth),
        "nse": xd.skill.nse(single, truth, reduce=False),
        "kge": xd.skill.kge(single, truth),
        "spread_skill": xd.skill.spread_skill(ensemble, truth, transform="log10"),
        "rank_histogram": xd.skill.rank_histogram(ensemble, truth, seed=0),
        "events": xd.skill.events(single, truth, quantiles=[0.9, 0.99]),
        "fss": xd.skill.fss(single, truth, quantiles=0.95, windows=[1, 3, 9]),
        "per_day": xd.skill.per_day({"lagged": ensemble}, truth),
        "describe": xd.skill.describe({"coarse": coarse, "fine": known}, by="season"),
        "interpolate": xd.baselines.interpolate(coarse, fine, days),
        "climatology": xd.baselines.climatology(known, days),
        "persistence": single,
        "persistence_from_start": xd.baselines.persistence_from_start(fine, days),
    }
    found: Entries = {}
    for name, value in made.items():
        found |= entries(name, value)
    return found


def cutting() -> Entries:
    """Return entries of splits and patches."""
    coarse, fine, _ = twin()
    part = fine.isel(time=slice(0, 400))
    seasons = ("DJF", "MAM", "JJA", "SON")
    found: Entries = {}
    made: dict[str, Any] = {
        "split": xd.splits.chronological_split(fine.time, lags=3),
        "split_seasons": xd.splits.chronological_split(fine.time, 3, seasons=seasons, seed=4),
        "lag_windows": xd.splits.lag_windows(part.time, 3),
        "windows_around": xd.splits.windows_around(part.time, np.arange(3, 390, 7), 2, 2),
        "season_windows": xd.splits.season_windows(part.time, seasons),
        "seasons": xd.splits.split_seasons(part.isel(lat=slice(0, 2)), ("DJF", "JJAS")),
        "season_of": xd.splits.season_of(part.time, seasons),
        "region_mask": xd.splits.region_mask(part, (44, 45, 24, 25)),
        "match_times": xd.splits.match_times(part.time, coarse.time),
        "check_overlap": xd.splits.check_overlap(part.time, coarse.time),
        "time_step": [xd.splits.time_step(part.time), xd.splits.is_subdaily(part.time)],
        "step_text": xd.splits.step_text(part.time),
        "resolve_seasons": {k: list(v) for k, v in xd.splits.resolve_seasons(seasons).items()},
    }
    few = part.isel(time=slice(0, 3))
    for taper in ("hann", "triangle", "uniform"):
        layout = xd.patches.PatchLayout(shape=(40, 48), size=16, stride=7, halo=3, taper=taper)
        patches = xd.patches.extract(few, layout)
        jumbled = patches * xr.DataArray(np.linspace(0.5, 2, layout.n_patches), dims="patch")
        made[f"patches:{taper}:stitched"] = xd.patches.stitch(jumbled.astype(np.float32), layout)
        made[f"patches:{taper}:again"] = xd.patches.stitch(patches, layout)
    made["patches:cut"] = patches
    made["patches:corners"] = layout.corners
    made["patches:positions"] = layout.positions
    array = xd.patches.extract_array(few.values, layout, [5, 0, 3])
    made["patches:array"] = array
    stitcher = xd.patches.Stitcher(layout, (3,))
    for number in range(layout.n_patches):
        stitcher.add([number], number + xd.patches.extract_array(few.values, layout, [number]))
    made["patches:stitcher"] = stitcher.result()
    for name, value in made.items():
        found |= entries(name, value)
    return found


SECTIONS: dict[str, Callable[[], Entries]] = {
    "pretrained": pretrained,
    **{f"fitted_{name}": functools.partial(fitted_case, name) for name in CASES},
    **{f"loaded_{name}": functools.partial(loaded_case, name) for name in KEPT},
    "regridding": regridding,
    "geostat": geostat,
    "skill": skill,
    "cutting": cutting,
}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, and give the threads back."""
    threads, before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@functools.cache
def compute(section: str) -> Entries:
    """Return the entries of a section, and the warnings that this library gave meanwhile."""
    with one_thread(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", XDownscaleWarning)
        found = SECTIONS[section]()
    ours = {str(w.message) for w in caught if issubclass(w.category, XDownscaleWarning)}
    for other in caught:
        if not issubclass(other.category, XDownscaleWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return found | entries("warnings", "\n".join(sorted(ours)) or "none")


def write_models(anew: bool = False) -> None:
    """Save the models that are kept, those that are not there yet or all of them."""
    MODELS.mkdir(exist_ok=True)
    for name in KEPT:
        path = MODELS / f"{name}.xd"
        if anew or not path.exists():
            compute(f"fitted_{name}")  # fits it where its warnings are recorded
            model_of(name).save(path)


def read_values() -> dict[str, Any]:
    """Return what was recorded: `header`, and `sections` of entries."""
    known: dict[str, Any] = json.loads(VALUES.read_text())
    return known


def compare(section: str, known: dict[str, Any]) -> dict[str, str]:
    """Compute a section; return what differs, by entry."""
    found, old = compute(section), known["sections"].get(section, {})
    exact = is_exact(known["header"])
    said = {k: difference(found.get(k), old.get(k), exact) for k in sorted(found.keys() | old)}
    return {name: words for name, words in said.items() if words}


def main() -> int:
    """Write or check; return the number of sections that differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", help="all, if none is named")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--models", action="store_true", help="write all model files anew")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section is called {', '.join(sorted(unknown))}")
    chosen = options.sections or list(SECTIONS)
    known = read_values() if options.check or options.sections else {"sections": {}}
    if options.check:
        rule = "to the bit" if is_exact(known["header"]) else f"to {RTOL:g}: another platform"
        print(f"compared {rule}")
    else:
        write_models(options.models)
    bad = 0
    for section in chosen:
        since = time.perf_counter()
        if options.check:
            said = compare(section, known)
            bad += bool(said)
            for name, words in said.items():
                print(f"  {section}/{name}: {words}")
        else:
            known["sections"][section] = compute(section)
        took = time.perf_counter() - since
        print(f"{section}: {len(compute(section))} entries, {took:.1f} s", flush=True)
    if not options.check:
        known["header"] = header()
        text = json.dumps(known, indent=1, sort_keys=True, allow_nan=False)
        VALUES.write_text(text + "\n")
    return min(bad, 100)


if __name__ == "__main__":
    sys.exit(main())
