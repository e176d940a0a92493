"""Configuration: a tree of frozen, keyword-only dataclasses, and the presets."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from xdownscale.core import plugins
from xdownscale.core.errors import OptionError, check_option, nearest_name
from xdownscale.core.normalization import SCALINGS, TRANSFORMS

_WORDS = {"int": "a whole number", "float": "a number", "bool": "True or False"}


def check_kinds(section: Any) -> None:
    """Raise unless each value of a section has the type of its field.

    Parameters
    ----------
    section : dataclass
        Section of a configuration. Fields that take words are not checked.

    Raises
    ------
    OptionError
    """
    for key in dataclasses.fields(section):
        kinds = [kind.strip() for kind in str(key.type).split("|")]
        value = getattr(section, key.name)
        if "str" in kinds or (value is None and "None" in kinds):
            continue
        row = kinds[0].startswith("tuple[")
        kind = kinds[0].removeprefix("tuple[").split(",")[0]
        listed = isinstance(value, list | tuple)
        given = list(value) if row and listed else [value]
        if row != listed or not all(_is(kind, each) for each in given):
            words = f"a tuple, each {_WORDS[kind]}" if row else _WORDS[kind]
            none = ", or None" if "None" in kinds else ""
            raise OptionError(
                f"{type(section).__name__}.{key.name} is {value!r}; give {words}{none}."
            )


def _is(kind: str, value: Any) -> bool:
    truth = type(value).__name__ in ("bool", "bool_")
    if kind == "bool" or truth:
        return truth and kind == "bool"
    return isinstance(value, Integral if kind == "int" else Real)


REGRID_METHODS = ("bicubic", "bilinear", "nearest", "conservative")
ENGINES = ("separable", "xesmf")
FIRST_GUESSES = ("auto", "driver", "bias", "ridge")
SIZES = ("tiny", "base", "large")
ENCODERS = ("frozen", "finetuned", "none")
FORECASTERS = ("unet", "lstm", "convlstm", "pointwise")
NORMS = ("group", "rms")
SAMPLERS = ("ddim", "ddpm", "dpmpp_2m", "heun", "mean", "prior")
RATES = ("plateau", "cosine")
NOISES = ("shared", "independent")
CONSTRAINTS = ("nonnegative", "additive", "multiplicative", "softmax")
PRECISIONS = ("auto", "32", "bf16")
STRATEGIES = ("auto", "ddp", "ddp_fork", "ddp_notebook")
FORKS = STRATEGIES[2:]  # the calling process is forked, and gets the weights back
TAPERS = ("hann", "uniform", "triangle", "nearest")


MOST_STEPS = 10_000  # of a chain or a sampler: more change no field, and never end


def _few(section: object, name: str) -> None:
    value = getattr(section, name)
    if value > MOST_STEPS:
        raise OptionError(
            f"{type(section).__name__}.{name} is {value!r}; it may be at most {MOST_STEPS}."
        )


def _positive(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        if not 0 < value < float("inf"):
            raise OptionError(
                f"{type(section).__name__}.{name} is {value!r}; it must be greater than 0, and "
                "finite."
            )


def _share(section: object, name: str) -> None:
    value = getattr(section, name)
    if not 0 <= value <= 1:
        raise OptionError(f"{name} is {value!r}; give a share between 0 and 1.")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Input selection, transforms and regridding.

    Attributes
    ----------
    lags : int
        Preceding time steps that a model sees.
    transform : str or mapping
        Transform of the values; ``"auto"`` chooses one from the training time steps. A mapping
        gives one to each variable by name; what it leaves out is ``"auto"``.
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
        Training patches, in fine pixels, of the methods that are trained on patches.
    window : int
        Coarse time steps before the target's, and after it, that the other methods see.
    ahead : int or None
        Coarse time steps after it, where that is another number: 0 for a record that shall be
        downscaled to its last time step. None: as `window`.
    missing_ends : float
        Share of the training time steps that they see without some of the time steps before or
        after, as at the ends of a record: then a record is downscaled to its first and last time
        step. 0: time steps whose window reaches outside the record are refused.
    crop : int
        Side of their random training crops, in fine pixels.
    first_guess : str
        What the networks of the other methods correct: ``"driver"``, the interpolated coarse field;
        ``"bias"``, that plus the mean error of each cell; ``"ridge"``, ridge regression on the
        coarse cells of all drivers in the window; ``"auto"``, the one of them with the smallest
        held-out error.
    blend : int
        Pixels by which their regions reach beyond their borders, to be blended with neighbours.
    fine_lags : int
        Preceding fine fields that they see as well, up to `lags`: then time steps are generated one
        after another (mode ``"autoregressive"``). 0: every time step is generated by itself.
    buffer_days : int
        Days before a season that serve as context and are never targets.
    fractions : tuple of float
        Chronological shares of training, validation and test time steps.
    early_stopping : float
        Share of the training time steps held out for early stopping.
    max_missing : float
        A time step with a larger share of missing coarse cells becomes NaN.
    memory_limit : float
        Arrays larger than this many MB are read time step by time step in training.
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
    missing_ends: float = 0.0
    crop: int = 64
    first_guess: str = "driver"
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
        check_option("first_guess", self.first_guess, FIRST_GUESSES)
        if self.extrapolate is not None:
            check_option("extrapolate", self.extrapolate, ("nearest",))
        if self.buffer_days < 0:
            raise OptionError(
                f"buffer_days is {self.buffer_days}; give a whole number of 0 or more."
            )
        _share(self, "missing_ends")
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
        """Coarse time steps after the target's that are seen."""
        return self.window if self.ahead is None else self.ahead


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Size and architecture of the networks.

    Attributes
    ----------
    size : str
        ``"tiny"`` trains in CPU minutes, ``"base"`` is the published code's scale.
    channels : tuple of int
        Channels of the denoising U-Net, one entry per level.
    encoder_channels : tuple of int
        Channels of the network that is trained on the coarse record: one entry per level of a
        U-Net, or per layer of a pointwise network; of an LSTM the last entry alone.
    attention : bool
        Self-attention at the lowest level of the denoising U-Net.
    encoder : str
        ``"frozen"``, ``"finetuned"`` or ``"none"``.
    forecaster : str
        Network that is trained on the coarse record, and whose encoder is used: ``"unet"``;
        ``"lstm"``, an LSTM of every cell over the lags; ``"convlstm"``, a convolutional LSTM;
        ``"pointwise"``, a network that sees the lags of one cell.
    norm : str
        ``"group"`` as in the paper, or ``"rms"`` (per pixel, independent of the surroundings).
    dropout : float
        Share of channels dropped in training.
    driver_skip : bool
        Add the interpolated coarse field of the time step to the network's output, so that an
        untrained network equals interpolation.
    unshuffle : int
        Every square of this many pixels on a side becomes the channels of one, before the first
        layer: a stem that makes fields cheap. Not for method ``"diffusion"``.
    output_bound : float
        Method ``"diffusion"``: the output is bounded to this many times the range of the scaled
        training data.
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
    forecaster: str = "unet"

    def __post_init__(self) -> None:
        check_kinds(self)
        check_option("network size", self.size, SIZES)
        check_option("encoder", self.encoder, ENCODERS)
        check_option("forecaster", self.forecaster, FORECASTERS)
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
    """Noise schedule, noise levels and loss of diffusion; cross-fitting of the mean.

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
        Blocks of time for cross-fitting: each has a regression that was not trained on it, and the
        mean is the average of all of them. 1: the residual of time steps that were trained on.
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
        _few(self, "train_steps")
        if not self.sigma_min < self.sigma_max < float("inf"):
            raise OptionError(
                f"sigma_min is {self.sigma_min} and sigma_max {self.sigma_max}; the second must "
                "be the larger one."
            )


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Sampler, patches, noise and tiles of generated fields.

    Attributes
    ----------
    sampler : str
        ``"ddim"`` (deterministic) or ``"ddpm"`` (ancestral) for method ``"diffusion"``;
        ``"dpmpp_2m"`` or ``"heun"`` (deterministic, Karras sigmas) for ``"residual"``, or
        ``"mean"``: no residual, the regression alone. ``"prior"`` for methods with latent numbers,
        or ``"mean"``: the field of the prior's mean.
    steps : int
        Steps of the sampler, up to the trained ones.
    size, stride, halo : int
        Patches in fine pixels: `halo` pixels on each inner side of a patch are discarded.
    taper : str
        Weights of a patch; ``"nearest"``: each pixel comes from the patch with the nearest centre.
    noise : str
        ``"shared"``: one noise field per realization and time step, cropped into the patches.
        ``"independent"``: every patch has its own (loses most of the variance).
    batch_size : int
        Patches in one network call.
    constraint : str or None
        What generated fields are made to obey, for methods other than ``"diffusion"``:
        ``"nonnegative"``, or the coarse field's mean over every coarse cell, by ``"additive"``,
        ``"multiplicative"`` or ``"softmax"`` correction (Harder et al. 2023).
    tile : "auto", int or None
        Side of the tiles that whole fields are evaluated in, in fine pixels, for methods other
        than ``"diffusion"``; fields are the same. ``"auto"``: in one piece where half of the
        memory holds it. None: in one piece.
    precision : str
        ``"auto"`` (bf16 on CUDA devices that have it), ``"32"`` or ``"bf16"``.
    compile : bool
        Have torch compile the network that generates; pays on CUDA for many fields of one size.
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
        _few(self, "steps")
        if self.halo < 0:
            raise OptionError(f"halo is {self.halo}; give a whole number of pixels, 0 or more.")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Epochs, optimiser, learning rate, early stopping and devices of training.

    Attributes
    ----------
    pretrain_epochs, epochs : int
        Most epochs of the first and of the second stage.
    mean_epochs : int or None
        Most epochs of the regressions of the methods that have some; None as `epochs`, and for
        method "dressed_unet" and preset "auto" 48 or 16, whichever is better on a held-out block.
    batch_days : int
        Time steps in a batch; all patches of a time step stay together.
    learning_rate, weight_decay : float
        Of the optimiser.
    optimizer : str
        ``"adam"`` or ``"adamw"``.
    rate : str
        ``"plateau"``: the learning rate is reduced when the loss stops falling. ``"cosine"``: 5 %
        warm-up, then cosine decay to 0.
    plateau_patience, plateau_factor : int, float
        Epochs without progress after which the learning rate is multiplied by the factor.
    patience : int
        Epochs without progress after which training stops.
    gradient_clip : float
        Largest norm of the gradient.
    ema_decay : float
        Decay of the exponential moving average of the weights; 0 for none.
    precision : str
        ``"auto"``, ``"32"`` or ``"bf16"``.
    lag_noise, lag_dropout : float
        Errors that are added to `data.fine_lags` in training, so that a model copes with its own:
        the largest standard deviation of added noise, over that of the scaled fields, and the
        share of lags that are replaced by the coarse field of the time step.
    max_minutes : float or None
        Time for a whole call of `fit`, all groups together: each stage stops after the batch in
        which its share is spent. What is not training (reading, closed forms, calibration) counts,
        and is not cut short. A result then depends on the machine.
    epoch_batches : int or None
        Most batches in an epoch, for long records: each epoch continues where the last one stopped,
        through all time steps in a shuffled order, and is validated on at most as many batches of
        held-out time steps, always the same. None: all time steps in every epoch.
    devices : int
        GPUs, or processes on the CPU, that train together (DDP): a step takes one batch from each,
        so that `devices` times `batch_days` time steps count in it.
    strategy : str
        Strategy of DDP. ``"ddp_fork"`` (or Lightning's other name for it, ``"ddp_notebook"``) forks
        this process; CPU only, one thread each. ``"ddp"`` starts the whole script once for each
        device, or joins the processes of torchrun or srun, if there are as many as `devices`.
        ``"auto"``: the first on the CPU, the second on GPUs. Otherwise the job that a training
        runs in, such as one of SLURM with several tasks, plays no part.
    """

    pretrain_epochs: int = 30
    epochs: int = 60
    mean_epochs: int | None = None
    batch_days: int = 2
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    optimizer: str = "adamw"
    rate: str = "plateau"
    plateau_patience: int = 4
    plateau_factor: float = 0.5
    patience: int = 12
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    precision: str = "auto"
    lag_noise: float = 0.3
    lag_dropout: float = 0.2
    max_minutes: float | None = None
    epoch_batches: int | None = None
    devices: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        check_kinds(self)
        check_option("strategy", self.strategy, STRATEGIES)
        _positive(self, "devices")
        if self.epoch_batches is not None:
            _positive(self, "epoch_batches")
        check_option("optimizer", self.optimizer, ("adam", "adamw"))
        check_option("learning rate", self.rate, RATES)
        check_option("precision", self.precision, PRECISIONS)
        _positive(self, "epochs", "batch_days", "learning_rate", "patience", "gradient_clip")
        _positive(self, "pretrain_epochs", "plateau_patience", "plateau_factor")
        if self.mean_epochs is not None:
            _positive(self, "mean_epochs")
        if self.lag_noise < 0 or not 0 <= self.lag_dropout <= 1:
            raise OptionError(
                f"lag_noise is {self.lag_noise} and lag_dropout {self.lag_dropout}; give 0 or "
                "more, and a share between 0 and 1."
            )
        if not 0 <= self.ema_decay < 1:
            raise OptionError(
                f"ema_decay is {self.ema_decay}; give a number of 0 or more, below 1."
            )
        if self.max_minutes is not None:
            _positive(self, "max_minutes")


