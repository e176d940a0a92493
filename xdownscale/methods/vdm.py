"""Method "vdm": variational network of small patches behind convolutional LSTMs.

The earlier system that arXiv 2512.05139 compares with (Wang, Franklin and Li 2022; thesis 2023). It
is a forecast, not a downscaling: from the fine and coarse fields of the time steps before, static
fields, place and calendar, the field of the target's time step; *its own coarse field is never an
input*. The posterior sees the inputs alone, and the decoder is joined by the encoder's layers, so
that the latent numbers have nothing to carry: `fit` says so.

What is documented by public code is ``encoder="none"``. The paper's system, with an encoder that
was pretrained on the coarse record (``encoder="frozen"``, ``forecaster="convlstm"``), is a
reconstruction: that code never pretrains. Patches are of 5 x 5 pixels, in which the factor of 500
on the mean absolute error is a scale of 0.1 here (fields span 2); the paper also names patches of
15 x 15: ``data=dict(patch_size=15, patch_stride=15), sampling=dict(size=15, stride=15),
options=dict(scale=0.9)``. Each pixel comes from the patch with the nearest centre; taper
``"uniform"`` averages overlaps as the code does.

Departures from the code: the range of the scaling is that of the training time steps, not of the
whole record; time steps are held out, not random patches; values are not clamped from below; the
calendar is a sine and cosine of the day of the year; weight decay stands for the L2 penalty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import GridError, OptionError
from xdownscale.methods._latent import LatentMethod
from xdownscale.methods._patches import COVERING, PATCHES, training_layout
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.latent_options import LatentOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from xdownscale.models.networks.dense_variational import DenseVariationalNetworks

_LITERAL = {"layout": "vector", "posterior": "inputs", "prior": "standard"}


@dataclass(frozen=True, kw_only=True)
class VDMOptions(LatentOptions):
    """Options of method "vdm": those of `LatentOptions`, of which three are fixed.

    Attributes
    ----------
    size : int
        Latent numbers of a patch.
    layout, posterior, prior : str
        ``"vector"``, ``"inputs"`` and ``"standard"``, and no others.
    scale : float or None
        Of the likelihood: twice the pixels of a patch over the factor on the mean absolute error.
    hidden : int
        Width of the dense layers.
    """

    size: int = 10
    layout: str = "vector"
    posterior: str = "inputs"
    prior: str = "standard"
    scale: float | None = 2 * 5**2 / 500
    hidden: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 1:
            raise OptionError(f"hidden is {self.hidden}; give 1 or more.")
        for name, value in _LITERAL.items():
            if getattr(self, name) != value:
                raise OptionError(
                    f"{name} is {getattr(self, name)!r}; this method has {value!r} alone. Method "
                    "'vae' has the others."
                )


class VDM(LatentMethod):
    """Variational network of small patches, given the fields of the time steps before."""

    name = "vdm"
    summary = "Variational network of 5 x 5 patches behind LSTMs; a forecast (Wang et al. 2022)"
    options: ClassVar[type[LatentOptions]] = VDMOptions
    calendar: ClassVar[str] = "cycle"
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": PATCHES,
        "network": frozenset(
            {"size", "encoder", "forecaster", "encoder_channels", "norm", "dropout"}
        ),
        "diffusion": frozenset({"loss"}),
        "sampling": COVERING | {"sampler", "noise"},
    }

    def check(self, config: DownscalerConfig) -> None:
        """Raise for a scaling or patches that do not suit the networks."""
        super().check(config)
        if config.data.scaling != "minmax":
            raise OptionError(
                f"Fields of this method are bounded to [-1, 1], and data.scaling is "
                f"{config.data.scaling!r}; use 'minmax'."
            )
        if config.data.patch_size < 3:
            raise OptionError(
                f"data.patch_size is {config.data.patch_size}; the convolutions of 3 x 3 pixels "
                "need patches of 3 or more."
            )

    def check_shape(self, shape: tuple[int, int], config: DownscalerConfig) -> None:
        """Raise if patches do not fit into the image, or only one does."""
        super().check_shape(shape, config)
        if training_layout(shape, config).n_patches < 2:
            raise GridError(
                f"The fine grid, or a region of it, of {shape[0]} x {shape[1]} cells has one patch "
                f"of {config.data.patch_size} pixels; batch norm needs two or more. Give a smaller "
                "data.patch_size."
            )

    def builder(
        self, config: DownscalerConfig, sizes: Sizes
    ) -> Callable[[], DenseVariationalNetworks]:
        """Return a function that builds the networks."""
        from xdownscale.models.networks.dense_variational import DenseVariationalNetworks

        options = config.options
        patch = config.data.patch_size
        return partial(
            DenseVariationalNetworks, sizes, config.network, options, options.hidden, patch
        )

    def settle(self, task: Any, networks: Any) -> None:
        """Measure the statistics of batch norm anew: the kept weights are not the last ones."""
        from xdownscale.models.training.variational import measure_norms

        measure_norms(task, networks)

    def describe(self, config: DownscalerConfig, state: Mapping[str, Any]) -> str:
        """Describe the networks."""
        network = config.network
        kind = network.forecaster if network.encoder != "none" else "trained with the rest"
        return (
            f"dense layers of {config.options.hidden}, encoder {network.encoder} ({kind}), "
            f"{config.data.lags} lags"
        )
