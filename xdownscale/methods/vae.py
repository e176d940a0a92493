"""Method "vae": a variational autoencoder of the fine field, patch by patch.

A small network is trained to forecast the coarse record; its encoder, frozen, sees the fine fields
of the preceding time steps. An inference network encodes a patch as latent numbers; a decoder gives
the patch back, given these numbers, the interpolated coarse field, the encoder's features, static
fields and the calendar. At prediction latent numbers come from the prior.

By default the latent numbers are a map, four times coarser than the fine grid; the posterior sees
the field, the prior is learned, and so is the scale of the likelihood; the decoder is a U-Net of
the known fields. `LITERAL_VAE` is the reconstruction of the FiLM-conditioned VAE of arXiv
2512.05139, whose code is not public: one vector of 10 numbers for a patch, a posterior that sees
the inputs alone, a decoder that knows a vector of conditions, and a factor of 500 on the mean
absolute error, which on patches of 16 x 16 pixels leaves nothing inside a patch to be encoded. It
collapses onto maps that are nearly constant in each patch, as in that paper's Figure A1; give it to
``xdownscale.preset("paper", method="vae", **xdownscale.methods.LITERAL_VAE)``.

Fields of a variational autoencoder are smoother than the truth. `"mean"` decodes the prior's mean,
which is not the mean of the fields: average realizations for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError, check_option
from xdownscale.methods._latent import LatentMethod
from xdownscale.methods._patches import COVERING, ENCODER, PATCHES
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.latent_options import FACTOR, LatentOptions
from xdownscale.models.training.data import TrainingData, largest_magnitude

if TYPE_CHECKING:
    from collections.abc import Callable

    from xdownscale.models.networks.variational import VariationalNetworks

DECODERS = ("maps", "film")

# The factor of 500 is on errors of fields scaled to [0, 1]; here they are scaled to [-1, 1].
LITERAL_VAE: Mapping[str, Mapping[str, Any]] = {
    "network": {"forecaster": "lstm", "driver_skip": False},
    "data": {"scaling": "minmax"},
    "options": {
        "size": 10,
        "layout": "vector",
        "posterior": "inputs",
        "prior": "standard",
        "likelihood": "laplace",
        "scale": 2 * 16**2 / 500,
        "decoder": "film",
    },
}


@dataclass(frozen=True, kw_only=True)
class VAEOptions(LatentOptions):
    """Options of method "vae": those of `LatentOptions`, and the decoder.

    Attributes
    ----------
    decoder : str
        ``"maps"``: a U-Net that sees the known fields as maps. ``"film"``: layers that see the
        means of the known fields over the patch alone, by FiLM.
    """

    decoder: str = "maps"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("decoder", self.decoder, DECODERS)


class VAE(LatentMethod):
    """Variational autoencoder of the fine field, patch by patch, given the fields before it."""

    name = "vae"
    summary = "Variational autoencoder of patches; latent numbers in a map, or literal (collapses)"
    options: ClassVar[type[LatentOptions]] = VAEOptions
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": PATCHES,
        "network": ENCODER | {"size", "channels", "dropout", "driver_skip", "output_bound"},
        "diffusion": frozenset({"loss"}),
        "sampling": COVERING | {"sampler", "noise"},
    }

    def is_fixed_in_size(self, config: DownscalerConfig) -> bool:
        """Return True for latent vectors, and for the decoder whose start is learned."""
        return super().is_fixed_in_size(config) or config.options.decoder == "film"

    def check(self, config: DownscalerConfig) -> None:
        """Raise for patches or a scaling that do not suit the decoder."""
        super().check(config)
        if config.data.patch_size % FACTOR:
            raise OptionError(
                f"data.patch_size is {config.data.patch_size}; the networks halve a patch twice, "
                f"so give a multiple of {FACTOR}."
            )
        if config.options.decoder == "film" and config.data.scaling != "minmax":
            raise OptionError(
                f"The decoder 'film' is bounded to [-1, 1], and data.scaling is "
                f"{config.data.scaling!r}; use 'minmax', or the decoder 'maps'."
            )

    def builder(self, config: DownscalerConfig, sizes: Sizes) -> Callable[[], VariationalNetworks]:
        """Return a function that builds encoder, posterior, prior and decoder."""
        from xdownscale.models.networks.variational import VariationalNetworks

        options = config.options
        patch = config.data.patch_size
        return partial(VariationalNetworks, sizes, config.network, options, options.decoder, patch)

    def prepare(self, networks: Any, data: TrainingData, config: DownscalerConfig) -> None:
        """Set the first scale of the likelihood, and the bound of the output."""
        super().prepare(networks, data, config)
        if config.options.decoder == "maps":
            bound = config.network.output_bound * largest_magnitude(data)
            networks.decoder.bound.fill_(bound)
