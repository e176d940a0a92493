"""Base class of downscaling methods.

A method is one file. It declares its name, the options that it uses, what it needs of the records
and what it can do; it trains (`Method.train`), and returns a sampler of a trained state
(`Method.load`). It works on arrays only, without labels or units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import SampleRequest
from xdownscale.models.training.data import TrainingData
from xdownscale.models.training.plan import PlannedStage

Floats = NDArray[np.float32]
State = dict[str, Floats]


class Sampler(Protocol):
    """Generates fields from a trained state."""

    def sample(self, request: SampleRequest) -> Floats:
        """Return fields (realization, n, target, y, x) in scaled units."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Result of training: state and history.

    Attributes
    ----------
    state : dict of ndarray
        Everything that `Method.load` needs, float32 arrays under flat names; saved unchanged.
    history : dict of ndarray
        Columns of the table of losses, one row for each epoch; empty for a method that is fitted
        in closed form.
    """

    state: State
    history: dict[str, NDArray[Any]] = field(default_factory=dict)


class Method(ABC):
    """Base class of all methods.

    Attributes
    ----------
    name : str
        What `DownscalerConfig.method` calls it.
    summary : str
        One line for `xdownscale.methods.available`.
    uses : mapping of str to set of str
        Section of the configuration -> keys that the method uses, beside those of reading,
        splitting and training that all use. A key that it does not use is refused where a user
        names it.
    options : dataclass or None
        Frozen dataclass of options of its own, given as ``options=dict(...)``.
    samplers : tuple of str
        Values of ``sampling.sampler``.
    one_variable : bool
        It downscales one variable, from the same coarse one.
    needs_every_lag : bool
        All preceding time steps must be in the record, coarse and fine; otherwise the time step
        itself replaces what is missing in the window.
    blends : bool
        Fields of neighbouring regions are blended.
    detailed_static : bool
        Each static field gives three: itself, its deviation from the coarse cell mean, its slope.
    encoder_input : str
        Input of its encoder; an encoder can be reused by methods with the same input.
    sees_coarse_window : bool
        It sees the coarse fields of its window on their own grid, as `Conditions.coarse_window`.
    networks : bool
        It trains networks with torch. A method without any works where torch is not installed.
    holds_out_validation : bool
        The validation part is not trained on; else only the test part is out of sample.
    watches_drift : bool
        Autoregressive runs are checked for drift from the coarse record.
    calendar : {"cycle", "period"}
        Time as the phase of the year and day, or as position in the training period.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    uses: ClassVar[Mapping[str, frozenset[str]]] = {}
    options: ClassVar[type | None] = None
    samplers: ClassVar[tuple[str, ...]] = ()
    one_variable: ClassVar[bool] = False
    needs_every_lag: ClassVar[bool] = False
    blends: ClassVar[bool] = False
    detailed_static: ClassVar[bool] = False
    encoder_input: ClassVar[str] = "coarse lags"
    sees_coarse_window: ClassVar[bool] = False
    networks: ClassVar[bool] = True
    holds_out_validation: ClassVar[bool] = True
    watches_drift: ClassVar[bool] = False
    calendar: ClassVar[str] = "cycle"

    # What it needs of the records

    def window(self, config: DownscalerConfig) -> tuple[int, int]:
        """Return the number of coarse time steps before and after the target that it sees."""
        return 0, 0

    def fine_lags(self, config: DownscalerConfig) -> int:
        """Return the number of preceding fine fields that it sees."""
        return 0

    def missing_ends(self, config: DownscalerConfig) -> float:
        """Return the share of training time steps that it sees with a shorter window.

        Where it is above 0, time steps at the ends of a record are generated; the time step itself
        stands in for those that are missing.
        """
        return 0.0

    def uses_encoder(self, config: DownscalerConfig) -> bool:
        """Tell whether it uses an encoder of the coarse record on the coarse grid."""
        return False

    def guess_channels(self, config: DownscalerConfig) -> int:
        """Return the channels of first guess and climate that its networks see, per target."""
        return 0

    def knows_cells(self, config: DownscalerConfig) -> bool:
        """Tell whether it learns cells of its domain by their place, so that it cannot leave it."""
        return self.guess_channels(config) > 0

    def describes_grid(self, config: DownscalerConfig) -> bool:
        """Tell whether it sees spacing and orientation of a grid that is not in degrees."""
        return self.networks and not self.knows_cells(config)

    # What it can do

    def modes(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return its prediction modes, the default first."""
        if self.fine_lags(config):
            return ("autoregressive", "teacher_forced")
        return ("parallel",)

    def stitchings(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return its stitchings, the ways in which it covers a domain, the default first."""
        return ("whole",)

    def is_stochastic(self, config: DownscalerConfig) -> bool:
        """Tell whether realizations differ."""
        return True

    def latent_gain(self, state: Mapping[str, Floats]) -> float | None:
        """Return the share of the error that latent numbers of a trained state take away.

        Returns
        -------
        float or None
            On held-out time steps, NaN where there was none; None for a method without latent
            numbers.
        """
        return None

    def has_seams(self, config: DownscalerConfig) -> bool:
        """Tell whether its fields are blended from patches by default."""
        return self.stitchings(config)[0] == "patches"

    # Checks, before any work

    def check(self, config: DownscalerConfig) -> None:
        """Raise `OptionError` for options that exclude each other."""
        sampler = config.sampling.sampler
        if self.samplers and sampler not in self.samplers:
            raise OptionError(
                f"Sampler {sampler!r} does not suit method {self.name!r}, which takes "
                f"{' or '.join(map(repr, self.samplers))}."
            )

    def check_shape(self, shape: tuple[int, int], config: DownscalerConfig) -> None:  # noqa: B027
        """Raise `GridError` if a fine grid of this shape is too small."""

    def check_sampling(self, config: DownscalerConfig, stitching: str) -> None:  # noqa: B027
        """Raise `OptionError` if tiles or patches do not suit its networks."""

    def check_state(  # noqa: B027
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Raise `ModelFormatError` if a state does not fit, without building a network.

        Parameters
        ----------
        state : mapping of ndarray
            As `Trained.state`.
        config : DownscalerConfig
            Options that it was trained with.
        sizes : Sizes
            Numbers that the data decide.
        """

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Describe in a few words what was trained, for the repr of a fitted model."""
        network = config.network
        channels = "-".join(map(str, network.channels))
        kind = "" if network.forecaster == "unet" else f" ({network.forecaster})"
        encoder = f"encoder {network.encoder}{kind}"
        return f"network of {channels} channels, {encoder}, {config.data.lags} lags"

    # What it does

    @abstractmethod
    def train(self, data: TrainingData, run: Any) -> Trained:
        """Train on the records.

        Parameters
        ----------
        data : TrainingData
            Records in scaled units, and which time steps to train on.
        run : TrainingRun
            Options, seed, device, checkpoints.

        Returns
        -------
        Trained
        """

    def plan(self, data: TrainingData, run: Any) -> Sequence[PlannedStage]:
        """Return the stages that `train` will train at most, by which their cost is measured.

        Parameters
        ----------
        data, run
            As for `train`. Nothing is fitted on them, and no file is written.

        Returns
        -------
        sequence of PlannedStage
            Empty where the cost is not known before, or is small.
        """
        return ()

    def standing(self, config: DownscalerConfig, state: Mapping[str, Floats], units: str) -> str:
        """Say how good a trained state is beside simpler methods; empty where it is not known.

        Parameters
        ----------
        config, state
            As for `describe`.
        units : str
            Of the target, where there is one and it has units.
        """
        return ""

    @abstractmethod
    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> Sampler:
        """Return a sampler of a trained state.

        Parameters
        ----------
        state, config, sizes
            As for `check_state`.
        device : str
            ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

        Returns
        -------
        Sampler

        Raises
        ------
        ModelFormatError
            If the state does not fit.
        """

    def shared_tile(
        self, config: DownscalerConfig, shape: tuple[int, int], device: str, tasks: int
    ) -> int | str | None:
        """Return the side of tiles with which several tasks can sample at once."""
        return config.sampling.tile
