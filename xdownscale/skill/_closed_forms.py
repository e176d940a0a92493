"""What baselines are fitted to: closed forms on arrays, which return physical fields for rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.errors import GridError, OptionError, check_option
from xdownscale.models.statistical import (
    MEANS,
    Analogues,
    Bias,
    Choice,
    Dressing,
    Gaussian,
    Predictors,
    choose_mean,
)
from xdownscale.models.statistical.choice import CANDIDATES
from xdownscale.models.statistical.conditional import ConditionalSimulation, KrigingOptions
from xdownscale.preprocessing.block_averages import coarse_blocks
from xdownscale.preprocessing.static_features import covariates
from xdownscale.skill._training import Array, Make, Rows, Training

KINDS = ("auto", "additive", "ratio")
POINT_ESTIMATES = ("auto", *MEANS)
_WITH_ZEROS = ("sqrt", "log1p", "asinh")  # transforms of skewed values, zeros among them


def fit_point(training: Training, name: str, **options: Any) -> Make:
    """Fit one of `MEANS` and return what predicts it.

    Parameters
    ----------
    training : Training
    name : str
        Of the point estimate.
    **options
        Of its ``fit``.

    Returns
    -------
    callable
        Rows -> fields (k, y, x), physical units.
    """
    model = MEANS[name].fit(training.predictors(training.rows), training.fine, **options)
    return lambda rows: training.physical(model.predict(training.predictors(rows)))


def fit_bias(training: Training, kind: str) -> Make:
    """Fit the bias of each cell, additive in transformed units or a ratio in physical ones."""
    check_option("kind of bias", kind, KINDS)
    scaling = training.scaling
    if kind == "auto":
        is_ratio = scaling.transform in _WITH_ZEROS or training.least == 0
        kind = "ratio" if is_ratio and training.least >= 0 else "additive"
    if kind == "additive":
        return fit_point(training, "bias")
    if training.least < 0:
        raise OptionError(
            f"kind='ratio' needs values of 0 or more, and the least of the training days is "
            f"{training.least:.6g}; take kind='additive'."
        )

    def physical(rows: Rows) -> Predictors:
        known = training.predictors(rows)
        return replace(known, driver=training.physical(known.driver))

    fine = scaling.inverse(training.fine)
    model = Bias.fit(physical(training.rows), fine, "ratio")
    return lambda rows: np.maximum(model.predict(physical(rows)), training.least)


def fit_dressed(
    training: Training, mean: str, neighbours: int | None, count: int, seed: int
) -> Make:
    """Fit a point estimate and the residual fields of similar training times."""
    choice = _chosen(training, mean)
    dressing = Dressing.fit(
        choice.out_of_fold[:, None], training.fine[:, None], neighbours=neighbours
    )

    def prepare(known: Predictors) -> list[Any]:
        return [dressing.similar(field[None]) for field in choice.model.predict(known)]

    return _ensemble(training, prepare, dressing.member, count, seed)


def fit_gaussian(training: Training, mean: str, count: int, seed: int) -> Make:
    """Fit a point estimate and correlated noise like its residual."""
    if min(training.fine.shape[1:]) < 2:
        raise GridError(
            "gaussian needs a fine grid of 2 rows and columns or more, for the spectrum of its "
            "noise; take dressed, or analogues."
        )
    choice = _chosen(training, mean)
    noise = Gaussian.fit(choice.out_of_fold[:, None], training.fine[:, None], training.following)

    def member(given: Any, seed: int, realization: int, key: int) -> Array:
        return noise.member(given, seed, realization, key, step=training.step)

    def prepare(known: Predictors) -> list[Any]:
        return [field[None] for field in choice.model.predict(known)]

    return _ensemble(training, prepare, member, count, seed)


def fit_analogues(
    training: Training,
    neighbours: int | None,
    components: int | None,
    kind: str | None,
    count: int,
    seed: int,
) -> Make:
    """Keep the fine fields of the training times, and how similar ones are found."""
    known = training.predictors(training.rows)
    found = Analogues.fit(
        known.coarse,
        known.calendar,
        known.driver[:, None],
        training.fine[:, None],
        neighbours=neighbours,
        components=components,
        kind=kind,
    )

    def prepare(asked: Predictors) -> list[Any]:
        days = zip(asked.coarse, asked.calendar, asked.driver, strict=True)
        return [(found.similar(coarse, season), driver[None]) for coarse, season, driver in days]

    def member(given: Any, seed: int, realization: int, key: int) -> Array:
        near, driver = given
        return found.member(near, driver, seed, realization, key)

    return _ensemble(training, prepare, member, count, seed)


def fit_kriging(
    training: Training,
    options: KrigingOptions,
    static: xr.DataArray | xr.Dataset | None,
    count: int | None,
    seed: int,
) -> Make:
    """Fit trend and variogram, and solve for kriging weights; `count` simulations, or the mean."""
    grid = training.record.grid
    # that the coarse grid covers the fine one was checked where it was interpolated
    blocks = coarse_blocks(training.grid, grid, "nearest")
    layers = None if static is None else covariates(static, grid)
    model = ConditionalSimulation.fit(
        blocks,
        training.own_fields(training.rows),
        training.fine,
        options,
        layers,
        training.following,
    )

    def make(rows: Rows) -> Array:
        mean = np.stack([model.predict(field) for field in training.own_fields(rows)])
        if count is None:
            return training.physical(mean)
        keys = training.keys[rows].tolist()
        errors = [model.error(seed, number, keys, step=training.step) for number in range(count)]
        return training.physical(mean + np.stack(errors))

    return make


def _chosen(training: Training, mean: str) -> Choice:
    """Fit the point estimate that is asked for, or has the smallest held-out error."""
    check_option("mean", mean, POINT_ESTIMATES)
    candidates = CANDIDATES if mean == "auto" else (mean,)
    return choose_mean(training.predictors(training.rows), training.fine, candidates)


def _ensemble(
    training: Training,
    prepare: Callable[[Predictors], list[Any]],
    member: Callable[[Any, int, int, int], Array],
    count: int,
    seed: int,
) -> Make:
    """Return what generates members (realization, k, y, x) of some rows, physical units."""

    def make(rows: Rows) -> Array:
        given = prepare(training.predictors(rows))
        keys = training.keys[rows].tolist()
        fields = [
            [member(each, seed, realization, key)[0] for each, key in zip(given, keys, strict=True)]
            for realization in range(count)
        ]
        return training.physical(np.array(fields, np.float32))

    return make
