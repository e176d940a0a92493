"""From a fitted model and a coarse record to labelled fine fields."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.config import CONSISTENT
from xdownscale.core.coords import Labels, from_array
from xdownscale.core.errors import XDownscaleWarning
from xdownscale.core.time import months
from xdownscale.fitting import drift
from xdownscale.fitting.fitted_model import Fitted, GroupModel, sizes_of
from xdownscale.prediction import constraints, rollout
from xdownscale.prediction.blending import Blend
from xdownscale.prediction.constraints import cells_on
from xdownscale.prediction.plan import FloatArray, IntArray, Plan
from xdownscale.prediction.request import Request, check_drivers, settle
from xdownscale.prediction.rollout import Carry, GroupSampler
from xdownscale.preprocessing import features
from xdownscale.preprocessing.calendar_features import calendar_numbers, warn_outside
from xdownscale.preprocessing.features import place_on

Models = dict[str | None, GroupModel]
_BLOCK = 64  # days that are constrained at once
Generated = Iterator[tuple[IntArray, FloatArray, npt.NDArray[np.bool_]]]


State = dict[str | None, Carry]  # of each region


def predict_maps(
    fitted: Fitted, coarse: xr.DataArray | xr.Dataset, request: Request
) -> xr.DataArray | xr.Dataset:
    """Generate fine fields for time steps of a coarse record, now.

    Parameters
    ----------
    fitted : Fitted
        What was learnt.
    coarse : DataArray or Dataset
        Coarse record on the grid that the model was fitted with, with all of its drivers.
    request : Request
        Days, number of realizations, mode.

    Returns
    -------
    DataArray or Dataset
        ``realization`` first, then the dimensions of the fine record; physical units. A Dataset
        where there are several targets.

    Raises
    ------
    ModelMismatchError, TimeAxisError
        See `xdownscale.predict`.
    """
    plan = make_plan(fitted, coarse, request)
    return label(plan, predict_array(plan, {}))


def make_plan(
    fitted: Fitted, coarse: xr.DataArray | xr.Dataset, request: Request, *, values: bool = True
) -> Plan:
    """Check what was asked for against record and model; see `predict_maps`.

    Parameters
    ----------
    fitted, coarse, request
        As for `predict_maps`.
    values : bool
        Look at values of the coarse record too, not only at its labels.
    """
    request = settle(fitted, request)
    plan = Plan(fitted, check_drivers(fitted, coarse, values), request)
    _warn_cold(plan)
    if plan.method.calendar == "period":
        warn_outside(next(iter(fitted.models.values())).calendar, plan.time[plan.targets])
    return plan


def predict_array(plan: Plan, state: State) -> FloatArray:
    """Generate the fields of a plan.

    Parameters
    ----------
    plan : Plan
        From `make_plan`.
    state : dict
        What the run before handed on, for each region, where days are drawn one after another;
        empty at the start. Kept up to date.

    Returns
    -------
    (realization, day, target, y, x) float32 array
        Physical units; latitude and longitude ascend.
    """
    fitted, request = plan.fitted, plan.request
    history, blank = plan.history(), _blank(plan)
    domain, count = fitted.carried.shape[1:], len(fitted.targets)
    out = np.full((request.realizations, plan.targets.size, count, *domain), np.nan, np.float32)
    blend = Blend(fitted)
    for name, models in fitted.by_region().items():
        window, weights = _one(models).group.window, blend.weights[name]
        part = out[(..., *window)]
        carry = state.setdefault(name, Carry())
        for rows, fields, masks in _region(plan, models, history, carry):
            into = np.searchsorted(plan.targets, rows)
            blend.add(part, into, fields, np.where(masks, weights, 0.0))
    blend.finish(out)
    out[:, blank] = np.nan
    _constrain(plan, out)
    return out


def label(plan: Plan, fields: Any) -> xr.DataArray | xr.Dataset:
    """Label the fields of `predict_array`.

    Parameters
    ----------
    plan : Plan
        The plan that was followed.
    fields : (realization, day, target, y, x) array
        numpy or dask.
    """
    targets = enumerate(plan.fitted.targets)
    drawn = [_label(plan, labels, fields[:, :, k]) for k, labels in targets]
    return drawn[0] if len(drawn) == 1 else xr.Dataset({da.name: da for da in drawn})


def _constrain(plan: Plan, out: FloatArray) -> None:
    """Make drawn fields obey the constraint of the model, in place."""
    kind = plan.fitted.config.sampling.constraint
    if kind is None:
        return
    lattice = cells_on(plan.coarse.grid, plan.fitted.carried.isel(time=0, drop=True))
    for target, own in enumerate(plan.fitted.own):
        if own < 0 and kind in CONSISTENT:
            continue
        coarse = plan.drivers[max(own, 0)].array
        for start in range(0, plan.targets.size, _BLOCK):
            days = slice(start, start + _BLOCK)
            given = np.asarray(coarse[plan.targets[days]], np.float64)
            out[:, days, target] = constraints.apply(out[:, days, target], given, lattice, kind)


def _region(plan: Plan, models: Models, history: dict[int, FloatArray], carry: Carry) -> Generated:
    """Yield rows, physical fields ``(realization, k, t, y, x)`` and the masks they are valid on."""
    window = _one(models).group.window
    local = {row: field[window] for row, field in history.items()}
    season_of = plan.season_of(models)
    sources = {season: _source(plan, model) for season, model in models.items()}
    if plan.request.mode == "autoregressive":
        yield from _runs(plan, sources, local, carry, season_of)
        return
    rows = plan.targets[plan.complete[plan.targets]]
    for season, source in sources.items():
        chosen = rows[[season_of[row] == season for row in rows]]
        if plan.parallel:
            generated = rollout.parallel(source, chosen)
        else:
            generated = rollout.teacher_forced(source, local, chosen)
        for done, fields in generated:
            yield done, fields, source.masks


def _runs(
    plan: Plan,
    sources: dict[str | None, GroupSampler],
    history: dict[int, FloatArray],
    carry: Carry,
    season_of: list[str | None],
) -> Generated:
    """Yield the same as `_region`, run by run."""
    for run in plan.runs:
        by_row = {int(row): sources[season_of[row]] for row in run}
        first = {int(row): history[row] for row in plan.lag_rows[run[0]] if row in history}
        for done, fields in rollout.autoregressive(by_row, first, run, carry):
            if np.isin(done, plan.targets).all():
                yield done, fields, by_row[int(done[0])].masks


def _source(plan: Plan, model: GroupModel) -> GroupSampler:
    """Return the sampler of a group, and what it knows of every time step."""
    fitted = plan.fitted
    config = fitted.config
    grid = _window_grid(plan, model)
    coarse = _coarse_fields(plan, model)
    on_fine = [
        features.driver(da, grid, scaling, config.data, days)
        for da, scaling, days in zip(plan.drivers, model.driver_scalings, coarse, strict=True)
    ]
    sizes = sizes_of(fitted, model)
    device = plan.request.device
    rows, columns = model.group.window
    return GroupSampler(
        method=plan.method,
        sampler=model.once(
            ("sampler", device, config.sampling.compile),
            lambda: plan.method.load(model.state, config, sizes, device),
        ),
        config=config,
        request=plan.request,
        scalings=model.scalings,
        driver=features.stack(on_fine),
        coarse=features.stack(coarse),
        own=fitted.own,
        windows=plan.window,
        lags=plan.before,
        keys=plan.keys,
        step=plan.step,
        calendar=calendar_numbers(plan.method.calendar, model.calendar, plan.time, plan.step),
        static=model.static,
        place=model.once(
            "place",
            lambda: place_on(plan.coarse.grid, grid),
        ),
        masks=model.masks,
        corner=(rows.start, columns.start),
        domain=(fitted.carried.shape[1], fitted.carried.shape[2]),
        reference=drift.Reference.from_state(model.state),
        group=model.group.name,
    )


def _coarse_fields(plan: Plan, model: GroupModel) -> list[features.Days]:
    """Return the drivers on their own grid, scaled, in the climate that the model knows."""
    parts = zip(plan.drivers, model.driver_scalings, strict=True)
    fields = [features.scaled_coarse(*part) for part in parts]
    if not model.maps:
        return fields
    number = months(plan.time)
    return [
        features.mapped(part, fitted, number)
        for part, fitted in zip(fields, model.maps, strict=True)
    ]


def _window_grid(plan: Plan, model: GroupModel) -> xr.DataArray:
    """Return the group's part of the fine grid."""
    carried = plan.fitted.carried
    return carried.isel(dict(zip(carried.dims, (0, *model.group.window), strict=True)), drop=True)


