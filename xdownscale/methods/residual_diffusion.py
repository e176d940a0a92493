"""Method "residual": a regression, and diffusion of its residual; the default.

1. A small U-Net is trained to forecast the coarse record; its encoder, frozen, feeds all networks.
2. Regressions of the conditional mean are trained on blocks of time that leave one out each
   (cross-fitting), so that the residual is measured on time steps that were not trained on. The
   mean is the average of all of them.
3. The residual's scale, spectrum and temporal correlation are measured.
4. A denoiser is trained on random crops of the scaled residual, preconditioned as in Karras et al.
   (2022), with lognormal noise levels (CorrDiff: Mardani et al. 2025).
5. Temperature and temporal noise are calibrated on validation time steps; of a record with many
   zeros, such as rain, the share of zeros and the smaller amounts too.

At prediction the mean takes one evaluation and the residual some 8 of DPM-Solver++(2M) or Heun,
from noise that has the residual's spectrum and temporal correlation: time steps are generated side
by side and are still coherent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

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
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.statistical.marginal import read_marginal
from xdownscale.models.training.data import TrainingData
from xdownscale.models.training.plan import PlannedStage

if TYPE_CHECKING:
    from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
    from xdownscale.models.networks.field_unet import FieldNetworks
    from xdownscale.models.sampling.fields import Guess, ResidualSampler
    from xdownscale.models.training.run import TrainingRun

REGRESSION_SHARE = 0.4  # of max_minutes
DENOISER_SHARE = 0.5


class ResidualDiffusion(FieldUNetMethod):
    """Regression of the conditional mean, and diffusion of its residual."""

    name = "residual"
    summary = "Regression of the mean, and diffusion of its residual; calibrated ensembles"
    noise_channels = 1
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": DATA | ENDS,
        "network": NETWORK,
        "diffusion": frozenset(
            {"loss", "sigma_min", "sigma_max", "sigma_median", "sigma_spread", "folds"}
        ),
        "training": frozenset({"mean_epochs", "lag_noise", "lag_dropout"}),
        "sampling": SAMPLING | COVERING | {"steps", "compile"},
    }

    def stitchings(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return whole fields, patches, or patches that are made to agree at every step."""
        return ("whole", "patches", "multidiffusion")

    def regressions(self, config: DownscalerConfig) -> int:
        """Return one regression for each block of time."""
        return config.diffusion.folds

    def check(self, config: DownscalerConfig) -> None:
        """Raise for an encoder that is trained further under cross-fitting."""
        super().check(config)
        folds = config.diffusion.folds
        if config.network.encoder == "finetuned" and folds > 1:
            raise OptionError(
                f"encoder 'finetuned' does not suit {folds} folds: each regression "
                "must know nothing of the fine fields that its residual is measured on, and one "
                "encoder serves them all. Use 'frozen' or 'none', or method 'unet' or 'crps'."
            )

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train the regressions, measure the residual, train the denoiser, and calibrate it."""
        from xdownscale.models.training.residual import (
            calibrate_residual,
            cross_fitted_means,
            measure_marginal,
            measure_residual,
        )
        from xdownscale.models.training.tasks import fold_of

        stages = run.stages(data)
        training = FieldTraining(stages, self)
        networks = training.networks
        count = training.regressions
        folds = fold_of(data.train_targets, count)
        for each in regressing(training):
            stages.train(each.task, each.share, each.epochs)
        run.progress.doing("cross-fitted means")
        means = cross_fitted_means(stages, networks, folds, count)
        sampler = self.train_generator(training, means, measure_residual(data, means))
        run.progress.doing("calibration")
        calibrate_residual(stages, sampler, means)
        marginal = measure_marginal(stages, sampler)
        state = training.state() | sampler.statistics() | marginal
        return Trained(state=state, history=stages.history())

    def train_generator(
        self, training: FieldTraining, means: Any, residual: ResidualStatistics
    ) -> ResidualSampler:
        """Train what generates residuals of known statistics, and return a sampler of it."""
        from xdownscale.models.sampling.fields import ResidualSampler

        training.stages.train(denoising(training, means, residual.scale), DENOISER_SHARE)
        return ResidualSampler(training.networks, residual)

    def planned(self, training: FieldTraining) -> list[PlannedStage]:
        """Return the regressions, and the denoiser."""
        task = denoising(training, *nothing_known(training))
        epochs = training.config.training.epochs
        last = PlannedStage(task=task, epochs=epochs, share=DENOISER_SHARE, kind="denoise")
        return [*regressing(training), last]

    def sampler(
        self, networks: FieldNetworks, state: Mapping[str, Floats], guess: Guess | None
    ) -> ResidualSampler:
        """Return a sampler of mean plus residual."""
        from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
        from xdownscale.models.sampling.fields import ResidualSampler

        residual = ResidualStatistics.from_state(state)
        sampler = ResidualSampler(networks, residual, guess)
        sampler.marginal = read_marginal(state, len(residual.scale))
        return sampler

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Check the weights, and the statistics of the residual."""
        from xdownscale.models.diffusion.residual_statistics import ResidualStatistics

        super().check_state(state, config, sizes)
        ResidualStatistics.check_state(state, sizes.targets)
        read_marginal(state, sizes.targets)


def nothing_known(training: FieldTraining) -> tuple[Any, Any]:
    """Return conditional means and scales that stand for those that are not known yet."""
    data = training.stages.data
    none = np.broadcast_to(np.float32(0), (len(data.windows), *data.mask.shape))
    return none, np.ones(len(data.mask))


def regressing(training: FieldTraining) -> list[PlannedStage]:
    """Return the regressions: each leaves out one block of time, a single one leaves out none."""
    from xdownscale.models.training.tasks import Regress, fold_of

    rows = training.stages.data.train_targets
    count = training.regressions
    folds = fold_of(rows, count)
    own = [rows[folds != k] if count > 1 else rows for k in range(count)]
    epochs = training.config.training.mean_epochs or training.config.training.epochs
    return [
        PlannedStage(
            task=training.task(Regress, f"regress{k}", 10 + k, net, rows=own[k]),
            epochs=epochs,
            share=REGRESSION_SHARE / count,
            kind="regress",
        )
        for k, net in enumerate(training.networks.regressors)
    ]


def denoising(training: FieldTraining, means: Any, scale: Any) -> Any:
    """Return the task of the denoiser."""
    from xdownscale.models.training.tasks import DenoiseResidual

    return training.task(
        DenoiseResidual,
        "denoise",
        20,
        training.networks.generator,
        means=means,
        scale=scale,
        diffusion=training.config.diffusion,
    )
