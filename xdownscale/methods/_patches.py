"""Base of the methods with networks on patches: options, capabilities, training data, loading.

Their inputs are the interpolated coarse field, the coarse and fine fields of the time steps before,
static fields and calendar features; an encoder that was trained on the coarse record sees the fine
fields. They are trained on patches, which are blended when fields are generated.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.methods.base import Floats, Method
from xdownscale.models.networks.channels import Sizes, patch_inputs
from xdownscale.models.training.data import TrainingData
from xdownscale.models.training.plan import PlannedStage
from xdownscale.patches.layout import PatchLayout

if TYPE_CHECKING:
    from collections.abc import Callable

    from xdownscale.models.networks.unet import PatchNetworks
    from xdownscale.models.sampling.patch_sampler import PatchSampler
    from xdownscale.models.training.run import TrainingRun

PATCHES = frozenset({"patch_size", "patch_stride"})
ENCODER = frozenset({"encoder", "forecaster", "encoder_channels", "norm"})
COVERING = frozenset({"size", "stride", "halo", "taper", "batch_size"})


class PatchMethod(Method):
    """Base of the methods with networks on patches."""

    one_variable = True
    needs_every_lag = True
    calendar: ClassVar[str] = "period"
    encoder_input = "fine lags"

    def window(self, config: DownscalerConfig) -> tuple[int, int]:
        """Return ``data.lags`` before the target, the times of the lagged fine fields."""
        return config.data.lags, 0

    def fine_lags(self, config: DownscalerConfig) -> int:
        """Return ``data.lags``."""
        return config.data.lags

    def stitchings(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return patches as in the paper, or the image in one piece with the same noise."""
        return ("patches", "whole")

    def check_shape(self, shape: tuple[int, int], config: DownscalerConfig) -> None:
        """Raise if a training or a sampling patch does not fit into the image."""
        sampling = config.sampling
        training_layout(shape, config)
        PatchLayout(shape, sampling.size, sampling.stride, sampling.halo, sampling.taper)

    @abstractmethod
    def builder(self, config: DownscalerConfig, sizes: Sizes) -> Callable[[], PatchNetworks]:
        """Return a function that builds the networks."""

    @abstractmethod
    def sampler(self, networks: Any) -> PatchSampler:
        """Return a sampler of loaded networks."""

    @abstractmethod
    def second_stage(self, data: TrainingData, run: TrainingRun, networks: Any) -> Any:
        """Return the task that is trained on patches."""

    def prepare(self, networks: Any, data: TrainingData, config: DownscalerConfig) -> None:
        """Set what follows from the training fields, before training."""

    def plan(self, data: TrainingData, run: TrainingRun) -> list[PlannedStage]:
        """Return the stage of the encoder, and the one on patches."""
        networks = self.built(run.config, data.sizes, run.seed, 2)
        self.prepare(networks, data, run.config)
        stages = replace(run, checkpoint_dir=None).stages(data)
        pretraining = [] if networks.encoder is None else stages.planned_pretraining()
        task = self.second_stage(data, run, networks)
        share = share_of_second(networks)
        epochs = run.config.training.epochs
        return [
            *pretraining,
            PlannedStage(task=task, epochs=epochs, share=share, kind=task.name),
        ]

    def built(self, config: DownscalerConfig, sizes: Sizes, seed: int, stage: int) -> Any:
        """Build the networks; their initial weights depend on seed and stage alone."""
        import torch

        from xdownscale.models.networks.weights import seeded

        networks = seeded(self.builder(config, sizes), seed, stage)
        return networks.to(memory_format=torch.channels_last)

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> PatchSampler:
        """Build the networks, load their weights and return a sampler."""
        from xdownscale.models.networks.state import trained_weights
        from xdownscale.models.networks.weights import fill

        self.check_state(state, config, sizes)
        networks = self.built(config, sizes, 0, 0)
        fill(networks, trained_weights(state), "")
        return self.sampler(networks.eval())

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Compare names and shapes of the weights with the networks of the configuration."""
        from xdownscale.models.networks.forecasters import check_forecaster
        from xdownscale.models.networks.state import trained_weights
        from xdownscale.models.networks.weights import check_fit

        check_fit(self.builder(config, sizes), trained_weights(state))
        check_forecaster(state, config.network, sizes)


def training_layout(shape: tuple[int, int], config: DownscalerConfig) -> PatchLayout:
    """Return where the training patches lie."""
    return PatchLayout(shape, config.data.patch_size, config.data.patch_stride, 0, "uniform")


def patch_task(data: TrainingData, run: TrainingRun, networks: Any) -> dict[str, Any]:
    """Return the options of a task that trains networks on patches: all but its name and stage."""
    from xdownscale.models.training.datasets import PatchGrid

    return {
        "data": data,
        "network": networks,
        "rows": data.train_targets,
        "cutter": PatchGrid(training_layout(data.shape, run.config), data.mask[0]),
        "arrange": patch_inputs,
        "seed": run.seed,
        "batch": run.config.training.batch_days,
    }


def share_of_second(networks: Any) -> float:
    """Return the second stage's part of the time for a group."""
    from xdownscale.models.training.stages import PRETRAIN_SHARE

    return 1 - PRETRAIN_SHARE if networks.encoder is not None else 1.0
