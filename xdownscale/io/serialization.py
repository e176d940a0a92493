"""Save and load fitted models as text, labelled arrays and weights."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.config import DownscalerConfig
from xdownscale.core import hashing, plugins
from xdownscale.core.coords import Axes, Labels
from xdownscale.core.errors import ModelFormatError
from xdownscale.core.files import as_path, write_whole
from xdownscale.core.normalization import Scaling
from xdownscale.core.storable import plain, storable
from xdownscale.fitting.fitted_model import Fitted, GroupModel, ModelFacts
from xdownscale.fitting.groups import Group
from xdownscale.io import container, validation
from xdownscale.preprocessing.calendar_features import Calendar
from xdownscale.preprocessing.quantile_mapping import QuantileMap

_FINE = "fine"
_COARSE = "coarse"
_CARRIED = "carried"
_GROUP = "group/"


def save(fitted: Fitted, path: str | PathLike[str]) -> None:
    """Write a fitted model to one file.

    Parameters
    ----------
    fitted : Fitted
        The model.
    path : str or path
        File to write; an existing one is replaced only when the new one is whole.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    write_whole(as_path(path, "path"), pack(fitted))


def pack(fitted: Fitted) -> bytes:
    """Return the file that `save` writes; the same model gives the same bytes.

    Parameters
    ----------
    fitted : Fitted
        The model.

    Returns
    -------
    bytes
    """
    facts, state, weights = _parts(fitted)
    return container.pack(facts, {name: _storable(part) for name, part in state.items()}, weights)


def identity(fitted: Fitted) -> str:
    """Return a hash of everything that decides what a model generates, and of its facts.

    Parameters
    ----------
    fitted : Fitted
        The model.

    Returns
    -------
    str
        64 hexadecimal digits; the same after `save` and `load`.
    """
    facts, state, weights = _parts(fitted)
    arrays: list[Any] = [json.dumps(facts, sort_keys=True)]
    for name, part in sorted(state.items()):
        numbers = {str(n): v.values for n, v in part.variables.items() if v.dtype.kind in "fiub"}
        for variable, values in sorted(numbers.items()):
            arrays += [f"{name}/{variable}", values]
    for name, values in sorted(weights.items()):
        arrays += [name, values]
    return hashing.fingerprint(*arrays)


def _parts(fitted: Fitted) -> tuple[dict[str, Any], dict[str, xr.Dataset], dict[str, Any]]:
    """Split a model into facts, labelled arrays and weights."""
    facts = {
        "config": fitted.config.to_dict(),
        "seasons": fitted.seasons and dict(fitted.seasons),
        "about": fitted.about.to_dict(),
        "labels": [_label_facts(labels) for labels in fitted.targets],
        "drivers": list(fitted.drivers),
        "own": list(fitted.own),
        "groups": {name: _group_facts(model) for name, model in fitted.models.items()},
    }
    state = {
        _FINE: fitted.labels.coords.drop_dims(str(fitted.labels.axes.time)),
        _COARSE: fitted.coarse_grid.to_dataset(name="grid"),
        _CARRIED: fitted.carried.to_dataset(name="carried"),
    }
    weights: dict[str, Any] = {}
    for name, model in fitted.models.items():
        state[_GROUP + name] = _group_state(model)
        weights |= {f"{name}/{key}": value for key, value in model.state.items()}
    return facts, state, weights


def load(path: str | PathLike[str]) -> Fitted:
    """Read a fitted model.

    Parameters
    ----------
    path : str or path
        File that `save` wrote.

    Returns
    -------
    Fitted

    Raises
    ------
    StorageError
        If there is no such file.
    ModelFormatError
        If the file is not ours, altered, truncated, or of another version.
    """
    facts, state, weights = container.read(path, partial(_checked_groups, path))
    with _naming(path):
        return _assemble(facts, state, weights)


@contextlib.contextmanager
def _naming(path: str | PathLike[str]) -> Iterator[None]:
    """Raise whatever the contents of a file cause as a `ModelFormatError` that names the file."""
    try:
        yield
    except ModelFormatError as err:
        raise ModelFormatError(f"{path} is whole, but does not hold a model: {err}") from err
    except Exception as err:  # a crafted file can make any of these fail
        raise ModelFormatError(
            f"{path} is whole, but does not hold a model ({type(err).__name__}: {err}). It was "
            "altered, or written by another version of xdownscale: save it again with that one."
        ) from err


def _check_method(name: object) -> None:
    """Raise where the method of a file is not known in this process."""
    known = plugins.names()
    if isinstance(name, str) and name not in known:
        raise ModelFormatError(
            f"Its method {name!r} is not known in this process; there are "
            f"{', '.join(map(repr, known))}. Install the package that brings it, or register it "
            "with xdownscale.methods.register, on all workers too."
        )


