"""Method "diffusion": diffusion of the fine field, patch by patch (arXiv 2512.05139).

A small U-Net is trained to forecast the coarse record. Its encoder, frozen, then sees the fine
fields of the preceding time steps; its features, the interpolated coarse field, static fields and
the time condition a denoising U-Net, which is trained on 16-pixel patches to predict the clean
field (mean absolute error) at random steps of a squared-cosine chain of 1000. At prediction every
patch is generated from noise by ancestral or DDIM steps, and patches are blended with a taper.

Time steps depend on the fine fields before them: prediction is autoregressive, or teacher-forced
where the true fields are known. Where the paper's stitching loses the frame of the image or most of
the variance, this follows ``docs/explanation/method.md`` instead.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError
from xdownscale.methods._patches import (
    COVERING,
    ENCODER,
    PATCHES,
    PatchMethod,
    patch_task,
    share_of_second,
    training_layout,
)
from xdownscale.methods.base import Trained
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.training.data import TrainingData, largest_magnitude

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xdownscale.models.networks.unet import Networks
    from xdownscale.models.sampling.chain import ChainSampler
    from xdownscale.models.training.run import TrainingRun

NETWORK = ENCODER | {"size", "channels", "attention", "dropout", "driver_skip", "output_bound"}


class PaperDiffusion(PatchMethod):
    """Diffusion of the fine field, patch by patch, given the fine fields before it."""

    name = "diffusion"
    summary = "Diffusion of the field itself, patch by patch (arXiv 2512.05139)"
    samplers: ClassVar[tuple[str, ...]] = ("ddim", "ddpm")
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": PATCHES,
        "network": NETWORK,
        "diffusion": frozenset({"schedule", "train_steps", "loss"}),
        "sampling": COVERING | {"sampler", "steps", "noise"},
    }

    def check(self, config: DownscalerConfig) -> None:
        """Raise for more sampling steps than the trained chain has."""
        super().check(config)
        steps = config.sampling.steps
        trained = config.diffusion.train_steps
        if steps > trained:
            raise OptionError(
                f"sampling.steps is {steps}, more than the {trained} steps of the trained chain; "
                "give at most that many."
            )

    def builder(self, config: DownscalerConfig, sizes: Sizes) -> Callable[[], Networks]:
        """Return a function that builds encoder and denoiser."""
        from xdownscale.models.networks.unet import Networks

        known = sizes.static + sizes.calendar
        return partial(Networks, config.data.lags, known, config.network)

    def sampler(self, networks: Any) -> ChainSampler:
        """Return a sampler of the chain."""
        from xdownscale.models.sampling.chain import ChainSampler

        return ChainSampler(networks)

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train the encoder on the coarse record, then the denoiser on patches of the fine one."""
        from xdownscale.models.training.stages import as_arrays

        training_layout(data.shape, run.config)
        stages = run.stages(data)
        networks = self.built(run.config, data.sizes, run.seed, 2)
        self.prepare(networks, data, run.config)
        if networks.encoder is not None:
            stages.pretrain(networks.encoder)
        stages.train(self.second_stage(data, run, networks), share_of_second(networks))
        state = as_arrays(networks.state_dict()) | stages.forecaster
        return Trained(state=state, history=stages.history())

    def prepare(self, networks: Networks, data: TrainingData, config: DownscalerConfig) -> None:
        """Bound the fields by a multiple of the largest one that is trained on."""
        networks.denoiser.bound.fill_(config.network.output_bound * largest_magnitude(data))

    def second_stage(self, data: TrainingData, run: TrainingRun, networks: Any) -> Any:
        """Return the task of the denoiser."""
        options = patch_task(data, run, networks)
        return self.task(run.config, **options, stage=2, kind=run.config.diffusion.loss)

    def task(self, config: DownscalerConfig, **options: Any) -> Any:
        """Return the task of the second stage; `options` are those of every task on patches."""
        from xdownscale.models.diffusion.schedules import squared_cosine
        from xdownscale.models.training.tasks import Denoise

        return Denoise(
            name="denoise", schedule=squared_cosine(config.diffusion.train_steps), **options
        )
