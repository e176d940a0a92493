"""Method "auto": the strongest closed-form method, and a network on top where that is better.

1. Methods "dressed", "analogues" and "gaussian" are fitted on the training time steps: seconds.
2. Regressions by networks are trained as in method "dressed_unet"; they correct a first guess in
   closed form.
3. All generate members of validation time steps, which none was fitted on. The network is kept
   only if its CRPS is below that of the best other one by more than the standard error of the
   difference (moving-block bootstrap).
4. A closed-form method that is kept is fitted again, on all time steps but the test part.

A fitted model is thus not worse than what takes seconds, as far as held-out time steps can tell;
its repr says by how much. Where torch is not installed there is no second step.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import DataError, XDownscaleWarning
from xdownscale.methods._statistical import fit_means, predict_means, read_records
from xdownscale.methods.analogues import AnalogueMethod
from xdownscale.methods.base import Floats, Method, Sampler, State, Trained
from xdownscale.methods.dressed import Dressed
from xdownscale.methods.dressed_unet import DressedUNet
from xdownscale.methods.gaussian import GaussianNoise
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import SampleRequest
from xdownscale.models.statistical.blocks import block_standard_error
from xdownscale.models.statistical.ensembles import crps_fields
from xdownscale.models.statistical.predictors import Array, entry, prefixed, under
from xdownscale.models.training.data import Rows, TrainingData, conditions_of, read_rows

if TYPE_CHECKING:
    from xdownscale.models.training.run import TrainingRun

CLOSED_FORMS: tuple[Method, ...] = (Dressed(), AnalogueMethod(), GaussianNoise())
_NETWORK = DressedUNet()
NETWORK = "network"
NAMES = (NETWORK, *(method.name for method in CLOSED_FORMS), "bias")
MEMBERS = 8
MOST = 96  # validation time steps that are judged
_SEED = 7  # of the members that are judged


class Auto(DressedUNet):
    """The best of the closed-form methods, and a network on top where it is better."""

    name = "auto"
    summary = "The best closed-form method, and a network on top where held-out CRPS says so"
    networks = find_spec("torch") is not None
    holds_out_validation = False

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
        """Train all candidates, judge them on validation time steps, and keep the best."""
        judged = data.tune_targets if len(data.tune_targets) else data.stop_targets
        known = _without(data, judged)
        scores: dict[str, Array] = {}
        for method in CLOSED_FORMS:
            try:
                trained = _fit(method, known, run)
            except DataError:  # too few time steps for this one
                continue
            sampler = _loaded(method, trained.state, data, run)
            scores[method.name] = _daily_crps(sampler, data, run, judged, method)
        scores["bias"] = _bias_error(known, data, judged)
        history: dict[str, Any] = {}
        network: State = {}
        if self.networks:
            own = super().train(data, run)
            history = own.history
            network = own.state
            sampler = _NETWORK.load(network, run.config, _sizes(data, run, self), run.device)
            scores[NETWORK] = _daily_crps(sampler, data, run, judged, self)
        best, error = _choose(scores)
        kept: State = network
        if best != NETWORK:
            method = CLOSED_FORMS[[each.name for each in CLOSED_FORMS].index(best)]
            kept = prefixed(_fit(method, data, run).state, "closed")
        found = {name: float(np.mean(scores[name])) if name in scores else -1.0 for name in NAMES}
        about = {
            "choice": np.array([NAMES.index(best)], np.float32),
            "crps": np.array([found[name] for name in NAMES], np.float32),
            "error": np.array([error], np.float32),
            "days": np.array([len(judged[:: _every(judged)])], np.float32),
        }
        return Trained(state=kept | prefixed(about, "judged"), history=history)

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
        entry(state, "judged.crps", (len(NAMES),))
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
            f"best other has standard error {float(state['judged.error'][0]):.2g})"
        )
        if method is None:
            return f"{said}; {_NETWORK.describe(config, _network_state(state))}"
        return f"{said}; {method.describe(config, under(state, 'closed'))}"


def _kept(state: Mapping[str, Floats]) -> Method | None:
    """Return the closed-form method that was kept; None for the network."""
    name = NAMES[int(entry(state, "judged.choice", (1,))[0])]
    return next((method for method in CLOSED_FORMS if method.name == name), None)


def _network_state(state: Mapping[str, Floats]) -> State:
    return {name: array for name, array in state.items() if not name.startswith("judged.")}


def _config_of(method: Method, config: DownscalerConfig) -> DownscalerConfig:
    return config.override(method=method.name)


def _without(data: TrainingData, judged: Rows) -> TrainingData:
    """Return the records without the time steps that are judged."""
    empty = np.empty(0, np.int64)
    stop = data.stop_targets if len(data.tune_targets) else empty
    return replace(data, tune_targets=empty, stop_targets=stop)


def _fit(method: Method, data: TrainingData, run: TrainingRun) -> Trained:
    return method.train(data, replace(run, config=_config_of(method, run.config)))


def _sizes(data: TrainingData, run: TrainingRun, method: Method) -> Sizes:
    channels = method.guess_channels(run.config) * len(data.own)
    return data.sizes._replace(guess=channels)


def _loaded(method: Method, state: State, data: TrainingData, run: TrainingRun) -> Sampler:
    return method.load(state, _config_of(method, run.config), data.sizes, run.device)


def _every(rows: Rows) -> int:
    return -(-len(rows) // MOST)


def _daily_crps(
    sampler: Sampler, data: TrainingData, run: TrainingRun, rows: Rows, method: Method
) -> Array:
    """Return the CRPS of each judged time step: physical units, or in standard deviations."""
    found = []
    for row in rows[:: _every(rows)]:
        request = SampleRequest(
            conditions=conditions_of(data, np.array([row])),
            config=run.config if method.networks else _config_of(method, run.config),
            realizations=tuple(range(MEMBERS)),
            seed=run.seed + _SEED,
            step=data.step,
            device=run.device,
            corner=(0, 0),
            domain=data.shape,
            stitching="whole",
        )
        members = sampler.sample(request)[:, 0]
        found.append(_mean_crps(data, members, row))
    return np.array(found)


def _mean_crps(data: TrainingData, members: Array, row: int) -> float:
    """Return the fair CRPS over the cells of a time step, averaged over the targets."""
    truth = np.where(data.mask, read_rows(data.fine, [row])[0], np.float32(np.nan))
    scores = crps_fields(data.physical(members), data.physical(truth))
    return float(np.nanmean(np.nanmean(scores, axis=(1, 2))))


def _bias_error(known: TrainingData, data: TrainingData, rows: Rows) -> Array:
    """Return the mean absolute error, the CRPS of a single field, of bias per cell."""
    parts = (known.train_targets, known.stop_targets)
    records = read_records(known, np.unique(np.concatenate(parts)).astype(np.int64))
    choices, _ = fit_means(records, "bias")
    models = [choice.model for choice in choices]
    found = []
    for row in rows[:: _every(rows)]:
        field = predict_means(models, conditions_of(data, np.array([row])), 0)
        found.append(_mean_crps(data, field[None], row))
    return np.array(found)


def _choose(scores: Mapping[str, Array]) -> tuple[str, float]:
    """Return what is kept, and the standard error of the network's difference to the best other.

    Parameters
    ----------
    scores : mapping of ndarray
        CRPS of each time step, by candidate.
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
    best = min(closed, key=lambda name: float(closed[name].mean()))
    if NETWORK not in scores:
        return best, 0.0
    difference = scores[NETWORK] - closed[best]
    error = block_standard_error(difference)
    return (NETWORK if difference.mean() < -error else best), error
