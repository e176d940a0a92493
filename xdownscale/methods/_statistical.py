"""Base of the statistical methods: closed forms on arrays, without networks and without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xdownscale.config import DownscalerConfig
from xdownscale.core.blas import one_thread
from xdownscale.core.errors import DataError, ModelFormatError, check_option
from xdownscale.methods.base import Floats, Method, Sampler, State, Trained
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.models.statistical import MEANS, Choice, Predictors, Ridge, choose_mean
from xdownscale.models.statistical.choice import CANDIDATES, MeanModel
from xdownscale.models.statistical.predictors import (
    affordable,
    entry,
    grid_indices,
    prefixed,
    under,
)
from xdownscale.models.training.data import Rows, TrainingData, read_coarse_windows, read_rows

if TYPE_CHECKING:
    from xdownscale.models.training.run import TrainingRun

POINT_ESTIMATES = ("auto", *MEANS)
_POSITION = 2  # static fields that are latitude and longitude


def _none() -> Floats:
    return np.empty((0, 0, 0), np.float32)


class StatisticalMethod(Method):
    """Base of the methods that are fitted in closed form.

    They see a window of coarse time steps on the coarse grid, the season and the interpolated
    driver. What has to be chosen is chosen on held-out blocks of time; then all time steps but the
    test part are fitted on.
    """

    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": frozenset({"window", "ahead", "blend"}),
        "sampling": frozenset({"sampler"}),
    }
    blends = True
    networks = False
    sees_coarse_window = True
    holds_out_validation = False

    def knows_cells(self, config: DownscalerConfig) -> bool:
        """Return True: statistics are kept for every cell."""
        return True

    def window(self, config: DownscalerConfig) -> tuple[int, int]:
        """Return ``data.window`` before and ``data.ahead`` after the target."""
        return config.data.window, config.data.after

    def is_stochastic(self, config: DownscalerConfig) -> bool:
        """Return True unless the sampler is ``"mean"``."""
        return config.sampling.sampler != "mean"

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Raise `ModelFormatError` if a state lacks an array, or one has another shape."""
        self.load(state, config, sizes, "cpu")

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Read the known time steps and fit."""
        return self.fit(read_records(data), run.config.options)

    @abstractmethod
    def fit(self, records: Records, options: Any) -> Trained:
        """Fit on known time steps, with the options of the method."""

    @abstractmethod
    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> Sampler:
        """Return a sampler of a trained state; the device does not matter."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """The known time steps of all targets, read into memory, in chronological order.

    Attributes
    ----------
    rows : ndarray of int (n,)
        Of the fine record.
    predictors : tuple of Predictors
        Of each target; they differ in the driver.
    fine : ndarray (n, target, y, x)
        NaN where missing.
    following : ndarray of bool (n - 1,)
        Whether the next row is the next time step.
    censored : tuple of (float, float) or None
        For each target the threshold of dry values and the smallest one; None where it has few.
    own : tuple of int
        For each target its own driver; -1 where it has none.
    static : ndarray (s, y, x)
        Static fields that were given, in [-1, 1].
    blocks : callable or None
        As of `TrainingData`.
    """

    rows: Rows
    predictors: tuple[Predictors, ...]
    fine: Floats
    following: Any
    censored: tuple[tuple[float, float] | None, ...] = ()
    own: tuple[int, ...] = ()
    static: Floats = field(default_factory=_none)
    blocks: Callable[[], Any] | None = None
    _fitted: dict[tuple[str, bool], PointEstimates] = field(default_factory=dict, repr=False)

    @property
    def driver(self) -> Floats:
        """Interpolated drivers of the targets (n, target, y, x)."""
        return np.stack([each.driver for each in self.predictors], axis=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the fine grid."""
        ny, nx = self.fine.shape[-2:]
        return int(ny), int(nx)

    def point_estimates(self, name: str, latent: bool = False) -> PointEstimates:
        """Return the point estimates of all targets; each kind is fitted once.

        Parameters
        ----------
        name : str
            One of `POINT_ESTIMATES`.
        latent : bool
            Fit those of censored targets to latent values.
        """
        latent = latent and any(self.censored)
        if (name, latent) not in self._fitted:
            found = _latent(self, self.point_estimates(name)) if latent else _fit(self, name)
            self._fitted[name, latent] = found
        return self._fitted[name, latent]


