"""What `xdownscale.inspect` shows: two records, what would be trained on them, and all faults."""

from __future__ import annotations

import html
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.core import grids, units
from xdownscale.core import time as time_axis
from xdownscale.core.blocks import is_lazy
from xdownscale.core.cells import Cells, cells_of
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import XDownscaleError
from xdownscale.fitting.faults import KINDS, Asked, Collector, find_faults, split_variables
from xdownscale.fitting.fit import Prepared, group_sizes, prepare
from xdownscale.fitting.training_data import PARTS, quantile_maps, training_data
from xdownscale.models.training.plan import StageCost, describe, duration
from xdownscale.models.training.run import TrainingRun

_LOOK = 64  # time steps that missing values and ranges are taken from


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `xdownscale.inspect` found; shown as a table.

    Attributes
    ----------
    records : DataFrame
        A row for each fact, columns ``coarse`` and ``fine``.
    together : Series
        Facts of both records, and of the training.
    faults : DataFrame
        A row for each fault: ``check``, ``message``, ``code``; empty where `fit` would begin.
    """

    records: pd.DataFrame
    together: pd.Series
    faults: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether `fit` would begin."""
        return self.faults.empty

    def __repr__(self) -> str:
        lines = [self.records.to_string(), "", *(f"{k}: {v}" for k, v in self.together.items())]
        return "\n".join([*lines, "", *_lines(self.faults)])

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
            tables = [each.to_html() for each in (self.records, self.together.to_frame(""))]
        said = "".join(f"<pre>{html.escape(line)}</pre>" for line in _lines(self.faults))
        return f"<div>{''.join(tables)}{said}</div>"


def _lines(faults: pd.DataFrame) -> list[str]:
    """Return the faults as a reader sees them."""
    if faults.empty:
        return ["No fault: fit would begin."]
    lines = [f"{len(faults)} fault{'s' if len(faults) > 1 else ''} to mend before fit:"]
    for number, (check, message, code) in enumerate(faults.itertuples(index=False), start=1):
        lines.append(f"{number}. {check}: {message}")
        lines += [f"   {code}"] if code else []
    return lines


def inspect_records(
    coarse: xr.DataArray | xr.Dataset,
    fine: xr.DataArray | xr.Dataset,
    static: xr.DataArray | xr.Dataset | None,
    asked: Asked,
    *,
    device: str,
    measure: bool,
) -> Inspection:
    """Return what `fit` would find in two records; see `xdownscale.inspect` for the parameters."""
    faults = find_faults(coarse, fine, static, asked)
    together: dict[str, str] = {"method": asked.config.method}
    if not faults:
        seen = Collector()
        ready = seen.attempt("training", prepare, coarse, fine, static, asked, None)
        if ready is not None:
            together |= _ready(ready)
            if measure:
                together |= seen.attempt("cost", estimate, ready, asked, device) or {}
        faults = seen.faults
    rows = [(fault.check, fault.message, fault.code) for fault in faults]
    return Inspection(
        records=describe_records(coarse, fine),
        together=pd.Series(together, dtype=object),
        faults=pd.DataFrame(rows, columns=["check", "message", "code"], dtype=object),
    )


def _ready(ready: Prepared) -> dict[str, str]:
    """Return facts of records that can be trained on."""
    pair = ready.pair
    first = ready.datasets[0]
    fine, coarse = (record.grid for record in (pair.fine, pair.coarse))
    areas = [float(grids.area(grid).mean()) for grid in (coarse, fine)]
    split = [sum(getattr(d.split, part).size for d in ready.datasets) for part in PARTS]
    days = ", ".join(f"{n:,} {part}" for n, part in zip(split, PARTS, strict=True))
    scalings = zip(pair.targets, first.scalings, strict=True)
    return {
        "common time steps": f"{pair.rows.size:,}",
        "refinement": f"{np.sqrt(areas[0] / areas[1]):.3g} times in each direction",
        "pairing": f"{pair.pairing} ({pair.reason})",
        "transform": "; ".join(f"{t.name}: {s.reason or s.transform}" for t, s in scalings),
        "groups": ", ".join(dataset.group.name for dataset in ready.datasets),
        "time steps": days,
        **_patches(ready),
    }


