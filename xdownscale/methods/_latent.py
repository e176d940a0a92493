"""Base of the methods that decode latent numbers on patches: training, and the gain.

The gain is measured on the time steps held out for early stopping: the share of the error of fields
decoded from the prior that the posterior's latent numbers, which have seen the field, take away.
Without such time steps it is not known (NaN).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import ModelFormatError, OptionError
from xdownscale.methods._patches import (
    PatchMethod,
    patch_task,
    share_of_second,
    training_layout,
)
from xdownscale.methods.base import Floats, Trained
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.latent_options import FACTOR, LatentOptions
from xdownscale.models.training.data import TrainingData

if TYPE_CHECKING:
    from xdownscale.models.sampling.latents import LatentSampler
    from xdownscale.models.training.run import TrainingRun

_GAIN = "latent.gain"
_STAGE = "infer"


class LatentMethod(PatchMethod):
    """Base of the methods that decode latent numbers on patches."""

    samplers = ("prior", "mean")
    options: ClassVar[type[LatentOptions]] = LatentOptions

    def is_stochastic(self, config: DownscalerConfig) -> bool:
        """Return True unless the sampler is ``"mean"``, the field of the prior's mean."""
        return config.sampling.sampler != "mean"

    def is_fixed_in_size(self, config: DownscalerConfig) -> bool:
        """Tell whether the networks take patches of the training's size alone."""
        return bool(config.options.layout == "vector")

    def stitchings(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return patches, and the image in one piece where the networks take any size."""
        return ("patches",) if self.is_fixed_in_size(config) else ("patches", "whole")

    def check(self, config: DownscalerConfig) -> None:
        """Raise for patches that do not suit the latent numbers."""
        super().check(config)
        size = config.sampling.size
        if self.is_fixed_in_size(config) and size != config.data.patch_size:
            raise OptionError(
                f"sampling.size is {size} and data.patch_size {config.data.patch_size}; with one "
                "vector of latent numbers for a patch both must be the same."
            )
        if config.options.layout == "vector":
            return
        sides = {
            "data.patch_size": config.data.patch_size,
            "sampling.size": size,
            "sampling.stride": config.sampling.stride,
        }
        for name, side in sides.items():
            if side % FACTOR:
                raise OptionError(
                    f"{name} is {side}; a latent pixel covers {FACTOR} x {FACTOR} fine ones, so "
                    f"give a multiple of {FACTOR}."
                )

    def sampler(self, networks: Any) -> LatentSampler:
        """Return a sampler that decodes latent numbers."""
        from xdownscale.models.sampling.latents import LatentSampler

        return LatentSampler(networks)

    def prepare(self, networks: Any, data: TrainingData, config: DownscalerConfig) -> None:
        """Set what the networks take from the data before they are trained: the first scale."""
        import torch

        from xdownscale.models.training.variational import driver_error

        if config.options.scale is None:
            error = torch.tensor(driver_error(data))
            networks.likelihood.log_scale.data.copy_(error.log())

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train the encoder on the coarse record, then the autoencoder on patches."""
        from xdownscale.models.training.stages import as_arrays

        config = run.config
        training_layout(data.shape, config)
        stages = run.stages(data)
        networks = self.built(config, data.sizes, run.seed, 2)
        self.prepare(networks, data, config)
        if networks.encoder is not None:
            stages.pretrain(networks.encoder)
        task = self.second_stage(data, run, networks)
        stages.train(task, share_of_second(networks))
        self.settle(task, networks)
        history = stages.history()
        gain = np.array([kept_gain(history)], np.float32)
        state = as_arrays(networks.state_dict()) | stages.forecaster | {_GAIN: gain}
        return Trained(state=state, history=history)

    def second_stage(self, data: TrainingData, run: TrainingRun, networks: Any) -> Any:
        """Return the task of the autoencoder."""
        from xdownscale.models.training.variational import Infer, updates_of

        config = run.config
        options = patch_task(data, run, networks)
        return Infer(
            **options,
            name=_STAGE,
            stage=2,
            epochs=config.training.epochs,
            per_epoch=updates_of(len(options["rows"]), options["batch"], config.training),
        )

    def settle(self, task: Any, networks: Any) -> None:
        """Finish the networks with what follows from the kept weights."""

    def latent_gain(self, state: Mapping[str, Floats]) -> float | None:
        """Return the gain on held-out time steps."""
        return float(state[_GAIN][0])

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Check the weights, and that the gain is there."""
        super().check_state(state, config, sizes)
        if _GAIN not in state or state[_GAIN].shape != (1,):
            raise ModelFormatError(
                f"The state lacks {_GAIN!r}, one number; give the file that was saved."
            )


def kept_gain(history: Mapping[str, Any]) -> float:
    """Return the gain of the weights that are kept, those with the smallest validation loss.

    Parameters
    ----------
    history : mapping of ndarray
        As `Trained.history`.

    Examples
    --------
    >>> history = {"stage": np.array(["pretrain", "infer", "infer"]), "gain": [np.nan, 0.3, 0.2],
    ...            "val_loss": np.array([0.1, 0.5, 0.9])}
    >>> kept_gain(history)
    0.3
    """
    rows = np.flatnonzero(np.asarray(history["stage"]) == _STAGE)
    losses = np.asarray(history["val_loss"], float)[rows]
    if not np.isfinite(losses).any():
        return float("nan")
    return float(history["gain"][rows[np.nanargmin(losses)]])
