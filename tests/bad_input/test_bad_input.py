"""Bad input: one clear error of the library's own, before any work, and nothing is changed."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from dask.base import is_dask_collection

import xdownscale as xd
from xdownscale.core.errors import XDownscaleError
from xdownscale.io import serialization

MODULES = (
    "fit",
    "fit_options",
    "predict",
    "stores",
    "models",
    "published",
    "config",
    "tools",
    "measures",
)
CASES = [
    case for name in MODULES for case in importlib.import_module(f"bad_input.cases_{name}").CASES
]


def fingerprint(thing):
    """What a thing is worth, so that two of the same compare equal."""
    if isinstance(thing, xr.Dataset):
        variables = {str(k): fingerprint(v) for k, v in thing.variables.items()}
        return variables, dict(thing.sizes), repr(thing.attrs), list(thing.coords)
    if isinstance(thing, xr.DataArray):
        coords = {str(k): fingerprint(v.variable) for k, v in thing.coords.items()}
        return thing.name, fingerprint(thing.variable), coords
    if isinstance(thing, xr.Variable):
        values = thing.data.name if is_dask_collection(thing.data) else fingerprint(thing.values)
        return thing.dims, values, repr(thing.attrs), repr(thing.encoding)
    if isinstance(thing, np.ndarray):
        content = repr(thing.tolist()).encode() if thing.dtype == object else thing.tobytes()
        return thing.dtype, thing.shape, hashlib.sha256(content).hexdigest()
    if isinstance(thing, xd.Downscaler):
        fitted = getattr(thing, "_fitted", None)
        known = (
            None if fitted is None else (serialization.identity(fitted), fingerprint(fitted.about))
        )
        return known, repr(thing), repr(thing._path), fingerprint(thing.preset)
    if isinstance(thing, Path):
        return contents(thing)
    if isinstance(thing, dict):
        return {key: fingerprint(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [fingerprint(value) for value in thing]
    if dataclasses.is_dataclass(thing):
        return fingerprint({f.name: getattr(thing, f.name) for f in dataclasses.fields(thing)})
    return repr(thing)


def contents(path):
    """Every file at or below a path and what it holds, and every folder."""
    if not path.is_dir():
        return path.read_bytes() if path.exists() else None
    return {p.relative_to(path): p.read_bytes() if p.is_file() else "" for p in path.rglob("*")}


def inputs(call):
    """All that is given to a call: its arguments, and what its function is a method of."""
    return [getattr(call.func, "__self__", None), list(call.args), dict(call.keywords)]


def refuse_to_work(*_args, **_kwargs):
    pytest.fail("A network was run before the error.")


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
def test_bad_input_gets_one_clear_error(world, build, error, match):
    call = build(world)
    world.patch.setattr(torch.nn.Module, "__call__", refuse_to_work)
    world.patch.setattr(torch.optim.Optimizer, "step", refuse_to_work)
    before = [fingerprint(inputs(call)), contents(world.scratch), fingerprint(world.lasting)]
    with pytest.raises(error) as caught:
        call()
    assert issubclass(error, XDownscaleError)
    assert type(caught.value) is error
    message = str(caught.value)
    assert re.search(match, message, re.DOTALL), message
    assert len(message) > 40
    assert re.search(r"[.?]$", message), message
    after = [fingerprint(inputs(call)), contents(world.scratch), fingerprint(world.lasting)]
    assert after == before


WARNED = [
    pytest.param(
        lambda w: partial(xd.predict, without(w.coarse, 50, 54), w.walker),
        "runs start cold.*lacks days: from 2000-02-19 to 2000-02-24.*Give history=.*days that lack",
        id="walk-across-a-gap",
    ),
    pytest.param(
        lambda w: partial(xd.predict, without(w.paper_coarse, 50, 54), w.paper),
        "runs start cold.*lacks days: from 2000-02-19 to 2000-02-24.*Give history=.*days that lack",
        id="paper-across-a-gap",
    ),
    pytest.param(
        lambda w: partial(
            xd.predict_to_zarr,
            w.walker,
            without(w.coarse, 50, 54),
            w.scratch / "maps.zarr",
            progress=False,
        ),
        "runs start cold.*lacks days: from 2000-02-19 to 2000-02-24.*Give history=.*days that lack",
        id="store-across-a-gap",
    ),
    pytest.param(
        lambda w: partial(xd.predict, w.coarse.chunk(time=30, lat=2), w.drawer),
        "Chunks of 't' are cut into 3 parts.*Chunks of whole maps and some 64 days",
        id="chunks-that-cut-maps",
    ),
]


def without(da, first, last):
    return da.isel(time=[*range(first), *range(last, da.sizes["time"])])


@pytest.mark.parametrize(("build", "match"), WARNED)
def test_what_can_be_done_all_the_same_is_told_before_any_work(world, build, match):
    """A gap begins a new run, and chunks are joined: a warning, which is an error in this suite."""
    call = build(world)
    world.patch.setattr(torch.nn.Module, "__call__", refuse_to_work)
    with pytest.raises(xd.errors.XDownscaleWarning, match=f"(?s){match}"):
        call()
    assert contents(world.scratch) == {}


def test_the_table_is_long_and_its_names_are_unique():
    names = [case[0] for case in CASES]
    assert len(names) >= 100
    assert len(set(names)) == len(names)
