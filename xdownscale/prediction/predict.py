"""From a fitted model and a coarse record to labelled fine fields."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import config as config_
from xdownscale.core.coords import Labels, from_array, to_array
from xdownscale.core.errors import XDownscaleWarning
from xdownscale.core.time import months, time_keys
from xdownscale.fitting import drift
from xdownscale.fitting.fitted_model import Fitted, GroupModel
from xdownscale.models import engine, field_engine
from xdownscale.models.networks import field_unet
from xdownscale.models.networks import weights as weights_
from xdownscale.models.training import crop_dataset
from xdownscale.prediction import constraints, rollout
from xdownscale.prediction.blending import Blend
from xdownscale.prediction.constraints import cells_on
from xdownscale.prediction.plan import FloatArray, IntArray, Plan
from xdownscale.prediction.request import Order, check_drivers, settle
from xdownscale.preprocessing import features, validation
from xdownscale.preprocessing.calendar_features import cycle_numbers, warn_outside
from xdownscale.preprocessing.features import place_on

Models = dict[str | None, GroupModel]
_BLOCK = 64  # days that are constrained at once
Drawn = Iterator[tuple[IntArray, FloatArray, npt.NDArray[np.bool_]]]


State = dict[str | None, rollout.Carry]  # of each region


def draw_maps(
    fitted: Fitted, coarse: xr.DataArray | xr.Dataset, order: Order
) -> xr.DataArray | xr.Dataset:
    """Draw fine fields for days of a coarse record, now.

    Parameters
    ----------
    fitted : Fitted
        What was learnt.
    coarse : DataArray or Dataset
        Coarse record on the grid that the model was fitted with, with all of its drivers.
    order : Order
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
    plan = make_plan(fitted, coarse, order)
    return label(plan, draw_array(plan, {}))


def make_plan(
    fitted: Fitted, coarse: xr.DataArray | xr.Dataset, order: Order, *, values: bool = True
) -> Plan:
    """Check what was asked for against record and model; see `draw_maps`.

    Parameters
    ----------
    fitted, coarse, order
        As for `draw_maps`.
    values : bool
        Look at values of the coarse record too, not only at its labels.
    """
    order = settle(fitted, order)
    plan = Plan(fitted, check_drivers(fitted, coarse, values), order)
    _warn_cold(plan)
    if not plan.whole:
        warn_outside(next(iter(fitted.models.values())).calendar, plan.time[plan.targets])
    return plan


def draw_array(plan: Plan, state: State) -> FloatArray:
    """Draw what a plan says.

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
    fitted, order = plan.fitted, plan.order
    history, blank = plan.history(), _blank(plan)
    domain, count = fitted.carried.shape[1:], len(fitted.targets)
    out = np.full((order.realizations, plan.targets.size, count, *domain), np.nan, np.float32)
    blend = Blend(fitted)
    for name, models in fitted.by_region().items():
        window, weights = _one(models).group.window, blend.weights[name]
        part = out[(..., *window)]
        carry = state.setdefault(name, rollout.Carry())
        for rows, fields, masks in _draw_region(plan, models, history, carry):
            into = np.searchsorted(plan.targets, rows)
            blend.add(part, into, fields, np.where(masks, weights, 0.0))
    blend.finish(out)
    out[:, blank] = np.nan
    _constrain(plan, out)
    return out


def label(plan: Plan, fields: Any) -> xr.DataArray | xr.Dataset:
    """Put names on what `draw_array` drew.

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
    coarse_grid = validation.canonical_grid(to_array(plan.coarse).labels)
    lattice = cells_on(coarse_grid, plan.fitted.carried.isel(time=0, drop=True))
    for target, own in enumerate(plan.fitted.own):
        if own < 0 and kind in config_.CONSISTENT:
            continue
        coarse = to_array(plan.drivers[max(own, 0)]).array
        for start in range(0, plan.targets.size, _BLOCK):
            days = slice(start, start + _BLOCK)
            given = np.asarray(coarse[plan.targets[days]], np.float64)
            out[:, days, target] = constraints.apply(out[:, days, target], given, lattice, kind)


def _draw_region(
    plan: Plan, models: Models, history: dict[int, FloatArray], carry: rollout.Carry
) -> Drawn:
    """Yield rows, physical fields ``(realization, k, t, y, x)`` and the masks they are valid on."""
    if plan.parallel:
        yield from _draw_parallel(plan, models)
        return
    if plan.whole:
        yield from _draw_chained(plan, models, history, carry)
        return
    window = _one(models).group.window
    sources = {season: _source(plan, model) for season, model in models.items()}
    local = {row: field[window] for row, field in history.items()}
    season_of = plan.season_of(models)
    request = _request(plan, _one(models))
    if plan.order.mode == "teacher_forced":
        rows = plan.targets[plan.complete[plan.targets]]
        for season, source in sources.items():
            chosen = rows[[season_of[row] == season for row in rows]]
            for drawn, fields in rollout.teacher_forced(source, local, chosen, request):
                yield drawn, fields[:, :, None], models[season].masks
        return
    for run in plan.runs:
        by_row = {int(row): sources[season_of[row]] for row in run}
        for drawn, fields in rollout.autoregressive(by_row, local, run, request, carry):
            if np.isin(drawn, plan.targets).all():
                yield drawn, fields[:, :, None], models[season_of[drawn[0]]].masks