def read_records(data: TrainingData, rows: Rows | None = None) -> Records:
    """Read known time steps into memory, as many as it holds.

    Parameters
    ----------
    data : TrainingData
        Records.
    rows : ndarray of int, optional
        Ascending; by default all but those of the test part.

    Raises
    ------
    DataError
        If there is none.
    """
    if rows is None:
        rows = known_rows(data)
    if not rows.size:
        raise DataError(
            "There is no time step to train on: none has a fine field and all coarse fields of its "
            "window. Give longer records, or a smaller data=dict(window=..., lags=...)."
        )
    rows = known_part(rows, data)
    own = read_rows(data.driver, data.windows[rows, 0])
    fine = np.where(data.mask, read_rows(data.fine, rows), np.float32(np.nan))
    coarse = read_coarse_windows(data, rows)
    place = grid_indices(data.place, coarse.shape[-2:])
    predictors = tuple(
        Predictors(
            coarse=coarse,
            calendar=data.calendar[rows],
            driver=own[:, k] if k >= 0 else np.zeros_like(own[:, 0]),
            place=place,
        )
        for k in data.own
    )
    following = np.diff(data.keys[rows]) == data.step
    return Records(
        rows=rows,
        predictors=predictors,
        fine=fine,
        following=following,
        censored=data.censored,
        own=data.own,
        static=data.static[_POSITION:],
        blocks=data.blocks,
    )


def known_rows(data: TrainingData) -> Rows:
    """Return the fine time steps of all parts but the test part, ascending."""
    parts = (data.train_targets, data.stop_targets, data.tune_targets)
    return np.unique(np.concatenate(parts)).astype(np.int64)


def known_part(rows: Rows, data: TrainingData) -> Rows:
    """Return as many time steps as memory holds, evenly spread."""
    seen = data.coarse_windows.shape[1] * int(np.prod(data.coarse.shape[1:]))
    return rows[affordable(rows.size, data.mask.size, seen)]


@dataclass(frozen=True, kw_only=True)
class PointEstimates:
    """Point estimates of all targets, and what they were fitted to.

    Attributes
    ----------
    choices : list of Choice
        One for each target.
    out_of_fold : ndarray (n, target, y, x)
        Predictions for blocks of time that were not fitted on.
    fine : ndarray (n, target, y, x)
        What was fitted to: the known values, or latent ones for those that are censored.
    """

    choices: list[Choice]
    out_of_fold: Floats
    fine: Floats


def _fit(records: Records, name: str) -> PointEstimates:
    """Fit the point estimate of each target, one of `POINT_ESTIMATES`."""
    candidates = CANDIDATES if name == "auto" else (name,)
    choices = [
        choose_mean(predictors, records.fine[:, target], candidates)
        for target, predictors in enumerate(records.predictors)
    ]
    out_of_fold = np.stack([choice.out_of_fold for choice in choices], axis=1)
    return PointEstimates(choices=choices, out_of_fold=out_of_fold, fine=records.fine)


def _latent(records: Records, plain: PointEstimates) -> PointEstimates:
    """Fit the point estimates of censored targets to latent values."""
    choices = list(plain.choices)
    out_of_fold = plain.out_of_fold.copy()
    fine = records.fine.copy()
    for target, ends in enumerate(records.censored):
        if ends is not None:
            choice = choices[target]
            choices[target], fine[:, target] = choice.on_latent(
                records.predictors[target], fine[:, target], ends[0]
            )
            out_of_fold[:, target] = choices[target].out_of_fold
    return PointEstimates(choices=choices, out_of_fold=out_of_fold, fine=fine)


def means_state(choices: list[Choice], shape: tuple[int, int]) -> State:
    """Return the point estimates of all targets as arrays, as they are saved."""
    state = {"shape": np.array(shape, np.float32)}
    names = list(MEANS)
    for target, choice in enumerate(choices):
        model = choice.model
        errors = [choice.errors.get(name, -1.0) for name in names]
        own = {
            "kind": np.array([names.index(str(model.name))], np.float32),
            "held_out": np.array(errors, np.float32),
        }
        if choice.latent:
            own["latent"] = np.ones(1, np.float32)
        state |= prefixed(own | model.to_state(), f"mean.{target}")
    return state