@dataclass(frozen=True, kw_only=True)
class DownscalerConfig:
    """Complete configuration of a `Downscaler`: method and sections of options.

    Attributes
    ----------
    method : str
        ``"diffusion"``: the paper's. ``"residual"``: a regression, and diffusion of its residual.
        ``"crps"``: one evaluation for a realization, trained with the CRPS. ``"unet"``: the
        regression alone. `xdownscale.methods.available` lists all.
    data, network, diffusion, training, sampling : dataclass
        The sections. Each method uses some of their keys, and refuses the others where a user
        names them.
    options : dataclass or None
        Options that a method has of its own, such as one of another package: an instance of
        `Method.options`, or a mapping of its keys.

    Examples
    --------
    >>> DownscalerConfig().data.lags
    3
    """

    method: str = "diffusion"
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    options: Any = None

    def __post_init__(self) -> None:
        method = plugins.find(self.method)
        object.__setattr__(self, "options", _own_options(method, self.options))
        method.check(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain dicts, lists and numbers (JSON)."""
        plain: dict[str, Any] = dataclasses.asdict(
            self, dict_factory=lambda pairs: {k: _plain(v) for k, v in pairs}
        )
        if self.options is None:
            del plain["options"]  # files of methods without any do not hold it
        if self.data.first_guess == "driver":
            del plain["data"]["first_guess"]  # nor do files of version 0.1.0 hold this
        if self.data.missing_ends == 0:
            del plain["data"]["missing_ends"]  # nor this
        if self.network.forecaster == NetworkConfig.forecaster:
            del plain["network"]["forecaster"]  # nor this
        return plain

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> DownscalerConfig:
        """Build a configuration from what `to_dict` returned; unknown keys are refused."""
        return _override(cls(), tree)

    def replace(self, **sections: Any) -> DownscalerConfig:
        """Return a copy with some keys changed.

        Parameters
        ----------
        **sections
            Section -> mapping of keys, or ``method="..."``.

        Returns
        -------
        DownscalerConfig

        Raises
        ------
        OptionError
            For an unknown section, key or value, or a key that the method does not use.

        Examples
        --------
        >>> DownscalerConfig().replace(data=dict(lags=5)).data.lags
        5
        """
        changed = self.override(**sections)
        _check_used(changed.method, sections)
        return changed

    def override(self, **sections: Any) -> DownscalerConfig:
        """Return a copy with some keys changed, whether the method uses them or not.

        Parameters
        ----------
        **sections
            As for `replace`.

        Examples
        --------
        >>> DownscalerConfig().override(data=dict(crop=32)).data.crop
        32
        """
        return _override(self, sections)


# Keys that every method uses.
_COMMON = {
    "data": frozenset(
        {
            "lags",
            "transform",
            "floor",
            "scaling",
            "regrid",
            "engine",
            "extrapolate",
            "buffer_days",
            "fractions",
            "early_stopping",
            "max_missing",
            "memory_limit",
        }
    ),
    "training": frozenset(f.name for f in dataclasses.fields(TrainingConfig))
    - {"mean_epochs", "lag_noise", "lag_dropout"},
    "sampling": frozenset({"constraint"}),
}


def used_keys(config: DownscalerConfig) -> dict[str, list[str]]:
    """Return for each section the keys that the method of a configuration uses.

    Parameters
    ----------
    config : DownscalerConfig

    Returns
    -------
    dict of str to list of str
        In the order of the sections; one without any such key is left out.

    Examples
    --------
    >>> used_keys(preset("dressed"))["sampling"]
    ['sampler', 'constraint']
    """
    sections = [f.name for f in dataclasses.fields(config)]
    used = {}
    for section in sections:
        values = getattr(config, section)
        if section != "options" and dataclasses.is_dataclass(values):
            known = _used(config.method, section)
            used[section] = [f.name for f in dataclasses.fields(values) if f.name in known]
    return {section: keys for section, keys in used.items() if keys}


def _used(name: str, section: str) -> frozenset[str]:
    """Return the keys of a section that a method uses."""
    own: frozenset[str] = plugins.find(name).uses.get(section, frozenset())
    return _COMMON.get(section, frozenset()) | own


def _check_used(name: str, sections: Mapping[str, Any]) -> None:
    """Raise if a user names keys that the method does not use."""
    for section, keys in sections.items():
        if not isinstance(keys, Mapping) or section == "options":
            continue
        used = sorted(_used(name, section))
        for key in keys:
            if key not in used:
                raise OptionError(
                    f"Method {name!r} does not use {section}.{key}; of the section {section!r} it "
                    f"uses {', '.join(used) or 'nothing'}.{nearest_name(key, used)}"
                )


def _own_options(method: Any, given: Any) -> Any:
    """Return the options that a method has of its own as its dataclass; None where it has none.

    Parameters
    ----------
    method : Method
        The method.
    given : mapping, dataclass or None
        What was asked for; what it leaves out has its default.
    """
    if method.options is None:
        if given is None or given == {}:
            return None
        raise OptionError(
            f"Method {method.name!r} has no options of its own; {given!r} was given. Leave out "
            "options=."
        )
    if isinstance(given, method.options):
        return given
    if given is not None and not isinstance(given, Mapping):
        raise OptionError(
            f"Section 'options' takes a mapping of keys, not {type(given).__name__}: "
            "options=dict(...)."
        )
    names = [f.name for f in dataclasses.fields(method.options)]
    for key in given or {}:
        _check_key(f"key of the options of method {method.name!r}", key, names)
    values = {key: _from_json(value) for key, value in (given or {}).items()}
    try:
        made = method.options(**values)
    except (TypeError, ValueError) as err:
        raise OptionError(f"The options of method {method.name!r} do not fit: {err}.") from err
    _check_own_kinds(method, made)
    return made


def _check_own_kinds(method: Any, made: Any) -> None:
    """Raise for options that a model file cannot hold, or of another type than annotated."""
    hints = typing.get_type_hints(type(made))
    for name, value in vars(made).items():
        parts = value if isinstance(value, tuple) else (value,)
        plain = all(part is None or isinstance(part, str | Real) for part in parts)
        kinds = {int: Integral, float: Real, bool: bool, str: str}
        wanted: type = kinds.get(hints.get(name, object), object)
        if not plain or not isinstance(value, wanted):
            raise OptionError(
                f"The option {name!r} of method {method.name!r} is {value!r}; give "
                f"{getattr(hints.get(name), '__name__', hints.get(name))}: text, a number, or a "
                "tuple of them."
            )


def _from_json(value: Any) -> Any:
    """Undo what `_plain` does to options: a list was a tuple, a numpy number is a number."""
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()  # a numpy number
    return list(value) if isinstance(value, tuple) else value


def _override(config: DownscalerConfig, tree: Mapping[str, Any]) -> DownscalerConfig:
    """Return `config` with the keys of `tree` changed, section by section."""
    changes: dict[str, Any] = {}
    names = [f.name for f in dataclasses.fields(config)]
    current = config.method
    another = tree.get("method", current) != current  # with other options of its own
    for section, keys in tree.items():
        _check_key("section", section, names)
        before = getattr(config, section)
        if section == "options" and isinstance(keys, Mapping):
            kept = {} if another or before is None else dataclasses.asdict(before)
            changes[section] = {**kept, **keys}
        elif not dataclasses.is_dataclass(before) or isinstance(keys, type(before)):
            changes[section] = keys
        else:
            changes[section] = _override_section(section, before, keys)
    if another:
        changes.setdefault("options", None)
    return dataclasses.replace(config, **changes)


def _override_section(section: str, current: Any, keys: Any) -> Any:
    if not isinstance(keys, Mapping):
        raise OptionError(
            f"Section {section!r} takes a mapping of keys or a {type(current).__name__}, "
            f"not {type(keys).__name__}: {section}=dict(...)."
        )
    names = [f.name for f in dataclasses.fields(current)]
    for key in keys:
        _check_key(f"key of section {section!r}", key, names)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in keys.items()}
    return dataclasses.replace(current, **values)


def _check_key(what: str, given: str, names: list[str]) -> None:
    if given not in names:
        raise OptionError(
            f"Unknown {what}: {given!r}. There are: {', '.join(names)}.{nearest_name(given, names)}"
        )


_Tree = dict[str, dict[str, Any]]
_FAST: _Tree = {
    "data": {"scaling": "standard", "patch_size": 16, "patch_stride": 16},
    "network": {"unshuffle": 2, "norm": "rms", "channels": (64, 96, 128)},
    "diffusion": {"loss": "mse", "sigma_median": 0.3},
    "training": {
        "rate": "cosine",
        "epochs": 30,
        "mean_epochs": 20,
        "pretrain_epochs": 10,
        "batch_days": 4,
        "learning_rate": 2e-3,
        "patience": 1000,
    },
    "sampling": {"sampler": "dpmpp_2m", "steps": 8},
}
_PAPER_BASE: _Tree = {
    "data": {"lags": 40},
    "network": {
        "channels": (64, 128, 256),
        "encoder_channels": (64, 128, 256),
        "attention": True,
    },
    "sampling": {"sampler": "ddpm", "steps": 1000, "stride": 2, "halo": 4},
}
# About 1, 11 and 33 million weights; 0.13 MFLOP a pixel and evaluation at "tiny".
_FAST_BASE: _Tree = {"network": {"channels": (192, 320, 416)}}
_FAST_LARGE: _Tree = {"network": {"channels": (320, 544, 736)}}
_AUTO: _Tree = {
    **_FAST,
    "data": {
        **_FAST["data"],
        "window": 1,
        "ahead": 0,
        "first_guess": "auto",
        "crop": 256,
        "lags": 1,
    },
    "network": {
        **_FAST["network"],
        "channels": (48, 64, 64),
        "unshuffle": 4,
        "dropout": 0.2,
        "encoder": "none",
    },
    "diffusion": {"loss": "mse", "folds": 4},
    "training": {**_FAST["training"], "mean_epochs": None, "weight_decay": 0.5},
}
# No coarse field after the time step: the last one of a record can be downscaled.
_STATISTICAL: _Tree = {"data": {"scaling": "standard", "lags": 1, "window": 1, "ahead": 0}}
# Plateau and early stopping as in the public code of 2021.
_ASDM: _Tree = {
    "data": {"lags": 1},
    "network": {"encoder": "none", "forecaster": "pointwise"},
    "diffusion": {"loss": "mse"},
    "training": {
        "epochs": 40,
        "batch_days": 1,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "plateau_patience": 3,
        "plateau_factor": 0.1,
        "patience": 5,
    },
    "sampling": {"sampler": "mean"},
}
# As in M. Wang's code of 2022-23, with 3 lags at "tiny" where that has 40.
_VDM: _Tree = {
    "data": {"patch_size": 5, "patch_stride": 5, "regrid": "nearest"},
    "network": {"encoder": "none", "forecaster": "convlstm", "dropout": 0.5},
    "training": {
        "epochs": 30,
        "batch_days": 1,
        "optimizer": "adam",
        "learning_rate": 5e-4,
        "weight_decay": 8e-4,
        "plateau_patience": 3,
        "plateau_factor": 0.1,
        "patience": 6,
    },
    "sampling": {"sampler": "prior", "size": 5, "stride": 5, "halo": 0, "taper": "nearest"},
}
_VDM_BASE: _Tree = {"data": {"lags": 40}, "sampling": {"stride": 1}}
_FAST_ENDS: _Tree = {**_FAST, "data": {**_FAST["data"], "missing_ends": 0.1}}
_FAST_SIZES: dict[str, _Tree] = {"tiny": {}, "base": _FAST_BASE, "large": _FAST_LARGE}
_LATENT: _Tree = {**_FAST_ENDS, "network": {**_FAST["network"], "unshuffle": 4}}
PRESETS: dict[str, tuple[str, _Tree, dict[str, _Tree]]] = {
    "fast": ("residual", _FAST_ENDS, _FAST_SIZES),
    "paper": ("diffusion", {}, {"tiny": {}, "base": _PAPER_BASE}),
    "asdm": ("asdm", _ASDM, {"tiny": {}}),
    "vdm": ("vdm", _VDM, {"tiny": {}, "base": _VDM_BASE}),
    "latent_diffusion": ("latent_diffusion", _LATENT, _FAST_SIZES),
    "auto": ("selected", _AUTO, _FAST_SIZES),
    **{name: (name, _STATISTICAL, {"tiny": {}}) for name in ("dressed", "gaussian", "analogues")},
    "kriging": ("kriging", {"data": {"scaling": "standard", "lags": 1}}, {"tiny": {}}),
}


def preset(name: str = "auto", **sections: Any) -> DownscalerConfig:
    """Return a preset configuration, with some keys changed.

    Parameters
    ----------
    name : str
        ``"auto"``: the best closed-form method, and networks on top of it where held-out CRPS says
        so. ``"dressed"``, ``"gaussian"``, ``"analogues"`` and ``"kriging"``: the methods of these
        names, without networks, which are fitted in seconds. ``"fast"``: a regression and diffusion
        of its residual, both of whole fields, from a window of coarse time steps. ``"paper"``: the
        method of arXiv 2512.05139, where ``network=dict(size="base")`` gives the published code's
        scale with its 40 lags and 1000 ancestral steps. ``"asdm"``: one small network for every
        pixel, fed with its own last values. ``"vdm"``: the variational network on patches of 5 x 5
        pixels that the paper compares with. ``"latent_diffusion"``: ``"fast"`` on squares of 4 x 4
        pixels, with the residual in the latent space of an autoencoder. The default size ``"tiny"``
        trains on a CPU in minutes.
    **sections
        Section (``data``, ``network``, ``diffusion``, ``training``, ``sampling``) -> mapping of
        the keys to change; ``method="crps"`` or ``"unet"`` beside ``"fast"``, and
        ``"patch_unet"``, the same networks without noise, or ``"vae"`` beside ``"paper"``.

    Returns
    -------
    DownscalerConfig

    Raises
    ------
    OptionError
        For an unknown preset, section, key or value; names the nearest valid one.

    Examples
    --------
    >>> preset("paper", network=dict(size="base")).data.lags
    40
    >>> preset("paper", training=dict(epochs=1)).training.epochs
    1
    """
    check_option("preset", name, PRESETS)
    method, sections_of, sizes = PRESETS[name]
    config = _override(DownscalerConfig(), {"method": method, **sections_of})
    network = sections.get("network") or {}
    size = network.get("size", config.network.size) if isinstance(network, Mapping) else None
    if size is not None:
        check_option("network size", size, sizes)
        config = _override(config, sizes[size])
    changed = config.override(**_with_sampler(config, sections))
    _check_used(changed.method, sections)
    return changed


def _with_sampler(config: DownscalerConfig, sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections with the first sampler of their method, where the preset's suits it not."""
    samplers = plugins.find(sections.get("method", config.method)).samplers
    sampling = sections.get("sampling") or {}
    if not samplers or config.sampling.sampler in samplers or not isinstance(sampling, Mapping):
        return dict(sections)
    return {**sections, "sampling": {"sampler": samplers[0], **sampling}}


CONSISTENT = CONSTRAINTS[1:]  # kinds that need the coarse field of the same time step