def _draw_parallel(plan: Plan, models: Models) -> Drawn:
    """Yield the same as `_draw_region`, every day for itself."""
    rows = plan.targets[plan.complete[plan.targets]]
    season_of, request = plan.season_of(models), _request(plan, _one(models))
    for season, model in models.items():
        chosen = rows[[season_of[row] == season for row in rows]]
        source = _field_source(plan, model, request.device)
        for drawn, fields in rollout.parallel(source, chosen, request):
            yield drawn, fields, model.masks


def _draw_chained(
    plan: Plan, models: Models, history: dict[int, FloatArray], carry: rollout.Carry
) -> Drawn:
    """Yield the same as `_draw_region`, from a model that sees fine fields of days before."""
    window, request = _one(models).group.window, _request(plan, _one(models))
    local = {row: field[window] for row, field in history.items()}
    sources = {s: _field_source(plan, model, request.device) for s, model in models.items()}
    season_of = plan.season_of(models)
    if plan.order.mode == "teacher_forced":
        rows = plan.targets[plan.complete[plan.targets]]
        for season, source in sources.items():
            chosen = rows[[season_of[row] == season for row in rows]]
            for drawn, fields in rollout.forced(source, local, chosen, request):
                yield drawn, fields, source.masks
        return
    for run in plan.runs:
        by_row = {int(row): sources[season_of[row]] for row in run}
        first = {int(row): local[row] for row in plan.lag_rows[run[0]] if row in local}
        for drawn, fields in rollout.stepwise(by_row, first, run, request, carry):
            if np.isin(drawn, plan.targets).all():
                yield drawn, fields, by_row[int(drawn[0])].masks


def _field_source(plan: Plan, model: GroupModel, device: str) -> rollout.FieldSource:
    fitted, config = plan.fitted, plan.fitted.config
    calendar, grid = cycle_numbers(plan.time, plan.step), _window_grid(plan, model)
    drivers, coarse = (
        list(zip(plan.drivers, model.driver_scalings, strict=True)),
        _days(plan, model),
    )
    on_fine = [
        features.driver(da, grid, scaling, config.data, days)
        for (da, scaling), days in zip(drivers, coarse, strict=True)
    ]
    days = config.data.window + 1 + config.data.after
    sizes = field_unet.Channels(
        lags=config.data.lags * len(drivers),
        known=crop_dataset.known_channels(days, len(drivers), fitted.own, config.data.fine_lags)
        + len(model.static),
        calendar=calendar.shape[1],
        targets=len(fitted.targets),
    )
    return rollout.FieldSource(
        model=model.once(
            ("fields", device, config.sampling.compile),
            lambda: field_engine.load_fields(model.state, config, sizes, device),
        ),
        scalings=model.scalings,
        driver=features.stack(on_fine),
        coarse=features.stack(coarse),
        own=fitted.own,
        windows=plan.window,
        lags=plan.before,
        calendar=calendar,
        static=model.static,
        place=model.once(
            "place",
            lambda: place_on(validation.canonical_grid(to_array(plan.coarse).labels), grid),
        ),
        masks=model.masks,
        reference=drift.Reference.from_state(model.state),
        group=model.group.name,
    )


def _days(plan: Plan, model: GroupModel) -> list[features.Days]:
    """Return the drivers on their own grid, scaled, in the climate that the model knows."""
    parts = zip(plan.drivers, model.driver_scalings, strict=True)
    days = [features.scaled_coarse(*part) for part in parts]
    if not model.maps:
        return days
    number = months(plan.time)
    return [
        features.mapped(part, fitted, number) for part, fitted in zip(days, model.maps, strict=True)
    ]


def _window_grid(plan: Plan, model: GroupModel) -> xr.DataArray:
    """Return the group's part of the fine grid."""
    carried = plan.fitted.carried
    return carried.isel(dict(zip(carried.dims, (0, *model.group.window), strict=True)), drop=True)


def _source(plan: Plan, model: GroupModel) -> rollout.Source:
    config, calendar = plan.fitted.config, model.calendar.channels(plan.time)
    grid = _window_grid(plan, model)
    sizes = weights_.Sizes(static=model.static.shape[0], calendar=calendar.shape[1])
    (days,) = _days(plan, model)
    driver = features.driver(plan.coarse, grid, model.scaling, config.data, days)
    return rollout.Source(
        networks=model.once("patches", lambda: engine.load(model.state, config, sizes)),
        scaling=model.scaling,
        driver=driver.through(plan.stand_in),
        calendar=calendar,
        static=model.static,
        mask=model.mask,
    )


def _request(plan: Plan, model: GroupModel) -> rollout.Request:
    rows, columns = model.group.window
    return rollout.Request(
        config=plan.fitted.config,
        keys=time_keys(plan.time),
        members=plan.order.members,
        seed=plan.order.seed,
        stitching=plan.order.stitching or "whole",
        device=plan.order.device,
        step=plan.step,
        corner=(rows.start, columns.start),
        domain=(plan.fitted.carried.shape[1], plan.fitted.carried.shape[2]),
    )


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
    cold = plan.cold_starts() if plan.order.mode == "autoregressive" else 0
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
        np.array(plan.order.members),
        dims="realization",
        attrs={"standard_name": "realization", "units": "1"},
    )
    labels = names.with_time(time).with_leading("realization", number)
    line = (
        f"xdownscale {fitted.about.version}: {plan.order.mode} prediction, seed "
        f"{plan.order.seed}, model {fitted.about.fingerprint[:12]}"
    )
    before = labels.attrs.get("history")
    attrs = {**labels.attrs, "history": f"{before}\n{line}" if before else line}
    return from_array(fields, labels._replace(attrs=attrs))


def _one(models: Models) -> GroupModel:
    return next(iter(models.values()))