def _blank(plan: Plan) -> npt.NDArray[np.bool_]:
    """Which targets come out NaN for want of a driver; says how many."""
    limit = plan.fitted.config.data.max_missing
    blank = np.asarray(~plan.complete[plan.targets])
    if blank.any():
        warnings.warn(
            f"{int(blank.sum())} of {blank.size} days come out NaN: more than {limit:.0%} of their "
            f"coarse field is missing, or one of the {plan.lags} days before them is not in the "
            "coarse record.",
            XDownscaleWarning,
            stacklevel=5,
        )
    return blank


def _warn_cold(plan: Plan) -> None:
    cold = plan.cold_starts() if plan.request.mode == "autoregressive" else 0
    if cold:
        gaps = plan.gaps()
        found = f" The coarse record lacks days: {gaps}." if gaps else ""
        remedy = ", or the days that lack" if gaps else ""
        warnings.warn(
            f"{cold} of {len(plan.runs)} runs start cold: the history has not all of the "
            f"{plan.steps} fine fields before their first day, and the interpolated coarse record "
            f"stands in for them.{found} Give history=<a fine record that ends the day before>"
            f"{remedy}.",
            XDownscaleWarning,
            stacklevel=5,
        )


def _label(plan: Plan, names: Labels, fields: Any) -> xr.DataArray:
    """Put the names of a fine variable on ``(realization, time, y, x)`` fields."""
    fitted, time = plan.fitted, plan.time[plan.targets]
    number = xr.DataArray(
        np.array(plan.request.members),
        dims="realization",
        attrs={"standard_name": "realization", "units": "1"},
    )
    labels = names.with_time(time).with_leading("realization", number)
    line = (
        f"xdownscale {fitted.about.version}: {plan.request.mode} prediction, seed "
        f"{plan.request.seed}, model {fitted.about.fingerprint[:12]}"
    )
    before = labels.attrs.get("history")
    attrs = {**labels.attrs, "history": f"{before}\n{line}" if before else line}
    return from_array(fields, labels._replace(attrs=attrs))


def _one(models: Models) -> GroupModel:
    return next(iter(models.values()))
