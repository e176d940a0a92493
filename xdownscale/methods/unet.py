"""Method "unet": regression of the conditional mean, deterministic.

A small U-Net is trained to forecast the coarse record; its encoder feeds a field U-Net that adds a
correction to the interpolated drivers. Its loss is the squared error, so it estimates the
conditional mean: the best point forecast, and smoother than any true field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.methods._field_unet import (
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
    from xdownscale.models.sampling.fields import FieldSampler, Guess
    from xdownscale.models.training.run import TrainingRun

REGRESSION_SHARE = 0.9  # of max_minutes


class UNet(FieldUNetMethod):
    """Regression of the conditional mean by the field U-Net."""

    name = "unet"
    summary = "Regression of the conditional mean by the field U-Net; no ensemble"
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": DATA | ENDS,
        "network": NETWORK,
        "diffusion": frozenset({"loss"}),
        "training": frozenset({"mean_epochs", "lag_noise", "lag_dropout"}),
        "sampling": SAMPLING,
    }

    def regressions(self, config: DownscalerConfig) -> int:
        """Return 1."""
        return 1

    def is_stochastic(self, config: DownscalerConfig) -> bool:
        """Return False: it gives the conditional mean."""
        return False

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train the encoder on the coarse record, then the regression on the fine one."""
        stages = run.stages(data)
        training = FieldTraining(stages, self)
        for each in self.planned(training):
            stages.train(each.task, each.share, each.epochs)
        return Trained(state=training.state(), history=stages.history())

    def planned(self, training: FieldTraining) -> list[PlannedStage]:
        """Return the regression."""
        from xdownscale.models.training.tasks import Regress

        options = training.config.training
        epochs = options.mean_epochs or options.epochs
        return [
            PlannedStage(
                task=training.task(Regress, "regress0", 10, net, train_encoder=True),
                epochs=epochs,
                share=REGRESSION_SHARE,
                kind="regress",
            )
            for net in training.networks.regressors
        ]

    def sampler(
        self, networks: FieldNetworks, state: Mapping[str, Floats], guess: Guess | None
    ) -> FieldSampler:
        """Return a sampler of the mean."""
        from xdownscale.models.sampling.fields import FieldSampler

        return FieldSampler(networks, first_guess=guess)