def describe_means(state: Mapping[str, Floats]) -> str:
    """Say which point estimates were chosen, and by which held-out errors.

    Examples
    --------
    >>> errors = np.array([4.0, 1.0, -1.0, 0.25], np.float32)
    >>> describe_means({"mean.0.kind": np.array([3.0]), "mean.0.held_out": errors})
    'mean by ridge (held-out RMSE: driver 2.000, bias 1.000, ridge 0.500, scaled units)'
    """
    said: list[str] = []
    names = list(MEANS)
    while f"mean.{len(said)}.kind" in state:
        own = under(state, f"mean.{len(said)}")
        listed = [
            f"{name} {error**0.5:.3f}"
            for name, error in zip(names, own["held_out"].tolist(), strict=True)
            if error >= 0
        ]
        latent = " of latent values" if "latent" in own else ""
        kind = names[int(own["kind"][0])]
        said.append(f"{kind}{latent} (held-out RMSE: {', '.join(listed)}")
    return f"mean by {'), '.join(said)}, scaled units)"


def shape_of(state: Mapping[str, Floats]) -> tuple[int, int]:
    """Return the rows and columns of the fields of a saved state."""
    ny, nx = entry(state, "shape", (2,)).astype(int).tolist()
    return ny, nx


def read_means(state: Mapping[str, Floats], sizes: Sizes) -> list[MeanModel]:
    """Undo `means_state`; raise `ModelFormatError` if something lacks or does not fit."""
    shape = shape_of(state)
    names = list(MEANS)
    found = []
    for target in range(sizes.targets):
        own = under(state, f"mean.{target}")
        entry(own, "held_out", (len(names),))
        kind = int(entry(own, "kind", (1,))[0])
        model = MEANS[names[kind]].from_state(own, shape)
        if isinstance(model, Ridge):
            _check_width(model, sizes)
        found.append(model)
    return found


def _check_width(model: Ridge, sizes: Sizes) -> None:
    """Raise unless a regression has a weight for everything that it will see."""
    for part in model.parts:
        cells = (part.tile.rows.stop - part.tile.rows.start) * (
            part.tile.columns.stop - part.tile.columns.start
        )
        width = sizes.window * sizes.drivers * cells + sizes.calendar
        if len(part.weight) != width:
            raise ModelFormatError(
                f"The array 'weight' of the model file has {len(part.weight)} rows, and its "
                f"options ask for {width}; the file was altered or belongs to another model. Save "
                "it again."
            )


def predict_means(models: list[MeanModel], known: Conditions, item: int) -> Floats:
    """Return the point estimate (target, y, x) of one time step."""
    fields = [
        model.predict(_predictors(known, item, driver)).squeeze(0)
        for model, driver in zip(models, drivers(known, item), strict=True)
    ]
    return np.stack(fields)


def drivers(known: Conditions, item: int) -> Floats:
    """Return the interpolated driver of each target at a time step (target, y, x)."""
    fields = known.window[item, 0]
    return np.stack([fields[k] if k >= 0 else np.zeros_like(fields[0]) for k in known.own])


def _predictors(known: Conditions, item: int, driver: Floats) -> Predictors:
    one = slice(item, item + 1)
    return Predictors(
        coarse=known.coarse_window[one],
        calendar=known.calendar[one],
        driver=driver[None],
        place=grid_indices(known.place, known.coarse_window.shape[-2:]),
    )


def check_point_estimate(name: str) -> None:
    """Raise `OptionError` for an unknown point estimate."""
    check_option("mean", name, POINT_ESTIMATES)


class StatisticalSampler(ABC):
    """Base of their samplers: each field is computed by itself, whatever stands beside it."""

    @one_thread()
    def sample(self, request: SampleRequest) -> Floats:
        """Return fields (realization, n, target, y, x) in scaled units."""
        known = request.conditions
        count = len(known.keys)
        given = [self.prepare(known, item) for item in range(count)]
        if request.config.sampling.sampler == "mean":
            fields = [self.mean(each) for each in given]
        else:
            fields = [
                self.member(given[item], request, realization, int(known.keys[item]))
                for realization, item in request.fields()
            ]
        stacked = np.stack(fields)
        return stacked.reshape(-1, count, *stacked.shape[1:])

    @abstractmethod
    def prepare(self, known: Conditions, item: int) -> Any:
        """Return what all members of a time step share."""

    @abstractmethod
    def mean(self, given: Any) -> Floats:
        """Return the point estimate (target, y, x)."""

    @abstractmethod
    def member(self, given: Any, request: SampleRequest, realization: int, key: int) -> Floats:
        """Return a member (target, y, x)."""
