"""Validate the contents of a model file: schema, and sizes that agree, before it is built."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.config import DownscalerConfig
from xdownscale.core.coords import Axes, Labels
from xdownscale.core.errors import ModelFormatError
from xdownscale.core.normalization import OPTIONAL, Scaling
from xdownscale.fitting import drift
from xdownscale.fitting.fitted_model import Fitted, GroupModel, sizes_of
from xdownscale.io.schema import REST, Between, check, of_hint
from xdownscale.preprocessing.calendar_features import Calendar

_WHOLE = Between(-(10**6), 10**6)  # range of the whole numbers among the options
_COUNT = Between(0, 2**40)
_COORDINATES = 200  # of a grid
_LEVELS = 16  # maximum number of levels of a network: 2**15 pixels
_OTHER = "the file was altered, or written by another version of xdownscale."


def check_facts(facts: Any) -> None:
    """Raise unless the text of a model file matches its schema.

    Parameters
    ----------
    facts : object
        What ``config.json`` holds.

    Raises
    ------
    ModelFormatError
        Names the first member that does not match.

    Examples
    --------
    >>> check_facts({"config": {}})
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.ModelFormatError: config.json lacks 'seasons'...
    """
    attrs = {REST: (str, int, float, [str], [float])}
    labels = {
        "axes": _of(Axes),
        "dims": [str],
        "name": (str, None),
        "attrs": attrs,
        "time_attrs": attrs,
    }
    group = {
        "season": (str, None),
        "region": (str, None),
        "window": [[_COUNT]],
        "scalings": [_of(Scaling, OPTIONAL)],
        "driver_scalings": [_of(Scaling, OPTIONAL)],
        "calendar": _of(Calendar),
    }
    schema = {
        "config": _config_schema(),
        "seasons": (None, {REST: [Between(1, 12)]}),
        "about": _about_schema(),
        "labels": [labels],
        "drivers": [str],
        "own": [Between(-1, 1000)],
        "groups": {REST: group},
    }
    check(facts, schema, "config.json")
    _check_lengths(facts)


def _about_schema() -> dict[str, Any]:
    return {
        "coarse_units": [(str, None)],
        "fine_period": [str],
        "coarse_period": [str],
        "days": [_COUNT],
        "step": Between(1, 2**40),
        "fingerprint": str,
        "seed": int,
        "version": str,
        "pairing": str,
        "pairing_reason": str,
        "skill": {REST: float},
        "encoder?": {REST: {REST: (str, [str])}},
        "forecast?": [float],
        REST: (str, float, None, [str], [float]),
    }


def _config_schema() -> dict[str, Any]:
    """Return what a configuration may hold, from the type hints of its sections."""
    hints = typing.get_type_hints(DownscalerConfig)
    found: dict[str, Any] = {}
    for name, hint in hints.items():
        found[f"{name}?"] = (
            {f"{key}?": shape for key, shape in _of(hint).items()}
            if dataclasses.is_dataclass(hint)
            else str
        )
    # of a method's own: its dataclass looks at them
    found["options?"] = {REST: (str, bool, int, float, None, [str], [float])}
    return found


def _of(kind: Any, optional: Collection[str] = ()) -> dict[str, Any]:
    """Return the schema of a dataclass or named tuple; some of its fields may be absent."""
    hints = {k: v for k, v in typing.get_type_hints(kind).items() if not k.startswith("_")}
    return {
        f"{name}?" if name in optional else name: of_hint(hint, _WHOLE)
        for name, hint in hints.items()
    }


def _check_lengths(facts: Mapping[str, Any]) -> None:
    targets = len(facts["labels"])
    drivers = len(facts["drivers"])
    network = facts["config"].get("network", {})
    about = facts["about"]
    levels = max(len(network.get(n, ())) for n in ("channels", "encoder_channels"))
    found = {
        "fine variables": (targets, targets or 1),
        "coarse variables": (drivers, drivers or 1),
        "groups": (len(facts["groups"]), len(facts["groups"]) or 1),
        "drivers of targets": (len(facts["own"]), targets),
        "levels of a network": (levels, min(levels, _LEVELS)),
        "units": (len(about["coarse_units"]), drivers),
        "ends of the fine period": (len(about["fine_period"]), 2),
        "ends of the coarse period": (len(about["coarse_period"]), 2),
        "numbers of days": (len(about["days"]), 2),
        "scores of the forecast": (len(about.get("forecast", (0, 0))), 2),
    }
    for name, group in facts["groups"].items():
        spans = [len(span) for span in group["window"]]
        found[f"window of {name!r}"] = (spans.count(2) if len(spans) == 2 else -1, 2)
        found[f"scalings of {name!r}"] = (len(group["scalings"]), targets)
        found[f"driver scalings of {name!r}"] = (len(group["driver_scalings"]), drivers)
    for what, (count, wanted) in found.items():
        _require(count == wanted, f"config.json has {count} {what}, not {wanted}")
    _require(max(facts["own"]) < drivers, f"config.json names driver {max(facts['own'])}")


def check_fitted(fitted: Fitted, weights: Iterable[str]) -> None:
    """Raise unless the parts of a model agree; weights are checked before a network is built.

    Parameters
    ----------
    fitted : Fitted
        The model as it was read.
    weights : iterable of str
        Names of all arrays of weights that the file holds.

    Raises
    ------
    ModelFormatError
        Says which part does not agree.
    """
    _require(fitted.carried.ndim == 3, f"the carried fields have {fitted.carried.ndim} axes")
    _require(fitted.coarse_grid.ndim == 2, f"the coarse grid has {fitted.coarse_grid.ndim} axes")
    _require(fitted.carried.size > 0, "the carried fields are empty")
    _check_few(fitted.coarse_grid.coords, "coarse grid")
    _check_few(fitted.carried.coords, "carried fields")
    for labels in fitted.targets:
        named = {labels.axes.y, labels.axes.x}
        held = set(map(str, labels.coords.dims))
        _require(named <= held, f"the grid has the dimensions {sorted(held)}, not {sorted(named)}")
        _check_coords(labels, fitted.carried)
    used = {f"{name}/{key}" for name, model in fitted.models.items() for key in model.state}
    extra = sorted(set(weights) - used)
    _require(not extra, f"the weights {extra[:1]} belong to no group")
    for name, model in fitted.models.items():
        _check_arrays(fitted, name, model)
        drift.Reference.from_state(model.state)
        fitted.method.check_state(model.state, fitted.config, sizes_of(fitted, model))
    for seasons in fitted.by_region().values():
        _check_weights([model.weight for model in seasons.values()])


def _check_weights(weights: Sequence[npt.NDArray[np.float32]]) -> None:
    """Raise unless a region counts in its own cells, and in the same ones in every season."""
    first = weights[0]
    sound = np.isfinite(first).all() and first.min() >= 0 and 0.5 <= first.max() <= 1
    _require(bool(sound), "a region's weights are not from 0 to 1, or nowhere a half or more")
    same = all(np.array_equal(each, first) for each in weights)
    _require(same, "a region has other weights in one season than in another")


def _check_few(coords: Collection[Any], what: str) -> None:
    """Raise where a grid has so many coordinates that finding its axes takes minutes."""
    count = len(coords)
    _require(count <= _COORDINATES, f"the {what} has {count} coordinates, more than {_COORDINATES}")


def _check_coords(labels: Labels, carried: xr.DataArray) -> None:
    """Raise unless every coordinate of a grid lies on its dimensions, which have its sizes."""
    _check_few(labels.coords.variables, "fine grid")
    sizes = dict(zip((labels.axes.y, labels.axes.x), carried.shape[1:], strict=True))
    for name, coordinate in labels.coords.variables.items():
        off = [dim for dim in coordinate.dims if dim not in labels.dims]
        _require(not off, f"the coordinate {str(name)[:40]!r} has the dimension {off[:1]}")
        odd = {dim: n for dim, n in coordinate.sizes.items() if n != sizes.get(str(dim), n)}
        _require(not odd, f"the coordinate {str(name)[:40]!r} has the sizes {odd}, not {sizes}")


def _check_arrays(fitted: Fitted, name: str, model: GroupModel) -> None:
    rows, columns = model.group.window
    shape = tuple(fitted.carried.shape[1:])
    inside = 0 <= rows.start < rows.stop <= shape[0] and 0 <= columns.start < columns.stop
    _require(inside and columns.stop <= shape[1], f"the window of group {name!r} leaves the grid")
    window = (rows.stop - rows.start, columns.stop - columns.start)
    shapes = {
        "weight": (np.shape(model.weight), window),
        "mask": (np.shape(model.masks), (len(fitted.targets), *window)),
        "static": (np.shape(model.static), (len(model.static), *window)),
    }
    for what, (found, wanted) in shapes.items():
        _require(found == wanted, f"{what!r} of group {name!r} has shape {found}, not {wanted}")
    count = len(model.maps)
    _require(count in (0, len(fitted.drivers)), f"group {name!r} has {count} quantile maps")
    for key, array in model.state.items():
        _require(array.dtype == np.float32, f"the weights {key!r} are {array.dtype}, not float32")


def _require(true: bool, otherwise: str) -> None:
    if not true:
        raise ModelFormatError(f"{otherwise[0].upper()}{otherwise[1:]}: {_OTHER}")