def _patches(ready: Prepared) -> dict[str, str]:
    """Say how many patches or crops of a field a method is trained on."""
    data = ready.config.data
    used = ready.datasets[0].method.uses.get("data", frozenset())
    shape = ready.datasets[0].grid.shape
    sides = " x ".join(map(str, shape))
    if "patch_size" in used:
        size, stride = data.patch_size, data.patch_stride
        count = np.prod([max((n - size) // stride + 1, 0) for n in shape])
        return {"patches": f"about {count:,} of {size} x {size} pixels, of a field of {sides}"}
    if "crop" in used:
        size = min(data.crop, *shape)
        return {"crops": f"{size} x {size} pixels, of a field of {sides}"}
    return {}


def estimate(ready: Prepared, asked: Asked, device: str) -> dict[str, str]:
    """Measure what training costs here, on a batch of each kind of stage.

    Parameters
    ----------
    ready : Prepared
        Checked records.
    asked : Asked
        Options.
    device : str
        As for `xdownscale.fit`.
    """
    first = ready.datasets[0]
    data = training_data(first, quantile_maps(first))
    arrays = (data.coarse, data.driver, data.fine)
    held = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray)) / 1e6
    memory = f"{held:,.3g} MB of records in memory"
    run = TrainingRun(config=ready.config, seed=asked.seed, device=device)
    stages = first.method.plan(data, run)
    if not stages:
        return {"cost": "closed forms: seconds to minutes", "memory": memory}
    from xdownscale.models.device import resolve_device
    from xdownscale.models.training.cost import measure

    before = _peak()
    costs = measure(stages, ready.config.training, None, resolve_device(device))
    if grown := _peak() - before:
        memory += f", {grown:,.3g} MB or more for a batch"
    return {"stages": describe(costs), "cost": _cost(costs, ready, device), "memory": memory}


def _cost(costs: list[StageCost], ready: Prepared, device: str) -> str:
    total = sum(cost.total for cost in costs) * sum(group_sizes(ready.datasets))
    said = f"about {duration(total)} of training at most on this machine"
    limit = ready.config.training.max_minutes
    if limit is not None and total > 60 * limit:
        said += f"; stopped after {limit:g} min (max_minutes)"
    return f"{said}; reading, closed forms and calibration come on top"


def _peak() -> float:
    """Return the most memory that the process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def describe_records(
    coarse: xr.DataArray | xr.Dataset, fine: xr.DataArray | xr.Dataset
) -> pd.DataFrame:
    """Return facts of two records, a column for each.

    Parameters
    ----------
    coarse, fine : DataArray or Dataset
        Missing values and ranges are those of up to 64 time steps, evenly spread.
    """
    columns = {}
    for kind, record in zip(KINDS, (coarse, fine), strict=True):
        parts = split_variables(Collector(), record, kind)
        columns[kind] = _facts(parts)
    return pd.DataFrame(columns).fillna("")


def _facts(parts: Mapping[str, xr.DataArray]) -> dict[str, str]:
    if not parts:
        return {"variables": "none with time, latitude and longitude"}
    first = next(iter(parts.values()))
    return {
        "variables": ", ".join(f"{n} [{units.units_of(da) or '?'}]" for n, da in parts.items()),
        **_time_facts(first),
        **_grid_facts(first),
        "values": "; ".join(map(_range, parts.values())),
        "size": f"{sum(da.nbytes for da in parts.values()) / 1e6:,.3g} MB"
        + (", read when needed" if is_lazy(first.data) else ", in memory"),
    }


def _time_facts(da: xr.DataArray) -> dict[str, str]:
    time = da[str(find_axes(da).time)]
    try:
        numbers = np.unique(time_axis.seconds(time))
    except XDownscaleError:
        return {"times": f"{time.size}, no dates"}
    if numbers.size < 2:
        return {"times": ", ".join([str(time.size), *(str(each)[:19] for each in time.values)])}
    steps = np.diff(numbers)
    step = int(pd.Series(steps).mode().iloc[0])
    gaps = steps > step
    ordered = np.sort(np.asarray(time.values))
    return {
        "times": f"{time.size}, {str(ordered[0])[:16]} to {str(ordered[-1])[:16]}",
        "calendar": time_axis.calendar_of(time),
        "step": time_axis.step_text(time),
        "gaps": f"{int(gaps.sum())}, {int((steps[gaps] // step - 1).sum())} time steps",
    }


def _grid_facts(da: xr.DataArray) -> dict[str, str]:
    try:
        if not find_axes(da).rectilinear:
            return _plane_facts(cells_of(da))
        axes = grids.fingerprint(da)
    except XDownscaleError:
        shape = " x ".join(str(da.sizes[d]) for d in (find_axes(da).y, find_axes(da).x))
        return {"grid": f"{shape}, whose cells are not known"}
    lat, lon = axes["latitude"], axes["longitude"]
    middle = np.deg2rad((lat["first"] + lat["last"]) / 2)
    km = (111.2 * lat["spacing"], 111.2 * lon["spacing"] * np.cos(middle))
    return {
        "grid": f"{lat['size']} x {lon['size']}",
        "spacing": f"{lat['spacing']:g} x {lon['spacing']:g} degrees, {km[0]:.3g} x {km[1]:.3g} km",
        "latitudes": f"{lat['first']:g} to {lat['last']:g}",
        "longitudes": f"{lon['first']:g} to {lon['last']:g}",
    }


def _range(da: xr.DataArray) -> str:
    """Say the range and the share of missing values of some time steps."""
    time = str(find_axes(da).time)
    if not da.size:
        return "none"
    rows = np.unique(np.linspace(0, da.sizes[time] - 1, _LOOK).astype(int))
    values = np.asarray(da.isel({time: rows}).values, dtype=float)
    good = np.isfinite(values)
    seen = "" if rows.size == da.sizes[time] else f" (of {rows.size} time steps)"
    if not good.any():
        return f"all missing{seen}"
    low, middle, high = np.quantile(values[good], (0, 0.5, 1))
    always = float((~good).all(axis=da.dims.index(time)).mean())
    share = 1 - good.mean()
    said = f"{low:.4g} to {high:.4g}, median {middle:.4g}"
    if share:
        said += f", {share:.1%} missing ({always:.1%} of the cells always)"
    return said + seen


def _plane_facts(cells: Cells) -> dict[str, str]:
    """Return facts of a projected or a curvilinear grid."""
    km = [np.radians(step) * grids.EARTH_RADIUS_KM for step in cells.steps]
    kind = cells.kind
    if cells.projection is not None:
        kind = f"{cells.projection.crs.coordinate_operation.method_name} ({kind})"
    latitude, longitude = cells.positions
    return {
        "grid": f"{cells.shape[0]} x {cells.shape[1]}, {kind}",
        "spacing": f"{km[0]:.3g} x {km[1]:.3g} km",
        "latitudes": f"{latitude.min():g} to {latitude.max():g}",
        "longitudes": f"{longitude.min():g} to {longitude.max():g}",
    }
