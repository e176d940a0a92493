"""The section of a configuration that says how networks are trained."""

from __future__ import annotations

from dataclasses import dataclass

from xdownscale.config._kinds import check_kinds
from xdownscale.config._sections import PRECISIONS, RATES, STRATEGIES, _positive
from xdownscale.errors import OptionError, check_option


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the networks are trained.

    Attributes
    ----------
    pretrain_epochs, epochs : int
        Most epochs of the first and of the second stage.
    mean_epochs : int or None
        Most epochs of the regressions of the methods that have some; None as `epochs`.
    batch_days : int
        Days in a batch; all patches of a day stay together.
    learning_rate, weight_decay : float
        Of the optimiser.
    optimizer : str
        ``"adam"`` or ``"adamw"``.
    rate : str
        ``"plateau"``: the learning rate falls when progress ends. ``"cosine"``: it rises for 5 %
        of the training and then falls to nothing at its end.
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
        What `data.fine_lags` are spoilt with in training, so that a model survives its own errors:
        the largest standard deviation of added noise, over that of the scaled fields, and the
        share of lags that the coarse field of the day stands in for.
    max_minutes : float or None
        Stop each stage after the epoch in which its share of this time is spent.
    epoch_batches : int or None
        Most batches in an epoch, for long records: each epoch goes on where the last one stopped,
        through all days in a shuffled order, and is judged on at most as many batches of held-out
        days, always the same. None: all days in every epoch.
    devices : int
        GPUs, or processes on the CPU, that learn together: a step takes one batch from each, so
        that `devices` times `batch_days` days count in it.
    strategy : str
        How they do. ``"ddp_fork"`` (or Lightning's other name for it, ``"ddp_notebook"``) copies
        this process; CPU only, one thread each. ``"ddp"`` starts the whole script once for each
        device. ``"auto"``: the first on the CPU, the second on GPUs.
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
