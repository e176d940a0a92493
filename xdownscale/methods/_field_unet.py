"""Base of the methods with a field U-Net: options, capabilities, networks, training, loading.

Their inputs are a window of coarse time steps around the target on the fine grid, static fields,
the phase of year and day, and the features of an encoder of the coarse record; one evaluation
covers a whole field of any size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import GridError
from xdownscale.methods._first_guess import CLIMATE, FirstGuess, NoGuess, fit_first_guess
from xdownscale.methods._first_guess import describe as describe_guess
from xdownscale.methods.base import Floats, Method, State
from xdownscale.models.networks.channels import Sizes, field_inputs
from xdownscale.models.training.plan import PlannedStage

if TYPE_CHECKING:
    from torch.nn import Module

    from xdownscale.methods._statistical import Records
    from xdownscale.models.networks.field_unet import FieldNetworks
    from xdownscale.models.sampling.fields import Guess
    from xdownscale.models.training.data import TrainingData
    from xdownscale.models.training.run import TrainingRun
    from xdownscale.models.training.stages import Stages

NETWORK = frozenset(
    {
        "size",
        "channels",
        "encoder_channels",
        "encoder",
        "forecaster",
        "norm",
        "dropout",
        "unshuffle",
    }
)
ENDS = frozenset({"missing_ends"})
DATA = frozenset({"window", "ahead", "crop", "blend", "fine_lags", "first_guess"})
COVERING = frozenset({"size", "stride", "halo", "taper", "noise", "batch_size"})
SAMPLING = frozenset({"sampler", "constraint", "tile", "precision"})


def smallest_side(config: DownscalerConfig) -> int:
    """Return the side, in pixels, of the smallest field that the networks take."""
    from xdownscale.models.networks.field_unet import lattice

    return lattice(config.network)


class FieldUNetMethod(Method):
    """Base of the methods with a field U-Net.

    Attributes
    ----------
    noise_channels : int
        Channels of noise, for each target, of the network that generates; 0 where there is none.
    """

    noise_channels: ClassVar[int] = 0
    samplers = ("dpmpp_2m", "heun", "mean")
    blends = True
    detailed_static = True
    watches_drift = True
    sees_coarse_window = True

    def window(self, config: DownscalerConfig) -> tuple[int, int]:
        """Return ``data.window`` before and ``data.ahead`` after the target."""
        return config.data.window, config.data.after

    def fine_lags(self, config: DownscalerConfig) -> int:
        """Return ``data.fine_lags``."""
        return config.data.fine_lags

    def missing_ends(self, config: DownscalerConfig) -> float:
        """Return ``data.missing_ends``; 0 under a first guess, which needs the whole window."""
        able = "missing_ends" in self.uses["data"] and not self.guess_channels(config)
        return config.data.missing_ends if able else 0.0

    def uses_encoder(self, config: DownscalerConfig) -> bool:
        """Return True unless ``network.encoder`` is ``"none"``."""
        return config.network.encoder != "none"

    def guess_channels(self, config: DownscalerConfig) -> int:
        """Return the guess and the climate, unless the networks correct the driver."""
        return 0 if config.data.first_guess == "driver" else 1 + CLIMATE

    def stitchings(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return whole fields, or patches."""
        return ("whole", "patches")

    def is_stochastic(self, config: DownscalerConfig) -> bool:
        """Return True unless the sampler is ``"mean"``."""
        return config.sampling.sampler != "mean"

    def check_shape(self, shape: tuple[int, int], config: DownscalerConfig) -> None:
        """Raise where the network would halve a field to nothing."""
        unit = smallest_side(config)
        if min(shape) < unit:
            raise GridError(
                f"The fine grid, or a region of it, has {shape[0]} x {shape[1]} cells, and the "
                f"network of method {self.name!r} needs {unit} x {unit} or more. "
                "Give a larger region, fewer network.channels or a smaller network.unshuffle, or "
                "use a method without networks (preset 'dressed', 'gaussian' or 'analogues')."
            )

    def check_sampling(self, config: DownscalerConfig, stitching: str) -> None:
        """Raise for tiles smaller than the receptive field, and patches that cannot be halved."""
        from xdownscale.models.sampling.memory import check_sampling

        check_sampling(config, stitching if self.is_stochastic(config) else "whole")

    def regressions(self, config: DownscalerConfig) -> int:
        """Return the number of regressions of the conditional mean."""
        return 0

    def built(self, sizes: Sizes, regressions: int, config: DownscalerConfig) -> FieldNetworks:
        """Return untrained networks of a group."""
        from xdownscale.models.networks.field_unet import FieldNetworks

        return FieldNetworks(sizes, regressions, self.noise_channels, config.network)

    def plan(self, data: TrainingData, run: TrainingRun) -> list[PlannedStage]:
        """Return the stages of the encoder and of the networks that it feeds."""
        run = replace(run, checkpoint_dir=None)
        if self.guess_channels(run.config):
            data = replace(data, guess=NoGuess(data))
        training = FieldTraining(run.stages(data), self, to_train=False)
        pretraining: list[PlannedStage] = []
        if training.networks.encoder is not None:
            pretraining = training.stages.planned_pretraining()
        return [*pretraining, *self.planned(training)]

    @abstractmethod
    def planned(self, training: FieldTraining) -> list[PlannedStage]:
        """Return the stages of the networks, as `train` trains them at most."""

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> Any:
        """Build the networks, load their weights and return a sampler."""
        import torch

        from xdownscale.models.device import resolve_device
        from xdownscale.models.networks.state import trained_weights
        from xdownscale.models.networks.weights import fill, seeded

        self.check_state(state, config, sizes)
        weights = trained_weights(state)
        count = self._regressions_of(weights, config)
        networks = seeded(self.built, 0, 0, sizes, count, config)
        fill(networks, weights, "")
        networks = networks.to(resolve_device(device), memory_format=torch.channels_last)
        if config.sampling.compile and networks.drawer is not None:
            networks.drawer.compile()
        guess = FirstGuess.from_state(state, sizes).channels if sizes.guess else None
        return self.sampler(networks.eval(), state, guess)

    @abstractmethod
    def sampler(
        self, networks: FieldNetworks, state: Mapping[str, Floats], guess: Guess | None
    ) -> Any:
        """Return a sampler of loaded networks, which correct a first guess if there is one."""

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Compare names and shapes of the weights with the networks of the configuration."""
        from xdownscale.models.networks.forecasters import check_forecaster
        from xdownscale.models.networks.state import trained_weights
        from xdownscale.models.networks.weights import check_fit

        weights = trained_weights(state)
        if sizes.guess:
            FirstGuess.from_state(state, sizes)
        count = self._regressions_of(weights, config)
        check_fit(partial(self.built, sizes, count, config), weights)
        check_forecaster(state, config.network, sizes)

    def shared_tile(
        self, config: DownscalerConfig, shape: tuple[int, int], device: str, tasks: int
    ) -> int | str | None:
        """Return the side of tiles that fit into each task's share of the memory."""
        from xdownscale.models.device import resolve_device
        from xdownscale.models.networks.field_unet import lattice, receptive_field
        from xdownscale.models.sampling.memory import auto_tile, available_memory, held_bytes

        if config.sampling.tile != "auto" or resolve_device(device) != "cpu":
            return config.sampling.tile  # on a GPU each task looks for itself
        unit = lattice(config.network)
        wide = (shape[0] + -shape[0] % unit, shape[1] + -shape[1] % unit)
        free = available_memory() / tasks
        return auto_tile(wide, held_bytes(config), receptive_field(config.network), free)

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Describe the network, and the first guess that it corrects."""
        described = super().describe(config, state)
        if not self.guess_channels(config):
            return described
        return f"{described}, {describe_guess(state)}"

    def _regressions_of(self, weights: Mapping[str, Floats], config: DownscalerConfig) -> int:
        """Return the number of regressions of a trained state."""
        heads = sum(n.startswith("regressions.") and n.endswith("head.bias") for n in weights)
        return min(self.regressions(config), max(heads, 1))


class FieldTraining:
    """Builds networks and tasks for a training of these methods, and pretrains the encoder.

    Parameters
    ----------
    stages : Stages
        Of the run.
    method : FieldUNetMethod
        The method.
    records : Records, optional
        The time steps that the first guess is fitted on, where they were read before.
    to_train : bool
        Fit the first guess and pretrain the encoder; else stages are only planned.
    """

    def __init__(
        self,
        stages: Stages,
        method: FieldUNetMethod,
        records: Records | None = None,
        to_train: bool = True,
    ) -> None:
        import torch

        from xdownscale.models.networks.weights import seeded

        config = stages.run.config
        self.first_guess: State = {}
        if to_train and method.guess_channels(config):
            stages.run.progress.doing("first guess")
            stages.data, self.first_guess = fit_first_guess(
                stages.data, config.data.first_guess, records
            )
        data = stages.data
        self.stages = stages
        self.config = config
        self.missing_ends = (method.missing_ends(config), *method.window(config))
        self.regressions = min(method.regressions(config), max(len(data.train_targets), 1))
        networks = seeded(method.built, stages.run.seed, 3, data.sizes, self.regressions, config)
        self.networks: FieldNetworks = networks.to(memory_format=torch.channels_last)
        if to_train and self.networks.encoder is not None:
            stages.pretrain(self.networks.encoder)

    def state(self) -> State:
        """Return the weights, the forecaster and the first guess, as they are saved."""
        from xdownscale.models.training.stages import as_arrays

        weights = as_arrays(self.networks.state_dict()) | self.stages.forecaster
        return weights | self.first_guess

    def task(self, kind: Any, name: str, stage: int, net: Module, **options: Any) -> Any:
        """Return a task on random crops for one of the networks.

        Parameters
        ----------
        kind : type
            Of the tasks in `models.training.tasks`.
        name, stage : str, int
            Of the stage.
        net : Module
            Network to train; the encoder's features are among the inputs of a field U-Net.
        **options
            ``rows``, ``train_encoder``, and the options of the kind of task.
        """
        from xdownscale.models.networks.field_unet import FieldNet
        from xdownscale.models.training.datasets import RandomCrops
        from xdownscale.models.training.tasks import EncodedNet

        stages = self.stages
        data = stages.data
        training = self.config.training
        finetuned = self.config.network.encoder == "finetuned"
        train_encoder = options.pop("train_encoder", False) and finetuned
        if isinstance(net, FieldNet):
            net = EncodedNet(net, self.networks.encoder, train_encoder)
        unit = smallest_side(self.config)
        return kind(
            data=data,
            network=net,
            rows=options.pop("rows", data.train_targets),
            cutter=RandomCrops(data.shape, self.config.data.crop, unit, stages.run.seed),
            arrange=lambda window, lags, static: (
                field_inputs(window, lags, static, data.own),
                None,
            ),
            seed=stages.run.seed,
            batch=training.batch_days,
            name=name,
            stage=stage,
            lag_noise=(training.lag_noise, training.lag_dropout),
            missing_ends=self.missing_ends,
            **options,
        )
