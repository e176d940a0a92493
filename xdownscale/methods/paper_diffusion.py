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

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError
from xdownscale.methods.base import Floats, Method, Trained
from xdownscale.models.networks.channels import Sizes, patch_inputs
from xdownscale.models.training.data import TrainingData, read_rows
from xdownscale.patches.layout import PatchLayout

if TYPE_CHECKING:
    from xdownscale.models.networks.unet import Networks
    from xdownscale.models.sampling.chain import ChainSampler
    from xdownscale.models.training.run import TrainingRun

PATCHES = frozenset({"patch_size", "patch_stride"})
NETWORK = frozenset(
    {
        "size",
        "channels",
        "encoder_channels",
        "attention",
        "encoder",
        "forecaster",
        "norm",
        "dropout",
        "driver_skip",
        "output_bound",
    }
)
COVERING = frozenset({"size", "stride", "halo", "taper", "batch_size"})


class PaperDiffusion(Method):
    """Diffusion of the fine field, patch by patch, given the fine fields before it."""

    name = "diffusion"
    summary = "Diffusion of the field itself, patch by patch (arXiv 2512.05139)"
    samplers: ClassVar[tuple[str, ...]] = ("ddim", "ddpm")
    one_variable = True
    needs_every_lag = True
    calendar = "period"
    encoder_input = "fine lags"
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": PATCHES,
        "network": NETWORK,
        "diffusion": frozenset({"schedule", "train_steps", "loss"}),
        "sampling": COVERING | {"sampler", "steps", "noise"},
    }

    def window(self, config: DownscalerConfig) -> tuple[int, int]:
        """Return ``data.lags`` before the target, the times of the lagged fine fields."""
        return config.data.lags, 0

    def fine_lags(self, config: DownscalerConfig) -> int:
        """Return ``data.lags``."""
        return config.data.lags

    def stitchings(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return patches as in the paper, or the image in one piece with the same noise."""
        return ("patches", "whole")

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

    def check_shape(self, shape: tuple[int, int], config: DownscalerConfig) -> None:
        """Raise if a training or a sampling patch does not fit into the image."""
        sampling = config.sampling
        _training_layout(shape, config)
        PatchLayout(shape, sampling.size, sampling.stride, sampling.halo, sampling.taper)

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train the encoder on the coarse record, then the denoiser on patches of the fine one."""
        from xdownscale.models.training.datasets import PatchGrid
        from xdownscale.models.training.stages import PRETRAIN_SHARE, as_arrays

        config = run.config
        layout = _training_layout(data.shape, config)
        stages = run.stages(data)
        networks = self._networks(config, data.sizes, run.seed, 2)
        networks.denoiser.bound.fill_(config.network.output_bound * _largest(data))
        if networks.encoder is not None:
            stages.pretrain(networks.encoder)
        task = self.task(
            config,
            data=data,
            network=networks,
            rows=data.train_targets,
            cutter=PatchGrid(layout, data.mask[0]),
            arrange=patch_inputs,
            seed=run.seed,
            batch=config.training.batch_days,
            stage=2,
            kind=config.diffusion.loss,
        )
        stages.train(task, 1 - PRETRAIN_SHARE if networks.encoder is not None else 1.0)
        state = as_arrays(networks.state_dict()) | stages.forecaster
        return Trained(state=state, history=stages.history())

    def task(self, config: DownscalerConfig, **options: Any) -> Any:
        """Return the task of the second stage; `options` are those of every task on patches."""
        from xdownscale.models.diffusion.schedules import squared_cosine
        from xdownscale.models.training.tasks import Denoise

        return Denoise(
            name="denoise", schedule=squared_cosine(config.diffusion.train_steps), **options
        )

    def sampler(self, networks: Networks) -> ChainSampler:
        """Return a sampler of trained networks."""
        from xdownscale.models.sampling.chain import ChainSampler

        return ChainSampler(networks)

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> ChainSampler:
        """Build the networks, load their weights and return a sampler."""
        from xdownscale.models.networks.state import trained_weights
        from xdownscale.models.networks.weights import fill

        self.check_state(state, config, sizes)
        networks = self._networks(config, sizes, 0, 0)
        fill(networks, trained_weights(state), "")
        return self.sampler(networks.eval())

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Compare names and shapes of the weights with the networks of the configuration."""
        from xdownscale.models.networks.forecasters import check_forecaster
        from xdownscale.models.networks.state import trained_weights
        from xdownscale.models.networks.unet import Networks
        from xdownscale.models.networks.weights import check_fit

        known = sizes.static + sizes.calendar
        build = partial(Networks, config.data.lags, known, config.network)
        check_fit(build, trained_weights(state))
        check_forecaster(state, config.network, sizes)

    def _networks(self, config: DownscalerConfig, sizes: Sizes, seed: int, stage: int) -> Networks:
        import torch

        from xdownscale.models.networks.unet import Networks
        from xdownscale.models.networks.weights import seeded

        known = sizes.static + sizes.calendar
        networks: Networks = seeded(Networks, seed, stage, config.data.lags, known, config.network)
        fast: Networks = networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return fast


def _training_layout(shape: tuple[int, int], config: DownscalerConfig) -> PatchLayout:
    return PatchLayout(shape, config.data.patch_size, config.data.patch_stride, 0, "uniform")


def _largest(data: TrainingData) -> float:
    """Return the largest magnitude of the scaled training fields, at least 1."""
    largest = 1.0
    for row in data.train_targets:
        values = np.abs(read_rows(data.fine, [int(row)]))
        largest = max(largest, float(np.max(values, where=~np.isnan(values), initial=0.0)))
    return largest
