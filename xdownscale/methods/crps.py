"""Method "crps": a generator trained with the CRPS, one evaluation for a realization.

A small U-Net is trained to forecast the coarse record; its encoder feeds the generator. The field
U-Net takes white noise at three scales and adds a correction to the interpolated drivers. Its
loss is the almost fair CRPS (Lang et al. 2024) of two realizations, of the field and of its means
over 2, 4, 8 and 16 pixels. There is no regression, and no residual to calibrate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError
from xdownscale.methods._field_unet import (
    COVERING,
    DATA,
    ENDS,
    NETWORK,
    SAMPLING,
    FieldTraining,
    FieldUNetMethod,
)
from xdownscale.methods.base import Floats, Trained
from xdownscale.models.training.data import TrainingData
from xdownscale.models.training.plan import PlannedStage

if TYPE_CHECKING:
    from xdownscale.models.networks.field_unet import FieldNetworks
    from xdownscale.models.sampling.fields import Guess, OneStepSampler
    from xdownscale.models.training.run import TrainingRun

GENERATOR_SHARE = 0.9  # of max_minutes


class Crps(FieldUNetMethod):
    """Generator of a realization in one evaluation, trained with the CRPS."""

    name = "crps"
    summary = "One evaluation for a realization, trained with the CRPS"
    noise_channels = 3
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": DATA | ENDS,
        "network": NETWORK,
        "diffusion": frozenset({"loss"}),
        "training": frozenset({"lag_noise", "lag_dropout"}),
        "sampling": SAMPLING | COVERING | {"compile"},
    }

    def check(self, config: DownscalerConfig) -> None:
        """Raise for sampler ``"mean"``: there is no regression."""
        super().check(config)
        if config.sampling.sampler == "mean":
            raise OptionError(
                "Method 'crps' has no regression, so there is no sampler 'mean'; average "
                "realizations, or use method 'residual' or 'unet'."
            )

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train the encoder on the coarse record, then the generator on the fine one."""
        stages = run.stages(data)
        training = FieldTraining(stages, self)
        for each in self.planned(training):
            stages.train(each.task, each.share, each.epochs)
        return Trained(state=training.state(), history=stages.history())

    def planned(self, training: FieldTraining) -> list[PlannedStage]:
        """Return the generator."""
        from xdownscale.models.training.tasks import Generate

        net = training.networks.generator
        task = training.task(Generate, "generate", 20, net, train_encoder=True)
        epochs = training.config.training.epochs
        return [PlannedStage(task=task, epochs=epochs, share=GENERATOR_SHARE, kind="generate")]

    def sampler(
        self, networks: FieldNetworks, state: Mapping[str, Floats], guess: Guess | None
    ) -> OneStepSampler:
        """Return a sampler of one evaluation."""
        from xdownscale.models.sampling.fields import OneStepSampler

        return OneStepSampler(networks, first_guess=guess)