def _checked_groups(path: str | PathLike[str], facts: dict[str, Any]) -> list[str]:
    """Validate the facts of a model file, and return the names of its groups of arrays."""
    with _naming(path):
        validation.check_facts(facts)
        _check_method(facts["config"].get("method"))
    return [_FINE, _COARSE, _CARRIED, *(_GROUP + name for name in facts["groups"])]


def _assemble(facts: dict[str, Any], state: Any, weights: dict[str, Any]) -> Fitted:
    seasons = facts["seasons"]
    fitted = Fitted(
        config=DownscalerConfig.from_dict(facts["config"]),
        models={
            name: _group_model(group, state[_GROUP + name], _own(weights, name))
            for name, group in facts["groups"].items()
        },
        seasons=None if seasons is None else {k: tuple(v) for k, v in seasons.items()},
        targets=tuple(_labels(part, state[_FINE]) for part in facts["labels"]),
        drivers=tuple(facts["drivers"]),
        own=tuple(facts["own"]),
        coarse_grid=state[_COARSE]["grid"],
        carried=state[_CARRIED]["carried"],
        about=ModelFacts.from_dict(facts["about"]),
    )
    validation.check_fitted(fitted, weights)
    return fitted


def _label_facts(labels: Labels) -> dict[str, Any]:
    return {
        "axes": dataclasses.asdict(labels.axes),
        "dims": list(labels.dims),
        "name": labels.name,
        "attrs": plain(labels.attrs),
        "time_attrs": plain(labels.coords[labels.axes.time].attrs),
    }


def _labels(facts: dict[str, Any], coords: xr.Dataset) -> Labels:
    axes = Axes(**facts["axes"])
    no_time = xr.DataArray(
        np.array([], "datetime64[ns]"), dims=(axes.time,), attrs=facts["time_attrs"]
    )
    labels = Labels(
        axes=axes,
        dims=tuple(facts["dims"]),
        coords=coords.set_coords(list(coords.variables)).assign_coords({axes.time: no_time}),
        name=facts["name"],
        attrs=facts["attrs"],
    )
    return storable(labels)


def _group_facts(model: GroupModel) -> dict[str, Any]:
    return {
        "season": model.group.season,
        "region": model.group.region,
        "window": [[s.start, s.stop] for s in model.group.window],
        "scalings": [scaling.to_dict() for scaling in model.scalings],
        "driver_scalings": [scaling.to_dict() for scaling in model.driver_scalings],
        "calendar": dataclasses.asdict(model.calendar),
    }


def _group_state(model: GroupModel) -> xr.Dataset:
    return xr.Dataset(
        {
            "weight": (("y", "x"), model.weight),
            "mask": (("target", "y", "x"), model.masks.astype(np.int8)),
            "static": (("channel", "y", "x"), model.static),
            "part": ("time", model.split["part"].values),
            **_map_variables(model),
            **{f"history_{name}": ("step", v.values) for name, v in model.history.items()},
        },
        coords={"time": model.split["time"]},
    )


def _group_model(facts: dict[str, Any], state: xr.Dataset, weights: dict[str, Any]) -> GroupModel:
    rows, columns = facts["window"]
    losses = {n: ("step", v.values) for n, v in state.items() if str(n).startswith("history_")}
    return GroupModel(
        group=Group(
            season=facts["season"], region=facts["region"], window=(slice(*rows), slice(*columns))
        ),
        weight=state["weight"].values,
        masks=state["mask"].values.astype(bool),
        static=state["static"].values,
        scalings=tuple(map(Scaling.from_dict, facts["scalings"])),
        driver_scalings=tuple(map(Scaling.from_dict, facts["driver_scalings"])),
        calendar=Calendar(**facts["calendar"]),
        state=weights,
        split=state[["part"]],
        maps=_maps(state),
        history=xr.Dataset({str(n).removeprefix("history_"): v for n, v in losses.items()}),
    )


def _map_variables(model: GroupModel) -> dict[str, Any]:
    dims = ("season", "quantile", "yc", "xc")
    return {
        f"map_{name}_{k}": (dims, values)
        for k, fitted in enumerate(model.maps)
        for name, values in fitted.to_arrays().items()
    }


def _maps(state: xr.Dataset) -> tuple[QuantileMap, ...]:
    count = sum(str(name).startswith("map_source_") for name in state)
    return tuple(
        QuantileMap.from_arrays({n: state[f"map_{n}_{k}"].values for n in QuantileMap._fields})
        for k in range(count)
    )


def _own(weights: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the weights of one group, under their own names."""
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _storable(coords: xr.Dataset) -> xr.Dataset:
    """Return the arrays with attributes that netCDF can hold."""
    clean = coords.copy()
    for variable in clean.variables.values():
        variable.attrs = plain(variable.attrs)
    clean.attrs = {}
    return clean
