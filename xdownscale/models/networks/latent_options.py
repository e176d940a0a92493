"""Options of latent-variable models: layout, posterior, prior, likelihood, weight of the KL."""

from __future__ import annotations

from dataclasses import dataclass

from xdownscale.core.errors import OptionError, check_option

FACTOR = 4  # fine pixels to one latent pixel
LAYOUTS = ("map", "vector")
POSTERIORS = ("target", "inputs")
PRIORS = ("standard", "learned")
LIKELIHOODS = ("laplace", "normal")


@dataclass(frozen=True, kw_only=True)
class LatentOptions:
    """Options of the latent numbers z and of the loss of a variational autoencoder.

    The loss is minus the log likelihood of the field given z, plus `weight` times the
    Kullback-Leibler divergence (KL) of the posterior from the prior. A sum of ``factor`` times the
    mean absolute error and the KL, which the literature also uses, is the same with likelihood
    ``"laplace"`` and scale ``pixels / factor``.

    Attributes
    ----------
    size : int
        Channels of a latent pixel (layout ``"map"``), or latent numbers of a patch (``"vector"``).
    layout : str
        ``"map"``: numbers on a grid 4 times coarser than the fine one. ``"vector"``: one vector for
        a patch.
    posterior : str
        What the posterior sees: ``"target"``, the inputs and the target; ``"inputs"``, the inputs
        alone.
    prior : str
        ``"standard"``: mean 0 and variance 1. ``"learned"``: a Gaussian that depends on the inputs.
    likelihood : str
        ``"laplace"`` or ``"normal"``.
    scale : float or None
        Scale of the likelihood, in scaled units. None: learned, one number for each target.
    weight : float
        Of the KL (beta).
    anneal : float
        Share of the planned updates over which the weight of the KL rises from 0.
    free : float
        Nats of each latent number that are not penalised (Kingma et al. 2016).
    """

    size: int = 4
    layout: str = "map"
    posterior: str = "target"
    prior: str = "learned"
    likelihood: str = "laplace"
    scale: float | None = None
    weight: float = 1.0
    anneal: float = 0.0
    free: float = 0.0

    def __post_init__(self) -> None:
        check_option("layout", self.layout, LAYOUTS)
        check_option("posterior", self.posterior, POSTERIORS)
        check_option("prior", self.prior, PRIORS)
        check_option("likelihood", self.likelihood, LIKELIHOODS)
        if self.size < 1:
            raise OptionError(f"size is {self.size}; give 1 latent number or more.")
        if self.scale is not None and not 0 < self.scale < float("inf"):
            raise OptionError(
                f"scale is {self.scale!r}; give a number above 0, or None to have it learned."
            )
        if not self.weight >= 0 or not self.free >= 0:
            raise OptionError(
                f"weight is {self.weight!r} and free {self.free!r}; both must be 0 or more."
            )
        if not 0 <= self.anneal <= 1:
            raise OptionError(f"anneal is {self.anneal!r}; give a share between 0 and 1.")


def latent_shape(options: LatentOptions, height: int, width: int) -> tuple[int, ...]:
    """Return the shape of the latent numbers of a piece of `height` by `width` pixels.

    Examples
    --------
    >>> latent_shape(LatentOptions(), 16, 16), latent_shape(LatentOptions(layout="vector"), 16, 16)
    ((4, 4, 4), (4,))
    """
    if options.layout == "vector":
        return (options.size,)
    return options.size, height // FACTOR, width // FACTOR
