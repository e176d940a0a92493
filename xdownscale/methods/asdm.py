"""Method "asdm": one small network for all pixels, from yesterday's fine value to today's.

The sequential pixel model of Wang, Franklin and Li 2022 (doi:10.3390/atmos13020255): the fine value
of a pixel is predicted from its fine value and the coarse one of the preceding time steps, its
static fields and the calendar, without its neighbours; predictions are fed back. In the public code
of 2021 the coarse field of the target day is not an input, so it is a forecast and no downscaling;
``options=dict(target_day=True)`` shows the day's driver, as the control does. With
``network=dict(encoder="frozen")`` features of an encoder that was trained to forecast the coarse
record join in (ASDMTE).

Deterministic, and trained on the squared error. Known to fail by little texture of its own, and,
free-running without the day's driver, by decay to climatology. Compare it with
`baselines.pointwise`, the same in one linear equation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError
from xdownscale.methods.base import Floats, Method, Trained
from xdownscale.models.networks.channels import Sizes, patch_inputs
from xdownscale.models.training.data import TrainingData, largest_magnitude
from xdownscale.models.training.plan import PlannedStage

if TYPE_CHECKING:
    from xdownscale.models.networks.pixel_net import PixelNetworks
    from xdownscale.models.sampling.pixels import PixelSampler
    from xdownscale.models.training.run import TrainingRun

_STAGE = 40


@dataclass(frozen=True, kw_only=True)
class AsdmOptions:
    """Options of method "asdm".

    Attributes
    ----------
    target_day : bool
        The driver of the time step itself is an input; False, as in the code of 2021: only those
        of the time steps before it are.
    driver_skip : bool
        The network predicts the difference to the driver of the time step; needs `target_day`.
    widths : tuple of int
        Channels of the layers after the encoders of the two groups of inputs.
    """

    target_day: bool = False
    driver_skip: bool = False
    widths: tuple[int, ...] = (64, 32, 16, 8, 16, 32, 64)

    def __post_init__(self) -> None:
        whole = [isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in self.widths]
        if not whole or not all(whole):
            raise ValueError(f"widths is {self.widths!r}; give one number of channels or more")


class Asdm(Method):
    """Sequential regression of each pixel by one small network."""

    name = "asdm"
    summary = "One small network for every pixel, fed with its own last values (Wang et al. 2022)"
    samplers = ("mean",)
    options = AsdmOptions
    one_variable = True
    needs_every_lag = True
    encoder_input = "fine lags"
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": frozenset({"crop"}),
        "network": frozenset(
            {
                *("size", "encoder", "forecaster", "encoder_channels"),
                *("norm", "dropout", "output_bound"),
            }
        ),
        "diffusion": frozenset({"loss"}),
        "sampling": frozenset({"sampler"}),
    }

    def window(self, config: DownscalerConfig) -> tuple[int, int]:
        """Return ``data.lags`` before the target, the times of the lagged fine fields."""
        return config.data.lags, 0

    def fine_lags(self, config: DownscalerConfig) -> int:
        """Return ``data.lags``."""
        return config.data.lags

    def is_stochastic(self, config: DownscalerConfig) -> bool:
        """Return False: it gives the conditional mean."""
        return False

    def check(self, config: DownscalerConfig) -> None:
        """Raise where a driver that is not seen shall be corrected."""
        super().check(config)
        if config.options.driver_skip and not config.options.target_day:
            raise OptionError(
                "options.driver_skip adds the driver of the time step, which is not seen; give "
                "target_day=True too, or leave driver_skip out."
            )

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Say what the network sees."""
        day = "seen" if config.options.target_day else "not seen"
        widths = "-".join(map(str, config.options.widths))
        return (
            f"pixel network of {widths} channels, encoder {config.network.encoder}, "
            f"{config.data.lags} lags, driver of the day {day}"
        )

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train the encoder on the coarse record, if there is one, then the pixel network."""
        from xdownscale.models.training.stages import as_arrays

        config = run.config
        stages = run.stages(data)
        networks = self._networks(config, data.sizes, run.seed)
        networks.bound.fill_(config.network.output_bound * largest_magnitude(data))
        if networks.encoder is not None:
            stages.pretrain(networks.encoder)
        stages.train(self._second_stage(data, run, networks), _share(networks))
        state = as_arrays(networks.state_dict()) | stages.forecaster
        return Trained(state=state, history=stages.history())

    def _second_stage(self, data: TrainingData, run: TrainingRun, networks: Any) -> Any:
        from xdownscale.models.training.datasets import RandomCrops
        from xdownscale.models.training.tasks import RegressPixels

        config = run.config
        return RegressPixels(
            data=data,
            network=networks,
            rows=data.train_targets,
            cutter=RandomCrops(data.shape, config.data.crop, 1, run.seed),
            arrange=patch_inputs,
            seed=run.seed,
            batch=config.training.batch_days,
            name="pixels",
            stage=_STAGE,
            kind=config.diffusion.loss,
        )

    def plan(self, data: TrainingData, run: TrainingRun) -> list[PlannedStage]:
        """Return the stage of the encoder, if there is one, and the pixel network."""
        networks = self._networks(run.config, data.sizes, run.seed)
        stages = replace(run, checkpoint_dir=None).stages(data)
        pretraining = [] if networks.encoder is None else stages.planned_pretraining()
        task = self._second_stage(data, run, networks)
        epochs = run.config.training.epochs
        own = PlannedStage(task=task, epochs=epochs, share=_share(networks), kind="pixels")
        return [*pretraining, own]

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> PixelSampler:
        """Build the networks, load their weights and return a sampler."""
        from xdownscale.models.networks.state import trained_weights
        from xdownscale.models.networks.weights import fill
        from xdownscale.models.sampling.pixels import PixelSampler

        self.check_state(state, config, sizes)
        networks = self._networks(config, sizes, 0)
        fill(networks, trained_weights(state), "")
        return PixelSampler(networks.eval())

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Compare names and shapes of the weights with the networks of the configuration."""
        from xdownscale.models.networks.forecasters import check_forecaster
        from xdownscale.models.networks.state import trained_weights
        from xdownscale.models.networks.weights import check_fit

        check_fit(partial(_build, sizes, config), trained_weights(state))
        check_forecaster(state, config.network, sizes)

    def _networks(self, config: DownscalerConfig, sizes: Sizes, seed: int) -> PixelNetworks:
        from xdownscale.models.networks.weights import seeded

        networks: PixelNetworks = seeded(_build, seed, _STAGE, sizes, config)
        return networks


def _build(sizes: Sizes, config: DownscalerConfig) -> PixelNetworks:
    from xdownscale.models.networks.pixel_net import PixelNetworks

    own = config.options
    return PixelNetworks(sizes, config.network, own.target_day, own.driver_skip, own.widths)


def _share(networks: Any) -> float:
    """Return the pixel network's part of the time."""
    from xdownscale.models.training.stages import PRETRAIN_SHARE

    return 1 - PRETRAIN_SHARE if networks.encoder is not None else 1.0
