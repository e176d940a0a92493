"""Method "latent_diffusion": a regression, and diffusion of its residual in a latent space.

As method "residual", but the residual is encoded by an autoencoder with a small Kullback-Leibler
term (Rombach et al. 2022), 4 times coarser than the fine grid, and a denoiser is trained on the
latent numbers. At prediction they are generated in some 8 steps and decoded once; spread and
temporal correlation are calibrated in pixels. Tomasi et al. (2025) downscale so, with a factor of 8
and 32 numbers for a latent cell.

An autoencoder loses what it cannot encode, above all at the scale of a pixel or two. Method
"residual" with ``network=dict(unshuffle=4)`` works on the same squares of 4 x 4 pixels, loses
nothing, needs no training of an autoencoder, and costs the same: compare with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError
from xdownscale.methods._field_unet import SAMPLING, FieldTraining
from xdownscale.methods.base import Floats
from xdownscale.methods.residual_diffusion import (
    ResidualDiffusion,
    nothing_known,
    regressing,
)
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.latent_options import FACTOR
from xdownscale.models.statistical.marginal import read_marginal
from xdownscale.models.training.plan import PlannedStage

if TYPE_CHECKING:
    from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
    from xdownscale.models.networks.autoencoder import LatentNetworks
    from xdownscale.models.networks.field_unet import FieldNetworks
    from xdownscale.models.sampling.fields import Guess, ResidualSampler

AUTOENCODER_SHARE = 0.15  # of max_minutes
DENOISER_SHARE = 0.35
_PREFIX = "latent."


@dataclass(frozen=True, kw_only=True)
class LatentDiffusionOptions:
    """Options of method "latent_diffusion".

    Attributes
    ----------
    size : int
        Numbers of a latent cell of 4 x 4 pixels; 16 would lose nothing.
    weight : float
        Weight of the mean Kullback-Leibler divergence of a latent number, in nats, beside the mean
        squared error of the decoded, scaled residual.
    """

    size: int = 4
    weight: float = 1e-3

    def __post_init__(self) -> None:
        if self.size < 1:
            raise OptionError(f"size is {self.size}; give 1 latent number or more.")
        if not 0 <= self.weight < float("inf"):
            raise OptionError(f"weight is {self.weight!r}; give a finite number, 0 or more.")


class LatentDiffusion(ResidualDiffusion):
    """Regression of the conditional mean, and diffusion of its residual in a latent space."""

    name = "latent_diffusion"
    summary = "Regression of the mean, and diffusion of its residual as latent numbers"
    options: ClassVar[type] = LatentDiffusionOptions
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        **ResidualDiffusion.uses,
        "sampling": SAMPLING | {"steps", "compile"},
    }

    def stitchings(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return whole fields, which may be generated in tiles."""
        return ("whole",)

    def check(self, config: DownscalerConfig) -> None:
        """Raise unless all networks work on the squares of pixels that latent cells cover."""
        super().check(config)
        if config.network.unshuffle != FACTOR:
            raise OptionError(
                f"network.unshuffle is {config.network.unshuffle}; a latent cell of method "
                f"{self.name!r} covers {FACTOR} x {FACTOR} pixels: give "
                f"network=dict(unshuffle={FACTOR}), as preset {self.name!r} does."
            )

    def built(self, sizes: Sizes, regressions: int, config: DownscalerConfig) -> LatentNetworks:
        """Return untrained networks of a group, with the autoencoder."""
        from xdownscale.models.networks.autoencoder import LatentNetworks

        return LatentNetworks(sizes, regressions, config.options.size, config.network)

    def train_generator(
        self, training: FieldTraining, means: Any, residual: ResidualStatistics
    ) -> ResidualSampler:
        """Train the autoencoder, measure its latent numbers, and train their denoiser."""
        from xdownscale.models.sampling.latent_fields import LatentResidualSampler
        from xdownscale.models.training.residual import measure_latents

        stages = training.stages
        networks: Any = training.networks
        stages.train(_autoencoding(training, means, residual.scale), AUTOENCODER_SHARE)
        stages.run.progress.doing("latent numbers")
        latents = measure_latents(stages.data, means, residual.scale, networks.autoencoder)
        stages.train(_denoising(training, means, residual.scale), DENOISER_SHARE)
        return LatentResidualSampler(networks, residual, latents)

    def planned(self, training: FieldTraining) -> list[PlannedStage]:
        """Return the regressions, the autoencoder and the denoiser."""
        known = nothing_known(training)
        last = {
            "autoencode": (_autoencoding(training, *known), AUTOENCODER_SHARE),
            "denoise": (_denoising(training, *known), DENOISER_SHARE),
        }
        epochs = training.config.training.epochs
        stages = [
            PlannedStage(task=task, epochs=epochs, share=share, kind=kind)
            for kind, (task, share) in last.items()
        ]
        return [*regressing(training), *stages]

    def sampler(
        self, networks: FieldNetworks, state: Mapping[str, Floats], guess: Guess | None
    ) -> ResidualSampler:
        """Return a sampler of mean plus residual."""
        from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
        from xdownscale.models.networks.autoencoder import LatentNetworks
        from xdownscale.models.sampling.latent_fields import LatentResidualSampler

        assert isinstance(networks, LatentNetworks)
        residual = ResidualStatistics.from_state(state)
        latents = ResidualStatistics.from_state(state, _PREFIX)
        sampler = LatentResidualSampler(networks, residual, latents, guess)
        sampler.marginal = read_marginal(state, len(residual.scale))
        return sampler

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Check the weights, and the statistics of residual and latent numbers."""
        from xdownscale.models.diffusion.residual_statistics import ResidualStatistics

        super().check_state(state, config, sizes)
        ResidualStatistics.check_state(state, config.options.size, _PREFIX)


def _autoencoding(training: FieldTraining, means: Any, scale: Any) -> Any:
    """Return the task of the autoencoder."""
    from xdownscale.models.training.tasks import Autoencode

    networks: Any = training.networks
    return training.task(
        Autoencode,
        "autoencode",
        19,
        networks.autoencoder,
        means=means,
        scale=scale,
        weight=training.config.options.weight,
    )


def _denoising(training: FieldTraining, means: Any, scale: Any) -> Any:
    """Return the task of the denoiser."""
    from xdownscale.models.training.tasks import DenoiseLatents

    networks: Any = training.networks
    return training.task(
        DenoiseLatents,
        "denoise",
        20,
        networks.generator,
        means=means,
        scale=scale,
        diffusion=training.config.diffusion,
        autoencoder=networks.autoencoder,
    )
