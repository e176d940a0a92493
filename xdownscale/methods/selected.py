"""Method "selected" (preset "auto"): the best closed-form method, or a network where it is better.

1. Methods "dressed", "analogues" and "gaussian" are fitted: seconds.
2. Regressions by networks are trained as in method "dressed_unet"; they correct a first guess in
   closed form.
3. All are judged on blocks of time that they were not fitted on. "dressed" is kept unless another
   closed-form method has a smaller CRPS of cells, by more than the standard error of the difference
   (moving-block bootstrap), and no larger CRPS of the mean over the domain. The network is kept
   only if its CRPS of cells is smaller than that of this method by more than the standard error.
4. A closed-form method that is kept is fitted again, on all time steps but the test part.

A fitted model is thus not worse than what takes seconds, as far as held-out time steps can tell;
its repr says by how much. Where torch is not installed there is no second step.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import DataError, XDownscaleWarning
from xdownscale.core.resampling import standard_error
from xdownscale.methods._field_unet import smallest_side
from xdownscale.methods._statistical import Records, StatisticalMethod, read_records
from xdownscale.methods.analogues import AnalogueMethod
from xdownscale.methods.base import Floats, Method, State, Trained
from xdownscale.methods.dressed import Dressed
from xdownscale.methods.dressed_unet import DressedUNet
from xdownscale.methods.gaussian import GaussianNoise
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.statistical import Analogues, Dressing, Gaussian
from xdownscale.models.statistical.blocks import time_blocks
from xdownscale.models.statistical.ensembles import crps_fields
from xdownscale.models.statistical.predictors import Array, entry, prefixed, under
from xdownscale.models.training.data import Rows, TrainingData
from xdownscale.models.training.plan import PlannedStage

if TYPE_CHECKING:
    from xdownscale.models.training.run import TrainingRun

CLOSED_FORMS: tuple[StatisticalMethod, ...] = (Dressed(), AnalogueMethod(), GaussianNoise())
_NETWORK = DressedUNet()
NETWORK = "network"
NAMES = (NETWORK, *(method.name for method in CLOSED_FORMS), "bias")
MEMBERS = 8
MOST = 120  # time steps that are judged, evenly spread


class Selected(DressedUNet):
    """The best of the closed-form methods, and a network on top where it is better."""

    name = "selected"
    summary = "The best closed-form method, and a network on top where held-out CRPS says so"
    networks = find_spec("torch") is not None

    def check_shape(self, shape: tuple[int, int], config: DownscalerConfig) -> None:
        """Accept all: on a grid that is too small for a network, methods without one are left."""

    def check_sampling(self, config: DownscalerConfig, stitching: str) -> None:
        """Raise for tiles smaller than the receptive field, where there is a network."""
        if self.networks:
            super().check_sampling(config, stitching)

    def shared_tile(
        self, config: DownscalerConfig, shape: tuple[int, int], device: str, tasks: int
    ) -> int | str | None:
        """Return the side of tiles that fit into each task's share of the memory."""
        if not self.networks:
            return config.sampling.tile
        return super().shared_tile(config, shape, device, tasks)

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train all candidates, judge them on held-out blocks of time, and keep the best."""
        run.progress.doing("closed forms, judged on held-out blocks")
        records = read_records(data)
        judged = np.arange(len(records.rows))[:: -(-len(records.rows) // MOST)]
        days = Judged(data, run, records, time_blocks(len(records.rows)), judged)
        scores = days.closed_forms()
        own = Trained(state={})
        if self.networks and min(data.shape) >= smallest_side(run.config):
            own, rows, means = self.train_out_of_fold(data, run, records)
            assert np.array_equal(rows, records.rows)
            run.progress.doing("judging the network on held-out blocks")
            scores[NETWORK] = days.dressed(means)
        best, error = choose(scores)
        state = own.state
        if best != NETWORK:
            method = CLOSED_FORMS[[each.name for each in CLOSED_FORMS].index(best)]
            options = _config_of(method, run.config).options
            state = prefixed(method.fit(records, options).state, "closed")
        found = [float(scores[name][:, 0].mean()) if name in scores else -1.0 for name in NAMES]
        about = {
            "choice": np.array([NAMES.index(best)], np.float32),
            "crps": np.array(found, np.float32),
            "error": np.array([error], np.float32),
            "days": np.array([len(judged)], np.float32),
        }
        return Trained(state=state | prefixed(about, "judged"), history=own.history)

    def plan(self, data: TrainingData, run: TrainingRun) -> list[PlannedStage]:
        """Return the stages of the network, if one is trained."""
        if not self.networks or min(data.shape) < smallest_side(run.config):
            return []
        return super().plan(data, run)

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> Any:
        """Return the sampler of what was kept."""
        method = _kept(state)
        if method is None:
            return _NETWORK.load(_network_state(state), config, sizes, device)
        return method.load(under(state, "closed"), _config_of(method, config), sizes, device)

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Check the state of what was kept."""
        for name, length in (("crps", len(NAMES)), ("error", 1), ("days", 1)):
            entry(state, f"judged.{name}", (length,))
        method = _kept(state)
        if method is None:
            _NETWORK.check_state(_network_state(state), config, sizes)
        else:
            method.check_state(under(state, "closed"), _config_of(method, config), sizes)

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Say what was kept, and the held-out CRPS of all candidates."""
        method = _kept(state)
        found = dict(zip(NAMES, state["judged.crps"].tolist(), strict=True))
        best = NETWORK if method is None else method.name
        others = [
            f"{name} {crps:.3g}" for name, crps in found.items() if crps >= 0 and name != best
        ]
        said = (
            f"{best} kept: CRPS {found[best]:.3g}; {', '.join(others)} "
            f"({int(state['judged.days'][0])} held-out time steps; the network's difference to the "
            f"best method without one has standard error {float(state['judged.error'][0]):.2g})"
        )
        if method is None:
            return f"{said}; {_NETWORK.describe(config, _network_state(state))}"
        return f"{said}; {method.describe(config, under(state, 'closed'))}"

    def standing(self, config: DownscalerConfig, state: Mapping[str, Floats], units: str) -> str:
        """Say what was kept, its held-out CRPS, and that of the best of the others."""
        method = _kept(state)
        best = NETWORK if method is None else method.name
        found = dict(zip(NAMES, state["judged.crps"].tolist(), strict=True))
        said = (
            f"CRPS {found.pop(best):.3g}{units} on {int(state['judged.days'][0])} time steps of "
            f"held-out blocks by {best!r}, which is kept"
        )
        others = {name: crps for name, crps in found.items() if crps >= 0}
        if others:
            other = min(others, key=lambda name: others[name])
            said += f"; the best of the others, {other!r}, has {others[other]:.3g}{units}"
        return f"{said}."


def _kept(state: Mapping[str, Floats]) -> Method | None:
    """Return the closed-form method that was kept; None for the network."""
    name = NAMES[int(entry(state, "judged.choice", (1,))[0])]
    return next((method for method in CLOSED_FORMS if method.name == name), None)


def _network_state(state: Mapping[str, Floats]) -> State:
    return {name: array for name, array in state.items() if not name.startswith("judged.")}


def _config_of(method: Method, config: DownscalerConfig) -> DownscalerConfig:
    return config.override(method=method.name)


@dataclass(frozen=True)
class Judged:
    """Time steps that candidates are judged on, each by what was fitted on other blocks of time.

    Attributes
    ----------
    data, run
        As for `Method.train`.
    records : Records
        Known time steps.
    block : ndarray of int (n,)
        Their blocks.
    judged : ndarray of int
        Positions of those that are judged.
    """

    data: TrainingData
    run: TrainingRun
    records: Records
    block: Rows
    judged: Rows

    def closed_forms(self) -> dict[str, Array]:
        """Return the CRPS of each closed-form method that has enough time steps, and of bias."""
        found: dict[str, Array] = {}
        bias = self.records.point_estimates("bias").out_of_fold
        found["bias"] = self._score(lambda _, k: bias[k][None])
        means = self.records.point_estimates("auto").out_of_fold
        judges: dict[str, Callable[[], Array]] = {
            "dressed": lambda: self.dressed(means),
            "analogues": self.analogues,
            "gaussian": lambda: self.gaussian(means),
        }
        for name, judge in judges.items():
            with contextlib.suppress(DataError):  # too few time steps for this one
                found[name] = judge()
        return found

    def dressed(self, means: Floats) -> Array:
        """Return the CRPS of out-of-fold means (n, target, y, x) with residuals of other blocks."""
        fine = self.records.fine
        censored = self.records.censored
        fitted = [
            Dressing.fit(means[rest], fine[rest], censored=censored) for rest in self._others()
        ]

        def members(number: int, k: int) -> Array:
            near = fitted[number].similar(means[k])
            key = self._key(k)
            return np.stack(
                [fitted[number].member(near, self._seed, r, key) for r in range(MEMBERS)]
            )

        return self._score(members)

    def gaussian(self, means: Floats) -> Array:
        """Return the CRPS of out-of-fold means with noise measured on other blocks."""
        fine = self.records.fine
        keys = self.data.keys[self.records.rows]
        fitted = [
            Gaussian.fit(
                means[rest],
                fine[rest],
                np.diff(keys[rest]) == self.data.step,
                censored=self.records.censored,
            )
            for rest in self._others()
        ]

        def members(number: int, k: int) -> Array:
            member = functools.partial(
                fitted[number].member, means[k], self._seed, key=self._key(k)
            )
            shape = self.data.shape
            fields = [
                member(r, step=self.data.step, corner=(0, 0), domain=shape) for r in range(MEMBERS)
            ]
            return np.stack(fields)

        return self._score(members)

    def analogues(self) -> Array:
        """Return the CRPS of fields of similar time steps of other blocks."""
        first = self.records.predictors[0]
        driver = self.records.driver
        fitted = [
            Analogues.fit(
                first.coarse[rest],
                first.calendar[rest],
                driver[rest],
                self.records.fine[rest],
                censored=self.records.censored,
            )
            for rest in self._others()
        ]

        def members(number: int, k: int) -> Array:
            found = fitted[number]
            near = found.similar(first.coarse[k], first.calendar[k])
            key = self._key(k)
            return np.stack(
                [found.member(near, driver[k], self._seed, r, key) for r in range(MEMBERS)]
            )

        return self._score(members)

    def _others(self) -> list[NDArray[np.bool_]]:
        """Return which time steps lie outside each block."""
        return [self.block != number for number in np.unique(self.block)]

    def _score(self, members: Callable[[int, int], Array]) -> Array:
        """Return `mean_crps` of each judged time step (n, 2), of ``members(block, position)``."""
        numbers = np.unique(self.block, return_inverse=True)[1]
        found = [
            mean_crps(self.data, members(int(numbers[k]), int(k)), self.records.fine[k])
            for k in self.judged
        ]
        return np.array(found)

    def _key(self, k: int) -> int:
        return int(self.data.keys[self.records.rows[k]])

    @property
    def _seed(self) -> int:
        return self.run.seed + 7  # other members than a user generates


def mean_crps(data: TrainingData, members: Array, truth: Array) -> tuple[float, float]:
    """Return the fair CRPS of the cells of a time step, and of their mean; physical units.

    Both are averaged over targets.

    Parameters
    ----------
    data : TrainingData
        Brings fields to physical units.
    members, truth : ndarray (members, target, y, x) and (target, y, x)
        Scaled units; NaN where the truth is missing.
    """
    known = data.physical(truth)
    given = np.where(np.isfinite(known), data.physical(members), np.nan)
    cells = np.nanmean(crps_fields(given, known), axis=(1, 2))
    levels = [np.nanmean(fields, axis=(-2, -1), keepdims=True) for fields in (given, known)]
    return float(np.nanmean(cells)), float(np.nanmean(crps_fields(*levels)))


def choose(scores: Mapping[str, Array]) -> tuple[str, float]:
    """Return what is kept, and the standard error of the network's difference to the other.

    The best closed-form method is the first of `CLOSED_FORMS`, unless one has a smaller CRPS of
    cells by more than the standard error of the difference, and no larger one of the domain mean.

    Parameters
    ----------
    scores : mapping of ndarray
        CRPS of the cells and of their mean (n, 2) of each time step, by candidate.
    """
    closed = {method.name: scores[method.name] for method in CLOSED_FORMS if method.name in scores}
    if not closed:
        warnings.warn(
            "No closed-form method could be fitted: there are too few time steps. The network is "
            "kept without a comparison.",
            XDownscaleWarning,
            stacklevel=2,
        )
        return NETWORK, 0.0
    best = next(iter(closed))
    for name, crps in closed.items():
        cells, level = (crps - closed[best]).T
        if cells.mean() < -standard_error(cells) and level.mean() <= 0:
            best = name
    if NETWORK not in scores:
        return best, 0.0
    difference = (scores[NETWORK] - closed[best])[:, 0]
    error = standard_error(difference)
    return (NETWORK if difference.mean() < -error else best), error
