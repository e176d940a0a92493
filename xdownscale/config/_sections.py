"""The sections of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdownscale.config._kinds import check_kinds
from xdownscale.errors import OptionError, check_option

METHODS = ("diffusion", "residual", "crps", "unet")
FIELD_METHODS = METHODS[1:]  # whole fields from a window of days, all days independent
TRANSFORMS = ("auto", "log10", "asinh", "log1p", "sqrt", "identity")
SCALINGS = ("minmax", "standard")
REGRID_METHODS = ("bicubic", "bilinear", "nearest", "conservative")
ENGINES = ("separable", "xesmf")
SIZES = ("tiny", "base", "large")
ENCODERS = ("frozen", "finetuned", "none")
NORMS = ("group", "rms")
SAMPLERS = ("ddim", "ddpm", "dpmpp_2m", "heun", "mean")
CHAIN_SAMPLERS = SAMPLERS[:2]
RATES = ("plateau", "cosine")
NOISES = ("shared", "independent")
CONSTRAINTS = ("nonnegative", "additive", "multiplicative", "softmax")
PRECISIONS = ("auto", "32", "bf16")
STRATEGIES = ("auto", "ddp", "ddp_fork", "ddp_notebook")
FORKS = STRATEGIES[2:]  # the calling process is copied, and gets the weights back
TAPERS = ("hann", "uniform", "triangle")


def _positive(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        if not 0 < value < float("inf"):
            raise OptionError(
                f"{type(section).__name__}.{name} is {value!r}; it must be greater than 0, and "
                "finite."
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What the networks are shown.

    Attributes
    ----------
    lags : int
        Preceding days that a model sees.
    transform : str or mapping
        Transform of the values; ``"auto"`` chooses one from the training days. A mapping gives
        one to each variable by name; what it leaves out is ``"auto"``.
    floor : float or None
        Under log10, values below it are raised to it; None refuses values of 0 or less.
    scaling : str
        ``"minmax"`` to [-1, 1] or ``"standard"`` to mean 0 and standard deviation 1.
    regrid : str
        Interpolation that brings the coarse record to the fine grid.
    engine : str
        Regridding engine.
    extrapolate : None or "nearest"
        What to do with fine cells outside the coarse grid's half-cell margin; None raises.
    patch_size, patch_stride : int
        Training patches of method ``"diffusion"``, in fine pixels.
    window : int
        Coarse days before the day, and after it, that the other methods see.
    ahead : int or None
        Coarse days after it, where that is another number: 0 for a record that shall be drawn to
        its last day. None: as `window`.
    crop : int
        Side of their random training crops, in fine pixels.
    blend : int
        Pixels that their regions reach beyond their borders, to be blended with their neighbours.
    fine_lags : int
        Fine fields of the days before that they see as well, up to `lags`: then days are drawn one
        after another (mode ``"autoregressive"``). 0: every day is drawn for itself.
    buffer_days : int
        Days before a season that serve as context and are never targets.
    fractions : tuple of float
        Chronological shares of training, validation and test days.
    early_stopping : float
        Share of the training days set aside for early stopping.
    max_missing : float
        A day with a larger share of missing coarse cells comes out NaN.
    memory_limit : float
        Arrays larger than this many MB are read day by day in training.
    """

    lags: int = 3
    transform: str | Mapping[str, str] = "auto"
    floor: float | None = None
    scaling: str = "minmax"
    regrid: str = "bicubic"
    engine: str = "separable"
    extrapolate: str | None = None
    patch_size: int = 16
    patch_stride: int = 8
    window: int = 2
    ahead: int | None = None
    crop: int = 64
    blend: int = 8
    fine_lags: int = 0
    buffer_days: int = 45
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    early_stopping: float = 0.2
    max_missing: float = 0.2
    memory_limit: float = 2000.0

    def __post_init__(self) -> None:
        check_kinds(self)
        _positive(self, "lags", "patch_size", "patch_stride", "crop", "memory_limit")
        if min(self.window, self.blend, self.after) < 0:
            raise OptionError(
                f"window is {self.window}, ahead {self.ahead} and blend {self.blend}; all must be "
                "0 or more."
            )
        if not 0 <= self.fine_lags <= self.lags:
            raise OptionError(
                f"fine_lags is {self.fine_lags} and lags {self.lags}; give 0 up to lags."
            )
        given = self.transform
        if not isinstance(given, str | Mapping):
            raise OptionError(
                f"transform is {given!r}; give one of {', '.join(map(repr, TRANSFORMS))}, or a "
                "mapping of variables to them."
            )
        for transform in [given] if isinstance(given, str) else given.values():
            check_option("transform", transform, TRANSFORMS)
        if self.floor is not None:
            _positive(self, "floor")
        check_option("scaling", self.scaling, SCALINGS)
        check_option("regrid method", self.regrid, REGRID_METHODS)
        check_option("engine", self.engine, ENGINES)
        if self.extrapolate is not None:
            check_option("extrapolate", self.extrapolate, ("nearest",))
        if self.buffer_days < 0:
            raise OptionError(
                f"buffer_days is {self.buffer_days}; give a whole number of 0 or more."
            )
        if not 0 <= self.early_stopping < 1 or not 0 <= self.max_missing <= 1:
            raise OptionError(
                f"early_stopping is {self.early_stopping} and max_missing {self.max_missing}; "
                "both are shares between 0 and 1."
            )
        shares = tuple(self.fractions)
        if len(shares) != 3 or min(shares) < 0 or shares[0] <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise OptionError(
                f"fractions is {shares}; give three shares (training, validation, test) that "
                "sum to 1, the first above 0."
            )

    @property
    def after(self) -> int:
        """Coarse days after the day that are seen."""
        return self.window if self.ahead is None else self.ahead


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The networks.

    Attributes
    ----------
    size : str
        ``"tiny"`` trains in CPU minutes, ``"base"`` is the published code's scale.
    channels : tuple of int
        Channels of the denoising U-Net, one entry per level.
    encoder_channels : tuple of int
        Channels of the U-Net that learns the coarse record, one entry per level.
    attention : bool
        Self-attention at the lowest level of the denoising U-Net.
    encoder : str
        ``"frozen"``, ``"finetuned"`` or ``"none"``.
    norm : str
        ``"group"`` as in the paper, or ``"rms"`` (per pixel, independent of the surroundings).
    dropout : float
        Share of channels dropped in training.
    driver_skip : bool
        Add the interpolated coarse field of the day to the network's output, so that an
        untrained network equals interpolation.
    unshuffle : int
        Every square of this many pixels on a side becomes the channels of one, before the first
        layer: a stem that makes fields cheap. Not for method ``"diffusion"``.
    output_bound : float
        The output is bounded to this many times the range of the scaled training data.
    """

    size: str = "tiny"
    channels: tuple[int, ...] = (32, 48, 64)
    encoder_channels: tuple[int, ...] = (16, 24, 32)
    attention: bool = False
    encoder: str = "frozen"
    norm: str = "group"
    dropout: float = 0.0
    driver_skip: bool = True
    unshuffle: int = 1
    output_bound: float = 1.2

    def __post_init__(self) -> None:
        check_kinds(self)
        check_option("network size", self.size, SIZES)
        check_option("encoder", self.encoder, ENCODERS)
        check_option("norm", self.norm, NORMS)
        _positive(self, "output_bound", "unshuffle")
        for name in ("channels", "encoder_channels"):
            levels = getattr(self, name)
            if not levels or min(levels) < 8 or any(c % 8 for c in levels):
                raise OptionError(
                    f"network.{name} is {levels}; give one multiple of 8 for each level."
                )
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout is {self.dropout}; give a share of 0 or more, below 1.")


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """The diffusion process.

    Attributes
    ----------
    schedule : str
        Noise schedule.
    train_steps : int
        Steps of the trained chain.
    loss : str
        ``"mae"`` as in the paper or ``"mse"``.
    sigma_min, sigma_max : float
        Noise levels that method ``"residual"`` samples between, in standard deviations of the
        residual.
    sigma_median, sigma_spread : float
        Noise levels of its training are lognormal: their median, and the standard deviation of
        their logarithm.
    folds : int
        Blocks of time for cross-fitting: each has a regression that did not see it, and the
        mean is the average of all of them. 1: the residual of days that were trained on.
    """

    schedule: str = "squared_cosine"
    train_steps: int = 1000
    loss: str = "mae"
    sigma_min: float = 0.02
    sigma_max: float = 5.0
    sigma_median: float = 0.5
    sigma_spread: float = 1.2
    folds: int = 2

    def __post_init__(self) -> None:
        check_kinds(self)
        check_option("schedule", self.schedule, ("squared_cosine",))
        check_option("loss", self.loss, ("mae", "mse"))
        _positive(self, "train_steps", "sigma_min", "sigma_median", "sigma_spread", "folds")
        if not self.sigma_min < self.sigma_max < float("inf"):
            raise OptionError(
                f"sigma_min is {self.sigma_min} and sigma_max {self.sigma_max}; the second must "
                "be the larger one."
            )


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How fields are drawn.

    Attributes
    ----------
    sampler : str
        ``"ddim"`` (deterministic) or ``"ddpm"`` (ancestral) for method ``"diffusion"``;
        ``"dpmpp_2m"`` or ``"heun"`` (deterministic, Karras sigmas) for ``"residual"``, or
        ``"mean"``: no residual, the regression alone.
    steps : int
        Steps of the sampler, up to the trained ones.
    size, stride, halo : int
        Patches in fine pixels: `halo` pixels on each inner side of a patch are thrown away.
    taper : str
        Weights of a patch.
    noise : str
        ``"shared"``: one noise field per realization and day, cropped into the patches.
        ``"independent"``: every patch draws its own (loses most of the variance).
    batch_size : int
        Patches in one network call.
    constraint : str or None
        What drawn fields are made to obey, for methods other than ``"diffusion"``:
        ``"nonnegative"``, or the coarse field's mean over every coarse cell, by ``"additive"``,
        ``"multiplicative"`` or ``"softmax"`` correction (Harder et al. 2023).
    tile : "auto", int or None
        Side of the tiles that whole fields are evaluated in, in fine pixels, for methods other
        than ``"diffusion"``; fields come out the same. ``"auto"``: in one piece where half of the
        memory holds it. None: in one piece.
    precision : str
        ``"auto"`` (bf16 on CUDA devices that have it), ``"32"`` or ``"bf16"``.
    compile : bool
        Have torch compile the network that draws; pays on CUDA for many fields of one size.
    """

    sampler: str = "ddim"
    steps: int = 10
    size: int = 16
    stride: int = 8
    halo: int = 2
    taper: str = "hann"
    noise: str = "shared"
    batch_size: int = 1024
    constraint: str | None = None
    tile: str | int | None = "auto"
    precision: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        check_kinds(self)
        check_option("sampler", self.sampler, SAMPLERS)
        check_option("noise", self.noise, NOISES)
        check_option("taper", self.taper, TAPERS)
        check_option("precision", self.precision, PRECISIONS)
        if self.constraint is not None:
            check_option("constraint", self.constraint, CONSTRAINTS)
        if isinstance(self.tile, str):
            check_option("tile (a number of pixels, None, or a name)", self.tile, ("auto",))
        elif self.tile is not None:
            _positive(self, "tile")
        _positive(self, "steps", "size", "stride", "batch_size")
        if self.halo < 0:
            raise OptionError(f"halo is {self.halo}; give a whole number of pixels, 0 or more.")
